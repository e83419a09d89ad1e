//! Which protocol words are of beyond doubt, whatever their flow was taken for so far.
//!
//! A greeting, or a datagram, anybody can put in front of what is to be hidden. What a client then says is what its server has
//! to understand, so where that is unmistakable it is believed. Each of these is a protocol's probe without what it makes of
//! ports, and of that only what has a mark which words of other protocols do not have by chance: four bytes that are always
//! the same or more, a word of its own, or a length that fits and several fields that do.
//!
//! `Maybe` is said where more bytes of the same line or head tell, never behind the end of a line: who said that may wait for
//! its answer.

use super::parse::{Look, Match};
use super::{
    bittorrent, dcerpc, dhcp, dnp3, dns, dtls, ftp, http, http2, ike, imap, kerberos, ldap, memcached, modbus, mongodb,
    mqtt, mysql, openvpn, pgsql, pop3, quic, rdp, redis, s7, sip, smb, smtp, snmp, socks, ssdp, ssh, stratum, stun,
    syslog, tls, wireguard,
};
use crate::dataplane::flow::Side;

/// As a probe, which sees no ports.
type Probe = fn(&Look<'_>) -> Match;

/// Of a stream, either side.
fn stream(look: &Look<'_>, probe: Probe) -> Match {
    if look.is_datagram { Match::No } else { probe(&Look { ports: [0; 2], ..*look }) }
}

/// Of a stream, what its client says.
fn client(look: &Look<'_>, probe: Probe) -> Match {
    if look.side == Side::Originator { stream(look, probe) } else { Match::No }
}

/// Of a client that talks in lines, by the first of them; answers begin otherwise.
fn lines(look: &Look<'_>, probe: Probe) -> Match {
    let end = look.bytes.iter().position(|byte| *byte == b'\n');
    let line = end.and_then(|end| look.bytes.get(..=end)).unwrap_or(look.bytes);
    match client(&Look { bytes: line, ..*look }, probe) {
        _ if matches!(line.first(), Some(b'+' | b'*')) => Match::No,
        Match::Maybe if end.is_some() => Match::No,
        found => found,
    }
}

fn datagram(look: &Look<'_>, probe: Probe) -> Match {
    if look.is_datagram { probe(&Look { ports: [0; 2], ..*look }) } else { Match::No }
}

fn either(look: &Look<'_>, probe: Probe) -> Match {
    probe(&Look { ports: [0; 2], ..*look })
}

/// May this be the first byte? Cheap, and so asked first.
fn begins(look: &Look<'_>, wanted: u8) -> bool {
    look.bytes.first().is_none_or(|first| *first == wanted)
}

/// A hello.
pub(super) fn tls(look: &Look<'_>) -> Match {
    if look.is_datagram { Match::No } else { tls::is_hello(look.bytes) }
}

/// A whole line of a method that is known.
pub(super) fn http(look: &Look<'_>) -> Match {
    if look.is_datagram { Match::No } else { http::is_request(look.bytes) }
}

/// A version.
pub(super) fn ssh(look: &Look<'_>) -> Match {
    if look.is_datagram { Match::No } else { ssh::is_version(look.bytes) }
}

/// A first byte that is no text, and what it announces.
pub(super) fn socks(look: &Look<'_>) -> Match {
    client(look, socks::begins)
}

pub(super) fn smb(look: &Look<'_>) -> Match {
    stream(look, smb::probe)
}

/// `EHLO` and the like.
pub(super) fn smtp(look: &Look<'_>) -> Match {
    match look.bytes.first() {
        Some(b'0'..=b'9') => Match::No,
        _ => lines(look, smtp::probe),
    }
}

/// A command that no other protocol has.
pub(super) fn ftp(look: &Look<'_>) -> Match {
    match look.bytes.first() {
        Some(b'0'..=b'9') => Match::No,
        _ => lines(look, ftp::probe),
    }
}

/// A command that no other protocol has.
pub(super) fn pop3(look: &Look<'_>) -> Match {
    lines(look, pop3::probe)
}

/// A tag, and a command.
pub(super) fn imap(look: &Look<'_>) -> Match {
    lines(look, imap::probe)
}

/// Two commands in a row.
pub(super) fn telnet(look: &Look<'_>) -> Match {
    let fits = |at: usize, byte: u8| match at % 3 {
        0 => byte == 255,
        1 => (251..=254).contains(&byte),
        _ => byte < 50 || byte == 255,
    };
    let is_client = !look.is_datagram && look.side == Side::Originator;
    match is_client && look.bytes.iter().take(6).enumerate().all(|(at, byte)| fits(at, *byte)) {
        false => Match::No,
        true if look.bytes.len() < 6 => Match::Maybe,
        true => Match::Yes,
    }
}

pub(super) fn http2(look: &Look<'_>) -> Match {
    client(look, http2::probe)
}

/// A command as a list.
pub(super) fn redis(look: &Look<'_>) -> Match {
    if begins(look, b'*') { client(look, redis::probe) } else { Match::No }
}

pub(super) fn bittorrent(look: &Look<'_>) -> Match {
    either(look, bittorrent::probe)
}

/// A call.
pub(super) fn stratum(look: &Look<'_>) -> Match {
    if begins(look, b'{') { lines(look, stratum::probe) } else { Match::No }
}

/// A startup message, or what asks for TLS.
pub(super) fn pgsql(look: &Look<'_>) -> Match {
    if begins(look, 0) { client(look, pgsql::probe) } else { Match::No }
}

/// A login: the second packet of the connection, with 19 reserved zeros.
pub(super) fn mysql(look: &Look<'_>) -> Match {
    if look.bytes.get(3).is_none_or(|number| *number == 1) { client(look, mysql::probe) } else { Match::No }
}

pub(super) fn mongodb(look: &Look<'_>) -> Match {
    client(look, mongodb::probe)
}

/// A connect.
pub(super) fn mqtt(look: &Look<'_>) -> Match {
    if begins(look, 0x10) || begins(look, 0xc0) { client(look, mqtt::probe) } else { Match::No }
}

/// Whole messages, of which the functions tell the lengths.
pub(super) fn modbus(look: &Look<'_>) -> Match {
    client(look, modbus::probe)
}

/// A checksum that fits.
pub(super) fn dnp3(look: &Look<'_>) -> Match {
    either(look, dnp3::probe)
}

/// What opens a connection: a frame of four bytes, of which three are zero.
pub(super) fn iec104(look: &Look<'_>) -> Match {
    let fits = |at: usize, byte: u8| match at {
        0 => byte == 0x68,
        1 => byte == 4,
        2 => matches!(byte, 0x07 | 0x13 | 0x43),
        _ => byte == 0,
    };
    let is_client = !look.is_datagram && look.side == Side::Originator;
    match is_client && look.bytes.iter().take(6).enumerate().all(|(at, byte)| fits(at, *byte)) {
        false => Match::No,
        true if look.bytes.len() < 6 => Match::Maybe,
        true => Match::Yes,
    }
}

/// A request to connect with both names of S7, which alone is to be answered; or a job.
pub(super) fn s7(look: &Look<'_>) -> Match {
    if !begins(look, 3) {
        return Match::No;
    }
    let is_whole = matches!(look.bytes, [3, 0, high, low, _, 0xe0, ..]
        if usize::from(u16::from_be_bytes([*high, *low])) <= look.bytes.len());
    match client(look, s7::probe) {
        Match::Maybe if is_whole => Match::Yes,
        found => found,
    }
}

pub(super) fn rdp(look: &Look<'_>) -> Match {
    client(look, rdp::probe)
}

/// A packet that opens a connection.
pub(super) fn quic(look: &Look<'_>) -> Match {
    datagram(look, quic::probe)
}

/// A hello: what else looks like records may be encrypted, or anything.
pub(super) fn dtls(look: &Look<'_>) -> Match {
    match look.bytes {
        [22, ..] | [1, 0, 0, 0, 22, ..] => datagram(look, dtls::probe),
        _ => Match::No,
    }
}

/// The cookie.
pub(super) fn stun(look: &Look<'_>) -> Match {
    let is_so = !look.is_datagram || look.bytes.get(4..8) == Some(&[0x21, 0x12, 0xa4, 0x42]);
    if is_so { either(look, stun::probe) } else { Match::No }
}

pub(super) fn kerberos(look: &Look<'_>) -> Match {
    either(look, kerberos::probe)
}

pub(super) fn ldap(look: &Look<'_>) -> Match {
    let is_so = look.is_datagram || look.side == Side::Originator;
    if is_so && begins(look, 0x30) { either(look, ldap::probe) } else { Match::No }
}

pub(super) fn dhcp(look: &Look<'_>) -> Match {
    datagram(look, dhcp::probe)
}

pub(super) fn snmp(look: &Look<'_>) -> Match {
    datagram(look, snmp::probe)
}

pub(super) fn ssdp(look: &Look<'_>) -> Match {
    datagram(look, ssdp::probe)
}

pub(super) fn sip(look: &Look<'_>) -> Match {
    either(look, sip::probe)
}

/// Questions and records that fill the message.
pub(super) fn dns(look: &Look<'_>) -> Match {
    if look.is_datagram { datagram(look, dns::probe) } else { client(look, dns::probe) }
}

pub(super) fn dcerpc(look: &Look<'_>) -> Match {
    client(look, dcerpc::probe)
}

pub(super) fn wireguard(look: &Look<'_>) -> Match {
    datagram(look, wireguard::probe)
}

pub(super) fn ike(look: &Look<'_>) -> Match {
    datagram(look, ike::probe)
}

pub(super) fn openvpn(look: &Look<'_>) -> Match {
    if look.is_datagram { datagram(look, openvpn::probe) } else { client(look, openvpn::probe) }
}

pub(super) fn memcached(look: &Look<'_>) -> Match {
    lines(look, memcached::probe)
}

/// A priority, and a date.
pub(super) fn syslog(look: &Look<'_>) -> Match {
    if look.is_datagram { datagram(look, syslog::probe) } else { client(look, syslog::probe) }
}
