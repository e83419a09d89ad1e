//! What a parser at work says of its flow, on its way up.

use super::super::allowance::Allowances;
use super::super::counts::{Cause, Counts};
use super::super::facts::{Fact, Facts};
use super::super::inspector::{Event, Payload, Sink};
use super::super::parse::{Anomaly, Key, Output};
use super::super::protocol::Protocol;
use super::super::proxied::Source;
use super::super::remembered::{Of, Remembered};
use crate::dataplane::flow::Side;

/// Output of a parser at work.
pub(in super::super) struct Out<'a, S> {
    pub(in super::super) facts: &'a mut Facts,
    pub(in super::super) sink: &'a mut S,
    pub(in super::super) counts: &'a mut Counts,
    pub(in super::super) payload: &'a Payload<'a>,
    /// Whose bytes the parser is shown.
    pub(in super::super) side: Side,
    pub(in super::super) protocol: Protocol,
    pub(in super::super) remembered: &'a mut Remembered,
    /// Of the flow and its source.
    pub(in super::super) allowances: &'a mut Allowances,
    /// Whose the flow is, as a proxy said, and whether one passes it on.
    pub(in super::super) source: Source,
    /// The originator turned out to be the server, since the packet was shown.
    pub(in super::super) is_turned: bool,
}

impl<'a, S: Sink> Out<'a, S> {
    /// Of a flow that no proxy spoke for; `facts` may hold some already.
    #[inline]
    pub(in super::super) fn new(
        facts: &'a mut Facts,
        sink: &'a mut S,
        counts: &'a mut Counts,
        remembered: &'a mut Remembered,
        allowances: &'a mut Allowances,
        payload: &'a Payload<'a>,
        protocol: Protocol,
    ) -> Out<'a, S> {
        let (side, source) = (payload.side, Source::default());
        Out { facts, sink, counts, payload, side, protocol, remembered, allowances, source, is_turned: false }
    }

    /// The same of a flow whose source a proxy may have said.
    #[inline]
    pub(in super::super) fn of(self, source: Source) -> Out<'a, S> {
        Out { source, ..self }
    }

    /// Whose texts are remembered.
    fn owner(&self) -> Of<'a> {
        let Payload { key, originator, first_seen, .. } = *self.payload;
        Of { key, originator, first_seen }
    }

    fn send(&mut self, anomaly: Option<(Protocol, u8)>) {
        if !self.allowances.take(self.payload.time) {
            self.counts.note(Cause::EventsSuppressed, 1);
            return;
        }
        let sender = match anomaly {
            // Sides are those of the packet.
            Some(_) if self.is_turned => self.side.other(),
            Some(_) => self.side,
            None => self.facts.sender(),
        };
        self.source.put(self.facts);
        self.sink.event(&Event {
            time: self.payload.time,
            key: *self.payload.key,
            originator: if self.is_turned { self.payload.originator.flip() } else { self.payload.originator },
            sender,
            first_seen: Some(self.payload.first_seen),
            protocol: self.protocol,
            anomaly,
            facts: self.facts.as_bytes(),
            truncated: self.facts.is_truncated(),
            icmp: None,
            through_proxy: self.source.is_tunnelled,
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

    fn remember(&mut self, key: Key, text: &[u8]) {
        if !self.remembered.put(&self.owner(), key, text, self.payload.time) {
            self.limit();
        }
    }

    fn recall(&mut self, key: Key, fact: Fact) -> bool {
        let owner = self.owner();
        let Some(text) = self.remembered.get(&owner, key, self.payload.time) else { return false };
        self.facts.put(fact, text);
        true
    }

    fn is_first(&mut self, number: u64) -> bool {
        let owner = self.owner();
        let is_first = self.remembered.get(&owner, Key::Number(number), self.payload.time).is_none();
        if is_first {
            self.remember(Key::Number(number), b"");
        }
        is_first
    }
}
