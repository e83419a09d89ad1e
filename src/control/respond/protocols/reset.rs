//! `reset_connection`: ends one TCP connection at both of its ends.
//!
//! Lasts until it is done or its time is over: an idle connection is reset by its next frame, for only that tells where its ends
//! are. What is gone does not come back, so there is nothing to undo; taken back before, it does nothing more.

use super::frames::{OfFlow, own_flow};
use super::{Lasting, Planned, Protocol, ProtocolError, Work, typed, wrong};
use crate::control::respond::intended::Id;
use crate::control::respond::watch::{ResetJob, Watcher};
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::{Action, FlowSubject, Side, Subject};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;

/// For how long the next frame is waited for, where nobody says.
const USUAL_NS: u64 = 60 * SECOND;
const REMEDY: &str =
    "write {\"source\": \"192.0.2.7\", \"source_port\": 1024, \"destination\": \"10.0.0.1\", \"destination_port\": 80}";

/// The protocol.
pub struct ResetConnection {
    watcher: Option<Watcher>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
    #[serde(skip_serializing, default)]
    protocol: Option<Value>,
}

impl ResetConnection {
    /// One that sees and sends so; `None`: it only knows its parameters.
    pub fn new(watcher: Option<Watcher>) -> ResetConnection {
        ResetConnection { watcher }
    }

    fn flow(&self, parameters: &Value) -> Result<(Value, FlowSubject), ProtocolError> {
        let asked: Connection = typed(self.name(), parameters, REMEDY)?;
        if asked.protocol.as_ref().is_some_and(|protocol| *protocol != json!("tcp") && *protocol != json!(6)) {
            return wrong(self.name(), "only TCP has connections that can be reset", REMEDY);
        }
        let of = OfFlow::tcp((asked.source, asked.source_port), (asked.destination, asked.destination_port));
        let (_, flow) = own_flow(self.name(), &of, REMEDY)?;
        let [(source, source_port), (destination, destination_port)] = flow.ends();
        let own = Connection { source, source_port, destination, destination_port, protocol: None };
        Ok((serde_json::to_value(own).unwrap_or_default(), flow))
    }
}

impl Protocol for ResetConnection {
    fn name(&self) -> &'static str {
        "reset_connection"
    }

    fn about(&self) -> &'static str {
        "Ends a TCP connection by resets to both ends, at its next frame: source, source_port, destination, destination_port."
    }

    fn template(&self) -> Value {
        json!({
            "source": "{flow.source}", "source_port": "{flow.source_port}", "destination": "{flow.destination}",
            "destination_port": "{flow.destination_port}", "protocol": "{flow.protocol}",
        })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        let (parameters, flow) = self.flow(parameters)?;
        let Some(watcher) = self.watcher.clone().filter(Watcher::can_send) else {
            return Err(ProtocolError::Unavailable {
                protocol: self.name(),
                why: "there is no interface to send resets by: add a [[pair]], or name one beside the tap with \
                      reset_interface in [respond]",
            });
        };
        Ok(Planned { parameters, work: Work::Lasting(Box::new(Resetting { watcher, flow })) })
    }

    fn judged(&self, parameters: &Value) -> Vec<Verdict> {
        // Whoever may not be blocked may not be cut off either.
        let of = |(_, flow)| Verdict { subject: Subject::Flow(flow), action: Action::Drop, side: Side::Source };
        self.flow(parameters).map(of).into_iter().collect()
    }

    fn usual_ttl_ns(&self) -> Option<u64> {
        Some(USUAL_NS)
    }

    fn ended(&self, id: Id) {
        if let Some(watcher) = &self.watcher {
            watcher.end(id);
        }
    }
}

struct Resetting {
    watcher: Watcher,
    flow: FlowSubject,
}

impl Lasting for Resetting {
    fn begin(&self, id: Id, until: Timestamp) -> Result<(), String> {
        self.watcher.begin(id, Box::new(ResetJob::new(&self.flow)), until)
    }
}
