//! The stage as a whole, and the made-up wire that the detectors' tests share.

use super::{Behaviour, LiveBehaviour, Stats};
use crate::control::hosts::{self, Merger};
use crate::control::inventory::network::home;
use crate::dataplane::decode::{Direction, FlowKey, Links, Neighbour};
use crate::dataplane::detect::Evidence;
use crate::dataplane::flow::{EndReason, Side};
use crate::dataplane::inspect::{Fact, Facts, Protocol, dns, stratum, telnet};
use crate::exchange::{EventHead, FlowSummary, Up};
use crate::units::{MILLISECOND, QueueId, SECOND, Timestamp};
use proptest::prelude::*;

/// Where the wire's time begins: Thursday, 00:00 UTC.
pub const START: u64 = 1_700_092_800 * SECOND;

/// 10.0.x.y.
pub fn host(number: u32) -> u32 {
    0x0a00_0000 + number
}

/// 203.0.x.y: nobody's home.
pub fn outside(number: u32) -> u32 {
    0xcb00_0000 + number
}

#[derive(Clone)]
enum Item {
    Flow(Box<FlowSummary>),
    Event(EventHead, Vec<u8>),
    Neighbour(Timestamp, Neighbour),
}

/// Flows and events in the making; times are nanoseconds since [`START`].
#[derive(Clone, Default)]
pub struct Wire {
    items: Vec<(Timestamp, FlowKey, Item)>,
    next_port: u16,
}

impl Wire {
    /// An ephemeral port, another one each time.
    pub fn port(&mut self) -> u16 {
        self.next_port = (self.next_port + 1) % 20_000;
        40_000 + self.next_port
    }

    /// A flow of UDP that was answered.
    pub fn datagrams(&mut self, at: u64, ends: (u32, u32, u16), bytes: [u64; 2]) {
        self.put_flow(17, Protocol::Unknown, at, ends, bytes, (SECOND, SECOND));
    }

    /// Datagrams between two ports.
    pub fn answers(&mut self, at: u64, (from, from_port, to, to_port): (u32, u16, u32, u16), bytes: [u64; 2]) {
        self.datagrams(at, (to, from, from_port), bytes);
        let (key, originator) = FlowKey::v4(from, from_port, to, to_port, 17, 0);
        if let Some((_, of, Item::Flow(flow))) = self.items.last_mut() {
            (*of, flow.key, flow.originator, flow.packets) = (key, key, originator, [9, 0]);
        }
    }

    /// Echoes to a host and its answers: packets and payload of both, and how long they go on.
    pub fn echoes(&mut self, at: u64, (from, to): (u32, u32), (packets, bytes): ([u64; 2], [u64; 2]), length: u64) {
        self.put_flow(1, Protocol::Unknown, at, (from, to, 0), bytes, (length, SECOND));
        self.packets(packets);
        if let Some((_, of, Item::Flow(flow))) = self.items.last_mut() {
            let (key, originator) = FlowKey::v4(from, self.next_port, to, self.next_port, 1, 0);
            (*of, flow.key, flow.originator, flow.tcp_flags) = (key, key, originator, [0; 2]);
            flow.icmp = [Some((8, 0)), Some((0, 0))];
        }
    }

    /// The flow before has so many packets of client and server.
    pub fn packets(&mut self, packets: [u64; 2]) {
        if let Some((_, _, Item::Flow(flow))) = self.items.last_mut() {
            flow.packets = packets;
        }
    }

    /// The flows so far.
    pub fn flows(&self) -> impl Iterator<Item = &FlowSummary> {
        self.items.iter().filter_map(|(_, _, item)| match item {
            Item::Flow(flow) => Some(&**flow),
            _ => None,
        })
    }

    /// The client of the flow before begins with such a window.
    pub fn window(&mut self, bytes: u16) {
        if let Some((_, _, Item::Flow(flow))) = self.items.last_mut() {
            flow.first_windows = [bytes, 64_240];
        }
    }

    /// The server of the flow before said so much after the first eight packets with payload.
    pub fn later_answer(&mut self, bytes: u64) {
        if let Some((_, _, Item::Flow(flow))) = self.items.last_mut() {
            flow.later_answer = bytes;
        }
    }

