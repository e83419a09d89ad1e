//! What inspection counts.

/// What happened, in numbers; every limit has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Flows whose protocol was told.
    pub identified: u64,
    /// Flows that are none of the protocols.
    pub unknown: u64,
    /// Flows not inspected, or not to their end, because the pool was full.
    pub flows_full: u64,
    /// Events told before they were complete because their flows gave way to others.
    pub events_early: u64,
    /// Buffers taken from sides that wrote to them longest ago, because others needed one.
    pub buffers_full: u64,
    /// Events told early, in parts, because others needed the room that their facts waited in.
    pub facts_full: u64,
    /// Sides given up because a unit was longer than the largest.
    pub unit_too_long: u64,
    /// Sides inspected as far as the settings allow.
    pub depth_reached: u64,
    /// Times a parser left out what lies beyond a limit of its own, and no event says so.
    pub limits_reached: u64,
    /// Sides that the capture cut.
    pub cut: u64,
    /// Flows given up because their parser found them broken.
    pub broken: u64,
    /// Hellos of QUIC and DTLS in several datagrams for which no scratch was free.
    pub scratches_full: u64,
    /// Blocks of HTTP/2 that were read without memory for what lasts from block to block, because none was free.
    pub connections_full: u64,
    /// Holes of connections that were crossed.
    pub holes: u64,
    /// Bytes that were acknowledged but never seen: of holes that were crossed, and of bodies that were passed over. An
    /// estimate of what the tap loses, as far as connections are inspected.
    pub gap_bytes: u64,
    /// More of the same, beyond what can be on its way at once: acknowledgements that were forged, or lied.
    pub gap_bytes_unlikely: u64,
    /// Segments that their receiver takes no notice of.
    pub refused: u64,
    /// Segments that their receiver drops because their checksum is wrong.
    pub checksum: u64,
    /// Segments that their receiver drops because their timestamp is old.
    pub timestamp: u64,
    /// Segments that brought nothing new.
    pub duplicates: u64,
    /// Segments that brought something new, and something that was seen before.
    pub overlaps: u64,
    /// Those that contradicted what was seen before and is held or remembered.
    pub overlaps_different: u64,
    /// Segments ahead of a hole that were not kept, or not all of them: further ahead than a buffer is long.
    pub beyond_buffer: u64,
    /// Events.
    pub events: u64,
    /// Anomalies.
    pub anomalies: u64,
}
