#!/usr/bin/env python3
"""What trees make of the same rows: yardstick.py RECORDINGS... [--work target/train] [--only flow,host]

Gradient-boosted trees, far too slow for a packet's core, learn on the same folds and are judged on the same held-out tools: the
gap to them is what the small network leaves behind. Writes WORK/NAME.yardstick.json for the card.
"""

import argparse
import json
import sys

import network  # noqa: F401  says how many threads numpy may have
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

import augment
import calibrate
import dataset
import stages
import train
from dataset import FAMILIES, Rows

ROWS, TREES = 30_000, 60


def trees(rows, names):
    """Trees for the rows of these families, drawn as the network's are."""
    known = np.isin(rows.family, [FAMILIES.index(name) for name in names])
    rows = rows.where(known)
    share = augment.shares(rows)
    rng = np.random.default_rng(train.SEED)
    drawn = rng.choice(len(rows), min(ROWS, len(rows)), p=share)
    model = HistGradientBoostingClassifier(max_iter=TREES, learning_rate=0.15, max_leaf_nodes=15, early_stopping=False,
                                           random_state=train.SEED)
    return model.fit(rows.x[drawn], rows.family[drawn])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recordings", nargs="+")
    arguments.add_argument("--work", default="target/train")
    arguments.add_argument("--tool")
    arguments.add_argument("--others")
    arguments.add_argument("--only", default="flow,host")
    options = arguments.parse_args()
    for name in options.only.split(","):
        spec = train.SPECS[name]
        data = train.gather(spec, train.recordings_of(options.recordings), options.work, options.tool, options.others)
        out = f"{options.work}/{spec.name}.yardstick.json"
        inputs = stages.digest(ROWS, TREES, *train.dataset_digest(data.learn), *train.dataset_digest(data.test))
        stages.make(out, inputs, lambda part: write(part, data))
        with open(out) as text:
            print(json.dumps(json.load(text)["average_precision"]))
    return 0


def write(part, data):
    folds = train.folds_of(Rows.join([data.learn, data.check, data.test]))
    bar = stages.Progress("yardstick", len(folds))
    sums = {}
    for pairs in folds:
        kept = data.without(pairs)
        model = trees(kept.learn, train.families_of(kept.learn))
        rows = train.held_out_rows(data, pairs)
        score = 1 - model.predict_proba(rows.x)[:, list(model.classes_).index(0)]
        _, best, index = calibrate.by_flow(rows.flow * 64 + rows.family, score)
        family = rows.family[index]
        for at in np.unique(family[family > 0]):
            mine = (family == at) | (family == 0)
            attacks = len(np.unique(rows.event[rows.family == at]))
            total = sums.setdefault(FAMILIES[at], [0.0, 0])
            total[0] += attacks * calibrate.average_precision(best[mine], family[mine] == at)
            total[1] += attacks
        bar.step()
    with open(part, "w") as out:
        json.dump({"what": f"scikit-learn's HistGradientBoosting, {TREES} rounds of 15 leaves on {ROWS} rows",
                   "note": "attack score, each family against the test recordings' benign.",
                   "average_precision": {name: round(total / count, 4) for name, (total, count) in sorted(sums.items())}}, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    sys.exit(main())
