//! QUIC by the header of its first packet.

use super::super::parse::{Look, Match};
use super::header::{self, Kind};
use super::{google, keys};

/// Bytes that a client's first datagram has at least (RFC 9000 section 14.1).
const FIRST_MIN: usize = 1200;

/// QUIC, if the datagram begins with a long header of a known version whose lengths fit.
pub fn probe(look: &Look<'_>) -> Match {
    if !look.is_datagram {
        return Match::No;
    }
    let is_google = google::probe(look.bytes) == Match::Yes;
    let is_quic = header::read(look.bytes).is_some_and(|packet| match packet.kind {
        Kind::Negotiation => is_negotiation(look.bytes, &packet),
        _ if look.bytes.first().is_none_or(|first| first & 0x40 == 0) => false, // the bit that is always set
        Kind::Retry => keys::is_known(packet.version) && !keys::is_forcing(packet.version) && !packet.scid.is_empty(),
        _ if keys::is_forcing(packet.version) => look.bytes.len() >= FIRST_MIN && packet.dcid.len() >= 8,
        _ => keys::is_known(packet.version) && packet.total > packet.number_at + 16,
    });
    if is_google || is_quic { Match::Yes } else { Match::No }
}

/// Versions offered by a server: at least one that is known, all the datagram long.
fn is_negotiation(bytes: &[u8], packet: &header::Packet<'_>) -> bool {
    let versions = bytes.get(packet.number_at..).unwrap_or_default();
    let is_known = |version: &[u8]| {
        let version = version.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        keys::is_known(version) && !keys::is_forcing(version)
    };
    versions.len().is_multiple_of(4) && versions.chunks_exact(4).any(is_known)
}
