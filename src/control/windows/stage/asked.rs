//! Models from files as judges of windows' rows.

use super::{Judge, Judges, Verdict};
use crate::control::windows::schema::{HOST_MINUTE, PAIR_HOUR};
use crate::dataplane::features::Schema;
use crate::dataplane::score::{
    Explainer, Family, Model, ModelError, OrtScorer, Reason, ScoreError, Scorer, Scores, Settings, Thresholds,
};
use std::path::{Path, PathBuf};

/// Manifest of the model of hosts' minutes that lies beside the flows' one.
pub const HOST_MANIFEST: &str = "host-v1.json";
/// The same of pairs' hours.
pub const PAIR_MANIFEST: &str = "pair-v1.json";

/// Which models.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Manifest of the model of hosts' minutes; without one [`HOST_MANIFEST`] beside the flows' model, if it is there.
    pub hosts: Option<PathBuf>,
    /// The same of pairs' hours.
    pub pairs: Option<PathBuf>,
    /// ONNX Runtime library.
    pub runtime: Option<PathBuf>,
}

/// The models of windows that there are, checked as the flows' one is.
pub struct Models {
    hosts: Option<Model>,
    pairs: Option<Model>,
}

impl Models {
    /// Loads those that are named, and those beside `flows`, the manifest of the flows' model.
    ///
    /// # Errors
    /// The first model that cannot be used; one that is neither named nor there is none.
    pub fn load(files: &Files, flows: &Path) -> Result<Models, ModelError> {
        let load = |schema: &'static Schema, named: &Option<PathBuf>, usual: &str| {
            let beside = Some(flows.with_file_name(usual)).filter(|path| path.is_file());
            let Some(manifest) = named.clone().or(beside) else { return Ok(None) };
            let settings = Settings { manifest: Some(manifest), runtime: files.runtime.clone() };
            Model::load_for(schema, &settings).map(Some)
        };
        Ok(Models {
            hosts: load(&HOST_MINUTE, &files.hosts, HOST_MANIFEST)?,
            pairs: load(&PAIR_HOUR, &files.pairs, PAIR_MANIFEST)?,
        })
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = &Model> {
        self.hosts.iter().chain(&self.pairs)
    }

    /// Sessions of their own for one stage.
    ///
    /// # Errors
    /// As for memory.
    pub fn judges(&self) -> Result<Judges, ModelError> {
        let judge = |model: &Option<Model>| model.as_ref().map(judge).transpose();
        Ok(Judges { hosts: judge(&self.hosts)?, pairs: judge(&self.pairs)? })
    }

    /// That of hosts and that of pairs.
    pub fn split(self) -> (Option<Model>, Option<Model>) {
        (self.hosts, self.pairs)
    }
}

/// A model as a judge, with sessions of its own.
///
/// # Errors
/// As for memory.
pub fn judge(model: &Model) -> Result<Box<dyn Judge>, ModelError> {
    Ok(Box::new(Asked {
        scorer: model.scorer()?,
        scores: Scores::new(),
        thresholds: model.thresholds(),
        explainer: model.explainer()?,
        name: model.manifest().name.clone(),
        version: model.manifest().format.to_string(),
    }))
}

/// A session, and one for reasons.
struct Asked {
    scorer: OrtScorer,
    scores: Scores,
    thresholds: Thresholds,
    explainer: Explainer,
    name: String,
    version: String,
}

impl Judge for Asked {
    fn judge(&mut self, rows: &[f32], told: &mut dyn FnMut(usize, Verdict)) -> Result<(), ScoreError> {
        self.scorer.score(rows, &mut self.scores)?;
        for place in 0..self.scores.rows() {
            let verdict = self.thresholds.judge(&self.scores, place);
            if verdict.is_reported() {
                told(place, verdict);
            }
        }
        Ok(())
    }

    fn model(&self) -> (&str, &str) {
        (&self.name, &self.version)
    }

    fn reasons(&mut self, row: &[f32], family: Family, limit: usize) -> Result<Vec<Reason>, ScoreError> {
        self.explainer.reasons(row, family, limit)
    }
}
