//! `shrike scan`: asks a running sensor to check what you own, shows how far it is, and what it found.

use super::Failure;
use super::line::{grouped, harmless};
use super::out::say;
use super::respond::{Call, Place, Session, Terms, person, told, wish};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::scan::{OpenPort, ScanView};
use crate::control::respond::view::{OrderedView, ResponseView};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `shrike scan`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike scan 10.0.9.0/24                      the ports of [scan], at its rate
  shrike scan 10.0.9.7 --ports 22,443,8443     these ports
  shrike scan 10.0.0.0/20 --rate 2000 --for 30m --json
Targets must lie in `targets` of [scan]: nothing else is ever asked. Ctrl-C ends it with what it has. What is found stands in
`shrike findings` and `shrike hosts` as well, judged by the same rules as what is seen.")]
pub struct ScanArgs {
    /// Addresses or networks
    #[arg(required = true, value_name = "IP[/BITS]")]
    targets: Vec<Prefix>,
    /// Ports; those of [scan] if absent
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    ports: Vec<u16>,
    /// Connections a second; that of [scan] if absent
    #[arg(long)]
    rate: Option<u32>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    place: Place,
}

/// `shrike scan`.
pub fn run(arguments: &ScanArgs) -> Result<(), Failure> {
    let ScanArgs { targets, ports, rate, terms, place } = arguments;
    let mut parameters = json!({ "targets": targets, "ports": ports });
    if let Some(rate) = rate {
        parameters["rate"] = json!(rate);
    }
    let mut session = Session::open(place)?;
    let order = wish("scan", parameters, terms);
    let body = session.ask(Call::Post("/v1/responses".into(), order.to_string().into()))?;
    let ordered: OrderedView = session.read(&body)?;
    if ordered.outcome == "would_do" {
        return told(&session, place, &body);
    }
    let id = ordered.response.id;
    let mut response = ordered.response;
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))?;
    let bar = bar();
    while response.state == "running" && !stop.load(Relaxed) {
        std::thread::sleep(LOOK);
        let body = session.ask(Call::Get(format!("/v1/responses/{id}")))?;
        response = session.read::<ResponseView>(&body)?;
        let body = session.ask(Call::Get("/v1/scans".into()))?;
        let list: serde_json::Value = session.read(&body)?;
        let found = list["items"].as_array().into_iter().flatten().find(|one| one["id"] == id.to_string());
        if let Some(scan) = found.and_then(|one| serde_json::from_value::<ScanView>(one.clone()).ok()) {
            show(&bar, &scan);
        }
    }
    if stop.load(Relaxed) {
        session.ask(Call::Delete(format!("/v1/responses/{id}?by={}", person())))?;
    }
    bar.finish_and_clear();
    if response.state == "failed" {
        let why = response.outcome.as_deref().map(harmless).unwrap_or_default();
        return Err(Failure::Findings(why));
    }
    let body = session.ask(Call::Get(format!("/v1/scans/{id}")))?;
    if place.json {
        say!("{}", String::from_utf8_lossy(&body));
    } else {
        let scan: ScanView = session.read(&body)?;
        scan.ports.iter().flatten().for_each(|port| lines(port).into_iter().for_each(|line| say!("{line}")));
        let [connections, done, targets] = [scan.connections, scan.done, scan.targets].map(grouped);
        say!("{done} of {targets} targets, {connections} connections, {} open ports", grouped(scan.open));
    }
    match stop.load(Relaxed) {
        true => Err(Failure::Interrupted("ended before it was done".into())),
        false => Ok(()),
    }
}

/// A bar over the targets; none where standard error is no terminal.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:32} {pos} of {len} targets, {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show(bar: &ProgressBar, scan: &ScanView) {
    bar.set_length(scan.targets);
    bar.set_position(scan.done);
    bar.set_message(format!("{} connections, {} open ports", grouped(scan.connections), grouped(scan.open)));
}

/// `10.0.0.9:443  https  TLS 1.2, TLS 1.3`, with the certificate below.
fn lines(port: &OpenPort) -> Vec<String> {
    let address: std::net::IpAddr = port.address.parse().unwrap_or(std::net::IpAddr::from([0; 4]));
    let at = std::net::SocketAddr::new(address, port.port);
    let words = [&port.service, &port.tls.join(", "), &port.banner].map(|text| harmless(text));
    let mut text = vec![format!(
        "{at:<24} {}",
        words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join("  ")
    )];
    if let Some(one) = &port.certificate {
        let own = if one.self_signed { ", signed by itself" } else { "" };
        text.push(harmless(&format!("  certificate of {} by {}{own}", one.subject, one.issuer)));
        let names = if one.names.is_empty() { String::new() } else { format!(", names {}", one.names.join(" ")) };
        let (from, to) = (&one.not_before, &one.not_after);
        text.push(harmless(&format!("  from {from} to {to}, key {}, signed with {}{names}", one.key, one.signature)));
    }
    text
}
