"""Data bases, caches and brokers."""

import glob
import os
import subprocess
import threading
import time

from topology import within


def mariadb(network, host):
    work = f"{host.work}/mysql"
    os.makedirs(work)
    subprocess.run(["chown", "mysql", work], check=True)
    small = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--skip-log-bin"]
    with open(f"{work}.sql", "w") as out:
        # A statement a line, or the server takes none.
        out.write("CREATE DATABASE IF NOT EXISTS shop;\nCREATE TABLE shop.item (id INT, name VARCHAR(200));\n"
                  "INSERT INTO shop.item SELECT seq, REPEAT('x', 150) FROM (SELECT 1 seq UNION SELECT 2 UNION SELECT 3) t;\n"
                  "CREATE USER alice@'%' IDENTIFIED BY 'correct-horse';\nGRANT ALL ON shop.* TO alice@'%';\n")
    subprocess.run(["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={work}", "--skip-test-db",
                    "--auth-root-authentication-method=socket", *small], capture_output=True)
    network.start(host, ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={work}", f"--socket={work}/sock",
                         f"--pid-file={work}/pid", "--port=3306", f"--bind-address={host.v4}", "--skip-name-resolve",
                         "--max-connect-errors=1000000", f"--init-file={work}.sql", *small])


def postgres(network, host):
    work = f"{host.work}/postgres"
    os.makedirs(work)
    subprocess.run(["chown", "postgres", work], check=True)
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        raise FileNotFoundError("no PostgreSQL below /usr/lib/postgresql: install postgresql")
    with open(f"{work}.pw", "w") as out:
        out.write("correct-horse\n")
    os.chmod(f"{work}.pw", 0o644)
    subprocess.run(["runuser", "-u", "postgres", "--", f"{found[-1]}/initdb", "-D", work, "-A", "md5", "-U", "postgres",
                    f"--pwfile={work}.pw", "-N", "--locale=C", "-E", "UTF8"], capture_output=True, cwd="/")
    with open(f"{work}/pg_hba.conf", "a") as out:
        out.write("host all all all md5\n")
    network.start(host, ["runuser", "-u", "postgres", "--", f"{found[-1]}/postgres", "-D", work, "-h", host.v4, "-k", work,
                         "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60"], directory="/")


def redis(network, host, rng):
    secret = ["--requirepass", "correct-horse"] if rng.random() < 0.6 else []
    host.redis_secret = bool(secret)
    network.start(host, ["redis-server", "--port", host.port["redis"], "--bind", "0.0.0.0", "--protected-mode", "no",
                         "--save", "", "--dir", host.work, *secret])


def mosquitto(network, host):
    with open(f"{host.work}/mosquitto.conf", "w") as out:
        out.write(f"listener {host.port['mqtt']}\nallow_anonymous true\nuser root\n")
    network.start(host, ["mosquitto", "-c", f"{host.work}/mosquitto.conf"])


def wait_up(host, names, seconds):
    """Waits until the services listen. Those that do not."""
    late = []

    def look():
        with open("/proc/thread-self/net/tcp") as v4, open("/proc/thread-self/net/tcp6") as v6:
            words = [line.split() for line in [*v4, *v6]]
        return {int(word[1].rsplit(":", 1)[1], 16) for word in words if len(word) > 3 and word[3] == "0A"}

    end = time.monotonic() + seconds
    while True:
        up = within(host.name, look)
        late = [name for name in names if host.port.get(name) not in (None, *up)]
        if not late or time.monotonic() > end:
            return late
        threading.Event().wait(0.2)
