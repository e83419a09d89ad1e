//! Every shared capture through the whole engine: no panic, no hang, nothing lost, packets as the manifest counts them
//! and flows as tshark does, or the difference explained.

mod determinism;
#[path = "../support/captures.rs"]
mod shared;
#[path = "../support/mod.rs"]
mod support;
mod tshark;

use shared::{Capture, Collected, captures, engine, replay};
use shrike::control::replay::Outcome;
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::pcap::{FindingKind, Limits, PcapSource, Reader, Speed};
use shrike::dataplane::flow::EndReason;
use shrike::metrics::{COUNTERS, Counter, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tshark::{Conversation, Oracle};

#[test]
fn the_reader_counts_as_the_manifest_does() {
    let Some(data) = support::shared_data("the_reader_counts_as_the_manifest_does") else { return };
    let mut wrong = Vec::new();
    for capture in captures(&data) {
        let mut source = match PcapSource::open(std::slice::from_ref(&capture.path), Speed::Max) {
            Ok(source) => source,
            Err(error) => {
                if capture.packets.is_some() {
                    wrong.push(format!("{error}"));
                }
                continue;
            }
        };
        let (mut packets, mut bytes) = (0_u64, 0_u64);
        loop {
            let burst = source.receive(64);
            packets += burst.count as u64;
            bytes += (0..burst.count).map(|index| u64::from(source.frame(index).wire_bytes)).sum::<u64>();
            source.release();
            if burst.ended {
                break;
            }
        }
        let report = source.report();
        assert_eq!((packets, bytes), (report.packets(), report.bytes()), "{}: the reader's own account", capture.name);
        let findings: Vec<FindingKind> = report.findings().0.iter().map(|finding| finding.kind).collect();
        if let Some(expected) = capture.packets.filter(|expected| *expected != packets) {
            wrong.push(format!("{}: {packets} packets, {expected} in the manifest, {findings:?}", capture.name));
        }
    }
    assert!(wrong.is_empty(), "{} captures:\n{}", wrong.len(), wrong.join("\n"));
}

/// How long one capture may take before it counts as hung; the longest takes a few seconds on a busy machine.
const HUNG: Duration = Duration::from_secs(120);

#[test]
fn every_capture_closes_and_its_flows_are_tsharks_conversations() {
    let test = "every_capture_closes_and_its_flows_are_tsharks_conversations";
    let Some(data) = support::shared_data(test) else { return };
    let captures = captures(&data);
    let oracle = tshark::oracle(&data, &captures);
    if oracle.is_none() {
        support::skip(test, "tshark", "tshark and mergecap are not installed; flows are not compared");
    }
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let (mut wrong, mut why) = (Vec::new(), BTreeMap::<&str, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (send, next, captures) = (send.clone(), &next, &captures);
            scope.spawn(move || {
                while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Ok(reader) = Reader::open(std::slice::from_ref(&capture.path), Limits::default()) else {
                        continue;
                    };
                    let _ = send.send((capture, None));
                    let outcome = replay(reader, 1, engine(capture.packets.unwrap_or(1000)), None);
                    let _ = send.send((capture, Some(outcome)));
                }
            });
        }
        drop(send);
        let mut running = BTreeSet::new();
        loop {
            match receive.recv_timeout(HUNG) {
                Ok((capture, None)) => drop(running.insert(&capture.name)),
                Ok((capture, Some((outcome, collected)))) => {
                    running.remove(&capture.name);
                    wrong.extend(books(capture, &outcome));
                    wrong.extend(split_flows(capture, &collected));
                    match oracle.as_ref().map(|oracle| compare(capture, &outcome, &collected, oracle)) {
                        Some(Ok(reason)) => *why.entry(reason).or_default() += 1,
                        Some(Err(text)) => wrong.push(text),
                        None => {}
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    // The scope would wait for the hung thread for ever.
                    eprintln!("hung for {HUNG:?} in {running:?}");
                    std::process::exit(101);
                }
            }
        }
    });
    eprintln!("flows against tshark's conversations: {why:?}");
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

