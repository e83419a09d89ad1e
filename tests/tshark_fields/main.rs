//! Names and fields in our events against those that tshark finds in the same captures.
//!
//! Compared are flows that both take for the same protocol, value by value; what tshark finds in flows that are something
//! else with us, and what we find where it finds nothing, is counted apart. `make agreement` prints the table and writes
//! `target/agreement/tshark.json`; `tests/tshark_fields/known.tsv` says for each field how many values may differ and why.
//! `SHRIKE_WRITE_DOCS=1` writes that list and `docs/tshark.md` anew.

#[path = "../support/captures.rs"]
mod captures;
mod fields;
#[path = "../support/ndpi.rs"]
mod ndpi;
#[path = "../support/mod.rs"]
mod support;
mod theirs;

use captures::{Capture, captures, engine};
use fields::FIELDS;
use ndpi::{Ends, ends};
use serde_json::json;
use shrike::control::alert::Alert;
use shrike::control::export::AppEvent;
use shrike::control::hosts;
use shrike::control::inventory::network;
use shrike::control::replay::{Settings, Sink, replay_reader};
use shrike::dataplane::capture::pcap::{Limits, Reader, Speed};
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::inspect::Protocol;
use shrike::exchange::FlowSummary;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use theirs::Values;

/// Folders, and every which capture of each is asked: tshark needs half a second to start.
const FOLDERS: [(&str, usize); 14] = [
    ("benign/ndpi/", 1),
    ("benign/apps/", 1),
    ("benign/iot/", 8),
    ("attack/c2_lateral/", 2),
    ("attack/bruteforce/", 1),
    ("attack/cleartext_creds/", 1),
    ("attack/malware/", 1),
    ("attack/exploit/", 6),
    ("conformance/ja4/", 2),
    ("conformance/ndpi/", 1),
    ("conformance/zeek/", 4),
    ("conformance/suricata_verify/", 4),
    ("conformance/tcpdump/the-tcpdump-group+tcpdump/tests/RADIUS", 1),
    ("conformance/tcpdump/the-tcpdump-group+tcpdump/tests/tftp", 1),
];
/// Larger captures repeat themselves.
const BYTES_MAX: u64 = 400 << 10;

/// Our events by field, and what each flow is.
struct Ours {
    values: Vec<Values>,
    protocols: HashMap<Ends, HashSet<Protocol>>,
}

impl Ours {
    fn ends(key: &FlowKey) -> Ends {
        ends(key.protocol(), (key.low().ip(), key.low().port), (key.high().ip(), key.high().port))
    }
}

impl Sink for Ours {
    fn alert(&mut self, _alert: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        self.protocols.entry(Ours::ends(&flow.key)).or_default().insert(flow.application);
        Ok(())
    }

    fn event(&mut self, event: AppEvent) -> anyhow::Result<()> {
        let ends = Ours::ends(&event.head.key);
        self.protocols.entry(ends).or_default().insert(event.head.protocol);
        if event.head.anomaly.is_none() {
            for (field, found) in FIELDS.iter().zip(&mut self.values) {
                // Of an empty value tshark says nothing.
                for value in (field.ours)(&event.facts).into_iter().filter(|value| !value.is_empty()) {
                    let count = found.entry((ends, value)).or_default();
                    *count = if field.once { 1 } else { *count + 1 };
                }
            }
        }
        Ok(())
    }
}

fn ours(capture: &Path) -> Option<Ours> {
    let reader = Reader::open(std::slice::from_ref(&capture.to_owned()), Limits::default()).ok()?;
    let settings = Settings {
        files: Vec::new(),
        workers: 1,
        speed: Speed::Max,
        engine: engine(1 << 10),
        detect: hosts::Settings::default(),
        home: network::home(),
        feeds: None,
        model: None,
        windows: None,
        rows: false,
        secret: Some([1, 2, 3, 4]),
        stop: None,
    };
    let mut ours = Ours { values: FIELDS.iter().map(|_| Values::new()).collect(), protocols: HashMap::new() };
    replay_reader(&settings, reader, &mut ours).unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    Some(ours)
}

