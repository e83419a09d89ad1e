//! HTTP/2 in the clear (RFC 9113): with prior knowledge, or behind an upgrade from HTTP/1.
//!
//! Reads HEADERS and PUSH_PROMISE with their CONTINUATIONs: method, authority, path, agent of a request, status, server and type
//! of a response; one event for a request with its response. What must outlive a block is a [`Connection`]: HPACK's
//! dynamic tables, and which requests wait, whose facts lie in [`Requests`]; [`State::step_with`] takes both. Without them
//! what refers to a table is not known, and a request has its response with it only where no other comes between. Of what
//! is not known the event is `truncated`. All other frames are passed over.
//! Deliberately not read: bodies, cookies, authorization.
//!
//! | bounded | by |
//! | --- | --- |
//! | a block with its CONTINUATIONs | [`UNIT_MAX`]; of a longer one what is before is read, and told ([`BLOCK_TOO_LONG`]) |
//! | fields of a block that are wanted | 128, others cost their bytes; behind them the event is `truncated` |
//! | a dynamic table | its newest 256 entries, 4 KiB of values; of what names others the event is `truncated` |
//! | requests that wait | 256 of a connection, and a pool for all; the oldest is told without its response, `truncated` |
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `method`, `authority`, `path` | `http.http_method`, `http.hostname`, `http.url` |
//! | `user_agent`, `status`, `content_type` | `http.http_user_agent`, `http.status`, `http.http_content_type` |
//! | `stream` | `http.http2.stream_id` |
//! | `server`, `scheme`, `forwarded`, `secret_sent`, `pushed` | only in our own object; `http.version` is `2` |

mod connection;
mod frames;
mod hpack;
mod requests;
#[cfg(test)]
pub(super) mod tests;

pub(super) use connection::REQUESTS_MAX;
pub use connection::{Connection, Memory};
pub(super) use frames::CONTROL_MAX;
pub(super) use hpack::{ENTRIES_MAX, FIELDS_MAX, VALUES_BYTES};
pub(super) use requests::LONGEST;
pub use requests::{BLOCK_BYTES, BLOCKS, Requests};

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step, UNIT_MAX};
use super::protocol::Protocol;
use super::sides::Sides;
use crate::dataplane::flow::Side;
use frames::{Extent, Frame, HEADERS, PROMISE, RESET, extent, put_together};
use hpack::Read;

const P: Protocol = Protocol::Http2;

/// Number of the stream.
pub const STREAM: Fact = Fact::number(P, 1, "stream");
/// Method of the request.
pub const METHOD: Fact = Fact::text(P, 2, "method", 32);
/// Host of the request, with its port: `:authority`, or `host` as gateways from HTTP/1 send it. The first one.
pub const AUTHORITY: Fact = Fact::text(P, 3, "authority", 256);
/// Target of the request; values of parameters that are named like passwords are blanked.
pub const PATH: Fact = Fact::text(P, 4, "path", 1024);
/// `http` or `https`.
pub const SCHEME: Fact = Fact::text(P, 5, "scheme", 8);
/// `user-agent`.
pub const USER_AGENT: Fact = Fact::text(P, 6, "user_agent", 512);
/// Status code.
pub const STATUS: Fact = Fact::number(P, 7, "status");
/// `server`.
pub const SERVER: Fact = Fact::text(P, 8, "server", 256);
/// `content-type` of the response.
pub const CONTENT_TYPE: Fact = Fact::text(P, 9, "content_type", 128);
/// 1: the response came through a proxy or a cache (`via`, `x-cache`), so `server` may be another host's.
pub const FORWARDED: Fact = Fact::number(P, 10, "forwarded");
/// 1: a parameter of the target that is named like a password had a value, which is not kept.
pub const SECRET_SENT: Fact = Fact::number(P, 11, "secret_sent");
/// 1: nobody asked; the server promised the response (PUSH_PROMISE), and says itself what a request for it would be.
pub const PUSHED: Fact = Fact::number(P, 12, "pushed");

/// All facts.
pub const FACTS: &[Fact] = &[
    STREAM,
    METHOD,
    AUTHORITY,
    PATH,
    SCHEME,
    USER_AGENT,
    STATUS,
    SERVER,
    CONTENT_TYPE,
    FORWARDED,
    SECRET_SENT,
    PUSHED,
];

/// A frame of a kind whose length is fixed, of more than `CONTROL_MAX` bytes.
pub const FRAME_TOO_LONG: Anomaly = Anomaly::new(P, 1, "frame_too_long");
/// A block of fields that cannot be decoded.
pub const BLOCK_INVALID: Anomaly = Anomaly::new(P, 2, "block_invalid");
/// HEADERS on stream 0, a promise of stream 0, or one of a client.
pub const STREAM_INVALID: Anomaly = Anomaly::new(P, 3, "stream_invalid");

