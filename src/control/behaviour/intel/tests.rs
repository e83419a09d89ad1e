//! Feeds in each format, what is met of them, and what happens when a file changes.

use super::super::tests::{START, Wire, host, outside};
use super::*;
use crate::control::behaviour::Behaviour;
use crate::control::hosts;
use crate::control::inventory::network::home;
use crate::dataplane::inspect::{Facts, Protocol, http, tls};
use proptest::prelude::*;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn plan(path: &Path) -> FeedPlan {
    let (name, path) = ("list".into(), path.into());
    FeedPlan { name, path, format: Format::Auto, percent: 80, valid_days: None, stale_hours: None }
}

/// A file of this text, read.
fn read(text: &str, limit: usize) -> Result<feed::Loaded, FeedError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("list.txt");
    std::fs::write(&path, text).expect("a writable folder");
    feed::read(&plan(&path), limit)
}

/// Detectors that look things up in a feed of this text.
fn behaviour(text: &str) -> Behaviour {
    let table = read(text, 1000).expect(text).table;
    let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
    behaviour.look_up_in(Arc::new(ArcSwap::from_pointee(Tables::new(vec![Arc::new(table)]))));
    behaviour
}

fn told(wire: &Wire, text: &str) -> Vec<(String, u8)> {
    let found = wire.show(&mut behaviour(text));
    found.iter().map(|one| (format!("{}/{}", one.detector.name(), one.kind), one.severity)).collect()
}

#[test]
fn every_format_is_read_and_what_is_none_is_counted() {
    let zeek = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n\
                192.0.2.1\tIntel::ADDR\tx\tbad\n192.0.2.0/24\tIntel::SUBNET\tx\t-\nbad.example\tIntel::DOMAIN\tx\tbad\n\
                bad.example/a\tIntel::URL\tx\t-\nE7D705A3286E19EA42F587B344EE6865\tIntel::JA3\tx\t-\n\
                a@b.example\tIntel::EMAIL\tx\t-\n";
    let stix = r#"{"type":"bundle","objects":[
        {"type":"identity"},
        {"type":"indicator","pattern":"[ipv4-addr:value = '192.0.2.1']","confidence":30,"valid_until":"2027-01-01T00:00:00Z"},
        {"type":"indicator","pattern":"[domain-name:value = 'a.example'] OR [url:value = 'http://b.example/x']"},
        {"type":"indicator","revoked":true,"pattern":"[ipv4-addr:value = '192.0.2.2']"},
        {"type":"indicator","pattern":"[a:b = 'c' AND d:e = 'f']"}]}"#;
    let misp = r#"{"Event":{"info":"a campaign","Attribute":[
        {"type":"ip-dst","to_ids":true,"value":"192.0.2.1"},
        {"type":"ip-dst|port","to_ids":true,"value":"192.0.2.2|443"},
        {"type":"domain|ip","to_ids":true,"value":"a.example|192.0.2.3"},
        {"type":"url","to_ids":false,"value":"http://b.example/"},
        {"type":"sha256","to_ids":true,"value":"aa"}],
        "Object":[{"Attribute":[{"type":"hostname","to_ids":true,"value":"c.example"}]}]}}"#;
    for (text, wanted) in [
        ("# bad ones\n192.0.2.1\n\n192.0.2.0/24 # net\nbad.example\nhttp://bad.example/a,b\n", (4, 0, 0)),
        ("127.0.0.1 localhost\n0.0.0.0 bad.example\n0.0.0.0 worse.example\n", (2, 1, 0)),
        ("192.0.2.1,3,127\n192.0.2.2,3,0\n2001:db8::1,1,20\n", (2, 1, 0)),
        ("bad.example,5\n192.0.2.1,7\n", (2, 0, 0)),
        ("\u{feff}192.0.2.1\r\n192.0.2.2\r\n", (2, 0, 0)),
        (zeek, (5, 1, 0)),
        (stix, (3, 1, 0)),
        (misp, (5, 1, 0)),
        (&("192.0.2.1\n".repeat(20) + "what is this\n"), (20, 0, 1)),
        (&"ab".repeat(32), (0, 1, 0)),
    ] {
        let loaded = read(text, 1000).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((loaded.table.count(), loaded.unseen, loaded.unknown), wanted, "{text}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("list.lst");
    std::fs::write(&path, "YmFkLmV4YW1wbGU=\naHR0cDovL2JhZC5leGFtcGxlLw==,3\n").expect("a writable folder");
    let of = FeedPlan { format: Format::Base64, ..plan(&path) };
    assert_eq!(feed::read(&of, 10).expect("two of them").table.count(), 2);
}

#[test]
fn what_is_no_feed_is_refused_with_its_place() {
    for (text, says) in [
        ("", "has no indicator: was its download cut short?"),
        ("# nothing\n", "has no indicator"),
        ("<html>\n<body>\n192.0.2.1\n", ":1: \"<html>\" is no indicator, nor are 1 others of 3"),
        ("192.0.2.1\n192.0.2.2\n192.0.2.3\n", "has more than 2 indicators; raise detect.intel.indicators"),
        ("#fields\tindicator\n192.0.2.1\n", ":1: has no columns indicator and indicator_type"),
        ("{\"objects\": [", "is no JSON"),
        ("{\"a\": 1}", "is neither a bundle of STIX (objects) nor an event of MISP (Event)"),
    ] {
        let error = read(text, 2).err().unwrap_or_else(|| panic!("{text}")).to_string();
        assert!(error.starts_with("feed list: ") && error.contains(says), "{error}");
    }
    let binary = read("192.0.2.1\n", 2).map(|_| ()).and_then(|()| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        std::fs::write(&path, b"192.0.2.1\n\xff\xfe\n").expect("a writable folder");
        feed::read(&plan(&path), 2).map(|_| ())
    });
    assert!(binary.expect_err("no text").to_string().contains(":2: is no text in UTF-8"));
    let missing = feed::read(&plan(Path::new("/nonexistent/list.txt")), 2).map(|_| ()).expect_err("no file");
    assert!(missing.to_string().contains("No such file"), "{missing}");
}

