//! Protocols of datagrams.

use super::super::super::kerberos::tests::tlv;
use super::*;

pub(super) fn cases() -> Vec<Case> {
    let names = [
        names::<dns::State>(Protocol::Dns),
        names::<mdns::State>(Protocol::Mdns),
        names::<llmnr::State>(Protocol::Llmnr),
    ];
    [names.into_iter().flatten().collect(), ike(), others(), counted()].into_iter().flatten().collect()
}

use super::super::super::{llmnr, mdns};

fn names<P: Parse>(of: Protocol) -> Vec<Case> {
    let message = |questions: usize, answers: usize| {
        let [a, b] = (questions as u16).to_be_bytes();
        let [c, d] = (answers as u16).to_be_bytes();
        let head = [0x12, 0x34, 0x81, 0x80, a, b, c, d, 0, 0, 0, 0];
        let question = b"\x01a\0\0\x01\0\x01".repeat(questions);
        let answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x01".repeat(answers);
        datagrams::<P>(&[&[&head[..], &question, &answer].concat()])
    };
    vec![
        case(of, "questions of a message", one_more(dns::QUESTIONS_MAX), |count| message(count, 0)),
        case(of, "records of a section that are told", one_more(dns::RECORDS_KEPT), |count| message(1, count)),
        case(of, "records of a section that are looked at", [10, usize::from(dns::RECORDS_MAX) + 1], |count| {
            message(1, count)
        }),
    ]
}

fn ike() -> Vec<Case> {
    let of = Protocol::Ike;
    let one = |kind: u8, body: &[u8]| [&[kind, 0][..], &(4 + body.len() as u16).to_be_bytes(), body].concat();
    let message = |first: u8, payloads: &[u8]| {
        let length = 28 + payloads.len() as u32;
        let head = [&[1; 8][..], &[0; 8], &[first, 0x20, 34, 8, 0, 0, 0, 0], &length.to_be_bytes()].concat();
        datagrams::<ike::State>(&[&[&head[..], payloads].concat()])
    };
    let proposals = |proposals: &[u8]| message(33, &one(0, proposals));
    let attributes = move |count: usize| {
        let transform = one(0, &[&[1, 0, 0, 12][..], &[0x80, 1, 0, 0].repeat(count)].concat());
        proposals(&one(0, &[&[1, 1, 0, 1][..], &transform].concat()))
    };
    vec![
        case(of, "payloads of a message", [10, ike::PAYLOADS_MAX + 1], |count| {
            let payloads: Vec<u8> = (1..=count).flat_map(|at| one(if at == count { 0 } else { 43 }, &[1; 4])).collect();
            message(43, &payloads)
        }),
        case(of, "proposals", one_more(ike::PROPOSALS_MAX), |count| proposals(&one(2, &[1, 1, 0, 0]).repeat(count))),
        case(of, "transforms of a proposal", one_more(ike::TRANSFORMS_MAX), |count| {
            let transforms = one(3, &[9, 0, 0, 1]).repeat(count);
            proposals(&one(0, &[&[1, 1, 0, count as u8][..], &transforms].concat()))
        }),
        case(of, "attributes of a transform", one_more(ike::ATTRIBUTES_MAX), attributes),
        case(of, "datagrams of others in a row", one_more(ike::OTHERS_MAX), |count| {
            datagrams::<ike::State>(&vec![&b"nothing known"[..]; count])
        }),
    ]
}

