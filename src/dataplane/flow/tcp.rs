//! What a packet does to the state of a flow, as a pure function of what a tap can know.

use super::record::{Side, Signals, TcpState};
use crate::dataplane::decode::tcp_flags::{ACK, FIN, RST, SYN};

/// IP protocol number of TCP (RFC 9293).
pub(super) const PROTOCOL: u8 = 6;

/// Originator's packets after which a flow whose answers we do not see counts as established: an attacker needs that many
/// a flow to make his flood look like connections.
const ONE_WAY_PACKETS: u32 = 3;

/// Does this segment ask for a connection?
#[inline(always)]
pub(super) fn is_bare_syn(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// Next state and what to tell.
pub(super) struct Step {
    pub(super) state: TcpState,
    pub(super) signals: Signals,
}

/// One TCP packet of `side` with `flags` on a flow in `state`. `from_originator`: the originator's packets with this one;
/// `both_fin`: both sides have sent a FIN by now.
///
/// Sequence numbers are not checked: the table follows what hosts do, and a detector that judges forged segments has its
/// own state.
pub(super) fn step(state: TcpState, side: Side, flags: u8, from_originator: u32, both_fin: bool) -> Step {
    let told = if is_bare_syn(flags) { Signals::SYN } else { Signals::default() };
    let to = |state, signals: Signals| Step { state, signals: signals.with(told) };
    let stay = to(state, Signals::default());

    if flags & RST != 0 {
        return match (state, side) {
            (TcpState::Closed, _) => stay,
            (TcpState::New, Side::Responder) => to(TcpState::Closed, Signals::CLOSED.with(Signals::REFUSED)),
            _ => to(TcpState::Closed, Signals::CLOSED),
        };
    }
    match (state, side) {
        (TcpState::New, Side::Responder) => {
            let next = match flags & (SYN | FIN) {
                0 => TcpState::Established,
                FIN => TcpState::Closing,
                _ => TcpState::Answered,
            };
            to(next, Signals::ANSWERED)
        }
        (TcpState::New, Side::Originator) => {
            let goes_on = flags & (SYN | ACK | FIN) == ACK;
            if goes_on && from_originator >= ONE_WAY_PACKETS {
                to(TcpState::Established, Signals::default())
            } else {
                stay
            }
        }
        (TcpState::Answered, _) if flags & FIN != 0 => to(TcpState::Closing, Signals::default()),
        (TcpState::Answered, Side::Originator) if flags & (SYN | ACK) == ACK => {
            to(TcpState::Established, Signals::HANDSHAKE)
        }
        // Where the handshake's ACK went past us, the responder's data.
        (TcpState::Answered, Side::Responder) if flags & (SYN | ACK) == ACK => {
            to(TcpState::Established, Signals::default())
        }
        (TcpState::Established, Side::Originator) if flags & FIN != 0 => to(TcpState::Closing, Signals::HANDSHAKE),
        (TcpState::Established, Side::Responder) if flags & FIN != 0 => to(TcpState::Closing, Signals::default()),
        (TcpState::Closing, _) if both_fin => to(TcpState::Closed, Signals::CLOSED),
        _ => stay,
    }
}

/// One packet of another protocol.
pub(super) fn step_datagram(state: TcpState, side: Side) -> Step {
    if state == TcpState::New && side == Side::Responder {
        Step { state: TcpState::Established, signals: Signals::ANSWERED }
    } else {
        Step { state, signals: Signals::default() }
    }
}
