//! One AF_XDP socket: its memory, its rings, and the mode it got.
//!
//! The only place that calls xsk-rs's queues. They are unsafe because frames could be used after they were given away;
//! here they come and go as tokens of the [`Ledger`], and everything lives and dies together in one [`Rings`].
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

use super::error::XdpError;
use super::frame::{Ledger, is_within};
use super::holders::holders;
use super::program::AttachMode;
use super::settings::{InterfaceSettings, Mode};
use crate::dataplane::capture::BURST_MAX;
use crate::sys::socket;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};
use xsk_rs::config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

/// How long a busy queue is tried again at start, before it is left to the watcher. The kernel lets go of a dead process's
/// queue some 30 ms late.
pub(super) const BUSY_LIMIT: Duration = Duration::from_secs(3);
/// Pause between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// Bytes of a huge page; a mapping of them must be a multiple.
const HUGE_PAGE_BYTES: u64 = 2 << 20;
/// Entries of the TX and completion rings of a tap, which leaves them idle.
const TX_ENTRIES: u32 = 64;

/// What a queue's socket got, read back from the kernel where it can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObtainedMode {
    /// The NIC writes into our memory.
    ZeroCopy,
    /// Program in the driver, one copy a frame.
    Copy,
    /// Program in the stack, one copy a frame.
    Generic,
}

impl std::fmt::Display for ObtainedMode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            ObtainedMode::ZeroCopy => "zero-copy",
            ObtainedMode::Copy => "copy",
            ObtainedMode::Generic => "generic",
        })
    }
}

/// What a queue got.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct QueueFacts {
    /// Queue number on the interface.
    pub queue: u32,
    /// Mode, from `getsockopt(XDP_OPTIONS)` and the program's attachment.
    pub mode: ObtainedMode,
    /// Whether the frames lie on huge pages; else why not.
    pub huge_pages: Result<(), String>,
    /// Bytes of a frame.
    pub frame_bytes: u32,
    /// Longest packet that fits.
    pub longest_bytes: u32,
    /// Frames there are.
    pub frames: u32,
    /// Entries of the RX ring; the fill ring has twice as many.
    pub ring_entries: u32,
    /// Preferred busy polling: on, off (`None`), or why it failed.
    pub busy_poll: Option<Result<(), String>>,
    /// Modes that were tried before and what the kernel said.
    pub refused: Vec<String>,
}

/// A UMEM and who holds its frames. The kernel keeps it for as long as a socket on it is open.
pub(super) struct Memory {
    umem: Umem,
    pub(super) ledger: Ledger,
    scratch: Box<[FrameDesc; BURST_MAX]>,
    frame_bytes: usize,
    umem_bytes: usize,
    huge_pages: Result<(), String>,
}

impl Memory {
    /// Memory of `frames` frames for a queue; touched here first, so call it on the worker's core.
    pub(super) fn allocate(
        settings: &InterfaceSettings,
        queue: u32,
        frame_bytes: u32,
        shape: Shape,
    ) -> Result<Memory, XdpError> {
        let (umem, descriptors, huge_pages) = allocate(settings, queue, frame_bytes, shape)?;
        let umem_bytes = frame_bytes as usize * descriptors.len();
        Ok(Memory {
            umem,
            ledger: Ledger::new(descriptors, BURST_MAX),
            scratch: Box::new([FrameDesc::default(); BURST_MAX]),
            frame_bytes: frame_bytes as usize,
            umem_bytes,
            huge_pages,
        })
    }

    /// Frames there are.
    pub(super) fn frames(&self) -> u32 {
        u32::try_from(self.umem_bytes / self.frame_bytes).unwrap_or(u32::MAX)
    }

