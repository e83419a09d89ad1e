//! One model session per queue, over the pinned runtime.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use super::error::{ModelError, ScoreError};
use super::manifest::{Manifest, Outputs};
use super::{BATCH_MAX, Scorer, Scores};
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
    outputs: Outputs,
    /// Values of a row.
    width: usize,
    families: usize,
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
        let (outputs, families) = (&manifest.outputs, manifest.families.len());
        let options = (1..=BATCH_MAX)
            .map(|rows| {
                let buffer = |width| Tensor::<f32>::new(session.allocator(), [rows, width]);
                let mut selector = OutputSelector::no_default()
                    .with(&*outputs.probabilities)
                    .preallocate(&*outputs.probabilities, buffer(families)?);
                if let Some(anomaly) = &outputs.anomaly {
                    selector = selector.with(&**anomaly).preallocate(&**anomaly, buffer(1)?);
                }
                Ok(RunOptions::new()?.with_outputs(selector))
            })
            .collect::<ort::Result<Vec<_>>>()
            .map_err(|error| fail(error.to_string()))?;
        Ok(OrtScorer { session, outputs: outputs.clone(), width: manifest.features.len(), families, options })
    }
}

impl Scorer for OrtScorer {
    fn score(&mut self, rows: &[f32], scores: &mut Scores) -> Result<(), ScoreError> {
        let count = rows.len() / self.width.max(1);
        let fail = |cause: String| ScoreError { rows: count, cause };
        if rows.is_empty() {
            scores.attacks(std::iter::empty());
            return Ok(());
        }
        let places = scores.make(count, self.families).filter(|_| rows.len() == count * self.width);
        let (Some((probabilities, ranks)), Some(options)) = (places, self.options.get(count.wrapping_sub(1))) else {
            return Err(fail(format!("1 to {BATCH_MAX} rows of {} values go into a call", self.width)));
        };
        let input = TensorRef::from_array_view(([count, self.width], rows)).map_err(|error| fail(error.to_string()))?;
        let given =
            self.session.run_with_options(ort::inputs![input], options).map_err(|error| fail(error.to_string()))?;
        let wanted = [(Some(&self.outputs.probabilities), probabilities), (self.outputs.anomaly.as_ref(), ranks)];
        for (name, to) in wanted {
            let Some(name) = name else { continue };
            let Some(output) = given.get(name) else {
                return Err(fail(format!("the model gave no `{name}`")));
            };
            let (_, values) = output.try_extract_tensor::<f32>().map_err(|error| fail(error.to_string()))?;
            if values.len() != to.len() {
                return Err(fail(format!("the model gave {} values of `{name}`", values.len())));
            }
            // Copied and looked at in one pass; also refuses NaN, which lies in no range.
            let fit = to.iter_mut().zip(values).fold(true, |fit, (to, value)| {
                *to = *value;
                fit & (0.0..=1.0).contains(value)
            });
            if !fit {
                let value = values.iter().find(|value| !(0.0..=1.0).contains(*value)).unwrap_or(&f32::NAN);
                return Err(fail(format!("the model gave `{name}` {value}, which is not in 0..=1")));
            }
        }
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
    check_shape(input, manifest.features.len())?;
    let names: Vec<&str> = session.outputs().iter().map(Outlet::name).collect();
    let wanted =
        [(Some(&manifest.outputs.probabilities), manifest.families.len()), (manifest.outputs.anomaly.as_ref(), 1)];
    for (name, width) in wanted {
        let Some(name) = name else { continue };
        let Some(output) = session.outputs().iter().find(|output| output.name() == name) else {
            return Err(format!("its outputs are {names:?}, `{name}` must be among them"));
        };
        check_shape(output, width)?;
    }
    Ok(())
}

fn check_shape(outlet: &Outlet, width: usize) -> Result<(), String> {
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } if matches!(shape[..], [-1, columns] if usize::try_from(columns) == Ok(width)) => {
            Ok(())
        }
        other => Err(format!("`{}` is {other}, it must be f32 of [batch, {width}] with a free batch", outlet.name())),
    }
}
