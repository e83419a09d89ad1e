use super::super::hostile::stream;
use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
use super::*;

fn text(name: &str, value: &str) -> Vec<u8> {
    let size = (value.len() as u32 + 1).to_le_bytes();
    [&[2], name.as_bytes(), &[0], &size, value.as_bytes(), &[0]].concat()
}

fn number(name: &str, value: i32) -> Vec<u8> {
    [&[16], name.as_bytes(), &[0], &value.to_le_bytes()[..]].concat()
}

fn double(name: &str, value: f64) -> Vec<u8> {
    [&[1], name.as_bytes(), &[0], &value.to_le_bytes()[..]].concat()
}

fn binary(name: &str, value: &[u8]) -> Vec<u8> {
    [&[5], name.as_bytes(), &[0], &(value.len() as u32).to_le_bytes(), &[0], value].concat()
}

fn document(parts: &[Vec<u8>]) -> Vec<u8> {
    let inner = parts.concat();
    [&(inner.len() as u32 + 5).to_le_bytes()[..], &inner, &[0]].concat()
}

fn inner(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    [&[3], name.as_bytes(), &[0], &document(parts)[..]].concat()
}

fn whole(code: u32, answers: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + body.len()) as u32;
    [&[length, 7, answers, code].map(u32::to_le_bytes).concat()[..], body].concat()
}

/// OP_MSG.
fn message(answers: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    whole(MESSAGE, answers, &[&[0; 5][..], &document(parts)].concat())
}

fn query(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let count = [0, -1_i32].map(i32::to_le_bytes).concat();
    whole(QUERY, 0, &[&[0; 4][..], name.as_bytes(), &[0], &count, &document(parts)].concat())
}

fn reply(parts: &[Vec<u8>]) -> Vec<u8> {
    let head = [0, 0, 0, 0, 1_u32].map(u32::to_le_bytes).concat();
    whole(REPLY, 7, &[&head[..], &document(parts)].concat())
}

fn ok() -> Vec<u8> {
    double("ok", 1.0)
}

