//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! Reads request and status lines, the header fields that people search for, and the framing of bodies; bodies are skipped,
//! never kept. One event per transaction: the request and its final response, paired in order, told when the response's body
//! is whole, at the next request, behind a hole, or at the end of the connection. Where a client sends
//! requests without waiting (pipelining), requests and responses are events of their own with the same `transaction`.
//! Where the body of a request ends is not always the same for all: implementations differ on heads with two lengths, or an
//! odd one, and a server that answers with an error before it has the body may discard it, close, or read what comes as
//! the next request. Then no reading is taken for the right one: nothing is passed over any more, and what looks like a
//! request is read as one wherever it stands, and told ([`REQUEST_IN_BODY`]).
//!
//! Of a head with a hole the lines in front of it are told, and the event is truncated. Where the end of a request's head is
//! lost, that is known only when the next request comes: its answer is told before it, with the same `transaction`.
//!
//! At most [`PENDING_MAX`] unanswered requests are remembered; more are told, and their pairing is given up.
//!
//! Of cookies, and of the first [`INPUT_MAX`] bytes of a request's body that is a form, JSON or text, it is told whether one of their
//! values goes on as SQL, and nothing else.
//!
//! Deliberately not kept: bodies, cookies, passwords (of Basic only the user name is decoded, user information of a URI is
//! taken off it, values of parameters that are named like secrets are blanked, so are tokens that services take in a path or
//! in the place of a user name), trailers, HTTP/0.9, responses that
//! follow a hole in the stream.
//!
//! After `101 Switching Protocols` and a successful `CONNECT` both sides answer [`Step::Done`](super::Step::Done) at the
//! first byte of what follows, having taken nothing of it; [`State::turns_into`] says what that is.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `method` | `http.http_method` |
//! | `hostname`, `port` | `http.hostname`, `http.http_port` |
//! | `url` | `http.url` |
//! | `user_agent` | `http.http_user_agent` |
//! | `referer` | `http.http_refer` |
//! | `protocol` | `http.protocol` |
//! | `status` | `http.status` |
//! | `content_type` (of the response) | `http.http_content_type` |
//! | `location` | `http.redirect` |
//! | `length` (of the response's body: the bytes of it that were seen) | `http.length` |
//! | `forwarded_for` | `http.xff` |
//! | `content_range` | `http.content_range.raw` |
//! | `transaction` | `tx_id` of the line |
//! | `request_content_type`, `request_length`, `server`, `auth_scheme`, `username`, `upgrade`, `content_length`, `powered_by`, `forwarded`, `secret_sent`, `store`, `store_version`, `cluster_name`, `proxy_auth_scheme`, `proxy_username`, `lookup`, `injection`, `injection_sure`, `injection_hash` | only in our own object |

mod fields;
mod head;
mod input;
pub(super) mod secrets;
mod state;
mod store;
#[cfg(test)]
mod tests;

use super::facts::Fact;
use super::lines;
use super::parse::{Anomaly, Look, Match};
use super::protocol::Protocol;
pub(super) use fields::{put_uri, without_password};
pub(super) use state::{CHUNK_LINE_MAX, TRAILER_LINE_MAX};
pub use state::{PENDING_MAX, State};

const P: Protocol = Protocol::Http;

