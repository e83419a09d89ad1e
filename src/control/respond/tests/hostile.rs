//! Whoever writes the alerts: nothing on the list is blocked, no budget exceeded, nothing without an end.

use super::*;
use crate::control::respond::desk::Desk;
use crate::control::respond::prefix::Prefix;
use crate::control::respond::safety::{BrakeSettings, Observed, Settings as Limits};
use crate::dataplane::verdict::{Action, Subject};
use proptest::prelude::*;
use std::collections::VecDeque;

const PER_MINUTE: u32 = 5;
const TTL_MAX: u64 = 5_000;
/// Of 2^32: some 430 addresses.
const SHARE: f64 = 1e-7;

#[derive(Clone, Debug)]
enum Step {
    Order(Order),
    Tick,
    Wait(u64),
    Accept(usize),
    Undo(usize),
    Restart,
    Brake,
    Wipe,
}

/// Addresses close to those on the list, and of nobody.
fn address() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 8] =
        ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "255.255.255.255", "127.0.0.1", "::1", "224.0.0.1", "0.0.0.0"];
    prop_oneof![
        proptest::sample::select(KNOWN.as_slice()).prop_map(str::to_owned),
        (0..4_u8, any::<u8>()).prop_map(|(net, host)| format!("10.0.{net}.{host}")),
        (8..11_u8, any::<u8>()).prop_map(|(net, host)| format!("10.{net}.3.{host}")),
        any::<[u8; 4]>().prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
        any::<u16>().prop_map(|low| format!("2001:db8::{low:x}")),
    ]
}

fn prefix() -> impl Strategy<Value = String> {
    (address(), prop_oneof![Just(128_u8), 0..=128_u8, Just(24), Just(16)]).prop_map(|(address, bits)| {
        let address = address.parse().expect("an address");
        Prefix::around(address, bits).to_string()
    })
}

fn order() -> impl Strategy<Value = Order> {
    let parameters = prop_oneof![
        4 => prefix().prop_map(|prefix| ("block_ip", json!({ "prefix": prefix }))),
        1 => proptest::collection::vec(prefix(), 0..5).prop_map(|prefixes| ("block_ip", json!({ "prefixes": prefixes }))),
        1 => (address(), address()).prop_map(|(source, destination)| ("block_flow", json!({
            "source": source, "source_port": 1, "destination": destination, "destination_port": 2, "protocol": "tcp" }))),
        1 => prefix().prop_map(|prefix| ("rate_limit", json!({ "prefix": prefix, "per_second": 1 }))),
        1 => address().prop_map(|to| ("rate_limit", json!({ "destination": to, "protocol": "tcp", "per_second": 1 }))),
        1 => (0..3_u8, address()).prop_map(|(card, host)| ("isolate_host", json!({
            "mac": format!("02:00:00:00:00:{card:02x}"), "addresses": [host] }))),
    ];
    let ttl =
        prop_oneof![Just(None), Just(Some(0)), Just(Some(u64::MAX)), (1..10_000_u64).prop_map(|s| Some(s * SECOND))];
    let who = prop_oneof![3 => Just(playbook()), 1 => Just(Who::Playbook("other".into())), 1 => Just(person())];
    let mode = prop_oneof![4 => Just(Mode::Do), 1 => Just(Mode::Propose), 1 => Just(Mode::DryRun)];
    let proof = prop_oneof![Just(Proof::None), Just(Proof::Handshake), Just(Proof::Payload)];
    (parameters, ttl, who, mode, proof).prop_map(|((protocol, parameters), ttl_ns, who, mode, proof)| Order {
        protocol: protocol.into(),
        parameters,
        ttl_ns,
        who,
        why: "hostile".into(),
        evidence: Vec::new(),
        proof,
        mode,
        patient: false,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => order().prop_map(Step::Order),
        2 => Just(Step::Tick),
        3 => (0..400_u64).prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Accept),
        1 => any::<usize>().prop_map(Step::Undo),
        1 => Just(Step::Restart),
        1 => Just(Step::Brake),
        1 => Just(Step::Wipe),
    ]
}

