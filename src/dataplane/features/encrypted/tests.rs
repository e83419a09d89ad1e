use super::*;
use crate::dataplane::decode::FlowKey;

const MS: u64 = 1_000_000;

fn shapes() -> Shapes {
    Shapes::new(2, 8)
}

/// A packet of the flow in `slot`; TCP where there is a sequence number.
fn show(shapes: &mut Shapes, slot: u32, side: Side, time: u64, sequence: Option<u32>, bytes: &[u8]) -> bool {
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0002, 443, 6, 0);
    let payload = Payload {
        slot,
        key: &key,
        originator,
        first_seen: Timestamp(1),
        side,
        tcp: None,
        bytes,
        before: &[],
        is_cut: false,
        time: Timestamp(time),
    };
    shapes.payload(&payload, sequence, bytes.len() as u32)
}

/// Bytes that look like ciphertext.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn head_of(bytes: &[u8]) -> Head {
    head::look(bytes, &mut Scratch::default())
}

#[test]
fn entropy_is_that_of_the_bytes_and_nothing_is_left_behind() {
    let mut scratch = Scratch::default();
    let all: Vec<u8> = (0..=255).collect();
    for (bytes, wanted) in [(&b"aaaaaaaa"[..], 0.0), (b"abababab", 1.0), (b"abcd", 2.0), (&all, 8.0)] {
        for _ in 0..2 {
            assert_eq!(head::look(bytes, &mut scratch).entropy, wanted);
        }
    }
    assert_eq!(head_of(&noise(5000)).bytes as usize, HEAD_BYTES, "no more is looked at");
}

/// Payloads of every length up to some words are looked at as one would byte by byte.
#[test]
fn a_short_payload_is_looked_at_like_a_long_one() {
    let noise = noise(64);
    let text: Vec<u8> = b"HEAD / and what is printed".iter().copied().cycle().take(64).collect();
    for bytes in [&noise, &text, &vec![0; 64]].into_iter().flat_map(|all| (1..=40).map(|length| &all[3..3 + length])) {
        let head = head_of(bytes);
        let all = bytes.len() as f64;
        let is_printed = |byte: &u8| (0x20..=0x7e).contains(byte);
        let ones = f64::from(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>()) / all;
        let share = |value: u8| bytes.iter().filter(|byte| **byte == value).count() as f64 / all;
        let entropy: f64 = (0..=255).map(share).filter(|share| *share > 0.0).map(|share| -share * share.log2()).sum();
        let run = bytes.split(|byte| !is_printed(byte)).map(<[u8]>::len).max().unwrap_or(0);
        let printed = bytes.iter().filter(|byte| is_printed(byte)).count() as f64 / all;
        assert!((f64::from(head.entropy) - entropy).abs() < 1e-5, "{bytes:02x?}: {head:?}, not {entropy}");
        assert_eq!((head.ones, head.printable), (ones as f32, printed as f32), "{bytes:02x?}");
        assert_eq!((usize::from(head.bytes), usize::from(head.run)), (bytes.len(), run), "{bytes:02x?}");
        let begins = bytes.len() >= 6 && bytes[..6].iter().all(is_printed);
        assert_eq!(head.exempt & exempt::BEGINS_PRINTABLE != 0, begins, "{bytes:02x?}");
    }
}

#[test]
fn the_test_for_encrypted_traffic_exempts_what_its_authors_say() {
    let noise = noise(400);
    let mut printed = noise.clone();
    printed[100..121].fill(b'x');
    let mut half = noise.clone();
    half.iter_mut().step_by(2).for_each(|byte| *byte = b'Z');
    for (bytes, wanted) in [
        (noise.clone(), 0),
        ([b"abcdef", &noise[..]].concat(), exempt::BEGINS_PRINTABLE),
        ([b"abcde\0", &noise[..]].concat(), 0),
        (printed, exempt::RUN),
        ([&[0x16, 3, 1], &noise[..]].concat(), exempt::KNOWN),
        ([&[0x17, 3, 9], &noise[..]].concat(), exempt::KNOWN),
        ([&[0x16, 3, 10], &noise[..]].concat(), 0),
        ([b"PUT \0\0", &noise[..]].concat(), exempt::KNOWN),
        ([b"GET \0\0", &noise[..]].concat(), exempt::KNOWN),
        ([b"POST \0", &noise[..]].concat(), exempt::KNOWN),
        ([b"HEAD \0", &noise[..]].concat(), exempt::KNOWN),
        ([b"POUT \0", &noise[..]].concat(), 0),
        (vec![0; 60], exempt::ONES),
        (vec![0xff; 60], exempt::ONES),
    ] {
        assert_eq!(head_of(&bytes).exempt, wanted, "{:02x?}", &bytes[..6]);
    }
    assert_ne!(head_of(&half).exempt & exempt::MOSTLY_PRINTABLE, 0);
    let mut shapes = shapes();
    show(&mut shapes, 1, Side::Responder, 0, Some(1), b"+OK ready to serve");
    show(&mut shapes, 1, Side::Originator, 0, Some(1), &noise);
    assert!(shapes.end(1).unwrap().is_fully_encrypted(), "the originator's first payload tells");
}

