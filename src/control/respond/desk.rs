//! What comes to the responder from outside: alerts through the playbooks, who proved himself, what a look found.
//!
//! One thread calls it. An alert whose source is not proven yet is answered by a limit on the packets' signature, where the playbook has
//! one, and kept for a while, for the proof may come later; at most [`WAITING_MAX`] of them, of which the earliest gives way.

use super::Now;
use super::audit::{Event, Row};
use super::clientele::Clientele;
use super::intended::Stage;
use super::kernel::Found;
use super::live::Plan;
use super::order::{Mode, Order, OrderError, Outcome};
use super::playbooks::{self, Mode as PlaybookMode, Playbook, Wanted};
use super::prefix::Prefix;
use super::proven::{AGE_NS, Proven, Spoken};
use super::responder::Responder;
use super::safety::{Observed, Proof, Who};
use crate::control::alert::Alert;
use crate::dataplane::detect::Detector;
use crate::dataplane::verdict::{Action, Subject};
use crate::exchange::Proved;
use crate::units::{SECOND, Timestamp};
use std::collections::VecDeque;
use std::net::IpAddr;

/// Alerts that wait for a proof; some 2 KiB each.
const WAITING_MAX: usize = 1024;
/// How long they wait: a scanner may find the first open port late, and a tap's connection is told seconds behind its end.
const WAIT_NS: u64 = 15 * SECOND;
/// Kind of a flood that is made of connections.
const REQUESTS: &str = "http";
/// How far from the evidence of a scan its source may have proved itself.
const FRESH_NS: u64 = 2 * SECOND;
/// IP protocol number.
const TCP: u8 = 6;
/// A flow whose latest packet lies no further before a block was alive when that began.
const ALIVE_NS: u64 = 5 * SECOND;

struct Waiting {
    alert: Alert,
    until: Timestamp,
    /// Playbooks that have had their way with it.
    done: Vec<String>,
}

/// See the module.
pub struct Desk {
    /// Who decides.
    pub responder: Responder,
    playbooks: Vec<Playbook>,
    home: Vec<Prefix>,
    proven: Proven,
    clientele: Clientele,
    waiting: VecDeque<Waiting>,
    /// Established flows of others that met an automatic block, since the look before.
    cut: u64,
    /// Packets in all, as last told, and at the look before.
    packets: (u64, u64),
    /// From the latest packet of evidence and proof to the kernel, nanoseconds, of what was blocked or limited automatically since the
    /// last time asked.
    pub applied_ns: Vec<u64>,
}

impl Desk {
    /// With these playbooks and this home.
    pub fn new(responder: Responder, playbooks: Vec<Playbook>, home: Vec<Prefix>) -> Desk {
        Desk {
            responder,
            playbooks,
            home,
            proven: Proven::default(),
            clientele: Clientele::default(),
            waiting: VecDeque::new(),
            cut: 0,
            packets: (0, 0),
            applied_ns: Vec::new(),
        }
    }

    /// Answers otherwise from now on.
    pub fn change(&mut self, plan: Plan) {
        self.responder.change(plan.settings, plan.webhooks, plan.commands);
        (self.playbooks, self.home) = (plan.playbooks, plan.home);
    }

    /// What speaks for it that the alert's source did what it is about, and since when. That a client is there is no reason to believe
    /// who writes its address: what counts is the very connection that the evidence rests on. What a flood is made of needs no
    /// answer, so it proves nothing, but for whole requests. Of a scan no single connection tells; but who scans by connections
    /// opens some for nothing, which clients do not, and in the same seconds. Datagrams prove nothing.
    fn proof(&self, alert: &Alert) -> (Proof, Timestamp) {
        let evidence = &alert.evidence;
        let Some(source) = evidence.source else { return Default::default() };
        if !self.responder.shared.can_enforce() {
            let known = self.proven.of(source);
            return (known.proof, known.since);
        }
        let proved = match evidence.detector {
            Detector::Flood if evidence.kind != REQUESTS => None,
            Detector::Scan => self
                .proven
                .probed(source, evidence.target)
                .filter(|at| at.after(FRESH_NS) >= evidence.time && *at <= evidence.time.after(FRESH_NS)),
            _ => evidence
                .flow
                .as_ref()
                .filter(|flow| flow.protocol == TCP && flow.source.to_canonical() == source.to_canonical())
                .and_then(|flow| self.proven.connection(flow.flow_id?)),
        };
        proved.map_or_else(Default::default, |since| (Proof::Handshake, since))
    }

