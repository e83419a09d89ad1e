#!/usr/bin/env python3
"""Writes tests/golden/day.pcap.gz: a small capture of our own, the same every time.

Usage: generate.py tests/golden/day.pcap.gz

A web session, DNS over IPv4 and IPv6, a ping, a VLAN, a fragmented datagram, a session that only sends, an ARP exchange,
a port scan that is refused, a burst of failing SSH sessions, a packet cut by the snap length and a truncated tail.
Addresses are those of RFC 5737 and RFC 3849. Checksums are left 0: Shrike does not verify them.
"""

import gzip
import ipaddress
import struct
import sys

START = 1_700_000_000
frames = []


def ethernet(kind, payload, vlan=None):
    tag = b"" if vlan is None else struct.pack(">HH", 0x8100, vlan)
    return bytes.fromhex("020000000002020000000001") + tag + struct.pack(">H", kind) + payload


def ip(source, target, protocol, body, fragment=0, identification=0):
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if a.version == 6:
        header = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
        return 0x86DD, header + a.packed + b.packed + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), identification, fragment, 64, protocol, 0)
    return 0x0800, header + a.packed + b.packed + body


def tcp(ports, flags, payload=b"", sequence=1):
    return struct.pack(">HHIIBBHHH", *ports, sequence, 1, 0x50, flags, 0x2000, 0, 0) + payload


def udp(ports, payload):
    return struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload


def add(at_us, source, target, protocol, body, vlan=None, **rest):
    frames.append((at_us, ethernet(*ip(source, target, protocol, body, **rest), vlan=vlan)))


def session(at_us, client, server, ports, sizes, vlan=None):
    """Handshake, one segment a size (positive: from the client), FIN both ways; 1 ms a packet."""
    back = ports[::-1]
    steps = [(client, server, ports, 2, 0), (server, client, back, 18, 0), (client, server, ports, 16, 0)]
    for size in sizes:
        steps.append((client, server, ports, 24, size) if size > 0 else (server, client, back, 24, -size))
    steps += [(client, server, ports, 17, 0), (server, client, back, 17, 0), (client, server, ports, 16, 0)]
    for number, (source, target, pair, flags, size) in enumerate(steps):
        add(at_us + 1000 * number, source, target, 6, tcp(pair, flags, b"x" * size), vlan)


web, resolver, client, attacker = "192.0.2.80", "192.0.2.53", "198.51.100.7", "203.0.113.66"
session(0, client, web, (40001, 443), [517, -1400, -1400, 126, -50, 300, -900])
session(200_000, client, web, (40002, 80), [120, -600], vlan=42)
add(300_000, client, resolver, 17, udp((5353, 53), b"q" * 30))
add(301_500, resolver, client, 17, udp((53, 5353), b"a" * 90))
add(310_000, "2001:db8::7", "2001:db8::53", 17, udp((5354, 53), b"q" * 30))
add(312_000, "2001:db8::53", "2001:db8::7", 17, udp((53, 5354), b"a" * 90))
for number in range(3):
    echo = struct.pack(">BBHHH", 8, 0, 0, 77, number) + b"p" * 48
    add(400_000 + 100_000 * number, client, web, 1, echo)
    add(400_700 + 100_000 * number, web, client, 1, b"\0" + echo[1:])
whole = udp((6000, 6001), b"f" * 1800)
add(500_000, client, web, 17, whole[:1000], fragment=0x2000, identification=9)
add(500_100, client, web, 17, whole[1000:], fragment=1000 // 8, identification=9)
for number in range(5):
    add(600_000 + 1000 * number, client, "192.0.2.99", 17, udp((7000, 514), b"log line"))
arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20)
frames.append((700_000, ethernet(0x0806, arp)))
for port in range(1, 41):
    at = 2_000_000 + 10_000 * port
    add(at, attacker, web, 6, tcp((50_000, port), 2))
    add(at + 300, web, attacker, 6, tcp((port, 50_000), 20))
for number in range(40):
    session(8_000_000 + 200_000 * number, attacker, web, (51_000 + number, 22), [21, -21, 600, -700, 48, -400, 36, -52, 100, -60])

frames.sort(key=lambda frame: frame[0])
out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1000, 1))
for at, frame in frames:
    kept = frame[:1000]
    out += struct.pack("<IIII", START + at // 1_000_000, at % 1_000_000, len(kept), len(frame)) + kept
out += struct.pack("<IIII", START + 60, 0, 200, 200) + b"cut"
with open(sys.argv[1], "wb") as file:
    file.write(gzip.compress(bytes(out), 9, mtime=0))
