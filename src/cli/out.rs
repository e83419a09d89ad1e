//! Results on standard output. What cannot be written (a full disk) is no panic: the command goes on to its end, and the
//! process then says what failed and exits with 1. A reader that went away ends it quietly (SIGPIPE, see `main`).

use std::fmt;
use std::io::{self, Write as _};
use std::sync::OnceLock;

static FAILED: OnceLock<String> = OnceLock::new();

/// Writes a line of results.
pub(super) fn line(text: fmt::Arguments<'_>) {
    keep(writeln!(io::stdout().lock(), "{text}"));
}

/// Everything has been written: the first thing that failed, if any did.
pub(super) fn finish() -> Option<&'static str> {
    keep(io::stdout().lock().flush());
    FAILED.get().map(String::as_str)
}

fn keep(outcome: io::Result<()>) {
    if let Err(cause) = outcome {
        // The first cause is the one that explains the others.
        let _ = FAILED.set(cause.to_string());
    }
}

/// As `println!`, without its panic.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::out::line(format_args!($($part)*)) };
}
pub(super) use say;
