use super::*;
use crate::dataplane::inspect::hostile::stream;
use crate::dataplane::inspect::parse::{Record, feed};
use crate::dataplane::inspect::tries::{C, S, Turns, spoil, talk, unambiguous};

#[test]
fn is_recognised_by_greeting_or_commands() {
    for (bytes, port, wanted) in [
        (&b"220 mx.example.org ESMTP Postfix\r\n"[..], 9, Match::Yes),
        (b"220 mx ready\r\n", 9, Match::Maybe),
        (b"220 mx ready\r\n250-mx\r\n", 9, Match::Yes),
        (b"220 mx ready\r\n", 25, Match::Yes),
        (b"220 mx ready\r\n331 x\r\n", 9, Match::No),
        (b"220 FTP server\r\n", 25, Match::No),
        (b"421 deferred\r\n", 25, Match::Yes),
        (b"421 deferred\r\n", 9, Match::No),
        (b"EHLO me\r\n", 9, Match::Yes),
        (b"eh", 9, Match::Maybe),
        (b"USER", 25, Match::No),
        (b"22", 9, Match::Maybe),
        (b"2 x", 25, Match::No),
    ] {
        assert_eq!(probe(&stream(bytes, [40000, port])), wanted, "{}", String::from_utf8_lossy(bytes));
    }
    unambiguous(FACTS, ANOMALIES);
}

