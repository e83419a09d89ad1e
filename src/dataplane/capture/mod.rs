//! Where frames come from. Owns the frames between `receive` and `release`; knows nothing of what is in them.
//!
//! Three sources stand behind one trait: [`xdp`] (AF_XDP rings), [`pcap`] (capture files) and [`memory`] (in-memory
//! rings: the fake kernel of tests and benches). The worker is generic over it, so the packet path has no virtual call.

pub mod memory;
pub mod pcap;
pub mod xdp;

use crate::units::Timestamp;
use std::os::fd::RawFd;
use std::time::Duration;

/// Most frames a burst may hold, whatever the cap.
pub const BURST_MAX: usize = 256;

/// What the first byte of a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LinkType {
    /// Ethernet II / 802.3 (LINKTYPE_ETHERNET 1).
    #[default]
    Ethernet,
    /// An IPv4 or IPv6 header (LINKTYPE_RAW 101, 12, 14, and the single-version ones 228, 229).
    RawIp,
    /// BSD loopback: 4-byte address family in the writer's or network byte order (LINKTYPE_NULL 0, LOOP 108).
    Null,
    /// Linux cooked capture v1, 16-byte header (LINKTYPE_LINUX_SLL 113).
    LinuxSll,
    /// Linux cooked capture v2, 20-byte header (LINKTYPE_LINUX_SLL2 276).
    LinuxSll2,
    /// A serial line: PPP with address and control or without, or Cisco's framing (LINKTYPE_PPP 9, PPP_HDLC 50, C_HDLC 104).
    Ppp,
    /// Any other number: its frames are counted and not decoded.
    Other(u16),
}

/// What one look at the source gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Frames in the burst now held, at most the cap asked for and [`BURST_MAX`].
    pub count: usize,
    /// Frames that were waiting when we looked, those in the burst included (0 where the source cannot tell).
    pub waiting: u32,
    /// Frames the source's ring can hold; `waiting / capacity` is the occupancy (0 where that has no meaning).
    pub capacity: u32,
    /// The source has ended and will never give another frame.
    pub ended: bool,
}

/// One frame of the burst held.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// The bytes captured.
    pub bytes: &'a [u8],
    /// Length on the wire without FCS; more than `bytes.len()` where the capture was cut by a snap length.
    pub wire_bytes: u32,
    /// Capture time, for sources that know it for each frame. `None`: the burst's time holds.
    pub time: Option<Timestamp>,
    /// What `bytes` begin with.
    pub link: LinkType,
    /// Which port of a pair it came in on: 0 or 1; of a tap always 0, which cannot tell who stands on which side.
    pub port: u8,
}

/// A queue of frames, run by one worker at a time.
///
/// `receive` takes a burst, `frame` looks at it, `release` gives all its frames back. A second `receive` without a
/// `release` between is a bug of the caller and gives an empty burst.
pub trait Source: Send {
    /// Takes what is there, up to `cap`; never waits.
    fn receive(&mut self, cap: usize) -> Received;

    /// One frame of the burst held; an empty view for an index out of range.
    fn frame(&self, index: usize) -> FrameView<'_>;

    /// Asks the CPU for the first bytes of a frame ahead of use.
    #[inline(always)]
    fn prefetch(&self, _index: usize) {}

    /// Gives every frame of the burst back (to the fill ring, to the buffer pool).
    fn release(&mut self);

    /// Waits up to `limit` for frames after an empty read: wakeup, busy poll or sleep, as the source likes best.
    fn wait(&mut self, limit: Duration);

    /// Longest time between two looks at the source, also when nothing comes: one whose peer in the kernel waits for a sign of life
    /// says how often.
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    /// Descriptors that become readable when a frame comes (negative ones count for nothing); `None` where only
    /// [`Source::wait`] can wait for one.
    fn descriptors(&self) -> Option<[RawFd; 2]> {
        None
    }

    /// The burst held is one copy of a frame that another queue owns and counts: an ICMP error, sent here only because
    /// the flow it quotes lives here. It is no frame received.
    #[inline(always)]
    fn is_note(&self) -> bool {
        false
    }

    /// Capture time that is certain to have been reached even if no frame came (replay's ticks); `None` live.
    fn time_floor(&self) -> Option<Timestamp> {
        None
    }

    /// Housekeeping that must not run per burst (socket statistics, re-arming): called about every 10 ms.
    fn maintain(&mut self, _now: Timestamp) {}
}
