//! IEC 60870-5-104: telecontrol over TCP.
//!
//! Read: APCI kind (STARTDT and so on), type of ASDU, cause, common address, first object's address, number of objects.
//! Deliberately not read: values and times.
//!
//! Events: each start and stop of transfer, each command or system message (types 45 and on); of measured values (types below
//! 45), which come without end, each type is told once a flow and side. Test frames and acknowledgements make none. EVE has
//! no object for it.

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::sides::Sides;
use crate::dataplane::flow::Side;

/// `STARTDT act` and the like.
pub const CONTROL: Fact = Fact::text(Protocol::Iec104, 0, "control", 16);
/// Type of the ASDU.
pub const TYPE: Fact = Fact::number(Protocol::Iec104, 1, "type");
/// Its short name, where it is one that matters.
pub const TYPE_NAME: Fact = Fact::text(Protocol::Iec104, 2, "type_name", 16);
/// Cause of transmission.
pub const CAUSE: Fact = Fact::number(Protocol::Iec104, 3, "cause");
/// 1 where the cause is a refusal.
pub const NEGATIVE: Fact = Fact::number(Protocol::Iec104, 4, "negative");
/// Common address: the station.
pub const STATION: Fact = Fact::number(Protocol::Iec104, 5, "common_address");
/// Address of the first object.
pub const OBJECT: Fact = Fact::number(Protocol::Iec104, 6, "object_address");
/// Objects in the ASDU.
pub const OBJECTS: Fact = Fact::number(Protocol::Iec104, 7, "objects");

/// All of them.
pub const FACTS: &[Fact] = &[CONTROL, TYPE, TYPE_NAME, CAUSE, NEGATIVE, STATION, OBJECT, OBJECTS];

/// Not a frame, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Iec104, 0, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

/// First type that is a command (section 7.3 of IEC 60870-5-101).
const COMMANDS: u8 = 45;

/// A frame's control field and ASDU.
enum Frame<'a> {
    Information(Reader<'a>),
    Supervisory,
    Unnumbered(u8),
}

/// Section 5.1: `0x68`, length, four bytes of control. `bytes` are one frame.
fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut reader = Reader::new(bytes);
    let (start, _, [first, second, third, fourth]) = (reader.u8()?, reader.u8()?, reader.array()?);
    if start != 0x68 {
        return None;
    }
    match first & 3 {
        0 | 2 if third & 1 == 0 && is_asdu(reader.rest()) => Some(Frame::Information(reader)),
        1 if (first, second, third & 1) == (1, 0, 0) && reader.is_empty() => Some(Frame::Supervisory),
        3 if matches!(first, 0x07 | 0x0b | 0x13 | 0x23 | 0x43 | 0x83) && reader.is_empty() => {
            (second == 0 && third == 0 && fourth == 0).then_some(Frame::Unnumbered(first))
        }
        _ => None,
    }
}

/// A type that is defined, objects, a cause that is defined, an address that is one.
fn is_asdu(asdu: &[u8]) -> bool {
    let [kind, count, cause, _, low, high, _, _, _, ..] = asdu else { return false };
    is_type(*kind) && count & 0x7f != 0 && matches!(cause & 0x3f, 1..=13 | 20..=41 | 44..=47) && (*low, *high) != (0, 0)
}

fn is_type(kind: u8) -> bool {
    matches!(kind, 1..=21 | 30..=40 | 45..=51 | 58..=64 | 70 | 100..=107 | 110..=113 | 120..=127)
}

/// Bytes of the frame, by its first two.
fn length(bytes: &[u8]) -> Option<usize> {
    bytes.get(1).map(|length| 2 + usize::from(*length))
}

/// Is it IEC 104? The first frame must be right in all that is fixed, and another one follow it or nothing.
pub fn probe(look: &Look<'_>) -> Match {
    match look.bytes {
        _ if look.is_datagram => Match::No,
        [] | [0x68] => Match::Maybe,
        [0x68, 4..=253, ..] => match length(look.bytes).and_then(|length| look.bytes.split_at_checked(length)) {
            None if may_be(look.bytes) => Match::Maybe,
            None => Match::No,
            Some((one, rest)) => match (frame(one), rest) {
                (Some(_), [] | [0x68] | [0x68, 4..=253, ..]) => Match::Yes,
                _ => Match::No,
            },
        },
        _ => Match::No,
    }
}

/// Do the first bytes of a frame that is not all there fit? (`h` begins words as well.)
fn may_be(bytes: &[u8]) -> bool {
    let (length, first) = (bytes.get(1).copied().unwrap_or_default(), bytes.get(2).copied());
    let is_control = first.is_none_or(|first| match first & 3 {
        1 => length == 4 && first == 1,
        3 => length == 4 && matches!(first, 0x07 | 0x0b | 0x13 | 0x23 | 0x43 | 0x83),
        _ => length >= 13,
    });
    is_control && bytes.get(4).is_none_or(|third| third & 1 == 0) && bytes.get(6).is_none_or(|kind| is_type(*kind))
}

