//! Heads of mails (RFC 5322) and of their parts (RFC 2045): who wrote what to whom, and what the attachments are called.
//!
//! A field is read once all of it is there, whatever lines it has; encoded words (RFC 2047) and parameters (RFC 2231) are
//! decoded where the name of their characters is one that browsers know, and left as they are else. Deliberately not read:
//! bodies, of which only the lines that part them are looked for.

use super::super::facts::Fact;
use super::super::lines;
use super::super::parse::Output;
use super::super::text::Text;
use super::{ATTACHMENT, CC, DATE, FROM, MESSAGE_ID, SUBJECT, TO, X_MAILER};
use encoding_rs::{CoderResult, Encoding};

/// Bytes of a field with all its lines. RFC 5322 section 2.1.1 has 998 to a line; lists of recipients have many.
pub const FIELD_MAX: usize = 2048;
/// Bytes of the head of a mail, or of one of its parts. Filters put kilobytes of their own in front.
pub const HEAD_MAX: usize = 32 * 1024;
/// Kinds of boundaries at once: a mail with a text in two forms, pictures and attachments has three.
pub const BOUNDARIES_MAX: usize = 4;
/// Bytes of a line that may be a boundary: two dashes, 70 characters (RFC 2046 section 5.1.1), two dashes, blanks.
const BOUNDARY_LINE: usize = 128;
/// Bytes of an encoded word: RFC 2047 section 2 has 75, which few keep to.
const WORD_MAX: usize = 512;
/// Bytes of a value that is decoded: more than is kept of any.
const VALUE_MAX: usize = 513;

/// Where in a mail the next byte is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Place {
    /// Where nothing is read any more, or yet.
    #[default]
    Over,
    /// In its head.
    Head,
    /// In the head of a part, or of a mail within it.
    PartHead,
    /// In a body that may have parts.
    Body,
}

/// How far a mail was read.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Mail {
    /// Of each boundary a digest; 0 for none.
    boundaries: [u32; BOUNDARIES_MAX],
    /// Bytes of this head.
    read: u16,
    place: Place,
    /// A line begins with the next byte.
    pub(super) is_line: bool,
    /// In a line that is too long.
    is_dropping: bool,
    /// The part at hand is a mail itself.
    is_mail: bool,
    /// A name of this part was told.
    is_named: bool,
}

/// What is next in a mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// So many bytes of no interest.
    Passed(usize),
    /// So many bytes to be read.
    Read(usize),
    /// More bytes would tell.
    More,
}

impl Mail {
    /// Its first byte is next.
    pub(super) fn begin() -> Mail {
        Mail { place: Place::Head, is_line: true, ..Mail::default() }
    }

    /// There may be more to read in it.
    pub(super) fn reads(&self) -> bool {
        self.place != Place::Over
    }

