//! Prefixes within each other: the kernel asks the longest alone, and a block stays one.

use super::*;
use crate::control::respond::intended::{ResponseState, Stage};
use crate::control::respond::kernel::Found;
use crate::control::respond::prefix::Prefix;
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::{Action, Rule, Side, Subject};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn isolate(host: &str, allow: &[&str]) -> Order {
    let parameters = json!({ "addresses": [host], "allow": allow });
    Order { protocol: "isolate_host".into(), parameters, ..block("", person()) }
}

fn limit(prefix: &str, per_second: u32) -> Order {
    let parameters = json!({ "prefix": prefix, "per_second": per_second });
    Order { protocol: "rate_limit".into(), parameters, ..block("", person()) }
}

fn for_seconds(order: Order, seconds: u64) -> Order {
    Order { ttl_ns: Some(seconds * SECOND), ..order }
}

/// What the kernel does with a prefix, and the second of its end.
fn given(bed: &Bed, prefix: &str) -> Option<(Action, Side, u64)> {
    let prefix: Prefix = prefix.parse().unwrap();
    let found = bed.maps().meddle(|entries| entries.get(&Subject::Prefix(prefix.first(), prefix.bits())).copied());
    found.map(|(rule, _)| (rule.action, rule.side, (rule.until_ns - KERNEL) / SECOND))
}

#[test]
fn what_isolated_hosts_may_reach_stays_blocked_whichever_came_first() {
    let orders = [block("198.51.100.0/24", person()), isolate("192.0.2.200", &["198.51.100.0/28"])];
    for turn in [[0, 1], [1, 0]] {
        let mut bed = Bed::new();
        let ids = turn.map(|which| bed.order(&orders[which], 0).unwrap().0.id);
        let blocked = Some((Action::Drop, Side::Both, 3_600));
        assert_eq!(given(&bed, "198.51.100.0/28"), blocked, "{turn:?}");
        assert_eq!(given(&bed, "192.0.2.200"), Some((Action::Isolate, Side::Both, 3_600)), "it lies elsewhere");
        let shared = Arc::clone(&bed.responder.shared);
        assert_eq!(shared.look(|| now(1)), Found::default(), "what the kernel has is what it was given");
        let digest = bed.digest();
        bed.maps().meddle(|entries| entries.clear());
        let mut bed = bed.restart(2);
        assert_eq!((given(&bed, "198.51.100.0/28"), bed.digest()), (blocked, digest));
        let block = ids[turn.iter().position(|which| *which == 0).unwrap()];
        bed.responder.undo(&block, "op", now(3)).unwrap();
        assert_eq!(given(&bed, "198.51.100.0/28"), Some((Action::Pass, Side::Both, 3_600)), "reachable again");
        assert_eq!(given(&bed, "198.51.100.0/24"), None);
    }
}

#[test]
fn a_limit_within_a_block_limits_when_the_block_is_gone() {
    let mut bed = Bed::new();
    let limited = bed.order(&for_seconds(limit("192.0.2.7", 5), 7_200), 0).unwrap().0.id;
    let own = Some((Action::Limit { per_second: 5, burst: 5 }, Side::Source, 7_200));
    assert_eq!(given(&bed, "192.0.2.7"), own);
    let network = bed.order(&block("192.0.2.0/24", person()), 0).unwrap().0.id;
    // The later end of both: whoever dies after the block's lets nothing pass that it dropped.
    assert_eq!(given(&bed, "192.0.2.7"), Some((Action::Drop, Side::Both, 7_200)));
    let longer = bed.order(&for_seconds(block("192.0.2.0/24", person()), 9_000), 0).unwrap();
    assert_eq!((longer.0.id, longer.1), (network, Outcome::Extended));
    assert_eq!(given(&bed, "192.0.2.7"), Some((Action::Drop, Side::Both, 9_000)), "it is told of that");
    bed.responder.undo(&network, "op", now(1)).unwrap();
    assert_eq!(given(&bed, "192.0.2.7"), own);
    bed.order(&block("192.0.2.0/24", person()), 2).unwrap();
    bed.responder.undo(&limited, "op", now(3)).unwrap();
    assert_eq!((given(&bed, "192.0.2.7"), bed.kernel()), (None, vec!["192.0.2.0/24".to_owned()]));
    bed.order(&limit("192.0.2.7", 5), 4).unwrap();
    bed.responder.tick(now(3_602));
    assert_eq!(given(&bed, "192.0.2.7").unwrap().0, Action::Limit { per_second: 5, burst: 5 }, "the block has ended");
}

