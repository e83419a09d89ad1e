//! What stands in front of a protocol that is to be hidden: greetings.

use super::*;
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
    let talks: [(Protocol, &[u8], &[&[u8]]); 5] = [
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
