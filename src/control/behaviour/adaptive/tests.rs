//! Days of made-up hours: what must be found, what must not, and what nobody may teach.

use super::*;
use proptest::prelude::*;

const HOUR_0: u64 = 472_248; // Thursday, 00:00 UTC

struct Host {
    baseline: Baseline,
    settings: Settings,
    dice: u64,
    hour: u64,
}

impl Host {
    fn new(settings: Settings, seed: u64) -> Host {
        Host { baseline: Baseline::default(), settings, dice: seed | 1, hour: HOUR_0 }
    }

    /// Near normal, of deviation 1.
    fn noise(&mut self) -> f64 {
        let mut sum = -6.0;
        for _ in 0..12 {
            self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (self.dice >> 33) as f64 / (1_u64 << 31) as f64;
        }
        sum
    }

    /// Bytes of an hour: five times as many by day as by night.
    fn usual(&mut self, spread: f64) -> f64 {
        let turn = (self.hour % 24) as f64 / 24.0 * std::f64::consts::TAU;
        let swing = (1.0 - turn.cos()) / 2.0 * 5_f64.ln();
        1e6 * (swing + spread * self.noise()).exp()
    }

    fn next(&mut self, factor: f64, more: f64, spread: f64) -> Verdict {
        let value = self.usual(spread) * factor + more;
        let verdict = self.baseline.learn(&self.settings, self.hour, value);
        self.hour += 1;
        verdict
    }

    /// Hours of the usual, of which so many were flagged.
    fn live(&mut self, hours: u32, spread: f64) -> usize {
        (0..hours).filter(|_| self.next(1.0, 0.0, spread).is_flagged).count()
    }
}

#[test]
fn a_week_with_a_swing_is_quiet_and_an_attack_is_found_at_any_hour() {
    let mut flagged = 0;
    for seed in 0..50 {
        flagged += Host::new(Settings::default(), seed).live(7 * 24, 0.2);
    }
    // Fewer than one a host and day, by far.
    assert!(flagged <= 35, "{flagged} in 350 host-days");
    for at in 0..24 {
        let mut host = Host::new(Settings::default(), 7);
        host.live(7 * 24 + at, 0.2);
        let verdict = host.next(1.0, 60e6, 0.2);
        assert!(verdict.is_flagged, "hour {at}: {verdict:?}");
        assert_eq!((verdict.mode, verdict.basis), (Mode::Suspicious, Basis::HourOfDay));
        assert!(verdict.value >= verdict.threshold && verdict.threshold > verdict.median, "{verdict:?}");
    }
}

/// 2 % more each hour, for two days: found, and not where everything teaches as fast as it can.
#[test]
fn a_slow_ramp_is_found_with_three_paces_and_slips_through_with_one() {
    let ramp = |settings: Settings, seed: u64| {
        let mut host = Host::new(settings, seed);
        host.live(7 * 24, 0.05);
        (1..=48).any(|hour| host.next(1.02_f64.powi(hour), 0.0, 0.05).is_flagged)
    };
    let fast = Settings { drift: 0.5, suspicious: 0.5, ..Settings::default() };
    let found = (0..20).filter(|seed| ramp(Settings::default(), *seed)).count();
    let slipped = (0..20).filter(|seed| !ramp(fast, *seed)).count();
    assert_eq!((found, slipped), (20, 20));
}

/// Two days of five times as much: flagged in every hour, and what they taught is next to nothing.
#[test]
fn who_is_suspicious_teaches_nothing() {
    let mut host = Host::new(Settings::default(), 5);
    host.live(14 * 24, 0.1);
    let before: Vec<f64> =
        (0..24).map(|hour| host.baseline.judge(&host.settings, host.hour + hour, 0.0).median).collect();
    assert!((0..48).all(|_| host.next(5.0, 0.0, 0.1).is_flagged));
    for (hour, before) in before.into_iter().enumerate() {
        let after = host.baseline.judge(&host.settings, host.hour + hour as u64, 0.0).median;
        assert!(after < 1.05 * before, "hour {hour}: {before} to {after}");
    }
}

/// A new level is accepted after 72 hours and those that it takes to follow, not before.
#[test]
fn a_level_that_stays_is_accepted_after_a_stated_time() {
    let mut host = Host::new(Settings::default(), 5);
    host.live(14 * 24, 0.1);
    let quiet = (0..200).position(|_| !host.next(5.0, 0.0, 0.1).is_flagged).expect("accepted");
    assert!((ACCEPT_H.into()..=100).contains(&quiet), "after {quiet} hours");
    let flagged = (0..100).filter(|_| host.next(5.0, 0.0, 0.1).is_flagged).count();
    assert!(flagged <= 20, "{flagged} of 100 hours");
    // By night alone it is never accepted: the row is broken each day.
    let mut host = Host::new(Settings::default(), 5);
    host.live(14 * 24, 0.1);
    for _ in 0..10 * 24 {
        let factor = if host.hour % 24 < 6 { 20.0 } else { 1.0 };
        let verdict = host.next(factor, 0.0, 0.1);
        assert_eq!(verdict.is_flagged, factor > 1.0, "{verdict:?}");
    }
}

#[test]
fn there_is_no_verdict_before_the_warm_up_and_finer_ones_come_later() {
    let mut host = Host::new(Settings::default(), 1);
    assert_eq!(host.next(1.0, 1e12, 0.1).mode, Mode::Building);
    let mut host = Host::new(Settings::default(), 1);
    let mut bases = Vec::new();
    for _ in 0..4 * 168 {
        let verdict = host.next(1.0, 0.0, 0.1);
        assert!(verdict.mode != Mode::Building || !verdict.is_flagged);
        if !bases.contains(&verdict.basis) {
            bases.push(verdict.basis);
        }
    }
    assert_eq!(bases, [Basis::HourOfDay, Basis::HourOfWeek]);
}

/// What is written and read again judges alike; what nobody wrote is told.
#[test]
fn it_outlives_a_restart() {
    let mut host = Host::new(Settings::default(), 9);
    host.live(10 * 24, 0.2);
    let text = serde_json::to_string(&host.baseline).expect("serialisable");
    let again: Baseline = serde_json::from_str(&text).expect("what was written");
    assert!(again.is_sound());
    for hour in 0..168 {
        let [before, after] = [&host.baseline, &again].map(|one| one.judge(&host.settings, host.hour + hour, 1e7));
        assert!((before.z - after.z).abs() < 1e-9 && before.count == after.count, "{before:?} {after:?}");
    }
    assert!(text.len() < 8 << 10, "{} bytes", text.len());
    let short = Baseline { cells: vec![Cell::default(); 3], ..Baseline::default() };
    let broken = Baseline { cells: vec![Cell(f32::NAN, 0.0, 1); CELLS], ..Baseline::default() };
    assert!(!short.is_sound() && !broken.is_sound());
}

proptest! {
    /// Whatever is taught: everything stays finite, and a larger value is never less suspicious.
    #[test]
    fn nothing_breaks_it(values in proptest::collection::vec(0.0_f64..1e15, 1..400), start in 0_u64..1_000_000) {
        let (mut baseline, settings) = (Baseline::default(), Settings::default());
        for (hour, value) in (start..).zip(&values) {
            let verdict = baseline.learn(&settings, hour, *value);
            prop_assert!(verdict.z.is_finite() && verdict.threshold.is_finite() && verdict.median.is_finite());
            let more = baseline.judge(&settings, hour, value * 2.0 + 1.0);
            prop_assert!(more.z >= baseline.judge(&settings, hour, *value).z);
        }
        prop_assert!(baseline.is_sound());
    }
}
