//! Who is the server of a connection that was met in its midst: by the first words seen, else by the ports.
//!
//! Owns nothing; asked once a connection, and of no flow whose beginning was seen. It deliberately tells no protocol: words that
//! fit several are no proof of one, but all of their protocols have them said by the same side.

use super::bytes::Reader;
use super::{dnp3, http, iec104};

/// Ports from 1024 on that servers have and clients are not given: RFC 6335 section 6 tells those below, which are all taken for
/// servers'. Of protocols whose words do not tell the sides apart.
const SERVICES: [u16; 20] = [
    1433, 1521, 1723, 1883, 2404, 3128, 3268, 3306, 3389, 5060, 5432, 5672, 5900, 6379, 8080, 8443, 8883, 11_211,
    20_000, 27_017,
];

/// Is this a port that servers have?
fn is_of_servers(port: u16) -> bool {
    (1..1024).contains(&port) || SERVICES.contains(&port)
}

/// Ports from here on are given out to clients: Linux begins at 32768, IANA at 49152.
const CLIENT_PORTS: u16 = 32_768;

/// Do the ports tell that the first is the server's?
pub(super) fn has_port(port: u16, other: u16) -> bool {
    match (is_of_servers(port), is_of_servers(other)) {
        (false, false) => port < CLIENT_PORTS && other >= CLIENT_PORTS,
        (is_service, is_other) => is_service && !is_other,
    }
}

/// Are these first bytes seen of a side a server's (`true`) or a client's? `None`: they do not tell.
pub(super) fn speaks(bytes: &[u8]) -> Option<bool> {
    http::is_server(bytes).or_else(|| hello(bytes)).or_else(|| ldap(bytes)).or_else(|| match bytes {
        [0x05, 0x64, ..] => dnp3::is_outstation(bytes),
        [0x68, ..] => iec104::is_controlled(bytes),
        _ => None,
    })
}

/// `ClientHello` or `ServerHello` in a record of TLS (RFC 8446 sections 4 and 5.1).
fn hello(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [0x16, 3, 0..=4, _, _, kind @ (1 | 2), 0, _, _, 3, 0..=4, ..] => Some(*kind == 2),
        _ => None,
    }
}

/// The operation of a message of LDAP (RFC 4511 section 4.1.1): its tag says who sends it.
fn ldap(bytes: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != 0x30 {
        return None;
    }
    match reader.u8()? {
        0..=0x7f => {}
        long @ 0x81..=0x84 => {
            reader.take(usize::from(long & 0x7f))?;
        }
        _ => return None,
    }
    let (kind, length) = (reader.u8()?, reader.u8()?);
    if kind != 2 || !(1..=4).contains(&length) {
        return None;
    }
    reader.take(usize::from(length))?;
    match reader.u8()? {
        0x60 | 0x42 | 0x63 | 0x66 | 0x68 | 0x4a | 0x6c | 0x6e | 0x50 | 0x77 => Some(false),
        0x61 | 0x64 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x73 | 0x78 | 0x79 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_tell_who_serves() {
        let cases: [(&str, &[u8], Option<bool>); 17] = [
            ("request", b"GET / HTTP/1.1\r\n\r\n", Some(false)),
            ("status line", b"HTTP/1.1 200 OK\r\n\r\n", Some(true)),
            ("client's hello", &[0x16, 3, 1, 0, 90, 1, 0, 0, 86, 3, 3, 9], Some(false)),
            ("server's hello", &[0x16, 3, 1, 0, 90, 2, 0, 0, 86, 3, 1, 9], Some(true)),
            ("record of data", &[0x17, 3, 3, 0, 90, 2, 0, 0, 86, 3, 1, 9], None),
            ("bind", &[0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0], Some(false)),
            ("bind response", &[0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0], Some(true)),
            ("entry in long form", &[0x30, 0x82, 1, 0, 2, 2, 1, 0, 0x64, 0x81], Some(true)),
            ("SNMP", &[0x30, 41, 2, 1, 1, 4, 6, b'p', b'u'], None),
            ("activates", &[0x68, 4, 0x07, 0, 0, 0], Some(false)),
            ("confirms", &[0x68, 4, 0x0b, 0, 0, 0], Some(true)),
            ("tests", &[0x68, 4, 0x43, 0, 0, 0], None),
            ("measured", &[0x68, 14, 2, 0, 2, 0, 13, 1, 3, 0, 1, 0, 1, 0, 0, 0], Some(true)),
            ("interrogates", &[0x68, 14, 2, 0, 2, 0, 100, 1, 6, 0, 1, 0, 0, 0, 0, 20], Some(false)),
            ("is interrogated", &[0x68, 14, 2, 0, 2, 0, 100, 1, 7, 0, 1, 0, 0, 0, 0, 20], Some(true)),
            ("nothing known", &[0; 64], None),
            ("nothing", b"", None),
        ];
        for (what, bytes, wanted) in cases {
            assert_eq!(speaks(bytes), wanted, "{what}");
        }
        assert!(has_port(443, 50_000) && has_port(2404, 50_003) && has_port(20_000, 50_000));
        assert!(has_port(4443, 50_200) && !has_port(50_200, 4443) && !has_port(4443, 1030));
        assert!(!has_port(50_000, 443) && !has_port(443, 80) && !has_port(40_000, 50_000));
    }
}
