"""Flows by the sensor's rules: who is the originator, when a flow ends, what state TCP is in. The rules are those of
ARCHITECTURE.md (dataplane/flow); time is the capture's, and runs on behind its end until every flow has idled out.
"""

from dataclasses import dataclass, field

from capture import ACK, FIN, ICMP, ICMP6, RST, SYN, TCP, Odd

SECOND = 1_000_000_000
NEW, ANSWERED, ESTABLISHED, CLOSING, CLOSED = range(5)
UNANSWERED_NS, CLOSED_NS, DATAGRAM_NS, ESTABLISHED_NS = 5 * SECOND, 2 * SECOND, 60 * SECOND, 600 * SECOND
ONE_WAY_PACKETS = 3  # of an originator whose answers are not seen, from which on TCP counts as established
MILESTONE_FIRST = 4
# ICMP errors that an unanswered flow believes.
REFUSES = {ICMP: {3, 11, 12}, ICMP6: {1, 2, 3, 4}}
MOMENTS = ("early", "milestone", "end")


@dataclass
class Seen:
    """One packet of a flow: time, time since the flow was last heard of, whose it is (0 originator, 1 responder), bytes on
    the wire, of payload, TCP flags, window."""

    time: int
    gap: int
    side: int
    wire: int
    length: int
    flags: int
    window: int
    payload: bytes
    sequence: int


@dataclass
class Flow:
    protocol: int
    ends: tuple
    first: int
    last: int
    state: int = NEW
    packets: list = field(default_factory=list)
    response: int = 0
    counts: list = field(default_factory=lambda: [0, 0])
    flags: list = field(default_factory=lambda: [0, 0])
    syns: int = 0
    talked: int = 0
    # Which ends asked for a connection in the midst of this one.
    asked_anew: set = field(default_factory=set)
    responder_closed: bool = False
    refused: bool = False
    ended: int = 0
    odd: str = ""
    first_number: dict = field(default_factory=dict)

    def timeout(self):
        if self.state in (NEW, ANSWERED):
            return UNANSWERED_NS
        if self.state == CLOSED:
            return CLOSED_NS
        return ESTABLISHED_NS if self.protocol == TCP else DATAGRAM_NS

    def add(self, packet):
        side = 0 if packet.source == self.ends[0] else 1
        self.packets.append(Seen(packet.time, packet.time - self.last, side, packet.wire, packet.length, packet.flags,
                                 packet.window, packet.payload, packet.sequence))
        self.last = packet.time
        self.counts[side] += 1
        # Who was taken for established by what one side sent has no answer to time.
        settled = self.state in (ESTABLISHED, CLOSING) and not packet.flags & (SYN | FIN | RST)
        if self.counts[side] == 1 and side == 1 and len(self.packets) > 1:
            self.response = 0 if settled else packet.time - self.first
        self.flags[side] |= packet.flags
        self.talked |= (packet.length > 0)
        if packet.protocol == TCP:
            # Of flows that are established or closing, only SYN, FIN and RST are looked at.
            if not settled:
                self._step(side, packet.flags)
        elif side == 1 and self.state == NEW:
            self.state = ESTABLISHED

    def _step(self, side, flags):
        if flags & (SYN | ACK | RST | FIN) == SYN:
            self.syns = min(self.syns + 1, 15)
        if flags & (FIN | RST) and side == 1 and not self.flags[0] & (FIN | RST):
            self.responder_closed = True
        if flags & RST:
            self.state = CLOSED
        elif self.state == NEW and side == 1:
            self.state = {0: ESTABLISHED, FIN: CLOSING}.get(flags & (SYN | FIN), ANSWERED)
        elif self.state == NEW:
            if flags & (SYN | ACK | FIN) == ACK and self.counts[0] >= ONE_WAY_PACKETS:
                self.state = ESTABLISHED
        elif self.state == ANSWERED and flags & FIN:
            self.state = CLOSING
        elif self.state == ANSWERED and flags & (SYN | ACK) == ACK:
            self.state = ESTABLISHED
        elif self.state == ESTABLISHED and flags & FIN:
            self.state = CLOSING
        elif self.state == CLOSING and self.flags[0] & self.flags[1] & FIN:
            self.state = CLOSED

    def begins_anew(self, packet):
        """Is this SYN, or the answer to one, the first packet of another flow on the same ports?"""
        if all(self.counts) and self.first_number.get(packet.source) == packet.sequence:
            return False  # its own one again
        if packet.flags & ACK:
            return packet.target in self.asked_anew
        if self.talked and all(self.counts):
            self.asked_anew.add(packet.source)
            return False
        if not self.talked and self.state < CLOSING and {packet.source, packet.target} <= self.first_number.keys():
            # Behind an answer, a SYN with another number asks for a new flow.
            self.asked_anew.add(packet.source)
        return self.state >= CLOSING


class Table:
    """`told(flow, moment, now)` is called with the flow as it stands at each milestone (4, 16, 64, ... packets; the first is
    "early") and at an end that is none; `over(flow)` at every end."""

    def __init__(self, told, over=lambda flow: None):
        self.told, self.over, self.live, self.odd = told, over, {}, {}

    def run(self, packets, finish=True):
        for packet in packets:
            if isinstance(packet, Odd):
                self.odd[packet.why] = self.odd.get(packet.why, 0) + 1
            else:
                self.add(packet)
        if not finish:
            return
        for key in sorted(self.live, key=lambda key: self.live[key].last + self.live[key].timeout()):
            self._end(key)

    def _end(self, key, now=None):
        flow = self.live.pop(key)
        flow.ended = flow.last + flow.timeout() if now is None else now
        if not is_milestone(len(flow.packets)):
            self.told(flow, "end", flow.ended)
        self.over(flow)

    def _find(self, key, now):
        flow = self.live.get(key)
        if flow is not None and flow.last + flow.timeout() <= now:
            self._end(key)
            return None
        return flow

    def add(self, packet):
        key = packet.key()
        flow = self._find(key, packet.time)
        opening = packet.protocol == TCP and packet.flags & SYN and not packet.flags & (FIN | RST)
        if flow is not None and opening and flow.begins_anew(packet):
            self._end(key, packet.time)
            flow, earliest = None, flow.first + 1
        else:
            earliest = 0
        if flow is None:
            ends = (packet.source, packet.target)
            if packet.protocol == TCP and packet.flags & (SYN | ACK) == SYN | ACK:
                ends = (packet.target, packet.source)
            flow = self.live[key] = Flow(packet.protocol, ends, max(packet.time, earliest), packet.time)
        if opening and not flow.talked:
            flow.first_number.setdefault(packet.source, packet.sequence)
        flow.add(packet)
        total = len(flow.packets)
        if is_milestone(total):
            self.told(flow, "early" if total == MILESTONE_FIRST else "milestone", packet.time)
        if packet.quoted and packet.kind[0] in REFUSES[packet.protocol]:
            self._refuse(packet)

    def _refuse(self, packet):
        protocol, source, target = packet.quoted
        flow = self._find((protocol, frozenset((source, target)), packet.vlans), packet.time)
        if flow is not None and flow.state == NEW:
            flow.last, flow.state, flow.refused = max(flow.last, packet.time), CLOSED, True


def is_milestone(packets):
    return packets >= MILESTONE_FIRST and packets & (packets - 1) == 0 and packets.bit_length() % 2 == 1