/// What comes within a second: who is to be blocked and whether by a person, and who sends how many packets.
type Second = (Vec<(u8, bool)>, Vec<(u8, u16)>);

fn second() -> impl Strategy<Value = Second> {
    let orders = proptest::collection::vec((0..6_u8, proptest::bool::weighted(0.1)), 0..3);
    let packets = prop_oneof![Just(0_u16), 0..30_u16, 100..400_u16];
    (orders, proptest::collection::vec((0..8_u8, packets), 0..6))
}

/// Written anew and plainly: what must never be in the kernel.
fn is_forbidden(subject: &Subject) -> bool {
    let hosts = ["10.0.0.1", "2001:db8::1", "127.0.0.1", "::1", "255.255.255.255"];
    let networks = ["10.9.0.0/16", "224.0.0.0/4", "0.0.0.0/8", "ff00::/8"];
    let forbidden: Vec<Prefix> = hosts.iter().chain(&networks).map(|text| text.parse().expect("a prefix")).collect();
    let meets =
        |prefix: Prefix| forbidden.iter().any(|other| other.holds(prefix.first()) || prefix.holds(other.first()));
    match subject {
        Subject::Mac(card) => *card == [2, 0, 0, 0, 0, 1],
        Subject::Flow(flow) => flow.ends().iter().any(|(end, _)| meets(Prefix::host(*end))),
        Subject::Signature(signature) => meets(Prefix::host(signature.destination)),
        Subject::Prefix(first, bits) => meets(Prefix::around(*first, *bits)),
    }
}

