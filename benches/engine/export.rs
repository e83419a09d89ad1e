//! What leaves: lines of EVE and `conn.log`, and events that the inventory reads, as the control plane's threads make them.
//!
//! The items are what a queue tells of the flows of `flows.rs`. Measured is the making of the line alone (instructions,
//! allocations) and the whole way of an item: the supervisor hands it over, the file's thread writes it (time of either thread on
//! a core, as the kernel counts it).

use crate::run::{self, Outcome};
use anyhow::{Context, ensure};
use shrike::control::export::{AppEvent, ConnFormat, EveFormat, EveItem, Format, Log, LogSettings};
use shrike::control::inventory::{Inventory, Settings, rules::Rules};
use shrike::exchange::{FlowSummary, Up};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of each case, the kind of flow whose items they are, and what takes them.
pub const LINES: &[(&str, &str, Taker)] = &[
    ("eve flow", "http", Taker::EveFlow),
    ("eve dns", "dns", Taker::EveEvent),
    ("eve http", "http", Taker::EveEvent),
    ("eve tls", "tls12_certificate", Taker::EveEvent),
    ("eve quic", "quic", Taker::EveEvent),
    ("conn.log", "http", Taker::Conn(ConnFormat::Tsv)),
    ("conn.log json", "http", Taker::Conn(ConnFormat::Json)),
    ("inventory dns", "dns", Taker::Inventory),
    ("inventory http", "http", Taker::Inventory),
    ("inventory tls", "tls12_certificate", Taker::Inventory),
];
/// Begins the name of a case in which lines go through the queue and the thread of a file.
pub const FILE: &str = "file ";
/// Flows whose items are taken again and again.
const FLOWS: u64 = 512;
/// Items in a file's queue at once: some room is left, so that none is lost.
const AT_ONCE: u64 = 1 << 14;

/// Who takes an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taker {
    /// EVE, ended flows.
    EveFlow,
    /// EVE, events of inspection.
    EveEvent,
    /// `conn.log`.
    Conn(ConnFormat),
    /// The inventory.
    Inventory,
}

/// Is it a case of this module?
pub fn is_line(case: &str) -> bool {
    let name = case.strip_prefix(FILE).unwrap_or(case);
    LINES.iter().any(|(known, ..)| *known == name)
}

/// Takes `count` items; the outcome's packets are lines.
pub fn run(case: &str, count: u64) -> anyhow::Result<Outcome> {
    let name = case.strip_prefix(FILE).unwrap_or(case);
    let (_, kind, taker) = LINES.iter().find(|(known, ..)| *known == name).context("no such line")?;
    let told = run::told(kind, FLOWS)?;
    let flows: Vec<FlowSummary> =
        told.iter().filter_map(|(item, _)| if let Up::Flow(flow) = item { Some(*flow) } else { None }).collect();
    let events: Vec<AppEvent> = told
        .iter()
        .filter_map(|(item, facts)| {
            if let Up::Event(head) = item { Some(AppEvent { head: *head, facts: facts.clone() }) } else { None }
        })
        .collect();
    ensure!(!flows.is_empty() && !events.is_empty(), "{kind}: a queue told nothing");
    let is_file = case.starts_with(FILE);
    let interface: Arc<str> = "eth1".into();
    match taker {
        Taker::EveFlow => lines(EveFormat::new(None), is_file, count, &flows, |flow| {
            EveItem::Flow(Box::new(*flow), Arc::clone(&interface))
        }),
        Taker::EveEvent => lines(EveFormat::new(None), is_file, count, &events, |event| {
            EveItem::Event(event.clone(), Arc::clone(&interface))
        }),
        Taker::Conn(format) => lines(*format, is_file, count, &flows, |flow| Box::new(*flow)),
        Taker::Inventory => {
            let mut inventory = Inventory::new(Settings::with(Arc::new(Rules::shipped()?)));
            again(&events, count, |event| inventory.observe(&event.head, &event.facts))
        }
    }
}

/// Lines into memory, or all the way into a file.
fn lines<F: Format, T>(
    mut format: F,
    is_file: bool,
    count: u64,
    told: &[T],
    item: impl Fn(&T) -> F::Item,
) -> anyhow::Result<Outcome> {
    if is_file {
        return through_a_file(format, count, |index| item(&told[index % told.len()]));
    }
    let mut out = Vec::new();
    again(&told.iter().map(item).collect::<Vec<_>>(), count, |item| {
        format.line(item, &mut out);
        // As the file's thread: 64 KiB at a time.
        if out.len() >= 1 << 16 {
            out.clear();
        }
    })
}

/// Warm, then twice where instructions are counted.
fn again<T>(items: &[T], count: u64, mut take: impl FnMut(&T)) -> anyhow::Result<Outcome> {
    items.iter().for_each(&mut take);
    if std::env::var_os(run::WAIT).is_some() {
        run::await_counter()?;
        measured_lines(items, count, &mut take);
        run::await_counter()?;
    }
    let begin = Instant::now();
    measured_lines(items, count, &mut take);
    Ok(Outcome { packets: count, nanoseconds: begin.elapsed().as_nanos() as f64, ..Outcome::default() })
}

#[inline(never)]
fn measured_lines<T>(items: &[T], count: u64, take: &mut impl FnMut(&T)) {
    items.iter().cycle().take(count as usize).for_each(take);
}

/// The whole way of items into a file: the outcome's `nanoseconds` are its thread's on a core, `handed_ns` those of the
/// thread that hands over, which stands for the supervisor.
fn through_a_file<F: Format>(format: F, count: u64, item: impl Fn(usize) -> F::Item) -> anyhow::Result<Outcome> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let path = folder.join(format!("lines-{}", std::process::id()));
    let settings = LogSettings { path: path.clone(), rotate_bytes: u64::MAX, rotate_seconds: None, keep: 0 };
    let log = Log::start(settings, format)?;
    let written = || log.metrics().first().map_or(0, |lines| lines.value as u64);
    let thread = F::NAME.replace('_', "-");
    let (mut before, mut handed) = ((0, 0), 0);
    // The first round warms up, and the thread has its name when it has written.
    for end in [AT_ONCE, AT_ONCE + count] {
        if handed > 0 {
            before = (on_core(&thread)?, on_core("engine")?);
        }
        while handed < end {
            let until = end.min(handed + AT_ONCE);
            (handed..until).for_each(|index| log.write(item(index as usize)));
            handed = until;
            while written() < handed {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let after = (on_core(&thread)?, on_core("engine")?);
    drop(log);
    let bytes = std::fs::metadata(&path)?.len() as f64 / handed as f64;
    std::fs::remove_file(&path)?;
    Ok(Outcome {
        packets: count,
        frame_bytes: bytes,
        nanoseconds: (after.0 - before.0) as f64,
        handed_ns: (after.1 - before.1) as f64,
        ..Outcome::default()
    })
}

/// Nanoseconds that a thread of ours, by the beginning of its name, was on a core (`proc_pid_schedstat`).
fn on_core(name: &str) -> anyhow::Result<u64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with(name) {
            let text = std::fs::read_to_string(task.join("schedstat"))?;
            return text.split(' ').next().and_then(|word| word.parse().ok()).context("a number in schedstat");
        }
    }
    anyhow::bail!("no thread {name}")
}
