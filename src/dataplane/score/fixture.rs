//! For tests: a small ONNX network with known weights, written by hand as protobuf, and a manifest for it.
//!
//! So the tests need no binary in the repository, follow the schema's width by themselves and can make broken models.

use super::manifest::{EDGES, FORMAT, FeatureStatistics, GoldenRow, Manifest, ModelFile, Outputs, Training};
use super::runtime::hexadecimal;
use super::{Family, Model, ModelError, Settings};
use crate::dataplane::features::{COUNT, FEATURES, FLOW, FeatureRow};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Hidden units.
const HIDDEN: usize = 24;
/// What it tells apart.
pub const TOLD: [Family; 3] = [Family::Benign, Family::Scan, Family::Flood];

/// How the graph departs from a good one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    None,
    /// Rows of another width.
    Width,
    /// The input has another name.
    InputName,
    /// The output has another name.
    OutputName,
    /// The batch is fixed at 4.
    FixedBatch,
    /// A weight is NaN.
    Nan,
    /// No softmax at the end, so probabilities leave 0..=1.
    Unbounded,
    /// An operator that no runtime has.
    UnknownOperator,
}

/// Deterministic weights of both signs, about 1/sqrt(width) in size.
fn weight(index: usize) -> f32 {
    let hash = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (hash as f32 / (1 << 24) as f32 - 0.5) * 0.7
}

/// What the network gives `row`, in f64: the oracle for the runtime. Probabilities, and the rank.
pub fn expected(row: &[f32]) -> ([f32; TOLD.len()], f32) {
    let hidden: Vec<f64> = (0..HIDDEN)
        .map(|unit| {
            let sum: f64 = (0..COUNT).map(|i| f64::from(row[i]) * f64::from(weight(i * HIDDEN + unit))).sum();
            (sum + f64::from(weight(5000 + unit))).max(0.0)
        })
        .collect();
    let out = |first: usize, width: usize, at: usize, bias: usize| -> f64 {
        let sum: f64 =
            hidden.iter().enumerate().map(|(unit, value)| value * f64::from(weight(first + unit * width + at))).sum();
        sum + f64::from(weight(bias + at))
    };
    let powers: [f64; TOLD.len()] = std::array::from_fn(|at| out(9000, TOLD.len(), at, 9990).exp());
    let all: f64 = powers.iter().sum();
    (powers.map(|power| (power / all) as f32), (1.0 / (1.0 + (-out(9500, 1, 0, 9999)).exp())) as f32)
}

/// Probability that the network gives a row for a scan.
pub fn scan(row: &[f32]) -> f32 {
    expected(row).0[1]
}

/// Rows spread over a few units round zero.
pub fn rows(count: usize) -> Vec<FeatureRow> {
    (0..count).map(|r| std::array::from_fn(|i| weight(r * 977 + i * 31 + 17) * 6.0)).collect()
}