/// Method of the request.
pub const METHOD: Fact = Fact::text(P, 1, "method", 128);
/// Host of the request: of the `Host` field or of an absolute URI, without the port.
pub const HOSTNAME: Fact = Fact::text(P, 2, "hostname", 256);
/// Port behind the host, where one is named.
pub const PORT: Fact = Fact::number(P, 3, "port");
/// Target of the request, as sent but without user information and passwords.
pub const URL: Fact = Fact::text(P, 4, "url", URI_MAX as u16);
/// `User-Agent`.
pub const USER_AGENT: Fact = Fact::text(P, 5, "user_agent", 512);
/// `Referer`, cut like the target.
pub const REFERER: Fact = Fact::text(P, 6, "referer", 512);
/// Media type of the request's body.
pub const REQUEST_TYPE: Fact = Fact::text(P, 7, "request_content_type", 128);
/// `Content-Length` of the request.
pub const REQUEST_LENGTH: Fact = Fact::number(P, 8, "request_length");
/// Scheme of `Authorization`.
pub const AUTH_SCHEME: Fact = Fact::text(P, 9, "auth_scheme", 32);
/// User name of Basic or Digest, or of a URI.
pub const USERNAME: Fact = Fact::text(P, 10, "username", 128);
/// Version, as in `HTTP/1.1`; of the request if there is one.
pub const PROTOCOL: Fact = Fact::text(P, 11, "protocol", 16);
/// Status code.
pub const STATUS: Fact = Fact::number(P, 12, "status");
/// `Server`.
pub const SERVER: Fact = Fact::text(P, 13, "server", 256);
/// Media type of the response's body.
pub const CONTENT_TYPE: Fact = Fact::text(P, 14, "content_type", 128);
/// `Location`.
pub const LOCATION: Fact = Fact::text(P, 15, "location", 512);
/// Bytes of the response's body that were seen, without the sizes of its chunks.
pub const LENGTH: Fact = Fact::number(P, 16, "length");
/// `X-Forwarded-For`.
pub const FORWARDED_FOR: Fact = Fact::text(P, 17, "forwarded_for", 128);
/// `Upgrade`, of the request.
pub const UPGRADE: Fact = Fact::text(P, 18, "upgrade", 64);
/// Number of the transaction in the connection, from 0.
pub const TRANSACTION: Fact = Fact::number(P, 19, "transaction");
/// `Content-Range`, of the response.
pub const CONTENT_RANGE: Fact = Fact::text(P, 20, "content_range", 64);
/// Sub-protocols of WebSocket that the client offers, then the one that the server takes.
pub const WEBSOCKET_PROTOCOL: Fact = Fact::text(P, 21, "websocket_protocol", 128).repeated(2);
/// `X-Powered-By`, of the response: what the server runs on.
pub const POWERED_BY: Fact = Fact::text(P, 22, "powered_by", 128);

/// `Content-Length` of the response.
pub const CONTENT_LENGTH: Fact = Fact::number(P, 23, "content_length");
/// 1: the response came through a proxy or a cache (`Via`, `X-Cache`, or an absolute target in the connection), so `server`
/// may be another host's.
pub const FORWARDED: Fact = Fact::number(P, 24, "forwarded");
/// 1: a parameter of the target that is named like a password had a value, which is not kept.
pub const SECRET_SENT: Fact = Fact::number(P, 25, "secret_sent");
/// The search engine that answers: `elasticsearch` or `opensearch`, by `X-elastic-product` or its answer to a request for `/`.
pub const STORE: Fact = Fact::text(P, 26, "store", 32);
/// Its version.
pub const STORE_VERSION: Fact = Fact::text(P, 27, "store_version", 32);
/// Its cluster.
pub const CLUSTER_NAME: Fact = Fact::text(P, 28, "cluster_name", 64);

/// Scheme of `Proxy-Authorization`: where there is an `Authorization` too, that is for the server behind the proxy.
pub const PROXY_AUTH_SCHEME: Fact = Fact::text(P, 29, "proxy_auth_scheme", 32);
/// User name of it, as [`USERNAME`].
pub const PROXY_USERNAME: Fact = Fact::text(P, 30, "proxy_username", 128);

/// Name of a field whose value holds a lookup or an expression (`${`), which no value has by itself; of Basic inside what is encoded.
pub const LOOKUP: Fact = Fact::text(P, 31, "lookup", 64);

/// Where an input of the request goes on as SQL ([`super::sql`]): `body` or `cookie`. The input itself is not kept.
pub const INJECTION: Fact = Fact::text(P, 32, "injection", 8);
/// 1: that is written for nothing else.
pub const INJECTION_SURE: Fact = Fact::number(P, 33, "injection_sure");
/// Sixteen bits of a hash of it, to count different ones by.
pub const INJECTION_HASH: Fact = Fact::number(P, 34, "injection_hash");

