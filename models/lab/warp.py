#!/usr/bin/env python3
"""Makes days out of recorded minutes: warp.py RECORDINGS --out DIRECTORY --seed N [--days D] [--flows-per-day F] ...

Flows are those of recordings, packet by packet; what is new is when they happen and between whom. Hosts have habits,
working hours and weekends; their sum swings by a factor of five over the day. Attacks are put where they are asked for.
Time is the capture's, the same seed gives the same bytes, and labels.json says `"synthetic": true`; each flow names its
recording and its number there. Frames are cut to --snap bytes, their lengths on the wire are kept. Memory does not grow
with the days: packets leave in the order of their times, from a heap of the flows under way.
"""

import argparse
import heapq
import json
import math
import os
import random
import socket
import sys
from datetime import datetime, timezone

import flows
import hours
import labels
import pcap
from labels import DAY, HOUR
from library import PERIODIC, Library
from rewrite import Rewriter, Speller, inside_v6, mac_of

SWING = 5.2  # the curve between its ends; hour by hour that is a factor of five
CLOCK_SHARE = 0.2
GAP_NS = 300 * 1_000_000_000  # a longer silence of a host is no part of its host-days
CYCLES = {"beacon": (30, 3600), "mining": (120, 900), "dns_tunnel": (20, 300), "dga": (120, 1800)}
CYCLE_PACKETS = 60  # a mean flow of what goes on for hours has no more
VENDORS = 4  # servers of the programs that do a thing by the clock
LONE_SHARE = 0.25  # of those programs that have a server which nobody else asks
BEGINNING, REST = 20, 96  # of a longer flow only so many packets are kept to --snap, others to as many bytes


class Person:
    """One host of the days: what it likes, when it works, what it does by the clock."""

    def __init__(self, number, rng, address, habits, always):
        self.address, self.mac, self.always = address, mac_of(rng), always
        self.role, self.name = "client", f"w{number}"
        self.begin_h, self.hours = rng.gauss(8.5, 1.2), rng.gauss(9, 1)
        self.weight = rng.lognormvariate(0, 0.6)
        self.likes = [rng.choice([0.1, 0.5, 1, 1, 3]) for _ in habits]
        self.last_ns, self.active_ns = None, 0

    def rate(self, time_ns, weekday):
        """Share of its full activity at a time of the week."""
        if self.always:
            return 0.7
        hour = time_ns % DAY / HOUR
        if weekday >= 5:
            return 0.08
        inside = self.begin_h <= hour <= self.begin_h + self.hours
        return 1.0 if inside else 0.12


