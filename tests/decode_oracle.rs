//! `decode` against `etherparse`: packets that it builds, the same with bytes changed, and every frame of the captures.

#[path = "support/oracle.rs"]
mod oracle;
mod support;

use etherparse::{
    IcmpEchoHeader, Icmpv4Type, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header, PacketBuilder, TcpHeader, VlanId,
};
use oracle::{Outcome, Rule, ours, theirs};
use proptest::prelude::*;
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::capture::{BURST_MAX, FrameView, LinkType, Source};
use std::collections::BTreeMap;

/// What is put under the network header.
#[derive(Clone, Debug)]
enum Kind {
    Tcp { flags: u8, options: usize },
    Udp,
    Echo,
    Unreachable,
    Raw(u8),
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (any::<u8>(), 0_usize..=10).prop_map(|(flags, options)| Kind::Tcp { flags, options }),
        Just(Kind::Udp),
        Just(Kind::Echo),
        Just(Kind::Unreachable),
        proptest::sample::select(vec![2, 4, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 136, 255]).prop_map(Kind::Raw),
    ]
}

#[derive(Clone, Debug)]
struct Recipe {
    v6: bool,
    vlans: usize,
    kind: Kind,
    addresses: (u8, u8),
    ports: (u16, u16),
    numbers: (u32, u32, u16),
    payload: usize,
    fragment: Option<(u16, bool)>,
    padding: usize,
}

prop_compose! {
    fn recipes()(
        v6 in any::<bool>(),
        vlans in 0_usize..3,
        kind in kinds(),
        addresses in (0_u8..4, 0_u8..4),
        ports in (any::<u16>(), prop_oneof![any::<u16>(), Just(4789), Just(6081)]),
        numbers in any::<(u32, u32, u16)>(),
        payload in 0_usize..64,
        fragment in proptest::option::weighted(0.2, (0_u16..4, any::<bool>())),
        padding in prop_oneof![Just(0), 0_usize..40],
    ) -> Recipe {
        Recipe { v6, vlans, kind, addresses, ports, numbers, payload, fragment, padding }
    }
}

