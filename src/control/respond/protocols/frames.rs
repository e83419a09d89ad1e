//! Protocols whose work is verdicts: `block_ip`, `block_flow`, `rate_limit`, `isolate_host`.

use super::{Planned, Protocol, ProtocolError, Work, typed, wrong};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::safety::card;
use crate::control::respond::words::{Verdict, card_text};
use crate::dataplane::verdict::{Action, FlowSubject, Side, Signature, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Prefixes of one order; a body of HTTP holds half of them.
const PREFIXES_MAX: usize = 100_000;
/// Addresses of one host, and networks that it may still reach.
const OF_HOST_MAX: usize = 256;

fn subject(prefix: &Prefix) -> Subject {
    Subject::Prefix(prefix.first(), prefix.bits())
}

/// What is written as a parameter, in its own form.
fn written(parameters: &impl Serialize) -> Value {
    // Strings, numbers and lists of them: serde_json cannot fail on them.
    serde_json::to_value(parameters).unwrap_or_default()
}

fn planned(parameters: &impl Serialize, mut verdicts: Vec<Verdict>) -> Planned {
    verdicts.sort_by_key(|verdict| verdict.subject);
    verdicts.dedup_by_key(|verdict| verdict.subject);
    Planned { parameters: written(parameters), work: Work::Verdicts(verdicts) }
}

/// Drops what comes from prefixes, goes to them, or both.
pub struct BlockIp;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Source,
    Destination,
    #[default]
    Both,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPrefixes {
    #[serde(skip_serializing, default)]
    prefix: Option<Prefix>,
    #[serde(default)]
    prefixes: Vec<Prefix>,
    #[serde(default)]
    direction: Direction,
}

impl Protocol for BlockIp {
    fn name(&self) -> &'static str {
        "block_ip"
    }

    fn about(&self) -> &'static str {
        "Drops frames from and to addresses or networks: prefix or prefixes; direction: source, destination or both (default)."
    }

    fn template(&self) -> Value {
        json!({ "prefix": "{source}" })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str =
            "write {\"prefix\": \"192.0.2.7\"} or {\"prefixes\": [\"192.0.2.0/24\"], \"direction\": \"source\"}";
        let mut asked: OfPrefixes = typed(self.name(), parameters, REMEDY)?;
        asked.prefixes.extend(asked.prefix.take());
        asked.prefixes.sort();
        asked.prefixes.dedup();
        if asked.prefixes.is_empty() || asked.prefixes.len() > PREFIXES_MAX {
            let count = asked.prefixes.len();
            return wrong(self.name(), format!("{count} prefixes, 1 to {PREFIXES_MAX} are taken at once"), REMEDY);
        }
        let side = match asked.direction {
            Direction::Source => Side::Source,
            Direction::Destination => Side::Destination,
            Direction::Both => Side::Both,
        };
        let verdict = |prefix| Verdict { subject: subject(prefix), action: Action::Drop, side };
        let verdicts = asked.prefixes.iter().map(verdict).collect();
        Ok(planned(&asked, verdicts))
    }
}

/// An IP protocol by name or number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Transport {
    Number(u8),
    Named(Named),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Named {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
}

impl Transport {
    fn number(self) -> u8 {
        match self {
            Transport::Number(number) => number,
            Transport::Named(Named::Tcp) => 6,
            Transport::Named(Named::Udp) => 17,
            Transport::Named(Named::Icmp) => 1,
            Transport::Named(Named::Icmpv6) => 58,
        }
    }
}

/// Drops one flow, both ways.
pub struct BlockFlow;

/// A flow as parameters name it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfFlow {
    source: IpAddr,
    #[serde(default)]
    source_port: u16,
    destination: IpAddr,
    #[serde(default)]
    destination_port: u16,
    protocol: Transport,
}

impl OfFlow {
    /// A connection between these.
    pub(super) fn tcp((source, source_port): (IpAddr, u16), (destination, destination_port): (IpAddr, u16)) -> OfFlow {
        OfFlow { source, source_port, destination, destination_port, protocol: Transport::Named(Named::Tcp) }
    }
}

/// The flow in its own form, and what it is.
pub(super) fn own_flow(
    name: &'static str,
    asked: &OfFlow,
    remedy: &str,
) -> Result<(OfFlow, FlowSubject), ProtocolError> {
    let (source, destination) = (asked.source.to_canonical(), asked.destination.to_canonical());
    let protocol = asked.protocol.number();
    if source.is_ipv4() != destination.is_ipv4() {
        return wrong(name, "one end is of IPv4 and the other of IPv6", remedy);
    }
    if matches!(protocol, 6 | 17) && (asked.source_port == 0 || asked.destination_port == 0) {
        return wrong(name, "a flow of TCP or UDP has two ports", remedy);
    }
    let flow = FlowSubject::new((source, asked.source_port), (destination, asked.destination_port), protocol);
    // The same flow named from its other end is the same.
    let [(source, source_port), (destination, destination_port)] = flow.ends();
    let protocol = Transport::Number(protocol);
    Ok((OfFlow { source, source_port, destination, destination_port, protocol }, flow))
}

