//! One alert as a line for people. Text from the wire is made harmless for the terminal before it is printed.

use crate::control::alert::Alert;
use crate::dataplane::detect::Term;
use crate::units::{SECOND, Timestamp};
use std::collections::HashMap;
use std::fmt::Write as _;

/// `2026-11-21 14:03:22.123  HIGH  flood/syn  -> 10.0.0.9:443  10.0.0.9 gets 182 400 SYN a second  x10  syn_per_second 182400 > 1200`
pub(super) fn compact(alert: &Alert, colour: bool) -> String {
    let evidence = &alert.evidence;
    let paint = |code: &str, text: &str| {
        if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let (word, code) = match evidence.severity {
        1 => ("HIGH  ", "1;31"),
        2 => ("MEDIUM", "1;33"),
        3 => ("LOW   ", "36"),
        _ => ("INFO  ", "2"),
    };
    let what = name(alert);
    let source = evidence.source.map(|source| source.to_string()).unwrap_or_default();
    let target = match (evidence.target, evidence.port) {
        (Some(target), Some(port)) if target.is_ipv6() => format!("[{target}]:{port}"),
        (Some(target), Some(port)) => format!("{target}:{port}"),
        (Some(target), None) => target.to_string(),
        (None, Some(port)) => format!("*:{port}"),
        (None, None) => "*".to_owned(),
    };
    let mut line = format!(
        "{}  {}  {}  {}",
        paint("2", &clock(evidence.time)),
        paint(code, word),
        paint("1", &format!("{what:<22}")),
        paint("1", format!("{source} -> {target}").trim_start()),
    );
    let _ = write!(line, "  {}", harmless(&evidence.summary));
    if alert.occurrences > 1 {
        line += &paint("35", &format!("  x{}", alert.occurrences));
    }
    let terms = reasons(&evidence.terms);
    if !terms.is_empty() {
        line += &paint("2", &format!("  [{}]", terms.join(", ")));
    }
    line
}

/// Alerts remembered as told; beyond that they are forgotten, and a repeat is told in full again.
const TOLD_MAX: usize = 1 << 16;

/// The alerts that stand above on the terminal, each with the severity and under the name it was told with.
#[derive(Debug, Default)]
pub(in crate::cli) struct Told(HashMap<String, (u8, String)>);

impl Told {
    /// Is there more to tell of it than that it came again: because it stands nowhere yet, is worse than it stands there, or has another
    /// name by now (a detector found what a model said first)?
    pub(in crate::cli) fn is_news(&mut self, alert: &Alert) -> bool {
        let severity = alert.evidence.severity;
        let name = name(alert);
        if let Some((told, known)) = self.0.get_mut(&alert.id) {
            let is_news = severity < *told || *known != name;
            (*told, *known) = (severity.min(*told), name);
            return is_news;
        }
        if self.0.len() >= TOLD_MAX {
            self.0.clear();
        }
        self.0.insert(alert.id.clone(), (severity, name));
        true
    }

    /// In full what is news, in short what is not.
    pub(super) fn line(&mut self, alert: &Alert, colour: bool) -> String {
        if self.is_news(alert) { compact(alert, colour) } else { repeat(alert, colour) }
    }
}

/// `flood/syn`.
fn name(alert: &Alert) -> String {
    format!("{}/{}", alert.evidence.detector.name(), harmless(&alert.evidence.kind))
}

/// A repeat of an alert that stands above: its time, count and sentence, set in under it.
fn repeat(alert: &Alert, colour: bool) -> String {
    let paint = |code: &str, text: String| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text };
    format!(
        "{}      {}  {}",
        paint("2", clock(alert.evidence.time)),
        paint("35", format!("x{:<7}", alert.occurrences)),
        paint("2", harmless(&alert.evidence.summary))
    )
}

/// Most features that a line names beside what met a threshold.
const FEATURES_NAMED: usize = 2;

/// What met its threshold, and the strongest of what has only a usual value: the reasons in one line.
pub(in crate::cli) fn reasons(terms: &[Term]) -> Vec<String> {
    let met = terms.iter().filter_map(|term| {
        let threshold = term.threshold?;
        // Alerts of old stores do not say how the two stand.
        let sign = match term.relation {
            Some(relation) if relation.holds(term.value, threshold) => relation.sign(),
            Some(_) => return None,
            None if term.value >= threshold => ">=",
            None => "<",
        };
        Some(format!("{} {}{} {sign} {}", harmless(&term.name), term.precision(), short(term.value), short(threshold)))
    });
    let made = terms.iter().filter(|term| term.threshold.is_none()).filter_map(|term| {
        Some(format!("{} {} (usual {})", harmless(&term.name), short(term.value), short(term.usual?)))
    });
    met.chain(made.take(FEATURES_NAMED)).collect()
}

