use super::*;
use crate::dataplane::decode::TcpWord;
use crate::dataplane::flow::wheel::NONE;
use crate::dataplane::flow::{Side, TcpState};
use crate::units::{MILLISECOND, SECOND};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

fn small(capacity: u32) -> FlowTable {
    FlowTable::new(Settings { capacity, ..Settings::default() }, [1, 2, 3, 4])
}

/// A packet from 10.0.0.`host`:`port` to 10.9.9.9:80, or back.
fn packet(table: &FlowTable, host: u32, port: u16, back: bool, flags: u8, time: u64) -> Packet {
    let (key, forward) = FlowKey::v4(0x0a00_0000 + host, port, 0x0a09_0909, 80, 6, 0);
    let direction = if back { forward.flip() } else { forward };
    Packet {
        key,
        hash: table.hash(&key),
        time: Timestamp(time),
        wire_bytes: 64,
        payload_bytes: 10,
        tcp: TcpWord::new(flags, 0),
        direction,
        ..Packet::default()
    }
}

const SYN: u8 = tcp_flags::SYN;
const ACK: u8 = tcp_flags::ACK;
const FIN: u8 = tcp_flags::FIN;
const RST: u8 = tcp_flags::RST;

/// Accounts and returns signals; ends go to `ends`.
fn run(table: &mut FlowTable, packet: &Packet, ends: &mut Vec<(EndReason, u64)>) -> Signals {
    let hint = table.probe(packet.hash);
    let outcome = table.account(packet, hint, |ended| ends.push((ended.reason, ended.at.0)));
    outcome.expect("not full").2
}

#[test]
fn a_connection_lives_and_dies() {
    let mut table = small(64);
    let mut ends = Vec::new();
    let script = [
        (false, SYN, Signals::NEW.with(Signals::SYN), TcpState::New),
        (true, SYN | ACK, Signals::ANSWERED, TcpState::Answered),
        (false, ACK, Signals::HANDSHAKE, TcpState::Established),
        (false, ACK, Signals::MILESTONE, TcpState::Established),
        (true, ACK, Signals::default(), TcpState::Established),
        (true, FIN | ACK, Signals::default(), TcpState::Closing),
        (false, FIN | ACK, Signals::CLOSED, TcpState::Closed),
        (true, ACK, Signals::default(), TcpState::Closed),
    ];
    for (step, (back, flags, signals, state)) in (0_u64..).zip(script) {
        let packet = packet(&table, 1, 1000, back, flags, SECOND + step * MILLISECOND);
        assert_eq!(run(&mut table, &packet, &mut ends), signals, "step {step}");
        let slot = table.probe(packet.hash);
        assert_eq!(table.records[slot as usize].state(), state, "step {step}");
    }
    assert_eq!((table.stats().flows, table.stats().half_open), (1, 0));
    let last = SECOND + 7 * MILLISECOND;
    table.expire(Timestamp(last + 2 * SECOND - 1), 100, |_| panic!("too early"));
    table.expire(Timestamp(last + 3 * SECOND), 100, |ended| ends.push((ended.reason, ended.at.0)));
    assert_eq!(ends, [(EndReason::Closed, last + 2 * SECOND)]);
    assert_eq!(table.stats().flows, 0);
    assert!(table.expired_until() > Timestamp(last + 2 * SECOND));
}

/// What a flow was when it ended: enough to tell two accounts of the same traffic apart.
type End = (FlowKey, u64, EndReason, [u32; 2], [u64; 2], TcpState);

fn end_of(ended: &Ended<'_>) -> End {
    let record = ended.record;
    let both = [Side::Originator, Side::Responder];
    (
        record.key,
        ended.at.0,
        ended.reason,
        both.map(|s| record.packets(s)),
        both.map(|s| record.bytes(s)),
        record.state(),
    )
}