    /// A flow of TLS.
    pub fn flow(&mut self, at: u64, ends: (u32, u32, u16), bytes: [u64; 2], times: (u64, u64)) {
        self.flow_of(Protocol::Tls, at, ends, bytes, times);
    }

    /// A flow of `length` nanoseconds in which client and server sent so many bytes; it ends `linger` nanoseconds later.
    pub fn flow_of(
        &mut self,
        application: Protocol,
        at: u64,
        ends: (u32, u32, u16),
        bytes: [u64; 2],
        times: (u64, u64),
    ) {
        self.put_flow(6, application, at, ends, bytes, times);
    }

    fn put_flow(
        &mut self,
        transport: u8,
        application: Protocol,
        at: u64,
        ends: (u32, u32, u16),
        bytes: [u64; 2],
        (length, linger): (u64, u64),
    ) {
        let (key, originator) = FlowKey::v4(ends.0, self.port(), ends.1, ends.2, transport, 0);
        let last_seen = Timestamp(START + at + length);
        let told = last_seen.after(linger);
        let flow = FlowSummary {
            key,
            originator,
            first_seen: Timestamp(START + at),
            last_seen,
            packets: [10, 10],
            bytes,
            payload: bytes,
            tcp_flags: [0x1b, 0x1b],
            application,
            ended: Some(EndReason::Closed),
            ended_at: told,
            ..FlowSummary::default()
        };
        self.items.push((told, key, Item::Flow(Box::new(flow))));
    }

    /// An event of a flow that begins with it.
    pub fn event(&mut self, at: u64, ends: (u32, u32, u16), of: (Protocol, u8), facts: impl FnOnce(&mut Facts)) {
        let port = self.port();
        self.event_of((at, ends, port), of, Side::Originator, facts);
    }

    /// An event of a flow that began so long before.
    pub fn late_event(
        &mut self,
        at: u64,
        age: u64,
        ends: (u32, u32, u16),
        protocol: Protocol,
        put: impl FnOnce(&mut Facts),
    ) {
        self.event(at + age, ends, (protocol, 6), put);
        if let Some((_, _, Item::Event(head, _))) = self.items.last_mut() {
            head.first_seen = Some(Timestamp(START + at));
        }
    }

    /// What inspection knows when the flow before ends: it is told before the flow.
    pub fn ended_with(&mut self, put: impl FnOnce(&mut Facts)) {
        let Some((told, key, Item::Flow(flow))) = self.items.pop() else { return };
        self.event_of((0, (0, 0, 0), 0), (flow.application, 6), Side::Originator, put);
        if let Some((at, of, Item::Event(head, _))) = self.items.last_mut() {
            (*at, *of) = (told, key);
            (head.time, head.told, head.first_seen) = (flow.last_seen, told, Some(flow.first_seen));
            (head.key, head.originator) = (key, flow.originator);
        }
        self.items.push((told, key, Item::Flow(flow)));
    }

    fn event_of(
        &mut self,
        (at, ends, port): (u64, (u32, u32, u16), u16),
        (protocol, transport): (Protocol, u8),
        sender: Side,
        put: impl FnOnce(&mut Facts),
    ) {
        let (key, originator): (FlowKey, Direction) = FlowKey::v4(ends.0, port, ends.1, ends.2, transport, 0);
        let time = Timestamp(START + at);
        let mut facts = Facts::default();
        put(&mut facts);
        let head = EventHead {
            time,
            told: time,
            key,
            originator,
            sender,
            first_seen: Some(time),
            protocol,
            anomaly: None,
            truncated: false,
            bytes: facts.as_bytes().len() as u16,
            icmp: None,
            outer: None,
            through_proxy: false,
        };
        self.items.push((time, key, Item::Event(head, facts.as_bytes().to_vec())));
    }

    /// An announcement of ARP: who has the address.
    pub fn neighbour(&mut self, at: u64, address: u32, mac: u8) {
        let (time, address) = (Timestamp(START + at), 0xffff_0000_0000 | u128::from(address));
        let neighbour = Neighbour { address, mac: [2, 0, 0, 0, 0, mac], ..Neighbour::default() };
        let key = FlowKey::between((address, 0), 0);
        self.items.push((time, key, Item::Neighbour(time, neighbour)));
    }