    /// The bytes of one frame of the burst; empty for an index out of range or an impossible descriptor.
    #[inline(always)]
    pub(super) fn frame(&self, index: usize) -> &[u8] {
        let Some(frame) = self.ledger.burst().get(index) else { return &[] };
        let descriptor = frame.descriptor();
        if !is_within(descriptor.addr(), descriptor.lengths().data(), self.frame_bytes, self.umem_bytes) {
            return &[];
        }
        // SAFETY: the descriptor lies within one chunk of our own UMEM (just checked), and nobody writes the chunk: we
        // hold its token, so it is neither in a fill ring nor in the kernel's hands, and giving it away needs `&mut self`,
        // which the borrow returned here forbids. A kernel that writes frames it has given back could break it.
        unsafe { self.umem.data(descriptor) }.contents()
    }

    /// Asks the CPU for a frame's first line.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        if let Some(first) = self.frame(index).first() {
            crate::sys::prefetch::line(first);
        }
    }
}

/// One socket's rings.
pub(super) struct Port {
    rx: RxQueue,
    fill: FillQueue,
    tx: TxQueue,
    completion: CompQueue,
    facts: QueueFacts,
}

impl Port {
    /// Binds a socket on that memory to the queue of an interface in the calling thread's namespace, in the first of these modes
    /// that works. A busy queue is tried again for as long as `patience`. Nothing is in its fill ring yet.
    pub(super) fn bind(
        settings: &InterfaceSettings,
        memory: &Memory,
        queue: u32,
        attached: AttachMode,
        modes: &[Mode],
        tx_entries: u32,
        patience: Duration,
    ) -> Result<Port, XdpError> {
        let mut refused = Vec::new();
        let mut bound = None;
        for mode in modes {
            match bind(settings, &memory.umem, queue, *mode, tx_entries, patience) {
                Ok(queues) => {
                    bound = Some(queues);
                    break;
                }
                // A queue that another holds is busy in every mode.
                Err(error) if modes.len() == 1 || *mode == Mode::Copy || matches!(error, XdpError::Busy { .. }) => {
                    return Err(error);
                }
                Err(error) => refused.push(error.to_string()),
            }
        }
        let Some((tx, rx, fill, completion)) = bound else {
            return Err(bind_error(settings, queue, Mode::Copy, io::Error::other("no fill ring was made")));
        };
        let descriptor = rx.fd().as_raw_fd();
        let mode = match (socket::xdp_is_zero_copy(descriptor), attached) {
            (Ok(true), _) => ObtainedMode::ZeroCopy,
            (_, AttachMode::Native) => ObtainedMode::Copy,
            (_, AttachMode::Generic) => ObtainedMode::Generic,
        };
        let busy_poll = settings.busy_poll.map(|busy| {
            socket::prefer_busy_poll(descriptor, busy.microseconds, busy.budget).map_err(|error| error.to_string())
        });
        let frame_bytes = u32::try_from(memory.frame_bytes).unwrap_or(u32::MAX);
        let facts = QueueFacts {
            queue,
            mode,
            huge_pages: memory.huge_pages.clone(),
            frame_bytes,
            longest_bytes: frame_bytes - HEADROOM,
            frames: memory.frames(),
            ring_entries: settings.ring_entries,
            busy_poll,
            refused,
        };
        Ok(Port { rx, fill, tx, completion, facts })
    }

    /// What was obtained.
    pub(super) fn facts(&self) -> &QueueFacts {
        &self.facts
    }

    /// Modes that were refused before, by either of two ports.
    pub(super) fn refuse(&mut self, modes: &[String]) {
        self.facts.refused = modes.to_vec();
    }

    /// Whether it polls by preference.
    pub(super) fn polls(&self) -> bool {
        matches!(self.facts.busy_poll, Some(Ok(())))
    }

