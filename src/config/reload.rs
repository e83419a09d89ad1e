//! Which changes of a file a running program takes over, and what waits for its next start.
//!
//! What is compared is what the operator wrote, key by key, so that each change that waits can be named.

use super::{Config, ConfigError};
use crate::dataplane::capture::xdp::{InterfaceSettings, PairSettings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a file says, key by key: `respond.ttl_seconds`, `pair[0].fail`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Written(BTreeMap<String, toml::Value>);

/// Changes between two of them, by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Taken over while it runs.
    pub taken: BTreeSet<String>,
    /// Left as they are until the next start.
    pub waiting: BTreeSet<String>,
}

/// Keys of a pair that change maps of the program and nothing else.
const OF_PAIRS: [&str; 3] = ["fail", "fail_on", "heartbeat_ms"];
/// Keys of `[respond]` that are needed before anything begins.
const AT_START: [&str; 11] = [
    "enabled",
    "store",
    "audit_rows",
    "prefixes",
    "flows",
    "signatures",
    "hosts",
    "captures",
    "capture_bytes",
    "capture_files",
    "reset_interface",
];
/// Sections that are taken over whole.
const WHOLE: [&str; 3] = ["playbook", "webhook", "command"];
/// What of `[detect]` is room taken at the start, whichever detector's it is, or what is there at all.
const ROOM: [&str; 12] = [
    "pairs",
    "hosts",
    "entries",
    "servers",
    "sources",
    "targets",
    "sessions",
    "slow_records",
    "pending_entries",
    "pending_scores",
    "pending_observations",
    "behaviour",
];

/// Whether a running program takes a change of that key over.
fn is_taken(key: &str) -> bool {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let name = section.split('[').next().unwrap_or_default();
    match name {
        "pair" => OF_PAIRS.contains(&rest.split('.').next().unwrap_or_default()),
        "respond" => !AT_START.contains(&rest),
        "detect" => !rest.starts_with("windows") && !ROOM.contains(&rest.rsplit('.').next().unwrap_or_default()),
        _ => WHOLE.contains(&name),
    }
}

