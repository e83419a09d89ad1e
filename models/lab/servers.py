"""Servers of a recording: nginx, sshd, vsftpd, dnsmasq, iperf3, redis, mosquitto and some small ones of our own."""

import os
import random
import shutil
import socket
import subprocess
import threading
import time

from network import enter

SIZES = {"tiny": 180, "page": 6_000, "image": 60_000, "big": 1_500_000, "huge": 6_000_000}

# Where protocols live that the lab has no program for; conversations of any shape take place on them.
TALK_PORTS = [25, 110, 143, 389, 445, 465, 587, 631, 873, 993, 1433, 1521, 2049, 3306, 3389, 5432, 5900, 6379, 8081,
              9200]


def ports(rng):
    """Service ports: usual ones mostly, others at times, so that a port class alone decides nothing."""
    usual = rng.random() < 0.7
    return {
        "http": 80 if usual else rng.choice([8080, 8000, 3000, 9090]),
        "https": 443 if usual else rng.choice([8443, 9443]),
        "ssh": 22 if usual or rng.random() < 0.5 else rng.choice([2222, 22022]),
        "ftp": 21,
        "dns": 53,
        "iperf": rng.randrange(5000, 6000),
        "line": rng.choice([1883, 5222, 6667, 9000]),
        "echo": rng.choice([123, 514, 5060, 27015]),
        "sink": rng.choice([1514, 5004, 8125]),
        "redis": 6379,
        "mqtt": rng.choice([1884, 8883]),
        "pop3": 110,
        "telnet": 23,
    }


def start(network, host, work, rng):
    """Starts every server on `host`; `work` is its directory."""
    host.port = ports(rng)
    os.makedirs(work, exist_ok=True)
    os.chmod(work, 0o755)
    _nginx(network, host, work, rng)
    _sshd(network, host, work, rng)
    _vsftpd(network, host, work, rng)
    zone = [f"--address=/n{index}.lab.test/{network.subnet}.{index}" for index in range(2, 60)]
    network.start(host, ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                         f"--listen-address={host.v4},{host.v6}", "--bind-interfaces", f"--pid-file={work}/dns.pid",
                         "--local=/lab.test/", "--txt-record=long.lab.test," + "t" * 200, *zone])
    network.start(host, ["iperf3", "-s", "-p", host.port["iperf"]])
    _redis_and_mqtt(network, host, work, rng)
    taken = set(host.port.values())
    host.talk_ports = rng.sample([port for port in TALK_PORTS if port not in taken], 6) + rng.sample(range(1024, 60000), 6)
    host.talk_plans = {}
    for port in host.talk_ports:
        for serve in (_talk_server, _talk_datagrams):
            threading.Thread(target=serve, args=(host, port), daemon=True).start()
    if rng.random() < 0.4:
        _firewall(network, host, rng)
    for serve in (_line_server, _echo_server, _sink_server, _pop3_server, _telnet_server):
        threading.Thread(target=serve, args=(host, rng.randrange(1 << 30)), daemon=True).start()


def _nginx(network, host, work, rng):
    root = f"{work}/www"
    os.makedirs(root, exist_ok=True)
    for name, size in SIZES.items():
        with open(f"{root}/{name}", "wb") as out:
            out.write(os.urandom(int(size * rng.uniform(0.6, 1.6))))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem", "-days", "2", "-subj", "/CN=lab.test"],
                   check=True, capture_output=True)
    password = subprocess.run(["openssl", "passwd", "-apr1", "correct-horse"], check=True, capture_output=True,
                              text=True).stdout.strip()
    with open(f"{work}/htpasswd", "w") as out:
        out.write(f"alice:{password}\n")
    places = f"""
        root {root};
        location /api/ {{ default_type application/json; return 200 '{{"pad":"{"x" * rng.randrange(400)}"}}'; }}
        location /form {{ return 403 'Login failed'; }}
        location /upload {{ client_max_body_size 20m; return 200 'stored'; }}
        location /admin/ {{ auth_basic "lab"; auth_basic_user_file {work}/htpasswd; alias {root}/; }}
        location /slow/ {{ limit_rate {rng.choice([20, 60, 200])}k; alias {root}/; }}
    """
    http, https = host.port["http"], host.port["https"]
    with open(f"{work}/nginx.conf", "w") as out:
        out.write(f"""
user root; worker_processes 1; daemon off; pid {work}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_timeout {rng.choice([2, 5, 15, 65])}; client_header_timeout {rng.choice([10, 20, 60])};
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
    server {{ listen {http}; listen [::]:{http}; {places} }}
    server {{ listen {https} ssl; listen [::]:{https} ssl;
              ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; {places} }}
}}
""")
    network.start(host, ["nginx", "-p", work, "-c", f"{work}/nginx.conf"])


