//! The stage of a running sensor: a thread of its own behind a bounded queue, whose evidence comes back to who asked.
//!
//! The supervisor hands over and never waits; what finds the queue full is lost and counted. Watermarks go the same way as
//! what they stand behind, so the order is the one that a replay would have.

use super::{Behaviour, Observation, Settings, Stats, disk};
use crate::dataplane::decode::Neighbour;
use crate::dataplane::detect::Evidence;
use crate::exchange::{EventHead, FlowSummary, Wake};
use crate::units::Timestamp;
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Items that wait; a flow has some 400 bytes, so some 25 MiB. Two hundred times 74 flows a second for a second.
const QUEUE: usize = 1 << 16;

/// Bytes of a full queue, with facts of a usual length.
pub const QUEUE_BYTES: usize = QUEUE * (size_of::<Item>() + 256);

/// How often baselines are written: a crash costs as much of what they learnt.
const WRITE_EVERY: Duration = Duration::from_secs(600);

enum Item {
    Flow(FlowSummary),
    Living(FlowSummary),
    Event(EventHead, Box<[u8]>),
    Neighbour(Timestamp, Neighbour),
    /// Watermark, and moment at which all had told what they knew.
    Reached(Timestamp, Timestamp),
}

#[derive(Default)]
struct Shared {
    lost: AtomicU64,
    /// Flows that ended were not told since the latest watermark.
    untold: AtomicBool,
    /// Thresholds that are to be judged by from the next watermark on.
    retuned: Mutex<Option<Box<Settings>>>,
    wake: Wake,
    stats: Mutex<Stats>,
}

/// The supervisor's end.
pub struct LiveBehaviour {
    shared: Arc<Shared>,
    sender: Option<Sender<Item>>,
    found: Receiver<Vec<Evidence>>,
    reached: (Timestamp, Timestamp),
    thread: Option<JoinHandle<()>>,
}

impl LiveBehaviour {
    /// Reads what a former run has learnt, and starts the thread; `path`: where that is kept.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(mut behaviour: Behaviour, path: Option<PathBuf>) -> std::io::Result<LiveBehaviour> {
        let restored = path.as_deref().map_or(Ok(None), disk::read);
        match restored {
            Ok(state) => {
                if !state.is_none_or(|state| behaviour.restore(state)) {
                    tracing::warn!("some baselines are not what this version writes, and are learnt anew");
                }
            }
            Err(error) => tracing::warn!("{error}"),
        }
        match behaviour.stats().since {
            Some(since) => tracing::info!("what is usual here is known since {}", since.to_rfc3339()),
            None => tracing::info!(
                "what is usual here is not known: places are learnt for a day, hours of the day for three; status says what is open"
            ),
        }
        let shared = Arc::new(Shared::default());
        let (sender, items) = bounded(QUEUE);
        // Bounded by what the detectors find of a bounded queue, and emptied several times a second.
        let (tell, found) = unbounded();
        let of_thread = Arc::clone(&shared);
        let work = move || keep(behaviour, &of_thread, &items, &tell, path.as_deref());
        let thread = std::thread::Builder::new().name("behaviour".into()).spawn(work)?;
        Ok(LiveBehaviour { shared, sender: Some(sender), found, reached: Default::default(), thread: Some(thread) })
    }

    /// A flow ended.
    pub fn flow(&self, flow: &FlowSummary) {
        if !self.send(|| Item::Flow(*flow)) {
            self.untold();
        }
    }

    /// Flows that ended did not come so far.
    pub fn untold(&self) {
        self.shared.untold.store(true, Relaxed);
    }

    /// A flow lives.
    pub fn living(&self, flow: &FlowSummary) {
        self.send(|| Item::Living(*flow));
    }

    /// Inspection found something.
    pub fn event(&self, head: &EventHead, facts: &[u8]) {
        if !Observation::is_of_interest(head.protocol) {
            return;
        }
        self.send(|| Item::Event(*head, facts.into()));
    }

    /// A host on the link said which address it has.
    pub fn neighbour(&self, time: Timestamp, neighbour: &Neighbour) {
        self.send(|| Item::Neighbour(time, *neighbour));
    }

    /// All queues have come so far, and have told what they knew at `looked`, which is no earlier. Should the queue be full, the next
    /// one stands for this one too.
    pub fn reached(&mut self, watermark: Timestamp, looked: Timestamp) {
        let reached = (watermark.max(self.reached.0), looked.max(self.reached.1));
        if reached != self.reached
            && let Some(sender) = &self.sender
            && sender.try_send(Item::Reached(reached.0, reached.1)).is_ok()
        {
            self.reached = reached;
        }
    }

    /// Judges by other thresholds from the next watermark on.
    pub fn retune(&self, settings: Settings) {
        *self.shared.retuned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(settings));
    }

    /// From here on the calling thread is woken when something is found.
    pub fn wake_me(&self) {
        self.shared.wake.register();
    }

    /// What was found since the last call.
    pub fn take(&self) -> Vec<Evidence> {
        self.found.try_iter().flatten().collect()
    }

    /// Shows everything that still waits, and returns what that finds.
    pub fn finish(&mut self) -> Vec<Evidence> {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; were it so, there is nobody left to tell.
            drop(thread.join());
        }
        self.take()
    }

    /// What the stage met; what found the queue full is among what was lost.
    pub fn stats(&self) -> Stats {
        let stats = *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        Stats { lost: stats.lost + self.shared.lost.load(Relaxed), ..stats }
    }

    /// `false`: there is no room, which is counted.
    fn send(&self, item: impl FnOnce() -> Item) -> bool {
        let has_room = |sender: &&Sender<Item>| !sender.is_full();
        let sent = self.sender.as_ref().filter(has_room).is_some_and(|sender| sender.try_send(item()).is_ok());
        if !sent {
            self.shared.lost.fetch_add(1, Relaxed);
        }
        sent
    }
}

