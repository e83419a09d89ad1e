//! The inventory over real captures, whatever the number of workers; over a restart; and its page of documentation.

#[path = "support/captures.rs"]
mod captures;
mod support;

use captures::engine;
use shrike::control::alert::Alert;
use shrike::control::export::AppEvent;
use shrike::control::hosts;
use shrike::control::inventory::network::Network;
use shrike::control::inventory::rules::Rules;
use shrike::control::inventory::{CANNOT_SEE, Inventory, LiveInventory, Settings, Spoken, host, host_json, kinds};
use shrike::control::replay::{self, Sink, replay_reader};
use shrike::dataplane::capture::pcap::{Limits, Reader, Speed};
use shrike::dataplane::decode::{FlowKey, Neighbour};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::{Facts, Protocol, ssh};
use shrike::exchange::{EventHead, FlowSummary};
use shrike::units::{SECOND, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Everybody is at home: what is expected of captures is about servers anywhere.
fn settings() -> Settings {
    let home = ["0.0.0.0/0", "::/0"].into_iter().filter_map(Network::parse).collect();
    Settings { home, ..Settings::with(Arc::new(Rules::shipped().expect("good rules"))) }
}

struct Collected(Inventory);

impl Sink for Collected {
    fn alert(&mut self, _: &Alert) -> anyhow::Result<()> {
        Ok(())
    }

    fn event(&mut self, event: AppEvent) -> anyhow::Result<()> {
        self.0.observe(&event.head, &event.facts);
        Ok(())
    }

    fn flow(&mut self, flow: &FlowSummary) -> anyhow::Result<()> {
        Spoken::of(flow).into_iter().for_each(|spoken| self.0.spoken(&spoken));
        Ok(())
    }

    fn neighbour(&mut self, time: Timestamp, neighbour: &Neighbour) -> anyhow::Result<()> {
        self.0.neighbour(time, neighbour);
        Ok(())
    }
}

fn inventory_of(path: &Path, workers: usize) -> Inventory {
    let reader = Reader::open(&[path.to_owned()], Limits::default()).expect("a capture");
    let settings_of = replay::Settings {
        files: Vec::new(),
        workers,
        speed: Speed::Max,
        engine: engine(100_000),
        detect: hosts::Settings::default(),
        home: shrike::control::inventory::network::home(),
        feeds: None,
        model: None,
        windows: None,
        rows: false,
        secret: Some([1, 2, 3, 4]),
        stop: None,
    };
    let mut collected = Collected(Inventory::new(settings()));
    replay_reader(&settings_of, reader, &mut collected).expect("a replay");
    collected.0
}

/// Every host as served, in order.
fn shown(inventory: &Inventory) -> Vec<String> {
    let mut hosts: Vec<String> = inventory.hosts().map(|(_, host)| host_json(host).to_string()).collect();
    hosts.sort();
    hosts
}

#[path = "inventory/expected.rs"]
mod expected;

/// Names, services and findings of captures whose content was looked at with tshark and openssl.
#[test]
fn captures_give_the_hosts_services_and_findings_that_are_in_them() {
    let name = "captures_give_the_hosts_services_and_findings_that_are_in_them";
    let Some(data) = support::shared_data(name) else { return };
    for (capture, wanted) in expected::CAPTURES {
        let inventory = inventory_of(&data.join(capture), 1);
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (_, host) in inventory.hosts() {
            let facts = told.entry(host.id()).or_default();
            facts.extend(host.names.iter().map(|one| format!("name {}", one.name)));
            facts.extend(host.macs.iter().map(|one| format!("mac {}", one.mac)));
            facts.extend(host.hints.iter().map(|one| format!("os {}", one.os)));
            facts.extend(host.services.iter().map(|one| format!("{}/{} {}", one.transport, one.port, one.protocol)));
            let products = host.services.iter().flat_map(|one| &one.products);
            facts.extend(products.map(|one| format!("product {one}")));
            facts.extend(host.findings.iter().map(|one| one.kind.clone()));
            facts.extend(host.findings.iter().flat_map(|one| &one.vulnerabilities).map(|one| one.cve.clone()));
        }
        for (host, facts) in *wanted {
            let found = told.get(*host).unwrap_or_else(|| panic!("{capture}: no host {host} in {:?}", told.keys()));
            for fact in *facts {
                match fact.strip_prefix('!') {
                    Some(absent) => assert!(!found.contains(absent), "{capture}: {host} has {absent}: {found:?}"),
                    None => assert!(found.contains(*fact), "{capture}: {host} lacks {fact}: {found:?}"),
                }
            }
        }
    }
}

#[test]
fn the_number_of_workers_leaves_no_trace() {
    let Some(data) = support::shared_data("the_number_of_workers_leaves_no_trace") else { return };
    for (capture, _) in expected::CAPTURES {
        let path = data.join(capture);
        assert_eq!(shown(&inventory_of(&path, 3)), shown(&inventory_of(&path, 1)), "{capture}");
    }
}

fn ssh_event(server: u8, seconds: u64) -> (EventHead, Facts) {
    let (key, originator) = FlowKey::v4(0x0a00_0001, 40_000, 0x0a00_0000 + u32::from(server), 22, 6, 0);
    let mut facts = Facts::default();
    facts.put(ssh::SERVER_VERSION, b"2.0");
    facts.put(ssh::SERVER_SOFTWARE, b"OpenSSH_9.2p1");
    let time = Timestamp(seconds * SECOND);
    let head = EventHead {
        time,
        told: time,
        key,
        originator,
        sender: Side::Originator,
        first_seen: None,
        protocol: Protocol::Ssh,
        anomaly: None,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    };
    (head, facts)
}

/// What was known before a restart is known after it, and who followed changes before it misses none.
#[test]
fn a_restart_loses_nothing_and_readers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.inventory.db");
    let filter = Default::default();
    let live = LiveInventory::start(settings(), &path).unwrap();
    for server in 10..60 {
        let (head, facts) = ssh_event(server, 100);
        live.event(&head, facts.as_bytes());
    }
    let shared = live.shared();
    drop(live); // reads what waits, and writes
    let (before, cursor) = shared.hosts(None, &filter, 1000).unwrap();
    let findings = shared.findings(None, &filter, 1000).unwrap().0.items;
    assert_eq!((before.items.len(), findings.len()), (51, 50));

    let live = LiveInventory::start(settings(), &path).unwrap();
    let shared = live.shared();
    let (after, _) = shared.hosts(None, &filter, 1000).unwrap();
    assert_eq!(after.items, before.items);
    assert_eq!(shared.findings(None, &filter, 1000).unwrap().0.items, findings);
    assert!(shared.hosts(Some(cursor), &filter, 1000).unwrap().0.items.is_empty(), "nothing has changed");
    let (head, facts) = ssh_event(99, 200);
    live.event(&head, facts.as_bytes());
    drop(live);
    let (news, _) = shared.hosts(Some(cursor), &filter, 1000).unwrap();
    let ids: Vec<_> = news.items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["10.0.0.99", "10.0.0.1"], "what is new, and its client, seen again after long");
}

