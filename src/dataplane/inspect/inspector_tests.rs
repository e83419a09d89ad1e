use super::super::stream::LOOKED_MAX;
use super::super::{ftp, http, pgsql, proxied, smtp, ssh, tls};
use super::*;

/// What went up: of which protocol, whether an anomaly, and the facts.
type Told = (Protocol, bool, Facts);

/// Events as they went up, and whose they are.
#[derive(Default)]
struct Kept(Vec<Told>, Vec<FlowKey>, Vec<Direction>);

impl Sink for Kept {
    fn event(&mut self, event: &Event<'_>) {
        self.1.push(event.key);
        self.2.push(event.originator);
        self.0.push((event.protocol, event.anomaly.is_some(), Facts::from_bytes(event.facts, event.truncated)));
    }
}

impl Kept {
    fn of(&self, protocol: Protocol) -> Vec<&Facts> {
        self.0.iter().filter(|(one, anomaly, _)| *one == protocol && !anomaly).map(|(.., facts)| facts).collect()
    }
}

const SETTINGS: Settings = Settings { flows: 4, buffers: 4, facts: 4, depth: 1 << 16 };
const A: Side = Side::Originator;
const B: Side = Side::Responder;

/// A TCP connection through an inspector.
struct Talk {
    inspector: Inspector,
    kept: Kept,
    slot: u32,
    key: FlowKey,
    originator: Direction,
    next: [u32; 2],
    /// Where both sides begin, if their SYNs were seen.
    beginnings: [Option<u32>; 2],
}

impl Talk {
    fn new(settings: Settings) -> Talk {
        let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 9999, 6, 0);
        let inspector = Inspector::new(settings, 16, [1, 2, 3, 4]);
        Talk { inspector, kept: Kept::default(), slot: 3, key, originator, next: [1000, 9000], beginnings: [None; 2] }
    }

    /// Of a connection that was seen from its beginning.
    fn begun(settings: Settings) -> Talk {
        Talk { beginnings: [Some(1000), Some(9000)], ..Talk::new(settings) }
    }

    fn say(&mut self, side: Side, bytes: &[u8]) -> Wants {
        let wants = self.say_at(side, self.next[side as usize], bytes);
        self.next[side as usize] += bytes.len() as u32;
        wants
    }

    fn say_all<'a>(&mut self, side: Side, words: impl IntoIterator<Item = &'a [u8]>) {
        for piece in words {
            self.say(side, piece);
        }
    }

    fn say_at(&mut self, side: Side, sequence: u32, bytes: &[u8]) -> Wants {
        let payload = Payload {
            slot: self.slot,
            key: &self.key,
            originator: self.originator,
            first_seen: Timestamp(1),
            side,
            tcp: Some(Segment {
                sequence,
                acknowledgement: Some(self.next[1 - side as usize]),
                beginnings: self.beginnings,
                ..Segment::default()
            }),
            bytes,
            is_cut: false,
            time: Timestamp(5),
        };
        self.inspector.payload(&payload, &mut self.kept)
    }

    fn datagram(&mut self, side: Side, bytes: &[u8]) -> Wants {
        let Talk { slot, originator, .. } = *self;
        let payload = Payload {
            slot,
            key: &self.key,
            originator,
            first_seen: Timestamp(1),
            side,
            tcp: None,
            bytes,
            is_cut: false,
            time: Timestamp(5),
        };
        self.inspector.payload(&payload, &mut self.kept)
    }

    fn end(&mut self) -> Protocol {
        self.inspector.end(self.slot, &self.key, self.originator, [Timestamp(1), Timestamp(9)], &mut self.kept)
    }
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h.example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n";

#[test]
fn a_request_and_its_answer_are_one_event_however_they_are_cut() {
    for cut in [1, 2, 7, 1000] {
        let mut talk = Talk::new(SETTINGS);
        for (side, bytes) in [(A, REQUEST), (B, ANSWER)] {
            bytes
                .chunks(cut)
                .enumerate()
                .for_each(|(at, piece)| assert_eq!(talk.say(side, piece), Wants::PAYLOAD, "cut {cut}, {side:?} {at}"));
        }
        assert_eq!(talk.end(), Protocol::Http);
        let events = talk.kept.of(Protocol::Http);
        assert_eq!(events.len(), 1, "cut {cut}");
        assert_eq!(events[0].get(http::URL), Some(&b"/a"[..]), "cut {cut}");
        assert_eq!(events[0].number(http::STATUS), Some(204));
        assert_eq!(talk.inspector.inspected(), 0);
    }
}

#[test]
fn who_speaks_first_does_not_matter() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(B, b"SSH-2.0-server\r\n");
    talk.say(A, b"SSH-2.0-client\r\n");
    assert_eq!(talk.end(), Protocol::Ssh);
    let events = talk.kept.of(Protocol::Ssh);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].get(ssh::CLIENT_SOFTWARE), Some(&b"client"[..]));
    assert_eq!(events[0].get(ssh::SERVER_SOFTWARE), Some(&b"server"[..]));
}

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

/// A hello of TLS with nothing in it but a version and one cipher.
fn small_hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
    hello
}

/// What a client sends is what its server has to understand: a greeting in front of it hides nothing.
#[test]
fn a_greeting_of_another_protocol_hides_no_client() {
    let hello = small_hello();
    let greetings: [(&[u8], Option<Protocol>); 6] = [
        (b"220 hello ESMTP\r\n", Some(Protocol::Smtp)),
        (b"SSH-2.0-OpenSSH_9\r\n", Some(Protocol::Ssh)),
        (b"* OK IMAP4rev1 ready\r\n", Some(Protocol::Imap)),
        (b"HTTP/1.1 200 OK\r\n\r\n", Some(Protocol::Http)),
        (b"hi there\r\n", None),
        (b"\0\x01\x02", None),
    ];
    for (greeting, protocol) in greetings {
        for (words, wanted) in [(&hello[..], Protocol::Tls), (REQUEST, Protocol::Http)] {
            for cut in [1, 7, 1000] {
                let mut talk = Talk::begun(SETTINGS);
                talk.say(B, greeting);
                for piece in words.chunks(cut) {
                    talk.say(A, piece);
                }
                assert_eq!(talk.end(), wanted, "{greeting:?} {cut}");
                assert!(!talk.kept.of(wanted).is_empty(), "{greeting:?} {cut}");
                let differ = talk.kept.0.iter().filter(|(_, is_anomaly, _)| *is_anomaly).count();
                let is_told = protocol != Some(wanted);
                assert_eq!(differ, usize::from(is_told), "{greeting:?} {cut}");
            }
        }
    }
}