/// Few hosts and ports, so that flows come again; gaps from microseconds to hours.
fn traffic(length: usize) -> impl Strategy<Value = Vec<(u32, u16, bool, u8, u64)>> {
    let flags = prop_oneof![Just(SYN), Just(SYN | ACK), Just(ACK), Just(ACK), Just(ACK), Just(FIN | ACK), Just(RST)];
    let gap = prop_oneof![
        6 => 0_u64..1_000_000,
        3 => 0_u64..3 * SECOND,
        1 => 0_u64..20 * SECOND,
        1 => 0_u64..3 * 3600 * SECOND,
    ];
    proptest::collection::vec((0_u32..6, 1_u16..4, any::<bool>(), flags, gap), 1..length)
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: if cfg!(miri) { 2 } else { 200 }, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// Same packets, different budgets, bursts and numbers of tables (each flow always to the same one): the same ends, and
    /// `expired_until` never told too much.
    #[test]
    fn ends_depend_on_packets_only(
        packets in traffic(150),
        budgets in proptest::collection::vec(0_usize..5, 1..20),
        burst in 1_usize..20,
        tables in 1_usize..4,
    ) {
        let mut reference = Vec::new();
        let mut one = small(64);
        let mut time = 1_700_000_000 * SECOND;
        let mut last = time;
        let mut input = Vec::new();
        for (host, port, back, flags, gap) in packets {
            time += gap;
            last = time;
            input.push(packet(&one, host, port, back, flags, time));
        }
        for packet in &input {
            one.expire(packet.time, usize::MAX, |ended| reference.push(end_of(&ended)));
            one.account(packet, NONE, |ended| reference.push(end_of(&ended))).expect("not full");
        }
        one.drain(Timestamp(last), |ended| reference.push(end_of(&ended)));

        let mut ends = Vec::new();
        let mut many: Vec<FlowTable> = (0..tables).map(|_| small(64)).collect();
        let mut budgets = budgets.iter().cycle();
        for burst in input.chunks(burst) {
            for packet in burst {
                let table = &mut many[packet.key.owner(tables)];
                let hint = table.probe(packet.hash);
                let told = table.expired_until();
                table.account(packet, hint, |ended| {
                    assert!(ended.at >= told);
                    ends.push(end_of(&ended));
                }).expect("not full");
            }
            let now = burst.last().expect("chunks are not empty").time;
            for table in &mut many {
                let told = table.expired_until();
                table.expire(now, *budgets.next().expect("cycle"), |ended| {
                    assert!(ended.at >= told);
                    ends.push(end_of(&ended));
                });
                prop_assert!(table.expired_until() >= told && table.expired_until() <= now);
                for record in table.records.iter().filter(|record| record.is_live()) {
                    let deadline = record.last_seen.after(record.timeout_ns(&table.settings));
                    prop_assert!(deadline >= table.expired_until(), "told too much");
                }
            }
        }
        for table in &mut many {
            table.drain(Timestamp(last), |ended| ends.push(end_of(&ended)));
            prop_assert_eq!((table.flows, table.half_open), (0, 0));
        }
        reference.sort_by_key(|end| (end.1, *end.0.words(), end.2));
        ends.sort_by_key(|end| (end.1, *end.0.words(), end.2));
        prop_assert_eq!(reference, ends);
    }

    /// Against a plain map: what is found, what is new, what is counted; handles of flows that are gone miss.
    #[test]
    fn agrees_with_a_map(packets in traffic(300), hints in any::<bool>()) {
        let mut table = small(64);
        let mut model: HashMap<FlowKey, (FlowIndex, u32)> = HashMap::new();
        let mut stale = Vec::new();
        let mut time = SECOND;
        for (host, port, back, flags, gap) in packets {
            time += gap;
            let packet = packet(&table, host, port, back, flags, time);
            let mut gone = Vec::new();
            let hint = if hints { table.probe(packet.hash) } else { host };
            let (index, record, signals) =
                table.account(&packet, hint, |ended| gone.push((ended.record.key, ended.record.total_packets())))
                    .expect("not full");
            let total = record.total_packets();
            table.expire(Timestamp(time), 3, |ended| gone.push((ended.record.key, ended.record.total_packets())));
            for (key, count) in gone {
                let (index, expected) = model.remove(&key).expect("an unknown flow ended");
                prop_assert_eq!(count, expected);
                stale.push(index);
            }
            let known = model.entry(packet.key).or_insert((index, 0));
            known.1 += 1;
            prop_assert_eq!((known.0, known.1), (index, total));
            prop_assert_eq!(signals.has(Signals::NEW), total == 1);
            prop_assert_eq!(table.flows as usize, model.len());
            let half_open = table.records.iter().filter(|record| record.is_live() && record.is_half_open()).count();
            prop_assert_eq!(table.half_open as usize, half_open);
            for index in &stale {
                prop_assert!(table.get(*index).is_none() && table.get_mut(*index).is_none());
            }
            for (key, (index, count)) in &model {
                prop_assert_eq!(table.get(*index).map(|record| (record.key, record.total_packets())), Some((*key, *count)));
            }
        }
    }

    /// More flows than places, time that also steps back, tiny budgets: every flow that came is in the table or has ended,
    /// exactly once, and the index finds exactly those that are in.
    #[test]
    fn loses_nothing_when_full(
        packets in proptest::collection::vec((0_u32..200, any::<bool>(), any::<u8>(), -2_i64..5), 1..400),
    ) {
        let mut table = small(16);
        let mut balance: BTreeMap<[u64; 5], i32> = BTreeMap::new();
        let mut time = 3600 * SECOND;
        for (host, back, flags, step) in packets {
            time = time.saturating_add_signed(step * 700 * MILLISECOND as i64);
            let packet = packet(&table, host, 9, back, flags, time);
            let mut ends = Vec::new();
            let outcome = table.account(&packet, NONE, |ended| ends.push(*ended.record.key.words()));
            if outcome.is_some_and(|(_, _, signals)| signals.has(Signals::NEW)) {
                *balance.entry(*packet.key.words()).or_default() += 1;
            }
            table.expire(Timestamp(time), 1, |ended| ends.push(*ended.record.key.words()));
            for key in ends {
                *balance.entry(key).or_default() -= 1;
            }
            prop_assert!(table.flows <= 16);
            let live = table.records.iter().filter(|record| record.is_live()).count();
            prop_assert_eq!(live, table.flows as usize);
            prop_assert_eq!(table.buckets.iter().map(|bucket| bucket.len() as usize).sum::<usize>(), live);
            let mut away = vec![false; table.buckets.len()];
            for (slot, record) in table.records.iter().enumerate().filter(|(_, record)| record.is_live()) {
                let first = table.home(table.hash(&record.key)).first;
                away[first] |= !table.buckets[first].occupied().any(|own| own as usize == slot);
            }
            for (bucket, away) in table.buckets.iter().zip(away) {
                prop_assert_eq!(bucket.has_overflowed(), away);
            }
        }
        for (key, count) in balance {
            let found = table.records.iter().filter(|record| record.is_live() && *record.key.words() == key).count();
            prop_assert_eq!(count, found as i32);
        }
    }
}

