//! What goes on in a thread of its own: begun, made longer, ended, put back after a restart, and judged as what it does.

use super::*;
use crate::control::respond::audit::Event;
use crate::control::respond::intended::Stage;
use crate::control::respond::protocols::{Lasting, Planned, Protocol, ProtocolError, Work};
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::{Action, Side, Subject};
use serde_json::Value;

/// What became of it: begun or made longer until then, ended.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Did {
    Until(u64),
    Ended,
}

#[derive(Clone, Default)]
struct Humming(Arc<Mutex<Vec<Did>>>);

impl Protocol for Humming {
    fn name(&self) -> &'static str {
        "hum"
    }
    fn about(&self) -> &'static str {
        "Hums at an address."
    }
    fn template(&self) -> Value {
        json!({})
    }
    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        Ok(Planned { parameters: parameters.clone(), work: Work::Lasting(Box::new(self.clone())) })
    }
    fn judged(&self, parameters: &Value) -> Vec<Verdict> {
        let address = parameters["at"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        vec![Verdict { subject: Subject::Prefix(address, 32), action: Action::Drop, side: Side::Both }]
    }
    fn usual_ttl_ns(&self) -> Option<u64> {
        Some(60 * SECOND)
    }
    fn ended(&self, _: Id) {
        self.0.lock().expect("a list").push(Did::Ended);
    }
}

impl Lasting for Humming {
    fn begin(&self, _: Id, until: Timestamp) -> Result<(), String> {
        self.0.lock().expect("a list").push(Did::Until((until.0 - BEGIN) / SECOND));
        Ok(())
    }
}

fn hum(at: &str, who: Who) -> Order {
    Order { protocol: "hum".into(), parameters: json!({ "at": at }), ..block("192.0.2.1", who) }
}

fn bed() -> (Bed, Humming) {
    // Without a pair: nothing is asked of the kernel.
    let mut bed = Bed::with(Settings::default(), None);
    let humming = Humming::default();
    bed.responder.register_for_tests(Arc::new(humming.clone()));
    (bed, humming)
}

fn did(humming: &Humming) -> Vec<Did> {
    std::mem::take(&mut *humming.0.lock().expect("a list"))
}

#[test]
fn it_lasts_as_long_as_was_asked_and_ends_once() {
    let (mut bed, humming) = bed();
    let (response, outcome) = bed.order(&hum("192.0.2.7", person()), 0).unwrap();
    assert_eq!((response.state(), outcome, did(&humming)), ("running", Outcome::Begun, vec![Did::Until(60)]));
    assert_eq!(bed.order(&hum("192.0.2.7", person()), 0).unwrap().1, Outcome::Already);
    assert_eq!(bed.order(&hum("192.0.2.7", person()), 20).unwrap().1, Outcome::Extended);
    assert_eq!(did(&humming), [Did::Until(80)]);
    bed.responder.tick(now(79));
    assert_eq!(did(&humming), []);
    bed.responder.tick(now(80));
    bed.responder.tick(now(90));
    assert_eq!(did(&humming), [Did::Ended]);
    let (response, _) = bed.order(&hum("192.0.2.7", person()), 100).unwrap();
    bed.responder.undo(&response.id, "op", now(101)).unwrap();
    assert_eq!(did(&humming), [Did::Until(160), Did::Ended]);
    let events = [Event::Requested, Event::Extended, Event::Expired, Event::Requested, Event::Undone];
    assert_eq!(bed.audit(), events);
}

/// What it cuts off is judged as a block of the same would be, whoever asks.
#[test]
fn it_is_judged_by_what_it_does() {
    let (mut bed, humming) = bed();
    let refused = |bed: &mut Bed, order: &Order| match bed.order(order, 0) {
        Err(OrderError::Refused(refusal)) => refusal.rule,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut bed, &hum("10.0.0.1", person())), "allow_list");
    assert_eq!(refused(&mut bed, &Order { proof: Proof::None, ..hum("192.0.2.7", playbook()) }), "proof");
    for host in 0..30 {
        bed.order(&hum(&format!("192.0.2.{host}"), playbook()), 0).unwrap();
    }
    assert_eq!(refused(&mut bed, &hum("192.0.2.99", playbook())), "budget_rate");
    assert_eq!(did(&humming).len(), 30);
    bed.order(&Order { mode: Mode::DryRun, ..hum("192.0.2.98", person()) }, 0).unwrap();
    assert_eq!(did(&humming), []);
    // Who comes onto the list is spared from then on.
    bed.responder.allow_only(AllowList::new([("192.0.2.7".parse().unwrap(), "a test".to_owned())], []), now(1));
    assert_eq!(did(&humming), [Did::Ended]);
}

#[test]
fn what_is_over_stays_so_for_a_playbook_and_begins_anew_for_a_person() {
    let (mut bed, humming) = bed();
    for (who, again) in [(person(), Outcome::Begun), (playbook(), Outcome::Already)] {
        let (response, _) = bed.order(&hum("192.0.2.7", who.clone()), 0).unwrap();
        bed.responder.acted(response.id, Ok("hummed".into()), now(1));
        let shown = bed.responder.shared.read().response(&response.id).cloned().unwrap();
        assert_eq!((shown.stage, shown.outcome.as_deref()), (Stage::Done, Some("hummed")));
        assert_eq!(bed.order(&hum("192.0.2.7", who), 2).unwrap().1, again);
    }
    assert_eq!(did(&humming), [Did::Until(60), Did::Until(62), Did::Until(60)]);
}
