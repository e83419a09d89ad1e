//! What the row says of a flow's talk: its first packets with payload, from the shape of its beginning.

use super::encrypted::{Head, PACKETS, RECORDS, Records, Shape};
use super::{at_least, at_most, flag, ln_1p};

/// Values.
pub(super) const TALK: usize = 28;

/// ln(1 + n) of the counts there are: at most a packet more than [`PACKETS`].
const LN_1P: [f32; PACKETS + 1] = [
    0.0,
    std::f32::consts::LN_2,
    1.098_612_3,
    1.386_294_4,
    1.609_438,
    1.791_759_5,
    1.945_910_1,
    2.079_441_5,
    2.197_224_6,
    std::f32::consts::LN_10,
    2.397_895_3,
    2.484_906_6,
    2.564_949_4,
    2.639_057_3,
    2.708_050_2,
    2.772_588_7,
    2.833_213_3,
];

const _: () = assert!(RECORDS <= PACKETS, "their counts are looked up too");

/// The values of `shape`'s talk, in the schema's order. `payload`: bytes of both sides so far.
pub(super) fn talk(shape: &Shape, payload: u64) -> [f32; TALK] {
    let packets = usize::from(shape.packets).min(PACKETS);
    let [out, back] = lengths(shape, packets);
    let [gap_mean, gap_deviation, gap_min, gap_max] = gaps(shape, packets);
    // A bit for each step from one packet to the next.
    let steps = (1_u32 << packets >> 1).saturating_sub(1) as u16;
    let turns = ((shape.responder ^ shape.responder >> 1) & steps).count_ones();
    let [head_out, head_in] = &shape.heads;
    let [records_out, records_in] = &shape.records;
    let [
        mean_out,
        mean_in,
        deviation_out,
        deviation_in,
        first_out,
        first_in,
        gap_mean,
        gap_deviation,
        gap_min,
        gap_max,
        run_out,
        run_in,
        record_mean_out,
        record_mean_in,
        ..,
    ] = ln_1p([
        out.mean,
        back.mean,
        out.deviation,
        back.deviation,
        out.first,
        back.first,
        gap_mean,
        gap_deviation,
        gap_min,
        gap_max,
        f32::from(head_out.run),
        f32::from(head_in.run),
        mean_size(records_out),
        mean_size(records_in),
        0.0,
        0.0,
    ]);
    let followers = out.packets.saturating_sub(1) + back.packets.saturating_sub(1);
    let pair = |of: fn(&Head) -> f32| (of(head_out), of(head_in));
    let (entropy_out, entropy_in) = pair(|head| head.entropy);
    let (ones_out, ones_in) = pair(|head| head.ones);
    let (printable_out, printable_in) = pair(|head| head.printable);
    [
        ln_of(packets),
        ln_of(turns as usize),
        out.packets as f32 / at_least(packets as f32, 1.0),
        at_most((out.sum + back.sum) as f32 / at_least(payload as i64 as f32, 1.0), 1.0),
        mean_out,
        mean_in,
        deviation_out,
        deviation_in,
        first_out,
        first_in,
        gap_mean,
        gap_deviation,
        gap_min,
        gap_max,
        (out.repeats + back.repeats) as f32 / at_least(followers as f32, 1.0),
        entropy_out,
        entropy_in,
        ones_out,
        ones_in,
        printable_out,
        printable_in,
        run_out,
        run_in,
        flag(shape.is_fully_encrypted()),
        ln_of(usize::from(records_out.count)),
        ln_of(usize::from(records_in.count)),
        record_mean_out,
        record_mean_in,
    ]
}

/// What one side's packets of the talk are.
#[derive(Clone, Copy, Default)]
struct Lengths {
    packets: u32,
    sum: u32,
    squares: u64,
    latest: u16,
    repeats: u32,
    first: f32,
    mean: f32,
    deviation: f32,
}

/// Lengths of originator and responder. Sums are of whole numbers: 16 of 16 bits, their squares in 36.
fn lengths(shape: &Shape, packets: usize) -> [Lengths; 2] {
    let mut sides = [Lengths::default(); 2];
    for (at, length) in shape.lengths.iter().take(packets).enumerate() {
        let Some(side) = sides.get_mut(usize::from(shape.responder >> at & 1)) else { continue };
        let bytes = u32::from(*length);
        if side.packets == 0 {
            side.first = bytes as f32;
        }
        side.repeats += u32::from(side.packets > 0 && side.latest == *length);
        (side.latest, side.packets, side.sum) = (*length, side.packets + 1, side.sum + bytes);
        side.squares += u64::from(bytes) * u64::from(bytes);
    }
    for side in &mut sides {
        let count = f64::from(side.packets.max(1));
        let sum = u64::from(side.sum);
        // Below 2^40, and never negative.
        let spread = u64::from(side.packets) * side.squares - sum * sum;
        side.mean = (f64::from(side.sum) / count) as f32;
        side.deviation = ((spread as i64 as f64).sqrt() / count) as f32;
    }
    sides
}

/// Mean, standard deviation, least and largest of the times between packets, microseconds; 0 of fewer than two packets. The
/// deviation is taken from the mean: what it is of differences of sums would lose.
fn gaps(shape: &Shape, packets: usize) -> [f32; 4] {
    let all = shape.gaps_us.get(1..packets).unwrap_or_default();
    if all.is_empty() {
        return [0.0; 4];
    }
    let count = all.len() as f64;
    let (mut sum, mut least, mut most) = (0_u64, u32::MAX, 0);
    for gap in all {
        (sum, least, most) = (sum + u64::from(*gap), least.min(*gap), most.max(*gap));
    }
    let mean = sum as i64 as f64 / count;
    let squares: f64 = all.iter().map(|gap| (f64::from(*gap) - mean) * (f64::from(*gap) - mean)).sum();
    [mean as f32, (squares / count).sqrt() as f32, least as f32, most as f32]
}

/// Mean size of a side's records, bytes; 0 if there are none.
fn mean_size(records: &Records) -> f32 {
    let sum: u32 = records.sizes.iter().take(usize::from(records.count)).map(|size| u32::from(*size)).sum();
    sum as f32 / f32::from(records.count.max(1))
}

fn ln_of(count: usize) -> f32 {
    LN_1P.get(count).copied().unwrap_or(0.0)
}
