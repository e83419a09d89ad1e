"""Manifests of format 2: what the program checks before it trusts a model (`src/dataplane/score/manifest.rs`)."""

import hashlib
import json
import os

import numpy as np
import onnxruntime

import calibrate
import graph
from dataset import SCHEMAS

FORMAT = 2
# Features that tell what kind of flow a row is of, and rows that its medians are taken from at least.
KINDS, KIND_LEAST = ("tcp", "udp", "icmp"), 50
DATA = ("Recordings of models/lab: real servers, honest clients and attack tools in network namespaces, labelled by who was "
        "started as what, and days made of them.")


def number(value):
    return float(np.float32(value))


def session(content):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def golden_rows(rng, x, scores):
    """Rows over the whole range of scores, and corners that no traffic has."""
    order = np.argsort(scores, kind="stable")
    chosen = x[order[np.linspace(0, len(order) - 1, 28).astype(int)]]
    width = x.shape[1]
    corners = np.stack([np.zeros(width), np.full(width, 1.0), x.max(0), rng.uniform(0, 12, width)])
    return np.concatenate([chosen, corners]).astype(np.float32)


def medians_by_kind(columns, honest):
    """Medians of honest rows by the feature that is 1 in rows of that kind: a datagram is explained by what datagrams are like. A
    kind of fewer than KIND_LEAST rows says nothing."""
    kinds = {}
    for name in KINDS:
        if name in columns:
            mine = honest[honest[:, columns.index(name)] >= 0.5]
            if len(mine) >= KIND_LEAST:
                kinds[name] = [number(value) for value in np.median(mine, axis=0)]
    return kinds


def describe(name, schema, version, columns, content, learnt, honest, all_learnt, names, thresholds, unusual_at, checked, scores,
             training, metrics, golden):
    """The manifest as a dict. `honest`: benign validation rows; `scores`: the attack scores of validation."""
    outputs = session(content).get_outputs()
    has_anomaly = any(one.name == graph.ANOMALY for one in outputs)
    wanted = [graph.PROBABILITIES] + [graph.ANOMALY] * has_anomaly
    given = session(content).run(wanted, {graph.INPUT: golden})
    deviation = np.maximum(all_learnt.std(0), 0.01)
    median = np.median(learnt, axis=0)
    return {
        "format": FORMAT,
        "name": name,
        "model": {"file": f"{name}.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "schema": schema,
        "schema_version": version,
        "features": [{"name": column, "median": number(median[at]), "deviation": number(deviation[at])}
                     for at, column in enumerate(columns)],
        "input": graph.INPUT,
        "outputs": {"probabilities": graph.PROBABILITIES, "anomaly": graph.ANOMALY if has_anomaly else None},
        "families": names,
        "thresholds": {family: number(value) for family, value in thresholds.items()},
        "anomaly_threshold": number(unusual_at),
        **({"kinds": kinds} if (kinds := medians_by_kind(columns, learnt)) else {}),
        "drift": {column: calibrate.deciles(honest[:, at]) for at, column in enumerate(columns)},
        "scores": calibrate.deciles(scores),
        "training": training,
        "metrics": metrics,
        "golden": [{"row": [number(value) for value in row], "probabilities": [number(value) for value in given[0][at]],
                    "anomaly": number(given[1][at, 0]) if has_anomaly else None}
                   for at, row in enumerate(golden)],
    }


def write(model, data, report, base, seed, rule):
    """BASE.onnx and BASE.json of a trained model."""
    spec = model.spec
    content = graph.build(model.classifier, model.temperature, model.autoencoder, model.ranks, f"shrike-{spec.name}", spec.logarithms)
    learnt, _ = model.known(data.learn)
    check, _ = model.known(data.check)
    scores = 1 - model.probabilities(check)[:, 0]
    honest = check.where((check.family == 0) & ~check.victim)
    agree(content, model, check)
    families = report["families"].values()
    metrics = {
        "test_attacks": sum(one["attacks"] for one in families),
        "test_attacks_found": sum(one["found"] for one in families),
        "test_attacks_named": sum(one["named"] for one in families),
        "test_alerts_a_host_day": report["test_days"]["alerts_a_host_day"],
        "test_unusual_a_host_day": report["test_days"]["unusual_a_host_day"],
        "validation_alerts_a_host_day": report["validation_days"]["alerts_a_host_day"],
        "temperature": round(model.temperature, 4),
    }
    training = {"data": DATA, "recordings": len(data.names["learn"]), "rows": len(learnt), "seed": seed, "threshold_rule": rule}
    golden = golden_rows(np.random.default_rng(seed), check.x, scores)
    described = describe(os.path.basename(base), spec.schema, SCHEMAS[spec.schema][3], spec.columns, content,
                         learnt.x[learnt.family == 0], honest.x, learnt.x, model.names, model.thresholds, model.unusual_at, check,
                         scores, training, metrics, golden)
    if model.needs:
        described["flows"] = model.needs
    with open(f"{base}.onnx", "wb") as out:
        out.write(content)
    with open(f"{base}.json", "w") as out:
        json.dump(described, out, indent=1)
        out.write("\n")


def agree(content, model, rows):
    """The graph says what the networks that it was made of say."""
    given = session(content).run([graph.PROBABILITIES, graph.ANOMALY], {graph.INPUT: rows.x})
    away = max(np.abs(given[0] - model.probabilities(rows)).max(), np.abs(given[1][:, 0] - model.anomaly(rows)).max())
    if away > 1e-3:
        raise SystemExit(f"the graph is {away} off its networks")
