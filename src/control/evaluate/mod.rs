//! What detection is worth: alerts of whole recordings against what their labels say happened.
//!
//! Pure: labels and alerts in, figures out. Files, replay and the terminal are `cli/evaluate`'s.
//!
//! ```text
//!  labels.json, flows.csv --> Truth --.
//!  replay: alerts, repeats -----------+--> Judge: one verdict an alert --> Judged (a recording) --> Summary --> table, JSON, picture
//! ```

mod days;
mod evasion;
mod judge;
mod labels;
mod picture;
mod scope;
mod statistics;
mod summary;
mod table;
mod truth;
mod whole;

pub use crate::control::alert::{Family, meaning};
pub use days::{Active, is_inside};
pub use judge::{AlertRow, EpisodeRow, Found, Judge, Judged, Verdict};
pub use labels::LabelError;
pub use picture::picture;
pub use scope::{Scope, ScopeError};
pub use statistics::{Ranked, average_precision, poisson_upper};
pub use summary::Summary;
pub use table::table;
pub use truth::{Episode, Origin, Truth};
pub use whole::whole;

#[cfg(test)]
mod tests;
