//! Who says by ARP or neighbour discovery that he has an address: takeovers, and contests of two.

use super::evidence::{Proof, Quarrel, contest, taken};
use super::frames::Frames;
use super::{Mac, Spoofing, ip, is_over, mac_text};
use crate::control::behaviour::count::hash;
use crate::control::behaviour::observation::Observation;
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::Evidence;
use crate::dataplane::detect::cold::Touched;
use crate::units::{SECOND, Timestamp};

/// Takeovers of one claimer count together for so long.
pub(super) const TAKEN_NS: u64 = 600 * SECOND;
/// Who has not spoken for so long has not had his address taken.
const OWNED_NS: u64 = 3600 * SECOND;
/// Claims of an address in turn count together for so long: neighbours are told every five minutes.
pub(super) const CONTEST_NS: u64 = 1800 * SECOND;
/// What a bridge passes on comes so soon behind the owner's words: microseconds were seen.
const ECHO_NS: u64 = SECOND / 50;
/// Two that both mean to have an address contradict each other so soon: arpspoof repeats itself each two seconds, and hosts confirm
/// whom they speak to after some 30 s (RFC 4861 section 10; Linux has the same for ARP).
const QUICK_NS: u64 = 60 * SECOND;
/// A gateway that DHCP has given out for so long is the network's.
pub(super) const ROUTER_NS: u64 = 3600 * SECOND;
/// Victims that are kept of one claimer.
pub const VICTIMS: usize = 4;

/// Link addresses of virtual routers: VRRP for IPv4 and IPv6 (RFC 5798 section 7.3), also CARP; HSRP 1 and 2, GLBP.
pub(super) fn is_virtual(mac: Mac) -> bool {
    let [a, b, c, d, ..] = mac;
    matches!([a, b, c], [0, 0, 0x5e] | [0, 0, 0x0c] if d == 1 || d == 2 || d == 7)
        || matches!([a, b, c, d], [0, 7, 0xb4, 0] | [0, 5, 0x73, 0xa0])
}

/// Who has an address.
pub(super) struct Bound {
    pub mac: Mac,
    /// He has spoken for it himself; else a server gave it to him, and he may not have taken it.
    pub has_spoken: bool,
    /// To whom a server gave it.
    pub granted: Option<Mac>,
    /// When its owner spoke last, or a server gave it to him.
    pub seen: Timestamp,
    /// The one before, and when the address was his.
    pub before: Option<(Mac, Timestamp)>,
    /// The two have said the same at the same moment: one of them passes on.
    pub is_echoed: bool,
    /// Changes to and fro between the two, since when.
    pub turns: u32,
    pub since: Timestamp,
    pub told: Option<Timestamp>,
    /// Connections since then.
    pub frames: Frames,
    /// Who had it undisputed passed connections to it on to this card, which answered them in its name: a balancer and its server.
    pub served: Option<[Mac; 2]>,
}

impl Bound {
    pub fn new(mac: Mac, now: Timestamp) -> Bound {
        Bound {
            mac,
            has_spoken: true,
            granted: None,
            seen: now,
            before: None,
            is_echoed: false,
            turns: 0,
            since: now,
            told: None,
            frames: Frames::default(),
            served: None,
        }
    }

    /// The two have served the address together before they both claimed it.
    pub fn is_shared(&self, one: Mac, other: Mac) -> bool {
        self.served.is_some_and(|served| served == [one, other] || served == [other, one])
    }
}

/// Who speaks for addresses, and takes over others'.
pub(super) struct Claimer {
    /// The first address that it spoke for and nobody else had.
    pub own: Option<u128>,
    /// Whose addresses it took, and which.
    pub victims: [(Mac, u128); VICTIMS],
    pub count: usize,
    pub since: Timestamp,
    pub touched: Timestamp,
    /// When it spoke last for an address that is not its own to a host that had not asked.
    pub unasked: Option<Timestamp>,
    pub told: Option<Timestamp>,
}

impl Touched for Bound {
    fn touched(&self) -> Timestamp {
        self.seen
    }
}

