//! `shrike hosts` and `shrike findings`: what is on the network and how it is exposed, from a running sensor; and the same
//! lines for a replay. Text from the wire is made harmless for the terminal before it is printed.

use super::Failure;
use super::client::{Client, ClientError};
use super::line::harmless;
use super::out::say;
use crate::control::moment;
use crate::units::Timestamp;
use clap::Args;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Items asked for at a time.
const PAGE: usize = 500;
/// What the terminal says below every list; the API's answers say more.
pub const PASSIVE: &str =
    "seen by watching alone: what nobody spoke with in front of the tap is not here (docs/inventory.md says what else)";

/// What to show of the inventory, and where to ask.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Only hosts with this address, or in this network (10.0.0.0/8)
    #[arg(long = "host", alias = "address", value_name = "ADDRESS[/PREFIX]")]
    pub address: Option<String>,

    /// Only hosts with a name that holds this
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,

    /// Only this service: a protocol (ssh), a port (22, tcp/22) or a product (openssh)
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,

    /// Only findings of this severity or a higher one, and hosts that have one; 1 is high, 4 is low
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub severity: Option<u8>,

    /// Only findings of this kind, and hosts that have one
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,

    /// Only what was seen within this time (30s, 5m, 2h, 1d) or since this one (2026-11-22T14:03:22Z)
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    pub since: Option<Timestamp>,

    /// One JSON object a line, as served
    #[arg(long)]
    pub json: bool,

    /// Where the sensor serves its API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7470")]
    pub url: String,
}

/// Arguments of `shrike hosts`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike hosts                          every host with its services
  shrike hosts 10.0.0.5                 one host, with its findings
  shrike hosts --service ssh --json     hosts that serve SSH, as JSON
  shrike replay trace.pcap --hosts      the same of a capture file")]
pub struct HostsArgs {
    /// One host, by its id or an address, with its findings
    pub host: Option<String>,
    #[command(flatten)]
    pub selection: Selection,
}

/// Arguments of `shrike findings`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike findings                       what exposes hosts, the worst first
  shrike findings --severity 2          only what is high or medium
  shrike findings --kind vulnerable_version --json")]
pub struct FindingsArgs {
    #[command(flatten)]
    pub selection: Selection,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next: String,
    has_more: bool,
    home: Vec<String>,
}

/// A value of a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
    }
    escaped
}

impl Selection {
    fn query(&self) -> String {
        let wanted = [
            ("host", self.address.clone()),
            ("name", self.name.clone()),
            ("service", self.service.clone()),
            ("severity", self.severity.map(|severity| severity.to_string())),
            ("kind", self.kind.clone()),
            ("since", self.since.map(|since| since.0.to_string())),
        ];
        let given = wanted.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.map(|(name, value)| format!("&{name}={}", escaped(&value))).collect()
    }
}

/// Everything behind `path`, page by page, and the networks whose hosts are kept. A host that changes meanwhile comes
/// again: its latest form counts.
fn all(selection: &Selection, path: &str) -> Result<(Vec<Value>, Vec<String>), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut client = Client::new(&selection.url).map_err(|cause| Failure::Usage(cause.into()))?;
        let mut items: Vec<Value> = Vec::new();
        let mut after = String::new();
        let home = loop {
            let asked = format!("{path}?limit={PAGE}{}{after}", selection.query());
            let page: Page = serde_json::from_slice(&get(&mut client, &asked).await?)?;
            items.extend(page.items);
            if !page.has_more {
                break page.home;
            }
            after = format!("&after={}", page.next);
        };
        let mut seen = std::collections::HashSet::new();
        items.reverse();
        items.retain(|item| seen.insert(item["id"].to_string()));
        Ok((items, home))
    })
}

async fn get(client: &mut Client, path: &str) -> Result<Bytes, Failure> {
    client.get(path, ANSWER).await.map_err(|cause| match cause {
        ClientError::Problem { status: 400..=499, .. } => Failure::Usage(cause.into()),
        cause => {
            Failure::Runtime(anyhow::anyhow!("{cause}: is `shrike run` running, and is this its address (--url)?"))
        }
    })
}

