//! The feature schema and the row: what the model sees of a flow.
//!
//! Without identities: no address, ports only as a coarse class, no TTL, no absolute time. Version, names and units are
//! part of the contract with the model's manifest; any change of meaning or order raises [`SCHEMA_VERSION`].

use crate::dataplane::flow::FlowRecord;
use crate::units::Timestamp;

/// Version of the schema; a model made for another one is refused at start.
pub const SCHEMA_VERSION: u32 = 1;

/// Number of features in a row.
pub const COUNT: usize = 32;

/// One feature row.
pub type FeatureRow = [f32; COUNT];

/// Name, unit and meaning of one feature.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Name in the manifest and in explanations.
    pub name: &'static str,
    /// Unit after the transformation given in `meaning`.
    pub unit: &'static str,
    /// One sentence.
    pub meaning: &'static str,
}

/// The schema, in row order.
pub const FEATURES: [Feature; COUNT] = [Feature { name: "", unit: "", meaning: "" }; COUNT];

/// Computes the row of a flow as it stands; finite for every possible record. `now` is the time of the packet or end that
/// made the row due.
pub fn write_row(record: &FlowRecord, now: Timestamp, row: &mut FeatureRow) {
    let _ = (record, now, row);
    unimplemented!("features")
}
