//! Whose SYNs the flows of a queue began with, for whoever hears of such a flow at its end.
//!
//! Beside the flow table, because a record has no room. Written by SYNs with options of flows that are inspected, which a
//! flood mostly has none of; read at the end of flows that were answered.

use crate::dataplane::decode::Stack;
use crate::dataplane::flow::{FlowRecord, Side};
use crate::dataplane::inspect::Payload;
use crate::units::Timestamp;

/// Bytes of options of the shortest SYN that tells something.
const OPTIONS_MIN: usize = 8;

/// Stacks of originator and responder, and which flow's they are.
#[derive(Clone, Copy, Default)]
struct Entry {
    tag: u16,
    sides: [Stack; 2],
}

/// Tells the flows of one slot apart.
fn tag(first_seen: Timestamp) -> u16 {
    (first_seen.0 ^ first_seen.0 >> 16 ^ first_seen.0 >> 32) as u16
}

/// Stacks by the slots of a flow table.
pub struct Stacks(Vec<Entry>);

impl Stacks {
    /// Memory for a table of so many slots, bytes.
    pub fn bytes(slots: u32) -> usize {
        slots as usize * size_of::<Entry>()
    }

    /// For a table of so many slots; none where nobody wants to know.
    pub fn new(slots: u32) -> Stacks {
        Stacks(vec![Entry::default(); slots as usize])
    }

    /// A SYN, or the answer to one, of a flow without payload so far.
    #[inline]
    pub fn note(&mut self, payload: &Payload<'_>) {
        let header = payload.tcp.map_or(&[][..], |tcp| tcp.header);
        if let Some(options) = header.get(20..).filter(|options| options.len() >= OPTIONS_MIN) {
            self.read(payload, header.len(), options);
        }
    }

    #[inline(never)]
    fn read(&mut self, payload: &Payload<'_>, header_bytes: usize, options: &[u8]) {
        let Some(entry) = self.0.get_mut(payload.slot as usize) else { return };
        let tag = tag(payload.first_seen);
        if entry.tag != tag {
            *entry = Entry { tag, ..Entry::default() };
        }
        let stack = time_to_live(payload, header_bytes).map_or(Stack::Unknown, |time| Stack::of(time, options));
        if let Some(side) = entry.sides.get_mut(payload.side as usize) {
            *side = stack;
        }
    }

    /// Stacks of originator and responder of the flow in this slot; of one with a silent side nobody wants to know.
    pub fn of(&self, slot: u32, record: &FlowRecord) -> [Stack; 2] {
        if record.packets(Side::Originator) == 0 || record.packets(Side::Responder) == 0 {
            return [Stack::Unknown; 2];
        }
        let entry = self.0.get(slot as usize).filter(|entry| entry.tag == tag(record.first_seen()));
        entry.map_or([Stack::Unknown; 2], |entry| entry.sides)
    }
}

/// Time to live of the IPv4 header, without options, or hop limit of the IPv6 header right before that of TCP.
fn time_to_live(payload: &Payload<'_>, header_bytes: usize) -> Option<u8> {
    let before = payload.before.get(..payload.before.len().checked_sub(header_bytes)?)?;
    match payload.key.is_v4() {
        true => before.last_chunk::<20>().filter(|ip| ip[0] == 0x45 && ip[9] == 6).map(|ip| ip[8]),
        false => before.last_chunk::<40>().filter(|ip| ip[0] >> 4 == 6 && ip[6] == 6).map(|ip| ip[7]),
    }
}

// Who began is the first of both.
const _: () = assert!(Side::Originator as usize == 0 && Side::Responder as usize == 1);
