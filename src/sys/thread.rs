//! The kernel's own view of a thread.

/// Number of the calling thread in the kernel (`gettid`).
pub fn current() -> u64 {
    // SAFETY: gettid takes nothing and cannot fail.
    let id = unsafe { libc::gettid() };
    id.unsigned_abs().into()
}

/// Does this process still have a thread of that number? A thread that the kernel ended without its own doing (a system
/// call injected, a fault in foreign code) leaves no trace in its `JoinHandle`.
pub fn exists(id: u64) -> bool {
    std::path::Path::new(&format!("/proc/self/task/{id}")).exists()
}

/// Lets the calling thread's timed waits end when they are due: the kernel adds 50 us to each otherwise
/// (prctl(2), PR_SET_TIMERSLACK), a quarter of the time that a row may wait for its microbatch.
pub fn wake_on_time() {
    // SAFETY: takes an integer, touches no memory of ours.
    let _ = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_are_known_while_they_live() {
        let other = std::thread::spawn(super::current).join().expect("a thread's number");
        assert!(super::exists(super::current()));
        assert_ne!(other, super::current());
    }
}
