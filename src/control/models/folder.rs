//! What lies in the folder of models: manifests by their heads. Untrusted; nothing of a file is used before all of it has passed
//! its checks (`Model::load_for`).

use crate::control::windows::schema::{HOST_MINUTE, PAIR_HOUR};
use crate::dataplane::features::{FLOW, Schema};
use crate::dataplane::score::MANIFEST_BYTES_MAX;
use serde::Deserialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Manifests of a folder that are looked at, by name: each is read, and its model loaded once to prove it.
pub const MANIFESTS_MAX: usize = 64;

/// Rows that this sensor makes and models score.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rows {
    /// Of flows, on the workers.
    Flow,
    /// Of a host's minute.
    Host,
    /// Of a pair's hour.
    Pair,
}

impl Rows {
    pub(super) const ALL: [Rows; 3] = [Rows::Flow, Rows::Host, Rows::Pair];

    pub(super) fn schema(self) -> &'static Schema {
        match self {
            Rows::Flow => &FLOW,
            Rows::Host => &HOST_MINUTE,
            Rows::Pair => &PAIR_HOUR,
        }
    }

    /// Name of the schema.
    pub fn name(self) -> &'static str {
        self.schema().name
    }

    pub(super) fn of(schema: &str) -> Option<Rows> {
        Rows::ALL.into_iter().find(|rows| rows.name() == schema)
    }
}

/// By what a changed file is known: when manifest and model were written, and their lengths.
pub(super) type Stamp = [Option<(SystemTime, u64)>; 2];

/// What a manifest says of itself, before anything of it is checked but its name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) name: String,
    pub(super) schema: String,
    pub(super) schema_version: u32,
    model: File,
}

#[derive(Clone, Debug, Deserialize)]
struct File {
    file: String,
    #[serde(default)]
    sha256: String,
}

impl Head {
    pub(super) fn sha256(&self) -> String {
        self.model.sha256.chars().take(64).collect()
    }
}

/// A manifest that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// What it says, or why it says nothing.
    pub(super) head: Result<Head, String>,
}

impl Found {
    /// Its own name, or its file's where it has none.
    pub(super) fn name(&self) -> String {
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.head.as_ref().map_or_else(|_| stem(), |head| head.name.clone())
    }
}

fn written(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// One file; `None`: it is no manifest, or not there.
pub(super) fn look(path: &Path) -> Option<Found> {
    let own = written(path)?;
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut text));
    let found = |head, stamp| Some(Found { path: path.to_owned(), stamp, head });
    let value = match read {
        Err(cause) => return found(Err(format!("read {}: {cause}", path.display())), [Some(own), None]),
        Ok(_) if text.len() as u64 > MANIFEST_BYTES_MAX => return None,
        Ok(_) => serde_json::from_slice::<serde_json::Value>(&text),
    };
    match value {
        Err(cause) => {
            let words = format!("read model manifest {}: {cause}; restore it or train again", path.display());
            found(Err(words), [Some(own), None])
        }
        Ok(value) => {
            let head = Head::deserialize(value).ok()?;
            let shown = (1..=64).contains(&head.name.len()) && head.name.bytes().all(|byte| byte.is_ascii_graphic());
            let model = Path::new(&head.model.file).file_name().and_then(|file| written(&path.with_file_name(file)));
            let words = || Err(format!("{}: `name` must be 1 to 64 printable ASCII characters", path.display()));
            found(if shown { Ok(head) } else { words() }, [Some(own), model])
        }
    }
}

/// The manifests of a folder, by their files' names, and how many there are beyond [`MANIFESTS_MAX`] files.
pub(super) fn scan(folder: &Path) -> (Vec<Found>, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    paths.sort_unstable();
    let overlooked = paths.len().saturating_sub(MANIFESTS_MAX) as u64;
    (paths.iter().take(MANIFESTS_MAX).filter_map(|path| look(path)).collect(), overlooked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_known_by_their_heads_and_other_files_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let head = |name: &str| {
            format!(
                r#"{{"format":2,"name":"{name}","schema":"flow","schema_version":9,"model":{{"file":"m.onnx"}},"x":1}}"#
            )
        };
        write("b.json", &head("b"));
        write("a.json", &head("first"));
        write("torn.json", &head("torn")[..40]);
        write("long.json", &head(&"n".repeat(65)));
        write("schema.json", r#"{"schema":"log","features":[]}"#);
        write("readme.md", &head("none"));
        fs::create_dir(folder.path().join("folder.json")).unwrap();
        let (found, overlooked) = scan(folder.path());
        let names: Vec<_> = found.iter().map(|one| (one.name(), one.head.is_ok())).collect();
        let known = [("first", true), ("b", true), ("long", false), ("torn", false)];
        assert_eq!(names, known.map(|(name, good)| (name.to_owned(), good)));
        assert_eq!(overlooked, 0);
        (0..70).for_each(|number| write(&format!("z{number}.json"), "{}"));
        assert_eq!(scan(folder.path()).1, 12);
        assert_eq!(scan(&folder.path().join("nowhere")).0.len(), 0);
    }
}
