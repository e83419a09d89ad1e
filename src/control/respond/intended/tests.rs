//! The set against what it promises, and through the file.

use super::super::audit::{Event, Row};
use super::super::disk::{Change, Disk, audit_page};
use super::super::safety::Who;
use super::*;
use crate::dataplane::verdict::Side;
use proptest::prelude::*;
use serde_json::json;

fn prefix(text: &str) -> Verdict {
    let prefix: super::super::prefix::Prefix = text.parse().unwrap();
    Verdict { subject: Subject::Prefix(prefix.first(), prefix.bits()), action: Action::Drop, side: Side::Source }
}

fn response(name: &str, who: Who, verdicts: &[Verdict], until: u64) -> Response {
    let parameters = json!({ "name": name });
    Response {
        id: Id::of("block_ip", &parameters, &who),
        protocol: "block_ip".into(),
        parameters,
        who,
        playbook: None,
        why: "a test".into(),
        evidence: Vec::new(),
        proof: Default::default(),
        begun: Timestamp(SECOND),
        until: Timestamp(until * SECOND),
        ttl_ns: SECOND,
        repeats: 0,
        stage: Stage::InForce,
        outcome: None,
        verdicts: verdicts.to_vec(),
        kernel: ResponseState::default(),
    }
}

fn person() -> Who {
    Who::Person("op".into())
}

#[test]
fn the_same_lasts_longer_and_is_no_second_one() {
    let mut set = Intended::default();
    let verdicts = [prefix("192.0.2.7"), prefix("198.51.100.0/24")];
    set.put(response("a", person(), &verdicts, 10));
    set.put(response("a", Who::Person("another".into()), &verdicts, 20));
    assert_eq!((set.count(), set.subjects(), set.in_force(Timestamp(0), false).addresses), (1, 2, [257, 0]));
    let entry = set.entry(&verdicts[0].subject).unwrap();
    assert_eq!((entry.until, entry.holders.len()), (Timestamp(20 * SECOND), 1));
    assert!(set.due(Timestamp(19 * SECOND)).is_empty());
    let due = set.due(Timestamp(20 * SECOND));
    assert_eq!(due.len(), 1);
    set.take_dirty(100);
    assert!(set.remove(&due[0]).is_some() && set.remove(&due[0]).is_none());
    assert_eq!((set.subjects(), set.in_force(Timestamp(0), false).addresses), (0, [0, 0]));
    assert_eq!(set.take_dirty(100).len(), 2, "the kernel is told");
}

#[test]
fn a_subject_of_two_is_free_when_the_later_has_ended() {
    let mut set = Intended::default();
    let drop_all = prefix("192.0.2.7");
    let limit = Verdict { action: Action::Limit { per_second: 5, burst: 5 }, ..drop_all };
    let (one, two) = (response("a", person(), &[drop_all], 10), response("b", person(), &[limit], 20));
    set.put(one.clone());
    set.put(two.clone());
    let entry = set.entry(&drop_all.subject).unwrap();
    assert_eq!(
        (entry.verdict.action, entry.until),
        (Action::Drop, Timestamp(20 * SECOND)),
        "the stricter, until the later"
    );
    assert_eq!(set.in_force(Timestamp(0), false).addresses, [1, 0], "one address, however many hold it");
    set.take_dirty(100);
    set.remove(&one.id);
    assert_eq!(set.entry(&drop_all.subject).unwrap().verdict, limit);
    assert_eq!(set.take_dirty(100), [drop_all.subject]);
    set.remove(&two.id);
    assert!(set.entry(&drop_all.subject).is_none());
}

#[test]
fn automatic_beginnings_are_counted_for_a_minute() {
    let mut set = Intended::default();
    [1, 30, 55].into_iter().for_each(|begun| set.count_begun(Timestamp(begun * SECOND)));
    set.put(response("d", person(), &[prefix("192.0.2.8")], 500));
    let recent = |second: u64| set.in_force(Timestamp(second * SECOND), false).automatic_last_minute;
    assert_eq!([60, 61, 89, 90, 114, 115].map(recent), [3, 2, 2, 1, 1, 0]);
}

