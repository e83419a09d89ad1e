//! The ONNX Runtime library: where it is, that it is the pinned one, and the one environment of the process.

use super::error::ModelError;
use ort::environment::Environment;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// File name of the pinned library; `ci/get-onnxruntime.sh` fetches it.
pub const LIBRARY_NAME: &str = "libonnxruntime.so.1.31.1";
/// Its sha256: of the file in the wheel `onnxruntime` 1.31.1 for manylinux_2_28_x86_64.
pub const LIBRARY_SHA256: &str = "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3";
/// Its length, checked before it is read.
pub const LIBRARY_BYTES: u64 = 29_352_200;
/// Environment variable that names the library where the configuration does not.
pub const LIBRARY_VARIABLE: &str = "SHRIKE_ONNXRUNTIME";

/// Where the library may lie, best first: what the operator configured and nothing else; else what the environment says
/// and nothing else; else `models/runtime/` under the working directory, the executable's folder and the folders above
/// it.
pub fn candidates(configured: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = configured {
        return vec![path.to_owned()];
    }
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty()) {
        return vec![PathBuf::from(path)];
    }
    let mut folders: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
    if let Ok(executable) = std::env::current_exe() {
        // target/release/shrike lies two folders below the project, target/debug/deps/test three.
        folders.extend(executable.ancestors().skip(1).take(4).map(Path::to_owned));
    }
    if cfg!(test) {
        folders.push(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    }
    let mut paths = Vec::new();
    for folder in folders {
        for path in [folder.join("models/runtime").join(LIBRARY_NAME), folder.join(LIBRARY_NAME)] {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

/// Finds the library and checks length and hash; no code of it runs.
///
/// # Errors
/// [`ModelError::RuntimeMissing`], [`ModelError::RuntimeMismatch`] or [`ModelError::Read`].
pub fn verified_library(configured: Option<&Path>) -> Result<PathBuf, ModelError> {
    let tried = candidates(configured);
    let Some(path) = tried.iter().find(|path| path.is_file()).cloned() else {
        return Err(ModelError::RuntimeMissing { tried });
    };
    let read = |cause| ModelError::Read { what: "the ONNX Runtime library", path: path.clone(), cause };
    // Absolute, so that the loader searches nowhere else.
    let path = path.canonicalize().map_err(read)?;
    let (found, found_bytes) = sha256_of(&path, LIBRARY_BYTES).map_err(read)?;
    if found.as_deref() != Some(LIBRARY_SHA256) {
        return Err(ModelError::RuntimeMismatch {
            path,
            expected: LIBRARY_SHA256,
            expected_bytes: LIBRARY_BYTES,
            found,
            found_bytes,
        });
    }
    Ok(path)
}

/// The process's environment; made at the first call, shared by all later ones (the runtime allows one).
///
/// # Errors
/// As [`verified_library`], and [`ModelError::RuntimeLoad`]. A later call may succeed once the cause is gone.
pub(super) fn environment(configured: Option<&Path>) -> Result<Environment, ModelError> {
    static CURRENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = current.as_ref() {
        return Ok(environment.clone());
    }
    let path = verified_library(configured)?;
    let load = |cause: String| ModelError::RuntimeLoad { path: path.clone(), cause };
    let environment = ort::init_from(&path)
        .map_err(|error| load(error.to_string()))?
        .with_name("shrike")
        .with_telemetry(false)
        .build()
        .map_err(|error| load(error.to_string()))?;
    *current = Some(environment.clone());
    Ok(environment)
}

/// sha256 in lower-case hexadecimal, and length. A file of another length than `expected_bytes` is not read: no hash.
fn sha256_of(path: &Path, expected_bytes: u64) -> std::io::Result<(Option<String>, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length != expected_bytes {
        return Ok((None, length));
    }
    let mut digest = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((Some(hexadecimal(&digest.finalize())), length));
        }
        digest.update(&buffer[..count]);
    }
}

/// Lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_path_is_the_only_one_tried() {
        let error = verified_library(Some(Path::new("/nowhere/lib.so"))).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, ModelError::RuntimeMissing { ref tried } if tried.len() == 1), "{message}");
        assert!(message.contains("/nowhere/lib.so") && message.contains("ci/get-onnxruntime.sh"), "{message}");
    }

    #[test]
    fn a_truncated_or_altered_library_is_refused_before_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LIBRARY_NAME);
        std::fs::write(&path, b"\x7fELF, and then nothing").unwrap();
        let message = verified_library(Some(&path)).unwrap_err().to_string();
        assert!(message.contains("it has 22 bytes") && message.contains(LIBRARY_SHA256), "{message}");
        // Right length, wrong content: a sparse file of zeros.
        File::options().write(true).open(&path).unwrap().set_len(LIBRARY_BYTES).unwrap();
        let message = verified_library(Some(&path)).unwrap_err().to_string();
        assert!(message.contains(LIBRARY_SHA256) && message.contains("get-onnxruntime.sh"), "{message}");
    }

    #[test]
    fn hashes_are_what_sha256sum_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        let (hash, length) = sha256_of(&path, 3).unwrap();
        assert_eq!(
            (hash.as_deref(), length),
            (Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), 3)
        );
    }
}