impl Written {
    /// What a file says; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn read(path: Option<&Path>) -> Result<Written, ConfigError> {
        let Some(path) = path else { return Ok(Written::default()) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::unreadable(name.clone(), &cause))?;
        Written::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Written, ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|cause| ConfigError::syntax(name, text, &cause))?;
        let mut written = Written::default();
        written.take(String::new(), &toml::Value::Table(table));
        Ok(written)
    }

    fn take(&mut self, key: String, value: &toml::Value) {
        let is_of_tables = |values: &[toml::Value]| values.iter().all(toml::Value::is_table) && !values.is_empty();
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    self.take(if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value);
                }
            }
            toml::Value::Array(values) if is_of_tables(values) => {
                values.iter().enumerate().for_each(|(index, value)| self.take(format!("{key}[{index}]"), value));
            }
            other => drop(self.0.insert(key, other.clone())),
        }
    }

    /// Whether a running program takes a change of that key over; nothing of a pair that is another one by now.
    fn takes(&self, key: &str, to: &Written) -> bool {
        let pair = key.split_once('.').map(|(section, _)| section).filter(|section| section.starts_with("pair["));
        let is_another = |section: &str| {
            ["name", "ports", "netns"].iter().any(|name| {
                let key = format!("{section}.{name}");
                self.0.get(&key) != to.0.get(&key)
            })
        };
        is_taken(key) && !pair.is_some_and(is_another)
    }

    /// What a running program that began, or went on, with this does about that.
    pub fn changes(&self, to: &Written) -> Changes {
        let mut changes = Changes::default();
        for key in self.0.keys().chain(to.0.keys()).filter(|key| self.0.get(*key) != to.0.get(*key)) {
            let list = if self.takes(key, to) { &mut changes.taken } else { &mut changes.waiting };
            list.insert(key.clone());
        }
        changes
    }

    /// What holds then: what is taken over of `to`, and the rest as it was. A later reload still names what waits.
    #[must_use]
    pub fn after(&self, to: &Written) -> Written {
        let kept = self.0.iter().filter(|(key, _)| !self.takes(key, to));
        let taken = to.0.iter().filter(|(key, _)| self.takes(key, to));
        Written(kept.chain(taken).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Config {
    /// This plan with what a running program takes over of another.
    #[must_use]
    pub fn taking_over(&self, other: &Config) -> Config {
        let mut next = self.clone();
        for pair in &mut next.pairs {
            let labels = |pair: &PairSettings| pair.ports.each_ref().map(InterfaceSettings::label);
            let is_same = |wanted: &&PairSettings| wanted.name == pair.name && labels(wanted) == labels(pair);
            if let Some(wanted) = other.pairs.iter().find(is_same) {
                *pair = PairSettings { ports: pair.ports.clone(), link: pair.link, ..wanted.clone() };
            }
        }
        next.respond = super::RespondPlan {
            enabled: self.respond.enabled,
            store: self.respond.store.clone(),
            audit_rows: self.respond.audit_rows,
            room: self.respond.room,
            ..other.respond.clone()
        };
        let (mut wanted, before) = (
            serde_json::to_value(other.detect).unwrap_or_default(),
            serde_json::to_value(self.detect).unwrap_or_default(),
        );
        keep("detect", &mut wanted, &before);
        // Both came out of such settings: it cannot fail, and would leave what holds.
        next.detect = serde_json::from_value(wanted).unwrap_or(self.detect);
        next
    }
}

/// Puts what waits for a start back as it was.
fn keep(key: &str, wanted: &mut serde_json::Value, before: &serde_json::Value) {
    if let serde_json::Value::Object(fields) = wanted {
        for (name, value) in fields {
            keep(&format!("{key}.{name}"), value, &before[name.as_str()]);
        }
    } else if !is_taken(key) {
        *wanted = before.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::dataplane::capture::xdp::{Cause, Fail};

    const BEFORE: &str =
        "[[pair]]\nname = \"x\"\nports = [\"a\", \"b\"]\n[flow]\ncapacity = 4096\n[respond]\nttl_seconds = 60\n";

    fn of(text: &str) -> (Written, Config) {
        (Written::parse("t", text).unwrap(), parse("t", text, std::iter::empty()).unwrap())
    }

    #[test]
    fn each_change_is_taken_over_or_named() {
        let (before, running) = of(BEFORE);
        let text = "[[pair]]\nname = \"x\"\nports = [\"a\", \"b\"]\nheartbeat_ms = 9\nring = 512\nfail_on = { store = \"closed\" }\n\
                    [flow]\ncapacity = 8192\n[respond]\nttl_seconds = 90\nprefixes = 64\ncaptures = \"/var/c\"\n\
                    [detect]\nbehaviour = false\n[detect.beacon]\nscore = 0.9\npairs = 64\n\
                    [[playbook]]\nname = \"p\"\nprotocol = \"block_ip\"\n";
        let (after, wanted) = of(text);
        let changes = before.changes(&after);
        let list = |keys: &BTreeSet<String>| keys.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(
            list(&changes.taken),
            "detect.beacon.score pair[0].fail_on.store pair[0].heartbeat_ms playbook[0].name playbook[0].protocol respond.ttl_seconds"
        );
        assert_eq!(
            list(&changes.waiting),
            "detect.beacon.pairs detect.behaviour flow.capacity pair[0].ring respond.captures respond.prefixes"
        );
        let next = running.taking_over(&wanted);
        assert_eq!(next.respond.settings.ttl_ns, 90_000_000_000);
        assert_eq!((next.respond.room, next.respond.playbooks.len()), (running.respond.room, 1));
        assert_eq!(next.engine.flow.capacity, 4096);
        assert_eq!(next.detect.beacon.pairs, running.detect.beacon.pairs);
        assert_eq!(next.detect.beacon.score, wanted.detect.beacon.score);
        assert!(next.detect.behaviour);
        assert_eq!((&next.pairs[0].ports, next.pairs[0].beat_limit_ns), (&running.pairs[0].ports, 9_000_000));
        // What waits is named again; what is written back waits no longer.
        let held = before.after(&after);
        assert_eq!(held.changes(&after), Changes { waiting: changes.waiting, ..Changes::default() });
        assert_eq!(list(&held.changes(&before).waiting), "");
        let changed = running.taking_over(&of("[[pair]]\nname = \"x\"\nports = [\"a\", \"b\"]\nfail = \"closed\"").1);
        assert_eq!(changed.pairs[0].policy.of(Cause::Crash), Fail::Closed);
        let other = running.taking_over(&of("[[pair]]\nname = \"x\"\nports = [\"a\", \"c\"]\nfail = \"closed\"").1);
        assert_eq!(other.pairs[0], running.pairs[0], "of other ports it is another pair");
    }
}
