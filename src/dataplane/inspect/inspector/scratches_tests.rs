use super::super::super::quic::tests::{answer_to, crypto, hello_to, initial};
use super::super::super::{dtls, quic};
use super::super::tests::{Kept, SETTINGS};
use super::super::*;
use super::*;

/// Flows of datagrams at one inspector, each in a slot of its own.
struct Flows {
    inspector: Inspector,
    kept: Kept,
}

const SLOTS: u32 = 4 * SCRATCHES;
const ID: [u8; 8] = [9; 8];
const NAME: &[u8; 14] = b"shrike.example";
const OTHER: &[u8; 14] = b"others.example";
const A: Side = Side::Originator;

impl Flows {
    fn new() -> Flows {
        let settings = Settings { flows: SLOTS, facts: SLOTS, ..SETTINGS };
        Flows { inspector: Inspector::new(settings, SLOTS, [1, 2, 3, 4]), kept: Kept::default() }
    }

    /// A datagram of the flow in this slot, whose client has this address.
    fn say(&mut self, slot: u32, client: u32, side: Side, bytes: &[u8]) {
        let (key, originator) = FlowKey::v4(client, 40_000, 0x0a00_0002, 443, 17, 0);
        let (first_seen, time) = (Timestamp(1), Timestamp(5));
        let payload = Payload {
            slot,
            key: &key,
            originator,
            first_seen,
            side,
            tcp: None,
            bytes,
            before: &[],
            is_cut: false,
            time,
        };
        self.inspector.payload(&payload, &mut self.kept);
    }

    /// What is told of the flow in this slot at its end: the name, and whether its hello was whole. Of one whose hello was not
    /// it is told why.
    fn told(&mut self, slot: u32) -> Option<(Vec<u8>, bool)> {
        let before = self.kept.of(Protocol::Quic).len();
        let (key, originator) = FlowKey::v4(1, 40_000, 0x0a00_0002, 443, 17, 0);
        let (_, unread) = self.inspector.end(slot, &key, originator, [Timestamp(1), Timestamp(9)], &mut self.kept);
        let events = self.kept.of(Protocol::Quic);
        let event = events.get(before)?;
        let is_whole = event.get(quic::HELLO.client_version).is_some() && !event.is_truncated();
        assert!(is_whole || unread.contains(Cause::ScratchesFull));
        Some((event.get(quic::HELLO.sni).unwrap_or_default().to_vec(), is_whole))
    }

    fn places(&self) -> usize {
        self.inspector.scratches.places.used()
    }
}

fn whole(name: &[u8; 14]) -> Vec<u8> {
    initial(1, &ID, b"", A, &crypto(0, &hello_to(name)), true)
}

/// A hello in two datagrams, the cut within the name.
fn halves(name: &[u8; 14]) -> [Vec<u8>; 2] {
    let hello = hello_to(name);
    let cut = hello.windows(7).position(|seven| seven == b"example").unwrap();
    let (a, b) = hello.split_at(cut);
    [crypto(0, a), crypto(cut as u16, b)].map(|frames| initial(1, &ID, b"", A, &frames, true))
}

/// Halves of hellos that nobody completes, of one source and of as many as there are flows, and whole ones without an answer:
/// the hello that comes then, in two datagrams with others between them, is read.
#[test]
fn halves_without_end_do_not_hide_the_hello_that_follows() {
    let ([half, rest], whole) = (halves(NAME), whole(NAME));
    for (flood, sources, used) in [(&half, 1, SCRATCHES / 2), (&half, SLOTS, SCRATCHES), (&whole, SLOTS, 0)] {
        let mut flows = Flows::new();
        for slot in 1..SLOTS {
            flows.say(slot, 0x0b00_0000 + slot % sources, A, flood);
        }
        let lost = if used == 0 { 0 } else { SLOTS - 1 - used };
        assert_eq!((flows.inspector.take_counts().scratches_full, flows.places()), (lost.into(), used as usize));
        flows.say(0, 0x0c00_0001, A, &half);
        for slot in 1..SCRATCHES / 2 {
            flows.say(slot, 0x0b00_0000 + slot % sources, A, flood);
        }
        flows.say(0, 0x0c00_0001, A, &rest);
        let before = flows.kept.of(Protocol::Quic).len();
        flows.say(0, 0x0c00_0001, Side::Responder, &answer_to(&ID));
        let events = flows.kept.of(Protocol::Quic);
        assert_eq!(events.len(), before + 1);
        let event = events[before];
        assert_eq!((event.get(quic::HELLO.sni), event.number(quic::HELLO.cipher)), (Some(&NAME[..]), Some(0x1301)));
        assert!(event.get(quic::HELLO.client_version).is_some() && !event.is_truncated());
    }
}

