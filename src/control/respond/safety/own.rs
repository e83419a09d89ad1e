//! What of the machine itself must never be blocked: its addresses and cards, its gateways, its name servers.
//!
//! Read from files of /proc, /sys and /etc, which needs no right; what cannot be read is left out and named, so that a sensor
//! without IPv6 or in a container starts too. Read again every half a minute: addresses change.

use super::super::prefix::Prefix;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// What was found, each with what it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Own {
    /// Addresses.
    pub addresses: Vec<(Prefix, String)>,
    /// Cards.
    pub cards: Vec<([u8; 6], String)>,
    /// What could not be read.
    pub unread: Vec<String>,
}

/// Reads it all of the network namespace that the process is in; `root` is `/` but in tests.
pub fn read(root: &Path) -> Own {
    let mut own = Own::default();
    let mut file = |name: &str| {
        let read = std::fs::read_to_string(root.join(name));
        read.map_err(|cause| own.unread.push(format!("/{name}: {cause}"))).unwrap_or_default()
    };
    let (trie, six, resolv) = (file("proc/net/fib_trie"), file("proc/net/if_inet6"), file("etc/resolv.conf"));
    let (routes, routes_six, arp) = (file("proc/net/route"), file("proc/net/ipv6_route"), file("proc/net/arp"));
    let mut add = |address: IpAddr, what: &str| own.addresses.push((Prefix::host(address), what.to_owned()));
    local_four(&trie).into_iter().for_each(|address| add(address.into(), "an address of this machine"));
    local_six(&six).into_iter().for_each(|address| add(address.into(), "an address of this machine"));
    let mut gateways: Vec<IpAddr> = gateways_four(&routes).into_iter().map(IpAddr::from).collect();
    gateways.extend(gateways_six(&routes_six).into_iter().map(IpAddr::from));
    gateways.iter().for_each(|gateway| add(*gateway, "a gateway of this machine"));
    name_servers(&resolv).into_iter().for_each(|server| add(server, "a name server of this machine"));
    let neighbours = neighbours(&arp);
    let of_gateways = neighbours.into_iter().filter(|(address, _)| gateways.contains(&(*address).into()));
    own.cards.extend(of_gateways.map(|(_, card)| (card, "the card of a gateway".to_owned())));
    for entry in std::fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path().join("address")).unwrap_or_default();
        own.cards.extend(card(text.trim()).map(|card| (card, "a card of this machine".to_owned())));
    }
    own.addresses.retain(|(prefix, _)| super::AllowList::special(prefix).is_none());
    own.addresses.sort();
    own.addresses.dedup();
    own.cards.sort();
    own.cards.dedup();
    own
}

/// `02:00:00:00:00:01`, but not that of loopback.
pub(in crate::control::respond) fn card(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = parts.next().filter(|part| part.len() == 2).and_then(|part| u8::from_str_radix(part, 16).ok())?;
    }
    (parts.next().is_none() && bytes != [0; 6]).then_some(bytes)
}

/// Addresses above a line that says `host LOCAL` (Linux: net/ipv4/fib_trie.c, `fib_trie_seq_show`).
fn local_four(trie: &str) -> Vec<Ipv4Addr> {
    let mut latest: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            latest = address.parse().ok();
        } else if line.contains("host LOCAL") {
            found.extend(latest);
        }
    }
    found
}

/// 32 hexadecimal digits begin each line (net/ipv6/addrconf.c, `if6_seq_show`).
fn local_six(text: &str) -> Vec<Ipv6Addr> {
    text.lines().filter_map(|line| hex_six(line.split_whitespace().next()?)).collect()
}

fn hex_six(text: &str) -> Option<Ipv6Addr> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())?.map(Ipv6Addr::from)
}

/// Third column, little-endian on every machine this runs on (net/ipv4/fib_trie.c, `fib_route_seq_show`: the word as it lies there).
fn gateways_four(text: &str) -> Vec<Ipv4Addr> {
    let gateway = |line: &str| u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok().filter(|word| *word != 0);
    text.lines().skip(1).filter_map(gateway).map(|word| Ipv4Addr::from(word.to_ne_bytes())).collect()
}

/// Fifth column (net/ipv6/route.c, `rt6_info_route`).
fn gateways_six(text: &str) -> Vec<Ipv6Addr> {
    let next = |line: &str| hex_six(line.split_whitespace().nth(4)?);
    text.lines().filter_map(next).filter(|address| !address.is_unspecified()).collect()
}

fn name_servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.split('%').next()?.parse().ok())?
    };
    text.lines().filter_map(server).collect()
}

fn neighbours(text: &str) -> Vec<(Ipv4Addr, [u8; 6])> {
    let neighbour = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, card(words.nth(2)?)?))
    };
    text.lines().skip(1).filter_map(neighbour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_is_and_needs_is_found() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put(
            "proc/net/fib_trie",
            "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     \
             |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n",
        );
        put(
            "proc/net/if_inet6",
            "20010db8000000000000000000000005 02 40 00 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n",
        );
        put(
            "proc/net/route",
            "Iface\tDestination\tGateway\nEth0\t00000000\t0100000A\t0003\neth0\t0000000A\t00000000\t0001\n",
        );
        let none = "0".repeat(32);
        put(
            "proc/net/ipv6_route",
            &format!("{none} 00 {none} 00 20010db8000000000000000000000001 00000400 1 0 3 eth0\n"),
        );
        put("etc/resolv.conf", "# mine\nnameserver 10.0.0.53\nnameserver 127.0.0.53\nsearch example.org\n");
        put(
            "proc/net/arp",
            "IP address HW type Flags HW address Mask Device\n\
             10.0.0.1 0x1 0x2 02:00:00:00:00:01 * eth0\n10.0.0.9 0x1 0x2 02:00:00:00:00:09 * eth0\n",
        );
        put("sys/class/net/eth0/address", "02:00:00:00:00:05\n");
        put("sys/class/net/lo/address", "00:00:00:00:00:00\n");
        let own = read(root.path());
        let told: Vec<_> = own.addresses.iter().map(|(prefix, what)| format!("{prefix} {what}")).collect();
        assert_eq!(
            told,
            [
                "10.0.0.1 a gateway of this machine",
                "10.0.0.5 an address of this machine",
                "10.0.0.53 a name server of this machine",
                "2001:db8::1 a gateway of this machine",
                "2001:db8::5 an address of this machine",
            ]
        );
        let cards: Vec<_> = own.cards.iter().map(|(card, what)| (card[5], what.as_str())).collect();
        assert_eq!(cards, [(1, "the card of a gateway"), (5, "a card of this machine")]);
        assert!(own.unread.is_empty());
        assert_eq!(read(&root.path().join("none")).unread.len(), 6, "what cannot be read is named");
    }
}
