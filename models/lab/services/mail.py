"""Mail: postfix takes it and sends it on, dovecot keeps it and knows who may read it."""

import os
import subprocess

BOX = "/var/mail/lab"


def dovecot(network, host, rng):
    work = f"{host.work}/dovecot"
    os.makedirs(work)
    os.makedirs(BOX, exist_ok=True)
    os.chmod(BOX, 0o777)
    with open(f"{work}/users", "w") as out:
        out.writelines(f"{name}:{{PLAIN}}correct-horse\n" for name in ("alice", "bob", "carol", "dave"))
    with open(f"{work}/dovecot.conf", "w") as out:
        out.write(f"""
base_dir = /run/dovecot
log_path = /dev/null
protocols = imap pop3
listen = {host.v4}, {host.v6}
mail_location = maildir:{BOX}/%n
mail_uid = 1000
mail_gid = 1000
first_valid_uid = 1
# A session over TLS keeps its login process.
default_process_limit = 800
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5
auth_failure_delay = {rng.choice([0, 1, 2])} secs
ssl = yes
ssl_cert = <{host.work}/cert.pem
ssl_key = <{host.work}/key.pem
passdb {{
  driver = passwd-file
  args = username_format=%n {work}/users
}}
userdb {{
  driver = static
  args = uid=1000 gid=1000 home={BOX}/%n
}}
service auth {{
  unix_listener /var/spool/postfix/private/auth {{
    mode = 0666
  }}
}}
service anvil {{
  client_limit = 4000
}}
""")
    network.start(host, ["dovecot", "-F", "-c", f"{work}/dovecot.conf"])


def postfix(network, host):
    settings = {
        "myhostname": "mail.lab.test", "mydestination": "", "inet_interfaces": f"{host.v4}, {host.v6}, 127.0.0.1",
        "virtual_mailbox_domains": "lab.test", "virtual_mailbox_base": BOX, "virtual_mailbox_maps": "static:all/",
        "virtual_uid_maps": "static:1000", "virtual_gid_maps": "static:1000", "virtual_minimum_uid": "1",
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "private/auth",
        "smtpd_tls_cert_file": f"{host.work}/cert.pem", "smtpd_tls_key_file": f"{host.work}/key.pem",
        "smtpd_tls_security_level": "may", "broken_sasl_auth_clients": "yes", "mynetworks": "127.0.0.0/8",
        "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
        "smtpd_client_connection_rate_limit": "0", "smtpd_client_connection_count_limit": "0",
        "maillog_file": "/var/log/postfix.log", "compatibility_level": "3.6", "smtpd_error_sleep_time": "0",
        "alias_maps": "", "alias_database": "",
    }
    with open("/etc/postfix/main.cf", "w") as out:
        out.writelines(f"{name} = {value}\n" for name, value in settings.items())
    subprocess.run(["postfix", "check"], capture_output=True)
    network.start(host, ["postfix", "start-fg"])
