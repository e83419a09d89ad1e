"""Attacks of which each packet may be the one that makes the evidence suffice. An instance has hosts of its own.

Each returns (gap in seconds, list of steps); a step is a list of frames that leave together. Figures of speed are those of the tools
at their usual settings (nmap -T4, hydra with one task, hping3 -i u200, iodine).
"""

import hashlib

from wire import PSH, ACK, RST, SYN, Connection, address, dns, tcp, udp


def scan(number):
    """Ports of one host, refused."""
    source, target = address("10.20.0.0") + number, address("10.30.0.0") + number
    steps = []
    for place in range(120):
        port, own = 1 + (place * 37) % 1021, 40_000 + place
        steps.append([tcp(source, own, target, port, 7, 0, SYN), tcp(target, port, source, own, 0, 8, RST | ACK)])
    return 0.002, steps


def brute_force(number):
    """Passwords of FTP, six a connection."""
    source, target = address("10.21.0.0") + number, address("10.31.0.0") + number
    steps = []
    for session in range(6):
        line = Connection(source, 41_000 + session, target, 21)
        first = line.open() + [line.say(1, PSH | ACK, b"220 ready\r\n")]
        for guess in range(6):
            word = hashlib.sha256(f"{number} {session} {guess}".encode()).hexdigest()[:8].encode()
            steps.append(first + [line.say(0, PSH | ACK, b"USER root\r\n"), line.say(1, PSH | ACK, b"331 password\r\n"),
                                  line.say(0, PSH | ACK, b"PASS " + word + b"\r\n"),
                                  line.say(1, PSH | ACK, b"530 Login incorrect\r\n")])
            first = []
        steps[-1] += line.close()
    return 0.03, steps


def flood(number):
    """SYNs of one sender to one port, unanswered."""
    source, target = address("10.22.0.0") + number, address("10.32.0.0") + number
    return 0.0002, [[tcp(source, 1024 + place, target, 80, place, 0, SYN)] for place in range(9000)]


def dns_tunnel(number):
    """Data in names below one domain."""
    source, resolver = address("10.23.0.0") + number, address("10.33.0.1")
    steps = []
    for place in range(150):
        data = "".join(hashlib.sha512(f"{number} {place} {part}".encode()).hexdigest() for part in (1, 2))
        name = f"{data[:60]}.{data[60:120]}.{data[120:160]}.t{number}-relay.com"
        own = 42_000 + place
        steps.append([udp(source, own, resolver, 53, dns(place, name, 16)),
                      udp(resolver, 53, source, own, dns(place, name, 16, b"\x40" + data[:64].encode()))])
    return 0.01, steps


ATTACKS = {"scan": scan, "brute_force": brute_force, "flood": flood, "dns_tunnel": dns_tunnel}
