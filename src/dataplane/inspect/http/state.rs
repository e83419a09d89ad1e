//! What is remembered of a connection between its messages.

mod chunks;
mod cut;
mod doubt;
mod long;

use super::super::lines::{self, Told};
use super::super::parse::{Hole, Output, Parse, Resume, Step};
use super::super::protocol::Protocol;
use super::fields::{self, Kind, Response, Upgrade};
use super::head::{self, End, Framing};
use super::*;
use crate::dataplane::flow::Side;
pub(in crate::dataplane::inspect) use chunks::{CHUNK_LINE_MAX, TRAILER_LINE_MAX};

/// Unanswered requests that are remembered: two bits each.
pub const PENDING_MAX: u8 = 32;
/// Bytes of a method: far more than any has, but attacks put what they want to have logged there.
const METHOD_MAX: usize = 512;
/// See [`State::rest`].
const ENDLESS: u32 = u32::MAX;

/// Where a side stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    /// Before the first header.
    #[default]
    First,
    /// Before a header.
    Head,
    /// In a header of a request that was answered before it was whole: its end may be lost.
    Answered,
    /// In a header of a request that is too long to be read at once: before its next line.
    Lines,
    /// Before the size of a chunk.
    Chunk,
    /// Before the line end behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk.
    Trailer,
    /// Behind a hole in requests: before what looks like the next one.
    Seek,
    /// In what may be the body of a request, or not: looking for others wherever they begin.
    Doubt,
    /// In a short body that is read.
    Greeting,
    /// In the body of a request whose beginning is looked at.
    Input,
    /// In a body of known length, or one that ends with the connection.
    Body,
    /// Behind a switch to another protocol, or done.
    Over,
}

/// What follows a switch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Turn {
    #[default]
    None,
    Into(Protocol),
    /// Into whatever a proxy passes on.
    Tunnel,
}

/// An HTTP/1 connection.
#[derive(Default, Debug)]
pub struct State {
    /// Kinds of the requests without a response, the oldest in the lowest bits.
    pending: u64,
    /// Bytes of the response's body so far, without the sizes of chunks.
    body: u64,
    /// Bytes of it that are still to come, where that is known.
    left: u64,
    told: Told,
    /// Number of the next request.
    requests: u32,
    /// Number of the next response.
    responses: u32,
    /// Bytes of the request's body that are still to come, while the client's side is in [`Mode::Doubt`] or [`Mode::Input`], or is
    /// before the next header; [`ENDLESS`] where that is not known.
    rest: u32,
    /// Transaction of the facts that are being put together.
    open: u32,
    /// Bytes of a header that need not be searched again; in [`Mode::Lines`] the flags of [`long`].
    searched: [u16; 2],
    mode: [Mode; 2],
    count: u8,
    turn: Turn,
    /// A request was for a proxy to ask for: answers are other hosts'.
    is_proxied: bool,
    /// The last request was refused before its body was whole.
    is_refused: bool,
    /// Something came of that body.
    has_body_begun: bool,
    /// The originator is the server: the capture began in mid-stream.
    is_turned: Option<bool>,
}

const _: () = assert!(size_of::<State>() <= 56);

impl State {
    /// The protocol that the stream turns into: from the byte on at which [`Step::Done`] was answered, which takes nothing.
    /// [`Protocol::Unknown`] for a tunnel, whose first bytes are to be looked at like those of a new connection.
    pub fn turns_into(&self) -> Option<Protocol> {
        match self.turn {
            Turn::None => None,
            Turn::Into(protocol) => Some(protocol),
            Turn::Tunnel => Some(Protocol::Unknown),
        }
    }

    /// What follows is what a proxy passes on.
    pub fn is_tunnel(&self) -> bool {
        self.turn == Turn::Tunnel
    }

