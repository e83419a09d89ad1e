//! Against `httparse`: request lines and status lines, and the fields that events have.

use super::{Message, Tally, bytes_of};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::http::{CONTENT_TYPE, HOSTNAME, METHOD, PROTOCOL, SERVER, STATUS, URL, USER_AGENT};
use shrike::dataplane::inspect::{Fact, Facts, Inspector, Protocol};

/// Fields that a head may have: more are no head to us either.
const FIELDS: usize = 100;

pub fn compare(inspector: &mut Inspector, message: &Message<'_>, place: &str, tally: &mut Tally) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    if !message.is_stream || !looks_like_one(message.bytes) {
        return;
    }
    if message.bytes.starts_with(b"HTTP/") {
        let mut theirs = httparse::Response::new(&mut fields);
        let result = theirs.parse(message.bytes);
        let told = message.told(inspector, Side::Responder);
        // Interim answers (RFC 9110 section 15.2) are no events.
        let Some(ours) =
            both(result, &told, place, message, tally).filter(|_| theirs.code.is_none_or(|code| code >= 200))
        else {
            return;
        };
        let status = theirs.code.map(|code| code.to_string().into_bytes());
        let ours_status = ours.number(STATUS).map(|code| code.to_string().into_bytes());
        tally.compare(
            [
                ("status", ours_status, status),
                ("server", bytes_of(ours, SERVER), field(theirs.headers, "server", SERVER)),
                ("content type", bytes_of(ours, CONTENT_TYPE), field(theirs.headers, "content-type", CONTENT_TYPE)),
            ],
            place,
        );
    } else {
        let mut theirs = httparse::Request::new(&mut fields);
        let result = theirs.parse(message.bytes);
        let told = message.told(inspector, Side::Originator);
        let Some(ours) = both(result, &told, place, message, tally) else { return };
        let version = theirs.version.map(|minor| format!("HTTP/1.{minor}").into_bytes());
        // Of a whole address as the target (a proxy's) our host is the target's.
        let host = match theirs.path {
            Some(path) if path.starts_with('/') => {
                field(theirs.headers, "host", HOSTNAME).map(|host| without_port(&host))
            }
            _ => bytes_of(ours, HOSTNAME),
        };
        tally.compare(
            [
                ("method", bytes_of(ours, METHOD), theirs.method.map(|text| text.as_bytes().to_vec())),
                ("path", bytes_of(ours, URL).map(path), theirs.path.map(|text| path(text.as_bytes().to_vec()))),
                ("version", bytes_of(ours, PROTOCOL), version),
                ("host", bytes_of(ours, HOSTNAME), host),
                ("user agent", bytes_of(ours, USER_AGENT), field(theirs.headers, "user-agent", USER_AGENT)),
            ],
            place,
        );
    }
}

/// Begins as a request or an answer of HTTP/1 does, and has the end of a head.
fn looks_like_one(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_request = line.len() > 9 && line[..line.len() - 1].ends_with(b" HTTP/1.") && line[0].is_ascii_uppercase();
    let has_end = bytes.windows(4).any(|window| window == b"\r\n\r\n");
    has_end && (is_request || line.starts_with(b"HTTP/1."))
}

/// Our event where both read the head; else counts what the two made of it.
fn both<'a>(
    result: httparse::Result<usize>,
    told: &'a super::Told,
    place: &str,
    message: &Message<'_>,
    tally: &mut Tally,
) -> Option<&'a Facts> {
    let ours = told.of(Protocol::Http);
    match (result, ours) {
        (Ok(httparse::Status::Complete(_)), Some(ours)) => Some(ours),
        (Ok(httparse::Status::Complete(_)), None) => {
            let head = message.bytes.get(..200).unwrap_or(message.bytes);
            tally.note("not read", || format!("{place}: {}", head.escape_ascii()));
            None
        }
        (Ok(httparse::Status::Partial), _) => None,
        (Err(_), Some(_)) => {
            tally.only_ours += u64::from(!told.has(Protocol::Http));
            None
        }
        (Err(_), None) => None,
    }
}

/// The value of the last field of a name, as far as our fact holds it.
fn field(fields: &[httparse::Header<'_>], name: &str, fact: Fact) -> Option<Vec<u8>> {
    let value = fields.iter().find(|one| one.name.eq_ignore_ascii_case(name))?.value.trim_ascii();
    let value = value.get(..usize::from(fact.limit)).unwrap_or(value);
    (!value.is_empty()).then(|| value.to_vec())
}

/// What comes before parameters, of which some are blanked.
fn path(mut url: Vec<u8>) -> Vec<u8> {
    let end = url.iter().position(|byte| matches!(byte, b'?' | b'#' | b';'));
    url.truncate(end.unwrap_or(url.len()).min(URL.limit.into()));
    url
}

fn without_port(host: &[u8]) -> Vec<u8> {
    let is_port = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if is_port(&host[at + 1..]) => host[..at].to_vec(),
        _ => host.to_vec(),
    }
}
