#!/usr/bin/env python3
"""What scoring a row costs: cost.py MODEL.json [--batch 128] [--work target/train]

One thread of ONNX Runtime, CPU time of the process (the best of many runs: other programs take caches and the other half of the
core), with and without the anomaly. Writes WORK/NAME.cost.json for the card.
"""

import argparse
import json
import os
import sys
import time

import network  # noqa: F401  says how many threads numpy may have
import numpy as np
import onnx

import graph
import manifest

RUNS, PASSES = 200, 40


def nanoseconds(content, x):
    """Of a row."""
    session = manifest.session(content)
    binding = session.io_binding()
    binding.bind_cpu_input(graph.INPUT, x)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    best = float("inf")
    for _ in range(PASSES):
        begun = time.process_time_ns()
        for _ in range(RUNS):
            session.run_with_iobinding(binding)
        best = min(best, (time.process_time_ns() - begun) / RUNS / len(x))
    return best


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("manifest")
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--work", default="target/train")
    options = arguments.parse_args()
    with open(options.manifest) as text:
        described = json.load(text)
    model = onnx.load(os.path.join(os.path.dirname(options.manifest), described["model"]["file"]))
    rows = np.array([golden["row"] for golden in described["golden"]], dtype=np.float32)
    x = np.resize(rows, (options.batch, rows.shape[1]))
    alone = onnx.utils.Extractor(model).extract_model([graph.INPUT], [graph.PROBABILITIES])
    whole, alone = (nanoseconds(one.SerializeToString(), x) for one in (model, alone))
    cost = {"batch": options.batch, "ns_a_row": round(whole, 1), "anomaly_ns": round(max(whole - alone, 0), 1)}
    with open(f"{options.work}/{described['name']}.cost.json", "w") as out:
        json.dump(cost, out)
        out.write("\n")
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
