#!/usr/bin/env python3
"""How long from the packet that makes the evidence suffice to the alert that can be read: a live sensor on AF_XDP between two
namespaces, honest new flows at a fixed rate, attacks among them.

Which packet that is, is found first: of each instance's packets the fewest after which a replay of these alone, ended there, raises
the alert. Live, that packet's moment of leaving is taken; the alert's is when its line comes out of /v1/alerts/stream.
The attack goes on behind that packet as a tool would. Needs root; writes JSON. What it prints is a measurement and asserts nothing.
"""

import argparse
import ctypes
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import wire
from attacks import ATTACKS

DETECTORS = {"scan": "scan", "brute_force": "brute_force", "flood": "flood", "dns_tunnel": "dns_tunnel"}
START_NS = 1_767_571_200_000_000_000


def enter(space):
    """This thread goes into a network namespace (os.setns came with Python 3.12)."""
    if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def pcap(path, steps, gap):
    """Writes steps as a capture that begins with a second."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for place, step in enumerate(steps):
            for frame in step:
                at = START_NS + int(place * gap * 1e9)
                out.write(struct.pack("<IIII", at // 10**9, at % 10**9, len(frame), len(frame)) + frame)


def enough(shrike, name, folder):
    """The number of steps from which on a replay that ends there raises the alert."""
    gap, steps = ATTACKS[name](1)
    def is_found(count):
        path = f"{folder}/{name}.pcap"
        pcap(path, steps[:count], gap)
        told = subprocess.run([shrike, "replay", path, "--no-model", "--eve", f"{folder}/out.jsonl", "-c", f"{folder}/shrike.toml"],
                              capture_output=True, text=True)
        if told.returncode != 0:
            sys.exit(f"error: replay: {told.stderr}")
        with open(f"{folder}/out.jsonl") as lines:
            return any(f'"signature":"SHRIKE {DETECTORS[name]} ' in line for line in lines)
    low, high = 0, len(steps)
    if not is_found(high):
        sys.exit(f"error: {name}: {high} steps raise no alert")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


class Honest:
    """New flows without end: questions of DNS, and short connections of HTTP; of 400 clients to 4000 servers."""

    def __init__(self):
        self.rng = random.Random(1)
        self.number = 0

    def flow(self):
        self.number += 1
        rng, number = self.rng, self.number
        client = wire.address("10.1.0.10") + number % 400
        port = 10_000 + (number // 400) % 50_000
        if number % 2:
            name = f"www.site{rng.randrange(300)}.example.com"
            resolver = wire.address("10.33.0.2") + number % 5
            return [wire.udp(client, port, resolver, 53, wire.dns(number, name)),
                    wire.udp(resolver, 53, client, port, wire.dns(number, name, 1, b"\xc6\x12\x00\x01"))]
        line = wire.Connection(client, port, wire.address("198.18.0.1") + number * 7919 % 4000, 80)
        return line.open() + [
            line.say(0, wire.PSH | wire.ACK, b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0\r\n\r\n"),
            line.say(1, wire.PSH | wire.ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")] + line.close()


class Alerts(threading.Thread):
    """Reads the stream; keeps for each source and target of a detector when it was first told."""

    def __init__(self, base):
        super().__init__(daemon=True)
        self.first, self.others = {}, {}
        self.stream = urllib.request.urlopen(f"{base}/v1/alerts/stream")

    def run(self):
        for line in self.stream:
            at = time.monotonic()
            if not line.startswith(b"data:") or b"detector" not in line:
                continue
            alert = json.loads(line[5:])
            # Instances are named by the last two bytes of whom the alert names; a flood may have a target alone.
            ends = [end for end in (alert.get("source"), alert.get("target")) if end and end.startswith(("10.2", "10.3"))]
            if not ends:
                self.others.setdefault(f"{alert['detector']}/{alert['kind']}", []).append(alert.get("summary", ""))
                continue
            third, fourth = (int(part) for part in ends[0].split(".")[2:])
            self.first.setdefault((alert["detector"], third << 8 | fourth), at)


class Sensor:
    def __init__(self, options, folder):
        self.spaces = [f"shrike-time-{os.getpid()}-{end}" for end in "ab"]
        a, b = self.spaces
        queues = options.queues
        sh(f"ip netns add {a} && ip netns add {b} && "
           f"ip link add tx0 numtxqueues {queues} numrxqueues {queues} netns {a} type veth "
           f"peer name rx0 numtxqueues {queues} numrxqueues {queues} netns {b}")
        for space, end in ((a, "tx0"), (b, "rx0")):
            sh(f"ip netns exec {space} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; "
               f"ip -n {space} link set {end} up; "
               f"ip netns exec {space} ethtool -K {end} gro off gso off tso off tx off rx off rxvlan off txvlan off || true")
        self.summary = f"{folder}/summary.json"
        self.process = subprocess.Popen(
            [options.shrike, "run", "-c", f"{folder}/shrike.toml", "-i", f"rx0@{b}", "--mode", options.mode, "--no-model",
             "--listen", "127.0.0.1:0", "--store", f"{folder}/alerts.db", "--summary", self.summary],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.base, said = None, []
        for line in self.process.stderr:
            said.append(line)
            if "live page" in line:
                self.base = re.search(r"http://[0-9.:]+", line).group()
                break
        if self.base is None:
            sys.exit("error: shrike run: " + "".join(said))
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def socket(self):
        """A packet socket in the sender's namespace."""
        with open("/proc/self/ns/net") as home, open(f"/run/netns/{self.spaces[0]}") as there:
            enter(there)
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            link.bind(("tx0", 0))
            enter(home)
        return link

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as lines:
            values = dict(line.split(":", 1) for line in lines)
        return {name: int(values[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")}

    def end(self):
        self.process.terminate()
        self.process.wait(60)
        with open(self.summary) as text:
            return json.load(text)

    def clean(self):
        if self.process.poll() is None:
            self.process.kill()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def measure(options, rate, needed, folder):
    """One run at a rate of new honest flows a second."""
    for left in os.listdir(folder):
        if left.startswith("alerts"):
            os.unlink(f"{folder}/{left}")
    sensor = Sensor(options, folder)
    try:
        return of_run(sensor, options, rate, needed)
    finally:
        sensor.clean()


def of_run(sensor, options, rate, needed):
    link = sensor.socket()
    alerts = Alerts(sensor.base)
    alerts.start()
    rng, honest = random.Random(rate), Honest()
    # When each attack begins: by chance, so that it meets every phase of every clock in the sensor.
    names = [name for name in ATTACKS for _ in range(options.attacks)]
    rng.shuffle(names)
    begins = sorted(rng.uniform(2.0, options.seconds - 5.0) for _ in names)
    waiting = list(reversed([(at, name, 1 + number) for number, (at, name) in enumerate(zip(begins, names))]))
    active, due, left = [], [], {}
    sent = refused = flows = 0
    first = sensor.memory()
    begin = time.monotonic()
    behind = 0.0
    def send(frame):
        nonlocal sent, refused
        try:
            link.send(frame)
            sent += 1
        except OSError:
            refused += 1
    while (now := time.monotonic() - begin) < options.seconds:
        while waiting and waiting[-1][0] <= now:
            at, name, number = waiting.pop()
            gap, steps = ATTACKS[name](number)
            active.append([time.monotonic() - begin, gap, name, number, steps[:needed[name] * 3 // 2 + 5], 0])
        for attack in active:
            at, gap, name, number, steps, place = attack
            until = min(len(steps), int((now - at) / gap) + 1)
            while place < until:
                for frame in steps[place]:
                    send(frame)
                place += 1
                if place == needed[name]:
                    left[(name, number)] = time.monotonic()
            attack[5] = place
        active = [attack for attack in active if attack[5] < len(attack[4])]
        wanted = int(now * rate)
        behind = max(behind, (wanted - flows) / rate)
        for _ in range(min(wanted - flows, 64)):
            for frame in honest.flow():
                send(frame)
            flows += 1
        if wanted <= flows:
            time.sleep(0.0005)
    time.sleep(3)
    last = sensor.memory()
    summary = sensor.end()
    result = {"flows_per_second": rate, "seconds": options.seconds, "honest_flows": flows, "frames": sent, "refused": refused,
              "sender_behind_s": round(behind, 3), "memory_mib": {"begin": first["VmRSS"], "end": last["VmRSS"], "most": last["VmHWM"]},
              "closed": summary.get("loss_equation_closed"),
              "counters": {name: value for name, value in summary.get("counters", {}).items() if value and
                           ("drop" in name or "full" in name or "lost" in name or "shed" in name or "untold" in name)},
              "attacks": {}, "false_alerts": {kind: len(found) for kind, found in alerts.others.items()},
              "false_examples": [found[0] for found in alerts.others.values()]}
    for name in ATTACKS:
        times, missed = [], 0
        for (of, number), moment in left.items():
            if of != name:
                continue
            told = alerts.first.get((DETECTORS[name], number))
            if told is None:
                missed += 1
            else:
                times.append(told - moment)
        times.sort()
        result["attacks"][name] = {"count": len(times) + missed, "missed": missed, **({
            "p50_ms": round(percentile(times, 0.5) * 1e3, 1), "p99_ms": round(percentile(times, 0.99) * 1e3, 1),
            "max_ms": round(times[-1] * 1e3, 1), "least_ms": round(times[0] * 1e3, 1)} if times else {})}
    return result


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shrike", default="target/release/shrike")
    arguments.add_argument("--rates", default="74,7361", help="honest new flows a second (265 000 an hour are 74)")
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--attacks", type=int, default=100, help="of each kind")
    arguments.add_argument("--queues", type=int, default=1)
    arguments.add_argument("--mode", default="copy")
    arguments.add_argument("--out")
    options = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: needs root, for namespaces and AF_XDP")
    folder = tempfile.mkdtemp(prefix="shrike-time-")
    try:
        with open(f"{folder}/shrike.toml", "w") as text:
            text.write("")
        needed = {name: enough(options.shrike, name, folder) for name in ATTACKS}
        print(f"steps that suffice: {needed}", flush=True)
        runs = []
        for rate in (int(rate) for rate in options.rates.split(",")):
            run = measure(options, rate, needed, folder)
            runs.append(run)
            print(f"\n{rate} new flows a second for {options.seconds:.0f} s: {run['honest_flows']} flows, {run['frames']} frames, "
                  f"books closed: {run['closed']}, memory {run['memory_mib']} MiB, sender at most {run['sender_behind_s']} s behind")
            print(f"  {'attack':<14}{'alerts':>8}{'missed':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
            for name, one in run["attacks"].items():
                print(f"  {name:<14}{one['count'] - one['missed']:>8}{one['missed']:>8}{one.get('p50_ms', 0):>10}"
                      f"{one.get('p99_ms', 0):>10}{one.get('max_ms', 0):>10}")
            print(f"  counters {run['counters']}, alerts of nobody's attack {run['false_alerts']} {run['false_examples']}", flush=True)
        if options.out:
            os.makedirs(os.path.dirname(options.out) or ".", exist_ok=True)
            with open(options.out, "w") as text:
                json.dump({"steps_that_suffice": needed, "runs": runs}, text, indent=1)
                text.write("\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
