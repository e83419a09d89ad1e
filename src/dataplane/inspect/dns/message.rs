//! One message: header, questions, records (RFC 1035 section 4), into a set of facts.

use super::name::{self, Budget, Fault, NameText};
use super::rdata::{self, types};
use super::set::Set;
use crate::dataplane::inspect::bytes::Reader;
use crate::dataplane::inspect::facts::FACTS_BYTES;
use crate::dataplane::inspect::parse::{Anomaly, Look, Match, Output};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 12;
/// Bytes of a message that is guessed to begin behind a hole.
const GUESS_MAX: usize = 4096;
/// Questions looked at; a message of this world has one, mDNS some.
pub(in crate::dataplane::inspect) const QUESTIONS_MAX: u16 = 32;
/// Records looked at in each section; those that the facts have no room for are passed over to reach EDNS.
pub(in crate::dataplane::inspect) const RECORDS_MAX: u16 = 256;
/// Records read in each section: as many as the facts keep.
pub(in crate::dataplane::inspect) const RECORDS_KEPT: u16 = super::set::RECORDS as u16;

/// The header (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Number of the transaction.
    pub id: u16,
    /// All flags, opcode and rcode, as they stand.
    pub flags: u16,
    /// Questions, answers, authorities, additionals.
    pub counts: [u16; 4],
}

impl Header {
    /// Of the first twelve bytes.
    pub fn read(message: &[u8]) -> Option<Header> {
        let mut reader = Reader::new(message);
        let (id, flags) = (reader.be16()?, reader.be16()?);
        let counts = [reader.be16()?, reader.be16()?, reader.be16()?, reader.be16()?];
        Some(Header { id, flags, counts })
    }

    /// Is the flag of this bit set?
    fn has(self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// A response?
    pub fn is_response(self) -> bool {
        self.has(0x8000)
    }

    /// An answer to a query without what was asked. Left aside: who could not read the query, and answers to updates
    /// (RFC 2136 section 3.8); on a stream, the parts of a zone transfer (RFC 5936 section 2.2.1).
    fn lacks_question(self) -> bool {
        self.is_response() && self.counts[0] == 0 && self.opcode() == 0 && !matches!(self.rcode(), 1 | 4)
    }

    /// RFC 6895 section 2.2.
    pub fn opcode(self) -> u16 {
        self.flags >> 11 & 15
    }

    /// Without what EDNS adds.
    pub fn rcode(self) -> u16 {
        self.flags & 15
    }
}

/// One record but its data.
#[derive(Clone, Copy)]
struct Record {
    at: usize,
    kind: u16,
    class: u16,
    ttl: u32,
    data: usize,
    end: usize,
}

fn record(message: &[u8], at: usize) -> Option<Record> {
    let fixed = name::skip(message, at)?;
    let mut reader = Reader::new(message.get(fixed..)?);
    let (kind, class, ttl, length) = (reader.be16()?, reader.be16()?, reader.be32()?, reader.be16()?);
    let data = fixed + 10;
    let end = data + usize::from(length);
    (end <= message.len()).then_some(Record { at, kind, class, ttl, data, end })
}

/// Where the question at `at` ends, with its type and class.
fn question(message: &[u8], at: usize) -> Option<(usize, u16, u16)> {
    let fixed = name::skip(message, at)?;
    let mut reader = Reader::new(message.get(fixed..)?);
    Some((fixed + 4, reader.be16()?, reader.be16()?))
}

/// How likely `message`, which is whole unless `is_cut`, is DNS. `known_port`: at a port of this family, which forgives
/// odd flags and a message that is not whole.
pub fn plausible(message: &[u8], known_port: bool, is_cut: bool) -> Match {
    let Some(header) = Header::read(message) else { return if is_cut { Match::Maybe } else { Match::No } };
    if !head_is_plausible(header, known_port) {
        return Match::No;
    }
    let (mut at, mut budget) = (HEADER_BYTES, Budget::default());
    for _ in 0..header.counts[0] {
        let Some((end, kind, class)) = question(message, at) else {
            return match (is_cut, known_port && message.len() > HEADER_BYTES) {
                (true, _) => Match::Maybe,
                (false, true) => header_alone(header),
                (false, false) => Match::No,
            };
        };
        let mut text = NameText::default();
        let name_is_bad = name::read(message, at, &mut text, &mut budget).is_err();
        if !known_port && (name_is_bad || kind == 0 || !matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255)) {
            return Match::No;
        }
        at = end;
    }
    if known_port {
        return Match::Yes;
    }
    let records: u32 = header.counts.iter().skip(1).map(|count| u32::from(*count)).sum();
    for _ in 0..records {
        match record(message, at) {
            Some(record) => at = record.end,
            None if is_cut => return Match::Maybe,
            None => return Match::No,
        }
    }
    if at == message.len() { Match::Yes } else { Match::No }
}

