//! What comes to the responder from outside: alerts through the playbooks, who proved himself, what a look found.
//!
//! One thread calls it. An alert whose source is not proven yet is kept for a while, for the flows that prove it end later than
//! they alarm; at most [`WAITING_MAX`] of them, of which the earliest gives way.

use super::Now;
use super::audit::{Event, Row};
use super::clientele::Clientele;
use super::intended::Stage;
use super::kernel::Found;
use super::live::Plan;
use super::order::{Mode, Order, OrderError, Outcome};
use super::playbooks::{self, Mode as PlaybookMode, Playbook, Wanted};
use super::prefix::Prefix;
use super::protocols::Registry;
use super::proven::{Proven, Spoken};
use super::responder::Responder;
use super::safety::{Observed, Proof, Who};
use crate::control::alert::Alert;
use crate::dataplane::verdict::{Action, Subject};
use crate::units::{SECOND, Timestamp};
use std::collections::VecDeque;
use std::net::IpAddr;

/// Alerts that wait for a proof; some 2 KiB each.
const WAITING_MAX: usize = 1024;
/// How long they wait: a connection's summary lingers for seconds behind its end.
const WAIT_NS: u64 = 15 * SECOND;
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
    /// From the evidence's latest packet to the kernel, nanoseconds, of what was blocked automatically since the last time asked.
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
        self.responder.change(plan.settings, Registry::shipped(plan.webhooks, plan.commands));
        (self.playbooks, self.home) = (plan.playbooks, plan.home);
    }

    fn proof(&self, alert: &Alert) -> Proof {
        alert.evidence.source.map_or(Proof::None, |source| self.proven.of(source))
    }

    /// An alert was raised; `now` is asked again after each response, for how long that took.
    pub fn alert(&mut self, alert: Alert, now: &dyn Fn() -> Now) {
        if self.playbooks.is_empty() {
            return;
        }
        let proof = self.proof(&alert);
        let mut done = Vec::new();
        for wanted in playbooks::evaluate(&self.playbooks, &alert, proof, &self.home) {
            if self.carry_out(&wanted, &alert, proof, true, now) {
                done.push(wanted.playbook);
            }
        }
        // Is there one that a proof would make a difference to?
        let with_proof = playbooks::evaluate(&self.playbooks, &alert, Proof::Handshake, &self.home);
        let waits = with_proof.iter().any(|wanted| !done.contains(&wanted.playbook));
        if proof == Proof::None && alert.evidence.source.is_some() && waits {
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
        proof: Proof,
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
        match self.responder.order(&order, now()) {
            Ok((response, Outcome::Begun)) if response.stage == Stage::InForce && !response.verdicts.is_empty() => {
                self.applied_ns.push(now().wall.since(alert.evidence.told()));
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
                self.carry_out(&wanted, &waiting.alert, Proof::None, false, now);
            }
        }
    }

    /// Two proved themselves.
    pub fn spoken(&mut self, spoken: &Spoken, now: &dyn Fn() -> Now) {
        self.proven.learn(spoken, now().wall);
        self.clientele.learn(spoken, &self.home, now().wall);
        self.cut += u64::from(self.was_cut(spoken));
        let is_meant = |waiting: &Waiting| {
            let source = waiting.alert.evidence.source.map(|source| source.to_canonical());
            source == Some(spoken.originator) || source == Some(spoken.responder)
        };
        while let Some(place) = self.waiting.iter().position(is_meant) {
            let Some(waiting) = self.waiting.remove(place) else { break };
            let proof = self.proof(&waiting.alert);
            for wanted in playbooks::evaluate(&self.playbooks, &waiting.alert, proof, &self.home) {
                if !waiting.done.contains(&wanted.playbook) {
                    self.carry_out(&wanted, &waiting.alert, proof, false, now);
                }
            }
        }
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
