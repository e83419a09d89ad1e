//! Dialogues of which segments were lost on their way to the sensor.

use super::super::{FACTS, State};
use crate::dataplane::inspect::parse::{Hole, Parse, Record, Resume, Step};
use crate::dataplane::inspect::tries::{C, S, Turns, show};

/// Events of a conversation without the turns at `lost`; a hole is met where something came behind it, of which the first
/// line may be lost too.
fn events(turns: Turns<'_>, lost: &[usize], piece: usize, loses_line: bool) -> Vec<String> {
    let (mut state, mut out) = (State::default(), Record::default());
    let (mut rests, mut holes, mut over): ([Vec<u8>; 2], [u64; 2], [bool; 2]) = Default::default();
    for (index, &(side, mut bytes)) in turns.iter().enumerate() {
        let at = side as usize;
        if lost.contains(&index) {
            holes[at] += bytes.len() as u64;
            continue;
        }
        let hole = std::mem::take(&mut holes[at]);
        if hole > 0 && !over[at] {
            let before = std::mem::take(&mut rests[at]);
            over[at] = state.gap(side, &Hole { before: &before, bytes: hole }, &mut out) == Resume::Done;
            if loses_line {
                bytes = &bytes[1 + bytes.iter().position(|byte| *byte == b'\n').unwrap()..];
            }
        }
        for part in bytes.chunks(piece) {
            rests[at].extend_from_slice(part);
            while !over[at] && !rests[at].is_empty() {
                match state.step(side, &rests[at], &mut out) {
                    Step::Took(count) | Step::Pass(count) => drop(rests[at].drain(..count)),
                    Step::Need(_) => break,
                    step => panic!("{step:?}"),
                }
            }
        }
    }
    state.end(&mut out);
    out.events.iter().map(|event| show(event, &[FACTS])).collect()
}

fn check(turns: Turns<'_>, cases: &[(&[usize], &[&str])]) {
    for (lost, wanted) in cases {
        for (piece, loses_line) in [1, 3, 1000].into_iter().flat_map(|piece| [(piece, false), (piece, true)]) {
            let told = events(turns, lost, piece, loses_line);
            assert_eq!(told, *wanted, "{lost:?} in pieces of {piece}, and a line: {loses_line}");
        }
    }
}

#[test]
fn a_login_whose_reply_was_lost_has_no_code_and_hides_no_mail() {
    let turns: Turns<'_> = &[
        (S, b"220 mx\r\n"),
        (C, b"EHLO a\r\n"),
        (S, b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n"),
        (C, b"AUTH LOGIN\r\n"),
        (S, b"334 VXNlcm5hbWU6\r\n"),
        (C, b"Ym9i\r\n"),
        (S, b"334 UGFzc3dvcmQ6\r\n"),
        (C, b"cHc=\r\n"),
        (S, b"535 bad\r\n"),
        (C, b"MAIL FROM:<f@a>\r\n"),
        (S, b"530 auth first\r\n"),
        (C, b"NOOP\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"QUIT\r\n"),
        (S, b"221 b\r\n"),
    ];
    let login = "banner=mx helo=a auth_mechanism=LOGIN username=bob secret_sent=1";
    let answered = format!("{login} code=535");
    check(
        turns,
        &[
            (&[], &[&answered, "mail_from=f@a"]),
            (&[4], &[login, "mail_from=f@a"]),
            (&[6], &[login, "mail_from=f@a"]),
            (&[8], &[login, "mail_from=f@a"]),
            (&[8, 10], &[login, "mail_from=f@a"]),
            (&[10], &[&answered, "mail_from=f@a"]),
        ],
    );
    let again: Turns<'_> = &[
        (C, b"AUTH LOGIN\r\n"),
        (S, b"334 VXNlcm5hbWU6\r\n"),
        (C, b"Ym9i\r\n"),
        (S, b"334 UGFzc3dvcmQ6\r\n"),
        (C, b"cHc=\r\n"),
        (S, b"535 bad\r\n"),
        (C, b"AUTH PLAIN AGV2ZQB4\r\n"),
        (S, b"235 in\r\n"),
    ];
    let [bob, eve] = ["LOGIN username=bob secret_sent=1", "PLAIN secret_sent=1 username=eve"];
    let [bob, eve] = [bob, eve].map(|login| format!("auth_mechanism={login}"));
    check(again, &[(&[5], &[&bob, &eve])]);
}

