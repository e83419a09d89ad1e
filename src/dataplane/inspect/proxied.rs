//! The PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): a proxy tells in front of a connection whose it is.
//!
//! It is no protocol of its own: the header is passed over, and what follows is looked at like the first words of the client.
//! Who the client is stands in an event, and as a fact in each event of the flow behind it. Untrusted: anybody can send such
//! a header, so nothing joins the address to a host.
//!
//! Bounds: version 1 by the 107 bytes that its text may have; version 2 is read up to [`HEADER_MAX`], of a longer one only
//! the addresses; of [`HEADERS_MAX`] headers in a row.
//! It deliberately does not: look for it in datagrams, check its CRC32C, read extensions that have no name here.

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::lines;
use super::parse::Anomaly;
use super::protocol::Protocol;
use std::net::IpAddr;

const P: Protocol = Protocol::Proxied;

/// The client's address, as the header says. Also in the events behind it.
pub const SOURCE: Fact = Fact::address(P, 1, "source_ip");
/// The client's port, as the header says. Also in the events behind it.
pub const SOURCE_PORT: Fact = Fact::number(P, 2, "source_port");
/// Address that the client spoke with.
pub const DESTINATION: Fact = Fact::address(P, 3, "destination_ip");
/// Port that the client spoke with.
pub const DESTINATION_PORT: Fact = Fact::number(P, 4, "destination_port");
/// 1 or 2.
pub const VERSION: Fact = Fact::number(P, 5, "version");
/// `proxy`, or `local`: the proxy speaks for itself, to see whether the server lives.
pub const COMMAND: Fact = Fact::text(P, 6, "command", 8);
/// `tcp4`, `tcp6`, `udp4`, `udp6`, `unix` or `unknown`.
pub const TRANSPORT: Fact = Fact::text(P, 7, "transport", 8);
/// Name that the client asked for (`PP2_TYPE_AUTHORITY`).
pub const AUTHORITY: Fact = Fact::text(P, 8, "authority", 255);
/// Application protocol that was agreed on (`PP2_TYPE_ALPN`).
pub const ALPN: Fact = Fact::text(P, 9, "alpn", 64);
/// Version of TLS that the client spoke with the proxy (`PP2_SUBTYPE_SSL_VERSION`).
pub const TLS_VERSION: Fact = Fact::text(P, 10, "tls_version", 16);
/// Common name of the client's certificate (`PP2_SUBTYPE_SSL_CN`).
pub const CLIENT_NAME: Fact = Fact::text(P, 11, "client_name", 128);

/// All facts.
pub const FACTS: &[Fact] = &[
    SOURCE,
    SOURCE_PORT,
    DESTINATION,
    DESTINATION_PORT,
    VERSION,
    COMMAND,
    TRANSPORT,
    AUTHORITY,
    ALPN,
    TLS_VERSION,
    CLIENT_NAME,
];

/// A header that does not say what it should; a server that knows the protocol ends the connection.
pub const MALFORMED: Anomaly = Anomaly::new(P, 1, "malformed");
/// A header that is longer than [`HEADER_MAX`]: its addresses are read, the rest is passed over.
pub const TOO_LONG: Anomaly = Anomaly::new(P, 2, "header_too_long");
/// More headers in a row than [`HEADERS_MAX`]: passed over and not told.
pub const TOO_MANY: Anomaly = Anomaly::new(P, 3, "too_many_headers");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, TOO_LONG, TOO_MANY];

/// Bytes of a header of version 2 that are put together. The specification asks for 536 at least; certificates' names and a
/// few extensions fit.
pub const HEADER_MAX: usize = 2048;
/// Headers in a row that are told: chains of proxies are shorter.
pub const HEADERS_MAX: u8 = 4;

const TEXT: &[u8] = b"PROXY ";
/// Bytes of a header of version 1 with its end at most: the specification's figure.
const TEXT_MAX: usize = 107;
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const BINARY_HEAD: usize = 16;
/// Two paths of Unix sockets.
const ADDRESSES_MAX: usize = 216;

/// Whose a connection is, as its header said, and whether it goes on through a proxy.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Source {
    address: [u8; 16],
    port: u16,
    /// Bytes of the address; none where nothing was said.
    length: u8,
    /// What comes now is what a proxy passes on, as the client asked it to.
    pub(super) is_tunnelled: bool,
}