#[test]
fn hosts_that_meet_what_is_listed_are_told_as_severely_as_it_says() {
    let hello = |put: fn(&mut Facts)| {
        let mut wire = Wire::default();
        wire.event(SECOND, (host(1), outside(1), 443), (Protocol::Tls, 6), put);
        wire
    };
    let name = hello(|facts| facts.put(tls::HELLO.sni, b"www.Bad.example"));
    let certificate = hello(|facts| facts.put(tls::SERVER_CERTIFICATE.fingerprint, &[0xab; 20]));
    let ja3 = hello(|facts| {
        facts.put_number(tls::HELLO.client_version, 0x303);
        facts.put(tls::HELLO.ciphers, &[0x13, 0x01]);
    });
    let ja3_text = crate::dataplane::inspect::tls::fingerprint::md5_hex("771,4865,,,");
    let mut asked = Wire::default();
    asked.dns(SECOND, host(1), "www.bad.example", 1, (0, 4));
    let mut visited = Wire::default();
    visited.event(SECOND, (host(1), outside(1), 8080), (Protocol::Http, 6), |facts| {
        facts.put(http::HOSTNAME, b"Bad.example");
        facts.put_number(http::PORT, 8080);
        facts.put(http::URL, b"/a?b");
    });
    let flow = |ends: (u32, u32, u16), bytes: u64| {
        let mut wire = Wire::default();
        wire.flow(SECOND, ends, [bytes, 1000], (SECOND, SECOND));
        wire
    };
    let out = |bytes| flow((host(1), outside(1), 443), bytes);
    for (what, wire, feed, wanted) in [
        ("a name visited", &name, "*.bad.example", vec![("domain", 1)]),
        ("another name", &name, "bad.example", vec![]),
        ("a certificate", &certificate, &*"ab".repeat(20), vec![("certificate", 1)]),
        ("a client", &ja3, &*ja3_text, vec![("ja3", 3)]),
        ("a name asked for", &asked, "www.bad.example", vec![("domain", 2)]),
        ("a URL", &visited, "http://bad.example:8080/a?b", vec![("url", 1)]),
        ("a name in HTTP", &visited, "bad.example", vec![("domain", 1)]),
        ("another URL", &visited, "http://bad.example/a?b", vec![]),
        ("an address", &out(1000), "203.0.0.0/24", vec![("address", 2)]),
        ("much to an address", &out(25_000_000), "203.0.0.1", vec![("address", 1)]),
        ("an unsure address", &out(1000), "203.0.0.1,1,40", vec![("address", 3)]),
        ("a port of an address", &out(1000), "203.0.0.1:443", vec![("address", 2)]),
        ("another port", &out(1000), "203.0.0.1:80", vec![]),
        ("from an address", &flow((outside(1), host(1), 443), 1000), "203.0.0.1", vec![("address", 3)]),
        ("another address", &out(1000), "203.0.1.1", vec![]),
    ] {
        let wanted: Vec<_> =
            wanted.into_iter().map(|(kind, level)| (format!("threat_intelligence/{kind}"), level)).collect();
        let found: Vec<_> = told(wire, feed).into_iter().filter(|(kind, _)| kind.starts_with("threat")).collect();
        assert_eq!(found, wanted, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a file has, it is read or refused; and what is read is within its bounds.
    #[test]
    fn no_file_is_too_odd(
        lines in proptest::collection::vec("[ -~\\t]{0,60}|([0-9]{1,3}\\.){3}[0-9]{1,3}(/[0-9]{1,2})?|[*.]?[a-z]{1,5}\\.[a-z]{2}", 0..40),
        head in "|#fields\tindicator\tindicator_type\n|\\{\"objects\": \\[|\\{\"Event\": ",
        limit in 1_usize..50,
    ) {
        match read(&format!("{head}{}", lines.join("\n")), limit) {
            Ok(loaded) => prop_assert!(loaded.table.count() <= limit && loaded.table.count() + loaded.unseen > 0),
            Err(error) => prop_assert!(error.to_string().starts_with("feed list: ")),
        }
    }
}

/// Told at first, when much has gone over, and after a day; not each time.
#[test]
fn what_is_met_again_and_again_is_told_when_it_changes() {
    let mut wire = Wire::default();
    (0..100).for_each(|number| {
        wire.flow(number * 60 * SECOND, (host(1), outside(1), 443), [300_000, 1000], (SECOND, SECOND));
    });
    wire.flow(30 * 3600 * SECOND, (host(1), outside(1), 443), [10, 10], (SECOND, SECOND));
    let levels: Vec<u8> = told(&wire, "203.0.0.1").into_iter().map(|(_, level)| level).collect();
    assert_eq!(levels, [2, 1, 1]);
    let found = wire.show(&mut behaviour("203.0.0.1"));
    assert_eq!(found[0].summary, "10.0.0.1 connected to 203.0.0.1 port 443: 203.0.0.1 of feed list");
    assert!((found[0].confidence - 0.8).abs() < 1e-9 && found[0].flow.is_some());
}

#[test]
fn what_is_over_is_not_met() {
    let seconds = START / SECOND;
    let stix = |until: &str| {
        format!(
            r#"{{"objects":[{{"type":"indicator","name":"x","valid_until":"{until}","pattern":"[ipv4-addr:value = '203.0.0.1']"}}]}}"#
        )
    };
    let mut wire = Wire::default();
    wire.flow(SECOND, (host(1), outside(1), 443), [10, 10], (SECOND, SECOND));
    // The wire's time begins on 16 November 2023.
    assert_eq!(seconds, 1_700_092_800);
    assert_eq!(told(&wire, &stix("2023-11-16T00:00:00Z")).len(), 0);
    assert_eq!(told(&wire, &stix("2023-11-17T00:00:00Z")).len(), 1);
}

/// A file that changes is read when it is at rest; a broken one is named, and what was read before stays.
#[test]
fn feeds_follow_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("list.txt");
    let mut age = 0;
    let mut write = |text: &str| {
        std::fs::write(&path, text).expect("a writable folder");
        // Files of one moment and length would look alike.
        age += 1;
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + age);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(changed)).expect("ours");
    };
    write("192.0.2.1\n");
    let watched = FeedPlan { stale_hours: Some(24), ..plan(&path) };
    let mut feeds = Feeds::open(&[watched], 10).expect("a good one");
    let shared = feeds.shared();
    let is_met = |last: u8| {
        let address = 0xffff_c000_0200 + u128::from(last);
        shared.load().service(address, 80, Timestamp(0)).is_some()
    };
    let soon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_600);
    feeds.look(soon);
    assert!(is_met(1) && feeds.problems().is_empty());
    write("192.0.2.2\n");
    feeds.look(soon);
    assert!(is_met(1), "it may not be written wholly yet");
    feeds.look(soon);
    assert!(is_met(2) && !is_met(1));
    write("<html>\n");
    (0..3).for_each(|_| feeds.look(soon));
    let problems = feeds.problems();
    assert!(is_met(2) && problems.len() == 1, "{problems:?}");
    assert!(
        problems[0].contains(":1: ") && problems[0].contains("1 indicators read of it before stay"),
        "{problems:?}"
    );
    write("192.0.2.3\n");
    (0..2).for_each(|_| feeds.look(soon));
    assert!(is_met(3) && feeds.problems().is_empty());
    feeds.look(soon + Duration::from_secs(86_400));
    assert!(feeds.problems()[0].contains("has not changed for 24 hours"), "{:?}", feeds.problems());
    std::fs::remove_file(&path).expect("it is there");
    feeds.look(soon);
    assert!(is_met(3) && feeds.problems()[0].contains("No such file"), "{:?}", feeds.problems());
    assert!(Feeds::open(&[plan(&path)], 10).is_err(), "at start there is nothing to stay in force");
}

