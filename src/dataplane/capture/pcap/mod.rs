//! Capture files as a source of frames: pcap and pcapng, plain or compressed, many in sequence, or standard input.
//!
//! Untrusted input: every length in a file is checked, no record is believed above [`FRAME_MAX`], what is wrong is a
//! [`Finding`] with file, offset and remedy, and what is whole is delivered. Owns the read buffer; frames are views
//! into it. Deliberately does not look into frames: that is `decode`'s;
//! [`split()`] asks its caller which queue a frame belongs to.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod finding;
mod format;
mod input;
mod pace;
mod reader;
mod report;
mod source;
mod split;
mod timeline;

pub use finding::{CaptureError, Finding, FindingKind};
pub use format::{FRAME_MAX, link_type};
pub use input::Limits;
pub use pace::Speed;
pub use reader::{Next, Reader};
pub use report::Report;
pub use source::PcapSource;
pub use split::{Route, SplitCounts, SplitSource, Splitter, TICK_NS, split};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
