"""Recorded frames with other addresses: MACs, IPs and the originator's port are replaced, checksums follow by difference."""

import ipaddress
import random
import socket
import struct

import pcap
from pcap import ARP, ICMP, ICMP6, TCP, UDP


def mac_of(rng):
    return ":".join(f"{part:02x}" for part in [rng.choice([0x00, 0x3C, 0xA4, 0xD8, 0xF0]), *[rng.randrange(256) for _ in range(5)]])


def inside_v6(address):
    """The IPv6 address that goes with an IPv4 one."""
    parts = [int(part) for part in address.split(".")]
    return str(ipaddress.IPv6Address(f"fd00::{parts[0]:x}:{parts[1]:x}:{parts[2]:x}:{parts[3]:x}"))


def folded(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Play:
    """One flow of the days: a template in other clothes."""

    __slots__ = ("template", "source", "target", "sport", "kind", "echo", "changes", "spell")

    def frame(self, index):
        _, forward, frame, _ = self.template.packets[index]
        frame = self.changes(self, frame, forward)
        return self.spell(frame) if self.spell else frame


class Speller:
    """Spells the name of a question of DNS anew: what stands below a domain by one seed, the domain by another, its top not. Letters
    stay letters and digits digits, those of hexadecimal their kind, so length, alphabet and how mixed it is stay."""

    def __init__(self, seed, domain):
        self.table, self.domain = self.drawn(seed), self.drawn(f"domain {domain}")

    @staticmethod
    def drawn(seed):
        rng, table = random.Random(seed), bytearray(range(256))
        for group in (b"abcdef", b"ghijklmnopqrstuvwxyz", b"234567"):
            drawn = rng.sample(group, len(group))
            for old, new in zip(group, drawn):
                table[old] = new
                if 97 <= old:
                    table[old - 32] = new - 32
        return bytes(table)

    def __call__(self, frame):
        packet = pcap.parse(frame)
        if packet is None or packet.protocol not in (UDP, TCP) or not packet.transport or 53 not in (packet.sport, packet.dport):
            return frame
        at, is_udp = packet.transport, packet.protocol == UDP
        at += 8 if is_udp else (frame[at + 12] >> 4) * 4 + 2 if len(frame) > at + 12 else 8
        if len(frame) < at + 13 or frame[at + 4:at + 6] != b"\0\1":
            return frame
        begin, where, labels = at + 12, at + 12, []
        while where < len(frame) and 0 < frame[where] < 64:
            labels.append(where)
            where += 1 + frame[where]
        end = min(labels[-1], len(frame)) if len(labels) > 2 else begin
        out = bytearray(frame)
        for label in labels[:-1] if len(labels) > 2 else []:
            first, last = label + 1, min(label + 1 + frame[label], end)
            out[first:last] = frame[first:last].translate(self.domain if label == labels[-2] else self.table)
        # The checksum follows by difference, in words of the segment.
        low = packet.transport + (begin - packet.transport & ~1)
        old, new = bytes(frame[low:end]), bytes(out[low:end])
        pad = b"\0" * (len(old) & 1)
        sum_at = packet.transport + (6 if is_udp else 16)
        before = frame[sum_at] << 8 | frame[sum_at + 1]
        if not (is_udp and before == 0):
            change = folded(pcap.sums_of(new + pad) + (~folded(pcap.sums_of(old + pad)) & 0xFFFF))
            total = ~folded((~before & 0xFFFF) + change) & 0xFFFF
            struct.pack_into("!H", out, sum_at, total or (0xFFFF if is_udp else 0))
        return bytes(out)


class Rewriter:
    def __init__(self, subnet):
        self.subnet, self.nets = subnet, {}

    def within(self, text, subnet):
        """Whether an IPv4 address lies in a recording's subnet."""
        if ":" in text:
            return False
        net = self.nets.get(subnet)
        if net is None:
            net = self.nets[subnet] = ipaddress.ip_network(subnet)
        address = ipaddress.ip_address(text)
        return address in net and address != net.broadcast_address

    def play(self, template, stage, rng):
        play = Play()
        play.template, play.spell = template, None
        ends = []
        for raw in (template.source, template.target):
            who = stage.get(raw)
            if who is None:
                ends.append((raw, None))
            else:
                new = socket.inet_aton(who[0]) if len(raw) == 4 else socket.inet_pton(socket.AF_INET6, inside_v6(who[0]))
                ends.append((new, bytes.fromhex(who[1].replace(":", ""))))
        (play.source, source_mac), (play.target, target_mac) = ends
        protocol = template.protocol
        first = template.packets[0][2]
        play.kind = first[34] if protocol == ICMP and len(first) > 34 else first[54] if protocol == ICMP6 and len(first) > 54 else 0
        play.echo = protocol in (ICMP, ICMP6) and template.sport == template.dport != 0
        play.sport = template.sport
        if protocol in (TCP, UDP) and template.sport >= 1024 or play.echo:
            play.sport = rng.randrange(1024, 65536)
        if protocol == ARP:
            play.changes = _arp(source_mac, target_mac)
            return play
        play.changes = _ip(template, play, source_mac, target_mac)
        return play


def _arp(source_mac, target_mac):
    def changes(play, frame, forward):
        # Each ARP flow has one direction. The claimed addresses move with their hosts, the cards as well.
        out = bytearray(frame)
        if source_mac:
            out[6:12] = out[22:28] = source_mac
        if target_mac and out[0:6] != b"\xff" * 6:
            out[0:6] = target_mac
        out[28:32], out[38:42] = play.source, play.target
        return bytes(out)

    return changes


def _ip(template, play, source_mac, target_mac):
    difference = folded(pcap.sums_of(play.source) + pcap.sums_of(play.target)
                        + (~folded(pcap.sums_of(template.source) + pcap.sums_of(template.target)) & 0xFFFF))
    ported = folded(play.sport + (~template.sport & 0xFFFF)) if play.sport != template.sport else 0
    v4, size = len(play.source) == 4, len(play.source)
    at = 26 if v4 else 22
    protocol, echo = template.protocol, play.echo
    where = {TCP: 16, UDP: 6, ICMP6: 2, ICMP: 2}.get(protocol)
    pseudo = protocol in (TCP, UDP, ICMP6)

    def changes(play, frame, forward):
        if frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return frame
        out = bytearray(frame)
        here, there = (play.source, play.target) if forward else (play.target, play.source)
        mac_here, mac_there = (source_mac, target_mac) if forward else (target_mac, source_mac)
        if mac_here:
            out[6:12] = mac_here
        if mac_there and not out[0] & 1:
            out[0:6] = mac_there
        out[at:at + size], out[at + size:at + 2 * size] = here, there
        over = 54
        later = False
        if v4:
            over = 14 + (frame[14] & 15) * 4
            later = bool((frame[20] << 8 | frame[21]) & 0x1FFF)
            old = frame[24] << 8 | frame[25]
            struct.pack_into("!H", out, 24, ~folded((~old & 0xFFFF) + difference) & 0xFFFF)
        elif frame[20] != protocol:
            return bytes(out)  # extension headers: addresses are enough
        if where is None or later or len(frame) < over + where + 2:
            return bytes(out)
        sum_at = over + where
        old = frame[sum_at] << 8 | frame[sum_at + 1]
        change = difference if pseudo else 0
        if ported:
            port_at = over + 4 if echo else over if forward else over + 2
            struct.pack_into("!H", out, port_at, play.sport)
            change += ported
        if change and not (protocol == UDP and old == 0):
            new = ~folded((~old & 0xFFFF) + change) & 0xFFFF
            struct.pack_into("!H", out, sum_at, new or (0xFFFF if protocol == UDP else 0))
        return bytes(out)

    return changes
