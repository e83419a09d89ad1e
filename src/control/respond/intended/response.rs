//! One response: what was done, by whose word, why, until when, and what it comes to in the kernel.

use super::entry::{Entry, EntryState};
use crate::control::respond::safety::{Proof, Who};
use crate::control::respond::words::Verdict;
use crate::dataplane::verdict::Subject;
use crate::units::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;

/// Alerts that a response names as its evidence, the latest of them.
pub const EVIDENCE_MAX: usize = 16;

/// Names a response: the same protocol with the same parameters, asked for by the same (a playbook, or people), has the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Id(pub u128);

impl Id {
    /// 128 bits of SHA-256 over what makes the response; `parameters` in the one form that the protocol gives them.
    pub fn of(protocol: &str, parameters: &Value, who: &Who) -> Id {
        // People are one: what one of them blocked, another makes last longer.
        let whose = if let Who::Playbook(name) = who { name.as_str() } else { "" };
        let mut hash = Sha256::new();
        for part in [protocol, whose, &parameters.to_string()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Id(hash.finalize().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// What escalation remembers: whoever asked.
    pub fn of_anybody(protocol: &str, parameters: &Value) -> Id {
        Id::of(protocol, parameters, &Who::Person(String::new()))
    }

    /// Reads what [`Id`] is shown as.
    pub fn parse(text: &str) -> Option<Id> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(text, 16).ok().map(Id))?
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = String::deserialize(deserializer)?;
        Id::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text} is no id of a response")))
    }
}

/// How far a response has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A playbook asks for it; it waits for somebody to accept it.
    Proposed,
    /// Its verdicts are in force.
    InForce,
    /// It acts once, and has been handed to whom it needs.
    Running,
    /// It acted.
    Done,
    /// It could not.
    Failed,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = Stage::Failed as usize + 1;
}

/// A response.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Response {
    /// Its name.
    pub id: Id,
    /// Which protocol.
    pub protocol: String,
    /// With which parameters, in the protocol's own form.
    pub parameters: Value,
    /// Who asked; of a proposal that was accepted the person who did.
    pub who: Who,
    /// The playbook that proposed it, where one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub playbook: Option<String>,
    /// Why, in words.
    pub why: String,
    /// Ids of alerts, the latest last.
    pub evidence: Vec<String>,
    /// What spoke for the source.
    #[serde(default)]
    pub proof: Proof,
    /// When it began, or was proposed.
    #[serde(with = "crate::units::rfc3339")]
    pub begun: Timestamp,
    /// When it ends; of a proposal when it lapses. To the nanosecond on disk: the set is compared before and after a restart.
    pub until: Timestamp,
    /// For how long it was, or would be; nanoseconds.
    pub ttl_ns: u64,
    /// How often the same was in force before, within the time that is remembered.
    pub repeats: u32,
    /// How far it has come.
    pub stage: Stage,
    /// What became of it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<String>,
    /// What it asks of the kernel; made anew from the parameters at each start.
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
    /// What the kernel does about it.
    #[serde(skip)]
    pub kernel: ResponseState,
}

/// What the kernel does about a response, over all of its subjects.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ResponseState {
    /// Subjects that the kernel has.
    pub enforced: u64,
    /// Subjects that it is still to be told of.
    pub pending: u64,
    /// Subjects that it refused.
    pub failed: u64,
    /// Why, of one of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Since when all that it has was there without a break.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub enforced_since: Option<Timestamp>,
    /// When the latest frame met it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_hit: Option<Timestamp>,
    /// Packets dropped, or above the rate.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Response {
    /// Are its verdicts to be in the kernel?
    pub fn holds(&self) -> bool {
        self.stage == Stage::InForce
    }

    /// Names further alerts as evidence; beyond `EVIDENCE_MAX` the earliest gives way.
    pub fn add_evidence(&mut self, ids: &[String]) {
        for id in ids {
            if !self.evidence.contains(id) {
                self.evidence.push(id.clone());
            }
        }
        let above = self.evidence.len().saturating_sub(EVIDENCE_MAX);
        self.evidence.drain(..above);
    }

    pub(super) fn summed<'a>(
        &self,
        entry: impl Fn(&Subject) -> Option<&'a Entry>,
        when: impl Fn(u64) -> Timestamp,
    ) -> ResponseState {
        let mut sum = ResponseState::default();
        if !self.holds() {
            return sum;
        }
        let mut last_ns = 0;
        for verdict in &self.verdicts {
            let Some(entry) = entry(&verdict.subject) else { continue };
            match &entry.state {
                EntryState::Pending => sum.pending += 1,
                EntryState::Enforced => {
                    sum.enforced += 1;
                    sum.enforced_since = sum.enforced_since.max(entry.since);
                }
                EntryState::Failed(reason) => {
                    sum.failed += 1;
                    sum.reason.get_or_insert_with(|| reason.to_string());
                }
            }
            sum.packets = sum.packets.saturating_add(entry.hits.packets);
            sum.bytes = sum.bytes.saturating_add(entry.hits.bytes);
            last_ns = last_ns.max(entry.hits.last_ns);
        }
        sum.last_hit = (last_ns > 0).then(|| when(last_ns));
        sum
    }

    /// `enforced`, `pending`, `failed`, `proposed`, `running` or `done`.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Proposed => "proposed",
            Stage::Running => "running",
            Stage::Done => "done",
            Stage::Failed => "failed",
            // It asks nothing of the kernel: it goes on in a thread of ours.
            Stage::InForce if self.verdicts.is_empty() => "running",
            Stage::InForce if self.kernel.failed > 0 => "failed",
            Stage::InForce if self.kernel.pending > 0 || self.kernel.enforced == 0 => "pending",
            Stage::InForce => "enforced",
        }
    }
}
