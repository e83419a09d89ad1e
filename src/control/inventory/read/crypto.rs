//! TLS, DTLS, QUIC and SSH: names, certificates, and what is too weak.

use crate::control::inventory::banner;
use crate::control::inventory::event::{About, Event, Notes, is_host_name};
use crate::control::inventory::host::NameSource;
use crate::control::inventory::wire::Wire;
use crate::control::inventory::{kinds, os};
use crate::dataplane::inspect::tls::{ALERT_LEVEL, CertificateFacts, HELLO, HelloFacts, SERVER_CERTIFICATE};
use crate::dataplane::inspect::{Protocol, dtls, number, quic, ssh};
use crate::units::{SECOND, Timestamp};

/// Alternative names of a certificate that become names of the host; those of a shared host are other people's.
const ALT_NAMES_MAX: usize = 8;

/// Level of an alert that ends the connection; then its event is told with it, so its sender is the event's (RFC 8446 section 6).
const FATAL: u64 = 2;

/// Hellos and certificates.
pub fn tls(event: &Event<'_>, notes: &mut Notes) {
    let hello = match event.head.protocol {
        Protocol::Tls => HELLO,
        Protocol::Dtls => dtls::HELLO,
        _ => quic::HELLO,
    };
    let Some(version) = event.number(hello.version).or_else(|| event.number(hello.server_version)) else {
        // A refusal in TLS's own words is an answer too.
        let is_refused = event.all(ALERT_LEVEL).any(|level| number(level) == FATAL);
        if is_refused && event.sender() == About::Server {
            notes.service(None, None);
        }
        return;
    };
    notes.service(None, None);
    notes.name(About::Server, NameSource::Sni, event.text(hello.sni).filter(|name| is_host_name(name)));
    match version {
        0x0002 | 0x0300 => {
            let name = if version == 2 { "SSL 2.0" } else { "SSL 3.0" };
            notes.finding(kinds::SSL, name, format!("{name} was negotiated with {}", event.client.ip()));
        }
        0x0301 | 0x0302 | 0xfeff => {
            let name = match version {
                0x0301 => "TLS 1.0",
                0x0302 => "TLS 1.1",
                _ => "DTLS 1.0",
            };
            notes.finding(kinds::TLS_OLD, name, format!("{name} was negotiated with {}", event.client.ip()));
        }
        _ => {}
    }
    if version > 2 {
        cipher(event, hello, notes);
    }
    match event.head.protocol {
        Protocol::Tls => certificate(event, SERVER_CERTIFICATE, notes),
        Protocol::Dtls => certificate(event, dtls::SERVER_CERTIFICATE, notes),
        _ => {}
    }
}

/// What is wrong with a cipher suite (IANA registry "TLS Cipher Suites"), if anything is; and whether it is broken.
pub fn suite_problem(suite: u16) -> Option<(&'static str, bool)> {
    Some(match suite {
        0x0000..=0x0002 | 0x002c..=0x002e | 0x003b | 0x00b0 | 0x00b1 | 0x00b4 | 0x00b5 | 0x00b8 | 0x00b9 => {
            ("no encryption", true)
        }
        0xc001 | 0xc006 | 0xc00b | 0xc010 | 0xc015 | 0xc039..=0xc03b => ("no encryption", true),
        0x0003
        | 0x0006
        | 0x0008
        | 0x000b
        | 0x000e
        | 0x0011
        | 0x0014
        | 0x0017
        | 0x0019
        | 0x0026..=0x002b
        | 0x0060..=0x0065 => ("keys short enough for export", true),
        0x0018 | 0x001a | 0x001b | 0x0034 | 0x003a | 0x0046 | 0x006c | 0x006d | 0x0089 | 0x009b | 0x00a6 | 0x00a7
        | 0x00bf | 0x00c5 => ("no authentication", true),
        0xc016..=0xc019 | 0xc046 | 0xc047 | 0xc05a | 0xc05b | 0xc084 | 0xc085 => ("no authentication", true),
        0x0004 | 0x0005 | 0x0020 | 0x0024 | 0x0066 | 0x008a | 0x008e | 0x0092 => ("RC4", true),
        0xc002 | 0xc007 | 0xc00c | 0xc011 | 0xc033 => ("RC4", true),
        0x0009 | 0x000c | 0x000f | 0x0012 | 0x0015 | 0x001e | 0x0022 => ("single DES", true),
        0x000a | 0x000d | 0x0010 | 0x0013 | 0x0016 | 0x001f | 0x0023 | 0x008b | 0x008f | 0x0093 => ("3DES", false),
        0xc003 | 0xc008 | 0xc00d | 0xc012 | 0xc01a..=0xc01c | 0xc034 => ("3DES", false),
        0x0007 | 0x0021 | 0x0025 => ("IDEA", false),
        _ => return None,
    })
}

