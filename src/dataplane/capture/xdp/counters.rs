//! The counters that outlive the process, and the loss equation over them.
//!
//! Two BPF arrays, mapped into our memory and pinned beside the program:
//! * `shrike_xdp`: what the program did with each frame, a row per queue, a slot per CPU ([`XDP_COUNTS`] values each);
//! * `shrike_worker`: what our side did, [`WORKER_CELLS`] per queue: the worker's [`crate::metrics::Counter`]s first,
//!   then what the source counts itself and the socket's statistics, copied at each `maintain`.
//!
//! ```text
//!   seen       = redirected + passed_arp + passed_neighbour + passed_management + passed_no_socket
//!   passed_arp + passed_neighbour + passed_management = copied + copy_lost
//!   redirected + copied = frames_received + refused_{ring_full, no_frame, too_long, unbound, other}
//!                         + abandoned + lost_at_death + in flight
//! ```
//!
//! Before `seen` stands what the interface itself counts: on veth `rx_packets = seen + bypassed`, where `bypassed` is
//! counted at the stack's entry (`bypass.rs`).
//!
//! What lies in which cell is pinned too ([`LAYOUT`]): counts of a version with another layout are not read.
//!
//! `frames_received` is the worker's own count. No term is computed from another but `lost_at_death`, which is taken
//! once, when a queue is opened after a process that did not close it: what was redirected and neither refused nor
//! received by then (copies still unread are not lost: their ring is pinned too). Of that it takes no more than the
//! rings of the dead process held (`Cell::RingsHold`); the rest is no loss that a death explains, and stays open.

use super::program::{Note, noted};
use crate::metrics::{COUNTER_CELLS, COUNTERS, Counter, CounterMemory, read_counters};
use crate::sys::mapping::SharedCells;
use libbpf_rs::{MapCore, MapHandle};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Values in one slot of `shrike_xdp`: `struct counts` of `src/bpf/shrike.bpf.c`.
pub(super) const XDP_COUNTS: usize = 16;
/// Cells of one queue in `shrike_worker`: `struct worker_cells` there.
pub(super) const WORKER_CELLS: usize = 320;
/// Where the cells after the worker's own counters begin.
const SOURCE_CELLS: usize = 240;

const _: () = assert!(COUNTER_CELLS <= SOURCE_CELLS, "the worker's counters must fit before the source's own");

macro_rules! cells {
    ($first:ident, $($next:ident,)+) => {
        /// Cells that the source writes, after the worker's counters.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub(super) enum Cell { $first = SOURCE_CELLS, $($next,)+ }

        const CELL_NAMES: &[&str] = &[stringify!($first), $(stringify!($next),)+];
    };
}

cells! {
    RingFrames,
    MirrorFrames,
    RxDropped,
    RxInvalidDescs,
    TxInvalidDescs,
    RxRingFull,
    RxFillRingEmptyDescs,
    TxRingEmptyDescs,
    Openings,
    Deaths,
    LostAtDeath,
    Open,
    Waiting,
    InvalidDescriptors,
    Abandoned,
    RingsHold,
    Sent,
    TxRefused,
    LostInHands,
    TxRebuilds,
    Offered,
}

const _: () = assert!(SOURCE_CELLS + CELL_NAMES.len() <= WORKER_CELLS, "the source's cells must fit behind");

/// What lies in which cell of both arrays, as a number (FNV-1a): the names of all counters and cells in their order, and the
/// program's `struct counts`. Pinned beside the counts, because another version's arrays may have the same size.
pub(super) const LAYOUT: u64 = {
    let mut hash = fold_all(0xcbf2_9ce4_8422_2325, CELL_NAMES);
    let mut at = 0;
    while at < COUNTERS.len() {
        hash = fold(hash, COUNTERS[at].name());
        at += 1;
    }
    let [mapped, source] = [WORKER_CELLS as u64, SOURCE_CELLS as u64];
    let hash = (hash ^ mapped << 32 ^ source).wrapping_mul(FNV_PRIME);
    let hash = fold(hash, between(include_str!("../../../bpf/shrike.bpf.c"), "struct counts {", "}"));
    let pair = include_str!("../../../bpf/pair.h");
    let hash = fold(hash, between(pair, "struct pair_counts {", "}"));
    let hash = fold(hash, between(pair, "struct pair_settings {", "}"));
    fold(hash, between(pair, "struct pulse {", "}"))
};

const FNV_PRIME: u64 = 0x0100_0000_01b3;

