//! Capture through AF_XDP.
//!
//! ```text
//!   Interface::attach --> program in the kernel, maps pinned, watcher thread
//!      open_queue(i)  --> XdpSource: UMEM + rings + ring of copies, moved to a worker
//! ```
//!
//! Owns the XDP program, its maps, the sockets and their memory; knows nothing of what is in a frame. Frames are tokens
//! (`frame`), counters outlive the process (`counters`), and the unsafe queue methods of xsk-rs are called in `rings` and
//! nowhere else. Untrusted here: the bytes of frames (never looked at, only passed on). Trusted: the kernel.
//!
//! Life of a queue: memory, socket, fill ring full, then the entry in the XSKMAP, so that no frame meets an empty fill
//! ring. End of a queue: entry out ([`StopHandle::stop`]), wait for softirqs, drain, close. A process that is killed
//! leaves the program attached: it passes frames to the kernel, counts them, and the next start takes everything over.
#![allow(unsafe_code)]

mod bpf;
mod bypass;
mod counters;
mod error;
mod frame;
mod holders;
mod interface;
mod leftovers;
mod mirror;
mod napi;
mod nic;
mod offloads;
mod pair;
mod program;
mod rehearse;
mod rings;
mod rss;
mod settings;
mod source;
mod verdict_maps;
mod verdicts;
mod watch;

pub use counters::{CounterReader, QueueAccount, SocketStatistics};
pub use error::{XdpError, errno_name};
pub use interface::{Interface, InterfaceState, InterfaceStatus, NicCounters, WaitingQueue, pin_path};
pub use leftovers::sweep as remove_leftovers;
pub use nic::is_shared;
pub use offloads::{OffloadFinding, falsifying_offloads};
pub use pair::{
    BEAT_LIMIT_DEFAULT_MS, BEAT_LIMIT_MS, ByCause, Cause, Direction, Fail, LinkPolicy, LinkStatus, Pair, PairReader,
    PairSettings, PairSource, PairStatus, PairStop, Policy, PortCounts, PortOf, keep_links,
};
pub use program::{AttachMode, KERNEL_NEEDED, KERNEL_WANTED};
pub use rehearse::{Rehearsal, Rehearsed};
pub use rings::{ObtainedMode, QueueFacts};
pub use rss::SymmetricRss;
pub use settings::{BusyPoll, InterfaceSettings, MANAGEMENT_MAX, Management, Mode, PIN_DIRECTORY, Shared, Transport};
pub use source::{StopHandle, XdpSource};
pub use verdict_maps::{VerdictRoom, verdict_path};
pub use verdicts::Verdicts;
