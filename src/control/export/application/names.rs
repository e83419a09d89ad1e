//! Names of numbers that people search by their words: beside the number, as `<fact>_name`.
//!
//! Of what the schema's objects have no word for; where they have one it is theirs.

use super::tls::version;
use super::word;
use crate::dataplane::inspect::{
    Fact, dcerpc, dhcp, dns, dtls, ike, kerberos, ldap, llmnr, mdns, mqtt, nbns, ntlm, ntp, number, openvpn, quic,
    radius, rdp, rtp, smb, snmp, socks, stun, syslog, tftp, tls, wireguard,
};
use serde_json::Value;

type Name = fn(u64) -> Option<&'static str>;

/// Facts and the names of their values.
#[rustfmt::skip]
const NAMES: &[(Fact, Name)] = &[
    (dcerpc::FAULT, fault),
    (dhcp::STATUS, dhcp_status), (dhcp::TYPE, dhcp_6),
    (dns::SET.rcode, rcode), (llmnr::SET.rcode, rcode), (mdns::SET.rcode, rcode),
    (tls::ALERT, alert), (dtls::ALERT, alert), (tls::ALERT_LEVEL, level), (dtls::ALERT_LEVEL, level),
    // Of version 2 these stand in the object.
    (ike::NOTIFY, notice), (ike::PRF, prf),
    (kerberos::REQUEST_TYPE, message), (kerberos::REPLY_TYPE, message), (kerberos::OFFERED, encryption),
    (ldap::RESULT, result),
    (mqtt::RETURN_CODE, mqtt_code),
    (nbns::OPCODE, nbns_opcode), (nbns::RCODE, nbns_rcode), (nbns::TYPE, nbns_type), (nbns::SUFFIX, suffix),
    (nbns::NODE_SUFFIX, suffix), (nbns::DATAGRAM_TYPE, nbns_datagram),
    (ntlm::MESSAGE, ntlm_message), (ntp::MODE, ntp_mode), (openvpn::OPCODE, openvpn_opcode),
    (radius::CODE, radius_code), (radius::SERVICE_TYPE, service_type), (radius::NAS_PORT_TYPE, port_type),
    (radius::ACCOUNTING_STATUS, accounting), (radius::PASSWORD_KIND, password_kind),
    (rdp::SELECTED, rdp_protocol), (rdp::FAILURE, rdp_failure), (rtp::PAYLOAD_TYPE, payload), (rtp::RTCP_TYPE, rtcp),
    (smb::SIGNING, signing), (smb::GUEST, session_flags),
    (snmp::ERROR_STATUS, snmp_error), (snmp::SECURITY_LEVEL, security_level),
    (socks::COMMAND, socks_command), (socks::METHOD, socks_method), (socks::REPLY, socks_reply),
    (stun::CLASS, stun_class), (stun::METHOD, stun_method),
    (syslog::FACILITY, facility), (syslog::SEVERITY, severity),
    (tftp::ERROR_CODE, tftp_error), (wireguard::TYPE, wireguard_type),
];

/// Hellos, of whose facts these are versions.
const HELLOS: [&tls::HelloFacts; 3] = [&tls::HELLO, &dtls::HELLO, &quic::HELLO];

/// What the value of a fact is called; of a list of versions their names.
pub fn name(fact: Fact, value: &[u8]) -> Option<Value> {
    let is = |one: Fact| (one.protocol, one.index) == (fact.protocol, fact.index);
    for hello in HELLOS {
        if [hello.version, hello.client_version, hello.server_version].into_iter().any(is) {
            return Some(version(number(value)).into());
        }
        if is(hello.versions) {
            let versions = value.as_chunks::<2>().0.iter().map(|one| version(number(one)));
            return Some(versions.collect());
        }
    }
    let (_, name) = NAMES.iter().find(|(one, _)| is(*one))?;
    // In a list each number has its place.
    let known = name(number(value));
    (known.is_some() || fact.repeats > 1).then(|| word(known, number(value)).into())
}

fn rcode(code: u64) -> Option<&'static str> {
    u16::try_from(code).ok().and_then(dns::rcode_name)
}

fn message(kind: u64) -> Option<&'static str> {
    u8::try_from(kind).ok().map(kerberos::message_name)
}

fn encryption(kind: u64) -> Option<&'static str> {
    Some(kerberos::encryption_name(kind)).filter(|name| !name.is_empty())
}

fn result(code: u64) -> Option<&'static str> {
    Some(ldap::result_name(code)).filter(|name| !name.is_empty())
}

