//! Floods out of small questions: hosts of ours that are flooded with answers which they never asked for, and servers of ours that
//! others use for it.
//!
//! - *reflected_flood*: a host of ours gets a megabyte and more within a minute from five servers or more, from ports whose services make
//!   large answers, and has asked none of them. What is told is the port: to be dropped is an answer of this kind, not a
//!   server, whose address is no attacker's (Cloudflare, L4Drop).
//! - *reflector*: a server of ours on such a port answers one client outside with ten times as many bytes as it asked with, a
//!   megabyte and more within an hour.
//!
//! - *same_question*: a server on such a port is asked questions of one and the same size in the name of one host, fifty and more
//!   within a minute, and its answers are ten times as large: the questions are most likely forged, and the host is flooded.
//!   Who walks through a table (SNMP) or resolves names asks questions of many sizes.
//!
//! The first needs flows that nobody answered: with EVE, `conn.log` or the history of flows. Their rate is the flood detector's.

use super::count::{Distinct, hash};
use super::observation::{Flow, Observation};
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Bytes of answers to one host within a minute, and of answers of one server to one client within an hour.
    pub bytes: f64,
    /// Bytes of answers for each that was asked with.
    pub ratio: f64,
    /// Questions of one size in the name of one host, within a minute.
    pub questions: f64,
    /// Servers that must send to the one host.
    pub servers: f64,
    /// Hosts and pairs remembered, each.
    pub entries: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { bytes: 1e6, ratio: 10.0, questions: 50.0, servers: 5.0, entries: 1 << 12 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u16), Victim>(self.entries)
            + cold::bytes::<(u128, u128, u16), Pair>(self.entries)
            + cold::bytes::<(u128, u128, u16), Same>(self.entries)
    }
}

/// Services over UDP that answer more than they are asked (US-CERT TA14-017A): chargen, DNS, TFTP, NTP, NetBIOS, SNMP, CLDAP, SSDP,
/// WS-Discovery, mDNS, memcached.
const PORTS: [u16; 11] = [19, 53, 69, 123, 137, 161, 389, 1900, 3702, 5353, 11211];

const MINUTE_NS: u64 = 60 * SECOND;
const HOUR_NS: u64 = 3600 * SECOND;

/// Does a flow that nobody answered look like an answer that nobody asked for?
pub fn is_unasked(flow: &FlowSummary) -> bool {
    let (from, _) = flow.key.endpoints(flow.originator);
    let [sent, back] = flow.payload;
    flow.key.protocol() == 17 && PORTS.contains(&from.port) && sent > 0 && back == 0
}

/// A host that is flooded, from one port.
struct Victim {
    since: Timestamp,
    touched: Timestamp,
    bytes: u64,
    servers: Distinct<8>,
    /// Bytes at which it is told.
    next: f64,
}

/// A server of ours and a client.
struct Pair {
    since: Timestamp,
    touched: Timestamp,
    asked: u64,
    answered: u64,
    next: f64,
}

/// Questions in the name of a host to a server.
struct Same {
    since: Timestamp,
    touched: Timestamp,
    /// Bytes of each; 0: of several sizes.
    size: u64,
    questions: f64,
    asked: u64,
    answered: u64,
    /// Questions at which it is told.
    next: f64,
}

impl Touched for Same {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Victim {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct Amplification {
    settings: Settings,
    victims: ColdMap<(u128, u16), Victim>,
    pairs: ColdMap<(u128, u128, u16), Pair>,
    same: ColdMap<(u128, u128, u16), Same>,
}

impl Amplification {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Amplification {
        let entries = settings.entries;
        let (victims, pairs, same) = (ColdMap::new(entries), ColdMap::new(entries), ColdMap::new(entries));
        Amplification { victims, pairs, same, settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.victims.forgotten() + self.pairs.forgotten() + self.same.forgotten()
    }

