//! The frames of one burst, all the way into the flow table.

mod owners;

use super::Core;
use super::fragments::{Fragments, Owner, Whole};
use crate::dataplane::capture::{FrameView, Source};
use crate::dataplane::decode::{
    Anomalies, Decoded, FragmentAnomaly, Layers, Outer, Packet, Tunnel, arp_answer, arp_question, arp_sender, arp_told,
    decode_plain, decode_rest, ndp_sender, quoted_flow, tcp_flags, vrrp_master,
};
use crate::dataplane::flow::{FlowIndex, FlowRecord, FlowTable, Noted, Side, Signals, Staging};
use crate::dataplane::inspect::{Payload, Segment};
use crate::dataplane::worker::shed::Shed;
use crate::dataplane::worker::sinks::Sinks;
use crate::metrics::{Counter, Stage};
use crate::units::Timestamp;

/// How many frames ahead the first bytes are asked for.
const FRAMES_AHEAD: usize = 8;

impl Core {
    pub(super) fn process<S: Source>(&mut self, source: &S, count: usize, now: Timestamp, hand_over: bool) {
        self.process_with(
            |index| Source::frame(source, index),
            |index| Source::prefetch(source, index),
            count,
            now,
            hand_over,
        );
    }

    /// Decode all, probe all, update all.
    #[inline]
    fn process_with<'a>(
        &mut self,
        frame: impl Fn(usize) -> FrameView<'a>,
        prefetch: impl Fn(usize),
        count: usize,
        now: Timestamp,
        hand_over: bool,
    ) {
        let begin = self.stage_time(now);
        let burst = self.decode_all(&frame, &prefetch, count, now, hand_over && !self.peers.is_empty());
        let decoded = self.stage_time(now);
        self.stage(Stage::Decode, begin, decoded, count);
        if burst.has_icmp_errors || !self.sinks.odd.is_empty() || self.fragments.has_whole() {
            self.update_with_rare(&frame, burst);
        } else {
            self.update_all(&frame, burst, |_, _, _, _| (), |_, _, _| ());
        }
        if !self.sinks.odd.is_empty() {
            self.sinks.tell_odd_rest();
        }
        let updated = self.stage_time(now);
        self.stage(Stage::Flow, decoded, updated, count);
    }

    /// Decodes the burst into `packets`, the flows' ones next to each other, hashes their keys and asks for their buckets.
    #[inline(always)]
    fn decode_all<'a>(
        &mut self,
        frame: &impl Fn(usize) -> FrameView<'a>,
        prefetch: &impl Fn(usize),
        count: usize,
        now: Timestamp,
        hand_over: bool,
    ) -> Burst {
        let owner = Owner { place: self.place, queues: if hand_over { self.peers.len() } else { 0 } };
        let Core { packets, fragments, layers, outers, sinks, table, time: latest, .. } = self;
        // The time in a local: through `self` it would be read again after every store into a packet.
        let mut time = *latest;
        let staging = table.staging();
        let Some(packets) = packets.get_mut(..count) else { return Burst::default() };
        let mut burst = Burst { flows: count, ..Burst::default() };
        let mut bytes = 0_u64;
        for index in 0..FRAMES_AHEAD.min(count) {
            prefetch(index);
        }
        for (index, packet) in packets.iter_mut().enumerate() {
            prefetch(index + FRAMES_AHEAD);
            let view = frame(index);
            bytes += u64::from(view.wire_bytes);
            time = view.time.unwrap_or(now).max(time);
            packet.time = time;
            if let Some(words) = decode_plain(view, packet) {
                staging.stage_v4(packet, words);
            } else {
                packet.place = index as u16; // below BURST_MAX
                // The view anew: so the loop need not keep one in memory for a call that is rarely made.
                decode_unusual(frame(index), packet, (fragments, owner), layers, sinks, staging, &mut burst);
                if packet.tunnel != Tunnel::None
                    && let Some(outer) = outers.get_mut(index)
                {
                    *outer = layers.outer;
                }
            }
        }
        *latest = time;
        self.sinks.counters.add(Counter::BytesReceived, bytes);
        if burst.gaps > 0 {
            self.close_gaps(&mut burst);
        }
        if hand_over {
            self.keep_own(frame, &mut burst);
        }
        if burst.tunnelled > 0 {
            self.count_tunnels(&burst);
        }
        burst
    }

    /// Counts the packets in tunnels, and each kind of tunnel round them.
    #[cold]
    #[inline(never)]
    fn count_tunnels(&mut self, burst: &Burst) {
        let Core { packets, outers, sinks, .. } = self;
        sinks.counters.add(Counter::Tunnelled, burst.tunnelled as u64);
        for packet in packets.iter().take(burst.flows).filter(|packet| packet.tunnel != Tunnel::None) {
            if let Some(outer) = outers.get(usize::from(packet.place)) {
                sinks.count_levels(outer);
            }
        }
    }

    /// Moves the packets of flows together where frames between them were none.
    #[inline(never)]
    fn close_gaps(&mut self, burst: &mut Burst) {
        let mut kept = 0;
        for from in 0..burst.flows {
            let Some(packet) = self.packets.get_mut(from) else { break };
            if packet.hint == NO_FLOW {
                packet.hint = u32::MAX;
                continue;
            }
            let packet = Packet { place: from as u16, ..*packet };
            if let Some(to) = self.packets.get_mut(kept) {
                *to = packet;
                kept += 1;
            }
        }
        burst.moved = true;
        burst.flows = kept;
    }

    /// [`Core::update_all`] for a burst that has ICMP errors, unusual headers or datagrams put together, in the order of its
    /// packets.
    #[inline(never)]
    fn update_with_rare<'a>(&mut self, frame: &impl Fn(usize) -> FrameView<'a>, burst: Burst) {
        self.update_all(frame, burst, update_wholes, |table, sinks, packet| {
            if !sinks.odd.is_empty() {
                sinks.tell_odd(table, packet);
            }
            if is_icmp_error(packet) {
                refuse_quoted(table, sinks, frame(usize::from(packet.place)), packet);
            }
        });
        update_wholes(&mut self.table, &mut self.sinks, &mut self.fragments, usize::MAX);
        self.fragments.release();
    }

    /// Probes all, then accounts all; `before` is told the place of each packet's frame, `after` sees it once it is accounted.
    #[inline(always)]
    fn update_all<'a>(
        &mut self,
        frame: &impl Fn(usize) -> FrameView<'a>,
        burst: Burst,
        before: impl Fn(&mut FlowTable, &mut Sinks, &mut Fragments, usize),
        after: impl Fn(&mut FlowTable, &mut Sinks, &Packet),
    ) {
        let Core { table, sinks, packets, fragments, outers, .. } = self;
        let flows = burst.flows;
        let Some(packets) = packets.get_mut(..flows) else { return };
        table.probe_all(packets);
        let mut full = 0;
        for (at, packet) in packets.iter().enumerate() {
            before(table, sinks, fragments, if burst.moved { usize::from(packet.place) } else { at });
            let Some((mut index, mut record, mut signals)) =
                table.account(packet, packet.hint, |ended| sinks.on_end(&ended))
            else {
                full += 1;
                continue;
            };
            if !signals.is_empty() {
                if signals == Signals::ANEW {
                    let place = if burst.moved { usize::from(packet.place) } else { at };
                    let Some(settled) = settle(table, sinks, frame(place), packet, index) else {
                        full += 1;
                        continue;
                    };
                    (index, record, signals) = settled;
                }
                if sinks.handshakes.wants(packet, signals) {
                    let place = if burst.moved { usize::from(packet.place) } else { at };
                    let view = frame(place);
                    if let Some(segment) = segment(view, packet) {
                        sinks.on_handshake((packet, view), &segment, (index, record));
                    }
                }
                signals = signals.without(Signals::HANDSHAKE);
                if !signals.is_empty() && signals != Signals::PAYLOAD {
                    if packet.tunnel != Tunnel::None && signals.has(Signals::NEW) {
                        note_outer(sinks, record, outers, packet);
                    }
                    sinks.on_signals(record, index, signals, packet.time);
                    if signals.has(Signals::ODD) {
                        sinks.on_flags(packet, record);
                    }
                }
                if signals.has(Signals::PAYLOAD) {
                    if sinks.shed >= Shed::Inspection {
                        sinks.counters.add(Counter::InspectionShed, 1);
                    } else if packet.fragment {
                        inspect_whole(table, sinks, fragments, packet, index);
                    } else {
                        let place = if burst.moved { usize::from(packet.place) } else { at };
                        inspect(table, sinks, frame(place), packet, index, false);
                    }
                    if signals.has(Signals::MILESTONE) {
                        sinks.on_milestone(table, index, packet.time);
                    }
                }
            }
            after(table, sinks, packet);
        }
        sinks.counters.add(Counter::ProcessedFlow, (flows - full) as u64);
        if full > 0 {
            sinks.counters.add(Counter::DropFlowTableFull, full as u64);
        }
    }
}

