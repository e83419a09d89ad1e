//! All feeds of the configuration: read at start, and again when their files change. What is looked up is swapped as a whole; a
//! feed that cannot be read any more is named, and what was read of it before stays.

use super::feed::{FeedError, FeedPlan, read};
use super::table::{Table, Tables};
use arc_swap::ArcSwap;
use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// How often files are looked at. One that has changed is read when it has not changed further by the next look, so that it
/// need not be written in one piece.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// What tells a file from what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    changed: SystemTime,
    bytes: u64,
    inode: u64,
}

struct Watched {
    plan: FeedPlan,
    /// The file that was read last, with whatever outcome.
    read: Option<Stamp>,
    /// A file that is another one.
    settling: Option<Stamp>,
    table: Arc<Table>,
    broken: Option<String>,
    /// Missing, or without news for too long.
    silent: Option<String>,
}

impl Watched {
    /// Reads it for the first time; with what is to be said of it.
    fn open(plan: &FeedPlan, limit: usize) -> Result<(Watched, String), FeedError> {
        let mut one = Watched {
            plan: plan.clone(),
            read: None,
            settling: None,
            table: Arc::default(),
            broken: None,
            silent: None,
        };
        // Before it is read: what changes meanwhile is another one.
        one.read = one.stamp().ok();
        let loaded = read(plan, limit)?;
        let words = loaded.words(plan);
        one.table = Arc::new(loaded.table);
        Ok((one, words))
    }

    fn stamp(&self) -> std::io::Result<Stamp> {
        let data = fs::metadata(&self.plan.path)?;
        Ok(Stamp { changed: data.modified()?, bytes: data.len(), inode: data.ino() })
    }

    fn kept(&self) -> String {
        format!("{} indicators read of it before stay in force", self.table.count())
    }

    /// `true`: there are other indicators.
    fn look(&mut self, now: SystemTime, limit: usize) -> bool {
        let stamp = match self.stamp() {
            Ok(stamp) => stamp,
            Err(cause) => {
                let path = self.plan.path.display();
                self.silent = Some(format!("feed {}: {path}: {cause}; {}", self.plan.name, self.kept()));
                return false;
            }
        };
        let age_h = now.duration_since(stamp.changed).unwrap_or_default().as_secs() / 3600;
        self.silent = self
            .plan
            .stale_hours
            .filter(|hours| age_h >= *hours)
            .map(|_| format!("feed {} has not changed for {age_h} hours: see to what fetches it", self.plan.name));
        if self.read == Some(stamp) {
            self.settling = None;
            return false;
        }
        if self.settling != Some(stamp) {
            self.settling = Some(stamp);
            return false;
        }
        self.read = Some(stamp);
        match read(&self.plan, limit) {
            Ok(loaded) => {
                tracing::info!("{}", loaded.words(&self.plan));
                self.broken = None;
                self.table = Arc::new(loaded.table);
                true
            }
            Err(error) => {
                tracing::warn!("{error}; {}", self.kept());
                self.broken = Some(format!("{error}; {}", self.kept()));
                false
            }
        }
    }
}

/// See the module.
pub struct Feeds {
    watched: Vec<Watched>,
    limit: usize,
    shared: Arc<ArcSwap<Tables>>,
}

impl Feeds {
    /// Reads all of them; `limit`: indicators of a feed at most.
    ///
    /// # Errors
    /// The first that cannot be used: at start nothing is there to stay in force.
    pub fn open(plans: &[FeedPlan], limit: usize) -> Result<Feeds, FeedError> {
        // Side by side: each is a file of its own, and a million indicators take a second of a core.
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = plans.iter().map(|plan| scope.spawn(move || Watched::open(plan, limit))).collect();
            threads.into_iter().zip(plans).map(|(thread, plan)| thread.join().map_err(|_| plan)).collect()
        });
        let mut watched = Vec::new();
        for outcome in outcomes {
            let (one, words) = outcome.unwrap_or_else(|plan| {
                let problem = "reading it ended by a panic".into();
                Err(FeedError { feed: plan.name.clone(), path: plan.path.clone(), line: None, problem })
            })?;
            tracing::info!("{words}");
            watched.push(one);
        }
        let feeds = Feeds { watched, limit, shared: Arc::default() };
        feeds.publish();
        Ok(feeds)
    }

    /// What is looked up, now and after each change.
    pub fn shared(&self) -> Arc<ArcSwap<Tables>> {
        Arc::clone(&self.shared)
    }

    /// Reads what has changed.
    pub fn look(&mut self, now: SystemTime) {
        let limit = self.limit;
        // All of them, whatever the first says.
        let changed = self.watched.iter_mut().map(|one| one.look(now, limit)).filter(|changed| *changed).count();
        if changed > 0 {
            self.publish();
        }
    }

    /// What is wrong with them, in words for people.
    pub fn problems(&self) -> Vec<String> {
        self.watched.iter().flat_map(|one| [&one.broken, &one.silent]).flatten().cloned().collect()
    }

    fn publish(&self) {
        let tables = self.watched.iter().map(|one| Arc::clone(&one.table)).collect();
        self.shared.store(Arc::new(Tables::new(tables)));
    }
}

/// The thread that watches the files of a running sensor.
pub struct LiveFeeds {
    problems: Arc<Mutex<Vec<String>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LiveFeeds {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(mut feeds: Feeds) -> std::io::Result<LiveFeeds> {
        feeds.look(SystemTime::now());
        let problems = Arc::new(Mutex::new(feeds.problems()));
        let (stop, stopped) = bounded::<()>(0);
        let shared = Arc::clone(&problems);
        let work = move || {
            while stopped.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
                feeds.look(SystemTime::now());
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = feeds.problems();
            }
        };
        let thread = std::thread::Builder::new().name("feeds".into()).spawn(work)?;
        Ok(LiveFeeds { problems, stop: Some(stop), thread: Some(thread) })
    }

    /// What is wrong with the feeds.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for LiveFeeds {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; were it so, there is nobody left to tell.
            drop(thread.join());
        }
    }
}
