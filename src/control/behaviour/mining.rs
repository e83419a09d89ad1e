//! Mining of crypto-currencies, as inspection recognises it: calls of Stratum to a pool, and peers of Bitcoin and Ethereum.
//!
//! A miner's calls are what they say they are, so one is evidence. A peer's are not: a node keeps the books and mines nothing as
//! a rule, so it is told as the least there is, and once for all its peers. Where a pool is behind TLS, it is known by its name alone: that
//! of a handshake, or asked for in DNS (severity 3: somebody may have looked at its page). Not seen: pools behind TLS without a
//! name or of another one, where a beacon may be all that is left; lists of others name more ([`super::intel`]).

use super::observation::{Mining as Said, Observation};
use crate::control::inventory::network::Network;
use crate::dataplane::decode::Endpoint;
use crate::dataplane::detect::{Detector, Evidence, Term};

/// Of a call to a pool.
const SEVERITY_POOL: u8 = 2;
/// Of a peer.
const SEVERITY_PEER: u8 = 4;

/// Of the name of a pool.
const SEVERITY_NAME: u8 = 3;

/// Public pools, by what they registered.
const POOLS: [&str; 40] = [
    "2miners.com",
    "antpool.com",
    "binance-pool.com",
    "braiins.com",
    "c3pool.com",
    "c3pool.org",
    "crypto-pool.fr",
    "dwarfpool.com",
    "ethermine.org",
    "f2pool.com",
    "flexpool.io",
    "flypool.org",
    "gntl.uk",
    "hashvault.pro",
    "herominers.com",
    "hiveon.net",
    "k1pool.com",
    "kryptex.network",
    "luckypool.io",
    "minergate.com",
    "minexmr.com",
    "miningpoolhub.com",
    "monerohash.com",
    "moneroocean.stream",
    "moneropool.com",
    "mypool.online",
    "nanopool.org",
    "nicehash.com",
    "p2pool.io",
    "poolin.com",
    "prohashing.com",
    "rplant.xyz",
    "skypool.org",
    "slushpool.com",
    "supportxmr.com",
    "unmineable.com",
    "viabtc.com",
    "woolypooly.com",
    "xmrpool.eu",
    "zpool.ca",
];

fn is_pool(name: &str) -> bool {
    // Its page is at the name itself, which people and crawlers look at; miners go to hosts below it.
    super::names::parts(name)
        .is_some_and(|parts| !matches!(parts.rest, "" | "www") && POOLS.binary_search(&parts.apex).is_ok())
}

/// A host has to do with a name; `is_there`: there is somebody of that name.
pub fn named(
    seen: &Observation,
    (client, name): (Endpoint, &str),
    is_there: bool,
    home: &[Network],
    out: &mut Vec<Evidence>,
) {
    if !is_there || !home.iter().any(|network| network.holds(client.ip())) || !is_pool(name) {
        return;
    }
    let client = client.ip();
    out.push(Evidence {
        severity: SEVERITY_NAME,
        confidence: 0.6,
        source: Some(client),
        summary: format!("{client} looks for {name}, a pool of miners"),
        terms: vec![Term::exact("names_of_pools", 1.0)],
        technique: Some("T1496".into()),
        flow: seen.origin.flow(true),
        ..seen.evidence(Detector::Mining, "pool_name")
    });
}

