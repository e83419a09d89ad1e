//! Protocols of messages with lengths, in streams.

use super::super::super::facts::Facts;
use super::super::super::{dnp3, kerberos::tests as kerberos_tests, tls::tests as tls_tests};
use super::*;
use kerberos_tests::tlv;
use tls_tests::{certificate_from, chain_of, der, name_of, record, server_hello};

pub(super) fn cases() -> Vec<Case> {
    let all = [tls_cases(), smb(), databases(), mqtt_cases(), machines(), rdp_cases(), directories(), calls()];
    all.into_iter().flatten().collect()
}

fn tls_cases() -> Vec<Case> {
    let of = Protocol::Tls;
    let server = |extensions: &[u8], rest: &[u8]| {
        stream::<tls::State>(Responder, &record(22, &[&server_hello([5; 32], 0xc02f, extensions), rest].concat()))
    };
    let plain = name_of(&[(3, b"a")]);
    vec![
        case(of, "certificates of a chain that are counted", one_more(tls::CHAIN_MAX), |count| {
            server(b"", &chain_of(&vec![certificate_from(&plain, b"")[..10].to_vec(); count]))
        }),
        case(of, "extensions of a certificate", one_more(tls::EXTENSIONS_MAX), |count| {
            let one = der(0x30, &[&der(6, &[&[0x55, 0x1d, 14]]), &der(4, &[&[1]])]);
            server(b"", &chain_of(&[certificate_from(&plain, &one.repeat(count))]))
        }),
        case(of, "attributes of a name in a certificate", one_more(tls::ATTRIBUTES_MAX), |count| {
            server(b"", &chain_of(&[certificate_from(&name_of(&vec![(3, &b"a"[..]); count]), b"")]))
        }),
        case(of, "types of extensions of a hello", [40, tls::TYPES_MAX + 1], |count| {
            let one = |at: usize| [(100 + at as u16).to_be_bytes(), [0, 0]].concat();
            server(&(0..count).flat_map(one).collect::<Vec<u8>>(), b"")
        }),
        case(of, "ciphers of a hello of SSL 2", one_more(tls::CIPHERS_MAX), |count| {
            let [high, low] = (9 + 3 * count as u16 + 16).to_be_bytes();
            let [a, b] = (3 * count as u16).to_be_bytes();
            let specs: Vec<u8> = (0..count).flat_map(|at| [0, 0xc0, at as u8]).collect();
            stream::<tls::State>(
                Originator,
                &[&[0x80 | high, low, 1, 3, 1, a, b, 0, 0, 0, 16][..], &specs, &[7; 16]].concat(),
            )
        }),
    ]
}

fn smb() -> Vec<Case> {
    let of = Protocol::Smb;
    let framed = |message: &[u8]| [&(message.len() as u32).to_be_bytes()[..], message].concat();
    let message = |command: u8, id: u8, next: u8, body: &[u8]| {
        let mut head = [&b"\xfeSMB\x40\0"[..], &[0; 58]].concat();
        (head[12], head[20], head[24]) = (command, next, id);
        [&head[..], body].concat()
    };
    vec![
        case(of, "commands of a chain", one_more(smb::CHAIN_MAX), |count| {
            let one = |at: usize| {
                let mut one = message(13, at as u8, if at + 1 == count { 0 } else { 72 }, &[4, 0, 0, 0]);
                one.resize(72, 0);
                one
            };
            stream::<smb::State>(Originator, &framed(&(0..count).flat_map(one).collect::<Vec<u8>>()))
        }),
        case(of, "dialects that a client offers", one_more(smb::DIALECTS_MAX), |count| {
            let dialects = [2, 3].repeat(count);
            let body =
                [&[36, 0, count as u8, 0, 1, 0, 0, 0, 0x7f, 0, 0, 0][..], &[0xab; 16], &[0; 8], &dialects].concat();
            stream::<smb::State>(Originator, &framed(&message(0, 1, 0, &body)))
        }),
        case(of, "encrypted messages", [smb::ENCRYPTED_MAX as usize - 2, smb::ENCRYPTED_MAX as usize + 2], |count| {
            let sealed = [&b"\xfdSMB"[..], &[7; 40], &[1; 8], &[9; 100]].concat();
            stream::<smb::State>(Originator, &framed(&sealed).repeat(count))
        }),
    ]
}

