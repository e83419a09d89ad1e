#!/usr/bin/env python3
"""What web and login logs say of a source's minute, from captures: logs.py CAPTURE --out DIRECTORY

A server's log would hold the same: every request and login in clear text (HTTP/1, FTP, POP3, IMAP, SMTP), with its answer. Writes
`logs.csv`, a row of the schema `log` for each source and minute (values as the log has them, no logarithm), and `log-flows.csv`,
which flows the entries of a row came by. `logs.py --schema FILE` writes the schema.
"""

import argparse
import csv
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/features")
from capture import TCP, Odd, packets  # noqa: E402

VERSION = 1
MINUTE = 60_000_000_000
# (name, unit, least, most, only ever makes an attack likelier, meaning)
COLUMNS = [
    ("request_rate", "1/min", 0, 1e7, False, "Requests and commands of logins"),
    ("error_rate", "ratio", 0, 1, True, "Answers that are errors of the client (4xx, login refused), of all answers"),
    ("login_attempts", "1/min", 0, 1e7, True, "Passwords, tokens or keys shown, right or wrong"),
    ("failed_logins", "1/min", 0, 1e7, True, "Of them refused"),
    ("distinct_users", "users", 0, 1e6, True, "Names that it logged in with"),
    ("distinct_paths", "paths", 0, 1e6, True, "Paths asked for, without what follows the question mark"),
    ("not_found_rate", "ratio", 0, 1, True, "Answers 404, of all answers"),
    ("server_error_rate", "ratio", 0, 1, True, "Answers 5xx, of all answers"),
    ("bytes_out", "bytes", 0, 1e12, False, "Bodies of the answers, by their stated length"),
    ("mean_latency_ms", "ms", 0, 1e7, False, "Mean time from a request to its answer"),
    ("user_agent_changes", "1/min", 0, 1e6, False, "Times that the named program is another than the request before had"),
    ("post_share", "ratio", 0, 1, False, "Requests that send a body (POST, PUT, PATCH), of all"),
    ("query_longest", "bytes", 0, 1e6, True, "Longest of what follows the question mark"),
    ("encoded_share", "ratio", 0, 1, True, "Requests whose path or query has quotes, brackets, or bytes in percent, of all"),
]
NAMES = [name for name, *_ in COLUMNS]
RISING = [at for at, column in enumerate(COLUMNS) if column[4]]
METHOD = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|PROPFIND|TRACE|CONNECT) (\S{0,2048})")
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,12})", re.I)
AGENT = re.compile(rb"\r\nuser-agent: *([^\r\n]{0,200})", re.I)
BASIC = re.compile(rb"\r\nauthorization: *\w+ +([^\r\n]{0,200})", re.I)
FIELD = re.compile(rb"(?:user|username|login|email|log)=([^&\s]{1,64})&(?:\S*&)?(?:pass|password|pwd)=", re.I)
# A client's word that names itself, and one that proves it; answers that refuse it.
NAMED = re.compile(rb"(?:USER|LOGIN) +(\S{1,64})|\S+ LOGIN +(\S{1,64}) ", re.I)
PROVES = re.compile(rb"PASS +\S|\S+ LOGIN +\S+ +\S|AUTH (?:PLAIN|LOGIN)\b", re.I)
REFUSES = re.compile(rb"530 |535 |-ERR|\S+ NO ")
ACCEPTS = re.compile(rb"230 |235 |\+OK|\S+ OK ")
ODD = re.compile(rb"%[0-9a-fA-F]{2}|['\"<>(){}|;]|\.\./")


class Minute:
    """Entries of one source and minute."""

    def __init__(self):
        self.requests = self.answers = self.refused = self.missing = self.broken = self.logins = self.failed = 0
        self.posts = self.odd = self.query = self.bytes = self.changes = self.latency_us = self.timed = 0
        self.users, self.paths, self.agent, self.flows = set(), set(), None, {}

    def row(self):
        share = lambda part, whole: part / whole if whole else 0.0
        return [self.requests, share(self.refused, self.answers), self.logins, self.failed, len(self.users), len(self.paths),
                share(self.missing, self.answers), share(self.broken, self.answers), self.bytes,
                share(self.latency_us, self.timed) / 1000, self.changes, share(self.posts, self.requests), self.query,
                share(self.odd, self.requests)]


