"""What honest clients do: real programs with many habits, their mistakes and their dead ends included."""

import os
import socket
import time

import servers

SSH = ["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
       "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"]
WORDS = ["mail", "www", "api", "cdn", "db", "git", "wiki", "auth", "img", "news"]


def curl(actor, *arguments, timeout=40):
    actor.run(["curl", "-s", "-k", "-o", "/dev/null", *arguments], timeout)


def base(actor, server, share_tls=0.4):
    rng = actor.rng
    tls = rng.random() < share_tls
    port = server.port["https" if tls else "http"]
    return f"{'https' if tls else 'http'}://{server.url_host(rng, actor.share_v6)}:{port}"


def web_get(actor, server):
    name = actor.rng.choice(["tiny", "tiny", "page", "page", "page", "image", "missing"])
    curl(actor, f"{base(actor, server)}/{name}")


def web_page(actor, server):
    """As a browser: a few connections, several objects each."""
    at = base(actor, server)
    urls = []
    for _ in range(actor.rng.randrange(3, 14)):
        urls += ["-o", "/dev/null", f"{at}/{actor.rng.choice(['tiny', 'page', 'image'])}?{actor.rng.random()}"]
    actor.run(["curl", "-s", "-k", "-Z", "--parallel-max", actor.rng.randrange(2, 7), *urls], 40)


def web_keepalive(actor, server):
    """One connection, requests with pauses as a reader makes them."""
    rng = actor.rng
    with socket.create_connection((server.v4, server.port["http"]), timeout=10) as client:
        client.settimeout(10)
        for _ in range(rng.randrange(2, 12)):
            name = rng.choice(["tiny", "page", "api/x"])
            client.sendall(f"GET /{name} HTTP/1.1\r\nHost: lab.test\r\nUser-Agent: x{'y' * rng.randrange(200)}\r\n\r\n"
                           .encode())
            client.recv(65536)
            if not actor.pause(rng.expovariate(1 / 2.5)):
                return


def web_upload(actor, server):
    size = int(actor.rng.lognormvariate(10.5, 1.5))
    path = actor.scratch(min(size, 4_000_000))
    curl(actor, "-X", "POST", "--data-binary", f"@{path}", f"{base(actor, server)}/upload")


def web_download(actor, server):
    rng = actor.rng
    extra = rng.choice([[], [], ["--limit-rate", f"{rng.choice([100, 400, 900])}k"], ["--max-time", "3"],
                        ["-r", "1000-250000"]])
    place = rng.choice(["", "", "slow/"])
    curl(actor, *extra, f"{base(actor, server)}/{place}{rng.choice(['big', 'big', 'huge'])}")


def web_login(actor, server):
    """A person who mistypes once or twice, then gets in."""
    rng = actor.rng
    at = base(actor, server)
    for _ in range(rng.randrange(0, 3)):
        curl(actor, "-u", f"alice:wrong{rng.random():.3f}", f"{at}/admin/page")
        if not actor.pause(rng.uniform(1.5, 5)):
            return
    curl(actor, "-u", "alice:correct-horse", f"{at}/admin/page")


def api_poll(actor, server):
    rng = actor.rng
    at, period = base(actor, server), rng.choice([0.2, 0.5, 1, 2])
    for _ in range(rng.randrange(5, 30)):
        curl(actor, *(["-X", "POST", "-d", "x" * rng.randrange(300)] if rng.random() < 0.3 else []), f"{at}/api/state")
        if not actor.pause(period):
            return


def health_check(actor, server):
    """A load balancer's probe: connect and close, by FIN or by reset."""
    rng = actor.rng
    reset, period = rng.random() < 0.4, rng.choice([0.5, 1, 2, 5])
    port = server.port[rng.choice(["http", "https", "ssh", "line"])]
    for _ in range(rng.randrange(3, 15)):
        with socket.create_connection((server.v4, port), timeout=5) as client:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        if not actor.pause(period):
            return


def ssh_session(actor, server):
    """Typing: small packets both ways with a person's pauses."""
    rng = actor.rng
    process = actor.spawn(["ssh", *SSH, "-i", server.key, "-p", server.port["ssh"], f"root@{server.v4}", "cat"],
                          stdin=True)
    try:
        for _ in range(rng.randrange(4, 40)):
            process.stdin.write(b"k" * rng.randrange(1, 30) + b"\n")
            process.stdin.flush()
            if not actor.pause(rng.expovariate(1 / 0.6)):
                break
        process.stdin.close()
        process.wait(10)
    finally:
        actor.end(process)


