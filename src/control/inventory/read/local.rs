//! What hosts say of themselves on the link and to its servers: DHCP, mDNS, LLMNR, DNS, SSDP, SNMP, NTP, TFTP, TURN, RADIUS.

use crate::control::inventory::banner;
use crate::control::inventory::event::{About, Event, Notes, TFTP_PORT, is_of_host};
use crate::control::inventory::host::{Confidence, MacSource, NameSource, kept};
use crate::control::inventory::{kinds, os};
use crate::dataplane::inspect::dns::Set;
use crate::dataplane::inspect::{dhcp, dns, llmnr, mdns, number, snmp, ssdp, stun, tftp};
use std::net::IpAddr;

/// Where servers are asked, and relays speak from (RFC 2131 section 4.1, RFC 1542 section 4.1.1).
const SERVER_PORT: u16 = 67;
/// `DHCPACK`.
const ACK: u64 = 5;

/// Servers by what they say, names and makes of clients, and which address a link address got.
pub fn dhcp(event: &Event<'_>, notes: &mut Notes) {
    let mac = event.bytes(dhcp::CLIENT_MAC).unwrap_or_default();
    if event.number(dhcp::MESSAGE) == Some(2) {
        // To all, or to an address that nobody has yet: who says it is all there is.
        notes.service_of(event.sender(), None, None);
        let address = event.addresses(dhcp::ASSIGNED_IP).next().filter(|address| !address.is_unspecified());
        if let Some(address) = address.filter(|_| event.number(dhcp::TYPE) == Some(ACK)) {
            notes.mac(About::Address(address), mac, MacSource::Dhcp);
        }
        return;
    }
    // A client without an address yet, or behind a relay, is known by its link address; whoever owns that has these names.
    let about = match <[u8; 6]>::try_from(mac) {
        Ok(mac) if event.client.ip().is_unspecified() || event.client.port == SERVER_PORT => About::Mac(mac),
        _ => About::Client,
    };
    let name = event.text(dhcp::FQDN).filter(|name| !name.is_empty()).or_else(|| event.text(dhcp::HOSTNAME));
    notes.name(about, NameSource::Dhcp, name);
    let class = event.text(dhcp::VENDOR_CLASS).unwrap_or_default();
    notes.os(about, os::dhcp(&class, event.bytes(dhcp::PARAMETERS).unwrap_or_default()), "DHCP");
    if about == About::Client {
        notes.mac(About::Client, mac, MacSource::Dhcp);
    }
}

const TYPE_A: u64 = 1;
const TYPE_TXT: u64 = 16;
const TYPE_AAAA: u64 = 28;

/// Records of an answer, all sections: name, type, data.
fn records<'a>(event: &Event<'a>, set: &Set) -> Vec<(&'a [u8], u64, &'a [u8])> {
    let mut records = Vec::new();
    for [name, kind, _, data] in set.sections {
        let types = event.all(kind).map(number);
        records.extend(event.all(name).zip(types).zip(event.all(data)).map(|((name, kind), data)| (name, kind, data)));
    }
    records
}

fn addresses(event: &Event<'_>, set: &Set, source: NameSource, notes: &mut Notes) {
    for (name, kind, data) in records(event, set) {
        let address = std::str::from_utf8(data).ok().and_then(|text| text.parse::<IpAddr>().ok());
        if let Some(address) = address.filter(|_| kind == TYPE_A || kind == TYPE_AAAA) {
            notes.name(About::Address(address), source, Some(kept(name)));
        }
    }
}

/// Names with their addresses, models of devices.
pub fn mdns(event: &Event<'_>, notes: &mut Notes) {
    if event.number(mdns::SET.qr) != Some(1) {
        return;
    }
    addresses(event, &mdns::SET, NameSource::Mdns, notes);
    let all = records(event, &mdns::SET);
    for (name, _, data) in all.iter().filter(|(_, kind, _)| *kind == TYPE_TXT) {
        let name = String::from_utf8_lossy(name);
        let Some((instance, _)) = name.split_once("._device-info._tcp") else { continue };
        let model = data.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"model="));
        let Some(hint) = model.and_then(|model| os::apple_model(&kept(model))) else { continue };
        match owner(event, &all, instance) {
            Some(about) => notes.os(about, Some(hint), "mDNS model"),
            None => notes.os_if_named(event.sender(), instance, hint, "mDNS model"),
        }
    }
}

/// Whose the instance of a service is: it has the name of its host, of which the message tells the address or not. Who sends it may
/// pass it on (a reflector between networks, a proxy of one that sleeps).
fn owner(event: &Event<'_>, all: &[(&[u8], u64, &[u8])], instance: &str) -> Option<About> {
    let named = all.iter().filter_map(|(name, kind, data)| {
        let is_address = *kind == TYPE_A || *kind == TYPE_AAAA;
        let is_its = is_address && is_of_host(instance, &String::from_utf8_lossy(name));
        std::str::from_utf8(data).ok().filter(|_| is_its)?.parse::<IpAddr>().ok()
    });
    let (sender, mut first) = (event.sender_ip(), None);
    for address in named {
        if address == sender {
            return Some(event.sender());
        }
        first = first.or(Some(About::Address(address)));
    }
    first
}

