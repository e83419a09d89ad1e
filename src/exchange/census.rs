//! The census: which flows live, told when control asks.
//!
//! Control raises a number, which every queue sees within milliseconds, between two bursts. The queue then walks its flow
//! table, some slots a turn, and sends the flows that live on the ring up with all else it has to say: so the end of a flow
//! that was told as living comes after that, and one that ended before its slot was reached has come before the census ends.

use super::{Full, Up, UpReceiver, UpSender};
use std::sync::atomic::Ordering::Relaxed;

/// Where a queue is in a census.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CensusMark {
    /// Which one, as asked for.
    pub number: u64,
    /// How far it is.
    pub step: CensusStep,
}

/// What a [`CensusMark`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CensusStep {
    /// The flows that follow are of this census.
    Begun,
    /// Every flow that lived all the time was told, or else the queue began anew under way and `whole` is false.
    Ended {
        /// Nothing is missing.
        whole: bool,
    },
}

impl UpSender {
    /// The latest census asked for; 0 before the first.
    #[inline]
    pub fn census_asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// A part of a census may be sent: three quarters of the ring are free, so that it takes no room from anything else.
    #[inline]
    pub fn has_room_for_census(&self) -> bool {
        let free = self.ring.slots();
        free > self.kept_from_census || (self.full == Full::Wait && free > 1)
    }

    /// Sends a part of a census; `false`: there is no room at present, and nothing was sent or lost.
    pub fn send_census(&mut self, item: Up) -> bool {
        let has_room = self.has_room_for_census();
        if has_room {
            self.send(item);
        }
        has_room
    }
}

impl UpReceiver {
    /// Asks the queue for a census of this number, higher than those before; one under way is given up for it.
    pub fn ask_census(&self, number: u64) {
        self.asked.store(number, Relaxed);
    }
}