/// What a miner, or a peer, said.
pub fn observe(seen: &Observation, said: &Said, home: &[Network], out: &mut Vec<Evidence>) {
    let (client, server) = (said.client.ip(), said.server.ip());
    let is_pool = said.kind == "stratum";
    // Peers call each other: ours is told.
    let is_ours = home.iter().any(|network| network.holds(server)) && !home.iter().any(|network| network.holds(client));
    let (peer, other) = if is_ours { (server, client) } else { (client, server) };
    let named = |what: &str, text: &str| if text.is_empty() { String::new() } else { format!(", {what} {text}") };
    let summary = if is_pool {
        let (call, user, agent) =
            (named("call", &said.call), named("user", &said.user), named("software", &said.agent));
        format!("{client} mines at the pool {server} port {}{call}{user}{agent}", said.server.port)
    } else {
        format!("{peer} is a peer of the network of {}, with {other} for one", said.kind)
    };
    out.push(Evidence {
        severity: if is_pool { SEVERITY_POOL } else { SEVERITY_PEER },
        confidence: if is_pool { 1.0 } else { 0.3 },
        source: Some(if is_pool { client } else { peer }),
        target: is_pool.then_some(server),
        port: is_pool.then_some(said.server.port),
        summary,
        terms: vec![Term::exact("calls", 1.0)],
        technique: is_pool.then(|| "T1496".into()),
        flow: seen.origin.flow(!is_pool),
        ..seen.evidence(Detector::Mining, if is_pool { "pool".into() } else { format!("{}_peer", said.kind) })
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use crate::dataplane::inspect::{Protocol, stratum, tls};
    use crate::units::SECOND;

    #[test]
    fn names_of_pools_are_told_where_they_exist() {
        assert!(super::POOLS.is_sorted());
        for (name, code, wanted) in [
            ("xmr-eu1.nanopool.org", 0, true),
            ("pool.supportxmr.com", 0, true),
            ("pool.supportxmr.com", 3, false),
            ("supportxmr.com.example.org", 0, false),
            ("www.flypool.org", 0, false),
            ("flypool.org", 0, false),
            ("pool.ntp.org", 0, false),
            ("carpool.com", 0, false),
        ] {
            let mut wire = Wire::default();
            wire.dns(SECOND, host(1), name, 1, (code, 4));
            assert_eq!(wire.kinds() == ["mining/pool_name"], wanted, "{name}: {:?}", wire.kinds());
        }
        let mut wire = Wire::default();
        wire.event(SECOND, (host(1), outside(1), 443), (Protocol::Tls, 6), |facts| {
            facts.put(tls::HELLO.sni, b"gulf.moneroocean.stream");
        });
        assert!(wire.kinds().contains(&"mining/pool_name".to_owned()), "{:?}", wire.kinds());
    }

    #[test]
    fn a_miner_is_told_by_what_it_says_and_a_peer_as_little() {
        for (kind, wanted, severity, port) in
            [("stratum", "mining/pool", 2, Some(3333)), ("bitcoin", "mining/bitcoin_peer", 4, None)]
        {
            let mut wire = Wire::default();
            wire.event(SECOND, (host(1), outside(1), 3333), (Protocol::Stratum, 6), |facts| {
                facts.put(stratum::KIND, kind.as_bytes());
                facts.put(stratum::METHOD, b"mining.authorize");
                facts.put(stratum::USERNAME, b"wallet.worker");
            });
            assert_eq!(wire.kinds(), [wanted]);
            let found = wire.evidence();
            assert_eq!((found[0].severity, found[0].port), (severity, port));
            assert_eq!(found[0].summary.contains("wallet.worker"), kind == "stratum", "{}", found[0].summary);
            assert!(found[0].flow.as_ref().is_some_and(|flow| flow.is_example == (kind != "stratum")));
        }
        // Called by a peer outside, it is still ours that is told.
        let mut wire = Wire::default();
        wire.event(SECOND, (outside(1), host(1), 8333), (Protocol::Stratum, 6), |facts| {
            facts.put(stratum::KIND, b"ethereum");
        });
        assert_eq!(wire.evidence()[0].source, Some("10.0.0.1".parse().unwrap()));
        // A conversation that is another one is none.
        let mut wire = Wire::default();
        wire.event(SECOND, (host(1), outside(1), 3333), (Protocol::Stratum, 6), |facts| {
            facts.put(stratum::KIND, b"something else");
        });
        wire.flow(SECOND, (host(1), outside(1), 3333), [500, 500], (SECOND, SECOND));
        assert_eq!(wire.evidence(), []);
    }
}
