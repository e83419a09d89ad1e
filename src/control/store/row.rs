//! A stored alert, what readers choose by, and a page of them.

use super::Cursor;
use crate::control::alert::Alert;
use crate::dataplane::detect::Detector;
use crate::units::Timestamp;
use std::sync::Arc;

/// One alert as the store holds it: the JSON it is served as, and what readers filter by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Place in the store, dense from 1.
    pub sequence: u64,
    /// Capture time of the evidence.
    pub time: Timestamp,
    /// 1 (high) to 4 (low).
    pub severity: u8,
    /// [`Detector::name`].
    pub detector: String,
    /// [`Alert::id`]; shared by the repeats of one alert.
    pub id: String,
    /// The [`Alert`] as JSON.
    pub(super) body: String,
}

impl Stored {
    pub(super) fn new(sequence: u64, alert: &Alert) -> Stored {
        Stored {
            sequence,
            time: alert.evidence.time,
            severity: alert.evidence.severity,
            detector: alert.evidence.detector.name().to_owned(),
            id: alert.id.clone(),
            // An Alert is numbers, strings and lists: serde_json cannot fail on it.
            body: serde_json::to_string(alert).unwrap_or_else(|_| "{}".to_owned()),
        }
    }

    /// The alert as served: its own fields with `sequence` and `timestamp` (RFC 3339) before them.
    pub fn to_json(&self) -> String {
        let rest = self.body.get(1..).unwrap_or("}");
        let comma = if rest == "}" { "" } else { "," };
        format!("{{\"sequence\":{},\"timestamp\":\"{}\"{comma}{rest}", self.sequence, self.time.to_rfc3339())
    }

    /// The alert itself.
    ///
    /// # Errors
    /// A row written by another version whose fields do not fit.
    pub fn alert(&self) -> Result<Alert, serde_json::Error> {
        serde_json::from_str(&self.body)
    }
}

/// What a reader wants to see; the default is everything.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Filter {
    /// This severity or a higher one (a lower number).
    pub severity: Option<u8>,
    /// Of this detector.
    pub detector: Option<Detector>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
}

impl Filter {
    pub(super) fn passes(&self, stored: &Stored) -> bool {
        self.severity.is_none_or(|severity| stored.severity <= severity)
            && self.detector.is_none_or(|detector| stored.detector == detector.name())
            && self.since.is_none_or(|since| stored.time >= since)
    }
}

/// A stretch of the store.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub items: Vec<Arc<Stored>>,
    /// Where to go on; has moved even if no item passed the filter.
    pub next: Cursor,
    /// Ask again at once: the store reaches further than this page looked.
    pub has_more: bool,
}
