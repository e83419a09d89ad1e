//! Alerts at the desk: what waits for a proof, what is beyond the budget, and what automatic blocks cut off.

use super::*;
use crate::control::alert::Alert;
use crate::control::respond::audit::Event;
use crate::control::respond::desk::Desk;
use crate::control::respond::kernel::Found;
use crate::control::respond::playbooks::{Mode as PlaybookMode, Playbook};
use crate::control::respond::proven::Spoken;
use crate::control::respond::safety::{BrakeSettings, Settings as Limits};
use crate::control::store::tests::alert as made;
use crate::dataplane::decode::FlowKey;
use crate::dataplane::detect::{Detector, FlowRef};
use crate::dataplane::verdict::{Action, Signature, Subject};
use crate::exchange::Proved;
use std::net::Ipv4Addr;

fn alert(host: &str) -> Alert {
    let mut alert = made(host, 1);
    alert.evidence.source = Some(host.parse().unwrap());
    (alert.evidence.detector, alert.evidence.kind) = (Detector::BruteForce, "ssh".into());
    alert.evidence.flow = Some(connection(host));
    alert
}

/// The connection of that host to 10.2.0.9.
fn connection(host: &str) -> FlowRef {
    let host: Ipv4Addr = host.parse().unwrap();
    let (key, originator) = FlowKey::v4(host.into(), 999, u32::from_be_bytes([10, 2, 0, 9]), 22, 6, 0);
    FlowRef::new(&key, (originator, Timestamp(7)), None, [None; 2])
}

fn proved(host: &str, is_probe: bool) -> Proved {
    let flow = connection(host);
    Proved { source: flow.source, destination: flow.destination, flow: flow.flow_id.unwrap(), is_probe }
}

fn spoken(originator: &str, responder: &str, first: u64, last: u64) -> Spoken {
    let at = |second: u64| now(second).wall;
    let [originator, responder] = [originator, responder].map(|text| text.parse().unwrap());
    Spoken { originator, responder, proof: Proof::Handshake, first_seen: at(first), last_seen: at(last) }
}

/// A desk that limits nobody whom it does not know.
fn unlimited() -> (Desk, Arc<Maps>, tempfile::TempDir) {
    desk_of(Settings::default(), 0)
}

/// A desk that blocks whatever it is told of.
fn desk(settings: Settings) -> (Desk, Arc<Maps>, tempfile::TempDir) {
    desk_of(settings, 1000)
}

fn desk_of(settings: Settings, unproven_per_second: u32) -> (Desk, Arc<Maps>, tempfile::TempDir) {
    let Bed { folder, maps, responder, .. } = Bed::with(settings, Some(Maps::default()));
    let playbook = Playbook {
        name: "all".into(),
        mode: PlaybookMode::Auto,
        detectors: Vec::new(),
        kinds: Vec::new(),
        severity: 4,
        confidence: 0.0,
        source: Vec::new(),
        target: Vec::new(),
        direction: None,
        proven: None,
        protocol: "block_ip".into(),
        parameters: json!({ "prefix": "{source}" }),
        ttl_ns: None,
        unproven_per_second,
    };
    (Desk::new(responder, vec![playbook], Vec::new()), maps.expect("maps"), folder)
}

/// That address proves itself then, in the connection that alerts about it rest on.
fn prove(desk: &mut Desk, host: &str, second: u64) {
    desk.proven(&proved(host, false), now(second).wall, &|| now(second));
}

/// It ends such a connection without having used it.
fn probe(desk: &mut Desk, host: &str, second: u64) {
    desk.proven(&proved(host, true), now(second).wall, &|| now(second));
}

/// An alert of this detector and kind about TCP to 10.2.0.9, as if from that host.
fn of(detector: Detector, kind: &str, host: Option<&str>) -> Alert {
    let mut alert = alert(host.unwrap_or("192.0.2.1"));
    let evidence = &mut alert.evidence;
    (evidence.detector, evidence.kind, evidence.time) = (detector, kind.into(), now(10).wall);
    evidence.source = host.map(|host| host.parse().unwrap());
    (evidence.target, evidence.port) = (Some("10.2.0.9".parse().unwrap()), None);
    (evidence.protocol, evidence.flow) = (Some(6), None);
    alert
}

