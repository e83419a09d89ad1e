//! Two connections on the same ports: the one that was read, and the one that a handshake with other numbers began.
//!
//! Who can inject both ways forges such a handshake, with right sums, and what follows of the true connection would be
//! unread. So a flow that begins on a live one takes over what inspection has of that, beside its own: each segment is of the one
//! whose numbers, of both sides, it is nearer to. What both sides go on with is read on, and a new connection from its
//! beginning. Of three the one that was read least is given up, told as far as it goes.

use super::super::counts::{Cause, Unread};
use super::super::session::Out;
use super::super::stream::{IN_FLIGHT_MAX, Stream};
use super::{
    BETWEEN, Direction, Entry, Inspector, NONE, OVER, Payload, Protocol, Segment, Sink, WITH_SYN, Wants, end_parser,
    facts_of, nothing,
};
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::Side;
use crate::units::Timestamp;

/// A segment further from all that is expected is of none of them: both its numbers together.
const NEAR: u64 = 4 * IN_FLIGHT_MAX as u64;

/// How far the numbers of a segment are from what both sides are to say next, as far as that is known.
fn distance([own, peer]: [Option<u32>; 2], segment: &Segment<'_>) -> u64 {
    let away = |known: u32, said: u32| u64::from((said.wrapping_sub(known) as i32).unsigned_abs());
    let of = |(known, said): (Option<u32>, Option<u32>)| known.zip(said).map_or(0, |(known, said)| away(known, said));
    [(own, Some(segment.sequence)), (peer, segment.acknowledgement)].into_iter().map(of).sum()
}

/// Of originator and responder, those of a side and of the other one.
fn seen_from<T: Copy>(side: Side, [originator, responder]: [T; 2]) -> [T; 2] {
    if side == Side::Originator { [originator, responder] } else { [responder, originator] }
}

impl Entry {
    /// It may not be the only one on its ports.
    pub(super) fn is_contested(&self) -> bool {
        self.other.is_some() || self.anew.is_some()
    }

    fn distance(&self, payload: &Payload<'_>, segment: &Segment<'_>) -> u64 {
        let side = if self.is_turned { payload.side.other() } else { payload.side };
        distance(seen_from(side, self.sides.each_ref().map(Stream::expected)), segment)
    }

    fn read(&self) -> u64 {
        self.sides.iter().map(Stream::passed).sum()
    }
}

impl Inspector {
    /// The answer to a SYN with other numbers is about to end the flow in this slot: the next one goes on with what inspection
    /// has of it. `beginnings`: see [`Inspector::opening_on_live`].
    #[cold]
    pub fn keep(&mut self, slot: u32, beginnings: Option<[u32; 2]>) {
        self.keeps = Some((slot, beginnings));
    }

    /// Ends the flow in this slot, if the next one is to have what was read of it; where it had no payload so far, an entry that
    /// knows where both sides begin.
    #[cold]
    pub(super) fn hand_over(
        &mut self,
        slot: u32,
        key: &FlowKey,
        originator: Direction,
        times: [Timestamp; 2],
        sink: &mut impl Sink,
    ) -> Option<(Protocol, Unread)> {
        let (_, beginnings) = self.keeps.take_if(|(kept, _)| *kept == slot)?;
        if self.places.get(slot as usize) == Some(&NONE)
            && let Some([asked, answered]) = beginnings.filter(|numbers| !numbers.contains(&0))
        {
            let tcp = Some(Segment { beginnings: [Some(asked), Some(answered)], ..Segment::default() });
            self.place(&Payload { tcp, ..nothing(slot, key, originator, times) }, sink);
        }
        let place = self.places.get_mut(slot as usize).filter(|place| **place < WITH_SYN)?;
        let index = std::mem::replace(place, NONE);
        let entry = self.entries.get_mut(index as usize)?;
        self.kept = Some(index);
        Some((entry.parser.told(), std::mem::take(&mut entry.unread)))
    }

    /// The flow that the answer in `payload` began, its slot and its originator, has what was kept; `None`: there is none.
    #[cold]
    pub fn adopt(&mut self, payload: &Payload<'_>, flow: Option<(u32, Direction)>, sink: &mut impl Sink) {
        self.keeps = None;
        let (Some(index), Some(segment)) = (self.kept.take(), payload.tcp) else { return };
        let Some((slot, originator)) = flow else {
            if let Some(place) = self.places.get_mut(payload.slot as usize) {
                *place = index;
                let times = [payload.first_seen, payload.time];
                self.end(payload.slot, payload.key, payload.originator, times, sink);
            }
            return;
        };
        let other = self.entries.get(index as usize).and_then(|entry| entry.other);
        for index in [Some(index), other].into_iter().flatten() {
            let Some(entry) = self.entries.get_mut(index as usize) else { continue };
            entry.slot = slot;
            entry.is_turned ^= originator != payload.originator;
            self.formers += u32::from(!std::mem::replace(&mut entry.is_former, true));
        }
        if let (Some(place), Some(entry)) = (self.places.get_mut(slot as usize), self.entries.get_mut(index as usize)) {
            *place = index;
            // Who sent the answer is the responder.
            entry.anew = segment.acknowledgement.map(|asked| [asked, segment.sequence]);
        }
    }

