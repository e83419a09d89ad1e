//! The books of one direction.

use super::PortCounts;
use crate::dataplane::capture::xdp::counters::{Cell, QueueAccount};
use crate::dataplane::capture::xdp::interface::Interface;

/// One direction of a pair: what came in on a port, and what became of it. All queues together; see ARCHITECTURE.md for how the
/// terms add up.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Direction {
    /// The port it comes in on.
    pub from: String,
    /// The port it leaves by.
    pub to: String,
    /// Frames the program saw.
    pub received: u64,
    /// What it kept from the worker.
    #[serde(flatten)]
    pub program: PortCounts,
    /// Given to the sockets.
    pub redirected: u64,
    /// Of these, refused by them.
    pub refused: u64,
    /// Taken by the workers.
    pub taken: u64,
    /// Of these, sent on the other port.
    pub sent: u64,
    /// Dropped by the other port's driver when they were sent.
    pub tx_refused: u64,
    /// In an RX ring that was closed.
    pub abandoned: u64,
    /// In an RX ring that died with its process.
    pub lost_at_death: u64,
    /// Taken and not sent by a process that died, or given up with their sockets.
    pub lost_in_hands: u64,
    /// Sockets made anew because sent frames did not come back.
    pub rebuilds: u64,
    /// Frames that the program saw while the terms above were read, after the first of them: by so many those may differ.
    pub came_meanwhile: u64,
}

impl Direction {
    /// Forwarded to the other port, by whatever way.
    pub fn forwarded(&self) -> u64 {
        self.sent + self.program.crossed()
    }

    /// In a ring or in a worker's hands at this moment: what is left when all else is taken off. Below zero, or above what the
    /// rings hold, and the equation does not close.
    pub fn in_flight(&self) -> i128 {
        let gone = self.program.kept_from_worker()
            + self.refused
            + self.abandoned
            + self.lost_at_death
            + self.sent
            + self.tx_refused
            + self.lost_in_hands;
        i128::from(self.received) - i128::from(gone)
    }

    /// Whether the program's own terms add up: each frame has exactly one fate. Exact when quiet.
    pub fn program_closes(&self) -> bool {
        self.received == self.program.kept_from_worker() + self.redirected
    }
}

/// Frames the program saw.
pub(super) fn seen(accounts: &[QueueAccount]) -> u64 {
    accounts.iter().map(|account| account.seen).sum()
}

/// What the source of one queue counted of one port: taken, sent, refused when sent, lost in hands, rebuilds.
pub(super) fn cells(port: &Interface, queue: u32) -> [u64; 5] {
    [Cell::RingFrames, Cell::Sent, Cell::TxRefused, Cell::LostInHands, Cell::TxRebuilds]
        .map(|cell| port.shared.maps.cell(queue, cell))
}

pub(super) fn directions(
    names: [String; 2],
    accounts: [Vec<QueueAccount>; 2],
    counts: [PortCounts; 2],
    cells: impl Fn(usize, u32) -> [u64; 5],
) -> [Direction; 2] {
    std::array::from_fn(|side| {
        let sum = |of: fn(&QueueAccount) -> u64| accounts[side].iter().map(of).sum::<u64>();
        let of_source = accounts[side].iter().map(|account| cells(side, account.queue)).fold([0; 5], |mut all, one| {
            all.iter_mut().zip(one).for_each(|(all, one)| *all += one);
            all
        });
        let [taken, sent, tx_refused, lost_in_hands, rebuilds] = of_source;
        Direction {
            from: names[side].clone(),
            to: names[1 - side].clone(),
            received: seen(&accounts[side]),
            program: counts[side],
            redirected: sum(|account| account.redirected),
            refused: sum(QueueAccount::refused),
            taken,
            sent,
            tx_refused,
            abandoned: sum(|account| account.abandoned),
            lost_at_death: sum(|account| account.lost_at_death),
            lost_in_hands,
            rebuilds,
            came_meanwhile: 0,
        }
    })
}
