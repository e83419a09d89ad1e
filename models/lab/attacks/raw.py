"""Packets built by hand: any window, any options, any sender."""

import random
import socket
import struct

from pcap import checksum

# What tools and bots put behind their SYNs: nothing, MSS, or an imitation of some stack.
OPTIONS = [b"", b"", b"\x02\x04\x05\xb4", b"\x02\x04\x05\xb4\x01\x03\x03\x08", b"\x02\x04\x05\xb4\x04\x02\x01\x01",
           b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"]


def segment(source, target, ports, flags, window, options=b"", payload=b""):
    """A TCP segment, without the IP header that a raw socket adds."""
    header = struct.pack("!HHIIBBHHH", *ports, random.getrandbits(32), 0, (5 + len(options) // 4) << 4, flags, window,
                         0, 0) + options
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(header) + len(payload))
    return header[:16] + struct.pack("!H", checksum(pseudo + header + payload)) + header[18:] + payload


def datagram(source, target, ports, payload):
    """A whole IPv4 packet with UDP, for forged senders."""
    body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 17, len(body))
    body = body[:6] + struct.pack("!H", checksum(pseudo + body) or 0xFFFF) + body[8:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), random.getrandbits(16), 0, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def whole_packets():
    """A socket that takes packets with their own IP header."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    return raw


def frames():
    """A socket that takes whole Ethernet frames."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind(("eth0", 0))
    return raw


def mac(text):
    return bytes.fromhex(text.replace(":", ""))
