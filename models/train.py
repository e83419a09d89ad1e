#!/usr/bin/env python3
"""Trains the flow model: train.py RECORDINGS --tool FEATURE_ROWS --out models/flow-v1

A small network (32-48-24-1) that scores one flow as it stands. It is to speak only where the lab's attacks are dense
and nothing else is, so besides benign rows it is shown *background*: rows whose features were drawn independently of each
other from what was seen, which look like no traffic at all and are to score low. Without it a network says anything
about traffic that neither half of the training data resembles.

Before each step the rows of a batch are taken to another network: all their times longer or shorter by one factor of
up to ten, short frames padded as Ethernet pads them. A flow's rhythm may tell, the lab's distances may not.

Everything is split by recording: every third one validates, chooses the threshold and is never learnt from. Seeded; one
thread; numpy only. Writes the ONNX file, the manifest with golden rows scored by Python's ONNX Runtime, and a report.
"""

import argparse
import hashlib
import json
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab"))
import rows as lab

SEED = 20261121
HIDDEN = (48, 24)
# Columns of the row (checked against the schema), and the packets from which a flow of datagrams has a shape.
PACKETS, BYTES, TCP, DATAGRAMS = [1, 2], [3, 4], 26, 16
TIMES, PAYLOADS, PAYLOAD_SHARE, BALANCE = [0, 9, 10, 11, 12], [5, 6], 20, 21
# Times of a row are stretched by up to e to this, either way.
STRETCH = 2.3
# Shortest frame of Ethernet without its checksum: what a lab of virtual links does not pad.
SHORTEST_FRAME = 60
EPOCHS = 40
BATCH = 512
BATCHES = 150
# One false alert costs an operator more than a flow missed by one of several detectors.
BENIGN_COST = 5.0
BACKGROUND_COST = 1.0
# An alert takes so many flows of one source above the threshold (`detect.model.flows`).
FLOWS = 3
# Benign validation flows that may reach the threshold, while no benign source has as many as FLOWS there.
FALSE_FLOWS_PER_FLOW = 1 / 2000
# And the threshold keeps this distance (in logits) from the highest benign score it is to exclude.
MARGIN = 1.0
FLOOR = 0.5


class Network:
    def __init__(self, rng, inputs, mean, deviation):
        self.mean, self.deviation = mean, deviation
        sizes = (inputs, *HIDDEN, 1)
        self.weights = [rng.normal(0, np.sqrt(2 / a), (a, b)) for a, b in zip(sizes, sizes[1:])]
        self.biases = [np.zeros(b) for b in sizes[1:]]

    def logits(self, x):
        h = (x - self.mean) / self.deviation
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            h = np.maximum(h @ weight + bias, 0)
        return (h @ self.weights[-1] + self.biases[-1])[:, 0]

    def scores(self, x):
        return 1 / (1 + np.exp(-np.clip(self.logits(x), -60, 60)))

    def gradients(self, x, target, weight):
        h = [(x - self.mean) / self.deviation]
        for w, b in zip(self.weights[:-1], self.biases[:-1]):
            h.append(np.maximum(h[-1] @ w + b, 0))
        logits = (h[-1] @ self.weights[-1] + self.biases[-1])[:, 0]
        delta = ((1 / (1 + np.exp(-np.clip(logits, -60, 60))) - target) * weight)[:, None] / len(x)
        out = []
        for layer in range(len(self.weights) - 1, -1, -1):
            out.append((h[layer].T @ delta, delta.sum(0)))
            if layer:
                delta = (delta @ self.weights[layer].T) * (h[layer] > 0)
        return out[::-1]


def background(rng, x, share, deviation, count):
    """Rows that are no traffic: real ones with features replaced by those of other rows or by any number in range.

    `share` draws the rows, so that no kind of traffic makes up most of the values. Rows that a replacement left as they
    were, give or take, are real traffic still and are not returned.
    """
    real = x[rng.choice(len(x), count, p=share)]
    columns = np.stack([x[rng.choice(len(x), count, p=share), column] for column in range(x.shape[1])], axis=1)
    low, high = x.min(0), x.max(0)
    uniform = low + rng.random(real.shape) * (high - low)
    # Flags and classes stay what they can be; numbers may be anything.
    number = np.array([len(np.unique(x[:, column])) > 8 for column in range(x.shape[1])])
    strange = np.where((rng.random(real.shape) < 0.3) & number, uniform, columns)
    # From nearly real to all mixed up, so that the border is learnt close to the traffic and not in empty space only.
    made = np.where(rng.random(real.shape) < rng.uniform(0.2, 1.0, (count, 1)), strange, real)
    moved = (np.abs(made - real) > 0.5 * deviation).sum(1)
    return made[moved >= 4]


