//! What a parser found: a bounded list of named values, in one piece that can be sent up as it is.

use super::protocol::Protocol;
use crate::dataplane::flow::Side;

/// Bytes of the facts of one event. An HTTP request with a URI of 1 KiB, or two TLS hellos with a certificate, fit.
pub const FACTS_BYTES: usize = 4000;

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes that people read; may be anything an attacker sends. Escaped when written.
    Text,
    /// Bytes that are none: a digest, a list of numbers of fixed width.
    Bytes,
    /// A number up to 2^64 - 1.
    Number,
    /// An IPv4 or IPv6 address: 4 or 16 bytes.
    Address,
}

/// A value that a protocol has, by name; each parser declares its own as constants and lists them in its `FACTS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact {
    /// Whose.
    pub protocol: Protocol,
    /// Number within the protocol.
    pub index: u8,
    /// Name in tables and events, snake case.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Bytes of a value at most; longer ones are cut there, and the event says so. 8 for numbers.
    pub limit: u16,
    /// How many of them an event holds at most; more are counted in none.
    pub repeats: u8,
}

impl Fact {
    /// Text of at most `limit` bytes, once in an event.
    pub const fn text(protocol: Protocol, index: u8, name: &'static str, limit: u16) -> Fact {
        Fact { protocol, index, name, kind: Kind::Text, limit, repeats: 1 }
    }

    /// Bytes, at most `limit`, once in an event.
    pub const fn bytes(protocol: Protocol, index: u8, name: &'static str, limit: u16) -> Fact {
        Fact { protocol, index, name, kind: Kind::Bytes, limit, repeats: 1 }
    }

    /// A number, once in an event.
    pub const fn number(protocol: Protocol, index: u8, name: &'static str) -> Fact {
        Fact { protocol, index, name, kind: Kind::Number, limit: 8, repeats: 1 }
    }

    /// An address, once in an event.
    pub const fn address(protocol: Protocol, index: u8, name: &'static str) -> Fact {
        Fact { protocol, index, name, kind: Kind::Address, limit: 16, repeats: 1 }
    }

    /// The same, up to `repeats` times in an event.
    pub const fn repeated(self, repeats: u8) -> Fact {
        Fact { repeats, ..self }
    }
}

/// Facts of one event, as `protocol, index, length (2 bytes), value` one after the other.
#[derive(Clone)]
pub struct Facts {
    bytes: [u8; FACTS_BYTES],
    used: u16,
    /// A value was cut or had no room.
    truncated: bool,
    /// See [`Facts::sender`].
    is_responders: bool,
    /// A bit for each index, of whatever protocol, of which there may be a value: the list is searched for no others.
    seen: u64,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts { bytes: [0; FACTS_BYTES], used: 0, truncated: false, is_responders: false, seen: 0 }
    }
}

/// Bytes in front of each value.
pub(super) const HEADER: usize = 4;
const _: () = assert!(FACTS_BYTES < u16::MAX as usize);

impl Facts {
    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Nothing was found, and nothing is missing of what may come.
    pub fn is_blank(&self) -> bool {
        self.is_empty() && !self.truncated
    }

    /// Was a value cut, or left out for want of room?
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// More would have come.
    pub fn mark_truncated(&mut self) {
        self.truncated = true;
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        (self.used, self.truncated, self.is_responders, self.seen) = (0, false, false, 0);
    }

    /// Who says what the event tells: of a request with its answer who asked, the originator unless [`Facts::sent_by`] was told.
    pub fn sender(&self) -> Side {
        if self.is_responders { Side::Responder } else { Side::Originator }
    }

    /// The event that is being put together is a message of this side.
    pub fn sent_by(&mut self, side: Side) {
        self.is_responders = side == Side::Responder;
    }

