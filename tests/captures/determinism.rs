//! The same alerts and flows from one capture with 1, 2 and 4 workers, any batch size, any machine speed.

use super::shared::{Capture, captures, engine, replay_with};
use super::support;
use proptest::prelude::*;
use shrike::control::alert::Alert;
use shrike::control::hosts;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use shrike::dataplane::features::{COUNT, FeatureRow};
use shrike::dataplane::score::{Model, Scorer, Scores, Settings};
use shrike::dataplane::worker::{RxSettings, ScoreSettings};
use std::io::Read;
use std::sync::LazyLock;

/// What must not depend on how it was computed: alerts with all their terms in the order they were raised, and the
/// multiset of flows. Scores are compared to the last bit, which rests on `a_row_scores_the_same_in_any_batch`.
#[derive(PartialEq, Eq, Debug)]
struct Findings {
    alerts: Vec<String>,
    flows: Vec<String>,
    closed: bool,
}

fn findings(bytes: &[u8], packets: u64, way: &Way, model: Option<&Model>, detect: hosts::Settings) -> Findings {
    let stream = Unsteady { bytes: bytes.to_vec(), at: 0, state: way.seed };
    let limits = Limits::default();
    let reader = Reader::from_stream("capture", Box::new(stream), limits).expect("a capture");
    let mut engine = engine(packets);
    engine.rx = RxSettings { fixed: way.burst, ..engine.rx };
    engine.score = ScoreSettings { fixed: way.batch, ..engine.score };
    engine.thresholds = model.map_or(engine.thresholds, Model::thresholds).from(way.threshold);
    let (outcome, mut collected) = replay_with(reader, way.workers, engine, model, detect);
    let mut flows: Vec<String> = collected
        .flows
        .drain(..)
        .map(|mut flow| {
            // Known or not when a flow ends, depending on the batches.
            flow.score = 0.0;
            format!("{flow:?}")
        })
        .collect();
    flows.sort_unstable();
    let alert = |alert: Alert| serde_json::to_string(&alert).expect("an alert is JSON");
    Findings {
        alerts: collected.alerts.into_iter().map(alert).collect(),
        flows,
        closed: outcome.loss_equation_closed(),
    }
}

/// One way to compute it.
#[derive(Clone, Copy, Debug)]
struct Way {
    workers: usize,
    burst: Option<u32>,
    batch: Option<u32>,
    seed: u64,
    /// Of the model.
    threshold: f32,
}

/// Gives its bytes in pieces of changing size, and lets other threads go first now and then: a machine of changing speed.
struct Unsteady {
    bytes: Vec<u8>,
    at: usize,
    state: u64,
}