const fn fold_all(mut hash: u64, names: &[&str]) -> u64 {
    let mut at = 0;
    while at < names.len() {
        hash = fold(hash, names[at]);
        at += 1;
    }
    hash
}

/// One name more, and that it ends here.
const fn fold(mut hash: u64, name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    (hash ^ 0xff).wrapping_mul(FNV_PRIME)
}

/// The part of a text between the first `begin` and the next `end`, while compiling.
const fn between(text: &'static str, begin: &str, end: &str) -> &'static str {
    let (_, rest) = text.split_at(find(text, begin));
    rest.split_at(find(rest, end)).0
}

const fn find(text: &str, word: &str) -> usize {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let mut at = 0;
    while at + word.len() <= text.len() {
        let mut same = 0;
        while same < word.len() && text[at + same] == word[same] {
            same += 1;
        }
        if same == word.len() {
            return at;
        }
        at += 1;
    }
    panic!("the text has no such word")
}

/// Every field of `XDP_STATISTICS` (include/uapi/linux/if_xdp.h), summed over all sockets the queue has had.
///
/// What each means in copy mode, read in net/xdp/xsk.c and measured on veth, native and generic (Linux 6.18,
/// `tests/live_xdp.rs`):
///
/// | a frame lost because    | `rx_dropped` | `rx_ring_full` | `rx_fill_ring_empty_descs` | program       |
/// |-------------------------|--------------|----------------|----------------------------|---------------|
/// | the RX ring was full    |              | +1             |                            | `ring_full`   |
/// | the fill ring was empty | +1           |                | +1                         | `no_frame`    |
/// | it was too long         | +1           |                |                            | `too_long`    |
///
/// The tracepoint that our program counts refusals by misses some: in one of eight floods of nine seconds (veth, Linux 6.18) 2 to 315
/// of over a million, mostly a NAPI poll's 64, without having been run (nor counted by the kernel as skipped), while `rx_ring_full` of
/// the socket was always what redirected frames less received ones are. So the greater of the two is the term: the socket's number
/// misses nothing and dies with its process, the tracepoint's outlives it.
///
/// So frames lost at the socket are `rx_dropped + rx_ring_full`; `rx_fill_ring_empty_descs` is a reason, not a term. In
/// native mode the driver counts each of them once more (veth: `rx_queue_N_drops`, and in the link's `rx_dropped`), in
/// generic mode nobody does. In zero-copy mode the driver takes fill entries in bulk, so `rx_fill_ring_empty_descs`
/// counts attempts, and frames lost that way show only in the NIC's counters (`rx_missed_errors`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct SocketStatistics {
    /// Frames dropped for want of a fill entry or because they were too long.
    pub rx_dropped: u64,
    /// Fill entries the kernel refused.
    pub rx_invalid_descs: u64,
    /// TX entries the kernel refused.
    pub tx_invalid_descs: u64,
    /// Frames dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times the fill ring was found empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the TX ring was found empty.
    pub tx_ring_empty_descs: u64,
}

/// The books of one queue at one moment; see the module's documentation for how the terms add up.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct QueueAccount {
    /// Queue number on its interface. The last row of an interface stands for all queues beyond the program's range.
    pub queue: u32,
    /// Frames the XDP program saw.
    pub seen: u64,
    /// Bytes of them.
    pub bytes_seen: u64,
    /// Given to the socket.
    pub redirected: u64,
    /// ARP left to the kernel.
    pub passed_arp: u64,
    /// IPv6 neighbour and router discovery left to the kernel.
    pub passed_neighbour: u64,
    /// Management frames left to the kernel.
    pub passed_management: u64,
    /// Left to the kernel because no socket was there.
    pub passed_no_socket: u64,
    /// Passed frames copied for the worker.
    pub copied: u64,
    /// Passed frames for whose copy there was no room.
    pub copy_lost: u64,
    /// Redirects refused because the RX ring was full: by the tracepoint or by the socket, whoever saw more; see
    /// [`SocketStatistics`].
    pub refused_ring_full: u64,
    /// Redirects refused because the fill ring was empty.
    pub refused_no_frame: u64,
    /// Redirects refused because the frame was too long.
    pub refused_too_long: u64,
    /// Redirects refused because the socket was going.
    pub refused_unbound: u64,
    /// Redirects refused for another reason.
    pub refused_other: u64,
    /// Frames that the driver gave to the kernel past the program, as when the interface is being set down.
    pub bypassed: u64,
    /// Frames the worker counted as received (its own counter of that name).
    pub frames_received: u64,
    /// Frames the source took from RX rings, counted at the ring.
    pub ring_frames: u64,
    /// Copies the source took, counted at their ring.
    pub mirror_frames: u64,
    /// Frames that waited in the ring at the last `maintain`.
    pub waiting: u64,
    /// Descriptors outside the UMEM, shown as empty frames.
    pub invalid_descriptors: u64,
    /// Frames still in the RX ring when the socket was closed without draining it first.
    pub abandoned: u64,
    /// Sockets opened.
    pub openings: u64,
    /// Sockets that died with their process.
    pub deaths: u64,
    /// Frames that died with them.
    pub lost_at_death: u64,
    /// The sockets' own statistics.
    pub socket: SocketStatistics,
    /// The worker's counters, by name.
    pub worker: Vec<(&'static str, u64)>,
}