    /// The list as bytes, to be read by [`Facts::read`].
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.used)).unwrap_or_default()
    }

    /// Adds a value of text, bytes or an address. More often than the fact may be: nothing is added.
    pub fn put(&mut self, fact: Fact, value: &[u8]) {
        let bit = 1 << (fact.index & 63);
        let is_full = match fact.repeats {
            0 => true,
            u8::MAX => false,
            repeats => self.seen & bit != 0 && self.count(fact) >= usize::from(repeats),
        };
        if is_full {
            self.truncated |= fact.repeats > 1;
            return;
        }
        let cut = value.get(..usize::from(fact.limit));
        self.truncated |= cut.is_some() && value.len() > usize::from(fact.limit);
        let value = cut.unwrap_or(value);
        let begin = usize::from(self.used);
        let Some(place) = self.bytes.get_mut(begin..begin + HEADER + value.len()) else {
            self.truncated = true;
            return;
        };
        // Below FACTS_BYTES, so two bytes hold it.
        let [high, low] = (value.len() as u16).to_be_bytes();
        let (header, body) = place.split_at_mut(HEADER);
        header.copy_from_slice(&[fact.protocol as u8, fact.index, high, low]);
        body.copy_from_slice(value);
        self.used += (HEADER + value.len()) as u16;
        self.seen |= bit;
    }

    /// Adds to the value of `fact` that is there, or begins one. What has no room is left out.
    pub fn append(&mut self, fact: Fact, more: &[u8]) {
        let Some(begin) = self.place(fact) else { return self.put(fact, more) };
        let (Some(length), end) = (self.length_at(begin), usize::from(self.used)) else { return };
        let (at, grown) = (begin + HEADER + usize::from(length), usize::from(length) + more.len());
        let is_short = grown > usize::from(fact.limit) || end + more.len() > FACTS_BYTES;
        self.truncated |= is_short;
        if is_short {
            return;
        }
        self.bytes.copy_within(at..end, at + more.len());
        let header = self.bytes.get_mut(begin + 2..begin + HEADER);
        header.into_iter().for_each(|place| place.copy_from_slice(&(grown as u16).to_be_bytes())); // at most the limit
        let place = self.bytes.get_mut(at..at + more.len());
        place.into_iter().for_each(|place| place.copy_from_slice(more));
        self.used += more.len() as u16; // at most FACTS_BYTES
    }

    /// Where the first value of `fact` begins, with its header.
    fn place(&self, fact: Fact) -> Option<usize> {
        let mut at = 0;
        for one in Facts::read(self.as_bytes()) {
            if (one.protocol, one.index) == (fact.protocol as u8, fact.index) {
                return Some(at);
            }
            at += HEADER + one.value.len();
        }
        None
    }

    fn length_at(&self, begin: usize) -> Option<u16> {
        let header = self.as_bytes().get(begin..)?.first_chunk::<HEADER>()?;
        let [_, _, high, low] = header;
        Some(u16::from_be_bytes([*high, *low]))
    }

    /// Adds a number.
    pub fn put_number(&mut self, fact: Fact, value: u64) {
        let bytes = value.to_be_bytes();
        let skip = (value.leading_zeros() / 8).min(7) as usize;
        self.put(fact, bytes.get(skip..).unwrap_or(&bytes));
    }

    /// The first value of `fact`.
    pub fn get(&self, fact: Fact) -> Option<&[u8]> {
        self.all(fact).next()
    }

    /// The first value of `fact` as a number.
    pub fn number(&self, fact: Fact) -> Option<u64> {
        self.get(fact).map(number)
    }

    /// All values of `fact`, in the order they came.
    pub fn all(&self, fact: Fact) -> impl Iterator<Item = &[u8]> {
        let wanted = (fact.protocol as u8, fact.index);
        Facts::read(self.as_bytes()).filter(move |one| (one.protocol, one.index) == wanted).map(|one| one.value)
    }

    /// By hand, for it is called for every value of a fact that has several: headers only, no slices of values.
    fn count(&self, fact: Fact) -> usize {
        let (list, mut at, mut count) = (self.as_bytes(), 0, 0);
        while let Some([protocol, index, high, low]) = list.get(at..).and_then(|rest| rest.first_chunk::<HEADER>()) {
            count += usize::from(*protocol == fact.protocol as u8 && *index == fact.index);
            at += HEADER + usize::from(u16::from_be_bytes([*high, *low]));
        }
        count
    }

    /// Reads what [`Facts::as_bytes`] gave; ends early where the bytes are no such list.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = Value<'_>> {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let ([protocol, index, high, low], after) = rest.split_first_chunk::<HEADER>()?;
            let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
            rest = after;
            Some(Value { protocol: *protocol, index: *index, value })
        })
    }

    /// Becomes a copy of `other`; only what is in use is copied.
    pub fn copy_from(&mut self, other: &Facts) {
        let used = usize::from(other.used);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..used), other.bytes.get(..used)) {
            to.copy_from_slice(from);
        }
        (self.used, self.truncated, self.is_responders) = (other.used, other.truncated, other.is_responders);
        self.seen = other.seen;
    }

    /// A copy of what [`Facts::as_bytes`] gave; cut where it is longer than facts can be.
    pub fn from_bytes(bytes: &[u8], truncated: bool) -> Facts {
        let mut facts = Facts::default();
        facts.restore(bytes, truncated);
        facts
    }

    /// Becomes [`Facts::from_bytes`].
    pub fn restore(&mut self, bytes: &[u8], truncated: bool) {
        let bytes = bytes.get(..FACTS_BYTES).unwrap_or(bytes);
        if let Some(place) = self.bytes.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        (self.used, self.truncated) = (bytes.len() as u16, truncated); // at most FACTS_BYTES
        (self.is_responders, self.seen) = (false, u64::MAX);
    }

    /// Goes on with [`Facts::restore`], of bytes that were cut anywhere.
    pub(super) fn restore_more(&mut self, bytes: &[u8]) {
        let begin = usize::from(self.used);
        if let Some(place) = self.bytes.get_mut(begin..begin + bytes.len()) {
            place.copy_from_slice(bytes);
            self.used += bytes.len() as u16; // at most FACTS_BYTES
        }
    }
}

