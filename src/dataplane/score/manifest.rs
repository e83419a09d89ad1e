//! The manifest beside every model: what the file must hash to, which rows it was made for, and how to see that it
//! works.
//!
//! A manifest is untrusted until [`Manifest::parse`] has accepted it; that is a pure function of the bytes and is
//! fuzzed.

use crate::dataplane::features::{COUNT, FEATURES, FeatureRow, SCHEMA_VERSION};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the manifest's own layout.
pub const FORMAT: u32 = 1;
/// Fewest golden rows: enough that a model with one wrong layer cannot agree on all of them by chance.
pub const GOLDEN_MIN: usize = 16;
/// Most golden rows; more only make the start slower.
pub const GOLDEN_MAX: usize = 1024;
/// How far a score may be from the golden one: float noise between kernels is below 1e-6, a wrong weight far above.
pub const GOLDEN_TOLERANCE: f32 = 1e-5;
/// Largest manifest read, bytes.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Largest model file read, bytes; a network that fits the worker's budget is some kilobytes.
pub const MODEL_BYTES_MAX: u64 = 64 << 20;

/// What is known of one feature from the training data; explanations say how far from usual a value was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureStatistics {
    /// Name in the schema.
    pub name: String,
    /// Median over the benign training rows, in the feature's unit.
    pub median: f32,
    /// Standard deviation over all training rows, above 0.
    pub deviation: f32,
}

/// The model file that the manifest speaks of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Plain name, in the manifest's own folder.
    pub file: String,
    /// Lower-case hexadecimal sha256.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

/// Where the model comes from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// What the data are, in a sentence or two.
    pub data: String,
    /// Recordings learnt from.
    pub recordings: u32,
    /// Rows learnt from.
    pub rows: u64,
    /// Seed of everything random in the training.
    pub seed: u64,
    /// How the threshold was chosen.
    pub threshold_rule: String,
}

/// A row with the score that Python's ONNX Runtime gives it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    /// Features in schema order.
    pub row: Vec<f32>,
    /// Expected score.
    pub score: f32,
}

/// A manifest that has been checked against this program's schema.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `FORMAT`.
    pub format: u32,
    /// Name of the model in status and alerts.
    pub name: String,
    /// The file it speaks of.
    pub model: ModelFile,
    /// [`SCHEMA_VERSION`] of the rows it was trained on.
    pub schema_version: u32,
    /// The features in the order of the row.
    pub features: Vec<FeatureStatistics>,
    /// Name of the graph's input, `[batch, COUNT]` of f32.
    pub input: String,
    /// Name of the graph's output, `[batch, 1]` of f32.
    pub output: String,
    /// Scores from here on are reported, between 0 and 1.
    pub threshold: f32,
    /// Provenance.
    pub training: Training,
    /// Figures of the model card (`validation_recall`, ...).
    pub metrics: BTreeMap<String, f64>,
    /// Rows that are scored at every load.
    pub golden: Vec<GoldenRow>,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of this shape.
    #[error("{0}; it is written by models/train.py, restore it or train again")]
    Syntax(#[from] serde_json::Error),
    /// Another layout.
    #[error("format {0}, this program reads {FORMAT}; use the model that came with this version or train again")]
    Format(u32),
    /// Made for other rows.
    #[error(
        "feature schema {0}, this program makes rows of schema {SCHEMA_VERSION}; use the model that came with this \
         version, or train again with models/train.sh"
    )]
    Schema(u32),
    /// Same version, yet other names: somebody changed the schema without raising its version.
    #[error(
        "feature {index} is `{found}`, this program's is `{expected}`; train again with models/train.sh (and raise the \
         schema version)"
    )]
    Feature {
        /// Place in the row.
        index: usize,
        /// Name in this program, empty if the manifest has too many.
        expected: &'static str,
        /// Name in the manifest, empty if it has too few.
        found: String,
    },
    /// A value that cannot be.
    #[error("{what}; restore the manifest or train again with models/train.sh")]
    Value {
        /// Which value, and what it must be.
        what: String,
    },
}

