#!/usr/bin/env python3
"""Judges a flow model on captures of others: evaluate.py MODEL.json CAPTURES [--work target/train] [--tool shrike] [--most-mb 20]

For each folder below CAPTURES/attack and CAPTURES/benign: captures, those with an alert (as many reported flows of one source in an
hour as the manifest says), flows, flows reported, flows unusual. Attack captures hold honest flows too and carry no label per flow, so their share of
flows is no recall; on benign ones everything reported is false. Writes WORK/NAME.captures.json for the card.
"""

import argparse
import json
import os
import sys

import network  # noqa: F401  says how many threads numpy may have
import numpy as np

import calibrate
import dataset
import manifest

NEED = 3


def rows_of(path, work, tool):
    """(keys, x) of a capture; None where it cannot be read."""
    out = dataset.exported_of(path, work, tool)
    return out and dataset.read_csv(f"{out}/flows.csv", 8)[1:]


def judge(session, found, described):
    """(flows, reported, unusual, alerted) of a capture."""
    keys, x = found
    if not keys:
        return 0, 0, 0, False
    several = dataset.of_several(x, [feature["name"] for feature in described["features"]])
    keys, x = [key for key, kept in zip(keys, several) if kept], x[several]
    if not keys:
        return 0, 0, 0, False
    probabilities, anomaly = session.run(["probabilities", "anomaly"], {"features": x})
    best, score = calibrate.reported(probabilities)
    limits = np.array([2.0] + [described["thresholds"][name] for name in described["families"][1:]])
    numbers, hosts = {}, {}
    rows = type("Rows", (), {})()
    rows.flow = np.array([numbers.setdefault(tuple(key[1:6]), len(numbers)) for key in keys], dtype=np.int64)
    rows.host = np.array([hosts.setdefault(key[1], len(hosts)) for key in keys], dtype=np.int64)
    rows.time = np.array([int(key[0]) for key in keys], dtype=np.int64)
    over, odd = score >= limits[best], anomaly[:, 0] >= described["anomaly_threshold"]
    alerted = any((calibrate.alert_edges(rows, np.where(over & (best == family), 1.0, 0.0),
                                         described.get("flows", {}).get(described["families"][family], NEED)) > 0.5).any()
                  for family in np.unique(best[over]))
    count = lambda mask: len(np.unique(rows.flow[mask]))
    return len(numbers), count(over), count(odd), alerted


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("manifest")
    arguments.add_argument("captures")
    arguments.add_argument("--work", default="target/train")
    arguments.add_argument("--tool")
    arguments.add_argument("--most-mb", type=float, default=20)
    options = arguments.parse_args()
    with open(options.manifest) as text:
        described = json.load(text)
    with open(os.path.join(os.path.dirname(options.manifest), described["model"]["file"]), "rb") as file:
        session = manifest.session(file.read())
    table, most = {}, options.most_mb * 1e6
    unseen = set(dataset.dealt(f"{options.captures}/benign", most)["test"])
    for kind in ("benign", "attack"):
        for folder in sorted(os.listdir(f"{options.captures}/{kind}")):
            total = dict.fromkeys(("captures", "alerted", "flows", "reported", "unusual", "unreadable"), 0)
            for path in dataset.captures(f"{options.captures}/{kind}/{folder}", most):
                if kind == "benign" and path not in unseen:
                    continue
                found = rows_of(path, options.work, options.tool)
                if found is None:
                    total["unreadable"] += 1
                    continue
                flows, reported, unusual, alerted = judge(session, found, described)
                for key, value in (("captures", 1), ("alerted", alerted), ("flows", flows), ("reported", reported), ("unusual", unusual)):
                    total[key] += int(value)
            table[f"{kind}/{folder}"] = total
            print(f"{kind + '/' + folder:24s} {total}", flush=True)
    note = (f"Captures up to {options.most_mb:.0f} MB by other people, of other networks and programs. Of the honest ones only those are "
            "counted here that nothing was learnt from or chosen by (a quarter, devices and names that begin alike kept together); all that is "
            "reported of them is false. Those of attacks hold honest flows too and carry no label per flow: \"with an alert\" is the figure "
            "there.")
    with open(f"{options.work}/{described['name']}.captures.json", "w") as out:
        json.dump({"note": note, "model": described["model"]["sha256"], "folders": table}, out, indent=1)
        out.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
