//! `/v1/hosts` and `/v1/findings`.

use super::{Bed, is_problem};
use shrike::control::inventory::rules::Rules;
use shrike::control::inventory::{CANNOT_SEE, Inventory, Settings, SharedInventory};
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::{Facts, Protocol, http, ssh};
use shrike::exchange::EventHead;
use shrike::units::{SECOND, Timestamp};
use std::sync::Arc;

/// An empty inventory.
pub fn inventory() -> Arc<SharedInventory> {
    let settings = Settings::with(Arc::new(Rules::shipped().unwrap()));
    let home = settings.home.clone();
    Arc::new(SharedInventory::of(Inventory::new(settings), 7, home))
}

fn observe(inventory: &SharedInventory, protocol: Protocol, server: u8, port: u16, put: impl Fn(&mut Facts)) {
    let (key, originator) = FlowKey::v4(0x0808_0808, 40_000, 0x0a00_0000 + u32::from(server), port, 6, 0);
    let time = Timestamp((1000 + u64::from(server)) * SECOND);
    let head = EventHead {
        time,
        told: time,
        key,
        originator,
        sender: Side::Originator,
        first_seen: None,
        protocol,
        anomaly: None,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    };
    let mut facts = Facts::default();
    put(&mut facts);
    inventory.change(|inventory| inventory.observe(&head, facts.as_bytes()));
}

fn bed(servers: std::ops::Range<u8>) -> (Bed, Arc<SharedInventory>) {
    let inventory = inventory();
    for server in servers {
        observe(&inventory, Protocol::Ssh, server, 22, |facts| {
            facts.put(ssh::SERVER_VERSION, b"2.0");
            facts.put(ssh::SERVER_SOFTWARE, b"OpenSSH_9.2p1");
        });
    }
    let shared = Arc::clone(&inventory);
    (Bed::with(|settings, _| settings.inventory = Some(shared)), inventory)
}

#[test]
fn hosts_and_findings_come_by_pages_and_changes_are_followed() {
    let (bed, inventory) = bed(10..40);
    let mut client = bed.client();
    for path in ["/v1/hosts", "/v1/findings"] {
        let total = client.get(&format!("{path}?limit=1000")).json()["items"].as_array().unwrap().len();
        assert!(total >= 30, "{path}: {total}");
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("{path}?limit=7{after}")).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 7 && page["cannot_see"].as_array().unwrap().len() == CANNOT_SEE.len());
            ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            after = format!("&after={}", page["next"].as_str().unwrap());
            if page["has_more"] == false {
                break;
            }
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), count), (total, total), "{path}");
        assert!(client.get(&format!("{path}?limit=7{after}")).json()["items"].as_array().unwrap().is_empty());
        let port = path.len() as u16;
        observe(&inventory, Protocol::Http, 12, port, |facts| {
            facts.put_number(http::STATUS, 200);
            facts.put(http::SERVER, b"Apache/2.4.49");
        });
        let news = client.get(&format!("{path}?limit=100{after}")).json();
        assert!(
            news["items"]
                .as_array()
                .unwrap()
                .iter()
                .all(|item| item["id"] == "10.0.0.12" || item["host"] == "10.0.0.12")
        );
        assert!(!news["items"].as_array().unwrap().is_empty(), "{path}");
    }
}

