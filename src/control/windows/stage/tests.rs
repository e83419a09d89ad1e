use super::*;
use crate::control::behaviour::LiveBehaviour;
use crate::control::hosts::{self, Merger};
use crate::control::inventory::network::home;
use crate::control::windows::schema;
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::TcpState;
use crate::exchange::Up;
use crate::units::{QueueId, SECOND};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Some whole hour.
const START: u64 = 1_700_092_800 * SECOND;

/// A model with known weights: the first value, which counts flows, divided by that of a hundred of them.
struct Known {
    width: usize,
    family: Family,
    /// Rows of the largest call.
    largest: Arc<AtomicUsize>,
    /// Calls that go well before one that does not.
    good: usize,
    /// Score from which it tells.
    least: f32,
}

fn known(width: usize, family: Family) -> Known {
    Known { width, family, largest: Arc::default(), good: usize::MAX, least: 0.5 }
}

impl Judge for Known {
    fn judge(&mut self, rows: &[f32], told: &mut dyn FnMut(usize, Verdict)) -> Result<(), ScoreError> {
        assert!(rows.len().is_multiple_of(self.width) && rows.len() / self.width <= BATCH_MAX);
        self.largest.fetch_max(rows.len() / self.width, Relaxed);
        let Some(left) = self.good.checked_sub(1) else {
            return Err(ScoreError { rows: rows.len() / self.width, cause: "as told".to_owned() });
        };
        self.good = left;
        for (place, row) in rows.chunks_exact(self.width).enumerate() {
            let score = (row[0] / 100_f32.ln_1p()).min(1.0);
            if score >= self.least {
                told(place, Verdict { attack: score, family: self.family, score, threshold: self.least, needed: 0 });
            }
        }
        Ok(())
    }

    fn model(&self) -> (&str, &str) {
        (if self.width == schema::HOST_COUNT { "host-v1" } else { "pair-v1" }, "1")
    }

    fn reasons(&mut self, row: &[f32], _family: Family, limit: usize) -> Result<Vec<Reason>, ScoreError> {
        let feature = if self.width == schema::HOST_COUNT { &schema::HOST[0] } else { &schema::PAIR[0] };
        let reason = Reason { feature, value: row[0], usual: 0.0, contribution: 0.25 };
        Ok(vec![reason; 2].into_iter().take(limit).collect())
    }
}

fn judges(hosts: Known, pairs: Known) -> Judges {
    Judges { hosts: Some(Box::new(hosts)), pairs: Some(Box::new(pairs)) }
}

fn flow(from: u32, to: u32, port: u16, at: u64) -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0000 + from, 40_000, 0x0a01_0000 + to, port, 6, 0);
    let time = Timestamp(START + at * SECOND);
    FlowSummary {
        key,
        originator,
        first_seen: time,
        last_seen: time,
        ended_at: time,
        state: TcpState::New,
        ..FlowSummary::default()
    }
}

/// A host with a hundred peers in a minute, another one that asks one service again and again for an hour, and some that do neither.
fn wire() -> Vec<FlowSummary> {
    let mut flows: Vec<_> = (0..100).map(|to| flow(1, to, 80, 70)).collect();
    flows.extend((0..60).map(|minute| flow(2, 500, 443, 60 * minute)));
    flows.extend((10..250).map(|from| flow(from, from, 53, 30)));
    flows.sort_by_key(|flow| flow.ended_at);
    flows
}

fn found(stage: &mut Stage, flows: &[FlowSummary]) -> Vec<Evidence> {
    let mut out = Vec::new();
    flows.iter().for_each(|flow| stage.flow(flow));
    stage.reach(Timestamp(u64::MAX), &mut out);
    out
}