def _sshd(network, host, work, rng):
    os.makedirs("/run/sshd", exist_ok=True)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{work}/{name}"], check=True)
    shutil.copy(f"{work}/user_key.pub", f"{work}/authorized_keys")
    host.key = f"{work}/user_key"
    with open(f"{work}/sshd_config", "w") as out:
        out.write(f"""
Port {host.port["ssh"]}
HostKey {work}/host_key
PidFile {work}/sshd.pid
AuthorizedKeysFile {work}/authorized_keys
StrictModes no
PermitRootLogin yes
PasswordAuthentication yes
UsePAM {rng.choice(["yes", "no"])}
MaxAuthTries {rng.choice([3, 6, 6])}
MaxStartups {rng.choice(["10:30:100", "30:30:100", "100"])}
LoginGraceTime {rng.choice([10, 30, 120])}
UseDNS no
Subsystem sftp internal-sftp
""")
    network.start(host, ["/usr/sbin/sshd", "-D", "-e", "-f", f"{work}/sshd_config"])


def _vsftpd(network, host, work, rng):
    root = f"{work}/ftp"
    os.makedirs(f"{root}/in", exist_ok=True)
    for name in ("tiny", "image", "big"):
        shutil.copy(f"{work}/www/{name}", f"{root}/{name}")
        os.chmod(f"{root}/{name}", 0o644)
    os.chmod(f"{root}/in", 0o777)
    os.chmod(root, 0o555)
    os.makedirs("/var/run/vsftpd/empty", exist_ok=True)
    with open(f"{work}/vsftpd.conf", "w") as out:
        out.write(f"""
listen=NO
listen_ipv6=YES
listen_port={host.port["ftp"]}
background=NO
anonymous_enable=YES
local_enable=YES
write_enable=YES
anon_upload_enable=YES
anon_root={root}
no_anon_password=YES
ftp_username=ftp
pam_service_name=vsftpd
secure_chroot_dir=/var/run/vsftpd/empty
delay_failed_login={rng.choice([0, 1, 3])}
max_login_fails={rng.choice([1, 3])}
seccomp_sandbox=NO
""")
    network.start(host, ["vsftpd", f"{work}/vsftpd.conf"])


def _redis_and_mqtt(network, host, work, rng):
    secret = ["--requirepass", "correct-horse"] if rng.random() < 0.6 else []
    host.redis_secret = bool(secret)
    network.start(host, ["redis-server", "--port", host.port["redis"], "--bind", "0.0.0.0", "--protected-mode", "no",
                         "--save", "", "--dir", work, *secret])
    with open(f"{work}/mosquitto.conf", "w") as out:
        out.write(f"listener {host.port['mqtt']}\nallow_anonymous true\nuser root\n")
    network.start(host, ["mosquitto", "-c", f"{work}/mosquitto.conf"])


def _firewall(network, host, rng):
    """Ports without a service swallow their packets, or refuse them by ICMP, as most hosts on the internet do."""
    verdict = rng.choice(["drop", "drop", "reject with icmpx type admin-prohibited"])
    open_ports = ", ".join(str(port) for port in sorted(set(host.port.values())))
    rules = f"""table inet lab {{ chain input {{ type filter hook input priority 0; policy accept;
        tcp flags syn tcp dport != {{ {open_ports} }} tcp dport < 1024 {verdict}
    }} }}"""
    subprocess.run(["ip", "netns", "exec", host.namespace, "nft", "-f", "-"], input=rules.encode(), check=False,
                   capture_output=True)


def _lines(connection):
    """Lines a client sends, without their ends."""
    left = b""
    while True:
        data = connection.recv(1024)
        if not data:
            return
        *whole, left = (left + data).split(b"\n")
        yield from (line.rstrip(b"\r\0") for line in whole)


