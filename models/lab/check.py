#!/usr/bin/env python3
"""Looks whether the lab does what it says: check.py --out DIRECTORY, --table RECORDINGS, or --days DAYS RECORDINGS

With --out, two recordings are made in which every honest habit and every attack of the registry is started once, and what
made no flow or is not labelled is told (status 1). With --table, what the recordings have: family by tool, episodes and
flows, and flows without a label. With --days, whether days of warped time are what their labels say (status 1 if not): times
in order, every flow one of a recording with that one's label, the day's curve as counted from the flows themselves.
"""

import argparse
import math
import os
import subprocess
import sys

import honest
import labels
import pcap
from attacks import WAYS

ATTEMPTS = 3  # a tool may meet a host that is being attacked by another
# Habits without a flow of their own: they share one with what else the host does (episode None in flows.csv).
SHARED = {"announce", "dhcp_renew", "victim"}


def recordings(directory):
    """Finished recordings below `directory`, warped ones left out."""
    for name in sorted(os.listdir(directory)):
        if os.path.exists(f"{directory}/{name}/traffic.pcap") and os.path.exists(f"{directory}/{name}/labels.json"):
            yield f"{directory}/{name}"


def unlabelled(directory):
    """Flows that no episode and no named background cause explains, in words."""
    return [f"{row['protocol']} {row['source']}:{row['source_port']} -> {row['target']}:{row['target_port']}"
            for row in labels.read_flows(directory)
            if row["label"] not in ("attack", "benign") and row["cause"] not in labels.BACKGROUND]


def table(directory):
    count, hours, stray, silent = {}, 0.0, 0, []
    for path in recordings(directory):
        content = labels.read(path)
        clients = sum(host.role == "client" for host in content.hosts)
        hours += clients * (content.end_ns - content.start_ns) / 3.6e12
        stray += len(unlabelled(path))
        for episode in content.episodes:
            if episode.counts_as == "attack":
                entry = count.setdefault((episode.family, episode.tool), [0, 0, 0])
                entry[0] += 1
                entry[1] += episode.flows
                entry[2] += episode.flows == 0
                if not episode.flows:
                    silent.append(f"{path} #{episode.id} {episode.family}/{episode.tool}/{episode.variant['way']}: "
                                  f"{episode.outcome or 'not told'}")
    print("| family | tool | episodes | flows | without a flow |\n| --- | --- | ---: | ---: | ---: |")
    for (family, tool), (episodes, flows, empty) in sorted(count.items()):
        print(f"| {family} | {tool} | {episodes} | {flows} | {empty} |")
    for text in silent:
        print(f"without a flow: {text}")
    print(f"\n{sum(entry[0] for entry in count.values())} episodes, {hours:.1f} hours of honest hosts, {stray} flows without a label")


def each(out, seed, only):
    """Everything once. What made no flow is tried again, alone with its like."""
    wanted = {(way.family, way.tool, way.name) for way in WAYS} if only is None else {
        (way.family, way.tool, way.name) for way in WAYS if only & {way.family, way.tool, way.name}}
    habits, seen, stray, why = {habit.name for habit in honest.HABITS}, set(), [], {}
    for attempt in range(ATTEMPTS):
        missing = wanted - seen
        if not missing and not habits:
            break
        path = f"{out}/{seed}-{attempt}"
        words = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "record.py"), "--each", "--seed",
                 str(seed + attempt), "--seconds", "3000", "--out", path]
        if attempt or only is not None:
            words += ["--only", ",".join(sorted({f"{family}/{tool}" for family, tool, _ in missing}))]
        if not missing:
            words.append("--benign-only")
        if subprocess.run(words).returncode:
            return 1
        for episode in labels.read(path).episodes:
            if episode.counts_as == "attack" and episode.flows:
                seen.add((episode.family, episode.tool, episode.variant["way"]))
            elif episode.counts_as == "attack":
                why[(episode.family, episode.tool, episode.variant["way"])] = episode.outcome
            elif episode.counts_as == "benign" and (episode.flows or episode.variant["way"] in SHARED):
                habits.discard(episode.variant["way"])
        habits -= {cause for row in labels.read_flows(path) for cause in row["cause"].split("+")}
        stray += unlabelled(path)
    for family, tool, name in sorted(wanted - seen):
        print(f"no flow: {family}/{tool}/{name}: {why.get((family, tool, name), 'not started')}")
    for name in sorted(habits):
        print(f"no flow: habit {name}")
    for text in stray[:20]:
        print(f"no label: {text}")
    print(f"{len(wanted & seen)} of {len(wanted)} attacks and {len(honest.HABITS) - len(habits)} of {len(honest.HABITS)} habits "
          f"made labelled flows, {len(stray)} flows without a label")
    return 1 if wanted - seen or habits or stray else 0