/// `Packet::hint` of a frame that belongs to no flow; no slot has this number (`FlowTable` ends at 2^30).
const NO_FLOW: u32 = u32::MAX - 1;

/// What a burst came to.
#[derive(Clone, Copy, Default)]
struct Burst {
    /// Packets of flows, at the front of `Core::packets` (with the gaps among them, until these are closed).
    flows: usize,
    /// Frames among them that belong to no flow.
    gaps: usize,
    /// Packets no longer lie where their frames do: each knows its place.
    moved: bool,
    /// Packets of tunnels.
    tunnelled: usize,
    /// Is any of them an ICMP error?
    has_icmp_errors: bool,
}

/// Decodes, counts and stages what is no plain packet. A fragment whose ports are known belongs to a flow, as do the packets of
/// other protocols; all else leaves a gap.
#[cold]
#[inline(never)]
fn decode_unusual(
    view: FrameView<'_>,
    packet: &mut Packet,
    (fragments, owner): (&mut Fragments, Owner),
    layers: &mut Layers,
    sinks: &mut Sinks,
    staging: Staging<'_>,
    burst: &mut Burst,
) {
    let outcome = decode_rest(view.bytes, view.wire_bytes, view.link, packet, layers);
    // Taken, because the short ways leave those of an earlier frame.
    let anomalies = std::mem::take(&mut layers.anomalies);
    if let Some(fault) = layers.fault.take()
        && !anomalies.iter().any(|one| one.counter() == fault)
    {
        sinks.counters.add(fault, 1);
    }
    if std::mem::take(&mut layers.is_atomic) && outcome == Decoded::Flow {
        sinks.on_fragment(Anomalies::of(FragmentAnomaly::Atomic), &packet.key, packet.direction, packet.time);
    }
    let counter = match outcome {
        Decoded::Flow => {
            if let Some(neighbour) = ndp_sender(view, packet) {
                sinks.on_neighbour(neighbour, None, packet.time);
            }
            for neighbour in vrrp_master(view, packet) {
                sinks.on_neighbour(neighbour, None, packet.time);
            }
            None
        }
        Decoded::FirstFragment | Decoded::LaterFragment => {
            sinks.counters.add(Counter::Fragments, 1);
            fragments.take(view, packet, outcome, layers, owner, sinks).err()
        }
        Decoded::Arp => {
            if let Some(question) = arp_question(view, packet) {
                sinks.on_arp(question, (packet.key.vlans(), packet.key.tunnel_identity()), packet.time);
            }
            if let Some(answer) = arp_answer(view, packet) {
                sinks.on_arp_answer(answer, packet.time);
            }
            if let Some(neighbour) = arp_sender(view, packet) {
                sinks.on_neighbour(neighbour, arp_told(view, packet), packet.time);
            }
            Some(Counter::ProcessedArp)
        }
        Decoded::Other => Some(Counter::ProcessedOther),
        Decoded::Reject(reason) => Some(reason),
    };
    if !anomalies.is_empty() {
        sinks.on_headers(anomalies, packet, outcome == Decoded::Flow);
    }
    if let Some(counter) = counter {
        sinks.counters.add(counter, 1);
        packet.hint = NO_FLOW;
        burst.gaps += 1;
        return;
    }
    burst.tunnelled += usize::from(packet.tunnel != Tunnel::None);
    burst.has_icmp_errors |= is_icmp_error(packet);
    staging.stage(packet);
}