/// With a known port but a question that cannot be read: only a header without doubt is enough.
fn header_alone(header: Header) -> Match {
    if header.counts[0] == 1 && header.flags & 0x0070 == 0 { Match::Yes } else { Match::No }
}

fn head_is_plausible(header: Header, known_port: bool) -> bool {
    let [questions, answers, authorities, additionals] = header.counts;
    let total = questions.saturating_add(answers).saturating_add(authorities).saturating_add(additionals);
    if questions > QUESTIONS_MAX || additionals > RECORDS_MAX || total == 0 && !header.is_response() {
        return false;
    }
    if known_port {
        return answers <= 2048 && authorities <= 512 && header.opcode() <= 6;
    }
    let asks_cleanly = header.is_response()
        || header.rcode() == 0 && (header.opcode() == 5 || answers == 0 && authorities <= 1 && additionals <= 2);
    questions == 1
        && matches!(header.opcode(), 0 | 2 | 4 | 5)
        && !header.has(0x40)
        && header.rcode() <= 11
        && answers <= 512
        && authorities <= 64
        && asks_cleanly
}

/// Does a message with its length in front begin here, beyond doubt: one that can be read, to where that says it ends? For
/// behind a hole.
pub fn begins(bytes: &[u8]) -> Match {
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.be16().map(usize::from) else { return Match::Maybe };
    if !(HEADER_BYTES..=GUESS_MAX).contains(&length) {
        return Match::No;
    }
    match reader.take(length) {
        Some(message) => plausible(message, false, false),
        None if plausible(reader.rest(), false, true) == Match::No => Match::No,
        None => Match::Maybe,
    }
}

/// [`plausible`] for the first bytes of a flow, with the length in front on a stream (RFC 1035 section 4.2.2).
pub fn probe(look: &Look<'_>, known_port: bool) -> Match {
    if look.is_datagram {
        return plausible(look.bytes, known_port, false);
    }
    let mut reader = Reader::new(look.bytes);
    let Some(length) = reader.be16().map(usize::from) else { return Match::Maybe };
    if length < HEADER_BYTES || !known_port && length > 4096 {
        return Match::No;
    }
    match reader.take(length) {
        Some(message) => plausible(message, known_port, false),
        None => plausible(reader.rest(), known_port, true),
    }
}

/// Reads one whole message into the facts of `out`, and ends the event. What cannot be read is an anomaly, and what was
/// read before stays.
pub fn read(set: &Set, message: &[u8], is_stream: bool, out: &mut dyn Output) {
    read_as(set, message, is_stream, false, out);
}

/// [`read`] of the first bytes of a message on a stream: the event says that there was more.
pub fn read_head(set: &Set, head: &[u8], out: &mut dyn Output) {
    read_as(set, head, true, true, out);
}

fn read_as(set: &Set, message: &[u8], is_stream: bool, is_cut: bool, out: &mut dyn Output) {
    let Some(header) = Header::read(message) else {
        out.anomaly(set.malformed);
        return;
    };
    head(set, header, out);
    if set.wants_question && !is_stream && header.lacks_question() {
        out.anomaly(set.response_without_question);
    }
    let mut rcode = header.rcode();
    if let Err(anomaly) = body(set, message, header, &mut rcode, out) {
        // A response that says it was cut may end anywhere.
        if anomaly != set.malformed || !is_cut && !header.has(0x0200) {
            out.anomaly(anomaly);
        }
    }
    if is_cut {
        out.facts().mark_truncated();
    }
    out.facts().put_number(set.rcode, rcode.into());
    out.event();
}