    /// The socket's descriptor.
    pub(super) fn descriptor(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// The socket's descriptor, borrowed.
    pub(super) fn borrowed(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open for as long as `rx` lives, which the borrow of `self` keeps.
        unsafe { BorrowedFd::borrow_raw(self.descriptor()) }
    }

    /// Frames waiting in the RX ring.
    #[inline(always)]
    pub(super) fn waiting(&mut self) -> u32 {
        self.rx.nb_avail_exact()
    }

    /// Takes up to `cap` frames into the burst; gives how many and how many of them had an impossible descriptor.
    #[inline(always)]
    pub(super) fn take(&mut self, memory: &mut Memory, cap: usize) -> (usize, u64) {
        let room = cap.min(BURST_MAX).saturating_sub(memory.ledger.burst().len());
        let Some(scratch) = memory.scratch.get_mut(..room) else { return (0, 0) };
        // SAFETY: the contract is that the descriptors belong to this socket's UMEM. `consume` only writes them, with
        // what the kernel gives back of our own frames; they become tokens at once and leave this type as such only.
        let count = unsafe { self.rx.consume(scratch) };
        let mut impossible = 0;
        for descriptor in scratch.iter().take(count) {
            impossible += u64::from(!is_within(
                descriptor.addr(),
                descriptor.lengths().data(),
                memory.frame_bytes,
                memory.umem_bytes,
            ));
        }
        memory.ledger.take(scratch.get(..count).unwrap_or_default());
        (count, impossible)
    }

    /// Gives the kernel up to `wanted` free frames to fill; gives how many it took: all or none.
    #[inline(always)]
    pub(super) fn refill(&mut self, memory: &mut Memory, wanted: usize) -> usize {
        let wanted = wanted.min(memory.ledger.free_count());
        if wanted == 0 {
            return 0;
        }
        let room = self.fill.nb_free(u32::try_from(wanted).unwrap_or(u32::MAX)) as usize;
        let fill = &mut self.fill;
        // SAFETY: the contract is that the frames belong to this UMEM and are not used until they come back. They are
        // tokens of this UMEM's ledger, which strikes them off its free list when `produce` took them.
        let given = memory.ledger.submit(room.min(wanted), |descriptors| unsafe { fill.produce(descriptors) });
        if given > 0 && self.fill.needs_wakeup() {
            self.wake();
        }
        given
    }

    /// Puts frames into the TX ring, all or none; they are sent by [`Port::kick`].
    ///
    /// # Safety
    /// They belong to the UMEM of this socket and are used by nobody until they come back by [`Port::reap`].
    #[inline(always)]
    pub(super) unsafe fn transmit(&mut self, frames: &[FrameDesc]) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.tx.produce(frames) }
    }

    /// Room in the TX ring.
    #[inline(always)]
    pub(super) fn room_to_send(&mut self) -> u32 {
        self.tx.nb_free_exact()
    }

    /// Whether the kernel wants to be told of what is in the TX ring.
    #[inline(always)]
    pub(super) fn wants_kick(&self) -> bool {
        self.tx.needs_wakeup()
    }

    /// Takes frames that were sent back, up to a burst; gives how many.
    #[inline(always)]
    pub(super) fn reap(&mut self, memory: &mut Memory) -> usize {
        // SAFETY: as in `take`: what is written are descriptors of our own frames, which become tokens at once.
        let count = unsafe { self.completion.consume(&mut *memory.scratch) };
        memory.ledger.reclaim(memory.scratch.get(..count).unwrap_or_default());
        count
    }

    /// Lets a sleeping driver see the fill ring; polls once where busy polling is on.
    #[inline]
    pub(super) fn wake(&self) {
        socket::wake_receive(self.descriptor());
    }

    /// As [`Port::wake`], for a queue that may be asleep for good. A driver that found the fill ring empty (as it is at
    /// bind, which comes before the first refill) waits for a kick, and igb with separate vectors for RX and TX kicks the
    /// TX vector even for RX (`igb_xsk_wakeup`, drivers/net/ethernet/intel/igb/igb_xsk.c, 6.18): no frame would ever come.
    pub(super) fn revive(&self) {
        match self.facts.mode {
            ObtainedMode::ZeroCopy => {
                socket::poll_receive_once(self.descriptor(), self.polls());
            }
            ObtainedMode::Copy | ObtainedMode::Generic => self.wake(),
        }
    }

    /// The socket's statistics, all six, since it was made.
    pub(super) fn statistics(&self) -> io::Result<[u64; 6]> {
        let statistics = self.rx.fd().xdp_statistics()?;
        Ok([
            statistics.rx_dropped(),
            statistics.rx_invalid_descs(),
            statistics.tx_invalid_descs(),
            statistics.rx_ring_full(),
            statistics.rx_fill_ring_empty_descs(),
            statistics.tx_ring_empty_descs(),
        ])
    }
}

