//! Growth: a network, or one host of ours, that does steadily more from hour to hour than it does at these hours of other days.
//!
//! ```text
//! r = ln((flows of an hour + 10) / (usual flows of that hour + 10))     of the latest 16 to 24 hours
//! told when   r rises (Mann-Kendall, z >= 4),   by enough (Theil-Sen slope over these hours),   along a line and not in one step
//! ```
//!
//! Usual is what the same hour of other working days had, or of other days of the weekend: three of them are needed, a new value
//! moves it by half while it is learnt, then by a twentieth, and by a two-hundredth while there is growth. So a day's swing, however
//! large, is no growth; a ramp of 2 % an hour is, some sixteen hours after it began, when it has come to a quarter. What is more at
//! once and stays so is not told here: a step explains it better than a line does (or nearly as well). What comes back from less than
//! usual is not told either.
//!
//! All flows that were answered count once, by the hour in which they were told. A host is held against what all hosts together do,
//! so that growth of all of them is told once. Fixed memory: half a kilobyte a host.
//!
//! Not seen: growth of what nobody answers (that is `flood`'s and `scan`'s), of bytes (`exfiltration` has those that leave), and of
//! less than a fifth of a day.

use super::count::rounded;
use super::observation::{Flow, Observation};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};

mod trend;
use trend::Trend;

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// By which factor all flows together must have grown within the hours looked at.
    pub growth: f64,
    /// By which factor a host must have grown more than all hosts together.
    pub host_growth: f64,
    /// Standard deviations by which the ordered pairs of hours exceed what chance gives (4: 3 in 100 000).
    pub z: f64,
    /// Usual flows an hour, on the mean of a day, below which a network is not looked at.
    pub flows: f64,
    /// The same of a host.
    pub host_flows: f64,
    /// Hosts remembered, some 600 bytes each.
    pub hosts: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { growth: 1.25, host_growth: 2.0, z: 4.0, flows: 100.0, host_flows: 30.0, hosts: 1 << 12 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<u128, Entity>(self.hosts) + size_of::<Growth>()
    }
}

const HOUR_NS: u64 = 3600 * SECOND;
/// Hours looked at: a whole day, so that a day of another shape is no growth.
const HOURS: usize = 24;
/// Hours from which on there is a verdict.
const LEAST: usize = 16;
/// Values of an hour that make it a baseline.
const WARM_UP: u8 = 3;
/// How far a value moves what is usual: while it is learnt, then, and while there is growth.
const PACES: [f32; 3] = [0.5, 0.05, 0.005];
/// Added to every number of flows: a few more of a few are nothing.
const FEW: f64 = 10.0;
/// A straight line must leave so much less than one step does.
const STRAIGHT: f64 = 0.8;
/// Hours of silence that are learnt; who was away for longer begins a new row of hours.
const SILENCE_H: u64 = 48;

/// What is usual for an hour: logarithm of its flows, and of how many days.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Usual(f32, u8);

/// Place of an hour since the epoch (a Thursday) among working days and weekends.
fn place(hour: u64) -> usize {
    let is_weekend = (hour / 24 + 3) % 7 >= 5;
    (hour % 24) as usize + if is_weekend { 24 } else { 0 }
}

/// All flows, or a host.
struct Entity {
    usual: [Usual; 48],
    /// The hour that is counted, and its flows so far.
    hour: u64,
    flows: u32,
    /// Logarithms of an hour's flows to its usual ones, the latest last.
    rows: [f32; HOURS],
    filled: u8,
    /// Growth that was told; 0: none.
    told: f32,
    touched: Timestamp,
}

impl Touched for Entity {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Entity {
    fn new(hour: u64) -> Entity {
        let touched = Timestamp(hour.saturating_mul(HOUR_NS));
        Entity { usual: [Usual::default(); 48], hour, flows: 0, rows: [0.0; HOURS], filled: 0, told: 0.0, touched }
    }

