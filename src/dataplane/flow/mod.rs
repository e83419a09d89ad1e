//! Biflows: canonical key to record, in a table of fixed capacity that never does an O(n) step.
//!
//! Owns every flow record, the timer wheel and TCP state. Does not know what a detector or a model is; it tells the
//! caller by [`Signals`] when something happened that is worth a look. No clock, no I/O, no allocation after `new`.

mod record;
mod table;
mod wheel;

pub use record::{EndReason, FlowRecord, Side, Signals, TcpState, Transition};
pub use table::{Ended, FlowIndex, FlowTable, Insert, Settings, TableStats};
