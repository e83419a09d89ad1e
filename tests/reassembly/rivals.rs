//! Handshakes with other numbers on a connection that goes on, as who can inject both ways forges them: what both sides go on
//! with is read.

use super::{ANSWER, C, LENGTH, REQUEST, S, Talk, told, urls};
use shrike::metrics::Counter;

const GOT: i64 = ANSWER.len() as i64;

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h.example\r\nUser-Agent: curl\r\n\r\n").into_bytes()
}

/// A handshake whose numbers are so much further than those of the true connection, and a transaction of its own.
fn forge(talk: &mut Talk, [client, server]: [i64; 2], path: Option<&str>) {
    talk.frame(C, "s", client - 1, 0, b"").frame(S, "sa", server - 1, client, b"").frame(C, "a", client, server, b"");
    if let Some(path) = path {
        let request = request(path);
        let sent = client + request.len() as i64;
        talk.say(C, client, server, &request).say(S, server, sent, ANSWER).say(C, sent, server + GOT, b"");
    }
}

const FAR: [i64; 2] = [1 << 29, 3 << 29];
const FARTHER: [i64; 2] = [-(1 << 29), -(3 << 28)];

#[test]
fn what_a_forged_handshake_interrupts_is_read_on() {
    let [first, second] = [request("/first"), request("/second")];
    let (sent, half) = (first.len() as i64, second.len() / 2);
    let end = sent + second.len() as i64;
    // How much the connection said before, and what is forged behind the handshakes.
    for (name, before, forged) in [
        ("nothing said", 0, [None, None]),
        ("a transaction", 1, [None, None]),
        ("in the midst of a request", 2, [None, None]),
        ("in the midst, and a false transaction", 2, [Some("/false"), None]),
        ("nothing said, and a false transaction", 0, [Some("/false"), None]),
        ("two of them", 2, [Some("/false"), Some("/falser")]),
    ] {
        let mut talk = Talk::open(40_301);
        if before > 0 {
            talk.say(C, 0, 0, &first).say(S, 0, sent, ANSWER);
        }
        if before > 1 {
            talk.say(C, sent, GOT, &second[..half]).say(S, GOT, sent + half as i64, b"");
        }
        forge(&mut talk, FAR, forged[0]);
        if forged[1].is_some() {
            forge(&mut talk, FARTHER, forged[1]);
        }
        if before == 0 {
            talk.say(C, 0, 0, &first).say(S, 0, sent, ANSWER);
        }
        let from = if before > 1 { half } else { 0 };
        talk.say(C, sent + from as i64, GOT, &second[from..]).say(S, GOT, end, ANSWER).close(end, 2 * GOT);
        let (mut found, outcome) = urls(&talk);
        found.retain(|url| url != "/false" && url != "/falser");
        found.sort();
        assert_eq!(found, ["/first", "/second"], "{name}");
        assert_eq!(outcome.count(Counter::InspectHoles), 0, "{name}");
        assert!(told(&talk, "\"stream.est_synack_resend_with_different_ack\"") > 0, "{name}");
    }
}

/// The sides of the forged handshake are exchanged.
#[test]
fn a_forged_handshake_from_the_other_side_turns_nothing() {
    let [first, second] = [request("/first"), request("/second")];
    let (sent, end) = (first.len() as i64, (first.len() + second.len()) as i64);
    let mut talk = Talk::open(40_302);
    talk.say(C, 0, 0, &first).say(S, 0, sent, ANSWER);
    talk.frame(S, "s", FAR[0], 0, b"").frame(C, "sa", FAR[1], FAR[0] + 1, b"").frame(
        S,
        "a",
        FAR[0] + 1,
        FAR[1] + 1,
        b"",
    );
    talk.say(C, sent, GOT, &second).say(S, GOT, end, ANSWER).close(end, 2 * GOT);
    let (found, _) = urls(&talk);
    assert_eq!(found, ["/first", "/second"]);
}

/// Where the tap lost how the old one ended, the new one is read from its beginning.
#[test]
fn a_new_connection_is_read_beside_the_one_that_is_over() {
    let mut talk = Talk::open(40_303);
    talk.say(C, 0, 0, REQUEST).say(S, 0, LENGTH, ANSWER);
    forge(&mut talk, FAR, Some("/new"));
    let [client, server] = FAR;
    let sent = client + request("/new").len() as i64;
    let newer = request("/newer");
    talk.say(C, sent, server + GOT, &newer).say(S, server + GOT, sent + newer.len() as i64, ANSWER);
    let (mut found, outcome) = urls(&talk);
    found.sort();
    assert_eq!(
        (found, outcome.count(Counter::FlowsCreated)),
        (["/a", "/new", "/newer"].map(str::to_owned).to_vec(), 2)
    );
}

/// One beside: a third gives way, and that is counted.
#[test]
fn of_three_connections_the_one_that_was_read_least_is_given_up() {
    let mut talk = Talk::open(40_304);
    let long = format!("{}?{}", "/first", "x".repeat(1000));
    let [first, second] = [request(&long), request("/second")];
    let (sent, end) = (first.len() as i64, (first.len() + second.len()) as i64);
    talk.say(C, 0, 0, &first).say(S, 0, sent, ANSWER);
    forge(&mut talk, FAR, Some("/false"));
    forge(&mut talk, FARTHER, Some("/falser"));
    talk.say(C, sent, GOT, &second).say(S, GOT, end, ANSWER).close(end, 2 * GOT);
    let (mut found, outcome) = urls(&talk);
    found.sort();
    assert_eq!(found, ["/false".to_owned(), "/falser".to_owned(), long, "/second".to_owned()]);
    assert_eq!(outcome.count(Counter::InspectContested), 1);
    assert_eq!(told(&talk, "\"unread\":[\"contested\"]"), 1);
}
