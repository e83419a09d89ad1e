//! Watching an interface: seeing it go, attaching and binding anew when it is back.

use super::counters::Cell;
use super::error::XdpError;
use super::interface::{Inner, InterfaceState};
use super::nic::{Active, Inside, namespace_identity, queue_counts};
use super::source::{Slot, lock};
use crate::sys::netlink::Link;
use crate::sys::socket;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

/// How often an interface is looked at. Re-arming must be done within 2 s of its return.
const WATCH_PERIOD: Duration = Duration::from_millis(100);
/// How often a queue is tried that another process holds.
const BUSY_PERIOD: Duration = Duration::from_secs(1);

impl Inner {
    /// Looks at the interface again and again until told to stop.
    pub(super) fn watch(&self) {
        loop {
            let stop = lock(&self.stop);
            let (stop, _) = self
                .wake
                .wait_timeout_while(stop, WATCH_PERIOD, |stop| !*stop)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if *stop {
                return;
            }
            drop(stop);
            for slot in &self.slots {
                slot.bury();
            }
            let state = self.look();
            let mut status = lock(&self.status);
            if status.state != state {
                tracing::info!(interface = %status.interface, ?state, "interface");
                status.state = state;
            }
        }
    }

    /// Looks at the interface once and puts right what can be.
    fn look(&self) -> InterfaceState {
        let mut active = lock(&self.active);
        let here = namespace_identity(&self.namespace);
        if active.inside.as_ref().is_none_or(|inside| inside.identity != here) {
            // The namespace went, or another of the name came: our sockets must not keep the old one alive.
            active.inside = None;
            match Inside::open(&self.settings, &self.namespace) {
                Ok(inside) => active.inside = Some(inside),
                Err(error) => return self.away(&mut active, error.to_string()),
            }
        }
        let Some(inside) = &mut active.inside else { return self.away(&mut active, "namespace gone".to_owned()) };
        let link = match inside.netlink.link(&self.settings.name) {
            Ok(link) => link,
            Err(error) => return self.away(&mut active, error.to_string()),
        };
        let in_use = queue_counts(&inside.ethtool, &link).0;
        let ours = link.xdp_program == active.program.program_id();
        if active.index != Some(link.index) || !ours {
            if active.index.is_some_and(|index| index != link.index) {
                self.away(&mut active, String::new());
            }
            if let Err(error) = self.come_back(&mut active, &link) {
                return InterfaceState::Away { reason: error.to_string() };
            }
        }
        self.take_up_waiting(&active, &link);
        let mut status = lock(&self.status);
        status.queues_in_use = in_use;
        (status.mtu_bytes, status.up) = (link.mtu_bytes, link.up);
        status.bypass_uncounted = active.program.bypass_uncounted();
        if link.running { InterfaceState::Running } else { InterfaceState::NoCarrier }
    }

    fn away(&self, active: &mut Active, reason: String) -> InterfaceState {
        if active.index.take().is_some() {
            for slot in &self.slots {
                slot.gone.store(true, Release);
                // A new namespace numbers its interfaces from the start: the same index may mean another interface.
                slot.bound_to.store(0, Release);
            }
        }
        InterfaceState::Away { reason }
    }

    /// Attaches anew and makes a socket for every open queue, to be taken over by its source.
    fn come_back(&self, active: &mut Active, link: &Link) -> Result<(), XdpError> {
        let new_interface = active.index.is_none();
        let refused = active.attach(&self.settings, &self.namespace, link)?;
        let attached = active.mode;
        {
            let mut status = lock(&self.status);
            status.attached = attached;
            status.refused = refused;
        }
        if new_interface {
            if let Err(error) = self.rebind(active, link) {
                active.index = None; // looked at again in a moment; queues already bound stay so
                return Err(error);
            }
            let rss = active.prepare_nic(&self.settings, &self.namespace, &self.queue_list);
            lock(&self.status).rss = rss;
        }
        // Else the program was taken off by somebody; the sockets are as they were.
        lock(&self.status).rearmed += 1;
        Ok(())
    }

    /// A socket for every open queue that has none on this interface. One that another process holds waits, and does not
    /// keep the others waiting.
    fn rebind(&self, active: &Active, link: &Link) -> Result<(), XdpError> {
        for (queue, slot) in (0..).zip(&self.slots) {
            let here = slot.bound_to.load(Acquire) == link.index;
            if !slot.open.load(Acquire) || slot.is_stopping() || here {
                continue;
            }
            match self.take_up(active, link, queue, slot) {
                Err(error @ XdpError::Busy { .. }) => *lock(&slot.waiting) = Some(error.to_string()),
                other => other?,
            }
        }
        Ok(())
    }

    /// Tries the queues again that another process held. A try makes a queue's whole memory, so it is not made often.
    fn take_up_waiting(&self, active: &Active, link: &Link) {
        if !self.slots.iter().any(|slot| lock(&slot.waiting).is_some()) {
            return;
        }
        let mut last = lock(&self.last_try);
        if last.is_some_and(|last| last.elapsed() < BUSY_PERIOD) {
            return;
        }
        *last = Some(Instant::now());
        for (queue, slot) in (0..).zip(&self.slots) {
            if !slot.open.load(Acquire) || slot.is_stopping() || lock(&slot.waiting).is_none() {
                continue;
            }
            match self.take_up(active, link, queue, slot) {
                Ok(()) => tracing::info!(interface = %self.settings.label(), queue, "the queue is free and taken up"),
                Err(error) => *lock(&slot.waiting) = Some(error.to_string()),
            }
        }
    }

    /// Binds a socket and leaves it for the queue's source.
    fn take_up(&self, active: &Active, link: &Link, queue: u32, slot: &Slot) -> Result<(), XdpError> {
        let mut rings = self.bind(queue, active.mode, link.mtu_bytes, Duration::ZERO)?;
        active.program.insert_socket(queue, rings.borrowed()).map_err(|error| XdpError::Map {
            operation: "put the socket into the map",
            interface: self.settings.label(),
            cause: error.to_string(),
        })?;
        if slot.is_stopping() {
            // Stopped meanwhile: nobody would take its frames.
            if let Ok(sockets) = active.program.socket_map() {
                sockets.remove(queue);
            }
            socket::wait_for_softirqs();
            self.maps.add_cell(queue, Cell::Abandoned, u64::from(rings.waiting()));
            return Ok(());
        }
        self.maps.add_cell(queue, Cell::Openings, 1);
        slot.bound_to.store(link.index, Release);
        slot.deliver(rings);
        slot.gone.store(false, Release);
        *lock(&slot.waiting) = None;
        Ok(())
    }
}
