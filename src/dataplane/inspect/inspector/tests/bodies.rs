//! Requests and answers, bodies and mails.

use super::*;

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
    let last = talk.kept.of(Protocol::Pop3).pop().and_then(|one| one.get(crate::dataplane::inspect::pop3::REPLY));
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
    while talk.say(A, &part).payload[A as usize] {
        sent += part.len();
        assert!(sent <= LOOKED_MAX as usize, "{sent}");
    }
    assert!(sent > LOOKED_MAX as usize - 2 * part.len());
    assert_eq!(talk.inspector.take_counts().depth_reached, 1);
}
