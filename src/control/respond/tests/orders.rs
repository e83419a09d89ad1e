//! What comes of orders: in force, longer, twice as long, taken back, refused, after a restart.

use super::*;
use crate::control::respond::audit::Event;
use crate::control::respond::intended::Stage;
use crate::control::respond::safety::{BrakeSettings, Observed};

#[test]
fn an_order_is_on_the_disk_and_in_the_kernel_and_ends() {
    let mut bed = Bed::new();
    let (response, outcome) = bed.order(&block("192.0.2.7", person()), 0).unwrap();
    assert_eq!((outcome, response.state(), response.kernel.enforced), (Outcome::Begun, "enforced", 1));
    assert_eq!(bed.kernel(), ["192.0.2.7"]);
    let rule = bed.maps().meddle(|entries| *entries.values().next().unwrap()).0;
    assert_eq!(rule.until_ns, KERNEL + 3_600 * SECOND, "an hour, on the kernel's clock");
    let (again, outcome) = bed.order(&block("192.0.2.7/32", Who::Person("another".into())), 100).unwrap();
    assert_eq!((again.id, outcome, again.until), (response.id, Outcome::Extended, Timestamp(BEGIN + 3_700 * SECOND)));
    assert_eq!(bed.responder.shared.read().count(), 1);
    bed.responder.tick(now(3_699));
    assert_eq!(bed.kernel().len(), 1);
    bed.responder.tick(now(3_700));
    assert!(bed.kernel().is_empty() && bed.responder.shared.read().count() == 0);
    assert_eq!(bed.audit(), [Event::Requested, Event::Applied, Event::Extended, Event::Applied, Event::Expired]);
}

#[test]
fn the_set_is_the_same_after_a_restart_and_in_the_kernel_before_anything_else() {
    let mut bed = Bed::new();
    for host in 1..=20 {
        bed.order(&block(&format!("192.0.2.{host}"), person()), host).unwrap();
    }
    let taken = bed.order(&block("192.0.2.5", person()), 21).unwrap().0;
    bed.responder.undo(&taken.id, "op", now(22)).unwrap();
    let (digest, kernel) = (bed.digest(), bed.kernel());
    assert_eq!(kernel.len(), 19);
    let bed = bed.restart(30);
    assert_eq!((bed.digest(), bed.kernel()), (digest.clone(), kernel.clone()));
    // The machine was started again: no maps are left.
    bed.maps().meddle(|entries| entries.clear());
    let bed = bed.restart(31);
    assert_eq!((bed.digest(), bed.kernel()), (digest, kernel));
    assert!(bed.restart(4_000).kernel().is_empty(), "what ended meanwhile is not put back");
}

#[test]
fn what_comes_again_lasts_twice_as_long_up_to_a_limit() {
    let settings = Settings { escalation_max_ns: 5 * 3_600 * SECOND, ..Settings::default() };
    let mut bed = Bed::with(settings, Some(Maps::default()));
    let mut at = 0;
    for hours in [1, 2, 4, 5, 5] {
        let (response, outcome) = bed.order(&block("192.0.2.7", playbook()), at).unwrap();
        assert_eq!((outcome, response.ttl_ns / SECOND), (Outcome::Begun, hours * 3_600), "at {at}");
        at += hours * 3_600;
        bed.responder.tick(now(at));
        bed = bed.restart(at + 1);
        at += 60;
    }
    let (response, _) = bed.order(&block("192.0.2.7", playbook()), at + 86_401).unwrap();
    assert_eq!(response.ttl_ns, 3_600 * SECOND, "after a quiet day it is forgotten");
    let (response, _) = bed.order(&block("192.0.2.8", person()), at).unwrap();
    bed.responder.tick(now(at + 90_000));
    let again = bed.order(&block("192.0.2.8", person()), at + 90_001).unwrap().0;
    assert_eq!((response.ttl_ns, again.ttl_ns), (3_600 * SECOND, 3_600 * SECOND), "a person says for how long");
}

#[test]
fn two_reasons_for_one_subject_end_with_the_later() {
    let mut bed = Bed::new();
    let long = Order { ttl_ns: Some(7_200 * SECOND), ..block("192.0.2.7", person()) };
    bed.order(&block("192.0.2.7", playbook()), 0).unwrap();
    let (by_person, outcome) = bed.order(&long, 1).unwrap();
    assert_eq!((outcome, bed.kernel().len(), bed.responder.shared.read().count()), (Outcome::Begun, 1, 2));
    bed.responder.tick(now(3_600));
    assert_eq!((bed.kernel().len(), bed.responder.shared.read().count()), (1, 1));
    bed.responder.undo(&by_person.id, "op", now(3_700)).unwrap();
    assert!(bed.kernel().is_empty());
    assert!(matches!(bed.responder.undo(&by_person.id, "op", now(3_700)), Err(OrderError::NotFound(_))));
}

