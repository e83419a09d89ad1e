//! `ike`.

use super::{Found, hex, list, put, put_object, word};
use crate::dataplane::inspect::{Fact, ike, number};
use serde_json::{Map, Value, json};

/// One message.
pub fn object(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let is_old = facts.peek(ike::VERSION_MAJOR) == Some(1);
    let exchange = facts.peek(ike::EXCHANGE).and_then(ike::exchange_name);
    // Who speaks: of version 1 only the first message tells it, before the responder has a number.
    let is_first = facts.first(ike::RESP_SPI).is_some_and(|spi| spi.iter().all(|byte| *byte == 0));
    let places = [
        ("version_major", ike::VERSION_MAJOR),
        ("version_minor", ike::VERSION_MINOR),
        ("exchange_type", ike::EXCHANGE),
        ("message_id", ike::MESSAGE_ID),
        ("init_spi", ike::INIT_SPI),
        ("resp_spi", ike::RESP_SPI),
    ];
    facts.place(&mut object, &places);
    put(&mut object, "exchange_type_verbose", exchange);
    let payloads = facts.all(ike::PAYLOAD).into_iter().map(|kind| payload_name(is_old, number(kind)));
    put(&mut object, "payload", list(payloads.collect()));
    let mut attributes = Vec::new();
    for (key, fact, name) in ATTRIBUTES {
        // The integrity of version 2 is what version 1 calls the hash, and stands as Suricata has it.
        if fact.index == ike::AUTHENTICATION.index && !is_old {
            continue;
        }
        let key = if *key == "alg_hash" && !is_old { "alg_auth" } else { key };
        let one = |value: &[u8]| {
            let raw = number(value);
            json!({"key": key, "value": word(name(is_old, raw), raw), "raw": raw})
        };
        attributes.extend(facts.all(*fact).into_iter().map(one));
    }
    put(&mut object, "attributes", list(attributes));
    if is_old {
        put_object(&mut object, "ikev1", version_1(facts, is_first));
    } else {
        put_object(&mut object, "ikev2", version_2(facts));
        let role = facts.yes_no(ike::IS_RESPONSE).map(|is| if is { "responder" } else { "initiator" });
        put(&mut object, "role", role);
    }
    object
}

fn version_1(facts: &mut Found<'_>, is_first: bool) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "encrypted_payloads", facts.yes_no(ike::IS_ENCRYPTED));
    put(&mut object, "vendor_ids", list(facts.all(ike::VENDOR_ID).into_iter().map(hex).collect()));
    if is_first {
        let mut client = Map::new();
        let places =
            [("key_exchange_payload_length", ike::KEY_EXCHANGE_BYTES), ("nonce_payload_length", ike::NONCE_BYTES)];
        facts.place(&mut client, &places);
        put_object(&mut object, "client", client);
    }
    object
}

fn version_2(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let notices = facts.all(ike::NOTIFY).into_iter().map(number).map(|kind| word(notice(kind), kind));
    put(&mut object, "notify", list(notices.collect()));
    object
}

type Name = fn(bool, u64) -> Option<&'static str>;

/// Key in the schema, fact, names of its values.
const ATTRIBUTES: &[(&str, Fact, Name)] = &[
    ("alg_enc", ike::ENCRYPTION, encryption),
    ("sa_key_length", ike::KEY_BITS, |_, _| None),
    ("alg_hash", ike::INTEGRITY, integrity),
    ("alg_dh", ike::DH_GROUP, group),
    ("alg_auth", ike::AUTHENTICATION, |_, kind| authentication(kind)),
];

/// RFC 2409 appendix A; RFC 7296 section 3.3.2.
#[rustfmt::skip]
fn encryption(is_old: bool, kind: u64) -> Option<&'static str> {
    Some(match (is_old, kind) {
        (true, 1) => "EncDesCbc", (true, 2) => "EncIdeaCbc", (true, 3) => "EncBlowfishCbc", (true, 4) => "EncRc5R16B64Cbc",
        (true, 5) => "Enc3DesCbc", (true, 6) => "EncCastCbc", (true, 7) => "EncAesCbc", (true, 8) => "EncCamelliaCbc",
        (false, 2) => "ENCR_DES", (false, 3) => "ENCR_3DES", (false, 11) => "ENCR_NULL", (false, 12) => "ENCR_AES_CBC",
        (false, 13) => "ENCR_AES_CTR", (false, 18) => "ENCR_AES_GCM_8", (false, 19) => "ENCR_AES_GCM_12",
        (false, 20) => "ENCR_AES_GCM_16", (false, 28) => "ENCR_CHACHA20_POLY1305",
        _ => return None,
    })
}

