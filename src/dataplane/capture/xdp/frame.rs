//! Frames as tokens: holding one is the right to touch its bytes.
//!
//! ```text
//!   free --submit--> fill ring --kernel--> RX ring --take--> burst --release--> free
//!                                                             burst --send--> TX ring --kernel--> completion ring --reclaim--> free
//! ```
//!
//! xsk-rs's descriptors are `Copy`, so one frame could be in the fill ring and in our hands at once. [`Frame`] is
//! neither `Clone` nor `Copy` and is made in two places only: once for each chunk when the UMEM is made, and again for
//! each descriptor that comes back from the kernel. [`Ledger`] counts both sides; their sum never changes.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

use xsk_rs::umem::frame::FrameDesc;

/// The right to one chunk of the UMEM.
#[must_use = "a frame that is dropped is lost to its queue until the socket is made anew"]
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Frame(FrameDesc);

impl Frame {
    /// The descriptor, for looking at the bytes.
    #[inline(always)]
    pub(super) fn descriptor(&self) -> &FrameDesc {
        &self.0
    }
}

/// Whether a descriptor from the kernel lies within one chunk of a UMEM of `umem_bytes` in chunks of `frame_bytes`.
/// Checked in release builds too: one compare is cheaper than one incident.
#[inline(always)]
pub(super) fn is_within(address: usize, length: usize, frame_bytes: usize, umem_bytes: usize) -> bool {
    address < umem_bytes && (address & (frame_bytes - 1)).saturating_add(length) <= frame_bytes
}

/// Who holds the frames of one UMEM.
#[derive(Debug)]
pub(super) struct Ledger {
    free: Vec<Frame>,
    burst: Vec<Frame>,
    with_kernel: usize,
}

impl Ledger {
    /// Takes over every frame of a new UMEM.
    pub(super) fn new(descriptors: Vec<FrameDesc>, burst_max: usize) -> Ledger {
        let total = descriptors.len();
        let mut free = Vec::with_capacity(total);
        free.extend(descriptors.into_iter().map(Frame));
        // Both lists have room for the most they can ever hold, so moving tokens never allocates.
        Ledger { free, burst: Vec::with_capacity(burst_max), with_kernel: 0 }
    }

    /// The burst held.
    #[inline(always)]
    pub(super) fn burst(&self) -> &[Frame] {
        &self.burst
    }

    /// Free frames ready to be given to the kernel.
    #[inline(always)]
    pub(super) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Free + held + with the kernel: as many as there were at first, or a token was lost or doubled.
    #[cfg(test)]
    pub(super) fn sum(&self) -> usize {
        self.free.len() + self.burst.len() + self.with_kernel
    }

    /// Books frames that came from the kernel into the burst, at most as many as it has room for.
    #[inline(always)]
    pub(super) fn take(&mut self, descriptors: &[FrameDesc]) {
        let room = self.burst.capacity() - self.burst.len();
        debug_assert!(descriptors.len() <= room, "the caller asked for more than a burst");
        self.burst.extend(descriptors.iter().take(room).map(|descriptor| Frame(*descriptor)));
        self.with_kernel = self.with_kernel.saturating_sub(descriptors.len());
    }

    /// Ends the burst: its frames are free again.
    #[inline(always)]
    pub(super) fn release(&mut self) {
        self.free.append(&mut self.burst);
    }

    /// Books frames that the kernel has sent: free again.
    #[inline(always)]
    pub(super) fn reclaim(&mut self, descriptors: &[FrameDesc]) {
        // There is room for every frame of the UMEM; a kernel that gave more back than it has would be cut off here.
        let room = self.free.capacity() - self.free.len();
        self.free.extend(descriptors.iter().take(room).map(|descriptor| Frame(*descriptor)));
        self.with_kernel = self.with_kernel.saturating_sub(descriptors.len());
    }

