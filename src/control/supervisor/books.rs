//! The books between wire and worker: the equations of one queue, and its named losses.

use crate::control::view::{Amount, Equation};
use crate::dataplane::capture::xdp::QueueAccount;
use crate::units::QueueId;

/// While frames run, the terms are read one after the other: so many frames may come between two of them.
const READING_SLACK: i64 = 256;

/// The named losses of an account, all outside the worker.
pub(super) fn losses(account: &QueueAccount) -> [(&'static str, u64, &'static str); 10] {
    [
        ("passed_no_socket", account.passed_no_socket, "Frames left to the kernel because no socket was there."),
        ("copy_lost", account.copy_lost, "Management frames whose copy found no room."),
        ("ring_full", account.refused_ring_full, "RX ring full: the worker is too slow."),
        ("no_frame", account.refused_no_frame, "Fill ring empty: the worker gives frames back too late."),
        (
            "too_long",
            account.refused_too_long,
            "Frames longer than a UMEM frame: lower the interface's MTU (a frame holds at most 3840 bytes).",
        ),
        ("unbound", account.refused_unbound, "The socket was just going."),
        ("refused_other", account.refused_other, "Redirects refused for another reason."),
        ("abandoned", account.abandoned, "Frames in the ring of a socket that was closed."),
        ("lost_at_death", account.lost_at_death, "Frames that died with a killed process."),
        ("bypassed", account.bypassed, "Frames that the driver gave to the kernel while it took the program off."),
    ]
}

/// What must balance on one queue. `under_way`: what its rings hold while frames run; `None` once nothing may be under way.
pub(super) fn equations(label: &str, id: QueueId, account: &QueueAccount, under_way: Option<u64>) -> Vec<Equation> {
    let term = |name: &str, value: u64| Amount::new(name, value, "");
    let kept = || {
        vec![
            term("passed_arp", account.passed_arp),
            term("passed_neighbour", account.passed_neighbour),
            term("passed_management", account.passed_management),
        ]
    };
    let slack = if under_way.is_some() { READING_SLACK } else { 0 };
    let balance = |name: &str, left, right, rings: u64| {
        let mut equation = Equation::new(name, Some(label.to_owned()), Some(id), "rx", left, right);
        let most = slack.max(i64::try_from(rings).unwrap_or(i64::MAX));
        equation.closed = (-slack..=most).contains(&equation.difference);
        equation
    };

    let mut passed = vec![term("redirected", account.redirected)];
    passed.extend(kept());
    passed.push(term("passed_no_socket", account.passed_no_socket));
    let mut equations = vec![balance("program", vec![term("seen", account.seen)], passed, 0)];
    // Only a shared interface leaves frames to the kernel and copies them.
    if account.kept() + account.copied + account.copy_lost > 0 {
        let copies = vec![term("copied", account.copied), term("copy_lost", account.copy_lost)];
        equations.push(balance("copies", kept(), copies, 0));
    }
    let mut taken = vec![term("frames_received", account.frames_received)];
    taken.extend(
        losses(account)
            .iter()
            .filter(|loss| !["passed_no_socket", "copy_lost", "bypassed"].contains(&loss.0))
            .map(|loss| term(loss.0, loss.1)),
    );
    // Frames in the rings are on neither side, and never fewer than none but for the moment between two readings.
    let given = vec![term("redirected", account.redirected), term("copied", account.copied)];
    equations.push(balance("ring", given, taken, under_way.unwrap_or(0)));
    equations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(account: &QueueAccount, under_way: Option<u64>) -> Vec<String> {
        let equations = equations("eth1", QueueId(0), account, under_way);
        equations.into_iter().filter(|equation| !equation.closed).map(|equation| equation.name).collect()
    }

    #[test]
    fn each_gap_opens_the_equation_it_belongs_to() {
        let good = QueueAccount {
            seen: 100_000,
            redirected: 90_000,
            passed_arp: 3_000,
            passed_neighbour: 1_000,
            passed_management: 5_000,
            passed_no_socket: 1_000,
            copied: 8_500,
            copy_lost: 500,
            refused_ring_full: 20_000,
            frames_received: 78_500,
            ..QueueAccount::default()
        };
        assert_eq!(open(&good, None), [""; 0]);
        let names = equations("eth1", QueueId(0), &good, None).into_iter().map(|equation| equation.name);
        assert_eq!(names.collect::<Vec<_>>(), ["program", "copies", "ring"]);
        let unshared = QueueAccount { seen: 5, redirected: 5, frames_received: 5, ..QueueAccount::default() };
        assert_eq!(equations("eth1", QueueId(0), &unshared, None).len(), 2, "nothing is copied there");

        // A copy that was neither made nor missed; while frames run it must be more than a reading apart.
        let uncopied = QueueAccount { copy_lost: 499, ..good.clone() };
        assert_eq!((open(&uncopied, None), open(&uncopied, Some(8_192)).len()), (vec!["copies".to_owned()], 0));
        let uncopied = QueueAccount { copy_lost: 0, ..good.clone() };
        assert_eq!(open(&uncopied, Some(8_192)), ["copies"]);
        let unseen = QueueAccount { seen: 99_000, ..good.clone() };
        assert_eq!(open(&unseen, Some(8_192)), ["program"]);
        // In the rings, while frames run; nowhere, when they do not, or when it is more than the rings hold.
        let waiting = QueueAccount { frames_received: 75_000, ..good.clone() };
        assert_eq!((open(&waiting, Some(8_192)).len(), open(&waiting, None)), (0, vec!["ring".to_owned()]));
        let lost = QueueAccount { frames_received: 60_000, ..good };
        assert_eq!(open(&lost, Some(8_192)), ["ring"]);
    }
}
