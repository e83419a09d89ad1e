"""An office of hundreds of hosts in real time: who is there, what each keeps running, and what each takes up how often.

For honest host-days that are recorded and not made (`record.py --benign-only --clients N`). Nothing here attacks. A host does
something every THINK_S seconds on average and never waits longer than LONGEST_S, so that no silence of it is cut out of its
day. What moves much is rare, as it is where people work: hosts chat.
"""

import contextlib
import glob
import os
import random
import shutil
import threading
import time
from dataclasses import dataclass

import honest
from honest.standing import STANDING
from isolate import WORK, LabError, enter_network

THINK_S, LONGEST_S = 100, 240
SECONDS = 3900  # an hour, and what all programs need to begin
OUTSIDE = 8  # servers of providers
LEFT_S = 180  # what programs leave behind is removed after so long


@dataclass(frozen=True)
class Kind:
    """`share` of the hosts; `keeps`: standing habits and the share of hosts that have each; `likes`: habits by weight."""

    name: str
    share: float
    keeps: dict
    likes: dict


READING = {"web_get": 20, "web_page": 10, "web_keepalive": 10, "page_requisites": 4, "web_shop": 5, "web_login": 3}
NAMES = {"dns_single": 14, "dns_burst": 6, "dns_one_socket": 6}
KINDS = [
    Kind("desktop", 0.46, {"clock": 0.4, "agent": 0.6, "mailbox": 0.35, "share": 0.2, "push": 0.2}, {
        **READING, **NAMES, "doh": 3, "reputation_lookups": 2, "browser": 0.4, "api_poll": 2, "api_session": 2, "web_upload": 1,
        "web_download": 0.6, "software_download": 0.4, "update_check": 3, "telemetry": 3, "ntp": 2, "announce": 4, "dhcp_renew": 2,
        "mail_send": 4, "imap_read": 5, "imap_poll": 1, "pop_fetch": 2, "smb_files": 4, "smb_browse": 2, "ftp_fetch": 0.6,
        "conversation": 8, "datagrams": 3, "datagram_service": 2, "broker": 3, "desktop_use": 1, "stream": 0.5, "call": 0.8,
        "video": 0.3, "rsync_backup": 0.2, "ping": 0.5, "ssh_mistyped": 0.4, "smb_mistyped": 0.8, "ftp_mistyped": 0.3,
        "stale_password": 0.5, "name_mistyped": 3, "dead_resolver": 0.5, "dead_host": 1.5, "refused": 1, "half_open": 1,
        "mail_refused": 0.4, "telnet_use": 0.1}),
    Kind("developer", 0.12, {"clock": 0.6, "agent": 0.4, "mailbox": 0.3, "shell": 0.3, "push": 0.3}, {
        **READING, **NAMES, "ssh_session": 8, "ssh_command": 6, "ssh_jobs": 2, "scp_copy": 2, "sftp_batch": 2, "rsync_pull": 0.6,
        "mysql_use": 5, "postgres_use": 5, "redis_use": 5, "memcached_use": 3, "mqtt_use": 2, "api_poll": 4, "api_session": 5,
        "web_load": 0.3, "web_upload": 1, "software_download": 1, "ssh_mistyped": 2, "stale_password": 1, "refused": 3,
        "dead_host": 2, "ping": 3, "health_check": 1, "conversation": 6, "bulk": 0.15, "desktop_use": 1, "mail_swaks": 1, "name_mistyped": 3,
        "telnet_use": 0.5, "snmp_poll": 0.5}),
    Kind("phone", 0.22, {"push": 0.9, "clock": 0.2}, {
        **NAMES, "web_get": 14, "web_page": 6, "web_keepalive": 5, "doh": 8, "announce": 8, "dhcp_renew": 3, "telemetry": 5,
        "update_check": 3, "imap_poll": 0.5, "imap_read": 3, "call": 0.8, "stream": 0.7, "datagrams": 4, "datagram_service": 4,
        "conversation": 8, "half_open": 3, "web_upload": 1, "dead_host": 1, "ntp": 4}),
    Kind("thing", 0.16, {"meter": 0.5, "meter_web": 0.4, "clock": 0.4, "push": 0.2}, {
        "dns_single": 14, "ntp": 14, "announce": 12, "update_check": 4, "telemetry": 6, "mqtt_use": 6, "sensor": 1.5,
        "log_sender": 5, "dhcp_renew": 4, "web_get": 4, "ping": 2, "datagram_service": 4, "half_open": 1, "dead_resolver": 1}),
    Kind("jobs", 0.04, {"clock": 1, "agent": 0.5, "meter_web": 0.5}, {
        "rsync_backup": 2, "tar_backup": 2, "restic_backup": 0.5, "mysql_dump": 4, "rsync_pull": 1, "scrape": 8, "health_check": 10,
        "snmp_poll": 8, "ping": 6, "ping_round": 1, "log_sender": 8, "ssh_jobs": 4, "ssh_command": 4, "scp_copy": 3, "ftp_fetch": 3,
        "mail_swaks": 4, "mail_send": 3, "reputation_lookups": 6, "dns_burst": 10, "api_poll": 6, "software_download": 2,
        "stale_password": 2, "redis_use": 4, "postgres_use": 4, "mysql_use": 4, "sensor": 1, "bulk": 0.3}),
]


