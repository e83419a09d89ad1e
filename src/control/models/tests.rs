//! The whole life of models over the real runtime, with queues that are a loop of a thread.

use super::*;
use crate::control::export::ModelName;
use crate::dataplane::features::{COUNT, FLOW, FeatureRow};
use crate::dataplane::score::fixture::{self, Flaw};
use crate::dataplane::score::{Manifest, Scores, Thresholds};
use crate::dataplane::worker::{Fitted, mailbox};
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// A bound on a hang, not a measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes a model of that name; returns its manifest's path.
fn put(folder: &Path, name: &str, change: impl FnOnce(&mut Manifest)) -> PathBuf {
    let mut manifest = fixture::manifest();
    (manifest.name, manifest.model.file) = (name.to_owned(), format!("{name}.onnx"));
    // Only families are told.
    manifest.anomaly_threshold = None;
    change(&mut manifest);
    std::fs::write(folder.join(format!("{name}.onnx")), fixture::onnx(Flaw::None)).unwrap();
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    path
}

/// What queues score until told otherwise.
struct Load {
    /// Added to every value.
    shift: AtomicU64,
    /// The second queue does not come round.
    hangs: AtomicBool,
    over: AtomicBool,
    scored: AtomicU64,
}

struct Bed {
    folder: tempfile::TempDir,
    models: Option<LiveModels>,
    shared: Arc<SharedModels>,
    named: SharedName,
    load: Arc<Load>,
    queues: Vec<JoinHandle<()>>,
}

impl Bed {
    /// Two queues that score with `a`; `None`: there is no runtime.
    fn new(drift: DriftSettings) -> Option<Bed> {
        Bed::prepared(drift, |_| ())
    }

    /// The same, with what `prepare` puts into the folder before it starts.
    fn prepared(drift: DriftSettings, prepare: impl FnOnce(&Path)) -> Option<Bed> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        prepare(folder.path());
        let model = fixture::load(&put(folder.path(), "a", |_| ()))?.expect("a good model");
        let load = Arc::new(Load {
            shift: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
            over: AtomicBool::new(false),
            scored: AtomicU64::new(0),
        });
        let (mut ports, mut queues) = (Vec::new(), Vec::new());
        for number in 0..2 {
            let (mut mailbox, port) = mailbox();
            ports.push(Port::new(port));
            let (load, scorer) = (Arc::clone(&load), model.scorer().unwrap());
            let mut present = Fitted {
                number: 0,
                scorer: Some(Box::new(scorer)),
                thresholds: Thresholds::all(0.5),
                score: ScoreSettings::default(),
            };
            queues.push(std::thread::spawn(move || {
                let (rows, mut scores, mut turn) = (fixture::rows(100), Scores::new(), 0_usize);
                while !load.over.load(Relaxed) {
                    std::thread::yield_now();
                    if number == 1 && load.hangs.load(Relaxed) {
                        continue;
                    }
                    if mailbox.is_waiting() {
                        mailbox.swap(|new| std::mem::swap(new, &mut present));
                    }
                    let shift = load.shift.load(Relaxed) as f32;
                    turn = (turn + 7) % 90;
                    let rows: Vec<FeatureRow> =
                        rows[turn..turn + 10].iter().map(|row| row.map(|value| value + shift)).collect();
                    if let Some(scorer) = &mut present.scorer {
                        scorer.score(rows.as_flattened(), &mut scores).unwrap();
                        load.scored.fetch_add(10, Relaxed);
                        mailbox.note(&rows, 1_000);
                    }
                    mailbox.send();
                }
            }));
        }
        let named = SharedName::default();
        let settings = Settings {
            directory: folder.path().to_owned(),
            runtime: None,
            threshold: None,
            score: ScoreSettings::default(),
            drift,
            named: named.clone(),
            choice: Some(folder.path().join(CHOICE)),
        };
        let models = LiveModels::start(settings, vec![(Rows::Flow, model)], ports, None, Clock::new()).unwrap();
        let shared = models.shared();
        Some(Bed { folder, models: Some(models), shared, named, load, queues })
    }

    fn usual() -> Option<Bed> {
        Bed::new(DriftSettings::default())
    }

    fn news(&self) -> Vec<News> {
        self.models.iter().flat_map(LiveModels::news).collect()
    }

    /// Looks until it is so.
    fn until(&self, what: &str, condition: impl Fn(&ModelsView) -> bool) -> ModelsView {
        let begin = Instant::now();
        loop {
            let view = self.shared.view();
            if condition(&view) {
                return view;
            }
            assert!(begin.elapsed() < LIMIT, "{what}: {view:#?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.models = None;
        self.load.over.store(true, Relaxed);
        self.queues.drain(..).for_each(|queue| queue.join().unwrap());
    }
}

/// Name and state of each.
fn states(view: &ModelsView) -> Vec<(&str, &str)> {
    view.items.iter().map(|model| (model.name.as_str(), model.state.name())).collect()
}

fn item<'a>(view: &'a ModelsView, name: &str) -> &'a crate::control::view::ModelView {
    view.items.iter().find(|model| model.name == name).unwrap_or_else(|| panic!("no {name}: {view:#?}"))
}

