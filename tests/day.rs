//! A day of 20 000 flows that swings by five and grows by 2 % an hour, attacked in its quietest hour, with three working days
//! before it: what `ci/evaluate-day.sh` does with a million.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Command;

/// Monday, 2026-01-05, 00:00 UTC, seconds.
const START_S: u64 = 1_767_571_200;
const HOUR_NS: u64 = 3_600_000_000_000;
const DAYS: u64 = 4;
const FLOWS_A_DAY: f64 = 20_000.0;

/// Numbers that look like chance, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Packets with their times, and the lines of `flows.csv`.
#[derive(Default)]
struct Day {
    packets: Vec<(u64, Vec<u8>)>,
    lines: String,
    flows: u64,
}

impl Day {
    fn line(&mut self, protocol: u8, from: ([u8; 4], u16), to: ([u8; 4], u16), at: u64, label: &str) {
        let [from, to] = [from, to].map(|([a, b, c, d], port)| format!("{a}.{b}.{c}.{d},{port}"));
        let (start, end) = (START_S * 1_000_000_000 + at, START_S * 1_000_000_000 + at + 20_000_000);
        writeln!(self.lines, "{protocol},{from},{to},{start},{end},{label}").unwrap();
        self.flows += 1;
    }

    /// A question and its answer.
    fn honest(&mut self, at: u64, from: ([u8; 4], u16), to: ([u8; 4], u16), bytes: usize) {
        for (after, from, to) in [(0, from, to), (20_000_000, to, from)] {
            let mut frame = Vec::new();
            etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
                .ipv4(from.0, to.0, 64)
                .udp(from.1, to.1)
                .write(&mut frame, &vec![b'x'; bytes])
                .unwrap();
            self.packets.push((at + after, frame));
        }
        self.line(17, from, to, at, "benign,,,telemetry");
    }

    /// A SYN that is refused.
    fn knock(&mut self, at: u64, from: ([u8; 4], u16), to: ([u8; 4], u16)) {
        let builder = |from: ([u8; 4], u16), to: ([u8; 4], u16)| {
            etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
                .ipv4(from.0, to.0, 64)
                .tcp(from.1, to.1, 7, 1024)
        };
        let (mut syn, mut refusal) = (Vec::new(), Vec::new());
        builder(from, to).syn().write(&mut syn, &[]).unwrap();
        builder(to, from).rst().ack(8).write(&mut refusal, &[]).unwrap();
        self.packets.extend([(at, syn), (at + 200_000, refusal)]);
        self.line(6, from, to, at, "attack,scan,0,ports");
    }

    fn capture(&mut self) -> Vec<u8> {
        self.packets.sort_by_key(|(at, _)| *at);
        let mut out = Vec::new();
        let words = |out: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| out.extend(word.to_le_bytes()));
        words(&mut out, &[0xa1b2_3c4d, 2 | 4 << 16, 0, 0, 65_535, 1]);
        for (at, frame) in &self.packets {
            let length = frame.len() as u32;
            let at = START_S * 1_000_000_000 + at;
            words(&mut out, &[(at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32, length, length]);
            out.extend(frame);
        }
        out
    }
}

/// The days; `grows`: the last one does.
fn days(grows: bool) -> Day {
    let (mut day, mut dice) = (Day::default(), Dice(7));
    for hour in 0..DAYS * 24 {
        let swing = (-0.8 * (((hour % 24) as f64 - 3.5) / 24.0 * std::f64::consts::TAU).cos()).exp() / 1.166;
        let ramp = if grows { 1.02_f64.powf(hour.saturating_sub((DAYS - 1) * 24) as f64) } else { 1.0 };
        let chance = 0.95 + dice.roll(1000) as f64 / 10_000.0;
        for _ in 0..(FLOWS_A_DAY / 24.0 * swing * ramp * chance) as u64 {
            let at = hour * HOUR_NS + dice.roll(3_599_000) * 1_000_000;
            let from = ([10, 7, 0, 10 + dice.roll(40) as u8], 20_000 + dice.roll(40_000) as u16);
            let to = ([198, 18, 0, 1 + dice.roll(50) as u8], 9_000 + dice.roll(9) as u16);
            day.honest(at, from, to, 20 + dice.roll(200) as usize);
        }
    }
    let at = (DAYS - 1) * 24 * HOUR_NS + 7 * HOUR_NS / 2;
    for port in 1..=60 {
        day.knock(at + u64::from(port) * 5_000_000, ([10, 7, 0, 12], 50_000 + port), ([10, 7, 0, 200], port));
    }
    day
}