/// One value of a list of facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value<'a> {
    /// Number of the protocol ([`Protocol`] `as u8`).
    pub protocol: u8,
    /// [`Fact::index`].
    pub index: u8,
    /// The value.
    pub value: &'a [u8],
}

/// A number as [`Facts::put_number`] wrote it.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Fact = Fact::text(Protocol::Dns, 1, "name", 5).repeated(2);
    const CODE: Fact = Fact::number(Protocol::Dns, 2, "code");

    #[test]
    fn values_come_back_and_limits_are_told() {
        let mut facts = Facts::default();
        for (value, wanted) in [(0, 0), (255, 255), (u64::MAX, u64::MAX)] {
            facts.clear();
            facts.put_number(CODE, value);
            assert_eq!(facts.number(CODE), Some(wanted));
        }
        facts.put(NAME, b"abcde");
        assert!(!facts.is_truncated());
        facts.put(NAME, b"fghijk");
        assert!(facts.is_truncated(), "cut at five bytes");
        facts.put(NAME, b"x");
        assert_eq!(facts.all(NAME).collect::<Vec<_>>(), [b"abcde", b"fghij"]);
        let copy = Facts::from_bytes(facts.as_bytes(), facts.is_truncated());
        assert_eq!((copy.number(CODE), copy.get(NAME)), (Some(u64::MAX), Some(&b"abcde"[..])));
    }

    #[test]
    fn what_is_appended_stands_behind_what_was_there() {
        let list = Fact::bytes(Protocol::Dns, 3, "list", 5);
        let mut facts = Facts::default();
        facts.append(list, &[1, 2]);
        facts.put(NAME, b"abc");
        facts.append(list, &[3, 4]);
        assert_eq!((facts.get(list), facts.get(NAME)), (Some(&[1, 2, 3, 4][..]), Some(&b"abc"[..])));
        assert!(!facts.is_truncated());
        facts.append(list, &[5, 6]);
        assert_eq!((facts.get(list).map(<[u8]>::len), facts.is_truncated()), (Some(4), true));
        let large = Fact::bytes(Protocol::Dns, 4, "large", 4000);
        facts.put(large, &[7; 3970]);
        facts.append(large, &[8; 20]);
        assert_eq!((facts.get(large).map(<[u8]>::len), facts.get(NAME)), (Some(3970), Some(&b"abc"[..])), "no room");
    }

    #[test]
    fn a_full_list_takes_no_more_and_stays_whole() {
        let large = Fact::bytes(Protocol::Dns, 3, "large", 3000).repeated(u8::MAX);
        let mut facts = Facts::default();
        facts.put(large, &[7; 3000]);
        facts.put(large, &[8; 3000]);
        assert!(facts.is_truncated());
        assert_eq!(facts.all(large).map(<[u8]>::len).collect::<Vec<_>>(), [3000]);
        facts.put_number(CODE, 9);
        assert_eq!(facts.number(CODE), Some(9), "what is small still has room");
    }
}