fn databases() -> Vec<Case> {
    let startup =
        |parameters: &[u8]| [&(8 + parameters.len() as u32).to_be_bytes()[..], &[0, 3, 0, 0], parameters].concat();
    let error = |fields: &[u8]| [b"E", &(5 + fields.len() as u32).to_be_bytes()[..], fields, &[0]].concat();
    let answered = move |bytes: &[u8]| {
        said(pgsql::State::default(), &[(Originator, &startup(b"user\0a\0\0")), (Responder, bytes)])
    };
    let packet = |number: u8, body: &[u8]| {
        let [low, middle, high, _] = (body.len() as u32).to_le_bytes();
        [&[low, middle, high, number][..], body].concat()
    };
    let login = move |attributes: &[u8]| {
        // Protocol of 4.1, lengths and attributes.
        let head = [&0x30_8200_u32.to_le_bytes()[..], b"\0\0\0\x01\x2d", &[0; 23], b"bob\0\0"].concat();
        let size = [&[252][..], &(attributes.len() as u16).to_le_bytes()].concat();
        packet(1, &[&head[..], &size, attributes].concat())
    };
    let greeting =
        [&b"\x0a8.0.30\0"[..], &[1; 12], b"\0\xff\xff\x2d\x02\0\xff\xdf\x15", &[0; 10], &[2; 12], b"\0plugin\0"]
            .concat();
    let greeting = packet(0, &greeting);
    let mysql_said = |turns: &[(Side, &[u8])]| said(mysql::State::default(), turns);
    vec![
        case(Protocol::PostgreSql, "bytes of the first message", one_more(pgsql::STARTUP_MAX), |count| {
            stream::<pgsql::State>(Originator, &startup(&[b"user\0a\0\0", &vec![0; count - 16][..]].concat()))
        }),
        case(Protocol::PostgreSql, "bytes of a message that are looked at", [900, pgsql::LOOK_MAX], |count| {
            answered(&error(&[b"CXX000\0D", &letters(count)[..], b"\0"].concat()))
        }),
        case(Protocol::PostgreSql, "fields of an error", one_more(pgsql::FIELDS_MAX), |count| {
            answered(&error(&b"Dx\0".repeat(count)))
        }),
        case(Protocol::PostgreSql, "parameters of the first message", one_more(pgsql::FIELDS_MAX), |count| {
            stream::<pgsql::State>(
                Originator,
                &startup(&[&b"user\0a\0"[..], &b"a\0b\0".repeat(count - 1), b"\0"].concat()),
            )
        }),
        case(Protocol::PostgreSql, "errors told", one_more(pgsql::EVENTS_MAX), |count| {
            answered(&error(b"CXX000\0").repeat(count))
        }),
        case(Protocol::MySql, "bytes of a packet that are looked at", [1000, mysql::LOOK_MAX], |count| {
            let value = [&[252][..], &(count as u16).to_le_bytes(), &letters(count)].concat();
            mysql_said(&[(Responder, &greeting), (Originator, &login(&[&b"\x01a"[..], &value].concat()))])
        }),
        case(Protocol::MySql, "attributes of a client", one_more(mysql::ATTRIBUTES_MAX), |count| {
            mysql_said(&[(Responder, &greeting), (Originator, &login(&b"\x01a\x01b".repeat(count)))])
        }),
        case(Protocol::MySql, "errors told", one_more(mysql::ERRORS_MAX), |count| {
            let (ok, error) = (packet(2, b"\0\0\0\x02\0\0\0"), packet(1, b"\xff\x28\x04#42000no"));
            let errors = error.repeat(count);
            let (login, turns) = (login(b""), [(Responder, &greeting[..])]);
            let rest: [(Side, &[u8]); 3] = [(Originator, &login), (Responder, &ok), (Responder, &errors)];
            mysql_said(&[&turns[..], &rest].concat())
        }),
    ]
}

