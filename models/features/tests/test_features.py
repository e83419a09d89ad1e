"""What the references promise: the rules of flows, rows whose values were computed by hand. `python3 -m unittest discover models/features/tests`
"""

import math
import os
import socket
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FEATURES = os.path.dirname(HERE)
sys.path.insert(0, FEATURES)

import capture
import flow_v1
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


class Rows(unittest.TestCase):
    def test_a_connection_in_numbers(self):
        (flow,), _ = flows_of([
            packet(SECOND, flags=SYN, wire=74), packet(SECOND + 100 * MICRO, True, SYN | ACK, wire=74),
            packet(SECOND + 200 * MICRO), packet(SECOND + 10_000 * MICRO, True, ACK | PSH, bytes(40)),
            packet(SECOND + 10_100 * MICRO, flags=ACK | PSH, payload=b"abcdefgh" * 4)])
        row, ln = dict(zip(flow_v1.NAMES, flow_v1.row(flow, flow.last), strict=True)), math.log1p
        for name, value in {"duration": ln(10_100), "packets_out": ln(3), "packets_in": ln(2), "bytes_out": ln(238),
                            "bytes_in": ln(180), "payload_in": ln(40), "first_payload_out": ln(32), "first_payload_in": ln(48),
                            "window_out": 13.875, "syn_count": 1.0, "byte_balance": 58 / 418, "silence": 0.0, "established": 1.0,
                            "tcp": 1.0, "login_service": 1.0, "port_class": 1.0, "reset_in": 0.0}.items():
            self.assertAlmostEqual(row[name], value, 6, name)


if __name__ == "__main__":
    unittest.main()