/// Date and time to the millisecond, UTC.
pub(in crate::cli) fn clock(time: Timestamp) -> String {
    let text = Timestamp(time.0 / (SECOND / 1_000) * (SECOND / 1_000)).to_rfc3339();
    text.get(..23).unwrap_or(&text).replace('T', " ")
}

/// A count with its thousands apart: `12 345 678`.
pub(in crate::cli) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Four digits are enough to compare a value with its threshold.
pub(in crate::cli) fn short(value: f64) -> String {
    if value.abs() >= 1e7 || (value != 0.0 && value.abs() < 1e-3) {
        format!("{value:.2e}")
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

/// Text from outside must not steer the terminal: control characters (escape sequences begin with one), and those that
/// turn the direction of writing, are shown as what they are.
pub(in crate::cli) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}') {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::store::tests::alert;

    #[test]
    fn thousands_stand_apart() {
        let texts = [0, 999, 1_000, 12_345, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1 000", "12 345", "123 456", "1 234 567"]);
    }

    /// No comparison is printed that does not hold, and none as strict that is not.
    #[test]
    fn reasons_are_true_comparisons() {
        use crate::dataplane::detect::{Relation, distinct::Estimate};
        let about = Estimate { value: 15.0, error: 0.7, saturated: false };
        let terms = [
            Term::distinct("distinct_failed_ports", about).against(Relation::AtLeast, 15.0),
            Term::exact("cusum_packets", 1001.0).against(Relation::Above, 1000.0),
            Term::exact("answer_sizes", 2.0).against(Relation::AtMost, 3.0),
            Term::exact("trw", 1.0).against(Relation::AtLeast, 4.0),
            Term { usual: Some(0.25), ..Term::exact("silence_seconds", 2.0) },
        ];
        assert_eq!(
            reasons(&terms),
            [
                "distinct_failed_ports about 15 >= 15",
                "cusum_packets 1001 > 1000",
                "answer_sizes 2 <= 3",
                "silence_seconds 2 (usual 0.250)"
            ]
        );
    }

    /// A repeat that is worse than what stands above is told with its severity and its terms.
    #[test]
    fn what_got_worse_is_told_in_full() {
        let mut told = Told::default();
        let mut lines = [(2, 1), (2, 10), (1, 37), (1, 100), (2, 1000)].map(|(severity, occurrences)| {
            let mut one = Alert { id: "a".into(), occurrences, ..alert("a", severity) };
            one.evidence.detector = crate::dataplane::detect::Detector::Scan;
            told.line(&one, false)
        });
        let full = lines.each_mut().map(|line| line.contains("HIGH") || line.contains("MEDIUM"));
        assert_eq!(full, [true, false, true, false, false], "{lines:?}");
        assert!(lines[2].contains("HIGH") && lines[2].contains("[ports 9 >= 5]"), "{}", lines[2]);
        assert!(told.is_news(&alert("b", 2)));
    }

    /// The newest row says what an alert is: a detector that takes up what a model said is named.
    #[test]
    fn what_has_another_name_is_told_in_full() {
        let mut told = Told::default();
        let found = alert("a", 2);
        let mut said = found.clone();
        said.evidence.detector = crate::dataplane::detect::Detector::Model;
        said.evidence.kind = "scan".into();
        let lines = [&said, &said, &found, &found].map(|one| told.line(one, false));
        let named = lines.each_ref().map(|line| (line.contains("model/scan"), line.contains("scan/vertical")));
        assert_eq!(named, [(true, false), (false, false), (false, true), (false, false)], "{lines:?}");
    }

    #[test]
    fn a_compact_line_says_all_and_steers_no_terminal() {
        let mut one = alert("a", 2);
        one.occurrences = 10;
        one.evidence.source = Some("2001:db8::1".parse().unwrap());
        one.evidence.target = Some("10.0.0.9".parse().unwrap());
        one.evidence.port = Some(22);
        one.evidence.summary = "x\u{1b}[2J\u{202e}\ny".into();
        let line = compact(&one, false);
        assert_eq!(
            line,
            "1970-01-01 00:00:00.000  MEDIUM  scan/vertical           2001:db8::1 -> 10.0.0.9:22  \
             x\\u{1b}[2J\\u{202e}\\u{a}y  x10  [ports 9 >= 5]"
        );
        let painted = compact(&one, true);
        assert!(painted.contains("\x1b[1;33mMEDIUM\x1b[0m") && !painted.contains('\n'));
    }
}
