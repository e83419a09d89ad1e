//! What the kernel is told to do with frames before anybody looks at them: the words between those who decide and the maps of
//! the XDP program.
//!
//! A verdict has a subject (which frames), an action and an end. The program looks verdicts up in one path, in the order of
//! [`Subject`]: the cards, the flow, the signature, the longest prefix round the source and then round the destination. The first
//! that drops ends the frame; a verdict whose end has come counts for nothing, also while no process is there to take it out.
//! Nor does a shorter prefix while a longer one is there, whatever that says: whoever puts in both gives the longer no less.
//! Knows nothing of why.

use std::net::IpAddr;

/// Which frames a verdict is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// Frames from this link address and to it: a host isolated. Not broadcast.
    Mac([u8; 6]),
    /// One flow, both directions; the order of the ends does not matter ([`FlowSubject::new`]).
    Flow(FlowSubject),
    /// Packets of one kind to one destination, whoever says to have sent them: the answer to a flood from forged sources.
    Signature(Signature),
    /// A prefix: its first address and length in bits. Which side of a frame must lie in it: [`Rule::side`].
    Prefix(IpAddr, u8),
}

/// A 5-tuple without direction: the end that is less comes first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowSubject {
    ends: [(IpAddr, u16); 2],
    /// IP protocol: 6 TCP, 17 UDP, others with ports 0.
    protocol: u8,
}

impl FlowSubject {
    /// The flow between two ends, in whatever order.
    pub fn new(one: (IpAddr, u16), other: (IpAddr, u16), protocol: u8) -> FlowSubject {
        FlowSubject { ends: if one <= other { [one, other] } else { [other, one] }, protocol }
    }

    /// Both ends, the lesser first.
    pub fn ends(&self) -> [(IpAddr, u16); 2] {
        self.ends
    }

    /// IP protocol.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }
}

/// Packets that look alike: protocol, destination, and for TCP whether they are SYNs without ACK.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Signature {
    /// Where they go.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Destination port; 0: any, as for a scan of ports.
    pub port: u16,
    /// Only TCP segments with SYN and without ACK: openings of connections.
    pub only_syn: bool,
}

/// What is done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Dropped.
    Drop,
    /// Passed up to a rate, dropped above it. Both at least 1.
    Limit {
        /// Packets a second in the long run.
        per_second: u32,
        /// Packets that may come at once.
        burst: u32,
    },
    /// Forwarded to the peer port without being looked at, and counted; only for flows.
    Shunt,
    /// Dropped unless the other end lies in a prefix that says `Pass`: a host in quarantine. For cards and prefixes.
    Isolate,
    /// Passed whatever a wider prefix says, and reachable for isolated hosts; only for prefixes.
    Pass,
}

/// Which address of a frame must lie in a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Side {
    /// The source's.
    #[default]
    Source,
    /// The destination's.
    Destination,
    /// Either.
    Both,
}

/// A verdict without its subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What is done.
    pub action: Action,
    /// Of a prefix: which address must lie in it; without meaning for others.
    pub side: Side,
    /// `CLOCK_MONOTONIC` nanoseconds ([`crate::sys::monotonic::now_ns`]) at which it ends; 0: never.
    pub until_ns: u64,
}

/// What met a verdict since it was put in. Replacing a rule keeps them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hits {
    /// Packets that its action was applied to: dropped, above the rate, shunted.
    pub packets: u64,
    /// Their bytes, from the link header on.
    pub bytes: u64,
    /// When the latest of them came, `CLOCK_MONOTONIC` nanoseconds; 0: none yet.
    pub last_ns: u64,
}

/// Why a verdict was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum VerdictError {
    /// A prefix with bits beyond its length, a rate of nothing, a shunt of a prefix, a broadcast card.
    #[error("{subject:?}: {problem}")]
    Meaningless {
        /// Of what.
        subject: Subject,
        /// What is wrong, with what would be right.
        problem: &'static str,
    },
    /// The map has no room.
    #[error("no room for {subject:?}: the map of {kind} holds {capacity}; raise [respond] {kind} or let some end")]
    Full {
        /// Of what.
        subject: Subject,
        /// Which map, as its setting is named.
        kind: &'static str,
        /// Entries it holds.
        capacity: u32,
    },
    /// The kernel refused.
    #[error("{operation}: {cause}")]
    Kernel {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        cause: std::io::Error,
    },
}

/// Where verdicts are carried out: the maps of the XDP program, or a stand-in for tests.
///
/// All of these are O(what is asked) and system calls; none is for the packet path.
pub trait Enforcer: Send + Sync {
    /// Puts in or replaces; hits of what was there stay. All or as far as it went: the first error ends it.
    ///
    /// # Errors
    /// See [`VerdictError`].
    fn put(&self, verdicts: &[(Subject, Rule)]) -> Result<(), VerdictError>;

    /// Takes out; what is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    fn remove(&self, subjects: &[Subject]) -> Result<(), VerdictError>;

    /// This source proved that it gets what is sent to it: until then (`CLOCK_MONOTONIC`, nanoseconds) limits on signatures are not for
    /// its packets, of which a hundred a second are passed instead. Those that were not seen for longest give way to others.
    ///
    /// # Errors
    /// The kernel's.
    fn vouch(&self, _source: IpAddr, _until_ns: u64) -> Result<(), VerdictError> {
        Ok(())
    }

    /// One verdict as the kernel has it; `None`: it has none of exactly that subject.
    ///
    /// # Errors
    /// The kernel's.
    fn get(&self, subject: &Subject) -> Result<Option<(Rule, Hits)>, VerdictError>;

    /// Every verdict there is, in no order.
    ///
    /// # Errors
    /// The kernel's.
    fn list(&self) -> Result<Vec<(Subject, Rule, Hits)>, VerdictError>;
}

/// What a flow that is shunted brought in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shunted {
    /// It is passed on in the kernel still; ended by its time, or by a FIN, RST or SYN.
    pub in_force: bool,
    /// Packets from the lesser end of the [`FlowSubject`] and from the greater.
    pub packets: [u64; 2],
    /// Their bytes, from the link header on.
    pub bytes: [u64; 2],
    /// When the latest came, `CLOCK_MONOTONIC` nanoseconds; 0: none yet.
    pub last_ns: u64,
}

/// Where flows are shunted: forwarded in the kernel, unseen by the worker and counted.
pub trait Shunter: Send + Sync {
    /// Shunts a flow that is not shunted, until that moment of `CLOCK_MONOTONIC`, nanoseconds, or its end.
    ///
    /// # Errors
    /// The map is full, or the kernel refused.
    fn shunt(&self, flow: &FlowSubject, until_ns: u64) -> Result<(), VerdictError>;

    /// What it brought so far; `None`: it is not shunted, and was not.
    ///
    /// # Errors
    /// The kernel's.
    fn shunted(&self, flow: &FlowSubject) -> Result<Option<Shunted>, VerdictError>;

    /// Has the worker see it again, and forgets what it brought.
    ///
    /// # Errors
    /// The kernel's.
    fn unshunt(&self, flow: &FlowSubject) -> Result<(), VerdictError>;
}
