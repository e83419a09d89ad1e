"""What a host keeps running all day: its clock, the connection that news come by, the agent of whoever looks after it.

Slower than the habits of a two-minute recording, so only of hours (`office.py`). Each goes on until the recording is over."""

import imaplib
import math

from honest.files import smb_words, ssh_words
from honest.habit import PASSWORD, Habit, base, curl
from honest.mail import CONTEXT, PEOPLE, quiet

FOREVER = math.inf


def wait_for(actor, process):
    """Until the program ends by itself or the recording does."""
    while process.poll() is None and actor.pause(2):
        pass


def clock(actor, server):
    """A time daemon, a question every 16 to 128 s."""
    low = actor.pick("minpoll", [4, 5, 6, 6])
    at = f"/run/lab/tmp/chrony-{actor.host.name}"
    source = f"server {server.v4} iburst minpoll {low} maxpoll {low + 1}"
    wait_for(actor, actor.spawn(["chronyd", "-x", "-d", "-u", "root", "-f", "/dev/null", source, "port 0", "cmdport 0", "bindcmdaddress /",
                                 f"pidfile {at}.pid"]))


def push(actor, server):
    """A phone's line to where its news come from: silent but for signs of life, now and then a message."""
    wait_for(actor, actor.spawn(["mosquitto_sub", "-h", server.v4, "-p", server.port["mqtt"], "-t", f"push/{actor.host.name}",
                                 "-t", f"lab/{actor.rng.randrange(5)}", "-k", actor.pick("keepalive_s", [30, 60, 120, 240])]))


def meter(actor, server):
    """A thing that says its value by the clock, over one connection."""
    rng = actor.rng
    at = ["-h", server.v4, "-p", server.port["mqtt"], "-t", f"home/{actor.host.name}"]
    process = actor.spawn(["mosquitto_pub", *at, "-l", "-k", 60], stdin=True)
    for _ in actor.every(actor.pick("period_s", [5, 10, 30, 60, 120]), actor.pick("jitter", [0, 0, 0.05])):
        process.stdin.write(b"%d\n" % rng.randrange(100_000))
        process.stdin.flush()


def meter_web(actor, server):
    """The same of a thing that speaks HTTP, a connection a value."""
    at = base(actor, server, 0.7)
    for _ in actor.every(actor.pick("period_s", [30, 60, 120, 180]), actor.pick("jitter", [0, 0.02, 0.1])):
        curl(actor, "-X", "POST", "-d", "x" * actor.rng.randrange(40, 400), f"{at}/api/values")


def agent(actor, server):
    """What looks after an office machine reports home every few minutes."""
    at = base(actor, server, 0.95)
    for _ in actor.every(actor.pick("period_s", [60, 90, 120, 240]), actor.pick("jitter", [0, 0.05, 0.2])):
        report = "x" * int(min(actor.rng.lognormvariate(6.5, 1), 20_000))
        curl(actor, "-A", "agent/3.1", "-X", "POST", "-d", report, f"{at}/api/agent")
        if actor.rng.random() < 0.05:
            curl(actor, "-A", "agent/3.1", f"{at}/image")


def mailbox(actor, server):
    """A mail program that stays open: one session over TLS, a look every few minutes."""
    rng = actor.rng
    client = imaplib.IMAP4_SSL(server.v4, 993, ssl_context=CONTEXT, timeout=15)
    client.login(rng.choice(PEOPLE), PASSWORD)
    for _ in actor.every(actor.pick("period_s", [60, 120, 180]), 0.02):
        client.status("INBOX", "(UNSEEN)")
        if rng.random() < 0.2:
            _, found = client.select("INBOX")
            if int(found[0] or 0):
                client.fetch(str(rng.randrange(1, int(found[0]) + 1)), "(BODY[HEADER])")


def share(actor, server):
    """A network drive that is mounted, looked into now and then."""
    rng = actor.rng
    process = actor.spawn(smb_words(server), stdin=True)
    for _ in actor.every(120, 0.8):
        process.stdin.write(rng.choice([b"ls\n", b"ls\n", b"get tiny /dev/null\n", b"get image /dev/null\n"]))
        process.stdin.flush()


def shell(actor, server):
    """A terminal that stays open over lunch."""
    rng = actor.rng
    process = actor.spawn([*ssh_words(server), "cat"], stdin=True)
    for _ in actor.every(60, 0.95):
        for _ in range(rng.choice([1, 1, 5, 20])):
            process.stdin.write(b"k" * rng.randrange(1, 20) + b"\n")
            process.stdin.flush()
            if not actor.pause(rng.expovariate(1 / 0.8)):
                return


STANDING = [
    Habit(clock, 1, "chronyd", ("ntp",), FOREVER), Habit(push, 1, "mosquitto_sub", ("mqtt",), FOREVER),
    Habit(meter, 1, "mosquitto_pub", ("mqtt",), FOREVER), Habit(meter_web, 1, "curl", seconds=FOREVER),
    Habit(agent, 1, "curl", seconds=FOREVER), Habit(quiet(mailbox), 1, "python", ("imaps",), FOREVER),
    Habit(share, 1, "smbclient", ("smb",), FOREVER), Habit(shell, 1, "ssh", seconds=FOREVER),
]