    /// An alert was raised; `now` is asked again after each response, for how long that took.
    pub fn alert(&mut self, alert: Alert, now: &dyn Fn() -> Now) {
        if self.playbooks.is_empty() {
            return;
        }
        let proof = self.proof(&alert);
        let mut done = Vec::new();
        for wanted in playbooks::evaluate(&self.playbooks, &alert, proof.0, &self.home) {
            let is_done = self.carry_out(&wanted, &alert, proof, true, now);
            // Whoever it was, and while it is waited for who it was: more packets like these than are good for the target.
            if let Some(limit) = wanted.limit.as_ref().filter(|_| !is_done || wanted.parameters.is_err()) {
                self.carry_out(limit, &alert, proof, false, now);
            }
            if is_done {
                done.push(wanted.playbook);
            }
        }
        // Is there one that a proof would make a difference to?
        let with_proof = playbooks::evaluate(&self.playbooks, &alert, Proof::Handshake, &self.home);
        let waits = with_proof.iter().any(|wanted| !done.contains(&wanted.playbook));
        // Nothing will ever prove who floods.
        let is_provable = alert.evidence.source.is_some()
            && (alert.evidence.detector != Detector::Flood || alert.evidence.kind == REQUESTS);
        if proof.0 == Proof::None && is_provable && waits {
            if self.waiting.len() >= WAITING_MAX
                && let Some(earliest) = self.waiting.pop_front()
            {
                self.give_up(&earliest, now);
            }
            let until = now().wall.after(WAIT_NS);
            self.waiting.push_back(Waiting { alert, until, done });
        }
    }

    /// Does what a playbook wants; `false`: it wants a proof first.
    fn carry_out(
        &mut self,
        wanted: &Wanted,
        alert: &Alert,
        (proof, since): (Proof, Timestamp),
        patient: bool,
        now: &dyn Fn() -> Now,
    ) -> bool {
        let who = Who::Playbook(wanted.playbook.clone());
        let parameters = match &wanted.parameters {
            Ok(parameters) => parameters.clone(),
            Err(lacks) => {
                let subject = format!("{} {}", alert.evidence.detector.name(), alert.evidence.kind);
                let row = Row::own(
                    Event::Refused,
                    now().wall,
                    &subject,
                    format!("{} needs what is not told: {lacks}", wanted.protocol),
                );
                self.responder.note(Row { who: who.to_string(), evidence: vec![alert.id.clone()], ..row });
                return true;
            }
        };
        let mode = match wanted.mode {
            PlaybookMode::Observe => Mode::DryRun,
            PlaybookMode::Ask => Mode::Propose,
            PlaybookMode::Auto => Mode::Do,
        };
        let mut order = Order {
            protocol: wanted.protocol.clone(),
            parameters,
            ttl_ns: wanted.ttl_ns,
            who,
            why: alert.evidence.summary.clone(),
            evidence: vec![alert.id.clone()],
            proof,
            mode,
            patient,
        };
        let asked = now();
        match self.responder.order(&order, asked) {
            Ok((response, Outcome::Begun))
                if response.stage == Stage::InForce && !response.verdicts.is_empty() && response.kernel.failed == 0 =>
            {
                // Before both were there it could not be done.
                let sufficient = alert.evidence.told().max(since);
                let took_ns = u64::try_from(self.responder.took.as_nanos()).unwrap_or(u64::MAX);
                self.applied_ns.push(asked.wall.since(sufficient).saturating_add(took_ns));
                true
            }
            Ok(_) => true,
            Err(OrderError::Refused(refusal)) if refusal.rule == "proof" && patient => false,
            // Beyond the budget a person decides.
            Err(OrderError::Refused(refusal))
                if mode == Mode::Do && ["brake", "budget_rate"].contains(&&*refusal.rule) =>
            {
                order.mode = Mode::Propose;
                // Why that does not go either is in the audit.
                drop(self.responder.order(&order, now()));
                true
            }
            Err(cause) => {
                tracing::info!("playbook {}: {cause}", wanted.playbook);
                true
            }
        }
    }

    /// No proof came: what was refused for that is written down.
    fn give_up(&mut self, waiting: &Waiting, now: &dyn Fn() -> Now) {
        for wanted in playbooks::evaluate(&self.playbooks, &waiting.alert, Proof::None, &self.home) {
            if !waiting.done.contains(&wanted.playbook) {
                self.carry_out(&wanted, &waiting.alert, Default::default(), false, now);
            }
        }
    }