    /// Ends a burst of two parts, the second from `split` on, by giving each to the kernel to send: `submit(part, frames)` says
    /// how many it took, all or none. A part that was not taken is free again; gives how many frames of each part went.
    #[inline(always)]
    pub(super) fn send(&mut self, split: usize, mut submit: impl FnMut(usize, &[FrameDesc]) -> usize) -> [usize; 2] {
        let split = split.min(self.burst.len());
        let lengths = [split, self.burst.len() - split];
        let all = descriptors(&self.burst);
        let (first, second) = all.split_at_checked(split).unwrap_or((all, &[]));
        let mut went = [0; 2];
        for (part, frames) in [first, second].into_iter().enumerate() {
            if !frames.is_empty()
                && submit(part, frames) == frames.len()
                && let Some(went) = went.get_mut(part)
            {
                *went = frames.len();
            }
        }
        if went == lengths {
            self.burst.clear(); // their tokens are with the kernel
        } else {
            let mut at = 0;
            let free = &mut self.free;
            self.burst.drain(..).for_each(|frame| {
                let part = usize::from(at >= split);
                at += 1;
                if went.get(part) == Some(&0) {
                    free.push(frame);
                }
            });
        }
        self.with_kernel += went.iter().sum::<usize>();
        went
    }

    /// Gives up to `room` free frames, the ones used last (their lines are warm), to the kernel through `submit`, which
    /// says how many it took: all or none.
    #[inline(always)]
    pub(super) fn submit(&mut self, room: usize, submit: impl FnOnce(&[FrameDesc]) -> usize) -> usize {
        let count = room.min(self.free.len());
        let from = self.free.len() - count;
        let Some(given) = self.free.get(from..) else { return 0 };
        let taken = submit(descriptors(given)).min(count);
        debug_assert!(taken == 0 || taken == count, "a producer ring takes all or none");
        if taken == count {
            self.free.truncate(from);
            self.with_kernel += taken;
            taken
        } else {
            0
        }
    }
}

/// Tokens as the kernel's words, for as long as they are borrowed.
#[inline(always)]
fn descriptors(frames: &[Frame]) -> &[FrameDesc] {
    // SAFETY: `Frame` is `repr(transparent)` over `FrameDesc`, so a slice of one is a slice of the other, with the same
    // lifetime. A field added to `Frame` would break it, and the size assertion below.
    unsafe { std::slice::from_raw_parts(frames.as_ptr().cast::<FrameDesc>(), frames.len()) }
}

const _: () = assert!(size_of::<Frame>() == size_of::<FrameDesc>());

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn only_descriptors_inside_one_chunk_are_taken() {
        for (address, length, good) in [
            (0, 0, true),
            (256, 1500, true),
            (256, 1792, true),
            (256, 1793, false),
            (2048 + 256, 1792, true),
            (4096, 0, false),
            (4095, 1, true),
            (4095, 2, false),
            (usize::MAX, 1, false),
            (256, usize::MAX, false),
        ] {
            assert_eq!(is_within(address, length, 2048, 4096), good, "{address} + {length}");
        }
    }

    proptest! {
        /// No frame is lost or doubled, whatever order kernel and worker act in: against a FIFO as the kernel's rings.
        #[test]
        fn the_sum_of_tokens_is_constant(total in 1usize..200, ring in 1usize..128, steps in
            proptest::collection::vec((0u8..3, 1usize..64), 0..400)) {
            // Each token is told apart by the order of submission, for addresses cannot be chosen outside xsk-rs.
            let mut ledger = Ledger::new(vec![FrameDesc::default(); total], 256);
            let (mut fill, mut rx) = (VecDeque::new(), VecDeque::new());
            for (step, count) in steps {
                match step {
                    0 => {
                        ledger.release();
                        let room = ring - fill.len();
                        ledger.submit(room, |descriptors| { fill.extend(descriptors.iter().copied()); descriptors.len() });
                    }
                    1 => {
                        let moved = count.min(fill.len()).min(ring - rx.len());
                        rx.extend(fill.drain(..moved));
                    }
                    _ => {
                        let taken: Vec<FrameDesc> = rx.drain(..count.min(rx.len()).min(256 - ledger.burst().len())).collect();
                        ledger.take(&taken);
                    }
                }
                prop_assert_eq!(ledger.sum(), total);
                prop_assert_eq!(ledger.free_count() + ledger.burst().len() + fill.len() + rx.len(), total);
            }
        }
    }

    #[test]
    fn a_full_ring_takes_nothing_and_loses_nothing() {
        let mut ledger = Ledger::new(vec![FrameDesc::default(); 8], 256);
        assert_eq!(ledger.submit(8, |_| 0), 0);
        assert_eq!((ledger.free_count(), ledger.sum()), (8, 8));
    }
}
