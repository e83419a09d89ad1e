#!/usr/bin/env python3
"""Recordings that nobody wrote rules with, or trained on, beside those of the last time.

    evaluate_new.py DIRECTORY NEW         the tables, of DIRECTORY/{new,new-detectors}.json and the recordings' directory
    evaluate_new.py readme DIRECTORY NEW  docs/evaluation-new.json and the README's tables too

NEW is of seeds that no rule, threshold or model was looked at with: the first run over them is what counts, and is kept with the
program's commit. Whoever has read its list of misses has used it up: record others (LAB_SEED=300, ...) before the next claim. The run
before stays in the document beside it: other recordings of the same laboratory, by the program of then.
"""
import json
import os
import subprocess
import sys

import effort
from evaluate import number

BEGIN, END = "<!-- new recordings -->", "<!-- /new recordings -->"
DOCUMENT = "docs/evaluation-new.json"


def load(path):
    with open(path) as text:
        return json.load(text)


def found(one):
    return f"{one['episodes'] - one['missed']} of {one['episodes']}"


RUNS = ("new", "new-detectors")


def before_of(document, names):
    """The run before the one over these recordings."""
    return document.get("before") if document["recordings"] == names else {
        key: document[key] for key in ("commit", "recordings", "families", "false_alerts")}


def figures(folder, new):
    runs = {name: load(f"{folder}/{name}.json") for name in RUNS}
    commit = os.environ.get("EVALUATE_COMMIT") or subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    keep = ("episodes", "missed", "recall", "caught_by_any", "precision")
    names = [one["name"] for one in runs["new"]["captures"]]
    return {
        "commit": commit,
        "recordings": names,
        "families": {name: {family: {key: one.get(key) for key in keep} for family, one in run["families"].items()}
                     for name, run in runs.items()},
        "false_alerts": {name: {key: run["false_alerts"]["by_origin"]["lab"][key] for key in ("host_days", "per_host_day", "bound_95")}
                         for name, run in runs.items()},
        "effort": effort.by_effort(new, runs["new-detectors"]),
        "before": before_of(load(DOCUMENT), names),
    }


def tables(run):
    before = run["before"]
    parts = [one for of in (run, before) for one in (of["families"][name] for name in RUNS)]
    span = lambda of: f"{of['recordings'][0]} to {of['recordings'][-1]}"
    lines = [f"Recordings {span(run)} of the laboratory, by the program of commit {run['commit']}; before: recordings {span(before)}, by the "
             f"program of commit {before['commit']}.", "",
             "| family | found | under any name | detectors alone | before: found | before: detectors alone |", "| --- | --- | --- | --- | --- | --- |"]
    for family, one in parts[0].items():
        if one["episodes"]:
            then = [part.get(family) for part in parts[2:]]
            lines.append("| " + " | ".join([family, found(one), number(one["caught_by_any"]), number(parts[1][family]["recall"]),
                                            found(then[0]) if then[0] else "-", number(then[1] and then[1]["recall"])]) + " |")
    total, missed = ([sum(one[key] for one in part.values()) for part in parts] for key in ("episodes", "missed"))
    share = lambda at: number(1 - missed[at] / total[at])
    lines.append(f"| all | {total[0] - missed[0]} of {total[0]} | | {share(1)} | {total[2] - missed[2]} of {total[2]} | {share(3)} |")
    fewer = run["false_alerts"]["new"]
    lines += ["", f"False alerts of a host-day in them, of {number(fewer['host_days'])}: " + ", ".join(
        f"{name} {number(fewer['per_host_day'][name])} (95 %: at most {number(fewer['bound_95'][name])})" for name in ("high", "medium", "low")) + ".", "",
        "An episode is what a tool did within seconds; how much that was, and what was found of it by the detectors alone:", ""]
    return lines + effort.table(run["effort"])


def main():
    arguments = sys.argv[1:]
    is_kept = arguments[:1] == ["readme"]
    if len(arguments) != 2 + is_kept:
        sys.exit(__doc__)
    run = figures(*arguments[is_kept:])
    text = "\n".join(tables(run))
    print(text)
    if is_kept:
        with open(DOCUMENT, "w") as out:
            json.dump(run, out, indent=1)
            out.write("\n")
        with open("README.md") as readme:
            before, rest = readme.read().split(BEGIN)
        with open("README.md", "w") as out:
            out.write(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
