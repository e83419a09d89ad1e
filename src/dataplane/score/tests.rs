//! Loading, refusing and running models, over the real runtime.

use super::fixture::{self, Flaw, load};
use super::*;
use crate::dataplane::features::{COUNT, FeatureRow};

fn good() -> Option<(tempfile::TempDir, Model)> {
    let folder = tempfile::tempdir().unwrap();
    let path = fixture::write(folder.path(), &fixture::onnx(Flaw::None), &fixture::manifest());
    let model = load(&path)?.expect("the fixture is a good model");
    Some((folder, model))
}

fn refused(model: &[u8], manifest: &Manifest) -> Option<ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path = fixture::write(folder.path(), model, manifest);
    Some(load(&path)?.err().expect("the model must be refused"))
}

/// Probabilities and rank of each of `rows`, as their bits, from one call.
fn bits(scorer: &mut OrtScorer, rows: &[FeatureRow]) -> Vec<[u32; fixture::TOLD.len() + 1]> {
    let mut scores = Scores::new();
    scorer.score(rows.as_flattened(), &mut scores).unwrap();
    assert_eq!(scores.rows(), rows.len());
    let of = |row| {
        let (said, rank) = (scores.probabilities(row), scores.anomaly(row));
        std::array::from_fn(|at| said.get(at).copied().unwrap_or(rank).to_bits())
    };
    (0..rows.len()).map(of).collect()
}

#[test]
fn scores_are_those_of_the_known_weights_at_every_batch_size() {
    let Some((_folder, model)) = good() else { return };
    let mut scorer = model.scorer().unwrap();
    let rows = fixture::rows(BATCH_MAX);
    for size in 1..=BATCH_MAX {
        for (row, found) in rows.iter().zip(bits(&mut scorer, &rows[..size])) {
            let (probabilities, rank) = fixture::expected(row);
            let expected = probabilities.into_iter().chain([rank]);
            for (expected, found) in expected.zip(found) {
                assert!((expected - f32::from_bits(found)).abs() < 1e-6, "{expected}, not {}", f32::from_bits(found));
            }
        }
    }
}

