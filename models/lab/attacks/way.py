"""What an entry of the registry is."""

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Way:
    """`act(actor)` does it, for up to `seconds`. `by`: on which kind of host (`attacker`: one that does nothing else;
    `client`: an honest one that was taken over; `many`: several at once). `link_layer`: its ARP or discovery messages are
    the attack, not the kernel's. `forges_macs`: frames with senders that are no host's. `alone`: changes what others
    see (poisoned tables), so at most one at a time."""

    family: str
    tool: str
    name: str
    act: Callable
    by: str = "attacker"
    seconds: tuple = (6, 20)
    link_layer: bool = False
    forges_macs: bool = False
    alone: bool = False
    needs: str = ""
