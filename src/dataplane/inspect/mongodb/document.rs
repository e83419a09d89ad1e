//! Documents (BSON) as far as their first elements.

use super::super::bytes::Reader;
use super::ELEMENTS_MAX;

/// An element of a document (bsonspec.org): its type, name and value, the last cut where what is there ends.
pub(super) struct Element<'a> {
    pub kind: u8,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Element<'a> {
    pub fn text(&self) -> Option<&'a [u8]> {
        let text = Some(self.value).filter(|_| self.kind == 2)?;
        Some(text.strip_suffix(b"\0").unwrap_or(text))
    }

    pub fn document(&self) -> Option<&'a [u8]> {
        Some(self.value).filter(|_| self.kind == 3)
    }

    /// Of a number or a truth value.
    pub fn number(&self) -> Option<i64> {
        match (self.kind, self.value) {
            (1, value) => value.first_chunk().map(|bytes| f64::from_le_bytes(*bytes) as i64), // saturates
            (8, [value]) => Some((*value).into()),
            (16, value) => value.first_chunk().map(|bytes| i32::from_le_bytes(*bytes).into()),
            (18, value) => value.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)),
            _ => None,
        }
    }
}

/// The elements of a document, as many as are there and as [`ELEMENTS_MAX`] allows.
pub(super) fn elements(document: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut reader = Reader::new(document.get(4..).unwrap_or_default());
    let next = move || {
        let kind = reader.u8().filter(|kind| *kind != 0)?;
        let name = reader.until(0)?;
        let value = match kind {
            1 | 9 | 17 | 18 => reader.take(8)?,
            2 | 13 | 14 => {
                let size = reader.le32()?;
                reader.take(size as usize)?
            }
            // Its length counts, too, and it may end behind what is there.
            3 | 4 | 15 => {
                let size = Reader::new(reader.rest()).le32()? as usize;
                reader.take(size.max(4).min(reader.len()))?
            }
            5 => {
                let (size, _) = (reader.le32()?, reader.u8()?);
                reader.take(size as usize)?
            }
            6 | 10 | 127 | 255 => &[],
            7 => reader.take(12)?,
            8 => reader.take(1)?,
            11 => {
                reader.until(0)?;
                reader.until(0)?
            }
            12 => {
                let size = reader.le32()?;
                reader.take((size as usize).checked_add(12)?)?
            }
            16 => reader.take(4)?,
            19 => reader.take(16)?,
            _ => return None,
        };
        Some(Element { kind, name, value })
    };
    std::iter::from_fn(next).take(ELEMENTS_MAX)
}

/// The first document of a message behind its flags: of the section that has one, which may come behind lists of others.
pub(super) fn body_of(mut reader: Reader<'_>) -> Option<&[u8]> {
    for _ in 0..4 {
        match reader.u8()? {
            0 => return Some(reader.rest()),
            _ => {
                let size = Reader::new(reader.rest()).le32()?;
                reader.take(size as usize)?;
            }
        }
    }
    None
}
