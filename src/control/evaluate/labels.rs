//! The laboratory's labels as they stand in a recording's directory (`models/lab/README.md`).

use super::Family;
use crate::units::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Why labels were refused.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// Not JSON of this shape.
    #[error("labels.json: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format.
    #[error("labels.json is of format {0}; this program reads 1")]
    Format(u32),
    /// A table without one of its columns.
    #[error("no column `{0}` in the head of the table")]
    Column(&'static str),
    /// A line that says something else than its columns.
    #[error("line {line}: {column} is {value:?}")]
    Value {
        /// From 1.
        line: usize,
        /// Its column.
        column: &'static str,
        /// What stands there.
        value: String,
    },
}

/// What is used of `labels.json`.
#[derive(Deserialize)]
pub(super) struct Labels {
    pub format: u32,
    pub capture: String,
    pub flows: String,
    pub synthetic: bool,
    #[serde(default)]
    pub subnet: String,
    #[serde(default)]
    pub subnet6: String,
    pub hosts: Vec<Host>,
    pub episodes: Vec<LabelledEpisode>,
    #[serde(default)]
    pub start_ns: u64,
    /// Of days that were made.
    #[serde(default)]
    pub generator: Generator,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Generator {
    pub settings: Made,
}

/// How days were made.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Made {
    /// Growth an hour: 0.02 are two per cent.
    pub ramp: f64,
    /// Days before it begins.
    pub ramp_from: f64,
}

impl Labels {
    /// When all honest flows together began to grow, and by how much an hour.
    pub fn growth(&self) -> Option<(Timestamp, f64)> {
        let Made { ramp, ramp_from } = self.generator.settings;
        (ramp > 0.0).then(|| (Timestamp(self.start_ns).after((ramp_from.max(0.0) * 86_400e9) as u64), ramp))
    }
}

#[derive(Deserialize)]
pub(super) struct Host {
    #[serde(default)]
    pub address: String,
    #[serde(default)]
    pub address6: String,
    #[serde(default)]
    pub more: Vec<String>,
    pub inside: bool,
}

#[derive(Deserialize)]
pub(super) struct LabelledEpisode {
    pub id: u64,
    pub counts_as: String,
    #[serde(default)]
    pub family: String,
    #[serde(default)]
    pub tool: String,
    #[serde(default)]
    pub variant: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    pub sources: Vec<String>,
    #[serde(default)]
    pub macs: Vec<String>,
    #[serde(default)]
    pub targets: Vec<String>,
    #[serde(default)]
    pub peers: Vec<String>,
    pub first_ns: Option<u64>,
    pub last_ns: Option<u64>,
    #[serde(default)]
    pub packets: u64,
    #[serde(default)]
    pub forged_macs: bool,
    #[serde(default)]
    pub outcome: String,
}

pub(super) fn labels(text: &str) -> Result<Labels, LabelError> {
    let labels: Labels = serde_json::from_str(text)?;
    if labels.format == 1 { Ok(labels) } else { Err(LabelError::Format(labels.format)) }
}

/// What a flow was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// Part of an attack.
    Attack,
    /// What somebody honest did.
    Benign,
    /// What the network does by itself.
    Background,
}

/// A line of `flows.csv`.
pub(super) struct LabelledFlow<'a> {
    pub protocol: &'a str,
    pub source: &'a str,
    pub source_port: u16,
    pub target: &'a str,
    pub target_port: u16,
    pub start: Timestamp,
    pub end: Timestamp,
    pub label: Label,
    pub family: Option<Family>,
    pub episode: Option<u64>,
    pub cause: &'a str,
}

/// Every line of `flows.csv`. No field holds a comma.
pub(super) fn flows<'a>(text: &'a str, mut each: impl FnMut(LabelledFlow<'a>)) -> Result<(), LabelError> {
    const COLUMNS: [&str; 11] = [
        "protocol",
        "source",
        "source_port",
        "target",
        "target_port",
        "start_ns",
        "end_ns",
        "label",
        "family",
        "episode",
        "cause",
    ];
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = head.iter().position(|name| *name == column).ok_or(LabelError::Column(column))?;
    }
    let mut fields = Vec::new();
    for (number, line) in lines.enumerate() {
        fields.clear();
        fields.extend(line.split(','));
        let line = number + 2;
        let field = |index: usize| fields.get(places[index]).copied().unwrap_or_default();
        let wrong = |index: usize| LabelError::Value { line, column: COLUMNS[index], value: field(index).to_owned() };
        let number = |index: usize| field(index).parse::<u64>().map_err(|_| wrong(index));
        let port = |index: usize| field(index).parse::<u16>().map_err(|_| wrong(index));
        each(LabelledFlow {
            protocol: field(0),
            source: field(1),
            source_port: port(2)?,
            target: field(3),
            target_port: port(4)?,
            start: Timestamp(number(5)?),
            end: Timestamp(number(6)?),
            label: match field(7) {
                "attack" => Label::Attack,
                "benign" => Label::Benign,
                "background" => Label::Background,
                _ => return Err(wrong(7)),
            },
            family: Family::named(field(8)),
            episode: if field(9).is_empty() { None } else { Some(number(9)?) },
            cause: field(10),
        });
    }
    Ok(())
}

/// Addresses of texts; what is none is left out (names of the lab's cards).
pub(super) fn addresses(texts: &[String]) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
