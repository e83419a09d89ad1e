//! Events of application protocols as EVE lines, over the captures and over facts of any kind: every line is one line of
//! JSON, obeys Suricata's published schema once our one object is taken out, and tells every fact of its event.

#[path = "support/captures.rs"]
mod captures;
#[path = "support/eve.rs"]
mod eve;
mod support;

use captures::eve_and_events;
use eve::Schema;
use proptest::collection;
use proptest::prelude::*;
use serde_json::Value;
use shrike::control::export::{AppEvent, EveWriter};
use shrike::dataplane::capture::pcap::{Limits, Reader};
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::{self, Fact, Facts, Kind, Protocol, TABLE, number};
use shrike::exchange::EventHead;
use shrike::units::{SECOND, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders of captures that are replayed whole.
const WHOLE: [&str; 6] = [
    "benign/ndpi",
    "attack/ndpi",
    "conformance/ndpi",
    "conformance/zeek",
    "attack/bruteforce",
    "attack/cleartext_creds",
];
/// Folders of which every third capture is.
const SAMPLED: [&str; 8] = [
    "benign/apps",
    "attack/malware",
    "benign/iot",
    "attack/exploit",
    "attack/c2_lateral",
    "conformance/suricata_verify",
    "conformance/ja4",
    "conformance/tcpdump",
];
/// Larger captures are left out: they repeat themselves.
const BYTES_MAX: u64 = 1 << 20;
/// Lines that are shown to Python's validator too; beyond that their shapes are known.
const PYTHON_LINES: usize = 1500;

fn lines_of(capture: &Path) -> (String, Vec<AppEvent>) {
    let reader = Reader::open(std::slice::from_ref(&capture.to_owned()), Limits::default()).expect("a capture");
    let replayed = eve_and_events(reader, 1, 1 << 12);
    let (text, events, _) = replayed.unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    (text, events)
}

/// The captures of the manifest that are replayed here.
fn chosen(data: &Path) -> Vec<PathBuf> {
    let all = captures::captures(data);
    let of = |folder: &str| {
        let prefix = format!("{folder}/");
        all.iter().filter(move |capture| capture.name.starts_with(&prefix)).map(|capture| capture.path.clone())
    };
    let whole = WHOLE.iter().flat_map(|folder| of(folder));
    let sampled = SAMPLED.iter().flat_map(|folder| of(folder).step_by(3));
    let is_small = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|found| found.len() <= BYTES_MAX);
    whole.chain(sampled).filter(is_small).collect()
}

