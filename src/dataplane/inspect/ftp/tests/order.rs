//! Which reply is to which command behind a hole, and where replies come in another order or not at all.

use super::super::super::parse::{Hole, Parse, Record, Resume, Step};
use super::super::super::tries::{C, S, Turns, show, spoil, talk};
use super::super::{FACTS, State};
use super::without_replies;

/// Events of a conversation without the turns at `lost`; a hole is met where something came behind it.
fn events(turns: Turns<'_>, lost: &[usize], piece: usize) -> Vec<String> {
    let (mut state, mut out) = (State::default(), Record::default());
    let (mut rests, mut holes): ([Vec<u8>; 2], [u64; 2]) = Default::default();
    for (index, &(side, mut bytes)) in turns.iter().enumerate() {
        let at = side as usize;
        if lost.contains(&index) {
            holes[at] += bytes.len() as u64;
            continue;
        }
        let hole = std::mem::take(&mut holes[at]);
        if hole > 0 {
            let before = std::mem::take(&mut rests[at]);
            match state.gap(side, &Hole { before: &before, bytes: hole }, &mut out) {
                Resume::Here => {}
                Resume::Line => bytes = &bytes[1 + bytes.iter().position(|byte| *byte == b'\n').unwrap()..],
                resume => panic!("{resume:?}"),
            }
        }
        for part in bytes.chunks(piece) {
            rests[at].extend_from_slice(part);
            while !rests[at].is_empty() {
                match state.step(side, &rests[at], &mut out) {
                    Step::Took(count) => drop(rests[at].drain(..count)),
                    Step::Need(_) => break,
                    step => panic!("{step:?}"),
                }
            }
        }
    }
    state.end(&mut out);
    assert!(out.anomalies.is_empty(), "{:?}", out.anomalies);
    out.events.iter().map(|event| without_replies(&show(event, &[FACTS]))).collect()
}

fn check(turns: Turns<'_>, cases: &[(&[usize], &[&str])]) {
    for (lost, wanted) in cases {
        for piece in [1, 3, 1000] {
            assert_eq!(events(turns, lost, piece), *wanted, "{lost:?} in pieces of {piece}");
        }
    }
}

const UNKNOWN: &str = "command=CWD argument=a reply_unknown=1";

#[test]
fn a_client_that_waits_is_paired_again_behind_a_hole() {
    let turns: Turns<'_> = &[
        (S, b"220 h\r\n"),
        (C, b"CWD a\r\n"),
        (S, b"550 no\r\n"),
        (C, b"PWD\r\n"),
        (S, b"257 \"/\"\r\n"),
        (C, b"DELE b\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"DELE c\r\n"),
        (S, b"550 no\r\n"),
    ];
    let [hello, pwd] = ["banner=h code=220", "command=PWD code=257"];
    let [b, c] = ["command=DELE argument=b code=250", "command=DELE argument=c code=550"];
    let b_unknown = "command=DELE argument=b reply_unknown=1";
    check(
        turns,
        &[
            (&[], &[hello, "command=CWD argument=a code=550", pwd, b, c]),
            // The line behind the hole is the reply to the last command, as nothing else is.
            (&[2], &[hello, UNKNOWN, pwd, b, c]),
            // It may be the end of one.
            (&[4], &[hello, "command=CWD argument=a code=550", "command=PWD reply_unknown=1", b_unknown, c]),
            (&[0], &[UNKNOWN, pwd, b, c]),
            (&[2, 4], &[hello, UNKNOWN, "command=PWD reply_unknown=1", b_unknown, c]),
            (
                &[6],
                &[hello, "command=CWD argument=a code=550", pwd, b_unknown, "command=DELE argument=c reply_unknown=1"],
            ),
            // A command was lost, and the next one may be the end of it.
            (&[3], &[hello, "command=CWD argument=a code=550", "code=257", "code=250", c]),
            (&[3, 4], &[hello, "command=CWD argument=a code=550", c]),
        ],
    );
}

#[test]
fn a_login_behind_a_lost_reply_is_paired() {
    let turns: Turns<'_> = &[
        (C, b"USER anonymous\r\n"),
        (S, b"331 p\r\n"),
        (C, b"PASS a\r\n"),
        (S, b"530 no\r\n"),
        (C, b"USER bob\r\n"),
        (S, b"331 p\r\n"),
        (C, b"PASS x\r\n"),
        (S, b"230 in\r\n"),
        (C, b"PWD\r\n"),
        (S, b"257 a\r\n"),
    ];
    let [anonymous, bob] = ["USER username=anonymous", "USER username=bob"].map(|user| format!("command={user}"));
    let (asked, in_) = (format!("{anonymous} code=331"), format!("{bob} code=331 code=230"));
    let (unknown, pwd) = (format!("{bob} reply_unknown=1"), "command=PWD code=257");
    check(
        turns,
        &[
            (&[3], &[&asked, &in_, pwd]),
            (&[3, 5], &[&asked, &unknown, pwd]),
            (&[5], &[&format!("{asked} code=530"), &unknown, pwd]),
            (&[7], &[&format!("{asked} code=530"), &format!("{bob} code=331"), pwd]),
        ],
    );
    let tls: Turns<'_> =
        &[(C, b"FEAT\r\n"), (S, b"211-f\r\n x\r\n211 e\r\n"), (C, b"AUTH TLS\r\n"), (S, b"234 go\r\n")];
    check(tls, &[(&[1], &["command=FEAT reply_unknown=1", "command=AUTH argument=TLS code=234"])]);
}

