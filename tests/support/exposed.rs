//! An inventory with hosts that were never there: for the page, for people who work on it, and for pictures.

use shrike::control::inventory::rules::Rules;
use shrike::control::inventory::{Inventory, Settings, SharedInventory};
use shrike::dataplane::decode::{FlowKey, Neighbour};
use shrike::dataplane::flow::Side;
use shrike::dataplane::inspect::{Facts, Protocol, ftp, http, redis, smb, ssh, tls};
use shrike::exchange::EventHead;
use shrike::units::{SECOND, Timestamp};
use std::sync::Arc;

/// 2026-11-21.
const NOW: u64 = 1_795_219_200;

/// A handful of servers, one of them hostile to browsers.
pub fn exposed() -> Arc<SharedInventory> {
    let settings = Settings::with(Arc::new(Rules::shipped().expect("good rules")));
    let home = settings.home.clone();
    let mut inventory = Inventory::new(settings);
    let mut observe = |protocol, server: u8, port, anomaly, put: &dyn Fn(&mut Facts)| {
        let (key, originator) = FlowKey::v4(0x0a00_0064, 40_000, 0x0a00_0000 + u32::from(server), port, 6, 0);
        let time = Timestamp((NOW + u64::from(server) * 60) * SECOND);
        let head = EventHead {
            time,
            told: time,
            key,
            originator,
            sender: Side::Originator,
            first_seen: None,
            protocol,
            anomaly,
            truncated: false,
            bytes: 0,
            icmp: None,
            outer: None,
            through_proxy: false,
        };
        let mut facts = Facts::default();
        put(&mut facts);
        inventory.observe(&head, facts.as_bytes());
    };
    observe(Protocol::Ssh, 5, 22, None, &|facts| {
        facts.put(ssh::SERVER_VERSION, b"2.0");
        facts.put(ssh::SERVER_SOFTWARE, b"OpenSSH_9.2p1");
        facts.put(ssh::SERVER_COMMENT, b"Debian-2+deb12u2");
        facts.put(ssh::HASSH_SERVER, b"curve25519-sha256;aes128-ctr,3des-cbc;hmac-sha2-256;none");
    });
    observe(Protocol::Http, 6, 80, None, &|facts| {
        facts.put_number(http::STATUS, 200);
        facts.put(http::HOSTNAME, b"<img src=x onerror=alert(1)>.example");
        facts.put(http::SERVER, b"Apache/2.4.49 (Unix) OpenSSL/1.0.1e PHP/7.1.30");
        facts.put(http::AUTH_SCHEME, b"Basic");
        facts.put(http::USERNAME, b"<b>admin</b>");
    });
    observe(Protocol::Redis, 7, 6379, None, &|facts| {
        facts.put(redis::COMMAND, b"CONFIG");
        facts.put_number(redis::ANSWERED, 1);
    });
    observe(Protocol::Ftp, 8, 21, None, &|facts| {
        facts.put(ftp::BANNER, b"(vsFTPd 2.3.4)");
        facts.put_number(ftp::CODE, 220);
    });
    observe(Protocol::Smb, 9, 445, Some((Protocol::Smb, smb::VERSION_1.index)), &|_| ());
    observe(Protocol::Tls, 6, 443, None, &|facts| {
        facts.put_number(tls::HELLO.version, 0x0301);
        facts.put_number(tls::HELLO.cipher, 0x0005);
        facts.put(tls::HELLO.sni, b"intranet.example");
    });
    for address in [5, 6] {
        let neighbour = Neighbour {
            address: 0xffff_0a00_0000 + u128::from(address),
            mac: [2, 0, 0, 0, 0, address],
            ..Neighbour::default()
        };
        inventory.neighbour(Timestamp(NOW * SECOND), &neighbour);
    }
    Arc::new(SharedInventory::of(inventory, 7, home))
}
