//! Who has shown that he gets what is sent to the address he writes: seen at the handshake itself and not at the flow's end.
//!
//! Beside the flow table, because a record has no room, with a place for each of its slots: so no flood can take another connection's
//! place. A source is proven when the answer to its SYN came in on the *other* port of the pair and it acknowledged exactly the number
//! that stood in it (RFC 9293 section 3.5): who writes another's address does not see that answer, and guesses one of 2^32. An answer
//! that comes in on the port of the SYN is no answer: whoever forges the one can forge the other. A tap cannot tell, so it proves
//! nobody. What remains: two who work together, one on each side of the pair, can prove any address to it.

use crate::dataplane::capture::FrameView;
use crate::dataplane::decode::{Packet, Tunnel, tcp_flags};
use crate::dataplane::flow::{FlowIndex, FlowRecord, Side, Signals};
use crate::dataplane::inspect::Segment;
use crate::units::{SECOND, Timestamp};

/// Addresses told lately; 32 bytes each. Two that meet in a place are told in turn, which costs a message each.
const TOLD: usize = 4096;
/// How long an address that was told is not told again: what is answered by a block asks for a proof of the last seconds.
const TOLD_NS: u64 = SECOND;

/// How far a handshake is, and of which of the flows that were in its slot.
#[derive(Clone, Copy, Default)]
struct Entry {
    first_seen: Timestamp,
    /// What the originator has to acknowledge; without meaning before the answer.
    number: u32,
    /// Where the SYN came in.
    port: u8,
    is_answered: bool,
    is_proven: bool,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// See the module.
pub struct Handshakes {
    entries: Vec<Entry>,
    told: Vec<(u128, Timestamp)>,
}

impl Handshakes {
    /// Memory, bytes; `slots`: those of the flow table, or none.
    pub fn bytes(slots: u32) -> usize {
        slots as usize * size_of::<Entry>()
    }

    /// For a table of so many slots; none where frames do not cross from port to port.
    pub fn new(slots: u32) -> Handshakes {
        let told = if slots > 0 { TOLD } else { 0 };
        Handshakes { entries: vec![Entry::default(); slots as usize], told: vec![(0, Timestamp(0)); told] }
    }

    /// Is anybody proven here?
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Is this packet of TCP one that may belong to a handshake?
    #[inline(always)]
    pub fn wants(&self, packet: &Packet, signals: Signals) -> bool {
        self.is_on()
            && packet.key.protocol() == 6
            && (packet.tcp.flags() & tcp_flags::SYN != 0 || signals.has(Signals::HANDSHAKE.with(Signals::MILESTONE)))
            && packet.tunnel == Tunnel::None
    }