#[test]
fn a_syn_begins_a_new_flow_at_once_or_when_it_is_answered() {
    // How the flow went on, with payload or without; what comes then, and whether that begins a new one.
    let (talk, syn, answer) = (vec![(false, ACK), (true, ACK)], (false, SYN), (true, SYN | ACK));
    let closed = [vec![(true, RST)], vec![(false, FIN | ACK)], vec![(false, FIN | ACK), (true, FIN | ACK)]];
    type Flags = (bool, u8);
    let mut cases: Vec<(Vec<Flags>, u32, Vec<Flags>, bool)> = vec![
        (talk.clone(), 0, vec![syn], false),
        (talk.clone(), 10, vec![syn], false),
        (talk.clone(), 10, vec![answer], false),
        (talk.clone(), 10, vec![syn, (false, SYN | ACK)], false),
        (talk.clone(), 10, vec![syn, answer], true),
        // Of one side only.
        (vec![(false, ACK), (false, ACK), (false, FIN | ACK)], 10, vec![syn], true),
    ];
    for closing in closed {
        let script = || talk.iter().copied().chain(closing.clone()).collect::<Vec<_>>();
        cases.push((script(), 0, vec![syn], true));
        cases.push((script(), 10, vec![syn], false));
        cases.push((script(), 10, vec![syn, answer], true));
    }
    for (script, payload_bytes, then, anew) in cases {
        let (mut table, mut ends, mut time, mut signals) = (small(64), Vec::new(), SECOND, Signals::default());
        let count = 1 + script.len();
        for (at, (back, flags)) in [(false, SYN)].into_iter().chain(script.clone()).chain(then.clone()).enumerate() {
            assert_eq!(ends, [], "{script:?} {payload_bytes} {then:?}: before the last one");
            time += MILLISECOND;
            let payload_bytes = if at < count && flags == ACK { payload_bytes } else { 0 };
            let packet = Packet { payload_bytes, ..packet(&table, 1, 1000, back, flags, time) };
            signals = run(&mut table, &packet, &mut ends);
        }
        let wanted = if anew { vec![(EndReason::Closed, time)] } else { vec![] };
        assert_eq!((signals.has(Signals::NEW), ends), (anew, wanted), "{script:?} {payload_bytes} {then:?}");
    }
}

#[test]
fn an_overdue_flow_is_ended_by_its_own_next_packet() {
    let mut table = small(64);
    let mut ends = Vec::new();
    let first = packet(&table, 1, 1000, false, SYN, SECOND);
    let late = packet(&table, 1, 1000, false, SYN, 6 * SECOND);
    run(&mut table, &first, &mut ends);
    assert!(run(&mut table, &late, &mut ends).has(Signals::NEW));
    assert_eq!(ends, [(EndReason::Idle, 6 * SECOND)]);
}

