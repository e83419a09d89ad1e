use super::*;
use crate::dataplane::inspect::dcerpc;
use crate::dataplane::inspect::hostile::{plain, stream, torment_stream};
use crate::dataplane::inspect::ntlm;
use crate::dataplane::inspect::parse::{Record, feed};

const SVCCTL: u128 = 0x367abb81_9844_35f1_ad32_98f038001003;
const HANDLE: [u8; 16] = [9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 1, 1, 1];

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// A message of version 2 without its frame.
fn v2(command: u16, id: u64, status: u32, is_response: bool, body: &[u8]) -> Vec<u8> {
    let mut out = [SMB2, &[64, 0, 0, 0]].concat();
    out.extend(status.to_le_bytes());
    out.extend(command.to_le_bytes());
    out.extend([1, 0, u8::from(is_response), 0, 0, 0, 0, 0, 0, 0]);
    out.extend(id.to_le_bytes());
    out.extend([0xff, 0xfe, 0, 0, 5, 0, 0, 0, 0x11, 0, 0, 4, 0, 0x10, 0, 0]);
    out.extend([0; 16]);
    out.extend(body);
    out
}

fn le(value: usize) -> [u8; 2] {
    (value as u16).to_le_bytes()
}

fn negotiate(id: u64) -> Vec<u8> {
    let body =
        [&[36, 0, 3, 0, 1, 0, 0, 0, 0x7f, 0, 0, 0][..], &[0xab; 16], &[0; 8], &[2, 2, 0x10, 2, 0x11, 3]].concat();
    v2(0, id, 0, false, &body)
}

fn negotiated(id: u64) -> Vec<u8> {
    let mut body = [&[65, 0, 3, 0, 0x11, 3, 0, 0][..], &[0xcd; 16], &[0; 4], &[0, 0, 0x80, 0]].concat();
    body.extend([0, 0, 0x80, 0, 0, 0, 0x80, 0]);
    body.extend([0; 24]);
    v2(0, id, 0, true, &body)
}

fn session(id: u64, token: &[u8]) -> Vec<u8> {
    let body = [&[25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], &le(88), &le(token.len()), &[0; 8], token].concat();
    v2(1, id, 0, false, &body)
}

fn session_answer(id: u64, status: u32, token: &[u8]) -> Vec<u8> {
    v2(1, id, status, true, &[&[9, 0, 0, 0][..], &le(72), &le(token.len()), token].concat())
}

fn tree(id: u64, path: &str) -> Vec<u8> {
    let path = wide(path);
    v2(3, id, 0, false, &[&[9, 0, 0, 0][..], &le(72), &le(path.len()), &path].concat())
}

fn tree_answer(id: u64, kind: u8) -> Vec<u8> {
    v2(3, id, 0, true, &[16, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 1, 0x1f, 0])
}

fn create(id: u64, path: &str) -> Vec<u8> {
    let path = wide(path);
    let mut body =
        [&[57, 0, 0, 0][..], &[0; 20], &[0x9f, 1, 0x12, 0], &[0; 8], &[3, 0, 0, 0, 0x40, 0x10, 0, 0]].concat();
    body.extend([&le(120)[..], &le(path.len()), &[0; 8], &path].concat());
    v2(5, id, 0, false, &body)
}

fn create_answer(id: u64, status: u32) -> Vec<u8> {
    let body = [&[89, 0, 0, 0][..], &[0; 44], &77u64.to_le_bytes(), &[0; 8], &HANDLE, &[0; 8]].concat();
    v2(5, id, status, true, &body)
}

fn write(id: u64, data: &[u8]) -> Vec<u8> {
    let body = [&[49, 0, 112, 0][..], &(data.len() as u32).to_le_bytes(), &[0; 8], &HANDLE, &[0; 16], data].concat();
    v2(9, id, 0, false, &body)
}

fn read_answer(id: u64, data: &[u8]) -> Vec<u8> {
    let body = [&[17, 0, 80, 0][..], &(data.len() as u32).to_le_bytes(), &[0; 8], data].concat();
    v2(8, id, 0, true, &body)
}