/// A SYN with data, or the answer to one, by sequence number of what it carries.
fn say_syn(talk: &mut Talk, side: Side, acknowledgement: Option<u32>, bytes: &[u8]) -> Wants {
    let sequence = talk.next[side as usize];
    let segment = Segment { sequence, acknowledgement, is_syn: true, ..Segment::default() };
    let payload = Payload {
        slot: talk.slot,
        key: &talk.key,
        originator: talk.originator,
        first_seen: Timestamp(5),
        side,
        tcp: Some(segment),
        bytes,
        is_cut: false,
        time: Timestamp(5),
    };
    talk.next[side as usize] += bytes.len() as u32;
    talk.inspector.payload(&payload, &mut talk.kept)
}

/// A flood of SYNs with data inspects nothing; of one that is answered the data are read as the answer takes them.
#[test]
fn data_of_a_syn_wait_for_its_answer() {
    let mut talk = Talk::new(SETTINGS);
    let wants = say_syn(&mut talk, A, None, REQUEST);
    assert_eq!((talk.inspector.inspected(), wants.acks), (0, true));
    assert_eq!(talk.end(), Protocol::Unknown);

    for (is_taken, requests) in [(true, 1), (false, 0)] {
        let mut talk = Talk::new(SETTINGS);
        let begin = talk.next[0];
        say_syn(&mut talk, A, None, REQUEST);
        let end = if is_taken { talk.next[0] } else { begin };
        say_syn(&mut talk, B, Some(end), b"");
        assert_eq!(talk.inspector.inspected(), 1);
        talk.next[0] = end;
        talk.say(B, if is_taken { ANSWER } else { b"" });
        assert_eq!(talk.kept.of(Protocol::Http).len(), requests, "{is_taken}");
    }

    // One that was overwritten is counted, and the connection read from there.
    let mut talk = Talk::new(SETTINGS);
    say_syn(&mut talk, A, None, REQUEST);
    let (slot, key) = (talk.slot, talk.key);
    for port in 0..SYNS {
        (talk.slot, talk.key) = (slot + 1 + port % 8, FlowKey::v4(9, port as u16, 8, 80, 6, 0).0);
        say_syn(&mut talk, A, None, REQUEST);
        talk.inspector.end(talk.slot, &talk.key, talk.originator, [Timestamp(5); 2], &mut talk.kept);
    }
    (talk.slot, talk.key) = (slot, key);
    let end = talk.next[0];
    say_syn(&mut talk, B, Some(end), b"");
    assert_eq!(talk.inspector.take_counts().buffers_full, 1);
    talk.say(A, REQUEST);
    talk.say(B, ANSWER);
    assert_eq!(talk.kept.of(Protocol::Http).len(), 1);
}

/// The one byte with which a server of PostgreSQL refuses TLS may begin a request line too: it does not wait for a second
/// one, or what the client says in the clear would come before it and be lost.
#[test]
fn an_answer_of_one_byte_is_read_at_once() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, b"\0\0\0\x08\x04\xd2\x16\x2f");
    talk.say(B, b"N");
    talk.say(A, b"\0\0\0\x13\0\x03\0\0user\0test\0\0");
    talk.say(B, b"R\0\0\0\x08\0\0\0\0");
    talk.say(B, b"Z\0\0\0\x05I");
    let users: Vec<_> = talk.kept.of(Protocol::PostgreSql).iter().filter_map(|facts| facts.get(pgsql::USER)).collect();
    assert_eq!(users, [b"test"]);
}

/// The client is believed; that the server answers in something else is told.
#[test]
fn an_answer_in_another_protocol_is_told() {
    for (answer, anomalies) in [(&b"SSH-2.0-OpenSSH_9\r\n"[..], 2), (&small_hello(), 2), (ANSWER, 0)] {
        let mut talk = Talk::begun(SETTINGS);
        talk.say(A, REQUEST);
        talk.say(B, answer);
        assert_eq!(talk.end(), Protocol::Http);
        assert_eq!(talk.kept.0.iter().filter(|(_, is_anomaly, _)| *is_anomaly).count(), anomalies);
    }
}

#[test]
fn what_is_no_protocol_is_released_at_once_and_a_slot_can_be_used_again() {
    let mut talk = Talk::new(SETTINGS);
    assert_eq!(talk.say(A, &[0; 64]), Wants::PAYLOAD, "the other side may greet");
    assert_eq!(talk.say(B, &[1; 64]), Wants::NOTHING);
    assert_eq!((talk.inspector.inspected(), talk.inspector.application(3)), (0, Protocol::Unknown));
    assert_eq!(talk.end(), Protocol::Unknown);
    talk.next = [1000, 9000];
    talk.say(A, REQUEST);
    assert_eq!(talk.inspector.application(3), Protocol::Http);
    assert_eq!(talk.end(), Protocol::Http);
    assert_eq!(talk.inspector.application(3), Protocol::Unknown, "the flow is over");
    let counts = talk.inspector.take_counts();
    assert_eq!((counts.identified, counts.unknown), (1, 1));
}

#[test]
fn a_stream_turns_into_tls() {
    let mut talk = Talk::new(SETTINGS);
    let turns: [(Side, &[u8]); 5] = [
        (B, b"220 mail.example ESMTP\r\n"),
        (A, b"EHLO c.example\r\n"),
        (B, b"250-mail.example\r\n250 STARTTLS\r\n"),
        (A, b"STARTTLS\r\n"),
        (B, b"220 ready\r\n"),
    ];
    turns.into_iter().for_each(|(side, bytes)| assert_eq!(talk.say(side, bytes), Wants::PAYLOAD));
    let hello = small_hello();
    assert_eq!(hello.len(), 50);
    talk.say(A, &hello);
    assert_eq!(talk.end(), Protocol::Tls);
    assert!(talk.kept.of(Protocol::Smtp).iter().any(|event| event.get(smtp::HELO) == Some(&b"c.example"[..])));
    let tls = talk.kept.of(Protocol::Tls);
    assert_eq!(tls.first().and_then(|event| event.get(tls::HELLO.ciphers)), Some(&[0x13, 1][..]));
}