    /// Who is the server is told by who sends a status line first.
    fn is_turned(&mut self, side: Side, bytes: &[u8]) -> Option<bool> {
        if self.is_turned.is_none() {
            let is_server = match lines::begins(bytes, b"HTTP/1.") {
                Match::Maybe => return None,
                is_server => is_server == Match::Yes,
            };
            self.is_turned = Some(is_server == (side == Side::Originator));
        }
        self.is_turned
    }

    /// What `side` is to this connection: the client or the server.
    fn seen_as(&self, side: Side) -> Side {
        if self.is_turned == Some(true) { side.other() } else { side }
    }

    fn mode(&mut self, side: Side) -> &mut Mode {
        let [originator, responder] = &mut self.mode;
        match side {
            Side::Originator => originator,
            Side::Responder => responder,
        }
    }

    fn searched(&mut self, side: Side) -> &mut u16 {
        let [originator, responder] = &mut self.searched;
        match side {
            Side::Originator => originator,
            Side::Responder => responder,
        }
    }

    fn head(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        // Empty lines before a message are passed over (RFC 9112 section 2.2).
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            return Step::Took(blank);
        }
        if self.waits_for_switch(side) {
            return Step::Need(bytes.len() + 1);
        }
        if !begins_well(side, bytes) {
            return self.broken(side, bytes, out);
        }
        self.read_head(side, bytes, out)
    }

    fn read_head(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        match head::end(bytes, usize::from(*self.searched(side))) {
            End::At(length) => {
                *self.searched(side) = 0;
                let head = bytes.get(..length).unwrap_or(bytes);
                match side {
                    Side::Originator => self.request(bytes, head, true, out),
                    Side::Responder => self.response(bytes, head, false, out),
                }
            }
            End::NotYet(searched) => {
                *self.searched(side) = u16::try_from(searched).unwrap_or(0);
                Step::Need(bytes.len() + 1)
            }
            End::TooLong => {
                self.told.once(HEADER_TOO_LONG, out);
                *self.searched(side) = 0;
                let head = bytes.get(..HEAD_MAX).unwrap_or(bytes);
                if side == Side::Originator {
                    return self.long_request(head, out);
                }
                self.response(head, head, false, out);
                *self.mode(side) = Mode::Over;
                out.event();
                Step::Done
            }
        }
    }

    /// The client may speak another protocol as soon as its CONNECT is answered; until then its bytes cannot be told.
    fn waits_for_switch(&self, side: Side) -> bool {
        let last = u32::from(self.count.saturating_sub(1)) * 2;
        side == Side::Originator && self.count > 0 && Kind::from_bits(self.pending >> last) == Kind::Connect
    }

    /// No message begins here. Of requests others may follow: a server that answers with an error may read on.
    fn broken(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if side == Side::Originator {
            self.told.once(REQUEST_LINE_INVALID, out);
            self.doubts();
            return self.doubt(bytes, out);
        }
        *self.mode(side) = Mode::Over;
        if self.responses == 0 && self.requests == 0 {
            return Step::Broken(STATUS_LINE_INVALID);
        }
        self.told.once(STATUS_LINE_INVALID, out);
        Step::Done
    }

    /// `shown`: the head and what is there of the body.
    fn request(&mut self, shown: &[u8], head: &[u8], is_whole: bool, out: &mut dyn Output) -> Step {
        let [mode, _] = self.mode;
        if matches!(mode, Mode::First | Mode::Answered) {
            *self.mode(Side::Originator) = Mode::Head;
        }
        self.end(out); // the one before it, which has no response yet, or not all of one
        let number = self.requests;
        out.facts().put_number(TRANSACTION, u64::from(number));
        let Some(request) = fields::request(head, is_whole, &mut self.told, out) else {
            out.facts().clear();
            self.told.once(REQUEST_LINE_INVALID, out);
            self.doubts();
            return Step::Took(head.len());
        };
        self.is_proxied |= request.is_to_proxy;
        self.open = number;
        self.requests = self.requests.wrapping_add(1);
        if self.count < PENDING_MAX {
            // What may be part of a body must not tell how to read an answer.
            let kind = if mode == Mode::Doubt { Kind::Plain } else { request.kind };
            self.pending |= (kind as u64) << (u32::from(self.count) * 2);
            self.count += 1;
        } else {
            self.told.once(PENDING_TOO_MANY, out);
        }
        if mode == Mode::Doubt {
            self.told.once(REQUEST_IN_BODY, out);
            return self.doubted(head.len());
        }
        if !is_whole {
            self.keep_framing(&request.framing, if request.wants_host { long::WANTS_HOST } else { 0 });
            *self.mode(Side::Originator) = Mode::Lines;
            return Step::Took(head.len());
        }
        if request.framing.is_ambiguous() {
            self.doubts();
            return Step::Took(head.len());
        }
        (self.is_refused, self.has_body_begun, self.rest) = (false, shown.len() > head.len(), 0);
        match (request.framing.chunked, request.framing.length) {
            (true, _) => *self.mode(Side::Originator) = Mode::Chunk,
            (false, Some(length)) => return self.request_body(shown, head.len(), length, out),
            (false, None) => {}
        }
        Step::Took(head.len())
    }

    /// How to go on with the body of a request behind a head of `taken` bytes; `shown`: both, as far as they are there.
    fn request_body(&mut self, shown: &[u8], taken: usize, length: u64, out: &mut dyn Output) -> Step {
        let wanted = input::wanted(length, out);
        let begun = shown.get(taken..).unwrap_or_default();
        self.rest = u32::try_from(length.saturating_sub(begun.len() as u64)).unwrap_or(ENDLESS);
        match begun.get(..wanted) {
            Some(body) => input::body(body, out),
            None => {
                // At most 1 MiB, or none would be wanted.
                self.rest = u32::try_from(length).unwrap_or(ENDLESS);
                *self.mode(Side::Originator) = Mode::Input;
                return Step::Took(taken);
            }
        }
        Step::Skip((taken as u64).saturating_add(length)) // at most HEAD_MAX
    }

    /// The body of a request, in segments of its own.
    fn input(&mut self, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.has_body_begun = true;
        let length = u64::from(self.rest);
        // What was told of the request is gone where its answer came first.
        let is_open = out.facts().get(METHOD).is_some() && out.facts().number(STATUS).is_none();
        let wanted = if is_open { input::wanted(length, out) } else { 0 };
        let Some(body) = bytes.get(..wanted) else { return Step::Need(wanted) };
        input::body(body, out);
        self.rest = u32::try_from(length.saturating_sub(bytes.len() as u64)).unwrap_or(ENDLESS);
        *self.mode(Side::Originator) = Mode::Head;
        Step::Skip(length)
    }

    /// What is missing of the body of the latest request, if that has this number.
    fn put_missing(&mut self, number: u32, out: &mut dyn Output) {
        let [client, _] = self.mode;
        if self.requests == number.wrapping_add(1) && matches!(client, Mode::Head | Mode::Input) && self.rest > 0 {
            out.facts().put_number(REQUEST_MISSING, u64::from(self.rest));
        }
    }

    /// As [`State::request`]; `is_cut`: a hole follows, and the rest of the head is not known.
    fn response(&mut self, shown: &[u8], head: &[u8], is_cut: bool, out: &mut dyn Output) -> Step {
        let number = self.responses;
        if self.requests != self.responses.wrapping_add(1) || self.open != number {
            out.event(); // of another transaction
        }
        if out.facts().is_empty() {
            out.facts().put_number(TRANSACTION, u64::from(number));
        }
        let Some(response) = fields::response(head, &mut self.told, out) else {
            return self.broken(Side::Responder, head, out);
        };
        if matches!(response.status, 100 | 102..200) {
            return Step::Took(head.len());
        }
        if is_cut {
            out.facts().mark_truncated();
        }
        self.put_missing(number, out);
        if response.status == 101 {
            return self.switch(head.len(), response.upgrade, out);
        }
        if self.is_proxied {
            fields::forwarded(out);
        }
        if self.requests == number {
            self.unmatched(response.status, out);
        }
        self.responses = self.responses.wrapping_add(1);
        if self.responses == self.requests && response.status >= 300 {
            self.refused();
        }
        let kind = Kind::from_bits(self.pending);
        self.pending >>= 2;
        self.count = self.count.saturating_sub(1);
        if kind == Kind::Connect && (200..300).contains(&response.status) {
            out.event();
            (self.mode, self.turn) = ([Mode::Over; 2], Turn::Tunnel);
            return Step::Took(head.len());
        }
        if let (true, Some(length)) = (is_cut, response.framing.length) {
            out.facts().put_number(CONTENT_LENGTH, length);
        }
        if is_cut {
            return Step::Took(head.len());
        }
        self.response_body(shown.get(head.len()..).unwrap_or_default(), head.len(), kind, response, out)
    }

    /// A response to no request that was seen, or was seen whole. The first of all takes a number of its own, that the next ones meet theirs. No
    /// anomaly where no request was seen at all: the capture begins there, or the client's packets go another way.
    fn unmatched(&mut self, status: u16, out: &mut dyn Output) {
        let [client, _] = self.mode;
        let is_half = matches!(client, Mode::First | Mode::Head | Mode::Answered) && self.searched[0] > 0;
        if is_half {
            *self.mode(Side::Originator) = Mode::Answered;
        } else if self.requests > 0 && !matches!(client, Mode::First | Mode::Over) && status != 408 {
            self.told.once(RESPONSE_UNMATCHED, out);
        }
        // As many requests as responses, until there is one.
        let is_first = is_half || client == Mode::First;
        self.requests = if is_first { self.responses.wrapping_add(1) } else { self.requests.max(1) };
    }

    /// How to go on with the body of a response behind a head of `taken` bytes; `shown`: what is there of it.
    fn response_body(
        &mut self,
        shown: &[u8],
        taken: usize,
        kind: Kind,
        response: Response,
        out: &mut dyn Output,
    ) -> Step {
        let Framing { chunked, length, .. } = response.framing;
        if let Some(length) = length {
            out.facts().put_number(CONTENT_LENGTH, length);
        }
        (self.body, self.left) = (0, u64::MAX);
        if kind == Kind::Head || matches!(response.status, 204 | 304) || (!chunked && length == Some(0)) {
            out.facts().put_number(LENGTH, 0);
            out.event();
            return Step::Took(taken);
        }
        if chunked {
            *self.mode(Side::Responder) = Mode::Chunk;
            return Step::Took(taken);
        }
        self.left = length.unwrap_or(u64::MAX);
        if store::is_greeting(response.status, self.left, out) {
            *self.mode(Side::Responder) = Mode::Greeting;
            return Step::Took(taken);
        }
        *self.mode(Side::Responder) = Mode::Body;
        let rest = self.left;
        self.count(rest.min(shown.len() as u64), out);
        Step::Skip((taken as u64).saturating_add(rest)) // at most HEAD_MAX
    }

    /// So many more bytes of the response's body came.
    fn count(&mut self, count: u64, out: &mut dyn Output) {
        self.body = self.body.saturating_add(count);
        self.left = self.left.saturating_sub(count);
        if self.left == 0 {
            self.body_is_over(out);
        }
    }

    /// Its event is told, unless that was done before it was whole.
    fn body_is_over(&mut self, out: &mut dyn Output) {
        if self.put_length(out) {
            out.event();
        }
        *self.mode(Side::Responder) = Mode::Head;
    }

    /// What came of a response's body goes to its other facts; is the event that is put together a response's?
    fn put_length(&mut self, out: &mut dyn Output) -> bool {
        let is_response = self.is_in_body() && out.facts().number(STATUS).is_some();
        if is_response {
            out.facts().put_number(LENGTH, self.body);
        }
        is_response
    }

    fn is_in_body(&self) -> bool {
        let [_, responder] = self.mode;
        matches!(responder, Mode::Greeting | Mode::Body | Mode::Chunk | Mode::ChunkEnd | Mode::Trailer)
    }

    fn switch(&mut self, taken: usize, upgrade: Upgrade, out: &mut dyn Output) -> Step {
        out.event();
        let into = match upgrade {
            Upgrade::WebSocket => Protocol::WebSocket,
            Upgrade::Http2 => Protocol::Http2,
            Upgrade::Tls => Protocol::Tls,
            Upgrade::Other => Protocol::Unknown,
        };
        (self.mode, self.turn) = ([Mode::Over; 2], Turn::Into(into));
        Step::Took(taken)
    }
}

