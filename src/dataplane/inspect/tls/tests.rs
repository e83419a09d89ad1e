use super::super::facts::{Fact, Facts};
use super::super::parse::{Look, Match, Record, feed};
use super::*;

pub(in crate::dataplane::inspect) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &(body.len() as u16).to_be_bytes()[..], body].concat()
}

pub(in crate::dataplane::inspect) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn short(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8], body].concat()
}

fn long(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(body)].concat()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|one| one.to_be_bytes()).collect()
}

/// Extensions of a client like a browser: GREASE, SNI, groups, point formats, ALPN, algorithms, versions, ticket, ECH.
fn browser_extensions() -> Vec<u8> {
    [
        extension(0x4a4a, b""),
        extension(0, &long(&[&[0], &long(b"shrike.example")[..]].concat())),
        extension(10, &long(&numbers(&[0xcaca, 0x001d, 0x0017]))),
        extension(11, &short(&[0])),
        extension(35, b"ticket"),
        extension(16, &long(&[short(b"h2"), short(b"http/1.1")].concat())),
        extension(13, &long(&numbers(&[0x0403, 0x0804]))),
        extension(43, &short(&numbers(&[0x2a2a, 0x0304, 0x0303]))),
        extension(0xfe0d, &[0; 20]),
    ]
    .concat()
}

pub(in crate::dataplane::inspect) fn client_hello(version: u16, cookie: Option<&[u8]>, extensions: &[u8]) -> Vec<u8> {
    let ciphers = long(&numbers(&[0xaaaa, 0x1301, 0xc02f, 0x002f]));
    let cookie = cookie.map(short).unwrap_or_default();
    let head = [&numbers(&[version])[..], &[7; 32], &short(&[8; 32]), &cookie, &ciphers, &short(&[0])].concat();
    message(message::CLIENT_HELLO, &[head, long(extensions)].concat())
}

pub(in crate::dataplane::inspect) fn server_hello(random: [u8; 32], cipher: u16, extensions: &[u8]) -> Vec<u8> {
    let head = [&numbers(&[0x0303])[..], &random, &short(&[8; 32]), &numbers(&[cipher]), &[0]].concat();
    message(message::SERVER_HELLO, &[head, long(extensions)].concat())
}

pub(in crate::dataplane::inspect) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = match body.len() {
        0..=127 => vec![body.len() as u8],
        128..=255 => vec![0x81, body.len() as u8],
        _ => [&[0x82][..], &(body.len() as u16).to_be_bytes()].concat(),
    };
    [&[tag][..], &length, &body].concat()
}

/// A name of attributes: last part of the object's number, and value.
pub(in crate::dataplane::inspect) fn name_of(attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let one = |(last, value): &(u8, &[u8])| {
        let kind = if *last == 6 { 0x13 } else { 0x0c };
        der(0x31, &[&der(0x30, &[&der(6, &[&[0x55, 4, *last]]), &der(kind, &[value])])])
    };
    der(0x30, &[&attributes.iter().flat_map(one).collect::<Vec<u8>>()])
}

fn name(country: &[u8], common: &[u8]) -> Vec<u8> {
    name_of(&[(6, country), (3, common)])
}

fn certificate_of(issuer: &[u8], alt_names: usize) -> Vec<u8> {
    let names: Vec<u8> = (0..alt_names).flat_map(|one| der(0x82, &[format!("n{one}.example").as_bytes()])).collect();
    let alternative = der(0x30, &[&der(6, &[&[0x55, 0x1d, 17]]), &[1, 1, 0xff], &der(4, &[&der(0x30, &[&names])])]);
    certificate_from(&name(b"CH", issuer), &alternative)
}

