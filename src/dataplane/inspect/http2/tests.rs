//! Conversations of HTTP/2.

use super::super::facts::Facts;
use super::super::hostile::stream;
use super::super::parse::feed;
use super::super::tries::{C, S, Turns, show, spoil, talk, unambiguous};
use super::*;

/// A frame whole.
pub(in crate::dataplane::inspect) fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
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
        (frame(5, 4, 1, b"\0\0\0\0\x82"), "stream_invalid"),
        (frame(5, 4, 1, b"\0\0"), "stream_invalid"),
        (b"\xff\xff\xff\x08\0\0\0\0\0".to_vec(), "frame_too_long"),
    ] {
        assert_eq!(talk::<State>(&[(S, &bytes)], &[FACTS]).1, [wanted]);
    }
}

/// What ends agree upon (SETTINGS_MAX_FRAME_SIZE) goes up to all that 24 bits tell.
#[test]
fn frames_of_any_length_are_passed_over() {
    let mut out = super::super::parse::Record::default();
    for kind in [0, 7, 10, 200] {
        for length in [0, 1 << 20, (1 << 20) + 1, (1 << 24) - 1_u32] {
            let [_, high, middle, low] = length.to_be_bytes();
            let head = [high, middle, low, kind, 1, 0, 0, 0, 1];
            for side in [C, S] {
                let mut state = State { has_preface: true, ..State::default() };
                assert_eq!(state.step(side, &head, &mut out), Step::Skip(u64::from(length) + 9), "{kind} {length}");
            }
        }
    }
    let long = [0_u8; (1 << 20) + 5];
    let client = [PREFACE, &frame(0, 0, 9, &long), &frame(1, 5, 1, &[0x82])].concat();
    assert_eq!(talk::<State>(&[(C, &client)], &[FACTS]), (vec!["stream=1 method=GET".to_owned()], vec![]));
}

/// A connection with its memory, as the inspector gives it.
struct Whole {
    state: State,
    connection: Box<Connection>,
    requests: Requests,
}

impl Default for Whole {
    fn default() -> Whole {
        Whole { state: State::default(), connection: Box::default(), requests: Requests::new(2048) }
    }
}

impl Parse for Whole {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let Whole { state, connection, requests } = self;
        state.step_with(side, bytes, Some(Memory { connection, number: 0, share: 0, requests }), out)
    }

    fn end(&mut self, out: &mut dyn Output) {
        self.connection.tell_all(false, &mut self.requests, out);
        self.state.end(out);
        assert_eq!(self.requests.used(), 0);
    }
}

