//! Everything that can be wrong with a model at load, each with what to do about it.

use super::manifest::ManifestError;
use std::path::PathBuf;

/// A model was refused at load. The capture path does not depend on it: the operator chooses between a refusal to start
/// and running without the model, degraded and visible.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No runtime library at any of the places it may be.
    #[error(
        "find the ONNX Runtime library: not at {}; fetch it with ci/get-onnxruntime.sh, or name its path in \
         `model.runtime` or $SHRIKE_ONNXRUNTIME",
        list(tried)
    )]
    RuntimeMissing {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// Not the pinned library; opening it might kill the process.
    #[error(
        "verify the ONNX Runtime library {path}: it is not the pinned one: {}; wanted is the one with sha256 {expected} and \
         {expected_bytes} bytes; fetch it with ci/get-onnxruntime.sh", what_differs(found, *found_bytes), path = path.display()
    )]
    RuntimeMismatch {
        /// The file.
        path: PathBuf,
        /// Pinned hash.
        expected: &'static str,
        /// Pinned length.
        expected_bytes: u64,
        /// Its hash; none if the length was wrong already, for then it is not read.
        found: Option<String>,
        /// Its length.
        found_bytes: u64,
    },
    /// The right file, and still it does not load (a missing libstdc++, for instance).
    #[error(
        "load the ONNX Runtime library {path}: {cause}; it needs glibc 2.28 and libstdc++6 (package libstdc++6)",
        path = path.display()
    )]
    RuntimeLoad {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        cause: String,
    },
    /// A file cannot be read.
    #[error("read {what} {path}: {cause}; restore it from the project's models/, or train again with models/train.sh",
        path = path.display())]
    Read {
        /// Manifest or model.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The manifest is no good.
    #[error("read model manifest {path}: {cause}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and the remedy.
        cause: ManifestError,
    },
    /// The model file is not the one that the manifest speaks of.
    #[error(
        "verify model {path}: expected sha256 {expected} ({expected_bytes} bytes), found {found} ({found_bytes} bytes); \
         restore model and manifest together from the project's models/, or train again with models/train.sh",
        path = path.display()
    )]
    ModelMismatch {
        /// The file.
        path: PathBuf,
        /// Hash in the manifest.
        expected: String,
        /// Length in the manifest.
        expected_bytes: u64,
        /// Its hash (`not read` if the length was wrong already).
        found: String,
        /// Its length.
        found_bytes: u64,
    },
    /// The runtime does not take the model.
    #[error("load model {path}: {cause}; export it again with models/train.sh", path = path.display())]
    Session {
        /// The file.
        path: PathBuf,
        /// The runtime's words.
        cause: String,
    },
    /// The graph has another shape than the manifest says.
    #[error("check model {path}: {what}; export it again with models/train.sh", path = path.display())]
    Interface {
        /// The file.
        path: PathBuf,
        /// What it has, and what it must have.
        what: String,
    },
    /// A golden row does not get its score: another runtime, another CPU kernel gone wrong, or a wrong model.
    #[error(
        "check model {path}: golden row {row} gets {found} as its `{what}`, the manifest says {expected}; restore model and manifest \
         together, or train again with models/train.sh", path = path.display()
    )]
    Golden {
        /// The file.
        path: PathBuf,
        /// Which row.
        row: usize,
        /// Family, or `unusual`.
        what: &'static str,
        /// Score in the manifest.
        expected: f32,
        /// Score found.
        found: f32,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// A call of the model failed.
#[derive(Debug, thiserror::Error)]
#[error("score a microbatch of {rows} rows: {cause}")]
pub struct ScoreError {
    /// Rows in the call.
    pub rows: usize,
    /// The runtime's own words.
    pub cause: String,
}

/// In what a file is not the pinned library.
fn what_differs(found: &Option<String>, found_bytes: u64) -> String {
    match found {
        None => format!("it has {found_bytes} bytes"),
        Some(hash) => format!("its sha256 is {hash}"),
    }
}