/// Shows hosts on standard output.
pub fn hosts(args: &HostsArgs) -> Result<(), Failure> {
    let (found, home) = match &args.host {
        Some(host) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let body = runtime.block_on(async {
                let mut client = Client::new(&args.selection.url).map_err(|cause| Failure::Usage(cause.into()))?;
                get(&mut client, &format!("/v1/hosts/{}", escaped(host))).await
            })?;
            (vec![serde_json::from_slice(&body)?], Vec::new())
        }
        None => all(&args.selection, "/v1/hosts")?,
    };
    print(found, &home, args.selection.json, host_lines)
}

/// Shows findings on standard output.
pub fn findings(args: &FindingsArgs) -> Result<(), Failure> {
    let (found, home) = all(&args.selection, "/v1/findings")?;
    print(found, &home, args.selection.json, finding_lines)
}

fn print(mut items: Vec<Value>, home: &[String], json: bool, lines: fn(&Value, bool) -> String) -> Result<(), Failure> {
    sort(&mut items);
    if json {
        items.iter().for_each(|item| say!("{item}"));
        return Ok(());
    }
    let colour = colour();
    items.iter().for_each(|item| say!("{}", lines(item, colour)));
    match items.len() {
        // The most common reason for an empty list stands in the configuration.
        0 => eprintln!(
            "none found; hosts of these networks are kept (home in [inventory]): {}; {PASSIVE}",
            home.join(", ")
        ),
        1 => eprintln!("1 found; {PASSIVE}"),
        count => eprintln!("{count} found in all; {PASSIVE}"),
    }
    Ok(())
}

