//! Who announces addresses of virtual routers by VRRP, under cards of their own (keepalived without virtual link addresses).

use super::claims::CONTEST_NS;
use super::{Mac, Spoofing};
use crate::dataplane::detect::cold::Touched;
use crate::units::{SECOND, Timestamp};

/// A master announces itself each second by default, and a backup is silent while it hears that; it takes over after three of silence
/// (RFC 5798 section 6.1). Who announces again so soon after another did has not been silenced.
const SILENCED_NS: u64 = 3 * SECOND;
/// Announcements cross on their way: of a master that hears of a better one, and has spoken just then.
const CROSSED_NS: u64 = SECOND / 20;

/// Of one address.
pub(super) struct Masters {
    /// Who announced it last, and who did before: cards, and when each was told last.
    latest: (Mac, Timestamp),
    before: Option<(Mac, Timestamp)>,
    /// When two announced it side by side.
    beside: Option<Timestamp>,
}

impl Touched for Masters {
    fn touched(&self) -> Timestamp {
        self.latest.1
    }
}

impl Spoofing {
    /// A card announces an address of a virtual router.
    pub(super) fn announce(&mut self, (link, address): (u64, u128), mac: Mac, now: Timestamp) {
        let fresh = || Masters { latest: (mac, now), before: None, beside: None };
        let masters = self.masters.entry((link, address), fresh);
        let (latest, at) = masters.latest;
        if latest != mac {
            let apart_ns = now.since(at);
            let is_back = masters.before.is_some_and(|(before, _)| before == mac);
            if is_back && (CROSSED_NS..SILENCED_NS).contains(&apart_ns) {
                masters.beside = Some(now);
            }
            masters.before = Some((latest, at));
        }
        masters.latest = (mac, now);
    }

    /// Have both announced this address lately, the one after the other?
    pub(super) fn are_masters(&mut self, (link, address): (u64, u128), one: Mac, other: Mac, now: Timestamp) -> bool {
        self.masters.existing(&(link, address)).is_some_and(|masters| {
            let is_late = |at: Timestamp| now.since(at) < CONTEST_NS;
            let announced = [Some(masters.latest), masters.before];
            let has = |mac| announced.iter().flatten().any(|(card, at)| *card == mac && is_late(*at));
            has(one) && has(other) && !masters.beside.is_some_and(is_late)
        })
    }
}
