"""The registry of attacks: every way of every tool, by family. `WAYS` is what the recorder draws from."""

from attacks import (amplify, beacon, dga, doh, exfil, flood, guess, icmp, lateral, local, mining, names, scan, slow,
                     tunnel, web)

MODULES = [scan, guess, flood, amplify, slow, tunnel, icmp, doh, dga, beacon, exfil, local, names, lateral, web, mining]
WAYS = [way for module in MODULES for way in module.WAYS]
TOOLS = {}
for _module in MODULES:
    TOOLS.update(_module.TOOLS)
