//! Waiting for several descriptors at once, and waking who waits.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Descriptors to wait for together; its memory is taken once.
pub struct PollSet {
    polled: Vec<libc::pollfd>,
}

impl PollSet {
    /// Room for that many.
    pub fn with_capacity(count: usize) -> PollSet {
        PollSet { polled: Vec::with_capacity(count) }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.polled.clear();
    }

    /// Adds one; a negative number adds nothing. Beyond the room nothing is added either: the wait's limit then says when
    /// it is looked at.
    pub fn add(&mut self, descriptor: RawFd) {
        if descriptor >= 0 && self.polled.len() < self.polled.capacity() {
            self.polled.push(libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 });
        }
    }

    /// Waits until one of them is readable or `limit` is over; is one readable?
    pub fn wait(&mut self, limit: Duration) -> bool {
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let count = self.polled.len() as libc::nfds_t;
        // SAFETY: the vector holds as many entries as announced, `limit` is a live local, a null signal mask means
        // "unchanged".
        let ready = unsafe { libc::ppoll(self.polled.as_mut_ptr(), count, &limit, std::ptr::null()) };
        ready > 0
    }
}

/// A descriptor that another thread makes readable.
pub struct Wakeup(OwnedFd);

impl Wakeup {
    /// A new one; `None` where the process has no descriptor left.
    pub fn new() -> Option<Wakeup> {
        // SAFETY: eventfd(2) takes two integers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        // SAFETY: a descriptor just made, owned by nobody else.
        (descriptor >= 0).then(|| Wakeup(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Its number, for a [`PollSet`].
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes it readable; never waits.
    pub fn ring(&self) {
        let one = 1_u64;
        // SAFETY: eight bytes of a live local, as eventfd(2) asks for.
        let _ = unsafe { libc::write(self.descriptor(), std::ptr::from_ref(&one).cast(), 8) };
    }

    /// Makes it unreadable again; never waits.
    pub fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes of a live local, as eventfd(2) asks for.
        let _ = unsafe { libc::read(self.descriptor(), std::ptr::from_mut(&mut count).cast(), 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_somebody_rings() {
        let wakeup = std::sync::Arc::new(Wakeup::new().expect("a descriptor"));
        let mut set = PollSet::with_capacity(1);
        set.add(-1);
        set.add(wakeup.descriptor());
        set.add(wakeup.descriptor()); // no room: not added, and nothing grows
        set.wait(Duration::ZERO);
        assert_eq!((set.polled.len(), set.polled[0].revents), (1, 0));
        let other = std::sync::Arc::clone(&wakeup);
        let ringing = std::thread::spawn(move || other.ring());
        set.wait(Duration::from_secs(60));
        assert_eq!(set.polled[0].revents, libc::POLLIN);
        ringing.join().expect("it rang");
        wakeup.clear();
        set.wait(Duration::ZERO);
        assert_eq!(set.polled[0].revents, 0);
    }
}
