//! One model session per queue, over the pinned runtime.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use super::error::{ModelError, ScoreError};
use super::manifest::Manifest;
use super::{BATCH_MAX, Scorer};
use crate::dataplane::features::{COUNT, FeatureRow};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::{Outlet, Tensor, TensorElementType, TensorRef, ValueType};
use std::path::Path;

/// A model session and its output buffers. Owned by one queue and moved with it; a call runs on the calling thread
/// only.
///
/// Output buffers are made once for every batch size, so no row is padded or copied: a call of `n` rows reads the rows
/// where they lie and writes into the buffer of size `n`. The runtime itself still allocates some 30 times a call; that
/// is why allocations are promised per packet without, and reported per microbatch with, the scoring call.
pub struct OrtScorer {
    session: Session,
    /// Options of a call with `index + 1` rows; each holds its output buffer.
    options: Vec<RunOptions<HasSelectedOutputs>>,
}

impl OrtScorer {
    /// Makes a session from the bytes of a model whose hash has been checked.
    pub(super) fn new(
        environment: &Environment,
        path: &Path,
        bytes: &[u8],
        manifest: &Manifest,
    ) -> Result<OrtScorer, ModelError> {
        let fail = |cause: String| ModelError::Session { path: path.to_owned(), cause };
        let session = build(environment, bytes).map_err(fail)?;
        let interface = |what| ModelError::Interface { path: path.to_owned(), what };
        check_interface(&session, manifest).map_err(interface)?;
        let options = (1..=BATCH_MAX)
            .map(|rows| {
                let buffer = Tensor::<f32>::new(session.allocator(), [rows, 1])?;
                let selector = OutputSelector::no_default().with(&*manifest.output);
                Ok(RunOptions::new()?.with_outputs(selector.preallocate(&*manifest.output, buffer)))
            })
            .collect::<ort::Result<Vec<_>>>()
            .map_err(|error| fail(error.to_string()))?;
        Ok(OrtScorer { session, options })
    }
}

impl Scorer for OrtScorer {
    fn score(&mut self, rows: &[FeatureRow], scores: &mut [f32]) -> Result<(), ScoreError> {
        let count = rows.len();
        let fail = |cause: String| ScoreError { rows: count, cause };
        if count == 0 {
            return Ok(());
        }
        let Some(options) = self.options.get(count - 1).filter(|_| scores.len() == count) else {
            return Err(fail(format!("1 to {BATCH_MAX} rows and as many scores go into a call")));
        };
        let input = TensorRef::from_array_view(([count, COUNT], rows.as_flattened()))
            .map_err(|error| fail(error.to_string()))?;
        let outputs =
            self.session.run_with_options(ort::inputs![input], options).map_err(|error| fail(error.to_string()))?;
        let Some(output) = outputs.values().next() else {
            return Err(fail("the model gave no output".to_owned()));
        };
        let (_, values) = output.try_extract_tensor::<f32>().map_err(|error| fail(error.to_string()))?;
        if values.len() != count {
            return Err(fail(format!("the model gave {} scores", values.len())));
        }
        // Also refuses NaN, which lies in no range.
        if let Some(value) = values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            return Err(fail(format!("the model gave the score {value}, which is not in 0..=1")));
        }
        scores.copy_from_slice(values);
        Ok(())
    }
}

/// One thread and no spinning: the caller is a pinned worker that has packets to poll for.
fn build(environment: &Environment, bytes: &[u8]) -> Result<Session, String> {
    // Errors of the builder carry the builder along, so only their text is kept.
    fn text<E: std::fmt::Display>(error: E) -> String {
        error.to_string()
    }
    Session::builder(environment)
        .map_err(text)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_intra_threads(1)
        .map_err(text)?
        .with_inter_threads(1)
        .map_err(text)?
        .with_parallel_execution(false)
        .map_err(text)?
        .with_intra_op_spinning(false)
        .map_err(text)?
        .with_inter_op_spinning(false)
        .map_err(text)?
        // The batch size varies, and a pattern is kept for every shape ever seen.
        .with_memory_pattern(false)
        .map_err(text)?
        .commit_from_memory(bytes)
        .map_err(text)
}

fn check_interface(session: &Session, manifest: &Manifest) -> Result<(), String> {
    let [input] = session.inputs() else {
        return Err(format!(
            "it has {} inputs, it must have the one named `{}`",
            session.inputs().len(),
            manifest.input
        ));
    };
    if input.name() != manifest.input {
        return Err(format!("its input is `{}`, it must be `{}`", input.name(), manifest.input));
    }
    let names: Vec<&str> = session.outputs().iter().map(Outlet::name).collect();
    let Some(output) = session.outputs().iter().find(|output| output.name() == manifest.output) else {
        return Err(format!("its outputs are {names:?}, `{}` must be among them", manifest.output));
    };
    check_shape(input, COUNT)?;
    check_shape(output, 1)
}

fn check_shape(outlet: &Outlet, width: usize) -> Result<(), String> {
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } if matches!(shape[..], [-1, columns] if usize::try_from(columns) == Ok(width)) => {
            Ok(())
        }
        other => Err(format!("`{}` is {other}, it must be f32 of [batch, {width}] with a free batch", outlet.name())),
    }
}