impl QueueAccount {
    /// Redirects the socket refused.
    pub fn refused(&self) -> u64 {
        self.refused_ring_full
            + self.refused_no_frame
            + self.refused_too_long
            + self.refused_unbound
            + self.refused_other
    }

    /// Frames the kernel kept for itself while the socket was there.
    pub fn kept(&self) -> u64 {
        self.passed_arp + self.passed_neighbour + self.passed_management
    }

    /// Frames on their way to the worker: in the RX ring, in the ring of copies, or in a burst not yet published. Zero
    /// when all is quiet; never below zero nor above what those rings hold, or the equation does not close.
    pub fn in_flight(&self) -> i128 {
        i128::from(self.redirected) + i128::from(self.copied)
            - i128::from(self.frames_received)
            - i128::from(self.refused())
            - i128::from(self.abandoned)
            - i128::from(self.lost_at_death)
    }

    /// Of the frames that are neither received nor refused, those that may have died with a process whose rings held
    /// `bound`. Copies still unread have not: their ring outlives it.
    fn died(&self, bound: u64) -> u64 {
        let unread = self.copied.saturating_sub(self.mirror_frames);
        let missing = (self.in_flight() - i128::from(unread)).clamp(0, i128::from(bound));
        u64::try_from(missing).unwrap_or(0)
    }

    /// Whether what the program saw is what it did. Exact when quiet; while frames run, the terms are read one after
    /// the other and may be a few apart.
    pub fn program_closes(&self) -> bool {
        self.seen == self.redirected + self.kept() + self.passed_no_socket
            && self.kept() == self.copied + self.copy_lost
    }

    /// The worker's counter of that name.
    pub fn worker(&self, name: &str) -> u64 {
        self.worker.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }
}

impl std::fmt::Display for QueueAccount {
    /// One line with every term that is not zero.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "queue {}: in_flight {}", self.queue, self.in_flight())?;
        let socket = &self.socket;
        let terms = [
            ("seen", self.seen),
            ("redirected", self.redirected),
            ("passed_arp", self.passed_arp),
            ("passed_neighbour", self.passed_neighbour),
            ("passed_management", self.passed_management),
            ("passed_no_socket", self.passed_no_socket),
            ("copied", self.copied),
            ("copy_lost", self.copy_lost),
            ("refused_ring_full", self.refused_ring_full),
            ("refused_no_frame", self.refused_no_frame),
            ("refused_too_long", self.refused_too_long),
            ("refused_unbound", self.refused_unbound),
            ("refused_other", self.refused_other),
            ("bypassed", self.bypassed),
            ("frames_received", self.frames_received),
            ("ring_frames", self.ring_frames),
            ("mirror_frames", self.mirror_frames),
            ("waiting", self.waiting),
            ("invalid_descriptors", self.invalid_descriptors),
            ("abandoned", self.abandoned),
            ("openings", self.openings),
            ("deaths", self.deaths),
            ("lost_at_death", self.lost_at_death),
            ("rx_dropped", socket.rx_dropped),
            ("rx_invalid_descs", socket.rx_invalid_descs),
            ("rx_ring_full", socket.rx_ring_full),
            ("rx_fill_ring_empty_descs", socket.rx_fill_ring_empty_descs),
        ];
        terms.iter().filter(|(_, value)| *value > 0).try_for_each(|(name, value)| write!(formatter, ", {name} {value}"))
    }
}

/// Both arrays of one interface, mapped.
#[derive(Debug)]
pub(super) struct CounterMaps {
    xdp: SharedCells,
    worker: SharedCells,
    queues: usize,
    cpus: usize,
}

