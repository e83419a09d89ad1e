//! Sources that probe one host in step: one of them scans, and the others may be made up.
//!
//! A scanner that hides among decoys (nmap's `-D`) sends each probe once more in the name of every one of them, so that the same
//! contacts fail for all of them. The bitmaps of failed contacts are hashed by host and service with one key whoever asks, and
//! are then the same. Nobody who scans on his own tries the same ports of the same host within the same moments.
//!
//! Remembered are the latest [`KEPT`] scans of ports; the oldest makes room. Decoys beyond that are told as fewer.

use super::super::distinct::{self, Bitmap};
use super::super::{Evidence, Relation, Term};
use super::Settings;
use crate::units::{SECOND, Timestamp};
use std::net::IpAddr;

/// Scans of ports that are held against each other.
pub(super) const KEPT: usize = 32;
/// Share of the bits of two bitmaps that must be common: answers get lost, and a probe may wait for the next window.
const ALIKE: f64 = 0.8;

/// A scan of one host's ports.
#[derive(Clone, Copy)]
pub(super) struct Vertical {
    pub source: u128,
    pub target: IpAddr,
    pub failed: Bitmap,
    pub time: Timestamp,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Decoys {
    latest: Vec<Vertical>,
}

fn is_alike(one: &Bitmap, other: &Bitmap) -> bool {
    let mut all = *one;
    distinct::union(&mut all, other);
    let all = f64::from(distinct::ones(&all));
    let common = f64::from(distinct::ones(one)) + f64::from(distinct::ones(other)) - all;
    common >= ALIKE * all
}

impl Decoys {
    /// Scans that were found in one window, each with the place of its evidence in `out`: says there how many sources are in step.
    pub fn tell(&mut self, found: &[(usize, Vertical)], settings: &Settings, out: &mut [Evidence]) {
        for (_, one) in found {
            self.latest.retain(|kept| {
                kept.source != one.source && one.time.since(kept.time) < settings.horizon_s.saturating_mul(SECOND)
            });
            if self.latest.len() >= KEPT {
                self.latest.remove(0);
            }
            self.latest.push(*one);
        }
        for (place, one) in found {
            let in_step = |kept: &&Vertical| kept.target == one.target && is_alike(&kept.failed, &one.failed);
            let sources = self.latest.iter().filter(in_step).count() as f64;
            let Some(evidence) = out.get_mut(*place).filter(|_| sources >= settings.decoys) else { continue };
            evidence.summary +=
                &format!("; {sources} sources try the same in step, all but one of which may be made up (decoys)");
            evidence.terms.push(Term::exact("sources_in_step", sources).against(Relation::AtLeast, settings.decoys));
        }
    }
}
