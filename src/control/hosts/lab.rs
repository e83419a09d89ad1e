//! A made-up wire: packets of attackers and look-alikes through real flow tables and observers into the merger.

use super::{Merger, Settings};
use crate::dataplane::decode::{FlowKey, Packet, TcpWord, tcp_flags};
use crate::dataplane::detect::{Evidence, Observer, TunnelMark, WindowEntry};
use crate::dataplane::flow::{self, FlowTable};
use crate::dataplane::inspect::Protocol;
use crate::exchange::Up;
use crate::units::{MILLISECOND, QueueId, SECOND, Timestamp};
use std::collections::VecDeque;

const ACK: u8 = tcp_flags::ACK;
const SYN: u8 = tcp_flags::SYN;
const FIN: u8 = tcp_flags::FIN;
const RST: u8 = tcp_flags::RST;

/// 10.0.x.y.
pub fn host(number: u32) -> u32 {
    0x0a00_0000 + number
}

/// What a server does with a SYN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Open,
    Closed,
    Silent,
}

/// Packets in the making; times are nanoseconds since the start of the wire.
#[derive(Default)]
pub struct Wire {
    packets: Vec<(u64, Packet)>,
    next_port: u16,
}

/// Where the wire's time begins: a second that is no multiple of anything.
const START: u64 = 1_700_000_123 * SECOND;

impl Wire {
    pub fn packet(&mut self, at: u64, from: (u32, u16), to: (u32, u16), protocol: u8, flags: u8, payload: u32) {
        let (key, direction) = FlowKey::v4(from.0, from.1, to.0, to.1, protocol, 0);
        let packet = Packet {
            key,
            direction,
            time: Timestamp(START + at),
            wire_bytes: 54 + payload,
            payload_bytes: payload,
            tcp: TcpWord::new(flags, 0),
            ..Packet::default()
        };
        self.packets.push((at, packet));
    }

    /// An ephemeral port, another one each time.
    pub fn port(&mut self) -> u16 {
        self.next_port = (self.next_port + 1) % 20_000;
        40_000 + self.next_port
    }

    /// A SYN scan's probe: half open on open ports.
    pub fn probe(&mut self, at: u64, from: u32, to: (u32, u16), port: Port) {
        let from = (from, self.port());
        self.packet(at, from, to, 6, SYN, 0);
        match port {
            Port::Open => {
                self.packet(at + MILLISECOND, to, from, 6, SYN | ACK, 0);
                self.packet(at + 2 * MILLISECOND, from, to, 6, RST, 0);
            }
            Port::Closed => self.packet(at + MILLISECOND, to, from, 6, RST | ACK, 0),
            Port::Silent => {}
        }
    }

    /// A whole TCP session: request, answer, and FINs after `length` nanoseconds.
    pub fn session(&mut self, at: u64, from: u32, to: (u32, u16), request: u32, answer: u32, length: u64) {
        let from = (from, self.port());
        let step = length / 8;
        self.packet(at, from, to, 6, SYN, 0);
        self.packet(at + step, to, from, 6, SYN | ACK, 0);
        self.packet(at + 2 * step, from, to, 6, ACK, 0);
        // SSH takes turns: names, offers, keys, the service, and what is refused in the end.
        let turns = if to.1 == 22 && request >= 1000 { 5 } else { 1 };
        let mut left = [request, answer];
        for turn in 1..=turns {
            let time = at + 3 * step + u64::from(turn) * step / 8;
            let parts = match turns - turn {
                0 => left,
                others => [left[0] / (others + 1), left[1].saturating_sub(100) / others],
            };
            left = [left[0] - parts[0], left[1] - parts[1]];
            if parts[0] > 0 {
                self.packet(time, from, to, 6, ACK, parts[0]);
            }
            let mut left = parts[1];
            while left > 0 {
                self.packet(time + step / 16, to, from, 6, ACK, left.min(1400));
                left -= left.min(1400);
            }
        }
        self.packet(at + 6 * step, to, from, 6, FIN | ACK, 0);
        self.packet(at + 7 * step, from, to, 6, FIN | ACK, 0);
        self.packet(at + 8 * step, to, from, 6, ACK, 0);
    }

    /// A whole TCP session of these turns, a millisecond each: is it the server's, and bytes. The client ends it.
    pub fn talk(&mut self, at: u64, from: (u32, u16), to: (u32, u16), turns: &[(bool, u32)]) {
        self.packet(at, from, to, 6, SYN, 0);
        self.packet(at, to, from, 6, SYN | ACK, 0);
        self.packet(at, from, to, 6, ACK, 0);
        let mut at = at;
        for (is_answer, bytes) in turns {
            at += MILLISECOND;
            let (from, to) = if *is_answer { (to, from) } else { (from, to) };
            self.packet(at, from, to, 6, ACK, *bytes);
        }
        self.packet(at + MILLISECOND, from, to, 6, FIN | ACK, 0);
        self.packet(at + MILLISECOND, to, from, 6, FIN | ACK, 0);
        self.packet(at + MILLISECOND, from, to, 6, ACK, 0);
    }

    /// A UDP question, answered or not.
    pub fn datagram(&mut self, at: u64, from: u32, to: (u32, u16), payload: u32, answer: Option<u32>) {
        let from = (from, self.port());
        self.packet(at, from, to, 17, 0, payload);
        if let Some(answer) = answer {
            self.packet(at + 10 * MILLISECOND, to, from, 17, 0, answer);
        }
    }