/// A client that does not wait for the proxy's answer: its hello is read as soon as that is there, and before the server's.
#[test]
fn what_is_sent_behind_connect_before_its_answer_is_read() {
    let connect = [b"CONNECT h.example:443 HTTP/1.1\r\nHost: h.example\r\n\r\n", &small_hello()[..]].concat();
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let mut hello = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    hello.extend([9; 32]);
    hello.extend([0, 0x13, 1, 0]);
    for answers in [vec![established.to_vec(), hello.clone()], vec![[&established[..], &hello].concat()]] {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, &connect);
        answers.iter().for_each(|answer| assert_ne!(talk.say(B, answer), Wants::NOTHING));
        assert_eq!(talk.end(), Protocol::Tls);
        assert_eq!(talk.kept.of(Protocol::Http).len(), 1);
        let events = talk.kept.of(Protocol::Tls);
        assert_eq!(events.len(), 1, "{}", answers.len());
        assert_eq!(events[0].get(tls::HELLO.ciphers), Some(&[0x13, 1][..]));
        assert_eq!(events[0].number(tls::HELLO.cipher), Some(0x1301));
        assert!(talk.kept.0.iter().all(|(_, is_anomaly, _)| !is_anomaly));
    }
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, &connect);
    talk.say(B, established);
    assert_eq!((talk.end(), talk.kept.of(Protocol::Tls).len()), (Protocol::Tls, 1));
}

#[test]
fn a_hole_that_the_peer_acknowledged_is_counted() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, REQUEST);
    talk.next[1] += 100; // lost on the tap
    let late = talk.next[1];
    talk.say_at(B, late, ANSWER);
    talk.next[1] += ANSWER.len() as u32;
    // The client's next request acknowledges all of it.
    talk.say(A, REQUEST);
    talk.end();
    assert_eq!(talk.inspector.take_counts().gap_bytes, 100);
}

#[test]
fn what_is_full_is_counted_and_the_others_go_on() {
    let mut talk = Talk::new(Settings { flows: 1, ..SETTINGS });
    talk.say(A, REQUEST);
    talk.slot = 4;
    assert_eq!(talk.say(A, REQUEST), Wants::PAYLOAD, "the flow that is silent gives way");
    assert_eq!(talk.inspector.take_counts().flows_full, 1);
    talk.slot = 3;
    assert_eq!(talk.say(A, REQUEST), Wants::NOTHING, "what was given up is not begun again in its middle");
    assert_eq!(talk.end(), Protocol::Http, "and is known all the same");
    talk.slot = 4;
    assert_eq!((talk.end(), talk.inspector.inspected()), (Protocol::Http, 0));

    // Without room for facts that wait, a request is told before its answer.
    let mut talk = Talk::new(Settings { facts: 0, ..SETTINGS });
    talk.say(A, REQUEST);
    assert_eq!(talk.inspector.take_counts().facts_full, 1);
    assert_eq!(talk.kept.of(Protocol::Http).len(), 1);

    // Without buffers half a line ends its side.
    let mut talk = Talk::new(Settings { buffers: 0, ..SETTINGS });
    talk.say(A, &REQUEST[..10]);
    assert_eq!(talk.inspector.take_counts().buffers_full, 1);

    let mut talk = Talk::new(Settings { depth: 20, ..SETTINGS });
    talk.say(A, REQUEST);
    assert_eq!(talk.inspector.take_counts().depth_reached, 1);
}

#[test]
fn a_body_is_as_long_as_what_came_of_it() {
    let body = [b'x'; 1000];
    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let endless = b"HTTP/1.0 200 OK\r\n\r\n";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n";
    // Pieces of 100 bytes in the order in which they come, what follows them, and how long the body then is: before the
    // flow is over, and when it is.
    let in_order: Vec<usize> = (0..10).collect();
    let last_first = [0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
    let one_lost = [0, 1, 2, 3, 4, 6, 7, 8, 9];
    type Case<'a> = (&'a [u8], &'a [usize], &'a [u8], Option<u64>, u64);
    let cases: [Case<'_>; 9] = [
        (announced, &in_order, b"", Some(1000), 1000),
        (announced, &in_order[..5], b"", None, 500),
        (announced, &last_first, b"", Some(1000), 1000),
        (announced, &one_lost, b"", None, 900),
        (announced, &one_lost, ANSWER, Some(900), 900),
        (endless, &in_order, b"", None, 1000),
        (endless, &one_lost, b"", None, 900),
        (chunked, &in_order, b"\r\n0\r\n\r\n", Some(1000), 1000),
        (chunked, &one_lost, b"\r\n2\r\nab", None, 902),
    ];
    for (head, pieces, behind, before, after) in cases {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, REQUEST);
        talk.say(B, head);
        let begin = talk.next[1];
        for piece in pieces {
            talk.say_at(B, begin + 100 * *piece as u32, &body[..100]);
        }
        talk.next[1] = begin + 1000;
        if !behind.is_empty() {
            talk.say(B, behind);
        }
        let length = |talk: &Talk| talk.kept.of(Protocol::Http).first().map(|event| event.number(http::LENGTH));
        assert_eq!(length(&talk), before.map(Some), "{head:?} {pieces:?}");
        talk.end();
        assert_eq!(length(&talk), Some(Some(after)), "{head:?} {pieces:?}");
        let events = talk.kept.of(Protocol::Http);
        assert_eq!((events[0].get(http::URL), events[0].number(http::STATUS)), (Some(&b"/a"[..]), Some(200)));
        assert_eq!(events[0].number(http::CONTENT_LENGTH), (head == announced).then_some(1000));
        assert_eq!(talk.inspector.inspected(), 0);
    }
}

#[test]
fn a_request_in_the_middle_of_a_body_ends_the_event_and_not_the_body() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, REQUEST);
    talk.say(B, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    talk.say(A, REQUEST);
    talk.say(B, &[b'x'; 997]);
    assert_eq!(talk.kept.0.len(), 1, "the second request waits for its answer");
    talk.say(B, ANSWER);
    talk.end();
    let told = |fact| talk.kept.of(Protocol::Http).iter().map(|event| event.number(fact)).collect::<Vec<_>>();
    assert_eq!(told(http::LENGTH), [Some(3), Some(0)]);
    assert_eq!(told(http::STATUS), [Some(200), Some(204)]);
    assert_eq!(told(http::TRANSACTION), [Some(0), Some(1)]);
}

