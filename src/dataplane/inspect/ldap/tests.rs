use super::*;
use crate::dataplane::inspect::hostile::{datagram, plain, show, stream, torment_datagram, torment_stream};
use crate::dataplane::inspect::kerberos::tests::tlv;
use crate::dataplane::inspect::ntlm;
use crate::dataplane::inspect::parse::{Record, feed};

fn message(id: u8, operation: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(INTEGER, &[id]), operation].concat())
}

fn simple(id: u8, name: &str, password: &[u8]) -> Vec<u8> {
    let fields = [tlv(INTEGER, &[3]), tlv(OCTETS, name.as_bytes()), tlv(0x80, password)].concat();
    message(id, &tlv(0x60, &fields))
}

fn spnego_bind(id: u8, token: &[u8]) -> Vec<u8> {
    let credentials = [tlv(OCTETS, b"GSS-SPNEGO"), tlv(OCTETS, token)].concat();
    message(id, &tlv(0x60, &[tlv(INTEGER, &[3]), tlv(OCTETS, b""), tlv(0xa3, &credentials)].concat()))
}

fn done(id: u8, tag: u8, code: u8) -> Vec<u8> {
    message(id, &tlv(tag, &[tlv(ENUMERATED, &[code]), tlv(OCTETS, b""), tlv(OCTETS, b"80090308: LdapErr\0")].concat()))
}

fn equals(name: &str) -> Vec<u8> {
    tlv(0xa3, &[tlv(OCTETS, name.as_bytes()), tlv(OCTETS, b"secret value")].concat())
}

fn search(id: u8, filter: &[u8]) -> Vec<u8> {
    let fields = [
        tlv(OCTETS, b"DC=corp,DC=example"),
        tlv(ENUMERATED, &[2]),
        tlv(ENUMERATED, &[0]),
        tlv(INTEGER, &[0]),
        tlv(INTEGER, &[0]),
        tlv(BOOLEAN, &[0]),
        filter.to_vec(),
        tlv(SEQUENCE, &[tlv(OCTETS, b"cn"), tlv(OCTETS, b"memberOf")].concat()),
    ];
    message(id, &tlv(0x63, &fields.concat()))
}

fn filter() -> Vec<u8> {
    let rule = [tlv(0x81, b"1.2.840.113556.1.4.803"), tlv(0x82, b"userAccountControl"), tlv(0x83, b"4194304")].concat();
    let any = [equals("sAMAccountName"), tlv(0xa2, &tlv(0x87, b"adminCount")), tlv(0xa9, &rule)].concat();
    tlv(0xa0, &[equals("objectClass"), tlv(0xa1, &any), tlv(0x87, b"servicePrincipalName")].concat())
}

fn found(id: u8, name: &str) -> Vec<u8> {
    let attribute = tlv(SEQUENCE, &[tlv(OCTETS, b"javaCodeBase"), tlv(0x31, &tlv(OCTETS, b"http://x/"))].concat());
    message(id, &tlv(0x64, &[tlv(OCTETS, name.as_bytes()), tlv(SEQUENCE, &attribute)].concat()))
}

fn shown(facts: &Facts, fact: Fact) -> Vec<String> {
    facts.all(fact).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn run(piece: usize) -> Record {
    let (mut state, mut out) = (State::default(), Record::default());
    let (client, server) = (Side::Originator, Side::Responder);
    for (side, bytes) in [
        (client, simple(1, "cn=admin", b"hunter2-and-more")),
        (server, done(1, 0x61, 49)),
        (client, spnego_bind(2, &ntlm::tests::authenticate_message("CORP", "anna", "PC"))),
        (server, done(2, 0x61, 0)),
        (client, search(3, &filter())),
        (server, [found(3, "cn=a"), found(3, "cn=b"), done(3, 0x65, 0)].concat()),
        (client, message(4, &tlv(0x4a, b"cn=gone"))),
        (client, message(5, &tlv(0x77, &tlv(0x80, START_TLS)))),
        (server, done(5, 0x78, 0)),
        (client, b"\x16\x03\x01".to_vec()),
    ] {
        feed(&mut state, side, &bytes, piece, &mut out);
    }
    state.end(&mut out);
    out
}

#[test]
fn requests_and_answers_are_told_and_passwords_are_not() {
    let out = run(100_000);
    let operations: Vec<String> = out.events.iter().flat_map(|event| shown(event, OPERATION)).collect();
    assert_eq!(operations, ["bind_request", "bind_request", "search_request", "del_request", "extended_request"]);
    let [bind, ntlm_bind, search, deletion, _] = &out.events[..] else { panic!() };
    assert_eq!((shown(bind, NAME), shown(bind, AUTHENTICATION)), (vec!["cn=admin".into()], vec!["simple".into()]));
    assert_eq!((bind.number(RESULT), result_name(49)), (Some(49), "invalid_credentials"));
    assert_eq!(
        (shown(ntlm_bind, MECHANISM), shown(ntlm_bind, ntlm::USER)),
        (vec!["GSS-SPNEGO".into()], vec!["anna".into()])
    );
    let wanted = ["objectClass", "sAMAccountName", "adminCount", "userAccountControl", "servicePrincipalName"];
    assert_eq!(shown(search, FILTER_ATTRIBUTE), wanted);
    assert_eq!((shown(search, ATTRIBUTE), search.number(ENTRIES)), (vec!["cn".into(), "memberOf".into()], Some(2)));
    assert_eq!(
        (shown(search, FOUND), shown(search, FOUND_ATTRIBUTE)),
        (vec!["cn=a".into()], vec!["javaCodeBase".into(); 2])
    );
    assert_eq!(shown(deletion, ENTRY), ["cn=gone"]);
    assert_eq!(out.anomalies, ["cleartext_password"]);
    for event in &out.events {
        assert!(!event.as_bytes().windows(7).any(|window| window == b"hunter2"));
    }
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(plain(&run(piece)), plain(&out), "pieces of {piece}");
    }
}