pub(in crate::dataplane::inspect) fn certificate_from(issuer: &[u8], extensions: &[u8]) -> Vec<u8> {
    let rsa = der(0x30, &[&der(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]]), &[5, 0]]);
    let sha256 = der(0x30, &[&der(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]]), &[5, 0]]);
    let modulus = [&[0, 0x80][..], &[1; 255]].concat();
    let key = der(0x30, &[&der(2, &[&modulus]), &der(2, &[&[1, 0, 1]])]);
    let body = der(
        0x30,
        &[
            &der(0xa0, &[&[2, 1, 2]]),
            &der(2, &[&[0x0a, 0xbc]]),
            &sha256,
            issuer,
            &der(0x30, &[&der(0x17, &[b"191217011728Z"]), &der(0x18, &[b"20500101000000Z"])]),
            &name(b"CH", b"shrike.example"),
            &der(0x30, &[&rsa, &der(3, &[&[0], &key])]),
            &der(0xa3, &[&der(0x30, &[extensions])]),
        ],
    );
    der(0x30, &[&body, &sha256, &der(3, &[&[0; 257]])])
}

pub(in crate::dataplane::inspect) fn chain_of(certificates: &[Vec<u8>]) -> Vec<u8> {
    let one = |bytes: &Vec<u8>| [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat();
    let all: Vec<u8> = certificates.iter().flat_map(one).collect();
    message(message::CERTIFICATE, &one(&all))
}

/// Both streams of a TLS 1.2 handshake.
fn tls12() -> (Vec<u8>, Vec<u8>) {
    let client = [
        record(content::HANDSHAKE, &client_hello(0x0303, None, &browser_extensions())),
        record(content::HANDSHAKE, &message(16, &[9; 66])),
        record(content::CHANGE_CIPHER_SPEC, &[1]),
        record(content::HANDSHAKE, &[0xee; 40]),
    ];
    let server = [
        server_hello([5; 32], 0xc02f, &[extension(0xff01, &[0]), extension(16, &long(&short(b"h2")))].concat()),
        chain_of(&[certificate_of(b"Some CA", 2), vec![7; 900]]),
        message(12, &[3; 300]),
        message(message::SERVER_HELLO_DONE, b""),
    ];
    let encrypted = [record(content::CHANGE_CIPHER_SPEC, &[1]), record(content::HANDSHAKE, &[0xee; 40])].concat();
    (client.concat(), [record(content::HANDSHAKE, &server.concat()), encrypted].concat())
}

/// The same bytes of handshake in records of `size` bytes.
fn refragment(stream: &[u8], size: usize) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([stream[3], stream[4]]));
    let pieces = stream[5..5 + length].chunks(size).map(|piece| record(content::HANDSHAKE, piece));
    [pieces.collect::<Vec<_>>().concat(), stream[5 + length..].to_vec()].concat()
}

fn talk(client: &[u8], server: &[u8], piece: usize) -> (Record, [Step; 2]) {
    let (mut state, mut out) = (State::default(), Record::default());
    let first = feed(&mut state, Side::Originator, client, piece, &mut out);
    let second = feed(&mut state, Side::Responder, server, piece, &mut out);
    state.end(&mut out);
    (out, [first, second])
}

fn text(event: &Facts, fact: Fact) -> Vec<String> {
    event.all(fact).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn look(bytes: &[u8]) -> Look<'_> {
    Look {
        side: Side::Originator,
        bytes,
        is_datagram: false,
        ports: [40_000, 443],
        is_multicast: false,
        is_begun: [true; 2],
    }
}

#[test]
fn a_handshake_is_one_event_however_it_is_cut() {
    let (client, server) = tls12();
    for size in [1, 3, 50, 1000, 16_000] {
        let (client, server) = (refragment(&client, size), refragment(&server, size));
        for piece in [1, 2, 3, 7, 64, usize::MAX / 2] {
            let (out, ends) = talk(&client, &server, piece);
            assert_eq!((ends, out.events.len(), out.anomalies.len()), ([Step::Done; 2], 1, 0), "records of {size}");
            check_tls12(&out.events[0]);
        }
    }
}

