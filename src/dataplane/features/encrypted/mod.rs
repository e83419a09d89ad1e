//! The shape of a flow's beginning: what can be said of traffic that cannot be read. Sizes and times of the first packets
//! with payload, the bytes of the first payload of each side, the test for fully encrypted traffic, sizes of records.
//!
//! Owns the schema ([`SHAPE_VERSION`], [`columns`]) and a pool of entries, one a flow, from its first payload until it ends.
//! It deliberately does not: keep payload, put segments in order (records are followed while they come in order), know what
//! a shape means. A flow's row has what its talk comes to (`super::talk`); whole it goes up with a flow that ends, for export.
//!
//! | bounded | by |
//! | --- | --- |
//! | packets | [`PACKETS`] with payload, both sides together |
//! | bytes looked at | [`HEAD_BYTES`] of the first payload of each side |
//! | records | [`RECORDS`] a side, of TLS, DTLS and QUIC, within these packets |
//! | flows at once | the pool; the entry whose turn it is gives way, and is counted |

mod head;
mod records;
#[cfg(test)]
mod tests;

pub use head::{Head, exempt};
pub use records::Records;

use crate::dataplane::flow::Side;
use crate::dataplane::inspect::Payload;
use crate::units::Timestamp;
use head::Scratch;
use records::Follower;

/// Version of the schema: any change of meaning or order raises it.
pub const SHAPE_VERSION: u32 = 1;
/// Packets with payload whose size and time are kept. What tells applications apart is in the first dozen; each costs six
/// bytes a flow and a packet off the short way.
pub const PACKETS: usize = 16;
/// Records of each side.
pub const RECORDS: usize = 8;
/// Bytes of a side's first payload that are looked at: entropy in bits a byte needs some hundreds to mean something, and
/// each costs some instructions.
pub const HEAD_BYTES: usize = 1024;

/// What was seen of a flow.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Shape {
    /// Packets seen, at most [`PACKETS`].
    pub packets: u8,
    /// A bit for each that the responder sent, the first lowest.
    pub responder: u16,
    /// Bytes of their payload on the wire.
    pub lengths: [u16; PACKETS],
    /// Microseconds since the one before, 0 for the first; 2^32 - 1 is that or more.
    pub gaps_us: [u32; PACKETS],
    /// The first payload of originator and responder; of no bytes where there was none.
    pub heads: [Head; 2],
    /// Records of originator and responder.
    pub records: [Records; 2],
    /// Which record begins each packet, four bits each, the first lowest; see [`Shape::begins_with`].
    pub begins: u64,
}

const _: () = assert!(PACKETS <= 16, "a bit each");

impl Shape {
    /// Length of packet `index`, negative if the responder sent it; `None` if there was none.
    pub fn signed_length(&self, index: usize) -> Option<i32> {
        let length = self.lengths.get(..usize::from(self.packets))?.get(index)?;
        Some(if self.responder >> index & 1 == 0 { i32::from(*length) } else { -i32::from(*length) })
    }

    /// Type of the record that begins packet `index`, of TLS by its first bytes, of others as in [`Records`]; 0: none does.
    pub fn begins_with(&self, index: usize) -> u8 {
        if index < PACKETS { records::kind_of(self.begins >> (4 * index) & 15) } else { 0 }
    }

    /// The same with originator and responder exchanged.
    pub fn turned(mut self) -> Shape {
        let seen = (1_u32 << self.packets.min(16)) - 1;
        self.responder ^= seen as u16; // a bit for each packet
        self.heads.reverse();
        self.records.reverse();
        self
    }

    /// Is the originator's first payload none of what the test for fully encrypted traffic exempts?
    pub fn is_fully_encrypted(&self) -> bool {
        let [first, _] = &self.heads;
        first.bytes > 0 && first.exempt == 0
    }

    /// The values in the order of [`columns`]; what there was not is 0.
    pub fn values(&self) -> [f32; COLUMNS] {
        let mut row = [0.0; COLUMNS];
        let lengths = (0..PACKETS).map(|index| self.signed_length(index).unwrap_or(0) as f32);
        let gaps = self.gaps_us.iter().map(|gap| *gap as f32);
        let heads = self.heads.iter().flat_map(|head| {
            [
                f32::from(head.bytes),
                head.entropy,
                head.ones,
                head.printable,
                f32::from(head.run),
                f32::from(head.exempt),
            ]
        });
        let verdict = std::iter::once(f32::from(u8::from(self.is_fully_encrypted())));
        let records = self.records.iter().flat_map(|records| {
            (0..RECORDS)
                .flat_map(|index| records.get(index).map_or([0.0; 2], |(kind, size)| [kind.into(), size.into()]))
        });
        for (place, value) in row.iter_mut().zip(lengths.chain(gaps).chain(heads).chain(verdict).chain(records)) {
            *place = value;
        }
        row
    }
}

