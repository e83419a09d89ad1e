//! Ports that FTP opens for one transfer (RFC 959 section 3.2, RFC 2428): they are no services, and who listens may be the
//! client.

use super::super::event::Event;
use super::super::host::Segment;
use crate::dataplane::inspect::{Protocol, ftp};
use crate::units::{SECOND, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Ports that are remembered at most, of some 100 bytes. Of a transfer of which as many others were announced before it ended the
/// port is told as open.
const PORTS_MAX: usize = 1 << 12;
/// A transfer begins within this time of its announcement: servers wait for a minute (vsftpd's `accept_timeout`).
const BEGINS_WITHIN_NS: u64 = 60 * SECOND;
/// Queues of a card have clocks that are this far apart at most.
const CLOCKS_APART_NS: u64 = SECOND;

type Port = (Segment, IpAddr, u16);

/// The latest ports that were announced, and when.
#[derive(Default)]
pub struct Transfers {
    ports: HashMap<Port, Timestamp>,
    order: VecDeque<(Port, Timestamp)>,
}

impl Transfers {
    /// Remembers what an event announces.
    pub fn see(&mut self, event: &Event<'_>) {
        if event.head.protocol != Protocol::Ftp || event.head.through_proxy {
            return;
        }
        let port = event.number(ftp::DATA_PORT).and_then(|port| u16::try_from(port).ok());
        let (Some(port), Some(mode)) = (port, event.bytes(ftp::MODE)) else { return };
        let listens = if mode == ftp::ACTIVE { event.client } else { event.server };
        // Behind a translation the address that is said is not the one that is seen.
        let said = event.addresses(ftp::DATA_ADDRESS).next().filter(|said| *said != listens.ip());
        for address in said.into_iter().chain([listens.ip()]) {
            self.remember((event.segment(), address, port), event.head.time);
        }
    }

    fn remember(&mut self, port: Port, time: Timestamp) {
        self.ports.insert(port, time);
        self.order.push_back((port, time));
        if self.order.len() > PORTS_MAX
            && let Some((oldest, time)) = self.order.pop_front()
            && self.ports.get(&oldest) == Some(&time)
        {
            self.ports.remove(&oldest);
        }
    }

    /// Was a connection to this port, begun at this time, announced?
    pub fn has(&self, port: Port, begun: Timestamp) -> bool {
        self.ports.get(&port).is_some_and(|announced| {
            announced.since(begun) <= CLOCKS_APART_NS && begun.since(*announced) <= BEGINS_WITHIN_NS
        })
    }
}
