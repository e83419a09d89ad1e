//! Figures over any number of judged recordings.

use super::judge::{AlertRow, EpisodeRow, Judged, Verdict};
use super::statistics::{Ranked, average_precision, poisson_upper, quantile};
use super::{Family, Origin};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Names of severities, 1 to 4.
const SEVERITIES: [&str; 4] = ["high", "medium", "low", "info"];

/// Name of a severity.
pub(super) fn severity(number: u8) -> &'static str {
    SEVERITIES[usize::from(number.clamp(1, 4)) - 1]
}

/// Two quantiles, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    /// Half are faster.
    pub p50: f64,
    /// One in a hundred is slower.
    pub p99: f64,
}

/// One family.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FamilyFigures {
    /// Share of episodes found as what they are; absent: there were none.
    pub recall: Option<f64>,
    /// Share found as any attack; hints that honest users give as well do not count.
    pub caught_by_any: Option<f64>,
    /// Share of the family's alerts that are of such an episode, in recordings whose false alerts count; absent: no alert.
    pub precision: Option<f64>,
    /// Area under precision over recall, by the alerts' confidence; what was missed counts with nothing.
    pub pr_auc: Option<f64>,
    /// From the first packet to the evidence.
    pub time_to_detect_s: Option<Times>,
    /// That count.
    pub episodes: usize,
    /// Programs that made them.
    pub sources: usize,
    /// Not found as what they are.
    pub missed: usize,
    /// Alerts that mean it and count for precision.
    pub alerts: usize,
}

/// A kind of alert that is false.
#[derive(Clone, Debug, Serialize)]
pub struct FalseKind {
    /// Detector and kind.
    pub by: String,
    /// Severity.
    pub severity: &'static str,
    /// How many.
    pub count: f64,
    /// What their flows were, by the labels; those whose flow has no label are missing.
    pub habits: BTreeMap<String, f64>,
    /// One of them.
    pub example: String,
}

/// Alerts of no attack.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FalseFigures {
    /// Days of an active inside host.
    pub host_days: f64,
    /// Flows.
    pub flows: f64,
    /// Alerts by severity, `all` of them.
    pub alerts: BTreeMap<&'static str, f64>,
    /// A host-day.
    pub per_host_day: BTreeMap<&'static str, f64>,
    /// A million flows.
    pub per_million_flows: BTreeMap<&'static str, f64>,
    /// Upper 95 % bound of a host-day's.
    pub bound_95: BTreeMap<&'static str, f64>,
    /// True statements about honest traffic, by severity.
    pub confirmed: BTreeMap<&'static str, f64>,
}

/// An attack that was missed, or that does not count.
#[derive(Clone, Debug, Serialize)]
pub struct Left {
    /// Of which recording.
    pub capture: String,
    /// Which.
    #[serde(flatten)]
    pub episode: EpisodeRow,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Figures of each family with an episode or an alert.
    pub families: BTreeMap<Family, FamilyFigures>,
    /// By how they hid, each in every way that it did: found, of.
    pub evasion: BTreeMap<String, (usize, usize)>,
    /// By program: found, of.
    pub tools: BTreeMap<String, (usize, usize)>,
    /// Which detector found what: alerts' kinds by family, episodes that they found first.
    pub found_by: BTreeMap<String, usize>,
    /// All false alerts.
    pub all: FalseFigures,
    /// By where the recordings come from.
    pub origins: BTreeMap<Origin, FalseFigures>,
    /// False ones by kind, most first.
    pub false_kinds: Vec<FalseKind>,
    /// By which rules true statements were confirmed.
    pub confirmed_by: BTreeMap<String, f64>,
    /// Episodes that were not found as what they are.
    pub missed: Vec<Left>,
    /// Episodes that do not count.
    pub uncounted: Vec<Left>,
    /// How many do not count because the model knows their program.
    pub known: usize,
    /// Alerts by verdict.
    pub verdicts: BTreeMap<Verdict, usize>,
}

