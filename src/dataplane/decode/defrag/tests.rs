use super::*;

use crate::fuzzing::defrag::{Step, against_bytes, too_small};
use proptest::prelude::*;

fn packet(v6: bool, source: u8, id: u32) -> Packet {
    let (key, direction) = if v6 {
        let net = 0x2001_0db8_u128 << 96;
        FlowKey::v6(net | u128::from(source), 7, net | 200, 53, 17, 0)
    } else {
        FlowKey::v4(source.into(), 7, 200, 53, 17, 0)
    };
    Packet { key, direction, fragment: true, fragment_id: id, ..Packet::default() }
}

/// A fragment, and its bytes.
type Piece<'a> = (Place, &'a [u8]);

fn piece(offset: u32, more: bool, bytes: &[u8]) -> Piece<'_> {
    let length = bytes.len() as u32;
    (Place { offset, more, header_bytes: 20, protocol: 17, at: 0, length, is_spoiled: false }, bytes)
}

fn take(defragmenter: &mut Defragmenter, packet: &Packet, piece: &Piece<'_>, now: Timestamp) -> Taken {
    defragmenter.take(piece.1, packet, &piece.0, now)
}

/// Shows fragments one after the other; the last answer, and all anomalies by name.
fn show(v6: bool, fragments: &[Piece<'_>]) -> (Option<Vec<u8>>, Vec<&'static str>) {
    let mut defragmenter = Defragmenter::new(DefragSettings::default(), 1);
    let (mut whole, mut names) = (None, Vec::new());
    for (place, bytes) in fragments {
        let taken = defragmenter.take(bytes, &packet(v6, 1, 9), place, Timestamp(1));
        names.extend(taken.anomalies.iter().map(FragmentAnomaly::name));
        if let Outcome::Whole(slot) = taken.outcome {
            let head = if v6 { 40 } else { 20 };
            whole = defragmenter.datagram(slot).map(|datagram| datagram.packet[head..].to_vec());
            defragmenter.release(slot);
        }
    }
    (whole, names)
}

#[test]
fn attacks_have_names() {
    let (a, b) = ([1; 200], [2; 200]);
    let whole = Some([&a[..], &b[..]].concat());
    assert_eq!(show(false, &[piece(0, true, &a), piece(200, false, &b)]), (whole.clone(), vec![]));
    assert_eq!(show(true, &[piece(200, false, &b), piece(0, true, &a)]), (whole.clone(), vec![]));
    // A duplicate is harmless in both.
    for v6 in [false, true] {
        assert_eq!(show(v6, &[piece(0, true, &a), piece(0, true, &a), piece(200, false, &b)]), (whole.clone(), vec![]));
    }
    // The byte that came first stays; in IPv6 the datagram ends.
    let over = [piece(0, true, &a), piece(160, true, &b[..160]), piece(200, false, &b)];
    let names = vec!["frag_overlap", "frag_overlap_different"];
    assert_eq!(show(false, &over), (whole.clone(), names.clone()));
    assert_eq!(show(true, &over), (None, names));
    let equal = [piece(0, true, &a), piece(0, true, &a[..160]), piece(200, false, &b)];
    assert_eq!(show(false, &equal), (whole.clone(), vec!["frag_overlap", "frag_teardrop"]));
    // What a tap sees twice begins no other datagram, until some time is over.
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 8, ..DefragSettings::default() }, 1);
    let mut again = |now| {
        let pieces = [piece(0, true, &a), piece(200, false, &b), piece(200, false, &b)];
        let outcomes =
            pieces.map(|piece| take(&mut defragmenter, &packet(false, 1, 9), &piece, Timestamp(now)).outcome);
        if let Outcome::Whole(slot) = outcomes[1] {
            defragmenter.release(slot);
        }
        (outcomes[1] != Outcome::Refused, outcomes[2] == Outcome::Refused, defragmenter.held())
    };
    assert_eq!(again(1), (true, true, 0));
    assert_eq!(again(REMEMBERED_NS), (false, true, 0));
    assert_eq!(again(REMEMBERED_NS + 2), (true, true, 0));
    // teardrop.c: 36 bytes with more to come, then 4 bytes at 24, the last.
    let teardrop = [piece(0, true, &a[..40]), piece(24, false, &b[..4])];
    let names = vec!["frag_tiny", "frag_overlap", "frag_overlap_different", "frag_teardrop", "frag_end_conflict"];
    assert_eq!(show(false, &teardrop), (None, names));
    // ping -s 65510: the last fragment reaches beyond what a length field can say.
    let ping = [piece(0, true, &a), piece(65_512, false, &b[..26])];
    assert_eq!(show(false, &ping), (None, vec!["frag_pkt_too_large"]));
    let ends = [piece(200, false, &b), piece(200, false, &b[..100]), piece(400, true, &a), piece(0, true, &a)];
    assert_eq!(show(false, &ends).1, vec!["frag_overlap", "frag_teardrop", "frag_end_conflict"]);
    assert_eq!(show(false, &ends).0, whole);
    assert_eq!(show(false, &[piece(0, true, &a[..99]), piece(8, false, &[])]), (None, vec!["frag_invalid_length"; 2]));
    // RFC 1858: eight bytes of TCP, or its flags in the second fragment.
    let mut tcp = packet(false, 1, 9);
    (tcp.key, _) = FlowKey::v4(1, 7, 200, 80, 6, 0);
    let mut defragmenter = Defragmenter::new(DefragSettings::default(), 1);
    let taken = take(&mut defragmenter, &tcp, &piece(8, false, &a), Timestamp(1));
    assert!(taken.anomalies.contains(FragmentAnomaly::Tiny));
}