#[test]
fn a_model_is_activated_in_every_queue_and_one_step_goes_back() {
    let Some(bed) = Bed::usual() else { return };
    put(bed.folder.path(), "b", |_| ());
    let models = &bed.shared;
    assert!(
        matches!(models.set("c", Wanted::Active), Err(CommandError::NotFound(words)) if words.contains("/v1/models"))
    );
    assert!(matches!(models.roll_back(), Err(CommandError::Conflict(words)) if words.contains("nothing to go back")));
    let change = models.set("b", Wanted::Active).unwrap();
    let of = |change: &ModelChange| (change.was_active.clone(), change.active.clone(), change.changed);
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(of(&change), (name("a"), name("b"), true));
    assert_eq!(change.queues.map(|queues| (queues.taken, queues.of)), Some((2, 2)));
    let view = models.view();
    assert_eq!(states(&view)[0], ("b", "active"), "the answer is what is shown: {view:#?}");
    assert_eq!(view.rollback.and_then(|back| back.name), name("a"));
    assert_eq!(models.active().0.map(|status| status.name), name("b"));
    assert!(bed.news().iter().any(|news| matches!(news, News::Explainer(Some(_)))));
    let mut writer =
        crate::control::export::EveWriter::new(Vec::new(), Some(ModelName { name: "x".into(), version: "2".into() }));
    writer.follow(bed.named.clone());
    writer.flow(&crate::exchange::FlowSummary { score: 0.5, ..Default::default() }).unwrap();
    assert!(String::from_utf8_lossy(writer.get_ref()).contains(r#""model":"b""#));
    let view = bed.until("rows are counted by model", |view| item(view, "b").scored > 500);
    assert!(item(&view, "a").scored > 0 && item(&view, "b").us_per_row == Some(0.1));
    assert_eq!(of(&models.set("b", Wanted::Active).unwrap()), (name("b"), name("b"), false), "as it was");

    assert_eq!(of(&models.roll_back().unwrap()), (name("b"), name("a"), true));
    assert!(matches!(models.roll_back(), Err(CommandError::Conflict(_))), "one step");
    assert_eq!(of(&models.set("a", Wanted::Nothing).unwrap()), (name("a"), None, true));
    let counted = |view: &ModelsView| view.items.iter().map(|model| model.scored).sum::<u64>();
    let scored = bed.load.scored.load(Relaxed);
    let view = bed.until("all rows are counted", |view| counted(view) == scored);
    assert_eq!((bed.load.scored.load(Relaxed), states(&view)), (scored, vec![("a", "loaded"), ("b", "loaded")]));
    assert!(matches!(bed.news().last(), Some(News::Explainer(None))));
    // It comes from memory: the files may be gone by then.
    std::fs::remove_file(bed.folder.path().join("a.onnx")).unwrap();
    assert_eq!(of(&models.roll_back().unwrap()), (None, name("a"), true));
    bed.until("it scores again", |_| bed.load.scored.load(Relaxed) > scored);
}

const CHOICE: &str = "state/alerts.models.json";

/// A sensor that is started again, with `b` and what was chosen before; name and state of each model.
fn again(choice: &[u8]) -> Option<Vec<(String, &'static str)>> {
    let bed = Bed::prepared(DriftSettings::default(), |folder| {
        put(folder, "b", |_| ());
        put(folder, "bad", |manifest| manifest.model.sha256 = "0".repeat(64));
        std::fs::write(folder.join(CHOICE), choice).unwrap();
    })?;
    // Orders are taken after what was chosen is chosen again: this one is refused, and then it was.
    assert!(matches!(bed.shared.set("none", Wanted::Active), Err(CommandError::NotFound(_))));
    let view =
        bed.until("the folder is looked through", |view| view.items.iter().all(|one| one.state.name() != "waiting"));
    let with_role = view.items.iter().filter(|model| matches!(model.state, ModelState::Active | ModelState::Shadow));
    Some(with_role.map(|model| (model.name.clone(), model.state.name())).collect())
}

#[test]
fn what_was_chosen_is_chosen_again_after_a_restart() {
    let Some(bed) = Bed::usual() else { return };
    put(bed.folder.path(), "b", |_| ());
    let file = bed.folder.path().join(CHOICE);
    assert!(!file.exists(), "nothing was chosen");
    bed.shared.set("b", Wanted::Active).unwrap();
    bed.shared.set("a", Wanted::Shadow).unwrap();
    let kept = std::fs::read(&file).unwrap();
    let of = |roles: &[(&str, &'static str)]| {
        Some(roles.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect::<Vec<_>>())
    };
    assert_eq!(again(&kept), of(&[("b", "active"), ("a", "shadow")]));
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(kept.clone()).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        text.replace(from, to).into_bytes()
    };
    let a = of(&[("a", "active")]);
    assert_eq!(
        again(&changed("\"active\":\"b\"", "\"active\":\"bad\"")),
        of(&[("a", "active")]),
        "not what it was: refused"
    );
    assert_eq!(again(&changed("\"active\":\"b\"", "\"active\":\"gone\"")), a, "gone");
    assert_eq!(again(&changed("\"configured\":\"", "\"configured\":\"0")), a, "another is configured");
    assert_eq!(again(&changed("\"version\":1", "\"version\":9")), a, "of another version");
    assert_eq!(again(b"{"), a, "torn");
    bed.shared.set("b", Wanted::Nothing).unwrap();
    bed.shared.set("a", Wanted::Nothing).unwrap();
    assert_eq!(again(&std::fs::read(&file).unwrap()), of(&[]), "none was chosen");
}

#[test]
fn a_model_that_cannot_be_used_is_refused_and_the_active_one_goes_on() {
    let Some(bed) = Bed::usual() else { return };
    let folder = bed.folder.path();
    put(folder, "hash", |manifest| manifest.model.sha256 = "0".repeat(64));
    put(folder, "golden", |manifest| {
        let said = &mut manifest.golden[3].probabilities[1];
        *said = (*said - 3e-5).abs();
    });
    put(folder, "version", |manifest| manifest.schema_version = FLOW.version + 1);
    put(folder, "log", |manifest| "log".clone_into(&mut manifest.schema));
    let half = fixture::onnx(Flaw::None);
    let half = &half[..half.len() / 2];
    put(folder, "half", |manifest| manifest.model = fixture::manifest_for(half).model);
    std::fs::write(folder.join("fixture.onnx"), half).unwrap();
    std::fs::write(folder.join("torn.json"), &std::fs::read(folder.join("a.json")).unwrap()[..1000]).unwrap();
    put(folder, "gone", |_| ());
    std::fs::remove_file(folder.join("gone.onnx")).unwrap();
    std::fs::copy(folder.join("a.json"), folder.join("z.json")).unwrap();
    let cases = [
        ("hash", "expected sha256 0000", "failed"),
        ("golden", "golden row 3", "failed"),
        ("version", "this program makes rows of schema flow", "failed"),
        ("log", "rows of schema `log` are not made by this sensor", "unused"),
        ("half", "load model", "failed"),
        ("torn", "read model manifest", "failed"),
        ("gone", "gone.onnx", "failed"),
    ];
    for (name, words, state) in cases {
        for wanted in [Wanted::Active, Wanted::Shadow] {
            let error = bed.shared.set(name, wanted).expect_err(name);
            assert!(matches!(&error, CommandError::Unfit(text) if text.contains(words)), "{name}: {error}");
        }
        let view = bed.shared.view();
        let model = item(&view, name);
        assert_eq!((model.state.name(), model.error.is_some()), (state, state == "failed"), "{name}");
        let active = item(&view, "a");
        let queues = active.queues.map(|queues| (queues.taken, queues.of));
        assert_eq!((active.state.name(), queues), ("active", Some((2, 2))), "{name}");
    }
    let before = bed.load.scored.load(Relaxed);
    bed.until("the active one scores", |_| bed.load.scored.load(Relaxed) > before + 100);
    let view = bed.until("a second of the same name is told", |view| {
        view.items.iter().any(|model| model.error.as_ref().is_some_and(|words| words.contains("same name `a`")))
    });
    assert_eq!(view.rollback, None);
    let refused = bed.shared.metrics().into_iter().find(|metric| metric.name == "shrike_model_refused_total");
    assert_eq!(refused.map(|metric| metric.value), Some(14.0));
}

#[test]
fn a_shadow_is_compared_and_a_file_that_changed_is_told() {
    let Some(bed) = Bed::usual() else { return };
    // The same network, and nothing is ever so sure.
    let shy = |manifest: &mut Manifest| manifest.thresholds.values_mut().for_each(|threshold| *threshold = 1.0);
    put(bed.folder.path(), "shy", shy);
    assert!(matches!(bed.shared.set("a", Wanted::Shadow), Err(CommandError::Conflict(_))));
    let change = bed.shared.set("shy", Wanted::Shadow).unwrap();
    assert_eq!((change.active.as_deref(), change.shadow.as_deref(), change.changed), (Some("a"), Some("shy"), true));
    let view = bed.until("rows are compared", |view| {
        item(view, "shy").comparison.as_ref().is_some_and(|comparison| comparison.rows >= 1000)
    });
    let comparison = item(&view, "shy").comparison.clone().unwrap();
    assert!(comparison.with == "a" && comparison.of >= comparison.rows, "{comparison:?}");
    let told: u64 = comparison.families.values().map(|told| told.only_active).sum();
    assert!(told > 0 && comparison.agree + told == comparison.rows, "{comparison:?}");
    assert!(comparison.families.values().all(|told| (told.both, told.only_shadow) == (0, 0)), "{comparison:?}");
    assert_eq!(comparison.score_difference_largest, 0.0, "the same network");
    assert!(bed.news().iter().all(|news| matches!(news, News::Explainer(_))), "no alert");

    // Activated it is no shadow any more; another file of its name is told, and taken when it is asked for again.
    assert_eq!(bed.shared.set("shy", Wanted::Active).unwrap().shadow, None);
    put(bed.folder.path(), "shy", |manifest| manifest.training.data.push_str(", again, and more of it"));
    bed.until("the file has changed", |view| item(view, "shy").changed);
    assert_eq!(item(&bed.shared.view(), "shy").thresholds["scan"], 1.0, "what runs");
    assert!(bed.shared.set("shy", Wanted::Active).unwrap().changed);
    let view = bed.shared.view();
    assert!(!item(&view, "shy").changed && item(&view, "shy").thresholds["scan"] == 0.5);
    // Rows of windows are not made where no model of them was there at the start.
    put(bed.folder.path(), "hosts", |manifest| "host_minute".clone_into(&mut manifest.schema));
    assert!(matches!(bed.shared.set("hosts", Wanted::Active), Err(CommandError::Unfit(_))));
}

/// An order does not wait for a queue that does not come round; that takes the newest model when it does.
#[test]
fn a_queue_that_hangs_takes_the_newest_model_when_it_comes_round() {
    let Some(bed) = Bed::usual() else { return };
    put(bed.folder.path(), "b", |_| ());
    put(bed.folder.path(), "c", |_| ());
    bed.load.hangs.store(true, Relaxed);
    for name in ["b", "c"] {
        let queues = bed.shared.set(name, Wanted::Active).unwrap().queues;
        assert_eq!(queues.map(|queues| (queues.taken, queues.of)), Some((1, 2)));
    }
    bed.load.hangs.store(false, Relaxed);
    bed.until("both have taken it", |view| item(view, "c").queues.is_some_and(|queues| queues.taken == 2));
    bed.until("and are counted for it", |view| item(view, "c").scored > 1000);
}

/// Days of a second each: rows that move are one alert, which says what moved.
#[test]
fn traffic_that_moves_is_an_alert_and_is_shown() {
    let drift = DriftSettings { slot_s: 1, slots: 1, rows: 100, ..DriftSettings::default() };
    let Some(bed) = Bed::new(drift) else { return };
    let of = |view: &ModelsView| item(view, "a").drift.clone().expect("of an active model");
    let view = bed.until("a first day is over", |view| of(view).shifts.iter().any(|shift| shift.from_first.is_some()));
    assert!(of(&view).first_rows >= 100);
    bed.load.shift.store(3, Relaxed);
    let begin = Instant::now();
    let evidence = loop {
        let found =
            bed.news().into_iter().find_map(|news| if let News::Evidence(found) = news { Some(found) } else { None });
        if let Some(found) = found {
            break found;
        }
        assert!(begin.elapsed() < LIMIT, "no alert: {:#?}", bed.shared.view());
        std::thread::yield_now();
    };
    assert_eq!((evidence.kind.as_str(), evidence.severity, evidence.source), ("drift_flow", 3, None));
    assert!(evidence.summary.contains("model a saw here on its first day") && evidence.summary.contains("most of all"));
    let psi = &evidence.terms[1];
    assert!(psi.name.ends_with("_psi") && psi.value >= 0.25 && psi.threshold == Some(0.25), "{psi:?}");
    assert!(evidence.terms[2].name.ends_with("_share") && evidence.terms[2].usual.is_some());
    // How many have moved when it is told: all of them by and by, and some at first, where a slot holds rows of before too.
    assert!(evidence.terms[0].value >= 1.0 && evidence.terms[0].value <= COUNT as f64);
    bed.until("it is shown", |view| of(view).shifts[0].from_first.is_some_and(|psi| psi >= 0.25));
    let largest = bed.shared.metrics().into_iter().find(|metric| metric.name == "shrike_model_psi_first_max");
    assert!(largest.is_some_and(|metric| metric.value >= 0.25));
}
