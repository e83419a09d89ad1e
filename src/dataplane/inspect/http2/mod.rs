//! HTTP/2 in the clear (RFC 9113): with prior knowledge, or behind an upgrade from HTTP/1.
//!
//! Reads HEADERS with their CONTINUATIONs: method, authority, path, agent of a request, status, server and type of a response;
//! one event for a request with its response, while those that wait have room. What must outlive a block is a [`Connection`]:
//! HPACK's dynamic tables, and requests that wait; [`State::step_with`] takes one. Without it what refers to a table is not
//! known, and a request has its response with it only where no other comes between. All other frames are passed over.
//! Deliberately not read: bodies, cookies, authorization.
//!
//! | bounded | by |
//! | --- | --- |
//! | a block with its CONTINUATIONs | [`UNIT_MAX`]; of a longer one what is before is read, and told ([`BLOCK_TOO_LONG`]) |
//! | fields of a block that are wanted | 128, others cost their bytes; behind them the event is `truncated` |
//! | a dynamic table | its newest 256 entries, 4 KiB of values |
//! | requests that wait | 8 KiB of facts; the oldest is told without its response |
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `method`, `authority`, `path` | `http.http_method`, `http.hostname`, `http.url` |
//! | `user_agent`, `status`, `content_type` | `http.http_user_agent`, `http.status`, `http.http_content_type` |
//! | `stream` | `http.http2.stream_id` |
//! | `server`, `scheme`, `forwarded`, `secret_sent` | only in our own object; `http.version` is `2` |

mod connection;
mod hpack;
#[cfg(test)]
mod tests;

pub use connection::Connection;
pub(super) use connection::WAITING_BYTES;
pub(super) use hpack::{ENTRIES_MAX, FIELDS_MAX};

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Told};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step, UNIT_MAX};
use super::protocol::Protocol;
use super::sides::Sides;
use crate::dataplane::flow::Side;
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

/// All facts.
pub const FACTS: &[Fact] =
    &[STREAM, METHOD, AUTHORITY, PATH, SCHEME, USER_AGENT, STATUS, SERVER, CONTENT_TYPE, FORWARDED, SECRET_SENT];

/// A frame longer than any that was agreed upon can be.
pub const FRAME_TOO_LONG: Anomaly = Anomaly::new(P, 1, "frame_too_long");
/// A block of fields that cannot be decoded.
pub const BLOCK_INVALID: Anomaly = Anomaly::new(P, 2, "block_invalid");
/// HEADERS on stream 0.
pub const STREAM_INVALID: Anomaly = Anomaly::new(P, 3, "stream_invalid");

/// A block of fields that is longer, with its CONTINUATIONs, than what is put together.
pub const BLOCK_TOO_LONG: Anomaly = Anomaly::new(P, 4, "block_too_long");
/// `:authority` and `host` name different hosts, so it is the receiver's choice which one a request is to.
pub const HOST_DIFFERS: Anomaly = Anomaly::new(P, 5, "host_differs");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[FRAME_TOO_LONG, BLOCK_INVALID, STREAM_INVALID, BLOCK_TOO_LONG, HOST_DIFFERS];

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame: what most allow at most.
pub(super) const FRAME_MAX: u32 = 1 << 20;
/// Bytes in front of each frame.
const HEAD: usize = 9;
/// Flags of HEADERS and CONTINUATION.
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

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
}

const _: () = assert!(size_of::<State>() <= 64);

/// The head of a frame (RFC 9113 section 4.1).
#[derive(Clone, Copy)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// With its head.
    length: usize,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Frame> {
        let mut reader = Reader::new(bytes);
        let (length, [kind, flags], stream) = (reader.be24()?, reader.array::<2>()?, reader.be32()?);
        Some(Frame { kind, flags, stream: stream & 0x7fff_ffff, length: length as usize + HEAD }) // 24 bits
    }

    /// What is shown of its fields, which begin the block.
    fn fields<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let mut reader = Reader::new(bytes.get(HEAD..self.length.min(bytes.len())).unwrap_or_default());
        let padding = if self.flags & PADDED != 0 { reader.u8().unwrap_or(0) } else { 0 };
        if self.flags & PRIORITY != 0 {
            reader.take(5);
        }
        let fields = reader.rest();
        // Padding that was not shown is none of the fields either.
        let beyond = self.length.saturating_sub(bytes.len());
        let padding = usize::from(padding).saturating_sub(beyond);
        fields.get(..fields.len().saturating_sub(padding)).unwrap_or_default()
    }
}

/// How HEADERS and what continues them (section 6.10) lie in what is shown.
enum Extent {
    /// So many bytes must be there first.
    Need(usize),
    /// All of it, with its last frame's end.
    Whole(usize),
    /// No more of it is shown, or what follows is none of it; with the end of what was begun.
    Part(usize, Anomaly),
}