/// Bytes of the request's body that had not come when it was answered; where the body's beginning is read (forms, JSON), and was
/// not there, all of it.
pub const REQUEST_MISSING: Fact = Fact::number(P, 35, "request_missing");

/// All facts.
pub const FACTS: &[Fact] = &[
    METHOD,
    HOSTNAME,
    PORT,
    URL,
    USER_AGENT,
    REFERER,
    REQUEST_TYPE,
    REQUEST_LENGTH,
    AUTH_SCHEME,
    USERNAME,
    PROTOCOL,
    STATUS,
    SERVER,
    CONTENT_TYPE,
    LOCATION,
    LENGTH,
    FORWARDED_FOR,
    UPGRADE,
    TRANSACTION,
    CONTENT_RANGE,
    WEBSOCKET_PROTOCOL,
    POWERED_BY,
    CONTENT_LENGTH,
    FORWARDED,
    SECRET_SENT,
    STORE,
    STORE_VERSION,
    CLUSTER_NAME,
    PROXY_AUTH_SCHEME,
    PROXY_USERNAME,
    LOOKUP,
    INJECTION,
    INJECTION_SURE,
    INJECTION_HASH,
    REQUEST_MISSING,
];

/// A message has both `Content-Length` and `Transfer-Encoding`.
pub const LENGTH_AND_CODING: Anomaly = Anomaly::new(P, 1, "length_and_coding");
/// `Content-Length` fields that differ.
pub const LENGTHS_DIFFER: Anomaly = Anomaly::new(P, 2, "lengths_differ");
/// A `Content-Length` that is no number.
pub const LENGTH_INVALID: Anomaly = Anomaly::new(P, 3, "length_invalid");
/// A `Transfer-Encoding` that implementations read in different ways.
pub const CODING_ODD: Anomaly = Anomaly::new(P, 4, "coding_odd");
/// A chunk without a readable size, or not ended where it says.
pub const CHUNK_INVALID: Anomaly = Anomaly::new(P, 5, "chunk_invalid");
/// A header longer than [`HEAD_MAX`], which is read on line by line, or of more than [`FIELDS_MAX`] fields.
pub const HEADER_TOO_LONG: Anomaly = Anomaly::new(P, 6, "header_too_long");
/// Blanks between the name of a field and its colon.
pub const BLANK_BEFORE_COLON: Anomaly = Anomaly::new(P, 7, "blank_before_colon");
/// A field that is continued on the next line.
pub const FOLDED_FIELD: Anomaly = Anomaly::new(P, 8, "folded_field");
/// A field without a colon or with a name that is no token.
pub const FIELD_INVALID: Anomaly = Anomaly::new(P, 9, "field_invalid");
/// A carriage return or a zero byte inside a line.
pub const CONTROL_BYTE: Anomaly = Anomaly::new(P, 10, "control_byte");
/// Lines that end without a carriage return.
pub const BARE_LINE_FEED: Anomaly = Anomaly::new(P, 11, "bare_line_feed");
/// No `Host` in HTTP/1.1.
pub const HOST_MISSING: Anomaly = Anomaly::new(P, 12, "host_missing");
/// More than one `Host`.
pub const HOST_REPEATED: Anomaly = Anomaly::new(P, 13, "host_repeated");
/// A method that no registry has.
pub const METHOD_UNKNOWN: Anomaly = Anomaly::new(P, 14, "method_unknown");
/// A request line that is none, or has blanks or control bytes where none belong.
pub const REQUEST_LINE_INVALID: Anomaly = Anomaly::new(P, 15, "request_line_invalid");
/// A status line that is none.
pub const STATUS_LINE_INVALID: Anomaly = Anomaly::new(P, 16, "status_line_invalid");
/// More requests without an answer than are remembered.
pub const PENDING_TOO_MANY: Anomaly = Anomaly::new(P, 17, "pending_too_many");
/// Target of a request longer than [`URI_MAX`].
pub const URI_TOO_LONG: Anomaly = Anomaly::new(P, 18, "uri_too_long");
/// A response, and not the one that a server may send unasked (408), to none of the requests that were seen: to one before
/// the capture began, to another way's, or put there by somebody else.
pub const RESPONSE_UNMATCHED: Anomaly = Anomaly::new(P, 19, "unable_to_match_response_to_request");
/// A request within what may be the body of another one: behind a head that implementations delimit in different ways, or
/// whose server answered with an error before the body was whole, and may have discarded the rest, or read it.
pub const REQUEST_IN_BODY: Anomaly = Anomaly::new(P, 20, "request_in_body");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[
    LENGTH_AND_CODING,
    LENGTHS_DIFFER,
    LENGTH_INVALID,
    CODING_ODD,
    CHUNK_INVALID,
    HEADER_TOO_LONG,
    BLANK_BEFORE_COLON,
    FOLDED_FIELD,
    FIELD_INVALID,
    CONTROL_BYTE,
    BARE_LINE_FEED,
    HOST_MISSING,
    HOST_REPEATED,
    METHOD_UNKNOWN,
    REQUEST_LINE_INVALID,
    STATUS_LINE_INVALID,
    PENDING_TOO_MANY,
    URI_TOO_LONG,
    RESPONSE_UNMATCHED,
    REQUEST_IN_BODY,
];

