//! Siemens S7 over COTP and TPKT (RFC 1006): connection, jobs and their answers; S7comm-plus is recognised.
//!
//! Read: TSAPs of the connection, kind of message, function, items of reads and writes counted, error of the answer, function
//! group of user data (stop, programme transfer, clock, security). Deliberately not read: variables and blocks, anything of
//! S7comm-plus but its version. EVE has no object for it.
//!
//! A job with its answer (same reference) is one event, the connection another; one is open at a time.

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use super::tpkt::{self, CONFIRM, CONNECT, DATA, Packet};
use crate::dataplane::flow::Side;

/// TSAP of the caller, two bytes: kind of connection; rack and slot.
pub const CALLING: Fact = Fact::bytes(Protocol::S7, 0, "calling_tsap", 16);
/// TSAP of the called.
pub const CALLED: Fact = Fact::bytes(Protocol::S7, 1, "called_tsap", 16);
/// 1 once the connection is confirmed.
pub const CONFIRMED: Fact = Fact::number(Protocol::S7, 2, "confirmed");
/// Kind of message: 1 job, 2 acknowledgement, 3 answer with data, 7 user data.
pub const KIND: Fact = Fact::number(Protocol::S7, 3, "message_type");
/// Function of a job.
pub const FUNCTION: Fact = Fact::number(Protocol::S7, 4, "function");
/// Its name.
pub const FUNCTION_NAME: Fact = Fact::text(Protocol::S7, 5, "function_name", 24);
/// Items of a read or write.
pub const ITEMS: Fact = Fact::number(Protocol::S7, 6, "items");
/// Function group of user data.
pub const GROUP: Fact = Fact::number(Protocol::S7, 7, "group");
/// Function within the group.
pub const SUBFUNCTION: Fact = Fact::number(Protocol::S7, 8, "subfunction");
/// Class of error, and error, of the answer: high and low byte.
pub const ERROR: Fact = Fact::number(Protocol::S7, 9, "error");
/// Reference of the job.
pub const REFERENCE: Fact = Fact::number(Protocol::S7, 10, "reference");
/// Version of S7comm-plus.
pub const PLUS: Fact = Fact::number(Protocol::S7, 11, "plus_version");

/// All of them.
pub const FACTS: &[Fact] =
    &[CALLING, CALLED, CONFIRMED, KIND, FUNCTION, FUNCTION_NAME, ITEMS, GROUP, SUBFUNCTION, ERROR, REFERENCE, PLUS];

/// Not a packet, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::S7, 0, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

/// Bytes of a packet at most; PLCs negotiate 960 at most.
pub const PACKET_MAX: usize = 4096;
/// Packets that are looked at for recognition: connection, then data.
const PACKETS_MAX: usize = 3;
/// Parameters of a connection that are walked.
pub(super) const PARAMETERS_MAX: usize = 8;

/// Is it S7? COTP's connection alone says too little (others use it); the first data must be S7's.
pub fn probe(look: &Look<'_>) -> Match {
    if look.is_datagram {
        return Match::No;
    }
    let mut rest = look.bytes;
    for _ in 0..PACKETS_MAX {
        let length = match tpkt::packet(rest) {
            Packet::Whole(length) if length <= PACKET_MAX => length,
            Packet::Short => return Match::Maybe,
            _ => return Match::No,
        };
        match one(rest.get(tpkt::HEADER..length.min(rest.len())).unwrap_or_default(), rest.len() < length) {
            Match::Maybe if rest.len() > length => rest = rest.get(length..).unwrap_or_default(),
            answer => return answer,
        }
    }
    Match::No
}

/// `Maybe` is what says nothing yet: a connection, an empty or cut packet.
fn one(cotp: &[u8], is_cut: bool) -> Match {
    let may = if is_cut { Match::Maybe } else { Match::No };
    match cotp {
        [] => Match::Maybe,
        [17..=64, CONNECT | CONFIRM, ..] | [17..=64] => connection(cotp, is_cut),
        // Nothing inside: an acknowledgement.
        [2, DATA, 0x00 | 0x80] => Match::Maybe,
        [2, DATA, _] | [2, DATA] | [2] => may,
        [2, DATA, _, 0x32, 1..=3 | 7, 0, 0, ..] => Match::Yes,
        [2, DATA, _, 0x32, 1..=3 | 7] | [2, DATA, _, 0x32, 1..=3 | 7, 0] => may,
        [2, DATA, _, 0x32] | [2, DATA, _, 0x72] => may,
        [2, DATA, _, 0x72, 1..=3 | 0xfe, high, low, ..] => plus(cotp, *high, *low),
        [2, DATA, _, 0x72, 1..=3 | 0xfe] | [2, DATA, _, 0x72, 1..=3 | 0xfe, _] => may,
        _ => Match::No,
    }
}

