//! Which protocol a connection is, whatever its sides put in front.

use super::super::super::tries::Turns;
use super::*;

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

/// What each side says, one after the other.
type Words<'a> = &'a [(Side, &'a [u8])];

/// What a connection was first is known as long as the flow is, whatever it turned into, and of no other flow.
#[test]
fn what_a_stream_was_first_is_kept() {
    const CONNECT: &[u8] = b"CONNECT h.example:443 HTTP/1.1\r\nHost: h.example\r\n\r\n";
    const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
    const UPGRADE: &[u8] = b"GET /w HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let hello = small_hello();
    let noise = [0xd7; 4096];
    let cases: [(&str, Words<'_>, Protocol, Protocol); 6] = [
        (
            "STARTTLS",
            &[(B, b"220 mail.example ESMTP\r\n"), (A, b"STARTTLS\r\n"), (B, b"220 ready\r\n"), (A, &hello)],
            Protocol::Tls,
            Protocol::Smtp,
        ),
        ("a tunnel to TLS", &[(A, CONNECT), (B, ESTABLISHED), (A, &hello)], Protocol::Tls, Protocol::Http),
        ("a tunnel to something", &[(A, CONNECT), (B, ESTABLISHED), (A, &noise)], Protocol::Http, Protocol::Http),
        ("a tunnel to the web", &[(A, CONNECT), (B, ESTABLISHED), (A, REQUEST)], Protocol::Http, Protocol::Http),
        ("WebSocket", &[(A, UPGRADE), (B, UPGRADED), (A, b"\x81\x82\0\0\0\0hi")], Protocol::WebSocket, Protocol::Http),
        ("nothing of the kind", &[(A, REQUEST), (B, ANSWER)], Protocol::Http, Protocol::Unknown),
    ];
    for (name, words, carried, first) in cases {
        let mut talk = Talk::new(SETTINGS);
        words.iter().for_each(|(side, bytes)| _ = talk.say(*side, bytes));
        let known = |talk: &Talk| (talk.inspector.application(talk.slot), talk.inspector.began_as(talk.slot));
        assert_eq!(known(&talk), (carried, first), "{name}");
        // Gives way to others that come, and is known all the same.
        let (slot, key) = (talk.slot, talk.key);
        for other in 8..14 {
            (talk.slot, talk.key) = (other, FlowKey::v4(7, other as u16, 8, 9999, 6, 0).0);
            (0..2).for_each(|_| _ = talk.say(A, REQUEST));
        }
        (talk.slot, talk.key) = (slot, key);
        assert_eq!(known(&talk), (carried, first), "{name}, given up");
        assert_eq!(talk.end(), carried, "{name}");
        assert_eq!(known(&talk), (Protocol::Unknown, Protocol::Unknown), "{name}, over");
        talk.say(A, REQUEST);
        assert_eq!(known(&talk), (Protocol::Http, Protocol::Unknown), "behind {name}");
    }
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
fn a_capture_that_begins_with_the_server_tells_who_is_the_client() {
    let smtp: &[u8] = b"250 ok\r\n";
    // Ports of who was seen first and of the other, what he says and what he is answered, and whether he is the server.
    type Case<'a> = (u16, u16, &'a [u8], &'a [u8], bool);
    let hello: &[u8] = &[0x16, 3, 1, 0, 46, 2, 0, 0, 42, 3, 1, 7, 7, 7, 7, 7];
    let confirms: &[u8] = &[0x68, 4, 0x0b, 0, 0, 0];
    let cases: [Case<'_>; 15] = [
        // What the other one says first overrules the ports.
        (8081, 12_004, b"data: x\n\n", REQUEST, true),
        (8081, 12_004, &[0; 64], REQUEST, true),
        (3306, 8081, &[0; 64], ANSWER, false),
        (3306, 40_000, b"data: x\n\n", ANSWER, false),
        (2525, 12_000, b"220 mail.example ESMTP\r\n", b"EHLO a\r\n", true),
        (3306, 2121, b"NOOP\r\n", b"220 (vsFTPd 2.3.4)\r\n", false),
        (54_233, 54_000, hello, b"", true),
        (54_233, 2404, confirms, b"", true),
        (2404, 50_003, &[0x68, 4, 0x43, 0, 0, 0], b"", true),
        (80, 40_000, ANSWER, REQUEST, true),
        (8080, 40_000, ANSWER, REQUEST, true),
        (80, 40_000, REQUEST, ANSWER, false),
        (40_000, 80, REQUEST, ANSWER, false),
        (80, 40_000, &[0; 64], b"", false),
        (25, 40_000, smtp, b"MAIL FROM:<a@b>\r\n", true),
    ];
    for ((first, second, said, answered, is_turned), cut) in
        cases.into_iter().flat_map(|case| [(case, 1000), (case, 3), (case, 1)])
    {
        let mut talk = Talk::new(SETTINGS);
        (talk.key, talk.originator) = FlowKey::v4(0x0a00_0001, first, 0x0a00_0002, second, 6, 0);
        talk.say_all(A, said.chunks(cut));
        talk.say_all(B, answered.chunks(cut));
        let application = talk.inspector.application(3);
        let told = is_turned && application != Protocol::Unknown;
        assert_eq!(talk.inspector.is_turned(3), told, "{first} {second} {application:?}, {cut}");
        talk.end();
        assert!(!talk.inspector.is_turned(3), "the flow is over");
        let client = if is_turned { talk.originator.flip() } else { talk.originator };
        assert!(talk.kept.2.iter().all(|originator| *originator == client), "{first} {second}, {cut}");
        for event in talk.kept.of(Protocol::Http).iter().filter(|event| event.get(http::URL).is_some()) {
            assert_eq!(event.number(http::STATUS), (!is_turned).then_some(204), "{first} {second}, {cut}");
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
        before: &[],
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
    let mut talk = Talk::begun(SETTINGS);
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
    let codes: Vec<u64> = events[1].all(ftp::CODE).map(crate::dataplane::inspect::facts::number).collect();
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

/// What servers greet with they say later too: to `REIN`, `STARTTLS`, any command.
#[test]
fn only_what_a_server_says_first_is_a_greeting() {
    let seen = [Some(1000), Some(9000)];
    let lost = [None; 2];
    let cases: [(Protocol, Turns<'_>, _, Option<&[u8]>); 14] = [
        (Protocol::Imap, &[(A, b"a2 SELECT INBOX\r\n"), (B, b"* 3 EXISTS\r\na2 OK done\r\n")], lost, None),
        (Protocol::Imap, &[(A, b"a2 SELECT INBOX\r\n"), (B, b"* 3 EXISTS\r\na2 OK done\r\n")], seen, None),
        (Protocol::Imap, &[(B, b"* OK here\r\n")], lost, None),
        (Protocol::Imap, &[(B, b"* OK here\r\n")], seen, Some(b"OK here")),
        (Protocol::Imap, &[(B, b"* OK here\r\n")], [None, Some(9000)], Some(b"OK here")),
        (Protocol::Imap, &[(B, b"* OK here\r\n")], [Some(1000), None], None),
        (Protocol::Smtp, &[(B, b"220 go SMTP\r\n")], lost, None),
        (Protocol::Smtp, &[(B, b"220 go SMTP\r\n")], seen, Some(b"go SMTP")),
        (Protocol::Smtp, &[(B, b"554 no SMTP\r\n")], seen, Some(b"no SMTP")),
        (Protocol::Ftp, &[(B, b"220 FTP\r\n")], lost, None),
        (Protocol::Ftp, &[(B, b"220-FTP\r\n220 b\r\n")], lost, None),
        (Protocol::Ftp, &[(B, b"220 FTP\r\n")], seen, Some(b"FTP")),
        (Protocol::Pop3, &[(B, b"+OK 3 messages\r\n")], lost, None),
        (Protocol::Pop3, &[(B, b"+OK hello\r\n")], seen, Some(b"hello")),
    ];
    for (protocol, turns, beginnings, wanted) in cases {
        let mut talk = Talk { beginnings, ..Talk::new(SETTINGS) };
        turns.iter().for_each(|(side, bytes)| _ = talk.say(*side, bytes));
        assert_eq!(talk.end(), protocol);
        let events = talk.kept.of(protocol);
        let banners = [ftp::BANNER, ftp::BANNER_LAST, smtp::BANNER, imap::BANNER, pop3::BANNER];
        let told = events.iter().flat_map(|event| banners.iter().filter_map(|fact| event.get(*fact)));
        assert_eq!(told.collect::<Vec<_>>(), wanted.into_iter().collect::<Vec<_>>(), "{turns:?} {beginnings:?}");
    }
}
