"""Host discovery and port scans: nmap's kinds and timings, masscan, zmap, hping3, netcat, ARP and UDP sweepers, our own."""

import random
import socket
import time

from attacks import raw
from attacks.way import Way


def span(act, count=60):
    first = act.rng.randrange(2, 250 - count)
    return f"{act.subnet}.{first}-{first + count}"


def target(act):
    """A server, a client, or at times an address that swallows everything."""
    rng = act.rng
    if rng.random() < 0.2 and act.host.role == "attacker":
        act.note(target="silent")
        return rng.choice(act.dead)
    if rng.random() < 0.25 and act.host.role == "attacker":
        return rng.choice(act.others()).v4
    return act.server().v4


def nmap(act, *words, timing=None, at=None):
    timing = timing or act.pick("timing", ["-T3", "-T4", "-T4", "-T5"])
    act.run(["nmap", "-n", "-Pn", timing, "--max-retries", act.rng.choice([0, 1, 2]), *words, at or target(act)])


def nmap_ports(act):
    kind = act.pick("scan", ["-sS", "-sS", "-sT", "-sT", "-sF", "-sN", "-sX", "-sA", "-sW", "-sM"])
    extra = act.pick("evasion", [[], [], ["-f"], ["--mtu", "24"], ["--data-length", "24"], ["-g", "53"],
                                 ["--scan-delay", "20ms"], ["-D", "RND:4"], ["--randomize-hosts"], ["--badsum"], ["--ttl", "37"]])
    if kind == "-sT" and extra[:1] in (["-f"], ["--mtu"], ["-D"], ["--badsum"]):
        extra = []
    nmap(act, kind, "--top-ports", act.pick("ports", [50, 200, 1000]), *extra)


def nmap_slow(act):
    kind = act.pick("scan", ["-sS", "-sT"])
    nmap(act, kind, "--scan-delay", act.pick("delay", ["200ms", "500ms", "1s", "3s"]), "--max-scan-delay", "15s", "--top-ports",
         60, timing=act.pick("timing", ["-T1", "-T2"]))


def nmap_distributed(act):
    """Each host asks for its share of the ports."""
    ports = act.rng.sample(range(1, 3000), 300)
    at = act.server().v4
    act.note(evasion="distributed")
    nmap(act, act.pick("scan", ["-sS", "-sT"]), "-p", ",".join(map(str, sorted(act.deal(ports)))), at=at)


def nmap_udp(act):
    nmap(act, "-sU", "--top-ports", act.pick("ports", [30, 100]), "--max-rtt-timeout", "200ms")


def nmap_versions(act):
    server = act.server()
    ports = ",".join(str(port) for port in sorted(set(server.port.values())))
    nmap(act, "-sV", act.pick("depth", ["--version-light", "--version-all"]), "-p", ports, at=server.v4)


def nmap_system(act):
    nmap(act, "-O", "--top-ports", 30)


def nmap_scripts(act):
    server = act.server("ftp")
    nmap(act, "-sC", "-p", ",".join(str(server.port[name]) for name in ("http", "ssh", "ftp", "smtp", "smb")), at=server.v4)


def nmap_protocols(act):
    nmap(act, "-sO", "-p", "0-120")


def nmap_sweep(act):
    port = act.pick("port", [22, 23, 80, 443, 445, 3389])
    kind = act.rng.choice([["-sS", "-Pn", "-p", port], ["-sT", "-Pn", "-p", port], ["-sn", f"-PS{port}", "--send-ip"]])
    act.run(["nmap", "-n", act.pick("timing", ["-T2", "-T3", "-T4"]), "--max-retries", "1", *kind, span(act)])


def nmap_discovery(act):
    kind = act.pick("kind", [["-PE"], ["-PP"], ["-PM"], ["-PU53"], ["-PA80"], ["-PE", "-PS443", "-PA80", "-PP"]])
    act.run(["nmap", "-n", "-sn", "--send-ip", *kind, span(act)])


def nmap_v6(act):
    act.run(["nmap", "-n", "-6", "-Pn", "-T4", act.pick("scan", ["-sS", "-sT"]), "--top-ports", "100", act.server().v6])


