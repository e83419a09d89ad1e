"""The equation of a pair against the end hosts' own counters, and statistics."""

import bisect
import time

from bed import DIRECTIONS

# Terms of what is lost; `withheld` and `dropped` are sums.
LOSSES = ("peer_refused", "refused", "abandoned", "lost_at_death", "lost_in_hands", "tx_refused")
DROPPED = ("dropped_mac", "dropped_flow", "dropped_signature", "dropped_prefix")


def percentile(values, part):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * part // 100) - 1))] if ordered else None


def spread(values, digits=3):
    """p50, p99 and the worst."""
    if not values:
        return None
    return {"p50": round(percentile(values, 50), digits), "p99": round(percentile(values, 99), digits),
            "max": round(max(values), digits)}


def terms(direction):
    """One direction of /v1/pairs as terms that each frame is in exactly one of, besides `received` and `forwarded`."""
    kernel = direction["shunted"] + sum(direction["bypassed"].values())
    flat = {"received": direction["received"],
            "forwarded": direction["sent"] + kernel - direction["peer_refused"],
            "forwarded_by_worker": direction["sent"], "redirected": direction["redirected"], "taken": direction["taken"],
            "shunted": direction["shunted"],
            "dropped_by_verdict": sum(direction[name] for name in DROPPED)}
    flat.update({f"bypassed_{cause}": count for cause, count in direction["bypassed"].items()})
    flat.update({f"withheld_{cause}": count for cause, count in direction["withheld"].items()})
    flat.update({name: direction[name] for name in (*LOSSES, "rebuilds")})
    return flat


class Books:
    """Opened on a quiet bed, closed on a quiet bed; between them all that both sides counted."""

    def __init__(self, bed, shrike):
        self.bed, self.shrike = bed, shrike
        self.begin = self.read()

    def quiet(self):
        """Waits until neither end's NIC nor the pair counts anything more."""
        before = None
        for _ in range(100):
            now = (self.bed.ends(), {way: terms(books) for way, books in self.shrike.directions().items()})
            if now == before:
                return now
            before = now
            # The pair's books are read four times a second.
            time.sleep(0.6)
        return before

    def read(self):
        return self.quiet()

    def close(self):
        """Each direction: its terms, what the end hosts say, and by how much both differ; all of them are zero if it closes."""
        ends, pair = self.read()
        found = {}
        for way in DIRECTIONS:
            rows = {name: value - self.begin[1][way][name] for name, value in pair[way].items()}
            nic = {name: value - self.begin[0][way][name] for name, value in ends[way].items()}
            named = rows["forwarded"] + rows["dropped_by_verdict"] + sum(rows[name] for name in LOSSES)
            named += sum(value for name, value in rows.items() if name.startswith("withheld_"))
            found[way] = {
                "terms": rows, "end_hosts": nic,
                "unnamed": rows["received"] - named,
                "not_seen": nic["sent"] - rows["received"],
                "arrived_beyond_forwarded": nic["arrived"] - rows["forwarded"],
            }
            found[way]["closed"] = not any(found[way][name] for name in ("unnamed", "not_seen", "arrived_beyond_forwarded"))
        return found


def gap(frames, begin, end):
    """The longest time without an arrival from `begin` to `end`: ms, when it began, and what of it was the sender's: ms from the
    last frame before it that was sent to the first one in it or after it, sent whether it arrived or not."""
    low = max(0, bisect.bisect_left(frames.arrived, begin) - 1)
    high = min(len(frames.arrived), bisect.bisect_right(frames.arrived, end) + 1)
    longest, at, own = 0, begin, 0
    for place in range(low + 1, high):
        length = frames.arrived[place] - frames.arrived[place - 1]
        if length > longest:
            longest, at = length, frames.arrived[place - 1]
            # Without a frame missing in between, the hole was there when they were sent.
            is_whole = frames.number[place] == frames.number[place - 1] + 1
            own = max(0, frames.sent[place] - frames.sent[place - 1]) if is_whole else 0
    return longest / 1e6, at, own / 1e6


def within(values, begin, end):
    """How many of ordered values are in a time."""
    return bisect.bisect_right(values, end) - bisect.bisect_left(values, begin)
