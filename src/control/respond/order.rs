//! What is ordered of the responder, and what comes of it.

use super::disk::DiskError;
use super::protocols::ProtocolError;
use super::safety::{BrakeSettings, Proof, Refusal, Settings as Limits, Who};
use crate::units::SECOND;
use serde_json::Value;

/// How the responder is set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits of safety.
    pub limits: Limits,
    /// The brake's.
    pub brake: BrakeSettings,
    /// For how long, where nobody says; nanoseconds.
    pub ttl_ns: u64,
    /// An automatic response that comes again within this time of its end lasts twice as long each time; nanoseconds.
    pub memory_ns: u64,
    /// Up to this; nanoseconds.
    pub escalation_max_ns: u64,
    /// How long a proposal waits; nanoseconds.
    pub proposal_ns: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits::default(),
            brake: BrakeSettings::default(),
            ttl_ns: 3_600 * SECOND,
            memory_ns: 86_400 * SECOND,
            escalation_max_ns: 86_400 * SECOND,
            proposal_ns: 3_600 * SECOND,
        }
    }
}

/// What is ordered.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    /// By the name of its protocol.
    pub protocol: String,
    /// Its parameters.
    pub parameters: Value,
    /// For how long, nanoseconds; `None`: as long as is usual.
    pub ttl_ns: Option<u64>,
    /// Who orders.
    pub who: Who,
    /// Why, in words.
    pub why: String,
    /// Ids of alerts.
    pub evidence: Vec<String>,
    /// What speaks for the source.
    pub proof: Proof,
    /// What is to come of it.
    pub mode: Mode,
    /// A proof of the source may still come: that there is none is not written down.
    pub patient: bool,
}

/// What is to come of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It is done.
    Do,
    /// It is put before the operator.
    Propose,
    /// It is only said what would be done.
    DryRun,
}

/// What came of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is in force, or has been handed on.
    Begun,
    /// It was in force, and lasts longer.
    Extended,
    /// It was so already.
    Already,
    /// It waits for somebody to accept it.
    Proposed,
    /// It would be allowed; nothing was done.
    WouldDo,
}

/// Why an order is not followed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No such protocol, or its parameters.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A rule of safety.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is nothing that would carry it out.
    #[error("{0}")]
    NoPair(&'static str),
    /// The disk; nothing was done.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no such response.
    #[error("no response has the id {0}: GET /v1/responses lists them")]
    NotFound(String),
    /// It is there, and this cannot be done with it.
    #[error("{0}")]
    Conflict(String),
}