    /// Two spoke with each other. Proves something only where nobody could have seen who stands on which side.
    pub fn spoken(&mut self, spoken: &Spoken, now: &dyn Fn() -> Now) {
        self.clientele.learn(spoken, &self.home, now().wall);
        self.cut += u64::from(self.was_cut(spoken));
        if !self.responder.shared.can_enforce() {
            self.proven.learn(spoken, now().wall);
            self.heed([spoken.originator, spoken.responder], spoken.last_seen, now);
        }
    }

    /// A connection proved at `time` that its originator gets what is sent to the address he writes.
    pub fn proven(&mut self, proved: &Proved, time: Timestamp, now: &dyn Fn() -> Now) {
        let moment = now();
        if self.proven.connected(proved, time, moment.wall) {
            self.responder.shared.vouch(proved.source, moment.kernel(moment.wall.after(AGE_NS)));
        }
        self.heed([proved.source.to_canonical(); 2], time, now);
    }

    /// What waited for the proof of one of these.
    fn heed(&mut self, proven: [IpAddr; 2], time: Timestamp, now: &dyn Fn() -> Now) {
        let is_meant = |waiting: &Waiting| {
            waiting.alert.evidence.source.is_some_and(|source| proven.contains(&source.to_canonical()))
        };
        // Most who connect are nobody's suspects.
        if !self.waiting.iter().any(is_meant) {
            return;
        }
        let mut kept = VecDeque::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let (proof, _) = self.proof(&waiting.alert);
            if proof == Proof::None || !is_meant(&waiting) {
                kept.push_back(waiting);
                continue;
            }
            let proof = (proof, time);
            for wanted in playbooks::evaluate(&self.playbooks, &waiting.alert, proof.0, &self.home) {
                if !waiting.done.contains(&wanted.playbook) {
                    self.carry_out(&wanted, &waiting.alert, proof, false, now);
                }
            }
        }
        self.waiting = kept;
    }

    /// Did a connection that others had begun meet an automatic block?
    fn was_cut(&self, spoken: &Spoken) -> bool {
        let begun = |address| self.blocked_since(address);
        let alive = |begun: Timestamp| spoken.first_seen < begun && spoken.last_seen.after(ALIVE_NS) >= begun;
        begun(spoken.originator).is_none() && begun(spoken.responder).is_some_and(alive)
    }

    /// Since when an address is dropped by a playbook's word.
    fn blocked_since(&self, address: IpAddr) -> Option<Timestamp> {
        let set = self.responder.shared.read();
        let prefixes = [Prefix::host(address), Prefix::around(address, if address.is_ipv4() { 32 } else { 64 })];
        prefixes.into_iter().find_map(|prefix| {
            let entry = set.entry(&Subject::Prefix(prefix.first(), prefix.bits()))?;
            let mut since = None;
            entry.is_held(|id| {
                let automatic = set.response(id).filter(|one| one.who.is_automatic());
                since = since.max(automatic.map(|one| one.begun));
                false
            });
            since.filter(|_| matches!(entry.verdict.action, Action::Drop | Action::Isolate))
        })
    }

    /// Packets that came in so far, in all, those that the kernel dropped among them.
    pub fn packets(&mut self, total: u64) {
        self.packets.0 = total;
    }

    /// What a look found.
    pub fn found(&mut self, found: &Found, now: Now) {
        let (total, before) = self.packets;
        self.packets.1 = total;
        // The two are not read at one moment.
        let packets = total.saturating_sub(before).max(found.dropped);
        // What is wider was a person's setting, and who is behind it cannot be told.
        let hosts = found.met.iter().filter(|(first, bits)| *bits >= if first.is_ipv4() { 32 } else { 64 });
        let assets = hosts.map(|(host, _)| self.clientele.of(*host)).sum();
        let seen = Observed { flows: std::mem::take(&mut self.cut), assets, dropped: found.dropped, packets };
        self.responder.observe(seen, now);
        let named = found.named.join(", ");
        if found.missing + found.changed > 0 {
            let result =
                format!("{} were missing in the kernel and {} changed: put back", found.missing, found.changed);
            tracing::warn!("verdicts: {result} ({named})");
            self.responder.note(Row::own(Event::Repaired, now.wall, &named, result));
        }
        if found.foreign > 0 {
            let result = format!("{} that nobody asked for were in the kernel: taken out", found.foreign);
            tracing::warn!("verdicts: {result} ({named})");
            self.responder.note(Row::own(Event::Foreign, now.wall, &named, result));
        }
    }

    /// Ends what is due.
    pub fn tick(&mut self, now: &dyn Fn() -> Now) {
        let moment = now();
        self.responder.tick(moment);
        while self.waiting.front().is_some_and(|waiting| waiting.until <= moment.wall) {
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.give_up(&waiting, now);
        }
    }
}
