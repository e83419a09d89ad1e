//! The responses of a running sensor: a thread that decides, one that looks after the kernel, two that act once; and what the
//! supervisor hands in and readers ask.
//!
//! Nobody on the packet's way waits: alerts and proofs go into a bounded queue, and what finds it full is lost and counted. Orders of
//! people have a queue of their own and are answered.

use super::desk::Desk;
use super::disk::{Disk, DiskError, audit_page};
use super::intended::{Id, Response, Stage};
use super::kernel::{Found, NO_PAIR, Shared};
use super::order::{Order, OrderError, Outcome, Settings};
use super::playbooks::Playbook;
use super::prefix::Prefix;
use super::protocols::{CommandPlan, Once, Registry, WebhookPlan};
use super::proven::Spoken;
use super::responder::Responder;
use super::safety::{AllowList, Own, read_own};
use super::scan::{self, Scanner};
use super::view::{ResponseView, ResponsesView, SetView};
use super::watch::capture::{self, Captures};
use super::watch::sending::{Out, Sending};
use super::watch::{self, WatchedQueue, Watcher};
use super::{Now, audit};
use crate::clock::Clock;
use crate::control::alert::Alert;
use crate::control::inventory::SharedInventory;
use crate::control::view::{Degraded, Metric, MetricKind, empty_histogram};
use crate::dataplane::verdict::{Enforcer, Subject};
use crate::exchange::{FlowSummary, Proved};
use crate::sys::monotonic;
use crate::units::{SECOND, Timestamp};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, select};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Alerts that wait; some 2 KiB each.
const FACTS: usize = 4096;
/// Proofs that wait: their flood takes no room from alerts.
const PROOFS: usize = 65_536;
/// Orders that wait.
const ORDERS: usize = 16;
/// What waits to act once.
const ACTS: usize = 64;
/// Threads that act.
const ACTORS: usize = 2;
/// How long an order may take: the disk, and a hundred thousand verdicts.
const ORDER_LIMIT: Duration = Duration::from_secs(9);
/// How often what is due is ended.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks, and no more than half of the time for them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is read who is never blocked: addresses change.
const OWN_EVERY: Duration = Duration::from_secs(30);
/// How long an alarm is told with the status.
const ALARM_NS: u64 = 60 * SECOND;

/// How responses are made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The responder's.
    pub settings: Settings,
    /// Below which the machine's own addresses are read ([`read_own`]): `/`.
    pub machine: PathBuf,
    /// Never blocked besides those, each with what it is.
    pub allow: Vec<(Prefix, String)>,
    /// What is home.
    pub home: Vec<Prefix>,
    /// In the order in which they are asked.
    pub playbooks: Vec<Playbook>,
    /// Servers that may be told.
    pub webhooks: Vec<WebhookPlan>,
    /// Programs that may be run.
    pub commands: Vec<CommandPlan>,
    /// How active checks are made, and of whom.
    pub scan: scan::Settings,
    /// Where captures are kept.
    pub captures: capture::Settings,
    /// By which interface resets leave for connections that a tap sees; `None`: they do not.
    pub reset_interface: Option<Out>,
    /// SQLite file.
    pub store: PathBuf,
    /// Rows of the audit.
    pub audit_rows: u64,
}

enum Fact {
    Alert(Box<Alert>),
    Spoken(Spoken),
    Packets(u64),
    Found(Found),
    Acted(Id, Result<String, String>),
}

type Answer<T> = Sender<Result<T, OrderError>>;

enum Ordered {
    Do(Box<Order>, Answer<(Response, Outcome)>),
    Accept(Id, String, Answer<Response>),
    Undo(Id, String, Answer<Response>),
    Change(Box<Plan>),
}

/// Nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The order itself.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Too many wait, or it takes too long.
    #[error("another order {0}: see /v1/responses, and try again")]
    Busy(&'static str),
}

/// What readers ask, and where orders go in.
pub struct SharedResponses {
    kernel: Arc<Shared>,
    orders: Sender<Ordered>,
    has_playbooks: AtomicBool,
    protocols: Vec<(&'static str, &'static str)>,
    store: PathBuf,
    captures: Captures,
    watcher: Watcher,
    scanner: Scanner,
    shown: Mutex<Shown>,
}

