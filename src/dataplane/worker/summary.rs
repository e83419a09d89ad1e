//! What a flow came to, put together of what is kept of it in several places.

use crate::dataplane::decode::{Outer, tcp_flags};
use crate::dataplane::flow::{EndReason, FlowRecord, Side};
use crate::dataplane::inspect::{Protocol, Unread};
use crate::exchange::FlowSummary;
use crate::units::Timestamp;

/// What a flow carried, as far as inspection told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// The protocol.
    pub application: Protocol,
    /// What it was before it turned into that; may be the same.
    pub began_as: Protocol,
    /// It tells that the originator is the server, of a connection met in mid-stream.
    pub is_turned: bool,
    /// Why it was not wholly read; told when the flow has ended.
    pub unread: Unread,
}

/// What a flow came to; originator and responder as what it carried tells.
pub fn summary(
    record: &FlowRecord,
    Carried { application, began_as, is_turned, unread }: Carried,
    ended: Option<EndReason>,
    outer: Option<Outer>,
) -> FlowSummary {
    let of = |side: Side| if is_turned { side.other() } else { side };
    let flags = |side| if record.key.protocol() == 6 { record.tcp_flags(side) } else { 0 };
    let has_closed = sides(flags).iter().any(|flags| flags & (tcp_flags::FIN | tcp_flags::RST) != 0);
    let [originator, responder] = record.icmp();
    let first = record.first_sizes().next();
    let responder_side = of(Side::Responder);
    let early: u32 = record.first_sizes().filter(|(side, _)| *side == responder_side).map(|(_, size)| size).sum();
    let window = |side| if record.key.protocol() == 6 { record.first_window(side) } else { 0 };
    FlowSummary {
        key: record.key,
        originator: if is_turned { record.originator().flip() } else { record.originator() },
        is_turned,
        first_seen: record.first_seen(),
        last_seen: record.last_seen,
        packets: sides(|side| u64::from(record.packets(of(side)))),
        bytes: sides(|side| record.bytes(of(side))),
        payload: sides(|side| record.payload_bytes(of(side))),
        later_answer: record.payload_bytes(responder_side).saturating_sub(u64::from(early)),
        first_windows: sides(|side| window(of(side))),
        tcp_flags: sides(|side| flags(of(side))),
        icmp: if is_turned { [responder, originator] } else { [originator, responder] },
        acknowledged: sides(|side| record.key.protocol() == 6 && record.has_acknowledged(of(side))),
        responder_closed_first: has_closed && record.responder_closed_first() != is_turned,
        responder_spoke_first: first.is_some_and(|(side, _)| side == of(Side::Responder)),
        score: record.score(),
        application,
        began_as: if began_as == application { Protocol::Unknown } else { began_as },
        state: record.state(),
        ended,
        ended_at: Timestamp(0),
        outer,
        shape: None,
        losses: None,
        unread,
        stacks: Default::default(),
        links: None,
    }
}

/// A value of each side, originator first.
pub(super) fn sides<T>(of: impl Fn(Side) -> T) -> [T; 2] {
    [of(Side::Originator), of(Side::Responder)]
}
