//! Verdicts in the kernel, between a client and a server: what is dropped, limited, excepted, shunted, and what it counts.

mod live;
mod support;

use live::Sender;
use live::pair::{PairBed, Receiver, Running};
use shrike::dataplane::capture::xdp::{Pair, PairReader, Policy, Verdicts, verdict_path};
use shrike::dataplane::verdict::{Action, Enforcer, FlowSubject, Rule, Side, Signature, Subject, VerdictError};
use shrike::sys::monotonic;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Runs the rest of the test only with the rights it needs.
macro_rules! privileged {
    ($name:literal) => {
        if !support::privileged($name) {
            return;
        }
    };
}

/// A frame of a protocol between two ends; cards end in 1 (client) and 2 (server).
fn frame(from: (&str, u16), to: (&str, u16), protocol: u8, flags: u8) -> Vec<u8> {
    let (source, destination): (IpAddr, IpAddr) = (from.0.parse().unwrap(), to.0.parse().unwrap());
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let builder = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => builder.ipv4(source.octets(), destination.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(destination)) => builder.ipv6(source.octets(), destination.octets(), 64),
        _ => panic!("one family"),
    };
    let mut frame = Vec::new();
    match protocol {
        6 => {
            let mut builder = builder.tcp(from.1, to.1, 7, 1024);
            if flags & 2 != 0 {
                builder = builder.syn();
            }
            if flags & 16 != 0 {
                builder = builder.ack(9);
            }
            builder.write(&mut frame, &[0; 20]).unwrap();
        }
        17 => builder.udp(from.1, to.1).write(&mut frame, &[0; 20]).unwrap(),
        _ => builder.icmpv4_echo_request(1, 1).write(&mut frame, &[0; 20]).unwrap(),
    }
    frame
}

/// The same behind VLAN tags.
fn tagged(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    [&frame[..12], tags, &frame[12..]].concat()
}

/// A pair that forwards in the kernel, with its verdicts and what arrives behind it.
struct Wall {
    bed: PairBed,
    pair: Pair,
    verdicts: Verdicts,
    sender: Sender,
    receiver: Receiver,
}

impl Wall {
    fn new() -> Wall {
        let bed = PairBed::new(1);
        let settings = bed.settings(Policy::default());
        let pair = Pair::attach(&settings).unwrap();
        let verdicts = Verdicts::open(&verdict_path(&settings.ports[0])).unwrap();
        let sender = Sender::on(&bed.client, "c0", 0, 64);
        let receiver = Receiver::open(&bed.server, "s0");
        Wall { bed, pair, verdicts, sender, receiver }
    }

    /// Sends a frame and one behind it that nobody is against; gives whether the first arrived.
    fn passes(&mut self, frame: &[u8]) -> bool {
        let marker = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x12, 0x34][..], &[0; 50]].concat();
        self.sender.send_frame(frame);
        self.sender.send_frame(&marker);
        let first = self.receiver.next(Duration::from_secs(30)).expect("the marker at least");
        if first == marker {
            return false;
        }
        assert_eq!(first, frame);
        assert_eq!(self.receiver.next(Duration::from_secs(30)).expect("the marker"), marker);
        true
    }

    fn put(&self, subject: Subject, action: Action) {
        self.verdicts.put(&[(subject, rule(action))]).unwrap();
    }

    fn hits(&self, subject: &Subject) -> u64 {
        self.verdicts.get(subject).unwrap().expect("it was put in").1.packets
    }
}

fn rule(action: Action) -> Rule {
    Rule { action, side: Side::Both, until_ns: 0 }
}

fn prefix(text: &str) -> Subject {
    let (address, bits) = text.split_once('/').unwrap();
    Subject::Prefix(address.parse().unwrap(), bits.parse().unwrap())
}