/// Of the others nobody knows how many replies were lost, until a reply is to the last command and to nothing else.
#[test]
fn a_client_that_does_not_wait_is_paired_again_where_a_reply_tells() {
    let turns: Turns<'_> = &[
        (C, b"CWD a\r\nDELE b\r\n"),
        (S, b"250 ok\r\n550 no\r\n"),
        (C, b"CWD a\r\nDELE b\r\nDELE c\r\nDELE d\r\n"),
        (S, b"250 ok\r\n"),
        (S, b"451 cut\r\n550 no\r\n"),
        (C, b"DELE e\r\n"),
        (S, b"250 d\r\n250 e\r\n"),
        (C, b"CWD g\r\nPASV\r\n"),
        (S, b"250 ok\r\n227 (10,0,0,1,4,1)\r\n"),
        (C, b"DELE f\r\n"),
        (S, b"250 ok\r\n"),
    ];
    let unknown = |name| format!("command=DELE argument={name} reply_unknown=1");
    let [b, c, d, e] = ["b", "c", "d", "e"].map(unknown);
    check(
        turns,
        &[(
            &[3],
            &[
                "command=CWD argument=a code=250",
                "command=DELE argument=b code=550",
                UNKNOWN,
                &b,
                &c,
                "code=550",
                &d,
                "code=250",
                "code=250",
                &e,
                "command=CWD argument=g reply_unknown=1",
                "code=250",
                "command=PASV code=227 data_address=[0a, data_port=1025 mode=passive",
                "command=DELE argument=f code=250",
            ],
        )],
    );
    // That it does not wait may not be seen before the hole, but behind it.
    let burst: Turns<'_> = &[
        (C, b"CWD a\r\nDELE b\r\nDELE c\r\nDELE d\r\n"),
        (S, b"250 ok\r\n"),
        (S, b"451 cut\r\n550 no\r\n"),
        (S, b"250 c\r\n"),
        (C, b"DELE e\r\n"),
        (S, b"250 d\r\n250 e\r\n"),
    ];
    check(burst, &[(&[1], &[UNKNOWN, &b, &c, "code=550", "code=250", &d, "code=250", "code=250", &e])]);
    let lost: Turns<'_> =
        &[(C, b"CWD a\r\n"), (S, b"250 ok\r\n"), (C, b"DELE x\r\n"), (C, b"DELE y\r\nDELE c\r\n"), (S, b"250 x\r\n")];
    check(lost, &[(&[2], &["command=CWD argument=a code=250", "code=250", &c])]);
}

/// A reply of several lines of which the middle, or the end, was lost.
#[test]
fn a_reply_whose_end_was_lost_ends() {
    let turns: Turns<'_> = &[
        (C, b"FEAT\r\n"),
        (S, b"211-f\r\n A\r\n"),
        (S, b" B\r\n"),
        (S, b" C\r\n D\r\n211 e\r\n"),
        (C, b"CWD a\r\n"),
        (S, b"550-no\r\n550 e\r\n"),
        (C, b"DELE c\r\n"),
        (S, b"250 ok\r\n"),
    ];
    let [feat, cwd, dele] = ["FEAT code=211", "CWD argument=a code=550", "DELE argument=c code=250"];
    let [feat, cwd, dele] = [feat, cwd, dele].map(|told| format!("command={told}"));
    check(
        turns,
        &[(&[], &[&feat, &cwd, &dele]), (&[2], &[&feat, &cwd, &dele]), (&[2, 3], &[&feat, "code=550", UNKNOWN, &dele])],
    );
}

/// RFC 959 section 4.1.3: while a transfer goes on the server may say how far it is, and may be told to end it.
#[test]
fn what_is_sent_during_a_transfer_has_its_own_reply() {
    let retr = "command=RETR argument=f code=150";
    let retr_ended = format!("{retr} code=226");
    let cases: [(Turns<'_>, &[&str]); 6] = [
        (
            &[(C, b"STAT\r\n"), (S, b"213-Status\r\n x\r\n213 End\r\n"), (C, b"STAT\r\n"), (S, b"211 y\r\n226 d\r\n")],
            &["command=STAT code=213", "command=STAT code=211", &retr_ended],
        ),
        (&[(C, b"STAT\r\n"), (S, b"226 d\r\n211 none\r\n")], &[&retr_ended, "command=STAT code=211"]),
        (
            &[(C, b"\xff\xf4\xff\xf2ABOR\r\n"), (S, b"426 cut\r\n226 ok\r\n")],
            &["command=RETR argument=f code=150 code=426", "command=ABOR code=226"],
        ),
        (&[(C, b"ABOR\r\n"), (S, b"226 d\r\n"), (S, b"225 none\r\n")], &[&retr_ended, "command=ABOR code=225"]),
        // One reply to both.
        (&[(C, b"ABOR\r\n"), (S, b"226 d\r\n")], &[&retr_ended, "command=ABOR reply_unknown=1"]),
        (&[(C, b"ABOR\r\n"), (S, b"426 cut\r\n500 what\r\n")], &[&format!("{retr} code=426"), "command=ABOR code=500"]),
    ];
    for (between, wanted) in cases {
        let begin: Turns<'_> = &[(C, b"RETR f\r\n"), (S, b"150 o\r\n")];
        let end: Turns<'_> = &[(C, b"CWD a\r\n"), (S, b"550 no\r\n"), (C, b"PWD\r\n"), (S, b"257 p\r\n")];
        let turns = [begin, between, end].concat();
        let told: Vec<_> = talk::<State>(&turns, &[FACTS]).0.iter().map(|event| without_replies(event)).collect();
        let wanted: Vec<_> =
            wanted.iter().copied().chain(["command=CWD argument=a code=550", "command=PWD code=257"]).collect();
        assert_eq!(told, wanted);
        spoil::<State>(&turns);
    }
}
