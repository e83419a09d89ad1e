//! `shrike verify-block`: does a block work now? Ordered as any other, then asked of the program that is on the ports.
//!
//! Frames of a canary are run through the attached program (`BPF_PROG_TEST_RUN`): no wire carries them. Their flows are shunted by the
//! protocol `canary`, so that one that no block drops is passed on by the program itself, is counted as such, and never meets the
//! worker: the books close.

use super::Failure;
use super::line::{clock, grouped, harmless};
use super::out::say;
use super::respond::{Call, Place, Session, person};
use crate::config;
use crate::control::respond::intended::Id;
use crate::control::respond::prefix::Prefix;
use crate::control::respond::protocols::canary;
use crate::control::respond::view::{OrderedView, ResponseView};
use crate::dataplane::capture::xdp::{Rehearsal, Rehearsed};
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is blocked, and its neighbour that is not (RFC 5737, RFC 3849).
const CANARIES: [(&str, &str); 2] = [("192.0.2.77", "198.51.100.77"), ("2001:db8:a::77", "2001:db8:b::77")];
/// Seconds after which the kernel lets all of it go, whatever becomes of us.
const SECONDS: u64 = 60;
/// The sensor reads the kernel's hits once a second.
const HITS: Duration = Duration::from_secs(20);
/// Addresses of a block that are rehearsed.
const SOURCES_MAX: usize = 32;

/// Arguments of `shrike verify-block`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  shrike verify-block -c shrike.toml                a block from order to drop, with addresses of documentation
  shrike verify-block 203.0.113.7 -c shrike.toml    is that block enforced: since when, what met it, and is a frame dropped now?
  shrike verify-block ID -c shrike.toml             the same of a response by its id
Nothing goes onto a wire: frames are run through the program that is attached to each port. Needs root, on the sensor's machine.
Exit code 3: a block does not work.")]
pub struct Arguments {
    /// A block that there is; a canary of its own if absent
    #[arg(value_name = "ID|IP[/BITS]")]
    block: Option<String>,
    /// Configuration that names the pairs
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Step {
    step: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    port: String,
    passed: bool,
    detail: String,
}

/// What is looked at, and what came of it.
struct Verification {
    session: Session,
    programs: Vec<(String, Rehearsal)>,
    steps: Vec<Step>,
    /// Responses of ours, to be taken back.
    ours: Vec<Id>,
    json: bool,
}

/// `shrike verify-block`.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    if plan.pairs.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "the configuration names no pair, and a tap blocks nothing: give the one that does with -c FILE"
        )));
    }
    let mut programs = Vec::new();
    for port in plan.pairs.iter().flat_map(|pair| &pair.ports) {
        let program = Rehearsal::of(port).map_err(|cause| {
            let denied = cause.kind() == std::io::ErrorKind::PermissionDenied;
            let remedy = if denied { "run it as root" } else { "was `shrike run` started with this configuration?" };
            let told = anyhow::anyhow!("{}: no program of ours is on it ({cause}): {remedy}", port.label());
            if denied { Failure::NotPermitted(told) } else { Failure::Runtime(told) }
        })?;
        programs.push((port.label(), program));
    }
    let json = arguments.place.json;
    let session = Session::open(&arguments.place)?;
    let mut verification = Verification { session, programs, steps: Vec::new(), ours: Vec::new(), json };
    let begin = Instant::now();
    let done = match &arguments.block {
        None => verification.canary(),
        Some(block) => verification.of_block(block),
    };
    for id in std::mem::take(&mut verification.ours) {
        // Were it refused: it ends by itself within a minute, in the kernel too.
        drop(verification.take_back(id));
    }
    done?;
    let failed = verification.steps.iter().filter(|step| !step.passed).count();
    if json {
        let took_ms = begin.elapsed().as_millis() as u64; // a minute
        say!("{}", json!({ "verified": failed == 0, "steps": verification.steps, "took_ms": took_ms }));
    }
    match failed {
        0 if json => Ok(()),
        0 => {
            say!("verified: {} steps in {} ms", verification.steps.len(), begin.elapsed().as_millis());
            Ok(())
        }
        count => {
            Err(Failure::Findings(format!("{count} of {} steps failed: blocks do not work", verification.steps.len())))
        }
    }
}

impl Verification {
    fn step(&mut self, step: &'static str, port: &str, passed: bool, detail: impl Into<String>) {
        let step = Step { step, port: port.to_owned(), passed, detail: harmless(&detail.into()) };
        if !self.json {
            let mark = if step.passed { "ok    " } else { "FAILED" };
            say!("{mark}  {:<34} {:<16} {}", step.step, step.port, step.detail);
        }
        self.steps.push(step);
    }

