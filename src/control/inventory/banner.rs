//! What software says of itself: product, version and distribution out of banners.
//!
//! One table for greetings and one form for the `Server` field and its kin. What is not understood stays a banner; nothing is
//! guessed from ports or from how a server behaves.

use serde::{Deserialize, Serialize};

/// Software as a banner names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Product {
    /// Name in lower case, as rules use it.
    pub name: String,
    /// Version as told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Distribution that packed it, with its revision where that is told: `Debian-2+deb12u3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
}

impl Product {
    fn new(name: &str, version: Option<&str>, distribution: Option<&str>) -> Product {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Product { name: name.to_owned(), version: version.and_then(text), distribution: distribution.and_then(text) }
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        match &self.distribution {
            Some(distribution) => write!(f, " ({distribution})"),
            None => Ok(()),
        }
    }
}

/// Products out of one banner at most.
const PRODUCTS_MAX: usize = 6;
/// Letters of a product's name at most.
const NAME_MAX: usize = 40;
/// Letters of a version at most.
const VERSION_MAX: usize = 40;

/// Names that rules and people use for what banners say otherwise.
const CALLED: [(&str, &str); 5] = [
    ("microsoft-iis", "iis"),
    ("apache-coyote", "coyote"),
    ("openssh_for_windows", "openssh"),
    ("devices", "libupnp"),
    ("allegro-software-rompager", "rompager"),
];

fn called(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    CALLED.iter().find(|(said, _)| *said == name).map_or(name, |(_, called)| (*called).to_owned())
}

/// The version that `text` begins with, as `9.2p1`, `1.0.1e-fips`, `2.4.49`.
fn version(text: &str) -> Option<&str> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let end = text.find(|letter: char| !(letter.is_ascii_alphanumeric() || "._-+~".contains(letter)));
    let version = text.get(..end.unwrap_or(text.len()))?.trim_end_matches(['.', '-', '_', '+', '~']);
    let good = version.starts_with(|letter: char| letter.is_ascii_digit()) && version.len() <= VERSION_MAX;
    good.then_some(version)
}

fn is_name(text: &str) -> bool {
    let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
    (2..=NAME_MAX).contains(&text.len())
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.chars().all(good)
}

/// Distributions that servers name in parentheses.
const DISTRIBUTIONS: [&str; 12] = [
    "Debian", "Ubuntu", "Raspbian", "CentOS", "Red Hat", "Fedora", "Rocky", "Alma", "Oracle", "Amazon", "SUSE",
    "FreeBSD",
];

fn distribution(comment: &str) -> Option<&str> {
    DISTRIBUTIONS.into_iter().find(|name| comment.to_ascii_lowercase().contains(&name.to_ascii_lowercase()))
}

/// `Server`, `User-Agent` of SIP, `SERVER` of SSDP: products with their versions, comments in parentheses (RFC 9110 section
/// 10.2.4).
pub fn server(text: &str) -> Vec<Product> {
    let comment = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(comment, _)| comment);
    let packed = comment.and_then(distribution);
    let mut products = Vec::new();
    let mut plain = String::new();
    let mut depth = 0_usize;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            // Some put commas between products.
            ',' if depth == 0 => plain.push(' '),
            letter if depth == 0 => plain.push(letter),
            _ => {}
        }
    }
    let mut before = "";
    for word in plain.split_whitespace() {
        let (name, found) = word.split_once('/').map_or((word, None), |(name, rest)| (name, version(rest)));
        let name =
            if before.eq_ignore_ascii_case("apache") && name.eq_ignore_ascii_case("tomcat") { "tomcat" } else { name };
        // Every device has to say UPnP.
        if word.contains('/') && is_name(name) && !name.eq_ignore_ascii_case("upnp") && products.len() < PRODUCTS_MAX {
            // What stands in parentheses is about the first product and what was packed with it.
            products.push(Product::new(&called(name), found, packed.filter(|_| found.is_some())));
        }
        before = word;
    }
    let whole = plain.trim();
    if products.is_empty() && is_name(whole) {
        // `kamailio (5.1.1 (x86_64/linux))`
        products.push(Product::new(&called(whole), comment.and_then(version), packed));
    }
    // `HFS 2.3m`
    if let (true, Some((name, rest))) = (products.is_empty(), whole.split_once(' '))
        && is_name(name)
        && rest.contains('.')
        && version(rest) == Some(rest)
    {
        products.push(Product::new(&called(name), Some(rest), packed));
    }
    products
}

