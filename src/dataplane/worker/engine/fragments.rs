//! Fragments: the ports of later ones, whole datagrams, what is odd about them.
//!
//! A fragment counts in its flow by itself, one that overtook its first one when its datagram is whole. When its datagram is whole, the one that completed it shows the datagram to the
//! flow's inspection; where the datagram is a packet of a tunnel, the packet in it is accounted as one more.

use crate::dataplane::capture::{BURST_MAX, FrameView, LinkType};
use crate::dataplane::decode::{
    Decoded, DefragSettings, Defragmenter, Direction, Early, FlowKey, FragmentSettings, FragmentTable, Layers, Outcome,
    Outer, Packet, decode_within,
};
use crate::dataplane::worker::sinks::Sinks;
use crate::metrics::Counter;
use crate::units::Timestamp;

/// Datagrams looked at for their time-out, a burst and a fragment.
const EXPIRE_BUDGET: usize = 4;

/// A datagram that became whole in this burst.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    slot: u16,
    /// The frame that completed it.
    place: u16,
    /// What it decoded as.
    pub(super) packet: Packet,
    /// That is a packet of a flow.
    pub(super) is_packet: bool,
    /// That packet is one of a flow in the tunnel whose packet the datagram is.
    pub(super) is_tunnelled: bool,
    /// It was shown to the inspection of its flow, with the fragment that completed it.
    pub(super) was_shown: bool,
    /// It is another queue's, and was sent there.
    pub(super) was_handed_over: bool,
    /// What is round that packet.
    pub(super) outer: Outer,
    /// Flow of its fragments, and which way they went.
    pub(super) carrier: (FlowKey, Direction),
    /// Those of them that are not in its counts yet.
    pub(super) early: Early,
}

impl Whole {
    /// The fragments that came before the one with the ports, as packets of their flow: as many as they were, and of as many
    /// bytes in all.
    pub(super) fn early_packets(&self) -> impl Iterator<Item = Packet> {
        let Early { frames, bytes, payload } = self.early;
        let (key, direction) = self.carrier;
        let time = self.packet.time;
        let share = move |all: u32, number: u32| all / frames + u32::from(number < all % frames);
        (0..frames).map(move |number| Packet {
            key,
            direction,
            time,
            wire_bytes: share(bytes, number),
            payload_bytes: share(payload, number),
            fragment: true,
            ..Packet::default()
        })
    }
}

/// Which queue this is among those that hand over to each other; `queues` below 2: nobody does.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) place: usize,
    pub(super) queues: usize,
}

impl Owner {
    fn is_other(self, key: &FlowKey) -> bool {
        self.queues > 1 && key.owner(self.queues) != self.place
    }
}

/// What a queue knows of fragments.
pub(super) struct Fragments {
    table: FragmentTable,
    defragmenter: Defragmenter,
    /// Of this burst; each took a frame of it.
    wholes: Vec<Whole>,
    /// So many of them were looked at, and so many before that for whose they are.
    next: usize,
    sorted: usize,
}

impl Fragments {
    /// Takes all memory.
    pub(super) fn new(table: FragmentSettings, defrag: DefragSettings, seed: u64) -> Fragments {
        Fragments {
            table: FragmentTable::new(table, seed),
            defragmenter: Defragmenter::new(defrag, seed.rotate_left(17)),
            wholes: Vec::with_capacity(BURST_MAX),
            next: 0,
            sorted: 0,
        }
    }

    /// A fragment that `packet` was decoded from, and `layers` left with: fills in key and direction, as far as the first
    /// one is known, and puts its datagram together.
    ///
    /// # Errors
    /// [`Counter::DropFragmentUnknown`] for a later one whose first one is not known. Its bytes are kept all the same, and it
    /// counts in its flow once its datagram is whole.
    #[cold]
    pub(super) fn take(
        &mut self,
        view: FrameView<'_>,
        packet: &mut Packet,
        outcome: Decoded,
        layers: &Layers,
        owner: Owner,
        sinks: &mut Sinks,
    ) -> Result<(), Counter> {
        let time = packet.time;
        let goes_by_ports = packet.key.protocol() == 6;
        if !goes_by_ports && owner.is_other(&packet.key) {
            return Ok(());
        }
        let resolved = self.table.resolve(outcome, packet, time);
        // Of TCP only the ports tell whose it is, and its owner resolves it again.
        if goes_by_ports && owner.queues > 1 && (resolved.is_err() || owner.is_other(&packet.key)) {
            return resolved;
        }
        if !self.defragmenter.is_on() {
            return resolved;
        }
        self.expire(time, sinks);
        let taken = self.defragmenter.take(view.bytes, packet, &layers.place, time);
        sinks.counters.add(Counter::DatagramsEvicted, u64::from(taken.evicted));
        if resolved.is_err() && taken.outcome != Outcome::Refused {
            self.defragmenter.note_early(packet);
        }
        if !taken.anomalies.is_empty() {
            sinks.on_fragment(taken.anomalies, &packet.key, packet.direction, time);
        }
        if let Outcome::Whole(slot) = taken.outcome {
            sinks.counters.add(Counter::DatagramsWhole, 1);
            self.keep(slot, packet, layers, sinks);
        }
        resolved
    }