def kinds_of(count, rng):
    """The kinds of so many hosts, in any order; each at least once where there are enough hosts."""
    out = [kind for kind in KINDS for _ in range(max(1, int(kind.share * count)))]
    out = ([KINDS[0]] * (count - len(out)) + out)[-count:] if count >= len(KINDS) else rng.sample(KINDS, count)
    rng.shuffle(out)
    return out


@contextlib.contextmanager
def roomy(hosts, settings="/proc/sys"):
    """The kernel's tables of neighbours are the machine's, not a namespace's, and hold 1024 (linux: arp(7), gc_thresh3); its queue
    of frames between links, too, and a broadcast puts one there for each host. Both are raised for the time and put back."""
    wanted = {f"net/{family}/neigh/default/gc_thresh{number}": hosts * 32 << number
              for family in ("ipv4", "ipv6") for number in (1, 2, 3)}
    wanted["net/core/netdev_max_backlog"] = hosts * 16
    before = {}
    try:
        # The highest first, or a lower one would be above it.
        for name, value in sorted(wanted.items(), reverse=True):
            with open(f"{settings}/{name}", "r+") as file:
                old = int(file.read())
                if old < value:
                    before[name] = old
                    file.seek(0)
                    file.write(str(value))
    except OSError as error:
        raise LabError(f"{settings}/{name}: {error.strerror}: many hosts want root of the machine itself") from error
    try:
        yield
    finally:
        for name, value in reversed(before.items()):
            with open(f"{settings}/{name}", "w") as file:
                file.write(str(value))


class Office:
    """The life of `recording.clients`."""

    def __init__(self, recording, think_s):
        self.recording, self.think_s = recording, think_s
        self.longest_s = LONGEST_S / THINK_S * think_s
        self.habits = {habit.name: habit for habit in [*honest.HABITS, *STANDING]}
        may = {habit.name for habit in recording.may}
        self.likes = {kind.name: {name: weight for name, weight in kind.likes.items() if name in may} for kind in KINDS}

    def threads(self):
        rng, recording = self.recording.rng, self.recording
        for host, kind in zip(recording.clients, kinds_of(len(recording.clients), rng)):
            if self.likes[kind.name]:
                yield threading.Thread(target=self._live, args=(host, kind, rng.random()), daemon=True)
            for name, share in kind.keeps.items():
                if rng.random() < share:
                    yield threading.Thread(target=self._keep, args=(host, kind, self.habits[name], rng.random()), daemon=True)
        yield threading.Thread(target=self._tidy, daemon=True)

    def _live(self, host, kind, seed):
        recording, rng = self.recording, random.Random(seed)
        enter_network(host.name)
        # People differ: each has some habits they follow most of the time.
        likes = {self.habits[name]: weight * rng.choice([0.2, 1, 1, 3]) for name, weight in self.likes[kind.name].items()}
        recording.over.wait(rng.uniform(0, self.think_s))
        while not recording.over.is_set():
            habit = rng.choices(list(likes), list(likes.values()))[0]
            recording.live(host, habit, self._server(habit, rng), rng.random(), kind=kind.name)
            recording.over.wait(min(self.longest_s, rng.expovariate(1 / self.think_s)))

    def _keep(self, host, kind, habit, seed):
        recording, rng = self.recording, random.Random(seed)
        enter_network(host.name)
        server = self._server(habit, rng)
        recording.over.wait(rng.uniform(0, self.think_s))
        while not recording.over.is_set():
            recording.live(host, habit, server, rng.random(), kind=kind.name)
            recording.over.wait(rng.uniform(0.3, 1) * self.think_s)

    def _server(self, habit, rng):
        return rng.choice([one for one in self.recording.servers if all(need in one.port for need in habit.needs)])

    def _tidy(self):
        """What an hour of uploads and downloads leaves behind does not fit into memory."""
        while not self.recording.over.wait(20):
            old = time.time() - LEFT_S
            for place in ("tmp/*", "*/drop/*", "*/ftp/in/*", "*/smb/share/u*"):
                for path in glob.glob(f"{WORK}/{place}"):
                    try:
                        if os.path.getmtime(path) > old or path.endswith(".pid"):
                            continue
                        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
                    except OSError:
                        pass