#[test]
fn a_capture_that_begins_with_the_server_tells_who_is_the_client() {
    let smtp: &[u8] = b"250 ok\r\n";
    // Ports of who was seen first and of the other, what he says and what he is answered, and whether he is the server.
    type Case<'a> = (u16, u16, &'a [u8], &'a [u8], bool);
    let cases: [Case<'_>; 6] = [
        (80, 40_000, ANSWER, REQUEST, true),
        (8080, 40_000, ANSWER, REQUEST, true),
        (80, 40_000, REQUEST, ANSWER, false),
        (40_000, 80, REQUEST, ANSWER, false),
        (80, 40_000, &[0; 64], b"", false),
        (25, 40_000, smtp, b"MAIL FROM:<a@b>\r\n", true),
    ];
    for (first, second, said, answered, is_turned) in cases {
        let mut talk = Talk::new(SETTINGS);
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, first, 0x0a00_0002, second, 6, 0);
        talk.say(A, said);
        talk.say(B, answered);
        let application = talk.inspector.application(3);
        let told = is_turned && application != Protocol::Unknown;
        assert_eq!(talk.inspector.is_turned(3), told, "{first} {second} {application:?}");
        talk.end();
        assert!(!talk.inspector.is_turned(3), "the flow is over");
        let client = if is_turned { talk.originator.flip() } else { talk.originator };
        assert!(talk.kept.2.iter().all(|originator| *originator == client), "{first} {second}");
        for event in talk.kept.of(Protocol::Http).iter().filter(|event| event.get(http::URL).is_some()) {
            assert_eq!(event.number(http::STATUS), (!is_turned).then_some(204), "{first} {second}");
        }
    }

    // A SYN says who began, whatever the ports are.
    let mut talk = Talk::new(SETTINGS);
    (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, 80, 0x0a00_0002, 40_000, 6, 0);
    let beginnings = [Some(1000), None];
    let tcp = Some(Segment { sequence: 1000, acknowledgement: Some(9000), beginnings, ..Segment::default() });
    let payload = Payload {
        slot: 3,
        key: &talk.key,
        originator: talk.originator,
        first_seen: Timestamp(1),
        side: A,
        tcp,
        bytes: ANSWER,
        is_cut: false,
        time: Timestamp(5),
    };
    talk.inspector.payload(&payload, &mut talk.kept);
    assert_eq!((talk.inspector.application(3), talk.inspector.is_turned(3)), (Protocol::Http, false));

    // What is wanted is said of those who seemed to be originator and responder.
    let mut talk = Talk::new(SETTINGS);
    (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, 80, 0x0a00_0002, 40_000, 6, 0);
    talk.say(A, ANSWER);
    assert_eq!(talk.say(A, b"none of HTTP"), Wants { payload: [false, true], acks: false });
}

#[test]
fn a_flow_that_gives_way_has_its_open_event_told() {
    let mut talk = Talk::new(Settings { flows: 1, ..SETTINGS });
    talk.say(A, REQUEST);
    talk.say(B, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    talk.say(B, b"defg");
    let first = std::mem::replace(&mut talk.key, FlowKey::v4(0x0a00_0003, 1, 0x0a00_0004, 2, 6, 0).0);
    (talk.slot, talk.next) = (4, [1000, 9000]);
    talk.say(A, REQUEST);
    let events = talk.kept.of(Protocol::Http);
    assert_eq!((events.len(), events[0].number(http::LENGTH)), (1, Some(7)));
    assert_eq!(talk.kept.1, [first]);
}

#[test]
fn flows_of_datagrams_without_memory_hold_nothing_in_between() {
    let mut talk = Talk::new(Settings { flows: 2, ..SETTINGS });
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 53, 17, 0);
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";
    for round in 0..3 {
        for slot in 0..16 {
            let payload = Payload {
                slot,
                key: &key,
                originator,
                first_seen: Timestamp(1),
                side: A,
                tcp: None,
                bytes: query,
                is_cut: false,
                time: Timestamp(5),
            };
            assert_eq!(talk.inspector.payload(&payload, &mut talk.kept), Wants::PAYLOAD, "{round}");
            assert_eq!((talk.inspector.inspected(), talk.inspector.application(slot)), (0, Protocol::Dns));
        }
    }
    assert_eq!(talk.kept.of(Protocol::Dns).len(), 48);
    assert_eq!(talk.inspector.take_counts().flows_full, 0);
    for slot in 0..16 {
        assert_eq!(
            talk.inspector.end(slot, &key, originator, [Timestamp(1), Timestamp(9)], &mut talk.kept),
            Protocol::Dns
        );
    }
}

#[test]
fn sides_that_wait_in_vain_do_not_keep_the_buffers_from_others() {
    let mut talk = Talk::new(Settings { flows: 8, buffers: 2, ..SETTINGS });
    for slot in 0..6 {
        talk.slot = slot;
        talk.next = [1000, 9000];
        talk.say(A, &REQUEST[..10]);
    }
    talk.slot = 7;
    talk.next = [1000, 9000];
    talk.say(A, &REQUEST[..10]);
    talk.say(A, &REQUEST[10..]);
    talk.say(B, ANSWER);
    assert_eq!(talk.end(), Protocol::Http);
    assert_eq!(talk.kept.of(Protocol::Http)[0].get(http::URL), Some(&b"/a"[..]));
}

#[test]
fn requests_that_wait_in_vain_do_not_cut_the_transactions_of_others() {
    let settings = Settings { flows: 1024, facts: 8, ..SETTINGS };
    let mut talk = Talk { inspector: Inspector::new(settings, 1024, [1, 2, 3, 4]), ..Talk::new(settings) };
    let begin = |talk: &mut Talk, slot: u32, client: u32| {
        (talk.slot, talk.next) = (slot, [1000, 9000]);
        (talk.key, talk.originator) = FlowKey::v4(client, 40_000, 0x0a00_0002, 9999, 6, 0);
    };
    // One source fills its share, and then tells its own early; those that are silent longest give way to others.
    for slot in 0..100 {
        begin(&mut talk, slot, 0x0a00_0063);
        talk.say(A, REQUEST);
    }
    assert_eq!(talk.inspector.take_counts().facts_full, 96, "four of eight are free for others, then a share is two");
    for slot in 100..104 {
        begin(&mut talk, slot, 0x0a00_0001 + slot);
        talk.say(A, REQUEST);
        talk.say(B, ANSWER);
        talk.end();
    }
    let told = talk.kept.of(Protocol::Http);
    let whole = told.iter().filter(|event| event.get(http::STATUS).is_some() && event.get(http::URL).is_some()).count();
    assert_eq!((told.len(), whole), (96 + 4, 4));
    assert!(told.iter().filter(|event| event.get(http::STATUS).is_none()).all(|event| event.is_truncated()));
}

