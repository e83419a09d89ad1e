//! Our own calls into libc and the CPU: the one place outside `capture/xdp` where `unsafe` may stand.
#![allow(unsafe_code)]

pub mod affinity;
pub mod afxdp;
pub mod bpffs;
pub mod disk;
pub mod ethtool;
pub mod files;
pub mod hash;
pub mod lanes;
pub mod mapping;
pub mod memory;
pub mod monotonic;
pub mod netdev;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod poll;
pub mod prefetch;
pub mod sandbox;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod tags;
pub mod thread;
