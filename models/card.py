#!/usr/bin/env python3
"""Writes the cards of the models: card.py [--work target/train] [--out models] [NAME...]

OUT/NAME.md and its pictures, all from what training, folds and yardstick left in the work directory. No figure in a card is typed
by hand.
"""

import argparse
import json
import os
import sys

import numpy as np

import calibrate
import pictures
from dataset import FAMILIES

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(f"{HERE}/../ci")
import tables  # noqa: E402
WHAT = {
    "flow-v2": ("scores a flow as it stands, from the 64 values of schema `flow`, version 2",
                "A single flow often does not tell: a scan's probe that is refused and an honest client's connection to a service that "
                "is down are the same packets. Flows of one packet are not scored at all."),
    "host-v1": ("scores what a host did in a minute, from the 32 values of schema `host_minute`, version 1",
                "A minute is short: what goes slower than a few flows a minute is not in a row. It says what the host does, not what is "
                "done to it."),
    "pair-v1": ("scores what a host and one service of another did in an hour, from the 20 values of schema `pair_hour`, version 1",
                "Real hours were not recorded: the hours behind it are the lab's two minutes, and days that were made of them."),
    "log-v1": ("scores what web and login logs say of a source's minute, from the 14 values of schema `log`, version 1 "
               "(`log-v1.schema.json`)",
               "Its entries were read from clear-text requests and logins of the recordings (HTTP/1, FTP, POP3, IMAP, SMTP), as a "
               "server's log would hold them. Logins by SSH, SMB and databases are not in them, and real logs of others were not there "
               "to learn from or to judge on: the data are thin, and the model is a beginning."),
}


def load(path):
    try:
        with open(path) as text:
            return json.load(text)
    except OSError:
        return None


