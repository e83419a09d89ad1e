//! Conversations of HTTP/2.

use super::super::hostile::stream;
use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
use super::*;

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
    [&[high, middle, low, kind, flags][..], &stream.to_be_bytes(), body].concat()
}

#[test]
fn is_recognised_by_its_preface() {
    let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
    for (bytes, wanted) in [
        (PREFACE, Match::Yes),
        (&PREFACE[..7], Match::Maybe),
        (&settings[..], Match::Yes),
        (&settings[..6], Match::Maybe),
        (b"\0\0\x05\x04\0\0\0\0\0\0\x03", Match::No),
        (b"POST", Match::No),
    ] {
        assert_eq!(probe(&stream(bytes, [40000, 9])), wanted, "{bytes:02x?}");
    }
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn requests_and_responses_are_paired() {
    let get = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\x7a\x03cur";
    let padded = [&[2, 0, 0, 0, 0, 9][..], b"\x83\x04\x0d/?password=ab", &[0, 0]].concat();
    let client = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, get), &frame(1, 0x2c, 3, &padded)].concat();
    let server = [
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(1, 4, 1, b"\x88"),
        frame(0, 1, 1, &[b'x'; 10_000]),
        frame(1, 4, 3, b"\x8d"),
    ]
    .concat();
    let turns: Turns<'_> = &[(C, &client), (S, &server)];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "stream=1 method=GET scheme=http path=/ authority=www.example.com user_agent=cur",
        "stream=3 method=POST path=/?password=* secret_sent=1",
        "stream=1 status=200",
        "stream=3 status=404",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<State>(&[(C, &client)]);
}

#[test]
fn a_password_in_the_authority_is_not_told() {
    for (authority, wanted) in
        [("bob:Hunter2PW@a.org", "a.org"), ("bob@a.org", "bob@a.org"), ("a.org:8080", "a.org:8080")]
    {
        let field = [&[0x41, authority.len() as u8][..], authority.as_bytes()].concat();
        let client = [PREFACE, &frame(1, 4, 1, &field)].concat();
        let (events, _) = talk::<State>(&[(C, &client), (S, &frame(1, 4, 1, b"\x88"))], &[FACTS]);
        assert_eq!(events.first().map(String::as_str), Some(&*format!("stream=1 authority={wanted} status=200")));
    }
}

#[test]
fn what_is_wrong_has_a_name() {
    for (bytes, wanted) in [
        (frame(1, 4, 0, b"\x88"), "stream_invalid"),
        (frame(1, 4, 1, b"\x80"), "block_invalid"),
        (b"\xff\xff\xff\x00\0\0\0\0\0".to_vec(), "frame_too_long"),
    ] {
        assert_eq!(talk::<State>(&[(S, &bytes)], &[FACTS]).1, [wanted]);
    }
}

/// A connection with its memory, as the inspector gives it.
#[derive(Default)]
struct Whole {
    state: State,
    memory: Box<Connection>,
}

impl Parse for Whole {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        self.state.step_with(side, bytes, Some(&mut self.memory), out)
    }

    fn end(&mut self, out: &mut dyn Output) {
        self.memory.tell_all(out);
        self.state.end(out);
    }
}

/// A literal that goes into the table.
fn added(index: u8, value: &str) -> Vec<u8> {
    [&[0x40 | index, value.len() as u8][..], value.as_bytes()].concat()
}