    /// An announcement of VRRP: whose card has the address of a virtual router.
    pub fn announce(&mut self, at: u64, address: u32, mac: u8) {
        self.neighbour(at, address, mac);
        if let Some((_, _, Item::Neighbour(_, neighbour))) = self.items.last_mut() {
            neighbour.is_vrrp = true;
        }
    }

    /// The host before said so to one that had not asked.
    pub fn unasked(&mut self) {
        if let Some((_, _, Item::Neighbour(_, neighbour))) = self.items.last_mut() {
            neighbour.is_unasked = true;
        }
    }

    /// The flow before began under the cards with these numbers: from which, to which, passed on to which, and who answered.
    pub fn cards(&mut self, numbers: [u8; 4]) {
        let card = |number: u8| if number == 0 { [0; 6] } else { [2, 0, 0, 0, 0, number] };
        let [originator, towards, relayed_to, responder] = numbers.map(card);
        if let Some((_, _, Item::Flow(flow))) = self.items.last_mut() {
            flow.links = Some(Links { originator, towards, relayed_to, responder });
        }
    }

    /// A datagram from one to another, ports as they are.
    pub fn datagram(&mut self, at: u64, ends: (u32, u16, u32, u16), protocol: Protocol, put: impl FnOnce(&mut Facts)) {
        let (from, from_port, to, to_port) = ends;
        self.event_of((at, (from, to, to_port), from_port), (protocol, 17), Side::Originator, put);
    }

