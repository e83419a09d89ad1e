"""Names, time, addresses: what every host asks for all day."""

import socket
import struct

from honest.habit import Habit, base, curl

WORDS = ["mail", "www", "api", "cdn", "db", "git", "wiki", "auth", "img", "news"]


def dns_single(actor, server):
    rng = actor.rng
    name = rng.choice([f"n{rng.randrange(2, 60)}.lab.test", f"{rng.choice(WORDS)}.lab.test", "long.lab.test"])
    kind = rng.choice(["A", "A", "AAAA", "TXT", "MX"])
    at = server.v6 if rng.random() < actor.share_v6 else server.v4
    actor.run(["dig", f"@{at}", "+tries=1", "+time=2", *rng.choice([[], [], ["+tcp"], ["+noedns"]]), name, kind], 10)


def dns_burst(actor, server):
    for _ in range(actor.rng.randrange(3, 20)):
        dns_single(actor, server)
        if not actor.pause(actor.rng.expovariate(1 / 0.1)):
            return


def question(rng, labels, kind=1):
    name = b"".join(bytes([len(part)]) + part for part in labels)
    return rng.randbytes(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00" + struct.pack("!HH", kind, 1)


def dns_one_socket(actor, server):
    """A stub that keeps its port: many questions on one flow."""
    rng = actor.rng
    with actor.udp(2) as client:
        client.connect((server.v4, 53))
        for _ in range(rng.randrange(2, 25)):
            client.send(question(rng, [b"n%d" % rng.randrange(2, 80), b"lab", b"test"]))
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                pass
            if not actor.pause(rng.expovariate(1 / 0.4)):
                return


def reputation_lookups(actor, server):
    """What a virus scanner and a delivery network ask: names that look generated, answered or not, by honest people."""
    rng = actor.rng
    with actor.udp(1) as client:
        client.connect((server.v4, 53))
        for _ in range(rng.randrange(5, 40)):
            client.send(question(rng, [rng.randbytes(rng.choice([8, 16])).hex().encode(), b"avts", b"lab", b"test"],
                                 rng.choice([1, 1, 16])))
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                pass
            if not actor.pause(rng.expovariate(1 / 0.3)):
                return


def doh(actor, server):
    """Names over HTTPS or TLS: each in a connection of its own, or with the page that it is for."""
    rng = actor.rng
    name = f"n{rng.randrange(2, 60)}.lab.test"
    for _ in range(rng.randrange(1, 12)):
        if rng.random() < 0.3:
            curl(actor, "--doh-insecure", "--doh-url", f"https://{server.doh}/dns-query", "--max-time", "5",
                 f"{base(actor, server)}/tiny")
        else:
            actor.run(["kdig", f"@{server.doh}", rng.choice(["+https", "+https", "+tls"]), "+timeout=3", "+retry=0", name], 8)
        if not actor.pause(rng.expovariate(1 / 0.8)):
            return


def ntp(actor, server):
    """A clock: some questions, then one now and then."""
    rng = actor.rng
    if rng.random() < 0.3:
        actor.run(["chronyd", "-Q", "-t", "8", "-f", "/dev/null", f"server {server.v4} iburst maxsamples {rng.choice([1, 4])}"],
                  12)
        return
    with actor.udp(1) as client:
        for _ in actor.every(rng.choice([1, 4, 8, 16]), 0.02, rng.randrange(1, 8)):
            client.sendto(b"\x23" + bytes(47), (server.v4, 123))
            try:
                client.recv(100)
            except (TimeoutError, ConnectionError):
                pass


def dhcp_renew(actor, server):
    """A lease is asked for; the address that comes is not taken."""
    actor.variant["link_layer"] = False
    actor.run(["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "2", "-s", "/bin/true"], 10)


def announce(actor, server):
    """Service discovery to a group, mostly unanswered."""
    rng = actor.rng
    with actor.udp() as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(actor.host.v4))
        name = [rng.choice([b"printer", b"tv", b"laptop"]), b"local"]
        kinds = [(("224.0.0.251", 5353), question(rng, [b"_ipp", b"_tcp", b"local"], 12)),
                 (("224.0.0.251", 5353), question(rng, name)),
                 (("239.255.255.250", 1900), b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n"
                                             b"MX: 2\r\nST: ssdp:all\r\n\r\n"),
                 (("224.0.0.252", 5355), question(rng, [b"wpad%d" % rng.randrange(9)]))]
        group, text = rng.choice(kinds)
        for _ in range(rng.randrange(1, 4)):
            client.sendto(text, group)
            if not actor.pause(rng.uniform(0.2, 1)):
                return


HABITS = [
    Habit(dns_single, 7, "dig"), Habit(dns_burst, 5, "dig"), Habit(dns_one_socket, 4, "ours"),
    Habit(reputation_lookups, 2, "ours"), Habit(doh, 4, "kdig", ("doh",)), Habit(ntp, 4, "chronyd"),
    Habit(dhcp_renew, 2, "udhcpc", ("smb",)), Habit(announce, 3, "ours"),
]
