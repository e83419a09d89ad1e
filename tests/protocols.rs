//! `docs/protocols.md` says what every parser reads and where it is bounded: made from the parsers' own tables.
//!
//! `SHRIKE_WRITE_DOCS=1 cargo test --test protocols` writes it anew.

mod support;

use shrike::dataplane::inspect::stream::{BUFFER_BYTES, SMALL_BYTES, SMALL_PER_LARGE};
use shrike::dataplane::inspect::{
    CONNECTIONS, FACTS_BYTES, Kind, PROBES, Protocol, SCRATCH_BYTES, SCRATCHES, Settings, TABLE, UNIT_MAX,
};
use shrike::metrics::Counter;
use std::fmt::Write;

fn page() -> String {
    let mut page = String::from(
        "# Protocols\n\n\
         Made by `SHRIKE_WRITE_DOCS=1 cargo test --test protocols` from the parsers' own tables; a test compares.\n\n\
         Recognised by content: every probe sees what each side says first, whatever the ports; `src/dataplane/inspect` says \
         at each parser what it looks for. State: bytes that its parser remembers of a flow. Facts: how many kinds an event \
         may have, and their bytes together at most; anomalies: how many it can tell by name. Of HTTP a request and its \
         answer are one event, but where a client sends requests without waiting (pipelining) each is one of its own, joined \
         by `tx_id`; what a client sends behind CONNECT without waiting for the answer may go unread.\n\n",
    );
    page += &overview();
    page += &bounds();
    let _ = write!(
        page,
        "\n# Facts and anomalies\n\nBehind a fact: the bytes at which a value is cut, and how often it may come in an event \
         where that is more than once.\n"
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

/// A line a protocol.
fn overview() -> String {
    let mut table = String::from("| protocol | over | state | facts | anomalies |\n| --- | --- | --- | --- | --- |\n");
    for (protocol, facts, anomalies) in TABLE {
        let probe = PROBES.iter().find(|probe| probe.protocol == *protocol);
        let over = match probe.map(|probe| (probe.streams, probe.datagrams)) {
            Some((true, true)) => "TCP, UDP",
            Some((true, false)) => "TCP",
            Some((false, _)) => "UDP",
            None if *protocol == Protocol::Unknown => continue,
            None => "others",
        };
        let state = probe.map_or("-".to_owned(), |probe| probe.state_bytes.to_string());
        let bytes: usize = facts.iter().map(|fact| usize::from(fact.limit) * usize::from(fact.repeats.max(1))).sum();
        let bytes = bytes.min(FACTS_BYTES);
        let name = protocol.name();
        let _ = writeln!(
            table,
            "| [{name}](#{name}) | {over} | {state} | {}, {bytes} bytes | {} |",
            facts.len(),
            anomalies.len()
        );
    }
    table
}

/// What is bounded where, and what tells that a bound was reached.
fn bounds() -> String {
    let settings = Settings::default();
    let rows: [(&str, String, Option<Counter>); 9] = [
        ("flows inspected at once, a queue", settings.flows.to_string(), Some(Counter::InspectFlowsFull)),
        (
            "sides of connections that hold bytes, a queue",
            format!(
                "{} of {SMALL_BYTES} bytes, {} of {BUFFER_BYTES}",
                settings.buffers as usize * SMALL_PER_LARGE,
                settings.buffers
            ),
            Some(Counter::InspectBuffersFull),
        ),
        ("flows with facts of an event to come, a queue", settings.facts.to_string(), Some(Counter::InspectFactsFull)),
        (
            "hellos of QUIC and DTLS in several datagrams, a queue",
            format!("{SCRATCHES} of {SCRATCH_BYTES} bytes"),
            Some(Counter::InspectScratchesFull),
        ),
        (
            "connections of HTTP/2 with tables and requests that wait, a queue",
            CONNECTIONS.to_string(),
            Some(Counter::InspectConnectionsFull),
        ),
        ("a unit (record, message, line) of a stream", format!("{UNIT_MAX} bytes"), Some(Counter::InspectUnitTooLong)),
        ("one side of a connection", format!("{} bytes", settings.depth), Some(Counter::InspectDepthReached)),
        ("how far ahead of a hole is held", format!("{BUFFER_BYTES} bytes"), Some(Counter::InspectBeyondBuffer)),
        ("facts of an event", format!("{FACTS_BYTES} bytes"), None),
    ];
    let mut table = String::from("\n# Bounds\n\n| of | bound | told by |\n| --- | --- | --- |\n");
    for (of, bound, told) in rows {
        let told = told.map_or("`truncated` in the event".to_owned(), |counter| format!("`{}`", counter.name()));
        let _ = writeln!(table, "| {of} | {bound} | {told} |");
    }
    table
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
