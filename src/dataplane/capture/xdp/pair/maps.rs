//! The maps that only a pair's port has: its settings, its queues' pulses, what its program did with each frame.

use super::settings::{ByCause, Cause, PairSettings, Policy};
use crate::dataplane::capture::xdp::program::Program;
use crate::sys::mapping::SharedCells;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Values of `struct pair_counts` (`src/bpf/pair.h`).
const COUNTS: usize = 24;
/// Values of `struct pulse`.
const PULSE: usize = 16;
/// `STOPPED_AT_ONCE` of `src/bpf/pair.h`.
const STOPPED_AT_ONCE: u64 = u64::MAX;
/// Values of `struct pair_settings`.
const SETTINGS: usize = 16;

/// Places in `struct pair_settings`.
#[derive(Clone, Copy)]
enum Setting {
    Limit,
    Closed,
    Said,
    Operators,
    Ring,
    Longest,
    To,
    From,
    Namespace,
    Held,
}

/// Places in `struct pulse`.
#[derive(Clone, Copy)]
enum Pulse {
    Beat = 0,
    Taken = 1,
    Stopped = 2,
    Given = 8,
    Refused = 9,
    Overloaded = 10,
}

/// What the program of one port did with its frames, besides [`super::super::QueueAccount`]; all queues together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct PortCounts {
    /// Dropped because of a card.
    pub dropped_mac: u64,
    /// Dropped because of a flow.
    pub dropped_flow: u64,
    /// Above the rate of a signature.
    pub dropped_signature: u64,
    /// Dropped because of a prefix, or above its rate.
    pub dropped_prefix: u64,
    /// Shunted to the peer after their flow's verdict.
    pub shunted: u64,
    /// To the peer in the kernel, by cause.
    pub bypassed: ByCause<u64>,
    /// Dropped for want of a worker, by cause.
    pub withheld: ByCause<u64>,
    /// Shunted or bypassed, and not taken by the peer.
    pub peer_refused: u64,
}

impl PortCounts {
    /// Dropped by a verdict.
    pub fn dropped(&self) -> u64 {
        self.dropped_mac + self.dropped_flow + self.dropped_signature + self.dropped_prefix
    }

    /// All that did not go to the worker, whatever became of it.
    pub fn kept_from_worker(&self) -> u64 {
        self.dropped() + self.shunted + self.bypassed.0.iter().sum::<u64>() + self.withheld.0.iter().sum::<u64>()
    }

    /// Given to the peer in the kernel and taken by it.
    pub fn crossed(&self) -> u64 {
        (self.shunted + self.bypassed.0.iter().sum::<u64>()).saturating_sub(self.peer_refused)
    }
}

/// The mapped arrays of one port.
#[derive(Debug)]
pub(in crate::dataplane::capture::xdp) struct PortMaps {
    settings: SharedCells,
    pulses: SharedCells,
    counts: SharedCells,
    queues: usize,
    rows: usize,
}

