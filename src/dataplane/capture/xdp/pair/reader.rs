//! A pair as it is pinned, read and changed from outside the process that runs it.

use super::maps::PortMaps;
use super::{ByCause, Cause, Fail, PairSettings};
use crate::dataplane::capture::xdp::interface::pin_path;
use crate::dataplane::capture::xdp::leftovers::{living_owner, take_lock};
use crate::dataplane::capture::xdp::program;
use crate::dataplane::capture::xdp::verdicts::Verdicts;
use crate::sys::monotonic;
use std::io;

/// A pair as it is pinned, from outside the process that runs it, also after its death: for `shrike bypass`.
pub struct PairReader {
    settings: PairSettings,
    maps: [PortMaps; 2],
}

impl PairReader {
    /// Opens the pins of both ports.
    ///
    /// # Errors
    /// The pair was never attached, or by another version.
    pub fn open(settings: &PairSettings) -> io::Result<PairReader> {
        let open = |side: usize| PortMaps::open(&pin_path(&settings.ports[side]));
        Ok(PairReader { settings: settings.clone(), maps: [open(0)?, open(1)?] })
    }

    /// See [`super::Pair::bypass`].
    pub fn bypass(&self, on: bool) {
        self.maps.iter().for_each(|maps| maps.bypass(on));
    }

    /// Whether an operator's bypass holds.
    pub fn is_bypassed(&self) -> bool {
        self.maps.iter().any(PortMaps::is_bypassed)
    }

    /// Nanoseconds since the worker of the queue that is furthest behind was heard of.
    pub fn beat_age_ns(&self) -> u64 {
        let now = monotonic::now_ns();
        let queues = self.maps[0].queues();
        // Queues that nobody opened never beat.
        (0..queues)
            .map(|queue| self.maps[0].last_beat(queue))
            .filter(|beat| *beat > 0)
            .map(|beat| now.saturating_sub(beat))
            .max()
            .unwrap_or(u64::MAX)
    }

    /// Limit of a beat and whether each cause is closed, as the program has them.
    pub fn policy(&self) -> (u64, ByCause<Fail>) {
        let (limit, closed) = self.maps[0].policy();
        let fail = |cause: Cause| if closed & cause.bit() != 0 { Fail::Closed } else { Fail::Open };
        (limit, ByCause(Cause::ALL.map(fail)))
    }

    /// Takes the pair off: the programs go, and with them the wire between the ports.
    ///
    /// # Errors
    /// A process runs the pair, which would go on without its pins and find no way back; or a pin could not be removed.
    pub fn release(self) -> io::Result<()> {
        let [first, second] = &self.settings.ports;
        // Held until all is gone, or a start might take over what we are removing.
        let hold = |port| {
            take_lock(port).map_err(|_| {
                let holder = living_owner(&pin_path(port));
                let told = format!("pair {} is run by {holder}: stop shrike first", self.settings.name);
                io::Error::new(io::ErrorKind::ResourceBusy, told)
            })
        };
        let _held = [hold(first)?, hold(second)?];
        for port in &self.settings.ports {
            let path = pin_path(port);
            program::clear(&path)?;
            std::fs::remove_dir(&path)?;
        }
        Verdicts::forget_unused(&self.settings.ports[0]);
        Ok(())
    }
}
