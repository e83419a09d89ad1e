//! The few formulas.

/// One finding among others that are ranked by confidence.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ranked {
    /// 0..=1.
    pub confidence: f64,
    /// Is it right?
    pub is_right: bool,
    /// How much it counts: less than one where several runs saw the same.
    pub weight: f64,
    /// Is it the first finding of something?
    pub is_first: bool,
}

/// Average precision of ranked findings: the mean over all that there was to find of the precision at the rank where it was
/// found; what was never found counts with 0. Equal confidences are one rank.
pub fn average_precision(ranked: &[Ranked], total: usize) -> Option<f64> {
    if total == 0 {
        return None;
    }
    let mut ranked = ranked.to_vec();
    ranked.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
    let (mut right, mut seen, mut area) = (0.0, 0.0, 0.0);
    for rank in ranked.chunk_by(|one, other| one.confidence == other.confidence) {
        seen += rank.iter().map(|one| one.weight).sum::<f64>();
        right += rank.iter().filter(|one| one.is_right).map(|one| one.weight).sum::<f64>();
        let found = rank.iter().filter(|one| one.is_first).count();
        if seen > 0.0 {
            area += found as f64 * right / seen;
        }
    }
    Some((area / total as f64).min(1.0))
}

/// Upper 95 % bound (one-sided) of the mean of a Poisson process that showed `count`: the mean at which so few come in one case of
/// twenty. Three where none came. Fractions (means of several runs) count as the next whole number.
pub fn poisson_upper(count: f64) -> f64 {
    let count = count.max(0.0).ceil() as u64;
    // Terms by logarithms: exp(-mean) is 0 from 745 on.
    let at_most = |mean: f64| {
        let mut term = -mean;
        let mut sum = term.exp();
        for k in 1..=count {
            term += mean.ln() - (k as f64).ln();
            sum += term.exp();
        }
        sum
    };
    let (mut low, mut high) = (count as f64, 2.0 * count as f64 + 10.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// The value below which a share lies, by rank; `None` of nothing.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}
