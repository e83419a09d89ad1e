"""What hours of many honest hosts promise: a network that has room for them, kinds that do everything there is to do, a capture
that is cut as it comes, and a machine left as it was."""

import ipaddress
import os
import pickle
import random
import subprocess
import sys
import tempfile
import types
import unittest

from test_lab import LAB, SMALL, programs_missing

import flows
import honest
import labels
import office
import pcap
import rewrite
from honest.standing import STANDING
from topology import Network


class Office(unittest.TestCase):
    def test_addresses_are_of_one_private_network_and_of_one_host_each(self):
        for clients, length in ((0, 24), (100, 24), (101, 23), (740, 21), (980, 20)):
            for seed in range(20):
                network = Network(random.Random(seed), clients)
                self.assertEqual(network.prefix.prefixlen, length, clients)
                self.assertTrue(network.prefix.is_private)
                self.assertEqual(str(network.prefix[0]), f"{network.subnet}.0")
                found = [network.inside_address() for _ in range(max(200, clients + 60))]
                self.assertEqual(len(set(found)), len(found))
                for address in map(ipaddress.ip_address, found):
                    self.assertIn(address, network.prefix)
                    self.assertNotIn(address.packed[3], (0, 255))

    def test_days_know_who_was_inside_of_a_larger_network(self):
        cases = [("10.7.96.3", True), ("10.7.103.9", True), ("10.7.103.255", False), ("10.7.104.3", False), ("fd00::1", False)]
        for address, inside in cases:
            self.assertEqual(rewrite.Rewriter("10.1").within(address, "10.7.96.0/21"), inside, address)

    def test_every_habit_is_somebodys_and_every_kind_has_hosts(self):
        known = {habit.name for habit in honest.HABITS}
        self.assertEqual({name for kind in office.KINDS for name in kind.likes}, known)
        self.assertEqual({name for kind in office.KINDS for name in kind.keeps}, {habit.name for habit in STANDING})
        self.assertEqual(known & {habit.name for habit in STANDING}, set())
        self.assertAlmostEqual(sum(kind.share for kind in office.KINDS), 1)
        for habit in STANDING:
            self.assertIn(habit.tool, honest.TOOLS, habit.name)
        for count in (1, 4, 5, 30, 740):
            kinds = office.kinds_of(count, random.Random(1))
            self.assertEqual(len(kinds), count)
            self.assertEqual(len({kind.name for kind in kinds}), min(count, len(office.KINDS)))
        for kind in office.KINDS:
            self.assertLess(abs(kinds.count(kind) / len(kinds) - kind.share), 0.02, kind.name)

    def test_what_moves_much_is_rare(self):
        bulk = {"stream", "video", "bulk", "web_download", "software_download", "rsync_pull", "rsync_backup", "tar_backup", "restic_backup",
                "mysql_dump", "scp_copy"}
        share = sum(kind.share * sum(weight for name, weight in kind.likes.items() if name in bulk) / sum(kind.likes.values())
                    for kind in office.KINDS)
        self.assertTrue(0.005 < share < 0.05, share)

    def test_no_wait_is_longer_than_a_silence_that_is_cut(self):
        recording = types.SimpleNamespace(may=honest.HABITS)
        for think_s in (office.THINK_S, 5):
            self.assertLess(office.Office(recording, think_s).longest_s, flows.IDLE_NS / 1e9)

    def test_the_machines_tables_are_raised_and_put_back(self):
        names = [*(f"net/{family}/neigh/default/gc_thresh{number}" for family in ("ipv4", "ipv6") for number in (1, 2, 3)),
                 "net/core/netdev_max_backlog"]
        with tempfile.TemporaryDirectory() as place:
            def content():
                found = []
                for name in names:
                    with open(f"{place}/{name}") as text:
                        found.append(int(text.read()))
                return found

            for number, name in enumerate(names):
                os.makedirs(os.path.dirname(f"{place}/{name}"), exist_ok=True)
                with open(f"{place}/{name}", "w") as out:
                    out.write(f"{10_000_000 if number == 4 else 128 << number}\n")
            before = content()
            with self.assertRaises(ZeroDivisionError), office.roomy(740, place):
                raised = content()
                1 / 0
            self.assertEqual(content(), before)
            self.assertEqual(raised[4], before[4], "lowered")
            for number, least in ((2, 740 * 20 * 4), (5, 740 * 20 * 4), (6, 740 * 4)):
                self.assertGreaterEqual(raised[number], least, names[number])

    def test_a_capture_that_is_cut_as_it_comes_is_what_is_cut_afterwards(self):
        with tempfile.TemporaryDirectory() as place:
            whole = f"{SMALL}/037/traffic.pcap"
            with open(f"{place}/tcpdump", "w") as out:
                out.write(f"#!/bin/sh\necho 'tcpdump: listening on x' >&2\ncat {whole}\necho '7 packets dropped by kernel' >&2\n")
            os.chmod(f"{place}/tcpdump", 0o755)
            subprocess.run([sys.executable, f"{LAB}/trim.py", "x", place], check=True, env={**os.environ, "PATH": f"{place}:/usr/bin:/bin"})
            wanted = flows.trim(whole, f"{place}/wanted")
            with open(f"{place}/flows.part", "rb") as text:
                found, lost = pickle.load(text)
            self.assertEqual(lost, 7)
            self.assertEqual([(one.community_id(), one.start, one.packets, one.bytes) for one in found],
                             [(one.community_id(), one.start, one.packets, one.bytes) for one in wanted])
            self.assertEqual(list(pcap.read(f"{place}/traffic.part")), list(pcap.read(f"{place}/wanted")))

    def test_attackers_are_not_for_an_office(self):
        for words in (["--clients", "5"], ["--clients", "5", "--benign-only", "--each"], ["--clients", "2000", "--benign-only"]):
            outcome = subprocess.run([sys.executable, f"{LAB}/record.py", "--out", "/nowhere", *words], capture_output=True, text=True)
            self.assertEqual(outcome.returncode, 2, words)
            self.assertIn("--clients takes 1 to", outcome.stderr)


