//! The thread that keeps the models: loads and proves them, gives them to queues and windows, compares shadows, looks for drift.

mod chosen;
mod shown;

use super::compare::{Asked, Bench};
use super::drift::{self, Drift};
use super::folder::{self, Found, Rows, Stamp};
use super::port::Port;
use super::roles::{Role, Roles};
use super::{News, Settings, Wanted};
use crate::clock::Clock;
use crate::control::export::ModelName;
use crate::control::view::{CommandError, ModelChange, ModelView, QueuesTaken};
use crate::control::windows::stage::{self, StagePort};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::dataplane::features::COUNT;
use crate::dataplane::score::{self, INLINE_BATCH_MIN, INLINE_BUDGET_NS, Model, Thresholds};
use crate::dataplane::worker::Fitted;
use crate::units::{MILLISECOND, SECOND, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the folder is looked at for files that changed, nanoseconds.
const SCAN_NS: u64 = 5 * SECOND;
/// How long an order waits for the queues to take a model. They look every 10 ms; one that takes longer hangs, and takes it when
/// it comes round.
const TAKE_LIMIT_NS: u64 = 2 * SECOND;
/// Features that an alert of drift names.
const NAMED: usize = 5;

/// A model that was proved, with where it came from.
pub(super) struct Held {
    pub(super) model: Model,
    path: PathBuf,
    stamp: Stamp,
    at: Timestamp,
}

/// Whether a manifest's model can be used.
enum Proof {
    Waiting,
    Passed(Box<ModelView>),
    Failed(String),
    Unused,
}

/// A manifest of the folder.
struct Entry {
    found: Found,
    proof: Proof,
}

/// Rows that a model scored, and the time that took.
#[derive(Clone, Copy, Default)]
struct Scored {
    rows: u64,
    timed: u64,
    ns: u64,
}

/// Everything that is known of models.
pub(super) struct Keeper {
    settings: Settings,
    clock: Clock,
    /// By the place of the kind of rows.
    roles: [Roles<Arc<Held>>; Rows::ALL.len()],
    benches: [Bench; Rows::ALL.len()],
    /// Whose active model changed last.
    last: Option<Rows>,
    entries: Vec<Entry>,
    overlooked: u64,
    next_scan: Timestamp,
    /// Number of the latest activation of flows' models, and whose each was.
    number: u64,
    numbers: Vec<(u64, String)>,
    scored: BTreeMap<String, Scored>,
    ports: Vec<Port>,
    stage: Option<StagePort>,
    /// Hashes of the models that the program was started with, by the place of the kind of rows.
    configured: [Option<String>; Rows::ALL.len()],
    pub(super) changes: u64,
    pub(super) refused: u64,
    news: Box<dyn FnMut(News) + Send>,
}

impl Keeper {
    /// Keeps what is active already. `stage`: where rows of windows are judged, if they are.
    ///
    /// # Errors
    /// No memory for a session.
    pub(super) fn new(
        settings: Settings,
        active: Vec<(Rows, Model)>,
        ports: Vec<Port>,
        stage: Option<StagePort>,
        clock: Clock,
        news: Box<dyn FnMut(News) + Send>,
    ) -> Result<Keeper, score::ModelError> {
        let now = clock.now();
        let mut keeper = Keeper {
            roles: Default::default(),
            benches: Default::default(),
            last: None,
            entries: Vec::new(),
            overlooked: 0,
            next_scan: now,
            number: 0,
            numbers: Vec::new(),
            scored: BTreeMap::new(),
            ports,
            stage,
            configured: Default::default(),
            changes: 0,
            refused: 0,
            news,
            settings,
            clock,
        };
        for (rows, model) in active {
            let path = model.manifest_path().to_owned();
            let stamp = folder::look(&path).map(|found| found.stamp).unwrap_or_default();
            let held = Arc::new(Held { model, path, stamp, at: now });
            let name = held.model.manifest().name.clone();
            if rows == Rows::Flow {
                keeper.numbers.push((0, name.clone()));
            }
            keeper.configured[rows as usize] = Some(held.model.manifest().model.sha256.clone());
            keeper.watch(rows, Some(&held))?;
            keeper.roles[rows as usize].active = Some(Role { name, model: held });
        }
        Ok(keeper)
    }

    fn roles(&self, rows: Rows) -> &Roles<Arc<Held>> {
        &self.roles[rows as usize]
    }

    fn thresholds(&self, rows: Rows, model: &Model) -> Thresholds {
        let own = model.thresholds();
        self.settings.threshold.filter(|_| rows == Rows::Flow).map_or(own, |least| own.from(least))
    }

    /// Compares with it, and looks for drift against it, from here on.
    fn watch(&mut self, rows: Rows, held: Option<&Arc<Held>>) -> Result<(), score::ModelError> {
        let asked = held.map(|held| Asked::new(held, self.thresholds(rows, &held.model))).transpose()?;
        let drift = held.map(|held| Drift::new(self.settings.drift, held.model.manifest()));
        let (now, scored) = (self.clock.now(), held.map_or(0, |held| self.scored_by(&held.model.manifest().name)));
        let bench = &mut self.benches[rows as usize];
        (bench.active, bench.drift) = (asked, drift);
        bench.restart(now, scored);
        Ok(())
    }

    fn scored_by(&self, name: &str) -> u64 {
        self.scored.get(name).map_or(0, |scored| scored.rows)
    }

    /// One round: what came back, what was scored, one file to prove, drift.
    pub(super) fn tick(&mut self) {
        let now = self.clock.now();
        self.collect(now);
        if now >= self.next_scan {
            self.next_scan = now.after(SCAN_NS);
            self.scan();
        }
        self.prove_one(now);
        self.look_for_drift(now);
    }

    /// What queues and windows have scored.
    fn collect(&mut self, now: Timestamp) {
        let Keeper { ports, benches, numbers, scored, stage, number, .. } = self;
        let flows = &mut benches[Rows::Flow as usize];
        for port in ports {
            port.look();
            port.drain(|samples| {
                let name = numbers.iter().find(|(number, _)| *number == samples.number).map(|(_, name)| name);
                if let Some(name) = name {
                    let sum = scored.entry(name.clone()).or_default();
                    sum.rows += samples.scored;
                    sum.timed += samples.scored;
                    sum.ns += samples.service_ns;
                }
                // Of a model that has gone meanwhile nothing is compared.
                if samples.number == *number {
                    flows.look(samples.rows().as_flattened(), COUNT, now);
                }
            });
        }
        for (kind, values) in stage.iter().flat_map(|stage| stage.judged()) {
            let rows = if kind == stage::Kind::Hosts { Rows::Host } else { Rows::Pair };
            let bench = &mut benches[rows as usize];
            let width = rows.schema().width();
            if let Some(name) = bench.active_name() {
                scored.entry(name.to_owned()).or_default().rows += (values.len() / width) as u64;
            }
            bench.look(&values, width, now);
        }
    }

    /// What lies in the folder; what has changed is to be proved anew.
    fn scan(&mut self) {
        let (found, overlooked) = folder::scan(&self.settings.directory);
        self.overlooked = overlooked;
        let mut before = std::mem::take(&mut self.entries);
        for found in found {
            let same = |entry: &Entry| entry.found.path == found.path && entry.found.stamp == found.stamp;
            if let Some(place) = before.iter().position(same) {
                self.entries.push(before.swap_remove(place));
                continue;
            }
            let name = found.name();
            let namesake = self.entries.iter().find(|entry| entry.found.name() == name);
            let proof = match (&found.head, namesake) {
                (Err(words), _) => Proof::Failed(words.clone()),
                (_, Some(other)) => {
                    let other = other.found.path.display();
                    Proof::Failed(format!("{other} has the same name `{name}`: give one of them another"))
                }
                (Ok(head), None) if Rows::of(&head.schema).is_none() => Proof::Unused,
                (Ok(_), None) => Proof::Waiting,
            };
            self.entries.push(Entry { found, proof });
        }
    }

    fn prove_one(&mut self, now: Timestamp) {
        let Some(place) = self.entries.iter().position(|entry| matches!(entry.proof, Proof::Waiting)) else { return };
        let Some(found) = self.entries.get(place).map(|entry| entry.found.clone()) else { return };
        drop(self.load(&found, now));
    }

    /// Loads and proves a model of the folder, and notes the outcome.
    fn load(&mut self, found: &Found, now: Timestamp) -> Result<(Rows, Arc<Held>), CommandError> {
        let rows = found.head.as_ref().ok().and_then(|head| Rows::of(&head.schema));
        let settings = score::Settings { manifest: Some(found.path.clone()), runtime: self.settings.runtime.clone() };
        let outcome = match (&found.head, rows) {
            (Err(words), _) => Err(words.clone()),
            (Ok(head), None) => Err(format!(
                "{}: rows of schema `{}` are not made by this sensor; a model of {} is wanted",
                found.path.display(),
                head.schema.chars().take(64).collect::<String>(),
                Rows::ALL.map(Rows::name).join(", ")
            )),
            (Ok(_), Some(rows)) => match Model::load_for(rows.schema(), &settings) {
                // Another one was written since: it is looked at again.
                Ok(model) if model.manifest().name != found.name() => {
                    Err(format!("{}: written while it was read: try again", found.path.display()))
                }
                Ok(model) => Ok((rows, model)),
                Err(error) => Err(error.to_string()),
            },
        };
        let proof = match &outcome {
            Ok((rows, model)) => Proof::Passed(Box::new(self.view_of(*rows, model, &found.path, now))),
            Err(_) if found.head.is_ok() && rows.is_none() => Proof::Unused,
            Err(words) => Proof::Failed(words.clone()),
        };
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.found.path == found.path) {
            entry.proof = proof;
        }
        let held =
            |(rows, model)| (rows, Arc::new(Held { model, path: found.path.clone(), stamp: found.stamp, at: now }));
        outcome.map(held).map_err(CommandError::Unfit)
    }

    /// Has a model do something, or nothing.
    ///
    /// # Errors
    /// There is none of that name, it cannot be used, or not for this.
    pub(super) fn set(&mut self, name: &str, wanted: Wanted) -> Result<ModelChange, CommandError> {
        self.scan();
        let outcome = self.obey(name, wanted);
        self.note(outcome)
    }

    fn obey(&mut self, name: &str, wanted: Wanted) -> Result<ModelChange, CommandError> {
        let with_role = Rows::ALL.into_iter().find(|rows| {
            let roles = self.roles(*rows);
            roles.is_active(name) || roles.is_shadow(name)
        });
        let found = self.entries.iter().map(|entry| &entry.found).find(|found| found.name() == name).cloned();
        if with_role.is_none() && found.is_none() {
            let folder = self.settings.directory.display();
            return Err(CommandError::NotFound(format!("no model `{name}` in {folder}: see /v1/models")));
        }
        let is_active = with_role.is_some_and(|rows| self.roles(rows).is_active(name));
        match (wanted, with_role) {
            (Wanted::Nothing, Some(rows)) if is_active => self.activate(rows, None),
            (Wanted::Nothing, Some(rows)) => {
                self.roles[rows as usize].shadow = None;
                self.benches[rows as usize].shadow = None;
                Ok(self.change(rows, self.roles(rows).active.as_ref().map(|role| role.name.clone()), true))
            }
            (Wanted::Nothing, None) => {
                let rows = found.and_then(|found| Rows::of(&found.head.ok()?.schema)).unwrap_or(Rows::Flow);
                Ok(self.change(rows, self.roles(rows).active.as_ref().map(|role| role.name.clone()), false))
            }
            (Wanted::Shadow, Some(_)) if is_active => Err(CommandError::Conflict(format!(
                "{name} is active: activate another first, it is no shadow of itself"
            ))),
            (Wanted::Active | Wanted::Shadow, _) => self.put_in(name, wanted, with_role, found),
        }
    }

    /// Makes a model active or shadow, of the file as it is now.
    fn put_in(
        &mut self,
        name: &str,
        wanted: Wanted,
        with_role: Option<Rows>,
        found: Option<Found>,
    ) -> Result<ModelChange, CommandError> {
        let same =
            |held: &Held| found.as_ref().is_none_or(|found| held.path == found.path && held.stamp == found.stamp);
        let present = with_role.map(|rows| (rows, self.roles(rows))).and_then(|(rows, roles)| {
            let role = roles.active.iter().chain(&roles.shadow).find(|role| role.name == name)?;
            same(&role.model).then(|| (rows, Arc::clone(&role.model)))
        });
        if let Some((rows, _)) = &present {
            let roles = self.roles(*rows);
            if (wanted == Wanted::Active && roles.is_active(name))
                || (wanted == Wanted::Shadow && roles.is_shadow(name))
            {
                return Ok(self.change(*rows, roles.active.as_ref().map(|role| role.name.clone()), false));
            }
        }
        let (rows, held) = match (present, found) {
            (Some(present), _) => present,
            (None, Some(found)) => self.load(&found, self.clock.now())?,
            (None, None) => return Err(CommandError::NotFound(format!("the manifest of {name} is gone: restore it"))),
        };
        if rows != Rows::Flow && self.stage.is_none() {
            return Err(CommandError::Conflict(format!(
                "rows of {} are not made, because no model of them was there at the start: put it beside the flows' model as {} \
                 or {}, or name it in [model], and start again",
                rows.name(),
                stage::HOST_MANIFEST,
                stage::PAIR_MANIFEST
            )));
        }
        if wanted == Wanted::Active && rows == Rows::Flow && !held.model.cost().is_inline() {
            return Err(CommandError::Unfit(format!(
                "{name}: {INLINE_BATCH_MIN} rows take it {:.1} us, of {:.0} between two reads of the ring: make a smaller one, or \
                 watch it as a shadow",
                held.model.cost().service_ns(INLINE_BATCH_MIN) as f64 / 1e3,
                INLINE_BUDGET_NS as f64 / 1e3
            )));
        }
        let role = Role { name: name.to_owned(), model: held };
        if wanted == Wanted::Active {
            return self.activate(rows, Some(role));
        }
        let asked = Asked::new(&role.model, self.thresholds(rows, &role.model.model)).map_err(unfit)?;
        let active = self.roles(rows).active.as_ref().map(|role| role.name.clone());
        let (now, scored) = (self.clock.now(), active.as_ref().map_or(0, |name| self.scored_by(name)));
        let bench = &mut self.benches[rows as usize];
        bench.shadow = Some(asked);
        bench.restart(now, scored);
        self.roles[rows as usize].shadow = Some(role);
        Ok(self.change(rows, active, true))
    }

    /// One step back, of the kind of rows whose active model changed last.
    ///
    /// # Errors
    /// There is nothing to go back to.
    pub(super) fn roll_back(&mut self) -> Result<ModelChange, CommandError> {
        let outcome = self.step_back();
        self.note(outcome)
    }

    /// Counts what an order came to, and says so in the log.
    fn note(&mut self, outcome: Result<ModelChange, CommandError>) -> Result<ModelChange, CommandError> {
        match &outcome {
            Ok(change) if change.changed => {
                self.changes += 1;
                let name = |name: &Option<String>| name.as_deref().unwrap_or("none").to_owned();
                let (active, shadow) = (name(&change.active), name(&change.shadow));
                tracing::info!("model of {}: active {active}, shadow {shadow}", change.rows);
                self.keep_choice();
            }
            Err(CommandError::Unfit(words)) => {
                self.refused += 1;
                tracing::warn!("model refused: {words}");
            }
            _ => {}
        }
        outcome
    }

    fn step_back(&mut self) -> Result<ModelChange, CommandError> {
        let rows = self.last.filter(|rows| self.roles(*rows).before.is_some()).ok_or_else(|| {
            let words = "nothing to go back to: no model was activated since the start or the last rollback; activate one by \
                         its name";
            CommandError::Conflict(words.to_owned())
        })?;
        let before = self.roles(rows).before.clone().flatten();
        let was = self.roles(rows).active.as_ref().map(|role| role.name.clone());
        self.fit(rows, before.as_ref().map(|role| &role.model)).map_err(unfit)?;
        self.roles[rows as usize].step_back();
        self.tidy(rows);
        Ok(self.change(rows, was, true))
    }

    fn activate(&mut self, rows: Rows, role: Option<Role<Arc<Held>>>) -> Result<ModelChange, CommandError> {
        let was = self.roles(rows).active.as_ref().map(|role| role.name.clone());
        self.fit(rows, role.as_ref().map(|role| &role.model)).map_err(unfit)?;
        self.roles[rows as usize].activate(role);
        self.last = Some(rows);
        self.tidy(rows);
        Ok(self.change(rows, was, true))
    }

    /// A shadow that became active is compared with nobody.
    fn tidy(&mut self, rows: Rows) {
        if self.roles(rows).shadow.is_none() {
            self.benches[rows as usize].shadow = None;
        }
    }

    /// Gives it to whoever scores such rows. All that can fail is done before anything changes.
    fn fit(&mut self, rows: Rows, held: Option<&Arc<Held>>) -> Result<(), score::ModelError> {
        if rows != Rows::Flow {
            let judge = held.map(|held| stage::judge(&held.model)).transpose()?;
            self.watch(rows, held)?;
            let kind = if rows == Rows::Host { stage::Kind::Hosts } else { stage::Kind::Pairs };
            if let Some(stage) = &self.stage {
                stage.give(kind, judge);
            }
            return Ok(());
        }
        let number = self.number + 1;
        let fitted = self.ports.iter().map(|port| {
            let scorer = held.filter(|_| port.is_served()).map(|held| held.model.proven_scorer()).transpose()?;
            Ok(Box::new(Fitted {
                number,
                scorer: scorer.map(|scorer| Box::new(scorer) as _),
                thresholds: held.map_or(Thresholds::all(0.5), |held| self.thresholds(rows, &held.model)),
                score: held.map_or(self.settings.score, |held| self.settings.score.for_model(held.model.cost())),
            }))
        });
        let fitted = fitted.collect::<Result<Vec<_>, score::ModelError>>()?;
        let explainer = held.map(|held| held.model.explainer()).transpose()?;
        self.watch(rows, held)?;
        self.number = number;
        let name = held.map(|held| held.model.manifest().name.clone());
        self.numbers.push((number, name.clone().unwrap_or_default()));
        self.ports.iter_mut().zip(fitted).for_each(|(port, fitted)| port.deliver(fitted));
        let limit = self.clock.now().after(TAKE_LIMIT_NS);
        loop {
            let now = self.clock.now();
            self.collect(now);
            let QueuesTaken { taken, of } = self.taken();
            if taken == of || now >= limit {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let oldest = self.ports.iter().filter(|port| port.is_served()).map(Port::taken).min().unwrap_or(number);
        self.numbers.retain(|(number, _)| *number >= oldest);
        (self.news)(News::Explainer(explainer));
        let version = held.map(|held| held.model.manifest().format.to_string());
        self.settings.named.set(name.zip(version).map(|(name, version)| ModelName { name, version }));
        Ok(())
    }

    fn taken(&self) -> QueuesTaken {
        let served = self.ports.iter().filter(|port| port.is_served());
        let taken = served.clone().filter(|port| port.has_taken(self.number)).count();
        QueuesTaken { taken, of: served.count() }
    }

    fn change(&self, rows: Rows, was_active: Option<String>, changed: bool) -> ModelChange {
        let roles = self.roles(rows);
        ModelChange {
            rows: rows.name().to_owned(),
            active: roles.active.as_ref().map(|role| role.name.clone()),
            shadow: roles.shadow.as_ref().map(|role| role.name.clone()),
            was_active,
            changed,
            queues: (rows == Rows::Flow).then(|| self.taken()),
        }
    }

    fn look_for_drift(&mut self, now: Timestamp) {
        for (rows, bench) in Rows::ALL.into_iter().zip(&mut self.benches) {
            let Some(drifted) = bench.drift.as_mut().and_then(|drift| drift.look(now)) else { continue };
            let Some(name) = bench.active_name() else { continue };
            (self.news)(News::Evidence(Box::new(evidence(now, rows, name, &drifted, self.settings.drift.psi))));
        }
    }
}

fn unfit(error: score::ModelError) -> CommandError {
    CommandError::Unfit(error.to_string())
}

/// How long a round may be away.
pub(super) const TICK: Duration = Duration::from_nanos(100 * MILLISECOND);

fn evidence(now: Timestamp, rows: Rows, name: &str, drifted: &drift::Drifted, limit: f64) -> Evidence {
    let count = drifted.shifts.len();
    let first = drifted.shifts.first().map_or(String::new(), |first| {
        let (now, then) = (first.share * 100.0, first.share_first * 100.0);
        format!(", most of all {}: {now:.0} % of its values lie where {then:.0} % lay", first.name)
    });
    let score = if drifted.score_changed { "; its mean score has changed too" } else { "" };
    let shifts = drifted.shifts.iter().take(NAMED).flat_map(|shift| {
        let share =
            Term { usual: Some(shift.share_first), ..Term::exact(format!("{}_share", shift.name), shift.share) };
        [Term::exact(format!("{}_psi", shift.name), shift.psi).against(Relation::AtLeast, limit), share]
    });
    Evidence {
        confidence: 0.9,
        summary: format!(
            "the traffic of the last day is not what model {name} saw here on its first day: {count} features have shifted{first}\
             {score}; what it says may be worth less: compare one that was trained lately as its shadow, or activate it anew if \
             this is how it is to be"
        ),
        terms: std::iter::once(Term::exact("features", count as f64)).chain(shifts).collect(),
        ..Evidence::new(Detector::Model, format!("drift_{}", rows.name()), now)
    }
}
