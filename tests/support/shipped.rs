//! The model that comes with the program, under other names and with other thresholds: models to be changed for each other.
#![allow(dead_code)] // each test binary uses its own part

use serde_json::{Value, json};
use shrike::dataplane::score::{Model, ModelError, Settings};
use std::path::{Path, PathBuf};

/// Writes it into `folder` under that name, changed; returns the manifest's path.
pub fn put(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    put_of(folder, "flow-v2", name, change)
}

/// The same of another one that comes with the program.
pub fn put_of(folder: &Path, shipped: &str, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let text = std::fs::read_to_string(models.join(format!("{shipped}.json"))).expect("a manifest of the program's");
    let mut manifest: Value = serde_json::from_str(&text).expect("a manifest");
    std::fs::copy(models.join(format!("{shipped}.onnx")), folder.join(format!("{name}.onnx")))
        .expect("room for a model");
    (manifest["name"], manifest["model"]["file"]) = (json!(name), json!(format!("{name}.onnx")));
    change(&mut manifest);
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, manifest.to_string()).expect("room for a manifest");
    path
}

/// Everything is told from so low a probability on.
pub fn from(least: f64) -> impl FnOnce(&mut Value) {
    move |manifest| {
        manifest["thresholds"].as_object_mut().expect("thresholds").values_mut().for_each(|one| *one = json!(least))
    }
}

/// Loads it; `None`, said by `skip`: there is no runtime.
pub fn load(manifest: PathBuf, skip: impl FnOnce(&str)) -> Option<Model> {
    match Model::load(&Settings { manifest: Some(manifest), runtime: None }) {
        Ok(model) => Some(model),
        Err(error @ ModelError::RuntimeMissing { .. }) => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}
