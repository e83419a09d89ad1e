//! HTTP/2 where there are more connections, or requests that wait, than have room.

use super::super::super::http2::tests::frame;
use super::super::super::http2::{self, BLOCKS, PREFACE};
use super::super::CONNECTIONS;
use super::*;

/// A request with fields that go into the table: its authority is 62 from then on.
fn request(stream: u32, path: &str, authority: &str) -> Vec<u8> {
    let added = |index: u8, value: &str| [&[0x40 | index, value.len() as u8][..], value.as_bytes()].concat();
    frame(1, 5, stream, &[&[0x82, 0x86][..], &added(4, path), &added(1, authority)].concat())
}

/// As before, by the table alone.
fn again(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x82, 0x86, 0xbf, 0xbe])
}

fn response(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, b"\x88")
}

/// Connections of one inspector.
struct Crowd {
    talk: Talk,
    next: Vec<[u32; 2]>,
}

impl Crowd {
    fn new() -> Crowd {
        let settings = Settings { flows: 4096, ..Settings::default() };
        let inspector = Inspector::new(settings, 4096, [1, 2, 3, 4]);
        Crowd { talk: Talk { inspector, ..Talk::new(SETTINGS) }, next: vec![[1000, 9000]; 4096] }
    }

    fn turn_to(&mut self, slot: u32, source: u32) {
        (self.talk.slot, self.talk.next) = (slot, self.next[slot as usize]);
        (self.talk.key, self.talk.originator) = FlowKey::v4(source, 10_000 + slot as u16, 0x0a00_0002, 80, 6, 0);
    }

    fn say(&mut self, slot: u32, source: u32, side: Side, bytes: &[u8]) {
        self.turn_to(slot, source);
        assert_ne!(self.talk.say(side, bytes), Wants::NOTHING);
        self.next[slot as usize] = self.talk.next;
    }

    /// Whose and what the events are, and whether each is cut; and forgets them.
    fn told(&mut self) -> Vec<(FlowKey, String, Option<u64>, bool)> {
        let Kept(facts, keys, ..) = std::mem::take(&mut self.talk.kept);
        let told = facts.into_iter().zip(keys).map(|((protocol, is_anomaly, facts), key)| {
            assert_eq!((protocol, is_anomaly), (Protocol::Http2, false));
            let text = |fact| String::from_utf8_lossy(facts.get(fact).unwrap_or(b"-")).into_owned();
            let what = text(http2::PATH) + " " + &text(http2::AUTHORITY);
            (key, what, facts.number(http2::STATUS), facts.is_truncated())
        });
        told.collect()
    }
}

const OTHER: u32 = 0x0a09_0909;

#[test]
fn idle_connections_do_not_keep_memory_from_others() {
    let one = |_: u32| 0x0a00_0063_u32;
    let many = |slot: u32| 0x0b00_0000 + slot * 7919;
    // A source gives way to itself as soon as half of all is in use.
    for (source, kept) in [(&one as &dyn Fn(u32) -> u32, u32::from(CONNECTIONS) / 2), (&many, CONNECTIONS.into())] {
        let mut crowd = Crowd::new();
        for slot in 0..700 {
            let path = format!("/{slot}");
            crowd.say(slot, source(slot), A, &[PREFACE, &request(1, &path, "idle.example")].concat());
        }
        let counts = crowd.talk.inspector.take_counts();
        assert_eq!((counts.connections_full, counts.events_early), (700 - u64::from(kept), 700 - u64::from(kept)));
        for (slot, (key, what, status, is_cut)) in (0..).zip(crowd.told()) {
            crowd.turn_to(slot, source(slot));
            let wanted = (crowd.talk.key, format!("/{slot} idle.example"), None, true);
            assert_eq!((key, what, status, is_cut), wanted, "those that were silent longest");
        }
        // Another one comes and is read in full, whatever they go on to do.
        crowd.say(4000, OTHER, A, &[PREFACE, &request(1, "/new", "new.example")].concat());
        crowd.told();
        for (round, stream) in (0..5).zip((3..).step_by(2)) {
            for slot in 0..100 {
                crowd.say(800 + 100 * round + slot, source(800 + 100 * round + slot), A, PREFACE);
            }
            crowd.told();
            crowd.say(4000, OTHER, A, &again(stream));
            crowd.say(4000, OTHER, B, &response(stream));
            let [(_, what, status, is_cut)] = &crowd.told()[..] else { panic!("one event") };
            assert_eq!((&**what, *status, *is_cut), ("/new new.example", Some(200), false));
        }
        // Who was pushed out goes on: what he refers to is not known, and what he says anew is.
        crowd.say(0, source(0), A, &again(3));
        crowd.say(0, source(0), A, &request(5, "/anew", "back.example"));
        crowd.say(0, source(0), A, &again(7));
        crowd.told();
        for stream in [3, 5, 7] {
            crowd.say(0, source(0), B, &response(stream));
        }
        let told: Vec<_> = crowd.told().into_iter().map(|(_, what, status, is_cut)| (what, status, is_cut)).collect();
        let whole = ("/anew back.example".to_owned(), Some(200), false);
        assert_eq!(told, [("- -".to_owned(), Some(200), true), whole.clone(), whole]);
        // Every place comes back once, whoever had it.
        for slot in (0..1300).chain([4000]) {
            crowd.turn_to(slot, if slot == 4000 { OTHER } else { source(slot) });
            crowd.talk.end();
        }
        assert_eq!(crowd.talk.inspector.connections.used(), (0, 0));
    }
}

#[test]
fn requests_of_a_source_that_wait_in_vain_give_way_to_its_own() {
    let mut crowd = Crowd::new();
    crowd.say(4000, OTHER, A, &[PREFACE, &request(1, "/new", "new.example")].concat());
    let path = format!("/{}", "p".repeat(110));
    // Two blocks each.
    let first = [PREFACE, &request(1, &path, &"a".repeat(120))].concat();
    let all = u32::from(BLOCKS) / 2 / 256 + 4;
    for slot in 0..all {
        crowd.say(slot, 0x0a00_0063, A, &first);
        let more: Vec<u8> = (1..256).flat_map(|number| again(2 * number + 1)).collect();
        more.chunks(1400).for_each(|part| crowd.say(slot, 0x0a00_0063, A, part));
    }
    let told = crowd.told();
    let counts = crowd.talk.inspector.take_counts();
    // As far as one source may tell so many at once.
    let all_told = told.len() as u64 + counts.events_suppressed;
    assert_eq!((all_told, counts.connections_full), (counts.facts_full, 0));
    assert!(
        counts.events_suppressed > 0 && told.len() as u64 >= u64::from(Rates::DEFAULT.of_source.burst),
        "{counts:?}"
    );
    let half = u64::from(BLOCKS) / 4;
    assert!((256 * u64::from(all) - half..256 * u64::from(all)).contains(&counts.facts_full), "{counts:?}");
    crowd.turn_to(4000, OTHER);
    assert!(told.iter().all(|(key, .., status, is_cut)| *key != crowd.talk.key && status.is_none() && *is_cut));
    crowd.say(4000, OTHER, B, &response(1));
    let [(_, what, status, is_cut)] = &crowd.told()[..] else { panic!("one event") };
    assert_eq!((&**what, *status, *is_cut), ("/new new.example", Some(200), false));
    for slot in (0..all).chain([4000]) {
        crowd.turn_to(slot, if slot == 4000 { OTHER } else { 0x0a00_0063 });
        crowd.talk.end();
    }
    assert_eq!(crowd.talk.inspector.connections.used(), (0, 0));
}