    /// What `bytes` begin with.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Piece {
        if std::mem::take(&mut self.is_dropping) {
            let end = memchr::memchr(b'\n', bytes);
            self.is_dropping = end.is_none();
            return Piece::Passed(end.map_or(bytes.len(), |at| at + 1));
        }
        match self.place {
            Place::Over => Piece::Passed(bytes.len()),
            Place::Head | Place::PartHead => {
                let shown = bytes.get(..=FIELD_MAX).unwrap_or(bytes);
                match field_bytes(shown) {
                    Some(length) => Piece::Read(length),
                    None if shown.len() <= FIELD_MAX => Piece::More,
                    None => {
                        self.is_dropping = true;
                        Piece::Read(FIELD_MAX)
                    }
                }
            }
            Place::Body => between(bytes, self.is_line),
        }
    }

    /// Bytes that [`Piece::Read`] told of.
    pub(super) fn read(&mut self, bytes: &[u8], out: &mut dyn Output) {
        if self.place == Place::Body {
            if self.is_boundary(bytes) {
                (self.place, self.read, self.is_mail, self.is_named) = (Place::PartHead, 0, false, false);
            }
            return;
        }
        let read = usize::from(self.read) + bytes.len();
        self.read = u16::try_from(read).unwrap_or(u16::MAX);
        if matches!(bytes, b"\n" | b"\r\n") {
            return self.head_ends();
        }
        if self.is_dropping || read > HEAD_MAX {
            out.facts().mark_truncated();
        }
        if read > HEAD_MAX {
            return self.head_ends();
        }
        if let Some((name, value)) = lines::split(bytes, b':') {
            self.field(name.trim_ascii_end(), value, out);
        }
    }

    /// Bytes are missing: of a head the next line may be of any part.
    pub(super) fn tear(&mut self, out: &mut dyn Output) {
        (self.is_dropping, self.is_line) = (false, true);
        if matches!(self.place, Place::Head | Place::PartHead) {
            out.facts().mark_truncated();
            self.head_ends();
        }
    }

    fn head_ends(&mut self) {
        if std::mem::take(&mut self.is_mail) {
            (self.place, self.read) = (Place::PartHead, 0);
            return;
        }
        self.place = if self.boundaries == [0; BOUNDARIES_MAX] { Place::Over } else { Place::Body };
    }

    fn field(&mut self, name: &[u8], value: &[u8], out: &mut dyn Output) {
        const FIELDS: [(&[u8], Fact); 7] = [
            (b"from", FROM),
            (b"to", TO),
            (b"cc", CC),
            (b"subject", SUBJECT),
            (b"date", DATE),
            (b"message-id", MESSAGE_ID),
            (b"x-mailer", X_MAILER),
        ];
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"content-type") {
            self.content_type(value, out);
        } else if is(b"content-disposition") {
            self.attachment(value, b"filename", out);
        } else if self.place == Place::Head
            && let Some((_, fact)) = FIELDS.iter().find(|(field, _)| is(field))
        {
            let mut text = Text::<VALUE_MAX>::default();
            decode(value, &mut text);
            out.facts().put(*fact, text.as_bytes());
        }
    }

    /// RFC 2045 section 5.
    fn content_type(&mut self, value: &[u8], out: &mut dyn Output) {
        let kind = value.trim_ascii_start();
        if lines::after(kind, b"multipart/").is_some() {
            let boundary = Parameters(value).find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
            if let Some((_, boundary)) = boundary.filter(|(_, boundary)| !boundary.is_empty()) {
                self.remember(digest(boundary), out);
            }
            return;
        }
        self.is_mail = lines::after(kind, b"message/rfc822").is_some();
        self.attachment(value, b"name", out);
    }

    fn remember(&mut self, boundary: u32, out: &mut dyn Output) {
        if self.boundaries.contains(&boundary) {
            return;
        }
        match self.boundaries.iter_mut().find(|place| **place == 0) {
            Some(place) => *place = boundary,
            None => out.facts().mark_truncated(),
        }
    }

    /// A line that begins with two dashes: does it part what a field said it would?
    fn is_boundary(&self, line: &[u8]) -> bool {
        let text = line.get(2..).unwrap_or_default().trim_ascii_end();
        !text.is_empty() && self.boundaries.contains(&digest(text))
    }

    /// What a part is called. Its two fields may differ, and programs differ in which of them a file is saved by: both are told.
    fn attachment(&mut self, value: &[u8], key: &[u8], out: &mut dyn Output) {
        let mut name = Text::<VALUE_MAX>::default();
        for (parameter, raw) in Parameters(value) {
            let Some(rest) = lines::after(parameter, key) else { continue };
            let is_encoded = rest.ends_with(b"*");
            match rest {
                b"" if name.is_empty() => decode(raw, &mut name),
                b"" => {}
                [b'*', ..] if is_encoded => percent(raw, name.is_empty(), &mut name),
                [b'*', ..] => name.extend(raw),
                _ => {}
            }
        }
        if name.is_empty() {
            return;
        }
        let kept = name.as_bytes().get(..ATTACHMENT.limit.into()).unwrap_or(name.as_bytes());
        let is_told = std::mem::replace(&mut self.is_named, true) && out.facts().all(ATTACHMENT).last() == Some(kept);
        if !is_told {
            out.facts().put(ATTACHMENT, name.as_bytes());
        }
    }
}

