//! Where the facts about flows go: the observer, the scoring queue, the ring up.
//!
//! Apart from the flow table, so that the table's callbacks can borrow it.

use super::anomalies::AnomalyBudget;
use super::elephants::Elephants;
use super::handshakes::Handshakes;
use super::neighbours::{Neighbours, News};
use super::openings::Openings;
use super::outers::Outers;
use super::shed::Shed;
use super::stacks::Stacks;
use super::summary::{Carried, summary};
use crate::dataplane::capture::FrameView;
use crate::dataplane::decode::{
    Anomalies, ArpAnswer, ArpQuestion, Direction, FlowKey, FragmentAnomaly, HeaderAnomalies, HeaderAnomaly, Links,
    Neighbour, Outer, Packet, flow_id, tcp_flags,
};
use crate::dataplane::detect::{Observer, ScoredFlow, SeenIn, TunnelMark, WindowEntry};
use crate::dataplane::features::encrypted::Shapes;
use crate::dataplane::features::{FeatureRow, Moment, write_row};
use crate::dataplane::flow::{EndReason, Ended, FlowIndex, FlowRecord, FlowTable, Side, Signals, SynKind, TcpState};
use crate::dataplane::inspect::{self, Inspector, Payload, Protocol, Segment, Wants};
use crate::dataplane::score::{Microbatch, Verdict};
use crate::exchange::{FlowSummary, Proved, Up, UpSender};
use crate::metrics::{Counter, CounterBlock};
use crate::units::Timestamp;

/// What is needed to act on a score when it comes.
#[derive(Clone, Copy, Default)]
pub struct RowTag {
    /// The flow, if it still lives then.
    pub index: Option<FlowIndex>,
    /// Its key.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// When it began.
    pub first_seen: Timestamp,
    /// When the row was due, capture time.
    pub due: Timestamp,
    /// Clock time of the burst that made the row due; the score queue's latency counts from here.
    pub queued_at: Timestamp,
    /// Packets so far.
    pub packets: u32,
    /// Type and code of the first packet of originator and responder, where it is ICMP or ICMPv6 and they sent one.
    pub icmp: [Option<(u8, u8)>; 2],
    /// What it carries, as far as its content has told.
    pub application: Protocol,
}

/// Receivers of what the flow table reports.
pub struct Sinks {
    /// Worker half of the detectors.
    pub observer: Observer,
    /// Application protocols.
    pub inspector: Inspector,
    /// What is round the flows in tunnels.
    pub outers: Outers,
    /// Shapes of their beginnings; none where nobody exports flows or scores them.
    pub shapes: Shapes,
    /// Whose SYNs the flows began with; none where nobody wants events.
    pub stacks: Stacks,
    /// Link addresses that the latest connections began with.
    pub openings: Openings,
    /// Who gets what is sent to his address; of pairs only.
    pub handshakes: Handshakes,
    /// Rows that wait to be scored.
    pub batch: Microbatch<RowTag>,
    /// Earliest `due` of the rows that wait; the end of time when none does.
    pub oldest_due: Timestamp,
    /// Ring up.
    pub up: UpSender,
    /// Counters of the queue.
    pub counters: CounterBlock,
    /// Largest flows.
    pub elephants: Elephants,
    /// Someone exports ended flows.
    pub export_flows: bool,
    /// Someone wants events of inspection, neighbours, and ended flows that were answered.
    pub export_events: bool,
    /// Neighbours told lately.
    pub neighbours: Neighbours,
    /// Packets of the burst with unusual headers; never more than it has room for from the start.
    pub odd: Vec<(HeaderAnomalies, Packet, bool)>,
    /// Anomalies of packets that may still be told.
    pub anomalies: AnomalyBudget,
    /// A model is there to score rows.
    pub scoring: bool,
    /// Clock time of the present burst.
    pub burst_time: Timestamp,
    /// What is left out because the queue is overloaded.
    pub shed: Shed,
}

/// Sends a window's counts, and before them in which tunnel its entity was seen last, where that takes no room from counts.
#[inline]
pub fn send_window(up: &mut UpSender, counters: &mut CounterBlock, outers: &Outers, entry: &WindowEntry) {
    if entry.mark != TunnelMark(0) {
        send_seen_in(up, counters, outers, entry);
    }
    up.send_window(entry);
}

