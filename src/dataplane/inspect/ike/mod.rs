//! IKE version 1 (RFC 2408, RFC 2409) and 2 (RFC 7296), with NAT traversal (RFC 3948), one event a message.
//!
//! Reads the header and, while they are in the clear, which payloads there are, what is proposed, who makes it, and notices.
//! It deliberately does not: read keys, nonces, certificates or identities behind encryption; ESP in the same flow is
//! passed over.
//!
//! Bounds: 64 payloads, 64 transforms of a proposal with 16 attributes each.
//!
//! | fact | field of EVE (`ike`) |
//! | --- | --- |
//! | `version_major`, `version_minor`, `exchange_type`, `message_id` | the same; `exchange_type_verbose` by [`exchange_name`] |
//! | `init_spi`, `resp_spi` | the same, in hexadecimal |
//! | `is_response` | `role`: `initiator` or `responder` (version 2) |
//! | `payload` | `payload[]`: names |
//! | `vendor_id` | `ikev1.vendor_ids[]`, in hexadecimal |
//! | `is_encrypted` | `ikev1.encrypted_payloads` |
//! | `key_exchange_bytes`, `nonce_bytes` | `ikev1.client/server.key_exchange_payload_length`, `.nonce_payload_length` |
//! | `notify` | `ikev2.notify[]` |
//! | `encryption`, `key_bits`, `integrity`, `prf`, `dh_group`, `authentication` | `attributes[]` (`key`, `value`, `raw`) |
//! | `identity` | none |

mod payload;
pub(super) use payload::{ATTRIBUTES_MAX, PAYLOADS_MAX, PROPOSALS_MAX, TRANSFORMS_MAX};
#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::facts::Fact;
use super::parse::{Anomaly, Look, Match, Output, Parse, Step};
use super::protocol::Protocol;
use crate::dataplane::flow::Side;

const PROTOCOL: Protocol = Protocol::Ike;
/// 1 or 2.
pub const VERSION_MAJOR: Fact = Fact::number(PROTOCOL, 1, "version_major");
/// 0.
pub const VERSION_MINOR: Fact = Fact::number(PROTOCOL, 2, "version_minor");
/// Kind of the exchange.
pub const EXCHANGE: Fact = Fact::number(PROTOCOL, 3, "exchange_type");
/// Number that who begins chose.
pub const INIT_SPI: Fact = Fact::bytes(PROTOCOL, 4, "init_spi", 8);
/// Number that who answers chose.
pub const RESP_SPI: Fact = Fact::bytes(PROTOCOL, 5, "resp_spi", 8);
/// Number of the message.
pub const MESSAGE_ID: Fact = Fact::number(PROTOCOL, 6, "message_id");
/// Version 2: is it an answer?
pub const IS_RESPONSE: Fact = Fact::number(PROTOCOL, 7, "is_response");
/// Are the payloads encrypted?
pub const IS_ENCRYPTED: Fact = Fact::number(PROTOCOL, 8, "is_encrypted");
/// Kinds of the payloads.
pub const PAYLOAD: Fact = Fact::number(PROTOCOL, 9, "payload").repeated(32);
/// What makers call themselves.
pub const VENDOR_ID: Fact = Fact::bytes(PROTOCOL, 10, "vendor_id", 64).repeated(16);
/// Bytes of the key exchange.
pub const KEY_EXCHANGE_BYTES: Fact = Fact::number(PROTOCOL, 11, "key_exchange_bytes");
/// Bytes of the nonce.
pub const NONCE_BYTES: Fact = Fact::number(PROTOCOL, 12, "nonce_bytes");
/// Kinds of notices.
pub const NOTIFY: Fact = Fact::number(PROTOCOL, 13, "notify").repeated(16);
/// Ciphers proposed or chosen, by the numbers of their version.
pub const ENCRYPTION: Fact = Fact::number(PROTOCOL, 14, "encryption").repeated(32);
/// Lengths of keys.
pub const KEY_BITS: Fact = Fact::number(PROTOCOL, 15, "key_bits").repeated(32);
/// Integrity, version 2; hash, version 1.
pub const INTEGRITY: Fact = Fact::number(PROTOCOL, 16, "integrity").repeated(32);
/// Pseudo-random functions, version 2.
pub const PRF: Fact = Fact::number(PROTOCOL, 17, "prf").repeated(32);
/// Groups of Diffie and Hellman.
pub const DH_GROUP: Fact = Fact::number(PROTOCOL, 18, "dh_group").repeated(32);
/// Ways to authenticate, version 1 (1: a shared secret).
pub const AUTHENTICATION: Fact = Fact::number(PROTOCOL, 19, "authentication").repeated(16);
/// Who begins or answers, where it is told in the clear (aggressive mode).
pub const IDENTITY: Fact = Fact::text(PROTOCOL, 20, "identity", 128);

/// All facts.
#[rustfmt::skip]
pub const FACTS: &[Fact] = &[
    VERSION_MAJOR, VERSION_MINOR, EXCHANGE, INIT_SPI, RESP_SPI, MESSAGE_ID, IS_RESPONSE, IS_ENCRYPTED, PAYLOAD, VENDOR_ID,
    KEY_EXCHANGE_BYTES, NONCE_BYTES, NOTIFY, ENCRYPTION, KEY_BITS, INTEGRITY, PRF, DH_GROUP, AUTHENTICATION, IDENTITY,
];

