//! The link of one side shown on the other: when a port has lost its carrier the other one is set down, so that neighbours notice as
//! they would of one cable, and up again once the first has its own back.
//!
//! Pure: what the ports are in, at most one order out. A port that we hold down has no carrier because of that; it counts as no loss of
//! its own, or both would stay down for ever. Nor does one that was just set up, until its carrier had time to come.

use serde::{Deserialize, Serialize};

/// What is done about the link of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkPolicy {
    /// Nothing.
    #[default]
    Independent,
    /// It follows.
    Follow,
}

/// So long a carrier must be gone before the other port is set down, nanoseconds: a NIC that is set up anew, or renegotiates, is no
/// lost cable.
const LOST_NS: u64 = 200_000_000;
/// So long it must be back before the other port is set up, nanoseconds; twice as long each time that this happens within
/// [`CALM_NS`], up to sixteen times: a loose cable sets the other side down seldom.
const BACK_NS: u64 = 1_000_000_000;
const BACK_DOUBLINGS: u32 = 4;
const CALM_NS: u64 = 60_000_000_000;
/// So long a port that was set up may take for its carrier, nanoseconds: 10GBASE-T negotiates for up to some five seconds.
const SETTLE_NS: u64 = 10_000_000_000;

/// How a port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PortLink {
    /// It is there.
    pub(super) present: bool,
    /// It is administratively up.
    pub(super) up: bool,
    /// And has a carrier.
    pub(super) carrier: bool,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Set this port down.
    Down(usize),
    /// Set it up.
    Up(usize),
}

/// How often it happened, and how it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LinkStatus {
    /// What is wanted.
    pub policy: LinkPolicy,
    /// Which ports are held down because the other has no carrier.
    pub held: [bool; 2],
    /// Times a port was set down.
    pub set_down: u64,
    /// Times a port was set up again.
    pub set_up: u64,
    /// Somebody sets the ports up should this process die; without, none is set down.
    pub kept: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Follower {
    held: [bool; 2],
    lost_since: [Option<u64>; 2],
    back_since: [Option<u64>; 2],
    settles_until: [u64; 2],
    /// Downs in a row, and when the latest was.
    recent: u32,
    latest: u64,
}

impl Follower {
    /// Which ports are held down.
    pub(super) fn held(&self) -> [bool; 2] {
        self.held
    }

    /// What is to be done now; `follows`: no, and what is held is let go.
    pub(super) fn step(&mut self, now_ns: u64, ports: [PortLink; 2], follows: bool) -> Option<Order> {
        for (side, port) in ports.into_iter().enumerate() {
            if self.held[side] && (port.up || !port.present) {
                // Somebody else set it up, or it is another interface by now.
                self.held[side] = false;
                self.settles_until[side] = now_ns.saturating_add(SETTLE_NS);
            }
            if port.carrier {
                self.settles_until[side] = 0;
            }
            let is_lost = !self.held[side] && !port.carrier && now_ns >= self.settles_until[side];
            self.lost_since[side] = is_lost.then(|| self.lost_since[side].unwrap_or(now_ns));
            self.back_since[side] = port.carrier.then(|| self.back_since[side].unwrap_or(now_ns));
        }
        let since = |moment: Option<u64>| moment.map_or(0, |moment| now_ns.saturating_sub(moment));
        for (side, port) in ports.into_iter().enumerate() {
            let other = 1 - side;
            if self.held[side] {
                let back_ns = BACK_NS << self.recent.saturating_sub(1).min(BACK_DOUBLINGS);
                if !follows || self.back_since[other].is_some() && since(self.back_since[other]) >= back_ns {
                    self.held[side] = false;
                    self.settles_until[side] = now_ns.saturating_add(SETTLE_NS);
                    return Some(Order::Up(side));
                }
            } else if follows
                && port.carrier
                && self.lost_since[other].is_some()
                && since(self.lost_since[other]) >= LOST_NS
            {
                self.held[side] = true;
                self.recent =
                    if now_ns.saturating_sub(self.latest) < CALM_NS { self.recent.saturating_add(1) } else { 1 };
                self.latest = now_ns;
                return Some(Order::Down(side));
            }
        }
        None
    }

