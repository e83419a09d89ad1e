"""What the lab promises: labels that cover every flow, a registry with several tools a family, days that are the same bytes
for the same seed. `python3 -m unittest discover models/lab/tests`; the recording itself needs root and the packages.
"""

import collections
import contextlib
import hashlib
import io
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.dirname(HERE)
SMALL = f"{HERE}/small"
sys.path[:0] = [LAB, f"{LAB}/../../ci"]

import actor
import check
import effort
import flows
import honest
import hours
import labels
import pcap
import record
import rewrite
from attacks import TOOLS, WAYS

PROGRAMS = ["ip", "tcpdump", "ethtool", "nginx", "sshd", "dnsmasq", "smbd", "postfix", "dovecot", "mariadbd", "vsftpd", "chronyd",
            "unbound", "redis-server", "memcached", "mosquitto", "snmpd", "iperf3", "dig", "curl"]


def programs_missing():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


def below(pid):
    """Every process that this one started, directly or not."""
    found = []
    for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split():
        found += [child, *below(child)]
    return found


def frame(source, target, protocol, body, mac=b"\x02\0\0\0\0\x01"):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, socket.inet_aton(source),
                       socket.inet_aton(target))
    return b"\x02\0\0\0\0\x09" + mac + b"\x08\x00" + head[:10] + struct.pack("!H", pcap.checksum(head)) + head[12:] + body