impl Source {
    /// Adds it to the facts of an event.
    pub(super) fn put(&self, facts: &mut Facts) {
        if let Some(address) = self.address.get(..usize::from(self.length)).filter(|address| !address.is_empty()) {
            facts.put(SOURCE, address);
            facts.put_number(SOURCE_PORT, self.port.into());
        }
    }

    fn of(facts: &Facts) -> Source {
        let mut source = Source::default();
        if let Some((address, place)) =
            facts.get(SOURCE).and_then(|one| Some((one, source.address.get_mut(..one.len())?)))
        {
            place.copy_from_slice(address);
            source.length = address.len() as u8; // at most 16
            source.port = facts.number(SOURCE_PORT).unwrap_or(0) as u16; // was one
        }
        source
    }
}

/// What a connection's headers have said so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Proxied {
    /// Of the last one.
    pub(super) source: Source,
    /// How many; [`NO_MORE`]: what comes is not looked at for others.
    pub(super) headers: u8,
    /// Nothing of the client was taken since: another may follow, and what does is its first words.
    pub(super) is_last: bool,
}

/// See [`Proxied::headers`].
pub(super) const NO_MORE: u8 = u8::MAX;

/// A header that was looked for.
pub(super) enum Header {
    /// It is none.
    None,
    /// More bytes tell.
    More,
    /// So many bytes, not all of which may have been shown.
    Whole(u64, Option<Anomaly>),
    /// It begins like one, but does not end: these are the client's words.
    Endless,
}

/// May these be the first bytes of a header? Cheap: asked of every connection.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let is_like = |mark: &[u8]| bytes.iter().zip(mark).all(|(one, other)| one == other);
    is_like(TEXT) || is_like(BINARY)
}