/// The same alerts whatever the batch size need the same scores to the last bit, not only to a tolerance.
#[test]
fn a_row_scores_the_same_bits_in_any_batch_and_at_any_place() {
    let Some((_folder, model)) = good() else { return };
    let mut scorer = model.scorer().unwrap();
    let rows = fixture::rows(BATCH_MAX);
    let alone: Vec<_> = rows.chunks(1).flat_map(|row| bits(&mut scorer, row)).collect();
    for size in 2..=BATCH_MAX {
        for start in [0, (BATCH_MAX - size) / 2, BATCH_MAX - size] {
            let found = bits(&mut scorer, &rows[start..start + size]);
            assert_eq!(found, alone[start..start + size], "a batch of {size} from row {start}");
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_errors_and_none_is_nothing() {
    let Some((_folder, model)) = good() else { return };
    let mut scorer = model.scorer().unwrap();
    let mut scores = Scores::benign(3);
    scorer.score(&[], &mut scores).unwrap();
    assert_eq!(scores.rows(), 0);
    let rows = fixture::rows(BATCH_MAX + 1);
    for wrong in [rows.as_flattened(), &rows.as_flattened()[..COUNT + 1], &[0.0]] {
        assert!(scorer.score(wrong, &mut scores).is_err(), "{} values", wrong.len());
    }
}

#[test]
fn rows_that_are_no_numbers_are_errors_and_the_next_call_works() {
    let Some((_folder, model)) = good() else { return };
    let mut scorer = model.scorer().unwrap();
    let mut rows = fixture::rows(4);
    rows[2] = [f32::NAN; COUNT];
    let error = scorer.score(rows.as_flattened(), &mut Scores::new()).unwrap_err().to_string();
    assert!(error.contains("4 rows") && error.contains("NaN"), "{error}");
    assert_eq!(bits(&mut scorer, &fixture::rows(4)).len(), 4);
}

#[test]
fn scorers_move_between_threads_and_do_not_share_state() {
    let Some((_folder, model)) = good() else { return };
    let rows = fixture::rows(64);
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let (mut scorer, rows) = (model.scorer().unwrap(), rows.clone());
            std::thread::spawn(move || (0..200).map(|_| bits(&mut scorer, &rows)).next_back().unwrap())
        })
        .collect();
    let all: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_broken_graph_is_refused_by_name() {
    let cases = [
        (Flaw::Width, "must be f32 of [batch,"),
        (Flaw::InputName, "its input is `rows`"),
        (Flaw::OutputName, "`probabilities` must be among them"),
        (Flaw::FixedBatch, "with a free batch"),
        (Flaw::Nan, "NaN"),
        (Flaw::Unbounded, "not in 0..=1"),
        (Flaw::UnknownOperator, "Teleport"),
    ];
    for (flaw, expected) in cases {
        let model = fixture::onnx(flaw);
        let Some(error) = refused(&model, &fixture::manifest_for(&model)) else { return };
        let message = error.to_string();
        assert!(message.contains(expected) && message.contains("train.sh"), "{flaw:?}: {message}");
    }
}

#[test]
fn files_that_are_no_models_are_refused() {
    let whole = fixture::onnx(Flaw::None);
    let random: Vec<u8> = (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&whole[..whole.len() / 2], &random[..], &[0]] {
        let Some(error) = refused(bytes, &fixture::manifest_for(bytes)) else { return };
        assert!(matches!(error, ModelError::Session { .. } | ModelError::Interface { .. }), "{error}");
    }
}

#[test]
fn a_model_that_is_not_the_manifests_is_refused() {
    let manifest = fixture::manifest();
    let mut altered = fixture::onnx(Flaw::None);
    let last = altered.len() - 100;
    altered[last] ^= 1;
    let Some(error) = refused(&altered, &manifest) else { return };
    assert!(matches!(error, ModelError::ModelMismatch { .. }), "{error}");
    assert!(error.to_string().contains(&manifest.model.sha256), "{error}");
    altered.push(0);
    let error = refused(&altered, &manifest).unwrap();
    assert!(error.to_string().contains("longer than"), "{error}");
    altered.truncate(10);
    assert!(matches!(refused(&altered, &manifest).unwrap(), ModelError::ModelMismatch { .. }));
}

#[test]
fn a_golden_row_that_scores_otherwise_refuses_the_model() {
    let mut manifest = fixture::manifest();
    let said = &mut manifest.golden[7].probabilities[2];
    *said = (*said - 3e-5).abs();
    let Some(error) = refused(&fixture::onnx(Flaw::None), &manifest) else { return };
    assert!(matches!(error, ModelError::Golden { row: 7, what: "flood", .. }), "{error}");
    let mut manifest = fixture::manifest();
    manifest.golden[19].anomaly = manifest.golden[19].anomaly.map(|rank| (rank - 3e-5).abs());
    let error = refused(&fixture::onnx(Flaw::None), &manifest).unwrap();
    assert!(matches!(error, ModelError::Golden { row: 19, what: "unusual", .. }), "{error}");
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(outcome) = load(&folder.path().join("none.json")) else { return };
    let message = outcome.err().unwrap().to_string();
    assert!(message.contains("read model manifest") && message.contains("none.json"), "{message}");
    let path = fixture::write(folder.path(), &fixture::onnx(Flaw::None), &fixture::manifest());
    std::fs::remove_file(folder.path().join("fixture.onnx")).unwrap();
    let message = load(&path).unwrap().err().unwrap().to_string();
    assert!(message.contains("fixture.onnx"), "{message}");
}

#[test]
fn the_cost_is_measured_and_a_small_network_stays_inline() {
    let Some((_folder, model)) = good() else { return };
    let points = model.cost().points();
    assert!(points.len() >= 8 && points.iter().all(|point| point.1 > 0));
    assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    // Whatever the machine: with a second to spend, a network of 24 units fits.
    assert_eq!(model.cost().largest_within(1_000_000_000, BATCH_MAX), BATCH_MAX);
}

#[test]
fn an_explanation_names_the_features_that_made_the_score() {
    let Some((_folder, model)) = good() else { return };
    let mut explainer = model.explainer().unwrap();
    let usual: FeatureRow = [0.25; COUNT];
    for (family, of) in
        [(Family::Scan, fixture::scan as fn(&[f32]) -> f32), (Family::Unusual, |row| fixture::expected(row).1)]
    {
        // The feature whose change raises the known network's score most.
        let raised = |index: usize, by: f32| {
            let mut row = usual;
            row[index] += by;
            (of(&row) - of(&usual), row)
        };
        let (index, (rise, row)) = (0..COUNT)
            .flat_map(|index| [4.0, -4.0].map(|by| (index, raised(index, by))))
            .max_by(|a, b| a.1.0.total_cmp(&b.1.0))
            .unwrap();
        let reasons = explainer.reasons(&row, family, 3).unwrap();
        assert_eq!(reasons.len(), 1, "all other features are as usual: {reasons:?}");
        assert_eq!((reasons[0].value, reasons[0].usual), (row[index], 0.25));
        assert!((reasons[0].contribution - rise).abs() < 1e-5, "{family:?}: {reasons:?}, not {rise}");
    }
}

#[test]
fn a_row_is_explained_by_what_is_usual_for_its_kind() {
    let Some((_folder, model)) = good() else { return };
    let kind = 26;
    let mut usual_of_kind: FeatureRow = [0.75; COUNT];
    usual_of_kind[kind] = 1.0;
    let mut explainer = model.explainer().unwrap().by_kind(vec![(kind, usual_of_kind.to_vec())]);
    for family in [Family::Scan, Family::Unusual] {
        let reasons = explainer.reasons(&usual_of_kind, family, COUNT).unwrap();
        assert!(reasons.is_empty(), "{family:?}: all is as usual for its kind: {reasons:?}");
        let others = explainer.reasons(&[0.25; COUNT], family, COUNT).unwrap();
        assert!(others.is_empty(), "{family:?}: a row of no kind is held against all rows: {others:?}");
        let reasons = explainer.reasons(&usual_of_kind.map(|value| value + 4.0), family, COUNT).unwrap();
        assert!(reasons.iter().all(|reason| reason.usual == usual_of_kind[place_of(reason)]), "{reasons:?}");
    }
}

fn place_of(reason: &Reason) -> usize {
    crate::dataplane::features::FEATURES.iter().position(|feature| feature.name == reason.feature.name).unwrap()
}

/// A leak of 272 bytes a call (a past release of the binding had one) would be 5 MiB here; noise is a few pages.
#[test]
fn memory_stays_flat_over_twenty_thousand_calls() {
    let Some((_folder, model)) = good() else { return };
    let mut scorer = model.scorer().unwrap();
    let rows = fixture::rows(BATCH_MAX);
    let mut scores = Scores::new();
    let mut calls = |count: usize| {
        for call in 0..count {
            let size = call * 37 % BATCH_MAX + 1;
            scorer.score(rows[..size].as_flattened(), &mut scores).unwrap();
        }
    };
    calls(2_000);
    let before = resident_bytes();
    calls(20_000);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes more after 20 000 calls");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}