#[test]
fn junk_in_front_hides_no_datagram_at_any_port() {
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04evil\x07example\x00\x00\x01\x00\x01";
    for junk in 1..=7 {
        let mut talk = Talk::new(SETTINGS);
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 31_337, 17, 0);
        for _ in 0..junk {
            assert_eq!(talk.datagram(A, &[b'x'; 60]), Wants::PAYLOAD);
        }
        talk.datagram(A, question);
        assert_eq!(talk.end(), Protocol::Dns, "behind {junk}");
    }
}

#[test]
fn bytes_by_chance_are_no_protocol_however_many_datagrams_are_looked_at() {
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut found = Vec::new();
    for _ in 0..4000 {
        let mut talk = Talk::new(SETTINGS);
        let port = 1024 + (next() % 60_000) as u16;
        (talk.key, talk.originator) =
            FlowKey::v4(0x0a00_0001, 1024 + (next() % 60_000) as u16, 0x0a00_0002, port, 17, 0);
        for _ in 0..8 {
            let bytes: Vec<u8> = (0..8 + next() % 200).map(|_| next() as u8).collect();
            talk.datagram(if next() % 2 == 0 { A } else { B }, &bytes);
        }
        found.extend(Some(talk.end()).filter(|protocol| *protocol != Protocol::Unknown));
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_trickle_of_halves_does_not_take_what_two_segments_need() {
    let settings = Settings { flows: 1024, buffers: 16, ..SETTINGS };
    let mut talk = Talk { inspector: Inspector::new(settings, 1024, [1, 2, 3, 4]), ..Talk::new(settings) };
    let begin = |talk: &mut Talk, slot: u32| {
        talk.slot = slot;
        talk.next = [1000, 9000];
    };
    for victim in 0..50 {
        begin(&mut talk, victim);
        talk.say(A, &REQUEST[..10]);
        let next = talk.next;
        for other in 0..10 {
            begin(&mut talk, 100 + victim * 10 + other);
            talk.say(A, &REQUEST[..20]);
        }
        (talk.slot, talk.next) = (victim, next);
        talk.say(A, &REQUEST[10..]);
        talk.say(B, ANSWER);
        assert_eq!(talk.end(), Protocol::Http);
    }
    assert_eq!(talk.kept.of(Protocol::Http).iter().filter(|event| event.get(http::STATUS).is_some()).count(), 50);
    let full = talk.inspector.take_counts().buffers_full;
    assert!(full > 400, "of 500 that wait, 16 of one source can: {full}");
}

#[test]
fn behind_a_hole_reading_goes_on_where_that_takes_no_guess() {
    // A line of the server's is lost, and half of the one before and of the one behind.
    let mut talk = Talk::new(SETTINGS);
    talk.say(B, b"220 (vsFTPd 2.3.4)\r\n");
    talk.say(A, b"USER bob\r\n");
    talk.say(B, b"331 ple");
    talk.next[1] += 40;
    talk.say(B, b"lf a line\r\n530 no\r\n");
    talk.say(A, b"USER eve\r\nQUIT\r\n");
    talk.end();
    let users: Vec<_> = talk.kept.of(Protocol::Ftp).iter().filter_map(|event| event.get(ftp::USERNAME)).collect();
    let users: Vec<Vec<u8>> = users.into_iter().map(<[u8]>::to_vec).collect();
    assert!(users.contains(&b"bob".to_vec()) && users.contains(&b"eve".to_vec()), "{users:?}");
    assert_eq!(talk.inspector.take_counts().gap_bytes, 40);

    // The middle of a DNS message is lost, and the next one is read.
    let query = |name: u8| {
        let mut query = vec![0, 30, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, b'h', b'o', b's', name];
        query.extend(b"\x07example\0\0\x01\0\x01");
        assert_eq!(query.len(), 32);
        query
    };
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, &query(b'a'));
    talk.say(A, &query(b'b')[..10]);
    talk.next[0] += 12;
    talk.say(A, &[&query(b'b')[22..], &query(b'c')[..]].concat());
    talk.say(B, &[0]);
    talk.say(A, &query(b'd'));
    talk.end();
    assert_eq!(talk.kept.of(Protocol::Dns).len(), 3, "all but the one that was lost");

    // Of whole messages that are lost nothing says where the next one begins: believed where one can be read to its end.
    for (lost, behind, wanted) in [
        (0, query(b'c'), 3),
        (10, query(b'c'), 3),
        (0, query(b'c')[1..].to_vec(), 1),
        (0, [&query(b'c')[..31], &[2, 0]].concat(), 1),
    ] {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, &query(b'a'));
        talk.say(A, &query(b'b')[..lost]);
        talk.next[0] += 64 - lost as u32;
        talk.say(A, &behind);
        talk.say(B, &[0]);
        talk.say(A, &query(b'd'));
        talk.end();
        assert_eq!(talk.kept.of(Protocol::Dns).len(), wanted, "{lost} {behind:?}");
        // Nothing but the hole, where it lay in the midst of a message.
        let anomalies = talk.kept.0.iter().filter(|(_, is_anomaly, _)| *is_anomaly).count();
        assert_eq!(anomalies, usize::from(lost > 0), "{lost} {behind:?}");
    }
}

#[test]
fn what_one_side_says_first_does_not_hide_what_the_other_one_is() {
    for (client, server, wanted) in [
        (&b"\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"[..], ANSWER, Protocol::Http),
        (b" GET /a HTTP/1.1\r\nHost: h\r\n\r\n", ANSWER, Protocol::Http),
        (b"GET\t/a\tHTTP/1.1\r\nHost: h\r\n\r\n", ANSWER, Protocol::Http),
        (b"get /a HTTP/1.1\r\nHost: h\r\n\r\n", ANSWER, Protocol::Http),
        (b"GET /a HTTP/9.9\r\nHost: h\r\n\r\n", ANSWER, Protocol::Http),
        (b"\0\x01\x02\x03", ANSWER, Protocol::Http),
        (b"\0hello\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", Protocol::Ssh),
        (b"hello\r\n", b"220 mail.example ESMTP\r\n", Protocol::Smtp),
        (b"\0hello\r\n", b"220 (vsFTPd 2.3.4)\r\n", Protocol::Ftp),
        (b"\0hello\r\n", b"\0hello\r\n", Protocol::Unknown),
    ] {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, client);
        talk.say(B, server);
        assert_eq!(talk.end(), wanted, "{}", String::from_utf8_lossy(client));
        let events = talk.kept.of(Protocol::Http);
        if wanted == Protocol::Http && client.len() > 4 {
            assert_eq!((events[0].get(http::URL), events[0].number(http::STATUS)), (Some(&b"/a"[..]), Some(204)));
        }
    }
    // A side that never becomes anything is not kept for ever.
    let mut talk = Talk::new(SETTINGS);
    assert_eq!(talk.say(A, &[0; 1400]), Wants::PAYLOAD);
    assert_eq!(talk.say(A, &[0; 1400]).payload, [false, true]);
}