    /// Ends the hour that is counted; the logarithm of what it was to what is usual, where that is known.
    fn end_hour(&mut self) -> Option<f64> {
        let flows = f64::from(std::mem::take(&mut self.flows));
        let slot = self.usual.get_mut(place(self.hour))?;
        self.hour += 1;
        let value = (flows + FEW).ln();
        let row = (slot.1 >= WARM_UP).then(|| value - f64::from(slot.0));
        let [building, usual, growing] = PACES;
        let pace = match slot.1 {
            0 => 1.0,
            1..WARM_UP => building,
            _ if self.told > 0.0 => growing,
            _ => usual,
        };
        slot.0 += pace * (value as f32 - slot.0);
        slot.1 = slot.1.saturating_add(1);
        row
    }

    /// Puts the row of an hour behind the others; nothing: what is not known begins anew.
    fn put(&mut self, row: Option<f64>) {
        let Some(row) = row else {
            (self.filled, self.told) = (0, 0.0);
            return;
        };
        if usize::from(self.filled) < HOURS {
            self.filled += 1;
        }
        self.rows.rotate_left(1);
        self.rows[HOURS - 1] = row as f32;
    }

    /// Flows an hour, on the mean of the days that it is now.
    fn mean(&self) -> f64 {
        let first = place(self.hour.saturating_sub(1)) / 24 * 24;
        let of_day = self.usual.iter().skip(first).take(24);
        of_day.map(|usual| (f64::from(usual.0).exp() - FEW).max(0.0)).sum::<f64>() / 24.0
    }

    /// What there is to tell at the end of an hour.
    fn judge(&mut self, z: f64, factor: f64) -> Option<Trend> {
        let known = self.rows.get(HOURS - usize::from(self.filled)..).filter(|rows| rows.len() >= LEAST)?;
        let trend = Trend::of(known).filter(|trend| trend.z >= z);
        let Some(trend) = trend else {
            self.told = 0.0;
            return None;
        };
        // Most of it must lie above the usual: what comes back from less is none.
        let least = factor.ln();
        let is_growth = trend.growth >= least && trend.level >= least / 2.0 && trend.of_step <= STRAIGHT;
        // Told again when as much has come to it.
        if !is_growth || (self.told > 0.0 && trend.level < f64::from(self.told) + least) {
            return None;
        }
        self.told = trend.level as f32;
        Some(trend)
    }
}

/// A host, or all flows (no address), as it is written down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    address: Option<IpAddr>,
    hour: u64,
    flows: u32,
    usual: Vec<Usual>,
    rows: Vec<f32>,
}

impl Kept {
    fn of(address: Option<u128>, entity: &Entity) -> Kept {
        let v6 = address.map(Ipv6Addr::from_bits);
        Kept {
            address: v6.map(|v6| v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
            hour: entity.hour,
            flows: entity.flows,
            usual: entity.usual.to_vec(),
            rows: entity.rows[HOURS - usize::from(entity.filled).min(HOURS)..].to_vec(),
        }
    }

    /// `None`: it is not what this program writes.
    fn entity(&self) -> Option<Entity> {
        let is_sound = self.hour <= u64::MAX / HOUR_NS
            && self.rows.len() <= HOURS
            && self.rows.iter().chain(self.usual.iter().map(|Usual(level, _)| level)).all(|value| value.is_finite());
        let usual = self.usual.clone().try_into().ok().filter(|_| is_sound)?;
        let mut entity = Entity { flows: self.flows, usual, ..Entity::new(self.hour) };
        self.rows.iter().for_each(|row| entity.put(Some(f64::from(*row))));
        Some(entity)
    }
}

/// The detector.
pub struct Growth {
    settings: Settings,
    network: Option<Entity>,
    hosts: ColdMap<u128, Entity>,
}

impl Growth {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Growth {
        Growth { network: None, hosts: ColdMap::new(settings.hosts), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Hosts forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten()
    }

    /// What shall outlive a restart.
    pub fn snapshot(&self) -> Vec<Kept> {
        let network = self.network.iter().map(|network| Kept::of(None, network));
        network.chain(self.hosts.sorted().into_iter().map(|(address, host)| Kept::of(Some(address), host))).collect()
    }

    /// Goes on from what was written; `false`: some of it is not what this program writes, and is left out.
    pub fn restore(&mut self, kept: Vec<Kept>) -> bool {
        let mut sound = true;
        for one in kept {
            match (one.entity(), one.address) {
                (Some(entity), None) => self.network = Some(entity),
                (Some(entity), Some(address)) => {
                    let bits = match address {
                        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
                        IpAddr::V6(address) => address.to_bits(),
                    };
                    *self.hosts.entry(bits, || Entity::new(0)) = entity;
                }
                (None, _) => sound = false,
            }
        }
        sound
    }