/// Has it both TSAPs, as S7 does?
fn connection(cotp: &[u8], is_cut: bool) -> Match {
    let Some((_, mut head, _)) = tpkt::cotp(cotp) else { return if is_cut { Match::Maybe } else { Match::No } };
    let seen = parameters(&mut head, |_, _| {});
    if seen { Match::Maybe } else { Match::No }
}

/// S7comm-plus has the length of its data behind its version, and a trailer of four bytes (or none, in further fragments).
fn plus(cotp: &[u8], high: u8, low: u8) -> Match {
    let length = usize::from(u16::from_be_bytes([high, low]));
    let behind = cotp.len().saturating_sub(3 + 4);
    if (4..=PACKET_MAX).contains(&length) && (behind <= length || behind == length + 4) {
        Match::Yes
    } else {
        Match::No
    }
}

/// No parameter's number: there are more than are read.
const MORE: u8 = 0;

/// Walks a connection's parameters (behind references and class); were both TSAPs there?
fn parameters(head: &mut Reader<'_>, mut told: impl FnMut(u8, &[u8])) -> bool {
    let mut seen = (false, false);
    head.take(5);
    for _ in 0..PARAMETERS_MAX {
        let Some((kind, length)) = head.u8().zip(head.u8()) else { break };
        let Some(value) = head.take(usize::from(length)) else { break };
        match kind {
            0xc1 => seen.0 = true,
            0xc2 => seen.1 = true,
            _ => {}
        }
        told(kind, value);
    }
    if !head.is_empty() {
        told(MORE, &[]);
    }
    seen == (true, true)
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    /// Reference of the job that is open; 0x10000 is the connection.
    reference: u32,
    is_open: bool,
    /// S7comm-plus was told.
    is_plus: bool,
}

const _: () = assert!(size_of::<State>() <= 64);
const CONNECTION: u32 = 0x1_0000;

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let length = match tpkt::packet(bytes) {
            Packet::Whole(length) if length <= PACKET_MAX => length,
            Packet::Short => return Step::Need(tpkt::HEADER),
            _ => return Step::Broken(MALFORMED),
        };
        let Some(packet) = bytes.get(tpkt::HEADER..length) else { return Step::Need(length) };
        let Some((kind, mut head, rest)) = tpkt::cotp(packet) else { return Step::Broken(MALFORMED) };
        match kind {
            CONNECT => {
                self.begin(CONNECTION, out);
                let facts = out.facts();
                parameters(&mut head, |kind, value| match kind {
                    0xc1 => facts.put(CALLING, value),
                    0xc2 => facts.put(CALLED, value),
                    MORE => facts.mark_truncated(),
                    _ => {}
                });
            }
            CONFIRM if self.is_open && self.reference == CONNECTION => {
                self.is_open = false;
                out.facts().put_number(CONFIRMED, 1);
                out.event();
            }
            DATA => {
                self.data(side, rest, out);
                if self.is_plus {
                    return Step::Done;
                }
            }
            _ => {}
        }
        Step::Took(length)
    }
}

impl State {
    fn begin(&mut self, reference: u32, out: &mut dyn Output) {
        if self.is_open {
            out.event();
        }
        (self.is_open, self.reference) = (true, reference);
    }

    fn data(&mut self, side: Side, mut rest: Reader<'_>, out: &mut dyn Output) -> Option<()> {
        let (protocol, kind) = (rest.u8()?, rest.u8()?);
        if protocol == 0x72 {
            if self.is_open {
                out.event();
            }
            out.facts().sent_by(side);
            out.facts().put_number(PLUS, u64::from(kind));
            out.event();
            (self.is_open, self.is_plus) = (false, true);
            return Some(());
        }
        if protocol != 0x32 {
            return None;
        }
        rest.take(2)?;
        let reference = rest.be16()?;
        let (parameter, _) = (rest.be16()?, rest.be16()?);
        match kind {
            2 | 3 => self.answer(side, (kind, reference), rest, out),
            1 | 7 => {
                let parameter = rest.part(usize::from(parameter))?;
                self.job(kind, reference, parameter, out)
            }
            _ => None,
        }
    }

    fn job(&mut self, kind: u8, reference: u16, mut parameter: Reader<'_>, out: &mut dyn Output) -> Option<()> {
        // The answer to user data says so in the high half of its group.
        let user = (kind == 7).then(|| parameter.rest().get(4..7)).flatten();
        let is_answer = user.is_some_and(|user| user.get(1).is_some_and(|group| group >> 4 == 8));
        if is_answer && self.is_open && self.reference == u32::from(reference) {
            self.is_open = false;
            out.event();
            return Some(());
        }
        self.begin(u32::from(reference), out);
        let facts = out.facts();
        facts.put_number(KIND, u64::from(kind));
        facts.put_number(REFERENCE, u64::from(reference));
        if let Some([_, group, subfunction]) = user {
            facts.put_number(GROUP, u64::from(group & 0x0f));
            facts.put_number(SUBFUNCTION, u64::from(*subfunction));
        } else if kind == 1 {
            function(&mut parameter, facts);
        }
        Some(())
    }

