//! Watching an interface: seeing it go, attaching and binding anew when it is back.

use super::counters::Cell;
use super::error::XdpError;
use super::interface::{Inner, InterfaceState};
use super::nic::{Active, Inside, namespace_identity, queue_counts};
use super::source::lock;
use crate::sys::netlink::Link;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

/// How often an interface is looked at. Re-arming must be done within 2 s of its return.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

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
        let mut status = lock(&self.status);
        status.queues_in_use = in_use;
        status.mtu_bytes = link.mtu_bytes;
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

    fn rebind(&self, active: &Active, link: &Link) -> Result<(), XdpError> {
        for (queue, slot) in self.slots.iter().enumerate() {
            if !slot.open.load(Acquire) || slot.is_stopped() || slot.bound_to.load(Acquire) == link.index {
                continue;
            }
            let queue = u32::try_from(queue).unwrap_or(u32::MAX);
            let rings = self.bind(queue, active.mode, link.mtu_bytes)?;
            active.program.insert_socket(queue, rings.borrowed()).map_err(|error| XdpError::Map {
                operation: "put the socket into the map",
                interface: self.settings.label(),
                cause: error.to_string(),
            })?;
            self.maps.add_cell(queue, Cell::Openings, 1);
            slot.bound_to.store(link.index, Release);
            slot.deliver(rings);
            slot.gone.store(false, Release);
        }
        Ok(())
    }
}