/// Software version of an SSH greeting, and the comment behind it.
pub fn ssh(software: &str, comment: &str) -> Option<Product> {
    let split = software
        .char_indices()
        .find(|(at, letter)| {
            "_-/ ".contains(*letter) && software[at + 1..].starts_with(|next: char| next.is_ascii_digit())
        })
        .map(|(at, _)| at);
    let (name, found) = match split {
        Some(at) => (&software[..at], version(&software[at + 1..])),
        None => (software, None),
    };
    let distribution = comment.split(' ').next().filter(|word| self::distribution(word).is_some());
    is_name(name).then(|| Product::new(&called(name), found, distribution))
}

/// How a product calls itself in a greeting, and its name.
const GREETINGS: [(&str, &str); 27] = [
    ("Exim", "exim"),
    ("Postfix", "postfix"),
    ("Sendmail", "sendmail"),
    ("Microsoft ESMTP MAIL Service", "microsoft-smtp"),
    ("Haraka", "haraka"),
    ("OpenSMTPD", "opensmtpd"),
    ("MailEnable", "mailenable"),
    ("hMailServer", "hmailserver"),
    ("Zimbra", "zimbra"),
    ("vsFTPd", "vsftpd"),
    ("ProFTPD", "proftpd"),
    ("Pure-FTPd", "pure-ftpd"),
    ("FileZilla Server", "filezilla-server"),
    ("Microsoft FTP Service", "microsoft-ftp"),
    ("Serv-U FTP", "serv-u"),
    ("Version wu-", "wu-ftpd"),
    ("WU-FTPD", "wu-ftpd"),
    ("bftpd", "bftpd"),
    ("Dovecot", "dovecot"),
    ("Courier-IMAP", "courier-imap"),
    ("Cyrus IMAP", "cyrus"),
    ("Cyrus POP3", "cyrus"),
    ("UW IMAP", "uw-imap"),
    ("Microsoft Exchange", "exchange"),
    ("Qpopper", "qpopper"),
    ("pyftpdlib", "pyftpdlib"),
    ("FTP server (MikroTik", "routeros"),
];

/// Words that stand between a product and its version.
const BETWEEN: [&str; 6] = ["server", "version:", "version", "ready,", "ftp", "daemon"];

/// Greeting of an SMTP, FTP, POP3 or IMAP server.
pub fn greeting(text: &str) -> Option<Product> {
    let lower = text.to_ascii_lowercase();
    let (at, said, name) = GREETINGS
        .iter()
        .filter_map(|(said, name)| Some((lower.find(&said.to_ascii_lowercase())?, said, name)))
        // The longest of those found: `Cyrus IMAP` says more than `Cyrus`.
        .max_by_key(|(_, said, _)| said.len())?;
    let behind = text.get(at + said.len()..).unwrap_or_default();
    let packed = behind.split_once('(').and_then(|(_, rest)| distribution(rest.split(')').next().unwrap_or(rest)));
    let mut words = behind.split([' ', ',', '(', ')', '/', ';']).filter(|word| !word.is_empty());
    let found = loop {
        match words.next() {
            Some(word) if BETWEEN.contains(&word.to_ascii_lowercase().as_str()) => {}
            Some(word) => break version(word.trim_start_matches('-')).filter(|found| found.contains('.')),
            None => break None,
        }
    };
    Some(Product::new(name, found, packed))
}

