"""Labelled rows: what the sensor computes of recordings (`features/reference.py --out`, or the sensor's own export), joined with
who did it (`lab/labels.py`).

A row of a flow is what the flow's originator was started for. A host's minute is an attack where a tenth of the flows it
began, or half of their bytes, are; a pair's hour where half of its flows are; where it is less, the row is left out rather than
guessed. Hosts that are only attacked do nothing wrong: theirs are benign, and marked.
"""

import ast
import bisect
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, fields

import numpy as np

import stages

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [f"{HERE}/lab", f"{HERE}/features"]
import labels  # noqa: E402
import logs  # noqa: E402
import rows as lab  # noqa: E402
import schema  # noqa: E402

MINUTE, HOUR = 60_000_000_000, 3_600_000_000_000
FAMILIES = ["benign", *labels.FAMILIES]
# Of an attack without a flow there is no row; what its programs send beside it is left out.
NO_FLOW = {"arp_spoofing"}
HONEST_CAUSES = {"service", "neighbours", "icmp_error", "settling"}
SCHEMAS = {
    "flow": ("flows", 8, [name for name, *_ in schema.FLOW], 2),
    "host_minute": ("hosts", 2, [name for name, *_ in schema.HOST], 1),
    "pair_hour": ("pairs", 5, [name for name, *_ in schema.PAIR], 1),
    "log": ("logs", 2, logs.NAMES, logs.VERSION),
}
# Families that requests and logins show; what others ask for in clear text is left out of the rows of logs.
LOG_FAMILIES = {"scan", "brute_force", "flood", "slow_http", "web_attack"}
# Shares of a window's flows, or of their bytes, from which on the window is the attack's.
HOST_SHARE, HOST_BYTES, PAIR_SHARE = 0.1, 0.5, 0.5
LATER = (0.35, 0.7)
# Raised where the join of rows and labels changes; rows are labelled anew then.
MEANING = 2


@dataclass
class Rows:
    """`family`: index into FAMILIES; -1: left out. `tool`, `event`: of attacks ("" and -1 else). `host`: who began it, `flow`: what
    it is a row of, both unlike over all recordings. `victim`: benign, but under attack. `real`: of a whole recording as it is."""

    x: np.ndarray
    family: np.ndarray
    tool: np.ndarray
    event: np.ndarray
    host: np.ndarray
    flow: np.ndarray
    time: np.ndarray
    victim: np.ndarray
    real: np.ndarray

    def __len__(self):
        return len(self.x)

    def where(self, kept):
        return Rows(*(getattr(self, one.name)[kept] for one in fields(self)))

    @staticmethod
    def join(parts):
        return Rows(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Rows)))