fn cipher(event: &Event<'_>, hello: HelloFacts, notes: &mut Notes) {
    let Some(suite) = event.number(hello.cipher).and_then(|suite| u16::try_from(suite).ok()) else { return };
    if let Some((problem, is_broken)) = suite_problem(suite) {
        let kind = if is_broken { kinds::CIPHER_BROKEN } else { kinds::CIPHER_WEAK };
        let evidence = format!("cipher suite 0x{suite:04x} ({problem}) was negotiated with {}", event.client.ip());
        notes.finding(kind, format!("0x{suite:04x}"), evidence);
    }
}

fn certificate(event: &Event<'_>, facts: CertificateFacts, notes: &mut Notes) {
    let Some(digest) = event.bytes(facts.fingerprint) else { return };
    let detail: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let subject = event.text(facts.subject).unwrap_or_else(|| "nobody".to_owned());
    let shown = format!("the certificate of {subject} (SHA-1 {detail}...)");
    for name in event.all(facts.alt_name).take(ALT_NAMES_MAX).map(super::super::host::kept) {
        notes.name(About::Server, NameSource::Certificate, Some(name).filter(|name| !name.contains('*')));
    }
    let common = subject.split(", ").find_map(|part| part.strip_prefix("CN=")).map(str::to_owned);
    let is_host = |name: &String| name.contains('.') && !name.contains([' ', '*', '@', '/']);
    notes.name(About::Server, NameSource::Certificate, common.filter(is_host));
    let now = event.head.time.0 / SECOND;
    let day = |seconds: u64| Timestamp(seconds.saturating_mul(SECOND)).to_rfc3339().get(..10).map(str::to_owned);
    match (event.number(facts.not_before), event.number(facts.not_after)) {
        (_, Some(end)) if end < now => {
            notes.finding(
                kinds::CERTIFICATE_EXPIRED,
                &*detail,
                format!("{shown} ended on {}", day(end).unwrap_or_default()),
            );
        }
        (Some(begin), _) if begin > now => {
            let evidence = format!("{shown} begins on {}", day(begin).unwrap_or_default());
            notes.finding(kinds::CERTIFICATE_EARLY, &*detail, evidence);
        }
        _ => {}
    }
    let is_self_signed = event.number(facts.self_signed) == Some(1);
    if is_self_signed {
        notes.finding(kinds::SELF_SIGNED, &*detail, format!("{shown} names itself as its issuer"));
    }
    let signature = event.text(facts.signature).unwrap_or_default();
    let weak = ["md2", "md4", "md5", "sha1", "SHA1"].iter().any(|mark| signature.contains(mark));
    // Nobody relies on the signature of a certificate by itself.
    if weak && !is_self_signed {
        notes.finding(kinds::SIGNATURE_WEAK, &*detail, format!("{shown} is signed with {signature}"));
    }
    let key = event.text(facts.key_type).unwrap_or_default();
    if let Some(bits) = event.number(facts.key_bits).filter(|bits| *bits > 0) {
        let least = match key.as_str() {
            "rsa" | "dsa" => 2048,
            "ec" => 224,
            _ => 0,
        };
        if bits < least {
            notes.finding(kinds::KEY_WEAK, &*detail, format!("{shown} has a key of {key} with {bits} bits"));
        }
    }
}

