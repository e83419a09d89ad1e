//! The indicators of one feed, and of all of them, to be looked up: read-only, built aside and swapped as a whole.
//!
//! No indicator is kept as text: what is asked for *is* the text of what is met, so a keyed hash of 128 bits stands for it (24 bytes
//! an indicator, and nobody who does not know the keys, drawn at start, can make two meet). Before the tables stand filters of
//! two bytes an indicator of all feeds, because almost everything that is asked for is in no list: one line of the cache a
//! question (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). Networks have one before it that
//! knows places of addresses ([`super::reach`]), or each address would be asked for by every length of prefix.

use super::indicator::Key;
use super::reach::{Reach, Spans};
use crate::units::{SECOND, Timestamp};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

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
    pub text: Text<'a>,
    /// What is known of it.
    pub about: &'a About,
}

/// What was met: written when somebody reads it, for most of what is met is met again and told once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Text<'a> {
    /// A network, or a host.
    Network(u128, u32),
    /// A port of a host.
    Service(u128, u16),
    /// What was asked for.
    Own(&'a str),
    /// What is below this name.
    Below(&'a str),
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Network(bits, length) => f.write_str(&written(*bits, *length)),
            Text::Service(bits, port) => write!(f, "{} port {port}", written(*bits, HOST)),
            Text::Own(text) => f.write_str(text),
            Text::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// Keys of all tables of this process: a filter speaks of several.
static KEYS: LazyLock<[DefaultHashBuilder; 2]> = LazyLock::new(Default::default);

/// Stands for an indicator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark([u64; 2]);

impl Mark {
    /// `kind` keeps apart what reads alike.
    fn new(kind: u8, text: impl Hash) -> Mark {
        let [one, other] = &*KEYS;
        Mark([one.hash_one((kind, &text)), other.hash_one((kind, &text))])
    }

    fn network(bits: u128, length: u32) -> Mark {
        Mark::new(0, (bits, length))
    }

    fn service(bits: u128, port: u16) -> Mark {
        Mark::new(1, (bits, port))
    }

    fn name(name: &str) -> Mark {
        Mark::new(2, name)
    }

    fn below(name: &str) -> Mark {
        Mark::new(3, name)
    }

    fn url(url: &str) -> Mark {
        Mark::new(4, url)
    }

    fn print(print: &str) -> Mark {
        Mark::new(5, print)
    }

    /// The half that tables are ordered by.
    fn low(self) -> u64 {
        self.0[0]
    }
}

/// Words of a block: a line of the cache.
const BLOCK: usize = 8;
/// Bits of a block for each indicator.
const BITS_EACH: usize = 16;

/// Which marks may be there. One that is not is taken for one that may in some three of a thousand cases.
#[derive(Default)]
struct Filter(Vec<[u64; BLOCK]>);

impl Filter {
    fn new(count: usize) -> Filter {
        Filter(vec![[0; BLOCK]; count * BITS_EACH / (64 * BLOCK) + 1])
    }

    /// The block, and its bits, six of 512.
    fn place(&self, mark: Mark) -> (usize, [u64; BLOCK]) {
        let Mark([low, high]) = mark;
        let block = ((u128::from(low) * self.0.len() as u128) >> 64) as usize;
        let mut bits = [0; BLOCK];
        for part in 0..6 {
            let bit = (high >> (9 * part)) as usize & 511;
            if let Some(word) = bits.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
        (block, bits)
    }

    fn add(&mut self, mark: Mark) {
        let (block, bits) = self.place(mark);
        for (word, bit) in self.0.get_mut(block).into_iter().flatten().zip(bits) {
            *word |= bit;
        }
    }

    fn may_have(&self, mark: Mark) -> bool {
        let (block, bits) = self.place(mark);
        self.0.get(block).is_some_and(|words| words.iter().zip(bits).all(|(word, bit)| word & bit == bit))
    }
}

/// One feed.
#[derive(Default)]
pub struct Table {
    feed: Arc<str>,
    /// What is known of many is here once.
    about: Vec<About>,
    /// Networks that are not one host; of each the place of what is known of it.
    ranges: HashTable<(Mark, u32)>,
    /// The others.
    marks: HashTable<(Mark, u32)>,
    count: usize,
    /// Lengths of the ranges' prefixes, longest first.
    lengths: Vec<u32>,
    spans: Spans,
    /// Some are ports of hosts.
    has_services: bool,
    /// Some names stand for those below them.
    has_below: bool,
}

/// Length of a host's prefix.
const HOST: u32 = 128;

/// The first `length` bits.
pub(super) fn mask(bits: u128, length: u32) -> u128 {
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

    /// With room for so many, so that it is not made anew while it grows.
    pub fn with_room(feed: &str, count: usize) -> Table {
        Table { marks: HashTable::with_capacity(count), ..Table::new(feed) }
    }

    /// Indicators.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds one; of two that are alike the first counts.
    pub fn add(&mut self, key: Key, about: About) {
        self.count += 1; // bounded by the reader
        let mut range = None;
        let mark = match key {
            Key::Network(network) => {
                let (bits, length) = network.prefix();
                range = (length < HOST).then_some((bits, length));
                Mark::network(bits, length)
            }
            Key::Service(bits, port) => {
                self.has_services = true;
                Mark::service(bits, port)
            }
            Key::Name(name) => Mark::name(&name),
            Key::Below(name) => {
                self.has_below = true;
                Mark::below(&name)
            }
            Key::Url(url) => Mark::url(&url),
            Key::Print(print) => Mark::print(&print),
        };
        // Lists say the same of all, or of many in a row.
        if self.about.last() != Some(&about) {
            self.about.push(about);
        }
        let index = self.about.len() as u32 - 1;
        let table = if range.is_some() { &mut self.ranges } else { &mut self.marks };
        let Entry::Vacant(place) = table.entry(mark.low(), |(one, _)| *one == mark, |(one, _)| one.low()) else {
            return;
        };
        place.insert((mark, index));
        if let Some((bits, length)) = range {
            let at = self.lengths.partition_point(|one| *one > length);
            if self.lengths.get(at) != Some(&length) {
                self.lengths.insert(at, length);
            }
            self.spans.add(bits, length);
        }
    }

    fn hit<'a>(&'a self, mark: Mark, text: Text<'a>, now: Timestamp) -> Option<Hit<'a>> {
        let among = if matches!(text, Text::Network(_, length) if length < HOST) { &self.ranges } else { &self.marks };
        let (_, index) = among.find(mark.low(), |(one, _)| *one == mark)?;
        let about = self.about.get(*index as usize)?;
        let holds = about.until.is_none_or(|until| now.0 / SECOND < until);
        holds.then_some(Hit { feed: &self.feed, text, about })
    }

    fn name<'a>(&'a self, name: &'a str, now: Timestamp) -> Option<Hit<'a>> {
        self.hit(Mark::name(name), Text::Own(name), now).or_else(|| {
            let mut parents = parents(name).filter(|_| self.has_below);
            parents.find_map(|parent| self.hit(Mark::below(parent), Text::Below(parent), now))
        })
    }
}

/// The names that this one is below.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..))
}

/// All feeds, in the order of the configuration.
#[derive(Default)]
pub struct Tables {
    tables: Vec<Arc<Table>>,
    /// Which addresses may lie in a network.
    reach: Reach,
    /// Networks of whole ranges are few and asked for by every length there is: theirs fits nearer to the core.
    ranges: Filter,
    others: Filter,
    /// Of all tables, longest first; no more than there are bits in an address.
    lengths: Vec<u32>,
    has_services: bool,
    has_below: bool,
}

impl Tables {
    /// With the filters before them.
    pub fn new(tables: Vec<Arc<Table>>) -> Tables {
        let mut lengths: Vec<u32> = tables.iter().flat_map(|table| table.lengths.iter().copied()).collect();
        lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
        lengths.dedup();
        let filter = |part: fn(&Table) -> &HashTable<(Mark, u32)>| {
            let mut filter = Filter::new(tables.iter().map(|table| part(table).len()).sum());
            tables.iter().flat_map(|table| part(table)).for_each(|(mark, _)| filter.add(*mark));
            filter
        };
        Tables {
            reach: Reach::new(tables.iter().map(|table| &table.spans)),
            ranges: filter(|table| &table.ranges),
            others: filter(|table| &table.marks),
            has_services: tables.iter().any(|table| table.has_services),
            has_below: tables.iter().any(|table| table.has_below),
            lengths,
            tables,
        }
    }

    /// Indicators of all feeds.
    pub fn count(&self) -> usize {
        self.tables.iter().map(|table| table.count()).sum()
    }

    /// An address with this port, or a network that it lies in.
    pub fn service(&self, address: u128, port: u16, now: Timestamp) -> Option<Hit<'_>> {
        let asked = |mark: Mark| self.others.may_have(mark).then_some(mark);
        let service = Some(()).filter(|()| self.has_services).and_then(|()| asked(Mark::service(address, port)));
        let host = asked(Mark::network(address, HOST));
        // A bit for each length of which there may be a network: no table looks for others.
        let mut passed = 0_u128;
        if self.reach.may_hold(address) {
            for (at, length) in self.lengths.iter().enumerate() {
                let may_be = self.ranges.may_have(Mark::network(mask(address, *length), *length));
                passed |= u128::from(may_be) << at;
            }
        }
        if service.is_none() && host.is_none() && passed == 0 {
            return None;
        }
        self.tables.iter().find_map(|table| {
            let service = service.and_then(|mark| table.hit(mark, Text::Service(address, port), now));
            let host = || host.and_then(|mark| table.hit(mark, Text::Network(address, HOST), now));
            service.or_else(host).or_else(|| {
                let mut left = passed;
                while left != 0 {
                    let length = *self.lengths.get(left.trailing_zeros() as usize)?;
                    left &= left - 1;
                    let bits = mask(address, length);
                    if let Some(hit) = table.hit(Mark::network(bits, length), Text::Network(bits, length), now) {
                        return Some(hit);
                    }
                }
                None
            })
        })
    }

    /// A name in lower case.
    pub fn name<'a>(&'a self, name: &'a str, now: Timestamp) -> Option<Hit<'a>> {
        let may_be = self.others.may_have(Mark::name(name))
            || self.has_below && parents(name).any(|parent| self.others.may_have(Mark::below(parent)));
        self.tables.iter().filter(|_| may_be).find_map(|table| table.name(name, now))
    }

    /// A URL as [`super::indicator::url`] writes it.
    pub fn url<'a>(&'a self, url: &'a str, now: Timestamp) -> Option<Hit<'a>> {
        self.exact(Mark::url(url), url, now)
    }

    /// JA3, JA4 or SHA-1 of a certificate.
    pub fn print<'a>(&'a self, print: &'a str, now: Timestamp) -> Option<Hit<'a>> {
        self.exact(Mark::print(print), print, now)
    }

    fn exact<'a>(&'a self, mark: Mark, text: &'a str, now: Timestamp) -> Option<Hit<'a>> {
        let may_be = self.others.may_have(mark);
        let mut tables = self.tables.iter().filter(|_| may_be);
        tables.find_map(|table| table.hit(mark, Text::Own(text), now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::indicator::{self, Read};
    use super::*;
    use crate::control::inventory::network::Network;

    fn table(texts: &[(&str, Option<u64>)]) -> Tables {
        let mut table = Table::new("list");
        for (text, until) in texts {
            let Read::Keys(keys) = indicator::any(text) else { panic!("{text}") };
            let about = About { text: "".into(), percent: 80, until: *until };
            keys.into_iter().for_each(|key| table.add(key, about.clone()));
        }
        Tables::new(vec![Arc::new(Table::new("empty")), Arc::new(table)])
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
            assert_eq!(hit.map(|hit| hit.text.to_string()).as_deref(), wanted, "{address}");
        }
        for (name, wanted) in [
            ("example.org", Some("example.org")),
            ("www.example.org", None),
            ("example.net", None),
            ("a.b.example.net", Some("*.example.net")),
            ("notexample.net", None),
        ] {
            assert_eq!(tables.name(name, Timestamp(0)).map(|hit| hit.text.to_string()).as_deref(), wanted, "{name}");
        }
        assert_eq!(tables.count(), 6);
    }

    /// What is in a list is met, always, and the filters let little through that is in none.
    #[test]
    fn the_filters_forget_nothing_and_let_little_through() {
        let names = |first: u32| (first..first + 20_000).map(|number| format!("n{number}.example.org"));
        let hosts = |first: u32| (first..first + 20_000).map(|number| 0xffff_0000_0000 | u128::from(number) << 8);
        let mut table = Table::with_room("list", 40_000);
        let about = About { text: "".into(), percent: 80, until: None };
        names(0).for_each(|name| table.add(Key::Name(name.into()), about.clone()));
        for bits in hosts(0) {
            let address = Ipv6Addr::from(bits).to_ipv4_mapped().expect("made as one");
            let network = Network::parse(&format!("{address}/24")).expect("a network");
            table.add(Key::Network(network), about.clone());
        }
        assert_eq!((table.about.len(), table.count()), (1, 40_000), "what is known of all is kept once");
        let tables = Tables::new(vec![Arc::new(table)]);
        assert!(names(0).all(|name| tables.name(&name, Timestamp(0)).is_some()));
        assert!(hosts(0).all(|bits| tables.service(bits | 7, 80, Timestamp(0)).is_some()));
        assert!(names(20_000).all(|name| tables.name(&name, Timestamp(0)).is_none()));
        assert!(hosts(20_000).all(|bits| tables.service(bits, 80, Timestamp(0)).is_none()));
        let passed = names(20_000).filter(|name| tables.others.may_have(Mark::name(name))).count();
        assert!(passed < 200, "{passed} of 20000 unknown names pass the filter");
    }
}
