use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::dataplane::inspect::hostile::{datagram, plain, show_one, stream, torment_datagram, torment_stream};
use crate::dataplane::inspect::{Facts, Record as Told, feed, number};

const PORTS: [u16; 2] = [40_000, 53];

fn texts(facts: &Facts, fact: Fact) -> Vec<String> {
    facts.all(fact).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn numbers(facts: &Facts, fact: Fact) -> Vec<u64> {
    facts.all(fact).map(number).collect()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn response() -> Message {
    let mut message = Message::new();
    message.set_id(0xbeef).set_message_type(MessageType::Response).set_op_code(OpCode::Query);
    message.set_response_code(ResponseCode::BADVERS).set_recursion_desired(true).set_recursion_available(true);
    message.add_query(Query::query(name("Www.Example.com."), RecordType::A));
    let owner = name("Www.Example.com.");
    let data = [
        RData::CNAME(CNAME(name("a.example.com."))),
        RData::A(A::new(192, 0, 2, 7)),
        RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        RData::MX(MX::new(10, name("mail.example.com."))),
        RData::TXT(TXT::new(vec!["v=spf1 -all".to_string(), "b".to_string()])),
        RData::SRV(SRV::new(1, 2, 443, name("srv.example.com."))),
    ];
    for (index, one) in data.into_iter().enumerate() {
        message.add_answer(Record::from_rdata(owner.clone(), 300 + index as u32, one));
    }
    let soa = SOA::new(name("ns.example.com."), name("host\\.master.example.com."), 1, 2, 3, 4, 5);
    message.add_name_server(Record::from_rdata(name("example.com."), 9, RData::SOA(soa)));
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_version(0).set_rcode_high(1);
    message.set_edns(edns);
    message
}

fn bytes() -> Vec<u8> {
    response().to_vec().unwrap()
}

#[test]
fn a_response_with_records_of_all_kinds_is_read() {
    let out = show_one::<State>(&bytes());
    assert_eq!((out.events.len(), out.anomalies.len()), (1, 0));
    let facts = &out.events[0];
    assert!(!facts.is_truncated());
    assert_eq!(facts.number(SET.id), Some(0xbeef));
    assert_eq!(facts.number(SET.qr), Some(1));
    assert_eq!((facts.number(SET.rd), facts.number(SET.ra), facts.number(SET.aa)), (Some(1), Some(1), Some(0)));
    assert_eq!(facts.number(SET.rcode), Some(16), "with the bits of EDNS");
    assert_eq!(texts(facts, SET.query_name), ["Www.Example.com"]);
    let [names, kinds, ttls, data] = SET.sections[0];
    assert_eq!(texts(facts, names), ["Www.Example.com"; 6]);
    assert_eq!(numbers(facts, kinds), [5, 1, 28, 15, 16, 33]);
    assert_eq!(numbers(facts, ttls), [300, 301, 302, 303, 304, 305]);
    let wanted = [
        "a.example.com",
        "192.0.2.7",
        "2001:db8::1",
        "10 mail.example.com",
        "v=spf1 -all\nb",
        "1 2 443 srv.example.com",
    ];
    assert_eq!(texts(facts, data), wanted);
    assert_eq!(texts(facts, SET.sections[1][3]), ["ns.example.com host\\.master.example.com 1 2 3 4 5"]);
    assert_eq!(facts.all(SET.address).map(<[u8]>::len).collect::<Vec<_>>(), [4, 16]);
    assert_eq!(facts.number(SET.edns_size), Some(1232));
}

#[test]
fn https_records_tell_their_parameters() {
    let mut message =
        b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x41\0\x01\xc0\x0c\0\x41\0\x01\0\0\0\x3c\0\x1f".to_vec();
    message.extend(b"\0\x01\0\0\x01\0\x06\x02h3\x02h2\0\x03\0\x02\x01\xbb\0\x04\0\x04\xc0\0\x02\x01\0\x05\0\0");
    let out = show_one::<State>(&message);
    assert_eq!(texts(&out.events[0], SET.sections[0][3]), ["1 . alpn=h3,h2 port=443 ipv4hint=192.0.2.1 ech"]);
    assert_eq!((type_name(65), rcode_name(3)), (Some("HTTPS"), Some("NXDOMAIN")));
}

/// Types that have no object in EVE, as zone files have them.
#[test]
fn other_types_are_as_in_zone_files() {
    let owner = b"\x01a\x04test\0";
    for (kind, data, wanted) in [
        (257, &b"\0\x05issuele.test"[..], "0 issue \"le.test\""),
        (257, b"\x80\x05iodefa\"b\\c\n", "128 iodef \"a\\\"b\\\\c\\010\""),
        (35, b"\0\x64\0\x0a\x01u\x07E2U+sip\x0e!^.*$!sip:x@y!\0", "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:x@y!\" ."),
        (35, b"\0\x64\0\x0a\0\0\0\x01b\xc0\x0e", "100 10 \"\" \"\" \"\" b.test"),
        (43, b"\xec\x45\x0d\x02\xab\xcd", "60485 13 2 abcd"),
        (59, b"\0\0\0\0\0", "0 0 0 00"),
        (48, b"\x01\x01\x03\x0dabcd", "257 3 13 YWJjZA=="),
        (60, b"\x01\0\x03\x08abcde", "256 3 8 YWJjZGU="),
        (52, b"\x03\x01\x01\x0f\xf0", "3 1 1 0ff0"),
        (
            46,
            b"\0\x1c\x0d\x02\0\0\x01\x2c\x65\xe0\x26\x00\x36\xe6\xcf\x00\x30\x39\xc0\x0esignature",
            "AAAA 13 2 300 20240229063648 19990310195856 12345 test",
        ),
        (
            46,
            b"\xff\x01\x0d\x02\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0",
            "TYPE65281 13 2 0 21060207062815 19700101000000 0 .",
        ),
        (16, b"\x0dhe said \"hi\"\n\x01b\0", "he said \"hi\"\\010\nb\n"),
        (257, b"\0\x06issue", ""),
        (35, b"\0\x64\0\x0a\x01", ""),
        (46, b"\0\x1c", ""),
        (43, b"\xec", ""),
        (12345, b"abc", ""),
    ] {
        let mut message = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0".to_vec();
        message.extend([&owner[..], b"\0\xff\0\x01\xc0\x0c", &u16::to_be_bytes(kind), b"\0\x01\0\0\0\x3c"].concat());
        message.extend([&(data.len() as u16).to_be_bytes()[..], data].concat());
        let out = show_one::<State>(&message);
        assert_eq!(texts(&out.events[0], SET.sections[0][3]), [wanted], "type {kind}");
        torment_datagram::<State>(&message, PORTS, probe);
    }
}

#[test]
fn streams_are_read_in_any_pieces() {
    let one = bytes();
    let framed = [&(one.len() as u16).to_be_bytes()[..], &one].concat();
    let twice = [&framed[..], &framed].concat();
    let out = torment_stream(State::stream, &twice, PORTS, probe);
    assert_eq!((out.events.len(), plain(&out).0[0] == plain(&out).0[1]), (2, true));
    assert_eq!(probe(&stream(&framed, [40_000, 5300])), Match::Yes, "at any port");
    assert_eq!(probe(&stream(&framed[..20], PORTS)), Match::Maybe);
    assert_eq!(probe(&stream(b"GET / HTTP/1.1\r\n\r\n", [1, 2])), Match::No);
}

#[test]
fn hostile_bytes_come_to_an_end() {
    torment_datagram::<State>(&bytes(), PORTS, probe);
    assert_eq!(probe(&datagram(&bytes(), [1, 2])), Match::Yes);
    let mut long = bytes();
    long.push(0);
    assert_eq!(probe(&datagram(&long, [1, 2])), Match::No, "bytes behind the end, at no known port");
    assert_eq!(probe(&datagram(&[0; 60], [1, 2])), Match::No);
    assert_eq!(probe(&datagram(&[0xff; 60], PORTS)), Match::No);
}

#[test]
fn anomalies_have_names() {
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0";
    for (head, rest, wanted) in [
        (&query[..], &b"\xc0\x0c\0\x01\0\x01"[..], &["compression_loop"][..]),
        (query, b"\x05ab", &["malformed"]),
        (b"\0\x01\x81\x80\0\0\0\0\0\0\0\0", b"", &["response_without_question"]),
        (b"\0\x01\x81\x81\0\0\0\0\0\0\0\0", b"", &[]),
        (b"\0\x01\x79\x40\0\x01\0\0\0\0\0\0", b"\0\0\x01\0\x01", &["invalid_opcode", "z_flag_set"]),
        (query, &[&[62; 63].repeat(5)[..], b"\0\0\x01\0\x01"].concat(), &["name_too_long"]),
        (b"\0\x01\x83\x80\0\x01\0\x01\0\0\0\0", b"\0\0\x01\0\x01", &[]),
    ] {
        let out = show_one::<State>(&[head, rest].concat());
        assert_eq!(out.anomalies, wanted, "{rest:?}");
        assert_eq!(out.events.len(), 1);
    }
}

#[test]
fn a_message_full_of_pointers_is_bounded() {
    // 4000 records, each name a pointer to the one before: only so many are looked at.
    let mut message = b"\0\x01\x81\x80\0\x01\xff\xff\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
    let mut last = 12_u16;
    for _ in 0..4000 {
        let at = message.len() as u16;
        message.extend((0xc000 | last & 0x3fff).to_be_bytes());
        message.extend(b"\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01");
        last = at;
    }
    let out = show_one::<State>(&message);
    let facts = &out.events[0];
    assert_eq!(facts.all(SET.sections[0][0]).count(), 32);
    assert_eq!(facts.number(SET.answers), Some(0xffff));
    assert!(facts.is_truncated());
}

#[test]
fn of_a_message_too_long_to_be_put_together_the_head_is_told() {
    let mut message = response();
    message.set_response_code(ResponseCode::NXDomain);
    let short = message.to_vec().unwrap();
    for _ in 0..200 {
        let text = TXT::new(vec!["x".repeat(250)]);
        message.add_answer(Record::from_rdata(name("t.example."), 1, RData::TXT(text)));
    }
    let long = message.to_vec().unwrap();
    assert!(long.len() > UNIT_MAX);
    let with_length = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
    let stream = [with_length(&long), with_length(&short)].concat();
    for piece in [1, 700, 1460, stream.len()] {
        let (mut state, mut out) = (State::stream(), Told::default());
        feed(&mut state, Side::Responder, &stream, piece, &mut out);
        let [head, whole] = &out.events[..] else { panic!("{} events", out.events.len()) };
        assert_eq!((head.is_truncated(), whole.is_truncated(), out.anomalies.len()), (true, false, 0));
        for fact in [SET.id, SET.rcode, SET.query_name] {
            assert_eq!(head.get(fact), whole.get(fact), "{}", fact.name);
        }
        assert!(head.all(SET.sections[0][3]).count() > 5);
    }
}

#[test]
fn records_that_do_not_fit_are_left_out_whole() {
    let mut message = response();
    for _ in 0..20 {
        let text = TXT::new(vec!["x".repeat(250), "y".repeat(250)]);
        message.add_answer(Record::from_rdata(name("t.example."), 1, RData::TXT(text)));
    }
    let out = show_one::<State>(&message.to_vec().unwrap());
    let facts = &out.events[0];
    let counts: Vec<usize> = SET.sections[0].iter().map(|fact| facts.all(*fact).count()).collect();
    assert!(counts[0] > 6 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    assert!(facts.is_truncated());
}

/// Labels of a name written by us, to compare with those of the reference.
fn labels(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut rest) = (vec![vec![]], text.iter().copied());
    while let Some(byte) = rest.next() {
        match byte {
            b'.' => all.push(vec![]),
            b'\\' => {
                let next = rest.next().unwrap();
                let value = if next.is_ascii_digit() {
                    let digits = [next, rest.next().unwrap(), rest.next().unwrap()];
                    digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) as u8
                } else {
                    next
                };
                all.last_mut().unwrap().push(value);
            }
            byte => all.last_mut().unwrap().push(byte),
        }
    }
    all.retain(|label| !label.is_empty());
    all
}

/// Where hickory reads a message, we read the same: names, types, times, addresses.
fn compare(message: &[u8]) -> bool {
    let Ok(reference) = Message::from_vec(message) else { return false };
    let out = show_one::<State>(message);
    let facts = &out.events[0];
    assert_eq!(facts.number(SET.id), Some(reference.id().into()));
    assert_eq!(facts.number(SET.rcode), Some(u16::from(reference.response_code()).into()), "{message:?}");
    let of = |name: &Name| name.iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let names: Vec<_> = facts.all(SET.query_name).map(labels).collect();
    assert_eq!(names, reference.queries().iter().take(32).map(|one| of(one.name())).collect::<Vec<_>>());
    if facts.is_truncated() {
        return true;
    }
    let sections = [reference.answers(), reference.name_servers(), reference.additionals()];
    for ([names, kinds, ttls, data], records) in SET.sections.into_iter().zip(sections) {
        let records: Vec<_> = records.iter().filter(|one| one.record_type() != RecordType::OPT).collect();
        assert_eq!(
            facts.all(names).map(labels).collect::<Vec<_>>(),
            records.iter().map(|one| of(one.name())).collect::<Vec<_>>()
        );
        let wanted: Vec<u64> = records.iter().map(|one| u16::from(one.record_type()).into()).collect();
        assert_eq!(numbers(facts, kinds), wanted, "{message:?}");
        assert_eq!(numbers(facts, ttls), records.iter().map(|one| one.ttl().into()).collect::<Vec<u64>>());
        for (ours, theirs) in texts(facts, data).iter().zip(&records) {
            match theirs.data() {
                RData::A(A(address)) => assert_eq!(*ours, address.to_string()),
                RData::AAAA(AAAA(address)) => assert_eq!(*ours, address.to_string()),
                RData::CNAME(CNAME(name)) => assert_eq!(labels(ours.as_bytes()), of(name)),
                RData::SOA(soa) => assert!(ours.ends_with(&format!(" {} {}", soa.expire() as u32, soa.minimum()))),
                RData::SRV(srv) => {
                    assert!(ours.starts_with(&format!("{} {} {} ", srv.priority(), srv.weight(), srv.port())))
                }
                RData::TXT(txt) => {
                    let joined: Vec<u8> = txt.iter().map(|one| one.to_vec()).collect::<Vec<_>>().join(&b'\n');
                    assert_eq!(*ours, String::from_utf8_lossy(&joined).into_owned());
                }
                _ => {}
            }
        }
    }
    true
}

#[test]
fn what_hickory_reads_we_read_the_same() {
    let whole = bytes();
    assert!(compare(&whole));
    let mut read = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            read += usize::from(compare(&changed));
        }
    }
    assert!(read > 400, "{read} messages that both read");
}

#[test]
fn the_names_of_a_message_are_read_only_so_far() {
    // A chain of pointers inside the data of the first record, and many records named by its end.
    let mut message = vec![0x12, 0x34, 0x84, 0, 0, 1, 0, 80, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
    let data: Vec<u8> =
        (0..126_u16).flat_map(|at| (0xc000 | if at == 0 { 12 } else { 30 + (at - 1) * 2 }).to_be_bytes()).collect();
    message.extend([&[0, 0, 10, 0, 1, 0, 0, 0, 0][..], &(data.len() as u16).to_be_bytes(), &data].concat());
    for _ in 0..79 {
        let owner = 0xc000 | (message.len() as u16).min(30 + 125 * 2);
        message.extend([&owner.to_be_bytes()[..], &[0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]].concat());
    }
    let out = crate::dataplane::inspect::hostile::show_one::<State>(&message);
    assert_eq!(out.anomalies, ["names_too_costly"]);
    assert!(out.events[0].get(SET.query_name).is_some(), "what was read before stays");
}