fn check_tls12(event: &Facts) {
    assert!(!event.is_truncated());
    assert_eq!(text(event, HELLO.sni), ["shrike.example"]);
    assert_eq!(text(event, HELLO.client_alpn), ["h2", "http/1.1"]);
    assert_eq!(text(event, HELLO.server_alpn), ["h2"]);
    assert_eq!(event.get(HELLO.ciphers), Some(&numbers(&[0xaaaa, 0x1301, 0xc02f, 0x002f])[..]));
    assert_eq!(event.get(HELLO.groups), Some(&numbers(&[0xcaca, 0x001d, 0x0017])[..]));
    assert_eq!(event.get(HELLO.server_extensions), Some(&numbers(&[0xff01, 16])[..]));
    let numbers = [HELLO.client_version, HELLO.version, HELLO.cipher, HELLO.ech, HELLO.session_ticket];
    assert_eq!(numbers.map(|fact| event.number(fact)), [0x0303, 0x0303, 0xc02f, 1, 1].map(Some));
    assert_eq!(event.number(HELLO.resumed), None);
    let server = SERVER_CERTIFICATE;
    assert_eq!(text(event, server.subject), ["C=CH, CN=shrike.example"]);
    assert_eq!(text(event, server.issuer), ["C=CH, CN=Some CA"]);
    assert_eq!(text(event, server.alt_name), ["n0.example", "n1.example"]);
    assert_eq!(
        [text(event, server.key_type), text(event, server.signature)].concat(),
        ["rsa", "sha256WithRSAEncryption"]
    );
    assert_eq!(event.get(server.serial), Some(&[0x0a, 0xbc][..]));
    assert_eq!(event.get(server.fingerprint).map(<[u8]>::len), Some(20));
    let numbers = [server.count, server.not_before, server.not_after, server.key_bits];
    assert_eq!(numbers.map(|fact| event.number(fact)), [2, 1_576_545_448, 2_524_608_000, 2048].map(Some));
    assert_eq!(event.number(server.self_signed), None);
}

#[test]
fn fingerprints_leave_grease_out() {
    let (client, server) = tls12();
    let (out, _) = talk(&client, &server, usize::MAX / 2);
    let event = &out.events[0];
    let ja3 = fingerprint::ja3(event, &HELLO).unwrap();
    assert_eq!(ja3, "771,4865-49199-47,0-10-11-35-16-13-43-65037,29-23,0");
    assert_eq!(fingerprint::ja3s(event, &HELLO).as_deref(), Some("771,49199,65281-16"));
    assert_eq!(
        fingerprint::ja4_raw(event, &HELLO, fingerprint::Transport::Tcp).as_deref(),
        Some("t13d0308h2_002f,1301,c02f_000a,000b,000d,0023,002b,fe0d_0403,0804")
    );
    let ja4 = fingerprint::ja4(event, &HELLO, fingerprint::Transport::Quic).unwrap();
    assert_eq!((&ja4[..11], ja4.len()), ("q13d0308h2_", 36));
    // The example of the JA3 publication: 769 and its MD5.
    let example = "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0";
    assert_eq!(fingerprint::md5_hex(example), "ada70206e40642a3e4461f35503241d5");
    assert_eq!(fingerprint::ja4(&Facts::default(), &HELLO, fingerprint::Transport::Tcp), None);
}

#[test]
fn names_of_protocols_in_a_fingerprint() {
    for (alpn, wanted) in [(&b""[..], "00"), (b"h", "hh"), (b"h3", "h3"), (b"http/1.1", "h1"), (b"\x8a\x8a", "99")] {
        let mut facts = Facts::default();
        facts.put_number(HELLO.client_version, 0x0303);
        facts.put(HELLO.client_alpn, alpn);
        let ja4 = fingerprint::ja4(&facts, &HELLO, fingerprint::Transport::Tcp).unwrap();
        assert_eq!(ja4, format!("t12i0000{wanted}_000000000000_000000000000"));
    }
}

