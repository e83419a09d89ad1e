//! The engine from memory: decode, flow table, features, detectors, scoring and expiry, as a worker runs them.
//!
//! `cargo bench --bench engine` prints the table and writes `target/bench/engine.json`; `-- gate` counts instructions of
//! the gated cases only and compares them with `benches/baseline.json`; `-- flows` counts those of whole flows of TLS, QUIC,
//! DNS and HTTP with inspection and without; `-- export` counts what it costs worker and control plane that flows and
//! events are written; `-- CASE...` does so many cases. Every figure comes from a process of its own, started as `run CASE PACKETS SCORING`:
//!
//! - time: the median of several runs (`BENCH_REPEATS`), each after its warm-up;
//! - instructions: callgrind's count at two lengths of one measured stretch, so that its beginning cancels out. (Counted
//!   from the start of the process, loading the model would tell on it: the runtime measures its own cost there, and runs
//!   of one program differed by 50 million instructions, 50 a packet.)
//! - allocations: counted by an interposer below `malloc` (`benches/malloc_count.c`), again at two lengths, once with the
//!   model's call and once with its rows thrown away: the difference is what the calls of the model allocate.
//!
//! Wall clock on a shared machine says little (identical runs differ by a factor of two there): the load average stands
//! beside it, and the gate is on instructions.

mod export;
mod flows;
mod run;
mod traffic;

use anyhow::{Context, ensure};
use run::{Outcome, Scoring};
use serde::{Deserialize, Serialize};
use shrike::dataplane::score::{BATCH_MAX, Model, Settings as ModelSettings};
use shrike::dataplane::worker::ScoreSettings;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Every case, with the packets that a measured stretch has: enough that two windows end and every timer has fired.
const CASES: &[(&str, u64)] = &[
    ("zipf_1m_64", 1_000_000),
    ("uniform_1k_64", 1_000_000),
    ("uniform_100k_64", 1_000_000),
    ("uniform_1m_64", 1_000_000),
    ("uniform_10m_64", 1_000_000),
    ("new_flows_64", 500_000),
    ("replay_64", 1_000_000),
    ("benign", 1_000_000),
    ("attack", 1_000_000),
];
/// Cases whose instructions are gated: the one that counts, and the hostile one.
const GATED: &[&str] = &["zipf_1m_64", "new_flows_64"];
/// Packets of a stretch of whole flows: every timer has fired, and an instruction more or less is a thousandth.
const FLOW_PACKETS: u64 = 200_000;
/// Lines of a stretch that is counted.
const LINES: u64 = 20_000;
/// How much more than the baseline the gate lets through.
const TOLERANCE: f64 = 1.02;

/// One line of the table.
#[derive(Serialize, Deserialize, Default)]
struct Row {
    case: String,
    flows: u64,
    frame_bytes: f64,
    ns_per_packet: f64,
    mpps: f64,
    instructions_per_packet: f64,
    /// Outside the calls of the model.
    allocations_per_packet: f64,
    scored_per_packet: f64,
    /// The same without the calls of the model (rows are made and thrown away).
    instructions_per_packet_without_model: Option<f64>,
    allocations_per_microbatch: f64,
    rows_per_microbatch: f64,
    new_flows_per_packet: f64,
    ended_flows_per_packet: f64,
    /// Runs the time is the median of, and the shortest.
    repeats: usize,
    ns_per_packet_min: f64,
    load_average: f64,
    /// Name of the model; empty where none was there to be called.
    model: String,
}

