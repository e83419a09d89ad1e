"""One thread that does things on one host: what it starts runs there, what it draws is written down."""

import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time

from isolate import OUT, WORK, enter_network

PYPI, OURS = "pypi", "ours"
OURS_VERSION = "2"
PATIENCE_S = 75  # for all programs of an episode together: what interpreters need to start where others want the processor
FEW_FRAMES = 24  # fewer may be what a host's kernel says to its neighbours, to one that scans it above all


class Actor:
    NOTHING = ", sent nothing"

    def __init__(self, host, recording, seed):
        self.host, self.recording, self.rng = host, recording, random.Random(seed)
        self.network, self.subnet, self.dead = recording.network, recording.network.subnet, recording.dead
        self.share_v6 = recording.share_v6
        self.variant, self.command, self.peers = {}, "", None
        self.relays, self.part = [], (0, 1)
        self.until = None
        self.running = set()
        self.patience, self.silent, self.frames, self.outcome = PATIENCE_S, None, 0, ""

    # What a way of acting draws.

    def pick(self, name, choices):
        """One of `choices`, noted under `name` in the episode's variant."""
        chosen = self.rng.choice(choices)
        self.variant[name] = chosen if isinstance(chosen, (int, float, str)) else " ".join(map(str, chosen))
        return chosen

    def draw(self, name, low, high):
        """A number between, evenly by its logarithm, noted."""
        value = low * (high / low) ** self.rng.random()
        value = float(f"{value:.3g}") if isinstance(low, float) or isinstance(high, float) else round(value)
        self.variant[name] = value
        return value

    def note(self, **values):
        self.variant.update(values)

    def server(self, *services):
        """A server that has all of `services`; the one this episode was pointed at, if it can be."""
        able = [one for one in self.recording.servers if all(name in one.port for name in services)]
        if not able:
            raise OSError(f"no server has {services}")
        chosen = self.rng.choice(able)
        self.meet(chosen.v4, chosen.v6)
        return chosen

    def meet(self, *addresses):
        """Flows from here to these addresses are of this episode."""
        if self.peers is not None and not self.peers.issuperset(addresses):
            if self.host.role == "client":
                self.recording.reserve(self, addresses)
            self.peers.update(addresses)

    def relay(self, host, *addresses):
        """What `host` sends to these addresses meanwhile is of this episode too (a pivot, a resolver)."""
        self.relays.append(host)
        if self.peers is not None:
            self.peers.update(addresses)

    @property
    def lair(self):
        """The attacker's server outside."""
        self.meet(self.network.lair.v4, *self.network.lair.more)
        return self.network.lair

    def others(self):
        """Honest hosts of the inside."""
        return [host for host in self.network.hosts if host.inside and host is not self.host and host.role != "attacker"]

    def deal(self, things):
        """This host's share of a list, when several hosts do one thing together."""
        index, count = self.part
        return things[index::count]

    # Time.

    def over(self):
        return self.recording.over.is_set() or not self.starts() and self.until is not None and time.monotonic() >= self.until

    def starts(self):
        """Has the program that was started last not sent a frame yet? An episode's time runs from the first one on."""
        if self.silent is None:
            return False
        process, began = self.silent
        waited = time.monotonic() - began
        if waited < self.patience and process.poll() is None and frames_sent() - self.frames < FEW_FRAMES:
            return True
        waited = min(waited, self.patience)
        self.silent, self.patience = None, self.patience - waited
        if self.until is not None:
            self.until += waited
        return False

    def begun(self):
        """Waits until the program that was started last sends; `False` when the episode or the recording is over."""
        while self.starts() and not self.recording.over.is_set():
            time.sleep(0.01)
        return not self.over()

    def pause(self, seconds):
        """Waits; `False` when the episode or the recording is over."""
        if self.until is not None and not self.starts():
            seconds = min(seconds, max(0.0, self.until - time.monotonic()))
        return not self.recording.over.wait(max(0.0, seconds)) and not self.over()

    def every(self, period, jitter=0.0, count=None):
        """Yields at a rhythm, each time off by up to the share `jitter` of the period, until the episode is over."""
        number = 0
        while count is None or number < count:
            yield number
            number += 1
            if not self.pause(period * (1 + self.rng.uniform(-jitter, jitter))):
                return

    # Programs.

    def spawn(self, command, stdin=False, env=None):
        words, stdout = [str(word) for word in command], subprocess.DEVNULL
        if self.recording.options.output:
            stdout = open(f"{OUT}/output.txt", "ab")
            stdout.write(f"\n$ {' '.join(words)}\n".encode())
            stdout.flush()
        if not self.command:
            self.command = " ".join(words)
        process = subprocess.Popen(words, cwd=WORK, start_new_session=True,
                                   stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=stdout,
                                   stderr=stdout, env={**os.environ, **(env or {})})
        self.running.add(process)
        if self.peers is not None:
            self.silent, self.frames = (process, time.monotonic()), frames_sent()
        return process

    def run(self, command, timeout=None, env=None, stdin=False):
        """Runs to its end, or to the end of `timeout`, the episode, the recording. `False` if these are over."""
        process, end = self.spawn(command, stdin, env), None
        handle, waiting = os.pidfd_open(process.pid), select.poll()
        waiting.register(handle, select.POLLIN)
        while process.poll() is None and not self.over():
            if timeout is not None and not self.starts():
                end = end or time.monotonic() + timeout
                if time.monotonic() >= end:
                    break
            # Until it ends; where an episode's time waits for first frames, these are looked for.
            waiting.poll(10 if self.silent else 100)
        os.close(handle)
        self.end(process)
        return not self.over()

    def elsewhere(self, host, work, habit):
        """Runs `work()` in a thread on an honest host that acts as by `habit`; to be joined. What it does with this
        actor's host is of the episode if the host was named a relay."""
        def run():
            enter_network(host.name)
            start = time.time_ns()
            try:
                work()
            except OSError:
                pass
            self.recording.honest(host, habit, start)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def end(self, process):
        if not self.outcome:
            status = process.poll()
            self.outcome = "stopped" if status is None else f"exit {status}"
            if self.peers is not None and frames_sent() == self.frames:
                self.outcome += self.NOTHING
        # The whole session: some tools leave children that would go on.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            if number == signal.SIGTERM and process.poll() is None:
                try:
                    process.wait(0.3)
                except subprocess.TimeoutExpired:
                    pass
        process.wait()
        self.running.discard(process)

    def end_all(self):
        for process in list(self.running):
            self.end(process)

    # Scratch files and sockets.

    def scratch(self, size):
        path = tempfile.mktemp(dir=f"{WORK}/tmp")
        with open(path, "wb") as out:
            out.write(self.rng.randbytes(int(size)))
        os.chmod(path, 0o644)
        return path

    def scratch_lines(self, lines, suffix=""):
        path = tempfile.mktemp(dir=f"{WORK}/tmp", suffix=suffix)
        with open(path, "w") as out:
            out.write("\n".join(map(str, lines)) + "\n")
        os.chmod(path, 0o644)
        return path

    def tcp(self, address, port, timeout=10, source=None):
        return socket.create_connection((address, port), timeout=timeout, source_address=source)

    def udp(self, timeout=1.0):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(timeout)
        client.bind((self.host.v4, 0))
        return client