impl Read for Unsteady {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let piece = match self.state >> 62 {
            0 => 1 + (self.state >> 40) as usize % 200,
            1 => 1 + (self.state >> 40) as usize % 20_000,
            _ => buffer.len(),
        };
        if self.state >> 61 & 1 == 1 {
            std::thread::yield_now();
        }
        let rest = &self.bytes[self.at..];
        let count = rest.len().min(piece).min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

const STEADY: Way = Way { workers: 1, burst: None, batch: None, seed: 3, threshold: 0.5 };

const WAYS: [Way; 5] = [
    Way { workers: 1, burst: Some(1), batch: Some(1), seed: 5, threshold: 0.5 },
    Way { workers: 2, burst: None, batch: None, seed: 7, threshold: 0.5 },
    Way { workers: 2, burst: Some(7), batch: Some(64), seed: 11, threshold: 0.5 },
    Way { workers: 4, burst: Some(256), batch: Some(128), seed: 13, threshold: 0.5 },
    Way { workers: 4, burst: Some(3), batch: Some(2), seed: 17, threshold: 0.5 },
];

/// The model that ships, or `None` after saying so aloud.
fn model(test: &str) -> Option<Model> {
    match Model::load(&Settings::default()) {
        Ok(model) => Some(model),
        Err(error) => {
            support::skip(test, "model", &format!("without the model: {error}"));
            None
        }
    }
}

/// The runtime must compute a row alike whatever stands beside it, to the last bit: a score near the threshold would else
/// be an alert or none, depending on how many rows waited.
#[test]
fn a_row_scores_the_same_in_any_batch() {
    let Some(model) = model("a_row_scores_the_same_in_any_batch") else { return };
    let golden = model.manifest().golden_rows();
    let mut state = 7_u64;
    let mut roll = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mixed = |number: usize| {
        let of = |number: usize| golden.chunks_exact(COUNT).nth(number % (golden.len() / COUNT)).expect("a golden row");
        let (left, right) = (of(number), of(number * 7));
        std::array::from_fn(|column| left[column] + (right[column] - left[column]) * roll())
    };
    let rows: Vec<FeatureRow> = (0..600).map(mixed).collect();
    let mut scorer = model.scorer().expect("a session");
    let mut scored = |batch: usize| -> Vec<u32> {
        let (mut scores, mut all) = (Scores::new(), Vec::new());
        for rows in rows.chunks(batch) {
            scorer.score(rows.as_flattened(), &mut scores).expect("scores");
            for row in 0..rows.len() {
                all.extend(scores.probabilities(row).iter().chain([&scores.anomaly(row)]).map(|value| value.to_bits()));
            }
        }
        all
    };
    let alone = scored(1);
    for batch in [2, 3, 5, 8, 13, 16, 31, 32, 64, 100, 128] {
        assert_eq!(scored(batch), alone, "batches of {batch}");
    }
}

#[test]
fn shared_captures_give_the_same_whatever_the_way() {
    let test = "shared_captures_give_the_same_whatever_the_way";
    let Some(data) = support::shared_data(test) else { return };
    let model = model(test);
    let small = |capture: &Capture| capture.packets.is_some_and(|packets| (1..8000).contains(&packets));
    // One in 23 of all, so that every folder is met; attacks more often, because they raise alerts.
    let chosen = captures(&data)
        .into_iter()
        .filter(small)
        .enumerate()
        .filter(|(number, capture)| number % 23 == 0 || (number % 5 == 0 && capture.name.starts_with("attack/")));
    let (mut alerts, mut wrong) = (0, Vec::new());
    for (_, capture) in chosen {
        let bytes = std::fs::read(&capture.path).expect("a readable capture");
        let packets = capture.packets.unwrap_or(0);
        let expected = findings(&bytes, packets, &STEADY, model.as_ref(), hosts::Settings::default());
        alerts += expected.alerts.len();
        assert!(expected.closed, "{}", capture.name);
        // Two of the ways for each, in turn.
        for way in [WAYS[packets as usize % 5], WAYS[(packets as usize + 2) % 5]] {
            let found = findings(&bytes, packets, &way, model.as_ref(), hosts::Settings::default());
            if found != expected {
                wrong.push(format!("{} {way:?}:\n{}", capture.name, difference(&expected, &found)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(alerts >= 5, "{alerts} alerts say too little");
}

/// The first few lines that only one of them has.
fn difference(expected: &Findings, found: &Findings) -> String {
    let mut text = String::new();
    for (what, left, right) in [("alert", &expected.alerts, &found.alerts), ("flow", &expected.flows, &found.flows)] {
        for line in left.iter().filter(|line| !right.contains(line)).take(2) {
            text += &format!("  only steady, {what}: {line}\n");
        }
        for line in right.iter().filter(|line| !left.contains(line)).take(2) {
            text += &format!("  only here, {what}: {line}\n");
        }
    }
    if text.is_empty() { "  the same lines in another order".into() } else { text }
}

/// A host that does something, written as frames with times.
#[derive(Clone, Debug)]
enum Act {
    /// SYN to many ports, refused by RST or (every so often) answered.
    Scan { source: u8, target: u8, ports: u16, gap_ms: u16 },
    /// UDP to many ports; a router answers with ICMP errors that quote the datagram.
    UdpScan { source: u8, target: u8, ports: u16, gap_ms: u16 },
    /// Short sessions with port 22.
    Guess { source: u8, target: u8, sessions: u16, gap_ms: u16 },
    /// SYN from everywhere to one port.
    Flood { target: u8, packets: u16 },
    /// A fragmented datagram each so often.
    Fragments { source: u8, target: u8, count: u16, gap_ms: u16 },
}

fn act() -> impl Strategy<Value = Act> {
    let host = || 1..40_u8;
    prop_oneof![
        (host(), host(), 1..300_u16, 0..200_u16).prop_map(|(source, target, ports, gap_ms)| Act::Scan {
            source,
            target,
            ports,
            gap_ms
        }),
        (host(), host(), 1..200_u16, 0..200_u16).prop_map(|(source, target, ports, gap_ms)| Act::UdpScan {
            source,
            target,
            ports,
            gap_ms
        }),
        (host(), host(), 1..60_u16, 0..900_u16).prop_map(|(source, target, sessions, gap_ms)| Act::Guess {
            source,
            target,
            sessions,
            gap_ms
        }),
        (host(), 1..3000_u16).prop_map(|(target, packets)| Act::Flood { target, packets }),
        (host(), host(), 1..50_u16, 0..400_u16).prop_map(|(source, target, count, gap_ms)| Act::Fragments {
            source,
            target,
            count,
            gap_ms
        }),
    ]
}

type Timed = (u64, Vec<u8>);

/// Ethernet and IPv4 round a transport packet.
fn ip(from: u8, to: u8, protocol: u8, fragment: u16, identification: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0];
    frame.extend((20 + body.len() as u16).to_be_bytes());
    frame.extend(identification.to_be_bytes());
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
    frame.extend(body);
    frame
}

fn tcp(from: u8, to: u8, ports: (u16, u16), flags: u8, payload: usize) -> Vec<u8> {
    let mut body = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    // SYNs have an option, as every real one has.
    let options: &[u8] = if flags & 2 == 2 { &[2, 4, 5, 0xb4] } else { &[] };
    let header_bytes = 20 + options.len();
    body.extend([0, 0, 0, 1, 0, 0, 0, 1, (header_bytes as u8) << 2, flags, 0x20, 0, 0, 0, 0, 0]);
    body.extend(options);
    body.resize(header_bytes + payload, 7);
    ip(from, to, 6, 0, 0, &body)
}

fn udp(ports: (u16, u16), payload: usize) -> Vec<u8> {
    let mut body = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    body.extend((8 + payload as u16).to_be_bytes());
    body.resize(8 + payload, 0);
    body
}

impl Act {
    fn frames(&self, start_ms: u64, out: &mut Vec<Timed>) {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        match *self {
            Act::Scan { source, target, ports, gap_ms } => {
                for port in 1..=ports {
                    let at = start_ms + u64::from(port * gap_ms.min(200));
                    out.push((at, tcp(source, target, (40_000, port), SYN, 0)));
                    let answer = if port % 50 == 0 { SYN | ACK } else { 4 | ACK };
                    out.push((at + 1, tcp(target, source, (port, 40_000), answer, 0)));
                }
            }
            Act::UdpScan { source, target, ports, gap_ms } => {
                for port in 1..=ports {
                    let at = start_ms + u64::from(port) * u64::from(gap_ms);
                    let sent = ip(source, target, 17, 0, port, &udp((50_000, port), 8));
                    let quoted = [&[3, 3, 0, 0, 0, 0, 0, 0], &sent[14..]].concat();
                    out.push((at, sent));
                    // From the router, so that the error is another pair of hosts than what it quotes.
                    out.push((at + 1, ip(200, source, 1, 0, 0, &quoted)));
                }
            }
            Act::Guess { source, target, sessions, gap_ms } => {
                for session in 0..sessions {
                    let at = start_ms + u64::from(session) * u64::from(gap_ms);
                    let (client, server) = ((30_000 + session, 22), (22, 30_000 + session));
                    for (step, (way, flags, payload)) in [
                        (0, SYN, 0),
                        (1, SYN | ACK, 0),
                        (0, ACK, 0),
                        (1, ACK | 8, 40),
                        (0, ACK | 8, 600),
                        (1, ACK | 8, 800),
                        (1, ACK | 1, 0),
                        (0, ACK | 1, 0),
                        (1, ACK, 0),
                    ]
                    .into_iter()
                    .enumerate()
                    {
                        let frame = if way == 0 {
                            tcp(source, target, client, flags, payload)
                        } else {
                            tcp(target, source, server, flags, payload)
                        };
                        out.push((at + 5 * step as u64, frame));
                    }
                }
            }
            Act::Flood { target, packets } => {
                for number in 0..packets {
                    let source = (number % 250) as u8;
                    out.push((start_ms + u64::from(number / 4), tcp(source, target, (number, 80), SYN, 0)));
                }
            }
            Act::Fragments { source, target, count, gap_ms } => {
                for number in 0..count {
                    let at = start_ms + u64::from(number) * u64::from(gap_ms);
                    let whole = udp((1000 + number % 7, 53), 1600);
                    out.push((at, ip(source, target, 17, 0x2000, number, &whole[..800])));
                    out.push((at, ip(source, target, 17, 100, number, &whole[800..])));
                }
            }
        }
    }
}

/// A nanosecond pcap of the acts, each beginning when it says.
fn capture(acts: &[(u64, Act)]) -> (Vec<u8>, u64) {
    let mut frames = Vec::new();
    for (start_ms, act) in acts {
        act.frames(*start_ms, &mut frames);
    }
    frames.sort_by_key(|frame| frame.0);
    let words = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1];
    let mut file: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    for (milliseconds, frame) in &frames {
        let (seconds, rest) = (1_700_000_000 + milliseconds / 1000, milliseconds % 1000 * 1_000_000);
        let length = frame.len() as u32;
        for word in [seconds as u32, rest as u32, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    (file, frames.len() as u64)
}

/// What is kept beside the flow table must not forget: what it forgot depended on the slots that flows had.
#[test]
fn thousands_of_answered_connections_give_the_same_whatever_the_way() {
    let scan = |source| (u64::from(source), Act::Scan { source, target: 30, ports: 299, gap_ms: 1 });
    let (bytes, packets) = capture(&(1..=20).map(scan).collect::<Vec<_>>());
    let with = |way: Way| findings(&bytes, packets, &way, None, hosts::Settings::default());
    let expected = with(STEADY);
    assert!(expected.closed);
    assert!(expected.flows.iter().filter(|flow| flow.contains("links: Some")).count() > 5000, "links of most are told");
    for way in WAYS {
        let found = with(way);
        assert!(found == expected, "{way:?}\n{}", difference(&expected, &found));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn generated_captures_give_the_same_whatever_the_way(
        acts in prop::collection::vec((0..20_000_u64, act()), 1..8),
    ) {
        let (bytes, packets) = capture(&acts);
        let detect = hosts::Settings::default();
        let expected = findings(&bytes, packets, &STEADY, None, detect);
        prop_assert!(expected.closed);
        for way in WAYS {
            let found = findings(&bytes, packets, &way, None, detect);
            prop_assert!(found == expected, "{way:?}\n{}", difference(&expected, &found));
        }
    }

    /// With the model that ships, and a threshold that any flow reaches, so that the model raises alerts all the time.
    #[test]
    fn with_the_model_generated_captures_give_the_same_whatever_the_way(
        acts in prop::collection::vec((0..20_000_u64, act()), 1..8),
        flows in 1..4_usize,
    ) {
        static MODEL: LazyLock<Option<Model>> =
            LazyLock::new(|| model("with_the_model_generated_captures_give_the_same_whatever_the_way"));
        let Some(model) = MODEL.as_ref() else { return Ok(()) };
        let (bytes, packets) = capture(&acts);
        let mut detect = hosts::Settings::default();
        detect.model.flows = flows;
        let with = |way: Way| findings(&bytes, packets, &Way { threshold: 0.0, ..way }, Some(model), detect);
        let expected = with(STEADY);
        prop_assert!(expected.closed);
        let is_scored = |flow: &String| !flow.contains("packets: [1, 0]") && !flow.contains("packets: [0, 1]");
        // Where a detector tells of the same source, what the model says is a term of that alert.
        let has_alert = expected.alerts.iter().any(|alert| alert.contains(r#""detector":"model""#) || alert.contains("model_"));
        prop_assert!(
            flows > 1 || has_alert || !expected.flows.iter().any(is_scored),
            "flows of one packet have no row: {:#?}",
            expected.alerts
        );
        for way in WAYS {
            let found = with(way);
            prop_assert!(found == expected, "{way:?}\n{}", difference(&expected, &found));
        }
    }
}
