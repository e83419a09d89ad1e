//! What lies around a packet: the tunnels it is in, outermost first.

use super::anomaly::HeaderAnomalies;
use super::defrag::Place;
use super::key::{Direction, Endpoint, FlowKey, Scope};
use super::packet::Tunnel;
use crate::metrics::Counter;

/// Most tunnels within one another that are followed. Real networks nest two or three (GTP-U in IPsec'd GRE in VXLAN); each
/// level costs the decoder as much as a frame, so more of them is an attack on it.
pub const LEVELS_MAX: usize = 4;

/// The tunnels around a packet and who spoke over the outermost one; for whoever reads an alert, not for finding the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outer {
    /// The outermost IP packet that carries a tunnel; empty where none does (MPLS, PPPoE).
    key: FlowKey,
    ids: [u32; LEVELS_MAX],
    kinds: [Tunnel; LEVELS_MAX],
    /// Outermost and innermost VLAN id of the frame and of the last Ethernet frame in a tunnel: outer << 12 | inner.
    vlans: u32,
    inner_vlans: u32,
    depth: u8,
    direction: Direction,
}

const _: () = assert!(size_of::<Outer>() == 72);

impl Outer {
    /// How many tunnels: 0 for a packet in none.
    pub fn depth(&self) -> usize {
        usize::from(self.depth)
    }

    /// Kind and id of each tunnel, outermost first. What the id is: [`Tunnel`]; 0 where the kind has none.
    pub fn levels(&self) -> impl Iterator<Item = (Tunnel, u32)> + '_ {
        self.kinds.into_iter().zip(self.ids).take(self.depth())
    }

    /// The kind of the innermost.
    pub fn innermost(&self) -> Tunnel {
        self.levels().last().map_or(Tunnel::None, |(kind, _)| kind)
    }

    /// Sender and receiver of the outermost IP packet that carries a tunnel, and its protocol number; `None` where none does.
    pub fn carrier(&self) -> Option<(Endpoint, Endpoint, u8)> {
        if self.key == FlowKey::default() {
            return None;
        }
        let (source, destination) = self.key.endpoints(self.direction);
        Some((source, destination, self.key.protocol()))
    }

    /// VLAN ids, outermost first: up to four of the frame itself and up to four of the last Ethernet frame in a tunnel.
    pub fn vlans(&self) -> impl Iterator<Item = u16> {
        // Those between the outermost and the innermost; of the frame itself until a tunnel has a network of its own.
        let (mut between, mut is_inner) = ([0; 2], false);
        for (kind, id) in self.levels() {
            is_inner |= kind.identity(id).is_some();
            if let (Tunnel::VlanStack, [outer, inner]) = (kind, &mut between) {
                *(if is_inner { inner } else { outer }) = id;
            }
        }
        let [outer, inner] = between;
        let ids = |ends: u32, between: u32| {
            [ends >> 12, between >> 12, between, ends].map(|id| (id & 0xfff) as u16) // 12 bits
        };
        ids(self.vlans, outer).into_iter().chain(ids(self.inner_vlans, inner)).filter(|id| *id != 0)
    }
}

/// The decoder's way through the layers of one frame: what it went through so far, and what it met.
///
/// A caller that goes on with bytes from elsewhere (a datagram put together from fragments) passes the one it was left with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers {
    /// The tunnels gone through.
    pub outer: Outer,
    /// Why the decoder went no further into a tunnel, where that was for a fault: the frame counts for the flow of the
    /// innermost level reached.
    pub fault: Option<Counter>,
    /// Where a fragment belongs, after one.
    pub place: Place,
    /// What is unusual about the headers gone through, and about those of a packet refused.
    pub anomalies: HeaderAnomalies,
    /// A whole IPv6 packet had a fragment header (RFC 6946).
    pub is_atomic: bool,
    /// Identity of the tunnels so far; `None` before the first one that has any.
    identity: Option<u32>,
    /// VLAN ids of the Ethernet frame just being read: outermost << 12 | innermost.
    vlans: u32,
    /// Those between them.
    between: u32,
    /// Tags of it so far.
    pub(super) tags: u8,
    /// Tunnels are named and not entered.
    closed: bool,
}

impl Layers {
    /// At the beginning of a frame. `enter`: go into tunnels; otherwise their frames count for the outer flow.
    pub fn new(enter: bool) -> Layers {
        Layers { closed: !enter, ..Layers::default() }
    }

    /// Forgets the frame.
    pub(super) fn restart(&mut self) {
        *self = Layers::new(!self.closed);
    }

    /// Are tunnels entered?
    pub(super) fn enters(&self) -> bool {
        !self.closed
    }

    /// Where the 5-tuple of a packet met now counts.
    pub(super) fn scope(&self) -> Scope {
        match self.identity {
            None => Scope::plain(self.vlans),
            Some(identity) => Scope::tunnelled(permute(identity ^ self.vlans)),
        }
    }

    /// A VLAN tag: the outermost and the innermost are part of the key.
    pub(super) fn tag(&mut self, id: u32) {
        if self.tags > 1 {
            self.between = self.between << 12 & 0xff_f000 | self.vlans & 0xfff;
        }
        self.vlans = if self.tags == 0 { id << 12 } else { self.vlans & 0xff_f000 | id };
        self.tags = self.tags.saturating_add(1);
        *(if self.identity.is_none() { &mut self.outer.vlans } else { &mut self.outer.inner_vlans }) = self.vlans;
    }

