//! Refused logins over a day: guesses one each few minutes, and guesses that many hosts share.
//!
//! Per server and service the clients that it refused, each with how often and whether it was ever let in. Somebody who mistypes is
//! let in a moment later, so a client counts for what many share only when ten minutes have passed since it was refused and it
//! never was let in. A program with an old password and somebody who guesses one account's slowly look alike, so one client with one
//! user, or with users that nobody can read, is told as `failing_login`, at the lowest severity; with several users it guesses.
//!
//! Pure, and for both halves of the detector: sessions of SSH by their size, and logins whose answers are read.

use super::Settings;
use crate::dataplane::detect::cold::Touched;
use crate::units::{SECOND, Timestamp};

/// Clients of a server that are told apart.
const CLIENTS: usize = 96;
/// Users of a client that are told apart.
const USERS: usize = 4;
/// Who has not been let in for so long after he was refused did not mistype.
const SETTLED_S: u32 = 600;

/// A client that was refused.
#[derive(Clone, Copy, Default)]
struct Client {
    address: u128,
    first: u32,
    last: u32,
    refused: u32,
    accepted: u32,
    users: [u32; USERS],
    next: u32,
}

impl Client {
    fn users(&self) -> usize {
        self.users.iter().filter(|user| **user != 0).count()
    }
}

/// A server's service.
#[derive(Clone, Default)]
pub(crate) struct Patient {
    clients: Vec<Client>,
    touched: Timestamp,
    next: usize,
}

impl Touched for Patient {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// What has come to light.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Found {
    /// One client.
    One {
        /// Refused logins within `span_s`.
        refused: f64,
        /// From the first to the latest, seconds.
        span_s: f64,
        /// Distinct users, as far as they were read.
        users: f64,
    },
    /// Many clients.
    Many {
        /// Clients that were refused and never let in.
        clients: f64,
        /// Their refused logins.
        refused: f64,
    },
}

/// Bytes of a record at most.
pub(crate) const BYTES: usize = size_of::<Patient>() + CLIENTS * size_of::<Client>();

impl Patient {
    /// `count` logins of a client, refused or not, as `user` (a hash; 0: nobody knows).
    pub fn login(
        &mut self,
        now: Timestamp,
        address: u128,
        (count, is_refused, user): (u32, bool, u32),
        settings: &Settings,
    ) -> Option<Found> {
        let second = u32::try_from(now.0 / SECOND).unwrap_or(u32::MAX);
        let horizon = u32::try_from(settings.patient_horizon_s).unwrap_or(u32::MAX);
        self.touched = self.touched.max(now);
        self.clients.retain(|client| second.saturating_sub(client.last) < horizon);
        let known = self.clients.iter().position(|client| client.address == address);
        if known.is_none() && !is_refused {
            return None;
        }
        let place = known.unwrap_or_else(|| {
            if self.clients.len() >= CLIENTS
                && let Some(oldest) =
                    (0..self.clients.len()).min_by_key(|place| self.clients.get(*place).map(|client| client.last))
            {
                self.clients.swap_remove(oldest);
            }
            self.clients.push(Client { address, first: second, last: second, ..Client::default() });
            self.clients.len() - 1
        });
        let client = self.clients.get_mut(place)?;
        if !is_refused {
            client.accepted = client.accepted.saturating_add(count);
            return None;
        }
        client.last = second;
        client.refused = client.refused.saturating_add(count);
        if user != 0
            && !client.users.contains(&user)
            && let Some(free) = client.users.iter_mut().find(|user| **user == 0)
        {
            *free = user;
        }
        self.of_many(second, settings).or_else(|| self.of_one(place, settings))
    }

    fn of_one(&mut self, place: usize, settings: &Settings) -> Option<Found> {
        let client = self.clients.get_mut(place)?;
        let span_s = f64::from(client.last.saturating_sub(client.first));
        let refused = f64::from(client.refused);
        let is_in = client.refused <= client.accepted.saturating_mul(2);
        let is_slow = span_s >= settings.patient_span_s as f64;
        if is_in || !is_slow || refused < settings.patient_logins || client.refused < client.next {
            return None;
        }
        client.next = client.refused.saturating_mul(4);
        Some(Found::One { refused, span_s, users: client.users() as f64 })
    }

    fn of_many(&mut self, second: u32, settings: &Settings) -> Option<Found> {
        let is_out = |client: &&Client| {
            client.refused > 0 && client.accepted == 0 && second.saturating_sub(client.first) >= SETTLED_S
        };
        let clients = self.clients.iter().filter(is_out).count();
        if (clients as f64) < settings.patient_clients {
            self.next = 0;
            return None;
        }
        if clients < self.next {
            return None;
        }
        self.next = clients * 2;
        let refused = self.clients.iter().filter(is_out).map(|client| f64::from(client.refused)).sum();
        Some(Found::Many { clients: clients as f64, refused })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decider, cell};
    use super::*;
    use crate::dataplane::detect::Counts;

