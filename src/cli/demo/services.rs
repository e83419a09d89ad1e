//! The lab's real servers: nginx, sshd and dnsmasq, each with a configuration of its own in the lab's directory.
//!
//! Nothing of the machine's own configuration is read: sshd sees accounts that exist only in its mount namespace, so the
//! attacker's guesses meet no real account and leave no trace in the machine's logs.

use super::error::DemoError;
use super::lab::{DNS, Lab, SSH, WEB};
use super::program::{Program, run};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server is given to listen.
const UP_WAIT: Duration = Duration::from_secs(15);
/// The account that the benign clients use, by key.
pub const ACCOUNT: &str = "operator";
/// The domain that the DNS server answers for.
pub const DOMAIN: &str = "lab.test";

/// The three servers, listening; ended when dropped.
#[derive(Debug)]
pub struct Services {
    _running: [Program; 3],
    key: PathBuf,
}

impl Services {
    /// Starts all three and waits until each listens.
    ///
    /// # Errors
    /// A server does not come up; its own last words are part of the message.
    pub fn start(lab: &Lab) -> Result<Services, DemoError> {
        let directory = lab.directory();
        let key = directory.join("client_key");
        let mut running = [start_web(lab)?, start_ssh(lab, &key)?, start_dns(lab)?];
        for ((program, host), port) in running.iter_mut().zip([WEB, SSH, DNS]).zip([80, 22, 53]) {
            let namespace = lab.namespace(&host);
            program.wait_up(UP_WAIT, || listens(&namespace, port))?;
        }
        Ok(Services { _running: running, key })
    }

    /// Private key of [`ACCOUNT`].
    pub fn key(&self) -> &Path {
        &self.key
    }
}

fn listens(namespace: &str, port: u16) -> bool {
    let filter = format!("sport = :{port}");
    run(&["ip", "netns", "exec", namespace, "ss", "-Hlntu", &filter]).is_ok_and(|text| !text.trim().is_empty())
}

fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    std::fs::write(path, text).map_err(DemoError::file(path))
}

fn start_web(lab: &Lab) -> Result<Program, DemoError> {
    let directory = lab.directory();
    let pages = directory.join("pages");
    std::fs::create_dir_all(&pages).map_err(DemoError::file(&pages))?;
    for (name, paragraphs) in [("index.html", 4), ("news.html", 60), ("manual.html", 1_500)] {
        let paragraph = "<p>The shrike impales what it catches on thorns, and comes back for it later.</p>\n";
        write(&pages.join(name), &format!("<!doctype html><title>lab</title>\n{}", paragraph.repeat(paragraphs)))?;
    }
    let configuration = directory.join("nginx.conf");
    let (dir, address) = (directory.display(), WEB.address());
    write(
        &configuration,
        &format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {dir}/nginx.pid;\nerror_log stderr error;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  types {{ text/html html; }}\n  client_body_temp_path {dir}/body;\n  \
             proxy_temp_path {dir}/proxy;\n  fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  \
             scgi_temp_path {dir}/scgi;\n  server {{ listen {address}:80; root {dir}/pages; }}\n}}\n"
        ),
    )?;
    let configuration = configuration.to_string_lossy();
    let command = ["nginx", "-e", "stderr", "-c", &configuration];
    Program::start(Some(&lab.namespace(&WEB)), &command, &directory.join("nginx.log"))
}

fn start_ssh(lab: &Lab, client_key: &Path) -> Result<Program, DemoError> {
    let directory = lab.directory();
    let dir = directory.display();
    let host_key = directory.join("host_key");
    for key in [host_key.as_path(), client_key] {
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", &key.to_string_lossy()])?;
    }
    std::fs::copy(client_key.with_extension("pub"), directory.join("authorized_keys"))
        .map_err(DemoError::file(client_key))?;
    write(
        &directory.join("passwd"),
        &format!(
            "root:x:0:0:root:/root:/usr/sbin/nologin\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n\
             {ACCOUNT}:x:65532:65534::/:/bin/sh\n"
        ),
    )?;
    // `*` is no password that a guess could meet, and (unlike `!`) does not lock the account for its key.
    write(&directory.join("shadow"), &format!("root:*:1::::::\nsshd:*:1::::::\n{ACCOUNT}:*:1::::::\n"))?;
    write(
        &directory.join("sshd_config"),
        &format!(
            "ListenAddress {}:22\nHostKey {dir}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {dir}/authorized_keys\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\n\
             UseDNS no\nMaxStartups 200\nPrintMotd no\nPrintLastLog no\nLogLevel ERROR\n",
            SSH.address()
        ),
    )?;
    // In the mount namespace that `ip netns exec` gives: accounts, run-time directory and login records of its own.
    let script = format!(
        "set -e; mount -t tmpfs tmpfs /run; mkdir -m 755 /run/sshd; mount -t tmpfs tmpfs /var/log; \
         mount --bind {dir}/passwd /etc/passwd; mount --bind {dir}/shadow /etc/shadow; \
         exec $(command -v sshd || echo /usr/sbin/sshd) -D -e -f {dir}/sshd_config"
    );
    Program::start(Some(&lab.namespace(&SSH)), &["sh", "-c", &script], &directory.join("sshd.log"))
}

fn start_dns(lab: &Lab) -> Result<Program, DemoError> {
    let directory = lab.directory();
    let configuration = directory.join("dnsmasq.conf");
    let mut text = format!(
        "keep-in-foreground\nuser=root\npid-file\nno-resolv\nno-hosts\nno-poll\nbind-interfaces\nlisten-address={}\n\
         local=/{DOMAIN}/\ntxt-record=note.{DOMAIN},\"the wire of this lab leads nowhere\"\nmx-host={DOMAIN},www.{DOMAIN},10\n",
        DNS.address()
    );
    for (name, host) in [("www", WEB), ("ssh", SSH), ("ns", DNS)] {
        text.push_str(&format!("host-record={name}.{DOMAIN},{}\n", host.address()));
    }
    write(&configuration, &text)?;
    let option = format!("--conf-file={}", configuration.display());
    Program::start(Some(&lab.namespace(&DNS)), &["dnsmasq", &option], &directory.join("dnsmasq.log"))
}
