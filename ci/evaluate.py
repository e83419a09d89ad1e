#!/usr/bin/env python3
"""What ci/evaluate.sh puts together: scopes of runs, target/evaluate/summary.json, and the README's table.

    evaluate.py scope RECORDINGS HELD_OUT     the tools of a fold, and the recordings that no model is trained on
    evaluate.py family RECORDINGS FAMILY      every tool of a family, and those recordings
    evaluate.py recordings RECORDINGS FAMILY  directories of recordings that have an attack of the family
    evaluate.py summary DIRECTORY HELD        DIRECTORY/summary.json of the runs that lie there
    evaluate.py hours DIRECTORY               what DIRECTORY/hours.json says by family, program and jitter
    evaluate.py honest DIRECTORY              false alerts of DIRECTORY/honest-*.json, a line a run
    evaluate.py readme DIRECTORY              docs/evaluation.json and .svg, and the README's table, from summary.json
"""
import glob
import json
import os
import shutil
import sys

import tables

BEGIN, END = "<!-- evaluation -->", "<!-- /evaluation -->"
HELD = {"folds": "each tool with a model that never saw it",
        "nothing": "with the shipped model (not held out: it may know these tools)",
        "detectors": "by the detectors alone, without a model"}
FALSE = ("host_days", "false_alerts_per_host_day", "false_alerts_per_million_flows", "bound_95", "false_alerts", "confirmed_by",
         "verdicts")
LONG = ("beacon", "exfiltration", "dns_tunnel", "doh_tunnel", "dga")  # models/lab/hours.py
HONEST = {"detectors": "the detectors alone", "shipped": "the shipped model", "folds": "the folds' models"}
PLACES = {"lab": "laboratory", "warped": "warped time", "others": "captures of others"}


def load(path):
    with open(path) as text:
        return json.load(text)


def tested(recordings):
    """Recordings that no model is trained on: models/train.py leaves out those whose number is a multiple of five."""
    names = sorted(os.path.basename(os.path.dirname(path)) for path in glob.glob(f"{recordings}/*/labels.json"))
    return [name for name in names if name.isdigit() and int(name) % 5 == 0]


def held_tools(recordings, held):
    """Tools of a fold. Those of no fold make no flow (ARP) or too few, so no model has seen them: they go with the first fold."""
    held = os.path.realpath(held)
    folds = sorted(glob.glob(f"{os.path.dirname(os.path.dirname(held))}/*/held*out.json"))
    by_fold = {path: load(path).get("tools", load(path)) for path in folds}
    tools = {family: set(names) for family, names in by_fold[held].items()}
    if held == folds[0]:
        for path in glob.glob(f"{recordings}/*/labels.json"):
            for one in load(path)["episodes"]:
                name = one["tool"]
                if one["counts_as"] == "attack" and not any(name in fold.get(one["family"], ()) for fold in by_fold.values()):
                    tools.setdefault(one["family"], set()).add(name)
    return {family: sorted(names) for family, names in tools.items()}


def scope(recordings, tools):
    print(json.dumps({"tools": tools, "recordings": tested(recordings)}))


def tools_of(recordings, family):
    tools = set()
    for path in glob.glob(f"{recordings}/*/labels.json"):
        tools |= {one["tool"] for one in load(path)["episodes"] if one.get("family") == family}
    return {family: sorted(tools)}


def figures(run, family):
    one = run["families"].get(family, {})
    return {name: one.get(name) for name in ("episodes", "recall", "caught_by_any")}


def hours(folder):
    """Attacks that take hours, in warped time: by family, by program, by jitter. Nothing where there was no such run."""
    if not os.path.exists(f"{folder}/hours.json"):
        return None
    run, families = load(f"{folder}/hours.json"), {}
    for row in (row for capture in run["captures"] for row in capture["episodes"] if not row.get("uncounted")):
        one = families.setdefault(row["family"], {**figures(run, row["family"]), "by_tool": {}, "by_jitter": {}, "by_period_s": {},
                                                  "time_to_detect_s": run["families"][row["family"]]["time_to_detect_s"]})
        drawn = dict(part.rsplit(" ", 1) for part in row["variant"].split(", ") if " " in part)
        for name, key in (("by_tool", row["tool"]), ("by_jitter", drawn.get("jitter", "-")), ("by_period_s", drawn.get("period_s", "-"))):
            found = one[name].setdefault(key, [0, 0])
            found[0] += bool(row.get("found"))
            found[1] += 1
    families = {name: one for name, one in families.items() if name in LONG}
    return {"families": families, **{name: run[name] for name in ("host_days", "false_alerts_per_host_day", "bound_95")}}


