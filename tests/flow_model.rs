//! The model that comes with the program: it loads, proves itself, and does not care about batches.

use shrike::dataplane::features::{COUNT, FeatureRow};
use shrike::dataplane::score::{BATCH_MAX, Model, ModelError, Scorer, Settings};
use std::path::Path;

mod support;

/// The committed model, or `None` after saying aloud that there is no runtime to load it with.
fn model(test: &str) -> Option<Model> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/flow-v1.json");
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
    let moved = golden.iter().map(|row| std::array::from_fn(|index| row[index] * 0.97 + 0.01 * index as f32));
    golden.iter().copied().chain(moved).cycle().take(BATCH_MAX).collect()
}

/// Loading compares with the scores that Python's ONNX Runtime gave the golden rows; here once more, and both kinds
/// occur.
#[test]
fn golden_rows_score_as_in_python() {
    let Some(model) = model("golden_rows_score_as_in_python") else { return };
    let mut scorer = model.scorer().unwrap();
    let golden = &model.manifest().golden;
    let mut scores = vec![0.0; golden.len()];
    scorer.score(&model.manifest().golden_rows(), &mut scores).unwrap();
    for (golden, score) in golden.iter().zip(&scores) {
        assert!((golden.score - score).abs() <= 1e-5, "{} is not {score}", golden.score);
    }
    assert!(scores.iter().any(|score| *score < 0.1) && scores.iter().any(|score| *score >= model.threshold()));
}

#[test]
fn a_row_scores_the_same_bits_in_any_batch_and_at_any_place() {
    let Some(model) = model("a_row_scores_the_same_bits_in_any_batch_and_at_any_place") else { return };
    let mut scorer = model.scorer().unwrap();
    let rows = rows(&model);
    let mut alone = vec![0.0; BATCH_MAX];
    for (row, score) in rows.chunks(1).zip(alone.chunks_mut(1)) {
        scorer.score(row, score).unwrap();
    }
    for size in 2..=BATCH_MAX {
        let mut scores = vec![0.0; size];
        for start in [0, (BATCH_MAX - size) / 2, BATCH_MAX - size] {
            scorer.score(&rows[start..start + size], &mut scores).unwrap();
            let same = alone[start..].iter().zip(&scores).all(|(alone, score)| alone.to_bits() == score.to_bits());
            assert!(same, "a batch of {size} from row {start}");
        }
    }
}

/// Whatever finite row an attacker brings about, the score is a number in 0..=1.
#[test]
fn rows_that_no_traffic_has_get_a_score() {
    let Some(model) = model("rows_that_no_traffic_has_get_a_score") else { return };
    let mut scorer = model.scorer().unwrap();
    for value in [0.0, -64.0, 64.0, f32::MIN_POSITIVE] {
        let mut scores = [f32::NAN];
        scorer.score(&[[value; COUNT]], &mut scores).unwrap();
        assert!((0.0..=1.0).contains(&scores[0]), "{value}: {}", scores[0]);
    }
}

/// An explanation has its features from the schema and its values from the row.
#[test]
fn the_highest_golden_score_is_explained() {
    let Some(model) = model("the_highest_golden_score_is_explained") else { return };
    let mut explainer = model.explainer().unwrap();
    let golden = model.manifest().golden.iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
    let row: FeatureRow = golden.row.as_slice().try_into().unwrap();
    let reasons = explainer.reasons(&row, 5).unwrap();
    assert!(!reasons.is_empty() && reasons.len() <= 5);
    assert!(reasons.windows(2).all(|pair| pair[0].contribution >= pair[1].contribution));
}
