//! Threat intelligence at size: `intel [INDICATORS]` writes feeds of that many indicators together (a million), of the kinds that lists
//! have, reads them, and asks for what is in them and for what is not. Times are of this machine; of single look-ups the clock's own
//! cost is told beside them.

use shrike::control::behaviour::intel::{FeedPlan, Feeds, Format};
use shrike::units::Timestamp;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;

/// splitmix64: the same lists each time.
fn mixed(number: u64) -> u64 {
    let a = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ a >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ b >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ c >> 31
}

fn address(number: u64) -> u128 {
    Ipv4Addr::from_bits(mixed(number) as u32 | 0x0100_0000).to_ipv6_mapped().to_bits()
}

fn name(number: u64) -> String {
    format!(
        "{:x}.{}.example-{}.com",
        mixed(number) >> 24,
        ["cdn", "mail", "update"][number as usize % 3],
        number % 9_973
    )
}

fn print(number: u64) -> String {
    format!("{:016x}{:016x}", mixed(number), mixed(number ^ 0xffff))
}

/// What is asked for.
enum Question {
    Address(u128),
    Name(String),
    Url(String),
    Print(String),
}

fn question(kind: u64, number: u64) -> Question {
    match kind {
        0 => Question::Address(address(number)),
        1 => Question::Name(name(number)),
        2 => Question::Url(format!("{}/{:x}", name(number), mixed(number))),
        _ => Question::Print(print(number)),
    }
}

fn main() {
    let count: u64 = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = std::env::temp_dir().join(format!("shrike-intel-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the feeds");
    // Of a hundred: 40 addresses, 5 networks, 40 names, 5 URLs, 10 fingerprints; four feeds.
    let mut texts = [String::new(), String::new(), String::new(), String::new()];
    for number in 0..count {
        let line = &mut texts[(number % 4) as usize];
        match number % 100 {
            0..40 => writeln!(line, "{}", Ipv4Addr::from_bits(address(number) as u32)),
            40..45 => writeln!(line, "{}/{}", Ipv4Addr::from_bits(address(number) as u32 & !0xff), 16 + number % 9),
            45..85 => writeln!(line, "{}", name(number)),
            85..90 => writeln!(line, "http://{}/{:x}", name(number), mixed(number)),
            _ => writeln!(line, "{}", print(number)),
        }
        .expect("a string takes all");
    }
    let plans: Vec<FeedPlan> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let path = folder.join(format!("{index}.txt"));
            std::fs::write(&path, text).expect("write a feed");
            let name = format!("feed-{index}");
            FeedPlan { name, path, format: Format::Auto, percent: 80, valid_days: None, stale_hours: None }
        })
        .collect();
    let clock = quanta::Clock::new();
    let mut seconds: Vec<f64> = Vec::new();
    let mut feeds = None;
    for _ in 0..3 {
        drop(feeds.take());
        let begin = clock.now();
        feeds = Some(Feeds::open(&plans, 1 << 21).unwrap_or_else(|error| panic!("{error}")));
        seconds.push(clock.now().duration_since(begin).as_secs_f64());
    }
    let feeds = feeds.expect("read three times");
    let tables = feeds.shared().load_full();
    std::fs::remove_dir_all(&folder).expect("take the feeds away");
    println!("{} indicators in 4 feeds: read in {:.2?} s", tables.count(), seconds);

    let empty = percentiles((0..200_000).map(|_| {
        let begin = clock.raw();
        clock.delta_as_nanos(begin, clock.raw())
    }));
    println!("{:<24} {:>8} {:>8} {:>8} {:>9}", "ns a look-up", "p50", "p99", "p99.9", "mean");
    println!("{:<24} {:>8} {:>8} {:>8}", "the clock alone", empty[0], empty[1], empty[2]);
    let lists = [("address", 0, 0), ("name", 1, 45), ("URL", 2, 85), ("fingerprint", 3, 90)];
    for (what, kind, first) in lists {
        for known in [true, false] {
            // Those of the feeds in an order of their own; others are numbers beyond them.
            let questions: Vec<Question> = (0..200_000_u64)
                .map(|at| {
                    let number = mixed(at) % (count / 100).max(1) * 100 + first;
                    question(kind, if known { number } else { number + (1 << 40) })
                })
                .collect();
            let ask = |question: &Question| match question {
                Question::Address(bits) => tables.service(*bits, 443, Timestamp(0)).is_some(),
                Question::Name(name) => tables.name(name, Timestamp(0)).is_some(),
                Question::Url(url) => tables.url(url, Timestamp(0)).is_some(),
                Question::Print(print) => tables.print(print, Timestamp(0)).is_some(),
            };
            let times = percentiles(questions.iter().map(|question| {
                let begin = clock.raw();
                black_box(ask(black_box(question)));
                clock.delta_as_nanos(begin, clock.raw())
            }));
            let begin = clock.raw();
            let met = questions.iter().filter(|question| ask(black_box(question))).count();
            let mean = clock.delta_as_nanos(begin, clock.raw()) as f64 / questions.len() as f64;
            let of = if known { "known" } else { "unknown" };
            println!("{:<24} {:>8} {:>8} {:>8} {mean:>9.1}", format!("{what}, {of}"), times[0], times[1], times[2]);
            assert!(!known || met == questions.len(), "{what}: {met} of {} met", questions.len());
        }
    }
}

/// p50, p99, p99.9.
fn percentiles(times: impl Iterator<Item = u64>) -> [u64; 3] {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    [500, 990, 999].map(|share| times[times.len() * share / 1000])
}
