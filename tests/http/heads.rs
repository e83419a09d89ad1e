//! What is refused before there is a request: raw bytes in, RFC 9457 problems out, in their place among other answers.

use super::{Bed, is_problem};
use std::time::Duration;

/// A request that is answered 200.
const GOOD: &str = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Bytes on a new connection; their answer is a problem and the last one.
fn refused(bed: &Bed, bytes: &[u8], status: u16, slug: &str) -> String {
    let mut client = bed.client();
    client.raw(bytes);
    let answer = client.read(false).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(bytes)));
    is_problem(&answer, status, slug);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(client.line(), None, "closed after the problem");
    answer.json()["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_malformed_head_is_a_problem_that_says_what_is_wrong() {
    let bed = Bed::new();
    for (bytes, word) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "TLS"),
        (b"\x00\x01\x02\x03\r\n\r\n", "method"),
        (b"GET\r\n\r\n", "method"),
        (b"GET /a\x01b HTTP/1.1\r\nhost: localhost\r\n\r\n", "path"),
        (b"GET /%% HTTP/1.1\r\nhost: [\r\n\r\n", "Host"),
        (b"GET http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n", "target"),
        (b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n", "header name"),
        (b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n", "header value"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n folded: x\r\n\r\n", "header name"),
        (b"POST /v1/workers HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n", "Content-Length"),
        (
            b"POST /v1/workers HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
            "Content-Length",
        ),
    ] {
        if word == "Host" {
            // Well formed, but names nobody: an ordinary request with an ordinary problem.
            let mut client = bed.client();
            client.raw(bytes);
            is_problem(&client.read(false).unwrap(), 421, "misdirected-request");
            continue;
        }
        let detail = refused(&bed, bytes, 400, "bad-request");
        assert!(detail.contains(word), "{:?}: {detail}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(bed.client().get("/health/live").status, 200);
}

#[test]
fn heads_too_long_are_414_and_431() {
    let bed = Bed::new();
    let long = |count: usize| "x".repeat(count);
    let target = |count| format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", long(count));
    // Long and within bounds: looked up, not found, and the connection lives.
    let mut client = bed.client();
    client.raw(target(8_000).as_bytes());
    is_problem(&client.read(false).unwrap(), 404, "not-found");
    assert_eq!(client.get("/health/live").status, 200);
    refused(&bed, target(8_192).as_bytes(), 414, "uri-too-long");
    refused(&bed, &target(100_000).as_bytes()[..20_000], 414, "uri-too-long");
    let field = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", long(16_384));
    refused(&bed, field.as_bytes(), 431, "head-too-large");
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(101));
    refused(&bed, many.as_bytes(), 431, "head-too-large");
}

#[test]
fn other_versions_and_chunked_bodies_are_refused_and_old_clients_served() {
    let bed = Bed::new();
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/11", "http/1.1", "FTP/1.1"] {
        refused(&bed, format!("GET / {version}\r\nhost: localhost\r\n\r\n").as_bytes(), 505, "version-not-supported");
    }
    refused(&bed, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-not-supported");
    let chunked = "HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for order in ["GET /v1/status", "POST /v1/queues/0/move"] {
        refused(&bed, format!("{order} {chunked}").as_bytes(), 411, "length-required");
    }
    let mut client = bed.client();
    client.raw(b"GET /health/live HTTP/1.0\r\nhost: localhost\r\n\r\n");
    assert_eq!((client.read(false).unwrap().status, client.line()), (200, None));
}

