//! No limit is reached in silence: the event says that it is cut, or it is named, or it is counted.
//!
//! Of every row of the table that says so there is a case here: an input that stays within the limit, of which nothing is
//! told, and one that goes beyond it, of which the row's own telling is. A row that another test reaches names that test.

#[path = "limits_tests/binary.rs"]
mod binary;
#[path = "limits_tests/datagrams.rs"]
mod datagrams;
#[path = "limits_tests/text.rs"]
mod text;

use super::super::hostile::stream as look;
use super::super::parse::{Parse, Record, Step, feed};
use super::super::parsers::TABLE;
use super::*;
use crate::dataplane::flow::Side::{self, Originator, Responder};

/// An input within a limit and one beyond it, as they were read.
struct Case {
    protocol: Protocol,
    of: &'static str,
    within: Record,
    beyond: Record,
}

/// `show`: reads an input of so many of what is limited; of `within` nothing must be told, of `beyond` it must.
fn case(protocol: Protocol, of: &'static str, [within, beyond]: [usize; 2], show: impl Fn(usize) -> Record) -> Case {
    Case { protocol, of, within: show(within), beyond: show(beyond) }
}

/// One more than the limit.
fn one_more(bound: impl TryInto<usize>) -> [usize; 2] {
    let bound = bound.try_into().unwrap_or(usize::MAX);
    [bound, bound + 1]
}

/// Rows that are reached in other tests, which assert what tells it: file and test.
const ELSEWHERE: &[(Protocol, &str, &str, &str)] = &[
    (
        Protocol::Socks,
        "bytes of a text of version 4",
        "socks.rs",
        "a_name_that_is_too_long_is_malformed_however_it_is_cut",
    ),
    (
        Protocol::Smb,
        "bytes of a share's path that its files are told with",
        "smb/tests.rs",
        "a_file_is_told_with_its_share",
    ),
    (Protocol::Http2, "fields of a block", "http2/tests.rs", "of_too_many_fields_the_event_is_cut"),
    (
        Protocol::Http2,
        "bytes of a block of fields with its frames",
        "http2/tests.rs",
        "a_block_goes_on_in_continuations",
    ),
    (
        Protocol::Http2,
        "entries of a table that are remembered",
        "http2/tests.rs",
        "what_a_table_does_not_have_makes_the_event_truncated",
    ),
    (
        Protocol::Http2,
        "bytes of a table's values that are remembered",
        "http2/tests.rs",
        "what_a_table_does_not_have_makes_the_event_truncated",
    ),
    (
        Protocol::Http2,
        "requests of a connection that wait for their answers",
        "http2/tests.rs",
        "of_too_many_requests_that_wait_the_oldest_gives_way",
    ),
    (Protocol::Quic, "Initial packets of a client", "quic/tests.rs", "bombs_stay_within_bounds"),
    (Protocol::Quic, "packets of a datagram", "quic/tests.rs", "bombs_stay_within_bounds"),
    (
        Protocol::Quic,
        "datagrams in which the server's hello is waited for",
        "quic/tests.rs",
        "bombs_stay_within_bounds",
    ),
    (Protocol::Quic, "bytes of an Initial packet", "quic/tests.rs", "packets_of_nothing_hide_no_hello"),
    (
        Protocol::Smtp,
        "bytes of an address of a mail that begins before the reply to the one before",
        "smtp/tests.rs",
        "of_the_next_mail_it_is_told_what_was_cut",
    ),
    (Protocol::Memcached, "bytes of a line", "memcached.rs", "a_line_that_is_too_long_is_malformed_however_it_is_cut"),
    (Protocol::Proxied, "bytes of a header", "proxied.rs", "binary_says_it_with_extensions"),
    (
        Protocol::Proxied,
        "headers in front of one another",
        "inspector/tests/proxies.rs",
        "headers_of_proxies_are_told_so_often_and_no_more",
    ),
];

#[test]
fn every_protocol_has_an_entry_and_its_anomalies_are_its_own() {
    for (protocol, _, anomalies) in TABLE {
        let limits = limits_of(*protocol).unwrap_or_else(|| panic!("{} has no entry in LIMITS", protocol.name()));
        for limit in limits {
            assert!(limit.bound > 0, "{}: {}", protocol.name(), limit.of);
            if let Told::Anomaly(anomaly) = limit.told {
                assert!(anomalies.contains(&anomaly), "{}: {}", protocol.name(), anomaly.name);
            }
        }
    }
    assert_eq!(LIMITS.len(), TABLE.len());
}