def frames_sent():
    """Frames that the calling thread's host has sent so far of its own accord: not a kernel's refusals and answers to pings,
    which a host has that others scan. What a socket begins counts as FEW_FRAMES, for that no kernel does."""
    with open("/proc/thread-self/net/dev") as lines:
        frames = sum(int(line.split(":")[1].split()[8]) for line in lines if line.strip().startswith("eth0:"))
    with open("/proc/thread-self/net/snmp") as lines:
        heads = [line.split() for line in lines]
    count = {head[0] + name: int(value) for head, row in zip(heads[::2], heads[1::2]) for name, value in zip(head[1:], row[1:])}
    begun = count["Tcp:ActiveOpens"] + count["Udp:OutDatagrams"] + count["Icmp:OutEchos"]
    return frames - count["Tcp:OutRsts"] - (count["Icmp:OutMsgs"] - count["Icmp:OutEchos"]) + begun * FEW_FRAMES


def versions(tools):
    """Version of each tool: Debian's package, the registry's, or our own."""
    packages = sorted({package for package in tools.values() if package not in (PYPI, OURS)})
    known = {}
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages], capture_output=True,
                            text=True).stdout
    for line in listed.splitlines():
        package, _, version = line.partition(" ")
        known[package] = version
    out = {}
    for tool, package in tools.items():
        if package == OURS:
            out[tool] = OURS_VERSION
        elif package == PYPI:
            from importlib.metadata import PackageNotFoundError, version as of

            try:
                out[tool] = of(tool)
            except PackageNotFoundError:
                out[tool] = ""
        else:
            out[tool] = known.get(package, "")
    return out
