//! The brake: when automatic blocks hurt traffic that did no harm, they are taken back, and no more are made until it has been
//! quiet for a while.
//!
//! Pure: `(state, observation) -> state`. Three measures, any of which puts it on: flows that had been established, begun by others
//! than who is blocked, and met a drop; hosts of ours that use an address whose frames the kernel drops; and the share of all packets
//! that automatic blocks dropped. Each over the time that slides behind the present, so that there is no boundary to hide on both sides
//! of. It is let go only when all have stayed below half of their limits for a time, so that it does not swing.

use crate::units::{SECOND, Timestamp};

/// Limits of the brake.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BrakeSettings {
    /// Established flows of others that met an automatic block within [`BrakeSettings::window_ns`]; 0: not looked at. 20: a dead
    /// link makes a handful, a blocked proxy or CDN dozens.
    pub flows: u64,
    /// Hosts of ours that use an address which an automatic block drops and the kernel has met, of all such addresses together, within
    /// the window; 0: not looked at. 20: more than share one infection at first, fewer than use a proxy or a CDN.
    pub assets: u64,
    /// Share of all packets that automatic blocks dropped over the window; 1: not looked at, as an attacker's own flood, dropped as it
    /// should be, is most of the traffic.
    pub share: f64,
    /// Over which time both are counted, nanoseconds.
    pub window_ns: u64,
    /// How long both must have been below half of their limits before automatic blocks are made again, nanoseconds.
    pub release_ns: u64,
}

impl Default for BrakeSettings {
    fn default() -> BrakeSettings {
        BrakeSettings { flows: 20, assets: 20, share: 1.0, window_ns: 60 * SECOND, release_ns: 600 * SECOND }
    }
}

/// What was seen since the observation before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Established flows of others that met an automatic block.
    pub flows: u64,
    /// Hosts of ours that use addresses which automatic blocks drop, of those that met frames.
    pub assets: u64,
    /// Packets that automatic blocks dropped.
    pub dropped: u64,
    /// Packets in all, dropped ones among them; 0: not known.
    pub packets: u64,
}

/// Parts of the window that the sums slide by.
const PARTS: u64 = 10;

/// How it stands.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Brake {
    /// When observations began.
    begun: Option<Timestamp>,
    /// Which part of the window, and what it has seen; the place is the part's number modulo their count.
    parts: [(u64, Observed); PARTS as usize + 1],
    /// Since when it is on.
    pub on_since: Option<Timestamp>,
    /// Since when it has been quiet while on.
    quiet_since: Option<Timestamp>,
}

impl Observed {
    fn with(self, more: Observed) -> Observed {
        Observed {
            flows: self.flows.saturating_add(more.flows),
            // The same addresses are met again and again.
            assets: self.assets.max(more.assets),
            dropped: self.dropped.saturating_add(more.dropped),
            packets: self.packets.saturating_add(more.packets),
        }
    }
}

impl Brake {
    /// Is it on?
    pub fn is_on(&self) -> bool {
        self.on_since.is_some()
    }

    /// The state after an observation, and in words why it was put on, where it just was.
    pub fn after(self, now: Timestamp, seen: Observed, settings: &BrakeSettings) -> (Brake, Option<String>) {
        let mut next = self;
        let begun = *next.begun.get_or_insert(now);
        let number = now.0 / (settings.window_ns / PARTS).max(1);
        if let Some(part) = next.parts.get_mut((number % (PARTS + 1)) as usize) {
            *part = if part.0 == number { (number, part.1.with(seen)) } else { (number, seen) };
        }
        let within = next.parts.iter().filter(|(of, _)| number.saturating_sub(*of) <= PARTS);
        let sum = within.map(|(_, seen)| *seen).fold(Observed::default(), Observed::with);
        // A share is only told of a whole window: a burst of ten packets has any share.
        let whole = now.since(begun) >= settings.window_ns;
        if !self.is_on() {
            let why = measure(sum, settings, 1.0, whole);
            if why.is_some() {
                (next.on_since, next.quiet_since) = (Some(now), None);
            }
            return (next, why);
        }
        let loud = measure(sum, settings, 0.5, whole).is_some();
        next.quiet_since = if loud { None } else { self.quiet_since.or(Some(now)) };
        if next.quiet_since.is_some_and(|quiet| now.since(quiet) >= settings.release_ns) {
            (next.on_since, next.quiet_since) = (None, None);
        }
        (next, None)
    }
}

/// Which measure is at its limit, times `part`.
fn measure(seen: Observed, settings: &BrakeSettings, part: f64, whole: bool) -> Option<String> {
    let seconds = settings.window_ns / SECOND;
    if settings.flows > 0 && seen.flows as f64 >= settings.flows as f64 * part {
        return Some(format!(
            "{} established flows of others met an automatic block within {seconds} s, {} may not",
            seen.flows, settings.flows
        ));
    }
    if settings.assets > 0 && seen.assets as f64 >= settings.assets as f64 * part {
        return Some(format!(
            "addresses that automatic blocks drop, and did within {seconds} s, are used by some {} hosts of ours, {} may not be",
            seen.assets, settings.assets
        ));
    }
    let share = if seen.packets > 0 { seen.dropped as f64 / seen.packets as f64 } else { 0.0 };
    (whole && settings.share < 1.0 && share > settings.share * part).then(|| {
        format!(
            "automatic blocks dropped {:.1} % of all packets, {:.1} % may be",
            share * 100.0,
            settings.share * 100.0
        )
    })
}
