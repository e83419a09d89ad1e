//! RTP and RTCP (RFC 3550, RFC 3551, RFC 5761), one event a stream and one for the first report of each side.
//!
//! Recognition: a report of RTCP is unmistakable. A packet of RTP is not: two bits, a kind, and sizes that fit; [`probe`]
//! takes it for RTP, and [`State`] confirms: nothing is told before three packets of a side are of one source and in order,
//! and when six packets did not bring that, it says [`NOT_CONFIRMED`] and is `Broken`: the flow was no RTP. (That
//! is no fault of a peer: neither the protocol before [`State::is_confirmed`] nor this anomaly is told, and until then other
//! protocols are looked for.)
//! It deliberately does not: decode media, count loss, or know SRTP from RTP (the header is the same).
//!
//! EVE has no object for it.

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Rtp;
/// Source of the stream.
pub const SSRC: Fact = Fact::number(PROTOCOL, 1, "ssrc");
/// What is coded how (RFC 3551 section 6); 96 and more are agreed elsewhere.
pub const PAYLOAD_TYPE: Fact = Fact::number(PROTOCOL, 2, "payload_type");
/// Kind of a report: 200 sender, 201 receiver.
pub const RTCP_TYPE: Fact = Fact::number(PROTOCOL, 3, "rtcp_type");
/// Name of the source: often user and host.
pub const CNAME: Fact = Fact::text(PROTOCOL, 4, "cname", 255);
/// Product of the source.
pub const TOOL: Fact = Fact::text(PROTOCOL, 5, "tool", 128);

/// All facts.
pub const FACTS: &[Fact] = &[SSRC, PAYLOAD_TYPE, RTCP_TYPE, CNAME, TOOL];

/// What looked like RTP was something else. See the module.
pub const NOT_CONFIRMED: Anomaly = Anomaly::new(PROTOCOL, 1, "not_confirmed");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[NOT_CONFIRMED];

/// Packets in order that confirm a stream.
const CONFIRM: u8 = 3;
/// Packets that may be something else before the flow is given up, unconfirmed.
pub(super) const TRIES_MAX: u8 = 6;
/// Packets after which a confirmed flow says nothing new.
pub(super) const PACKETS_MAX: u16 = 512;
/// Steps of the number between two packets that still are in order.
const STEP_MAX: u16 = 16;
const RTCP_SENDER: u8 = 200;
const RTCP_RECEIVER: u8 = 201;
const RTCP_DESCRIPTION: u8 = 202;

/// What is wanted of a header (RFC 3550 section 5.1).
struct Header {
    payload_type: u8,
    number: u16,
    ssrc: u32,
}

/// A packet of RTP, if all that can be checked fits.
fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let (first, second, number) = (reader.u8()?, reader.u8()?, reader.be16()?);
    let (_time, ssrc, payload_type) = (reader.be32()?, reader.be32()?, second & 0x7f);
    reader.take(usize::from(first & 15) * 4)?;
    if first & 0x10 != 0 {
        let (profile, words) = (reader.be16()?, reader.be16()?);
        if profile != 0xbede && profile >> 4 != 0x100 {
            return None;
        }
        reader.take(usize::from(words) * 4)?;
    }
    let is_known = matches!(payload_type, 0 | 3..=18 | 25 | 26 | 28 | 31..=34 | 96..=127);
    let fits = first >> 6 == 2 && is_known && ssrc != 0 && size_fits(payload_type, reader.len());
    fits.then_some(Header { payload_type, number, ssrc })
}

/// Does a payload of so many bytes fit its kind (RFC 3551 section 4.5)?
fn size_fits(payload_type: u8, bytes: usize) -> bool {
    match payload_type {
        0 | 8 | 9 => bytes >= 40 && bytes.is_multiple_of(8),
        3 => bytes > 0 && bytes.is_multiple_of(33),
        4 => bytes > 0 && bytes.is_multiple_of(4),
        13 => (1..=32).contains(&bytes),
        18 => bytes > 0 && matches!(bytes % 10, 0 | 2),
        33 => bytes > 0 && bytes.is_multiple_of(188),
        _ => bytes > 0,
    }
}

