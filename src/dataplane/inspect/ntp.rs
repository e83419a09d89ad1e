//! NTP (RFC 5905), its control messages (RFC 9327) and ntpd's private mode 7, one event a message.
//!
//! Reads version, mode, stratum, reference; of modes 6 and 7 what they ask for, and names the request and the answer that
//! amplify (`monlist`). It deliberately does not: compute offsets, read extension fields, or check authentication. SNTP is
//! the same on the wire.
//!
//! Recognition: the structure is weak (a first byte and plausible numbers), so port 123 is asked for, or a time stamp of
//! these decades together with numbers that all fit; modes 6 and 7 are known at their port only.
//!
//! | fact | field of EVE (`ntp`) |
//! | --- | --- |
//! | `version`, `mode`, `stratum` | the same |
//! | `reference_id` | `reference_id`: text for stratum 0 and 1, else an address |
//! | `leap`, `poll`, `opcode`, `request_code`, `items` | none |

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Ntp;
/// Version, 1 to 4.
pub const VERSION: Fact = Fact::number(PROTOCOL, 1, "version");
/// 1, 2 symmetric, 3 client, 4 server, 5 broadcast, 6 control, 7 private.
pub const MODE: Fact = Fact::number(PROTOCOL, 2, "mode");
/// Distance from a clock.
pub const STRATUM: Fact = Fact::number(PROTOCOL, 3, "stratum");
/// Source of the time: four letters, an address, or part of a digest.
pub const REFERENCE_ID: Fact = Fact::bytes(PROTOCOL, 4, "reference_id", 4);
/// Warning of a leap second; 3: not in step.
pub const LEAP: Fact = Fact::number(PROTOCOL, 5, "leap");
/// Exponent of the interval, seconds.
pub const POLL: Fact = Fact::number(PROTOCOL, 6, "poll");
/// What a control message asks for.
pub const OPCODE: Fact = Fact::number(PROTOCOL, 7, "opcode");
/// What a private message asks for.
pub const REQUEST_CODE: Fact = Fact::number(PROTOCOL, 8, "request_code");
/// Items that an answer in private mode has.
pub const ITEMS: Fact = Fact::number(PROTOCOL, 9, "items");
/// 1: an answer, in modes 6 and 7.
pub const IS_RESPONSE: Fact = Fact::number(PROTOCOL, 10, "is_response");

/// All facts.
pub const FACTS: &[Fact] =
    &[VERSION, MODE, STRATUM, REFERENCE_ID, LEAP, POLL, OPCODE, REQUEST_CODE, ITEMS, IS_RESPONSE];

/// Shorter than its mode asks for.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A request for the list of clients: the known amplifier (CVE-2013-5211).
pub const MONLIST_REQUEST: Anomaly = Anomaly::new(PROTOCOL, 2, "monlist_request");
/// Somebody answers it.
pub const MONLIST_RESPONSE: Anomaly = Anomaly::new(PROTOCOL, 3, "monlist_response");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, MONLIST_REQUEST, MONLIST_RESPONSE];

const PORT: u16 = 123;
/// Bytes of the header of modes 1 to 5.
const HEADER_BYTES: usize = 48;
/// `REQ_MON_GETLIST` and `REQ_MON_GETLIST_1` of ntpd's `ntp_request.h`.
const MONLIST: [u8; 2] = [20, 42];

/// The largest code of `ntp_request.h`.
const PRIVATE_MAX: u8 = 45;

/// NTP? See the module.
pub fn probe(look: &Look<'_>) -> Match {
    if !look.is_datagram {
        return Match::No;
    }
    let Some(&first) = look.bytes.first() else { return Match::No };
    let (version, mode) = (first >> 3 & 7, first & 7);
    let at_port = look.has_port(PORT);
    let is = match mode {
        1..=5 => (1..=4).contains(&version) && time_is_plausible(look.bytes, at_port),
        6 => at_port && (1..=4).contains(&version) && control_is_plausible(look.bytes),
        7 => at_port && (1..=4).contains(&version) && private_is_plausible(look.bytes),
        // Version 1 had no modes but ports (RFC 1059).
        _ => at_port && version == 1 && look.bytes.len() == HEADER_BYTES && time_is_plausible(look.bytes, at_port),
    };
    if is { Match::Yes } else { Match::No }
}

fn time_is_plausible(bytes: &[u8], at_port: bool) -> bool {
    let header = || {
        let mut reader = Reader::new(bytes);
        let [_, stratum, poll, precision] = reader.array::<4>()?;
        let (delay, dispersion, _reference) = (reader.be32()?, reader.be32()?, reader.be32()?);
        let times = [reader.be64()?, reader.be64()?, reader.be64()?, reader.be64()?];
        // 0x20 is what clients say who do not want to be told apart (draft-ietf-ntp-data-minimization).
        let precision_fits = matches!(precision, 0 | 0x20 | 0xe0..);
        let fits = stratum <= 16 && (poll <= 17 || poll >= 0xfa) && precision_fits && bytes.len().is_multiple_of(4);
        // 1990 to 2036 in seconds since 1900.
        let is_date = |time: u64| time == 0 || time >> 32 >= 0xa93f_0000;
        let is_dated = times.iter().all(|time| is_date(*time)) && times[3] != 0;
        let is_whole = matches!(bytes.len(), 48 | 52 | 60 | 68 | 72) && delay < 1 << 20 && dispersion < 1 << 22;
        // Old clients leave all but the first byte empty, or put anything into the times.
        Some(fits && (at_port || is_dated && is_whole))
    };
    header().unwrap_or(false)
}

