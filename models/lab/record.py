#!/usr/bin/env python3
"""Makes one labelled recording: record.py --seed N --seconds S --out DIRECTORY [--benign-only]

Real servers, clients and attackers in network namespaces without a route out; `tcpdump` on the switch between them.
Who attacks is known because we start it: `labels.json` names every host, its role and every attack with its times.
Writes `traffic.pcap` (first 128 bytes of each frame) and `labels.json`. Needs root, and the Debian packages that
`models/lab/packages.txt` lists.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import attacks
import benign
import servers
from network import Network, enter


class Actor:
    """One thread that does things on one host; what it starts runs in that host's namespace."""

    def __init__(self, host, recording, seed):
        self.host, self.recording, self.rng = host, recording, random.Random(seed)
        self.subnet, self.share_v6, self.dead = recording.network.subnet, recording.share_v6, recording.dead
        self.running = set()

    def pause(self, seconds):
        """Waits; `False` when the recording is over."""
        return not self.recording.over.wait(seconds)

    def spawn(self, command, stdin=False):
        process = subprocess.Popen([str(word) for word in command], cwd=self.recording.work, start_new_session=True,
                                   stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.running.add(process)
        return process

    def run(self, command, timeout):
        process = self.spawn(command)
        end = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < end and not self.recording.over.wait(0.02):
            pass
        self.end(process)

    def end(self, process):
        if process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()
        self.running.discard(process)

    def scratch(self, size):
        path = tempfile.mktemp(dir=self.recording.work)
        with open(path, "wb") as out:
            out.write(self.rng.randbytes(size))
        return path

    def scratch_lines(self, lines):
        path = tempfile.mktemp(dir=self.recording.work)
        with open(path, "w") as out:
            out.write("\n".join(lines) + "\n")
        return path

    def act_honestly(self):
        enter(self.host.namespace)
        habits, weights = zip(*benign.HABITS)
        # People differ: each has some habits they follow most of the time.
        liked = [weight * self.rng.choice([0.2, 1, 1, 3]) for weight in weights]
        while not self.recording.over.is_set():
            habit = self.rng.choices(habits, liked)[0]
            try:
                habit(self, self.rng.choice(self.recording.servers))
            except OSError:
                pass
            self.pause(min(8, self.rng.expovariate(1 / self.recording.think_s)))

    def attack(self):
        enter(self.host.namespace)
        turn = self.rng.randrange(len(attacks.ORDER))
        self.pause(self.rng.uniform(1, 8))
        while not self.recording.over.is_set():
            family = attacks.ORDER[turn % len(attacks.ORDER)]
            turn += 1
            way = self.rng.choice(attacks.FAMILIES[family])
            job = way(self, self.rng.choice(self.recording.servers))
            event = {"source": self.host.v4, "source6": self.host.v6, "family": family, "start": time.time(),
                     "command": " ".join(map(str, job)) if isinstance(job, list) else way.__name__}
            if callable(job):
                job()
            else:
                self.run(job, self.rng.uniform(12, 30))
            event["end"] = time.time()
            self.recording.events.append(event)
            # So that no late packet of one attack counts for the next.
            self.pause(self.rng.uniform(1.5, 4))


class Recording:
    def __init__(self, seed, seconds, out, benign_only):
        self.rng = random.Random(seed)
        self.seed, self.seconds, self.out, self.benign_only = seed, seconds, out, benign_only
        self.over, self.events, self.servers = threading.Event(), [], []
        self.work = tempfile.mkdtemp(prefix="shrike-lab-")
        os.chmod(self.work, 0o755)
        self.network = Network(self.rng, self.work)
        self.share_v6 = self.rng.choice([0, 0, 0.2, 0.5])
        self.think_s = self.rng.choice([0.3, 0.8, 1.5])
        self.dead = []

    def make(self):
        os.makedirs(self.out, exist_ok=True)
        rng, network = self.rng, self.network
        try:
            network.open()
            for number in range(rng.choice([1, 2, 2])):
                host = network.add_host("server")
                servers.start(network, host, f"{self.work}/s{number}", rng)
                self.servers.append(host)
            clients = [network.add_host("client", *self._distance()) for _ in range(rng.randrange(3, 6))]
            attackers = [] if self.benign_only else [
                network.add_host("attacker", *self._distance()) for _ in range(rng.choice([1, 2]))]
            self.dead = network.dead_addresses(self.servers[0], 40)
            time.sleep(1.5)  # servers open their ports, bridge ports start to forward
            capture = network.start(network.switch, ["tcpdump", "-i", "br0", "-s", "128", "-B", "16384", "-Z", "root",
                                                     "-n", "-w", f"{self.out}/traffic.pcap.part"])
            time.sleep(0.7)
            started = time.time()
            actors = [Actor(host, self, rng.random()) for host in clients for _ in range(rng.choice([1, 2, 3]))]
            threads = [threading.Thread(target=actor.act_honestly, daemon=True) for actor in actors]
            foes = [Actor(host, self, rng.random()) for host in attackers]
            threads += [threading.Thread(target=actor.attack, daemon=True) for actor in foes]
            for thread in threads:
                thread.start()
            time.sleep(self.seconds)
            self.over.set()
            for thread in threads:
                thread.join(15)
            time.sleep(0.5)
            capture.terminate()
            capture.wait()
            self._write_labels(started)
            os.rename(f"{self.out}/traffic.pcap.part", f"{self.out}/traffic.pcap")
        finally:
            self.over.set()
            network.close()
            subprocess.run(["rm", "-rf", self.work])

    def _distance(self):
        """Round-trip delay and jitter in milliseconds, share of frames lost: some hosts are next door, some an ocean away."""
        delay = self.rng.choice([0, 0, 2, 12, 40, 110, 250])
        return delay, delay * self.rng.choice([0, 0.1, 0.4]), self.rng.choice([0, 0, 0.002, 0.02])

    def _write_labels(self, started):
        with open(f"{self.out}/labels.json", "w") as out:
            json.dump({
                "seed": self.seed, "seconds": self.seconds, "start": started, "subnet": f"{self.network.subnet}.0/24",
                "subnet6": f"{self.network.subnet6}/64", "dead": self.dead,
                "hosts": [{"address": host.v4, "address6": host.v6, "role": host.role, "ports": host.port}
                          for host in self.network.hosts],
                "attacks": sorted(self.events, key=lambda event: event["start"]),
            }, out, indent=1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, required=True)
    arguments.add_argument("--seconds", type=float, default=120)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--benign-only", action="store_true")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.path.exists(f"{options.out}/traffic.pcap"):
        print(f"{options.out}: already recorded")
        return
    Recording(options.seed, options.seconds, os.path.abspath(options.out), options.benign_only).make()


if __name__ == "__main__":
    main()
