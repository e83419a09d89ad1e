//! What a parser is: a small state that is shown bytes and says how to go on.

use super::facts::{Fact, Facts};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

/// How far a look at the first bytes of a flow tells that it is a protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// It is.
    Yes,
    /// So far it may be: more bytes of this side would tell.
    Maybe,
    /// It is not.
    No,
}

/// What the first bytes are looked at with: nothing here is an identity but the ports, and a probe uses them only where
/// content cannot tell (they break ties, they never decide alone).
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Who sent the bytes.
    pub side: Side,
    /// A datagram, or a stream from its first byte on.
    pub bytes: &'a [u8],
    /// UDP (or another protocol that keeps messages apart), not TCP.
    pub is_datagram: bool,
    /// Ports of originator and responder.
    pub ports: [u16; 2],
    /// Address of the responder is a multicast or broadcast one.
    pub is_multicast: bool,
    /// Of originator and responder: what it said first was, or will be, seen. Of a connection met in mid-stream it was not, nor
    /// does anything say so of datagrams.
    pub is_begun: [bool; 2],
}

impl Look<'_> {
    /// Is this port at either end?
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Is a greeting of the server to come? It is like what servers say later.
    pub fn is_before_greeting(&self) -> bool {
        let [_, responder] = self.is_begun;
        responder
    }
}

/// How to go on after [`Parse::step`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// So many bytes are done with, at least one and at most all; what is left is shown again, with more once it came.
    Took(usize),
    /// As [`Step::Took`], of bytes that were only looked through for their end: they count against no depth, but as what was
    /// looked through.
    Pass(usize),
    /// Nothing can be said before so many bytes are there in all (those shown included). A guess: the parser is asked again
    /// as soon as there are that many. More than [`UNIT_MAX`] ends the inspection of this side.
    Need(usize),
    /// So many bytes from here on are of no interest (a body): they are neither kept nor shown. Of those that were not shown
    /// already, [`Parse::passed`] tells how many came.
    Skip(u64),
    /// Nothing more of this side is of interest. When both sides are done, the flow's state is released.
    Done,
    /// It is not what it seemed to be, or broken beyond reading: both sides are released.
    Broken(Anomaly),
}

/// Bytes of a stream that nobody will show: lost on the way to this tap, or more than could be kept.
#[derive(Clone, Copy, Debug)]
pub struct Hole<'a> {
    /// What came before it and was not taken: the beginning of a unit, if it is not empty.
    pub before: &'a [u8],
    /// How many are missing.
    pub bytes: u64,
}

impl Hole<'_> {
    /// Goes on `rest` bytes behind what came before it, if it does not reach further: the end of a unit of no interest.
    pub fn before_end(&self, rest: u64) -> Resume {
        rest.checked_sub(self.bytes).map_or(Resume::Done, Resume::Skip)
    }

    /// Goes on behind the unit that began before the hole and has `length` bytes in all, if the hole lies within it.
    pub fn within(&self, length: u64) -> Resume {
        let lost = (self.before.len() as u64).saturating_add(self.bytes);
        match length.checked_sub(lost) {
            Some(rest) if !self.before.is_empty() => Resume::Skip(rest),
            _ => Resume::Done,
        }
    }
}

/// How to go on behind a [`Hole`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// With the first byte behind it: it is the first of a unit.
    Here,
    /// So many bytes further on.
    Skip(u64),
    /// Behind the next end of a line.
    Line,
    /// Not at all: nothing more of this side can be told.
    Done,
}

/// Largest unit of a stream that is put together, bytes: a TLS record. Longer ones end the inspection of their side.
pub const UNIT_MAX: usize = 16 * 1024 + 512;

/// Something a peer should not have sent, by name; each parser declares its own and lists them in its `ANOMALIES`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anomaly {
    /// Whose rules it breaks.
    pub protocol: Protocol,
    /// Number within the protocol.
    pub index: u8,
    /// Name in events, snake case.
    pub name: &'static str,
}

impl Anomaly {
    /// See the fields.
    pub const fn new(protocol: Protocol, index: u8, name: &'static str) -> Anomaly {
        Anomaly { protocol, index, name }
    }
}

/// What a remembered text belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// This number in this flow.
    Number(u64),
    /// What this side asked the other one for from its port, which may answer from any other: in another flow.
    Transfer(Side),
}

/// Where a parser's findings go.
pub trait Output {
    /// Facts of the event that is being put together.
    fn facts(&mut self) -> &mut Facts;
    /// The facts so far are one event: they are sent up and forgotten. Nothing is sent where there are none.
    fn event(&mut self);
    /// Something is wrong, but reading goes on.
    fn anomaly(&mut self, anomaly: Anomaly);
    /// A limit of the parser's own was reached and no event says so: what lies beyond is not read, or not told.
    fn limit(&mut self);
    /// The originator of the flow is its server: from here on sides are shown, and the flow is told, the other way round.
    fn turn(&mut self) {}
    /// Keeps a text that later messages refer to, as long as there is room for it among those of all flows.
    fn remember(&mut self, key: Key, text: &[u8]);
    /// Adds a text that was kept to the facts; false where there is none.
    fn recall(&mut self, key: Key, fact: Fact) -> bool;
    /// Is this the first time that it is asked in this flow, as far as that is remembered? For parsers without memory.
    fn is_first(&mut self, number: u64) -> bool;
}