/// Printed for people: a large feed, and a look into it.
#[test]
fn what_a_feed_costs() {
    const COUNT: usize = 200_000;
    let text: String =
        (0..COUNT).map(|number| format!("10.{}.{}.{}\n", number >> 16, number >> 8 & 255, number & 255)).collect();
    let begun = std::time::Instant::now();
    let loaded = read(&text, COUNT).expect("a good one");
    println!("{COUNT} addresses read in {} ms", begun.elapsed().as_millis());
    let tables = Tables::new(vec![Arc::new(loaded.table)]);
    let begun = std::time::Instant::now();
    let met = (0..COUNT as u128).filter(|one| tables.service(0xffff_0a00_0000 + one * 2, 1, Timestamp(0)).is_some());
    assert_eq!(met.count(), COUNT / 2);
    println!("{} ns a look", begun.elapsed().as_nanos() / COUNT as u128);
}

/// A connection to a listed address may stay open for hours.
#[test]
fn a_connection_that_lives_is_told_once_and_its_bytes_at_its_end() {
    let mut behaviour = behaviour("203.0.0.1\n");
    let mut wire = Wire::default();
    wire.flow(0, (host(1), outside(1), 443), [500, 900], (3 * 3600 * SECOND, SECOND));
    wire.flow(0, (host(1), outside(2), 443), [500, 900], (3 * 3600 * SECOND, SECOND));
    let mut found = Vec::new();
    for minute in 1..=3_u64 {
        for flow in wire.flows() {
            let last_seen = Timestamp(START + minute * 60 * SECOND);
            behaviour.living(&crate::exchange::FlowSummary { last_seen, ended: None, ended_at: Timestamp(0), ..*flow });
        }
        behaviour.decide_until(Timestamp(START + (minute * 60 + 1) * SECOND), &mut found);
    }
    let of = |found: &[Evidence]| {
        found.iter().map(|one| (one.kind.clone(), one.target.map(|at| at.to_string()), one.time)).collect::<Vec<_>>()
    };
    let first = Timestamp(START + 60 * SECOND);
    assert_eq!(of(&found), [("address".to_owned(), Some("203.0.0.1".to_owned()), first)]);
}