/// Who lost his place begins anew with an empty one, and nobody finds anything of his.
#[test]
fn what_is_left_of_a_flow_that_gave_way_is_not_mixed_with_the_next_ones() {
    let ([half, rest], [other_half, other_rest]) = (halves(NAME), halves(OTHER));
    for is_reversed in [false, true] {
        let [[half, rest], [other_half, other_rest]] = match is_reversed {
            false => [[&half, &rest], [&other_half, &other_rest]],
            true => [[&rest, &half], [&other_rest, &other_half]],
        };
        let mut flows = Flows::new();
        flows.say(0, 0x0c00_0001, A, other_half);
        flows.say(SLOTS - 1, 0x0c00_0002, A, other_half);
        for slot in 1..=SCRATCHES {
            flows.say(slot, 0x0b00_0000 + slot, A, half);
        }
        assert_eq!(flows.inspector.take_counts().scratches_full, 2);
        flows.say(0, 0x0c00_0001, A, other_rest);
        flows.say(SLOTS - 1, 0x0c00_0002, A, other_rest);
        flows.say(SLOTS - 1, 0x0c00_0002, A, other_half);
        // The two took places again, of those that were silent longest.
        let counts = flows.inspector.take_counts();
        assert_eq!((counts.scratches_full, counts.anomalies), (2, 0));
        for slot in 3..=SCRATCHES {
            flows.say(slot, 0x0b00_0000 + slot, A, rest);
            assert_eq!(flows.told(slot), Some((NAME.to_vec(), true)), "{slot}");
        }
        assert!(!flows.told(0).unwrap().1);
        assert_eq!(flows.told(SLOTS - 1), Some((OTHER.to_vec(), true)));
        (1..3).for_each(|slot| assert!(!flows.told(slot).unwrap().1));
        let counts = flows.inspector.take_counts();
        assert_eq!((counts.scratches_full, counts.anomalies, flows.places()), (0, 0, 0));
    }
}

/// What comes behind a whole hello is compared with it without a place, and one that comes again in pieces costs one until it is
/// whole.
#[test]
fn a_hello_that_is_whole_holds_no_place() {
    let [half, rest] = halves(OTHER);
    let mut flows = Flows::new();
    for (bytes, places, anomalies) in
        [(&whole(NAME), 0, 0), (&whole(NAME), 0, 0), (&half, 1, 0), (&rest, 0, 1), (&whole(OTHER), 0, 0)]
    {
        flows.say(0, 1, A, bytes);
        assert_eq!((flows.places(), flows.inspector.take_counts().anomalies), (places, anomalies));
    }
    assert_eq!(flows.told(0), Some((NAME.to_vec(), true)), "the first stays");
    // Of DTLS too.
    let hello = dtls::tests::hello(b"", &[]);
    for (size, places) in [(usize::MAX, [0, 0]), (60, [1, 0])] {
        let mut flows = Flows::new();
        let parts = dtls::tests::fragments(1, 0, &hello, size);
        let (a, b) = parts.split_at(parts.len().div_ceil(2));
        let seen = [a, b].map(|parts| {
            parts.iter().for_each(|part| flows.say(0, 1, A, &dtls::tests::record(22, 0, part)));
            flows.places()
        });
        assert_eq!(seen, places);
        let (key, originator) = FlowKey::v4(1, 40_000, 0x0a00_0002, 443, 17, 0);
        flows.inspector.end(0, &key, originator, [Timestamp(1), Timestamp(9)], &mut flows.kept);
        assert_eq!(flows.kept.of(Protocol::Dtls)[0].get(dtls::HELLO.sni), Some(&NAME[..]));
    }
}

struct Random(u32);

impl Random {
    fn below(&mut self, count: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % count
    }
}

