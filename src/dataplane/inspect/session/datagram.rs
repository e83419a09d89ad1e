//! A datagram of an inspected flow.

use super::super::counts::Cause;
use super::super::inspector::{Entry, Sink};
use super::super::parse::Step;
use super::super::parsers::Parser;
use super::super::protocol::Protocol;
use super::super::rtp;
use super::super::scratch::Scratch;
use super::super::stream::{Outcome, Reader};
use super::candidates::{ALL, Candidates, mask_of, usual_of};
use super::{IDENTIFY_DATAGRAMS, Out, Session, ends, look};

/// What a datagram leaves behind.
pub(in super::super) enum Left {
    /// The flow goes on.
    Entry,
    /// The flow wants to keep the scratch too.
    Scratch,
    /// Nothing was told, but the port is that of a protocol: what follows is looked at for it.
    Again,
}

/// A datagram, whole by itself.
pub(in super::super) fn datagram<S: Sink>(
    entry: &mut Entry,
    out: &mut Out<'_, S>,
    scratch: Option<&mut Scratch>,
) -> Left {
    let payload = out.payload;
    if payload.is_cut {
        out.counts.note(Cause::Cut, 1);
        return Left::Entry;
    }
    let (side, before) = (payload.side, entry.parser.told());
    let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
    let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, out);
    session.scratch = scratch;
    session.reconsider();
    let mut step = session.step(payload.bytes);
    if matches!(step, Step::Broken(_)) && session.is_another(u64::MAX) {
        step = session.step(payload.bytes);
    }
    session.candidates.join();
    let is_unknown = session.parser.protocol() == Protocol::Unknown;
    entry.datagrams = entry.datagrams.saturating_add(1);
    if is_unknown && (!entry.candidates.is_open() || entry.datagrams >= IDENTIFY_DATAGRAMS) {
        return Left::Again;
    }
    if before == Protocol::Unknown && entry.parser.told() != Protocol::Unknown {
        out.counts.identified += 1;
    }
    match step {
        Step::Took(_) | Step::Pass(_) | Step::Need(_) | Step::Skip(_) => {}
        Step::Done => {
            if let Some(done) = entry.done.get_mut(side as usize) {
                *done = true;
            }
        }
        // It only looked like it: nothing is wrong.
        Step::Broken(rtp::NOT_CONFIRMED) => {
            out.counts.unknown += 1;
            entry.parser = Parser::None;
            entry.done = [true; 2];
        }
        Step::Broken(anomaly) => {
            ends::note(Outcome::Broken(anomaly), out);
            entry.done = [true; 2];
        }
    }
    match &entry.parser {
        Parser::Quic(state) if state.wants_scratch() => Left::Scratch,
        Parser::Dtls(state) if state.wants_scratch() => Left::Scratch,
        _ => Left::Entry,
    }
}

impl<S: Sink> Session<'_, '_, S> {
    /// A datagram before its parser sees it: one alone, which anybody can send, must not say for good what a flow is. What is
    /// not sure yet may be anything else, and what has another protocol's port may be that one.
    fn reconsider(&mut self) {
        let told = self.parser.told();
        if self.parser.protocol() != told {
            self.is_another(u64::MAX);
        } else if let Some(usual) =
            usual_of(self.out.payload).filter(|usual| told != Protocol::Unknown && *usual != told)
        {
            self.is_another(mask_of(usual));
        }
    }

    /// Is this datagram of another protocol, of those in the mask? Then it is the flow's from here on.
    fn is_another(&mut self, mask: u64) -> bool {
        let look = look(self.out.payload, self.side, self.out.payload.bytes);
        let mut candidates = Candidates([mask & ALL & !mask_of(self.parser.protocol()); 2]);
        let Some(protocol) = candidates.identify(&look) else { return false };
        self.parser.end(self.out);
        self.found(protocol, &look);
        true
    }
}
