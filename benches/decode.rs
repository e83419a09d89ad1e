//! Decode alone, for counting instructions: `decode CASE COUNT` decodes COUNT frames of one kind and nothing else.
//!
//! `ci/bench.sh` runs it under callgrind at two lengths; the difference divided by the frames between is the figure.

use shrike::dataplane::capture::{FrameView, LinkType};
use shrike::dataplane::decode::{Decoded, Packet, decode};
use std::hint::black_box;

/// Ethernet II with the given EtherType and bytes, padded to a 64-byte frame without FCS.
fn ethernet(ether_type: u16, rest: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ether_type.to_be_bytes());
    for part in rest {
        frame.extend_from_slice(part);
    }
    frame.resize(frame.len().max(60), 0);
    frame
}

fn frame(case: &str) -> Vec<u8> {
    let tcp = [0x9c, 0x40, 1, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10, 0xfa, 0xf0, 0, 0, 0, 0];
    let udp = [0x9c, 0x40, 0, 53, 0, 18, 0, 0];
    let v4 = |protocol, total| [0x45, 0, 0, total, 1, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 9, 10, 0, 0, 2];
    let mut v6 = [0; 40];
    (v6[0], v6[5], v6[6], v6[7], v6[23], v6[39]) = (0x60, 20, 6, 64, 9, 2);
    match case {
        "tcp4" => ethernet(0x0800, &[&v4(6, 40), &tcp]),
        "udp4" => ethernet(0x0800, &[&v4(17, 38), &udp]),
        "vlan_tcp4" => ethernet(0x8100, &[&[0, 5, 8, 0], &v4(6, 40), &tcp]),
        "tcp6" => ethernet(0x86dd, &[&v6, &tcp]),
        "icmp4" => ethernet(0x0800, &[&v4(1, 28), &[8, 0, 0, 0, 1, 2, 3, 4]]),
        "first_fragment" => {
            let mut head = v4(17, 46);
            (head[6], head[7]) = (0x20, 0);
            ethernet(0x0800, &[&head, &udp, &[0; 16]])
        }
        _ => panic!("no such case: {case}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let case = arguments.first().map_or("tcp4", String::as_str);
    let count = arguments.get(1).map_or(1_000_000, |word| word.parse().expect("COUNT is a number"));
    let frame = frame(case);
    let mut burst = [Packet::default(); 32];
    let mut flows = 0_u64;
    let started = std::time::Instant::now();
    for _ in 0..count / burst.len() {
        for packet in &mut burst {
            let bytes = black_box(frame.as_slice());
            let view = FrameView {
                port: 0,
                bytes,
                wire_bytes: bytes.len() as u32,
                time: None,
                link: black_box(LinkType::Ethernet),
            };
            flows += u64::from(!matches!(decode(view, packet), Decoded::Reject(_)));
        }
        black_box(&burst);
    }
    let nanoseconds = started.elapsed().as_nanos() as f64;
    println!("{case} {flows} {:.2} ns", nanoseconds / flows.max(1) as f64);
}
