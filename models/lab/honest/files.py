"""Files and shells: ssh, scp, sftp, rsync, backups, SMB, FTP."""

import subprocess

from honest.habit import PASSWORD, SSH, Habit, curl


def ssh_words(server):
    return ["ssh", *SSH, "-i", server.key, "-p", server.port["ssh"], f"root@{server.v4}"]


def ssh_session(actor, server):
    """Typing: small packets both ways with a person's pauses."""
    rng = actor.rng
    process = actor.spawn([*ssh_words(server), "cat"], stdin=True)
    for _ in range(rng.randrange(4, 40)):
        process.stdin.write(b"k" * rng.randrange(1, 30) + b"\n")
        process.stdin.flush()
        if not actor.pause(rng.expovariate(1 / 0.6)):
            break
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass


def ssh_command(actor, server):
    command = actor.rng.choice(["true", "id", "ls -lR /etc | head -c 60000", "sleep 4; id", "head -c 300000 /dev/urandom"])
    actor.run([*ssh_words(server), command], 30)


def ssh_jobs(actor, server):
    """A deployment tool: one short command after the other."""
    for _ in range(actor.rng.randrange(3, 9)):
        ssh_command(actor, server)
        if not actor.pause(actor.rng.uniform(0.1, 1.5)):
            return


def scp_copy(actor, server):
    rng = actor.rng
    there = f"root@{server.v4}"
    if rng.random() < 0.5:
        words = [actor.scratch(min(rng.lognormvariate(12, 1.5), 6_000_000)), f"{there}:/dev/null"]
    else:
        words = [f"{there}:{server.work}/www/{rng.choice(['page', 'image', 'big'])}", "/dev/null"]
    actor.run(["scp", "-q", *SSH, *rng.choice([[], ["-O"]]), "-i", server.key, "-P", server.port["ssh"], *words], 40)


def sftp_batch(actor, server):
    lines = [f"get {server.work}/www/{actor.rng.choice(['tiny', 'page', 'image'])} /dev/null"
             for _ in range(actor.rng.randrange(1, 8))]
    actor.run(["sftp", "-q", *SSH, "-i", server.key, "-P", server.port["ssh"], "-b", actor.scratch_lines(lines),
               f"root@{server.v4}"], 30)


def rsync_pull(actor, server):
    rng = actor.rng
    if rng.random() < 0.5:
        source = [f"rsync://{server.v4}/www/"]
    else:
        source = ["-e", " ".join(map(str, ssh_words(server)[:-1])), f"root@{server.v4}:{server.work}/www/"]
    actor.run(["rsync", "-rq", *rng.choice([[], ["-z"]]), "--exclude=huge", *source, f"/run/lab/tmp/r{rng.random()}"], 30)


def rsync_backup(actor, server):
    """A backup job: much goes up, at times slowly, and again with little that is new."""
    rng = actor.rng
    path = actor.scratch(min(rng.lognormvariate(13.5, 1), 8_000_000))
    limit = rng.choice([[], [], [f"--bwlimit={rng.choice([100, 500])}"]])
    for _ in range(rng.choice([1, 2])):
        actor.run(["rsync", "-q", *limit, path, f"rsync://{server.v4}/drop/{path.split('/')[-1]}"], 40)
        if not actor.pause(rng.uniform(0.5, 3)):
            return


def tar_backup(actor, server):
    path = actor.scratch(min(actor.rng.lognormvariate(13.5, 1), 8_000_000))
    actor.run(["bash", "-c", f"gzip -1 < {path} | {' '.join(map(str, ssh_words(server)))} 'cat > /dev/null'"], 40)


def restic_backup(actor, server):
    rng = actor.rng
    repository = f"sftp:root@{server.v4}:/run/lab/tmp/restic{rng.randrange(1 << 30)}"
    command = " ".join(map(str, ssh_words(server))) + " -s sftp"
    env = {"RESTIC_PASSWORD": "x", "HOME": "/run/lab/tmp"}
    words = ["restic", "-q", "--no-cache", "-o", f"sftp.command={command}", "-r", repository]
    if actor.run([*words, "init"], 20, env=env):
        actor.run([*words, "backup", actor.scratch(rng.randrange(100_000, 3_000_000))], 30, env=env)


def smb_words(server, who="alice"):
    return ["smbclient", f"//{server.v4}/files", PASSWORD, "-U", who, "-s", f"{server.work}/smb/smb.conf"]


def smb_files(actor, server):
    """A share in use: lists, files both ways, one session or a few."""
    rng = actor.rng
    for _ in range(rng.choice([1, 1, 3])):
        steps = ["ls"]
        for _ in range(rng.randrange(1, 6)):
            steps.append(rng.choice(["ls", f"get {rng.choice(['tiny', 'image', 'big'])} /dev/null", "du",
                                     f"put {actor.scratch(rng.randrange(1000, 600_000))} u{rng.randrange(99)}"]))
        actor.run([*smb_words(server), "-c", "; ".join(steps)], 30)
        if not actor.pause(rng.expovariate(1 / 2)):
            return


def smb_browse(actor, server):
    actor.run(["smbclient", "-L", server.v4, "-U", f"alice%{PASSWORD}", "-s", f"{server.work}/smb/smb.conf"], 15)


def ftp_fetch(actor, server):
    rng = actor.rng
    at = f"ftp://{server.v4}:{server.port['ftp']}"
    kind = rng.randrange(5)
    if kind == 0:
        curl(actor, f"{at}/")
    elif kind == 1:
        curl(actor, f"{at}/{rng.choice(['tiny', 'image', 'big'])}")
    elif kind == 2:
        curl(actor, *[word for name in ("tiny", "image", "tiny") for word in ("-o", "/dev/null", f"{at}/{name}")])
    elif kind == 3:
        actor.run(["lftp", "-c", f"set net:max-retries 1; set ftp:passive-mode {rng.choice(['on', 'off'])}; open {at}; "
                                 "ls; cat tiny; cat image"], 20)
    else:
        curl(actor, "-T", actor.scratch(rng.randrange(2000, 400_000)), f"{at}/in/f{rng.randrange(1 << 30)}")


HABITS = [
    Habit(ssh_session, 5, "ssh"), Habit(ssh_command, 4, "ssh"), Habit(ssh_jobs, 3, "ssh"), Habit(scp_copy, 4, "scp"),
    Habit(sftp_batch, 2, "sftp"), Habit(rsync_pull, 3, "rsync"), Habit(rsync_backup, 3, "rsync"),
    Habit(tar_backup, 2, "ssh"), Habit(restic_backup, 1, "restic"), Habit(smb_files, 6, "smbclient", ("smb",)),
    Habit(smb_browse, 2, "smbclient", ("smb",)), Habit(ftp_fetch, 4, "curl", ("ftp",)),
]