def tells(x):
    """Can such a row tell at all? One or a few datagrams are the same packets whether a flood, a scan or an honest
    program sent them; those of attacks are shown as rows that must not score."""
    packets = np.expm1(x[:, PACKETS]).sum(1)
    return (x[:, TCP] > 0.5) | (packets > DATAGRAMS - 0.5)


def elsewhere(rng, x):
    """The same flows on another network: all times of a row by one factor, short frames padded or not."""
    out = x.copy()
    stretch = rng.uniform(-STRETCH, STRETCH, (len(x), 1)) * (rng.random((len(x), 1)) < 0.8)
    times = out[:, TIMES]
    out[:, TIMES] = np.where(times > 0, np.maximum(times + stretch, 0), 0)
    padded = rng.random(len(x)) < 0.5
    raw = np.expm1(out[:, BYTES])
    frames = np.expm1(out[:, PACKETS])
    short = (raw < frames * SHORTEST_FRAME) & padded[:, None]
    raw = np.where(short, frames * SHORTEST_FRAME, raw)
    out[:, BYTES] = np.log1p(raw)
    both = np.maximum(raw.sum(1), 1)
    changed = short.any(1)
    out[changed, PAYLOAD_SHARE] = (np.expm1(out[:, PAYLOADS]).sum(1) / both)[changed].clip(0, 1)
    out[changed, BALANCE] = ((raw[:, 0] - raw[:, 1]) / both)[changed]
    return out


def draw_shares(recordings):
    """How often each row is drawn: half of a batch benign, half attacks, and of those every attack of every recording
    alike up to a root, so that floods do not drown the quiet ones."""
    shares = []
    for rows in recordings:
        share = np.ones(len(rows.x))
        for event in np.unique(rows.event[rows.family > 0]):
            mine = (rows.event == event) & (rows.family > 0)
            share[mine] = 1 / np.sqrt(mine.sum())
        shares.append(share)
    share = np.concatenate(shares)
    benign = np.concatenate([rows.family for rows in recordings]) == 0
    share[benign] *= 0.5 / share[benign].sum()
    share[~benign] *= 0.5 / share[~benign].sum()
    return share


def train(recordings, seed, epochs=EPOCHS, say=lambda *_: None):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rows.x for rows in recordings]).astype(np.float64)
    attack = (np.concatenate([rows.family for rows in recordings]) > 0) & tells(x)
    share = draw_shares(recordings)
    mean = share @ x
    network = Network(rng, x.shape[1], mean, np.maximum(np.sqrt(share @ (x - mean) ** 2), 0.05))
    moments = [[np.zeros_like(p) for p in (w, w, b, b)] for w, b in zip(network.weights, network.biases)]
    step, steps = 0, epochs * BATCHES
    for epoch in range(epochs):
        pick = rng.choice(len(x), (BATCHES, BATCH), p=share)
        strange = background(rng, x, share, network.deviation, BATCHES * BATCH // 2)
        strange = strange[: len(strange) // BATCHES * BATCHES].reshape(BATCHES, -1, x.shape[1])
        losses = []
        for chosen, made in zip(pick, strange):
            step += 1
            # No border may lie within a hair of a value.
            real = elsewhere(rng, x[chosen]) + rng.normal(0, 0.02, (BATCH, x.shape[1])) * network.deviation
            inputs = np.concatenate([real, made])
            target = np.concatenate([attack[chosen], np.zeros(len(made))])
            cost = np.concatenate([np.where(attack[chosen], 1.0, BENIGN_COST), np.full(len(made), BACKGROUND_COST)])
            rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / steps))
            for layer, (dw, db) in enumerate(network.gradients(inputs, target, cost)):
                dw = dw + 1e-5 * network.weights[layer]
                for parameter, gradient, first, second in ((network.weights[layer], dw, 0, 1),
                                                           (network.biases[layer], db, 2, 3)):
                    m = moments[layer]
                    m[first] = 0.9 * m[first] + 0.1 * gradient
                    m[second] = 0.999 * m[second] + 0.001 * gradient**2
                    parameter -= rate * (m[first] / (1 - 0.9**step)) / (np.sqrt(m[second] / (1 - 0.999**step)) + 1e-8)
            if step % 20 == 0:
                p = np.clip(network.scores(inputs), 1e-9, 1 - 1e-9)
                losses.append((-np.where(target > 0, np.log(p), np.log(1 - p)) * cost).mean())
        say(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}")
    return network


