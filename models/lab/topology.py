"""The network of a recording: hosts on one switch, some of them at addresses of other networks, and no router.

Each host is a network namespace with one interface; the switch is a bridge in a namespace of its own, where the capture
listens. Inside hosts share a private network. Outside hosts (a provider's servers, an attacker's) have addresses of the
ranges for benchmarks and documentation, and every host reaches them on the link, so that no namespace needs a way out.
"""

import ctypes
import fcntl
import ipaddress
import os
import signal
import socket
import struct
import subprocess
import threading

from isolate import SOURCE, WORK, LabError, enter_network

# linux/ethtool.h: checksums received and sent, segments of TCP, of any protocol, and put together again.
OFFLOADS, SIOCETHTOOL = [0x15, 0x17, 0x1F, 0x24, 0x2C], 0x8946
OUTSIDE = ["198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]
OUTSIDE_V6 = "2001:db8::/32"
SMALL = 100  # hosts that fit into the usual network beside servers and dead addresses


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ip_lines(namespace, *lines):
    """Several commands of `ip` at once."""
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True,
                   capture_output=True)


def within(namespace, work):
    """The result of `work()` in a namespace; the calling thread stays where it is."""
    result = []

    def run():
        enter_network(namespace)
        result.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0] if result else None


class Host:
    """One end host. Roles: `server`, `client`, `attacker` (inside, does nothing honest), `lair` (an attacker's server
    outside). `port` names the services it has; `more` are further addresses of it."""

    def __init__(self, name, role, v4, v6, inside):
        self.name, self.role, self.v4, self.v6, self.inside = name, role, v4, v6, inside
        self.mac, self.port, self.more = "", {}, []

    def url_host(self, rng, share_v6):
        return f"[{self.v6}]" if rng.random() < share_v6 else self.v4