#[test]
fn live_verdicts_drop_what_they_name_and_nothing_else() {
    privileged!("live_verdicts_drop_what_they_name_and_nothing_else");
    let mut wall = Wall::new();
    let (client, server) = (("10.1.2.3", 40_000), ("10.9.0.2", 80));
    let plain = frame(client, server, 6, 16);
    assert!(wall.passes(&plain));
    // A prefix, whichever side it is on, in tags too.
    wall.put(prefix("10.1.2.0/24"), Action::Drop);
    assert!(!wall.passes(&plain));
    assert!(!wall.passes(&frame(server, client, 6, 16)), "towards it");
    assert!(!wall.passes(&tagged(&plain, &[0x81, 0, 0, 5])));
    assert!(!wall.passes(&tagged(&plain, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])));
    assert!(wall.passes(&frame(("10.1.3.3", 40_000), server, 6, 16)), "its neighbour");
    assert_eq!(wall.hits(&prefix("10.1.2.0/24")), 4);
    // Whatever is round it.
    let inside = |head: &[u8]| [&plain[..12], head, &plain[14..]].concat();
    let tags = [&[0x81, 0, 0, 5][..]; 4].concat();
    let pppoe = [0x88, 0x64, 0x11, 0, 0, 9, 0, 46, 0, 0x21];
    let labels = |more: &[u8]| [&[0x88, 0x47][..], more, &[0, 1, 1, 64]].concat();
    for (name, round) in [
        ("four tags", tagged(&plain, &tags)),
        ("PPPoE", inside(&pppoe)),
        ("PPPoE in a tag", inside(&[&[0x81, 0, 0, 5][..], &pppoe].concat())),
        ("a label", inside(&labels(&[]))),
        ("three labels", inside(&labels(&[0, 2, 0, 64, 0, 3, 0, 64]))),
    ] {
        assert!(!wall.passes(&round), "{name}");
    }
    assert!(wall.passes(&inside(&[0x88, 0x64, 0x11, 0, 0, 9, 0, 46, 0xc0, 0x21])), "no IP in it");
    wall.verdicts.remove(&[prefix("10.1.2.0/24")]).unwrap();
    wall.put(prefix("10.1.2.0/24"), Action::Drop);
    (0..4).for_each(|_| assert!(!wall.passes(&plain)));
    // Only where it is the source.
    wall.verdicts.put(&[(prefix("10.1.2.0/24"), Rule { side: Side::Source, ..rule(Action::Drop) })]).unwrap();
    assert!(wall.passes(&frame(server, client, 6, 16)));
    assert!(!wall.passes(&plain));
    assert_eq!(wall.hits(&prefix("10.1.2.0/24")), 5, "what it met stays");
    // An exception inside it.
    wall.put(prefix("10.1.2.3/32"), Action::Pass);
    assert!(wall.passes(&plain));
    assert_eq!(wall.verdicts.get(&prefix("10.1.2.3/32")).unwrap().unwrap().0, rule(Action::Pass));
    assert_eq!(wall.verdicts.get(&prefix("10.1.2.4/32")).unwrap(), None, "a wider one is not it");
    wall.verdicts.remove(&[prefix("10.1.2.3/32"), prefix("10.1.2.0/24"), prefix("10.7.0.0/16")]).unwrap();
    assert!(wall.passes(&plain));
    // The same in IPv6.
    let six = frame(("2001:db8::5", 9), ("2001:db8:1::1", 80), 6, 2);
    assert!(wall.passes(&six));
    wall.put(prefix("2001:db8::/48"), Action::Drop);
    assert!(!wall.passes(&six));
    wall.verdicts.remove(&[prefix("2001:db8::/48")]).unwrap();
    // One flow, both directions, whichever end is named first.
    let flow = FlowSubject::new(("10.9.0.2".parse().unwrap(), 80), ("10.1.2.3".parse().unwrap(), 40_000), 6);
    wall.put(Subject::Flow(flow), Action::Drop);
    assert!(!wall.passes(&plain) && !wall.passes(&frame(server, client, 6, 16)));
    assert!(wall.passes(&frame(("10.1.2.3", 40_001), server, 6, 16)), "another port");
    assert!(wall.passes(&frame(client, server, 17, 0)), "another protocol");
    wall.verdicts.remove(&[Subject::Flow(flow)]).unwrap();
    // A card, with and without IP.
    let card = Subject::Mac([2, 0, 0, 0, 0, 1]);
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 46]].concat();
    wall.put(card, Action::Drop);
    assert!(!wall.passes(&plain) && !wall.passes(&arp));
    let [direction, _] = wall.pair.directions();
    assert_eq!(
        (direction.program.dropped_mac, direction.program.dropped_flow, direction.program.dropped_prefix),
        (2, 2, 15),
        "{direction:#?}"
    );
    assert!(direction.program_closes() && direction.in_flight() == 0, "{direction:#?}");
    assert!(PairReader::open(wall.pair.settings()).is_ok());
}

