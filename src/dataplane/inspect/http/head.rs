//! A header: its first line and its fields, and where it ends.

use super::super::lines;
use super::{FIELDS_MAX, HEAD_MAX};

/// Where a search for the end of a header stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It ends after so many bytes.
    At(usize),
    /// Not in these bytes; so many of them need not be searched again.
    NotYet(usize),
    /// It is longer than it may be.
    TooLong,
}

/// Searches the empty line, from `searched` on.
pub(super) fn end(bytes: &[u8], searched: usize) -> End {
    let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let from = searched.saturating_sub(3);
    let mut rest = window.get(from..).unwrap_or_default();
    let mut at = from;
    while let Some(feed) = rest.iter().position(|byte| *byte == b'\n') {
        at += feed + 1;
        rest = window.get(at..).unwrap_or_default();
        match rest {
            [b'\n', ..] => return End::At(at + 1),
            [b'\r', b'\n', ..] => return End::At(at + 2),
            _ => {}
        }
    }
    if window.len() >= HEAD_MAX { End::TooLong } else { End::NotYet(window.len()) }
}

/// What is odd about the lines of a header.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Odd {
    pub blank_before_colon: bool,
    pub folded: bool,
    pub invalid: bool,
    pub control: bool,
    pub bare_feed: bool,
    pub too_many: bool,
}

/// One field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Blanks stand behind the name, or a control byte in the line.
    pub is_odd: bool,
}

/// Splits a header into its first line and its fields, noting what is odd.
pub(super) struct Head<'a> {
    rest: &'a [u8],
    count: usize,
    /// The last line has a control byte at which some implementations end a line or a text.
    has_control: bool,
    pub odd: Odd,
}

impl<'a> Head<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Head<'a> {
        Head { rest: bytes, count: 0, has_control: false, odd: Odd::default() }
    }

    /// The next line, if it is not the empty one.
    pub(super) fn line(&mut self) -> Option<&'a [u8]> {
        let found = lines::split(self.rest, b'\n');
        let (line, rest) = found.unwrap_or((self.rest, &[]));
        self.rest = rest;
        let bare = line.strip_suffix(b"\r");
        self.odd.bare_feed |= bare.is_none() && found.is_some();
        let line = bare.unwrap_or(line);
        self.has_control = line.iter().any(|byte| matches!(byte, 0 | b'\r'));
        self.odd.control |= self.has_control;
        (!line.is_empty()).then_some(line)
    }

    /// The next field. A continued line is noted and not joined: what it holds is none of the fields that are read.
    pub(super) fn field(&mut self) -> Option<Field<'a>> {
        loop {
            let line = self.line()?;
            self.count += 1;
            if self.count > FIELDS_MAX {
                self.odd.too_many = true;
                return None;
            }
            if matches!(line.first(), Some(b' ' | b'\t')) {
                self.odd.folded = true;
                continue;
            }
            let Some((name, value)) = lines::split(line, b':') else {
                self.odd.invalid = true;
                continue;
            };
            let trimmed = name.trim_ascii_end();
            let has_blank = trimmed.len() != name.len();
            let is_odd = has_blank || self.has_control;
            self.odd.blank_before_colon |= has_blank;
            self.odd.invalid |= trimmed.is_empty() || !trimmed.iter().all(|byte| is_token(*byte));
            return Some(Field { name: trimmed, value: value.trim_ascii(), is_odd });
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// How the body that follows a header is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Framing {
    pub length: Option<u64>,
    pub chunked: bool,
    pub has_coding: bool,
    pub coding_odd: bool,
    pub differ: bool,
    pub invalid: bool,
    /// The name of a field that delimits it was written in a way that some implementations do not take for it.
    pub odd_name: bool,
}

impl Framing {
    /// Do implementations differ on where the body ends?
    pub(super) fn is_ambiguous(&self) -> bool {
        let has_both = self.has_coding && self.length.is_some();
        has_both || self.differ || self.invalid || self.coding_odd || self.odd_name
    }

    /// Reads one `Content-Length`; a list of equal numbers is allowed.
    pub(super) fn content_length(&mut self, value: &[u8]) {
        for part in value.split(|byte| *byte == b',').take(FIELDS_MAX) {
            match lines::decimal(part.trim_ascii()) {
                Some(length) if self.length.is_some_and(|other| other != length) => self.differ = true,
                Some(length) => self.length = Some(length),
                None => self.invalid = true,
            }
        }
    }

    /// Reads one `Transfer-Encoding`.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) {
        self.coding_odd |= self.has_coding; // a second field
        self.has_coding = true;
        let mut last: &[u8] = &[];
        for part in value.split(|byte| *byte == b',').take(FIELDS_MAX) {
            self.coding_odd |= last.eq_ignore_ascii_case(b"chunked"); // must be the last one
            last = part.trim_ascii();
            let known: [&[u8]; 7] =
                [b"chunked", b"gzip", b"x-gzip", b"compress", b"x-compress", b"deflate", b"identity"];
            self.coding_odd |= !known.iter().any(|known| last.eq_ignore_ascii_case(known));
        }
        self.chunked |= last.eq_ignore_ascii_case(b"chunked");
    }
}
