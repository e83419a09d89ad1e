//! `shrike flows`: flows of a running sensor on the terminal, over its HTTP API.

use super::Failure;
use super::client::Client;
use super::line::{clock, grouped, harmless};
use super::out::say;
use crate::control::flows::{FlowRow, LivingTold};
use crate::control::moment;
use crate::units::{SECOND, Timestamp};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Flows asked for at a time.
const PAGE: usize = 1_000;

/// Arguments of `shrike flows`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike flows                                    50 flows: those that live, then the last that ended
  shrike flows --living --host 10.0.0.5 -n 1000   who is on this host now
  shrike flows --host 10.0.0.0/8 --protocol smb   who speaks SMB in there
  shrike flows --alerted --since 1h --json        what the alerts of the last hour are about")]
pub struct Arguments {
    /// One end is this address, or of this block of them
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
    host: Option<String>,
    /// Port of one end
    #[arg(long)]
    port: Option<u16>,
    /// A transport (tcp, udp, icmp) or what is carried (dns, tls, smb, ...)
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// Community ID
    #[arg(long, value_name = "1:...")]
    community_id: Option<String>,
    /// new, answered, established, closing or closed
    #[arg(long)]
    state: Option<String>,
    /// Seen this long ago (30s, 5m, 2h, 1d) or at this time (2026-11-22T14:03:22Z), or later
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    since: Option<Timestamp>,
    /// So many bytes both ways at least
    #[arg(long, value_name = "N")]
    min_bytes: Option<u64>,
    /// Only flows that an alert is about
    #[arg(long)]
    alerted: bool,
    /// Only flows that live
    #[arg(long)]
    living: bool,
    /// Flows shown at most
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// One JSON object a line, as served
    #[arg(long)]
    json: bool,
    /// Where the sensor serves its API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7470")]
    url: String,
}

impl Arguments {
    /// Query parameters for what is asked for.
    fn filter(&self) -> String {
        let parts = [
            ("host", self.host.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("protocol", self.protocol.clone()),
            ("community_id", self.community_id.clone()),
            ("state", self.state.clone()),
            ("since", self.since.map(|since| since.0.to_string())),
            ("min_bytes", self.min_bytes.map(|bytes| bytes.to_string())),
            ("alerted", self.alerted.then(|| "true".to_owned())),
            ("living", self.living.then(|| "true".to_owned())),
        ];
        let given = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.map(|(name, value)| format!("&{name}={}", escaped(&value))).collect()
    }
}

/// As it may stand in a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<serde_json::value::RawValue>>,
    next: String,
    has_more: bool,
    overwritten: u64,
    #[serde(default)]
    living: Option<LivingTold>,
}

/// Shows what was asked for on standard output.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(show(arguments)).map_err(|cause| Failure::Runtime(anyhow::Error::msg(cause)))
}

async fn show(arguments: &Arguments) -> Result<(), String> {
    let mut client = Client::new(&arguments.url).map_err(|cause| cause.to_string())?;
    let (filter, mut before, mut left) = (arguments.filter(), String::new(), arguments.limit);
    while left > 0 {
        let path = format!("/v1/flows?limit={}{filter}{before}", left.min(PAGE));
        let body = client.get(&path, ANSWER).await.map_err(|cause| match cause {
            super::client::ClientError::Connection(..) => {
                format!("{cause}: is `shrike run` running, and is this its address (--url)?")
            }
            cause => cause.to_string(),
        })?;
        let page: Page = serde_json::from_slice(&body)
            .map_err(|cause| format!("{}: not the API of shrike: {cause}", arguments.url))?;
        if let Some(living) = page.living.as_ref().filter(|_| before.is_empty()) {
            living_note(living).into_iter().for_each(|note| eprintln!("shrike flows: {note}"));
        }
        left -= page.items.len().min(left);
        for item in &page.items {
            match serde_json::from_str::<FlowRow>(item.get()) {
                Ok(row) if !arguments.json => say!("{}", line(&row)),
                // Of a newer sensor, perhaps: shown as it is rather than not at all.
                _ => say!("{}", item.get()),
            }
        }
        if !page.has_more {
            if left > 0 && page.overwritten > 0 {
                let gone = grouped(page.overwritten);
                eprintln!("shrike flows: {gone} older flows were overwritten (history in [flow] of the sensor)");
            }
            break;
        }
        before = format!("&before={}", page.next);
    }
    Ok(())
}

/// What a reader has to know of the living flows that are not shown.
fn living_note(told: &LivingTold) -> Option<String> {
    let not_listed = told.matched.saturating_sub(told.listed);
    match &told.reason {
        Some(reason) => Some(format!("flows that live may be missing: {}", harmless(reason))),
        None if not_listed > 0 => Some(format!("{} further flows live; narrow it down", grouped(not_listed))),
        None => None,
    }
}

/// `2026-11-21 14:03:22.123  tcp  10.0.0.1:40000 -> 10.0.0.2:443  tls  SF  3 + 2 packets  300 + 200 bytes  2.5 s`
fn line(row: &FlowRow) -> String {
    let end = |address: IpAddr, port: Option<u16>| match (address, port) {
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
        (address, Some(port)) => format!("{address}:{port}"),
        (address, None) => address.to_string(),
    };
    let seconds = row.last_seen.since(Timestamp(row.first_seen.0)) as f64 / SECOND as f64;
    let [packets, bytes] =
        [row.packets, row.bytes].map(|[there, back]| format!("{} + {}", grouped(there), grouped(back)));
    format!(
        "{}  {:<5} {} -> {}  {}  {}  {packets} packets  {bytes} bytes  {seconds:.1} s{}{}",
        clock(row.first_seen),
        harmless(&row.transport),
        end(row.source, row.source_port),
        end(row.destination, row.destination_port),
        row.application.as_deref().map_or_else(|| "-".into(), harmless),
        harmless(&row.conn_state),
        if row.ended.is_none() { "  (lives)" } else { "" },
        if row.alerted { "  ALERTED" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn what_is_asked_for_is_escaped() {
        let given =
            ["flows", "--host", "2001:db8::/32", "--community-id", "1:a+b/c=", "--protocol", "x&y=\u{fc}", "--alerted"];
        let filter = Command::parse_from(given).arguments.filter();
        assert_eq!(filter, "&host=2001:db8::/32&protocol=x%26y%3D%C3%BC&community_id=1:a%2Bb/c%3D&alerted=true");
    }
}