#[test]
fn streams_at_once_are_one_event_each_and_the_table_is_followed() {
    let first = [&[0x82, 0x87][..], &added(4, "/one"), &added(1, "evil.example"), &added(58, "agent")].concat();
    // agent is 62, evil.example 63, /one 64.
    let second = [&[0x83, 0xbe, 0xbf][..], &added(4, "/two")].concat();
    let third = [0x82, 0xbe, 0xc0, 0xbf]; // /two is 62 now
    let client = [
        PREFACE,
        &frame(4, 0, 0, &[]),
        &frame(1, 4, 1, &first),
        &frame(1, 4, 3, &second),
        &frame(0, 1, 3, b"body"),
        &frame(1, 5, 5, &third),
        &frame(1, 5, 7, &third),
        &frame(1, 5, 1, &[0, 1, b'a', 1, b'b']), // trailers
        &frame(3, 0, 7, &[0, 0, 0, 8]),
    ]
    .concat();
    let server = [
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(1, 4, 3, &[&[0x8d][..], &added(54, "nginx")].concat()),
        frame(1, 4, 1, &[0x48, 3, b'1', b'0', b'3']),
        frame(1, 4, 1, &[0x88, 0xbf]),
        frame(1, 5, 1, &[0, 1, b'a', 1, b'b']), // trailers
    ]
    .concat();
    let turns: Turns<'_> = &[(C, &client), (S, &server)];
    let (events, anomalies) = talk::<Whole>(turns, &[FACTS]);
    let wanted = [
        "stream=7 method=GET path=/two authority=evil.example user_agent=agent",
        "stream=3 method=POST user_agent=agent authority=evil.example path=/two status=404 server=nginx",
        "stream=1 method=GET scheme=https path=/one authority=evil.example user_agent=agent status=200 server=nginx",
        "stream=5 method=GET path=/two authority=evil.example user_agent=agent",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<Whole>(turns);
}

#[test]
fn a_block_goes_on_in_continuations() {
    let block = [&[0x82][..], &added(4, "/path"), &added(1, "evil.example")].concat();
    for cut in 0..block.len() {
        let (head, tail) = block.split_at(cut);
        let padded = [&[3][..], head, &[0; 3]].concat();
        let client = [
            PREFACE,
            &frame(1, 8, 1, &padded),
            &frame(9, 0, 1, &[]),
            &frame(9, 4, 1, tail),
            &frame(1, 4, 3, &[0x82, 0xbf]),
        ]
        .concat();
        let (events, anomalies) = talk::<Whole>(&[(C, &client)], &[FACTS]);
        let wanted = ["stream=1 method=GET path=/path authority=evil.example", "stream=3 method=GET path=/path"];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    }
    for (other, wanted) in [
        (frame(0, 0, 1, b"x"), "block_invalid"),
        (frame(9, 0, 3, b"x"), "block_invalid"),
        (frame(9, 0, 1, &[0x90; 20_000]), "block_too_long"),
    ] {
        let client = [PREFACE, &frame(1, 0, 1, &block), &other, &frame(1, 4, 5, &[0x82, 0xbe])].concat();
        let (events, anomalies) = talk::<Whole>(&[(C, &client)], &[FACTS]);
        let known = ["stream=1 method=GET path=/path authority=evil.example", "stream=5 method=GET"];
        assert_eq!((events, anomalies), (known.map(str::to_owned).to_vec(), vec![wanted]), "a table that may be wrong");
    }
}

#[test]
fn of_requests_that_wait_the_oldest_gives_way() {
    let path = format!("/{}", "a".repeat(120));
    let block = [&[0x82][..], &[0x04, path.len() as u8], path.as_bytes()].concat();
    let mut client = PREFACE.to_vec();
    (0..100).for_each(|number| client.extend(frame(1, 4, 2 * number + 1, &block)));
    let last = frame(1, 4, 199, b"\x88");
    let (events, anomalies) = talk::<Whole>(&[(C, &client), (S, &last)], &[FACTS]);
    assert_eq!((events.len(), anomalies), (100, vec![]));
    assert!(events[0].starts_with("stream=1 method=GET path=/a"), "{}", events[0]);
    assert!(events.iter().any(|event| event.starts_with("stream=199 ") && event.ends_with(" status=200")));
}

/// Gateways from HTTP/1 send `host`; a receiver that gets both takes one of them (RFC 9113 section 8.3.1).
#[test]
fn a_host_is_an_authority() {
    let host = |value: &str| [&[0x0f, 38 - 15, value.len() as u8][..], value.as_bytes()].concat();
    let authority = |value: &str| [&[0x01, value.len() as u8][..], value.as_bytes()].concat();
    let run = |fields: &[Vec<u8>]| {
        let client = [PREFACE, &frame(1, 4, 1, &[&[0x82], &fields.concat()[..]].concat())].concat();
        let server = frame(1, 4, 1, &[&[0x88], &host("other.example")[..]].concat());
        let (events, anomalies) = talk::<Whole>(&[(C, &client), (S, &server)], &[FACTS]);
        assert_eq!(events.len(), 1);
        (events[0].clone(), anomalies)
    };
    let wanted = |name: &str| format!("stream=1 method=GET authority={name} status=200");
    let long = "a".repeat(300);
    for (fields, name, anomalies) in [
        (vec![host("evil.example")], "evil.example", vec![]),
        (vec![host("bob:Hunter2PW@evil.example")], "evil.example", vec![]),
        (vec![authority("Evil.example"), host("evil.EXAMPLE")], "Evil.example", vec![]),
        (vec![authority("evil.example:443"), host("evil.example")], "evil.example:443", vec![]),
        (vec![authority(&long[..120]), host(&long[..120])], &long[..120], vec![]),
        (vec![authority("good.example"), host("evil.example")], "good.example", vec!["host_differs"]),
        (vec![authority("good.example"), authority("evil.example")], "good.example", vec!["host_differs"]),
        (vec![authority("evil.example:8080"), host("evil.example:8081")], "evil.example:8080", vec!["host_differs"]),
    ] {
        assert_eq!(run(&fields), (wanted(name), anomalies));
    }
}

#[test]
fn sizes_of_tables_and_odd_fields_hide_none_that_is_wanted() {
    let odd = [0, 1, b'a', 1, b'b'].repeat(1000);
    for before in [vec![0x20; 128], vec![0x20; 5000], odd] {
        let block = [&before[..], &[0x82], &added(1, "evil.example"), &added(4, "/evil")].concat();
        let client = [PREFACE, &frame(1, 4, 1, &block), &frame(1, 4, 3, &[0x82, 0xbf])].concat();
        let (events, anomalies) = talk::<Whole>(&[(C, &client)], &[FACTS]);
        let wanted =
            ["stream=1 method=GET authority=evil.example path=/evil", "stream=3 method=GET authority=evil.example"];
        assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    }
}

/// A byte each, and long: they are a bound on work, and what is behind them is told to be missing.
#[test]
fn of_too_many_fields_the_event_is_cut() {
    let via = added(60, &"v".repeat(100));
    let block = [&via[..], &[0xbe; hpack::FIELDS_MAX], &added(58, "agent")].concat();
    let (mut whole, mut out) = (Whole::default(), super::super::parse::Record::default());
    whole.state.has_preface = true;
    for (stream, block, is_cut) in [(1, &block[..], true), (3, &[0x82, 0xbe][..], false)] {
        assert_eq!(whole.step(C, &frame(1, 4, stream, block), &mut out), Step::Skip((block.len() + HEAD) as u64));
        whole.memory.tell_all(&mut out);
        let event = out.events.last().unwrap();
        assert_eq!((event.number(STREAM), event.is_truncated()), (Some(stream.into()), is_cut));
    }
    assert_eq!(out.events.last().unwrap().get(USER_AGENT), Some(&b"agent"[..]), "the table heard of it");
}
