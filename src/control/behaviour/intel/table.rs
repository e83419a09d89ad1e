//! The indicators of one feed, and of all of them, to be looked up: read-only, built aside and swapped as a whole.

use super::indicator::Key;
use crate::units::{SECOND, Timestamp};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// What is known of an indicator besides what it is.
#[derive(Clone, PartialEq, Debug)]
pub struct About {
    /// What the feed says of it, or of whom it has it; may be empty.
    pub text: Arc<str>,
    /// How sure the feed is, percent.
    pub percent: u8,
    /// Seconds since 1970 from which on it is none any more.
    pub until: Option<u64>,
}

/// An indicator that was met.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit<'a> {
    /// Whose it is.
    pub feed: &'a str,
    /// As the feed has it, or what is equal to it.
    pub text: String,
    /// What is known of it.
    pub about: &'a About,
}

/// One feed.
#[derive(Default)]
pub struct Table {
    feed: Arc<str>,
    about: Vec<About>,
    /// By the length of their prefix, longest first.
    networks: Vec<(u32, HashMap<u128, u32>)>,
    services: HashMap<(u128, u16), u32>,
    names: HashMap<Box<str>, u32>,
    below: HashMap<Box<str>, u32>,
    urls: HashMap<Box<str>, u32>,
    prints: HashMap<Box<str>, u32>,
}

fn mask(bits: u128, length: u32) -> u128 {
    if length == 0 { 0 } else { bits & (u128::MAX << (128 - length)) }
}

fn written(bits: u128, length: u32) -> String {
    let address = Ipv6Addr::from(bits);
    let v4 = address.to_ipv4_mapped().filter(|_| length >= 96);
    let (address, length, whole) = match v4 {
        Some(v4) => (IpAddr::V4(v4), length - 96, 32),
        None => (IpAddr::V6(address), length, 128),
    };
    if length == whole { address.to_string() } else { format!("{address}/{length}") }
}

impl Table {
    /// An empty one.
    pub fn new(feed: &str) -> Table {
        Table { feed: feed.into(), ..Table::default() }
    }

    /// Indicators.
    pub fn count(&self) -> usize {
        self.about.len()
    }

    /// Adds one; of two that are alike the first counts.
    pub fn add(&mut self, key: Key, about: About) {
        let index = self.about.len() as u32; // bounded by the reader
        self.about.push(about);
        match key {
            Key::Network(network) => {
                let (bits, length) = network.prefix();
                let place = self.networks.partition_point(|(one, _)| *one > length);
                if self.networks.get(place).is_none_or(|(one, _)| *one != length) {
                    self.networks.insert(place, (length, HashMap::new()));
                }
                if let Some((_, map)) = self.networks.get_mut(place) {
                    map.entry(bits).or_insert(index);
                }
            }
            Key::Service(bits, port) => drop(self.services.entry((bits, port)).or_insert(index)),
            Key::Name(name) => drop(self.names.entry(name).or_insert(index)),
            Key::Below(name) => drop(self.below.entry(name).or_insert(index)),
            Key::Url(url) => drop(self.urls.entry(url).or_insert(index)),
            Key::Print(print) => drop(self.prints.entry(print).or_insert(index)),
        }
    }

    fn hit(&self, index: Option<&u32>, text: impl FnOnce() -> String, now: Timestamp) -> Option<Hit<'_>> {
        let about = self.about.get(*index? as usize)?;
        let holds = about.until.is_none_or(|until| now.0 / SECOND < until);
        holds.then(|| Hit { feed: &self.feed, text: text(), about })
    }

    fn service(&self, address: u128, port: u16, now: Timestamp) -> Option<Hit<'_>> {
        let exact = self.services.get(&(address, port));
        let text = || format!("{} port {port}", written(address, 128));
        self.hit(exact, text, now).or_else(|| {
            self.networks.iter().find_map(|(length, map)| {
                let bits = mask(address, *length);
                self.hit(map.get(&bits), || written(bits, *length), now)
            })
        })
    }

    fn name(&self, name: &str, now: Timestamp) -> Option<Hit<'_>> {
        let exact = self.hit(self.names.get(name), || name.to_owned(), now);
        if exact.is_some() || self.below.is_empty() {
            return exact;
        }
        let parents = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
        parents.into_iter().find_map(|parent| self.hit(self.below.get(parent), || format!("*.{parent}"), now))
    }
}

