//! Types and sizes of records: of TLS within its stream, of DTLS and QUIC within their datagrams.

use super::RECORDS;
use crate::dataplane::inspect::Reader;

/// QUIC: a packet with a short header.
const QUIC_SHORT: u8 = 0x40;
/// QUIC: a packet with a long header, plus the two bits of its type.
const QUIC_LONG: u8 = 0x80;
/// Packets or records looked at in one datagram.
const DATAGRAM_MAX: usize = 8;
/// Bytes of a TLS record at most, header apart (RFC 8446 section 5.2; TLS 1.2 allows more).
const LONGEST: u16 = (1 << 14) + 2048;

/// Records of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Records {
    /// How many, at most [`RECORDS`].
    pub count: u8,
    /// Their types: those of TLS and DTLS (20 to 24), 0x80 and two bits of QUIC's long headers, 0x40 for its short one.
    pub kinds: [u8; RECORDS],
    /// Bytes that their headers claim, those of QUIC with the header.
    pub sizes: [u16; RECORDS],
}

impl Records {
    /// Type and size of record `index`.
    pub fn get(&self, index: usize) -> Option<(u8, u16)> {
        let kinds = self.kinds.get(..usize::from(self.count))?;
        Some((*kinds.get(index)?, *self.sizes.get(index)?))
    }

    fn put(&mut self, kind: u8, size: u16) {
        let at = usize::from(self.count);
        if let (Some(kinds), Some(sizes)) = (self.kinds.get_mut(at), self.sizes.get_mut(at)) {
            (*kinds, *sizes) = (kind, size);
            self.count += 1;
        }
    }

    fn is_full(&self) -> bool {
        usize::from(self.count) >= RECORDS
    }
}

/// Where a side of a TLS stream stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Follower {
    /// Sequence number of the next byte.
    next: u32,
    /// Bytes of the present record that are to come.
    left: u32,
    /// What is there of the next header.
    header: [u8; 5],
    have: u8,
    has_begun: bool,
    is_over: bool,
}

impl Follower {
    /// A segment of `announced` bytes, of which `bytes` were captured. Followed while they come in order; what was seen before
    /// is passed over, and what is no record ends it.
    pub(super) fn segment(&mut self, sequence: u32, bytes: &[u8], announced: u32, records: &mut Records) {
        if self.is_over {
            return;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            self.next = sequence;
        }
        // Sequence numbers compare within half their range (RFC 9293 section 3.4).
        let ahead = sequence.wrapping_sub(self.next).cast_signed();
        let old = ahead.unsigned_abs();
        if ahead > 0 || (bytes.len() as u64) < u64::from(announced) {
            self.is_over = true;
            return;
        }
        let Some(new) = bytes.get(old as usize..).filter(|new| !new.is_empty()) else { return };
        self.next = self.next.wrapping_add(new.len() as u32); // at most a packet
        self.is_over = !self.read(new, records);
    }

    /// Gives whether to go on.
    fn read(&mut self, mut bytes: &[u8], records: &mut Records) -> bool {
        // Each round takes a header's byte or a record.
        while !bytes.is_empty() && !records.is_full() {
            let passed = (self.left as usize).min(bytes.len());
            self.left -= passed as u32; // at most what was left
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { break };
            if let Some(place) = self.header.get_mut(usize::from(self.have)) {
                *place = *first;
            }
            (self.have, bytes) = (self.have + 1, rest);
            let [kind, major, minor, high, low] = self.header;
            let size = u16::from_be_bytes([high, low]);
            let fits = match self.have {
                1 => (20..=24).contains(&kind),
                2 => major == 3,
                3 => minor <= 4,
                4 => true,
                _ => size <= LONGEST,
            };
            if !fits {
                return false;
            }
            if self.have == 5 {
                records.put(kind, size);
                (self.have, self.left) = (0, u32::from(size));
            }
        }
        !records.is_full()
    }
}

/// The types of records by the number that stands for each where there are four bits for it.
const KINDS: [u8; 11] = [0, 20, 21, 22, 23, 24, QUIC_SHORT, QUIC_LONG, QUIC_LONG | 1, QUIC_LONG | 2, QUIC_LONG | 3];

/// The number of a type, 0 for none.
pub(super) fn number_of(kind: u8) -> u64 {
    KINDS.iter().position(|known| *known == kind).unwrap_or(0) as u64
}

/// The type of a number.
pub(super) fn kind_of(number: u64) -> u8 {
    KINDS.get(number as usize).copied().unwrap_or(0)
}

/// Type of the TLS record that begins a segment; 0: none does.
pub(super) fn tls(bytes: &[u8]) -> u8 {
    match bytes {
        [kind @ 20..=24, 3, 0..=4, _, _, ..] => *kind,
        _ => 0,
    }
}

/// The records or packets of a datagram; type of the first of them that was taken, 0 if none was.
pub(super) fn datagram(bytes: &[u8], is_quic: &mut bool, records: &mut Records) -> u8 {
    let (mut rest, mut first) = (bytes, 0);
    for _ in 0..DATAGRAM_MAX {
        if rest.is_empty() || records.is_full() {
            break;
        }
        let Some((kind, size, total)) = dtls(rest).or_else(|| quic(rest, is_quic)) else { break };
        records.put(kind, size);
        first = if first == 0 { kind } else { first };
        rest = rest.get(total..).unwrap_or_default();
    }
    first
}

/// Type, size and all bytes of a DTLS record (RFC 6347 section 4.1).
fn dtls(bytes: &[u8]) -> Option<(u8, u16, usize)> {
    let (&[kind, major, minor, .., high, low], _) = bytes.split_first_chunk::<13>()?;
    let size = u16::from_be_bytes([high, low]);
    let is_record = (20..=24).contains(&kind) && major == 0xfe && matches!(minor, 0xfd | 0xff) && size <= LONGEST;
    is_record.then_some((kind, size, 13 + usize::from(size)))
}

/// The same of a QUIC packet (RFC 9000 section 17); a short header is believed behind a long one of the flow.
fn quic(bytes: &[u8], is_quic: &mut bool) -> Option<(u8, u16, usize)> {
    let all = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    if first & 0xc0 == 0x40 && *is_quic {
        return Some((QUIC_SHORT, all, bytes.len()));
    }
    let version = reader.be32()?;
    if first & 0xc0 != 0xc0 || !matches!(version, 1 | 0x6b33_43cf | 0xff00_0000..=0xff00_00ff) {
        return None;
    }
    *is_quic = true;
    for _ in 0..2 {
        let id = reader.u8()?;
        reader.take(usize::from(id))?;
    }
    let kind = first >> 4 & 3;
    let (initial, retry) = if version == 0x6b33_43cf { (1, 0) } else { (0, 3) };
    if kind == retry {
        return Some((QUIC_LONG | kind, all, bytes.len()));
    }
    if kind == initial {
        let token = varint(&mut reader)?;
        reader.take(usize::try_from(token).ok()?)?;
    }
    let length = usize::try_from(varint(&mut reader)?).ok()?;
    let total = (bytes.len() - reader.len()).checked_add(length).filter(|total| *total <= bytes.len())?;
    Some((QUIC_LONG | kind, u16::try_from(total).unwrap_or(u16::MAX), total))
}

/// A number of 1, 2, 4 or 8 bytes (RFC 9000 section 16).
fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let rest = reader.take((1 << (first >> 6)) - 1)?;
    Some(rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}
