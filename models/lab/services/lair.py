"""An attacker's servers outside, beside nginx and sshd: name servers that answer anything, mining pools, listeners."""

import json
import random
import socket
import ssl
import struct
import threading
import time

from isolate import enter_network

# Which of the lair's further addresses serves which zone of naming.TUNNEL_ZONES.
IODINE, DNS2TCP, OURS, BEACON = range(4)
POOL_PORTS = {"plain": 3333, "login": 14444, "tls": 443}
RAW_PORT, SINK_PORT = 4444, 9999


def start(host, rng):
    for number in (OURS, BEACON):
        threading.Thread(target=_names, args=(host, host.more[number], rng.randrange(1 << 30)), daemon=True).start()
    pool = host.more[4]
    for kind, port in POOL_PORTS.items():
        threading.Thread(target=_listen, args=(host, pool, port, _pool, kind == "tls"), daemon=True).start()
    threading.Thread(target=_listen, args=(host, host.v4, RAW_PORT, _orders, False), daemon=True).start()
    threading.Thread(target=_listen, args=(host, host.v4, SINK_PORT, _swallow, False), daemon=True).start()


def _names(host, address, seed):
    """Answers each question: addresses for A, text of any length for the rest, as a tunnel's far end does."""
    enter_network(host.name)
    rng = random.Random(seed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        while True:
            data, peer = server.recvfrom(4096)
            try:
                answer = reply(data, rng)
            except (IndexError, struct.error):
                continue
            server.sendto(answer, peer)


def reply(data, rng):
    at = 12
    while data[at]:
        at += data[at] + 1
    asked, = struct.unpack_from("!H", data, at + 1)
    question = data[12:at + 5]
    if asked == 1:
        content = rng.randbytes(4)
    elif asked == 28:
        content = rng.randbytes(16)
    elif asked in (5, 15):
        label = rng.randbytes(rng.randrange(6, 28)).hex().encode()
        content = (b"\0\x0a" if asked == 15 else b"") + bytes([len(label)]) + label + b"\xc0\x0c"
    elif asked == 16:
        text = rng.randbytes(rng.randrange(4, 90)).hex().encode()
        content = bytes([len(text)]) + text
    else:
        content = rng.randbytes(rng.randrange(8, 200))
    return (data[:2] + b"\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + question + b"\xc0\x0c"
            + struct.pack("!HHIH", asked, 1, rng.choice([0, 1, 60]), len(content)) + content)


def _listen(host, address, port, session, tls):
    enter_network(host.name)
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{host.work}/cert.pem", f"{host.work}/key.pem")
    server = socket.create_server((address, port), backlog=32)

    def serve(connection):
        try:
            connection.settimeout(90)
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                session(connection)
        except OSError:
            pass

    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _pool(connection):
    """Stratum, Bitcoin's words and Monero's: work at once, new work every so often, an answer to each share."""
    rng, lock = random.Random(), threading.Lock()
    alive = [True]

    def say(**message):
        with lock:
            connection.sendall(json.dumps(message).encode() + b"\n")

    def job(monero):
        blob = rng.randbytes(76 if monero else 32).hex()
        if monero:
            return {"blob": blob, "job_id": rng.randbytes(7).hex(), "target": "b88d0600", "height": 3_000_000}
        return [rng.randbytes(4).hex(), blob, rng.randbytes(60).hex(), rng.randbytes(50).hex(), [rng.randbytes(32).hex()] * 8,
                "20000000", "1a01aa3d", "5f5e1000", True]

    def news(monero, period):
        while alive[0]:
            time.sleep(period * rng.uniform(0.7, 1.3))
            try:
                if monero:
                    say(jsonrpc="2.0", method="job", params=job(True))
                else:
                    say(id=None, method="mining.notify", params=job(False))
            except OSError:
                return

    try:
        for line in connection.makefile("rb"):
            words = json.loads(line)
            method = words.get("method", "")
            if method == "login":
                say(id=words["id"], jsonrpc="2.0", error=None, result={"id": "x", "job": job(True), "status": "OK"})
                threading.Thread(target=news, args=(True, rng.choice([4, 10])), daemon=True).start()
            elif method == "mining.subscribe":
                say(id=words["id"], error=None, result=[[["mining.notify", "ae68"]], "08000002", 4])
                say(id=None, method="mining.set_difficulty", params=[8192])
                say(id=None, method="mining.notify", params=job(False))
                threading.Thread(target=news, args=(False, rng.choice([4, 10])), daemon=True).start()
            else:
                say(id=words.get("id"), error=None, result={"status": "OK"} if method == "submit" else True)
    except ValueError:
        pass
    finally:
        alive[0] = False


def _orders(connection):
    """A handler's side of a raw channel: mostly nothing to do, now and then an order."""
    rng = random.Random()
    while connection.recv(8192):
        connection.sendall(rng.choice([b"ok", b"ok", b"ok", rng.randbytes(rng.randrange(20, 900))]))


def _swallow(connection):
    while connection.recv(65536):
        pass