struct Shown {
    playbooks: Arc<[Playbook]>,
    allow: Vec<String>,
    brake_since: Option<Timestamp>,
    applied: Histogram<u64>,
    alarm: Option<(String, Timestamp)>,
}

/// Which responses a reader wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// In this state.
    pub state: Option<String>,
    /// Of this protocol.
    pub protocol: Option<String>,
    /// About exactly this prefix.
    pub prefix: Option<Prefix>,
}

impl SharedResponses {
    fn ask<T>(&self, make: impl FnOnce(Answer<T>) -> Ordered) -> Result<T, AskError> {
        let (answer, reply) = bounded(1);
        self.orders.try_send(make(answer)).map_err(|_| AskError::Busy("waits"))?;
        Ok(reply.recv_timeout(ORDER_LIMIT).map_err(|_| AskError::Busy("takes its time"))??)
    }

    /// Follows an order of a person. Waits for disk and kernel.
    ///
    /// # Errors
    /// Why not.
    pub fn order(&self, order: Order) -> Result<(Response, Outcome), AskError> {
        self.ask(|answer| Ordered::Do(Box::new(order), answer))
    }

    /// Accepts a proposal.
    ///
    /// # Errors
    /// Why not.
    pub fn accept(&self, id: Id, person: &str) -> Result<Response, AskError> {
        self.ask(|answer| Ordered::Accept(id, person.to_owned(), answer))
    }

    /// Takes a response back, or rejects a proposal.
    ///
    /// # Errors
    /// Why not.
    pub fn undo(&self, id: Id, person: &str) -> Result<Response, AskError> {
        self.ask(|answer| Ordered::Undo(id, person.to_owned(), answer))
    }

    /// One response with everything.
    pub fn one(&self, id: &Id) -> Option<ResponseView> {
        self.kernel.read().response(id).map(|response| ResponseView::of(response, true))
    }

    /// A page of responses.
    pub fn page(&self, after: Option<Id>, wanted: &Wanted, limit: usize) -> ResponsesView {
        let set = self.kernel.read();
        let passes = |response: &&Response| {
            let about = |prefix: &Prefix| {
                let subject = Subject::Prefix(prefix.first(), prefix.bits());
                match response.stage {
                    Stage::InForce => set.entry(&subject).is_some_and(|entry| entry.is_held(|id| *id == response.id)),
                    _ => response.verdicts.iter().any(|verdict| verdict.subject == subject),
                }
            };
            wanted.state.as_ref().is_none_or(|state| response.state() == state)
                && wanted.protocol.as_ref().is_none_or(|protocol| response.protocol == *protocol)
                && wanted.prefix.as_ref().is_none_or(about)
        };
        let mut items: Vec<ResponseView> =
            set.after(after).filter(passes).take(limit + 1).map(|response| ResponseView::of(response, false)).collect();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().map(|item| item.id).filter(|_| has_more);
        let (responses, subjects, digest) = (set.count() as u64, set.subjects() as u64, set.digest());
        drop(set);
        let counts = &self.kernel.counts;
        let shown = self.shown();
        let applied = &shown.applied;
        let set = SetView {
            responses,
            subjects,
            digest,
            not_enforced: (!self.kernel.can_enforce()).then(|| NO_PAIR.to_owned()),
            brake_since: shown.brake_since,
            allow: shown.allow.clone(),
            block_applied: [applied.len(), us(applied, 0.5), us(applied, 0.99)],
            repaired: [&counts.missing, &counts.changed, &counts.foreign].map(|count| count.load(Relaxed)),
        };
        ResponsesView { items, next, has_more, set }
    }

    /// The playbooks.
    pub fn playbooks(&self) -> Arc<[Playbook]> {
        Arc::clone(&self.shown().playbooks)
    }

    fn show_playbooks(&self, playbooks: &[Playbook]) {
        self.has_playbooks.store(!playbooks.is_empty(), Relaxed);
        self.shown().playbooks = playbooks.into();
    }