#[test]
fn methods_nobody_knows_are_405() {
    let bed = Bed::new();
    for method in ["BREW", "TRACE", "PROPFIND", "get", "REFUSED"] {
        let answer = bed.client().send(method, "/v1/status", &[], "");
        is_problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
    }
    let mut client = bed.client();
    client.raw(b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n");
    is_problem(&client.read(false).unwrap(), 404, "not-found");
}

#[test]
fn answers_before_a_malformed_head_come_first_whatever_the_pieces() {
    let bed = Bed::new();
    let bytes = format!(
        "{GOOD}POST /v1/queues/0/move HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 12\r\n\r\n{{\"worker\":9}}{GOOD}GET /\x07 HTTP/1.1\r\n\r\n{GOOD}"
    );
    for piece in [1, 2, 3, 7, 64, bytes.len()] {
        let mut client = bed.client();
        for piece in bytes.as_bytes().chunks(piece) {
            client.raw(piece);
        }
        assert_eq!(client.read(false).unwrap().status, 200);
        is_problem(&client.read(false).unwrap(), 404, "not-found");
        assert_eq!(client.read(false).unwrap().status, 200);
        is_problem(&client.read(false).unwrap(), 400, "bad-request");
        assert_eq!(client.line(), None, "what follows a malformed head is not read");
    }
}

#[test]
fn a_malformed_head_behind_a_long_poll_waits_its_turn() {
    let bed = Bed::new();
    let mut client = bed.client();
    client.raw(b"GET /v1/alerts?wait=60 HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HTTP/3\r\n\r\n");
    bed.add_and_wait(0..1);
    assert_eq!(client.read(false).unwrap().json()["items"].as_array().unwrap().len(), 1);
    is_problem(&client.read(false).unwrap(), 505, "version-not-supported");
}

#[test]
fn half_a_head_and_no_more_is_a_problem() {
    let bed = Bed::new();
    let mut client = bed.client();
    client.raw(b"GET /health/live HTTP/1.1\r\nhost: lo");
    client.end();
    is_problem(&client.read(false).unwrap(), 400, "bad-request");
    // An end between two requests needs no words.
    let mut client = bed.client();
    client.raw(GOOD.as_bytes());
    assert_eq!(client.read(false).unwrap().status, 200);
    client.end();
    assert_eq!(client.line(), None);
}

#[test]
fn a_slow_head_is_a_408_while_others_are_answered_and_an_idle_connection_just_ends() {
    let bed = Bed::with(|settings, _| settings.header_limit = Duration::from_millis(300));
    let mut slow: Vec<_> = (0..50).map(|_| bed.client()).collect();
    for client in &mut slow {
        client.raw(b"GET /v1/status HTTP/1.1\r\nhost: local");
    }
    let mut idle = bed.client();
    assert_eq!(idle.get("/health/live").status, 200);
    for client in &mut slow {
        let answer = client.read(false).unwrap();
        is_problem(&answer, 408, "request-timeout");
        assert_eq!((answer.header("connection"), client.line()), (Some("close"), None));
    }
    assert_eq!(idle.line(), None);
    let metrics = bed.client().get("/metrics");
    // The idle one is no fault of anybody.
    assert!(metrics.text().contains("\nshrike_http_cut_total 50\n"), "{}", metrics.text());
    assert!(metrics.text().contains("\nshrike_http_requests_total{class=\"4xx\"} 50\n"), "{}", metrics.text());
}

#[test]
fn bad_values_and_unknown_names_are_problems() {
    let bed = Bed::new();
    let mut client = bed.client();
    for (query, slug) in [
        ("after=zzz", "bad-cursor"),
        ("after=%00", "bad-cursor"),
        ("limit=-1", "bad-request"),
        ("limit=99999999999999999999", "bad-request"),
        ("severity=0", "bad-request"),
        ("severity=high", "bad-request"),
        ("wait=61", "bad-request"),
        ("wait=1h", "bad-request"),
        ("detector=nmap", "bad-request"),
        ("since=yesterday", "bad-request"),
        ("%ff=1", "bad-request"),
    ] {
        is_problem(&client.get(&format!("/v1/alerts?{query}")), 400, slug);
    }
    is_problem(&client.get("/v1/alerts/stream?limit=1"), 400, "bad-request");
    is_problem(&client.send("GET", "/v1/alerts/stream", &[("last-event-id", "x")], ""), 400, "bad-cursor");
    is_problem(&client.get("/v1/alerts/none"), 404, "unknown-alert");
    is_problem(&client.get("/v1/alerts/%ff%00"), 404, "unknown-alert");
}
