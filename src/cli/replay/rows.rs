//! Feature rows as CSV, for training.

use crate::dataplane::detect::ScoredFlow;
use crate::dataplane::features::FEATURES;
use anyhow::Context;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A CSV file of feature rows with the flow that each belongs to.
pub struct RowFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl RowFile {
    /// Makes the file and writes the header.
    pub fn create(path: &Path) -> anyhow::Result<RowFile> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut rows = RowFile { path: path.to_owned(), out: BufWriter::new(file) };
        let names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
        let names = names.join(",");
        writeln!(rows.out, "time_ns,source,source_port,destination,destination_port,protocol,packets,{names}")
            .with_context(|| format!("write {}", path.display()))?;
        Ok(rows)
    }

    /// One row.
    pub fn write(&mut self, row: &ScoredFlow) -> anyhow::Result<()> {
        let (source, destination) = row.key.endpoints(row.originator);
        let out = &mut self.out;
        write!(out, "{},{},{},", row.time.0, source.ip(), source.port)
            .and_then(|()| write!(out, "{},{},", destination.ip(), destination.port))
            .and_then(|()| write!(out, "{},{}", row.key.protocol(), row.packets))
            .and_then(|()| row.row.iter().try_for_each(|value| write!(out, ",{value}")))
            .and_then(|()| writeln!(out))
            .with_context(|| format!("write {}", self.path.display()))
    }

    /// Nothing more comes.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.out.flush().with_context(|| format!("write {}", self.path.display()))
    }
}