    /// Is anything answered by itself? Cheap.
    fn has_playbooks(&self) -> bool {
        self.has_playbooks.load(Relaxed)
    }

    /// The protocols by name, each with what it does.
    pub fn protocols(&self) -> &[(&'static str, &'static str)] {
        &self.protocols
    }

    /// The captures.
    pub fn captures(&self) -> Captures {
        self.captures.clone()
    }

    /// The active checks.
    pub fn scanner(&self) -> Scanner {
        self.scanner.clone()
    }

    /// A page of the audit, the newest first, and whether there is more. Reads the file.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn audit(
        &self,
        before: Option<u64>,
        id: Option<&Id>,
        limit: usize,
    ) -> Result<(Vec<audit::Row>, bool), DiskError> {
        audit_page(&self.store, before, id, limit)
    }

    /// From the latest packet of evidence and proof to an automatic block or limit being in the kernel, nanoseconds.
    pub fn packet_to_block(&self) -> Histogram<u64> {
        self.shown().applied.clone()
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not as it should be.
    pub fn degraded(&self, now: Timestamp) -> Vec<Degraded> {
        let shown = self.shown();
        let part = || "respond".to_owned();
        let alarm = shown.alarm.clone().filter(|(_, since)| now.since(*since) < ALARM_NS);
        let brake = shown.brake_since.map(|since| {
            (
                "the brake is on: automatic blocks hurt, were taken back, and none are made; GET /v1/audit says why"
                    .into(),
                since,
            )
        });
        alarm.into_iter().chain(brake).map(|(reason, since)| Degraded { part: part(), reason, since }).collect()
    }

    /// In numbers.
    pub fn metrics(&self) -> Vec<Metric> {
        let counts = &self.kernel.counts;
        let (responses, subjects) = {
            let set = self.kernel.read();
            (set.count() as u64, set.subjects() as u64)
        };
        let braked = u64::from(self.shown().brake_since.is_some());
        let (gauge, counter) = (MetricKind::Gauge, MetricKind::Counter);
        let of = |count: &AtomicU64| count.load(Relaxed);
        [
            ("shrike_responses", "Responses and proposals there are.", gauge, responses),
            ("shrike_response_subjects", "Subjects in force.", gauge, subjects),
            ("shrike_response_brake", "1 while the brake keeps playbooks from blocking.", gauge, braked),
            (
                "shrike_response_missing_total",
                "Verdicts that the kernel had lost, put back.",
                counter,
                of(&counts.missing),
            ),
            (
                "shrike_response_changed_total",
                "Verdicts that the kernel had otherwise, put back.",
                counter,
                of(&counts.changed),
            ),
            (
                "shrike_response_foreign_total",
                "Verdicts that nobody asked for, taken out.",
                counter,
                of(&counts.foreign),
            ),
            ("shrike_response_failed_total", "Verdicts that the kernel refused.", counter, of(&counts.failed)),
            ("shrike_response_looks_total", "Comparisons of set and kernel.", counter, of(&counts.looked)),
            (
                "shrike_response_facts_lost_total",
                "Alerts and proofs that playbooks did not take in time.",
                counter,
                of(&counts.alerts_lost),
            ),
            (
                "shrike_response_frames_lost_total",
                "Frames that a capture or a reset wanted and that found their queue's ring full.",
                counter,
                of(&self.watcher.counts().lost),
            ),
            (
                "shrike_response_frames_sent_total",
                "Frames that were sent to the ends of connections, to reset them.",
                counter,
                of(&self.watcher.counts().sent),
            ),
        ]
        .into_iter()
        .map(|(name, help, kind, value)| Metric { name, help, kind, labels: Vec::new(), value: value as f64 })
        .collect()
    }
}

/// What a program that sees frames responds with; its queues come later ([`LiveResponses::watch`]), for what was in force is put
/// back before there are any.
pub struct Means {
    /// The ports of those interfaces that are pairs.
    pub pairs: BTreeMap<String, [Out; 2]>,
    /// Where findings of active checks go.
    pub inventory: Option<Arc<SharedInventory>>,
}

