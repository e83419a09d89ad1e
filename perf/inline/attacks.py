"""Attacks through a pair whose playbooks act by themselves: real tools, each trial by an attacker of its own at a target of its own."""

import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import http.client
import urllib.request

from bed import HTTP_PORT, SSH_PORT, SERVER, Bed, Probe, Shrike, sh, until
from books import percentile, spread

PLAYBOOK = """
[respond]
automatic_per_minute = 60000
[[playbook]]
name = "answer"
mode = "auto"
detectors = ["scan", "brute_force", "flood"]
protocol = "block_ip"
ttl_seconds = 600
"""
TRIAL = 30.0  # seconds; an attack that is not answered by then is counted as missed
# name: how often of `--trials`, whether its source is proven, its command
ATTACKS = {
    "nmap_connect": (1.0, True, "nmap -n -Pn -sT -T4 -p 1-2000,{ssh},{http} {target}"),
    "hydra_http": (1.0, True, "hydra -I -l admin -P {folder}/words -t 8 -s {http} {target} http-get /private/"),
    "hydra_ssh": (0.34, True, "hydra -I -l root -P {folder}/words -t 4 -s {ssh} {target} ssh"),
    "http_flood": (0.34, True, "python3 {here}/flood.py {target} {http}"),
    "nmap_syn": (1.0, False, "nmap -n -Pn -sS -T4 -p 1-2000,{ssh},{http} {target}"),
    "hping_syn": (1.0, False, "hping3 -q -i u200 -S -p {http} {target}"),
    "hping_syn_spoofed": (1.0, False, "hping3 -q -i u200 -S --rand-source -p {http} {target}"),
    "hping_udp_spoofed": (0.34, False, "hping3 -q -i u200 --udp --rand-source -p 9 {target}"),
}


