//! The last five minutes by the second, so that a page that opens now shows what was before.
//!
//! A task of the server reads the system's picture once a second, as any reader would, and keeps the totals: rates are
//! differences, and a reader that has one sample can go on from it.

use super::App;
use super::problem::Problem;
use super::routes::json;
use crate::units::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use warp::reply::Response;

/// Samples kept; each some 100 bytes and 30 for every queue.
const KEPT: usize = 300;
/// Time between two.
const EVERY: Duration = Duration::from_secs(1);

/// Totals at one moment.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    /// When, nanoseconds since the epoch.
    time: Timestamp,
    packets: u64,
    bytes: u64,
    /// Of all causes.
    drops: u64,
    flows_active: u64,
    /// Alerts ever stored.
    alerts: u64,
    /// Packets a second of every queue.
    queues: BTreeMap<String, f64>,
}

/// The newest samples, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: Mutex<VecDeque<Sample>>,
}

#[derive(Serialize)]
struct Answer {
    every_seconds: u64,
    started: Timestamp,
    items: Vec<Sample>,
}

/// Samples until the server stops.
pub(super) async fn keep(app: Arc<App>) {
    let mut stop = app.stop.subscribe();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => take(&app),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn take(app: &App) {
    let (status, store) = (app.system.status(), app.store.status());
    // Nothing has been looked at yet.
    if status.now == Timestamp(0) {
        return;
    }
    let workers = app.system.workers();
    let queues = workers.iter().flat_map(|worker| &worker.queues);
    let sample = Sample {
        time: status.now,
        packets: status.totals.packets,
        bytes: status.totals.bytes,
        drops: status.totals.drops.iter().map(|drop| drop.value).sum(),
        flows_active: status.totals.flows_active,
        alerts: store.last_sequence,
        queues: queues.map(|queue| (queue.name.clone(), queue.packets_per_second)).collect(),
    };
    let mut samples = app.history.samples.lock().unwrap_or_else(PoisonError::into_inner);
    // The picture is renewed by others: one that stands still is no new sample.
    if samples.back().is_some_and(|last| last.time >= sample.time) {
        return;
    }
    samples.push_back(sample);
    while samples.len() > KEPT {
        samples.pop_front();
    }
}

/// `GET /v1/history`.
pub(super) fn answer(app: &App) -> Result<Response, Problem> {
    let items = app.history.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
    json(&Answer { every_seconds: EVERY.as_secs(), started: app.system.status().started, items })
}
