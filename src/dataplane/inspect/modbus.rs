//! Modbus over TCP (Modbus application protocol 1.1b3, messaging on TCP/IP 1.0b): who is asked for what.
//!
//! Read: unit, function, address and quantity, value of single writes, exception codes. Deliberately not read: registers
//! and coils, the contents of files and diagnostics, Modbus over UDP or serial lines inside TCP.
//!
//! A request with its answer (same transaction) is one event; one is open at a time.
//!
//! | fact | EVE |
//! | --- | --- |
//! | `transaction_id`, `unit_id`, `function` | `modbus.request` and `.response`: `.transaction_id`, `.unit_id`, `.function_raw` |
//! | `function_name` | `modbus.request.function_code` |
//! | `address`, `quantity` | `modbus.request.read.address`, `.read.quantity`; of writes `.write.address`, `.write.data` is `value` |
//! | `exception` ([`exception_name`]) | `modbus.response.exception.raw`, `.code` |

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

/// Number of the transaction.
pub const TRANSACTION: Fact = Fact::number(Protocol::Modbus, 0, "transaction_id");
/// Unit behind a gateway.
pub const UNIT: Fact = Fact::number(Protocol::Modbus, 1, "unit_id");
/// Function code.
pub const FUNCTION: Fact = Fact::number(Protocol::Modbus, 2, "function");
/// Its name.
pub const FUNCTION_NAME: Fact = Fact::text(Protocol::Modbus, 3, "function_name", 24);
/// First address.
pub const ADDRESS: Fact = Fact::number(Protocol::Modbus, 4, "address");
/// Coils or registers from there on.
pub const QUANTITY: Fact = Fact::number(Protocol::Modbus, 5, "quantity");
/// Value of a single write.
pub const VALUE: Fact = Fact::number(Protocol::Modbus, 6, "value");
/// Exception code of the answer.
pub const EXCEPTION: Fact = Fact::number(Protocol::Modbus, 7, "exception");

/// 1 where an answer was seen.
pub const ANSWERED: Fact = Fact::number(Protocol::Modbus, 8, "answered");

/// All of them.
pub const FACTS: &[Fact] = &[TRANSACTION, UNIT, FUNCTION, FUNCTION_NAME, ADDRESS, QUANTITY, VALUE, EXCEPTION, ANSWERED];

/// Not a message, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Modbus, 0, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

/// Bytes in front of the function: transaction, protocol, length, unit.
const HEADER: usize = 7;
/// Bytes counted by the length at most (unit and 253 of the message).
pub(super) const LENGTH_MAX: u16 = 254;

struct Message<'a> {
    transaction: u16,
    unit: u8,
    function: u8,
    body: Reader<'a>,
}

fn message<'a>(reader: &mut Reader<'a>) -> Option<Message<'a>> {
    let (transaction, protocol, length) = (reader.be16()?, reader.be16()?, reader.be16()?);
    let mut body = reader.part(usize::from(length))?;
    let (unit, function) = (body.u8()?, body.u8()?);
    (protocol == 0).then_some(Message { transaction, unit, function, body })
}

/// Is it Modbus? The first message must be whole, of a function that is defined, and of the length that this function has
/// on this side or the other; what follows it must begin like one too.
pub fn probe(look: &Look<'_>) -> Match {
    let [high, low] = match look.bytes {
        [_, _, 0, 0, high, low, ..] => [*high, *low],
        [_, _, 0, 0, 0] | [_, _, 0, 0] | [_, _, 0] | [_, _] | [_] | [] => return Match::Maybe,
        _ => return Match::No,
    };
    let length = u16::from_be_bytes([high, low]);
    if look.is_datagram || !(2..=LENGTH_MAX).contains(&length) {
        return Match::No;
    }
    if look.bytes.get(7).is_some_and(|function| !is_function(*function)) {
        return Match::No;
    }
    let mut reader = Reader::new(look.bytes);
    match message(&mut reader) {
        None => Match::Maybe,
        Some(one)
            if is_of_length(&one) && matches!(reader.rest(), [] | [_] | [_, _] | [_, _, 0] | [_, _, 0, 0, ..]) =>
        {
            Match::Yes
        }
        Some(_) => Match::No,
    }
}