/// Bytes of the field that is at the front, with the lines it goes on in; `None` where that is not sure. An empty line is one.
fn field_bytes(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        let line = bytes.get(end..)?;
        end += memchr::memchr(b'\n', line)? + 1;
        if matches!(bytes.get(..end)?, b"\n" | b"\r\n") || !matches!(bytes.get(end)?, b' ' | b'\t') {
            return Some(end);
        }
    }
}

/// A line of a body that begins with two dashes, or what is in front of the next one.
fn between(bytes: &[u8], is_line: bool) -> Piece {
    if is_line && bytes.starts_with(b"--") {
        let shown = bytes.get(..BOUNDARY_LINE).unwrap_or(bytes);
        return match memchr::memchr(b'\n', shown) {
            Some(at) => Piece::Read(at + 1),
            None if shown.len() < BOUNDARY_LINE => Piece::More,
            None => Piece::Passed(shown.len()),
        };
    }
    if is_line && bytes == b"-" {
        return Piece::More;
    }
    match memchr::memmem::find(bytes, b"\n--") {
        Some(at) => Piece::Passed(at + 1),
        None => Piece::Passed(bytes.len() - usize::from(bytes.ends_with(b"\n-"))),
    }
}

/// FNV-1a; never 0.
fn digest(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)) | 1
}

/// What follows a value: names, and values without their quotes.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (_, rest) = lines::split(self.0, b';')?;
            let (name, rest) = lines::split(rest, b'=').unwrap_or((rest, &[]));
            let rest = rest.trim_ascii_start();
            let (value, after) = match rest.strip_prefix(b"\"") {
                Some(quoted) => {
                    let end = quote_end(quoted);
                    (quoted.get(..end).unwrap_or(quoted), quoted.get(end..).unwrap_or_default())
                }
                None => {
                    let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
                    rest.split_at_checked(end).unwrap_or((rest, &[]))
                }
            };
            self.0 = after;
            // One without a value: what follows is another one's.
            let name = name.rsplit(|byte| *byte == b';').next().unwrap_or(name).trim_ascii();
            if !name.is_empty() {
                return Some((name, value.trim_ascii()));
            }
        }
    }
}

/// Where quoted text ends.
fn quote_end(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match text.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at.min(text.len()),
            Some(_) => at += 1,
        }
    }
}

/// Which characters bytes stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Charset {
    /// Or ASCII: as they are.
    Utf8,
    /// As browsers read the name (WHATWG's encodings): what says Latin 1 is Windows 1252.
    Other(&'static Encoding),
}

impl Charset {
    fn of(name: &[u8]) -> Option<Charset> {
        let utf8: [&[u8]; 2] = [b"us-ascii", b"ascii"];
        if utf8.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            return Some(Charset::Utf8);
        }
        match Encoding::for_label_no_replacement(name)? {
            encoding if encoding == encoding_rs::UTF_8 => Some(Charset::Utf8),
            encoding => Some(Charset::Other(encoding)),
        }
    }

    /// Adds what the bytes say, on one line.
    fn decode<const N: usize>(self, bytes: &[u8], text: &mut Text<N>) {
        let Charset::Other(encoding) = self else { return put_line(bytes, text) };
        let (mut decoder, mut rest, mut place) = (encoding.new_decoder_without_bom_handling(), bytes, [0; VALUE_MAX]);
        // A byte comes to three at most, so that a few rounds do.
        while !text.is_cut() {
            let (result, read, written, _) = decoder.decode_to_utf8(rest, &mut place, true);
            put_line(place.get(..written).unwrap_or_default(), text);
            rest = rest.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty || read == 0 && written == 0 {
                return;
            }
        }
    }
}

