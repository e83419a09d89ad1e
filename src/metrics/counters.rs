//! Per-queue counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release, fence};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $role:ident;)+) => {
        /// One per-queue counter. The discriminant is its place in [`CounterMemory`] and stays put within a version.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        /// Every counter in the order of its discriminant.
        pub const COUNTERS: &[Counter] = &[$(Counter::$variant,)+];

        impl Counter {
            /// Name in JSON and (with `shrike_` before and `_total` behind) in Prometheus.
            pub const fn name(self) -> &'static str { match self { $(Counter::$variant => $name,)+ } }
            /// What part the counter plays in the loss equation.
            pub const fn role(self) -> Role { match self { $(Counter::$variant => Role::$role,)+ } }
            /// One sentence for people, the HELP line of Prometheus.
            pub const fn help(self) -> &'static str { match self { $(Counter::$variant => concat!($($doc,)+).trim_ascii(),)+ } }
        }
    };
}

/// Part a counter plays in `received = processed + each drop` of one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Left side: a frame the source gave to the worker.
    Received,
    /// Right side: the frame went the whole way that its kind has.
    Processed,
    /// Right side: the frame was refused or lost at a named place.
    Drop,
    /// Not a term of the equation.
    Detail,
}

counters! {
    /// Frames taken from the source.
    FramesReceived = "frames_received", Received;
    /// Frames that other queues handed to this one as the owner of their flow.
    HandoverReceived = "handover_received", Received;
    /// Packets found in tunnels whose packets had come in fragments, each in one more than there were frames.
    DatagramsUnwrapped = "datagrams_unwrapped", Received;
    /// Frames that updated a flow, and packets found in datagrams put together.
    ProcessedFlow = "processed_flow", Processed;
    /// ARP frames, looked at and counted.
    ProcessedArp = "processed_arp", Processed;
    /// Frames without an IP packet that is decoded (LLDP, STP, what PPPoE and MPLS carry besides IP), counted.
    ProcessedOther = "processed_other", Processed;
    /// Frames handed to the queue that owns their flow.
    HandedOver = "handed_over", Processed;
    /// Frames for another queue whose handover ring was full.
    DropHandoverFull = "handover_full", Drop;
    /// Frames shorter than the link header they begin with.
    DropTruncatedLink = "truncated_link", Drop;
    /// More VLAN tags than the decoder follows.
    DropVlanDepth = "vlan_depth", Drop;
    /// More MPLS labels than the decoder follows.
    DropLabelDepth = "label_depth", Drop;
    /// Capture too short for the IP header it announces.
    DropTruncatedIp = "truncated_ip", Drop;
    /// IP version other than 4 or 6, or not the one the EtherType announces.
    DropIpVersion = "ip_version", Drop;
    /// IPv4 header length below 5 words or beyond the packet.
    DropIpHeaderLength = "ip_header_length", Drop;
    /// IP total or payload length shorter than the headers or longer than the frame.
    DropIpTotalLength = "ip_total_length", Drop;
    /// IPv4 options that cannot be read to their end, so that no host takes the packet.
    DropIpOptions = "ip_options", Drop;
    /// IPv6 extension header chain longer than the decoder follows, out of order, or cut short.
    DropIpv6Extension = "ipv6_extension", Drop;
    /// Frame too short for the transport header it announces.
    DropTruncatedTransport = "truncated_transport", Drop;
    /// TCP data offset below 5 words or beyond the segment.
    DropTcpOffset = "tcp_offset", Drop;
    /// UDP length field shorter than its header or longer than the packet.
    DropUdpLength = "udp_length", Drop;
    /// Later fragment whose first fragment is not known (lost, late, or evicted from the fragment table): not in its flow's
    /// counts unless its datagram is whole later (`fragments_counted_late`).
    DropFragmentUnknown = "fragment_unknown", Drop;
    /// Link type of the capture that the decoder does not know.
    DropLinkType = "link_type", Drop;
    /// New flow refused: the table had no slot to give in its probe window.
    DropFlowTableFull = "flow_table_full", Drop;
    /// Frames of a turn in which the queue failed by a panic, or its process was killed while it wrote its counters.
    DropQueueFailed = "queue_failed", Drop;
    /// Bytes of the frames taken from the source, as on the wire without FCS.
    BytesReceived = "bytes_received", Detail;
    /// Non-empty bursts read.
    Bursts = "bursts", Detail;
    /// Reads that found nothing.
    EmptyPolls = "empty_polls", Detail;
    /// Flows begun.
    FlowsCreated = "flows_created", Detail;
    /// Flows ended by FIN, RST or time.
    FlowsEnded = "flows_ended", Detail;
    /// Half-open flows given up for a new one.
    FlowsEvictedHalfOpen = "flows_evicted_half_open", Detail;
    /// Established flows given up for a new one.
    FlowsEvictedEstablished = "flows_evicted_established", Detail;
    /// IP fragments seen (first and later ones).
    Fragments = "fragments", Detail;
    /// Datagrams put together from their fragments.
    DatagramsWhole = "datagrams_whole", Detail;
    /// Fragments of `fragment_unknown` whose datagram was whole later, so that they are in their flow's counts after all.
    FragmentsCountedLate = "fragments_counted_late", Detail;
    /// Datagrams whose fragments did not all come in time: lost before or at the tap, or never sent.
    DatagramsIncomplete = "datagrams_incomplete", Detail;
    /// Datagrams given up before they were whole, because their source or all together held as many as may be at once.
    DatagramsEvicted = "datagrams_evicted", Detail;
    /// Datagrams with a fragment that covers bytes of another again and is not its duplicate.
    FragmentOverlap = "fragment_overlap", Detail;
    /// Datagrams with a fragment that covers bytes of another with different ones.
    FragmentOverlapDifferent = "fragment_overlap_different", Detail;
    /// Datagrams with a fragment that lies inside another (teardrop).
    FragmentTeardrop = "fragment_teardrop", Detail;
    /// Datagrams with a tiny fragment that is not the last, or with TCP flags out of the first one.
    FragmentTiny = "fragment_tiny", Detail;
    /// Fragments that reach beyond 65 535 bytes (ping of death), once a datagram.
    FragmentTooLarge = "fragment_too_large", Detail;
    /// Datagrams of more fragments than are kept.
    FragmentTooMany = "fragment_too_many", Detail;
    /// Datagrams with two ends, or with bytes beyond their end.
    FragmentEndConflict = "fragment_end_conflict", Detail;
    /// Fragments without bytes or, not the last, of a length that is no multiple of eight; once a datagram.
    FragmentInvalidLength = "fragment_invalid_length", Detail;
    /// Whole IPv6 packets with a fragment header (RFC 6946).
    FragmentsAtomic = "fragments_atomic", Detail;
    /// Fragments refused because the checksum of their IPv4 header is wrong, and those before them where the first right one tells it.
    FragmentChecksum = "fragment_checksum", Detail;
    /// IPv4 packets with an option of a length that it cannot have.
    OptionsInvalidLength = "options_invalid_length", Detail;
    /// IPv4 packets whose options end in the first byte of one.
    OptionsEndRequired = "options_end_required", Detail;
    /// IPv4 packets with a pointer that leads outside its option.
    OptionsMalformed = "options_malformed", Detail;
    /// IPv4 packets with an option twice that may come once.
    OptionsDuplicate = "options_duplicate", Detail;
    /// IPv4 packets whose sender chose their way.
    OptionsSourceRoute = "options_source_route", Detail;
    /// IPv6 packets with hop-by-hop options twice.
    ExtensionsDuplicateHop = "exthdr_duplicate_hop_by_hop", Detail;
    /// IPv6 packets with destination options more than twice.
    ExtensionsDuplicateDestination = "exthdr_duplicate_destination", Detail;
    /// IPv6 packets with two routing headers.
    ExtensionsDuplicateRouting = "exthdr_duplicate_routing", Detail;
    /// IPv6 packets with two fragment headers.
    ExtensionsDuplicateFragment = "exthdr_duplicate_fragment", Detail;
    /// IPv6 packets with two authentication headers.
    ExtensionsDuplicateAuthentication = "exthdr_duplicate_authentication", Detail;
    /// IPv6 packets whose hop-by-hop options are not first.
    ExtensionsHopLate = "exthdr_hop_by_hop_late", Detail;
    /// IPv6 packets of more extension headers than the decoder follows.
    ExtensionsTooMany = "exthdr_too_many", Detail;
    /// IPv6 packets with an extension header that ends beyond them.
    ExtensionsTruncated = "exthdr_truncated", Detail;
    /// Frames of more VLAN tags than are kept.
    VlanTagsTooMany = "vlan_tags_too_many", Detail;
    /// TCP segments whose header ends beyond them.
    TcpHeaderTooSmall = "tcp_header_too_small", Detail;
    /// TCP segments whose header claims to be shorter than one without options.
    TcpOptionsInvalid = "tcp_options_invalid", Detail;
    /// TCP segments with SYN and FIN.
    TcpSynFin = "tcp_syn_fin", Detail;
    /// TCP segments with FIN, PSH and URG and without ACK.
    TcpXmas = "tcp_xmas", Detail;
    /// Flows of TCP that begin with a segment without flags.
    TcpNoFlags = "tcp_no_flags", Detail;
    /// SYNs, and answers to one, with other numbers on a connection that has talked and was not seen to end.
    OpeningsOnLive = "openings_on_live", Detail;
    /// IPv6 packets with a routing header of type 0 (RFC 5095).
    RoutingTypeZero = "routing_type_zero", Detail;
    /// Flows of TCP and UDP from an address and port to themselves.
    Land = "land", Detail;
    /// Frames recognised as tunnelled (GRE, VXLAN, GENEVE, IPIP, ...): counted by the flow in the tunnel, or by the outer one
    /// where no packet was found in it.
    Tunnelled = "tunnelled", Detail;
    /// Frames with more tunnels within one another than the decoder enters, counted by the innermost flow reached.
    TunnelDepth = "tunnel_depth", Detail;
    /// Tunnel headers that are cut short, of another version, or longer than their packet; counted by the outer flow, where
    /// there is one.
    TunnelHeader = "tunnel_header", Detail;
    /// Packets in tunnels that would have been refused as frames (truncated, wrong lengths); counted by the outer flow.
    TunnelBroken = "tunnel_broken", Detail;
    /// Frames that MACsec encrypts, in tunnels or not: what they carry is not seen.
    MacsecEncrypted = "macsec_encrypted", Detail;
    /// Packets of flows in GRE, once a level.
    TunnelGre = "tunnel_gre", Detail;
    /// Packets of flows in VXLAN, once a level.
    TunnelVxlan = "tunnel_vxlan", Detail;
    /// Packets of flows in GENEVE, once a level.
    TunnelGeneve = "tunnel_geneve", Detail;
    /// Packets of flows in IP in IP, once a level.
    TunnelIpInIp = "tunnel_ip_in_ip", Detail;
    /// Packets of flows in ERSPAN, once a level.
    TunnelErspan = "tunnel_erspan", Detail;
    /// Packets of flows in MPLS, once a level.
    TunnelMpls = "tunnel_mpls", Detail;
    /// Packets of flows in PPPoE, once a level.
    TunnelPppoe = "tunnel_pppoe", Detail;
    /// Packets of flows in PPTP, once a level.
    TunnelPptp = "tunnel_pptp", Detail;
    /// Packets of flows in GTP-U, once a level.
    TunnelGtp = "tunnel_gtp_u", Detail;
    /// Packets of flows in Teredo, once a level.
    TunnelTeredo = "tunnel_teredo", Detail;
    /// Packets of flows in what WCCP redirects, once a level.
    TunnelWccp = "tunnel_wccp", Detail;
    /// Packets of flows in network service headers, once a level.
    TunnelNsh = "tunnel_nsh", Detail;
    /// Packets of flows in E-tags (802.1BR), once a level.
    TunnelETag = "tunnel_e_tag", Detail;
    /// Packets of flows in VN-tags, once a level.
    TunnelVnTag = "tunnel_vn_tag", Detail;
    /// Packets of flows in MACsec that is not encrypted, once a level.
    TunnelMacsec = "tunnel_macsec", Detail;
    /// Packets of flows in more than two VLAN tags, once a level.
    TunnelVlanStack = "tunnel_vlan_stack", Detail;
    /// Packets of flows in frames in IP, once a level.
    TunnelEtherIp = "tunnel_ether_ip", Detail;
    /// Packets of flows in L2TP, once a level.
    TunnelL2tp = "tunnel_l2tp", Detail;
    /// Tunnelled flows whose outer addresses were given up for those of newer ones, and windows that could not tell theirs.
    TunnelOutersEvicted = "tunnel_outers_evicted", Detail;
    /// Words of hosts on the link who has which address (ARP, neighbour discovery) that were not told, because too many were
    /// within a second: a flood of them.
    NeighboursSuppressed = "neighbours_suppressed", Detail;
    /// Anomalies of single packets (fragments, options, headers) that were counted and not told as events, because their source
    /// told many of the kind within the second, or all together did.
    AnomaliesSuppressed = "anomalies_suppressed", Detail;
    /// Feature rows handed to the model.
    RowsScored = "rows_scored", Detail;
    /// Feature rows given up because the scoring queue was full or the model absent.
    RowsShed = "rows_shed", Detail;
    /// Rows not even queued because the ring was half full.
    RowsShedOverload = "rows_shed_overload", Detail;
    /// Packets with payload that were not inspected because the ring was three quarters full; their flows count them.
    InspectionShed = "inspection_shed", Detail;
    /// Calls of the model.
    Microbatches = "microbatches", Detail;
    /// Calls of the model that failed; their rows count as shed.
    ScoreErrors = "score_errors", Detail;
    /// Items for the control plane given up because the queue up was full.
    ExchangeFull = "exchange_full", Detail;
    /// Ended flows that were not told, because the room on the way up was needed for findings.
    FlowsUntold = "flows_untold", Detail;
    /// Window entries given out early because the per-worker window table was full.
    WindowsEvicted = "windows_evicted", Detail;
    /// Flows whose application protocol was told by their content.
    InspectIdentified = "inspect_identified", Detail;
    /// Flows with payload that is none of the protocols known.
    InspectUnknown = "inspect_unknown", Detail;
    /// Flows whose inspection was given up, or never begun, because as many were inspected as may be at once.
    InspectFlowsFull = "inspect_flows_full", Detail;
    /// Buffers taken from the sides of connections that wrote to them longest ago, because others needed one.
    InspectBuffersFull = "inspect_buffers_full", Detail;
    /// Hellos of QUIC and DTLS in several datagrams for which no room was free: read as far as the first one goes.
    InspectScratchesFull = "inspect_scratches_full", Detail;
    /// Frames of HTTP/2 read without memory for its tables, because none was free.
    InspectConnectionsFull = "inspect_connections_full", Detail;
    /// Events told early, in parts, because others needed the room that their facts waited in.
    InspectFactsFull = "inspect_facts_full", Detail;
    /// Flows whose shape was given up for another one's because as many were kept as may be at once.
    InspectShapesFull = "inspect_shapes_full", Detail;
    /// Sides of connections given up because a unit was longer than the largest.
    InspectUnitTooLong = "inspect_unit_too_long", Detail;
    /// Sides of connections inspected as far as the settings allow.
    InspectDepthReached = "inspect_depth_reached", Detail;
    /// Times a parser left out what lies beyond a limit of its own and no event says so: docs/protocols.md lists these limits.
    InspectLimitReached = "inspect_limit_reached", Detail;
    /// Payloads that the capture cut.
    InspectCut = "inspect_cut", Detail;
    /// Flows given up because they broke the rules of their protocol.
    InspectBroken = "inspect_broken", Detail;
    /// Bytes of inspected connections that their receivers acknowledged and this sensor never saw: an estimate of what the tap loses, and what sensor and kernel drop, in the part of the traffic that is inspected.
    InspectGapBytes = "inspect_gap_bytes", Detail;
    /// Bytes that were acknowledged and never seen, in holes longer than 16 MiB, beyond these: more than a receiver's window has on its way, so probably never sent.
    InspectGapBytesUnlikely = "inspect_gap_bytes_unlikely", Detail;
    /// Holes in inspected connections that were acknowledged, so that inspection went on or ended behind them.
    InspectHoles = "inspect_holes", Detail;
    /// Segments of inspected connections that their receiver takes no notice of: further off than any window reaches, without acknowledgement, or acknowledging what was never sent.
    InspectRefused = "inspect_refused", Detail;
    /// Segments of inspected connections that their receiver drops because their checksum is wrong, where the side's were right before.
    InspectChecksum = "inspect_checksum", Detail;
    /// Segments of inspected connections that their receiver drops because their timestamp is older than what it holds (PAWS).
    InspectTimestamp = "inspect_timestamp", Detail;
    /// Segments and datagrams of inspected flows that their receiver drops because the checksum of their IPv4 header is wrong, where the sender's were right before.
    InspectIpv4Checksum = "inspect_ipv4_checksum", Detail;
    /// Datagrams of inspected flows that their receiver drops because their checksum is wrong, where the sender's were right before.
    InspectUdpChecksum = "inspect_udp_checksum", Detail;
    /// Connections on the same ports as two others, given up for these: handshakes with other numbers came on a live one.
    InspectContested = "inspect_contested", Detail;
    /// Events and anomalies of inspected flows that were not told because their flow and its source had more at a time than docs/protocols.md says.
    InspectEventsSuppressed = "inspect_events_suppressed", Detail;
    /// Segments of inspected connections that brought nothing new: retransmissions, keep-alives.
    InspectDuplicates = "inspect_duplicates", Detail;
    /// Segments of inspected connections that brought something new and something seen before.
    InspectOverlaps = "inspect_overlaps", Detail;
    /// Segments of inspected connections that contradicted what was seen before and is still held, or one of the last four: the first to come stays.
    InspectOverlapsDifferent = "inspect_overlaps_different", Detail;
    /// Segments so far ahead of a hole that they were not kept, or not wholly.
    InspectBeyondBuffer = "inspect_beyond_buffer", Detail;
    /// Events about application protocols.
    InspectEvents = "inspect_events", Detail;
    /// Events about application protocols told before they were complete: their flows gave way to others, as no more can be inspected at once.
    InspectEventsEarly = "inspect_events_early", Detail;
    /// Anomalies in application protocols.
    InspectAnomalies = "inspect_anomalies", Detail;
    /// Times the queue began anew, without its flows, after a panic.
    QueueRestarts = "queue_restarts", Detail;
}

