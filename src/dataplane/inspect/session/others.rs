//! Datagrams of other protocols in a flow that is something already.
//!
//! One datagram, which anybody can send, must not hide what follows it; and one flow may hold several protocols: STUN, DTLS,
//! media and what they protect share the ports of a call and are told apart by what each datagram begins with (RFC 7983). So
//! what is no datagram of the flow's protocol is looked at for those that are beyond doubt ([`super::super::sure`]): the first
//! [`OTHERS_LOOKED`] of each side, and in calls all, for STUN and DTLS. What is found is the flow's from there on, but for
//! STUN in a call that has come to DTLS or media, which is told beside it.

use super::super::facts::Facts;
use super::super::inspector::Sink;
use super::super::parse::{Look, Match};
use super::super::parsers::{PROBES, Parser};
use super::super::protocol::Protocol;
use super::super::rtp;
use super::super::scratch::Scratch;
use super::{Out, Session, look};
use crate::dataplane::flow::Side;

/// Datagrams of a side, of which the flow's protocol says nothing or wants no more, that are looked at for others.
pub const OTHERS_LOOKED: u8 = 8;

/// Whose a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// The flow's protocol's, as far as is known.
    Own,
    /// Another one's, which is the flow's from here on.
    Other,
    /// Another one's, which was told; the flow's stays.
    Beside,
}

/// Is this datagram shown to its parser before others are asked? Those of DNS and its like are, which are most of all, where
/// their numbers of questions and records are ones that fit (RFC 1035 section 4.1.1): what they cannot read they tell by an
/// anomaly.
pub(super) fn is_shown_first(protocol: Protocol, bytes: &[u8]) -> bool {
    matches!(protocol, Protocol::Dns | Protocol::Mdns | Protocol::Llmnr | Protocol::Nbns)
        && matches!(bytes, [_, _, _, _, 0, _, 0, _, 0, _, 0, _, ..])
}

/// Tells what is still to be told of a parser that is given up; the scratch is clean behind it.
pub(super) fn leave<S: Sink>(parser: &mut Parser, scratch: Option<&mut Scratch>, out: &mut Out<'_, S>) {
    if let (Parser::Quic(_) | Parser::Dtls(_), Some(scratch)) = (&*parser, scratch) {
        scratch.clear();
    }
    parser.end(out);
}

impl<S: Sink> Session<'_, '_, S> {
    /// Whose is this datagram? `carried`: what the flow was before its parser. `looked`: how many of this side were looked at;
    /// `None`: it is not counted. `rests`: the parser wants no more of it.
    #[cold]
    pub(super) fn others(&mut self, carried: &mut Protocol, mut looked: Option<&mut u8>, rests: bool) -> Heard {
        use Protocol::{Dtls, Quic, Rtp, Stun, Unknown};
        let told = self.parser.protocol();
        let latest = if told == Unknown { *carried } else { told };
        let is_call = matches!(latest, Stun | Dtls | Rtp);
        let is_full = looked.as_ref().is_some_and(|looked| **looked >= OTHERS_LOOKED);
        if is_full && (rests || !is_call) {
            return Heard::Own;
        }
        let look = look(self.out.payload, self.side, self.out.payload.bytes);
        let own = PROBES.iter().find(|probe| probe.protocol == told);
        let is_own = own.is_some_and(|probe| (probe.look)(&look) == Match::Yes);
        // A client whose handshake is over, or seemed to be, may begin another one.
        let is_again = rests && latest == Dtls && self.side == Side::Originator;
        let found = if is_own && !is_again { None } else { surely(&look, latest, is_again, is_full) };
        if rests || !is_own && found.is_none() {
            looked.iter_mut().for_each(|looked| **looked = looked.saturating_add(1));
        }
        match found {
            Some(Stun) if matches!(latest, Dtls | Rtp | Quic) => {
                self.beside(Stun, &look);
                return Heard::Beside;
            }
            Some(protocol) => {
                self.becomes_other(protocol, carried, &look);
                return Heard::Other;
            }
            None => {}
        }
        let may_be_media = !is_own && !is_full && is_call && matches!(told, Stun | Unknown);
        if may_be_media && rtp::probe(&look) == Match::Yes {
            self.becomes_other(Rtp, carried, &look);
            return Heard::Other;
        }
        Heard::Own
    }

    fn becomes_other(&mut self, protocol: Protocol, carried: &mut Protocol, look: &Look<'_>) {
        let told = self.parser.told();
        if told != Protocol::Unknown {
            *carried = told;
        }
        leave(self.parser, self.scratch.as_deref_mut(), self.out);
        self.becomes(protocol, look);
    }

    /// Tells a datagram that has nothing to do with what the flow's parser is at.
    fn beside(&mut self, protocol: Protocol, look: &Look<'_>) {
        let (mut facts, out) = (Facts::default(), &mut *self.out);
        let (counts, payload, source) = (&mut *out.counts, out.payload, out.source);
        let told =
            Out::new(&mut facts, &mut *out.sink, counts, &mut *out.remembered, &mut *out.allowances, payload, protocol)
                .of(source);
        let mut told = Out { side: self.side, ..told };
        let mut parser = Parser::new(protocol);
        parser.begin(look);
        parser.step(self.side, look.bytes, &mut told);
        parser.end(&mut told);
    }
}

/// Which protocol is it beyond doubt, but the latest one unless that may be? `few`: of those of calls.
fn surely(look: &Look<'_>, latest: Protocol, is_again: bool, few: bool) -> Option<Protocol> {
    let is_call = |protocol| matches!(protocol, Protocol::Stun | Protocol::Dtls);
    let is_asked = |one: Protocol| (one != latest || is_again) && (!few || is_call(one));
    let mut probes = PROBES.iter().filter(|probe| probe.datagrams && is_asked(probe.protocol));
    probes.find(|probe| probe.sure.is_some_and(|sure| sure(look) == Match::Yes)).map(|probe| probe.protocol)
}