#[test]
fn refusals_name_rule_and_remedy_and_are_audited() {
    let mut bed = Bed::new();
    let said = |outcome: Result<(Response, Outcome), OrderError>| outcome.unwrap_err().to_string();
    let unproven = Order { proof: Proof::None, ..block("192.0.2.7", playbook()) };
    for (order, words) in [
        (block("10.9.1.1", person()), "meets 10.9.0.0/16 (a test), which is on the allow-list"),
        (unproven, "rate_limit on the packets' signature"),
        (Order { ttl_ns: Some(u64::MAX), ..block("192.0.2.7", person()) }, "everything ends within"),
    ] {
        assert!(said(bed.order(&order, 0)).contains(words));
    }
    assert!(bed.kernel().is_empty());
    assert_eq!(bed.audit(), [Event::Refused; 3]);
    let unknown = Order { protocol: "teleport".into(), ..block("192.0.2.7", person()) };
    assert!(said(bed.order(&unknown, 0)).starts_with("protocol teleport not found"));
    let mut bed = Bed::with(Settings::default(), None);
    assert!(said(bed.order(&block("192.0.2.7", person()), 0)).contains("no inline pair is configured"));
    assert_eq!(bed.audit(), [Event::Refused]);
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let mut bed = Bed::new();
    let dry = Order { mode: Mode::DryRun, ..block("192.0.2.7", person()) };
    let (response, outcome) = bed.order(&dry, 0).unwrap();
    assert_eq!((outcome, response.verdicts.len()), (Outcome::WouldDo, 1));
    assert!(bed.kernel().is_empty() && bed.responder.shared.read().count() == 0);
    let refused = Order { mode: Mode::DryRun, ..block("10.0.0.1", person()) };
    assert!(matches!(bed.order(&refused, 0), Err(OrderError::Refused(_))));
    assert_eq!(bed.audit(), [Event::WouldDo, Event::Refused]);
}

#[test]
fn a_proposal_waits_for_one_click_or_lapses() {
    let mut bed = Bed::new();
    let propose = |host: &str| Order { mode: Mode::Propose, ..block(host, playbook()) };
    let ids: Vec<Id> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        .map(|host| {
            let (response, outcome) = bed.order(&propose(host), 0).unwrap();
            assert_eq!((outcome, response.state()), (Outcome::Proposed, "proposed"));
            response.id
        })
        .into();
    assert_eq!(bed.order(&propose("192.0.2.1"), 5).unwrap().1, Outcome::Already);
    assert!(bed.kernel().is_empty());
    let mut bed = bed.restart(10);
    let accepted = bed.responder.accept(&ids[0], "op", now(20)).unwrap();
    assert_eq!(
        (accepted.state(), accepted.who.clone(), accepted.playbook.as_deref()),
        ("enforced", person(), Some("guesses"))
    );
    assert_eq!(accepted.until, Timestamp(BEGIN + 3_620 * SECOND), "its time begins when it is accepted");
    assert!(matches!(bed.responder.accept(&ids[0], "op", now(21)), Err(OrderError::Conflict(_))));
    bed.responder.undo(&ids[1], "op", now(22)).unwrap();
    bed.responder.tick(now(3_600));
    assert!(matches!(bed.responder.accept(&ids[2], "op", now(3_601)), Err(OrderError::NotFound(_))));
    assert_eq!(bed.kernel(), ["192.0.2.1"]);
    use Event::{Accepted, Applied, Lapsed, Proposed, Rejected};
    assert_eq!(bed.audit(), [Proposed, Proposed, Proposed, Accepted, Applied, Rejected, Lapsed]);
}

#[test]
fn the_brake_takes_automatic_blocks_back_and_no_others() {
    let brake = BrakeSettings { flows: 2, ..BrakeSettings::default() };
    let mut bed = Bed::with(Settings { brake, ..Settings::default() }, Some(Maps::default()));
    bed.order(&block("192.0.2.1", playbook()), 0).unwrap();
    bed.order(&block("192.0.2.2", person()), 0).unwrap();
    bed.responder.observe(Observed { flows: 1, ..Observed::default() }, now(1));
    assert_eq!(bed.kernel().len(), 2);
    bed.responder.observe(Observed { flows: 1, ..Observed::default() }, now(2));
    assert_eq!(bed.kernel(), ["192.0.2.2"]);
    let refused = bed.order(&block("192.0.2.3", playbook()), 3).unwrap_err();
    assert!(matches!(&refused, OrderError::Refused(refusal) if refusal.rule == "brake"), "{refused}");
    bed.responder.observe(Observed::default(), now(4));
    // Quiet once what put it on lies behind the window.
    bed.responder.observe(Observed::default(), now(70));
    bed.responder.observe(Observed::default(), now(669));
    assert!(bed.order(&block("192.0.2.3", playbook()), 669).is_err());
    bed.responder.observe(Observed::default(), now(700));
    assert!(bed.order(&block("192.0.2.3", playbook()), 701).is_ok());
    let events = bed.audit();
    assert!(events.contains(&Event::BrakeOn) && events.contains(&Event::Undone) && events.contains(&Event::BrakeOff));
}

