//! What a queue counts and times: named counters that may outlive the process, and HDR histograms per stage.
//!
//! One writer (the worker that runs the queue), any number of readers. Nothing here computes one term of the loss
//! equation from another: a counter is raised where its event happens and nowhere else.

mod counters;
mod stages;

pub use counters::{
    COUNTER_CELLS, COUNTERS, Counter, CounterBlock, CounterMemory, Role, TURN_FRAMES_MAX, UNREAD, read_counters,
};
pub use stages::{STAGES, Stage, StageHistograms};
