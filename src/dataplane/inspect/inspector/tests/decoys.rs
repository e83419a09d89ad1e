//! What stands in front of a protocol that is to be hidden: greetings, datagrams.

use super::*;
use crate::dataplane::inspect::dtls;
use crate::dataplane::inspect::session::OTHERS_LOOKED;
use crate::dataplane::inspect::stream::PROTOCOLS_DIFFER;

impl Kept {
    /// How often the sides were told to speak different protocols.
    fn differ(&self) -> usize {
        self.3.iter().filter(|one| **one == (PROTOCOLS_DIFFER.protocol, PROTOCOLS_DIFFER.index)).count()
    }
}

/// First words of clients, each beyond doubt of its protocol.
fn words() -> Vec<(Protocol, Vec<u8>)> {
    use Protocol::*;
    let dns = [&[0, 30][..], b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01"].concat();
    let smb = [&b"\0\0\0\x2f\xffSMBr"[..], &[0; 27], b"\0\x0c\0\x02NT LM 0.12\0"].concat();
    let bind =
        [&b"\x05\0\x0b\x03\x10\0\0\0\x48\0\0\0\x01\0\0\0\xb8\x10\xb8\x10\0\0\0\0\x01\0\0\0"[..], &[7; 44]].concat();
    let login = [&b"\x26\0\0\x01\x85\xa2\0\0\0\0\0\x01\x21"[..], &[0; 23], b"root\0\0"].concat();
    let torrent = [&b"\x13BitTorrent protocol"[..], &[0; 8], &[b'a'; 40]].concat();
    let stored = [&b"\x80\0\0\x01\0\0\0\0\0\0\0\x01"[..], &[0; 12], b"k"].concat();
    let text = [
        (Http2, &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"[..]),
        (Redis, b"*1\r\n$4\r\nPING\r\n"),
        (Rdp, b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0"),
        (Ldap, b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0"),
        (Kerberos, b"\0\0\0\x12\x6a\x10\x30\x0e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x02\x30\0"),
        (Mqtt, b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd"),
        (PostgreSql, b"\0\0\0\x13\0\x03\0\0user\0test\0\0"),
        (PostgreSql, b"\0\0\0\x08\x04\xd2\x16\x2f"),
        (Socks, b"\x05\x01\0"),
        (Socks, b"\x04\x01\0\x50\xc0\0\x02\x01u\0"),
        (MongoDb, b"\x24\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x0f\0\0\0\x10ping\0\x01\0\0\0\0"),
        (Memcached, b"set k 0 0 1\r\nx\r\n"),
        (Modbus, b"\0\x01\0\0\0\x06\x01\x03\0\0\0\x01"),
        (Iec104, b"\x68\x04\x07\0\0\0"),
        (S7, b"\x03\0\0\x16\x11\xe0\0\0\0\x01\0\xc1\x02\x01\0\xc2\x02\x01\x02\xc0\x01\x0a"),
        (Stun, b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl"),
        (Sip, b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\n"),
        (Telnet, b"\xff\xfd\x01\xff\xfb\x1f"),
        (Stratum, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n"),
        (Ssh, b"SSH-2.0-x\r\n"),
        (Smtp, b"EHLO me\r\n"),
        (Imap, b"a1 LOGIN u p\r\n"),
        (Pop3, b"CAPA\r\n"),
        (Ftp, b"FEAT\r\n"),
        (Http, REQUEST),
    ];
    let bytes = [(Tls, small_hello()), (Dns, dns), (Smb, smb), (DceRpc, bind), (MySql, login), (BitTorrent, torrent)];
    let text = text.into_iter().map(|(protocol, words)| (protocol, words.to_vec()));
    text.chain(bytes).chain([(Memcached, stored)]).collect()
}

/// Protocols whose servers speak first.
const GREETERS: [Protocol; 7] = {
    use Protocol::*;
    [Ftp, Imap, MySql, Pop3, Smtp, Ssh, Telnet]
};

/// What a client sends is what its server has to understand: a greeting in front of it hides nothing.
#[test]
fn no_greeting_hides_the_first_words_of_a_client() {
    let mysql = [&b"\x3c\0\0\0\x0a5.7.33\0"[..], &[0; 52]].concat();
    let greetings: [(&[u8], Option<Protocol>); 8] = [
        (b"220 mail.example ESMTP ready\r\n", Some(Protocol::Smtp)),
        (b"220 (vsFTPd 3.0.3)\r\n", Some(Protocol::Ftp)),
        (b"220 mail ready\r\n", None),
        (b"* OK IMAP4rev1 ready\r\n", Some(Protocol::Imap)),
        (b"+OK POP3 ready\r\n", Some(Protocol::Pop3)),
        (b"SSH-2.0-OpenSSH_9\r\n", Some(Protocol::Ssh)),
        (b"hi there\r\n", None),
        (&mysql, Some(Protocol::MySql)),
    ];
    let mut wrong = Vec::new();
    for (greeting, protocol) in greetings {
        for (wanted, words) in words() {
            for cut in [1, 5, 1000] {
                let mut talk = Talk::begun(SETTINGS);
                talk.say(B, greeting);
                talk.say_all(A, words.chunks(cut));
                let (found, differ) = (talk.end(), talk.kept.differ());
                let is_odd = protocol.map_or(!GREETERS.contains(&wanted), |one| one != wanted);
                if (found, differ) != (wanted, usize::from(is_odd)) {
                    wrong.push(format!("{:?} {wanted:?} {cut}: {found:?} {differ}", String::from_utf8_lossy(greeting)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What clients of servers that speak first say first, and what they could be taken for: it stays what it is.
#[test]
fn first_words_that_fit_the_greeting_are_no_other_protocol() {
    use Protocol::*;
    type Words<'a> = (Protocol, &'a [u8], &'a [&'a [u8]]);
    let talks: [Words; 5] = [
        (
            Smtp,
            b"220 mail.example ESMTP\r\n",
            &[
                b"EHLO me\r\n",
                b"QUIT\r\n",
                b"HELP\r\n",
                b"AUTH LOGIN\r\n",
                b"STARTTLS\r\n",
                b"quit\r\n",
                b"\r\n",
                b"XYZ 1\r\n",
            ],
        ),
        (
            Ftp,
            b"220 (vsFTPd 3.0.3)\r\n",
            &[
                b"USER bob\r\n",
                b"AUTH TLS\r\n",
                b"FEAT\r\n",
                b"HELP\r\n",
                b"OPTS UTF8 ON\r\n",
                b"quit\r\n",
                b"SYST\r\n",
                b"\xff\xf4\xff\xf2ABOR\r\n",
                b"STAT\r\n",
                b"NOOP\r\n",
                b"HOST a\r\n",
            ],
        ),
        (
            Pop3,
            b"+OK POP3 ready\r\n",
            &[
                b"USER bob\r\n",
                b"CAPA\r\n",
                b"AUTH\r\n",
                b"QUIT\r\n",
                b"APOP u 0123\r\n",
                b"STLS\r\n",
                b"STAT\r\n",
                b"LIST\r\n",
            ],
        ),
        (
            Imap,
            b"* OK IMAP4rev1 ready\r\n",
            &[
                b"a CAPABILITY\r\n",
                b"1 LOGIN u p\r\n",
                b"A001 ID NIL\r\n",
                b". noop\r\n",
                b"x LOGOUT\r\n",
                b"* BAD\r\n",
            ],
        ),
        (
            Telnet,
            b"\xff\xfd\x18\xff\xfd\x20",
            &[b"\xff\xfb\x18", b"root\r\n", b"\xff\xfb\x18\xff\xfc\x20", b"\0\r\n", b"r"],
        ),
    ];
    for (protocol, greeting, words) in talks {
        for first in words {
            for cut in [1, 1000] {
                let mut talk = Talk::begun(SETTINGS);
                talk.say(B, greeting);
                talk.say_all(A, first.chunks(cut));
                assert_eq!((talk.end(), talk.kept.differ()), (protocol, 0), "{:?}", String::from_utf8_lossy(first));
            }
        }
    }
}

/// A line that says not enough by itself is shown before what it is answered.
#[test]
fn a_line_waits_for_no_other_behind_a_greeting() {
    let mut talk = Talk::begun(SETTINGS);
    let turns: [(Side, &[u8]); 5] = [
        (B, b"+OK POP3 ready\r\n"),
        (A, b"USER bob\r\n"),
        (B, b"+OK go on\r\n"),
        (A, b"PASS x\r\n"),
        (B, b"-ERR no\r\n"),
    ];
    turns.into_iter().for_each(|(side, bytes)| _ = talk.say(side, bytes));
    assert_eq!((talk.end(), talk.kept.differ()), (Protocol::Pop3, 0));
    let replies: Vec<_> = talk
        .kept
        .of(Protocol::Pop3)
        .into_iter()
        .filter_map(|one| one.get(crate::dataplane::inspect::pop3::REPLY))
        .collect();
    assert_eq!(replies.last(), Some(&&b"no"[..]));
}

/// A hello of DTLS 1.2 with one cipher.
fn dtls_hello() -> Vec<u8> {
    let body = [&[0xfe, 0xfd][..], &[7; 32], &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    let message = [&[1, 0, 0, body.len() as u8, 0, 0, 0, 0, 0, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, message.len() as u8][..], &message].concat()
}

/// A packet of RTP.
fn media(number: u8) -> Vec<u8> {
    [&[0x80, 0, 0, number, 0, 0, 0, number, 1, 2, 3, 4][..], &[0x55; 160]].concat()
}

const BINDING: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
const BOUND: &[u8] = b"\x01\x01\0\x0c\x21\x12\xa4\x42abcdefghijkl\0\x20\0\x08\0\x01\xa1\x47\xe1\x12\xa6\x43";
const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x07example\0\0\x01\0\x01";

/// Datagrams that are beyond doubt what they are.
fn sure_datagrams() -> Vec<(Protocol, Vec<u8>)> {
    use Protocol::*;
    let quic = [&b"\xc0\0\0\0\x01\x0812345678\0\0\x44\xd0"[..], &[7; 1232]].concat();
    let wireguard = [&[1, 0, 0, 0][..], &[9; 144]].concat();
    [
        (Quic, quic),
        (Dtls, dtls_hello()),
        (Stun, BINDING.to_vec()),
        (Dns, QUESTION.to_vec()),
        (Sip, b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\n".to_vec()),
        (Ssdp, b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n".to_vec()),
        (Kerberos, b"\x6a\x10\x30\x0e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x02\x30\0".to_vec()),
        (Snmp, b"\x30\x1b\x02\x01\0\x04\x01p\xa0\x13\x02\x01\x01\x02\x01\0\x02\x01\0\x30\x08\x30\x06\x06\x02\x2b\x06\x05\0".to_vec()),
        (WireGuard, wireguard),
    ]
    .into()
}

/// A few datagrams in front hide none that is beyond doubt of another protocol, whoever sent them.
#[test]
fn datagrams_in_front_hide_none_behind_them() {
    use Protocol::*;
    let mut decoys = sure_datagrams();
    let alert = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x01\0\x02\x02\x28".to_vec();
    let report = [&b"\x80\xc8\0\x06"[..], &[7; 24]].concat();
    decoys.extend([(Dtls, alert), (Tftp, b"\0\x01file\0octet\0".to_vec()), (Rtp, report)]);
    decoys.push((Syslog, b"<13>Jan  1 00:00:00 host a: b".to_vec()));
    decoys.push((Ntp, [&[0x23, 2, 6, 0xec][..], &[0; 36], &[0xe0, 1, 2, 3, 4, 5, 6, 7]].concat()));
    let mut wrong = Vec::new();
    for (decoy, first) in &decoys {
        for (wanted, words) in sure_datagrams().iter().filter(|(wanted, _)| wanted != decoy) {
            // STUN in a flow of these is told beside them.
            let is_beside = *wanted == Stun && matches!(decoy, Dtls | Rtp | Quic);
            for (times, from) in [(1, A), (3, A), (2, B)] {
                let mut talk = Talk::new(SETTINGS);
                (0..times).for_each(|_| _ = talk.datagram(from, first));
                let before = talk.inspector.application(3);
                talk.datagram(A, words);
                let events = talk.kept.of(*wanted).len();
                let found = talk.end();
                let is_hidden =
                    events == 0 && talk.kept.of(*wanted).is_empty() && matches!(wanted, Dtls | Stun | Dns | Sip | Ssdp);
                if found != if is_beside { before } else { *wanted } || is_hidden {
                    wrong.push(format!("{decoy:?} ({before:?}) {wanted:?} {times}: {found:?} {events}"));
                }
                assert_eq!(talk.inspector.inspected(), 0);
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// STUN, DTLS and media of a call share a flow (RFC 7983): each is told, as often as it comes.
#[test]
fn a_call_is_told_with_all_that_it_holds() {
    for checks in [1, 40] {
        let mut talk = Talk::new(SETTINGS);
        for _ in 0..checks {
            talk.datagram(A, BINDING);
            talk.datagram(B, BOUND);
        }
        assert_eq!(talk.inspector.application(3), Protocol::Stun);
        talk.datagram(A, &dtls_hello());
        assert_eq!(talk.inspector.application(3), Protocol::Dtls);
        talk.datagram(A, BINDING);
        let ciphertext = b"\x17\xfe\xfd\0\x01\0\0\0\0\0\x01\0\x04abcd";
        for (side, bytes) in [(B, &ciphertext[..]), (A, ciphertext), (B, BOUND)] {
            talk.datagram(side, bytes);
        }
        for number in 0..4 {
            talk.datagram(A, &media(number));
            talk.datagram(B, &media(number));
            talk.datagram(A, BINDING);
        }
        assert_eq!(talk.end(), Protocol::Dtls, "what sets the call up");
        let hellos: Vec<_> =
            talk.kept.of(Protocol::Dtls).iter().filter_map(|one| one.get(dtls::HELLO.ciphers)).collect();
        assert_eq!(hellos, [&[0xc0, 0x2b][..]]);
        assert_eq!(talk.kept.of(Protocol::Stun).len(), 2 * checks + 6);
        assert_eq!(talk.kept.of(Protocol::Rtp).len(), 2);
        assert_eq!(talk.inspector.take_counts().identified, 1);
    }

    let mut talk = Talk::new(SETTINGS);
    talk.datagram(A, BINDING);
    (0..4).for_each(|number| _ = talk.datagram(B, &media(number)));
    talk.datagram(B, BOUND);
    assert_eq!((talk.end(), talk.kept.of(Protocol::Rtp).len()), (Protocol::Stun, 1));
    assert_eq!(talk.kept.of(Protocol::Stun).len(), 2);
}

/// What only looks like media leaves the call what it is, and is not looked at for ever.
#[test]
fn what_is_no_media_leaves_a_call_what_it_is() {
    let mut talk = Talk::new(SETTINGS);
    talk.datagram(A, BINDING);
    for number in 0..60 {
        talk.datagram(A, &media(40_u8.wrapping_mul(number)));
    }
    talk.datagram(A, BINDING);
    assert_eq!((talk.end(), talk.kept.of(Protocol::Stun).len()), (Protocol::Stun, 2));
    assert!(talk.kept.of(Protocol::Rtp).is_empty());
}

/// The parser of a flow wants no more: so many datagrams of each side are looked at for others, and it is over.
#[test]
fn a_flow_that_says_no_more_is_looked_at_for_others_so_often() {
    let alert = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x01\0\x02\x02\x28";
    let mut talk = Talk::new(SETTINGS);
    assert_eq!(talk.datagram(A, alert), Wants::PAYLOAD);
    assert_eq!(talk.datagram(B, alert), Wants::PAYLOAD);
    for count in 1..=OTHERS_LOOKED {
        let wants = talk.datagram(A, &[0xee; 40]);
        assert_eq!(wants.payload, [count < OTHERS_LOOKED, true], "{count}");
    }
    for count in 1..=OTHERS_LOOKED {
        let wants = talk.datagram(B, &[0xee; 40]);
        assert_eq!(wants.payload, [false, count < OTHERS_LOOKED], "{count}");
    }
    assert_eq!((talk.inspector.inspected(), talk.inspector.application(3)), (0, Protocol::Dtls));
}

/// A client may begin another handshake on the same ports, and an alert in front anybody can send.
#[test]
fn a_handshake_behind_an_alert_is_told() {
    let alert = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x01\0\x02\x02\x28";
    for from in [&[A][..], &[A, B], &[A, A, B, B]] {
        let mut talk = Talk::new(SETTINGS);
        from.iter().for_each(|side| _ = talk.datagram(*side, alert));
        talk.datagram(A, &dtls_hello());
        talk.end();
        let hellos = talk.kept.of(Protocol::Dtls).into_iter().filter(|one| one.get(dtls::HELLO.ciphers).is_some());
        assert_eq!(hellos.count(), 1, "{from:?}");
    }
}