def nmap_arp(act):
    act.run(["nmap", "-n", "-sn", "-PR", act.pick("timing", ["-T2", "-T3", "-T4"]), span(act, act.pick("hosts", [30, 120]))])


def masscan(act):
    server = act.server()
    ports = act.pick("ports", ["1-600", "22,23,80,443,445,3389,8080", "0-65535"])
    first = act.rng.randrange(2, 200)
    whom = act.pick("span", [server.v4, f"{act.subnet}.{first}-{act.subnet}.{first + 40}"])
    mac = next(host.mac for host in act.network.hosts if host is server)
    words = ["masscan", whom, "-p", ports, "--rate", act.pick("rate", [20, 50, 200, 600]), "-e", "eth0", "--adapter-ip",
             act.host.v4, "--router-mac", mac.replace(":", "-"), "--wait", "1", "--seed", act.rng.randrange(1 << 20)]
    act.run(words + act.pick("evasion", [[], [], ["--banners"], ["--ttl", "201"], ["--source-port", "61000"]]))


def zmap(act):
    server = act.server()
    probe = act.pick("probe", ["tcp_synscan", "tcp_synscan", "icmp_echoscan", "udp"])
    words = ["zmap", "-q", "-i", "eth0", "-S", act.host.v4, "-G", server.mac, "-r", act.pick("rate", [20, 100, 400]), "-c", "1",
             "-o", "/dev/null", "-b", "/dev/null", "--probe-module=" + probe, "--max-sendto-failures=-1"]
    if probe != "icmp_echoscan":
        words += ["-p", act.pick("port", [22, 80, 443, 445, 8080] if probe == "tcp_synscan" else [53, 123, 161])]
    if probe == "udp":
        words += ["--probe-args=text:hello"]
    act.run([*words, f"{act.subnet}.0/24"])


def hping(act):
    act.run(["hping3", "--scan", act.pick("ports", ["1-200", "1-1000", "known"]), "-S", "-i",
             act.pick("interval", ["u500", "u5000", "u50000"]), act.server().v4])


def hping_sweep(act):
    for number in act.every(act.draw("period_s", 0.02, 0.3), 0.2):
        act.run(["hping3", "-q", "-n", "-c", "1", *act.rng.choice([["-1"], ["-S", "-p", "445"]]), f"{act.subnet}.{number % 250 + 2}"],
                0.4)


def netcat(act):
    """Each port by a program of its own."""
    at = target(act)
    for port in act.rng.sample(range(1, 2000), 300):
        act.run(["nc", "-z", "-w", "1", at, port], 2)
        if not act.pause(act.rng.choice([0.0, 0.05])):
            return


def fping(act):
    first = act.rng.randrange(2, 180)
    act.run(["fping", "-q", "-a", "-r", act.pick("retries", [0, 1]), "-i", act.pick("interval_ms", [1, 10, 100]), "-g",
             f"{act.subnet}.{first}", f"{act.subnet}.{first + 60}"])


def arp_scan(act):
    act.run(["arp-scan", "-I", "eth0", "-q", "-r", act.pick("retries", [1, 2]), "-i", act.pick("interval_ms", [2, 20, 100]),
             f"{act.subnet}.0/24"])


def nbtscan(act):
    act.run(["nbtscan", "-q", "-t", "500", f"{act.subnet}.0/24"])


def onesixtyone(act):
    words = act.scratch_lines(["public", "private", "manager", "secret", "cisco", "admin"])
    hosts = act.scratch_lines([f"{act.subnet}.{number}" for number in act.rng.sample(range(2, 250), 60)])
    act.run(["onesixtyone", "-c", words, "-i", hosts, "-w", act.pick("wait_ms", [5, 10, 50])])


def own_connect(act):
    """A scanner written in an afternoon: connects, closes, in random order, at a pace of its own."""
    rng = random.Random(f"{act.rng.random()}{act.part}")
    pace, at = act.draw("pace_s", 0.002, 1.5), target(act)
    jitter, home = act.pick("jitter", [0, 0.3, 0.9]), [act.host.v4, *act.host.more]
    act.note(evasion="many addresses" if len(home) > 1 else "")
    for _ in act.every(pace, jitter):
        client = socket.socket()
        client.settimeout(0.5)
        try:
            client.bind((rng.choice(home), 0))
            client.connect((at, rng.randrange(1, 20000)))
            if rng.random() < 0.5:
                client.recv(100)
        except OSError:
            pass
        client.close()


