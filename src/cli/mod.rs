//! The command line: one file per subcommand.
//!
//! Exit codes: 0 all well, 1 a run-time failure, 2 wrong usage or configuration, 3 findings or unhealthy, 4 not permitted.
//! Results go to standard output, everything else to standard error.

mod bypass;
mod capture;
mod check;
mod client;
pub mod demo;
mod doctor;
mod evaluate;
mod files;
mod flows;
mod hosts;
mod interface;
mod keep;
mod line;
mod memory;
mod models;
pub mod observe;
mod out;
mod output;
mod pair;
mod progress;
mod reload;
mod replay;
mod reset;
mod respond;
mod run;
mod scan;
mod train_export;
mod verify_block;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Why a subcommand ended otherwise than well.
#[derive(Debug)]
pub enum Failure {
    /// 1: something went wrong while running.
    Runtime(anyhow::Error),
    /// 2: the configuration or the arguments cannot be meant.
    Usage(anyhow::Error),
    /// 3: it worked, and found what should not be.
    Findings(String),
    /// 4: the process lacks a right.
    NotPermitted(anyhow::Error),
    /// 130, as shells count SIGINT: somebody ended it before it was done; what it wrote is whole, of a part.
    Interrupted(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(cause: E) -> Failure {
        Failure::Runtime(cause.into())
    }
}

/// A network security appliance: AF_XDP capture, flow tables, an ONNX model, explained alerts over HTTP.
#[derive(Parser, Debug)]
#[command(name = "shrike", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  shrike demo                            real attackers caught live on this machine, and how
  shrike doctor                          what this machine can do, and the exact fix for what it cannot
  shrike run -i eth1                     watch eth1; the live page is at http://127.0.0.1:7470/
  shrike replay trace.pcap --json        what the same engine finds in a capture file
  shrike observe -f                      alerts as they arrive
  shrike findings                        what exposes the hosts that were seen")]
struct Arguments {
    /// Log format on standard error.
    #[arg(long, global = true, value_parser = ["pretty", "json"], default_value = "pretty")]
    log_format: String,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand, Debug)]
enum Subcommands {
    /// Capture from interfaces, detect, score, and serve alerts over HTTP.
    Run(run::Arguments),
    /// Run capture files through the same engine.
    Replay(replay::Arguments),
    /// Replay labelled recordings and say what the detectors found, missed and made up.
    Evaluate(evaluate::Arguments),
    /// Write what models see of capture files as tables: train on recordings of your own.
    TrainExport(train_export::Arguments),
    /// Show the alerts of a running sensor, and follow them.
    Observe(observe::ObserveArgs),
    /// Show the flows of a running sensor, by host, protocol, time and more.
    Flows(flows::Arguments),
    /// Show the hosts of a running sensor: names, systems, services.
    Hosts(hosts::HostsArgs),
    /// Show what exposes these hosts: weak protocols, passwords in the clear, known vulnerabilities.
    Findings(hosts::FindingsArgs),
    /// Show the models of a running sensor, and say which is active or compared.
    Models(models::Arguments),
    /// Send a pair's frames past the worker, and back.
    Bypass(bypass::Arguments),
    /// Block addresses or networks at a running sensor, for a time.
    Block(respond::BlockArgs),
    /// Take blocks of an address or network back.
    Unblock(respond::UnblockArgs),
    /// Cut a host off, but for what it may still reach.
    Isolate(respond::IsolateArgs),
    /// Let an isolated host back.
    Release(respond::ReleaseArgs),
    /// End a TCP connection at both of its ends.
    Reset(reset::ResetArgs),
    /// Write whole frames of somebody into a file at the sensor, for a time.
    Capture(capture::CaptureArgs),
    /// Show what was captured, and fetch it.
    Captures(capture::CapturesArgs),
    /// Check what you own: open ports, banners, versions of TLS, certificates.
    Scan(scan::ScanArgs),
    /// Prove that blocks work: order one, and ask the program on each port.
    VerifyBlock(verify_block::Arguments),
    /// Show what is done about alerts and whether the kernel does it; accept or reject proposals.
    Responses(respond::ResponsesArgs),
    /// Show which alerts are answered how.
    Playbooks(respond::PlaybooksArgs),
    /// Have a running sensor read its configuration anew, losing no frame.
    Reload(reload::Arguments),
    /// Watch real attackers raise their alerts, in a lab of this machine's own without a route out.
    Demo(demo::Arguments),
    /// Set ports up again that a dead `shrike run` held down.
    #[command(hide = true)]
    KeepLinks(keep::Arguments),
    /// Check a configuration file and show the plan it makes.
    Check(check::Arguments),
    /// Say what this machine can do, why it matters, and the exact fix for what it cannot.
    Doctor(doctor::Arguments),
}

