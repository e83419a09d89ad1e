"""The web: browsers, programs that talk to an API, downloads."""

import shutil

from honest.habit import Habit, base, curl


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


def browser(actor, server):
    """A real browser, where there is one."""
    if not shutil.which("chromium"):
        return web_page(actor, server)
    for _ in range(actor.rng.choice([1, 2])):
        profile = f"/run/lab/tmp/browser{actor.rng.randrange(1 << 30)}"
        actor.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors",
                   f"--user-data-dir={profile}", "--disable-background-networking", "--no-first-run",
                   "--virtual-time-budget=3000", "--dump-dom", f"{base(actor, server)}/index.html"], 15)
        shutil.rmtree(profile, ignore_errors=True)
        if not actor.pause(actor.rng.expovariate(1 / 3)):
            return


def page_requisites(actor, server):
    actor.run(["wget", "-q", "-p", "-e", "robots=off", "--no-check-certificate", "-P", f"/run/lab/tmp/{actor.rng.random()}",
               "-T", "10", "-t", "1", f"{base(actor, server)}/index.html"], 20)


def web_keepalive(actor, server):
    """One connection, requests with pauses as a reader makes them."""
    rng = actor.rng
    with actor.tcp(server.v4, server.port["http"]) as client:
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
    curl(actor, *extra, f"{base(actor, server)}/{rng.choice(['', '', 'slow/'])}{rng.choice(['big', 'big', 'huge'])}")


def software_download(actor, server):
    """A package manager or an installer: an index, then files, in parts and again where it stopped."""
    rng, at = actor.rng, base(actor, server)
    curl(actor, f"{at}/page", "-H", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT")
    if rng.random() < 0.5:
        words = ["aria2c", "-q", "-x", rng.choice([1, 2, 4]), "-s", 4, "-k", "1M", "--check-certificate=false",
                 "--allow-overwrite=true", "-d", "/run/lab/tmp", "-o", f"a{rng.randrange(1 << 30)}", f"{at}/huge"]
    else:
        words = ["wget", "-q", "-O", "/dev/null", "--no-check-certificate", "-T", 10, "-t", 1,
                 *[f"{at}/{rng.choice(['image', 'big'])}?{number}" for number in range(rng.randrange(1, 8))]]
    actor.run(words, 40)


def web_login(actor, server):
    """A person who mistypes once or twice, then gets in."""
    rng = actor.rng
    at = base(actor, server)
    for _ in range(rng.randrange(0, 3)):
        curl(actor, "-u", f"alice:wrong{rng.random():.3f}", f"{at}/admin/page")
        if not actor.pause(rng.uniform(1.5, 5)):
            return
    curl(actor, "-u", "alice:correct-horse", f"{at}/admin/page")


def web_shop(actor, server):
    """Somebody looks round in a shop."""
    at = base(actor, server)
    for _ in range(actor.rng.randrange(2, 15)):
        curl(actor, f"{at}/shop/{actor.rng.choice(['item?id=%d' % actor.rng.randrange(40), 'search?q=tea', ''])}")
        if not actor.pause(actor.rng.expovariate(1 / 1.5)):
            return


def api_poll(actor, server):
    rng = actor.rng
    at, period = base(actor, server), rng.choice([0.2, 0.5, 1, 2])
    for _ in actor.every(period, 0.1, rng.randrange(5, 30)):
        curl(actor, *(["-X", "POST", "-d", "x" * rng.randrange(300)] if rng.random() < 0.3 else []), f"{at}/api/state")


def api_session(actor, server):
    """A program that keeps its TLS session for many calls."""
    at = f"https://{server.v4}:{server.port['https']}"
    words = []
    for number in range(actor.rng.randrange(5, 60)):
        words += ["-o", "/dev/null", f"{at}/api/{number}"]
    actor.run(["curl", "-s", "-k", "--rate", f"{actor.rng.choice([2, 10])}/s", *words], 30)


def web_load(actor, server):
    """A load test or a busy proxy: as fast as it goes, for a short while."""
    rng = actor.rng
    at = f"http://{server.v4}:{server.port['http']}/{rng.choice(['tiny', 'page', 'api/x'])}"
    kind = rng.randrange(3)
    if kind == 0:
        actor.run(["ab", "-q", "-n", rng.choice([50, 300]), "-c", rng.choice([1, 4, 16]), *rng.choice([[], ["-k"]]), at], 15)
    elif kind == 1:
        actor.run(["wrk", "-t", "1", "-c", rng.choice([2, 10]), "-d", "1", at], 10)
    else:
        actor.run(["h2load", "-n", rng.choice([50, 300]), "-c", rng.choice([1, 4]), "--h1", at], 10)


HABITS = [
    Habit(web_get, 8, "curl"), Habit(web_page, 8, "curl"), Habit(browser, 2, "chromium", seconds=30),
    Habit(page_requisites, 4, "wget"), Habit(web_keepalive, 5, "ours"), Habit(web_upload, 4, "curl"),
    Habit(web_download, 4, "curl"), Habit(software_download, 4, "aria2c"), Habit(web_login, 4, "curl"),
    Habit(web_shop, 4, "curl", ("smb",)), Habit(api_poll, 5, "curl"), Habit(api_session, 4, "curl"), Habit(web_load, 1.5, "ab"),
]
