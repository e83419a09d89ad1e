//! Packet to alert: from the evidence's capture time to the commit, by detector.
//!
//! The detectors that count by the second are slower than the model by design; one histogram over all would hide both.

use crate::control::view::empty_histogram;
use crate::dataplane::detect::Detector;
use hdrhistogram::Histogram;

/// One histogram per detector, nanoseconds.
#[derive(Clone, Debug)]
pub struct AlertLatency([Histogram<u64>; Detector::ALL.len()]);

impl AlertLatency {
    pub(super) fn new() -> AlertLatency {
        AlertLatency(std::array::from_fn(|_| empty_histogram()))
    }

    pub(super) fn record(&mut self, detector: Detector, nanoseconds: u64) {
        self.0[detector as usize].saturating_record(nanoseconds.max(1));
    }

    /// Every detector with its histogram.
    pub fn by_detector(&self) -> impl Iterator<Item = (Detector, &Histogram<u64>)> {
        Detector::ALL.into_iter().map(|detector| (detector, &self.0[detector as usize]))
    }

    /// All detectors together.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = empty_histogram();
        for histogram in &self.0 {
            all.add(histogram).expect("same bounds on both sides");
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detector_has_its_own_and_all_is_their_sum() {
        let mut latency = AlertLatency::new();
        for (index, detector) in Detector::ALL.into_iter().enumerate() {
            assert_eq!(detector as usize, index, "the discriminant is the place");
            latency.record(detector, 1_000 * index as u64);
        }
        assert!(latency.by_detector().all(|(_, histogram)| histogram.len() == 1));
        assert_eq!(latency.all().len(), Detector::ALL.len() as u64);
    }
}
