//! Under which link addresses the latest connections of a queue began, for whoever asks who is in their middle.
//!
//! Beside the flow table, because a record has no room, and smaller than it: the latest [`CONNECTIONS`] or so, of which an attacker who
//! opens as many at the same moment washes some out. Written by SYNs with options of flows that are inspected, as
//! [`super::Stacks`] are; read at the end of flows that were answered. A tap behind a bridge sees a packet twice that somebody passes
//! on: the SYN comes again, from the card to which it had gone.

use crate::dataplane::decode::Links;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::Payload;
use crate::units::Timestamp;

/// Connections remembered, 40 bytes each, a power of two.
const CONNECTIONS: usize = 4096;

/// How a connection began, and which flow's it is.
#[derive(Clone, Copy, Default)]
struct Entry {
    slot: u32,
    first_seen: Timestamp,
    links: Links,
}

const _: () = assert!(CONNECTIONS.is_power_of_two() && size_of::<Entry>() <= 40);

/// See the module.
pub struct Openings(Vec<Entry>);

impl Openings {
    /// Memory, bytes; `slots`: those of a flow table whose flows are noted.
    pub fn bytes(slots: u32) -> usize {
        Openings::entries(slots) * size_of::<Entry>()
    }

    fn entries(slots: u32) -> usize {
        if slots > 0 { CONNECTIONS } else { 0 }
    }

    /// For a table of so many slots; none where nobody wants to know.
    pub fn new(slots: u32) -> Openings {
        Openings(vec![Entry::default(); Openings::entries(slots)])
    }

    /// A SYN, or the answer to one, of a flow without payload so far.
    #[inline(never)]
    pub fn note(&mut self, payload: &Payload<'_>) {
        let Some((to, from)) = cards(payload) else { return };
        let Some(entry) = self.0.get_mut(payload.slot as usize % CONNECTIONS) else { return };
        if (entry.slot, entry.first_seen) != (payload.slot, payload.first_seen) {
            *entry = Entry { slot: payload.slot, first_seen: payload.first_seen, links: Links::default() };
        }
        let Links { originator, towards, relayed_to, responder } = &mut entry.links;
        match payload.side {
            Side::Originator if *originator == [0; 6] => (*originator, *towards) = (from, to),
            Side::Originator if from == *towards && to != *originator => *relayed_to = to,
            Side::Responder if *responder == [0; 6] => *responder = from,
            _ => {}
        }
    }

    /// How the flow in this slot began, as far as it is remembered.
    pub fn of(&self, slot: u32, first_seen: Timestamp) -> Option<Links> {
        let entry = self.0.get(slot as usize % CONNECTIONS)?;
        ((entry.slot, entry.first_seen) == (slot, first_seen)).then_some(entry.links)
    }
}

/// Link addresses of receiver and sender of a frame of Ethernet with at most two tags, in no tunnel: what lies before an IPv4 header
/// without options, or before the IPv6 header right before that of TCP.
fn cards(payload: &Payload<'_>) -> Option<([u8; 6], [u8; 6])> {
    let header_bytes = payload.tcp?.header.len();
    let network = if payload.key.is_v4() { 20 } else { 40 };
    let link = payload.before.get(..payload.before.len().checked_sub(header_bytes + network)?)?;
    let (kind, is_tagged) = (u16::from_be_bytes(*link.get(12..)?.first_chunk::<2>()?), link.len() != 14);
    let good = match (link.len(), is_tagged) {
        (14, _) => matches!(kind, 0x0800 | 0x86dd),
        (18 | 22, true) => matches!(kind, 0x8100 | 0x88a8 | 0x9100),
        _ => false,
    };
    let (to, from) = (*link.first_chunk::<6>()?, *link.get(6..)?.first_chunk::<6>()?);
    good.then_some((to, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::decode::FlowKey;
    use crate::dataplane::inspect::Segment;

    const VICTIM: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWNER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 66];

    fn note(openings: &mut Openings, (from, to): ([u8; 6], [u8; 6]), side: Side, link: &[u8]) {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 80, 6, 0);
        let mut frame = [&to[..], &from[..], link].concat();
        frame.extend([0; 40]);
        let header = &[0; 20][..];
        let payload = Payload {
            slot: 4097,
            key: &key,
            originator: if side == Side::Originator { originator } else { originator.flip() },
            first_seen: Timestamp(5),
            side,
            tcp: Some(Segment { header, ..Segment::default() }),
            bytes: &[],
            before: &frame,
            is_cut: false,
            time: Timestamp(5),
        };
        openings.note(&payload);
    }

    #[test]
    fn a_syn_that_is_passed_on_is_seen_twice() {
        const IP: &[u8] = &[8, 0];
        type Frame = (([u8; 6], [u8; 6]), Side);
        let run = |link: &[u8], frames: &[Frame]| {
            let mut openings = Openings::new(16);
            frames.iter().for_each(|(cards, side)| note(&mut openings, *cards, *side, link));
            openings.of(4097, Timestamp(5))
        };
        let direct = [((VICTIM, OWNER), Side::Originator), ((OWNER, VICTIM), Side::Responder)];
        let relayed = [((VICTIM, OTHER), Side::Originator), ((OTHER, OWNER), Side::Originator), direct[1]];
        let again = [direct[0], direct[0], direct[1]];
        let links = Links { originator: VICTIM, towards: OWNER, relayed_to: [0; 6], responder: OWNER };
        assert_eq!(run(IP, &direct), Some(links));
        assert_eq!(run(IP, &again), Some(links), "sent again by who had sent it");
        let wanted = Links { towards: OTHER, relayed_to: OWNER, ..links };
        assert_eq!(run(IP, &relayed), Some(wanted));
        assert_eq!(run(&[0x81, 0, 0, 7, 8, 0], &relayed), Some(wanted), "in a VLAN");
        assert_eq!(run(&[8, 6], &direct), None, "no IP after it");
        assert_eq!(run(&[8, 0, 0, 0, 0, 0, 0], &direct), None, "in a tunnel");
        let mut none = Openings::new(0);
        note(&mut none, (VICTIM, OWNER), Side::Originator, IP);
        assert_eq!(none.of(4097, Timestamp(5)), None);
    }
}
