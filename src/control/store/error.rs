//! Why the store, or a page of it, cannot be had.

use std::path::PathBuf;

/// The store cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("open the alert store {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        cause: String,
    },
    /// A newer program wrote it.
    #[error(
        "open the alert store {}: written by a newer shrike (schema {found}, this one knows {known}): run that version, \
         or name another file",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Another program's database.
    #[error("open the alert store {}: a database of another program: name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("open the alert store {}: another shrike uses it: stop that one, or name another file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Somebody put another file in its place while we ran.
    #[error("write the alert store {}: another file was put in its place: restart to use it", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A commit failed; nothing of it was written.
    #[error("write the alert store {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        cause: String,
    },
    /// A read failed.
    #[error("read the alert store {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        cause: String,
    },
}

/// Why a page could not be given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Retention has deleted alerts after this place, or it belongs to another store: begin anew.
    #[error(
        "alerts after this cursor have been deleted by retention, or it belongs to another store: begin without one"
    )]
    Expired,
    /// The file does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}
