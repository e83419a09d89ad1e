//! SSDP (UPnP device architecture 2.0, section 1): searches, answers and notices, one event a datagram.
//!
//! Reads the method or the status, and the headers that tell what is wanted and what a device is. It deliberately does not:
//! fetch descriptions, or read bodies.
//!
//! Bounds: 64 lines.
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::http::secrets;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Ssdp;
/// `M-SEARCH` or `NOTIFY`; none in an answer.
pub const METHOD: Fact = Fact::text(PROTOCOL, 1, "method", 16);
/// Status of an answer.
pub const STATUS: Fact = Fact::number(PROTOCOL, 2, "status");
/// What is searched for, or notified (headers ST and NT).
pub const TARGET: Fact = Fact::text(PROTOCOL, 3, "target", 255);
/// Kind of a notice (header NTS): alive, byebye, update.
pub const NOTICE: Fact = Fact::text(PROTOCOL, 4, "notice", 64);
/// Unique name of the service.
pub const USN: Fact = Fact::text(PROTOCOL, 5, "usn", 255);
/// Where the description is.
pub const LOCATION: Fact = Fact::text(PROTOCOL, 6, "location", 255);
/// System and product of the device.
pub const SERVER: Fact = Fact::text(PROTOCOL, 7, "server", 255);
/// Product of who searches.
pub const USER_AGENT: Fact = Fact::text(PROTOCOL, 8, "user_agent", 255);
/// Header HOST.
pub const HOST: Fact = Fact::text(PROTOCOL, 9, "host", 64);
/// Seconds to answer in (header MX).
pub const MX: Fact = Fact::text(PROTOCOL, 10, "mx", 8);

/// All facts.
pub const FACTS: &[Fact] = &[METHOD, STATUS, TARGET, NOTICE, USN, LOCATION, SERVER, USER_AGENT, HOST, MX];

/// A search for everything from one host: what amplifies most.
pub const SEARCH_ALL: Anomaly = Anomaly::new(PROTOCOL, 1, "search_all_unicast");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[SEARCH_ALL];

/// Lines looked at.
pub(super) const LINES_MAX: usize = 64;

/// SSDP? One of its two methods, or an answer of HTTP with its headers, in a datagram.
pub fn probe(look: &Look<'_>) -> Match {
    let bytes = look.bytes;
    let is_request = [&b"M-SEARCH * HTTP/"[..], b"NOTIFY * HTTP/"].iter().any(|start| bytes.starts_with(start));
    let is_answer = || {
        let mut lines = Reader::new(bytes);
        bytes.starts_with(b"HTTP/1.")
            && (look.has_port(1900)
                || std::iter::from_fn(|| lines.line())
                    .take(LINES_MAX)
                    .filter_map(header)
                    .any(|(name, _)| [&b"st"[..], b"usn"].iter().any(|wanted| name.eq_ignore_ascii_case(wanted))))
    };
    if look.is_datagram && (is_request || is_answer()) { Match::Yes } else { Match::No }
}

/// Name and value of a header line.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line.get(..colon)?.trim_ascii(), line.get(colon + 1..)?.trim_ascii()))
}

/// Is the flow spoken to one host?
#[derive(Default)]
pub struct State {
    is_unicast: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn begin(&mut self, look: &Look<'_>) {
        self.is_unicast = !look.is_multicast;
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        out.facts().sent_by(side);
        let mut lines = Reader::new(bytes);
        first_line(lines.line().unwrap_or(bytes), out);
        for line in 0..=LINES_MAX {
            let Some((name, value)) = lines.line().and_then(header) else { break };
            if line == LINES_MAX {
                out.facts().mark_truncated();
                break;
            }
            put(name, value, out);
        }
        let facts = out.facts();
        let is_search = facts.get(METHOD) == Some(b"M-SEARCH");
        if self.is_unicast && is_search && facts.get(TARGET) == Some(b"ssdp:all") {
            out.anomaly(SEARCH_ALL);
        }
        out.event();
        Step::Took(bytes.len())
    }
}

fn first_line(line: &[u8], out: &mut dyn Output) {
    let mut words = line.split(|byte| *byte == b' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if first.starts_with(b"HTTP/") {
        let digits = second.iter().take(3).filter(|byte| byte.is_ascii_digit());
        out.facts().put_number(STATUS, digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    } else {
        out.facts().put(METHOD, first);
    }
}

fn put(name: &[u8], value: &[u8], out: &mut dyn Output) {
    let facts = [
        (&b"st"[..], TARGET),
        (b"nt", TARGET),
        (b"nts", NOTICE),
        (b"usn", USN),
        (b"location", LOCATION),
        (b"server", SERVER),
        (b"user-agent", USER_AGENT),
        (b"host", HOST),
        (b"mx", MX),
    ];
    if let Some((_, fact)) = facts.iter().find(|(wanted, _)| name.eq_ignore_ascii_case(wanted)) {
        if *fact == LOCATION {
            let mut places = secrets::Places::<{ LOCATION.limit as usize + 1 }>::default();
            return out.facts().put(*fact, secrets::told(value, &mut places));
        }
        out.facts().put(*fact, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show_one, torment_datagram};

    const SEARCH: &[u8] =
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMan: \"ssdp:discover\"\r\nMX: 3\r\nST: ssdp:all\r\n\r\n";
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nST:upnp:rootdevice\r\nUSN: uuid:1::x\r\nLocation: http://192.0.2.1/d.xml\r\nSERVER: Linux\r\n\r\n";

    #[test]
    fn searches_and_answers_are_read() {
        let facts = show_one::<State>(SEARCH).events.remove(0);
        assert_eq!((facts.get(METHOD), facts.get(TARGET)), (Some(&b"M-SEARCH"[..]), Some(&b"ssdp:all"[..])));
        let facts = show_one::<State>(ANSWER).events.remove(0);
        assert_eq!((facts.number(STATUS), facts.get(SERVER)), (Some(200), Some(&b"Linux"[..])));
        assert_eq!(facts.get(LOCATION), Some(&b"http://192.0.2.1/d.xml"[..]));
        let answer =
            String::from_utf8_lossy(ANSWER).replace("//192.0.2.1/d.xml", "//admin:x7Hq2L@192.0.2.1/d.xml?token=x7Hq2L");
        let facts = show_one::<State>(answer.as_bytes()).events.remove(0);
        assert_eq!(facts.get(LOCATION), Some(&b"http://*@192.0.2.1/d.xml?token=*"[..]));
        for message in [SEARCH, ANSWER] {
            assert_eq!(probe(&datagram(message, [1, 2])), Match::Yes);
            torment_datagram::<State>(message, [1, 1900], probe);
        }
        let many = [b"NOTIFY * HTTP/1.1\r\n", &b"a: b\r\n".repeat(9000)[..]].concat();
        assert_eq!(show_one::<State>(&many).events.len(), 1);
        assert_eq!(probe(&datagram(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", [1, 2])), Match::No);
    }
}