/// Bytes of a target that are kept.
pub const URI_MAX: usize = 1024;
/// Bytes of a request's body, and of its cookies, that are looked at for SQL.
pub const INPUT_MAX: usize = 2048;
/// Bytes of a header at most: servers take 8 to 16 KiB.
pub const HEAD_MAX: usize = 16 * 1024;
/// Fields of a header at most.
pub const FIELDS_MAX: usize = 200;

/// Methods of the IANA registry, of WebDAV, UPnP and Microsoft's RPC and messaging.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"NOTIFY",
    b"M-SEARCH",
    b"POLL",
    b"BCOPY",
    b"BMOVE",
    b"BDELETE",
    b"BPROPFIND",
    b"BPROPPATCH",
    b"ACL",
    b"BIND",
    b"UNBIND",
    b"REBIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"UNCHECKOUT",
    b"MERGE",
    b"MKACTIVITY",
    b"MKWORKSPACE",
    b"MKCALENDAR",
    b"LABEL",
    b"LINK",
    b"UNLINK",
    b"UPDATE",
    b"VERSION-CONTROL",
    b"BASELINE-CONTROL",
    b"ORDERPATCH",
    b"MKREDIRECTREF",
    b"UPDATEREDIRECTREF",
    b"QUERY",
    b"PURGE",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
    b"RPC_CONNECT",
    b"CCM_POST",
    b"SSTP_DUPLEX_POST",
    b"BITS_POST",
    b"X-MS-ENUMATTS",
    b"SOURCE",
];

/// Bytes of a request line after which a known method and a target so far are enough.
const PROBE_ENOUGH: usize = 192;

/// Recognises a request line or a status line; never datagrams.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match status_line(look.bytes) {
        Match::No => request_line(look.bytes),
        other => other,
    }
}

/// Does a message begin with these bytes of a stream, and is it the server's?
pub(super) fn is_server(bytes: &[u8]) -> Option<bool> {
    match (status_line(bytes), request_line(bytes)) {
        (Match::Yes, _) => Some(true),
        (_, Match::Yes) => Some(false),
        _ => None,
    }
}

/// Does a stream begin with a whole request line of a known method? Stricter than [`probe`], which takes any word for one.
pub(super) fn is_request(bytes: &[u8]) -> Match {
    let bytes = bytes.trim_ascii_start();
    let (method, is_begun) = match bytes.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), false),
        None => (bytes, true),
    };
    let known = |one: &&[u8]| if is_begun { one.starts_with(method) } else { one.eq_ignore_ascii_case(method) };
    if METHODS.iter().any(known) { request_line(bytes) } else { Match::No }
}