#[test]
fn live_verdicts_isolate_a_host_but_for_its_helpers() {
    privileged!("live_verdicts_isolate_a_host_but_for_its_helpers");
    let mut wall = Wall::new();
    let (host, helper, other) = (("10.1.2.3", 40_000), ("10.9.9.9", 443), ("10.9.0.2", 80));
    for subject in [Subject::Mac([2, 0, 0, 0, 0, 1]), prefix("10.1.2.3/32")] {
        wall.put(subject, Action::Isolate);
        wall.put(prefix("10.9.9.9/32"), Action::Pass);
        assert!(!wall.passes(&frame(host, other, 6, 2)), "{subject:?}");
        assert!(wall.passes(&frame(host, helper, 6, 2)), "{subject:?}");
        assert!(wall.passes(&frame(helper, host, 6, 18)), "{subject:?}");
        wall.verdicts.remove(&[subject]).unwrap();
    }
    // Nobody reaches a helper whose card he cannot ask for.
    let about = |card: [u8; 6], kind: &[u8], rest: Vec<u8>| [&[0xff; 6][..], &card, kind, &rest].concat();
    let question = |card| about(card, &[0x08, 0x06], vec![0; 46]);
    let neighbour = |card, kind: u8| {
        let mut packet = vec![0; 64];
        (packet[0], packet[5], packet[6], packet[7]) = (0x60, 24, 58, 255);
        (packet[8], packet[23], packet[24], packet[39], packet[40]) = (0xfe, 9, 0xff, 1, kind);
        about(card, &[0x86, 0xdd], packet)
    };
    let card = [2, 0, 0, 0, 0, 1];
    wall.put(Subject::Mac(card), Action::Isolate);
    assert!(wall.passes(&question(card)) && wall.passes(&neighbour(card, 135)) && wall.passes(&neighbour(card, 136)));
    assert!(!wall.passes(&neighbour(card, 128)), "an echo");
    wall.put(Subject::Mac(card), Action::Drop);
    assert!(!wall.passes(&question(card)) && !wall.passes(&neighbour(card, 135)));
    wall.verdicts.remove(&[Subject::Mac(card)]).unwrap();
    // Who is blocked reaches no helper either.
    wall.put(prefix("10.1.2.3/32"), Action::Drop);
    assert!(!wall.passes(&frame(host, helper, 6, 2)));
}

#[test]
fn live_verdicts_limit_a_signature_and_not_the_rest() {
    privileged!("live_verdicts_limit_a_signature_and_not_the_rest");
    let mut wall = Wall::new();
    let signature = |port, only_syn| {
        Subject::Signature(Signature { destination: "10.9.0.2".parse().unwrap(), protocol: 6, port, only_syn })
    };
    // So slow that none but the burst passes while the test runs.
    let limit = Action::Limit { per_second: 1, burst: 5 };
    wall.verdicts.put(&[(signature(80, true), rule(Action::Limit { per_second: 1, burst: 1000 }))]).unwrap();
    wall.verdicts.put(&[(signature(80, true), rule(limit))]).unwrap();
    assert_eq!(wall.verdicts.get(&signature(80, true)).unwrap().unwrap().0, rule(limit));
    let syn = |source: u16| frame(("10.1.2.3", source), ("10.9.0.2", 80), 6, 2);
    let begin = monotonic::now_ns();
    let passed = (0..50).filter(|source| wall.passes(&syn(20_000 + source))).count() as u64;
    let more = (monotonic::now_ns() - begin) / 1_000_000_000 + 1;
    assert!((5..=5 + more).contains(&passed), "{passed} of 50 in {more} s");
    assert_eq!(wall.hits(&signature(80, true)), 50 - passed);
    assert!(wall.passes(&frame(("10.1.2.3", 20_000), ("10.9.0.2", 80), 6, 16)), "no opening");
    assert!(wall.passes(&frame(("10.1.2.3", 20_000), ("10.9.0.2", 81), 6, 2)), "another port");
    // Any port.
    wall.verdicts.put(&[(signature(0, true), rule(limit))]).unwrap();
    let passed = (0..50).filter(|port| wall.passes(&frame(("10.1.2.3", 9), ("10.9.0.2", 100 + port), 6, 2))).count();
    assert!(passed < 40, "{passed} of 50");
}