#[test]
fn lengths_and_times_are_those_of_the_first_packets() {
    let mut shapes = shapes();
    for number in 0..PACKETS as u64 + 3 {
        let side = if number % 3 == 2 { Side::Responder } else { Side::Originator };
        let wants = show(&mut shapes, 3, side, number * number * MS, Some(0), &vec![0; 10 + number as usize]);
        assert_eq!(wants, number < PACKETS as u64 - 1, "{number}");
    }
    let shape = shapes.end(3).unwrap();
    assert_eq!(usize::from(shape.packets), PACKETS);
    let lengths: Vec<i32> = (0..4).filter_map(|index| shape.signed_length(index)).collect();
    assert_eq!((lengths, &shape.gaps_us[..4]), (vec![10, 11, -12, 13], &[0, 1000, 3000, 5000][..]));
    assert_eq!(shapes.held(), 0);
    assert_eq!(shapes.end(3), None, "once");
}

#[test]
fn records_of_a_stream_are_the_same_however_it_is_cut() {
    let record = |kind: u8, size: usize| [&[kind, 3, 3][..], &(size as u16).to_be_bytes(), &vec![9; size]].concat();
    let stream = [record(22, 70), record(20, 1), record(23, 0), record(23, 300), record(21, 2)].concat();
    let wanted = [(22, 70), (20, 1), (23, 0), (23, 300), (21, 2)];
    for piece in [1, 2, 3, 5, 50, 1000] {
        let (mut follower, mut records) = (Follower::default(), Records::default());
        for (number, part) in stream.chunks(piece).enumerate() {
            let sequence = (u32::MAX - 3).wrapping_add((number * piece) as u32);
            follower.segment(sequence, part, part.len() as u32, &mut records);
            // Once more is once too often.
            follower.segment(sequence, part, part.len() as u32, &mut records);
        }
        let found: Vec<_> = (0..RECORDS).filter_map(|index| records.get(index)).collect();
        assert_eq!(found, wanted, "pieces of {piece}");
    }
    for (first, second) in [(0, 400), (0, 1)] {
        let (mut follower, mut records) = (Follower::default(), Records::default());
        follower.segment(first, &stream[..80], 80, &mut records);
        follower.segment(first + 80 + second, &stream[80..], 1, &mut records);
        assert_eq!(records.count, 2, "a hole ends it");
    }
    let (mut follower, mut records) = (Follower::default(), Records::default());
    follower.segment(0, b"SSH-2.0-OpenSSH_9.2\r\n", 21, &mut records);
    assert_eq!(records.count, 0);
}