#[test]
fn filters_choose_and_one_host_is_shown_whole() {
    let (bed, inventory) = bed(10..40);
    observe(&inventory, Protocol::Http, 12, 8080, |facts| {
        facts.put_number(http::STATUS, 200);
        facts.put(http::SERVER, b"Apache/2.4.49");
        facts.put(http::HOSTNAME, b"Intranet.example.org");
    });
    let mut client = bed.client();
    let mut count = |path: &str| client.get(path).json()["items"].as_array().unwrap().len();
    assert_eq!(count("/v1/hosts?host=10.0.0.12"), 1);
    assert_eq!(count("/v1/hosts?address=10.0.0.32/29"), 8);
    assert_eq!(count("/v1/hosts?name=intranet"), 1);
    assert_eq!(count("/v1/hosts?service=openssh"), 30);
    assert_eq!(count("/v1/hosts?service=tcp%2F8080"), 1);
    assert_eq!(count("/v1/hosts?severity=1"), 1);
    assert_eq!(count(&format!("/v1/hosts?since={}", 1039)), 1);
    assert_eq!(count("/v1/findings?service=8080&severity=2"), 1);
    assert_eq!(count("/v1/findings?kind=vulnerable_version&host=10.0.0.11"), 1);
    assert_eq!(count("/v1/findings?kind=telnet_in_use"), 0);
    let host = client.get("/v1/hosts/10.0.0.12").json();
    assert_eq!((host["id"].as_str(), host["name"].as_str()), (Some("10.0.0.12"), Some("Intranet.example.org")));
    let services: Vec<_> =
        host["services"].as_array().unwrap().iter().map(|one| one["port"].as_u64().unwrap()).collect();
    assert_eq!(services, [22, 8080]);
    let finding = host["findings"].as_array().unwrap().iter().find(|one| one["detail"] == "apache 2.4.49").unwrap();
    let known = finding["vulnerabilities"].as_array().unwrap();
    let one = known.iter().find(|one| one["cve"] == "CVE-2021-41773").unwrap();
    assert_eq!((one["severity"].as_u64(), one["cvss"].as_f64()), (Some(2), Some(7.5)));
    assert_eq!(one["reference"], "https://nvd.nist.gov/vuln/detail/CVE-2021-41773");
    assert_eq!((&finding["severity"], &finding["reference"]), (&known[0]["severity"], &known[0]["reference"]));
    for member in ["evidence", "remedy", "reference", "first_seen", "last_seen", "meaning"] {
        assert!(finding[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {finding}");
    }
}

#[test]
fn what_cannot_be_meant_is_a_problem() {
    let (bed, _) = bed(10..12);
    let mut client = bed.client();
    is_problem(&client.get("/v1/hosts/10.9.9.9"), 404, "not-found");
    is_problem(&client.get(&format!("/v1/hosts/{}", "x".repeat(4000))), 404, "not-found");
    is_problem(&client.get("/v1/hosts?address=home"), 400, "bad-request");
    is_problem(&client.get("/v1/findings?kind=bad"), 400, "bad-request");
    is_problem(&client.get("/v1/findings?after=zzz"), 400, "bad-cursor");
    is_problem(&client.get("/v1/hosts?after=AAAAAAAAAAEAAAAAAAAAAQ"), 410, "cursor-expired");
    is_problem(&client.send("POST", "/v1/hosts", &[], ""), 405, "method-not-allowed");
    let without = Bed::with(|settings, _| settings.inventory = None);
    let answer = without.client().get("/v1/hosts");
    is_problem(&answer, 404, "not-found");
    assert!(answer.text().contains("[inventory]"), "{}", answer.text());
}

/// Names of 4 KB, control characters, quotes: the answer stays JSON and every text one bounded line.
#[test]
fn hostile_names_cannot_break_an_answer() {
    let (bed, inventory) = bed(10..11);
    for (port, fill) in [(1, b'"'), (2, 0x1b), (3, 0), (4, 0xff), (5, b'\n'), (6, b'\\'), (7, b'<')] {
        observe(&inventory, Protocol::Http, 10, port, |facts| {
            facts.put_number(http::STATUS, 200);
            for fact in [http::SERVER, http::HOSTNAME, http::POWERED_BY, http::USER_AGENT] {
                facts.put(fact, &[fill; 4096]);
            }
        });
        observe(&inventory, Protocol::Ssh, 10, port, |facts| facts.put(ssh::SERVER_SOFTWARE, &[fill; 4096]));
    }
    let answer = bed.client().get("/v1/hosts/10.0.0.10");
    assert_eq!(answer.status, 200);
    let host = answer.json();
    assert_eq!(host["services"].as_array().unwrap().len(), 15);
    for service in host["services"].as_array().unwrap() {
        let banner = service["banner"].as_str().unwrap_or_default();
        assert!(banner.len() < 600 && !banner.chars().any(char::is_control), "{banner:?}");
    }
}
