#!/usr/bin/env python3
"""How much the attacks of recordings really did, and which of these were found: effort.py RECORDINGS RUN.json

An episode of a few seconds against a slow server is a few guesses, whatever its tool was told to do. Classes begin where published
tools begin to tell: a miss below them is nothing that anybody finds by counting.
"""
import json
import os
import sys

LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "lab")
sys.path.insert(0, LAB)

import labels


def connections(flows):
    """Of TCP, to the server and service that has most: sessions that may be guesses, or are held."""
    by = {}
    for flow in flows:
        if flow["protocol"] == "6":
            place = flow["target"], flow["target_port"]
            by[place] = by.get(place, 0) + 1
    return max(by.values(), default=0)


def contacts(flows):
    return len({(flow["protocol"], flow["target"], flow["target_port"]) for flow in flows})


def packets(flows):
    return sum(flow["packets"] for flow in flows)


def rate(flows):
    if not flows:
        return 0
    seconds = (max(flow["end_ns"] for flow in flows) - min(flow["start_ns"] for flow in flows)) / 1e9
    # What is over within a second is as much a second.
    return sum(flow["packets"] - flow["answers"] for flow in flows) / max(1.0, seconds)


# What is counted, the edges of its classes, and whose they are.
MEASURES = {
    "brute_force": ("connections to a service", connections, (6, 30), "CrowdSec tells 6 failures (ssh-bf), Zeek 30 (SSH::password_guesses_limit)"),
    "scan": ("hosts and ports", contacts, (15, 100), "Snort's medium level, Zeek's Scan::addr_scan_threshold and CrowdSec tell 15 to 25"),
    "flood": ("packets a second", rate, (100, 1000), "ntopng warns from 250 SYN or ICMP packets a second"),
    "slow_http": ("connections", connections, (20, 100), "nginx and Apache serve some hundreds at once"),
    "dns_tunnel": ("packets", packets, (40, 160), "dns2tcp and iodine send some hundred for a page of text"),
    "web_attack": ("packets", packets, (20, 200), "a scanner's run is some hundred requests"),
}


def by_effort(recordings, run):
    """For each family with a measure: its unit, why, and of each class the name, episodes found, and episodes."""
    out = {family: {"unit": unit, "because": why, "classes": [[name, 0, 0] for name in names(edges)]}
           for family, (unit, _, edges, why) in MEASURES.items()}
    for capture in run["captures"]:
        folder = os.path.join(recordings, capture["name"])
        rows = {row["id"]: row for row in capture["episodes"] if row["family"] in MEASURES and not row.get("uncounted")}
        if not rows or not os.path.exists(f"{folder}/flows.csv"):
            continue
        flows = {}
        for flow in labels.read_flows(folder):
            if flow["episode"] in rows:
                flows.setdefault(flow["episode"], []).append(flow)
        for number, row in rows.items():
            _, measure, edges, _ = MEASURES[row["family"]]
            amount = measure(flows.get(number, []))
            place = out[row["family"]]["classes"][sum(amount >= edge for edge in edges)]
            place[1] += bool(row.get("found"))
            place[2] += 1
    return out


def names(edges):
    low, high = edges
    return [f"below {low}", f"{low} to {high - 1}", f"{high} and more"]


def table(effort):
    """For the README."""
    lines = ["| what the attack did | little: found | more: found | much: found | the edges |", "| --- | --- | --- | --- | --- |"]
    for family, one in effort.items():
        cells = [f"{name}: {found} of {of}" for name, found, of in one["classes"]]
        lines.append("| " + " | ".join([f"{family}, {one['unit']}", *cells, one["because"]]) + " |")
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2]) as text:
        print("\n".join(table(by_effort(sys.argv[1], json.load(text)))))
