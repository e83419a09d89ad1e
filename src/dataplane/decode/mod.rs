//! L2 to L4 of one frame, from borrowed, length-checked bytes into one [`Packet`].
//!
//! Untrusted input starts here. Owns nothing between frames but the bounded [`FragmentTable`] and [`Defragmenter`]; never allocates, never
//! panics, reads no clock. What it does not understand it names ([`Decoded::Reject`] with a counter) and never guesses.

//!
//! | file | owns |
//! | --- | --- |
//! | `packet` | the result |
//! | `short` | the short ways of the common packets |
//! | `link` | link headers and VLAN tags |
//! | `ip` | IPv4, IPv6 with extension headers, transport headers |
//! | `tunnel` | what is in a tunnel: GRE, ERSPAN, VXLAN, GENEVE, MPLS, PPP, IP in IP, GTP-U, Teredo, L2TP, WCCP, NSH, tags |
//! | `outer` | the tunnels around a packet, and their part of its key |
//! | `span` | the stretch of a frame that one layer may read |
//! | `quote` | the packet inside an ICMP error |
//! | `arp` | the question of an ARP request |
//! | `neighbour` | who has an address, by ARP, neighbour discovery and VRRP |
//! | `fragment` | which ports the later fragments of a datagram have |
//! | `defrag` | datagrams from their fragments |
//! | `anomaly` | what is unusual about headers, by name |
//! | `options` | what is unusual about options of IPv4 |
//! | `stack` | who made a SYN, by its options |
//! | `key` | the canonical 5-tuple |
//! | `community_id` | the name that other tools give a flow |
//! | `flow_id` | the number of one flow among those on its ports |
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod anomaly;
mod arp;
mod bytes;
mod community_id;
mod defrag;
mod flow_id;
mod fragment;
mod ip;
mod key;
mod link;
mod neighbour;
mod options;
mod outer;
mod packet;
mod quote;
mod short;
mod span;
mod stack;
mod tunnel;

pub use anomaly::{HeaderAnomalies, HeaderAnomaly};
pub use arp::{ArpAnswer, ArpQuestion, arp_answer, arp_question, arp_told};
pub use community_id::{community_id, community_id_of, community_id_of_sides, icmp_ports};
pub use defrag::{
    Anomalies, Datagram, DefragSettings, Defragmenter, Early, FRAGMENTS_MAX, FragmentAnomaly, Outcome, Place,
    SMALL_BYTES, SOURCE_SHARE, Taken,
};
pub use flow_id::{FLOW_ID_MAX, flow_digest, flow_id};
pub use fragment::{FragmentSettings, FragmentTable};
pub use ip::EXTENSIONS_MAX;
pub use key::{Direction, Endpoint, FlowKey, Scope};
pub use link::{TAGS_KEPT, TAGS_MAX};
pub use neighbour::{Links, Neighbour, arp_sender, ndp_sender, vrrp_master};
pub use outer::{LEVELS_MAX, Layers, Outer};
pub use packet::{Decoded, Packet, TcpWord, Tunnel, tcp_flags};
pub use quote::quoted_flow;
pub use short::{decode, decode_plain, decode_rest, decode_within};
pub use stack::Stack;
pub use tunnel::{GTP_EXTENSIONS_MAX, LABELS_MAX, ROUTES_MAX};

/// Settings of the decoder.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Tunnels are entered and their frames counted by the flows in them; otherwise by the outer flows.
    pub tunnels: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { tunnels: true }
    }
}

#[cfg(test)]
mod tests;