/// C706 appendix E, MS-ERREF section 2.2.
#[rustfmt::skip]
fn fault(status: u64) -> Option<&'static str> {
    Some(match status {
        5 => "access_denied", 0x6be => "rpc_s_call_failed", 0x6f7 => "bad_stub_data", 0x1c01_0002 => "nca_op_rng_error",
        0x1c01_0003 => "nca_unk_if", 0x1c01_000b => "nca_proto_error", 0x1c01_0014 => "nca_server_too_busy",
        0x1c00_001b => "nca_remote_no_memory",
        _ => return None,
    })
}

/// RFC 8415 section 21.13.
#[rustfmt::skip]
fn dhcp_status(status: u64) -> Option<&'static str> {
    Some(match status {
        0 => "success", 1 => "unspec_fail", 2 => "no_addrs_avail", 3 => "no_binding", 4 => "not_on_link",
        5 => "use_multicast", 6 => "no_prefix_avail",
        _ => return None,
    })
}

/// RFC 8415 section 7.3. Of version 4 all up to 18 have names in the object.
#[rustfmt::skip]
fn dhcp_6(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "solicit", 2 => "advertise", 3 => "request", 4 => "confirm", 5 => "renew", 6 => "rebind", 7 => "reply",
        8 => "release", 9 => "decline", 10 => "reconfigure", 11 => "information_request", 12 => "relay_forw",
        13 => "relay_repl",
        _ => return None,
    })
}

/// RFC 8446 section 6, RFC 5246 section 7.2.
#[rustfmt::skip]
fn alert(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "close_notify", 10 => "unexpected_message", 20 => "bad_record_mac", 21 => "decryption_failed",
        22 => "record_overflow", 30 => "decompression_failure", 40 => "handshake_failure", 41 => "no_certificate",
        42 => "bad_certificate", 43 => "unsupported_certificate", 44 => "certificate_revoked",
        45 => "certificate_expired", 46 => "certificate_unknown", 47 => "illegal_parameter", 48 => "unknown_ca",
        49 => "access_denied", 50 => "decode_error", 51 => "decrypt_error", 60 => "export_restriction",
        70 => "protocol_version", 71 => "insufficient_security", 80 => "internal_error",
        86 => "inappropriate_fallback", 90 => "user_canceled", 100 => "no_renegotiation", 109 => "missing_extension",
        110 => "unsupported_extension", 112 => "unrecognized_name", 113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity", 116 => "certificate_required", 120 => "no_application_protocol",
        _ => return None,
    })
}

fn level(level: u64) -> Option<&'static str> {
    [(1, "warning"), (2, "fatal")].into_iter().find(|(one, _)| *one == level).map(|(_, name)| name)
}

/// RFC 2408 section 3.14.1, RFC 2407 section 4.6.3, RFC 3706 section 5.3.
#[rustfmt::skip]
fn notice(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "INVALID-PAYLOAD-TYPE", 2 => "DOI-NOT-SUPPORTED", 3 => "SITUATION-NOT-SUPPORTED", 4 => "INVALID-COOKIE",
        5 => "INVALID-MAJOR-VERSION", 6 => "INVALID-MINOR-VERSION", 7 => "INVALID-EXCHANGE-TYPE", 8 => "INVALID-FLAGS",
        9 => "INVALID-MESSAGE-ID", 10 => "INVALID-PROTOCOL-ID", 11 => "INVALID-SPI", 12 => "INVALID-TRANSFORM-ID",
        13 => "ATTRIBUTES-NOT-SUPPORTED", 14 => "NO-PROPOSAL-CHOSEN", 15 => "BAD-PROPOSAL-SYNTAX",
        16 => "PAYLOAD-MALFORMED", 17 => "INVALID-KEY-INFORMATION", 18 => "INVALID-ID-INFORMATION",
        23 => "INVALID-HASH-INFORMATION", 24 => "AUTHENTICATION-FAILED", 25 => "INVALID-SIGNATURE",
        16384 => "CONNECTED", 24576 => "RESPONDER-LIFETIME", 24577 => "REPLAY-STATUS", 24578 => "INITIAL-CONTACT",
        36136 => "R-U-THERE", 36137 => "R-U-THERE-ACK",
        _ => return None,
    })
}

/// RFC 7296 section 3.3.2, RFC 4868 section 2.
#[rustfmt::skip]
fn prf(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "PRF_HMAC_MD5", 2 => "PRF_HMAC_SHA1", 3 => "PRF_HMAC_TIGER", 4 => "PRF_AES128_XCBC",
        5 => "PRF_HMAC_SHA2_256", 6 => "PRF_HMAC_SHA2_384", 7 => "PRF_HMAC_SHA2_512", 8 => "PRF_AES128_CMAC",
        _ => return None,
    })
}

