"""What the references promise: the rules of flows, rows whose values were computed by hand, windows that no order of arrival
changes. `python3 -m unittest discover models/features/tests`
"""

import math
import os
import random
import socket
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FEATURES = os.path.dirname(HERE)
SMALL = f"{FEATURES}/../lab/tests/small/037/traffic.pcap"
sys.path.insert(0, FEATURES)

import capture
import flow_v1
import flow_v2
import schema
import windows
from capture import ACK, FIN, PSH, RST, SYN, TCP, UDP, Packet
from table import ANSWERED, CLOSED, CLOSING, ESTABLISHED, NEW, SECOND, Table, is_milestone

A, B = (b"\x0a\0\0\x01", 40000), (b"\x0a\0\0\x02", 22)
MICRO = 1000


def packet(time, back=False, flags=ACK, payload=b"", wire=None, protocol=TCP, ends=(A, B), window=64240, sequence=0):
    source, target = ends[::-1] if back else ends
    return Packet(time, protocol, source, target, wire or 66 + len(payload), len(payload), payload, flags, window, sequence)


def flows_of(packets):
    """Flows in the order of their ends, rows as (moment, packets, now)."""
    ended, told = [], []
    Table(lambda flow, moment, now: told.append((moment, len(flow.packets), now)), ended.append).run(packets)
    return ended, told


def frame(protocol, body, v6=False):
    if v6:
        return b"\2" * 12 + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + b"\x11" * 16 + b"\x22" * 16 + body
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
    return b"\2" * 12 + b"\x08\x00" + head + socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2") + body


def tcp(flags=ACK, payload=b""):
    return struct.pack(">HHIIBBHHH", 40000, 22, 7, 0, 5 << 4, flags, 512, 0, 0) + payload


class Captures(unittest.TestCase):
    def test_a_frame_cut_anywhere_is_read_or_named(self):
        quoted = frame(UDP, struct.pack(">HHHH", 4000, 53, 8, 0))[14:]
        whole = [frame(TCP, tcp(payload=b"hello")), frame(UDP, struct.pack(">HHHH", 4000, 53, 13, 0) + b"hello"),
                 frame(1, struct.pack(">BBHHH", 3, 3, 0, 0, 0) + quoted), frame(TCP, tcp(), v6=True)]
        for data in whole:
            self.assertIsInstance(capture.parse(0, 1, data, len(data)), Packet)
            for size in range(len(data)):
                try:
                    capture.parse(0, 1, data[:size], len(data))
                except (capture.Odd, struct.error, IndexError):
                    pass

    def test_what_a_packet_says(self):
        data = frame(TCP, tcp(SYN, b"hello")) + bytes(20)
        found = capture.parse(9, 1, data, len(data))
        self.assertEqual((found.source[1], found.target[1], found.flags, found.window, found.length, found.payload, found.wire),
                         (40000, 22, SYN, 512, 5, b"hello", 14 + 20 + 20 + 5 + 20))
        cut = capture.parse(9, 1, data[:56], len(data))
        self.assertEqual((cut.length, cut.payload), (5, b"he"))
        quoted = frame(UDP, struct.pack(">HHHH", 4000, 53, 8, 0))[14:]
        error = capture.parse(9, 1, frame(1, struct.pack(">BBHHH", 3, 3, 0, 0, 0) + quoted), 70)
        self.assertEqual((error.source[1], error.quoted[0], error.quoted[2][1]), (3 << 8 | 3, UDP, 53))
        echo = capture.parse(9, 1, frame(1, struct.pack(">BBHHH", 8, 0, 0, 77, 1)), 42)
        self.assertEqual((echo.source[1], echo.target[1], echo.quoted), (77, 77, None))

    def test_every_form_of_a_capture_file(self):
        body = b"\1\2\3"
        for order, magic, unit in (("<", 0xA1B2C3D4, 1000), (">", 0xA1B2C3D4, 1000), ("<", 0xA1B23C4D, 1), (">", 0xA1B23C4D, 1)):
            data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 99, 1) + struct.pack(order + "IIII", 5, 6, 3, 9) + body
            self.assertEqual(list(capture.frames(data)), [(5 * SECOND + 6 * unit, 1, body, 9)], (order, magic))