class Armed:
    """A bed whose pair has playbooks, with a web server that wants a password and an sshd that takes one."""

    def __init__(self, context):
        self.bed = context.bed()
        self.shrike, self.servers, self.trial = None, [], 0
        self.folder = tempfile.mkdtemp(prefix="inline-attacks-")
        try:
            os.chmod(self.folder, 0o755)
            self.serve()
            self.shrike = Shrike(self.bed, context.options.shrike, extra=PLAYBOOK)
            self.shrike.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def serve(self):
        folder, server = self.folder, self.bed.server
        sh(f"ip -n {server} addr del {SERVER}/24 dev s0; ip -n {server} addr add {SERVER}/16 dev s0", check=False)
        sh(f"ip -n {self.bed.client} addr del 10.9.0.1/24 dev c0; ip -n {self.bed.client} addr add 10.9.0.1/16 dev c0", check=False)
        os.makedirs(f"{folder}/www/private")
        for name in ("small", "private/index.html"):
            with open(f"{folder}/www/{name}", "wb") as out:
                out.write(random.Random(1).randbytes(4_000))
        with open(f"{folder}/words", "w") as out:
            out.write("\n".join(f"guess{number}" for number in range(5000)) + "\n")
        with open(f"{folder}/passwords", "w") as out:
            out.write("admin:{PLAIN}not-among-the-guesses\n")
        with open(f"{folder}/nginx.conf", "w") as out:
            out.write(f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
                      "events { worker_connections 4096; }\nhttp { access_log off; keepalive_requests 1000000; "
                      f"server {{ listen {HTTP_PORT}; root {folder}/www; "
                      f"location /private/ {{ auth_basic x; auth_basic_user_file {folder}/passwords; }} }} }}\n")
        os.makedirs("/run/sshd", exist_ok=True)
        sh(f"ssh-keygen -q -t ed25519 -N '' -f {folder}/host")
        with open(f"{folder}/sshd.conf", "w") as out:
            out.write(f"ListenAddress 0.0.0.0\nPort {SSH_PORT}\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\nStrictModes no\n"
                      "PermitRootLogin yes\nUsePAM no\nPasswordAuthentication yes\nMaxStartups 200\nUseDNS no\n")
        def start(arguments, log):
            out = open(f"{folder}/{log}", "wb")
            self.servers.append(subprocess.Popen(["ip", "netns", "exec", server, *arguments], stdin=subprocess.DEVNULL, stdout=out,
                                                 stderr=subprocess.STDOUT))
        start([shutil.which("nginx") or "/usr/sbin/nginx", "-c", f"{folder}/nginx.conf"], "nginx.out")
        start([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/sshd.conf"], "sshd.out")
        for port in (HTTP_PORT, SSH_PORT):
            until(f"port {port}", lambda: f":{port} " in sh(f"ip netns exec {server} ss -Hltn"))

    def attacker(self):
        """A namespace behind the client's interface with an address nobody had, and a target nobody was."""
        self.trial += 1
        number = self.trial
        space = f"{self.bed.name}-t{number}"
        source, target = f"10.9.{2 + number // 200}.{1 + number % 200}", f"10.9.{100 + number // 200}.{1 + number % 200}"
        sh(f"ip netns add {space} && ip netns exec {space} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 "
           f"net.ipv6.conf.default.disable_ipv6=1; ip -n {space} link set lo up; "
           f"ip -n {self.bed.client} link add link c0 name m{number} type macvlan mode bridge && "
           f"ip -n {self.bed.client} link set m{number} netns {space} name m0 && "
           f"ip -n {space} addr add {source}/16 dev m0 && ip -n {space} link set m0 up && "
           f"ip -n {self.bed.server} addr add {target}/16 dev s0")
        sh(f"ip netns exec {space} ping -c 1 -W 2 {target}")
        return space, source, target

    def applied(self):
        """How many automatic responses were timed, their sum in ms, and the stage."""
        stage = self.shrike.get("/v1/latency")["all"].get("packet_to_block")
        return (stage["count"], stage["count"] * stage["mean"] / 1e6, stage) if stage else (0, 0.0, None)

    def responses(self):
        return self.shrike.get("/v1/responses?limit=1000")["items"]

    def undo(self, response):
        order = urllib.request.Request(f"{self.shrike.base}/v1/responses/{response}", method="DELETE")
        urllib.request.urlopen(order, timeout=30).close()

    def run(self, name, space, target):
        words = ATTACKS[name][2].format(target=target, folder=self.folder, http=HTTP_PORT, ssh=SSH_PORT,
                                        here=os.path.dirname(os.path.abspath(__file__)))
        return subprocess.Popen(["ip", "netns", "exec", space, *words.split()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def finish(self, process, space, target):
        sh(f"ip netns pids {space} | xargs -r kill -9", check=False)
        process.wait()
        sh(f"ip netns del {space}; ip -n {self.bed.server} addr del {target}/16 dev s0", check=False)

    def close(self):
        for number in range(1, self.trial + 1):
            space = f"{self.bed.name}-t{number}"
            sh(f"ip netns pids {space} 2>/dev/null | xargs -r kill -9; ip netns del {space}", check=False)
        for process in self.servers:
            process.kill()
            process.wait()
        if self.shrike:
            self.shrike.close()
        self.bed.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def attacks(context):
    """From sufficient evidence to the kernel, one real attack at a time: by the program's own stamps."""
    result = {}
    names = [name for name in (context.options.attacks or ",".join(ATTACKS)).split(",")]
    for name in names:
        share, proven, _ = ATTACKS[name]
        count = max(3, round(context.options.trials * share))
        values, missed, wrong, protocols = [], 0, 0, {}
        with Armed(context) as armed:
            for place in range(count):
                space, source, target = armed.attacker()
                before = armed.applied()
                known = {one["id"] for one in armed.responses()}
                process = armed.run(name, space, target)
                begin = time.monotonic()
                fitting = []
                # A connect scan may be limited before it is proven: what is waited for is the answer that the attack deserves.
                while time.monotonic() - begin < TRIAL and not fitting:
                    time.sleep(0.05)
                    fitting = [one for one in armed.responses() if one["id"] not in known
                               and one["protocol"] == ("block_ip" if proven else "rate_limit")]
                time.sleep(0.3)
                armed.finish(process, space, target)
                after = armed.applied()
                new = [one for one in armed.responses() if one["id"] not in known]
                for one in new:
                    protocols[one["protocol"]] = protocols.get(one["protocol"], 0) + 1
                    wrong += not proven and one["protocol"] != "rate_limit"
                    armed.undo(one["id"])
                if not fitting:
                    missed += 1
                elif after[0] > before[0]:
                    values.append((after[1] - before[1]) / (after[0] - before[0]))
                context.step(name, place + 1, count)
            stage = armed.applied()[2]
        result[name] = {
            "trials": count, "missed": missed, "proven": proven, "responses": protocols, "blocks_of_unproven": wrong,
            "applied_ms": {key: round(stage[key] / 1e6, 2) for key in ("p50", "p99", "max")} if stage else None,
            "timed": stage["count"] if stage else 0, "each": [round(value, 2) for value in values],
        }
    pools = {kind: [value for name in names for value in result[name]["each"] if ATTACKS[name][1] == is_proven]
             for kind, is_proven in (("proven", True), ("unproven", False))}
    return {"by_attack": result, "block_applied_ms": spread(pools["proven"], 2), "limit_applied_ms": spread(pools["unproven"], 2),
            "missed": sum(one["missed"] for one in result.values()), "_each": {name: one["each"] for name, one in result.items()}}


def returned(context):
    """Frames of a source that were sent after the order to block it was answered, and arrived all the same; frames both ways at rate."""
    rows = []
    with Armed(context) as armed:
        probe = Probe(context.options.probe, armed.bed, context.options.block_rate)
        for place in range(context.options.trials):
            time.sleep(0.2 + context.rng.random() * 0.2)
            asked = time.monotonic_ns()
            order = urllib.request.Request(f"{armed.shrike.base}/v1/responses", method="POST", headers={"content-type": "application/json"},
                                           data=json.dumps({"protocol": "block_ip", "ttl_seconds": 600,
                                                            "parameters": {"prefix": "10.8.0.1", "direction": "source"}}).encode())
            with urllib.request.urlopen(order, timeout=30) as answer:
                response = json.load(answer)
            told = time.monotonic_ns()
            time.sleep(0.15)
            still = time.monotonic_ns()
            armed.undo(response["id"] if "id" in response else response["response"]["id"])
            rows.append((asked, told, still))
            context.step("returned", place + 1, context.options.trials)
        found = probe.end()
    frames, after, waited, lasting = found["to_server"], 0, [], []
    for asked, told, still in rows:
        last = [at for sent, at in zip(frames.sent, frames.arrived) if asked < at < still and sent <= still]
        after += sum(told < sent < still for sent in frames.sent)
        waited.append(sum(sent <= told < at < still for sent, at in zip(frames.sent, frames.arrived)))
        lasting.append(max(0.0, (max(last, default=asked) - asked) / 1e6))
    return {"blocks": len(rows), "frames_per_s": context.options.block_rate, "sent_after_return_and_arrived": after,
            "sent_before_and_arrived_after": {"max": max(waited), "sum": sum(waited)}, "answered_ms": spread([(told - asked) / 1e6 for asked, told, _ in rows]),
            "last_arrival_after_order_ms": spread(lasting)}


class Client(threading.Thread):
    """A client that does no harm: a request every few milliseconds, on one connection or on a new one each time."""

    def __init__(self, bed, keeps, seconds):
        super().__init__(daemon=True)
        here = os.path.dirname(os.path.abspath(__file__))
        self.process = subprocess.Popen(["ip", "netns", "exec", bed.client, "python3", f"{here}/client.py", SERVER, str(HTTP_PORT),
                                         "keep" if keeps else "new", str(seconds)], stdout=subprocess.PIPE, text=True)
        self.times = []

    def run(self):
        self.times = json.loads(self.process.communicate()[0])


def _clients(bed, seconds):
    """The 99th percentile of both kinds of clients, ms."""
    clients = {"keep": Client(bed, True, seconds), "new": Client(bed, False, seconds)}
    for client in clients.values():
        client.start()
    for client in clients.values():
        client.join()
    return {name: percentile(client.times, 99) for name, client in clients.items()}


def benign(context):
    """What honest clients notice: their 99th percentile with an attack that is answered, over that without, a pair at a time."""
    result, seconds = {}, context.options.benign_seconds
    for name in (context.options.benign or "nmap_connect,nmap_syn,hydra_http,hping_syn_spoofed").split(","):
        pairs = []
        with Armed(context) as armed:
            _clients(armed.bed, 1.0)
            for place in range(context.options.rounds):
                pair = {}
                order = ["quiet", "attacked"]
                context.rng.shuffle(order)
                for how in order:
                    if how == "quiet":
                        pair[how] = _clients(armed.bed, seconds)
                        continue
                    space, _, target = armed.attacker()
                    process = armed.run(name, space, target if "hping" not in name else SERVER)
                    pair[how] = _clients(armed.bed, seconds)
                    armed.finish(process, space, target)
                    for one in armed.responses():
                        armed.undo(one["id"])
                    time.sleep(0.3)
                pairs.append(pair)
                context.step(f"benign {name}", place + 1, context.options.rounds)
        result[name] = {kind: {"quiet_p99_ms": round(statistics.median(pair["quiet"][kind] for pair in pairs), 2),
                               "attacked_p99_ms": round(statistics.median(pair["attacked"][kind] for pair in pairs), 2),
                               "median_ratio": round(statistics.median(pair["attacked"][kind] / pair["quiet"][kind] for pair in pairs), 3)}
                        for kind in ("keep", "new")}
    return {"pairs": context.options.rounds, "seconds": seconds, "by_attack": result}
