//! What keeps a network going: `dhcp`, `snmp`, `ntp`, `tftp`.

use super::{Found, json, list, names, put, with_colons, word};
use crate::dataplane::inspect::{dhcp, ntp, snmp, tftp};
use serde_json::{Map, Value};

/// `dhcp`, which is that of IPv4; facts of DHCPv6 have no object.
pub fn dhcp(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    if facts.peek(dhcp::VERSION) != Some(4) {
        return object;
    }
    match facts.peek(dhcp::MESSAGE) {
        Some(1) => put(&mut object, "type", Some("request")),
        Some(2) => put(&mut object, "type", Some("reply")),
        _ => {}
    }
    if object.contains_key("type") {
        facts.all(dhcp::MESSAGE);
    }
    // Of an unknown one Suricata says so; its number stays among the other facts.
    if let Some(name) = facts.peek(dhcp::TYPE).map(dhcp::type_name) {
        put(&mut object, "dhcp_type", Some(name.unwrap_or("unknown")));
        if name.is_some() {
            facts.one(dhcp::TYPE);
        }
    }
    put(&mut object, "client_mac", facts.one(dhcp::CLIENT_MAC).map(with_colons));
    put(&mut object, "client_id", facts.one(dhcp::CLIENT_ID).map(with_colons));
    let places = [
        ("id", dhcp::ID),
        ("client_ip", dhcp::CLIENT_IP),
        ("next_server_ip", dhcp::NEXT_SERVER_IP),
        ("relay_ip", dhcp::RELAY_IP),
        ("requested_ip", dhcp::REQUESTED_IP),
        ("subnet_mask", dhcp::SUBNET_MASK),
        ("routers", dhcp::ROUTER),
        ("dns_servers", dhcp::DNS_SERVER),
        ("hostname", dhcp::HOSTNAME),
        ("lease_time", dhcp::LEASE_TIME),
        ("renewal_time", dhcp::RENEWAL_TIME),
        ("rebinding_time", dhcp::REBINDING_TIME),
        ("vendor_class_identifier", dhcp::VENDOR_CLASS),
    ];
    facts.place(&mut object, &places);
    // Version 4 assigns one.
    put(&mut object, "assigned_ip", facts.one(dhcp::ASSIGNED_IP).map(|address| json(dhcp::ASSIGNED_IP, address)));
    put(&mut object, "params", list(parameters(facts)));
    object
}

/// The options that Suricata names; all of them, in their order, tell the make of a host, and stay among the other facts.
fn parameters(facts: &Found<'_>) -> Vec<&'static str> {
    let name = |option: &u8| {
        Some(match option {
            1 => "subnet_mask",
            3 => "router",
            6 => "dns_server",
            15 => "domain",
            35 => "arp_timeout",
            42 => "ntp_server",
            66 => "tftp_server_name",
            150 => "tftp_server_ip",
            _ => return None,
        })
    };
    facts.first(dhcp::PARAMETERS).unwrap_or_default().iter().filter_map(name).collect()
}

/// `snmp`.
pub fn snmp(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let places = [
        ("version", snmp::VERSION),
        ("community", snmp::COMMUNITY),
        ("usm", snmp::USER),
        ("trap_oid", snmp::TRAP_OID),
        ("trap_address", snmp::TRAP_ADDRESS),
        ("vars", snmp::OID),
    ];
    facts.place(&mut object, &places);
    put(&mut object, "pdu_type", facts.number(snmp::PDU_TYPE).map(|kind| word(snmp::pdu_name(kind), kind)));
    put(&mut object, "trap_type", facts.number(snmp::TRAP_TYPE).map(|kind| word(snmp::trap_name(kind), kind)));
    object
}

/// `ntp`.
pub fn ntp(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let mode = facts.first(ntp::MODE).and_then(|mode| names::name(ntp::MODE, mode));
    facts.beside("mode_name", mode);
    facts.place(&mut object, &[("version", ntp::VERSION), ("mode", ntp::MODE), ("stratum", ntp::STRATUM)]);
    put(&mut object, "reference_id", facts.one(ntp::REFERENCE_ID).map(with_colons));
    object
}

/// `tftp`.
pub fn tftp(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    facts.place(&mut object, &[("file", tftp::FILE), ("mode", tftp::MODE)]);
    let packet = match facts.peek(tftp::OPCODE) {
        Some(1) => "read",
        Some(2) => "write",
        Some(3) => "data",
        Some(4) => "ack",
        Some(5) => "error",
        _ => return object,
    };
    facts.all(tftp::OPCODE);
    object.insert("packet".to_owned(), packet.into());
    object
}
