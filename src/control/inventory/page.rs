//! What readers ask for, and hosts and findings as they are served.

use super::host::{Finding, Host, Place, Seen, Segment};
use super::network::Network;
use super::table::Inventory;
use crate::units::Timestamp;
use serde_json::{Value, json};

/// What a reader wants to see; the default is everything.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Filter {
    /// Hosts with an address in there; findings on one.
    pub address: Option<Network>,
    /// Hosts with a name that holds this, whatever the case.
    pub name: Option<String>,
    /// A protocol, a port, `tcp/22`, or a product.
    pub service: Option<String>,
    /// Findings of this severity or a higher one (a lower number), and hosts that have one.
    pub severity: Option<u8>,
    /// Findings of this kind, and hosts that have one.
    pub kind: Option<String>,
    /// Seen at or after this moment.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn passes_host(&self, host: &Host) -> bool {
        let severity = |finding: &Finding| self.severity.is_none_or(|severity| finding.severity <= severity);
        let kind = |finding: &Finding| self.kind.as_ref().is_none_or(|kind| finding.kind == *kind);
        self.since.is_none_or(|since| host.seen.last_seen >= since)
            && self.address.is_none_or(|network| host.addresses.iter().any(|one| network.holds(one.address)))
            && self.has_name(host)
            && self.service.as_ref().is_none_or(|wanted| serves(host, wanted, None))
            && ((self.severity.is_none() && self.kind.is_none())
                || host.findings.iter().any(|finding| severity(finding) && kind(finding)))
    }

    fn has_name(&self, host: &Host) -> bool {
        let holds = |name: &str, part: &str| name.to_lowercase().contains(&part.to_lowercase());
        self.name.as_ref().is_none_or(|part| host.names.iter().any(|one| holds(&one.name, part)))
    }

    fn passes_finding(&self, host: &Host, finding: &Finding) -> bool {
        self.since.is_none_or(|since| finding.seen.last_seen >= since)
            && self.severity.is_none_or(|severity| finding.severity <= severity)
            && self.kind.as_ref().is_none_or(|kind| finding.kind == *kind)
            && self.address.is_none_or(|network| network.holds(finding.address))
            && self.has_name(host)
            && self.service.as_ref().is_none_or(|wanted| {
                finding
                    .service
                    .as_ref()
                    .is_some_and(|place| is_called(place, wanted) || serves(host, wanted, Some(place)))
            })
    }
}

fn is_called(place: &Place, wanted: &str) -> bool {
    place.protocol.eq_ignore_ascii_case(wanted)
        || wanted.parse() == Ok(place.port)
        || wanted.split_once('/').is_some_and(|(transport, port)| {
            transport.eq_ignore_ascii_case(&place.transport) && port.parse() == Ok(place.port)
        })
}

/// Has the host a service of that name; of products, only at `at` if that is given?
fn serves(host: &Host, wanted: &str, at: Option<&Place>) -> bool {
    host.services.iter().any(|service| {
        let place =
            Place { transport: service.transport.clone(), port: service.port, protocol: service.protocol.clone() };
        let has_product = || service.products.iter().any(|product| product.name.eq_ignore_ascii_case(wanted));
        match at {
            Some(at) => place == *at && has_product(),
            None => is_called(&place, wanted) || has_product(),
        }
    })
}

/// A stretch of hosts or findings, in the order of their latest change.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// As served.
    pub items: Vec<Value>,
    /// Where to go on: the change up to which this page reaches.
    pub next: u64,
    /// Ask again at once: there are more.
    pub has_more: bool,
}

/// The first `limit` of `found` by their revision.
fn first<T>(mut found: Vec<(u64, T)>, limit: usize, end: u64, json: impl Fn(T) -> Value) -> Page {
    let has_more = found.len() > limit;
    if has_more {
        found.select_nth_unstable_by_key(limit, |(revision, _)| *revision);
        found.truncate(limit);
    }
    found.sort_unstable_by_key(|(revision, _)| *revision);
    let next = match found.last() {
        Some((revision, _)) if has_more => *revision,
        _ => end,
    };
    Page { items: found.into_iter().map(|(_, item)| json(item)).collect(), next, has_more }
}

impl Inventory {
    /// Hosts that changed after `after`, at most `limit`.
    pub fn page_of_hosts(&self, after: u64, filter: &Filter, limit: usize) -> Page {
        let changed = self.hosts().map(|(_, host)| host).filter(|host| host.revision > after);
        let found = changed.filter(|host| filter.passes_host(host)).map(|host| (host.revision, host)).collect();
        first(found, limit, self.revision(), summary_json)
    }

