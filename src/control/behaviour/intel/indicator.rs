//! What an indicator is, and how one is told by its text alone.

use super::super::names;
use crate::control::inventory::network::Network;
use std::net::SocketAddr;

/// What is looked up, in the form in which it is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// An address or a network.
    Network(Network),
    /// A port of an address.
    Service(u128, u16),
    /// This name alone.
    Name(Box<str>),
    /// Every name below this one, not itself.
    Below(Box<str>),
    /// Host, port where it is not the usual one, path and query: no scheme, no fragment.
    Url(Box<str>),
    /// JA3 (MD5 in hex) or JA4 of a client, or SHA-1 of a certificate, in lower case: their forms differ.
    Print(Box<str>),
}

/// What became of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// It is one or two indicators.
    Keys(Vec<Key>),
    /// An indicator of what is not looked at (digests of files, mail addresses, whole ranges of the internet).
    Unseen,
    /// None that is known.
    Unknown,
}

/// Networks with shorter prefixes hold what nobody means to name.
const V4_LEAST: u32 = 8;
const V6_LEAST: u32 = 16;
/// RFC 1035 section 2.3.4.
const NAME_MAX: usize = 253;
/// Longer ones are cut on the wire side too.
const URL_MAX: usize = 2048;

fn one(key: Key) -> Read {
    Read::Keys(vec![key])
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `t13d1516h2_8daaf6152771_b186095e22b6`
fn is_ja4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let [first, ciphers, others] = parts[..] else { return false };
    let is_whole = first.len() == 10 && ciphers.len() == 12 && others.len() == 12;
    is_whole && first.starts_with(['t', 'q', 'd']) && is_hex(ciphers) && is_hex(others)
}

/// Is it a name that DNS can have, of two labels at least? Names in other scripts are written in their encoded form (RFC 5891).
fn is_name(text: &str) -> bool {
    let good = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        !label.is_empty() && label.len() < 64 && letters
    };
    let is_text = text.rsplit('.').next().is_some_and(|top| !top.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= NAME_MAX && text.contains('.') && is_text && text.split('.').all(good)
}

fn network(text: &str) -> Option<Read> {
    let network = Network::parse(text)?;
    let (_, length) = network.prefix();
    let is_v4 = !text.contains(':');
    let is_wide = if is_v4 { length - 96 < V4_LEAST } else { length < V6_LEAST };
    Some(if is_wide { Read::Unseen } else { one(Key::Network(network)) })
}

/// Name, with the forms `*.example.org` (what is below) and `.example.org` (what is below, and itself).
pub fn name(text: &str) -> Read {
    let Some(lower) = names::lower(text.as_bytes()) else { return Read::Unknown };
    let (bare, forms) = match (lower.strip_prefix("*."), lower.strip_prefix('.')) {
        (Some(bare), _) => (bare, [false, true]),
        (_, Some(bare)) => (bare, [true, true]),
        _ => (&*lower, [true, false]),
    };
    if !is_name(bare) {
        return Read::Unknown;
    }
    let keys = [forms[0].then(|| Key::Name(bare.into())), forms[1].then(|| Key::Below(bare.into()))];
    Read::Keys(keys.into_iter().flatten().collect())
}

/// Host, port and path as they are looked up. `None`: there is no host.
pub fn url(text: &str) -> Option<Box<str>> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let host = host.strip_suffix(usual).unwrap_or(&host).trim_end_matches('.');
    let slash = if path.starts_with('/') { "" } else { "/" };
    (!host.is_empty() && text.len() <= URL_MAX).then(|| format!("{host}{slash}{path}").into())
}

/// JA3, JA4 or SHA-1 in hex, with or without colons.
pub fn print(text: &str) -> Read {
    // Most of what is asked is a name: told by its length or its letters before anything is copied.
    if text.len() < 32 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_')) {
        return Read::Unknown;
    }
    let bare = text.replace(':', "").to_ascii_lowercase();
    match bare.len() {
        32 | 40 if is_hex(&bare) => one(Key::Print(bare.into())),
        64 | 128 if is_hex(&bare) => Read::Unseen,
        _ if is_ja4(&bare) => one(Key::Print(bare.into())),
        _ => Read::Unknown,
    }
}

/// An address, a network, or an address with a port.
pub fn address(text: &str) -> Read {
    let service = || {
        let of: SocketAddr = text.parse().ok()?;
        let (bits, _) = Network::parse(&of.ip().to_string())?.prefix();
        Some(one(Key::Service(bits, of.port())))
    };
    let may_be = text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/' | b'[' | b']'));
    if may_be { network(text).or_else(service).unwrap_or(Read::Unknown) } else { Read::Unknown }
}

/// Whatever it is.
pub fn any(text: &str) -> Read {
    if text.contains("://") {
        return url(text).map_or(Read::Unknown, |url| one(Key::Url(url)));
    }
    for read in [address(text), print(text), name(text)] {
        if read != Read::Unknown {
            return read;
        }
    }
    let has_path = text.split_once('/').is_some_and(|(host, path)| {
        // An address and a number is a network that is none.
        is_name(host) || network(host).is_some() && path.parse::<u32>().is_err()
    });
    if has_path { url(text).map_or(Read::Unknown, |url| one(Key::Url(url))) } else { Read::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indicators_are_told_by_their_text() {
        let network = |text| one(Key::Network(Network::parse(text).expect("a network")));
        let url = |text: &str| one(Key::Url(text.into()));
        let name = |text: &str| one(Key::Name(text.into()));
        for (text, wanted) in [
            ("192.0.2.1", network("192.0.2.1/32")),
            ("192.0.2.0/24", network("192.0.2.0/24")),
            ("2001:db8::/32", network("2001:db8::/32")),
            ("0.0.0.0/0", Read::Unseen),
            ("::/8", Read::Unseen),
            ("192.0.2.1:4443", one(Key::Service(0xffff_c000_0201, 4443))),
            ("WWW.Example.ORG.", name("www.example.org")),
            ("*.example.org", one(Key::Below("example.org".into()))),
            (".example.org", Read::Keys(vec![Key::Name("example.org".into()), Key::Below("example.org".into())])),
            ("http://Example.org:80/A?b#c", url("example.org/A?b")),
            ("https://u:p@example.org:443", url("example.org/")),
            ("http://example.org:8080/x", url("example.org:8080/x")),
            ("http://example.org?x", url("example.org/?x")),
            ("example.org/a/b", url("example.org/a/b")),
            ("192.0.2.1/a", url("192.0.2.1/a")),
            ("E7D705A3286E19EA42F587B344EE6865", one(Key::Print("e7d705a3286e19ea42f587b344ee6865".into()))),
            ("t13d1516h2_8daaf6152771_b186095e22b6", one(Key::Print("t13d1516h2_8daaf6152771_b186095e22b6".into()))),
            (
                "AA:bb:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11",
                one(Key::Print("aabb00112233445566778899aabbccddeeff0011".into())),
            ),
            (&"ab".repeat(32), Read::Unseen),
            ("localhost", Read::Unknown),
            ("example..org", Read::Unknown),
            ("1.2.3.4.5", Read::Unknown),
            ("10.0.0.0/33", Read::Unknown),
            ("two words.example", Read::Unknown),
            ("", Read::Unknown),
        ] {
            assert_eq!(any(text), wanted, "{text}");
        }
    }
}