/// A header in front of what a client says? Its facts go into `facts`.
pub(super) fn read(bytes: &[u8], facts: &mut Facts) -> (Header, Source) {
    let header = match () {
        () if bytes.starts_with(TEXT) => text(bytes, facts),
        () if bytes.starts_with(BINARY) => binary(bytes, facts),
        () if may_begin(bytes) => Header::More,
        () => Header::None,
    };
    (header, Source::of(facts))
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 40000 443`, and an end of line.
fn text(bytes: &[u8], facts: &mut Facts) -> Header {
    let shown = bytes.get(..TEXT_MAX).unwrap_or(bytes);
    let Some(end) = shown.iter().position(|byte| *byte == b'\n') else {
        return if shown.len() < TEXT_MAX { Header::More } else { Header::Endless };
    };
    let (line, taken) = (shown.get(..end).unwrap_or_default(), end as u64 + 1);
    let words = line.strip_suffix(b"\r").and_then(|line| line.strip_prefix(TEXT));
    let kind = lines::word(words.unwrap_or_default()).0;
    if !matches!(kind, b"TCP4" | b"TCP6" | b"UNKNOWN") && is_request(line) {
        return Header::None;
    }
    facts.put_number(VERSION, 1);
    facts.put(COMMAND, b"proxy");
    // Whatever follows `UNKNOWN` is to be ignored.
    let is_good = kind == b"UNKNOWN" || words.is_some_and(|words| text_addresses(words, facts).is_some());
    let transport: &[u8] = match kind {
        b"TCP4" => b"tcp4",
        b"TCP6" => b"tcp6",
        _ => b"unknown",
    };
    facts.put(TRANSPORT, transport);
    Header::Whole(taken, (!is_good).then_some(MALFORMED))
}

/// Of HTTP, whose method may have any name.
fn is_request(line: &[u8]) -> bool {
    let line = lines::begun(line);
    line.rsplit(|byte| *byte == b' ').next().is_some_and(|last| last.starts_with(b"HTTP/"))
}

fn text_addresses(words: &[u8], facts: &mut Facts) -> Option<()> {
    let mut words = std::str::from_utf8(words).ok()?.split(' ');
    let is_v6 = match words.next()? {
        "TCP4" => false,
        "TCP6" => true,
        _ => return None,
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(|address| address.is_ipv6() == is_v6);
    let addresses = [address()?, address()?];
    let mut port = || words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u16>().ok();
    let ports = [port()?, port()?];
    if words.next().is_some() {
        return None;
    }
    let [source, destination] = addresses;
    for (fact, address) in [(SOURCE, source), (DESTINATION, destination)] {
        match address {
            IpAddr::V4(address) => facts.put(fact, &address.octets()),
            IpAddr::V6(address) => facts.put(fact, &address.octets()),
        }
    }
    put_ports(ports, facts);
    Some(())
}

fn put_ports([source, destination]: [u16; 2], facts: &mut Facts) {
    facts.put_number(SOURCE_PORT, source.into());
    facts.put_number(DESTINATION_PORT, destination.into());
}

/// Signature, version and command, family and protocol, length; addresses; extensions.
fn binary(bytes: &[u8], facts: &mut Facts) -> Header {
    let Some(&[kind, family, high, low]) = bytes.get(BINARY.len()..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Header::More;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = BINARY_HEAD + length;
    let is_long = whole > HEADER_MAX;
    let wanted = if is_long { BINARY_HEAD + ADDRESSES_MAX } else { whole };
    let Some(body) = bytes.get(BINARY_HEAD..wanted) else { return Header::More };
    facts.put_number(VERSION, (kind >> 4).into());
    let is_good = match kind & 15 {
        0 => {
            facts.put(COMMAND, b"local");
            true
        }
        1 => {
            facts.put(COMMAND, b"proxy");
            binary_body(body, family, is_long, facts).is_some()
        }
        _ => false,
    };
    let anomaly = if !is_good || kind >> 4 != 2 { Some(MALFORMED) } else { is_long.then_some(TOO_LONG) };
    Header::Whole(whole as u64, anomaly)
}

fn binary_body(body: &[u8], family: u8, is_cut: bool, facts: &mut Facts) -> Option<()> {
    let (transport, size): (&[u8], usize) = match family {
        0x00 => (b"unknown", 0),
        0x11 => (b"tcp4", 4),
        0x12 => (b"udp4", 4),
        0x21 => (b"tcp6", 16),
        0x22 => (b"udp6", 16),
        0x31 | 0x32 => (b"unix", 108),
        _ => return None,
    };
    let mut reader = Reader::new(body);
    let (source, destination) = (reader.take(size)?, reader.take(size)?);
    facts.put(TRANSPORT, transport);
    if matches!(size, 4 | 16) {
        let ports = [reader.be16()?, reader.be16()?];
        facts.put(SOURCE, source);
        facts.put(DESTINATION, destination);
        put_ports(ports, facts);
    }
    if is_cut { Some(()) } else { extensions(reader, facts) }
}

/// Type, length (2 bytes), value; those of TLS are inside one of theirs.
fn extensions(mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    while !reader.is_empty() {
        let (kind, length) = (reader.u8()?, reader.be16()?);
        let value = reader.take(length.into())?;
        match kind {
            0x01 => facts.put(ALPN, value),
            0x02 => facts.put(AUTHORITY, value),
            0x20 => tls_extensions(value, facts)?,
            _ => {}
        }
    }
    Some(())
}

/// What the client did (a byte), whether its certificate was proven (4 bytes), then extensions again.
fn tls_extensions(value: &[u8], facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(value);
    reader.take(5)?;
    while !reader.is_empty() {
        let (kind, length) = (reader.u8()?, reader.be16()?);
        let value = reader.take(length.into())?;
        match kind {
            0x21 => facts.put(TLS_VERSION, value),
            0x22 => facts.put(CLIENT_NAME, value),
            _ => {}
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::tries::{show, unambiguous};
    use super::*;

    /// What a header says, how long it is, and what is wrong with it.
    fn told(bytes: &[u8]) -> (String, Option<u64>, Option<&'static str>) {
        let mut facts = Facts::default();
        let (header, _) = read(bytes, &mut facts);
        let text = show(&facts, &[FACTS]);
        match header {
            Header::Whole(length, anomaly) => (text, Some(length), anomaly.map(|one| one.name)),
            Header::Endless => (text, None, Some("endless")),
            Header::More => (text, None, Some("more")),
            Header::None => (text, None, None),
        }
    }

    fn binary(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
        [BINARY, &[kind, family], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    #[test]
    fn text_says_whose_the_connection_is() {
        let tail = "version=1 command=proxy transport";
        for (line, facts, anomaly) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n",
                format!(
                    "version=1 command=proxy source_ip={:02x?} destination_ip={:02x?} source_port=40000 \
                     destination_port=443 transport=tcp4",
                    [192, 0, 2, 1],
                    [198, 51, 100, 2]
                ),
                None,
            ),
            ("PROXY UNKNOWN\r\n", format!("{tail}=unknown"), None),
            ("PROXY UNKNOWN ffff::1 anything at all\r\n", format!("{tail}=unknown"), None),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n", format!("{tail}=tcp4"), Some("malformed")),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 40000 70000\r\n", format!("{tail}=tcp4"), Some("malformed")),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 +4 7\r\n", format!("{tail}=tcp4"), Some("malformed")),
            ("PROXY TCP4 ::1 ::2 1 2\r\n", format!("{tail}=tcp4"), Some("malformed")),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", format!("{tail}=tcp6"), Some("malformed")),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n", format!("{tail}=unknown"), Some("malformed")),
            ("PROXY SCTP 192.0.2.1 198.51.100.2 1 2\r\n", format!("{tail}=unknown"), Some("malformed")),
        ] {
            assert_eq!(told(line.as_bytes()), (facts, Some(line.len() as u64), anomaly), "{line}");
        }
        let six = told(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nGET");
        assert_eq!((six.1, six.2), (Some(40), None));
        for (bytes, wanted) in [
            (&b"P"[..], Some("more")),
            (b"PROXY TCP4 1", Some("more")),
            (b"PROPFIND / HTTP/1.1\r\n", None),
            (b"proxy TCP4 ", None),
            (b"PROXY / HTTP/1.1\r\n", None),
        ] {
            assert_eq!(told(bytes), (String::new(), None, wanted), "{bytes:?}");
        }
        assert_eq!(told(&[TEXT, &[b'x'; 200]].concat()).2, Some("endless"));
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn binary_says_it_with_extensions() {
        let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 1, 187];
        let tls = b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x03bob\x23\0\x01x";
        let extensions =
            [&b"\x01\0\x02h2\x02\0\x0bexample.com\x04\0\x03zzz\x20\0"[..], &[tls.len() as u8], tls].concat();
        let whole = binary(0x21, 0x11, &[&addresses[..], &extensions].concat());
        let (facts, length, anomaly) = told(&[&whole[..], b"behind"].concat());
        assert_eq!((length, anomaly), (Some(whole.len() as u64), None));
        assert!(facts.ends_with(
            "source_port=40000 destination_port=443 alpn=h2 authority=example.com tls_version=TLSv1.3 client_name=bob"
        ));
        for cut in 1..whole.len() {
            assert_eq!(told(&whole[..cut]).2, Some("more"), "{cut}");
        }
        for (bytes, anomaly) in [
            (binary(0x20, 0, &[]), None),
            (binary(0x21, 0, b"\x04\0\0"), None),
            (binary(0x21, 0x31, &[b'/'; 216]), None),
            (binary(0x22, 0, &[]), Some("malformed")),
            (binary(0x31, 0x11, &addresses), Some("malformed")),
            (binary(0x21, 0x41, &addresses), Some("malformed")),
            (binary(0x21, 0x13, &addresses), Some("malformed")),
            (binary(0x21, 0x11, &addresses[..11]), Some("malformed")),
            (binary(0x21, 0x21, &addresses), Some("malformed")),
            (binary(0x21, 0x11, &[&addresses[..], b"\x01\0\x09h2"].concat()), Some("malformed")),
            (binary(0x21, 0x11, &[&addresses[..], &[4; 60_000]].concat()), Some("header_too_long")),
        ] {
            let (_, length, told) = told(&bytes);
            assert_eq!((length, told), (Some(bytes.len() as u64), anomaly), "{bytes:?}");
        }
    }

    #[test]
    fn any_byte_may_be_another() {
        let text = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n".to_vec();
        let head = binary(0x21, 0x11, b"\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02\x20\0\x08\x07\0\0\0\0\x21\0\0");
        for bytes in [text, head] {
            for at in 0..bytes.len() {
                for mask in [0x01, 0x20, 0x80, 0xff] {
                    let mut other = bytes.clone();
                    other[at] ^= mask;
                    told(&other);
                    told(&other[..at]);
                }
            }
        }
    }
}
