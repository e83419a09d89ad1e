use super::super::hostile::stream;
use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
use super::*;
use crate::dataplane::inspect::parse::Match;

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    bytes.into_bytes()
}

#[test]
fn is_recognised_by_its_syntax() {
    for (bytes, port, wanted) in [
        (&command(&["GET", "k"])[..], 9, Match::Yes),
        (b"*1", 9, Match::Maybe),
        (b"*1\r\n$4\r\n", 9, Match::Maybe),
        (b"* OK ", 9, Match::No),
        (b"*1\r\n+x", 9, Match::No),
        (b"-NOAUTH Authentication required.\r\n", 9, Match::Yes),
        (b"+OK\r\n", 110, Match::No),
        (b"+OK\r\n", 6379, Match::Yes),
        (b"ping\r\n", 6379, Match::Yes),
        (b"INFO server\n", 6379, Match::Yes),
        (b"SLAVE", 6379, Match::Maybe),
        (b"SLAVEOFNOBODY", 6379, Match::No),
        (b"GET / HTTP/1.1\r\n", 6379, Match::No),
        (b"PING\r\n", 6667, Match::No),
        (b"-ERR no\r\n", 9, Match::No),
    ] {
        assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{}", String::from_utf8_lossy(bytes));
    }
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn commands_are_events_without_secrets() {
    let value = "v".repeat(3000);
    let turns: Turns<'_> = &[
        (C, &command(&["AUTH", "hunter2"])),
        (S, b"-WRONGPASS invalid\r\n"),
        (C, b"XAUT\r\n"),
        (S, b"-ERR unknown command 'XAUT', with args beginning with: 'Hunter2PW'\r\n"),
        (C, &command(&["AUTH", "bob", "hunter2"])),
        (S, b"+OK\r\n"),
        (C, &command(&["SET", "key", &value])),
        (S, b"+OK\r\n"),
        (C, &command(&["CONFIG", "SET", "dir", "/var/spool/cron"])),
        (S, b"+OK\r\n"),
        (C, &command(&["CONFIG", "SET", "requirepass", "hunter2"])),
        (S, b"+OK\r\n"),
        (C, b"keys *\r\n"),
        (S, b"*2\r\n$3\r\n-ab\r\n*1\r\n:5\r\n"),
        (C, &[command(&["GET", "a"]), command(&["GET", "b"])].concat()),
        (S, b"$-1\r\n$1\r\nx\r\n"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "command=AUTH answered=2 error=WRONGPASS",
        "command=XAUT answered=2 error=ERR",
        "command=AUTH username=bob answered=2 status=OK",
        "command=SET argument=key answered=2 status=OK",
        "command=CONFIG argument=SET argument=dir argument=/var/spool/cron answered=2 status=OK",
        "command=CONFIG argument=SET argument=requirepass answered=2 status=OK",
        "command=keys argument=* answered=2",
        "command=GET argument=a",
        "command=GET argument=b answered=2",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    let open: Turns<'_> = &[(C, b"PING\r\n"), (S, b"+PONG\r\n")];
    assert_eq!(talk::<State>(open, &[FACTS]).0, ["command=PING answered=1 status=PONG"]);
    spoil::<State>(&turns[..4]);
    spoil::<State>(&turns[12..]);
}

/// Bytes of an answer.
fn value(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

#[test]
fn a_server_says_what_it_is() {
    let lines =
        |own: &str| format!("# Server\r\nredis_version:7.2.4\r\n{own}redis_mode:standalone\r\nos:Linux 6.1 x86_64\r\n");
    let memory = "# Memory\r\nused_memory:1\r\n".repeat(500);
    for (own, wanted) in [
        ("", ""),
        ("server_name:valkey\r\nvalkey_version:8.0.1\r\n", " server=valkey server_version=8.0.1"),
        ("dragonfly_version:df-v1.27.1\r\n", " server=dragonfly server_version=df-v1.27.1"),
    ] {
        let turns: Turns<'_> = &[
            (C, &command(&["INFO"])),
            (S, &value(&(lines(own) + &memory + "redis_version:9\r\n"))),
            (C, &command(&["GET", "a"])),
            (S, &value(&lines(own))),
        ];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        let info = format!("command=INFO answered=1 redis_version=7.2.4{wanted} server_os=Linux 6.1 x86_64");
        assert_eq!(events, [info.as_str(), "command=GET argument=a answered=1"]);
        assert_eq!(anomalies, [""; 0]);
        spoil::<State>(&[(C, &command(&["INFO"])), (S, &value(&lines(own)))]);
    }
    let hello = b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.11\r\n$5\r\nproto\r\n:3\r\n";
    let turns: Turns<'_> = &[(C, &command(&["HELLO", "3"])), (S, hello), (C, b"PING\r\n"), (S, b"+PONG\r\n")];
    let wanted = ["command=HELLO answered=2 server=redis server_version=7.0.11", "command=PING answered=2 status=PONG"];
    assert_eq!(talk::<State>(turns, &[FACTS]).0, wanted);
    spoil::<State>(turns);
}

#[test]
fn an_answer_to_info_that_is_no_text_is_passed_over() {
    for text in ["x".repeat(9000), "\n".repeat(9000), String::new(), "redis_version:".into()] {
        let turns: Turns<'_> = &[(C, b"INFO\r\n"), (S, &value(&text)), (C, b"PING\r\n"), (S, b"+PONG\r\n")];
        let (events, anomalies) = talk::<State>(turns, &[FACTS]);
        assert_eq!((events[1].as_str(), anomalies.len()), ("command=PING answered=1 status=PONG", 0), "{text}");
    }
}

#[test]
fn no_secret_is_an_argument() {
    for (line, wanted) in [
        (&b"AUTH \"Hunter2 PW\"\r\n"[..], "command=AUTH"),
        (b"AUTH 'Hunter2 \\' PW'\r\n", "command=AUTH"),
        (b"AUTH bob \"Hunter2 PW\"\r\n", "command=AUTH username=bob"),
        (b"AUTH \"Hunter2 PW\r\n", "command=AUTH"),
        (b"XAUTH Hunter2PW\r\n", "command=XAUTH"),
        (b"AUT bob Hunter2PW\r\n", "command=AUT"),
        (b"GET \"a b\"\r\n", "command=GET argument=\"a b\""),
    ] {
        let answered = if wanted.starts_with("command=AUTH") { 2 } else { 1 };
        let wanted = format!("{wanted} answered={answered} status=OK");
        assert_eq!(talk::<State>(&[(C, line), (S, b"+OK\r\n")], &[FACTS]).0, [wanted]);
    }
    let secret = "x7Hq2LpZ9v";
    for words in [
        &["CONFIG", "SET", "requirepass", secret][..],
        &["CONFIG", "SET", "masterauth", secret, "dir", secret],
        &["CONFIG", "SET", "tls-key-file-pass", secret],
        &["HELLO", "3", "AUTH", "bob", secret],
        &["MIGRATE", "h", "6379", "", "0", "5000", "AUTH2", "bob", secret, "KEYS", "k"],
        &["ACL", "SETUSER", "bob", "on", &format!(">{secret}")],
        &["SENTINEL", "SET", "main", "auth-pass", secret],
        &["GET", &format!("session:{secret}")],
        &["SET", "k", secret],
        &["EVAL", secret, "0"],
        &["AUTH", secret],
        &["AUTH", &format!("eyJ{secret}{secret}"), secret],
    ] {
        let turns: Turns<'_> = &[(C, &command(words)), (S, b"+OK\r\n")];
        let line = format!("{}\r\n", words.join(" "));
        let inline: Turns<'_> = &[(C, line.as_bytes()), (S, b"+OK\r\n")];
        for turns in [turns, inline] {
            let (events, _) = talk::<State>(turns, &[FACTS]);
            assert!(
                events[0].starts_with(&format!("command={}", words[0])) && !events[0].contains(secret),
                "{events:?}"
            );
        }
    }
    let mistyped = command(&["XAUTH", "bob", "Hunter2PW"]);
    assert_eq!(talk::<State>(&[(C, &mistyped), (S, b"+OK\r\n")], &[FACTS]).0, ["command=XAUTH answered=1 status=OK"]);
}

#[test]
fn bombs_stay_bounded() {
    let many = command(&["GET", "a"]).repeat(1000);
    assert_eq!(talk::<State>(&[(C, &many)], &[FACTS]).0.len(), usize::from(COMMANDS_MAX));
    assert_eq!(talk::<State>(&[(C, b"*99999999999\r\n")], &[FACTS]).1, ["syntax_invalid"]);
    assert_eq!(talk::<State>(&[(S, b"*1048576\r\n*1048576\r\n*1048576\r\n?\r\n")], &[FACTS]).1, ["syntax_invalid"]);
}
