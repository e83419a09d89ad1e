"""Capture files (classic pcap, little endian, Ethernet): reading, writing, and what a frame says about its flow."""

import socket
import struct

HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
MICROS, NANOS = 0xA1B2C3D4, 0xA1B23C4D
TCP, UDP, ICMP, ICMP6, ARP = 6, 17, 1, 58, "arp"
FIN, SYN, RST, ACK = 1, 2, 4, 16


class CaptureError(Exception):
    """A file that is not what it should be."""


def read(path):
    """Yields (time in ns, frame as captured, length on the wire). `path` may be a stream."""
    with path if hasattr(path, "read") else open(path, "rb", buffering=1 << 20) as file:
        head = file.read(HEADER.size)
        if len(head) < HEADER.size:
            raise CaptureError(f"{path}: shorter than a pcap header; record it again")
        magic, *_, link = HEADER.unpack(head)
        if magic not in (MICROS, NANOS) or link != 1:
            raise CaptureError(f"{path}: not a little-endian pcap of Ethernet; convert it with editcap -F pcap")
        unit = 1000 if magic == MICROS else 1
        take = file.read
        while True:
            head = take(RECORD.size)
            if len(head) < RECORD.size:
                return
            seconds, part, kept, length = RECORD.unpack(head)
            frame = take(kept)
            if len(frame) < kept:
                return
            yield seconds * 1_000_000_000 + part * unit, frame, length


class Writer:
    """Writes microsecond pcap, which every reader takes."""

    def __init__(self, path, snap=262144):
        self.file = open(path, "wb", buffering=1 << 20)
        self.file.write(HEADER.pack(MICROS, 2, 4, 0, 0, snap, 1))
        self.packets = 0

    def write(self, time_ns, frame, length):
        micros = time_ns // 1000
        self.file.write(RECORD.pack(micros // 1_000_000, micros % 1_000_000, len(frame), length) + frame)
        self.packets += 1

    def close(self):
        self.file.close()


class Packet:
    """Addresses as bytes, ports (ICMP: identifier twice; 0 where there are none), TCP flags, payload offset."""

    __slots__ = ("mac", "to_mac", "source", "target", "sport", "dport", "protocol", "flags", "kind", "network", "transport")

    def key(self):
        """The same for both directions, and whether this packet goes from the first end of it. Where addresses name
        nobody (ARP's may be lies, who asks for a lease has none) the card does."""
        if self.protocol == ARP or not any(self.source):
            return (self.protocol, self.mac, (self.source, self.sport), (self.target, self.dport)), True
        here, there = (self.source, self.sport), (self.target, self.dport)
        return ((self.protocol, here, there), True) if here <= there else ((self.protocol, there, here), False)


def parse(frame):
    """A `Packet`, or None for what is neither ARP nor IP. Fragments after the first have no ports."""
    if len(frame) < 34:
        return None
    packet = Packet()
    packet.to_mac, packet.mac = frame[0:6], frame[6:12]
    kind, at = frame[12] << 8 | frame[13], 14
    if kind == 0x8100 and len(frame) >= 38:
        kind, at = frame[16] << 8 | frame[17], 18
    packet.sport = packet.dport = packet.flags = packet.kind = 0
    packet.network, packet.transport = at, 0
    if kind == 0x0806 and len(frame) >= at + 28:
        packet.protocol, packet.source, packet.target = ARP, frame[at + 14:at + 18], frame[at + 24:at + 28]
        packet.kind = frame[at + 7]
        return packet
    if kind == 0x0800:
        packet.source, packet.target = frame[at + 12:at + 16], frame[at + 16:at + 20]
        packet.protocol = frame[at + 9]
        later = (frame[at + 6] << 8 | frame[at + 7]) & 0x1FFF
        over = at + (frame[at] & 15) * 4
    elif kind == 0x86DD and len(frame) >= at + 40:
        packet.source, packet.target = frame[at + 8:at + 24], frame[at + 24:at + 40]
        packet.protocol, over, later = frame[at + 6], at + 40, 0
        while packet.protocol in (0, 43, 44, 60) and len(frame) >= over + 8:
            if packet.protocol == 44:
                later = (frame[over + 2] << 8 | frame[over + 3]) & 0xFFF8
                size = 8
            else:
                size = (frame[over + 1] + 1) * 8
            packet.protocol, over = frame[over], over + size
    else:
        return None
    packet.transport = over
    if later or len(frame) < over + 8:
        return packet
    if packet.protocol in (TCP, UDP):
        packet.sport, packet.dport = frame[over] << 8 | frame[over + 1], frame[over + 2] << 8 | frame[over + 3]
        if packet.protocol == TCP and len(frame) >= over + 14:
            packet.flags = frame[over + 13]
    elif packet.protocol in (ICMP, ICMP6):
        packet.kind = frame[over]
        if packet.kind in ((8, 0, 13, 14, 17, 18) if packet.protocol == ICMP else (128, 129)):
            packet.sport = packet.dport = frame[over + 4] << 8 | frame[over + 5]
    return packet


def address(raw):
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def sums_of(raw):
    """What the bytes of an address add to a checksum."""
    return sum(struct.unpack(f"!{len(raw) // 2}H", raw))
