//! Commands, replies, greetings and secrets.

use super::super::hostile::stream;
use super::super::parse::{Record, feed};
use super::super::tries::{C, S, Turns, spoil, talk, unambiguous};
use super::*;

mod order;

#[test]
fn is_recognised_by_greeting_or_commands() {
    for (bytes, port, wanted) in [
        (&b"220 (vsFTPd 2.3.4)\r\n"[..], 2121, Match::Yes),
        (b"220-Welcome\r\n220 here\r\n", 2121, Match::Maybe),
        (b"220-Welcome\r\n220 here\r\n331 who?\r\n", 2121, Match::Yes),
        (b"220 here\r\n", 21, Match::Yes),
        (b"220 here\r\n250 ok\r\n", 2121, Match::No),
        (b"220 mail ESMTP\r\n", 21, Match::No),
        (b"22", 9, Match::Maybe),
        (b"USER bob\r\n", 110, Match::Maybe),
        (b"USER bob\r\nPASS x\r\nSYST\r\n", 110, Match::Yes),
        (b"USER bob\r\nPASS x\r\nSTAT\r\n", 110, Match::No),
        (b"USER bob\r\n", 21, Match::Yes),
        (b"AUTH TLS\r\n", 990, Match::Yes),
        (b"USE", 21, Match::Maybe),
        (b"GET / HTTP/1.1\r\n", 21, Match::No),
        (b"\x16\x03", 21, Match::No),
    ] {
        assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{}", String::from_utf8_lossy(bytes));
    }
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn commands_and_replies_are_paired() {
    let turns: Turns<'_> = &[
        (S, b"220-ProFTPD\r\n more\r\n220 ready\r\n"),
        (C, b"USER bob\r\n"),
        (S, b"331 Password?\r\n"),
        (C, b"PASS hunter2\r\n"),
        (S, b"230 In\r\n"),
        (C, b"PASV\r\n"),
        (S, b"227 Entering Passive Mode (10,0,0,1,4,1).\r\n"),
        (C, b"RETR a b.txt\r\n"),
        (S, b"150 Opening\r\n226 Done\r\n"),
        (C, b"EPRT |2|::1|5282|\r\n"),
        (S, b"200 Ok\r\n"),
        (C, b"EPSV\r\n"),
        (S, b"229 Extended (|||6446|)\r\n"),
        (C, b"SITE PSWD a b\r\n"),
        (S, b"500 No\r\n"),
        (C, b"CWD a\r\nPWD\r\n"),
        (S, b"250 A\r\n257 B\r\n"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "banner=ProFTPD code=220 banner_last=ready",
        "command=USER username=bob code=331 reply=Password? code=230 reply=In",
        "command=PASV code=227 reply=Entering Passive Mode (10,0,0,1,4,1). data_address=[0a, 00, 00, 01] \
         data_port=1025 mode=passive",
        "command=RETR argument=a b.txt code=150 reply=Opening code=226 reply=Done",
        "command=EPRT data_address=[00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 01] data_port=5282 \
         mode=active code=200 reply=Ok",
        "command=EPSV code=229 reply=Extended (|||6446|) data_port=6446 mode=passive",
        "command=SITE code=500",
        "command=CWD argument=a code=250 reply=A",
        "command=PWD code=257 reply=B",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<State>(turns);
}

/// Scanners send their login at once; a capture may show both sides in the wrong order.
#[test]
fn a_greeting_replies_to_no_command() {
    let user = (C, &b"USER bob\r\n"[..]);
    let replies = (S, &b"331 who?\r\n"[..]);
    for (greeting, more) in [
        (&b"220 (vsFTPd 2.3.4)\r\n"[..], ""),
        (b"220-(vsFTPd 2.3.4)\r\n more\r\n220 ready\r\n", "banner_last=ready "),
        (b"120 soon\r\n220 (vsFTPd 2.3.4)\r\n", ""),
    ] {
        let told =
            format!("command=USER username=bob banner=(vsFTPd 2.3.4) {more}code=331 reply=who? code=230 reply=in");
        for turns in [
            &[user, (S, greeting), replies, (C, b"PASS x\r\n"), (S, b"230 in\r\n")][..],
            &[user, (C, b"PASS x\r\n"), (S, greeting), replies, (S, b"230 in\r\n")],
        ] {
            let events = talk::<State>(turns, &[FACTS]).0;
            assert_eq!(events, [told.as_str()], "{}", String::from_utf8_lossy(greeting));
            spoil::<State>(turns);
        }
    }
    // REIN is replied to with the same code; what repeats a password is not told.
    let again: Turns<'_> =
        &[(S, b"220 a\r\n"), (C, b"REIN\r\n"), (S, b"220 b\r\n"), (C, b"PASS Hunter2\r\n"), (S, b"220 c\r\n")];
    assert_eq!(
        talk::<State>(again, &[FACTS]).0,
        ["banner=a code=220", "command=REIN code=220 reply=b", "command=PASS code=220 reply=c"]
    );
    let echo: Turns<'_> = &[(C, b"PASS Hunter2\r\n"), (S, b"220 for Hunter2\r\n230 in\r\n")];
    assert_eq!(talk::<State>(echo, &[FACTS]).0, ["command=PASS code=230 reply=in"]);
}

/// Clients that do not wait (lftp): each command meets its own reply, ten behind the open one; beyond it is not known which.
#[test]
fn commands_that_do_not_wait_meet_their_replies() {
    // What replies say is not told while two passwords wait, one of which it may repeat.
    let login = "command=USER username=bob code=331 code=230";
    let turns: Turns<'_> = &[
        (C, b"USER bob\r\nPASS x\r\nCWD d\r\nPASV\r\nRETR f\r\nUSER eve\r\nPASS y\r\nQUIT\r\n"),
        (S, b"331 a\r\n230 b\r\n250 c\r\n227 d (10,0,0,1,4,1)\r\n550 e\r\n331 f\r\n530 g\r\n221 h\r\n"),
    ];
    let wanted = [
        login,
        "command=CWD argument=d code=250",
        "command=PASV code=227 data_address=[0a, 00, 00, 01] data_port=1025 mode=passive",
        "command=RETR argument=f code=550",
        "command=USER username=eve code=331 code=530",
        "command=QUIT code=221",
    ];
    assert_eq!(talk::<State>(turns, &[FACTS]), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<State>(turns);
    let noop = |count: usize| "NOOP\r\n".repeat(count).into_bytes();
    for (count, told) in [(11, 0), (12, 11)] {
        let replies = b"200 k\r\n".repeat(count);
        let events = talk::<State>(&[(C, &noop(count)), (S, &replies)], &[FACTS]).0;
        let without = events.iter().filter(|one| *one == "command=NOOP reply_unknown=1").count();
        assert_eq!((events.len(), without), (count + told, told), "{count}");
        assert_eq!(events.last().unwrap(), "command=NOOP code=200 reply=k", "{count}");
    }
}

/// `USER` may be answered for good; then `PASS`, sent behind it, has a reply that is its own, as have those behind it.
#[test]
fn a_password_that_nobody_asked_for_has_its_own_reply() {
    let cases: [(&[u8], &[u8], &[&str]); 7] = [
        (
            b"USER bob\r\nPASS x\r\nSYST\r\nCWD a\r\n",
            b"230 in\r\n202 no\r\n215 U\r\n550 no\r\n",
            &["USER username=bob code=230", "PASS code=202", "SYST code=215", "CWD argument=a code=550"],
        ),
        (
            b"USER bob\r\nPASS x\r\nCWD a\r\nRETR b\r\n",
            b"530 no\r\n503 no\r\n530 a\r\n550 b\r\n",
            &["USER username=bob code=530", "PASS code=503", "CWD argument=a code=530", "RETR argument=b code=550"],
        ),
        (
            b"USER anonymous\r\nPASS a\r\nUSER bob\r\nPASS x\r\n",
            b"530 no\r\n503 no\r\n331 p\r\n230 in\r\n",
            &["USER username=anonymous code=530", "PASS code=503", "USER username=bob code=331 code=230"],
        ),
        (
            b"USER bob\r\nPASS x\r\nACCT z\r\nSYST\r\n",
            b"331 p\r\n332 a\r\n230 in\r\n215 U\r\n",
            &["USER username=bob code=331 code=332", "ACCT code=230", "SYST code=215"],
        ),
        (b"USER bob\r\nSYST\r\n", b"331 p\r\n215 U\r\n", &["USER username=bob code=331", "SYST code=215"]),
        (
            b"AUTH TLS\r\nUSER bob\r\nPASS x\r\nUSER eve\r\nPASS y\r\n",
            b"530 a\r\n230 in\r\n202 no\r\n331 p\r\n230 in\r\n",
            &[
                "AUTH argument=TLS code=530",
                "USER username=bob code=230",
                "PASS code=202",
                "USER username=eve code=331 code=230",
            ],
        ),
        // Nothing is told of it where it has none.
        (b"USER bob\r\nPASS x\r\nSYST\r\n", b"331 p\r\n", &["USER username=bob code=331", "SYST"]),
    ];
    for (sent, replies, wanted) in cases {
        let turns: Turns<'_> = &[(S, b"220 h\r\n"), (C, sent), (S, replies)];
        let told: Vec<_> = talk::<State>(turns, &[FACTS]).0.iter().map(|event| without_replies(event)).collect();
        let wanted: Vec<_> = wanted.iter().map(|event| format!("command={event}")).collect();
        assert_eq!(told[1..], wanted, "{}", String::from_utf8_lossy(sent));
        spoil::<State>(turns);
    }
}

fn without_replies(event: &str) -> String {
    let parts = event.split(' ').filter(|part| part.contains('=') && !part.starts_with("reply="));
    parts.collect::<Vec<_>>().join(" ")
}

/// Active mode (lftp's `passive-mode off`) without waiting.
#[test]
fn endpoints_of_the_client_meet_their_replies() {
    let sent = b"TYPE I\r\nPORT 10,0,0,1,10,1\r\nRETR a\r\nEPRT |1|10.0.0.2|2562|\r\nSTOR b\r\nPORT 1,2\r\nQUIT\r\n";
    let replies = b"200 t\r\n500 no\r\n425 no\r\n200 k\r\n150 o\r\n226 d\r\n501 no\r\n221 b\r\n";
    let turns: Turns<'_> = &[(C, sent), (S, replies)];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "command=TYPE argument=I code=200 reply=t",
        "command=PORT argument=10,0,0,1,10,1 data_address=[0a, 00, 00, 01] data_port=2561 mode=active code=500 reply=no",
        "command=RETR argument=a code=425 reply=no",
        "command=EPRT argument=|1|10.0.0.2|2562| data_address=[0a, 00, 00, 02] data_port=2562 mode=active code=200 reply=k",
        "command=STOR argument=b code=150 reply=o code=226 reply=d",
        "command=PORT code=501 reply=no",
        "command=QUIT code=221 reply=b",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec!["endpoint_invalid"]));
    spoil::<State>(turns);
}