/// All feeds, in the order of the configuration.
#[derive(Default)]
pub struct Tables(pub Vec<Arc<Table>>);

impl Tables {
    /// Indicators of all feeds.
    pub fn count(&self) -> usize {
        self.0.iter().map(|table| table.count()).sum()
    }

    /// An address with this port, or a network that it lies in.
    pub fn service(&self, address: u128, port: u16, now: Timestamp) -> Option<Hit<'_>> {
        self.0.iter().find_map(|table| table.service(address, port, now))
    }

    /// A name in lower case.
    pub fn name(&self, name: &str, now: Timestamp) -> Option<Hit<'_>> {
        self.0.iter().find_map(|table| table.name(name, now))
    }

    /// A URL as [`super::indicator::url`] writes it.
    pub fn url(&self, url: &str, now: Timestamp) -> Option<Hit<'_>> {
        self.0.iter().find_map(|table| table.hit(table.urls.get(url), || url.to_owned(), now))
    }

    /// JA3, JA4 or SHA-1 of a certificate.
    pub fn print(&self, print: &str, now: Timestamp) -> Option<Hit<'_>> {
        self.0.iter().find_map(|table| table.hit(table.prints.get(print), || print.to_owned(), now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::indicator::{self, Read};
    use super::*;

    fn table(texts: &[(&str, Option<u64>)]) -> Tables {
        let mut table = Table::new("list");
        for (text, until) in texts {
            let Read::Keys(keys) = indicator::any(text) else { panic!("{text}") };
            let about = About { text: "".into(), percent: 80, until: *until };
            keys.into_iter().for_each(|key| table.add(key, about.clone()));
        }
        Tables(vec![Arc::new(Table::new("empty")), Arc::new(table)])
    }

    #[test]
    fn the_longest_prefix_and_the_exact_name_are_met() {
        let tables = table(&[
            ("192.0.2.0/24", None),
            ("192.0.2.7", Some(100)),
            ("198.51.100.1:443", None),
            ("2001:db8::/32", None),
            ("example.org", None),
            ("*.example.net", None),
        ]);
        let bits = |text: &str| match text.parse::<IpAddr>().expect("an address") {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        for (address, port, at_s, wanted) in [
            ("192.0.2.1", 80, 0, Some("192.0.2.0/24")),
            ("192.0.2.7", 80, 99, Some("192.0.2.7")),
            // What is over makes room for what holds it.
            ("192.0.2.7", 80, 100, Some("192.0.2.0/24")),
            ("192.0.3.1", 80, 0, None),
            ("198.51.100.1", 443, 0, Some("198.51.100.1 port 443")),
            ("198.51.100.1", 80, 0, None),
            ("2001:db8:1::2", 80, 0, Some("2001:db8::/32")),
            ("2001:db9::2", 80, 0, None),
        ] {
            let hit = tables.service(bits(address), port, Timestamp(at_s * SECOND));
            assert_eq!(hit.map(|hit| hit.text).as_deref(), wanted, "{address}");
        }
        for (name, wanted) in [
            ("example.org", Some("example.org")),
            ("www.example.org", None),
            ("example.net", None),
            ("a.b.example.net", Some("*.example.net")),
            ("notexample.net", None),
        ] {
            assert_eq!(tables.name(name, Timestamp(0)).map(|hit| hit.text).as_deref(), wanted, "{name}");
        }
        assert_eq!(tables.count(), 6);
    }
}
