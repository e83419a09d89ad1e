#!/usr/bin/env python3
"""Makes one labelled recording: record.py --seed N --seconds S --out DIRECTORY [--benign-only [--clients N]] [--only NAME,...]

Real servers, honest clients and attackers in namespaces without a way out, `tcpdump` on the switch between them. Writes
`traffic.pcap` (long frames shortened), `labels.json` and `flows.csv` (format: README.md); who attacks is known because
we start it. A directory that has a finished recording is left as it is. Needs root and the packages of packages.txt.
"""

import argparse
import contextlib
import json
import os
import pickle
import random
import shutil
import signal
import sys
import threading
import time
import traceback

import flows
import honest
import labels
import office
import services
from actor import Actor, versions
from attacks import TOOLS, WAYS
from isolate import OUT, SOURCE, WORK, LabError, enter_network, isolated
from services import data
from topology import Network

STRIDE = 26  # episodes that a recording of two minutes gets through, so that the next goes on there
FREE_MIB = 800
MOST_CLIENTS = 980  # ports of a bridge (linux: BR_MAX_PORTS, 1024) beside those of servers
UP_S = 120  # all servers of a machine that has other things to do


class Busy(OSError):
    """An honest program uses what the episode needs."""


def order_of(pairs):
    """Pairs of family and tool, each at least once and every family as often as any other: a family's figures want episodes,
    however few tools it has."""
    families = {}
    for pair in sorted(pairs):
        families.setdefault(pair[0], []).append(pair)
    rng, order = random.Random(7), []
    for number in range(max(map(len, families.values()))):
        # Round by round, so that every stretch of it has every family.
        one = [tools[number % len(tools)] for tools in families.values()]
        rng.shuffle(one)
        order += one
    return order


