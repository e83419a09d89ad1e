//! Wakes a thread that sleeps with a limit, for what must not wait for that limit.

use std::sync::OnceLock;
use std::thread::Thread;

/// Whom to wake; nobody until somebody registers.
///
/// The sleeper parks (`std::thread::park_timeout`): who rings before it sleeps ends that sleep at once, so nothing is missed. Ringing
/// takes no lock and never waits; it is a system call only where the sleeper sleeps.
#[derive(Default, Debug)]
pub struct Wake(OnceLock<Thread>);

impl Wake {
    /// The calling thread is the one to wake; the first who says so stays it.
    pub fn register(&self) {
        self.0.get_or_init(std::thread::current);
    }

    /// Wakes it.
    #[inline]
    pub fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    /// Were it not woken, this would take an hour.
    #[test]
    fn a_sleeper_is_woken_before_and_while_it_sleeps() {
        let wake = Arc::new(Wake::default());
        wake.ring();
        wake.register();
        wake.ring();
        std::thread::park_timeout(Duration::from_secs(3600));
        let other = Arc::clone(&wake);
        let ringing = std::thread::spawn(move || other.ring());
        std::thread::park_timeout(Duration::from_secs(3600));
        ringing.join().expect("it only rings");
    }
}