/// The supervisor's end; dropping it ends the threads. What is in force stays so until its end.
pub struct LiveResponses {
    shared: Arc<SharedResponses>,
    watcher: Watcher,
    facts: Option<Sender<Fact>>,
    proofs: Sender<(Timestamp, Proved)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl LiveResponses {
    /// Reads the file, puts back what was in force, and starts the threads.
    ///
    /// # Errors
    /// The file cannot be used, or no thread be had.
    pub fn start(plan: Plan, enforcer: Option<Arc<dyn Enforcer>>, clock: Clock) -> anyhow::Result<LiveResponses> {
        LiveResponses::begin(plan, enforcer, None, clock)
    }

    /// The same, for a program that sees frames.
    ///
    /// # Errors
    /// As [`LiveResponses::start`].
    pub fn start_live(
        plan: Plan,
        enforcer: Option<Arc<dyn Enforcer>>,
        means: Means,
        clock: Clock,
    ) -> anyhow::Result<LiveResponses> {
        LiveResponses::begin(plan, enforcer, Some(means), clock)
    }

    fn begin(
        plan: Plan,
        enforcer: Option<Arc<dyn Enforcer>>,
        means: Option<Means>,
        clock: Clock,
    ) -> anyhow::Result<LiveResponses> {
        let is_live = means.is_some();
        let (pairs, inventory) = means.map_or_else(Default::default, |means| (means.pairs, means.inventory));
        let kernel = Arc::new(Shared::new(enforcer));
        let stop = Arc::new(AtomicBool::new(false));
        let (facts, taken) = bounded(FACTS);
        let (proofs, proved) = bounded(PROOFS);
        let (watcher, watching) = {
            let (facts, clock) = (facts.clone(), clock.clone());
            let tell = Box::new(move |id, outcome: &watch::Outcome| {
                !matches!(facts.try_send(Fact::Acted(id, outcome.clone())), Err(TrySendError::Full(_)))
            });
            let sending = Sending::new(pairs, plan.reset_interface.clone());
            watch::start(is_live, sending, move || clock.now(), Arc::clone(&stop), tell)?
        };
        let captures = Captures::new(plan.captures.clone());
        let scanner = {
            let (facts, clock) = (facts.clone(), clock.clone());
            // The thread of a scan may wait; who decides may have gone.
            let tell = Arc::new(move |id, outcome| drop(facts.send(Fact::Acted(id, outcome))));
            Scanner::new(plan.scan.clone(), inventory, Arc::new(move || clock.now()), tell)
        };
        let registry =
            Registry::watching(plan.webhooks.clone(), plan.commands.clone(), Some((&watcher, &captures, &scanner)));
        let protocols = registry.all().map(|protocol| (protocol.name(), protocol.about())).collect();
        let (orders, ordered) = bounded(ORDERS);
        let (acts, acting) = bounded::<(Id, Box<dyn Once>)>(ACTS);
        let (disk, found, unreadable) = Disk::open(&plan.store, plan.audit_rows)?;
        if unreadable > 0 {
            tracing::warn!("responses {}: {unreadable} of another version are not put back", plan.store.display());
        }
        let present = {
            let clock = clock.clone();
            move || Now { wall: clock.now(), kernel_ns: monotonic::now_ns() }
        };
        let own = read_own(&plan.machine);
        own.unread.iter().for_each(|what| tracing::warn!("not on the allow-list, for it cannot be read: {what}"));
        let allow = allow_list(&plan.allow, own);
        let runner = Box::new(move |id, once| acts.try_send((id, once)).is_ok());
        let settings = plan.settings.clone();
        let responder =
            Responder::new(settings, registry, allow, (disk, found), Arc::clone(&kernel), runner, present());
        let allowed = responder.allow().items().map(str::to_owned).collect();
        let playbooks = plan.playbooks.as_slice().into();
        let applied = empty_histogram();
        let shown = Shown { playbooks, allow: allowed, brake_since: None, applied, alarm: None };
        let shared = Arc::new(SharedResponses {
            kernel: Arc::clone(&kernel),
            orders,
            has_playbooks: AtomicBool::new(!plan.playbooks.is_empty()),
            protocols,
            store: plan.store.clone(),
            captures,
            watcher: watcher.clone(),
            scanner,
            shown: Mutex::new(shown),
        });
        let desk = Desk::new(responder, plan.playbooks, plan.home);
        let mut threads = vec![watching];
        let mut spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
            std::io::Result::Ok(())
        };
        let (of_thread, ending, now) = (Arc::clone(&shared), Arc::clone(&stop), present.clone());
        let always = (plan.allow, plan.machine);
        spawn(
            "respond",
            Box::new(move || decide(desk, &of_thread, (&taken, &proved, &ordered), always, &ending, &now)),
        )?;
        let (ending, tell) = (Arc::clone(&stop), facts.clone());
        spawn("respond-look", Box::new(move || look_after(&kernel, &tell, &ending, &present)))?;
        for _ in 0..ACTORS {
            let (acting, tell) = (acting.clone(), facts.clone());
            // Not waited for at the end: a program may take its whole time, and dies with us.
            std::thread::Builder::new().name("respond-act".into()).spawn(move || act(&acting, &tell))?;
        }
        Ok(LiveResponses { shared, watcher, facts: Some(facts), proofs, stop, threads })
    }

