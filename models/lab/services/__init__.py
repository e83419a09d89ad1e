"""Servers of a recording. Real programs where Debian has one; what each host offers is in its `port`."""

import os
import subprocess

from services import data, files, lair, mail, naming, small, web

PASSWORD = "correct-horse"
PEOPLE = ["alice", "bob", "carol", "dave"]


def ports(rng, kind):
    """Service ports: usual ones mostly, others at times, so that a port class alone decides nothing."""
    usual = rng.random() < 0.7
    common = {
        "http": 80 if usual else rng.choice([8080, 8000, 3000, 9090]),
        "https": 443 if usual else rng.choice([8443, 9443]),
        "ssh": 22 if usual or rng.random() < 0.5 else rng.choice([2222, 22022]),
    }
    if kind == "lair":
        return common
    if kind == "desk":
        return {"ssh": common["ssh"], "rdp": 3389}
    common |= {"dns": 53, "ntp": 123, "iperf": rng.randrange(5000, 6000), "rsync": 873, "line": rng.choice([5222, 6667, 9000]),
               "echo": rng.choice([5060, 27015, 3478]), "sink": rng.choice([1514, 5004, 8125]),
               "mqtt": rng.choice([1883, 1884])}
    if kind == "site":
        common |= {"ftp": 21, "smb": 445, "smtp": 25, "imap": 143, "imaps": 993, "pop3": 110, "mysql": 3306,
                   "postgres": 5432, "redis": 6379, "memcached": 11211, "telnet": 23, "snmp": 161, "rdp": 3389,
                   "http-proxy": 3128}
    else:
        common["doh"] = 443
    return common


def people():
    """Accounts of the machine that the recording sees (a layer of its own), all with one password."""
    for name in [*PEOPLE, "backup2"]:
        subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], capture_output=True)
    subprocess.run(["chpasswd"], input="".join(f"{name}:{PASSWORD}\n" for name in PEOPLE), text=True, check=True,
                   capture_output=True)


def start(network, host, kind, work, rng):
    """Starts every server of `kind` (site, outside, lair, desk: an inside client that others may log in to) on `host`; `work` is its directory."""
    host.kind, host.port, host.work = kind, ports(rng, kind), work
    os.makedirs(work)
    os.chmod(work, 0o755)
    if kind != "desk":
        web.nginx(network, host, rng)
    files.sshd(network, host, rng)
    if kind == "lair":
        lair.start(host, rng)
        return
    if kind == "desk":
        small.start(network, host, rng)
        return
    files.rsyncd(network, host)
    naming.chrony(network, host)
    naming.dnsmasq(network, host, rng)
    network.start(host, ["iperf3", "-s", "-p", host.port["iperf"]])
    data.mosquitto(network, host)
    if kind == "outside":
        naming.unbound(network, host)
    else:
        files.vsftpd(network, host, rng)
        files.samba(network, host, rng)
        mail.dovecot(network, host, rng)
        mail.postfix(network, host)
        data.mariadb(network, host)
        data.postgres(network, host)
        data.redis(network, host, rng)
        network.start(host, ["memcached", "-u", "nobody", "-p", "11211", "-U", "11211", "-l", "0.0.0.0", "-m", "16"])
        naming.snmpd(network, host)
        web.shop(network, host)
    small.start(network, host, rng)
