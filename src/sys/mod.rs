//! Our own calls into libc and the CPU: the one place outside `capture/xdp` where `unsafe` may stand.
#![allow(unsafe_code)]

pub mod affinity;
pub mod hash;
pub mod memory;
pub mod prefetch;
pub mod signals;
