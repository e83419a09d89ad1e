"""Mail: sending, fetching, waiting for news."""

import imaplib
import poplib
import smtplib
import ssl

from honest.habit import PASSWORD, Habit

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE
PEOPLE = ["alice", "bob", "carol", "dave"]


def letter(rng):
    body = "\r\n".join("x" * 70 for _ in range(int(min(rng.lognormvariate(3, 1.6), 6000))))
    return f"From: a@lab.test\r\nTo: b@lab.test\r\nSubject: {rng.random()}\r\n\r\n{body}\r\n"


def mail_send(actor, server):
    """A mail program, with or without TLS and login; a few letters at a time."""
    rng = actor.rng
    with smtplib.SMTP(server.v4, 25, timeout=15) as client:
        client.ehlo("client.lab.test")
        if rng.random() < 0.6:
            client.starttls(context=CONTEXT)
        if rng.random() < 0.7:
            client.login(rng.choice(PEOPLE), PASSWORD)
        for _ in range(rng.choice([1, 1, 1, 4])):
            client.sendmail("a@lab.test", [f"{rng.choice(PEOPLE)}@lab.test" for _ in range(rng.choice([1, 1, 3]))],
                            letter(rng))
            if not actor.pause(rng.expovariate(1)):
                return


def mail_swaks(actor, server):
    actor.run(["swaks", "--server", server.v4, "--to", "bob@lab.test", "--from", "a@lab.test", *actor.rng.choice([
        [], ["-tls"], ["-a", "PLAIN", "-au", "alice", "-ap", PASSWORD]])], 20)


def mail_refused(actor, server):
    """A relay that is not one: refused at the recipient."""
    actor.run(["swaks", "--server", server.v4, "--to", "x@elsewhere.example", "--from", "a@lab.test"], 20)


def imap_read(actor, server):
    rng = actor.rng
    tls = rng.random() < 0.5
    client = (imaplib.IMAP4_SSL(server.v4, 993, ssl_context=CONTEXT, timeout=15) if tls
              else imaplib.IMAP4(server.v4, 143, timeout=15))
    client.login(rng.choice(PEOPLE), PASSWORD)
    _, found = client.select("INBOX")
    count = int(found[0] or 0)
    for _ in range(rng.randrange(0, 6)):
        if count:
            client.fetch(str(rng.randrange(1, count + 1)), rng.choice(["(RFC822)", "(FLAGS)", "(BODY[HEADER])"]))
        client.noop()
        if not actor.pause(rng.expovariate(1 / 2)):
            break
    client.logout()


def imap_poll(actor, server):
    """News every few seconds, over one connection or a new one each time: a beacon if one did not know."""
    rng = actor.rng
    kept = rng.random() < 0.5
    client = None
    for _ in actor.every(rng.choice([2, 5, 10]), rng.choice([0, 0.02, 0.1])):
        if client is None:
            client = imaplib.IMAP4(server.v4, 143, timeout=15)
            client.login("alice", PASSWORD)
        client.status("INBOX", "(UNSEEN)")
        if not kept:
            client.logout()
            client = None


def pop_fetch(actor, server):
    rng = actor.rng
    client = poplib.POP3(server.v4, 110, timeout=15)
    client.user(rng.choice(PEOPLE))
    client.pass_(PASSWORD)
    count, _ = client.stat()
    for number in range(min(count, rng.choice([0, 0, 1, 4]))):
        client.retr(number + 1)
    client.quit()


def quiet(act):
    """Mail libraries have errors of their own; to the recorder a refusal is a refusal."""
    def habit(actor, server):
        try:
            act(actor, server)
        except (smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto) as error:
            raise OSError(str(error)) from error

    habit.__name__ = act.__name__
    return habit


HABITS = [
    Habit(quiet(mail_send), 5, "python", ("smtp",)), Habit(mail_swaks, 2, "swaks", ("smtp",)),
    Habit(mail_refused, 1, "swaks", ("smtp",)), Habit(quiet(imap_read), 5, "python", ("imap",)),
    Habit(quiet(imap_poll), 4, "python", ("imap",)), Habit(quiet(pop_fetch), 3, "python", ("pop3",)),
]
