//! The ring against a plain list, filters one by one, and what alerts mark.

use super::*;
use crate::control::view::Living;
use crate::dataplane::decode::{FlowKey, community_id};
use crate::dataplane::detect::{Detector, Evidence, FlowRef, fixtures};
use crate::dataplane::flow::{EndReason, TcpState};
use crate::dataplane::inspect::Protocol;
use crate::units::SECOND;
use proptest::prelude::*;
use std::net::IpAddr;

fn flow(number: u32) -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0000 + number, 40_000, 0xc000_0200, 443, 6, 0);
    FlowSummary {
        key,
        originator,
        first_seen: Timestamp(u64::from(number) * SECOND),
        last_seen: Timestamp(u64::from(number) * SECOND + 7),
        packets: [1, 1],
        bytes: [60, u64::from(number)],
        ended: Some(EndReason::Idle),
        ..FlowSummary::default()
    }
}

fn number(kept: &KeptFlow) -> u64 {
    kept.flow.first_seen.0 / SECOND
}

fn history(capacity: usize, flows: u32) -> FlowHistory {
    let history = FlowHistory::new(capacity, Timestamp(77));
    history.extend(&(0..flows).map(flow).collect::<Vec<_>>());
    history
}

#[test]
fn the_oldest_are_overwritten_and_counted() {
    let history = history(10, 25);
    assert_eq!(history.kept(), FlowsKept { kept: 10, capacity: 10, overwritten: 15 });
    let page = history.page(None, &FlowFilter::default(), 4).unwrap();
    assert_eq!(page.items.iter().map(number).collect::<Vec<_>>(), [24, 23, 22, 21]);
    assert!(page.has_more);
    // What comes meanwhile neither repeats nor moves the rest; what is overwritten meanwhile is missing.
    history.extend(&(25..30).map(flow).collect::<Vec<_>>());
    let page = history.page(Some(page.next), &FlowFilter::default(), 4).unwrap();
    assert_eq!((page.items.iter().map(number).collect::<Vec<_>>(), page.has_more), (vec![20], false));
    let foreign = Cursor { epoch: 78, ..page.next };
    assert_eq!(history.page(Some(foreign), &FlowFilter::default(), 4).unwrap_err(), Expired::Start);
    let none = FlowHistory::new(0, Timestamp(1));
    none.extend(&[flow(1)]);
    assert_eq!(none.kept(), FlowsKept { kept: 0, capacity: 0, overwritten: 1 });
    assert!(!none.page(None, &FlowFilter::default(), 4).unwrap().has_more);
}

/// A flow that ends while the census is made is told among those that ended, and there alone; what ended before is behind it.
#[test]
fn a_flow_that_ends_during_a_census_is_told_once() {
    let history = history(6 * CHUNK, 3);
    let living = |flows: Vec<FlowSummary>| Living { live: 9, matched: flows.len() as u64, flows, incomplete: None };
    let mut newest = 2;
    for ended in [0, 1, 5, CHUNK as u32 + 1, 3 * CHUNK as u32] {
        // A filter of its own each time: who asks for the same within a second is told the same.
        let filter = FlowFilter { min_bytes: Some(u64::from(ended)), ..FlowFilter::default() };
        let first = 100_000 * (1 + ended);
        let census = history.census(&filter, || {
            history.extend(&(first..first + ended).map(flow).collect::<Vec<_>>());
            living((first..first + 3).rev().map(flow).collect())
        });
        let listed: Vec<u64> = census.flows(0, 9).iter().map(|flow| flow.first_seen.0 / SECOND).collect();
        assert_eq!(listed, (first + ended..first + 3).rev().map(u64::from).collect::<Vec<_>>(), "{ended}");
        let gone = u64::from(ended.min(3));
        let told = LivingTold { live: 9 - gone, matched: 3 - gone, listed: 3 - gone, complete: true, reason: None };
        assert_eq!(census.told(), told, "{ended}");
        let next = history.behind(&census, listed.len());
        assert!(history.stands_in(next).unwrap().is_none(), "{ended}");
        newest = if ended > 0 { u64::from(first + ended - 1) } else { newest };
        let page = history.page(Some(next), &FlowFilter::default(), 1).unwrap();
        assert_eq!(page.items.iter().map(number).collect::<Vec<_>>(), [newest]);
    }
}

