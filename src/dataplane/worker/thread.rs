//! The worker thread: pinned, runs its queues in turn, takes and gives whole queues on command.

use super::engine::Queue;
use crate::sys::affinity;
use crate::units::{QueueId, WorkerId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// Queues that one worker may run at most; the rings of commands and returned queues are as long.
pub const QUEUES_MAX: usize = 64;

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its number.
    pub id: WorkerId,
    /// Core to pin to; `None`: wherever the scheduler likes (offline, or where cores are not ours to choose).
    pub core: Option<usize>,
    /// Turns over all queues that found nothing before the worker waits instead of asking again. 0 waits at once; more
    /// trades a core's idle time for latency.
    pub spin_turns: u32,
    /// Longest wait of an idle worker; also how late a command may be seen.
    pub wait_limit: Duration,
}

/// What a worker is told.
pub enum Command {
    /// Run this queue from now on.
    Adopt(Box<dyn Queue>),
    /// Give this queue back, as it stands.
    Release(QueueId),
    /// Finish every queue (`true`) or leave it as it stands (`false`), give all back and end.
    Stop(bool),
}

/// What a worker has done with its time; single writer, read at leisure.
#[derive(Default, Debug)]
pub struct WorkerLoad {
    /// Nanoseconds in turns that moved frames.
    pub busy_ns: AtomicU64,
    /// Nanoseconds since the worker began.
    pub total_ns: AtomicU64,
    /// Frames moved.
    pub frames: AtomicU64,
    /// Rounds over all queues.
    pub turns: AtomicU64,
    /// Queues run now.
    pub queues: AtomicU64,
    /// The thread is pinned to the core asked for.
    pub pinned: AtomicBool,
}

/// The supervisor's end of a worker.
pub struct WorkerHandle {
    settings: WorkerSettings,
    commands: rtrb::Producer<Command>,
    returned: rtrb::Consumer<Box<dyn Queue>>,
    load: Arc<WorkerLoad>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Starts a worker without queues.
    ///
    /// # Errors
    /// The operating system's, if it has no thread to give.
    pub fn start(settings: WorkerSettings) -> std::io::Result<WorkerHandle> {
        let (commands, command_consumer) = rtrb::RingBuffer::new(QUEUES_MAX);
        let (returned_producer, returned) = rtrb::RingBuffer::new(QUEUES_MAX);
        let load = Arc::new(WorkerLoad::default());
        let worker = Worker {
            commands: command_consumer,
            returned: returned_producer,
            load: Arc::clone(&load),
            settings: settings.clone(),
            queues: Vec::with_capacity(QUEUES_MAX),
        };
        let thread =
            std::thread::Builder::new().name(format!("worker-{}", settings.id.0)).spawn(move || worker.run())?;
        Ok(WorkerHandle { settings, commands, returned, load, thread: Some(thread) })
    }

    /// How it was started.
    pub fn settings(&self) -> &WorkerSettings {
        &self.settings
    }

    /// What it does with its time.
    pub fn load(&self) -> &Arc<WorkerLoad> {
        &self.load
    }

    /// Sends a command and wakes the worker if it sleeps; gives the command back if the worker has `QUEUES_MAX` unread.
    pub fn command(&mut self, command: Command) -> Result<(), Command> {
        let outcome = self.commands.push(command).map_err(|rtrb::PushError::Full(command)| command);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        outcome
    }

    /// A queue that came back: released, ended or stopped.
    pub fn returned(&mut self) -> Option<Box<dyn Queue>> {
        self.returned.pop().ok()
    }

    /// Has the thread ended?
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the thread's end; `false` if it panicked.
    pub fn join(&mut self) -> bool {
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

/// The thread's own state.
struct Worker {
    commands: rtrb::Consumer<Command>,
    returned: rtrb::Producer<Box<dyn Queue>>,
    load: Arc<WorkerLoad>,
    settings: WorkerSettings,
    queues: Vec<Box<dyn Queue>>,
}

impl Worker {
    fn run(mut self) {
        let pinned = self.settings.core.is_some_and(affinity::pin_to);
        self.load.pinned.store(pinned, Relaxed);
        let mut idle_turns = 0_u32;
        let mut previous = None;
        let mut worked = false;
        loop {
            if let Some(finish) = self.obey() {
                self.stop(finish);
                return;
            }
            let mut frames = 0;
            let mut index = 0;
            while let Some(queue) = self.queues.get_mut(index) {
                let turn = queue.turn();
                frames += turn.frames;
                if let Some(before) = previous.replace(turn.started) {
                    self.account(turn.started.since(before), worked);
                }
                worked = turn.frames > 0;
                if turn.ended {
                    let queue = self.queues.swap_remove(index);
                    self.give_back(queue);
                } else {
                    index += 1;
                }
            }
            self.load.frames.store(self.load.frames.load(Relaxed).wrapping_add(frames as u64), Relaxed);
            self.load.turns.store(self.load.turns.load(Relaxed).wrapping_add(1), Relaxed);
            idle_turns = if frames > 0 { 0 } else { idle_turns.saturating_add(1) };
            if idle_turns > self.settings.spin_turns {
                self.wait();
            }
        }
    }

    /// One load and one store: this thread is the only writer.
    fn account(&self, nanoseconds: u64, worked: bool) {
        let total = &self.load.total_ns;
        total.store(total.load(Relaxed).wrapping_add(nanoseconds), Relaxed);
        if worked {
            let busy = &self.load.busy_ns;
            busy.store(busy.load(Relaxed).wrapping_add(nanoseconds), Relaxed);
        }
    }

    /// Carries out what was commanded; `Some(finish)` when told to stop.
    fn obey(&mut self) -> Option<bool> {
        while let Ok(command) = self.commands.pop() {
            match command {
                // Beyond QUEUES_MAX the vector would have to grow: the queue goes straight back instead.
                Command::Adopt(queue) if self.queues.len() < QUEUES_MAX => self.queues.push(queue),
                Command::Adopt(queue) => self.give_back(queue),
                Command::Release(id) => {
                    if let Some(index) = self.queues.iter().position(|queue| queue.id() == id) {
                        let queue = self.queues.swap_remove(index);
                        self.give_back(queue);
                    }
                }
                Command::Stop(finish) => return Some(finish),
            }
            self.load.queues.store(self.queues.len() as u64, Relaxed);
        }
        None
    }

    /// The ring has a place for every queue that a worker can have, so this never waits while the supervisor keeps
    /// QUEUES_MAX queues in the program; were it full, the queue stays and is run on.
    fn give_back(&mut self, queue: Box<dyn Queue>) {
        if let Err(rtrb::PushError::Full(queue)) = self.returned.push(queue) {
            self.queues.push(queue);
        }
        self.load.queues.store(self.queues.len() as u64, Relaxed);
    }

    fn wait(&mut self) {
        let count = self.queues.len() as u32;
        match count {
            0 => std::thread::park_timeout(self.settings.wait_limit),
            _ => {
                // Several queues share the wait, so that none is looked at later than the limit.
                let share = self.settings.wait_limit / count;
                for queue in &mut self.queues {
                    queue.wait(share);
                }
            }
        }
    }

    fn stop(&mut self, finish: bool) {
        while let Some(mut queue) = self.queues.pop() {
            if finish {
                queue.finish();
            }
            // Shutdown: the supervisor collects; if it does not, dropping here is the right end of the queue.
            let _ = self.returned.push(queue);
        }
        self.load.queues.store(0, Relaxed);
    }
}
