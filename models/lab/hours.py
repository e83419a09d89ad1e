"""Attacks that take hours, out of recorded minutes: calls home, tunnels, generated names and data that leaves, after quiet days.

What a program sends is recorded; when it sends it is drawn: a sleep and a jitter as implants have them, some calls dropped,
bytes at once or by drops over days. Each attack has a far end of its own. Names that a tunnel or a generator asks for
are asked once: those of a tunnel are spelt anew for each play (`rewrite.Speller`), generators' come from all recordings.
"""

import pcap
from labels import HOUR

FAMILIES = ("beacon", "dns_tunnel", "doh_tunnel", "dga", "exfiltration")
# Seconds between two calls; what common frameworks sleep by default lies between (60 s: Cobalt Strike, 10 s: Empire's 5 and more).
SLEEPS = {"beacon": (30, 60, 120, 300, 600), "dns_tunnel": (5, 10, 30, 60), "doh_tunnel": (5, 10, 30), "dga": (60, 120, 300, 600)}
JITTERS = (0, 0.1, 0.2, 0.3, 0.5)
LASTS_H = {"beacon": (9, 20), "dns_tunnel": (4, 12), "doh_tunnel": (3, 8), "dga": (6, 12)}
DROPPED = (0, 0, 0.1, 0.3)
BYTES = (12e6, 80e6)
SLOW_H = (8, 30)
PACKETS = 40_000


class Long:
    """One attack of hours: what it plays, how often, until when."""

    def __init__(self, plays, stages, episode, period, jitter, dropped, end, left=None):
        self.plays, self.stages, self.episode = plays, stages, episode
        self.period, self.jitter, self.dropped, self.end, self.left = period, jitter, dropped, end, left


def taken(activities):
    """By tool and generator what can be played: (activity, flow) begun by the attacker itself, answered."""
    pools = {}
    for activity in activities:
        kind = (activity.episode.tool, activity.episode.variant.get("generator", ""), activity.episode.variant["way"])
        for template in activity.templates:
            # A connection that is refused has three packets at most.
            least = 4 if template.protocol == pcap.TCP else 2
            if template.protocol != "arp" and began_inside(activity, template) and len(template.packets) >= least:
                pools.setdefault(kind, []).append((activity, template))
    return pools


def began_inside(activity, template):
    """A resolver that passes names on is no attacker."""
    host = activity.hosts.get(pcap.address(template.source))
    return host is not None and host.role in ("client", "attacker")


def plan(warp):
    """Puts `--long` attacks of each family behind the quiet days, tools and ways in turn."""
    rng, options = warp.rng, warp.options
    quiet = warp.start_ns + int(options.quiet_days * 24) * HOUR
    for family in FAMILIES:
        pools = taken(warp.library.attacks.get(family, []))
        kinds = sorted(pools)
        rng.shuffle(kinds)
        people = list(warp.people)
        for number in range(options.long if kinds else 0):
            if number % len(people) == 0:
                rng.shuffle(people)
            kind, person = kinds[number % len(kinds)], people[number % len(people)]
            _put(warp, family, pools[kind], person, quiet)


def _put(warp, family, pool, person, quiet):
    rng = warp.rng
    activity = rng.choice(pool)[0]
    plays = pool if family == "dga" else [one for one in pool if one[0] is activity]
    if family == "exfiltration":
        total = BYTES[0] * (BYTES[1] / BYTES[0]) ** rng.random()
        mean = sum(packet[3] for _, template in plays for packet in template.packets) / len(plays)
        slow = rng.random() < 0.5
        lasts = rng.uniform(*SLOW_H) if slow else rng.uniform(0.1, 0.8)
        # Names carry little: what leaves in them is as much as a slow line takes.
        total = min(total, 3e6) if activity.episode.variant["way"] == "dns" else total
        period, jitter, dropped = lasts * 3600 / max(1, total / mean), rng.choice(JITTERS), 0
        more, left = {"pace": "slow" if slow else "fast", "total_bytes": int(total)}, total
    else:
        lasts = rng.uniform(*LASTS_H[family])
        period, jitter, dropped, left = rng.choice(SLEEPS[family]), rng.choice(JITTERS), rng.choice(DROPPED), None
        # What was one connection of many packets is one each time: shorter, then rarer, so that no attack is most of the days.
        mean = sum(len(template.packets) for _, template in plays) / len(plays)
        lasts = min(lasts, max(1, PACKETS * period / mean / 3600))
        period = max(period, round(lasts * 3600 * mean / PACKETS))
        more = {"period_s": period, "dropped": dropped}
    begin = quiet + int(rng.random() * max(1, warp.end_ns - quiet - lasts * HOUR))
    episode = warp._episode(activity, begin, person, {**more, "jitter": jitter, "hours": round(lasts, 1)})
    lair = warp.far_end()
    stages = {}
    for one, _ in plays:
        if id(one) not in stages:
            stages[id(one)] = warp._stage(one, person, lair)
    warp.push(begin, ("long", person, Long(plays, stages, episode, period, jitter, dropped, begin + int(lasts * HOUR), left)))


def happen(warp, time_ns, person, long):
    """One call, and when the next one is."""
    rng = warp.rng
    if rng.random() >= long.dropped:
        activity, template = rng.choice(long.plays)
        if long.left is not None:
            long.left -= sum(packet[3] for packet in template.packets)
        spell = rng.getrandbits(32) if long.episode.family != "dga" else 0
        warp._play(time_ns, activity, long.stages[id(activity)], long.episode, 1.0, [template], spell)
    after = time_ns + max(1, int(long.period * (1 + rng.uniform(-long.jitter, long.jitter)) * 1e9))
    if after < min(long.end, warp.end_ns) and (long.left is None or long.left > 0):
        warp.push(after, ("long", person, long))
