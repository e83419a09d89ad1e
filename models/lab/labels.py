"""Labels of a capture: who did what, when, and what each flow therefore is. The format is told in README.md.

Nothing is guessed from what traffic looks like. A flow belongs to the host whose card sent its first packet (addresses
may be forged, cards are the lab's), and to the episode that this host had been started for at that moment.
"""

import csv
import json
import os
from dataclasses import asdict, dataclass, field, fields

import pcap
from pcap import ARP, ICMP, ICMP6

FORMAT = 1
HOUR, DAY = 3_600_000_000_000, 86_400_000_000_000
FLOW_COLUMNS = ["community_id", "protocol", "source", "source_port", "target", "target_port", "start_ns", "end_ns",
                "packets", "answers", "bytes", "label", "family", "episode", "cause", "origin"]
FAMILIES = ["scan", "brute_force", "flood", "amplification", "slow_http", "dns_tunnel", "icmp_tunnel", "doh_tunnel", "dga",
            "beacon", "exfiltration", "arp_spoofing", "rogue_service", "name_poisoning", "lateral_movement", "web_attack",
            "mining"]
# Why there are flows that nobody was started for.
BACKGROUND = {
    "neighbours": "ARP, neighbour and router discovery, group membership: every host's kernel",
    "icmp_error": "a kernel's word on a packet that it could not deliver",
    "service": "a server's own traffic: names it asks for, addresses it announces, data connections it opens",
    "settling": "before the first and after the last program of the recording",
    "leftover": "a late packet of an episode that had just ended (connections that time out, answers to forged packets)",
}
GRACE_NS = 4_000_000_000
TARGETS = 64  # addresses named by an episode; a scan's further ones are in its flows


class LabelError(Exception):
    """Labels that do not keep their own format."""


@dataclass
class HostEntry:
    name: str
    role: str
    address: str
    address6: str
    mac: str
    inside: bool
    more: list = field(default_factory=list)
    ports: dict = field(default_factory=dict)


@dataclass
class Episode:
    """One run of one tool (an attack) or of one habit (honest). `peers` are the addresses an honest host that was taken
    over was pointed at: its other flows are its own. `variant` holds what was drawn: way, rate, jitter, evasion. `outcome`:
    how its first program ended (`stopped`: its time was over), what it did not say, or the error that ended it."""

    id: int
    counts_as: str
    family: str
    tool: str
    version: str
    variant: dict
    command: str
    sources: list
    macs: list
    targets: list
    start_ns: int
    end_ns: int
    forged_macs: bool = False
    peers: list = field(default_factory=list)
    flows: int = 0
    packets: int = 0
    first_ns: int = 0
    last_ns: int = 0
    origin: str = ""
    outcome: str = ""

    def saw(self, flow):
        """Counts a flow of this episode in; its targets are what it was pointed at and what it reached."""
        self.flows += 1
        self.packets += flow.packets
        self.first_ns = min(self.first_ns or flow.start, flow.start)
        self.last_ns = max(self.last_ns, flow.end)
        target = pcap.address(flow.target)
        if len(self.targets) < TARGETS and target not in self.targets:
            self.targets.append(target)

    def check(self):
        if self.counts_as not in ("attack", "benign"):
            raise LabelError(f"episode {self.id}: counts_as is {self.counts_as!r}; attack or benign")
        if self.counts_as == "attack" and self.family not in FAMILIES:
            raise LabelError(f"episode {self.id}: unknown family {self.family!r}; add it to labels.FAMILIES")
        if self.start_ns > self.end_ns:
            raise LabelError(f"episode {self.id}: ends before it starts")
        if not self.sources or not self.tool or "way" not in self.variant:
            raise LabelError(f"episode {self.id}: no source, tool or way")


@dataclass
class Labels:
    capture: str
    flows: str
    synthetic: bool
    seed: int
    seconds: float
    start_ns: int
    end_ns: int
    subnet: str
    subnet6: str
    dead: list
    hosts: list
    episodes: list
    counts: dict = field(default_factory=dict)
    format: int = FORMAT
    generator: dict = field(default_factory=dict)

    def check(self):
        if self.format != FORMAT:
            raise LabelError(f"format {self.format}: this program reads {FORMAT}; record or generate again")
        for number, episode in enumerate(self.episodes):
            if episode.id != number:
                raise LabelError(f"episode {number} has id {episode.id}")
            episode.check()
        names = {entry.name for entry in self.hosts}
        if len(names) != len(self.hosts):
            raise LabelError("two hosts of one name")


def swing_by_day(by_hour):
    """Of each whole day: its busiest hour's flows to its quietest one's."""
    days = [by_hour[at:at + 24] for at in range(0, len(by_hour) - 23, 24)]
    return [round(max(day) / max(1, min(day)), 2) for day in days]


def write(labels, directory):
    """Writes labels.json, checked first."""
    labels.check()
    path = f"{directory}/labels.json"
    with open(f"{path}.part", "w") as out:
        json.dump(asdict(labels), out, indent=1, sort_keys=True)
        out.write("\n")
    os.rename(f"{path}.part", path)


