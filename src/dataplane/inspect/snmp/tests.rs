use super::*;
use crate::dataplane::inspect::hostile::{datagram, show_one, torment_datagram};

const PORTS: [u16; 2] = [40_000, 161];

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    [&[tag, 0x82, (value.len() >> 8) as u8, value.len() as u8][..], &value].concat()
}

fn variables(count: usize) -> Vec<u8> {
    let one = tlv(0x30, &[b"\x06\x08\x2b\x06\x01\x02\x01\x01\x05\x00", b"\x05\0"]);
    tlv(0x30, &[&one.repeat(count)])
}

fn request(version: u8, community: &[u8], tag: u8) -> Vec<u8> {
    let pdu = tlv(tag, &[b"\x02\x02\x12\x34\x02\x01\0\x02\x01\x0a", &variables(1)]);
    tlv(0x30, &[&[2, 1, version], &tlv(4, &[community]), &pdu])
}

fn version_3() -> Vec<u8> {
    let usm = tlv(0x30, &[b"\x04\x05\x80\0\x1f\x88\x80\x02\x01\x01\x02\x01\x02\x04\x05alice\x04\0\x04\0"]);
    tlv(
        0x30,
        &[
            b"\x02\x01\x03",
            b"\x30\x0e\x02\x01\x07\x02\x03\0\xff\xe3\x04\x01\x03\x02\x01\x03",
            &tlv(4, &[&usm]),
            b"\x04\x03abc",
        ],
    )
}

#[test]
fn versions_1_and_2_are_read() {
    let out = show_one::<State>(&request(0, b"public", 0xa0));
    let facts = &out.events[0];
    assert_eq!((facts.number(VERSION), facts.get(COMMUNITY)), (Some(1), Some(&b"public"[..])));
    assert_eq!((facts.number(PDU_TYPE), facts.get(OID)), (Some(0), Some(&b"1.3.6.1.2.1.1.5.0"[..])));
    assert_eq!((facts.number(REQUEST_ID), &out.anomalies[..]), (Some(0x1234), &["default_community"][..]));
    let out = show_one::<State>(&request(1, b"s3cret", 0xa5));
    assert_eq!((out.events[0].number(VERSION), out.events[0].number(MAX_REPETITIONS)), (Some(2), Some(10)));
    assert!(out.anomalies.is_empty());
    assert_eq!((pdu_name(5), trap_name(3)), (Some("get_bulk_request"), Some("linkUp")));
}

#[test]
fn what_a_device_says_of_itself_is_read_and_no_other_value() {
    let variable = |last: u8, value: &[u8]| tlv(0x30, &[&[6, 8, 0x2b, 6, 1, 2, 1, 1, last, 0], value]);
    let list = [variable(1, b"\x04\x05Linux"), variable(5, b"\x04\x02gw"), variable(4, b"\x04\x04root")].concat();
    let pdu = tlv(0xa2, &[b"\x02\x01\x01\x02\x01\0\x02\x01\0", &tlv(0x30, &[&list])]);
    let answer = tlv(0x30, &[b"\x02\x01\x01\x04\x01x", &pdu]);
    let facts = show_one::<State>(&answer).events.remove(0);
    assert_eq!((facts.get(SYS_DESCR), facts.get(SYS_NAME)), (Some(&b"Linux"[..]), Some(&b"gw"[..])));
    assert!(!facts.as_bytes().windows(4).any(|bytes| bytes == b"root"));
    let asked = show_one::<State>(&request(0, b"public", 0xa0)).events.remove(0);
    assert_eq!(asked.get(SYS_NAME), None, "asked for, not said");
    torment_datagram::<State>(&answer, PORTS, probe);
}

#[test]
fn traps_and_version_3_are_read() {
    let pdu = tlv(
        0xa4,
        &[b"\x06\x04\x2b\x06\x01\x04\x40\x04\xc0\0\x02\x01\x02\x01\x03\x02\x01\0\x43\x01\x05", &variables(0)],
    );
    let trap = tlv(0x30, &[b"\x02\x01\0\x04\x01x", &pdu]);
    let facts = show_one::<State>(&trap).events.remove(0);
    assert_eq!((facts.get(TRAP_OID), facts.number(TRAP_TYPE)), (Some(&b"1.3.6.1.4"[..]), Some(3)));
    assert_eq!(facts.get(TRAP_ADDRESS), Some(&[192, 0, 2, 1][..]));
    let facts = show_one::<State>(&version_3()).events.remove(0);
    assert_eq!((facts.number(VERSION), facts.get(USER)), (Some(3), Some(&b"alice"[..])));
    assert_eq!((facts.number(SECURITY_LEVEL), facts.get(ENGINE_ID).map(<[u8]>::len)), (Some(3), Some(5)));
    torment_datagram::<State>(&trap, [1, 162], probe);
}

#[test]
fn hostile_bytes_come_to_an_end() {
    for message in [request(0, b"public", 0xa0), request(1, b"", 0xa5), version_3()] {
        assert_eq!(probe(&datagram(&message, [1, 2])), Match::Yes);
        torment_datagram::<State>(&message, PORTS, probe);
    }
    // More variables than are kept, and an identifier that never ends.
    let pdu = tlv(0xa0, &[b"\x02\x01\x01\x02\x01\0\x02\x01\0", &variables(900)]);
    let facts = show_one::<State>(&tlv(0x30, &[b"\x02\x01\x01\x04\x01x", &pdu])).events.remove(0);
    assert_eq!(facts.all(OID).count(), 16);
    let endless = tlv(0x30, &[&tlv(6, &[&[1; 60_000]]), b"\x05\0"]);
    let pdu = tlv(0xa0, &[b"\x02\x01\x01\x02\x01\0\x02\x01\0", &tlv(0x30, &[&endless])]);
    assert!(show_one::<State>(&tlv(0x30, &[b"\x02\x01\x01\x04\x01x", &pdu])).events[0].is_truncated());
    assert_eq!(probe(&datagram(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", PORTS)), Match::No, "LDAP");
}

#[test]
fn a_community_that_is_a_password_is_not_told() {
    for (community, wanted, anomalies) in [
        (&b"public"[..], &b"public"[..], &["default_community"][..]),
        (b"private", b"private", &["default_community"]),
        (b"cisco", b"*", &["default_community"]),
        (b"Hunter2PW", b"*", &[]),
    ] {
        let out = show_one::<State>(&request(1, community, 0xa0));
        assert_eq!((out.events[0].get(COMMUNITY), &out.anomalies[..]), (Some(wanted), anomalies));
    }
}