#[test]
fn logins_and_envelopes_are_events() {
    let turns: Turns<'_> = &[
        (S, b"220 mx ESMTP Exim 4.9\r\n"),
        (C, b"EHLO me\r\n"),
        (S, b"250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 OK\r\n"),
        (C, b"AUTH LOGIN\r\n"),
        (S, b"334 VXNlcm5hbWU6\r\n"),
        (C, b"Ym9i\r\n"),
        (S, b"334 UGFzc3dvcmQ6\r\n"),
        (C, b"c2VjcmV0\r\n"),
        (S, b"535 no\r\n"),
        (C, b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n"),
        (S, b"235 yes\r\n"),
        (C, b"MAIL FROM:<a@b> SIZE=5\r\nRCPT TO:<c@d>\r\nRCPT TO: e@f\r\nDATA\r\n"),
        (S, b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n"),
        (C, b"Subject: x\r\n\r\n..\r\nMAIL FROM:<no>\r\n.x\r\n.\r\n"),
        (S, b"250 queued\r\n"),
        (C, b"MAIL FROM:<>\r\nBDAT 7 LAST\r\nab\r\n.\r\nQUIT\r\n"),
        (S, b"250 a\r\n250 b\r\n221 bye\r\n"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "banner=mx ESMTP Exim 4.9 helo=me auth_mechanism=LOGIN username=bob secret_sent=1 code=535",
        "auth_mechanism=PLAIN secret_sent=1 username=bob code=235",
        "mail_from=a@b rcpt_to=c@d rcpt_to=e@f subject=x code=250 size=38",
        "mail_from= code=250 size=7",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<State>(turns);
}

#[test]
fn who_was_refused_is_told_with_the_code() {
    let turns: Turns<'_> = &[
        (S, b"220 mx ESMTP\r\n"),
        (C, b"EHLO me\r\n"),
        (S, b"250-mx\r\n250 OK\r\n"),
        (C, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\nDATA\r\n"),
        (S, b"250 a\r\n550 5.1.1 no\r\n250 ok\r\n450-later\r\n450 later\r\n354 go\r\n"),
        (C, b"x\r\n.\r\n"),
        (S, b"250 queued\r\n"),
        (C, b"MAIL FROM:<a@b>\r\n"),
        (S, b"250 a\r\n"),
        (C, b"RCPT TO:<i@j>\r\n"),
        (S, b"554 no\r\n"),
        (C, b"QUIT\r\n"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let wanted = [
        "banner=mx ESMTP helo=me mail_from=a@b rcpt_to=c@d rcpt_to=e@f rcpt_to=g@h rcpt_refused=c@d \
         rcpt_refused_codes=550 rcpt_refused=g@h rcpt_refused_codes=450 code=250 size=3",
        "mail_from=a@b rcpt_to=i@j rcpt_refused=i@j rcpt_refused_codes=554",
    ];
    assert_eq!((events, anomalies), (wanted.map(str::to_owned).to_vec(), vec![]));
    spoil::<State>(turns);
}

/// SMTP smuggling: what one server takes for text is another one's second mail.
#[test]
fn a_dot_that_servers_differ_on_is_told_and_both_readings_are_followed() {
    let second = "MAIL FROM:<admin@b>\r\nRCPT TO:<victim@d>\r\nDATA\r\nSubject: y";
    let begin: Turns<'_> =
        &[(C, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), (S, b"250 a\r\n250 b\r\n354 go\r\n")];
    let run = |mail: &str| {
        let turns = [begin, &[(C, mail.as_bytes()), (S, b"250 queued\r\n"), (C, b"QUIT\r\n")]].concat();
        talk::<State>(&turns, &[FACTS])
    };
    for end in
        ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\n", "\n.\r", "\r.\r", "\r\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n"]
    {
        let (events, anomalies) = run(&format!("Subject: x\r\n\r\nHi{end}{second}\r\n.\r\n"));
        assert_eq!(anomalies, ["end_of_data_odd"], "{end:?}");
        assert_eq!(events.len(), 2, "{end:?}: {events:?}");
        assert_eq!(events[0], "mail_from=a@b rcpt_to=c@d subject=x", "{end:?}");
        assert!(events[1].starts_with("mail_from=admin@b rcpt_to=victim@d code=250 size="), "{end:?}: {events:?}");
    }
    // Nothing is odd about what only looks like it; where all agree, nothing in the mail is read.
    for text in ["x\r\n..\r\n", "x\n..\n", "x.\r\n", "\n.x\n", "a\nb\rc\r\n", ""] {
        let (events, anomalies) = run(&format!("{text}{second}\r\n.\r\n"));
        assert_eq!(anomalies, [""; 0], "{text:?}");
        assert_eq!(events.len(), 1, "{text:?}: {events:?}");
    }
    // A client that ends lines with a bare line feed, as devices do, is read on.
    let mail: &[u8] = b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\n";
    let plain: Turns<'_> = &[
        (C, mail),
        (S, b"250 a\r\n250 b\r\n354 go\r\n"),
        (C, b"text\n.\n"),
        (S, b"250 queued\r\n"),
        (C, mail),
        (S, b"354 go\r\n"),
        (C, b"more\n.\n"),
        (S, b"250 queued\r\n"),
    ];
    let (events, _) = talk::<State>(plain, &[FACTS]);
    assert_eq!(events, ["mail_from=a@b rcpt_to=c@d code=250 size=7", "mail_from=a@b rcpt_to=c@d code=250 size=7"]);
    spoil::<State>(plain);
}

#[test]
fn tls_ends_it_at_the_right_byte() {
    let (mut state, mut out) = (State::default(), Record::default());
    feed(&mut state, C, b"EHLO x\r\nSTARTTLS\r\n", 3, &mut out);
    feed(&mut state, S, b"220 hi\r\n", 3, &mut out);
    assert_eq!(state.turns_into(), Some(Protocol::Tls));
    assert_eq!((state.step(C, b"\x16", &mut out), state.step(S, b"\x16", &mut out)), (Step::Done, Step::Done));
    assert_eq!(talk::<State>(&[(C, b"STARTTLS\r\nRSET\r\n")], &[FACTS]).1, ["starttls_pipelined"]);
}

/// Where TLS was refused, what comes next is no attempt to have it taken for encrypted.
#[test]
fn a_refusal_of_tls_is_waited_for() {
    for (asked, replies, wanted) in [
        ("EHLO x\r\nSTARTTLS\r\n", "250 x\r\n454 not now\r\n", &[][..]),
        ("STARTTLS\r\n", "502-no\r\n502 no\r\n", &[]),
        ("EHLO x\r\nSTARTTLS\r\n", "502 x\r\n", &["starttls_pipelined"]),
        ("STARTTLS\r\n", "502-no\r\n", &["starttls_pipelined"]),
    ] {
        let turns: Turns<'_> = &[
            (S, b"220 mx ESMTP\r\n"),
            (C, asked.as_bytes()),
            (S, replies.as_bytes()),
            (C, b"MAIL FROM:<a@b>\r\nBDAT 1 LAST\r\nx"),
        ];
        assert_eq!(talk::<State>(turns, &[FACTS]).1, wanted, "{asked:?} {replies:?}");
    }
}

#[test]
fn what_is_wrong_has_a_name() {
    let long = [&[b'x'; 9000][..], b"\r\n"].concat();
    assert_eq!(talk::<State>(&[(C, &long)], &[FACTS]).1, ["line_too_long"]);
    assert_eq!(talk::<State>(&[(S, b"what\r\n")], &[FACTS]).1, ["reply_invalid"]);
    let login: Turns<'_> = &[(C, b"AUTH LOGIN\r\n"), (S, b"503 no\r\n"), (C, b"MAIL FROM:<a@b>\r\n")];
    assert_eq!(talk::<State>(login, &[FACTS]).0, ["auth_mechanism=LOGIN code=503", "mail_from=a@b"]);
    let refused: Turns<'_> = &[(C, b"DATA\r\n"), (S, b"503 no\r\n"), (C, b"EHLO again\r\n")];
    assert_eq!(talk::<State>(refused, &[FACTS]).0, ["code=503 size=0", "helo=again"]);
}

/// Heads of the mail and of its parts, of a mail within it too; no line of a body, however much it looks like one.
#[test]
fn a_mail_says_who_wrote_it_and_what_is_attached() {
    let mail = b"Received: from a\r\n\tby b; Subject: not this\r\n\
        From: =?utf-8?Q?J=C3=B6rg?= <joerg@a.example>\r\nTO: \"B, C\" <b@c>,\r\n d@e\r\ncc: f@g\r\n\
        Subject: =?UTF-8?B?UmVjaG51bmc=?=\r\n =?utf-8?q?_4711?=\r\nX-Mailer: Mailer 1.0\r\n\
        Message-ID: <1@a.example>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
        Content-Type: multipart/mixed;\r\n boundary=\"=_x y\"\r\n\r\n\
        Subject: body\r\n--\r\n--other\r\nContent-Disposition: attachment; filename=no\r\n\r\n\
        --=_x y\r\nContent-Type: text/plain\r\n\r\nContent-Disposition: attachment; filename=no\r\n\
        --=_x y\r\nContent-Type: application/zip; name=\"a.zip\"\r\n\
        Content-Disposition: attachment; filename=\"a.zip\"\r\n\r\nUEsD-\r\n-\r\n\
        --=_x y\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\
        Content-Type: multipart/alternative; boundary=z\r\n\r\n--z \r\n\
        Content-Disposition: attachment;\r\n filename*=utf-8''%C3%BC.exe\r\n\r\nTVqQ\r\n--z--\r\n--=_x y--\r\n.\r\n";
    let turns: Turns<'_> = &[
        (S, b"220 mx ESMTP\r\n"),
        (C, b"MAIL FROM:<j@a>\r\n"),
        (S, b"250 a\r\n"),
        (C, b"RCPT TO:<b@c>\r\n"),
        (S, b"250 b\r\n"),
        (C, b"DATA\r\n"),
        (S, b"354 go\r\n"),
        (C, mail),
        (S, b"250 queued\r\n"),
        (C, b"MAIL FROM:<k@a>\r\nDATA\r\nno field\r\n.\r\n"),
        (S, b"250 a\r\n354 b\r\n250 c\r\n"),
    ];
    let (events, anomalies) = talk::<State>(turns, &[FACTS]);
    let size = mail.len() - 3;
    let first = format!(
        "banner=mx ESMTP mail_from=j@a rcpt_to=b@c from=J\u{f6}rg <joerg@a.example> to=\"B, C\" <b@c>, d@e cc=f@g \
         subject=Rechnung 4711 x_mailer=Mailer 1.0 message_id=<1@a.example> date=Sun, 22 Nov 2026 10:00:00 +0000 \
         attachments=a.zip attachments=\u{fc}.exe code=250 size={size}"
    );
    assert_eq!((events, anomalies), (vec![first, "mail_from=k@a code=250 size=10".to_owned()], vec![]));
    spoil::<State>(turns);
}

/// A mail in chunks (RFC 3030): its head is read across them, and lines in it are no commands.
#[test]
fn heads_of_mails_in_chunks_are_read() {
    let head = "From: a@b\r\nSubject: =?utf-8?q?x?=\r\n y\r\nContent-Type: multipart/mixed; boundary=p\r\n\r\n";
    let part = "--p\r\nContent-Disposition: attachment; filename=z.exe\r\n\r\nQUIT\r\n.\r\n--p--\r\n";
    let mail = format!("{head}RSET\r\n{part}");
    let told = |rest: &str| format!("mail_from=j@a from=a@b subject=x y{rest} code=250 size={}", mail.len());
    let envelope: Turns<'_> = &[(C, b"EHLO a\r\nMAIL FROM:<j@a>\r\n"), (S, b"250 a\r\n250 b\r\n")];
    for (cuts, rest) in [
        (vec![], " attachments=z.exe"),
        (vec![head.len()], " attachments=z.exe"),
        (vec![11, head.len() + 6], " attachments=z.exe"),
        // In the midst of a field's name.
        (vec![head.len() + 20], ""),
    ] {
        let mut sent = String::new();
        let ends = cuts.iter().copied().chain([mail.len()]);
        ends.fold(0, |begin, end| {
            let last = if end == mail.len() { " LAST" } else { "" };
            sent += &format!("BDAT {}{last}\r\n{}", end - begin, &mail[begin..end]);
            end
        });
        sent += "QUIT\r\n";
        let replies = "250 chunk\r\n".repeat(cuts.len()) + "250 queued\r\n221 bye\r\n";
        let turns = [envelope, &[(C, sent.as_bytes()), (S, replies.as_bytes())]].concat();
        let (events, anomalies) = talk::<State>(&turns, &[FACTS]);
        assert_eq!((events, anomalies), (vec![format!("helo=a {}", told(rest))], vec![]), "{cuts:?}");
        spoil::<State>(&turns);
    }
}

/// Nor before it begins the next one (RFC 2920 section 3.1), which waits for what became of the first.
#[test]
fn the_next_mail_may_begin_before_the_reply_to_the_first() {
    let first: Turns<'_> =
        &[(C, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), (S, b"250 a\r\n550 b\r\n354 go\r\n")];
    let chunk: Turns<'_> = &[(C, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"), (S, b"250 a\r\n550 b\r\n")];
    let second = "MAIL FROM:<e@f>\r\nRCPT TO:<g@h>\r\nRCPT TO:<i@j>\r\n";
    let refused = "mail_from=a@b rcpt_to=c@d rcpt_refused=c@d rcpt_refused_codes=550";
    let told = "mail_from=e@f rcpt_to=g@h rcpt_to=i@j";
    let late = "rcpt_refused=i@j rcpt_refused_codes=551";
    let (by_data, by_chunk) = (format!("x\r\n.\r\n{second}"), format!("BDAT 4 LAST\r\nab\r\n{second}"));
    let data = (C, &b"Subject: y\r\n\r\n.\r\nQUIT\r\n"[..]);
    for (begin, sent, size) in [(first, by_data, 3), (chunk, by_chunk, 4)] {
        let run = |last: &str, turns: Turns<'_>| {
            let sent = format!("{sent}{last}");
            talk::<State>(&[begin, &[(C, sent.as_bytes())], turns].concat(), &[FACTS])
        };
        let replies = b"554 spam\r\n250 e\r\n250 g\r\n551 i\r\n354 go\r\n";
        let answered = format!("{refused} size={size} code=554");
        let (events, anomalies) = run("DATA\r\n", &[(S, replies), data, (S, b"250 queued\r\n221 bye\r\n")]);
        assert_eq!(events, [answered.clone(), format!("{told} {late} subject=y code=250 size=14")]);
        assert_eq!(anomalies, [""; 0]);
        let (events, _) = run("DATA\r\n", &[(S, b"250 queued\r\n250 e\r\n250 g\r\n250 i\r\n354 go\r\n"), data]);
        assert_eq!(events, [format!("{refused} size={size} code=250"), format!("{told} subject=y")]);
        // All that comes of both together; the last reply is to the second.
        let replies = b"554 spam\r\n250 e\r\n250 g\r\n551 i\r\n250 queued\r\n221 bye\r\n";
        let (events, _) = run("BDAT 3 LAST\r\nab\nQUIT\r\n", &[(S, replies)]);
        assert_eq!(events, [answered.clone(), format!("{told} {late} code=250 size=3")]);
        // Nothing is told of the second but what it is, where the connection ends or where the reply to the first is missing.
        let (events, _) = run("DATA\r\n", &[(S, b"554 spam\r\n")]);
        assert_eq!(events, [answered.clone(), told.to_owned()]);
        let (events, _) = run("DATA\r\n", &[]);
        assert_eq!(events, [format!("{refused} size={size}"), told.to_owned()]);
        let (events, _) = run("DATA\r\n", &[data, (S, b"554 spam\r\n250 e\r\n")]);
        assert_eq!(events, [format!("{refused} size={size}"), format!("{told} subject=y")]);
        // Of three at once the first two are told without what became of them.
        let third = "BDAT 3 LAST\r\nab\nMAIL FROM:<k@l>\r\nBDAT 5 LAST\r\nabcd\n";
        let (events, _) = run(third, &[]);
        assert_eq!(events, [format!("{refused} size={size}"), told.to_owned(), "mail_from=k@l".to_owned()]);
        let sent = format!("{sent}DATA\r\n");
        spoil::<State>(&[begin, &[(C, sent.as_bytes()), (S, replies), data]].concat());
    }
}

/// What is remembered of an address is shorter than what is told of one, and no more recipients are than an event holds.
#[test]
fn of_the_next_mail_it_is_told_what_was_cut() {
    let begin: Turns<'_> = &[(C, b"MAIL FROM:<a@b>\r\nDATA\r\n"), (S, b"250 a\r\n354 go\r\n")];
    for (recipients, length, wanted) in [(16, 20, false), (17, 20, true), (40, 20, true), (1, 130, true)] {
        let next = format!(".\r\nMAIL FROM:<c@d>\r\n{}", format!("RCPT TO:<{:0length$}>\r\n", 1).repeat(recipients));
        let (mut state, mut out) = (State::default(), Record::default());
        for (side, bytes) in begin.iter().copied().chain([(C, next.as_bytes()), (S, b"250 queued\r\n")]) {
            feed(&mut state, side, bytes, 7, &mut out);
        }
        assert_eq!(out.open.is_truncated(), wanted, "{recipients} of {length}");
        assert_eq!(out.open.all(RCPT_TO).count(), recipients.min(16));
    }
}

/// A name that only one of two fields has hides the other one from nobody.
#[test]
fn a_part_with_two_names_is_told_with_both() {
    let [kind, place] = ["Content-Type: application/zip; name=a.zip\r\n", "Content-Disposition: x; filename="];
    for (fields, wanted) in [
        (format!("{kind}{place}a.zip\r\n"), &["a.zip"][..]),
        (format!("{kind}{place}b.exe\r\n"), &["a.zip", "b.exe"]),
        (format!("{place}b.exe\r\n{kind}"), &["b.exe", "a.zip"]),
        (format!("{kind}\r\n--z\r\n{kind}"), &["a.zip", "a.zip"]),
        (format!("{kind}\r\n--z\r\nContent-Type: x/y\r\n{place}a.zip\r\n"), &["a.zip", "a.zip"]),
    ] {
        let mail = format!("Content-Type: multipart/mixed; boundary=z\r\n\r\n--z\r\n{fields}\r\n--z--\r\n.\r\n");
        let turns: Turns<'_> = &[(C, b"DATA\r\n"), (S, b"354 go\r\n"), (C, mail.as_bytes()), (S, b"250 queued\r\n")];
        let told = wanted.iter().map(|name| format!("attachments={name} ")).collect::<String>();
        let size = mail.len() - 3;
        assert_eq!(talk::<State>(turns, &[FACTS]).0, [format!("{told}code=250 size={size}")], "{fields}");
    }
}

/// A client need not wait for the reply to its mail before it says that it goes (RFC 2920): one event all the same.
#[test]
fn what_follows_a_mail_at_once_does_not_part_it_from_its_reply() {
    for last in ["QUIT", "RSET", "RSET\r\nQUIT"] {
        let mail = format!("Subject: x\r\n\r\n.\r\n{last}\r\n");
        let turns: Turns<'_> = &[
            (C, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            (S, b"250 a\r\n250 b\r\n354 go\r\n"),
            (C, mail.as_bytes()),
            (S, b"250 queued\r\n221 bye\r\n"),
        ];
        let events = talk::<State>(turns, &[FACTS]).0;
        assert_eq!(events, ["mail_from=a@b rcpt_to=c@d subject=x code=250 size=14"], "{last}");
    }
}

/// What the capture lost may be the reply to the mail: the next one, to another command, is not it.
#[test]
fn a_lost_reply_is_not_the_next_one() {
    let begin: [(Side, &[u8]); 5] =
        [(S, b"220 h ESMTP\r\n"), (C, b"MAIL FROM:<a@b>\r\n"), (S, b"250 a\r\n"), (C, b"DATA\r\n"), (S, b"354 go\r\n")];
    for (next, wanted) in [(&b"MAIL FROM:<c@d>\r\n"[..], Some(&b"c@d"[..])), (b"NOOP\r\n", None)] {
        let (mut state, mut out) = (State::default(), Record::default());
        for (side, bytes) in begin.into_iter().chain([(C, &b"Subject: x\r\n\r\n.\r\n"[..])]) {
            feed(&mut state, side, bytes, 7, &mut out);
        }
        feed(&mut state, C, next, 7, &mut out);
        state.gap(S, &Hole { before: b"", bytes: 10 }, &mut out);
        feed(&mut state, S, b"250 ok\r\n", 7, &mut out);
        state.end(&mut out);
        let mails: Vec<_> = out.events.iter().filter(|event| event.get(MAIL_FROM).is_some()).collect();
        assert_eq!(mails[0].get(MAIL_FROM), Some(&b"a@b"[..]));
        assert!(mails.iter().all(|mail| mail.number(CODE).is_none()), "{}", mails.len());
        assert_eq!(mails.get(1).and_then(|mail| mail.get(MAIL_FROM)), wanted);
    }
    // Nor is the next one told of a mail that is sent behind it.
    let (mut state, mut out) = (State::default(), Record::default());
    let next: &[u8] = b"Subject: x\r\n\r\n.\r\nMAIL FROM:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n";
    for (side, bytes) in begin.into_iter().chain([(C, next)]) {
        feed(&mut state, side, bytes, 7, &mut out);
    }
    state.gap(S, &Hole { before: b"", bytes: 10 }, &mut out);
    for (side, bytes) in [(S, &b"250 a\r\n250 b\r\n354 c\r\n"[..]), (C, b".\r\nQUIT\r\n"), (S, b"550 d\r\n221 e\r\n")] {
        feed(&mut state, side, bytes, 7, &mut out);
    }
    let codes: Vec<_> =
        out.events.iter().filter(|one| one.get(MAIL_FROM).is_some()).map(|one| one.number(CODE)).collect();
    assert_eq!(codes, [None, None]);
    // Nothing but `QUIT` is replied to with 221.
    for sent in [&b"DATA\r\n.\r\nQUIT\r\n"[..], b"AUTH PLAIN AGJvYgB4\r\nQUIT\r\n"] {
        let events =
            talk::<State>(&[begin[0], (C, b"MAIL FROM:<a@b>\r\n"), (C, sent), (S, b"221 bye\r\n")], &[FACTS]).0;
        assert!(!events.is_empty() && !events.iter().any(|event| event.contains("code=")), "{events:?}");
    }
}