/// What was not inspected of the connections that should have been, by its cause: limits, captures that were cut, and bytes
/// that this sensor never saw; and words of the link that were not read.
pub const UNREAD: &[Counter] = &[
    Counter::InspectFlowsFull,
    Counter::InspectBuffersFull,
    Counter::InspectScratchesFull,
    Counter::InspectConnectionsFull,
    Counter::InspectFactsFull,
    Counter::InspectEventsEarly,
    Counter::InspectUnitTooLong,
    Counter::InspectDepthReached,
    Counter::InspectLimitReached,
    Counter::InspectCut,
    Counter::InspectBroken,
    Counter::InspectBeyondBuffer,
    Counter::InspectHoles,
    Counter::InspectGapBytes,
    Counter::InspectRefused,
    Counter::InspectChecksum,
    Counter::InspectTimestamp,
    Counter::InspectIpv4Checksum,
    Counter::InspectUdpChecksum,
    Counter::InspectContested,
    Counter::InspectEventsSuppressed,
    Counter::FragmentChecksum,
    Counter::NeighboursSuppressed,
    Counter::AnomaliesSuppressed,
];

/// Cells that [`CounterMemory`] needs: one per counter, and a sequence number behind them.
pub const COUNTER_CELLS: usize = COUNTERS.len() + 1;

