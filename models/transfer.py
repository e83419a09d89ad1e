#!/usr/bin/env python3
"""How far the model of flows carries from one source to another: transfer.py RECORDINGS... --data ../shared/data --tool shrike
[--work target/train]

A source is the laboratory, or a repository that captures of others came from. Three are taught for each: the network by the laboratory
alone, the network by all sources but the one that it is judged on, and boosted trees by the same rows. Judged by the laboratory's
absence, that is to teach by others and to test on the laboratory. Attack captures of others have no label per flow: where they teach, all of
a capture's flows are the attack (honest ones among them blur what is learnt), and where they judge, the capture counts as found by an
alert. Thresholds are chosen on captures of the sources that teach. Writes WORK/flow-v2.transfer.json for the card and the README.
"""

import argparse
import json
import os
import subprocess
import sys

import network as net  # first: it says how many threads numpy may have
import numpy as np

import calibrate
import dataset
import stages
import train
import yardstick
from dataset import FAMILIES, Rows

LABORATORY = "laboratory"
# Captures of a source that are judged at least; smaller sources teach only.
LEAST = 3
# Of a source's captures of attacks every fourth validates, where the source teaches.
CHECK_EVERY = 4


class Capture:
    """A capture of others. `family`: index into FAMILIES, 0 where it is honest; `split`: of an honest one, as training deals them out."""

    def __init__(self, path, source, family, split, rows):
        self.path, self.source, self.family, self.split, self.rows = path, source, family, split, rows


def repositories(manifest):
    """{path: repository} of a table of captures with columns `path` and `source` (place:repository:file@commit)."""
    with open(manifest) as lines:
        names = lines.readline().rstrip("\n").split("\t")
        path, source = names.index("path"), names.index("source")
        return {row[path]: row[source].split(":")[1] for row in (line.rstrip("\n").split("\t") for line in lines)}


def labels_of(data, work, tool):
    """{path: family} of the captures that can be judged as a whole, as `shrike evaluate` reads their table."""
    out = f"{work}/transfer/labels.json"
    command = [tool, "evaluate", data, "--labels", f"{data}/MANIFEST.tsv", "--no-model", "--out"]
    stages.make(out, stages.digest(f"file:{data}/MANIFEST.tsv", f"file:{tool}"),
                lambda part: subprocess.run([*command, part], check=True, stdout=subprocess.DEVNULL))
    with open(out) as text:
        return {one["name"]: one["episodes"][0]["family"] if one["episodes"] else "benign" for one in json.load(text)["captures"]}


def weak(kind, number, exported, family):
    """Rows of a capture of others, all of them of one family."""
    rows = dataset.honest(kind, number, exported)
    if family:
        rows.family[:] = family
        rows.tool[:] = "others"
        rows.event[:] = np.int64(number) << 32
    return rows


def captures_of(spec, data, work, tool):
    split = {path: name for name, paths in dataset.dealt(f"{data}/benign", train.OTHERS_BYTES).items() for path in paths}
    wanted = {path: family for path, family in labels_of(data, work, tool).items() if family not in dataset.NO_FLOW}
    source, found = repositories(f"{data}/MANIFEST.tsv"), []
    bar = stages.Progress("captures of others", len(wanted))
    for number, (name, family) in enumerate(sorted(wanted.items())):
        path = f"{data}/{name}"
        if os.path.getsize(path) <= train.OTHERS_BYTES and (family != "benign" or path in split):
            exported = dataset.exported_of(path, work, tool)
            rows = exported and weak(spec.schema, train.OTHERS_NUMBER + number, exported, FAMILIES.index(family))
            if rows and len(rows):
                found.append(Capture(name, source[name], FAMILIES.index(family), split.get(path), rows))
        bar.step()
    return found


def dealt(captures):
    """(those that teach, those that validate)."""
    learn, check, of = [], [], {}
    for one in captures:
        if not one.family:
            (learn if one.split == "learn" else check if one.split == "check" else []).append(one)
            continue
        place = (one.source, one.family)
        of[place] = of.get(place, -1) + 1
        (check if of[place] % CHECK_EVERY == CHECK_EVERY - 1 else learn).append(one)
    return learn, check


def joined(captures, none):
    return Rows.join([none, *(one.rows for one in captures)])


def left_out(lab, captures, source):
    """What teaches where `source` does not. `lab`: Data of the laboratory alone."""
    none = lab.learn.where(np.zeros(len(lab.learn), dtype=bool))
    learn, check = dealt([one for one in captures if one.source != source])
    honest = joined([one for one in check if not one.family], none)
    if source != LABORATORY:
        attacks = joined([one for one in check if one.family], none)
        return train.Data(Rows.join([lab.learn, joined(learn, none)]), Rows.join([lab.check, attacks]), lab.test, lab.days_check,
                          lab.days_test, lab.host_days, {}, honest, None)
    return train.Data(joined(learn, none), joined(check, none), lab.test, none, none, {split: 0 for split in train.SPLITS}, {}, honest, None)


