//! The flow table alone: `flow CASE COUNT FLOWS`.
//!
//! - `established`: data packets over FLOWS established connections, zipf 1.1, staged in bursts of 64 as the worker does;
//! - `mixed`: the same with a new flow every 50 packets;
//! - `flood`: nothing but SYNs from new sources into a table for FLOWS;
//! - `rows`: feature rows of FLOWS established flows;
//! - `churn`: the slowest insert when flows come and go at a full table, ours against hashbrown.
//!
//! For instructions a packet, run a case under callgrind at two COUNTs and divide the difference.

use shrike::dataplane::decode::{FlowKey, Packet, TcpWord, tcp_flags};
use shrike::dataplane::features::{COUNT, Moment, write_row};
use shrike::dataplane::flow::{FlowTable, Settings};
use shrike::sys::hash::KeyedHash;
use shrike::units::Timestamp;
use std::hint::black_box;
use std::time::Instant;

const BURST: usize = 64;
const SECRET: [u64; 4] = [11, 22, 33, 44];

/// xorshift64*: the bench needs neither quality nor a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Zipf with exponent 1.1 over `number`, by inverting the continuous distribution.
    fn zipf(&mut self, number: u32) -> u32 {
        let top = f64::from(number).powf(-0.1);
        let rank = (1.0 - self.unit() * (1.0 - top)).powf(-10.0);
        (rank as u32).clamp(1, number) - 1
    }
}

fn packet(flow: u32, back: bool, flags: u8) -> Packet {
    // Ranks are scattered over the address space, so that the hottest flows are not neighbours.
    let scattered = flow.wrapping_mul(0x9e37_79b1);
    let (key, forward) = FlowKey::v4(scattered, (flow >> 7) as u16 | 0x8000, 0x0a09_0909, 443, 6, 0);
    Packet {
        key,
        wire_bytes: 64,
        payload_bytes: 10,
        tcp: TcpWord::new(flags, 64_240),
        direction: if back { forward.flip() } else { forward },
        ..Packet::default()
    }
}

/// One burst through the stages; returns how many signals it raised.
fn burst(table: &mut FlowTable, packets: &mut [Packet], now: Timestamp) -> u64 {
    for packet in packets.iter_mut() {
        packet.time = now;
        table.staging().stage(packet);
    }
    table.probe_all(packets);
    let mut signals = 0;
    for packet in packets.iter() {
        if let Some((_, _, raised)) = table.account(packet, packet.hint, |ended| {
            black_box(ended.at);
        }) {
            signals += u64::from(!raised.is_empty());
        }
    }
    table.expire(now, 2 * BURST, |ended| {
        black_box(ended.at);
    });
    signals
}

/// A table with `flows` established connections that have left their first packets behind.
fn established(flows: u32) -> (FlowTable, u64) {
    let settings = Settings { capacity: flows + flows / 3 + 1024, ..Settings::default() };
    let mut table = FlowTable::new(settings, SECRET);
    let mut time = 1_000_000_000;
    let script = [(false, tcp_flags::SYN), (true, tcp_flags::SYN | tcp_flags::ACK)];
    let data = (0..9).map(|number| (number % 2 == 0, tcp_flags::ACK));
    for (back, flags) in script.into_iter().chain(data) {
        for first in (0..flows).step_by(BURST) {
            let mut packets: Vec<Packet> =
                (first..flows.min(first + BURST as u32)).map(|flow| packet(flow, back, flags)).collect();
            time += 100;
            burst(&mut table, &mut packets, Timestamp(time));
        }
    }
    (table, time)
}

fn packets_case(count: usize, flows: u32, new_every: usize) -> u64 {
    let (mut table, mut time) = established(flows);
    let mut random = Random(7);
    let mut stream: Vec<Packet> = (0..1 << 16)
        .map(|_| packet(random.zipf(flows), random.next() & 1 == 0, tcp_flags::ACK | tcp_flags::PSH))
        .collect();
    let (mut signals, mut fresh) = (0, flows);
    let started = Instant::now();
    for number in 0..count / BURST {
        let first = number * BURST % stream.len();
        let Some(packets) = stream.get_mut(first..first + BURST) else { break };
        if new_every != 0 {
            for place in (0..BURST).step_by(new_every) {
                fresh += 1;
                if let Some(packet) = packets.get_mut(place) {
                    *packet = self::packet(fresh, false, tcp_flags::SYN);
                }
            }
        }
        time += 4_000;
        signals += burst(&mut table, packets, Timestamp(time));
    }
    report(started, count);
    signals
}

