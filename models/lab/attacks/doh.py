"""DNS tunnels inside HTTPS, by way of an honest DoH server."""

import socket
import ssl
import struct

from attacks.tunnel import KINDS, dns2tcp, label
from attacks.way import Way
from services import lair as far
from services.naming import TUNNEL_ZONES


def server(act, number):
    chosen = act.server("doh")
    act.meet(chosen.doh)
    act.relay(chosen, *act.network.lair.more)
    return chosen, TUNNEL_ZONES[number]


def over_dnss(act):
    """dns2tcp that speaks to a local proxy, which speaks HTTPS."""
    chosen, zone = server(act, far.DNS2TCP)
    local = f"127.0.{act.rng.randrange(1, 250)}.{act.rng.randrange(2, 250)}"
    act.spawn(["dnss", "-enable_dns_to_https", "-dns_listen_addr", f"{local}:53", "-https_upstream",
               f"https://{chosen.doh}/dns-query", "-https_client_cafile", f"{chosen.work}/cert.pem", "-fallback_upstream",
               f"{local}:54", "-monitoring_listen_addr", ""])
    act.note(evasion="DoH")
    if act.pause(1):
        dns2tcp(act, local=local, zone_end=(zone, local))


def kdig(act):
    """One connection a name."""
    chosen, zone = server(act, far.OURS)
    kind, size = act.pick("record", ["TXT", "A", "MX"]), act.pick("bytes", [12, 40, 100])
    way = act.pick("transport", ["+https", "+https", "+https-get", "+tls"])
    for _ in act.every(act.draw("period_s", 0.05, 3.0), act.pick("jitter", [0, 0.5])):
        act.run(["kdig", f"@{chosen.doh}", way, "+timeout=2", "+retry=0", ".".join([*label(act, size), zone]), kind], 4)


def curl(act):
    """Names resolved through DoH for pages that are never fetched."""
    chosen, zone = server(act, far.OURS)
    size = act.pick("bytes", [12, 40, 100])
    for _ in act.every(act.draw("period_s", 0.1, 3.0), act.pick("jitter", [0, 0.5])):
        act.run(["curl", "-s", "-k", "-o", "/dev/null", "--doh-insecure", "--doh-url", f"https://{chosen.doh}/dns-query",
                 "--connect-timeout", "0.5", "--max-time", "1", f"http://{'.'.join([*label(act, size), zone])}:9/"], 3)


def own(act):
    """One HTTP/2 connection for all, as a tunnel keeps it."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection

    chosen, zone = server(act, far.OURS)
    kind, size = act.pick("record", list(KINDS)), act.pick("bytes", [12, 40, 100])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(act.tcp(chosen.doh, 443)) as wire:
        wire.settimeout(2)
        link = H2Connection(H2Configuration(client_side=True))
        link.initiate_connection()
        for _ in act.every(act.draw("period_s", 0.02, 3.0), act.pick("jitter", [0, 0.3, 0.9])):
            names = [part.encode() for part in [*label(act, size), *zone.split(".")]]
            text = b"".join(bytes([len(part)]) + part for part in names) + b"\0"
            body = b"\0\0\x01\0\0\x01\0\0\0\0\0\0" + text + struct.pack("!HH", KINDS[kind], 1)
            stream = link.get_next_available_stream_id()
            link.send_headers(stream, [(":method", "POST"), (":path", "/dns-query"), (":authority", chosen.doh),
                                       (":scheme", "https"), ("content-type", "application/dns-message"),
                                       ("content-length", str(len(body)))])
            link.send_data(stream, body, end_stream=True)
            wire.sendall(link.data_to_send())
            try:
                data = wire.recv(65536)
                if not data:
                    return
                link.receive_data(data)
                wire.sendall(link.data_to_send())
            except (TimeoutError, socket.timeout):
                pass


F, LONG = "doh_tunnel", (12, 28)
CASES = [("dnss", over_dnss), ("kdig", kdig), ("curl", curl), ("ours", own)]
WAYS = [Way(F, tool, "tunnel", act, by=by, seconds=LONG) for tool, act in CASES for by in ("attacker", "client")
        if (tool, by) != ("dnss", "client")]
TOOLS = {"dnss": "dnss", "kdig": "knot-dnsutils", "curl": "curl", "ours": "ours"}
