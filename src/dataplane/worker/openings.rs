//! Under which link addresses the connections of a queue began, for whoever asks who is in their middle.
//!
//! Beside the flow table, because a record has no room, with a place for each of its slots: a smaller table would forget, and what it
//! forgot would depend on the number of workers and on who floods. Written by SYNs with options of flows that are inspected, as
//! [`super::Stacks`] are; read at the end of flows that were answered. A tap behind a bridge sees a packet twice that somebody passes
//! on: the SYN comes again, from the card to which it had gone.

use crate::dataplane::decode::Links;
use crate::dataplane::flow::{FlowRecord, Side};
use crate::dataplane::inspect::Payload;
use crate::units::Timestamp;

/// Bytes of a TCP header without options.
const PLAIN_HEADER: usize = 20;

/// How a connection began, and which of the flows that were in its slot it is.
#[derive(Clone, Copy, Default)]
struct Entry {
    first_seen: Timestamp,
    links: Links,
}

const _: () = assert!(size_of::<Entry>() == 32);

/// See the module.
pub struct Openings(Vec<Entry>);

impl Openings {
    /// Memory, bytes; `slots`: those of a flow table whose flows are noted.
    pub fn bytes(slots: u32) -> usize {
        slots as usize * size_of::<Entry>()
    }

    /// For a table of so many slots; none where nobody wants to know.
    pub fn new(slots: u32) -> Openings {
        Openings(vec![Entry::default(); slots as usize])
    }

    /// A SYN, or the answer to one, of a flow without payload so far; `is_first`: the first such of its flow.
    #[inline]
    pub fn note(&mut self, payload: &Payload<'_>, is_first: bool) {
        if payload.tcp.is_some_and(|tcp| tcp.header.len() > PLAIN_HEADER) {
            self.read(payload, is_first);
        }
    }

    #[inline(never)]
    fn read(&mut self, payload: &Payload<'_>, is_first: bool) {
        let (Some((to, from)), Some(entry)) = (cards(payload), self.0.get_mut(payload.slot as usize)) else { return };
        if is_first || entry.first_seen != payload.first_seen {
            *entry = Entry { first_seen: payload.first_seen, links: Links::default() };
        }
        let Links { originator, towards, relayed_to, responder } = &mut entry.links;
        match payload.side {
            Side::Originator if *originator == [0; 6] => (*originator, *towards) = (from, to),
            Side::Originator if from == *towards && to != *originator => *relayed_to = to,
            Side::Responder if *responder == [0; 6] => *responder = from,
            _ => {}
        }
    }

    /// How the flow in this slot began; of one with a silent side nobody wants to know.
    pub fn of(&self, slot: u32, record: &FlowRecord) -> Option<Links> {
        if record.packets(Side::Originator) == 0 || record.packets(Side::Responder) == 0 {
            return None;
        }
        self.at(slot, record.first_seen())
    }

    fn at(&self, slot: u32, first_seen: Timestamp) -> Option<Links> {
        let entry = self.0.get(slot as usize)?;
        (entry.first_seen == first_seen && entry.links != Links::default()).then_some(entry.links)
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

    fn note(openings: &mut Openings, (from, to): ([u8; 6], [u8; 6]), side: Side, link: &[u8], is_first: bool) {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 80, 6, 0);
        let mut frame = [&to[..], &from[..], link].concat();
        frame.extend([0; 44]);
        let header = &[0; 24][..];
        let payload = Payload {
            slot: 9,
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
        openings.note(&payload, is_first);
    }

    #[test]
    fn a_syn_that_is_passed_on_is_seen_twice() {
        const IP: &[u8] = &[8, 0];
        type Frame = (([u8; 6], [u8; 6]), Side);
        let run = |link: &[u8], frames: &[Frame]| {
            let mut openings = Openings::new(16);
            for (number, (cards, side)) in frames.iter().enumerate() {
                note(&mut openings, *cards, *side, link, number == 0);
            }
            openings.at(9, Timestamp(5))
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
        let mut next = Openings::new(16);
        note(&mut next, (VICTIM, OTHER), Side::Originator, IP, true);
        note(&mut next, (VICTIM, OWNER), Side::Originator, IP, true);
        assert_eq!(next.at(9, Timestamp(5)).map(|links| links.towards), Some(OWNER), "of the flow that is there now");
        assert_eq!(next.at(9, Timestamp(6)), None, "a flow of another time");
        let mut none = Openings::new(0);
        note(&mut none, (VICTIM, OWNER), Side::Originator, IP, true);
        assert_eq!(none.at(9, Timestamp(5)), None);
    }
}