fn flood_case(count: usize, flows: u32) -> u64 {
    let mut table = FlowTable::new(Settings { capacity: flows, ..Settings::default() }, SECRET);
    let (mut signals, mut time) = (0, 1_000_000_000);
    let mut packets = [Packet::default(); BURST];
    let started = Instant::now();
    for number in 0..count / BURST {
        for (place, slot) in packets.iter_mut().enumerate() {
            *slot = packet((number * BURST + place) as u32, false, tcp_flags::SYN);
        }
        time += 4_000;
        signals += burst(&mut table, &mut packets, Timestamp(time));
    }
    report(started, count);
    signals
}

fn rows_case(count: usize, flows: u32) -> u64 {
    let (mut table, time) = established(flows);
    let found: Vec<_> = (0..flows)
        .filter_map(|flow| {
            let packet = packet(flow, false, 0);
            let hash = table.hash(&packet.key);
            table.find(hash, &packet.key, u32::MAX, Timestamp(time), |_| ())
        })
        .collect();
    let mut row = [0.0; COUNT];
    let started = Instant::now();
    for index in found.iter().cycle().take(count) {
        if let Some(record) = table.get(*index) {
            write_row(record, None, Timestamp(time), Moment::Milestone, &mut row);
            black_box(&row);
        }
    }
    report(started, count);
    found.len() as u64
}

fn report(started: Instant, count: usize) {
    println!("{:.2} ns each", started.elapsed().as_nanos() as f64 / count.max(1) as f64);
}

/// Inserts of new flows, each after the oldest went, in two tables of one size that are as full as hashbrown gets. Each
/// insert's time is the least of several runs of the very same sequence: what the machine's other work adds differs from
/// run to run, what the table does at that insert does not.
fn churn_case(count: usize, flows: u32) {
    const RUNS: usize = 5;
    // hashbrown's fullest: 7/8 of a power of two.
    let population = (flows.next_power_of_two() / 8 * 7 - 1) as usize;
    let keys: Vec<FlowKey> = (0..(population + count) as u32).map(|flow| packet(flow, false, 0).key).collect();
    let hasher = KeyedHash::new(SECRET);
    let mut ours = vec![u32::MAX; count];
    let mut theirs = vec![u32::MAX; count];
    for _ in 0..RUNS {
        // A flow's life is its time-out: one insert a microsecond, each for as many microseconds as there are places.
        let settings = Settings {
            capacity: population as u32 + 2,
            unanswered_ns: population as u64 * 1_000,
            ..Settings::default()
        };
        let mut table = FlowTable::new(settings, SECRET);
        for (number, key) in keys.iter().enumerate() {
            let now = Timestamp(1_000_000_000 + number as u64 * 1_000);
            let hash = table.hash(key);
            let started = Instant::now();
            black_box(table.insert(hash, key, now, |_| ()));
            table.expire(now, 4, |_| ());
            record(&mut ours, number, population, started);
        }
        let mut table: hashbrown::HashTable<(FlowKey, [u64; 11])> = hashbrown::HashTable::with_capacity(population + 1);
        for (number, key) in keys.iter().enumerate() {
            let started = Instant::now();
            if number >= population
                && let Some(old) = keys.get(number - population)
                && let Ok(entry) = table.find_entry(hasher.hash(old.words()), |(key, _)| key == old)
            {
                entry.remove();
            }
            table.insert_unique(hasher.hash(key.words()), (*key, [0; 11]), |(key, _)| hasher.hash(key.words()));
            record(&mut theirs, number, population, started);
        }
    }
    for (name, times) in [("flow table", &mut ours), ("hashbrown", &mut theirs)] {
        times.sort_unstable();
        let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or(0);
        println!(
            "{name:10}  p50 {:>6} ns  p99.99 {:>9} ns  max {:>11} ns  ({population} flows, {count} inserts)",
            at(0.5),
            at(0.9999),
            at(1.0)
        );
    }
}

/// Keeps the least time seen of insert `number`, once the table is full.
fn record(times: &mut [u32], number: usize, population: usize, started: Instant) {
    let nanoseconds = u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX);
    if let Some(least) = number.checked_sub(population).and_then(|place| times.get_mut(place)) {
        *least = nanoseconds.min(*least);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |place: usize, usual: usize| {
        words.get(place).map_or(usual, |word| word.parse().expect("COUNT and FLOWS are numbers"))
    };
    let case = words.first().map_or("established", String::as_str);
    let (count, flows) = (number(1, 1_000_000), number(2, 1 << 16) as u32);
    let result = match case {
        "established" => packets_case(count, flows, 0),
        "mixed" => packets_case(count, flows, 50),
        "flood" => flood_case(count, flows),
        "rows" => rows_case(count, flows),
        "churn" => {
            churn_case(count, flows);
            0
        }
        _ => panic!("no such case: {case}"),
    };
    println!("{case} {result}");
}