fn control(id: u64, data: &[u8]) -> Vec<u8> {
    let mut body = [&[57, 0, 0, 0, 0x17, 0xc0, 0x11, 0][..], &HANDLE, &120u32.to_le_bytes()].concat();
    body.extend((data.len() as u32).to_le_bytes());
    body.extend([0; 24]);
    body.extend(data);
    v2(11, id, 0, false, &body)
}

fn control_answer(id: u64, data: &[u8]) -> Vec<u8> {
    let mut body = [&[49, 0, 0, 0, 0x17, 0xc0, 0x11, 0][..], &HANDLE, &[0; 8], &112u32.to_le_bytes()].concat();
    body.extend((data.len() as u32).to_le_bytes());
    body.extend([0; 8]);
    body.extend(data);
    v2(11, id, 0, true, &body)
}

/// A whole session of version 3.1.1.
fn conversation() -> Vec<(Side, Vec<u8>)> {
    let (client, server) = (Side::Originator, Side::Responder);
    let logon = ntlm::tests::authenticate_message("CORP", "anna", "PC7");
    vec![
        (client, negotiate(0)),
        (server, negotiated(0)),
        (client, session(1, &logon)),
        (server, session_answer(1, 0xc000_006d, &[])),
        (client, tree(2, "\\\\dc1\\IPC$")),
        (server, tree_answer(2, 2)),
        (client, create(3, "svcctl")),
        (server, v2(5, 3, 0x103, true, &[9, 0, 0, 0, 0, 0, 0, 0, 0])),
        (server, create_answer(3, 0)),
        (client, write(4, &dcerpc::tests::bind(1, &[SVCCTL], &[]))),
        (server, v2(9, 4, 0, true, &[17, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        (client, v2(8, 5, 0, false, &[49; 49])),
        (server, read_answer(5, &dcerpc::tests::bind_ack(1))),
        (client, control(6, &dcerpc::tests::request(2, 12))),
        (server, control_answer(6, &dcerpc::tests::response(2))),
        (client, write(7, &[0x55; 20_000])),
        (client, v2(6, 8, 0, false, &[24; 24])),
        (client, create(9, "Temp\\bär.exe")),
        (server, create_answer(9, 0xc000_0022)),
    ]
}

fn run(conversation: &[(Side, Vec<u8>)], piece: usize) -> Record {
    let (mut state, mut out) = (State::default(), Record::default());
    for (side, message) in conversation {
        feed(&mut state, *side, &framed(message), piece, &mut out);
    }
    state.end(&mut out);
    out
}

fn shown(facts: &Facts, fact: Fact) -> String {
    String::from_utf8_lossy(facts.get(fact).unwrap_or_default()).into_owned()
}

#[test]
fn a_session_is_told_in_pairs_however_cut() {
    let out = run(&conversation(), 100_000);
    let commands: Vec<String> = out.events.iter().map(|event| shown(event, COMMAND).split_off(13)).collect();
    let wanted = ["NEGOTIATE_PROTOCOL", "SESSION_SETUP", "TREE_CONNECT", "CREATE", "WRITE", "IOCTL", "CREATE"];
    assert_eq!(commands, wanted);
    let [negotiation, logon, share, pipe, bind, call, file] = &out.events[..] else { panic!() };
    assert_eq!((shown(negotiation, DIALECT), negotiation.all(CLIENT_DIALECT).count()), ("3.11".into(), 3));
    assert_eq!((negotiation.number(SIGNING), negotiation.number(MAX_READ)), (Some(3), Some(1 << 23)));
    assert_eq!((shown(logon, ntlm::USER), logon.number(STATUS)), ("anna".into(), Some(0xc000_006d)));
    assert_eq!((shown(share, SHARE), shown(share, SHARE_TYPE)), ("\\\\dc1\\IPC$".into(), "PIPE".into()));
    assert_eq!((shown(pipe, PIPE), pipe.get(FILE), pipe.number(STATUS)), ("svcctl".into(), None, Some(0)));
    assert_eq!(shown(bind, dcerpc::RESPONSE), "BINDACK");
    assert_eq!(
        (shown(call, dcerpc::INTERFACE), shown(call, dcerpc::OPERATION)),
        ("svcctl".into(), "CreateServiceW".into())
    );
    assert_eq!(shown(call, dcerpc::RESPONSE), "RESPONSE");
    assert_eq!(
        (shown(file, PIPE), file.number(STATUS)),
        ("Temp\\bär.exe".into(), Some(0xc000_0022)),
        "the tree is that of pipes"
    );
    assert_eq!((shown(file, DISPOSITION), file.number(DELETE)), ("FILE_OPEN_IF".into(), Some(1)));
    assert!(out.anomalies.is_empty());
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(plain(&run(&conversation(), piece)), plain(&out), "pieces of {piece}");
    }
}

/// The interfaces and calls of the events about calls, and whether the pipe's name told.
fn calls(out: &Record) -> Vec<(String, String, bool)> {
    let requests = out.events.iter().filter(|event| shown(event, dcerpc::REQUEST) == "REQUEST");
    let told = |event: &Facts| {
        let is_by_pipe = event.number(dcerpc::BY_PIPE) == Some(1);
        (shown(event, dcerpc::INTERFACE), shown(event, dcerpc::OPERATION), is_by_pipe)
    };
    requests.map(told).collect()
}

#[test]
fn a_bind_in_several_writes_is_followed() {
    let (client, server) = (Side::Originator, Side::Responder);
    let written = |id| v2(9, id, 0, true, &[17, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let bind = dcerpc::tests::bind(1, &[7, 8, 9, SVCCTL], &[]);
    let mut call = dcerpc::tests::request(2, 12);
    call[20] = 3;
    for at in [28, 60, 150, 170] {
        let (begin, rest) = bind.split_at(at);
        let mut all = conversation()[4..9].to_vec();
        all.extend([(client, write(4, begin)), (server, written(4)), (client, write(5, rest)), (server, written(5))]);
        all.extend([(server, read_answer(6, &dcerpc::tests::bind_ack(1))), (client, control(7, &call))]);
        let out = run(&all, 9999);
        assert_eq!(calls(&out), [("svcctl".into(), "CreateServiceW".into(), false)], "cut at {at}");
        let binds = out.events.iter().filter(|event| shown(event, dcerpc::REQUEST) == "BIND");
        assert_eq!(binds.map(|event| shown(event, dcerpc::RESPONSE)).collect::<Vec<_>>(), ["BINDACK"]);
    }
    // Cut before there is anything to tell: the pipe's name tells. Of what was bound under another name it does not.
    for (pipe, wanted) in [("\\svcctl", ("svcctl", "CreateServiceW", true)), ("\\mypipe", ("", "", false))] {
        let mut all = conversation()[4..6].to_vec();
        all.extend([(client, create(3, pipe)), (server, create_answer(3, 0))]);
        all.extend(bind.chunks(9).map(|piece| (client, write(4, piece))));
        all.push((client, control(7, &call)));
        assert_eq!(calls(&run(&all, 9999)), [(wanted.0.into(), wanted.1.into(), wanted.2)], "{pipe}");
    }
}

#[test]
fn every_cut_and_flip_of_each_side_is_stood() {
    for wanted in [Side::Originator, Side::Responder] {
        let bytes: Vec<u8> = conversation()
            .iter()
            .filter(|(side, message)| *side == wanted && message.len() < 2000)
            .flat_map(|(_, message)| framed(message))
            .collect();
        torment_stream(State::default, &bytes, [50000, 445], probe);
    }
    for bytes in [&b"\0\0\0\x40HTTP"[..], b"\0\0\0\x10\xffSMB", b"GET ", b"\x81\0\0\x44\x20ab", b"\xff"] {
        assert_eq!(probe(&stream(bytes, [50000, 445])), Match::No);
    }
}

/// A message of version 1 without its frame, in Unicode.
fn v1(command: u8, reply: bool, words: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut out = [SMB1, &[command, 0, 0, 0, 0, if reply { 0x98 } else { 0x18 }, 1, 0xc8], &[0; 12]].concat();
    out.extend([8, 0, 1, 2, 0, 8, 0x40, 0]);
    out.push((words.len() / 2) as u8);
    out.extend([words, &le(bytes.len()), bytes].concat());
    out
}

fn old_negotiate() -> Vec<u8> {
    v1(0x72, false, &[], b"\x02LANMAN1.0\0\x02NT LM 0.12\0\x02SMB 2.???\0")
}

fn old_conversation() -> Vec<(Side, Vec<u8>)> {
    let (client, server) = (Side::Originator, Side::Responder);
    // Session setup with passwords, and a tree connect behind it.
    let mut bytes = [&[0xee; 48][..], &[0], &wide("anna\0CORP\0Windows 5.1\0LM\0")].concat();
    let second = 32 + 1 + 26 + 2 + bytes.len();
    let path = wide("\\\\srv\\C$\0");
    bytes.extend([&[4, 0xff, 0, 0, 0, 8, 0, 1, 0][..], &le(path.len() + 7), &[0], &path, b"?????\0"].concat());
    let words = [&[0x75, 0][..], &le(second), &[0; 10], &[24, 0, 24, 0], &[0; 8]].concat();
    let create = [&[0xff, 0, 0, 0, 0, 18, 0][..], &[0; 8], &[0x9f, 1, 2, 0], &[0; 16], &[2, 0, 0, 0], &[0; 9]].concat();
    vec![
        (client, old_negotiate()),
        (server, v1(0x72, true, &[&[1, 0, 12][..], &[0; 31]].concat(), &[])),
        (client, v1(0x73, false, &words, &bytes)),
        (server, v1(0x73, true, &[0xff, 0, 0, 0, 1, 0], &[&[0][..], &wide("Windows 7\0L\0")].concat())),
        (client, v1(0xa2, false, &create, &[&[0][..], &wide("\\a\\b.exe\0")].concat())),
        (server, v1(0xa2, true, &[0; 68], &[])),
        (client, v1(0x32, false, &[&[0; 26][..], &[1, 0, 0x0e, 0]].concat(), &[0; 13])),
    ]
}

#[test]
fn version_1_is_read_and_told() {
    let out = run(&old_conversation(), 100_000);
    assert_eq!(out.anomalies, ["smb1_used", "reserved_transaction"]);
    let [negotiation, logon, file, _] = &out.events[..] else { panic!("{} events", out.events.len()) };
    assert_eq!((shown(negotiation, DIALECT), negotiation.number(SIGNING)), ("NT LM 0.12".into(), Some(3)));
    assert_eq!((shown(logon, ACCOUNT), shown(logon, ACCOUNT_DOMAIN)), ("anna".into(), "CORP".into()));
    assert_eq!((shown(logon, NATIVE_OS), shown(logon, SERVER_OS)), ("Windows 5.1".into(), "Windows 7".into()));
    assert_eq!((shown(logon, SHARE), logon.number(GUEST)), ("\\\\srv\\C$".into(), Some(1)));
    assert!(!logon.as_bytes().windows(4).any(|window| window == [0xee; 4]), "no password");
    assert_eq!((shown(file, FILE), shown(file, DISPOSITION)), ("\\a\\b.exe".into(), "FILE_CREATE".into()));
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(plain(&run(&old_conversation(), piece)), plain(&out), "pieces of {piece}");
    }
    let client: Vec<u8> = old_conversation().iter().step_by(2).flat_map(|(_, message)| framed(message)).collect();
    torment_stream(State::default, &client, [50000, 139], probe);
}

/// As Metasploit's psexec does it: a file on `ADMIN$` by OPEN_ANDX, a pipe, and a bind in two writes.
#[test]
fn version_1_is_read_through_its_pipes() {
    let (client, server) = (Side::Originator, Side::Responder);
    let path = |share: &str| [&[0][..], &wide(&format!("\\\\fs\\{share}\0")), b"?????\0"].concat();
    let connect = |share| v1(0x75, false, &[0xff, 0, 0, 0, 8, 0, 1, 0], &path(share));
    let connected = |kind: &[u8]| v1(0x75, true, &[0xff, 0, 0, 0, 1, 0], kind);
    let open = |mode: u8| {
        let words = [&[0xff, 0, 0, 0, 0, 0, 2, 0][..], &[0; 8], &[mode, 0], &[0; 12]].concat();
        v1(0x2d, false, &words, &[&[0][..], &wide("\\a.exe\0")].concat())
    };
    let modes = [0x10, 1, 0x11, 2, 0x12, 0].map(|mode| (client, open(mode)));
    let out = run(&[&[(client, connect("ADMIN$")), (server, connected(b"A:\0"))][..], &modes].concat(), 9999);
    let told: Vec<String> = out.events[1..].iter().map(|event| shown(event, DISPOSITION).split_off(5)).collect();
    assert_eq!(told[..5], ["CREATE", "OPEN", "OPEN_IF", "OVERWRITE", "OVERWRITE_IF"]);
    assert_eq!(
        (shown(&out.events[1], FILE), shown(&out.events[1], SHARE)),
        ("\\a.exe".into(), "\\\\fs\\ADMIN$".into())
    );

    let create = [&[0xff, 0, 0, 0, 0, 18, 0][..], &[0; 41]].concat();
    let created = [&[0xff, 0, 0, 0, 0][..], &[1, 0x40], &[0; 61]].concat();
    let write = |data: &[u8]| {
        let words = [&[0xff, 0, 0, 0, 1, 0x40][..], &[0; 14], &le(data.len()), &le(32 + 1 + 28 + 2), &[0; 4]].concat();
        v1(0x2f, false, &words, data)
    };
    let bind = dcerpc::tests::bind(1, &[7, 8, 9, SVCCTL], &[]);
    let mut call = dcerpc::tests::request(2, 12);
    call[20] = 3;
    for (at, is_by_pipe) in [(334 / 2, false), (60, false), (10, true)] {
        let (begin, rest) = bind.split_at(at);
        let out = run(
            &[
                (client, connect("IPC$")),
                (server, connected(b"IPC\0")),
                (client, v1(0xa2, false, &create, &[&[0][..], &wide("\\svcctl\0")].concat())),
                (server, v1(0xa2, true, &created, &[])),
                (client, write(begin)),
                (server, v1(0x2f, true, &[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[])),
                (client, write(rest)),
                (client, write(&call)),
            ],
            9999,
        );
        assert_eq!(calls(&out), [("svcctl".into(), "CreateServiceW".into(), is_by_pipe)], "cut at {at}");
    }
}

/// Numbers of a tree and a session stand in the answers that grant them; files name the share of their tree.
#[test]
fn a_file_is_told_with_its_share() {
    let (client, server) = (Side::Originator, Side::Responder);
    let of = |mut message: Vec<u8>, tree: u32, session: u64| {
        message[36..40].copy_from_slice(&tree.to_le_bytes());
        message[40..48].copy_from_slice(&session.to_le_bytes());
        message
    };
    let out = run(
        &[
            (client, of(session(1, b""), 0, 0)),
            (server, of(session_answer(1, 0, b""), 0, 77)),
            (client, of(tree(2, "\\\\fs\\docs"), 0, 77)),
            (server, of(tree_answer(2, 1), 5, 77)),
            (client, of(tree(3, "\\\\fs\\home"), 0, 77)),
            (server, of(tree_answer(3, 1), 6, 77)),
            (client, of(create(4, "plan.txt"), 5, 77)),
            (server, of(create_answer(4, 0), 5, 77)),
            (client, of(create(5, "x.txt"), 6, 77)),
            (client, of(create(6, "y.txt"), 9, 77)),
            (server, of(session_answer(9, 0, b""), 0, 78)),
        ],
        100_000,
    );
    let told = out.events.iter().map(|event| (event.number(SESSION), event.number(TREE), shown(event, SHARE)));
    let (docs, home) = ("\\\\fs\\docs".to_owned(), "\\\\fs\\home".to_owned());
    let wanted = [
        (Some(77), Some(0), String::new()),
        (Some(77), Some(5), docs.clone()),
        (Some(77), Some(6), home.clone()),
        (Some(77), Some(5), docs),
        (Some(77), Some(6), home),
        (Some(77), Some(9), String::new()),
    ];
    assert_eq!(told.collect::<Vec<_>>(), wanted);

    for (bytes, limits) in [(TEXT_MAX, 0), (TEXT_MAX + 1, 1)] {
        let out = run(&[(client, tree(2, &"x".repeat(bytes))), (server, tree_answer(2, 1))], 100_000);
        assert_eq!(out.limits, limits, "a path of {bytes} bytes");
    }

    let path = [&[0][..], &wide("\\\\fs\\docs\0"), b"?????\0"].concat();
    let create = [&[0xff, 0, 0, 0, 0, 18, 0][..], &[0; 41]].concat();
    let out = run(
        &[
            (client, v1(0x75, false, &[0xff, 0, 0, 0, 8, 0, 1, 0], &path)),
            (server, v1(0x75, true, &[0xff, 0, 0, 0, 1, 0], &[&b"A:\0"[..], &wide("NTFS\0")].concat())),
            (client, v1(0xa2, false, &create, &[&[0][..], &wide("\\plan.txt\0")].concat())),
        ],
        100_000,
    );
    let [share, file] = &out.events[..] else { panic!("{} events", out.events.len()) };
    assert_eq!((shown(share, SERVICE), shown(share, SHARE_TYPE)), ("?????".into(), "A:".into()));
    assert_eq!((share.number(TREE), file.number(TREE)), (Some(8), Some(8)));
    assert_eq!((shown(file, FILE), shown(file, SHARE)), ("\\plan.txt".into(), "\\\\fs\\docs".into()));
}

#[test]
fn version_2_may_answer_version_1() {
    let out = run(&[(Side::Originator, old_negotiate()), (Side::Responder, negotiated(0))], 50);
    assert_eq!((out.events.len(), shown(&out.events[0], DIALECT), out.anomalies.len()), (1, "3.11".into(), 0));
}

#[test]
fn chains_are_read_to_a_limit() {
    let mut one = create(0, "a");
    one.resize(128, 0);
    one[20] = 128;
    let chain: Vec<u8> = (0..20_u8)
        .flat_map(|id| {
            let mut one = one.clone();
            one[24] = id;
            one
        })
        .collect();
    assert_eq!(run(&[(Side::Originator, chain)], 9999).events.len(), CHAIN_MAX);
    // An ANDX chain that points at itself ends at once.
    let out = run(&[(Side::Originator, v1(0x75, false, &[0x75, 0, 32, 0, 0, 0, 0, 0], b"\0\0a\0"))], 9999);
    assert_eq!(out.events.len(), 1);
}

#[test]
fn encryption_is_told_once_and_names_are_decoded() {
    let sealed = [ENCRYPTED_SMB3, &[7; 40], &0x1234u64.to_le_bytes(), &[9; 100]].concat();
    let (mut state, mut out) = (State::default(), Record::default());
    feed(&mut state, Side::Originator, &framed(&sealed), 3, &mut out);
    feed(&mut state, Side::Responder, &framed(&sealed), 3, &mut out);
    assert_eq!(out.events.len(), 1);
    // Another share of the connection may be in the clear.
    feed(&mut state, Side::Originator, &framed(&negotiate(1)), 3, &mut out);
    state.end(&mut out);
    assert_eq!(out.events.len(), 2);
    let more = framed(&sealed).repeat(usize::from(ENCRYPTED_MAX));
    assert_eq!(feed(&mut state, Side::Originator, &more, 300, &mut out), Step::Done);
    assert_eq!((out.events[0].number(ENCRYPTED), out.events[0].number(SESSION)), (Some(1), Some(0x1234)));
    let netbios = |name: &str| {
        let letters =
            format!("{name:<15}\0").into_bytes().into_iter().flat_map(|byte| [b'A' + (byte >> 4), b'A' + (byte & 15)]);
        [&[32][..], &letters.collect::<Vec<u8>>(), &[0]].concat()
    };
    let request = [&[0x81, 0, 0, 68][..], &netbios("SRV"), &netbios("PC7"), &framed(&negotiate(1))].concat();
    let out = torment_stream(State::default, &request, [50000, 139], probe);
    assert_eq!((shown(&out.events[0], CALLED), shown(&out.events[0], CALLING)), ("SRV".into(), "PC7".into()));
}