/// Reports of RTCP: the first of a sender or a receiver, and lengths that fill the datagram. What follows the first may be
/// encrypted (RFC 3711 section 3.4).
fn is_report(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let mut next = || {
        let (first, kind, words) = (reader.u8()?, reader.u8()?, usize::from(reader.be16()?));
        reader.take(words * 4)?;
        (first >> 6 == 2).then_some((first & 31, kind, words, reader.len()))
    };
    let Some((count, kind, words, mut left)) = next() else { return false };
    let least = usize::from(count) * 6 + if kind == RTCP_SENDER { 6 } else { 1 };
    if !matches!(kind, RTCP_SENDER | RTCP_RECEIVER) || words < least || words > least + 64 {
        return false;
    }
    // Each takes four bytes at least.
    while left > 0 {
        match next() {
            Some((_, 192 | 193 | 200..=207, _, rest)) => left = rest,
            _ => return words == least && left >= 14,
        }
    }
    true
}

/// RTP or RTCP? See the module.
pub fn probe(look: &Look<'_>) -> Match {
    if !look.is_datagram || look.ports.iter().any(|port| *port < 1024) {
        return Match::No;
    }
    // No padding and no other sources in a first packet, so that little is taken that will not be confirmed.
    let is_plain = matches!(look.bytes.first(), Some(0x80 | 0x90));
    if is_report(look.bytes) || is_plain && header(look.bytes).is_some() { Match::Yes } else { Match::No }
}

/// The stream of one side.
#[derive(Clone, Copy, Default)]
struct Stream {
    ssrc: u32,
    number: u16,
    in_order: u8,
    has_told: bool,
    has_reported: bool,
}

/// Both streams, and how sure it is that they are any.
#[derive(Default)]
pub struct State {
    streams: [Stream; 2],
    is_confirmed: bool,
    others: u8,
    packets: u16,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    /// Enough came to be sure that it is RTP.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.packets = self.packets.saturating_add(1);
        let [first, second] = &mut self.streams;
        let stream = if side == Side::Originator { first } else { second };
        if is_report(bytes) {
            self.is_confirmed = true;
            if !stream.has_reported {
                stream.has_reported = true;
                report(bytes, out);
                out.facts().sent_by(side);
                out.event();
            }
        } else if let Some(header) = header(bytes).filter(|header| stream.follow(header) && !stream.has_told) {
            stream.has_told = true;
            self.is_confirmed = true;
            out.facts().put_number(SSRC, header.ssrc.into());
            out.facts().put_number(PAYLOAD_TYPE, header.payload_type.into());
            out.facts().sent_by(side);
            out.event();
        }
        if !self.is_confirmed {
            self.others += 1;
            if self.others > TRIES_MAX {
                return Step::Broken(NOT_CONFIRMED);
            }
        }
        if self.packets > PACKETS_MAX { Step::Done } else { Step::Took(bytes.len()) }
    }
}

impl Stream {
    /// Are enough packets of one source in order now?
    fn follow(&mut self, header: &Header) -> bool {
        let step = header.number.wrapping_sub(self.number);
        let follows = header.ssrc == self.ssrc && (1..=STEP_MAX).contains(&step);
        self.in_order = if follows { self.in_order.saturating_add(1) } else { 1 };
        (self.ssrc, self.number) = (header.ssrc, header.number);
        self.in_order >= CONFIRM
    }
}

