//! Attacks on web servers, and what only looks like them.

use super::super::tests::{Wire, host, outside};
use super::*;
use crate::dataplane::inspect::{Protocol, http, http2};

fn found(wire: &Wire) -> Vec<(String, u8)> {
    let ours = wire.evidence().into_iter().filter(|one| one.detector == Detector::WebAttack);
    ours.map(|one| (one.kind, one.severity)).collect()
}

fn request(wire: &mut Wire, at_ms: u64, path: &str, status: u64, agent: &str) {
    linked(wire, at_ms, (path, ""), status, agent);
}

/// A path that a page named.
fn linked(wire: &mut Wire, at_ms: u64, (path, referer): (&str, &str), status: u64, agent: &str) {
    let ends = (outside(1), host(80), 80);
    wire.event(at_ms * SECOND / 1000, ends, (Protocol::Http, 6), |facts| {
        facts.put(http::METHOD, b"GET");
        facts.put(http::HOSTNAME, b"shop.example");
        facts.put(http::URL, path.as_bytes());
        facts.put(http::USER_AGENT, agent.as_bytes());
        if !referer.is_empty() {
            facts.put(http::REFERER, referer.as_bytes());
        }
        facts.put_number(http::STATUS, status);
    });
}

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0";

#[test]
fn attacks_are_told_once_and_again_at_four_times_as_much() {
    let mut wire = Wire::default();
    for turn in 0..15_u64 {
        request(&mut wire, turn * 900, &format!("/item?id={turn}'+or+'1'='1"), 200, BROWSER);
    }
    assert_eq!(found(&wire), [("injection".to_owned(), 2), ("injection".to_owned(), 2)]);
    let all = wire.evidence();
    assert!(all[0].summary.contains("SQL") && all[0].summary.contains("or+'1'='1"), "{}", all[0].summary);
    assert_eq!(all[0].technique.as_deref(), Some("T1190"));

    // Without doubt: at once, and again when they are three.
    let mut wire = Wire::default();
    (0..3).for_each(|turn| request(&mut wire, turn * 900, &format!("/?page={turn}/../../../etc/passwd"), 404, BROWSER));
    assert_eq!(found(&wire), [("injection".to_owned(), 3), ("injection".to_owned(), 2)]);

    let mut wire = Wire::default();
    (0..40).for_each(|turn| request(&mut wire, turn * 100, &format!("/admin{turn}.php"), 404, BROWSER));
    assert_eq!(found(&wire), [("path_guessing".to_owned(), 2)]);
    // One every twenty seconds.
    let mut wire = Wire::default();
    (0..120).for_each(|turn| request(&mut wire, turn * 20_000, &format!("/admin{turn}.php"), 403, BROWSER));
    assert_eq!(found(&wire), [("path_guessing".to_owned(), 2)]);

    let mut wire = Wire::default();
    (0..5).for_each(|turn| request(&mut wire, turn * 100, "/", 200, "WhatWeb/0.5.5"));
    assert_eq!(found(&wire), [("web_scanner".to_owned(), 3)]);
}

#[test]
fn http_2_is_read_as_well() {
    let mut wire = Wire::default();
    for turn in 0..40_u64 {
        let ends = (outside(1), host(80), 80);
        wire.event(turn * SECOND / 10, ends, (Protocol::Http2, 6), |facts| {
            facts.put(http2::PATH, format!("/old/{}", word(turn)).as_bytes());
            facts.put_number(http2::STATUS, 404);
        });
    }
    assert_eq!(found(&wire), [("path_guessing".to_owned(), 2)]);
}

#[test]
fn honest_clients_are_quiet() {
    for (what, paths) in [
        ("a health check that fails", (0..300).map(|_| ("/health".to_owned(), 503)).collect::<Vec<_>>()),
        (
            "a page with dead links",
            (0..300).map(|at| (format!("/p{at}"), if at % 5 == 0 { 404 } else { 200 })).collect(),
        ),
        ("a client without its login", (0..300).map(|at| (format!("/api/{}", at % 9), 401)).collect()),
        ("a crawler of a good site", (0..500).map(|at| (format!("/p{at}"), 200)).collect()),
        ("what has not changed", (0..500).map(|at| (format!("/p{at}.js"), 304)).collect()),
        ("two searches", (0..2).map(|at| (format!("/q?t={at}'+or+1=1"), 200)).collect()),
        ("one search again and again", (0..50).map(|_| ("/q?t=1'+or+1=1".to_owned(), 200)).collect()),
    ] {
        let mut wire = Wire::default();
        for (turn, (path, status)) in paths.iter().enumerate() {
            request(&mut wire, turn as u64 * 150, path, *status, BROWSER);
        }
        assert_eq!(found(&wire), [], "{what}");
    }
}

