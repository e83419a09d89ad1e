//! Detectors: one file each. Every detector has two halves with nothing but mergeable counts between them.
//!
//! The *observer* half runs on the worker: it turns flow signals into [`WindowEntry`] counts per entity and window of
//! capture time, in a table of fixed size. The *decider* half is run by one stage of the control plane over the counts of
//! all workers, merged behind a capture-time watermark: so a scan that lands on every queue is one scan, and the verdict
//! does not depend on how many workers there were. Both halves are pure: no clock, no I/O.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod arp;
pub mod brute_force;
pub mod carrier;
pub(crate) mod cold;
pub mod distinct;
mod evidence;
mod facts;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod flood;
mod flow_ref;
mod generations;
pub mod model;
mod naming;
mod observer;
pub mod scan;
mod window;

pub use distinct::Bitmap;
pub use evidence::{Evidence, JudgedRow, Relation, Term, WindowRef};
pub use flow_ref::{Carrier, FlowMark, FlowRef, TunnelLevel, TunnelRef, vlans};
pub use naming::{has_ports, protocol_name};
pub use observer::Observer;

use crate::dataplane::decode::{Direction, FlowKey, Outer};
use crate::dataplane::features::FeatureRow;
use crate::dataplane::inspect::Protocol;
use crate::dataplane::score::Family;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};

/// Length of a counting window, nanoseconds of capture time, aligned to the epoch.
pub const WINDOW_NS: u64 = SECOND;

/// Who found it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Port scans and sweeps.
    Scan,
    /// Password guessing and spraying.
    BruteForce,
    /// SYN, UDP and ICMP floods.
    Flood,
    /// The ONNX model.
    Model,
    /// Tunnels and data inside DNS.
    DnsTunnel,
    /// Names that programs make up.
    Dga,
    /// Connections that come back like a clock.
    Beacon,
    /// Mining of crypto-currencies.
    Mining,
    /// Passwords in the clear.
    Cleartext,
    /// Data that leaves.
    Exfiltration,
    /// What lists of others name.
    Intel,
    /// Hosts that pass for others on the link.
    Spoofing,
    /// From host to host inside.
    Lateral,
    /// Odd TLS.
    TlsAnomaly,
    /// Slow requests.
    SlowHttp,
    /// Odd flows.
    OddFlow,
    /// Floods out of small questions.
    Amplification,
    /// Attacks on web servers.
    WebAttack,
    /// Tunnels inside pings.
    IcmpTunnel,
    /// Tunnels in encrypted DNS.
    DohTunnel,
    /// Growth from hour to hour.
    Growth,
}

impl Detector {
    /// Every detector.
    pub const ALL: [Detector; 21] = [
        Detector::Scan,
        Detector::BruteForce,
        Detector::Flood,
        Detector::Model,
        Detector::DnsTunnel,
        Detector::Dga,
        Detector::Beacon,
        Detector::Mining,
        Detector::Cleartext,
        Detector::Exfiltration,
        Detector::Intel,
        Detector::Spoofing,
        Detector::Lateral,
        Detector::TlsAnomaly,
        Detector::SlowHttp,
        Detector::OddFlow,
        Detector::Amplification,
        Detector::WebAttack,
        Detector::IcmpTunnel,
        Detector::DohTunnel,
        Detector::Growth,
    ];

    /// Name in JSON, EVE and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Detector::Scan => "scan",
            Detector::BruteForce => "brute_force",
            Detector::Flood => "flood",
            Detector::Model => "model",
            Detector::DnsTunnel => "dns_tunnel",
            Detector::Dga => "dga",
            Detector::Beacon => "beacon",
            Detector::Mining => "mining",
            Detector::Cleartext => "cleartext_credentials",
            Detector::Exfiltration => "exfiltration",
            Detector::Intel => "threat_intelligence",
            Detector::Spoofing => "spoofing",
            Detector::Lateral => "lateral_movement",
            Detector::TlsAnomaly => "tls_anomaly",
            Detector::SlowHttp => "slow_http",
            Detector::WebAttack => "web_attack",
            Detector::OddFlow => "odd_flow",
            Detector::Amplification => "amplification",
            Detector::IcmpTunnel => "icmp_tunnel",
            Detector::DohTunnel => "doh_tunnel",
            Detector::Growth => "growth",
        }
    }
}