#[test]
fn rows_that_reach_a_threshold_are_evidence_and_say_why() {
    let (host, pair) = (known(schema::HOST_COUNT, Family::Scan), known(schema::PAIR_COUNT, Family::Unusual));
    let calls = Arc::clone(&host.largest);
    let mut stage = Stage::new(Settings::default(), judges(host, pair));
    let found = found(&mut stage, &wire());
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.kind.as_str(), one.source.unwrap().to_string(), one.target.map(|to| to.to_string()), one.port))
        .collect();
    let wanted = [
        ("scan", "10.0.0.1".to_owned(), None, None),
        ("unusual", "10.0.0.2".to_owned(), Some("10.1.1.244".to_owned()), Some(443)),
    ];
    assert_eq!(told, wanted);
    let [scan, unusual] = found.as_slice() else { panic!("two: {found:?}") };
    assert_eq!((scan.time, scan.severity, scan.detector), (Timestamp(START + 70 * SECOND), 2, Detector::Model));
    assert_eq!((unusual.time, unusual.severity), (Timestamp(START + 59 * 60 * SECOND), 3), "the latest flow");
    assert_eq!([scan, unusual].map(Evidence::told), [120, 3600].map(|second| Timestamp(START + second * SECOND)));
    let windows = [scan, unusual].map(|one| one.window.clone().expect("of a window"));
    assert_eq!(windows.each_ref().map(|window| window.begin), [60, 0].map(|second| Timestamp(START + second * SECOND)));
    assert_eq!(
        windows.map(|window| (window.model, window.version)),
        ["host-v1", "pair-v1"].map(|name| (name.into(), "1".into()))
    );
    assert_eq!(scan.technique.as_deref(), Some("T1046"));
    assert_eq!(
        scan.summary,
        "10.0.0.1: its flows that ended in the minute from 00:01 UTC are like scan to host-v1 (1.000)"
    );
    assert!(unusual.summary.contains(
        "10.1.1.244 port 443: its flows that ended in the hour from 00:00 UTC are like nothing that was learnt"
    ));
    let terms: Vec<_> =
        scan.terms.iter().map(|term| (term.name.as_str(), term.value.round(), term.contribution)).collect();
    assert_eq!(terms[..2], [("score", 1.0, None), ("flows_out", 100.0, Some(0.25))]);
    assert_eq!(scan.terms[0].threshold, Some(0.5));
    let stats = stage.stats();
    assert_eq!((stats.failed, stats.judged), (0, stats.windows.rows));
    assert_eq!(calls.load(Relaxed), BATCH_MAX, "more rows than go into a call: {stats:?}");
}

/// Who asks reflectors does so in the name of the victim: that one's minute and hours are those of the flooded.
#[test]
fn whose_name_reflectors_are_asked_in_is_the_victim() {
    let asked = |at: u64| {
        let mut one = flow(1, 500, 11_211, at);
        (one.key, one.originator) = FlowKey::v4(0x0a00_0001, 1000 + at as u16, 0x0a01_01f4, 11_211, 17, 0);
        one
    };
    let flows: Vec<_> = (0..100).map(|at| asked(60 + at / 4)).collect();
    let judges =
        judges(known(schema::HOST_COUNT, Family::Amplification), known(schema::PAIR_COUNT, Family::Amplification));
    let found = found(&mut Stage::new(Settings::default(), judges), &flows);
    let ends = |one: &Evidence| (one.source.map(|by| by.to_string()), one.target.map(|of| of.to_string()), one.port);
    let victim = Some("10.0.0.1".to_owned());
    let told: Vec<_> = found.iter().map(ends).collect();
    assert_eq!(told, [(None, victim.clone(), None), (Some("10.1.1.244".to_owned()), victim, Some(11_211))]);
    let wanted =
        "10.0.0.1: flows in its name that ended in the minute from 00:01 UTC are like amplification to host-v1";
    assert!(found[0].summary.starts_with(wanted), "{}", found[0].summary);
    assert!(found.iter().all(|one| one.summary.ends_with(", which floods it")), "{}", found[1].summary);
}

/// Who holds nothing for long is no slow client, whatever his minute is like.
#[test]
fn a_minute_of_short_connections_is_not_slow() {
    let told = |seconds: u64| {
        let host = known(schema::HOST_COUNT, Family::SlowHttp);
        let mut stage = Stage::new(Settings::default(), Judges { hosts: Some(Box::new(host)), pairs: None });
        let of = |one: FlowSummary| FlowSummary { first_seen: Timestamp(one.ended_at.0 - seconds * SECOND), ..one };
        let flows: Vec<_> = (0..100).map(|to| of(flow(1, to, 80, 100))).collect();
        (found(&mut stage, &flows).len(), stage.stats().implausible)
    };
    assert_eq!((told(1), told(20)), ((0, 1), (1, 0)));
}

/// Another judge judges from the next window on that is over; what was judged goes out, and nobody waits for who takes it.
#[test]
fn another_judge_comes_in_and_what_was_judged_goes_out() {
    let silent = |width| Some(Box::new(Known { least: 2.0, ..known(width, Family::Scan) }) as Box<dyn Judge>);
    let (door, port) = door();
    let judges = Judges { hosts: silent(schema::HOST_COUNT), pairs: None };
    let mut stage = Stage::new(Settings::default(), judges).following(door);
    let minute = |stage: &mut Stage, from: u64| {
        let mut found = Vec::new();
        (0..100).for_each(|at| stage.flow(&flow(1, 1000 + at, 80, from + u64::from(at) / 4)));
        stage.reach(Timestamp(START + (from + 300) * SECOND), &mut found);
        found.len()
    };
    assert_eq!(minute(&mut stage, 0), 0);
    port.give(Kind::Hosts, Some(Box::new(known(schema::HOST_COUNT, Family::Scan))));
    assert_eq!(minute(&mut stage, 600), 1);
    port.give(Kind::Hosts, None);
    assert_eq!(minute(&mut stage, 1200), 0, "nobody judges");
    let rows: Vec<_> = port.judged().map(|(kind, values)| (kind, values.len() % schema::HOST_COUNT)).collect();
    assert_eq!(rows, [(Kind::Hosts, 0); 2]);
    drop(port);
    minute(&mut stage, 1800);
}

