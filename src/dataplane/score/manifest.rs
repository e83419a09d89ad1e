//! The manifest beside every model: what the file must hash to, which rows it was made for, and how to see that it
//! works.
//!
//! A manifest is untrusted until [`Manifest::parse`] has accepted it; that is a pure function of the bytes and is
//! fuzzed.

use super::family::{FLOWS_MAX, Family, Limit, Thresholds};
use crate::dataplane::features::Schema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the manifest's own layout.
pub const FORMAT: u32 = 2;
/// Fewest golden rows: enough that a model with one wrong layer cannot agree on all of them by chance.
pub const GOLDEN_MIN: usize = 16;
/// Most golden rows; more only make the start slower.
pub const GOLDEN_MAX: usize = 1024;
/// How far a probability may be from the golden one: float noise between kernels is below 1e-6, a wrong weight far above.
pub const GOLDEN_TOLERANCE: f32 = 1e-5;
/// Edges of deciles: of nine, ten equal parts.
pub const EDGES: usize = 9;
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

/// A row with what Python's ONNX Runtime says of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    /// Features in schema order.
    pub row: Vec<f32>,
    /// Expected probabilities, in the order of the families.
    pub probabilities: Vec<f32>,
    /// Expected rank, where the model tells what is unusual.
    #[serde(default)]
    pub anomaly: Option<f32>,
}

/// Names of the graph's outputs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// `[batch, families]` of f32: calibrated probabilities.
    pub probabilities: String,
    /// `[batch, 1]` of f32: the share of honest rows that are less unusual.
    #[serde(default)]
    pub anomaly: Option<String>,
}