    fn order(&mut self, protocol: &str, parameters: &Value) -> Result<ResponseView, Failure> {
        let wish = json!({
            "protocol": protocol, "parameters": parameters, "ttl_seconds": SECONDS, "why": "shrike verify-block", "by": person(),
        });
        let body = self.session.ask(Call::Post("/v1/responses".into(), Bytes::from(wish.to_string())))?;
        let ordered: OrderedView = self.session.read(&body)?;
        self.ours.push(ordered.response.id);
        Ok(ordered.response)
    }

    fn one(&mut self, id: Id) -> Result<ResponseView, Failure> {
        let body = self.session.ask(Call::Get(format!("/v1/responses/{id}")))?;
        self.session.read(&body)
    }

    fn take_back(&mut self, id: Id) -> Result<(), Failure> {
        self.ours.retain(|other| *other != id);
        self.session.ask(Call::Delete(format!("/v1/responses/{id}?by={}", person()))).map(drop)
    }

    /// Runs frames of the sources through each port's program, there and back; how many were dropped.
    fn rehearse(
        &mut self,
        step: &'static str,
        sources: &[IpAddr],
        wanted: Rehearsed,
        ways: &[bool],
    ) -> Result<u64, Failure> {
        let mut dropped = 0;
        let mut told = Vec::new();
        for (port, program) in &self.programs {
            let (mut good, mut count) = (true, 0);
            for (source, back) in sources.iter().flat_map(|source| ways.iter().map(move |back| (*source, *back))) {
                let found = program.run(&frame(source, back)).map_err(|cause| {
                    anyhow::anyhow!("{port}: run a frame through program {}: {cause}", program.program())
                })?;
                good &= found == wanted;
                dropped += u64::from(found == Rehearsed::Dropped);
                count += 1;
            }
            let what = if wanted == Rehearsed::Dropped { "dropped" } else { "passed on" };
            let detail =
                if good { format!("{count} frames {what}") } else { format!("not all of {count} frames were {what}") };
            told.push((port.clone(), good, detail));
        }
        for (port, good, detail) in told {
            self.step(step, &port, good, detail);
        }
        Ok(dropped)
    }

