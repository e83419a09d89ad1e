//! DNP3 (IEEE 1815) over TCP and UDP: link header with its checksum, and what the application layer is asked for.
//!
//! Read: addresses, link function, application function, internal indications, group and variation of the first objects
//! (those of a first fragment). Deliberately not read: points and their values, further fragments, authentication.
//!
//! A request with its answer is one event, told apart by the sequence number; unsolicited answers stand alone; confirmations
//! and frames of the link alone make none. A frame has 292 bytes at most; checksums of all its blocks are checked.
//!
//! | fact | EVE |
//! | --- | --- |
//! | `source`, `destination` (of the request if there is one) | `dnp3.request.src`, `.dst`, or of `dnp3.response` |
//! | `function` ([`function_name`]) | `dnp3.request.application.function_code` |
//! | `link_function` | `dnp3.request.control.function_code` |
//! | `response_function`, `indications` | `dnp3.response.application.function_code`, `dnp3.response.iin.indicators` (by bit) |
//! | `object` (`group.variation`) | `dnp3.request.application.objects[].group`, `.variation` |

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::text::Text;
use super::wide::printed;
use crate::dataplane::flow::Side;

/// Address of the sender.
pub const SOURCE: Fact = Fact::number(Protocol::Dnp3, 0, "source");
/// Address of the receiver.
pub const DESTINATION: Fact = Fact::number(Protocol::Dnp3, 1, "destination");
/// Function of the link layer.
pub const LINK_FUNCTION: Fact = Fact::number(Protocol::Dnp3, 2, "link_function");
/// Function that is asked for.
pub const FUNCTION: Fact = Fact::number(Protocol::Dnp3, 3, "function");
/// Its name.
pub const FUNCTION_NAME: Fact = Fact::text(Protocol::Dnp3, 4, "function_name", 32);
/// Function of the answer: 129, or 130 unsolicited.
pub const RESPONSE: Fact = Fact::number(Protocol::Dnp3, 5, "response_function");
/// Internal indications of the answer: first octet high, second low.
pub const INDICATIONS: Fact = Fact::number(Protocol::Dnp3, 6, "indications");
/// Objects of the request, as `60.2`.
pub const OBJECT: Fact = Fact::text(Protocol::Dnp3, 7, "object", 8).repeated(OBJECTS_MAX);

/// All of them.
pub const FACTS: &[Fact] =
    &[SOURCE, DESTINATION, LINK_FUNCTION, FUNCTION, FUNCTION_NAME, RESPONSE, INDICATIONS, OBJECT];

/// A block's checksum is wrong.
pub const BAD_CHECKSUM: Anomaly = Anomaly::new(Protocol::Dnp3, 0, "bad_checksum");
/// Not a frame, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Dnp3, 1, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[BAD_CHECKSUM, MALFORMED];

/// Objects of a request that are told at most.
pub const OBJECTS_MAX: u8 = 8;
/// Bytes of the link header with its checksum.
const HEADER: usize = 10;
/// Bytes of a block without its checksum.
const BLOCK: usize = 16;
/// Bytes of user data in a frame at most.
const USER_MAX: usize = 250;

/// The link header (clause 9.2).
struct Link {
    control: u8,
    destination: u16,
    source: u16,
    /// Bytes of user data.
    user: usize,
}

/// Reads the header if its start and checksum are right.
fn link(bytes: &[u8]) -> Option<Link> {
    let mut reader = Reader::new(bytes.get(..HEADER)?);
    let covered = bytes.get(..8)?;
    let (start, length, control) = (reader.be16()?, reader.u8()?, reader.u8()?);
    let (destination, source, sum) = (reader.le16()?, reader.le16()?, reader.le16()?);
    let user = usize::from(length).checked_sub(5)?;
    (start == 0x0564 && sum == checksum(covered)).then_some(Link { control, destination, source, user })
}

/// CRC-16/DNP (annex E): polynomial 0x3d65 reflected, complemented.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u16;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xa6bc } else { sum >> 1 };
        }
    }
    !sum
}

impl Link {
    /// Bytes of the whole frame: each block has a checksum.
    fn frame(&self) -> usize {
        HEADER + self.user + 2 * self.user.div_ceil(BLOCK)
    }
}

/// Is it DNP3? The checksum of the link header says so.
pub fn probe(look: &Look<'_>) -> Match {
    let begins = look.bytes.iter().zip([0x05, 0x64]).all(|(byte, wanted)| *byte == wanted);
    if !begins || look.bytes.get(2).is_some_and(|length| *length < 5) {
        return Match::No;
    }
    match (look.bytes.len() < HEADER, link(look.bytes)) {
        (true, _) if look.is_datagram => Match::No,
        (true, _) => Match::Maybe,
        (false, Some(_)) => Match::Yes,
        (false, None) => Match::No,
    }
}