fn check(bed: &Bed, at: u64) -> Result<(), TestCaseError> {
    let held =
        bed.maps().meddle(|entries| entries.iter().map(|(subject, (rule, _))| (*subject, *rule)).collect::<Vec<_>>());
    let mut addresses = 0.0;
    for (subject, rule) in held {
        prop_assert!(rule.action == Action::Pass || !is_forbidden(&subject), "{:?}", subject);
        prop_assert!(
            rule.until_ns != 0 && rule.until_ns <= now(at).kernel_ns + TTL_MAX * SECOND,
            "{:?} {:?}",
            subject,
            rule
        );
        if let Subject::Prefix(first, bits) = subject
            && first.is_ipv4()
        {
            addresses += 2_f64.powi(32 - i32::from(bits));
        }
    }
    prop_assert!(addresses <= SHARE * 2_f64.powi(32), "{} addresses", addresses);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever raises which alerts, and whoever sends how much: automatic blocks that dropped more than the share of a whole window are
    /// not in force any more, and were taken back by nobody else.
    #[test]
    fn no_sequence_keeps_blocks_that_drop_more_than_the_share(seconds in proptest::collection::vec(second(), 60..240)) {
        const WINDOW: u64 = 10;
        const SHARE_DROPPED: f64 = 0.25;
        let brake = BrakeSettings {
            flows: 0, assets: 0, share: SHARE_DROPPED, window_ns: WINDOW * SECOND, release_ns: 20 * SECOND,
        };
        let bed = Bed::with(Settings { brake, ..Settings::default() }, Some(Maps::default()));
        let Bed { folder: _folder, maps, responder, .. } = bed;
        let maps = maps.expect("maps");
        let mut desk = Desk::new(responder, Vec::new(), Vec::new());
        let of = |host: u8| format!("203.0.113.{host}");
        let (mut seen, mut total) = (VecDeque::new(), 0_u64);
        for (at, (orders, traffic)) in seconds.into_iter().enumerate() {
            let at = at as u64;
            for (host, by_person) in orders {
                let who = if by_person { person() } else { playbook() };
                // What is refused is not the matter here.
                let _ = desk.responder.order(&block(&of(host), who), now(at)).is_ok();
            }
            let mut dropped = 0_u64;
            for (host, packets) in traffic {
                total += u64::from(packets);
                let subject = Subject::Prefix(of(host).parse().expect("an address"), 32);
                let automatic = {
                    let set = desk.responder.shared.read();
                    set.entry(&subject)
                        .is_some_and(|entry| entry.is_held(|id| set.response(id).is_some_and(|one| one.who.is_automatic())))
                };
                let met = (0..packets).filter(|_| maps.hit(&subject, now(at).kernel_ns, 60)).count() as u64;
                dropped += if automatic { met } else { 0 };
            }
            desk.packets(total);
            let found = desk.responder.shared.look(|| now(at));
            prop_assert_eq!(found.dropped, dropped);
            desk.found(&found, now(at));
            seen.push_back((dropped, total));
            if seen.len() > WINDOW as usize + 2 {
                seen.pop_front();
            }
            // Plainly: of the window and the second before it.
            if seen.len() == WINDOW as usize + 2 {
                let before = seen.front().map_or(0, |(_, total)| *total);
                let (dropped, packets) = (seen.iter().skip(1).map(|(dropped, _)| dropped).sum::<u64>(), total - before);
                let automatic = desk.responder.shared.read().after(None).filter(|one| one.who.is_automatic()).count();
                prop_assert!(
                    automatic == 0 || dropped as f64 <= SHARE_DROPPED * packets as f64,
                    "{} of {} at {}, {} in force", dropped, packets, at, automatic
                );
            }
            prop_assert!(desk.responder.brake_since().is_none() || desk.responder.shared.read().after(None).all(|one| !one.who.is_automatic()));
        }
    }

    #[test]
    fn no_sequence_breaks_a_rule(steps in proptest::collection::vec(step(), 1..40)) {
        let limits = Limits {
            automatic_per_minute: PER_MINUTE, ttl_max_ns: TTL_MAX * SECOND, ipv4_share: SHARE, ..Limits::default()
        };
        let mut bed = Bed::with(Settings { limits, ..Settings::default() }, Some(Maps::default()));
        let (mut at, mut begun) = (0, VecDeque::new());
        for step in steps {
            match step {
                Step::Order(order) => {
                    let outcome = bed.order(&order, at);
                    if let Ok((response, outcome)) = &outcome {
                        if order.who.is_automatic() && *outcome == Outcome::Begun {
                            begun.push_back(at);
                            let provable = order.parameters.get("destination").is_none() || order.protocol == "block_flow";
                            prop_assert!(!provable || order.proof != Proof::None, "{:?}", order);
                        }
                        prop_assert!(*outcome != Outcome::Begun || response.until.since(now(at).wall) <= TTL_MAX * SECOND);
                    }
                }
                Step::Tick => bed.responder.tick(now(at)),
                Step::Wait(seconds) => at += seconds,
                Step::Accept(which) | Step::Undo(which) => {
                    let ids: Vec<Id> = bed.responder.shared.read().after(None).map(|one| one.id).collect();
                    if let Some(id) = ids.get(which % ids.len().max(1)) {
                        // Whether it can be accepted is not the matter here.
                        let _ = match step {
                            Step::Accept(_) => bed.responder.accept(id, "op", now(at)).is_ok(),
                            _ => bed.responder.undo(id, "op", now(at)).is_ok(),
                        };
                    }
                }
                Step::Restart => bed = bed.restart(at),
                Step::Brake => bed.responder.observe(Observed { flows: 100, ..Observed::default() }, now(at)),
                Step::Wipe => {
                    bed.maps().meddle(|entries| entries.clear());
                    bed.responder.shared.look(|| now(at));
                }
            }
            while begun.front().is_some_and(|begun| at - begun >= 60) {
                begun.pop_front();
            }
            prop_assert!(begun.len() <= PER_MINUTE as usize, "{:?}", begun);
            check(&bed, at)?;
        }
        bed.responder.tick(now(at + TTL_MAX + 1));
        prop_assert!(bed.kernel().is_empty(), "everything ends");
    }
}
