//! RDP over TCP (MS-RDPBCGR): how the connection is asked for, and what the client says of itself where it is not encrypted.
//!
//! Read: cookie, protocols requested and selected, refusal (section 2.2.1.1, 2.2.1.2), and without TLS the client's core data
//! and channels (section 2.2.1.3). Deliberately not read: anything after TLS or CredSSP begins (both sides then answer
//! [`Step::Done`], and [`State::turns_into`] says so), the server's data, the session itself, RDP over UDP.
//!
//! The request and its answer are one event, the client's data another. Channels are bounded to [`CHANNELS_MAX`].
//!
//! | fact | EVE |
//! | --- | --- |
//! | `event_type` (`initial_request`, `connect_request`) | `rdp.event_type` |
//! | `cookie` | `rdp.cookie` |
//! | `client_name`, `client_version`, `keyboard_layout`, `keyboard_type`, `function_keys`, `product_id` | `rdp.client`, the same names (`version` for `client_version`) |
//! | `client_build` | `rdp.client.build` |
//! | `desktop_width`, `desktop_height`, `color_depth` | `rdp.client`, the same names |
//! | `channel` | `rdp.channels` |

#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::tpkt::{self, CONFIRM, CONNECT, DATA, Packet};
use super::wide::{printed, utf16};
use crate::dataplane::flow::Side;

/// Bytes of a packet at most: the client's data have some 500.
pub const PACKET_MAX: usize = 4096;
/// Channels that are told at most.
pub const CHANNELS_MAX: u8 = 16;
/// Blocks of the client's data that are walked.
pub(super) const BLOCKS_MAX: usize = 16;

/// What the event is about.
pub const EVENT: Fact = Fact::text(Protocol::Rdp, 0, "event_type", 24);
/// User name or token of a balancer, as the client sends it before anything else.
pub const COOKIE: Fact = Fact::text(Protocol::Rdp, 1, "cookie", 128);
/// Protocols that the client can: 1 TLS, 2 CredSSP, 4 RDSTLS, 8 CredSSP with early answer, 16 AAD; added.
pub const REQUESTED: Fact = Fact::number(Protocol::Rdp, 2, "requested_protocols");
/// Protocol that the server chose; 0 is RDP's own encryption.
pub const SELECTED: Fact = Fact::number(Protocol::Rdp, 3, "selected_protocol");
/// Why the server refused (section 2.2.1.2.2).
pub const FAILURE: Fact = Fact::number(Protocol::Rdp, 4, "failure_code");
/// Name of the client's machine.
pub const CLIENT_NAME: Fact = Fact::text(Protocol::Rdp, 5, "client_name", 48);
/// Version of the client, as `10.7`.
pub const CLIENT_VERSION: Fact = Fact::text(Protocol::Rdp, 6, "client_version", 16);
/// Build of the client, most often that of its Windows.
pub const CLIENT_BUILD: Fact = Fact::number(Protocol::Rdp, 7, "client_build");
/// Layout of the keyboard: an identifier of a language.
pub const KEYBOARD: Fact = Fact::number(Protocol::Rdp, 8, "keyboard_layout");
/// Type of the keyboard.
pub const KEYBOARD_TYPE: Fact = Fact::number(Protocol::Rdp, 9, "keyboard_type");
/// Function keys of the keyboard.
pub const FUNCTION_KEYS: Fact = Fact::number(Protocol::Rdp, 10, "function_keys");
/// Width of the desktop.
pub const WIDTH: Fact = Fact::number(Protocol::Rdp, 11, "desktop_width");
/// Height of the desktop.
pub const HEIGHT: Fact = Fact::number(Protocol::Rdp, 12, "desktop_height");
/// Bits of a pixel.
pub const DEPTH: Fact = Fact::number(Protocol::Rdp, 13, "color_depth");
/// Number of the client's product.
pub const PRODUCT: Fact = Fact::number(Protocol::Rdp, 14, "product_id");
/// Channels that the client asks for.
pub const CHANNEL: Fact = Fact::text(Protocol::Rdp, 15, "channel", 8).repeated(CHANNELS_MAX);

/// All of them.
pub const FACTS: &[Fact] = &[
    EVENT,
    COOKIE,
    REQUESTED,
    SELECTED,
    FAILURE,
    CLIENT_NAME,
    CLIENT_VERSION,
    CLIENT_BUILD,
    KEYBOARD,
    KEYBOARD_TYPE,
    FUNCTION_KEYS,
    WIDTH,
    HEIGHT,
    DEPTH,
    PRODUCT,
    CHANNEL,
];