#[test]
fn signals_of_contacts_that_fail() {
    let mut table = small(64);
    let mut ends = Vec::new();
    let syn = packet(&table, 1, 1, false, SYN, 1);
    let reset = packet(&table, 1, 1, true, RST | ACK, 2);
    run(&mut table, &syn, &mut ends);
    assert_eq!(run(&mut table, &reset, &mut ends), Signals::REFUSED.with(Signals::CLOSED));
    assert_eq!(run(&mut table, &reset, &mut ends), Signals::default(), "told once");

    let other = packet(&table, 2, 1, false, SYN, 10);
    let index = table.account(&other, NONE, |_| ()).expect("not full").0;
    let (record, signals) = table.refuse(index, Timestamp(4 * SECOND)).expect("it is there");
    assert_eq!((record.state(), signals), (TcpState::Closed, Signals::REFUSED));
    assert_eq!(table.refuse(index, Timestamp(5 * SECOND)).expect("it is there").1, Signals::default(), "told once");
    table.expire(Timestamp(7 * SECOND), 10, |ended| ends.push((ended.reason, ended.at.0)));
    assert_eq!(ends, [(EndReason::Closed, 2 + 2 * SECOND), (EndReason::Closed, 6 * SECOND)]);
}

#[test]
fn milestones_and_reports_come_at_their_packets() {
    let mut table = small(64);
    let (mut milestones, mut reports) = (Vec::new(), Vec::new());
    for number in 1..=5_000_u32 {
        let packet = packet(&table, 1, 1, number % 3 == 0, ACK, u64::from(number));
        let signals = run(&mut table, &packet, &mut Vec::new());
        if signals.has(Signals::MILESTONE) {
            milestones.push(number);
        }
        if signals.has(Signals::REPORT) {
            reports.push(number);
        }
    }
    assert_eq!(milestones, [4, 16, 64, 256, 1024, 4096]);
    assert!(
        reports.iter().zip(1..).all(|(at, number)| *at == number * FlowRecord::REPORT_EVERY) && reports.len() == 78
    );
}

#[test]
fn established_flows_survive_a_syn_flood() {
    let (capacity, active, flood) = if cfg!(miri) { (256, 40, 1_000) } else { (1 << 16, 10_000, 1_000_000) };
    let mut table = small(capacity);
    let mut time = SECOND;
    for host in 0..active {
        for (back, flags) in [(false, SYN), (true, SYN | ACK), (false, ACK)] {
            time += 1_000;
            let packet = packet(&table, host, 443, back, flags, time);
            table.account(&packet, NONE, |_| ()).expect("not full");
        }
    }
    let (mut established, mut half_open, mut emergency) = (0, 0, false);
    let mut count = |ended: Ended<'_>| match ended.reason {
        EndReason::EvictedHalfOpen => half_open += 1,
        EndReason::EvictedEstablished => established += 1,
        _ => (),
    };
    for number in 0..flood {
        time += 1_000;
        let spoofed = packet(&table, 0x10_0000 + number, 80, false, SYN, time);
        table.account(&spoofed, table.probe(spoofed.hash), &mut count).expect("never full of half-open flows");
        if number % 64 == 0 {
            table.expire(Timestamp(time), 128, &mut count);
            emergency |= table.stats().emergency;
        }
        assert!(table.flows <= capacity);
    }
    assert!(emergency && half_open > flood * 8 / 10, "{half_open}");
    assert!(established * 1000 < active, "{established} established flows were given up");
    // The flood is over: the table finds back by itself.
    for _ in 0..2 * capacity {
        time += MILLISECOND;
        table.expire(Timestamp(time), 2, |_| ());
    }
    assert!(!table.stats().emergency);
    assert!(table.flows >= active - established);
}

#[test]
fn the_half_open_flow_that_was_silent_longest_goes_first() {
    let settings = Settings { capacity: 16, unanswered_ns: 2_500 * MILLISECOND, ..Settings::default() };
    let mut table = FlowTable::new(settings, [1, 2, 3, 4]);
    let mut gone = Vec::new();
    // The wheel resolves moments within 64 ticks from a multiple of 64; further ones stand in order of arrival.
    let start = 1_000 << (TICK_BITS + 6);
    for host in 0..16 {
        let first = packet(&table, host, 1, false, SYN, start + u64::from(host) * 25 * MILLISECOND);
        table.account(&first, NONE, |_| ()).expect("not full");
    }
    let now = start + 450 * MILLISECOND;
    table.expire(Timestamp(now), 100, |_| panic!("nothing is due"));
    // The oldest one speaks again: the second oldest is now the longest silent.
    let repeated = packet(&table, 0, 1, false, SYN, now);
    table.account(&repeated, NONE, |_| ()).expect("not full");
    for host in 20..22 {
        let newer = packet(&table, host, 1, false, SYN, now + 1);
        table.account(&newer, NONE, |ended| gone.push((ended.record.key, ended.reason))).expect("not full");
    }
    let expected = [1, 2].map(|host| (packet(&table, host, 1, false, SYN, 0).key, EndReason::EvictedHalfOpen));
    assert_eq!(gone, expected);
}

