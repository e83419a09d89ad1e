"""Mining: Stratum to a pool, in Bitcoin's and Monero's words, plain and in TLS."""

import json
import ssl

from attacks.way import Way
from services import lair as far


def share_times(act):
    """A share every few seconds, as luck has it."""
    mean = act.draw("share_s", 0.8, 8.0)
    while act.pause(act.rng.expovariate(1 / mean)):
        yield act.rng.randbytes(4).hex()


def connect(act, kind):
    pool = act.lair.more[4]
    client = act.tcp(pool, far.POOL_PORTS[kind], 8)
    if kind == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname="pool.example")
    return client


def own(dialect):
    def attack(act):
        kind = act.pick("pool", ["tls", "login"] if dialect == "monero" else ["plain", "tls"])
        with connect(act, kind) as client:
            client.settimeout(0.05)

            def say(**message):
                client.sendall(json.dumps(message).encode() + b"\n")
                try:
                    while client.recv(8192):
                        pass
                except (TimeoutError, ssl.SSLError):
                    pass

            wallet = act.rng.randbytes(40).hex()
            if dialect == "monero":
                say(id=1, jsonrpc="2.0", method="login", params={"login": wallet, "pass": "x", "agent": "XMRig/6.21.0", "algo": ["rx/0"]})
            else:
                say(id=1, method="mining.subscribe", params=["cpuminer/2.5.1"])
                say(id=2, method="mining.authorize", params=[wallet[:34], "x"])
            for number, nonce in enumerate(share_times(act), 3):
                if dialect == "monero":
                    say(id=number, jsonrpc="2.0", method="submit", params={"id": "x", "job_id": "1", "nonce": nonce, "result": wallet[:64]})
                else:
                    say(id=number, method="mining.submit", params=[wallet[:34], "ae68", "00000000", "5f5e1000", nonce])
                if number % 12 == 0 and dialect == "monero":
                    say(id=number, jsonrpc="2.0", method="keepalived", params={"id": "x"})

    return attack


def piped(tool):
    """A shell script that speaks the protocol through nc or openssl."""
    def attack(act):
        pool = act.lair.more[4]
        words = {"nc": ["nc", pool, far.POOL_PORTS["plain"]], "socat": ["socat", "-", f"TCP:{pool}:{far.POOL_PORTS['plain']}"],
                 "openssl": ["openssl", "s_client", "-quiet", "-connect", f"{pool}:{far.POOL_PORTS['tls']}"]}[tool]
        process = act.spawn(words, stdin=True)
        lines = [{"id": 1, "method": "mining.subscribe", "params": []}, {"id": 2, "method": "mining.authorize", "params": ["w.1", "x"]}]
        try:
            for line in lines:
                process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
            for number, nonce in enumerate(share_times(act), 3):
                line = {"id": number, "method": "mining.submit", "params": ["w.1", "ae68", "00000000", "5f5e1000", nonce]}
                process.stdin.write(json.dumps(line).encode() + b"\n")
                process.stdin.flush()
        except BrokenPipeError:
            pass

    return attack


F, LONG = "mining", (20, 50)
CASES = [("ours", "bitcoin", own("bitcoin")), ("ours", "monero", own("monero")), ("nc", "bitcoin", piped("nc")),
         ("socat", "bitcoin", piped("socat")), ("openssl", "bitcoin tls", piped("openssl"))]
WAYS = [Way(F, tool, name, act, by=by, seconds=LONG) for tool, name, act in CASES for by in ("client", "attacker")]
TOOLS = {"ours": "ours", "nc": "netcat-openbsd", "socat": "socat", "openssl": "openssl"}