class Network:
    """`clients`: how many there will be; 0: a dozen. Many of them want a larger network than the usual /24."""

    def __init__(self, rng, clients=0):
        self.rng, self.hosts, self.processes, self.relays = rng, [], [], []
        # Any private network, another one each time: nothing may be learnt from an address.
        first = rng.choice([10, 172, 192])
        second = {10: rng.randrange(256), 172: rng.randrange(16, 32), 192: 168}[first]
        self.length = 24 if clients <= SMALL else 32 - (2 * (clients + SMALL)).bit_length()
        third = rng.randrange(256) >> (24 - self.length) << (24 - self.length)
        self.subnet = f"{first}.{second}.{third}"
        self.prefix = ipaddress.ip_network(f"{self.subnet}.0/{self.length}")
        self.subnet6 = f"fd{rng.randrange(256):02x}:{rng.randrange(65536):x}::"
        numbers = range(2, 250)
        if self.length < 24:
            numbers = [number for number in range(2, self.prefix.num_addresses - 6) if 2 <= number % 256 < 250]
        self.free = rng.sample(numbers, max(230, clients + SMALL))

    def open(self):
        ip("link", "set", "lo", "up")
        ip("netns", "add", "switch")
        ip("-n", "switch", "link", "add", "name", "br0", "type", "bridge")
        ip("-n", "switch", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", "switch", "link", "set", "br0", "up")
        self._quiet("switch", "br0")

    def inside_address(self):
        return str(self.prefix[self.free.pop()])

    def outside_address(self):
        rng = self.rng
        return rng.choice([f"198.{rng.choice([18, 19])}.{rng.randrange(256)}.{rng.randrange(2, 250)}",
                           f"{rng.choice(['192.0.2', '198.51.100', '203.0.113'])}.{rng.randrange(2, 250)}"])

    def add_host(self, role, inside=True, distance=(0, 0, 0)):
        """`distance`: delay and jitter of the round trip in milliseconds, share of frames lost."""
        rng, number = self.rng, len(self.hosts)
        name, port = f"h{number}", f"p{number}"
        v4 = self.inside_address() if inside else self.outside_address()
        last = int(ipaddress.ip_address(v4)) - int(self.prefix[0]) if inside else int(v4.split(".")[3])
        v6 = f"{self.subnet6}{last:x}" if inside else f"2001:db8:{rng.randrange(1, 65536):x}::{last:x}"
        host = Host(name, role, v4, v6, inside)
        ip("netns", "add", name)
        # Makers' prefixes differ; a locally administered address would give the lab away.
        host.mac = ":".join(f"{part:02x}" for part in [rng.choice([0x00, 0x3c, 0xa4, 0xd8, 0xf0]),
                                                       *[rng.randrange(256) for _ in range(5)]])
        ip_lines(name, f"link add name eth0 type veth peer name {port} netns switch", f"link set eth0 address {host.mac}")
        self._offloads_off(name, "eth0")
        self._offloads_off("switch", port)
        self._quiet("switch", port)
        if distance[0] > 0:
            # eth0 <-> pN | relay | dN <-> bN in the bridge.
            far, near = f"d{number}", f"b{number}"
            ip_lines("switch", f"link set {port} up", f"link add name {far} type veth peer name {near}")
            for device in (far, near):
                self._offloads_off("switch", device)
                self._quiet("switch", device)
            ip_lines("switch", *(f"link set {device} up" for device in (far, near)), f"link set {near} master br0")
            # Behind the links' coming up: who reads from one that is down gets an error.
            self.relays.append(self.start("switch", ["python3", f"{SOURCE}/relay.py", port, far, *distance, rng.randrange(1 << 30)]))
        else:
            ip_lines("switch", f"link set {port} up", f"link set {port} master br0")
        length, length6 = (self.length, 64) if inside else (32, 128)
        ip_lines(
            name, f"addr add {v4}/{length} broadcast {'+' if inside else '0.0.0.0'} dev eth0", "link set lo up", "link set eth0 up",
            f"addr add {v6}/{length6} dev eth0 nodad",
            *(f"route add {network} dev eth0 src {v4}" for network in [*OUTSIDE, *([] if inside else [self.prefix])]),
            *(f"route add {network} dev eth0 src {v6}" for network in [OUTSIDE_V6, *([] if inside else [f"{self.subnet6}/64"])]),
            # What has no host here ends in silence, not in an error of the local kernel.
            "route add 224.0.0.0/4 dev eth0", f"link set eth0 mtu {rng.choice([1500, 1500, 1500, 1492, 1400])}")
        # End hosts differ in their stacks; a model must not learn the attacker's by accident.
        receive = rng.choice([8192, 16384, 29200, 65535, 131072, 131072])
        self._sysctls(name, {
            "ipv4/tcp_timestamps": rng.choice(["0", "1", "1"]), "ipv4/tcp_sack": rng.choice(["0", "1", "1", "1"]),
            "ipv4/tcp_rmem": f"4096 {receive} 6291456", "ipv4/tcp_window_scaling": rng.choice(["0", "1", "1", "1"]),
            "ipv4/ip_default_ttl": rng.choice(["64", "64", "128", "255"]),
            "ipv4/icmp_ratelimit": rng.choice(["0", "100", "1000"]),
            "ipv4/conf/all/rp_filter": "0", "ipv4/conf/eth0/rp_filter": "0", "ipv4/ping_group_range": "0 2147483647",
        })
        self.hosts.append(host)
        return host

    def more_addresses(self, host, count):
        for _ in range(count):
            address = self.inside_address() if host.inside else self.outside_address()
            ip("-n", host.name, "addr", "add", f"{address}/{self.length if host.inside else 32}", "dev", "eth0")
            host.more.append(address)

    def dead_addresses(self, host, count):
        """Addresses that swallow everything: packets reach `host`'s card, which does not forward them."""
        dead = [self.inside_address() for _ in range(count)]
        for other in self.hosts:
            if other is not host and other.inside:
                ip_lines(other.name, *(f"neigh add {address} lladdr {host.mac} dev eth0 nud permanent" for address in dead))
        return dead

    def start(self, host, command, directory=None, env=None):
        """Starts a long-running program inside a host and remembers it for `close`."""
        namespace = getattr(host, "name", host)
        process = within(namespace, lambda: subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, cwd=directory or WORK, env={**os.environ, **(env or {})}))
        if process is None:
            raise FileNotFoundError(f"{command[0]} does not start")
        self.processes.append(process)
        return process

    def check(self):
        """No host may have been cut off: tools would fail for a reason that is none of theirs."""
        if any(relay.poll() is not None for relay in self.relays):
            raise LabError("a relay between hosts has ended: record again; if it comes back, run models/lab/relay.py by hand")

    def stop(self, process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def _sysctls(self, namespace, values):
        def write():
            for name, value in values.items():
                try:
                    with open(f"/proc/sys/net/{name}", "w") as out:
                        out.write(value)
                except (FileNotFoundError, PermissionError):
                    pass

        within(namespace, write)

    def _quiet(self, namespace, device):
        # Ports of the switch are not hosts: no IPv6 chatter of their own in the recording.
        self._sysctls(namespace, {f"ipv6/conf/{device}/disable_ipv6": "1"})

    def _offloads_off(self, namespace, device):
        def write():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                for command in OFFLOADS:
                    value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                    # `struct ifreq` with a pointer to `struct ethtool_value`.
                    fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", device.encode(), ctypes.addressof(value)))
            return True

        if not within(namespace, write):
            raise LabError(f"{namespace}: the kernel keeps its offloads on {device}")