def ssh_command(actor, server):
    rng = actor.rng
    command = rng.choice(["true", "id", "ls -lR /etc | head -c 60000", "sleep 4; id", "head -c 300000 /dev/urandom"])
    actor.run(["ssh", *SSH, "-i", server.key, "-p", server.port["ssh"], f"root@{server.v4}", command], 30)


def ssh_jobs(actor, server):
    """A deployment tool: one short command after the other."""
    for _ in range(actor.rng.randrange(3, 9)):
        ssh_command(actor, server)
        if not actor.pause(actor.rng.uniform(0.1, 1.5)):
            return


def ssh_mistyped(actor, server):
    rng = actor.rng
    for _ in range(rng.randrange(1, 3)):
        actor.run(["sshpass", "-p", f"typo{rng.random():.3f}", "ssh", *SSH, "-o", "NumberOfPasswordPrompts=1",
                   "-o", "PubkeyAuthentication=no", "-p", server.port["ssh"], f"root@{server.v4}", "true"], 20)
        if not actor.pause(rng.uniform(1.5, 6)):
            return
    ssh_session(actor, server)


def scp_copy(actor, server):
    rng = actor.rng
    target = f"root@{server.v4}"
    if rng.random() < 0.5:
        path = actor.scratch(int(min(rng.lognormvariate(12, 1.5), 6_000_000)))
        words = [path, f"{target}:/dev/null"]
    else:
        words = [f"{target}:{os.path.dirname(server.key)}/www/{rng.choice(['page', 'image', 'big'])}", "/dev/null"]
    actor.run(["scp", "-q", *SSH, *rng.choice([[], ["-O"]]), "-i", server.key, "-P", server.port["ssh"], *words], 40)


def ftp_fetch(actor, server):
    rng = actor.rng
    at = f"ftp://{server.v4}:{server.port['ftp']}"
    kind = rng.randrange(4)
    if kind == 0:
        curl(actor, f"{at}/")
    elif kind == 1:
        curl(actor, f"{at}/{rng.choice(['tiny', 'image', 'big'])}")
    elif kind == 2:
        curl(actor, *[word for name in ("tiny", "image", "tiny") for word in ("-o", "/dev/null", f"{at}/{name}")])
    else:
        curl(actor, "-T", actor.scratch(rng.randrange(2000, 400_000)), f"{at}/in/f{rng.randrange(1 << 30)}")


def ftp_mistyped(actor, server):
    at = f"ftp://{server.v4}:{server.port['ftp']}"
    curl(actor, "-u", f"bob:typo{actor.rng.random():.3f}", f"{at}/")
    if actor.pause(actor.rng.uniform(1.5, 5)):
        curl(actor, f"{at}/tiny")


def dns_single(actor, server):
    rng = actor.rng
    name = rng.choice([f"n{rng.randrange(2, 60)}.lab.test", f"{rng.choice(WORDS)}.lab.test", "long.lab.test"])
    kind = rng.choice(["A", "A", "AAAA", "TXT", "MX"])
    at = server.v6 if rng.random() < actor.share_v6 else server.v4
    actor.run(["dig", f"@{at}", "+tries=1", "+time=2", *rng.choice([[], [], ["+tcp"], ["+noedns"]]), name, kind], 10)


def dns_burst(actor, server):
    for _ in range(actor.rng.randrange(3, 20)):
        dns_single(actor, server)
        if not actor.pause(actor.rng.expovariate(1 / 0.1)):
            return


