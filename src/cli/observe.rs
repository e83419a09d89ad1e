//! `shrike observe`: alerts of a running sensor on the terminal, over its HTTP API.
//!
//! Follows by cursor, so a restart of the sensor or of the network loses nothing; says aloud when retention has taken alerts
//! that it had not shown. Text from the wire is made harmless for the terminal before it is printed.

use super::Failure;
use super::client::{Client, ClientError};
use super::line::{Told, harmless};
use crate::control::alert::Alert;
use crate::control::export::EveWriter;
use crate::control::moment;
use crate::units::Timestamp;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

/// How long the server may hold a poll back, and how much longer an answer may take.
const WAIT: Duration = Duration::from_secs(25);
const ANSWER: Duration = Duration::from_secs(30);
/// First and longest pause before connecting again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Alerts asked for at a time.
const PAGE: usize = 500;
/// Alerts shown without `--since` and without `-f`, and before following.
const LAST: usize = 50;

/// Arguments of `shrike observe`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike observe                             the last 50 alerts
  shrike observe -f --severity 1-2           follow what is high or medium
  shrike observe --since 2h -o eve > a.jsonl the last two hours as EVE JSON")]
pub struct ObserveArgs {
    /// Follow: show new alerts as they come, until interrupted
    #[arg(short, long)]
    pub follow: bool,

    /// Begin this long ago (30s, 5m, 2h, 1d) or at this time (2026-11-22T14:03:22Z) instead of with the last 50
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    pub since: Option<Timestamp>,

    /// Only these severities: one (1) or a range (1-2); 1 is high, 4 is low
    #[arg(long, value_name = "N[-M]", value_parser = severities)]
    pub severity: Option<(u8, u8)>,

    /// Only alerts of this detector (scan, brute_force, flood, model)
    #[arg(long, value_name = "NAME", value_parser = detector)]
    pub detector: Option<String>,

    /// How to write an alert
    #[arg(short, long, value_enum, default_value_t = Format::Compact)]
    pub output: Format,

    /// Where the sensor serves its API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7470")]
    pub url: String,
}

/// How an alert is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// One line for people
    Compact,
    /// One JSON object a line, as served
    Json,
    /// One EVE JSON object a line
    Eve,
}

fn severities(text: &str) -> Result<(u8, u8), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if (1..=4).contains(&low) && (low..=4).contains(&high) => Ok((low, high)),
        _ => Err("a severity from 1 (high) to 4 (low), or a range of them: 1-2".into()),
    }
}

fn detector(text: &str) -> Result<String, String> {
    let known: Vec<_> = crate::dataplane::detect::Detector::ALL.iter().map(|detector| detector.name()).collect();
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(format!("one of {}", known.join(", "))) }
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<serde_json::value::RawValue>>,
    next: String,
    has_more: bool,
}

/// Where the next page begins.
enum Place {
    Newest,
    Oldest,
    After(String),
}

/// Why it ended before it was interrupted.
enum End {
    /// Whoever read our output is gone: nothing to say.
    Pipe,
    Failed(String),
}

impl From<io::Error> for End {
    fn from(cause: io::Error) -> End {
        match cause.kind() {
            io::ErrorKind::BrokenPipe => End::Pipe,
            _ => End::Failed(format!("write to standard output: {cause}")),
        }
    }
}

/// Shows what was asked for on standard output.
pub fn run(args: &ObserveArgs) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    run_to(args, &mut out, colour)
}

/// As [`run`], to any writer; a reader of it that goes away is a quiet end.
pub fn run_to(args: &ObserveArgs, out: &mut impl Write, colour: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    match runtime.block_on(observe(args, out, colour)) {
        Ok(()) | Err(End::Pipe) => Ok(()),
        Err(End::Failed(message)) => Err(Failure::Runtime(anyhow::Error::msg(message))),
    }
}

