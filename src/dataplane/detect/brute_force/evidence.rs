//! What a decision is told as.

use super::{Seen, Service, SessionKey, Settings};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::facts::protocol;
use crate::dataplane::detect::{Detector, Evidence, Term};
use crate::units::Timestamp;

pub(super) struct Judged<'a> {
    pub(super) settings: &'a Settings,
    pub(super) key: SessionKey,
    pub(super) service: Service,
    pub(super) seen: &'a Seen,
    pub(super) time: Timestamp,
}

impl Judged<'_> {
    pub(super) fn guessing(&self, level: f64, capacity: f64, slow: bool) -> Evidence {
        let (client, server) = self.ips();
        let seen = self.seen;
        let kind = self.service.name();
        let (pace, bucket) = match (slow, self.service.is_web()) {
            (true, false) => ("slowly ", "slow_bucket_sessions"),
            (true, true) => ("most likely ", "flat_bucket_sessions"),
            (false, _) => ("", "bucket_sessions"),
        };
        self.evidence(
            kind.to_owned(),
            Some(server),
            if slow { 3 } else { 2 },
            format!(
                "{client} {pace}guesses passwords at {server} port {} ({kind}): {:.0} short sessions that look refused",
                self.key.2, seen.failed
            ),
            vec![term(bucket, level, Some(capacity))],
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
                term("bucket_sessions", level, Some(capacity)),
                term("distinct_servers", servers as f64, Some(self.settings.spray_servers as f64)),
            ],
        )
    }

    pub(super) fn success(&self, sessions: f64) -> Evidence {
        let (client, server) = self.ips();
        self.evidence(
            format!("{}_success", self.service.name()),
            Some(server),
            1,
            format!(
                "{client} had a session of another size with {server} port {} after it guessed passwords there: one may \
                 have fitted",
                self.key.2
            ),
            vec![term("larger_sessions", sessions, Some(1.0))],
        )
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
        let bytes = self.settings.failed_bytes(self.service) as f64;
        terms.extend([
            term("failed_sessions", seen.failed, None),
            term("mean_session_bytes", seen.mean_request + seen.mean_answer, Some(bytes)),
            term("mean_session_ms", seen.mean_duration_ms, None),
            term("answer_sizes", seen.answer_sizes, web.then_some(self.settings.http_answer_sizes_max)),
            term("request_sizes", seen.request_sizes, web.then_some(self.settings.http_request_sizes_min)),
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
            flow: None,
        }
    }
}

fn term(name: &str, value: f64, threshold: Option<f64>) -> Term {
    Term { name: name.to_owned(), value, threshold, usual: None }
}