def own_distributed(act):
    act.note(evasion="distributed")
    at = act.server().v4
    for port in act.deal(act.rng.sample(range(1, 5000), 900)):
        with socket.socket() as client:
            client.settimeout(0.3)
            client.connect_ex((at, port))
        if not act.pause(act.rng.choice([0.005, 0.1, 0.4])):
            return


def own_packets(act):
    """Builds its own packets: any window, any options, one source port."""
    rng = act.rng
    flags = act.pick("flags", [2, 2, 2, 2, 1, 0, 41, 16])
    window, options = rng.choice([512, 1024, 1024, 5840, 8192, 65535, rng.randrange(65536)]), rng.choice(raw.OPTIONS)
    pace, home, at = act.draw("pace_s", 0.001, 0.3), rng.randrange(1024, 65536), target(act)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as out:
        for _ in act.every(pace, 0.2, 600):
            out.sendto(raw.segment(act.host.v4, at, (home, rng.randrange(1, 20000)), flags, window,
                                   options if flags == 2 else b""), (at, 0))


def own_through_pivot(act):
    """Through a shell on a server: the scan's own packets are the server's."""
    site, outside = act.recording.site, act.rng.choice([one for one in act.recording.servers if one.kind == "outside"])
    act.meet(site.v4, site.v6)
    act.relay(site, outside.v4)
    act.note(evasion="tunnelled")
    ports = " ".join(str(port) for port in act.rng.sample(range(1, 9000), 250))
    act.run(["ssh", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", site.key,
             "-p", site.port["ssh"], f"root@{site.v4}",
             # The server's shell does not end with its client.
             f"timeout {max(1, act.until - time.monotonic() - 1):.0f} bash -c 'for p in {ports}; do "
             f"timeout 0.3 bash -c \"</dev/tcp/{outside.v4}/$p\"; done'"])


F = "scan"
SWEEPS = ("sweep", "discovery")  # they ask by ARP for many that are not there
WAYS = [
    *[Way(F, "nmap", name, act, link_layer=name in SWEEPS) for name, act in [
        ("ports", nmap_ports), ("ports", nmap_ports), ("ports", nmap_ports), ("udp", nmap_udp), ("versions", nmap_versions),
        ("system", nmap_system), ("scripts", nmap_scripts), ("protocols", nmap_protocols), ("sweep", nmap_sweep),
        ("discovery", nmap_discovery), ("v6", nmap_v6)]],
    Way(F, "nmap", "slow", nmap_slow, seconds=(20, 40)), Way(F, "nmap", "distributed", nmap_distributed, by="many"),
    Way(F, "nmap", "arp", nmap_arp, link_layer=True), Way(F, "masscan", "masscan", masscan),
    Way(F, "zmap", "zmap", zmap),
    Way(F, "hping3", "ports", hping), Way(F, "hping3", "sweep", hping_sweep, link_layer=True), Way(F, "nc", "ports", netcat),
    Way(F, "fping", "sweep", fping, link_layer=True), Way(F, "arp-scan", "arp", arp_scan, link_layer=True),
    Way(F, "nbtscan", "names", nbtscan, link_layer=True),
    Way(F, "onesixtyone", "snmp", onesixtyone, link_layer=True), Way(F, "ours", "connect", own_connect, seconds=(8, 30)),
    Way(F, "ours", "connect", own_connect, by="client"), Way(F, "ours", "distributed", own_distributed, by="many"),
    Way(F, "ours", "packets", own_packets), Way(F, "ours", "pivot", own_through_pivot),
]
TOOLS = {"nmap": "nmap", "masscan": "masscan", "zmap": "zmap", "hping3": "hping3", "nc": "netcat-openbsd", "fping": "fping",
         "arp-scan": "arp-scan", "nbtscan": "nbtscan", "onesixtyone": "onesixtyone", "ours": "ours"}
