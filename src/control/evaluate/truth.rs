//! What happened in one capture, as its labels tell it.

use super::days::Active;
use super::evasion::evasions;
use super::labels::{self, Label, LabelError};
use super::{Family, Scope};
use crate::control::inventory::network::Network;
use crate::dataplane::detect::FlowRef;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Where a capture comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Real programs in the laboratory.
    Lab,
    /// Days made of what was recorded there.
    Warped,
    /// Captures of others, judged as a whole.
    Others,
}

impl Origin {
    /// What people read.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Lab => "lab",
            Origin::Warped => "warped time",
            Origin::Others => "others' captures",
        }
    }
}

/// One run of one tool.
#[derive(Clone, Debug)]
pub struct Episode {
    /// Its number in the labels.
    pub id: u64,
    /// What it was.
    pub family: Family,
    /// By which program.
    pub tool: String,
    /// How (`tunnel`, `loop`, ...).
    pub way: String,
    /// What its program was told to do about being seen; empty: nothing.
    pub evasion: String,
    /// How it hid, by kind; empty: not at all.
    pub hides: Vec<&'static str>,
    /// What else was drawn for it.
    pub variant: String,
    /// Who may have sent it.
    pub sources: BTreeSet<IpAddr>,
    /// To whom; empty: anybody.
    pub targets: BTreeSet<IpAddr>,
    /// Link addresses of who did it.
    pub macs: BTreeSet<String>,
    /// Are senders' link addresses, and so who it was, made up?
    pub is_forged: bool,
    /// First and last packet.
    pub span: (Timestamp, Timestamp),
    /// Why it does not count, if it does not.
    pub uncounted: Option<&'static str>,
}

/// What the labels say of a flow.
#[derive(Clone, Debug)]
pub struct FlowTruth {
    /// When it began.
    pub start: Timestamp,
    /// What it was.
    pub label: Label,
    /// Of an attack.
    pub family: Option<Family>,
    /// Number of its episode, if it is of one.
    pub episode: Option<u64>,
    /// The habit, or the way.
    pub cause: Arc<str>,
}

/// Protocol and ends, the smaller one first.
type Ends = (u8, (IpAddr, u16), (IpAddr, u16));

fn ends(protocol: u8, one: (IpAddr, u16), other: (IpAddr, u16)) -> Ends {
    (protocol, one.min(other), one.max(other))
}

/// What happened in one capture.
pub struct Truth {
    /// Its name in the tables.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Networks at home; empty: the configuration's.
    pub home: Vec<Network>,
    /// The attacks.
    pub episodes: Vec<Episode>,
    /// Flows by their labels; 0 where there are none.
    pub flows: u64,
    /// Days of an active inside host; `None`: the labels do not tell.
    pub host_days: Option<f64>,
    /// The capture is one episode from end to end, or none.
    pub is_whole: bool,
    /// When all honest flows together began to grow, and by how much an hour.
    pub growth: Option<(Timestamp, f64)>,
    by_ends: HashMap<Ends, Vec<FlowTruth>>,
}

/// Ways of an attack in which who sends is made up, by what the variant says.
const FORGED: [&str; 3] = ["forged", "rand-source", "rand"];

/// Targets that labels list at most; who has so many has more.
const TARGETS_LISTED: usize = 64;