    /// The last VLAN tag is read: more than two are kept like a tunnel.
    ///
    /// # Errors
    /// [`Counter::TunnelDepth`] if that is one too many.
    pub(super) fn stack_tags(&mut self) -> Result<(), Counter> {
        if self.between == 0 || self.closed {
            return Ok(());
        }
        let between = std::mem::take(&mut self.between);
        self.enter(Tunnel::VlanStack, between)
    }

    /// Goes into a tunnel.
    ///
    /// # Errors
    /// [`Counter::TunnelDepth`] if it is one too many.
    pub(super) fn enter(&mut self, kind: Tunnel, id: u32) -> Result<(), Counter> {
        let depth = self.outer.depth();
        let (Some(kinds), Some(ids)) = (self.outer.kinds.get_mut(depth), self.outer.ids.get_mut(depth)) else {
            return Err(Counter::TunnelDepth);
        };
        (*kinds, *ids) = (kind, id);
        self.outer.depth += 1;
        let Some(id) = kind.identity(id) else { return Ok(()) };
        // Each step is a permutation of 24 bits, so of two stacks that differ in one VNI or one VLAN alone no two meet. The
        // upper eight bits that a GRE key has beyond that are folded in.
        let mut identity = permute(self.identity.unwrap_or(0) ^ self.vlans);
        identity = permute(identity ^ kind as u32);
        identity = permute(identity ^ id & 0xff_ffff);
        if id >> 24 != 0 {
            identity = permute(identity ^ id >> 24);
        }
        self.identity = Some(identity);
        (self.vlans, self.between, self.tags) = (0, 0, 0);
        Ok(())
    }

    /// The IP packet that carries the tunnel to be gone into; the outermost one stays.
    pub(super) fn carried_by(&mut self, key: &FlowKey, direction: Direction) {
        if self.outer.key == FlowKey::default() {
            (self.outer.key, self.outer.direction) = (*key, direction);
        }
    }
}

impl Tunnel {
    /// What of a tunnel's id tells its network from others of the kind; `None` for a kind that tells nothing.
    ///
    /// Not the ids that each direction has its own of: GTP-U TEIDs, call ids of GRE version 1, sessions of L2TP. Of MPLS not even that it is
    /// there: the last router before the end takes the labels off, so on many links they are on one direction only. So it is
    /// with what a cache is handed, with paths of services, and with tags that a frame has on one link of its way.
    fn identity(self, id: u32) -> Option<u32> {
        match self {
            Tunnel::None | Tunnel::Mpls | Tunnel::Wccp | Tunnel::Nsh => None,
            Tunnel::ETag | Tunnel::VnTag | Tunnel::Macsec | Tunnel::VlanStack => None,
            Tunnel::Gre | Tunnel::Erspan | Tunnel::Vxlan | Tunnel::Geneve | Tunnel::Pppoe => Some(id),
            Tunnel::IpInIp | Tunnel::EtherIp => Some(0),
            Tunnel::Gtp | Tunnel::Teredo | Tunnel::Pptp | Tunnel::L2tp => Some(0),
        }
    }
}

/// A permutation of the numbers below 2^24 that lets each bit of the input reach most of the output: shifts by half the
/// width and odd factors (the shape of MurmurHash3's finaliser, cut to 24 bits).
fn permute(value: u32) -> u32 {
    const MASK: u32 = 0xff_ffff;
    let mut x = (value ^ 0x5b_1f3d) & MASK;
    x ^= x >> 12;
    x = x.wrapping_mul(0x85_ebcb) & MASK;
    x ^= x >> 11;
    x = x.wrapping_mul(0xc2_b2af) & MASK;
    x ^ x >> 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permutation_is_one() {
        let mut seen = vec![false; 1 << 24];
        for value in 0..1 << 24 {
            let place = permute(value) as usize;
            assert!(!std::mem::replace(&mut seen[place], true), "{value}");
        }
    }

    fn scope(levels: &[(Tunnel, u32, u32)]) -> Scope {
        let mut layers = Layers::new(true);
        for (kind, id, vlan) in levels {
            layers.enter(*kind, *id).unwrap();
            if *vlan != 0 {
                layers.tag(*vlan);
            }
        }
        layers.scope()
    }

    /// A sample of what the permutation promises, and of what it cannot: different kinds and depths meet by chance only.
    #[test]
    fn networks_of_one_kind_never_share_a_scope() {
        let mut seen = std::collections::HashSet::new();
        for id in (0..1 << 24).step_by(97) {
            assert!(seen.insert(scope(&[(Tunnel::Vxlan, id, 7)]).value()), "{id}");
        }
        seen.clear();
        for id in 0..1 << 12 {
            assert!(seen.insert(scope(&[(Tunnel::Vxlan, 5, id)]).value()), "{id}");
            assert_ne!(scope(&[(Tunnel::Gre, id, 0)]), scope(&[(Tunnel::Vxlan, id, 0)]));
            assert_ne!(scope(&[(Tunnel::Gre, id, 0)]), scope(&[(Tunnel::Gre, id, 0), (Tunnel::Gre, id, 0)]));
            assert_ne!(scope(&[(Tunnel::Gre, id, 0)]), scope(&[(Tunnel::Gre, id | 1 << 31, 0)]));
        }
        assert_eq!(scope(&[(Tunnel::Gtp, 1, 0)]), scope(&[(Tunnel::Gtp, 2, 0)]), "a TEID is of one direction");
        assert_eq!(scope(&[(Tunnel::Mpls, 1, 9)]), Scope::plain(9 << 12), "labels are of one direction");
    }
}
