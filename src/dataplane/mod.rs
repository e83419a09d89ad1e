//! The data plane: what a pinned worker does with a frame, stage by stage.
//!
//! A stage uses the ones before it and the ground floor (`units`, `clock`, `metrics`, `sys`), never the other way;
//! [`worker`] is the one place that sees the whole path. Nothing here knows the control plane.

pub mod capture;
pub mod decode;
pub mod detect;
pub mod features;
pub mod flow;
pub mod inspect;
pub mod score;
pub mod verdict;
pub mod worker;
