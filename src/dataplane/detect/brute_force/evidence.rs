//! What a decision is told as.

use super::patient::Found;
use super::{Seen, Service, SessionKey, Settings};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::facts::protocol;
use crate::dataplane::detect::{Detector, Evidence, FlowMark, FlowRef, Relation, Term};
use crate::units::Timestamp;

/// How the guesses came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Fast,
    Slow,
    /// They may be something else.
    Likely,
}

pub(super) struct Judged<'a> {
    pub(super) settings: &'a Settings,
    pub(super) key: SessionKey,
    pub(super) service: Service,
    pub(super) seen: &'a Seen,
    pub(super) time: Timestamp,
    /// Failed sessions since there has been evidence.
    pub(super) all_failed: f64,
    /// What a failed session has at most.
    pub(super) failed_bytes: u64,
    /// The latest guess.
    pub(super) guess: FlowMark,
    /// The latest session of the window; one that was no refusal, where it has one.
    pub(super) latest: FlowMark,
}

impl Judged<'_> {
    pub(super) fn guessing(&self, level: f64, capacity: f64, pace: Pace) -> Evidence {
        let (client, server) = self.ips();
        let kind = self.service.name();
        let (how, bucket) = match pace {
            Pace::Slow => ("slowly ", "slow_bucket_sessions"),
            Pace::Likely => ("most likely ", "flat_bucket_sessions"),
            Pace::Fast => ("", "bucket_sessions"),
        };
        self.evidence(
            kind.to_owned(),
            Some(server),
            // What a web server is asked, encrypted, may as well be measurements that it takes.
            if pace == Pace::Fast && !self.service.is_web() { 2 } else { 3 },
            format!(
                "{client} {how}guesses passwords at {server} port {} ({kind}): {:.0} short sessions that look refused",
                self.key.2, self.all_failed
            ),
            vec![Term::exact(bucket, level).against(Relation::Above, capacity)],
        )
    }

    pub(super) fn spraying(&self, level: f64, capacity: f64, servers: usize) -> Evidence {
        let (client, _) = self.ips();
        self.evidence(
            format!("{}_spraying", self.service.name()),
            None,
            2,
            format!("{client} tries logins at {servers} servers on port {} ({})", self.key.2, self.service.name()),
            vec![
                Term::exact("bucket_sessions", level).against(Relation::Above, capacity),
                Term::exact("distinct_servers", servers as f64)
                    .against(Relation::AtLeast, self.settings.spray_servers as f64),
            ],
        )
    }

    /// What became of a day's refusals.
    pub(super) fn patient(&self, found: Found) -> Evidence {
        let (client, server) = self.ips();
        let (kind, port) = (self.service.name(), self.key.2);
        match found {
            Found::One { refused, span_s, .. } => Evidence {
                confidence: 0.5,
                ..self.evidence(
                    format!("{kind}_failing_login"),
                    Some(server),
                    4,
                    format!(
                        "{client} was refused {refused:.0} times within {:.0} minutes at {server} port {port} ({kind}), slowly: a program \
                         with an old password or key, or somebody who guesses",
                        span_s / 60.0
                    ),
                    vec![
                        Term::exact("refused_sessions", refused)
                            .against(Relation::AtLeast, self.settings.patient_logins),
                        Term::exact("first_to_latest_s", span_s)
                            .against(Relation::AtLeast, self.settings.patient_span_s as f64),
                    ],
                )
            },
            Found::Many { clients, refused } => Evidence {
                source: None,
                confidence: 0.7,
                ..self.evidence(
                    format!("{kind}_distributed"),
                    Some(server),
                    3,
                    format!(
                        "{clients:.0} hosts were refused at {server} port {port} ({kind}) within {:.0} hours, {refused:.0} times in all, and \
                         none of them was let in",
                        self.settings.patient_horizon_s as f64 / 3600.0
                    ),
                    vec![
                        Term::exact("distinct_clients", clients)
                            .against(Relation::AtLeast, self.settings.patient_clients),
                        Term::exact("refused_sessions", refused),
                    ],
                )
            },
        }
    }

    pub(super) fn success(&self, sessions: f64) -> Evidence {
        let (client, server) = self.ips();
        // It is about that session, where there was but one.
        let session = self.latest.example((self.key.0, self.key.1));
        let flow = session.map(|flow| FlowRef { is_example: sessions > 1.0, ..flow });
        let evidence = self.evidence(
            format!("{}_success", self.service.name()),
            Some(server),
            1,
            format!(
                "{client} had a session of another size with {server} port {} after it guessed passwords there: one may \
                 have fitted",
                self.key.2
            ),
            vec![Term::exact("larger_sessions", sessions).against(Relation::AtLeast, 1.0)],
        );
        Evidence { flow, ..evidence }
    }

    pub(super) fn ips(&self) -> (std::net::IpAddr, std::net::IpAddr) {
        let ip = |address| Endpoint { address, port: 0 }.ip();
        (ip(self.key.0), ip(self.key.1))
    }

    fn evidence(
        &self,
        kind: String,
        target: Option<std::net::IpAddr>,
        severity: u8,
        summary: String,
        mut terms: Vec<Term>,
    ) -> Evidence {
        let seen = self.seen;
        let web = self.service.is_web();
        let bytes = self.failed_bytes as f64;
        let held = |term: Term, relation: Relation, threshold: f64| {
            // A threshold is named only where the rule asks for it and it is met.
            if relation.holds(term.value, threshold) { term.against(relation, threshold) } else { term }
        };
        // The rule is about each session; their mean shows it where all are of the failed kind.
        let (name, mean) = match self.service {
            Service::Ssh => ("mean_answer_after_key_exchange_bytes", seen.mean_answer),
            _ => ("mean_session_bytes", seen.mean_request + seen.mean_answer),
        };
        let sizes = |name: &str, known, relation, threshold| {
            let term = Term::distinct(name, known);
            if web { held(term, relation, threshold) } else { term }
        };
        terms.extend([
            Term::exact("failed_sessions", seen.failed),
            Term::exact("failed_sessions_since_start", self.all_failed),
            held(Term::exact(name, mean), Relation::AtMost, bytes),
            Term::exact("mean_session_ms", seen.mean_duration_ms),
            sizes("answer_sizes", seen.answers, Relation::AtMost, self.settings.http_answer_sizes_max),
            sizes("request_sizes", seen.requests, Relation::AtLeast, self.settings.http_request_sizes_min),
        ]);
        Evidence {
            detector: Detector::BruteForce,
            kind,
            time: self.time,
            severity,
            confidence: (0.5 + 0.5 * seen.failed / self.settings.confident_sessions).min(1.0),
            source: Some(self.ips().0),
            target,
            port: Some(self.key.2),
            protocol: Some(protocol::TCP),
            summary,
            terms,
            flow: self.guess.example((self.key.0, self.key.1)),
            source_mac: None,
            tunnel: None,
            technique: None,
            window: None,
            row: None,
        }
    }
}
