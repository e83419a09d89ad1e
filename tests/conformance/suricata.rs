//! The checks of suricata-verify: filters over EVE events, and statistics.
//!
//! Read as version 9 of Suricata would. A check is left out where it asks for what we are not: rules, files taken out of
//! streams, Suricata's own run. Everything else is asked of our events, field by field.

use crate::answer::{self, Answer, each};
use crate::stats;
use crate::table::{Check, Verdict};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

/// The version whose checks apply: that of the published schema.
const VERSION: [u64; 3] = [9, 0, 0];

/// Fields of Suricata's own bookkeeping, not facts about the traffic: places in the file, numbers of its transactions, which
/// of its timers ended a flow, whether its rules met; and ids whose seed (7 in one test, 1 in the other) stands in a
/// configuration that is not among the files. The rest of such a check counts.
const BOOKKEEPING: &[&str] = &[
    "pcap_cnt",
    "pcap_filename.__endswith",
    "pkt_src",
    "ether.src_mac",
    "ether.dest_mac",
    "flow.alerted",
    "flow.reason",
    "dns.tx_id",
    "community_id",
];

/// Event types that we do not write, and why.
const TYPES: &[(&str, &str)] = &[
    ("alert", "needs Suricata's rules"),
    ("drop", "needs Suricata's inline policies"),
    ("fileinfo", "files are not taken out of streams"),
    ("stream_tcp", "Suricata's log for debugging its own stream engine"),
    ("arp", "no event type of ours: ARP is counted"),
];

/// Every check of every test, in the order of their names.
pub fn checks(folder: &Path) -> Vec<Check> {
    let mut tests: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder of tests").map(|entry| entry.expect("an entry").path()).collect();
    tests.sort();
    each(&tests, |test| of_test(test)).into_iter().flatten().collect()
}

fn of_test(folder: &Path) -> Vec<Check> {
    let test = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let out = |why| {
        let wanted = "the whole test".to_owned();
        vec![Check { test: test.clone(), kind: "test".to_owned(), wanted, verdict: Verdict::Excluded(why) }]
    };
    let Ok(text) = std::fs::read_to_string(folder.join("test.yaml")) else { return out("has no list of checks") };
    let documents = YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{test}: {error}"));
    let config = documents.first().map_or(Value::Null, json);
    if let Some(why) = unfit(&config) {
        return out(why);
    }
    let Some(answer) = capture(folder, &config).and_then(|capture| answer::of(&capture)) else {
        return out("has no capture that can be read");
    };
    let Some(checks) = config["checks"].as_array() else { return out("asks only that Suricata ends well") };
    let mut all = Vec::new();
    for (index, check) in checks.iter().enumerate() {
        for (kind, wanted, verdict) in judge(check, &answer) {
            let wanted = format!("{index} {wanted}");
            all.push(Check { test: test.clone(), kind, wanted, verdict });
        }
    }
    all
}

/// Why nothing of a test can be asked of us.
fn unfit(config: &Value) -> Option<&'static str> {
    let args: Vec<&str> = config["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let features = config["requires"]["features"].as_array();
    if features.is_some_and(|features| features.contains(&"QA_SIMULATION".into())) {
        return Some("makes Suricata fail on purpose");
    }
    if args.iter().any(|arg| arg.contains("midstream-policy") || arg.contains("memcap-policy")) {
        return Some("needs Suricata's inline policies");
    }
    None
}

/// The capture that the test names, or the only one there is.
fn capture(folder: &Path, config: &Value) -> Option<PathBuf> {
    if let Some(name) = config["pcap"].as_str() {
        return Some(folder.join(name));
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "pcap" || kind == "pcapng"))
        .collect();
    found.sort();
    found.into_iter().next()
}

/// Kind, words, verdict of one check; of statistics one for each.
fn judge(check: &Value, answer: &Answer) -> Vec<(String, String, Verdict)> {
    if let Some(numbers) = check["stats"].as_object() {
        return numbers.iter().map(|(name, wanted)| statistic(name, wanted, answer)).collect();
    }
    let Some(filter) = check.get("filter") else {
        let why = Verdict::Excluded("looks at files or the end of Suricata's own run");
        return vec![("shell".to_owned(), words(check), why)];
    };
    let empty = Map::new();
    let wanted = filter["match"].as_object().unwrap_or(&empty);
    let kind = match wanted.get("event_type").and_then(Value::as_str) {
        Some(kind) => kind,
        None if wanted.keys().any(|name| name.starts_with("alert.")) => "alert",
        None => "any",
    };
    if !applies(filter.get("requires").or(check.get("requires"))) {
        let why = Verdict::Excluded("for another version of Suricata");
        return vec![(kind.to_owned(), words(&filter["match"]), why)];
    }
    if kind == "stats" {
        let numbers: Vec<_> = wanted
            .iter()
            .filter_map(|(name, wanted)| Some(statistic(name.strip_prefix("stats.")?, wanted, answer)))
            .collect();
        if numbers.is_empty() {
            let why = Verdict::Excluded("asks only that there are statistics");
            return vec![(kind.to_owned(), words(&filter["match"]), why)];
        }
        return numbers;
    }
    let verdict = match TYPES.iter().find(|(one, _)| *one == kind) {
        Some((_, why)) => Verdict::Excluded(why),
        None => asked(filter, wanted, answer),
    };
    vec![(kind.to_owned(), words(&filter["match"]), verdict)]
}