def flow_scores(network_scores, recordings):
    """Highest score, family and source (a number over all recordings) of each flow."""
    best, at = {}, 0
    for number, rows in enumerate(recordings):
        scores = network_scores[at:at + len(rows.x)]
        for family, flow, source, score in zip(rows.family, rows.flow, rows.source, scores):
            key = (number, int(flow), int(family), number * 100_000 + int(source))
            best[key] = max(best.get(key, 0.0), float(score))
        at += len(rows.x)
    keys = list(best)
    return np.array(list(best.values())), np.array([key[2] for key in keys]), np.array([key[3] for key in keys])


def attacks_found(row_scores, recordings, threshold):
    """By family: attacks (one run of one tool) and those of which one source has FLOWS flows at the threshold."""
    out, at = {name: {"all": 0, "found": 0} for name in lab.FAMILIES[1:]}, 0
    for rows in recordings:
        scores = row_scores[at:at + len(rows.x)]
        at += len(rows.x)
        for event in np.unique(rows.event[rows.family > 0]):
            mine = (rows.event == event) & (rows.family > 0)
            counts = out[lab.FAMILIES[rows.family[mine][0]]]
            counts["all"] += 1
            above = mine & (scores >= threshold)
            pairs = np.unique(np.stack([rows.source[above], rows.flow[above]]), axis=1)
            counts["found"] += int(np.unique(pairs[0], return_counts=True)[1].max(initial=0) >= FLOWS)
    return out


def choose_threshold(scores, families, sources):
    """Smallest threshold that keeps the false-alert budget on validation, plus the margin; never below FLOOR: few benign
    flows reach it, and of no benign source as many as make an alert."""
    benign, source = scores[families == 0], sources[families == 0]
    ordered = np.sort(benign)[::-1]
    edge = ordered[min(int(len(ordered) * FALSE_FLOWS_PER_FLOW), len(ordered) - 1)]
    for one in np.unique(source):
        mine = np.sort(benign[source == one])[::-1]
        if len(mine) >= FLOWS:
            edge = max(edge, mine[FLOWS - 1])
    edge = np.clip(edge, 1e-6, 1 - 1e-6)
    logit = np.log(edge / (1 - edge)) + MARGIN
    return float(np.float32(min(max(1 / (1 + np.exp(-logit)), FLOOR), 0.9999)))


def average_precision(scores, attack):
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(attack[order])
    precision = hits / np.arange(1, len(scores) + 1)
    return float((precision * attack[order]).sum() / max(attack.sum(), 1))


def export(network, path, features):
    """Gemm layers in f32, normalisation folded into the first; the batch dimension is named."""
    weights = [w.copy() for w in network.weights]
    biases = [b.copy() for b in network.biases]
    biases[0] = biases[0] - (network.mean / network.deviation) @ weights[0]
    weights[0] = weights[0] / network.deviation[:, None]
    nodes, initializers, last = [], [], "features"
    for layer, (w, b) in enumerate(zip(weights, biases)):
        initializers += [numpy_helper.from_array(w.astype(np.float32), f"w{layer}"),
                         numpy_helper.from_array(b.astype(np.float32), f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
        last = f"z{layer}"
        if layer + 1 < len(weights):
            nodes.append(helper.make_node("Relu", [last], [f"h{layer}"]))
            last = f"h{layer}"
    nodes.append(helper.make_node("Sigmoid", [last], ["score"]))
    graph = helper.make_graph(
        nodes, "shrike-flow", [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1])], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="shrike models/train.py")
    onnx.checker.check_model(model)
    with open(path, "wb") as out:
        out.write(model.SerializeToString(deterministic=True))


