//! Bodies of requests that were not whole when they were answered.

use super::*;

#[test]
fn an_answer_says_what_had_not_come_of_its_request() {
    let post = |kind: &str, length: usize, body: usize| {
        let head = format!("POST /x HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), &vec![b'a'; body]].concat()
    };
    let missing = |turns: Turns<'_>| {
        let (events, _) = talk::<State>(turns, &[FACTS]);
        let found = events.iter().map(|event| {
            let at = event.find(" request_missing=")?;
            event[at + 17..].split(' ').next().map(|number| number.parse().expect("a number"))
        });
        found.collect::<Vec<Option<u64>>>()
    };
    let no = &b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"[..];
    for (what, kind, length, body, wanted) in [
        ("a part", "application/octet-stream", 100, 30, Some(70)),
        ("nothing", "application/octet-stream", 100, 0, Some(100)),
        ("all", "application/octet-stream", 100, 100, None),
        // Its beginning is wanted whole, so nobody knows how much of it is there.
        ("a part of a form", "application/x-www-form-urlencoded", 100, 30, Some(100)),
        ("a form", "application/x-www-form-urlencoded", 100, 100, None),
    ] {
        let post = post(kind, length, body);
        assert_eq!(missing(&[(C, &post), (S, no)]), [wanted], "{what}");
    }
    // Nobody answered before it was over.
    let part = post("application/octet-stream", 100, 30);
    assert_eq!(missing(&[(C, &part)]), [Some(70)]);
    assert_eq!(missing(&[(C, &post("application/octet-stream", 100, 100))]), [None]);
    assert_eq!(missing(&[(C, GET)]), [None]);
    // The next request has a body of its own; an answer may be that of the one before.
    let whole = post("application/octet-stream", 100, 100);
    assert_eq!(missing(&[(C, &whole), (S, OK), (C, GET), (S, OK)]), [None; 2]);
    let two = [GET, &post("application/octet-stream", 100, 30)].concat();
    assert_eq!(missing(&[(C, &two), (S, OK)]), [None; 3]);
}
