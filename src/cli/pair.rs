//! What `doctor` says of one pair.

use super::doctor::{Finding, Verdict};
use super::interface;
use crate::dataplane::capture::xdp::{
    InterfaceSettings, OffloadFinding, PairReader, PairSettings, falsifying_offloads,
};
use crate::sys::netlink::{Link, XdpAttachment};
use crate::sys::netns::Namespace;
use std::io;

/// Both ports, what they must have in common, and how the pair stands.
pub fn examine(pair: &PairSettings) -> Vec<Finding> {
    let mut findings: Vec<Finding> = pair.ports.iter().flat_map(interface::examine).collect();
    findings.extend(pair.ports.iter().filter_map(|port| untouched(pair, port)));
    let links = pair.ports.each_ref().map(interface::of);
    if let [Ok(first), Ok(second)] = &links {
        findings.push(same_mtu(pair, [first, second]));
        findings.extend(pair.ports.iter().zip([first, second]).map(|(port, link)| carrier(pair, port, link)));
        findings.push(standing(pair, [first, second], PairReader::open(pair)));
    }
    findings
}

fn prefix(port: &InterfaceSettings) -> String {
    Namespace::named(port.namespace.as_deref()).map(|namespace| namespace.command_prefix()).unwrap_or_default()
}

/// What is taken out of frames would be missing behind the pair: `shrike run` refuses that.
fn untouched(pair: &PairSettings, port: &InterfaceSettings) -> Option<Finding> {
    let found = falsifying_offloads(&port.name, port.namespace.as_deref()).ok()?;
    let harmful: Vec<_> = found.into_iter().filter(OffloadFinding::harms_pairs).collect();
    let names: Vec<_> = harmful.iter().map(|one| one.feature.as_str()).collect();
    let (verdict, found) = match names.len() {
        0 => (Verdict::Good, "none that would change frames on their way".to_owned()),
        _ => (Verdict::Bad, names.join(", ")),
    };
    let fixes: Vec<_> = harmful.iter().map(|one| one.fix.clone()).collect();
    let check = format!("{} {} offloads", pair.name, port.name);
    Some(Finding::new(&check, verdict, found, "behind a pair it would be what arrives", fixes.join("; ")))
}

fn same_mtu(pair: &PairSettings, [first, second]: [&Link; 2]) -> Finding {
    let [one, other] = &pair.ports;
    let is_same = first.mtu_bytes == second.mtu_bytes;
    let found = format!("{} at {}, {} at {}", first.mtu_bytes, one.name, second.mtu_bytes, other.name);
    let fix = format!("{}ip link set {} mtu {}", prefix(other), other.name, first.mtu_bytes);
    let verdict = if is_same { Verdict::Good } else { Verdict::Bad };
    Finding::new(
        &format!("{} MTU", pair.name),
        verdict,
        found,
        "a longer frame is lost at the port with the smaller",
        fix,
    )
}

fn carrier(pair: &PairSettings, port: &InterfaceSettings, link: &Link) -> Finding {
    let (verdict, found) = match (link.up, link.running) {
        (true, true) => (Verdict::Good, "up, with a carrier"),
        (true, false) => (Verdict::Bad, "up, without a carrier"),
        _ => (Verdict::Bad, "down"),
    };
    let fix = if link.up {
        "look at the cable and the other end".to_owned()
    } else {
        format!("{}ip link set {} up", prefix(port), port.name)
    };
    let check = format!("{} {} link", pair.name, port.name);
    Finding::new(&check, verdict, found, "nothing crosses a pair with a port down", fix)
}

/// Program, layout, promiscuity and heartbeat, of whoever runs it, or ran.
fn standing(pair: &PairSettings, links: [&Link; 2], reader: io::Result<PairReader>) -> Finding {
    let check = format!("{} program", pair.name);
    let attached = links.iter().all(|link| link.xdp == XdpAttachment::Native);
    let why = "without a worker frames go by the policy, and without a program nothing crosses";
    let reader = match reader {
        Ok(reader) if attached => reader,
        Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
            let found = format!("{cause}: the next start swaps it");
            return Finding::new(&check, Verdict::Fair, found, why, "systemctl restart shrike");
        }
        Ok(_) => {
            let found = "pinned, and not on both ports";
            return Finding::new(&check, Verdict::Bad, found, why, "start shrike run with this configuration");
        }
        Err(_) => {
            let found = "not attached: nothing crosses";
            return Finding::new(&check, Verdict::Fair, found, why, "start shrike run with this configuration");
        }
    };
    if let Some((port, _)) = pair.ports.iter().zip(links).find(|(_, link)| !link.promiscuous) {
        let found = format!("{} takes only frames to its own card", port.name);
        let fix = format!("{}ip link set {} promisc on", prefix(port), port.name);
        return Finding::new(&check, Verdict::Bad, found, "what crosses is for others", fix);
    }
    let (limit_ns, _) = reader.policy();
    let age_ns = reader.beat_age_ns();
    if reader.is_bypassed() {
        let fix = format!("shrike bypass off {}", pair.name);
        return Finding::new(&check, Verdict::Fair, "attached; bypassed by order", why, fix);
    }
    if age_ns > limit_ns {
        let found =
            format!("attached; no worker was heard of for {} ms, {} may be", age_ns / 1_000_000, limit_ns / 1_000_000);
        return Finding::new(&check, Verdict::Fair, found, why, "start shrike run with this configuration");
    }
    Finding::new(&check, Verdict::Good, "attached to both ports, of this version, inspected by a worker", why, "")
}