#[test]
fn tls13_ends_with_the_server_hello_and_a_second_hello_is_kept_apart() {
    let first = record(content::HANDSHAKE, &client_hello(0x0303, None, &browser_extensions()));
    let again = [extension(44, &[1]), browser_extensions()].concat();
    let second = record(content::HANDSHAKE, &client_hello(0x0303, None, &again));
    let change = record(content::CHANGE_CIPHER_SPEC, &[1]);
    let data = record(content::APPLICATION_DATA, &[0xdd; 50]);
    let retry = hello_retry();
    let chosen = extension(43, &numbers(&[0x0304]));
    let hello = record(content::HANDSHAKE, &server_hello([5; 32], 0x1301, &chosen));
    let client = [&first[..], &change, &second, &data].concat();
    let server = [&retry[..], &change, &hello, &data].concat();
    for piece in [1, 2, 3, 7, 64, 100_000] {
        let (out, ends) = talk(&client, &server, piece);
        assert_eq!((ends, out.events.len(), &out.anomalies), ([Step::Done; 2], 1, &vec![]));
        let event = &out.events[0];
        assert_eq!(event.number(HELLO.version), Some(0x0304));
        assert_eq!((event.number(HELLO.hello_retry), event.number(HELLO.resumed)), (Some(1), None));
        assert_eq!(text(event, HELLO.client_alpn), ["h2", "http/1.1"]);
        let extensions = [HELLO.extensions, HELLO.retry_extensions].map(|fact| event.get(fact).unwrap().len());
        assert_eq!(extensions, [18, 20]);
        let ja4 = fingerprint::ja4(event, &HELLO.of_retry(), fingerprint::Transport::Tcp).unwrap();
        assert!(ja4.starts_with("t13d0309h2_"), "{ja4}");
    }
}

fn hello_retry() -> Vec<u8> {
    let random = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";
    let random: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&random[2 * at..2 * at + 2], 16).unwrap()).collect();
    record(content::HANDSHAKE, &server_hello(random.try_into().unwrap(), 0x1301, &extension(51, &[0, 29])))
}

#[test]
fn what_breaks_rules_is_named() {
    let hello = client_hello(0x0303, None, &browser_extensions());
    let good = record(content::HANDSHAKE, &hello);
    let mut marked = [5; 32];
    marked[24..].copy_from_slice(b"DOWNGRD\x01");
    let server = |random, cipher| record(content::HANDSHAKE, &server_hello(random, cipher, &[]));
    let twice = client_hello(0x0303, None, &[extension(23, b""), extension(23, b"")].concat());
    let bad_chain = record(content::HANDSHAKE, &[server_hello([5; 32], 0x002f, &[]), chain_of(&[vec![1; 9]])].concat());
    for (client, server, anomaly) in [
        (&good, server(marked, 0x002f), "version_downgrade"),
        (&good, server([5; 32], 0x0005), "cipher_not_offered"),
        (&good, record(content::ALERT, &[2, 40]), "fatal_alert"),
        (&good, bad_chain, "bad_certificate"),
        (&record(content::HANDSHAKE, &twice), vec![], "duplicate_extension"),
        (&record(content::HANDSHAKE, &message(1, &hello[4..60])), vec![], "bad_hello"),
        (&record(content::HANDSHAKE, b""), vec![], "bad_fragment"),
        (&[&good[..], &record(content::HEARTBEAT, &[1, 0x40, 0, 1])].concat(), vec![], "heartbeat_overread"),
    ] {
        for piece in [1, 2, 64, 100_000] {
            assert_eq!(talk(client, &server, piece).0.anomalies, [anomaly]);
        }
    }
    for (stream, anomaly) in [
        (vec![22, 3, 1, 0xff, 0], RECORD_TOO_LONG),
        (b"GET / HTTP/1.1".to_vec(), BAD_RECORD),
        (record(content::HANDSHAKE, &message(99, b"")), UNEXPECTED_MESSAGE),
        (record(content::HANDSHAKE, &message(16, &[1; 40])), UNEXPECTED_MESSAGE),
        ([record(22, &hello[..20]), record(23, &hello[20..])].concat(), BAD_FRAGMENT),
    ] {
        let broken = feed(&mut State::default(), Side::Originator, &stream, 100_000, &mut Record::default());
        assert_eq!(broken, Step::Broken(anomaly));
    }
}