#[test]
fn what_was_said_before_the_protocol_was_told_is_read_in_the_order_in_which_it_was_said() {
    let mut talk = Talk::new(SETTINGS);
    let turns: [(Side, &[u8]); 5] = [
        (B, b"220 welcome\r\n"),
        (A, b"USER bob\r\n"),
        (B, b"331 password?\r\n"),
        (A, b"PASS x\r\n"),
        (B, b"230 in\r\n"),
    ];
    for (side, bytes) in turns {
        talk.say(side, bytes);
    }
    assert_eq!(talk.end(), Protocol::Ftp);
    let events = talk.kept.of(Protocol::Ftp);
    assert_eq!(events[0].get(ftp::BANNER), Some(&b"welcome"[..]));
    assert_eq!(events[1].get(ftp::USERNAME), Some(&b"bob"[..]));
    let codes: Vec<u64> = events[1].all(ftp::CODE).map(super::super::facts::number).collect();
    assert_eq!((events.len(), codes), (2, vec![331, 230]));
}

#[test]
fn lines_and_records_in_front_of_a_beginning_are_passed_over() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(B, b"Welcome to X\r\n");
    talk.say(B, b"SSH-2.0-server\r\n");
    assert_eq!(talk.end(), Protocol::Ssh);
    assert_eq!(talk.kept.of(Protocol::Ssh)[0].get(ssh::SERVER_SOFTWARE), Some(&b"server"[..]));

    let mut talk = Talk::new(SETTINGS);
    let mut hello = vec![22, 3, 1, 0, 0, 22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
    talk.say(A, &hello);
    assert_eq!(talk.end(), Protocol::Tls);
    let tls = talk.kept.of(Protocol::Tls);
    assert_eq!(tls.first().and_then(|event| event.get(tls::HELLO.ciphers)), Some(&[0x13, 1][..]));
}

/// Datagrams of one flow to `port`; what it was in the end, and what the inspector wanted last.
fn datagrams(port: u16, all: &[&[u8]]) -> (Kept, Protocol, Wants, Counts) {
    let (mut inspector, mut kept) = (Inspector::new(SETTINGS, 16, [1, 2, 3, 4]), Kept::default());
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, port, 17, 0);
    let mut wants = Wants::NOTHING;
    for bytes in all {
        let payload = Payload {
            slot: 3,
            key: &key,
            originator,
            first_seen: Timestamp(1),
            side: A,
            tcp: None,
            bytes,
            is_cut: false,
            time: Timestamp(5),
        };
        wants = inspector.payload(&payload, &mut kept);
    }
    let protocol = inspector.end(3, &key, originator, [Timestamp(1), Timestamp(9)], &mut kept);
    assert_eq!(inspector.inspected(), 0);
    (kept, protocol, wants, inspector.take_counts())
}

const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";

#[test]
fn one_datagram_does_not_say_for_good_what_a_flow_is() {
    let (kept, protocol, ..) = datagrams(53, &[b"\0\x01file\0octet\0", QUERY, QUERY]);
    assert_eq!((protocol, kept.of(Protocol::Tftp).len(), kept.of(Protocol::Dns).len()), (Protocol::Dns, 1, 2));

    const JUNK: &[u8] = &[0xee; 30];
    let junk = [JUNK; 100];
    let (kept, protocol, wants, counts) = datagrams(53, &[&junk[..], &[QUERY]].concat());
    assert_eq!((protocol, kept.of(Protocol::Dns).len(), wants), (Protocol::Dns, 1, Wants::PAYLOAD));
    assert_eq!((counts.identified, counts.unknown), (1, 0));
    let (_, protocol, wants, counts) = datagrams(53, &[JUNK; 1100]);
    assert_eq!((protocol, wants, counts.unknown), (Protocol::Unknown, Wants::NOTHING, 1), "not for ever");
    let (_, _, wants, counts) = datagrams(9999, &junk[..7]);
    assert_eq!((wants, counts.unknown), (Wants::PAYLOAD, 1), "elsewhere a few are looked at");
    let (_, _, wants, counts) = datagrams(9999, &junk[..8]);
    assert_eq!((wants, counts.unknown), (Wants::NOTHING, 1), "and not more");
}

#[test]
fn media_are_not_told_before_they_are_sure() {
    let packet = |number: u8| [&[0x80, 0, 0, number, 0, 0, 0, number, 1, 2, 3, 4][..], &[0x55; 160]].concat();
    let (_, protocol, _, counts) = datagrams(9999, &[&packet(1)]);
    assert_eq!((protocol, counts.identified, counts.unknown), (Protocol::Unknown, 0, 1));
    let (kept, protocol, _, counts) = datagrams(9999, &[&packet(1), &packet(2), &packet(3)]);
    assert_eq!((protocol, kept.of(Protocol::Rtp).len(), counts.identified), (Protocol::Rtp, 1, 1));
    let (kept, protocol, ..) = datagrams(9999, &[&packet(1), QUERY]);
    assert_eq!((protocol, kept.of(Protocol::Dns).len()), (Protocol::Dns, 1), "others are looked for until then");
}

/// A segment of a flow that may still be something.
fn probe(talk: &mut Talk, source: u32, slot: u32, sequence: u32, bytes: &[u8]) {
    let (key, originator) = FlowKey::v4(source, 1000 + slot as u16, 0x0a00_0002, 9, 6, 0);
    let tcp = Some(Segment { sequence, acknowledgement: Some(1), ..Segment::default() });
    let (is_cut, time) = (false, Timestamp(5));
    let payload = Payload { slot, key: &key, originator, first_seen: Timestamp(1), side: A, tcp, bytes, is_cut, time };
    talk.inspector.payload(&payload, &mut talk.kept);
}