class Card:
    def __init__(self, name, work, out):
        self.name, self.work, self.out = name, work, out
        self.manifest, self.report = load(f"{out}/{name}.json"), load(f"{work}/{name}.report.json")
        if self.manifest is None or self.report is None:
            raise SystemExit(f"there is no {out}/{name}.json or {work}/{name}.report.json; models/train.py makes them")
        folders = lambda kind: sorted(os.listdir(f"{work}/{kind}")) if os.path.isdir(f"{work}/{kind}") else []
        reports = lambda kind: {folder: load(f"{work}/{kind}/{folder}/{name}.report.json") for folder in folders(kind)}
        self.folds = {key: one for key, one in reports("folds").items() if one}
        self.without = {key: one for key, one in reports("without").items() if one}
        self.yardstick = load(f"{work}/{name}.yardstick.json")
        self.captures = load(f"{work}/{name}.captures.json")
        self.transfer = load(f"{work}/{name}.transfer.json")
        with np.load(f"{work}/{name}.scores.npz") as archive:
            self.scores = {key: archive[key] for key in archive.files}
        self.names = [str(one) for one in self.scores["names"]]
        self.is_flow = self.manifest["schema"] == "flow"

    def draw(self):
        folder = f"{self.out}/pictures"
        os.makedirs(folder, exist_ok=True)
        base, title = f"{folder}/{self.name}", self.name
        s = self.scores
        attack = 1 - s["probabilities"][:, 0]
        _, flow_score, index = calibrate.by_flow(s["flow"] * 64 + s["family"], attack)
        family = s["family"][index]
        pictures.confusion(f"{base}-confusion.svg", f"{title}: what test {self.unit()} are reported as, per cent", *self.confused())
        plots = []
        for at in range(1, len(FAMILIES)):
            mine = (family == at) | (family == 0)
            is_attack = family[mine] == at
            if is_attack.sum() >= 3:
                plots.append((FAMILIES[at], curve(flow_score[mine], is_attack),
                              calibrate.average_precision(flow_score[mine], is_attack)))
        pictures.curves(f"{base}-precision-recall.svg", f"{title}: attack score on test, each family against benign", plots)
        pictures.reliability(f"{base}-calibration.svg", f"{title}: calibration", [
            (which, bins, error) for which, (bins, error) in self.reliable().items()])
        pictures.histogram(f"{base}-scores.svg", f"{title}: attack score of test {self.unit()}",
                           [("benign", flow_score[family == 0]), ("attack", flow_score[family > 0])], "1 - p(benign)")
        values = sorted(self.report["importance"].items(), key=lambda one: -one[1])[:20]
        pictures.bars(f"{base}-importance.svg", f"{title}: what it goes by", values,
                      "likelihood lost where a column is dealt out anew, nats a validation row")

    def unit(self):
        return "flows" if self.is_flow else "rows"

    def confused(self):
        """(truths, columns, shares, counts) of test flows: each is what its likeliest reported row says."""
        s = self.scores
        best, score = calibrate.reported(s["probabilities"])
        limits = np.array([2.0] + [self.manifest["thresholds"][name] for name in self.names[1:]])
        over = np.where(score >= limits[best], score, 0.0)
        _, highest, index = calibrate.by_flow(s["flow"] * 64 + s["family"], over)
        said = np.where(highest > 0, best[index], 0)
        family, columns = s["family"][index], ["not reported", *self.names[1:]]
        truths, shares, counts = [], [], []
        for at in np.unique(family):
            mine = family == at
            truths.append(FAMILIES[at])
            counts.append(int(mine.sum()))
            shares.append([float((said[mine] == column).mean()) for column in range(len(columns))])
        return truths, columns, shares, counts

    def reliable(self):
        """Reliability of the most probable class on validation rows (weighted as the temperature was chosen) and test rows."""
        s, out = self.scores, {}
        p, target, share = s["check_probabilities"], s["check_target"], s["check_share"]
        out["validation"] = calibrate.reliability(p.max(1), p.argmax(1) == target, share)
        classes = np.array([self.names.index(one) if one in self.names else -1 for one in FAMILIES])[s["family"]]
        p = s["probabilities"]
        weight = np.ones(len(p))
        for one in np.unique(classes):
            weight[classes == one] = 1 / (classes == one).sum() ** 0.5
        out["test"] = calibrate.reliability(p.max(1), p.argmax(1) == classes, weight)
        return out

    def table(self):
        """By family: test recordings, held-out tools, the family never learnt, the yardstick."""
        yield "| family | attacks | found | named | average precision | held-out tools | found | named | precision | never learnt: found | or unusual |"
        yield "| --- |" + " ---: |" * 10
        held = self.held_out()
        for family in FAMILIES[1:]:
            own, tools, never = self.report["families"].get(family), held.get(family), self.without.get(family)
            if own is None and tools is None:
                continue
            never = never["families"].get(family) if never else None
            cells = [family, *([own["attacks"], own["found"], own["named"], f"{own['average_precision']:.3f}"] if own else ["-"] * 4),
                     *([tools["attacks"], tools["found"], tools["named"], f"{tools['average_precision']:.3f}"] if tools else ["-"] * 4),
                     *([f"{never['found']} of {never['attacks']}", f"{never['found_or_unusual']}"] if never else ["-"] * 2)]
            yield "| " + " | ".join(map(str, cells)) + " |"

    def held_out(self):
        """Sums over folds; average precision as the mean, weighted by attacks."""
        out = {}
        for report in self.folds.values():
            for family, one in report["families"].items():
                sums = out.setdefault(family, {"attacks": 0, "found": 0, "named": 0, "average_precision": 0.0})
                for key in ("attacks", "found", "named"):
                    sums[key] += one[key]
                sums["average_precision"] += one["average_precision"] * one["attacks"]
        for sums in out.values():
            sums["average_precision"] /= max(sums["attacks"], 1)
        return out

    def alerts(self):
        return [f"{report['test_days']['alerts_a_host_day']:.2f}" for report in self.folds.values()]

    def text(self):
        report, manifest, what = self.report, self.manifest, WHAT[self.name]
        benign, days, check = report["benign"], report["test_days"], report["validation_days"]
        training, cost = manifest["training"], load(f"{self.work}/{self.name}.cost.json")
        sums = lambda key: sum(one[key] for one in report["families"].values())
        unit = self.unit()
        alert = "as many flows of one source in an hour as the manifest says of the family" if self.is_flow else "one row of one host in an hour"
        yield f"# {self.name}"
        yield ""
        yield f"`{self.name}.onnx` {what[0]}: probabilities of {len(self.names)} families, and how unusual the row is. It knows no address, " \
              "no port number and no absolute time. `models/train.sh` makes it and this card; `models/README.md` says how."
        yield ""
        yield f"- **File** `{manifest['model']['sha256'][:16]}`, {manifest['model']['bytes']} bytes" + (
            f"; {cost['ns_a_row']:.0f} ns a row in batches of {cost['batch']} on one thread of a busy machine, the anomaly's share {cost['anomaly_ns']:.0f}"
            if cost else "") + "."
        yield f"- **Learnt** from {training['recordings']} recordings of the lab ({', '.join(report['recordings']['learn'])}), " \
              f"{training['rows']} rows with their variants and days made of them; seed {training['seed']}."
        yield f"- **Validated** (temperature, ranks, thresholds) on {', '.join(report['recordings']['check'])}; **judged** on " \
              f"{', '.join(report['recordings']['test'])}, which nothing was learnt from or chosen by."
        yield f"- **Thresholds.** {training['threshold_rule']}."
        if manifest.get("kinds"):
            yield f"- **Usual values** that reasons are held against: medians of the benign rows learnt from, by kind of flow " \
                  f"({', '.join(manifest['kinds'])})."
        yield f"- **False alerts** (an alert takes {alert}): {days['alerts_a_host_day']:.2f} a host-day on {days['host_days']:.0f} host-days " \
              f"made of the test recordings, {days['unusual_a_host_day']:.2f} more by the anomaly ({check['alerts_a_host_day']:.2f} and " \
              f"{check['unusual_a_host_day']:.2f} on validation, where they were chosen). On the test recordings themselves {sum(benign['alerts'].values())} " \
              f"and {benign['alerts_unusual']}, of {benign['hosts']} honest hosts."
        yield f"- **Attacks** of the test recordings: {sums('found')} of {sums('attacks')} found, {sums('named')} by their right name, " \
              f"{sums('found_one_flow')} with at least one {unit[:-1]} reported."
        later = report.get("fresh")
        if later:
            total = lambda key: sum(one[key] for one in later["families"].values())
            yield f"- **Recorded later** ({', '.join(later['recordings'])}; judged once, after everything had been chosen): {total('found')} of " \
                  f"{total('attacks')} attacks found, {total('named')} by their right name, {total('found_one_flow')} with at least one " \
                  f"{unit[:-1]} reported; {sum(later['benign']['alerts'].values())} false alerts and {later['benign']['alerts_unusual']} by the " \
                  f"anomaly, of {later['benign']['hosts']} honest hosts."
        if report.get("others"):
            one = report["others"]
            yield f"- **Honest captures of others** that are only judged on: {sum(one['alerts'].values())} false alerts and " \
                  f"{one['alerts_unusual']} by the anomaly, of {one['hosts']} hosts with {one['flows']} {unit}."
        yield ""
        yield "## By family"
        yield ""
        yield "Attacks are runs of one tool; found: an alert of any family, named: of its own. *Held-out tools*: models that never saw the " \
              f"tool of the attack, {len(self.folds)} folds, each tool of each family in one, judged with the benign rows of the test " \
              "recordings. *Never learnt*: a model that saw nothing of the family; *or unusual*: found by it or by its anomaly." + (
                  f" The folds' false alerts on test days were {', '.join(str(one) for one in self.alerts())} a host-day." if self.folds else "")
        yield ""
        yield from self.table()
        yield ""
        yield from self.needs()
        for picture, words in (("confusion", "What test flows are reported as"), ("precision-recall", "Precision and recall by family"),
                               ("calibration", "Reliability"), ("scores", "Scores"), ("importance", "Importance of columns")):
            yield f"![{words}](pictures/{self.name}-{picture}.svg)"
            yield ""
        yield from self.measured()
        yield "## Limits"
        yield ""
        yield f"- {what[1]}"
        yield "- All data are the lab's: one kernel, Debian's programs, no Windows. How little a tool tells about another shows in the table; " \
              "expect of tools that nobody recorded what *held-out tools* says, not what the first columns say."
        yield "- Probabilities are calibrated for validation's mix (half benign, attacks evened out), not for a network's, where attacks are " \
              "rare: thresholds, not probabilities, keep the budget."
        if report["recordings"].get("others"):
            yield "- Of the honest captures of others, household devices are under MIT and nDPI's under LGPL; those of lookups, of the web and nearly " \
                  "all of applications (36 of 278) state no licence. Training runs without any (no `--others`); the first model made so raised " \
                  "alerts about 52 of 120 captures of household devices."
        if self.is_flow:
            yield "- What is unusual is told from the hidden layer: the 64 values themselves, through an autoencoder of their own, cost as much again " \
                  "as all the rest and told families that were never learnt no better."
        yield f"- Honest behaviour comes from {len(report['recordings']['check'])} and {len(report['recordings']['test'])} recordings of two " \
              "minutes. Days made of them repeat it; they show rates, not what a year brings."

    def needs(self):
        """What alerts of other numbers of flows would find."""
        table, days = self.report.get("by_need"), self.report["test_days"]["host_days"]
        if not table:
            return
        yield "Some attacks are one long flow. What alerts of one, two or three flows would find of the test recordings, each with thresholds " \
              "chosen by the same rule (found, named; false alerts on test days, a host-day). The manifest has the thresholds of one flow, and as " \
              "many flows (last column) as lose no attack of the validation recordings."
        yield ""
        yield "| family | attacks | " + " | ".join(f"{need} | threshold | false" for need in table) + " | flows |"
        yield "| --- | ---: |" + " ---: |" * (3 * len(table) + 1)
        for family in table["1"]["families"]:
            if family not in table["1"]["thresholds"]:
                continue
            cells = [family, table["1"]["families"][family][0]]
            for one in table.values():
                cells += ["{1}, {2}".format(*one["families"][family]), f"{one['thresholds'][family]:.2f}",
                          f"{one['alerts_on_days'][family] / days:.2f}"]
            yield "| " + " | ".join(map(str, [*cells, self.manifest["flows"][family]])) + " |"
        yield ""

    def measured(self):
        if self.yardstick:
            yield "## Yardstick"
            yield ""
            yield f"Gradient-boosted trees ({self.yardstick['what']}) on the same folds: average precision by {self.unit()}, of " \
                  "test recordings and of held-out tools. The gap is what the trees have more."
            yield ""
            yield "| family | network | trees | gap | held out: network | trees | gap |"
            yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
            held = self.held_out()
            for family, value in self.yardstick["average_precision"].items():
                own, known = held.get(family, {}).get("average_precision"), self.yardstick["known"].get(family)
                mine = self.report["families"].get(family, {}).get("average_precision")
                if None not in (own, known, mine):
                    yield f"| {family} | {mine:.3f} | {known:.3f} | {known - mine:+.3f} | {own:.3f} | {value:.3f} | {value - own:+.3f} |"
            yield ""
        if self.transfer:
            yield "## From source to source"
            yield ""
            yield f"A source is the laboratory or the repository that captures of others came from ({self.transfer['what']}). *All but it*: every " \
                  "other source taught, attack captures of others by all of their flows, for they carry no label per flow; of the laboratory's row " \
                  "that is to teach by others and to test on the laboratory. Attacks are captures, the laboratory's are episodes of its test recordings; " \
                  "honest are captures, the laboratory's are hosts. Trees tell attack from honest only."
            yield ""
            yield from tables.transfer(self.transfer)
            yield ""
        if self.captures:
            yield "## Captures of others"
            yield ""
            yield self.captures["note"]
            yield ""
            yield "| folder | captures | with an alert | flows | reported | unusual |"
            yield "| --- |" + " ---: |" * 5
            for folder, one in self.captures["folders"].items():
                yield f"| {folder} | {one['captures']} | {one['alerted']} | {one['flows']} | {one['reported']} | {one['unusual']} |"
            yield ""