/// A limit is for those whom nobody knows: who proved himself has one of his own, and whoever writes his address has that too.
#[test]
fn live_verdicts_limit_who_is_proven_one_by_one() {
    privileged!("live_verdicts_limit_who_is_proven_one_by_one");
    let mut wall = Wall::new();
    let signature = Subject::Signature(Signature {
        destination: "10.9.0.2".parse().unwrap(),
        protocol: 6,
        port: 80,
        only_syn: true,
    });
    wall.verdicts.put(&[(signature, rule(Action::Limit { per_second: 1, burst: 1 }))]).unwrap();
    let until_ns = monotonic::now_ns() + 3600 * 1_000_000_000;
    wall.verdicts.vouch("10.1.2.3".parse().unwrap(), until_ns).unwrap();
    wall.verdicts.vouch("10.1.2.4".parse().unwrap(), 1).unwrap();
    let passed = |wall: &mut Wall, host: &str, count: u16| {
        (0..count).filter(|port| wall.passes(&frame((host, 20_000 + port), ("10.9.0.2", 80), 6, 2))).count() as u64
    };
    let begin = monotonic::now_ns();
    let found = ["10.1.2.4", "10.1.2.5", "10.1.2.3"].map(|host| passed(&mut wall, host, 50));
    let more = (monotonic::now_ns() - begin) / 1_000_000_000 + 1;
    assert!(found[0] + found[1] <= 1 + more, "over, and unknown: {found:?}");
    assert_eq!(found[2], 50, "within its own");
    let flooded = passed(&mut wall, "10.1.2.3", 300);
    let own = (monotonic::now_ns() - begin) / 10_000_000 + 101;
    assert!(flooded + 50 <= own + 1 + more && (own < 300 || wall.hits(&signature) > 100), "{flooded} of its own {own}");
    wall.verdicts.put(&[(signature, rule(Action::Drop))]).unwrap();
    assert_eq!(passed(&mut wall, "10.1.2.3", 3), 0, "a drop is for all");
}

#[test]
fn live_verdicts_end_by_themselves() {
    privileged!("live_verdicts_end_by_themselves");
    let mut wall = Wall::new();
    let blocked = frame(("10.1.2.3", 40_000), ("10.9.0.2", 80), 6, 16);
    let until_ns = monotonic::now_ns() + 300_000_000;
    wall.verdicts.put(&[(prefix("10.1.2.3/32"), Rule { until_ns, ..rule(Action::Drop) })]).unwrap();
    // Dropped for as long as it holds, passed from then on: each answer lies between two readings of the clock.
    loop {
        let before = monotonic::now_ns();
        let passes = wall.passes(&blocked);
        let after = monotonic::now_ns();
        assert!(!passes || after >= until_ns, "passed {} ns early", until_ns - after);
        assert!(passes || before < until_ns, "held {} ns late", before - until_ns);
        if passes {
            break;
        }
    }
    assert!(wall.verdicts.get(&prefix("10.1.2.3/32")).unwrap().is_some(), "it is taken out by whoever put it in");
}

#[test]
fn live_verdicts_shunt_a_flow_past_the_worker() {
    privileged!("live_verdicts_shunt_a_flow_past_the_worker");
    let mut wall = Wall::new();
    let running = Running::start(&wall.pair);
    let (client, server) = (("10.1.2.3", 40_000), ("10.9.0.2", 80));
    let flow =
        Subject::Flow(FlowSubject::new(("10.1.2.3".parse().unwrap(), 40_000), ("10.9.0.2".parse().unwrap(), 80), 6));
    wall.put(flow, Action::Shunt);
    let sent = frame(client, server, 6, 16);
    let arrived = |wall: &mut Wall| {
        wall.sender.send_frame(&sent);
        wall.receiver.next(Duration::from_secs(30)).expect("it arrives")
    };
    for _ in 0..20 {
        assert_eq!(arrived(&mut wall), sent);
    }
    assert_eq!(wall.hits(&flow), 20);
    assert_eq!(wall.verdicts.get(&flow).unwrap().unwrap().1.bytes, 20 * sent.len() as u64);
    // A block is stronger than trust.
    wall.put(prefix("10.1.2.3/32"), Action::Drop);
    wall.sender.send_frame(&sent);
    assert_eq!(running.stop(), 0, "none of them met the worker");
    let [direction, _] = wall.pair.directions();
    assert_eq!((direction.program.shunted, direction.program.dropped_prefix), (20, 1), "{direction:#?}");
    assert_eq!(wall.bed.settings(Policy::default()).name, "wire");
}

