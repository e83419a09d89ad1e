//! DCE/RPC, connection-oriented (C706 chapter 12, MS-RPCE section 2.2.2), over TCP and inside the named pipes of SMB: which
//! interface is bound and which of its calls are made.
//!
//! Read are binds (interfaces with the server's word on each), requests (number, and name where the call matters), answers
//! (fault or not), and NTLM or Kerberos in the trailer of a bind. Deliberately not read: arguments and results (NDR), the
//! endpoint mapper's answers, the connectionless protocol over UDP.
//!
//! An event is a request with its answer. What a flow remembers is bounded: [`BOUND_MAX`] contexts with known interfaces,
//! one call that is open, and the place in one bind that goes on with the next write to its pipe. Of a fragment the first
//! [`HEAD_MAX`] bytes are put together, the rest is skipped. Where a bind was not read the pipe's name tells the interface, if
//! it is the one that the interface's document gives to its pipe (MS-SCMR, MS-RRP, MS-SAMR, MS-TSCH: section 2.1 of each).
//!
//! | fact | EVE (`smb.dcerpc` inside SMB) |
//! | --- | --- |
//! | `request`, `response` | `dcerpc.request`, `dcerpc.response` |
//! | `call_id`, `opnum` | `dcerpc.call_id`; `dcerpc.req.opnum`, over SMB `smb.dcerpc.opnum` |
//! | `uuid`, `uuid_version`, `ack_result`, each in the order of the others | `dcerpc.interfaces[].uuid`, `.version`, `.ack_result` |
//! | `interface`, `operation` | `dcerpc.interfaces[].service`, `.procedure` |
//! | `request_bytes`, `response_bytes` | `dcerpc.req.stub_data_size`, `dcerpc.res.stub_data_size` |
//! | `rpc_version` | `dcerpc.rpc_version` |

mod calls;
mod interfaces;
#[cfg(test)]
pub(super) mod tests;

pub use calls::{Calls, Seen};
pub use interfaces::{INTERFACES, Interface, call_name};

use super::bytes::Reader;
use super::facts::{Fact, Facts};
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::sides::Sides;
use super::spnego;
use crate::dataplane::flow::Side;

/// Bytes of a fragment that are put together.
pub const HEAD_MAX: usize = 4096;
/// Contexts with known interfaces that are remembered, and pipes that are named as one; the oldest makes room.
pub const BOUND_MAX: usize = 5;
/// Interfaces of a bind that are told at most. Of a bind with more (tools hide the one they mean among many) the known ones
/// are told.
pub const OFFERED_MAX: u8 = 8;
/// Bytes of the common header (C706 section 12.6.3.1).
pub const HEADER: usize = 16;

/// Kind of the request: `BIND`, `ALTER_CONTEXT`, `REQUEST`.
pub const REQUEST: Fact = Fact::text(Protocol::DceRpc, 0, "request", 16);
/// Kind of the answer: `BINDACK`, `BINDNAK`, `ALTER_CONTEXT_RESP`, `RESPONSE`, `FAULT`.
pub const RESPONSE: Fact = Fact::text(Protocol::DceRpc, 1, "response", 20);
/// Number of the call.
pub const CALL: Fact = Fact::number(Protocol::DceRpc, 2, "call_id");
/// UUIDs of the interfaces that are asked for, or of the one called.
pub const UUID: Fact = Fact::text(Protocol::DceRpc, 3, "uuid", 36).repeated(OFFERED_MAX);
/// Their versions.
pub const UUID_VERSION: Fact = Fact::text(Protocol::DceRpc, 4, "uuid_version", 16).repeated(OFFERED_MAX);
/// Their short names; `unknown` where they are not known.
pub const INTERFACE: Fact = Fact::text(Protocol::DceRpc, 5, "interface", 32).repeated(OFFERED_MAX);
/// What the server says of each (0 is yes).
pub const ACK_RESULT: Fact = Fact::number(Protocol::DceRpc, 6, "ack_result").repeated(OFFERED_MAX);
/// Number of the operation.
pub const OPERATION_NUMBER: Fact = Fact::number(Protocol::DceRpc, 7, "opnum");
/// Name of the operation, where it is one that matters.
pub const OPERATION: Fact = Fact::text(Protocol::DceRpc, 8, "operation", 64);
/// Status of a fault.
pub const FAULT: Fact = Fact::number(Protocol::DceRpc, 9, "fault_status");
/// Bytes of arguments, as the first fragment announces them.
pub const REQUEST_BYTES: Fact = Fact::number(Protocol::DceRpc, 10, "request_bytes");
/// Bytes of results, as the first fragment announces them.
pub const RESPONSE_BYTES: Fact = Fact::number(Protocol::DceRpc, 11, "response_bytes");
/// Version of the protocol.
pub const RPC_VERSION: Fact = Fact::text(Protocol::DceRpc, 12, "rpc_version", 8);
/// Contexts that a bind asks for.
pub const CONTEXTS: Fact = Fact::number(Protocol::DceRpc, 13, "contexts");
/// 1 where the interface of a call is not known by its bind, which was not read, but by the name of its pipe.
pub const BY_PIPE: Fact = Fact::number(Protocol::DceRpc, 14, "interface_by_pipe");

/// All of them.
pub const FACTS: &[Fact] = &[
    REQUEST,
    RESPONSE,
    CALL,
    UUID,
    UUID_VERSION,
    INTERFACE,
    ACK_RESULT,
    OPERATION_NUMBER,
    OPERATION,
    FAULT,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    RPC_VERSION,
    CONTEXTS,
    BY_PIPE,
];

/// Not a header, where one should be.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::DceRpc, 0, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED];