fn mqtt_cases() -> Vec<Case> {
    let of = Protocol::Mqtt;
    let packet = |kind: u8, body: &[u8]| {
        let (low, high) = (body.len() as u8 & 0x7f | 0x80, (body.len() >> 7) as u8);
        [&[kind, low, high][..], body].concat()
    };
    let connect = |topic: usize| {
        let topic = [&(topic as u16).to_be_bytes()[..], &letters(topic)].concat();
        packet(0x10, &[b"\0\x04MQTT\x04\x06\0\x3c\0\x01c", &topic[..], b"\0\x01m"].concat())
    };
    let behind = move |bytes: Vec<u8>| stream::<mqtt::State>(Originator, &[connect(1), bytes].concat());
    vec![
        case(of, "bytes of a packet that are looked at", [200, mqtt::PACKET_MAX], |count| {
            stream::<mqtt::State>(Originator, &connect(count))
        }),
        case(of, "messages told", one_more(mqtt::MESSAGES_MAX), |count| behind(packet(0x30, b"\0\x01t").repeat(count))),
        case(of, "subscriptions told", one_more(mqtt::SUBSCRIPTIONS_MAX), |count| {
            behind(packet(0x82, b"\0\x01\0\x01t\0").repeat(count))
        }),
    ]
}

/// What machines speak.
fn machines() -> Vec<Case> {
    let tpkt = |cotp: &[u8]| [&[3, 0][..], &(cotp.len() as u16 + 4).to_be_bytes(), cotp].concat();
    let connect = move |count: usize| {
        tpkt(&[&[6 + 3 * count as u8, 0xe0, 0, 0, 0, 7, 0][..], &[0xc1, 1, 9].repeat(count)].concat())
    };
    vec![
        case(Protocol::Modbus, "bytes of a message", [6, modbus::LENGTH_MAX as usize + 1], |count| {
            let [high, low] = (count as u16).to_be_bytes();
            stream::<modbus::State>(
                Originator,
                &[&[0, 1, 0, 0, high, low, 1, 3, 0, 0, 0, 1][..], &letters(count - 6)].concat(),
            )
        }),
        case(Protocol::Dnp3, "objects of a message", one_more(dnp3::OBJECTS_MAX), |count| {
            let user = [&[0xc0, 0xc0, 1][..], &[60, 2, 6].repeat(count)].concat();
            stream::<dnp3::State>(Originator, &dnp3::tests::frame(0xc4, 1, 2, &user))
        }),
        case(Protocol::S7, "bytes of a packet", one_more(s7::PACKET_MAX), |count| {
            let [high, low] = (count as u16).to_be_bytes();
            let head = [3, 0, high, low, 2, 0xf0, 0x80, 0x32, 7];
            stream::<s7::State>(Originator, &[&head[..], &vec![0; count - 9]].concat())
        }),
        case(Protocol::S7, "parameters of a connection", one_more(s7::PARAMETERS_MAX), |count| {
            stream::<s7::State>(Originator, &connect(count))
        }),
    ]
}

fn rdp_cases() -> Vec<Case> {
    let of = Protocol::Rdp;
    let tpkt = |cotp: &[u8]| [&[3, 0][..], &(cotp.len() as u16 + 4).to_be_bytes(), cotp].concat();
    let data = move |blocks: &[u8]| {
        let request = tpkt(&[14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0, 0]);
        let answer = tpkt(&[14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, 0, 0, 0, 0]);
        let head =
            [&[2, 0xf0, 0x80, 0x7f, 0x65, 0x82, 1, 0x90][..], &[0; 60], b"\0\x08\0\x10\0\x01\xc0\0Duca"].concat();
        let length = (0x8000 | blocks.len() as u16).to_be_bytes();
        let data = tpkt(&[&head[..], &length, blocks].concat());
        said(rdp::State::default(), &[(Originator, &request), (Responder, &answer), (Originator, &data)])
    };
    let channels = |count: usize| {
        let head = [&[3, 0xc0][..], &(8 + 12 * count as u16).to_le_bytes(), &(count as u32).to_le_bytes()].concat();
        [&head[..], &b"rdpdr\0\0\0\0\0\0\0".repeat(count)].concat()
    };
    vec![
        case(of, "bytes of a packet", one_more(rdp::PACKET_MAX), |count| {
            let [high, low] = (count as u16).to_be_bytes();
            let mut bytes = vec![3, 0, high, low, 2, 0xf0, 0x80];
            bytes.resize(count, 0);
            stream::<rdp::State>(Responder, &bytes)
        }),
        case(of, "blocks of a client's settings", one_more(rdp::BLOCKS_MAX), |count| {
            data(&[&channels(1)[..], &[2, 0xc0, 4, 0].repeat(count - 1)].concat())
        }),
        case(of, "channels", one_more(rdp::CHANNELS_MAX), |count| data(&channels(count))),
    ]
}

