//! Control's side of one queue: one model on its way down at a time, the newest wins.

use crate::dataplane::worker::{Fitted, MailboxPort, Samples};

/// A queue that takes models.
pub struct Port {
    port: MailboxPort,
    /// Number of the activation that it scores with.
    taken: u64,
    /// On its way down.
    sent: Option<u64>,
    /// Not sent yet, because the one before is on its way.
    waiting: Option<Box<Fitted>>,
}

impl Port {
    /// Of a queue that scores with what it began with.
    pub fn new(port: MailboxPort) -> Port {
        Port { port, taken: 0, sent: None, waiting: None }
    }

    /// Is the queue there?
    pub(super) fn is_served(&self) -> bool {
        !self.port.swaps.is_abandoned()
    }

    pub(super) fn has_taken(&self, number: u64) -> bool {
        self.taken == number
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Sends a model instead of any that waits.
    pub(super) fn deliver(&mut self, fitted: Box<Fitted>) {
        self.waiting = Some(fitted);
        self.look();
    }

    /// Drops what came back, and sends what waits.
    pub(super) fn look(&mut self) {
        while let Some(replaced) = self.port.swaps.returned() {
            drop(replaced);
            self.taken = self.sent.take().unwrap_or(self.taken);
        }
        if self.sent.is_some() {
            return;
        }
        if let Some(fitted) = self.waiting.take() {
            let number = fitted.number;
            match self.port.swaps.send(fitted) {
                Ok(()) => self.sent = Some(number),
                Err(fitted) => self.waiting = Some(fitted),
            }
        }
    }

    /// Shows what the queue has scored.
    pub(super) fn drain(&mut self, each: impl FnMut(&Samples)) {
        self.port.samples.drain(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::score::Thresholds;
    use crate::dataplane::worker::{ScoreSettings, mailbox};

    fn fitted(number: u64) -> Box<Fitted> {
        Box::new(Fitted { number, scorer: None, thresholds: Thresholds::all(0.5), score: ScoreSettings::default() })
    }

    /// Whatever comes while a queue does not look, it gets the newest in the end, and each is known when it is taken.
    #[test]
    fn the_newest_wins_and_is_known_when_it_is_taken() {
        let (mut queue, port) = mailbox();
        let mut port = Port::new(port);
        (1..=3).for_each(|number| port.deliver(fitted(number)));
        let mut seen = Vec::new();
        for _ in 0..4 {
            if queue.swap(|new| seen.push(new.number)) {
                assert!(!port.has_taken(3), "not before it is known");
            }
            port.look();
        }
        // The box goes back with the number that was replaced.
        assert_eq!((seen, port.taken(), port.is_served()), (vec![0, 1], 3, true));
        drop(queue);
        assert!(!port.is_served());
        port.deliver(fitted(4));
        assert_eq!(port.taken(), 3);
    }
}