#[test]
fn what_is_something_outlives_what_is_nothing_yet() {
    let mut talk = Talk::new(Settings { flows: 4, buffers: 16, ..SETTINGS });
    talk.say(A, REQUEST);
    // The beginning of any of several protocols, in slots of their own.
    for slot in 4..16 {
        for sequence in [7, 8] {
            probe(&mut talk, 0x0a00_0003 + 7919 * slot, slot, sequence, b"P");
        }
    }
    assert_eq!((talk.inspector.inspected(), talk.inspector.application(15)), (4, Protocol::Unknown));
    talk.say(B, ANSWER);
    assert_eq!(talk.end(), Protocol::Http);
    let events = talk.kept.of(Protocol::Http);
    assert_eq!((events.len(), events[0].number(http::STATUS)), (1, Some(204)));
    assert_eq!(talk.inspector.take_counts().events_early, 0);
}

#[test]
fn what_gives_way_is_told_first_and_marked() {
    let mut talk = Talk::new(Settings { flows: 2, ..SETTINGS });
    let first = talk.key;
    for slot in 3..8 {
        talk.slot = slot;
        talk.next = [1000, 9000];
        (talk.key, _) = FlowKey::v4(0x0a00_0001, 40_000 + slot as u16, 0x0a00_0002, 9999, 6, 0);
        talk.say(A, REQUEST);
    }
    let events = talk.kept.of(Protocol::Http);
    assert_eq!(events.len(), 3, "of five flows two are left");
    assert!(events.iter().all(|event| event.is_truncated() && event.get(http::URL) == Some(&b"/a"[..])));
    assert_ne!(talk.key, first);
    let counts = talk.inspector.take_counts();
    assert_eq!((counts.flows_full, counts.events_early), (3, 3));
}

#[test]
fn a_source_at_its_share_gives_way_to_itself() {
    let mut talk = Talk::new(Settings { flows: 8, facts: 32, ..SETTINGS });
    talk.say(A, REQUEST);
    for slot in 4..16 {
        talk.slot = slot;
        talk.next = [1000, 9000];
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0063, 40_000 + slot as u16, 0x0a00_0002, 9999, 6, 0);
        talk.say(A, REQUEST);
    }
    assert_eq!(talk.inspector.take_counts().events_early, 5);
    (talk.slot, talk.next) = (3, [1000 + REQUEST.len() as u32, 9000]);
    talk.say(B, ANSWER);
    assert_eq!(talk.kept.of(Protocol::Http).iter().filter(|event| event.number(http::STATUS).is_some()).count(), 1);
}

#[test]
fn behind_a_hole_in_requests_the_next_one_is_read() {
    let mut talk = Talk::new(SETTINGS);
    // A byte ahead, and an acknowledgement of it before what lies between came.
    talk.say(A, &REQUEST[..10]);
    talk.next[0] += 5;
    talk.say(A, b"Z");
    talk.say(B, b"");
    let behind = talk.next[0] - 6;
    talk.say_at(A, behind, &REQUEST[10..]);
    talk.next[0] = behind + REQUEST.len() as u32 - 10;
    talk.say(B, ANSWER);
    for (side, bytes) in [(A, REQUEST), (B, ANSWER), (A, &REQUEST[..6])] {
        talk.say(side, bytes);
    }
    talk.next[0] += 7;
    for (side, bytes) in [(A, &b"no request HTTP/1.1\r\n\r\n"[..]), (B, ANSWER), (A, REQUEST), (B, ANSWER)] {
        talk.say(side, bytes);
    }
    talk.end();
    let events = talk.kept.of(Protocol::Http);
    let told: Vec<_> =
        events.iter().map(|event| (event.get(http::URL).is_some(), event.number(http::STATUS))).collect();
    assert_eq!(told, [(false, Some(204)), (true, Some(204)), (false, Some(204)), (true, Some(204))]);
    let anomalies = talk.kept.0.iter().filter(|(_, is_anomaly, _)| *is_anomaly).count();
    // The hole, and what came to lie where the byte ahead was.
    assert_eq!((talk.inspector.take_counts().holes, anomalies), (2, 2));
}

#[test]
fn a_hole_that_nobody_can_have_sent_is_no_loss() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(A, &REQUEST[..10]);
    talk.say(B, b"HTTP/1.1 100 Continue\r\n\r\n");
    let next = talk.next[0];
    talk.next[0] += 1_000_000_000;
    talk.say(A, b"zz");
    talk.say(B, b"");
    talk.next[0] = next;
    talk.end();
    let counts = talk.inspector.take_counts();
    assert_eq!((counts.gap_bytes, counts.gap_bytes_unlikely), (16 << 20, 1_000_000_000 - (16 << 20)));
}

#[test]
fn who_acknowledges_what_was_never_sent_is_not_read() {
    let mut talk = Talk::new(SETTINGS);
    let tcp = |side: usize, at: [u32; 2], beginnings| Segment {
        sequence: at[side],
        acknowledgement: Some(at[1 - side]),
        beginnings,
        ..Segment::default()
    };
    let beginnings = [Some(1000), Some(9000)];
    let decoy = b"GET /d HTTP/1.1\r\nHost: h.example\r\n\r\n";
    for (acknowledged, bytes) in [(9000 + 999_999, &decoy[..]), (9000, REQUEST)] {
        let payload = Payload {
            slot: talk.slot,
            key: &talk.key,
            originator: talk.originator,
            first_seen: Timestamp(1),
            side: A,
            tcp: Some(tcp(0, [1000, acknowledged], beginnings)),
            bytes,
            is_cut: false,
            time: Timestamp(5),
        };
        talk.inspector.payload(&payload, &mut talk.kept);
    }
    talk.end();
    assert_eq!(talk.kept.of(Protocol::Http)[0].get(http::URL), Some(&b"/a"[..]));
    assert_eq!(talk.inspector.take_counts().refused, 1);
}