impl Summary {
    /// Of these recordings. One that several runs have (folds) counts with the mean of its false alerts; an episode counts in
    /// each run that counts it.
    pub fn of(captures: &[Judged]) -> Summary {
        let mut runs: BTreeMap<(Origin, &str), usize> = BTreeMap::new();
        for capture in captures.iter().filter(|capture| capture.counts_false) {
            *runs.entry((capture.origin, &capture.name)).or_default() += 1;
        }
        let share = |capture: &Judged| match runs.get(&(capture.origin, capture.name.as_str())) {
            Some(runs) if capture.counts_false => 1.0 / *runs as f64,
            _ => 0.0,
        };
        let episodes: Vec<(&Judged, &EpisodeRow)> =
            captures.iter().flat_map(|capture| capture.episodes.iter().map(move |row| (capture, row))).collect();
        let counted: Vec<&EpisodeRow> =
            episodes.iter().map(|(_, row)| *row).filter(|row| row.uncounted.is_none()).collect();
        let left = |wanted: &dyn Fn(&EpisodeRow) -> bool| -> Vec<Left> {
            let some = episodes.iter().filter(|(_, row)| wanted(row));
            some.map(|(capture, row)| Left { capture: capture.name.clone(), episode: (*row).clone() }).collect()
        };
        let is_known = |row: &EpisodeRow| row.uncounted.as_deref() == Some("known to the model");
        let mut verdicts = BTreeMap::new();
        for alert in captures.iter().flat_map(|capture| &capture.alerts) {
            *verdicts.entry(alert.verdict).or_default() += 1;
        }
        let mut found_by: BTreeMap<String, usize> = BTreeMap::new();
        for row in &counted {
            if let Some(found) = row.noticed.as_ref() {
                *found_by.entry(format!("{} {}", row.family.name(), found.by)).or_default() += 1;
            }
        }
        let origins: BTreeSet<Origin> = captures.iter().map(|capture| capture.origin).collect();
        let of_origin = |origin| {
            let some: Vec<_> = captures.iter().filter(|capture| capture.origin == origin).collect();
            (origin, false_figures(&some, &share))
        };
        Summary {
            families: Family::all().filter_map(|family| Some((family, figures(captures, family, &share)?))).collect(),
            evasion: ratio(&counted, |row| match row.hides.as_slice() {
                [] => vec!["none".to_owned()],
                hides => hides.to_vec(),
            }),
            tools: ratio(&counted, |row| vec![format!("{}/{}", row.family.name(), row.tool)]),
            found_by,
            all: false_figures(&captures.iter().collect::<Vec<_>>(), &share),
            origins: origins.into_iter().map(of_origin).collect(),
            false_kinds: false_kinds(captures, &share),
            confirmed_by: confirmed_by(captures, &share),
            missed: left(&|row| row.uncounted.is_none() && row.found.is_none()),
            uncounted: left(&|row| row.uncounted.is_some() && !is_known(row)),
            known: episodes.iter().filter(|(_, row)| is_known(row)).count(),
            verdicts,
        }
    }

    /// As JSON; `captures` go with it, so that several can be put together.
    pub fn json(&self, captures: &[Judged]) -> serde_json::Value {
        let days = |origin| self.origins.get(&origin).map_or(0.0, |figures| figures.host_days);
        let per_origin: BTreeMap<_, _> = self.origins.iter().collect();
        serde_json::json!({
            "format": 1,
            "families": self.families,
            "host_days": {"lab": days(Origin::Lab), "warped": days(Origin::Warped), "others": days(Origin::Others)},
            "false_alerts_per_host_day": self.all.per_host_day,
            "false_alerts_per_million_flows": self.all.per_million_flows,
            "bound_95": self.all.bound_95,
            "false_alerts": {"all": self.all, "by_origin": per_origin, "by_kind": self.false_kinds},
            "confirmed_by": self.confirmed_by,
            "evasion": pairs(&self.evasion),
            "tools": pairs(&self.tools),
            "noticed_first_by": self.found_by,
            "verdicts": self.verdicts,
            "missed_episodes": self.missed,
            "uncounted_episodes": self.uncounted,
            "known_to_the_model": self.known,
            "captures": captures,
        })
    }
}

fn pairs(found: &BTreeMap<String, (usize, usize)>) -> serde_json::Value {
    let one = |(found, of): &(usize, usize)| serde_json::json!({"found": found, "episodes": of, "recall": *found as f64 / *of as f64});
    found.iter().map(|(name, pair)| (name.clone(), one(pair))).collect::<serde_json::Map<_, _>>().into()
}

fn ratio(rows: &[&EpisodeRow], names: impl Fn(&EpisodeRow) -> Vec<String>) -> BTreeMap<String, (usize, usize)> {
    let mut ratios: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for row in rows {
        for name in names(row) {
            let ratio = ratios.entry(name).or_default();
            ratio.0 += usize::from(row.found.is_some());
            ratio.1 += 1;
        }
    }
    ratios
}