#[test]
fn is_recognised_by_its_messages_alone() {
    let hello = query("admin.$cmd", &[number("isMaster", 1)]);
    let find = message(0, &[text("find", "users"), text("$db", "shop")]);
    for (bytes, wanted) in [
        (&hello[..], Match::Yes),
        (&find[..], Match::Yes),
        (&hello[..20], Match::Maybe),
        (&hello[..3], Match::Maybe),
        (b"GET / HTTP/1.1\r\n\r\n", Match::No),
        (&[0x3a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xd4, 7, 0, 0, 0, 0, 0, 0, 1, 2, 0], Match::No),
        (&[0; 40], Match::No),
    ] {
        assert_eq!(probe(&stream(bytes, [40_000, 9])), wanted, "{bytes:02x?}");
    }
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn commands_are_events_with_what_they_are_for_and_how_they_ended() {
    let client = inner(
        "client",
        &[
            inner("application", &[text("name", "shop")]),
            inner("driver", &[text("name", "PyMongo"), text("version", "4.6.1")]),
            inner("os", &[text("type", "Linux"), text("name", "Linux")]),
        ],
    );
    let rights = [double("ok", 0.0), text("errmsg", "command find 'Hunter2PW'"), number("code", 13)];
    let turns: Turns<'_> = &[
        (C, &query("admin.$cmd", &[number("isMaster", 1), client])),
        (S, &reply(&[text("setName", "rs0"), number("maxWireVersion", 21), ok()])),
        (C, &message(0, &[number("buildInfo", 1), text("$db", "admin")])),
        (S, &message(7, &[text("version", "4.4.6"), text("gitVersion", "x"), ok()])),
        (C, &message(0, &[text("find", "users"), inner("filter", &[text("pin", "Hunter2PW")]), text("$db", "shop")])),
        (S, &message(7, &[inner("cursor", &[text("version", "9")]), ok()])),
        (C, &message(0, &[text("drop", "users"), text("$db", "shop")])),
        (S, &message(7, &[&rights[..], &[text("codeName", "Unauthorized")]].concat())),
        (C, &message(0, &[text("createUser", "bob"), text("pwd", "Hunter2PW"), text("$db", "shop")])),
        (S, &message(7, &[ok()])),
        (C, &query("shop.users", &[text("name", "Hunter2PW")])),
        (S, &reply(&[text("version", "Hunter2PW"), double("ok", 0.0)])),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "database=admin command=isMaster application=shop driver=PyMongo driver_version=4.6.1 client_os=Linux answered=1 \
         replica_set=rs0 wire_version=21 ok=1",
        "command=buildInfo database=admin answered=1 server_version=4.4.6 ok=1",
        "command=find collection=users database=shop answered=1 ok=1",
        "command=drop collection=users database=shop answered=1 ok=0 code=13 code_name=Unauthorized",
        "command=createUser database=shop answered=1 ok=1",
        "database=shop command=query collection=users answered=1 ok=1",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    for turn in turns.chunks(2) {
        spoil::<State>(turn);
    }
}

#[test]
fn who_logs_in_is_told_and_never_with_what() {
    let start = |mechanism: &str, payload: &[u8]| {
        let parts = [number("saslStart", 1), text("mechanism", mechanism), binary("payload", payload)];
        message(0, &[&parts[..], &[text("$db", "admin")]].concat())
    };
    let speculative = inner(
        "speculativeAuthenticate",
        &[number("saslStart", 1), text("mechanism", "SCRAM-SHA-256"), binary("payload", b"n,,n=eve,r=Hunter2PW")],
    );
    let turns: Turns<'_> = &[
        (C, &start("SCRAM-SHA-1", b"n,,n=alice,r=Hunter2PW")),
        (S, &message(7, &[ok()])),
        (C, &start("PLAIN", b"\0bob\0Hunter2PW")),
        (S, &message(7, &[ok()])),
        (C, &message(0, &[number("hello", 1), speculative, text("$db", "admin")])),
        (S, &message(7, &[ok()])),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "command=saslStart database=admin mechanism=SCRAM-SHA-1 username=alice answered=2 ok=1",
        "command=saslStart database=admin mechanism=PLAIN username=bob answered=2 ok=1",
        "command=hello mechanism=SCRAM-SHA-256 username=eve database=admin answered=2 ok=1",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec!["password_in_clear"]));
    spoil::<State>(turns);
}

#[test]
fn no_secret_is_told() {
    let secret = "x7Hq2LpZ9v";
    for parts in [
        &[text("createUser", "bob"), text("pwd", secret), text("$db", "shop")][..],
        &[text("updateUser", "bob"), text("pwd", secret), text("$db", "shop")],
        &[number("authenticate", 1), text("user", "bob"), text("nonce", secret), text("key", secret)],
        &[number("saslContinue", 1), binary("payload", secret.as_bytes())],
        &[text("copydb", secret), text("fromhost", secret), text("key", secret)],
    ] {
        let (events, _) = talk::<State>(&[(C, &message(0, parts)), (S, &message(7, &[ok()]))], &[FACTS]);
        assert!(events[0].starts_with("command=") && !events[0].contains(secret), "{events:?}");
    }
}

#[test]
fn long_and_compressed_messages_are_passed_over() {
    let long = message(0, &[text("insert", "big"), text("$db", "shop"), text("x", &"y".repeat(9000))]);
    let compressed = whole(COMPRESSED, 0, &[0xdd, 7, 0, 0, 9, 0, 0, 0, 2, 1, 2, 3]);
    let turns: Turns<'_> =
        &[(C, &long), (S, &message(7, &[ok()])), (C, &compressed), (S, &compressed), (C, &long[..100])];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    assert_eq!(events, ["command=insert collection=big database=shop answered=1 ok=1"]);
    assert_eq!(anomalies, [""; 0]);
    let many = message(0, &[number("ping", 1)]).repeat(500);
    assert!(talk::<State>(&[(C, &many)], &[FACTS]).0.len() <= 500);
    assert_eq!(talk::<State>(&[(C, &[0xff; 64])], &[FACTS]).1, ["malformed"]);
}