#[test]
fn a_decoy_with_a_wrong_header_is_of_no_datagram() {
    let ([a, b], x) = ([[1; 200], [2; 200]], [9; 200]);
    let whole = Some([&a[..], &b[..]].concat());
    let (first, last) = (piece(0, true, &a), piece(200, false, &b));
    let wrong = |(place, bytes): Piece<'static>| (Place { is_spoiled: true, ..place }, bytes);
    let x: &'static [u8] = Box::leak(Box::new(x));
    let (early, late) = (wrong(piece(0, true, x)), wrong(piece(200, false, x)));
    let told = vec!["wrong_checksum"];
    assert_eq!(show(false, &[early, first, last]), (whole.clone(), told.clone()), "in front");
    assert_eq!(show(false, &[first, late, last]), (whole.clone(), told.clone()), "between");
    assert_eq!(show(false, &[first, late, early, last]), (whole.clone(), told.clone()), "told once");
    assert_eq!(show(false, &[early, late, first, last]), (whole.clone(), told.clone()), "a whole one in front");
    assert_eq!(show(false, &[first, last, early, late]), (whole.clone(), told), "behind");
    // Where all are wrong, nobody says which ones count.
    assert_eq!(show(false, &[early, late]), (Some(x.repeat(2)), vec![]));
}

#[test]
fn many_fragments_end_their_datagram() {
    let bytes = [7; 128];
    let fragments: Vec<_> = (0..=FRAGMENTS_MAX as u32).map(|number| piece(number * 128, true, &bytes)).collect();
    let (whole, names) = show(false, &fragments);
    assert_eq!((whole, names), (None, vec!["frag_too_many"]));
    let mut enough: Vec<_> = fragments[..FRAGMENTS_MAX].to_vec();
    enough[FRAGMENTS_MAX - 1].0.more = false;
    enough.reverse();
    assert_eq!(show(true, &enough).0.map(|whole| whole.len()), Some(128 * FRAGMENTS_MAX));
}

#[test]
fn the_largest_datagram_is_whole() {
    let bytes = [3; 65_535];
    let at = |offset: usize, end: usize, more| piece(offset as u32, more, &bytes[offset..end]);
    let v4 = [at(0, 40_000, true), at(40_000, 65_515, false)];
    assert_eq!(show(false, &v4).0.map(|whole| whole.len()), Some(65_515));
    let v6 = [at(40_000, 65_535, false), at(0, 40_000, true)]
        .map(|(place, bytes)| (Place { header_bytes: 0, ..place }, bytes));
    assert_eq!(show(true, &v6).0.map(|whole| whole.len()), Some(65_535));
}

