//! The worker thread: pinned, runs its queues in turn, takes and gives whole queues on command.

use super::engine::Queue;
use crate::sys::poll::PollSet;
use crate::sys::{affinity, thread as kernel_thread};
use crate::units::{QueueId, WorkerId};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// Commands besides one for every queue that a worker may have unread.
const COMMANDS: usize = 16;
/// Descriptors of one queue: its socket, its ring of copies, its bell.
const DESCRIPTORS: usize = 3;
/// Longest wait on queues that have no descriptors to poll, all of a worker together: how late any of them is looked at.
pub(super) const UNPOLLED_WAIT: Duration = Duration::from_micros(100);

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its number.
    pub id: WorkerId,
    /// Core to pin to; `None`: wherever the scheduler likes (offline, or where cores are not ours to choose).
    pub core: Option<usize>,
    /// Queues it may run at most: all that the program has. Room for them, for a command to each and for each to come back
    /// is taken at the start, some 100 bytes a queue.
    pub queues_max: usize,
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
    /// Rounds over all queues; also its pulse: a worker that is alive comes round every `wait_limit`.
    pub turns: AtomicU64,
    /// Number of its thread in the kernel; 0 before it runs.
    pub thread: AtomicU64,
    /// Queues run now.
    pub queues: AtomicU64,
    /// The thread is pinned to the core asked for.
    pub pinned: AtomicBool,
}

/// Why a queue came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It was told to be released, or the worker to stop.
    Released,
    /// Its source has ended and everything has been sent up.
    Ended,
    /// It panicked and could not begin anew.
    Failed,
}

/// A queue that came back.
pub struct Returned {
    /// The queue.
    pub queue: Box<dyn Queue>,
    /// Why.
    pub why: Why,
}

