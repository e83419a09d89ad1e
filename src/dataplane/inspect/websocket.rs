//! WebSocket (RFC 6455), behind its upgrade from HTTP/1: `http::State::turns_into` says where it begins.
//!
//! Counts frames and bytes of both sides, and reads the code of a close; one event, at the end or after [`FRAMES_MAX`] frames.
//! Sub-protocols are facts of the upgrade's HTTP transaction. Deliberately not read: messages.
//!
//! | fact | EVE field |
//! | --- | --- |
//! | all | EVE's `websocket` is an object for each frame; the counts are only in our own |

use super::bytes::Reader;
use super::facts::Fact;
use super::lines::Told;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const P: Protocol = Protocol::WebSocket;

/// Frames of text that began a message.
pub const TEXT_FRAMES: Fact = Fact::number(P, 1, "text_frames");
/// Frames of bytes that began a message.
pub const BINARY_FRAMES: Fact = Fact::number(P, 2, "binary_frames");
/// Frames of other kinds: continued, ping, pong, close.
pub const OTHER_FRAMES: Fact = Fact::number(P, 3, "other_frames");
/// Bytes of the client's messages.
pub const CLIENT_BYTES: Fact = Fact::number(P, 4, "client_bytes");
/// Bytes of the server's messages.
pub const SERVER_BYTES: Fact = Fact::number(P, 5, "server_bytes");
/// Code of the first close.
pub const CLOSE_CODE: Fact = Fact::number(P, 6, "close_code");

/// All facts.
pub const FACTS: &[Fact] = &[TEXT_FRAMES, BINARY_FRAMES, OTHER_FRAMES, CLIENT_BYTES, SERVER_BYTES, CLOSE_CODE];

/// A client's frame without a mask.
pub const CLIENT_UNMASKED: Anomaly = Anomaly::new(P, 1, "client_unmasked");
/// A server's frame with a mask.
pub const SERVER_MASKED: Anomaly = Anomaly::new(P, 2, "server_masked");
/// A reserved kind of frame.
pub const OPCODE_RESERVED: Anomaly = Anomaly::new(P, 3, "opcode_reserved");
/// A control frame that is continued or longer than 125 bytes.
pub const CONTROL_INVALID: Anomaly = Anomaly::new(P, 4, "control_invalid");
/// A length of more than 63 bits.
pub const LENGTH_INVALID: Anomaly = Anomaly::new(P, 5, "length_invalid");

/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[CLIENT_UNMASKED, SERVER_MASKED, OPCODE_RESERVED, CONTROL_INVALID, LENGTH_INVALID];

/// Frames of both sides that are counted.
pub const FRAMES_MAX: u32 = 1000;

/// Never: frames have nothing that could be told from other bytes. The upgrade tells.
pub fn probe(_look: &Look<'_>) -> Match {
    Match::No
}

/// A WebSocket connection.
#[derive(Default, Debug)]
pub struct State {
    client_bytes: u64,
    server_bytes: u64,
    text: u32,
    binary: u32,
    other: u32,
    told: Told,
    close: u16,
    is_told: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl State {
    fn tell(&mut self, out: &mut dyn Output) {
        if std::mem::replace(&mut self.is_told, true) || self.frames() == 0 {
            return;
        }
        for (fact, value) in [
            (TEXT_FRAMES, u64::from(self.text)),
            (BINARY_FRAMES, u64::from(self.binary)),
            (OTHER_FRAMES, u64::from(self.other)),
            (CLIENT_BYTES, self.client_bytes),
            (SERVER_BYTES, self.server_bytes),
        ] {
            out.facts().put_number(fact, value);
        }
        if self.close != 0 {
            out.facts().put_number(CLOSE_CODE, u64::from(self.close));
        }
        out.event();
    }

    fn frames(&self) -> u32 {
        self.text.saturating_add(self.binary).saturating_add(self.other)
    }

    fn count(&mut self, side: Side, opcode: u8, length: u64, out: &mut dyn Output) {
        match opcode {
            1 => self.text += 1,
            2 => self.binary += 1,
            0 | 8..=10 => self.other += 1,
            _ => {
                self.other += 1;
                self.told.once(OPCODE_RESERVED, out);
            }
        }
        let bytes = match side {
            Side::Originator => &mut self.client_bytes,
            Side::Responder => &mut self.server_bytes,
        };
        *bytes = bytes.saturating_add(length);
    }
}

/// Reads a length behind its seven bits.
fn length(short: u8, reader: &mut Reader<'_>) -> Option<u64> {
    match short {
        126 => reader.be16().map(u64::from),
        127 => reader.be64(),
        _ => Some(u64::from(short)),
    }
}

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if self.is_told {
            return Step::Done;
        }
        let mut reader = Reader::new(bytes);
        let Some([first, second]) = reader.array::<2>() else { return Step::Need(2) };
        let Some(length) = length(second & 0x7f, &mut reader) else { return Step::Need(bytes.len() + 1) };
        if length >> 63 != 0 {
            return Step::Broken(LENGTH_INVALID);
        }
        let is_masked = second & 0x80 != 0;
        let mask = if is_masked { reader.array::<4>() } else { Some([0; 4]) };
        let Some([mask_high, mask_low, ..]) = mask else { return Step::Need(bytes.len() + 1) };
        let opcode = first & 15;
        let header = (bytes.len() - reader.len()) as u64; // 14 at most
        if opcode == 8 && (2..=125).contains(&length) {
            let Some([high, low]) = reader.array::<2>() else { return Step::Need(bytes.len() + 1) };
            if self.close == 0 {
                self.close = u16::from_be_bytes([high ^ mask_high, low ^ mask_low]);
            }
        }
        if opcode >= 8 && (length > 125 || first & 0x80 == 0) {
            self.told.once(CONTROL_INVALID, out);
        }
        match side {
            Side::Originator if !is_masked => self.told.once(CLIENT_UNMASKED, out),
            Side::Responder if is_masked => self.told.once(SERVER_MASKED, out),
            _ => {}
        }
        self.count(side, opcode, length, out);
        if self.frames() >= FRAMES_MAX {
            out.facts().mark_truncated();
            self.tell(out);
        }
        Step::Skip(header.saturating_add(length))
    }

    fn end(&mut self, out: &mut dyn Output) {
        self.tell(out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
    use super::*;

    #[test]
    fn frames_are_counted() {
        let large = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat();
        let turns: Turns<'_> = &[
            (C, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), // RFC 6455 section 5.7
            (S, b"\x81\x05Hello\x89\x00"),
            (S, &large),
            (C, b"\x88\x82\x01\x02\x03\x04\x02\xea"),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let wanted = "text_frames=2 binary_frames=1 other_frames=2 client_bytes=7 server_bytes=65541 close_code=1000";
        assert_eq!((events, anomalies), (vec![wanted.to_owned()], vec![]));
        spoil::<State>(&[turns[0], turns[1], turns[3]]);
        unambiguous(FACTS, ANOMALIES);
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        for (side, bytes, wanted) in [
            (C, &b"\x81\x01x"[..], "client_unmasked"),
            (S, b"\x81\x81\0\0\0\0x", "server_masked"),
            (S, b"\x83\x00", "opcode_reserved"),
            (S, b"\x09\x00", "control_invalid"),
            (S, b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "length_invalid"),
        ] {
            assert_eq!(talk::<State>(&[(side, bytes)], &[FACTS]).1, [wanted]);
        }
        let many = b"\x81\x00".repeat(5_000);
        let (events, _) = talk::<State>(&[(S, &many)], &[FACTS]);
        assert!(events[0].starts_with("text_frames=1000 "), "{events:?}");
    }
}
