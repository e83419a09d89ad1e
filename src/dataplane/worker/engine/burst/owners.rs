//! Frames and notes between queues: what belongs to a flow of another one goes there, and what others sent is taken.

use super::{Burst, is_icmp_error, refuse_quoted};
use crate::dataplane::capture::{BURST_MAX, FrameView};
use crate::dataplane::decode::{Decoded, Packet, Tunnel, decode_rest, quoted_flow};
use crate::dataplane::worker::engine::Core;
use crate::dataplane::worker::handover::{HandoverInbox, SNAP_BYTES};
use crate::metrics::Counter;
use crate::units::Timestamp;

impl Core {
    /// Frames that other queues handed to us as the owner.
    pub(in super::super) fn take_handed_over(&mut self, inbox: &mut HandoverInbox, now: Timestamp) -> usize {
        let count = inbox.receive(BURST_MAX);
        let notes = (0..count).filter(|index| inbox.is_note(*index)).count();
        self.sinks.counters.add(Counter::HandoverReceived, (count - notes) as u64);
        // Notes are rare; where there are some, the burst is taken in the stretches between them.
        let mut begin = 0;
        while begin < count {
            let end = (begin..count).find(|index| inbox.is_note(*index)).unwrap_or(count);
            self.process_with(|index| inbox.frame(begin + index), |_| (), end - begin, now, false);
            if end < count {
                let view = inbox.frame(end);
                self.note(view, view.time.unwrap_or(now));
            }
            begin = end + 1;
        }
        count
    }

    /// An ICMP error that another queue counts, and that quotes a flow which may live here.
    #[cold]
    pub(in super::super) fn note(&mut self, view: FrameView<'_>, time: Timestamp) {
        let mut packet = Packet::default();
        // What it met is told by the queue that counts it.
        let mut layers = self.layers;
        let decoded = decode_rest(view.bytes, view.wire_bytes, view.link, &mut packet, &mut layers);
        if decoded == Decoded::Flow && is_icmp_error(&packet) {
            self.time = self.time.max(time);
            packet.time = self.time;
            refuse_quoted(&mut self.table, &mut self.sinks, view, &packet);
        }
    }

    /// Hands the packets of foreign flows to their owners and moves the others together.
    #[inline(never)]
    pub(super) fn keep_own<'a>(&mut self, frame: &impl Fn(usize) -> FrameView<'a>, burst: &mut Burst) {
        let mut kept = 0;
        for from in 0..burst.flows {
            let Some(&packet) = self.packets.get(from) else { break };
            // Where nothing was moved yet, packets lie where their frames do.
            let index = if burst.gaps == 0 { from } else { usize::from(packet.place) };
            if self.fragments.has_whole() {
                self.hand_over_wholes(index);
            }
            if is_icmp_error(&packet) {
                self.send_note(index, frame, packet.time);
            }
            let owner = packet.key.owner(self.peers.len());
            if owner != self.place {
                let peer = self.peers.get_mut(owner).and_then(Option::as_mut);
                let sent = peer.is_some_and(|peer| peer.send(frame(index), packet.time, false));
                self.sinks.counters.add(if sent { Counter::HandedOver } else { Counter::DropHandoverFull }, 1);
                burst.tunnelled -= usize::from(packet.tunnel != Tunnel::None);
                continue;
            }
            if let Some(to) = self.packets.get_mut(kept) {
                *to = Packet { place: index as u16, ..packet }; // below BURST_MAX
                kept += 1;
            }
        }
        if self.fragments.has_whole() {
            self.hand_over_wholes(usize::MAX);
        }
        burst.moved = true;
        burst.flows = kept;
    }

    /// Hands the packets in tunnels whose datagrams frames in front of `place` completed to their owners, between the frames that
    /// are handed over: a tunnel cuts full segments only, and the rest of their connection is there. What is longer than is
    /// handed over whole stays here.
    #[cold]
    #[inline(never)]
    fn hand_over_wholes(&mut self, place: usize) {
        let Core { fragments, peers, sinks, place: own, .. } = self;
        fragments.hand_over_before(place, |view, packet| {
            let owner = packet.key.owner(peers.len());
            if owner == *own || view.bytes.len() > SNAP_BYTES {
                return false;
            }
            let sent = match peers.get_mut(owner) {
                Some(Some(peer)) => peer.send(view, packet.time, false),
                _ => return false,
            };
            sinks.counters.add(Counter::DatagramsUnwrapped, 1);
            sinks.counters.add(if sent { Counter::HandedOver } else { Counter::DropHandoverFull }, 1);
            true
        });
    }

    /// Tells the owner of the flow that an ICMP error quotes, where that is another queue.
    #[cold]
    fn send_note<'a>(&mut self, index: usize, frame: &impl Fn(usize) -> FrameView<'a>, time: Timestamp) {
        let view = frame(index);
        let mut packet = Packet::default();
        // What it met is told where it is counted.
        let mut layers = self.layers;
        if decode_rest(view.bytes, view.wire_bytes, view.link, &mut packet, &mut layers) != Decoded::Flow {
            return;
        }
        let Some((key, _)) = quoted_flow(view, &packet) else { return };
        let owner = key.owner(self.peers.len());
        if owner != self.place
            && let Some(Some(peer)) = self.peers.get_mut(owner)
        {
            // A full ring loses a hint, not a frame: the contact then fails by its time-out.
            peer.send(view, time, true);
        }
    }
}
