//! The bounded reader of BER and DER elements (X.690), for Kerberos, LDAP, SPNEGO, SNMP, RDP and certificates.
//!
//! Reads what protocols on the wire use: tags of one byte, definite lengths of up to four bytes. Deliberately not read: tags
//! of several bytes, indefinite lengths (both are "not this"). Nothing recurses: the caller opens one level at a time, with
//! the readers that it is given.

use super::bytes::Reader;

/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `OCTET STRING`.
pub const OCTETS: u8 = 0x04;
/// `ENUMERATED`.
pub const ENUMERATED: u8 = 0x0a;
/// `OBJECT IDENTIFIER`.
pub const OBJECT: u8 = 0x06;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `BOOLEAN`.
pub const BOOLEAN: u8 = 0x01;
/// `SEQUENCE`, constructed.
pub const SEQUENCE: u8 = 0x30;
/// `SET`, constructed.
pub const SET: u8 = 0x31;
/// `GeneralString`, the strings of Kerberos.
pub const GENERAL_STRING: u8 = 0x1b;

/// Bytes of a header at most: a tag, the length of the length, four bytes.
pub const HEADER_MAX: usize = 6;

/// What the first bytes of an element say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// All of the header is there.
    Whole {
        /// The tag byte.
        tag: u8,
        /// Bytes of tag and length.
        header: usize,
        /// Bytes of the contents.
        body: usize,
    },
    /// More bytes are needed.
    Short,
    /// No element that is read here.
    Bad,
}

/// Reads tag and length; the contents need not be there.
pub fn header(bytes: &[u8]) -> Header {
    let mut reader = Reader::new(bytes);
    let Some(tag) = reader.u8() else { return Header::Short };
    if tag & 0x1f == 0x1f {
        return Header::Bad;
    }
    let Some(first) = reader.u8() else { return Header::Short };
    if first < 0x80 {
        return Header::Whole { tag, header: 2, body: usize::from(first) };
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Header::Bad;
    }
    let Some(length) = reader.take(count) else { return Header::Short };
    let body = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    Header::Whole { tag, header: 2 + count, body }
}

/// The next element and its tag; what was cut off at the end of `reader` is missing in the contents too.
pub fn any<'a>(reader: &mut Reader<'a>) -> Option<(u8, Reader<'a>)> {
    let Header::Whole { tag, header, body } = header(reader.rest()) else { return None };
    reader.take(header)?;
    let there = body.min(reader.len());
    Some((tag, reader.part(there)?))
}

/// The next element if its tag is `wanted`; otherwise nothing is read.
pub fn open<'a>(reader: &mut Reader<'a>, wanted: u8) -> Option<Reader<'a>> {
    let mut ahead = *reader;
    let (tag, body) = any(&mut ahead)?;
    (tag == wanted).then(|| {
        *reader = ahead;
        body
    })
}

/// The next element and its tag, if all of it is there.
pub fn element<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let mut ahead = *reader;
    let Header::Whole { tag, header, body } = header(ahead.rest()) else { return None };
    ahead.take(header)?;
    let contents = ahead.take(body)?;
    *reader = ahead;
    Some((tag, contents))
}

/// The next element if its tag is `wanted` and all of it is there.
pub fn whole<'a>(reader: &mut Reader<'a>, wanted: u8) -> Option<&'a [u8]> {
    let mut ahead = *reader;
    let (tag, contents) = element(&mut ahead)?;
    (tag == wanted).then(|| {
        *reader = ahead;
        contents
    })
}

/// A number that is not negative, from an `INTEGER` or `ENUMERATED` with this tag.
pub fn number(reader: &mut Reader<'_>, tag: u8) -> Option<u64> {
    let mut ahead = *reader;
    let body = whole(&mut ahead, tag)?;
    let digits = body.strip_prefix(&[0]).unwrap_or(body);
    if body.is_empty() || digits.len() > 8 || (body.len() == digits.len() && body.first()? & 0x80 != 0) {
        return None;
    }
    *reader = ahead;
    Some(digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_whole_short_or_bad() {
        let whole = |tag, header, body| Header::Whole { tag, header, body };
        for (bytes, wanted) in [
            (&[][..], Header::Short),
            (&[0x30], Header::Short),
            (&[0x30, 0x03], whole(0x30, 2, 3)),
            (&[0x30, 0x81], Header::Short),
            (&[0x30, 0x81, 0xff], whole(0x30, 3, 255)),
            (&[0x30, 0x84, 0, 0, 0, 9], whole(0x30, 6, 9)),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], whole(0x30, 6, 0xffff_ffff)),
            (&[0x30, 0x80], Header::Bad),
            (&[0x30, 0x85, 0, 0, 0, 0, 1], Header::Bad),
            (&[0x3f, 0x81, 0x01], Header::Bad),
        ] {
            assert_eq!(header(bytes), wanted, "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_of_another_kind_is_not_read() {
        let mut reader = Reader::new(&[0x02, 0x02, 0x01, 0x00, 0x04, 0x05, b'a']);
        assert!(open(&mut reader, OCTETS).is_none());
        assert_eq!(number(&mut reader, INTEGER), Some(256));
        assert_eq!(whole(&mut reader, OCTETS), None, "four bytes are missing");
        assert_eq!(open(&mut reader, OCTETS).map(|body| body.rest()), Some(&b"a"[..]), "what is there");
        assert!(reader.is_empty());
    }

    #[test]
    fn elements_are_whole_or_none() {
        for bad in [&b""[..], b"\x30", b"\x30\x80\0\0", b"\x30\x02\x01", b"\x30\x82\x01", b"\x30\x84\0\0\0\x01"] {
            assert_eq!(element(&mut Reader::new(bad)), None, "{bad:02x?}");
        }
        assert_eq!(element(&mut Reader::new(b"\x30\x81\x01\x07")), Some((SEQUENCE, &b"\x07"[..])));
    }

    #[test]
    fn numbers_are_not_negative_and_bounded() {
        for (bytes, wanted) in [
            (&[2, 1, 0][..], Some(0)),
            (&[2, 2, 0, 0x80], Some(128)),
            (&[2, 1, 0x80], None),
            (&[2, 0], None),
            (&[2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255], Some(u64::MAX)),
            (&[2, 9, 1, 255, 255, 255, 255, 255, 255, 255, 255], None),
        ] {
            assert_eq!(number(&mut Reader::new(bytes), INTEGER), wanted, "{bytes:?}");
        }
    }
}