#[test]
fn sides_and_rates_are_joined_and_families_are_apart() {
    let mut bed = Bed::new();
    let outgoing = |prefix: &str| {
        let parameters = json!({ "prefix": prefix, "direction": "destination" });
        Order { parameters, ..block("", person()) }
    };
    bed.order(&outgoing("192.0.2.0/25"), 0).unwrap();
    bed.order(&limit("192.0.2.0/24", 10), 0).unwrap();
    bed.order(&limit("192.0.2.200", 1_000), 0).unwrap();
    bed.order(&limit("2001:db8:1::/64", 7), 0).unwrap();
    bed.order(&isolate("192.0.3.1", &["192.0.2.240/28"]), 0).unwrap();
    let limited = |per_second| Some((Action::Limit { per_second, burst: per_second }, Side::Source, 3_600));
    assert_eq!(
        given(&bed, "192.0.2.0/25"),
        Some((Action::Drop, Side::Both, 3_600)),
        "no source is let go of its limit"
    );
    assert_eq!(given(&bed, "192.0.2.200"), limited(10), "the lower rate");
    assert_eq!(given(&bed, "192.0.2.240/28"), limited(10), "an exception is judged as if it were not there");
    assert_eq!((given(&bed, "192.0.2.0/24"), given(&bed, "2001:db8:1::/64")), (limited(10), limited(7)));
}

/// Networks within each other, put in by one order, have what lies within told once and not once each.
#[test]
fn what_lies_within_many_is_told_once_a_change() {
    let mut bed = Bed::new();
    for host in 0..64 {
        bed.order(&limit(&format!("192.0.2.{host}"), 5), 0).unwrap();
    }
    let networks: Vec<String> = (8..26).map(|bits| Prefix::around([192, 0, 2, 0].into(), bits).to_string()).collect();
    let verdicts: Vec<Verdict> =
        networks.iter().map(|text| verdict(text.parse().unwrap(), Action::Drop, Side::Both)).collect();
    let shared = Arc::clone(&bed.responder.shared);
    shared.write().put(response(0, &verdicts, 10));
    assert_eq!(shared.write().take_dirty(10_000).len(), networks.len() + 64);
    shared.write().remove(&Id(0));
    assert_eq!(shared.write().take_dirty(10_000).len(), networks.len() + 64);
}

fn verdict(prefix: Prefix, action: Action, side: Side) -> Verdict {
    Verdict { subject: Subject::Prefix(prefix.first(), prefix.bits()), action, side }
}

fn response(id: u128, verdicts: &[Verdict], until: u64) -> Response {
    Response {
        id: Id(id),
        protocol: "block_ip".into(),
        parameters: json!({}),
        who: person(),
        playbook: None,
        why: "a test".into(),
        evidence: Vec::new(),
        proof: Proof::None,
        begun: now(0).wall,
        until: now(until).wall,
        ttl_ns: SECOND,
        repeats: 0,
        stage: Stage::InForce,
        outcome: None,
        verdicts: verdicts.to_vec(),
        kernel: ResponseState::default(),
    }
}

fn prefix_of(verdict: &Verdict) -> Prefix {
    let Subject::Prefix(first, bits) = verdict.subject else { panic!("no prefix") };
    Prefix::around(first, bits)
}

/// How much an action drops; by itself, so that the order in the program is not compared with itself.
fn rank(action: Action) -> usize {
    let is = |at: &usize| match action {
        Action::Pass | Action::Shunt => *at == 0,
        Action::Limit { .. } => *at == 1,
        Action::Isolate => *at == 2,
        Action::Drop => *at == 3,
    };
    (0..4).find(is).unwrap()
}

fn is_about(side: Side, of_destination: bool) -> bool {
    side == Side::Both || (side == Side::Destination) == of_destination
}

/// As `src/bpf/verdict.h` has it: the longest prefix round the address, if it is about that side and its end has not come.
fn judged(kernel: &[(Prefix, Rule)], address: IpAddr, of_destination: bool, now_ns: u64) -> Option<Rule> {
    let round = kernel.iter().filter(|(prefix, _)| prefix.holds(address));
    let (_, rule) = round.max_by_key(|(prefix, _)| prefix.bits())?;
    (is_about(rule.side, of_destination) && now_ns < rule.until_ns).then_some(*rule)
}

