//! L2 to L4 of one frame, from borrowed, length-checked bytes into one [`Packet`].
//!
//! Untrusted input starts here. Owns nothing between frames but the bounded [`FragmentTable`]; never allocates, never
//! panics, reads no clock. What it does not understand it names ([`Decoded::Reject`] with a counter) and never guesses.

mod fragment;
mod key;
mod packet;

pub use fragment::{FragmentSettings, FragmentTable};
pub use key::{Direction, Endpoint, FlowKey};
pub use packet::{Decoded, Packet, Tunnel, decode, quoted_flow, tcp_flags};