    /// Has this slot's flow something to tell, or to hand over, though it had no payload?
    pub fn has_former(&self, slot: u32) -> bool {
        self.keeps.is_some_and(|(kept, _)| kept == slot)
            || self.formers > 0 && self.places.get(slot as usize).is_some_and(|place| *place < WITH_SYN)
    }

    /// The entry that a segment of a contested flow belongs to, which is then the flow's first one.
    #[cold]
    pub(super) fn nearest(&mut self, index: u32, payload: &Payload<'_>, sink: &mut impl Sink) -> u32 {
        let (Some(segment), Some(entry)) = (&payload.tcp, self.entries.get(index as usize)) else { return index };
        let mut best = (entry.distance(payload, segment), index);
        let other =
            entry.other.and_then(|other| Some((self.entries.get(other as usize)?.distance(payload, segment), other)));
        if let Some(other) = other.filter(|other| other.0 < best.0) {
            best = other;
        }
        let anew = entry.anew.filter(|numbers| distance(seen_from(payload.side, numbers.map(Some)), segment) < best.0);
        let is_of_none = anew.is_none() && best.0 > NEAR && other.is_none();
        if (anew.is_some() || is_of_none) && !payload.bytes.is_empty() {
            return self.begin_beside(payload, anew, sink).unwrap_or(index);
        }
        self.put_first(payload.slot, best.1);
        best.1
    }

    /// A new entry for the flow, beside the one that it has; of two the one that was read more stays.
    fn begin_beside(&mut self, payload: &Payload<'_>, anew: Option<[u32; 2]>, sink: &mut impl Sink) -> Option<u32> {
        let slot = payload.slot as usize;
        if self.free.is_empty() {
            self.counts.note(Cause::FlowsFull, 1);
            return None;
        }
        let first = *self.places.get(slot)?;
        if let Some(other) = self.entries.get(first as usize)?.other {
            let [one, two] = [first, other].map(|index| self.entries.get(index as usize).map_or(0, Entry::read));
            self.put_first(payload.slot, if one < two { first } else { other });
            self.give_up_first(payload, sink);
        }
        let kept = std::mem::replace(self.places.get_mut(slot)?, NONE);
        self.entries.get_mut(kept as usize)?.anew = None;
        let beginnings = anew.map_or([None; 2], |numbers| numbers.map(Some));
        let tcp = payload.tcp.map(|segment| Segment { beginnings, ..segment });
        let index = self.place(&Payload { tcp, ..*payload }, sink)?;
        let entry = self.entries.get_mut(index as usize)?;
        entry.other = Some(kept);
        entry.is_former = true;
        self.formers += 1;
        Some(index)
    }

    /// Tells what was found of the flow's first entry, and gives it up.
    fn give_up_first(&mut self, payload: &Payload<'_>, sink: &mut impl Sink) {
        let Some(place) = self.places.get(payload.slot as usize) else { return };
        let Some(entry) = self.entries.get_mut(*place as usize) else { return };
        let (protocol, source) = (entry.parser.told(), entry.proxied.source);
        self.allowances.begin(entry.allowance, entry.share);
        let facts = facts_of(entry, &mut self.saved, &mut self.scratch);
        let turned = if entry.is_turned { payload.turned() } else { *payload };
        let mut out =
            Out::new(facts, sink, &mut self.counts, &mut self.remembered, &mut self.allowances, &turned, protocol)
                .of(source);
        end_parser(entry, &mut self.connections, &mut out);
        self.counts.note(Cause::Contested, 1);
        entry.unread.add(self.counts.take_unread());
        self.forget(payload.slot, OVER);
    }

    /// Makes this entry, which is one of the flow's, the first one.
    pub(super) fn put_first(&mut self, slot: u32, index: u32) {
        let Some(place) = self.places.get_mut(slot as usize).filter(|place| **place != index) else { return };
        let Some(first) = self.entries.get_mut(*place as usize).filter(|first| first.other == Some(index)) else {
            return;
        };
        let (anew, before) = (first.anew.take(), std::mem::replace(place, index));
        first.other = None;
        if let Some(entry) = self.entries.get_mut(index as usize) {
            (entry.anew, entry.other) = (anew, Some(before));
        }
    }

    /// What is wanted of a flow that was contested when its packet came.
    #[cold]
    pub(super) fn wanted(&self, slot: u32) -> Wants {
        let place = self.places.get(slot as usize).copied().unwrap_or(OVER);
        if (BETWEEN..OVER).contains(&place) {
            return Wants::PAYLOAD;
        }
        let first = self.entries.get(place as usize);
        let other = first.and_then(|first| self.entries.get(first.other? as usize));
        let mut all = Wants::NOTHING;
        for entry in [first, other].into_iter().flatten() {
            let mut wants = if entry.anew.is_some() { Wants::PAYLOAD } else { entry.wants() };
            if entry.is_turned {
                wants.payload.reverse();
            }
            all.acks |= wants.acks;
            all.payload = std::array::from_fn(|side| {
                all.payload.get(side).is_some_and(|all| *all) || wants.payload.get(side).is_some_and(|own| *own)
            });
        }
        all
    }
}