struct Bench {
    program: PathBuf,
    data: PathBuf,
    out: PathBuf,
    interposer: PathBuf,
    /// Rows of a call, and the model's name; `None`: no model, rows are thrown away.
    model: Option<(u32, String)>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.parent().context("the project lies in a folder")?.join("shared/data");
    if let [word, case, packets, scoring] = arguments.as_slice()
        && word == "run"
    {
        let scoring = match scoring.parse() {
            Ok(rows) => Scoring::Model(rows),
            Err(_) if scoring == "discard" => Scoring::Discard,
            Err(_) => Scoring::Off,
        };
        let packets = packets.parse()?;
        let outcome =
            if export::is_line(case) { export::run(case, packets)? } else { run::run(case, packets, scoring, &data)? };
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(());
    }
    let out = root.join("target/bench");
    std::fs::create_dir_all(&out)?;
    let interposer = out.join("malloc_count.so");
    let built = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&interposer)
        .arg(root.join("benches/malloc_count.c"))
        .status()
        .context("run cc")?;
    ensure!(built.success(), "cc could not build benches/malloc_count.c");
    let model = match Model::load(&ModelSettings::default()) {
        Ok(model) => {
            let settings = ScoreSettings::default().for_model(model.cost());
            Some((settings.maximum, model.manifest().name.clone()))
        }
        Err(error) => {
            eprintln!("without a model, its rows are thrown away: {error}");
            None
        }
    };
    let bench = Bench { program: std::env::current_exe()?, data, out, interposer, model };
    match arguments.first().map(String::as_str) {
        Some("gate") => {
            bench.gate(&root.join("benches/baseline.json"), arguments.get(1).is_some_and(|a| a == "record"))
        }
        Some("flows") => bench.flows(),
        Some("export") => bench.export(),
        _ => bench.table(&arguments),
    }
}

impl Bench {
    fn with_model(&self) -> String {
        self.model.as_ref().map_or("discard".to_owned(), |(rows, _)| rows.to_string())
    }

    fn table(&self, only: &[String]) -> anyhow::Result<()> {
        println!(
            "{:<16} {:>10} {:>7} {:>8} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8}",
            "case", "flows", "bytes", "ns/pkt", "Mpps", "instr/pkt", "w/o model", "alloc/p", "alloc/mb", "scored/p"
        );
        let mut rows = Vec::new();
        for (case, packets) in CASES {
            if !only.is_empty() && !only.iter().any(|name| name == case) {
                continue;
            }
            if !case.ends_with("_64") && !self.data.join(case).exists() {
                eprintln!("SKIPPED {case}: no captures at {}", self.data.join(case).display());
                continue;
            }
            let row = self.row(case, *packets)?;
            println!(
                "{:<16} {:>10} {:>7.1} {:>8.1} {:>7.2} {:>9.1} {:>9.1} {:>8.5} {:>8.1} {:>8.4}",
                row.case,
                row.flows,
                row.frame_bytes,
                row.ns_per_packet,
                row.mpps,
                row.instructions_per_packet,
                row.instructions_per_packet_without_model.unwrap_or(f64::NAN),
                row.allocations_per_packet,
                row.allocations_per_microbatch,
                row.scored_per_packet
            );
            rows.push(row);
        }
        let path = self.out.join("engine.json");
        std::fs::write(&path, serde_json::to_string_pretty(&rows)? + "\n")?;
        println!("written to {}; load average {:.2}", path.display(), load_average());
        Ok(())
    }

