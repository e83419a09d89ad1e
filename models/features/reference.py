#!/usr/bin/env python3
"""Features of version 2 of a capture, as CSV: reference.py CAPTURE --kind flows|sequences|hosts|pairs

The columns before the features say what the row is of: time in ns, addresses, ports and protocol (windows: their beginning).
"""

import argparse
import csv
import ipaddress
import sys

import flow_v2
import schema
import windows
from capture import packets
from table import Table


def address(raw):
    return str(ipaddress.ip_address(raw))


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


def window_rows(path, kind):
    facts = []
    Table(lambda *_: None, lambda flow: facts.append(windows.Facts(flow))).run(packets(path))
    hosts, pairs = windows.rows(facts)
    if kind == "hosts":
        yield ["time_ns", "host", *(name for name, _, _ in schema.HOST)]
        for (window, host), row in sorted(hosts.items()):
            yield [window, address(host), *row]
    else:
        yield ["time_ns", "source", "destination", "destination_port", "protocol", *(name for name, _, _ in schema.PAIR)]
        for (window, host, peer, protocol, port), row in sorted(pairs.items()):
            yield [window, address(host), address(peer), port, protocol, *row]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("capture")
    arguments.add_argument("--kind", choices=["flows", "sequences", "hosts", "pairs"], default="flows")
    options = arguments.parse_args()
    make = flow_rows if options.kind in ("flows", "sequences") else window_rows
    csv.writer(sys.stdout, lineterminator="\n").writerows(make(options.capture, options.kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