/// One field over all captures.
#[derive(Default)]
struct Tally {
    compared: u32,
    agree: u32,
    only_theirs: u32,
    only_ours: u32,
    /// Values of flows that are something else with us, by what.
    other_with_us: BTreeMap<&'static str, u32>,
    /// Values of flows in which tshark finds no such field.
    none_there: u32,
    samples: Vec<String>,
}

impl Tally {
    fn add(&mut self, place: usize, name: &str, ours: &Ours, theirs: &[Values]) {
        let field = &FIELDS[place];
        let (mine, found) = (&ours.values[place], &theirs[place]);
        let their_flows: HashSet<Ends> = found.keys().map(|(ends, _)| *ends).collect();
        let is_same = |ends: &Ends| {
            ours.protocols.get(ends).is_some_and(|have| field.protocols.iter().any(|one| have.contains(one)))
        };
        for ((ends, value), count) in found {
            if !is_same(ends) {
                let said = ours.protocols.get(ends).and_then(|have| have.iter().map(|one| one.name()).max());
                *self.other_with_us.entry(said.unwrap_or("no such flow")).or_default() += count;
                continue;
            }
            let same = (*count).min(mine.get(&(*ends, value.clone())).copied().unwrap_or(0));
            self.compared += count;
            self.agree += same;
            self.only_theirs += count - same;
            if *count > same {
                self.samples.push(format!("{name} {ends:?}: {} times only theirs: {value:?}", count - same));
            }
        }
        for ((ends, value), count) in mine {
            if !their_flows.contains(ends) {
                self.none_there += count;
                self.samples.push(format!("{name} {ends:?}: nothing there: {value:?}"));
                continue;
            }
            let same = (*count).min(found.get(&(*ends, value.clone())).copied().unwrap_or(0));
            self.compared += count - same;
            self.only_ours += count - same;
            if *count > same {
                self.samples.push(format!("{name} {ends:?}: {} times only ours: {value:?}", count - same));
            }
        }
    }
}

/// The captures that are asked.
fn chosen(data: &Path) -> Vec<Capture> {
    let all = captures(data);
    let small = |capture: &&Capture| std::fs::metadata(&capture.path).is_ok_and(|found| found.len() <= BYTES_MAX);
    let of = |(folder, step): (&str, usize)| -> Vec<Capture> {
        all.iter().filter(|one| one.name.starts_with(folder)).filter(small).step_by(step).cloned().collect()
    };
    FOLDERS.into_iter().flat_map(of).collect()
}

/// Every field over the chosen captures, by two threads.
fn tallies(captures: &[Capture]) -> Vec<Tally> {
    let tallies: Mutex<Vec<Tally>> = Mutex::new(FIELDS.iter().map(|_| Tally::default()).collect());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some((theirs, ours)) = theirs::of(&capture.path).zip(ours(&capture.path)) else { continue };
                    let mut all = tallies.lock().expect("no panic while it is held");
                    for (place, tally) in all.iter_mut().enumerate() {
                        tally.add(place, &capture.name, &ours, &theirs);
                    }
                }
            });
        }
    });
    tallies.into_inner().expect("no panic while it is held")
}

/// The list of what may differ: field, values only theirs, values only ours, reason.
fn known(path: &Path) -> BTreeMap<String, (u32, u32, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let mut parts = line.splitn(4, '\t').map(str::to_owned);
        let (field, theirs, ours) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((field, (theirs, ours, parts.next()?)))
    };
    text.lines().skip(1).filter_map(line).collect()
}

fn table(tallies: &[Tally], captures: usize, reasons: &BTreeMap<String, (u32, u32, String)>) -> String {
    let mut page = format!(
        "# Fields against tshark\n\nMade by `SHRIKE_WRITE_DOCS=1 make agreement`: {captures} captures, every value of flows that \
         both take for the same protocol.\n\n\
         | field | compared | agree | only tshark | only ours | why they differ |\n| --- | ---: | ---: | ---: | ---: | --- |\n"
    );
    for (field, tally) in FIELDS.iter().zip(tallies) {
        let why = reasons.get(field.name).map_or("", |(_, _, why)| why.as_str());
        let Tally { compared, agree, only_theirs, only_ours, .. } = tally;
        let _ = writeln!(page, "| {} | {compared} | {agree} | {only_theirs} | {only_ours} | {why} |", field.name);
    }
    page
}