/// The supervisor's end of a worker.
pub struct WorkerHandle {
    settings: WorkerSettings,
    commands: rtrb::Producer<Command>,
    returned: rtrb::Consumer<Returned>,
    load: Arc<WorkerLoad>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Starts a worker without queues.
    ///
    /// # Errors
    /// The operating system's, if it has no thread to give.
    pub fn start(settings: WorkerSettings) -> std::io::Result<WorkerHandle> {
        let (commands, command_consumer) = rtrb::RingBuffer::new(settings.queues_max + COMMANDS);
        let (returned_producer, returned) = rtrb::RingBuffer::new(settings.queues_max);
        let load = Arc::new(WorkerLoad::default());
        let worker = Worker {
            commands: command_consumer,
            returned: returned_producer,
            load: Arc::clone(&load),
            settings: settings.clone(),
            queues: Vec::with_capacity(settings.queues_max),
            waits: PollSet::with_capacity(settings.queues_max.saturating_mul(DESCRIPTORS)),
            in_turn: None,
            resume_at: 0,
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

    /// Sends a command and wakes the worker if it sleeps; gives the command back if the worker has too many unread.
    pub fn command(&mut self, command: Command) -> Result<(), Command> {
        let outcome = self.commands.push(command).map_err(|rtrb::PushError::Full(command)| command);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        outcome
    }

    /// A queue that came back.
    pub fn returned(&mut self) -> Option<Returned> {
        self.returned.pop().ok()
    }

    /// Has the thread ended?
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Has the kernel no such thread any more, whatever the program knows of it? Asks the file system.
    pub fn is_gone(&self) -> bool {
        let thread = self.load.thread.load(Relaxed);
        self.is_finished() || (thread != 0 && !kernel_thread::exists(thread))
    }

    /// Gives the thread up: one that hangs, or that the kernel ended behind our back, cannot be waited for.
    pub fn abandon(&mut self) {
        drop(self.thread.take());
    }

    /// Waits for the thread's end; `false` if it panicked.
    pub fn join(&mut self) -> bool {
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

/// The thread's own state.
struct Worker {
    commands: rtrb::Consumer<Command>,
    returned: rtrb::Producer<Returned>,
    load: Arc<WorkerLoad>,
    settings: WorkerSettings,
    queues: Vec<Box<dyn Queue>>,
    waits: PollSet,
    /// The queue whose code runs.
    in_turn: Option<usize>,
    /// Where the round goes on after a panic, so that a queue that panics in every turn does not starve those behind it.
    resume_at: usize,
}

/// Every queue in turn, with a note whose code runs.
fn each(queues: &mut [Box<dyn Queue>], in_turn: &mut Option<usize>, mut step: impl FnMut(&mut Box<dyn Queue>)) {
    for (index, queue) in queues.iter_mut().enumerate() {
        *in_turn = Some(index);
        step(queue);
    }
}

impl Worker {
    fn run(mut self) {
        let pinned = self.settings.core.is_some_and(affinity::pin_to);
        kernel_thread::wake_on_time();
        self.load.thread.store(kernel_thread::current(), Relaxed);
        self.load.pinned.store(pinned, Relaxed);
        loop {
            // A panic is one queue's: it unwinds to here, costs nothing before, and the others go on as they are.
            match catch_unwind(AssertUnwindSafe(|| self.serve())) {
                Ok(finish) => return self.stop(finish),
                Err(cause) if self.in_turn.is_none() => resume_unwind(cause),
                Err(_) => self.begin_anew(),
            }
        }
    }

    /// Runs the queues until told to stop: with their flows ended, or as they stand.
    fn serve(&mut self) -> bool {
        let mut idle_turns = 0_u32;
        let mut previous = None;
        let mut worked = false;
        loop {
            if let Some(finish) = self.obey() {
                return finish;
            }
            let mut frames = 0;
            let mut index = std::mem::take(&mut self.resume_at);
            while let Some(queue) = self.queues.get_mut(index) {
                self.in_turn = Some(index);
                let turn = queue.turn();
                frames += turn.frames;
                if let Some(before) = previous.replace(turn.started) {
                    self.account(turn.started.since(before), worked);
                }
                worked = turn.frames > 0;
                if turn.ended {
                    let queue = self.queues.swap_remove(index);
                    self.give_back(queue, Why::Ended);
                } else {
                    index += 1;
                }
            }
            self.in_turn = None;
            self.load.frames.store(self.load.frames.load(Relaxed).wrapping_add(frames as u64), Relaxed);
            self.load.turns.store(self.load.turns.load(Relaxed).wrapping_add(1), Relaxed);
            idle_turns = if frames > 0 { 0 } else { idle_turns.saturating_add(1) };
            if idle_turns > self.settings.spin_turns {
                self.wait();
            }
        }
    }

    /// After a panic: the queue whose code it was begins anew with its source, or is given up.
    #[cold]
    fn begin_anew(&mut self) {
        let Some(index) = self.in_turn.take() else { return };
        let restarted = self.queues.get_mut(index).map(|queue| catch_unwind(AssertUnwindSafe(|| queue.restart())));
        self.resume_at = index + 1;
        if !matches!(restarted, Some(Ok(true))) && index < self.queues.len() {
            let queue = self.queues.swap_remove(index);
            self.resume_at = index;
            self.give_back(queue, Why::Failed);
        }
        // The worker is alive, whatever its queues do.
        self.load.turns.store(self.load.turns.load(Relaxed).wrapping_add(1), Relaxed);
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
                // There is room for every queue of the program, so the vector never grows.
                Command::Adopt(queue) => self.queues.push(queue),
                Command::Release(id) => {
                    if let Some(index) = self.queues.iter().position(|queue| queue.id() == id) {
                        let queue = self.queues.swap_remove(index);
                        self.give_back(queue, Why::Released);
                    }
                }
                Command::Stop(finish) => return Some(finish),
            }
            self.load.queues.store(self.queues.len() as u64, Relaxed);
        }
        None
    }

    /// The ring has a place for every queue of the program, so this never waits; were it full, the queue stays and is run
    /// on.
    fn give_back(&mut self, queue: Box<dyn Queue>, why: Why) {
        if let Err(rtrb::PushError::Full(back)) = self.returned.push(Returned { queue, why }) {
            self.queues.push(back.queue);
        }
        self.load.queues.store(self.queues.len() as u64, Relaxed);
    }

    /// One wait for all queues: the first frame on any of them ends it.
    fn wait(&mut self) {
        let mut limit = self.settings.wait_limit;
        let mut unpolled = 0;
        self.waits.clear();
        for (index, queue) in self.queues.iter_mut().enumerate() {
            self.in_turn = Some(index);
            let rest = queue.before_wait(limit, &mut self.waits);
            limit = limit.min(rest.limit);
            unpolled += u32::from(!rest.polled);
        }
        match (self.queues.len(), unpolled) {
            (0, _) => std::thread::park_timeout(limit),
            _ if limit.is_zero() => {}
            (_, 0) => {
                self.waits.wait(limit);
            }
            (1, _) => each(&mut self.queues, &mut self.in_turn, |queue| queue.wait(limit)),
            _ => {
                // Sources that poll by themselves (busy polling, memory, files) share a short wait.
                let share = limit.min(UNPOLLED_WAIT) / unpolled;
                each(&mut self.queues, &mut self.in_turn, |queue| {
                    if !queue.is_polled() {
                        queue.wait(share);
                    }
                });
            }
        }
        each(&mut self.queues, &mut self.in_turn, |queue| queue.after_wait());
        self.in_turn = None;
    }

    fn stop(&mut self, finish: bool) {
        while let Some(mut queue) = self.queues.pop() {
            let finished = !finish || catch_unwind(AssertUnwindSafe(|| queue.finish())).is_ok();
            let why = if finished { Why::Released } else { Why::Failed };
            // Shutdown: the supervisor collects; if it does not, dropping here is the right end of the queue.
            let _ = self.returned.push(Returned { queue, why });
            self.load.turns.store(self.load.turns.load(Relaxed).wrapping_add(1), Relaxed);
        }
        self.load.queues.store(0, Relaxed);
    }
}