/// Keeps what is round the first packet of a flow that is in a tunnel; one whose tunnel was not entered is in none.
#[cold]
#[inline(never)]
fn note_outer(sinks: &mut Sinks, record: &FlowRecord, outers: &[Outer], packet: &Packet) {
    if let Some(outer) = outers.get(usize::from(packet.place)).filter(|outer| outer.depth() > 0) {
        sinks.on_tunnelled(record, outer, packet.time);
    }
}

/// Destination unreachable, time exceeded, parameter problem (RFC 792), and their ICMPv6 kin (RFC 4443).
#[inline(always)]
fn is_icmp_error(packet: &Packet) -> bool {
    match packet.key.protocol() {
        1 => matches!(packet.icmp_type, 3 | 11 | 12),
        58 => matches!(packet.icmp_type, 1..=4),
        _ => false,
    }
}

/// Shows a datagram to the inspection of its flow, once, when its last fragment has come.
#[cold]
#[inline(never)]
fn inspect_whole(
    table: &mut FlowTable,
    sinks: &mut Sinks,
    fragments: &mut Fragments,
    packet: &Packet,
    index: FlowIndex,
) {
    if let Some((view, packet)) = fragments.completed_by(packet) {
        inspect(table, sinks, view, &packet, index, true);
    }
}