/// The frame that etherparse builds for a recipe.
fn build(recipe: &Recipe) -> Vec<u8> {
    let Recipe { v6, vlans, kind, addresses, ports, numbers, payload, fragment, padding } = recipe.clone();
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let id = |value| VlanId::try_new(value).expect("below 4096");
    let address = |last| {
        let mut address = [0; 16];
        (address[0], address[15]) = (0x20, last);
        address
    };
    let body: Vec<u8> = (0..payload).map(|index| index as u8).collect();
    macro_rules! finish {
        ($ip:expr) => {{
            let mut frame = Vec::new();
            let ip = $ip;
            match kind {
                Kind::Tcp { flags, options } => {
                    let mut header = TcpHeader::new(ports.0, ports.1, numbers.0, numbers.2);
                    header.acknowledgment_number = numbers.1;
                    header.set_options_raw(&vec![1; options * 4]).expect("at most 40 bytes");
                    (header.fin, header.syn, header.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
                    (header.psh, header.ack, header.urg) = (flags & 8 != 0, flags & 16 != 0, flags & 32 != 0);
                    (header.ece, header.cwr) = (flags & 64 != 0, flags & 128 != 0);
                    ip.tcp_header(header).write(&mut frame, &body).expect("fits");
                }
                Kind::Udp => ip.udp(ports.0, ports.1).write(&mut frame, &body).expect("fits"),
                Kind::Echo => {
                    let echo = IcmpEchoHeader { id: ports.0, seq: ports.1 };
                    if v6 {
                        ip.icmpv6(Icmpv6Type::EchoRequest(echo)).write(&mut frame, &body).expect("fits");
                    } else {
                        ip.icmpv4(Icmpv4Type::EchoReply(echo)).write(&mut frame, &body).expect("fits");
                    }
                }
                Kind::Unreachable => {
                    if v6 {
                        ip.icmpv6_raw(1, 4, [0; 4]).write(&mut frame, &body).expect("fits");
                    } else {
                        ip.icmpv4_raw(3, 3, [0; 4]).write(&mut frame, &body).expect("fits");
                    }
                }
                Kind::Raw(protocol) => ip.write(&mut frame, IpNumber(protocol), &body).expect("fits"),
            }
            frame
        }};
    }
    macro_rules! network {
        ($link:expr) => {
            if v6 {
                finish!($link.ipv6(address(addresses.0), address(addresses.1), 60))
            } else {
                let (from, to) = ([10, 0, 0, addresses.0], [10, 0, 0, addresses.1]);
                let mut header = Ipv4Header::new(0, 60, IpNumber(0), from, to).expect("empty payload fits");
                if let Some((offset, more)) = fragment {
                    header.identification = numbers.2;
                    header.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
                    header.more_fragments = more;
                }
                finish!($link.ip(etherparse::IpHeaders::Ipv4(header, Default::default())))
            }
        };
    }
    let mut frame = match vlans {
        0 => network!(ethernet),
        1 => network!(ethernet.single_vlan(id(5))),
        _ => network!(ethernet.double_vlan(id(5), id(6))),
    };
    frame.resize(frame.len() + padding, 0);
    frame
}

fn agree(bytes: &[u8], link: LinkType) -> Result<(Outcome, Vec<Rule>), String> {
    let mine = ours(FrameView { port: 0, bytes, wire_bytes: bytes.len() as u32, time: None, link });
    let (other, rules) = theirs(bytes, link);
    if mine == other {
        return Ok((mine, rules));
    }
    Err(format!("{link:?} {bytes:02x?}\n  ours: {mine:?}\ntheirs: {other:?} by {rules:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_as_built(recipe in recipes()) {
        let frame = build(&recipe);
        agree(&frame, LinkType::Ethernet).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn packets_with_bytes_changed(
        recipe in recipes(),
        changes in proptest::collection::vec((12_usize..100, any::<u8>()), 1..5),
        length in 0_usize..200,
        link in 0_usize..5,
    ) {
        let mut frame = build(&recipe);
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(length.max(12));
        let network = 14 + 4 * recipe.vlans;
        let ip = frame.get(network..).unwrap_or_default();
        let kind = if recipe.v6 { [0x86, 0xdd] } else { [8, 0] };
        let (link, bytes) = match link {
            0 => (LinkType::RawIp, ip.to_vec()),
            1 => (LinkType::Null, [&[if recipe.v6 { 30 } else { 2 }, 0, 0, 0], ip].concat()),
            2 => (LinkType::LinuxSll, [&[0; 14][..], &kind, ip].concat()),
            3 => (LinkType::LinuxSll2, [&kind, &[0; 18][..], ip].concat()),
            _ => (LinkType::Ethernet, frame),
        };
        agree(&bytes, link).map_err(TestCaseError::fail)?;
    }

    /// Chains of extension headers with anything in them.
    #[test]
    fn chains_of_extension_headers(
        chain in proptest::collection::vec((proptest::sample::select(vec![0_u8, 43, 44, 51, 60]), 0_u8..3, any::<u8>()), 0..11),
        last in proptest::sample::select(vec![6_u8, 17, 58, 59, 132]),
        tail in 0_usize..40,
        cut in 0_usize..8,
    ) {
        let mut frame = [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0]].concat();
        frame.push(chain.first().map_or(last, |part| part.0));
        frame.extend([64; 33]);
        for (index, (kind, words, value)) in chain.iter().enumerate() {
            let next = chain.get(index + 1).map_or(last, |part| part.0);
            let mut part = match kind {
                44 => vec![0, 0, 0, value & 0x0f, 1, 2, 3, 4],
                51 => [&[0, words + 1][..], &vec![0; 4 * usize::from(words + 1) + 2]].concat(),
                _ => [&[0, *words][..], &vec![0; 8 * usize::from(*words) + 6]].concat(),
            };
            part[0] = next;
            frame.extend(part);
        }
        frame.extend(vec![0x55; tail]);
        let length = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        if cut == 0 {
            frame.pop();
        }
        agree(&frame, LinkType::Ethernet).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn every_frame_of_the_captures() {
    let Some(data) = support::shared_data("every_frame_of_the_captures") else { return };
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("a manifest lies beside the captures");
    let (mut frames, mut cut) = (0_u64, 0_u64);
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rules: BTreeMap<Rule, u64> = BTreeMap::new();
    for line in manifest.lines().skip(1) {
        let path = data.join(line.split('\t').next().expect("a path comes first"));
        let Ok(mut source) = PcapSource::open(&[path], Speed::Max) else { continue };
        loop {
            let burst = source.receive(BURST_MAX);
            for index in 0..burst.count {
                let view = source.frame(index);
                frames += 1;
                if view.wire_bytes as usize > view.bytes.len() {
                    // Judged by the length on the wire, which etherparse does not know; truncation has its own test.
                    ours(view);
                    cut += 1;
                    continue;
                }
                let (outcome, applied) = agree(view.bytes, view.link).unwrap_or_else(|why| panic!("{line}\n{why}"));
                *outcomes
                    .entry(match outcome {
                        Outcome::Flow(_) => "flow",
                        Outcome::FirstFragment(_) => "first fragment",
                        Outcome::LaterFragment(_) => "later fragment",
                        Outcome::Arp => "arp",
                        Outcome::Other => "other",
                        Outcome::Reject => "reject",
                    })
                    .or_default() += 1;
                for rule in applied {
                    *rules.entry(rule).or_default() += 1;
                }
            }
            source.release();
            if burst.ended {
                break;
            }
        }
    }
    eprintln!("{frames} frames, {cut} of them cut: {outcomes:?}; rules applied: {rules:?}");
    assert!(frames > 100_000, "only {frames} frames");
}
