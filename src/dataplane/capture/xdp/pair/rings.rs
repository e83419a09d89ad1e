//! The sockets of one queue of both ports, on one memory: what comes in on one goes out on the other without being copied.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

use crate::dataplane::capture::BURST_MAX;
use crate::dataplane::capture::xdp::error::XdpError;
use crate::dataplane::capture::xdp::program::AttachMode;
use crate::dataplane::capture::xdp::rings::{Memory, Port, QueueFacts, Shape, frame_bytes, modes};
use crate::dataplane::capture::xdp::settings::{InterfaceSettings, Mode};
use crate::sys::socket::{self, Kicked};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// Kicks of one TX ring in one turn: enough for a burst at 32 frames a kick, twice.
const KICKS: u32 = 2 * (BURST_MAX as u32) / 32;

/// What a turn of sending came to, for one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sent {
    /// Frames that the kernel took out of the TX ring.
    pub(super) taken: u64,
    /// Of these, dropped by the driver.
    pub(super) refused: u64,
}

/// Two sockets with everything that belongs to them.
pub(super) struct PairRings {
    ports: [Port; 2],
    memory: Memory,
    /// Frames of the burst held that came in on the first port; the others are the second's.
    split: usize,
    /// Frames that are to go back to a port's fill ring.
    owed: [usize; 2],
    /// Frames in a port's TX ring that the kernel has not taken, and sent ones that have not come back.
    in_ring: [u64; 2],
    on_way: [u64; 2],
    entries: u64,
    /// Frames that one kick of each port sends at most.
    a_kick: [u64; 2],
    /// Frames that each port's program had given to the former sockets.
    pub(super) accepted: [u64; 2],
}

impl PairRings {
    /// Makes the memory and binds both sockets, in the best mode that both ports have; fill rings are full before anything can be
    /// redirected. `patience`: how long a busy queue is tried again.
    pub(super) fn open(
        settings: [&InterfaceSettings; 2],
        queue: u32,
        attached: [AttachMode; 2],
        mtu_bytes: u32,
        patience: Duration,
    ) -> Result<PairRings, XdpError> {
        let [first, second] = settings;
        let entries = first.ring_entries;
        let mut refused = Vec::new();
        let mut last = None;
        for mode in modes(first, attached[0]) {
            // A memory whose socket is gone cannot be bound again in another mode.
            let memory = Memory::allocate(first, queue, frame_bytes(first, attached[0], mtu_bytes), Shape::PAIR)?;
            let bind = |settings: &InterfaceSettings, attached| {
                Port::bind(settings, &memory, queue, attached, std::slice::from_ref(mode), entries, patience)
            };
            match bind(first, attached[0]).and_then(|one| Ok([one, bind(second, attached[1])?])) {
                Ok(ports) => {
                    let mut rings = PairRings {
                        ports,
                        memory,
                        split: 0,
                        owed: [0; 2],
                        in_ring: [0; 2],
                        on_way: [0; 2],
                        entries: entries.into(),
                        a_kick: [32; 2],
                        accepted: [0; 2],
                    };
                    rings.begin(refused);
                    return Ok(rings);
                }
                Err(error @ XdpError::Busy { .. }) => return Err(error),
                Err(error) => {
                    if *mode != Mode::Copy {
                        refused.push(error.to_string());
                    }
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| XdpError::Setting {
            interface: first.label(),
            setting: "mode",
            value: format!("{:?}", first.mode),
            reason: "no mode is left to try".into(),
        }))
    }

    fn begin(&mut self, refused: Vec<String>) {
        let half = self.memory.ledger.free_count() / 2;
        let longest = self.facts(0).longest_bytes;
        for (port, a_kick) in self.ports.iter_mut().zip(&mut self.a_kick) {
            port.refuse(&refused);
            *a_kick = socket::send_bursts(port.descriptor(), BURST_MAX as u32, longest * 2).into();
            port.refill(&mut self.memory, half);
            port.revive();
        }
    }

    /// What one port's socket got.
    pub(super) fn facts(&self, side: usize) -> &QueueFacts {
        let [first, second] = &self.ports;
        if side == 0 { first.facts() } else { second.facts() }
    }

    /// Both sockets' descriptors.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        let [first, second] = &self.ports;
        [first.descriptor(), second.descriptor()]
    }

    /// Both sockets, to be put into their maps.
    pub(super) fn borrowed(&self) -> [BorrowedFd<'_>; 2] {
        let [first, second] = &self.ports;
        [first.borrowed(), second.borrowed()]
    }

    /// Frames waiting in each RX ring.
    #[inline]
    pub(super) fn waiting(&mut self) -> [u32; 2] {
        let [first, second] = &mut self.ports;
        [first.waiting(), second.waiting()]
    }

    /// Frames in the burst held.
    #[inline(always)]
    pub(super) fn held(&self) -> usize {
        self.memory.ledger.burst().len()
    }

    /// Frames that were taken and are not sent yet, or whose memory has not come back: for each port they leave by.
    pub(super) fn unsent(&self) -> [u64; 2] {
        self.in_ring
    }

    /// Sent frames whose memory has not come back, for each port they left by.
    pub(super) fn on_way(&self) -> [u64; 2] {
        self.on_way
    }

