"""What happens by the clock: health checks, monitoring, updates, logs. Looks like a beacon and is none."""

import socket

from honest.habit import Habit, base, curl


def health_check(actor, server):
    """A load balancer's probe: connect and close, by FIN or by reset."""
    rng = actor.rng
    reset, period = rng.random() < 0.4, rng.choice([0.5, 1, 2, 5])
    port = server.port[rng.choice(["http", "https", "ssh", "line"])]
    for _ in actor.every(period, 0, rng.randrange(3, 15)):
        with actor.tcp(server.v4, port, 5) as client:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def update_check(actor, server):
    """A program asks whether there is a newer one: the same words at the same distance, seldom another answer."""
    rng = actor.rng
    at, agent = base(actor, server, 0.8), f"updater/{rng.randrange(9)}.{rng.randrange(99)}"
    for _ in actor.every(actor.draw("period_s", 1.0, 12.0), actor.pick("jitter", [0, 0, 0.02, 0.1, 0.3])):
        curl(actor, "-A", agent, f"{at}/api/version")
        if rng.random() < 0.03:
            curl(actor, "-A", agent, f"{at}/big")


def telemetry(actor, server):
    """Counters sent home: a little more up than down, for as long as the program runs."""
    rng = actor.rng
    at = base(actor, server, 0.9)
    for _ in actor.every(actor.draw("period_s", 1.0, 15.0), actor.pick("jitter", [0, 0.05, 0.2])):
        curl(actor, "-X", "POST", "-d", "x" * int(min(rng.lognormvariate(6, 0.8), 20_000)), f"{at}/api/events")


def scrape(actor, server):
    """A monitor that reads every host's counters."""
    at = f"http://{server.v4}:{server.port['http']}/metrics"
    for _ in actor.every(actor.rng.choice([1, 2, 5]), 0):
        curl(actor, at)


def snmp_poll(actor, server):
    rng = actor.rng
    tree = rng.choice(["system", "interfaces", "ip", "tcp"])
    program = rng.choice(["snmpwalk", "snmpbulkwalk"])
    for _ in actor.every(rng.choice([2, 5]), 0, rng.randrange(1, 8)):
        actor.run([program, "-v", "2c", "-c", "public", "-t", "1", "-r", "0", server.v4, tree], 10)


def ping(actor, server):
    rng = actor.rng
    at = server.v6 if rng.random() < actor.share_v6 else server.v4
    actor.run(["ping", "-q", "-c", rng.randrange(1, 30), "-i", rng.choice(["0.2", "0.5", "1"]),
               "-s", rng.choice([56, 56, 8, 1200]), at], 35)


def ping_round(actor, server):
    """A monitor that asks every machine of the site whether it is there."""
    hosts = [host.v4 for host in actor.network.hosts if host.inside and host is not actor.host]
    for _ in actor.every(5, 0, 3):
        for address in hosts:
            actor.run(["ping", "-q", "-c", "1", "-W", "1", address], 3)


def log_sender(actor, server):
    """Logs and metrics: one way, never answered."""
    rng = actor.rng
    at = rng.choice([server.v4, server.v4, rng.choice(actor.dead)])
    period = rng.choice([0.02, 0.1, 0.5])
    with actor.udp() as client:
        for _ in actor.every(period, 0.5, rng.choice([1, 3, 10, 50, 150])):
            client.sendto(b"<13>" + b"l" * rng.randrange(30, 500), (at, server.port["sink"]))


def broker(actor, server):
    """A long session that mostly idles."""
    rng = actor.rng
    with actor.tcp(server.v4, server.port["line"], 5) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.settimeout(3)
        while True:
            client.sendall(b"m" * rng.randrange(2, 300))
            try:
                client.recv(4096)
            except TimeoutError:
                pass
            if not actor.pause(rng.expovariate(1 / 4)):
                return


HABITS = [
    Habit(health_check, 4, "ours"), Habit(update_check, 6, "curl"), Habit(telemetry, 5, "curl"), Habit(scrape, 3, "curl", seconds=30),
    Habit(snmp_poll, 3, "snmpwalk", ("snmp",)), Habit(ping, 4, "ping"), Habit(ping_round, 1, "ping", seconds=20),
    Habit(log_sender, 4, "ours"), Habit(broker, 5, "ours"),
]
