"""Conversations of any shape on any port: the lab cannot have every program, but it can have every shape."""

import socket

from honest.habit import Habit
from services import small


def plan_of(rng):
    """Who speaks, how much, after how long."""
    size, gap = rng.uniform(2, 8), rng.uniform(-7, 0.5)
    spread, chatty = rng.uniform(0.1, 1.5), rng.random()
    plan = []
    for _ in range(1 + int(rng.lognormvariate(1.2, 1.0))):
        who = "server" if rng.random() < chatty else "client"
        plan.append((who, 1 + int(min(rng.lognormvariate(size, spread), 200_000)), min(rng.lognormvariate(gap, 1.0), 4)))
    return plan


def conversation(actor, server):
    """One to a few in a row."""
    rng = actor.rng
    port, plan = rng.choice(server.talk_ports), plan_of(rng)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        closes = rng.choice(["client", "client", "client", "server", "server reset", "client reset"])
        with socket.socket() as client:
            client.settimeout(20)
            client.bind((actor.host.v4, 0))
            server.talk_plans[client.getsockname()] = (plan, closes)
            client.connect((server.v4, port))
            small.talk(client, plan, "client", actor.pause)
            if closes.startswith("server"):
                client.recv(1)
            elif closes == "client reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, small.RESET)
        if not actor.pause(rng.expovariate(1 / 1.0)):
            return


def datagrams(actor, server):
    """The same over UDP: calls, games, streams, anything."""
    rng = actor.rng
    plan = plan_of(rng)[:60]
    with actor.udp() as client:
        server.talk_plans[client.getsockname()] = (list(plan), "")
        for who, size, gap in plan:
            if who == "client":
                if not actor.pause(gap):
                    return
                client.sendto(b"t" * min(size, 1400), (server.v4, server.talk_ports[0]))
            else:
                try:
                    client.recv(2048)
                except (TimeoutError, ConnectionError):
                    pass


def datagram_service(actor, server):
    """Time and game servers: a question, an answer, now and then or in a rhythm."""
    rng = actor.rng
    with actor.udp() as client:
        size, period = rng.choice([48, 48, 90, 300]), rng.choice([0.03, 0.2, 1, 3])
        for _ in actor.every(period, 0, rng.choice([1, 1, 4, 20, 60])):
            client.sendto(b"\x23" * size, (server.v4, server.port["echo"]))
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                pass


HABITS = [Habit(conversation, 18, "ours"), Habit(datagrams, 6, "ours"), Habit(datagram_service, 5, "ours")]