/// A block of fields that is longer, with its CONTINUATIONs, than what is put together.
pub const BLOCK_TOO_LONG: Anomaly = Anomaly::new(P, 4, "block_too_long");
/// `:authority` and `host` name different hosts, so it is the receiver's choice which one a request is to.
pub const HOST_DIFFERS: Anomaly = Anomaly::new(P, 5, "host_differs");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[FRAME_TOO_LONG, BLOCK_INVALID, STREAM_INVALID, BLOCK_TOO_LONG, HOST_DIFFERS];

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Recognises the client's preface, and a server's SETTINGS.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    match lines::begins(look.bytes, PREFACE) {
        Match::No => settings(look.bytes),
        other => other,
    }
}

fn settings(bytes: &[u8]) -> Match {
    let mut reader = Reader::new(bytes);
    let (Some(length), Some([4, 0, 0, 0, 0, 0])) = (reader.be24(), reader.array::<6>()) else {
        let begin = [Some(0), Some(0), None, Some(4), Some(0), Some(0), Some(0), Some(0), Some(0)];
        let may_be =
            bytes.len() < 9 && bytes.iter().zip(begin).all(|(byte, wanted)| wanted.is_none_or(|one| one == *byte));
        return if may_be { Match::Maybe } else { Match::No };
    };
    match reader.be16() {
        _ if !(6..=60).contains(&length) || length % 6 != 0 => Match::No,
        None => Match::Maybe,
        Some(1..=9) => Match::Yes,
        Some(_) => Match::No,
    }
}

/// An HTTP/2 connection.
#[derive(Default, Debug)]
pub struct State {
    told: Told,
    has_preface: bool,
    /// A block was not read: what a table would have from here on is not known.
    has_lost: Sides<bool>,
    /// The newest stream of the client: its blocks on others are trailers.
    newest: u32,
}

const _: () = assert!(size_of::<State>() <= 64);

/// A block of fields, as its frame says.
struct Block<'a> {
    side: Side,
    /// The stream that the fields are of: of a promise the one that is promised.
    stream: u32,
    is_promise: bool,
    /// What is shown of it.
    fields: &'a [u8],
    /// Why it is not all.
    missing: Option<Anomaly>,
}

impl State {
    /// As [`Parse::step`], with what lasts from block to block.
    pub fn step_with(
        &mut self,
        side: Side,
        bytes: &[u8],
        mut memory: Option<Memory<'_>>,
        out: &mut dyn Output,
    ) -> Step {
        if side == Side::Originator && !self.has_preface {
            match lines::begins(bytes, PREFACE) {
                Match::Maybe => return Step::Need(PREFACE.len()),
                Match::Yes => {
                    self.has_preface = true;
                    return Step::Took(PREFACE.len());
                }
                Match::No => self.has_preface = true, // the capture began in mid-stream
            }
        }
        let Some(frame) = Frame::read(bytes) else { return Step::Need(frames::HEAD) };
        if frame.is_too_long() {
            return Step::Broken(FRAME_TOO_LONG);
        }
        if let (RESET, Some(memory)) = (frame.kind, &mut memory) {
            memory.reset(frame.stream, out);
        }
        if !matches!(frame.kind, HEADERS | PROMISE) {
            return Step::Skip(frame.length as u64);
        }
        let (end, missing) = match extent(&frame, bytes) {
            Extent::Need(count) => return Step::Need(count),
            Extent::Whole(end) => (end, None),
            Extent::Part(end, anomaly) => (end, Some(anomaly)),
        };
        let shown = bytes.get(..end.min(UNIT_MAX)).unwrap_or(bytes);
        let stream = if frame.kind == PROMISE { frame.promised(shown) } else { frame.stream };
        let block = Block { side, stream, is_promise: frame.kind == PROMISE, fields: frame.fields(shown), missing };
        if end == frame.length {
            self.block(&block, memory, out);
        } else {
            self.pieces(&frame, shown, block, memory, out);
        }
        Step::Skip(end as u64)
    }

    /// A block in several frames.
    #[cold]
    fn pieces(
        &mut self,
        first: &Frame,
        bytes: &[u8],
        block: Block<'_>,
        memory: Option<Memory<'_>>,
        out: &mut dyn Output,
    ) {
        let mut place = [0; UNIT_MAX];
        self.block(&Block { fields: put_together(first, bytes, &mut place), ..block }, memory, out);
    }

