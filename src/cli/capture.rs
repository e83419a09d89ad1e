//! `shrike capture` and `shrike captures`: whole frames of somebody into a file at the sensor, and the file here.

use super::Failure;
use super::line::{clock, grouped, harmless};
use super::out::say;
use super::respond::{Call, Place, Session, Terms, order};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::watch::capture::CaptureView;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `shrike capture`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike capture 10.0.0.5                                  from it and to it, for a minute
  shrike capture 10.0.9.0/24 --for 10m --bytes 10000000    a network, ten megabytes at most
  shrike capture --mac 02:00:00:00:00:05                   by its card
  shrike capture 192.0.2.7:51234 --to 10.0.0.9:443         one connection
  shrike captures                                          which there are
  shrike captures get NAME -o trace.pcapng                 fetch one")]
pub struct CaptureArgs {
    /// An address or network; with --to one end of a connection
    #[arg(value_name = "IP[/BITS]|IP:PORT", required_unless_present = "mac")]
    of: Option<String>,
    /// The other end
    #[arg(long, value_name = "IP:PORT")]
    to: Option<SocketAddr>,
    /// UDP, not TCP
    #[arg(long, requires = "to")]
    udp: bool,
    /// A card
    #[arg(long, conflicts_with_all = ["of", "to"])]
    mac: Option<String>,
    /// Bytes at most
    #[arg(long, value_parser = clap::value_parser!(u64).range(1024..))]
    bytes: Option<u64>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `shrike captures`.
#[derive(clap::Args, Clone, Debug)]
pub struct CapturesArgs {
    #[command(subcommand)]
    order: Option<Orders>,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Orders {
    /// Show them (also without a subcommand)
    List,
    /// Fetch one
    Get {
        /// Its name
        name: String,
        /// Where to; its own name in this folder if absent
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// `shrike capture`.
pub fn capture(arguments: &CaptureArgs) -> Result<(), Failure> {
    let CaptureArgs { of, to, udp, mac, bytes, terms, place } = arguments;
    let usage = |cause: String| Failure::Usage(anyhow::Error::msg(cause));
    let of = of.as_deref().unwrap_or_default();
    let mut parameters = match (mac, to) {
        (Some(mac), _) => json!({ "mac": mac }),
        (None, None) => json!({ "prefix": of.parse::<Prefix>().map_err(|cause| usage(cause.to_string()))? }),
        (None, Some(to)) => {
            let from: SocketAddr = of.parse().map_err(|_| usage(format!("{of:?} is no IP:PORT")))?;
            let protocol = if *udp { "udp" } else { "tcp" };
            json!({ "flow": {
                "source": from.ip(), "source_port": from.port(), "destination": to.ip(), "destination_port": to.port(),
                "protocol": protocol,
            } })
        }
    };
    if let Some(bytes) = bytes {
        parameters["bytes"] = json!(bytes);
    }
    order(place, terms, "capture", parameters)
}

/// `shrike captures`.
pub fn captures(arguments: &CapturesArgs) -> Result<(), Failure> {
    let mut session = Session::open(&arguments.place)?;
    match &arguments.order {
        None | Some(Orders::List) => {
            let body = session.ask(Call::Get("/v1/captures".into()))?;
            if arguments.place.json {
                say!("{}", String::from_utf8_lossy(&body));
                return Ok(());
            }
            let page: Value = session.read(&body)?;
            let items: Vec<CaptureView> = serde_json::from_value(page["items"].clone())?;
            for one in &items {
                let state = match (one.response, one.frames, one.lost) {
                    (Some(id), frames, lost) => {
                        let [frames, lost] = [frames, lost].map(|count| grouped(count.unwrap_or(0)));
                        format!("growing: {frames} frames, {lost} lost, response {id}")
                    }
                    _ => "whole".to_owned(),
                };
                say!("{}  {} bytes  {}  {state}", harmless(&one.name), grouped(one.bytes), clock(one.changed));
            }
            if items.is_empty() {
                say!("no captures: `shrike capture IP` makes one");
            }
            Ok(())
        }
        Some(Orders::Get { name, output }) => {
            // What the sensor calls it is no path.
            let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
            if !plain {
                return Err(Failure::Usage(anyhow::anyhow!("{name:?} is no name: `shrike captures` shows them")));
            }
            let path = output.clone().unwrap_or_else(|| PathBuf::from(name));
            let bytes = session.fetch(&format!("/v1/captures/{name}"), &path)?;
            if arguments.place.json {
                say!("{}", json!({ "file": path, "bytes": bytes }));
            } else {
                say!("{}: {} bytes", path.display(), grouped(bytes));
            }
            Ok(())
        }
    }
}
