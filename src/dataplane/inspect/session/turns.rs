//! Who spoke when, before the protocol was told.

use crate::dataplane::flow::Side;

/// Who spoke when, before the protocol was told: where a side stood when the other one began to speak.
#[derive(Clone, Copy, Default, Debug)]
pub(in super::super) struct Turns {
    /// Bytes of the side since its beginning, the later the larger.
    reached: [u32; TURNS],
    /// Whose: a bit each, the responder's 1.
    sides: u8,
    count: u8,
    /// Nothing but the ports has told so far who serves.
    pub(in super::super) is_doubted: bool,
}

/// Turns that are noted; a greeting, a command and an answer tell all protocols that have such.
const TURNS: usize = 4;

impl Turns {
    /// Of a connection of which nobody has spoken.
    pub(in super::super) fn new(is_doubted: bool) -> Turns {
        Turns { is_doubted, ..Turns::default() }
    }

    /// `side` speaks; the other one has reached so many bytes.
    pub(super) fn speaks(&mut self, side: Side, other: u64) {
        let (of, reached) = (side.other(), u32::try_from(other).unwrap_or(u32::MAX));
        let before = self.iter().filter(|(one, _)| *one == of).map(|(_, reached)| reached).last();
        if u64::from(reached) <= before.unwrap_or(0) {
            return;
        }
        if let Some(place) = self.reached.get_mut(usize::from(self.count)) {
            *place = reached;
            self.sides |= (of as u8) << self.count;
            self.count += 1;
        }
    }

    /// The sides change their roles.
    pub(in super::super) fn turn(&mut self) {
        self.sides ^= (1 << self.count) - 1;
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (Side, u64)> {
        let sides = self.sides;
        self.reached.into_iter().take(usize::from(self.count)).enumerate().map(move |(at, reached)| {
            (if sides >> at & 1 == 0 { Side::Originator } else { Side::Responder }, u64::from(reached))
        })
    }
}