/// A socket with everything that belongs to it.
///
/// Drop order: the queues hold xsk-rs's socket, which holds the UMEM; whichever goes last frees all, so any order is
/// right. The kernel takes the socket out of the XSKMAP by itself when it closes.
pub(super) struct Rings {
    port: Port,
    memory: Memory,
}

impl Rings {
    /// Makes the memory and binds a socket to the queue of an interface in the calling thread's namespace, filling the
    /// fill ring before anything can be redirected to it. Memory is touched here first: call it on the worker's core. A busy
    /// queue is tried again for as long as `patience`.
    pub(super) fn open(
        settings: &InterfaceSettings,
        queue: u32,
        attached: AttachMode,
        mtu_bytes: u32,
        patience: Duration,
    ) -> Result<Rings, XdpError> {
        let memory = Memory::allocate(settings, queue, frame_bytes(settings, attached, mtu_bytes), Shape::TAP)?;
        let port = Port::bind(settings, &memory, queue, attached, modes(settings, attached), TX_ENTRIES, patience)?;
        let mut rings = Rings { port, memory };
        rings.refill();
        rings.port.revive();
        Ok(rings)
    }

    /// What was obtained.
    pub(super) fn facts(&self) -> &QueueFacts {
        self.port.facts()
    }

    /// Whether it polls by preference.
    pub(super) fn polls(&self) -> bool {
        self.port.polls()
    }

    /// The socket's descriptor.
    pub(super) fn descriptor(&self) -> RawFd {
        self.port.descriptor()
    }

    /// The socket's descriptor, borrowed.
    pub(super) fn borrowed(&self) -> BorrowedFd<'_> {
        self.port.borrowed()
    }

    /// Frames waiting in the RX ring.
    #[inline(always)]
    pub(super) fn waiting(&mut self) -> u32 {
        self.port.waiting()
    }

    /// Frames in the burst held.
    #[inline(always)]
    pub(super) fn held(&self) -> usize {
        self.memory.ledger.burst().len()
    }

    /// Takes up to `cap` frames into the burst; gives how many and how many of them had an impossible descriptor.
    #[inline(always)]
    pub(super) fn take(&mut self, cap: usize) -> (usize, u64) {
        self.port.take(&mut self.memory, cap)
    }

    /// The bytes of one frame of the burst; empty for an index out of range or an impossible descriptor.
    #[inline(always)]
    pub(super) fn frame(&self, index: usize) -> &[u8] {
        self.memory.frame(index)
    }

    /// Asks the CPU for a frame's first line.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        self.memory.prefetch(index);
    }

    /// Ends the burst and gives the kernel every free frame it has room for.
    #[inline(always)]
    pub(super) fn release(&mut self) {
        self.memory.ledger.release();
        self.refill();
    }

    #[inline(always)]
    fn refill(&mut self) {
        self.port.refill(&mut self.memory, usize::MAX);
    }

    /// Lets a sleeping driver see the fill ring; polls once where busy polling is on.
    #[inline]
    pub(super) fn wake(&self) {
        self.port.wake();
    }

    /// See [`Port::revive`].
    pub(super) fn revive(&self) {
        self.port.revive();
    }

    /// The socket's statistics, all six, since it was made.
    pub(super) fn statistics(&self) -> io::Result<[u64; 6]> {
        self.port.statistics()
    }
}

/// How many frames a memory has, and how its sockets' completion rings are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Frames for each entry of the RX ring.
    frames_per_entry: u64,
    /// Entries of a completion ring for each of the RX ring; `None`: as few as can be.
    sends: bool,
}

impl Shape {
    /// Twice the RX ring, and a fill ring that holds them all: while the worker is away the RX ring fills up first, so
    /// overload has one name in copy mode (RX ring full), and a frame released always finds a place.
    pub(super) const TAP: Shape = Shape { frames_per_entry: 2, sends: false };
    /// The same for each of two ports. A frame stays of the port it came in on: it goes back to that fill ring when it was sent.
    pub(super) const PAIR: Shape = Shape { frames_per_entry: 4, sends: true };
}