class Warp:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(f"warp {options.seed}")
        self.library = Library(options.recordings, options)
        self.start_ns = int(datetime.fromisoformat(options.start).replace(tzinfo=timezone.utc).timestamp()) * 1_000_000_000
        self.end_ns = self.start_ns + int(options.days * DAY)
        self.heap, self.order = [], 0
        self.count = {"benign": 0, "attack": 0}
        self.episodes = []
        self._make_people()

    # Who there is.

    def _make_people(self):
        rng, options = self.rng, self.options
        self.habits = sorted(name for name in self.library.honest if name not in PERIODIC)
        self.clocks = sorted(name for name in self.library.honest if name in PERIODIC)
        self.subnet = f"10.{rng.randrange(256)}"
        addresses = rng.sample(range(300, 60000), options.hosts + 32)
        place = [f"{self.subnet}.{number >> 8}.{number & 255 or 1}" for number in addresses]
        place = list(dict.fromkeys(place))
        self.inside_servers = [(address, mac_of(rng)) for address in place[:12]]
        self.people = [Person(number, rng, address, self.habits, rng.random() < options.always_on)
                       for number, address in enumerate(place[12:12 + options.hosts])]
        self.outside_servers = [(f"198.{rng.choice([18, 19])}.{rng.randrange(256)}.{rng.randrange(1, 255)}", mac_of(rng))
                                for _ in range(150)]
        self.far_ends = []
        self.rewriter = Rewriter(self.subnet)
        self.by_address = {socket.inet_aton(person.address): person for person in self.people}
        self.by_address |= {socket.inet_pton(socket.AF_INET6, inside_v6(person.address)): person for person in self.people}

    def far_end(self):
        """A server outside that only one attack has."""
        rng = self.rng
        self.far_ends.append((f"203.0.{rng.randrange(2, 255)}.{len(self.far_ends) % 254 + 1}", mac_of(rng)))
        return self.far_ends[-1]

    def server_for(self, person, activity, address, vendor=None):
        """The same host goes to the same servers for the same habit; elsewhere others do. A program that works by the clock has
        a vendor, whose servers everybody asks who has it."""
        known = activity.hosts.get(address)
        inside = known is None or known.inside
        pool = self.inside_servers if inside else self.outside_servers
        if vendor is not None and not inside:
            return random.Random(f"{self.options.seed} {activity.way} {vendor}").choice(pool)
        choice = random.Random(f"{self.options.seed} {person.name} {activity.way} {address if not inside else ''}").random()
        # A few servers have most visitors.
        return pool[int(len(pool) * choice * choice)]

    # When things happen.

    def swing(self, time_ns):
        """The day's curve, 1/sqrt(SWING) to sqrt(SWING), quietest at half past three."""
        hour = (time_ns % DAY) / HOUR
        return math.exp(-0.5 * math.log(SWING) * math.cos((hour - 3.5) / 24 * 2 * math.pi))

    def ramp(self, time_ns):
        return (1 + self.options.ramp) ** (max(0, time_ns - self.start_ns - self.options.ramp_from * DAY) / HOUR)

    def push(self, time_ns, what):
        self.order += 1
        heapq.heappush(self.heap, (time_ns, self.order, what))

    def plan(self):
        """The first event of every source of events."""
        options, rng = self.options, self.rng
        mean = {way: sum(len(one.templates) for one in found) / len(found) for way, found in self.library.honest.items()}
        clock_flows = 0.0
        # Each host has some from its first day on; now and then somebody gets another one.
        gets = [(person, way, 0) for person in self.people
                for way in rng.sample(self.clocks, min(len(self.clocks), rng.randrange(1, 4)))]
        for _ in range(round(options.new_clocks * options.hosts * options.days) if self.clocks else 0):
            gets.append((rng.choice(self.people), rng.choice(self.clocks), int(rng.random() * (self.end_ns - self.start_ns))))
        for person, way, since in gets:
            vendor = f"{person.name} alone" if rng.random() < LONE_SHARE else rng.randrange(VENDORS)
            low, high = PERIODIC[way]
            period = low * (high / low) ** rng.random()
            # What happens by the clock knows no night; it must leave room for the day's curve.
            period = max(period, 86400 / max(1.0, CLOCK_SHARE * options.flows_per_day / options.hosts / 3))
            clock_flows += 86400 / period
            state = [way, rng.choice(self.library.honest[way]), period, rng.choice([0, 0.02, 0.1]), vendor]
            self.push(self.start_ns + since + int(rng.random() * period * 1e9), ("clock", person, state))
        weight = sum(person.weight * sum(like * mean[way] for like, way in zip(person.likes, self.habits)) / sum(person.likes)
                     for person in self.people)
        self.base = options.flows_per_day / DAY / max(weight, 1e-9)
        self.by_clock = clock_flows / options.flows_per_day
        self.mean_swing = sum(self.swing(quarter * HOUR // 4) for quarter in range(96)) / 96
        for person in self.people:
            self.push(self.start_ns + int(rng.expovariate(1) / self._top(person)), ("person", person, None))
        self._plan_attacks()

    def _top(self, person):
        """The highest rate (per ns) of a person; its events are thinned to what holds at their times."""
        ceiling = math.sqrt(SWING) / self.mean_swing * max(1.0, self.ramp(self.end_ns))
        return max(self.base * person.weight * ceiling * 3, 1e-18)

    def present(self, time_ns):
        """The mean share of activity over all people, so that the sum follows the day's curve and not their hours."""
        key = time_ns // (HOUR // 4)
        if getattr(self, "_present", (None,))[0] != key:
            weekday = datetime.fromtimestamp(time_ns / 1e9, timezone.utc).weekday()
            total = sum(person.weight * person.rate(time_ns, weekday) for person in self.people)
            week = 1.0 if weekday < 5 else self.options.weekend
            self._present = (key, weekday, total / sum(person.weight for person in self.people) / week)
        return self._present[1:]

    def _plan_attacks(self):
        rng, options = self.rng, self.options
        families = sorted(self.library.attacks)
        for _ in range(round(options.attacks_per_day * options.days) if families else 0):
            family = rng.choice(families)
            self.push(self.start_ns + int(rng.random() * (self.end_ns - self.start_ns) * 0.98), ("attack", family, None))
        for text in options.attack_at or []:
            family, _, at = text.partition("@")
            if family not in self.library.attacks:
                raise labels.LabelError(f"--attack-at {text}: the recordings have no {family}; they have {', '.join(families)}")
            hour, _, minutes = at.partition(":")
            for day in range(math.ceil(options.days)):
                self.push(self.start_ns + day * DAY + (int(hour) * 60 + int(minutes or 0)) * 60_000_000_000,
                          ("attack", family, None))
        hours.plan(self)
        for family in CYCLES:
            for _ in range(options.cycles if family in self.library.attacks else 0):
                self._plan_cycle(family)

    def _plan_cycle(self, family):
        """An attack that goes on for hours: a recorded episode's flows again and again, by a period and jitter of days."""
        rng = self.rng
        able = [one for one in self.library.attacks[family] if one.size() <= CYCLE_PACKETS * len(one.templates)]
        if not able:
            return
        activity, person = rng.choice(able), rng.choice(self.people)
        low, high = CYCLES[family]
        period, jitter = low * (high / low) ** rng.random(), rng.choice([0, 0.05, 0.1, 0.3, 0.5])
        begin = self.start_ns + int(rng.random() * 0.3 * (self.end_ns - self.start_ns))
        end = begin + int(rng.uniform(0.3, 1) * (self.end_ns - begin))
        episode = self._episode(activity, begin, person, {"period_s": round(period, 1), "jitter": jitter, "cycle": True})
        self.push(begin, ("cycle", person, [activity, episode, period, jitter, end, self._stage(activity, person)]))

    # What happens.

    def run(self):
        out = self.options.out
        os.makedirs(out, exist_ok=True)
        self.writer = pcap.Writer(f"{out}/traffic.part", self.options.snap)
        self.lines = labels.FlowWriter(f"{out}/flows.csv")
        self.plan()
        told, hourly = self.start_ns, [0] * (24 * math.ceil(self.options.days))
        self.hourly = hourly
        while self.heap:
            time_ns, _, what = heapq.heappop(self.heap)
            kind = what[0]
            if kind == "packet":
                self._packet(time_ns, what)
                continue
            if time_ns >= self.end_ns:
                continue
            getattr(self, f"_{kind}")(time_ns, what[1], what[2])
            if time_ns - told > 2 * HOUR:
                told = time_ns
                print(f"{(time_ns - self.start_ns) / HOUR:.0f} of {self.options.days * 24:.0f} h, {self.writer.packets} packets",
                      file=sys.stderr, flush=True)
        self.writer.close()
        self.lines.close()
        self._labels()
        os.rename(f"{out}/traffic.part", f"{out}/traffic.pcap")

    def _person(self, time_ns, person, _state):
        rng = self.rng
        top = self._top(person)
        self.push(time_ns + max(1, int(rng.expovariate(1) / top)), ("person", person, None))
        weekday, present = self.present(time_ns)
        # People keep their hours; what the clock does is taken off, so that all flows together follow the curve.
        share = person.rate(time_ns, weekday) / max(present, 1e-9)
        curve = self.swing(time_ns) / self.mean_swing * self.ramp(time_ns) - self.by_clock
        rate = self.base * person.weight * share * max(0.0, curve)
        if rng.random() * top < rate:
            way = rng.choices(self.habits, person.likes)[0]
            activity = rng.choice(self.library.honest[way])
            self._play(time_ns, activity, self._stage(activity, person), None, 1.0)

    def _clock(self, time_ns, person, state):
        _, activity, period, jitter, vendor = state
        self.push(time_ns + max(1, int(period * (1 + self.rng.uniform(-jitter, jitter)) * 1e9)), ("clock", person, state))
        one = [self.rng.choice(activity.templates)]
        self._play(time_ns, activity, self._stage(activity, person, vendor=vendor), None, 1.0, one)

    def _long(self, time_ns, person, long):
        hours.happen(self, time_ns, person, long)

    def _cycle(self, time_ns, person, state):
        activity, episode, period, jitter, end, stage = state
        one = self.rng.choice(activity.templates)
        self._play(time_ns, activity, stage, episode, 1.0, [one])
        after = time_ns + max(1, int(period * (1 + self.rng.uniform(-jitter, jitter)) * 1e9))
        if after < end:
            self.push(after, ("cycle", person, state))

    def _attack(self, time_ns, family, _state):
        rng = self.rng
        activity = rng.choice(self.library.attacks[family])
        person = rng.choice(self.people)
        stretch = rng.choice([1.0, 1.0, 1.0, 4.0, 20.0])
        episode = self._episode(activity, time_ns, person, {"stretch": stretch})
        self._play(time_ns, activity, self._stage(activity, person), episode, stretch)

    def _episode(self, activity, time_ns, person, more):
        old = activity.episode
        episode = labels.Episode(len(self.episodes), "attack", old.family, old.tool, old.version, {**old.variant, **more},
                                 old.command, [person.address], [person.mac], [], time_ns, time_ns, old.forged_macs,
                                 origin=f"{activity.recording}#{old.id}")
        self.episodes.append(episode)
        return episode

    def _stage(self, activity, person, lair=None, vendor=None):
        """Who plays whom: recorded address -> (address, MAC) of the days; `lair`: the far end of an attack."""
        stage, rng = {}, self.rng
        vacant = rng.randrange(2, 230)
        for template in activity.templates:
            for number, raw in enumerate((template.source, template.target)):
                if raw in stage:
                    continue
                text = pcap.address(raw)
                host = activity.hosts.get(text)
                if host is not None and host.role in ("client", "attacker") and (number == 0 or activity.episode is None
                                                                               or host.mac in activity.episode.macs):
                    stage[raw] = (person.address, person.mac)
                elif host is not None and host.role == "client":
                    other = rng.choice(self.people)
                    stage[raw] = (other.address, other.mac)
                elif host is not None and host.role == "lair" and lair:
                    stage[raw] = lair
                elif host is not None and text in host.more and not host.inside:
                    # A service of its own, such as a resolver, is everybody's.
                    stage[raw] = random.Random(f"{self.options.seed} {activity.recording} {text}").choice(self.outside_servers)
                elif host is not None:
                    stage[raw] = self.server_for(person, activity, text, vendor)
                elif self.rewriter.within(text, activity.subnet):
                    # Nobody's: who asks for many such asks for many here, one beside the other.
                    stage[raw] = (f"{self.subnet}.{vacant}.{int(text.rsplit('.', 1)[1])}", mac_of(rng))
        return stage

    def _play(self, time_ns, activity, stage, episode, stretch, templates=None, spell=0):
        """Starts the flows of an activity; `spell`: names below a tunnel's domain are spelt by it."""
        begin = templates[0].offset_ns if templates else 0
        for template in templates or activity.templates:
            play = self.rewriter.play(template, stage, self.rng)
            play.spell = Speller(spell, episode.id) if spell and 53 in (template.sport, template.dport) else None
            at = time_ns + int((template.offset_ns - begin) * stretch)
            flow = flows.Flow()
            flow.protocol, flow.source, flow.target = template.protocol, play.source, play.target
            flow.sport, flow.dport, flow.kind = play.sport, template.dport if not play.echo else play.sport, play.kind
            flow.start, flow.end, flow.packets, flow.answers, flow.bytes = at, at, 0, 0, 0
            self.push(at, ("packet", play, 0, flow, episode, activity, at, stretch))

    def _packet(self, time_ns, what):
        _, play, index, flow, episode, activity, begin, stretch = what
        _, forward, frame, length = play.template.packets[index]
        self.writer.write(time_ns, play.frame(index)[:self.options.snap if index < BEGINNING else min(REST, self.options.snap)], length)
        flow.end = time_ns
        flow.packets += 1
        flow.answers += not forward
        flow.bytes += length
        if index + 1 < len(play.template.packets):
            # Within a flow things take the time they took, as programs and the network do.
            self.push(begin + play.template.packets[index + 1][0],
                      ("packet", play, index + 1, flow, episode, activity, begin, stretch))
            return
        origin = f"{activity.recording}#{play.template.number}"
        if episode is None:
            self.count["benign"] += 1
            self.lines.write(flow, ("benign", "", None, activity.way), origin)
        else:
            self.count["attack"] += 1
            episode.saw(flow)
            episode.end_ns = max(episode.end_ns, time_ns)
            self.lines.write(flow, ("attack", episode.family, episode.id, episode.variant["way"]), origin)
        hour = (flow.start - self.start_ns) // HOUR
        if episode is None and hour < len(self.hourly):
            self.hourly[hour] += 1
        person = self.by_address.get(flow.source)
        if person is not None and episode is None:
            if person.last_ns is not None and flow.start - person.last_ns <= GAP_NS:
                person.active_ns += max(0, flow.start - person.last_ns)
            person.last_ns = max(person.last_ns or 0, flow.start)

    def _labels(self):
        options = self.options
        entries = [labels.HostEntry(person.name, "client", person.address, inside_v6(person.address), person.mac, True)
                   for person in self.people]
        for name, pool, inside in (("site", self.inside_servers, True), ("out", self.outside_servers, False),
                                   ("far", self.far_ends, False)):
            entries += [labels.HostEntry(f"{name}{number}", "server", address, inside_v6(address), mac, inside)
                        for number, (address, mac) in enumerate(pool)]
        for episode in self.episodes:
            episode.variant = {key: value for key, value in episode.variant.items() if key != "targets"}
        settings = {name: getattr(options, name) for name in ("flows_per_day", "hosts", "ramp", "ramp_from", "snap", "max_packets",
                                                              "attacks_per_day", "attack_at", "cycles", "weekend", "always_on",
                                                              "long", "quiet_days", "new_clocks")}
        labels.write(labels.Labels(
            "traffic.pcap", "flows.csv", True, options.seed, options.days * 86400.0, self.start_ns, self.end_ns,
            f"{self.subnet}.0.0/16", "fd00::/64", [], entries, self.episodes, self.count, generator={
                "settings": settings, "recordings": self.library.recordings, "honest_flows_by_hour": self.hourly,
                "swing_by_day": labels.swing_by_day(self.hourly),
                "packets": self.writer.packets, "frames_cut_to": options.snap,
                "host_days": round(sum(person.active_ns for person in self.people) / DAY, 2)}), options.out)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recordings")
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--days", type=float, default=1)
    arguments.add_argument("--start", default="2026-01-05", help="capture time of the first midnight (a Monday)")
    arguments.add_argument("--flows-per-day", type=int, default=100_000, help="honest flows")
    arguments.add_argument("--hosts", type=int, default=40)
    arguments.add_argument("--always-on", type=float, default=0.3, help="share of hosts that know no office hours")
    arguments.add_argument("--weekend", type=float, default=0.35, help="a weekend day's share of a weekday's flows")
    arguments.add_argument("--ramp", type=float, default=0.0, help="growth an hour, 0.02 for two per cent")
    arguments.add_argument("--ramp-from", type=float, default=0, metavar="DAYS", help="days before the growth begins")
    arguments.add_argument("--attacks-per-day", type=float, default=12)
    arguments.add_argument("--attack-at", action="append", metavar="FAMILY@HH:MM", help="each day; 03:30 is the quietest hour")
    arguments.add_argument("--cycles", type=int, default=1, help="attacks of each family that goes on for hours")
    arguments.add_argument("--long", type=int, default=0, help="attacks of each family of hours.py, with far ends of their own")
    arguments.add_argument("--quiet-days", type=float, default=0, help="days before the first of those")
    arguments.add_argument("--new-clocks", type=float, default=0.02, help="programs that a host gets a day and that work by the clock")
    arguments.add_argument("--snap", type=int, default=128, help="bytes kept of each frame")
    arguments.add_argument("--max-packets", type=int, default=40, help="longer honest flows are not used")
    arguments.add_argument("--max-flows", type=int, default=12, help="flows used of one honest episode")
    arguments.add_argument("--max-attack-packets", type=int, default=20_000, help="larger attacks are not used")
    arguments.add_argument("--per-habit", type=int, default=120, help="recorded episodes used of each habit")
    arguments.add_argument("--per-family", type=int, default=60, help="recorded episodes used of each family")
    options = arguments.parse_args()
    if os.path.exists(f"{options.out}/traffic.pcap"):
        print(f"{options.out}: already made")
        return 0
    try:
        warp = Warp(options)
        warp.run()
    except (labels.LabelError, pcap.CaptureError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {json.dumps(warp.count)} flows, {warp.writer.packets} packets, {len(warp.episodes)} attacks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
