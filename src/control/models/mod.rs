//! The life of models while the program runs: which there are, which scores, which is compared with it, and whether the traffic
//! is still what it knows.
//!
//! ```text
//! folder --manifests--> keeper (a thread): load, golden rows --a session for each queue--> mailbox of the queue: swapped between
//! orders of http ------>                                                                   two bursts, the old one comes back
//!                       compare, drift  <-- up to 64 rows a queue and quarter of a second, and all rows of windows
//!                              |--> evidence of drift, reasons' session --> pipeline        |--> what /v1/models shows
//! ```
//!
//! A model does nothing before it has passed every check of a start, and what scores goes on scoring until all sessions of the
//! next one are made and have scored their golden rows. A shadow runs on this thread alone, over the same rows: it makes no alert
//! and costs the workers nothing but the copies. What the operator chose is kept in a file of its own and chosen again at the next
//! start ([`Settings::choice`]).

mod choice;
mod compare;
mod drift;
mod folder;
mod keeper;
mod port;
mod roles;
#[cfg(test)]
mod tests;

pub use drift::Settings as DriftSettings;
pub use folder::{MANIFESTS_MAX, Rows};
pub use port::Port;

use crate::clock::Clock;
use crate::control::export::SharedName;
use crate::control::view::{CommandError, Metric, MetricKind, ModelChange, ModelState, ModelStatus, ModelsView};
use crate::control::windows::stage::StagePort;
use crate::dataplane::detect::Evidence;
use crate::dataplane::score::{Explainer, Model, ModelError};
use crate::dataplane::worker::ScoreSettings;
use keeper::{Keeper, TICK};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an order may take: a model of some megabytes for dozens of queues, and the queues' time to take it.
const ORDER_LIMIT: Duration = Duration::from_secs(8);
/// How often what is shown is renewed.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// News that wait for the supervisor, which takes them every few milliseconds.
const NEWS: usize = 64;

/// What the keeper is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where manifests lie.
    pub directory: PathBuf,
    /// ONNX Runtime library; `None`: searched for.
    pub runtime: Option<PathBuf>,
    /// Threshold of every family of flows' models; `None`: the manifest's.
    pub threshold: Option<f32>,
    /// Scoring controller of a queue, before a model's cost is known.
    pub score: ScoreSettings,
    /// Drift.
    pub drift: DriftSettings,
    /// The name that stands with scores in files.
    pub named: SharedName,
    /// Where the operator's choice outlives the program; `None`: it ends with it.
    pub choice: Option<PathBuf>,
}

/// What a model is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It scores, and its reports become alerts.
    #[default]
    Active,
    /// It is compared with the active one.
    Shadow,
    /// Neither.
    #[serde(rename = "none")]
    Nothing,
}

/// What the keeper tells the pipeline.
pub enum News {
    /// Reasons are given by this one from here on.
    Explainer(Option<Explainer>),
    /// Drift.
    Evidence(Box<Evidence>),
}

type Answer = SyncSender<Result<ModelChange, CommandError>>;

enum Order {
    Set(String, Wanted, Answer),
    RollBack(Answer),
}

/// What `http` and the supervisor see, and where orders go in. Only threads of the control plane meet here.
pub struct SharedModels {
    shown: Mutex<(ModelsView, Vec<Metric>)>,
    orders: SyncSender<Order>,
    stop: AtomicBool,
}

impl SharedModels {
    /// As of a quarter of a second ago.
    pub fn view(&self) -> ModelsView {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Their numbers.
    pub fn metrics(&self) -> Vec<Metric> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The active models as `/v1/status` shows them: that of flows, and those of windows.
    pub fn active(&self) -> (Option<ModelStatus>, Vec<ModelStatus>) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let active = shown.0.items.iter().filter(|model| model.state == ModelState::Active);
        let (flows, windows): (Vec<_>, Vec<_>) = active.partition(|model| model.rows == Rows::Flow.name());
        (flows.first().map(|model| model.status()), windows.into_iter().map(|model| model.status()).collect())
    }

    /// Has a model do something, or nothing. Waits for the queues to take it, some seconds at most.
    ///
    /// # Errors
    /// There is none of that name, it has not passed its checks, or cannot do this now.
    pub fn set(&self, name: &str, wanted: Wanted) -> Result<ModelChange, CommandError> {
        self.order(|answer| Order::Set(name.to_owned(), wanted, answer))
    }

    /// Makes active again what was so before the latest change.
    ///
    /// # Errors
    /// There is nothing to go back to.
    pub fn roll_back(&self) -> Result<ModelChange, CommandError> {
        self.order(Order::RollBack)
    }

    fn order(&self, make: impl FnOnce(Answer) -> Order) -> Result<ModelChange, CommandError> {
        let (answer, reply) = sync_channel(1);
        let busy =
            |what: &str| CommandError::Busy(format!("another order to the models {what}: see /v1/models, try again"));
        self.orders.try_send(make(answer)).map_err(|_| busy("waits"))?;
        reply.recv_timeout(ORDER_LIMIT).map_err(|_| busy("takes its time"))?
    }
}