    /// A flow that was answered. `is_ours`: its client is at home.
    pub fn observe(&mut self, seen: &Observation, flow: &Flow, is_ours: bool, out: &mut Vec<Evidence>) {
        if !flow.is_new {
            return;
        }
        let Growth { settings, network, hosts } = self;
        let hour = seen.told.0 / HOUR_NS;
        let network = network.get_or_insert_with(|| Entity::new(hour));
        while network.hour < hour {
            if hour - network.hour > SILENCE_H {
                network.put(None);
                (network.hour, network.flows) = (hour, 0);
                break;
            }
            let row = network.end_hour();
            network.put(row);
            let is_looked_at = network.mean() >= settings.flows;
            let told = is_looked_at.then(|| network.judge(settings.z, settings.growth)).flatten();
            out.extend(told.map(|trend| evidence(seen, None, network, &trend, settings)));
        }
        network.flows = network.flows.saturating_add(1);
        network.touched = network.touched.max(seen.told);
        if !is_ours {
            return;
        }
        let client = flow.client.address;
        let host = hosts.entry(client, || Entity::new(hour));
        while host.hour < hour {
            if hour - host.hour > SILENCE_H {
                host.put(None);
                (host.hour, host.flows) = (hour, 0);
                break;
            }
            let of_all = network.row(host.hour);
            let row = host.end_hour().zip(of_all).map(|(row, of_all)| row - of_all);
            host.put(row);
            let is_looked_at = host.hour == hour && host.mean() >= settings.host_flows;
            let told = is_looked_at.then(|| host.judge(settings.z, settings.host_growth)).flatten();
            out.extend(told.map(|trend| evidence(seen, Some(flow), host, &trend, settings)));
        }
        host.flows = host.flows.saturating_add(1);
        host.touched = host.touched.max(seen.told);
    }
}

impl Entity {
    /// The row of an hour that is over.
    fn row(&self, hour: u64) -> Option<f64> {
        let back = usize::try_from(self.hour.checked_sub(hour)?).ok().filter(|back| (1..=HOURS).contains(back))?;
        (back <= usize::from(self.filled)).then(|| f64::from(self.rows[HOURS - back]))
    }
}

fn evidence(seen: &Observation, flow: Option<&Flow>, entity: &Entity, trend: &Trend, settings: &Settings) -> Evidence {
    let host = flow.map(|flow| flow.client.ip());
    let (who, beyond, factor) = match host {
        Some(host) => (host.to_string(), ", less what all hosts together grew", settings.host_growth),
        None => ("this network".to_owned(), "", settings.growth),
    };
    let (an_hour, above) = ((trend.slope.exp() - 1.0) * 100.0, (trend.level.exp() - 1.0) * 100.0);
    let hours = entity.filled;
    let summary = format!(
        "flows of {who} grow by {an_hour:.1} % an hour and have done so for {hours} hours: the latest were {above:.0} % more than is \
         usual at their hours{beyond}"
    );
    let usual = entity.mean();
    let terms = vec![
        Term::exact("growth_over_these_hours_factor", rounded(trend.growth.exp())).against(Relation::AtLeast, factor),
        Term::exact("growth_an_hour_percent", rounded(an_hour)),
        Term::exact("rising_pairs_z", rounded(trend.z)).against(Relation::AtLeast, settings.z),
        Term::exact("line_to_step_residual", rounded(trend.of_step)).against(Relation::AtMost, STRAIGHT),
        Term::exact("above_usual_factor", rounded(trend.level.exp())),
        Term::exact("hours", f64::from(hours)),
        Term::exact("usual_flows_an_hour", usual.round()),
    ];
    Evidence {
        time: seen.told,
        severity: 3,
        confidence: (trend.z / (2.0 * settings.z)).clamp(0.3, 1.0),
        source: host,
        protocol: None,
        summary,
        terms,
        ..seen.evidence(Detector::Growth, if host.is_some() { "host" } else { "network" })
    }
}

#[cfg(test)]
mod tests;