/// The beginning of a request of a known method for a path.
pub fn is_request_so_far(bytes: &[u8]) -> bool {
    lines::split(bytes, b' ').is_some_and(|(method, target)| METHODS.contains(&method) && target.starts_with(b"/"))
}

fn status_line(bytes: &[u8]) -> Match {
    match lines::begins(bytes, b"HTTP/1.") {
        Match::Yes => match bytes.get(7..) {
            Some([digit, b' ', status, ..]) if digit.is_ascii_digit() && status.is_ascii_digit() => Match::Yes,
            Some([digit, b' ']) | Some([digit]) if digit.is_ascii_digit() => Match::Maybe,
            Some([]) | None => Match::Maybe,
            _ => Match::No,
        },
        other => other,
    }
}

/// A line that ends in a version of HTTP is a request whatever stands in front: attacks put what they want to have logged there,
/// and servers read more than the grammar allows. HTTP/2 has its own beginning.
fn request_line(bytes: &[u8]) -> Match {
    // Empty lines in front are allowed (RFC 9112 section 2.2).
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = bytes.get(blank..).unwrap_or_default();
    let (line, is_whole) = match lines::split(bytes, b'\n') {
        Some((line, _)) => (line.strip_suffix(b"\r").unwrap_or(line), true),
        None => (lines::begun(bytes), false),
    };
    // The beginning of an answer of another version.
    let is_answer = lines::begins(line, b"HTTP/") == Match::Yes;
    if is_answer || !line.iter().all(|byte| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\r')) {
        return Match::No;
    }
    if is_whole {
        let is_request = split_line(line).is_some_and(|one| !one.version.starts_with(b"HTTP/2"));
        return if is_request { Match::Yes } else { Match::No };
    }
    // A method that nobody knows, or what is no target, is believed once the line is whole.
    let known = lines::split(line, b' ').filter(|(method, _)| METHODS.contains(method));
    match known {
        Some((_, target)) if is_target(target) && line.len() >= PROBE_ENOUGH => Match::Yes,
        _ => Match::Maybe,
    }
}

/// Longest number of a version: clients send 1.0.8 and the like.
const VERSION_MAX: usize = 8;

/// A request line.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
    /// Blanks where none belong, tabs for blanks, or control bytes.
    is_odd: bool,
}

/// Splits a request line at its first and its last blank; nothing where it does not end in a version.
fn split_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trimmed = line.trim_ascii();
    let (rest, version) = trimmed.split_at_checked(trimmed.iter().rposition(is_blank)? + 1)?;
    let (_, rest) = rest.split_last()?;
    let number = version.strip_prefix(b"HTTP/").filter(|number| number.len() <= VERSION_MAX)?;
    if !number.first()?.is_ascii_digit() || !number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    let (method, behind) = rest.split_at_checked(rest.iter().position(is_blank)?)?;
    let target = behind.trim_ascii();
    let is_odd = !matches!(number, [b'0'..=b'9', b'.', b'0'..=b'9'])
        || trimmed.len() != line.len()
        || behind.len() != target.len() + 1
        || target.is_empty()
        || line.iter().any(u8::is_ascii_control);
    Some(RequestLine { method, target, version, is_odd })
}

/// May a target begin so? Other protocols with lines of this kind (RTSP, SIP) name their own schemes.
fn is_target(target: &[u8]) -> bool {
    let schemes: [&[u8]; 3] = [b"http://", b"https://", b"ftp://"];
    let plain = target.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
    let begin = match target.first() {
        None | Some(b'/' | b'*' | b'?') => true,
        Some(_) if schemes.iter().any(|scheme| lines::begins(target, scheme) != Match::No) => true,
        // Of CONNECT: a host and a port; not the scheme of another protocol.
        Some(first) => {
            (first.is_ascii_alphanumeric() || *first == b'[')
                && lines::find(target, b"://").is_none()
                && lines::begins(target, b"sip") != Match::Yes
        }
    };
    plain && begin
}
