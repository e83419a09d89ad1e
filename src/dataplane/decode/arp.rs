//! The question of an ARP request, and whose an answer is.

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
    let (operation, sender, asked) = read(frame, packet)?;
    let body = block::<28>(frame.bytes, usize::from(packet.payload_offset))?;
    let asks = operation == REQUEST && sender != 0 && sender != asked;
    let mac = *body.get(8..)?.first_chunk::<6>()?;
    asks.then_some(ArpQuestion { asker: sender, mac, asked })
}

/// Who answered whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpAnswer {
    /// The host that had asked, by its IPv4 address.
    pub asker: u32,
    /// The host that answered, by its IPv4 address.
    pub answered: u32,
}

/// The answer of a frame that was decoded as [`Decoded::Arp`](super::Decoded::Arp): replies for IPv4 to another host than the
/// sender. `None` for everything else.
#[cold]
pub fn arp_answer(frame: FrameView<'_>, packet: &Packet) -> Option<ArpAnswer> {
    let (operation, answered, asker) = read(frame, packet)?;
    (operation == REPLY && asker != 0 && answered != 0 && asker != answered).then_some(ArpAnswer { asker, answered })
}

/// To whom a frame that was decoded as [`Decoded::Arp`](super::Decoded::Arp) tells an address: who had asked, by its IPv4 address, or
/// has not; 0 for an announcement to everybody (RFC 5227). `None` for questions.
#[cold]
pub fn arp_told(frame: FrameView<'_>, packet: &Packet) -> Option<u32> {
    let (operation, sender, target) = read(frame, packet)?;
    match operation {
        REPLY => Some(if target == sender { 0 } else { target }),
        REQUEST if target == sender => Some(0),
        _ => None,
    }
}

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// Operation, and the protocol addresses of sender and target, of ARP for IPv4 over Ethernet.
fn read(frame: FrameView<'_>, packet: &Packet) -> Option<(u16, u32, u32)> {
    let body = block::<28>(frame.bytes, usize::from(packet.payload_offset))?;
    let is_v4 = be16::<2, 28>(body) == 0x0800 && be16::<4, 28>(body) == 0x0604;
    is_v4.then(|| (be16::<6, 28>(body), be32::<14, 28>(body), be32::<24, 28>(body)))
}
