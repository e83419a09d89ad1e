//! What needs frames: a thread that takes what the queues copy for it ([`watch`](crate::dataplane::worker::watch)) and gives each
//! frame to the jobs that want it.
//!
//! Owns the queues' watches, the list of what is wanted, and the ways by which something is sent ([`sending`]). Never waits on a
//! worker; a worker never waits on it. Without a job it sleeps. Deliberately does not: decide what is done, or for how long.

pub mod capture;
pub mod pcapng;
pub mod reset;
pub mod segment;
pub mod sending;

use super::intended::Id;
use crate::dataplane::verdict::Subject;
use crate::dataplane::worker::{Copied, SUBJECTS_MAX, WatchList, WatchPort};
use crate::units::Timestamp;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sending::Sending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// Orders that wait.
const ORDERS: usize = 64;
/// Between two looks at the rings while there is a job: a ring holds 8 ms of a flow of 1 Gb/s.
const LOOK: Duration = Duration::from_millis(1);
/// The same without one; a stop is seen so late.
const REST: Duration = Duration::from_millis(50);
/// Frames of one queue that are taken before the others have their turn.
const FRAMES_A_TURN: usize = 512;

/// What came of a job, in words.
pub type Outcome = Result<String, String>;
/// Takes what came of a job; `false`: not now.
pub type Tell = Box<dyn FnMut(Id, &Outcome) -> bool + Send>;

/// A queue whose frames may be wanted.
pub struct WatchedQueue {
    /// The interface it is of, or the pair.
    pub interface: Arc<str>,
    /// Its watch.
    pub port: WatchPort,
}

/// A frame for a job.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// As it was copied.
    pub copied: &'a Copied<'a>,
    /// The interface it came in by, or the pair.
    pub interface: &'a str,
}

/// Something that goes on for a time with frames.
pub trait Job: Send {
    /// Which frames it wants.
    fn subject(&self) -> Subject;

    /// One of them; frames come before the ticks of their time.
    fn frame(&mut self, frame: Frame<'_>, now: Timestamp, sending: &mut Sending);

    /// Called every millisecond or so; what came of it, once it is over. `lost`: frames of it that nobody took in time.
    fn tick(&mut self, now: Timestamp, until: Timestamp, lost: u64, sending: &mut Sending) -> Option<Outcome>;

    /// It is to end now, with what it has.
    fn end(&mut self, now: Timestamp);
}

enum Told {
    Watch(Vec<WatchedQueue>),
    Begin(Id, Box<dyn Job>, Timestamp),
    End(Id),
}

/// Sums since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames that were wanted and found a queue's ring full; one that several wanted counts for each.
    pub lost: AtomicU64,
    /// Frames that were sent to the ends of flows.
    pub sent: AtomicU64,
}

/// Where jobs go in.
#[derive(Clone)]
pub struct Watcher {
    orders: Sender<Told>,
    counts: Arc<Counts>,
    /// Something can be sent: a pair, or an interface beside a tap.
    sends: bool,
}

impl Watcher {
    /// What was lost and sent.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Can frames be sent to the ends of a flow?
    pub fn can_send(&self) -> bool {
        self.sends
    }

    /// These queues are there. Waits for room.
    pub fn watch(&self, queues: Vec<WatchedQueue>) {
        // Without the thread there is nobody to watch.
        drop(self.orders.send(Told::Watch(queues)));
    }

    /// Begins a job, or has the one of that name go on until then. Never waits.
    ///
    /// # Errors
    /// Too many orders wait.
    pub fn begin(&self, id: Id, job: Box<dyn Job>, until: Timestamp) -> Result<(), String> {
        self.orders.try_send(Told::Begin(id, job, until)).map_err(|_| "too many wait for frames: try again".to_owned())
    }

    /// Ends a job; one that is over is no error.
    pub fn end(&self, id: Id) {
        // Full: it ends by its own time.
        drop(self.orders.try_send(Told::End(id)));
    }
}

struct Running {
    id: Id,
    job: Box<dyn Job>,
    until: Timestamp,
    place: usize,
    /// The first list that it is on: what met an older one in its place was another's.
    since: u64,
    /// What was lost in its place before, for each queue.
    lost_before: Vec<u64>,
}

/// The thread's state.
struct Hub {
    counts: Arc<Counts>,
    orders: Receiver<Told>,
    queues: Vec<WatchedQueue>,
    sending: Sending,
    running: Vec<Running>,
    number: u64,
    /// Number of the list that each queue was sent last.
    sent: Vec<u64>,
    tell: Tell,
    untold: Vec<(Id, Outcome)>,
}