#[test]
fn what_meets_the_list_later_is_taken_back() {
    let mut bed = Bed::new();
    bed.order(&block("192.0.2.1", person()), 0).unwrap();
    bed.order(&block("192.0.2.2", person()), 0).unwrap();
    let longer = AllowList::new([("192.0.2.1".parse().unwrap(), "mine by now".to_owned())], []);
    bed.responder.allow_only(longer, now(1));
    assert_eq!(bed.kernel(), ["192.0.2.2"]);
    assert_eq!(bed.audit().last(), Some(&Event::Undone));
}

#[test]
fn what_acts_once_acts_once_about_the_same() {
    struct Nothing;
    impl Once for Nothing {
        fn run(&self) -> Result<String, String> {
            Ok("done".into())
        }
    }
    struct Act;
    impl crate::control::respond::protocols::Protocol for Act {
        fn name(&self) -> &'static str {
            "act"
        }
        fn about(&self) -> &'static str {
            "Acts."
        }
        fn template(&self) -> serde_json::Value {
            json!({})
        }
        fn plan(
            &self,
            parameters: &serde_json::Value,
        ) -> Result<crate::control::respond::protocols::Planned, crate::control::respond::protocols::ProtocolError>
        {
            let work = crate::control::respond::protocols::Work::Once(Box::new(Nothing));
            Ok(crate::control::respond::protocols::Planned { parameters: parameters.clone(), work })
        }
    }
    let mut bed = Bed::with(Settings::default(), None);
    bed.responder.register_for_tests(Arc::new(Act));
    let order = Order { protocol: "act".into(), ..block("192.0.2.7", playbook()) };
    let (response, outcome) = bed.order(&order, 0).unwrap();
    assert_eq!((outcome, response.stage, bed.handed.lock().unwrap().len()), (Outcome::Begun, Stage::Running, 1));
    assert_eq!(bed.order(&order, 1).unwrap().1, Outcome::Already);
    bed.responder.acted(response.id, Ok("done".into()), now(2));
    let (again, outcome) = bed.order(&order, 3).unwrap();
    assert_eq!((outcome, again.state(), again.outcome.as_deref()), (Outcome::Already, "done", Some("done")));
    assert_eq!(bed.handed.lock().unwrap().len(), 1);
    bed.responder.acted(response.id, Err("no".into()), now(4));
    assert_eq!(bed.order(&order, 5).unwrap().1, Outcome::Begun, "what failed may be tried again");
    let mut bed = bed.restart(6);
    assert_eq!(bed.responder.shared.read().count(), 0, "what was not done is not done by itself after a restart");
    assert_eq!(bed.audit().last(), Some(&Event::Failed));
    bed.responder.tick(now(7));
}

#[test]
fn proposals_beyond_their_number_give_way() {
    let mut bed = Bed::new();
    for at in 0..1_003_u32 {
        let host = std::net::Ipv4Addr::from(0xc600_0000 + at).to_string();
        let proposal = Order { mode: Mode::Propose, ..block(&host, playbook()) };
        assert_eq!(bed.order(&proposal, u64::from(at)).unwrap().1, Outcome::Proposed);
    }
    let set = Arc::clone(&bed.responder.shared);
    assert_eq!(set.read().of_stage(Stage::Proposed).0, 1_000);
    let earliest = set.read().after(None).map(|one| one.begun).min();
    assert_eq!(earliest, Some(Timestamp(BEGIN + 3 * SECOND)), "those that lapse first went");
    let lapsed = disk::audit_page(&bed.folder.path().join("r.db"), None, None, 9).unwrap().0;
    assert!(lapsed.iter().any(|row| row.event == Event::Lapsed && row.result.contains("newer ones took its place")));
}

/// A playbook's answer is in the kernel before it is on the disk; where the disk takes it not, it is taken out again.
#[test]
fn what_the_disk_does_not_take_of_a_playbook_does_not_stay() {
    let mut bed = Bed::new();
    bed.order(&block("192.0.2.1", playbook()), 0).expect("allowed");
    let (digest, calls) = (bed.digest(), bed.maps().calls.load(std::sync::atomic::Ordering::Relaxed));
    let other = rusqlite::Connection::open(bed.folder.path().join("r.db")).expect("a file");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let refused = bed.order(&block("192.0.2.2", playbook()), 1);
    assert!(refused.is_err(), "{refused:?}");
    assert!(bed.maps().calls.load(std::sync::atomic::Ordering::Relaxed) >= calls + 2, "it was there");
    assert_eq!((bed.kernel().len(), bed.digest()), (1, digest), "and what was there before still is");
    other.execute_batch("ROLLBACK").expect("it was begun");
    bed.order(&block("192.0.2.2", playbook()), 2).expect("allowed");
    assert_eq!(bed.kernel().len(), 2);
    let bed = bed.restart(3);
    assert_eq!(bed.kernel().len(), 2);
}