/// Does a station that is asked send this frame, and not a master? By the direction in its control octet (clause 9.2.4.1.3.1).
pub(super) fn is_outstation(bytes: &[u8]) -> Option<bool> {
    link(bytes).map(|link| link.control & 0x80 == 0)
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    is_open: bool,
    /// Sequence number of the request that is open.
    sequence: u8,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if bytes.len() < HEADER {
            return Step::Need(HEADER);
        }
        let Some(link) = link(bytes) else { return Step::Broken(MALFORMED) };
        let Some(blocks) = bytes.get(HEADER..link.frame()) else { return Step::Need(link.frame()) };
        let mut user = Text::<USER_MAX>::default();
        for block in blocks.chunks(BLOCK + 2) {
            let Some((data, sum)) = block.split_last_chunk::<2>() else { continue };
            if u16::from_le_bytes(*sum) != checksum(data) {
                out.anomaly(BAD_CHECKSUM);
                return Step::Took(link.frame());
            }
            user.extend(data);
        }
        self.fragment(side, &link, user.as_bytes(), out);
        Step::Took(link.frame())
    }
}

impl State {
    /// A transport header (clause 8.2) and, in a first one, the application layer's (clause 4.2.2).
    fn fragment(&mut self, side: Side, link: &Link, user: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(user);
        if reader.u8()? & 0x40 == 0 {
            return None;
        }
        let (control, function) = (reader.u8()?, reader.u8()?);
        let sequence = control & 0x0f;
        match function {
            0 => None,
            129 | 130 => self.response(side, link, (sequence, function), reader, out),
            _ => {
                if self.is_open {
                    out.event();
                }
                (self.is_open, self.sequence) = (true, sequence);
                out.facts().sent_by(side);
                common(link, out.facts());
                out.facts().put_number(FUNCTION, u64::from(function));
                out.facts().put(FUNCTION_NAME, function_name(function).as_bytes());
                objects(reader, out.facts());
                Some(())
            }
        }
    }

    fn response(
        &mut self,
        side: Side,
        link: &Link,
        (sequence, function): (u8, u8),
        mut rest: Reader<'_>,
        out: &mut dyn Output,
    ) -> Option<()> {
        let answers = self.is_open && function == 129 && self.sequence == sequence;
        if self.is_open && !answers {
            out.event();
        }
        if !answers {
            out.facts().sent_by(side);
            common(link, out.facts());
        }
        self.is_open = false;
        out.facts().put_number(RESPONSE, u64::from(function));
        if let Some(indications) = rest.be16() {
            out.facts().put_number(INDICATIONS, u64::from(indications));
        }
        out.event();
        Some(())
    }
}

fn common(link: &Link, facts: &mut Facts) {
    facts.put_number(SOURCE, u64::from(link.source));
    facts.put_number(DESTINATION, u64::from(link.destination));
    facts.put_number(LINK_FUNCTION, u64::from(link.control & 0x0f));
}

