//! Feature rows as CSV, for training.

use crate::cli::output::Output;
use crate::dataplane::detect::ScoredFlow;
use crate::dataplane::features::FEATURES;
use anyhow::Context;
use std::io::Write;

/// A CSV file of feature rows with the flow that each belongs to.
pub struct RowFile {
    out: Output,
}

impl RowFile {
    /// Writes the header into this output.
    pub fn new(output: Output) -> anyhow::Result<RowFile> {
        let mut rows = RowFile { out: output };
        let names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
        let names = names.join(",");
        writeln!(rows.out, "time_ns,source,source_port,destination,destination_port,protocol,packets,{names}")
            .with_context(|| rows.failed())?;
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
            .with_context(|| self.failed())
    }

    /// Nothing more comes.
    pub fn finish(self) -> anyhow::Result<()> {
        let failed = self.failed();
        self.out.finish().context(failed)
    }

    fn failed(&self) -> String {
        format!("write {}", self.out.name().display())
    }
}
