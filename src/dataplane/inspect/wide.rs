//! What Windows writes its names in: UTF-16, GUIDs.

use super::bytes::Reader;
use super::text::Text;

/// The text of UTF-16LE, up to its end or the first NUL, as whole characters; halves of surrogates that stand alone become
/// three bytes each that are no UTF-8, so that no two names are the same.
pub fn utf16<const N: usize>(bytes: &[u8]) -> Text<N> {
    let (mut text, mut used) = (Text::default(), 0);
    let units = bytes.chunks_exact(2).map(|pair| Reader::new(pair).le16().unwrap_or_default());
    for one in char::decode_utf16(units.take_while(|unit| *unit != 0)) {
        let mut buffer = [0; 4];
        let encoded = match one {
            Ok(letter) => letter.encode_utf8(&mut buffer).as_bytes(),
            Err(half) => &half_surrogate(half.unpaired_surrogate())[..],
        };
        used += encoded.len();
        if used > N {
            break;
        }
        text.extend(encoded);
    }
    text
}

/// Half of a surrogate pair as UTF-8 would have it, if it had any.
pub fn half_surrogate(half: u16) -> [u8; 3] {
    // Each below 256.
    [0xe0 | (half >> 12) as u8, 0x80 | (half >> 6 & 63) as u8, 0x80 | (half & 63) as u8]
}

/// A GUID in its usual form from the wire's: three little-endian numbers, eight bytes.
pub fn guid(bytes: [u8; 16]) -> Text<36> {
    let mut text = Text::default();
    let mut reader = Reader::new(&bytes);
    let (a, b, c) = (reader.le32(), reader.le16(), reader.le16());
    let (a, b, c) = (a.unwrap_or_default(), b.unwrap_or_default(), c.unwrap_or_default());
    text.print(format_args!("{a:08x}-{b:04x}-{c:04x}-"));
    text.extend_hex(reader.take(2).unwrap_or_default());
    text.push(b'-');
    text.extend_hex(reader.rest());
    text
}

/// What `arguments` print.
pub fn printed<const N: usize>(arguments: std::fmt::Arguments<'_>) -> Text<N> {
    let mut text = Text::default();
    text.print(arguments);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_becomes_text_and_ends_where_the_room_does() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        assert_eq!(utf16::<32>(&wide("Bär\u{1f600}")).as_bytes(), "Bär\u{1f600}".as_bytes());
        assert_eq!(utf16::<4>(&wide("abcä")).as_bytes(), b"abc", "a character is whole or not there");
        assert_eq!(utf16::<8>(&wide("a\0b")).as_bytes(), b"a");
        assert_eq!(utf16::<8>(&[0x00, 0xd8, b'a']).as_bytes(), b"\xed\xa0\x80");
        assert_eq!(utf16::<8>(&[0xff, 0xdf, b'a', 0]).as_bytes(), b"\xed\xbf\xbfa");
    }

    #[test]
    fn a_guid_has_its_usual_form() {
        let wire = [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03];
        assert_eq!(guid(wire).as_bytes(), b"367abb81-9844-35f1-ad32-98f038001003");
        assert_eq!(printed::<8>(format_args!("{}.{}", 10, 0)).as_bytes(), b"10.0");
    }
}
