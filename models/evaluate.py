#!/usr/bin/env python3
"""Judges a model on captures it was never trained on: evaluate.py MODEL.json CAPTURES --tool FEATURE_ROWS [--json OUT]

For each folder below CAPTURES/attack and CAPTURES/benign: flows, flows that reach the manifest's threshold, captures
with an alert (so many such flows of one source as `detect.model.flows` asks for; how near in time is not looked at, so
a few more than the program raises). Attack captures hold honest flows too and carry no label per flow, so their share of flows is no
recall; "captures with an alert" is the honest figure there. On benign ones every finding is a false alert.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab"))
import rows as lab

FLOWS = 3
SUFFIXES = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz", ".pcap.zst")


def captures(folder):
    for directory, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith(SUFFIXES):
                yield os.path.join(directory, name)


def judge(session, tool, path, threshold):
    """Flows, flows above the threshold, most of them of one source."""
    with tempfile.NamedTemporaryFile("w+") as csv:
        outcome = subprocess.run([tool, path], stdout=csv, stderr=subprocess.DEVNULL, timeout=300)
        if outcome.returncode:
            return None
        _, keys, x = lab.read_csv(csv.name)
    if not keys:
        return 0, 0, 0
    scores = session.run(None, {"features": x})[0][:, 0]
    best = {}
    for key, score in zip(keys, scores):
        flow = tuple(key[1:6])
        best[flow] = max(best.get(flow, 0.0), float(score))
    values = np.array(list(best.values()))
    above = {}
    for (source, *_), score in best.items():
        above[source] = above.get(source, 0) + (score >= threshold)
    return len(values), int((values >= threshold).sum()), int(max(above.values()))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("manifest")
    arguments.add_argument("captures")
    arguments.add_argument("--tool", required=True)
    arguments.add_argument("--json")
    options = arguments.parse_args()
    with open(options.manifest) as text:
        manifest = json.load(text)
    model = os.path.join(os.path.dirname(options.manifest), manifest["model"]["file"])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    table = {}
    for kind in ("benign", "attack"):
        for folder in sorted(os.listdir(f"{options.captures}/{kind}")):
            files = flows = above = found = any_flow = unread = 0
            for path in captures(f"{options.captures}/{kind}/{folder}"):
                outcome = judge(session, options.tool, path, manifest["threshold"])
                if outcome is None:
                    unread += 1
                    continue
                files, flows, above = files + 1, flows + outcome[0], above + outcome[1]
                found += outcome[2] >= FLOWS
                any_flow += outcome[1] > 0
            table[f"{kind}/{folder}"] = {"captures": files, "captures_with_alert": found,
                                         "captures_with_a_flow": any_flow, "flows": flows,
                                         "flows_above": above, "unreadable": unread}
            print(f"{kind + '/' + folder:28s} captures {found:4d} ({any_flow:d})/{files:<4d} flows {above:6d}/{flows:<7d} "
                  f"{above / max(flows, 1):.5f}" + (f"  unreadable {unread}" if unread else ""), flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"model": manifest["model"]["sha256"], "threshold": manifest["threshold"], "folders": table}, out,
                      indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