/// What `shrike evaluate` makes of it.
fn figures(grows: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut day = days(grows);
    std::fs::write(folder.path().join("traffic.pcap"), day.capture()).unwrap();
    let head = "protocol,source,source_port,target,target_port,start_ns,end_ns,label,family,episode,cause";
    std::fs::write(folder.path().join("flows.csv"), format!("{head}\n{}", day.lines)).unwrap();
    let at = START_S * 1_000_000_000 + (DAYS - 1) * 24 * HOUR_NS + 7 * HOUR_NS / 2;
    let host = |number: u32| {
        let address = format!("10.7.0.{number}");
        json!({"name": format!("w{number}"), "role": "client", "address": address, "address6": "", "mac": "", "inside": true})
    };
    let labels = json!({
        "format": 1, "capture": "traffic.pcap", "flows": "flows.csv", "synthetic": true, "subnet": "10.7.0.0/16",
        "subnet6": "fd00::/64", "start_ns": START_S * 1_000_000_000, "hosts": (10..50).map(host).collect::<Vec<_>>(),
        "generator": {"settings": {"ramp": if grows { 0.02 } else { 0.0 }, "ramp_from": (DAYS - 1) as f64}},
        "episodes": [{
            "id": 0, "counts_as": "attack", "family": "scan", "tool": "ours", "variant": {"way": "ports"},
            "sources": ["10.7.0.12"], "targets": ["10.7.0.200"], "first_ns": at, "last_ns": at + 400_000_000,
            "packets": 120,
        }],
    });
    std::fs::write(folder.path().join("labels.json"), labels.to_string()).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["evaluate", folder.path().to_str().unwrap(), "--no-model", "--json"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn the_attack_and_the_growth_are_found_and_without_growth_none_is_told() {
    for grows in [true, false] {
        let figures = figures(grows);
        let capture = &figures["captures"][0];
        assert!(capture["flows"].as_u64().unwrap() > DAYS * 19_000, "{}", capture["flows"]);
        assert_eq!(figures["families"]["scan"]["missed"], 0, "grows: {grows}");
        let alerts = capture["alerts"].as_array().unwrap();
        let of = |verdict: &str| alerts.iter().filter(|alert| alert["verdict"] == verdict).collect::<Vec<_>>();
        let growth: Vec<u64> = alerts
            .iter()
            .filter(|alert| alert["by"] == "growth/network" && alert["verdict"] == "confirmed")
            .map(|alert| (alert["time_ns"].as_u64().unwrap() - START_S * 1_000_000_000) / HOUR_NS)
            .collect();
        assert_eq!(!growth.is_empty(), grows, "{:?}", of("false"));
        assert!(growth.iter().all(|hour| ((DAYS - 1) * 24 + 12..=DAYS * 24).contains(hour)), "{growth:?}");
        let host_days = capture["host_days"].as_f64().unwrap();
        assert!(host_days > 20.0 && of("false").len() as f64 <= host_days, "{host_days}: {:?}", of("false"));
        let of_growth = |alert: &&Value| alert["by"].as_str().unwrap().starts_with("growth");
        assert!(!of("false").iter().any(of_growth), "{:?}", of("false"));
    }
}
