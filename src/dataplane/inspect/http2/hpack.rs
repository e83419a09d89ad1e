//! HPACK (RFC 7541). What refers to a place of the dynamic table that is not known is left out, and that is told.

use super::super::bytes::Reader;

/// Bytes of a name, and of a value, that are decoded; longer ones are cut.
const NAME_MAX: usize = 64;
/// One more than any fact keeps, so that what is cut is told.
const VALUE_MAX: usize = 1025;
/// Fields of a block that anybody wants and are shown. Others cost what their bytes cost; these may be a byte each, and long.
pub(in crate::dataplane::inspect) const FIELDS_MAX: usize = 128;

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

/// Fields that a table's memory is for, by the names that [`super::put`] knows: of others it keeps the places alone, so that
/// nothing of a cookie or a login stays.
const KEPT: [&str; 11] = [
    ":authority",
    ":method",
    ":path",
    ":scheme",
    ":status",
    "host",
    "user-agent",
    "server",
    "content-type",
    "via",
    "x-cache",
];
/// Entries of a table, and bytes of their values: the usual tables of 4096 bytes have fewer of both.
pub(in crate::dataplane::inspect) const ENTRIES_MAX: usize = 256;
pub(in crate::dataplane::inspect) const VALUES_BYTES: usize = 4096;

/// A dynamic table (section 2.3.2) as far as it is told from what passes by: its newest entries.
///
/// They are counted from the newest one, so a table that forgets the oldest earlier than its owner does, or that did not see
/// the beginning, is right about all that it has, and knows what it lacks. How large the ends agreed to make it, and
/// what they evict, therefore need not be known: an encoder refers to nothing that its peer has evicted.
#[derive(Clone)]
pub(super) struct Table {
    entries: [Entry; ENTRIES_MAX],
    /// Entries added; the newest one's place is the one before, round the list.
    count: usize,
    values: [u8; VALUES_BYTES],
    /// Bytes added, modulo 2^32; the next one's place likewise.
    written: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    /// In [`KEPT`]; else [`OTHER`] or [`UNNAMED`].
    name: u8,
    length: u16,
    /// [`Table::written`] before its value: at most all entries' values before the present one.
    at: u32,
}

const _: () = assert!(size_of::<Entry>() == 8);

/// Place of a name that nobody asks for.
const OTHER: u8 = KEPT.len() as u8;
/// Place of a name that was that of an entry which is not known.
const UNNAMED: u8 = u8::MAX;

/// What is known of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known<'a> {
    Field(&'static str, &'a [u8]),
    /// Others were written over its value.
    Name(&'static str),
    /// Nobody asks for it.
    Other,
    Nothing,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: [Entry::default(); ENTRIES_MAX], count: 0, values: [0; VALUES_BYTES], written: 0 }
    }
}

impl Table {
    /// The same, empty where what it had may be counted wrong.
    pub(super) fn without(&mut self, is_wrong: bool) -> &mut Table {
        if is_wrong {
            self.clear();
        }
        self
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// One entry, its value in `place`.
    fn get<'a>(&self, index: u32, place: &'a mut [u8; VALUE_MAX]) -> Known<'a> {
        let back = (index as usize).saturating_sub(STATIC.len()); // below 2^22
        if back == 0 || back > self.count.min(ENTRIES_MAX) {
            return Known::Nothing;
        }
        let Some(entry) = self.entries.get((self.count - back) % ENTRIES_MAX) else { return Known::Nothing };
        match (KEPT.get(usize::from(entry.name)), entry.name) {
            (Some(name), _) => self.value(entry, place).map_or(Known::Name(name), |value| Known::Field(name, value)),
            (None, OTHER) => Known::Other,
            (None, _) => Known::Nothing,
        }
    }

    /// `None`: others were written over it.
    fn value<'a>(&self, entry: &Entry, place: &'a mut [u8; VALUE_MAX]) -> Option<&'a [u8]> {
        let (from, length) = (entry.at as usize % VALUES_BYTES, usize::from(entry.length));
        if length > 0 && self.written.wrapping_sub(entry.at) as usize > VALUES_BYTES {
            return None;
        }
        let value = place.get_mut(..length)?;
        let first = length.min(VALUES_BYTES - from);
        let (head, tail) = value.split_at_mut(first);
        head.copy_from_slice(self.values.get(from..from + first)?);
        tail.copy_from_slice(self.values.get(..length - first)?);
        Some(value)
    }

    fn add(&mut self, name: Name<'_>, value: &[u8]) {
        let kept = match name {
            Name::Is(name) => KEPT.iter().position(|one| one.as_bytes() == name).map_or(OTHER, |at| at as u8), // eleven
            Name::Unknown => UNNAMED,
        };
        let value = if kept < OTHER { value } else { &[] };
        // At most VALUE_MAX.
        let entry = Entry { name: kept, length: value.len() as u16, at: self.written };
        if let Some(place) = self.entries.get_mut(self.count % ENTRIES_MAX) {
            *place = entry;
        }
        self.count += 1;
        let from = self.written as usize % VALUES_BYTES;
        let (head, tail) = value.split_at(value.len().min(VALUES_BYTES - from));
        for (at, part) in [(from, head), (0, tail)] {
            if let Some(place) = self.values.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
        }
        self.written = self.written.wrapping_add(value.len() as u32); // at most VALUE_MAX
    }
}

