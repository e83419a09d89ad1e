//! What the operator chose, over a restart: a small file beside the alerts.
//!
//! A choice is of what was configured when it was made. Whoever configures another model later means that one, so the choice is
//! of no use any more; a model that has gone, or does not pass its checks, is named and the configured one goes on.

use super::folder::Rows;
use crate::control::disk::put;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "shrike-models";
const VERSION: u32 = 1;
/// Longer ones are not ours.
const BYTES_MAX: u64 = 1 << 16;

/// What one kind of rows is judged by.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chosen {
    /// Hash of the model that was configured then; `None`: none was.
    pub(super) configured: Option<String>,
    pub(super) active: Option<String>,
    pub(super) shadow: Option<String>,
}

/// By name of the kind of rows.
pub(super) type Choice = BTreeMap<String, Chosen>;

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    rows: Choice,
}

/// What was written; nothing where there is no such file.
///
/// # Errors
/// Why it is of no use, in words.
pub(super) fn read(path: &Path) -> Result<Choice, String> {
    let fail = |why: String| format!("{}: {why}: what is configured is active; choose again", path.display());
    let length = match std::fs::metadata(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Choice::new()),
        Err(cause) => return Err(fail(cause.to_string())),
        Ok(data) => data.len(),
    };
    if length > BYTES_MAX {
        return Err(fail(format!("{length} bytes are no choice of models")));
    }
    let text = std::fs::read(path).map_err(|cause| fail(cause.to_string()))?;
    match serde_json::from_slice::<Document>(&text) {
        Ok(found) if (found.format.as_str(), found.version) == (FORMAT, VERSION) => Ok(found.rows),
        Ok(found) => Err(fail(format!("{} {} is no {FORMAT} {VERSION}", found.format, found.version))),
        Err(cause) => Err(fail(cause.to_string())),
    }
}

/// Writes it beside itself and puts it in its place, so that it is always whole.
///
/// # Errors
/// The disk's, in words.
pub(super) fn write(path: &Path, rows: Choice) -> Result<(), String> {
    let fail = |cause: std::io::Error| format!("{}: {cause}: the choice of models ends with this run", path.display());
    let document = Document { format: FORMAT.into(), version: VERSION, rows };
    let bytes = serde_json::to_vec(&document).map_err(|cause| fail(cause.into()))?;
    put(path, &bytes).map_err(fail)
}

/// The kind of rows of that name.
pub(super) fn rows_named(name: &str) -> Option<Rows> {
    Rows::ALL.into_iter().find(|rows| rows.name() == name)
}
