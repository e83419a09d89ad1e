//! Pairs among what is captured: their queues, their books, what is wrong with them, and the orders they take.

use super::QueueParts;
use super::live::StartError;
use crate::control::view::{Amount, CaptureMode, Degraded, Equation, Metric, MetricKind, PairView, QueueStatus};
use crate::dataplane::capture::xdp::{
    Cause, Direction, Fail, InterfaceState, LinkPolicy, ObtainedMode, Pair, PairSettings, PairSource, PairStop,
};
use crate::metrics::{COUNTERS, Counter};
use crate::units::{QueueId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// While frames run, a pair's books and its workers' are read one after the other: so many frames may come between.
const READING_SLACK: i64 = 256;
/// Frames that a program has counted and not yet dealt with, at most: one for each CPU.
const IN_PROGRAM: i64 = 64;

/// One pair with what is known of its queues.
pub(super) struct PairPort {
    pair: Pair,
    /// The program's number and the NIC's number of each queue opened.
    queues: Vec<(QueueId, u32)>,
    stops: Vec<PairStop>,
    /// Latest reading.
    directions: Option<[Direction; 2]>,
    trouble_since: Option<Timestamp>,
    /// What each queue had before the intake ended.
    obtained: BTreeMap<QueueId, QueueStatus>,
}

impl PairPort {
    /// Attaches a pair.
    pub(super) fn attach(settings: &PairSettings) -> Result<PairPort, StartError> {
        let pair = Pair::attach(settings)?;
        let (queues, stops, obtained) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(PairPort { pair, queues, stops, directions: None, trouble_since: None, obtained })
    }

    /// The NIC's numbers of the queues to open.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.pair.queues().to_vec()
    }

    /// Opens a queue of both ports.
    pub(super) fn open(&self, number: u32) -> Result<(PairSource, PairStop), StartError> {
        let source = self.pair.open_queue(number)?;
        let stop =
            source.stop_handle().map_err(|cause| StartError::System(format!("watch queue {number}: {cause}")))?;
        Ok((source, stop))
    }

    /// A queue that was opened, named.
    pub(super) fn add(&mut self, id: QueueId, number: u32, stop: PairStop, parts: QueueParts) -> QueueParts {
        self.queues.push((id, number));
        self.stops.push(stop);
        let name = self.pair.name();
        QueueParts { name: format!("{name}:{number}"), interface: Arc::from(name), ..parts }
    }

    /// Whether the queue is one of its own.
    pub(super) fn has(&self, queue: QueueId) -> bool {
        self.queues.iter().any(|(id, _)| *id == queue)
    }

    /// How a queue's frames come in.
    pub(super) fn queue_status(&self, queue: QueueId, stopped: bool) -> Option<QueueStatus> {
        if stopped && let Some(obtained) = self.obtained.get(&queue) {
            return Some(obtained.clone());
        }
        let number = self.queues.iter().find(|(id, _)| *id == queue)?.1;
        let status = self.pair.status();
        let facts = status.queues.iter().find(|facts| facts[0].queue == number);
        let mode = match facts.map(|[first, _]| first.mode) {
            None => CaptureMode::Detached,
            Some(ObtainedMode::ZeroCopy) => CaptureMode::ZeroCopy,
            Some(ObtainedMode::Copy) => CaptureMode::Copy,
            Some(ObtainedMode::Generic) => CaptureMode::Generic,
        };
        let [port, _] = &self.pair.settings().ports;
        Some(QueueStatus {
            id: queue,
            interface: self.pair.name().to_owned(),
            namespace: port.namespace.clone(),
            nic_queue: number,
            mode,
            requested: super::live::word(&port.mode),
            huge_pages: facts.is_some_and(|[first, _]| first.huge_pages.is_ok()),
            busy_poll: facts.is_some_and(|[first, _]| matches!(first.busy_poll, Some(Ok(())))),
            symmetry: if self.queues.len() == 1 { "single" } else { "handover" }.into(),
        })
    }

    fn directions(&self) -> [Direction; 2] {
        self.directions.clone().unwrap_or_else(|| self.pair.directions())
    }

    /// What must balance, a direction at a time, and between both and the workers.
    pub(super) fn equations(
        &self,
        counters: &BTreeMap<QueueId, [u64; COUNTERS.len()]>,
        stopped: bool,
    ) -> Vec<Equation> {
        let rings = if stopped { 0 } else { i64::from(self.pair.settings().ports[0].ring_entries) };
        let queues = i64::try_from(self.queues.len().max(1)).unwrap_or(1);
        let slack = if stopped { 0 } else { READING_SLACK };
        let directions = self.directions();
        let mut equations = Vec::new();
        for direction in &directions {
            equations.extend(of_direction(self.pair.name(), direction, rings * queues));
        }
        // A former process's frames are in the pinned counters of both.
        let received =
            self.queues.iter().filter_map(|(id, _)| counters.get(id)).map(|of| of[Counter::FramesReceived as usize]);
        let taken =
            directions.iter().map(|direction| Amount::new(format!("taken {}", direction.from), direction.taken, ""));
        let right = vec![Amount::new("frames_received", received.sum(), "")];
        let mut workers =
            Equation::new("workers", Some(self.pair.name().to_owned()), None, "rx", taken.collect(), right);
        workers.closed = (-slack..=slack).contains(&workers.difference);
        equations.push(workers);
        equations
    }

    /// Frames lost or withheld, by cause; none of them is in the worker's books.
    pub(super) fn drops(&self) -> Vec<Amount> {
        let directions = self.directions();
        let sum = |of: &dyn Fn(&Direction) -> u64| directions.iter().map(of).sum::<u64>();
        let mut drops = Vec::new();
        for cause in Cause::ALL {
            let help = "Frames that a closed policy withheld because of it.";
            drops.push(Amount::new(
                format!("withheld_{}", cause.name()),
                sum(&|one| one.program.withheld[cause]),
                help,
            ));
        }
        drops.extend([
            Amount::new("pair_refused", sum(&|one| one.refused), "Frames that a pair's socket refused."),
            Amount::new(
                "peer_refused",
                sum(&|one| one.program.peer_refused),
                "Frames passed on in the kernel that the other port did not take.",
            ),
            Amount::new("tx_refused", sum(&|one| one.tx_refused), "Frames that the other port's driver dropped."),
            Amount::new(
                "pair_lost_at_death",
                sum(&|one| one.lost_at_death),
                "Frames that died in a ring with a killed process.",
            ),
            Amount::new(
                "pair_lost_in_hands",
                sum(&|one| one.lost_in_hands),
                "Frames taken by a process that died before they were sent.",
            ),
            Amount::new("pair_abandoned", sum(&|one| one.abandoned), "Frames in a ring that was closed."),
        ]);
        drops
    }

    /// For Prometheus.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        let mut add = |name, help, direction: &Direction, cause: Option<Cause>, value| {
            let mut labels = vec![
                ("pair", self.pair.name().to_owned()),
                ("from", direction.from.clone()),
                ("to", direction.to.clone()),
            ];
            labels.extend(cause.map(|cause| ("cause", cause.name().to_owned())));
            metrics.push(Metric { name, help, kind: MetricKind::Counter, labels, value });
        };
        type Of = fn(&Direction) -> u64;
        let terms: [(&'static str, &'static str, Of); 8] = [
            ("shrike_pair_received_total", "Frames that came in on a pair's port.", |one| one.received),
            ("shrike_pair_forwarded_total", "Frames forwarded, by a worker or in the kernel.", Direction::forwarded),
            ("shrike_pair_sent_total", "Frames that workers sent.", |one| one.sent),
            ("shrike_pair_dropped_total", "Frames dropped by a verdict.", |one| one.program.dropped()),
            ("shrike_pair_shunted_total", "Frames passed on by a flow's verdict.", |one| one.program.shunted),
            ("shrike_pair_peer_refused_total", "Frames passed on that the other port did not take.", |one| {
                one.program.peer_refused
            }),
            ("shrike_pair_tx_refused_total", "Frames that the other port's driver dropped.", |one| one.tx_refused),
            ("shrike_pair_lost_total", "Frames lost in rings and hands.", |one| {
                one.lost_at_death + one.lost_in_hands + one.abandoned + one.refused
            }),
        ];
        let directions = self.directions();
        for (name, help, of) in terms {
            directions.iter().for_each(|direction| add(name, help, direction, None, of(direction) as f64));
        }
        let link = self.pair.status().link;
        let (help, direction) = ("Times a port was set down because the other had lost its link.", &directions[0]);
        if link.policy == LinkPolicy::Follow {
            add("shrike_pair_link_set_down_total", help, direction, None, link.set_down as f64);
        }
        for cause in Cause::ALL {
            for direction in &directions {
                let (bypassed, withheld) = (direction.program.bypassed, direction.program.withheld);
                let help = "Frames passed on in the kernel without inspection.";
                add("shrike_pair_bypassed_total", help, direction, Some(cause), bypassed[cause] as f64);
                add("shrike_pair_withheld_total", "Frames withheld.", direction, Some(cause), withheld[cause] as f64);
            }
        }
        // One series after the other of a name.
        metrics.sort_by_key(|metric| metric.name);
        metrics
    }

    /// What is wrong.
    pub(super) fn degraded(&self, now: Timestamp, stopped: bool) -> Vec<Degraded> {
        let since = self.trouble_since.unwrap_or(now);
        let entry = |reason| Degraded { part: "capture".into(), reason, since };
        self.troubles(stopped).into_iter().map(entry).collect()
    }

    fn troubles(&self, stopped: bool) -> Vec<String> {
        if stopped {
            return Vec::new();
        }
        let status = self.pair.status();
        let name = &status.name;
        let mut troubles = Vec::new();
        if status.bypassed {
            troubles.push(format!(
                "{name} is bypassed: its frames are forwarded without inspection; `shrike bypass off {name}` ends it"
            ));
        }
        troubles.extend(status.link_trouble.iter().map(|why| format!("{name}: its link follows only in part: {why}")));
        for (port, is_held) in status.ports.iter().zip(status.link.held) {
            match &port.state {
                InterfaceState::Running => {}
                InterfaceState::NoCarrier if is_held => {
                    troubles
                        .push(format!("{name}: {} is held down, for the other port has lost its link", port.interface));
                }
                InterfaceState::NoCarrier => {
                    troubles.push(format!(
                        "{name}: {} is down or has no carrier; nothing crosses the pair",
                        port.interface
                    ));
                }
                InterfaceState::Away { reason } => {
                    troubles
                        .push(format!("{name}: {} is away ({reason}); tried again until it is back", port.interface));
                }
            }
        }
        for (queue, reason) in &status.waiting {
            troubles.push(format!(
                "{name}: queue {queue} has no sockets ({reason}); its frames go by the policy of a crash"
            ));
        }
        troubles
    }

    /// Things worth knowing.
    pub(super) fn notes(&self) -> Vec<String> {
        let status = self.pair.status();
        let mut notes = Vec::new();
        let closed: Vec<_> = Cause::ALL
            .iter()
            .filter(|cause| status.policy[**cause] == Fail::Closed)
            .map(|cause| cause.name())
            .collect();
        notes.push(match closed.len() {
            0 => format!("{}: fails open, whatever the cause", status.name),
            7 => format!("{}: fails closed, whatever the cause", status.name),
            _ => format!("{}: fails closed on {}, else open", status.name, closed.join(", ")),
        });
        for port in status.ports.iter().filter(|port| port.taken_over) {
            notes.push(format!("{}: counts of a former process were taken over", port.interface));
        }
        let refused = status.queues.iter().flatten().find_map(|facts| facts.huge_pages.as_ref().err());
        if let Some(reason) = refused.filter(|_| self.pair.settings().ports[0].huge_pages) {
            notes.push(format!("{}: UMEM on ordinary pages ({reason})", status.name));
        }
        notes.extend(
            status.queues.iter().flat_map(|both| &both[0].refused).map(|mode| format!("{}: {mode}", status.name)),
        );
        notes
    }

    /// Housekeeping about four times a second.
    pub(super) fn poll(&mut self, now: Timestamp) {
        self.directions = Some(self.pair.directions());
        let troubled = !self.troubles(false).is_empty();
        self.trouble_since = if troubled { self.trouble_since.or(Some(now)) } else { None };
    }

    /// Ends the intake without losing a frame; what the wire brings from now on goes by the policy of a stop.
    pub(super) fn stop(&mut self) {
        let ids: Vec<QueueId> = self.queues.iter().map(|(id, _)| *id).collect();
        self.obtained = ids.into_iter().filter_map(|id| Some((id, self.queue_status(id, false)?))).collect();
        std::mem::take(&mut self.stops).iter().for_each(PairStop::stop);
    }

    /// Says or takes back a cause of the worker's side.
    pub(super) fn say(&self, cause: Cause, holds: bool) {
        self.pair.say(cause, holds);
    }

    /// Other policies, where it is the pair of that name.
    pub(super) fn change(&self, settings: &PairSettings) {
        if settings.name == self.pair.name() {
            self.pair.change(settings);
        }
    }

    /// An operator's bypass; `false`: it is another pair's name.
    pub(super) fn bypass(&self, name: &str, on: bool) -> bool {
        let is_meant = self.pair.name() == name;
        if is_meant {
            self.pair.bypass(on);
        }
        is_meant
    }

    /// What is shown of it.
    pub(super) fn view(&self) -> PairView {
        PairView { status: self.pair.status(), directions: self.directions() }
    }
}

