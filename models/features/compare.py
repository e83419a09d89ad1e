#!/usr/bin/env python3
"""Compares the sensor's feature rows with the reference's: compare.py CAPTURE ROWS.csv (of `shrike replay --features`)

Prints `COMPARED SKIPPED` and exits with 1 where a value is off by more than the tolerance, of itself, and absolutely below
1. Skipped: rows of 5-tuples with packets that the reference does not follow, or where both disagree on what a flow is
(counted, and limited by the caller).
"""

import csv
import ipaddress
import sys

import flow_v2
import schema
from capture import packets
from table import Table

TOLERANCE = 1e-6


def key_of(flow, now):
    (source, sport), (target, dport) = flow.ends
    return (now, str(ipaddress.ip_address(source)), sport, str(ipaddress.ip_address(target)), dport, flow.protocol,
            len(flow.packets))


def reference(path):
    """Rows by flow and moment."""
    rows = {}

    def told(flow, moment, now):
        rows.setdefault(key_of(flow, now), flow_v2.row(flow, now, moment == "end"))

    table = Table(told)
    table.run(packets(path))
    return rows, table.odd


def close(found, wanted):
    return abs(found - wanted) <= TOLERANCE * max(1.0, abs(wanted))


def main(capture, path):
    rows, odd = reference(capture)
    compared = skipped = 0
    with open(path, newline="") as lines:
        reader = csv.reader(lines)
        names = [name for name, _, _ in schema.FLOW]
        if next(reader)[7:] != names:
            print(f"the columns are not those of schema {schema.VERSION}")
            return 1
        for words in reader:
            source, target = (str(ipaddress.ip_address(words[at])) for at in (1, 3))
            key = int(words[0]), source, int(words[2]), target, int(words[4]), int(words[5]), int(words[6])
            wanted = rows.get(key)
            if wanted is None:
                skipped += 1
                if "-v" in sys.argv:
                    print("no row:", key, file=sys.stderr)
                continue
            compared += 1
            for number, (text, value) in enumerate(zip(words[7:], wanted)):
                if not close(float(text), value):
                    print(f"{names[number]} of {key}: the sensor has {text}, the reference {value}")
                    return 1
    print(compared, skipped, *(f"{why}:{count}" for why, count in sorted(odd.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