/// A rare filter looks at a bounded number of rows; the next page goes on from there.
#[test]
fn a_rare_flow_is_found_over_several_short_pages() {
    let history = FlowHistory::new(3 * SCAN, Timestamp(77));
    (0..3).for_each(|part| history.extend(&vec![flow(part); SCAN]));
    let rare = FlowFilter { host: Prefix::parse("10.0.0.0"), ..FlowFilter::default() };
    let first = history.page(None, &rare, 5).unwrap();
    assert_eq!((first.items.len(), first.has_more), (0, true));
    let second = history.page(Some(first.next), &rare, 5).unwrap();
    assert_eq!((second.items.len(), second.has_more), (0, true));
    assert_eq!(history.page(Some(second.next), &rare, 5).unwrap().items.len(), 5);
}

#[test]
fn every_filter_passes_its_own_and_no_other() {
    let (tcp, mut udp) = (flow(5), flow(6));
    let (key, originator) = FlowKey::v4(0x0a00_0006, 5353, 0xc000_0201, 53, 17, 0);
    udp = FlowSummary { key, originator, application: Protocol::Dns, state: TcpState::Established, ended: None, ..udp };
    udp.bytes = [70, 900];
    let id = community_id(&udp.key, udp.originator, None);
    let prefix = |text: &str| Some(Prefix::parse(text).expect(text));
    let default = FlowFilter::default;
    for filter in [
        FlowFilter { host: prefix("10.0.0.6"), ..default() },
        FlowFilter { host: prefix("192.0.2.1/32"), ..default() },
        FlowFilter { port: Some(53), ..default() },
        FlowFilter { transport: Some(17), ..default() },
        FlowFilter { application: Some(Protocol::Dns), ..default() },
        FlowFilter { community_id: Some(id), ..default() },
        FlowFilter { state: Some(TcpState::Established), ..default() },
        FlowFilter { living: Some(true), ..default() },
        FlowFilter { since: Some(Timestamp(6 * SECOND)), ..default() },
        FlowFilter { min_bytes: Some(970), ..default() },
        FlowFilter { alerted: Some(true), ..default() },
    ] {
        assert!(filter.passes(&KeptFlow { flow: udp, alerted: true }), "{filter:?}");
        assert!(!filter.passes(&KeptFlow { flow: tcp, alerted: false }), "{filter:?}");
    }
    let turned = FlowSummary { application: Protocol::Tls, began_as: Protocol::Smtp, ..tcp };
    for (wanted, passes) in [(Protocol::Smtp, true), (Protocol::Tls, true), (Protocol::Dns, false)] {
        let filter = FlowFilter { application: Some(wanted), ..default() };
        assert_eq!(filter.passes(&KeptFlow { flow: turned, alerted: false }), passes, "{wanted:?}");
    }
    let until = FlowFilter { until: Some(Timestamp(5 * SECOND)), ..default() };
    assert!(until.passes(&KeptFlow { flow: tcp, alerted: false }));
    assert!(!until.passes(&KeptFlow { flow: udp, alerted: false }));
}

#[test]
fn blocks_of_addresses_hold_what_they_say() {
    let holds = |prefix: &str, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        let number = match address {
            IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
            IpAddr::V6(address) => u128::from(address),
        };
        Prefix::parse(prefix).expect(prefix).holds(number)
    };
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
    assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "2001:db8::1"));
    assert!(holds("2001:db8::/32", "2001:db8:1::1") && holds("::/0", "::1"));
    assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
    for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a", "10.0.0.0/", "10.0.0.0/-1"] {
        assert_eq!(Prefix::parse(bad), None, "{bad}");
    }
}

