//! A datagram of an inspected flow.

use super::super::counts::Cause;
use super::super::inspector::{Entry, Sink, remembers_nothing};
use super::super::parse::Step;
use super::super::parsers::Parser;
use super::super::protocol::Protocol;
use super::super::rtp;
use super::super::scratch::Scratch;
use super::super::stream::{Outcome, Reader};
use super::candidates::{ALL, Candidates, mask_of, usual_of};
use super::others::{Heard, OTHERS_LOOKED, is_shown_first, leave};
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
    mut scratch: Option<&mut Scratch>,
) -> Left {
    let payload = out.payload;
    if payload.is_cut {
        out.counts.note(Cause::Cut, 1);
        return Left::Entry;
    }
    let (side, before, anomalies) = (payload.side, entry.told(), out.counts.anomalies);
    let rests = entry.rests.get(side as usize).is_some_and(|rests| *rests);
    let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
    let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, out);
    session.scratch = scratch.as_deref_mut();
    let heard = match before {
        Protocol::Unknown => Heard::Own,
        _ if is_shown_first(before, payload.bytes) => Heard::Own,
        _ => session.others(&mut entry.carried, entry.looked.get_mut(side as usize), rests),
    };
    if heard == Heard::Other {
        entry.rests = [false; 2];
    }
    let mut step = Step::Took(payload.bytes.len());
    if heard == Heard::Other || heard == Heard::Own && !rests {
        if entry.carried == Protocol::Unknown {
            session.reconsider();
        }
        step = session.step(payload.bytes);
        let is_odd = before != Protocol::Unknown && session.out.counts.anomalies != anomalies;
        if matches!(step, Step::Broken(_)) && session.is_another(u64::MAX)
            || is_odd
                && is_shown_first(before, payload.bytes)
                && session.others(&mut entry.carried, None, false) == Heard::Other
        {
            step = session.step(payload.bytes);
        }
        session.candidates.join();
    }
    let is_unknown = session.parser.protocol() == Protocol::Unknown && entry.carried == Protocol::Unknown;
    entry.datagrams = entry.datagrams.saturating_add(1);
    if is_unknown && (!entry.candidates.is_open() || entry.datagrams >= IDENTIFY_DATAGRAMS) {
        return Left::Again;
    }
    if before == Protocol::Unknown && entry.told() != Protocol::Unknown {
        out.counts.identified += 1;
    }
    match step {
        Step::Took(_) | Step::Pass(_) | Step::Need(_) | Step::Skip(_) => {}
        Step::Done => {
            if let Some(rests) = entry.rests.get_mut(side as usize) {
                *rests = true;
            }
        }
        // It only looked like it: nothing is wrong.
        Step::Broken(rtp::NOT_CONFIRMED) => {
            let carried = entry.carried;
            out.counts.unknown += u64::from(carried == Protocol::Unknown);
            entry.parser = Parser::new(carried);
            entry.rests = [carried == Protocol::Unknown; 2];
        }
        Step::Broken(anomaly) => {
            ends::note(Outcome::Broken(anomaly), out);
            entry.rests = [true; 2];
        }
    }
    settle(entry, out, scratch);
    match &entry.parser {
        Parser::Quic(state) if state.wants_scratch() => Left::Scratch,
        Parser::Dtls(state) if state.wants_scratch() => Left::Scratch,
        _ => Left::Entry,
    }
}

/// Which sides nothing more is wanted of: their parser has enough, and so many were looked at for others.
fn settle<S: Sink>(entry: &mut Entry, out: &mut Out<'_, S>, scratch: Option<&mut Scratch>) {
    if entry.told() == Protocol::Unknown || remembers_nothing(entry.parser.protocol()) {
        entry.done = entry.rests;
        return;
    }
    if entry.rests == [true; 2] && entry.parser.protocol() != Protocol::Unknown {
        entry.carried = entry.told();
        leave(&mut entry.parser, scratch, out);
        entry.parser = Parser::None;
    }
    for ((done, rests), looked) in entry.done.iter_mut().zip(entry.rests).zip(entry.looked) {
        *done = rests && looked >= OTHERS_LOOKED;
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
        leave(self.parser, self.scratch.as_deref_mut(), self.out);
        self.found(protocol, &look);
        true
    }
}
