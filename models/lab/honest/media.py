"""Streams and calls."""

from honest.habit import Habit, base, curl
from services.web import SEGMENTS


def stream(actor, server):
    """A film: a list, then a segment every few seconds, ahead at first; one connection or many."""
    rng, at = actor.rng, base(actor, server)
    ahead, period, number = rng.randrange(1, 4), rng.choice([1, 2, 4]), 0
    for _ in actor.every(period, 0.05):
        for _ in range(ahead):
            if not curl(actor, f"{at}/film/{number % SEGMENTS}.ts"):
                return
            number += 1
        ahead = 1


def video(actor, server):
    """A stream over UDP at a few hundred packets a second, either way or both, with its control connection."""
    rng = actor.rng
    actor.run(["iperf3", "-c", server.v4, "-p", server.port["iperf"], "-u", "-b", f"{rng.choice([300, 1000, 2500])}k",
               "-l", rng.choice([200, 800, 1200]), "-t", rng.randrange(2, 15), *rng.choice([[], ["-R"], ["--bidir"]])], 30)


def call(actor, server):
    """A call: sound 50 times a second both ways, pictures in bursts, a report every second."""
    rng = actor.rng
    pictures = rng.random() < 0.5
    with actor.udp(0.001) as client:
        peer, number = (server.v4, server.port["echo"]), 0
        for _ in actor.every(0.02, 0.1, int(rng.uniform(2, 20) * 50)):
            client.sendto(b"\x80\x6f" + number.to_bytes(2, "big") + rng.randbytes(rng.choice([60, 80, 160])), peer)
            if pictures and number % 2 == 0:
                for _ in range(rng.choice([1, 1, 2, 6])):
                    client.sendto(b"\x80\x60" + rng.randbytes(rng.randrange(600, 1200)), peer)
            number += 1
            try:
                while True:
                    client.recv(2048)
            except (TimeoutError, BlockingIOError):
                pass


def bulk(actor, server):
    rng = actor.rng
    actor.run(["iperf3", "-c", server.v4, "-p", server.port["iperf"], "-b", f"{rng.choice([2, 8, 20])}M",
               "-t", rng.randrange(1, 5), *rng.choice([[], ["-R"]])], 30)


HABITS = [Habit(stream, 5, "curl", seconds=40), Habit(video, 3, "iperf3"), Habit(call, 4, "ours"), Habit(bulk, 1.5, "iperf3")]
