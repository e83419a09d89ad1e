//! Biflows: canonical key to record, in a table of fixed capacity that never does an O(n) step.
//!
//! Owns every flow record, the timer wheel and TCP state. Does not know what a detector or a model is; it tells the
//! caller by [`Signals`] when something happened that is worth a look. No clock, no I/O, no allocation after `new`.
//!
//! ```text
//!  hash --> bucket (64 B: 8 tags, 8 slots, overflow count) --> record (128 B, slab) ... wheel link (8 B, touched only
//!           two candidates a key, the second seldom needed     two lines, adjacent      when a flow comes, changes or goes)
//! ```
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod bucket;
mod record;
mod table;
mod tcp;
mod wheel;

pub use record::{EndReason, FlowRecord, Noted, Side, Signals, SynKind, TcpState, Transition};
pub use table::{Ended, FlowIndex, FlowTable, Insert, Settings, Staging, TableStats};