    /// The queues whose frames are seen.
    pub fn watch(&self, queues: Vec<WatchedQueue>) {
        self.watcher.watch(queues);
    }

    /// For who shows them and gives orders.
    pub fn shared(&self) -> Arc<SharedResponses> {
        Arc::clone(&self.shared)
    }

    /// Does somebody need proofs, so that flows are to be told?
    pub fn wants_flows(&self) -> bool {
        self.shared.has_playbooks()
    }

    /// Answers otherwise from now on: limits, playbooks, what they may use, and who is never blocked. What is in force stays, but what
    /// meets the allow-list by now. Never waits.
    ///
    /// # Errors
    /// Too many orders wait.
    pub fn change(&self, plan: Box<Plan>) -> Result<(), AskError> {
        self.shared.orders.try_send(Ordered::Change(plan)).map_err(|_| AskError::Busy("waits"))
    }

    fn tell(&self, fact: Fact) {
        let full = self.facts.as_ref().is_some_and(|facts| matches!(facts.try_send(fact), Err(TrySendError::Full(_))));
        if full {
            self.shared.kernel.counts.alerts_lost.fetch_add(1, Relaxed);
        }
    }

    /// Alerts were raised. Never waits.
    pub fn alerts(&self, alerts: &[Alert]) {
        if self.shared.has_playbooks() {
            alerts.iter().for_each(|alert| self.tell(Fact::Alert(Box::new(alert.clone()))));
        }
    }

    /// A flow ended, or lives. Never waits.
    pub fn flow(&self, flow: &FlowSummary) {
        if let Some(spoken) = Spoken::of(flow).filter(|_| self.wants_flows()) {
            self.tell(Fact::Spoken(spoken));
        }
    }

    /// A connection proved at `time` that its originator gets what is sent to the address he writes. Never waits.
    pub fn proven(&self, time: Timestamp, proved: Proved) {
        if self.wants_flows() && self.proofs.try_send((time, proved)).is_err() {
            self.shared.kernel.counts.alerts_lost.fetch_add(1, Relaxed);
        }
    }

    /// Packets that were seen so far, in all.
    pub fn packets(&self, total: u64) {
        self.tell(Fact::Packets(total));
    }
}

impl Drop for LiveResponses {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.facts = None;
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // It panics nowhere; were it so, there is nobody left to tell.
            drop(thread.join());
        }
    }
}

/// A quantile in microseconds, rounded up.
fn us(histogram: &Histogram<u64>, quantile: f64) -> u64 {
    histogram.value_at_quantile(quantile).div_ceil(1000)
}

fn allow_list(extra: &[(Prefix, String)], own: Own) -> AllowList {
    AllowList::new(extra.iter().cloned().chain(own.addresses), own.cards)
}