def curve(scores, is_attack):
    """At most 200 points (recall, precision)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_attack[order])
    precision, recall = hits / np.arange(1, len(order) + 1), hits / hits[-1]
    kept = np.unique(np.concatenate([np.linspace(0, len(order) - 1, 100).astype(int),
                                     np.searchsorted(recall, np.linspace(0.01, 1, 100)).clip(0, len(order) - 1)]))
    return [(float(recall[at]), float(precision[at])) for at in kept]


def wrapped(lines):
    """Prose at 120 columns, tables as they are."""
    import textwrap
    for line in lines:
        if line.startswith(("|", "!", "#")) or not line:
            yield line
        else:
            yield from textwrap.wrap(line, 120, subsequent_indent="  " if line.startswith("- ") else "", break_long_words=False,
                                     break_on_hyphens=False)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("names", nargs="*")
    arguments.add_argument("--work", default="target/train")
    arguments.add_argument("--out", default="models")
    options = arguments.parse_args()
    for name in options.names or [name for name in WHAT if os.path.exists(f"{options.work}/{name}.report.json")]:
        card = Card(name, options.work, options.out)
        card.draw()
        with open(f"{options.out}/{name}.md", "w") as out:
            out.write("\n".join(wrapped(card.text())) + "\n")
        print(f"{options.out}/{name}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