/// Starts the thread. It ends when `stop` is raised, with every job. `is_live`: there will be queues.
///
/// # Errors
/// There is no thread to be had.
pub fn start(
    is_live: bool,
    sending: Sending,
    now: impl Fn() -> Timestamp + Send + 'static,
    stop: Arc<AtomicBool>,
    tell: Tell,
) -> std::io::Result<(Watcher, JoinHandle<()>)> {
    let (orders, taken) = bounded(ORDERS);
    let counts = Arc::new(Counts::default());
    let watcher = Watcher { orders, counts: Arc::clone(&counts), sends: sending.is_possible() && is_live };
    let (queues, sent) = (Vec::new(), Vec::new());
    let mut hub =
        Hub { counts, orders: taken, queues, sending, running: Vec::new(), number: 0, sent, tell, untold: Vec::new() };
    let thread = std::thread::Builder::new().name("respond-watch".into()).spawn(move || {
        while !stop.load(Relaxed) {
            let is_idle = hub.running.is_empty() && hub.untold.is_empty();
            match hub.orders.recv_timeout(if is_idle { REST } else { LOOK }) {
                Ok(order) => hub.obey(order, now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(order) = hub.orders.try_recv() {
                hub.obey(order, now());
            }
            hub.turn(&now);
        }
        hub.running.iter_mut().for_each(|one| one.job.end(now()));
    })?;
    Ok((watcher, thread))
}

impl Hub {
    fn obey(&mut self, order: Told, now: Timestamp) {
        match order {
            Told::Watch(queues) => {
                for queue in queues {
                    self.running.iter_mut().for_each(|one| one.lost_before.push(queue.port.lost(one.place)));
                    self.queues.push(queue);
                    self.sent.push(0);
                }
            }
            Told::Begin(id, job, until) => {
                if let Some(one) = self.running.iter_mut().find(|one| one.id == id) {
                    one.until = until;
                    return;
                }
                let is_free = |place: &usize| self.running.iter().all(|one| one.place != *place);
                let Some(place) = (0..SUBJECTS_MAX).find(is_free) else {
                    let text = format!("{SUBJECTS_MAX} wait for frames already: end one of them");
                    self.untold.push((id, Err(text)));
                    return;
                };
                let lost_before = self.queues.iter().map(|queue| queue.port.lost(place)).collect();
                self.number += 1;
                self.running.push(Running { id, job, until, place, since: self.number, lost_before });
            }
            Told::End(id) => {
                if let Some(index) = self.running.iter().position(|one| one.id == id) {
                    self.running.remove(index).job.end(now);
                    self.number += 1;
                }
            }
        }
    }

    fn turn(&mut self, now: &dyn Fn() -> Timestamp) {
        self.tell_queues();
        let Hub { queues, running, sending, .. } = self;
        let mut more = true;
        while more {
            more = false;
            let moment = now();
            for queue in queues.iter_mut() {
                for turn in 1..=FRAMES_A_TURN {
                    let interface = &queue.interface;
                    let received = queue.port.receive(|copied| {
                        let meant = |one: &&mut Running| copied.met >> one.place & 1 == 1 && copied.list >= one.since;
                        for one in running.iter_mut().filter(meant) {
                            one.job.frame(Frame { copied: &copied, interface }, moment, sending);
                        }
                    });
                    if received.is_none() {
                        break;
                    }
                    more |= turn == FRAMES_A_TURN && !running.is_empty();
                }
            }
        }
        let moment = now();
        let mut over = Vec::new();
        for (index, one) in running.iter_mut().enumerate() {
            let lost = queues.iter().zip(&one.lost_before).map(|(queue, before)| queue.port.lost(one.place) - before);
            if let Some(outcome) = one.job.tick(moment, one.until, lost.sum(), sending) {
                over.push((index, outcome));
            }
        }
        for (index, outcome) in over.into_iter().rev() {
            let mut one = self.running.remove(index);
            one.job.end(moment);
            self.number += 1;
            self.untold.push((one.id, outcome));
        }
        let lost = self.queues.iter().flat_map(|queue| (0..SUBJECTS_MAX).map(|place| queue.port.lost(place)));
        self.counts.lost.store(lost.sum(), Relaxed);
        self.counts.sent.store(self.sending.sent(), Relaxed);
        let tell = &mut self.tell;
        self.untold.retain(|(id, outcome)| !tell(*id, outcome));
    }

    /// Sends the list to the queues that have an older one, as soon as each has taken the one before.
    fn tell_queues(&mut self) {
        let mut subjects = [None; SUBJECTS_MAX];
        for one in &self.running {
            subjects[one.place] = Some(one.job.subject());
        }
        for (queue, sent) in self.queues.iter_mut().zip(&mut self.sent) {
            if *sent != self.number && queue.port.send(Box::new(WatchList::new(self.number, &subjects))).is_ok() {
                *sent = self.number;
            }
        }
    }
}

/// A connection that is being reset.
pub struct ResetJob {
    reset: reset::Reset,
    interface: Option<String>,
    trouble: Option<String>,
}

impl ResetJob {
    /// Of this flow.
    pub fn new(flow: &crate::dataplane::verdict::FlowSubject) -> ResetJob {
        ResetJob { reset: reset::Reset::new(flow), interface: None, trouble: None }
    }

    fn send(&mut self, shots: Vec<reset::Shot>, sending: &mut Sending) {
        let Some(interface) = &self.interface else { return };
        for shot in shots {
            if let Err(why) = sending.send(interface, shot.port, shot.frame) {
                self.trouble = Some(why);
            }
        }
    }
}

impl Job for ResetJob {
    fn subject(&self) -> Subject {
        self.reset.subject()
    }

    fn frame(&mut self, frame: Frame<'_>, now: Timestamp, sending: &mut Sending) {
        // Of a flow that crosses several interfaces the one that saw it first: its numbers are the same everywhere.
        if self.interface.as_deref().is_some_and(|interface| interface != frame.interface) {
            return;
        }
        self.interface.get_or_insert_with(|| frame.interface.to_owned());
        let shots = self.reset.frame(frame.copied.view.bytes, frame.copied.view.port, now);
        self.send(shots, sending);
    }

    fn tick(&mut self, now: Timestamp, until: Timestamp, _: u64, sending: &mut Sending) -> Option<Outcome> {
        let (shots, over) = self.reset.tick(now);
        self.send(shots, sending);
        if let Some(trouble) = self.trouble.take() {
            return Some(Err(trouble));
        }
        // A little before its time, so that the audit has what came of it.
        let is_late = now.after(crate::units::SECOND / 2) >= until;
        let unseen = || Err("no frame of this connection came, not even to say where its ends are".to_owned());
        over.or_else(|| (is_late && !self.reset.is_seen()).then(unseen))
    }

    fn end(&mut self, _: Timestamp) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::{FrameView, LinkType, Received, Source};
    use crate::dataplane::worker::{Watch, watch};
    use std::sync::Mutex;

    struct One(Vec<u8>);

    impl Source for One {
        fn receive(&mut self, _: usize) -> Received {
            Received::default()
        }
        fn frame(&self, _: usize) -> FrameView<'_> {
            let wire_bytes = self.0.len() as u32;
            FrameView { bytes: &self.0, wire_bytes, time: None, link: LinkType::Ethernet, port: 0 }
        }
        fn release(&mut self) {}
        fn wait(&mut self, _: Duration) {}
    }

    struct Counting(Subject, u64, u64);

    impl Job for Counting {
        fn subject(&self) -> Subject {
            self.0
        }
        fn frame(&mut self, frame: Frame<'_>, _: Timestamp, _: &mut Sending) {
            assert_eq!(frame.interface, "eth1");
            self.1 += 1;
        }
        fn tick(&mut self, _: Timestamp, _: Timestamp, _: u64, _: &mut Sending) -> Option<Outcome> {
            (self.1 >= self.2).then(|| Ok(format!("{} frames", self.1)))
        }
        fn end(&mut self, _: Timestamp) {}
    }

    fn frame(last: u8) -> One {
        let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut frame = Vec::new();
        builder.ipv4([10, 0, 0, last], [10, 0, 0, 9], 64).udp(9, 9).write(&mut frame, &[0; 20]).unwrap();
        One(frame)
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = std::time::Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::yield_now();
        }
    }

    /// Jobs get the frames they want, each its own; what was begun, ended and begun again in the same place is kept apart.
    #[test]
    fn each_job_gets_its_frames() {
        let (mut queue, port): (Watch, _) = watch();
        let (told, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let tell: Tell = {
            let told = Arc::clone(&told);
            Box::new(move |id, outcome| {
                told.lock().unwrap().push((id.0, outcome.clone()));
                true
            })
        };
        let queues = vec![WatchedQueue { interface: "eth1".into(), port }];
        let (watcher, thread) =
            start(true, Sending::default(), || Timestamp(1), Arc::clone(&stop), tell).expect("a thread");
        watcher.watch(queues);
        assert!(!watcher.can_send());
        let host = |last: u8| Subject::Prefix([10, 0, 0, last].into(), 32);
        let begin = |id, last, wanted| {
            watcher.begin(Id(id), Box::new(Counting(host(last), 0, wanted)), Timestamp(u64::MAX)).expect("room");
        };
        begin(1, 1, 5);
        begin(2, 2, 5);
        let mut play = |last: u8, is_so: &dyn Fn() -> bool| {
            until("its frames come", || {
                queue.heed();
                if queue.is_on() {
                    queue.take(&frame(last), 1, Timestamp(1));
                }
                is_so()
            });
        };
        let is_told = |id: u128| told.lock().unwrap().iter().any(|(other, outcome)| *other == id && outcome.is_ok());
        play(1, &|| is_told(1));
        assert!(!is_told(2));
        play(2, &|| is_told(2));
        for id in 10..10 + SUBJECTS_MAX as u128 {
            begin(id, 3, u64::MAX);
        }
        begin(50, 3, 1);
        until("too many", || told.lock().unwrap().iter().any(|(id, outcome)| *id == 50 && outcome.is_err()));
        watcher.end(Id(10));
        begin(51, 4, 1);
        play(4, &|| is_told(51));
        stop.store(true, Relaxed);
        thread.join().unwrap();
    }
}
