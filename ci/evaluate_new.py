#!/usr/bin/env python3
"""Recordings that nobody wrote rules with, or trained on, beside those of before.

    evaluate_new.py DIRECTORY NEW OLD         the tables, of DIRECTORY/{new,new-detectors,detectors}.json and the recordings' directories
    evaluate_new.py readme DIRECTORY NEW OLD  docs/evaluation-new.json and the README's tables too

NEW is of seeds that no rule, threshold or model was looked at with: the first run over them is what counts, and is kept with the
program's commit. Whoever has read its list of misses has used it up: record others (LAB_SEED=300, ...) before the next claim.
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


def figures(folder, new, old):
    runs = {name: load(f"{folder}/{name}.json") for name in ("new", "new-detectors", "detectors")}
    commit = os.environ.get("EVALUATE_COMMIT") or subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    keep = ("episodes", "missed", "recall", "caught_by_any", "precision")
    return {
        "commit": commit,
        "recordings": {"new": [one["name"] for one in runs["new"]["captures"]],
                       "old": [one["name"] for one in runs["detectors"]["captures"]]},
        "families": {name: {family: {key: one.get(key) for key in keep} for family, one in run["families"].items()}
                     for name, run in runs.items()},
        "false_alerts": {name: {key: runs[name]["false_alerts"]["by_origin"]["lab"][key] for key in ("per_host_day", "bound_95")}
                         for name in ("new", "new-detectors", "detectors")},
        "effort": {"new": effort.by_effort(new, runs["new-detectors"]), "old": effort.by_effort(old, runs["detectors"])},
    }


def tables(run):
    new, alone, before = (run["families"][name] for name in ("new", "new-detectors", "detectors"))
    names = run["recordings"]["new"]
    lines = [f"Recordings {names[0]} to {names[-1]} of the laboratory, made after rules, thresholds and models were settled; the program of "
             f"commit {run['commit']}, its first run over them, and the {len(run['recordings']['old'])} recordings that rules were written with:", "",
             "| family | new: found | under any name | new: detectors alone | old: detectors alone |", "| --- | --- | --- | --- | --- |"]
    for family, one in new.items():
        if one["episodes"]:
            lines.append("| " + " | ".join([family, found(one), number(one["caught_by_any"]), number(alone[family]["recall"]),
                                            number(before[family]["recall"])]) + " |")
    total = [sum(one["episodes"] for one in run["families"][name].values()) for name in ("new", "new-detectors", "detectors")]
    missed = [sum(one["missed"] for one in run["families"][name].values()) for name in ("new", "new-detectors", "detectors")]
    lines.append(f"| all | {total[0] - missed[0]} of {total[0]} | | {number(1 - missed[1] / total[1])} | {number(1 - missed[2] / total[2])} |")
    fewer = run["false_alerts"]["new"]
    lines += ["", "False alerts of a host-day in the new ones: " + ", ".join(
        f"{name} {number(fewer['per_host_day'][name])} (95 %: at most {number(fewer['bound_95'][name])})" for name in ("high", "medium", "low")) + ".", "",
        "An episode is what a tool did within seconds; how much that was, and what was found of it by the detectors alone, old and new together:", ""]
    return lines + effort.table(together(run["effort"]))


def together(by_set):
    out = {}
    for family, one in by_set["old"].items():
        other = by_set["new"][family]["classes"]
        classes = [[name, found + more[1], of + more[2]] for (name, found, of), more in zip(one["classes"], other)]
        out[family] = {**one, "classes": classes}
    return out


def main():
    arguments = sys.argv[1:]
    is_kept = arguments[:1] == ["readme"]
    if len(arguments) != 3 + is_kept:
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