#[cold]
#[inline(never)]
fn send_seen_in(up: &mut UpSender, counters: &mut CounterBlock, outers: &Outers, entry: &WindowEntry) {
    let moment = entry.mark.moment();
    let seen = outers.marked(entry.mark);
    let seen = seen.map(|(key, outer)| SeenIn { start: entry.start, entity: entry.entity, moment, key, outer });
    if !seen.is_some_and(|seen| up.send_aside(Up::SeenIn(seen))) {
        counters.add(Counter::TunnelOutersEvicted, 1);
    }
}

fn proved(record: &FlowRecord, is_probe: bool) -> Proved {
    let (source, destination) = record.key.endpoints(record.originator());
    let flow = flow_id(&record.key, record.first_seen());
    Proved { source: source.ip(), destination: destination.ip(), flow, is_probe }
}

impl Sinks {
    /// A packet raised signals on a flow; the cold half of the update loop.
    #[inline(never)]
    pub fn on_signals(&mut self, record: &FlowRecord, index: FlowIndex, signals: Signals, now: Timestamp) {
        if signals.has(Signals::REPORT) {
            self.report(record, index);
            if signals == Signals::REPORT && !Observer::wants_reports(record) {
                return;
            }
        }
        if signals.has(Signals::NEW) {
            self.counters.add(Counter::FlowsCreated, 1);
            if record.key.is_to_itself() {
                self.on_land(record, now);
            }
        }
        // Evidence is of what it carried where it is judged by how it went.
        let application = match signals.has(Signals::CLOSED) {
            true => self.inspector.application(index.slot),
            false => Protocol::Unknown,
        };
        if signals.has(Signals::CLOSED) && self.handshakes.is_on() {
            self.on_closed(record, index, now);
        }
        // Beside pairs somebody may be blocked for it, and the flow's end comes when it has lingered.
        if signals.has(Signals::CLOSED) && self.handshakes.is_on() && application == Protocol::Ssh {
            let mut gate = Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: None };
            let times = [record.first_seen(), now];
            self.inspector.closed(index.slot, &record.key, record.originator(), times, &mut gate);
        }
        let mark = self.outers.mark(&record.key, now);
        let (up, counters, outers) = (&mut self.up, &mut self.counters, &self.outers);
        self.observer.on_signals((record, application), signals, (now, mark), &mut |entry| {
            counters.add(Counter::WindowsEvicted, 1);
            send_window(up, counters, outers, entry);
        });
        // Where the inspection is to see the packet, after that.
        if signals.has(Signals::MILESTONE) && !signals.has(Signals::PAYLOAD) {
            self.queue_row(record, Ok(index), index.slot, now);
        }
    }

    /// A packet that may belong to a handshake: tells who proved himself with it, at once.
    #[cold]
    #[inline(never)]
    pub fn on_handshake(
        &mut self,
        (packet, frame): (&Packet, FrameView<'_>),
        segment: &Segment<'_>,
        (index, record): (FlowIndex, &FlowRecord),
    ) {
        if let Some(is_news) = self.handshakes.see((packet, frame), segment, (index, record)) {
            self.up.send_aside(Up::Proven(packet.time, proved(record, false)));
            if is_news {
                self.up.wake();
            }
        } else if packet.tcp.flags() & tcp_flags::FIN != 0 {
            self.on_closed(record, index, packet.time);
        }
    }

    /// An originator ended a flow who may have looked whether somebody answers, and no more.
    fn on_closed(&mut self, record: &FlowRecord, index: FlowIndex, now: Timestamp) {
        if self.handshakes.is_probe(index.slot, record) {
            self.up.send_aside(Up::Proven(now, proved(record, true)));
            self.up.wake();
        }
    }

    /// A packet that the inspection has seen made a row due.
    #[inline(never)]
    pub fn on_milestone(&mut self, table: &FlowTable, index: FlowIndex, now: Timestamp) {
        if let Some(record) = table.get(index) {
            self.queue_row(record, Ok(index), index.slot, now);
        }
    }

    /// A flow has grown by [`FlowRecord::REPORT_EVERY`] packets.
    #[inline]
    fn report(&mut self, record: &FlowRecord, index: FlowIndex) {
        let is_large = self.elephants.wants(record.bytes(Side::Originator) + record.bytes(Side::Responder));
        if is_large && !self.elephants.is_fresh(&record.key, record.last_seen) {
            let carried = Carried {
                application: self.inspector.application(index.slot),
                began_as: self.inspector.began_as(index.slot),
                is_turned: self.inspector.is_turned(index.slot),
                ..Carried::default()
            };
            self.elephants.offer(summary(record, carried, None, self.outers.find(&record.key)));
        }
    }

    /// A packet of a flow in tunnels.
    #[cold]
    pub fn count_levels(&mut self, outer: &Outer) {
        for counter in outer.levels().filter_map(|(kind, _)| kind.counter()) {
            self.counters.add(counter, 1);
        }
    }

    /// The first packet of a flow in a tunnel.
    #[cold]
    pub fn on_tunnelled(&mut self, record: &FlowRecord, outer: &Outer, now: Timestamp) {
        if !self.outers.keep(&record.key, outer, now) {
            self.counters.add(Counter::TunnelOutersEvicted, 1);
        }
    }

    /// A host asked for a neighbour.
    #[cold]
    pub fn on_arp(&mut self, question: ArpQuestion, (vlans, tunnel): ((u16, u16), Option<u32>), now: Timestamp) {
        let address = 0xffff_0000_0000 | u128::from(question.asked);
        self.neighbours.asked(&Neighbour { address, vlans, tunnel, ..Neighbour::default() }, question.asker, now);
        let (up, counters, outers) = (&mut self.up, &mut self.counters, &self.outers);
        self.observer.on_arp(question, now, &mut |entry| {
            counters.add(Counter::WindowsEvicted, 1);
            send_window(up, counters, outers, entry);
        });
    }

    /// A neighbour answered who had asked for it.
    #[cold]
    pub fn on_arp_answer(&mut self, answer: ArpAnswer, now: Timestamp) {
        let (up, counters, outers) = (&mut self.up, &mut self.counters, &self.outers);
        self.observer.on_arp_answer(answer, now, &mut |entry| {
            counters.add(Counter::WindowsEvicted, 1);
            send_window(up, counters, outers, entry);
        });
    }

    /// A host said which address it has.
    #[cold]
    pub fn on_neighbour(&mut self, neighbour: Neighbour, answers: Option<u32>, now: Timestamp) {
        if !self.export_events {
            return;
        }
        let is_unasked = answers.is_some_and(|asker| !self.neighbours.has_asked(&neighbour, asker, now));
        let neighbour = Neighbour { is_unasked, ..neighbour };
        match self.neighbours.news(&neighbour, now) {
            News::Tell => self.up.send(Up::Neighbour(now, neighbour)),
            News::Suppressed => self.counters.add(Counter::NeighboursSuppressed, 1),
            News::Old => {}
        }
    }

    /// A fragment, or its datagram, is unusual. Who began its flow is not asked: its sender is who did this.
    #[cold]
    pub fn on_fragment(&mut self, anomalies: Anomalies, key: &FlowKey, direction: Direction, time: Timestamp) {
        for anomaly in anomalies.iter() {
            self.on_anomaly((anomaly.counter(), anomaly.number()), (key, direction, None), time, None);
        }
    }

    /// The headers of a packet are unusual: told when its flow is known, if it has one. `is_whole`: it is no fragment.
    #[cold]
    pub fn on_headers(&mut self, anomalies: HeaderAnomalies, packet: &Packet, is_whole: bool) {
        if self.odd.len() < self.odd.capacity() {
            self.odd.push((anomalies, *packet, is_whole));
        } else {
            self.tell_headers(anomalies, packet, is_whole, None);
        }
    }

    /// A packet of the burst is accounted: what was unusual about its headers is told of its flow.
    #[cold]
    pub fn tell_odd(&mut self, table: &FlowTable, packet: &Packet) {
        let is_it = |(_, odd, _): &(_, Packet, _)| odd.place == packet.place && odd.key == packet.key;
        let Some(at) = self.odd.iter().position(is_it) else { return };
        let (anomalies, odd, is_whole) = self.odd.remove(at);
        let first_seen = table.peek(packet.hash, &packet.key).map(FlowRecord::first_seen);
        self.tell_headers(anomalies, &odd, is_whole, first_seen);
    }

    /// All packets of the burst are accounted: the rest are of no flow here.
    #[cold]
    pub fn tell_odd_rest(&mut self) {
        for at in 0..self.odd.len() {
            let Some(&(anomalies, odd, is_whole)) = self.odd.get(at) else { break };
            self.tell_headers(anomalies, &odd, is_whole, None);
        }
        self.odd.clear();
    }

    /// Its sender is who did this. What has no address is counted alone.
    fn tell_headers(
        &mut self,
        anomalies: HeaderAnomalies,
        packet: &Packet,
        is_whole: bool,
        first_seen: Option<Timestamp>,
    ) {
        let icmp = is_whole.then_some((packet.icmp_type, packet.icmp_code));
        let icmp = icmp.filter(|_| matches!(packet.key.protocol(), 1 | 58));
        for anomaly in anomalies.iter() {
            if packet.key == FlowKey::default() {
                self.counters.add(anomaly.counter(), 1);
                continue;
            }
            let anomaly = (anomaly.counter(), anomaly.number());
            let flow = (&packet.key, packet.direction, first_seen);
            self.on_anomaly(anomaly, flow, packet.time, icmp);
        }
    }

    /// The flags of a segment are unusual.
    #[cold]
    pub fn on_flags(&mut self, packet: &Packet, record: &FlowRecord) {
        if packet.tcp.header_bytes() == 0 {
            return; // a fragment too short to have them
        }
        if let Some(anomaly) = HeaderAnomaly::of_flags(packet.tcp.flags()) {
            let anomaly = (anomaly.counter(), anomaly.number());
            let flow = (&packet.key, packet.direction, Some(record.first_seen()));
            self.on_anomaly(anomaly, flow, packet.time, None);
        }
    }

    /// A SYN, or the answer to one, on a flow that has talked; `beginnings`: see [`Inspector::opening_on_live`].
    #[cold]
    pub fn on_opening_on_live(&mut self, payload: &Payload<'_>, direction: Direction, record: &FlowRecord) -> SynKind {
        let known = self.inspector.opening_on_live(payload, record.beginnings());
        let is_answer = payload.tcp.is_some_and(|tcp| tcp.acknowledgement.is_some());
        let goes_on = matches!(record.state(), TcpState::Established | TcpState::Closing);
        let told = match known {
            Some(SynKind::Dropped) => Some((Counter::InspectChecksum, inspect::CHECKSUM_INVALID)),
            Some(SynKind::Anew) if goes_on && is_answer => Some((Counter::OpeningsOnLive, inspect::ANSWER_ON_LIVE)),
            Some(SynKind::Anew) if goes_on => Some((Counter::OpeningsOnLive, inspect::SYN_ON_LIVE)),
            _ => None,
        };
        if let Some((counter, anomaly)) = told {
            let flow = (payload.key, direction, Some(payload.first_seen));
            self.on_anomaly((counter, anomaly.index), flow, payload.time, None);
        }
        let has_closed =
            [Side::Originator, Side::Responder].iter().all(|side| record.tcp_flags(*side) & tcp_flags::FIN != 0);
        if known == Some(SynKind::Anew) && is_answer && !has_closed {
            self.inspector.keep(payload.slot, record.beginnings());
        }
        known.unwrap_or(SynKind::Anew)
    }

    /// What [`Sinks::on_opening_on_live`] was asked about is accounted: the slot of its flow and its originator, if it has one.
    #[cold]
    pub fn on_settled(&mut self, payload: &Payload<'_>, flow: Option<(u32, Direction)>) {
        let mut gate = Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: None };
        self.inspector.adopt(payload, flow, &mut gate);
    }

    /// A flow from an address and port to themselves.
    #[cold]
    fn on_land(&mut self, record: &FlowRecord, now: Timestamp) {
        let anomaly = (HeaderAnomaly::Land.counter(), HeaderAnomaly::Land.number());
        let flow = (&record.key, record.originator(), Some(record.first_seen()));
        self.on_anomaly(anomaly, flow, now, None);
    }

    /// An anomaly below any protocol: its counter and its number, in a flow that began then, if it is known. Counted always,
    /// told within the budget.
    fn on_anomaly(
        &mut self,
        (counter, number): (Counter, u8),
        (key, originator, first_seen): (&FlowKey, Direction, Option<Timestamp>),
        time: Timestamp,
        icmp: Option<(u8, u8)>,
    ) {
        self.counters.add(counter, 1);
        if !self.export_events {
            return;
        }
        if !self.anomalies.may_tell(number, key, originator, time) {
            self.counters.add(Counter::AnomaliesSuppressed, 1);
            return;
        }
        let anomaly = Some((Protocol::Unknown, number));
        let event = inspect::Event {
            time,
            key: *key,
            originator,
            sender: Side::Originator,
            first_seen,
            protocol: Protocol::Unknown,
            anomaly,
            facts: &[],
            truncated: false,
            icmp,
            through_proxy: false,
        };
        let mut gate = Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: None };
        inspect::Sink::event(&mut gate, &event);
    }

    /// A datagram was not whole in time.
    #[cold]
    pub fn on_incomplete(&mut self, key: &FlowKey, direction: Direction, time: Timestamp) {
        self.on_fragment(Anomalies::of(FragmentAnomaly::Incomplete), key, direction, time);
    }

    /// A flow left the table.
    #[inline(never)]
    pub fn on_end(&mut self, ended: &Ended<'_>) {
        self.counters.add(
            match ended.reason {
                EndReason::EvictedHalfOpen => Counter::FlowsEvictedHalfOpen,
                EndReason::EvictedEstablished => Counter::FlowsEvictedEstablished,
                EndReason::Closed | EndReason::Idle | EndReason::Shutdown | EndReason::Cut => Counter::FlowsEnded,
            },
            1,
        );
        let record = ended.record;
        let outer = self.outers.end(&record.key);
        let has_payload = record.payload_bytes(Side::Originator) + record.payload_bytes(Side::Responder) > 0;
        let before = self.inspector.losses();
        let carried = if has_payload || self.inspector.has_former(ended.slot) {
            let (is_turned, began_as) = (self.inspector.is_turned(ended.slot), self.inspector.began_as(ended.slot));
            let times = [record.first_seen(), record.last_seen];
            let mut gate =
                Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: Some(ended.at) };
            let (application, unread) =
                self.inspector.end(ended.slot, &record.key, record.originator(), times, &mut gate);
            Carried { application, began_as, is_turned, unread }
        } else {
            Carried::default()
        };
        let mark = self.outers.mark(&record.key, ended.at);
        let (up, counters, outers) = (&mut self.up, &mut self.counters, &self.outers);
        self.observer.on_end(ended, carried.application, mark, &mut |entry| {
            counters.add(Counter::WindowsEvicted, 1);
            send_window(up, counters, outers, entry);
        });
        let packets = record.total_packets();
        if packets >= ROW_PACKETS_MIN && !is_milestone(packets) {
            self.queue_row(record, Err(carried.application), ended.slot, ended.at);
        }
        // What was still awaited when the flow ended. Who had no payload has no shape.
        if has_payload && self.export_flows {
            self.note_losses(ended.slot, Side::Originator, before);
        }
        if has_payload && !self.export_flows {
            self.shapes.release(ended.slot);
        }
        if self.export_flows {
            let losses = if has_payload { self.shapes.losses(ended.slot) } else { None };
            let shape = if has_payload { self.shapes.end(ended.slot) } else { None };
            let losses = losses.map(|losses| if carried.is_turned { losses.turned() } else { losses });
            let shape = shape.map(|shape| if carried.is_turned { shape.turned() } else { shape });
            let told = summary(ended.record, carried, Some(ended.reason), outer);
            let stacks = self.stacks.of(ended.slot, record);
            let links = self.links(ended.slot, record, carried.is_turned);
            self.up.send_flow(FlowSummary { ended_at: ended.at, shape, losses, stacks, links, ..told });
        } else if self.export_events && record.packets(Side::Originator) > 0 && record.packets(Side::Responder) > 0 {
            // Who keeps hosts wants to know who answered.
            let told = summary(record, carried, Some(ended.reason), outer);
            if told.is_answered() {
                let stacks = self.stacks.of(ended.slot, record);
                let links = self.links(ended.slot, record, carried.is_turned);
                self.up.send_flow(FlowSummary { ended_at: ended.at, stacks, links, ..told });
            }
        }
        if ended.record.total_packets() >= FlowRecord::REPORT_EVERY {
            self.elephants.remove(&ended.record.key);
        }
    }

    /// Under which link addresses a flow began; of one that turned nobody knows who is who.
    fn links(&self, slot: u32, record: &FlowRecord, is_turned: bool) -> Option<Links> {
        if is_turned { None } else { self.openings.of(slot, record) }
    }

    /// A SYN without payload, or the answer to one, of a flow that has had no payload.
    #[inline]
    pub fn on_opening(&mut self, payload: &Payload<'_>, is_first: bool, contradicts: bool) {
        let mut gate = Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: None };
        self.inspector.opened(payload, is_first, contradicts, &mut gate);
        self.stacks.note(payload);
        self.openings.note(payload, is_first);
    }

    /// A packet of an inspected flow, of `announced` bytes of payload on the wire: what more is wanted?
    #[inline(never)]
    pub fn on_payload(&mut self, payload: &Payload<'_>, announced: u32) -> Wants {
        if self.shapes.is_on() {
            return self.shape(payload, announced);
        }
        let mut gate = Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: None };
        self.inspector.payload(payload, &mut gate)
    }

    /// The same where shapes are wanted too: each of the two goes on when the other one has enough.
    fn shape(&mut self, payload: &Payload<'_>, announced: u32) -> Wants {
        // A SYN takes a number of its own.
        let sequence = payload.tcp.map(|tcp| tcp.sequence.wrapping_add(u32::from(tcp.is_syn)));
        // Inspection of another flow may end to make room for a new one, and bring losses of its own.
        let is_new = self.shapes.losses(payload.slot).is_none();
        let more = self.shapes.payload(payload, sequence, announced);
        let shape = if more { Wants::PAYLOAD } else { Wants::NOTHING };
        // Of other protocols only the shape is wanted.
        if !matches!(payload.key.protocol(), 6 | 17) || !self.shapes.is_inspected(payload.slot) {
            return shape;
        }
        let mut gate = Gate { up: &mut self.up, outers: &self.outers, open: self.export_events, told: None };
        let before = self.inspector.losses();
        let wants = self.inspector.payload(payload, &mut gate);
        if !is_new {
            self.note_losses(payload.slot, payload.side, before);
        }
        if wants == Wants::NOTHING {
            self.shapes.inspection_is_over(payload.slot);
            return shape;
        }
        if more { Wants { payload: [true; 2], ..wants } } else { wants }
    }

    /// What reassembly found lost or repeated since `before` is the flow's.
    #[inline]
    fn note_losses(&mut self, slot: u32, side: Side, before: (u64, u64)) {
        let after = self.inspector.losses();
        if after != before {
            self.shapes.lose(slot, side, after.0 - before.0, after.1 != before.1);
        }
    }

    /// Adds up what inspection counted.
    #[inline(never)]
    pub fn count_inspection(&mut self) {
        let counts = self.inspector.take_counts();
        for (counter, value) in [
            (Counter::InspectIdentified, counts.identified),
            (Counter::InspectUnknown, counts.unknown),
            (Counter::InspectFlowsFull, counts.flows_full),
            (Counter::InspectBuffersFull, counts.buffers_full),
            (Counter::InspectScratchesFull, counts.scratches_full),
            (Counter::InspectConnectionsFull, counts.connections_full),
            (Counter::InspectFactsFull, counts.facts_full),
            (Counter::InspectShapesFull, self.shapes.take_given_up()),
            (Counter::InspectUnitTooLong, counts.unit_too_long),
            (Counter::InspectDepthReached, counts.depth_reached),
            (Counter::InspectLimitReached, counts.limits_reached),
            (Counter::InspectCut, counts.cut),
            (Counter::InspectBroken, counts.broken),
            (Counter::InspectHoles, counts.holes),
            (Counter::InspectGapBytes, counts.gap_bytes),
            (Counter::InspectGapBytesUnlikely, counts.gap_bytes_unlikely),
            (Counter::InspectRefused, counts.refused),
            (Counter::InspectChecksum, counts.checksum),
            (Counter::InspectTimestamp, counts.timestamp),
            (Counter::InspectIpv4Checksum, counts.ipv4_checksum),
            (Counter::InspectUdpChecksum, counts.udp_checksum),
            (Counter::InspectContested, counts.contested),
            (Counter::InspectEventsSuppressed, counts.events_suppressed),
            (Counter::InspectDuplicates, counts.duplicates),
            (Counter::InspectOverlaps, counts.overlaps),
            (Counter::InspectOverlapsDifferent, counts.overlaps_different),
            (Counter::InspectBeyondBuffer, counts.beyond_buffer),
            (Counter::InspectEvents, counts.events),
            (Counter::InspectEventsEarly, counts.events_early),
            (Counter::InspectAnomalies, counts.anomalies),
        ] {
            if value > 0 {
                self.counters.add(counter, value);
            }
        }
    }

    /// The model's verdict came back, and is to be told.
    #[cold]
    pub fn on_verdict(up: &mut UpSender, outers: &Outers, tag: &RowTag, row: &FeatureRow, verdict: &Verdict) {
        up.send(Up::Score(ScoredFlow {
            time: tag.due,
            key: tag.key,
            originator: tag.originator,
            first_seen: tag.first_seen,
            family: verdict.family,
            score: verdict.score,
            threshold: verdict.threshold,
            needed: verdict.needed,
            packets: tag.packets,
            outer: outers.find(&tag.key),
            icmp: tag.icmp,
            application: tag.application,
            row: *row,
        }));
    }

    /// `index`: of the flow in `slot` while it lives, then what it carried.
    fn queue_row(&mut self, record: &FlowRecord, index: Result<FlowIndex, Protocol>, slot: u32, due: Timestamp) {
        if !self.scoring {
            return;
        }
        if self.shed >= Shed::Scoring {
            self.counters.add(Counter::RowsShedOverload, 1);
            return;
        }
        let tag = RowTag {
            index: index.ok(),
            application: index.map_or_else(|carried| carried, |index| self.inspector.application(index.slot)),
            key: record.key,
            originator: record.originator(),
            first_seen: record.first_seen(),
            due,
            queued_at: self.burst_time,
            packets: record.total_packets(),
            icmp: record.icmp(),
        };
        let moment = if tag.index.is_some() { Moment::Milestone } else { Moment::End };
        let has_payload = record.payload_bytes(Side::Originator) + record.payload_bytes(Side::Responder) > 0;
        let shape = if has_payload { self.shapes.of(slot) } else { None };
        if self.batch.push(tag, self.burst_time, |row| write_row(record, shape, due, moment, row)) {
            self.oldest_due = self.oldest_due.min(due);
        } else {
            self.counters.add(Counter::RowsShed, 1);
        }
    }
}

/// Lets events through while somebody exports them.
struct Gate<'a> {
    up: &'a mut UpSender,
    outers: &'a Outers,
    open: bool,
    /// When it is known, where that is later than the packet.
    told: Option<Timestamp>,
}

impl inspect::Sink for Gate<'_> {
    fn event(&mut self, event: &inspect::Event<'_>) {
        if self.open {
            self.up.event(event, self.outers.find(&event.key), self.told);
        }
    }
}

/// Fewest packets of a flow that gets a row at its end. Of one packet a model can say no more than that somebody tried: a probe
/// and a client whose server is away are the same to it, and the detectors that count them have them all. Most flows of a scan
/// or a flood are of this kind, so a row each would pay for nothing where there is least time.
const ROW_PACKETS_MIN: u32 = 2;

/// Was a row due at this packet count already? (4, 16, 64, ...; then the end brings nothing new.)
fn is_milestone(packets: u32) -> bool {
    packets >= 4 && packets.is_power_of_two() && packets.trailing_zeros().is_multiple_of(2)
}
