//! `capture`: whole frames of an address, a network, a card or a flow into a pcapng file, for a time.
//!
//! Asked for again it goes on for longer in the same file; taken back it ends with what it has. Nobody is cut off by it, so safety
//! has only its time to judge.

use super::frames::{OfFlow, own_flow};
use super::{Lasting, Planned, Protocol, ProtocolError, Work, typed, wrong};
use crate::control::respond::intended::Id;
use crate::control::respond::prefix::Prefix;
use crate::control::respond::safety::card;
use crate::control::respond::watch::Watcher;
use crate::control::respond::watch::capture::{CaptureJob, Captures};
use crate::control::respond::words::card_text;
use crate::dataplane::verdict::Subject;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// For how long, where nobody says.
const USUAL_NS: u64 = 60 * SECOND;
const REMEDY: &str = "write {\"prefix\": \"192.0.2.7\"}, {\"mac\": \"02:00:00:00:00:01\"}, or {\"flow\": {\"source\": \"192.0.2.7\", \
                      \"source_port\": 1024, \"destination\": \"10.0.0.1\", \"destination_port\": 80, \"protocol\": \"tcp\"}}";

/// The protocol.
pub struct Capture {
    means: Option<(Watcher, Captures)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entity {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    prefix: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    flow: Option<OfFlow>,
    /// At most; as many as a file may have, if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    bytes: Option<u64>,
}

impl Capture {
    /// One that sees frames and writes there; `None`: it only knows its parameters.
    pub fn new(means: Option<(Watcher, Captures)>) -> Capture {
        Capture { means }
    }
}

impl Protocol for Capture {
    fn name(&self) -> &'static str {
        "capture"
    }

    fn about(&self) -> &'static str {
        "Writes whole frames of an address or network (prefix), a card (mac) or a flow into a pcapng file; bytes: at most."
    }

    fn template(&self) -> Value {
        json!({ "prefix": "{source}" })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        let mut asked: Entity = typed(self.name(), parameters, REMEDY)?;
        let subject = match (asked.prefix, &mut asked.mac, &mut asked.flow) {
            (Some(prefix), None, None) => Subject::Prefix(prefix.first(), prefix.bits()),
            (None, Some(text), None) => {
                let Some(found) = card(text) else {
                    return wrong(self.name(), format!("{text:?} is no card's address"), REMEDY);
                };
                *text = card_text(found);
                Subject::Mac(found)
            }
            (None, None, Some(flow)) => {
                let (own, found) = own_flow(self.name(), flow, REMEDY)?;
                *flow = own;
                Subject::Flow(found)
            }
            _ => return wrong(self.name(), "it names not one of prefix, mac and flow", REMEDY),
        };
        if asked.bytes.is_some_and(|bytes| bytes < 1024) {
            return wrong(self.name(), "bytes leaves no room for a frame", "write 1024 or more");
        }
        let Some((watcher, captures)) = self.means.clone() else {
            return Err(ProtocolError::Unavailable { protocol: self.name(), why: "this program sees no frames" });
        };
        let bytes_max = asked.bytes.unwrap_or(u64::MAX);
        let parameters = serde_json::to_value(&asked).unwrap_or_default();
        let work = Work::Lasting(Box::new(Capturing { watcher, captures, subject, bytes_max }));
        Ok(Planned { parameters, work })
    }

    fn usual_ttl_ns(&self) -> Option<u64> {
        Some(USUAL_NS)
    }

    fn ended(&self, id: Id) {
        if let Some((watcher, _)) = &self.means {
            watcher.end(id);
        }
    }
}

struct Capturing {
    watcher: Watcher,
    captures: Captures,
    subject: Subject,
    bytes_max: u64,
}

impl Lasting for Capturing {
    fn begin(&self, id: Id, until: Timestamp) -> Result<(), String> {
        let job = CaptureJob::new(self.subject, self.captures.clone(), id, self.bytes_max);
        self.watcher.begin(id, Box::new(job), until)
    }
}
