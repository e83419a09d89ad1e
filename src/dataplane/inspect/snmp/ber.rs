//! The part of BER (X.690) that SNMP uses: tags of one byte, definite lengths of at most four bytes.

use crate::dataplane::inspect::bytes::Reader;

/// Tag of an integer.
pub const INTEGER: u8 = 0x02;
/// Tag of bytes.
pub const OCTETS: u8 = 0x04;
/// Tag of an object identifier.
pub const OID: u8 = 0x06;
/// Tag of a sequence.
pub const SEQUENCE: u8 = 0x30;
/// Tag of an IPv4 address (RFC 1155).
pub const IP_ADDRESS: u8 = 0x40;

/// The next tag and value.
pub fn any<'a>(reader: &mut Reader<'a>) -> Option<(u8, Reader<'a>)> {
    let tag = reader.u8()?;
    let length = match reader.u8()? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let bytes = reader.take(usize::from(long & 0x7f))?;
            bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    Some((tag, reader.part(length)?))
}

/// The next value, if its tag is `tag`.
pub fn expect<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    any(reader).and_then(|(found, value)| (found == tag).then_some(value))
}

/// The next value, an integer of 1 to 8 bytes (sign not minded).
pub fn integer(reader: &mut Reader<'_>) -> Option<u64> {
    let value = expect(reader, INTEGER)?.rest();
    (1..=8).contains(&value.len()).then(|| value.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
