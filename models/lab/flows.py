"""Flows of a capture: both directions in one record, the originator first, as the sensor counts them."""

import base64
import bisect
import hashlib
import struct

import pcap
from pcap import ARP, FIN, ICMP, ICMP6, RST, SYN, TCP

IDLE_NS = 300 * 1_000_000_000  # a longer pause begins a new flow of the same addresses and ports
# Community ID v1 pairs ICMP types with the type that answers.
PAIRS = {ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17, 10: 9, 9: 10},
         ICMP6: {128: 129, 129: 128, 133: 134, 134: 133, 135: 136, 136: 135, 139: 140, 140: 139, 144: 145, 145: 144}}


class Flow:
    __slots__ = ("number", "protocol", "source", "sport", "target", "dport", "mac", "start", "end", "packets", "answers",
                 "bytes", "closed", "kind", "forward", "epoch")

    def community_id(self):
        if self.protocol == ARP:
            return ""
        source, sport, target, dport = self.source, self.sport, self.target, self.dport
        one_way = False
        if self.protocol in PAIRS:
            sport, dport = self.kind, PAIRS[self.protocol].get(self.kind)
            if dport is None:
                one_way, dport = True, 0
        if not one_way and (target, dport) < (source, sport):
            source, sport, target, dport = target, dport, source, sport
        data = b"\0\0" + source + target + bytes([self.protocol, 0]) + struct.pack("!HH", sport, dport)
        return "1:" + base64.b64encode(hashlib.sha1(data).digest()).decode()


class Table:
    """Gives each packet its flow. A flow ends by TCP's close followed by a new SYN, by a long pause, and where the host
    that began it turns to something else: `turns` gives these moments by card."""

    def __init__(self, turns=None):
        self.live, self.flows, self.turns = {}, [], turns or {}

    def add(self, packet, time_ns, length):
        key, forward = packet.key()
        flow = self.live.get(key)
        fresh = flow is None or time_ns - flow.end > IDLE_NS or (
            packet.protocol == TCP and flow.closed and packet.flags & (SYN | pcap.ACK) == SYN) or (
            flow.epoch is not None and packet.protocol != TCP and packet.mac == flow.mac
            and flow.epoch != bisect.bisect(self.turns[flow.mac], time_ns))
        if fresh:
            flow = Flow()
            flow.number, flow.protocol, flow.mac, flow.start = len(self.flows), packet.protocol, packet.mac, time_ns
            flow.source, flow.sport, flow.target, flow.dport = packet.source, packet.sport, packet.target, packet.dport
            flow.packets = flow.answers = flow.bytes = 0
            flow.closed, flow.kind, flow.forward = False, packet.kind, forward
            flow.epoch = bisect.bisect(self.turns[packet.mac], time_ns) if packet.mac in self.turns else None
            self.live[key] = flow
            self.flows.append(flow)
        flow.end = time_ns
        flow.packets += 1
        flow.answers += forward != flow.forward
        flow.bytes += length
        flow.closed |= bool(packet.protocol == TCP and packet.flags & (FIN | RST))
        return flow


def of_capture(path):
    """All flows of a capture, and the number of frames that are no flow's (neither ARP nor IP)."""
    table, others = Table(), 0
    for time_ns, frame, length in pcap.read(path):
        packet = pcap.parse(frame)
        if packet is None:
            others += 1
        else:
            table.add(packet, time_ns, length)
    return table.flows, others


WHOLE_PACKETS, WHOLE_TURN, WHOLE_BYTES, HEAD_BYTES = 40, 16, 420, 160


def carries(packet, frame, length):
    """Whether it is a segment of TCP with data."""
    at = packet.transport
    return packet.protocol == TCP and at > 0 and len(frame) > at + 12 and length > at + (frame[at + 12] >> 4) * 4


def trim(path, out, turns=None):
    """Copies a capture with what detectors read of it: whole are all short frames, the first WHOLE_PACKETS of each flow, and
    the first WHOLE_TURN segments that a side sends after the other has spoken (a message begins there: heads of responses on
    a connection that is used again); of the others the first HEAD_BYTES. Lengths on the wire are kept. The flows."""
    table, writer, speaking = Table(turns), pcap.Writer(out), {}
    for time_ns, frame, length in pcap.read(path):
        packet = pcap.parse(frame)
        whole = len(frame) <= WHOLE_BYTES
        if packet is not None:
            flow = table.add(packet, time_ns, length)
            whole |= flow.packets <= WHOLE_PACKETS
            if carries(packet, frame, length):
                side = packet.source, packet.sport
                who, segments = speaking.get(flow.number, (None, 0))
                segments = segments + 1 if who == side else 1
                speaking[flow.number] = side, segments
                whole |= segments <= WHOLE_TURN
        writer.write(time_ns, frame if whole else frame[:HEAD_BYTES], length)
    writer.close()
    return table.flows