/// Does standard output take colours?
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Findings the worst first, hosts by their address.
pub fn sort(items: &mut [Value]) {
    let address = |item: &Value| {
        let id = item["host"].as_str().or(item["id"].as_str()).unwrap_or_default().to_owned();
        let plain = id.rsplit('-').next().and_then(|text| text.parse::<std::net::IpAddr>().ok());
        (plain, id)
    };
    items.sort_by_cached_key(|item| {
        let severity = item["severity"].as_u64().unwrap_or_default();
        (severity, address(item), item["kind"].to_string(), item["id"].to_string())
    });
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `2026-11-21 14:03`.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn word(severity: &Value) -> (&'static str, &'static str) {
    match severity.as_u64() {
        Some(1) => ("HIGH  ", "1;31"),
        Some(2) => ("MEDIUM", "1;33"),
        Some(3) => ("LOW   ", "36"),
        _ => ("INFO  ", "2"),
    }
}

/// `openssh 9.2p1 (Debian-2+deb12u3)`.
fn product(product: &Value) -> String {
    let mut shown = text(product, "name").to_owned();
    for (member, before, after) in [("version", " ", ""), ("distribution", " (", ")")] {
        if let Some(value) = product[member].as_str() {
            let _ = write!(shown, "{before}{value}{after}");
        }
    }
    shown
}

/// A host in some lines: who it is, what it serves, how many findings it has, and these where they stand with it.
pub fn host_lines(host: &Value, colour: bool) -> String {
    let mut lines = paint(colour, "1", &format!("{:<16}", harmless(text(host, "id"))));
    if let Some(name) = host["name"].as_str() {
        let _ = write!(lines, "  {}", paint(colour, "1", &harmless(name)));
    }
    if let Some(system) = host["os"].as_object() {
        let of = |member: &str| harmless(system.get(member).and_then(Value::as_str).unwrap_or_default());
        let _ = write!(lines, "  {} [{} by {}]", of("os"), of("confidence"), of("source"));
    }
    let macs: Vec<String> = list(host, "macs").iter().map(|mac| harmless(text(mac, "mac"))).collect();
    if !macs.is_empty() {
        let _ = write!(lines, "  {}", paint(colour, "2", &macs.join(" ")));
    }
    let times = format!("{} to {}", minute(text(host, "first_seen")), minute(text(host, "last_seen")));
    let _ = write!(lines, "  {}", paint(colour, "2", &times));
    let others: Vec<String> = list(host, "addresses")
        .iter()
        .map(|one| harmless(text(one, "address")))
        .filter(|one| !text(host, "id").ends_with(one.as_str()))
        .collect();
    if !others.is_empty() {
        let _ = write!(lines, "\n    also {}", others.join(" "));
    }
    let mut names: Vec<String> = list(host, "names")
        .iter()
        .filter(|one| one["name"] != host["name"])
        .map(|one| format!("{} ({})", harmless(text(one, "name")), harmless(text(one, "source"))))
        .collect();
    names.dedup();
    if !names.is_empty() {
        let more = names.len().saturating_sub(NAMES_SHOWN);
        names.truncate(NAMES_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(lines, "\n    called {}{more}", names.join(", "));
    }
    for service in list(host, "services") {
        let place = format!("{}/{}", text(service, "transport"), service["port"]);
        let mut said: Vec<String> = list(service, "products").iter().map(|one| harmless(&product(one))).collect();
        if said.is_empty() {
            // In quotes: it is what the server says, and no name of software.
            let banner = harmless(text(service, "banner"));
            said.extend(Some(format!("\"{banner}\"")).filter(|_| !banner.is_empty()));
        }
        let line = format!("\n    {place:<10} {:<10} {}", harmless(text(service, "protocol")), said.join(", "));
        lines += line.trim_end_matches(' ');
    }
    let counts = &host["finding_counts"];
    let some: Vec<String> = ["high", "medium", "low", "info"]
        .into_iter()
        .filter(|name| counts[name].as_u64().is_some_and(|count| count > 0))
        .map(|name| format!("{} {name}", counts[name]))
        .collect();
    if host["findings"].is_null() && !some.is_empty() {
        let code = if some[0].ends_with("high") { "1;31" } else { "33" };
        let _ = write!(lines, "\n    {}", paint(colour, code, &format!("findings: {}", some.join(", "))));
    }
    for finding in list(host, "findings") {
        let _ = write!(lines, "\n  {}", finding_lines(finding, colour).replace('\n', "\n  "));
    }
    lines
}

/// Names shown of a host; a web server may have dozens.
const NAMES_SHOWN: usize = 4;

/// The vulnerabilities of a version with their base scores, a line for each degree of certainty, the surest first.
fn vulnerabilities(finding: &Value) -> String {
    let mut lines = String::new();
    for (confidence, word) in [("high", "certain"), ("medium", "likely"), ("low", "possible")] {
        let known = list(finding, "vulnerabilities").iter().filter(|one| text(one, "confidence") == confidence);
        let shown: Vec<String> = known
            .map(|one| {
                let score = one["cvss"].as_f64().map(|score| format!(" ({score:.1})")).unwrap_or_default();
                format!("{}{score}", harmless(text(one, "cve")))
            })
            .collect();
        if !shown.is_empty() {
            let _ = write!(lines, "\n        {word}: {}", shown.join(", "));
        }
    }
    lines
}

/// A finding in two lines: what it is and where; what to do. Between them what a version is vulnerable to.
pub fn finding_lines(finding: &Value, colour: bool) -> String {
    let (word, code) = word(&finding["severity"]);
    let place = match finding["service"].as_object() {
        Some(service) => {
            let of = |member: &str| service.get(member).map(|value| value.to_string().trim_matches('"').to_owned());
            let [transport, port, protocol] = ["transport", "port", "protocol"].map(|one| of(one).unwrap_or_default());
            format!("  {}/{} {}", harmless(&transport), port, harmless(&protocol))
        }
        None => String::new(),
    };
    let doubt = match text(finding, "confidence") {
        "high" => "",
        "medium" => "  likely",
        _ => "  possible",
    };
    let count = finding["count"].as_u64().unwrap_or(1);
    // A host has many addresses: the one that it was seen at, in the host's VLAN or tunnel.
    let host = text(finding, "host");
    let address = match (text(finding, "address"), host.rsplit_once('-')) {
        ("", _) => host.to_owned(),
        (address, Some((segment, _))) => format!("{segment}-{address}"),
        (address, None) => address.to_owned(),
    };
    let times = format!("{} to {}, x{count}", minute(text(finding, "first_seen")), minute(text(finding, "last_seen")));
    format!(
        "{}  {:<26}  {}{}{doubt}  {}  {}{}\n        {}",
        paint(colour, code, word),
        harmless(text(finding, "kind")),
        paint(colour, "1", &harmless(&address)),
        place,
        harmless(text(finding, "evidence")),
        paint(colour, "2", &times),
        vulnerabilities(finding),
        paint(colour, "2", &harmless(text(finding, "remedy"))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_host_is_shown_with_what_it_serves_and_no_byte_of_the_wire_steers_the_terminal() {
        let host = json!({
            "id": "10.0.0.5", "name": "srv\u{1b}[31m", "os": {"os": "Debian 12", "confidence": "high", "source": "SSH"},
            "addresses": [{"address": "10.0.0.5"}, {"address": "10.0.0.6"}],
            "macs": [{"mac": "02:00:00:00:00:01"}],
            "names": [{"name": "srv\u{1b}[31m", "source": "dhcp"}, {"name": "www", "source": "sni"}],
            "services": [{"transport": "tcp", "port": 22, "protocol": "ssh",
                "products": [{"name": "openssh", "version": "9.2p1", "distribution": "Debian-2+deb12u3"}]}],
            "finding_counts": {"high": 1, "medium": 0, "low": 2, "info": 0},
            "first_seen": "2026-11-21T14:03:22.000000Z", "last_seen": "2026-11-21T15:03:22.000000Z"
        });
        let shown = host_lines(&host, false);
        for part in [
            "10.0.0.5",
            "\\u{1b}[31m",
            "Debian 12 [high by SSH]",
            "also 10.0.0.6",
            "called www (sni)",
            "tcp/22     ssh",
            "openssh 9.2p1 (Debian-2+deb12u3)",
            "findings: 1 high, 2 low",
            "2026-11-21 14:03 to 2026-11-21 15:03",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn findings_are_shown_the_worst_first_with_their_remedy() {
        let finding = |host: &str, severity: u8| {
            json!({"id": format!("{host}{severity}"), "kind": "vulnerable_version", "severity": severity, "host": host,
                "confidence": "low", "service": {"transport": "tcp", "port": 22, "protocol": "ssh"}, "count": 3,
                "vulnerabilities": [{"cve": "CVE-2024-6387", "cvss": 8.1, "confidence": "low"},
                    {"cve": "CVE-2023-48795", "cvss": 5.9, "confidence": "medium"}, {"cve": "CVE-2016-6515", "confidence": "low"}],
                "evidence": "openssh 9.2p1: a race; and 2 more", "remedy": "Update it.",
                "first_seen": "2026-11-21T14:03:22Z", "last_seen": "2026-11-21T14:03:22Z"})
        };
        let mut items = vec![finding("10.0.0.10", 3), finding("10.0.0.9", 3), finding("10.0.0.11", 1)];
        sort(&mut items);
        let order: Vec<_> = items.iter().map(|item| text(item, "host")).collect();
        assert_eq!(order, ["10.0.0.11", "10.0.0.9", "10.0.0.10"]);
        let shown = finding_lines(&items[0], false);
        for part in [
            "HIGH",
            "10.0.0.11  tcp/22 ssh  possible  openssh 9.2p1: a race; and 2 more",
            "x3\n        likely: CVE-2023-48795 (5.9)\n        possible: CVE-2024-6387 (8.1), CVE-2016-6515\n        Update it.",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        // Seen at another address of the host, in its VLAN.
        let mut other = finding("vlan165-10.0.0.9", 1);
        other["address"] = "fd88::20".into();
        assert!(finding_lines(&other, false).contains("  vlan165-fd88::20  tcp/22 ssh"));
    }

    #[test]
    fn what_is_asked_for_is_escaped() {
        assert_eq!(escaped("tcp/22 &x=1"), "tcp%2F22%20%26x%3D1");
    }
}
