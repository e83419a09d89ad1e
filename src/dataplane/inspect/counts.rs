//! What inspection counts, and what of it leaves a flow unread in part.

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// Why a flow was not wholly read.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Cause { $($(#[doc = $doc])+ $variant,)+ }

        impl Cause {
            /// All of them.
            pub const ALL: &[Cause] = &[$(Cause::$variant,)+];

            /// Name with the flow: that of the counter without `inspect_`.
            pub const fn name(self) -> &'static str { match self { $(Cause::$variant => $name,)+ } }
        }
    };
}

causes! {
    /// [`Counts::flows_full`].
    FlowsFull = "flows_full";
    /// [`Counts::buffers_full`].
    BuffersFull = "buffers_full";
    /// [`Counts::scratches_full`].
    ScratchesFull = "scratches_full";
    /// [`Counts::connections_full`].
    ConnectionsFull = "connections_full";
    /// [`Counts::facts_full`].
    FactsFull = "facts_full";
    /// [`Counts::events_early`].
    EventsEarly = "events_early";
    /// [`Counts::unit_too_long`].
    UnitTooLong = "unit_too_long";
    /// [`Counts::depth_reached`].
    DepthReached = "depth_reached";
    /// [`Counts::limits_reached`].
    LimitReached = "limit_reached";
    /// [`Counts::cut`].
    Cut = "cut";
    /// [`Counts::broken`].
    Broken = "broken";
    /// [`Counts::beyond_buffer`].
    BeyondBuffer = "beyond_buffer";
    /// [`Counts::holes`].
    Holes = "holes";
    /// [`Counts::gap_bytes`].
    GapBytes = "gap_bytes";
    /// [`Counts::refused`].
    Refused = "refused";
    /// [`Counts::checksum`].
    Checksum = "checksum";
    /// [`Counts::timestamp`].
    Timestamp = "timestamp";
    /// [`Counts::ipv4_checksum`].
    Ipv4Checksum = "ipv4_checksum";
    /// [`Counts::udp_checksum`].
    UdpChecksum = "udp_checksum";
    /// [`Counts::contested`].
    Contested = "contested";
    /// [`Counts::events_suppressed`].
    EventsSuppressed = "events_suppressed";
}

/// Why a flow was not wholly read: a set of [`Cause`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unread(u32);

impl Unread {
    /// Bits of a set at most.
    pub(super) const BITS: u32 = 22;

    /// With one in it.
    pub fn of(cause: Cause) -> Unread {
        Unread(1 << cause as u32)
    }

    /// Adds those of another set.
    pub fn add(&mut self, others: Unread) {
        self.0 |= others.0;
    }

    /// Is it in the set?
    pub fn contains(self, cause: Cause) -> bool {
        self.0 >> cause as u32 & 1 != 0
    }

    /// Was all of it read?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.iter().copied().filter(move |one| self.contains(*one))
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    /// The set of these bits, and of none above.
    pub(super) fn from_bits(bits: u32) -> Unread {
        Unread(bits & ((1 << Unread::BITS) - 1))
    }
}

const _: () = assert!(Cause::ALL.len() <= Unread::BITS as usize);

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
    /// Hellos of QUIC and DTLS in several datagrams that gave way to others before they were whole.
    pub scratches_full: u64,
    /// Connections of HTTP/2 that lost what lasts from block to block, because others needed its memory.
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
    /// Segments and datagrams that their receiver drops because the checksum of their IPv4 header is wrong.
    pub ipv4_checksum: u64,
    /// Datagrams that their receiver drops because their checksum is wrong.
    pub udp_checksum: u64,
    /// Connections on the same ports as two others that were read, of which the one that was read least was given up.
    pub contested: u64,
    /// Events and anomalies that were not told: more than a flow and its source may have told of them at a time.
    pub events_suppressed: u64,
    /// Segments that brought nothing new.
    pub duplicates: u64,
    /// Segments that brought something new, and something that was seen before.
    pub overlaps: u64,
    /// Those that contradicted what was seen before and is held or remembered.
    pub overlaps_different: u64,
    /// Segments ahead of a hole that were not kept, or not all of them: further ahead than a buffer is long.
    pub beyond_buffer: u64,
    /// Events, told or not.
    pub events: u64,
    /// Anomalies, told or not.
    pub anomalies: u64,
    /// What of this leaves the flow at hand unread; between packets nothing.
    pub(super) unread: Unread,
}

impl Counts {
    /// So many more for this cause, which leaves the flow at hand unread in part.
    pub(super) fn note(&mut self, cause: Cause, count: u64) {
        if count > 0 {
            *self.of(cause) += count;
            self.unread.add(Unread::of(cause));
        }
    }

    /// The flow at hand is not read in full for this reason, which was counted when it came about.
    pub(super) fn leave_unread(&mut self, cause: Cause) {
        self.unread.add(Unread::of(cause));
    }

    /// What leaves the flow at hand unread.
    pub(super) fn take_unread(&mut self) -> Unread {
        std::mem::take(&mut self.unread)
    }

    fn of(&mut self, cause: Cause) -> &mut u64 {
        match cause {
            Cause::FlowsFull => &mut self.flows_full,
            Cause::BuffersFull => &mut self.buffers_full,
            Cause::ScratchesFull => &mut self.scratches_full,
            Cause::ConnectionsFull => &mut self.connections_full,
            Cause::FactsFull => &mut self.facts_full,
            Cause::EventsEarly => &mut self.events_early,
            Cause::UnitTooLong => &mut self.unit_too_long,
            Cause::DepthReached => &mut self.depth_reached,
            Cause::LimitReached => &mut self.limits_reached,
            Cause::Cut => &mut self.cut,
            Cause::Broken => &mut self.broken,
            Cause::BeyondBuffer => &mut self.beyond_buffer,
            Cause::Holes => &mut self.holes,
            Cause::GapBytes => &mut self.gap_bytes,
            Cause::Refused => &mut self.refused,
            Cause::Checksum => &mut self.checksum,
            Cause::Timestamp => &mut self.timestamp,
            Cause::Ipv4Checksum => &mut self.ipv4_checksum,
            Cause::UdpChecksum => &mut self.udp_checksum,
            Cause::Contested => &mut self.contested,
            Cause::EventsSuppressed => &mut self.events_suppressed,
        }
    }
}
