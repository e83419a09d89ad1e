//! What Windows and Samba say: SMB, NTLM, Kerberos, LDAP, RDP, DCE/RPC, NetBIOS.

use crate::control::inventory::banner;
use crate::control::inventory::event::{About, Event, Notes};
use crate::control::inventory::host::{MacSource, NameSource};
use crate::control::inventory::{kinds, os};
use crate::dataplane::inspect::{dcerpc, kerberos, ldap, nbns, ntlm, number, rdp, smb};

/// Dialects, systems, signing, guests.
pub fn smb(event: &Event<'_>, notes: &mut Notes) {
    let (system, manager) = (event.text(smb::SERVER_OS), event.text(smb::SERVER_LM));
    let dialect = event.text(smb::DIALECT);
    if dialect.is_some() || system.is_some() || event.number(smb::STATUS).is_some() {
        let manager = manager.unwrap_or_default();
        let product = banner::samba(&manager);
        notes.os(About::Server, os::smb(system.as_deref().unwrap_or_default(), &manager), "SMB native OS");
        let banner = [system.unwrap_or_default(), manager].join(" ");
        notes.service(product, Some(banner.trim().to_owned()).filter(|banner| !banner.is_empty()));
    }
    let client = (event.text(smb::NATIVE_OS).unwrap_or_default(), event.text(smb::NATIVE_LM).unwrap_or_default());
    notes.os(About::Client, os::smb(&client.0, &client.1), "SMB native OS");
    notes.name(About::Client, NameSource::Netbios, event.text(smb::CALLING));
    let called = event.text(smb::CALLED).filter(|name| name != "*SMBSERVER");
    notes.name(About::Server, NameSource::Netbios, called);
    if let Some(dialect) = &dialect
        && let Some(mode) = event.number(smb::SIGNING)
        && mode & 2 == 0
    {
        let asked = match dialect.as_str() {
            // What SMB 1 asks with and SMB 2 answers: which dialect it will be is yet to be agreed (MS-SMB2 section 2.2.4).
            "2.FF" => "in the multi-protocol negotiation".to_owned(),
            _ => format!("in dialect {dialect}"),
        };
        notes.finding(kinds::SMB_SIGNING, "", format!("signing is not demanded {asked}"));
    }
    let flags = event.number(smb::GUEST).unwrap_or(0);
    if flags == 1 && event.number(smb::STATUS).is_none_or(|status| status == 0) {
        notes.finding(kinds::SMB_GUEST, "", format!("{} got a session as a guest", event.client.ip()));
    }
}

/// NTLM inside whatever carries it.
pub fn ntlm(event: &Event<'_>, notes: &mut Notes) {
    let workstation = event.text(ntlm::WORKSTATION);
    notes.name(About::Client, NameSource::Ntlm, workstation);
    notes.name(About::Server, NameSource::Ntlm, event.text(ntlm::TARGET_DNS));
    let version = |fact| event.text(fact).and_then(|version| os::ntlm(&version));
    notes.os(About::Client, version(ntlm::VERSION), "NTLM version");
    notes.os(About::Server, version(ntlm::TARGET_VERSION), "NTLM version");
}

/// Principals of machines, tickets with weak keys.
pub fn kerberos(event: &Event<'_>, notes: &mut Notes) {
    if event.number(kerberos::REPLY_TYPE).is_some() {
        notes.service(None, None);
    }
    let client = event.text(kerberos::CLIENT);
    // Only a machine itself asks for a ticket in its own name.
    let machine = client.and_then(|name| name.strip_suffix('$').map(str::to_owned));
    notes.name(About::Client, NameSource::Kerberos, machine);
    let weak = event.number(kerberos::TICKET_ENCRYPTION).filter(|kind| matches!(kind, 1..=3 | 23 | 24));
    if let Some(kind) = weak {
        let service = event.text(kerberos::SERVICE).unwrap_or_default();
        let name = if kind >= 23 { "RC4" } else { "DES" };
        notes.finding(kinds::KERBEROS, &*service, format!("a ticket for {service} is encrypted with {name}"));
    }
}

/// That it answers.
pub fn ldap(event: &Event<'_>, notes: &mut Notes) {
    if event.bytes(ldap::RESPONSE).is_some() || event.number(ldap::RESULT).is_some() {
        notes.service(None, None);
    }
}

/// That it answers, the client's name, the security chosen.
pub fn rdp(event: &Event<'_>, notes: &mut Notes) {
    notes.name(About::Client, NameSource::Rdp, event.text(rdp::CLIENT_NAME));
    if let Some(chosen) = event.number(rdp::SELECTED) {
        notes.service(None, None);
        if chosen == 0 {
            notes.finding(kinds::RDP_OLD, "", format!("RDP's own encryption is used with {}", event.client.ip()));
        }
    }
}

/// That it answers.
pub fn dcerpc(event: &Event<'_>, notes: &mut Notes) {
    if event.bytes(dcerpc::RESPONSE).is_some() {
        notes.service(None, None);
    }
}

/// The sixteenth byte of a file server's name, which no group has.
const FILE_SERVER: u64 = 0x20;

/// Names registered, answered and sent from.
pub fn nbns(event: &Event<'_>, notes: &mut Notes) {
    let is_answer = event.number(nbns::QR) == Some(1);
    if let Some(name) = event.text(nbns::NAME).filter(|_| event.number(nbns::SUFFIX) == Some(FILE_SERVER)) {
        let registers = matches!(event.number(nbns::OPCODE), Some(5 | 8));
        let good = event.number(nbns::RCODE).is_none_or(|code| code == 0);
        // One address: the host's own; several are a group's.
        let addresses: Vec<_> = event.addresses(nbns::ADDRESS).take(2).collect();
        if let [address] = addresses[..]
            && (registers || (is_answer && good))
        {
            notes.name(About::Address(address), NameSource::Netbios, Some(name));
        }
    }
    let source = event.addresses(nbns::SOURCE_ADDRESS).next().filter(|source| *source == event.client.ip());
    if source.is_some() {
        notes.name(About::Client, NameSource::Netbios, event.text(nbns::SOURCE_NAME));
    }
    if let Some(mac) = event.bytes(nbns::NODE_MAC).filter(|_| is_answer) {
        let names = event.all(nbns::NODE_NAME).zip(event.all(nbns::NODE_SUFFIX));
        let own = names.into_iter().find(|(_, suffix)| number(suffix) == FILE_SERVER).map(|(name, _)| name);
        notes.service(None, None);
        notes.name(About::Server, NameSource::Netbios, own.map(crate::control::inventory::host::kept));
        notes.mac(About::Server, mac, MacSource::Nbns);
    }
}
