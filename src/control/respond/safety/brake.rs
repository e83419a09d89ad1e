//! The brake: when automatic blocks hurt traffic that did no harm, they are taken back, and no more are made until it has been
//! quiet for a while.
//!
//! Pure: `(state, observation) -> state`. Two measures, either of which puts it on: flows that had been established, begun by others
//! than who is blocked, and met a drop; and the share of all packets that automatic blocks dropped. It is let go only when both
//! have stayed below half of their limits for a time, so that it does not swing.

use crate::units::{SECOND, Timestamp};

/// Limits of the brake.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BrakeSettings {
    /// Established flows of others that met an automatic block within [`BrakeSettings::window_ns`]; 0: not looked at. 20: a dead
    /// link makes a handful, a blocked proxy or CDN dozens.
    pub flows: u64,
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
        BrakeSettings { flows: 20, share: 1.0, window_ns: 60 * SECOND, release_ns: 600 * SECOND }
    }
}

/// What was seen since the observation before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Established flows of others that met an automatic block.
    pub flows: u64,
    /// Packets that automatic blocks dropped.
    pub dropped: u64,
    /// Packets in all, dropped ones among them; 0: not known.
    pub packets: u64,
}

/// How it stands.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Brake {
    /// When the running window began, and what it has seen.
    window: Option<(Timestamp, Observed)>,
    /// Since when it is on.
    pub on_since: Option<Timestamp>,
    /// Since when it has been quiet while on.
    quiet_since: Option<Timestamp>,
}

impl Brake {
    /// Is it on?
    pub fn is_on(&self) -> bool {
        self.on_since.is_some()
    }

    /// The state after an observation, and in words why it was put on, where it just was.
    pub fn after(self, now: Timestamp, seen: Observed, settings: &BrakeSettings) -> (Brake, Option<String>) {
        let (begun, before) = self.window.unwrap_or((now, Observed::default()));
        let sum = Observed {
            flows: before.flows.saturating_add(seen.flows),
            dropped: before.dropped.saturating_add(seen.dropped),
            packets: before.packets.saturating_add(seen.packets),
        };
        let over = now.since(begun) >= settings.window_ns;
        let why = measure(sum, settings, 1.0, over);
        let mut next = Brake { window: if over { None } else { Some((begun, sum)) }, ..self };
        if let (Some(why), false) = (&why, self.is_on()) {
            next = Brake { window: None, on_since: Some(now), quiet_since: None };
            return (next, Some(why.clone()));
        }
        if self.is_on() {
            let loud = measure(sum, settings, 0.5, over).is_some();
            next.quiet_since = if loud { None } else { self.quiet_since.or(Some(now)) };
            if next.quiet_since.is_some_and(|quiet| now.since(quiet) >= settings.release_ns) {
                return (Brake::default(), None);
            }
        }
        (next, None)
    }
}

/// Which measure is at its limit, times `part`. A share is only told of a whole window: a burst of ten packets has any share.
fn measure(seen: Observed, settings: &BrakeSettings, part: f64, over: bool) -> Option<String> {
    if settings.flows > 0 && seen.flows as f64 >= settings.flows as f64 * part {
        return Some(format!(
            "{} established flows of others met an automatic block within {} s, {} may not",
            seen.flows,
            settings.window_ns / SECOND,
            settings.flows
        ));
    }
    let share = if seen.packets > 0 { seen.dropped as f64 / seen.packets as f64 } else { 0.0 };
    (over && settings.share < 1.0 && share > settings.share * part).then(|| {
        format!(
            "automatic blocks dropped {:.1} % of all packets, {:.1} % may be",
            share * 100.0,
            settings.share * 100.0
        )
    })
}
