use super::*;
use crate::dataplane::decode::Direction;
use crate::units::{MILLISECOND, SECOND};

pub(crate) fn small(capacity: u32) -> FlowTable {
    FlowTable::new(Settings { capacity, ..Settings::default() }, [1, 2, 3, 4])
}

/// A packet from 10.0.0.`host`:`port` to 10.9.9.9:80, or back.
pub(crate) fn packet(table: &FlowTable, host: u32, port: u16, back: bool, flags: u8, time: u64) -> Packet {
    let (key, forward) = FlowKey::v4(0x0a00_0000 + host, port, 0x0a09_0909, 80, 6, 0);
    let direction = if back { forward.flip() } else { forward };
    Packet {
        key,
        hash: table.hash(&key),
        time: Timestamp(time),
        wire_bytes: 64,
        payload_bytes: 10,
        tcp_flags: flags,
        direction,
        ..Packet::default()
    }
}

const SYN: u8 = tcp_flags::SYN;
const ACK: u8 = tcp_flags::ACK;
const FIN: u8 = tcp_flags::FIN;
const RST: u8 = tcp_flags::RST;

/// Accounts and returns signals; ends go to `ends`.
fn run(table: &mut FlowTable, packet: &Packet, ends: &mut Vec<(EndReason, u64)>) -> Signals {
    let hint = table.probe(packet.hash);
    let outcome = table.account(packet, hint, |ended| ends.push((ended.reason, ended.at.0)));
    outcome.expect("not full").2
}

#[test]
fn a_connection_lives_and_dies() {
    let mut table = small(64);
    let mut ends = Vec::new();
    let script = [
        (false, SYN, Signals::NEW.with(Signals::SYN), TcpState::New),
        (true, SYN | ACK, Signals::ANSWERED, TcpState::Answered),
        (false, ACK, Signals::default(), TcpState::Established),
        (false, ACK, Signals::MILESTONE, TcpState::Established),
        (true, ACK, Signals::default(), TcpState::Established),
        (true, FIN | ACK, Signals::default(), TcpState::Closing),
        (false, FIN | ACK, Signals::CLOSED, TcpState::Closed),
        (true, ACK, Signals::default(), TcpState::Closed),
    ];
    for (step, (back, flags, signals, state)) in (0_u64..).zip(script) {
        let packet = packet(&table, 1, 1000, back, flags, SECOND + step * MILLISECOND);
        assert_eq!(run(&mut table, &packet, &mut ends), signals, "step {step}");
        let slot = table.probe(packet.hash);
        assert_eq!(table.records[slot as usize].state(), state, "step {step}");
    }
    assert_eq!((table.stats().flows, table.stats().half_open), (1, 0));
    let last = SECOND + 7 * MILLISECOND;
    table.expire(Timestamp(last + 2 * SECOND - 1), 100, |_| panic!("too early"));
    table.expire(Timestamp(last + 3 * SECOND), 100, |ended| ends.push((ended.reason, ended.at.0)));
    assert_eq!(ends, [(EndReason::Closed, last + 2 * SECOND)]);
    assert_eq!(table.stats().flows, 0);
    assert!(table.expired_until() > Timestamp(last + 2 * SECOND));
    let _ = Direction::Forward;
    let _ = RST;
}