#[test]
fn resumption_alerts_and_self_signed() {
    let client = record(content::HANDSHAKE, &client_hello(0x0303, None, &browser_extensions()));
    let hello = server_hello([5; 32], 0x002f, &[]);
    let change = record(content::CHANGE_CIPHER_SPEC, &[1]);
    let (out, _) = talk(&client, &[record(content::HANDSHAKE, &hello), change].concat(), 7);
    assert_eq!(out.events[0].number(HELLO.resumed), Some(1));
    let own = record(content::HANDSHAKE, &[hello, chain_of(&[certificate_of(b"shrike.example", 40)])].concat());
    let refused = [client, record(content::ALERT, &[2, 48])].concat();
    let (mut state, mut out) = (State::default(), Record::default());
    for (side, bytes) in [(Side::Originator, &refused[..refused.len() - 7]), (Side::Responder, &own)] {
        feed(&mut state, side, bytes, 64, &mut out);
    }
    assert_eq!(state.step(Side::Originator, &refused[refused.len() - 7..], &mut out), Step::Done);
    let event = &out.events[0];
    assert_eq!([ALERT, ALERT_LEVEL, SERVER_CERTIFICATE.self_signed].map(|one| event.number(one)), [48, 2, 1].map(Some));
    assert_eq!(text(event, SERVER_CERTIFICATE.alt_name).len(), usize::from(ALT_NAMES_MAX));
    assert_eq!((event.number(SERVER_CERTIFICATE.alt_name_count), event.is_truncated()), (Some(40), true));
}

#[test]
fn hellos_of_ssl2() {
    let body = [&[1, 3, 1][..], &numbers(&[9, 0, 16]), &[1, 0, 0x80, 0, 0, 0x2f, 0, 0, 5], &[7; 16]].concat();
    let hello = [&[0x80, body.len() as u8][..], &body].concat();
    let certificate = certificate_of(b"shrike.example", 1);
    let lengths = numbers(&[2, certificate.len() as u16, 3, 16]);
    let answer = [&[4, 0, 1][..], &lengths, &certificate, &[1, 0, 0x80], &[7; 16]].concat();
    let answer = [&(0x8000 | answer.len() as u16).to_be_bytes()[..], &answer].concat();
    for piece in [1, 2, 7, 100_000] {
        let (out, ends) = talk(&hello, &answer, piece);
        let event = &out.events[0];
        assert_eq!((ends[1], out.anomalies.len()), (Step::Done, 0));
        assert_eq!(event.get(HELLO.ciphers), Some(&numbers(&[0x2f, 5])[..]));
        let facts = [SSL2_HELLO, HELLO.client_version, HELLO.version, SERVER_CERTIFICATE.key_bits];
        assert_eq!(facts.map(|one| event.number(one)), [1, 0x0301, 2, 2048].map(Some));
    }
    for length in 0..hello.len() {
        let wanted = if length < 11 { Match::Maybe } else { Match::Yes };
        assert_eq!(probe(&look(&hello[..length])), wanted, "{length}");
    }
}

#[test]
fn recognition_is_by_content() {
    let (client, server) = tls12();
    let small = refragment(&client, 1);
    for (stream, needs) in [(&client, 11), (&server, 11), (&small, 8)] {
        for length in 0..stream.len() {
            let wanted = if length < needs { Match::Maybe } else { Match::Yes };
            assert_eq!(probe(&look(&stream[..length])), wanted, "{length}");
        }
        assert_eq!(probe(&Look { is_datagram: true, ..look(stream) }), Match::No);
    }
    let data = [record(content::APPLICATION_DATA, &[9; 40]), record(content::APPLICATION_DATA, &[9; 40])].concat();
    assert_eq!([44, 45, 47, 48, 90].map(|end| probe(&look(&data[..end]))), {
        use Match::{Maybe, Yes};
        [Maybe, Yes, Maybe, Yes, Yes]
    });
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x00, 0x02, 3, 3],
        &[0x16, 0x02],
        &[0x17, 3, 3, 0, 1],
        &[0x16, 3, 1, 0x60, 0],
        &[0x80, 0x2e, 1, 3, 1, 0, 9, 0, 5, 0, 16],
        &[0x15, 3, 1, 0, 2, 7],
        &[0x14, 3, 1, 0, 1, 2],
    ] {
        assert_eq!(probe(&look(other)), Match::No, "{other:02x?}");
    }
}

