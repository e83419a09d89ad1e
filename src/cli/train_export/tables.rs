//! The four tables: keys as the reference's, then the columns of the schema.

use crate::cli::output::Output;
use crate::control::windows::{Of, Row, STEPS, schema, sequence};
use crate::dataplane::decode::{Direction, Endpoint, FlowKey};
use crate::dataplane::detect::ScoredFlow;
use crate::dataplane::features::{FEATURES, Feature};
use crate::exchange::FlowSummary;
use crate::units::Timestamp;
use anyhow::Context;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Their names.
pub const FILES: [&str; 4] = ["flows.csv", "sequences.csv", "hosts.csv", "pairs.csv"];

const OF_FLOW: &str = "time_ns,source,source_port,destination,destination_port,protocol,packets";

/// A file of lines that were counted.
struct Table {
    out: Output,
    /// The line in the making: its memory goes round and round.
    line: String,
    rows: u64,
}

impl Table {
    fn create(path: &Path, keys: &str, columns: &[String]) -> anyhow::Result<Table> {
        let mut table = Table { out: Output::create(path, false)?, line: String::new(), rows: 0 };
        write!(table.line, "{keys},{}", columns.join(","))?;
        table.put(&[])?;
        table.rows = 0;
        Ok(table)
    }

    /// Ends the line with these values.
    fn put(&mut self, values: &[f32]) -> anyhow::Result<()> {
        for value in values {
            write!(self.line, ",{value}")?;
        }
        self.line.push('\n');
        self.rows += 1;
        let written = self.out.write_all(self.line.as_bytes());
        self.line.clear();
        written.with_context(|| format!("write {}; is there room?", self.out.name().display()))
    }

    fn finish(self) -> anyhow::Result<u64> {
        let failed = format!("write {}", self.out.name().display());
        self.out.finish().context(failed)?;
        Ok(self.rows)
    }
}

/// All of them.
pub struct Tables {
    flows: Table,
    sequences: Table,
    hosts: Table,
    pairs: Table,
}

fn names(schema: &[Feature]) -> Vec<String> {
    schema.iter().map(|column| column.name.to_owned()).collect()
}

impl Tables {
    /// Begins them, with their headers, at these paths in the order of [`FILES`].
    pub fn create([flows, sequences, hosts, pairs]: &[PathBuf; 4]) -> anyhow::Result<Tables> {
        let steps =
            (1..=STEPS).flat_map(|step| schema::STEP.iter().map(move |column| format!("{}_{step}", column.name)));
        Ok(Tables {
            flows: Table::create(flows, &format!("{OF_FLOW},moment"), &names(&FEATURES))?,
            sequences: Table::create(sequences, OF_FLOW, &steps.collect::<Vec<_>>())?,
            hosts: Table::create(hosts, "time_ns,host", &names(&schema::HOST))?,
            pairs: Table::create(pairs, "time_ns,source,destination,destination_port,protocol", &names(&schema::PAIR))?,
        })
    }

    /// A row of a flow that was due.
    pub fn flow(&mut self, row: &ScoredFlow) -> anyhow::Result<()> {
        let table = &mut self.flows;
        write_key(&mut table.line, row.time, &row.key, row.originator, u64::from(row.packets))?;
        write!(table.line, ",{}", moment(row.packets))?;
        table.put(&row.row)
    }

    /// A flow that ended.
    pub fn sequence(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        let table = &mut self.sequences;
        // Whose row it is is told by the first packet, in this table as in the others.
        let originator = if flow.is_turned { flow.originator.flip() } else { flow.originator };
        write_key(&mut table.line, flow.ended_at, &flow.key, originator, flow.packets.iter().sum())?;
        table.put(sequence(flow).as_flattened())
    }

    /// What a window came to.
    pub fn window(&mut self, row: &Row) -> anyhow::Result<()> {
        let ip = |address: u128| Endpoint { address, port: 0 }.ip();
        match &row.of {
            Of::Host(host, values) => {
                write!(self.hosts.line, "{},{}", row.window.0, ip(*host))?;
                self.hosts.put(values)
            }
            Of::Pair(pair, values) => {
                let (host, peer) = (ip(pair.host), ip(pair.peer));
                write!(self.pairs.line, "{},{host},{peer},{},{}", row.window.0, pair.port, pair.protocol)?;
                self.pairs.put(values)
            }
        }
    }

    /// All rows have come: the files take their names. Rows of each, in the order of [`FILES`].
    pub fn finish(self) -> anyhow::Result<[u64; 4]> {
        Ok([self.flows.finish()?, self.sequences.finish()?, self.hosts.finish()?, self.pairs.finish()?])
    }
}

fn write_key(
    line: &mut String,
    time: Timestamp,
    key: &FlowKey,
    originator: Direction,
    packets: u64,
) -> std::fmt::Result {
    let (source, target) = key.endpoints(originator);
    write!(line, "{},{},{},", time.0, source.ip(), source.port)?;
    write!(line, "{},{},{},{packets}", target.ip(), target.port, key.protocol())
}

/// Why a row was due: a flow that ends with as many packets as a milestone has had its row.
fn moment(packets: u32) -> &'static str {
    match packets {
        4 => "early",
        16.. if packets.is_power_of_two() && packets.trailing_zeros().is_multiple_of(2) => "milestone",
        _ => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_row_is_due_at_powers_of_four_and_at_the_end() {
        let due =
            [(1, "end"), (4, "early"), (8, "end"), (16, "milestone"), (32, "end"), (64, "milestone"), (65, "end")];
        for (packets, wanted) in due {
            assert_eq!(moment(packets), wanted, "{packets}");
        }
    }
}