def told_hours(run):
    """The same for people."""
    for family, one in run["families"].items():
        print(f"{family:<14} {number(one['recall'])} of {one['episodes']}, under any name {number(one['caught_by_any'])}")
        for name in ("by_tool", "by_jitter", "by_period_s") if family != "exfiltration" else ("by_tool", "by_jitter"):
            print(f"  {name[3:]:<9} " + ", ".join(f"{key}: {found}/{of}" for key, (found, of) in sorted(one[name].items())))
    print(f"false alerts a host-day, of {run['host_days']}: {run['false_alerts_per_host_day']}")


def honest(folder):
    """Hours of hundreds of honest hosts that nothing was trained on, in real time: false alerts by who judged them."""
    runs = {}
    for name in HONEST:
        if os.path.exists(f"{folder}/honest-{name}.json"):
            run = load(f"{folder}/honest-{name}.json")
            runs[name] = {**run["false_alerts"]["by_origin"]["lab"], "by_kind": run["false_alerts"]["by_kind"]}
    return runs


def told_honest(runs):
    """The same for people, a line a run."""
    return [f"laboratory, honest hour, by {HONEST[name]}: {one['host_days']:.1f} host-days, false alerts a host-day (95 %: at most): "
            + ", ".join(f"{severity} {number(one['per_host_day'][severity])} ({number(one['bound_95'][severity])})"
                        for severity in ("high", "medium", "low", "info")) for name, one in runs.items()]


def rates(origins, hour):
    """What is told of honest hosts in real time: of the hour of hundreds of hosts where there is one, else of the recordings with
    attacks; made days stand apart, a rate over both would be of neither."""
    told = next((hour[name] for name in ("folds", "shipped", "detectors") if name in hour), None)
    of = lambda one: {"false_alerts_per_host_day": one["per_host_day"], "bound_95": one["bound_95"],
                      "false_alerts_per_million_flows": one["per_million_flows"]}
    out = {**of(told or origins["lab"]), "false_alerts_of": "an honest hour" if told else "recordings with attacks"}
    if "warped" in origins:
        out["warped"] = of(origins["warped"])
    return out


