//! Signals.

/// Lets a broken pipe end the process quietly, as people expect of a command in a pipeline (Rust ignores SIGPIPE).
pub fn default_sigpipe() {
    // SAFETY: `signal` demands a valid signal number and handler; SIGPIPE and SIG_DFL are the C library's own constants.
    // Called once, before any other thread exists.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