/// One line: parsed, and nothing in it that a reader of lines or a terminal takes for something else.
fn parsed(line: &str) -> Value {
    let odd = line.chars().find(|letter| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}'));
    assert_eq!(odd, None, "{}", line.escape_debug());
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Events with the same facts, by name, whose values are asked for.
const ALIKE: u32 = 3;

/// The facts of an event by protocol and number, with its type.
fn facts_of(event: &AppEvent) -> Vec<u8> {
    let names = Facts::read(&event.facts).flat_map(|one| [one.protocol, one.index]);
    [event.head.protocol as u8, u8::from(event.head.anomaly.is_some())].into_iter().chain(names).collect()
}

/// Other values of a fact.
fn others(fact: Fact, value: &[u8]) -> Vec<Vec<u8>> {
    let last = value.len().saturating_sub(1);
    let flipped = |at: usize| {
        let mut other = value.to_vec();
        other[at] ^= 1;
        other
    };
    match fact.kind {
        Kind::Number if number(value) < 2 => vec![vec![1 - number(value) as u8]],
        _ if value.is_empty() => vec![vec![b'x']],
        Kind::Text | Kind::Bytes => vec![flipped(0), flipped(last)],
        Kind::Number | Kind::Address => vec![flipped(last)],
    }
}

/// A fact that the line of its event does not tell: with another value it is the same line.
fn untold(event: &AppEvent) -> Option<String> {
    let line = line_of(event);
    let values: Vec<_> = Facts::read(&event.facts).collect();
    let with = |at: usize, other: &[u8]| {
        let one = |(index, value): (usize, &inspect::Value<'_>)| {
            let bytes = if index == at { other } else { value.value };
            let [high, low] = u16::try_from(bytes.len()).expect("facts are short").to_be_bytes();
            [&[value.protocol, value.index, high, low][..], bytes].concat()
        };
        let facts: Vec<u8> = values.iter().enumerate().flat_map(one).collect();
        AppEvent { facts: facts.into(), ..event.clone() }
    };
    values.iter().enumerate().find_map(|(at, value)| {
        let facts = TABLE.iter().find(|(protocol, ..)| *protocol as u8 == value.protocol).map(|(_, facts, _)| *facts);
        let fact = facts?.iter().find(|fact| fact.index == value.index)?;
        let other = others(*fact, value.value).into_iter().find(|other| line_of(&with(at, other)) == line)?;
        let [was, other] = [value.value, &other].map(|bytes| bytes.escape_ascii().to_string());
        Some(format!("{} {} is {was}, and with {other}: {line}", fact.protocol.name(), fact.name))
    })
}

/// Names and kinds of values, without the values: lines that share them hardly differ for a validator.
fn shape(value: &Value, path: &str, shapes: &mut String) {
    match value {
        Value::Object(parts) => parts.iter().for_each(|(name, part)| shape(part, &format!("{path}.{name}"), shapes)),
        Value::Array(parts) => parts.iter().take(1).for_each(|part| shape(part, &format!("{path}[]"), shapes)),
        Value::String(_) => *shapes += &format!("{path}:s "),
        Value::Number(_) => *shapes += &format!("{path}:n "),
        Value::Bool(_) | Value::Null => *shapes += &format!("{path}:b "),
    }
}

#[test]
fn every_event_of_the_captures_obeys_the_schema_and_is_told_whole() {
    let test = "every_event_of_the_captures_obeys_the_schema_and_is_told_whole";
    let Some(data) = support::shared_data(test) else { return };
    let schema = Schema::open(&data);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let (mut found, mut shapes, mut shown) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    let (mut alike, mut swallowed) = (BTreeMap::new(), BTreeMap::new());
    let captures = chosen(&data);
    for capture in &captures {
        let (text, told) = lines_of(capture);
        for event in &told {
            let count: &mut u32 = alike.entry(facts_of(event)).or_default();
            *count += 1;
            if *count <= ALIKE
                && let Some(fact) = untold(event)
            {
                let names = fact.split(" is ").next().unwrap_or_default().to_owned();
                swallowed.entry(names).or_insert((capture.clone(), fact));
            }
        }
        let (mut flows, mut events) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            let mut line = parsed(line);
            let kind = line["event_type"].as_str().expect("a type").to_owned();
            // What is odd about a fragment is told also where its first one, and so its flow, never came.
            let is_of_decoder = line["anomaly"]["type"] == "decode";
            let is_icmp = matches!(line["proto"].as_str(), Some("ICMP" | "IPv6-ICMP"));
            let id = line["community_id"].as_str().unwrap_or_default().to_owned();
            assert!(!id.is_empty() || is_of_decoder && is_icmp, "no id: {line}");
            if kind == "flow" {
                flows.insert(id);
            } else if !is_of_decoder {
                events.insert(id);
            }
            for violation in schema.violations(&mut line) {
                let words = violation.split(':').next().unwrap_or_default().to_owned();
                found.entry((kind.clone(), words)).or_insert((violation, capture.clone(), line.clone()));
            }
            *counts.entry(kind).or_default() += 1;
            let mut of = String::new();
            shape(&line, "", &mut of);
            if shapes.insert(of) && shown.len() < PYTHON_LINES {
                shown.push(line);
            }
        }
        let lost: Vec<_> = events.difference(&flows).collect();
        assert!(lost.is_empty(), "{}: events of no flow: {lost:?}", capture.display());
    }
    println!("{} captures, {} shapes of lines, {} shown to Python", captures.len(), shapes.len(), shown.len());
    println!("{:<16} {:>7}", "event_type", "lines");
    counts.iter().for_each(|(kind, count)| println!("{kind:<16} {count:>7}"));
    assert!(found.is_empty(), "{found:#?}");
    println!("{} kinds of lists of facts", alike.len());
    assert!(alike.len() > 100 && swallowed.is_empty(), "{} of {}: {swallowed:#?}", swallowed.len(), alike.len());
    schema.validate_with_python(test, &shown);
    for kind in ["anomaly", "dhcp", "dns", "ftp", "http", "krb5", "quic", "smb", "smtp", "ssh", "tls"] {
        assert!(counts.contains_key(kind), "no event of {kind}");
    }
}