/// A frame that came in has one fate in the program; of those that it gave to sockets each was taken or has a name; of those taken
/// each was sent or has a name.
///
/// The terms are read in this order, so that what came meanwhile can only be too much on the right; `rings`: what may be between the
/// two sides besides.
fn of_direction(pair: &str, direction: &Direction, rings: i64) -> [Equation; 3] {
    let term = |name: &str, value: u64| Amount::new(name, value, "");
    let way = format!("{} to {}", direction.from, direction.to);
    let meanwhile = i64::try_from(direction.came_meanwhile).unwrap_or(i64::MAX);
    let in_program = if meanwhile > 0 { IN_PROGRAM } else { 0 };
    let equation = |name: &str, left: Vec<Amount>, right: Vec<Amount>, [least, most]: [i64; 2]| {
        let mut equation = Equation::new(name, Some(pair.to_owned()), None, way.clone(), left, right);
        equation.closed = (least.saturating_add(meanwhile).saturating_neg()..=most).contains(&equation.difference);
        equation
    };
    let program = &direction.program;
    let mut fates = vec![
        term("redirected", direction.redirected),
        term("dropped_mac", program.dropped_mac),
        term("dropped_flow", program.dropped_flow),
        term("dropped_signature", program.dropped_signature),
        term("dropped_prefix", program.dropped_prefix),
        term("shunted", program.shunted),
    ];
    for cause in Cause::ALL {
        fates.push(term(&format!("bypassed_{}", cause.name()), program.bypassed[cause]));
        fates.push(term(&format!("withheld_{}", cause.name()), program.withheld[cause]));
    }
    let ends = vec![
        term("taken", direction.taken),
        term("refused", direction.refused),
        term("abandoned", direction.abandoned),
        term("lost_at_death", direction.lost_at_death),
    ];
    let sent = vec![
        term("sent", direction.sent),
        term("tx_refused", direction.tx_refused),
        term("lost_in_hands", direction.lost_in_hands),
    ];
    [
        equation("pair program", vec![term("received", direction.received)], fates, [0, in_program]),
        equation("pair ring", vec![term("redirected", direction.redirected)], ends, [0, rings]),
        // What lay in the ring may have been taken and sent meanwhile.
        equation("pair wire", vec![term("taken", direction.taken)], sent, [rings, rings]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::xdp::{ByCause, PortCounts};

    fn good() -> Direction {
        let bypassed = ByCause([0, 40, 10, 0, 0, 0, 0]);
        let program =
            PortCounts { dropped_prefix: 100, shunted: 50, bypassed, peer_refused: 3, ..PortCounts::default() };
        Direction {
            from: "a".into(),
            to: "b".into(),
            received: 100_200,
            program,
            redirected: 100_000,
            refused: 7,
            taken: 99_900,
            sent: 99_880,
            tx_refused: 5,
            abandoned: 3,
            lost_at_death: 90,
            lost_in_hands: 15,
            rebuilds: 0,
            came_meanwhile: 0,
        }
    }

    fn open(direction: &Direction, rings: i64) -> Vec<String> {
        let equations = of_direction("wire", direction, rings).into_iter();
        equations.filter(|equation| !equation.closed).map(|equation| equation.name).collect()
    }

    #[test]
    fn each_gap_opens_the_equation_it_belongs_to() {
        assert_eq!(open(&good(), 0), [""; 0]);
        assert_eq!(good().forwarded(), 99_880 + 97);
        for (changed, name) in [
            (Direction { received: 100_201, ..good() }, "pair program"),
            (Direction { received: 100_199, ..good() }, "pair program"),
            (Direction { lost_at_death: 89, ..good() }, "pair ring"),
            (Direction { sent: 99_879, ..good() }, "pair wire"),
        ] {
            assert_eq!(open(&changed, 0), [name]);
            let still = if name == "pair program" { vec![name.to_owned()] } else { Vec::new() };
            assert_eq!(open(&changed, 2048), still, "while frames run a few are under way");
        }
        let gap = Direction { taken: 90_000, sent: 89_980, ..good() };
        assert_eq!(open(&gap, 2048), ["pair ring"], "more than the rings hold");
        let doubled = Direction { sent: 102_500, ..good() };
        assert_eq!(open(&doubled, 2048), ["pair wire"], "more than there were");
    }

    /// However long a reading takes: what came since its first term may be in the later ones, and no more.
    #[test]
    fn what_came_while_the_books_were_read_opens_none() {
        let came = |came_meanwhile, more: u64| {
            let taken = good().taken + more;
            Direction {
                came_meanwhile,
                redirected: good().redirected + more,
                taken,
                sent: good().sent + more,
                ..good()
            }
        };
        assert_eq!(open(&came(20_000, 20_000), 0), [""; 0]);
        assert_eq!(open(&came(20_000, 20_001), 0), ["pair program"]);
        let in_program = Direction { received: good().received + 2, ..came(1, 0) };
        assert_eq!(open(&in_program, 0), [""; 0]);
    }
}
