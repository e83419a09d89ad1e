"""The registry of honest habits. `HABITS` is what honest clients draw from."""

from honest import data, files, mail, media, mistakes, naming, periodic, shapes, web

MODULES = [web, files, mail, data, media, naming, periodic, mistakes, shapes]
HABITS = [habit for module in MODULES for habit in module.HABITS]
# The Debian package of each program that habits name.
TOOLS = {"curl": "curl", "wget": "wget", "aria2c": "aria2", "chromium": "chromium", "ab": "apache2-utils", "wrk": "wrk",
         "h2load": "nghttp2-client", "ssh": "openssh-client", "scp": "openssh-client", "sftp": "openssh-client",
         "rsync": "rsync", "restic": "restic", "smbclient": "smbclient", "lftp": "lftp", "swaks": "swaks",
         "mariadb": "mariadb-client", "psql": "postgresql", "redis-cli": "redis-tools", "mosquitto_pub": "mosquitto-clients", "mosquitto_sub": "mosquitto-clients",
         "dig": "bind9-dnsutils", "kdig": "knot-dnsutils", "chronyd": "chrony", "snmpwalk": "snmp", "udhcpc": "udhcpc",
         "iperf3": "iperf3", "ping": "iputils-ping", "sshpass": "sshpass", "python": "ours", "ours": "ours"}
