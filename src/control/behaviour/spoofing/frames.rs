//! What IP says of an address that another card claims: its owner's frames go on, or come to him through the other card.
//!
//! ARP alone needs two victims or a contest; `arpspoof -t victim server`, as everybody uses it, has neither: it tells one host again and
//! again, unasked, and the owner of the address hears nothing of it. But he goes on to speak, and so contradicts it.
//!
//! Nothing is told where the former owner had passed connections to that address on to who claims it now, which answered them by the same
//! address: nodes of a cluster that balance and serve (LVS with direct routing), of which one takes over. Where that was not seen, but who
//! took it passes connections to one port on and answers others itself (or passes them to a third), severity is 2: a balancer does so.

use super::claims::{CONTEST_NS, ROUTER_NS, is_virtual};
use super::evidence::{relayed, spoken};
use super::{Mac, Spoofing, is_over};
use crate::control::behaviour::observation::{Flow, Observation};
use crate::dataplane::decode::Links;
use crate::dataplane::detect::Evidence;
use crate::units::{SECOND, Timestamp};

/// Caches and connections on their way are of the owner before: a fail-over is over after so long.
const GRACE_NS: u64 = SECOND;

/// Connections that speak of an address that two cards claim, since the contest began.
#[derive(Clone, Copy, Default)]
pub(super) struct Frames {
    /// The other card is no one's: of which contest they are.
    since: Timestamp,
    /// From the owner's card.
    pub owners: u32,
    /// To the other card, and from it to the owner's.
    pub relayed: u32,
    /// Answered from the other card.
    pub others: u32,
    /// Ports of those passed on to the owner's card, and of those that the other one answered itself or passed to a third: a bit each.
    passed_on: u128,
    kept: u128,
    told: Option<Timestamp>,
}

impl Frames {
    /// Connections to one port are passed on and are not, as a balancer does it; who listens in passes all of them, or proxies the port.
    pub fn is_divided(&self) -> bool {
        self.passed_on & self.kept != 0
    }
}

/// The bit of a port; a prime number keeps the common ones apart.
fn bit(port: u16) -> u128 {
    1 << (port % 127)
}

/// An address that a card has taken from another.
pub(super) struct Taken {
    pub address: u128,
    pub owner: Mac,
    pub taker: Mac,
    /// It says so unasked, as who moves an address does, and who wants it.
    pub is_unasked: bool,
    /// Both announce it by VRRP.
    pub are_masters: bool,
}

impl Spoofing {
    /// A connection ended: does it contradict who claims the address of one of its ends?
    pub fn flow(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let Some(links) = flow.links else { return };
        for (address, card, is_server) in
            [(flow.server.address, links.responder, true), (flow.client.address, links.originator, false)]
        {
            if card != [0; 6] {
                self.speaks(seen, flow, (address, card, links, is_server), out);
            }
        }
    }

    fn speaks(
        &mut self,
        seen: &Observation,
        flow: &Flow,
        (address, card, links, is_server): (u128, Mac, Links, bool),
        out: &mut Vec<Evidence>,
    ) {
        let (now, link) = (seen.time, seen.origin.link());
        let Some(bound) = self.bound.existing(&(link, address)) else { return };
        // What an address does before anybody contests it an attacker cannot have brought about later.
        let is_served = is_server && links.towards == bound.mac && links.relayed_to == card && card != bound.mac;
        if is_served && bound.before.is_none() {
            bound.served = Some([bound.mac, card]);
        }
        let Some((owner, owned)) = bound.before else { return };
        let (taker, since, is_echoed) = (bound.mac, bound.since, bound.is_echoed);
        let is_of_contest = now.since(since) < CONTEST_NS && flow.began >= since && owned <= flow.began;
        if !is_of_contest || is_echoed || is_virtual(taker) || is_virtual(owner) || bound.is_shared(owner, taker) {
            return;
        }
        // Whose word is the latest is who took it; where the owner has had the latest word, he has it back.
        if !self.took(link, taker, address, now) || self.are_one(link, owner, taker) {
            return;
        }
        let Some(bound) = self.bound.existing(&(link, address)) else { return };
        let frames = &mut bound.frames;
        if frames.since != since {
            *frames = Frames { since, ..Frames::default() };
        }
        let is_relayed = is_server && links.towards == taker && links.relayed_to == owner;
        frames.relayed += u32::from(is_relayed);
        if is_relayed {
            frames.passed_on |= bit(flow.server.port);
        } else if is_server && links.towards == taker && (card == taker || links.relayed_to == card) {
            frames.kept |= bit(flow.server.port);
        }
        frames.others += u32::from(card == taker);
        frames.owners += u32::from(card == owner && flow.began >= since.after(GRACE_NS));
        let (frames, is_due) = (*frames, is_over(frames.told, now));
        let least = self.settings.connections;
        let has_relayed = f64::from(frames.relayed) >= least;
        if !is_due || !has_relayed && f64::from(frames.owners) < least {
            return;
        }
        let is_unasked = self.claimers.existing(&(link, taker)).is_some_and(|claimer| claimer.unasked.is_some());
        let router = self.router_of_others((link, taker), address, now);
        if router.is_some_and(|known_ns| known_ns >= ROUTER_NS) {
            return;
        }
        let is_router = router.is_some();
        let are_masters = self.are_masters((link, address), owner, taker, now);
        let taken = Taken { address, owner, taker, is_unasked: is_unasked && !is_router, are_masters };
        let has_own = self.own(link, taker).is_some_and(|own| own != address);
        let found = if has_relayed {
            relayed(seen, &taken, &frames, &self.settings)
        } else if taken.is_unasked && has_own && frames.others == 0 {
            spoken(seen, &taken, &frames, &self.settings)
        } else {
            return;
        };
        if let Some(bound) = self.bound.existing(&(link, address)) {
            bound.frames.told = Some(now);
        }
        out.push(found);
    }
}