/// Asks, writes, and goes on from where it was.
async fn observe(args: &ObserveArgs, out: &mut impl Write, colour: bool) -> Result<(), End> {
    let mut client = Client::new(&args.url).map_err(|cause| End::Failed(cause.to_string()))?;
    let filter = filter(args);
    let since = args.since.map(|since| format!("&since={}", since.0));
    let since = since.unwrap_or_default();
    let mut place = if since.is_empty() { Place::Newest } else { Place::Oldest };
    let mut pause = PAUSE.0;
    let mut told = false;
    let mut told_of = Told::default();
    // People want each alert once; programs every row.
    let grouped = if matches!(args.output, Format::Compact) { "&grouped=true" } else { "" };
    loop {
        let wait = if args.follow { WAIT.as_secs() } else { 0 };
        let path = match &place {
            Place::Newest => format!("/v1/alerts?newest={LAST}{grouped}{filter}"),
            Place::Oldest => format!("/v1/alerts?limit={PAGE}{filter}{since}"),
            Place::After(cursor) => format!("/v1/alerts?limit={PAGE}&wait={wait}&after={cursor}{filter}{since}"),
        };
        let answer = client.get(&path, WAIT + ANSWER).await;
        let page: Page = match answer {
            Ok(body) => serde_json::from_slice(&body)
                .map_err(|cause| End::Failed(format!("{}: not the API of shrike: {cause}", args.url)))?,
            Err(ClientError::Problem { slug, .. }) if slug == "cursor-expired" => {
                eprintln!(
                    "shrike observe: alerts were deleted before they could be shown; going on with the oldest left"
                );
                place = Place::Oldest;
                continue;
            }
            Err(cause @ ClientError::Problem { status: 400..=499, .. }) => return Err(End::Failed(cause.to_string())),
            Err(cause) if args.follow && matches!(place, Place::After(_)) => {
                if !told {
                    eprintln!("shrike observe: {cause}; trying again");
                    told = true;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
                continue;
            }
            Err(cause) => {
                return Err(End::Failed(format!("{cause}: is `shrike run` running, and is this its address (--url)?")));
            }
        };
        (pause, told) = (PAUSE.0, false);
        for item in &page.items {
            if let Some(line) = line(item.get(), args, colour, &mut told_of) {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()?;
        place = Place::After(page.next);
        if !page.has_more && !args.follow {
            return Ok(());
        }
    }
}

/// Query parameters for what the server can filter; it takes an upper severity only.
fn filter(args: &ObserveArgs) -> String {
    let mut filter = String::new();
    if let Some((_, highest)) = args.severity {
        // Writing to a String cannot fail.
        let _ = write!(filter, "&severity={highest}");
    }
    if let Some(detector) = &args.detector {
        let _ = write!(filter, "&detector={detector}");
    }
    filter
}

/// One alert as asked for, short if `told` has it already; `None` if it is not to be shown.
fn line(json: &str, args: &ObserveArgs, colour: bool, told: &mut Told) -> Option<String> {
    let Ok(alert) = serde_json::from_str::<Alert>(json) else {
        // Of a newer sensor, perhaps: shown as it is rather than not at all.
        return Some(harmless(json));
    };
    if args.severity.is_some_and(|(lowest, _)| alert.evidence.severity < lowest) {
        return None;
    }
    Some(match args.output {
        Format::Compact => told.line(&alert, colour),
        Format::Json => json.to_owned(),
        Format::Eve => eve_line(&alert)?,
    })
}

/// An EVE line without its end.
fn eve_line(alert: &Alert) -> Option<String> {
    let mut writer = EveWriter::new(Vec::new(), None);
    writer.alert(alert).ok()?;
    Some(String::from_utf8_lossy(&writer.finish().ok()?).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused_in_words() {
        assert_eq!(severities("1-2"), Ok((1, 2)));
        assert_eq!(severities("3"), Ok((3, 3)));
        for bad in ["0", "5", "2-1", "1-9", "a", "1-"] {
            assert!(severities(bad).is_err(), "{bad}");
        }
        assert!(detector("flood").is_ok() && detector("nmap").unwrap_err().contains("brute_force"));
    }
}
