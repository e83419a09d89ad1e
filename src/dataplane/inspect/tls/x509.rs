//! What certificates have in DER (RFC 5280): times, names of algorithms, distinguished names.

use super::super::bytes::Reader;
use super::super::der;
use super::super::text::Text;
use super::super::wide::half_surrogate;

/// Tags of X.690 that nobody else reads.
pub mod tag {
    pub const BMP_STRING: u8 = 0x1e;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const CONTEXT_0: u8 = 0xa0;
    pub const CONTEXT_3: u8 = 0xa3;
}

/// A `Time` (RFC 5280 section 4.1.2.5) as seconds since 1970; earlier ones are 0.
pub fn time(tag: u8, content: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(content);
    let year = match tag {
        tag::UTC_TIME => digits(&mut reader).map(|two| if two >= 50 { 1900 + two } else { 2000 + two })?,
        tag::GENERALIZED_TIME => digits(&mut reader)? * 100 + digits(&mut reader)?,
        _ => return None,
    };
    let (month, day) = (digits(&mut reader)?, digits(&mut reader)?);
    let (hour, minute) = (digits(&mut reader)?, digits(&mut reader)?);
    let second = digits(&mut reader).unwrap_or(0); // UTCTime may leave them out
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let days = days_since_1970(year, month, day);
    in_range.then(|| days.map_or(0, |days| days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// Two decimal digits.
fn digits(reader: &mut Reader<'_>) -> Option<u64> {
    let mut ahead = *reader;
    let [tens, ones] = ahead.array()?;
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    *reader = ahead;
    Some(u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, for years up to 9999; `None` before.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month <= 2 { (year.checked_sub(1)?, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    days.checked_sub(719_469)
}

/// Parts of an object identifier that are written at most.
const OBJECT_PARTS_MAX: usize = 32;

/// An object identifier in dotted decimal. Gives whether it has more parts than are written.
pub fn push_object<const N: usize>(object: &[u8], text: &mut Text<N>) -> bool {
    let (mut value, mut parts) = (0u64, 0);
    for (at, byte) in object.iter().enumerate() {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if parts == 0 {
            let first = (value / 40).min(2);
            text.print(format_args!("{first}.{}", value - first * 40));
        } else {
            text.print(format_args!(".{value}"));
        }
        (value, parts) = (0, parts + 1);
        if parts == OBJECT_PARTS_MAX {
            return at + 1 < object.len();
        }
    }
    false
}

fn is_full<const N: usize>(text: &Text<N>) -> bool {
    text.as_bytes().len() == N
}

/// Attributes of a distinguished name that are read at most.
pub(in crate::dataplane::inspect) const ATTRIBUTES_MAX: usize = 32;

/// A `Name` (RFC 5280 section 4.1.2.4) as `C=.., O=.., CN=..`, in its order. See [`push_value`] for
/// marks in values. Gives whether there was more than is read, or than `text` has room for.
pub fn push_name<const N: usize>(content: &[u8], text: &mut Text<N>) -> Option<bool> {
    let mut names = Reader::new(content);
    let (mut count, mut has_more) = (0, false);
    while !names.is_empty() && count < ATTRIBUTES_MAX && !is_full(text) {
        let mut set = Reader::new(der::whole(&mut names, der::SET)?);
        while !set.is_empty() && count < ATTRIBUTES_MAX {
            let mut attribute = Reader::new(der::whole(&mut set, der::SEQUENCE)?);
            let object = der::whole(&mut attribute, der::OBJECT)?;
            let (kind, value) = der::element(&mut attribute)?;
            if count > 0 {
                text.extend(b", ");
            }
            has_more |= push_attribute(object, text);
            text.extend(b"=");
            push_value(kind, value, text);
            count += 1;
        }
        has_more |= !set.is_empty();
    }
    Some(has_more || !names.is_empty())
}

/// Gives whether its number is cut.
fn push_attribute<const N: usize>(object: &[u8], text: &mut Text<N>) -> bool {
    let name: &[u8] = match object {
        [0x55, 4, 3] => b"CN",
        [0x55, 4, 4] => b"SN",
        [0x55, 4, 5] => b"serialNumber",
        [0x55, 4, 6] => b"C",
        [0x55, 4, 7] => b"L",
        [0x55, 4, 8] => b"ST",
        [0x55, 4, 9] => b"street",
        [0x55, 4, 10] => b"O",
        [0x55, 4, 11] => b"OU",
        [0x55, 4, 12] => b"title",
        [0x55, 4, 13] => b"description",
        [0x55, 4, 15] => b"businessCategory",
        [0x55, 4, 17] => b"postalCode",
        [0x55, 4, 42] => b"GN",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => b"emailAddress",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 2] => b"unstructuredName",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => b"DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => b"UID",
        _ => return push_object(object, text),
    };
    text.extend(name);
    false
}

/// A string; UTF-16 of a BMPString becomes UTF-8, all others stay as they are. What would read as the end of the value has a
/// backslash in front, as in RFC 4514: a comma that a name and `=` follow, and so the backslashes before such a comma and at
/// the end. Other commas stay as they are everywhere else (`O=Example, Inc.`).
fn push_value<const N: usize>(kind: u8, value: &[u8], text: &mut Text<N>) {
    let mut wide = Text::<N>::default();
    let value = match kind {
        tag::BMP_STRING => {
            push_wide(value, &mut wide);
            wide.as_bytes()
        }
        _ => value,
    };
    let mut slashes = 0;
    for (at, byte) in value.iter().enumerate() {
        if is_full(text) {
            return;
        }
        if *byte == b',' && begins_attribute(value.get(at + 1..).unwrap_or_default()) {
            (0..=slashes).for_each(|_| text.push(b'\\'));
        }
        slashes = if *byte == b'\\' { slashes + 1 } else { 0 };
        text.push(*byte);
    }
    (0..slashes).for_each(|_| text.push(b'\\'));
}

fn push_wide<const N: usize>(value: &[u8], text: &mut Text<N>) {
    for pair in value.as_chunks::<2>().0 {
        let unit = u16::from_be_bytes(*pair);
        if is_full(text) {
            return;
        }
        match char::from_u32(unit.into()) {
            Some(letter) => text.extend(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None => text.extend(&half_surrogate(unit)),
        }
    }
}

/// Do a blank, a name of an attribute and `=` stand here?
fn begins_attribute(bytes: &[u8]) -> bool {
    let name = bytes.strip_prefix(b" ").unwrap_or_default();
    let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.').count();
    length > 0 && name.get(length) == Some(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_from_two() {
        for (value, wanted) in [
            ("Example, Inc.", "Example, Inc."),
            ("a, O=b", "a\\, O=b"),
            ("a\\, O=b", "a\\\\\\, O=b"),
            ("a\\", "a\\\\"),
            ("a\\b, 2.5.4.3=c", "a\\b\\, 2.5.4.3=c"),
            (",x=y, =z", ",x=y, =z"),
        ] {
            let mut text = Text::<64>::default();
            push_value(0x0c, value.as_bytes(), &mut text);
            assert_eq!(String::from_utf8_lossy(text.as_bytes()), wanted);
        }
    }

    #[test]
    fn times_are_seconds() {
        for (tag, text, wanted) in [
            (tag::UTC_TIME, &b"700101000000Z"[..], Some(0)),
            (tag::UTC_TIME, b"191217011728Z", Some(1_576_545_448)),
            (tag::UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
            (tag::UTC_TIME, b"500101000000Z", Some(0)),
            (tag::UTC_TIME, b"2402290000Z", Some(1_709_164_800)),
            (tag::GENERALIZED_TIME, b"20500101000000Z", Some(2_524_608_000)),
            (tag::GENERALIZED_TIME, b"99991231235959Z", Some(253_402_300_799)),
            (tag::GENERALIZED_TIME, b"00000101000000Z", Some(0)),
            (tag::UTC_TIME, b"191317011728Z", None),
            (tag::UTC_TIME, b"1912x7011728Z", None),
            (der::INTEGER, b"191217011728Z", None),
        ] {
            assert_eq!(time(tag, text), wanted, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn objects_are_dotted() {
        for (object, wanted) in [
            (&[0x55, 4, 3][..], "2.5.4.3"),
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], "1.2.840.113549.1.1.11"),
            (&[0x88, 0x37], "2.999"),
            (&[0x80], ""),
        ] {
            let mut text = Text::<40>::default();
            push_object(object, &mut text);
            assert_eq!(String::from_utf8_lossy(text.as_bytes()), wanted);
        }
        let mut text = Text::<10>::default();
        push_object(&[0x7f; 4000], &mut text);
        assert_eq!(text.as_bytes().len(), 10, "a bomb fills its room and no more");
    }
}
