//! HPACK (RFC 7541) without the dynamic table: what refers to it is passed over.

use super::super::bytes::Reader;

/// Bytes of a name, and of a value, that are decoded; longer ones are cut.
const NAME_MAX: usize = 64;
const VALUE_MAX: usize = 1024;
/// Fields of a block that are decoded.
pub(super) const FIELDS_MAX: usize = 128;

/// The static table (appendix A), from index 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Shows each field of a block. False where the block is broken.
pub(super) fn fields(block: &[u8], mut show: impl FnMut(&[u8], &[u8])) -> bool {
    let mut reader = Reader::new(block);
    for _ in 0..FIELDS_MAX {
        let Some(first) = reader.rest().first().copied() else { return true };
        if field(first, &mut reader, &mut show).is_none() {
            return false;
        }
    }
    true
}

fn field(first: u8, reader: &mut Reader<'_>, show: &mut impl FnMut(&[u8], &[u8])) -> Option<()> {
    if first & 0x80 != 0 {
        let index = integer(reader, 7)?;
        if index == 0 {
            return None;
        }
        if let Some((name, value)) = entry(index) {
            show(name.as_bytes(), value.as_bytes());
        }
        return Some(());
    }
    if first & 0xe0 == 0x20 {
        return integer(reader, 5).map(|_| ()); // size of the dynamic table
    }
    let index = integer(reader, if first & 0xc0 == 0x40 { 6 } else { 4 })?;
    let (mut name, mut value) = ([0; NAME_MAX], [0; VALUE_MAX]);
    let name = match index {
        0 => string(reader, &mut name)?,
        // Of the dynamic table: a name that is not known.
        index => entry(index).map_or(&b""[..], |(name, _)| name.as_bytes()),
    };
    let value = string(reader, &mut value)?;
    show(name, value);
    Some(())
}

fn entry(index: u32) -> Option<(&'static str, &'static str)> {
    STATIC.get(usize::try_from(index.checked_sub(1)?).ok()?).copied()
}

/// An integer with a prefix of so many bits (section 5.1); at most three bytes behind it.
fn integer(reader: &mut Reader<'_>, prefix: u32) -> Option<u32> {
    let mask = (1u32 << prefix) - 1;
    let mut value = u32::from(reader.u8()?) & mask;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = reader.u8()?;
        value += u32::from(byte & 0x7f) << shift; // below 2^21 and the prefix
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A string (section 5.2), as much of it as has room.
fn string<'a>(reader: &mut Reader<'_>, place: &'a mut [u8]) -> Option<&'a [u8]> {
    let is_coded = reader.rest().first()? & 0x80 != 0;
    let length = integer(reader, 7)?;
    let bytes = reader.take(usize::try_from(length).ok()?)?;
    if is_coded {
        return huffman(bytes, place);
    }
    let used = bytes.len().min(place.len());
    place.get_mut(..used)?.copy_from_slice(bytes.get(..used)?);
    place.get(..used)
}

/// Bits of the code of each byte (appendix B); the code is canonical, so they say it all. The end of a string is left out.
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];
/// Bits of the longest code.
const LONGEST: usize = 30;

/// Bytes in the order of their codes; how many have codes of each length.
const CODES: ([u8; 256], [u16; LONGEST + 1]) = codes();

// Runs in the compiler, where a wrong index is an error.
#[allow(clippy::indexing_slicing)]
const fn codes() -> ([u8; 256], [u16; LONGEST + 1]) {
    let (mut order, mut counts) = ([0; 256], [0; LONGEST + 1]);
    let (mut used, mut length) = (0, 1);
    while length <= LONGEST {
        let mut byte = 0;
        while byte < 256 {
            if BITS[byte] as usize == length {
                order[used] = byte as u8;
                used += 1;
                counts[length] += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    (order, counts)
}

/// Decodes as much as has room; `None` where a code is none.
fn huffman<'a>(bytes: &[u8], place: &'a mut [u8]) -> Option<&'a [u8]> {
    let (mut written, mut code, mut length, mut first, mut index) = (0usize, 0u32, 0usize, 0u32, 0u32);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        (code, first, length) = (code << 1 | u32::from(bit), first << 1, length + 1);
        let count = u32::from(*CODES.1.get(length)?);
        match code.checked_sub(first).filter(|offset| *offset < count) {
            Some(offset) => {
                let Some(slot) = place.get_mut(written) else { break };
                *slot = *CODES.0.get((index + offset) as usize)?; // below 256
                written += 1;
                (code, length, first, index) = (0, 0, 0, 0);
            }
            None => (first, index) = (first + count, index + count),
        }
    }
    place.get(..written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_specification() {
        // RFC 7541 appendix C.4.1, C.6.1 (as far as the static table tells).
        let request = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let mut found = Vec::new();
        assert!(fields(request, |name, value| found.push(format!("{}={}", text(name), text(value)))));
        assert_eq!(found, [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"]);
        let response = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x40\x03a-b\x01c\xbf\x3f\xe1\x1f";
        found.clear();
        assert!(fields(response, |name, value| found.push(format!("{}={}", text(name), text(value)))));
        assert_eq!(found, [":status=302", "cache-control=private", "a-b=c"]);
        for at in 0..response.len() {
            fields(&response[..at], |_, _| {});
        }
        assert!(!fields(b"\x80", |_, _| {}) && !fields(b"\x7f\xff\xff\xff\xff", |_, _| {}));
        let mut place = [0; 4];
        assert_eq!(huffman(&[0; 100], &mut place), Some(&b"0000"[..]), "as much as has room");
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
}