/// Does a station that is controlled send this frame, and not the one that controls? By what only one of the two confirms, or
/// tells, or by the cause (IEC 60870-5-101 sections 7.2.1 and 7.2.3).
pub(super) fn is_controlled(bytes: &[u8]) -> Option<bool> {
    match frame(bytes.get(..length(bytes)?)?)? {
        Frame::Unnumbered(control @ (0x07 | 0x0b | 0x13 | 0x23)) => Some(matches!(control, 0x0b | 0x23)),
        Frame::Unnumbered(_) | Frame::Supervisory => None,
        Frame::Information(asdu) => {
            let [kind, _, cause, ..] = asdu.rest() else { return None };
            match (*kind, cause & 0x3f) {
                (..COMMANDS | 70, _) => Some(true),
                (45..=64 | 100..=107, 5 | 6 | 8) => Some(false),
                (45..=64 | 100..=107, 7 | 9 | 10 | 44..=47) => Some(true),
                _ => None,
            }
        }
    }
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    /// Types of measured values that were told, one bit each.
    told: Sides<u64>,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Some(length) = length(bytes) else { return Step::Need(2) };
        if bytes.first() != Some(&0x68) || length < 6 {
            return Step::Broken(MALFORMED);
        }
        let Some(one) = bytes.get(..length) else { return Step::Need(length) };
        match frame(one) {
            Some(Frame::Information(asdu)) => {
                self.asdu(side, asdu, out);
            }
            Some(Frame::Unnumbered(control)) if control < 0x40 => {
                out.facts().put(CONTROL, control_name(control).as_bytes());
                out.facts().sent_by(side);
                out.event();
            }
            Some(_) => {}
            None => out.anomaly(MALFORMED),
        }
        Step::Took(length)
    }
}

impl State {
    fn asdu(&mut self, side: Side, mut asdu: Reader<'_>, out: &mut dyn Output) -> Option<()> {
        let (kind, count, cause, _) = (asdu.u8()?, asdu.u8()?, asdu.u8()?, asdu.u8()?);
        if kind < COMMANDS {
            let told = self.told.of(side);
            let bit = 1_u64 << kind;
            if *told & bit != 0 {
                return None;
            }
            *told |= bit;
        }
        let facts = out.facts();
        facts.put_number(TYPE, u64::from(kind));
        if let Some(name) = type_name(kind) {
            facts.put(TYPE_NAME, name.as_bytes());
        }
        facts.put_number(CAUSE, u64::from(cause & 0x3f));
        if cause & 0x40 != 0 {
            facts.put_number(NEGATIVE, 1);
        }
        facts.put_number(OBJECTS, u64::from(count & 0x7f));
        address(&mut asdu, facts);
        facts.sent_by(side);
        out.event();
        Some(())
    }
}

fn address(asdu: &mut Reader<'_>, facts: &mut Facts) -> Option<()> {
    facts.put_number(STATION, u64::from(asdu.le16()?));
    let (low, high) = (asdu.le16()?, asdu.u8()?);
    facts.put_number(OBJECT, u64::from(high) << 16 | u64::from(low));
    Some(())
}

fn control_name(control: u8) -> &'static str {
    match control {
        0x07 => "STARTDT act",
        0x0b => "STARTDT con",
        0x13 => "STOPDT act",
        0x23 => "STOPDT con",
        0x43 => "TESTFR act",
        _ => "TESTFR con",
    }
}

fn type_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "M_SP_NA_1",
        3 => "M_DP_NA_1",
        9 => "M_ME_NA_1",
        11 => "M_ME_NB_1",
        13 => "M_ME_NC_1",
        30 => "M_SP_TB_1",
        31 => "M_DP_TB_1",
        36 => "M_ME_TF_1",
        45 => "C_SC_NA_1",
        46 => "C_DC_NA_1",
        47 => "C_RC_NA_1",
        48 => "C_SE_NA_1",
        49 => "C_SE_NB_1",
        50 => "C_SE_NC_1",
        51 => "C_BO_NA_1",
        58 => "C_SC_TA_1",
        59 => "C_DC_TA_1",
        60 => "C_RC_TA_1",
        63 => "C_SE_TC_1",
        70 => "M_EI_NA_1",
        100 => "C_IC_NA_1",
        101 => "C_CI_NA_1",
        102 => "C_RD_NA_1",
        103 => "C_CS_NA_1",
        105 => "C_RP_NA_1",
        107 => "C_TS_TA_1",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{stream, torment_stream};

    const START: &[u8] = &[0x68, 4, 7, 0, 0, 0];
    const SINGLE: &[u8] = &[0x68, 14, 0, 0, 2, 0, 0x2d, 1, 0x46, 0, 0x0d, 0x91, 5, 1, 0, 1];
    const MEASURED: &[u8] = &[0x68, 14, 2, 0, 2, 0, 1, 1, 3, 0, 0x0d, 0x91, 5, 0, 0, 1];

    #[test]
    fn commands_are_told_each_and_measurements_once() {
        let bytes = [START, MEASURED, SINGLE, MEASURED, &[0x68, 4, 1, 0, 2, 0], SINGLE].concat();
        let out = torment_stream(State::default, &bytes, [50000, 2404], probe);
        let [start, measured, first, _] = &out.events[..] else { panic!("{} events", out.events.len()) };
        assert_eq!(start.get(CONTROL), Some(&b"STARTDT act"[..]));
        assert_eq!((measured.number(TYPE), measured.number(CAUSE)), (Some(1), Some(3)));
        assert_eq!((first.get(TYPE_NAME), first.number(NEGATIVE)), (Some(&b"C_SC_NA_1"[..]), Some(1)));
        assert_eq!(
            (first.number(STATION), first.number(OBJECT), first.number(OBJECTS)),
            (Some(0x910d), Some(0x105), Some(1))
        );
    }

    #[test]
    fn only_right_frames_are_told() {
        for (bytes, wanted) in [
            (START, Match::Yes),
            (SINGLE, Match::Yes),
            (&[0x68, 4, 1, 0, 0x42, 0xb9], Match::Yes),
            (&[0x68, 4, 1, 0, 0x43, 0xb9], Match::No),
            (&[0x68, 4, 9, 0, 0, 0], Match::No),
            (&[0x68, 4, 7, 0, 0, 0, 0x16], Match::No),
            (&[0x68, 3], Match::No),
            (b"hello", Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [50000, 2404])), wanted, "{bytes:02x?}");
        }
    }
}
