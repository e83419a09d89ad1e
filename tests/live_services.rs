//! Every type of event that EVE has, from other people's servers and clients on a wire that a real `shrike run` watches
//! through AF_XDP: what is read of protocols that nobody here wrote both ends of.
//!
//! One lab, one sensor, a client of each protocol, one after the other; then the lines of each type are looked for.

#[path = "support/eve.rs"]
mod eve;
mod live;
mod support;

use live::process::Shrike;
use live::until;
use serde_json::Value;
use shrike::cli::demo::lab::{CLIENTS, DNS, Host, Lab, NMAP, SENSOR_INTERFACE, SSH, WEB};
use shrike::cli::demo::program::{Program, missing, run};
use shrike::cli::demo::services::{ACCOUNT, Services};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const PROGRAMS: [&str; 23] = [
    "ip",
    "ss",
    "openssl",
    "nginx",
    "curl",
    "h2load",
    "sshd",
    "ssh",
    "dnsmasq",
    "dig",
    "udhcpc",
    "smbd",
    "smbclient",
    "vsftpd",
    "aiosmtpd",
    "gtlsserver",
    "gtlsclient",
    "kdb5_util",
    "kadmin.local",
    "krb5kdc",
    "kinit",
    "kvno",
    "nmap",
];
/// Generous: a bound on a hang, not a measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// Ports of the servers in the web host's namespace, beside nginx's own 80.
const PORTS: [u16; 7] = [21, 25, 88, 443, 445, 4433, 8080];
/// Requests of HTTP/2 of one connection, and how many of them at once.
const LOAD: [usize; 2] = [500, 100];

/// Files of the servers, below the lab's directory: it goes with the lab.
fn write_files(folder: &Path) {
    let (dir, web) = (folder.display(), WEB.address());
    for name in ["share", "ftp", "smb"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("share/report.txt", "numbers\n".into());
    write("ftp/report.txt", "numbers\n".into());
    write("mail.txt", "Subject: numbers\r\n\r\nup\r\n".into());
    write(
        "tls.conf",
        format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {dir}/tls.pid;\nerror_log stderr error;\n\
             events {{ worker_connections 64; }}\nhttp {{\n  access_log off;\n  client_body_temp_path {dir}/tls-body;\n  \
             proxy_temp_path {dir}/tls-proxy;\n  fastcgi_temp_path {dir}/tls-fastcgi;\n  uwsgi_temp_path {dir}/tls-uwsgi;\n  \
             scgi_temp_path {dir}/tls-scgi;\n  server {{ listen {web}:443 ssl; ssl_certificate {dir}/cert.pem; \
             ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; root {dir}/ftp; }}\n  \
             server {{ listen {web}:8080 http2; root {dir}/ftp; }}\n}}\n"
        ),
    );
    write(
        "smb.conf",
        format!(
            "[global]\ninterfaces = {web}\nbind interfaces only = yes\nsmb ports = 445\ndisable netbios = yes\n\
             map to guest = bad user\nguest account = root\nprivate dir = {dir}/smb\nstate directory = {dir}/smb\n\
             cache directory = {dir}/smb\nlock directory = {dir}/smb\npid directory = {dir}/smb\n\
             ncalrpc dir = {dir}/smb\nload printers = no\nprinting = bsd\nlog file = {dir}/smb/log\n\
             [share]\npath = {dir}/share\nguest ok = yes\n"
        ),
    );
    write(
        "vsftpd.conf",
        format!(
            "listen=YES\nlisten_address={web}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={dir}/ftp\n\
             no_anon_password=NO\nsecure_chroot_dir={dir}/ftp\nxferlog_enable=NO\nseccomp_sandbox=NO\n"
        ),
    );
    write(
        "krb5.conf",
        format!(
            "[libdefaults]\ndefault_realm = LAB.TEST\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\n\
             [realms]\nLAB.TEST = {{\n kdc = {web}\n}}\n"
        ),
    );
    write(
        "kdc.conf",
        format!(
            "[kdcdefaults]\nkdc_listen = {web}:88\nkdc_tcp_listen = {web}:88\n[realms]\nLAB.TEST = {{\n \
             database_name = {dir}/principal\n key_stash_file = {dir}/stash\n}}\n"
        ),
    );
}

