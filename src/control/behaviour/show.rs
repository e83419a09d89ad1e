//! Which detectors see what, in one order.

use super::observation::{Flow, Observation, What};
use super::{Behaviour, cleartext, mining};
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::Evidence;
use crate::dataplane::inspect::Protocol;

impl Behaviour {
    /// Shows an observation to the detectors that want it.
    pub(super) fn show(&mut self, seen: &Observation, out: &mut Vec<Evidence>) {
        match &seen.what {
            What::Dns(dns) => {
                if let Some((apex, usual)) = self.dns_tunnel.observe(seen, dns, out) {
                    self.beacon.fresh_name(seen, dns, apex, &usual, out);
                }
                self.dga.observe(seen, dns, out);
                mining::named(seen, (dns.client, &dns.name), dns.answer == Some(0), &self.home, out);
                if dns.is_own && self.home.iter().any(|network| network.holds(dns.server.ip())) {
                    self.spoofing.resolver(seen, dns, out);
                }
                self.intel.dns(seen, dns, out);
            }
            What::Hello(hello) => {
                self.intel.hello(seen, hello, out);
                if let Some(name) = &hello.name {
                    mining::named(seen, (hello.client, name), true, &self.home, out);
                }
                if self.leaves(hello.client, hello.server) {
                    let usual = self.servers.note(hello.client.address, hello.server.address, seen.time);
                    self.tls_anomaly.hello(seen, hello, &usual, out);
                    self.doh_tunnel.hello(seen, hello);
                    self.beacon.hello(seen, hello);
                }
            }
            What::Request(request) => self.intel.request(seen, request, out),
            What::Visit(visit) => {
                self.web_attack.visit(seen, visit, out);
                self.request_flood.visit(seen, visit, out);
                if self.leaves(visit.client, visit.server) {
                    let usual = self.servers.note(visit.client.address, visit.server.address, seen.time);
                    self.beacon.visit(seen, visit, &usual, out);
                }
            }
            What::Neighbour(neighbour) => self.spoofing.neighbour(seen, neighbour, out),
            What::Lease(lease) => self.spoofing.lease(seen, lease, out),
            What::Discover(asker) => self.spoofing.discover(seen, *asker, out),
            What::Answer(answer) => self.spoofing.answer(seen, answer, out),
            What::Unasked(flow) if self.leaves(flow.server, flow.client) => {
                self.amplification.unasked(seen, flow, out);
            }
            What::Unasked(_) => {}
            What::Open(flow) => self.show_open(seen, flow, out),
            What::Listed(flow) => self.intel.flow(seen, flow, &self.home, out),
            What::Slow(slow) => self.slow_http.slow(seen, slow, out),
            What::Remote(remote) => self.lateral.remote(seen, remote, &self.home, out),
            What::Login(login) => self.guessing.login(seen, login, out),
            What::Flow(flow) => self.show_flow(seen, flow, out),
            What::Mining(said) => mining::observe(seen, said, &self.home, out),
            What::Cleartext(login) => cleartext::observe(seen, login, &self.home, out),
        }
    }

    fn show_flow(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        self.intel.flow(seen, flow, &self.home, out);
        self.spoofing.flow(seen, flow, out);
        self.slow_http.flow(seen, flow);
        self.request_flood.flow(seen, flow, out);
        self.amplification.asked(seen, flow, out);
        let is_home = |end: Endpoint| self.home.iter().any(|network| network.holds(end.ip()));
        let is_ours = is_home(flow.client);
        self.growth.observe(seen, flow, is_ours, out);
        match (is_ours, is_home(flow.server)) {
            (true, true) => {
                self.lateral.flow(seen, flow, out);
                self.icmp_tunnel.observe(seen, flow, None, out);
            }
            (true, false) => self.show_leaving(seen, flow, out),
            (false, true) => self.amplification.answered(seen, flow, out),
            (false, false) => {}
        }
    }

    /// Flows of hosts of ours to the outside.
    fn show_leaving(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        let usual = self.servers.note(flow.client.address, flow.server.address, flow.began);
        self.beacon.observe(seen, flow, &usual, out);
        self.exfiltration.observe(seen, flow, &usual, out);
        self.odd_flow.observe(seen, flow, &usual, out);
        self.odd_flow.open(seen, flow, &usual, out);
        self.icmp_tunnel.observe(seen, flow, Some(&usual), out);
        if matches!(flow.application, Protocol::Tls | Protocol::Quic | Protocol::Dtls) {
            self.tls_anomaly.flow(seen, flow, out);
            self.doh_tunnel.flow(seen, flow, &usual, out);
        }
    }

    /// A flow of a host of ours to the outside that lives for long.
    fn show_open(&mut self, seen: &Observation, flow: &Flow, out: &mut Vec<Evidence>) {
        if self.leaves(flow.client, flow.server) {
            let usual = self.servers.note(flow.client.address, flow.server.address, flow.began);
            self.odd_flow.open(seen, flow, &usual, out);
        }
    }

    /// From a host of ours to the outside?
    fn leaves(&self, client: Endpoint, server: Endpoint) -> bool {
        let is_home = |end: Endpoint| self.home.iter().any(|network| network.holds(end.ip()));
        is_home(client) && !is_home(server)
    }
}