    /// A question of DNS to a resolver and its answer: response code, and bytes of data, which are others for each name where
    /// they are no address.
    pub fn dns(&mut self, at: u64, client: u32, name: &str, kind: u16, (code, data): (u16, usize)) {
        let mut dice = if kind == 1 { 1 } else { super::count::hash(name) };
        let text = (0..data).map(|_| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'a' + (dice >> 33) as u8 % 26
        });
        let text: Vec<u8> = text.collect();
        self.asked(at, (client, host(53)), name, kind, (code, &text, None));
    }

    /// The same of another resolver, with this answer and the address in it.
    pub fn asked(
        &mut self,
        at: u64,
        (client, server): (u32, u32),
        name: &str,
        kind: u16,
        (code, data, address): (u16, &[u8], Option<[u8; 4]>),
    ) {
        let port = self.port();
        let ends = (client, server, 53);
        let question = |facts: &mut Facts, is_answer: u64| {
            facts.put_number(dns::SET.qr, is_answer);
            facts.put_number(dns::SET.rcode, u64::from(code));
            facts.put(dns::SET.query_name, name.as_bytes());
            facts.put_number(dns::SET.query_type, u64::from(kind));
        };
        self.event_of((at, ends, port), (Protocol::Dns, 17), Side::Originator, |facts| question(facts, 0));
        self.event_of((at + 5 * MILLISECOND, ends, port), (Protocol::Dns, 17), Side::Responder, |facts| {
            question(facts, 1);
            let [[owner, .., answer], ..]: [[Fact; 4]; 3] = dns::SET.sections;
            // Of a type that inspection knows by name alone there is no text.
            const KEY: u16 = 25;
            if code == 0 && (!data.is_empty() || kind == KEY) {
                facts.put(owner, name.as_bytes());
            }
            if !data.is_empty() {
                facts.put(answer, data);
            }
            if let Some(address) = address {
                facts.put(dns::SET.address, &address);
            }
        });
    }

    /// What was known before a moment, and what came then.
    pub fn parted(&self, at: u64) -> (Wire, Wire) {
        let (before, after) = self.items.iter().cloned().partition(|(told, ..)| told.0 < START + at);
        let of = |items| Wire { items, next_port: 0 };
        (of(before), of(after))
    }

    fn sorted(&self) -> Vec<(Timestamp, FlowKey, Item)> {
        let mut items = self.items.clone();
        items.sort_by_key(|(told, ..)| *told);
        items
    }

    /// What the detectors find, with these settings.
    pub fn evidence_with(&self, settings: hosts::Settings) -> (Vec<Evidence>, Stats) {
        let mut behaviour = settings.behaviour(&home()).expect("wanted");
        let found = self.show(&mut behaviour);
        (found, behaviour.stats())
    }

    /// What is found by detectors that have seen something already.
    pub fn show(&self, behaviour: &mut Behaviour) -> Vec<Evidence> {
        self.show_until(behaviour, Timestamp(u64::MAX))
    }

    /// The same, and they go on from then.
    pub fn show_until(&self, behaviour: &mut Behaviour, end: Timestamp) -> Vec<Evidence> {
        let mut found = Vec::new();
        for (told, _, item) in self.sorted() {
            behaviour.decide_until(told, &mut found);
            match item {
                Item::Flow(flow) => behaviour.flow(&flow),
                Item::Event(head, facts) => behaviour.event(&head, &facts),
                Item::Neighbour(time, neighbour) => behaviour.neighbour(time, &neighbour),
            }
        }
        behaviour.decide_until(end, &mut found);
        found
    }

    /// What a thread of its own finds, which is told everything as a supervisor does.
    pub fn tell(&self, live: &mut LiveBehaviour) -> Vec<Evidence> {
        for (told, _, item) in self.sorted() {
            live.reached(told, told);
            match item {
                Item::Flow(flow) => live.flow(&flow),
                Item::Event(head, facts) => live.event(&head, &facts),
                Item::Neighbour(time, neighbour) => live.neighbour(time, &neighbour),
            }
        }
        live.finish()
    }

    /// The same with the default ones.
    pub fn evidence(&self) -> Vec<Evidence> {
        let (found, stats) = self.evidence_with(hosts::Settings::default());
        assert_eq!((stats.late, stats.lost), (0, 0));
        found
    }

    /// `detector/kind` of all evidence, without repeats, in order of their first appearance.
    pub fn kinds(&self) -> Vec<String> {
        let mut kinds = Vec::new();
        for evidence in self.evidence() {
            let kind = format!("{}/{}", evidence.detector.name(), evidence.kind);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// The same wire over several queues, whose messages come in any order, with watermarks wherever one pleases.
    fn run(&self, queues: usize, every: usize, seed: u64) -> Vec<Evidence> {
        let settings = hosts::Settings::default();
        let mut merger = Merger::new(queues, settings).with_behaviour(settings.behaviour(&home()));
        let mut lanes: Vec<std::collections::VecDeque<_>> = vec![Default::default(); queues];
        for item in self.sorted() {
            lanes[item.1.owner(queues)].push_back(item);
        }
        let mut found = Vec::new();
        let mut dice = seed | 1;
        while lanes.iter().any(|lane| !lane.is_empty()) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let id = (dice >> 33) as usize % queues;
            let queue = QueueId(id as u16);
            for _ in 0..every {
                let Some((_, _, item)) = lanes[id].pop_front() else { break };
                match item {
                    Item::Flow(flow) => merger.flow(&flow),
                    Item::Event(head, facts) => merger.event(&head, &facts),
                    Item::Neighbour(time, neighbour) => merger.neighbour(time, &neighbour),
                }
            }
            let message = match lanes[id].front() {
                // Everything before the next one has been sent.
                Some((told, ..)) => Up::Watermark(queue, *told),
                None => Up::Ended(queue),
            };
            found.extend(merger.push(queue, &message));
        }
        found.extend(merger.finish());
        let stats = merger.behaviour_stats().expect("wanted");
        assert_eq!((stats.late, stats.lost), (0, 0));
        found
    }
}

