//! Does a short row of values rise steadily? Mann-Kendall says whether, Theil-Sen by how much, and squares are held against those
//! of one step, which is what a new service or a new shift looks like. Pure; of 24 values 276 pairs.

/// What a row of values does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Trend {
    /// Rising pairs less falling ones, in standard deviations of chance (Mann 1945, Kendall 1975; no ties).
    pub z: f64,
    /// Rise a step: the median of all pairs' slopes (Sen 1968).
    pub slope: f64,
    /// Rise from the first value to the last, by that slope.
    pub growth: f64,
    /// Median of the last third.
    pub level: f64,
    /// Squares that the best line leaves, for each that the best single step leaves.
    pub of_step: f64,
}

impl Trend {
    /// Of at least four values; `None`: fewer, or they do not rise.
    pub fn of(values: &[f32]) -> Option<Trend> {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        let count = values.len();
        if count < 4 {
            return None;
        }
        let pairs = || (0..count).flat_map(|late| (0..late).map(move |early| (early, late)));
        let signs: f64 = pairs().map(|(early, late)| sign(values[late] - values[early])).sum();
        let n = count as f64;
        let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        if signs <= 0.0 {
            return None;
        }
        let slope =
            median(pairs().map(|(early, late)| (values[late] - values[early]) / (late - early) as f64).collect());
        let level = median(values[count - count / 3..].to_vec());
        let of_step = of_line(&values) / of_step(&values).max(1e-12);
        Some(Trend { z: (signs - 1.0) / deviation, slope, growth: slope * (n - 1.0), level, of_step })
    }
}

fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

fn squares(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// What the line of least squares leaves.
fn of_line(values: &[f64]) -> f64 {
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let (mut both, mut own) = (0.0, 0.0);
    for (place, value) in values.iter().enumerate() {
        let place = place as f64 - middle;
        both += place * value;
        own += place * place;
    }
    (squares(values) - both * both / own).max(0.0)
}

/// What the best step between two levels leaves.
fn of_step(values: &[f64]) -> f64 {
    (1..values.len()).map(|at| squares(&values[..at]) + squares(&values[at..])).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_rises_and_a_step_is_told_apart_from_it() {
        type Row = fn(f64) -> f64;
        let noise = |at: f64| ((at * 7919.0) % 13.0 - 6.0) / 300.0;
        // Row, rises by chance at most, is straighter than a step.
        let rows: [(&str, Row, bool, bool); 6] = [
            ("flat", |_| 0.0, false, false),
            ("line", |at| 0.02 * at, true, true),
            ("from the middle on", |at| 0.03 * (at - 8.0).max(0.0), true, true),
            ("step", |at| if at < 12.0 { 0.0 } else { 0.4 }, true, false),
            ("bump", |at| if (8.0..16.0).contains(&at) { 0.4 } else { 0.0 }, false, false),
            ("falling", |at| -0.02 * at, false, false),
        ];
        for (name, row, rises, straight) in rows {
            let values: Vec<f32> = (0..24).map(|at| (row(f64::from(at)) + noise(f64::from(at))) as f32).collect();
            let trend = Trend::of(&values);
            let z = trend.map_or(0.0, |trend| trend.z);
            assert_eq!(z >= 3.0, rises, "{name}: {trend:?}");
            if rises {
                assert_eq!(trend.unwrap().of_step <= 0.8, straight, "{name}: {trend:?}");
            }
        }
        let line = Trend::of(&(0..24).map(|at| 0.02 * at as f32).collect::<Vec<_>>()).unwrap();
        assert!(
            (line.slope - 0.02).abs() < 1e-6 && (line.growth - 0.46).abs() < 1e-5 && (line.level - 0.4).abs() < 1e-6
        );
        assert_eq!(Trend::of(&[0.0, 1.0, 2.0]), None, "too few");
    }
}
