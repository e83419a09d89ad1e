//! Suricata's statistics that we can say too, from our counters and flows.

use crate::answer::Answer;
use shrike::dataplane::inspect::Protocol;
use shrike::exchange::FlowSummary;
use shrike::metrics::Counter;

/// Our number for a statistic by Suricata's name of it; `None`: we keep nothing like it.
pub fn number(answer: &Answer, name: &str) -> Option<u64> {
    let packets = |of: &dyn Fn(&FlowSummary) -> bool| -> u64 {
        answer.flows.iter().filter(|flow| of(flow)).map(|flow| flow.packets.iter().sum::<u64>()).sum()
    };
    let count = |counter| answer.outcome.count(counter);
    let refused = || -> u64 { answer.outcome.drops().values().sum() };
    let protocol = |wanted: u8| packets(&|flow| flow.key.protocol() == wanted);
    if let Some(name) = name.strip_prefix("app_layer.flow.") {
        let (name, transport) = match name.rsplit_once('_') {
            Some((name, "tcp")) => (name, Some(6)),
            Some((name, "udp")) => (name, Some(17)),
            _ => (name, None),
        };
        let application = Protocol::ALL.iter().find(|one| one.name() == name)?;
        let is = |flow: &&FlowSummary| {
            flow.application == *application && transport.is_none_or(|number| flow.key.protocol() == number)
        };
        return Some(answer.flows.iter().filter(is).count() as u64);
    }
    Some(match name {
        "decoder.pkts" | "decoder.ethernet" => count(Counter::FramesReceived),
        "decoder.invalid" => refused() + count(Counter::TunnelHeader) + count(Counter::TunnelBroken),
        "decoder.ipv4" => packets(&|flow| flow.key.is_v4()),
        "decoder.ipv6" => packets(&|flow| !flow.key.is_v4()),
        "decoder.tcp" => protocol(6),
        "decoder.udp" => protocol(17),
        "decoder.sctp" => protocol(132),
        "decoder.vlan" => packets(&|flow| flow.key.vlans() != (0, 0)),
        "decoder.unknown_ethertype" => count(Counter::ProcessedOther),
        _ => return None,
    })
}