class Flows(unittest.TestCase):
    def test_community_ids_are_those_of_the_specification(self):
        # Vectors of the Community ID specification's baseline.
        cases = [("128.232.110.120", "66.35.250.204", 6, 34855, 80, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
                 ("66.35.250.204", "128.232.110.120", 6, 80, 34855, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
                 ("192.168.1.52", "8.8.8.8", 17, 54585, 53, 0, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
                 ("192.168.0.89", "192.168.0.1", 1, 8, 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=")]
        for source, target, protocol, sport, dport, kind, wanted in cases:
            flow = flows.Flow()
            flow.protocol, flow.source, flow.target = protocol, socket.inet_aton(source), socket.inet_aton(target)
            flow.sport, flow.dport, flow.kind = sport, dport, kind
            self.assertEqual(flow.community_id(), wanted, source)

    def test_a_flow_ends_where_its_host_turns_to_something_else(self):
        mac = b"\x02\0\0\0\0\x01"
        packet = pcap.parse(frame("10.0.0.1", "10.0.0.2", 17, struct.pack("!HHHH", 67, 68, 8, 0), mac))
        for turns, wanted in (({}, 1), ({mac: [0, 5_000]}, 2), ({b"\x02\0\0\0\0\x07": [0, 5_000]}, 1)):
            table = flows.Table(turns)
            for time_ns in (1_000, 4_000, 6_000):
                table.add(packet, time_ns, 60)
            self.assertEqual(len(table.flows), wanted, turns)

    def test_heads_of_late_messages_are_kept_whole(self):
        ends = ("10.0.0.1", 4000), ("10.0.0.2", 80)
        sent = [side for _ in range(3) for side in [0] + [1] * 30]  # three requests, each answered in thirty segments
        with tempfile.TemporaryDirectory() as out:
            writer = pcap.Writer(f"{out}/raw")
            for number, side in enumerate(sent):
                (source, sport), (target, dport) = ends[side], ends[1 - side]
                body = struct.pack("!HHIIBBHHH", sport, dport, 0, 0, 0x50, 16, 0, 0, 0) + bytes(1000)
                segment = frame(source, target, 6, body)
                writer.write(number * 1_000_000, segment, len(segment))
            writer.close()
            flows.trim(f"{out}/raw", f"{out}/cut")
            kept = [len(data) == length for _, data, length in pcap.read(f"{out}/cut")]
        turn = [True] * 17 + [False] * 14
        self.assertEqual(kept, [True] * 40 + turn[9:] + turn)

    def test_frames_of_any_bytes_are_read_or_refused(self):
        whole = frame("10.0.0.1", "10.0.0.2", 6, bytes(40))
        for size in range(len(whole)):
            pcap.parse(whole[:size])
        for number in range(2000):
            pcap.parse(hashlib.sha256(str(number).encode()).digest() * 3)


class Registry(unittest.TestCase):
    def test_every_family_has_several_tools(self):
        tools = collections.defaultdict(set)
        for way in WAYS:
            tools[way.family].add(way.tool)
        self.assertEqual(sorted(tools), sorted(labels.FAMILIES))
        self.assertEqual({family: found for family, found in tools.items() if len(found) < 3}, {})

    def test_every_program_is_of_a_package_that_is_installed(self):
        with open(f"{LAB}/packages.txt") as text:
            packages = text.read().split()
        self.assertEqual(packages, sorted(set(packages)))
        with open(f"{LAB}/../../ci/install-packages.sh") as text:
            packages += text.read().split()
        for tool in {*(way.tool for way in WAYS), *(habit.tool for habit in honest.HABITS)}:
            package = {**honest.TOOLS, **TOOLS}.get(tool)
            self.assertIsNotNone(package, f"{tool} is in no table of tools")
            if package not in (actor.OURS, actor.PYPI):
                self.assertIn(package, packages, tool)

    def test_thirty_six_recordings_have_thirty_episodes_of_each_family(self):
        order = record.order_of({(way.family, way.tool) for way in WAYS})
        families, pairs = collections.Counter(), collections.Counter()
        for seed in range(1, 37):
            at = seed * record.STRIDE % len(order)
            for family, tool in (order[at:] + order[:at])[:22 if seed % 4 else 0]:
                families[family] += 1
                pairs[family, tool] += 1
        self.assertEqual(sorted(families), sorted(labels.FAMILIES))
        self.assertGreaterEqual(min(families.values()), 30, families)
        self.assertEqual(set(pairs), {(way.family, way.tool) for way in WAYS})

    def test_habits_have_names_of_their_own(self):
        names = [habit.name for habit in honest.HABITS]
        self.assertEqual(len(names), len(set(names)))


class Clock:
    """Time that moves by hand, in the place of the module `time`."""

    now = 100.0

    def monotonic(self):
        return self.now


class Program:
    status = None

    def poll(self):
        return self.status


class Time(unittest.TestCase):
    """Interpreters start slowly on a busy machine; an episode's time is that of its frames."""

    def setUp(self):
        self.clock, self.frames, self.before = Clock(), 0, (actor.time, actor.frames_sent)
        actor.time, actor.frames_sent = self.clock, lambda: self.frames
        recording = types.SimpleNamespace(over=threading.Event(), network=types.SimpleNamespace(subnet=""), dead=[], share_v6=0)
        self.act = actor.Actor(None, recording, 1)
        self.act.until, self.program = 110.0, Program()
        self.act.silent = self.program, 100.0

    def tearDown(self):
        actor.time, actor.frames_sent = self.before

    def test_it_runs_from_the_first_frames_on(self):
        for now, frames, until, over in ((130, 23, 110, False), (140, 24, 150, False), (149, 29, 150, False), (150, 29, 150, True)):
            self.clock.now, self.frames = now, frames
            self.assertEqual((self.act.over(), self.act.until), (over, until), now)

    def test_what_a_socket_begins_is_no_kernels_word(self):
        counted = self.before[1]
        before = counted()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            one.sendto(b"hello", one.getsockname())
        self.assertGreaterEqual(counted() - before, actor.FEW_FRAMES)

    def test_patience_is_for_all_programs_together(self):
        self.clock.now = 100 + actor.PATIENCE_S
        self.assertFalse(self.act.over())
        self.act.silent = self.program, self.clock.now
        self.clock.now += 10
        self.assertTrue(self.act.over())

    def test_nobody_waits_for_a_program_that_is_gone_nor_behind_the_end(self):
        self.clock.now, self.program.status = 112, 1
        self.assertEqual((self.act.over(), self.act.until), (False, 122))
        self.act.silent = Program(), 112.0
        self.act.recording.over.set()
        self.assertTrue(self.act.over())


class Labels(unittest.TestCase):
    def judge(self, role="client", **more):
        hosts = [labels.HostEntry("h0", role, "10.0.0.1", "fd::1", "02:00:00:00:00:01", True)]
        words = {"id": 0, "counts_as": "attack", "family": "scan", "tool": "nmap", "version": "1", "variant": {"way": "ports"},
                 "command": "", "sources": ["10.0.0.1"], "macs": ["02:00:00:00:00:01"], "targets": [], "start_ns": 10**10,
                 "end_ns": 2 * 10**10, "peers": ["10.0.0.2"]} | more
        return labels.Judge(hosts, [labels.Episode(**words)], 0, 10**11)

    def verdict(self, judge, at, target="10.0.0.2", mac=1, protocol=17, body=struct.pack("!HHHH", 4000, 53, 8, 0)):
        packet = pcap.parse(frame("10.0.0.1", target, protocol, body, b"\x02\0\0\0\0" + bytes([mac])))
        return judge.judge(flows.Table().add(packet, at, 60))

    def test_a_flow_is_what_its_sender_was_started_for(self):
        cases = [("client", 15, "10.0.0.2", 1, "attack"), ("client", 15, "10.0.0.3", 1, "background"),
                 ("client", 5, "10.0.0.2", 1, "background"), ("client", 60, "10.0.0.2", 1, "background"),
                 ("attacker", 15, "10.0.0.3", 1, "attack"), ("attacker", 15, "10.0.0.3", 7, "background")]
        for role, second, target, mac, wanted in cases:
            found = self.verdict(self.judge(role), second * 10**9, target, mac)
            self.assertEqual(found[0], wanted, (role, second, target, mac))
        self.assertEqual(self.verdict(self.judge("attacker"), 15 * 10**9, mac=7)[3], "unexplained")
        forged = self.judge("attacker", forged_macs=True)
        self.assertEqual(self.verdict(forged, 15 * 10**9, mac=7)[0], "attack")

    def test_what_breaks_the_format_is_refused(self):
        for change in ({"counts_as": "odd"}, {"family": "odd"}, {"end_ns": 1}, {"variant": {}}, {"sources": []}):
            with self.assertRaises(labels.LabelError, msg=change):
                for episode in self.judge(**change).of_host["02:00:00:00:00:01"]:
                    episode.check()

    def test_the_small_recording_is_labelled_whole(self):
        found, others = flows.of_capture(f"{SMALL}/037/traffic.pcap")
        rows = list(labels.read_flows(f"{SMALL}/037"))
        content = labels.read(f"{SMALL}/037")
        self.assertEqual((len(found), others), (len(rows), 0))
        for flow, row in zip(found, rows):
            self.assertEqual((flow.community_id(), flow.packets), (row["community_id"], row["packets"]))
        strange = [row for row in rows if row["label"] == "background" and row["cause"] not in labels.BACKGROUND]
        self.assertEqual(strange, [])
        self.assertGreaterEqual(len({row["family"] for row in rows if row["label"] == "attack"}), 4)
        for row in rows:
            if row["label"] == "attack":
                self.assertEqual(content.episodes[row["episode"]].family, row["family"])


class Effort(unittest.TestCase):
    def test_episodes_are_told_apart_by_how_much_they_did(self):
        def flow(number, **more):
            return {"protocol": "6", "target": "10.0.0.2", "target_port": number, "start_ns": 0, "end_ns": 2_000_000_000, "packets": 300,
                    "answers": 100, **more}

        same, ports = [flow(22) for _ in range(7)], [flow(number) for number in range(20)]
        self.assertEqual((effort.connections(same), effort.connections(ports)), (7, 1))
        self.assertEqual((effort.contacts(same), effort.contacts(ports)), (1, 20))
        self.assertEqual((effort.rate(same), effort.rate([])), (700, 0))
        classes = effort.by_effort(SMALL, {"captures": [{"name": "037", "episodes": [
            {"id": 21, "family": "scan", "found": {}}, {"id": 22, "family": "scan"}, {"id": 23, "family": "beacon"},
            {"id": 24, "family": "scan", "uncounted": "no packet"}]}]})["scan"]["classes"]
        self.assertEqual(sum(of for _, _, of in classes), 2)


class Check(unittest.TestCase):
    def test_an_episode_without_a_flow_is_told_with_its_reason(self):
        with tempfile.TemporaryDirectory() as place:
            shutil.copytree(f"{SMALL}/037", f"{place}/037")
            content = labels.read(f"{place}/037")
            attacks = [one for one in content.episodes if one.counts_as == "attack"]
            attacks[0].flows, attacks[0].outcome = 0, "exit 3, sent nothing"
            labels.write(content, f"{place}/037")
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                check.table(place)
        self.assertIn(f"/037 #{attacks[0].id} {attacks[0].family}/", said.getvalue())
        self.assertIn(": exit 3, sent nothing\n", said.getvalue())
        self.assertIn(f"\n{len(attacks)} episodes,", said.getvalue())
        self.assertIn(" 0 flows without a label", said.getvalue())


class Days(unittest.TestCase):
    def warp(self, out, *more, hashes="0"):
        subprocess.run([sys.executable, f"{LAB}/warp.py", SMALL, "--out", out, "--flows-per-day", "4000", "--hosts", "12",
                        "--attacks-per-day", "5", *map(str, more)], check=True, capture_output=True,
                       env={**os.environ, "PYTHONHASHSEED": hashes})
        digests = []
        for name in ("traffic.pcap", "flows.csv", "labels.json"):
            with open(f"{out}/{name}", "rb") as content:
                digests.append(hashlib.sha256(content.read()).hexdigest())
        return digests

    def test_the_same_seed_gives_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as place:
            first = self.warp(f"{place}/1", "--seed", 5)
            self.assertEqual(first, self.warp(f"{place}/2", "--seed", 5, hashes="77"))
            self.assertNotEqual(first, self.warp(f"{place}/3", "--seed", 6))

    def test_a_day_swings_is_in_order_and_says_that_it_is_made(self):
        with tempfile.TemporaryDirectory() as place:
            out = f"{place}/day"
            self.warp(out, "--seed", 5, "--attack-at", "scan@03:30")
            content, rows = labels.read(out), list(labels.read_flows(out))
            self.assertTrue(content.synthetic)
            hours = content.generator["honest_flows_by_hour"]
            self.assertEqual(content.generator["swing_by_day"], [round(max(hours) / min(hours), 2)])
            by_part = [sum(hours[at:at + 3]) for at in range(0, 24, 3)]
            self.assertTrue(2.5 < max(by_part) / min(by_part) < 9, hours)
            self.assertTrue(all("#" in row["origin"] for row in rows))
            last = 0
            for time_ns, _, length in pcap.read(f"{out}/traffic.pcap"):
                self.assertLessEqual(last, time_ns)
                last = time_ns
            quiet = [one for one in content.episodes if one.family == "scan" and one.start_ns == content.start_ns + 12_600 * 10**9]
            self.assertEqual(len(quiet), 1)
            found, _ = flows.of_capture(f"{out}/traffic.pcap")
            self.assertEqual(sum(flow.packets for flow in found), sum(row["packets"] for row in rows))
            self.assertLess(abs(len(found) - len(rows)), len(rows) * 0.02)

    def test_attacks_of_hours_begin_behind_the_quiet_days_and_have_ends_of_their_own(self):
        with tempfile.TemporaryDirectory() as place:
            out = f"{place}/days"
            self.warp(out, "--seed", 5, "--days", 2, "--quiet-days", 0.75, "--long", 3, "--attacks-per-day", 0, "--cycles", 0,
                      "--snap", 2000)
            content = labels.read(out)
            self.assertTrue(content.episodes)
            self.assertTrue({one.family for one in content.episodes} <= set(hours.FAMILIES))
            for one in content.episodes:
                self.assertGreaterEqual(one.start_ns, content.start_ns + 18 * labels.HOUR)
                self.assertGreater(one.flows, 3, one)
                self.assertGreater(one.last_ns - one.first_ns, labels.HOUR // 20, one)
                self.assertIn(one.variant["jitter"], hours.JITTERS)
            far = [host.address for host in content.hosts if host.name.startswith("far")]
            self.assertEqual(len(far), len(set(far)))
            wrong, _ = check.days(out, SMALL)
            self.assertEqual(wrong, [])

    def test_names_are_spelt_anew_and_stay_what_they_are(self):
        name = b"\x08deadbee7\x02t3\x07example\0"
        body = b"\1\2\1\0\0\1\0\0\0\0\0\0" + name + b"\0\x10\0\1"
        datagram = struct.pack("!HHHH", 40000, 53, 8 + len(body), 0) + body
        addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
        total = pcap.checksum(addresses + struct.pack("!BBH", 0, 17, len(datagram)) + datagram)
        datagram = datagram[:6] + struct.pack("!H", total) + datagram[8:]
        frame = bytes(12) + b"\x08\0" + b"\x45\0" + struct.pack("!H", 20 + len(datagram)) + bytes(5) + b"\x11\0\0" + addresses + datagram
        asked = set()
        for seed in range(1, 9):
            spelt = rewrite.Speller(seed, 4)(frame)
            self.assertEqual(len(spelt), len(frame))
            self.assertEqual(pcap.checksum(addresses + struct.pack("!BBH", 0, 17, len(datagram)) + spelt[34:]), 0)
            label, zone, top = spelt[55:63], spelt[64:66], spelt[67:74]
            self.assertRegex(label, rb"^[0-9a-f]{8}$")
            asked.add(label)
            self.assertEqual((zone, top), (rewrite.Speller(1, 4)(frame)[64:66], b"example"))
        self.assertGreater(len(asked), 5)
        self.assertNotEqual(rewrite.Speller(1, 4)(frame)[64:66], rewrite.Speller(1, 5)(frame)[64:66])

    def test_a_lie_of_days_is_told(self):
        with tempfile.TemporaryDirectory() as place:
            day = f"{place}/day"
            self.warp(day, "--seed", 5)
            wrong, what = check.days(day, SMALL)
            self.assertEqual(wrong, [], what)
            with open(f"{day}/flows.csv") as lines:
                honest = lines.read()
            with open(f"{day}/traffic.pcap", "rb") as content:
                packets = content.read()
            size = struct.unpack_from("<I", packets, 32)[0]
            second = struct.unpack_from("<I", packets, 40 + size)[0]
            for name, text, data, says in (
                    ("a label", honest.replace(",benign,", ",background,", 1), packets, "is not 037#"),
                    ("a flow left out", honest[:honest.rindex("\n", 0, -1) + 1], packets, "by the flows"),
                    ("an attack called honest", re.sub(",attack,[a-z_]+,[0-9]+,", ",benign,,,", honest, count=1), packets, "is not 037#"),
                    ("time", honest, packets[:24] + struct.pack("<I", second + 900) + packets[28:], "time steps back")):
                with open(f"{day}/flows.csv", "w") as out:
                    out.write(text)
                with open(f"{day}/traffic.pcap", "wb") as out:
                    out.write(data)
                wrong, _ = check.days(day, SMALL)
                self.assertTrue(any(says in one for one in wrong), f"{name}: {wrong}")

    def test_checksums_follow_the_addresses(self):
        with tempfile.TemporaryDirectory() as place:
            self.warp(f"{place}/day", "--seed", 5, "--snap", 2000)
            seen = 0
            for _, data, length in pcap.read(f"{place}/day/traffic.pcap"):
                if len(data) != length or data[12:14] != b"\x08\x00":
                    continue
                size = (data[14] & 15) * 4
                self.assertEqual(pcap.checksum(data[14:14 + size]), 0)
                body = data[14 + size:14 + (data[16] << 8 | data[17])]
                if data[23] in (6, 17) and not (data[23] == 17 and body[6:8] == b"\0\0"):
                    pseudo = data[26:34] + struct.pack("!BBH", 0, data[23], len(body))
                    self.assertEqual(pcap.checksum(pseudo + body), 0, data[:60].hex())
                    seen += 1
            self.assertGreater(seen, 1000)


@unittest.skipUnless(os.environ.get("SHRIKE_LAB_LIVE") and os.geteuid() == 0 and not programs_missing(),
                     "needs root, the lab's packages and SHRIKE_LAB_LIVE")
class Recording(unittest.TestCase):
    def test_a_recording_labels_every_flow_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as place:
            out = f"{place}/1"
            subprocess.run([sys.executable, f"{LAB}/record.py", "--seed", "5", "--seconds", "10", "--out", out,
                            "--habits", "dns_single,web_get,update_check", "--only", "dga/dig,dns_tunnel/ours,scan/fping"],
                           check=True, capture_output=True, timeout=500)
            rows = list(labels.read_flows(out))
            strange = [row for row in rows if row["label"] == "background" and row["cause"] not in labels.BACKGROUND]
            self.assertEqual(strange, [])
            self.assertTrue({"attack", "benign"} <= {row["label"] for row in rows}, rows)
            self.assertEqual(sorted(os.listdir(out)), ["flows.csv", "labels.json", "traffic.pcap", "trouble.txt"])
        # Its names are plain ones; on the machine itself they must not have appeared.
        left = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
        self.assertNotIn("switch", left)

    def test_a_killed_recording_leaves_no_process(self):
        with tempfile.TemporaryDirectory() as place:
            process = subprocess.Popen([sys.executable, f"{LAB}/record.py", "--seed", "6", "--out", f"{place}/1"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            children, end = [], time.monotonic() + 60
            # The recorder, the first process of its namespace, and programs of hosts below that.
            while len(children) < 3 and process.poll() is None and time.monotonic() < end:
                time.sleep(0.2)
                children = below(process.pid)
            process.kill()
            process.wait()
            end = time.monotonic() + 20
            while time.monotonic() < end and any(os.path.exists(f"/proc/{child}") for child in children):
                time.sleep(0.1)
            self.assertGreaterEqual(len(children), 3)
            self.assertEqual([child for child in children if os.path.exists(f"/proc/{child}")], [])


if __name__ == "__main__":
    unittest.main()
