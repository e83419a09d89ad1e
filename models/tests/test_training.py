"""What training promises: the same bytes twice and after a break, probabilities that mean what they say, scores that only rise,
manifests with every member. Small invented rows; needs models/requirements.txt (models/train.sh sets models/venv up)."""

import hashlib
import json
import os
import sys
import tempfile
import types
import unittest
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import network as net  # noqa: E402  first: it says how many threads numpy may have
import numpy as np  # noqa: E402

import augment  # noqa: E402
import calibrate  # noqa: E402
import dataset  # noqa: E402
import graph  # noqa: E402
import logs  # noqa: E402
import manifest  # noqa: E402
import stages  # noqa: E402
import train  # noqa: E402
import transfer  # noqa: E402
from dataset import FAMILIES, Rows  # noqa: E402


def rows(seed, columns, count=600, number=0):
    """Benign rows round 2, scans and floods round 4 and 6 of the first columns, five attacks of each."""
    rng = np.random.default_rng(seed)
    family = np.array([0] * (count // 2) + [FAMILIES.index("scan")] * (count // 4) + [FAMILIES.index("flood")] * (count // 4))
    x = np.abs(rng.normal(2, 0.7, (len(family), columns))).astype(np.float32)
    x[family == FAMILIES.index("scan"), :3] += 2
    x[family == FAMILIES.index("flood"), 3:6] += 4
    tool = np.array(["", "nmap", "hping3"])[np.searchsorted([0, FAMILIES.index("scan"), FAMILIES.index("flood")], family)]
    event = np.where(family > 0, family * 10 + np.arange(len(family)) % 5, -1)
    at = np.arange(len(family)) + number * 10_000
    return Rows(x, family, tool.astype("U24"), event, at % 40, at, at * 1_000_000_000, np.zeros(len(family), bool),
                np.ones(len(family), bool))


def small(schema, rising=(), logarithms=False, need=1, of_layer=False):
    spec = train.Spec("small", schema, (8,), 3, need, None, [], epochs=6, batches=40, rising=rising, logarithms=logarithms,
                      of_layer=of_layer)
    width = len(spec.columns)
    parts = [rows(seed, width, number=seed) for seed in range(5)]
    names = {split: ["001"] for split in train.SPLITS}
    return spec, train.Data(*parts, {"learn": 10, "check": 10, "test": 10}, names)


class Training(unittest.TestCase):
    def made(self, folder, schema="pair_hour", **more):
        spec, data = small(schema, **more)
        model = train.fit(spec, data, f"{folder}/state", "small")
        train.write(model, data, f"{folder}/small", extra={"importance": {}})
        return [stages.digest(f"file:{folder}/small.{ending}") for ending in ("onnx", "json")]

    def test_few_recordings_are_dealt_out_and_too_few_are_refused(self):
        of = lambda *numbers: train.splits_of({f"{number:03d}": "" for number in numbers})
        self.assertEqual(of(1, 2, 3, 5), {"001": "learn", "002": "check", "003": "learn", "005": "test"})
        self.assertEqual(of(1, 3, 4), {"001": "learn", "003": "check", "004": "test"})
        self.assertEqual(set(of(*range(1, 9)).values()), set(train.SPLITS))
        for numbers in ((), (1,), (2, 5)):
            with self.assertRaisesRegex(SystemExit, "record more"):
                of(*numbers)

    def test_two_runs_give_the_same_bytes(self):
        for more in ({}, {"need": 3, "of_layer": True}):
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                self.assertEqual(self.made(one, **more), self.made(other, **more))

    def test_an_interrupted_training_goes_on_to_the_same_bytes(self):
        class Stop(Exception):
            pass

        told = []

        def stop(_note="", count=1):
            told.append(count)
            if len(told) == 3:
                raise Stop

        data = rows(1, 20)
        target = (data.family > 0).astype(np.int64)
        with tempfile.TemporaryDirectory() as folder:
            run = lambda path, step: net.classify(data.x, target, augment.shares(data), 2, (8,), 7, 4, 10, path=path, inputs="a",
                                                  step=step)
            whole = run(None, lambda *_, **__: None)
            with self.assertRaises(Stop):
                run(f"{folder}/state.npz", stop)
            again = run(f"{folder}/state.npz", lambda *_, **__: None)
        for one, other in zip(whole.weights + whole.biases, again.weights + again.biases):
            np.testing.assert_array_equal(one, other)

    def test_it_learns_what_is_plain(self):
        spec, data = small("pair_hour")
        with tempfile.TemporaryDirectory() as folder:
            model = train.fit(spec, data, f"{folder}/state", "small")
        self.assertEqual(model.names, ["benign", "scan", "flood"])
        report = train.judged(model, data)
        self.assertGreater(report["families"]["flood"]["average_precision"], 0.95)

    def test_what_is_held_out_is_not_learnt_from(self):
        _, data = small("pair_hour")
        kept = data.without([("scan", "nmap")])
        self.assertEqual(train.families_of(kept.learn), ["benign", "flood"])
        self.assertEqual(len(kept.test), len(data.test))

    def test_folds_hold_out_each_tool_once(self):
        told = [("scan", "attack", tool) for tool in ["nmap", "masscan", "zmap", "ours"]]
        told += [("flood", "attack", "ours"), ("arp_spoofing", "attack", "arpspoof"), ("", "benign", "curl"), ("scan", "confirmed", "whatweb")]
        episodes = [types.SimpleNamespace(family=family, counts_as=counts_as, tool=tool) for family, counts_as, tool in told]
        recordings = {"001": "one", "002": "other"}
        with tempfile.TemporaryDirectory() as work, \
                unittest.mock.patch.object(train.labels, "read", lambda _: types.SimpleNamespace(episodes=episodes)):
            folds = train.folds_of(recordings, work)
            self.assertEqual([{pair for pair in folds[number]} for number in range(3)],
                             [{(family, tool) for family, tools in train.held_out(work, number).items() for tool in tools} for number in range(3)])
            episodes.append(types.SimpleNamespace(family="mining", counts_as="attack", tool="xmrig"))
            later = train.folds_of(recordings, work)
            self.assertEqual([set(fold) - {("mining", "xmrig")} for fold in later], [set(fold) for fold in folds], "a tool stays where it is")
            self.assertEqual(sum(("mining", "xmrig") in fold for fold in later), 1)
        pairs = [pair for fold in folds for pair in fold]
        self.assertEqual(sorted(pairs), sorted((family, tool) for family, _, tool in told[:5]), "what is learnt, each once")
        self.assertTrue(all(any(family == "scan" for family, _ in fold) for fold in folds))
        where = {number for number, fold in enumerate(folds) for _, tool in fold if tool == "ours"}
        self.assertEqual(len(where), 1, "a tool of two families goes with both")


class Manifest(unittest.TestCase):
    def test_members_and_golden_rows(self):
        with tempfile.TemporaryDirectory() as folder:
            Training().made(folder)
            with open(f"{folder}/small.json") as text:
                made = json.load(text)
            with open(f"{folder}/small.onnx", "rb") as file:
                content = file.read()
        self.assertEqual(set(made), {
            "format", "name", "model", "schema", "schema_version", "features", "input", "outputs", "families", "thresholds",
            "anomaly_threshold", "drift", "scores", "training", "metrics", "golden"})
        self.assertEqual((made["format"], made["families"][0], made["schema"]), (2, "benign", "pair_hour"))
        self.assertEqual(set(made["thresholds"]), set(made["families"][1:]))
        self.assertTrue(all(0 < value < 1 for value in made["thresholds"].values()))
        self.assertEqual(list(made["drift"]), [feature["name"] for feature in made["features"]])
        self.assertTrue(all(len(edges) == 9 and edges == sorted(edges) for edges in [*made["drift"].values(), made["scores"]]))
        self.assertEqual(made["model"]["sha256"], hashlib.sha256(content).hexdigest())
        x = np.array([golden["row"] for golden in made["golden"]], dtype=np.float32)
        session = manifest.session(content)
        given = session.run(["probabilities", "anomaly"], {"features": x})
        for golden, probabilities, anomaly in zip(made["golden"], *given):
            np.testing.assert_allclose(golden["probabilities"], probabilities, atol=1e-6)
            self.assertAlmostEqual(sum(golden["probabilities"]), 1, places=5)
            self.assertAlmostEqual(golden["anomaly"], float(anomaly[0]), places=6)
            self.assertTrue(0 <= golden["anomaly"] <= 1)
        self.assertEqual(session.get_inputs()[0].shape[0], "batch")


    def test_flows_of_each_family_where_several_may_be_needed(self):
        with tempfile.TemporaryDirectory() as folder:
            Training().made(folder, need=3, of_layer=True)
            with open(f"{folder}/small.json") as text:
                made = json.load(text)
        self.assertEqual(set(made["flows"]), set(made["thresholds"]))
        self.assertTrue(all(1 <= flows <= 3 for flows in made["flows"].values()))


class Unusual(unittest.TestCase):
    def test_a_layer_tells_what_is_unlike_the_rows_it_was_computed_from(self):
        rng = np.random.default_rng(4)
        usual = (rng.normal(0, 1, (4000, 2)) @ rng.normal(0, 1, (2, 12)) + rng.normal(0, 0.05, (4000, 12))).astype(np.float32)
        classifier = net.Network(rng, (12, 24, 3), usual.mean(0), np.ones(12))
        layer = net.Layer(classifier, usual, np.full(len(usual), 1 / len(usual)), 8)
        strange = usual[:, rng.permutation(12)]
        self.assertGreater(np.median(layer.errors(strange)), np.quantile(layer.errors(usual), 0.99))
        self.assertLess(float((layer.errors(usual) ** 2).mean()), 1.05, "in deviations")


class Elsewhere(unittest.TestCase):
    def test_answers_over_udp_change_and_others_do_not(self):
        columns = dataset.SCHEMAS["flow"][2]
        at = {name: index for index, name in enumerate(columns)}
        x = np.full((400, len(columns)), 3, dtype=np.float32)
        x[:, at["packets_in"]], x[:, at["bytes_in"]] = np.log1p(1), np.log1p(200)
        x[:200, at["udp"]], x[200:, at["udp"]] = 1, 0
        moved = augment.Elsewhere(columns)(np.random.default_rng(5), x)
        changed = moved[:, at["first_payload_in"]] != x[:, at["first_payload_in"]]
        self.assertTrue(60 < changed[:200].sum() < 140)
        self.assertFalse(changed[200:].any())
        self.assertTrue((np.abs(moved - x)[:, at["payload_in"]] <= augment.LONGER + 1e-5).all())
        grown = np.expm1(moved[changed, at["bytes_in"]]) - 200
        np.testing.assert_allclose(grown, (np.expm1(moved[changed, at["payload_in"]]) - np.expm1(3)), atol=0.01)


class Calibration(unittest.TestCase):
    def test_temperature_takes_back_what_was_sharpened(self):
        rng = np.random.default_rng(3)
        logits = rng.normal(0, 1.5, (20_000, 4))
        p = net.softmax(logits)
        target = (rng.random((len(p), 1)) > p.cumsum(1)).sum(1).clip(0, 3)
        weight = np.ones(len(p))
        found = calibrate.temperature(logits * 3, target, weight)
        self.assertAlmostEqual(found, 3, delta=0.15)
        error = lambda some: calibrate.reliability(some.max(1), some.argmax(1) == target, weight)[1]
        self.assertLess(error(net.softmax(logits * 3 / found)), 0.02)
        self.assertGreater(error(net.softmax(logits * 3)), 0.1)

    def test_ranks_are_the_share_below(self):
        errors = np.random.default_rng(4).lognormal(0, 1, 5000)
        knots = calibrate.ranks(errors)
        for share in (0.3, 0.8, 0.97):
            self.assertAlmostEqual(float(np.interp(np.quantile(errors, share), *knots)), share, delta=0.05)
        self.assertEqual(float(np.interp(errors.max() * 2, *knots)), 1.0)

    def test_one_long_flow_is_enough_where_validation_says_so(self):
        some = rows(7, 4, count=400)
        scan, flood = (some.family == FAMILIES.index(name) for name in ("scan", "flood"))
        some.flow[scan] = some.event[scan]
        some.host[:] = np.where(some.event >= 0, some.event, some.host)
        p = np.zeros((len(some), 3))
        p[np.arange(len(some)), np.where(scan, 1, np.where(flood, 2, 0))] = 1
        limits = {need: {"scan": 0.5, "flood": 0.5} for need in (1, 2, 3)}
        self.assertEqual(calibrate.fewest(["benign", "scan", "flood"], limits, some, p), {"scan": 1, "flood": 3})

    def test_a_threshold_keeps_its_budget(self):
        benign = rows(5, 4, count=4000)
        benign = benign.where(benign.family == 0)
        p = np.random.default_rng(5).random(len(benign))
        probabilities = np.stack([1 - p, p], axis=1)
        for allowed in (0, 3, 10):
            limit = calibrate.thresholds(["benign", "scan"], [(benign, probabilities, allowed)], 3)["scan"]
            edges = calibrate.alert_edges(benign, p, 3)
            self.assertLessEqual((edges >= limit).sum(), allowed)

    def test_alerts_count_flows_and_not_rows(self):
        one = rows(6, 4, count=8).where(np.arange(4))
        one.host[:], one.time[:], one.flow[:] = 1, 0, [1, 1, 1, 2]
        self.assertEqual(len(calibrate.alert_edges(one, np.array([0.9, 0.8, 0.7, 0.6]), 3)), 0)
        np.testing.assert_array_equal(calibrate.alert_edges(one, np.array([0.9, 0.8, 0.7, 0.6]), 2), [0.6])


class Logs(unittest.TestCase):
    def test_more_of_what_may_only_rise_never_lowers_the_score(self):
        spec, data = small("log", logs.RISING, True)
        with tempfile.TemporaryDirectory() as folder:
            model = train.fit(spec, data, f"{folder}/state", "small")
        content = graph.build(model.classifier, model.temperature, model.autoencoder, model.ranks, "small", True)
        session = manifest.session(content)
        score = lambda x: 1 - session.run(["probabilities"], {"features": x.astype(np.float32)})[0][:, 0]
        rng = np.random.default_rng(8)
        for name in ("login_attempts", "failed_logins", "distinct_users"):
            at = logs.NAMES.index(name)
            self.assertIn(at, logs.RISING)
            x = rng.uniform(0, 50, (500, len(logs.NAMES)))
            before = score(x)
            for more in (1, 10, 1000, 1e6):
                x[:, at] += more
                after = score(x)
                self.assertTrue((after >= before - 1e-6).all(), f"{name} by {more} lowers a score")
                before = after
        self.assertGreater(score(np.full((1, len(logs.NAMES)), 40.0))[0], score(np.zeros((1, len(logs.NAMES))))[0])

    def test_entries_of_a_conversation(self):
        from capture import ACK, TCP, Packet
        reader = logs.Reader()
        client, server = (b"\x0a\0\0\1", 4000), (b"\x0a\0\0\2", 80)
        say = lambda time, source, target, data: (source, Packet(time, TCP, source, target, 100, len(data), data, ACK))
        ends = {client: server, server: client}
        talk = [(0, client, b"GET /a?x='1 HTTP/1.1\r\nHost: h\r\nUser-Agent: one\r\n\r\n"),
                (2_000_000, server, b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n"),
                (3_000_000, client, b"POST /login HTTP/1.1\r\nUser-Agent: two\r\n\r\nuser=eve&password=1 "),
                (5_000_000, server, b"HTTP/1.1 401 No\r\n\r\n")]
        for time, source, data in talk:
            packet = say(time, source, ends[source], data)[1]
            asked = reader.asked.get((packet.target, packet.source))
            reader.answer(packet, asked) if source == server else reader.ask(packet, (packet.source, packet.target))
        row = dict(zip(logs.NAMES, reader.minutes[(0, client[0])].row()))
        wanted = {"request_rate": 2, "error_rate": 1, "login_attempts": 1, "failed_logins": 1, "distinct_users": 1,
                  "distinct_paths": 2, "not_found_rate": 0.5, "bytes_out": 10, "mean_latency_ms": 2, "user_agent_changes": 1,
                  "post_share": 0.5, "query_longest": 4, "encoded_share": 0.5}
        self.assertEqual({name: row[name] for name in wanted}, wanted)


class Transfer(unittest.TestCase):
    """One source teaches, another is judged on."""

    def captures(self, width):
        of = lambda seed, family, source, split: transfer.Capture(f"{source}/{seed}", source, family, split, self.one(seed, width, family))
        return [*(of(seed, FAMILIES.index("scan"), source, None) for source, first in (("a/a", 10), ("b/b", 20)) for seed in range(first, first + 8)),
                *(of(seed, 0, source, split) for seed, (source, split) in
                  enumerate([("a/a", "learn"), ("a/a", "check"), ("b/b", "learn"), ("b/b", "check"), ("b/b", "test"), ("c/c", "learn")], 30))]

    def one(self, seed, width, family):
        part = rows(seed, width, number=train.OTHERS_NUMBER + seed)
        part = part.where(part.family == family)
        part.host[:] += np.int64(train.OTHERS_NUMBER + seed) << 32
        return part

    def test_what_is_left_out_teaches_nothing_and_validates_nothing(self):
        _, lab = small("flow")
        captures = self.captures(lab.learn.x.shape[1])
        hosts = lambda *sources: {int(host) for one in captures if one.source in sources for host in one.rows.host}
        for source in ("a/a", "b/b", transfer.LABORATORY):
            data = transfer.left_out(lab, captures, source)
            used = {int(host) for part in (data.learn, data.check, data.others_check) for host in part.host}
            self.assertFalse(used & hosts(source), source)
            self.assertTrue(used & hosts(*{"a/a", "b/b"} - {source}), source)
            self.assertEqual(bool(used & {int(host) for host in lab.learn.host}), source != transfer.LABORATORY)
            self.assertFalse({int(host) for host in data.learn.host} & {int(host) for host in data.others_check.host})
        self.assertEqual(transfer.sources_of(captures), [transfer.LABORATORY, "a/a", "b/b"], "c/c has one capture")

    def test_others_teach_what_the_laboratory_is_judged_on(self):
        spec, lab = small("flow", need=3)
        captures = self.captures(lab.learn.x.shape[1])
        with tempfile.TemporaryDirectory() as work:
            data = transfer.left_out(lab, captures, transfer.LABORATORY)
            model = train.fit(spec, data, f"{work}/state", "others")
        self.assertEqual(model.names, ["benign", "scan"])
        found = transfer.judged(model, transfer.cases_of(lab, captures, transfer.LABORATORY))
        self.assertEqual((found["attacks"], found["families"]["scan"][0], found["families"]["flood"][0]), (10, 5, 5))
        self.assertEqual(found["families"]["scan"], [5, 5, 5])
        self.assertEqual(found["families"]["flood"][2], 0, "what it never learnt it does not name")
        self.assertLess(found["alarmed"], found["honest"] / 4)

    def test_an_alert_takes_the_flows_that_the_model_says(self):
        some = rows(7, 4, count=8).where(np.arange(4))
        some.host[:], some.flow[:] = 1, [1, 1, 2, 3]
        model = types.SimpleNamespace(names=["benign", "scan"], thresholds={"scan": 0.5}, needs={}, spec=types.SimpleNamespace(need=3),
                                      probabilities=lambda some: np.full((len(some), 2), 0.5))
        self.assertEqual(transfer.told(model, some), {"scan"})
        some.flow[:] = [1, 1, 2, 2]
        self.assertEqual(transfer.told(model, some), set())
        self.assertEqual(transfer.judged(model, [(0, some), (FAMILIES.index("scan"), some)]),
                         {"attacks": 1, "found": 0, "named": 0, "honest": 1, "alarmed": 0, "families": {"scan": [1, 0, 0]}})

    def test_a_capture_s_source_is_its_repository(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/MANIFEST.tsv", "w") as out:
                out.write("path\tsource\tlicence\nattack/scan/x.pcap\tgithub:owner/name:x.pcap@1234\tMIT\nbenign/y.pcap\tdebian:ndpi 4.2\t\n")
            self.assertEqual(transfer.repositories(f"{folder}/MANIFEST.tsv"), {"attack/scan/x.pcap": "owner/name", "benign/y.pcap": "ndpi 4.2"})


class Stages(unittest.TestCase):
    def test_made_once_for_the_same_inputs(self):
        with tempfile.TemporaryDirectory() as folder:
            made = []

            def work(part):
                made.append(part)
                with open(part, "w") as out:
                    out.write("x")

            told = [stages.make(f"{folder}/out", stages.digest(inputs), work) for inputs in ("a", "a", "b", "b")]
            self.assertEqual((told, len(made)), ([True, False, True, False], 2))

    def test_a_window_is_the_attack_s_where_a_tenth_of_its_flows_are(self):
        window = {"flows": 20, "bytes": 1000, "attacks": {(1, 5): [2, 10]}, "victim": False}
        self.assertEqual(dataset.judge(window, 0.1, 0.5), (1, 5, False))
        self.assertEqual(dataset.judge({**window, "flows": 21}, 0.1, 0.5), (-1, -1, False))
        self.assertEqual(dataset.judge({**window, "flows": 21, "bytes": 15}, 0.1, 0.5), (1, 5, False))
        self.assertEqual(dataset.judge({**window, "attacks": {}, "victim": True}, 0.1, 0.5), (0, -1, True))


if __name__ == "__main__":
    unittest.main()