/// What a window counts for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entity {
    /// A host as the originator of contacts. Addresses as in [`crate::dataplane::decode::Endpoint`].
    Source(u128),
    /// A client and a service on one server.
    Session {
        /// Originator.
        client: u128,
        /// Responder.
        server: u128,
        /// Responder's port.
        port: u16,
    },
    /// A host as the target of contacts and packets.
    Target(u128),
    /// A host as one that asks for its neighbours by ARP.
    Asker(u128),
}

/// Someone at the other end, for people to look at: of several the largest is kept, so that merging has one outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Peer {
    /// Who is kept before addresses are compared: a hash of the event where a peer drawn by lot is wanted, else 0.
    pub rank: u32,
    /// Address as in [`crate::dataplane::decode::Endpoint`].
    pub address: u128,
    /// Port, 0 where there is none.
    pub port: u16,
    /// The flow of the event, beside its addresses: one is here, one is the entity's. Of a question by ARP, which has none,
    /// the asker's link address as [`FlowMark::rest`].
    pub flow: FlowMark,
    /// IP protocol number.
    pub protocol: u8,
}

const _: () = assert!(size_of::<Peer>() == 48, "one is in every count");

/// Mergeable counts of one entity in one window: sums add, bitmaps are or-ed, of times and peers the largest stays. So the
/// outcome does not depend on which worker counted what, nor on the order of merging. What each cell means is the
/// detector's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Additive cells.
    pub sums: [u32; 16],
    /// Linear-counting bitmaps for distinct values.
    pub distinct: [Bitmap; 5],
    /// A peer of the events counted.
    pub peer: Peer,
    /// Of the ports that were noted the smallest ones, ascending; 0 is none.
    pub ports: [u16; PORTS_KEPT],
    /// Time of the latest event counted.
    pub last: Timestamp,
}

/// Ports that counts keep as they are: what a sentence holds.
pub const PORTS_KEPT: usize = 8;

impl Counts {
    /// Nothing counted.
    pub const ZERO: Counts = Counts {
        sums: [0; 16],
        distinct: [[0; 4]; 5],
        peer: Peer {
            rank: 0,
            address: 0,
            port: 0,
            protocol: 0,
            flow: FlowMark {
                first_seen: Reverse(Timestamp(0)),
                rest: 0,
                originator: Direction::Forward,
                icmp: [None; 2],
                application: Protocol::Unknown,
            },
        },
        ports: [0; PORTS_KEPT],
        last: Timestamp(0),
    };

    /// Adds what another worker, or an earlier part of the window, saw.
    pub fn merge(&mut self, other: &Counts) {
        for (mine, theirs) in self.sums.iter_mut().zip(other.sums) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.distinct.iter_mut().zip(&other.distinct) {
            distinct::union(mine, theirs);
        }
        self.peer = self.peer.max(other.peer);
        for port in other.ports {
            self.note_port(port);
        }
        self.last = self.last.max(other.last);
    }

    /// Keeps a port, if it is new and among the smallest: so the outcome does not depend on the order.
    #[inline]
    pub fn note_port(&mut self, port: u16) {
        if port == 0 || self.ports.contains(&port) {
            return;
        }
        let mut next = port;
        for kept in &mut self.ports {
            if *kept == 0 || next < *kept {
                std::mem::swap(kept, &mut next);
            }
            if next == 0 {
                return;
            }
        }
    }