/// A protocol's parser: plain data of at most some 64 bytes, one per flow, no memory of its own.
pub trait Parse: Default {
    /// Called once before the first step, with the look that told the protocol: for what bytes alone do not tell (a datagram
    /// or a stream, ports, multicast). Parsers begin as for datagrams, or a stream where there is no datagram form.
    fn begin(&mut self, _look: &Look<'_>) {}

    /// Shows the next bytes of `side`: a datagram, or the stream from where the last step ended. Work is bounded by the
    /// length of `bytes`.
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step;

    /// Bytes of `side` are missing, and not of those that were to be passed over: goes on behind them where that takes no
    /// guess, or gives up.
    fn gap(&mut self, _side: Side, _hole: &Hole<'_>, _out: &mut dyn Output) -> Resume {
        Resume::Done
    }

    /// So many bytes of `side` came that [`Step::Skip`] passes over; those that the tap lost are not among them.
    fn passed(&mut self, _side: Side, _count: u64, _out: &mut dyn Output) {}

    /// The connection was closed; the flow's end is told later. Tells what is known by it, where somebody may be answered for it.
    fn closed(&mut self, _out: &mut dyn Output) {}

    /// The flow is over or no longer of interest: what is still to be told is told by [`Output::event`].
    fn end(&mut self, out: &mut dyn Output) {
        out.event();
    }
}

/// An [`Output`] that keeps everything, for tests and tools.
#[cfg(test)]
#[derive(Default)]
pub struct Record {
    /// Facts of the event that is not complete.
    pub open: Facts,
    /// Events so far.
    pub events: Vec<Facts>,
    /// Names of the anomalies so far.
    pub anomalies: Vec<&'static str>,
    /// Times a limit was reached that no event tells.
    pub limits: u32,
    /// Times the sides were turned.
    pub turns: u32,
    /// Texts that were kept, the latest first.
    pub texts: Vec<(Key, Vec<u8>)>,
}

#[cfg(test)]
impl Output for Record {
    fn facts(&mut self) -> &mut Facts {
        &mut self.open
    }

    fn event(&mut self) {
        if !self.open.is_empty() {
            self.events.push(std::mem::take(&mut self.open));
        }
    }

    fn anomaly(&mut self, anomaly: Anomaly) {
        self.anomalies.push(anomaly.name);
    }

    fn limit(&mut self) {
        self.limits += 1;
    }

    fn turn(&mut self) {
        self.turns += 1;
    }

    fn remember(&mut self, key: Key, text: &[u8]) {
        self.texts.insert(0, (key, text.to_vec()));
    }

    fn recall(&mut self, key: Key, fact: Fact) -> bool {
        let Some((_, text)) = self.texts.iter().find(|(one, _)| *one == key) else { return false };
        self.open.put(fact, text);
        true
    }

    fn is_first(&mut self, number: u64) -> bool {
        let is_first = self.texts.iter().all(|(key, _)| *key != Key::Number(number));
        self.remember(Key::Number(number), b"");
        is_first
    }
}

/// Shows a whole stream to a parser in pieces of `piece` bytes, the way the worker does; gives what it found. For tests:
/// any cutting must give the same.
#[cfg(test)]
pub fn feed<P: Parse>(parser: &mut P, side: Side, stream: &[u8], piece: usize, out: &mut Record) -> Step {
    let (mut begin, mut shown, mut skip, mut last) = (0, 0, 0, Step::Took(0));
    while shown < stream.len() {
        shown = (shown + piece).min(stream.len());
        let passed = skip.min((shown - begin) as u64);
        if passed > 0 {
            (begin, skip) = (begin + passed as usize, skip - passed);
            parser.passed(side, passed, out);
        }
        while begin < shown {
            let count = shown - begin;
            last = parser.step(side, &stream[begin..shown], out);
            match last {
                Step::Took(0) => panic!("a step that takes nothing never ends"),
                Step::Took(taken) | Step::Pass(taken) => begin += taken,
                Step::Need(wanted) if wanted > count => break,
                Step::Need(wanted) => panic!("asked for {wanted} bytes, was shown {count}"),
                Step::Skip(wanted) => {
                    let here = wanted.min(count as u64);
                    (begin, skip) = (begin + here as usize, wanted - here);
                }
                Step::Done | Step::Broken(_) => return last,
            }
        }
    }
    last
}