/// Payloads that do not fill the message.
pub const MALFORMED: Anomaly = Anomaly::new(PROTOCOL, 1, "malformed");
/// A secret shared by a group is announced in the clear: aggressive mode with a shared secret can be guessed offline.
pub const AGGRESSIVE_SHARED_SECRET: Anomaly = Anomaly::new(PROTOCOL, 2, "aggressive_mode_shared_secret");
/// All anomalies.
pub const ANOMALIES: &[Anomaly] = &[MALFORMED, AGGRESSIVE_SHARED_SECRET];

const HEADER_BYTES: usize = 28;
const PORT: u16 = 500;
/// Messages of others (ESP) in a row after which nothing more is expected.
pub(super) const OTHERS_MAX: u16 = 512;

/// The header (RFC 7296 section 3.1; RFC 2408 section 3.1).
struct Header<'a> {
    init_spi: [u8; 8],
    resp_spi: [u8; 8],
    first: u8,
    version: u8,
    exchange: u8,
    flags: u8,
    message_id: u32,
    payloads: Reader<'a>,
    is_whole: bool,
}

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let mut reader = Reader::new(bytes);
    let (init_spi, resp_spi) = (reader.array::<8>()?, reader.array::<8>()?);
    let [first, version, exchange, flags] = reader.array::<4>()?;
    let (message_id, length) = (reader.be32()?, reader.be32()? as usize);
    let left = length.checked_sub(HEADER_BYTES)?;
    let known = match version >> 4 {
        1 => matches!(exchange, 0..=6 | 32..=34) && flags & 0xf8 == 0 && (first <= 21 || first >= 128),
        2 => matches!(exchange, 34..=44) && flags & 0xc7 == 0 && (first == 0 || (33..=54).contains(&first)),
        _ => false,
    };
    let payloads = Reader::new(reader.rest().get(..left).unwrap_or(reader.rest()));
    let is_whole = reader.len() >= left;
    (known && version & 15 == 0).then_some(Header {
        init_spi,
        resp_spi,
        first,
        version: version >> 4,
        exchange,
        flags,
        message_id,
        payloads,
        is_whole,
    })
}

impl Header<'_> {
    fn is_encrypted(&self) -> bool {
        if self.version == 1 { self.flags & 1 != 0 } else { matches!(self.first, 46 | 53) }
    }
}

/// The message behind the marker of NAT traversal (RFC 3948 section 2.2).
fn message(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(&[0; 4]).unwrap_or(bytes)
}

/// IKE? A header of either version whose length is the datagram's, and payloads that follow each other to its end; at port
/// 500 the header alone.
pub fn probe(look: &Look<'_>) -> Match {
    let bytes = message(look.bytes);
    let is = |header: Header<'_>| {
        let is_whole = header.is_whole && header.payloads.len() + HEADER_BYTES == bytes.len();
        let fits = || header.is_encrypted() || payload::fit(header.first, header.payloads);
        look.has_port(PORT) || is_whole && header.init_spi != [0; 8] && fits()
    };
    if look.is_datagram && header(bytes).is_some_and(is) { Match::Yes } else { Match::No }
}

/// How many datagrams of others came in a row.
#[derive(Default)]
pub struct State {
    others: u16,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        match header(message(bytes)) {
            Some(header) => {
                self.others = 0;
                read(&header, out);
                out.facts().sent_by(side);
                out.event();
            }
            None => self.others += 1,
        }
        if self.others > OTHERS_MAX {
            out.limit();
            return Step::Done;
        }
        Step::Took(bytes.len())
    }
}

fn read(header: &Header<'_>, out: &mut dyn Output) {
    let facts = out.facts();
    facts.put_number(VERSION_MAJOR, header.version.into());
    facts.put_number(VERSION_MINOR, 0);
    facts.put_number(EXCHANGE, header.exchange.into());
    facts.put(INIT_SPI, &header.init_spi);
    facts.put(RESP_SPI, &header.resp_spi);
    facts.put_number(MESSAGE_ID, header.message_id.into());
    if header.version == 2 {
        facts.put_number(IS_RESPONSE, u64::from(header.flags >> 5 & 1));
    }
    facts.put_number(IS_ENCRYPTED, header.is_encrypted().into());
    if header.is_encrypted() {
        if header.first != 0 {
            facts.put_number(PAYLOAD, header.first.into());
        }
        return;
    }
    if payload::read(header.version, header.first, header.payloads, out).is_none() {
        out.anomaly(MALFORMED);
    }
    let has_shared_secret = out.facts().all(AUTHENTICATION).any(|value| value == [1]);
    if header.version == 1 && header.exchange == 4 && has_shared_secret {
        out.anomaly(AGGRESSIVE_SHARED_SECRET);
    }
}

/// Name of an exchange (RFC 2408 section 3.1, RFC 2409, RFC 7296 section 3.1).
#[rustfmt::skip]
pub fn exchange_name(exchange: u64) -> Option<&'static str> {
    Some(match exchange {
        1 => "Base", 2 => "Identity Protection", 3 => "Authentication Only", 4 => "Aggressive", 5 => "Informational",
        6 => "Transaction (Config Mode)", 32 => "Quick Mode", 33 => "New Group Mode", 34 => "IKE_SA_INIT", 35 => "IKE_AUTH",
        36 => "CREATE_CHILD_SA", 37 => "INFORMATIONAL", 38 => "IKE_SESSION_RESUME", 43 => "IKE_INTERMEDIATE",
        _ => return None,
    })
}