impl CounterMaps {
    pub(super) fn map(xdp: &MapHandle, worker: &MapHandle, queues: u32) -> io::Result<CounterMaps> {
        let queues = queues.max(1) as usize;
        let slots = xdp.max_entries() as usize;
        if worker.max_entries() as usize != queues
            || xdp.value_size() as usize != XDP_COUNTS * 8
            || worker.value_size() as usize != WORKER_CELLS * 8
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "counter maps of another version of shrike"));
        }
        use std::os::fd::AsFd;
        Ok(CounterMaps {
            xdp: SharedCells::map(xdp.as_fd(), slots * XDP_COUNTS)?,
            worker: SharedCells::map(worker.as_fd(), queues * WORKER_CELLS)?,
            queues,
            cpus: slots / (queues + 1),
        })
    }

    /// The cells of one queue in `shrike_worker`; empty for a queue beyond the map.
    #[inline]
    pub(super) fn worker_cells(&self, queue: u32) -> &[AtomicU64] {
        let from = (queue as usize).saturating_mul(WORKER_CELLS);
        self.worker.cells().get(from..from + WORKER_CELLS).unwrap_or_default()
    }

    /// Reads one of the source's cells.
    #[inline]
    pub(super) fn cell(&self, queue: u32, cell: Cell) -> u64 {
        self.worker_cells(queue).get(cell as usize).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Writes one of the source's cells; the queue's source is their only writer.
    #[inline]
    pub(super) fn set_cell(&self, queue: u32, cell: Cell, value: u64) {
        if let Some(place) = self.worker_cells(queue).get(cell as usize) {
            place.store(value, Relaxed);
        }
    }

    /// Adds to one of the source's cells.
    #[inline]
    pub(super) fn add_cell(&self, queue: u32, cell: Cell, count: u64) {
        self.set_cell(queue, cell, self.cell(queue, cell).wrapping_add(count));
    }

    /// Books what a process that did not close this queue took with it: never more than its rings held, or, where it
    /// did not say, those of its successor (`rings_hold`).
    pub(super) fn book_death(&self, queue: u32, rings_hold: u64) {
        let bound = match self.cell(queue, Cell::RingsHold) {
            0 => rings_hold,
            held => held,
        };
        self.add_cell(queue, Cell::Deaths, 1);
        self.add_cell(queue, Cell::LostAtDeath, self.account(queue).died(bound));
    }

    fn program_sum(&self, row: usize, field: usize) -> u64 {
        (0..self.cpus)
            .filter_map(|cpu| self.xdp.cells().get((row * self.cpus + cpu) * XDP_COUNTS + field))
            .map(|cell| cell.load(Relaxed))
            .fold(0, u64::wrapping_add)
    }

    /// The worker's counters of one queue, of one moment between two bursts; zeroes for a queue beyond the map.
    fn worker_counters(&self, queue: u32) -> [u64; COUNTERS.len()] {
        struct Cells<'a>(&'a [AtomicU64]);
        impl CounterMemory for Cells<'_> {
            fn cells(&self) -> &[AtomicU64] {
                self.0
            }
        }
        read_counters(&Cells(self.worker_cells(queue)))
    }

    /// The books of one queue. `queue == queues` is the row of frames beyond the program's range.
    pub(super) fn account(&self, queue: u32) -> QueueAccount {
        let row = (queue as usize).min(self.queues);
        // Later stages are read first, so that a frame on its way is missing on the right side rather than on the left.
        let cells = self.worker_cells(queue);
        let cell = |cell: Cell| cells.get(cell as usize).map_or(0, |cell| cell.load(Relaxed));
        let worker = self.worker_counters(queue);
        let mut account = QueueAccount {
            queue,
            frames_received: worker.get(Counter::FramesReceived as usize).copied().unwrap_or(0),
            worker: COUNTERS.iter().map(|counter| counter.name()).zip(worker).collect(),
            ring_frames: cell(Cell::RingFrames),
            mirror_frames: cell(Cell::MirrorFrames),
            waiting: cell(Cell::Waiting),
            invalid_descriptors: cell(Cell::InvalidDescriptors),
            abandoned: cell(Cell::Abandoned),
            openings: cell(Cell::Openings),
            deaths: cell(Cell::Deaths),
            lost_at_death: cell(Cell::LostAtDeath),
            socket: SocketStatistics {
                rx_dropped: cell(Cell::RxDropped),
                rx_invalid_descs: cell(Cell::RxInvalidDescs),
                tx_invalid_descs: cell(Cell::TxInvalidDescs),
                rx_ring_full: cell(Cell::RxRingFull),
                rx_fill_ring_empty_descs: cell(Cell::RxFillRingEmptyDescs),
                tx_ring_empty_descs: cell(Cell::TxRingEmptyDescs),
            },
            ..QueueAccount::default()
        };
        let fields = [
            (8, &mut account.refused_ring_full),
            (9, &mut account.refused_no_frame),
            (10, &mut account.refused_too_long),
            (11, &mut account.refused_unbound),
            (12, &mut account.refused_other),
            (7, &mut account.copy_lost),
            (6, &mut account.copied),
            (5, &mut account.passed_no_socket),
            (4, &mut account.passed_management),
            (3, &mut account.passed_neighbour),
            (2, &mut account.passed_arp),
            (1, &mut account.redirected),
            (13, &mut account.bytes_seen),
            (14, &mut account.bypassed),
            (0, &mut account.seen),
        ];
        for (field, value) in fields {
            *value = self.program_sum(row, field);
        }
        account.refused_ring_full = account.refused_ring_full.max(account.socket.rx_ring_full);
        account
    }

    /// Every queue's books, and last the row of queues beyond the program's range if it saw any frame.
    pub(super) fn accounts(&self) -> Vec<QueueAccount> {
        let beyond = self.account(u32::try_from(self.queues).unwrap_or(u32::MAX));
        let queues = (0..self.queues).map(|queue| self.account(u32::try_from(queue).unwrap_or(u32::MAX)));
        queues.chain((beyond.seen > 0).then_some(beyond)).collect()
    }
}

