"""Generated names, looked up until one is there."""

import hashlib
import struct

from attacks.way import Way

TOPS = ["com", "net", "org", "info", "biz", "ru", "top", "xyz"]
WORDS = "able after again blue cold dark early fire gold heavy iron jump kind lake mild north open plain quick road soft tall " \
        "under velvet warm young zeal".split()


def names(act):
    """Names of one generator: letters by a linear rule, hex of a date's hash, syllables, words, digits and letters."""
    rng, kind = act.rng, act.pick("generator", ["linear", "hash", "syllables", "words", "mixed"])
    size, state = rng.randrange(8, 24), rng.getrandbits(32)
    while True:
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        if kind == "linear":
            text, value = "", state
            for _ in range(size):
                value = (value * 69069 + 1) & 0xFFFFFFFF
                text += chr(97 + (value >> 16) % 26)
        elif kind == "hash":
            text = hashlib.md5(str(state).encode()).hexdigest()[:size]
        elif kind == "syllables":
            text = "".join(rng.choice("bcdfghklmnprstvz") + rng.choice("aeiou") for _ in range(size // 2))
        elif kind == "words":
            text = "".join(rng.sample(WORDS, rng.choice([2, 3])))
        else:
            text = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(size))
        yield f"{text}.{rng.choice(TOPS)}"


def asked(act):
    """The resolver, and the rhythm: bursts or a slow drip."""
    resolver = act.server("dns")
    return resolver.v4, act.draw("period_s", 0.02, 3.0), act.pick("jitter", [0, 0.3, 0.9])


def program(words):
    def attack(act):
        at, period, jitter = asked(act)
        for _, name in zip(act.every(period, jitter), names(act)):
            act.run(words(at, name), 4)

    return attack


def own(act):
    at, period, jitter = asked(act)
    kept = act.pick("ports", ["one", "many"]) == "one"
    client = act.udp(0.5)
    for _, name in zip(act.every(period, jitter), names(act)):
        if not kept:
            client.close()
            client = act.udp(0.5)
        text = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
        client.sendto(act.rng.randbytes(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + text + struct.pack("!HH", 1, 1), (at, 53))
        try:
            client.recv(1024)
        except OSError:
            pass
    client.close()


def library(act):
    """Through a DNS library, as malware in Python does."""
    import dnslib

    at, period, jitter = asked(act)
    for _, name in zip(act.every(period, jitter), names(act)):
        try:
            dnslib.DNSRecord.question(name, act.rng.choice(["A", "A", "AAAA"])).send(at, 53, timeout=0.5)
        except OSError:
            pass


F, LONG = "dga", (10, 28)
CASES = [("dig", program(lambda at, name: ["dig", f"@{at}", "+tries=1", "+time=1", "+short", name])),
         ("kdig", program(lambda at, name: ["kdig", f"@{at}", "+retry=0", "+timeout=1", "+short", name])),
         ("dnslib", library), ("ours", own)]
WAYS = [Way(F, tool, "lookups", act, by=by, seconds=LONG) for tool, act in CASES for by in ("attacker", "client")]
TOOLS = {"dig": "bind9-dnsutils", "kdig": "knot-dnsutils", "dnslib": "python3-dnslib", "ours": "ours"}
