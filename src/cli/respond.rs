//! `shrike block`, `unblock`, `isolate`, `release`, `responses`, `playbooks`: what is done about alerts, over the HTTP API of a running
//! sensor. There is no second way to the kernel's maps.

use super::Failure;
use super::client::{Client, ClientError};
use super::line::{clock, grouped, harmless};
use super::out::say;
use crate::control::respond::audit::Row;
use crate::control::respond::intended::Id;
use crate::control::respond::prefix::Prefix;
use crate::control::respond::view::{OrderedView, ResponseView, ResponsesView};
use anyhow::Context as _;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

/// How long an answer may take: an order waits for disk and kernel.
const ANSWER: Duration = Duration::from_secs(15);
/// Responses of a page.
const PAGE: usize = 1000;

/// Where the sensor is, and in which form it answers.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Place {
    /// As served
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Where the sensor serves its API
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7470")]
    url: String,
}

/// What goes with an order.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Terms {
    /// For how long: 30s, 5m, 2h, 1d; as long as is usual ([respond] ttl_seconds) if absent
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: Option<u64>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `shrike block`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike block 203.0.113.7                          nothing from it and nothing to it, for an hour
  shrike block 203.0.113.0/24 --for 1d --why abuse  a network for a day
  shrike block 2001:db8::/32 --dry-run              would that be allowed?
What is on the allow-list (this machine, its gateways and name servers, allow of [respond]) is never blocked.")]
pub struct BlockArgs {
    /// Addresses or networks
    #[arg(required = true, value_name = "IP[/BITS]")]
    prefixes: Vec<Prefix>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `shrike unblock`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Every response that blocks exactly this address or network is taken back, whoever asked for it."
)]
pub struct UnblockArgs {
    /// Address or network, as it was blocked
    #[arg(value_name = "IP[/BITS]")]
    prefix: Prefix,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `shrike isolate`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike isolate 10.0.0.5                            nothing from it and nothing to it
  shrike isolate 10.0.0.5 --mac 02:00:00:00:00:05 --allow 10.0.9.0/24   but for the network that heals it")]
pub struct IsolateArgs {
    /// Its addresses
    #[arg(value_name = "IP", required_unless_present = "mac")]
    addresses: Vec<IpAddr>,
    /// Its card
    #[arg(long)]
    mac: Option<String>,
    /// What it may still reach; may be given several times
    #[arg(long, value_name = "IP[/BITS]")]
    allow: Vec<Prefix>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `shrike release`.
#[derive(clap::Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// One of its addresses, or the id of the response
    #[arg(value_name = "IP|ID")]
    what: String,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `shrike responses`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike responses                  what is in force, since when, what met it, and what waits for you
  shrike responses accept ID        do what a playbook proposes
  shrike responses reject ID        or do not (of one in force: take it back)
  shrike responses audit            what was asked, refused, done and ended")]
pub struct ResponsesArgs {
    #[command(subcommand)]
    order: Option<Orders>,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Orders {
    /// Show them (also without a subcommand)
    List,
    /// Show one with everything
    Show {
        /// Its id
        id: String,
    },
    /// Accept a proposal
    Accept {
        /// Its id
        id: String,
    },
    /// Reject a proposal, or take a response back
    Reject {
        /// Its id
        id: String,
    },
    /// Show the latest of the audit
    Audit {
        /// Rows
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
}

/// Arguments of `shrike playbooks`.
#[derive(clap::Args, Clone, Debug)]
pub struct PlaybooksArgs {
    #[command(flatten)]
    place: Place,
}

/// `90`, `30s`, `5m`, `2h`, `1d`.
fn seconds(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let found = unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit)).filter(|seconds| *seconds > 0);
    found.ok_or_else(|| "a time such as 30s, 5m, 2h or 1d".to_owned())
}

/// Who gives orders here, as far as the shell tells; percent-encoded where it goes into a query.
pub(super) fn person() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
    let name: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).take(64).collect();
    if name.is_empty() { "shrike".to_owned() } else { name }
}

/// One question to the API.
pub(super) enum Call {
    Get(String),
    Post(String, Bytes),
    Delete(String),
}

/// Asks one thing after the other over one connection.
pub(super) struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
    url: String,
}

