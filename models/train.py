#!/usr/bin/env python3
"""Trains the models of traffic: train.py RECORDINGS... [--out models] [--work target/train] [--tool shrike] [--only flow,host,pair]

Each model is a classifier over families with calibrated probabilities and an autoencoder that says how unusual a row is, in one
graph. Splits are by recording: a fifth validates (temperature, ranks, thresholds), a fifth is only ever judged on. Folds hold out
tools: every tool of every family is in exactly one. Everything is seeded and kept in --work; what is there is not made again.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys

import network as net  # first: it says how many threads numpy may have
import numpy as np

import augment
import calibrate
import dataset
import labels
import logs
import manifest
import stages
from dataset import FAMILIES, Rows

SEED = 20261123
# A family is learnt from so many rows of so many attacks, or not at all.
ROWS_MIN, EVENTS_MIN = 20, 3
# False alerts a host-day that a model may raise on validation days, all families together: of flows; of windows, which come
# together to 0.3. And the share of it that the anomaly may take beside.
BUDGET, BUDGET_WINDOWS, UNUSUAL = 0.5, 0.15, 0.1
# Honest hosts of a recording that may be unusual.
UNUSUAL_OWN = 0.02
# Rows that an autoencoder of a layer is computed from.
DRAWN = 50_000
# Honest hosts that may make an alert on the validation recordings themselves, by family.
OWN_ALLOWED = 0
FOLDS = 3
DAYS = ["--seed", "7", "--days", "3", "--flows-per-day", "20000", "--hosts", "30", "--snap", "420", "--max-packets", "40",
        "--attacks-per-day", "20"]
JOBS = 2
# Days are numbered from here on, recordings below.
DAYS_NUMBER = 9000
# Recordings that are only judged on, apart from the others.
FRESH_NUMBER = 5000
# And captures of others, of which larger ones are left out.
OTHERS_NUMBER, OTHERS_BYTES = 20_000, 20e6
# Of the hosts in those that validate, so many may make an alert.
OTHERS_ALLOWED = 0.01
SPLITS = ("learn", "check", "test")


class Spec:
    """What is to be trained. `need`: flows of one host that make an alert, or fewer of a family where validation would lose attacks;
    the manifest says how many. `width`: of the autoencoder; `of_layer`: which is one of the classifier's hidden layer. `few`: rows that a
    family is learnt from at least."""

    def __init__(self, name, schema, hidden, width, need, moved, variants, epochs=40, batches=200, rising=(), logarithms=False, few=ROWS_MIN,
                 budget=BUDGET, of_layer=False):
        self.few, self.budget, self.of_layer = few, budget, of_layer
        self.name, self.schema, self.hidden, self.width, self.need = name, schema, hidden, width, need
        self.columns, self.rising, self.logarithms = dataset.SCHEMAS[schema][2], list(rising), logarithms
        self.moved, self.variants, self.epochs, self.batches = moved and moved(self.columns), variants, epochs, batches

    def view(self, x):
        """What the networks see of rows; the graph does the same."""
        return np.log1p(np.maximum(x, 0)) if self.logarithms else x

    def inputs(self):
        return [self.name, self.schema, self.hidden, self.width, self.need, self.variants, self.epochs, self.batches, SEED,
                self.rising, self.logarithms, self.of_layer]


SPECS = {
    "flow": Spec("flow-v2", "flow", (24,), 12, 3, augment.Elsewhere, ["bursts", *(f"later-{share}" for share in dataset.LATER)],
                 epochs=30, of_layer=True),
    "host": Spec("host-v1", "host_minute", (32,), 8, 1, augment.Longer, ["bursts"], epochs=30, batches=100, budget=BUDGET_WINDOWS),
    "pair": Spec("pair-v1", "pair_hour", (24,), 6, 1, augment.Longer, ["bursts"], epochs=20, batches=100, budget=BUDGET_WINDOWS),
    "log": Spec("log-v1", "log", (16,), 5, 1, None, [], epochs=20, batches=100, rising=logs.RISING, logarithms=True, few=8),
}


def splits_of(recordings):
    """{name: split}: by number every fifth recording validates and every fifth is only judged on, so that further recordings leave the
    others where they are. Where the numbers leave a split empty (an operator's first three), the last is judged on and the one before
    validates."""
    names = sorted(recordings, key=int)
    if len(names) < len(SPLITS):
        raise SystemExit(f"{len(names)} recordings are too few: one is learnt from, another validates, a third is judged on; record more "
                         "(sudo make lab LAB_RECORDINGS=5)")
    found = {name: {2: "check", 0: "test"}.get(int(name) % 5, "learn") for name in names}
    if set(found.values()) != set(SPLITS):
        found = {name: "learn" for name in names} | dict(zip(names[-2:], ("check", "test")))
    return found


class Data:
    """Rows by split: of recordings, and of days made of the same recordings (`days`, with how many host-days they are)."""

    def __init__(self, learn, check, test, days_check, days_test, host_days, names, others_check=None, others_test=None):
        self.learn, self.check, self.test, self.days_check, self.days_test = learn, check, test, days_check, days_test
        self.host_days, self.names, self.others_check, self.others_test = host_days, names, others_check, others_test

    def without(self, dropped):
        """The same where nothing of these (family, tool) is learnt from or validated on."""
        keep = lambda rows: rows.where(~is_of(rows, dropped))
        return Data(keep(self.learn), keep(self.check), self.test, keep(self.days_check), self.days_test, self.host_days,
                    self.names, self.others_check, self.others_test)


def is_of(rows, pairs):
    by = {f"{FAMILIES.index(family)}/{tool}" for family, tool in pairs}
    names = np.char.add(np.char.add(rows.family.astype("U3"), "/"), rows.tool)
    return np.isin(names, sorted(by))


def recordings_of(folders):
    found = {}
    for folder in folders:
        for name in sorted(os.listdir(folder)):
            if name.isdigit() and os.path.exists(f"{folder}/{name}/labels.json"):
                if name in found:
                    raise SystemExit(f"two recordings are called {name}: {found[name]} and {folder}/{name}")
                found[name] = f"{folder}/{name}"
    if not found:
        raise SystemExit(f"no recordings in {', '.join(folders)}; sudo make lab records some")
    return dict(sorted(found.items()))


def days_of(split, recordings, work):
    """A directory of warped days from one split's recordings."""
    source, out = f"{work}/days/{split}-recordings", f"{work}/days/{split}"
    inputs = stages.digest(sorted(recordings), DAYS, *(f"file:{path}/labels.json" for path in recordings.values()),
                           f"file:{dataset.HERE}/lab/warp.py")

    def warp(part):
        subprocess.run(["rm", "-rf", source], check=True)
        os.makedirs(source)
        for name, path in recordings.items():
            os.symlink(os.path.abspath(path), f"{source}/{name}")
        subprocess.run([sys.executable, f"{dataset.HERE}/lab/warp.py", source, "--out", part, *DAYS], check=True,
                       stdout=subprocess.DEVNULL)

    stages.make(out, inputs, warp)
    with open(f"{out}/labels.json") as text:
        return out, json.load(text)["generator"]["host_days"]


def prepare(wanted):
    """Rows of a recording, or of a split's days, into the cache, in a process of its own."""
    if isinstance(wanted[2], dict):
        schema, number, split_recordings, work, tool, split = wanted
        wanted = schema, number, days_of(split, split_recordings, work)[0], work, tool
    dataset.prepared(*wanted)


def gather_others(spec, folder, work, tool):
    """({split: rows}, {split: captures}) of honest traffic of others; empty where there is none."""
    if not folder or spec.schema == "log":
        return {}, {}
    parts, names = {}, {}
    for split, paths in dataset.dealt(folder, OTHERS_BYTES).items():
        found = [dataset.exported_of(path, work, tool) for path in paths]
        parts[split] = Rows.join([dataset.honest(spec.schema, OTHERS_NUMBER + number, out) for number, out in enumerate(found) if out])
        names[split] = len(paths)
    return parts, names


def gather(spec, recordings, work, tool, others=None):
    """All rows for one model."""
    split_of = splits_of(recordings)
    by_split = {split: {name: path for name, path in recordings.items() if split_of[name] == split} for split in SPLITS}
    wanted = [(spec.schema, DAYS_NUMBER + number, by_split[split], work, tool, split) for number, split in enumerate(SPLITS)]
    wanted += [(spec.schema, number, path, work, tool, variant) for number, (name, path) in enumerate(recordings.items())
              for variant in ["whole", *(spec.variants if split_of[name] == "learn" else [])]]
    bar = stages.Progress(f"rows for {spec.name}", len(wanted))
    with multiprocessing.Pool(JOBS) as pool:
        for _ in pool.imap_unordered(prepare, wanted):
            bar.step()
    parts = {split: [] for split in SPLITS}
    for number, (name, path) in enumerate(recordings.items()):
        split = split_of[name]
        parts[split].append(dataset.prepared(spec.schema, number, path, work, tool))
        if split == "learn":
            for variant in spec.variants:
                more = dataset.prepared(spec.schema, number, path, work, tool, variant)
                if variant.startswith("later"):
                    seen = {row.tobytes() for row in parts[split][-1].x}
                    more = more.where(np.array([row.tobytes() not in seen for row in more.x], dtype=bool))
                parts[split].append(more)
    days, host_days = {}, {}
    for number, split in enumerate(SPLITS):
        path, host_days[split] = days_of(split, by_split[split], work)
        days[split] = dataset.prepared(spec.schema, DAYS_NUMBER + number, path, work, tool)
    parts["learn"].append(days["learn"])
    honest, captures = gather_others(spec, others, work, tool)
    if honest:
        parts["learn"].append(honest["learn"])
    joined = {split: Rows.join(parts[split]) for split in SPLITS}
    return Data(joined["learn"], joined["check"], joined["test"], days["check"], days["test"], host_days,
                {**{split: sorted(by_split[split]) for split in SPLITS}, "others": captures}, honest.get("check"), honest.get("test"))


def families_of(rows, few=ROWS_MIN):
    """Names that there is enough of, benign first."""
    names = ["benign"]
    for family in range(1, len(FAMILIES)):
        mine = rows.family == family
        if mine.sum() >= few and len(np.unique(rows.event[mine])) >= EVENTS_MIN:
            names.append(FAMILIES[family])
    return names


class Model:
    """A trained classifier, its autoencoder, and what validation made of them."""

    def __init__(self, spec, names, classifier, autoencoder):
        self.spec, self.names, self.classifier, self.autoencoder = spec, names, classifier, autoencoder
        self.temperature, self.ranks, self.thresholds, self.unusual_at, self.by_need, self.needs = 1.0, None, {}, 1.0, {}, {}

    def probabilities(self, rows):
        return net.softmax(self.classifier.logits(self.spec.view(rows.x)) / self.temperature)

    def anomaly(self, rows):
        return np.interp(net.errors(self.autoencoder, self.spec.view(rows.x)), *self.ranks).astype(np.float32)

    def known(self, rows):
        """(rows of families it knows, their class)."""
        classes = np.full(len(FAMILIES), -1)
        for at, name in enumerate(self.names):
            classes[FAMILIES.index(name)] = at
        kept = classes[rows.family] >= 0
        return rows.where(kept), classes[rows.family[kept]]


def fit(spec, data, path, label, unusual=None, epochs=None):
    """Trains on `learn`, calibrates on `check`. `path`: where the state of the training is kept; `unusual`: and the autoencoder's,
    which is the same whatever attacks are left out."""
    epochs = epochs or spec.epochs
    names = families_of(data.learn, spec.few)
    model = Model(spec, names, None, None)
    rows, target = model.known(data.learn)
    x, share = spec.view(rows.x), augment.shares(rows)
    numbers = np.array([len(np.unique(x[:, column])) > 8 for column in range(x.shape[1])])
    inputs = stages.digest(spec.inputs(), names, *(f"file:{dataset.HERE}/{one}.py" for one in ("network", "augment")),
                           *dataset_digest(rows))
    bar = stages.Progress(label, epochs + (0 if spec.of_layer else spec.epochs))
    moved = spec.moved
    strange = lambda rng, deviation, count: augment.background(rng, x, share, deviation, numbers, count)
    # What may only rise cannot also be told to fall where there is no traffic.
    model.classifier = net.classify(x, target, share, len(names), spec.hidden, SEED, epochs, spec.batches, moved,
                                    None if spec.rising else strange, spec.rising, f"{path}.class.npz", inputs, bar.step)
    benign = rows.family == 0
    quiet = benign & ~rows.victim
    share = share[quiet] / share[quiet].sum()
    if spec.of_layer:
        rng = np.random.default_rng(SEED + 1)
        drawn = x[quiet][net.drawer(rng, share)(DRAWN)]
        model.autoencoder = net.Layer(model.classifier, moved(rng, drawn) if moved else drawn, np.full(DRAWN, 1 / DRAWN), spec.width)
    else:
        inputs = stages.digest(spec.inputs(), f"file:{dataset.HERE}/network.py", *dataset_digest(rows.where(quiet)))
        model.autoencoder = net.autoencode(x[quiet], share, spec.width, SEED + 1, spec.epochs, spec.batches, moved,
                                           path=f"{unusual or path}.unusual.npz", inputs=inputs, step=bar.step)
    calibrated(model, data)
    return model


def dataset_digest(rows):
    import hashlib
    return [hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest() for part in (rows.x, rows.family, rows.event, rows.host)]


def calibrated(model, data):
    """Temperature, ranks and thresholds, all from validation."""
    check, target = model.known(data.check)
    model.temperature = calibrate.temperature(model.classifier.logits(model.spec.view(check.x)), target, augment.shares(check))
    sets = honest_sets(data, model.spec, len(model.names))
    honest = [rows for rows, _ in sets]
    # What is odd in one recording comes again in every day made of it, so the few that validate say little of others: of what is
    # unusual the rows that taught count too (an autoencoder is far too narrow to know them by heart).
    taught = by_origin(data.learn)
    model.ranks = calibrate.ranks(np.concatenate([net.errors(model.autoencoder, model.spec.view(rows.x)) for rows in [*honest, *taught] if len(rows)]))
    sets = [(rows, model.probabilities(rows), most) for rows, most in sets]
    model.thresholds = calibrate.thresholds(model.names, sets, model.spec.need)
    if model.spec.need > 1:
        model.by_need = {need: calibrate.thresholds(model.names, sets, need) for need in range(1, model.spec.need + 1)}
        # What single flows keep the budget with: a threshold that leans on honest flows being alone rests on far fewer cases. More
        # flows are asked of a family beside where no attack is lost by it.
        model.thresholds = model.by_need[1]
        same = dict.fromkeys(model.by_need, model.thresholds)
        model.needs = calibrate.fewest(model.names, same, check, model.probabilities(check))
    unusual = [(rows, model.anomaly(rows), most) for part, split in ((honest, "check"), (taught, "learn"))
               for rows, most in zip(part, unusual_allowed(part, model.spec, data.host_days[split])) if len(rows)]
    model.unusual_at = calibrate.anomaly_threshold(unusual, model.spec.need, model.ranks)


def honest_sets(data, spec, classes):
    """[(honest validation rows, alerts allowed on them)] of recordings, of days and of captures of others, a family's share of the budget."""
    honest = [rows.where((rows.family == 0) & ~rows.victim) for rows in (data.check, data.days_check, data.others_check) if rows is not None]
    allowed = [OWN_ALLOWED, spec.budget / (classes - 1) * data.host_days["check"], *(OTHERS_ALLOWED * len(np.unique(rows.host)) for rows in honest[2:])]
    return list(zip(honest, allowed))


def by_origin(rows):
    """Honest rows of recordings, of days and of captures of others."""
    number, quiet = rows.host >> 32, (rows.family == 0) & ~rows.victim
    return [rows.where(quiet & mask) for mask in ((number < DAYS_NUMBER) & rows.real, (number >= DAYS_NUMBER) & (number < OTHERS_NUMBER),
                                                  number >= OTHERS_NUMBER)]


def unusual_allowed(parts, spec, days):
    """False alerts by the anomaly that are allowed on rows of these three origins. A recording packs some hours of a host into minutes,
    and half of what is odd in it was meant to be."""
    hosts = [len(np.unique(rows.host)) for rows in parts]
    return [UNUSUAL_OWN * hosts[0], UNUSUAL * spec.budget * days, *(2 * OTHERS_ALLOWED * count for count in hosts[2:])]


def judged(model, data, rows=None):
    """The report: figures on test recordings (or `rows`), false alerts a host-day on test days."""
    rows = data.test if rows is None else rows
    judge = lambda some: calibrate.judge(some, model.probabilities(some), model.anomaly(some), model.names, model.thresholds,
                                         model.unusual_at, model.spec.need, model.needs)
    report = judge(rows)
    for split, days in (("validation", data.days_check), ("test", data.days_test)):
        alerts = judge(days)["benign"]
        host_days = data.host_days["check" if split == "validation" else "test"]
        report[f"{split}_days"] = {"host_days": host_days, **alerts,
                                   "alerts_a_host_day": round(sum(alerts["alerts"].values()) / host_days, 4),
                                   "unusual_a_host_day": round(alerts["alerts_unusual"] / host_days, 4)}
    # What alerts of fewer flows would find, each with thresholds of its own by the same rule.
    for need, limits in model.by_need.items():
        say = lambda some: calibrate.judge(some, model.probabilities(some), None, model.names, limits, 2.0, need)
        found, days = say(rows), say(data.days_test)["benign"]["alerts"]
        report["needs"] = model.needs
        report.setdefault("by_need", {})[str(need)] = {
            "thresholds": limits, "alerts_on_days": days,
            "alerts_on_recordings": found["benign"]["alerts"],
            "families": {name: [one["attacks"], one["found"], one["named"]] for name, one in found["families"].items()}}
    if data.others_test:
        report["others"] = judge(data.others_test)["benign"]
    return report


def write(model, data, base, rows=None, extra=None):
    """The model, its manifest, its report, and the scores that the card is drawn from."""
    report = judged(model, data, rows)
    report["recordings"] = data.names
    report.update(extra or {})
    manifest.write(model, data, report, base, SEED, threshold_rule(model.spec))
    with open(f"{base}.report.json", "w") as out:
        json.dump(report, out, indent=1)
        out.write("\n")
    rows = data.test if rows is None else rows
    check, target = model.known(data.check)
    np.savez(f"{base}.scores.npz", probabilities=model.probabilities(rows), anomaly=model.anomaly(rows), family=rows.family,
             flow=rows.flow, event=rows.event, victim=rows.victim, check_probabilities=model.probabilities(check),
             check_target=target, check_share=augment.shares(check), names=np.array(model.names))
    return report


def importance(model, data):
    """By column: how much likelihood (nats a validation row) is lost where its values are dealt out anew."""
    check, target = model.known(data.check)
    share, rng = augment.shares(check), np.random.default_rng(SEED)
    loss = lambda rows: -(share * np.log(np.maximum(model.probabilities(rows)[np.arange(len(target)), target], 1e-9))).sum()
    base, out = loss(check), {}
    for at, column in enumerate(model.spec.columns):
        kept = check.x[:, at].copy()
        check.x[:, at] = kept[rng.permutation(len(kept))]
        out[column] = round(float(loss(check) - base), 5)
        check.x[:, at] = kept
    return out


def threshold_rule(spec):
    return (f"Smallest with at most {spec.budget} false alerts a host-day over all families ({UNUSUAL * spec.budget:.3g} of the anomaly) on days "
            f"made of the validation recordings and none on these recordings themselves, an alert being "
            f"{'a flow' if spec.need > 1 else 'a row'} of one host in an hour, and at most {OTHERS_ALLOWED:.0%} of the hosts of others' honest captures; plus {calibrate.MARGIN} in logits, at least "
            f"{calibrate.FLOOR}; of the anomaly at least rank {calibrate.RANK_FLOOR} and {calibrate.MARGIN_ERROR} times that error, the rows that taught included"
            + ("; `flows` are as many of up to three as lose no attack of the validation recordings" if spec.need > 1 else ""))


def folds_of(recordings, work):
    """Tools by fold, the same for every model: a tool is held out of all families at once, and every family has one in each fold, as
    evenly as many draws allow. Families of fewer tools than folds miss in some. WORK/folds/K/held-out.json says so to those who judge;
    a tool that is in one stays there when recordings come, so that figures can be compared."""
    counts = {}
    for path in recordings.values():
        for one in labels.read(path).episodes:
            if one.counts_as == "attack" and one.family in FAMILIES and one.family not in dataset.NO_FLOW:
                counts[(one.family, one.tool)] = counts.get((one.family, one.tool), 0) + 1
    tools = sorted({tool for _, tool in counts})
    known = np.full(len(tools), -1)
    for number in range(FOLDS):
        for tool in {tool for held in (held_out(work, number) or {}).values() for tool in held} & set(tools):
            known[tools.index(tool)] = number
    rng, best = np.random.default_rng(SEED), None
    members = {family: [tools.index(tool) for name, tool in counts if name == family] for family, _ in counts}
    weights = {family: np.array([counts[(family, tools[at])] for at in mine]) for family, mine in members.items()}
    for _ in range(20_000 if (known < 0).any() else 1):
        fold = np.where(known < 0, rng.integers(0, FOLDS, len(tools)), known)
        cost = 0.0
        for family, mine in members.items():
            sums = np.bincount(fold[mine], weights[family], FOLDS)
            cost += 10 * (sums == 0).sum() + sums.std() / sums.mean()
        if best is None or cost < best[0]:
            best = (cost, fold)
    folds = [sorted((family, tool) for family, tool in counts if best[1][tools.index(tool)] == number) for number in range(FOLDS)]
    for number, pairs in enumerate(folds):
        held = {family: sorted(tool for name, tool in pairs if name == family) for family, _ in pairs}
        if held != held_out(work, number):
            os.makedirs(f"{work}/folds/{number}", exist_ok=True)
            with open(f"{work}/folds/{number}/held-out.json", "w") as out:
                json.dump(held, out, indent=1)
    return folds


def held_out(work, number):
    """{family: tools} of a fold as it was written down; None where it was not."""
    try:
        with open(f"{work}/folds/{number}/held-out.json") as text:
            return json.load(text)
    except OSError:
        return None


def held_out_rows(data, pairs):
    """Attacks of these tools, of any recording, and the honest rows of the test recordings."""
    everything = Rows.join([rows.where(rows.real & is_of(rows, pairs) & (rows.host >> 32 < DAYS_NUMBER))
                            for rows in (data.learn, data.check, data.test)])
    return Rows.join([everything, data.test.where(data.test.family == 0)])


def fresh(model, data, folders, work, tool):
    """Figures on further recordings, none of which was there when anything was chosen."""
    found = [path for folder in folders for path in recordings_of([folder]).values()]
    parts = [dataset.prepared(model.spec.schema, FRESH_NUMBER + int(os.path.basename(path)), path, work, tool) for path in found]
    report = judged(model, data, Rows.join(parts))
    return {"recordings": sorted(os.path.basename(path) for path in found), "families": report["families"],
            "benign": report["benign"]}


def experiment(spec, data, pairs, folder, label, extra, unusual, epochs):
    """A model that never saw these (family, tool), judged on them."""
    os.makedirs(folder, exist_ok=True)
    base = f"{folder}/{spec.name}"
    kept = data.without(pairs)
    inputs = stages.digest(spec.inputs(), sorted(pairs), epochs, *dataset_digest(data.learn), *dataset_digest(data.check),
                           *dataset_digest(data.test), spec.budget, UNUSUAL, OTHERS_ALLOWED, OWN_ALLOWED,
                           *(f"file:{dataset.HERE}/{one}.py" for one in ("train", "network", "augment", "calibrate", "graph", "manifest")))

    def work(part):
        model = fit(spec, kept, f"{folder}/{spec.name}", label, unusual, epochs)
        write(model, kept, base, held_out_rows(data, pairs), extra)
        os.replace(f"{base}.report.json", part)

    stages.make(f"{base}.report.json", inputs, work)
    with open(f"{base}.report.json") as text:
        return json.load(text)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("recordings", nargs="+")
    arguments.add_argument("--out", default="models")
    arguments.add_argument("--work", default="target/train")
    arguments.add_argument("--tool", help="a built shrike, for its own rows; without it the reference computes them")
    arguments.add_argument("--others", help="a folder of honest captures of others, by kind")
    arguments.add_argument("--fresh", nargs="*", help="recordings that are only judged on, whatever their numbers")
    arguments.add_argument("--only", default=",".join(SPECS))
    arguments.add_argument("--no-folds", action="store_true", help="only the models themselves")
    arguments.add_argument("--no-without", action="store_true", help="no models that never learnt a family")
    options = arguments.parse_args()
    recordings = recordings_of(options.recordings)
    folds = folds_of(recordings, options.work)
    for name in options.only.split(","):
        spec = SPECS[name]
        data = gather(spec, recordings, options.work, options.tool, options.others)
        state = f"{options.work}/state/{spec.name}"
        model = fit(spec, data, state, spec.name)
        extra = {"importance": importance(model, data)}
        if options.fresh:
            extra["fresh"] = fresh(model, data, options.fresh, options.work, options.tool)
        report = write(model, data, f"{options.work}/{spec.name}", extra=extra)
        for ending in ("onnx", "json"):
            os.replace(f"{options.work}/{spec.name}.{ending}", f"{options.out}/{spec.name}.{ending}")
        print(json.dumps({"model": spec.name, "families": model.names, "temperature": model.temperature,
                          "thresholds": model.thresholds, "needs": model.needs, "unusual_at": model.unusual_at}))
        print(json.dumps(report["families"], indent=1))
        print(json.dumps({key: report[key] for key in ("benign", "validation_days", "test_days")}, indent=1))
        if options.no_folds:
            continue
        everything = Rows.join([data.learn, data.check, data.test])
        for number, pairs in enumerate(folds):
            experiment(spec, data, pairs, f"{options.work}/folds/{number}", f"{spec.name} fold {number}",
                       {"held_out": held_out(options.work, number)}, state, spec.epochs)
        if options.no_without:
            continue
        tools = sorted({(FAMILIES[f], str(t)) for f, t in zip(everything.family, everything.tool) if f > 0})
        for family in model.names[1:]:
            pairs = [pair for pair in tools if pair[0] == family]
            experiment(spec, data, pairs, f"{options.work}/without/{family}", f"{spec.name} without {family}",
                       {"held_out": {family: sorted(tool for _, tool in pairs)}}, state, spec.epochs // 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
