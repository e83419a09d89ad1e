#!/usr/bin/env python3
"""What trees make of the same rows: yardstick.py RECORDINGS... [--work target/train] [--only flow,host,pair,log]

Gradient-boosted trees, far too slow for a packet's core, learn on the same folds and are judged on the same held-out tools: the
gap to them is what the small network leaves behind. Writes WORK/NAME.yardstick.json for the card.
"""

import argparse
import json
import os
import sys

import network  # noqa: F401  says how many threads numpy may have
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

import augment
import calibrate
import dataset
import stages
import train
from dataset import FAMILIES

ROWS, TREES = 60_000, 200


def trees(spec, rows, names):
    """Trees that tell the rows of these families from benign ones, drawn and taken elsewhere as the network's are. (Of all families
    at once, 60 rounds a family, they did not converge: attacks of known tools scored no better than by chance.)"""
    rows = rows.where(np.isin(rows.family, [FAMILIES.index(name) for name in names]))
    rng = np.random.default_rng(train.SEED)
    drawn = rng.choice(len(rows), min(ROWS, len(rows)), p=augment.shares(rows))
    x = spec.view(rows.x[drawn])
    model = HistGradientBoostingClassifier(max_iter=TREES, learning_rate=0.1, max_leaf_nodes=31, l2_regularization=1.0,
                                           early_stopping=False, random_state=train.SEED)
    return model.fit(spec.moved(rng, x) if spec.moved else x, rows.family[drawn] > 0)


def precisions(spec, model, rows):
    """{family: (attacks, average precision against benign flows)}."""
    score = model.predict_proba(spec.view(rows.x))[:, 1]
    _, best, index = calibrate.by_flow(rows.flow * 64 + rows.family, score)
    family, out = rows.family[index], {}
    for at in np.unique(family[family > 0]):
        mine = (family == at) | (family == 0)
        out[FAMILIES[at]] = (len(np.unique(rows.event[rows.family == at])),
                             calibrate.average_precision(best[mine], family[mine] == at))
    return out


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recordings", nargs="+")
    arguments.add_argument("--work", default="target/train")
    arguments.add_argument("--tool")
    arguments.add_argument("--others")
    arguments.add_argument("--only", default=",".join(train.SPECS))
    options = arguments.parse_args()
    for name in options.only.split(","):
        spec = train.SPECS[name]
        recordings = train.recordings_of(options.recordings)
        data = train.gather(spec, recordings, options.work, options.tool, options.others)
        out, folds = f"{options.work}/{spec.name}.yardstick.json", train.folds_of(recordings, options.work)
        inputs = stages.digest(ROWS, TREES, f"file:{os.path.abspath(__file__)}", folds, *train.dataset_digest(data.learn), *train.dataset_digest(data.test))
        stages.make(out, inputs, lambda part: write(part, spec, data, folds))
        with open(out) as text:
            print(json.dumps(json.load(text)["average_precision"]))
    return 0


def write(part, spec, data, folds):
    bar = stages.Progress(f"trees beside {spec.name}", len(folds) + 1)
    known = precisions(spec, trees(spec, data.learn, train.families_of(data.learn, spec.few)), data.test)
    bar.step()
    sums = {}
    for pairs in folds:
        kept = data.without(pairs).learn
        found = precisions(spec, trees(spec, kept, train.families_of(kept, spec.few)), train.held_out_rows(data, pairs))
        for name, (attacks, value) in found.items():
            total = sums.setdefault(name, [0.0, 0])
            total[0] += attacks * value
            total[1] += attacks
        bar.step()
    with open(part, "w") as out:
        json.dump({"what": f"scikit-learn's HistGradientBoosting, benign or attack, {TREES} trees of 31 leaves on {ROWS} rows, taken elsewhere as the network's",
                   "known": {name: round(value, 4) for name, (_, value) in sorted(known.items())},
                   "average_precision": {name: round(total / count, 4) for name, (total, count) in sorted(sums.items())}}, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    sys.exit(main())