/// Words as lists for guessing have them.
fn word(number: u64) -> String {
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..4 + number % 5)
        .map(|_| {
            rest = rest.rotate_left(9).wrapping_mul(31);
            char::from(b'a' + (rest >> 40) as u8 % 26)
        })
        .collect()
}

/// What a page names is not guessed.
#[test]
fn broken_pages_crawlers_and_moved_sites_are_quiet() {
    type Page = fn(u64) -> (String, String, u64);
    let cases: [(&str, u64, Page); 7] = [
        ("missing images, with a referer", 150, |at| {
            (format!("/img/{}.png", word(at)), "http://shop.example/list".into(), if at % 12 == 0 { 200 } else { 404 })
        }),
        ("missing images in one directory, without one", 200, |at| {
            (format!("/media/{}.jpg", word(at)), String::new(), 404)
        }),
        ("dead links of a page", 80, |at| (format!("/{}", word(at)), "http://shop.example/links".into(), 404)),
        ("old titles of a site that moved", 400, |at| {
            (format!("/2019/{}-{}-{}", word(at), word(at + 1), word(at + 2)), String::new(), 404)
        }),
        ("old numbers of a site that moved", 400, |at| (format!("/article/{at}.html"), String::new(), 410)),
        ("symbols for a debugger", 400, |at| {
            (format!("/buildid/{:016x}{at:016x}/debuginfo", at * 0x9e37_79b9), String::new(), 404)
        }),
        ("a crawler of a site of which a part is gone", 120, |at| match at {
            0 => ("/robots.txt".into(), String::new(), 200),
            _ => (format!("/{}/{}", word(at % 7), word(at)), String::new(), 404),
        }),
    ];
    for (what, count, page) in cases {
        let mut wire = Wire::default();
        for turn in 0..count {
            let (path, referer, status) = page(turn);
            linked(&mut wire, turn * 500, (&path, &referer), status, BROWSER);
        }
        assert_eq!(found(&wire), [], "{what}");
    }
}

#[test]
fn guesses_are_found_at_any_pace_and_with_any_referer() {
    type Guess = fn(u64) -> (String, &'static str);
    let cases: [(&str, u64, u64, Guess); 5] = [
        ("words", 40, 100, |at| (format!("/{}", word(at)), "")),
        ("words with endings, below a directory", 40, 1000, |at| {
            (format!("/app/{}.{}", word(at), ["php", "bak", "zip", "html"][at as usize % 4]), "")
        }),
        ("one a half minute", 160, 30_000, |at| (format!("/{}", word(at)), "")),
        ("one in four minutes", 350, 240_000, |at| (format!("/{}", word(at)), "")),
        ("with a referer", 1500, 50, |at| (format!("/{}", word(at)), "http://shop.example/")),
    ];
    for (what, count, pause, guess) in cases {
        let mut wire = Wire::default();
        for turn in 0..count {
            let (path, referer) = guess(turn);
            // Some are there.
            let status = if turn % 12 == 11 { 200 } else { [404, 403][turn as usize % 2] };
            linked(&mut wire, turn * pause, (&path, referer), status, BROWSER);
        }
        let found = found(&wire);
        assert_eq!(found.first(), Some(&("path_guessing".to_owned(), 2)), "{what}");
        assert!(found.len() <= 2, "{what}: {found:?}");
    }
}

/// What inspection says of a body or a cookie.
#[test]
fn injections_in_bodies_and_cookies_are_told() {
    let wire = |count: u64, hashes: u64, is_sure: bool| {
        let mut wire = Wire::default();
        for turn in 0..count {
            wire.event(turn * SECOND, (outside(1), host(80), 80), (Protocol::Http, 6), |facts| {
                facts.put(http::METHOD, b"POST");
                facts.put(http::URL, b"/login");
                facts.put_number(http::STATUS, 200);
                facts.put(http::INJECTION, b"body");
                if is_sure {
                    facts.put_number(http::INJECTION_SURE, 1);
                }
                facts.put_number(http::INJECTION_HASH, turn % hashes);
            });
        }
        wire
    };
    let told = wire(4, 4, false);
    assert_eq!(found(&told), [("injection".to_owned(), 2)]);
    assert!(told.evidence()[0].summary.contains("/login with SQL in its body"), "{}", told.evidence()[0].summary);
    assert_eq!(found(&wire(1, 1, true)), [("injection".to_owned(), 3)]);
    assert_eq!(found(&wire(9, 1, false)), [], "one form again and again");
}