/// Ends of a line, as the specification's baseline has them for each packet.
type Ends = (u64, String, String, u64, u64);

fn ends(row: &Value, [proto, from, to, from_port, to_port]: [&str; 5]) -> Option<Ends> {
    let proto = match &row[proto] {
        Value::String(name) => match name.as_str() {
            "TCP" => 6,
            "UDP" => 17,
            "SCTP" => 132,
            "ICMP" => 1,
            "IPv6-ICMP" => 58,
            _ => return None,
        },
        number => number.as_u64()?,
    };
    let address = |name: &str| row[name].as_str().map(str::to_owned);
    Some((proto, address(from)?, address(to)?, row[from_port].as_u64()?, row[to_port].as_u64()?))
}

#[test]
fn community_ids_are_those_of_the_specification() {
    let Some(data) = support::shared_data("community_ids_are_those_of_the_specification") else { return };
    let folder = data.join("conformance/community_id/corelight+community-id-spec");
    let text = std::fs::read_to_string(folder.join("baseline/baseline_deflt.json")).expect("a baseline");
    let baseline: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let wanted: BTreeMap<Ends, &str> = baseline
        .iter()
        .filter_map(|row| {
            // In the place of ports ICMP has the type, and the one that answers it or the code, which no line has both.
            let to = if matches!(row["proto"].as_u64(), Some(1 | 58)) { "sport" } else { "dport" };
            Some((ends(row, ["proto", "saddr", "daddr", "sport", to])?, row["communityid"].as_str()?))
        })
        .collect();
    let mut compared = BTreeMap::new();
    for line in lines_of(&folder.join("pcaps/combined.pcap.gz")).0.lines().map(parsed) {
        let ports = if line["icmp_type"].is_null() { ["src_port", "dest_port"] } else { ["icmp_type", "icmp_type"] };
        let Some(ends) = ends(&line, ["proto", "src_ip", "dest_ip", ports[0], ports[1]]) else { continue };
        assert_eq!(line["community_id"].as_str(), wanted.get(&ends).copied(), "{line}");
        let kind = if ends.0 == 1 || ends.0 == 58 { "ICMP" } else { "others" };
        *compared.entry((line["event_type"].as_str().unwrap_or_default().to_owned(), kind)).or_insert(0) += 1;
    }
    println!("lines whose id was compared: {compared:?}");
    let flows = |kind| compared.get(&("flow".to_owned(), kind)).copied().unwrap_or(0);
    assert!(flows("ICMP") >= 10 && flows("others") >= 4, "{compared:?}");
}

/// Words that mappings look for.
const WORDS: [&str; 20] = [
    "dht",
    "q",
    "r",
    "e",
    "connect",
    "publish",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "bind_request",
    "search_request",
    "extended_request",
    "search_result_done",
    "bind_response",
    "SMB1_COMMAND_TRANS2",
    "SMB2_COMMAND_CREATE",
    "startup_message",
    "sasl",
    "bytes 0-99/200",
    "1.2",
];

/// Any bytes, words that mean something, text with what breaks lines, numbers.
fn value() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        collection::vec(any::<u8>(), 0..48),
        proptest::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        "[\\PC\\pC\"\\\\\n]{0,12}".prop_map(String::into_bytes),
        (0_u8..8).prop_map(|number| vec![number]),
        any::<u64>().prop_map(|number| number.to_be_bytes().to_vec()),
        Just(vec![0; 52]),
    ]
    .boxed()
}

/// Its events have facts of no other protocol.
const ALONE: Protocol = Protocol::Proxied;