impl Truth {
    /// A recording of the laboratory: its labels and its table of flows. Names of its files come with it.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_lab(name: &str, labels: &str, flows: &str, scope: &Scope) -> Result<Truth, LabelError> {
        let labels = labels::labels(labels)?;
        let origin = if labels.synthetic { Origin::Warped } else { Origin::Lab };
        let home: Vec<_> =
            [&labels.subnet, &labels.subnet6].into_iter().filter_map(|text| Network::parse(text)).collect();
        let mut inside = HashMap::new();
        for (index, host) in labels.hosts.iter().enumerate().filter(|(_, host)| host.inside) {
            let texts = [&host.address, &host.address6].into_iter().chain(&host.more);
            inside.extend(texts.filter_map(|text| text.parse::<IpAddr>().ok()).map(|address| (address, index)));
        }
        let mut active = Active::default();
        let mut by_ends: HashMap<Ends, Vec<FlowTruth>> = HashMap::new();
        let mut causes: HashMap<&str, Arc<str>> = HashMap::new();
        let mut count = 0;
        labels::flows(flows, |flow| {
            count += 1;
            let (Ok(source), Ok(target)) = (flow.source.parse::<IpAddr>(), flow.target.parse::<IpAddr>()) else {
                return;
            };
            if let Some(host) = inside.get(&source).filter(|_| flow.label != Label::Attack) {
                active.flow(*host, flow.start.0, flow.end.0);
            }
            let Ok(protocol) = flow.protocol.parse() else { return };
            let cause = causes.entry(flow.cause).or_insert_with(|| flow.cause.into()).clone();
            let truth =
                FlowTruth { start: flow.start, label: flow.label, family: flow.family, episode: flow.episode, cause };
            by_ends
                .entry(ends(protocol, (source, flow.source_port), (target, flow.target_port)))
                .or_default()
                .push(truth);
        })?;
        for flows in by_ends.values_mut() {
            flows.sort_by_key(|flow| flow.start);
        }
        let episodes = labels.episodes.iter().filter_map(|episode| Episode::of(episode, scope)).collect();
        Ok(Truth {
            name: name.to_owned(),
            origin,
            home,
            episodes,
            flows: count,
            host_days: Some(active.days()),
            is_whole: false,
            growth: labels.growth(),
            by_ends,
        })
    }

    /// A capture of others that is an attack from end to end, or none.
    pub fn whole(name: &str, family: Option<Family>) -> Truth {
        let episode = |family| Episode {
            id: 0,
            family,
            tool: name.to_owned(),
            way: String::new(),
            evasion: String::new(),
            hides: Vec::new(),
            variant: String::new(),
            sources: BTreeSet::new(),
            targets: BTreeSet::new(),
            macs: BTreeSet::new(),
            is_forged: true,
            span: (Timestamp(0), Timestamp(u64::MAX)),
            uncounted: None,
        };
        Truth {
            name: name.to_owned(),
            origin: Origin::Others,
            home: Vec::new(),
            episodes: family.map(episode).into_iter().collect(),
            flows: 0,
            host_days: None,
            is_whole: true,
            growth: None,
            by_ends: HashMap::new(),
        }
    }

    /// What the labels say of the flow that evidence of this time names: of several between the same ends the latest that had
    /// begun by then.
    pub fn flow(&self, flow: &FlowRef, time: Timestamp) -> Option<&FlowTruth> {
        let sides = ((flow.source, flow.source_port), (flow.destination, flow.destination_port));
        let flows = self.by_ends.get(&ends(flow.protocol, sides.0, sides.1))?;
        flows.iter().rev().find(|flow| flow.start <= time)
    }

    /// Names of the files that `labels.json` speaks of: capture and flows.
    ///
    /// # Errors
    /// As [`Truth::of_lab`].
    pub fn files(labels: &str) -> Result<(String, String), LabelError> {
        let labels = labels::labels(labels)?;
        Ok((labels.capture, labels.flows))
    }
}

impl Episode {
    /// An attack of the labels; `None`: no attack.
    fn of(episode: &labels::LabelledEpisode, scope: &Scope) -> Option<Episode> {
        if episode.counts_as != "attack" {
            return None;
        }
        let family = Family::named(&episode.family)?;
        let text = |name: &str| match episode.variant.get(name) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let evasion = text("evasion");
        let nothing = episode.packets == 0 || episode.first_ns.is_none();
        let rest = episode.variant.iter().filter(|(name, _)| !["way", "evasion", "targets"].contains(&name.as_str()));
        let variant: Vec<String> = rest.map(|(name, _)| format!("{name} {}", text(name))).collect();
        let mut targets: BTreeSet<IpAddr> = labels::addresses(&episode.targets).into_iter().collect();
        if targets.len() >= TARGETS_LISTED {
            targets.clear();
        } else {
            targets.extend(labels::addresses(&episode.peers));
        }
        let first = episode.first_ns.unwrap_or(0);
        Some(Episode {
            id: episode.id,
            family,
            tool: episode.tool.clone(),
            way: text("way"),
            is_forged: episode.forged_macs || FORGED.iter().any(|word| evasion.contains(word)),
            evasion,
            hides: evasions(&episode.variant),
            variant: variant.join(", "),
            sources: labels::addresses(&episode.sources).into_iter().collect(),
            targets,
            macs: episode.macs.iter().map(|mac| mac.to_ascii_lowercase()).collect(),
            span: (Timestamp(first), Timestamp(episode.last_ns.unwrap_or(first))),
            uncounted: match () {
                () if nothing && episode.outcome.contains("sent nothing") => Some("sent nothing"),
                () if nothing => Some("no packet"),
                () if !scope.counts(family, &episode.tool) => Some("known to the model"),
                () => None,
            },
        })
    }
}