/// A control message has its length in the header, and known commands (RFC 9327 section 2); a check may follow.
fn control_is_plausible(bytes: &[u8]) -> bool {
    let Some(&[_, second, .., high, low]) = bytes.first_chunk::<12>() else { return false };
    let whole = 12 + usize::from(u16::from_be_bytes([high, low])).next_multiple_of(4);
    matches!(second & 31, 0..=12 | 31) && (whole..=whole + 28).contains(&bytes.len().next_multiple_of(4))
}

/// A private message has a known implementation and code, and room for the items it tells of.
fn private_is_plausible(bytes: &[u8]) -> bool {
    let Some(&[_, _, implementation, code, items @ ..]) = bytes.first_chunk::<8>() else { return false };
    let [items_high, items_low, size_high, size_low] = items;
    let count = usize::from(u16::from_be_bytes([items_high & 0x0f, items_low]));
    let size = usize::from(u16::from_be_bytes([size_high, size_low]));
    matches!(implementation, 0 | 2 | 3) && code <= PRIVATE_MAX && size < 0x1000 && count * size <= bytes.len()
}

/// Nothing needs to be remembered.
#[derive(Default)]
pub struct State;

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        if message(bytes, out).is_none() {
            out.anomaly(MALFORMED);
        }
        out.facts().sent_by(side);
        out.event();
        Step::Took(bytes.len())
    }
}

fn message(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let [first, second, third, fourth] = reader.array::<4>()?;
    let mode = first & 7;
    out.facts().put_number(VERSION, u64::from(first >> 3 & 7));
    out.facts().put_number(MODE, mode.into());
    match mode {
        6 => {
            out.facts().put_number(IS_RESPONSE, u64::from(second >> 7));
            out.facts().put_number(OPCODE, u64::from(second & 31));
        }
        7 => private(first, [third, fourth], reader, out)?,
        _ => {
            out.facts().put_number(LEAP, u64::from(first >> 6));
            out.facts().put_number(STRATUM, second.into());
            out.facts().put_number(POLL, third.into());
            let (_delay, _dispersion) = (reader.be32()?, reader.be32()?);
            out.facts().put(REFERENCE_ID, &reader.array::<4>()?);
            reader.take(HEADER_BYTES - 16)?;
        }
    }
    Some(())
}

/// Mode 7, ntpd's own (`ntp_request.h`).
fn private(first: u8, [_implementation, code]: [u8; 2], mut rest: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let is_response = first & 0x80 != 0;
    out.facts().put_number(IS_RESPONSE, is_response.into());
    out.facts().put_number(REQUEST_CODE, code.into());
    if MONLIST.contains(&code) {
        out.anomaly(if is_response { MONLIST_RESPONSE } else { MONLIST_REQUEST });
    }
    let items = rest.be16()? & 0x0fff;
    out.facts().put_number(ITEMS, items.into());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::hostile::{datagram, show_one, torment_datagram};

    const PORTS: [u16; 2] = [40_000, PORT];

    fn answer() -> Vec<u8> {
        let mut bytes = b"\x24\x02\x06\xe9\0\0\x0a\0\0\0\x02\0\xc0\0\x02\x01".to_vec();
        for second in 0..4 {
            bytes.extend([0xe5, 0, 0, second, 1, 2, 3, 4]);
        }
        bytes
    }

    #[test]
    fn time_and_its_source_are_read() {
        let facts = show_one::<State>(&answer()).events.remove(0);
        assert_eq!((facts.number(VERSION), facts.number(MODE), facts.number(STRATUM)), (Some(4), Some(4), Some(2)));
        assert_eq!(facts.get(REFERENCE_ID), Some(&[192, 0, 2, 1][..]));
        assert_eq!(probe(&datagram(&answer(), [1, 2])), Match::Yes, "whole and dated, at any port");
        let mut client = vec![0x1b];
        client.resize(48, 0);
        assert_eq!(probe(&datagram(&client, PORTS)), Match::Yes);
        assert_eq!(probe(&datagram(&client, [1, 2])), Match::No, "empty: only at the port");
        torment_datagram::<State>(&answer(), PORTS, probe);
    }

    #[test]
    fn random_bytes_at_the_port_are_none() {
        let mut state = 1_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let taken = (0..20_000).filter(|_| {
            let length = 8 + random() as usize % 100;
            let bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            probe(&datagram(&bytes, PORTS)) == Match::Yes
        });
        assert!(taken.count() <= 5, "of 20000");
    }

    #[test]
    fn lists_of_clients_are_an_anomaly() {
        let request = b"\x17\0\x03\x2a\0\0\0\0";
        assert_eq!(probe(&datagram(request, PORTS)), Match::Yes);
        assert_eq!(show_one::<State>(request).anomalies, ["monlist_request"]);
        let out = show_one::<State>(b"\x97\0\x03\x2a\0\x06\0\x48");
        assert_eq!((out.anomalies, out.events[0].number(ITEMS)), (vec!["monlist_response"], Some(6)));
        let control = b"\x16\x02\0\x01\0\0\0\0\0\0\0\0";
        assert_eq!(probe(&datagram(control, PORTS)), Match::Yes);
        assert_eq!(show_one::<State>(control).events[0].number(OPCODE), Some(2));
        assert_eq!(show_one::<State>(&[0x23; 20]).anomalies, ["malformed"]);
        torment_datagram::<State>(request, PORTS, probe);
    }
}