/// MQTT 3.1.1 section 3.2.2.3, MQTT 5.0 section 3.2.2.2.
#[rustfmt::skip]
fn mqtt_code(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "accepted", 1 => "unacceptable_protocol_version", 2 => "identifier_rejected", 3 | 136 => "server_unavailable",
        4 | 134 => "bad_user_name_or_password", 5 | 135 => "not_authorized", 128 => "unspecified_error",
        132 => "unsupported_protocol_version", 133 => "client_identifier_not_valid", 137 => "server_busy", 138 => "banned",
        _ => return None,
    })
}

/// RFC 1002 section 4.2.1.1.
#[rustfmt::skip]
fn nbns_opcode(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "query", 5 => "registration", 6 => "release", 7 => "wack", 8 | 9 => "refresh", 15 => "multi_homed_registration",
        _ => return None,
    })
}

/// RFC 1002 sections 4.2.6 and 4.2.11.
#[rustfmt::skip]
fn nbns_rcode(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR", 1 => "FMT_ERR", 2 => "SRV_ERR", 3 => "NAM_ERR", 4 => "IMP_ERR", 5 => "RFS_ERR", 6 => "ACT_ERR",
        7 => "CFT_ERR",
        _ => return None,
    })
}

fn nbns_type(kind: u64) -> Option<&'static str> {
    [(32, "NB"), (33, "NBSTAT")].into_iter().find(|(one, _)| *one == kind).map(|(_, name)| name)
}

/// MS-NBTE section 2.2.2 and Windows' list of suffixes.
#[rustfmt::skip]
fn suffix(suffix: u64) -> Option<&'static str> {
    Some(match suffix {
        0 => "workstation", 1 => "messenger_or_browser", 3 => "messenger", 0x1b => "domain_master_browser",
        0x1c => "domain_controllers", 0x1d => "master_browser", 0x1e => "browser_elections", 0x1f => "net_dde",
        0x20 => "file_server", 0x21 => "ras_client",
        _ => return None,
    })
}

/// RFC 1002 section 4.4.1.
#[rustfmt::skip]
fn nbns_datagram(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0x10 => "direct_unique", 0x11 => "direct_group", 0x12 => "broadcast", 0x13 => "error", 0x14 => "query_request",
        0x15 => "positive_query_response", 0x16 => "negative_query_response",
        _ => return None,
    })
}

/// MS-NLMP section 2.2.1.
fn ntlm_message(kind: u64) -> Option<&'static str> {
    [(1, "negotiate"), (2, "challenge"), (3, "authenticate")].into_iter().find(|one| one.0 == kind).map(|one| one.1)
}

/// RFC 5905 figure 10.
#[rustfmt::skip]
fn ntp_mode(mode: u64) -> Option<&'static str> {
    Some(match mode {
        1 => "symmetric_active", 2 => "symmetric_passive", 3 => "client", 4 => "server", 5 => "broadcast", 6 => "control",
        7 => "private",
        _ => return None,
    })
}

/// As OpenVPN's sources name them.
#[rustfmt::skip]
fn openvpn_opcode(code: u64) -> Option<&'static str> {
    Some(match code {
        1 => "P_CONTROL_HARD_RESET_CLIENT_V1", 2 => "P_CONTROL_HARD_RESET_SERVER_V1", 3 => "P_CONTROL_SOFT_RESET_V1",
        4 => "P_CONTROL_V1", 5 => "P_ACK_V1", 6 => "P_DATA_V1", 7 => "P_CONTROL_HARD_RESET_CLIENT_V2",
        8 => "P_CONTROL_HARD_RESET_SERVER_V2", 9 => "P_DATA_V2", 10 => "P_CONTROL_HARD_RESET_CLIENT_V3",
        _ => return None,
    })
}

/// RFC 2865 section 4, RFC 2866 section 4, RFC 5176 section 2.3.
#[rustfmt::skip]
fn radius_code(code: u64) -> Option<&'static str> {
    Some(match code {
        1 => "Access-Request", 2 => "Access-Accept", 3 => "Access-Reject", 4 => "Accounting-Request",
        5 => "Accounting-Response", 11 => "Access-Challenge", 12 => "Status-Server", 13 => "Status-Client",
        40 => "Disconnect-Request", 41 => "Disconnect-ACK", 42 => "Disconnect-NAK", 43 => "CoA-Request", 44 => "CoA-ACK",
        45 => "CoA-NAK",
        _ => return None,
    })
}

