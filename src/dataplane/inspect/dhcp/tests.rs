use super::*;
use crate::dataplane::inspect::hostile::{datagram, show_one, torment_datagram};

fn request() -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0];
    bytes.extend([0; 16]);
    bytes.extend([2, 0, 0, 0, 0, 9]);
    bytes.resize(236, 0);
    bytes.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 3, 0, 50, 4, 192, 0, 2, 9, 12, 4]);
    bytes.extend(b"host\x3c\x08MSFT 5.0\x37\x03\x01\x03\x06\x51\x07\0\0\0pc.x\x3d\x07\x01\x02\0\0\0\0\x09\xff\0\0");
    bytes
}

fn ack() -> Vec<u8> {
    let mut bytes = request();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&[192, 0, 2, 9]);
    bytes.truncate(240);
    bytes.extend([53, 1, 5, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 1]);
    bytes.extend([6, 8, 192, 0, 2, 2, 192, 0, 2, 3, 15, 5, b'l', b'o', b'c', b'a', b'l', 255]);
    bytes
}

fn solicit() -> Vec<u8> {
    let mut bytes = b"\x01\xab\xcd\xef\0\x01\0\x0e\0\x01\0\x01\x11\x22\x33\x44\x02\0\0\0\0\x09".to_vec();
    bytes.extend(b"\0\x06\0\x04\0\x17\0\x18\0\x27\0\x0a\0\x02pc\x04home\0");
    bytes
}

fn reply() -> Vec<u8> {
    let mut bytes = b"\x07\xab\xcd\xef\0\x01\0\x0a\0\x03\0\x01\x02\0\0\0\0\x09".to_vec();
    bytes.extend(b"\0\x03\0\x28\0\0\0\x01\0\0\0\0\0\0\0\0\0\x05\0\x18\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x01\0\0\x0e\x10");
    bytes
}

#[test]
fn requests_and_answers_of_version_4_are_read() {
    let facts = show_one::<State>(&request()).events.remove(0);
    assert_eq!((facts.number(VERSION), facts.number(TYPE), facts.number(ID)), (Some(4), Some(3), Some(0xdead_beef)));
    assert_eq!(facts.get(CLIENT_MAC), Some(&[2, 0, 0, 0, 0, 9][..]));
    assert_eq!((facts.get(HOSTNAME), facts.get(VENDOR_CLASS)), (Some(&b"host"[..]), Some(&b"MSFT 5.0"[..])));
    assert_eq!((facts.get(REQUESTED_IP), facts.get(PARAMETERS)), (Some(&[192, 0, 2, 9][..]), Some(&[1, 3, 6][..])));
    assert_eq!((facts.get(FQDN), type_name(3)), (Some(&b"pc.x"[..]), Some("request")));
    let facts = show_one::<State>(&ack()).events.remove(0);
    assert_eq!((facts.get(ASSIGNED_IP), facts.number(LEASE_TIME)), (Some(&[192, 0, 2, 9][..]), Some(3600)));
    assert_eq!((facts.all(DNS_SERVER).count(), facts.get(DOMAIN)), (2, Some(&b"local"[..])));
    assert_eq!((facts.get(ROUTER), facts.get(SERVER_ID)), (Some(&[192, 0, 2, 1][..]), Some(&[192, 0, 2, 1][..])));
}

#[test]
fn version_6_is_read_through_relays() {
    let facts = show_one::<State>(&solicit()).events.remove(0);
    assert_eq!((facts.number(VERSION), facts.number(TYPE), facts.number(ID)), (Some(6), Some(1), Some(0x00ab_cdef)));
    assert_eq!((facts.get(CLIENT_MAC), facts.get(FQDN)), (Some(&[2, 0, 0, 0, 0, 9][..]), Some(&b"pc.home"[..])));
    let inner = reply();
    let mut relay = vec![13, 0];
    relay.extend([0xfe; 32]);
    relay.extend([0, 9, 0, inner.len() as u8]);
    relay.extend(&inner);
    for message in [inner, relay] {
        let facts = show_one::<State>(&message).events.remove(0);
        assert_eq!((facts.number(TYPE), facts.number(LEASE_TIME)), (Some(7), Some(3600)));
        assert_eq!(facts.get(ASSIGNED_IP).map(|address| address[15]), Some(7));
        assert_eq!(probe(&datagram(&message, [1, 2])), Match::Yes);
    }
}

#[test]
fn hostile_bytes_come_to_an_end() {
    for (message, ports) in [(request(), [68, 67]), (ack(), [67, 68]), (solicit(), [546, 547]), (reply(), [547, 546])] {
        assert_eq!(probe(&datagram(&message, ports)), Match::Yes);
        torment_datagram::<State>(&message, ports, probe);
    }
    assert_eq!(probe(&datagram(&[1; 300], [68, 67])), Match::No);
    let mut open = request();
    open.truncate(open.len() - 3);
    assert_eq!(show_one::<State>(&open).anomalies, ["no_end_option"]);
    open.truncate(open.len() - 3);
    assert_eq!(show_one::<State>(&open).anomalies, ["malformed"]);
    // Relays in relays: only four are looked through, and telling what it is ends too.
    let mut nested = solicit();
    for _ in 0..200 {
        let length = (nested.len() as u16).to_be_bytes();
        nested = [&[12, 0][..], &[0xfe; 32], &[0, 9], &length, &nested].concat();
    }
    show_one::<State>(&nested);
    probe(&datagram(&nested, [546, 547]));
}

#[test]
fn an_address_of_settings_is_told_without_its_secrets() {
    let secret = "x7Hq2LpZ9v";
    let url = format!("http://bob:{secret}@192.0.2.1/wpad.dat?token={secret}&a=1");
    let mut bytes = ack();
    bytes.pop();
    bytes.extend([&[252, url.len() as u8][..], url.as_bytes(), &[0xff]].concat());
    let facts = show_one::<State>(&bytes).events.remove(0);
    assert_eq!(facts.get(WPAD_URL), Some(&b"http://*@192.0.2.1/wpad.dat?token=*&a=1"[..]));
}
