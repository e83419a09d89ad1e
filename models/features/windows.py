"""Rows of a host's minute and of a pair's hour, from flows that ended: version 2.

A flow counts in the window of capture time (whole minutes and hours of Unix time) in which it ended, so that a row needs no
order of arrival: workers may tell ends in any order until the window is over.
"""

import math
from collections import Counter

from capture import ICMP, ICMP6, RST, TCP, UDP
from flow_v1 import LOGIN, WEB
from flow_v2 import ratio, refused, spread
from table import NEW

MINUTE, HOUR = 60_000_000_000, 3_600_000_000_000
DISTINCT = 256
STARTS = 64
PAIR_FLOWS = 4  # fewer say nothing of a rhythm: no row
SHORT = 4


class Facts:
    """What a window keeps of a flow."""

    def __init__(self, flow):
        (self.host, _), (self.peer, port) = flow.ends
        is_ported = flow.protocol in (TCP, UDP)
        self.protocol, self.port = flow.protocol, port if is_ported else 0
        self.start, self.end, self.duration = flow.first, flow.ended, (flow.last - flow.first) // 1000
        self.refused = refused(flow)
        self.silent = flow.state == NEW
        self.answered = not self.refused and not self.silent
        self.packets = len(flow.packets)
        self.reset = flow.protocol == TCP and bool((flow.flags[0] | flow.flags[1]) & RST)
        self.wire = [sum(packet.wire for packet in flow.packets if packet.side == side) for side in (0, 1)]
        self.payload = [sum(packet.length for packet in flow.packets if packet.side == side) for side in (0, 1)]
        self.login, self.web = flow.protocol == TCP and port in LOGIN, flow.protocol == TCP and port in WEB
        self.dns = is_ported and port == 53


def capped(values):
    """(distinct, count of the most frequent); more than DISTINCT are DISTINCT, of which none is the busiest."""
    found = Counter(values)
    return (DISTINCT, 0) if len(found) > DISTINCT else (len(found), max(found.values(), default=0))


def host_row(out, into):
    """`out`: facts of flows that the host began; `into`: of those to it."""
    ln, count = math.log1p, len(out)
    share = lambda name: ratio(sum(getattr(one, name) for one in out), count)
    of = lambda *protocols: ratio(sum(one.protocol in protocols for one in out), count)
    services, busiest = capped((one.peer, one.protocol, one.port) for one in out)
    payload_mean, payload_deviation = spread([one.payload[0] for one in out])
    clients, loudest = capped(one.host for one in into)
    return [
        ln(count), share("answered"), share("refused"), share("silent"), of(TCP), of(UDP), of(ICMP, ICMP6),
        ln(capped(one.peer for one in out)[0]), ln(capped((one.protocol, one.port) for one in out)[0]), ln(services),
        ratio(busiest, count), share("login"), share("web"), share("dns"),
        *(ln(sum(one.wire[side] for one in out)) for side in (0, 1)),
        *(ln(sum(one.payload[side] for one in out)) for side in (0, 1)),
        ln(spread([one.packets for one in out])[0]), ln(spread([one.duration for one in out])[0]),
        ln(payload_mean), ln(payload_deviation),
        ratio(sum(one.packets <= SHORT for one in out), count), share("reset"),
        ln(len(into)), ratio(sum(one.answered for one in into), len(into)), ln(clients),
        ln(capped((one.protocol, one.port) for one in into)[0]), ratio(loudest, len(into)),
        ratio(sum(one.login for one in into), len(into)),
        *(ln(sum(one.payload[side] for one in into)) for side in (0, 1)),
    ]


def quantile(ordered, part):
    """By linear interpolation between the two nearest."""
    at = (len(ordered) - 1) * part
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median_and_distance(numbers):
    """Median, and the median distance from it."""
    middle = quantile(sorted(numbers), 0.5)
    return middle, quantile(sorted(abs(number - middle) for number in numbers), 0.5)


def regularity(middle, distance):
    return max(0.0, 1 - ratio(distance, middle)) if middle else 0.0


def skew(numbers):
    low, middle, high = (quantile(sorted(numbers), part) for part in (0.25, 0.5, 0.75))
    return ratio(low + high - 2 * middle, high - low)


def pair_row(flows, window):
    """`flows`: facts of one pair that ended in the hour that began at `window`."""
    ln = math.log1p
    count = len(flows)
    latest = sorted(flows, key=lambda one: (one.start, one.payload[0]))[-STARTS:]
    gaps = [(later.start - one.start) // 1000 for one, later in zip(latest, latest[1:])]
    gap_mean, gap_deviation = spread(gaps)
    middle, distance = median_and_distance(gaps)
    sizes = [one.payload[0] for one in latest]
    minutes = {one.start // MINUTE for one in flows if window <= one.start < window + HOUR}
    sent, answers, lengths = ([pick(one) for one in flows]
                              for pick in (lambda one: one.payload[0], lambda one: one.payload[1], lambda one: one.duration))
    return [
        ln(count), ratio(sum(one.answered for one in flows), count), ratio(sum(one.refused for one in flows), count),
        ln(gap_mean), ln(gap_deviation), ln(middle), ln(distance), regularity(middle, distance), skew(gaps), len(minutes) / 60,
        *map(ln, spread(sent)), *map(ln, spread(answers)),
        regularity(*median_and_distance(sizes)), Counter(sizes).most_common(1)[0][1] / len(sizes),
        *(ln(sum(one.wire[side] for one in flows)) for side in (0, 1)), *map(ln, spread(lengths)),
    ]


def rows(facts):
    """({(window, host): row}, {(window, host, peer, protocol, port): row}), windows by the nanosecond of their beginning."""
    out, into, pairs = {}, {}, {}
    for one in facts:
        minute, hour = one.end // MINUTE * MINUTE, one.end // HOUR * HOUR
        out.setdefault((minute, one.host), []).append(one)
        into.setdefault((minute, one.peer), []).append(one)
        pairs.setdefault((hour, one.host, one.peer, one.protocol, one.port), []).append(one)
    hosts = {key: host_row(out.get(key, []), into.get(key, [])) for key in out.keys() | into.keys()}
    return hosts, {key: pair_row(found, key[0]) for key, found in pairs.items() if len(found) >= PAIR_FLOWS}
