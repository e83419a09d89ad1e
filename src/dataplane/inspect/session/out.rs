//! What a parser at work says of its flow, on its way up.

use super::super::counts::{Cause, Counts};
use super::super::facts::Facts;
use super::super::inspector::{Event, Payload, Sink};
use super::super::parse::{Anomaly, Output};
use super::super::protocol::Protocol;
use super::super::proxied::Source;

/// Output of a parser at work.
pub(in super::super) struct Out<'a, S> {
    pub(in super::super) facts: &'a mut Facts,
    pub(in super::super) sink: &'a mut S,
    pub(in super::super) counts: &'a mut Counts,
    pub(in super::super) payload: &'a Payload<'a>,
    pub(in super::super) protocol: Protocol,
    /// Whose the flow is, as a proxy said.
    pub(in super::super) source: Source,
    /// The originator turned out to be the server, since the packet was shown.
    pub(in super::super) is_turned: bool,
}

impl<S: Sink> Out<'_, S> {
    fn send(&mut self, anomaly: Option<(Protocol, u8)>) {
        self.source.put(self.facts);
        self.sink.event(&Event {
            time: self.payload.time,
            key: *self.payload.key,
            originator: if self.is_turned { self.payload.originator.flip() } else { self.payload.originator },
            first_seen: Some(self.payload.first_seen),
            protocol: self.protocol,
            anomaly,
            facts: self.facts.as_bytes(),
            truncated: self.facts.is_truncated(),
            icmp: None,
        });
    }
}

impl<S: Sink> Output for Out<'_, S> {
    fn facts(&mut self) -> &mut Facts {
        self.facts
    }

    fn event(&mut self) {
        if !self.facts.is_empty() {
            self.counts.events += 1;
            self.send(None);
        }
        self.facts.clear();
    }

    fn anomaly(&mut self, anomaly: Anomaly) {
        self.counts.anomalies += 1;
        self.send(Some((anomaly.protocol, anomaly.index)));
    }

    fn limit(&mut self) {
        self.counts.note(Cause::LimitReached, 1);
    }

    fn turn(&mut self) {
        self.is_turned = !self.is_turned;
    }
}