impl Session {
    pub(super) fn open(place: &Place) -> Result<Session, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let client = Client::new(&place.url).map_err(|cause| Failure::Usage(cause.into()))?;
        Ok(Session { runtime, client, url: place.url.clone() })
    }

    pub(super) fn ask(&mut self, call: Call) -> Result<Bytes, Failure> {
        let client = &mut self.client;
        let outcome = self.runtime.block_on(async {
            match call {
                Call::Get(path) => client.get(&path, ANSWER).await,
                Call::Post(path, body) => client.post(&path, body, ANSWER).await,
                Call::Delete(path) => client.delete(&path, ANSWER).await,
            }
        });
        outcome.map_err(|cause| {
            let text = match cause {
                ClientError::Connection(..) => {
                    format!("{cause}: is `shrike run` running, and is this its address (--url)?")
                }
                // The words are the rule's; where they came from is of no interest.
                ClientError::Problem { title, detail, .. } => format!("{}: {}", harmless(&title), harmless(&detail)),
                cause => cause.to_string(),
            };
            Failure::Runtime(anyhow::Error::msg(text))
        })
    }

    /// Fetches a file of the API's.
    pub(super) fn fetch(&mut self, path: &str, to: &std::path::Path) -> Result<u64, Failure> {
        let mut file = std::fs::File::create(to).with_context(|| format!("write {}", to.display()))?;
        let outcome = self.runtime.block_on(self.client.fetch(path, &mut file));
        outcome.map_err(|cause| {
            // Nothing of worth is in it.
            drop(std::fs::remove_file(to));
            Failure::Runtime(anyhow::Error::msg(harmless(&cause.to_string())))
        })
    }

    pub(super) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let url = &self.url;
        serde_json::from_slice(body)
            .map_err(|cause| Failure::Runtime(anyhow::anyhow!("{url}: not the API of shrike: {cause}")))
    }

    /// Every response that a query finds.
    fn all(&mut self, query: &str) -> Result<ResponsesView, Failure> {
        let mut whole: Option<ResponsesView> = None;
        loop {
            let after = whole.as_ref().and_then(|view| view.next).map(|id| format!("&after={id}")).unwrap_or_default();
            let body = self.ask(Call::Get(format!("/v1/responses?limit={PAGE}{query}{after}")))?;
            let page: ResponsesView = self.read(&body)?;
            let view = match whole.take() {
                None => page,
                Some(mut view) => {
                    view.items.extend(page.items);
                    ResponsesView { items: view.items, ..ResponsesView { items: Vec::new(), ..page } }
                }
            };
            if view.next.is_none() {
                return Ok(view);
            }
            whole = Some(view);
        }
    }
}

/// An order as the API takes it.
pub(super) fn wish(protocol: &str, parameters: Value, terms: &Terms) -> Value {
    let mut wish = json!({
        "protocol": protocol, "parameters": parameters, "why": terms.why, "by": person(), "dry_run": terms.dry_run,
    });
    if let Some(seconds) = terms.seconds {
        wish["ttl_seconds"] = json!(seconds);
    }
    wish
}

pub(super) fn order(place: &Place, terms: &Terms, protocol: &str, parameters: Value) -> Result<(), Failure> {
    let mut session = Session::open(place)?;
    let wish = wish(protocol, parameters, terms);
    let body = session.ask(Call::Post("/v1/responses".into(), wish.to_string().into()))?;
    told(&session, place, &body)
}

/// What came of an order.
pub(super) fn told(session: &Session, place: &Place, body: &[u8]) -> Result<(), Failure> {
    let ordered: OrderedView = session.read(body)?;
    if place.json {
        say!("{}", String::from_utf8_lossy(body));
    } else {
        say!("{}", outcome(&ordered));
    }
    match ordered.response.state.as_str() {
        "failed" => Err(Failure::Findings(ordered.response.reason.unwrap_or_else(|| "the kernel refused".to_owned()))),
        _ => Ok(()),
    }
}

/// `begun: block_ip 203.0.113.7 until 2026-11-23 20:00:00.000, enforced (7f..)`.
fn outcome(ordered: &OrderedView) -> String {
    let response = &ordered.response;
    let (what, subject) = (&response.protocol, harmless(&response.subject));
    match ordered.outcome.as_str() {
        word @ ("undone" | "rejected") => {
            format!("{word}: {what} {subject}, {} packets met it", grouped(response.packets))
        }
        "would_do" => format!("would be allowed: {what} {subject} for {} s; nothing was done", response.ttl_seconds),
        word => format!(
            "{}: {what} {subject} until {}, {} ({})",
            harmless(word),
            clock(response.until),
            harmless(&response.state),
            response.id
        ),
    }
}

