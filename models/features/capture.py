"""Packets of a capture file (pcap, pcapng; Ethernet, Linux cooked, raw IP), read for the references alone: no line of it is the sensor's
or the lab's, so that a mistake of theirs shows. What it does not follow is named, not guessed: fragments, tunnels, extension
headers.
"""

import struct
from dataclasses import dataclass

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
# Types that ask and answer: their identifier stands for both ports (RFC 792, 950, 8335, 4443).
ASKS = {ICMP: {0, 8, *range(13, 19), 42, 43}, ICMP6: {128, 129, 160, 161}}
# Errors, which quote the packet that they are of, and those among them that refuse it.
ERRORS = {ICMP: {3, 4, 11, 12}, ICMP6: {1, 2, 3, 4}}


@dataclass
class Packet:
    """`source`, `target`: (address, port). `wire`: bytes of the frame on the wire. `length`: transport payload on the wire,
    of which `payload` was captured. `window`: TCP's, unscaled. `kind`: ICMP type and code. `quoted`: 5-tuple of an ICMP error."""

    time: int
    protocol: int
    source: tuple
    target: tuple
    wire: int
    length: int
    payload: bytes = b""
    flags: int = 0
    window: int = 0
    sequence: int = 0
    kind: tuple = None
    quoted: tuple = None
    vlans: tuple = ()

    def key(self):
        return self.protocol, frozenset((self.source, self.target)), self.vlans


class Odd(Exception):
    """What is not followed, by its name."""

    def __init__(self, why):
        self.why = why


def frames(data):
    """(nanoseconds, link type, captured bytes, bytes on the wire) of each frame."""
    magic = data[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        yield from blocks(data)
        return
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    unit = 1 if magic in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    link = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, part, captured, wire = struct.unpack(order + "IIII", data[at : at + 16])
        yield seconds * 10**9 + part * unit, link, data[at + 16 : at + 16 + captured], wire
        at += 16 + captured


def blocks(data):
    order, links, at = "<", [], 0
    while at + 12 <= len(data):
        kind = data[at : at + 4]
        if kind == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, length = struct.unpack(order + "II", data[at : at + 8])
        body = data[at + 8 : at + length - 4]
        if kind == 1:
            links.append((struct.unpack(order + "H", body[:2])[0], resolution(order, body[8:])))
        elif kind == 6:
            number, high, low, captured, wire = struct.unpack(order + "IIIII", body[:20])
            link, unit = links[number]
            yield (high << 32 | low) * unit, link, body[20 : 20 + captured], wire
        at += length


def resolution(order, options):
    """Nanoseconds of a tick."""
    while len(options) >= 4:
        code, length = struct.unpack(order + "HH", options[:4])
        if code == 9:
            return 10 ** (9 - options[4])
        options = options[4 + (length + 3) // 4 * 4 :]
    return 1000


def packets(path):
    """Yields a `Packet` or an `Odd` for each frame; times never step back, as the sensor's do not."""
    with open(path, "rb") as file:
        data = file.read()
    latest = 0
    for time, link, frame, wire in frames(data):
        latest = max(latest, time)
        try:
            yield parse(latest, link, frame, wire)
        except Odd as odd:
            yield odd
        except (struct.error, IndexError):
            yield Odd("cut")


def parse(time, link, frame, wire):
    kind, at = HEADS[link](frame) if link in HEADS else (None, 0)
    if kind is None:
        raise Odd("link")
    vlans = []
    while kind in TAGS and len(vlans) < 3:
        tag, kind = struct.unpack_from(">HH", frame, at)
        vlans.append(tag & 0xFFF)
        at += 4
    if kind not in (0x0800, 0x86DD):
        raise Odd("not ip")
    wire = max(wire, len(frame))
    protocol, source, target, header, total = network(frame, at, wire - at)
    packet = transport(time, protocol, source, target, frame[at + header : at + total], total - header, wire)
    packet.vlans = tuple(vlans)
    return packet


def raw(frame):
    return {4: 0x0800, 6: 0x86DD}.get(frame[0] >> 4), 0


TAGS = (0x8100, 0x88A8, 0x9100)
# EtherType and where the network's header begins, by link type of the capture.
HEADS = {1: lambda frame: (struct.unpack_from(">H", frame, 12)[0], 14), 12: raw, 14: raw, 101: raw,
         113: lambda frame: (struct.unpack_from(">H", frame, 14)[0], 16)}


def network(frame, at, room):
    """(protocol, source, target, header length, total length) of the IP header at `at`."""
    if frame[at] >> 4 == 4:
        header, total = (frame[at] & 15) * 4, struct.unpack_from(">H", frame, at + 2)[0] or room
        if struct.unpack_from(">H", frame, at + 6)[0] & 0x3FFF:
            raise Odd("fragment")
        return frame[at + 9], frame[at + 12 : at + 16], frame[at + 16 : at + 20], header, min(total, room)
    if frame[at] >> 4 == 6:
        total = 40 + struct.unpack_from(">H", frame, at + 4)[0]
        return frame[at + 6], frame[at + 8 : at + 24], frame[at + 24 : at + 40], 40, min(total, room)
    raise Odd("not ip")


def transport(time, protocol, source, target, segment, total, wire):
    """`segment`: what was captured of the `total` bytes above IP."""
    packet = Packet(time, protocol, (source, 0), (target, 0), wire, total)
    if protocol == TCP:
        ports = struct.unpack_from(">HH", segment)
        offset = (segment[12] >> 4) * 4
        packet.sequence, packet.flags = struct.unpack_from(">I", segment, 4)[0], segment[13]
        packet.window = struct.unpack_from(">H", segment, 14)[0]
        if offset < 20 or offset > total:
            raise Odd("offset")
    elif protocol == UDP:
        *ports, length = struct.unpack_from(">HHH", segment)
        offset = 8
        if length < 8 or length > total:
            raise Odd("length")
        total, segment = length, segment[:length]
    elif protocol in ASKS:
        kind, code, _, identifier = struct.unpack_from(">BBHH", segment)
        port = identifier if kind in ASKS[protocol] else kind << 8 | code
        ports, offset, packet.kind = (port, port), 8, (kind, code)
        if kind in ERRORS[protocol]:
            packet.quoted = quote(segment[8:])
    elif protocol in (4, 41, 47, 0, 43, 44, 51, 60, 132):
        raise Odd("extension or tunnel")
    else:
        ports, offset = (0, 0), 0
    packet.source, packet.target = (source, ports[0]), (target, ports[1])
    packet.length, packet.payload = total - offset, segment[offset:]
    return packet


def quote(data):
    """(protocol, source, target) of the packet that an ICMP error quotes; None if it quotes too little."""
    try:
        protocol, source, target, header, _ = network(data, 0, len(data))
        if protocol in (TCP, UDP):
            ports = struct.unpack_from(">HH", data, header)
        elif protocol in ASKS:
            kind, code, _, identifier = struct.unpack_from(">BBHH", data, header)
            port = identifier if kind in ASKS[protocol] else kind << 8 | code
            ports = port, port
        else:
            ports = 0, 0
    except (struct.error, IndexError, Odd):
        return None
    return protocol, (source, ports[0]), (target, ports[1])