    /// Takes a burst of at most `cap` frames from both ports, from each no more than the other one's TX ring has room for.
    /// Gives how many of each, and how many had an impossible descriptor.
    #[inline]
    pub(super) fn take(&mut self, cap: usize, waiting: [u32; 2]) -> ([usize; 2], u64) {
        let [first, second] = &mut self.ports;
        let room = [second.room_to_send() as usize, first.room_to_send() as usize];
        let wanted = [(waiting[0] as usize).min(room[0]), (waiting[1] as usize).min(room[1])];
        // A half for each, and what one does not need for the other.
        let half = cap / 2;
        let one = wanted[0].min(half.max(cap.saturating_sub(wanted[1])));
        let two = wanted[1].min(cap - one);
        let (count_1, bad_1) = first.take(&mut self.memory, one);
        let (count_2, bad_2) = second.take(&mut self.memory, two);
        self.split = count_1;
        ([count_1, count_2], bad_1 + bad_2)
    }

    /// The bytes of one frame of the burst; empty for an index out of range or an impossible descriptor.
    #[inline(always)]
    pub(super) fn frame(&self, index: usize) -> &[u8] {
        self.memory.frame(index)
    }

    /// Which port a frame of the burst came in on.
    #[inline(always)]
    pub(super) fn port_of(&self, index: usize) -> u8 {
        u8::from(index >= self.split)
    }

    /// Asks the CPU for a frame's first line.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        self.memory.prefetch(index);
    }

    /// Ends the burst: every frame of it goes to the other port's TX ring. Gives how many found no room there, for each port they
    /// came in on; there is room for all unless the kernel is wrong about it.
    #[inline]
    pub(super) fn forward(&mut self) -> [u64; 2] {
        let lengths = [self.split, self.held() - self.split];
        let [first, second] = &mut self.ports;
        let went = self.memory.ledger.send(self.split, |part, frames| {
            let out = if part == 0 { &mut *second } else { &mut *first };
            // SAFETY: the frames are tokens of this memory's ledger, which strikes them off when they were taken; they come
            // back by `reap` of this port alone.
            unsafe { out.transmit(frames) }
        });
        let lost = [lengths[0] - went[0], lengths[1] - went[1]];
        self.in_ring[1] += went[0] as u64;
        self.in_ring[0] += went[1] as u64;
        self.owed[0] += lost[0];
        self.owed[1] += lost[1];
        self.split = 0;
        lost.map(|count| count as u64)
    }

    /// Has the kernel send what is in the TX rings, takes sent frames back and gives them to the fill rings they came from. Gives
    /// what left by each port. `offers`: told before each kick by which port, and how many frames will have left by it after that
    /// kick, of this call.
    #[inline]
    pub(super) fn send(&mut self, mut offers: impl FnMut(usize, u64)) -> [Sent; 2] {
        let mut sent = [Sent::default(); 2];
        for side in 0..2 {
            if let (Some(port), Some(in_ring), Some(on_way), Some(sent), Some(a_kick)) = (
                self.ports.get_mut(side),
                self.in_ring.get_mut(side),
                self.on_way.get_mut(side),
                sent.get_mut(side),
                self.a_kick.get(side),
            ) {
                if *in_ring > 0 {
                    kick(port, *in_ring, self.entries, sent, |left| {
                        offers(side, in_ring.saturating_sub(left) + left.min(*a_kick));
                    });
                    *in_ring -= sent.taken;
                    *on_way += sent.taken;
                }
                if *on_way > 0 {
                    let back = port.reap(&mut self.memory);
                    *on_way = on_way.saturating_sub(back as u64);
                    if let Some(owed) = self.owed.get_mut(1 - side) {
                        *owed += back;
                    }
                }
            }
        }
        for (port, owed) in self.ports.iter_mut().zip(&mut self.owed) {
            if *owed > 0 {
                *owed -= port.refill(&mut self.memory, *owed);
            }
        }
        sent
    }

    /// Lets drivers that sleep go on.
    pub(super) fn revive(&self) {
        self.ports.iter().for_each(Port::revive);
    }

    /// Each socket's statistics.
    pub(super) fn statistics(&self) -> [std::io::Result<[u64; 6]>; 2] {
        let [first, second] = &self.ports;
        [first.statistics(), second.statistics()]
    }
}

/// Kicks a TX ring that holds `in_ring` frames until it is empty or the kernel wants no more now. `offers`: told before each kick
/// how many are in it.
#[inline]
fn kick(port: &mut Port, in_ring: u64, entries: u64, sent: &mut Sent, mut offers: impl FnMut(u64)) {
    if port.wants_kick() {
        let mut left = in_ring;
        for _ in 0..KICKS {
            offers(left);
            match socket::wake_transmit(port.descriptor()) {
                Kicked::Refused => sent.refused += 1,
                Kicked::More => {}
                Kicked::Done | Kicked::Away => break,
            }
            left = entries.saturating_sub(u64::from(port.room_to_send()));
            if left == 0 {
                break;
            }
        }
    }
    let left = entries.saturating_sub(u64::from(port.room_to_send()));
    sent.taken = in_ring.saturating_sub(left);
}
