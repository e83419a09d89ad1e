"""Names, addresses, time and state: dnsmasq (DNS and DHCP), unbound (DNS over TLS and HTTPS), chrony, snmpd."""

import os

DOMAIN = "lab.test"
# Zones that an attacker's name servers outside answer for; the site's resolver passes their names on.
TUNNEL_ZONES = ["t1.example", "t2.example", "t3.example", "t4.example"]


def dnsmasq(network, host, rng):
    site = host.kind == "site"
    zone = [f"--address=/n{index}.{DOMAIN}/{network.subnet}.{index}" for index in range(2, 60)]
    zone += [f"--address=/{name}.{DOMAIN}/{host.v4}" for name in ("www", "mail", "files", "api", "db")]
    words = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--no-ping",
             f"--listen-address={host.v4},{host.v6}", "--bind-interfaces", f"--pid-file={host.work}/dns.pid",
             f"--local=/{DOMAIN}/", f"--txt-record=long.{DOMAIN},{'t' * 200}", f"--mx-host={DOMAIN},mail.{DOMAIN},10",
             *[word for number in range(8) for word in [f"--txt-record=any.{DOMAIN},{'z' * 240}{number}"]],
             # Nobody is above this resolver: what it does not know does not exist.
             *[f"--local=/{top}/" for top in ("com", "net", "org", "info", "biz", "ru", "top", "xyz", "test")],
             "--dns-forward-max=1000", "--edns-packet-max=4096", *zone]
    lair = getattr(network, "lair", None)
    if lair:
        words += [f"--server=/{zone_name}/{address}" for zone_name, address in zip(TUNNEL_ZONES, lair.more)]
    if site:
        low, high = sorted(rng.sample(range(2, 250), 2))
        words += [f"--dhcp-range={network.subnet}.{low},{network.subnet}.{high},120", "--dhcp-authoritative",
                  f"--dhcp-leasefile={host.work}/leases", f"--dhcp-option=6,{host.v4}", "--dhcp-option=3"]
    network.start(host, words)


def unbound(network, host):
    """DNS over HTTPS and TLS on an address of its own, for names that dnsmasq on the first address knows."""
    host.doh = host.more[0]
    with open(f"{host.work}/unbound.conf", "w") as out:
        out.write(f"""
server:
  interface: {host.doh}@443
  interface: {host.doh}@853
  interface: {host.doh}@53
  https-port: 443
  tls-port: 853
  tls-service-key: {host.work}/key.pem
  tls-service-pem: {host.work}/cert.pem
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: {host.work}
  pidfile: {host.work}/unbound.pid
  do-daemonize: no
  use-syslog: no
  logfile: /dev/null
  module-config: "iterator"
  do-not-query-localhost: no
  hide-identity: yes
  msg-cache-size: 0
  rrset-cache-size: 0
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {host.v4}
""")
    network.start(host, ["unbound", "-d", "-c", f"{host.work}/unbound.conf"])


def chrony(network, host):
    work = f"{host.work}/chrony"
    os.makedirs(work)
    os.chmod(work, 0o700)
    with open(f"{work}/chrony.conf", "w") as out:
        out.write(f"local stratum 5\nallow all\nbindaddress {host.v4}\ncmdport 0\nbindcmdaddress /\npidfile {work}/pid\n"
                  f"driftfile {work}/drift\n")
    network.start(host, ["chronyd", "-x", "-d", "-u", "root", "-f", f"{work}/chrony.conf"])


def snmpd(network, host):
    with open(f"{host.work}/snmpd.conf", "w") as out:
        out.write(f"agentaddress udp:{host.v4}:161\nrocommunity public\nsysLocation lab\n")
    network.start(host, ["snmpd", "-f", "-Lo", "-C", "-c", f"{host.work}/snmpd.conf", "-p", f"{host.work}/snmpd.pid"],
                  env={"SNMP_PERSISTENT_DIR": f"{host.work}/snmp"})