/// Where the counters of one queue live: plain memory, or a map shared with the kernel that outlives the process.
pub trait CounterMemory: Send + Sync {
    /// One cell per [`Counter`], in the order of the discriminants, then the sequence number: odd while the writer is at
    /// it. At least [`COUNTER_CELLS`] long.
    fn cells(&self) -> &[AtomicU64];
}

/// All counters of one moment between two bursts, so that the terms of the loss equation belong together.
///
/// Retries while the writer publishes, and waits for one that lost its core in the middle of it. A writer that died there
/// leaves the sequence odd, so after a tenth of a second what is there is taken as it stands. Never on a worker.
pub fn read_counters(memory: &dyn CounterMemory) -> [u64; COUNTERS.len()] {
    use std::sync::atomic::Ordering::Acquire;
    let cells = memory.cells();
    let mut values = [0; COUNTERS.len()];
    let Some(sequence) = cells.get(COUNTERS.len()) else { return values };
    for attempt in 0..2_000 {
        let before = sequence.load(Acquire);
        for (value, cell) in values.iter_mut().zip(cells) {
            *value = cell.load(Relaxed);
        }
        fence(Acquire);
        if before.is_multiple_of(2) && sequence.load(Relaxed) == before {
            break;
        }
        if attempt < 1_000 {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }
    values
}

impl CounterMemory for Vec<AtomicU64> {
    fn cells(&self) -> &[AtomicU64] {
        self
    }
}

/// Frames of one turn at most: a burst of the queue's own and one that others handed to it.
pub const TURN_FRAMES_MAX: u64 = 512;

/// A writer that died between the stores of [`CounterBlock::publish`] left the sequence odd, and of its last turn only the
/// first counters. What came in is stored first, so the frames whose way was not stored any more are those missing on the
/// right side; they get a name. More than one turn has is not explained by that, and stays open.
fn book_death_while_publishing(memory: &dyn CounterMemory) {
    let cells = memory.cells();
    let Some(sequence) = cells.get(COUNTERS.len()) else { return };
    if sequence.load(Relaxed).is_multiple_of(2) {
        return;
    }
    let sum = |received: bool| {
        let of_side = |counter: &&Counter| match counter.role() {
            Role::Received => received,
            Role::Processed | Role::Drop => !received,
            Role::Detail => false,
        };
        let cell = |counter: &Counter| cells.get(*counter as usize).map_or(0, |cell| cell.load(Relaxed));
        COUNTERS.iter().filter(of_side).map(cell).fold(0, u64::wrapping_add)
    };
    let missing = sum(true).saturating_sub(sum(false)).min(TURN_FRAMES_MAX);
    if let Some(cell) = cells.get(Counter::DropQueueFailed as usize) {
        cell.store(cell.load(Relaxed).wrapping_add(missing), Relaxed);
    }
    sequence.store(sequence.load(Relaxed).next_multiple_of(2), Relaxed);
}

/// The writing end of one queue's counters. Adds are gathered in plain memory and published once a burst.
pub struct CounterBlock {
    pending: [u64; COUNTERS.len()],
    /// A bit for each that moved.
    dirty: [u64; COUNTERS.len().div_ceil(64)],
    memory: Arc<dyn CounterMemory>,
}

impl CounterBlock {
    /// Counters in ordinary memory, starting at zero.
    pub fn in_memory() -> CounterBlock {
        CounterBlock::on(Arc::new((0..COUNTER_CELLS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>()))
    }

    /// Counters on memory made elsewhere; what is there already is added to.
    ///
    /// # Panics
    /// At start-up only, if the memory has fewer cells than there are counters.
    pub fn on(memory: Arc<dyn CounterMemory>) -> CounterBlock {
        assert!(memory.cells().len() >= COUNTER_CELLS, "counter memory is too small");
        book_death_while_publishing(&*memory);
        CounterBlock { pending: [0; COUNTERS.len()], dirty: [0; COUNTERS.len().div_ceil(64)], memory }
    }

    /// A handle for readers.
    pub fn memory(&self) -> Arc<dyn CounterMemory> {
        Arc::clone(&self.memory)
    }

    /// Adds to one counter; seen by readers after the next [`CounterBlock::publish`].
    #[inline(always)]
    pub fn add(&mut self, counter: Counter, count: u64) {
        // The discriminants are dense and below COUNTERS.len(), so `get_mut` always hits; the check is free of panics.
        if let Some(cell) = self.pending.get_mut(counter as usize) {
            *cell = cell.wrapping_add(count);
            if let Some(word) = self.dirty.get_mut(counter as usize / 64) {
                *word |= 1 << (counter as u32 % 64);
            }
        }
    }

    /// What was added to the counters of one part and is not published yet.
    pub fn pending(&self, role: Role) -> u64 {
        COUNTERS.iter().zip(self.pending).filter(|(counter, _)| counter.role() == role).map(|(_, count)| count).sum()
    }

    /// Makes everything added so far visible to readers: one load and one store for each counter that moved.
    #[inline]
    pub fn publish(&mut self) {
        if self.dirty.iter().all(|word| *word == 0) {
            return;
        }
        let cells = self.memory.cells();
        let Some(sequence) = cells.get(COUNTERS.len()) else { return };
        let before = sequence.load(Relaxed);
        sequence.store(before.wrapping_add(1), Relaxed);
        fence(Release);
        for (word, first) in self.dirty.iter_mut().zip((0..).step_by(64)) {
            while *word != 0 {
                let index = first + word.trailing_zeros() as usize;
                *word &= *word - 1;
                if let (Some(cell), Some(pending)) = (cells.get(index), self.pending.get_mut(index)) {
                    // Single writer: load + store needs no atomic read-modify-write.
                    cell.store(cell.load(Relaxed).wrapping_add(*pending), Relaxed);
                    *pending = 0;
                }
            }
        }
        sequence.store(before.wrapping_add(2), Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_visible_before_publish_and_everything_after() {
        let mut block = CounterBlock::in_memory();
        let reader = block.memory();
        for (index, counter) in COUNTERS.iter().enumerate() {
            assert_eq!(*counter as usize, index);
            block.add(*counter, index as u64 + 1);
        }
        assert!(reader.cells().iter().all(|cell| cell.load(Relaxed) == 0));
        block.publish();
        block.publish();
        for (index, value) in read_counters(&*reader).into_iter().enumerate() {
            assert_eq!(value, index as u64 + 1);
        }
    }

    /// A reader never sees one counter of a burst without the other.
    #[test]
    fn readers_see_whole_bursts() {
        let mut block = CounterBlock::in_memory();
        let reader = block.memory();
        let writer = std::thread::spawn(move || {
            for _ in 0..200_000 {
                block.add(Counter::FramesReceived, 3);
                block.add(Counter::ProcessedFlow, 3);
                block.publish();
            }
        });
        while !writer.is_finished() {
            let values = read_counters(&*reader);
            assert_eq!(values[Counter::FramesReceived as usize], values[Counter::ProcessedFlow as usize]);
        }
        writer.join().unwrap();
        assert_eq!(read_counters(&*reader)[Counter::FramesReceived as usize], 600_000);
    }

    /// Killed after any one of the stores: the next process finds books that close, and nothing else is made good.
    #[test]
    fn a_death_between_two_stores_leaves_no_gap() {
        let value = |memory: &dyn CounterMemory, counter: Counter| memory.cells()[counter as usize].load(Relaxed);
        let moved = [
            (Counter::FramesReceived, 256),
            (Counter::HandoverReceived, 200),
            (Counter::ProcessedFlow, 400),
            (Counter::HandedOver, 50),
            (Counter::DropTcpOffset, 6),
            (Counter::BytesReceived, 60_000),
        ];
        for stored in 0..=moved.len() {
            let mut block = CounterBlock::in_memory();
            block.add(Counter::FramesReceived, 1_000);
            block.add(Counter::ProcessedFlow, 1_000);
            block.publish();
            let memory = block.memory();
            memory.cells()[COUNTERS.len()].fetch_add(1, Relaxed);
            for (counter, count) in &moved[..stored] {
                memory.cells()[*counter as usize].fetch_add(*count, Relaxed);
            }
            drop(CounterBlock::on(Arc::clone(&memory)));
            let sum = |role| COUNTERS.iter().filter(|one| one.role() == role).map(|one| value(&*memory, *one)).sum();
            let (received, processed, dropped): (u64, u64, u64) =
                (sum(Role::Received), sum(Role::Processed), sum(Role::Drop));
            assert_eq!(received, processed + dropped, "killed after {stored} stores");
            assert!(value(&*memory, Counter::DropQueueFailed) <= TURN_FRAMES_MAX);
            drop(CounterBlock::on(Arc::clone(&memory)));
            assert_eq!(sum(Role::Drop), dropped, "once");
        }
        // A gap that no turn explains, and one that is there although the last turn was stored whole, stay.
        for (sequence, gap, booked) in [(1, 40_000, TURN_FRAMES_MAX), (2, 100, 0)] {
            let memory = CounterBlock::in_memory().memory();
            memory.cells()[COUNTERS.len()].store(sequence, Relaxed);
            memory.cells()[Counter::FramesReceived as usize].store(gap, Relaxed);
            drop(CounterBlock::on(Arc::clone(&memory)));
            assert_eq!(value(&*memory, Counter::DropQueueFailed), booked);
        }
    }

    #[test]
    fn names_are_unique_and_every_counter_has_help() {
        let mut names: Vec<_> = COUNTERS.iter().map(|counter| counter.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNTERS.len());
        assert!(COUNTERS.iter().all(|counter| counter.help().ends_with('.')));
    }
}