    /// An echo request, answered or not.
    pub fn ping(&mut self, at: u64, from: u32, to: u32, answered: bool) {
        let identifier = self.port();
        self.packet(at, (from, identifier), (to, identifier), 1, 0, 56);
        if answered {
            self.packet(at + MILLISECOND, (to, identifier), (from, identifier), 1, 0, 56);
        }
    }

    /// Everything that the deciders say, with the default settings, from one queue.
    pub fn evidence(&mut self) -> Vec<Evidence> {
        self.run(&Run::default())
    }

    /// `detector/kind` of all evidence, without repeats, in order of their first appearance.
    pub fn kinds(&mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        for evidence in self.evidence() {
            let kind = format!("{}/{}", evidence.detector.name(), evidence.kind);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    pub fn run(&mut self, run: &Run) -> Vec<Evidence> {
        // Stable: packets of one moment keep their order.
        self.packets.sort_by_key(|(at, _)| *at);
        let end = self.packets.last().map_or(Timestamp(0), |(_, packet)| packet.time);
        let mut queues: Vec<Queue> = (0..run.queues).map(|_| Queue::new(run)).collect();
        let mut merger = Merger::new(run.queues, run.settings);
        let mut found = Vec::new();
        let mut dice = run.seed | 1;
        let mut roll = move |sides: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice % sides.max(1) as u64) as usize
        };
        for burst in self.packets.chunks(run.burst) {
            for (_, packet) in burst {
                queues[packet.key.owner(run.queues)].packet(packet);
            }
            for (id, queue) in queues.iter_mut().enumerate() {
                queue.after_burst(id, burst.last().expect("a chunk is not empty").1.time, run);
            }
            // Some of what waits, from queues in any order.
            for _ in 0..roll(40) {
                let id = roll(run.queues);
                if let Some(item) = queues[id].up.pop_front() {
                    found.extend(merger.push(QueueId(id as u16), &item));
                }
            }
        }
        for (id, queue) in queues.iter_mut().enumerate() {
            queue.finish(id, end);
        }
        while queues.iter().any(|queue| !queue.up.is_empty()) {
            let id = roll(run.queues);
            if let Some(item) = queues[id].up.pop_front() {
                found.extend(merger.push(QueueId(id as u16), &item));
            }
        }
        assert_eq!((merger.stats().late, merger.stats().lost), (0, 0));
        found
    }
}

/// How the wire is cut up; nothing of it may show in the evidence.
#[derive(Clone)]
pub struct Run {
    pub queues: usize,
    pub burst: usize,
    pub budget: usize,
    pub capacity: usize,
    pub seed: u64,
    pub settings: Settings,
}

impl Default for Run {
    fn default() -> Run {
        Run { queues: 1, burst: 64, budget: 64, capacity: 4096, seed: 1, settings: Settings::default() }
    }
}

struct Queue {
    table: FlowTable,
    observer: Observer,
    up: VecDeque<Up>,
}

impl Queue {
    fn new(run: &Run) -> Queue {
        let settings = flow::Settings { capacity: 1 << 17, ..flow::Settings::default() };
        Queue {
            table: FlowTable::new(settings, [9, 8, 7, 6]),
            observer: Observer::new(run.capacity, [0x9e37_79b9, 0x7f4a_7c15_0001, 0xf39c_c060_5ced_c834, 0x1082_276b]),
            up: VecDeque::new(),
        }
    }

    fn packet(&mut self, packet: &Packet) {
        let Queue { table, observer, up } = self;
        let mut packet = *packet;
        packet.hash = table.hash(&packet.key);
        let hint = table.probe(packet.hash);
        let mut give = |entry: &WindowEntry| up.push_back(Up::Window(*entry));
        let accounted =
            table.account(&packet, hint, |ended| observer.on_end(&ended, Protocol::Unknown, TunnelMark(0), &mut give));
        let (_, record, signals) = accounted.expect("the table is large enough");
        if !signals.is_empty() {
            observer.on_signals((record, Protocol::Unknown), signals, (packet.time, TunnelMark(0)), &mut give);
        }
    }

    fn after_burst(&mut self, id: usize, now: Timestamp, run: &Run) {
        let Queue { table, observer, up } = self;
        let mut give = |entry: &WindowEntry| up.push_back(Up::Window(*entry));
        table.expire(now, run.budget.max(4), |ended| {
            observer.on_end(&ended, Protocol::Unknown, TunnelMark(0), &mut give)
        });
        let reached = now.min(table.expired_until());
        let flushed = observer.flush(reached, run.budget, &mut give);
        up.push_back(Up::Watermark(QueueId(id as u16), flushed));
    }

    fn finish(&mut self, id: usize, now: Timestamp) {
        let Queue { table, observer, up } = self;
        let mut give = |entry: &WindowEntry| up.push_back(Up::Window(*entry));
        table.drain(now, |ended| observer.on_end(&ended, Protocol::Unknown, TunnelMark(0), &mut give));
        observer.flush(Timestamp(u64::MAX), usize::MAX, &mut give);
        up.push_back(Up::Ended(QueueId(id as u16)));
    }
}