fn statistic(name: &str, wanted: &Value, answer: &Answer) -> (String, String, Verdict) {
    let verdict = match stats::number(answer, name) {
        None => Verdict::Excluded("a statistic that only Suricata keeps"),
        Some(ours) if wanted.as_u64() == Some(ours) => Verdict::Met,
        Some(ours) => Verdict::Unmet(ours.to_string()),
    };
    ("stats".to_owned(), format!("{name}={wanted}"), verdict)
}

/// As many events as wanted in which every field is as wanted?
fn asked(filter: &Value, wanted: &Map<String, Value>, answer: &Answer) -> Verdict {
    let differences = |event: &Value| -> Vec<String> {
        let asked = wanted.iter().filter(|(name, _)| !BOOKKEEPING.contains(&name.as_str()));
        asked.filter_map(|(name, wanted)| difference(event, name, wanted)).collect()
    };
    let mut of_events: Vec<Vec<String>> = answer.events.iter().map(differences).collect();
    let count = of_events.iter().filter(|found| found.is_empty()).count() as u64;
    let expected = filter["count"].as_u64();
    if expected.map_or(count > 0, |expected| expected == count) {
        return Verdict::Met;
    }
    of_events.sort_by_key(Vec::len);
    let nearest = of_events.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    Verdict::Unmet(format!("{count} such; the nearest other has {}", nearest.join(", ")).replace(['\t', '\n'], " "))
}

/// What an event has instead of what is wanted.
fn difference(event: &Value, name: &str, wanted: &Value) -> Option<String> {
    match name {
        "has-key" => return wanted.as_str().and_then(|key| find(event, key).is_none().then(|| format!("no {key}"))),
        "not-has-key" => return wanted.as_str().and_then(|key| find(event, key).map(|_| format!("a {key}"))),
        _ => {}
    }
    let (path, test) = name.split_once(".__").map_or((name, ""), |(path, test)| (path, test));
    let found = find(event, path);
    let same = match test {
        "len" => found.and_then(Value::as_array).map(|list| Value::from(list.len())).as_ref() == Some(wanted),
        "endswith" | "startswith" | "contains" => {
            let (text, part) = (found.and_then(Value::as_str), wanted.as_str().unwrap_or_default());
            text.is_some_and(|text| match test {
                "endswith" => text.ends_with(part),
                "startswith" => text.starts_with(part),
                _ => text.contains(part),
            })
        }
        "" => found.is_some_and(|found| equal(found, wanted)),
        other => panic!("suricata-verify has a new test: {other}"),
    };
    (!same).then(|| format!("{name}={}", found.map_or("nothing".to_owned(), Value::to_string)))
}

/// Addresses are equal as such: how they are written is a setting of Suricata's.
fn equal(ours: &Value, wanted: &Value) -> bool {
    let address = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    ours == wanted || address(ours).is_some_and(|ours| address(wanted) == Some(ours))
}

/// The value at `a.b[2].c`.
fn find<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(event, |value, part| {
        let (name, index) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
            Some((name, index)) => (name, Some(index.parse::<usize>().ok()?)),
            None => (part, None),
        };
        let value = value.get(name)?;
        index.map_or(Some(value), |index| value.get(index))
    })
}

/// Is the check for our version?
fn applies(requires: Option<&Value>) -> bool {
    let Some(requires) = requires else { return true };
    let version = |name: &str| -> Option<[u64; 3]> {
        let text = match &requires[name] {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        Some(std::array::from_fn(|_| parts.next().unwrap_or(0)))
    };
    version("min-version").is_none_or(|least| VERSION >= least) && version("lt-version").is_none_or(|end| VERSION < end)
}

/// A check in a line.
fn words(check: &Value) -> String {
    let fields: Vec<String> =
        check.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    let line = fields.join(" ").replace(['\t', '\n'], " ");
    line.chars().take(160).collect()
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(text) | Yaml::String(text) => text.as_str().into(),
        Yaml::Integer(number) => (*number).into(),
        Yaml::Boolean(flag) => (*flag).into(),
        Yaml::Array(list) => list.iter().map(json).collect(),
        Yaml::Hash(map) => {
            let entry = |(name, value): (&Yaml, &Yaml)| Some((name.as_str()?.to_owned(), json(value)));
            Value::Object(map.iter().filter_map(entry).collect())
        }
        _ => Value::Null,
    }
}
