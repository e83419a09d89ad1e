//! Scoring in microbatches: model manifest, ONNX session, row queue, calibration of the cost curve, reasons.
//!
//! Owns buffers made once at load. Everything that can go wrong with a model file, its runtime library or its schema is
//! an error at load with the remedy; while running a failed call sheds its rows, counts them and degrades visibly.
//! `ort` is named here and nowhere else. Rows may have any width: the flow's model runs on the workers, those of windows
//! take the same session from the control plane.
//!
//! Untrusted until checked: the manifest (parsed, bounded, fuzzed), the model file (length and sha256 against the
//! manifest), the runtime library (length and sha256 against this program, because opening a truncated one kills the
//! process). What a checked model may compute is not judged here, only that it gives numbers in 0..=1.

mod calibration;
mod error;
mod explain;
mod family;
#[cfg(test)]
pub(crate) mod fixture;
mod manifest;
mod microbatch;
mod model;
mod runtime;
mod scores;
mod session;
#[cfg(test)]
mod tests;

pub use calibration::{CostCurve, INLINE_BATCH_MIN, INLINE_BUDGET_NS};
pub use error::{ModelError, ScoreError};
pub use explain::{Explainer, Reason};
pub use family::{FAMILIES_MAX, FLOWS_MAX, Family, Limit, Thresholds, Verdict};
pub use manifest::{
    EDGES, FeatureStatistics, GoldenRow, MANIFEST_BYTES_MAX, Manifest, ManifestError, ModelFile, Outputs, Training,
};
pub use microbatch::{BACKLOG_MAX, Microbatch};
pub use model::{DEFAULT_MANIFEST, Model, Settings};
pub use runtime::{LIBRARY_NAME, LIBRARY_VARIABLE, verified_library};
pub use scores::Scores;
pub use session::OrtScorer;

/// Most rows of one call.
pub const BATCH_MAX: usize = 128;

/// Something that says of rows which family they are of.
pub trait Scorer: Send {
    /// Scores at most [`BATCH_MAX`] rows, one behind the other, each of the model's width.
    ///
    /// # Errors
    /// The runtime's message; the scores are then unspecified.
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError>;
}
