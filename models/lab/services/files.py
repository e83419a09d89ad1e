"""Servers that keep files: sshd, vsftpd, samba, rsync."""

import os
import shutil
import subprocess


def sshd(network, host, rng):
    work = host.work
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{work}/{name}"], check=True)
    shutil.copy(f"{work}/user_key.pub", f"{work}/authorized_keys")
    host.key = f"{work}/user_key"
    with open(f"{work}/sshd_config", "w") as out:
        out.write(f"""
Port {host.port["ssh"]}
HostKey {work}/host_key
PidFile {work}/sshd.pid
AuthorizedKeysFile {work}/authorized_keys
StrictModes no
PermitRootLogin yes
PasswordAuthentication yes
UsePAM {rng.choice(["yes", "no"])}
MaxAuthTries {rng.choice([3, 6, 6])}
MaxStartups {rng.choice(["10:30:100", "30:30:100", "100"])}
LoginGraceTime {rng.choice([10, 30, 120])}
AllowTcpForwarding yes
UseDNS no
Subsystem sftp internal-sftp
""")
    network.start(host, ["/usr/sbin/sshd", "-D", "-e", "-f", f"{work}/sshd_config"])


def vsftpd(network, host, rng):
    work = host.work
    root = f"{work}/ftp"
    os.makedirs(f"{root}/in")
    for name in ("tiny", "image", "big"):
        shutil.copy(f"{work}/www/{name}", f"{root}/{name}")
        os.chmod(f"{root}/{name}", 0o644)
    os.chmod(f"{root}/in", 0o777)
    os.chmod(root, 0o555)
    with open(f"{work}/vsftpd.conf", "w") as out:
        out.write(f"""
listen=NO
listen_ipv6=YES
listen_port={host.port["ftp"]}
background=NO
anonymous_enable=YES
local_enable=YES
write_enable=YES
anon_upload_enable=YES
anon_root={root}
no_anon_password=YES
ftp_username=ftp
pam_service_name=vsftpd
secure_chroot_dir=/run/vsftpd/empty
delay_failed_login={rng.choice([0, 1, 3])}
max_login_fails={rng.choice([1, 3])}
seccomp_sandbox=NO
""")
    network.start(host, ["vsftpd", f"{work}/vsftpd.conf"])


def samba(network, host, rng):
    work = f"{host.work}/smb"
    os.makedirs(f"{work}/share")
    os.chmod(f"{work}/share", 0o777)
    for name in ("tiny", "image", "big"):
        shutil.copy(f"{host.work}/www/{name}", f"{work}/share/{name}")
    oldest = rng.choice(["NT1", "SMB2_02", "SMB2_02"])
    with open(f"{work}/smb.conf", "w") as out:
        out.write(f"""
[global]
workgroup = LAB
server min protocol = {oldest}
disable netbios = no
interfaces = eth0
bind interfaces only = yes
private dir = {work}
lock directory = {work}
state directory = {work}
cache directory = {work}
pid directory = {work}
ncalrpc dir = {work}/ncalrpc
log file = /dev/null
passdb backend = tdbsam:{work}/passdb.tdb
map to guest = Bad User
load printers = no
printing = bsd
disable spoolss = yes
[files]
path = {work}/share
read only = no
guest ok = {rng.choice(["yes", "no"])}
[backup]
path = {work}/share
read only = no
""")
    for name in ("alice", "bob"):
        subprocess.run(["smbpasswd", "-c", f"{work}/smb.conf", "-a", "-s", name], capture_output=True, text=True,
                       input="correct-horse\ncorrect-horse\n")
    network.start(host, ["smbd", "-F", "--no-process-group", "-s", f"{work}/smb.conf"])
    network.start(host, ["nmbd", "-F", "--no-process-group", "-s", f"{work}/smb.conf"])


def rsyncd(network, host):
    with open(f"{host.work}/rsyncd.conf", "w") as out:
        out.write(f"use chroot = no\nport = 873\naddress = {host.v4}\n[www]\npath = {host.work}/www\nread only = yes\n"
                  f"[drop]\npath = {host.work}/drop\nread only = no\nuid = root\n")
    os.makedirs(f"{host.work}/drop")
    network.start(host, ["rsync", "--daemon", "--no-detach", f"--config={host.work}/rsyncd.conf"])
