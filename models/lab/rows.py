"""Labelled feature rows of recordings: joins rows (`train-export`) with `flows.csv`.

A row belongs to a flow; who started the flow says what it is. Rows whose flow has no meaning of its own (a victim's
answers to an attacker, errors that a kernel reports) are left out rather than guessed.
"""

import json
import os
import struct
import subprocess
import tempfile

import numpy as np

import labels

KEY_COLUMNS = 7  # time, source, source port, destination, destination port, protocol, packets
FAMILIES = ["benign", *labels.FAMILIES]


class Rows:
    """Rows of one recording: `x` [n, features], `family` index into FAMILIES, `flow` and `source` (the flow's originator)
    numbers within the recording."""

    def __init__(self, x, family, flow, event, source):
        self.x, self.family, self.flow, self.event, self.source = x, family, flow, event, source

    def where(self, kept):
        return Rows(self.x[kept], self.family[kept], self.flow[kept], self.event[kept], self.source[kept])


def schema(tool):
    return json.loads(subprocess.run([tool, "--schema"], check=True, capture_output=True, text=True).stdout)


def read_csv(path):
    """Key columns as lists of text, features as f32."""
    with open(path) as lines:
        header = lines.readline().rstrip("\n").split(",")
        keys, values = [], []
        for line in lines:
            words = line.rstrip("\n").split(",")
            keys.append(words[:KEY_COLUMNS])
            values.append(words[KEY_COLUMNS:])
    x = np.array(values, dtype=np.float32).reshape(len(values), len(header) - KEY_COLUMNS)
    return header[KEY_COLUMNS:], keys, x


def label(keys, directory):
    """Family and episode of each row, from the flow that it is a row of; family -1: left out."""
    flows = {}
    for row in labels.read_flows(directory):
        ends = sorted([(row["source"], row["source_port"]), (row["target"], row["target_port"])])
        flows.setdefault((row["protocol"], *ends), []).append(row)
    families, events = [], []
    for time_ns, source, source_port, destination, destination_port, protocol, _ in keys:
        ends = sorted([(source, int(source_port)), (destination, int(destination_port))])
        family, event = -1, -1
        # Rows of flows that time out come some minutes after their last packet.
        begun = [row for row in flows.get((protocol, *ends), []) if row["start_ns"] - 500_000_000 <= int(time_ns)]
        if begun:
            flow = begun[-1]
            if flow["label"] == "benign" or flow["cause"] == "service":
                family = 0
            elif flow["label"] == "attack" and flow["source"] == source:
                family, event = FAMILIES.index(flow["family"]), flow["episode"]
        families.append(family)
        events.append(event)
    return np.array(families), np.array(events)


def load(directory, tool):
    """Rows of the recording in `directory`; the CSV is made once and kept beside it."""
    csv = f"{directory}/rows.csv"
    if not os.path.exists(csv):
        make_csv(tool, f"{directory}/traffic.pcap", csv)
    names, keys, x = read_csv(csv)
    more_keys, more_x = picked_up(directory, tool, keys, x)
    burst_keys, burst_x = in_bursts(directory, tool)
    x = np.concatenate([x, more_x, burst_x])
    family, event = label(keys + more_keys + burst_keys, directory)
    # An attack picked up in mid-stream teaches little and may look like anything.
    picked = slice(len(keys), len(keys) + len(more_keys))
    family[picked][family[picked] > 0] = -1
    keys = keys + more_keys + burst_keys
    flows = {}
    flow = np.array([flows.setdefault(tuple(key[1:6]), len(flows)) for key in keys])
    sources = {}
    source = np.array([sources.setdefault(key[1], len(sources)) for key in keys])
    return names, Rows(x, family, flow, event, source).where(family >= 0)


def make_csv(tool, capture, csv):
    with open(f"{csv}.part", "w") as out:
        subprocess.run([tool, capture], check=True, stdout=out)
    os.rename(f"{csv}.part", csv)


def picked_up(directory, tool, keys, x):
    """Rows as a sensor sees them that is started in mid-traffic: the recording from two later moments on, of which
    those rows are kept that the whole recording does not have."""
    csv = f"{directory}/rows-picked-up.csv"
    if not os.path.exists(csv):
        with open(f"{csv}.part", "w") as out:
            for share in (0.35, 0.7):
                with tempfile.NamedTemporaryFile(suffix=".pcap") as part:
                    part.write(later_part(f"{directory}/traffic.pcap", share))
                    part.flush()
                    lines = subprocess.run([tool, part.name], check=True, capture_output=True, text=True).stdout
                    out.write(lines if out.tell() == 0 else lines.split("\n", 1)[1])
        os.rename(f"{csv}.part", csv)
    _, more_keys, more_x = read_csv(csv)
    seen = {(*key, values.tobytes()) for key, values in zip(keys, x)}
    kept = [at for at, (key, values) in enumerate(zip(more_keys, more_x)) if (*key, values.tobytes()) not in seen]
    return [more_keys[at] for at in kept], more_x[kept]


def in_bursts(directory, tool):
    """Rows as a live sensor sees them: it reads the clock once a burst, so the packets of a burst share one moment, and
    an answer may come in the same moment as what it answers. Bursts are 50 us to 20 ms long, log-evenly, by the
    recording's own seed."""
    csv = f"{directory}/rows-bursts.csv"
    if not os.path.exists(csv):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as burst:
            burst.write(at_burst_times(f"{directory}/traffic.pcap", int(os.path.basename(directory))))
            burst.flush()
            make_csv(tool, burst.name, csv)
    _, keys, x = read_csv(csv)
    return keys, x


def at_burst_times(path, seed):
    """A pcap (microseconds) whose packets carry the end of the burst that they fall into."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    rng = np.random.default_rng(seed)
    at, end = 24, 0
    while at + 16 <= len(content):
        seconds, micros, length = struct.unpack_from("<III", content, at)
        time = seconds * 1_000_000 + micros
        if time > end:
            end = time + int(np.exp(rng.uniform(np.log(50), np.log(20_000))))
        struct.pack_into("<II", content, at, end // 1_000_000, end % 1_000_000)
        at += 16 + length
    return bytes(content)


def later_part(path, share):
    """A pcap without its first `share` of packets."""
    with open(path, "rb") as file:
        content = file.read()
    at, starts = 24, []
    while at + 16 <= len(content):
        starts.append(at)
        at += 16 + struct.unpack_from("<I", content, at + 8)[0]
    return content[:24] + (content[starts[int(len(starts) * share)]:] if starts else b"")