/// The server takes RDP's own encryption, which nobody authenticates (section 5.3).
pub const WEAK_SECURITY: Anomaly = Anomaly::new(Protocol::Rdp, 0, "standard_security");
/// Not a packet, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Rdp, 1, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[WEAK_SECURITY, MALFORMED];

/// Is it RDP? A request with a cookie or a negotiation; a bare one only on its port; an answer with a negotiation.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let length = match tpkt::packet(look.bytes) {
        Packet::Whole(length @ 11..=1024) => length,
        Packet::Short => return Match::Maybe,
        _ => return Match::No,
    };
    let mut reader = Reader::new(look.bytes);
    reader.take(tpkt::HEADER);
    let there = reader.rest();
    // Length of the header, kind, two references, class: all but the second reference are known.
    let fits = |at: usize, byte: u8| match at {
        0 => usize::from(byte) + 5 == length,
        1 => byte == CONNECT || byte == CONFIRM,
        6 => byte == 0,
        _ => true,
    };
    if !there.iter().take(7).enumerate().all(|(at, byte)| fits(at, *byte)) {
        return Match::No;
    }
    let is_answer = there.get(1).is_some_and(|kind| *kind == CONFIRM);
    match there.get(7..) {
        None => Match::Maybe,
        Some([]) if length > 11 => Match::Maybe,
        Some([]) if look.has_port(3389) => Match::Yes,
        Some([]) => Match::No,
        Some([kind, rest @ ..]) => {
            let begin: &[u8] = match kind {
                b'C' if !is_answer => b"ookie: msts",
                1 if !is_answer => return negotiation(rest),
                2 | 3 if is_answer => return negotiation(rest),
                _ => return Match::No,
            };
            let enough = rest.len() >= begin.len();
            let is_same = rest.iter().zip(begin).all(|(byte, wanted)| byte == wanted);
            if !is_same {
                Match::No
            } else if enough {
                Match::Yes
            } else {
                Match::Maybe
            }
        }
    }
}

/// Flags, a length of eight, four bytes of which three are zero.
fn negotiation(rest: &[u8]) -> Match {
    let fits = |at: usize, byte: u8| match at {
        0 => true,
        1 => byte == 8,
        3 => byte < 0x20,
        _ => byte == 0,
    };
    match (rest.iter().take(7).enumerate().all(|(at, byte)| fits(at, *byte)), rest.len()) {
        (false, _) => Match::No,
        (true, 7..) => Match::Yes,
        (true, _) => Match::Maybe,
    }
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    /// The request was seen, and no answer yet.
    is_open: bool,
    /// Nothing more can be read: TLS, a refusal, or all was read.
    is_over: bool,
    is_tls: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_over {
            return Step::Done;
        }
        let length = match tpkt::packet(bytes) {
            Packet::Whole(length) if length <= PACKET_MAX => length,
            Packet::Short => return Step::Need(tpkt::HEADER),
            Packet::Whole(_) => {
                out.limit();
                return self.give_up(out);
            }
            _ => return self.give_up(out),
        };
        let Some(packet) = bytes.get(tpkt::HEADER..length) else { return Step::Need(length) };
        let Some((kind, head, rest)) = tpkt::cotp(packet) else { return Step::Broken(MALFORMED) };
        match kind {
            CONNECT => {
                self.is_open = true;
                request(head, out.facts());
            }
            CONFIRM => self.answer(head, out),
            DATA => return self.data(side, rest, out),
            _ => return self.give_up(out),
        }
        Step::Took(length)
    }
}

impl State {
    /// [`Protocol::Tls`] once the server took it (alone or with CredSSP inside), from the byte on at which [`Step::Done`] was
    /// answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_tls.then_some(Protocol::Tls)
    }

    fn give_up(&mut self, out: &mut dyn Output) -> Step {
        self.is_over = true;
        out.event();
        Step::Done
    }

    fn answer(&mut self, mut head: Reader<'_>, out: &mut dyn Output) {
        head.take(5);
        let (kind, value) = match (head.u8(), head.take(3), head.le32()) {
            (Some(kind), Some(_), Some(value)) => (kind, u64::from(value)),
            // A server that negotiates nothing takes its own encryption.
            _ => (2, 0),
        };
        if !std::mem::take(&mut self.is_open) {
            out.facts().put(EVENT, b"initial_request");
        }
        if kind == 3 {
            out.facts().put_number(FAILURE, value);
        } else {
            out.facts().put_number(SELECTED, value);
        }
        if kind != 3 && value == 0 {
            out.anomaly(WEAK_SECURITY);
        }
        self.is_over = kind == 3 || value != 0;
        self.is_tls = kind != 3 && value != 0;
        out.event();
    }

    fn data(&mut self, side: Side, rest: Reader<'_>, out: &mut dyn Output) -> Step {
        if std::mem::take(&mut self.is_open) {
            out.event();
        }
        if side == Side::Originator && rest.rest().starts_with(&[0x7f, 0x65]) {
            out.facts().put(EVENT, b"connect_request");
            client(rest.rest(), out.facts());
            out.event();
        }
        // The client's first data are its own; nothing else is of interest.
        self.is_over |= side == Side::Originator;
        Step::Done
    }
}

