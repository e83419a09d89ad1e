//! A segment of an inspected connection: to its side, and what of the other one it lets be read.

use super::super::counts::Cause;
use super::super::inspector::{Connections, Entry, Segment, Sink};
use super::super::parse::Hole;
use super::super::protocol::Protocol;
use super::super::receipt;
use super::super::stream::{Buffers, DEPTH_REACHED, Gave, Note, Outcome, Reader, Stream, URGENT};
use super::{Out, Session, ends};
use crate::dataplane::flow::Side;

/// A segment into its side; then what was kept of the other one until now.
pub(in super::super) fn segment<S: Sink>(
    entry: &mut Entry,
    out: &mut Out<'_, S>,
    buffers: &mut Buffers,
    connections: &mut Connections,
    depth: u64,
    segment: &Segment<'_>,
) {
    let payload = out.payload;
    let (side, unknown) = (payload.side, entry.parser.protocol() == Protocol::Unknown);
    let mut is_fresh = entry.sides.each_ref().map(|stream| stream.passed() == 0);
    is_fresh[0] |= entry.proxied.is_last;
    let [first, second] = &mut entry.sides;
    let (own, peer) = if side == Side::Originator { (first, second) } else { (second, first) };
    let is_begun = if side == Side::Originator { [&*own, &*peer] } else { [&*peer, &*own] }.map(Stream::is_sure);
    let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
    let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, out);
    (session.connections, session.first) = (Some(connections), Some(&mut entry.first));
    session.other_waits = unknown && !peer.waiting(buffers).is_empty();
    session.is_fresh = is_fresh;
    (session.proxied, session.awaits_header) = (Some(&mut entry.proxied), is_fresh[0]);
    session.is_begun = is_begun;
    if !own.passes_over(segment.sequence, payload.bytes.len()) || peer.wants_acks() {
        let [first, second] = &mut entry.receipts;
        let (own, peer) = if side == Side::Originator { (first, second) } else { (second, first) };
        if let Err(refusal) = receipt::check(own, peer, payload, segment) {
            session.note(Note::NotTaken(refusal));
            return;
        }
    }
    if segment.is_urgent && !payload.bytes.is_empty() {
        session.tell_once(URGENT);
    }
    if unknown {
        entry.turns.speaks(side, peer.reached(buffers));
    }
    for (of, stream) in [(side, &*own), (side.other(), &*peer)] {
        if let Some(holds) = session.holds.get_mut(of as usize) {
            *holds = !stream.is_done() && !stream.waiting(buffers).is_empty();
        }
    }
    let mut ends = [None; 2];
    if !unknown && peer.has_news() {
        session.side = side.other();
        ends[1] = Some(peer.resume(depth, buffers, &mut session));
        session.side = side;
    }
    let is_taken = segment.acknowledgement.is_some_and(|number| peer.is_done() || peer.may_have_sent(number));
    if let Some(number) = segment.acknowledgement.filter(|_| is_taken && !peer.is_done()) {
        session.side = side.other();
        ends[1] = Some(peer.acknowledged(number, depth, buffers, &mut session));
        session.side = side;
    }
    if segment.is_syn {
        own.opening(segment.sequence, payload.bytes, buffers, &mut session);
    } else if !is_taken {
        session.note(Note::Refused);
    } else if !is_broken(ends) {
        ends[0] = Some(own.segment(segment.sequence, payload.bytes, depth, buffers, &mut session));
    }
    let turns = session.has_turned || session.parser.turns_into().is_some();
    if turns && session.holds.get(side.other() as usize).is_some_and(|holds| *holds) {
        // What the other side sent before the answer that it did not wait for is of the next protocol, and comes first.
        session.holds = [false; 2];
        for of in [side.other(), side, side.other()] {
            if is_broken(ends) {
                break;
            }
            let (stream, end) = if of == side { (&mut *own, &mut ends[0]) } else { (&mut *peer, &mut ends[1]) };
            session.side = of;
            if matches!(end, None | Some(Outcome::Goes)) {
                *end = Some(stream.resume(depth, buffers, &mut session));
            }
        }
        session.side = side;
    }
    if session.other_waits && session.parser.protocol() != Protocol::Unknown {
        session.other_waits = false;
        if peer.is_done() {
            ends::note(ends[1].take().unwrap_or(Outcome::Goes), session.out);
        }
        // In the order in which they spoke, as far as that was noted; then what is left.
        let turns = entry.turns.iter().map(|(of, reached)| (of, Some(reached)));
        for (of, reached) in turns.chain([(side.other(), None), (side, None)]) {
            if is_broken(ends) {
                break;
            }
            let (stream, end) = if of == side { (&mut *own, &mut ends[0]) } else { (&mut *peer, &mut ends[1]) };
            session.side = of;
            session.passes_over = session.is_decoy(of, side);
            session.limit = reached.map(|reached| reached.saturating_sub(stream.passed()) as usize);
            if matches!(end, None | Some(Outcome::Goes)) {
                *end = Some(stream.resume(depth, buffers, &mut session));
            }
        }
        (session.side, session.limit, session.passes_over) = (side, None, false);
    }
    for (of, stream) in [(side, &mut *own), (side.other(), &mut *peer)] {
        if stream.passing() > 0 && session.parser.recalls(of, stream.passing()) {
            stream.recall();
        }
    }
    if payload.is_cut && !own.is_done() {
        session.out.counts.note(Cause::GapBytes, own.finish(buffers));
        session.out.counts.note(Cause::Cut, 1);
    }
    let mut is_over = false;
    for outcome in ends.into_iter().flatten() {
        if outcome == Outcome::GaveUp(Gave::Depth) && session.parser.protocol() != Protocol::Unknown {
            session.tell_once(DEPTH_REACHED);
        }
        is_over |= ends::note(outcome, session.out);
    }
    if !entry.candidates.is_open() && entry.parser.protocol() == Protocol::Unknown {
        out.counts.unknown += 1;
        entry.done = [true; 2];
    } else if is_over {
        entry.done = [true; 2];
    } else {
        entry.done = std::array::from_fn(|side| entry.sides.get(side).is_none_or(Stream::is_done));
    }
}