/// RFC 2865 section 5.6.
#[rustfmt::skip]
fn service_type(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "Login", 2 => "Framed", 3 => "Callback-Login", 4 => "Callback-Framed", 5 => "Outbound", 6 => "Administrative",
        7 => "NAS-Prompt", 8 => "Authenticate-Only", 9 => "Callback-NAS-Prompt", 10 => "Call-Check",
        11 => "Callback-Administrative", 17 => "Authorize-Only",
        _ => return None,
    })
}

/// RFC 2865 section 5.41.
#[rustfmt::skip]
fn port_type(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "Async", 1 => "Sync", 2 => "ISDN", 5 => "Virtual", 15 => "Ethernet", 16 => "xDSL", 17 => "Cable",
        18 => "Wireless-Other", 19 => "Wireless-802.11",
        _ => return None,
    })
}

/// RFC 2866 section 5.1.
#[rustfmt::skip]
fn accounting(status: u64) -> Option<&'static str> {
    Some(match status {
        1 => "Start", 2 => "Stop", 3 => "Interim-Update", 7 => "Accounting-On", 8 => "Accounting-Off", 15 => "Failed",
        _ => return None,
    })
}

fn password_kind(kind: u64) -> Option<&'static str> {
    [(1, "password"), (2, "chap")].into_iter().find(|(one, _)| *one == kind).map(|(_, name)| name)
}

/// MS-RDPBCGR section 2.2.1.2.1.
#[rustfmt::skip]
fn rdp_protocol(protocol: u64) -> Option<&'static str> {
    Some(match protocol {
        0 => "rdp", 1 => "ssl", 2 => "hybrid", 4 => "rdstls", 8 => "hybrid_ex", 16 => "rdsaad",
        _ => return None,
    })
}

/// MS-RDPBCGR section 2.2.1.2.2.
#[rustfmt::skip]
fn rdp_failure(code: u64) -> Option<&'static str> {
    Some(match code {
        1 => "ssl_required_by_server", 2 => "ssl_not_allowed_by_server", 3 => "ssl_cert_not_on_server",
        4 => "inconsistent_flags", 5 => "hybrid_required_by_server", 6 => "ssl_with_user_auth_required_by_server",
        _ => return None,
    })
}

/// RFC 3551 section 6.
#[rustfmt::skip]
fn payload(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "PCMU", 3 => "GSM", 4 => "G723", 8 => "PCMA", 9 => "G722", 10 | 11 => "L16", 13 => "CN", 14 => "MPA",
        15 => "G728", 18 => "G729", 26 => "JPEG", 31 => "H261", 32 => "MPV", 33 => "MP2T", 34 => "H263",
        _ => return None,
    })
}

/// RFC 3550 section 12.1, RFC 4585 section 6.1.
#[rustfmt::skip]
fn rtcp(kind: u64) -> Option<&'static str> {
    Some(match kind {
        200 => "SR", 201 => "RR", 202 => "SDES", 203 => "BYE", 204 => "APP", 205 => "RTPFB", 206 => "PSFB", 207 => "XR",
        _ => return None,
    })
}

/// MS-SMB2 section 2.2.4.
fn signing(mode: u64) -> Option<&'static str> {
    Some(match mode & 3 {
        0 => "off",
        1 => "enabled",
        _ => "required",
    })
}

/// MS-SMB2 section 2.2.6.
#[rustfmt::skip]
fn session_flags(flags: u64) -> Option<&'static str> {
    Some(match flags {
        1 => "guest", 2 => "null", 4 => "encrypt",
        _ => return None,
    })
}

/// RFC 3416 section 3.
#[rustfmt::skip]
fn snmp_error(status: u64) -> Option<&'static str> {
    Some(match status {
        0 => "noError", 1 => "tooBig", 2 => "noSuchName", 3 => "badValue", 4 => "readOnly", 5 => "genErr", 6 => "noAccess",
        7 => "wrongType", 8 => "wrongLength", 9 => "wrongEncoding", 10 => "wrongValue", 11 => "noCreation",
        12 => "inconsistentValue", 13 => "resourceUnavailable", 14 => "commitFailed", 15 => "undoFailed",
        16 => "authorizationError", 17 => "notWritable", 18 => "inconsistentName",
        _ => return None,
    })
}

/// RFC 3411 section 3.4.3, without whether a report is wanted.
fn security_level(level: u64) -> Option<&'static str> {
    Some(match level & 3 {
        0 => "noAuthNoPriv",
        1 => "authNoPriv",
        3 => "authPriv",
        _ => return None,
    })
}

/// RFC 1928 section 4.
fn socks_command(command: u64) -> Option<&'static str> {
    [(1, "connect"), (2, "bind"), (3, "udp_associate")].into_iter().find(|one| one.0 == command).map(|one| one.1)
}