class Reader:
    """Entries of a capture, packet by packet. Of a connection it keeps what is asked and not answered yet."""

    def __init__(self):
        self.minutes, self.asked = {}, {}

    def minute(self, packet):
        return self.minutes.setdefault((packet.time // MINUTE * MINUTE, packet.source[0]), Minute())

    def run(self, path):
        for packet in packets(path):
            if isinstance(packet, Odd) or packet.protocol != TCP or len(packet.payload) < 4:
                continue
            key = (packet.source, packet.target)
            asked = self.asked.get((packet.target, packet.source))
            if asked is not None:
                self.answer(packet, asked)
            else:
                self.ask(packet, key)
        return self

    def ask(self, packet, key):
        data = packet.payload
        found = METHOD.match(data)
        if found:
            one = self.entry(packet, key, "web")
            path, _, query = found[2].partition(b"?")
            one.paths.add(path)
            one.posts += found[1] in (b"POST", b"PUT", b"PATCH")
            one.query = max(one.query, len(query))
            one.odd += ODD.search(found[2]) is not None
            agent = AGENT.search(data)
            agent = agent[1] if agent else b""
            one.changes += one.agent is not None and agent != one.agent
            one.agent = agent
            shown = BASIC.search(data) or FIELD.search(data)
            if shown:
                one.logins += 1
                one.users.add(shown[1])
                self.asked[key][0][3] = True
        elif PROVES.match(data) or NAMED.match(data):
            one = self.entry(packet, key, "login")
            name = NAMED.match(data)
            if name:
                one.users.add(name[1] or name[2])
            if PROVES.match(data):
                one.logins += 1
                self.asked[key][0][3] = True
        elif key in self.asked and METHOD.search(data) is None and FIELD.search(data):
            one = self.minute(packet)
            one.logins += 1
            one.users.add(FIELD.search(data)[1])

    def entry(self, packet, key, kind):
        one = self.minute(packet)
        one.requests += 1
        flow = (packet.source, packet.target)
        one.flows.setdefault(flow, [packet.time, 0])[1] += 1
        self.asked.setdefault(key, []).insert(0, [one, packet.time, kind, False])
        del self.asked[key][8:]
        return one

    def answer(self, packet, asked):
        if not asked:
            return
        one, time, kind, has_login = asked[-1]
        data = packet.payload
        if kind == "web":
            status = STATUS.match(data)
            if not status:
                return
            code = int(status[1])
            if code < 200:
                return
            one.missing += code == 404
            one.broken += code >= 500
            refused = 400 <= code < 500
            one.failed += code in (401, 403) and has_login
            length = LENGTH.search(data)
            one.bytes += int(length[1]) if length else 0
        else:
            refused = REFUSES.match(data) is not None
            if not refused and not ACCEPTS.match(data) and not data[:1].isdigit():
                return
            one.failed += refused and has_login
        asked.pop()
        one.answers += 1
        one.refused += refused
        one.latency_us += max(packet.time - time, 0) // 1000
        one.timed += 1


def write(path, out):
    import ipaddress
    os.makedirs(out, exist_ok=True)
    text = lambda raw: str(ipaddress.ip_address(raw))
    minutes = sorted(Reader().run(path).minutes.items())
    with open(f"{out}/logs.csv", "w") as rows, open(f"{out}/log-flows.csv", "w") as flows:
        row, flow = csv.writer(rows, lineterminator="\n"), csv.writer(flows, lineterminator="\n")
        row.writerow(["time_ns", "source", *NAMES])
        flow.writerow(["window_ns", "time_ns", "source", "source_port", "destination", "destination_port", "protocol", "entries"])
        for (window, source), one in minutes:
            row.writerow([window, text(source), *one.row()])
            for ((_, sport), (target, dport)), (time, entries) in one.flows.items():
                flow.writerow([window, time + 1, text(source), sport, text(target), dport, TCP, entries])


def schema():
    return {"schema": "log", "version": VERSION, "of": "a source (address) and a whole minute of Unix time",
            "features": [{"name": name, "unit": unit, "least": least, "most": most, "rising": rising, "meaning": meaning}
                         for name, unit, least, most, rising, meaning in COLUMNS]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("capture", nargs="?")
    arguments.add_argument("--out")
    arguments.add_argument("--schema")
    options = arguments.parse_args()
    if options.schema:
        with open(options.schema, "w") as out:
            json.dump(schema(), out, indent=1)
            out.write("\n")
    if options.capture:
        write(options.capture, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