fn others() -> Vec<Case> {
    let table = |body: &[u8]| {
        let message = [b"d1:ad2:id20:abcdefghijabcdefghij1:x", body, b"e1:q4:ping1:t2:aa1:y1:qe"].concat();
        datagrams::<bittorrent::State>(&[&message])
    };
    let relayed = |count: usize| {
        let inner = [&[1, 0, 0, 1, 0, 1, 0, 10][..], &[0, 1, 0, 1, 1, 1, 1, 1, 2, 2]].concat();
        (0..count).fold(inner, |inner, _| {
            [&[12, 0][..], &[0x20; 32], &[0, 9], &(inner.len() as u16).to_be_bytes(), &inner].concat()
        })
    };
    vec![
        case(Protocol::BitTorrent, "values of a dictionary", [100, bittorrent::VALUES_MAX + 1], |count| {
            table(&[&b"l"[..], &b"i1e".repeat(count), b"e"].concat())
        }),
        case(Protocol::BitTorrent, "lists and dictionaries in one another", [4, bittorrent::DEPTH_MAX + 1], |count| {
            table(&[b"l".repeat(count), b"e".repeat(count)].concat())
        }),
        case(Protocol::Dhcp, "relays of version 6 in one another", one_more(dhcp::RELAYS_MAX), |count| {
            datagrams::<dhcp::State>(&[&relayed(count)])
        }),
        case(Protocol::Snmp, "variables of a message", [16, snmp::VARIABLES_MAX + 1], |count| {
            let list = tlv(0x30, &tlv(0x30, &[6, 3, 0x2b, 6, 1, 5, 0]).repeat(count));
            let request = tlv(0xa0, &[&[2, 1, 1, 2, 1, 0, 2, 1, 0][..], &list].concat());
            datagrams::<snmp::State>(&[&tlv(0x30, &[&b"\x02\x01\x01\x04\x06public"[..], &request].concat())])
        }),
        case(
            Protocol::Tftp,
            "bytes of a file's name that a transfer is told with",
            one_more(tftp::NAME_MAX),
            |count| {
                let request = [&b"\0\x01"[..], &b"x".repeat(count), b"\0octet\0"].concat();
                datagrams::<tftp::State>(&[&request[..], b"\0\x03\0\x01a"])
            },
        ),
        case(Protocol::Tftp, "options of a request", one_more(tftp::OPTIONS_MAX), |count| {
            datagrams::<tftp::State>(&[&[&b"\0\x01boot\0octet\0"[..], &b"blksize\x001428\0".repeat(count)].concat()])
        }),
        case(Protocol::Quic, "tags of a hello of Google's versions", one_more(quic::TAGS_MAX), |count| {
            let head = b"\x0912345678Q043\x01............CHLO";
            let tags = b"AAAA\0\0\0\0".repeat(count);
            datagrams::<quic::State>(&[&[&head[..], &(count as u16).to_le_bytes(), &[0, 0], &tags].concat()])
        }),
        case(Protocol::Rtp, "packets that are nothing for sure", one_more(rtp::TRIES_MAX), |count| {
            let packet = |at: usize| [&[0x80, 0, at as u8, 0][..], &[at as u8; 8], &[0; 20]].concat();
            let all: Vec<Vec<u8>> = (0..count).map(packet).collect();
            datagrams::<rtp::State>(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }),
    ]
}

fn counted() -> Vec<Case> {
    let records = |count: usize| b"\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\x02\x01\0".repeat(count);
    let messages = |count: usize| {
        let body = [0; 12].repeat(count);
        [&b"\x16\xfe\xfd\0\0\0\0\0\0\0\0"[..], &(body.len() as u16).to_be_bytes(), &body].concat()
    };
    let mut data = vec![4, 0, 0, 0, 1, 0, 0, 0];
    data.resize(96, 0);
    vec![
        case(Protocol::Dtls, "records of a datagram", one_more(dtls::RECORDS_MAX), |count| {
            datagrams::<dtls::State>(&[&records(count)])
        }),
        case(Protocol::Dtls, "messages of a record", one_more(dtls::MESSAGES_MAX), |count| {
            datagrams::<dtls::State>(&[&messages(count)])
        }),
        case(Protocol::Stun, "datagrams or frames of others in a row", one_more(stun::OTHERS_MAX), |count| {
            datagrams::<stun::State>(&vec![&b"nothing known"[..]; count])
        }),
        case(Protocol::WireGuard, "datagrams of a flow", one_more(wireguard::MESSAGES_MAX), |count| {
            datagrams::<wireguard::State>(&vec![&data[..]; count])
        }),
        case(
            Protocol::OpenVpn,
            "messages before both sides began",
            [32, openvpn::MESSAGES_MAX as usize + 2],
            |count| datagrams::<openvpn::State>(&vec![&b"nothing known"[..]; count]),
        ),
    ]
}
