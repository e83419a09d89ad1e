//! `docs/protocols.md` says what every parser reads and where it is bounded: made from the parsers' own tables.
//!
//! `SHRIKE_WRITE_DOCS=1 cargo test --test protocols` writes it anew.

mod support;

use shrike::control::view::LIVING_KEPT;
use shrike::dataplane::decode::{
    DefragSettings, Defragmenter, EXTENSIONS_MAX, FRAGMENTS_MAX, FragmentSettings, GTP_EXTENSIONS_MAX, LABELS_MAX,
    LEVELS_MAX, ROUTES_MAX, SMALL_BYTES as SMALL_BYTES_OF_DATAGRAMS, SOURCE_SHARE as DATAGRAMS_SHARE, TAGS_KEPT,
    TAGS_MAX,
};
use shrike::dataplane::features::encrypted::{HEAD_BYTES, PACKETS, RECORDS};
use shrike::dataplane::inspect::http2::{BLOCK_BYTES, BLOCKS};
use shrike::dataplane::inspect::limits::{Told, limits_of};
use shrike::dataplane::inspect::proxied::{HEADER_MAX, HEADERS_MAX, TOO_LONG, TOO_MANY};
use shrike::dataplane::inspect::remembered::{REMEMBERED, TEXT_MAX};
use shrike::dataplane::inspect::stream::{
    BUFFER_BYTES, IN_FLIGHT_MAX, LONGEST, LOOKED_MAX, RUN_MAX, SEGMENTS, SKIPPED_COUNTS, SMALL_BYTES, SMALL_PER_LARGE,
    WINDOW_MAX,
};
use shrike::dataplane::inspect::{
    AGAIN_MAX, ANEW_MAX, CONNECTION_BYTES, CONNECTIONS, FACTS_BYTES, IDENTIFY_BYTES, IDENTIFY_DATAGRAMS, Kind,
    OTHERS_LOOKED, PROBES, Protocol, Rate, SCRATCH_BYTES, SCRATCHES, SENDERS, SOURCE_SHARE, SYN_BYTES, SYNS, Settings,
    TABLE, UNIT_MAX,
};
use shrike::dataplane::worker::anomalies::{PER_SECOND, PER_SOURCE};
use shrike::dataplane::worker::{
    ELEPHANTS, EngineSettings, FLOWS_PER_OUTER, NEIGHBOURS, NEIGHBOURS_PER_SECOND, RESTARTS_MAX, SNAP_BYTES,
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
         by `tx_id`; what a client sends behind CONNECT without waiting for the answer may go unread. A header of the PROXY protocol in \
         front of a TCP connection is an event of its own, and whose the connection is by its word stands in each event behind \
         it (`proxy_protocol_source_ip`, `proxy_protocol_source_port`); UDP is not looked at for it. The source of an event \
         is who sent the message that it tells, so that of an answer who was asked; where a request is told with its answer \
         (HTTP, SMB, LDAP, Modbus), and of a handshake, a login or a whole session, it is who asked.\n\n",
    );
    page += &overview();
    page += &bounds();
    let _ = write!(
        page,
        "\n# Facts, anomalies, limits\n\nBehind a fact: the bytes at which a value is cut, and how often it may come in an event \
         where that is more than once. Limits: of the parser \
         itself, beside those above; a protocol without a table has none.\n"
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
        page += &limits(*protocol);
    }
    page
}