#[test]
fn no_secret_is_told() {
    for (line, wanted) in [
        (&b" PASS Hunter2PW\r\n"[..], "command=PASS"),
        (b"\tpass Hunter2PW\r\n", "command=pass"),
        (b"\xff\xf4 PASS Hunter2PW\r\n", "command=PASS"),
        (b"XPAS Hunter2PW\r\n", "command=XPAS"),
        (b"Hunter2PW\r\n", ""),
        (b"ACCT Hunter2PW\r\n", "command=ACCT"),
    ] {
        let echo = [&b"500 "[..], line.trim_ascii(), b" not understood\r\n"].concat();
        let told = talk::<State>(&[(C, line), (S, &echo)], &[FACTS]).0;
        assert_eq!(told, [format!("{wanted} code=500").trim_start()]);
    }
    let told = talk::<State>(&[(C, b"cwd a b\r\n"), (S, b"500 no\r\n")], &[FACTS]).0;
    assert_eq!(told, ["command=cwd argument=a b code=500 reply=no"]);
    let echo: Turns<'_> = &[(C, b"XPAS Hunter2PW\r\n"), (S, b"500 'XPAS Hunter2PW': what?\r\n")];
    assert_eq!(talk::<State>(echo, &[FACTS]).0, ["command=XPAS code=500"]);
    let login: Turns<'_> =
        &[(C, b"USER bob\r\n"), (S, b"331 a\r\n"), (C, b"PASS Hunter2PW\r\n"), (S, b"530 No for bob/Hunter2PW!\r\n")];
    assert_eq!(talk::<State>(login, &[FACTS]).0, ["command=USER username=bob code=331 reply=a code=530"]);
    let login: Turns<'_> = &[(C, b"USER bob\r\n PASS Hunter2PW\r\n"), (S, b"331 a\r\n230 b\r\n")];
    assert_eq!(talk::<State>(login, &[FACTS]).0.len(), 1);
}

#[test]
fn tls_ends_it_at_the_right_byte() {
    let (mut state, mut out) = (State::default(), Record::default());
    feed(&mut state, C, b"AUTH TLS\r\n", 3, &mut out);
    assert_eq!(state.turns_into(), None);
    feed(&mut state, S, b"234 Go\r\n", 3, &mut out);
    assert_eq!(state.turns_into(), Some(Protocol::Tls));
    assert_eq!((state.step(C, b"\x16", &mut out), state.step(S, b"\x16", &mut out)), (Step::Done, Step::Done));
}

#[test]
fn what_is_wrong_has_a_name() {
    let long = [&[b'x'; 5000][..], b"\r\nUSER a\r\n"].concat();
    let (events, anomalies) = talk::<State>(&[(C, &long)], &[FACTS]);
    assert_eq!((events.len(), anomalies), (2, vec!["line_too_long"]));
    assert_eq!(talk::<State>(&[(S, b"what\r\n")], &[FACTS]).1, ["reply_invalid"]);
    assert_eq!(talk::<State>(&[(C, b"PORT 1,2,3\r\n")], &[FACTS]).1, ["endpoint_invalid"]);
}