fn told(maps: &Maps) -> Vec<String> {
    maps.meddle(|entries| entries.keys().map(crate::control::respond::words::tell).collect())
}

fn held(maps: &Maps) -> usize {
    maps.meddle(|entries| entries.len())
}

fn events(folder: &tempfile::TempDir) -> Vec<Event> {
    let (rows, _) = disk::audit_page(&folder.path().join("r.db"), None, None, 100).unwrap();
    rows.into_iter().rev().map(|row| row.event).collect()
}

#[test]
fn an_alert_waits_for_its_proof_and_says_so_where_none_comes() {
    let (mut desk, maps, folder) = desk(Settings::default());
    desk.alert(alert("192.0.2.1"), &|| now(0));
    desk.alert(alert("192.0.2.2"), &|| now(0));
    assert_eq!((held(&maps), events(&folder).len()), (0, 0), "nothing is done, and nothing refused yet");
    desk.spoken(&spoken("192.0.2.1", "10.0.0.9", 0, 3), &|| now(4));
    assert_eq!(held(&maps), 0, "a flow proves nothing where a pair could have seen who answers");
    prove(&mut desk, "192.0.2.1", 5);
    let applied = std::mem::take(&mut desk.applied_ns);
    assert_eq!((held(&maps), applied.len()), (1, 1));
    assert!(applied[0] < 5 * SECOND, "counted from the proof, which came last: {applied:?}");
    desk.tick(&|| now(14));
    assert_eq!(events(&folder), [Event::Requested, Event::Applied]);
    desk.tick(&|| now(15));
    assert_eq!(events(&folder), [Event::Requested, Event::Applied, Event::Refused]);
    desk.alert(alert("192.0.2.1"), &|| now(20));
    desk.tick(&|| now(60));
    assert_eq!((held(&maps), events(&folder).len()), (1, 3), "who is proven waits no more, and is blocked already");
}

#[test]
fn beyond_the_budget_somebody_is_asked() {
    let limits = Limits { automatic_per_minute: 1, ..Limits::default() };
    let (mut desk, maps, folder) = desk(Settings { limits, ..Settings::default() });
    for host in ["192.0.2.1", "192.0.2.2"] {
        prove(&mut desk, host, 0);
        desk.alert(alert(host), &|| now(1));
    }
    assert_eq!(
        (held(&maps), events(&folder)),
        (1, vec![Event::Requested, Event::Applied, Event::Refused, Event::Proposed])
    );
}

#[test]
fn connections_of_others_that_a_block_cut_off_put_the_brake_on() {
    let brake = BrakeSettings { flows: 2, ..BrakeSettings::default() };
    let (mut desk, maps, _folder) = desk(Settings { brake, ..Settings::default() });
    prove(&mut desk, "192.0.2.1", 0);
    desk.alert(alert("192.0.2.1"), &|| now(100));
    assert_eq!(held(&maps), 1);
    for other in [
        spoken("192.0.2.1", "10.0.0.8", 90, 101), // of the blocked one itself
        spoken("10.0.0.7", "192.0.2.1", 10, 50),  // over long before
        spoken("10.0.0.7", "192.0.2.9", 90, 101), // with another
        spoken("10.0.0.7", "192.0.2.1", 90, 99),  // cut off
    ] {
        desk.spoken(&other, &|| now(110));
    }
    desk.found(&Found::default(), now(111));
    assert_eq!(held(&maps), 1, "one is no two");
    desk.spoken(&spoken("10.0.0.6", "192.0.2.1", 80, 101), &|| now(112));
    desk.found(&Found::default(), now(113));
    assert_eq!((held(&maps), desk.responder.brake_since()), (0, Some(now(113).wall)));
}