/// A server that answers with an error before it has the body may discard the rest, close, or read on: its next request
/// is read in each case, and what looks like one within the body is told.
#[test]
fn a_body_that_the_server_refused_is_not_passed_over() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let post = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{body}");
    let (error, empty) =
        ("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let chunked = "Transfer-Encoding: chunked";
    let junk = format!("{:64}{}{:27}", "junk", get("/in"), "more");
    assert_eq!(junk.len(), 120);
    for (first, answer, then, targets, is_told) in [
        // Discarded: the body is as long as it was said to be.
        (post("Content-Length: 10", "01234"), error, format!("56789{}", get("/next")), &["/a", "/next"][..], false),
        // Never sent, as after `Expect`.
        (post("Content-Length: 10\r\nExpect: 100-continue", ""), error, get("/next"), &["/a", "/next"], false),
        // The server reads on where it stands.
        (post("Content-Length: 99999", "0123"), error, format!("x\r\n{}", get("/next")), &["/a", "/next"], true),
        (post(chunked, "5\r\n01234\r\n100\r\n0"), error, format!("1\r\n{}", get("/next")), &["/a", "/next"], true),
        // Both are read: what stands in the body, and what follows it.
        (post("Content-Length: 120", ""), error, format!("{junk}{}", get("/next")), &["/a", "/in", "/next"], true),
        // It was read whole, or is being read.
        (post("Content-Length: 4", "0123"), error, get("/next"), &["/a", "/next"], false),
        (post("Content-Length: 120", ""), empty, format!("{junk}{}", get("/next")), &["/a", "/next"], false),
    ] {
        let mut talk = Talk::new(SETTINGS);
        talk.say(A, first.as_bytes());
        talk.say(B, answer.as_bytes());
        then.as_bytes().chunks(7).for_each(|piece| _ = talk.say(A, piece));
        talk.say(B, empty.as_bytes());
        talk.end();
        let events = talk.kept.of(Protocol::Http);
        let found: Vec<_> =
            events.iter().filter_map(|event| event.get(http::URL)).map(String::from_utf8_lossy).collect();
        assert_eq!(found, targets, "{first}");
        assert_eq!(talk.kept.0.iter().any(|(_, is_anomaly, _)| *is_anomaly), is_told, "{first}");
    }
}

/// Mails of many times the depth, in segments; one of them is lost on the way to the tap.
#[test]
fn what_follows_a_large_mail_is_seen() {
    let mail = b"A line of a mail, as long as most of them are, and one more word.\r\n".repeat(5_000);
    let mut talk = Talk::new(SETTINGS);
    assert!(mail.len() as u64 > 4 * SETTINGS.depth);
    talk.say(B, b"220 mx.example ESMTP\r\n");
    talk.say(A, b"EHLO c.example\r\n");
    talk.say(B, b"250 mx.example\r\n");
    for number in 0..3 {
        talk.say(A, format!("MAIL FROM:<{number}@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n").as_bytes());
        talk.say(B, b"250 ok\r\n250 ok\r\n354 go on\r\n");
        for (at, segment) in mail.chunks(1_400).enumerate() {
            if number == 1 && at == 7 {
                talk.next[0] += segment.len() as u32;
                talk.say(B, b"");
                continue;
            }
            talk.say(A, segment);
        }
        talk.say(A, b"\r\n.\r\n");
        talk.say(B, b"250 queued\r\n");
    }
    talk.end();
    let senders: Vec<_> = talk.kept.of(Protocol::Smtp).iter().filter_map(|one| one.get(smtp::MAIL_FROM)).collect();
    assert_eq!(senders.len(), 3, "{senders:?}");
    let sizes: Vec<_> = talk.kept.of(Protocol::Smtp).iter().filter_map(|one| one.get(smtp::SIZE)).collect();
    assert!(sizes.len() == 3 && sizes[0] == sizes[2], "{sizes:?}");
    assert_eq!(talk.inspector.take_counts().depth_reached, 0);

    let mut talk = Talk::new(SETTINGS);
    talk.say(B, b"+OK POP3 ready\r\n");
    talk.say(A, b"USER u\r\n");
    talk.say(B, b"+OK\r\n");
    for _ in 0..2 {
        talk.say(A, b"RETR 1\r\n");
        talk.say(B, b"+OK\r\n");
        mail.chunks(1_400).for_each(|segment| _ = talk.say(B, segment));
        talk.say(B, b".\r\n");
    }
    talk.say(A, b"DELE 1\r\n");
    talk.say(B, b"+OK gone\r\n");
    talk.end();
    let last = talk.kept.of(Protocol::Pop3).pop().and_then(|one| one.get(super::super::pop3::REPLY));
    assert_eq!(last, Some(&b"gone"[..]));
}

/// What is looked through has its own limit, which is counted.
#[test]
fn an_endless_mail_is_given_up() {
    let mut talk = Talk::new(SETTINGS);
    talk.say(B, b"220 mx.example ESMTP\r\n");
    talk.say(A, b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nDATA\r\n");
    let part = vec![b'x'; 60_000];
    let mut sent = 0;
    while talk.say(A, &part) != Wants::NOTHING {
        sent += part.len();
        assert!(sent <= LOOKED_MAX as usize, "{sent}");
    }
    assert!(sent > LOOKED_MAX as usize - 2 * part.len());
    assert_eq!(talk.inspector.take_counts().depth_reached, 1);
}

/// A tap that begins in the midst of a connection, where it turns into TLS or a tunnel, sees two protocols and nothing odd.
#[test]
fn what_turns_into_another_protocol_before_the_tap_is_not_told_to_differ() {
    let hello = small_hello();
    type Words<'a> = &'a [(Side, &'a [u8])];
    let talks: [(&str, u16, Words<'_>); 9] = [
        ("SMTP, behind EHLO", 25, &[(A, b"STARTTLS\r\n"), (B, b"220 2.0.0 Ready to start TLS\r\n")]),
        ("SMTP, behind STARTTLS", 587, &[(B, b"220 2.0.0 Ready to start ESMTP TLS\r\n")]),
        ("IMAP, behind the greeting", 143, &[(A, b"a2 STARTTLS\r\n"), (B, b"a2 OK Begin TLS negotiation now\r\n")]),
        ("IMAP, a greeting repeated", 143, &[(B, b"* OK IMAP4rev1 ready\r\n")]),
        ("FTP, behind the greeting", 21, &[(A, b"AUTH TLS\r\n"), (B, b"234 AUTH TLS successful\r\n")]),
        ("FTP, behind AUTH TLS", 21, &[(B, b"220 FTP server ready\r\n")]),
        ("POP3, behind STLS", 110, &[(B, b"+OK POP3 begin TLS\r\n")]),
        ("XMPP", 5222, &[(A, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), (B, b"<proceed/>")]),
        ("a proxy, behind CONNECT", 3128, &[(B, b"HTTP/1.1 200 Connection established\r\n\r\n")]),
    ];
    for (what, port, words) in talks {
        for cut in [1, 7, 1000] {
            let mut talk = Talk::new(SETTINGS);
            (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, port, 6, 0);
            words.iter().for_each(|(side, bytes)| _ = talk.say(*side, bytes));
            hello.chunks(cut).for_each(|piece| _ = talk.say(A, piece));
            talk.end();
            let differ = talk.kept.0.iter().filter(|(_, is_anomaly, _)| *is_anomaly).count();
            assert_eq!(differ, 0, "{what}, {cut}");
        }
    }
}
