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
use crate::dataplane::verdict::Subject;

fn alert(host: &str) -> Alert {
    let mut alert = made(host, 1);
    alert.evidence.source = Some(host.parse().unwrap());
    alert
}

fn spoken(originator: &str, responder: &str, first: u64, last: u64) -> Spoken {
    let at = |second: u64| now(second).wall;
    let [originator, responder] = [originator, responder].map(|text| text.parse().unwrap());
    Spoken { originator, responder, proof: Proof::Handshake, first_seen: at(first), last_seen: at(last) }
}

/// A desk that blocks whatever it is told of.
fn desk(settings: Settings) -> (Desk, Arc<Maps>, tempfile::TempDir) {
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
    };
    (Desk::new(responder, vec![playbook], Vec::new()), maps.expect("maps"), folder)
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
    desk.spoken(&spoken("192.0.2.1", "10.0.0.9", 0, 3), &|| now(5));
    assert_eq!((held(&maps), desk.applied_ns.len()), (1, 1));
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
        desk.spoken(&spoken(host, "10.0.0.9", 0, 0), &|| now(0));
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
    desk.spoken(&spoken("192.0.2.1", "10.0.0.9", 0, 0), &|| now(0));
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
    ["192.0.2.66", "192.0.2.1"].iter().for_each(|host| desk.alert(alert(host), &|| now(100)));
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