class Flows(unittest.TestCase):
    def test_states_and_ends(self):
        s = SECOND
        cases = [
            ("a SYN without answer", [packet(s, flags=SYN)], [(NEW, 6 * s)]),
            ("refused", [packet(s, flags=SYN), packet(s, True, RST | ACK)], [(CLOSED, 3 * s)]),
            ("half open", [packet(s, flags=SYN), packet(s, True, SYN | ACK)], [(ANSWERED, 6 * s)]),
            ("established", [packet(s, flags=SYN), packet(s, True, SYN | ACK), packet(s)], [(ESTABLISHED, 601 * s)]),
            ("closing", [packet(s), packet(s, True), packet(s, flags=FIN | ACK)], [(CLOSING, 601 * s)]),
            ("closed", [packet(s), packet(s, True), packet(s, flags=FIN | ACK), packet(2 * s, True, FIN | ACK)], [(CLOSED, 4 * s)]),
            ("one way", [packet(s), packet(s), packet(s)], [(ESTABLISHED, 601 * s)]),
            ("datagrams", [packet(s, protocol=UDP), packet(s, True, protocol=UDP)], [(ESTABLISHED, 61 * s)]),
            ("too late", [packet(s, flags=SYN), packet(6 * s, flags=SYN)], [(NEW, 6 * s), (NEW, 11 * s)]),
            ("just in time", [packet(s, flags=SYN), packet(6 * s - 1, flags=SYN)], [(NEW, 11 * s - 1)]),
            ("the ports again", [packet(s, flags=SYN), packet(s, True, RST | ACK), packet(2 * s, flags=SYN, sequence=9)],
             [(CLOSED, 2 * s), (NEW, 7 * s)]),
            ("the same SYN again", [packet(s, flags=SYN), packet(s, True, RST | ACK), packet(2 * s, flags=SYN)], [(CLOSED, 4 * s)]),
        ]
        for name, packets, wanted in cases:
            ended, _ = flows_of(packets)
            self.assertEqual([(flow.state, flow.ended) for flow in ended], wanted, name)

    def test_a_syn_within_a_talk_begins_a_flow_when_it_is_answered(self):
        s = SECOND
        talk = [packet(s, payload=b"x"), packet(s, True, payload=b"y"), packet(2 * s, flags=SYN, sequence=5)]
        self.assertEqual(len(flows_of(talk)[0]), 1)
        ended, _ = flows_of([*talk, packet(2 * s, True, SYN | ACK)])
        self.assertEqual([len(flow.packets) for flow in ended], [3, 1])
        self.assertEqual(ended[1].ends, (A, B))

    def test_who_answers_a_syn_is_the_responder(self):
        ended, _ = flows_of([packet(0, True, SYN | ACK)])
        self.assertEqual((ended[0].ends, ended[0].counts), ((A, B), [0, 1]))

    def test_an_error_refuses_what_was_not_answered_alone(self):
        def run(answered):
            error = Packet(9, 1, B, A, 70, 28, kind=(3, 3), quoted=(UDP, A, B))
            first = [packet(1, protocol=UDP)] + ([packet(2, True, protocol=UDP)] if answered else [])
            return next(flow for flow in flows_of([*first, error])[0] if flow.protocol == UDP)
        self.assertEqual((run(False).state, run(False).last, run(True).state, run(True).last), (CLOSED, 9, ESTABLISHED, 2))

    def test_rows_are_due_at_powers_of_four_and_at_other_ends(self):
        for count, wanted in ((1, ["end"]), (4, ["early"]), (5, ["early", "end"]), (64, ["early", "milestone", "milestone"]),
                              (65, ["early", "milestone", "milestone", "end"])):
            _, told = flows_of([packet(number) for number in range(count)])
            self.assertEqual([moment for moment, _, _ in told], wanted, count)
        self.assertEqual([number for number in range(1, 300) if is_milestone(number)], [4, 16, 64, 256])


def by_name(columns, row):
    names = [name for name, _, _ in columns]
    assert len(names) == len(row), (len(names), len(row))
    return dict(zip(names, row))


