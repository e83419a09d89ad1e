//! `docs/protocols.md` says what every parser reads and where it is bounded: made from the parsers' own tables.
//!
//! `SHRIKE_WRITE_DOCS=1 cargo test --test protocols` writes it anew.

mod support;

use shrike::dataplane::inspect::{FACTS_BYTES, Kind, Protocol, TABLE, UNIT_MAX};
use std::fmt::Write;

fn page() -> String {
    let mut page = format!(
        "# Protocols\n\n\
         Made by `SHRIKE_WRITE_DOCS=1 cargo test --test protocols` from the parsers' own tables; a test compares.\n\n\
         Recognised by content over the transports of `src/dataplane/inspect/parsers.rs`. An event's facts have \
         {FACTS_BYTES} bytes together; a unit of a stream (a record, a message, a line) {UNIT_MAX}. Behind a fact: the bytes \
         at which a value is cut, and how often it may come in an event where that is more than once.\n"
    );
    for (protocol, facts, anomalies) in TABLE {
        let name = if *protocol == Protocol::Unknown { "every TCP connection" } else { protocol.name() };
        let _ = writeln!(page, "\n## {name}\n");
        let facts: Vec<String> = facts
            .iter()
            .map(|fact| {
                let limit = match fact.kind {
                    Kind::Number => "number".to_owned(),
                    Kind::Address => "address".to_owned(),
                    Kind::Text => format!("text, {}", fact.limit),
                    Kind::Bytes => format!("bytes, {}", fact.limit),
                };
                let times = if fact.repeats > 1 { format!(", {} times", fact.repeats) } else { String::new() };
                format!("`{}` ({limit}{times})", fact.name)
            })
            .collect();
        if !facts.is_empty() {
            let _ = writeln!(page, "{}", facts.join(", "));
        }
        if !anomalies.is_empty() {
            let names: Vec<String> = anomalies.iter().map(|anomaly| format!("`{}`", anomaly.name)).collect();
            let _ = writeln!(page, "\nAnomalies: {}", names.join(", "));
        }
    }
    page
}

#[test]
fn the_page_of_protocols_is_what_the_parsers_say() {
    support::page_is("protocols.md", &page(), "protocols");
}

#[test]
fn names_within_a_protocol_are_different() {
    for (protocol, facts, anomalies) in TABLE {
        let mut names: Vec<&str> = facts.iter().map(|fact| fact.name).collect();
        let mut numbers: Vec<u8> = facts.iter().map(|fact| fact.index).collect();
        names.sort_unstable();
        numbers.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: {names:?}", protocol.name());
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{}: {numbers:?}", protocol.name());
        let mut numbers: Vec<u8> = anomalies.iter().map(|anomaly| anomaly.index).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{}: anomalies {numbers:?}", protocol.name());
    }
}