/// Whatever comes before it: padding, lists of thousands, extensions by the hundred, in records of any size.
#[test]
fn a_long_hello_is_read_to_its_end() {
    let (client, server) = tls12();
    let whole = |stream: &[u8]| talk(stream, &server, usize::MAX / 2).0.events[0].clone();
    let ja4 = |event: &Facts| fingerprint::ja4(event, &HELLO, fingerprint::Transport::Tcp);
    let plain = ja4(&whole(&client)).unwrap();
    for padding in [20, 2000, 16_000, 30_000, 60_000] {
        let extensions = [extension(21, &vec![0; padding]), browser_extensions()].concat();
        let hello = client_hello(0x0303, None, &extensions);
        for size in [1, 100, 16_384] {
            let stream: Vec<u8> = hello.chunks(size).flat_map(|piece| record(content::HANDSHAKE, piece)).collect();
            for piece in [1400, usize::MAX / 2] {
                let (out, _) = talk(&stream, &server, piece);
                assert_eq!(text(&out.events[0], HELLO.sni), ["shrike.example"], "{padding} {size} {piece}");
                let told = ja4(&out.events[0]).unwrap();
                assert_eq!(
                    told,
                    ja4(&whole(&record(
                        content::HANDSHAKE,
                        &client_hello(0x0303, None, &[extension(21, b""), browser_extensions()].concat())
                    )))
                    .unwrap()
                );
                assert_ne!(told, plain, "padding counts");
                let long: &[&str] = if hello.len() > CLEAR_MAX + MESSAGE_HEADER { &["hello_too_long"] } else { &[] };
                assert_eq!(out.anomalies, long, "{padding} {size} {piece}");
            }
        }
    }
    // Longer lists than are kept: the name is found, and nothing is taken for a fingerprint.
    let many: Vec<u8> = (1000..3000u16).flat_map(|one| extension(one, b"")).collect();
    let loud = extension(10, &long(&[1; 3000]));
    for junk in [many, loud] {
        let hello = client_hello(0x0303, None, &[junk, browser_extensions()].concat());
        for size in [100, 16_000] {
            let stream: Vec<u8> = hello.chunks(size).flat_map(|piece| record(content::HANDSHAKE, piece)).collect();
            let (out, _) = talk(&stream, &server, 1400);
            let event = &out.events[0];
            assert_eq!(text(event, HELLO.sni), ["shrike.example"]);
            assert_eq!((fingerprint::ja3(event, &HELLO), event.is_truncated()), (None, true));
        }
    }
}

/// What is here whole of a hello in two segments is read in one step, and no byte of it twice.
#[test]
fn a_hello_in_two_segments_takes_few_steps() {
    let long = extension(0x4a4b, &[0; 1200]);
    let hello = client_hello(0x0303, None, &[browser_extensions(), long, extension(27, &[2, 0, 2])].concat());
    let stream = record(content::HANDSHAKE, &hello);
    let whole = talk(&stream, b"", usize::MAX / 2).0;
    for cut in 1..stream.len() {
        let (mut state, mut out, mut steps) = (State::default(), Record::default(), 0);
        let (mut at, mut skip, mut need) = (0, 0, 1);
        for shown in [cut, stream.len()] {
            let over = skip.min(shown - at);
            (at, skip) = (at + over, skip - over);
            while at < shown && shown - at >= need {
                steps += 1;
                match state.step(Side::Originator, &stream[at..shown], &mut out) {
                    Step::Took(count) => (at, need) = (at + count, 1),
                    Step::Skip(count) => {
                        let here = (count as usize).min(shown - at);
                        (at, skip, need) = (at + here, count as usize - here, 1);
                    }
                    Step::Need(count) => need = count,
                    step => panic!("{step:?}"),
                }
            }
        }
        state.end(&mut out);
        assert_eq!(out.events[0].as_bytes(), whole.events[0].as_bytes(), "{cut}");
        assert!(steps <= 8 && out.anomalies.is_empty(), "{steps} steps, cut at {cut}");
    }
}

