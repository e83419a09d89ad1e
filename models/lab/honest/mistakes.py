"""Honest people fail too: wrong passwords, dead hosts, closed ports."""

import socket

from honest.files import smb_words, ssh_session
from honest.habit import SSH, Habit, curl


def ssh_mistyped(actor, server):
    rng = actor.rng
    for _ in range(rng.randrange(1, 3)):
        actor.run(["sshpass", "-p", f"typo{rng.random():.3f}", "ssh", *SSH[:-2], "-o", "NumberOfPasswordPrompts=1",
                   "-o", "PubkeyAuthentication=no", "-p", server.port["ssh"], f"alice@{server.v4}", "true"], 20)
        if not actor.pause(rng.uniform(1.5, 6)):
            return
    ssh_session(actor, server)


def ftp_mistyped(actor, server):
    at = f"ftp://{server.v4}:{server.port['ftp']}"
    curl(actor, "-u", f"bob:typo{actor.rng.random():.3f}", f"{at}/")
    if actor.pause(actor.rng.uniform(1.5, 5)):
        curl(actor, f"{at}/tiny")


def smb_mistyped(actor, server):
    words = smb_words(server)
    words[2] = "typo"
    for _ in range(actor.rng.randrange(1, 3)):
        actor.run([*words, "-c", "ls"], 15)
        if not actor.pause(actor.rng.uniform(2, 6)):
            return
    actor.run([*smb_words(server), "-c", "ls"], 15)


def stale_password(actor, server):
    """A mail or data base program with last month's password, that tries again until somebody looks."""
    rng = actor.rng
    kind = rng.choice(["imap", "mysql", "redis"])
    for _ in actor.every(rng.choice([3, 6, 10]), 0.1, rng.randrange(2, 6)):
        if kind == "imap":
            curl(actor, "-u", "alice:lastmonth", f"imap://{server.v4}/INBOX", timeout=10)
        elif kind == "mysql":
            actor.run(["mariadb", "-h", server.v4, "-u", "alice", "-plastmonth", "--skip-ssl", "-e", "SELECT 1"], 10)
        else:
            actor.run(["redis-cli", "-h", server.v4, "-p", server.port["redis"], "-a", "lastmonth", "ping"], 5)


def name_mistyped(actor, server):
    """A name that does not exist, typed or in a bookmark, and then the right one."""
    rng = actor.rng
    for name in [rng.choice(["wwww", "ww", "mial", "flies", "apii", "intranet", "wiki.old"]) for _ in range(rng.choice([1, 1, 2]))]:
        actor.run(["dig", f"@{server.v4}", "+tries=1", "+time=2", *rng.choice([[], ["AAAA"]]), f"{name}.lab.test"], 10)
        if not actor.pause(rng.uniform(1, 4)):
            return
    actor.run(["dig", f"@{server.v4}", "+tries=1", "+time=2", "www.lab.test"], 10)


def dead_resolver(actor, server):
    actor.run(["dig", f"@{actor.rng.choice(actor.dead)}", "+tries=2", "+time=1", "www.lab.test"], 10)


def dead_host(actor, server):
    curl(actor, "--connect-timeout", actor.rng.choice(["2", "4"]), f"http://{actor.rng.choice(actor.dead)}/")


def refused(actor, server):
    """A service that is down, tried again a few times as programs do."""
    port = actor.rng.randrange(1025, 60000)
    for _ in range(actor.rng.randrange(1, 4)):
        curl(actor, f"http://{server.v4}:{port}/")
        if not actor.pause(actor.rng.uniform(0.5, 2)):
            return


def telnet_use(actor, server):
    """An old machine's console, the password mistyped at times."""
    rng = actor.rng
    typo = [(b"bob", rng.uniform(0.5, 2)), (b"typo", rng.uniform(0.5, 2))] if rng.random() < 0.3 else []
    typed = [(b"c" * rng.randrange(2, 20), rng.expovariate(1 / 1.0)) for _ in range(rng.randrange(1, 12))]
    with actor.tcp(server.v4, server.port["telnet"]) as client:
        for line, pause in [*typo, (b"bob", 0.8), (b"correct-horse", 1.1), *typed, (b"exit", 0.5)]:
            if not client.recv(65536) or not actor.pause(pause):
                return
            client.sendall(line + b"\r\n")


def desktop_use(actor, server):
    """A remote desktop: keys and a mouse one way, a picture the other."""
    rng = actor.rng
    with actor.tcp(server.v4, server.port["rdp"]) as client:
        client.sendall(bytes.fromhex("0300002b26e00000000000") + b"Cookie: mstshash=alice\r\n" + bytes.fromhex("0100080003000000"))
        client.recv(1024)
        client.sendall(b"correct-horse" + bytes(rng.randrange(200, 600)))
        client.settimeout(5)
        while client.recv(65536) and actor.pause(rng.expovariate(1 / 0.2)):
            client.sendall(b"k" * rng.randrange(8, 60))


def half_open(actor, server):
    """A laptop that is closed: the connection is never ended."""
    client = actor.tcp(server.v4, server.port["line"], 5)
    client.sendall(b"hello")
    actor.pause(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.close()


HABITS = [
    Habit(ssh_mistyped, 3, "sshpass"), Habit(ftp_mistyped, 2, "curl", ("ftp",)), Habit(smb_mistyped, 2, "smbclient", ("smb",)),
    Habit(stale_password, 3, "curl", ("smb",), 40), Habit(name_mistyped, 2, "dig"), Habit(dead_resolver, 2, "dig"), Habit(dead_host, 2, "curl"),
    Habit(refused, 2, "curl"), Habit(telnet_use, 2, "ours", ("telnet",)), Habit(desktop_use, 3, "ours", ("rdp",), 40),
    Habit(half_open, 1, "ours"),
]
