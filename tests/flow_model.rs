//! The model that comes with the program: it loads, proves itself, and does not care about batches.

use shrike::dataplane::features::{COUNT, FeatureRow};
use shrike::dataplane::score::{BATCH_MAX, Family, Model, ModelError, Scorer, Scores, Settings};
use std::path::Path;

mod support;

/// The committed model, or `None` after saying aloud that there is no runtime to load it with.
fn model(test: &str) -> Option<Model> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/flow-v2.json");
    match Model::load(&Settings { manifest: Some(manifest), runtime: None }) {
        Ok(model) => Some(model),
        Err(error @ ModelError::RuntimeMissing { .. }) => {
            support::skip(test, "runtime", &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Golden rows, and as many again with every feature moved a little.
fn rows(model: &Model) -> Vec<FeatureRow> {
    let golden = model.manifest().golden_rows();
    let moved = golden.iter().enumerate().map(|(index, value)| value * 0.97 + 0.01 * (index % COUNT) as f32);
    let all: Vec<f32> = golden.iter().copied().chain(moved).cycle().take(BATCH_MAX * COUNT).collect();
    all.as_chunks().0.to_vec()
}

/// Loading compares with what Python's ONNX Runtime says of the golden rows; here once more, and both kinds occur.
#[test]
fn golden_rows_score_as_in_python() {
    let Some(model) = model("golden_rows_score_as_in_python") else { return };
    let (mut scorer, mut scores) = (model.scorer().unwrap(), Scores::new());
    let (golden, thresholds) = (&model.manifest().golden, model.thresholds());
    scorer.score(&model.manifest().golden_rows(), &mut scores).unwrap();
    for (row, golden) in golden.iter().enumerate() {
        let said = golden.probabilities.iter().zip(scores.probabilities(row));
        assert!(said.clone().all(|(golden, score)| (golden - score).abs() <= 1e-5), "row {row}");
    }
    let verdicts = || (0..golden.len()).map(|row| thresholds.judge(&scores, row));
    assert!(verdicts().any(|verdict| verdict.attack < 0.1), "no golden row is honest");
    assert!(verdicts().any(|verdict| verdict.is_reported() && verdict.family != Family::Unusual), "none is an attack");
}

#[test]
fn a_row_scores_the_same_bits_in_any_batch_and_at_any_place() {
    let Some(model) = model("a_row_scores_the_same_bits_in_any_batch_and_at_any_place") else { return };
    let (mut scorer, mut scores) = (model.scorer().unwrap(), Scores::new());
    let mut bits = |rows: &[FeatureRow]| -> Vec<Vec<u32>> {
        scorer.score(rows.as_flattened(), &mut scores).unwrap();
        let of =
            |row| scores.probabilities(row).iter().map(|value| value.to_bits()).chain([scores.anomaly(row).to_bits()]);
        (0..rows.len()).map(|row| of(row).collect()).collect()
    };
    let rows = rows(&model);
    let alone: Vec<_> = rows.chunks(1).flat_map(&mut bits).collect();
    for size in 2..=BATCH_MAX {
        for start in [0, (BATCH_MAX - size) / 2, BATCH_MAX - size] {
            assert!(
                bits(&rows[start..start + size]) == alone[start..start + size],
                "a batch of {size} from row {start}"
            );
        }
    }
}

/// Whatever finite row an attacker brings about, the scores are numbers in 0..=1.
#[test]
fn rows_that_no_traffic_has_get_a_score() {
    let Some(model) = model("rows_that_no_traffic_has_get_a_score") else { return };
    let (mut scorer, mut scores) = (model.scorer().unwrap(), Scores::new());
    for value in [0.0, -64.0, 64.0, f32::MIN_POSITIVE] {
        scorer.score(&[value; COUNT], &mut scores).unwrap();
        let sum: f32 = scores.probabilities(0).iter().sum();
        assert!((sum - 1.0).abs() < 1e-4, "{value}: {:?}", scores.probabilities(0));
    }
}

/// An explanation has its features from the schema and its values from the row.
#[test]
fn the_most_certain_golden_row_is_explained() {
    let Some(model) = model("the_most_certain_golden_row_is_explained") else { return };
    let (mut explainer, families) = (model.explainer().unwrap(), model.manifest().families());
    let attacks = |golden: &[f32]| {
        golden.iter().copied().zip(families.iter().copied()).skip(1).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let rows = model.manifest().golden.iter().map(|golden| (attacks(&golden.probabilities).unwrap(), &golden.row));
    let ((_, family), row) = rows.max_by(|a, b| a.0.0.total_cmp(&b.0.0)).unwrap();
    let reasons = explainer.reasons(row, family, 5).unwrap();
    assert!(!reasons.is_empty() && reasons.len() <= 5);
    assert!(reasons.windows(2).all(|pair| pair[0].contribution >= pair[1].contribution));
}
