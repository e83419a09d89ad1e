"""What days of warped time are made of: flows of recordings, packet by packet, with who did them.

An `Activity` is what one honest episode did (or one flow, where two episodes of a host cannot be told apart) or one
attack. Packets keep their first bytes, their length on the wire and their distance in time.
"""

import os
import random
from dataclasses import dataclass, field

import flows
import labels
import pcap

# Honest habits that happen by the clock; the rest when somebody feels like it.
PERIODIC = {"update_check": (300, 3600), "telemetry": (60, 900), "ntp": (64, 1024), "imap_poll": (60, 300), "scrape": (15, 60),
            "snmp_poll": (60, 300), "health_check": (5, 60), "sensor": (30, 120), "dhcp_renew": (1800, 7200),
            "ping_round": (300, 600)}


@dataclass
class Template:
    """One recorded flow. `packets`: (ns since its start, from its originator, frame, length on the wire)."""

    number: int
    offset_ns: int
    protocol: object
    source: bytes
    sport: int
    target: bytes
    dport: int
    packets: list = field(default_factory=list)


@dataclass
class Activity:
    recording: str
    way: str
    episode: object
    templates: list
    hosts: dict
    subnet: str

    def size(self):
        return sum(len(template.packets) for template in self.templates)


class Library:
    """Honest activities by habit and attacks by family, drawn from all recordings by a seed."""

    def __init__(self, directory, settings):
        self.settings, self.rng = settings, random.Random(f"library {settings.seed}")
        self.honest, self.attacks, self.recordings = {}, {}, []
        names = sorted(name for name in os.listdir(directory) if os.path.exists(f"{directory}/{name}/traffic.pcap")
                       and os.path.exists(f"{directory}/{name}/flows.csv"))
        contents = {name: labels.read(f"{directory}/{name}") for name in names}
        names = [name for name in names if not contents[name].synthetic]
        if not names:
            raise labels.LabelError(f"{directory}: no recordings; make some with make lab LAB_OUT={directory}")
        for name in names:
            self._take(f"{directory}/{name}", name, contents[name], len(names))
        for pool in (self.honest, self.attacks):
            for key in [key for key, found in pool.items() if not found]:
                del pool[key]
        if not self.honest:
            raise labels.LabelError(f"{directory}: no honest flow of at most {settings.max_packets} packets; record more")

    def _take(self, path, name, content, of):
        """Draws activities of a recording, then reads their packets."""
        rng, settings = self.rng, self.settings
        groups = {}
        rows = list(labels.read_flows(path))
        for number, row in enumerate(rows):
            if row["label"] == "benign" and row["protocol"] != "arp":
                way = row["cause"]
                key = ("benign", way, row["episode"] if row["episode"] is not None else f"flow{number}")
            elif row["label"] == "attack" and row["episode"] is not None:
                key = ("attack", row["family"], row["episode"])
            else:
                continue
            groups.setdefault(key, []).append(number)
        by_kind = {}
        for key, numbers in groups.items():
            packets = sum(rows[number]["packets"] for number in numbers)
            if key[0] == "benign":
                numbers = [number for number in numbers if rows[number]["packets"] <= settings.max_packets][:settings.max_flows]
                if not numbers or "+" in key[1] and len(numbers) > 1:
                    continue
            elif packets > settings.max_attack_packets:
                continue
            by_kind.setdefault(key[:2], []).append((key, numbers))
        wanted, chosen = {}, []
        for (label, way), found in sorted(by_kind.items()):
            limit = max(1, settings.per_habit // of) if label == "benign" else max(1, settings.per_family // of)
            for key, numbers in rng.sample(found, min(limit, len(found))):
                hosts = {address: host for host in content.hosts for address in (host.address, host.address6, *host.more)}
                episode = content.episodes[key[2]] if isinstance(key[2], int) else None
                activity = Activity(name, way, episode, [], hosts, content.subnet)
                begin = min(rows[number]["start_ns"] for number in numbers)
                for number in numbers:
                    wanted[number] = (activity, begin)
                chosen.append((label, way, activity))
        self._read(path, content, wanted)
        for label, way, activity in chosen:
            if activity.templates:
                (self.honest if label == "benign" else self.attacks).setdefault(way.split("+")[0], []).append(activity)
        self.recordings.append(name)

    def _read(self, path, content, wanted):
        turns = {bytes.fromhex(host.mac.replace(":", "")): [one.start_ns for one in content.episodes if host.mac in one.macs]
                 for host in content.hosts if host.role == "attacker"}
        table, templates, snap = flows.Table(turns), {}, self.settings.snap
        for time_ns, frame, length in pcap.read(f"{path}/traffic.pcap"):
            packet = pcap.parse(frame)
            if packet is None:
                continue
            flow = table.add(packet, time_ns, length)
            # Only what is wanted is kept; the table itself would grow with the recording otherwise.
            entry = wanted.get(flow.number)
            if entry is None:
                continue
            template = templates.get(flow.number)
            if template is None:
                activity, begin = entry
                template = templates[flow.number] = Template(flow.number, flow.start - begin, flow.protocol, flow.source,
                                                             flow.sport, flow.target, flow.dport)
                activity.templates.append(template)
            forward = (packet.source, packet.sport) == (flow.source, flow.sport)
            template.packets.append((time_ns - flow.start, forward, frame[:snap], length))