/// Two mails one after the other, of which the first is refused at its end, or before it begins.
#[test]
fn two_mails_stay_two_and_have_no_code_of_another_command() {
    let all: Turns<'_> = &[
        (S, b"220 mx\r\n"),
        (C, b"EHLO a\r\n"),
        (S, b"250-mx\r\n250 SIZE\r\n"),
        (C, b"MAIL FROM:<f@a>\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"RCPT TO:<t@b>\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"DATA\r\n"),
        (S, b"354 go\r\n"),
        (C, b"Subject: s1\r\n\r\nx\r\n.\r\n"),
        (S, b"550 spam\r\n"),
        (C, b"MAIL FROM:<g@a>\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"RCPT TO:<u@b>\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"DATA\r\n"),
        (S, b"354 go\r\n"),
        (C, b"Subject: s2\r\n\r\nx\r\n.\r\n"),
        (S, b"250 queued\r\n"),
        (C, b"QUIT\r\n"),
        (S, b"221 b\r\n"),
    ];
    let envelope = "banner=mx helo=a mail_from=f@a rcpt_to=t@b";
    let first = format!("{envelope} subject=s1 size=18");
    let second = "mail_from=g@a rcpt_to=u@b subject=s2 size=18";
    let sizes =
        [(first.as_str(), 550), (second, 250)].map(|(told, code)| told.replace(" size", &format!(" code={code} size")));
    check(
        all,
        &[
            (&[], &[&sizes[0], &sizes[1]]),
            (&[4], &[&first, second]),
            (&[6], &[&first, second]),
            (&[8], &[&first, second]),
            (&[10], &[&first, second]),
            (&[12], &[&sizes[0], second]),
            (&[16], &[&sizes[0], second]),
            (&[10, 12], &[&first, second]),
            (&[18], &[&sizes[0], second]),
        ],
    );
    let name = "banner=mx helo=a";
    let [sent, text] = ["mail_from=f@a", "subject=s1 size=18"];
    for (lost, wanted) in [
        (1, &["banner=mx", "mail_from=f@a rcpt_to=t@b subject=s1 size=18", second][..]),
        // Envelope and text of which the other one was lost.
        (3, &[name, text, second]),
        (5, &[&format!("{name} {sent}"), text, second]),
        (7, &[envelope, second]),
        (9, &[&format!("{envelope} code=550 size=0"), second]),
        (11, &[&sizes[0], "subject=s2 size=18"]),
        (13, &[&sizes[0], "mail_from=g@a", "subject=s2 size=18"]),
        (15, &[&sizes[0], "mail_from=g@a rcpt_to=u@b"]),
    ] {
        for piece in [1, 3, 1000] {
            assert_eq!(events(all, &[lost], piece, false), wanted, "{lost} in pieces of {piece}");
        }
    }
    // The end of the first was lost with its reply: what follows is its text, up to the next end.
    assert_eq!(events(all, &[9, 10], 1000, false), [format!("{envelope} size=77")]);
    let mut refused = all.to_vec();
    refused[6] = (S, b"550 no user\r\n");
    refused[8] = (S, b"503 no valid rcpt\r\n");
    refused[9] = (C, b"RSET\r\n");
    refused[10] = (S, b"250 reset\r\n");
    let none = format!("{envelope} rcpt_refused=t@b rcpt_refused_codes=550");
    check(&refused, &[(&[6], &[envelope, second]), (&[8], &[&none, second]), (&[6, 8], &[envelope, second])]);
    // Without RSET, and with the envelope that the client began instead.
    refused.drain(9..11);
    check(&refused, &[(&[6], &[envelope, second]), (&[8], &[&none, second])]);
}

