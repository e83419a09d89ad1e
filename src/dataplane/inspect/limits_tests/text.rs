//! Protocols of lines and of text.

use super::*;
use crate::dataplane::inspect::http2::PREFACE;

pub(super) fn cases() -> Vec<Case> {
    [http(), ssh(), mail(), typed(), others()].into_iter().flatten().collect()
}

fn http() -> Vec<Case> {
    let get = |target: &[u8], fields: &[u8]| {
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: h\r\n", fields, b"\r\n"].concat();
        stream::<http::State>(Originator, &request)
    };
    let post = |chunks: &[u8]| {
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream::<http::State>(Originator, &[&head[..], chunks].concat())
    };
    let of = Protocol::Http;
    vec![
        case(of, "bytes of a head", [8000, http::HEAD_MAX], |count| {
            get(b"/", &[b"X: ", &letters(count)[..], b"\r\n"].concat())
        }),
        case(of, "fields of a head", [http::FIELDS_MAX - 1, http::FIELDS_MAX + 1], |count| {
            get(b"/", &b"a: b\r\n".repeat(count))
        }),
        case(of, "requests that wait for their answers", one_more(http::PENDING_MAX), |count| {
            stream::<http::State>(Originator, &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(count))
        }),
        case(of, "bytes of a target", one_more(http::URI_MAX), |count| {
            get(&[b"/", &letters(count - 1)[..]].concat(), b"")
        }),
        case(of, "bytes of a line before a chunk", [500, http::CHUNK_LINE_MAX + 1], |count| {
            post(&[b"1;", &letters(count)[..], b"\r\na\r\n0\r\n\r\n"].concat())
        }),
        case(of, "bytes of a line behind the last chunk", [4000, http::TRAILER_LINE_MAX + 1], |count| {
            post(&[b"0\r\nX: ", &letters(count)[..], b"\r\n\r\n"].concat())
        }),
        case(
            Protocol::Http2,
            "bytes of a frame of a kind of fixed length, or of settings",
            one_more(http2::CONTROL_MAX),
            |count| {
                let [_, a, b, c] = (count as u32).to_be_bytes();
                stream::<http2::State>(Originator, &[PREFACE, &[a, b, c, 8, 0, 0, 0, 0, 1]].concat())
            },
        ),
        case(Protocol::WebSocket, "frames of a connection", [999, websocket::FRAMES_MAX as usize], |count| {
            stream::<websocket::State>(Responder, &b"\x81\x00".repeat(count))
        }),
    ]
}

fn ssh() -> Vec<Case> {
    let of = Protocol::Ssh;
    let packet = |body: &[u8]| {
        let padding = 8 + (16 - (5 + body.len() + 8) % 16) % 16;
        let length = (1 + body.len() + padding) as u32;
        [&length.to_be_bytes()[..], &[padding as u8], body, &vec![0; padding]].concat()
    };
    let banner = b"SSH-2.0-x\r\n";
    let behind = |bytes: &[u8]| stream::<ssh::State>(Originator, &[banner, bytes].concat());
    let keys = |count: usize| {
        let list = |names: &str| [&(names.len() as u32).to_be_bytes()[..], names.as_bytes()].concat();
        let long = vec!["a"; count].join(",");
        let lists: Vec<u8> = (0..10).flat_map(|at| list(if at == 0 { &long } else { "b" })).collect();
        [banner, &packet(&[&[20][..], &[7; 16], &lists, &[0; 5]].concat())[..]].concat()
    };
    vec![
        case(of, "bytes of a line before the keys", [200, ssh::BANNER_MAX], |count| {
            stream::<ssh::State>(Originator, &[b"SSH-2.0-", &letters(count)[..], b"\r\n"].concat())
        }),
        case(
            of,
            "lines of a server before its version",
            [ssh::LINES_MAX as usize - 2, ssh::LINES_MAX as usize + 2],
            |count| stream::<ssh::State>(Responder, &[&b"hello\r\n".repeat(count)[..], banner].concat()),
        ),
        case(of, "bytes of a packet", one_more(ssh::PACKET_MAX), |count| {
            behind(&[&(count as u32).to_be_bytes()[..], &[4, 2, 0]].concat())
        }),
        case(of, "packets of a side before the new keys", one_more(ssh::PACKETS_MAX), |count| {
            behind(&packet(&[2, 0, 0, 0, 0]).repeat(count))
        }),
        case(of, "names of a list that are compared", one_more(ssh::NAMES_MAX), |count| {
            let keys = keys(count);
            said(ssh::State::default(), &[(Originator, &keys), (Responder, &keys)])
        }),
    ]
}

