"""Frames of honest flows and of attacks, one packet after another, for a sensor that sees both directions."""

import struct

SYN, ACK, PSH, FIN, RST = 2, 16, 8, 1, 4
MACS = bytes.fromhex("020000000001020000000002")


def total(data):
    """Sum of 16-bit words, not folded."""
    if len(data) % 2:
        data += b"\0"
    return sum(struct.unpack(f">{len(data) // 2}H", data))


def folded(value):
    value = (value & 0xFFFF) + (value >> 16)
    value = (value & 0xFFFF) + (value >> 16)
    return ~value & 0xFFFF


def ip(protocol, source, target, payload):
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, source, target)
    return MACS + b"\x08\x00" + head[:10] + struct.pack(">H", folded(total(head))) + head[12:] + payload


def udp(source, sport, target, dport, data):
    length = 8 + len(data)
    pseudo = total(struct.pack(">IIHH", source, target, 17, length)) + total(struct.pack(">HHH", sport, dport, length)) + total(data)
    return ip(17, source, target, struct.pack(">HHHH", sport, dport, length, folded(pseudo) or 0xFFFF) + data)


def tcp(source, sport, target, dport, sequence, acknowledged, flags, data=b""):
    head = struct.pack(">HHIIBBHHH", sport, dport, sequence, acknowledged, 0x50, flags, 0x2000, 0, 0)
    pseudo = total(struct.pack(">IIHH", source, target, 6, 20 + len(data))) + total(head) + total(data)
    return ip(6, source, target, head[:16] + struct.pack(">H", folded(pseudo)) + head[18:] + data)


class Connection:
    """A connection of TCP; everything that is said gives the frames for it."""

    def __init__(self, client, cport, server, sport):
        self.ends = ((client, cport), (server, sport))
        self.next = [1000, 5000]

    def say(self, side, flags, data=b""):
        (source, sport), (target, dport) = self.ends[side], self.ends[1 - side]
        frame = tcp(source, sport, target, dport, self.next[side], self.next[1 - side] if flags & ACK else 0, flags, data)
        self.next[side] += len(data) + (1 if flags & (SYN | FIN) else 0)
        return frame

    def open(self):
        return [self.say(0, SYN), self.say(1, SYN | ACK), self.say(0, ACK)]

    def close(self):
        return [self.say(0, FIN | ACK), self.say(1, FIN | ACK), self.say(0, ACK)]


def dns(number, name, kind=1, answer=None):
    """A question; with `answer` (data of a record) its answer."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"
    flags, answers = (0x8180, 1) if answer is not None else (0x0100, 0)
    message = struct.pack(">HHHHHH", number & 0xFFFF, flags, 1, answers, 0, 0) + labels + struct.pack(">HH", kind, 1)
    if answer is not None:
        message += struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(answer)) + answer
    return message


def address(text):
    a, b, c, d = (int(part) for part in text.split("."))
    return a << 24 | b << 16 | c << 8 | d