/// One that ends before it can be one, or has nothing in it, is told, and what comes behind it is read.
#[test]
fn a_hello_that_is_too_short_ends_where_it_says() {
    for length in [0, 1, 34, 40] {
        let hello = message(message::CLIENT_HELLO, &vec![3; length]);
        for size in [1, 4, 7, 100] {
            let stream = refragment(&record(content::HANDSHAKE, &hello), size);
            let stream = [stream, record(content::ALERT, &[2, 40])].concat();
            for piece in [1, 3, 5, 9, 20, 1000] {
                let (out, [step, _]) = talk(&stream, b"", piece);
                assert_eq!(out.anomalies, ["bad_hello", "fatal_alert"], "{length} {size} {piece}");
                assert_eq!(step, Step::Done);
            }
        }
    }
}

#[test]
fn half_a_hello_has_no_fingerprint() {
    let (client, _) = tls12();
    for end in 60..client.len() - 130 {
        let (out, _) = talk(&client[..end], b"", 7);
        for event in &out.events {
            let ja4 = fingerprint::ja4(event, &HELLO, fingerprint::Transport::Tcp);
            assert_eq!((ja4, fingerprint::ja3(event, &HELLO)), (None, None), "{end}");
        }
    }
}

/// RFC 8446 section 5.1: the version of a record is to be ignored; servers look at its first byte at most.
#[test]
fn a_record_of_an_odd_version_is_read_and_told() {
    let (client, server) = tls12();
    for minor in [5, 0x99, 0xff] {
        let mut odd = refragment(&client, 100);
        let mut at = 0;
        while at < odd.len() {
            odd[at + 2] = minor;
            at += RECORD_HEADER + usize::from(u16::from_be_bytes([odd[at + 3], odd[at + 4]]));
        }
        for stream in
            [odd.clone(), [&[22, 3, minor, 0, 0], &odd[..]].concat(), [&[21, 3, minor, 0, 2, 1, 0], &odd[..]].concat()]
        {
            assert_eq!(probe(&look(&stream)), Match::Yes, "{minor}");
            let (out, _) = talk(&stream, &server, 64);
            assert_eq!(text(&out.events[0], HELLO.sni), ["shrike.example"]);
            assert_eq!(out.anomalies.iter().filter(|one| **one == "record_version_unknown").count(), 1);
        }
    }
    assert_eq!(probe(&look(&[23, 3, 9, 0, 16, 0])), Match::No, "ciphertext has little else to be told by");
}

#[test]
fn hostile_bytes_end() {
    let (client, server) = tls12();
    for stream in [&client, &server, &refragment(&client, 9), &refragment(&server, 200)] {
        for end in 0..stream.len() {
            feed(&mut State::default(), Side::Originator, &stream[..end], 512, &mut Record::default());
        }
        for at in 0..stream.len() {
            for flip in [0x01, 0xff] {
                let mut bytes = stream.clone();
                bytes[at] ^= flip;
                feed(&mut State::default(), Side::Originator, &bytes, 512, &mut Record::default());
                probe(&look(&bytes));
            }
        }
    }
}