fn mail() -> Vec<Case> {
    let long = |head: &[u8], count: usize| [head, &letters(count)[..], b"\r\n"].concat();
    let of_mail = |fields: &[u8]| {
        let mail = [b"MAIL FROM:<a@b>\r\nDATA\r\n", fields, b"\r\n.\r\n"].concat();
        let turns =
            [(Responder, &b"220 h ESMTP\r\n"[..]), (Originator, &mail), (Responder, b"250 a\r\n354 b\r\n250 c\r\n")];
        said(smtp::State::default(), &turns)
    };
    vec![
        case(Protocol::Smtp, "bytes of a line", [500, smtp::LINE_MAX + 1], |count| {
            let line = long(b"NOOP ", count);
            said(smtp::State::default(), &[(Responder, b"220 h ESMTP\r\n"), (Originator, &line)])
        }),
        case(Protocol::Smtp, "bytes of a field of a mail's head", one_more(smtp::FIELD_MAX), |count| {
            of_mail(&long(b"X-Filler: ", count - 12))
        }),
        case(Protocol::Smtp, "bytes of the head of a mail or of a part", [300, 330], |count| {
            of_mail(&long(b"X-Filler: ", 90).repeat(count))
        }),
        case(Protocol::Smtp, "boundaries of a mail", one_more(smtp::BOUNDARIES_MAX), |count| {
            let field = |at| format!("Content-Type: multipart/mixed; boundary=\"part {at}\"\r\n").into_bytes();
            of_mail(&(0..count).flat_map(field).collect::<Vec<_>>())
        }),
        case(Protocol::Ftp, "commands that wait behind one without a reply", one_more(ftp::WAITING_MAX), |count| {
            said(ftp::State::default(), &[(Originator, &b"NOOP\r\n".repeat(count + 1))])
        }),
        case(Protocol::Ftp, "bytes of an argument that waits", one_more(TEXT_MAX - 1), |count| {
            let line = [b"NOOP\r\nCWD ", &vec![b'd'; count][..], b"\r\n"].concat();
            said(ftp::State::default(), &[(Originator, &line)])
        }),
        case(Protocol::Ftp, "bytes of a line", [500, ftp::LINE_MAX + 1], |count| {
            let line = long(b"NOOP ", count);
            said(ftp::State::default(), &[(Responder, b"220 h FTP\r\n"), (Originator, &line)])
        }),
        case(Protocol::Pop3, "bytes of a line", [500, pop3::LINE_MAX + 1], |count| {
            let line = long(b"NOOP ", count);
            said(pop3::State::default(), &[(Responder, b"+OK POP3\r\n"), (Originator, &line)])
        }),
        case(Protocol::Imap, "bytes of a line", [500, imap::LINE_MAX + 1], |count| {
            let line = long(b"a NOOP ", count);
            said(imap::State::default(), &[(Responder, b"* OK IMAP4rev1\r\n"), (Originator, &line)])
        }),
    ]
}

fn typed() -> Vec<Case> {
    let of = Protocol::Telnet;
    let login = |count: usize, name: &[u8]| {
        let turns: Vec<(Side, &[u8])> =
            vec![(Responder, b"login: "), (Originator, name), (Responder, b"\r\nPassword: "), (Originator, b"x\r\n")];
        let turns: Vec<_> = turns.into_iter().cycle().take(4 * count).chain([(Responder, &b"\r\n"[..])]).collect();
        said(telnet::State::default(), &turns)
    };
    vec![
        case(of, "bytes of what is typed as a name", [100, telnet::LINE_MAX], |count| {
            said(telnet::State::default(), &[(Responder, b"login: "), (Originator, &letters(count))])
        }),
        case(of, "bytes of a name", one_more(telnet::NAME_MAX), |count| {
            login(1, &[&letters(count)[..], b"\r\n"].concat())
        }),
        case(
            of,
            "attempts to log in",
            [telnet::ATTEMPTS_MAX as usize - 1, telnet::ATTEMPTS_MAX as usize + 1],
            |count| login(count, b"bob\r\n"),
        ),
    ]
}

fn others() -> Vec<Case> {
    let sip = |count: usize| {
        let head = b"OPTIONS sip:a@h SIP/2.0\r\n";
        [&head[..], &b"X: y\r\n".repeat(count), b"\r\n"].concat()
    };
    vec![
        case(Protocol::Redis, "bytes of a value", one_more(redis::VALUE_MAX), |count| {
            stream::<redis::State>(Originator, format!("*2\r\n$3\r\nGET\r\n${count}\r\n").as_bytes())
        }),
        case(Protocol::Stratum, "bytes of a line", [4000, stratum::LINE_MAX], |count| {
            let line =
                [b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"", &letters(count)[..], b"\"]}\n"].concat();
            stream::<stratum::State>(Originator, &line)
        }),
        case(Protocol::Stratum, "lines of a side", one_more(stratum::LINES_MAX), |count| {
            stream::<stratum::State>(Originator, &b"{\"id\":1,\"method\":\"x\"}\n".repeat(count))
        }),
        case(Protocol::Ssdp, "fields of a message", one_more(ssdp::LINES_MAX), |count| {
            let message = [&b"NOTIFY * HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(count), b"\r\n"].concat();
            datagrams::<ssdp::State>(&[&message])
        }),
        case(Protocol::Sip, "bytes of a head", [4000, sip::HEAD_MAX], |count| {
            begun::<sip::State>(&[b"OPTIONS sip:a@h SIP/2.0\r\nX: ", &letters(count)[..], b"\r\n\r\n"].concat())
        }),
        case(
            Protocol::Sip,
            "fields of a head, and lines of a description",
            [sip::LINES_MAX - 1, sip::LINES_MAX + 1],
            |count| datagrams::<sip::State>(&[&sip(count)]),
        ),
        case(Protocol::Sip, "bytes of a body in a stream", one_more(sip::BODY_MAX), |count| {
            let head = format!("OPTIONS sip:a@h SIP/2.0\r\nContent-Length: {count}\r\n\r\n");
            begun::<sip::State>(&[head.as_bytes(), &letters(count)].concat())
        }),
        case(Protocol::BitTorrent, "lines of a search", [10, bittorrent::SEARCH_LINES_MAX + 1], |count| {
            let message = [&b"BT-SEARCH * HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(count), b"\r\n"].concat();
            datagrams::<bittorrent::State>(&[&message])
        }),
        case(Protocol::Syslog, "bytes of a line in a stream", [4000, syslog::MESSAGE_MAX], |count| {
            begun::<syslog::State>(&[b"<13>", &letters(count)[..]].concat())
        }),
        case(
            Protocol::Syslog,
            "bytes of a message in a stream with its length in front",
            one_more(syslog::MESSAGE_MAX),
            |count| begun::<syslog::State>(&[format!("{count} <13>").as_bytes(), &letters(count - 4)].concat()),
        ),
    ]
}
