//! One connection to be reset: which numbers its ends wait for, as far as its frames tell, and what is sent to them.
//!
//! A reset counts only with the very number that its receiver waits for next (RFC 5961 section 3.2). Each frame tells it of both
//! ends: what its sender acknowledges is what he waits for, what lies behind it is what its receiver will. So every frame is
//! answered with a reset to each end; a receiver that is further on than we know answers with an acknowledgement that tells where he
//! is (section 3.2 again), which is the next frame. When nothing comes any more, both ends are asked by a keep-alive (RFC 9293
//! section 3.8.4) whether they still know the connection: who does not, answers with a reset.

use super::segment::{self, End, Segment, flag};
use crate::dataplane::verdict::{FlowSubject, Subject};
use crate::units::{MILLISECOND, SECOND, Timestamp};
use std::collections::VecDeque;

/// Answers to frames after which it is given up: a connection of full speed is told some hundred times where it is not.
const VOLLEYS_MAX: u32 = 400;
/// Between two answers: of a burst of frames the latest tells most.
const PAUSE_NS: u64 = MILLISECOND;
/// What is done that long after the latest frame.
const STEPS: [(u64, Step); 6] = [
    (20 * MILLISECOND, Step::Again),
    (100 * MILLISECOND, Step::Again),
    (250 * MILLISECOND, Step::Ask),
    (600 * MILLISECOND, Step::Ask),
    (SECOND, Step::Ask),
    (1_500 * MILLISECOND, Step::Conclude),
];
/// Frames of our own remembered: beside a tap they come back to us.
const OWN_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Again,
    Ask,
    Conclude,
}

/// What is known of one end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Side {
    /// The number behind what it sent.
    next: Option<u32>,
    /// What it acknowledged last.
    expects: Option<u32>,
    /// The link headers of its frames.
    link: Option<Vec<u8>>,
    /// The port by which they come.
    port: Option<u8>,
    /// It said that it knows no such connection, and nothing since.
    gone: bool,
}

/// A frame to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shot {
    /// Its bytes.
    pub frame: Vec<u8>,
    /// The port by which its receiver is reached.
    pub port: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Reset {
    ends: [End; 2],
    sides: [Side; 2],
    frames: u64,
    volleys: u32,
    resets: u64,
    /// Both numbers and flags of ours, with the place of the end that they pretend to be of. A host's own answer to a question of
    /// ours has other flags.
    own: VecDeque<(usize, u32, u32, u8)>,
    latest: Option<Timestamp>,
    fired: Option<Timestamp>,
    waits: bool,
    steps: usize,
}

