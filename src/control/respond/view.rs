//! Responses as the API tells them, and as its clients read them.

use super::audit::subject;
use super::intended::{Id, Response, Stage};
use super::safety::Proof;
use super::words::Verdict;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Verdicts that are told one by one; of further ones how many.
const VERDICTS_SHOWN: usize = 100;

/// One response.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ResponseView {
    /// Its name.
    pub id: Id,
    /// `proposed`, `pending`, `enforced`, `failed`, `running` or `done`.
    pub state: String,
    /// Which protocol.
    pub protocol: String,
    /// What it is about, shortly.
    pub subject: String,
    /// How many subjects it has.
    pub subjects: u64,
    /// Who asked.
    pub who: String,
    /// Nobody was asked.
    pub automatic: bool,
    /// The playbook that wanted it, where one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub playbook: Option<String>,
    /// Why.
    pub why: String,
    /// Ids of alerts.
    pub evidence: Vec<String>,
    /// What speaks for the source.
    pub proof: Proof,
    /// When it began, or was proposed.
    #[serde(with = "crate::units::rfc3339")]
    pub begun: Timestamp,
    /// When it ends, or lapses.
    #[serde(with = "crate::units::rfc3339")]
    pub until: Timestamp,
    /// For how long it is.
    pub ttl_seconds: u64,
    /// How often the same was in force before.
    pub repeats: u32,
    /// What came of what acts once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<String>,
    /// Subjects that the kernel has.
    pub enforced: u64,
    /// Subjects that it is still to be told of.
    pub pending: u64,
    /// Subjects that it refused.
    pub failed: u64,
    /// Why, of one of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Since when the kernel has all without a break.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "maybe")]
    pub enforced_since: Option<Timestamp>,
    /// When the latest frame met it.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "maybe")]
    pub last_hit: Option<Timestamp>,
    /// Packets dropped, or above the rate.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The parameters; of one response, not in lists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parameters: Option<Value>,
    /// What the kernel is asked, as far as it is told one by one; of one response, not in lists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdicts: Option<Value>,
}

impl ResponseView {
    /// As in a list, or with everything.
    pub fn of(response: &Response, whole: bool) -> ResponseView {
        let kernel = &response.kernel;
        let shown: &[Verdict] = response.verdicts.get(..VERDICTS_SHOWN).unwrap_or(&response.verdicts);
        // Texts and numbers: serde_json cannot fail on them.
        let verdicts = whole.then(|| serde_json::to_value(shown).unwrap_or_default());
        ResponseView {
            id: response.id,
            state: response.state().to_owned(),
            protocol: response.protocol.clone(),
            subject: subject(response),
            subjects: response.verdicts.len() as u64,
            who: response.who.to_string(),
            automatic: response.who.is_automatic() && response.stage != Stage::Proposed,
            playbook: response.playbook.clone(),
            why: response.why.clone(),
            evidence: response.evidence.clone(),
            proof: response.proof,
            begun: response.begun,
            until: response.until,
            ttl_seconds: response.ttl_ns / SECOND,
            repeats: response.repeats,
            outcome: response.outcome.clone(),
            enforced: kernel.enforced,
            pending: kernel.pending,
            failed: kernel.failed,
            reason: kernel.reason.clone(),
            enforced_since: kernel.enforced_since,
            last_hit: kernel.last_hit,
            packets: kernel.packets,
            bytes: kernel.bytes,
            parameters: whole.then(|| response.parameters.clone()),
            verdicts,
        }
    }
}

/// `GET /v1/responses`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ResponsesView {
    /// In the order of their ids.
    pub items: Vec<ResponseView>,
    /// Where the next page begins (`after`), where there is one.
    pub next: Option<Id>,
    /// There is a next page.
    pub has_more: bool,
    /// The whole set.
    pub set: SetView,
}

impl ResponsesView {
    /// Of a program that does not respond, and why.
    pub fn none(why: &str) -> ResponsesView {
        let set = SetView { not_enforced: Some(why.to_owned()), ..SetView::default() };
        ResponsesView { items: Vec::new(), next: None, has_more: false, set }
    }
}

/// The whole set in figures.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SetView {
    /// Responses, proposals among them.
    pub responses: u64,
    /// Subjects in force.
    pub subjects: u64,
    /// SHA-256 over what is in force: the same before and after a restart.
    pub digest: String,
    /// Can verdicts be carried out? If not, why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_enforced: Option<String>,
    /// Since when the brake is on.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "maybe")]
    pub brake_since: Option<Timestamp>,
    /// What is never blocked.
    pub allow: Vec<String>,
    /// From the evidence's packet to the kernel: count, p50 and p99 in microseconds, of automatic blocks.
    pub block_applied: [u64; 3],
    /// Subjects that were missing in the kernel, changed there, or nobody asked for, since the start.
    pub repaired: [u64; 3],
}

/// What came of an order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OrderedView {
    /// `begun`, `extended`, `already`, `proposed`, `would_do`, `undone` or `rejected`.
    pub outcome: String,
    /// The response as it stands, or stood.
    pub response: ResponseView,
}

mod maybe {
    use crate::units::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&time.to_rfc3339()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| Timestamp::from_rfc3339(&text)))
    }
}