/// The common header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    minor: u8,
    kind: u8,
    flags: u8,
    is_big_endian: bool,
    /// Bytes of the fragment.
    pub length: u16,
    auth_length: u16,
    call: u32,
}

/// Reads the header; `None` where it is none (or not all there).
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let [version, minor, kind, flags] = reader.array()?;
    let [order, float, zero, zero2] = reader.array()?;
    let is_big_endian = order == 0;
    let (length, auth_length) = (half(&mut reader, is_big_endian)?, half(&mut reader, is_big_endian)?);
    let call = word(&mut reader, is_big_endian)?;
    let is_form = version == 5 && minor <= 1 && kind <= 19 && matches!(kind, 0 | 2 | 3 | 11..=19);
    let is_order = matches!(order, 0 | 0x10) && float <= 3 && (zero, zero2) == (0, 0);
    let is_long = usize::from(length) >= HEADER + usize::from(auth_length);
    (is_form && is_order && is_long).then_some(Header { minor, kind, flags, is_big_endian, length, auth_length, call })
}

fn half(reader: &mut Reader<'_>, is_big_endian: bool) -> Option<u16> {
    if is_big_endian { reader.be16() } else { reader.le16() }
}

fn word(reader: &mut Reader<'_>, is_big_endian: bool) -> Option<u32> {
    if is_big_endian { reader.be32() } else { reader.le32() }
}

/// Is it DCE/RPC over TCP?
pub fn probe(look: &Look<'_>) -> Match {
    let begin = look.bytes;
    let form: [&[u8]; 4] = [&[5], &[0, 1], &[0, 2, 3, 11, 12, 13, 14, 15, 16], &[]];
    let is_form = begin.iter().zip(form).all(|(byte, allowed)| allowed.is_empty() || allowed.contains(byte));
    let order = begin.get(4..begin.len().min(8)).unwrap_or_default();
    if look.is_datagram || !is_form || !matches!(order, [] | [0 | 0x10] | [0 | 0x10, 0..=3, ..]) {
        return Match::No;
    }
    if begin.len() < HEADER {
        return Match::Maybe;
    }
    match header(begin) {
        // A bind of one interface has 72 bytes; a request 24.
        Some(header) if header.length >= least(header.kind) => Match::Yes,
        _ => Match::No,
    }
}

fn least(kind: u8) -> u16 {
    match kind {
        11 | 14 => 72,
        0 | 2 | 3 => 24,
        12 | 15 => 32,
        _ => 16,
    }
}

/// The UUID with its numbers little-endian, as they mostly are.
fn in_wire_order(uuid: [u8; 16], is_big_endian: bool) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = uuid;
    if is_big_endian { [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p] } else { uuid }
}

fn wire_of(uuid: u128) -> [u8; 16] {
    in_wire_order(uuid.to_be_bytes(), true)
}

/// Answers: C706 sections 12.6.4.4 (bind_ack), 12.6.4.7 (fault), 12.6.4.10 (response).
fn answer(header: Header, mut reader: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let big = header.is_big_endian;
    match header.kind {
        2 => facts.put_number(RESPONSE_BYTES, u64::from(word(&mut reader, big)?)),
        3 => {
            reader.take(8)?;
            facts.put_number(FAULT, u64::from(word(&mut reader, big)?));
        }
        12 | 15 => {
            reader.take(8)?;
            let name = usize::from(half(&mut reader, big)?);
            // The list begins at a multiple of four; the length's two bytes stand before it.
            reader.take(name + (4 - (name + 2) % 4) % 4)?;
            let count = reader.u8()?;
            reader.take(3)?;
            // Of more than are told, it would not be clear whose they are.
            for _ in 0..if count > OFFERED_MAX { 0 } else { count } {
                facts.put_number(ACK_RESULT, u64::from(half(&mut reader, big)?));
                reader.take(22)?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The security trailer of a bind (MS-RPCE section 2.2.2.11): who logs on.
fn trailer(header: Header, bytes: &[u8], facts: &mut Facts) -> Option<()> {
    let length = usize::from(header.auth_length);
    if length == 0 || header.kind == 0 || header.kind == 2 {
        return None;
    }
    let token = bytes.get(usize::from(header.length).checked_sub(length)?..)?;
    spnego::read(token.get(..length).unwrap_or(token), facts);
    Some(())
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        0 => "REQUEST",
        2 => "RESPONSE",
        3 => "FAULT",
        11 => "BIND",
        12 => "BINDACK",
        13 => "BINDNAK",
        14 => "ALTER_CONTEXT",
        15 => "ALTER_CONTEXT_RESP",
        _ => "OTHER",
    }
}

/// What a flow's parser remembers, over TCP.
#[derive(Default)]
pub struct State {
    calls: Calls,
    /// Rest of a fragment, by side.
    skip: Sides<u16>,
    /// A fragment of this side was read.
    in_step: Sides<bool>,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let skip = std::mem::take(self.skip.of(side));
        if skip > 0 {
            return Step::Skip(u64::from(skip));
        }
        if bytes.len() < HEADER {
            return Step::Need(HEADER);
        }
        let Some(header) = header(bytes) else {
            return if *self.in_step.of(side) { Step::Broken(MALFORMED) } else { Step::Done };
        };
        let length = usize::from(header.length);
        let shown = length.min(HEAD_MAX);
        let Some(fragment) = bytes.get(..shown) else { return Step::Need(shown) };
        *self.in_step.of(side) = true;
        *self.skip.of(side) = (length - shown) as u16; // below 65 536
        if self.calls.begins_another(header) {
            out.event();
        }
        if self.calls.fragment(0, header, fragment, out.facts()) == Seen::Answer {
            out.event();
        }
        Step::Took(shown)
    }

    fn gap(&mut self, _side: Side, _hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        out.event();
        Resume::Done
    }
}