/// Where a protocol's parser stops, and what tells that it did.
fn limits(protocol: Protocol) -> String {
    let limits = limits_of(protocol).unwrap_or_else(|| panic!("{} has no entry in LIMITS", protocol.name()));
    if limits.is_empty() {
        return String::new();
    }
    let mut table = String::from("\n| limit | bound | told by |\n| --- | --- | --- |\n");
    for limit in limits {
        let told = match limit.told {
            Told::Anomaly(anomaly) => format!("`{}`", anomaly.name),
            Told::Truncated => "`truncated` in the event".to_owned(),
            Told::Counted => counters(&[Counter::InspectLimitReached]),
            Told::Nothing(why) => format!("nothing: {why}"),
        };
        let _ = writeln!(table, "| {} | {} | {told} |", limit.of, limit.bound);
    }
    table
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

/// Names of counters.
fn counters(all: &[Counter]) -> String {
    let names: Vec<String> = all.iter().map(|counter| format!("`{}`", counter.name())).collect();
    names.join(", ")
}

/// What is bounded where, and what tells that a bound was reached.
fn bounds() -> String {
    let mut table = String::from(
        "\n# Bounds\n\nOf the engine, whatever the protocol, with the settings as they are; the counters are in `/metrics`, \
         `shrike_` before the name and `_total` behind.
",
    );
    for (part, rows) in
        [("Decoding", decoding()), ("Fragments", fragments()), ("Flows", flows()), ("Inspection", inspection())]
    {
        let _ = writeln!(table, "\n## {part}\n\n| of | bound | told by |\n| --- | --- | --- |");
        for (of, bound, told) in rows {
            let _ = writeln!(table, "| {of} | {bound} | {told} |");
        }
    }
    table
}

type Row = (&'static str, String, String);

fn decoding() -> Vec<Row> {
    vec![
        ("tunnels in one another", LEVELS_MAX.to_string(), counters(&[Counter::TunnelDepth])),
        ("VLAN tags of which ids are kept", TAGS_KEPT.to_string(), counters(&[Counter::VlanTagsTooMany])),
        ("VLAN tags followed", TAGS_MAX.to_string(), counters(&[Counter::DropVlanDepth])),
        (
            "extension headers of IPv6",
            EXTENSIONS_MAX.to_string(),
            counters(&[Counter::DropIpv6Extension, Counter::ExtensionsTooMany]),
        ),
        (
            "labels of MPLS",
            LABELS_MAX.to_string(),
            format!(
                "{}; in a datagram, where labels are known by what is under them, by nothing: it stays a datagram",
                counters(&[Counter::DropLabelDepth])
            ),
        ),
        ("routes in a header of GRE", ROUTES_MAX.to_string(), counters(&[Counter::TunnelHeader])),
        ("extension headers of GTP-U", GTP_EXTENSIONS_MAX.to_string(), counters(&[Counter::TunnelHeader])),
        (
            "events about single packets, of one kind from one source and of a queue, a second",
            format!("{PER_SOURCE}, {PER_SECOND}"),
            counters(&[Counter::AnomaliesSuppressed]),
        ),
        (
            "neighbours told, a queue and second",
            NEIGHBOURS_PER_SECOND.to_string(),
            counters(&[Counter::NeighboursSuppressed]),
        ),
        (
            "neighbours remembered, a queue",
            NEIGHBOURS.to_string(),
            "nothing: one more is told again although it was told lately".to_owned(),
        ),
        ("bytes of a frame handed to the queue of its flow", SNAP_BYTES.to_string(), counters(&[Counter::InspectCut])),
        (
            "restarts of a queue that failed, within a minute",
            RESTARTS_MAX.to_string(),
            format!("{}; beyond that the queue ends, and the log says so", counters(&[Counter::QueueRestarts])),
        ),
    ]
}

fn fragments() -> Vec<Row> {
    let (defrag, first) = (DefragSettings::default(), FragmentSettings::default());
    let (evicted, seconds) = (counters(&[Counter::DatagramsEvicted]), |ns: u64| format!("{} s", ns / 1_000_000_000));
    vec![
        ("datagrams put together at once, a queue", defrag.datagrams.to_string(), evicted.clone()),
        (
            "those among them that are longer",
            format!("{} of more than {SMALL_BYTES_OF_DATAGRAMS} bytes", Defragmenter::large(defrag)),
            evicted.clone(),
        ),
        ("those of one source", format!("1/{DATAGRAMS_SHARE}"), evicted),
        ("fragments of a datagram", FRAGMENTS_MAX.to_string(), counters(&[Counter::FragmentTooMany])),
        ("time for a datagram", seconds(defrag.timeout_ns), counters(&[Counter::DatagramsIncomplete])),
        (
            "datagrams whose ports later fragments find, a queue",
            format!("{}, for {}", first.capacity, seconds(first.timeout_ns)),
            counters(&[Counter::DropFragmentUnknown]),
        ),
    ]
}

fn flows() -> Vec<Row> {
    let engine = EngineSettings::default();
    vec![
        (
            "flows, a queue",
            engine.flow.capacity.to_string(),
            counters(&[Counter::FlowsEvictedHalfOpen, Counter::FlowsEvictedEstablished, Counter::DropFlowTableFull]),
        ),
        (
            "flows in tunnels whose outer addresses are remembered, a queue",
            format!("1/{FLOWS_PER_OUTER} of all"),
            counters(&[Counter::TunnelOutersEvicted]),
        ),
        ("flows whose shape is kept, a queue", engine.shapes.to_string(), counters(&[Counter::InspectShapesFull])),
        (
            "packets with payload, records a side and bytes of a side's first payload in a shape",
            format!("{PACKETS}, {RECORDS}, {HEAD_BYTES}"),
            "nothing: a shape is that of a flow's beginning".to_owned(),
        ),
        ("entities counted by detectors, a queue", engine.windows.to_string(), counters(&[Counter::WindowsEvicted])),
        (
            "living flows of an answer of `/v1/flows`, all its pages together",
            LIVING_KEPT.to_string(),
            "`living` in the answer: `listed` less than `matched`".to_owned(),
        ),
        ("largest flows shown, a queue", ELEPHANTS.to_string(), "nothing: the largest of them are shown".to_owned()),
    ]
}

fn inspection() -> Vec<Row> {
    let settings = Settings::default();
    let rate = |Rate { burst, per_second }, of: &str| {
        format!("{burst}, {per_second} (`inspect.{of}_events_burst`, `{of}_events_per_second`)")
    };
    vec![
        ("flows inspected at once, a queue", settings.flows.to_string(), counters(&[Counter::InspectFlowsFull])),
        (
            "headers of the PROXY protocol told of a connection",
            format!("{HEADERS_MAX}, of {HEADER_MAX} bytes; of longer ones the addresses"),
            format!("the anomalies `{}`, `{}`", TOO_MANY.name, TOO_LONG.name),
        ),
        (
            "sides of connections that hold bytes, a queue",
            format!(
                "{} of {SMALL_BYTES} bytes, {} of {BUFFER_BYTES}",
                settings.buffers as usize * SMALL_PER_LARGE,
                settings.buffers
            ),
            counters(&[Counter::InspectBuffersFull]),
        ),
        (
            "flows with facts of an event to come, a queue",
            settings.facts.to_string(),
            format!("{}, `truncated` in the event", counters(&[Counter::InspectFactsFull])),
        ),
        (
            "hellos of QUIC and DTLS in several datagrams, a queue",
            format!("{SCRATCHES} of {SCRATCH_BYTES} bytes"),
            counters(&[Counter::InspectScratchesFull]),
        ),
        (
            "what one source has of these four where there is not enough",
            format!("1/{SOURCE_SHARE}"),
            "the same: it gives way to itself".to_owned(),
        ),
        (
            "connections read on the same ports at once, where handshakes with other numbers came on a live one",
            "2".to_owned(),
            counters(&[Counter::InspectContested]),
        ),
        (
            "senders of datagrams whose right checksums are remembered, those of IPv4 and of UDP counted apart, a queue",
            SENDERS.to_string(),
            "nothing: who is forgotten is believed until a sum is right again".to_owned(),
        ),
        (
            "data of SYNs that nobody has answered, a queue",
            format!("{SYNS} of {SYN_BYTES} bytes"),
            counters(&[Counter::InspectBuffersFull]),
        ),
        (
            "connections of HTTP/2 with tables and requests that wait, a queue",
            format!("{CONNECTIONS} of {CONNECTION_BYTES} bytes"),
            format!("{}, `truncated` in the events", counters(&[Counter::InspectConnectionsFull])),
        ),
        (
            "blocks of these requests, a queue",
            format!("{BLOCKS} of {BLOCK_BYTES} bytes"),
            format!("{}, `truncated` in the event", counters(&[Counter::InspectFactsFull])),
        ),
        (
            "what one source has of these two where there is not enough",
            format!("1/{SOURCE_SHARE}"),
            "the same: it gives way to itself".to_owned(),
        ),
        (
            "texts that later messages refer to, of shares and files, a queue",
            format!("{REMEMBERED} of {TEXT_MAX} bytes"),
            counters(&[Counter::InspectLimitReached]),
        ),
        (
            "events and anomalies of a flow at once, and a second",
            rate(settings.rates.of_flow, "flow"),
            "what goes beyond is told as far as its source may have told more".to_owned(),
        ),
        (
            "those beyond that of all flows of one source at once, and a second, of a queue",
            rate(settings.rates.of_source, "source"),
            format!("{}; with the flow in `ml.unread`", counters(&[Counter::InspectEventsSuppressed])),
        ),
        (
            "bytes of a side in which a stream tells what it is",
            IDENTIFY_BYTES.to_string(),
            counters(&[Counter::InspectUnknown]),
        ),
        (
            "datagrams of which nothing is told, that are looked at",
            format!("{ANEW_MAX}; {AGAIN_MAX} for the protocol of their port"),
            counters(&[Counter::InspectUnknown]),
        ),
        (
            "datagrams of a flow that may be something and is nothing for sure",
            IDENTIFY_DATAGRAMS.to_string(),
            counters(&[Counter::InspectUnknown]),
        ),
        (
            "datagrams of a side that are none of the flow's protocol, or behind its last, that are looked at for others",
            OTHERS_LOOKED.to_string(),
            "nothing: the flow stays what it is".into(),
        ),
        (
            "a unit (record, message, line) of a stream",
            format!("{UNIT_MAX} bytes"),
            counters(&[Counter::InspectUnitTooLong]),
        ),
        ("one side of a connection", format!("{} bytes", settings.depth), counters(&[Counter::InspectDepthReached])),
        (
            "of it beside, what is only looked through for its end (mails of SMTP and POP3), or lost",
            format!("{LOOKED_MAX} bytes, of which what is passed over by its length takes {SKIPPED_COUNTS} a unit"),
            counters(&[Counter::InspectDepthReached]),
        ),
        ("how far ahead of a hole is held", format!("{BUFFER_BYTES} bytes"), counters(&[Counter::InspectBeyondBuffer])),
        (
            "bytes too far ahead of a hole, in a row, until it is given up without acknowledgement",
            RUN_MAX.to_string(),
            counters(&[Counter::InspectHoles]),
        ),
        (
            "a hole that is believed to have been sent",
            format!("{IN_FLIGHT_MAX} bytes"),
            counters(&[Counter::InspectGapBytesUnlikely]),
        ),
        (
            "how far from what is expected a segment is taken",
            format!("{WINDOW_MAX} bytes"),
            counters(&[Counter::InspectRefused]),
        ),
        (
            "segments of a side that are compared when they come again, once they are not held any more",
            format!("{SEGMENTS}, {LONGEST} bytes each"),
            "nothing: an older one that comes again is counted as a duplicate, whatever it says".to_owned(),
        ),
        ("facts of an event", format!("{FACTS_BYTES} bytes"), "`truncated` in the event".to_owned()),
    ]
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