fn alert(source: Option<&str>, target: Option<&str>, port: Option<u16>, flow: Option<FlowRef>) -> Alert {
    Alert {
        id: "a".into(),
        occurrences: 1,
        first_seen: Timestamp(0),
        evidence: Evidence {
            source: source.map(|text| text.parse().unwrap()),
            target: target.map(|text| text.parse().unwrap()),
            port,
            flow,
            ..fixtures::evidence(Detector::Scan, "k", Timestamp(0))
        },
    }
}

#[test]
fn a_flow_is_alerted_by_its_name_or_by_its_ends() {
    let exact = FlowRef {
        source: "10.0.0.1".parse().unwrap(),
        source_port: 40_000,
        destination: "192.0.2.0".parse().unwrap(),
        destination_port: 443,
        protocol: 6,
        flow_id: Some(flow(1).flow_id()),
        community_id: String::new(),
        tunnel: None,
        vlans: Vec::new(),
        application: None,
        is_example: false,
    };
    for (alert, alerted) in [
        (alert(Some("10.0.0.1"), None, None, None), true),
        (alert(Some("10.0.0.1"), Some("192.0.2.0"), None, None), true),
        (alert(Some("10.0.0.1"), Some("192.0.2.0"), Some(443), None), true),
        (alert(None, Some("192.0.2.0"), Some(443), None), true),
        (alert(Some("10.0.0.1"), None, Some(443), None), true),
        (alert(None, None, None, Some(exact.clone())), true),
        (alert(Some("10.0.0.1"), Some("192.0.2.0"), Some(22), None), false),
        (alert(Some("192.0.2.0"), None, None, None), false),
        (alert(None, None, Some(443), None), false),
        (alert(None, None, None, Some(FlowRef { flow_id: Some(flow(0).flow_id()), ..exact })), false),
    ] {
        let history = history(4, 2);
        history.mark([&alert]);
        let page = history.page(None, &FlowFilter { alerted: Some(true), ..FlowFilter::default() }, 10).unwrap();
        let found: Vec<u64> = page.items.iter().map(number).collect();
        assert_eq!(found.contains(&1), alerted, "{alert:?}");
    }
}

/// Who is served while many flood the server is not what the alert is about.
#[test]
fn a_flood_from_many_does_not_mark_those_who_are_served() {
    let history = FlowHistory::new(2, Timestamp(77));
    let served = FlowSummary { payload: [70, 5000], ..flow(1) };
    history.extend(&[served, flow(1)]);
    history.mark([&alert(None, Some("192.0.2.0"), Some(443), None)]);
    let page = history.page(None, &FlowFilter::default(), 10).unwrap();
    assert_eq!(page.items.iter().map(|kept| kept.alerted).collect::<Vec<_>>(), [true, false]);
    history.mark([&alert(Some("10.0.0.1"), Some("192.0.2.0"), Some(443), None)]);
    let page = history.page(None, &FlowFilter::default(), 10).unwrap();
    assert!(page.items.iter().all(|kept| kept.alerted));
}

proptest! {
    /// Pages of any size, whatever comes between them, are the list from newest to oldest without what was overwritten.
    #[test]
    fn pages_walk_the_ring(capacity in 1..40_usize, pushes in proptest::collection::vec(0..30_u32, 1..12), limit in 1..9_usize) {
        let history = FlowHistory::new(capacity, Timestamp(5));
        let mut all = 0;
        for count in pushes {
            history.extend(&(all..all + count).map(flow).collect::<Vec<_>>());
            all += count;
        }
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = history.page(before, &FlowFilter::default(), limit).unwrap();
            prop_assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(number));
            before = Some(page.next);
            if !page.has_more {
                break;
            }
        }
        let wanted: Vec<u64> = (0..u64::from(all)).rev().take(capacity).collect();
        prop_assert_eq!(seen, wanted);
    }
}
