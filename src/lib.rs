//! Shrike: a network security appliance that bypasses the kernel's network stack.
//!
//! Packets flow one way ([`dataplane`]), control flows the other way ([`control`]) and never through the packet loop;
//! only [`exchange`] crosses between the two. The map of the code, with what each module owns and what it deliberately
//! does not do, is `ARCHITECTURE.md`.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod exchange;
#[doc(hidden)]
pub mod fuzzing;
pub mod metrics;
pub mod sys;
pub mod units;
