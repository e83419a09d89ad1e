//! The worker: the one place that sees the whole way of a packet.
//!
//! A [`Queue`] is everything that belongs to one source of frames (socket, flow table, detectors, model session) as one
//! value. A worker is a pinned thread that runs one or more of them to completion, a burst at a time, and takes and gives
//! whole queues on command: so queues move between workers under load without losing a flow.
//!
//! ```text
//! receive -> decode all -> hash, touch buckets -> probe, touch records -> update, detect -> release
//!         -> expire a little -> score if due -> flush windows -> tell the controllers -> publish counters
//! ```
//!
//! It never allocates, waits, locks or logs between two bursts. It knows nothing of the control plane.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod anomalies;
pub mod batch;
mod census;
mod elephants;
mod engine;
mod handover;
mod handshakes;
mod mailbox;
mod neighbours;
mod openings;
mod outers;
mod shed;
mod sinks;
mod snapshot;
mod stacks;
mod summary;
mod thread;
mod watch;

pub use batch::{Reason, RxSettings, RxState, ScoreSettings, ScoreState};
pub use elephants::ELEPHANTS;
pub use engine::{Engine, EngineParts, EngineSettings, Queue, RESTARTS_MAX, Rest, Turn};
pub use handover::{
    Bell, HandoverInbox, HandoverPlace, HandoverReceiver, HandoverSender, RingCount, SNAP_BYTES, handover_mesh,
    handover_ring,
};
pub use handshakes::Handshakes;
pub use mailbox::{Fitted, Mailbox, MailboxPort, SAMPLES, Samples, mailbox};
pub use neighbours::{ADDRESSES as NEIGHBOURS, PER_SECOND as NEIGHBOURS_PER_SECOND};
pub use openings::Openings;
pub use outers::{Outers, SHARE as FLOWS_PER_OUTER};
pub use shed::Shed;
pub use snapshot::{QueueSnapshot, QueueState};
pub use stacks::Stacks;
pub use thread::{Command, Returned, Why, WorkerHandle, WorkerLoad, WorkerSettings};
pub use watch::{Copied, SUBJECTS_MAX, WATCH_BYTES, Watch, WatchList, WatchPort, watch};

const _: () = assert!(
    2 * crate::dataplane::capture::BURST_MAX as u64 == crate::metrics::TURN_FRAMES_MAX,
    "a turn is a burst of its own and one handed over"
);
