//! The question of an ARP request.

use super::bytes::{be16, be32, block};
use super::packet::Packet;
use crate::dataplane::capture::FrameView;

/// Who asks for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpQuestion {
    /// The host that asks, by its IPv4 address.
    pub asker: u32,
    /// Its link address, as it says itself.
    pub mac: [u8; 6],
    /// The host that is asked for, by its IPv4 address.
    pub asked: u32,
}

/// The question of a frame that was decoded as [`Decoded::Arp`](super::Decoded::Arp): requests for IPv4 (RFC 826) of a
/// host that has an address. `None` for answers, for announcements (a host asks for itself), for probes of an address not
/// yet taken (RFC 5227: no asker), and for what is cut off.
#[cold]
pub fn arp_question(frame: FrameView<'_>, packet: &Packet) -> Option<ArpQuestion> {
    const REQUEST: u16 = 1;
    let body = block::<28>(frame.bytes, usize::from(packet.payload_offset))?;
    let protocol = be16::<2, 28>(body);
    let is_v4 = protocol == 0x0800 && be16::<4, 28>(body) == 0x0604;
    let (asker, asked) = (be32::<14, 28>(body), be32::<24, 28>(body));
    let asks = is_v4 && be16::<6, 28>(body) == REQUEST && asker != 0 && asker != asked;
    let mac = *body.get(8..)?.first_chunk::<6>()?;
    asks.then_some(ArpQuestion { asker, mac, asked })
}