impl PortMaps {
    pub(in crate::dataplane::capture::xdp) fn map(
        settings: &MapHandle,
        pulses: &MapHandle,
        counts: &MapHandle,
    ) -> io::Result<PortMaps> {
        use std::os::fd::AsFd;
        let fits = [(settings, SETTINGS), (pulses, PULSE), (counts, COUNTS)]
            .iter()
            .all(|(map, values)| map.value_size() as usize == values * 8);
        if !fits {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "maps of another version of shrike"));
        }
        let (queues, rows) = (pulses.max_entries() as usize, counts.max_entries() as usize);
        Ok(PortMaps {
            settings: SharedCells::map(settings.as_fd(), SETTINGS)?,
            pulses: SharedCells::map(pulses.as_fd(), queues * PULSE)?,
            counts: SharedCells::map(counts.as_fd(), rows * COUNTS)?,
            queues,
            rows,
        })
    }

    /// Maps what is pinned in a port's directory, whoever made it.
    ///
    /// # Errors
    /// Nothing is pinned there, or by another version.
    pub(in crate::dataplane::capture::xdp) fn open(directory: &Path) -> io::Result<PortMaps> {
        let open = |name: &str| {
            MapHandle::from_pinned_path(directory.join(name)).map_err(|error| io::Error::other(error.to_string()))
        };
        PortMaps::map(&open("shrike_pair")?, &open("shrike_pulse")?, &open("shrike_pair_xdp")?)
    }

    fn setting(&self, setting: Setting) -> Option<&AtomicU64> {
        self.settings.cells().get(setting as usize)
    }

    fn set(&self, setting: Setting, value: u64) {
        if let Some(cell) = self.setting(setting) {
            cell.store(value, Release);
        }
    }

    fn pulse(&self, queue: u32, place: Pulse) -> Option<&AtomicU64> {
        self.pulses.cells().get(queue as usize * PULSE + place as usize)
    }

    fn read(&self, queue: u32, place: Pulse) -> u64 {
        self.pulse(queue, place).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Writes what the operator decided.
    pub(super) fn decide(&self, policy: Policy, beat_limit_ns: u64) {
        self.set(Setting::Limit, beat_limit_ns);
        self.set(Setting::Closed, policy.closed());
    }

    /// Writes how it was attached; `indices`: of this port and its peer, `namespace`: the inode of theirs.
    pub(super) fn configure(&self, settings: &PairSettings, indices: [u32; 2], namespace: u64) {
        self.set(Setting::Ring, u64::from(settings.ports[0].ring_entries));
        self.set(Setting::From, u64::from(indices[0]));
        self.set(Setting::To, u64::from(indices[1]));
        self.set(Setting::Namespace, namespace);
    }

    /// Bytes of the longest frame that the sockets take.
    pub(super) fn set_longest(&self, bytes: u32) {
        self.set(Setting::Longest, bytes.into());
    }

    /// Says a cause to the program, or takes it back.
    pub(super) fn say(&self, cause: Cause, holds: bool) {
        if let Some(said) = self.setting(Setting::Said) {
            let _ = if holds { said.fetch_or(cause.bit(), Release) } else { said.fetch_and(!cause.bit(), Release) };
        }
    }

    /// Whether a cause was said.
    #[inline]
    pub(super) fn is_said(&self, cause: Cause) -> bool {
        self.setting(Setting::Said).is_some_and(|said| said.load(Acquire) & cause.bit() != 0)
    }

    /// An operator's bypass, which opens whatever the policy; on or off. The frames go on in the kernel until it is off. Its own cell:
    /// a planned stop is not begun or ended by it.
    pub(super) fn bypass(&self, on: bool) {
        self.set(Setting::Operators, u64::from(on));
    }

    /// Whether an operator's bypass holds.
    #[inline]
    pub(super) fn is_bypassed(&self) -> bool {
        self.setting(Setting::Operators).is_some_and(|cell| cell.load(Acquire) != 0)
    }

    /// Notes that the port is held down because of its peer, for who comes after us.
    pub(super) fn hold(&self, is_held: bool) {
        self.set(Setting::Held, is_held.into());
    }

    /// Whether the port is held down, or was when its holder died.
    pub(super) fn is_held(&self) -> bool {
        self.setting(Setting::Held).is_some_and(|cell| cell.load(Acquire) != 0)
    }

    /// Limit of a beat and the closed causes, as the program has them.
    pub(super) fn policy(&self) -> (u64, u64) {
        let read = |setting| self.setting(setting).map_or(0, |cell| cell.load(Acquire));
        (read(Setting::Limit), read(Setting::Closed))
    }

    /// A worker's sign of life, and how much of what the program gave it has taken.
    #[inline]
    pub(super) fn beat(&self, queue: u32, now_ns: u64, taken: u64) {
        if let (Some(beat), Some(cell)) = (self.pulse(queue, Pulse::Beat), self.pulse(queue, Pulse::Taken)) {
            cell.store(taken, Relaxed);
            beat.store(now_ns, Release);
        }
    }

    /// The worker has sent all of so many frames given to it and wants nothing more; `None`: it wants more.
    #[inline]
    pub(super) fn stopped(&self, queue: u32, all_of: Option<u64>) {
        if let Some(cell) = self.pulse(queue, Pulse::Stopped)
            && (all_of.is_none() || cell.load(Relaxed) != STOPPED_AT_ONCE)
        {
            cell.store(all_of.map_or(0, |given| given.wrapping_add(1)), Release);
        }
    }

    /// Frames go past the worker from now on, whatever is still under way to it.
    pub(super) fn stop_at_once(&self, queue: u32) {
        if let Some(cell) = self.pulse(queue, Pulse::Stopped) {
            cell.store(STOPPED_AT_ONCE, Release);
        }
    }

    /// Whether the program sends this queue's frames past the worker because it stopped.
    pub(super) fn is_stopped(&self, queue: u32) -> bool {
        match self.read(queue, Pulse::Stopped) {
            0 => false,
            STOPPED_AT_ONCE => true,
            stopped => stopped == self.accepted(queue).wrapping_add(1),
        }
    }

    /// When the worker of a queue was last heard of, `CLOCK_MONOTONIC` nanoseconds.
    pub(super) fn last_beat(&self, queue: u32) -> u64 {
        self.read(queue, Pulse::Beat)
    }

    /// Given to the socket and not refused by it, since the maps were made.
    pub(super) fn accepted(&self, queue: u32) -> u64 {
        self.read(queue, Pulse::Given).wrapping_sub(self.read(queue, Pulse::Refused))
    }

    /// Frames the worker took, since the maps were made.
    pub(super) fn taken(&self, queue: u32) -> u64 {
        self.read(queue, Pulse::Taken)
    }

    /// Before a new socket is put into the slot: what was given to the former one is no longer under way.
    pub(super) fn begin(&self, queue: u32) -> u64 {
        let accepted = self.accepted(queue);
        for (place, value) in [(Pulse::Taken, accepted), (Pulse::Stopped, 0), (Pulse::Overloaded, 0)] {
            if let Some(cell) = self.pulse(queue, place) {
                cell.store(value, Release);
            }
        }
        accepted
    }

    /// What the program did with the frames of this port.
    pub(in crate::dataplane::capture::xdp) fn counts(&self) -> PortCounts {
        let cells = self.counts.cells();
        let sum = |place: usize| {
            let values = (0..self.rows).filter_map(|row| cells.get(row * COUNTS + place));
            values.map(|cell| cell.load(Relaxed)).fold(0, u64::wrapping_add)
        };
        PortCounts {
            peer_refused: sum(21) + sum(22),
            dropped_mac: sum(0),
            dropped_flow: sum(1),
            dropped_signature: sum(2),
            dropped_prefix: sum(3),
            shunted: sum(4),
            bypassed: ByCause(std::array::from_fn(|cause| sum(5 + cause))),
            withheld: ByCause(std::array::from_fn(|cause| sum(13 + cause))),
        }
    }

    /// Queues there are.
    pub(super) fn queues(&self) -> u32 {
        u32::try_from(self.queues).unwrap_or(u32::MAX)
    }
}