    fn block(&mut self, block: &Block<'_>, mut memory: Option<Memory<'_>>, out: &mut dyn Output) {
        let Block { side, stream, is_promise, missing, .. } = *block;
        let is_invalid = stream == 0 || is_promise && side == Side::Originator;
        if is_invalid {
            self.told.once(STREAM_INVALID, out);
        }
        let is_response = side == Side::Responder && !is_promise;
        let waited = is_response && memory.as_mut().is_some_and(|memory| memory.begin(stream, out));
        if is_promise || out.facts().number(STREAM) != Some(u64::from(stream)) {
            out.event();
            out.facts().put_number(STREAM, u64::from(stream));
        }
        if is_promise {
            out.facts().put_number(PUSHED, 1);
        }
        let before = out.facts().as_bytes().len();
        let table = memory.as_mut().map(|memory| memory.table(side));
        let has_lost = std::mem::replace(self.has_lost.of(side), missing.is_some());
        let (mut is_final, mut host_differs) = (false, false);
        let read = hpack::fields(block.fields, table.map(|table| table.without(has_lost)), |name, value| {
            let put = put(name, value, out);
            is_final |= put == Put::Final;
            host_differs |= put == Put::Differs;
            put != Put::Unwanted
        });
        if host_differs {
            self.told.once(HOST_DIFFERS, out);
        }
        let is_something = waited || missing.is_some() || out.facts().as_bytes().len() > before;
        if missing.is_some() || read == Read::Cut {
            out.facts().mark_truncated();
        }
        if let Some(anomaly) = missing.or((read == Read::Broken).then_some(BLOCK_INVALID)) {
            *self.has_lost.of(side) = true;
            self.told.once(anomaly, out);
        }
        let is_new = side == Side::Originator && stream > self.newest;
        if is_new {
            self.newest = stream;
        }
        match memory {
            _ if is_invalid => out.facts().clear(),
            _ if is_final => out.event(),
            // Of a request that is not known something is told; trailers are nothing.
            Some(mut memory) if is_something || is_new && out.facts().is_truncated() => memory.keep(stream, out),
            Some(_) => out.facts().clear(),
            None => {}
        }
    }
}

/// What a field was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Unwanted,
    Wanted,
    /// The status of a final response.
    Final,
    /// Another host than the one before.
    Differs,
}

fn put(name: &[u8], value: &[u8], out: &mut dyn Output) -> Put {
    match name {
        b":method" => out.facts().put(METHOD, value),
        b":authority" => return put_host(value, out),
        // A request's own stands before its status, of which a response has one first.
        b"host" if out.facts().number(STATUS).is_none() => return put_host(value, out),
        b":path" if super::http::put_uri(PATH, value, out) => out.facts().put_number(SECRET_SENT, 1),
        b":scheme" => out.facts().put(SCHEME, value),
        b":status" => {
            if let Some(status) = lines::decimal(value).filter(|status| (200..=999).contains(status)) {
                out.facts().put_number(STATUS, status);
                return Put::Final;
            }
        }
        b"user-agent" => out.facts().put(USER_AGENT, value),
        b"server" => out.facts().put(SERVER, value),
        b"content-type" if out.facts().number(STATUS).is_some() => out.facts().put(CONTENT_TYPE, value),
        b"via" | b"x-cache" if out.facts().number(STATUS).is_some() && out.facts().number(FORWARDED).is_none() => {
            out.facts().put_number(FORWARDED, 1);
        }
        b":path" | b"content-type" | b"via" | b"x-cache" => {}
        _ => return Put::Unwanted,
    }
    Put::Wanted
}

/// The first one stays.
fn put_host(value: &[u8], out: &mut dyn Output) -> Put {
    let host = super::http::without_password(value);
    let is_same = out.facts().get(AUTHORITY).is_none_or(|first| {
        let host = host.get(..usize::from(AUTHORITY.limit)).unwrap_or(host);
        without_port(first).eq_ignore_ascii_case(without_port(host))
    });
    out.facts().put(AUTHORITY, host);
    if is_same { Put::Wanted } else { Put::Differs }
}

/// Without a port that need not be named.
fn without_port(host: &[u8]) -> &[u8] {
    host.strip_suffix(b":80").or_else(|| host.strip_suffix(b":443")).unwrap_or(host)
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.step_with(side, bytes, None, out)
    }

    fn gap(&mut self, side: Side, hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        *self.has_lost.of(side) = true;
        Frame::read(hole.before).map_or(Resume::Done, |frame| hole.within(frame.length as u64))
    }
}