/// A flood with forged sources is not an alert for each of them.
#[test]
fn many_hosts_that_do_the_same_at_once_are_few_alerts() {
    let judged = |flows_each: u32, hosts: u32| {
        let mut stage = Stage::new(
            Settings::default(),
            Judges {
                hosts: Some(Box::new(Known { least: 0.0, ..known(schema::HOST_COUNT, Family::Flood) })),
                pairs: None,
            },
        );
        let flows: Vec<_> = (0..hosts * flows_each).map(|at| flow(10 + at % hosts, 5, 80, 30)).collect();
        (found(&mut stage, &flows).len(), stage.stats().beyond)
    };
    assert_eq!(judged(1, 4000).0, 1, "the target alone");
    let (told, beyond) = judged(5, 100);
    assert_eq!((told, beyond), (8, 93));
}

#[test]
fn what_a_host_says_on_the_link_alone_is_not_told() {
    let told = |network: u32| {
        let scan = Known { least: 0.0, ..known(schema::HOST_COUNT, Family::Scan) };
        let mut stage = Stage::new(Settings::default(), Judges { hosts: Some(Box::new(scan)), pairs: None });
        let to_many = |to: u32| {
            let (key, originator) = FlowKey::v4(network + 7, 40_000, network + 0x1000 + to, 80, 6, 0);
            FlowSummary { key, originator, ..flow(1, to, 80, 30) }
        };
        let flows: Vec<_> = (0..100).map(to_many).collect();
        (found(&mut stage, &flows).len(), stage.stats().judged)
    };
    assert_eq!(told(0xa9fe_0000), (0, 101), "169.254.0.7");
    assert_eq!(told(0x0a00_0000), (1, 101));
}

#[test]
fn a_failed_call_gives_its_rows_up_and_the_next_goes_on() {
    let hosts = Known { good: 1, ..known(schema::HOST_COUNT, Family::Scan) };
    let mut stage = Stage::new(Settings::default(), Judges { hosts: Some(Box::new(hosts)), pairs: None });
    let first = found(&mut stage, &(0..100).map(|to| flow(1, to % 90, 80, 10)).collect::<Vec<_>>());
    assert_eq!((first.len(), stage.stats().failed), (1, 0));
    let second = found(&mut stage, &(0..100).map(|to| flow(1, to % 90, 80, 90)).collect::<Vec<_>>());
    assert_eq!((second.len(), stage.stats().failed, stage.stats().judged), (0, 91, 91));
}

#[test]
fn windows_that_flows_are_missing_of_are_not_judged() {
    let mut stage = Stage::new(
        Settings::default(),
        judges(known(schema::HOST_COUNT, Family::Scan), known(schema::PAIR_COUNT, Family::Scan)),
    );
    let mut out = Vec::new();
    for (minute, lost) in [(0, false), (1, true), (4, false)] {
        (0..100).for_each(|to| stage.flow(&flow(1, to, 80, 60 * minute + 5)));
        if lost {
            stage.untold();
        }
        stage.reach(Timestamp(START + (60 * minute + 6) * SECOND), &mut out);
    }
    stage.reach(Timestamp(u64::MAX), &mut out);
    // What was lost may have ended since the last watermark: in the first minute as well.
    let times: Vec<_> = out.iter().map(|one| (one.told().0 - START) / SECOND).collect();
    assert_eq!(times, [300]);
    assert!(stage.stats().windows.incomplete >= 200, "{:?}", stage.stats());
}

/// Live the stage is a thread's, in a replay the merger's: what they find is the same.
#[test]
fn live_and_replay_find_the_same() {
    let behaviour = || {
        let judges = judges(known(schema::HOST_COUNT, Family::Scan), known(schema::PAIR_COUNT, Family::Beacon));
        let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
        behaviour.judge_windows(Stage::new(Settings::default(), judges));
        behaviour
    };
    let (mut live, mut merger) = (
        LiveBehaviour::start(behaviour(), None).expect("a thread"),
        Merger::new(1, hosts::Settings::default()).with_behaviour(Some(behaviour())),
    );
    let mut replayed = Vec::new();
    for flow in wire() {
        live.flow(&flow);
        merger.flow(&flow);
        live.reached(flow.ended_at, flow.ended_at);
        replayed.extend(merger.push(QueueId(0), &Up::Watermark(QueueId(0), flow.ended_at)));
    }
    replayed.extend(merger.finish());
    let replayed: Vec<_> = replayed.into_iter().filter(|one| one.detector == Detector::Model).collect();
    let live: Vec<_> = live.finish().into_iter().filter(|one| one.detector == Detector::Model).collect();
    assert_eq!(replayed.len(), 2, "{replayed:?}");
    assert_eq!(live, replayed);
}