/// Headers of objects without data between them (clause 4.2.2.7): reads; of others the first alone.
fn objects(mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    for _ in 0..OBJECTS_MAX {
        let (group, variation, qualifier) = (reader.u8()?, reader.u8()?, reader.u8()?);
        facts.put(OBJECT, printed::<8>(format_args!("{group}.{variation}")).as_bytes());
        if qualifier & 0x70 != 0 {
            return None;
        }
        // Range: start and stop, a count, or everything (clause 4.2.2.7.3).
        reader.take(match qualifier & 0x0f {
            0 | 3 => 2,
            1 | 4 => 4,
            2 | 5 => 8,
            6 => 0,
            _ => return None,
        })?;
        // Binary outputs and analogue outputs to be set, and times, have data behind (groups 10, 12, 41, 50, 80 ...).
        if !matches!(group, 1..=4 | 20..=23 | 30..=33 | 60) {
            return None;
        }
    }
    if !reader.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

/// Name of a function code (clause 4.2.2.5); empty where it has none.
pub fn function_name(function: u8) -> &'static str {
    match function {
        0 => "CONFIRM",
        1 => "READ",
        2 => "WRITE",
        3 => "SELECT",
        4 => "OPERATE",
        5 => "DIRECT_OPERATE",
        6 => "DIRECT_OPERATE_NR",
        7 => "IMMED_FREEZE",
        8 => "IMMED_FREEZE_NR",
        9 => "FREEZE_CLEAR",
        10 => "FREEZE_CLEAR_NR",
        11 => "FREEZE_AT_TIME",
        12 => "FREEZE_AT_TIME_NR",
        13 => "COLD_RESTART",
        14 => "WARM_RESTART",
        15 => "INITIALIZE_DATA",
        16 => "INITIALIZE_APPL",
        17 => "START_APPL",
        18 => "STOP_APPL",
        19 => "SAVE_CONFIG",
        20 => "ENABLE_UNSOLICITED",
        21 => "DISABLE_UNSOLICITED",
        22 => "ASSIGN_CLASS",
        23 => "DELAY_MEASURE",
        24 => "RECORD_CURRENT_TIME",
        25 => "OPEN_FILE",
        26 => "CLOSE_FILE",
        27 => "DELETE_FILE",
        28 => "GET_FILE_INFO",
        29 => "AUTHENTICATE_FILE",
        30 => "ABORT_FILE",
        31 => "ACTIVATE_CONFIG",
        32 => "AUTHENTICATE_REQ",
        33 => "AUTH_REQ_NO_ACK",
        129 => "RESPONSE",
        130 => "UNSOLICITED_RESPONSE",
        131 => "AUTHENTICATE_RESP",
        _ => "",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, stream, torment_datagram, torment_stream};
    use crate::dataplane::inspect::parse::{Record, feed};

    pub fn frame(control: u8, to: u16, from: u16, user: &[u8]) -> Vec<u8> {
        let mut out = vec![5, 0x64, 5 + user.len() as u8, control];
        out.extend(to.to_le_bytes());
        out.extend(from.to_le_bytes());
        out.extend(checksum(&out).to_le_bytes());
        for block in user.chunks(BLOCK) {
            out.extend(block);
            out.extend(checksum(block).to_le_bytes());
        }
        out
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(checksum(b"123456789"), 0xea82, "the check value of CRC-16/DNP");
        assert_eq!(
            frame(0xc4, 4, 3, &[0xc0, 0xd7, 0]),
            [5, 0x64, 8, 0xc4, 4, 0, 3, 0, 0xb4, 0xb8, 0xc0, 0xd7, 0, 0x7a, 0xce]
        );
    }

    #[test]
    fn a_request_and_its_answer_are_one_event() {
        let poll = [0xc1, 0xc2, 1, 60, 2, 6, 60, 3, 6, 30, 0, 0, 0, 9, 60, 4, 6, 1, 0, 6];
        let (mut state, mut out) = (State::default(), Record::default());
        for (side, bytes) in [
            (Side::Originator, frame(0xc4, 4, 3, &poll)),
            (Side::Responder, frame(0x44, 3, 4, &[0xc1, 0xc2, 129, 0x90, 0])),
            (Side::Originator, frame(0xc4, 4, 3, &[0xc2, 0xc2, 0])),
            (Side::Responder, frame(0x44, 3, 4, &[0xc2, 0xf0, 130, 2, 0])),
            (Side::Originator, frame(0xc4, 4, 3, &[0xc3, 0xc3, 13])),
        ] {
            feed(&mut state, side, &bytes, 7, &mut out);
        }
        state.end(&mut out);
        let [poll, unsolicited, restart] = &out.events[..] else { panic!("{} events", out.events.len()) };
        assert_eq!(poll.all(OBJECT).collect::<Vec<_>>(), [&b"60.2"[..], b"60.3", b"30.0", b"60.4", b"1.0"]);
        assert_eq!((poll.number(RESPONSE), poll.number(INDICATIONS)), (Some(129), Some(0x9000)));
        assert_eq!((poll.number(SOURCE), poll.number(DESTINATION)), (Some(3), Some(4)));
        assert_eq!((unsolicited.number(RESPONSE), unsolicited.number(FUNCTION)), (Some(130), None));
        assert_eq!(restart.get(FUNCTION_NAME), Some(&b"COLD_RESTART"[..]));
    }

    #[test]
    fn checksums_decide() {
        let bytes =
            [frame(0xc4, 4, 3, &[0xc1; 40]), frame(0xc0, 4, 3, &[]), frame(0xc4, 4, 3, &[0xc0, 0xc0, 1])].concat();
        torment_stream(State::default, &bytes, [50000, 20000], probe);
        torment_datagram::<State>(&frame(0xc4, 4, 3, &[0xc0, 0xc0, 1]), [50000, 20000], probe);
        let mut bad = frame(0xc4, 4, 3, &[0xc0, 0xc0, 1]);
        assert_eq!(probe(&datagram(&bad, [1, 2])), Match::Yes);
        *bad.last_mut().unwrap() ^= 1;
        let mut out = Record::default();
        feed(&mut State::default(), Side::Originator, &bad, 99, &mut out);
        assert_eq!((out.anomalies, out.events.len()), (vec!["bad_checksum"], 0));
        bad[9] ^= 1;
        assert_eq!(probe(&stream(&bad, [50000, 20000])), Match::No);
    }
}
