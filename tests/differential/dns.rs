//! Against `hickory-proto`: names, types, times to live, codes, addresses.

use super::{Message, Tally};
use hickory_proto::op::Message as Reference;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::dns::SET;
use shrike::dataplane::inspect::{Facts, Inspector, Protocol};

/// Questions that an event has at most.
const QUESTIONS: usize = 32;

pub fn compare(inspector: &mut Inspector, message: &Message<'_>, place: &str, tally: &mut Tally) {
    if message.is_stream || !message.ports.contains(&53) || message.bytes.len() < 12 {
        return;
    }
    let is_answer = message.bytes[2] & 0x80 != 0;
    let told = message.told(inspector, if is_answer { Side::Responder } else { Side::Originator });
    let ours = told.of(Protocol::Dns);
    let Ok(theirs) = Reference::from_vec(message.bytes) else {
        tally.only_ours += u64::from(ours.is_some() && !told.has(Protocol::Dns));
        return;
    };
    let Some(ours) = ours else {
        // Without a question there is nothing to search for; a name server answers so to what it cannot read.
        let what = if theirs.queries().is_empty() { "not read, no question" } else { "not read" };
        let others: Vec<&str> = told.events.iter().map(|(protocol, _)| protocol.name()).collect();
        return tally
            .note(what, || format!("{place}: {others:?} {:?} {}", told.anomalies, message.bytes.escape_ascii()));
    };
    let questions = theirs.queries().iter().take(QUESTIONS).map(|one| labels_of(one.name())).collect::<Vec<_>>();
    let mut fields = vec![
        ("id", number(ours.number(SET.id)), number(Some(theirs.id().into()))),
        ("rcode", number(ours.number(SET.rcode)), number(Some(u16::from(theirs.response_code()).into()))),
        ("questions", Some(names(ours, SET.query_name)), Some(joined(&questions))),
    ];
    if !ours.is_truncated() {
        let sections = [theirs.answers(), theirs.name_servers(), theirs.additionals()];
        let labels = [
            ["answers: names", "answers: types", "answers: times", "answers: addresses"],
            ["authorities: names", "authorities: types", "authorities: times", "authorities: addresses"],
            ["additionals: names", "additionals: types", "additionals: times", "additionals: addresses"],
        ];
        for ((facts, records), label) in SET.sections.into_iter().zip(sections).zip(labels) {
            let records: Vec<&Record> = records.iter().filter(|one| one.record_type() != RecordType::OPT).collect();
            let theirs = records.iter().map(|one| labels_of(one.name())).collect::<Vec<_>>();
            fields.push((label[0], Some(names(ours, facts[0])), Some(joined(&theirs))));
            let types = records.iter().map(|one| u16::from(one.record_type()).into());
            fields.push((label[1], Some(numbers(ours, facts[1])), Some(list(types))));
            fields.push((
                label[2],
                Some(numbers(ours, facts[2])),
                Some(list(records.iter().map(|one| one.ttl().into()))),
            ));
            fields.push((label[3], Some(addresses(ours, facts[3], &records)), Some(their_addresses(&records))));
        }
    }
    tally.compare(fields, place);
}

fn number(value: Option<u64>) -> Option<Vec<u8>> {
    value.map(|value| value.to_string().into_bytes())
}

fn list(values: impl Iterator<Item = u64>) -> Vec<u8> {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join(" ").into_bytes()
}

fn numbers(facts: &Facts, fact: shrike::dataplane::inspect::Fact) -> Vec<u8> {
    list(facts.all(fact).map(shrike::dataplane::inspect::number))
}

fn names(facts: &Facts, fact: shrike::dataplane::inspect::Fact) -> Vec<u8> {
    joined(&facts.all(fact).map(labels).collect::<Vec<_>>())
}

fn labels_of(name: &Name) -> Vec<Vec<u8>> {
    name.iter().map(<[u8]>::to_vec).collect()
}

/// Every label with its length before it, so that a dot within one is no border.
fn joined(names: &[Vec<Vec<u8>>]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| {
            let labels = name.iter().flat_map(|label| [&[label.len() as u8][..], label].concat());
            labels.chain([0]).collect::<Vec<u8>>()
        })
        .collect()
}

/// What stands for the addresses among the records' data, in our form.
fn addresses(facts: &Facts, fact: shrike::dataplane::inspect::Fact, records: &[&Record]) -> Vec<u8> {
    let data = facts.all(fact).zip(records).filter(|(_, one)| matches!(one.data(), RData::A(_) | RData::AAAA(_)));
    data.map(|(data, _)| data).collect::<Vec<_>>().join(&b' ')
}

fn their_addresses(records: &[&Record]) -> Vec<u8> {
    let address = |one: &&Record| match one.data() {
        RData::A(address) => Some(address.0.to_string()),
        RData::AAAA(address) => Some(address.0.to_string()),
        _ => None,
    };
    records.iter().filter_map(address).collect::<Vec<_>>().join(" ").into_bytes()
}

/// Labels of a name as we write it (RFC 4343 section 2.1: `\.` and `\032`).
fn labels(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut rest) = (vec![vec![]], text.iter().copied());
    while let Some(byte) = rest.next() {
        let label = all.last_mut().expect("one at least");
        match byte {
            b'.' => all.push(vec![]),
            b'\\' => match rest.next().expect("something is escaped") {
                first @ b'0'..=b'9' => {
                    let digits = [first, rest.next().expect("three digits"), rest.next().expect("three digits")];
                    label.push(digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) as u8);
                }
                other => label.push(other),
            },
            byte => label.push(byte),
        }
    }
    all.retain(|label| !label.is_empty());
    all
}