/// Text has no lines.
fn put_line<const N: usize>(bytes: &[u8], text: &mut Text<N>) {
    bytes.iter().for_each(|byte| text.push(if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
}

/// A value on one line, its encoded words decoded: blanks between two of them, and where lines were folded, go.
fn decode<const N: usize>(value: &[u8], text: &mut Text<N>) {
    let (mut rest, mut had_word, mut blank) = (value.trim_ascii(), false, false);
    while let Some((first, after)) = rest.split_first() {
        if first.is_ascii_whitespace() {
            (rest, blank) = (after, true);
            continue;
        }
        let word = encoded_word(rest);
        if blank && !(had_word && word.is_some()) {
            text.push(b' ');
        }
        (blank, had_word) = (false, word.is_some());
        match word {
            Some(word) => {
                word.decode(text);
                rest = rest.get(word.bytes..).unwrap_or_default();
            }
            None => {
                // A backslash in front of what would end quoted text.
                let is_escape = *first == b'\\' && matches!(after.first(), Some(b'"' | b'\\'));
                rest = if is_escape { after } else { rest };
                text.push(rest.first().copied().unwrap_or_default());
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
}

/// RFC 2047 section 2.
struct Word<'a> {
    charset: Charset,
    is_base64: bool,
    text: &'a [u8],
    /// All of it.
    bytes: usize,
}

fn encoded_word(bytes: &[u8]) -> Option<Word<'_>> {
    let body = bytes.get(..WORD_MAX).unwrap_or(bytes).strip_prefix(b"=?")?;
    let (charset, rest) = lines::split(body, b'?')?;
    let (encoding, rest) = lines::split(rest, b'?')?;
    let (text, rest) = lines::split(rest, b'?')?;
    rest.strip_prefix(b"=")?;
    let is_base64 = match encoding {
        b"B" | b"b" => true,
        b"Q" | b"q" => false,
        _ => return None,
    };
    // A language may follow (RFC 2231 section 5).
    let charset = Charset::of(charset.split(|byte| *byte == b'*').next()?)?;
    let bytes = b"=?".len() + charset_bytes(body, text) + text.len() + b"?=".len();
    Some(Word { charset, is_base64, text, bytes })
}

/// Bytes in front of the text of an encoded word.
fn charset_bytes(body: &[u8], text: &[u8]) -> usize {
    let mut marks = memchr::memchr_iter(b'?', body);
    let _charset = marks.next();
    marks.next().map_or(body.len() - text.len(), |at| at + 1)
}

impl Word<'_> {
    fn decode<const N: usize>(&self, text: &mut Text<N>) {
        if self.is_base64 {
            let mut place = [0; WORD_MAX];
            return self.charset.decode(lines::base64(self.text, &mut place), text);
        }
        let (mut rest, mut bytes) = (self.text, Text::<WORD_MAX>::default());
        while let Some((first, after)) = rest.split_first() {
            let (byte, after) = match first {
                b'_' => (b' ', after),
                b'=' => escaped(after).map_or((b'=', after), |byte| (byte, after.get(2..).unwrap_or_default())),
                byte => (*byte, after),
            };
            bytes.push(byte);
            rest = after;
        }
        self.charset.decode(bytes.as_bytes(), text);
    }
}

/// A byte of two hexadecimal digits.
fn escaped(bytes: &[u8]) -> Option<u8> {
    lines::hexadecimal(bytes.get(..2)?).map(|value| value as u8) // of two digits
}

/// RFC 2231 section 4: the first part of a value has the characters' name and a language in front.
fn percent<const N: usize>(raw: &[u8], is_first: bool, text: &mut Text<N>) {
    let mut marks = raw.splitn(3, |byte| *byte == b'\'');
    let (charset, body) = match (marks.next(), marks.next(), marks.next()) {
        (Some(name), Some(_), Some(body)) if is_first => (Charset::of(name), body),
        _ => (Some(Charset::Utf8), raw),
    };
    let Some(charset) = charset else { return text.extend(raw) };
    let (mut rest, mut bytes) = (body, Text::<VALUE_MAX>::default());
    while let Some((first, after)) = rest.split_first() {
        let byte = if *first == b'%' { escaped(after) } else { None };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    charset.decode(bytes.as_bytes(), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        for (raw, wanted) in [
            (&b" plain  text "[..], "plain text"),
            (b"folded\r\n here\r\n\tand there", "folded here and there"),
            (b"=?utf-8?q?Gr=C3=BC=C3=9Fe_aus?= K=", "Gr\u{fc}\u{df}e aus K="),
            (b"=?ISO-8859-1?Q?a=FCb?= =?UTF-8?B?w7xi?=", "a\u{fc}b\u{fc}b"),
            (b"=?utf-8?B?SGVs?=\r\n =?utf-8*en?b?bG8=?= x", "Hello x"),
            (b"=?koi8-r?B?8NLJ18XU?= x", "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} x"),
            (b"=?windows-1251?q?=CF?= =?iso-8859-1?q?=80=E9?=", "\u{41f}\u{20ac}\u{e9}"),
            (b"=?iso-8859-15?q?=A4?= =?cp1252?q?=80?=", "\u{20ac}\u{20ac}"),
            (b"=?gb2312?B?xOO6ww==?=", "\u{4f60}\u{597d}"),
            (b"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= a", "\u{65e5}\u{672c} a"),
            (b"=?shift_jis?q?=93=FA=81?=", "\u{65e5}\u{fffd}"),
            (b"=?utf-16?B?ADAAMAAK?=", "\u{3000}\u{3000}\u{a00}"),
            (b"=?utf-16be?B?ADAACgAx?=", "0 1"),
            (b"=?hz-gb-2312?q?a?= =?x-none?q?b?=", "=?hz-gb-2312?q?a?= =?x-none?q?b?="),
            (b"=?utf-8?x?abc?= =?utf-8?q?=?", "=?utf-8?x?abc?= =?utf-8?q?=?"),
            (b"=?utf-8?q?a=0D=0AX-Y:_z?=", "a  X-Y: z"),
            (b"=?utf-8?q?a=4?= =", "a=4 ="),
            (b"\"A \\\"B\\\" C\" <a@b>", "\"A \"B\" C\" <a@b>"),
        ] {
            let mut text = Text::<128>::default();
            decode(raw, &mut text);
            assert_eq!(String::from_utf8_lossy(text.as_bytes()), wanted, "{}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn names_of_parts_are_put_together() {
        let mut out = super::super::super::parse::Record::default();
        for (value, wanted) in [
            (&b" attachment; filename=\"a b.pdf\""[..], "a b.pdf"),
            (b"attachment;\r\n filename=invoice.exe ; size=3", "invoice.exe"),
            (b"attachment; size; filename=\"a;b=\\\"c.txt\"", "a;b=\"c.txt"),
            (b"attachment; filename*=UTF-8''na%C3%AFve%20x.txt", "na\u{ef}ve x.txt"),
            (b"attachment; filename*0*=iso-8859-1''%FC; filename*1=\"b.d\"; filename*2*=%6fc", "\u{fc}b.doc"),
            (b"inline; FileName=\"=?utf-8?B?w7wuemlw?=\"", "\u{fc}.zip"),
            (b"attachment; filename=\"C:\\tmp\\x.exe", "C:\\tmp\\x.exe"),
        ] {
            let mut mail = Mail::begin();
            mail.attachment(value, b"filename", &mut out);
            out.event();
            let found = out.events.pop().expect("a name");
            assert_eq!(String::from_utf8_lossy(found.get(ATTACHMENT).unwrap()), wanted);
        }
        for value in [&b"attachment"[..], b"attachment; filename", b"attachment; ;;=; x=\"", b"; filename=\"\""] {
            Mail::begin().attachment(value, b"filename", &mut out);
            assert!(out.open.is_empty());
        }
    }
}
