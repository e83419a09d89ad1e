//! HTTP/2 in the clear (RFC 9113): with prior knowledge, or behind an upgrade from HTTP/1.
//!
//! Reads HEADERS: method, authority, path, agent of a request, status, server and type of a response; one event for a
//! request with its response where they follow each other, else one each with the same `stream`. All other frames are
//! passed over. Deliberately not read: fields that refer to HPACK's dynamic table (which would be memory of a size that the
//! peer chooses), CONTINUATION, bodies, cookies, authorization.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | `method`, `authority`, `path` | `http.http_method`, `http.hostname`, `http.url` |
//! | `user_agent`, `status`, `content_type` | `http.http_user_agent`, `http.status`, `http.http_content_type` |
//! | `stream` | `http.http2.stream_id` |
//! | `server`, `scheme`, `forwarded`, `secret_sent` | only in our own object; `http.version` is `2` |

mod hpack;

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::{self, Told};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::Http2;

/// Number of the stream.
pub const STREAM: Fact = Fact::number(P, 1, "stream");
/// Method of the request.
pub const METHOD: Fact = Fact::text(P, 2, "method", 32);
/// Host of the request, with its port.
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

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[FRAME_TOO_LONG, BLOCK_INVALID, STREAM_INVALID];

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame that are looked at.
const LOOK_MAX: usize = 8 * 1024;
/// Bytes of a frame: what most allow at most.
const FRAME_MAX: u32 = 1 << 20;
/// Blocks of fields of a connection that are read.
pub const BLOCKS_MAX: u16 = 512;

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
    blocks: u16,
    has_preface: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn headers(&mut self, stream: u32, flags: u8, body: &[u8], out: &mut dyn Output) {
        if stream == 0 {
            self.told.once(STREAM_INVALID, out);
            return;
        }
        self.blocks = self.blocks.saturating_add(1);
        let mut reader = Reader::new(body);
        let padding = if flags & 8 != 0 { reader.u8().unwrap_or(0) } else { 0 };
        if flags & 0x20 != 0 {
            reader.take(5);
        }
        let block = reader.rest();
        let block = block.get(..block.len().saturating_sub(usize::from(padding))).unwrap_or_default();
        if out.facts().number(STREAM) != Some(u64::from(stream)) {
            out.event();
            out.facts().put_number(STREAM, u64::from(stream));
        }
        let mut is_final = false;
        let is_good = hpack::fields(block, |name, value| is_final |= put(name, value, out));
        if !is_good {
            self.told.once(BLOCK_INVALID, out);
        }
        if is_final {
            out.event();
        }
    }
}

/// Puts a field; true where it is the status of a final response.
fn put(name: &[u8], value: &[u8], out: &mut dyn Output) -> bool {
    match name {
        b":method" => out.facts().put(METHOD, value),
        b":authority" => out.facts().put(AUTHORITY, super::http::without_password(value)),
        b":path" if super::http::put_uri(PATH, value, out) => out.facts().put_number(SECRET_SENT, 1),
        b":scheme" => out.facts().put(SCHEME, value),
        b":status" => {
            if let Some(status) = lines::decimal(value).filter(|status| (200..=999).contains(status)) {
                out.facts().put_number(STATUS, status);
                return true;
            }
        }
        b"user-agent" => out.facts().put(USER_AGENT, value),
        b"server" => out.facts().put(SERVER, value),
        // A request's own stands before its status.
        b"content-type" if out.facts().number(STATUS).is_some() => out.facts().put(CONTENT_TYPE, value),
        b"via" | b"x-cache" if out.facts().number(STATUS).is_some() && out.facts().number(FORWARDED).is_none() => {
            out.facts().put_number(FORWARDED, 1);
        }
        _ => {}
    }
    false
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.blocks >= BLOCKS_MAX {
            return Step::Done;
        }
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
        let mut reader = Reader::new(bytes);
        let (Some(length), Some([kind, flags]), Some(stream)) = (reader.be24(), reader.array::<2>(), reader.be32())
        else {
            return Step::Need(9);
        };
        if length > FRAME_MAX {
            return Step::Broken(FRAME_TOO_LONG);
        }
        let whole = length as usize + 9; // at most FRAME_MAX
        if kind == 1 {
            let shown = whole.min(LOOK_MAX);
            let Some(body) = bytes.get(9..shown) else { return Step::Need(shown) };
            self.headers(stream & 0x7fff_ffff, flags, body, out);
        }
        Step::Skip(whole as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::stream;
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
        [&[high, middle, low, kind, flags][..], &stream.to_be_bytes(), body].concat()
    }

    #[test]
    fn is_recognised_by_its_preface() {
        let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
        for (bytes, wanted) in [
            (PREFACE, Match::Yes),
            (&PREFACE[..7], Match::Maybe),
            (&settings[..], Match::Yes),
            (&settings[..6], Match::Maybe),
            (b"\0\0\x05\x04\0\0\0\0\0\0\x03", Match::No),
            (b"POST", Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [40000, 9])), wanted, "{bytes:02x?}");
        }
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn requests_and_responses_are_paired() {
        let get = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\x7a\x03cur";
        let padded = [&[2, 0, 0, 0, 0, 9][..], b"\x83\x04\x0d/?password=ab", &[0, 0]].concat();
        let client = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, get), &frame(1, 0x2c, 3, &padded)].concat();
        let server = [
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
            frame(1, 4, 1, b"\x88"),
            frame(0, 1, 1, &[b'x'; 10_000]),
            frame(1, 4, 3, b"\x8d"),
        ]
        .concat();
        let turns: Turns<'_> = &[(C, &client), (S, &server)];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = [
            "stream=1 method=GET scheme=http path=/ authority=www.example.com user_agent=cur",
            "stream=3 method=POST path=/?password=* secret_sent=1",
            "stream=1 status=200",
            "stream=3 status=404",
        ];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
        spoil::<State>(&[(C, &client)]);
    }

    #[test]
    fn a_password_in_the_authority_is_not_told() {
        for (authority, wanted) in
            [("bob:Hunter2PW@a.org", "a.org"), ("bob@a.org", "bob@a.org"), ("a.org:8080", "a.org:8080")]
        {
            let field = [&[0x41, authority.len() as u8][..], authority.as_bytes()].concat();
            let client = [PREFACE, &frame(1, 4, 1, &field)].concat();
            let (events, _) = talk::<State>(&[(C, &client), (S, &frame(1, 4, 1, b"\x88"))], &[FACTS]);
            assert_eq!(events.first().map(String::as_str), Some(&*format!("stream=1 authority={wanted} status=200")));
        }
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        for (bytes, wanted) in [
            (frame(1, 4, 0, b"\x88"), "stream_invalid"),
            (frame(1, 4, 1, b"\x80"), "block_invalid"),
            (b"\xff\xff\xff\x00\0\0\0\0\0".to_vec(), "frame_too_long"),
        ] {
            assert_eq!(talk::<State>(&[(S, &bytes)], &[FACTS]).1, [wanted]);
        }
        let many = frame(1, 4, 1, b"\x88").repeat(2000);
        assert_eq!(talk::<State>(&[(S, &many)], &[FACTS]).0.len(), usize::from(BLOCKS_MAX));
    }
}