fn is_function(function: u8) -> bool {
    matches!(function & 0x7f, 1..=8 | 11 | 12 | 15..=17 | 20..=24 | 43)
}

/// Section 6: the length of each request and answer.
fn is_of_length(message: &Message<'_>) -> bool {
    let (body, length) = (message.body.rest(), message.body.len());
    let counted = |at: usize| body.get(at).is_some_and(|count| length == at + 1 + usize::from(*count));
    match message.function {
        0x81.. => length == 1 && matches!(body.first(), Some(1..=11)),
        1 | 2 => (length == 4 && is_quantity(body, 2000)) || counted(0),
        3 | 4 => (length == 4 && is_quantity(body, 125)) || (counted(0) && length % 2 == 1),
        5 => length == 4 && matches!(body, [_, _, 0 | 0xff, 0]),
        6 => length == 4,
        7 | 11 | 12 | 17 => {
            length == 0
                || counted(0)
                || (message.function == 7 && length == 1)
                || (message.function == 11 && length == 4)
        }
        8 => length >= 4 && matches!(body, [0, 0..=20, ..]),
        15 => (length == 4 && is_quantity(body, 1968)) || counted(4),
        16 => (length == 4 && is_quantity(body, 123)) || counted(4),
        20 | 21 => counted(0),
        22 => length == 6,
        23 => counted(8) || counted(0),
        24 => length == 2 || (length >= 4 && matches!(body, [_, low, ..] if usize::from(*low) + 2 == length)),
        43 => matches!(body, [13 | 14, ..]),
        _ => false,
    }
}

fn is_quantity(body: &[u8], most: u16) -> bool {
    matches!(body, [_, _, high, low] if (1..=most).contains(&u16::from_be_bytes([*high, *low])))
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    transaction: u16,
    is_open: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn gap(&mut self, _side: Side, hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        let length = Reader::new(hole.before.get(4..).unwrap_or_default()).be16();
        length.map_or(Resume::Done, |length| hole.within(HEADER as u64 - 1 + u64::from(length)))
    }

    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Some(length) = Reader::new(bytes.get(4..).unwrap_or_default()).be16() else { return Step::Need(6) };
        if !(2..=LENGTH_MAX).contains(&length) {
            return Step::Broken(MALFORMED);
        }
        let whole = HEADER - 1 + usize::from(length);
        if bytes.len() < whole {
            return Step::Need(whole);
        }
        let Some(message) = message(&mut Reader::new(bytes)) else { return Step::Broken(MALFORMED) };
        if side == Side::Originator {
            if self.is_open {
                out.event();
            }
            (self.is_open, self.transaction) = (true, message.transaction);
            common(&message, out.facts());
            request(&message, out.facts());
        } else {
            if self.is_open && self.transaction != message.transaction {
                out.event();
            }
            if !self.is_open || self.transaction != message.transaction {
                out.facts().sent_by(side);
                common(&message, out.facts());
            }
            out.facts().put_number(ANSWERED, 1);
            if let (0x80.., Some(code)) = (message.function, message.body.rest().first()) {
                out.facts().put_number(EXCEPTION, u64::from(*code));
            }
            self.is_open = false;
            out.event();
        }
        Step::Took(whole)
    }
}

fn common(message: &Message<'_>, facts: &mut Facts) {
    let function = message.function & 0x7f;
    facts.put_number(TRANSACTION, u64::from(message.transaction));
    facts.put_number(UNIT, u64::from(message.unit));
    facts.put_number(FUNCTION, u64::from(function));
    facts.put(FUNCTION_NAME, function_name(function).as_bytes());
}

fn request(message: &Message<'_>, facts: &mut Facts) -> Option<()> {
    let mut body = message.body;
    if matches!(message.function, 1..=6 | 15 | 16 | 22 | 23) {
        facts.put_number(ADDRESS, u64::from(body.be16()?));
        let second = if message.function == 22 { 1 } else { body.be16()? };
        facts.put_number(if matches!(message.function, 5 | 6) { VALUE } else { QUANTITY }, u64::from(second));
    }
    Some(())
}