/// Figures of a family. Recall is over all episodes; precision, and the ranking by it, over recordings whose false alerts count.
fn figures(captures: &[Judged], family: Family, share: &dyn Fn(&Judged) -> f64) -> Option<FamilyFigures> {
    let mut ranked = Vec::new();
    let (mut right, mut seen, mut alerts, mut rankable) = (0.0, 0.0, 0, 0);
    let mut rows = Vec::new();
    for capture in captures {
        let mut best: BTreeMap<u64, (f64, usize)> = BTreeMap::new();
        let counts = |alert: &&AlertRow| alert.family == Some(family) && is_ranked(capture, alert);
        for alert in capture.alerts.iter().filter(counts) {
            let is_right = alert.verdict == Verdict::Hit;
            let weight = if alert.verdict == Verdict::False { share(capture) } else { 1.0 };
            alerts += 1;
            seen += weight;
            right += if is_right { weight } else { 0.0 };
            if let Some(episode) = alert.episode.filter(|_| is_right) {
                let best = best.entry(episode).or_insert((f64::MIN, 0));
                if alert.confidence > best.0 {
                    *best = (alert.confidence, ranked.len());
                }
            }
            ranked.push(Ranked { confidence: alert.confidence, is_right, weight, is_first: false });
        }
        for (_, rank) in best.values() {
            if let Some(ranked) = ranked.get_mut(*rank) {
                ranked.is_first = true;
            }
        }
        let counted = |row: &&EpisodeRow| row.family == family && row.uncounted.is_none();
        for row in capture.episodes.iter().filter(counted) {
            rankable += usize::from(capture.counts_false);
            let repeated = row.found.as_ref().filter(|_| capture.counts_false && !best.contains_key(&row.id));
            if let Some(found) = repeated {
                ranked.push(Ranked { confidence: found.confidence, is_right: true, weight: 1.0, is_first: true });
            }
            rows.push(row);
        }
    }
    if rows.is_empty() && alerts == 0 {
        return None;
    }
    let found = rows.iter().filter(|row| row.found.is_some()).count();
    let noticed = rows.iter().filter(|row| row.noticed.is_some()).count();
    let of_all = |part: usize| (!rows.is_empty()).then(|| part as f64 / rows.len() as f64);
    let after: Vec<f64> = rows.iter().filter_map(|row| row.found.as_ref()).map(|found| found.after_s).collect();
    let times = quantile(&after, 0.5).zip(quantile(&after, 0.99)).map(|(p50, p99)| Times { p50, p99 });
    Some(FamilyFigures {
        recall: of_all(found),
        caught_by_any: of_all(noticed),
        precision: (seen > 0.0).then(|| right / seen),
        pr_auc: average_precision(&ranked, rankable),
        time_to_detect_s: times,
        episodes: rows.len(),
        sources: rows.iter().map(|row| row.tool.as_str()).collect::<BTreeSet<_>>().len(),
        missed: rows.len() - found,
        alerts,
    })
}

/// Does an alert count for its family's precision? Not those of episodes that do not count, and only of recordings whose false
/// ones count.
fn is_ranked(capture: &Judged, alert: &AlertRow) -> bool {
    capture.counts_false && matches!(alert.verdict, Verdict::Hit | Verdict::Other | Verdict::False)
}

fn false_figures(captures: &[&Judged], share: &dyn Fn(&Judged) -> f64) -> FalseFigures {
    let names = || SEVERITIES.into_iter().chain(["all"]);
    let nothing = || names().map(|name| (name, 0.0)).collect::<BTreeMap<_, _>>();
    let mut figures = FalseFigures { alerts: nothing(), confirmed: nothing(), ..FalseFigures::default() };
    for capture in captures {
        let share = share(capture);
        figures.host_days += share * capture.host_days;
        figures.flows += share * capture.flows as f64;
        for alert in &capture.alerts {
            let counts = match alert.verdict {
                Verdict::False => &mut figures.alerts,
                Verdict::Confirmed => &mut figures.confirmed,
                _ => continue,
            };
            for name in [severity(alert.severity), "all"] {
                *counts.entry(name).or_default() += share;
            }
        }
    }
    let per = |count: f64, of: f64| if of > 0.0 { count / of } else { 0.0 };
    let rates = |of: f64, count: &dyn Fn(f64) -> f64| -> BTreeMap<&'static str, f64> {
        figures.alerts.iter().map(|(name, alerts)| (*name, per(count(*alerts), of))).collect()
    };
    let per_host_day = rates(figures.host_days, &|alerts| alerts);
    let bound_95 = rates(figures.host_days, &poisson_upper);
    let per_million_flows = rates(figures.flows / 1e6, &|alerts| alerts);
    FalseFigures { per_host_day, per_million_flows, bound_95, ..figures }
}

fn false_kinds(captures: &[Judged], share: &dyn Fn(&Judged) -> f64) -> Vec<FalseKind> {
    let mut kinds: BTreeMap<(&str, u8), FalseKind> = BTreeMap::new();
    for capture in captures.iter().filter(|capture| capture.counts_false) {
        for alert in capture.alerts.iter().filter(|alert| alert.verdict == Verdict::False) {
            let kind = kinds.entry((&alert.by, alert.severity)).or_insert_with(|| FalseKind {
                by: alert.by.clone(),
                severity: severity(alert.severity),
                count: 0.0,
                habits: BTreeMap::new(),
                example: format!("{}: {}", capture.name, alert.summary),
            });
            kind.count += share(capture);
            if !alert.because.is_empty() {
                *kind.habits.entry(alert.because.clone()).or_default() += share(capture);
            }
        }
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by(|one, other| other.count.total_cmp(&one.count));
    kinds
}

fn confirmed_by(captures: &[Judged], share: &dyn Fn(&Judged) -> f64) -> BTreeMap<String, f64> {
    let mut rules = BTreeMap::new();
    for capture in captures {
        for alert in capture.alerts.iter().filter(|alert| alert.verdict == Verdict::Confirmed) {
            *rules.entry(format!("{}: {}", alert.by, alert.because)).or_default() += share(capture);
        }
    }
    rules
}
