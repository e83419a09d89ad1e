//! The link of one side shown on the other, carried out: looks at both ports, sets one up or down, and says so to who would set it up
//! should we die.

use super::keeper::{Keeper, set_up};
use super::link::{Follower, LinkPolicy, LinkStatus, Order, PortLink};
use super::{Inner, PairSettings};
use crate::dataplane::capture::xdp::source::lock;
use crate::sys::monotonic;
use crate::sys::netlink::Netlink;

/// What a pair keeps for it.
#[derive(Default)]
pub(super) struct Linked {
    follower: Follower,
    keeper: Option<Keeper>,
    status: LinkStatus,
    /// Latest failure to set a port, in words.
    failed: Option<String>,
}

impl Linked {
    /// Before there is a socket: who sets the ports up again must not inherit one.
    pub(super) fn start(settings: &PairSettings) -> Linked {
        let mut linked = Linked::default();
        linked.status.policy = settings.link;
        if settings.link == LinkPolicy::Follow {
            let [first, second] = &settings.ports;
            match Keeper::start(first.namespace.as_deref(), [&first.name, &second.name]) {
                Ok(keeper) => linked.keeper = Some(keeper),
                Err(cause) => linked.failed = Some(format!("who would set ports up again cannot be begun ({cause})")),
            }
        }
        linked
    }
}

impl Inner {
    /// How it is, and what keeps it from following, in words.
    pub(super) fn link_status(&self) -> (LinkStatus, Option<String>) {
        let linked = lock(&self.link);
        (
            LinkStatus { held: linked.follower.held(), kept: linked.keeper.is_some(), ..linked.status },
            linked.failed.clone(),
        )
    }

    /// Looks at both ports and does what is to be done, at most one of them.
    pub(super) fn follow_link(&self) {
        let mut linked = lock(&self.link);
        let linked = &mut *linked;
        if linked.status.policy != LinkPolicy::Follow {
            return;
        }
        if let Some(keeper) = &mut linked.keeper
            && !keeper.tell(linked.follower.held())
        {
            linked.keeper = None;
            linked.failed = Some("who would set ports up again has ended; start again".into());
        }
        let follows = linked.keeper.is_some() && !self.maps.iter().any(|maps| maps.is_bypassed());
        let ports = [0, 1].map(|side| self.port_link(side));
        let Some(order) = linked.follower.step(monotonic::now_ns(), ports, follows) else { return };
        // Said before it is done: who dies in between leaves no port down.
        if let Some(keeper) = &mut linked.keeper {
            keeper.tell(linked.follower.held());
        }
        if let Err(cause) = self.set_link(order) {
            linked.follower.failed(order);
            linked.failed = Some(cause);
        } else {
            linked.failed = None;
            match order {
                Order::Down(_) => linked.status.set_down += 1,
                Order::Up(_) => linked.status.set_up += 1,
            }
        }
    }

    /// Sets up what is held down: we leave, or come after who could not.
    pub(super) fn let_links_go(&self) {
        let mut linked = lock(&self.link);
        for side in 0..2 {
            if (linked.follower.held()[side] || self.maps[side].is_held())
                && let Err(cause) = self.set_link(Order::Up(side))
            {
                tracing::warn!(pair = %self.settings.name, "{cause}");
            }
        }
        linked.follower = Follower::default();
    }

    /// Ends who would set the ports up.
    pub(super) fn dismiss_keeper(&self) {
        drop(lock(&self.link).keeper.take());
    }

    fn port_link(&self, side: usize) -> PortLink {
        let port = &self.ports[side].shared;
        let link = port.namespace.run(|| Netlink::open()?.link(&port.settings.name)).and_then(|link| link);
        link.map_or(PortLink::default(), |link| PortLink {
            present: true,
            up: link.up,
            carrier: link.up && link.running,
        })
    }

    fn set_link(&self, order: Order) -> Result<(), String> {
        let (Order::Down(side) | Order::Up(side)) = order;
        let up = matches!(order, Order::Up(_));
        let (port, other) = (&self.ports[side].shared, self.ports[1 - side].shared.settings.label());
        let label = port.settings.label();
        // Noted for as long as it may be down.
        if !up {
            self.maps[side].hold(true);
        }
        set_up(&port.namespace, &port.settings.name, up)
            .map_err(|cause| format!("set {label} {}: {cause}", if up { "up" } else { "down" }))?;
        if up {
            self.maps[side].hold(false);
            tracing::info!(pair = %self.settings.name, "{label} is set up again");
        } else {
            tracing::warn!(pair = %self.settings.name, "{label} is set down, for {other} has lost its link");
        }
        Ok(())
    }
}