def summary(folder, held):
    """The main run, and beside it what the others say."""
    main = load(f"{folder}/main.json")
    main["held_out"] = held
    # Warped days have attacks of the same recordings once more, so only what is false there counts.
    main.update({name: value for name, value in load(f"{folder}/with-days.json").items() if name in FALSE})
    main["honest_hour"] = honest(folder)
    main.update(rates(main["false_alerts"]["by_origin"], main["honest_hour"]))
    detectors = load(f"{folder}/detectors.json")
    main["detectors_alone"] = {family: figures(detectors, family) for family in main["families"]}
    main["without_family"] = {}
    for path in sorted(glob.glob(f"{folder}/without-*.json")):
        family = os.path.basename(path)[len("without-"):-len(".json")]
        run = load(path)
        by = {name.split(" ", 1)[1]: count for name, count in run["noticed_first_by"].items() if name.split(" ")[0] == family}
        main["without_family"][family] = {**figures(run, family), "caught_first_by": by}
    main["hours"] = hours(folder)
    if os.path.exists(f"{folder}/others.json"):
        run = load(f"{folder}/others.json")
        main["others"] = {key: run[key] for key in (
            "families", "host_days", "false_alerts_per_host_day", "false_alerts_per_million_flows", "bound_95", "verdicts")}
    if os.path.exists(f"{folder}/transfer.json"):
        main["transfer"] = load(f"{folder}/transfer.json")
    with open(f"{folder}/summary.json", "w") as out:
        json.dump(main, out, indent=1)


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def table(run):
    """The README's."""
    lines = [f"Recordings of the laboratory, {HELD[run['held_out']]}: "
             f"{sum(one['episodes'] for one in run['families'].values())} episodes of attacks, "
             f"{run['host_days']['lab']:.2f} host-days of the laboratory"
             + (f" and {run['host_days']['warped']:.0f} of warped time" if run["host_days"]["warped"] else "") + ".", "",
             "| family | found | under any name | detectors alone | precision | PR-AUC | seconds to find, p50 / p99 | tools |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for family, one in run["families"].items():
        if not one["episodes"]:
            continue
        alone = run["detectors_alone"].get(family, {}).get("recall")
        time = one["time_to_detect_s"]
        time = f"{time['p50']:.1f} / {time['p99']:.1f}" if time else "-"
        cells = [family, f"{one['episodes'] - one['missed']} of {one['episodes']}", number(one["caught_by_any"]), number(alone),
                 number(one["precision"]), number(one["pr_auc"]), time, one["sources"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if run.get("hours"):
        lines += ["", "Attacks that take hours show nothing of themselves in two minutes, where they count as missed above: a call home or a drop "
                  "of data is one honest connection. The same programs in warped time, after three honest days, by the detectors alone:", "",
                  "| family, in hours | found | under any name | hours to find, p50 | by program | by jitter |", "| --- | --- | --- | --- | --- | --- |"]
        for family, one in run["hours"]["families"].items():
            parts = [", ".join(f"{key} {found} of {of}" for key, (found, of) in sorted(one[name].items())) for name in ("by_tool", "by_jitter")]
            time = f"{one['time_to_detect_s']['p50'] / 3600:.1f}" if one["time_to_detect_s"] else "-"
            found = f"{round((one['recall'] or 0) * one['episodes'])} of {one['episodes']}"
            lines.append("| " + " | ".join([family, found, number(one["caught_by_any"]), time, *parts]) + " |")
    if run["without_family"]:
        lines += ["", "| by a model that never saw the family | found under any name | first by |", "| --- | --- | --- |"]
    for family, one in run["without_family"].items():
        by = ", ".join(f"{name} {count}" for name, count in sorted(one["caught_first_by"].items(), key=lambda pair: -pair[1])[:3])
        lines.append(f"| {family} | {round((one['caught_by_any'] or 0) * one['episodes'])} of {one['episodes']} | {by or '-'} |")
    lines += ["", *tables.goals(run)]
    if run.get("transfer"):
        lines += ["", *tables.transfer(run["transfer"])]
    origins = run["false_alerts"]["by_origin"]
    lines += ["", "| false alerts | " + " | ".join(f"{PLACES[name]}: a host-day (95 %: at most) | a million flows | true, of honest users"
                                                  for name in origins) + " |",
              "| --- |" + " --- |" * (3 * len(origins))]
    for name in ("high", "medium", "low", "info"):
        cells = [name]
        for one in origins.values():
            cells += [f"{number(one['per_host_day'][name])} ({number(one['bound_95'][name])})",
                      number(one["per_million_flows"][name], 1), number(one["confirmed"][name], 0)]
        lines.append("| " + " | ".join(cells) + " |")
    if run.get("honest_hour"):
        lines += ["", "Hundreds of honest hosts for an hour of real time, nobody attacking, nothing trained on or tuned to it:", ""]
        lines += [f"- {line}." for line in told_honest(run["honest_hour"])]
    if len(run["evasion"]) > 1:
        lines += ["", "| how they hid | found |", "| --- | --- |"]
    for name, one in sorted(run["evasion"].items(), key=lambda pair: -pair[1]["episodes"]):
        lines.append(f"| {name} | {one['found']} of {one['episodes']} |")
    lines += ["", "![Attacks found by family, and false alerts](docs/evaluation.svg)"]
    return "\n".join(lines)


def readme(folder):
    run = load(f"{folder}/summary.json")
    kept = {name: value for name, value in run.items() if name not in ("captures", "missed_episodes", "uncounted_episodes")}
    kept["false_alerts"] = {"all": run["false_alerts"]["all"], "by_origin": run["false_alerts"]["by_origin"]}
    with open("docs/evaluation.json", "w") as out:
        json.dump(kept, out, indent=1)
        out.write("\n")
    shutil.copy(f"{folder}/recall.svg", "docs/evaluation.svg")
    with open("README.md") as text:
        before, rest = text.read().split(BEGIN)
    with open("README.md", "w") as out:
        out.write(f"{before}{BEGIN}\n{table(run)}\n{END}{rest.split(END)[1]}")


def main():
    match sys.argv[1:]:
        case ["scope", recordings, held]:
            scope(recordings, held_tools(recordings, held))
        case ["family", recordings, family]:
            scope(recordings, tools_of(recordings, family))
        case ["recordings", recordings, family]:
            for path in sorted(glob.glob(f"{recordings}/*/labels.json")):
                if any(one.get("family") == family for one in load(path)["episodes"]):
                    print(os.path.dirname(path))
        case ["summary", folder, held]:
            summary(folder, held)
        case ["hours", folder]:
            told_hours(hours(folder))
        case ["honest", folder]:
            for line in told_honest(honest(folder)):
                print(line)
        case ["readme", folder]:
            readme(folder)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