#[test]
fn a_block_of_what_many_of_ours_use_is_taken_back_once_the_kernel_drops_their_frames() {
    let brake = BrakeSettings { flows: 0, assets: 10, ..BrakeSettings::default() };
    let (mut desk, maps, _folder) = desk(Settings { brake, ..Settings::default() });
    for host in 1..=30 {
        let one = spoken(&format!("10.0.0.{host}"), "192.0.2.1", 0, 3);
        desk.spoken(&Spoken { proof: Proof::Payload, ..one }, &|| now(5));
    }
    // Who asked us, and nobody of ours him.
    desk.spoken(&Spoken { proof: Proof::Payload, ..spoken("192.0.2.66", "10.0.0.9", 0, 3) }, &|| now(5));
    for host in ["192.0.2.66", "192.0.2.1"] {
        prove(&mut desk, host, 99);
        desk.alert(alert(host), &|| now(100));
    }
    assert_eq!(held(&maps), 2);
    let look = |desk: &mut Desk, second: u64| {
        let found = desk.responder.shared.look(|| now(second));
        desk.found(&found, now(second));
    };
    look(&mut desk, 101);
    let prefix = |host: &str| Subject::Prefix(host.parse().unwrap(), 32);
    assert!(maps.hit(&prefix("192.0.2.66"), now(102).kernel_ns, 60));
    look(&mut desk, 102);
    assert_eq!(
        (held(&maps), desk.responder.brake_since()),
        (2, None),
        "an attacker's frames are dropped as they should be"
    );
    assert!(maps.hit(&prefix("192.0.2.1"), now(103).kernel_ns, 60));
    look(&mut desk, 103);
    assert_eq!((held(&maps), desk.responder.brake_since()), (0, Some(now(103).wall)));
}

/// Openings alone look alike and hurt no connection that stands; who cannot be proven is never named.
#[test]
fn who_is_not_proven_is_limited_by_what_his_packets_look_like() {
    use Detector::{BruteForce, Flood, Scan};
    let some = Some("192.0.2.1");
    for (detector, kind, host, port, limited) in [
        (Scan, "vertical", some, None, Some((0, true))),
        (Scan, "vertical", some, Some(22), Some((22, true))),
        (Flood, "syn", some, Some(80), Some((80, true))),
        (Flood, "syn", None, Some(80), Some((80, true))),
        (Flood, "tcp", some, Some(80), None),
        (BruteForce, "ssh", some, Some(22), None),
    ] {
        let (mut desk, maps, _folder) = desk(Settings::default());
        let mut alert = of(detector, kind, host);
        alert.evidence.port = port;
        desk.alert(alert, &|| now(10));
        let found = maps
            .meddle(|entries| entries.iter().map(|(subject, (rule, _))| (*subject, rule.action)).collect::<Vec<_>>());
        let wanted = limited.map(|(port, only_syn)| {
            let destination = "10.2.0.9".parse().unwrap();
            let signature = Signature { destination, protocol: 6, port, only_syn };
            (Subject::Signature(signature), Action::Limit { per_second: 1000, burst: 250 })
        });
        assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{detector:?} {kind}");
    }
}

/// A client that is there, and goes on connecting, is no reason to believe who writes its address, whatever he sends.
#[test]
fn what_is_written_with_a_clients_address_is_not_the_clients_doing() {
    use Detector::{BruteForce, DnsTunnel, Flood, Scan, WebAttack};
    let host = "192.0.2.1";
    for (detector, kind, protocol) in [
        (Flood, "syn", 6),
        (Scan, "vertical", 6),
        (Scan, "vertical", 17),
        (DnsTunnel, "query", 17),
        (BruteForce, "ssh", 6),
        (WebAttack, "sql_injection", 6),
    ] {
        for flow in [None, Some((connection(host), 17)), Some((FlowRef { flow_id: Some(1), ..connection(host) }, 6))] {
            let (mut desk, maps, _folder) = desk(Settings::default());
            let mut forged = of(detector, kind, Some(host));
            forged.evidence.protocol = Some(protocol);
            forged.evidence.flow = flow.map(|(flow, protocol)| FlowRef { protocol, ..flow });
            (1..10).for_each(|second| prove(&mut desk, host, second));
            desk.alert(forged, &|| now(10));
            (10..30).for_each(|second| prove(&mut desk, host, second));
            desk.tick(&|| now(100));
            let told = told(&maps);
            assert!(!told.iter().any(|one| one.contains(host)), "{detector:?} {kind}: {told:?}");
        }
    }
}