#[test]
fn what_is_put_on_the_disk_comes_back_with_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.db");
    let (mut disk, found, _) = Disk::open(&path, 3).unwrap();
    assert!(found.is_empty());
    let mut set = Intended::default();
    for (name, until) in [("a", 10), ("b", 20), ("c", 30)] {
        set.put(response(name, person(), &[prefix("192.0.2.7")], until));
    }
    let put: Vec<_> = set.after(None).collect();
    let rows =
        |count: u64| (0..count).map(|at| Row::own(Event::Lost, Timestamp(at * SECOND), "x", at.to_string())).collect();
    disk.write(&Change { put, audit: rows(5), ..Change::default() }).unwrap();
    let gone = response("b", person(), &[], 0).id;
    set.remove(&gone);
    let remember = vec![(gone, Timestamp(20 * SECOND), 3)];
    disk.write(&Change { remove: vec![gone], remember, audit: rows(1), ..Change::default() }).unwrap();
    drop(disk);
    let (disk, found, unreadable) = Disk::open(&path, 3).unwrap();
    assert_eq!((found.len(), unreadable), (2, 0));
    let mut again = Intended::default();
    found.into_iter().map(|one| Response { verdicts: vec![prefix("192.0.2.7")], ..one }).for_each(|one| again.put(one));
    assert_eq!((again.digest(), again.digest().len()), (set.digest(), 64));
    again.put(response("a", person(), &[prefix("192.0.2.7")], 11));
    assert_ne!(again.digest(), set.digest(), "another end is another set");
    let repeats = |since: u64| disk.repeats(&gone, Timestamp(since * SECOND)).unwrap();
    assert_eq!((repeats(20), repeats(21)), (Some(3), None));
    let (page, more) = audit_page(&path, None, None, 2).unwrap();
    assert_eq!((page.iter().map(|row| row.sequence).collect::<Vec<_>>(), more), (vec![6, 5], true));
    let (page, more) = audit_page(&path, Some(5), None, 2).unwrap();
    assert_eq!((page[0].sequence, page.len(), more), (4, 1, false), "three are kept, the earliest went");
}

#[test]
fn other_files_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("other.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let message = Disk::open(&foreign, 1).err().unwrap().to_string();
    assert!(message.contains("something else") && message.contains("[respond]"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a plain list of who holds what: rule, end and sums of every subject, whatever comes in whatever order.
    #[test]
    fn the_set_is_what_its_responses_come_to(
        steps in proptest::collection::vec((0..4_u8, proptest::collection::vec(0..6_u8, 0..4), 1..50_u64, any::<bool>(), any::<bool>()), 1..40)
    ) {
        let mut set = Intended::default();
        let mut plain: BTreeMap<Id, Response> = BTreeMap::new();
        for (name, hosts, until, put, limits) in steps {
            let mut verdicts: Vec<Verdict> = hosts.iter().map(|host| prefix(&format!("192.0.2.{host}"))).collect();
            verdicts.sort_by_key(|verdict| verdict.subject);
            verdicts.dedup();
            if limits {
                verdicts.iter_mut().for_each(|verdict| verdict.action = Action::Limit { per_second: until as u32, burst: 1 });
            }
            let one = response(&name.to_string(), person(), &verdicts, until);
            if put {
                plain.insert(one.id, one.clone());
                set.put(one);
            } else {
                plain.remove(&one.id);
                set.remove(&one.id);
            }
            let mut sum = 0;
            for host in 0..6 {
                let subject = prefix(&format!("192.0.2.{host}")).subject;
                let held = |one: &&Response| one.verdicts.iter().any(|verdict| verdict.subject == subject);
                let all: Vec<&Response> = plain.values().filter(held).collect();
                let wanted = all.iter().flat_map(|one| &one.verdicts).filter(|verdict| verdict.subject == subject)
                    .copied().reduce(|one, other| one.with(&other));
                let entry = set.entry(&subject);
                prop_assert_eq!(entry.map(|entry| entry.verdict), wanted);
                prop_assert_eq!(entry.map(|entry| entry.until), all.iter().map(|one| one.until).max());
                sum += u64::from(entry.is_some());
            }
            prop_assert_eq!(set.in_force(Timestamp(0), false).addresses, [sum, 0]);
            prop_assert_eq!(set.subjects() as u64, sum);
        }
    }
}
