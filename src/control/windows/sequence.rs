//! The sequence of a flow: its first packets with payload, one after the other, for models of what cannot be read.

use crate::dataplane::features::encrypted::PACKETS;
use crate::exchange::FlowSummary;

/// Steps of a sequence.
pub const STEPS: usize = PACKETS;
/// Values of a step ([`super::schema::STEP`]).
pub const STEP_COUNT: usize = 4;

/// Steps of a flow that ended, from its shape; zeroes for what there was not.
pub fn sequence(flow: &FlowSummary) -> [[f32; STEP_COUNT]; STEPS] {
    let mut steps = [[0.0; STEP_COUNT]; STEPS];
    let Some(shape) = &flow.shape else { return steps };
    let ln = |value: u32| f64::from(value).ln_1p() as f32;
    for (index, (step, gap)) in steps.iter_mut().zip(shape.gaps_us).enumerate() {
        let Some(length) = shape.signed_length(index) else { break };
        let is_originators = (shape.responder >> index & 1 == 0) != flow.is_turned;
        let direction = if is_originators { 1.0 } else { -1.0 };
        // The first has none before it.
        let gap = if index == 0 { 0 } else { gap };
        *step = [direction, ln(length.unsigned_abs()), ln(gap), f32::from(shape.begins_with(index))];
    }
    steps
}