    /// An order was not carried out: it is as it was.
    pub(super) fn failed(&mut self, order: Order) {
        match order {
            Order::Down(side) => self.held[side] = false,
            Order::Up(side) => self.held[side] = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP: u64 = 100_000_000;

    /// Two ports with a cable each, whose carrier comes some steps after it could.
    struct World {
        cables: [bool; 2],
        up: [bool; 2],
        slow: u64,
        able_since: [u64; 2],
        follower: Follower,
        step: u64,
        orders: Vec<Order>,
    }

    impl World {
        fn new(slow: u64) -> World {
            let (cables, up) = ([true; 2], [true; 2]);
            World {
                cables,
                up,
                slow,
                able_since: [0; 2],
                follower: Follower::default(),
                step: slow,
                orders: Vec::new(),
            }
        }

        fn carrier(&self, side: usize) -> bool {
            self.cables[side] && self.up[side] && self.step >= self.able_since[side] + self.slow
        }

        fn run(&mut self, steps: u64, follows: bool) {
            for _ in 0..steps {
                self.step += 1;
                let ports =
                    [0, 1].map(|side| PortLink { present: true, up: self.up[side], carrier: self.carrier(side) });
                let Some(order) = self.follower.step(self.step * STEP, ports, follows) else { continue };
                self.orders.push(order);
                match order {
                    Order::Down(side) => self.up[side] = false,
                    Order::Up(side) => (self.up[side], self.able_since[side]) = (true, self.step),
                }
                assert!(self.follower.held() != [true; 2], "one of them has to be able to come back");
            }
        }

        fn plug(&mut self, side: usize, is_in: bool) {
            if is_in && !self.cables[side] {
                self.able_since[side] = self.step;
            }
            self.cables[side] = is_in;
        }
    }

    #[test]
    fn a_lost_carrier_is_shown_on_the_other_side_and_so_is_its_return() {
        let mut world = World::new(30);
        world.run(100, true);
        assert_eq!(world.orders, []);
        world.plug(0, false);
        world.run(1, true);
        assert_eq!(world.orders, [], "a blink is none");
        world.run(200, true);
        assert_eq!(world.orders, [Order::Down(1)]);
        world.plug(0, true);
        world.run(200, true);
        assert_eq!(
            world.orders,
            [Order::Down(1), Order::Up(1)],
            "and ours is no loss of its own, however slow it comes"
        );
        assert_eq!(world.up, [true; 2]);
    }

    #[test]
    fn whoever_does_not_follow_lets_go() {
        let mut world = World::new(1);
        world.plug(1, false);
        world.run(10, true);
        assert_eq!(world.follower.held(), [true, false]);
        world.run(1, false);
        assert_eq!((world.orders.as_slice(), world.up), (&[Order::Down(0), Order::Up(0)][..], [true; 2]));
        world.run(300, false);
        assert_eq!(world.orders.len(), 2, "nothing is set down any more");
    }

    #[test]
    fn a_loose_cable_sets_the_other_side_down_seldom() {
        let mut world = World::new(0);
        for _ in 0..600 {
            world.plug(0, false);
            world.run(5, true);
            world.plug(0, true);
            world.run(15, true);
        }
        let downs = world.orders.iter().filter(|order| **order == Order::Down(1)).count();
        assert!(downs <= 5, "{downs} in 20 minutes, in which it went 600 times");
        world.run(200, true);
        assert_eq!(world.up, [true; 2]);
    }

    #[test]
    fn a_port_that_an_operator_set_down_is_his() {
        let mut world = World::new(0);
        world.up[0] = false;
        world.run(100, true);
        assert_eq!((world.orders.as_slice(), world.up), (&[Order::Down(1)][..], [false; 2]));
        world.up[0] = true;
        world.run(100, true);
        assert_eq!((world.orders.len(), world.up), (2, [true; 2]));
    }

    proptest! {
        /// Whatever the cables do: once they stay as they are, the ports settle, and with both in both are up.
        #[test]
        fn it_settles(changes in prop::collection::vec((0_usize..2, any::<bool>(), 0_u64..120, any::<bool>()), 0..40), slow in 0_u64..60) {
            let mut world = World::new(slow);
            for (side, is_in, steps, follows) in changes {
                world.plug(side, is_in);
                world.run(steps, follows);
            }
            world.run(1_000, true);
            let before = world.orders.len();
            world.run(2_000, true);
            prop_assert_eq!(world.orders.len(), before, "in circles: {:?}", world.orders);
            for side in [0, 1] {
                prop_assert!(world.up[side] || !world.cables[1 - side], "down for nothing: {:?}", world.orders);
            }
            world.plug(0, true);
            world.plug(1, true);
            world.run(1_500, true);
            prop_assert_eq!(world.up, [true; 2]);
        }
    }
}