fn rewrite(path: &Path, tallies: &[Tally], reasons: &BTreeMap<String, (u32, u32, String)>) {
    let mut text = "field\tonly tshark\tonly ours\treason\n".to_owned();
    for (field, tally) in FIELDS.iter().zip(tallies).filter(|(_, tally)| tally.only_theirs + tally.only_ours > 0) {
        let why = reasons.get(field.name).map_or("TO BE EXPLAINED", |(_, _, why)| why.as_str());
        let _ = writeln!(text, "{}\t{}\t{}\t{why}", field.name, tally.only_theirs, tally.only_ours);
    }
    std::fs::write(path, text).expect("a list that can be written");
}

#[test]
fn fields_are_those_that_tshark_finds() {
    let test = "fields_are_those_that_tshark_finds";
    let Some(data) = support::shared_data(test) else { return };
    let found = Command::new("tshark").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return support::skip(test, "tshark", "tshark is not installed; fields are not compared");
    }
    let captures = chosen(&data);
    let tallies = tallies(&captures);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let list = root.join("tests/tshark_fields/known.tsv");
    if std::env::var_os("SHRIKE_WRITE_DOCS").is_some() {
        rewrite(&list, &tallies, &known(&list));
        std::fs::write(root.join("docs/tshark.md"), table(&tallies, captures.len(), &known(&list))).expect("written");
    }
    let reasons = known(&list);
    let mut wrong = Vec::new();
    println!("{} captures", captures.len());
    println!("{:<26} {:>8} {:>8} {:>11} {:>9}  elsewhere", "field", "compared", "agree", "only tshark", "only ours");
    for (field, tally) in FIELDS.iter().zip(&tallies) {
        let Tally { compared, agree, only_theirs, only_ours, other_with_us, none_there, samples } = tally;
        println!(
            "{:<26} {compared:>8} {agree:>8} {only_theirs:>11} {only_ours:>9}  not with us {other_with_us:?}, not with tshark {none_there}",
            field.name
        );
        let shown = if std::env::var_os("SHRIKE_SAMPLES").is_some() { usize::MAX } else { 3 };
        samples.iter().take(shown).for_each(|sample| println!("    {sample}"));
        let (theirs, ours, why) = reasons.get(field.name).cloned().unwrap_or_default();
        if *only_theirs > theirs || *only_ours > ours || why.starts_with("TO BE") {
            wrong.push(format!(
                "{}: {only_theirs} only theirs, {only_ours} only ours; known: {theirs}, {ours}, {why:?}",
                field.name
            ));
        }
    }
    let folder = root.join("target/agreement");
    std::fs::create_dir_all(&folder).expect("a folder");
    let summary = json!({
        "captures": captures.len(),
        "fields": FIELDS.iter().zip(&tallies).map(|(field, tally)| (field.name.to_owned(), json!({
            "compared": tally.compared,
            "agree": tally.agree,
            "only_tshark": tally.only_theirs,
            "only_ours": tally.only_ours,
            "of_flows_that_are_something_else_with_us": tally.other_with_us,
            "of_flows_in_which_tshark_finds_none": tally.none_there,
            "reason": reasons.get(field.name).map(|(_, _, why)| why),
        }))).collect::<BTreeMap<_, _>>(),
    });
    let text = serde_json::to_string_pretty(&summary).expect("JSON") + "\n";
    std::fs::write(folder.join("tshark.json"), text).expect("written");
    let compared: u32 = tallies.iter().map(|tally| tally.compared).sum();
    assert!(compared > 10_000, "only {compared} values were compared");
    assert!(wrong.is_empty(), "fields that differ more than tests/tshark_fields/known.tsv explains: {wrong:#?}");
}