class Rows(unittest.TestCase):
    def connection(self):
        return [packet(SECOND, flags=SYN, wire=74), packet(SECOND + 100 * MICRO, True, SYN | ACK, wire=74),
                packet(SECOND + 200 * MICRO), packet(SECOND + 10_000 * MICRO, True, ACK | PSH, bytes(40)),
                packet(SECOND + 10_100 * MICRO, flags=ACK | PSH, payload=b"abcdefgh" * 4)]

    def near(self, row, **wanted):
        for name, value in wanted.items():
            self.assertTrue(math.isclose(row[name], value, rel_tol=1e-6, abs_tol=1e-6), f"{name}: {row[name]}, not {value}")

    def test_a_connection_in_numbers(self):
        (flow,), _ = flows_of(self.connection())
        row = by_name(schema.FLOW, flow_v2.row(flow, flow.last, False))
        ln = math.log1p
        self.near(row, duration=ln(10_100), packets_out=ln(3), packets_in=ln(2), bytes_out=ln(238), bytes_in=ln(180),
                  payload_in=ln(40), first_payload_out=ln(32), first_payload_in=ln(48), window_out=13.875, syn_count=1.0,
                  byte_balance=flow_v1.single(58 / 418), silence=0.0, established=1.0, tcp=1.0, login_service=1.0, port_class=1.0)
        self.near(row, talk_packets=ln(2), talk_turns=ln(1), talk_share_out=0.5, talk_covered=1.0, talk_mean_out=ln(32),
                  talk_mean_in=ln(40), talk_deviation_out=0.0, talk_first_out=ln(32), talk_first_in=ln(40), talk_gap_mean=ln(100),
                  talk_gap_deviation=0.0, talk_gap_min=ln(100), talk_gap_max=ln(100), talk_repeat=0.0, first_entropy_out=3.0,
                  first_entropy_in=0.0, first_printable_out=1.0, first_printable_in=0.0, first_run_out=ln(32), fully_encrypted=0.0,
                  ended=0.0, closed=0.0, refused=0.0)

    def test_a_talk_in_numbers(self):
        sizes = [10, 10, 30, 20]
        packets = [packet(number * 1000 * MICRO, payload=bytes(size), protocol=UDP) for number, size in enumerate(sizes)]
        packets += [packet(5000 * MICRO, True, payload=bytes(7), protocol=UDP)]
        (flow,), _ = flows_of(packets)
        row = by_name(schema.FLOW, flow_v2.row(flow, flow.ended, True))
        ln = math.log1p
        self.near(row, talk_packets=ln(5), talk_turns=ln(1), talk_share_out=0.8, talk_mean_out=ln(17.5),
                  talk_deviation_out=ln(math.sqrt(68.75)), talk_first_in=ln(7), talk_gap_mean=ln(1250), talk_gap_min=ln(1000),
                  talk_gap_max=ln(2000), talk_gap_deviation=ln(math.sqrt(187_500)), talk_repeat=1 / 3, ended=1.0)

    def test_a_talk_ends_at_sixteen_packets(self):
        (flow,), _ = flows_of([packet(number, payload=bytes(10)) for number in range(40)])
        row = by_name(schema.FLOW, flow_v2.row(flow, flow.last, False))
        self.near(row, talk_packets=math.log1p(16), talk_covered=0.4)
        self.assertEqual([len(flow_v2.sequence(flow)), len(flow_v2.sequence(flow)[0])], [16, len(schema.STEP)])

    def test_a_sequence_in_numbers(self):
        hello = b"\x16\x03\x01\x00\x05hello"
        (flow,), _ = flows_of([packet(0, payload=hello), packet(3000 * MICRO, True, payload=b"\x17\x03\x03\x00\x01x")])
        steps = flow_v2.sequence(flow)
        self.assertEqual(steps[0], [1.0, math.log1p(10), 0.0, 22.0])
        self.assertEqual(steps[1], [-1.0, math.log1p(6), math.log1p(3000), 23.0])
        self.assertEqual(steps[2:], [[0.0] * 4] * 14)
        row = by_name(schema.FLOW, flow_v2.row(flow, flow.last, False))
        self.near(row, records_out=math.log1p(1), record_mean_out=math.log1p(5), record_mean_in=math.log1p(1))

    def test_rows_of_a_recording_are_finite_and_ratios_are_ratios(self):
        seen, over = [], []
        Table(lambda flow, moment, now: seen.append(flow_v2.row(flow, now, moment == "end")),
              lambda flow: over.append(windows.Facts(flow))).run(capture.packets(SMALL))
        hosts, pairs = windows.rows(over)
        self.assertGreater(len(seen), 500)
        self.assertGreater(len(pairs), 5)
        for columns, rows in ((schema.FLOW, seen), (schema.HOST, hosts.values()), (schema.PAIR, pairs.values())):
            for row in rows:
                for (name, unit, _), value in zip(columns, row, strict=True):
                    self.assertTrue(math.isfinite(value) and abs(value) < 64, f"{name}: {value}")
                    if unit == "ratio":
                        self.assertTrue(-1 <= value <= 1, f"{name}: {value}")


def fact(start_s, size=100, peer=b"\x0a\0\0\x02", port=443, **more):
    (flow,), _ = flows_of([packet(int(start_s * SECOND), payload=bytes(size), ends=((A[0], 5000), (peer, port))),
                           packet(int(start_s * SECOND), True, payload=bytes(50), ends=((A[0], 5000), (peer, port)))])
    one = windows.Facts(flow)
    one.end = int(start_s * SECOND) + MICRO
    for name, value in more.items():
        setattr(one, name, value)
    return one


