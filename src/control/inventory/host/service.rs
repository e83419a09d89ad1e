//! Services of a host: their ports, and the software behind them.

use super::super::banner::Product;
use super::super::wire;
use super::{Host, PRODUCTS_MAX, SERVICES_MAX, Seen, add};
use crate::dataplane::inspect::Protocol;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// A service that a host answered on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// `tcp` or `udp`.
    pub transport: String,
    /// Port.
    pub port: u16,
    /// Application protocol.
    pub protocol: String,
    /// Software as its banners name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Product>,
    /// The latest banner.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub banner: String,
    /// When the banner was said.
    #[serde(default, skip)]
    pub banner_time: Timestamp,
    /// What the wire told of it that decides about vulnerabilities.
    #[serde(default, skip_serializing_if = "wire::Seen::is_empty")]
    pub wire: wire::Seen,
    /// Events with an answer; 0 where flows alone tell that the port is open.
    pub count: u64,
    /// When.
    #[serde(flatten)]
    pub seen: Seen,
}

impl Service {
    /// Do flows alone tell of it?
    pub fn is_open_only(&self) -> bool {
        self.count == 0
    }

    /// What tells more of a port is worth more: inspection, the protocol of flows, that somebody answers.
    fn rank(&self) -> u8 {
        match self.is_open_only() {
            false => 2,
            true => u8::from(self.protocol != Protocol::Unknown.name()),
        }
    }
}

impl Host {
    /// A service; is it news? Of a port that inspection told of nothing else is kept, of others the protocol that flows have;
    /// that it is open only where neither is known.
    pub fn add_service(&mut self, service: Service) -> bool {
        let rank = service.rank();
        let is_on_it = |one: &Service| one.port == service.port && one.transport == service.transport;
        if self.services.iter().any(|one| is_on_it(one) && one.rank() > rank) {
            return false;
        }
        self.services.retain(|one| !is_on_it(one) || one.rank() == rank);
        let same = |one: &Service, other: &Service| {
            (one.port, &one.transport, &one.protocol) == (other.port, &other.transport, &other.protocol)
        };
        let merge = |known: &mut Service, new: Service| {
            known.seen.again(new.seen);
            known.count = known.count.saturating_add(new.count);
            // The latest banner counts; of one moment the larger, so that the order does not matter.
            let later = (new.banner_time, &new.banner) > (known.banner_time, &known.banner);
            known.wire.merge(new.wire);
            let mut news = false;
            if later && !new.banner.is_empty() {
                news = known.banner != new.banner;
                known.banner = new.banner;
                known.banner_time = new.banner_time;
            }
            for product in new.products {
                news |= add_product(&mut known.products, product);
            }
            news
        };
        let worth = |one: &Service| (!one.is_open_only(), one.seen.last_seen);
        let outcome = add(&mut self.services, SERVICES_MAX, service, same, merge, worth);
        self.note(outcome)
    }
}

/// Adds a product; a version takes the place of none, and another version stands beside: a balancer's port may have both.
fn add_product(products: &mut Vec<Product>, product: Product) -> bool {
    if products.contains(&product) {
        return false;
    }
    if product.version.is_none() && products.iter().any(|known| known.name == product.name) {
        return false;
    }
    products.retain(|known| known.name != product.name || known.version.is_some());
    if products.len() >= PRODUCTS_MAX {
        products.remove(0);
    }
    products.push(product);
    products.sort();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_takes_the_place_of_none_and_another_stands_beside() {
        let product = |version: Option<&str>| Product {
            name: "nginx".into(),
            version: version.map(str::to_owned),
            distribution: None,
        };
        let mut products = Vec::new();
        for (version, news, count) in
            [(None, true, 1), (Some("1.2"), true, 1), (None, false, 1), (Some("1.3"), true, 2), (Some("1.2"), false, 2)]
        {
            assert_eq!((add_product(&mut products, product(version)), products.len()), (news, count));
        }
    }
}
