"""What an entry of the registry of honest habits is, and what many of them need."""

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Habit:
    """`act(actor, server)` for up to `seconds`; taken up `weight` times as often as one of weight 1."""

    act: Callable
    weight: float
    tool: str
    needs: tuple = ()
    seconds: float = 30

    @property
    def name(self):
        return self.act.__name__


def curl(actor, *arguments, timeout=40):
    return actor.run(["curl", "-s", "-k", "-o", "/dev/null", *arguments], timeout)


def base(actor, server, share_tls=0.5):
    rng = actor.rng
    tls = rng.random() < share_tls
    port = server.port["https" if tls else "http"]
    return f"{'https' if tls else 'http'}://{server.url_host(rng, actor.share_v6)}:{port}"


SSH = ["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
       "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", "-o", "BatchMode=yes"]
PASSWORD = "correct-horse"