/// Accounts the packets that lie in the datagrams which frames in front of `place` completed as in those of a tunnel, and shows
/// those that are not in one and were not shown yet: each in its place in the burst, or what came in fragments would be read
/// behind what followed it whole.
///
/// What is in a tunnel and was not handed over ([`Core::hand_over_wholes`]) is this queue's, whoever its owner would be.
#[cold]
#[inline(never)]
fn update_wholes(table: &mut FlowTable, sinks: &mut Sinks, fragments: &mut Fragments, place: usize) {
    while let Some((view, whole)) = fragments.next_before(place) {
        count_early(table, sinks, &whole);
        if !whole.is_packet || whole.was_handed_over {
            continue;
        }
        let mut packet = whole.packet;
        packet.hash = table.hash(&packet.key);
        let hint = table.probe(packet.hash);
        if !whole.is_tunnelled {
            if !whole.was_shown {
                inspect_late(table, sinks, view, &packet, hint);
            }
            continue;
        }
        sinks.counters.add(Counter::DatagramsUnwrapped, 1);
        let accounted = table.account(&packet, hint, |ended| sinks.on_end(&ended));
        let accounted = match accounted.map(|(at, _, signals)| (at, signals)) {
            Some((at, Signals::ANEW)) => settle(table, sinks, view, &packet, at),
            Some((at, signals)) => table.get(at).map(|record| (at, record, signals)),
            None => None,
        };
        let Some((at, record, signals)) = accounted else {
            sinks.counters.add(Counter::DropFlowTableFull, 1);
            continue;
        };
        sinks.counters.add(Counter::ProcessedFlow, 1);
        sinks.count_levels(&whole.outer);
        if signals.has(Signals::NEW) {
            sinks.on_tunnelled(record, &whole.outer, packet.time);
        }
        if !signals.is_empty() && signals != Signals::PAYLOAD {
            sinks.on_signals(record, at, signals, packet.time);
        }
        if signals.has(Signals::ODD) {
            sinks.on_flags(&packet, record);
        }
        if signals.has(Signals::PAYLOAD) {
            inspect(table, sinks, view, &packet, at, true);
            if signals.has(Signals::MILESTONE) {
                sinks.on_milestone(table, at, packet.time);
            }
        }
    }
}

/// Counts the fragments of a whole datagram that came before anybody could say whose they are.
fn count_early(table: &mut FlowTable, sinks: &mut Sinks, whole: &Whole) {
    for mut packet in whole.early_packets() {
        packet.hash = table.hash(&packet.key);
        let hint = table.probe(packet.hash);
        let accounted = table.account(&packet, hint, |ended| sinks.on_end(&ended));
        let Some((index, record, signals)) = accounted else { continue };
        sinks.counters.add(Counter::FragmentsCountedLate, 1);
        let signals = signals.without(Signals::PAYLOAD); // the whole datagram's
        if !signals.is_empty() {
            sinks.on_signals(record, index, signals, packet.time);
        }
    }
}

/// Shows a datagram to the inspection of its flow where the fragment that completed it asked for none: it had no payload
/// of its own (nothing but the header of UDP), or its flow was not known by it.
#[cold]
#[inline(never)]
fn inspect_late(table: &mut FlowTable, sinks: &mut Sinks, view: FrameView<'_>, packet: &Packet, hint: u32) {
    let index = table.find(packet.hash, &packet.key, hint, packet.time, |ended| sinks.on_end(&ended));
    if let Some(index) = index.filter(|index| table.get(*index).is_some_and(FlowRecord::is_inspected)) {
        inspect(table, sinks, view, packet, index, true);
    }
}