/// What the kernel is to have of a subject, by looking at everything: rule and end.
fn wanted(plain: &BTreeMap<Id, Response>, subject: Prefix) -> Option<(Action, Side, Timestamp)> {
    let of = |prefix: Prefix| {
        let all = plain.values().flat_map(|one| one.verdicts.iter().map(|verdict| (*verdict, one.until)));
        let same = all.filter(|(verdict, _)| prefix_of(verdict) == prefix);
        same.reduce(|(one, until), (other, later)| (one.with(&other), until.max(later)))
    };
    let (own, own_until) = of(subject)?;
    let mut sum = (own.action, own.side, own_until);
    for bits in (0..subject.bits()).filter(|_| (own.action, own.side) != (Action::Drop, Side::Both)) {
        let Some((cover, until)) = of(Prefix::around(subject.first(), bits)) else { continue };
        if cover.action == Action::Pass {
            continue;
        }
        let one = Verdict { action: sum.0, side: sum.1, ..own };
        let both = if sum.0 == Action::Pass { cover } else { one.with(&cover) };
        sum = (both.action, both.side, sum.2.max(until));
    }
    Some(sum)
}

fn some_verdict() -> impl Strategy<Value = Verdict> {
    let action = prop_oneof![
        3 => Just(Action::Drop),
        1 => Just(Action::Isolate),
        3 => (1..5_u32, 1..5_u32).prop_map(|(per_second, burst)| Action::Limit { per_second, burst }),
        2 => Just(Action::Pass),
    ];
    let side = prop_oneof![Just(Side::Source), Just(Side::Destination), Just(Side::Both), Just(Side::Both)];
    (any::<bool>(), 0..16_u8, 0..6_usize, action, side).prop_map(|(six, host, length, action, side)| {
        let prefix = match six {
            false => Prefix::around([192, 0, 2, host].into(), [8, 24, 28, 30, 31, 32][length]),
            true => Prefix::around(address(true, host), [0, 64, 124, 126, 127, 128][length]),
        };
        verdict(prefix, action, side)
    })
}

fn address(six: bool, host: u8) -> IpAddr {
    let text = if six { format!("2001:db8::{host:x}") } else { format!("192.0.2.{host}") };
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against everything there is, looked through one by one, after every change: nothing that some prefix round an address asks for
    /// is taken back by a longer one, and nobody keeps what no longer lies round him.
    #[test]
    fn no_longer_prefix_takes_back_what_a_shorter_one_drops(
        steps in proptest::collection::vec(
            (0..6_u128, proptest::collection::vec(some_verdict(), 0..5), 10..50_u64, 0..4_u8), 1..16)
    ) {
        let maps = Arc::new(Maps::default());
        let shared = Shared::new(Some(Arc::clone(&maps) as Arc<dyn Enforcer>));
        let mut plain: BTreeMap<Id, Response> = BTreeMap::new();
        for (id, mut verdicts, until, what) in steps {
            verdicts.sort_by_key(|verdict| verdict.subject);
            verdicts.dedup_by_key(|verdict| verdict.subject);
            if what == 0 {
                plain.remove(&Id(id));
                shared.write().remove(&Id(id));
            } else {
                let one = response(id, &verdicts, until);
                plain.insert(one.id, one.clone());
                shared.write().put(one);
            }
            shared.apply(now(0));
            let kernel: Vec<(Prefix, Rule)> = maps.meddle(|entries| {
                let prefix = |subject: &Subject| prefix_of(&Verdict { subject: *subject, action: Action::Drop, side: Side::Both });
                entries.iter().map(|(subject, (rule, _))| (prefix(subject), *rule)).collect()
            });
            for (prefix, rule) in &kernel {
                let (action, side, until) = wanted(&plain, *prefix).expect("nobody asked for it");
                prop_assert_eq!((rule.action, rule.side, rule.until_ns), (action, side, now(0).kernel(until)), "{}", prefix);
            }
            prop_assert_eq!(shared.look(|| now(0)), Found::default());
            let hosts = (0..16_u8).flat_map(|host| [(false, host), (true, host)]);
            for ((six, host), of_destination) in hosts.flat_map(|host| [(host, false), (host, true)]) {
                let address = address(six, host);
                let judged = judged(&kernel, address, of_destination, now(0).kernel_ns);
                let asked = plain.values().flat_map(|one| &one.verdicts)
                    .filter(|verdict| prefix_of(verdict).holds(address) && is_about(verdict.side, of_destination));
                for verdict in asked {
                    let found = judged.map_or(0, |rule| rank(rule.action));
                    prop_assert!(found >= rank(verdict.action), "{address}: {judged:?} for {verdict:?}");
                    if let (Action::Limit { per_second, burst }, Some(Action::Limit { per_second: rate, burst: most })) =
                        (verdict.action, judged.map(|rule| rule.action))
                    {
                        prop_assert!(rate <= per_second && most <= burst, "{address}: {judged:?} for {verdict:?}");
                    }
                }
            }
        }
    }
}