/// Values of each head.
const HEAD_VALUES: usize = 6;
/// Number of values of a shape.
pub const COLUMNS: usize = 2 * PACKETS + 2 * HEAD_VALUES + 1 + 2 * 2 * RECORDS;

/// Name and unit of one value.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Column {
    /// Name; "out" is the originator's.
    pub name: String,
    /// Unit.
    pub unit: &'static str,
}

/// What the values of [`Shape::values`] are, in their order.
pub fn columns() -> Vec<Column> {
    let mut all = Vec::with_capacity(COLUMNS);
    let mut put = |name: String, unit| all.push(Column { name, unit });
    (1..=PACKETS).for_each(|number| put(format!("length_{number}"), "bytes, negative from the responder"));
    (1..=PACKETS).for_each(|number| put(format!("gap_{number}"), "us"));
    for side in ["out", "in"] {
        put(format!("first_bytes_{side}"), "bytes");
        put(format!("first_entropy_{side}"), "bits a byte");
        put(format!("first_ones_{side}"), "bits a byte");
        put(format!("first_printable_{side}"), "ratio");
        put(format!("first_run_{side}"), "bytes");
        put(format!("first_exempt_{side}"), "bits, one for each exemption");
    }
    put("fully_encrypted".to_owned(), "flag");
    for side in ["out", "in"] {
        for number in 1..=RECORDS {
            put(format!("record_type_{side}_{number}"), "type");
            put(format!("record_size_{side}_{number}"), "bytes");
        }
    }
    all
}

/// What of a flow did not come, or came twice, as far as it was inspected. It is no part of the shape: it is kept with it
/// because both live from a flow's first payload until it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// Bytes of both sides that were acknowledged and never seen; 2^32 - 1 is that or more.
    pub missed: u32,
    /// Originator and responder sent a segment that brought nothing new.
    pub repeated: [bool; 2],
}

impl Losses {
    /// The same with the sides exchanged.
    pub fn turned(self) -> Losses {
        let [originator, responder] = self.repeated;
        Losses { repeated: [responder, originator], ..self }
    }
}

/// One flow's.
#[derive(Clone, Copy, Default)]
struct Entry {
    shape: Shape,
    losses: Losses,
    followers: [Follower; 2],
    is_quic: bool,
    last: Timestamp,
    /// Nobody but us wants more of the flow.
    alone: bool,
    slot: u32,
}

const _: () = assert!(size_of::<Entry>() <= 320);

/// No entry.
const NONE: u32 = u32::MAX;
/// Its entry was given to another flow.
const OVER: u32 = u32::MAX - 1;

/// The shapes of a queue's flows.
pub struct Shapes {
    /// Entry of each slot of the flow table.
    places: Vec<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Whose turn it is to give way.
    hand: u32,
    scratch: Box<Scratch>,
    given_up: u64,
}

impl Shapes {
    /// Takes all memory: `flows` at once, of a flow table of `slots`; 0 flows for none at all.
    pub fn new(flows: u32, slots: u32) -> Shapes {
        let flows = flows.min(slots).min(OVER);
        Shapes {
            places: vec![NONE; if flows == 0 { 0 } else { slots as usize }],
            entries: vec![Entry::default(); flows as usize],
            free: (0..flows).rev().collect(),
            hand: 0,
            scratch: Box::default(),
            given_up: 0,
        }
    }

    /// Memory that [`Shapes::new`] takes.
    pub fn bytes(flows: u32, slots: u32) -> usize {
        let places = if flows == 0 { 0 } else { slots as usize * size_of::<u32>() };
        places + flows.min(slots) as usize * (size_of::<Entry>() + size_of::<u32>()) + size_of::<Scratch>()
    }

    /// Are there any?
    #[inline]
    pub fn is_on(&self) -> bool {
        !self.places.is_empty()
    }

