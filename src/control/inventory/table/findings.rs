//! Findings: their names, and what the rules know of what a service says it is.

use super::super::banner::Product;
use super::super::event::{About, Event, Target};
use super::super::host::{Confidence, Finding, Place, Seen, Segment, Service, Vulnerability};
use super::super::kinds::{self, Kind};
use super::super::rules::{Match, Rule};
use super::{Inventory, address_of, place};
use crate::units::Timestamp;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::net::IpAddr;

impl Inventory {
    /// Says what the rules know of the products that a service just named, by all that the wire has told of it; what they no
    /// longer say is taken back.
    pub(super) fn judge(&mut self, event: &Event<'_>, about: About, place: &Place, products: &[Product]) {
        let (segment, time) = (event.segment(), event.head.time);
        let Some(address) = address_of(event, about) else { return };
        let host = self.by_address.get(&(segment, address)).and_then(|key| self.hosts.get(key));
        let services = host.map(|host| host.services.as_slice()).unwrap_or_default();
        let is_it = |one: &&Service| {
            (one.port, &one.transport, &one.protocol) == (place.port, &place.transport, &place.protocol)
        };
        let seen = services.iter().find(is_it).map(|service| service.wire.clone()).unwrap_or_default();
        for product in products {
            let found = self.settings.rules.of(product, &seen);
            match vulnerable(segment, address, place, product, &found, time) {
                Some(finding) => self.add_finding(event, about, finding),
                None if seen.is_empty() => {}
                None => {
                    let gone = id(segment, address, Some(place), kinds::VULNERABLE.name, &product.to_string());
                    self.with(event, about, |host| host.remove_finding(&gone));
                }
            }
        }
    }

    pub(super) fn finding(&mut self, event: &Event<'_>, kind: Kind, detail: String, evidence: String) {
        let address = event.server.ip();
        let place = place(event, event.server.port);
        let finding = exposed(event.segment(), address, Some(place), kind, detail, evidence, event.head.time);
        self.add_finding(event, About::Server, finding);
    }

    /// A password that went through a proxy is a finding of whom it was for, where that is one of ours by its address, else
    /// of its client.
    pub(super) fn sent_through(&mut self, event: &Event<'_>, target: Option<Target>, how: String, evidence: String) {
        let proxy = event.server.ip();
        let ours = target.as_ref().and_then(|target| Some((target.address()?, target.port)));
        let (about, address, place, detail, evidence) = match ours.filter(|(address, _)| self.is_home(*address)) {
            Some((address, port)) => {
                let evidence = format!("{evidence} through the proxy {proxy}");
                (About::Address(address), address, Some(place(event, port)), how, evidence)
            }
            None => {
                let name = target.map_or_else(|| "an unknown server".to_owned(), |target| target.to_string());
                let evidence = format!("{evidence} to {name} through the proxy {proxy}");
                (About::Client, event.client.ip(), None, format!("{how} to {name}"), evidence)
            }
        };
        let (segment, time) = (event.segment(), event.head.time);
        self.add_finding(event, about, exposed(segment, address, place, kinds::CLEARTEXT, detail, evidence, time));
    }

    fn add_finding(&mut self, event: &Event<'_>, about: About, mut finding: Finding) {
        // A new finding takes the next number; `with` counts on behind it.
        self.revision += 1;
        finding.revision = self.revision;
        self.with(event, about, |host| host.add_finding(finding));
    }
}

/// A finding's name: the same for the same thing, whenever and by whom it is seen.
fn id(segment: Segment, address: IpAddr, place: Option<&Place>, kind: &str, detail: &str) -> String {
    let place = place.map(|place| format!("{}/{}/{}", place.transport, place.port, place.protocol)).unwrap_or_default();
    let text = format!("{}{address}\0{place}\0{kind}\0{detail}", segment.prefix());
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn exposed(
    segment: Segment,
    address: IpAddr,
    service: Option<Place>,
    kind: Kind,
    detail: String,
    evidence: String,
    time: Timestamp,
) -> Finding {
    Finding {
        id: id(segment, address, service.as_ref(), kind.name, &detail),
        kind: kind.name.to_owned(),
        severity: kind.severity,
        confidence: Confidence::High,
        address,
        service,
        detail,
        evidence,
        remedy: kind.remedy.to_owned(),
        reference: kind.reference.to_owned(),
        vulnerabilities: Vec::new(),
        count: 1,
        seen: Seen::at(time),
        revision: 0,
        told: time,
    }
}

/// One finding of a version, with all that the rules know of it; none where they know nothing.
fn vulnerable(
    segment: Segment,
    address: IpAddr,
    place: &Place,
    product: &Product,
    found: &[(&Rule, Match)],
    time: Timestamp,
) -> Option<Finding> {
    let mut vulnerabilities: Vec<Vulnerability> = found
        .iter()
        .map(|(rule, found)| Vulnerability {
            cve: rule.cve.clone(),
            cvss: rule.cvss,
            severity: rule.severity,
            confidence: rule.confidence(*found),
            title: format!("{}{}", rule.title, rule.doubts(*found)),
            reference: rule.reference.clone(),
        })
        .collect();
    vulnerabilities.sort_by(|one, other| {
        let score = |one: &Vulnerability| one.cvss.unwrap_or(0.0);
        (one.severity, Reverse(one.confidence))
            .cmp(&(other.severity, Reverse(other.confidence)))
            .then(score(other).total_cmp(&score(one)))
            .then_with(|| one.cve.cmp(&other.cve))
    });
    let worst = vulnerabilities.first()?;
    let more = match vulnerabilities.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let evidence = format!("{product}: {}{more}", worst.title);
    let (severity, confidence, reference) = (worst.severity, worst.confidence, worst.reference.clone());
    let base = exposed(segment, address, Some(place.clone()), kinds::VULNERABLE, product.to_string(), evidence, time);
    Some(Finding { severity, confidence, reference, vulnerabilities, ..base })
}
