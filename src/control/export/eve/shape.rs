//! The shape of a flow's beginning as an object; `docs/shapes.md` has its schema.

use crate::dataplane::features::encrypted::{Head, Records, SHAPE_VERSION, Shape};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct ShapePart {
    version: u32,
    /// Payload of the first packets, negative from the responder.
    lengths: Vec<i32>,
    gaps_us: Vec<u32>,
    /// Of originator and responder; null where that side sent none.
    first: [Option<FirstPart>; 2],
    fully_encrypted: bool,
    /// Type and size of each, of originator and responder.
    records: [Vec<(u8, u16)>; 2],
}

#[derive(Serialize)]
struct FirstPart {
    bytes: u16,
    entropy: f32,
    ones: f32,
    printable: f32,
    run: u16,
    exempt: u8,
}

impl ShapePart {
    pub(super) fn new(shape: &Shape) -> ShapePart {
        let packets = usize::from(shape.packets);
        ShapePart {
            version: SHAPE_VERSION,
            lengths: (0..packets).filter_map(|index| shape.signed_length(index)).collect(),
            gaps_us: shape.gaps_us.iter().copied().take(packets).collect(),
            first: shape.heads.map(FirstPart::new),
            fully_encrypted: shape.is_fully_encrypted(),
            records: shape.records.map(pairs),
        }
    }
}

impl FirstPart {
    fn new(head: Head) -> Option<FirstPart> {
        let Head { bytes, entropy, ones, printable, run, exempt } = head;
        (bytes > 0).then_some(FirstPart { bytes, entropy, ones, printable, run, exempt })
    }
}

fn pairs(records: Records) -> Vec<(u8, u16)> {
    (0..usize::from(records.count)).filter_map(|index| records.get(index)).collect()
}