/// Lists of a HASSH string: key exchanges, ciphers, MACs.
fn lists(string: &str) -> [Vec<&str>; 3] {
    let mut lists = string.split(';').map(|list| list.split(',').filter(|name| !name.is_empty()).collect());
    std::array::from_fn(|_| lists.next().unwrap_or_default())
}

/// Does a server that offers this let the first messages of an encrypted session be cut out (CVE-2023-48795)? `None` where its
/// lists are missing or cut, and what is there does not tell.
fn terrapin(offered: &str) -> Option<bool> {
    let [exchanges, ciphers, macs] = lists(offered);
    // Of what was cut the last list, or the last name, is not whole; behind the MACs another list is kept.
    let whole = offered.matches(';').count();
    if exchanges.contains(&"kex-strict-s-v00@openssh.com") {
        return Some(false);
    }
    let has_cbc = || ciphers.iter().any(|name| name.ends_with("-cbc") || name.contains("-cbc@"));
    let has_etm = || macs.iter().any(|name| name.contains("-etm@"));
    match whole {
        0 => None,
        _ if ciphers.contains(&"chacha20-poly1305@openssh.com") => Some(true),
        _ if has_cbc() && has_etm() => Some(true),
        1 | 2 => None,
        _ => Some(false),
    }
}

fn is_weak_exchange(name: &str) -> bool {
    let names = ["diffie-hellman-group1-sha1", "diffie-hellman-group-exchange-sha1", "rsa1024-sha1"];
    names.contains(&name) || name.starts_with("gss-group1-sha1-") || name.starts_with("gss-gex-sha1-")
}

fn is_weak_cipher(name: &str) -> bool {
    name == "none"
        || name.starts_with("arcfour")
        || name.starts_with("des")
        || name.ends_with("-cbc")
        || name.contains("-cbc@")
}

fn is_weak_mac(name: &str) -> bool {
    name == "none" || name.contains("md5") || name.ends_with("-96") || name.contains("-96-")
}

