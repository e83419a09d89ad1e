//! Decides: orders of people and of playbooks through safety into the intended set, onto the disk, and then to the kernel; what playbooks
//! do by themselves to the kernel first.
//!
//! One thread calls it; the present is handed in. What it says of an order is what stands on the disk.

use super::Now;
use super::audit::{Event, Row, cut};
use super::disk::{Change, Disk, DiskError};
use super::intended::{Id, Response, ResponseState, Stage};
use super::kernel::{NO_PAIR, Shared};
use super::order::{Mode, Order, OrderError, Outcome, Settings};
use super::protocols::{CommandPlan, Lasting, Once, Planned, Registry, WebhookPlan, Work};
use super::safety::{AllowList, Ask, Brake, Observed, Proof, Settings as Limits, Who, judge};
use crate::units::{SECOND, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Proposals that wait at a time; beyond that the one that lapses first gives way.
const PROPOSALS_MAX: usize = 1000;
/// What acts once that is remembered at a time, so that it does not act again about the same.
const ONCE_MAX: usize = 10_000;

/// Takes what acts once, never waiting; `false`: it has no room.
pub type Runner = Box<dyn FnMut(Id, Box<dyn Once>) -> bool + Send>;

/// See the module.
pub struct Responder {
    pub(super) settings: Settings,
    registry: Registry,
    allow: AllowList,
    disk: Disk,
    pub(super) shared: Arc<Shared>,
    runner: Runner,
    pub(super) brake: Brake,
    /// When the latest order was asked for, and how long after that the kernel had it, if a playbook asked.
    asked: Instant,
    pub(super) took: Duration,
    /// Taken out of the set and not yet off the disk.
    unwritten: Vec<Id>,
    /// Rows that the disk did not take, to be written with the next.
    rows: Vec<Row>,
}

/// Rows kept while the disk does not take them; the earliest go.
const ROWS_MAX: usize = 1000;

impl Responder {
    /// Over an open file, with what was found there.
    pub fn new(
        settings: Settings,
        registry: Registry,
        allow: AllowList,
        (disk, found): (Disk, Vec<Response>),
        shared: Arc<Shared>,
        runner: Runner,
        now: Now,
    ) -> Responder {
        let mut responder = Responder {
            settings,
            registry,
            allow,
            disk,
            shared,
            runner,
            brake: Brake::default(),
            asked: Instant::now(),
            took: Duration::ZERO,
            unwritten: Vec::new(),
            rows: Vec::new(),
        };
        responder.restore(found, now);
        responder
    }

    /// Puts back what was in force, before anything else is done.
    fn restore(&mut self, found: Vec<Response>, now: Now) {
        for mut response in found {
            let planned = self.registry.find(&response.protocol).and_then(|one| one.plan(&response.parameters));
            let lost = match planned {
                Ok(Planned { work: Work::Verdicts(verdicts), .. }) => {
                    response.verdicts = verdicts;
                    None
                }
                Ok(Planned { work: Work::Lasting(lasting), .. }) if response.stage == Stage::InForce => {
                    lasting.begin(response.id, response.until).err()
                }
                Ok(_) if response.stage == Stage::Running => Some("the program ended before it was done".to_owned()),
                Ok(_) => None,
                Err(cause) => Some(cause.to_string()),
            };
            if let Some(why) = lost {
                self.rows.push(Row::about(&response, Event::Failed, now.wall, "shrike", why));
                self.unwritten.push(response.id);
                continue;
            }
            self.shared.write().put(response);
        }
        // Those that were taken back again count too: a restart gives nobody a new budget.
        match self.disk.begun_since(Timestamp(now.wall.0.saturating_sub(60 * SECOND))) {
            Ok(begun) => begun.into_iter().for_each(|at| self.shared.write().count_begun(at)),
            Err(cause) => tracing::warn!("{cause}"),
        }
        self.recheck(now);
        self.tick(now);
    }

    /// Is it allowed, and what would it be?
    fn weigh(&self, order: &Order, now: Now) -> Result<(Planned, Id, u64, u32), OrderError> {
        let protocol = self.registry.find(&order.protocol)?;
        let planned = protocol.plan(&order.parameters)?;
        let id = Id::of(&order.protocol, &planned.parameters, &order.who);
        let mut repeats = 0;
        let mut ttl_ns = order.ttl_ns.or(protocol.usual_ttl_ns()).unwrap_or(self.settings.ttl_ns);
        if order.who.is_automatic() {
            let since = Timestamp(now.wall.0.saturating_sub(self.settings.memory_ns));
            let of_anybody = Id::of_anybody(&order.protocol, &planned.parameters);
            repeats = self.disk.repeats(&of_anybody, since)?.unwrap_or(0);
            let doubled = ttl_ns.saturating_mul(1_u64.checked_shl(repeats).unwrap_or(u64::MAX));
            // What was asked for at first may be longer than escalation goes.
            ttl_ns = doubled.min(self.settings.escalation_max_ns.max(ttl_ns)).min(self.settings.limits.ttl_max_ns);
        }
        Ok((planned, id, ttl_ns, repeats))
    }

    /// Is a response allowed that somebody asks for? A proposal needs no budget: whoever accepts it is asked again.
    fn judged(&self, who: &Who, asked: &Response, extends: bool, mode: Mode, now: Now) -> Result<(), OrderError> {
        if !asked.verdicts.is_empty() && !self.shared.can_enforce() {
            return Err(OrderError::NoPair(NO_PAIR));
        }
        let proposes = mode == Mode::Propose;
        let Response { verdicts, ttl_ns, proof, .. } = asked;
        let judged = self.registry.find(&asked.protocol)?.judged(&asked.parameters);
        let verdicts = if verdicts.is_empty() { &judged } else { verdicts };
        let ask = Ask { who, verdicts, ttl_ns: *ttl_ns, proof: *proof, extends: extends || proposes };
        let in_force = self.shared.read().in_force(now.wall, self.brake.is_on() && !proposes);
        Ok(judge(&ask, &self.allow, &in_force, &self.settings.limits)?)
    }

    /// Follows an order; the response as it stands then, and what came of it.
    ///
    /// # Errors
    /// Why not. The audit has it but where the disk does not work.
    pub fn order(&mut self, order: &Order, now: Now) -> Result<(Response, Outcome), OrderError> {
        self.asked = Instant::now();
        let (planned, id, ttl_ns, repeats) = self.weigh(order, now)?;
        let verdicts = match &planned.work {
            Work::Verdicts(verdicts) => verdicts.clone(),
            Work::Once(_) | Work::Lasting(_) => Vec::new(),
        };
        let existing = self.shared.read().response(&id).cloned();
        let extends = existing.as_ref().is_some_and(Response::holds);
        let mut response = Response {
            id,
            protocol: order.protocol.clone(),
            parameters: planned.parameters,
            playbook: if let Who::Playbook(name) = &order.who { Some(name.clone()) } else { None },
            who: order.who.clone(),
            why: cut(&order.why),
            evidence: Vec::new(),
            proof: order.proof,
            begun: now.wall,
            until: now.wall.after(ttl_ns),
            ttl_ns,
            repeats,
            stage: Stage::InForce,
            outcome: None,
            verdicts,
            kernel: ResponseState::default(),
        };
        response.add_evidence(&order.evidence);
        let who = order.who.to_string();
        if let Err(cause) = self.judged(&order.who, &response, extends, order.mode, now) {
            let is_early = matches!(&cause, OrderError::Refused(refusal) if refusal.rule == "proof");
            if !(is_early && order.patient) {
                self.note(Row::about(&response, Event::Refused, now.wall, &who, cause.to_string()));
            }
            return Err(cause);
        }
        if order.mode == Mode::DryRun {
            let result = format!("for {} s", ttl_ns / SECOND);
            self.note(Row::about(&response, Event::WouldDo, now.wall, &who, result));
            return Ok((response, Outcome::WouldDo));
        }
        if let Some(existing) = existing
            && let Some(known) = self.known(existing, &response, order, &planned.work, now)?
        {
            return Ok(known);
        }
        if order.mode == Mode::Propose {
            response.stage = Stage::Proposed;
            response.until = now.wall.after(self.settings.proposal_ns);
            self.make_room(Stage::Proposed, PROPOSALS_MAX, now);
            let result = format!("waits {} s to be accepted", self.settings.proposal_ns / SECOND);
            self.keep(&response, Row::about(&response, Event::Proposed, now.wall, &who, result))?;
            return Ok((response, Outcome::Proposed));
        }
        let row = Row::about(&response, Event::Requested, now.wall, &who, format!("for {} s", ttl_ns / SECOND));
        self.begin(response, planned.work, row, now).map(|response| (response, Outcome::Begun))
    }

    /// What comes of an order for what is there already; `None`: it begins anew.
    fn known(
        &mut self,
        existing: Response,
        asked: &Response,
        order: &Order,
        work: &Work,
        now: Now,
    ) -> Result<Option<(Response, Outcome)>, OrderError> {
        match existing.stage {
            // It is over, and a person wants it again.
            Stage::Done if matches!(work, Work::Lasting(_)) && !order.who.is_automatic() => Ok(None),
            Stage::Proposed if order.mode == Mode::Propose => Ok(Some((existing, Outcome::Already))),
            Stage::Proposed | Stage::Failed => Ok(None),
            Stage::Running | Stage::Done => Ok(Some((existing, Outcome::Already))),
            Stage::InForce => {
                let until = existing.until.max(asked.until);
                // A storm of alerts about the same is not a storm of writes: an eighth of the time is worth one.
                let little = until.since(existing.until) < existing.ttl_ns / 8;
                if order.mode == Mode::Propose || until == existing.until || order.who.is_automatic() && little {
                    return Ok(Some((existing, Outcome::Already)));
                }
                let mut longer = Response { until, ttl_ns: asked.ttl_ns, ..existing };
                longer.add_evidence(&asked.evidence);
                longer.why.clone_from(&asked.why);
                let result = format!("until {}", until.to_rfc3339());
                self.keep(&longer, Row::about(&longer, Event::Extended, now.wall, &order.who.to_string(), result))?;
                if let Work::Lasting(lasting) = work {
                    self.go_on(&longer, &**lasting, now);
                } else {
                    self.apply(&[longer.id], now);
                }
                Ok(Some((self.latest(longer), Outcome::Extended)))
            }
        }
    }

    /// Puts a response in force, or hands on what acts once.
    fn begin(&mut self, mut response: Response, work: Work, row: Row, now: Now) -> Result<Response, OrderError> {
        match work {
            Work::Verdicts(_) if response.who.is_automatic() => {
                response.stage = Stage::InForce;
                self.begin_at_once(&response, row, now)?;
            }
            Work::Verdicts(_) => {
                response.stage = Stage::InForce;
                self.keep(&response, row)?;
                self.apply(&[response.id], now);
            }
            Work::Lasting(lasting) => {
                response.stage = Stage::InForce;
                self.make_room(Stage::Done, ONCE_MAX, now);
                self.make_room(Stage::Failed, ONCE_MAX, now);
                let is_cut = self
                    .registry
                    .find(&response.protocol)
                    .is_ok_and(|one| !one.judged(&response.parameters).is_empty());
                self.keep(&response, row)?;
                if is_cut && response.who.is_automatic() {
                    self.shared.write().count_begun(now.wall);
                }
                self.go_on(&response, &*lasting, now);
            }
            Work::Once(once) => {
                response.stage = Stage::Running;
                self.make_room(Stage::Done, ONCE_MAX, now);
                self.make_room(Stage::Failed, ONCE_MAX, now);
                self.keep(&response, row)?;
                if !(self.runner)(response.id, once) {
                    self.acted(response.id, Err("too many wait to act: it was given up".into()), now);
                }
            }
        }
        Ok(self.latest(response))
    }

    /// Has what goes on begin, or go on for longer.
    fn go_on(&mut self, response: &Response, lasting: &dyn Lasting, now: Now) {
        if let Err(why) = lasting.begin(response.id, response.until) {
            self.acted(response.id, Err(why), now);
        }
    }

    /// Into the kernel and then onto the disk, for which a playbook's answer does not wait: it takes tens of milliseconds at times. Who
    /// dies between the two leaves a verdict that nobody remembers: it ends by itself, and the next start takes it out before.
    fn begin_at_once(&mut self, response: &Response, row: Row, now: Now) -> Result<(), OrderError> {
        let before = self.shared.read().response(&response.id).cloned();
        let mut set = self.shared.write();
        set.put(response.clone());
        set.count_begun(now.wall);
        drop(set);
        self.shared.apply(now);
        self.took = self.asked.elapsed();
        let audit = [Some(row), self.outcome(&response.id, now)].into_iter().flatten().collect();
        if let Err(cause) = self.save(&Change { put: vec![response], audit, ..Change::default() }) {
            // Nobody would remember it.
            let mut set = self.shared.write();
            set.remove(&response.id);
            before.into_iter().for_each(|before| set.put(before));
            drop(set);
            self.shared.apply(now);
            return Err(cause.into());
        }
        Ok(())
    }

    fn latest(&self, response: Response) -> Response {
        self.shared.read().response(&response.id).cloned().unwrap_or(response)
    }

    /// Onto the disk, then into the set.
    fn keep(&mut self, response: &Response, row: Row) -> Result<(), OrderError> {
        self.save(&Change { put: vec![response], audit: vec![row], ..Change::default() })?;
        self.shared.write().put(response.clone());
        Ok(())
    }

    /// Writes a change, with what is left of others.
    fn save(&mut self, change: &Change<'_>) -> Result<(), DiskError> {
        // What is put in anew is not taken out after all.
        self.unwritten.retain(|id| !change.put.iter().any(|response| response.id == *id));
        let mut whole = Change {
            put: change.put.clone(),
            remove: [self.unwritten.as_slice(), &change.remove].concat(),
            remember: change.remember.clone(),
            audit: std::mem::take(&mut self.rows),
        };
        let old = whole.audit.len();
        whole.audit.extend(change.audit.iter().cloned());
        match self.disk.write(&whole) {
            Ok(()) => {
                self.unwritten.clear();
                Ok(())
            }
            Err(cause) => {
                whole.audit.truncate(old);
                self.rows = whole.audit;
                Err(cause)
            }
        }
    }

    /// A row, now or with the next write.
    pub(super) fn note(&mut self, row: Row) {
        if let Err(cause) = self.save(&Change { audit: vec![row.clone()], ..Change::default() }) {
            tracing::warn!("{cause}");
            self.rows.push(row);
            let above = self.rows.len().saturating_sub(ROWS_MAX);
            self.rows.drain(..above);
        }
    }

    /// Tells the kernel of what changed, and the audit what it said of these.
    fn apply(&mut self, ids: &[Id], now: Now) {
        self.shared.apply(now);
        for id in ids {
            self.outcome(id, now).into_iter().for_each(|row| self.note(row));
        }
    }

    /// What the kernel said of a response.
    fn outcome(&self, id: &Id, now: Now) -> Option<Row> {
        let response = self.shared.read().response(id).cloned()?;
        let kernel = &response.kernel;
        let (event, result) = match kernel.failed {
            0 => (Event::Applied, format!("{} subjects", kernel.enforced)),
            failed => (Event::Failed, format!("{failed} subjects: {}", kernel.reason.as_deref().unwrap_or_default())),
        };
        Some(Row::about(&response, event, now.wall, "shrike", result))
    }

    /// The earliest to end of a stage give way to a new one.
    fn make_room(&mut self, stage: Stage, most: usize, now: Now) {
        let (count, earliest) = self.shared.read().of_stage(stage);
        if let Some(id) = earliest.filter(|_| count >= most) {
            self.end(&[id], Event::Lapsed, "shrike", "newer ones took its place", now);
        }
    }

    /// Accepts a proposal.
    ///
    /// # Errors
    /// There is none of that id, or a rule says no by now.
    pub fn accept(&mut self, id: &Id, person: &str, now: Now) -> Result<Response, OrderError> {
        let proposal = self.shared.read().response(id).cloned().ok_or_else(|| OrderError::NotFound(id.to_string()))?;
        if proposal.stage != Stage::Proposed {
            return Err(OrderError::Conflict(format!("{id} is no proposal any more: it is {}", proposal.state())));
        }
        let who = Who::Person(person.to_owned());
        let planned = self.registry.find(&proposal.protocol)?.plan(&proposal.parameters)?;
        if let Err(cause) = self.judged(&who, &proposal, false, Mode::Do, now) {
            self.note(Row::about(&proposal, Event::Refused, now.wall, person, cause.to_string()));
            return Err(cause);
        }
        let until = now.wall.after(proposal.ttl_ns);
        let response = Response { who, begun: now.wall, until, ..proposal };
        let row =
            Row::about(&response, Event::Accepted, now.wall, person, format!("for {} s", response.ttl_ns / SECOND));
        self.begin(response, planned.work, row, now)
    }

    /// Takes a response back, or rejects a proposal.
    ///
    /// # Errors
    /// There is none of that id. That the disk does not take it is none: it is taken out of the kernel, and off the disk as soon as
    /// that works.
    pub fn undo(&mut self, id: &Id, person: &str, now: Now) -> Result<Response, OrderError> {
        let response = self.shared.read().response(id).cloned().ok_or_else(|| OrderError::NotFound(id.to_string()))?;
        let event = if response.stage == Stage::Proposed { Event::Rejected } else { Event::Undone };
        self.end(&[*id], event, person, "", now);
        Ok(response)
    }

    /// Takes responses out of set, kernel and disk.
    fn end(&mut self, ids: &[Id], event: Event, who: &str, why: &str, now: Now) {
        let mut change = Change { remove: ids.to_vec(), ..Change::default() };
        let mut set = self.shared.write();
        for id in ids {
            let Some(response) = set.remove(id) else { continue };
            if response.holds()
                && response.verdicts.is_empty()
                && let Ok(protocol) = self.registry.find(&response.protocol)
            {
                protocol.ended(*id);
            }
            if event == Event::Expired && response.holds() && response.playbook.is_some() {
                let of_anybody = Id::of_anybody(&response.protocol, &response.parameters);
                change.remember.push((of_anybody, now.wall, response.repeats.saturating_add(1)));
            }
            if !(event == Event::Expired && matches!(response.stage, Stage::Done | Stage::Failed)) {
                let packets = response.kernel.packets;
                let result = if packets > 0 { format!("{why} {packets} packets met it") } else { why.to_owned() };
                change.audit.push(Row::about(&response, event, now.wall, who, result.trim()));
            }
        }
        drop(set);
        self.shared.apply(now);
        if let Err(cause) = self.save(&change) {
            tracing::warn!("{cause}");
            self.unwritten.extend_from_slice(ids);
            self.rows.append(&mut change.audit);
            let above = self.rows.len().saturating_sub(ROWS_MAX);
            self.rows.drain(..above);
        }
    }

    /// What acts once has acted.
    pub fn acted(&mut self, id: Id, outcome: Result<String, String>, now: Now) {
        let Some(response) = self.shared.read().response(&id).cloned() else { return };
        let (stage, event) =
            if outcome.is_ok() { (Stage::Done, Event::Applied) } else { (Stage::Failed, Event::Failed) };
        let said = cut(&outcome.unwrap_or_else(|why| why));
        let response = Response { stage, outcome: Some(said.clone()), ..response };
        let row = Row::about(&response, event, now.wall, "shrike", said);
        if let Err(cause) = self.keep(&response, row) {
            tracing::warn!("{cause}");
            self.shared.write().put(response);
        }
    }

    /// Ends what is due. Cheap where nothing is.
    pub fn tick(&mut self, now: Now) {
        let due = self.shared.read().due(now.wall);
        let is_proposal = |id: &Id| self.shared.read().response(id).is_some_and(|one| one.stage == Stage::Proposed);
        let (proposals, others): (Vec<Id>, Vec<Id>) = due.into_iter().partition(is_proposal);
        for (ids, event, why) in [(proposals, Event::Lapsed, "nobody decided"), (others, Event::Expired, "")] {
            ids.chunks(500).for_each(|chunk| self.end(chunk, event, "shrike", why, now));
        }
        if self.shared.read().is_dirty() {
            self.shared.apply(now);
        }
    }

    /// The list of who is never blocked has changed: what meets it by now is taken back.
    pub fn allow_only(&mut self, allow: AllowList, now: Now) {
        self.allow = allow;
        self.recheck(now);
    }

    fn recheck(&mut self, now: Now) {
        let limits = Limits { ipv4_bits: 0, ipv6_bits: 0, ttl_max_ns: u64::MAX, ..self.settings.limits };
        let person = Who::Person(String::new());
        let refused = |response: &&Response| {
            let judged = self.registry.find(&response.protocol).map(|one| one.judged(&response.parameters));
            let judged = judged.unwrap_or_default();
            let verdicts = if response.verdicts.is_empty() { &judged } else { &response.verdicts };
            let ask = Ask { who: &person, verdicts, ttl_ns: 1, proof: Proof::None, extends: true };
            judge(&ask, &self.allow, &Default::default(), &limits).is_err()
        };
        let wrong: Vec<Id> = self.shared.read().after(None).filter(refused).map(|response| response.id).collect();
        self.end(&wrong, Event::Undone, "shrike", "it meets the allow-list by now", now);
    }

    /// What was seen of the harm that automatic blocks do; takes them back where it is too much.
    pub fn observe(&mut self, seen: Observed, now: Now) {
        let was_on = self.brake.is_on();
        let (brake, why) = self.brake.after(now.wall, seen, &self.settings.brake);
        self.brake = brake;
        if let Some(why) = why {
            let automatic = |one: &&Response| one.holds() && one.who.is_automatic() && !one.verdicts.is_empty();
            let all: Vec<Id> = self.shared.read().after(None).filter(automatic).map(|one| one.id).collect();
            tracing::warn!("the brake is on, {} automatic responses are taken back: {why}", all.len());
            self.note(Row::own(Event::BrakeOn, now.wall, "automatic responses", &*why));
            all.chunks(500).for_each(|chunk| self.end(chunk, Event::Undone, "shrike", "the brake is on", now));
        } else if was_on && !brake.is_on() {
            self.note(Row::own(Event::BrakeOff, now.wall, "automatic responses", "it has been quiet"));
        }
    }

    /// Other limits and protocols from now on; what is in force stays as it is.
    pub fn change(&mut self, settings: Settings, webhooks: Vec<WebhookPlan>, commands: Vec<CommandPlan>) {
        self.settings = settings;
        self.registry.tell(webhooks, commands);
    }

    /// Since when the brake is on.
    pub fn brake_since(&self) -> Option<Timestamp> {
        self.brake.on_since
    }

    /// The list of who is never blocked.
    pub fn allow(&self) -> &AllowList {
        &self.allow
    }

    /// Adds a protocol.
    #[cfg(test)]
    pub(super) fn register_for_tests(&mut self, protocol: Arc<dyn super::protocols::Protocol>) {
        self.registry.register(protocol).expect("a free name");
    }

    /// The protocols.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