fn directories() -> Vec<Case> {
    let of = Protocol::Kerberos;
    let framed = |message: &[u8]| [&(message.len() as u32).to_be_bytes()[..], message].concat();
    let asked = |types: usize, parts: usize| {
        stream::<kerberos::State>(
            Originator,
            &framed(&kerberos_tests::as_request_of(&vec![18; types], &vec!["a"; parts])),
        )
    };
    let search = |filter: &[u8], attributes: usize| {
        let numbers = [tlv(10, &[2]), tlv(10, &[0]), tlv(2, &[0]), tlv(2, &[0]), tlv(1, &[0])].concat();
        let names = tlv(0x30, &tlv(4, b"cn").repeat(attributes));
        let fields = [tlv(4, b"DC=x"), numbers, filter.to_vec(), names].concat();
        stream::<ldap::State>(Originator, &tlv(0x30, &[tlv(2, &[1]), tlv(0x63, &fields)].concat()))
    };
    let present = tlv(0x87, b"a");
    vec![
        case(of, "types of encryption that a client offers", one_more(kerberos::TYPES_MAX), |count| asked(count, 1)),
        case(of, "parts of a name", one_more(kerberos::PARTS_MAX), |count| asked(1, count)),
        case(of, "bytes of a message that are looked at", one_more(kerberos::MESSAGE_MAX), |count| {
            let mut long = kerberos_tests::as_request_of(&[18], &["a"]);
            long.resize(count, 0);
            stream::<kerberos::State>(Originator, &framed(&long))
        }),
        case(of, "bytes of a message", [1000, kerberos::MESSAGE_LONGEST + 1], |count| {
            let first = framed(&kerberos_tests::as_request_of(&[18], &["a"]));
            let mut second = kerberos_tests::as_request_of(&[18], &["a"]);
            second.resize(count.min(kerberos::MESSAGE_MAX), 0);
            stream::<kerberos::State>(Originator, &[&first[..], &(count as u32).to_be_bytes(), &second].concat())
        }),
        case(Protocol::Ldap, "bytes of a message that are looked at", [3000, ldap::HEAD_MAX], |count| {
            search(&tlv(0x87, &letters(count)), 1)
        }),
        case(Protocol::Ldap, "steps of a filter", [10, ldap::FILTER_MAX + 1], |count| {
            search(&tlv(0xa0, &present.repeat(count)), 1)
        }),
        case(Protocol::Ldap, "attributes of a search or an entry", one_more(ldap::NAMES_MAX), |count| {
            search(&present, count)
        }),
    ]
}

fn calls() -> Vec<Case> {
    vec![case(Protocol::Ntlm, "pairs about a server", [ntlm::PAIRS_MAX - 1, ntlm::PAIRS_MAX + 1], |count| {
        let about = [&[6, 0, 4, 0, 0, 0, 0, 0].repeat(count)[..], &[0; 4]].concat();
        let length = (about.len() as u16).to_le_bytes();
        let buffers =
            [&[0, 0, 0, 0, 56, 0, 0, 0, 1, 0, 0, 0][..], &[0x11; 16], &length, &length, &[56, 0, 0, 0], &[0; 8]];
        let mut facts = Facts::default();
        assert!(ntlm::read(&[b"NTLMSSP\0\x02\0\0\0", &buffers.concat()[..], &about].concat(), &mut facts));
        Record { events: vec![facts], ..Record::default() }
    })]
}