    /// A flow that nobody answered; its client is who sends answers.
    pub fn unasked(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let (settings, now) = (self.settings, seen.told);
        let (server, victim) = (flow.client, flow.server);
        let fresh =
            || Victim { since: now, touched: now, bytes: 0, servers: Distinct::default(), next: settings.bytes };
        let state = self.victims.entry((victim.address, server.port), fresh);
        if now.since(state.since) >= MINUTE_NS {
            *state = fresh();
        }
        state.touched = state.touched.max(now);
        state.bytes = state.bytes.saturating_add(flow.bytes[0]);
        state.servers.insert(hash(server.address));
        let servers = state.servers.estimate();
        if state.bytes as f64 >= state.next && servers >= settings.servers {
            state.next = 2.0 * state.bytes as f64;
            let (bytes, port) = (state.bytes as f64, server.port);
            let summary = format!(
                "{} gets answers that it did not ask for: {:.0} MB from port {port} of {servers} servers within a minute",
                victim.ip(),
                bytes / 1e6
            );
            let terms = vec![
                Term::exact("bytes_in_a_minute", bytes).against(Relation::AtLeast, settings.bytes),
                Term::exact("servers", servers).against(Relation::AtLeast, settings.servers),
            ];
            let base = of_port(seen, "reflected_flood", port, "T1498.002");
            out.push(Evidence { target: Some(victim.ip()), summary, terms, flow: seen.origin.flow(true), ..base });
        }
    }

    /// A flow of anybody to a server.
    pub fn asked(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let [packets, _] = flow.packets;
        let [asked, answered] = flow.payload;
        if flow.protocol != 17 || !flow.is_new || packets == 0 || asked == 0 || !PORTS.contains(&flow.server.port) {
            return;
        }
        let (settings, now) = (self.settings, seen.told);
        let key = (flow.client.address, flow.server.address, flow.server.port);
        // A mean that is no whole number is that of several sizes.
        let size = if asked % packets == 0 { asked / packets } else { 0 };
        let fresh =
            || Same { since: now, touched: now, size, questions: 0.0, asked: 0, answered: 0, next: settings.questions };
        let same = self.same.entry(key, fresh);
        if now.since(same.since) >= MINUTE_NS {
            *same = fresh();
        }
        same.touched = same.touched.max(now);
        if same.size != size {
            same.size = 0;
        }
        // Of a long one the part of a minute.
        same.questions += packets as f64 * (MINUTE_NS as f64 / flow.length_ns.max(1) as f64).min(1.0);
        same.asked = same.asked.saturating_add(asked);
        same.answered = same.answered.saturating_add(answered);
        let ratio = same.answered as f64 / same.asked.max(1) as f64;
        if same.size == 0 || same.questions < same.next || ratio < settings.ratio {
            return;
        }
        same.next = 2.0 * same.questions;
        let (client, server, port) = (flow.client.ip(), flow.server.ip(), flow.server.port);
        let summary = format!(
            "{server} is asked the same {:.0} times within a minute on port {port}, as if by {client}, and answers with {ratio:.0} times \
             as much: most likely somebody floods {client} with it",
            same.questions
        );
        let terms = vec![
            Term::exact("questions_of_one_size", same.questions.round()).against(Relation::AtLeast, settings.questions),
            Term::exact("answered_for_each_asked", (ratio * 10.0).round() / 10.0)
                .against(Relation::AtLeast, settings.ratio),
            Term::exact("bytes_of_a_question", same.size as f64),
        ];
        let base = of_port(seen, "same_question", port, "T1498.002");
        out.push(Evidence { source: Some(server), target: Some(client), confidence: 0.7, summary, terms, ..base });
    }