class Trees:
    """Boosted trees with a threshold of the same budget; they tell attacks from honest flows, not one attack from another."""

    def __init__(self, spec, data):
        self.spec, self.names, self.needs = spec, ["benign", "attack"], {"attack": spec.need}
        self.trees = yardstick.trees(spec, data.learn, train.families_of(data.learn, spec.few))
        sets = [(rows, self.probabilities(rows), allowed) for rows, allowed in train.honest_sets(data, spec, 2)]
        self.thresholds = calibrate.thresholds(self.names, sets, spec.need)

    def probabilities(self, rows):
        return self.trees.predict_proba(self.spec.view(rows.x)) if len(rows) else np.zeros((0, 2))


def told(model, rows):
    """Families that `model` makes alerts of."""
    best, score = calibrate.reported(model.probabilities(rows))
    limit = np.array([2.0] + [model.thresholds[name] for name in model.names[1:]])[best]
    return {model.names[at] for at in np.unique(best[score >= limit])
            if calibrate.most_of_a_host(rows, (score >= limit) & (best == at)) >= model.needs.get(model.names[at], model.spec.need)}


def cases_of(lab, captures, source):
    """[(family, rows)] that are judged: captures, or episodes and honest hosts of the laboratory's test recordings."""
    if source != LABORATORY:
        return [(one.family, one.rows) for one in captures if one.source == source]
    rows, quiet = lab.test, (lab.test.family == 0) & ~lab.test.victim
    attacks = [rows.where(rows.event == event) for event in np.unique(rows.event[rows.family > 0])]
    return [(int(one.family[0]), one) for one in attacks] + [(0, rows.where(quiet & (rows.host == host))) for host in np.unique(rows.host[quiet])]


def judged(model, cases):
    """{"attacks", "found", "named", "honest", "alarmed", "families": {name: [attacks, found, named]}}."""
    out = {"attacks": 0, "found": 0, "named": 0, "honest": 0, "alarmed": 0, "families": {}}
    for family, rows in cases:
        said = told(model, rows)
        if not family:
            out["honest"] += 1
            out["alarmed"] += bool(said)
            continue
        one = out["families"].setdefault(FAMILIES[family], [0, 0, 0])
        for at, count in enumerate((1, int(bool(said)), int(FAMILIES[family] in said))):
            one[at] += count
            out[("attacks", "found", "named")[at]] += count
    return out


def sources_of(captures):
    counts = {}
    for one in captures:
        counts[one.source] = counts.get(one.source, 0) + 1
    return [LABORATORY, *sorted(name for name, count in counts.items() if count >= LEAST)]


def write(part, spec, lab, captures, work):
    sources = sources_of(captures)
    out = {"what": f"{spec.name}'s network, {spec.epochs // 2} epochs; {yardstick.TREES} trees", "sources": {}}
    alone = train.fit(spec, lab, f"{work}/transfer/alone", "taught by the laboratory", epochs=spec.epochs // 2)
    for number, source in enumerate(sources):
        data, cases = left_out(lab, captures, source), cases_of(lab, captures, source)
        model = train.fit(spec, data, f"{work}/transfer/{number}", f"all but {source}", epochs=spec.epochs // 2)
        out["sources"][source] = {"all_but_it": judged(model, cases), "trees": judged(Trees(spec, data), cases),
                                  "laboratory": None if source == LABORATORY else judged(alone, cases)}
        told_one = out["sources"][source]
        print(source, json.dumps({name: {key: one[key] for key in ("attacks", "found", "named", "honest", "alarmed")}
                                  for name, one in told_one.items() if one}), flush=True)
    with open(part, "w") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recordings", nargs="+")
    arguments.add_argument("--data", required=True, help="captures of others with their table MANIFEST.tsv")
    arguments.add_argument("--work", default="target/train")
    arguments.add_argument("--tool", required=True)
    options = arguments.parse_args()
    spec = train.SPECS["flow"]
    lab = train.gather(spec, train.recordings_of(options.recordings), options.work, options.tool)
    captures = captures_of(spec, options.data, options.work, options.tool)
    inputs = stages.digest(spec.inputs(), *(f"file:{dataset.HERE}/{one}.py" for one in ("transfer", "train", "yardstick", "dataset", "network", "augment", "calibrate")),
                           *train.dataset_digest(lab.learn), *train.dataset_digest(lab.test), [(one.path, len(one.rows)) for one in captures])
    stages.make(f"{options.work}/{spec.name}.transfer.json", inputs, lambda part: write(part, spec, lab, captures, options.work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
