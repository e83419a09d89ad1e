"""Version 2 of a flow's row: version 1, the talk (its first 16 packets with payload), how it ended; and its sequence.

Everything of the talk comes from whole numbers (bytes, microseconds) and is exact until the last step.
"""

import math

import flow_v1
import shapes
from capture import ACK, RST, TCP, UDP
from table import CLOSED

PACKETS = 16
GAP_MOST_US = 2**32 - 1


def spread(numbers):
    """(mean, standard deviation) of whole numbers; 0 of none."""
    count, total = len(numbers), sum(numbers)
    if not count:
        return 0.0, 0.0
    return total / count, math.sqrt(max(count * sum(number * number for number in numbers) - total * total, 0)) / count


def ratio(part, whole):
    return part / whole if whole else 0.0


def talk_of(flow):
    """(side, bytes, microseconds since the one before) of each packet of the talk."""
    steps, before = [], None
    for packet in flow.packets:
        if packet.length and not (packet.flags & RST and flow.protocol == TCP):
            gap = 0 if before is None else min((packet.time - before) // 1000, GAP_MOST_US)
            before = packet.time
            steps.append((packet, gap))
            if len(steps) == PACKETS:
                break
    return steps


def records_of(flow, steps):
    """[[type, size], ...] of each side; (type of the record that begins it or 0) of each step."""
    found, begins, state, segments = [[], []], [], {"quic": False}, [[], []]
    for packet, _ in steps:
        seen = found[packet.side]
        first = packet.payload
        if flow.protocol == UDP:
            was = len(seen)
            shapes.datagram(first, state, seen)
            begins.append(seen[was][0] if len(seen) > was else 0)
            continue
        segments[packet.side].append((packet.sequence, first))
        begins.append(first[0] if len(first) >= 5 and 20 <= first[0] <= 24 and first[1] == 3 and first[2] <= 4 else 0)
    if flow.protocol == TCP:
        found = [shapes.stream(one) for one in segments]
    return found, begins


def refused(flow):
    flags = flow.flags[1] if flow.protocol == TCP else 0
    return flow.state == CLOSED and not flags & ~(RST | ACK)


def row(flow, now, is_end):
    steps = talk_of(flow)
    lengths = [[packet.length for packet, _ in steps if packet.side == side] for side in (0, 1)]
    gaps = [gap for _, gap in steps[1:]]
    sides = [packet.side for packet, _ in steps]
    turns = sum(one != other for one, other in zip(sides, sides[1:]))
    again = sum(one == other for side in lengths for one, other in zip(side, side[1:]))
    means = [spread(side) for side in lengths]
    gap_mean, gap_deviation = spread(gaps)
    payload = sum(packet.length for packet in flow.packets)
    heads = []
    for side in (0, 1):
        first = next((packet.payload for packet, _ in steps if packet.side == side), b"")
        heads.append(shapes.head(first) if first else None)
    found, _ = records_of(flow, steps)
    both = lambda name: [float(head[name]) if head else 0.0 for head in heads]
    ln = math.log1p
    return flow_v1.row(flow, now) + [
        ln(len(steps)), ln(turns), ratio(len(lengths[0]), len(steps)), ratio(sum(map(sum, lengths)), payload),
        ln(means[0][0]), ln(means[1][0]), ln(means[0][1]), ln(means[1][1]),
        *(ln(side[0]) if side else 0.0 for side in lengths),
        ln(gap_mean), ln(gap_deviation), ln(min(gaps, default=0)), ln(max(gaps, default=0)),
        ratio(again, sum(max(len(side) - 1, 0) for side in lengths)),
        *both("entropy"), *both("ones"), *both("printable"), *(ln(run) for run in both("run")),
        float(heads[0] is not None and heads[0]["exempt"] == 0),
        *(ln(len(side)) for side in found), *(ln(spread([size for _, size in side])[0]) for side in found),
        float(is_end), float(flow.state == CLOSED), float(refused(flow)), float(flow.responder_closed),
    ]


def sequence(flow):
    """16 steps of (direction, length, gap, record): what is said of traffic that cannot be read."""
    steps = talk_of(flow)
    _, begins = records_of(flow, steps)
    rows = [[1.0 if packet.side == 0 else -1.0, math.log1p(packet.length), math.log1p(gap), float(kind)]
            for (packet, gap), kind in zip(steps, begins)]
    return rows + [[0.0] * 4] * (PACKETS - len(rows))