impl Drop for LiveBehaviour {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

/// The thread.
fn keep(
    mut behaviour: Behaviour,
    shared: &Shared,
    items: &Receiver<Item>,
    tell: &Sender<Vec<Evidence>>,
    path: Option<&Path>,
) {
    let (mut written, mut fails) = (Instant::now(), false);
    let mut write = |behaviour: &Behaviour| {
        let Some(path) = path else { return };
        let outcome = disk::write(path, behaviour.snapshot());
        match &outcome {
            Err(error) if !fails => tracing::warn!("{error}; tried again each ten minutes"),
            Ok(()) if fails => tracing::info!("baselines {} are written again", path.display()),
            _ => {}
        }
        fails = outcome.is_err();
    };
    let publish = |behaviour: &Behaviour, found: Vec<Evidence>| {
        *shared.stats.lock().unwrap_or_else(PoisonError::into_inner) = behaviour.stats();
        if !found.is_empty() {
            drop(tell.send(found));
            shared.wake.ring();
        }
    };
    for item in items.iter() {
        match item {
            Item::Flow(flow) => behaviour.flow(&flow),
            Item::Living(flow) => behaviour.living(&flow),
            Item::Event(head, facts) => behaviour.event(&head, &facts),
            Item::Neighbour(time, neighbour) => behaviour.neighbour(time, &neighbour),
            Item::Reached(watermark, looked) => {
                if shared.untold.swap(false, Relaxed) {
                    behaviour.untold();
                }
                let retuned = shared.retuned.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(settings) = retuned {
                    behaviour.retune(*settings);
                }
                let mut found = Vec::new();
                behaviour.decide_until(watermark, &mut found);
                behaviour.look_until(looked, &mut found);
                publish(&behaviour, found);
                if written.elapsed() >= WRITE_EVERY {
                    written = Instant::now();
                    write(&behaviour);
                }
            }
        }
    }
    let mut found = Vec::new();
    behaviour.decide_until(Timestamp(u64::MAX), &mut found);
    publish(&behaviour, found);
    write(&behaviour);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;
    use crate::control::hosts;
    use crate::control::inventory::network::home;
    use crate::units::SECOND;

    const HOUR: u64 = 3600 * SECOND;

    fn start(path: &Path) -> LiveBehaviour {
        let behaviour = hosts::Settings::default().behaviour(&home()).expect("wanted");
        LiveBehaviour::start(behaviour, Some(path.into())).expect("a thread")
    }

    /// The thread finds what a replay finds, loses nothing of a queue that holds it, and knows the next time what it learnt.
    #[test]
    fn the_thread_finds_what_a_replay_finds_and_remembers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.behaviour.json");
        let mut days = Wire::default();
        for hour in 0..4 * 24 {
            days.flow(hour * HOUR, (host(1), outside(1), 443), [25_000_000, 1000], (SECOND, SECOND));
        }
        for number in 0..200_u64 {
            let [a, b, c] =
                [1, 2, 3].map(|turn| (number + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(turn as u32));
            let name = format!("{a:016x}{b:016x}{c:016x}.t.example.org");
            days.dns(number * SECOND, host(2), &name, 16, (0, 100));
        }
        let mut live = start(&path);
        let found = days.tell(&mut live);
        assert_eq!(found, days.evidence());
        assert!(found.iter().any(|one| one.kind == "tunnel"), "{found:?}");
        assert_eq!((live.stats().lost, live.stats().late), (0, 0));
        let mut upload = Wire::default();
        upload.flow(4 * 24 * HOUR, (host(1), outside(9), 443), [90_000_000, 1000], (SECOND, SECOND));
        assert_eq!(upload.tell(&mut start(&path))[0].kind, "unusual");
        std::fs::remove_file(&path).expect("it was written");
        assert_eq!(upload.tell(&mut start(&path)), [], "without what was learnt");
    }

    /// What needs hours or days to be told must not begin anew with each restart.
    #[test]
    fn a_beacon_and_what_tls_is_usual_are_known_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.behaviour.json");
        let (mut before, mut after) = (Wire::default(), Wire::default());
        for number in 0..8 * 24_u64 {
            let at = number / 8 * 2 * HOUR + number * 7919 % 3500 * SECOND;
            let server = outside(200 + number as u32 * 31 % 97);
            before.flow(at, (host(1 + number as u32 % 8), server, 443), [700, 9000], (SECOND, 1));
        }
        let call = |wire: &mut Wire, minute: u64| {
            wire.flow(48 * HOUR + minute * 60 * SECOND, (host(1), outside(1), 443), [320, 900], (SECOND / 2, 1));
        };
        (0..5 * 60).for_each(|minute| call(&mut before, minute));
        (5 * 60..8 * 60).for_each(|minute| call(&mut after, minute));
        let told = |found: Vec<Evidence>| found.into_iter().map(|one| (one.kind, one.severity)).collect::<Vec<_>>();
        let of = |severity: u8| [("beacon".to_owned(), severity)];
        assert_eq!(told(before.tell(&mut start(&path))), of(3), "five hours are not enough to be sure");
        let kept = std::fs::read(&path).expect("it was written");
        assert_eq!(
            told(after.tell(&mut start(&path))),
            [("beacon".to_owned(), 2)],
            "new since two days, for six hours"
        );
        std::fs::remove_file(&path).expect("it was written");
        assert_eq!(told(after.tell(&mut start(&path))), of(3), "without what was learnt");
        // What was read is what is written again.
        std::fs::write(&path, &kept).expect("a writable folder");
        drop(start(&path));
        assert!(std::fs::read(&path).expect("it was written") == kept, "the same document");
    }
}