fn page() -> String {
    let mut page = String::from(
        "# Hosts, services and what exposes them\n\n\
         Made by `SHRIKE_WRITE_DOCS=1 cargo test --test inventory` from the program's own tables; a test compares.\n\n\
         Shrike keeps what inspection sees of every host in the home networks (`[inventory]` in CONFIG.md): addresses, link \
         addresses by ARP, neighbour discovery and DHCP, names with their source, hints at the operating system with source and \
         confidence, services that answered with the software their banners name, and findings. Nothing is ever sent. \
         `shrike hosts` and `shrike findings` show it, `GET /v1/hosts`, `/v1/hosts/{id}` and `/v1/findings` serve it \
         (cursors as for alerts; `since` takes a time as answers have it), `shrike replay FILE --hosts` does it for a capture. It \
         outlives a restart.\n\n\
         ## What watching alone cannot see\n\n",
    );
    for sentence in CANNOT_SEE {
        let _ = writeln!(page, "- {sentence}");
    }
    let _ = write!(
        page,
        "\n## Whose is what\n\n\
         A host is one address, and those that join it in the same VLAN or tunnel: where neighbour discovery claims them for the \
         same link address, or DHCP gives them to that before anybody spoke from them; none that has services, names or \
         findings of its own. ARP joins nothing, because two forged replies would make gateway, victim and attacker one host: \
         a link address that claims two IPv4 addresses, and an address claimed by two link addresses, are findings. The sender \
         of a frame is not asked, so a router swallows nobody; a link address that claims more than {} addresses joins no \
         more. A flood of claims is told at 500 a second; a second link address for a known address is told at any rate, and \
         what is not told counts as `neighbours_suppressed`. Roles come from flows: who began it is the client. Only what \
         answered is a service; an HTTP answer that a proxy or cache passed on names no software.\n\n\
         A port that answered in a protocol nobody knows is a service too (`unknown`; its count of events is 0), and who answered \
         is a host: of TCP where a SYN/ACK came back, of a connection met in its midst where both sides sent data, but then the \
         port is not told; of UDP where both sides sent data, with the port where it is below 32768 and the protocol one of \
         servers; who answered an echo. This is told at the end of the flow, and within a minute of one \
         that lives and has data of both sides. Scans of closed ports and forged senders make no \
         host: whoever sent nothing but a SYN is none. The time to live of its SYN or SYN/ACK and the order of the options in it \
         hint at the operating system of a host that talked (`TCP options`, low): Linux, Windows, macOS and iOS, FreeBSD, \
         OpenBSD; any other hint comes first.\n\n\
         A host keeps {} addresses, {} link addresses, {} names, {} services with {} products each, {} hints and {} findings; \
         of a text {} bytes. In a full list the entry not seen for longest gives way (`not_kept` counts); of services first those \
         of which nothing but an open port is known; of names first those \
         that clients call the host by (SNI, HTTP Host), then those of its services, and one source has at most {}; of \
         findings first the least severe, of one severity one of the kind of which there are most. When there are too many \
         hosts, or they take too much memory, a sixteenth goes: first those of which nothing but addresses and open ports is known, then those not seen \
         for longest (`shrike_inventory_evicted_total`). As long as no such limit and no pool of the workers is full, hosts \
         and EVE lines do not depend on the number of workers; once one is, they do: each worker has pools of its own.\n\n\
         ## Findings\n\n\
         One finding a host, service, kind and detail; repeats raise its count. What the rules know of a version is one, \
         with a list: the worst first, of those alike the likely before the possible. Severity 1 is high, 4 is for information. \
         Confidence is high where the protocol itself says so, medium where another reason is likely too, low (`possible`) \
         where it depends on what cannot be seen.\n\n\
         | kind | severity | when | remedy |\n| --- | --- | --- | --- |\n",
        host::ADDRESSES_MAX,
        host::ADDRESSES_MAX,
        host::MACS_MAX,
        host::NAMES_MAX,
        host::SERVICES_MAX,
        host::PRODUCTS_MAX,
        host::HINTS_MAX,
        host::FINDINGS_MAX,
        host::TEXT_MAX,
        host::NAMES_OF_SOURCE_MAX,
    );
    for kind in kinds::ALL {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} [more]({}) |",
            kind.name, kind.severity, kind.when, kind.remedy, kind.reference
        );
    }
    let rules = Rules::shipped().expect("good rules");
    let products: BTreeSet<&str> = rules.products().collect();
    let products: Vec<String> = products.into_iter().map(|product| format!("`{product}`")).collect();
    let _ = writeln!(
        page,
        "\n## Known vulnerabilities\n\n\
         `rules/vulnerabilities.toml` comes with the program ({} rules); its head describes the format, `rules` in \
         `[inventory]` names another file, `shrike check` reads it. Products: {}. Postfix, Dovecot and many others tell no \
         version, so no rule could ever match them. The head of the file says what was checked and when.\n\n\
         A version is no proof: distributions fix without a new one, and `OpenSSH_9.2p1 Debian-2+deb12u3` still says 9.2p1. \
         Where the banner names distribution and revision, and the rule the first revision with the fix (`fixed`), an older \
         revision makes a finding of high confidence, that one and later ones none. A distribution of whose fix no rule \
         knows makes one of low confidence; a banner without a distribution of medium (Red Hat's OpenSSH, for one, does not \
         say whose it is). Where the vulnerability also takes a setting that nobody can see from outside, the rule has a \
         `condition`, and confidence is low. The evidence of the finding says each of these.",
        rules.count(),
        products.join(", ")
    );
    page
}

#[test]
fn the_page_of_findings_is_what_the_program_says() {
    support::page_is("inventory.md", &page(), "inventory");
}
