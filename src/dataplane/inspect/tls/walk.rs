//! A ClientHello from front to back, piece by piece: whether it is there whole, or comes in many records and segments, and
//! however much of it is of no interest.

use super::super::bytes::Reader;
use super::super::facts::Facts;
use super::facts::HelloFacts;
use super::hello::{self, Once, Seen};

/// Bytes of a piece that are shown at once: of longer lists and extensions the rest is passed over. Put together from
/// records of a byte each they and the headers are less than a unit of a stream.
pub const PIECE_MAX: usize = 2048;
const _: () = assert!(PIECE_MAX * (1 + super::RECORD_HEADER) < super::super::parse::UNIT_MAX);

/// What the next piece is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Next {
    /// Version, random, length of the session's identifier.
    #[default]
    Begin,
    /// Length of the cookie.
    Cookie,
    CiphersLength,
    Ciphers,
    CompressionLength,
    Compression,
    ExtensionsLength,
    ExtensionHeader,
    Extension,
    /// Nothing.
    End,
}

/// A number that may stand anywhere, for the sake of the size of what holds it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(Rust, packed(2))]
struct Count(u32);

/// How far a ClientHello was read.
#[derive(Clone, Copy, Default, Debug)]
pub struct Walk {
    once: Once,
    /// Bytes of the message that were neither shown nor passed over.
    rest: Count,
    /// Bytes of them that are extensions, once that is known.
    extensions: u16,
    /// Length and type of the list or extension that is next.
    length: u16,
    kind: u16,
    version: u16,
    next: Next,
    is_datagram: bool,
    is_bad: bool,
    has_duplicates: bool,
    is_tls13: bool,
    /// It is another one, behind a HelloRetryRequest.
    pub is_second: bool,
}

impl Walk {
    /// Through a hello of `length` bytes without its header. `is_datagram`: with the cookie of DTLS.
    pub fn new(length: usize, is_datagram: bool) -> Walk {
        Walk { rest: Count(length as u32), is_datagram, ..Walk::default() } // 24 bits on the wire
    }

    /// Bytes that are to be shown next, at most [`PIECE_MAX`]; `None` at the end, or where the lengths do not fit.
    pub fn wants(&self) -> Option<usize> {
        let count = match self.next {
            Next::Begin => 35,
            Next::Cookie | Next::CompressionLength => 1,
            Next::CiphersLength | Next::ExtensionsLength => 2,
            Next::ExtensionHeader => 4,
            Next::Ciphers | Next::Compression | Next::Extension => usize::from(self.length).min(PIECE_MAX),
            Next::End => return None,
        };
        (count <= self.rest.0 as usize).then_some(count)
    }

    /// Reads the piece that was wanted. Gives how many bytes behind it are to be passed over.
    pub fn read(&mut self, piece: &[u8], names: &HelloFacts, facts: &mut Facts) -> usize {
        let mut behind = self.read_one(piece, names, facts);
        while behind == 0 && self.wants() == Some(0) {
            behind = self.read_one(&[], names, facts); // an empty list, behind which something else is
        }
        behind
    }

    fn read_one(&mut self, piece: &[u8], names: &HelloFacts, facts: &mut Facts) -> usize {
        self.rest.0 = self.rest.0.saturating_sub(piece.len() as u32); // at most PIECE_MAX
        let rest = self.rest.0 as usize;
        let behind = match self.read_piece(piece, names, facts) {
            Some(behind) if behind <= rest => behind,
            _ => {
                (self.is_bad, self.next) = (true, Next::End);
                rest
            }
        };
        self.rest.0 -= behind as u32; // at most that
        if self.rest.0 == 0 && self.next == Next::ExtensionsLength {
            self.next = Next::End; // before RFC 3546 there were none
        }
        behind
    }

    fn read_piece(&mut self, piece: &[u8], names: &HelloFacts, facts: &mut Facts) -> Option<usize> {
        let mut reader = Reader::new(piece);
        let behind = usize::from(self.length).saturating_sub(piece.len());
        match self.next {
            Next::Begin => {
                self.version = reader.be16()?;
                reader.take(32)?;
                self.next = if self.is_datagram { Next::Cookie } else { Next::CiphersLength };
                return Some(usize::from(reader.u8()?));
            }
            Next::Cookie => {
                self.next = Next::CiphersLength;
                return Some(usize::from(reader.u8()?));
            }
            Next::CiphersLength => (self.length, self.next) = (reader.be16()?, Next::Ciphers),
            Next::Ciphers => {
                facts.put(names.ciphers, piece);
                self.is_bad |= !self.length.is_multiple_of(2);
                self.next = Next::CompressionLength;
                return Some(behind);
            }
            Next::CompressionLength => (self.length, self.next) = (u16::from(reader.u8()?), Next::Compression),
            Next::Compression => {
                facts.put(names.compression, piece);
                self.next = Next::ExtensionsLength;
                return Some(behind);
            }
            Next::ExtensionsLength => {
                let length = reader.be16()?;
                self.is_bad |= u32::from(length) != self.rest.0;
                self.extensions = u16::try_from(self.rest.0).map_or(length, |rest| length.min(rest)); // what is there
                self.before_extension();
            }
            Next::ExtensionHeader => {
                (self.kind, self.length) = (reader.be16()?, reader.be16()?);
                self.extensions = self.extensions.checked_sub(4)?.checked_sub(self.length)?;
                facts.append(names.extensions, &self.kind.to_be_bytes());
                self.has_duplicates |= self.once.is_again(self.kind);
                self.next = Next::Extension;
                if !hello::is_read(self.kind) {
                    self.before_extension();
                    return Some(usize::from(self.length));
                }
            }
            Next::Extension => {
                let mut seen = Seen::default();
                let is_whole = hello::client_extension(self.kind, piece, behind > 0, names, facts, &mut seen);
                self.is_tls13 |= seen.is_tls13;
                is_whole?;
                self.before_extension();
                return Some(behind);
            }
            Next::End => {}
        }
        Some(0)
    }

    fn before_extension(&mut self) {
        self.next = if self.extensions == 0 { Next::End } else { Next::ExtensionHeader };
    }

    /// Bytes that were neither shown nor are passed over.
    pub fn rest(&self) -> usize {
        self.rest.0 as usize
    }

    /// The hello was read, as far as it can be. Only now its version is told, without which there is no fingerprint: of one
    /// that `is_cut` it is not.
    pub fn end(&self, is_cut: bool, names: &HelloFacts, facts: &mut Facts) -> Seen {
        if self.next != Next::Begin && !is_cut {
            facts.put_number(names.client_version, u64::from(self.version));
        }
        Seen {
            is_bad: self.is_bad || self.next != Next::End || self.rest.0 > 0,
            has_duplicates: self.has_duplicates,
            is_tls13: self.is_tls13,
            ..Seen::default()
        }
    }
}