/// RFC 1928 section 3.
#[rustfmt::skip]
fn socks_method(method: u64) -> Option<&'static str> {
    Some(match method {
        0 => "none", 1 => "gssapi", 2 => "password", 255 => "refused",
        _ => return None,
    })
}

/// RFC 1928 section 6; from 90 on version 4.
#[rustfmt::skip]
fn socks_reply(reply: u64) -> Option<&'static str> {
    Some(match reply {
        0 => "succeeded", 1 => "general_failure", 2 => "not_allowed", 3 => "network_unreachable", 4 => "host_unreachable",
        5 => "connection_refused", 6 => "ttl_expired", 7 => "command_not_supported", 8 => "address_type_not_supported",
        90 => "granted", 91 => "rejected", 92 => "no_identd", 93 => "identd_differs",
        _ => return None,
    })
}

/// RFC 8489 section 5.
#[rustfmt::skip]
fn stun_class(class: u64) -> Option<&'static str> {
    Some(match class {
        0 => "request", 1 => "indication", 2 => "success", 3 => "error",
        _ => return None,
    })
}

/// RFC 8489 section 18.2, RFC 8656 section 17.
#[rustfmt::skip]
fn stun_method(method: u64) -> Option<&'static str> {
    Some(match method {
        1 => "binding", 3 => "allocate", 4 => "refresh", 6 => "send", 7 => "data", 8 => "create_permission",
        9 => "channel_bind",
        _ => return None,
    })
}

/// RFC 5424 section 6.2.1, by the names that syslog.conf has.
fn facility(facility: u64) -> Option<&'static str> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
        "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ];
    usize::try_from(facility).ok().and_then(|at| NAMES.get(at)).copied()
}

/// RFC 5424 section 6.2.1.
fn severity(severity: u64) -> Option<&'static str> {
    const NAMES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    usize::try_from(severity).ok().and_then(|at| NAMES.get(at)).copied()
}

/// RFC 1350 section 5, RFC 2347.
#[rustfmt::skip]
fn tftp_error(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "not_defined", 1 => "file_not_found", 2 => "access_violation", 3 => "disk_full", 4 => "illegal_operation",
        5 => "unknown_transfer_id", 6 => "file_already_exists", 7 => "no_such_user", 8 => "option_refused",
        _ => return None,
    })
}

#[rustfmt::skip]
fn wireguard_type(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "handshake_initiation", 2 => "handshake_response", 3 => "cookie_reply", 4 => "transport_data",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::inspect::{Kind, TABLE};

    fn named(fact: Fact, value: u64) -> Option<Value> {
        let bytes = value.to_be_bytes();
        name(fact, &bytes[(value.leading_zeros() / 8).min(7) as usize..])
    }

    #[test]
    fn numbers_have_the_words_that_people_search() {
        for (fact, number, wanted) in [
            (radius::CODE, 3, Some("Access-Reject")),
            (radius::CODE, 99, None),
            (smb::SIGNING, 1, Some("enabled")),
            (smb::SIGNING, 3, Some("required")),
            (tls::ALERT, 40, Some("handshake_failure")),
            (tls::ALERT, 199, Some("199")), // one of a list
            (dtls::HELLO.version, 0xfefd, Some("DTLS 1.2")),
            (quic::HELLO.version, 0x0304, Some("TLS 1.3")),
            (snmp::ERROR_STATUS, 2, Some("noSuchName")),
            (kerberos::OFFERED, 23, Some("rc4-hmac")),
            (kerberos::REQUEST_TYPE, 10, Some("KRB_AS_REQ")),
            (ike::NOTIFY, 24, Some("AUTHENTICATION-FAILED")),
            (radius::ID, 1, None),
        ] {
            assert_eq!(named(fact, number), wanted.map(Value::from), "{} {number}", fact.name);
        }
        let versions = [0x7f, 0x1c, 3, 4, 3, 3];
        assert_eq!(name(tls::HELLO.versions, &versions), Some(serde_json::json!(["0x7f1c", "TLS 1.3", "TLS 1.2"])));
    }

    /// What is put beside a fact is no fact itself.
    #[test]
    fn names_do_not_meet_facts() {
        for (fact, _) in NAMES {
            assert_eq!(fact.kind, Kind::Number);
            let facts = TABLE.iter().flat_map(|(_, facts, _)| *facts).filter(|other| other.protocol == fact.protocol);
            let all: Vec<_> = facts.map(|other| other.name.to_owned()).collect();
            assert!(
                all.contains(&fact.name.to_owned()) && !all.contains(&format!("{}_name", fact.name)),
                "{}",
                fact.name
            );
        }
    }
}
