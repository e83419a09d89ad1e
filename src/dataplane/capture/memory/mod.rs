//! In-memory sources: the fake kernel of tests, and the looped arena of benches.
//!
//! [`ring`] gives a [`FakeKernel`] and a [`MemorySource`] joined by a fill ring and an RX ring of move-only [`Frame`]
//! tokens, as an AF_XDP socket has them; the kernel can lose, corrupt and reorder frames by seed and counts what it
//! did on its own side of the loss equation. [`LoopSource`] gives out prepared frames again and again at next to no
//! cost, so that a bench measures the engine and not the source.

mod looped;
mod ring;

pub use looped::{LoopFrames, LoopSource};
pub use ring::{FRAME_BYTES, FakeKernel, Faults, Frame, KernelCounts, MemorySource, RingSettings, Sent, ring};
