//! What leaves Shrike for other tools' eyes: EVE JSON lines and Zeek's `conn.log`.
//!
//! Owns the shapes and the writing; knows neither the store nor HTTP. Nothing that came off the wire can break a line:
//! every string goes through the JSON serialiser, and every number is a number; `conn.log` has no text off the wire.

mod application;
mod conn;
mod eve;
mod log;
mod one_line;
mod statistics;

pub use crate::dataplane::decode::{community_id, community_id_of, flow_id};
pub use application::AppEvent;
pub use conn::{ConnFormat, conn_state, uid};
pub use eve::{EveWriter, ModelName, SharedName, signature_id};
pub use log::{ConnLog, EveFormat, EveItem, EveLog, Format, Log, LogSettings, SLOWER, Unwritten};
pub use statistics::Statistics;
