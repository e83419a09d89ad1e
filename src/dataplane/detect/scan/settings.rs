//! Thresholds of the scan detector.

use serde::{Deserialize, Serialize};

/// Thresholds of the scan detector.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Length of a generation, seconds; contacts are remembered for one to two of them. Too short: slow scans pass; too
    /// long: a day's dead servers add up.
    pub horizon_s: u64,
    /// TRW: chance that a first contact of a benign source succeeds.
    pub theta0: f64,
    /// TRW: chance that a first contact of a scanner succeeds.
    pub theta1: f64,
    /// TRW: false alarms accepted.
    pub alpha: f64,
    /// TRW: detection asked for.
    pub beta: f64,
    /// Distinct failed ports that make a port scan, when TRW agrees (Snort: 15 at medium level, CrowdSec: 15).
    pub ports: f64,
    /// Distinct failed hosts that make a sweep, when TRW agrees (Snort: 10 to 25).
    pub hosts: f64,
    /// Instead of `hosts`, where most of the silence met UDP with payload: clients that look for the nearest of many
    /// servers, and peers, do that too.
    pub udp_hosts: f64,
    /// Distinct hosts pinged, answered or not, that make a sweep, when the walk of pings agrees.
    pub echo_hosts: f64,
    /// Walk of pings: chance that a host pinged by a monitor answers.
    pub echo_theta0: f64,
    /// Walk of pings: chance that an address swept answers.
    pub echo_theta1: f64,
    /// Pings of each host, on average, from which they are no sweep.
    pub echo_repeats: f64,
    /// Distinct neighbours that one host asks for by ARP within two seconds which make a sweep. Higher than `hosts`,
    /// because whether they answered is seldom seen, and the router of a large network asks for some tens a second.
    pub arp_hosts: f64,
    /// Distinct neighbours within a minute that do not answer who asks for them by ARP, where answers are seen.
    pub arp_silent: f64,
    /// Distinct failed (host, port) contacts that make a scan without a clear shape, when TRW agrees. Higher, because
    /// peer-to-peer clients and a lost uplink look like this.
    pub contacts: f64,
    /// Distinct failed ports or hosts of a clear shape that make a scan whatever else the source does.
    pub sure: f64,
    /// The larger of ports and hosts over the smaller from which a scan has a clear shape.
    pub shape_ratio: f64,
    /// One-way visibility: distinct failed ports or hosts asked for instead, without TRW.
    pub one_way: f64,
    /// Failed contacts on the whole wire without a single answer from which visibility counts as one-way.
    pub one_way_contacts: u64,
    /// Distinct failed ports or hosts from which a scan is of severity 2 instead of 3.
    pub medium: f64,
    /// Sources that try the same ports of one host in step, from which an alert says that most of them may be made up: one that
    /// scans and two more, because two scanners of one owner may be told to begin at once.
    pub decoys: f64,
    /// Sources remembered; beyond that the coldest quarter is forgotten.
    pub sources: usize,
    /// Slow scans: seconds over which failed contacts of one source with one host, or with one network at one service, are
    /// remembered. (nmap waits 15 s between probes with -T1 and 5 min with -T0: a day holds 288 of the latter.)
    pub slow_horizon_s: u64,
    /// Slow scans: distinct ports of one host that failed (somewhat more than `ports`, because a day has more accidents).
    pub slow_ports: f64,
    /// Slow scans: distinct hosts of one /24 (IPv6: /64) that failed at one service.
    pub slow_hosts: f64,
    /// Slow scans: seconds from the first to the latest of them at least; what is quicker is judged by the walk.
    pub slow_span_s: u64,
    /// Slow scans: times that each was tried, on average, from which it is a monitor or a client whose servers are down.
    pub slow_repeats: f64,
    /// Slow scans: distinct contacts of the last minutes that were answered, beyond those that failed, from which the source
    /// is one that goes round its hosts.
    pub slow_answered: f64,
    /// Distributed scans: sources that fail at one /24 (IPv6: /64) within an hour, of which each fails more than it succeeds.
    pub spread_sources: f64,
    /// Distributed scans: distinct contacts (host, port) for each of these sources at least. Who share the work do not do it
    /// twice; hosts that miss one and the same server do.
    pub spread_contacts: f64,
    /// Slow and distributed scans: records remembered, at most 1.6 KiB each; beyond that the coldest quarter is forgotten.
    pub slow_records: usize,
    /// Neighbours that ask for a host by ARP from which it is a router or server of the network, whose questions are its
    /// clients' doing.
    pub arp_askers: f64,
    /// Slow sweeps by ARP: distinct neighbours within `slow_horizon_s` that never spoke.
    pub arp_slow: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            horizon_s: 300,
            theta0: 0.8,
            theta1: 0.2,
            alpha: 0.01,
            beta: 0.99,
            ports: 15.0,
            hosts: 15.0,
            udp_hosts: 60.0,
            echo_hosts: 15.0,
            echo_theta0: 0.95,
            echo_theta1: 0.5,
            echo_repeats: 3.0,
            arp_hosts: 64.0,
            arp_silent: 20.0,
            contacts: 100.0,
            sure: 100.0,
            shape_ratio: 4.0,
            one_way: 30.0,
            one_way_contacts: 20,
            medium: 100.0,
            decoys: 3.0,
            sources: 1 << 16,
            slow_horizon_s: 86_400,
            slow_ports: 20.0,
            slow_hosts: 20.0,
            slow_span_s: 1800,
            slow_repeats: 3.0,
            slow_answered: 20.0,
            spread_sources: 20.0,
            spread_contacts: 0.8,
            slow_records: 1 << 13,
            arp_askers: 8.0,
            arp_slow: 24.0,
        }
    }
}

impl Settings {
    /// Where the walk has got to after so many failed and successful first contacts.
    pub(super) fn walk(&self, icmp: bool, failed: f64, ok: f64) -> f64 {
        let (theta0, theta1) = if icmp { (self.echo_theta0, self.echo_theta1) } else { (self.theta0, self.theta1) };
        failed * ((1.0 - theta1) / (1.0 - theta0)).ln() + ok * (theta1 / theta0).ln()
    }

    /// Where the walk raises an alarm.
    pub(super) fn alarm(&self) -> f64 {
        (self.beta / self.alpha).ln()
    }
}