def _login_server(host, port, session):
    server = socket.create_server(("0.0.0.0", port), backlog=64)

    def serve(connection):
        with connection:
            connection.settimeout(60)
            try:
                session(connection)
            except OSError:
                pass

    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _pop3_server(host, seed):
    """Mail boxes: a password, then letters of any size. Refuses late, and hangs up after some refusals."""
    enter(host.namespace)
    rng = random.Random(seed)
    late, patience = rng.choice([0, 0.5, 2]), rng.choice([1, 3, 5])

    def session(connection):
        connection.sendall(b"+OK POP3 ready <%d@lab.test>\r\n" % rng.randrange(1 << 30))
        inside, failed = False, 0
        for line in _lines(connection):
            word, _, rest = line.partition(b" ")
            word = word.upper()
            if word == b"CAPA":
                connection.sendall(b"+OK\r\nUSER\r\nTOP\r\nUIDL\r\n.\r\n")
            elif word == b"PASS" and rest != b"correct-horse":
                time.sleep(late)
                connection.sendall(b"-ERR [AUTH] Authentication failed.\r\n")
                failed += 1
                if failed >= patience:
                    return
            elif word == b"RETR" and inside:
                connection.sendall(b"+OK\r\n" + b"m" * int(rng.lognormvariate(8, 1.5)) + b"\r\n.\r\n")
            elif word == b"QUIT":
                connection.sendall(b"+OK bye\r\n")
                return
            else:
                inside |= word == b"PASS"
                connection.sendall(b"+OK %d messages\r\n" % rng.randrange(1, 90))

    _login_server(host, host.port["pop3"], session)


def _telnet_server(host, seed):
    """A shell behind a password, every character echoed."""
    enter(host.namespace)
    rng = random.Random(seed)
    late = rng.choice([0.3, 1, 3])

    def session(connection):
        connection.sendall(b"\xff\xfd\x18\xff\xfb\x03lab\r\nlogin: ")
        asked, failed = "user", 0
        for line in _lines(connection):
            if asked == "user":
                connection.sendall(b"Password: ")
                asked = "password"
            elif asked == "password" and not line.endswith(b"correct-horse"):
                time.sleep(late)
                failed += 1
                connection.sendall(b"\r\nLogin incorrect\r\n" + (b"login: " if failed < 3 else b""))
                if failed == 3:
                    return
                asked = "user"
            elif line == b"exit":
                return
            else:
                asked = "shell"
                connection.sendall(line + b"\r\n" + b"o" * int(rng.lognormvariate(4, 1.5)) + b"\r\n$ ")

    _login_server(host, host.port["telnet"], session)


def _line_server(host, seed):
    """Long-lived sessions with small messages both ways, as brokers and chat servers have."""
    enter(host.namespace)
    rng = random.Random(seed)
    server = socket.create_server(("0.0.0.0", host.port["line"]), backlog=64)

    def session(client):
        with client:
            client.settimeout(rng.uniform(2, 20))
            while True:
                try:
                    data = client.recv(4096)
                    if not data:
                        return
                    client.sendall(b"+" * rng.randrange(4, 200))
                except TimeoutError:
                    try:
                        client.sendall(b"ping\n")
                    except OSError:
                        return
                except OSError:
                    return

    while True:
        client, _ = server.accept()
        threading.Thread(target=session, args=(client,), daemon=True).start()


def _echo_server(host, seed):
    """Request and response over UDP, as time and game servers have."""
    enter(host.namespace)
    rng = random.Random(seed)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", host.port["echo"]))
    while True:
        data, peer = server.recvfrom(2048)
        server.sendto(data[: rng.randrange(20, 400)] or b"ok", peer)


def _sink_server(host, _seed):
    """Takes and never answers, as collectors of logs and metrics do."""
    enter(host.namespace)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", host.port["sink"]))
    while True:
        server.recvfrom(2048)


def talk(connection, plan, me, pause):
    """Plays one side of a conversation: `plan` is a list of (who speaks, bytes, seconds before). Blocking."""
    for who, size, gap in plan:
        if who == me:
            if not pause(gap):
                return
            connection.sendall(b"t" * size)
        else:
            while size > 0:
                data = connection.recv(min(size, 65536))
                if not data:
                    return
                size -= len(data)


def _sleep(seconds):
    time.sleep(seconds)
    return True


def _talk_server(host, port):
    """The server's side of conversations that a client has planned; both sides live in this process."""
    enter(host.namespace)
    server = socket.create_server(("0.0.0.0", port), backlog=64)

    def session(connection, peer):
        plan, closes = host.talk_plans.pop(peer[1], ([], "client"))
        with connection:
            connection.settimeout(20)
            try:
                talk(connection, plan, "server", _sleep)
                if closes == "server reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                elif closes == "client":
                    connection.recv(1)
            except OSError:
                pass

    while True:
        connection, peer = server.accept()
        threading.Thread(target=session, args=(connection, peer), daemon=True).start()


def _talk_datagrams(host, port):
    enter(host.namespace)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", port))
    while True:
        _, peer = server.recvfrom(2048)
        plan, _ = host.talk_plans.get(peer[1], ([], ""))
        # A question takes the answers that follow it in the plan.
        while plan and plan[0][0] == "client":
            plan.pop(0)
        while plan and plan[0][0] == "server":
            server.sendto(b"t" * min(plan.pop(0)[1], 1400), peer)


RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # struct linger: on, 0 seconds