/// Is a side broken? The flow is over then: of two broken ones the first is told, for whether the second came in the same
/// segment is how their bytes were cut.
fn is_broken(ends: [Option<Outcome>; 2]) -> bool {
    ends.iter().any(|end| matches!(end, Some(Outcome::Broken(_))))
}

/// Shows what came since the parser was asked last: no more will come.
pub(in super::super) fn last_look<S: Sink>(
    entry: &mut Entry,
    out: &mut Out<'_, S>,
    buffers: &mut Buffers,
    connections: &mut Connections,
    depth: u64,
) {
    if entry.parser.protocol() == Protocol::Unknown {
        return;
    }
    let mut sides = [Side::Originator, Side::Responder];
    // What came comes before what was asked about, which waited for more of what another protocol says and is shown as it is
    // now.
    if let [false, true] = entry.sides.each_ref().map(Stream::has_news) {
        sides.reverse();
    }
    // What one side waits for may be what the other one has waited with.
    let [first, second] = sides;
    for side in [first, second, first] {
        let Some(stream) = entry.sides.get_mut(side as usize).filter(|stream| !stream.waiting(buffers).is_empty())
        else {
            continue;
        };
        let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
        let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, &mut *out);
        (session.connections, session.first) = (Some(&mut *connections), Some(&mut entry.first));
        session.awaits_header = stream.passed() == 0 || entry.proxied.is_last;
        session.proxied = Some(&mut entry.proxied);
        let outcome = stream.resume(depth, buffers, &mut session);
        // The flow is over, as it would have been had that come alone.
        if ends::note(outcome, out) {
            return;
        }
    }
    // What was acknowledged and never came is lost, though nothing came behind it.
    for side in [Side::Originator, Side::Responder] {
        let Some(stream) = entry.sides.get(side as usize) else { continue };
        let Some(bytes) = stream.lost_end(buffers) else { continue };
        let (parser, candidates, told) = (&mut entry.parser, &mut entry.candidates, &mut entry.told);
        let mut session = Session::new(side, parser, candidates, told, &mut entry.connection, &mut *out);
        session.connections = Some(&mut *connections);
        session.note(Note::Hole { bytes, in_unit: true });
        session.gap(&Hole { before: stream.waiting(buffers), bytes });
    }
}
