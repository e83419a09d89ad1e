//! What recent alerts are about.

use crate::control::alert::Alert;
use crate::exchange::FlowSummary;
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

/// Marks remembered; the oldest are forgotten.
const MARKS: usize = 1 << 14;

/// A flow by its number, or a part of its ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mark {
    Flow(u64),
    /// Originator, responder, responder's port.
    Ends(Option<IpAddr>, Option<IpAddr>, Option<u16>),
}

/// Bounded set of marks.
#[derive(Default)]
pub(super) struct Marks {
    known: HashSet<Mark>,
    order: VecDeque<Mark>,
}

impl Marks {
    pub(super) fn add(&mut self, alert: &Alert) {
        let evidence = &alert.evidence;
        if let Some(number) = evidence.flow.as_ref().and_then(|flow| flow.flow_id) {
            self.remember(Mark::Flow(number));
        }
        if evidence.source.is_some() || evidence.target.is_some() {
            self.remember(Mark::Ends(evidence.source, evidence.target, evidence.port));
        }
    }

    fn remember(&mut self, mark: Mark) {
        if !self.known.insert(mark) {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > MARKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Is an alert about this flow: it names the flow, or its originator and what else it names of it fits? An alert that
    /// names no originator (a flood from many) is not about the connections of those who are served all the while.
    pub(super) fn has(&self, flow: &FlowSummary) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let (from, to) = flow.key.endpoints(flow.originator);
        let (source, target, port) = (Some(from.ip()), Some(to.ip()), Some(to.port));
        let parts = [(source, target), (source, None), (None, target.filter(|_| !is_conversation(flow)))];
        let fits = |(source, target)| {
            [port, None].into_iter().any(|port| self.known.contains(&Mark::Ends(source, target, port)))
        };
        parts.into_iter().any(fits) || self.known.contains(&Mark::Flow(flow.flow_id()))
    }
}

/// A TCP connection on which both sides said something.
fn is_conversation(flow: &FlowSummary) -> bool {
    flow.key.protocol() == 6 && flow.payload.iter().all(|bytes| *bytes > 0)
}