/// Section 2.2.1.1: references and class, a cookie that ends with CR LF, a negotiation.
fn request(mut head: Reader<'_>, facts: &mut Facts) -> Option<()> {
    facts.put(EVENT, b"initial_request");
    head.take(5)?;
    if head.rest().starts_with(b"Cookie: ") || head.rest().starts_with(b"mstshash=") {
        let line = head.line()?;
        let cookie = line.strip_prefix(b"Cookie: ").unwrap_or(line);
        facts.put(COOKIE, cookie.strip_prefix(b"mstshash=").unwrap_or(cookie));
    }
    if head.u8()? == 1 {
        head.take(3)?;
        facts.put_number(REQUESTED, u64::from(head.le32()?));
    }
    Some(())
}

/// Section 2.2.1.3: the blocks behind T.124's key `Duca` and a length of PER.
fn client(bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let at = bytes.windows(4).take(PACKET_MAX).position(|window| window == b"Duca")?;
    let mut blocks = Reader::new(bytes.get(at + 4..)?);
    if blocks.u8()? & 0x80 != 0 {
        blocks.u8()?;
    }
    for _ in 0..BLOCKS_MAX {
        let (kind, length) = (blocks.le16()?, usize::from(blocks.le16()?));
        let body = blocks.part(length.checked_sub(4)?)?;
        match kind {
            0xc001 => core(body, facts),
            0xc003 => channels(body, facts),
            _ => None,
        };
    }
    if !blocks.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

/// Section 2.2.1.3.2.
fn core(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let (minor, major) = (body.le16()?, body.le16()?);
    // Version 0x00080004 and on are of 5 to 10.x, told apart by the lower half alone.
    let text = match (major, minor) {
        (8, 1) => printed::<16>(format_args!("4.0")),
        (8, 4) => printed(format_args!("5.0-8.1")),
        (8, 5..=0x20) => printed(format_args!("10.{}", minor - 5)),
        _ => printed(format_args!("0x{major:04x}{minor:04x}")),
    };
    facts.put(CLIENT_VERSION, text.as_bytes());
    facts.put_number(WIDTH, u64::from(body.le16()?));
    facts.put_number(HEIGHT, u64::from(body.le16()?));
    let (depth, _) = (body.le16()?, body.le16()?);
    facts.put_number(KEYBOARD, u64::from(body.le32()?));
    facts.put_number(CLIENT_BUILD, u64::from(body.le32()?));
    facts.put(CLIENT_NAME, utf16::<48>(body.take(32)?).as_bytes());
    facts.put_number(KEYBOARD_TYPE, u64::from(body.le32()?));
    body.le32()?;
    facts.put_number(FUNCTION_KEYS, u64::from(body.le32()?));
    // What follows is optional; a depth given there counts more.
    let later = body.take(64).and_then(|_| Some((body.le16()?, body.le16()?, body.le32()?, body.le16()?)));
    let (first, product, high) = later.map_or((depth, 0, 0), |(first, product, _, high)| (first, product, high));
    let depth = match (high, first) {
        (1..=32, _) => u64::from(high),
        (_, 0xca00) => 4,
        (_, 0xca01) => 8,
        (_, 0xca02) => 15,
        (_, 0xca03) => 16,
        (_, 0xca04) => 24,
        _ => 0,
    };
    facts.put_number(DEPTH, depth);
    if product != 0 {
        facts.put_number(PRODUCT, u64::from(product));
    }
    Some(())
}

/// Section 2.2.1.3.4.
fn channels(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let count = body.le32()?;
    if count > u32::from(CHANNELS_MAX) {
        facts.mark_truncated();
    }
    for _ in 0..count.min(u32::from(CHANNELS_MAX)) {
        let name = body.take(8)?;
        facts.put(CHANNEL, name.split(|byte| *byte == 0).next()?);
        body.take(4)?;
    }
    Some(())
}
