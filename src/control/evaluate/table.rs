//! The summary for people.

use super::summary::{FalseFigures, Left, Summary};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Missed episodes of one family that are written out; all are in the JSON.
const MISSED_SHOWN: usize = 40;
/// Habits that are named of a kind of false alerts, the most usual first.
const HABITS_SHOWN: usize = 4;
/// Kinds of false alerts that are written out.
const KINDS_SHOWN: usize = 40;

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn count(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Families, false alerts, and what was missed.
pub fn table(summary: &Summary) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<17} {:>8} {:>5} {:>6} {:>6} {:>6} {:>9} {:>6} {:>6} {:>9} {:>9}",
        "family", "episodes", "tools", "missed", "recall", "any", "precision", "pr-auc", "alerts", "ttd p50 s", "p99 s"
    );
    let (mut episodes, mut missed, mut seen) = (0, 0, 0.0);
    for (family, figures) in &summary.families {
        let (name, family) = (family.name(), figures);
        let time = |pick: fn(&super::summary::Times) -> f64| match &family.time_to_detect_s {
            Some(times) => format!("{:.1}", pick(times)),
            None => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "{name:<17} {:>8} {:>5} {:>6} {:>6} {:>6} {:>9} {:>6} {:>6} {:>9} {:>9}",
            family.episodes,
            family.sources,
            family.missed,
            share(family.recall),
            share(family.caught_by_any),
            share(family.precision),
            share(family.pr_auc),
            family.alerts,
            time(|times| times.p50),
            time(|times| times.p99),
        );
        episodes += family.episodes;
        missed += family.missed;
        seen += family.caught_by_any.unwrap_or(0.0) * family.episodes as f64;
    }
    let all = |part: f64| share((episodes > 0).then(|| part / episodes as f64));
    let recall = all((episodes - missed) as f64);
    let _ = writeln!(text, "{:<17} {episodes:>8} {:>5} {missed:>6} {recall:>6} {:>6}", "all", "", all(seen));
    if summary.known > 0 {
        let _ = writeln!(text, "not counted: {} episodes of programs that the model knows", summary.known);
    }
    let silent = summary.uncounted.len();
    if silent > 0 {
        let _ = writeln!(text, "not counted: {silent} episodes that sent nothing: {}", named(&summary.uncounted));
    }

    let _ = writeln!(text, "\nfalse alerts (of no attack)");
    for (origin, figures) in &summary.origins {
        write_false(&mut text, origin.name(), figures);
    }
    if summary.origins.len() > 1 {
        write_false(&mut text, "all", &summary.all);
    }
    if !summary.false_kinds.is_empty() {
        let _ = writeln!(text, "\nfalse alerts by kind");
    }
    for kind in summary.false_kinds.iter().take(KINDS_SHOWN) {
        let mut habits: Vec<_> = kind.habits.iter().collect();
        habits.sort_by(|one, other| other.1.total_cmp(one.1));
        let habits: Vec<_> =
            habits.iter().take(HABITS_SHOWN).map(|(name, number)| format!("{} {name}", count(**number))).collect();
        let because = if habits.is_empty() { String::new() } else { format!(" [{}]", habits.join(", ")) };
        let example: String =
            kind.example.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let _ = writeln!(text, "{:>6} {:<6} {}{because}: {example}", count(kind.count), kind.severity, kind.by);
    }
    if summary.false_kinds.len() > KINDS_SHOWN {
        let _ = writeln!(text, "       and {} kinds more", summary.false_kinds.len() - KINDS_SHOWN);
    }
    if !summary.confirmed_by.is_empty() {
        let _ = writeln!(text, "\ntrue of honest traffic, by the labels (confirmed)");
        for (rule, number) in &summary.confirmed_by {
            let _ = writeln!(text, "{:>6} {rule}", count(*number));
        }
    }

    if summary.evasion.len() > 1 {
        let _ = writeln!(text, "\nrecall by how they hid");
        for (name, (found, of)) in &summary.evasion {
            let _ = writeln!(text, "{:>6} {found:>4} of {of:<4} {name}", share(Some(*found as f64 / *of as f64)));
        }
    }
    if !summary.missed.is_empty() {
        let _ = writeln!(text, "\nmissed, and what was said of it instead");
    }
    let mut by_family: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for left in &summary.missed {
        by_family.entry(left.episode.family).or_default().push(left);
    }
    for lefts in by_family.values() {
        for left in lefts.iter().take(MISSED_SHOWN) {
            let row = &left.episode;
            let evasion = if row.evasion.is_empty() { String::new() } else { format!(" ({})", row.evasion) };
            let instead = row.noticed.as_ref().map(|noticed| format!("  -> {}", noticed.by)).unwrap_or_default();
            let place = format!("{}#{}", left.capture, row.id);
            // Of a capture that is judged as a whole its name is all there is.
            let what = match row.tool == left.capture {
                true => left.capture.clone(),
                false => format!("{:<14} {}{evasion}  {place}  {}", row.tool, row.way, row.variant),
            };
            let _ = writeln!(text, "  {:<17} {what}{instead}", row.family.name());
        }
        if lefts.len() > MISSED_SHOWN {
            let _ = writeln!(text, "  and {} more of them", lefts.len() - MISSED_SHOWN);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn named(lefts: &[Left]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for left in lefts {
        *counts.entry(format!("{}/{}", left.episode.family.name(), left.episode.tool)).or_default() += 1;
    }
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn write_false(text: &mut String, name: &str, figures: &FalseFigures) {
    let _ = writeln!(
        text,
        "  {name}: {:.3} host-days, {:.0} flows; severity: alerts, a host-day (95 % bound), a million flows, confirmed beside",
        figures.host_days, figures.flows
    );
    for severity in ["high", "medium", "low", "info", "all"] {
        let of = |values: &BTreeMap<&'static str, f64>| values.get(severity).copied().unwrap_or(0.0);
        let _ = writeln!(
            text,
            "    {severity:<7} {:>6} {:>10.2} ({:>8.2}) {:>10.1} {:>6}",
            count(of(&figures.alerts)),
            of(&figures.per_host_day),
            of(&figures.bound_95),
            of(&figures.per_million_flows),
            count(of(&figures.confirmed)),
        );
    }
}