impl Protocol for BlockFlow {
    fn name(&self) -> &'static str {
        "block_flow"
    }

    fn about(&self) -> &'static str {
        "Drops one flow, both ways: source, source_port, destination, destination_port, protocol (tcp, udp or a number)."
    }

    fn template(&self) -> Value {
        json!({
            "source": "{flow.source}", "source_port": "{flow.source_port}", "destination": "{flow.destination}",
            "destination_port": "{flow.destination_port}", "protocol": "{flow.protocol}",
        })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str = "write {\"source\": \"192.0.2.7\", \"source_port\": 1024, \"destination\": \"10.0.0.1\", \
                              \"destination_port\": 80, \"protocol\": \"tcp\"}";
        let asked: OfFlow = typed(self.name(), parameters, REMEDY)?;
        let (own, flow) = own_flow(self.name(), &asked, REMEDY)?;
        let verdict = Verdict { subject: Subject::Flow(flow), action: Action::Drop, side: Side::Source };
        Ok(planned(&own, vec![verdict]))
    }
}

/// Passes a source, or packets of one kind to one destination, up to a rate.
pub struct RateLimit;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRate {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    prefix: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    destination: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    protocol: Option<Transport>,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    only_syn: bool,
    per_second: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    burst: Option<u32>,
}

impl Protocol for RateLimit {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn about(&self) -> &'static str {
        "Passes per_second packets (burst at once) and drops more: of a source (prefix), or of a signature: destination, \
         protocol, port (0: any), only_syn."
    }

    fn template(&self) -> Value {
        json!({
            "destination": "{target}", "protocol": "{protocol}", "port": "{port?}", "only_syn": "{syn}", "per_second": 1000,
        })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str = "write {\"prefix\": \"192.0.2.7\", \"per_second\": 100}, or {\"destination\": \"10.0.0.9\", \
                              \"protocol\": \"tcp\", \"port\": 443, \"only_syn\": true, \"per_second\": 1000}";
        let mut asked: OfRate = typed(self.name(), parameters, REMEDY)?;
        let per_second = asked.per_second;
        let burst = asked.burst.unwrap_or(per_second);
        if per_second == 0 || burst == 0 {
            return wrong(self.name(), "a rate of nothing is a block", "write per_second and burst of 1 or more");
        }
        asked.burst = Some(burst);
        let subject = match (asked.prefix, asked.destination, asked.protocol) {
            (Some(prefix), None, None) if asked.port == 0 && !asked.only_syn => subject(&prefix),
            (None, Some(destination), Some(protocol)) => {
                let (destination, protocol) = (destination.to_canonical(), protocol.number());
                if asked.only_syn && protocol != 6 {
                    return wrong(self.name(), "only_syn is of TCP", REMEDY);
                }
                asked.destination = Some(destination);
                asked.protocol = Some(Transport::Number(protocol));
                let (port, only_syn) = (asked.port, asked.only_syn);
                Subject::Signature(Signature { destination, protocol, port, only_syn })
            }
            _ => return wrong(self.name(), "it is neither of a prefix alone nor of destination and protocol", REMEDY),
        };
        let verdict = Verdict { subject, action: Action::Limit { per_second, burst }, side: Side::Source };
        Ok(planned(&asked, vec![verdict]))
    }
}

/// Cuts a host off, both ways, but for what it may still reach.
pub struct IsolateHost;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfHost {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mac: Option<String>,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    allow: Vec<Prefix>,
}

impl Protocol for IsolateHost {
    fn name(&self) -> &'static str {
        "isolate_host"
    }

    fn about(&self) -> &'static str {
        "Cuts a host off, both ways, by its card (mac) and its addresses; allow: networks that it may still reach."
    }

    fn template(&self) -> Value {
        json!({ "addresses": ["{source}"], "mac": "{source_mac?}" })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str = "write {\"mac\": \"02:00:00:00:00:01\", \"addresses\": [\"10.0.0.5\"], \"allow\": [\"10.0.9.0/24\"]}; \
                              card or addresses may be left out, not both";
        let mut asked: OfHost = typed(self.name(), parameters, REMEDY)?;
        let counts = [asked.addresses.len(), asked.allow.len()];
        if counts.iter().any(|count| *count > OF_HOST_MAX) {
            return wrong(self.name(), format!("more than {OF_HOST_MAX} addresses of a host"), REMEDY);
        }
        let mut verdicts = Vec::new();
        if let Some(text) = &mut asked.mac {
            let Some(found) = card(text) else {
                return wrong(self.name(), format!("{text:?} is no card's address"), REMEDY);
            };
            *text = card_text(found);
            verdicts.push(Verdict { subject: Subject::Mac(found), action: Action::Isolate, side: Side::Source });
        }
        asked.addresses.iter_mut().for_each(|address| *address = address.to_canonical());
        asked.addresses.sort();
        asked.addresses.dedup();
        asked.allow.sort();
        asked.allow.dedup();
        let of = |prefix: &Prefix, action| Verdict { subject: subject(prefix), action, side: Side::Both };
        verdicts.extend(asked.addresses.iter().map(|address| of(&Prefix::host(*address), Action::Isolate)));
        if verdicts.is_empty() {
            return wrong(self.name(), "it names neither card nor address", REMEDY);
        }
        let own = |allow: &&Prefix| asked.addresses.iter().any(|address| allow.holds(*address));
        if let Some(allow) = asked.allow.iter().find(own) {
            return wrong(self.name(), format!("allow holds {allow}, in which the host itself lies"), REMEDY);
        }
        verdicts.extend(asked.allow.iter().map(|allow| of(allow, Action::Pass)));
        Ok(planned(&asked, verdicts))
    }
}