    /// Flows that have a shape at present.
    pub fn held(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Shapes given up for others since the last call.
    pub fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// A packet with payload, of `announced` bytes on the wire. Is the next one wanted?
    pub fn payload(&mut self, payload: &Payload<'_>, sequence: Option<u32>, announced: u32) -> bool {
        if announced == 0 {
            return true;
        }
        let Some(index) = self.place(payload) else { return false };
        let (Some(entry), scratch) = (self.entries.get_mut(index as usize), &mut self.scratch) else {
            return false;
        };
        entry.packet(payload, sequence, announced, scratch)
    }

    /// Does the inspector still look at this flow?
    pub fn is_inspected(&self, slot: u32) -> bool {
        self.entry(slot).is_none_or(|entry| !entry.alone)
    }

    /// The inspector wants no more of this flow.
    pub fn inspection_is_over(&mut self, slot: u32) {
        let index = self.places.get(slot as usize).copied().unwrap_or(NONE);
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.alone = true;
        }
    }

    /// With a packet of `side` reassembly found `missed` bytes lost, or that it was `repeated`.
    pub fn lose(&mut self, slot: u32, side: Side, missed: u64, repeated: bool) {
        let index = self.places.get(slot as usize).copied().unwrap_or(NONE);
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        entry.losses.missed = entry.losses.missed.saturating_add(missed);
        let [originator, responder] = &mut entry.losses.repeated;
        match side {
            Side::Originator => *originator |= repeated,
            Side::Responder => *responder |= repeated,
        }
    }

    /// What was lost of the flow in this slot; `None` if nothing was kept of it.
    pub fn losses(&self, slot: u32) -> Option<Losses> {
        self.entry(slot).map(|entry| entry.losses)
    }

    /// The shape of the flow in this slot, as far as it has come.
    #[inline]
    pub fn of(&self, slot: u32) -> Option<&Shape> {
        self.entry(slot).map(|entry| &entry.shape)
    }

    /// The flow in this slot is over; its shape, if it had payload and kept its entry.
    pub fn end(&mut self, slot: u32) -> Option<Shape> {
        let shape = self.of(slot).copied();
        self.release(slot);
        shape
    }

    /// The flow in this slot is over, and nobody wants its shape.
    #[inline]
    pub fn release(&mut self, slot: u32) {
        let Some(place) = self.places.get_mut(slot as usize) else { return };
        let index = std::mem::replace(place, NONE);
        if (index as usize) < self.entries.len() {
            self.free.push(index); // it came from there
        }
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(*self.places.get(slot as usize)? as usize)
    }

    /// The flow's entry, a new one if it has none; `None` if it had to give its own away.
    fn place(&mut self, payload: &Payload<'_>) -> Option<u32> {
        match *self.places.get(payload.slot as usize)? {
            OVER => return None,
            NONE => {}
            index => return Some(index),
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.take_turn()?,
        };
        *self.entries.get_mut(index as usize)? = Entry { slot: payload.slot, last: payload.time, ..Entry::default() };
        *self.places.get_mut(payload.slot as usize)? = index;
        Some(index)
    }

    /// Takes the entry whose turn it is from its flow.
    #[cold]
    fn take_turn(&mut self) -> Option<u32> {
        self.hand = if self.hand as usize + 1 < self.entries.len() { self.hand + 1 } else { 0 };
        let owner = self.entries.get(self.hand as usize)?.slot;
        *self.places.get_mut(owner as usize)? = OVER;
        self.given_up += 1;
        Some(self.hand)
    }
}

impl Entry {
    fn packet(&mut self, payload: &Payload<'_>, sequence: Option<u32>, announced: u32, scratch: &mut Scratch) -> bool {
        let shape = &mut self.shape;
        let at = usize::from(shape.packets);
        let (Some(length), Some(gap)) = (shape.lengths.get_mut(at), shape.gaps_us.get_mut(at)) else {
            return false;
        };
        *length = u16::try_from(announced).unwrap_or(u16::MAX);
        *gap = u32::try_from(payload.time.since(self.last) / 1000).unwrap_or(u32::MAX);
        shape.packets += 1;
        self.last = payload.time;
        let side = match payload.side {
            Side::Originator => 0,
            Side::Responder => {
                shape.responder |= 1 << at;
                1
            }
        };
        let head = shape.heads.get_mut(side);
        if let Some(head) = head.filter(|head| head.bytes == 0 && !payload.bytes.is_empty()) {
            *head = head::look(payload.bytes, scratch);
        }
        if let (Some(records), Some(follower)) = (shape.records.get_mut(side), self.followers.get_mut(side)) {
            let begins = match sequence {
                Some(sequence) => {
                    follower.segment(sequence, payload.bytes, announced, records);
                    records::tls(payload.bytes)
                }
                None if payload.key.protocol() == 17 => records::datagram(payload.bytes, &mut self.is_quic, records),
                None => records::tls(payload.bytes),
            };
            shape.begins |= records::number_of(begins) << (4 * at);
        }
        usize::from(shape.packets) < PACKETS
    }
}
