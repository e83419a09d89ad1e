//! `canary`: flows to addresses of documentation, which no network has, that the kernel passes on by itself. `shrike verify-block`
//! rehearses blocks with frames of them: dropped or passed on, the worker never meets one.

use super::{Planned, Protocol, ProtocolError, Work, typed, wrong};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::{Action, FlowSubject, Side, Subject};
use crate::units::SECOND;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// Flows of one order.
const FLOWS_MAX: usize = 64;
/// UDP, between two ports that discard what comes (RFC 863).
pub const PROTOCOL: u8 = 17;
/// See [`PROTOCOL`].
pub const PORT: u16 = 9;
/// Where the flows go to (RFC 5737, RFC 3849), by family.
pub const SINKS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 77), Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x77));

static SINK_PREFIXES: LazyLock<[Prefix; 2]> = LazyLock::new(|| [SINKS.0.into(), SINKS.1.into()].map(Prefix::host));

/// The protocol.
pub struct Canary;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flows {
    sources: Vec<IpAddr>,
}

/// Where a canary of that source flies to.
pub fn sink(source: IpAddr) -> IpAddr {
    if source.is_ipv4() { SINKS.0.into() } else { SINKS.1.into() }
}

impl Protocol for Canary {
    fn name(&self) -> &'static str {
        "canary"
    }

    fn about(&self) -> &'static str {
        "Passes frames from sources to an address of documentation in the kernel, for `shrike verify-block`."
    }

    fn template(&self) -> Value {
        json!({ "sources": ["{source}"] })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        const REMEDY: &str = "write {\"sources\": [\"192.0.2.77\"]}";
        let mut asked: Flows = typed(self.name(), parameters, REMEDY)?;
        asked.sources.iter_mut().for_each(|source| *source = source.to_canonical());
        asked.sources.sort();
        asked.sources.dedup();
        if asked.sources.is_empty() || asked.sources.len() > FLOWS_MAX {
            let count = asked.sources.len();
            return wrong(self.name(), format!("{count} sources, 1 to {FLOWS_MAX} are taken at once"), REMEDY);
        }
        if let Some(source) = asked.sources.iter().find(|source| SINK_PREFIXES.iter().any(|sink| sink.holds(**source)))
        {
            return wrong(self.name(), format!("{source} is where canaries fly to"), REMEDY);
        }
        let shunt = |source: &IpAddr| Verdict {
            subject: Subject::Flow(FlowSubject::new((*source, PORT), (sink(*source), PORT), PROTOCOL)),
            action: Action::Shunt,
            side: Side::Source,
        };
        let mut verdicts: Vec<Verdict> = asked.sources.iter().map(shunt).collect();
        verdicts.sort_by_key(|verdict| verdict.subject);
        Ok(Planned { parameters: serde_json::to_value(&asked).unwrap_or_default(), work: Work::Verdicts(verdicts) })
    }

    fn usual_ttl_ns(&self) -> Option<u64> {
        Some(60 * SECOND)
    }
}
