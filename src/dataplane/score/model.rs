//! Loading a model: everything is checked before the first packet, and nothing that fails here touches capture.

use super::calibration::CostCurve;
use super::error::ModelError;
use super::explain::Explainer;
use super::manifest::{GOLDEN_TOLERANCE, MANIFEST_BYTES_MAX, Manifest, ManifestError};
use super::session::OrtScorer;
use super::{BATCH_MAX, Family, Scorer, Scores, Thresholds, runtime};
use crate::dataplane::features::{FLOW, Schema};
use ort::environment::Environment;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The model that comes with the program, below a `models/` folder.
pub const DEFAULT_MANIFEST: &str = "flow-v2.json";

/// Which model and which runtime.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Manifest; without one `models/flow-v2.json` beside the working directory or the executable.
    pub manifest: Option<PathBuf>,
    /// ONNX Runtime library; without one see `runtime::candidates`.
    pub runtime: Option<PathBuf>,
}

/// A model that has passed every check: hashes, schema, interface, golden rows. Queues get their sessions from it.
pub struct Model {
    environment: Environment,
    manifest_path: PathBuf,
    path: PathBuf,
    bytes: Vec<u8>,
    schema: &'static Schema,
    manifest: Manifest,
    cost: CostCurve,
    golden_worst: f32,
}

impl Model {
    /// Loads and checks a model of flows and measures its cost: some 60 ms, of which the runtime's start is the most.
    ///
    /// # Errors
    /// The first check that fails, naming the file, what was found and the remedy.
    pub fn load(settings: &Settings) -> Result<Model, ModelError> {
        Model::load_for(&FLOW, settings)
    }

    /// The same of a model of other rows; its manifest has to be named.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_for(schema: &'static Schema, settings: &Settings) -> Result<Model, ModelError> {
        let environment = runtime::environment(settings.runtime.as_deref())?;
        let manifest_path = settings.manifest.clone().unwrap_or_else(default_manifest);
        let text = read_bounded("model manifest", &manifest_path, MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::parse(&text, schema)
            .map_err(|cause: ManifestError| ModelError::Manifest { path: manifest_path.clone(), cause })?;
        let path = manifest_path.with_file_name(&manifest.model.file);
        let bytes = read_bounded("model", &path, manifest.model.bytes)?;
        // The bytes that were hashed are the bytes that are loaded: the file may change meanwhile.
        let found = runtime::hexadecimal(&Sha256::digest(&bytes));
        if found != manifest.model.sha256 {
            return Err(ModelError::ModelMismatch {
                path,
                expected: manifest.model.sha256,
                expected_bytes: manifest.model.bytes,
                found,
                found_bytes: bytes.len() as u64,
            });
        }
        let mut scorer = OrtScorer::new(&environment, &path, &bytes, &manifest)?;
        let golden_worst = check_golden(&mut scorer, &path, &manifest)?;
        let cost = CostCurve::measure(&mut scorer, &manifest.golden_rows(), schema.width())
            .map_err(|error| ModelError::Session { path: path.clone(), cause: error.to_string() })?;
        Ok(Model { environment, manifest_path, path, bytes, schema, manifest, cost, golden_worst })
    }

    /// A session of its own for one queue; some 3 ms.
    ///
    /// # Errors
    /// [`ModelError::Session`], as for memory.
    pub fn scorer(&self) -> Result<OrtScorer, ModelError> {
        OrtScorer::new(&self.environment, &self.path, &self.bytes, &self.manifest)
    }

    /// The same, which has scored the golden rows in every way: for a queue that works already, so that its first call is like
    /// any other.
    ///
    /// # Errors
    /// As [`Model::scorer`], and [`ModelError::Golden`].
    pub fn proven_scorer(&self) -> Result<OrtScorer, ModelError> {
        let mut scorer = self.scorer()?;
        check_golden(&mut scorer, &self.path, &self.manifest)?;
        Ok(scorer)
    }

    /// Largest difference between what it said of its golden rows at load and what its manifest says.
    pub fn golden_worst(&self) -> f32 {
        self.golden_worst
    }

    /// What was checked.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the manifest lies.
    pub fn manifest_path(&self) -> &Path {
        &self.manifest_path
    }

    /// From where on rows are reported.
    pub fn thresholds(&self) -> Thresholds {
        self.manifest.thresholds()
    }

    /// Service time by rows, measured at load on this machine.
    pub fn cost(&self) -> &CostCurve {
        &self.cost
    }

    /// A session that tells why rows have their scores; some 3 ms, as for a queue.
    ///
    /// # Errors
    /// As [`Model::scorer`].
    pub fn explainer(&self) -> Result<Explainer, ModelError> {
        let usual = self.manifest.features.iter().map(|feature| feature.median).collect();
        let explainer = Explainer::new(Box::new(self.scorer()?), self.schema, self.manifest.families(), usual);
        Ok(explainer.by_kind(self.manifest.usual_by_kind()))
    }
}

/// Scores the golden rows one by one and all together: both ways are used when running. The largest difference.
fn check_golden(scorer: &mut OrtScorer, path: &Path, manifest: &Manifest) -> Result<f32, ModelError> {
    let mut worst = 0.0_f32;
    let (rows, width) = (manifest.golden_rows(), manifest.features.len());
    let families = manifest.families();
    let mut scores = Scores::new();
    for size in [1, BATCH_MAX] {
        for (chunk, rows) in rows.chunks(size * width).enumerate() {
            scorer
                .score(rows, &mut scores)
                .map_err(|error| ModelError::Session { path: path.to_owned(), cause: error.to_string() })?;
            for (place, golden) in manifest.golden.iter().skip(chunk * size).take(scores.rows()).enumerate() {
                let ranks = golden.anomaly.map(|expected| (Family::Unusual, expected, scores.anomaly(place)));
                let said = families.iter().zip(&golden.probabilities).zip(scores.probabilities(place));
                let said = said.map(|((family, expected), found)| (*family, *expected, *found)).chain(ranks);
                for (family, expected, found) in said {
                    worst = worst.max((expected - found).abs());
                    if (expected - found).abs() > GOLDEN_TOLERANCE {
                        let (row, what) = (chunk * size + place, family.name());
                        return Err(ModelError::Golden { path: path.to_owned(), row, what, expected, found });
                    }
                }
            }
        }
    }
    Ok(worst)
}

fn read_bounded(what: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let fail = |cause| ModelError::Read { what, path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    // One byte more than allowed is enough to see that there are too many.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        let cause = std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes"));
        return Err(fail(cause));
    }
    Ok(bytes)
}

fn default_manifest() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    if let Ok(executable) = std::env::current_exe() {
        folders.extend(executable.ancestors().skip(1).take(4).map(Path::to_owned));
    }
    let relative = Path::new("models").join(DEFAULT_MANIFEST);
    folders.iter().map(|folder| folder.join(&relative)).find(|path| path.is_file()).unwrap_or(relative)
}