/// Bytes of a frame in memory.
pub(super) fn frame_bytes(settings: &InterfaceSettings, attached: AttachMode, mtu_bytes: u32) -> u32 {
    let may_be_zero_copy =
        settings.mode == Mode::ZeroCopy || (settings.mode == Mode::Auto && attached == AttachMode::Native);
    match settings.frame_bytes {
        0 => chunk_bytes(mtu_bytes, may_be_zero_copy),
        given => given,
    }
}

/// Modes to try, the best first.
pub(super) fn modes(settings: &InterfaceSettings, attached: AttachMode) -> &'static [Mode] {
    match (settings.mode, attached) {
        (Mode::ZeroCopy, _) => &[Mode::ZeroCopy],
        (Mode::Auto, AttachMode::Native) => &[Mode::ZeroCopy, Mode::Copy],
        _ => &[Mode::Copy],
    }
}

/// `XDP_PACKET_HEADROOM` (include/uapi/linux/bpf.h), at the head of every chunk.
const HEADROOM: u32 = 256;

/// Chunk that holds a whole frame of the interface: 18 bytes for the Ethernet header and one VLAN tag beyond the MTU.
///
/// In zero-copy mode the NIC writes into the chunk, and igb, igc and ixgbe know buffers in whole KiB only (SRRCTL.BSIZEPKT):
/// of a 2048-byte chunk they use 1024 bytes and cut every longer frame into two, which no header announces. The price is
/// memory, 16 MiB instead of 8 for a queue with a ring of 2048.
fn chunk_bytes(mtu_bytes: u32, may_be_zero_copy: bool) -> u32 {
    let unit = if may_be_zero_copy { 1024 } else { 1 };
    let room = (2048 - HEADROOM) / unit * unit;
    if mtu_bytes.saturating_add(18) <= room { 2048 } else { 4096 }
}

type Queues = (TxQueue, RxQueue, FillQueue, CompQueue);
type Allocated = (Umem, Vec<FrameDesc>, Result<(), String>);

fn allocate(settings: &InterfaceSettings, queue: u32, frame_bytes: u32, shape: Shape) -> Result<Allocated, XdpError> {
    let entries = settings.ring_entries;
    let wrong = |setting, value: u32, reason: &str| XdpError::Setting {
        interface: settings.label(),
        setting,
        value: value.to_string(),
        reason: reason.to_owned(),
    };
    if !entries.is_power_of_two() || !(64..=32_768).contains(&entries) {
        return Err(wrong("ring_entries", entries, "must be a power of two from 64 to 32768"));
    }
    if frame_bytes != 2048 && frame_bytes != 4096 {
        return Err(wrong("frame_bytes", frame_bytes, "must be 2048, 4096, or 0 to choose by the MTU"));
    }
    let internal = |reason: String| wrong("frame_bytes", frame_bytes, &reason);
    let mut builder = UmemConfig::builder();
    builder
        .frame_size(FrameSize::new(frame_bytes).map_err(|error| internal(error.to_string()))?)
        .fill_queue_size(QueueSize::new(entries * 2).map_err(|error| internal(error.to_string()))?)
        .comp_queue_size(
            QueueSize::new(if shape.sends { entries } else { TX_ENTRIES })
                .map_err(|error| internal(error.to_string()))?,
        );
    let config = builder.build().map_err(|error| internal(error.to_string()))?;
    let bytes = u64::from(entries) * shape.frames_per_entry * u64::from(frame_bytes);
    let make = |bytes: u64, huge: bool| {
        let frames = u32::try_from(bytes / u64::from(frame_bytes)).ok().and_then(NonZeroU32::new);
        let frames = frames.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Umem::new(config, frames, huge).map_err(|error| os_cause(&error))
    };
    let mut why_small = "not asked for".to_owned();
    if settings.huge_pages {
        match make(bytes.next_multiple_of(HUGE_PAGE_BYTES), true) {
            Ok((umem, descriptors)) => return Ok((umem, descriptors, Ok(()))),
            Err(error) => {
                let pages = bytes.div_ceil(HUGE_PAGE_BYTES);
                why_small = format!("{pages} free huge pages of 2 MiB needed ({error}); `hugepages/huge-pages apply`");
            }
        }
    }
    let memory = |cause| XdpError::Memory { interface: settings.label(), queue, bytes, cause };
    let (umem, descriptors) = make(bytes, false).map_err(memory)?;
    Ok((umem, descriptors, Err(why_small)))
}

