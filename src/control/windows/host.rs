//! A host's minute.

use super::distinct::Distinct;
use super::ended::{Ended, Outcome, TCP, UDP};
use super::open::Sums;
use super::schema::HOST_COUNT;
use super::sums::{Spread, ratio};
use crate::dataplane::features::{is_login_port, is_web_port};
use crate::units::Timestamp;

/// Flows of at most so many packets are short.
const SHORT: u64 = 4;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const DNS: u16 = 53;

/// An address in two words: aligned to 8 bytes a value of a set is shorter.
type Address = [u64; 2];

fn words(address: u128) -> Address {
    [(address >> 64) as u64, address as u64]
}

/// Flows that the host began.
#[derive(Clone, Default)]
struct Out {
    flows: u64,
    answered: u64,
    refused: u64,
    silent: u64,
    tcp: u64,
    udp: u64,
    icmp: u64,
    login: u64,
    web: u64,
    dns: u64,
    short: u64,
    reset: u64,
    wire: [u64; 2],
    payload_in: u64,
    payload: Spread,
    packets: u64,
    duration_us: u64,
    peers: Distinct<Address>,
    ports: Distinct<(u8, u16)>,
    services: Distinct<(Address, u8, u16)>,
}

/// Flows that others began with the host.
#[derive(Clone, Default)]
struct In {
    flows: u64,
    answered: u64,
    login: u64,
    payload: [u64; 2],
    peers: Distinct<Address>,
    ports: Distinct<(u8, u16)>,
}

/// The sums of a host's window.
#[derive(Clone, Default)]
pub struct Minute {
    touched: Timestamp,
    last: Timestamp,
    out: Out,
    into: In,
}

impl Sums for Minute {
    fn touched(&self) -> Timestamp {
        self.touched
    }

    fn held(&self) -> usize {
        let Minute { out, into, .. } = self;
        out.peers.held() + out.ports.held() + out.services.held() + into.peers.held() + into.ports.held()
    }
}

fn is_login(flow: &Ended) -> bool {
    flow.protocol == TCP && is_login_port(flow.port)
}

impl Minute {
    /// The host began a flow that ended.
    pub fn began(&mut self, flow: &Ended) {
        self.touched = self.touched.max(flow.end);
        self.last = self.last.max(flow.last);
        let Minute { out, .. } = self;
        out.flows += 1;
        *match flow.outcome {
            Outcome::Answered => &mut out.answered,
            Outcome::Refused => &mut out.refused,
            Outcome::Silent => &mut out.silent,
        } += 1;
        out.tcp += u64::from(flow.protocol == TCP);
        out.udp += u64::from(flow.protocol == UDP);
        out.icmp += u64::from(matches!(flow.protocol, ICMP | ICMP6));
        out.login += u64::from(is_login(flow));
        out.web += u64::from(flow.protocol == TCP && is_web_port(flow.port));
        out.dns += u64::from(flow.port == DNS);
        out.short += u64::from(flow.packets <= SHORT);
        out.reset += u64::from(flow.is_reset);
        let [sent, received] = flow.payload;
        out.payload.add(sent);
        out.payload_in = out.payload_in.saturating_add(received);
        add(&mut out.wire, flow.wire);
        out.packets += flow.packets;
        out.duration_us += flow.duration_us;
        let peer = words(flow.peer);
        out.peers.add(peer);
        out.ports.add((flow.protocol, flow.port));
        out.services.add((peer, flow.protocol, flow.port));
    }

    /// A flow that another host began with it ended.
    pub fn was_asked(&mut self, flow: &Ended) {
        self.touched = self.touched.max(flow.end);
        self.last = self.last.max(flow.last);
        let Minute { into, .. } = self;
        into.flows += 1;
        into.answered += u64::from(flow.outcome == Outcome::Answered);
        into.login += u64::from(is_login(flow));
        add(&mut into.payload, flow.payload);
        into.peers.add(words(flow.host));
        into.ports.add((flow.protocol, flow.port));
    }

    /// The latest packet of its flows.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// The values in the schema's order.
    pub fn row(&self) -> [f32; HOST_COUNT] {
        let Minute { out, into, .. } = self;
        let ln = |count: u64| (count as f64).ln_1p();
        let share = |part: u64| ratio(part as f64, out.flows as f64);
        let share_in = |part: u64| ratio(part as f64, into.flows as f64);
        let [wire_out, wire_in] = out.wire;
        let [taken, given] = into.payload;
        [
            ln(out.flows),
            share(out.answered),
            share(out.refused),
            share(out.silent),
            share(out.tcp),
            share(out.udp),
            share(out.icmp),
            ln(out.peers.count()),
            ln(out.ports.count()),
            ln(out.services.count()),
            share(out.services.most()),
            share(out.login),
            share(out.web),
            share(out.dns),
            ln(wire_out),
            ln(wire_in),
            out.payload.total().ln_1p(),
            ln(out.payload_in),
            share(out.packets).ln_1p(),
            share(out.duration_us).ln_1p(),
            out.payload.mean().ln_1p(),
            out.payload.deviation().ln_1p(),
            share(out.short),
            share(out.reset),
            ln(into.flows),
            share_in(into.answered),
            ln(into.peers.count()),
            ln(into.ports.count()),
            share_in(into.peers.most()),
            share_in(into.login),
            ln(taken),
            ln(given),
        ]
        .map(|value| value as f32)
    }
}

fn add(sums: &mut [u64; 2], values: [u64; 2]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = sum.saturating_add(value);
    }
}