/// With the hash key leaked an attacker fills one pair of buckets: he throws out his own flows, and nothing grows.
#[test]
fn crafted_collisions_are_bounded() {
    let mut table = small(4096);
    let bystander = packet(&table, 1, 1, false, SYN, SECOND);
    let index = table.account(&bystander, NONE, |_| ()).expect("not full").0;
    let (mut ends, mut sent) = (0, 0);
    let wanted = table.home(packet(&table, 77, 7, false, SYN, 0).hash).first;
    for host in 0..if cfg!(miri) { 20_000 } else { 400_000 } {
        let mut crafted = packet(&table, 0x20_0000 + host, 7, false, SYN, SECOND + u64::from(host));
        if table.home(crafted.hash).first == wanted {
            // The second bucket made the same as well: the worst that a leaked key allows.
            crafted.hash = crafted.hash >> 32 << 32 | crafted.hash >> 32;
            table.account(&crafted, NONE, |_| ends += 1).expect("an older one goes");
            sent += 1;
        }
    }
    assert!(sent > WAYS as u32 && ends == sent - WAYS as u32, "{sent} sent, {ends} ended");
    assert_eq!(table.buckets[wanted].len(), WAYS as u32);
    assert!(table.get(index).is_some(), "the bystander stays");
}

#[test]
fn memory_is_what_the_settings_say() {
    for capacity in [1_000, 65_536, 100_000] {
        let stats = small(capacity).stats();
        // The wheel's lists are a constant of some 7 KiB a table.
        assert!((stats.bytes - 8_192) / u64::from(capacity) <= 160, "{stats:?}");
        assert_eq!(stats.capacity, capacity);
    }
}

proptest! {
    #![proptest_config(cases())]

    /// Flows come, go and give way to others while a walk is under way, which now and then takes none: each flow that lived
    /// all the time is shown once, none twice, and none that never lived.
    #[test]
    fn a_walk_shows_every_flow_that_lives_all_the_time_once(
        before in traffic(60),
        during in traffic(200),
        slots in 1_u32..7,
        capacity in 16_u32..40,
        taken in proptest::collection::vec(0_usize..4, 1..10),
    ) {
        let mut table = small(capacity);
        let (mut now, mut place, mut more, mut steps) = (SECOND, 0, true, 0);
        let mut shown: Vec<(u32, u16, FlowKey)> = Vec::new();
        let live = |table: &FlowTable| -> Vec<(u32, u16, FlowKey)> {
            let records = table.records.iter().zip(0_u32..);
            records.filter(|(one, _)| one.is_live()).map(|(one, slot)| (slot, one.generation, one.key)).collect()
        };
        let mut run = |table: &mut FlowTable, (host, port, back, flags, gap): (u32, u16, bool, u8, u64)| {
            // Gaps of hours would end everything.
            now += gap % (4 * SECOND);
            let packet = packet(table, host, port * 7 + gap as u16 % 9, back, flags, now);
            let hint = table.probe(packet.hash);
            table.account(&packet, hint, |_| {});
            table.expire(Timestamp(now), 4, |_| {});
        };
        before.into_iter().for_each(|packet| run(&mut table, packet));
        let mut always = live(&table);
        let mut ever = always.clone();
        let mut during = during.into_iter();
        while more {
            let mut left = taken[steps % taken.len()] + usize::from(steps % 5 == 0);
            more = table.walk(&mut place, slots, |slot, record| {
                let takes = left > 0;
                if takes {
                    left -= 1;
                    shown.push((slot, record.generation, record.key));
                }
                takes
            });
            steps += 1;
            if let Some(packet) = during.next() {
                run(&mut table, packet);
                let now = live(&table);
                always.retain(|flow| now.contains(flow));
                ever.extend(now);
            }
            prop_assert!(steps < 10_000, "it comes to an end");
        }
        for flow in &always {
            prop_assert_eq!(shown.iter().filter(|one| *one == flow).count(), 1, "{:?}", flow);
        }
        for (index, flow) in shown.iter().enumerate() {
            prop_assert!(ever.contains(flow) && !shown[..index].contains(flow), "{:?}", flow);
        }
    }
}
