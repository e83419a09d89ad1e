"""Three namespaces joined by a pair (client - appliance - server), the shipped program as a process, numbered frames and real flows."""

import array
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

DIRECTIONS = ("to_server", "to_client")
CLIENT, SERVER = "10.9.0.1", "10.9.0.2"
HTTP_PORT, SSH_PORT, IPERF_PORT = 8080, 2222, 5201
WAIT = 60.0  # seconds; a bound on a hang, not a measurement


def sh(command, check=True):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"error: {command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def until(what, look, limit=WAIT, pause=0.005):
    """What `look` gives once it is true."""
    begin = time.monotonic()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() - begin > limit:
            raise TimeoutError(f"waited {limit:.0f} s: {what}")
        time.sleep(pause)


class Bed:
    """`c0` of the client to `a0` of the appliance, `b0` there to `s0` of the server; and `c1` to `s1` directly."""

    def __init__(self):
        self.name = f"shrike-inline-{os.getpid()}-{random.randrange(10_000)}"
        self.client, self.appliance, self.server = (f"{self.name}-{end}" for end in "cxs")
        for space in self.spaces():
            sh(f"ip netns add {space} && ip netns exec {space} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 "
               f"net.ipv6.conf.default.disable_ipv6=1 && ip -n {space} link set lo up")
        self.cable(self.client, "c0", self.appliance, "a0", f"{CLIENT}/24")
        self.cable(self.server, "s0", self.appliance, "b0", f"{SERVER}/24")
        self.cable(self.client, "c1", self.server, "s1", None)
        sh(f"ip netns exec {self.server} ethtool -K s1 gro on")

    def spaces(self):
        return self.client, self.appliance, self.server

    def cable(self, space, end, other, port, address):
        """A veth pair; offloads that change frames off, GRO on at the end host's side, or nothing could be redirected to it."""
        sh(f"ip link add {end} netns {space} type veth peer name {port} netns {other}")
        for where, name in ((space, end), (other, port)):
            sh(f"ip netns exec {where} ethtool -K {name} tx off tso off gso off gro off txvlan off rxvlan off; "
               f"ip netns exec {where} ethtool -K {name} rx-vlan-stag-hw-parse off tx-vlan-stag-hw-insert off; "
               f"ip -n {where} link set {name} up")
        sh(f"ip netns exec {space} ethtool -K {end} gro on")
        if address:
            sh(f"ip -n {space} addr add {address} dev {end}")

    def nic(self, space, name):
        """An interface's own counters."""
        link = json.loads(sh(f"ip -n {space} -s -j link show {name}"))[0]["stats64"]
        return {"tx": link["tx"]["packets"], "tx_dropped": link["tx"]["dropped"],
                "rx": link["rx"]["packets"], "rx_dropped": link["rx"]["dropped"]}

    def ends(self):
        """Each direction: what the sending end's NIC let out and what the receiving end's NIC took in."""
        client, server = self.nic(self.client, "c0"), self.nic(self.server, "s0")
        return {"to_server": {"sent": client["tx"], "sender_dropped": client["tx_dropped"], "arrived": server["rx"]},
                "to_client": {"sent": server["tx"], "sender_dropped": server["tx_dropped"], "arrived": client["rx"]}}

    def close(self):
        for space in self.spaces():
            sh(f"ip netns pids {space} | xargs -r kill -9", check=False)
            sh(f"ip netns del {space}", check=False)
        pins = f"/run/shrike/bpf/{self.name}"
        sh(f"umount {pins}; rm -rf {pins}", check=False)


