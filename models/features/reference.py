#!/usr/bin/env python3
"""Features of version 2 of a capture, as CSV: reference.py CAPTURE --kind flows|sequences|hosts|pairs, or all four in one
pass into files of these names: reference.py CAPTURE --out DIRECTORY

The columns before the features say what the row is of: time in ns, addresses, ports and protocol (windows: their beginning).
Packets that are not followed are told on standard error: rows of their flows, and of windows with them, lack them.
"""

import argparse
import csv
import ipaddress
import os
import sys

import flow_v2
import schema
import windows
from capture import packets
from table import Table


def address(raw):
    return str(ipaddress.ip_address(raw))


def tell(table):
    odd = [f"{why} {count}" for why, count in sorted(table.odd.items()) if why != "not ip"]
    if odd:
        print("not followed:", *odd, file=sys.stderr)


def of_flow(flow, now, moment):
    (source, sport), (target, dport) = flow.ends
    return [now, address(source), sport, address(target), dport, flow.protocol, len(flow.packets), moment]


FLOW_KEYS = ["time_ns", "source", "source_port", "destination", "destination_port", "protocol", "packets"]


def flow_rows(path, kind):
    if kind == "flows":
        yield [*FLOW_KEYS, "moment", *(name for name, _, _ in schema.FLOW)]
    else:
        yield FLOW_KEYS + [f"{name}_{step}" for step in range(1, flow_v2.PACKETS + 1) for name, _, _ in schema.STEP]
    found = []

    def told(flow, moment, now):
        if kind == "flows":
            found.append(of_flow(flow, now, moment) + flow_v2.row(flow, now, moment == "end"))

    def over(flow):
        if kind == "sequences":
            found.append(of_flow(flow, flow.ended, "")[:-1] + sum(flow_v2.sequence(flow), []))

    table = Table(told, over)
    for packet in packets(path):
        table.run([packet], finish=False)
        yield from found
        found.clear()
    table.run([])
    yield from found
    tell(table)


def window_rows(path, kind):
    facts = []
    table = Table(lambda *_: None, lambda flow: facts.append(windows.Facts(flow)))
    table.run(packets(path))
    tell(table)
    yield from of_windows(facts, kind)


def of_windows(facts, kind):
    hosts, pairs = windows.rows(facts)
    if kind == "hosts":
        yield ["time_ns", "host", *(name for name, _, _ in schema.HOST)]
        for (window, host), row in sorted(hosts.items()):
            yield [window, address(host), *row]
    else:
        yield ["time_ns", "source", "destination", "destination_port", "protocol", *(name for name, _, _ in schema.PAIR)]
        for (window, host, peer, protocol, port), row in sorted(pairs.items()):
            yield [window, address(host), address(peer), port, protocol, *row]


def write_all(path, directory):
    """flows.csv, sequences.csv, hosts.csv and pairs.csv of a capture."""
    os.makedirs(directory, exist_ok=True)
    facts, files = [], {kind: open(f"{directory}/{kind}.csv", "w") for kind in ("flows", "sequences", "hosts", "pairs")}
    write = {kind: csv.writer(file, lineterminator="\n") for kind, file in files.items()}
    for kind in ("flows", "sequences"):
        write[kind].writerow(next(flow_rows(path, kind)))

    def told(flow, moment, now):
        write["flows"].writerow(of_flow(flow, now, moment) + flow_v2.row(flow, now, moment == "end"))

    def over(flow):
        write["sequences"].writerow(of_flow(flow, flow.ended, "")[:-1] + sum(flow_v2.sequence(flow), []))
        facts.append(windows.Facts(flow))

    table = Table(told, over)
    table.run(packets(path))
    tell(table)
    for kind in ("hosts", "pairs"):
        write[kind].writerows(of_windows(facts, kind))
    for file in files.values():
        file.close()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("capture")
    arguments.add_argument("--kind", choices=["flows", "sequences", "hosts", "pairs"], default="flows")
    arguments.add_argument("--out", help="directory for all four")
    options = arguments.parse_args()
    if options.out:
        write_all(options.capture, options.out)
        return 0
    make = flow_rows if options.kind in ("flows", "sequences") else window_rows
    csv.writer(sys.stdout, lineterminator="\n").writerows(make(options.capture, options.kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
