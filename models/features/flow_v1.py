"""The first 32 values of a flow's row, those of version 1, from its packets: every sum in single precision and in the packets' order, as the
schema has it.
"""

import math
import struct

from capture import RST, TCP, UDP, ICMP, ICMP6, ACK
from table import CLOSED, ESTABLISHED, CLOSING, NEW

LOGARITHMS = 16
LOGIN = {21, 22, 23, 25, 110, 139, 143, 389, 445, 465, 587, 636, 990, 993, 995, 1433, 1521, 3306, 3389, 5432, 5900, 6379}
WEB = {80, 443, 591, 3000, 5000, 8000, 8008, 8080, 8081, 8443, 8888}
EARLY_SIZES, EARLY_PACKETS = 8, 32
MAX = 3.4028234663852886e38
NAMES = ["duration", "packets_out", "packets_in", "bytes_out", "bytes_in", "payload_out", "payload_in", "length_deviation_out",
         "length_deviation_in", "gap_mean", "gap_deviation", "gap_max", "response", "silence", "first_payload_out",
         "first_payload_in", "window_out", "syn_count", "longest_out", "longest_in", "payload_share", "byte_balance", "reset_out",
         "reset_in", "unanswered", "established", "tcp", "udp", "icmp", "port_class", "login_service", "web_service"]


def single(value):
    """Rounded to single precision."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


MICRO = single(1e-3)


def half(value):
    """Upper sixteen bits of the single, cut off."""
    return struct.unpack("f", struct.pack("I", struct.unpack("I", struct.pack("f", value))[0] & 0xFFFF0000))[0]


def square_sum(value, total):
    """`total + value * value`, rounded once."""
    return single(value * value + total)


def deviation(squares, number, mean):
    return single(math.sqrt(max(single(single(squares / number) - single(mean * mean)), 0.0)))


def window_code(window):
    """Five bits of exponent and three of mantissa."""
    exponent = window.bit_length()
    return window if exponent <= 3 else (exponent - 3) << 3 | window >> (exponent - 4) & 7


def sixteen(length, most):
    """Rounded up to 16 bytes."""
    return min((length + 15) // 16, most) * 16


def port_class(port):
    return 1 + (port >= 1024) + (port >= 32768)


def totals(flow):
    """What both versions of the row start from."""
    packets = flow.packets
    wire, payload, longest, squares = [0, 0], [0, 0], [0, 0], [0.0, 0.0]
    gap_squares = gap_max = 0.0
    for number, packet in enumerate(packets):
        side = packet.side
        if number:
            gap = single(packet.gap)
            gap_squares = square_sum(gap, gap_squares)
            gap_max = max(gap_max, half(gap))
        wire[side] += packet.wire
        payload[side] += packet.length
        longest[side] = max(longest[side], min(packet.wire, 65535))
        squares[side] = square_sum(single(packet.wire), squares[side])
    return wire, payload, longest, squares, gap_squares, gap_max


def first_sizes(flow):
    """Size of the first payload of each side, if among the first eight and the first 32 packets; 0 otherwise."""
    sizes, seen = [0, 0], 0
    for packet in flow.packets[:EARLY_PACKETS]:
        if packet.length:
            seen += 1
            sizes[packet.side] = sizes[packet.side] or sixteen(packet.length, 127)
        if seen == EARLY_SIZES:
            break
    return sizes


def plain(flow, now):
    """The row before its logarithms."""
    wire, payload, longest, squares, gap_squares, gap_max = totals(flow)
    response = half(single(flow.response))
    is_tcp = flow.protocol == TCP
    out, back = (single(count) for count in flow.counts)
    bytes_out, bytes_in = (single(count) for count in wire)
    payload_out, payload_in = (single(count) for count in payload)
    duration = single(single(flow.last - flow.first) * MICRO)
    gaps = max(out + back - 1.0, 1.0)
    gap_mean = single(duration / gaps)
    counted = [max(out, 1.0), max(back, 1.0)]
    first_out, first_in = first_sizes(flow)
    flags = flow.flags if is_tcp else [0, 0]
    total = max(single(bytes_out + bytes_in), 1.0)
    first_window = next((packet.window for packet in flow.packets if packet.side == 0), 0) if is_tcp else 0
    unanswered = flow.state == NEW or flow.state == CLOSED and flags[1] & ~(RST | ACK) == 0
    port = flow.ends[1][1] if flow.protocol in (TCP, UDP) else 0
    return [
        duration, out, back, bytes_out, bytes_in, payload_out, payload_in,
        deviation(squares[0], counted[0], single(bytes_out / counted[0])),
        deviation(squares[1], counted[1], single(bytes_in / counted[1])),
        gap_mean, deviation(single(min(gap_squares, MAX) * single(MICRO * MICRO)), gaps, gap_mean),
        single(gap_max * MICRO), single(response * MICRO), single(single(now - flow.last) * MICRO),
        float(first_out), float(first_in),
        window_code(first_window) / 8.0, float(min(flow.syns, 8)),
        sixteen(longest[0], 255) / 256.0, sixteen(longest[1], 255) / 256.0,
        min(single(single(payload_out + payload_in) / total), 1.0), single(single(bytes_out - bytes_in) / total),
        float(bool(flags[0] & RST)), float(bool(flags[1] & RST)),
        float(unanswered), float(flow.state in (ESTABLISHED, CLOSING)),
        float(is_tcp), float(flow.protocol == UDP), float(flow.protocol in (ICMP, ICMP6)),
        float(port_class(port) if flow.protocol in (TCP, UDP) else 0),
        float(is_tcp and port in LOGIN), float(is_tcp and port in WEB),
    ]


def row(flow, now):
    values = plain(flow, now)
    return [math.log1p(value) for value in values[:LOGARITHMS]] + values[LOGARITHMS:]