/// The thread that decides.
fn decide(
    mut desk: Desk,
    shared: &SharedResponses,
    (facts, proofs, orders): (&Receiver<Fact>, &Receiver<(Timestamp, Proved)>, &Receiver<Ordered>),
    (mut extra, machine): (Vec<(Prefix, String)>, PathBuf),
    stop: &AtomicBool,
    now: &dyn Fn() -> Now,
) {
    let (mut ticked, mut own, mut own_is_due) = (Instant::now(), Instant::now(), false);
    while !stop.load(Relaxed) {
        // The asker may have gone; its answer then goes nowhere.
        select! {
            recv(orders) -> order => match order {
                Ok(Ordered::Do(order, answer)) => drop(answer.try_send(desk.responder.order(&order, now()))),
                Ok(Ordered::Accept(id, person, answer)) => drop(answer.try_send(desk.responder.accept(&id, &person, now()))),
                Ok(Ordered::Undo(id, person, answer)) => drop(answer.try_send(desk.responder.undo(&id, &person, now()))),
                Ok(Ordered::Change(plan)) => {
                    shared.show_playbooks(&plan.playbooks);
                    extra.clone_from(&plan.allow);
                    desk.change(*plan);
                    own_is_due = true;
                }
                Err(_) => return,
            },
            recv(facts) -> fact => match fact {
                Ok(Fact::Alert(alert)) => desk.alert(*alert, now),
                Ok(Fact::Spoken(spoken)) => desk.spoken(&spoken, now),
                Ok(Fact::Packets(total)) => desk.packets(total),
                Ok(Fact::Acted(id, outcome)) => desk.responder.acted(id, outcome, now()),
                Ok(Fact::Found(found)) => {
                    desk.found(&found, now());
                    show(&mut desk, shared, &found, now().wall);
                }
                Err(_) => return,
            },
            recv(proofs) -> proof => match proof {
                Ok((time, proved)) => desk.proven(&proved, time, now),
                Err(_) => return,
            },
            default(TICK) => {}
        }
        if !desk.applied_ns.is_empty() {
            let mut shown = shared.shown();
            desk.applied_ns.drain(..).for_each(|ns| shown.applied.saturating_record(ns));
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            desk.tick(now);
        }
        if own.elapsed() >= OWN_EVERY || own_is_due {
            (own, own_is_due) = (Instant::now(), false);
            let allow = allow_list(&extra, read_own(&machine));
            if !allow.items().eq(desk.responder.allow().items()) {
                shared.shown().allow = allow.items().map(str::to_owned).collect();
                desk.responder.allow_only(allow, now());
            }
        }
    }
}

fn show(desk: &mut Desk, shared: &SharedResponses, found: &Found, now: Timestamp) {
    let mut shown = shared.shown();
    shown.brake_since = desk.responder.brake_since();
    if found.is_alarm() {
        let Found { missing, changed, foreign, .. } = found;
        let what = found.error.clone().unwrap_or_else(|| {
            format!("of the verdicts {missing} were missing in the kernel, {changed} changed, {foreign} foreign, and are as they \
                 should be again: find out who else writes there")
        });
        shown.alarm = Some((what, now));
    }
}

/// The thread that looks after the kernel.
fn look_after(kernel: &Shared, facts: &Sender<Fact>, stop: &AtomicBool, now: &dyn Fn() -> Now) {
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        let found = kernel.look(now);
        let took = begun.elapsed();
        kernel.counts.look_ns.store(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        // A full queue takes the next one.
        drop(facts.try_send(Fact::Found(found)));
        let pause = LOOK_EVERY.max(took * 2).saturating_sub(took);
        let until = Instant::now() + pause;
        while !stop.load(Relaxed) && Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// A thread that acts.
fn act(acts: &Receiver<(Id, Box<dyn Once>)>, facts: &Sender<Fact>) {
    while let Ok((id, once)) = acts.recv() {
        let outcome = once.run();
        if facts.send(Fact::Acted(id, outcome)).is_err() {
            return;
        }
    }
}