#[test]
fn time_ends_what_is_not_whole() {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 8, timeout_ns: 100 }, 1);
    let bytes = [1; 200];
    for (id, now) in [(1, 0), (2, 50)] {
        take(&mut defragmenter, &packet(false, 1, id), &piece(0, true, &bytes), Timestamp(now));
    }
    let mut ended = 0;
    defragmenter.expire(Timestamp(100), 8, |_, _, _| ended += 1);
    assert_eq!((ended, defragmenter.held()), (0, 2));
    defragmenter.expire(Timestamp(101), 8, |key, _, _| {
        assert_eq!(*key, packet(false, 1, 1).key);
        ended += 1;
    });
    assert_eq!((ended, defragmenter.held()), (1, 1));
    // Nobody asked in time: the fragment that comes later begins anew.
    let taken = take(&mut defragmenter, &packet(false, 1, 2), &piece(200, false, &bytes), Timestamp(151));
    assert_eq!(taken.outcome, Outcome::Kept);
    assert!(taken.anomalies.contains(FragmentAnomaly::Incomplete));
    assert_eq!(defragmenter.held(), 1);
}

/// A flood of one source takes a quarter; a flood of all takes all, oldest first; what is whole keeps its place.
#[test]
fn floods_stay_in_their_bounds() {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 64, timeout_ns: u64::MAX }, 5);
    let bytes = [1; 200];
    let first = piece(0, true, &bytes);
    let last = piece(200, false, &bytes);
    take(&mut defragmenter, &packet(true, 2, 0), &first, Timestamp(0));
    for id in 0..10_000 {
        let taken = take(&mut defragmenter, &packet(false, 1, id), &first, Timestamp(1));
        assert_eq!((taken.outcome, taken.evicted), (Outcome::Kept, id >= 16));
        assert_eq!(defragmenter.held(), 1 + 16.min(id as usize + 1));
    }
    let taken = take(&mut defragmenter, &packet(true, 2, 0), &last, Timestamp(2));
    let Outcome::Whole(slot) = taken.outcome else { panic!("{taken:?}") };
    assert!(matches!(
        take(&mut defragmenter, &packet(false, 1, 9_999), &last, Timestamp(2)).outcome,
        Outcome::Whole(_)
    ));
    assert_eq!(take(&mut defragmenter, &packet(false, 1, 5), &last, Timestamp(2)).outcome, Outcome::Kept);
    for id in 0..10_000_u32 {
        take(&mut defragmenter, &packet(id % 2 == 0, (id % 250) as u8, id), &first, Timestamp(3));
        assert!(defragmenter.held() <= 64);
    }
    assert_eq!(defragmenter.held(), 64);
    assert_eq!(defragmenter.datagram(slot).map(|whole| whole.packet.len()), Some(440));
}

/// A datagram in two fragments of `half` bytes from any IPv4 source.
struct Halves {
    packet: Packet,
    bytes: Vec<u8>,
}

impl Halves {
    fn new(source: u32, id: u32, half: usize) -> Halves {
        let (key, direction) = FlowKey::v4(source, 7, 200, 53, 17, 0);
        let packet = Packet { key, direction, fragment: true, fragment_id: id, ..Packet::default() };
        Halves { packet, bytes: vec![1; half] }
    }

    fn take(&self, defragmenter: &mut Defragmenter, half: u32, now: u64) -> bool {
        let piece = piece(half * self.bytes.len() as u32, half == 0, &self.bytes);
        let Outcome::Whole(slot) = take(defragmenter, &self.packet, &piece, Timestamp(now)).outcome else {
            return false;
        };
        defragmenter.release(slot);
        true
    }
}

/// Of 10 honest datagrams, each from another source: how many become whole where `forged` halves of random sources come
/// between their own? `is_known`: each source sent a datagram before.
fn survivors(forged: u32, half: usize, is_known: bool) -> usize {
    let mut defragmenter = Defragmenter::new(DefragSettings::default(), 5);
    let mut dice = 1;
    let honest = (1..=10_u32).map(|source| 0x0a00_0000 + source);
    for source in honest.clone().filter(|_| is_known) {
        let before = Halves::new(source, 0, half);
        assert!(!before.take(&mut defragmenter, 0, 0) && before.take(&mut defragmenter, 1, 0));
    }
    let survives = |(id, source): (u32, u32)| {
        let datagram = Halves::new(source, id + 1, half);
        datagram.take(&mut defragmenter, 0, 1);
        for _ in 0..forged {
            let random = splitmix(&mut dice);
            // Where large ones are asked for, the second half, which lies beyond a small buffer.
            let second = u32::from(half * 2 + HEAD_BYTES > SMALL_BYTES);
            Halves::new(random as u32 | 1 << 31, (random >> 32) as u32, half).take(&mut defragmenter, second, 1);
        }
        datagram.take(&mut defragmenter, 1, 2)
    };
    (0..).zip(honest).map(survives).filter(|is_whole| *is_whole).count()
}