    /// Decodes a whole datagram; keeps it until the end of the burst if there is a packet in it to be shown, or fragments of
    /// it to be counted.
    ///
    /// From the layers of the fragment, which stay those of its frame; what its options are was told of the first one.
    fn keep(&mut self, slot: u16, completed_by: &Packet, layers: &Layers, sinks: &mut Sinks) {
        let Some(datagram) = self.defragmenter.datagram(slot) else { return };
        let mut packet = Packet { time: completed_by.time, ..Packet::default() };
        let mut layers = *layers;
        let length = datagram.packet.len() as u32; // at most 65 555
        let (carrier, early) = ((datagram.key, datagram.direction), datagram.early);
        let decoded = decode_within(datagram.packet, length, LinkType::RawIp, &mut packet, &mut layers);
        let anomalies = layers.anomalies.above_network();
        if let Some(fault) = layers.fault.take()
            && !anomalies.iter().any(|one| one.counter() == fault)
        {
            sinks.counters.add(fault, 1);
        }
        if !anomalies.is_empty() {
            sinks.on_headers(anomalies, &packet, decoded == Decoded::Flow);
        }
        let is_tunnelled = packet.key != datagram.key;
        let is_packet = decoded == Decoded::Flow;
        if (is_packet || early.frames > 0) && self.wholes.len() < self.wholes.capacity() {
            self.wholes.push(Whole {
                slot,
                place: completed_by.place,
                packet,
                is_packet,
                is_tunnelled,
                was_shown: false,
                was_handed_over: false,
                outer: layers.outer,
                carrier,
                early,
            });
        } else {
            self.defragmenter.release(slot);
        }
    }

    /// Did datagrams become whole in this burst?
    #[inline(always)]
    pub(super) fn has_whole(&self) -> bool {
        !self.wholes.is_empty()
    }

    /// The datagram that a fragment completed, as a packet of the fragment's flow, to be shown now.
    #[cold]
    pub(super) fn completed_by(&mut self, packet: &Packet) -> Option<(FrameView<'_>, Packet)> {
        let is_it = |whole: &&mut Whole| whole.place == packet.place && whole.packet.key == packet.key;
        let whole = self.wholes.iter_mut().find(is_it)?;
        whole.was_shown = true;
        let whole = *whole;
        Some((self.view(&whole)?, whole.packet))
    }

    /// The next datagram of this burst, if a frame in front of `place` completed it.
    pub(super) fn next_before(&mut self, place: usize) -> Option<(FrameView<'_>, Whole)> {
        let whole = *self.wholes.get(self.next).filter(|whole| usize::from(whole.place) < place)?;
        self.next += 1;
        Some((self.view(&whole)?, whole))
    }

    /// Offers the packets in tunnels whose datagrams a frame in front of `place` completed, each once; what is taken is no more
    /// this queue's.
    pub(super) fn hand_over_before(&mut self, place: usize, mut take: impl FnMut(FrameView<'_>, &Packet) -> bool) {
        while let Some(whole) = self.wholes.get(self.sorted).filter(|whole| usize::from(whole.place) < place) {
            let offered = whole.is_packet && whole.is_tunnelled;
            let taken = offered && self.view(whole).is_some_and(|view| take(view, &whole.packet));
            if let Some(whole) = self.wholes.get_mut(self.sorted) {
                whole.was_handed_over = taken;
            }
            self.sorted += 1;
        }
    }

    fn view(&self, whole: &Whole) -> Option<FrameView<'_>> {
        let bytes = self.defragmenter.datagram(whole.slot)?.packet;
        Some(FrameView { port: 0, bytes, wire_bytes: bytes.len() as u32, time: None, link: LinkType::RawIp })
    }

    /// The burst is over: its datagrams are not needed any more.
    pub(super) fn release(&mut self) {
        (self.next, self.sorted) = (0, 0);
        for whole in self.wholes.drain(..) {
            self.defragmenter.release(whole.slot);
        }
    }

    /// Gives up datagrams whose time is over, a few at a time.
    pub(super) fn expire(&mut self, now: Timestamp, sinks: &mut Sinks) {
        self.defragmenter.expire(now, EXPIRE_BUDGET, |key, direction, at| sinks.on_incomplete(key, direction, at));
    }

    /// Gives up all that wait. O(datagrams), on shutdown only.
    pub(super) fn finish(&mut self, sinks: &mut Sinks) {
        let each = |key: &_, direction, at| sinks.on_incomplete(key, direction, at);
        self.defragmenter.expire(Timestamp(u64::MAX), usize::from(u16::MAX), each);
    }
}