/// Is `one` behind `other`, as sequence numbers go?
fn is_behind(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

fn raise(known: &mut Option<u32>, number: u32) {
    if known.is_none_or(|known| is_behind(number, known)) {
        *known = Some(number);
    }
}

impl Reset {
    /// Of this flow, which must be TCP's.
    pub fn new(flow: &FlowSubject) -> Reset {
        Reset {
            ends: flow.ends(),
            sides: Default::default(),
            frames: 0,
            volleys: 0,
            resets: 0,
            own: VecDeque::with_capacity(OWN_MAX),
            latest: None,
            fired: None,
            waits: false,
            steps: 0,
        }
    }

    /// Which frames are wanted.
    pub fn subject(&self) -> Subject {
        let [one, other] = self.ends;
        Subject::Flow(FlowSubject::new(one, other, 6))
    }

    /// Has a frame of it been seen?
    pub fn is_seen(&self) -> bool {
        self.frames > 0
    }

    /// A frame of it came by a port.
    pub fn frame(&mut self, frame: &[u8], port: u8, now: Timestamp) -> Vec<Shot> {
        let Some(segment) = segment::read(frame) else { return Vec::new() };
        let Some(from) = self.ends.iter().position(|end| *end == segment.source) else { return Vec::new() };
        if self.ends[1 - from] != segment.destination {
            return Vec::new();
        }
        if self.own.contains(&(from, segment.sequence, segment.acknowledgement, segment.flags)) {
            return Vec::new();
        }
        if segment.has(flag::RST) {
            self.sides[from].gone = true;
            return Vec::new();
        }
        self.frames += 1;
        (self.latest, self.steps) = (Some(now), 0);
        self.learn(from, &segment, port);
        self.waits = true;
        self.fire_if_due(now)
    }

    fn learn(&mut self, from: usize, segment: &Segment<'_>, port: u8) {
        if segment.has(flag::SYN) {
            // A new one on the same ports: what was known is of another.
            self.sides[from] = Side::default();
            if !segment.has(flag::ACK) {
                let other = &mut self.sides[1 - from];
                (other.next, other.expects) = (None, None);
            }
        }
        let side = &mut self.sides[from];
        side.gone = false;
        side.link = Some(segment.link.to_vec());
        side.port = Some(port);
        raise(&mut side.next, segment.next());
        if segment.has(flag::ACK) {
            raise(&mut side.expects, segment.acknowledgement);
        }
    }

    fn fire_if_due(&mut self, now: Timestamp) -> Vec<Shot> {
        let is_due = self.waits && self.fired.is_none_or(|fired| now.since(fired) >= PAUSE_NS);
        if is_due { self.fire(now) } else { Vec::new() }
    }

    /// What comes with the time; the second: it is over.
    pub fn tick(&mut self, now: Timestamp) -> (Vec<Shot>, Option<Result<String, String>>) {
        let Some(latest) = self.latest else { return (Vec::new(), None) };
        if self.volleys >= VOLLEYS_MAX {
            let text = format!(
                "the connection survived {} resets at {} of its frames: they do not reach its ends, or come too late; block_flow \
                 holds it on a pair",
                self.resets, self.frames
            );
            return (Vec::new(), Some(Err(text)));
        }
        let mut shots = self.fire_if_due(now);
        if self.sides.iter().all(|side| side.gone) {
            return (shots, Some(Ok(self.told("both ends answer that there is no such connection"))));
        }
        while let Some((after, step)) = STEPS.get(self.steps)
            && now.since(latest) >= *after
        {
            self.steps += 1;
            match step {
                Step::Again => shots.extend(self.fire(now)),
                Step::Ask => shots.extend(self.ask()),
                Step::Conclude => {
                    let silent: Vec<String> = (self.ends.iter().zip(&self.sides))
                        .filter(|(_, side)| !side.gone)
                        .map(|((ip, port), _)| std::net::SocketAddr::new(*ip, *port).to_string())
                        .collect();
                    let text =
                        format!("nothing of it came since; {} does not say whether it is gone", silent.join(", "));
                    return (shots, Some(Ok(self.told(&text))));
                }
            }
        }
        (shots, None)
    }

    fn told(&self, how: &str) -> String {
        format!("reset, with {} resets at {} of its frames: {how}", self.resets, self.frames)
    }

    /// A reset to each end, with each number that it may wait for.
    fn fire(&mut self, now: Timestamp) -> Vec<Shot> {
        (self.waits, self.fired) = (false, Some(now));
        self.volleys += 1;
        let mut shots = Vec::new();
        for to in 0..2 {
            let (target, other) = (&self.sides[to], &self.sides[1 - to]);
            let acknowledgement = target.next.or(other.expects);
            let mut numbers: Vec<u32> = [target.expects, other.next].into_iter().flatten().collect();
            numbers.dedup();
            if numbers.is_empty() {
                // It has asked for a connection and got no answer: what counts is that this is one (RFC 9293 section 3.10.7.3).
                numbers.push(0);
            }
            for number in numbers {
                let flags = flag::RST | if acknowledgement.is_some() { flag::ACK } else { 0 };
                let numbers = (number, acknowledgement.unwrap_or(0));
                if let Some(shot) = self.shot(to, numbers, flags) {
                    self.resets += 1;
                    shots.push(shot);
                }
            }
        }
        shots
    }

    /// A keep-alive to each end that has not said that it is gone.
    fn ask(&mut self) -> Vec<Shot> {
        let mut shots = Vec::new();
        for to in 0..2 {
            let (target, other) = (&self.sides[to], &self.sides[1 - to]);
            let numbers = target.expects.or(other.next).zip(target.next.or(other.expects));
            if let Some((number, acknowledgement)) = numbers.filter(|_| !target.gone) {
                shots.extend(self.shot(to, (number.wrapping_sub(1), acknowledgement), flag::ACK));
            }
        }
        shots
    }

    /// A frame to an end as from the other one, by what is known of either's.
    fn shot(&mut self, to: usize, numbers: (u32, u32), flags: u8) -> Option<Shot> {
        let (target, other) = (&self.sides[to], &self.sides[1 - to]);
        let link = match (&other.link, &target.link) {
            (Some(link), _) => link.clone(),
            (None, Some(back)) => {
                let mut link = back.clone();
                link.get_mut(..12)?.rotate_left(6);
                link
            }
            _ => return None,
        };
        let port = target.port.or(other.port.map(|port| port ^ 1))?;
        let frame = segment::write(&link, self.ends[1 - to], self.ends[to], numbers, flags)?;
        if self.own.len() >= OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back((1 - to, numbers.0, numbers.1, flags));
        Some(Shot { frame, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: End = (std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 4000);
    const B: End = (std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 80);

    /// An end that takes resets as RFC 5961 says, and answers as hosts do.
    struct Host {
        own: End,
        peer: End,
        next: u32,
        expects: u32,
        open: bool,
    }

    fn link(from: End) -> Vec<u8> {
        let (a, b) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (to, from) = if from == A { (b, a) } else { (a, b) };
        [&to[..], &from, &[0x81, 0, 0, 7, 8, 0]].concat()
    }

    impl Host {
        fn says(&self, flags: u8) -> Vec<u8> {
            segment::write(&link(self.own), self.own, self.peer, (self.next, self.expects), flags).unwrap()
        }

        fn takes(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
            let segment = segment::read(frame).unwrap();
            assert_eq!((segment.source, segment.destination), (self.peer, self.own));
            assert_eq!(segment.link, link(self.peer), "cards and tag of the flow");
            if !self.open {
                let answers = !segment.has(flag::RST);
                return answers.then(|| {
                    let number = (segment.acknowledgement, 0);
                    segment::write(&link(self.own), self.own, self.peer, number, flag::RST).unwrap()
                });
            }
            if segment.has(flag::RST) {
                let ahead = segment.sequence.wrapping_sub(self.expects);
                if ahead == 0 {
                    self.open = false;
                    return None;
                }
                return (ahead < 65_536).then(|| self.says(flag::ACK)); // a challenge
            }
            (segment.sequence != self.expects).then(|| self.says(flag::ACK))
        }
    }

    fn hosts() -> [Host; 2] {
        let a = Host { own: A, peer: B, next: 0xffff_fff0, expects: 500, open: true };
        [a, Host { own: B, peer: A, next: 500, expects: 0xffff_fff0, open: true }]
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(SECOND + ms * MILLISECOND)
    }

    /// Carries frames until the reset says that it is over: A by port 0, B by port 1.
    fn play(reset: &mut Reset, hosts: &mut [Host; 2], first: Vec<u8>) -> Result<String, String> {
        let mut wire = VecDeque::from([(first, 0_u8)]);
        for ms in 0..10_000 {
            let mut shots = Vec::new();
            while let Some((frame, port)) = wire.pop_front() {
                shots.extend(reset.frame(&frame, port, at(ms)));
            }
            let (more, over) = reset.tick(at(ms));
            shots.extend(more);
            for shot in shots {
                assert_eq!(shot.frame.len(), 60);
                if let Some(answer) = hosts[usize::from(shot.port)].takes(&shot.frame) {
                    wire.push_back((answer, shot.port));
                }
            }
            if let Some(over) = over {
                return over;
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn one_frame_is_enough_to_reset_both_ends() {
        let (mut reset, mut hosts) = (Reset::new(&FlowSubject::new(A, B, 6)), hosts());
        let first = hosts[0].says(flag::ACK);
        let over = play(&mut reset, &mut hosts, first).unwrap();
        assert!(!hosts[0].open && !hosts[1].open);
        assert!(over.contains("both ends answer that there is no such connection"), "{over}");
    }

    /// We saw a frame that is long over: an end that is further on says where it is.
    #[test]
    fn an_end_that_is_further_on_is_asked_where_it_is() {
        let (mut reset, mut hosts) = (Reset::new(&FlowSubject::new(A, B, 6)), hosts());
        let first = hosts[0].says(flag::ACK);
        hosts[0].next = hosts[0].next.wrapping_add(5000);
        hosts[1].expects = hosts[0].next;
        play(&mut reset, &mut hosts, first).unwrap();
        assert!(!hosts[0].open && !hosts[1].open);
    }

    #[test]
    fn a_connection_that_takes_no_reset_has_survived() {
        let (mut reset, mut hosts) = (Reset::new(&FlowSubject::new(A, B, 6)), hosts());
        let mut over = None;
        for ms in 0..2_000 {
            hosts[0].next = hosts[0].next.wrapping_add(1000);
            let shots = reset.frame(&hosts[0].says(flag::ACK), 0, at(ms));
            assert!(shots.len() <= 4);
            over = over.or(reset.tick(at(ms)).1);
        }
        let over = over.unwrap().unwrap_err();
        assert!(over.starts_with("the connection survived"), "{over}");
    }

    #[test]
    fn an_opening_is_answered_as_by_a_closed_port_and_others_are_left_alone() {
        let mut reset = Reset::new(&FlowSubject::new(B, A, 6));
        let syn = segment::write(&link(A), A, B, (99, 0), flag::SYN).unwrap();
        let shots = reset.frame(&syn, 0, at(0));
        let to_a: Vec<_> = shots.iter().filter(|shot| shot.port == 0).collect();
        let found = segment::read(&to_a[0].frame).unwrap();
        assert_eq!((found.flags, found.sequence, found.acknowledgement), (20, 0, 100));
        let other = segment::write(&link(A), (A.0, 4001), B, (99, 0), flag::ACK).unwrap();
        assert!(reset.frame(&other, 0, at(5)).is_empty());
        assert!(Reset::new(&FlowSubject::new(A, B, 6)).tick(at(9_000)).1.is_none(), "nothing came: it waits");
    }

    /// What we sent comes back by a mirror, resets and questions: it is nobody's word.
    #[test]
    fn our_own_frames_say_nothing() {
        let (mut reset, hosts) = (Reset::new(&FlowSubject::new(A, B, 6)), hosts());
        let mut shots = reset.frame(&hosts[0].says(flag::ACK), 0, at(0));
        for ms in (1..).step_by(10) {
            for shot in shots {
                assert!(reset.frame(&shot.frame, 0, at(ms)).is_empty());
            }
            assert!(reset.sides.iter().all(|side| !side.gone) && reset.frames == 1);
            let (more, over) = reset.tick(at(ms));
            if let Some(over) = over {
                let over = over.unwrap();
                assert!(over.contains("does not say whether it is gone"), "{over}");
                break;
            }
            shots = more;
        }
    }
}
