//! Holes, SYNs with data, and what nobody can have sent.

use super::super::super::tries::show;
use super::*;

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
        before: &[],
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

/// A head with a hole is told as far as its lines are whole, with what it belongs to, however its bytes were cut and whenever
/// the hole is known.
#[test]
fn a_request_with_a_hole_in_its_head_is_told_as_far_as_it_is_there() {
    let head = b"GET /14 HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/8\r\nCookie: 0123456789\r\n\r\n";
    let shown = |facts: &Facts| {
        let truncated = if facts.is_truncated() { " truncated" } else { "" };
        show(facts, &[http::FACTS]).replace(" protocol=HTTP/1.1", "").replace(" length=0", "") + truncated
    };
    let line = "transaction=0 method=GET url=/14";
    let whole = "transaction=1 method=GET url=/a hostname=h.example status=204 server=s";
    for (from, to, wanted) in [
        (60, 67, format!("{line} hostname=h user_agent=curl/8")),
        (45, 67, format!("{line} hostname=h")),
        (47, 60, format!("{line} hostname=h user_agent=curl/8")),
        (44, 60, format!("{line} hostname=h")),
        (20, 60, line.to_owned()),
        (12, 60, "transaction=0".to_owned()),
        // Nothing is seen behind it.
        (60, head.len(), format!("{line} hostname=h user_agent=curl/8")),
        (44, head.len(), format!("{line} hostname=h")),
        (12, head.len(), String::new()),
    ] {
        for (piece, order) in [1, 5, 100].into_iter().flat_map(|piece| [0, 1, 2].map(|order| (piece, order))) {
            let mut talk = Talk::begun(SETTINGS);
            talk.say_all(A, head[..from].chunks(piece));
            talk.next[0] += (to - from) as u32;
            if order == 1 {
                talk.say(B, b""); // before what lies behind
            }
            talk.say_all(A, head[to..].chunks(piece));
            if order == 2 {
                talk.say(B, b"");
            }
            for (side, bytes) in [(B, ANSWER), (A, REQUEST), (B, ANSWER)] {
                talk.say_all(side, bytes.chunks(piece));
            }
            talk.end();
            let told: Vec<_> = talk.kept.of(Protocol::Http).into_iter().map(shown).collect();
            let (is_last, answer) = (to == head.len(), "status=204 server=s");
            let first = match (is_last, wanted.contains("method")) {
                (false, true) => vec![format!("{wanted} {answer} truncated")],
                (false, false) => vec![format!("{wanted} {answer}")],
                (true, true) => vec![format!("transaction=0 {answer}"), format!("{wanted} truncated")],
                (true, false) => vec![format!("transaction=0 {answer}")],
            };
            assert_eq!(told, [first, vec![whole.to_owned()]].concat(), "{from} {to} {piece} {order}");
            let anomalies: Vec<_> = talk.kept.3.iter().filter(|(protocol, _)| *protocol == Protocol::Http).collect();
            assert!(anomalies.is_empty(), "{from} {to} {piece} {order}: {anomalies:?}");
        }
    }
}

/// Nor does another one have to follow.
#[test]
fn a_request_whose_end_is_lost_is_told_at_the_end_of_the_flow() {
    let head = b"GET /14 HTTP/1.1\r\nHost: h\r\nCookie: 0123456789\r\n\r\n";
    for (from, lost, wanted) in [
        (30, 20, Some("h")),
        (20, 30, None),
        // What was not acknowledged may yet come; one number more may be a FIN's.
        (30, 0, Some("-")),
        (30, 1, Some("-")),
    ] {
        for piece in [1, 100] {
            let mut talk = Talk::begun(SETTINGS);
            talk.say_all(A, head[..from].chunks(piece));
            talk.next[0] += lost;
            talk.say_all(B, b"HTTP/1.0 200 OK\r\n\r\nuntil the end".chunks(piece));
            talk.end();
            let told = talk.kept.of(Protocol::Http);
            let text = |facts: &Facts, fact| facts.get(fact).map(|text| String::from_utf8_lossy(text).into_owned());
            let told: Vec<_> = told
                .iter()
                .map(|one| {
                    (
                        one.number(http::TRANSACTION),
                        one.number(http::STATUS),
                        one.number(http::LENGTH),
                        text(one, http::URL),
                        text(one, http::HOSTNAME),
                        one.is_truncated(),
                    )
                })
                .collect();
            let mut all = vec![(Some(0), Some(200), Some(13), None, None, false)];
            if wanted != Some("-") {
                all.push((Some(0), None, None, Some("/14".to_owned()), wanted.map(str::to_owned), true));
            }
            assert_eq!(told, all, "{from} {lost} {piece}");
            let counts = talk.inspector.take_counts();
            assert_eq!((counts.holes, counts.gap_bytes), if lost > 1 { (1, lost.into()) } else { (0, 0) });
        }
    }
}

#[test]
fn a_response_with_a_hole_in_its_head_is_told_as_far_as_it_is_there() {
    let head = b"HTTP/1.1 200 OK\r\nServer: nginx/1.2\r\nX: 0123456789\r\nContent-Length: 4\r\n\r\nbody";
    for (from, wanted) in [
        (5, (None, None, false)),
        (30, (Some(200), None, true)),
        (37, (Some(200), Some("nginx/1.2"), true)),
        (40, (Some(200), Some("nginx/1.2"), true)),
    ] {
        for piece in [1, 100] {
            let mut talk = Talk::begun(SETTINGS);
            talk.say(A, REQUEST);
            talk.say_all(B, head[..from].chunks(piece));
            talk.next[1] += 50 - from as u32;
            talk.say_all(B, head[50..].chunks(piece));
            talk.say(A, REQUEST);
            talk.end();
            let told = talk.kept.of(Protocol::Http).into_iter().map(|facts| {
                let server = facts.get(http::SERVER).map(|text| String::from_utf8_lossy(text).into_owned());
                (facts.get(http::URL).is_some(), facts.number(http::STATUS), server, facts.is_truncated())
            });
            let told: Vec<_> = told.collect();
            let (status, server, truncated) = wanted;
            let first = (true, status, server.map(str::to_owned), truncated);
            assert_eq!(told, [first, (true, None, None, false)], "{from} {piece}");
        }
    }
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
            before: &[],
            is_cut: false,
            time: Timestamp(5),
        };
        talk.inspector.payload(&payload, &mut talk.kept);
    }
    talk.end();
    assert_eq!(talk.kept.of(Protocol::Http)[0].get(http::URL), Some(&b"/a"[..]));
    assert_eq!(talk.inspector.take_counts().refused, 1);
}