/// A refusal may be a recipient's whose place is not known any more: the mail comes all the same.
#[test]
fn the_mail_is_read_behind_a_recipient_that_was_refused() {
    let turns: Turns<'_> = &[
        (S, b"220 mx\r\n"),
        (C, b"MAIL FROM:<f@a>\r\nRCPT TO:<t@b>\r\nRCPT TO:<u@b>\r\nDATA\r\n"),
        (S, b"250 ok\r\n"),
        (S, b"250 ok\r\n"),
        (S, b"550 nouser\r\n"),
        (S, b"354 go\r\n"),
        (C, b"Subject: s1\r\n\r\nx\r\n.\r\nRSET\r\nMAIL FROM:<g@a>\r\n"),
        (S, b"451 later\r\n"),
        (S, b"250 reset\r\n"),
        (S, b"250 ok\r\n"),
        (C, b"RCPT TO:<v@b>\r\nDATA\r\n"),
        (S, b"250 ok\r\n"),
        (S, b"354 go\r\n"),
        (C, b"Subject: s2\r\n\r\ny\r\n.\r\n"),
        (S, b"250 q\r\n"),
        (C, b"QUIT\r\n"),
    ];
    let first = "banner=mx mail_from=f@a rcpt_to=t@b rcpt_to=u@b subject=s1 size=18";
    let second = "mail_from=g@a rcpt_to=v@b subject=s2 size=18";
    check(turns, &[(&[2], &[first, second]), (&[3], &[first, second]), (&[4], &[first, second])]);
}

/// Behind a lost command text of a mail may look like one; the server replies to none of it.
#[test]
fn commands_behind_a_lost_one_are_read_where_they_are_replied_to() {
    let forged = b"MAIL FROM:<x@y>\r\nRCPT TO:<x@z>\r\nDATA\r\nSubject: forged\r\n.\r\n";
    let burst = b"MAIL FROM:<g@a>\r\nRCPT TO:<u@b>\r\nRCPT TO:<v@b>\r\nDATA\r\n";
    let mail: Turns<'_> = &[(S, b"354 go\r\n"), (C, b"Subject: s2\r\n\r\nx\r\n.\r\n"), (S, b"250 q\r\n")];
    let all = "mail_from=g@a rcpt_to=u@b rcpt_to=v@b subject=s2 size=18";
    let cases: [(Turns<'_>, &[&str]); 8] = [
        (&[(S, b"354 go\r\n"), (C, forged), (S, b"250 q\r\n")], &[]),
        (&[(S, b"354 go\r\n"), (C, b"text\r\nMAIL FROM:<x@y>\r\n"), (S, b"421 late\r\n")], &[]),
        (&[(C, b"MAIL FROM:<x@y>\r\n\r\n"), (S, b"250 q\r\n"), (C, b"SEND\r\n"), (S, b"354 go\r\n")], &[]),
        (&[(C, b"x\r\n"), (C, burst), (S, b"250 a\r\n250 b\r\n"), (S, b"250 c\r\n")], &[all]),
        (&[(C, burst), (S, b"250 a\r\n550 b\r\n"), (S, b"250 c\r\n")], &[all]),
        (&[(C, b"RSET\r\n"), (S, b"250 a\r\n"), (C, burst), (S, b"250 a\r\n250 b\r\n250 c\r\n")], &[all]),
        (
            &[(C, b"EHLO b\r\n"), (S, b"250-mx\r\n250 a\r\n"), (C, burst), (S, b"250 a\r\n250 b\r\n250 c\r\n")],
            &["helo=b mail_from=g@a rcpt_to=u@b rcpt_to=v@b subject=s2 size=18"],
        ),
        (&[(C, b"cHc=\r\n"), (S, b"235 in\r\n"), (C, b"DATA\r\n")], &["subject=s2 size=18"]),
    ];
    for (behind, wanted) in cases {
        let begin: Turns<'_> = &[(S, b"220 mx\r\n"), (C, b"EHLO a\r\n"), (S, b"250 mx\r\n"), (C, b"LOST\r\n")];
        let end = if wanted.is_empty() { &[] } else { mail };
        let turns = [begin, behind, end].concat();
        for piece in [1, 3, 1000] {
            let told = events(&turns, &[3], piece, false);
            assert_eq!(
                (told[0].as_str(), &told[1..]),
                ("banner=mx helo=a", &wanted.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..]),
                "{behind:?} in pieces of {piece}"
            );
        }
    }
    // TLS, for STARTTLS may be what was lost.
    let (mut state, mut out) = (State::default(), Record::default());
    assert_eq!(state.gap(C, &Hole { before: b"", bytes: 10 }, &mut out), Resume::Here);
    assert_eq!(state.step(C, &[0x16], &mut out), Step::Need(2));
    assert_eq!(state.step(C, &[0x16, 3, 1], &mut out), Step::Done);
}