/// What an honest datagram must bear between its halves: with 256 places and the oldest giving way it was 255.
#[test]
fn forged_sources_push_out_few_honest_datagrams() {
    for (forged, half, strangers, known) in
        [(255, 1480, 10, 10), (4_000, 1480, 10, 10), (4_200, 1480, 0, 10), (10_000, 1480, 0, 10), (10_000, 8192, 0, 10)]
    {
        assert_eq!(survivors(forged, half, false), strangers, "{forged} forged, unknown sources, {half} bytes");
        assert_eq!(survivors(forged, half, true), known, "{forged} forged, known sources, {half} bytes");
    }
    assert_eq!(survivors(250, 8192, false), 10);
}

/// Who forges sources that are taken for known has no more than the places of these.
#[test]
fn forged_known_sources_leave_their_places_to_others() {
    let mut defragmenter = Defragmenter::new(DefragSettings::default(), 5);
    for source in 0..400 {
        let datagram = Halves::new(source, 0, 1480);
        assert!(!datagram.take(&mut defragmenter, 0, 0) && datagram.take(&mut defragmenter, 1, 0));
    }
    let flood = |defragmenter: &mut Defragmenter, ids: std::ops::Range<u32>| {
        for id in ids {
            Halves::new(id % 400, 1 + id, 1480).take(defragmenter, 0, 1);
        }
    };
    flood(&mut defragmenter, 0..5_000);
    let strangers: Vec<_> = (0..1_000).map(|source| Halves::new(1 << 30 | source, 1, 1480)).collect();
    strangers.iter().for_each(|one| assert!(!one.take(&mut defragmenter, 0, 1)));
    flood(&mut defragmenter, 5_000..20_000);
    // One in some hundred is taken for known, where 400 are marked.
    let whole = strangers.iter().filter(|one| one.take(&mut defragmenter, 1, 2)).count();
    assert!(whole > 970, "{whole}");
}

/// One source has a quarter of the large buffers, whatever it has of the places; and they come back.
#[test]
fn large_datagrams_are_few_and_of_many_sources() {
    let settings = DefragSettings { timeout_ns: 100, ..DefragSettings::default() };
    let mut defragmenter = Defragmenter::new(settings, 5);
    let others: Vec<_> = (1..=100).map(|source| Halves::new(source, 1, 8192)).collect();
    for one in &others {
        one.take(&mut defragmenter, 1, 0);
    }
    for id in 0..1_000 {
        Halves::new(1 << 20, id, 8192).take(&mut defragmenter, 1, 0);
    }
    let large = |defragmenter: &Defragmenter| defragmenter.entries.iter().filter(|entry| entry.large != NIL).count();
    assert!((160..=164).contains(&large(&defragmenter)), "one in 256 has the share of the flood");
    assert!(others.iter().filter(|one| one.take(&mut defragmenter, 0, 1)).count() >= 96);
    assert!((64..=68).contains(&large(&defragmenter)), "and those that lost their place began anew");
    defragmenter.expire(Timestamp(102), 4096, |_, _, _| ());
    assert_eq!((large(&defragmenter), defragmenter.held()), (0, 0));
    assert!(DefragSettings::default().datagrams == 4096 && Defragmenter::bytes(settings) < 40 << 20);
}

/// What is whole and in use keeps its large buffer; where all are, who needs one ends.
#[test]
fn without_a_large_buffer_a_large_datagram_ends() {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 2, timeout_ns: 100 }, 5);
    let bytes = vec![1; 8192];
    let mut slots = Vec::new();
    for source in 0..2 {
        let packet = Halves::new(source, 1, 8192).packet;
        take(&mut defragmenter, &packet, &piece(8192, false, &bytes), Timestamp(0));
        let Outcome::Whole(slot) = take(&mut defragmenter, &packet, &piece(0, true, &bytes), Timestamp(0)).outcome
        else {
            panic!("{source}")
        };
        slots.push(slot);
    }
    let third = Halves::new(3, 1, 8192);
    let taken = take(&mut defragmenter, &third.packet, &piece(0, true, &bytes), Timestamp(0));
    assert_eq!((taken.outcome, defragmenter.held()), (Outcome::Refused, 2));
    slots.iter().for_each(|slot| defragmenter.release(*slot));
    assert!(!third.take(&mut defragmenter, 0, 0) && third.take(&mut defragmenter, 1, 0));
}

