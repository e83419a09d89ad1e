//! A queue's door for models: what it scores with is changed whole, and some of the rows that it scored go up.
//!
//! The engine looks into it once in ten milliseconds. What came is traded for what was there between two bursts and goes back in
//! the same box, so nothing is made, freed or waited for on the worker; the rows that wait are scored by the old model first, so
//! none is lost, and none is scored by two. Of the scored rows up to [`SAMPLES`] a quarter of a second are copied into a box that
//! goes up with the queue's snapshot: who compares models or looks for drift does so elsewhere. Without a door nothing of all
//! this is done.

use super::batch::ScoreSettings;
use crate::dataplane::features::FeatureRow;
use crate::dataplane::score::{Scorer, Thresholds};
use crate::exchange::{Reset, SnapshotReceiver, SnapshotSender, SwapReceiver, SwapSender, snapshot_ring, swap_ring};

/// Rows copied between two snapshots at most: some 16 KiB. At 4 times a second it is 256 rows, of which 1000 make a share of
/// a decile exact to a hundredth within seconds; more would say the same sooner.
pub const SAMPLES: usize = 64;

/// What a queue scores with.
pub struct Fitted {
    /// Number of its activation, above those before; 0: what the queue began with.
    pub number: u64,
    /// A session of the queue's own; `None`: rows are not scored.
    pub scorer: Option<Box<dyn Scorer>>,
    /// From where on rows are reported.
    pub thresholds: Thresholds,
    /// Scoring controller for what this model costs.
    pub score: ScoreSettings,
}

/// What was scored since the box before.
#[derive(Debug, Default)]
pub struct Samples {
    /// Number of the activation whose model scored; all rows of a box are one's.
    pub number: u64,
    /// Rows scored.
    pub scored: u64,
    /// Time of their calls, nanoseconds.
    pub service_ns: u64,
    rows: Vec<FeatureRow>,
}

impl Samples {
    fn new() -> Samples {
        Samples { rows: Vec::with_capacity(SAMPLES), ..Samples::default() }
    }

    /// Every n-th of them, at most [`SAMPLES`].
    pub fn rows(&self) -> &[FeatureRow] {
        &self.rows
    }
}

impl Reset for Samples {
    fn reset(&mut self) {
        (self.scored, self.service_ns) = (0, 0);
        self.rows.clear();
    }
}

/// The queue's side.
pub struct Mailbox {
    swaps: SwapReceiver<Fitted>,
    up: SnapshotSender<Samples>,
    current: Box<Samples>,
    /// Rows to be passed over before the next that is copied.
    skip: usize,
    /// One of so many is copied: what the box before would have asked for.
    stride: usize,
}

/// Control's side.
pub struct MailboxPort {
    /// Models on their way down, and what they replaced on its way back.
    pub swaps: SwapSender<Fitted>,
    /// Rows that come up.
    pub samples: SnapshotReceiver<Samples>,
}

/// A door and its control's side.
pub fn mailbox() -> (Mailbox, MailboxPort) {
    let (swaps, taken) = swap_ring();
    let (up, samples) = snapshot_ring(Box::new(Samples::new()));
    let mailbox = Mailbox { swaps: taken, up, current: Box::new(Samples::new()), skip: 0, stride: 1 };
    (mailbox, MailboxPort { swaps, samples })
}

impl Mailbox {
    /// Another model waits.
    pub fn is_waiting(&self) -> bool {
        self.swaps.is_waiting()
    }

    /// Trades the model for the one that waits; what is counted from here on is the new one's. `false`: what the old one has
    /// scored could not be sent yet, or nothing waits.
    pub fn swap(&mut self, exchange: impl FnOnce(&mut Fitted)) -> bool {
        if !self.send() {
            return false;
        }
        let Mailbox { swaps, current, .. } = self;
        swaps.swap(|new| {
            std::mem::swap(&mut current.number, &mut new.number);
            exchange(new);
        })
    }

    /// A call has scored `rows`.
    pub fn note(&mut self, rows: &[FeatureRow], service_ns: u64) {
        let current = &mut *self.current;
        current.scored += rows.len() as u64;
        current.service_ns += service_ns;
        while current.rows.len() < SAMPLES
            && let Some(row) = rows.get(self.skip)
        {
            current.rows.push(*row);
            self.skip += self.stride;
        }
        self.skip = self.skip.saturating_sub(rows.len());
    }

    /// Sends what was scored, if anything was; `false`: the box before has not come back yet, and this one goes on being filled.
    pub fn send(&mut self) -> bool {
        let Samples { number, scored, .. } = *self.current;
        if scored > 0 {
            if !self.up.swap(&mut self.current) {
                return false;
            }
            self.current.number = number;
            self.stride = (scored as usize).div_ceil(SAMPLES);
            self.skip = self.skip.min(self.stride - 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::features::COUNT;

    fn rows(range: std::ops::Range<usize>) -> Vec<FeatureRow> {
        range.map(|number| [number as f32; COUNT]).collect()
    }

    /// However many rows come in calls of whatever size, boxes count them all and hold an even sample of them, in place.
    #[test]
    fn samples_are_spread_over_what_is_scored() {
        let (mut mailbox, mut port) = mailbox();
        for (a_box, calls) in [(640, 10), (640, 7), (10_000, 128), (20, 3), (1, 1)] {
            for repeat in 0..2 {
                for call in rows(0..a_box).chunks(calls) {
                    mailbox.note(call, 5);
                }
                assert!(mailbox.send());
                let mut seen = Vec::new();
                port.samples.drain(|samples| {
                    assert_eq!((samples.scored, samples.rows.capacity()), (a_box as u64, SAMPLES));
                    assert_eq!(samples.service_ns, 5 * a_box.div_ceil(calls) as u64);
                    seen.extend(samples.rows().iter().map(|row| row[0] as usize));
                });
                assert!(seen.len() <= SAMPLES && seen.is_sorted());
                if repeat == 1 {
                    assert!(seen.len() * 2 > a_box.min(SAMPLES), "{} of {a_box}", seen.len());
                    assert!(a_box - seen[seen.len() - 1] <= 2 * a_box.div_ceil(SAMPLES), "to the end: {seen:?}");
                }
            }
        }
        assert!(mailbox.send(), "nothing to send is well");
    }

    #[test]
    fn rows_are_of_the_model_that_scored_them() {
        let (mut mailbox, mut port) = mailbox();
        let fitted = |number| {
            Box::new(Fitted { number, scorer: None, thresholds: Thresholds::all(0.5), score: ScoreSettings::default() })
        };
        mailbox.note(&rows(0..3), 1);
        assert!(!mailbox.is_waiting() && mailbox.send());
        mailbox.note(&rows(0..2), 1);
        port.swaps.send(fitted(7)).ok().unwrap();
        assert!(mailbox.is_waiting());
        assert!(!mailbox.swap(|_| panic!("the box before is on its way")), "what was scored would be the new one's");
        let mut told = Vec::new();
        port.samples.drain(|samples| told.push((samples.number, samples.scored)));
        assert!(mailbox.swap(|_| ()) && !mailbox.is_waiting());
        assert_eq!(port.swaps.returned().unwrap().number, 0);
        port.samples.drain(|samples| told.push((samples.number, samples.scored)));
        mailbox.note(&rows(0..4), 1);
        assert!(mailbox.send());
        port.samples.drain(|samples| told.push((samples.number, samples.scored)));
        assert_eq!(told, [(0, 3), (0, 2), (7, 4)]);
    }
}