/// Keys, and the accounts of the realm.
fn make_secrets(folder: &Path) {
    let dir = folder.display();
    live::run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {dir}/key.pem \
         -out {dir}/cert.pem -days 2 -subj /O=Lab/CN=www.lab.test -addext subjectAltName=DNS:www.lab.test"
    ));
    live::run(&format!(
        "export KRB5_CONFIG={dir}/krb5.conf KRB5_KDC_PROFILE={dir}/kdc.conf; kdb5_util create -s -r LAB.TEST -P master && \
         printf 'addprinc -pw secret anna\\naddprinc -randkey host/web\\n' | kadmin.local"
    ));
}

/// The servers that the demo has not, in the namespace of its web server; DHCP in that of its DNS server.
fn start_servers(lab: &Lab) -> Vec<Program> {
    let folder = lab.directory();
    write_files(folder);
    make_secrets(folder);
    let (dir, web) = (folder.display(), WEB.address());
    let start = |host: &Host, name: &str, command: String| {
        let log = folder.join(format!("{name}.log"));
        Program::start(Some(&lab.namespace(host)), &["sh", "-c", &format!("exec {command}")], &log).unwrap()
    };
    let mut servers = vec![
        start(&WEB, "tls", format!("nginx -e stderr -c {dir}/tls.conf")),
        start(&WEB, "smbd", format!("smbd -F --no-process-group --debug-stdout -s {dir}/smb.conf")),
        start(&WEB, "vsftpd", format!("vsftpd {dir}/vsftpd.conf")),
        start(&WEB, "smtp", format!("aiosmtpd -n -l {web}:25")),
        start(&WEB, "quic", format!("gtlsserver -q {web} 4433 {dir}/key.pem {dir}/cert.pem -d {dir}/ftp")),
        start(
            &WEB,
            "kdc",
            format!("env KRB5_CONFIG={dir}/krb5.conf KRB5_KDC_PROFILE={dir}/kdc.conf krb5kdc -n -P {dir}/kdc.pid"),
        ),
        start(
            &DNS,
            "dhcp",
            format!(
                "dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --port=0 --pid-file \
                 --dhcp-leasefile={dir}/leases --interface=eth0 --bind-interfaces --dhcp-authoritative --no-ping \
                 --dhcp-range=198.18.77.150,198.18.77.160,2m --dhcp-option=15,lab.test"
            ),
        ),
    ];
    for server in &mut servers {
        let listening = || {
            let listens = |host: &Host, port: u16| {
                let filter = format!("sport = :{port}");
                run(&["ip", "netns", "exec", &lab.namespace(host), "ss", "-Hlntu", &filter])
                    .is_ok_and(|text| !text.trim().is_empty())
            };
            PORTS.iter().all(|port| listens(&WEB, *port)) && listens(&DNS, 67)
        };
        server.wait_up(LIMIT, listening).unwrap();
    }
    servers
}