    /// Findings that are new or were seen again after `after`, at most `limit`.
    pub fn page_of_findings(&self, after: u64, filter: &Filter, limit: usize) -> Page {
        let changed = self.hosts().flat_map(|(_, host)| host.findings.iter().map(move |finding| (host, finding)));
        let found = changed
            .filter(|(host, finding)| finding.revision > after && filter.passes_finding(host, finding))
            .map(|(host, finding)| (finding.revision, (host, finding)))
            .collect();
        first(found, limit, self.revision(), |(host, finding)| finding_json(host, finding))
    }
}

fn times(value: &mut Value, seen: Seen) {
    value["first_seen"] = seen.first_seen.to_rfc3339().into();
    value["last_seen"] = seen.last_seen.to_rfc3339().into();
}

fn best_name(host: &Host) -> Option<&str> {
    let best =
        host.names.iter().min_by_key(|one| (one.source.rank(), std::cmp::Reverse(one.seen.last_seen), &one.name));
    best.map(|one| one.name.as_str())
}

fn segment_json(segment: Segment) -> Value {
    match segment {
        Segment { outer_vlan: 0, .. } => Value::Null,
        Segment { outer_vlan, inner_vlan: 0, .. } => json!([outer_vlan]),
        Segment { outer_vlan, inner_vlan, .. } => json!([outer_vlan, inner_vlan]),
    }
}

/// A value with RFC 3339 times in the place of numbers.
fn entry(one: &impl serde::Serialize, seen: Seen) -> Value {
    // Numbers, strings and lists: serde_json cannot fail on them.
    let mut value = serde_json::to_value(one).unwrap_or_default();
    times(&mut value, seen);
    value
}

/// A host without its findings but with their numbers, as in lists.
pub fn summary_json(host: &Host) -> Value {
    let count = |severity| host.findings.iter().filter(|finding| finding.severity == severity).count();
    let mut services: Vec<_> = host.services.iter().collect();
    services.sort_by_key(|one| (&one.transport, one.port, &one.protocol));
    let mut addresses: Vec<_> = host.addresses.iter().collect();
    addresses.sort_by_key(|one| one.address);
    let mut macs: Vec<_> = host.macs.iter().collect();
    macs.sort_by_key(|one| &one.mac);
    let mut hints: Vec<_> = host.hints.iter().collect();
    hints.sort_by_key(|one| (std::cmp::Reverse(one.confidence), &one.os, &one.source));
    let mut names: Vec<_> = host.names.iter().collect();
    names.sort_by_key(|one| (one.source, &one.name));
    let mut value = json!({
        "id": host.id(),
        "vlans": segment_json(host.segment),
        "tunnel": host.segment.tunnel.map(|tunnel| format!("{tunnel:06x}")),
        "name": best_name(host),
        "addresses": addresses.into_iter().map(|one| entry(one, one.seen)).collect::<Vec<_>>(),
        "macs": macs.into_iter().map(|one| entry(one, one.seen)).collect::<Vec<_>>(),
        "names": names.into_iter().map(|one| entry(one, one.seen)).collect::<Vec<_>>(),
        "os": host.os().map(|one| entry(one, one.seen)),
        "os_hints": hints.into_iter().map(|one| entry(one, one.seen)).collect::<Vec<_>>(),
        "services": services.into_iter().map(|one| entry(one, one.seen)).collect::<Vec<_>>(),
        "finding_counts": {"high": count(1), "medium": count(2), "low": count(3), "info": count(4)},
        "not_kept": host.not_kept,
    });
    times(&mut value, host.seen);
    value
}

/// A host with everything known of it.
pub fn host_json(host: &Host) -> Value {
    let mut findings: Vec<_> = host.findings.iter().collect();
    findings.sort_by_key(|one| (one.severity, &one.kind, &one.id));
    let mut value = summary_json(host);
    value["findings"] = findings.into_iter().map(|one| finding_json(host, one)).collect();
    value
}

/// A finding with its host.
pub fn finding_json(host: &Host, finding: &Finding) -> Value {
    let mut value = entry(finding, finding.seen);
    if let Some(object) = value.as_object_mut() {
        object.remove("revision");
        object.insert("host".to_owned(), host.id().into());
        object.insert("host_name".to_owned(), best_name(host).into());
        let title = super::kinds::kind(&finding.kind).map(|kind| kind.when);
        object.insert("meaning".to_owned(), title.into());
    }
    value
}
