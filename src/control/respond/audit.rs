//! What was asked, refused, done, repaired and ended: one row each, with who, why, evidence and result.

use super::intended::{Id, Response};
use super::words::tell;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest text of a row, characters; what is beyond is cut.
const TEXT_MAX: usize = 512;
/// Subjects that a row names; of further ones it tells how many.
const SUBJECTS_NAMED: usize = 4;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A playbook in observe mode would have asked, or somebody asked for a dry run: nothing was done.
    WouldDo,
    /// A playbook put it before the operator.
    Proposed,
    /// Somebody accepted a proposal.
    Accepted,
    /// Somebody rejected a proposal.
    Rejected,
    /// Nobody decided about a proposal in time, or newer ones took its place.
    Lapsed,
    /// A rule of safety said no.
    Refused,
    /// It was asked for, and stands in the intended set.
    Requested,
    /// It was in force already, and lasts longer.
    Extended,
    /// The kernel has it, or what acts once has acted.
    Applied,
    /// The kernel refused, or what acts once failed.
    Failed,
    /// Its time was over.
    Expired,
    /// Somebody took it back, or the brake did.
    Undone,
    /// The kernel did not have what it should, and has been told again.
    Repaired,
    /// The kernel had what nobody asked for, and it was taken out.
    Foreign,
    /// The brake went on.
    BrakeOn,
    /// The brake was let go.
    BrakeOff,
    /// Something was given up for want of room.
    Lost,
}

/// One row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its place, dense from 1; 0 before it is written.
    #[serde(default)]
    pub sequence: u64,
    /// When.
    #[serde(with = "crate::units::rfc3339")]
    pub time: Timestamp,
    /// What happened.
    pub event: Event,
    /// To which response.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<Id>,
    /// Its protocol; empty where there is none.
    pub protocol: String,
    /// What it is about.
    pub subject: String,
    /// By whose word: a person, a playbook, or `shrike` itself.
    pub who: String,
    /// Why.
    pub why: String,
    /// Ids of alerts.
    pub evidence: Vec<String>,
    /// What came of it.
    pub result: String,
}

/// A text of the wire's or of a person's within its limit.
pub fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

impl Row {
    /// A row about a response.
    pub fn about(response: &Response, event: Event, time: Timestamp, who: &str, result: impl Into<String>) -> Row {
        Row {
            sequence: 0,
            time,
            event,
            id: Some(response.id),
            protocol: response.protocol.clone(),
            subject: subject(response),
            who: cut(who),
            why: cut(&response.why),
            evidence: response.evidence.clone(),
            result: cut(&result.into()),
        }
    }

    /// A row about no response: by the program itself.
    pub fn own(event: Event, time: Timestamp, subject: &str, result: impl Into<String>) -> Row {
        Row {
            sequence: 0,
            time,
            event,
            id: None,
            protocol: String::new(),
            subject: cut(subject),
            who: "shrike".into(),
            why: String::new(),
            evidence: Vec::new(),
            result: cut(&result.into()),
        }
    }
}

/// What a response is about, shortly.
pub fn subject(response: &Response) -> String {
    let named: Vec<_> = response.verdicts.iter().take(SUBJECTS_NAMED).map(|verdict| tell(&verdict.subject)).collect();
    match response.verdicts.len() {
        0 => cut(&response.parameters.to_string()),
        count if count > SUBJECTS_NAMED => format!("{} and {} more", named.join(", "), count - SUBJECTS_NAMED),
        _ => named.join(", "),
    }
}