def golden_rows(rng, x, scores, width):
    """Rows over the whole range of scores, and the corners that no traffic has."""
    order = np.argsort(scores)
    chosen = x[order[np.linspace(0, len(order) - 1, 28).astype(int)]]
    corners = np.stack([np.zeros(width), np.full(width, 1.0), x.max(0), rng.uniform(0, 12, width)])
    return np.concatenate([chosen, corners]).astype(np.float32)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recordings")
    arguments.add_argument("--tool", required=True, help="the built example feature-rows")
    arguments.add_argument("--out", required=True, help="path and name without extension")
    arguments.add_argument("--leave-one-out", action="store_true", help="also train without each family and report")
    arguments.add_argument("--recalibrate", action="store_true",
                           help="keep the model as it is and choose its threshold anew on the validation recordings")
    options = arguments.parse_args()

    names = sorted(name for name in os.listdir(options.recordings)
                   if os.path.exists(f"{options.recordings}/{name}/labels.json"))
    schema = lab.schema(options.tool)
    learn, check = [], []
    for name in names:
        if options.recalibrate and int(name) % 3:
            continue
        columns, rows = lab.load(f"{options.recordings}/{name}", options.tool)
        assert columns == [feature["name"] for feature in schema["features"]], "rows and schema differ"
        (check if int(name) % 3 == 0 else learn).append(rows)
        print(f"{name}: {len(rows.x)} rows, {int((rows.family > 0).sum())} of attacks", flush=True)

    used = [*PACKETS, *BYTES, TCP, *TIMES, *PAYLOADS, PAYLOAD_SHARE, BALANCE]
    assert [columns[index] for index in used] == [
        "packets_out", "packets_in", "bytes_out", "bytes_in", "tcp", "duration", "gap_mean", "gap_deviation", "gap_max",
        "response", "payload_out", "payload_in", "payload_share", "byte_balance"], "train.py is outdated"
    path = f"{options.out}.onnx"
    if not options.recalibrate:
        network = train(learn, SEED, say=lambda line: print(line, flush=True))
        export(network, path, len(schema["features"]))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(x):
        return session.run(["score"], {"features": x.astype(np.float32)})[0][:, 0]

    x = np.concatenate([rows.x for rows in check])
    row_family = np.concatenate([rows.family for rows in check])
    row_scores = run(x)
    scores, families, sources = flow_scores(row_scores, check)
    threshold = choose_threshold(scores, families, sources)
    report = measure(scores, families, threshold)
    report["false_alerts"] = false_alerts(scores, families, sources, threshold)
    report["attacks"] = attacks_found(row_scores, check, threshold)
    report["rows"] = {"learnt": int(sum(len(rows.x) for rows in learn)), "validation": len(x)}
    report["recordings"] = {"learnt": len(learn), "validation": len(check)}
    everything = np.full(len(x), 1 / len(x))
    strange = background(np.random.default_rng(SEED), x, everything, np.maximum(x.std(0), 0.05), 100_000)
    report["background_above"] = float((run(strange) >= threshold).mean())
    print(json.dumps(report, indent=1))
    if options.recalibrate:
        recalibrate(options, report, threshold)
        np.savez_compressed(f"{options.recordings}/validation-scores.npz", scores=scores, families=families)
        return
    if options.leave_one_out:
        report["leave_one_out_false_flows"] = round(1 / FALSE_FLOWS_PER_FLOW)
        report["leave_one_out"] = leave_one_out(learn, check)

    rng = np.random.default_rng(SEED)
    golden = golden_rows(rng, x, row_scores, x.shape[1])
    golden_scores = run(golden)
    learnt = np.concatenate([rows.x for rows in learn])
    learnt_family = np.concatenate([rows.family for rows in learn])
    median = np.median(learnt[learnt_family == 0], axis=0)
    deviation = np.maximum(learnt.std(axis=0), 0.01)
    with open(path, "rb") as file:
        content = file.read()
    manifest = {
        "format": 1,
        "name": os.path.basename(options.out),
        "model": {"file": os.path.basename(path), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "schema_version": schema["version"],
        "features": [{"name": feature["name"], "median": number(median[i]), "deviation": number(deviation[i])}
                     for i, feature in enumerate(schema["features"])],
        "input": "features",
        "output": "score",
        "threshold": threshold,
        "training": {
            "data": "Recordings of models/lab: nginx, sshd, vsftpd, dnsmasq, iperf3, redis, mosquitto and small own "
                    "servers; honest clients with some forty habits; nmap, masscan, hydra, medusa, ncrack, hping3, "
                    "slowhttptest and own tools; labelled by who was started as what.",
            "recordings": len(learn),
            "rows": int(len(learnt)),
            "seed": SEED,
            "threshold_rule": threshold_rule(),
        },
        "metrics": report["metrics"],
        "golden": [{"row": [number(value) for value in row], "score": number(score)}
                   for row, score in zip(golden, golden_scores)],
    }
    with open(f"{options.out}.json", "w") as out:
        json.dump(manifest, out, indent=1)
        out.write("\n")
    with open(f"{options.out}.report.json", "w") as out:
        json.dump(report, out, indent=1)
        out.write("\n")
    np.savez_compressed(f"{options.recordings}/validation-scores.npz", scores=scores, families=families)
    print(f"{path}: {len(content)} bytes, threshold {threshold:.4f}")


def threshold_rule():
    return (f"at most 1 benign flow in {round(1 / FALSE_FLOWS_PER_FLOW)} of the validation recordings and fewer than "
            f"{FLOWS} of any benign source, plus {MARGIN} in logits, at least {FLOOR}")


def recalibrate(options, report, threshold):
    """Writes the new threshold, and what it gives on validation, into the manifest and report of a model."""
    with open(f"{options.out}.json") as text:
        manifest = json.load(text)
    with open(f"{options.out}.report.json") as text:
        before = json.load(text)
    manifest["threshold"], manifest["metrics"] = threshold, report["metrics"]
    manifest["training"]["threshold_rule"] = threshold_rule()
    report["rows"]["learnt"] = before["rows"]["learnt"]
    report["recordings"]["learnt"] = before["recordings"]["learnt"]
    for kept in ("leave_one_out", "leave_one_out_false_flows"):
        if kept in before:
            report[kept] = before[kept]
    for name, content in (("json", manifest), ("report.json", report)):
        with open(f"{options.out}.{name}", "w") as out:
            json.dump(content, out, indent=1)
            out.write("\n")


def false_alerts(scores, families, sources, threshold):
    """Benign sources, and those with as many flows at the threshold as make an alert."""
    benign = families == 0
    above = np.unique(sources[benign & (scores >= threshold)], return_counts=True)[1]
    return {"sources": len(np.unique(sources[benign])), "alerted": int((above >= FLOWS).sum())}


def number(value):
    return float(np.float32(value))


def measure(scores, families, threshold):
    attack, above = families > 0, scores >= threshold
    by_family = {name: {"flows": int((families == index).sum()), "above": int((above & (families == index)).sum())}
                 for index, name in enumerate(lab.FAMILIES)}
    recall, false = above[attack].mean(), above[~attack].mean()
    metrics = {
        "validation_recall_flows": round(float(recall), 4),
        "validation_false_flows_share": round(float(false), 6),
        "validation_benign_flows": int((~attack).sum()),
        "validation_balanced_accuracy": round(float((recall + 1 - false) / 2), 4),
        "validation_average_precision": round(average_precision(scores, attack), 4),
    }
    return {"threshold": threshold, "families": by_family, "metrics": metrics}


def leave_one_out(learn, check):
    """Recall on a family of which nothing was learnt: what an unseen kind of attack may expect."""
    out = {}
    for index, name in enumerate(lab.FAMILIES[1:], 1):
        kept = []
        for rows in learn:
            kept.append(rows.where(rows.family != index))
        network = train(kept, SEED, epochs=EPOCHS // 2)
        row_scores = network.scores(np.concatenate([rows.x for rows in check]))
        scores, families, sources = flow_scores(row_scores, check)
        threshold = choose_threshold(scores, families, sources)
        out[name] = {"flows": round(float((scores[families == index] >= threshold).mean()), 4),
                     "attacks": attacks_found(row_scores, check, threshold)[name]["found"]}
        print(f"without {name}: {out[name]}", flush=True)
    return out


if __name__ == "__main__":
    main()
