//! What each protocol says of hosts. Pure functions from an event to notes: no state, no addresses but the event's own.

mod crypto;
mod data;
mod local;
mod logins;
#[cfg(test)]
mod tests;
mod windows;

use super::event::{About, Event, Note, Notes};
use super::host::Confidence;
use super::kinds;
use crate::dataplane::inspect::{Protocol, http, http2, ike, ntp, smb, ssh};
use crate::exchange::EventHead;
pub use crypto::suite_problem;
pub use logins::asked_for;

/// The host itself says so.
const SURE: Confidence = Confidence::High;

/// Everything an event says.
pub fn notes(event: &Event<'_>) -> Vec<Note> {
    let mut notes = Notes::default();
    if event.head.anomaly.is_some() {
        anomaly(event, &mut notes);
        return notes.0;
    }
    match event.head.protocol {
        Protocol::Tls | Protocol::Dtls | Protocol::Quic => crypto::tls(event, &mut notes),
        Protocol::Ssh => crypto::ssh(event, &mut notes),
        Protocol::Http => logins::http(event, &mut notes),
        Protocol::Http2 => logins::http2(event, &mut notes),
        Protocol::Ftp => logins::ftp(event, &mut notes),
        Protocol::Smtp => logins::smtp(event, &mut notes),
        Protocol::Pop3 => logins::pop3(event, &mut notes),
        Protocol::Imap => logins::imap(event, &mut notes),
        Protocol::Telnet => logins::telnet(event, &mut notes),
        Protocol::Socks => logins::socks(event, &mut notes),
        Protocol::Smb => windows::smb(event, &mut notes),
        Protocol::Kerberos => windows::kerberos(event, &mut notes),
        Protocol::Ldap => windows::ldap(event, &mut notes),
        Protocol::Rdp => windows::rdp(event, &mut notes),
        Protocol::DceRpc => windows::dcerpc(event, &mut notes),
        Protocol::Nbns => windows::nbns(event, &mut notes),
        Protocol::Dhcp => local::dhcp(event, &mut notes),
        Protocol::Mdns => local::mdns(event, &mut notes),
        Protocol::Llmnr => local::llmnr(event, &mut notes),
        Protocol::Dns => local::dns(event, &mut notes),
        Protocol::Ssdp => local::ssdp(event, &mut notes),
        Protocol::Snmp => local::snmp(event, &mut notes),
        Protocol::Ntp => local::ntp(event, &mut notes),
        Protocol::Tftp => local::tftp(event, &mut notes),
        Protocol::Stun => local::turn(event, &mut notes),
        Protocol::Radius => local::radius(event, &mut notes),
        Protocol::Redis => data::redis(event, &mut notes),
        Protocol::Memcached => data::memcached(event, &mut notes),
        Protocol::MySql => data::mysql(event, &mut notes),
        Protocol::PostgreSql => data::pgsql(event, &mut notes),
        Protocol::MongoDb => data::mongodb(event, &mut notes),
        Protocol::Mqtt => data::mqtt(event, &mut notes),
        Protocol::Sip => data::sip(event, &mut notes),
        Protocol::Ike | Protocol::OpenVpn if event.is_served() => notes.service(None, None),
        Protocol::Modbus | Protocol::S7 | Protocol::Iec104 | Protocol::Dnp3 => data::controller(event, &mut notes),
        _ => {}
    }
    windows::ntlm(event, &mut notes);
    let answered = notes.0.iter().any(|note| matches!(note, Note::Service(About::Server, ..)));
    // Over UDP a client may be anybody until somebody answers it.
    // Nor does it have the address that a server offers it.
    if event.transport() == "tcp" || (answered && event.head.protocol != Protocol::Dhcp) {
        notes.alive(About::Client);
    }
    notes.0
}

/// Protocols whose events may show that a password was sent in the clear.
pub fn may_show_passwords(protocol: Protocol) -> bool {
    use Protocol::{Ftp, Http, Http2, Imap, Ldap, MongoDb, Mqtt, MySql, Pop3, PostgreSql, Redis, Smtp, Socks, Telnet};
    matches!(
        protocol,
        Ftp | Http | Http2 | Imap | Ldap | MongoDb | Mqtt | MySql | Pop3 | PostgreSql | Redis | Smtp | Socks | Telnet
    )
}

/// How an event shows a password in the clear, and a sentence that names the user; `None`: it shows none.
pub fn password_in_clear(head: &EventHead, facts: &[u8]) -> Option<(String, String)> {
    let event = Event::new(head, facts);
    let may_show = match head.protocol {
        Protocol::Http => event.bytes(http::AUTH_SCHEME).is_some() || event.bytes(http::SECRET_SENT).is_some(),
        Protocol::Http2 => event.bytes(http2::SECRET_SENT).is_some(),
        other => may_show_passwords(other),
    };
    let found = if may_show { notes(&event) } else { Vec::new() };
    found.into_iter().find_map(|note| match note {
        Note::Finding(kind, how, sentence) if kind == kinds::CLEARTEXT => Some((how, sentence)),
        Note::Through(_, how, sentence) => Some((how, sentence)),
        _ => None,
    })
}

/// Anomalies that are exposures; the facts beside them come again with their event.
fn anomaly(event: &Event<'_>, notes: &mut Notes) {
    use crate::dataplane::inspect::{ldap, mongodb, mysql, pgsql};
    let client = event.client.ip();
    if event.is(ntp::MONLIST_RESPONSE) && event.is_served() {
        notes.finding(kinds::NTP, "", format!("it answered a monlist request of {client}"));
    } else if event.is(ike::AGGRESSIVE_SHARED_SECRET) && event.is_served() {
        notes.finding(kinds::IKE, "", format!("aggressive mode with a shared secret between {client} and it"));
    } else if event.is(smb::VERSION_1) {
        notes.finding(kinds::SMB_1, "", format!("SMB 1 is spoken with {client}"));
    } else if event.is(ssh::VERSION_1) || event.is(ssh::VERSION_1_ALLOWED) {
        // Of which side tells the version that the server named; without one it was the client.
        if event.bytes(ssh::SERVER_VERSION).is_some_and(|version| version.starts_with(b"1.")) {
            notes.finding(kinds::SSH_1, "", "the server offers protocol 1");
        }
    } else if event.is(ldap::CLEARTEXT_PASSWORD) {
        notes.cleartext(event, "LDAP simple bind", event.text(ldap::NAME));
    } else if event.is(mysql::PASSWORD_IN_CLEAR) {
        notes.cleartext(event, "MySQL clear-text authentication", event.text(mysql::USER));
    } else if event.is(mongodb::PASSWORD_IN_CLEAR) {
        notes.cleartext(event, "MongoDB PLAIN", event.text(mongodb::USERNAME));
    } else if event.is(pgsql::PASSWORD_IN_CLEAR) {
        notes.cleartext(event, "PostgreSQL password authentication", event.text(pgsql::USER));
    }
}