class Recording:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        self.over, self.lock = threading.Event(), threading.Lock()
        self.network = Network(self.rng, options.clients)
        self.servers, self.clients, self.attackers, self.dead = [], [], [], []
        self.episodes, self.trouble = [], []
        self.busy, self.in_use, self.reserved, self.alone = set(), [], [], False
        self.share_v6 = self.rng.choice([0, 0, 0.2, 0.5])
        self.think_s = self.rng.choice([0.5, 1, 2])
        self.deck, self.deals, self.living = [], 0, 0
        wanted = options.habits.split(",") if options.habits else [habit.name for habit in honest.HABITS]
        self.may = [habit for habit in honest.HABITS if habit.name in wanted]
        if len(self.may) != len(wanted):
            raise LabError(f"--habits {options.habits}: not all of these are in the registry; see record.py --list")
        # A finite list of things to do, not a time to fill.
        self.listed = options.each or bool(options.only)
        self.versions = versions({**TOOLS, **honest.TOOLS})
        self.office = office.Office(self, options.think) if options.clients else None

    # Making it.

    def make(self):
        began = time.monotonic()
        self._hosts()
        self.say(f"{len(self.network.hosts)} hosts up after {time.monotonic() - began:.0f} s")
        seconds = self.options.seconds
        capture = self._capture()
        start_ns = time.time_ns()
        self.habits = list(self.may) if self.options.each else []
        live = self._each_habit if self.options.each else self._honest_life
        threads = list(self.office.threads()) if self.office else [
            threading.Thread(target=live, args=(client, self.rng.random()), daemon=True) for client in self.clients
            for _ in range(1 if self.options.each else self.rng.choice([1, 1, 1, 2]))]
        if not self.options.benign_only:
            self._deal()
            for _ in range(len(self.attackers) + 2):
                threads.append(threading.Thread(target=self._direct, args=(self.rng.random(),), daemon=True))
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        told = time.monotonic()
        while time.monotonic() < end and not (self.listed and not (self.deck or self.busy or self.habits or self.living)):
            time.sleep(0.2)
            if time.monotonic() - told > 15:
                told = time.monotonic()
                done = sum(episode.counts_as == "attack" for episode in self.episodes)
                self.say(f"{seconds - (end - told):.0f} of {seconds:.0f} s, {done} attacks, {len(self.episodes) - done} honest")
                if shutil.disk_usage(OUT).free >> 20 < FREE_MIB:
                    self.trouble.append(f"ended {end - told:.0f} s early: less than {FREE_MIB} MiB free")
                    break
        self.over.set()
        end = time.monotonic() + (60 if self.office else 15)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        time.sleep(1.0)
        end_ns = time.time_ns()
        capture.send_signal(signal.SIGTERM)
        capture.wait()
        self.network.check()
        self._finish(start_ns, end_ns)

    def _capture(self):
        """Who records, and does already. Without attackers what is not kept is never written."""
        first = f"{OUT}/{'traffic' if self.options.benign_only else 'raw'}.part"
        capture = self.network.start("switch", ["python3", f"{SOURCE}/trim.py", "br0", OUT] if self.options.benign_only else [
            "tcpdump", "-i", "br0", "-s", "0", "-B", "65536", "-Z", "root", "-n", "-w", first])
        end = time.monotonic() + UP_S
        while not os.path.exists(first):
            if capture.poll() is not None or time.monotonic() > end:
                raise LabError("the capture does not start: run models/lab/trim.py by hand on an interface, as root, to see why")
            time.sleep(0.1)
        time.sleep(1.0)
        return capture

    def say(self, text):
        print(f"seed {self.options.seed}: {text}", flush=True)

    def _hosts(self):
        rng, network = self.rng, self.network
        services.people()
        network.open()
        lair = network.lair = network.add_host("lair", inside=False, distance=self._distance())
        network.more_addresses(lair, 6)
        self.site = network.add_host("server")
        self.servers = [self.site]
        kinds = {lair: "lair", self.site: "site"}
        for _ in range(office.OUTSIDE if self.office else rng.choice([1, 2])):
            host = network.add_host("server", inside=False, distance=self._distance())
            network.more_addresses(host, 1)
            kinds[host] = "outside"
            self.servers.append(host)
        # The machine's own resolver is not of this world.
        with open("/etc/resolv.conf", "w") as out:
            out.write(f"nameserver {self.site.v4}\noptions timeout:2 attempts:1\n")
        # A link that is late is a process; hundreds of hosts have none.
        self.clients = [network.add_host("client") for _ in range(self.options.clients)] if self.office else [
            network.add_host("client", distance=rng.choice([(0, 0, 0), (0, 0, 0), (2, 0.2, 0)])) for _ in range(rng.randrange(8, 14))]
        self.desks = self.clients[:3]
        kinds |= {host: "desk" for host in self.desks}
        starting = [threading.Thread(target=self._start, args=(host, kind, rng.random()))
                    for host, kind in kinds.items()]
        for thread in starting:
            thread.start()
        self.attackers = [network.add_host("attacker", distance=rng.choice([(0, 0, 0), (2, 0.5, 0), (12, 3, 0.002)]))
                          for _ in range(0 if self.options.benign_only else rng.choice([2, 3]))]
        for thread in starting:
            thread.join()
        if self.trouble:
            raise LabError(f"servers do not start: {self.trouble[0]}")
        for host in self.attackers:
            network.more_addresses(host, rng.choice([0, 4, 12]))
        self.dead = network.dead_addresses(self.site, 30)
        for host, kind in kinds.items():
            wanted = [name for name in host.port if name not in ("dns", "ntp", "echo", "sink", "snmp", "doh", "http-proxy")]
            late = data.wait_up(host, wanted, UP_S)
            if late:
                raise LabError(f"{kind} server: {', '.join(late)} not up after {UP_S} s: look at services/ for how it starts, "
                               f"and install what packages.txt lists (ci/install-packages.sh lab)")

    def _start(self, host, kind, seed):
        try:
            services.start(self.network, host, kind, f"{WORK}/{host.name}", random.Random(seed))
        except Exception as error:
            self.trouble.append(f"{kind}: {error!r}")
            traceback.print_exc()

    def _distance(self):
        """Some hosts are next door, some an ocean away, some lose frames."""
        delay = self.rng.choice([0, 2, 12, 40, 110, 250])
        return delay, delay * self.rng.choice([0, 0.1, 0.4]), self.rng.choice([0, 0, 0.002, 0.02])

    # Honest life.

    def servers_for(self, host):
        """Servers that no episode on this host has taken for itself."""
        with self.lock:
            taken = {address for who, addresses in self.reserved if who is host for address in addresses}
        return [server for server in self.servers if server.v4 not in taken]

    def _honest_life(self, host, seed):
        enter_network(host.name)
        rng = random.Random(seed)
        # People differ: each has some habits they follow most of the time.
        liked = [habit.weight * rng.choice([0.2, 1, 1, 3]) for habit in self.may]
        while not self.over.is_set():
            habit = rng.choices(self.may, liked)[0]
            able = [one for one in self.servers_for(host) if all(need in one.port for need in habit.needs)]
            if able:
                self.live(host, habit, rng.choice(able), rng.random())
            self.over.wait(min(8, rng.expovariate(1 / self.think_s)))

    def _each_habit(self, host, seed):
        """Takes habits off the list until it is empty."""
        enter_network(host.name)
        rng = random.Random(seed)
        while not self.over.is_set():
            with self.lock:
                if not self.habits:
                    return
                habit = self.habits.pop()
                self.living += 1
            able = [one for one in self.servers if all(need in one.port for need in habit.needs)]
            self.live(host, habit, rng.choice(able), rng.random())
            self.living -= 1

    def live(self, host, habit, server, seed, **drawn):
        """Does once what the habit does, on the calling thread, which is in the host's namespace. `drawn`: of its variant."""
        actor, use = Actor(host, self, seed), (host, server.v4)
        with self.lock:
            if any(who is host and server.v4 in addresses for who, addresses in self.reserved):
                return
            self.in_use.append(use)
        start = time.time_ns()
        try:
            longest = habit.seconds if self.office else 12 if self.options.each else 60
            actor.until = time.monotonic() + min(habit.seconds, longest)
            habit.act(actor, server)
        except OSError:
            pass
        except Exception:
            self._trouble(habit.name)
        finally:
            actor.end_all()
            with self.lock:
                self.in_use.remove(use)
                self.episodes.append(labels.Episode(
                    0, "benign", "", habit.tool, self.versions.get(habit.tool, ""), {"way": habit.name, **drawn, **actor.variant},
                    actor.command[:300], [host.v4, host.v6], [host.mac],
                    [server.v4, server.v6, *server.more], start, time.time_ns()))

    def honest(self, host, way, start_ns, tool="ours"):
        """Notes what an honest host was made to do beside its own habits."""
        with self.lock:
            self.episodes.append(labels.Episode(0, "benign", "", tool, self.versions.get(tool, ""), {"way": way}, "",
                                                [host.v4, host.v6], [host.mac], [], start_ns, time.time_ns()))

    def _trouble(self, name):
        self.trouble.append(f"{name}: {traceback.format_exc(limit=-2)}")

    # Attacks.

    def _deal(self):
        """The next ways to go, in an order that goes on in the next recording."""
        wanted = self.options.only.split(",") if self.options.only else [way.family for way in WAYS] if self.listed else None
        pairs = {}
        for way in WAYS:
            if wanted is None or {way.family, way.tool, way.name, f"{way.family}/{way.tool}"} & set(wanted):
                pairs.setdefault((way.family, way.tool), []).append(way)
        if wanted and not pairs:
            raise LabError(f"--only {self.options.only}: no family, tool or way of that name; see record.py --list")
        if wanted:
            self.deck = list({(way.family, way.tool, way.name): way for ways in pairs.values() for way in ways}.values())
            return
        order = order_of(pairs)
        at = self.options.seed * STRIDE % len(order) if not self.deals else 0
        rest = order[at:] + order[:at]
        self.deals += 1
        self.deck += [self.rng.choice(pairs[pair]) for pair in rest]

    def _draw(self, rng):
        """A way that can start now, with the hosts it starts on; None: none can."""
        with self.lock:
            if len(self.deck) < 10 and not self.listed:
                self._deal()
            free = [host for host in self.attackers if host not in self.busy]
            taken_over = [host for host in self.clients if host not in self.busy]
            for number, way in enumerate(self.deck[:40]):
                hosts = {"attacker": free[:1], "client": [rng.choice(taken_over)] if taken_over else [],
                         "many": free[:1] + rng.sample(taken_over, min(len(taken_over), rng.choice([2, 3])))}[way.by]
                if not hosts or (way.by == "many" and (len(hosts) < 3 or not free)):
                    continue
                if (way.alone or way.forges_macs) and self.alone:
                    continue
                del self.deck[number]
                self.busy.update(hosts)
                self.alone |= way.alone or way.forges_macs
                return way, hosts
        return None

    def _direct(self, seed):
        rng = random.Random(seed)
        self.over.wait(rng.uniform(0.5, 3))
        while not self.over.is_set():
            drawn = self._draw(rng)
            if drawn is None:
                if self.listed and not self.deck:
                    return
                self.over.wait(0.3)
                continue
            way, hosts = drawn
            try:
                self._attack(way, hosts, rng)
            finally:
                # So that no late packet of one attack counts for the next.
                self.over.wait(rng.uniform(1.5, 3))
                with self.lock:
                    self.busy.difference_update(hosts)
                    self.alone &= not (way.alone or way.forges_macs)

    def _attack(self, way, hosts, rng):
        seed, limit = rng.random(), rng.uniform(*way.seconds)
        actors = [Actor(host, self, seed) for host in hosts]
        done = []

        def act(actor):
            enter_network(actor.host.name)
            actor.peers = set()
            actor.part = actors.index(actor), len(actors)
            actor.started_ns = time.time_ns()
            actor.until = time.monotonic() + limit
            try:
                way.act(actor)
                done.append(actor)
            except Busy:
                pass
            except OSError as error:
                actor.outcome = repr(error)
                done.append(actor)
            except Exception as error:
                actor.outcome = repr(error)
                self._trouble(f"{way.family}/{way.tool}/{way.name}")
                done.append(actor)
            finally:
                actor.end_all()
                actor.ended_ns = time.time_ns()

        threads = [threading.Thread(target=act, args=(actor,)) for actor in actors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self.lock:
            self.reserved = [(who, addresses) for who, addresses in self.reserved if who not in hosts]
            # What the recording's end stopped before it had sent a frame did not happen.
            if not done or self.over.is_set() and all(actor.outcome.endswith(actor.NOTHING) for actor in done):
                return
            peers = set().union(*(actor.peers or () for actor in done))
            first = done[0]
            targets = first.variant.pop("targets", sorted(peers))
            self.episodes.append(labels.Episode(
                0, "attack", way.family, way.tool, self.versions.get(way.tool, ""),
                {"way": way.name, **first.variant, **({"link_layer": True} if way.link_layer else {}),
                 **({"hosts": len(done)} if len(done) > 1 else {})},
                first.command[:500] or f"{way.act.__module__}.{way.act.__name__}",
                [address for actor in done for address in (actor.host.v4, actor.host.v6, *actor.host.more)],
                sorted({host.mac for actor in done for host in (actor.host, *actor.relays)}), targets,
                min(actor.started_ns for actor in done), max(actor.ended_ns for actor in done), way.forges_macs,
                sorted(peers), outcome=first.outcome))

    def reserve(self, actor, addresses):
        """Keeps honest programs of this host away from the addresses while the episode lasts."""
        with self.lock:
            self.reserved.append((actor.host, set(addresses)))
        end = time.monotonic() + 8
        while True:
            with self.lock:
                if not any(who is actor.host and address in addresses for who, address in self.in_use):
                    break
            if time.monotonic() > end or self.over.wait(0.1):
                raise Busy("an honest program uses it")
        # What the honest program left behind ends.
        self.over.wait(0.3)
        if not actor.command:
            actor.started_ns = time.time_ns()

    # Writing it down.

    def _finish(self, start_ns, end_ns):
        network = self.network
        self.episodes.sort(key=lambda episode: episode.start_ns)
        for number, episode in enumerate(self.episodes):
            episode.id = number
        turns = {bytes.fromhex(host.mac.replace(":", "")): [
            one.start_ns for one in self.episodes if host.mac in one.macs] for host in self.attackers}
        part = f"{OUT}/{'flows' if self.options.benign_only else 'raw'}.part"
        if self.options.benign_only:
            with open(part, "rb") as text:
                all_flows, lost = pickle.load(text)
            if lost:
                self.trouble.append(f"capture: {lost} frames lost")
        else:
            all_flows = flows.trim(part, f"{OUT}/traffic.part", turns)
        entries = [labels.HostEntry(host.name, host.role, host.v4, host.v6, host.mac, host.inside, host.more, host.port)
                   for host in network.hosts]
        judge = labels.Judge(entries, self.episodes, start_ns, end_ns)
        writer, counts = labels.FlowWriter(f"{OUT}/flows.csv"), {}
        for flow in all_flows:
            verdict = judge.judge(flow)
            writer.write(flow, verdict)
            name = verdict[0] if verdict[0] != "background" else f"background/{verdict[3]}"
            counts[name] = counts.get(name, 0) + 1
            if verdict[2] is not None:
                self.episodes[verdict[2]].saw(flow)
        writer.close()
        labels.write(labels.Labels(
            "traffic.pcap", "flows.csv", False, self.options.seed, self.options.seconds, start_ns, end_ns,
            str(network.prefix), f"{network.subnet6}/64", self.dead, entries, self.episodes, counts), OUT)
        os.rename(f"{OUT}/traffic.part", f"{OUT}/traffic.pcap")
        os.remove(part)
        with open(f"{OUT}/trouble.txt", "w") as out:
            out.write("\n".join(self.trouble) + ("\n" if self.trouble else ""))
        attacks = [episode for episode in self.episodes if episode.counts_as == "attack"]
        silent = [f"{one.family}/{one.tool}/{one.variant['way']} ({one.outcome})" for one in attacks if not one.flows]
        self.say(f"{len(all_flows)} flows {json.dumps(counts, sort_keys=True)}, {len(attacks)} attacks"
                 + (f", without a flow: {', '.join(silent)}" if silent else ""))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--seconds", type=float, help="120; with --clients 3900")
    arguments.add_argument("--out")
    arguments.add_argument("--benign-only", action="store_true")
    arguments.add_argument("--clients", type=int, default=0, help="so many honest hosts instead of a dozen, with --benign-only")
    arguments.add_argument("--think", type=float, default=office.THINK_S, help="seconds between two things of one of --clients")
    arguments.add_argument("--only", default="", help="families, tools, ways or FAMILY/TOOL, each run once")
    arguments.add_argument("--habits", default="", help="the only habits of honest hosts")
    arguments.add_argument("--each", action="store_true", help="every habit once, and every attack (or those of --only)")
    arguments.add_argument("--output", action="store_true", help="keep what the programs say in output.txt")
    arguments.add_argument("--list", action="store_true", help="show the registry")
    options = arguments.parse_args()
    if options.list:
        for way in WAYS:
            print(f"{way.family:18} {way.tool:14} {way.name}")
        for habit in honest.HABITS:
            print(f"{'honest':18} {habit.tool:14} {habit.name}")
        return 0
    if not options.out:
        arguments.error("--out DIRECTORY is missing")
    options.seconds = options.seconds or (office.SECONDS if options.clients else 120)
    if options.clients and (not options.benign_only or options.each or not 0 < options.clients <= MOST_CLIENTS):
        arguments.error(f"--clients takes 1 to {MOST_CLIENTS}, with --benign-only and without --each")
    if os.path.exists(f"{options.out}/traffic.pcap"):
        print(f"{options.out}: already recorded")
        return 0
    try:
        os.makedirs(options.out, exist_ok=True)
        free = shutil.disk_usage(options.out).free >> 20
        if free < FREE_MIB:
            raise LabError(f"{options.out}: {free} MiB free, a recording may need {FREE_MIB}: make room or name another --out")
        with office.roomy(options.clients) if options.clients else contextlib.nullcontext():
            return isolated(options.out, lambda: Recording(options).make())
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