def days(directory, recorded):
    """What is wrong with days of warped time, in words; and what they are."""
    content, wrong, packets, last = labels.read(directory), [], 0, 0
    for time_ns, _, _ in pcap.read(f"{directory}/{content.capture}"):
        if time_ns < last and len(wrong) < 20:
            wrong.append(f"packet {packets}: time steps back by {last - time_ns} ns")
        packets, last = packets + 1, time_ns
    origins = {name: list(labels.read_flows(f"{recorded}/{name}")) for name in content.generator["recordings"]}
    length = (content.end_ns - content.start_ns) / labels.DAY
    count, hours, told, by_episode = 0, [0] * (24 * math.ceil(length)), 0, {}
    for row in labels.read_flows(directory):
        name, _, line = row["origin"].partition("#")
        was = origins[name][int(line)]
        same = all(row[column] == was[column] for column in ("label", "family", "protocol", "packets", "answers", "bytes"))
        if row["label"] == "benign":
            hour = (row["start_ns"] - content.start_ns) // labels.HOUR
            if hour < len(hours):  # what an activity goes on with behind the last midnight
                hours[hour] += 1
        elif row["label"] != "attack" or row["episode"] is None:
            same = False
        else:
            episode = content.episodes[row["episode"]]
            by_episode[episode.id] = by_episode.get(episode.id, 0) + 1
            same &= (episode.family, episode.origin) == (row["family"], f"{name}#{was['episode']}")
            same &= episode.start_ns <= row["start_ns"] <= row["end_ns"] <= episode.end_ns
        if not same and len(wrong) < 20:
            wrong.append(f"flow {count}: is not {row['origin']}")
        count, told = count + 1, told + row["packets"]
    wrong += [f"episode {one.id}: {one.flows} flows, {by_episode.get(one.id, 0)} in flows.csv" for one in content.episodes
              if one.flows != by_episode.get(one.id, 0)]
    if told != packets or packets != content.generator["packets"]:
        wrong.append(f"{packets} packets, {told} by the flows, {content.generator['packets']} told")
    if not content.synthetic:
        wrong.append("not labelled synthetic")
    swing = labels.swing_by_day(hours)
    if swing != content.generator["swing_by_day"]:
        wrong.append(f"swing by day {swing}, {content.generator['swing_by_day']} told")
    return wrong, (f"{length:g} days, {count} flows, {packets} packets, {len(content.episodes)} attacks of "
                   f"{len({one.family for one in content.episodes})} families, {content.generator['host_days']} host-days; busiest "
                   f"to quietest hour of each day: {', '.join(map(str, swing))}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", help="families, tools or ways")
    arguments.add_argument("--table", metavar="RECORDINGS")
    arguments.add_argument("--days", nargs=2, metavar=("DAYS", "RECORDINGS"))
    options = arguments.parse_args()
    if options.days:
        wrong, what = days(*options.days)
        print("\n".join([*wrong, what]))
        return 1 if wrong else 0
    if options.table:
        table(options.table)
        return 0
    if not options.out:
        arguments.error("--out DIRECTORY is missing")
    return each(options.out, options.seed, set(options.only.split(",")) if options.only else None)


if __name__ == "__main__":
    sys.exit(main())