/// The equation, and the manifest's number.
fn books(capture: &Capture, outcome: &Outcome) -> Option<String> {
    let packets = outcome.count(Counter::FramesReceived);
    let counted = capture.packets.is_none_or(|expected| expected == packets);
    (!outcome.loss_equation_closed() || !counted).then(|| {
        let moved: Vec<_> =
            COUNTERS.iter().map(|one| (one.name(), outcome.count(*one))).filter(|(_, count)| *count > 0).collect();
        format!("{}: manifest {:?}, read {}, {moved:?}", capture.name, capture.packets, outcome.report.packets())
    })
}

/// One 5-tuple may be several flows, where the one before had ended by FIN, RST or time.
fn split_flows(capture: &Capture, collected: &Collected) -> Option<String> {
    let mut by_key = BTreeMap::<[u64; 5], Vec<_>>::new();
    for flow in &collected.flows {
        by_key.entry(*flow.key.words()).or_default().push(flow);
    }
    by_key.values_mut().find_map(|flows| {
        flows.sort_by_key(|flow| (flow.first_seen, flow.last_seen));
        flows.windows(2).find_map(|pair| {
            let ended = matches!(pair[0].ended, Some(EndReason::Closed | EndReason::Idle));
            let apart = pair[0].last_seen <= pair[1].first_seen;
            (!ended || !apart).then(|| format!("{}: two flows of one key without a reason: {pair:?}", capture.name))
        })
    })
}

/// Captures that differ for a reason of their own.
const EXPLAINED: [(&str, &str); 5] = [
    ("gtp1_gn_normal_incl_fragmentation.pcap", "tshark looks for a tunnel in the first piece of a datagram too"),
    ("gtp2_different_udp_port.pcap", "tshark looks for a tunnel in the first piece of a datagram too"),
    ("vxlan_port_8472.pcap", "tshark knows VXLAN by its new port only"),
    ("LINKTYPE_IPV4_invalid.pcap", "raw IP is opened by its version, whichever the link type promises"),
    ("LINKTYPE_IPV6_invalid.pcap", "raw IP is opened by its version, whichever the link type promises"),
];

/// Our distinct 5-tuples (of ICMP the hosts) against tshark's; where they differ, the rule that says why, and the file by
/// name with what was refused in it.
fn compare(
    capture: &Capture,
    outcome: &Outcome,
    collected: &Collected,
    oracle: &Oracle,
) -> Result<&'static str, String> {
    let Some(theirs) = oracle.get(&capture.name) else { return Ok("not read by tshark") };
    let ours: BTreeSet<Conversation> = collected
        .flows
        .iter()
        .filter(|flow| [1, 6, 17, 58, 132].contains(&flow.key.protocol()))
        .map(|flow| {
            let (low, high, protocol) = (flow.key.low(), flow.key.high(), flow.key.protocol());
            let port = |port| if [1, 58].contains(&protocol) { 0 } else { port };
            Conversation::new((low.ip(), port(low.port)), (high.ip(), port(high.port)), protocol)
        })
        .collect();
    let extra: Vec<_> = ours.difference(theirs).collect();
    let missing: Vec<_> = theirs.difference(&ours).collect();
    if extra.is_empty() && missing.is_empty() {
        return Ok("equal");
    }
    let refused: u64 = COUNTERS.iter().filter(|one| one.role() == Role::Drop).map(|one| outcome.count(*one)).sum();
    let drops: Vec<_> = outcome.drops().into_iter().filter(|(_, count)| *count > 0).collect();
    eprintln!("{}: {} conversations here, {} in tshark; refused {drops:?}", capture.name, ours.len(), theirs.len());
    if let Some((_, why)) = EXPLAINED.iter().find(|(name, _)| capture.name.ends_with(name)) {
        return Ok(why);
    }
    // Every 5-tuple that we lack needs a packet of its own that we refused by name.
    if extra.is_empty() && missing.len() as u64 <= refused {
        return Ok(if outcome.count(Counter::DropLinkType) > 0 {
            "link type that the decoder does not open"
        } else {
            "packets refused by a named counter"
        });
    }
    Err(format!(
        "{}: {} here, {} in tshark; only here {:?}; only there {:?}; drops {drops:?}",
        capture.name,
        ours.len(),
        theirs.len(),
        &extra[..extra.len().min(3)],
        &missing[..missing.len().min(3)],
    ))
}
