//! Who is the server of a connection that was met in its midst: by the first words seen, else by the ports.
//!
//! Owns nothing; asked once a connection, and of no flow whose beginning was seen. It deliberately tells no protocol: words that
//! fit several are no proof of one, but all of their protocols have them said by the same side.

use super::bytes::Reader;
use super::{dnp3, http, iec104, lines};

/// First bytes of a side that are looked at.
pub(super) const WORDS_MAX: usize = 256;

/// Ports from 512 on that servers have and clients are not given (RFC 6335 section 6). Those below 512 are all servers'; from 512
/// to 1023 are also clients' that show that they are the system's (rsh, NFS, SSH 1).
const SERVICES: [u16; 37] = [
    514, 515, 543, 544, 548, 554, 563, 587, 631, 636, 749, 853, 873, 989, 990, 993, 995, 1433, 1521, 1723, 1883, 2404,
    3128, 3268, 3306, 3389, 3478, 5060, 5349, 5432, 5672, 5900, 6379, 8883, 11_211, 20_000, 27_017,
];

/// The smaller, the surer is a port a server's.
fn rank(port: u16) -> u8 {
    match port {
        1..512 => 0,
        512..1024 if SERVICES.contains(&port) => 0,
        _ if SERVICES.contains(&port) => 1,
        _ => 2,
    }
}

/// Do the ports tell that the first is the server's?
pub(super) fn has_port(port: u16, other: u16) -> bool {
    rank(port) < rank(other)
}

/// Are these first bytes seen of a side a server's (`true`) or a client's? `None`: they do not tell.
pub(super) fn speaks(bytes: &[u8]) -> Option<bool> {
    let bytes = bytes.get(..WORDS_MAX).unwrap_or(bytes);
    if http::is_request_so_far(bytes) {
        return Some(false);
    }
    http::is_server(bytes).or_else(|| sip(bytes)).or_else(|| hello(bytes)).or_else(|| ldap(bytes)).or_else(|| {
        match bytes {
            // Greetings of FTP and SMTP (RFC 959 section 4.2, RFC 5321 section 4.2), IMAP, POP3 and MySQL.
            [b'2', b'2', b'0', b' ' | b'-', ..] | [b'5', b'5', b'4', b' ' | b'-', ..] => Some(true),
            [b'*', b' ', b'O', b'K', ..] | [b'+', b'O', b'K', ..] => Some(true),
            [_, _, 0, 0, 10, b'0'..=b'9', b'.' | b'0'..=b'9', ..] => Some(true),
            // Requests and answers that connect (ITU-T X.224 sections 13.3 and 13.4), in TPKT.
            [3, 0, _, _, _, 0xe0, 0, 0, ..] => Some(false),
            [3, 0, _, _, _, 0xd0, ..] => Some(true),
            [0x05, 0x64, ..] => dnp3::is_outstation(bytes),
            [0x68, ..] => iec104::is_controlled(bytes),
            [5, 0 | 1, kind, _, 0x10 | 0, 0, 0, 0, ..] => call(*kind),
            [first, second, _, _, 0x21, 0x12, 0xa4, 0x42, ..] => stun([*first, *second]),
            _ => None,
        }
    })
}

/// `ClientHello` or `ServerHello` in a record of TLS (RFC 8446 sections 4 and 5.1).
fn hello(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [0x16, 3, 0..=4, _, _, kind @ (1 | 2), 0, _, _, 3, 0..=4, ..] => Some(*kind == 2),
        _ => None,
    }
}

/// A status line or a request line (RFC 3261 section 7).
fn sip(bytes: &[u8]) -> Option<bool> {
    if bytes.starts_with(b"SIP/2.0 ") {
        return Some(true);
    }
    let line = lines::split(bytes, b'\r')?.0;
    line.ends_with(b" SIP/2.0").then_some(false)
}

/// Kind of a packet of DCE/RPC (C706 section 12.6.4): calls and binds are a client's.
fn call(kind: u8) -> Option<bool> {
    match kind {
        0 | 11 | 14 | 16 | 18 | 19 => Some(false),
        2 | 3 | 12 | 13 | 15 => Some(true),
        _ => None,
    }
}

/// Class of a message of STUN (RFC 8489 section 5): answers are a server's; indications go both ways.
fn stun([first, second]: [u8; 2]) -> Option<bool> {
    match (first & 0xc1, second & 0x10) {
        (0, 0) => Some(false),
        (1, _) => Some(true),
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
        let cases: [(&str, &[u8], Option<bool>); 35] = [
            ("request so far", b"GET /a", Some(false)),
            ("greeting of SMTP", b"220 mx ESMTP\r\n", Some(true)),
            ("greeting in lines", b"220-", Some(true)),
            ("refuses", b"554 no\r\n", Some(true)),
            ("number", b"2201 ", None),
            ("greeting of IMAP", b"* OK ready\r\n", Some(true)),
            ("list", b"* a\r\n* b\r\n", None),
            ("greeting of POP3", b"+OK ready\r\n", Some(true)),
            ("greeting of MySQL", &[74, 0, 0, 0, 10, b'8', b'.', b'0'], Some(true)),
            ("connects", &[3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0], Some(false)),
            ("is connected", &[3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0], Some(true)),
            ("request", b"GET / HTTP/1.1\r\n\r\n", Some(false)),
            ("status line", b"HTTP/1.1 200 OK\r\n\r\n", Some(true)),
            ("registers", b"REGISTER sip:a SIP/2.0\r\nVia: x\r\n", Some(false)),
            ("is registered", b"SIP/2.0 200 OK\r\nVia: x\r\n", Some(true)),
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
            ("binds", &[5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0], Some(false)),
            ("bind is acknowledged", &[5, 0, 12, 3, 0x10, 0, 0, 0, 60, 0], Some(true)),
            ("allocates", &[0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42], Some(false)),
            ("is refused", &[1, 0x13, 0, 8, 0x21, 0x12, 0xa4, 0x42], Some(true)),
            ("is sent data", &[0, 0x17, 0, 8, 0x21, 0x12, 0xa4, 0x42], None),
            ("nothing known", &[0; 64], None),
            ("nothing", b"", None),
        ];
        for (what, bytes, wanted) in cases {
            assert_eq!(speaks(bytes), wanted, "{what}");
        }
        for (server, client) in [(443, 50_000), (2404, 50_003), (20_000, 50_000), (22, 1022), (143, 3306), (993, 3128)]
        {
            assert!(has_port(server, client) && !has_port(client, server), "{server} {client}");
        }
        for (one, other) in [(443, 80), (40_000, 50_000), (1022, 2222), (4443, 50_000), (3306, 5432)] {
            assert!(!has_port(one, other) && !has_port(other, one), "{one} {other}");
        }
    }
}