/// Shows a packet to the inspection of its flow; keeps what a SYN without payload says. `is_joined`: it came in fragments.
#[inline(never)]
fn inspect(
    table: &mut FlowTable,
    sinks: &mut Sinks,
    frame: FrameView<'_>,
    packet: &Packet,
    index: FlowIndex,
    is_joined: bool,
) {
    let beginnings = table.beginnings(index);
    let Some(record) = table.get_mut(index) else { return };
    let tcp = segment(frame, packet).map(|tcp| Segment { beginnings, is_joined, ..tcp });
    let mut payload = payload_of(record, frame, packet, index, tcp);
    if is_joined {
        // The network header was put before it here.
        payload.before = payload.before.last_chunk::<8>().map_or(&[], |last| last);
    }
    if let Some(opening) = tcp.filter(|tcp| tcp.is_syn && packet.payload_bytes == 0) {
        let is_first = !record.has_beginnings();
        let noted = record.note_beginning(packet.direction, opening.sequence, opening.acknowledgement);
        if noted != Noted::Late {
            sinks.on_opening(&payload, is_first, noted == Noted::Contradicts);
            return;
        }
    }
    let wants = sinks.on_payload(&payload, packet.payload_bytes);
    record.inspect(wants.payload, wants.acks);
}

/// A packet as the inspection sees it.
#[inline(always)]
fn payload_of<'a>(
    record: &FlowRecord,
    frame: FrameView<'a>,
    packet: &'a Packet,
    index: FlowIndex,
    tcp: Option<Segment<'a>>,
) -> Payload<'a> {
    let begin = usize::from(packet.payload_offset);
    let rest = frame.bytes.get(begin..).unwrap_or_default();
    let announced = packet.payload_bytes as usize;
    Payload {
        slot: index.slot,
        key: &packet.key,
        originator: record.originator(),
        first_seen: record.first_seen(),
        side: if packet.direction == record.originator() { Side::Originator } else { Side::Responder },
        tcp,
        bytes: rest.get(..announced).unwrap_or(rest),
        before: frame.bytes.get(..begin).unwrap_or_default(),
        is_cut: rest.len() < announced,
        time: packet.time,
    }
}

/// A SYN, or the answer to one, on a flow that has talked: accounted as what it is by its numbers and its checksum.
#[cold]
#[inline(never)]
fn settle<'a>(
    table: &'a mut FlowTable,
    sinks: &mut Sinks,
    frame: FrameView<'_>,
    packet: &Packet,
    index: FlowIndex,
) -> Option<(FlowIndex, &'a FlowRecord, Signals)> {
    let record = table.get(index)?;
    let payload = payload_of(record, frame, packet, index, segment(frame, packet));
    let kind = sinks.on_opening_on_live(&payload, packet.direction, record);
    let settled = table.settle(index, packet, kind, |ended| sinks.on_end(&ended));
    sinks.on_settled(&payload, settled.as_ref().map(|(at, record, _)| (at.slot, record.originator())));
    settled
}

/// What the TCP header says; `None` where it is not TCP.
#[inline(always)]
fn segment<'a>(frame: FrameView<'a>, packet: &Packet) -> Option<Segment<'a>> {
    if packet.key.protocol() != 6 {
        return None;
    }
    let begin = usize::from(packet.payload_offset).checked_sub(packet.tcp.header_bytes() as usize)?;
    let header = frame.bytes.get(begin..)?;
    let header = header.get(..packet.tcp.header_bytes() as usize).unwrap_or(header);
    let &[_, _, _, _, a, b, c, d, e, f, g, h] = header.first_chunk::<12>()?;
    let flags = packet.tcp.flags();
    let is_syn = flags & tcp_flags::SYN != 0;
    Some(Segment {
        header,
        is_joined: false,
        sequence: u32::from_be_bytes([a, b, c, d]).wrapping_add(u32::from(is_syn)),
        acknowledgement: (flags & tcp_flags::ACK != 0).then(|| u32::from_be_bytes([e, f, g, h])),
        is_syn,
        is_urgent: flags & tcp_flags::URG != 0,
        beginnings: [None; 2],
    })
}

/// Lays an ICMP error at the door of the flow it quotes.
#[cold]
fn refuse_quoted(table: &mut FlowTable, sinks: &mut Sinks, frame: FrameView<'_>, packet: &Packet) {
    let Some((key, _)) = quoted_flow(frame, packet) else { return };
    let hash = table.hash(&key);
    let hint = table.probe(hash);
    let Some(index) = table.find(hash, &key, hint, packet.time, |ended| sinks.on_end(&ended)) else { return };
    let Some((record, signals)) = table.refuse(index, packet.time) else { return };
    if signals.has(Signals::REFUSED) {
        sinks.on_signals(record, index, signals, packet.time);
    }
}