/// Events of a connection with its memory, and whether each is cut; the same for every cutting, or it panics.
fn events(turns: Turns<'_>) -> Vec<(String, bool)> {
    let (told, _) = talk::<Whole>(turns, &[FACTS]);
    let (mut whole, mut out) = (Whole::default(), super::super::parse::Record::default());
    for (side, bytes) in turns {
        feed(&mut whole, *side, bytes, usize::MAX, &mut out);
    }
    whole.end(&mut out);
    assert_eq!(out.events.iter().map(|event| show(event, &[FACTS])).collect::<Vec<_>>(), told);
    told.into_iter().zip(out.events.iter().map(Facts::is_truncated)).collect()
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

/// What a browser sends: some forty bytes by index from the second request on, or all of it each time.
fn browser(number: u32, is_indexed: bool) -> Vec<u8> {
    const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                         Chrome/141.0.0.0 Safari/537.36";
    let path = format!("/static/assets/js/vendor~main~runtime.{number:0>20}.chunk.js?v=2025-11-22T12");
    let (path, accept) = (never(4, &path), never(19, "*/*"));
    let language = never(17, "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7");
    let fields = match (is_indexed, number) {
        (true, 1..) => [&[0x82, 0x86, 0xbf, 0xbe][..], &path].concat(),
        (true, 0) => [&[0x82, 0x86][..], &added(1, "www.shop.example"), &added(58, AGENT), &path].concat(),
        (false, _) => [&[0x82, 0x86][..], &never(1, "www.shop.example"), &never(58, AGENT), &path].concat(),
    };
    [fields, accept, language].concat()
}

/// A literal that goes into no table.
fn never(index: u8, value: &str) -> Vec<u8> {
    let name = if index < 15 { vec![0x10 | index] } else { vec![0x1f, index - 15] };
    [&name[..], &[value.len() as u8], value.as_bytes()].concat()
}

/// As many as browsers, gRPC and load testers have: nginx allows 128 unless told otherwise, Go 250.
#[test]
fn many_streams_at_once_have_their_responses() {
    for (count, is_indexed) in [(100, true), (128, true), (128, false), (250, false)] {
        let ids = (0..count).map(|number| 2 * number + 1);
        let requests = ids.clone().map(|id| frame(1, 5, id, &browser(id / 2, is_indexed)));
        let client = [PREFACE.to_vec(), frame(4, 0, 0, &[])].into_iter().chain(requests).collect::<Vec<_>>().concat();
        let response = |id| [frame(1, 4, id, &[&[0x88][..], &never(31, "text/css")].concat()), frame(0, 1, id, b"a{}")];
        let server: Vec<u8> = ids.rev().flat_map(response).collect::<Vec<_>>().concat();
        let events = events(&[(C, &client), (S, &server)]);
        assert_eq!(events.len(), count as usize);
        for ((event, is_cut), id) in events.iter().zip((0..count).rev().map(|number| 2 * number + 1)) {
            assert!(event.starts_with(&format!("stream={id} method=GET scheme=http ")), "{event}");
            for part in
                [&format!(".{:0>20}.", id / 2), "www.shop.example", "Chrome", " status=200 content_type=text/css"]
            {
                assert!(event.contains(part) && !is_cut, "{event}");
            }
        }
    }
}

#[test]
fn of_too_many_requests_that_wait_the_oldest_gives_way() {
    let count = REQUESTS_MAX as u32 + 44;
    let requests = (0..count).map(|number| frame(1, 5, 2 * number + 1, &[0x82, 0x84]));
    let client = std::iter::once(PREFACE.to_vec()).chain(requests).collect::<Vec<_>>().concat();
    let server: Vec<u8> = (0..count).flat_map(|number| frame(1, 5, 2 * number + 1, b"\x88")).collect();
    let events = events(&[(C, &client), (S, &server)]);
    let wanted = (0..44).map(|number| (format!("stream={} method=GET path=/", 2 * number + 1), true));
    let alone = (0..44).map(|number| (format!("stream={} status=200", 2 * number + 1), false));
    let whole = (44..count).map(|number| (format!("stream={} method=GET path=/ status=200", 2 * number + 1), false));
    assert_eq!(events, wanted.chain(alone).chain(whole).collect::<Vec<_>>());
}

/// RFC 9113 section 6.6: the promise changes the table of what the server sends, and has its response later.
#[test]
fn what_a_server_promises_is_told_as_its_own() {
    let fields = [&[0x82, 0x86][..], &added(4, "/style.css"), &added(1, "a.example")].concat();
    let promise = [&[0, 0, 0, 2][..], &fields].concat();
    let padded = [&[7][..], &promise, &[0; 7]].concat();
    let (head, tail) = promise.split_at(9);
    let padded_head = [&[2][..], head, &[0; 2]].concat();
    // A flag that HEADERS have means nothing in a promise.
    for frames in [
        frame(5, 4, 1, &promise),
        frame(5, 0x2c, 1, &padded),
        [frame(5, 0, 1, head), frame(9, 0, 1, &[]), frame(9, 4, 1, tail)].concat(),
        [frame(5, 8, 1, &padded_head), frame(9, 4, 1, tail)].concat(),
    ] {
        let client = [PREFACE, &frame(1, 5, 1, &[&[0x82][..], &never(4, "/")].concat())].concat();
        let server = [
            &frames[..],
            &frame(1, 4, 1, &[&[0x88][..], &added(54, "nginx")].concat()),
            &frame(0, 1, 1, b"page"),
            &frame(1, 4, 2, &[0x88, 0xbe]), // nginx; the promise's fields lie behind it
            &frame(0, 1, 2, b"style"),
            &frame(5, 4, 3, &[0, 0, 0, 4, 0x82, 0xbf, 0xc0]),
        ]
        .concat();
        let wanted = [
            "stream=1 method=GET path=/ status=200 server=nginx",
            "stream=2 pushed=1 method=GET scheme=http path=/style.css authority=a.example status=200 server=nginx",
            "stream=4 pushed=1 method=GET authority=a.example path=/style.css",
        ];
        assert_eq!(events(&[(C, &client), (S, &server)]), wanted.map(|event| (event.to_owned(), false)));
        spoil::<Whole>(&[(S, &frames)]);
    }
    // A client must not; its table hears of it, and nothing is told of it.
    let client = [PREFACE, &frame(5, 4, 1, &promise), &frame(1, 4, 3, &[0x82, 0xbe])].concat();
    let told = talk::<Whole>(&[(C, &client)], &[FACTS]);
    assert_eq!(told, (vec!["stream=3 method=GET authority=a.example".to_owned()], vec!["stream_invalid"]));
}

#[test]
fn what_a_table_does_not_have_makes_the_event_truncated() {
    let path =
        |length: usize| [&[0x44, 0x7f][..], &[0x80 | (length - 127) as u8, ((length - 127) >> 7) as u8]].concat();
    let long = [path(1000), vec![b'a'; 1000]].concat();
    let five = [&[0x82][..], &added(4, "/one"), &long.repeat(5)].concat();
    for (fields, wanted, is_cut) in [
        (&[0x82, 0xbe][..], "stream=1 method=GET", true),
        (&[0x82, 0x0f, 0x2f, 1, b'x'], "stream=1 method=GET", true),
        (&[0xbe], "stream=1", true),
        (&[0x82, 0x86], "stream=1 method=GET scheme=http", false),
    ] {
        let response = [frame(1, 4, 1, &[0x88]), frame(1, 5, 1, &[0xbe])].concat(); // trailers, not known
        let client = [PREFACE, &frame(1, 4, 1, fields), &frame(1, 5, 1, &[0xc0])].concat();
        let events = events(&[(C, &client), (S, &response)]);
        assert_eq!(events, [(format!("{wanted} status=200"), is_cut)], "{fields:02x?}");
    }
    // The newest 256 entries are known.
    let many = [&[0x82][..], &[0x40, 1, b'a', 1, b'b'].repeat(ENTRIES_MAX + 1)].concat();
    for (back, is_cut) in [(ENTRIES_MAX, false), (ENTRIES_MAX + 1, true)] {
        let index = back + 61 - 127;
        let fields = [0x82, 0xff, 0x80 | index as u8, (index >> 7) as u8];
        let client = [PREFACE, &frame(1, 5, 1, &many), &frame(1, 5, 3, &fields)].concat();
        assert_eq!(events(&[(C, &client)]).last(), Some(&("stream=3 method=GET".to_owned(), is_cut)));
    }
    // The first path was written over; its name is still known.
    for (fields, wanted, is_cut) in [
        (&[0x82, 0xc3][..], "stream=3 method=GET", true),
        (&[0x82, 0x0f, 0x34, 2, b'/', b'b'], "stream=3 method=GET path=/b", false),
    ] {
        let client = [PREFACE, &frame(1, 5, 1, &five), &frame(1, 5, 3, fields)].concat();
        let events = events(&[(C, &client)]);
        assert_eq!(events.last(), Some(&(wanted.to_owned(), is_cut)), "{fields:02x?}");
    }
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
        assert_eq!(whole.step(C, &frame(1, 4, stream, block), &mut out), Step::Skip((block.len() + 9) as u64));
        whole.connection.tell_all(false, &mut whole.requests, &mut out);
        let event = out.events.last().unwrap();
        assert_eq!((event.number(STREAM), event.is_truncated()), (Some(stream.into()), is_cut));
    }
    assert_eq!(out.events.last().unwrap().get(USER_AGENT), Some(&b"agent"[..]), "the table heard of it");
}