class Windows(unittest.TestCase):
    def test_a_minute_in_numbers(self):
        facts = [fact(1), fact(2, peer=b"\x0a\0\0\x03"), fact(3, peer=b"\x0a\0\0\x03"), fact(4, port=22, answered=False, silent=True),
                 fact(61)]
        hosts, _ = windows.rows(facts)
        row, ln = by_name(schema.HOST, hosts[(0, A[0])]), math.log1p
        wanted = {"flows_out": ln(4), "answered_share": 0.75, "silent_share": 0.25, "tcp_share": 1.0, "peers_out": ln(2),
                  "ports_out": ln(2), "services_out": ln(3), "busiest_share": 0.5, "login_share": 0.25, "web_share": 0.75,
                  "payload_out": ln(400), "payload_in": ln(200), "packets_mean": ln(2), "payload_out_mean": ln(100),
                  "payload_out_deviation": 0.0, "short_share": 1.0, "flows_in": 0.0}
        for name, value in wanted.items():
            self.assertAlmostEqual(row[name], value, 9, name)
        of_peer = by_name(schema.HOST, hosts[(0, b"\x0a\0\0\x03")])
        self.assertEqual((of_peer["flows_out"], of_peer["flows_in"], of_peer["payload_taken"]), (0.0, ln(2), ln(200)))
        self.assertEqual(set(hosts), {(0, A[0]), (0, B[0]), (0, b"\x0a\0\0\x03"), (60 * SECOND, A[0]), (60 * SECOND, B[0])})

    def test_many_are_at_most_256_and_none_of_them_the_busiest(self):
        self.assertEqual(windows.capped(range(256)), (256, 1))
        self.assertEqual(windows.capped([1, 1, *range(257)]), (256, 0))

    def test_an_hour_of_a_beacon_and_of_a_person(self):
        rng = random.Random(5)
        beat = windows.rows([fact(30 * number) for number in range(100)])[1]
        free = windows.rows([fact(when, rng.randrange(10, 4000)) for when in sorted(rng.uniform(0, 3599) for _ in range(100))])[1]
        (beacon,), (person,) = ([by_name(schema.PAIR, row) for row in rows.values()] for rows in (beat, free))
        ln = math.log1p
        for name, value in {"flows": ln(100), "start_gap_median": ln(30_000_000), "start_gap_mad": 0.0, "start_regularity": 1.0,
                            "start_skew": 0.0, "start_spread": 50 / 60, "payload_out_same": 1.0, "payload_out_mean": ln(100),
                            "payload_out_regularity": 1.0, "answered_share": 1.0}.items():
            self.assertAlmostEqual(beacon[name], value, 6, name)
        self.assertLess(person["start_regularity"], 0.5)
        self.assertLess(person["payload_out_same"], 0.1)

    def test_quartiles_and_skew(self):
        self.assertEqual([windows.quantile([1, 2, 3, 4], part) for part in (0, 0.25, 0.5, 1)], [1, 1.75, 2.5, 4])
        self.assertEqual(windows.skew([1, 1, 1, 9]), 1.0)
        self.assertEqual(windows.median_and_distance([1, 2, 9]), (2, 1))

    def test_pairs_of_few_flows_have_no_row(self):
        self.assertEqual(windows.rows([fact(number) for number in range(3)])[1], {})

    def test_no_order_of_arrival_leaves_a_trace(self):
        facts = []
        Table(lambda *_: None, lambda flow: facts.append(windows.Facts(flow))).run(capture.packets(SMALL))
        wanted = windows.rows(facts)
        random.Random(3).shuffle(facts)
        found = windows.rows(facts)
        for one, other in zip(wanted, found):
            self.assertEqual(one.keys(), other.keys())
            for key, row in one.items():
                self.assertTrue(all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(row, other[key])), key)


class Schema(unittest.TestCase):
    def test_names_are_unique_and_the_page_is_of_the_schema(self):
        for columns, count in ((schema.FLOW, 64), (schema.HOST, 32), (schema.PAIR, 20), (schema.STEP, 4)):
            self.assertEqual((len(columns), len({name for name, _, _ in columns})), (count, count))
        with open(schema.readme()) as file:
            text = file.read()
        self.assertEqual(schema.with_page(text), text, "run models/features/schema.py --write")


if __name__ == "__main__":
    unittest.main()
