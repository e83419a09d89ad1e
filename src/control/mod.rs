//! The control plane: ordinary threads and one async runtime, never on a worker's core where there are two.
//!
//! It may read the data plane's types; the data plane knows nothing of it.

pub mod alert;
pub mod behaviour;
mod disk;
pub mod evaluate;
pub mod export;
pub mod flows;
pub mod hosts;
pub mod http;
pub mod inventory;
pub mod models;
pub mod moment;
pub mod replay;
pub mod respond;
pub mod shunt;
pub mod store;
pub mod supervisor;
mod text;
pub mod view;
pub mod windows;
