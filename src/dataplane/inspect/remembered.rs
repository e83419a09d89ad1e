//! Short texts that an earlier message said and later ones, or another flow, refer to by a number alone: names of shares, files
//! that are to come from another port.
//!
//! A table of fixed size for each queue, in sets of four: where a set is full, what was not asked for longest gives way. Keys are
//! hashes of what the text belongs to, keyed by the queue's secret, so nobody can choose what falls into whose set.

use super::parse::Key;
use crate::dataplane::decode::{Direction, FlowKey};
use crate::dataplane::flow::Side;
use crate::sys::hash::KeyedHash;
use crate::units::{SECOND, Timestamp};

/// Texts of a queue that are remembered; 128 bytes each.
pub const REMEMBERED: usize = 1024;
/// Bytes of one at most; longer ones are not remembered.
pub const TEXT_MAX: usize = 111;
/// Seconds after which what gives way to another was not wanted any more: its loss is not counted.
const LONG_AGO: u64 = 600;
/// Seconds within which the first answer to a request comes from another port: clients ask again after a few (RFC 1123 section
/// 4.2.3.2).
const ANSWER_WITHIN: u64 = 30;
const WAYS: usize = 4;

#[derive(Clone, Copy)]
struct Place {
    /// 0: nothing is there.
    key: u64,
    latest: Timestamp,
    length: u8,
    text: [u8; TEXT_MAX],
}

const _: () = assert!(size_of::<Place>() <= 128);
const _: () = assert!(REMEMBERED.is_power_of_two());

/// The table of a queue.
pub struct Remembered {
    hash: KeyedHash,
    places: Vec<Place>,
    is_used: bool,
}

/// Of which flow, and when it began.
pub(super) struct Of<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) originator: Direction,
    pub(super) first_seen: Timestamp,
}

impl Remembered {
    /// Bytes of a text with what it needs.
    pub const MEMORY: usize = size_of::<Place>();

    /// For `count` texts, of which none is there.
    pub(super) fn new(count: usize, hash: KeyedHash) -> Remembered {
        let nothing = Place { key: 0, latest: Timestamp(0), length: 0, text: [0; TEXT_MAX] };
        Remembered { hash, places: vec![nothing; count], is_used: false }
    }

    /// Never 0.
    fn key(&self, of: &Of<'_>, key: Key) -> u64 {
        let hash = match key {
            Key::Number(number) => {
                let flow = self.hash.hash(of.key.words());
                self.hash.hash_pair([flow ^ of.first_seen.0, number])
            }
            Key::Transfer(side) => {
                let (originator, responder) = of.key.endpoints(of.originator);
                let (client, server) =
                    if side == Side::Originator { (originator, responder) } else { (responder, originator) };
                let halves = |address: u128| [(address >> 64) as u64, address as u64];
                let ([a, b], [c, d]) = (halves(client.address), halves(server.address));
                self.hash.hash(&[a, b, c, d, 1 << 63 | u64::from(client.port)])
            }
        };
        hash | 1
    }

    fn set(&mut self, key: u64) -> &mut [Place] {
        let sets = self.places.len() / WAYS;
        let begin = (key >> 32) as usize % sets.max(1) * WAYS;
        self.places.get_mut(begin..begin + WAYS).unwrap_or_default()
    }

    /// Keeps a text. False: another one was lost for it, or it is too long.
    pub(super) fn put(&mut self, of: &Of<'_>, key: Key, text: &[u8], now: Timestamp) -> bool {
        let key = self.key(of, key);
        self.is_used = true;
        let set = self.set(key);
        let own = set.iter().position(|place| place.key == key);
        let oldest =
            || set.iter().enumerate().min_by_key(|(_, place)| (place.key != 0, place.latest)).map(|(at, _)| at);
        let Some(place) = own.or_else(oldest).and_then(|at| set.get_mut(at)) else { return true };
        let was_free = place.key == 0 || place.key == key || place.latest.0.saturating_add(LONG_AGO * SECOND) < now.0;
        let Some(room) = place.text.get_mut(..text.len()) else {
            if place.key == key {
                place.key = 0;
            }
            return false;
        };
        room.copy_from_slice(text);
        (place.key, place.latest, place.length) = (key, now, text.len() as u8); // at most TEXT_MAX
        was_free
    }