class Shrike:
    """`shrike run` with the pair; started, killed, stopped and started again on the same pins."""

    def __init__(self, bed, binary, fail="open", limit_ms=None, extra=""):
        self.bed, self.binary, self.process = bed, binary, None
        self.folder = tempfile.mkdtemp(prefix="inline-")
        self.config = f"{self.folder}/shrike.toml"
        self.limit_ms = limit_ms
        self.write(f'fail = "{fail}"\n' + (f"heartbeat_ms = {limit_ms}\n" if limit_ms else ""), extra)
        self.said = []

    def write(self, pair, extra=""):
        """Its configuration, with these lines of the pair and these behind it."""
        with open(self.config, "w") as out:
            out.write(f'[capture]\ninstance = "{self.bed.name[-32:]}"\n'
                      f'[[pair]]\nname = "wire"\nports = ["a0", "b0"]\nnetns = "{self.bed.appliance}"\n{pair}'
                      f'{extra}\n[flow]\ncapacity = 65536\n')

    def reload(self):
        """Has it read its configuration anew; gives what it took over and what waits."""
        request = urllib.request.Request(f"{self.base}/v1/reload", data=b"", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def start(self, binary=None):
        """Starts it; returns when its API answers. `started_ns`: when it was asked for."""
        environment = {key: value for key, value in os.environ.items() if key != "SHRIKE_CONFIG"}
        self.started_ns = time.monotonic_ns()
        self.process = subprocess.Popen(
            [binary or self.binary, "run", "-c", self.config, "--no-model", "--listen", "127.0.0.1:0",
             "--store", f"{self.folder}/alerts.db"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if "live page" in line:
                break
        else:
            sys.exit("error: shrike run ended: " + "\n".join(self.said[-10:]))
        # A line may speak of several addresses; ours is the one with a port.
        self.base = re.search(r"http://(127\.0\.0\.1:\d+)", " ".join(self.said)).group(0)
        threading.Thread(target=lambda stream: [self.said.append(line.rstrip()) for line in stream],
                         args=(self.process.stderr,), daemon=True).start()
        return self

    def get(self, path):
        with urllib.request.urlopen(f"{self.base}{path}", timeout=30) as answer:
            return json.load(answer)

    def pair(self):
        return self.get("/v1/pairs")["pairs"][0]

    def directions(self):
        """Both directions' books by the names of ours."""
        return dict(zip(DIRECTIONS, self.pair()["directions"]))

    def sent(self):
        return [way["sent"] for way in self.directions().values()]

    def inspects(self, beyond):
        """Whether workers have sent more, both ways, than at an earlier reading."""
        return all(now > before for now, before in zip(self.sent(), beyond))

    def kill(self, how=signal.SIGKILL):
        """Signals and waits for its end; gives when it was signalled and when it was gone."""
        at = time.monotonic_ns()
        self.process.send_signal(how)
        self.process.wait()
        return at, time.monotonic_ns()

    def bypass(self, order):
        sh(f"{self.binary} bypass {order} wire -c {self.config}")

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        sh(f"{self.binary} bypass release wire -c {self.config}", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Frames:
    """What arrived of one direction: parallel arrays of number, time sent and time arrived, in the order of arrival."""

    def __init__(self, path, counts):
        words = array.array("Q")
        with open(path, "rb") as data:
            words.frombytes(data.read())
        self.number, self.sent, self.arrived = words[0::3], words[1::3], words[2::3]
        self.tried, self.refused, self.latest_ms = counts["tried"], counts["refused"], counts["latest_ms"]
        self.overflow = counts["overflow"]  # seen by the socket and not read: the harness's own loss

    def order(self):
        """Lost, doubled and reordered (RFC 4737: a number below one that was there before) frames; those that the sender's own
        interface refused (it was down) have numbers and are not lost."""
        seen, doubled, highest, late = bytearray(self.tried + 64), 0, -1, []
        for place, number in enumerate(self.number):
            if seen[number]:
                doubled += 1
            seen[number] = 1
            if number < highest:
                late.append(place)
            else:
                highest = number
        return {"lost": self.tried - sum(seen) - self.refused, "doubled": doubled, "late": late}


class Probe:
    """Numbered frames both ways from now until `end`."""

    def __init__(self, binary, bed, rate, bytes_=100, ends=("c0", "s0")):
        self.folder = tempfile.mkdtemp(prefix="inline-probe-")
        self.process = subprocess.Popen(
            [binary, "--client", f"{bed.client}:{ends[0]}", "--server", f"{bed.server}:{ends[1]}", "--rate", str(rate),
             "--bytes", str(bytes_), "--out", f"{self.folder}/frames"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.began_ns = json.loads(self.process.stdout.readline())["began"]

    def end(self):
        ended = time.monotonic_ns()
        told, _ = self.process.communicate("")
        if self.process.returncode != 0:
            sys.exit("error: the probe failed")
        counts = json.loads(told)
        found = {way: Frames(f"{self.folder}/frames.{way}", counts[way]) for way in DIRECTIONS}
        shutil.rmtree(self.folder)
        self.seconds = (ended - self.began_ns) / 1e9
        return found


class Flows:
    """What must survive beside the frames: iperf3 both ways, a long download, short ones one after the other, a shell over ssh."""

    def __init__(self, bed):
        self.bed, self.folder = bed, tempfile.mkdtemp(prefix="inline-flows-")
        os.chmod(self.folder, 0o755)
        self.servers, self.flows = [], {}
        self.short = {"good": 0, "failed": 0, "slowest_s": 0.0}
        self.ending = threading.Event()
        try:
            self.serve()
            self.begin()
        except BaseException:
            self.close()
            raise

    def inside(self, space, arguments, log, **further):
        out = open(f"{self.folder}/{log}", "wb")
        return subprocess.Popen(["ip", "netns", "exec", space, *arguments], stdin=subprocess.DEVNULL, stdout=out,
                                stderr=subprocess.STDOUT, **further)

    def serve(self):
        folder, server = self.folder, self.bed.server
        os.makedirs(f"{folder}/www")
        with open(f"{folder}/www/small", "wb") as out:
            out.write(random.Random(1).randbytes(20_000))
        with open(f"{folder}/www/large", "wb") as out:
            out.truncate(4 << 30)
        with open(f"{folder}/nginx.conf", "w") as out:
            out.write(f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
                      "events {}\nhttp { access_log off; "
                      f"server {{ listen {SERVER}:{HTTP_PORT}; root {folder}/www; "
                      "location = /large { limit_rate 300k; } } }\n")
        os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host", "user"):
            sh(f"ssh-keygen -q -t ed25519 -N '' -f {folder}/{key}")
        shutil.copy(f"{folder}/user.pub", f"{folder}/authorized")
        with open(f"{folder}/sshd.conf", "w") as out:
            out.write(f"ListenAddress {SERVER}\nPort {SSH_PORT}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
                      f"PidFile {folder}/sshd.pid\nStrictModes no\nPermitRootLogin yes\nUsePAM no\nPasswordAuthentication no\n")
        self.servers = [
            self.inside(server, [shutil.which("nginx") or "/usr/sbin/nginx", "-c", f"{folder}/nginx.conf"], "nginx.out"),
            self.inside(server, [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/sshd.conf"], "sshd.out"),
            self.inside(server, ["iperf3", "-s", "-p", str(IPERF_PORT)], "iperf3s.out"),
        ]
        for port in (HTTP_PORT, SSH_PORT, IPERF_PORT):
            until(f"port {port}", lambda: f":{port} " in sh(f"ip netns exec {server} ss -Hltn"))

    def begin(self):
        client = self.bed.client
        self.flows = {
            "iperf3": self.inside(client, ["iperf3", "-c", SERVER, "-p", str(IPERF_PORT), "--bidir", "-b", "5M", "-t", "86400"],
                                  "iperf3.out"),
            "download": self.inside(client, ["curl", "-sSf", "-o", "/dev/null",
                                             f"http://{SERVER}:{HTTP_PORT}/large"], "download.out"),
            "ssh": self.inside(client, ["ssh", "-p", str(SSH_PORT), "-i", f"{self.folder}/user", "-o", "StrictHostKeyChecking=no",
                                        "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", f"root@{SERVER}",
                                        "while :; do echo tick; sleep 0.1; done"], "ssh.out"),
        }
        until("the shell", lambda: self.ticks() > 2)
        self.thread = threading.Thread(target=self.requests, daemon=True)
        self.thread.start()

    def ticks(self):
        with open(f"{self.folder}/ssh.out") as lines:
            return sum(line == "tick\n" for line in lines)

    def requests(self):
        """Short downloads without a pause between them but a tenth of a second."""
        command = ["ip", "netns", "exec", self.bed.client, "curl", "-sSf", "-m", "20", "-o", "/dev/null",
                   f"http://{SERVER}:{HTTP_PORT}/small"]
        while not self.ending.is_set():
            begin = time.monotonic()
            good = subprocess.run(command, capture_output=True).returncode == 0
            self.short["good" if good else "failed"] += 1
            self.short["slowest_s"] = round(max(self.short["slowest_s"], time.monotonic() - begin), 3)
            self.ending.wait(0.1)

    def carried(self):
        """Bytes acknowledged so far on each of the connections that are to live, by ports."""
        text = sh(f"ip netns exec {self.bed.client} ss -Htnio state established dst {SERVER}")
        total = {}
        for line in re.split(r"\n(?=\S)", text.strip()):
            words = line.split()
            if len(words) > 3:
                name = " ".join(word.rsplit(":", 1)[-1] for word in words[2:4])
                total[name] = sum(int(value) for value in re.findall(r"bytes_(?:acked|received):(\d+)", line))
        return total

    def end(self):
        """Whether each is alive, and carries more than a moment ago"""
        before, ticks, begin = self.carried(), self.ticks(), time.monotonic()
        # iperf3's two (its third, for control, rests), the shell and the download.
        grown = set()
        while len(grown) < 4 and time.monotonic() - begin < 15:
            time.sleep(0.5)
            grown |= {ports for ports, count in self.carried().items() if count > before.get(ports, count)}
        alive = {name: flow.poll() is None for name, flow in self.flows.items()}
        alive["ssh"] = alive["ssh"] and self.ticks() > ticks
        self.ending.set()
        self.thread.join(30)
        return {**{f"{name}_survived": state for name, state in alive.items()}, "connections_that_carry": len(grown),
                "connections_at_rest": sorted(set(before) - grown), "short_downloads": dict(self.short),
                "all_survived": all(alive.values()) and len(grown) >= 4 and not self.short["failed"]}

    def close(self):
        self.ending.set()
        for process in [*self.flows.values(), *self.servers]:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