/// What came before the fragment with the ports is told with the whole datagram.
#[test]
fn early_fragments_are_told() {
    let mut defragmenter = Defragmenter::new(DefragSettings::default(), 5);
    let bytes = [1; 200];
    let mut last = packet(false, 1, 9);
    (last.wire_bytes, last.payload_bytes) = (234, 200);
    take(&mut defragmenter, &last, &piece(200, false, &bytes), Timestamp(0));
    defragmenter.note_early(&last);
    let taken = take(&mut defragmenter, &packet(false, 1, 9), &piece(0, true, &bytes), Timestamp(0));
    let Outcome::Whole(slot) = taken.outcome else { panic!("{taken:?}") };
    let early = defragmenter.datagram(slot).map(|datagram| datagram.early);
    assert_eq!(early, Some(Early { frames: 1, bytes: 234, payload: 200 }));
}

/// All in one bucket: the chains hold, whatever is taken out of their middle.
#[test]
fn collisions_are_only_slow() {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 64, timeout_ns: 100 }, 5);
    defragmenter.heads = vec![NIL].into_boxed_slice();
    let bytes = [1; 200];
    for id in 0..15 {
        take(&mut defragmenter, &packet(false, 1, id), &piece(0, true, &bytes), Timestamp(0));
    }
    for id in [7, 0, 14, 3, 13, 1] {
        let taken = take(&mut defragmenter, &packet(false, 1, id), &piece(200, false, &bytes), Timestamp(1));
        let Outcome::Whole(slot) = taken.outcome else { panic!("{id}: {taken:?}") };
        defragmenter.release(slot);
    }
    assert_eq!(defragmenter.held(), 9);
    defragmenter.expire(Timestamp(101), 64, |_, _, _| ());
    assert_eq!((defragmenter.held(), defragmenter.groups.map(|group| group.oldest)), (0, [NIL; 2]));
}

#[test]
fn without_room_nothing_is_kept() {
    let mut defragmenter = Defragmenter::new(DefragSettings { datagrams: 0, timeout_ns: 100 }, 5);
    assert!(!defragmenter.is_on());
    let taken = take(&mut defragmenter, &packet(false, 1, 1), &piece(0, true, &[1; 200]), Timestamp(0));
    assert_eq!((taken.outcome, taken.evicted), (Outcome::Refused, false));
    defragmenter.expire(Timestamp(1), 1, |_, _, _| ());
}

/// Every three pieces of 8 or 16 bytes among five places, the last or not, with equal and with other bytes.
#[test]
fn every_small_case_is_as_the_oracle_says() {
    let mut pieces = Vec::new();
    for begin in 0..4_u16 {
        for length in 1..=2_u16 {
            for more in [0, 0x2000] {
                for variant in [0, 1] {
                    pieces.push(Step { who: 0, field: 0x4000 | more | begin, length: length * 8, variant, pause: 0 });
                }
            }
        }
    }
    for v6 in [0, 8] {
        for a in &pieces {
            for b in &pieces {
                for c in &pieces {
                    against_bytes(4, &[*a, *b, *c].map(|step| Step { who: v6, ..step }));
                }
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0_u8..32, any::<u16>(), any::<u16>(), prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => Just(0x80)], 0_u8..14);
    let near = (0_u8..2, 0_u16..16, any::<bool>(), 0_u16..256, prop_oneof![9 => Just(0_u8), 1 => Just(1)]);
    let step = prop_oneof![
        step.prop_map(|(who, field, length, variant, pause)| Step { who, field, length, variant, pause }),
        near.prop_map(|(who, eights, more, length, variant)| Step {
            who: who * 8,
            field: 0x4000 | u16::from(more) << 13 | eights,
            length,
            variant,
            pause: 0,
        }),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_a_map_of_bytes(steps in steps()) {
        against_bytes(64, &steps);
    }

    #[test]
    fn beyond_its_room_it_forgets_and_never_mixes(steps in steps()) {
        too_small(&steps);
    }
}