#[test]
fn start_tls_ends_it() {
    let (mut state, mut out) = (State::default(), Record::default());
    for (code, wanted) in [(52, None), (0, Some(Protocol::Tls))] {
        state.step(Side::Originator, &message(5, &tlv(0x77, &tlv(0x80, START_TLS))), &mut out);
        assert!(matches!(state.step(Side::Responder, &done(5, 0x78, code), &mut out), Step::Took(_)));
        assert_eq!(state.turns_into(), wanted);
    }
    assert_eq!(state.step(Side::Responder, b"\x16", &mut out), Step::Done);
}

#[test]
fn it_is_told_by_content() {
    let bytes = [search(3, &filter()), simple(1, "cn=admin", b"x"), spnego_bind(9, &[0; 40])].concat();
    torment_stream(State::default, &bytes, [50000, 389], probe);
    torment_stream(State::default, &[found(3, "cn=a"), done(3, 0x65, 0)].concat(), [50000, 389], probe);
    torment_datagram::<State>(&search(7, &filter()), [50000, 389], probe);
    assert_eq!(probe(&datagram(&search(7, &filter()), [50000, 389])), Match::Yes);
    let answers = show::<State>(&[(Side::Originator, &search(7, &filter())), (Side::Responder, &found(7, ""))]);
    assert_eq!(answers.events.len(), 1);
    // SNMP: version, then a community.
    let community = message(1, &tlv(OCTETS, b"public"));
    for other in [&community[..], b"\x30\x80\x02\x01", b"\x30\x0c\x02\x01\x01\x60\x20\x02\x01\x03", b"GET / HTTP/1.1"] {
        assert_eq!(probe(&stream(other, [50000, 389])), Match::No, "{other:02x?}");
    }
}

#[test]
fn deep_and_long_filters_are_bounded() {
    let deep = (0..1000).fold(tlv(0x87, b"a"), |inner, _| tlv(0xa2, &inner));
    let wide = tlv(0xa0, &equals("a").repeat(500));
    for filter in [deep, wide] {
        let bytes = [search(1, &filter), done(1, 0x65, 0)].concat();
        let mut out = Record::default();
        feed(&mut State::default(), Side::Originator, &bytes, 1000, &mut out);
        assert_eq!(out.events.len(), 1, "the message behind is found");
        assert!(out.events[0].all(FILTER_ATTRIBUTE).count() <= usize::from(NAMES_MAX));
    }
}

/// The answer to a Sicily bind has a token where others have a name.
#[test]
fn a_token_is_no_name() {
    use crate::dataplane::inspect::tries::{C, S, talk};
    let bind = simple(1, "u", b"x");
    for token in [&b"\x01\xff\x00\x02"[..], b"name\0\x01", &ntlm::tests::authenticate_message("D", "u", "w")] {
        let answer = [tlv(ENUMERATED, &[0]), tlv(OCTETS, token), tlv(OCTETS, b"well")].concat();
        let answer = message(1, &tlv(0x61, &answer));
        let (events, _) = talk::<State>(&[(C, &bind), (S, &answer)], &[FACTS, ntlm::FACTS]);
        let text = events.concat();
        assert!(text.contains("message=well") && !text.contains("matched_dn"), "{text}");
    }
}

#[test]
fn no_secret_is_told() {
    use crate::dataplane::inspect::tries::{C, S, talk};
    let secret = "x7Hq2LpZ9v";
    for (text, wanted) in [
        (format!("referral: ldap://bob:{secret}@h/ou=x??sub"), "message=referral: ldap://*@h/ou=x??sub"),
        (format!("no such setting: userPassword={secret}, cn=x"), "message=no such setting: userPassword=*, cn=x"),
    ] {
        let answer = [tlv(ENUMERATED, &[10]), tlv(OCTETS, b""), tlv(OCTETS, text.as_bytes())].concat();
        let answer = message(1, &tlv(0x61, &answer));
        let (events, _) = talk::<State>(&[(C, &simple(1, "cn=bob", secret.as_bytes())), (S, &answer)], &[FACTS]);
        assert!(events[0].ends_with(wanted) && !events.concat().contains(secret), "{events:?}");
    }
}