/// Names with their addresses, as their owners answer.
pub fn llmnr(event: &Event<'_>, notes: &mut Notes) {
    if event.number(llmnr::SET.qr) == Some(1) {
        addresses(event, &llmnr::SET, NameSource::Llmnr, notes);
    }
}

/// That a server answers, and its version where somebody asked for that.
pub fn dns(event: &Event<'_>, notes: &mut Notes) {
    if !event.is_served() {
        return;
    }
    let asked = event.bytes(dns::SET.query_name).unwrap_or_default();
    let version = records(event, &dns::SET)
        .into_iter()
        .find(|(_, kind, _)| *kind == TYPE_TXT)
        .map(|(_, _, data)| kept(data))
        .filter(|_| asked.eq_ignore_ascii_case(b"version.bind"));
    notes.service(version.as_deref().and_then(banner::name_server), version);
}

/// What devices say of themselves, to all or to who asked.
pub fn ssdp(event: &Event<'_>, notes: &mut Notes) {
    let Some(server) = event.text(ssdp::SERVER) else { return };
    // A notice goes to everybody, an answer to who asked, from whatever port: both come from the device.
    let about = event.sender();
    if let Some(system) = server.split(' ').next().and_then(|word| word.split_once('/')).map(|(name, _)| name)
        && ["Linux", "Windows", "FreeBSD", "Ubuntu", "Debian", "Darwin"].contains(&system)
    {
        notes.os(about, Some((system.to_owned(), Confidence::Medium)), "SSDP");
    }
    notes.service_of(about, banner::server(&server), Some(server));
}

/// Letters of a device's description that are taken for its system.
const DESCRIPTION_MAX: usize = 100;

/// Where notices of agents go (RFC 3417 section 2): the answer to one repeats what the agent said of itself (RFC 3416 section 4.2.7).
const SNMP_NOTICES: u16 = 162;

/// Communities that an agent takes.
pub fn snmp(event: &Event<'_>, notes: &mut Notes) {
    if !event.is_served() {
        return;
    }
    if event.server.port == SNMP_NOTICES {
        return notes.service(None, None);
    }
    let description = event.text(snmp::SYS_DESCR);
    notes.name(About::Server, NameSource::Snmp, event.text(snmp::SYS_NAME));
    let hint = description.as_ref().map(|text| (text.chars().take(DESCRIPTION_MAX).collect(), Confidence::High));
    notes.os(About::Server, hint, "SNMP sysDescr");
    notes.service(None, description);
    let version = match event.number(snmp::VERSION) {
        Some(1) => "1",
        Some(2) => "2c",
        _ => return,
    };
    let client = event.client.ip();
    match event.bytes(snmp::COMMUNITY) {
        // Names that everybody knows may be told, others are passwords.
        Some(known @ (b"public" | b"private")) => {
            let known = kept(known);
            let evidence = format!("it answered {client} by SNMP {version} with the community {known}");
            notes.finding(kinds::SNMP_DEFAULT, known, evidence);
        }
        _ => notes.finding(kinds::SNMP_CLEARTEXT, "", format!("it answered {client} by SNMP {version}")),
    }
}

/// That a server answers.
pub fn ntp(event: &Event<'_>, notes: &mut Notes) {
    if event.is_served() {
        notes.service(None, None);
    }
}

/// Requests for transfers (RFC 1350 section 5); all other kinds are of a transfer.
const TFTP_REQUESTS: [u64; 2] = [1, 2];

/// That a server gives or takes files: whoever began a transfer that had been asked for, or whom a transfer is with that goes
/// through the port that is asked.
pub fn tftp(event: &Event<'_>, notes: &mut Notes) {
    let is_transfer = event.number(tftp::OPCODE).is_some_and(|opcode| !TFTP_REQUESTS.contains(&opcode));
    // The name of the file is known by the request, which went to this host.
    if is_transfer && event.text(tftp::FILE).is_some() {
        let is_one_port = event.server.port == TFTP_PORT;
        notes.service_of(if is_one_port { About::Server } else { About::Client }, None, None);
    }
}

/// `Allocate` (RFC 8656 section 17), which peers do not ask each other for, as they do for their addresses.
const ALLOCATE: u64 = 3;

/// That a server lends addresses, or refuses to.
pub fn turn(event: &Event<'_>, notes: &mut Notes) {
    let is_answer = matches!(event.number(stun::CLASS), Some(2 | 3));
    if is_answer && event.number(stun::METHOD) == Some(ALLOCATE) {
        let products = event.text(stun::SOFTWARE).as_deref().map(banner::server).unwrap_or_default();
        notes.service_of(event.sender(), products, None);
    }
}

/// That a server answers.
pub fn radius(event: &Event<'_>, notes: &mut Notes) {
    if event.is_served() {
        notes.service(None, None);
    }
}
