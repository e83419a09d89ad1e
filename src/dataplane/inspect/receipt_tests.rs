use super::sums::{ONES, add, addresses};
use super::*;
use crate::dataplane::decode::FlowKey;
use crate::units::Timestamp;
use etherparse::PacketBuilder;

fn key() -> FlowKey {
    FlowKey::v4(0xfffe_0001, 40_000, 0x0a00_00ff, 80, 6, 0).0
}

fn payload<'a>(key: &'a FlowKey, side: Side, bytes: &'a [u8]) -> Payload<'a> {
    let originator = crate::dataplane::decode::Direction::Forward;
    Payload {
        slot: 0,
        key,
        originator,
        first_seen: Timestamp(1),
        side,
        tcp: None,
        bytes,
        before: &[],
        is_cut: false,
        time: Timestamp(0),
    }
}

/// A header with timestamps; its checksum is none.
fn header(value: u32, echo: u32) -> Vec<u8> {
    let mut header = vec![0; 20];
    header.extend([1, 1, 8, 10]);
    header.extend(value.to_be_bytes());
    header.extend(echo.to_be_bytes());
    header
}

#[test]
fn sums_are_those_of_senders() {
    let addresses = [[1, 2, 3, 255], [254, 0, 255, 7]];
    let wide: [[u8; 16]; 2] = [[0xfd; 16], [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 9]];
    for count in (0..40).chain([255, 1459, 1460]) {
        let bytes: Vec<u8> = (0..count).map(|at| (at * 89 + count) as u8 | 0x80).collect();
        for is_wide in [false, true] {
            let builder = PacketBuilder::ethernet2([0; 6], [0; 6]);
            let builder = match is_wide {
                false => builder.ipv4(addresses[0], addresses[1], 9).tcp(40_000, 80, 0xffff_fff0, 7),
                true => builder.ipv6(wide[0], wide[1], 9).tcp(40_000, 80, 0xffff_fff0, 7),
            };
            let (mut frame, at) = (Vec::new(), if is_wide { 54 } else { 34 });
            builder.write(&mut frame, &bytes).expect("a frame in memory");
            let key = match is_wide {
                false => {
                    FlowKey::v4(u32::from_be_bytes(addresses[0]), 40_000, u32::from_be_bytes(addresses[1]), 80, 6, 0).0
                }
                true => {
                    let [from, to] = wide.map(u128::from_be_bytes);
                    FlowKey::v6(from, 40_000, to, 80, 6, 0).0
                }
            };
            let of = |frame: &[u8]| {
                let segment = Segment { header: &frame[at..at + 20], ..Segment::default() };
                sum(&payload(&key, Side::Originator, &frame[at + 20..]), &segment)
            };
            assert_eq!(of(&frame), Sum::Right, "{count} {is_wide}");
            for place in at..frame.len() {
                let mut frame = frame.clone();
                frame[place] ^= 1 << (place % 8);
                assert_ne!(of(&frame), Sum::Right, "{count} {is_wide} {place}");
            }
        }
    }
}

#[test]
fn timestamps_are_found_among_other_options() {
    let stamps = [8, 10, 0, 0, 1, 2, 0, 0, 3, 4];
    let of = |options: &[u8]| timestamps(&[&[0; 20], options].concat());
    for before in [&[][..], &[1], &[1, 1], &[2, 4, 5, 180, 4, 2], &[3, 3, 7, 1]] {
        assert_eq!(of(&[before, &stamps, &[1, 0]].concat()), Some((0x102, 0x304)), "{before:?}");
    }
    for broken in
        [&[][..], &[0], &[1, 1], &[2], &[2, 0], &[2, 1], &[5, 40], &[8], &[8, 10, 0], &[8, 9, 0, 0, 0, 0, 0, 0, 0]]
    {
        assert_eq!(of(broken), None, "{broken:?}");
    }
}

#[test]
fn only_what_the_receiver_echoes_makes_a_timestamp_old() {
    let key = key();
    let [mut client, mut server] = [Receipt::default(); 2];
    // Who sends, the value, the echo; whether it is taken.
    let script = [
        (Side::Originator, 100, 0, true),
        (Side::Originator, 200, 0, true),
        // Not echoed yet: it may have come in another order.
        (Side::Originator, 150, 0, true),
        (Side::Responder, 9000, 150, true),
        (Side::Originator, 149, 9000, true),
        (Side::Originator, 148, 9000, false),
        (Side::Originator, 150, 9000, true),
        // Echoes of what was never sent, or of less than before.
        (Side::Responder, 9000, 201, true),
        (Side::Responder, 9000, 120, true),
        (Side::Originator, 150, 9001, true),
        (Side::Responder, 8999, 150, true),
        (Side::Responder, 8998, 150, false),
        (Side::Responder, 9000, 200, true),
        (Side::Originator, 150, 9000, false),
    ];
    for (step, (side, value, echo, taken)) in script.into_iter().enumerate() {
        let header = header(value, echo);
        let segment = Segment { header: &header, acknowledgement: Some(1), ..Segment::default() };
        let (own, peer) =
            if side == Side::Originator { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let outcome = check(own, peer, &payload(&key, side, b"data"), &segment);
        assert_eq!(outcome, if taken { Ok(()) } else { Err(Refusal::Timestamp) }, "step {step}");
    }
}

/// Linux writes the sum of the addresses where it has put segments together (`tcp4_gro_complete`); the first of them is as long
/// as any before. What is no longer than one of a right sum was not put together.
#[test]
fn what_was_put_together_on_receipt_is_taken() {
    let key = key();
    let [mut own, mut peer] = [Receipt::default(); 2];
    let mut check = |bytes: &[u8], is_filled: bool| {
        let mut header = header(7, 0);
        let mut sum = (addresses(&key) + 6 + (header.len() + bytes.len()) as u64) % ONES;
        if is_filled {
            let all = [&header[..], bytes].concat();
            let words = (add(&all) % ONES) as u16;
            sum = ONES - (sum + u64::from(words.swap_bytes())) % ONES;
        }
        header[16..18].copy_from_slice(&(sum as u16).to_be_bytes());
        let segment = Segment { header: &header, acknowledgement: Some(1), ..Segment::default() };
        check(&mut own, &mut peer, &payload(&key, Side::Originator, bytes), &segment)
    };
    assert_eq!(check(&[9; 100], false), Ok(()), "no sum was right so far");
    assert_eq!(check(&[9; 524], true), Ok(()));
    assert_eq!(check(&[9; 934], false), Ok(()), "longer than any of a right sum");
    assert_eq!(check(&[9; 524], false), Err(Refusal::Checksum));
    assert_eq!(check(&[9; 300], false), Err(Refusal::Checksum));
}