impl Touched for Claimer {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Spoofing {
    /// A host said which address it has.
    pub fn neighbour(&mut self, seen: &Observation, neighbour: &Neighbour, out: &mut Vec<Evidence>) {
        let (now, mac, address) = (seen.time, neighbour.mac, neighbour.address);
        let link = hash((neighbour.vlans, neighbour.tunnel));
        if neighbour.is_vrrp {
            return self.announce((link, address), mac, now);
        }
        if neighbour.is_unasked {
            let claimer = self.claimer(link, mac, now);
            claimer.unasked = Some(now).filter(|_| claimer.own != Some(address)).or(claimer.unasked);
        }
        let Some(bound) = self.bound.existing(&(link, address)) else {
            self.bound.entry((link, address), || Bound::new(mac, now));
            self.claimer(link, mac, now).own.get_or_insert(address);
            return;
        };
        if bound.mac == mac {
            (bound.seen, bound.has_spoken) = (bound.seen.max(now), true);
            return;
        }
        // A lease that nobody took is nobody's loss, and who has one takes nothing.
        if !bound.has_spoken || bound.granted == Some(mac) {
            *bound = Bound { granted: bound.granted, ..Bound::new(mac, now) };
            return;
        }
        let (owner, owned) = (bound.mac, bound.seen);
        let is_back = bound.before.is_some_and(|(before, at)| before == mac && now.since(at) < CONTEST_NS);
        if !is_back || now.since(bound.since) >= CONTEST_NS {
            (bound.turns, bound.since) = (0, now);
        }
        let is_echo = now.since(owned) < ECHO_NS;
        bound.is_echoed = is_echo || (bound.is_echoed && is_back);
        bound.turns += u32::from(!bound.is_echoed);
        (bound.mac, bound.seen, bound.before) = (mac, now, Some((owner, owned)));
        if is_virtual(mac) || is_virtual(owner) || bound.is_echoed {
            return;
        }
        // A, B, A, B: three turns, of which each has claimed it twice.
        let needed = 2.0 * self.settings.claims - 1.0;
        let (turns, is_due) = (bound.turns, is_over(bound.told, now));
        let is_contested = f64::from(turns) >= needed;
        let is_quick = now.since(bound.since) < QUICK_NS.saturating_mul(u64::from(turns));
        // A router that answers for others is in their middle anyhow; who claims its own address is another matter.
        let router = [mac, owner].into_iter().filter_map(|one| self.router_of_others((link, one), address, now)).max();
        if router.is_some_and(|known_ns| known_ns >= ROUTER_NS) {
            return;
        }
        let is_router = router.is_some();
        let are_masters = self.are_masters((link, address), mac, owner, now);
        // Of the two it is the one who came later that took it, whoever speaks now.
        let taker = [mac, owner].into_iter().find(|mac| self.took(link, *mac, address, now));
        if is_contested && is_due && !self.are_one(link, owner, mac) {
            if let Some(bound) = self.bound.existing(&(link, address)) {
                bound.told = Some(now);
            }
            match taker.filter(|taker| !are_masters && self.count(link, *taker) as f64 >= self.settings.victims) {
                Some(taker) => {
                    let proof = if is_router { Proof::Router } else { Proof::Contradicted };
                    self.tell_taken(seen, neighbour, (link, taker), proof, out);
                }
                None => {
                    let has_own = taker.is_some_and(|taker| self.own(link, taker).is_some_and(|own| own != address));
                    let quarrel = match is_quick && has_own && !is_router {
                        _ if are_masters => Quarrel::Masters,
                        true => Quarrel::Hosts,
                        false => Quarrel::Open,
                    };
                    // It is who took it that does it, whoever speaks now.
                    let [taker, other] = if taker == Some(owner) { [owner, mac] } else { [mac, owner] };
                    out.push(contest(seen, neighbour, [taker, other], (turns, needed), quarrel));
                }
            }
        }
        if now.since(owned) >= OWNED_NS || is_back {
            return;
        }
        let claimer = self.claimer(link, mac, now);
        if claimer.count == 0 || now.since(claimer.since) >= TAKEN_NS {
            (claimer.count, claimer.since) = (0, now);
        }
        let victims = claimer.victims.iter().take(claimer.count);
        let is_new = !victims.clone().any(|(victim, of)| *victim == owner || *of == address);
        if is_new && let Some(slot) = claimer.victims.get_mut(claimer.count) {
            *slot = (owner, address);
            claimer.count += 1;
        }
        let is_due = is_new || is_over(claimer.told, now);
        let claimed = claimer.count;
        if claimed as f64 >= self.settings.victims && is_due && !self.are_one(link, owner, mac) {
            let proof = match self.of_masters(link, mac, now) {
                _ if is_router => Proof::Router,
                backed if (claimed - backed) as f64 >= self.settings.victims => Proof::Open,
                _ => Proof::Masters,
            };
            self.tell_taken(seen, neighbour, (link, mac), proof, out);
        }
    }