fn bind(
    settings: &InterfaceSettings,
    umem: &Umem,
    queue: u32,
    mode: Mode,
    tx_entries: u32,
    patience: Duration,
) -> Result<Queues, XdpError> {
    let entries = |count| {
        QueueSize::new(count).map_err(|error| bind_error(settings, queue, mode, io::Error::other(error.to_string())))
    };
    let copying = if mode == Mode::ZeroCopy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
    let config = SocketConfig::builder()
        .rx_queue_size(entries(settings.ring_entries)?)
        .tx_queue_size(entries(tx_entries)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(copying | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let interface: Interface = settings
        .name
        .parse()
        .map_err(|_| bind_error(settings, queue, mode, io::Error::from_raw_os_error(libc::ENODEV)))?;
    let begin = Instant::now();
    loop {
        // SAFETY: the contract concerns a second socket on the same queue of one UMEM with libxdp's own program; each of a
        // pair's two is on an interface of its own, and INHIBIT_PROG_LOAD is set.
        match unsafe { Socket::new(config, umem, &interface, queue) } {
            Ok((tx, rx, Some((fill, completion)))) => return Ok((tx, rx, fill, completion)),
            Ok(_) => return Err(bind_error(settings, queue, mode, io::Error::other("no fill ring was made"))),
            Err(error) => {
                let cause = os_cause(&error);
                if cause.raw_os_error() != Some(libc::EBUSY) {
                    return Err(bind_error(settings, queue, mode, cause));
                }
                if begin.elapsed() >= patience {
                    let holders = holders();
                    return Err(XdpError::Busy { interface: settings.label(), queue, holders });
                }
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }
}

fn bind_error(settings: &InterfaceSettings, queue: u32, mode: Mode, cause: io::Error) -> XdpError {
    let interface = settings.label();
    match (mode, cause.raw_os_error()) {
        (_, Some(libc::EPERM | libc::EACCES)) => {
            XdpError::NotPermitted { operation: "open an AF_XDP socket on", interface, cause }
        }
        (Mode::ZeroCopy, _) => XdpError::NoZeroCopy { interface, queue, cause },
        (_, errno) => {
            let remedy = match errno {
                Some(libc::EINVAL) => {
                    "the queue is not in use (`ethtool -l`), or the frame size does not suit the driver"
                }
                Some(libc::ENETDOWN) => "set the interface up (`ip link set dev NAME up`)",
                Some(libc::ENODEV) => "the interface has gone",
                Some(libc::EOPNOTSUPP) => "use mode = \"generic\"",
                Some(libc::ENOMEM | libc::ENOBUFS) => {
                    "lower ring_entries or raise the memory limit (`ulimit -l unlimited`)"
                }
                _ => "see `shrike doctor`",
            };
            XdpError::Bind { interface, queue, mode, cause, remedy }
        }
    }
}

/// The operating system's error inside one of xsk-rs's, which print a sentence without it.
fn os_cause(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let inner = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_holds_a_whole_frame_also_for_nics_that_count_in_whole_kib() {
        for (mtu, zero_copy, chunk) in
            [(1_500, false, 2048), (1_500, true, 4096), (1_006, true, 2048), (1_007, true, 4096), (3_000, false, 4096)]
        {
            assert_eq!(chunk_bytes(mtu, zero_copy), chunk, "MTU {mtu}, zero-copy {zero_copy}");
        }
    }
}