/// Entries that write, keep, let go and forget at random, against what each wrote: it finds all of that or nothing, never anything
/// of another one's, and as many lost theirs as were counted.
#[test]
fn a_scratch_has_what_its_owner_wrote_and_nothing_else() {
    for (seed, count, entries) in [(1, 8, 24), (2, 1, 5), (3, 16, 16), (4, 5, 200), (5, 64, 65)] {
        let mut random = Random(seed);
        let mut pool = Scratches::new(count, &KeyedHash::new([1, 2, 3, 4]));
        let mut written = vec![vec![]; entries as usize];
        let mut places = vec![None; entries as usize];
        let (mut taken, mut lost) = (0, 0);
        for round in 0..20_000_u32 {
            let entry = random.below(entries);
            let (place, own) = (&mut places[entry as usize], &mut written[entry as usize]);
            if random.below(8) == 0 {
                lost += u32::from(!own.is_empty() && pool.held(*place, entry).is_none());
                pool.give_back(place.take(), entry);
                own.clear();
            } else {
                let scratch = pool.open(*place, entry).unwrap();
                let found = scratch.prefix().to_vec();
                if found.is_empty() && !own.is_empty() {
                    lost += 1;
                    own.clear();
                }
                assert_eq!(found, *own, "entry {entry}, round {round}");
                let bytes = [&entry.to_be_bytes()[..], &round.to_be_bytes()].concat();
                scratch.put(own.len() as u64, &bytes);
                own.extend(bytes);
                let keeps = own.len() < 512 && random.below(4) > 0;
                taken += u32::from(pool.close(place, entry, (entry % 3) as u8, keeps));
                if !keeps {
                    own.clear();
                }
            }
            let held = (0..entries).filter(|one| pool.held(places[*one as usize], *one).is_some()).count();
            assert_eq!(held, pool.places.used());
            let mut all: Vec<u32> = pool.owned.iter().map(|owned| owned.scratch).chain([pool.spare]).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..=count), "each scratch is had once");
        }
        lost += (0..entries)
            .filter(|one| !written[*one as usize].is_empty() && pool.held(places[*one as usize], *one).is_none())
            .count() as u32;
        assert_eq!(taken, lost);
        assert!(taken > 0 || count >= entries);
    }
    let (mut none, mut place) = (Scratches::new(0, &KeyedHash::new([1; 4])), None);
    assert!(none.open(None, 3).is_none() && !none.close(&mut place, 3, 1, true) && place.is_none());
}

/// More flows than places, each with a name of its own, whose pieces, whole hellos, answers and ends come at random: what is told
/// has its own flow's name, whatever was taken from whom, and nothing contradicts.
#[test]
fn pieces_of_many_flows_at_random_are_never_mixed() {
    const FLOWS: u32 = SCRATCHES + 200;
    let name = |slot: u32| <[u8; 14]>::try_from(format!("{slot:06}.example").as_bytes()).unwrap();
    let key = |slot: u32| FlowKey::v4(0x0b00_0000 + slot, 40_000, 0x0a00_0002, 443, 17, 0).0;
    let datagrams: Vec<_> = (0..FLOWS).map(|slot| (halves(&name(slot)), whole(&name(slot)))).collect();
    let (mut flows, mut random, answer) = (Flows::new(), Random(7), answer_to(&ID));
    let mut ended = 0;
    for round in 0..6000 {
        let is_flood = round < FLOWS;
        let slot = if is_flood { round } else { random.below(FLOWS) };
        let ([a, b], whole) = &datagrams[slot as usize];
        let client = 0x0b00_0000 + slot;
        match if is_flood { 0 } else { random.below(16) } {
            0 => flows.say(slot, client, A, a),
            1..=6 => flows.say(slot, client, A, if random.below(2) == 0 { a } else { b }),
            7..=11 => [a, b].iter().for_each(|half| flows.say(slot, client, A, half)),
            12 => flows.say(slot, client, A, whole),
            13 | 14 => flows.say(slot, client, Side::Responder, &answer),
            _ => {
                let (key, originator) = FlowKey::v4(client, 40_000, 0x0a00_0002, 443, 17, 0);
                let times = [Timestamp(1), Timestamp(9)];
                flows.inspector.end(slot, &key, originator, times, &mut flows.kept);
                ended += 1;
            }
        }
        assert!(flows.places() <= SCRATCHES as usize);
    }
    let counts = flows.inspector.take_counts();
    assert!(counts.scratches_full > 100 && ended > 100, "{} {ended}", counts.scratches_full);
    assert_eq!(counts.anomalies, 0);
    let (told, keys) = (&flows.kept.0, &flows.kept.1);
    let mut whole = 0;
    for ((_, _, facts), of) in told.iter().zip(keys) {
        let slot = (0..FLOWS).find(|slot| key(*slot) == *of).unwrap();
        let found = facts.get(quic::HELLO.sni);
        assert!(found.is_none_or(|found| found == name(slot)), "{slot}");
        whole += u32::from(facts.get(quic::HELLO.client_version).is_some());
    }
    assert!(whole > 200, "{whole}");
}
