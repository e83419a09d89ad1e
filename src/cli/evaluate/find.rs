//! Which recordings the arguments mean, and their labels.

use crate::control::evaluate::{Family, Scope, Truth, whole};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// A capture with its labels.
pub struct Recording {
    /// Its name in the tables: of its directory, or its path in the table of labels.
    pub name: String,
    /// The capture.
    pub capture: PathBuf,
    /// Its size.
    pub bytes: u64,
    labels: Labels,
}

enum Labels {
    /// labels.json and flows.csv.
    Lab { labels: PathBuf, flows: PathBuf },
    /// All of it is this, or honest.
    Whole(Option<Family>),
}

impl Recording {
    /// Reads the labels.
    pub fn truth(&self, scope: &Scope) -> anyhow::Result<Truth> {
        match &self.labels {
            Labels::Whole(family) => Ok(Truth::whole(&self.name, *family)),
            Labels::Lab { labels, flows } => {
                let flows = read(flows)?;
                Ok(Truth::of_lab(&self.name, &read(labels)?, &flows, scope)?)
            }
        }
    }

    /// Of the laboratory.
    fn of_lab(labels: &Path) -> anyhow::Result<Recording> {
        let folder = labels.parent().unwrap_or(Path::new("."));
        let (capture, flows) = Truth::files(&read(labels)?).with_context(|| format!("{}", labels.display()))?;
        let whole = std::fs::canonicalize(folder).with_context(|| format!("open {}", folder.display()))?;
        let name = whole.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned());
        Recording::new(name, folder.join(capture), Labels::Lab { labels: labels.to_owned(), flows: folder.join(flows) })
    }

    fn new(name: String, capture: PathBuf, labels: Labels) -> anyhow::Result<Recording> {
        let bytes = std::fs::metadata(&capture).with_context(|| format!("open {}", capture.display()))?.len();
        Ok(Recording { name, capture, bytes, labels })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Levels of directories that are looked through for recordings.
const DEPTH: usize = 3;

/// The recordings that are meant, in the order of the arguments and then of their names.
pub fn recordings(arguments: &[PathBuf], labels: Option<&Path>) -> anyhow::Result<Vec<Recording>> {
    let mut found = Vec::new();
    match labels {
        Some(table) if table.extension().is_none_or(|extension| extension != "json") => {
            of_table(arguments, table, &mut found)?;
        }
        Some(labels) => {
            anyhow::ensure!(arguments.len() == 1, "labels.json is of one recording: name one");
            found.push(Recording::of_lab(labels)?);
        }
        None => {
            for argument in arguments {
                below(argument, DEPTH, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Recordings in a directory, or in those below it; of a file the one it lies in.
fn below(path: &Path, depth: usize, found: &mut Vec<Recording>) -> anyhow::Result<()> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let labels = folder.join("labels.json");
    if labels.is_file() {
        found.push(Recording::of_lab(&labels)?);
        return Ok(());
    }
    anyhow::ensure!(path.is_dir(), "{} has no labels.json beside it; name a table with --labels", path.display());
    if depth == 0 {
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("open {}", path.display()))?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().try_for_each(|folder| below(folder, depth - 1, found))
}

/// Captures of a table that lie below the arguments: `path` and `family` or `ground_truth`, separated by tabs. Paths are
/// relative to the table. Rows that say nothing that can be judged are left out.
fn of_table(arguments: &[PathBuf], table: &Path, found: &mut Vec<Recording>) -> anyhow::Result<()> {
    let text = read(table)?;
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |names: &[&str]| head.iter().position(|name| names.contains(name));
    let path = column(&["path", "capture"]).context("the table's head has no column `path`")?;
    let truth =
        column(&["family", "ground_truth"]).context("the table's head has no `family` and no `ground_truth`")?;
    let folder = std::fs::canonicalize(table)?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let wanted: Vec<PathBuf> =
        arguments.iter().map(std::fs::canonicalize).collect::<Result<_, _>>().context("open a capture")?;
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let (Some(name), Some(truth)) = (fields.get(path), fields.get(truth)) else { continue };
        let capture = folder.join(name);
        let is_capture = [".pcap", ".pcapng", ".cap", ".gz", ".zst"].iter().any(|end| name.ends_with(end));
        if !is_capture || !wanted.iter().any(|wanted| capture.starts_with(wanted)) || !capture.is_file() {
            continue;
        }
        if let Some(family) = whole(name, truth) {
            found.push(Recording::new((*name).to_owned(), capture, Labels::Whole(family))?);
        }
    }
    Ok(())
}