/// The kind of the first report, its source, and the name in a description behind it.
fn report(bytes: &[u8], out: &mut dyn Output) {
    let mut reader = Reader::new(bytes);
    let mut is_first = true;
    while let (Some(_), Some(kind), Some(words)) = (reader.u8(), reader.u8(), reader.be16()) {
        let Some(mut body) = reader.part(usize::from(words) * 4) else { return };
        if is_first {
            out.facts().put_number(RTCP_TYPE, kind.into());
        }
        if let (true, Some(ssrc)) = (is_first || kind == RTCP_DESCRIPTION, body.be32()) {
            out.facts().put_number(SSRC, ssrc.into());
        }
        if kind == RTCP_DESCRIPTION {
            items(body, out);
        }
        is_first = false;
    }
}

/// Items of a source (RFC 3550 section 6.5): kind, length, text.
fn items(mut body: Reader<'_>, out: &mut dyn Output) {
    while let (Some(kind @ 1..), Some(length)) = (body.u8(), body.u8()) {
        let Some(text) = body.take(usize::from(length)) else { return };
        match kind {
            1 => out.facts().put(CNAME, text),
            6 => out.facts().put(TOOL, text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show, show_one, torment_datagram};

    const PORTS: [u16; 2] = [30_000, 40_000];

    fn packet(number: u16, ssrc: u32) -> Vec<u8> {
        let mut bytes = [&[0x80, 0][..], &number.to_be_bytes(), &[0, 0, 0, 160], &ssrc.to_be_bytes()].concat();
        bytes.extend([0xd5; 160]);
        bytes
    }

    fn reports() -> Vec<u8> {
        let mut bytes = vec![0x80, 200, 0, 6];
        bytes.extend([7; 24]);
        bytes.extend(b"\x81\xca\0\x05\0\0\0\x09\x01\x0aalice@host\0\0\0\0");
        bytes
    }

    #[test]
    fn three_packets_in_order_make_a_stream() {
        let flow: Vec<_> = [65_534, 65_535, 0, 1].map(|number| packet(number, 9)).to_vec();
        let shown: Vec<_> = flow.iter().map(|bytes| (Side::Originator, &bytes[..])).collect();
        let out = show::<State>(&shown);
        assert_eq!(
            (out.events.len(), out.events[0].number(SSRC), out.events[0].number(PAYLOAD_TYPE)),
            (1, Some(9), Some(0))
        );
        assert_eq!(show::<State>(&shown[..2]).events.len(), 0, "two are not enough");
        assert_eq!(probe(&datagram(&flow[0], PORTS)), Match::Yes);
        assert_eq!(probe(&datagram(&flow[0], [40_000, 53])), Match::No);
        assert_eq!(probe(&datagram(&flow[0][..171], PORTS)), Match::No, "an odd length");
        torment_datagram::<State>(&flow[0], PORTS, probe);
    }

    #[test]
    fn what_is_not_confirmed_is_given_up() {
        let (mut parser, mut out) = (State::default(), crate::dataplane::inspect::Record::default());
        let steps: Vec<_> = (0..7).map(|at| parser.step(Side::Originator, &packet(at * 100, 9), &mut out)).collect();
        assert_eq!(steps.last(), Some(&Step::Broken(NOT_CONFIRMED)));
        assert_eq!((steps[5], out.events.len()), (Step::Took(172), 0));
    }

    #[test]
    fn reports_are_told_once_a_side() {
        let bytes = reports();
        assert_eq!(probe(&datagram(&bytes, PORTS)), Match::Yes);
        let facts = show_one::<State>(&bytes).events.remove(0);
        assert_eq!((facts.number(RTCP_TYPE), facts.get(CNAME)), (Some(200), Some(&b"alice@host"[..])));
        assert_eq!(
            show::<State>(&[(Side::Originator, &bytes), (Side::Originator, &bytes), (Side::Responder, &bytes)])
                .events
                .len(),
            2
        );
        torment_datagram::<State>(&bytes, PORTS, probe);
        let many = [&bytes[..28], &b"\x80\xcb\0\0".repeat(9000)].concat();
        assert_eq!(show_one::<State>(&many).events.len(), 1);
    }
}