    /// A packet of TCP that may belong to a handshake, already accounted to `record`. `Some`: with it the originator proved itself;
    /// `true` if that was not told of the address lately.
    #[inline(never)]
    pub fn see(
        &mut self,
        (packet, frame): (&Packet, FrameView<'_>),
        segment: &Segment<'_>,
        (index, record): (FlowIndex, &FlowRecord),
    ) -> Option<bool> {
        let is_originators = packet.direction == record.originator();
        let entry = self.entries.get_mut(index.slot as usize)?;
        let is_its = entry.first_seen == record.first_seen();
        match (segment.is_syn, segment.acknowledgement, is_originators) {
            (true, None, true) if !is_its => {
                *entry = Entry { first_seen: record.first_seen(), port: frame.port, ..Entry::default() };
                None
            }
            (true, Some(_), false) if is_its && frame.port != entry.port => {
                (entry.number, entry.is_answered) = (segment.sequence, true);
                None
            }
            (false, Some(number), true) => {
                let is_proof = is_its && entry.is_answered && frame.port == entry.port && number == entry.number;
                if !is_proof || entry.is_proven {
                    return None;
                }
                entry.is_proven = true;
                Some(self.is_news(packet, record))
            }
            _ => None,
        }
    }

    /// Did this flow, which is just being ended, prove its originator, who ended it without a byte?
    pub fn is_probe(&self, slot: u32, record: &FlowRecord) -> bool {
        let flags = |side| record.tcp_flags(side);
        self.entries.get(slot as usize).is_some_and(|entry| entry.is_proven && entry.first_seen == record.first_seen())
            && record.payload_bytes(Side::Originator) == 0
            && flags(Side::Originator) & (tcp_flags::RST | tcp_flags::FIN) != 0
            && flags(Side::Responder) & tcp_flags::RST == 0
    }

    fn is_news(&mut self, packet: &Packet, record: &FlowRecord) -> bool {
        let (source, _) = packet.key.endpoints(record.originator());
        let hash = (source.address as u64 ^ (source.address >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let Some(told) = self.told.get_mut((hash >> 52) as usize) else { return false };
        let is_old = told.0 == source.address && packet.time.since(told.1) < TOLD_NS;
        if !is_old {
            *told = (source.address, packet.time);
        }
        !is_old
    }
}

const _: () = assert!(TOLD == 1 << (64 - 52));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::LinkType;
    use crate::dataplane::decode::{FlowKey, TcpWord};
    use crate::dataplane::flow::{self, FlowTable};
    use tcp_flags::{ACK, FIN, RST, SYN};

    /// A connection between 10.0.0.7 and 10.0.0.1, packet by packet; gives which of them proved somebody.
    fn proves(packets: &[(bool, u8, u8, u32, u32)]) -> Vec<bool> {
        let mut table = FlowTable::new(flow::Settings { capacity: 64, ..flow::Settings::default() }, [1, 2, 3, 4]);
        let mut handshakes = Handshakes::new(64);
        let mut found = Vec::new();
        for (at, (is_clients, port, flags, sequence, acknowledgement)) in packets.iter().enumerate() {
            let (client, server) = ((0x0a00_0007, 40_000), (0x0a00_0001, 22));
            let (from, to) = if *is_clients { (client, server) } else { (server, client) };
            let (key, direction) = FlowKey::v4(from.0, from.1, to.0, to.1, 6, 0);
            let mut packet = Packet { key, direction, time: Timestamp(1_000 + at as u64), ..Packet::default() };
            packet.tcp = TcpWord::new(*flags, 1024);
            packet.hash = table.hash(&key);
            let hint = table.probe(packet.hash);
            let (index, record, signals) = table.account(&packet, hint, |_| ()).expect("room");
            let frame = FrameView { bytes: &[], wire_bytes: 60, time: None, link: LinkType::Ethernet, port: *port };
            let is_syn = flags & SYN != 0;
            let segment = Segment {
                header: &[],
                is_joined: false,
                sequence: sequence.wrapping_add(u32::from(is_syn)),
                acknowledgement: (flags & ACK != 0).then_some(*acknowledgement),
                is_syn,
                is_urgent: false,
                beginnings: [None; 2],
            };
            let wanted = handshakes.wants(&packet, signals);
            found.push(wanted && handshakes.see((&packet, frame), &segment, (index, record)).is_some());
            let ends = signals.has(Signals::CLOSED) || flags & FIN != 0;
            if let Some(last) = found.last_mut().filter(|_| ends && wanted || signals.has(Signals::CLOSED)) {
                *last |= handshakes.is_probe(index.slot, record);
            }
        }
        found
    }

    const CLIENT: bool = true;
    const SERVER: bool = false;

    #[test]
    fn who_acknowledges_the_answer_of_the_other_side_is_proven_with_that_packet() {
        let syn = (CLIENT, 0, SYN, 100, 0);
        let answer = (SERVER, 1, SYN | ACK, 5000, 101);
        for (name, packets, proven) in [
            ("a handshake", vec![syn, answer, (CLIENT, 0, ACK, 101, 5001)], true),
            ("an acknowledgement that was guessed", vec![syn, answer, (CLIENT, 0, ACK, 101, 5002)], false),
            ("no answer", vec![syn, (CLIENT, 0, ACK, 101, 5001)], false),
            (
                "an answer forged on the same side",
                vec![syn, (SERVER, 0, SYN | ACK, 5000, 101), (CLIENT, 0, ACK, 101, 5001)],
                false,
            ),
            (
                "one forged on the same side before the true one",
                vec![syn, (SERVER, 0, SYN | ACK, 7000, 101), answer, (CLIENT, 0, ACK, 101, 7001)],
                false,
            ),
            (
                "the true one behind a forged one",
                vec![syn, (SERVER, 0, SYN | ACK, 7000, 101), answer, (CLIENT, 0, ACK, 101, 5001)],
                true,
            ),
            (
                "a probe, told again when it ends",
                vec![syn, answer, (CLIENT, 0, ACK, 101, 5001), (CLIENT, 0, RST, 101, 0)],
                true,
            ),
            (
                "a probe that nobody closes on the other side",
                vec![syn, answer, (CLIENT, 0, ACK, 101, 5001), (CLIENT, 0, FIN | ACK, 101, 5001)],
                true,
            ),
            (
                "a refusal after the handshake is no probe",
                vec![syn, answer, (CLIENT, 0, ACK, 101, 5001), (SERVER, 1, RST, 5001, 0)],
                false,
            ),
            ("an acknowledgement from the other side", vec![syn, answer, (CLIENT, 1, ACK, 101, 5001)], false),
            ("a reset of who did not ask", vec![syn, answer, (CLIENT, 0, RST, 101, 0)], false),
            ("an answer to nothing", vec![answer, (CLIENT, 0, ACK, 101, 5001)], false),
        ] {
            let found = proves(&packets);
            assert_eq!(found.last(), Some(&proven), "{name}");
            let before = found[..found.len() - 1].iter().filter(|one| **one).count();
            assert_eq!(before, usize::from(packets.len() > 3 && name.contains("probe")), "{name}");
        }
    }

    #[test]
    fn it_is_told_once_a_second() {
        let mut handshakes = Handshakes::new(1);
        let (key, direction) = FlowKey::v4(0x0a00_0007, 1, 0x0a00_0001, 22, 6, 0);
        let record = FlowRecord::new(key, Timestamp(0));
        let originator = record.originator();
        let at = |seconds| Packet { key, direction, time: Timestamp(1 + seconds * SECOND / 10), ..Packet::default() };
        let told = [0, 1, 9, 11, 12].map(|seconds| handshakes.is_news(&at(seconds), &record));
        assert_eq!(told, [true, false, false, true, false], "{originator:?}");
        assert!(!Handshakes::new(0).is_on());
    }
}