    fn claimer(&mut self, link: u64, mac: Mac, now: Timestamp) -> &mut Claimer {
        let fresh = || Claimer {
            own: None,
            victims: [([0; 6], 0); VICTIMS],
            count: 0,
            since: now,
            touched: now,
            unasked: None,
            told: None,
        };
        let claimer = self.claimers.entry((link, mac), fresh);
        claimer.touched = claimer.touched.max(now);
        claimer
    }

    pub(super) fn own(&mut self, link: u64, mac: Mac) -> Option<u128> {
        self.claimers.existing(&(link, mac)).and_then(|claimer| claimer.own)
    }

    fn count(&mut self, link: u64, mac: Mac) -> usize {
        self.claimers.existing(&(link, mac)).map_or(0, |claimer| claimer.count)
    }

    /// Of how many of the addresses that it took it is a virtual router's master, as the one before was.
    fn of_masters(&mut self, link: u64, mac: Mac, now: Timestamp) -> usize {
        let Some(claimer) = self.claimers.existing(&(link, mac)) else { return 0 };
        let (victims, count) = (claimer.victims, claimer.count);
        let taken = victims.iter().take(count);
        taken.filter(|(victim, of)| self.are_masters((link, *of), mac, *victim, now)).count()
    }

    /// Did it take this address lately?
    pub(super) fn took(&mut self, link: u64, mac: Mac, address: u128, now: Timestamp) -> bool {
        self.claimers.existing(&(link, mac)).is_some_and(|claimer| {
            let mut victims = claimer.victims.iter().take(claimer.count);
            now.since(claimer.since) < CONTEST_NS && victims.any(|(_, of)| *of == address)
        })
    }

    /// How long its own address, another than this and nobody else's, has been a gateway that DHCP gives out; `None`: it is none.
    pub(super) fn router_of_others(&mut self, (link, mac): (u64, Mac), address: u128, now: Timestamp) -> Option<u64> {
        let own = self.own(link, mac).filter(|own| *own != address)?;
        let is_undisputed = self.bound.existing(&(link, own)).is_some_and(|bound| bound.before.is_none());
        let since = self.routers.existing(&(link, own)).filter(|_| is_undisputed)?;
        Some(now.since(*since))
    }

    /// Two cards of one host: each has spoken for the other's own address.
    pub(super) fn are_one(&mut self, link: u64, one: Mac, other: Mac) -> bool {
        let (Some(of_one), Some(of_other)) = (self.own(link, one), self.own(link, other)) else { return false };
        let mut has_spoken = |address: u128, mac: Mac| {
            let bound = self.bound.existing(&(link, address));
            bound.is_some_and(|bound| bound.mac == mac || bound.before.is_some_and(|(before, _)| before == mac))
        };
        of_one != of_other && has_spoken(of_one, other) && has_spoken(of_other, one)
    }

    fn tell_taken(
        &mut self,
        seen: &Observation,
        neighbour: &Neighbour,
        (link, mac): (u64, Mac),
        proof: Proof,
        out: &mut Vec<Evidence>,
    ) {
        let settings = self.settings;
        let claimer = self.claimer(link, mac, seen.time);
        claimer.told = Some(seen.time);
        let victims: Vec<String> = claimer
            .victims
            .iter()
            .take(claimer.count)
            .map(|(victim, of)| format!("{} of {}", ip(*of), mac_text(*victim)))
            .collect();
        out.push(taken(seen, &Neighbour { mac, ..*neighbour }, &victims, proof, &settings));
    }
}