/// Name of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name<'a> {
    /// Empty: one that nobody asks for.
    Is(&'a [u8]),
    /// That of an entry which is not known.
    Unknown,
}

/// How a block was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// All fields were shown.
    Whole,
    /// Some were not: those behind [`FIELDS_MAX`] that are wanted, or those that refer to entries which are not known.
    Cut,
    /// It is no block from somewhere on.
    Broken,
}

/// What became of a field.
enum Shown {
    Wanted,
    Unwanted,
    /// Its name or value is not known.
    Not,
}

/// Shows each field of a block, until [`FIELDS_MAX`] of them were wanted, which `show` tells; the table hears of all.
pub(super) fn fields(block: &[u8], mut table: Option<&mut Table>, mut show: impl FnMut(&[u8], &[u8]) -> bool) -> Read {
    let (mut reader, mut wanted, mut is_cut) = (Reader::new(block), 0, false);
    while let Some(first) = reader.rest().first().copied() {
        let is_shown = wanted < FIELDS_MAX;
        is_cut |= !is_shown;
        match field(first, &mut reader, table.as_deref_mut(), is_shown, &mut show) {
            Some(Shown::Wanted) => wanted += 1,
            Some(Shown::Unwanted) => {}
            Some(Shown::Not) => is_cut = true,
            None => return Read::Broken,
        }
    }
    if is_cut { Read::Cut } else { Read::Whole }
}