    /// Adds to a cell.
    #[inline(always)]
    pub fn add(&mut self, cell: usize, count: u32) {
        if let Some(sum) = self.sums.get_mut(cell) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Value of a cell.
    #[inline]
    pub fn sum(&self, cell: usize) -> u32 {
        self.sums.get(cell).copied().unwrap_or(0)
    }

    /// Adds a hashed value to a bitmap.
    #[inline(always)]
    pub fn mark(&mut self, bitmap: usize, hash: u64) {
        if let Some(bitmap) = self.distinct.get_mut(bitmap) {
            distinct::insert(bitmap, hash);
        }
    }

    /// Keeps the larger peer, which `make` puts together: for nothing where its rank, address and port, or when its flow began,
    /// tell already.
    #[inline(always)]
    pub fn offer(&mut self, peer: (u32, u128, u16), began: Timestamp, make: impl FnOnce() -> Peer) {
        let kept = &mut self.peer;
        match peer.cmp(&(kept.rank, kept.address, kept.port)) {
            Ordering::Greater => *kept = make(),
            Ordering::Equal if Reverse(began) >= kept.flow.first_seen => *kept = (*kept).max(make()),
            _ => {}
        }
    }

    /// A bitmap.
    #[inline]
    pub fn bitmap(&self, bitmap: usize) -> Bitmap {
        self.distinct.get(bitmap).copied().unwrap_or_default()
    }

    /// Events counted, roughly: what tells a cold entry from a hot one.
    pub fn activity(&self) -> u64 {
        self.sums.iter().map(|sum| u64::from(*sum)).sum()
    }
}

/// One entity's counts in one window, on their way up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowEntry {
    /// Start of the window (a multiple of [`WINDOW_NS`]).
    pub start: Timestamp,
    /// Whose.
    pub entity: Entity,
    /// How many.
    pub counts: Counts,
    /// Of the latest event of a flow in a tunnel; the worker's own, and of no meaning to others.
    pub mark: TunnelMark,
}

/// Where a worker keeps what is round a flow, with the moment in its window; 0 where no flow in a tunnel was counted. Of
/// two the larger is the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TunnelMark(pub u64);

impl TunnelMark {
    /// About a thousandth of a window.
    const MOMENT_SHIFT: u32 = 20;
    /// Bits of the place.
    const PLACE_BITS: u32 = 54;

    /// At `place`, which is not 0 and has 54 bits, at time `now`.
    pub fn new(place: u64, now: Timestamp) -> TunnelMark {
        let moment = (now.0 % WINDOW_NS) >> TunnelMark::MOMENT_SHIFT;
        TunnelMark(moment << TunnelMark::PLACE_BITS | place)
    }

    /// The place.
    pub fn place(self) -> u64 {
        self.0 & ((1 << TunnelMark::PLACE_BITS) - 1)
    }

    /// When in its window, in steps of some milliseconds.
    pub fn moment(self) -> u16 {
        (self.0 >> TunnelMark::PLACE_BITS) as u16 // 10 bits
    }
}

/// The tunnel in which an entity was seen last within a window, on its way up before the window's counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenIn {
    /// Start of the window.
    pub start: Timestamp,
    /// Who.
    pub entity: Entity,
    /// When in the window ([`TunnelMark::moment`]).
    pub moment: u16,
    /// The flow that was counted.
    pub key: FlowKey,
    /// What is round it.
    pub outer: Outer,
}

/// A flow whose score reached the model's threshold.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoredFlow {
    /// When the row was due (packet or end of flow).
    pub time: Timestamp,
    /// The flow.
    pub key: FlowKey,
    /// Which way of the key the originator sends.
    pub originator: Direction,
    /// When it began.
    pub first_seen: Timestamp,
    /// What the model takes it for.
    pub family: Family,
    /// Its probability, or its rank where it is unusual: 0..=1.
    pub score: f32,
    /// Threshold then in force.
    pub threshold: f32,
    /// Flows of its source and family that an alert takes; 0: the model does not say.
    pub needed: u8,
    /// Packets so far, both ways.
    pub packets: u32,
    /// What was round the flow's first packet, where it is in a tunnel.
    pub outer: Option<Outer>,
    /// Type and code of the first packet of originator and responder, where it is ICMP or ICMPv6 and they sent one.
    pub icmp: [Option<(u8, u8)>; 2],
    /// What it carries, as far as its content had told by then.
    pub application: Protocol,
    /// The row that was scored.
    pub row: FeatureRow,
}