/// `shrike block`.
pub fn block(arguments: &BlockArgs) -> Result<(), Failure> {
    order(&arguments.place, &arguments.terms, "block_ip", json!({ "prefixes": arguments.prefixes }))
}

/// `shrike isolate`.
pub fn isolate(arguments: &IsolateArgs) -> Result<(), Failure> {
    let IsolateArgs { addresses, mac, allow, terms, place } = arguments;
    let mut parameters = json!({ "addresses": addresses, "allow": allow });
    if let Some(mac) = mac {
        parameters["mac"] = json!(mac);
    }
    order(place, terms, "isolate_host", parameters)
}

/// Takes back what is found; says so where there is nothing.
fn take_back(place: &Place, protocol: &str, prefix: Prefix) -> Result<(), Failure> {
    let mut session = Session::open(place)?;
    let found = session.all(&format!("&protocol={protocol}&prefix={}", prefix.to_string().replace('/', "%2F")))?;
    if found.items.is_empty() {
        let text = format!("no {protocol} is about exactly {prefix}: `shrike responses` shows what is in force");
        return Err(Failure::Findings(text));
    }
    for response in found.items {
        let body = session.ask(Call::Delete(format!("/v1/responses/{}?by={}", response.id, person())))?;
        told(&session, place, &body)?;
    }
    Ok(())
}

/// `shrike unblock`.
pub fn unblock(arguments: &UnblockArgs) -> Result<(), Failure> {
    take_back(&arguments.place, "block_ip", arguments.prefix)
}

/// `shrike release`.
pub fn release(arguments: &ReleaseArgs) -> Result<(), Failure> {
    let ReleaseArgs { what, place } = arguments;
    if let Some(id) = Id::parse(what) {
        return reject(place, id);
    }
    let address = what.parse::<IpAddr>();
    let address = address
        .map_err(|_| Failure::Usage(anyhow::anyhow!("{what:?} is neither an address nor an id of a response")))?;
    take_back(place, "isolate_host", Prefix::host(address))
}

fn reject(place: &Place, id: Id) -> Result<(), Failure> {
    let mut session = Session::open(place)?;
    let body = session.ask(Call::Delete(format!("/v1/responses/{id}?by={}", person())))?;
    told(&session, place, &body)
}

/// `shrike responses`.
pub fn responses(arguments: &ResponsesArgs) -> Result<(), Failure> {
    let place = &arguments.place;
    let known = |text: &str| {
        Id::parse(text)
            .ok_or_else(|| Failure::Usage(anyhow::anyhow!("{text:?} is no id: `shrike responses` shows them")))
    };
    match &arguments.order {
        None | Some(Orders::List) => {
            let view = Session::open(place)?.all("")?;
            if place.json {
                say!("{}", serde_json::to_string(&view)?);
            } else {
                list(&view).into_iter().for_each(|line| say!("{line}"));
            }
            Ok(())
        }
        Some(Orders::Show { id }) => {
            let mut session = Session::open(place)?;
            let body = session.ask(Call::Get(format!("/v1/responses/{}", known(id)?)))?;
            if place.json {
                say!("{}", String::from_utf8_lossy(&body));
            } else {
                let response: ResponseView = session.read(&body)?;
                lines(&response).into_iter().for_each(|line| say!("{line}"));
                let parameters = response.parameters.unwrap_or_default().to_string();
                say!("  parameters {}", harmless(&parameters));
                for verdict in response.verdicts.iter().filter_map(Value::as_array).flatten() {
                    let text = |name: &str| harmless(verdict[name].as_str().unwrap_or_default());
                    say!("  {} {} {}", text("action"), text("subject"), text("side"));
                }
            }
            Ok(())
        }
        Some(Orders::Accept { id }) => {
            let mut session = Session::open(place)?;
            let body = session
                .ask(Call::Post(format!("/v1/responses/{}/accept?by={}", known(id)?, person()), Bytes::new()))?;
            told(&session, place, &body)
        }
        Some(Orders::Reject { id }) => reject(place, known(id)?),
        Some(Orders::Audit { limit }) => {
            let mut session = Session::open(place)?;
            let body = session.ask(Call::Get(format!("/v1/audit?limit={limit}")))?;
            if place.json {
                say!("{}", String::from_utf8_lossy(&body));
                return Ok(());
            }
            #[derive(serde::Deserialize)]
            struct Page {
                items: Vec<Row>,
            }
            let page: Page = session.read(&body)?;
            page.items.iter().rev().for_each(|row| say!("{}", audited(row)));
            Ok(())
        }
    }
}

