//! Thresholds of the brute force detector.

use super::Service;
use serde::{Deserialize, Serialize};

/// Thresholds of the brute-force detector.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Login services: failed sessions that the bucket holds; one more raises an alarm. (CrowdSec 5, Slips 9.)
    pub login_capacity: f64,
    /// As `login_capacity`, for SSH: a session there holds several guesses, and tools end after as many sessions as the
    /// server lets them begin at once.
    pub ssh_capacity: f64,
    /// Login services: seconds in which the bucket forgets one failed session.
    pub login_leak_s: f64,
    /// Login services, slow guessing: capacity of the second bucket. (Zeek: 30.)
    pub slow_capacity: f64,
    /// Login services, slow guessing: seconds in which the second bucket forgets one. (Zeek: 30 in 30 min.)
    pub slow_leak_s: f64,
    /// What an SSH server says after the key exchange, bytes, up to which it refused. (OpenSSH 9.2: up to 348 for three
    /// guesses; 580 for a password login that runs `true`, 868 by key.)
    pub ssh_bytes: u64,
    /// As `ssh_bytes`, up to which it may have refused several guesses. (Six by hydra: 432 or 576.) Such sessions count only
    /// where `ssh_parallel` of them run at once, in a bucket of `other_capacity`, and if the server says much the same.
    pub ssh_unsure_bytes: u64,
    /// SSH sessions of one client with one server at once, on average over a second, that no script makes which does one
    /// thing after the other.
    pub ssh_parallel: f64,
    /// Mean payload of the client below which SSH sessions are banner grabs or health checks, not guesses.
    pub ssh_request_bytes_min: f64,
    /// Payload both ways up to which an FTP control connection failed.
    pub ftp_bytes: u64,
    /// FTP: distinct request sizes at least, unless the server is slow to refuse (`other_duration_ms_min`). Fetching one
    /// small file over and over says as little as failing does, and always the same.
    pub ftp_request_sizes_min: f64,
    /// As `ftp_bytes`, for Telnet.
    pub telnet_bytes: u64,
    /// As `ftp_bytes`, for SMTP, POP3 and IMAP.
    pub mail_bytes: u64,
    /// As `ftp_bytes`, for SMB.
    pub smb_bytes: u64,
    /// As `ftp_bytes`, for RDP.
    pub rdp_bytes: u64,
    /// As `ftp_bytes`, for databases: low, because applications connect anew for every query.
    pub database_bytes: u64,
    /// As `ftp_bytes`, for VNC.
    pub vnc_bytes: u64,
    /// As `ftp_bytes`, for LDAP: low, because applications bind for every look-up.
    pub ldap_bytes: u64,
    /// Mean payload of the client below which sessions with other login services are no guesses.
    pub login_request_bytes_min: f64,
    /// HTTP: capacity of the bucket.
    pub http_capacity: f64,
    /// HTTP: seconds in which the bucket forgets one session.
    pub http_leak_s: f64,
    /// HTTP: payload both ways up to which an exchange may be a refusal.
    pub http_bytes: u64,
    /// HTTPS: as `http_bytes`, with the handshake.
    pub https_bytes: u64,
    /// HTTP: distinct answer sizes at most.
    pub http_answer_sizes_max: f64,
    /// HTTP: distinct request sizes at least.
    pub http_request_sizes_min: f64,
    /// HTTP, requests of one size only: capacity of the bucket.
    pub http_flat_capacity: f64,
    /// HTTP, requests of one size only: seconds in which the bucket forgets one session.
    pub http_flat_leak_s: f64,
    /// HTTP, requests of one size only: mean payload of the answers at most, which error pages keep and pages do not.
    pub http_flat_answer_bytes: f64,
    /// Login services: failed sessions for each distinct answer size at least; refusals are alike.
    pub login_sessions_per_size_min: f64,
    /// Unknown services: capacity of the bucket.
    pub other_capacity: f64,
    /// Unknown services: seconds in which the bucket forgets one session.
    pub other_leak_s: f64,
    /// Unknown services: payload both ways at most.
    pub other_bytes: u64,
    /// Unknown services: mean duration at least, milliseconds: a login that waits before it refuses.
    pub other_duration_ms_min: f64,
    /// Unknown services: sessions for each distinct answer size at least.
    pub other_sessions_per_size_min: f64,
    /// Logins whose answers are read: distinct names of users that one server refuses one client, from which it is told.
    pub login_users: f64,
    /// Logins whose answers nobody can read, and forms that are turned down: capacity of the bucket of those that got the same
    /// answer.
    pub unsure_capacity: f64,
    /// As `unsure_capacity`: seconds in which the bucket forgets one.
    pub unsure_leak_s: f64,
    /// Hosts that one server refuses logins, from which they are told together.
    pub distributed_clients: usize,
    /// As `distributed_clients`: refused logins that the server's bucket holds (`login_leak_s`).
    pub distributed_capacity: f64,
    /// Failed sessions from which the confidence is full. (Slips: 30.)
    pub confident_sessions: f64,
    /// Servers at which one client must fail, on the same port, to be spraying.
    pub spray_servers: usize,
    /// Slow guesses: refused logins of one client at one server within `patient_horizon_s`. (One each five minutes, as patient tools
    /// are set to, has 288 in a day; a person has a few.)
    pub patient_logins: f64,
    /// Slow guesses: seconds from the first to the latest at least; what is quicker is the buckets'.
    pub patient_span_s: u64,
    /// Guesses that many share: clients that one server refused, and ten minutes later has still not let in.
    pub patient_clients: f64,
    /// Slow guesses, and those that many share: seconds for which a refused login is remembered.
    pub patient_horizon_s: u64,
    /// Length of a generation, seconds; sessions are described over one to two of them.
    pub horizon_s: u64,
    /// (client, server, port) remembered; beyond that the coldest quarter is forgotten.
    pub sessions: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            login_capacity: 5.0,
            ssh_capacity: 4.0,
            login_leak_s: 10.0,
            slow_capacity: 30.0,
            slow_leak_s: 60.0,
            ssh_bytes: 384,
            ssh_unsure_bytes: 640,
            ssh_parallel: 2.0,
            ssh_request_bytes_min: 512.0,
            ftp_bytes: 512,
            ftp_request_sizes_min: 2.0,
            telnet_bytes: 2048,
            mail_bytes: 768,
            smb_bytes: 1536,
            rdp_bytes: 4096,
            database_bytes: 384,
            vnc_bytes: 256,
            ldap_bytes: 256,
            login_request_bytes_min: 12.0,
            http_capacity: 20.0,
            http_leak_s: 0.5,
            http_bytes: 2048,
            https_bytes: 6144,
            http_answer_sizes_max: 3.0,
            http_request_sizes_min: 4.0,
            http_flat_capacity: 1000.0,
            http_flat_leak_s: 0.1,
            http_flat_answer_bytes: 512.0,
            login_sessions_per_size_min: 2.0,
            other_capacity: 20.0,
            other_leak_s: 2.0,
            other_bytes: 5120,
            other_duration_ms_min: 1000.0,
            other_sessions_per_size_min: 8.0,
            login_users: 4.0,
            unsure_capacity: 20.0,
            unsure_leak_s: 3.0,
            distributed_clients: 4,
            distributed_capacity: 20.0,
            confident_sessions: 30.0,
            spray_servers: 5,
            patient_logins: 20.0,
            patient_span_s: 600,
            patient_clients: 20.0,
            patient_horizon_s: 43_200,
            horizon_s: 300,
            sessions: 1 << 16,
        }
    }
}

impl Settings {
    pub(super) fn failed_bytes(&self, service: Service) -> u64 {
        match service {
            Service::Ssh => self.ssh_bytes,
            Service::Ftp => self.ftp_bytes,
            Service::Telnet => self.telnet_bytes,
            Service::Mail(_) => self.mail_bytes,
            Service::Smb => self.smb_bytes,
            Service::Rdp => self.rdp_bytes,
            Service::Database => self.database_bytes,
            Service::Vnc => self.vnc_bytes,
            Service::Ldap => self.ldap_bytes,
            Service::Http => self.http_bytes,
            Service::Https => self.https_bytes,
            Service::Other => self.other_bytes,
        }
    }

    pub(super) fn bucket(&self, service: Service) -> (f64, f64) {
        match service {
            Service::Http | Service::Https => (self.http_capacity, self.http_leak_s),
            Service::Other => (self.other_capacity, self.other_leak_s),
            Service::Ssh => (self.ssh_capacity, self.login_leak_s),
            _ => (self.login_capacity, self.login_leak_s),
        }
    }

    pub(super) fn request_bytes_min(&self, service: Service) -> f64 {
        if service == Service::Ssh { self.ssh_request_bytes_min } else { self.login_request_bytes_min }
    }
}