    /// Sessions of SSH of `(second, client, is refused)`: what the detector tells, with its severity.
    fn told(sessions: impl Iterator<Item = (u64, u32, bool)>) -> Vec<(String, u8)> {
        let (mut decider, mut out) = (Decider::new(Settings::default()), Vec::new());
        for (second, client, is_refused) in sessions {
            let mut counts = Counts::ZERO;
            counts.add(if is_refused { 1 } else { cell::LARGER }, 1);
            if is_refused {
                counts.add(cell::REQUEST_BYTES, 2000);
                counts.add(cell::ANSWER_BYTES, 200);
                counts.add(cell::DURATION_MS, 2000);
            }
            let start = Timestamp((1_000_000 + second) * SECOND);
            counts.last = start;
            decider.decide(start, &[((u128::from(client), 9, 22), counts)], &mut out);
        }
        out.dedup_by(|one, other| one.kind == other.kind);
        out.into_iter().map(|one| (one.kind, one.severity)).collect()
    }

    #[test]
    fn refused_sessions_of_ssh_are_remembered_for_hours() {
        let steady = [("ssh_failing_login".to_owned(), 4)];
        let shared = [("ssh_distributed".to_owned(), 3)];
        for pause in [90, 300] {
            assert_eq!(told((0..60).map(|turn| (turn * pause, 1, true))), steady, "one each {pause} s");
        }
        assert_eq!(told((0..90).map(|turn| (turn * 30, 1 + turn as u32 % 45, true))), shared, "of many");
        assert_eq!(told((0..10).map(|turn| (turn * 300, 1, true))), [], "a few");
        // People who mistype now and then, and are in a moment later; and a client that mostly works.
        assert_eq!(told((0..400).map(|turn| (turn * 30, 1 + (turn / 2 % 50) as u32, turn % 2 == 0))), []);
        assert_eq!(told((0..400).map(|turn| (turn * 120, 1, turn % 4 == 0))), []);
    }

    /// Logins of `(second, client, refused, user)`: what comes to light of them.
    fn found(logins: impl Iterator<Item = (u64, u32, bool, u32)>) -> Vec<&'static str> {
        let (mut patient, settings, mut out) = (Patient::default(), Settings::default(), Vec::new());
        for (second, client, is_refused, user) in logins {
            let now = Timestamp((1_000_000 + second) * SECOND);
            out.extend(match patient.login(now, u128::from(client), (1, is_refused, user), &settings) {
                Some(Found::One { users, .. }) if users >= 2.0 => Some("guesses"),
                Some(Found::One { .. }) => Some("fails"),
                Some(Found::Many { .. }) => Some("many"),
                None => None,
            });
        }
        out
    }

    #[test]
    fn one_that_is_refused_all_day_is_told_and_one_that_mistypes_is_not() {
        for pause in [30, 120, 300] {
            assert_eq!(found((0..40).map(|turn| (turn * pause, 1, true, 7))), ["fails"], "one user, each {pause} s");
            assert_eq!(found((0..40).map(|turn| (turn * pause, 1, true, turn as u32 + 1))), ["guesses"], "{pause} s");
        }
        assert_eq!(found((0..19).map(|turn| (turn * 300, 1, true, 7))), [""; 0], "a few");
        // Somebody who mistypes each third time, all day.
        assert_eq!(found((0..300).map(|turn| (turn * 200, 1, turn % 3 == 0, 7))), [""; 0]);
        // Once a day is no rate at all.
        assert_eq!(found((0..60).map(|turn| (turn * 80_000, 1, true, 7))), [""; 0]);
    }

    #[test]
    fn many_that_are_never_let_in_are_told_together() {
        let bots =
            |count: u64| (0..count * 2).map(move |turn| (turn * 60, 1 + (turn % count) as u32, true, 1 + turn as u32));
        let told = found(bots(40));
        assert!(!told.is_empty() && told.iter().all(|kind| *kind == "many"), "{told:?}");
        assert_eq!(found(bots(15)), [""; 0], "a few");
        // An office in which everybody mistypes, and is in a moment later; the same where the sensor has just begun.
        let office = (0..600_u64).map(|turn| (turn * 40 / 2, 1 + (turn / 2 % 90) as u32, turn % 2 == 0, 7));
        assert_eq!(found(office), [""; 0]);
        assert_eq!(found((0..80).map(|turn| (turn, 1 + turn as u32, true, 7))), [""; 0], "within a minute");
    }
}
