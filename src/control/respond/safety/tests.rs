//! Every rule says no where it must and nowhere else, in words that name the remedy.

use super::super::words::Verdict;
use super::*;
use crate::dataplane::verdict::{FlowSubject, Side, Signature};
use crate::units::Timestamp;

fn at(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn drop_of(subject: Subject) -> Verdict {
    Verdict { subject, action: Action::Drop, side: Side::Source }
}

fn prefix(text: &str) -> Verdict {
    let prefix: Prefix = text.parse().unwrap();
    drop_of(Subject::Prefix(prefix.first(), prefix.bits()))
}

fn list() -> AllowList {
    let prefixes = ["10.0.0.1", "192.168.5.0/24", "192.168.0.0/16", "2001:db8::1", "198.51.100.0/28"];
    let named = prefixes.map(|text| (text.parse().unwrap(), "a test".to_owned()));
    AllowList::new(named, [([2, 0, 0, 0, 0, 1], "a gateway".to_owned())])
}

fn asked(who: &Who, verdicts: &[Verdict], proof: Proof) -> Result<(), Refusal> {
    let ask = Ask { who, verdicts, ttl_ns: 60 * SECOND, proof, extends: false };
    judge(&ask, &list(), &InForce::default(), &Settings::default())
}

fn person() -> Who {
    Who::Person("op".into())
}

fn playbook() -> Who {
    Who::Playbook("guesses".into())
}

#[test]
fn everybody_is_held_to_the_list_and_to_hosts_addresses() {
    let signature =
        |to: &str| Subject::Signature(Signature { destination: at(to), protocol: 6, port: 80, only_syn: true });
    let flow = |one: &str, other: &str| Subject::Flow(FlowSubject::new((at(one), 1), (at(other), 2), 6));
    for (verdict, rule) in [
        (prefix("203.0.113.7"), None),
        (prefix("203.0.113.0/24"), None),
        (prefix("2001:db8::2"), None),
        (prefix("10.0.0.1"), Some("allow_list")),
        (prefix("10.0.0.0/24"), Some("allow_list")),
        (prefix("192.168.5.7"), Some("allow_list")),
        (prefix("192.168.77.0/24"), Some("allow_list")),
        (prefix("198.51.100.15"), Some("allow_list")),
        (prefix("198.51.100.16"), None),
        (prefix("::ffff:10.0.0.1"), Some("allow_list")),
        (prefix("2001:db8::/64"), Some("allow_list")),
        (prefix("127.0.0.1"), Some("special_address")),
        (prefix("255.255.255.255"), Some("special_address")),
        (prefix("0.0.0.0/0"), Some("special_address")),
        (prefix("224.0.0.251"), Some("special_address")),
        (prefix("::1"), Some("special_address")),
        (prefix("::/0"), Some("special_address")),
        (prefix("ff02::1"), Some("special_address")),
        (prefix("fe80::1"), Some("special_address")),
        (prefix("64.0.0.0/7"), Some("prefix_length")),
        (prefix("2a00::/16"), Some("prefix_length")),
        (drop_of(Subject::Mac([2, 0, 0, 0, 0, 9])), None),
        (drop_of(Subject::Mac([2, 0, 0, 0, 0, 1])), Some("allow_list")),
        (drop_of(Subject::Mac([0xff; 6])), Some("special_address")),
        (drop_of(Subject::Mac([1, 0, 0x5e, 0, 0, 1])), Some("special_address")),
        (drop_of(flow("203.0.113.7", "203.0.113.8")), None),
        (drop_of(flow("203.0.113.7", "10.0.0.1")), Some("allow_list")),
        (drop_of(signature("203.0.113.9")), None),
        (drop_of(signature("192.168.1.1")), Some("allow_list")),
        // An exception to a block is none: it may name whom it likes.
        (Verdict { action: Action::Pass, ..prefix("10.0.0.1") }, None),
    ] {
        for who in [person(), playbook()] {
            let found = asked(&who, &[prefix("203.0.113.99"), verdict], Proof::Payload).err();
            let length = who.is_automatic() && rule.is_none() && tell(&verdict.subject).contains('/');
            let wanted = if length { Some("prefix_length") } else { rule };
            let told = found.as_ref().map(|refusal| refusal.rule.as_str());
            assert_eq!(told, wanted, "{who}: {} {found:?}", tell(&verdict.subject));
            assert!(told.is_none_or(|rule| RULES.contains(&rule)));
        }
    }
    let message = asked(&person(), &[prefix("192.168.77.0/24")], Proof::None).unwrap_err().to_string();
    assert!(
        message.contains("192.168.77.0/24 meets 192.168.0.0/16 (a test)") && message.contains("name addresses"),
        "{message}"
    );
}

#[test]
fn a_playbook_blocks_no_source_that_may_be_forged() {
    let source = [prefix("203.0.113.7")];
    let limited = Verdict { action: Action::Limit { per_second: 10, burst: 10 }, ..source[0] };
    for verdict in [source[0], limited, drop_of(Subject::Mac([2, 0, 0, 0, 0, 9]))] {
        assert_eq!(asked(&playbook(), &[verdict], Proof::None).unwrap_err().rule, "proof");
        assert!(asked(&playbook(), &[verdict], Proof::Handshake).is_ok());
        assert!(asked(&person(), &[verdict], Proof::None).is_ok(), "a person knows what he does");
    }
    let signature = Signature { destination: at("203.0.113.9"), protocol: 6, port: 0, only_syn: true };
    assert!(asked(&playbook(), &[drop_of(Subject::Signature(signature))], Proof::None).is_ok());
}

#[test]
fn budgets_are_kept_and_extending_is_no_new_block() {
    let settings = Settings { automatic_per_minute: 2, ipv4_share: 1e-8, subjects: 60, ..Settings::default() };
    let verdicts = [prefix("203.0.113.7")];
    let (person, playbook) = (person(), playbook());
    let judged = |who, extends, in_force| {
        let ask = Ask { who, verdicts: &verdicts, ttl_ns: SECOND, proof: Proof::Payload, extends };
        judge(&ask, &list(), &in_force, &settings).map_err(|refusal| refusal.rule)
    };
    let rate = InForce { automatic_last_minute: 2, ..InForce::default() };
    assert_eq!(judged(&playbook, false, rate), Err("budget_rate".into()));
    assert_eq!((judged(&playbook, true, rate), judged(&person, false, rate)), (Ok(()), Ok(())));
    // A hundred-millionth of 2^32 are 42 addresses.
    let share = |count| InForce { addresses: [count, 0], subjects: 5, ..InForce::default() };
    assert_eq!((judged(&person, false, share(41)), judged(&playbook, false, share(41))), (Ok(()), Ok(())));
    assert_eq!(judged(&person, false, share(42)), Err("budget_share".into()));
    let full = InForce { subjects: 60, ..InForce::default() };
    assert_eq!(judged(&person, false, full), Err("budget_share".into()));
    let braked = InForce { braked: true, ..InForce::default() };
    assert_eq!(
        (judged(&playbook, false, braked), judged(&playbook, true, braked)),
        (Err("brake".into()), Err("brake".into()))
    );
    assert_eq!(judged(&person, false, braked), Ok(()));
}

#[test]
fn everything_ends() {
    let (who, verdicts) = (person(), [prefix("203.0.113.7")]);
    let most = Settings::default().ttl_max_ns;
    for (ttl_ns, allowed) in [(0, false), (1, true), (most, true), (most + 1, false), (u64::MAX, false)] {
        let ask = Ask { who: &who, verdicts: &verdicts, ttl_ns, proof: Proof::None, extends: false };
        let found = judge(&ask, &list(), &InForce::default(), &Settings::default());
        assert_eq!(found.is_ok(), allowed, "{ttl_ns}: {found:?}");
    }
}

#[test]
fn the_brake_goes_on_at_its_limit_and_off_after_a_quiet_time() {
    let settings = BrakeSettings { flows: 4, assets: 3, share: 0.5, window_ns: 10 * SECOND, release_ns: 60 * SECOND };
    let mut brake = Brake::default();
    let mut step = |second: u64, flows, dropped, packets| {
        let (next, why) =
            brake.after(Timestamp(second * SECOND), Observed { flows, assets: 0, dropped, packets }, &settings);
        brake = next;
        (next.is_on(), why)
    };
    assert_eq!(step(0, 3, 0, 100), (false, None));
    assert_eq!(step(10, 0, 0, 100), (false, None), "three within ten seconds are not four");
    assert!(!step(11, 3, 90, 100).0, "a share is told of a whole window");
    let (on, why) = step(12, 1, 0, 100);
    assert!(on && why.is_some_and(|why| why.contains("4 established flows")), "four within the window");
    assert_eq!(step(13, 0, 0, 100), (true, None), "it says so once");
    assert!(step(40, 2, 0, 100).0, "half of the limit is not quiet");
    assert!(step(60, 0, 0, 100).0);
    assert!(step(119, 1, 0, 100).0);
    assert!(!step(120, 0, 0, 100).0, "a minute of quiet");
    assert!(!step(121, 0, 40, 50).0);
    let (on, why) = step(131, 0, 40, 50);
    assert!(on && why.is_some_and(|why| why.contains("80.0 % of all packets")));
    let off = BrakeSettings { flows: 0, assets: 0, share: 1.0, ..settings };
    let seen = Observed { flows: 1_000, assets: 1_000, dropped: 1_000, packets: 1_000 };
    let later = Brake::default().after(Timestamp(0), seen, &off).0.after(Timestamp(20 * SECOND), seen, &off);
    assert!(!later.0.is_on(), "neither is looked at");
    // Two halves are no sum: the same hosts are met each time.
    let used = |assets| Observed { assets, packets: 1, ..Observed::default() };
    let (half, why) = Brake::default().after(Timestamp(0), used(2), &settings);
    assert!(why.is_none() && !half.after(Timestamp(SECOND), used(2), &settings).0.is_on());
    let (_, why) = half.after(Timestamp(SECOND), used(3), &settings);
    assert!(why.is_some_and(|why| why.contains("used by some 3 hosts of ours, 3 may not be")));
}
