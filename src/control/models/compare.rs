//! The same rows through the active model and the shadow, on the control plane: what they agree in, and what drift is fed with.

use super::drift::Drift;
use super::keeper::Held;
use crate::control::view::{self, Told};
use crate::dataplane::score::{BATCH_MAX, Family, ModelError, OrtScorer, Scorer, Scores, Thresholds, Verdict};
use crate::units::Timestamp;
use std::collections::BTreeMap;

/// A model with a session of this thread's own.
pub(super) struct Asked {
    name: String,
    scorer: OrtScorer,
    thresholds: Thresholds,
    scores: Scores,
}

impl Asked {
    pub(super) fn new(held: &Held, thresholds: Thresholds) -> Result<Asked, ModelError> {
        let name = held.model.manifest().name.clone();
        Ok(Asked { name, scorer: held.model.proven_scorer()?, thresholds, scores: Scores::new() })
    }

    /// What it says of each row; `None`: the call failed.
    fn judge(&mut self, rows: &[f32]) -> Option<Vec<Verdict>> {
        self.scorer.score(rows, &mut self.scores).ok()?;
        Some((0..self.scores.rows()).map(|row| self.thresholds.judge(&self.scores, row)).collect())
    }
}

/// What the comparison came to so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    since: Timestamp,
    rows: u64,
    /// Rows scored by the active model when it began.
    scored_before: u64,
    agree: u64,
    families: BTreeMap<Family, Told>,
    difference: f64,
    largest: f64,
    failed: u64,
}

impl Tally {
    /// One row: what the active model says of it, and the shadow.
    fn add(&mut self, active: &Verdict, shadow: &Verdict) {
        let told = |verdict: &Verdict| verdict.is_reported().then_some(verdict.family);
        let (active_told, shadow_told) = (told(active), told(shadow));
        self.rows += 1;
        self.agree += u64::from(active_told == shadow_told);
        if let Some(family) = active_told {
            let told = self.families.entry(family).or_default();
            *(if shadow_told == active_told { &mut told.both } else { &mut told.only_active }) += 1;
        }
        if let Some(family) = shadow_told.filter(|_| shadow_told != active_told) {
            self.families.entry(family).or_default().only_shadow += 1;
        }
        let difference = f64::from((active.attack - shadow.attack).abs());
        self.difference += difference;
        self.largest = self.largest.max(difference);
    }

    pub(super) fn agree(&self) -> (u64, u64) {
        (self.rows, self.agree)
    }

    /// As it is shown; `scored`: rows that the active model has scored until now.
    pub(super) fn shown(&self, with: &str, scored: u64) -> view::Comparison {
        view::Comparison {
            with: with.to_owned(),
            since: self.since,
            rows: self.rows,
            of: scored.saturating_sub(self.scored_before).max(self.rows),
            agree: self.agree,
            families: self.families.iter().map(|(family, told)| (family.name().to_owned(), *told)).collect(),
            score_difference_mean: if self.rows > 0 { self.difference / self.rows as f64 } else { 0.0 },
            score_difference_largest: self.largest,
            failed: self.failed,
        }
    }
}

/// Sessions for one kind of rows. Without an active model nothing is compared; the tally begins anew with each change.
#[derive(Default)]
pub(super) struct Bench {
    pub(super) active: Option<Asked>,
    pub(super) shadow: Option<Asked>,
    pub(super) tally: Tally,
    pub(super) drift: Option<Drift>,
}

impl Bench {
    /// Compares from `now` on, when the active model has scored so many rows.
    pub(super) fn restart(&mut self, now: Timestamp, scored: u64) {
        self.tally = Tally { since: now, scored_before: scored, ..Tally::default() };
    }

    pub(super) fn active_name(&self) -> Option<&str> {
        self.active.as_ref().map(|asked| asked.name.as_str())
    }

    /// Rows that the active model has scored elsewhere, one behind the other, of `width` values each.
    pub(super) fn look(&mut self, rows: &[f32], width: usize, now: Timestamp) {
        let Bench { active: Some(active), shadow, tally, drift } = self else { return };
        for rows in rows.chunks(BATCH_MAX * width) {
            let Some(said) = active.judge(rows) else { continue };
            if let Some(drift) = drift {
                for (row, verdict) in rows.chunks_exact(width).zip(&said) {
                    drift.add(now, row, verdict.attack);
                }
            }
            let Some(shadow) = shadow else { continue };
            match shadow.judge(rows) {
                Some(other) => said.iter().zip(&other).for_each(|(active, shadow)| tally.add(active, shadow)),
                None => tally.failed += said.len() as u64,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_either_reports_is_told_by_family() {
        use Family::{Flood, Scan};
        let verdict = |family, score, attack| Verdict { attack, family, score, threshold: 0.5, needed: 0 };
        let mut tally = Tally::default();
        for (active, shadow) in [
            (verdict(Scan, 0.1, 0.1), verdict(Flood, 0.2, 0.2)), // neither
            (verdict(Scan, 0.9, 0.9), verdict(Scan, 0.6, 0.8)),
            (verdict(Scan, 0.9, 0.9), verdict(Flood, 0.6, 0.9)),
            (verdict(Scan, 0.9, 1.0), verdict(Flood, 0.4, 0.5)),
            (verdict(Flood, 0.4, 0.4), verdict(Scan, 0.5, 0.6)),
        ] {
            tally.add(&active, &shadow);
        }
        let shown = tally.shown("a", 20);
        assert_eq!((shown.rows, shown.of, shown.agree), (5, 20, 2));
        let told = |both, only_active, only_shadow| Told { both, only_active, only_shadow };
        let families: Vec<_> = shown.families.into_iter().collect();
        assert_eq!(families, [("flood".to_owned(), told(0, 0, 1)), ("scan".to_owned(), told(1, 2, 1))]);
        assert!(
            (shown.score_difference_mean - 0.18).abs() < 1e-6 && (shown.score_difference_largest - 0.5).abs() < 1e-6
        );
    }
}
