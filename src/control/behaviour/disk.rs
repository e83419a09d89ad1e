//! The file in which baselines outlive a restart: one JSON document, written beside itself and then put in its place, so that it
//! is always whole. Baselines can be learnt again, so a file that cannot be used is put aside and named, and nothing stops.

use super::Snapshot;
use crate::control::disk::put;
use std::fs;
use std::path::{Path, PathBuf};

/// What a file is.
const FORMAT: &str = "shrike-behaviour";
/// Version of what is in it.
const VERSION: u32 = 1;
/// Longer ones are not ours: some thousands of hosts have 10 KiB each.
const BYTES_MAX: u64 = 1 << 30;

#[derive(serde::Serialize, serde::Deserialize)]
struct Document<S> {
    format: String,
    version: u32,
    state: S,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("baselines {}: {problem}", path.display())]
pub struct DiskError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what follows.
    pub problem: String,
}

/// Reads the file; `None` where there is none.
///
/// # Errors
/// It is not what this program writes: it is put aside, and baselines are learnt anew.
pub fn read(path: &Path) -> Result<Option<Snapshot>, DiskError> {
    let bytes = match fs::metadata(path).and_then(|data| {
        if data.len() > BYTES_MAX { Err(std::io::ErrorKind::FileTooLarge.into()) } else { fs::read(path) }
    }) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(DiskError { path: path.into(), problem: cause.to_string() }),
    };
    let problem = match serde_json::from_slice::<Document<serde_json::Value>>(&bytes) {
        Err(cause) => format!("is no state of baselines ({cause})"),
        Ok(found) if found.format != FORMAT => format!("is a {:?} and no {FORMAT}", found.format),
        Ok(found) if found.version != VERSION => {
            format!("has version {}, this program writes {VERSION}", found.version)
        }
        Ok(found) => match serde_json::from_value(found.state) {
            Ok(state) => return Ok(Some(state)),
            Err(cause) => format!("cannot be read ({cause})"),
        },
    };
    let aside = path.with_extension("json.unreadable");
    let kept = match fs::rename(path, &aside) {
        Ok(()) => format!("kept as {}", aside.display()),
        Err(cause) => format!("could not be put aside: {cause}"),
    };
    Err(DiskError { path: path.into(), problem: format!("{problem}; {kept}, and baselines are learnt anew") })
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// The disk's.
pub fn write(path: &Path, state: Snapshot) -> Result<(), DiskError> {
    let fail = |cause: std::io::Error| DiskError { path: path.into(), problem: cause.to_string() };
    let document = Document { format: FORMAT.into(), version: VERSION, state };
    let bytes = serde_json::to_vec(&document).map_err(|cause| fail(cause.into()))?;
    put(path, &bytes).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_not_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.behaviour.json");
        assert!(read(&path).expect("nothing is no error").is_none());
        write(&path, Snapshot::default()).expect("a writable folder");
        assert_eq!(read(&path).expect("its own file"), Some(Snapshot::default()));
        assert!(!path.with_extension("json.new").exists());
        for (text, says) in [
            ("", "is no state of baselines"),
            ("{\"format\":\"x\",\"version\":1,\"state\":{}}", "is a \"x\" and no"),
            ("{\"format\":\"shrike-behaviour\",\"version\":9,\"state\":{}}", "has version 9, this program writes 1"),
            ("{\"format\":\"shrike-behaviour\",\"version\":1,\"state\":{\"hosts\":3}}", "cannot be read"),
        ] {
            fs::write(&path, text).expect("a writable folder");
            let error = read(&path).expect_err(text).to_string();
            assert!(error.contains(says) && error.contains("learnt anew"), "{error}");
            assert!(!path.exists() && path.with_extension("json.unreadable").exists(), "{text}");
        }
    }
}
