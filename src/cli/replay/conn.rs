//! The `conn.log` of a replay: the same capture gives the same bytes, whatever the number of workers.

use crate::cli::output::Output;
use crate::control::export::ConnFormat;
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use anyhow::Context;
use std::io::{self, Write};

/// Flows put in order together: some 150 MB. Captures with more of them are ordered piece by piece, and where the pieces
/// begin then depends on the workers.
const ORDERED_MAX: usize = 1 << 20;

/// Flows of a replay by the time of their end, as Zeek writes them; at the capture's own pace when they come. Its header
/// and last line have the capture's times, so that nothing in it depends on when it was written.
pub struct ConnFile {
    out: Output,
    format: ConnFormat,
    flows: Vec<FlowSummary>,
    at_once: bool,
    begun: bool,
    last: Timestamp,
    /// Memory of the lines that are being made.
    lines: Vec<u8>,
}

impl ConnFile {
    /// Into this output. `at_once`: write flows when they come.
    pub fn new(out: Output, format: ConnFormat, at_once: bool) -> ConnFile {
        ConnFile { out, format, flows: Vec::new(), at_once, begun: false, last: Timestamp(0), lines: Vec::new() }
    }

    /// A flow ended.
    pub fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        self.last = self.last.max(flow.last_seen);
        self.flows.push(*flow);
        if !self.at_once && self.flows.len() < ORDERED_MAX {
            return Ok(());
        }
        let written = self.write_waiting().and_then(|()| if self.at_once { self.out.flush() } else { Ok(()) });
        written.with_context(|| self.failed())
    }

    /// Writes what waits and the last line.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let failed = self.failed();
        let written = self.write_waiting().and_then(|()| self.out.write_all(self.format.foot(self.last).as_bytes()));
        written.and_then(|()| self.out.finish()).context(failed)
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        self.flows.sort_by_key(|flow| (flow.last_seen, flow.first_seen, *flow.key.words()));
        if !self.begun {
            self.begun = true;
            let first = self.flows.iter().map(|flow| flow.first_seen).min().unwrap_or_default();
            self.out.write_all(self.format.head(first).as_bytes())?;
        }
        for flow in self.flows.drain(..) {
            self.lines.clear();
            self.format.line(&flow, &mut self.lines);
            self.out.write_all(&self.lines)?;
        }
        Ok(())
    }

    fn failed(&self) -> String {
        format!("write {}", self.out.name().display())
    }
}