/// What the clients do, each a script that must end well.
fn use_services(lab: &Lab, services: &Services) {
    let (dir, web, dns, ssh) = (lab.directory().display(), WEB.address(), DNS.address(), SSH.address());
    let key = services.key().display();
    let curl = format!("curl -sSf -o /dev/null --resolve www.lab.test:443:{web}");
    let of_realm = format!("export KRB5_CONFIG={dir}/krb5.conf KRB5CCNAME=FILE:{dir}/tickets");
    let ([anna, ..], [requests, at_once]) = (CLIENTS, LOAD);
    for (host, script) in [
        (anna, format!("dig +short @{dns} www.lab.test | grep -q {web}")),
        (anna, format!("curl -sSf -o /dev/null -H 'Host: www.lab.test' http://{web}/news.html")),
        (
            anna,
            format!(
                "h2load -n {requests} -c 1 -m {at_once} http://{web}:8080/report.txt | grep -q '{requests} succeeded'"
            ),
        ),
        (anna, format!("{curl} -k --tls-max 1.2 https://www.lab.test/report.txt")),
        (anna, format!("{curl} -k --tlsv1.3 https://www.lab.test/report.txt")),
        (anna, format!("gtlsclient -q --exit-on-all-streams-close {web} 4433 https://www.lab.test/report.txt")),
        (
            anna,
            format!(
                "ssh -F none -i {key} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                 {ACCOUNT}@{ssh} true"
            ),
        ),
        (
            anna,
            format!("smbclient //{web}/share -s {dir}/smb.conf -U anna%secret -c 'ls; get report.txt {dir}/got.txt'"),
        ),
        (anna, format!("{of_realm}; echo secret | kinit anna && kvno host/web && ! echo secret | kinit nobody")),
        (anna, format!("curl -sSf ftp://anonymous:anonymity@{web}/report.txt | grep -q numbers")),
        (
            anna,
            format!(
                "curl -sSf smtp://{web}/client.lab.test --mail-from anna@lab.test --mail-rcpt ben@lab.test \
                 --upload-file {dir}/mail.txt"
            ),
        ),
        // Its script would configure the interface, and the machine's resolver.
        (anna, "udhcpc -i eth0 -f -n -q -t 5 -T 1 -s /bin/true -x hostname:anna".to_owned()),
        (NMAP, format!("nmap -n -Pn -sS --max-retries 1 -p 1-200 {web}")),
        (NMAP, format!("nmap -n -Pn -sS -f --max-retries 1 -p 80 {web}")),
    ] {
        run(&["ip", "netns", "exec", &lab.namespace(&host), "sh", "-c", &script]).unwrap();
    }
}

/// What must be in the file: type of the event, and values at places in one and the same line of it. Words with `*` at the
/// end are beginnings.
const WANTED: &[(&str, &[(&str, &str)])] = &[
    ("dns", &[("/dns/queries/0/rrname", "www.lab.test"), ("/dns/grouped/A/0", "198.18.77.10")]),
    (
        "http",
        &[
            ("/http/hostname", "www.lab.test"),
            ("/http/url", "/news.html"),
            ("/http/http_user_agent", "curl/*"),
            ("/http/status", "200"),
        ],
    ),
    (
        "tls",
        &[
            ("/tls/version", "TLS 1.2"),
            ("/tls/sni", "www.lab.test"),
            ("/tls/subject", "*www.lab.test*"),
            ("/tls/subjectaltname/0", "www.lab.test"),
        ],
    ),
    ("tls", &[("/tls/version", "TLS 1.3"), ("/tls/sni", "www.lab.test")]),
    // What this client names where it is given an address.
    ("quic", &[("/quic/version", "1"), ("/quic/sni", "localhost"), ("/quic/ja4", "q13d*")]),
    ("ssh", &[("/ssh/client/software_version", "OpenSSH_*"), ("/ssh/server/software_version", "OpenSSH_*")]),
    ("smb", &[("/smb/command", "SMB2_COMMAND_NEGOTIATE_PROTOCOL"), ("/smb/dialect", "3.11")]),
    ("smb", &[("/smb/share", "\\\\198.18.77.10\\share")]),
    ("smb", &[("/smb/filename", "report.txt")]),
    ("krb5", &[("/krb5/msg_type", "KRB_AS_REP"), ("/krb5/cname", "anna"), ("/krb5/realm", "LAB.TEST")]),
    ("krb5", &[("/krb5/msg_type", "KRB_TGS_REP"), ("/krb5/sname", "host/web")]),
    ("krb5", &[("/krb5/error_code", "KDC_ERR_C_PRINCIPAL_UNKNOWN")]),
    ("ftp", &[("/ftp/command", "USER"), ("/ftp/command_data", "anonymous")]),
    ("ftp", &[("/ftp/command", "RETR"), ("/ftp/command_data", "report.txt")]),
    (
        "smtp",
        &[
            ("/smtp/helo", "client.lab.test"),
            ("/smtp/mail_from", "*anna@lab.test*"),
            ("/smtp/rcpt_to/0", "*ben@lab.test*"),
        ],
    ),
    ("dhcp", &[("/dhcp/dhcp_type", "discover"), ("/dhcp/hostname", "anna")]),
    ("dhcp", &[("/dhcp/dhcp_type", "ack"), ("/dhcp/assigned_ip", "198.18.77.*")]),
    ("anomaly", &[("/anomaly/type", "decode"), ("/anomaly/event", "decoder.ipv4.frag_tiny")]),
    ("alert", &[("/src_ip", "198.18.77.201"), ("/alert/signature", "SHRIKE scan *")]),
    ("stats", &[("/event_type", "stats")]),
];
/// Protocols of flows that ended.
const FLOWS: [&str; 11] = ["dns", "http", "http2", "tls", "quic", "ssh", "smb", "krb5", "ftp", "smtp", "dhcp"];