/// Name of a function code (section 5.1), spelled as EVE has it.
pub fn function_name(function: u8) -> &'static str {
    match function {
        1 => "RdCoils",
        2 => "RdDiscreteInputs",
        3 => "RdHoldRegs",
        4 => "RdInputRegs",
        5 => "WrSingleCoil",
        6 => "WrSingleReg",
        7 => "RdExcStatus",
        8 => "Diagnostic",
        11 => "GetCommEventCtr",
        12 => "GetCommEventLog",
        15 => "WrMultCoils",
        16 => "WrMultRegs",
        17 => "ReportServerID",
        20 => "RdFileRec",
        21 => "WrFileRec",
        22 => "MaskWrReg",
        23 => "RdWrMultRegs",
        24 => "RdFIFOQueue",
        43 => "MEI",
        _ => "Unknown",
    }
}

/// Name of an exception code (section 7), spelled as EVE has it.
pub fn exception_name(code: u64) -> &'static str {
    match code {
        1 => "IllegalFunction",
        2 => "IllegalDataAddr",
        3 => "IllegalDataValue",
        4 => "ServerDeviceFail",
        5 => "Ack",
        6 => "ServerDeviceBusy",
        7 => "NegAck",
        8 => "MemParityErr",
        10 => "GatewayPathUnavailable",
        11 => "GatewayTargetFailToResp",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{stream, torment_stream};
    use crate::dataplane::inspect::parse::{Record, feed};

    const READ: &[u8] = &[0, 0xd1, 0, 0, 0, 6, 1, 3, 0, 1, 0, 2];
    const WRITE: &[u8] = &[0, 0xd2, 0, 0, 0, 6, 1, 5, 0, 7, 0xff, 0];

    #[test]
    fn a_request_and_its_answer_are_one_event() {
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, Side::Originator, READ, 3, &mut out);
        feed(&mut state, Side::Responder, &[0, 0xd1, 0, 0, 0, 7, 1, 3, 4, 0, 1, 0, 2], 3, &mut out);
        feed(&mut state, Side::Originator, WRITE, 3, &mut out);
        feed(&mut state, Side::Responder, &[0, 0xd2, 0, 0, 0, 3, 1, 0x85, 2], 3, &mut out);
        let [read, write] = &out.events[..] else { panic!("{} events", out.events.len()) };
        assert_eq!((read.number(ADDRESS), read.number(QUANTITY), read.number(EXCEPTION)), (Some(1), Some(2), None));
        assert_eq!((read.number(ANSWERED), write.number(ANSWERED)), (Some(1), Some(1)));
        assert_eq!((write.get(FUNCTION_NAME), write.number(VALUE)), (Some(&b"WrSingleCoil"[..]), Some(0xff00)));
        assert_eq!((write.number(EXCEPTION), exception_name(2)), (Some(2), "IllegalDataAddr"));
    }

    #[test]
    fn only_messages_of_their_length_are_modbus() {
        torment_stream(State::default, &[READ, WRITE, READ].concat(), [50000, 502], probe);
        for (bytes, wanted) in [
            (&[0, 1, 0, 0, 0, 3, 1, 0x83, 2][..], Match::Yes),
            (&[0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 9], Match::Yes),
            (&[0, 1, 0, 0, 0, 6, 1, 3, 0, 1, 0, 0], Match::No),
            (&[0, 1, 0, 0, 0, 6, 1, 9, 0, 1, 0, 1], Match::No),
            (&[0, 1, 0, 0, 0, 7, 1, 3, 0, 1, 0, 1, 0], Match::No),
            (&[0, 1, 0, 0, 1], Match::No),
            (b"GET /", Match::No),
        ] {
            assert_eq!(probe(&stream(bytes, [50000, 502])), wanted, "{bytes:?}");
        }
    }
}
