"""What the evaluation's tables promise: which runs false alerts are told of, who the last time was, what is held out of whom."""

import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import evaluate  # noqa: E402
import evaluate_new  # noqa: E402
import tables  # noqa: E402


def run(rate, days=1.0):
    severities = ("high", "medium", "low", "info")
    return {"host_days": days, "per_host_day": dict.fromkeys(severities, rate), "bound_95": dict.fromkeys(severities, rate + 1),
            "per_million_flows": dict.fromkeys(severities, rate * 10)}


class FalseAlerts(unittest.TestCase):
    def test_are_told_of_the_honest_hour_and_of_held_out_models_first(self):
        origins = {"lab": run(9), "warped": run(1)}
        told = lambda hour: evaluate.rates(origins, hour)
        self.assertEqual(told({})["false_alerts_of"], "recordings with attacks")
        self.assertEqual(told({})["false_alerts_per_host_day"]["high"], 9)
        hour = {"detectors": run(2), "shipped": run(3)}
        self.assertEqual((told(hour)["false_alerts_of"], told(hour)["bound_95"]["low"]), ("an honest hour", 4))
        self.assertEqual(told({**hour, "folds": run(5)})["false_alerts_per_million_flows"]["info"], 50)

    def test_of_made_days_stand_apart(self):
        told = evaluate.rates({"lab": run(9), "warped": run(1)}, {})
        self.assertEqual(told["warped"]["false_alerts_per_host_day"]["high"], 1)
        self.assertNotIn("warped", evaluate.rates({"lab": run(9)}, {}))


class Scope(unittest.TestCase):
    def test_a_tool_of_no_fold_goes_with_the_first(self):
        with tempfile.TemporaryDirectory() as folder:
            for number, held in enumerate([{"scan": ["nmap"]}, {"scan": ["masscan"]}]):
                os.makedirs(f"{folder}/folds/{number}")
                with open(f"{folder}/folds/{number}/held-out.json", "w") as out:
                    json.dump(held, out)
            for name, tools in (("001", ["nmap", "arpspoof"]), ("005", ["masscan"])):
                os.makedirs(f"{folder}/recordings/{name}")
                episodes = [{"tool": tool, "family": "arp_spoofing" if tool == "arpspoof" else "scan", "counts_as": "attack"} for tool in tools]
                with open(f"{folder}/recordings/{name}/labels.json", "w") as out:
                    json.dump({"episodes": episodes}, out)
            held = lambda number: evaluate.held_tools(f"{folder}/recordings", f"{folder}/folds/{number}/held-out.json")
            self.assertEqual(held(0), {"scan": ["nmap"], "arp_spoofing": ["arpspoof"]})
            self.assertEqual(held(1), {"scan": ["masscan"]})
            self.assertEqual(evaluate.tested(f"{folder}/recordings"), ["005"])


class New(unittest.TestCase):
    def test_the_last_time_is_another_set_of_recordings(self):
        document = {"commit": "b", "recordings": ["224"], "families": 1, "false_alerts": 2, "effort": 3,
                    "before": {"commit": "a", "recordings": ["200"], "families": 4, "false_alerts": 5}}
        self.assertEqual(evaluate_new.before_of(document, ["224"])["commit"], "a", "the same recordings once more")
        self.assertEqual(evaluate_new.before_of(document, ["300"]), {"commit": "b", "recordings": ["224"], "families": 1, "false_alerts": 2})


class Goals(unittest.TestCase):
    def test_a_goal_is_reached_by_its_rate_and_by_thirty_episodes(self):
        self.assertEqual(tables.verdict(1.0, 37, 0.98), "1.000 of 37: reached")
        self.assertEqual(tables.verdict(45 / 46, 46, 0.98), "0.978 of 46")
        self.assertEqual(tables.verdict(1.0, 22, 0.98), "1.000 of 22, too few to claim")
        self.assertEqual(tables.verdict(None, 0, 0.98), "-")

    def test_each_family_has_a_line(self):
        run = {"families": {"scan": {"episodes": 41, "recall": 39 / 41}, "beacon": {"episodes": 0, "recall": None}},
               "without_family": {"scan": {"caught_by_any": 0.95, "episodes": 41}}}
        self.assertEqual(list(tables.goals(run))[2:], ["| scan | 0.951 of 41 | 0.950 of 41: reached |"])


class Transfer(unittest.TestCase):
    def test_its_table_has_a_line_a_source_and_says_what_was_not_asked(self):
        one = lambda found: {"attacks": 9, "found": found, "named": found - 1, "honest": 4, "alarmed": 1, "families": {"scan": [9, found, found - 1]}}
        sources = {"laboratory": {"all_but_it": one(3), "laboratory": None, "trees": one(5)},
                   "owner/name": {"all_but_it": one(6), "laboratory": one(7), "trees": one(8)}}
        lines = list(tables.transfer({"what": "a network", "sources": sources}))
        self.assertIn("| laboratory | - | 3 of 9 | 5 of 9 | - | 1 of 4 | 1 of 4 |", lines)
        self.assertIn("| owner/name | 7 of 9 | 6 of 9 | 8 of 9 | 1 of 4 | 1 of 4 | 1 of 4 |", lines)
        self.assertIn("| scan | 7 of 9 | 3 of 9 |", lines)
        none = {**one(0), "attacks": 0, "named": 0}
        lines = list(tables.transfer({"what": "a network", "sources": {"honest/only": {name: none for name in ("all_but_it", "laboratory", "trees")}}}))
        self.assertIn("| honest/only | - | - | - | 1 of 4 | 1 of 4 | 1 of 4 |", lines, "of no captures there is no share")


if __name__ == "__main__":
    unittest.main()