def export(capture, out, tool, variant="whole", seed=0):
    """CSVs of a capture into the directory `out`. `variant`: `bursts` as a sensor reads the clock, or `later-SHARE`: as one that
    is started in mid-traffic."""
    if variant == "log":
        return logs.write(capture, out)
    with tempfile.TemporaryDirectory() as scratch:
        path = capture
        if variant != "whole":
            content = lab.at_burst_times(capture, seed) if variant == "bursts" else lab.later_part(capture, float(variant[6:]))
            path = f"{scratch}/traffic.pcap"
            with open(path, "wb") as file:
                file.write(content)
        if tool is None:
            command = [sys.executable, f"{HERE}/features/reference.py", path, "--out", out]
        else:
            command = [tool, "train-export", path, "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def read_csv(path, keys):
    names, key_rows, values = [], [], []
    with open(path) as lines:
        names = lines.readline().rstrip("\n").split(",")[keys:]
        for line in lines:
            words = line.rstrip("\n").split(",")
            key_rows.append(words[:keys])
            values.append(words[keys:])
    return names, key_rows, np.array(values, dtype=np.float32).reshape(len(values), len(names))


class Truth:
    """What the flows of a recording are."""

    def __init__(self, directory):
        self.episodes = {one.id: one for one in labels.read(directory).episodes}
        self.flows = {}
        for row in labels.read_flows(directory):
            ends = sorted([(row["source"], row["source_port"]), (row["target"], row["target_port"])])
            self.flows.setdefault((row["protocol"], *ends), []).append(row)
        for rows in self.flows.values():
            rows.sort(key=lambda row: row["start_ns"])

    def of(self, key):
        """(family, episode, label's row) of the flow that a row with these key columns is of."""
        time_ns, source, source_port, target, target_port, protocol = key[:6]
        ends = sorted([(source, int(source_port)), (target, int(target_port))])
        rows = self.flows.get((protocol, *ends), ())
        begun = bisect.bisect_left(rows, int(time_ns), key=lambda row: row["start_ns"])
        if not begun:
            return -1, -1, None
        row = rows[begun - 1]
        if row["label"] == "benign" or row["cause"] in HONEST_CAUSES:
            return 0, -1, row
        if row["label"] != "attack" or row["source"] != source or row["family"] in NO_FLOW:
            return -1, -1, row
        return FAMILIES.index(row["family"]), row["episode"], row


def windows_of(truth, ended, key_of):
    """By window: flows, bytes, and both by (family, episode), of flows that ended."""
    found = {}
    for key in ended:
        family, episode, row = truth.of(key)
        size = row["bytes"] if row else 0
        for name, side in key_of(key):
            one = found.setdefault(name, {"flows": 0, "bytes": 0, "attacks": {}, "victim": False})
            if side:
                one["victim"] |= family != 0
                continue
            one["flows"] += 1
            one["bytes"] += size
            if family:
                attack = one["attacks"].setdefault((family, episode), [0, 0])
                attack[0] += 1
                attack[1] += size
    return found


def judge(window, share, byte_share):
    """(family, episode, victim) of a window."""
    if window is None:
        return -1, -1, False
    attacks = window["attacks"]
    if not attacks:
        return 0, -1, window["victim"]
    (family, episode), (flows, size) = max(attacks.items(), key=lambda one: (one[1][0], one[0]))
    if family > 0 and (flows >= share * window["flows"] or size > byte_share * window["bytes"]):
        return family, episode, False
    return -1, -1, False


def label(kind, keys, directory, exported):
    """(family, episode, victim) of each row."""
    truth = Truth(directory)
    if kind == "flow":
        return [(*truth.of(key)[:2], False) for key in keys]
    if kind == "log":
        _, entries, _ = read_csv(f"{exported}/log-flows.csv", 8)
        found = windows_of(truth, [[*entry[1:7], entry[0]] for entry in entries], lambda key: [((key[6], key[1]), 0)])
        verdicts = [judge(found.get((key[0], key[1])), HOST_SHARE, 2.0) for key in keys]
        return [one if one[0] <= 0 or FAMILIES[one[0]] in LOG_FAMILIES else (-1, -1, False) for one in verdicts]
    _, ended, _ = read_csv(f"{exported}/sequences.csv", 7)
    if kind == "host_minute":
        found = windows_of(truth, ended, lambda key: [((int(key[0]) // MINUTE * MINUTE, key[1]), 0),
                                                      ((int(key[0]) // MINUTE * MINUTE, key[3]), 1)])
        return [judge(found.get((int(key[0]), key[1])), HOST_SHARE, HOST_BYTES) for key in keys]
    ported = lambda key: key[4] if key[5] in ("6", "17") else "0"
    found = windows_of(truth, ended, lambda key: [((int(key[0]) // HOUR * HOUR, key[1], key[3], ported(key), key[5]), 0)])
    return [judge(found.get((int(key[0]), *key[1:])), PAIR_SHARE, 2.0) for key in keys]


def load(kind, number, directory, exported, variant="whole"):
    """Rows of one recording; `number` makes hosts and flows unlike those of others."""
    file, width, columns, _ = SCHEMAS[kind]
    names, keys, x = read_csv(f"{exported}/{file}.csv", width)
    if names != columns:
        raise SystemExit(f"{exported}/{file}.csv has other columns than models/features/schema.py; export it again")
    verdicts = label(kind, keys, directory, exported)
    family, event, victim = (np.array([one[at] for one in verdicts]) for at in range(3))
    episodes = {one.id: one.tool for one in labels.read(directory).episodes}
    hosts, flows = {}, {}
    host = np.array([hosts.setdefault(key[1], len(hosts)) for key in keys], dtype=np.int64)
    what = (lambda key: tuple(key[1:6])) if kind == "flow" else tuple
    flow = np.array([flows.setdefault(what(key), len(flows)) for key in keys], dtype=np.int64)
    here = np.int64(number) << 32
    part = Rows(x, family.astype(np.int64), np.array([episodes.get(one, "") for one in event], dtype="U24"),
                np.where(event >= 0, event + here, -1).astype(np.int64), host + here, flow + here,
                np.array([int(key[0]) for key in keys], dtype=np.int64), victim.astype(bool),
                np.full(len(x), variant in ("whole", "log")))
    kept = part.family >= 0
    if kind == "flow":
        kept &= of_several(x, columns)
    # An attack picked up in mid-stream teaches little and may look like anything.
    return part.where(kept & (part.family == 0) if variant.startswith("later") else kept)


def save(rows, path):
    with open(path, "wb") as file:
        np.savez(file, **{one.name: getattr(rows, one.name) for one in fields(rows)})


def restore(path):
    with np.load(path) as archive:
        return Rows(*(archive[one.name] for one in fields(Rows)))


SUFFIXES = (".pcap", ".pcapng", ".cap")
# How groups of captures of others are dealt out.
DEALT = ("learn", "check", "test", "learn")


def captures(folder, most):
    for directory, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(directory, name)
            if name.endswith(SUFFIXES) and os.path.getsize(path) <= most:
                yield path


def dealt(folder, most):
    """{split: captures} of honest traffic of others; those of one device, or of names that begin alike, stay together."""
    out = {split: [] for split in DEALT}
    for kind in sorted(os.listdir(folder)):
        groups = {}
        for path in captures(f"{folder}/{kind}", most):
            name = os.path.basename(path)
            alike = os.path.dirname(path) if kind == "iot" else name if kind == "dns" else re.match(r"[a-z]*", name.lower())[0]
            groups.setdefault(alike, []).append(path)
        for number, alike in enumerate(sorted(groups)):
            out[DEALT[number % len(DEALT)]] += groups[alike]
    return out


def exported_of(path, work, tool):
    """The exported rows of a capture of others; None where it cannot be read."""
    by = [f"file:{tool}"] if tool else sources()
    inputs = stages.digest(f"file:{path}", *by)
    out = f"{work}/captures/{inputs[:24]}"
    try:
        stages.make(out, inputs, lambda part: export(path, part, tool))
    except (subprocess.CalledProcessError, OSError):
        return None
    return out


def honest(kind, number, exported):
    """Rows of a capture of others, all benign."""
    file, width, columns, _ = SCHEMAS[kind]
    _, keys, x = read_csv(f"{exported}/{file}.csv", width)
    none, here = np.zeros(len(x), dtype=np.int64), np.int64(number) << 32
    hosts, flows = {}, {}
    host = [hosts.setdefault(key[1], len(hosts)) for key in keys]
    flow = [flows.setdefault(tuple(key[1:6]) if kind == "flow" else tuple(key), len(flows)) for key in keys]
    part = Rows(x, none, np.full(len(x), "", dtype="U24"), none - 1, np.array(host, dtype=np.int64) + here,
                np.array(flow, dtype=np.int64) + here, np.array([int(key[0]) for key in keys], dtype=np.int64),
                none.astype(bool), none.astype(bool))
    return part.where(of_several(x, columns)) if kind == "flow" else part


def of_several(x, columns):
    """The sensor scores no flow of a single packet."""
    return np.expm1(x[:, columns.index("packets_out")]) + np.expm1(x[:, columns.index("packets_in")]) > 1.5


def sources():
    """What the meaning of rows hangs on, as parts of a digest: code, whatever its comments say."""
    out = []
    for name in ("capture", "flow_v1", "flow_v2", "reference", "schema", "shapes", "table", "windows"):
        with open(f"{HERE}/features/{name}.py") as text:
            tree = ast.parse(text.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value = ast.Constant("")
        out.append(ast.dump(tree))
    return out


def prepared(kind, number, directory, work, tool, variant="whole"):
    """Rows of a recording from the cache in `work`, made if need be."""
    name = os.path.basename(directory.rstrip("/"))
    capture = f"{directory}/traffic.pcap"
    by = [f"file:{tool}"] if tool else sources()
    if kind == "log":
        variant, by = "log", [f"file:{HERE}/logs.py", f"file:{HERE}/features/capture.py"]
    inputs = stages.digest(f"file:{capture}", variant, *by)
    exported = f"{work}/rows/{name}-{variant}"
    stages.make(exported, inputs, lambda part: export(capture, part, tool, variant, int(name) if name.isdigit() else 0))
    archive = f"{exported}.{kind}.npz"
    inputs = stages.digest(inputs, f"file:{directory}/flows.csv", f"file:{directory}/labels.json",
                           MEANING, kind, number)
    stages.make(archive, inputs, lambda part: save(load(kind, number, directory, exported, variant), part))
    return restore(archive)
