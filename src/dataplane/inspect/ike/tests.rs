use super::*;
use crate::dataplane::inspect::hostile::{datagram, show, show_one, torment_datagram};
use crate::dataplane::inspect::number;

const PORTS: [u16; 2] = [500, 500];

fn message(version: u8, first: u8, exchange: u8, flags: u8, payloads: &[u8]) -> Vec<u8> {
    let mut bytes = b"initiate\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([first, version << 4, exchange, flags, 0, 0, 0, 0, 0, 0, 0, 28 + payloads.len() as u8]);
    bytes.extend(payloads);
    bytes
}

fn aggressive() -> Vec<u8> {
    let mut payloads = b"\x0d\0\0\x34\0\0\0\x01\0\0\0\x01\0\0\0\x28\x01\x01\0\x01\0\0\0\x20\x01\x01\0\0".to_vec();
    payloads.extend(b"\x80\x01\0\x07\x80\x02\0\x02\x80\x03\0\x01\x80\x04\0\x02\x80\x0e\x01\0\0\x0c\0\0");
    payloads.extend(b"\x05\0\0\x0cvendor!!\0\0\0\x0d\x02\0\0\0alice");
    message(1, 1, 4, 0, &payloads)
}

fn init() -> Vec<u8> {
    let mut payloads = b"\x22\0\0\x30\0\0\0\x2c\x01\x01\0\x04\x03\0\0\x0c\x01\0\0\x0c\x80\x0e\x01\0".to_vec();
    payloads.extend(b"\x03\0\0\x08\x02\0\0\x05\x03\0\0\x08\x03\0\0\x0c\0\0\0\x08\x04\0\0\x0e");
    payloads.extend(b"\x28\0\0\x10\0\x0e\0\0keykeyke\x29\0\0\x0cnonceabc\x2b\0\0\x08\0\0\x40\x04\0\0\0\x08maker");
    let end = payloads.len() - 1;
    payloads.truncate(end);
    message(2, 33, 34, 8, &payloads)
}

#[test]
fn aggressive_mode_tells_much_in_the_clear() {
    let out = show_one::<State>(&aggressive());
    let facts = &out.events[0];
    assert_eq!((facts.number(VERSION_MAJOR), facts.number(EXCHANGE)), (Some(1), Some(4)));
    assert_eq!(
        (facts.number(ENCRYPTION), facts.number(KEY_BITS), facts.number(DH_GROUP)),
        (Some(7), Some(256), Some(2))
    );
    assert_eq!((facts.get(VENDOR_ID), facts.get(IDENTITY)), (Some(&b"vendor!!"[..]), Some(&b"alice"[..])));
    assert_eq!(out.anomalies, ["aggressive_mode_shared_secret"]);
    assert_eq!(exchange_name(4), Some("Aggressive"));
}

#[test]
fn the_first_exchange_of_version_2_is_read() {
    let out = show_one::<State>(&init());
    let facts = &out.events[0];
    assert!(out.anomalies.is_empty());
    assert_eq!(facts.all(PAYLOAD).map(number).collect::<Vec<_>>(), [33, 34, 40, 41, 43]);
    assert_eq!((facts.number(ENCRYPTION), facts.number(KEY_BITS), facts.number(PRF)), (Some(12), Some(256), Some(5)));
    assert_eq!(
        (facts.number(INTEGRITY), facts.number(DH_GROUP), facts.number(NOTIFY)),
        (Some(12), Some(14), Some(0x4004))
    );
    assert_eq!((facts.number(KEY_EXCHANGE_BYTES), facts.number(NONCE_BYTES)), (Some(8), Some(8)));
}

#[test]
fn hostile_bytes_come_to_an_end() {
    let marked = [&[0; 4][..], &init()].concat();
    let encrypted = message(2, 46, 35, 8, b"\x23\0\0\x0cencrypte");
    for bytes in [aggressive(), init(), marked, encrypted] {
        assert_eq!(probe(&datagram(&bytes, PORTS)), Match::Yes);
        assert_eq!(probe(&datagram(&bytes[..bytes.len() - 1], [4500, 4500])), Match::No);
        assert_eq!(probe(&datagram(&bytes, [4500, 4500])), Match::Yes);
        torment_datagram::<State>(&bytes, PORTS, probe);
    }
    let esp = (Side::Originator, &b"\x01\x02\x03\x04\0\0\0\x01abcdefgh"[..]);
    let mut flow = vec![esp; 600];
    flow.insert(1, (Side::Originator, &[0xff]));
    assert_eq!(show::<State>(&flow).events.len(), 0);
    assert_eq!(probe(&datagram(&[0; 60], PORTS)), Match::No);
    // Payloads without content for ever.
    let many = message(1, 13, 2, 0, &b"\x0d\0\0\x04".repeat(50));
    assert_eq!(show_one::<State>(&many).anomalies, ["malformed"]);
}