fn audited(row: &Row) -> String {
    let event = serde_json::to_value(row.event).unwrap_or_default();
    let event = event.as_str().unwrap_or_default();
    let mut line = format!("{}  {event:<9} {} {}", clock(row.time), harmless(&row.protocol), harmless(&row.subject));
    line += &format!("  by {}", harmless(&row.who));
    for text in [&row.result, &row.why].into_iter().filter(|text| !text.is_empty()) {
        line += &format!("  {}", harmless(text));
    }
    line
}

/// The responses as lines, proposals first.
fn list(view: &ResponsesView) -> Vec<String> {
    let (proposed, others): (Vec<_>, Vec<_>) = view.items.iter().partition(|response| response.state == "proposed");
    let mut text: Vec<String> = proposed.iter().chain(&others).flat_map(|response| lines(response)).collect();
    let set = &view.set;
    if !proposed.is_empty() {
        text.push(format!("{} wait for you: `shrike responses accept ID`, or reject", proposed.len()));
    }
    text.push(format!(
        "{} responses, {} subjects in force, set {:.16}",
        set.responses,
        grouped(set.subjects),
        harmless(&set.digest)
    ));
    if let Some(since) = set.brake_since {
        text.push(format!("the brake is on since {}: playbooks block nothing by themselves", clock(since)));
    }
    text.extend(set.not_enforced.as_deref().map(harmless));
    text
}

fn lines(response: &ResponseView) -> Vec<String> {
    let mut head = format!(
        "{}  {:<8}  {} {}",
        response.id,
        harmless(&response.state),
        harmless(&response.protocol),
        harmless(&response.subject)
    );
    head += &format!("  until {}  by {}", clock(response.until), harmless(&response.who));
    let mut text = vec![head];
    if !response.why.is_empty() {
        text.push(format!("  {}", harmless(&response.why)));
    }
    if let Some(since) = response.enforced_since {
        let hit = response.last_hit.map_or_else(|| "none yet".to_owned(), clock);
        let (packets, bytes) = (grouped(response.packets), grouped(response.bytes));
        text.push(format!("  enforced since {}, last hit {hit}, {packets} packets, {bytes} bytes", clock(since)));
    }
    text.extend(response.reason.iter().chain(&response.outcome).map(|words| format!("  {}", harmless(words))));
    text
}

/// `shrike playbooks`.
pub fn playbooks(arguments: &PlaybooksArgs) -> Result<(), Failure> {
    let mut session = Session::open(&arguments.place)?;
    let body = session.ask(Call::Get("/v1/playbooks".into()))?;
    if arguments.place.json {
        say!("{}", String::from_utf8_lossy(&body));
        return Ok(());
    }
    let view: Value = session.read(&body)?;
    let text = |value: &Value| harmless(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let items = view["items"].as_array().cloned().unwrap_or_default();
    for item in &items {
        say!(
            "{}  {}  {} {}",
            text(&item["name"]),
            text(&item["mode"]),
            text(&item["protocol"]),
            text(&item["parameters"])
        );
        let conditions = ["detectors", "kinds", "severity", "confidence", "source", "target", "direction", "proven"];
        let told = conditions.iter().filter(|name| !item[**name].is_null() && item[**name] != json!([]));
        say!("  {}", told.map(|name| format!("{name} {}", text(&item[*name]))).collect::<Vec<_>>().join(", "));
    }
    if items.is_empty() {
        say!(
            "no playbook: no alert is answered by itself; [[playbook]] of the configuration adds some. There are these protocols:"
        );
        for protocol in view["protocols"].as_array().into_iter().flatten() {
            say!("  {}: {}", text(&protocol["name"]), text(&protocol["about"]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, wanted) in
            [("90", Some(90)), ("30s", Some(30)), ("5m", Some(300)), ("2h", Some(7_200)), ("1d", Some(86_400))]
        {
            assert_eq!(seconds(text).ok(), wanted, "{text}");
        }
        for bad in ["", "0", "0s", "-1s", "1w", "h", "1.5h", "99999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
