//! A queue's part in a census: the walk over its flow table between bursts.
//!
//! Looked for once in ten milliseconds, with the source's own housekeeping, so that a turn without one costs nothing. Under way
//! each turn takes a step, and a queue that is idle does not sleep until it is through, but where the ring up is full.

use super::sinks::Sinks;
use super::summary::{Carried, summary};
use crate::dataplane::flow::{FlowRecord, FlowTable};
use crate::exchange::{CensusMark, CensusStep, FlowSummary, Up, UpSender};

/// Slots looked at in one turn: some 128 bytes each, in order, so that the hardware fetches ahead; 5 to 10 ns each.
const SLOTS: u32 = 512;
/// Flows told in one turn, some 200 ns each. Both together hold a burst up for some ten microseconds, as long as 150 of the
/// shortest frames take at 10 Gb/s; a million flows take 31 250 turns.
const FLOWS: u32 = 32;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Next {
    #[default]
    Nothing,
    Begin,
    Walk,
    End,
}

/// How far the queue is.
#[derive(Debug, Default)]
pub struct Census {
    number: u64,
    next: Next,
    place: u32,
    whole: bool,
    moves: bool,
}

impl Census {
    /// Begins the census that was asked for since the last call, if one was.
    pub fn heed(&mut self, up: &UpSender) {
        let asked = up.census_asked();
        if asked != self.number {
            *self = Census { number: asked, next: Next::Begin, place: 0, whole: true, moves: true };
        }
    }

    /// There is more to tell.
    pub fn is_under_way(&self) -> bool {
        self.next != Next::Nothing
    }

    /// There is more to tell, and the latest step came further: waiting would hold it up.
    pub fn moves(&self) -> bool {
        self.is_under_way() && self.moves
    }

    /// The table is another one: what it held cannot be told any more.
    pub fn interrupt(&mut self) {
        if self.next == Next::Walk {
            (self.next, self.whole) = (Next::End, false);
        }
    }

    /// Goes on, by [`SLOTS`] and [`FLOWS`] at most, and no further than the ring up has room.
    pub fn step(&mut self, table: &FlowTable, sinks: &mut Sinks) {
        let mark = |step| Up::Census(CensusMark { number: self.number, step });
        self.moves = match self.next {
            Next::Nothing => false,
            Next::Begin => sinks.up.send_census(mark(CensusStep::Begun)),
            Next::End => sinks.up.send_census(mark(CensusStep::Ended { whole: self.whole })),
            Next::Walk => {
                let (before, mut left) = (self.place, FLOWS);
                let more = table.walk(&mut self.place, SLOTS, |slot, record| {
                    let tells = left > 0 && sinks.up.has_room_for_census();
                    if tells {
                        left -= 1;
                        let flow = sinks.living(slot, record);
                        sinks.up.send_census(Up::Living(flow));
                    }
                    tells
                });
                if more {
                    self.moves = self.place != before;
                    return;
                }
                true
            }
        };
        if self.moves {
            self.next = match self.next {
                Next::Begin => Next::Walk,
                Next::Walk => Next::End,
                Next::End | Next::Nothing => Next::Nothing,
            };
        }
    }
}

impl Sinks {
    /// What a flow has come to so far.
    fn living(&self, slot: u32, record: &FlowRecord) -> FlowSummary {
        let carried = Carried {
            application: self.inspector.application(slot),
            began_as: self.inspector.began_as(slot),
            is_turned: self.inspector.is_turned(slot),
            unread: self.inspector.unread(slot),
        };
        let told = summary(record, carried, None, self.outers.find(&record.key));
        FlowSummary { stacks: self.stacks.of(slot, record), ..told }
    }
}