#[test]
fn bombs_stay_within_bounds() {
    let many: Vec<u8> = (0..4000u16).flat_map(|one| extension(one, b"")).collect();
    let names: Vec<u8> = (0..250).flat_map(|_| short(b"x")).collect();
    let loud = [extension(16, &long(&names)), extension(10, &long(&[1; 60_000]))].concat();
    let many = client_hello(0x0303, None, &many[..15_000]);
    let chain = [server_hello([5; 32], 0x002f, &[]), chain_of(&vec![certificate_of(b"x", 900); 6])].concat();
    assert!(chain.len() > GATHER_MAX);
    for (message, is_read) in [(many, true), (client_hello(0x0303, None, &loud[..15_000]), true), (chain, true)] {
        let records: Vec<u8> = message.chunks(1000).flat_map(|piece| record(content::HANDSHAKE, piece)).collect();
        let (out, _) = talk(&records, b"", 1400);
        assert_eq!(!out.events.is_empty(), is_read);
    }
    let tiny: Vec<u8> = message(1, &[0; 15_000]).iter().flat_map(|byte| record(content::HANDSHAKE, &[*byte])).collect();
    let (out, _) = talk(&tiny, b"", 1400);
    assert_eq!(out.anomalies, ["bad_hello"], "a hello in records of a byte each is read");
}

/// What `tls-parser` reads of a hello, in our facts' form: version, ciphers, types of extensions, name, protocols, groups,
/// signature algorithms, versions, point formats.
fn by_tls_parser(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    use tls_parser::{TlsExtension as Ext, TlsMessage, TlsMessageHandshake};
    let (_, plain) = tls_parser::parse_tls_plaintext(bytes).ok()?;
    let TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)) = plain.msg.first()? else { return None };
    let (rest, all) = tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap_or_default()).ok()?;
    let mut found = vec![vec![]; 9];
    found[0] = numbers(&[hello.version.0]);
    found[1] = hello.ciphers.iter().flat_map(|one| one.0.to_be_bytes()).collect();
    for one in all.iter().filter(|_| rest.is_empty()) {
        found[2].extend(tls_parser::TlsExtensionType::from(one).0.to_be_bytes());
        match one {
            Ext::SNI(list) => {
                found[3].extend(list.iter().find(|one| one.0.0 == 0).map(|one| one.1).unwrap_or_default())
            }
            Ext::ALPN(list) => found[4] = list.join(&b'\n'),
            Ext::EllipticCurves(list) => found[5].extend(list.iter().flat_map(|one| one.0.to_be_bytes())),
            Ext::SignatureAlgorithms(list) => found[6].extend(numbers(list)),
            Ext::SupportedVersions(list) => found[7].extend(list.iter().flat_map(|one| one.0.to_be_bytes())),
            Ext::EcPointFormats(list) => found[8].extend(*list),
            _ => {}
        }
    }
    Some(found)
}

fn by_us(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (out, _) = talk(bytes, b"", usize::MAX / 2);
    let is_odd = out.anomalies.iter().any(|one| matches!(*one, "bad_hello" | "duplicate_extension"));
    let event = out.events.first().filter(|_| !is_odd)?;
    let bytes = |fact| event.get(fact).unwrap_or_default().to_vec();
    let mut found = vec![numbers(&[event.number(HELLO.client_version)? as u16])];
    found.extend([HELLO.ciphers, HELLO.extensions, HELLO.sni].map(bytes));
    found.push(event.all(HELLO.client_alpn).collect::<Vec<_>>().join(&b'\n'));
    found.extend([HELLO.groups, HELLO.signature_algorithms, HELLO.versions, HELLO.point_formats].map(bytes));
    Some(found)
}

#[test]
fn fields_are_those_of_tls_parser() {
    // `tls-parser` knows no GREASE type 0x4a4a by number, so this hello has none.
    let extensions = &browser_extensions()[4..];
    let good = record(content::HANDSHAKE, &client_hello(0x0303, None, extensions));
    assert_eq!(by_us(&good), by_tls_parser(&good));
    let mut compared = 0;
    for at in 9..good.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            if let (Some(ours), Some(theirs)) = (by_us(&bytes), by_tls_parser(&bytes)) {
                compared += 1;
                assert_eq!(ours[..2], theirs[..2], "byte {at}");
                if ours[2].len() == theirs[2].len() {
                    assert_eq!((&ours[3..7], &ours[8]), (&theirs[3..7], &theirs[8]), "byte {at}");
                    // It takes all of the extension for versions, whatever their length says.
                    assert!(theirs[7].starts_with(&ours[7]), "byte {at}");
                }
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}