/// `None` where it is none.
fn field(
    first: u8,
    reader: &mut Reader<'_>,
    table: Option<&mut Table>,
    is_shown: bool,
    show: &mut impl FnMut(&[u8], &[u8]) -> bool,
) -> Option<Shown> {
    let mut ask = |name: &[u8], value: &[u8]| if show(name, value) { Shown::Wanted } else { Shown::Unwanted };
    if first & 0x80 != 0 {
        let index = integer(reader, 7).filter(|index| *index != 0)?;
        if !is_shown {
            return Some(Shown::Unwanted);
        }
        if let Some((name, value)) = entry(index) {
            return Some(ask(name.as_bytes(), value.as_bytes()));
        }
        let mut place = [0; VALUE_MAX];
        return Some(match table.map_or(Known::Nothing, |table| table.get(index, &mut place)) {
            Known::Field(name, value) => ask(name.as_bytes(), value),
            Known::Other => Shown::Unwanted,
            Known::Name(_) | Known::Nothing => Shown::Not,
        });
    }
    if first & 0xe0 == 0x20 {
        return integer(reader, 5).map(|_| Shown::Unwanted); // size of the dynamic table
    }
    let is_added = first & 0xc0 == 0x40;
    let index = integer(reader, if is_added { 6 } else { 4 })?;
    let (mut name, mut value) = ([0; NAME_MAX], [0; VALUE_MAX]);
    let name = match (index, entry(index), &table) {
        (0, ..) => Name::Is(string(reader, &mut name)?),
        (_, Some((name, _)), _) => Name::Is(name.as_bytes()),
        (_, None, Some(table)) => match table.get(index, &mut value) {
            Known::Field(name, _) | Known::Name(name) => Name::Is(name.as_bytes()),
            Known::Other => Name::Is(b""),
            Known::Nothing => Name::Unknown,
        },
        (_, None, None) => Name::Unknown,
    };
    let value = string(reader, &mut value)?;
    let shown = match name {
        _ if !is_shown => Shown::Unwanted,
        Name::Is(name) => ask(name, value),
        Name::Unknown => Shown::Not,
    };
    if let Some(table) = table.filter(|_| is_added) {
        table.add(name, value);
    }
    Some(shown)
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
        assert_eq!(fields(request, None, |name, value| push(&mut found, name, value)), Read::Whole);
        assert_eq!(found, [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"]);
        let response = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x40\x03a-b\x01c\xbf\x3f\xe1\x1f";
        found.clear();
        assert_eq!(fields(response, None, |name, value| push(&mut found, name, value)), Read::Cut, "without a table");
        assert_eq!(found, [":status=302", "cache-control=private", "a-b=c"]);
        for at in 0..response.len() {
            fields(&response[..at], None, |_, _| true);
        }
        for bytes in [&b"\x80"[..], b"\x7f\xff\xff\xff\xff"] {
            assert_eq!(fields(bytes, None, |_, _| true), Read::Broken);
        }
        let mut place = [0; 4];
        assert_eq!(huffman(&[0; 100], &mut place), Some(&b"0000"[..]), "as much as has room");
    }

    /// RFC 7541 appendix C.4: three requests on one connection, Huffman-coded.
    #[test]
    fn the_dynamic_table_is_that_of_the_specification() {
        let mut table = Table::default();
        let mut read = |block: &[u8], wanted: Read| {
            let mut found = Vec::new();
            assert_eq!(fields(block, Some(&mut table), |name, value| push(&mut found, name, value)), wanted);
            found.split_off(found.len().min(3))
        };
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(read(first, Read::Whole), [":authority=www.example.com"]);
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        assert_eq!(read(second, Read::Whole), [":authority=www.example.com", "cache-control=no-cache"]);
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        assert_eq!(read(third, Read::Whole), [":authority=www.example.com", "custom-key=custom-value"]);
        // A name of the table with a value of its own; a place that is not there.
        assert_eq!(read(b"\x82\x86\x84\x7f\x01\x01x\xff\x40", Read::Cut), [":authority=x"]);
    }

    #[test]
    fn a_table_forgets_the_oldest_and_goes_round() {
        let mut table = Table::default();
        for number in 0..1000_usize {
            let value = format!("{number:0>37}");
            table.add(Name::Is(b":path"), value.as_bytes());
            table.add(Name::Is(b"cookie"), b"secret");
            let mut place = [0; VALUE_MAX];
            assert_eq!(table.get(63, &mut place), Known::Field(":path", value.as_bytes()));
            assert_eq!(table.get(62, &mut place), Known::Other, "a value that nobody asks for");
            let count = |wanted: fn(Known<'_>) -> bool| {
                (63..400).step_by(2).filter(|index| wanted(table.get(*index, &mut [0; VALUE_MAX]))).count()
            };
            let whole = (number + 1).min(VALUES_BYTES / 37);
            assert_eq!(count(|known| matches!(known, Known::Field(..))), whole);
            assert_eq!(count(|known| known == Known::Name(":path")), (number + 1).min(ENTRIES_MAX / 2) - whole);
        }
        assert!(!table.values.windows(6).any(|part| part == b"secret"));
    }

    #[test]
    fn what_is_not_known_is_left_out_and_told() {
        let long = "a".repeat(1000);
        let add =
            |table: &mut Table, count: usize| (0..count).for_each(|_| table.add(Name::Is(b":path"), long.as_bytes()));
        for (known, block, wanted, read) in [
            (4, &b"\xc1"[..], vec![long.as_str()], Read::Whole), // the oldest
            (5, b"\xc2\x82", vec!["GET"], Read::Cut),            // its value is overwritten,
            (5, b"\x0f\x33\x01x", vec!["x"], Read::Whole),       // its name is not
            (1, b"\xbf\x82", vec!["GET"], Read::Cut),            // one more than there are
            (1, b"\x0f\x30\x01x", vec![], Read::Cut),
            (0, b"\x7f\x00\x01x\xbe", vec![], Read::Cut), // of an added one only the value is known
        ] {
            let (mut table, mut found) = (Table::default(), Vec::new());
            add(&mut table, known);
            let how = fields(block, Some(&mut table), |_, value| {
                found.push(text(value));
                true
            });
            assert_eq!((found, how), (wanted.iter().map(|one| (*one).to_owned()).collect(), read), "{block:02x?}");
        }
        let mut table = Table { written: u32::MAX - 100, ..Table::default() };
        add(&mut table, 2);
        let mut place = [0; VALUE_MAX];
        for index in [62, 63] {
            assert_eq!(table.get(index, &mut place), Known::Field(":path", long.as_bytes()), "across 2^32");
        }
    }

    fn push(found: &mut Vec<String>, name: &[u8], value: &[u8]) -> bool {
        found.push(format!("{}={}", text(name), text(value)));
        true
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
}