    fn answer(
        &mut self,
        side: Side,
        (kind, reference): (u8, u16),
        mut rest: Reader<'_>,
        out: &mut dyn Output,
    ) -> Option<()> {
        let error = rest.be16()?;
        let is_ours = self.is_open && self.reference == u32::from(reference);
        if self.is_open && !is_ours {
            out.event();
        }
        if !is_ours {
            out.facts().sent_by(side);
            out.facts().put_number(KIND, u64::from(kind));
            out.facts().put_number(REFERENCE, u64::from(reference));
            function(&mut rest, out.facts());
        }
        out.facts().put_number(ERROR, u64::from(error));
        self.is_open = false;
        out.event();
        Some(())
    }
}

fn function(parameter: &mut Reader<'_>, facts: &mut Facts) -> Option<()> {
    let function = parameter.u8()?;
    facts.put_number(FUNCTION, u64::from(function));
    facts.put(FUNCTION_NAME, function_name(function).as_bytes());
    if matches!(function, 4 | 5) {
        facts.put_number(ITEMS, u64::from(parameter.u8()?));
    }
    Some(())
}

/// Name of a job's function.
pub fn function_name(function: u8) -> &'static str {
    match function {
        0x00 => "cpu_services",
        0x04 => "read_variable",
        0x05 => "write_variable",
        0x1a => "request_download",
        0x1b => "download_block",
        0x1c => "download_ended",
        0x1d => "start_upload",
        0x1e => "upload",
        0x1f => "end_upload",
        0x28 => "plc_control",
        0x29 => "plc_stop",
        0xf0 => "setup_communication",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{stream, torment_stream};
    use crate::dataplane::inspect::parse::{Record, feed};

    fn packet(cotp: &[u8]) -> Vec<u8> {
        [&[3, 0][..], &(cotp.len() as u16 + 4).to_be_bytes(), cotp].concat()
    }

    fn connect(kind: u8) -> Vec<u8> {
        packet(&[17, kind, 0, 0, 0, 7, 0, 0xc1, 2, 1, 0, 0xc2, 2, 1, 2, 0xc0, 1, 10])
    }

    fn job(reference: u8, parameter: &[u8]) -> Vec<u8> {
        packet(&[&[2, DATA, 0x80, 0x32, 1, 0, 0, 0, reference, 0, parameter.len() as u8, 0, 0][..], parameter].concat())
    }

    fn answer(reference: u8, error: u8) -> Vec<u8> {
        packet(&[2, DATA, 0x80, 0x32, 3, 0, 0, 0, reference, 0, 1, 0, 0, error, 4, 0x29])
    }

    #[test]
    fn connection_and_jobs_are_told() {
        let (mut state, mut out) = (State::default(), Record::default());
        for (side, bytes) in [
            (Side::Originator, connect(CONNECT)),
            (Side::Responder, connect(CONFIRM)),
            (Side::Originator, job(1, &[0x29, 0, 0, 0, 0, 0, 9])),
            (Side::Responder, answer(1, 0x81)),
            (Side::Originator, job(2, &[4, 3, 0x12])),
        ] {
            feed(&mut state, side, &bytes, 3, &mut out);
        }
        state.end(&mut out);
        let [connection, stop, read] = &out.events[..] else { panic!("{} events", out.events.len()) };
        assert_eq!((connection.get(CALLING), connection.get(CALLED)), (Some(&[1, 0][..]), Some(&[1, 2][..])));
        assert_eq!(connection.number(CONFIRMED), Some(1));
        assert_eq!((stop.get(FUNCTION_NAME), stop.number(ERROR)), (Some(&b"plc_stop"[..]), Some(0x8104)));
        assert_eq!((read.number(ITEMS), read.number(ERROR)), (Some(3), None));
    }

    #[test]
    fn it_is_told_by_its_first_data() {
        let bytes = [connect(CONNECT), job(1, &[0xf0, 0, 0, 1, 0, 1, 1, 0xe0]), job(2, &[4, 1])].concat();
        torment_stream(State::default, &bytes, [50000, 102], probe);
        assert_eq!(probe(&stream(&bytes, [50000, 102])), Match::Yes);
        assert_eq!(probe(&stream(&connect(CONNECT), [50000, 102])), Match::Maybe);
        let plus = packet(&[&[2, DATA, 0x80, 0x72, 1, 0, 6][..], &[0x31; 6], &[0x72, 1, 0, 0]].concat());
        assert_eq!(probe(&stream(&[connect(CONNECT), plus].concat(), [50000, 102])), Match::Yes);
        let other = packet(&[2, DATA, 0x80, 0x0d, 0x1f, 1, 2, 3]);
        assert_eq!(probe(&stream(&[connect(CONNECT), other].concat(), [50000, 102])), Match::No, "MMS");
        let rdp = packet(&[14, CONNECT, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0]);
        assert_eq!(probe(&stream(&rdp, [50000, 3389])), Match::No);
    }
}
