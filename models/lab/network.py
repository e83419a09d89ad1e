"""Hosts of a recording: network namespaces on one bridge, with no route out of the machine.

A recording has a namespace for the switch (bridge and capture) and one for each host. Nothing in them is connected to
the machine's own interfaces and no host has a default route, so no packet of a recording can leave, whatever a tool
does. A link may be slowed by `delay_link`, a small user-space relay: kernels without netem are common.
"""

import ctypes
import heapq
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
OFFLOADS = ["rx", "off", "tx", "off", "tso", "off", "gso", "off", "gro", "off"]


def enter(namespace):
    """Moves the calling thread, and what it starts, into a namespace made by `ip netns add`."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"enter network namespace {namespace}")
    finally:
        os.close(descriptor)


def ip(*arguments):
    subprocess.run(["ip", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Host:
    """One end host: a name, an IPv4 and an IPv6 address, a role (`server`, `client`, `attacker`)."""

    def __init__(self, name, namespace, role, v4, v6):
        self.name, self.namespace, self.role, self.v4, self.v6 = name, namespace, role, v4, v6
        self.port = {}

    def url_host(self, rng, share_v6):
        return f"[{self.v6}]" if rng.random() < share_v6 else self.v4


class Network:
    """All namespaces of one recording. `close` ends every process in them and removes them."""

    def __init__(self, rng, workers):
        self.rng = rng
        self.prefix = f"shr{os.getpid()}"
        self.switch = f"{self.prefix}sw"
        self.hosts, self.processes, self.namespaces = [], [], []
        # Any private network, another one each time: nothing may be learnt from an address.
        first = rng.choice([10, 172, 192])
        second = {10: rng.randrange(256), 172: rng.randrange(16, 32), 192: 168}[first]
        self.subnet = f"{first}.{second}.{rng.randrange(256)}"
        self.subnet6 = f"fd{rng.randrange(256):02x}:{rng.randrange(65536):x}::"
        self.free = rng.sample(range(2, 250), 120)
        self.workers = workers

    def open(self):
        ip("netns", "add", self.switch)
        self.namespaces.append(self.switch)
        ip("-n", self.switch, "link", "add", "name", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        self._quiet(self.switch, "br0")

    def add_host(self, role, delay_ms=0.0, jitter_ms=0.0, loss=0.0):
        rng, number = self.rng, len(self.hosts)
        namespace = f"{self.prefix}h{number}"
        last = self.free.pop()
        host = Host(f"h{number}", namespace, role, f"{self.subnet}.{last}", f"{self.subnet6}{last:x}")
        ip("netns", "add", namespace)
        self.namespaces.append(namespace)
        port = f"p{number}"
        ip("-n", namespace, "link", "add", "name", "eth0", "type", "veth", "peer", "name", port,
           "netns", self.switch)
        self._offloads_off(namespace, "eth0")
        self._offloads_off(self.switch, port)
        if delay_ms > 0:
            # eth0 <-> pN | relay | dN <-> bN in the bridge.
            ip("-n", self.switch, "link", "add", "name", f"d{number}", "type", "veth", "peer", "name", f"b{number}")
            for name in (f"d{number}", f"b{number}"):
                self._offloads_off(self.switch, name)
                self._quiet(self.switch, name)
                ip("-n", self.switch, "link", "set", name, "up")
            ip("-n", self.switch, "link", "set", f"b{number}", "master", "br0")
            self._quiet(self.switch, port)
            ip("-n", self.switch, "link", "set", port, "up")
            self._relay(port, f"d{number}", delay_ms, jitter_ms, loss)
        else:
            self._quiet(self.switch, port)
            ip("-n", self.switch, "link", "set", port, "master", "br0")
            ip("-n", self.switch, "link", "set", port, "up")
        ip("-n", namespace, "addr", "add", f"{host.v4}/24", "dev", "eth0")
        ip("-n", namespace, "addr", "add", f"{host.v6}/64", "dev", "eth0", "nodad")
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "link", "set", "eth0", "up")
        mtu = rng.choice([1500, 1500, 1500, 1492, 1400])
        ip("-n", namespace, "link", "set", "eth0", "mtu", mtu)
        # End hosts differ in their stacks; a model must not learn the attacker's by accident.
        self._sysctl(namespace, "ipv4/tcp_timestamps", rng.choice(["0", "1", "1"]))
        self._sysctl(namespace, "ipv4/tcp_sack", rng.choice(["0", "1", "1", "1"]))
        receive = rng.choice([8192, 16384, 29200, 65535, 131072, 131072])
        self._sysctl(namespace, "ipv4/tcp_rmem", f"4096 {receive} 6291456")
        self._sysctl(namespace, "ipv4/tcp_window_scaling", rng.choice(["0", "1", "1", "1"]))
        self._sysctl(namespace, "ipv4/ip_default_ttl", rng.choice(["64", "64", "128", "255"]))
        self._sysctl(namespace, "ipv4/icmp_ratelimit", rng.choice(["0", "100", "1000"]))
        self.hosts.append(host)
        return host

    def dead_addresses(self, host, count):
        """Addresses that swallow everything: packets reach `host`'s card, which does not forward them."""
        link = subprocess.run(["ip", "-n", host.namespace, "-br", "link", "show", "eth0"],
                              check=True, capture_output=True, text=True).stdout.split()[2]
        dead = [f"{self.subnet}.{self.free.pop()}" for _ in range(count)]
        for other in self.hosts:
            if other is not host:
                for address in dead:
                    ip("-n", other.namespace, "neigh", "add", address, "lladdr", link, "dev", "eth0",
                       "nud", "permanent")
        return dead

    def start(self, host_or_namespace, command, **options):
        """Starts a long-running program inside a host and remembers it for `close`."""
        namespace = getattr(host_or_namespace, "namespace", host_or_namespace)
        holder = {}

        def launch():
            enter(namespace)
            holder["process"] = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL,
                stdout=options.get("stdout", subprocess.DEVNULL), stderr=options.get("stderr", subprocess.DEVNULL),
                start_new_session=True)

        thread = threading.Thread(target=launch)
        thread.start()
        thread.join()
        self.processes.append(holder["process"])
        return holder["process"]

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                try:
                    os.killpg(process.pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
        for namespace in reversed(self.namespaces):
            found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout
            for pid in found.split():
                if int(pid) != os.getpid():
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except (ProcessLookupError, PermissionError):
                        pass
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
        for process in self.processes:
            process.wait()

    def _relay(self, left, right, delay_ms, jitter_ms, loss):
        here = os.path.abspath(__file__)
        self.start(self.switch, ["python3", here, left, right, delay_ms, jitter_ms, loss, self.rng.randrange(1 << 30)])

    def _sysctl(self, namespace, name, value):
        def write():
            enter(namespace)
            try:
                with open(f"/proc/sys/net/{name}", "w") as out:
                    out.write(value)
            except FileNotFoundError:
                pass

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    def _quiet(self, namespace, device):
        # Ports of the switch are not hosts: no IPv6 chatter of their own in the recording.
        self._sysctl(namespace, f"ipv6/conf/{device}/disable_ipv6", "1")

    def _offloads_off(self, namespace, device):
        subprocess.run(["ip", "netns", "exec", namespace, "ethtool", "-K", device, *OFFLOADS], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def delay_link(left, right, delay_ms, jitter_ms, loss, seed):
    """Relays frames between two interfaces, each way late by half of `delay_ms`, never out of order, a share lost."""
    rng = random.Random(seed)
    ends = []
    for name in (left, right):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        end.bind((name, 3))
        end.setsockopt(263, 1, ctypes_promiscuous(name))
        end.setblocking(False)
        ends.append(end)
    waiting, count, last = [], 0, [0.0, 0.0]
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        for end in select.select(ends, [], [], timeout)[0]:
            way = ends.index(end)
            for _ in range(64):
                try:
                    frame, address = end.recvfrom(2048)
                except BlockingIOError:
                    break
                if address[2] == socket.PACKET_OUTGOING or rng.random() < loss:
                    continue
                due = time.monotonic() + (delay_ms + rng.random() * jitter_ms) / 2000
                last[way] = due = max(due, last[way])
                if len(waiting) < 5000:  # a full queue drops, as a router's does
                    count += 1
                    heapq.heappush(waiting, (due, count, 1 - way, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, way, frame = heapq.heappop(waiting)
            try:
                ends[way].send(frame)
            except OSError:
                pass


def ctypes_promiscuous(name):
    """`struct packet_mreq` for PACKET_ADD_MEMBERSHIP (SOL_PACKET 263, option 1): promiscuous."""
    return socket.if_nametoindex(name).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes(10)


if __name__ == "__main__":
    import sys

    delay_link(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]),
               int(sys.argv[6]))