/// Versions, software, and what the server offers.
pub fn ssh(event: &Event<'_>, notes: &mut Notes) {
    let comment = event.text(ssh::CLIENT_COMMENT).unwrap_or_default();
    notes.os(About::Client, os::distribution(&comment), "SSH greeting");
    let Some(software) = event.text(ssh::SERVER_SOFTWARE) else { return };
    let comment = event.text(ssh::SERVER_COMMENT).unwrap_or_default();
    let version = event.text(ssh::SERVER_VERSION).unwrap_or_default();
    let banner = format!("SSH-{version}-{software} {comment}").trim_end().to_owned();
    let is_windows = software.starts_with("OpenSSH_for_Windows");
    let windows = is_windows.then(|| ("Windows".to_owned(), super::SURE));
    notes.os(About::Server, windows, "SSH greeting");
    // Lists are longer than what is kept of a text.
    let offered = String::from_utf8_lossy(event.bytes(ssh::HASSH_SERVER).unwrap_or_default());
    if let Some(holds) = terrapin(&offered) {
        notes.wire(Wire::SshTerrapin, holds);
    }
    if is_windows {
        notes.wire(Wire::Unix, false);
    }
    notes.service(banner::ssh(&software, &comment), Some(banner));
    if version.starts_with("1.") {
        notes.finding(kinds::SSH_1, "", format!("the server greets with version {version}"));
    }
    let [exchanges, ciphers, macs] = lists(&offered);
    type IsWeak = fn(&str) -> bool;
    let weak: [(kinds::Kind, _, IsWeak); 3] = [
        (kinds::SSH_KEX, exchanges, is_weak_exchange),
        (kinds::SSH_CIPHER, ciphers, is_weak_cipher),
        (kinds::SSH_MAC, macs, is_weak_mac),
    ];
    for (kind, list, is_weak) in weak {
        let found: Vec<&str> = list.into_iter().filter(|name| is_weak(name)).collect();
        if !found.is_empty() {
            let names = super::super::host::kept(found.join(", ").as_bytes());
            notes.finding(kind, "", format!("the server offers {names}"));
        }
    }
    let key = event.text(ssh::KEY_TYPE).unwrap_or_default();
    let bits = event.number(ssh::KEY_BITS);
    if key.starts_with("ssh-dss") || (key.starts_with("ssh-rsa") && bits.is_some_and(|bits| bits < 2048)) {
        let bits = bits.map(|bits| format!(" of {bits} bits")).unwrap_or_default();
        notes.finding(kinds::SSH_KEY, &*key, format!("the server shows a key {key}{bits}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_algorithms_are_told_from_others() {
        for (name, wanted) in [
            ("diffie-hellman-group1-sha1", true),
            ("diffie-hellman-group14-sha1", false),
            ("diffie-hellman-group-exchange-sha256", false),
            ("curve25519-sha256", false),
        ] {
            assert_eq!(is_weak_exchange(name), wanted, "{name}");
        }
        for (name, wanted) in [
            ("aes128-ctr", false),
            ("aes128-cbc", true),
            ("rijndael-cbc@lysator.liu.se", true),
            ("arcfour256", true),
            ("chacha20-poly1305@openssh.com", false),
        ] {
            assert_eq!(is_weak_cipher(name), wanted, "{name}");
        }
        for (name, wanted) in
            [("hmac-md5", true), ("hmac-sha1-96-etm@openssh.com", true), ("hmac-sha1", false), ("hmac-sha2-256", false)]
        {
            assert_eq!(is_weak_mac(name), wanted, "{name}");
        }
    }

    #[test]
    fn a_key_exchange_tells_whether_messages_can_be_cut_out() {
        for (offered, wanted) in [
            ("", None),
            ("curve25519-sha256", None),
            ("curve25519-sha256;aes128-ctr", None),
            ("curve25519-sha256;chacha20-poly1305@openssh.com", Some(true)),
            ("curve25519-sha256;aes128-ctr;hmac-sha2-256-etm@openssh.com;none", Some(false)),
            ("curve25519-sha256;aes128-cbc;hmac-sha2-256-etm@openssh.com;none", Some(true)),
            ("curve25519-sha256;rijndael-cbc@lysator.liu.se;hmac-sha1-etm@openssh.com;none", Some(true)),
            ("curve25519-sha256;aes128-cbc;hmac-sha1;none", Some(false)),
            ("curve25519-sha256;aes256-gcm@openssh.com;;none", Some(false)),
            ("kex-strict-s-v00@openssh.com;chacha20-poly1305@openssh.com;hmac-sha1;none", Some(false)),
            ("a,kex-strict-s-v00@openssh.com;aes128-cbc;hmac-sha1-etm@openssh.com", Some(false)),
            // What a client says does not count.
            ("a,kex-strict-c-v00@openssh.com;chacha20-poly1305@openssh.com;hmac-sha1;none", Some(true)),
        ] {
            assert_eq!(terrapin(offered), wanted, "{offered}");
        }
    }

    #[test]
    fn suites_are_broken_weak_or_good() {
        for (suite, wanted) in [
            (0x0000, Some(true)),  // NULL_WITH_NULL_NULL
            (0x0005, Some(true)),  // RSA_WITH_RC4_128_SHA
            (0x0003, Some(true)),  // RSA_EXPORT_WITH_RC4_40_MD5
            (0x0009, Some(true)),  // RSA_WITH_DES_CBC_SHA
            (0x0034, Some(true)),  // DH_anon_WITH_AES_128_CBC_SHA
            (0xc011, Some(true)),  // ECDHE_RSA_WITH_RC4_128_SHA
            (0x000a, Some(false)), // RSA_WITH_3DES_EDE_CBC_SHA
            (0xc012, Some(false)), // ECDHE_RSA_WITH_3DES_EDE_CBC_SHA
            (0x002f, None),        // RSA_WITH_AES_128_CBC_SHA
            (0x1301, None),        // AES_128_GCM_SHA256
            (0xc02f, None),        // ECDHE_RSA_WITH_AES_128_GCM_SHA256
            (0x00ff, None),
        ] {
            assert_eq!(suite_problem(suite).map(|(_, is_broken)| is_broken), wanted, "{suite:04x}");
        }
    }
}
