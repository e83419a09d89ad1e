"""Shapes of flows, computed from a capture by itself and compared with those that EVE's flow events have.

usage: shapes.py CAPTURE EVE

Reads classic pcap and pcapng of Ethernet and raw IP; prints `compared SKIPPED ...`, and exits with 1 where a value differs by
more than 1e-6 of itself. Skips, counted: 5-tuples that had several flows, or packets this reader does not follow (fragments,
tunnels, VLANs, frames cut by the capture).
"""

import json
import math
import struct
import sys
from collections import Counter, defaultdict

from capture import frames

PACKETS, RECORDS, HEAD = 16, 8, 1024


def packet(link, frame, wire):
    """(5-tuple as sent, sequence number or None, payload); None where it is not followed."""
    if link == 1:
        kind, frame, wire = frame[12:14], frame[14:], wire - 14
        if kind not in (b"\x08\x00", b"\x86\xdd"):
            return None
    elif link != 101:
        return None
    if not frame:
        return None
    if frame[0] >> 4 == 4 and len(frame) >= 20:
        header, total = (frame[0] & 15) * 4, struct.unpack(">H", frame[2:4])[0]
        total = total or wire
        if struct.unpack(">H", frame[6:8])[0] & 0x3FFF:
            return "fragment"
        protocol, source, target = frame[9], frame[12:16], frame[16:20]
    elif frame[0] >> 4 == 6 and len(frame) >= 40:
        header, total = 40, 40 + struct.unpack(">H", frame[4:6])[0]
        protocol, source, target = frame[6], frame[8:24], frame[24:40]
    else:
        return None
    segment, total = frame[header:total], min(total, wire) - header
    if protocol == 6 and len(segment) >= 20:
        offset = (segment[12] >> 4) * 4
        sequence, flags = struct.unpack(">I", segment[4:8])[0], segment[13]
    elif protocol == 17 and len(segment) >= 8:
        offset, sequence, flags = 8, None, 0
        total = min(total, struct.unpack(">H", segment[4:6])[0] or total)
        segment = segment[:total]
    else:
        return None
    ports = struct.unpack(">HH", segment[:4])
    ends = ((source, ports[0]), (target, ports[1]))
    if len(segment) < total:
        return "cut", protocol, ends
    return protocol, ends, sequence, flags, segment[offset:]


def head(payload):
    data = payload[:HEAD]
    count, size = Counter(data), len(data)
    entropy = sum(-(n / size) * math.log2(n / size) for n in count.values())
    ones = sum(bin(byte).count("1") * n for byte, n in count.items()) / size
    prints = "".join("x" if 0x20 <= byte <= 0x7E else " " for byte in data)
    run = max(map(len, prints.split(" ")))
    exempt = 1 if ones <= 3.4 or ones >= 4.6 else 0
    exempt |= 2 if prints[:6] == "xxxxxx" else 0
    exempt |= 4 if prints.count("x") > size / 2 else 0
    exempt |= 8 if run > 20 else 0
    tls = size >= 3 and data[0] in (0x16, 0x17) and data[1] == 3 and data[2] <= 9
    exempt |= 16 if tls or data[:4] in (b"GET ", b"PUT ") or data[:5] in (b"POST ", b"HEAD ") else 0
    return {"bytes": size, "entropy": entropy, "ones": ones, "printable": prints.count("x") / size, "run": run, "exempt": exempt}


def stream(segments):
    """Records of one side of a TLS stream, as far as its segments come in order."""
    data, expected, found = b"", None, []
    for sequence, payload in segments:
        expected = sequence if expected is None else expected
        ahead = (sequence - expected + 2**31) % 2**32 - 2**31
        if ahead > 0:
            break
        new = payload[-ahead:]
        data, expected = data + new, (expected + len(new)) % 2**32
    at = 0
    while at + 5 <= len(data) and len(found) < RECORDS:
        kind, major, minor, size = struct.unpack(">BBBH", data[at : at + 5])
        if not 20 <= kind <= 24 or major != 3 or minor > 4 or size > 2**14 + 2048:
            break
        found.append([kind, size])
        at += 5 + size
    return found