def dns_one_socket(actor, server):
    """A stub that keeps its port: many questions on one flow."""
    rng = actor.rng
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((server.v4, server.port["dns"]))
        for _ in range(rng.randrange(2, 25)):
            name = b"".join(bytes([len(part)]) + part for part in (b"n%d" % rng.randrange(2, 80), b"lab", b"test"))
            client.send(rng.randbytes(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x00\x01\x00\x01")
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                pass
            if not actor.pause(rng.expovariate(1 / 0.4)):
                return


def dead_resolver(actor, server):
    actor.run(["dig", f"@{actor.rng.choice(actor.dead)}", "+tries=2", "+time=1", "www.lab.test"], 10)


def dead_host(actor, server):
    curl(actor, "--connect-timeout", actor.rng.choice(["2", "4"]), f"http://{actor.rng.choice(actor.dead)}/")


def refused(actor, server):
    """A service that is down, tried again a few times as programs do."""
    port = actor.rng.randrange(1025, 60000)
    for _ in range(actor.rng.randrange(1, 4)):
        curl(actor, f"http://{server.v4}:{port}/")
        if not actor.pause(actor.rng.uniform(0.5, 2)):
            return


def ping(actor, server):
    rng = actor.rng
    at = server.v6 if rng.random() < actor.share_v6 else server.v4
    actor.run(["ping", "-q", "-c", rng.randrange(1, 20), "-i", rng.choice(["0.2", "0.5", "1"]),
               "-s", rng.choice([56, 56, 8, 1200]), at], 25)


def video(actor, server):
    """A stream over UDP at a few hundred packets a second, either way, with its control connection."""
    rng = actor.rng
    actor.run(["iperf3", "-c", server.v4, "-p", server.port["iperf"], "-u", "-b", f"{rng.choice([300, 1000, 2500])}k",
               "-l", rng.choice([200, 800, 1200]), "-t", rng.randrange(2, 12), *rng.choice([[], ["-R"]])], 30)


def bulk(actor, server):
    rng = actor.rng
    actor.run(["iperf3", "-c", server.v4, "-p", server.port["iperf"], "-b", f"{rng.choice([2, 8, 20])}M",
               "-t", rng.randrange(1, 5), *rng.choice([[], ["-R"]])], 30)


def broker(actor, server):
    """A long session that mostly idles."""
    rng = actor.rng
    with socket.create_connection((server.v4, server.port["line"]), timeout=5) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.settimeout(3)
        end = time.monotonic() + rng.uniform(5, 60)
        while time.monotonic() < end:
            client.sendall(b"m" * rng.randrange(2, 300))
            try:
                client.recv(4096)
            except TimeoutError:
                pass
            if not actor.pause(rng.expovariate(1 / 4)):
                return


def datagram_service(actor, server):
    """Time and game servers: a question, an answer, now and then or in a rhythm."""
    rng = actor.rng
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        size, period = rng.choice([48, 48, 90, 300]), rng.choice([0.03, 0.2, 1, 3])
        for _ in range(rng.choice([1, 1, 4, 20, 60])):
            client.sendto(b"\x23" * size, (server.v4, server.port["echo"]))
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                pass
            if not actor.pause(period):
                return


def log_sender(actor, server):
    """Logs and metrics: one way, never answered."""
    rng = actor.rng
    at = rng.choice([server.v4, server.v4, rng.choice(actor.dead)])
    period = rng.choice([0.02, 0.1, 0.5])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(rng.choice([1, 3, 10, 50, 150])):
            client.sendto(b"<13>" + b"l" * rng.randrange(30, 500), (at, server.port["sink"]))
            if not actor.pause(period * rng.uniform(0.5, 1.5)):
                return


def announce(actor, server):
    """Service discovery to a multicast group, unanswered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(actor.host.v4))
        group = actor.rng.choice([("224.0.0.251", 5353), ("239.255.255.250", 1900)])
        for _ in range(actor.rng.randrange(1, 4)):
            client.sendto(b"a" * actor.rng.randrange(40, 300), group)
            if not actor.pause(actor.rng.uniform(0.2, 1)):
                return


def web_load(actor, server):
    """A load test or a busy proxy: as fast as it goes, for a short while."""
    rng = actor.rng
    at = f"http://{server.v4}:{server.port['http']}/{rng.choice(['tiny', 'page', 'api/x'])}"
    if rng.random() < 0.5:
        actor.run(["ab", "-q", "-n", rng.choice([50, 300]), "-c", rng.choice([1, 4, 16]),
                   *rng.choice([[], ["-k"]]), at], 15)
    else:
        actor.run(["wrk", "-t", "1", "-c", rng.choice([2, 10]), "-d", "1", at], 10)


def redis_use(actor, server):
    """A cache: one connection a command, or one for many; at times the wrong password at first."""
    rng = actor.rng
    words = ["redis-cli", "-h", server.v4, "-p", server.port["redis"]]
    if server.redis_secret and rng.random() < 0.9:
        words += ["-a", "correct-horse"]
    if rng.random() < 0.4:
        actor.run([*words, "-r", rng.randrange(3, 60), "-i", rng.choice(["0.01", "0.2", "1"]), "incr", "hits"], 20)
        return
    for _ in range(rng.randrange(1, 25)):
        actor.run([*words, *rng.choice([["get", "x"], ["set", "x", "v" * rng.randrange(1, 400)], ["ping"], ["info"]])], 5)
        if not actor.pause(rng.expovariate(1 / 0.3)):
            return


def mqtt_use(actor, server):
    rng = actor.rng
    at = ["-h", server.v4, "-p", server.port["mqtt"], "-t", f"lab/{rng.randrange(5)}"]
    if rng.random() < 0.3:
        actor.run(["mosquitto_sub", *at, "-W", rng.randrange(5, 40), "-k", rng.choice([5, 60])], 45)
        return
    for _ in range(rng.randrange(1, 12)):
        actor.run(["mosquitto_pub", *at, "-q", rng.randrange(3), "-m", "s" * rng.randrange(1, 300)], 5)
        if not actor.pause(rng.choice([0.2, 1, 3])):
            return


def spoken(actor, server, port, lines):
    """Says lines, each after the answer to the one before."""
    with socket.create_connection((server.v4, port), timeout=10) as client:
        client.settimeout(10)
        for line, pause in lines:
            if not client.recv(65536):
                return
            if not actor.pause(pause):
                return
            client.sendall(line + b"\r\n")
        client.recv(65536)


def mail_fetch(actor, server):
    """A mail program: some letters, mostly none, and now and then a stale password, once or twice."""
    rng = actor.rng
    if rng.random() < 0.15:
        for _ in range(rng.randrange(1, 3)):
            spoken(actor, server, server.port["pop3"], [(b"USER bob", 0), (b"PASS old%d" % rng.randrange(9999), 0)])
            if not actor.pause(rng.uniform(2, 6)):
                return
    letters = [(b"RETR %d" % number, 0.01) for number in range(rng.choice([0, 0, 1, 4]))]
    opening = [(b"CAPA", 0), (b"USER bob", 0), (b"PASS correct-horse", 0), (b"STAT", 0)]
    spoken(actor, server, server.port["pop3"], [*opening, *letters, (b"QUIT", 0)])


def telnet_use(actor, server):
    rng = actor.rng
    typo = [(b"bob", rng.uniform(0.5, 2)), (b"typo", rng.uniform(0.5, 2))] if rng.random() < 0.3 else []
    typed = [(b"c" * rng.randrange(2, 20), rng.expovariate(1 / 1.0)) for _ in range(rng.randrange(1, 12))]
    spoken(actor, server, server.port["telnet"], [*typo, (b"bob", 0.8), (b"correct-horse", 1.1), *typed, (b"exit", 0.5)])


def plan_of(rng):
    """A conversation of any shape: who speaks, how much, after how long."""
    size, gap = rng.uniform(2, 8), rng.uniform(-7, 0.5)
    spread, chatty = rng.uniform(0.1, 1.5), rng.random()
    plan = []
    for _ in range(1 + int(rng.lognormvariate(1.2, 1.0))):
        who = "server" if rng.random() < chatty else "client"
        plan.append((who, 1 + int(min(rng.lognormvariate(size, spread), 200_000)),
                     min(rng.lognormvariate(gap, 1.0), 4)))
    return plan


def conversation(actor, server):
    """Any protocol: the lab cannot have every program, but it can have every shape. One to a few in a row."""
    rng = actor.rng
    port, plan = rng.choice(server.talk_ports), plan_of(rng)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        closes = rng.choice(["client", "client", "client", "server", "server reset", "client reset"])
        with socket.socket() as client:
            client.settimeout(20)
            client.bind((actor.host.v4, 0))
            server.talk_plans[client.getsockname()[1]] = (plan, closes)
            client.connect((server.v4, port))
            servers.talk(client, plan, "client", actor.pause)
            if closes.startswith("server"):
                client.recv(1)
            elif closes == "client reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, servers.RESET)
        if not actor.pause(rng.expovariate(1 / 1.0)):
            return


def datagrams(actor, server):
    """The same over UDP: calls, games, streams, anything."""
    rng = actor.rng
    plan = plan_of(rng)[:60]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.bind((actor.host.v4, 0))
        server.talk_plans[client.getsockname()[1]] = (list(plan), "")
        for who, size, gap in plan:
            if who == "client":
                if not actor.pause(gap):
                    return
                client.sendto(b"t" * min(size, 1400), (server.v4, server.talk_ports[0]))
            else:
                try:
                    client.recv(2048)
                except (TimeoutError, ConnectionError):
                    pass


# Each habit with how often it is taken up.
HABITS = [
    (web_get, 10), (web_page, 8), (web_keepalive, 6), (web_upload, 4), (web_download, 5), (web_login, 4),
    (api_poll, 5), (health_check, 3), (ssh_session, 5), (ssh_command, 4), (ssh_jobs, 3), (ssh_mistyped, 3),
    (scp_copy, 4), (ftp_fetch, 4), (ftp_mistyped, 2), (dns_single, 8), (dns_burst, 6), (dns_one_socket, 4),
    (dead_resolver, 2), (dead_host, 2), (refused, 2), (ping, 4), (video, 3), (bulk, 2), (broker, 6),
    (datagram_service, 6), (log_sender, 4), (announce, 2), (conversation, 30), (datagrams, 10),
    (web_load, 2), (redis_use, 5), (mqtt_use, 4), (mail_fetch, 4), (telnet_use, 2),
]
