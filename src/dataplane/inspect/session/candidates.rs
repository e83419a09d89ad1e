//! What a flow may still be, by what its sides said so far and by its ports.

use super::super::inspector::Payload;
use super::super::parse::{Look, Match};
use super::super::parsers::{PROBES, Probe};
use super::super::protocol::Protocol;
use crate::dataplane::flow::Side;

/// Protocols that one side's bytes tell whatever the other one sent: who greets, or answers, does not depend on what was sent to
/// it, and a hello of TLS cannot be mistaken. Of the others both sides must look as they should, as far as they do.
const TOLD_BY_ONE: u64 = {
    use Protocol::{Ftp, Http, Imap, MySql, Pop3, Smtp, Ssh, Tls};
    let (mut mask, mut bit, mut left) = (0, 1, PROBES);
    while let [probe, rest @ ..] = left {
        if matches!(probe.protocol, Tls | Http | Ssh | Smtp | Ftp | Pop3 | Imap | MySql) {
            mask |= bit;
        }
        (bit, left) = (bit << 1, rest);
    }
    mask
};

/// Protocols that the first words of a client tell beyond doubt, whatever its server said before.
const SURE: u64 = {
    let (mut mask, mut bit, mut left) = (0, 1, PROBES);
    while let [probe, rest @ ..] = left {
        if probe.streams && probe.sure.is_some() {
            mask |= bit;
        }
        (bit, left) = (bit << 1, rest);
    }
    mask
};

/// The bit of a protocol.
pub(super) fn mask_of(protocol: Protocol) -> u64 {
    PROBES.iter().position(|probe| probe.protocol == protocol).map_or(0, |at| 1 << at)
}

/// The protocol that datagrams of this flow's ports usually are: the responder's port counts for more.
pub(in super::super) fn usual_of(payload: &Payload<'_>) -> Option<Protocol> {
    let (originator, responder) = payload.key.endpoints(payload.originator);
    usual(responder.port).or_else(|| usual(originator.port))
}

#[rustfmt::skip]
fn usual(port: u16) -> Option<Protocol> {
    Some(match port {
        53 => Protocol::Dns, 67 | 68 | 546 | 547 => Protocol::Dhcp, 69 => Protocol::Tftp, 88 => Protocol::Kerberos,
        123 => Protocol::Ntp, 137 | 138 => Protocol::Nbns, 161 | 162 => Protocol::Snmp, 389 => Protocol::Ldap,
        443 => Protocol::Quic, 500 | 4500 => Protocol::Ike, 514 => Protocol::Syslog, 1194 => Protocol::OpenVpn,
        1812 | 1813 => Protocol::Radius, 1900 => Protocol::Ssdp, 3478 => Protocol::Stun, 5060 => Protocol::Sip,
        5353 => Protocol::Mdns, 5355 => Protocol::Llmnr, 11211 => Protocol::Memcached, 51820 => Protocol::WireGuard,
        _ => return None,
    })
}

/// All of [`PROBES`].
pub(super) const ALL: u64 = u64::MAX >> (64 - PROBES.len());

/// What a flow may still be, as each side's bytes told: a bit for each of [`PROBES`].
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Candidates(pub(super) [u64; 2]);

impl Default for Candidates {
    fn default() -> Candidates {
        Candidates([ALL; 2])
    }
}

impl Candidates {
    /// Nothing but this protocol.
    pub(in super::super) fn only(protocol: Protocol) -> Candidates {
        Candidates([mask_of(protocol); 2])
    }

    /// What one side's datagrams are not, the other's are not either.
    pub(super) fn join(&mut self) {
        let Candidates([originator, responder]) = self;
        (*originator, *responder) = (*originator & *responder, *originator & *responder);
    }

    /// The sides change their roles: those that are not done may be anything again.
    pub(in super::super) fn turn(&mut self, done: [bool; 2]) {
        let Candidates(sides) = self;
        sides.reverse();
        sides.iter_mut().zip(done).filter(|(_, done)| !done).for_each(|(side, _)| *side = ALL);
    }

    /// May it still be something?
    pub(in super::super) fn is_open(&self) -> bool {
        self.left(Side::Originator) != 0 || self.left(Side::Responder) != 0
    }

    /// Do this side's bytes not speak against it?
    pub(super) fn may_be(&self, side: Side, protocol: Protocol) -> bool {
        self.0.get(side as usize).is_some_and(|own| own & mask_of(protocol) != 0)
    }

    /// What this side's bytes may still tell.
    fn left(&self, side: Side) -> u64 {
        let Candidates([originator, responder]) = *self;
        match side {
            Side::Originator => originator & (responder | TOLD_BY_ONE | SURE),
            Side::Responder => responder & (originator | TOLD_BY_ONE),
        }
    }

    /// Those of which this side must be sure, because the other one speaks against them.
    fn doubted(&self, side: Side) -> u64 {
        let Candidates([_, responder]) = *self;
        if side == Side::Originator { !(responder | TOLD_BY_ONE) } else { 0 }
    }

    /// Nothing that this side still says tells anything.
    pub(super) fn give_up(&mut self, side: Side) {
        self.keep(side, 0);
    }

    fn keep(&mut self, side: Side, mask: u64) {
        if let Some(own) = self.0.get_mut(side as usize) {
            *own &= mask;
        }
    }

    /// Asks the probes that this side's bytes have not made say no yet.
    pub(in super::super) fn identify(&mut self, look: &Look<'_>) -> Option<Protocol> {
        let (left, doubted) = (self.left(look.side), self.doubted(look.side));
        match self.ask(look, left & !doubted, |probe| Some(probe.look)) {
            None if left & doubted != 0 => self.ask(look, left & doubted, |probe| probe.sure),
            found => found,
        }
    }

    #[inline]
    fn ask(&mut self, look: &Look<'_>, mut left: u64, how: impl Fn(&Probe) -> Option<Ask>) -> Option<Protocol> {
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let probe = PROBES.get(bit as usize)?;
            let applies = if look.is_datagram { probe.datagrams } else { probe.streams };
            match how(probe).filter(|_| applies).map_or(Match::No, |ask| ask(look)) {
                Match::Yes => return Some(probe.protocol),
                Match::Maybe => {}
                Match::No => self.keep(look.side, !(1 << bit)),
            }
        }
        None
    }
}

/// See [`Probe::look`].
type Ask = fn(&Look<'_>) -> Match;
