//! Data of SYNs (RFC 9293 section 3.10.7.2, RFC 7413) whose connection nobody has answered yet.
//!
//! A flood of SYNs with data must not cost what inspecting as many flows costs: until the other side says something, data are
//! a copy in a ring, of which the oldest is overwritten.

use crate::dataplane::decode::FlowKey;

/// SYNs at once whose data wait for an answer; 1.5 KiB each. Of a flood of a million a second an answer within a millisecond
/// finds its SYN's data.
pub const SYNS: u32 = 1024;
/// Bytes of a SYN that are kept: a segment over Ethernet.
pub const SYN_BYTES: usize = 1460;

/// The ring.
pub(super) struct Syns {
    all: Vec<Syn>,
    next: u32,
}

#[derive(Clone)]
struct Syn {
    key: FlowKey,
    sequence: u32,
    count: u16,
    bytes: [u8; SYN_BYTES],
}

impl Default for Syn {
    fn default() -> Syn {
        Syn { key: FlowKey::default(), sequence: 0, count: 0, bytes: [0; SYN_BYTES] }
    }
}

impl Syns {
    /// Memory of each.
    pub(super) const MEMORY: usize = size_of::<Syn>();

    pub(super) fn new(count: u32) -> Syns {
        Syns { all: vec![Syn::default(); count as usize], next: 0 }
    }

    /// Keeps the data of a flow's SYN, `sequence` the number of their first byte; gives where they are.
    pub(super) fn keep(&mut self, key: &FlowKey, sequence: u32, bytes: &[u8]) -> Option<u32> {
        let index = self.next;
        let syn = self.all.get_mut(index as usize)?;
        let bytes = bytes.get(..SYN_BYTES).unwrap_or(bytes);
        (syn.key, syn.sequence, syn.count) = (*key, sequence, bytes.len() as u16); // at most SYN_BYTES
        syn.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.next = if index + 1 < self.all.len() as u32 { index + 1 } else { 0 };
        Some(index)
    }

    /// What was kept there of this flow: its sequence number, and the data. `None`: it was overwritten.
    pub(super) fn get(&self, index: u32, key: &FlowKey) -> Option<(u32, &[u8])> {
        let syn = self.all.get(index as usize).filter(|syn| syn.key == *key)?;
        Some((syn.sequence, syn.bytes.get(..usize::from(syn.count))?))
    }
}