    /// What was kept under this key; of a transfer only for a while.
    pub(super) fn get(&mut self, of: &Of<'_>, key: Key, now: Timestamp) -> Option<&[u8]> {
        if !self.is_used {
            return None;
        }
        let (is_transfer, key) = (matches!(key, Key::Transfer(_)), self.key(of, key));
        let place = self.set(key).iter_mut().find(|place| place.key == key)?;
        if is_transfer && place.latest.0.saturating_add(ANSWER_WITHIN * SECOND) < now.0 {
            return None;
        }
        if !is_transfer {
            place.latest = now;
        }
        place.text.get(..usize::from(place.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(client: u32, port: u16) -> (FlowKey, Direction) {
        FlowKey::v4(client, port, 0x0a00_0002, 445, 6, 0)
    }

    #[test]
    fn texts_come_back_to_their_flow_alone() {
        let mut all = Remembered::new(REMEMBERED, KeyedHash::new([1, 2, 3, 4]));
        let ((one, way), (other, other_way)) = (flow(1, 40_000), flow(2, 40_000));
        let of = Of { key: &one, originator: way, first_seen: Timestamp(5) };
        let now = Timestamp(SECOND);
        assert_eq!(all.get(&of, Key::Number(7), now), None);
        assert!(all.put(&of, Key::Number(7), b"docs", now));
        assert!(all.put(&of, Key::Number(8), b"", now));
        assert_eq!(all.get(&of, Key::Number(7), now), Some(&b"docs"[..]));
        assert_eq!(all.get(&of, Key::Number(8), now), Some(&b""[..]));
        assert_eq!(all.get(&Of { first_seen: Timestamp(6), ..of }, Key::Number(7), now), None, "another connection");
        let strange = Of { key: &other, originator: other_way, first_seen: Timestamp(5) };
        assert_eq!(all.get(&strange, Key::Number(7), now), None);
        assert!(!all.put(&of, Key::Number(7), &[b'x'; TEXT_MAX + 1], now), "too long");
        assert_eq!(all.get(&of, Key::Number(7), now), None, "what it was called before is wrong");
    }

    /// An answer comes from another port of the server to the port of the client.
    #[test]
    fn transfers_are_known_by_the_clients_port_for_a_while() {
        fn of(key: &FlowKey, originator: Direction) -> Of<'_> {
            Of { key, originator, first_seen: Timestamp(0) }
        }
        let mut all = Remembered::new(REMEMBERED, KeyedHash::new([1, 2, 3, 4]));
        let asked = |from: u16, to: u16| FlowKey::v4(1, from, 2, to, 17, 0);
        let answered = |from: u16, to: u16| FlowKey::v4(2, from, 1, to, 17, 0);
        let (key, way) = asked(4000, 69);
        assert!(all.put(&of(&key, way), Key::Transfer(Side::Originator), b"boot", Timestamp(0)));
        for ((key, way), seconds, wanted) in [
            (answered(5000, 4000), 1, Some(&b"boot"[..])),
            (answered(5000, 4000), ANSWER_WITHIN + 1, None),
            (answered(5000, 4001), 1, None),
            (asked(5000, 4000), 1, None),
        ] {
            let found = all.get(&of(&key, way), Key::Transfer(Side::Responder), Timestamp(seconds * SECOND));
            assert_eq!(found, wanted, "{key:?} {seconds}");
        }
    }

    #[test]
    fn a_full_table_loses_what_was_asked_for_least_lately_and_says_so() {
        let mut all = Remembered::new(WAYS, KeyedHash::new([1, 2, 3, 4]));
        let (key, way) = flow(1, 40_000);
        let of = Of { key: &key, originator: way, first_seen: Timestamp(5) };
        for number in 0..WAYS as u64 {
            assert!(all.put(&of, Key::Number(number), b"x", Timestamp(number)));
        }
        all.get(&of, Key::Number(0), Timestamp(10));
        assert!(!all.put(&of, Key::Number(9), b"y", Timestamp(11)));
        assert_eq!(all.get(&of, Key::Number(1), Timestamp(12)), None);
        assert_eq!(all.get(&of, Key::Number(0), Timestamp(12)), Some(&b"x"[..]));
        let late = Timestamp((LONG_AGO + 1) * SECOND);
        assert!(all.put(&of, Key::Number(10), b"z", late), "nobody asked for it any more");
    }
}
