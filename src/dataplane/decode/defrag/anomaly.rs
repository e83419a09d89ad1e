//! What is unusual about fragments, by name.

use crate::metrics::Counter;

/// Below it are the anomalies of streams ([`crate::dataplane::inspect::TABLE`]).
const FIRST_NUMBER: u8 = 128;

macro_rules! anomalies {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $counter:ident;)+) => {
        /// What is unusual about a fragment or its datagram.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum FragmentAnomaly { $($(#[doc = $doc])+ $variant,)+ }

        impl FragmentAnomaly {
            /// All of them, in the order of their numbers.
            pub const ALL: &[FragmentAnomaly] = &[$(FragmentAnomaly::$variant,)+];

            /// Number among the anomalies below any protocol, behind those of streams.
            pub const fn number(self) -> u8 {
                FIRST_NUMBER + self as u8
            }

            /// The one of this number; `None` for a stream's.
            pub fn of_number(number: u8) -> Option<FragmentAnomaly> {
                FragmentAnomaly::ALL.get(usize::from(number.checked_sub(FIRST_NUMBER)?)).copied()
            }

            /// Name in events.
            pub const fn name(self) -> &'static str { match self { $(FragmentAnomaly::$variant => $name,)+ } }

            /// Where it is counted.
            pub const fn counter(self) -> Counter { match self { $(FragmentAnomaly::$variant => Counter::$counter,)+ } }
        }
    };
}

anomalies! {
    /// Bytes came again that were there, and not as the same fragment.
    Overlap = "frag_overlap", FragmentOverlap;
    /// An overlap, or a duplicate, with other bytes: what one receiver reads another does not.
    OverlapDifferent = "frag_overlap_different", FragmentOverlapDifferent;
    /// An overlap by a fragment that lies inside an earlier one: the length left of it is negative (teardrop, 1997).
    Teardrop = "frag_teardrop", FragmentTeardrop;
    /// Not the last and yet tiny; or TCP behind the first eight bytes, where its flags are (RFC 1858).
    Tiny = "frag_tiny", FragmentTiny;
    /// Reaches beyond the 65 535 bytes that a datagram can have (ping of death, 1996).
    TooLarge = "frag_pkt_too_large", FragmentTooLarge;
    /// More fragments than are kept of a datagram.
    TooMany = "frag_too_many", FragmentTooMany;
    /// Two last fragments that end at different places, or bytes beyond the end.
    EndConflict = "frag_end_conflict", FragmentEndConflict;
    /// Not the last, and its length is no multiple of eight; or it has none.
    InvalidLength = "frag_invalid_length", FragmentInvalidLength;
    /// Not completed in time.
    Incomplete = "frag_incomplete", DatagramsIncomplete;
    /// A fragment header in a whole IPv6 packet (RFC 6946).
    Atomic = "exthdr_useless_fh", FragmentsAtomic;
    /// A wrong checksum of the IPv4 header, among right ones: nobody takes it, and it was sent for who does not check.
    WrongChecksum = "wrong_checksum", FragmentChecksum;
}

/// A set of [`FragmentAnomaly`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Anomalies(u16);

const _: () = assert!(FragmentAnomaly::ALL.len() <= 16);

impl Anomalies {
    /// With one in it.
    pub fn of(anomaly: FragmentAnomaly) -> Anomalies {
        Anomalies(1 << anomaly as u32)
    }

    /// Adds one.
    pub fn insert(&mut self, anomaly: FragmentAnomaly) {
        self.0 |= 1 << anomaly as u32;
    }

    /// Is it in the set?
    pub fn contains(self, anomaly: FragmentAnomaly) -> bool {
        self.0 >> anomaly as u32 & 1 != 0
    }

    /// Takes those out that were told before, and notes the others.
    pub(super) fn tell_once(&mut self, told: &mut Anomalies) {
        self.0 &= !told.0;
        told.0 |= self.0;
    }

    /// Is the set empty?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = FragmentAnomaly> {
        FragmentAnomaly::ALL.iter().copied().filter(move |one| self.contains(*one))
    }
}
