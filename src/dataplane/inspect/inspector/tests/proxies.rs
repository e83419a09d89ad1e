//! Headers of proxies in front of what a client says.

use super::*;

/// A proxy's header in front of what a client says, in both versions and spoilt.
fn proxied() -> [(Vec<u8>, Option<u64>); 5] {
    let binary = |kind: u8, body: &[u8]| {
        [b"\r\n\r\n\0\r\nQUIT\n", &[kind, 0x11][..], &(body.len() as u16).to_be_bytes(), body].concat()
    };
    let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 1, 187];
    let text = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n".to_vec();
    let both = [&binary(0x21, &[10, 0, 0, 9, 10, 0, 0, 8, 0, 1, 0, 2])[..], &text].concat();
    [
        (text, Some(40_000)),
        (binary(0x21, &addresses), Some(40_000)),
        (binary(0x21, &[&addresses[..], &[4; 2100]].concat()), Some(40_000)),
        (binary(0x99, &addresses), None),
        (both, Some(40_000)),
    ]
}

/// A header of a proxy is passed over, whatever is in it and whoever speaks first, and each event says whose the flow is.
#[test]
fn a_header_of_a_proxy_hides_no_client() {
    let hello = small_hello();
    for (header, port) in proxied() {
        for (words, wanted) in
            [(&hello[..], Protocol::Tls), (REQUEST, Protocol::Http), (b"SSH-2.0-x\r\n", Protocol::Ssh)]
        {
            for greeting in [None, Some(&b"220 hello ESMTP\r\n"[..]), Some(b"hi there\r\n")] {
                for cut in [1, 7, 9000] {
                    let mut talk = Talk::new(SETTINGS);
                    talk.say_all(B, greeting);
                    talk.say_all(A, [&header[..], words].concat().chunks(cut));
                    talk.say(B, ANSWER);
                    assert_eq!(talk.end(), wanted, "{header:?} {greeting:?} {cut}");
                    let events = talk.kept.of(wanted);
                    let all = events.iter().map(|facts| facts.number(proxied::SOURCE_PORT));
                    assert!(!events.is_empty() && all.clone().all(|one| one == port), "{header:?} {greeting:?} {cut}");
                    let headers = talk.kept.of(Protocol::Proxied);
                    assert_eq!(headers.last().and_then(|facts| facts.number(proxied::SOURCE_PORT)), port);
                    assert_eq!(talk.inspector.inspected(), 0);
                }
            }
        }
    }
}

#[test]
fn a_server_that_greets_behind_a_header_is_told() {
    for (header, _) in proxied() {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, &header);
        talk.say(B, b"220 mail.example.org ESMTP\r\n");
        talk.say(A, b"EHLO me\r\n");
        assert_eq!(talk.end(), Protocol::Smtp);
    }
}

#[test]
fn headers_of_proxies_are_told_so_often_and_no_more() {
    let mut talk = Talk::new(SETTINGS);
    let header = &proxied()[1].0;
    talk.say_all(A, [&header[..]; 50]);
    talk.say(A, REQUEST);
    assert_eq!(talk.kept.of(Protocol::Proxied).len(), usize::from(proxied::HEADERS_MAX));
    let anomalies = talk.kept.0.iter().filter(|(_, anomaly, _)| *anomaly).count();
    assert_eq!((anomalies, talk.end()), (1, Protocol::Http));
}

#[test]
fn what_only_begins_like_a_proxys_header_is_the_clients() {
    let words = [&b"PROXY TCP4 "[..], &[b'x'; 200], b"\r\n"].concat();
    let mut talk = Talk::new(SETTINGS);
    talk.say_all(A, words.chunks(9));
    assert_eq!(talk.kept.0.iter().filter(|(protocol, ..)| *protocol == Protocol::Proxied).count(), 1, "the anomaly");
    for begin in ["PROPFIND / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "P", "\r\n"] {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, begin.as_bytes());
        talk.say(B, b"220 mail.example.org ESMTP\r\n");
        talk.end();
        assert!(talk.kept.of(Protocol::Proxied).is_empty());
    }
}

/// The last bytes of a flow too, which a side that sent byte by byte has waiting.
#[test]
fn a_header_of_a_proxy_alone_is_told_at_the_end() {
    for greeting in [&b""[..], b"220 hello ESMTP\r\n"] {
        let mut talk = Talk::new(SETTINGS);
        talk.say(B, greeting);
        talk.say_all(A, proxied()[0].0.chunks(1));
        talk.end();
        assert_eq!(talk.kept.of(Protocol::Proxied).len(), usize::from(!greeting.is_empty()), "{greeting:?}");
    }
}

/// A header inside a tunnel is in front of a connection, too.
#[test]
fn a_header_of_a_proxy_inside_a_tunnel_hides_no_client() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    talk.say(B, b"HTTP/1.1 200 OK\r\n\r\n");
    talk.say(A, &[&proxied()[1].0[..], &small_hello()].concat());
    assert_eq!(talk.end(), Protocol::Tls);
}

/// Each event behind what opened a tunnel says that it is another server's, and no other one does.
#[test]
fn what_a_proxy_passes_on_says_so() {
    let hello = small_hello();
    let header = &proxied()[0].0;
    let connect = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n";
    let ok = b"HTTP/1.1 200 OK\r\n\r\n";
    let no = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let asks = b"\x05\x01\x00\x03\x0bexample.com\x00\x50";
    let granted = [5, 0, 0, 1, 10, 0, 0, 1, 4, 56];
    use Protocol::{Http, Proxied, Socks, Tls};
    type Words<'a> = &'a [(Side, &'a [u8])];
    for (name, words, wanted) in [
        ("HTTP", &[(A, &connect[..]), (B, ok), (A, REQUEST), (B, ANSWER)][..], &[(Http, false), (Http, true)][..]),
        (
            "a header",
            &[(A, connect), (B, ok), (A, header), (A, &hello)],
            &[(Http, false), (Proxied, true), (Tls, true)],
        ),
        ("a header in front", &[(A, header), (A, connect), (B, ok), (A, &hello)], {
            &[(Proxied, false), (Http, false), (Tls, true)]
        }),
        ("SOCKS", &[(A, &[5, 1, 0]), (B, &[5, 0]), (A, asks), (B, &granted), (A, REQUEST), (B, ANSWER)], {
            &[(Socks, false), (Http, true)]
        }),
        ("refused", &[(A, connect), (B, no), (A, REQUEST), (B, ANSWER)], &[(Http, false), (Http, false)]),
        ("an upgrade", &[(A, upgrade), (B, b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"), (A, REQUEST), (B, ANSWER)], {
            &[(Http, false), (Http, false)]
        }),
    ] as [(&str, Words<'_>, &[(Protocol, bool)]); 6]
    {
        for cut in [1, 9000] {
            let mut talk = Talk::begun(SETTINGS);
            words.iter().for_each(|(side, bytes)| talk.say_all(*side, bytes.chunks(cut)));
            talk.end();
            let told: Vec<_> = talk.kept.0.iter().map(|one| one.0).zip(talk.kept.4.iter().copied()).collect();
            assert_eq!(told, wanted, "{name} {cut}");
        }
    }
}