/// Parses the arguments, runs the subcommand, reports its failure; the process's exit code.
pub fn main() -> ExitCode {
    // A reader that went away (`shrike replay ... | head`) ends us quietly instead of by a panic in println.
    crate::sys::signals::default_sigpipe();
    let arguments = Arguments::parse();
    log_to_stderr(&arguments.log_format);
    let outcome = match arguments.command {
        Subcommands::Run(arguments) => run::run(arguments),
        Subcommands::Replay(arguments) => replay::run(arguments),
        Subcommands::Evaluate(arguments) => evaluate::run(&arguments),
        Subcommands::TrainExport(arguments) => train_export::run(&arguments),
        Subcommands::Observe(arguments) => observe::run(&arguments),
        Subcommands::Flows(arguments) => flows::run(&arguments),
        Subcommands::Hosts(arguments) => hosts::hosts(&arguments),
        Subcommands::Findings(arguments) => hosts::findings(&arguments),
        Subcommands::Models(arguments) => models::run(&arguments),
        Subcommands::Bypass(arguments) => bypass::run(&arguments),
        Subcommands::Block(arguments) => respond::block(&arguments),
        Subcommands::Unblock(arguments) => respond::unblock(&arguments),
        Subcommands::Isolate(arguments) => respond::isolate(&arguments),
        Subcommands::Release(arguments) => respond::release(&arguments),
        Subcommands::Reset(arguments) => reset::run(&arguments),
        Subcommands::Capture(arguments) => capture::capture(&arguments),
        Subcommands::Captures(arguments) => capture::captures(&arguments),
        Subcommands::Scan(arguments) => scan::run(&arguments),
        Subcommands::VerifyBlock(arguments) => verify_block::run(&arguments),
        Subcommands::Responses(arguments) => respond::responses(&arguments),
        Subcommands::Playbooks(arguments) => respond::playbooks(&arguments),
        Subcommands::Reload(arguments) => reload::run(&arguments),
        Subcommands::Demo(arguments) => demo::run(&arguments),
        Subcommands::KeepLinks(arguments) => keep::run(&arguments),
        Subcommands::Check(arguments) => check::run(arguments),
        Subcommands::Doctor(arguments) => doctor::run(arguments),
    };
    let (code, message) = match outcome {
        Ok(()) if out::finish().is_none() => return ExitCode::SUCCESS,
        Ok(()) => (1, "not all results could be written".to_owned()),
        Err(Failure::Runtime(cause)) => (1, format!("{cause:#}")),
        Err(Failure::Usage(cause)) => (2, format!("{cause:#}")),
        Err(Failure::Findings(text)) => (3, text),
        Err(Failure::NotPermitted(cause)) => (4, format!("{cause:#}")),
        Err(Failure::Interrupted(text)) => (130, text),
    };
    if let Some(cause) = out::finish() {
        eprintln!("shrike: write to standard output: {cause}");
    }
    eprintln!("shrike: {message}");
    ExitCode::from(code)
}

/// Logs go to standard error, level by `SHRIKE_LOG` (default `info`), colour only on a terminal and without `NO_COLOR`.
fn log_to_stderr(format: &str) {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHRIKE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A logger that is already there (a test's) is kept.
    let _ = match format {
        "json" => builder.json().try_init(),
        _ => builder.with_ansi(color).with_target(false).try_init(),
    };
}