    /// Waits until the sensor has read so many hits of a response.
    fn counted(&mut self, id: Id, before: u64, wanted: u64) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut response = self.one(id)?;
        while response.packets < before + wanted && begin.elapsed() < HITS {
            std::thread::sleep(Duration::from_millis(100));
            response = self.one(id)?;
        }
        let rose = response.packets - before.min(response.packets);
        // Of a block that others meet too it rises by more.
        let detail = format!("hits rose by {}, {} frames of ours were dropped", grouped(rose), grouped(wanted));
        self.step("the hit counter rose", "", rose >= wanted && wanted > 0, detail);
        Ok(())
    }

    /// A block of its own, from order to end.
    fn canary(&mut self) -> Result<(), Failure> {
        let of = |text: &str| text.parse::<IpAddr>().map_err(|cause| Failure::Runtime(cause.into()));
        let blocked = CANARIES.iter().map(|(canary, _)| of(canary)).collect::<Result<Vec<_>, _>>()?;
        let free = CANARIES.iter().map(|(_, neighbour)| of(neighbour)).collect::<Result<Vec<_>, _>>()?;
        let both = [true, false];
        let sources: Vec<IpAddr> = blocked.iter().chain(&free).copied().collect();
        let canary = self.order("canary", &json!({ "sources": sources }))?;
        let told = format!("{} flows to addresses of documentation, {}", canary.subjects, canary.state);
        self.step("the canary is in place", "", canary.state == "enforced", told);
        self.rehearse("before: the canary passes", &blocked, Rehearsed::Forwarded, &both)?;
        self.rehearse("before: its neighbour passes", &free, Rehearsed::Forwarded, &both)?;
        let block = self.order("block_ip", &json!({ "prefixes": blocked }))?;
        let told = format!("{} {}", block.subject, block.state);
        self.step("the block is ordered", "", block.state == "enforced", told);
        let dropped = self.rehearse("the canary is dropped", &blocked, Rehearsed::Dropped, &both)?;
        self.rehearse("its neighbour passes", &free, Rehearsed::Forwarded, &both)?;
        self.counted(block.id, 0, dropped)?;
        self.take_back(block.id)?;
        self.step("the block is taken back", "", true, "");
        self.rehearse("after: the canary passes", &blocked, Rehearsed::Forwarded, &both)?;
        self.take_back(canary.id)
    }

    /// A block that there is.
    fn of_block(&mut self, name: &str) -> Result<(), Failure> {
        let found = match (Id::parse(name), name.parse::<Prefix>()) {
            (Some(id), _) => vec![self.one(id)?],
            (None, Ok(prefix)) => {
                let query =
                    format!("/v1/responses?protocol=block_ip&prefix={}", prefix.to_string().replace('/', "%2F"));
                let body = self.session.ask(Call::Get(query))?;
                let page: crate::control::respond::view::ResponsesView = self.session.read(&body)?;
                page.items.iter().map(|one| self.one(one.id)).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(Failure::Usage(anyhow::anyhow!("{name:?} is neither an address, a network nor an id"))),
        };
        if found.is_empty() {
            let text = format!("no block_ip is about exactly {name}: `shrike responses` shows what is in force");
            return Err(Failure::Findings(text));
        }
        for response in found {
            self.existing(&response)?;
        }
        Ok(())
    }

    fn existing(&mut self, response: &ResponseView) -> Result<(), Failure> {
        if response.protocol != "block_ip" {
            let told = format!("{} is {}: only what block_ip does can be rehearsed", response.id, response.protocol);
            return Err(Failure::Usage(anyhow::anyhow!(told)));
        }
        let since = response.enforced_since.map_or_else(|| "never".to_owned(), clock);
        let hit = response.last_hit.map_or_else(|| "none yet".to_owned(), clock);
        let told = format!(
            "{}, enforced since {since}, last hit {hit}, {} packets",
            response.state,
            grouped(response.packets)
        );
        self.step("the sensor says that it is", "", response.state == "enforced", told);
        let verdicts = response.verdicts.clone().unwrap_or_default();
        let mut sources = Vec::new();
        let mut back = Vec::new();
        for verdict in verdicts.as_array().into_iter().flatten() {
            let prefix = verdict["subject"].as_str().and_then(|text| text.parse::<Prefix>().ok());
            let Some(prefix) = prefix.filter(|_| sources.len() < SOURCES_MAX) else { continue };
            sources.push(prefix.first());
            back = match verdict["side"].as_str() {
                Some("source") => vec![false],
                Some("destination") => vec![true],
                _ => vec![true, false],
            };
        }
        let canary = self.order("canary", &json!({ "sources": sources }))?;
        let told = format!("{} flows to addresses of documentation, {}", canary.subjects, canary.state);
        self.step("a canary is in place", "", canary.state == "enforced", told);
        let before = self.one(response.id)?.packets;
        let dropped = self.rehearse("frames of it are dropped", &sources, Rehearsed::Dropped, &back)?;
        self.counted(response.id, before, dropped)?;
        self.take_back(canary.id)
    }
}

/// A datagram of a canary, or one back to it, under link addresses of documentation (RFC 7042 section 2.1.2).
fn frame(source: IpAddr, back: bool) -> Vec<u8> {
    let sink = canary::sink(source);
    let (from, to) = if back { (sink, source) } else { (source, sink) };
    let mut frame = vec![0, 0, 0x5e, 0, 0x53, 1, 0, 0, 0x5e, 0, 0x53, 2];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, canary::PROTOCOL, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (from, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
                IpAddr::V6(six) => six.octets(),
            };
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, canary::PROTOCOL, 64]);
            frame.extend(octets(from));
            frame.extend(octets(to));
        }
    }
    let [high, low] = canary::PORT.to_be_bytes();
    frame.extend([high, low, high, low, 0, 8, 0, 0]);
    frame.resize(frame.len().max(60), 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_a_datagram_of_the_flow_that_the_protocol_shunts() {
        for (source, back) in [("192.0.2.77", false), ("192.0.2.77", true), ("2001:db8:a::77", false)] {
            let source: IpAddr = source.parse().unwrap();
            let bytes = frame(source, back);
            let view = crate::dataplane::capture::FrameView {
                bytes: &bytes,
                wire_bytes: bytes.len() as u32,
                time: None,
                link: crate::dataplane::capture::LinkType::Ethernet,
                port: 0,
            };
            let mut packet = crate::dataplane::decode::Packet::default();
            let decoded = crate::dataplane::decode::decode(view, &mut packet);
            assert_eq!(decoded, crate::dataplane::decode::Decoded::Flow);
            let (from, to) = packet.key.endpoints(packet.direction);
            let (wanted, other) = if back { (canary::sink(source), source) } else { (source, canary::sink(source)) };
            assert_eq!((from.ip(), from.port, to.ip(), to.port, packet.key.protocol()), (wanted, 9, other, 9, 17));
        }
    }
}
