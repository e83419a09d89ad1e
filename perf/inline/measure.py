#!/usr/bin/env python3
"""What a pair does when its process dies, hangs, restarts or is overrun, and under attacks that its playbooks answer: three
namespaces, numbered frames both ways, real flows, real attackers.

    measure.py [--only kills,hang] [--kills N] [--upgrade BINARY] [--out target/inline]

Needs root. Writes a file of JSON for each experiment, tables.txt, plots and summary.json. It measures and asserts nothing.
"""

import argparse
import json
import os
import sys
import time

import report
from experiments import EXPERIMENTS, Context


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shrike", default="target/release/shrike")
    add("--probe", default="target/release/examples/inline-probe")
    add("--out", default="target/inline")
    add("--only", help="experiments, by commas: " + ", ".join(EXPERIMENTS))
    add("--upgrade", help="another build, for upgrades; the same one, copied, if absent")
    add("--seed", type=int, default=1)
    add("--heartbeat-ms", type=int, help="the pair's heartbeat limit; Shrike's default if absent")
    add("--rate", type=int, default=2_000, help="frames a second each way under faults")
    add("--kills", type=int, default=100)
    add("--deaths", type=int, default=20, help="deaths at 10 000 frames/s and at full rate")
    add("--closed", type=int, default=10)
    add("--hangs", type=int, default=20)
    add("--planned", type=int, default=10)
    add("--rounds", type=int, default=11)
    add("--latency-rate", type=int, default=2_000)
    add("--latency-seconds", type=float, default=2.0)
    add("--overload-seconds", type=float, default=5.0)
    add("--overload-bytes", type=int, default=100)
    add("--flaps", type=int, default=6)
    add("--trials", type=int, default=30, help="attacks of a kind; of the slow kinds a third")
    add("--attacks", help="kinds of attacks, by commas; all if absent")
    add("--block-rate", type=int, default=10_000, help="frames a second each way while a source is blocked")
    add("--benign", help="attacks beside honest clients, by commas")
    add("--benign-seconds", type=float, default=4.0)
    return parser.parse_args()


def main():
    chosen = options()
    if os.geteuid() != 0:
        sys.exit("error: namespaces and AF_XDP want root")
    names = chosen.only.split(",") if chosen.only else list(EXPERIMENTS)
    if unknown := set(names) - set(EXPERIMENTS):
        sys.exit(f"error: no experiment {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    chosen.shrike, chosen.probe = (os.path.abspath(path) for path in (chosen.shrike, chosen.probe))
    os.makedirs(chosen.out, exist_ok=True)
    context = Context(chosen)
    for name in names:
        loads, begin = [os.getloadavg()[0]], time.monotonic()
        print(f"{name} ...", file=sys.stderr)
        found = EXPERIMENTS[name](context)
        loads.append(os.getloadavg()[0])
        found["machine"] = {"cores": os.cpu_count(), "load_before": round(loads[0], 2), "load_after": round(loads[1], 2),
                            "seconds": round(time.monotonic() - begin, 1)}
        report.plot(chosen.out, name, found)
        kept = {key: value for key, value in found.items() if not key.startswith("_")}
        with open(f"{chosen.out}/{name}.json", "w") as out:
            json.dump(kept, out, indent=1)
        print(report.table(name, kept), flush=True)
    report.finish(chosen.out)


if __name__ == "__main__":
    main()