fn head(set: &Set, header: Header, out: &mut dyn Output) {
    out.facts().put_number(set.id, header.id.into());
    out.facts().put_number(set.flags, header.flags.into());
    out.facts().put_number(set.opcode, header.opcode().into());
    let bits = [(set.qr, 0x8000), (set.aa, 0x0400), (set.tc, 0x0200), (set.rd, 0x0100), (set.ra, 0x80), (set.z, 0x40)];
    for (fact, bit) in bits {
        out.facts().put_number(fact, u64::from(header.has(bit)));
    }
    let counts = [set.answers, set.authorities, set.additionals];
    for (fact, count) in counts.iter().zip(header.counts.iter().skip(1)) {
        out.facts().put_number(*fact, u64::from(*count));
    }
    if matches!(header.opcode(), 3 | 7..) {
        out.anomaly(set.invalid_opcode);
    }
    if header.has(0x40) {
        out.anomaly(set.z_flag_set);
    }
}

fn body(set: &Set, message: &[u8], header: Header, rcode: &mut u16, out: &mut dyn Output) -> Result<(), Anomaly> {
    let fault = |fault| match fault {
        Fault::Malformed => set.malformed,
        Fault::Loop => set.compression_loop,
        Fault::TooLong => set.name_too_long,
        Fault::TooMuch => set.names_too_costly,
    };
    let (mut text, mut budget) = (NameText::default(), Budget::default());
    let mut at = HEADER_BYTES;
    for _ in 0..header.counts[0].min(QUESTIONS_MAX) {
        text.clear();
        name::read(message, at, &mut text, &mut budget).map_err(fault)?;
        let (end, kind, class) = question(message, at).ok_or(set.malformed)?;
        at = end;
        if has_room(out, text.as_bytes().len().min(usize::from(set.query_name.limit)) + 24) {
            out.facts().put(set.query_name, text.as_bytes());
            out.facts().put_number(set.query_type, kind.into());
            out.facts().put_number(set.query_class, class.into());
        }
    }
    if header.counts[0] > QUESTIONS_MAX {
        left_out(set, out);
        return Ok(());
    }
    for (section, count) in header.counts.iter().skip(1).enumerate() {
        for index in 0..*count.min(&RECORDS_MAX) {
            let record = record(message, at).ok_or(set.malformed)?;
            at = record.end;
            if record.kind == types::OPT {
                edns(set, record, rcode, out);
            } else if index < RECORDS_KEPT && has_room(out, 64) {
                text.clear();
                name::read(message, record.at, &mut text, &mut budget).map_err(fault)?;
                keep(set, message, section, record, &text, &mut budget, out);
            } else if index <= RECORDS_KEPT {
                left_out(set, out);
            }
        }
        if *count > RECORDS_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// What EDNS adds (RFC 6891 section 6.1.2).
fn edns(set: &Set, record: Record, rcode: &mut u16, out: &mut dyn Output) {
    *rcode |= (record.ttl >> 24) as u16 * 16; // the upper eight of twelve bits
    out.facts().put_number(set.edns_size, record.class.into());
    out.facts().put_number(set.edns_version, u64::from(record.ttl >> 16 & 255));
    out.facts().put_number(set.edns_do, u64::from(record.ttl >> 15 & 1));
}

/// Lets the facts know that something had no room: what can never fit is offered.
fn left_out(set: &Set, out: &mut dyn Output) {
    out.facts().put(set.no_room, &[0; FACTS_BYTES]);
}

/// Puts a record whole or not at all, so that the lists of names, types, times and data stay side by side.
fn keep(
    set: &Set,
    message: &[u8],
    section: usize,
    record: Record,
    owner: &NameText,
    budget: &mut Budget,
    out: &mut dyn Output,
) {
    let Some([name, kind, ttl, data]) = set.sections.get(section).copied() else { return };
    let mut text = NameText::default();
    if rdata::read(message, record.kind, record.data, record.end, &mut text, budget).is_none() {
        text.clear();
    }
    let length = |text: &NameText, limit: u16| text.as_bytes().len().min(usize::from(limit));
    if !has_room(out, length(owner, name.limit) + length(&text, data.limit) + 48) {
        return left_out(set, out);
    }
    out.facts().put(name, owner.as_bytes());
    out.facts().put_number(kind, record.kind.into());
    out.facts().put_number(ttl, record.ttl.into());
    out.facts().put(data, text.as_bytes());
    if matches!(record.kind, types::A | types::AAAA) && !text.is_empty() {
        out.facts().put(set.address, message.get(record.data..record.end).unwrap_or_default());
    }
}

fn has_room(out: &mut dyn Output, bytes: usize) -> bool {
    out.facts().as_bytes().len() + bytes <= FACTS_BYTES
}
