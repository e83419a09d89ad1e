//! `conn_state` and `history` from the flags of both sides.

use crate::dataplane::decode::tcp_flags::{ACK, FIN, RST, SYN};
use crate::exchange::FlowSummary;

/// One side of a TCP connection as it stood at the end, in Zeek's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Endpoint {
    /// It sent nothing.
    Inactive,
    /// It spoke without a SYN: we came in the middle.
    Partial,
    /// It sent a SYN that nobody answered with one.
    SynSent,
    /// The handshake is done.
    Established,
    /// It sent a FIN.
    Closed,
    /// It sent an RST.
    Reset,
}

impl Endpoint {
    fn of(flags: u8, packets: u64, peer_flags: u8) -> Endpoint {
        match () {
            () if packets == 0 => Endpoint::Inactive,
            () if flags & RST != 0 => Endpoint::Reset,
            () if flags & FIN != 0 => Endpoint::Closed,
            () if flags & SYN == 0 => Endpoint::Partial,
            () if peer_flags & SYN == 0 => Endpoint::SynSent,
            () => Endpoint::Established,
        }
    }

    /// Nothing of it is known from the connection's beginning.
    fn is_unseen(self) -> bool {
        matches!(self, Endpoint::Inactive | Endpoint::Partial)
    }
}

/// Zeek's summary of a connection (`Conn::Info$conn_state`): of TCP by the flags seen, of UDP by who spoke, of all else `OTH`.
pub fn conn_state(flow: &FlowSummary) -> &'static str {
    let [packets, answers] = flow.packets;
    match flow.key.protocol() {
        6 => of_tcp(flow),
        17 => match (packets, answers) {
            (1.., 1..) => "SF",
            (1.., 0) => "S0",
            (0, 1..) => "SHR",
            _ => "OTH",
        },
        _ => "OTH",
    }
}

fn of_tcp(flow: &FlowSummary) -> &'static str {
    let ([packets, answers], [flags, answer_flags]) = (flow.packets, flow.tcp_flags);
    let originator = Endpoint::of(flags, packets, answer_flags);
    let responder = Endpoint::of(answer_flags, answers, flags);
    match (originator, responder) {
        (Endpoint::SynSent, Endpoint::Reset) => "REJ",
        (Endpoint::Reset, Endpoint::Reset) if flow.payload == [0, 0] => "REJ",
        (_, Endpoint::Reset) if originator.is_unseen() => "RSTRH",
        (_, Endpoint::Reset) => "RSTR",
        // The bare attempt only: after a FIN, or without a SYN, Zeek gives it no name.
        (Endpoint::Reset, _) if responder.is_unseen() => match flags & (SYN | FIN) {
            SYN => "RSTOS0",
            _ => "OTH",
        },
        (Endpoint::Reset, _) => "RSTO",
        (Endpoint::Closed, Endpoint::Closed) => "SF",
        (Endpoint::Closed, _) if responder.is_unseen() => "SH",
        (Endpoint::Closed, _) => "S2",
        (_, Endpoint::Closed) if originator.is_unseen() => "SHR",
        (_, Endpoint::Closed) => "S3",
        (Endpoint::SynSent, Endpoint::Inactive) => "S0",
        (Endpoint::Established, Endpoint::Established) => "S1",
        _ => "OTH",
    }
}

/// What is known of Zeek's `history`: a SYN/ACK without its SYN turned the direction round (`^`), SYN (`S`), SYN/ACK (`H`),
/// pure acknowledgements among the first packets (`A`), data (`D`), data that came again while they were inspected (`T`), FIN
/// (`F`), RST (`R`), in capitals for the originator. The order is the usual one, but of whose data and whose end came first,
/// which is known. Left out because it is not kept: whose gaps they are (`G`; how many bytes says `missed_bytes`), windows of
/// zero (`W`), wrong
/// checksums (`C`), contradicting flags (`I`, `Q`), how often a letter came, and the order between data and the other side's
/// end. Protocols without ports have none, as with Zeek.
pub(super) fn history(flow: &FlowSummary) -> String {
    let mut text = String::new();
    let is_tcp = match flow.key.protocol() {
        6 => true,
        17 => false,
        _ => return text,
    };
    let mut add = |letter: char, responder: bool| {
        text.push(if responder { letter.to_ascii_lowercase() } else { letter });
    };
    let flags = |responder: bool| if is_tcp { flow.tcp_flags[usize::from(responder)] } else { 0 };
    if flags(false) & SYN == 0 && flags(true) & (SYN | ACK) == SYN | ACK {
        add('^', false);
    }
    for responder in [false, true] {
        match flags(responder) & (SYN | ACK) {
            SYN => add('S', responder),
            // The flags of all its packets together: an originator's SYN and its later ACKs, a responder's SYN/ACK.
            both if both == SYN | ACK => add(if responder { 'H' } else { 'S' }, responder),
            _ => {}
        }
    }
    let acknowledged = |responder: bool| flow.acknowledged[usize::from(responder)];
    let mut is_said = [false; 2];
    let mut acknowledge = |responder: bool, add: &mut dyn FnMut(char, bool)| {
        if acknowledged(responder) && !std::mem::replace(&mut is_said[usize::from(responder)], true) {
            add('A', responder);
        }
    };
    // The third packet of a handshake comes before what is said; all else is acknowledged after it was.
    if flags(false) & flags(true) & SYN != 0 {
        acknowledge(false, &mut add);
    }
    for responder in order(flow.responder_spoke_first) {
        if flow.payload[usize::from(responder)] > 0 {
            add('D', responder);
            acknowledge(!responder, &mut add);
        }
        if flow.losses.is_some_and(|losses| losses.repeated[usize::from(responder)]) {
            add('T', responder);
        }
    }
    for responder in order(flow.responder_spoke_first) {
        acknowledge(responder, &mut add);
    }
    for responder in order(flow.responder_closed_first) {
        for (flag, letter) in [(FIN, 'F'), (RST, 'R')] {
            if flags(responder) & flag != 0 {
                add(letter, responder);
            }
        }
    }
    text
}

/// Which side comes first: responder or not.
fn order(responder_first: bool) -> [bool; 2] {
    [responder_first, !responder_first]
}