def read(directory):
    """The checked labels of a recording."""
    with open(f"{directory}/labels.json") as text:
        content = json.load(text)
    if content.get("format") != FORMAT:
        raise LabelError(f"{directory}/labels.json: format {content.get('format')}; record it again")
    for name, kind in (("hosts", HostEntry), ("episodes", Episode)):
        known = {one.name for one in fields(kind)}
        for entry in content[name]:
            if set(entry) - known:
                raise LabelError(f"{directory}/labels.json: {name} has {sorted(set(entry) - known)}")
        content[name] = [kind(**entry) for entry in content[name]]
    labels = Labels(**content)
    labels.check()
    return labels


class FlowWriter:
    """flows.csv, a line a flow; a million lines need no memory."""

    def __init__(self, path):
        self.file = open(path, "w", newline="")
        self.lines = csv.writer(self.file, lineterminator="\n")
        self.lines.writerow(FLOW_COLUMNS)

    def write(self, flow, verdict, origin=""):
        label, family, episode, cause = verdict
        self.lines.writerow([flow.community_id(), flow.protocol, pcap.address(flow.source), flow.sport,
                             pcap.address(flow.target), flow.dport, flow.start, flow.end, flow.packets, flow.answers,
                             flow.bytes, label, family, "" if episode is None else episode, cause, origin])

    def close(self):
        self.file.close()


def read_flows(directory, name="flows.csv"):
    """Yields a dict a flow, numbers as numbers."""
    with open(f"{directory}/{name}", newline="") as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames != FLOW_COLUMNS:
            raise LabelError(f"{directory}/{name}: columns are not those of format {FORMAT}; record it again")
        for row in reader:
            for column in ("source_port", "target_port", "start_ns", "end_ns", "packets", "answers", "bytes"):
                row[column] = int(row[column])
            row["episode"] = int(row["episode"]) if row["episode"] else None
            yield row


class Judge:
    """Says of each flow what it is, from who was started as what."""

    def __init__(self, hosts, episodes, start_ns, end_ns):
        self.start_ns, self.end_ns = start_ns, end_ns
        self.by_mac = {bytes.fromhex(host.mac.replace(":", "")): host for host in hosts}
        self.of_host, self.forging = {}, []
        for episode in sorted(episodes, key=lambda one: one.start_ns):
            if episode.forged_macs:
                self.forging.append(episode)
            for mac in episode.macs:
                self.of_host.setdefault(mac, []).append(episode)
        self.peer_sets = {episode.id: set(episode.peers) for episode in episodes}
        self.seen = {}

    def judge(self, flow):
        """(label, family, episode id or None, cause)."""
        ends = frozenset([(flow.source, flow.sport), (flow.target, flow.dport)])
        verdict = self._judge(flow)
        if verdict[0] == "background" and verdict[3] in ("service", "leftover", "unexplained"):
            # The other side goes on with what was begun (a late answer, a probe of an idle connection).
            before = self.seen.get((flow.protocol, ends))
            verdict = before or verdict
        else:
            self.seen[(flow.protocol, ends)] = verdict
        return verdict

    def _judge(self, flow):
        host = self.by_mac.get(flow.mac)
        if host is None:
            for episode in reversed(self.forging):
                if episode.start_ns <= flow.start <= episode.end_ns + GRACE_NS:
                    return "attack", episode.family, episode.id, episode.variant["way"]
            return "background", "", None, "unexplained"
        if flow.protocol == ICMP and flow.kind in (3, 4, 5, 11, 12) or flow.protocol == ICMP6 and flow.kind < 128:
            return "background", "", None, "icmp_error"
        quiet = (flow.protocol == ARP or flow.protocol == 2 or flow.protocol in (0, ICMP6) and not 128 <= flow.kind <= 129)
        mine = self.of_host.get(host.mac, [])
        target = pcap.address(flow.target)
        active = [one for one in mine if one.start_ns - 50_000_000 <= flow.start <= one.end_ns + GRACE_NS
                  and (one.counts_as == "benign" or host.role == "attacker" or target in self.peer_sets[one.id])]
        if quiet:
            local = [one for one in active if one.variant.get("link_layer")]
            if not local:
                return "background", "", None, "neighbours"
            active = local
        attacks = [one for one in active if one.counts_as == "attack"]
        if attacks:
            # The one that runs comes before one that has just ended.
            best = max(attacks, key=lambda one: (one.end_ns >= flow.start, one.start_ns))
            return "attack", best.family, best.id, best.variant["way"]
        honest = [one for one in active if one.counts_as == "benign"]
        running = [one for one in honest if one.end_ns + 1_000_000_000 >= flow.start] or honest
        running = [one for one in running if target in one.targets] or running
        if running:
            causes = sorted({one.variant["way"] for one in running})
            return "benign", "", running[0].id if len(running) == 1 else None, "+".join(causes)
        if host.role == "server":
            return "background", "", None, "service"
        if flow.start < self.start_ns or flow.start > self.end_ns:
            return "background", "", None, "settling"
        late = [one for one in mine if one.start_ns <= flow.start <= one.end_ns + 60_000_000_000]
        return "background", "", None, "leftover" if late or host.role == "lair" else "unexplained"