/// Could a message of this side begin so? Told early, so that bytes that are none are not waited for.
fn begins_well(side: Side, bytes: &[u8]) -> bool {
    match side {
        Side::Responder => lines::begins(bytes, b"HTTP/") != Match::No,
        Side::Originator => {
            let bytes = bytes.trim_ascii_start();
            let method = bytes.iter().take(METHOD_MAX + 1).position(|byte| matches!(byte, b' ' | b'\t'));
            let name = bytes.get(..method.unwrap_or(bytes.len().min(METHOD_MAX + 1))).unwrap_or_default();
            name.len() <= METHOD_MAX && !name.iter().any(u8::is_ascii_control)
        }
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_turned(side, bytes).is_none() {
            return Step::Need(bytes.len() + 1);
        }
        let side = self.seen_as(side);
        match *self.mode(side) {
            Mode::First | Mode::Head | Mode::Answered => self.head(side, bytes, out),
            Mode::Seek => self.seek(side, bytes, out),
            Mode::Doubt => self.doubt(bytes, out),
            Mode::Lines => self.lines(bytes, out),
            Mode::Input => self.input(bytes, out),
            Mode::Chunk => self.chunk(side, bytes, out),
            Mode::ChunkEnd => self.chunk_end(side, bytes, out),
            Mode::Trailer => self.trailer(side, bytes, out),
            Mode::Greeting => {
                let length = self.left as usize; // at most GREETING_MAX
                let Some(body) = bytes.get(..length) else { return Step::Need(length) };
                store::greeting(body, out);
                self.count(self.left, out);
                Step::Took(length)
            }
            // Of the body before it something was lost.
            Mode::Body => {
                self.body_is_over(out);
                self.head(side, bytes, out)
            }
            Mode::Over => Step::Done,
        }
    }

    fn gap(&mut self, side: Side, hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        self.is_turned(side, hole.before);
        let side = self.seen_as(side);
        let mode = *self.mode(side);
        let is_in_head = matches!(mode, Mode::First | Mode::Head | Mode::Answered);
        if side == Side::Responder {
            if is_in_head {
                self.cut_response(hole.before, out);
            }
            self.end(out);
        }
        if side == Side::Responder || mode == Mode::Over || self.waits_for_switch(side) {
            *self.mode(side) = Mode::Over;
            return Resume::Done;
        }
        if is_in_head {
            self.cut_request(hole.before, out);
        } else if mode == Mode::Lines && !out.facts().is_empty() {
            out.facts().mark_truncated();
        }
        *self.searched(side) = 0;
        self.is_refused = false;
        match mode {
            Mode::Doubt => self.rest = ENDLESS,
            _ => *self.mode(side) = Mode::Seek,
        }
        Resume::Here
    }

    fn passed(&mut self, side: Side, count: u64, out: &mut dyn Output) {
        match self.seen_as(side) {
            Side::Originator => {
                self.has_body_begun |= count > 0;
                if *self.mode(Side::Originator) == Mode::Head && self.rest != ENDLESS {
                    self.rest = self.rest.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                }
            }
            Side::Responder if self.is_in_body() => self.count(count, out),
            Side::Responder => {}
        }
    }

    fn end(&mut self, out: &mut dyn Output) {
        self.put_length(out);
        if self.open == self.responses && !out.facts().is_empty() {
            self.put_missing(self.responses, out);
        }
        out.event();
    }
}