#[test]
fn who_scans_by_connections_opens_some_for_nothing_while_he_scans() {
    let scan = || of(Detector::Scan, "vertical", Some("192.0.2.1"));
    let sweep = || {
        let mut sweep = of(Detector::Scan, "horizontal", Some("192.0.2.1"));
        sweep.evidence.target = None;
        sweep
    };
    let elsewhere = || {
        let mut elsewhere = scan();
        elsewhere.evidence.target = Some("10.2.0.10".parse().unwrap());
        elsewhere
    };
    for (alert, second, is_blocked) in [
        (scan(), 8, true),
        (scan(), 12, true),
        (scan(), 7, false),
        (scan(), 13, false),
        (elsewhere(), 10, false),
        (sweep(), 9, true),
    ] {
        let (mut desk, maps, _folder) = unlimited();
        let before = second < 10;
        if before {
            probe(&mut desk, "192.0.2.1", second);
        }
        desk.alert(alert.clone(), &|| now(10));
        if !before {
            probe(&mut desk, "192.0.2.1", second);
        }
        assert_eq!(held(&maps) > 0, is_blocked, "{:?} at {second}", alert.evidence.target);
    }
}

#[test]
fn a_flood_of_requests_has_connections() {
    let (mut desk, maps, _folder) = unlimited();
    let mut requests = of(Detector::Flood, "http", Some("192.0.2.2"));
    requests.evidence.flow = Some(connection("192.0.2.2"));
    prove(&mut desk, "192.0.2.2", 9);
    desk.alert(requests, &|| now(10));
    assert_eq!(held(&maps), 1);
}

/// Who proved himself is not to suffer for what others send: the kernel knows him before anybody floods.
#[test]
fn the_kernel_is_told_who_proved_himself_once_a_minute() {
    let (mut desk, maps, _folder) = desk(Settings::default());
    for second in [0, 1, 59, 60, 61, 130] {
        prove(&mut desk, "192.0.2.1", second);
    }
    let until = |second: u64| ("192.0.2.1".parse().unwrap(), now(second).kernel_ns + 1800 * SECOND);
    assert_eq!(*maps.vouched.lock().unwrap(), [until(0), until(60), until(130)]);
}

#[test]
fn a_limit_ends_is_taken_back_and_may_be_unwanted() {
    let (mut desk, maps, folder) = desk(Settings::default());
    desk.alert(of(Detector::Scan, "vertical", None), &|| now(10));
    assert_eq!(held(&maps), 1, "who is not even named is limited");
    let id = desk.responder.shared.read().after(None).map(|one| one.id).next().unwrap();
    desk.responder.undo(&id, "op", now(11)).unwrap();
    assert_eq!(held(&maps), 0);
    desk.alert(of(Detector::Flood, "syn", None), &|| now(20));
    assert_eq!(held(&maps), 1);
    desk.tick(&|| now(20 + 299));
    assert_eq!(held(&maps), 1);
    desk.tick(&|| now(20 + 300));
    assert_eq!(held(&maps), 0);
    let requested = events(&folder).into_iter().filter(|event| *event == Event::Requested).count();
    assert_eq!(requested, 2);
    let (mut desk, maps, _folder) = unlimited();
    desk.alert(of(Detector::Scan, "vertical", Some("192.0.2.1")), &|| now(10));
    assert_eq!(held(&maps), 0);
}
