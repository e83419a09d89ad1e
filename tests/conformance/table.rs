//! Checks and what became of them: printed, written to `target/conformance`, compared with the list of what is not met.

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What became of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The same answer.
    Met,
    /// Another: what we say instead.
    Unmet(String),
    /// It asks nothing of us; why is true of the check, whatever we answer.
    Excluded(&'static str),
}

/// One expectation.
#[derive(Clone, Debug)]
pub struct Check {
    /// The test, or capture, that it belongs to.
    pub test: String,
    /// What kind it is, for the table.
    pub kind: String,
    /// What is expected; with the test, its name.
    pub wanted: String,
    /// Whether we say so.
    pub verdict: Verdict,
}

/// Written for a line that has no reason yet.
const OPEN: &str = "TO BE EXPLAINED";

/// Prints, writes, compares.
pub fn conclude(suite: &str, checks: &[Check]) {
    let mut kinds: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut excluded: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unmet: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut tests: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for check in checks {
        let column = match &check.verdict {
            Verdict::Met => 0,
            Verdict::Unmet(said) => {
                unmet.insert((&check.test, &check.wanted), said);
                1
            }
            Verdict::Excluded(why) => {
                *excluded.entry(why).or_default() += 1;
                2
            }
        };
        kinds.entry(&check.kind).or_default()[column] += 1;
        if column < 2 {
            let of = tests.entry(&check.test).or_default();
            *of = (of.0 + 1, of.1 + usize::from(column == 0));
        }
    }
    println!("{:<24} {:>6} {:>8} {:>9}", suite, "met", "not met", "excluded");
    for (kind, [met, not, out]) in &kinds {
        println!("{kind:<24} {met:>6} {not:>8} {out:>9}");
    }
    let sum = |column: usize| kinds.values().map(|counts| counts[column]).sum::<usize>();
    let whole = tests.values().filter(|(asked, met)| asked == met).count();
    println!("{:<24} {:>6} {:>8} {:>9}", "all", sum(0), sum(1), sum(2));
    println!("tests or captures of which every check that counts is met: {whole} of {}", tests.len());
    excluded.iter().for_each(|(why, count)| println!("excluded {count:>5}: {why}"));
    let reasons = compare(suite, &unmet);
    let summary = json!({
        "checks": checks.len(),
        "met": sum(0),
        "not_met": sum(1),
        "excluded": excluded,
        "tests": {"asked": tests.len(), "met": whole},
        "by_kind": kinds.iter().map(|(kind, [met, not, out])| {
            ((*kind).to_owned(), json!({"met": met, "not_met": not, "excluded": out}))
        }).collect::<BTreeMap<_, _>>(),
        "not_met_checks": unmet.iter().map(|((test, wanted), said)| {
            let reason = reasons.get(&((*test).to_owned(), (*wanted).to_owned()));
            json!({"test": test, "wanted": wanted, "ours": said, "reason": reason})
        }).collect::<Vec<_>>(),
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_string_pretty(&summary).expect("JSON") + "\n";
    std::fs::write(folder.join(format!("{suite}.json")), text).expect("written");
    let known: BTreeSet<(&str, &str)> = reasons.keys().map(|(test, wanted)| (test.as_str(), wanted.as_str())).collect();
    let now: BTreeSet<(&str, &str)> = unmet.keys().copied().collect();
    let worse: Vec<_> = now.difference(&known).map(|key| (key, unmet.get(key))).collect();
    let better: Vec<_> = known.difference(&now).collect();
    assert!(worse.is_empty(), "not met, and not on the list of tests/conformance/{suite}.tsv: {worse:#?}");
    assert!(better.is_empty(), "met at last; take them off tests/conformance/{suite}.tsv: {better:#?}");
    let open: Vec<_> = reasons.iter().filter(|(_, reason)| reason.starts_with(OPEN)).collect();
    assert!(open.is_empty(), "without a reason: {open:#?}");
}

/// The list of what is not met with its reasons; written anew first where somebody asks for it.
fn compare(suite: &str, unmet: &BTreeMap<(&str, &str), &str>) -> BTreeMap<(String, String), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/conformance/{suite}.tsv"));
    let read = || -> BTreeMap<(String, String), String> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = |line: &str| {
            let mut parts = line.splitn(3, '\t').map(str::to_owned);
            Some(((parts.next()?, parts.next()?), parts.next()?))
        };
        text.lines().skip(1).filter_map(line).collect()
    };
    if std::env::var_os("SHRIKE_WRITE_DOCS").is_some() {
        let known = read();
        let mut text = "test\twanted\treason\n".to_owned();
        for ((test, wanted), said) in unmet {
            let open = format!("{OPEN}: ours is {said}");
            let reason = known.get(&((*test).to_owned(), (*wanted).to_owned())).unwrap_or(&open);
            text += &format!("{test}\t{wanted}\t{reason}\n");
        }
        std::fs::write(&path, text).expect("a list that can be written");
    }
    read()
}