/// The settings that a former process left, of whatever version: read before its pins go.
#[derive(Debug)]
pub(super) struct Former(Option<MapHandle>);

impl Former {
    /// What is pinned in a port's directory.
    pub(super) fn of(directory: &Path) -> Former {
        Former(MapHandle::from_pinned_path(directory.join("shrike_pair")).ok())
    }

    /// Hands on what outlives a process to maps that begin anew. Of a process that planned its stop the frames go on as of one; where
    /// that cannot be read, another version came, and that is planned.
    pub(super) fn hand_on(&self, to: &PortMaps) {
        let bytes = self.0.as_ref().and_then(|map| map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok().flatten());
        let read = |setting: Setting| {
            let at = setting as usize * 8;
            let value = bytes.as_ref()?.get(at..at + 8)?;
            value.try_into().ok().map(u64::from_ne_bytes)
        };
        to.bypass(read(Setting::Operators).is_some_and(|value| value != 0));
        to.hold(read(Setting::Held).is_some_and(|value| value != 0));
        to.say(Cause::Stop, read(Setting::Said).is_none_or(|said| said & Cause::Stop.bit() != 0));
    }
}

impl Program {
    /// The maps of a pair's port.
    pub(in crate::dataplane::capture::xdp) fn port_maps(&self) -> io::Result<PortMaps> {
        PortMaps::open(self.directory())
    }
}