impl Manifest {
    /// Reads and checks a manifest. Pure; never panics whatever the bytes are.
    ///
    /// # Errors
    /// The first thing that is wrong, with what to do about it.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The golden rows as rows.
    pub fn golden_rows(&self) -> Vec<FeatureRow> {
        self.golden.iter().filter_map(|golden| FeatureRow::try_from(golden.row.as_slice()).ok()).collect()
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format));
        }
        if self.schema_version != SCHEMA_VERSION {
            return Err(ManifestError::Schema(self.schema_version));
        }
        self.check_features()?;
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        require(
            self.model.sha256.len() == 64 && self.model.sha256.bytes().all(hexadecimal),
            "`model.sha256` must be 64 lower-case hexadecimal digits",
        )?;
        require(plain_name(&self.model.file), "`model.file` must be a plain file name beside the manifest")?;
        require(
            (1..=MODEL_BYTES_MAX).contains(&self.model.bytes),
            format_args!("`model.bytes` must be 1 to {MODEL_BYTES_MAX}"),
        )?;
        for (what, name) in [("name", &self.name), ("input", &self.input), ("output", &self.output)] {
            require(
                (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()),
                format_args!("`{what}` must be 1 to 64 printable ASCII characters"),
            )?;
        }
        require(self.threshold > 0.0 && self.threshold < 1.0, "`threshold` must lie between 0 and 1")?;
        self.check_golden()
    }

    fn check_features(&self) -> Result<(), ManifestError> {
        for index in 0..self.features.len().max(COUNT) {
            let expected = FEATURES.get(index).map_or("", |feature| feature.name);
            let found = self.features.get(index).map_or("", |feature| feature.name.as_str());
            if expected != found || index >= self.features.len() || index >= COUNT {
                return Err(ManifestError::Feature { index, expected, found: found.chars().take(64).collect() });
            }
        }
        for feature in &self.features {
            require(
                feature.median.is_finite() && feature.deviation.is_finite() && feature.deviation > 0.0,
                format_args!("feature `{}`: the median must be finite and the deviation above 0", feature.name),
            )?;
        }
        Ok(())
    }

    fn check_golden(&self) -> Result<(), ManifestError> {
        require(
            (GOLDEN_MIN..=GOLDEN_MAX).contains(&self.golden.len()),
            format_args!("`golden` must hold {GOLDEN_MIN} to {GOLDEN_MAX} rows, it holds {}", self.golden.len()),
        )?;
        for (index, golden) in self.golden.iter().enumerate() {
            require(
                golden.row.len() == COUNT && golden.row.iter().all(|value| value.is_finite()),
                format_args!("golden row {index} must hold {COUNT} finite values"),
            )?;
            require(
                (0.0..=1.0).contains(&golden.score),
                format_args!("the score of golden row {index} must lie between 0 and 1"),
            )?;
        }
        Ok(())
    }
}

fn plain_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

fn require(holds: bool, what: impl std::fmt::Display) -> Result<(), ManifestError> {
    if holds { Ok(()) } else { Err(ManifestError::Value { what: what.to_string() }) }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use serde_json::{Value, json};

    fn changed(change: impl FnOnce(&mut Value)) -> ManifestError {
        let mut value = serde_json::to_value(fixture::manifest()).unwrap();
        change(&mut value);
        Manifest::parse(value.to_string().as_bytes()).expect_err("the change must be noticed")
    }

    #[test]
    fn the_fixture_is_accepted_and_survives_a_round_trip() {
        let manifest = fixture::manifest();
        let text = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        assert_eq!(manifest.golden_rows().len(), manifest.golden.len());
    }

    #[test]
    fn every_wrong_value_is_refused_with_a_remedy() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 19] = [
            ("format 2", |v| v["format"] = json!(2)),
            ("feature schema 4000000", |v| v["schema_version"] = json!(4_000_000)),
            ("feature 3 is `other`", |v| v["features"][3]["name"] = json!("other")),
            ("feature 31 is ``", |v| drop(v["features"].as_array_mut().unwrap().pop())),
            ("feature 32 is `x`", |v| {
                v["features"].as_array_mut().unwrap().push(json!({"name": "x", "median": 0, "deviation": 1}));
            }),
            ("deviation above 0", |v| v["features"][0]["deviation"] = json!(0.0)),
            ("model.sha256", |v| v["model"]["sha256"] = json!("AB")),
            ("model.file", |v| v["model"]["file"] = json!("../../etc/passwd")),
            ("model.file", |v| v["model"]["file"] = json!(".hidden")),
            ("model.bytes", |v| v["model"]["bytes"] = json!(0)),
            ("`input`", |v| v["input"] = json!("")),
            ("`output`", |v| v["output"] = json!("a b")),
            ("threshold", |v| v["threshold"] = json!(1.0)),
            ("threshold", |v| v["threshold"] = json!(-0.1)),
            ("must hold 16 to", |v| v["golden"].as_array_mut().unwrap().truncate(15)),
            ("golden row 0", |v| drop(v["golden"][0]["row"].as_array_mut().unwrap().pop())),
            ("golden row 1", |v| v["golden"][1]["score"] = json!(1.5)),
            ("unknown field `surprise`", |v| v["surprise"] = json!(1)),
            ("missing field `training`", |v| drop(v.as_object_mut().unwrap().remove("training"))),
        ];
        for (expected, change) in cases {
            let message = changed(change).to_string();
            assert!(message.contains(expected), "{expected}: {message}");
            assert!(message.contains("train"), "no remedy in: {message}");
        }
    }

    #[test]
    fn numbers_outside_f32_are_refused() {
        let text = serde_json::to_string(&fixture::manifest()).unwrap();
        let first = text.find("\"median\":").unwrap();
        let end = first + text[first..].find(',').unwrap();
        let huge = format!("{}\"median\":1e60{}", &text[..first], &text[end..]);
        assert!(Manifest::parse(huge.as_bytes()).is_err());
        assert!(Manifest::parse(b"").is_err());
        assert!(Manifest::parse(&[0xff; 64]).is_err());
        assert!(Manifest::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