/// Version that a MySQL server greets with: MariaDB's stands behind a version of MySQL that old clients believe.
pub fn mysql(text: &str) -> Option<Product> {
    let is_mariadb = text.contains("MariaDB");
    let text = if is_mariadb { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
    let (version, rest) = text.split_once('-').unwrap_or((text, ""));
    let rest = rest.trim_start_matches("MariaDB").trim_start_matches("log").trim_matches('-');
    let packed = ["ubuntu", "deb", "el", "fc", "maria~"].iter().any(|mark| rest.contains(mark));
    let version = self::version(version)?;
    Some(Product::new(if is_mariadb { "mariadb" } else { "mysql" }, Some(version), packed.then_some(rest)))
}

/// A server of Redis' protocol by what it calls itself, which Redis does not: others are no Redis whose version they name.
pub fn redis(server: Option<&str>, text: Option<&str>) -> Option<Product> {
    let name = server.unwrap_or("redis").to_ascii_lowercase();
    let text = text.map(|text| text.strip_prefix("df-").unwrap_or(text));
    let found = text.and_then(version);
    (is_name(&name) && (found.is_some() || server.is_some())).then(|| Product::new(&name, found, None))
}

/// A product that is known by other means than its banner, and its version.
pub fn named(name: &str, text: Option<&str>) -> Option<Product> {
    is_name(name).then(|| Product::new(name, text.and_then(version), None))
}

/// `server_version` of PostgreSQL: `14.5 (Ubuntu 14.5-0ubuntu0.22.04.1)`.
pub fn postgresql(text: &str) -> Option<Product> {
    let (version, comment) = text.split_once(' ').unwrap_or((text, ""));
    let comment = comment.trim_matches(['(', ')']);
    Some(Product::new("postgresql", Some(self::version(version)?), distribution(comment).map(|_| comment)))
}

/// Samba as SMB 1 names it: `Samba 3.0.20-Debian`.
pub fn samba(text: &str) -> Option<Product> {
    let version = self::version(text.strip_prefix("Samba ")?)?;
    let (version, rest) = version.split_once('-').unwrap_or((version, ""));
    Some(Product::new("samba", Some(version), distribution(rest).map(|_| rest)))
}

/// The answer to a question for `version.bind`.
pub fn name_server(text: &str) -> Option<Product> {
    for (said, name) in [
        ("dnsmasq-", "dnsmasq"),
        ("unbound ", "unbound"),
        ("PowerDNS Authoritative Server ", "powerdns"),
        ("PowerDNS Recursor ", "powerdns-recursor"),
        ("BIND ", "bind"),
        ("", "bind"),
    ] {
        if let Some(found) = text.strip_prefix(said).and_then(version) {
            // BIND says a version and nothing else: three numbers, the first is 9.
            if said.is_empty() && !found.starts_with("9.") {
                return None;
            }
            let (found, packed) = match found.find("-Debian").or_else(|| found.find("-Ubuntu")) {
                Some(_) => found.split_once('-').unwrap_or((found, "")),
                None => (found, ""),
            };
            return Some(Product::new(name, Some(found), Some(packed)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(products: impl IntoIterator<Item = Product>) -> String {
        products.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn servers_name_products_versions_and_who_packed_them() {
        for (text, wanted) in [
            ("Apache/2.4.52 (Ubuntu)", "apache 2.4.52 (Ubuntu)"),
            (
                "Apache/2.2.15 (CentOS) mod_ssl/2.2.15 OpenSSL/1.0.1e-fips PHP/5.3.3",
                "apache 2.2.15 (CentOS), mod_ssl 2.2.15 (CentOS), openssl 1.0.1e-fips (CentOS), php 5.3.3 (CentOS)",
            ),
            ("nginx/1.18.0", "nginx 1.18.0"),
            ("nginx", "nginx"),
            ("Microsoft-IIS/10.0", "iis 10.0"),
            ("Apache-Coyote/1.1", "coyote 1.1"),
            ("Apache Tomcat/9.0.30", "tomcat 9.0.30"),
            ("lighttpd/1.4.35", "lighttpd 1.4.35"),
            ("squid/3.5.12", "squid 3.5.12"),
            ("Ubuntu/16.04, Linux/4.4, UPnP/1.1 MiniUPnPd/1.9", "ubuntu 16.04, linux 4.4, miniupnpd 1.9"),
            ("Linux/2.6.32, UPnP/1.0, Portable SDK for UPnP devices/1.6.6", "linux 2.6.32, libupnp 1.6.6"),
            ("kamailio (5.1.1 (x86_64/linux))", "kamailio 5.1.1"),
            ("PHP/7.4.3", "php 7.4.3"),
            ("gws", "gws"),
            ("Apache/2.4.49 (Win64)", "apache 2.4.49"),
            ("HFS 2.3m", "hfs 2.3m"),
            ("Jetty(9.4.11.v20180605)", "jetty 9.4.11.v20180605"),
            ("Allegro-Software-RomPager/4.07", "rompager 4.07"),
            ("router 2", ""),
            ("HFS 2.3m beta", ""),
            ("", ""),
            ("a b c", ""),
            ("<script>/1.0", ""),
            ("x/ /1 y/abc", ""),
        ] {
            assert_eq!(told(server(text)), wanted, "{text}");
        }
        assert!(server(&"a/1 ".repeat(900)).len() <= PRODUCTS_MAX);
    }

    #[test]
    fn ssh_servers_name_themselves() {
        for (software, comment, wanted) in [
            ("OpenSSH_9.2p1", "Debian-2+deb12u3", "openssh 9.2p1 (Debian-2+deb12u3)"),
            ("OpenSSH_8.9p1", "Ubuntu-3ubuntu0.6", "openssh 8.9p1 (Ubuntu-3ubuntu0.6)"),
            ("OpenSSH_for_Windows_8.1", "", "openssh 8.1"),
            ("OpenSSH_9.8", "FreeBSD-20240701", "openssh 9.8 (FreeBSD-20240701)"),
            ("dropbear_2019.78", "", "dropbear 2019.78"),
            ("libssh-0.6.3", "", "libssh 0.6.3"),
            ("libssh_0.8.1", "hello there", "libssh 0.8.1"),
            ("Cisco-1.25", "", "cisco 1.25"),
            ("Erlang/5.2.9", "", "erlang 5.2.9"),
            ("Serv-U_15.2.3.717", "", "serv-u 15.2.3.717"),
            ("ROSSSH", "", "rosssh"),
            ("babeld-4f04c79d", "", "babeld 4f04c79d"),
            ("", "", ""),
            ("\u{1b}[31m_1", "", ""),
        ] {
            assert_eq!(told(ssh(software, comment)), wanted, "{software}");
        }
    }

    #[test]
    fn greetings_name_their_software() {
        for (text, wanted) in [
            ("mail.example.org ESMTP Exim 4.92 Mon, 01 Jul 2019 12:00:00 +0000", "exim 4.92"),
            ("mail.example.org ESMTP Postfix (Debian/GNU)", "postfix (Debian)"),
            ("x ESMTP Sendmail 8.14.4/8.14.4; Mon", "sendmail 8.14.4"),
            ("h Microsoft ESMTP MAIL Service, Version: 6.0.3790.3959 ready", "microsoft-smtp 6.0.3790.3959"),
            ("(vsFTPd 2.3.4)", "vsftpd 2.3.4"),
            ("ProFTPD 1.3.5 Server (Debian) [::ffff:10.0.0.1]", "proftpd 1.3.5 (Debian)"),
            ("ProFTPD Server (ProFTPD Default Installation) [1.2.3.4]", "proftpd"),
            ("FileZilla Server version 0.9.41 beta", "filezilla-server 0.9.41"),
            ("---------- Welcome to Pure-FTPd [privsep] [TLS] ----------", "pure-ftpd"),
            ("+OK Dovecot (Ubuntu) ready.", "dovecot (Ubuntu)"),
            ("* OK [CAPABILITY IMAP4] host Cyrus IMAP v2.4.17-Fedora server ready", "cyrus 2.4.17-Fedora"),
            ("MikroTik FTP server (MikroTik 6.46.4) ready", "routeros 6.46.4"),
            ("Welcome", ""),
        ] {
            assert_eq!(told(greeting(text)), wanted, "{text}");
        }
    }

    #[test]
    fn databases_file_servers_and_name_servers_tell_their_versions() {
        for (product, wanted) in [
            (mysql("8.0.32-0ubuntu0.20.04.2"), "mysql 8.0.32 (0ubuntu0.20.04.2)"),
            (mysql("5.7.33-log"), "mysql 5.7.33"),
            (mysql("5.5.5-10.6.12-MariaDB-0ubuntu0.22.04.1"), "mariadb 10.6.12 (0ubuntu0.22.04.1)"),
            (mysql("10.3.22-MariaDB-1:10.3.22+maria~buster"), "mariadb 10.3.22 (1:10.3.22+maria~buster)"),
            (mysql("x"), ""),
            (postgresql("14.5 (Ubuntu 14.5-0ubuntu0.22.04.1)"), "postgresql 14.5 (Ubuntu 14.5-0ubuntu0.22.04.1)"),
            (postgresql("9.6.3"), "postgresql 9.6.3"),
            (redis(None, Some("7.0.11")), "redis 7.0.11"),
            (redis(Some("redis"), Some("7.0.11")), "redis 7.0.11"),
            (redis(Some("valkey"), Some("8.0.1")), "valkey 8.0.1"),
            (redis(Some("dragonfly"), Some("df-v1.27.1")), "dragonfly 1.27.1"),
            (redis(Some("<b>"), Some("1")), ""),
            (redis(None, None), ""),
            (samba("Samba 3.0.20-Debian"), "samba 3.0.20 (Debian)"),
            (samba("Windows 7 Professional 6.1"), ""),
            (name_server("9.9.5-9+deb8u6-Debian"), "bind 9.9.5 (9+deb8u6-Debian)"),
            (name_server("9.10.2-P2"), "bind 9.10.2-P2"),
            (name_server("dnsmasq-2.77"), "dnsmasq 2.77"),
            (name_server("none of your business"), ""),
            (name_server("1.2.3"), ""),
        ] {
            assert_eq!(told(product), wanted);
        }
    }
}
