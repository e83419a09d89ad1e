//! What `/v1/models` shows, and what an order to a model came to.

use super::ModelStatus;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a model is to be, or is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// It scores, and what it reports becomes alerts.
    Active,
    /// It scores some of the same rows and is compared; it makes no alert.
    Shadow,
    /// It has passed its checks and does nothing.
    Loaded,
    /// It has not passed them: `error` says which.
    Failed,
    /// Its turn to be checked has not come yet.
    Waiting,
    /// Rows of its schema are not made here.
    Unused,
}

impl ModelState {
    /// Name in JSON and on the terminal.
    pub const fn name(self) -> &'static str {
        match self {
            ModelState::Active => "active",
            ModelState::Shadow => "shadow",
            ModelState::Loaded => "loaded",
            ModelState::Failed => "failed",
            ModelState::Waiting => "waiting",
            ModelState::Unused => "unused",
        }
    }
}

/// `GET /v1/models`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ModelsView {
    /// Those in use first, then by name.
    pub items: Vec<ModelView>,
    /// Where models are looked for.
    pub directory: String,
    /// Manifests there beyond those that are looked at.
    pub overlooked: u64,
    /// What a rollback would make active; absent: there is nothing to go back to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rollback: Option<Rollback>,
    /// Why there are none; absent where models are used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// What a rollback would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rollback {
    /// Whose model: name of the schema.
    pub rows: String,
    /// It would be active; `None`: none would.
    pub name: Option<String>,
}

/// A model: one manifest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelView {
    /// Its name.
    pub name: String,
    /// What its rows are: name of the schema (`flow`, `host_minute`, `pair_hour`).
    pub rows: String,
    /// Version of that schema.
    pub schema_version: u32,
    /// Version of the manifest's layout.
    pub format: u32,
    /// The manifest.
    pub file: String,
    /// SHA-256 of the ONNX file, hex.
    pub sha256: String,
    /// What it does.
    pub state: ModelState,
    /// Why it cannot be used, and the remedy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// The file is another one than what runs: activate it again to have that.
    #[serde(default)]
    pub changed: bool,
    /// When it passed its checks.
    #[serde(with = "moment", skip_serializing_if = "Option::is_none", default)]
    pub loaded: Option<Timestamp>,
    /// Largest difference between what it said of its golden rows and what its manifest says; 0.00001 is allowed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub golden_worst: Option<f32>,
    /// What it tells apart.
    pub families: Vec<String>,
    /// Probability from which a row is reported, by family; `unusual`: the rank.
    pub thresholds: BTreeMap<String, f64>,
    /// Calibrated service time by microbatch size: (rows, nanoseconds).
    pub cost_ns: Vec<(u32, u64)>,
    /// Rows that it scored while it was active, since the start of the program.
    pub scored: u64,
    /// What a row took then, microseconds; of flows only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub us_per_row: Option<f64>,
    /// Of an active model of flows: queues that score with it, of all that are served.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queues: Option<QueuesTaken>,
    /// Of a shadow: against the active model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comparison: Option<Comparison>,
    /// Of an active model: is the traffic still what it knows?
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drift: Option<Drift>,
}

impl ModelView {
    /// As `/v1/status` shows the active one.
    pub fn status(&self) -> ModelStatus {
        let thresholds = self.thresholds.iter().filter(|(family, _)| *family != "unusual");
        ModelStatus {
            name: self.name.clone(),
            version: self.format.to_string(),
            sha256: self.sha256.clone(),
            schema_version: self.schema_version,
            thresholds: thresholds.map(|(family, threshold)| (family.clone(), *threshold)).collect(),
            active: true,
            reason: None,
            cost_ns: self.cost_ns.clone(),
        }
    }
}

/// Queues that have taken a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct QueuesTaken {
    /// Those that have.
    pub taken: usize,
    /// Those that are there.
    pub of: usize,
}

/// A shadow beside the active model, over rows that both have scored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the active model.
    pub with: String,
    /// Since when.
    #[serde(with = "crate::units::rfc3339")]
    pub since: Timestamp,
    /// Rows compared.
    pub rows: u64,
    /// Rows that the active model scored meanwhile: the others were not compared.
    pub of: u64,
    /// Of those compared: both said the same, nothing or the same family.
    pub agree: u64,
    /// What either reported, by family.
    pub families: BTreeMap<String, Told>,
    /// Mean difference of the attack score.
    pub score_difference_mean: f64,
    /// Largest difference of it.
    pub score_difference_largest: f64,
    /// Rows that the shadow's calls failed for.
    pub failed: u64,
}

/// Rows that were reported as one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// By both models.
    pub both: u64,
    /// By the active one alone.
    pub only_active: u64,
    /// By the shadow alone.
    pub only_shadow: u64,
}

/// How far the traffic is from what a model learnt, and from what it was here at first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drift {
    /// Rows of the latest day that were looked at.
    pub rows: u64,
    /// Rows of the first day, which the latest is held against.
    pub first_rows: u64,
    /// When the first day was, or will be, over.
    #[serde(with = "moment", skip_serializing_if = "Option::is_none", default)]
    pub first_until: Option<Timestamp>,
    /// Features by the larger of both indices, largest first, and `score`, the model's.
    pub shifts: Vec<Shift>,
    /// Mean attack score of the rows of the latest minute that had any.
    pub score_mean: Option<f64>,
    /// When the mean score was last found to have changed.
    #[serde(with = "moment", skip_serializing_if = "Option::is_none", default)]
    pub score_changed: Option<Timestamp>,
}

/// Population stability index of one feature: below 0.1 nothing, from 0.25 on a shift.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shift {
    /// Its name; `score` is the model's.
    pub name: String,
    /// Of the latest day against the training data; `None`: too few rows.
    pub from_training: Option<f64>,
    /// Of the latest day against the first; `None`: too few rows, or the first is not over.
    pub from_first: Option<f64>,
}

/// What an order to a model came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModelChange {
    /// Whose model: name of the schema.
    pub rows: String,
    /// Active now.
    pub active: Option<String>,
    /// Shadow now.
    pub shadow: Option<String>,
    /// Active before.
    pub was_active: Option<String>,
    /// Anything is other than before.
    pub changed: bool,
    /// Of flows: queues that score with it already. Those that have not taken it yet do so as soon as they come round.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queues: Option<QueuesTaken>,
}

/// A moment that may not have come, as RFC 3339.
mod moment {
    use crate::units::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option)] // as serde calls it
    pub fn serialize<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match moment {
            Some(moment) => crate::units::rfc3339::serialize(moment, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        #[derive(Deserialize)]
        struct Moment(#[serde(with = "crate::units::rfc3339")] Timestamp);
        Ok(Option::<Moment>::deserialize(deserializer)?.map(|Moment(moment)| moment))
    }
}
