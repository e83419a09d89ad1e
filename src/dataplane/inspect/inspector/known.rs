//! What is known of the flow in a slot.

use super::super::protocol::Protocol;
use super::slots::{AGAIN, NONE, OVER, TURNED, WITH_SYN, protocol_of};
use super::{Entry, Inspector};

impl Inspector {
    /// What the flow in this slot carries, as far as it is known.
    pub fn application(&self, slot: u32) -> Protocol {
        match self.places.get(slot as usize) {
            None | Some(&NONE) => Protocol::Unknown,
            Some(&place) if place >= AGAIN => protocol_of(place),
            Some(&place) => self.entries.get(place as usize).map_or(Protocol::Unknown, Entry::told),
        }
    }

    /// What the flow in this slot was before it turned into what it carries (STARTTLS, an upgrade, a proxy's tunnel), the first
    /// of several; [`Protocol::Unknown`]: it did not.
    pub fn began_as(&self, slot: u32) -> Protocol {
        match self.places.get(slot as usize) {
            None | Some(&NONE) => Protocol::Unknown,
            Some(&place) if place >= WITH_SYN => self.firsts.get(slot as usize).copied().unwrap_or_default(),
            Some(&place) => self.entries.get(place as usize).map_or(Protocol::Unknown, |entry| entry.first),
        }
    }

    /// Does what the flow in this slot carries tell that who seems to be its originator is the server? Only of connections that
    /// were met in mid-stream, and of QUIC and DTLS, where the server's datagram came first.
    pub fn is_turned(&self, slot: u32) -> bool {
        match self.places.get(slot as usize) {
            None | Some(&NONE) => false,
            Some(&place) if place >= OVER => (place - OVER) & TURNED != 0,
            Some(&place) => self
                .entries
                .get(place as usize)
                .is_some_and(|entry| entry.is_turned && entry.told() != Protocol::Unknown),
        }
    }
}
