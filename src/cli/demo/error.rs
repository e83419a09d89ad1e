//! What can go wrong around the demo, by what the reader would do about it.

use std::path::{Path, PathBuf};

/// Why the demo could not be shown, or could not be shown live.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A command of the lab failed.
    #[error("{command}: {reason}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        reason: String,
    },
    /// A file of the lab could not be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program did not come up; its own last words follow.
    #[error("{program} did not come up within {seconds} s{log}")]
    NotUp {
        /// Which.
        program: String,
        /// How long it was given.
        seconds: u64,
        /// The end of its log, on lines of its own; may be empty.
        log: String,
    },
    /// The HTTP API answered something unexpected.
    #[error("GET {path}: {reason}")]
    Http {
        /// What was asked.
        path: String,
        /// What came back.
        reason: String,
    },
    /// The recorded capture cannot be used.
    #[error("recorded capture: {0}")]
    Recording(String),
    /// Ctrl-C or SIGTERM before there was anything to judge.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// Says which file an I/O error is about.
    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> DemoError + '_ {
        move |source| DemoError::File { path: path.to_owned(), source }
    }
}