/// The thread that keeps the models; dropping it ends it.
pub struct LiveModels {
    shared: Arc<SharedModels>,
    news: Receiver<News>,
    thread: Option<JoinHandle<()>>,
}

impl LiveModels {
    /// Keeps what is active already, and the queues that score with it.
    ///
    /// # Errors
    /// No memory for a session, or no thread.
    pub fn start(
        settings: Settings,
        active: Vec<(Rows, Model)>,
        ports: Vec<Port>,
        stage: Option<StagePort>,
        clock: Clock,
    ) -> Result<LiveModels, StartError> {
        let (orders, taken) = sync_channel(4);
        let (tell, news) = sync_channel(NEWS);
        // The supervisor takes them every few milliseconds; one that does not come round is named elsewhere, and makes no alert.
        let tell = Box::new(move |news| drop(tell.try_send(news)));
        let mut keeper = Keeper::new(settings, active, ports, stage, clock, tell)?;
        let shown = Mutex::new((keeper.view(), metrics(&mut keeper)));
        let shared = Arc::new(SharedModels { shown, orders, stop: AtomicBool::new(false) });
        let of_thread = Arc::clone(&shared);
        let work = move || keep(keeper, &of_thread, &taken);
        let thread = std::thread::Builder::new().name("models".into()).spawn(work)?;
        Ok(LiveModels { shared, news, thread: Some(thread) })
    }

    /// For who shows them and gives orders.
    pub fn shared(&self) -> Arc<SharedModels> {
        Arc::clone(&self.shared)
    }

    /// What there is to tell since the last call.
    pub fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }
}

impl Drop for LiveModels {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics nowhere; were it so, there is nobody left to tell.
            drop(thread.join());
        }
    }
}

/// The keeper cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A session.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The thread.
    #[error("start the thread that keeps the models: {0}")]
    Thread(#[from] std::io::Error),
}

/// The thread.
fn keep(mut keeper: Keeper, shared: &SharedModels, orders: &Receiver<Order>) {
    let mut next = Instant::now();
    keeper.choose_again();
    while !shared.stop.load(Relaxed) {
        let answered = match orders.recv_timeout(TICK) {
            // The asker may have gone; its answer then goes nowhere.
            Ok(Order::Set(name, wanted, answer)) => Some((answer, keeper.set(&name, wanted))),
            Ok(Order::RollBack(answer)) => Some((answer, keeper.roll_back())),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        keeper.tick();
        if answered.is_some() || Instant::now() >= next {
            next = Instant::now() + SHOW_EVERY;
            let shown = (keeper.view(), metrics(&mut keeper));
            *shared.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        }
        // After it is shown: who has the answer finds it there.
        if let Some((answer, outcome)) = answered {
            drop(answer.try_send(outcome));
        }
    }
}

/// Series depend on the kinds of rows, not on how many models there are.
fn metrics(keeper: &mut Keeper) -> Vec<Metric> {
    let view = keeper.view();
    let sample = |name, help, kind, labels, value| Metric { name, help, kind, labels, value };
    let mut metrics = vec![
        sample(
            "shrike_model_changes_total",
            "Orders that changed which model is active or shadow.",
            MetricKind::Counter,
            Vec::new(),
            keeper.changes as f64,
        ),
        sample(
            "shrike_model_refused_total",
            "Orders refused because a model did not pass its checks.",
            MetricKind::Counter,
            Vec::new(),
            keeper.refused as f64,
        ),
    ];
    let in_state = |state: ModelState| view.items.iter().filter(|model| model.state == state).count() as f64;
    for state in [ModelState::Active, ModelState::Shadow, ModelState::Loaded, ModelState::Failed] {
        let labels = vec![("state", state.name().to_owned())];
        metrics.push(sample("shrike_models", "Models by what they do.", MetricKind::Gauge, labels, in_state(state)));
    }
    for (rows, compared, agreed) in keeper.compared() {
        let labels = || vec![("rows", rows.name().to_owned())];
        let active = view.items.iter().find(|model| model.state == ModelState::Active && model.rows == rows.name());
        let drift = active.and_then(|model| model.drift.as_ref());
        let largest = |of: fn(&crate::control::view::Shift) -> Option<f64>| {
            drift.into_iter().flat_map(|drift| &drift.shifts).filter_map(of).fold(0.0, f64::max)
        };
        let (training, first) = (largest(|shift| shift.from_training), largest(|shift| shift.from_first));
        for (name, help, kind, value) in [
            (
                "shrike_model_rows_compared",
                "Rows scored by active model and shadow, since either changed.",
                MetricKind::Gauge,
                compared as f64,
            ),
            ("shrike_model_rows_agreed", "Of them, both said the same.", MetricKind::Gauge, agreed as f64),
            (
                "shrike_model_psi_training_max",
                "Largest population stability index of a feature against the training data.",
                MetricKind::Gauge,
                training,
            ),
            (
                "shrike_model_psi_first_max",
                "Largest population stability index of a feature against the first day here.",
                MetricKind::Gauge,
                first,
            ),
        ] {
            metrics.push(sample(name, help, kind, labels(), value));
        }
    }
    metrics
}