@unittest.skipUnless(os.environ.get("SHRIKE_LAB_LIVE") and os.geteuid() == 0 and not programs_missing(),
                     "needs root, the lab's packages and SHRIKE_LAB_LIVE")
class Recording(unittest.TestCase):
    def test_an_office_is_honest_and_labelled_whole(self):
        with tempfile.TemporaryDirectory() as place:
            out = f"{place}/1"
            subprocess.run([sys.executable, f"{LAB}/record.py", "--seed", "5", "--seconds", "15", "--benign-only", "--clients", "110",
                            "--think", "5", "--habits", "dns_single,web_get,ntp", "--out", out], check=True, capture_output=True, timeout=500)
            content, rows = labels.read(out), list(labels.read_flows(out))
            self.assertEqual(sorted(os.listdir(out)), ["flows.csv", "labels.json", "traffic.pcap", "trouble.txt"])
            self.assertTrue(content.subnet.endswith("/23"), content.subnet)
            self.assertEqual({row["label"] for row in rows}, {"benign", "background"})
            self.assertEqual([row for row in rows if row["label"] == "background" and row["cause"] not in labels.BACKGROUND], [])
            self.assertEqual({one.counts_as for one in content.episodes}, {"benign"})
            # As on a wire: no host hands its card more than fits into a frame.
            self.assertLessEqual(max(length for _, _, length in pcap.read(f"{out}/traffic.pcap")), 1514)
            clients = {host.address for host in content.hosts if host.role == "client"}
            self.assertEqual(len(clients), 110)
            self.assertGreater(len(clients & {row["source"] for row in rows if row["label"] == "benign"}), 90)


if __name__ == "__main__":
    unittest.main()