fn extent(first: &Frame, bytes: &[u8]) -> Extent {
    let (mut frame, mut end) = (*first, first.length);
    loop {
        if end > UNIT_MAX {
            let shown = UNIT_MAX;
            return if bytes.len() < shown { Extent::Need(shown) } else { Extent::Part(end, BLOCK_TOO_LONG) };
        }
        if bytes.len() < end {
            return Extent::Need(end);
        }
        if frame.flags & END_HEADERS != 0 {
            return Extent::Whole(end);
        }
        if end + HEAD > UNIT_MAX {
            return Extent::Part(end, BLOCK_TOO_LONG);
        }
        let Some(next) = bytes.get(end..).and_then(Frame::read) else { return Extent::Need(end + HEAD) };
        if (next.kind, next.stream) != (9, first.stream) || next.length > FRAME_MAX as usize {
            return Extent::Part(end, BLOCK_INVALID);
        }
        (frame, end) = (next, end + next.length);
    }
}

/// The fields of several frames in one piece.
fn put_together<'a>(first: &Frame, bytes: &[u8], place: &'a mut [u8; UNIT_MAX]) -> &'a [u8] {
    let (mut used, mut at, mut frame) = (0, 0, Some(*first));
    while let Some(one) = frame {
        let shown = bytes.get(at..).unwrap_or_default();
        let part =
            if at == 0 { one.fields(shown) } else { shown.get(HEAD..one.length.min(shown.len())).unwrap_or_default() };
        if let Some(to) = place.get_mut(used..used + part.len()) {
            to.copy_from_slice(part);
            used += part.len();
        }
        at += one.length;
        frame = bytes.get(at..).and_then(Frame::read).filter(|next| (next.kind, next.stream) == (9, first.stream));
    }
    place.get(..used).unwrap_or_default()
}

impl State {
    /// As [`Parse::step`], with what lasts from block to block.
    pub fn step_with(
        &mut self,
        side: Side,
        bytes: &[u8],
        mut connection: Option<&mut Connection>,
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
        let Some(frame) = Frame::read(bytes) else { return Step::Need(HEAD) };
        if frame.length > FRAME_MAX as usize + HEAD {
            return Step::Broken(FRAME_TOO_LONG);
        }
        if let (3, Some(connection)) = (frame.kind, connection.as_deref_mut()) {
            connection.reset(frame.stream, out);
        }
        if frame.kind != 1 {
            return Step::Skip(frame.length as u64);
        }
        let (end, missing) = match extent(&frame, bytes) {
            Extent::Need(count) => return Step::Need(count),
            Extent::Whole(end) => (end, None),
            Extent::Part(end, anomaly) => (end, Some(anomaly)),
        };
        let shown = bytes.get(..end.min(UNIT_MAX)).unwrap_or(bytes);
        if end == frame.length {
            self.block(side, frame.stream, frame.fields(shown), missing, connection, out);
        } else {
            self.pieces(side, &frame, shown, missing, connection, out);
        }
        Step::Skip(end as u64)
    }

    /// A block in several frames.
    #[cold]
    fn pieces(
        &mut self,
        side: Side,
        first: &Frame,
        bytes: &[u8],
        missing: Option<Anomaly>,
        connection: Option<&mut Connection>,
        out: &mut dyn Output,
    ) {
        let mut place = [0; UNIT_MAX];
        let block = put_together(first, bytes, &mut place);
        self.block(side, first.stream, block, missing, connection, out);
    }

    fn block(
        &mut self,
        side: Side,
        stream: u32,
        block: &[u8],
        missing: Option<Anomaly>,
        mut connection: Option<&mut Connection>,
        out: &mut dyn Output,
    ) {
        if stream == 0 {
            self.told.once(STREAM_INVALID, out);
            return;
        }
        let waited = connection.as_deref_mut().is_some_and(|one| one.begin(side, stream, out));
        if out.facts().number(STREAM) != Some(u64::from(stream)) {
            out.event();
            out.facts().put_number(STREAM, u64::from(stream));
        }
        let before = out.facts().as_bytes().len();
        let table = connection.as_deref_mut().map(|one| one.table(side));
        let has_lost = std::mem::replace(self.has_lost.of(side), missing.is_some());
        let (mut is_final, mut host_differs) = (false, false);
        let read = hpack::fields(block, table.map(|table| table.without(has_lost)), |name, value| {
            let put = put(name, value, out);
            is_final |= put == Put::Final;
            host_differs |= put == Put::Differs;
            put != Put::Unwanted
        });
        if host_differs {
            self.told.once(HOST_DIFFERS, out);
        }
        if missing.is_some() || read == Read::Cut {
            out.facts().mark_truncated();
        }
        if let Some(anomaly) = missing.or((read == Read::Broken).then_some(BLOCK_INVALID)) {
            *self.has_lost.of(side) = true;
            self.told.once(anomaly, out);
        }
        if is_final {
            out.event();
        } else if let Some(connection) = connection {
            // Nothing but its number: trailers.
            let is_something = waited || out.facts().as_bytes().len() > before || out.facts().is_truncated();
            connection.keep(stream, is_something, out);
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
