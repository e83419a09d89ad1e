//! Set and kernel: what vanishes, changes, is foreign or finds no room.

use super::*;
use crate::control::respond::kernel::Found;
use crate::dataplane::verdict::{Action, Subject};

fn many(count: u32) -> Order {
    let prefixes: Vec<String> = (0..count).map(|at| std::net::Ipv4Addr::from(0xc600_0000 + at).to_string()).collect();
    Order { parameters: json!({ "prefixes": prefixes }), ..block("", person()) }
}

#[test]
fn what_the_kernel_lost_or_changed_is_put_back_and_told() {
    let mut bed = Bed::new();
    let id = bed.order(&many(10), 0).unwrap().0.id;
    let shared = Arc::clone(&bed.responder.shared);
    assert_eq!(shared.look(|| now(1)), Found::default());
    let since = |set: &Shared| set.read().response(&id).unwrap().kernel.enforced_since;
    assert_eq!(since(&shared), Some(now(0).wall));
    let foreign = Subject::Prefix([203, 0, 113, 9].into(), 32);
    bed.maps().meddle(|entries| {
        let mut subjects: Vec<Subject> = entries.keys().copied().collect();
        subjects.sort();
        entries.remove(&subjects[0]);
        entries.get_mut(&subjects[1]).unwrap().0.action = Action::Pass;
        entries.get_mut(&subjects[2]).unwrap().0.until_ns = 0;
        let rule = entries[&subjects[3]];
        entries.insert(foreign, rule);
    });
    let found = shared.look(|| now(2));
    assert_eq!((found.missing, found.changed, found.foreign, found.error.clone()), (1, 2, 1, None));
    assert!(found.is_alarm() && found.named.len() == 4, "{found:?}");
    assert!(!bed.kernel().contains(&"203.0.113.9".to_owned()));
    assert!(
        bed.maps().meddle(|entries| entries.values().all(|(rule, _)| rule.action == Action::Drop && rule.until_ns > 0))
    );
    assert_eq!(since(&shared), Some(now(2).wall), "without a break since then");
    assert_eq!(shared.look(|| now(3)), Found::default(), "said once");
}

#[test]
fn hits_are_told_by_response_and_those_of_automatic_blocks_counted() {
    let mut bed = Bed::new();
    let ids = [(person(), "192.0.2.1"), (playbook(), "192.0.2.2")]
        .map(|(who, host)| bed.order(&block(host, who), 0).unwrap().0);
    for (response, packets) in ids.iter().zip([3, 5]) {
        (0..packets)
            .for_each(|at| assert!(bed.maps().hit(&response.verdicts[0].subject, KERNEL + 7 * SECOND + at, 100)));
    }
    let shared = Arc::clone(&bed.responder.shared);
    assert_eq!(shared.look(|| now(9)).dropped, 5);
    assert_eq!(shared.look(|| now(10)).dropped, 0, "since the look before");
    let kernel = shared.read().response(&ids[0].id).unwrap().kernel.clone();
    assert_eq!((kernel.packets, kernel.bytes, kernel.last_hit), (3, 300, Some(Timestamp(BEGIN + 7 * SECOND + 2))));
    // Lasting longer keeps them.
    bed.order(&block("192.0.2.1", person()), 2_000).unwrap();
    shared.look(|| now(2_001));
    assert_eq!(shared.read().response(&ids[0].id).unwrap().kernel.packets, 3);
    assert!(!bed.maps().hit(&ids[1].verdicts[0].subject, KERNEL + 3_600 * SECOND, 1), "its end is in the kernel");
}

#[test]
fn what_finds_no_room_says_so_and_is_tried_again() {
    let mut bed = Bed::with(Settings::default(), Some(Maps::of(6)));
    let (first, _) = bed.order(&many(5), 0).unwrap();
    let (second, _) =
        bed.order(&Order { parameters: json!({ "prefixes": ["192.0.2.1", "192.0.2.2"] }), ..many(1) }, 1).unwrap();
    assert_eq!((first.state(), second.state()), ("enforced", "failed"));
    assert!(
        second.kernel.reason.as_deref().is_some_and(|reason| reason.contains("raise [respond] prefixes")),
        "{second:?}"
    );
    assert_eq!((second.kernel.enforced, second.kernel.failed), (1, 1));
    let shared = Arc::clone(&bed.responder.shared);
    assert_eq!(shared.look(|| now(2)).recovered, 0);
    bed.responder.undo(&first.id, "op", now(3)).unwrap();
    let found = shared.look(|| now(4));
    assert_eq!((found.recovered, found.is_alarm()), (1, false));
    assert_eq!(shared.read().response(&second.id).unwrap().state(), "enforced");
}

/// A look costs one listing, however many there are, and nothing for what is as it should be.
#[test]
fn many_prefixes_are_written_in_chunks_and_looked_at_in_one() {
    let mut bed = Bed::new();
    let count = 100_000;
    bed.order(&many(count), 0).unwrap();
    let calls = || bed.maps().calls.load(std::sync::atomic::Ordering::Relaxed);
    assert!(calls() <= 2 * u64::from(count) / 1024 + 4, "{} calls", calls());
    let before = calls();
    assert_eq!(bed.responder.shared.look(|| now(1)), Found::default());
    assert_eq!(calls() - before, 1, "the listing");
    bed.maps().meddle(|entries| entries.clear());
    let found = bed.responder.shared.look(|| now(2));
    assert_eq!((found.missing, bed.kernel().len()), (u64::from(count), count as usize));
}