    /// A flow from outside to a server of ours.
    pub fn answered(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        if flow.protocol != 17 || !PORTS.contains(&flow.server.port) {
            return;
        }
        let (settings, now) = (self.settings, seen.told);
        let key = (flow.server.address, flow.client.address, flow.server.port);
        let fresh = || Pair { since: now, touched: now, asked: 0, answered: 0, next: settings.bytes };
        let pair = self.pairs.entry(key, fresh);
        if now.since(pair.since) >= HOUR_NS {
            *pair = fresh();
        }
        pair.touched = pair.touched.max(now);
        let [asked, answered] = flow.bytes;
        pair.asked = pair.asked.saturating_add(asked);
        pair.answered = pair.answered.saturating_add(answered);
        let ratio = pair.answered as f64 / pair.asked.max(1) as f64;
        if pair.answered as f64 >= pair.next && ratio >= settings.ratio {
            pair.next = 2.0 * pair.answered as f64;
            let (client, server, port) = (flow.client.ip(), flow.server.ip(), flow.server.port);
            let summary = format!(
                "{server} answers {client} on port {port} with {ratio:.0} times as much as it is asked with, {:.0} MB within an \
                 hour: somebody may flood {client} with it",
                pair.answered as f64 / 1e6
            );
            let terms = vec![
                Term::exact("bytes_in_an_hour", pair.answered as f64).against(Relation::AtLeast, settings.bytes),
                Term::exact("answered_for_each_asked", (ratio * 10.0).round() / 10.0)
                    .against(Relation::AtLeast, settings.ratio),
            ];
            let base = of_port(seen, "reflector", port, "T1498.002");
            out.push(Evidence { source: Some(server), target: Some(client), summary, terms, ..base });
        }
    }
}

fn of_port(seen: &Observation, kind: &str, port: u16, technique: &str) -> Evidence {
    Evidence {
        severity: 2,
        confidence: 0.8,
        port: Some(port),
        technique: Some(technique.into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Amplification, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;

    fn found(wire: &Wire) -> Vec<String> {
        let ours = wire.evidence().into_iter().filter(|one| one.detector.name() == "amplification");
        ours.map(|one| one.kind).collect()
    }

    /// Answers of `servers` to one host, each of so many bytes, of which nobody has asked for one.
    fn unasked(servers: u32, port: u16, bytes: u64) -> Wire {
        let mut wire = Wire::default();
        for turn in 0..servers {
            wire.answers(
                u64::from(turn) * SECOND / 10,
                (outside(turn), port, host(7), 40_000 + turn as u16),
                [bytes, 0],
            );
        }
        wire
    }

    #[test]
    fn answers_that_nobody_asked_for_are_told_by_their_port() {
        for (what, wire, wanted) in [
            ("many answers", unasked(40, 123, 40_000), &["reflected_flood"][..]),
            ("answers of one server", unasked(1, 123, 4_000_000), &[]),
            ("a few late answers", unasked(60, 53, 300), &[]),
            ("another port", unasked(60, 443, 40_000), &[]),
        ] {
            assert_eq!(found(&wire), wanted, "{what}");
        }
        // A small flood after a large one is one too.
        let mut wire = Wire::default();
        for (minute, bytes) in [(0, 900_000), (10, 40_000)] {
            for turn in 0..40_u32 {
                let at = minute * 60 * SECOND + u64::from(turn) * SECOND / 10;
                wire.answers(at, (outside(turn), 123, host(7), 40_000 + turn as u16), [bytes, 0]);
            }
        }
        let last = wire.evidence().pop().expect("told");
        assert!(last.time.0 > super::super::tests::START + 600 * SECOND, "{last:?}");
        let told = unasked(40, 123, 40_000).evidence();
        assert_eq!((told[0].port, told[0].source), (Some(123), None));
    }

    #[test]
    fn servers_that_answer_far_more_than_they_are_asked_are_told() {
        let served = |port: u16, bytes: [u64; 2], count: u64| {
            let mut wire = Wire::default();
            for turn in 0..count {
                wire.datagrams(turn * SECOND, (outside(1), host(9), port), bytes);
            }
            found(&wire)
        };
        assert_eq!(served(11211, [61, 50_000], 30), ["reflector"]);
        assert_eq!(served(53, [4000, 12_000], 200), [] as [&str; 0], "a resolver at work");
        assert_eq!(served(443, [60, 50_000], 30), [] as [&str; 0], "a download");
        assert_eq!(served(11211, [61, 5000], 30), [] as [&str; 0], "little");
    }

    /// Packets and payload each way of one flow, or of many with one question each.
    #[test]
    fn the_same_question_again_and_again_is_told() {
        let asked = |port: u16, count: u64, of: fn(u64) -> ([u64; 2], [u64; 2])| {
            let mut wire = Wire::default();
            for turn in 0..count {
                let (packets, bytes) = of(turn);
                wire.datagrams(turn * SECOND / 20, (host(7), outside(9), port), bytes);
                wire.packets(packets);
            }
            found(&wire)
        };
        const ANY: [&str; 0] = [];
        assert_eq!(asked(53, 1, |_| ([224, 448], [224 * 30, 224 * 2000])), ["same_question"]);
        assert_eq!(asked(11211, 190, |_| ([1, 2], [15, 2200])), ["same_question", "same_question"]);
        assert_eq!(asked(11211, 40, |_| ([1, 2], [15, 2200])), ANY, "a few");
        assert_eq!(asked(161, 1, |_| ([900, 900], [900 * 43 + 411, 900 * 1300])), ANY, "a walk through a table");
        assert_eq!(asked(53, 200, |turn| ([1, 1], [30 + turn % 7, 400])), ANY, "names");
        assert_eq!(asked(123, 200, |_| ([1, 1], [48, 48])), ANY, "clocks");
        assert_eq!(asked(443, 200, |_| ([1, 2], [15, 2200])), ANY, "another port");
    }
}