def varint(data, at):
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def quic(data, state):
    if data[0] & 0xC0 == 0x40 and state["quic"]:
        return 0x40, len(data), len(data)
    version = int.from_bytes(data[1:5], "big")
    if len(data) < 5 or data[0] & 0xC0 != 0xC0 or version not in (1, 0x6B3343CF) and version >> 8 != 0xFF0000:
        return None
    state["quic"] = True
    try:
        at = 5
        for _ in range(2):
            at += 1 + data[at]
            if at > len(data):
                return None
        kind = data[0] >> 4 & 3
        if kind == (0 if version == 0x6B3343CF else 3):
            return 0x80 | kind, len(data), len(data)
        if kind == (1 if version == 0x6B3343CF else 0):
            token, at = varint(data, at)
            at += token
            if at > len(data):
                return None
        length, at = varint(data, at)
    except IndexError:
        return None
    return (0x80 | kind, at + length, at + length) if at + length <= len(data) else None


def datagram(data, state, found):
    for _ in range(8):
        if not data or len(found) >= RECORDS:
            return
        one = None
        if len(data) >= 13 and 20 <= data[0] <= 24 and data[1] == 0xFE and data[2] in (0xFD, 0xFF):
            size = int.from_bytes(data[11:13], "big")
            one = (data[0], size, 13 + size) if size <= 2**14 + 2048 else None
        one = one or quic(data, state)
        if one is None:
            return
        found.append([one[0], one[1]])
        data = data[one[2] :]


def shape(packets, originator):
    """What EVE should say of these packets with payload: (nanoseconds, sender, sequence, payload)."""
    first, segments, found = [None, None], [[], []], [[], []]
    state, lengths, gaps = {"quic": False}, [], []
    for number, (time, sender, sequence, payload) in enumerate(packets[:PACKETS]):
        side = 0 if sender == originator else 1
        lengths.append(len(payload) if side == 0 else -len(payload))
        gaps.append(min((time - packets[number - 1][0]) // 1000, 2**32 - 1) if number else 0)
        first[side] = first[side] or head(payload)
        if sequence is None:
            datagram(payload, state, found[side])
        else:
            segments[side].append((sequence, payload))
    records = [found[side] or stream(segments[side]) for side in (0, 1)]
    encrypted = first[0] is not None and first[0]["exempt"] == 0
    return {"version": 1, "lengths": lengths, "gaps_us": gaps, "first": first, "fully_encrypted": encrypted, "records": records}


def same(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return one == other


def address(text):
    if ":" not in text:
        return bytes(map(int, text.split(".")))
    import ipaddress

    return ipaddress.ip_address(text).packed


def main(capture, eve):
    flows, odd, latest = defaultdict(list), set(), 0
    for time, link, frame, wire in frames(open(capture, "rb").read()):
        seen = packet(link, frame, wire)
        if seen is None or seen == "fragment":
            continue
        if seen[0] == "cut":
            odd.add((seen[1], frozenset(seen[2])))
            continue
        latest = max(latest, time)
        protocol, ends, sequence, flags, payload = seen
        key = protocol, frozenset(ends)
        if flags & 2 and payload:
            odd.add(key)
        if payload:
            flows[key].append((latest, ends[0], sequence, payload))
    events = defaultdict(list)
    for line in open(eve):
        event = json.loads(line)
        if event["event_type"] == "flow" and event.get("proto") in ("TCP", "UDP"):
            source = address(event["src_ip"]), event["src_port"]
            target = address(event["dest_ip"]), event["dest_port"]
            events[(6 if event["proto"] == "TCP" else 17), frozenset((source, target))].append((source, event))
    compared = skipped = 0
    for key, found in events.items():
        (originator, event), wanted = found[0], flows.get(key, [])
        if len(found) > 1 or key in odd or "vlan" in event:
            skipped += len(found)
            continue
        has = event.get("ml", {}).get("shape")
        if not wanted:
            skipped += has is not None
            continue
        compared += 1
        expected = shape(wanted, originator)
        if not same(has, expected):
            print(f"different: {event['community_id']}\n shrike    {json.dumps(has)}\n reference {json.dumps(expected)}")
            return 1
    print(compared, skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