/// A manifest that has been checked against a schema of this program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `FORMAT`.
    pub format: u32,
    /// Name of the model in status and alerts.
    pub name: String,
    /// The file it speaks of.
    pub model: ModelFile,
    /// Name of the schema of its rows.
    pub schema: String,
    /// That schema's version.
    pub schema_version: u32,
    /// The features in the order of the row.
    pub features: Vec<FeatureStatistics>,
    /// Name of the graph's input, `[batch, features]` of f32.
    pub input: String,
    /// Names of its outputs.
    pub outputs: Outputs,
    /// What it tells apart, `benign` first.
    pub families: Vec<String>,
    /// From which probability on a row is reported as a family, between 0 and 1.
    pub thresholds: BTreeMap<String, f32>,
    /// From which rank on it is reported as unusual, where it is of no family.
    #[serde(default)]
    pub anomaly_threshold: Option<f32>,
    /// How many flows of one source must reach it before that is told, 1 to 16, by family, and of what is `unusual`. What is not in
    /// it takes as many as `detect.model.flows` says; a model of windows needs none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flows: BTreeMap<String, u8>,
    /// Medians over the benign training rows of one kind, in row order, by the feature that is 1 in rows of that kind (`tcp`, `udp`,
    /// `icmp`): what is usual for a datagram is not what is usual for a connection. A row of none of them is held against
    /// [`FeatureStatistics::median`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Vec<f32>>,
    /// Of each feature the edges of its deciles over honest rows that it did not learn from: what traffic here is compared with.
    pub drift: BTreeMap<String, Vec<f32>>,
    /// The same of the attack score.
    pub scores: Vec<f32>,
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
        "feature schema {found}, this program makes rows of schema {expected}; use the model that came with this \
         version, or train again with models/train.sh"
    )]
    Schema {
        /// Name and version in the manifest.
        found: String,
        /// What it is to be.
        expected: String,
    },
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
    /// Reads a manifest and checks it for rows of `schema`. Pure; never panics whatever the bytes are.
    ///
    /// # Errors
    /// The first thing that is wrong, with what to do about it.
    pub fn parse(bytes: &[u8], schema: &Schema) -> Result<Manifest, ManifestError> {
        /// What tells another layout, whatever else is in it.
        #[derive(Deserialize)]
        struct Layout {
            format: u32,
        }
        if let Ok(Layout { format }) = serde_json::from_slice(bytes)
            && format != FORMAT
        {
            return Err(ManifestError::Format(format));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.check(schema)?;
        Ok(manifest)
    }

    /// The golden rows, one behind the other.
    pub fn golden_rows(&self) -> Vec<f32> {
        self.golden.iter().flat_map(|golden| &golden.row).copied().collect()
    }

    /// Its families, in the order of its outputs.
    pub fn families(&self) -> Vec<Family> {
        self.families.iter().filter_map(|name| Family::named(name)).collect()
    }

    /// From where on rows are reported.
    pub fn thresholds(&self) -> Thresholds {
        let limit = |family: Family, least: Option<f32>| {
            let flows = self.flows.get(family.name()).copied().unwrap_or(0);
            least.map(|least| Limit { least, flows })
        };
        let of = |family: Family| limit(family, self.thresholds.get(family.name()).copied()).unwrap_or(Limit::NEVER);
        let families: Vec<_> = self.families().into_iter().map(|family| (family, of(family))).collect();
        let unusual = self.anomaly_threshold.filter(|_| self.outputs.anomaly.is_some());
        Thresholds::new(&families, limit(Family::Unusual, unusual))
    }

    fn check(&self, schema: &Schema) -> Result<(), ManifestError> {
        if (self.schema.as_str(), self.schema_version) != (schema.name, schema.version) {
            return Err(ManifestError::Schema {
                found: format!("{} {}", self.schema.chars().take(64).collect::<String>(), self.schema_version),
                expected: format!("{} {}", schema.name, schema.version),
            });
        }
        self.check_features(schema)?;
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
        let names = [
            ("name", Some(&self.name)),
            ("input", Some(&self.input)),
            ("outputs.probabilities", Some(&self.outputs.probabilities)),
            ("outputs.anomaly", self.outputs.anomaly.as_ref()),
        ];
        for (what, name) in names.into_iter().filter_map(|(what, name)| Some((what, name?))) {
            require(
                (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()),
                format_args!("`{what}` must be 1 to 64 printable ASCII characters"),
            )?;
        }
        self.check_families()?;
        self.check_edges(schema)?;
        self.check_kinds(schema)?;
        self.check_golden(schema.width())
    }

    fn check_families(&self) -> Result<(), ManifestError> {
        let families = self.families();
        let in_order = families.windows(2).all(|pair| pair[0] < pair[1]);
        require(
            families.len() == self.families.len() && families.len() >= 2 && in_order && families[0] == Family::Benign,
            "`families` must hold `benign`, then families of models/lab/README.md in their order",
        )?;
        let attacks = families.iter().skip(1).map(|family| family.name());
        require(
            self.thresholds.len() + 1 == families.len()
                && attacks.clone().all(|name| self.thresholds.contains_key(name)),
            "`thresholds` must hold every family but `benign`",
        )?;
        let told = |name: &String| name == Family::Unusual.name() || self.thresholds.contains_key(name);
        require(
            self.flows.iter().all(|(name, flows)| told(name) && (1..=FLOWS_MAX).contains(flows)),
            format_args!("`flows` must hold 1 to {FLOWS_MAX} of families that have a threshold, or of `unusual`"),
        )?;
        let all = self.thresholds.values().chain(&self.anomaly_threshold);
        require(
            all.clone().all(|threshold| *threshold > 0.0 && *threshold <= 1.0),
            "`thresholds` and `anomaly_threshold` must lie above 0 and not above 1",
        )
    }

    /// Medians by kind of row, each with the place of the feature that tells the kind.
    pub fn usual_by_kind(&self) -> Vec<(usize, Vec<f32>)> {
        let place = |name: &String| self.features.iter().position(|feature| feature.name == *name);
        self.kinds.iter().filter_map(|(name, medians)| Some((place(name)?, medians.clone()))).collect()
    }

    fn check_kinds(&self, schema: &Schema) -> Result<(), ManifestError> {
        let known = |name: &String| schema.features.iter().any(|feature| feature.name == *name);
        let fits =
            |medians: &Vec<f32>| medians.len() == schema.width() && medians.iter().all(|value| value.is_finite());
        require(
            self.kinds.iter().all(|(name, medians)| known(name) && fits(medians)),
            "`kinds` must hold a finite median for each feature, by the name of a feature",
        )
    }

    fn check_edges(&self, schema: &Schema) -> Result<(), ManifestError> {
        let rise = |edges: &Vec<f32>| {
            edges.len() == EDGES
                && edges.iter().all(|edge| edge.is_finite())
                && edges.windows(2).all(|pair| pair[0] <= pair[1])
        };
        let known = schema.features.iter().all(|feature| self.drift.get(feature.name).is_some_and(rise));
        require(
            known && self.drift.len() == schema.width() && rise(&self.scores),
            format_args!("`drift` must hold {EDGES} rising edges of each feature, and `scores` as many"),
        )
    }

    fn check_features(&self, schema: &Schema) -> Result<(), ManifestError> {
        for index in 0..self.features.len().max(schema.width()) {
            let expected = schema.features.get(index).map_or("", |feature| feature.name);
            let found = self.features.get(index).map_or("", |feature| feature.name.as_str());
            if expected != found || index >= self.features.len() || index >= schema.width() {
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

    fn check_golden(&self, width: usize) -> Result<(), ManifestError> {
        require(
            (GOLDEN_MIN..=GOLDEN_MAX).contains(&self.golden.len()),
            format_args!("`golden` must hold {GOLDEN_MIN} to {GOLDEN_MAX} rows, it holds {}", self.golden.len()),
        )?;
        for (index, golden) in self.golden.iter().enumerate() {
            require(
                golden.row.len() == width && golden.row.iter().all(|value| value.is_finite()),
                format_args!("golden row {index} must hold {width} finite values"),
            )?;
            let said = golden.probabilities.iter().chain(&golden.anomaly);
            require(
                golden.probabilities.len() == self.families.len()
                    && golden.anomaly.is_some() == self.outputs.anomaly.is_some()
                    && said.clone().all(|value| (0.0..=1.0).contains(value)),
                format_args!("golden row {index} must hold a probability of each family, and what the outputs name"),
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
    use crate::dataplane::features::FLOW;
    use serde_json::{Value, json};

    fn changed(change: impl FnOnce(&mut Value)) -> ManifestError {
        let mut value = serde_json::to_value(fixture::manifest()).unwrap();
        change(&mut value);
        Manifest::parse(value.to_string().as_bytes(), &FLOW).expect_err("the change must be noticed")
    }

    #[test]
    fn the_fixture_is_accepted_and_survives_a_round_trip() {
        let manifest = fixture::manifest();
        let text = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&text, &FLOW).unwrap(), manifest);
        assert_eq!(manifest.golden_rows().len(), manifest.golden.len() * FLOW.width());
        assert_eq!(manifest.families().len(), manifest.families.len());
    }

    #[test]
    fn every_wrong_value_is_refused_with_a_remedy() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 36] = [
            ("format 1", |v| v["format"] = json!(1)),
            ("feature schema flow 4000000", |v| v["schema_version"] = json!(4_000_000)),
            ("feature schema log 2", |v| v["schema"] = json!("log")),
            ("`families` must", |v| v["families"] = json!(["benign"])),
            ("`families` must", |v| v["families"][1] = json!("gossip")),
            ("`families` must", |v| v["families"][0] = json!("mining")),
            ("`families` must", |v| v["families"].as_array_mut().unwrap().swap(1, 2)),
            ("`drift` must", |v| drop(v["drift"].as_object_mut().unwrap().remove("duration"))),
            ("`drift` must", |v| v["drift"]["duration"][3] = json!(-1.0)),
            ("`drift` must", |v| drop(v["scores"].as_array_mut().unwrap().pop())),
            ("golden row 2", |v| v["golden"][2]["anomaly"] = json!(null)),
            ("feature 3 is `other`", |v| v["features"][3]["name"] = json!("other")),
            ("feature 63 is ``", |v| drop(v["features"].as_array_mut().unwrap().pop())),
            ("feature 64 is `x`", |v| {
                v["features"].as_array_mut().unwrap().push(json!({"name": "x", "median": 0, "deviation": 1}));
            }),
            ("deviation above 0", |v| v["features"][0]["deviation"] = json!(0.0)),
            ("model.sha256", |v| v["model"]["sha256"] = json!("AB")),
            ("model.file", |v| v["model"]["file"] = json!("../../etc/passwd")),
            ("model.file", |v| v["model"]["file"] = json!(".hidden")),
            ("model.bytes", |v| v["model"]["bytes"] = json!(0)),
            ("`input`", |v| v["input"] = json!("")),
            ("`outputs.probabilities`", |v| v["outputs"]["probabilities"] = json!("a b")),
            ("threshold", |v| v["thresholds"]["scan"] = json!(0.0)),
            ("threshold", |v| v["anomaly_threshold"] = json!(1.1)),
            ("threshold", |v| drop(v["thresholds"].as_object_mut().unwrap().remove("scan"))),
            ("`flows` must", |v| v["flows"] = json!({"scan": 0})),
            ("`flows` must", |v| v["flows"] = json!({"scan": 17})),
            ("`flows` must", |v| v["flows"] = json!({"benign": 3})),
            ("`flows` must", |v| v["flows"] = json!({"mining": 3})),
            ("`kinds` must", |v| v["kinds"] = json!({"gossip": vec![0.0; FLOW.width()]})),
            ("`kinds` must", |v| v["kinds"] = json!({"tcp": [0.0]})),
            ("`kinds` must", |v| v["kinds"] = json!({"udp": vec![f64::from(f32::MAX) * 2.0; FLOW.width()]})),
            ("must hold 16 to", |v| v["golden"].as_array_mut().unwrap().truncate(15)),
            ("golden row 0", |v| drop(v["golden"][0]["row"].as_array_mut().unwrap().pop())),
            ("golden row 1", |v| v["golden"][1]["probabilities"][0] = json!(1.5)),
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
    fn a_family_takes_as_many_flows_as_the_manifest_says() {
        let needed = |manifest: &Manifest, probabilities: [f32; 3], anomaly: f32| {
            let mut scores = super::super::Scores::new();
            let (to, ranks) = scores.make(1, 3).unwrap();
            to.copy_from_slice(&probabilities);
            ranks[0] = anomaly;
            let verdict = manifest.thresholds().judge(&scores, 0);
            (verdict.family, verdict.needed)
        };
        let mut manifest = fixture::manifest();
        assert_eq!(needed(&manifest, [0.0, 1.0, 0.0], 0.0), (Family::Scan, 0), "it does not say");
        manifest.flows = BTreeMap::from([("flood".to_owned(), 1), ("unusual".to_owned(), 8)]);
        assert_eq!(needed(&manifest, [0.0, 1.0, 0.0], 0.0), (Family::Scan, 0));
        assert_eq!(needed(&manifest, [0.0, 0.0, 1.0], 0.0), (Family::Flood, 1));
        assert_eq!(needed(&manifest, [1.0, 0.0, 0.0], 1.0), (Family::Unusual, 8));
        assert_eq!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap(), &FLOW).unwrap(), manifest);
    }

    #[test]
    fn numbers_outside_f32_are_refused() {
        let text = serde_json::to_string(&fixture::manifest()).unwrap();
        let first = text.find("\"median\":").unwrap();
        let end = first + text[first..].find(',').unwrap();
        let huge = format!("{}\"median\":1e60{}", &text[..first], &text[end..]);
        let texts: [&[u8]; 4] = [huge.as_bytes(), b"", &[0xff; 64], &[b'['; 100_000]];
        assert!(texts.into_iter().all(|text| Manifest::parse(text, &FLOW).is_err()));
    }
}
