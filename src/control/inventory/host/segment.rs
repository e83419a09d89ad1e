//! The network that an address belongs to.

use crate::dataplane::decode::FlowKey;
use serde::{Deserialize, Serialize};

/// Where an address means a host: the same address in two VLANs or two tunnels is two hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Segment {
    /// Outer VLAN id, 0 for none.
    pub outer_vlan: u16,
    /// Inner VLAN id, 0 for none.
    pub inner_vlan: u16,
    /// Identity of the tunnel (24 bits that tell it from others), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<u32>,
}

impl Segment {
    /// Of a flow.
    pub fn of(key: &FlowKey) -> Segment {
        Segment::at(key.vlans(), key.tunnel_identity())
    }

    /// Of VLAN ids and a tunnel.
    pub fn at((outer_vlan, inner_vlan): (u16, u16), tunnel: Option<u32>) -> Segment {
        Segment { outer_vlan, inner_vlan, tunnel }
    }

    /// What stands before an address in a host's id; empty without VLANs and tunnel.
    pub fn prefix(self) -> String {
        match self {
            Segment { tunnel: Some(tunnel), .. } => format!("tunnel{tunnel:06x}-"),
            Segment { outer_vlan: 0, inner_vlan: 0, .. } => String::new(),
            Segment { outer_vlan, inner_vlan: 0, .. } => format!("vlan{outer_vlan}-"),
            Segment { outer_vlan, inner_vlan, .. } => format!("vlan{outer_vlan}.{inner_vlan}-"),
        }
    }
}