#[test]
fn live_verdicts_are_listed_replaced_and_refused() {
    privileged!("live_verdicts_are_listed_replaced_and_refused");
    let wall = Wall::new();
    let mut wanted = BTreeMap::new();
    for number in 0..10_000_u32 {
        let address = IpAddr::from((0x0a00_0000 + number * 256).to_be_bytes());
        wanted.insert(Subject::Prefix(address, 24), rule(Action::Drop));
    }
    wanted.insert(prefix("2001:db8::/32"), rule(Action::Drop));
    wanted.insert(Subject::Mac([2, 0, 0, 0, 0, 7]), rule(Action::Isolate));
    let all: Vec<_> = wanted.iter().map(|(subject, rule)| (*subject, *rule)).collect();
    let listed = || {
        let listed = wall.verdicts.list().unwrap();
        listed.into_iter().map(|(subject, rule, _)| (subject, rule)).collect::<BTreeMap<_, _>>()
    };
    wall.verdicts.put(&all).unwrap();
    assert_eq!(listed(), wanted);
    wall.verdicts.put(&all).unwrap();
    assert_eq!(listed(), wanted, "again changes nothing");
    let half: Vec<Subject> = wanted.keys().copied().step_by(2).collect();
    wall.verdicts.remove(&half).unwrap();
    wanted.retain(|subject, _| !half.contains(subject));
    assert_eq!(listed(), wanted);
    // Half of them are there: the others come in beside them.
    wall.verdicts.put(&all).unwrap();
    assert_eq!(listed().len(), all.len());
    let flow = |port| {
        Subject::Flow(FlowSubject::new(("10.0.0.1".parse().unwrap(), port), ("10.0.0.2".parse().unwrap(), 80), 6))
    };
    let full = (0..=u16::MAX).map(|port| wall.verdicts.put(&[(flow(port), rule(Action::Drop))])).find(Result::is_err);
    assert!(full.is_none(), "{full:?}");
    let other = FlowSubject::new(("10.0.0.1".parse().unwrap(), 1), ("10.0.0.2".parse().unwrap(), 81), 6);
    let full = wall.verdicts.put(&[(Subject::Flow(other), rule(Action::Drop))]);
    assert!(matches!(full, Err(VerdictError::Full { kind: "flows", capacity: 65_536, .. })), "{full:?}");
    for (subject, action) in [
        (prefix("10.0.0.1/24"), Action::Drop),
        (prefix("10.0.0.0/24"), Action::Shunt),
        (Subject::Mac([0xff; 6]), Action::Drop),
        (Subject::Mac([2, 0, 0, 0, 0, 7]), Action::Pass),
        (prefix("10.0.0.0/24"), Action::Limit { per_second: 0, burst: 1 }),
    ] {
        let refused = wall.verdicts.put(&[(subject, rule(action))]);
        assert!(matches!(refused, Err(VerdictError::Meaningless { .. })), "{subject:?} {action:?}: {refused:?}");
    }
}

/// However many there are already, and whether most of a list is new or known.
#[test]
fn live_verdicts_given_again_among_many_keep_what_they_met() {
    privileged!("live_verdicts_given_again_among_many_keep_what_they_met");
    let mut wall = Wall::new();
    let network = |number: u32| Subject::Prefix(IpAddr::from((0x0a00_0000 + number * 256).to_be_bytes()), 24);
    let some = |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers.map(|number| (network(number), rule(Action::Drop))).collect()
    };
    let blocked = frame(("10.1.2.3", 40_000), ("10.200.0.2", 80), 6, 16);
    let met = prefix("10.1.2.0/24"); // number 258
    wall.verdicts.put(&some(0..10_000)).unwrap();
    assert!(!wall.passes(&blocked));
    for (numbers, held) in [(0..10_000, 10_000), (250..350, 10_000), (0..12_000, 12_000), (11_950..12_050, 12_050)] {
        wall.verdicts.put(&some(numbers)).unwrap();
        assert_eq!((wall.hits(&met), wall.verdicts.list().unwrap().len()), (1, held));
    }
    assert!(!wall.passes(&blocked));
    assert_eq!(wall.hits(&met), 2);
    wall.verdicts.remove(&(0..12_050).map(network).collect::<Vec<_>>()).unwrap();
    assert!(wall.passes(&blocked));
}