/// A value as parsers write it.
fn value_of(fact: Fact) -> BoxedStrategy<Vec<u8>> {
    let digits = |number: u64| number.to_be_bytes()[(number.leading_zeros() / 8).min(7) as usize..].to_vec();
    match fact.kind {
        Kind::Number => prop_oneof![0..20_u64, 0..400_u64, any::<u64>()].prop_map(digits).boxed(),
        Kind::Address => {
            prop_oneof![Just(4), Just(16)].prop_flat_map(|length: usize| collection::vec(any::<u8>(), length)).boxed()
        }
        Kind::Text | Kind::Bytes => value(),
    }
}

/// An event of a protocol with facts of it, and some of others; values by `value`.
fn event(value: fn(Fact) -> BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = AppEvent> {
    let some = TABLE.iter().filter(|(_, facts, _)| !facts.is_empty());
    let facts: Vec<(Protocol, Vec<Fact>)> = some.map(|(one, facts, _)| (*one, facts.to_vec())).collect();
    let all: Vec<Fact> = facts.iter().flat_map(|(_, facts)| facts.clone()).collect();
    let fact = move |all: Vec<Fact>| {
        proptest::sample::select(all).prop_flat_map(move |fact| (Just(fact), value(fact))).boxed()
    };
    let other = fact(all);
    (proptest::sample::select(facts), any::<bool>(), proptest::option::weighted(0.1, any::<u8>()))
        .prop_flat_map(move |((protocol, own), truncated, anomaly)| {
            let own = collection::vec(fact(own), 0..40);
            let others = if protocol == ALONE { 0..1 } else { 0..6 };
            (Just((protocol, truncated, anomaly)), own, collection::vec(other.clone(), others))
        })
        .prop_map(|((protocol, truncated, anomaly), own, others)| {
            let mut facts = Facts::default();
            own.iter().chain(&others).for_each(|(fact, value)| facts.put(*fact, value));
            let (key, originator) = FlowKey::v4(1, 2, 3, 4, 17, 0);
            let head = EventHead {
                time: Timestamp(SECOND),
                told: Timestamp(SECOND),
                key,
                originator,
                sender: Side::Originator,
                first_seen: None,
                protocol,
                anomaly: anomaly.map(|index| (protocol, index)),
                truncated,
                bytes: facts.as_bytes().len() as u16,
                icmp: None,
                outer: None,
                through_proxy: false,
            };
            AppEvent { head, facts: facts.as_bytes().into() }
        })
}

fn line_of(event: &AppEvent) -> Value {
    let mut writer = EveWriter::new(Vec::new(), None);
    writer.application(event).expect("in memory");
    let text = String::from_utf8(writer.finish().expect("in memory")).expect("UTF-8");
    let line = text.strip_suffix('\n').expect("a line");
    parsed(line)
}

#[test]
fn any_facts_make_a_valid_line() {
    let Some(data) = support::shared_data("any_facts_make_a_valid_line") else { return };
    let schema = Schema::open(&data);
    let config = |cases| ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config(6000), |(event in event(|_| value()))| {
        let found = schema.violations(&mut line_of(&event));
        prop_assert!(found.is_empty(), "{}: {found:?}", event.head.protocol.name());
    });
    // What is no list of facts at all.
    proptest!(config(200), |(mut event in event(|_| value()), bytes in collection::vec(0_u8..64, 0..200))| {
        event.facts = bytes.into();
        let found = schema.violations(&mut line_of(&event));
        prop_assert!(found.is_empty(), "{}: {found:?}", event.head.protocol.name());
    });
}

#[test]
fn any_facts_are_all_told() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) };
    proptest!(config, |(event in event(value_of))| {
        prop_assert_eq!(untold(&event), None);
    });
}

/// What stands beside the objects has one name each: those of other protocols have theirs in front.
#[test]
fn names_of_facts_do_not_meet() {
    for (own, ..) in TABLE.iter().filter(|(own, ..)| *own != ALONE) {
        let mut names = BTreeSet::new();
        for fact in TABLE.iter().flat_map(|(_, facts, _)| *facts) {
            let is_own = fact.protocol == *own;
            let name = if is_own { fact.name.to_owned() } else { format!("{}_{}", fact.protocol.name(), fact.name) };
            assert!(names.insert(name.clone()), "{}: {name}", own.name());
        }
    }
}