/// The model file.
pub fn onnx(flaw: Flaw) -> Vec<u8> {
    let width = if flaw == Flaw::Width { COUNT + 1 } else { COUNT };
    let input = if flaw == Flaw::InputName { "rows" } else { "features" };
    let output = if flaw == Flaw::OutputName { "scores" } else { "probabilities" };
    let first: Vec<f32> = (0..width * HIDDEN)
        .map(|index| if flaw == Flaw::Nan && index == 5 { f32::NAN } else { weight(index) })
        .collect();
    let first_bias: Vec<f32> = (0..HIDDEN).map(|unit| weight(5000 + unit)).collect();
    let second: Vec<f32> = (0..HIDDEN * TOLD.len()).map(|at| weight(9000 + at)).collect();
    let second_bias: Vec<f32> = (0..TOLD.len()).map(|at| weight(9990 + at)).collect();
    let third: Vec<f32> = (0..HIDDEN).map(|unit| weight(9500 + unit)).collect();
    let last = match flaw {
        Flaw::Unbounded => "Exp",
        Flaw::UnknownOperator => "Teleport",
        _ => "Softmax",
    };
    let mut graph = Vec::new();
    for (operator, inputs, name) in [
        ("MatMul", vec![input, "w1"], "m1"),
        ("Add", vec!["m1", "b1"], "a1"),
        ("Relu", vec!["a1"], "r1"),
        ("MatMul", vec!["r1", "w2"], "m2"),
        ("Add", vec!["m2", "b2"], "a2"),
        (last, vec!["a2"], output),
        ("MatMul", vec!["r1", "w3"], "m3"),
        ("Add", vec!["m3", "b3"], "a3"),
        ("Sigmoid", vec!["a3"], "anomaly"),
    ] {
        let mut node = Vec::new();
        for input in inputs {
            bytes(&mut node, 1, input.as_bytes());
        }
        bytes(&mut node, 2, name.as_bytes());
        bytes(&mut node, 4, operator.as_bytes());
        bytes(&mut graph, 1, &node);
    }
    bytes(&mut graph, 2, b"fixture");
    for (name, shape, values) in [
        ("w1", vec![width, HIDDEN], first),
        ("b1", vec![HIDDEN], first_bias),
        ("w2", vec![HIDDEN, TOLD.len()], second),
        ("b2", vec![TOLD.len()], second_bias),
        ("w3", vec![HIDDEN, 1], third),
        ("b3", vec![1], vec![weight(9999)]),
    ] {
        let mut tensor = Vec::new();
        for dimension in shape {
            varint(&mut tensor, 1, dimension as u64);
        }
        varint(&mut tensor, 2, 1);
        bytes(&mut tensor, 8, name.as_bytes());
        bytes(&mut tensor, 9, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        bytes(&mut graph, 5, &tensor);
    }
    bytes(&mut graph, 11, &value_info(input, width, flaw));
    bytes(&mut graph, 12, &value_info(output, TOLD.len(), flaw));
    bytes(&mut graph, 12, &value_info("anomaly", 1, flaw));
    let mut opset = Vec::new();
    varint(&mut opset, 2, 17);
    let mut model = Vec::new();
    varint(&mut model, 1, 8);
    bytes(&mut model, 7, &graph);
    bytes(&mut model, 8, &opset);
    model
}

fn value_info(name: &str, width: usize, flaw: Flaw) -> Vec<u8> {
    let (mut batch, mut columns) = (Vec::new(), Vec::new());
    match flaw {
        Flaw::FixedBatch => varint(&mut batch, 1, 4),
        _ => bytes(&mut batch, 2, b"batch"),
    }
    varint(&mut columns, 1, width as u64);
    let mut shape = Vec::new();
    bytes(&mut shape, 1, &batch);
    bytes(&mut shape, 1, &columns);
    let mut tensor = Vec::new();
    varint(&mut tensor, 1, 1);
    bytes(&mut tensor, 2, &shape);
    let (mut kind, mut info) = (Vec::new(), Vec::new());
    bytes(&mut kind, 1, &tensor);
    bytes(&mut info, 1, name.as_bytes());
    bytes(&mut info, 2, &kind);
    info
}

fn raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(out: &mut Vec<u8>, field: u64, value: u64) {
    raw_varint(out, field << 3);
    raw_varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    raw_varint(out, field << 3 | 2);
    raw_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A manifest for the good model.
pub fn manifest() -> Manifest {
    manifest_for(&onnx(Flaw::None))
}

/// A manifest that speaks of `model` and is otherwise right.
pub fn manifest_for(model: &[u8]) -> Manifest {
    Manifest {
        format: FORMAT,
        name: "fixture".to_owned(),
        model: ModelFile {
            file: "fixture.onnx".to_owned(),
            sha256: hexadecimal(&Sha256::digest(model)),
            bytes: model.len() as u64,
        },
        schema: FLOW.name.to_owned(),
        schema_version: FLOW.version,
        features: FEATURES
            .iter()
            .map(|feature| FeatureStatistics { name: feature.name.to_owned(), median: 0.25, deviation: 1.5 })
            .collect(),
        input: "features".to_owned(),
        outputs: Outputs { probabilities: "probabilities".to_owned(), anomaly: Some("anomaly".to_owned()) },
        families: TOLD.map(|family| family.name().to_owned()).into(),
        thresholds: TOLD[1..].iter().map(|family| (family.name().to_owned(), 0.5)).collect(),
        anomaly_threshold: Some(0.999),
        flows: std::collections::BTreeMap::new(),
        kinds: std::collections::BTreeMap::new(),
        drift: FEATURES.iter().map(|feature| (feature.name.to_owned(), edges())).collect(),
        scores: edges(),
        training: Training {
            data: "none: known weights".to_owned(),
            recordings: 0,
            rows: 0,
            seed: 0,
            threshold_rule: "none".to_owned(),
        },
        metrics: [("validation_recall".to_owned(), 0.0)].into(),
        golden: rows(20).iter().map(|row| golden(row)).collect(),
    }
}

fn edges() -> Vec<f32> {
    (0..EDGES).map(|edge| edge as f32 / 10.0).collect()
}

fn golden(row: &[f32]) -> GoldenRow {
    let (probabilities, rank) = expected(row);
    GoldenRow { row: row.to_vec(), probabilities: probabilities.into(), anomaly: Some(rank) }
}

/// Writes model and manifest into `folder`; returns the manifest's path.
pub fn write(folder: &Path, model: &[u8], manifest: &Manifest) -> PathBuf {
    std::fs::write(folder.join(&manifest.model.file), model).unwrap();
    let path = folder.join("fixture.json");
    std::fs::write(&path, serde_json::to_vec(manifest).unwrap()).unwrap();
    path
}

/// Loads, or says aloud that the runtime is not there (a failure where `SHRIKE_REQUIRE` names `runtime`).
pub fn load(manifest: &Path) -> Option<Result<Model, ModelError>> {
    let outcome = Model::load(&Settings { manifest: Some(manifest.to_owned()), runtime: None });
    if let Err(ModelError::RuntimeMissing { .. }) = outcome {
        let required = std::env::var("SHRIKE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "runtime"), "SHRIKE_REQUIRE names runtime, and it is missing");
        let line = "score: no ONNX Runtime; ci/get-onnxruntime.sh fetches it\n";
        eprint!("SKIPPED {line}");
        // As `tests/support` does for integration tests: `ci/test.sh` shows this file at the end.
        if let Some(path) = std::env::var_os("SHRIKE_SKIP_LOG") {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        }
        return None;
    }
    Some(outcome)
}