/// Is it this text? `*` at an end stands for anything.
fn is_like(value: &Value, wanted: &str) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(wanted.trim_matches('*')),
        (None, Some(beginning)) => text.starts_with(beginning),
        _ => text == wanted,
    }
}

/// Lines that are whole.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Does a line have these values?
fn has(line: &Value, places: &[(&str, &str)]) -> bool {
    places.iter().all(|(place, wanted)| line.pointer(place).is_some_and(|value| is_like(value, wanted)))
}

/// What of [`WANTED`] no line has.
fn missing_events(lines: &[Value]) -> Vec<&'static (&'static str, &'static [(&'static str, &'static str)])> {
    WANTED
        .iter()
        .filter(|(kind, places)| !lines.iter().any(|line| line["event_type"] == *kind && has(line, places)))
        .collect()
}

#[test]
fn live_real_programs_bring_every_type_of_event() {
    let test = "live_real_programs_bring_every_type_of_event";
    if !support::privileged(test) {
        return;
    }
    if let Some(program) = missing(&PROGRAMS) {
        return support::skip(test, "root", &format!("no {program} here: ci/install-packages.sh test"));
    }
    let lab = Lab::build().unwrap();
    let services = Services::start(&lab).unwrap();
    let servers = start_servers(&lab);
    let (config, path) = (lab.directory().join("shrike.toml"), lab.directory().join("eve.json"));
    std::fs::write(&config, "[eve]\nstats_seconds = 1\n").unwrap();
    let interface = format!("{SENSOR_INTERFACE}@{}", lab.sensor());
    let arguments =
        ["-c", config.to_str().unwrap(), "--eve", path.to_str().unwrap(), "--mode", "copy", "-i", &interface];
    let shrike = Shrike::start_plan(&arguments.map(str::to_owned));
    use_services(&lab, &services);
    until("an event of each kind", || missing_events(&lines(&path)), |missing| missing.is_empty());
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    drop(servers);
    let mut lines = lines(&path);
    let flows: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line["event_type"] == "flow")
        .filter_map(|line| line["app_proto"].as_str())
        .collect();
    let lacking: Vec<_> = FLOWS.iter().filter(|name| !flows.contains(**name)).collect();
    assert!(lacking.is_empty(), "no flow of {lacking:?}: {flows:?}");
    // A request and its response each, and what HPACK's table stands for in all but the first.
    let loaded = [
        ("/http/version", "2"),
        ("/http/http_method", "GET"),
        ("/http/hostname", "198.18.77.10:8080"),
        ("/http/url", "/report.txt"),
        ("/http/http_user_agent", "h2load*"),
        ("/http/status", "200"),
        ("/http/http_content_type", "text/plain"),
    ];
    let whole = lines.iter().filter(|line| line["event_type"] == "http" && has(line, &loaded)).count();
    let [requests, _] = LOAD;
    assert_eq!(whole, requests, "of {}", lines.iter().filter(|line| line["http"]["version"] == "2").count());
    let secrets = ["secret", "anonymity"].map(|word| format!("\"{word}\""));
    let leak = lines.iter().find(|line| secrets.iter().any(|word| line.to_string().contains(word)));
    assert!(leak.is_none(), "a password: {leak:?}");
    // Their schema, where it lies here.
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if data.join("conformance/eve/schema.json").exists() {
        let schema = eve::Schema::open(&data);
        for line in &mut lines {
            let wrong = schema.violations(line);
            assert!(wrong.is_empty(), "{wrong:?} in {line}");
        }
    }
}