/// Everything that some detector has a word for, and a good deal that none has.
fn mixture(seed: u32) -> Wire {
    let mut wire = Wire::default();
    let mut dice = u64::from(seed) | 1;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for number in 0..400_u64 {
        let (at, client) = (roll(200 * SECOND), host(1 + roll(6) as u32));
        let [a, b, c] = [0; 3].map(|_| roll(u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let name = format!("{a:016x}{b:016x}{c:016x}.t{}.example", number % 2);
        // Two of six hosts, so that it is nothing that everybody does.
        wire.dns(at, host(100 + roll(2) as u32), &name, 16, (0, 100));
        wire.dns(at, client, &format!("www{}.site{}.example", roll(20), roll(30)), 1, (0, 16));
        let made_up: String = (0..12).map(|_| char::from(b'a' + roll(26) as u8)).collect();
        wire.dns(at, host(102), &format!("{made_up}.com"), 1, (3, 0));
        wire.neighbour(at, host(1 + roll(3) as u32), 1 + roll(2) as u8);
        if number % 20 == 0 {
            wire.event(at, (client, outside(3), 3333), (Protocol::Stratum, 6), |facts| {
                facts.put(stratum::KIND, b"stratum");
            });
            wire.event(at, (client, host(9), 23), (Protocol::Telnet, 6), |facts| {
                facts.put_number(telnet::SECRET_SENT, 1);
            });
        }
        wire.flow(at, (host(1), outside(77), 443), [8 << 20, 100], (roll(SECOND), SECOND));
        wire.flow(at, (client, outside(roll(9) as u32), 443), [roll(5000), roll(50_000)], (roll(SECOND), SECOND));
    }
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn how_the_messages_interleave_leaves_no_trace(
        wire in any::<u32>(),
        seed in any::<u64>(),
        queues in 1_usize..=4,
        every in 1_usize..200,
    ) {
        let wire = mixture(wire);
        let expected = wire.run(1, 1, 1);
        let kinds: std::collections::BTreeSet<_> = expected.iter().map(|one| one.detector.name()).collect();
        prop_assert!(kinds.len() >= 5, "{:?}", kinds);
        prop_assert_eq!(wire.run(queues, every, seed), expected);
    }
}

#[test]
fn what_comes_late_is_counted_and_shown_and_what_is_too_much_is_lost() {
    let settings = hosts::Settings { pending_observations: 2, ..hosts::Settings::default() };
    let mut behaviour: Behaviour = settings.behaviour(&home()).expect("wanted");
    let mut found = Vec::new();
    let mut wire = Wire::default();
    (0..3).for_each(|number| wire.dns(number * SECOND, host(1), "a.example.org", 1, (0, 4)));
    behaviour.decide_until(Timestamp(START + 2 * SECOND), &mut found);
    for (_, _, item) in wire.sorted() {
        if let Item::Event(head, facts) = item {
            behaviour.event(&head, &facts);
        }
    }
    assert_eq!(behaviour.stats(), Stats { late: 2, lost: 4, ..Stats::default() });
    behaviour.decide_until(Timestamp(START + 4 * SECOND), &mut found);
    assert_eq!(behaviour.stats().observed, 2, "late ones are shown");
}

/// What comes up of a flow while it lives and what comes at its end are together what it sent.
#[test]
fn a_flow_that_was_told_before_is_counted_once() {
    let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
    let mut wire = Wire::default();
    wire.flow(0, (host(1), outside(1), 443), [50 << 20, 4096], (600 * SECOND, SECOND));
    let Some((_, _, Item::Flow(whole))) = wire.items.pop() else { unreachable!("one flow") };
    let part = |mebibytes: u64, second: u64| FlowSummary {
        payload: [mebibytes << 20, 100],
        last_seen: Timestamp(START + second * SECOND),
        ended: None,
        ended_at: Timestamp(0),
        ..*whole
    };
    for (mebibytes, second) in [(0, 60), (20, 120), (20, 180), (40, 240)] {
        behaviour.living(&part(mebibytes, second));
    }
    behaviour.flow(&whole);
    let told: Vec<[u64; 2]> = behaviour
        .pending
        .values()
        .flatten()
        .filter_map(|seen| match &seen.what {
            super::What::Flow(flow) => Some(flow.bytes),
            _ => None,
        })
        .collect();
    assert_eq!(told.iter().map(|[out, _]| out >> 20).collect::<Vec<_>>(), [20, 20, 10]);
    assert_eq!(told.iter().map(|[_, into]| into).sum::<u64>(), 4096);
}

/// What one costs, printed for people: every detector sees each of them.
#[test]
fn what_an_observation_costs() {
    const COUNT: u64 = 20_000;
    let case = |name: &str, make: fn(&mut Wire, u64)| {
        let mut wire = Wire::default();
        (0..COUNT).for_each(|number| make(&mut wire, number));
        let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
        let begun = std::time::Instant::now();
        drop(wire.show(&mut behaviour));
        let observed = behaviour.stats().observed;
        println!("{name}: {} ns each", begun.elapsed().as_nanos() / u128::from(observed));
        assert!(observed >= COUNT, "{observed}");
    };
    case("flows of many pairs", |wire, number| {
        let ends = (host(number as u32 % 500), outside(number as u32 % 7000), 443);
        wire.flow(number * MILLISECOND, ends, [500, 9000], (SECOND, SECOND));
    });
    case("flows of one pair", |wire, number| {
        wire.flow(number * 3 * SECOND, (host(1), outside(1), 443), [500, 9000], (SECOND, SECOND));
    });
    case("names of many sites", |wire, number| {
        let name = format!("www{}.site{}.example.org", number % 50, number % 3000);
        wire.dns(number * MILLISECOND, host(number as u32 % 500), &name, 1, (0, 16));
    });
    case("a tunnel", |wire, number| {
        let name = format!("{:032x}{:032x}.t.example.org", number * 0x9e37_79b9, number);
        wire.dns(number * 10 * MILLISECOND, host(1), &name, 16, (0, 100));
    });
    case("logins", |wire, number| {
        wire.event(number * MILLISECOND, (host(1), host(2), 23), (Protocol::Telnet, 6), |facts| {
            facts.put_number(telnet::SECRET_SENT, 1);
        });
    });
}

/// What is still being learnt counts from the first run on.
#[test]
fn since_when_hosts_are_seen_outlives_a_restart() {
    let fresh = || hosts::Settings::default().behaviour(&home()).expect("wanted");
    let day = |number: u64| {
        let mut wire = Wire::default();
        wire.flow(number * 86_400 * SECOND, (host(1), outside(1), 443), [1000, 1000], (SECOND, SECOND));
        wire
    };
    let (mut first, mut second) = (fresh(), fresh());
    assert_eq!(first.stats().since, None);
    day(0).show(&mut first);
    let since = first.stats().since;
    assert_eq!(since.map(|since| since.0 / (10 * SECOND)), Some(START / (10 * SECOND)));
    assert!(second.restore(first.snapshot()));
    day(2).show(&mut second);
    assert_eq!(second.stats().since, since);
}

/// A flow of hours is told when it ends, and was seen from its begin on.
#[test]
fn hosts_are_seen_since_the_first_flow_began() {
    let mut behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
    let mut wire = Wire::default();
    wire.flow(0, (host(1), outside(1), 443), [1000, 1000], (53 * 3600 * SECOND, SECOND));
    wire.flow(3600 * SECOND, (host(2), outside(1), 443), [1000, 1000], (SECOND, SECOND));
    wire.show(&mut behaviour);
    assert_eq!(behaviour.stats().since, Some(crate::units::Timestamp(START)));
}

/// What was counted under other thresholds is judged by the new ones.
#[test]
fn other_thresholds_hold_from_then_on_and_nothing_is_forgotten() {
    let mut settings = hosts::Settings::default();
    let tunnel = crate::control::behaviour::dns_tunnel::Settings { names: 1e9, names_day: 1e9, ..settings.dns_tunnel };
    settings.dns_tunnel = crate::control::behaviour::dns_tunnel::Settings {
        client_names: 1e9,
        client_names_day: 1e9,
        lookup_bytes: 1e15,
        lookup_bytes_day: 1e15,
        ..tunnel
    };
    let mut behaviour = settings.behaviour(&home()).expect("wanted");
    let ask = |from: u64, to: u64| {
        let mut wire = Wire::default();
        for number in from..to {
            let [a, b, c] =
                [1, 2, 3].map(|turn| (number + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(turn as u32));
            wire.dns(number * SECOND, host(2), &format!("{a:016x}{b:016x}{c:016x}.t.example.org"), 16, (0, 100));
        }
        wire
    };
    let is_tunnel = |found: &[Evidence]| found.iter().any(|one| one.kind == "tunnel");
    assert!(!is_tunnel(&ask(190, 200).evidence()), "ten names alone are none");
    assert!(!is_tunnel(&ask(0, 190).show_until(&mut behaviour, Timestamp(START + 190 * SECOND))));
    behaviour.retune(hosts::Settings::default().of_behaviour());
    assert!(is_tunnel(&ask(190, 200).show(&mut behaviour)));
}