#[test]
fn packets_of_datagrams_are_told_by_their_headers() {
    let dtls = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4][..], &[1; 4]].concat();
    let long = |first: u8, version: u32, token: &[u8]| {
        [&[first][..], &version.to_be_bytes(), &[2, 7, 7, 1, 8], token, &[0x40, 30], &[5; 30]].concat()
    };
    let (initial, handshake) = (long(0xc3, 1, &[0]), long(0xe1, 1, &[]));
    let second = long(0xd3, 0x6b33_43cf, &[2, 1, 1]);
    for (datagrams, wanted) in [
        (vec![[&dtls[..], &dtls].concat()], vec![(22, 4), (22, 4)]),
        (
            vec![[&initial[..], &handshake].concat(), vec![0x41; 25]],
            vec![(0x80, initial.len() as u16), (0x82, handshake.len() as u16), (0x40, 25)],
        ),
        (vec![second.clone()], vec![(0x81, second.len() as u16)]),
        (vec![vec![0x41; 25]], vec![]),
        (vec![initial[..20].to_vec()], vec![]),
        (vec![long(0xc3, 0x1234_5678, &[0])], vec![]),
    ] {
        let (mut is_quic, mut records) = (false, Records::default());
        for datagram in &datagrams {
            records::datagram(datagram, &mut is_quic, &mut records);
        }
        assert_eq!((0..RECORDS).filter_map(|index| records.get(index)).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn a_full_pool_gives_up_the_one_whose_turn_it_is_and_says_so() {
    let mut shapes = shapes();
    for slot in 0..5 {
        assert!(show(&mut shapes, slot, Side::Originator, 0, None, b"abc"));
    }
    assert_eq!((shapes.held(), shapes.take_given_up()), (2, 3));
    let given_up = (0..5).filter(|slot| !show(&mut shapes, *slot, Side::Originator, 0, None, b"abc"));
    assert_eq!(given_up.count(), 3, "they do not come back");
    assert_eq!((0..5).filter_map(|slot| shapes.end(slot)).count(), 2);
    assert_eq!((shapes.held(), shapes.end(7)), (0, None));
    assert!(!Shapes::new(0, 8).is_on());
}

#[test]
fn values_stand_where_the_columns_say() {
    let columns = columns();
    assert_eq!(columns.len(), COLUMNS);
    let mut shapes = shapes();
    show(&mut shapes, 0, Side::Originator, 0, Some(5), &[22, 3, 1, 0, 2, 1, 1]);
    show(&mut shapes, 0, Side::Responder, 2 * MS, Some(5), &[22, 3, 3, 0, 1, 1]);
    let values = shapes.end(0).unwrap().values();
    let value = |name: &str| values[columns.iter().position(|column| column.name == name).unwrap()];
    for (name, wanted) in [
        ("length_1", 7.0),
        ("length_2", -6.0),
        ("length_3", 0.0),
        ("gap_2", 2000.0),
        ("first_bytes_out", 7.0),
        ("first_bytes_in", 6.0),
        ("fully_encrypted", 0.0),
        ("record_type_out_1", 22.0),
        ("record_size_out_1", 2.0),
        ("record_size_in_1", 1.0),
        ("record_size_in_8", 0.0),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
    assert!(values.iter().all(|value| value.is_finite()));
}

#[test]
fn a_turned_shape_is_that_of_the_other_roles() {
    let words =
        [(Side::Responder, 0, 1, b"from the server, far too early".to_vec()), (Side::Originator, 1, 1, noise(40))];
    let [seen, turned] = [false, true].map(|exchange| {
        let mut shapes = shapes();
        for (side, at, sequence, bytes) in &words {
            let side = if exchange { side.other() } else { *side };
            show(&mut shapes, 3, side, at * MS, Some(*sequence), bytes);
        }
        shapes.end(3).expect("a shape")
    });
    assert_eq!((seen.turned(), seen.turned().turned()), (turned, seen));
}

#[test]
fn a_packet_is_known_by_the_record_that_begins_it() {
    let mut shapes = shapes();
    let cases: [(&[u8], u8); 6] = [
        (&[22, 3, 1, 0, 2, 1, 1], 22),
        (b"GET / HTTP/1.1", 0),
        // In the midst of a record, cut within its header, of a version that there is not.
        (&[1, 1, 23, 3, 3, 0, 1], 0),
        (&[23, 3, 3, 0], 0),
        (&[23, 3, 5, 0, 1, 1], 0),
        (&[23, 3, 3, 64, 0], 23),
    ];
    for (at, (bytes, _)) in cases.iter().enumerate() {
        show(&mut shapes, 0, Side::Originator, at as u64 * MS, Some(at as u32 * 100), bytes);
    }
    let shape = shapes.end(0).expect("a shape");
    for (at, (bytes, wanted)) in cases.iter().enumerate() {
        assert_eq!(shape.begins_with(at), *wanted, "{bytes:?}");
    }
    assert_eq!((shape.begins_with(6), shape.begins_with(16), shape.turned().begins), (0, 0, shape.begins));
    for kind in [20, 21, 22, 23, 24, 0x40, 0x80, 0x81, 0x82, 0x83] {
        assert_eq!(records::kind_of(records::number_of(kind)), kind);
    }
}