/// The worker's counters of one queue, in the pinned map.
pub(super) struct WorkerCounters {
    pub(super) maps: Arc<CounterMaps>,
    pub(super) queue: u32,
}

impl CounterMemory for WorkerCounters {
    fn cells(&self) -> &[AtomicU64] {
        self.maps.worker_cells(self.queue).get(..SOURCE_CELLS).unwrap_or_default()
    }
}

/// Reads the pinned counters of an interface from outside the process that writes them, also after its death.
#[derive(Debug)]
pub struct CounterReader {
    maps: CounterMaps,
}

impl CounterReader {
    /// Opens the maps pinned in `directory` (see [`super::pin_path`]).
    ///
    /// # Errors
    /// Nothing is pinned there, or by another version.
    pub fn open(directory: &Path) -> io::Result<CounterReader> {
        let open = |name: &str| {
            MapHandle::from_pinned_path(directory.join(name)).map_err(|error| io::Error::other(error.to_string()))
        };
        let (xdp, worker) = (open("shrike_xdp")?, open("shrike_worker")?);
        if noted(&open("shrike_notes")?, Note::Layout) != LAYOUT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "counter maps of another version of shrike"));
        }
        let queues = worker.max_entries();
        Ok(CounterReader { maps: CounterMaps::map(&xdp, &worker, queues)? })
    }

    /// Every queue's books.
    pub fn accounts(&self) -> Vec<QueueAccount> {
        self.maps.accounts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A death takes what the rings held and no more: a greater gap has another cause and must be seen.
    #[test]
    fn a_death_explains_no_more_than_its_rings_held() {
        let account = |received, copied, mirror_frames| QueueAccount {
            redirected: 60_000,
            frames_received: received,
            copied,
            mirror_frames,
            ..QueueAccount::default()
        };
        for (account, lost) in [
            (account(60_000, 0, 0), 0),
            (account(59_000, 0, 0), 1_000),
            (account(59_000, 700, 200), 1_200), // the 500 copies unread are read by the next process
            (account(20_000, 0, 0), 12_288),
            (account(60_001, 0, 0), 0), // more than there was: no loss either, and open
        ] {
            assert_eq!(account.died(12_288), lost, "{account}");
        }
    }

    /// What the tracepoint was not run for is in the socket's own number; what died with a socket is in the tracepoint's.
    #[test]
    fn a_full_ring_is_counted_by_whoever_saw_more_of_it() {
        let cells = |count: usize| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(count as u64 * 8).unwrap();
            SharedCells::map(&file, count).unwrap()
        };
        let maps = CounterMaps { xdp: cells(2 * XDP_COUNTS), worker: cells(WORKER_CELLS), queues: 1, cpus: 1 };
        for (tracepoint, socket, refused) in [(1_723_124, 1_723_365, 1_723_365), (40, 12, 40), (7, 7, 7)] {
            maps.xdp.cells()[8].store(tracepoint, Relaxed);
            maps.set_cell(0, Cell::RxRingFull, socket);
            assert_eq!(maps.account(0).refused(), refused);
        }
    }
}