#[rustfmt::skip]
fn integrity(is_old: bool, kind: u64) -> Option<&'static str> {
    Some(match (is_old, kind) {
        (true, 1) => "HashMd5", (true, 2) => "HashSha", (true, 3) => "HashTiger", (true, 4) => "HashSha2_256",
        (true, 5) => "HashSha2_384", (true, 6) => "HashSha2_512",
        (false, 0) => "NONE", (false, 1) => "AUTH_HMAC_MD5_96", (false, 2) => "AUTH_HMAC_SHA1_96",
        (false, 5) => "AUTH_AES_XCBC_96", (false, 12) => "AUTH_HMAC_SHA2_256_128", (false, 13) => "AUTH_HMAC_SHA2_384_192",
        (false, 14) => "AUTH_HMAC_SHA2_512_256",
        _ => return None,
    })
}

#[rustfmt::skip]
fn group(is_old: bool, kind: u64) -> Option<&'static str> {
    Some(match (is_old, kind) {
        (true, 1) => "GroupDefault768BitModp", (true, 2) => "GroupAlternate1024BitModp",
        (true, 5) => "GroupModp1536Bit", (true, 14) => "GroupModp2048Bit", (true, 15) => "GroupModp3072Bit",
        (true, 16) => "GroupModp4096Bit", (true, 17) => "GroupModp6144Bit", (true, 18) => "GroupModp8192Bit",
        _ => return None,
    })
}

#[rustfmt::skip]
fn authentication(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "AuthPreSharedKey", 2 => "AuthDssSignatures", 3 => "AuthRsaSignatures", 4 => "AuthEncryptionWithRsa",
        5 => "AuthRevisedEncryptionWithRsa",
        _ => return None,
    })
}

/// RFC 2408 section 3.1 and RFC 3947; RFC 7296 section 3.2.
fn payload_name(is_old: bool, kind: u64) -> String {
    let name = match (is_old, kind) {
        (true, 1) | (false, 33) => "SecurityAssociation",
        (true, 2) => "Proposal",
        (true, 3) => "Transform",
        (true, 4) | (false, 34) => "KeyExchange",
        (true, 5) => "Identification",
        (true, 6) | (false, 37) => "Certificate",
        (true, 7) | (false, 38) => "CertificateRequest",
        (true, 8) => "Hash",
        (true, 9) => "Signature",
        (true, 10) | (false, 40) => "Nonce",
        (true, 11) => "Notification",
        (true, 12) | (false, 42) => "Delete",
        (true, 13) | (false, 43) => "VendorID",
        (true, 20) => "NatDiscovery",
        (true, 21) => "NatOriginalAddress",
        (false, 35) => "IdentInitiator",
        (false, 36) => "IdentResponder",
        (false, 39) => "Authentication",
        (false, 41) => "Notify",
        (false, 44) => "TrafficSelectorInitiator",
        (false, 45) => "TrafficSelectorResponder",
        (false, 46) => "EncryptedAndAuthenticated",
        (false, 47) => "Configuration",
        (false, 48) => "ExtensibleAuthentication",
        _ => return kind.to_string(),
    };
    name.to_owned()
}

/// RFC 7296 section 3.10.1.
#[rustfmt::skip]
fn notice(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "UNSUPPORTED_CRITICAL_PAYLOAD", 4 => "INVALID_IKE_SPI", 5 => "INVALID_MAJOR_VERSION", 7 => "INVALID_SYNTAX",
        9 => "INVALID_MESSAGE_ID", 11 => "INVALID_SPI", 14 => "NO_PROPOSAL_CHOSEN", 17 => "INVALID_KE_PAYLOAD",
        24 => "AUTHENTICATION_FAILED", 16388 => "NAT_DETECTION_SOURCE_IP", 16389 => "NAT_DETECTION_DESTINATION_IP",
        16390 => "COOKIE", 16404 => "MULTIPLE_AUTH_SUPPORTED",
        _ => return None,
    })
}
