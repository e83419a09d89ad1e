//! What leaves Shrike for other tools' eyes: EVE JSON lines.
//!
//! Owns the shapes and the writing; knows neither the store nor HTTP. Nothing that came off the wire can break a line:
//! every string goes through the JSON serialiser, and every number is a number.

mod application;
mod eve;
mod log;
mod one_line;

pub use crate::dataplane::decode::{community_id, community_id_of};
pub use application::AppEvent;
pub use eve::{EveWriter, ModelName, Statistics, flow_id, signature_id};
pub use log::{EveLog, LogSettings};
