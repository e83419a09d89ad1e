"""Servers of our own, for what Debian has no small program of: telnet, remote desktops, chat, game and log servers, and
conversations of any shape on any port."""

import random
import socket
import subprocess
import threading
import time

from isolate import enter_network

# Where protocols live that the lab has no program for; conversations of any shape take place on them.
TALK_PORTS = [389, 465, 587, 631, 1433, 1521, 2049, 5900, 8081, 9200]


def start(network, host, rng):
    if host.kind == "desk":
        threading.Thread(target=_desktop_server, args=(host, rng.randrange(1 << 30)), daemon=True).start()
        return
    taken = set(host.port.values())
    host.talk_ports = (rng.sample([port for port in TALK_PORTS if port not in taken], 5)
                       + rng.sample(range(1024, 60000), 5))
    host.talk_plans = {}
    for port in host.talk_ports:
        for serve in (_talk_server, _talk_datagrams):
            threading.Thread(target=serve, args=(host, port), daemon=True).start()
    if host.kind == "site" and rng.random() < 0.3:
        _firewall(host, rng)
    own = [_line_server, _echo_server, _sink_server]
    if host.kind == "site":
        own += [_telnet_server, _desktop_server]
    for serve in own:
        threading.Thread(target=serve, args=(host, rng.randrange(1 << 30)), daemon=True).start()


def _firewall(host, rng):
    """Ports without a service swallow their packets, or refuse them by ICMP, as most hosts on the internet do."""
    verdict = rng.choice(["drop", "drop", "reject with icmpx type admin-prohibited"])
    open_ports = ", ".join(str(port) for port in sorted(set(host.port.values())))
    rules = f"""table inet lab {{ chain input {{ type filter hook input priority 0; policy accept;
        tcp flags syn tcp dport != {{ {open_ports} }} tcp dport < 1024 {verdict}
    }} }}"""
    subprocess.run(["ip", "netns", "exec", host.name, "nft", "-f", "-"], input=rules.encode(), check=False,
                   capture_output=True)


def _lines(connection):
    """Lines a client sends, without their ends."""
    left = b""
    while True:
        data = connection.recv(1024)
        if not data:
            return
        *whole, left = (left + data).split(b"\n")
        yield from (line.rstrip(b"\r\0") for line in whole)


def _login_server(host, port, session):
    server = socket.create_server(("0.0.0.0", port), backlog=64)

    def serve(connection):
        with connection:
            connection.settimeout(60)
            try:
                session(connection)
            except OSError:
                pass

    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _telnet_server(host, seed):
    """A shell behind a password, every character echoed."""
    enter_network(host.name)
    rng = random.Random(seed)
    late = rng.choice([0.3, 1, 3])

    def session(connection):
        connection.sendall(b"\xff\xfd\x18\xff\xfb\x03lab\r\nlogin: ")
        asked, failed = "user", 0
        for line in _lines(connection):
            if asked == "user":
                connection.sendall(b"Password: ")
                asked = "password"
            elif asked == "password" and not line.endswith(b"correct-horse"):
                time.sleep(late)
                failed += 1
                connection.sendall(b"\r\nLogin incorrect\r\n" + (b"login: " if failed < 3 else b""))
                if failed == 3:
                    return
                asked = "user"
            elif line == b"exit":
                return
            else:
                asked = "shell"
                connection.sendall(line + b"\r\n" + b"o" * int(rng.lognormvariate(4, 1.5)) + b"\r\n$ ")

    _login_server(host, host.port["telnet"], session)


def _desktop_server(host, seed):
    """Remote desktop as it looks from outside: a negotiation, then a picture that moves when keys come. After a wrong
    cookie it hangs up, as a server that asks for a login first does."""
    enter_network(host.name)
    rng = random.Random(seed)

    def session(connection):
        hello = connection.recv(1024)
        if not hello.startswith(b"\x03\x00"):
            return
        connection.sendall(bytes.fromhex("030000130ed000001234000209080002000000"))
        login = connection.recv(4096)
        if b"correct-horse" not in login:
            time.sleep(0.2)
            connection.sendall(bytes.fromhex("0300000902f0802180"))
            return
        while True:
            connection.sendall(b"p" * int(min(rng.lognormvariate(7, 1.2), 60_000)))
            if not connection.recv(2048):
                return

    _login_server(host, host.port["rdp"], session)


def _line_server(host, seed):
    """Long-lived sessions with small messages both ways, as brokers and chat servers have."""
    enter_network(host.name)
    rng = random.Random(seed)
    server = socket.create_server(("0.0.0.0", host.port["line"]), backlog=64)

    def session(client):
        with client:
            client.settimeout(rng.uniform(2, 20))
            while True:
                try:
                    data = client.recv(4096)
                    if not data:
                        return
                    client.sendall(b"+" * rng.randrange(4, 200))
                except TimeoutError:
                    try:
                        client.sendall(b"ping\n")
                    except OSError:
                        return
                except OSError:
                    return

    while True:
        client, _ = server.accept()
        threading.Thread(target=session, args=(client,), daemon=True).start()


def _echo_server(host, seed):
    """Request and response over UDP, as time and game servers have."""
    enter_network(host.name)
    rng = random.Random(seed)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", host.port["echo"]))
    while True:
        data, peer = server.recvfrom(2048)
        server.sendto(data[: rng.randrange(20, 400)] or b"ok", peer)


def _sink_server(host, _seed):
    """Takes and never answers, as collectors of logs and metrics do."""
    enter_network(host.name)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", host.port["sink"]))
    while True:
        server.recvfrom(2048)


def talk(connection, plan, me, pause):
    """Plays one side of a conversation: `plan` is a list of (who speaks, bytes, seconds before). Blocking."""
    for who, size, gap in plan:
        if who == me:
            if not pause(gap):
                return
            connection.sendall(b"t" * size)
        else:
            while size > 0:
                data = connection.recv(min(size, 65536))
                if not data:
                    return
                size -= len(data)


def _sleep(seconds):
    time.sleep(seconds)
    return True


def _talk_server(host, port):
    """The server's side of conversations that a client has planned; both sides live in this process."""
    enter_network(host.name)
    server = socket.create_server(("0.0.0.0", port), backlog=64)

    def session(connection, peer):
        plan, closes = host.talk_plans.pop(peer, ([], "client"))
        with connection:
            connection.settimeout(20)
            try:
                talk(connection, plan, "server", _sleep)
                if closes == "server reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                elif closes == "client":
                    connection.recv(1)
            except OSError:
                pass

    while True:
        connection, peer = server.accept()
        threading.Thread(target=session, args=(connection, peer), daemon=True).start()


def _talk_datagrams(host, port):
    enter_network(host.name)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", port))
    while True:
        _, peer = server.recvfrom(2048)
        plan, _ = host.talk_plans.get(peer, ([], ""))
        # A question takes the answers that follow it in the plan.
        while plan and plan[0][0] == "client":
            plan.pop(0)
        while plan and plan[0][0] == "server":
            server.sendto(b"t" * min(plan.pop(0)[1], 1400), peer)


RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # struct linger: on, 0 seconds