/// Of a row that nothing tells the row itself has the reason.
#[test]
fn every_limit_has_a_case() {
    let cases: Vec<Case> = cases();
    let named = |protocol: Protocol, of: &str| {
        let here = cases.iter().filter(|case| (case.protocol, case.of) == (protocol, of)).count();
        here + ELSEWHERE.iter().filter(|one| (one.0, one.1) == (protocol, of)).count()
    };
    for (protocol, limits) in LIMITS {
        for limit in *limits {
            let wanted = usize::from(!matches!(limit.told, Told::Nothing(_)));
            assert_eq!(named(*protocol, limit.of), wanted, "{}: {}", protocol.name(), limit.of);
        }
    }
    let rows =
        |protocol: Protocol, of: &str| limits_of(protocol).is_some_and(|rows| rows.iter().any(|row| row.of == of));
    for (protocol, of, file, test) in ELSEWHERE {
        assert!(rows(*protocol, of), "{}: {of}", protocol.name());
        let path = format!("{}/src/dataplane/inspect/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("fn {test}()")), "{file} has no {test}");
    }
    for case in &cases {
        assert!(rows(case.protocol, case.of), "{}: {}", case.protocol.name(), case.of);
    }
}

#[test]
fn what_is_beyond_a_limit_is_told_as_its_row_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let row = limits_of(case.protocol).unwrap().iter().find(|row| row.of == case.of).unwrap();
        let told = |out: &Record| match row.told {
            Told::Anomaly(anomaly) => out.anomalies.contains(&anomaly.name),
            Told::Truncated => out.events.iter().any(|event| event.is_truncated()),
            Told::Counted => out.limits > 0,
            Told::Nothing(_) => false,
        };
        if told(&case.within) || !told(&case.beyond) {
            let seen = |out: &Record| {
                let cut = out.events.iter().filter(|event| event.is_truncated()).count();
                format!("{} events, {cut} cut, {} counted, {:?}", out.events.len(), out.limits, out.anomalies)
            };
            wrong.push(format!(
                "{}, {}: within {}; beyond {}",
                case.protocol.name(),
                case.of,
                seen(&case.within),
                seen(&case.beyond)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn cases() -> Vec<Case> {
    [text::cases(), binary::cases(), datagrams::cases()].into_iter().flatten().collect()
}

/// What a parser says to a conversation of streams.
fn said<P: Parse>(mut parser: P, turns: &[(Side, &[u8])]) -> Record {
    let mut out = Record::default();
    for (side, bytes) in turns {
        if let Step::Broken(anomaly) = feed(&mut parser, *side, bytes, bytes.len().max(1), &mut out) {
            out.anomalies.push(anomaly.name);
            break;
        }
    }
    parser.end(&mut out);
    out
}

/// What a fresh parser says to a stream of the client's, or the server's.
fn stream<P: Parse>(side: Side, bytes: &[u8]) -> Record {
    said(P::default(), &[(side, bytes)])
}

/// As [`stream`], of a parser that reads datagrams unless it is told of a stream.
fn begun<P: Parse>(bytes: &[u8]) -> Record {
    let mut parser = P::default();
    parser.begin(&look(bytes, [40_000, 9]));
    said(parser, &[(Originator, bytes)])
}

/// What a fresh parser says to datagrams of the client's.
fn datagrams<P: Parse>(all: &[&[u8]]) -> Record {
    let (mut parser, mut out) = (P::default(), Record::default());
    for bytes in all {
        match parser.step(Originator, bytes, &mut out) {
            Step::Took(_) | Step::Pass(_) | Step::Need(_) | Step::Skip(_) => {}
            Step::Done => break,
            Step::Broken(anomaly) => {
                out.anomalies.push(anomaly.name);
                break;
            }
        }
    }
    parser.end(&mut out);
    out
}

/// Text of so many letters.
fn letters(count: usize) -> Vec<u8> {
    vec![b'x'; count]
}