    fn row(&self, case: &str, packets: u64) -> anyhow::Result<Row> {
        let repeats = std::env::var("BENCH_REPEATS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
        let scoring = self.with_model();
        let mut outcomes = Vec::new();
        for _ in 0..repeats {
            outcomes.push(self.plain(case, packets * 4, &scoring)?);
        }
        outcomes.sort_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        let per_packet = |outcome: &Outcome| outcome.nanoseconds / outcome.packets as f64;
        let median = &outcomes[outcomes.len() / 2];
        let count = |value: u64| value as f64 / median.packets as f64;
        let instructions = self.instructions(case, packets, &scoring)?;
        // Of the gated cases only: each costs a run under valgrind.
        let without = GATED.contains(&case).then(|| self.instructions(case, packets, "discard")).transpose()?;
        let allocations = self.allocations(case, packets, "discard")?;
        let with_model = self.allocations(case, packets, &scoring)?;
        Ok(Row {
            case: case.to_owned(),
            flows: median.flows,
            frame_bytes: median.frame_bytes,
            ns_per_packet: per_packet(median),
            mpps: 1e3 / per_packet(median),
            instructions_per_packet: instructions,
            allocations_per_packet: allocations.0,
            scored_per_packet: if self.model.is_some() { count(median.scored) } else { 0.0 },
            instructions_per_packet_without_model: without,
            allocations_per_microbatch: (with_model.0 - allocations.0) * packets as f64 / with_model.1.max(1.0),
            rows_per_microbatch: median.scored as f64 / median.microbatches.max(1) as f64,
            new_flows_per_packet: count(median.flows_begun),
            ended_flows_per_packet: count(median.flows_ended),
            repeats,
            ns_per_packet_min: per_packet(&outcomes[0]),
            load_average: load_average(),
            model: self.model.as_ref().map_or(String::new(), |model| model.1.clone()),
        })
    }

    /// Instructions of whole flows, with inspection and without: what looking into their first packets costs.
    fn flows(&self) -> anyhow::Result<()> {
        println!("{:<20} {:>8} {:>12} {:>12} {:>12}  what", "flow", "packets", "inspected", "not", "difference");
        for (kind, what) in flows::KINDS {
            let packets = flows::flows(kind, 0)?.each() as f64;
            let of = |case: &str| anyhow::Ok(self.instructions(case, FLOW_PACKETS, "discard")? * packets);
            let (with, without) = (of(kind)?, of(&format!("{kind}{}", run::UNINSPECTED))?);
            println!("{kind:<20} {packets:>8} {with:>12.0} {without:>12.0} {:>12.0}  {what}", with - without);
        }
        Ok(())
    }

    /// What it costs that flows and events are exported: the worker in instructions a flow, without what the control plane
    /// does; and the control plane in instructions, allocations and time a line.
    fn export(&self) -> anyhow::Result<()> {
        println!("worker: instructions a flow, and what more is taken for its events, its end and its shape");
        println!("{:<20} {:>10} {:>8} {:>8} {:>8} {:>8}", "flow", "inspected", "events", "+events", "+end", "+shape");
        let flood = ("new_flows_64", "");
        for (kind, _) in flows::KINDS.iter().chain([&flood]) {
            let packets = if *kind == flood.0 { 1.0 } else { flows::flows(kind, 0)?.each() as f64 };
            let mut counts = Vec::new();
            let mut events = 0.0;
            for end in [""].iter().chain(&run::EXPORTS) {
                let (instructions, outcome) =
                    self.counted(&format!("{kind}{end}"), FLOW_PACKETS, "discard", "*run::worker_turn*")?;
                counts.push(instructions * packets);
                events = outcome.events as f64 / outcome.packets as f64 * packets;
            }
            let more = counts.windows(2).map(|pair| format!(" {:>8.0}", pair[1] - pair[0])).collect::<String>();
            println!("{kind:<20} {:>10.0} {events:>8.1}{more}", counts[0]);
        }
        println!("control plane, a line (an event of the inventory); lines a second are of the file's thread alone");
        println!(
            "{:<16} {:>12} {:>11} {:>6} {:>8} {:>10} {:>10} {:>9}",
            "line", "instructions", "allocations", "bytes", "ns", "file ns", "handed ns", "lines/s"
        );
        for (line, _, taker) in export::LINES {
            let instructions = self.instructions(line, LINES, "off")?;
            let (allocations, _) = self.allocations(line, LINES, "off")?;
            let made = self.plain(line, 10 * LINES, "off")?;
            let each = |nanoseconds: f64| nanoseconds / (10 * LINES) as f64;
            print!("{line:<16} {instructions:>12.0} {allocations:>11.1}");
            if *taker == export::Taker::Inventory {
                println!(" {:>6} {:>8.0}", "", each(made.nanoseconds));
                continue;
            }
            let file = self.plain(&format!("{}{line}", export::FILE), 10 * LINES, "off")?;
            println!(
                " {:>6.0} {:>8.0} {:>10.0} {:>10.0} {:>9.0}",
                file.frame_bytes,
                each(made.nanoseconds),
                each(file.nanoseconds),
                each(file.handed_ns),
                1e9 / each(file.nanoseconds)
            );
        }
        println!("load average {:.2}", load_average());
        Ok(())
    }

    fn gate(&self, baseline: &Path, record: bool) -> anyhow::Result<()> {
        ensure!(self.model.is_some(), "the gate counts the model's calls too: ci/get-onnxruntime.sh");
        let mut found = BTreeMap::new();
        for case in GATED {
            let packets = CASES.iter().find(|known| known.0 == *case).context("a gated case is a case")?.1;
            found.insert((*case).to_owned(), self.instructions(case, packets, "discard")?);
        }
        // With the model's calls: apart, because the runtime library and the model file are part of it; of a fixed size,
        // because the usual one depends on how fast this machine is.
        let rows = BATCH_MAX.to_string();
        let (counting, packets) = CASES[0];
        found.insert(format!("{counting} with the model"), self.instructions(counting, packets, &rows)?);
        if record {
            std::fs::write(baseline, serde_json::to_string_pretty(&found)? + "\n")?;
        }
        let expected: BTreeMap<String, f64> = serde_json::from_str(&std::fs::read_to_string(baseline)?)?;
        let mut worse = Vec::new();
        for (case, instructions) in &found {
            let base = *expected.get(case).with_context(|| format!("{case} is not in {}", baseline.display()))?;
            println!(
                "{case}: {instructions:.2} instructions a packet, baseline {base:.2} ({:+.2} %)",
                (instructions / base - 1.0) * 100.0
            );
            if *instructions > base * TOLERANCE {
                worse.push(case.as_str());
            }
        }
        ensure!(
            worse.is_empty(),
            "more than 2 % above the baseline: {}; only a commit that names the cause may raise it",
            worse.join(", ")
        );
        Ok(())
    }

    fn command(&self, before: &[String], case: &str, packets: u64, scoring: &str) -> Command {
        let mut words: Vec<String> = before.to_vec();
        words.push(self.program.display().to_string());
        words.extend(["run", case, &packets.to_string(), scoring].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    fn plain(&self, case: &str, packets: u64, scoring: &str) -> anyhow::Result<Outcome> {
        let output = self.command(&[], case, packets, scoring).output()?;
        outcome(&output)
    }

    /// Instructions a packet: what the second of two stretches, N and 2 N packets long in all, adds.
    fn instructions(&self, case: &str, packets: u64, scoring: &str) -> anyhow::Result<f64> {
        Ok(self.counted(case, packets, scoring, "*::measured*")?.0)
    }

    /// The same of the functions of that name alone, with the outcome of the run.
    fn counted(&self, case: &str, packets: u64, scoring: &str, function: &str) -> anyhow::Result<(f64, Outcome)> {
        let file = self.out.join(format!("callgrind.{}", case.replace(['/', ' '], ".")));
        let valgrind = [
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            "--instr-atstart=no".to_owned(),
            format!("--toggle-collect={function}"),
            format!("--callgrind-out-file={}", file.display()),
        ];
        let output = counted(&mut self.command(&valgrind, case, packets, scoring))?;
        let outcome = outcome(&output)?;
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind gave no total")?;
        Ok((total.trim().parse::<f64>()? / outcome.packets as f64, outcome))
    }

    /// Allocations a packet, and microbatches in such a stretch: the difference of two lengths.
    fn allocations(&self, case: &str, packets: u64, scoring: &str) -> anyhow::Result<(f64, f64)> {
        let mut counts = Vec::new();
        let mut microbatches = 0.0;
        for packets in [packets, packets * 2] {
            let file = self.out.join("allocations");
            let output = self
                .command(&[], case, packets, scoring)
                .env("LD_PRELOAD", &self.interposer)
                .env("MALLOC_COUNT_FILE", &file)
                .output()?;
            microbatches = outcome(&output)?.microbatches as f64 / 2.0;
            counts.push(std::fs::read_to_string(&file).context("the interposer wrote nothing")?.trim().parse::<f64>()?);
        }
        Ok(((counts[1] - counts[0]) / packets as f64, microbatches))
    }
}

/// Runs a process under callgrind, which counts from when the process says that it is warm (until then it runs some ten
/// times faster), and anew from when it says so again.
fn counted(command: &mut Command) -> anyhow::Result<Output> {
    let pipes = command.env(run::WAIT, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().context("run valgrind")?;
    let mut input = child.stdin.take().context("a pipe")?;
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?);
    let mut said = String::new();
    for order in [["instrumentation", "on"].as_slice(), &["zero"]] {
        said.clear();
        lines.read_line(&mut said)?;
        if said.trim() != run::WARM {
            break;
        }
        let answer = Command::new("vgdb").arg(format!("--pid={}", child.id())).args(order).output();
        let answer = answer.context("run vgdb, which comes with valgrind")?;
        ensure!(answer.status.success(), "vgdb: {}", String::from_utf8_lossy(&answer.stderr));
        input.write_all(b"\n")?;
        said.clear();
    }
    lines.read_to_string(&mut said)?;
    let output = child.wait_with_output()?;
    Ok(Output { stdout: said.into_bytes(), ..output })
}

fn outcome(output: &Output) -> anyhow::Result<Outcome> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(serde_json::from_str(text.lines().last().context("the run said nothing")?)?)
}

fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}
