//! Databases, brokers and telephony: versions, and whether anybody may ask.

use crate::control::inventory::banner::{self, Product};
use crate::control::inventory::event::{About, Event, Notes};
use crate::control::inventory::kinds;
use crate::control::inventory::os;
use crate::control::inventory::wire::Wire;
use crate::dataplane::inspect::{dnp3, memcached, modbus, mongodb, mqtt, mysql, pgsql, redis, s7, sip};

/// Commands that tell nothing about who may ask.
const HARMLESS: [&str; 6] = ["AUTH", "HELLO", "QUIT", "RESET", "COMMAND", ""];

/// Commands that were answered before a login, and passwords.
pub fn redis(event: &Event<'_>, notes: &mut Notes) {
    let (status, error) = (event.text(redis::STATUS), event.text(redis::ERROR));
    let command = event.text(redis::COMMAND).unwrap_or_default().to_ascii_uppercase();
    let answered = event.number(redis::ANSWERED);
    if answered.is_some() {
        let versions = [redis::REDIS_VERSION, redis::SERVER_VERSION].map(|fact| event.text(fact));
        let server = event.text(redis::SERVER);
        let own = if server.as_deref().is_none_or(|name| name == "redis") {
            versions.iter().flatten().next()
        } else {
            versions[1].as_ref()
        };
        notes.service(banner::redis(server.as_deref(), own.map(String::as_str)), own.cloned());
        notes.os(About::Server, event.text(redis::SERVER_OS).as_deref().and_then(os::kernel), "Redis INFO");
        notes.database();
        let refused = error.as_deref().is_some_and(|error| ["NOAUTH", "DENIED", "NOPERM", "ERR"].contains(&error));
        if answered == Some(1) && !refused && !HARMLESS.contains(&command.as_str()) {
            let evidence = format!("it answered {command} of {} before any login", event.client.ip());
            notes.finding(kinds::DATABASE_OPEN, "", evidence);
        }
    }
    // An error that says that no password is set: then what was sent is none.
    let without = status.is_none() && error.as_deref() == Some("ERR");
    if command == "AUTH" && !without {
        notes.cleartext(event, "Redis AUTH", event.text(redis::USERNAME));
    }
}

/// Versions and answers.
pub fn memcached(event: &Event<'_>, notes: &mut Notes) {
    let answer = event.text(memcached::ANSWER);
    let status = event.number(memcached::STATUS);
    let version = event.text(memcached::VERSION);
    if answer.is_none() && status.is_none() && version.is_none() {
        return;
    }
    let product = version
        .as_ref()
        .filter(|text| text.starts_with(|letter: char| letter.is_ascii_digit()))
        .map(|version| Product { name: "memcached".into(), version: Some(version.clone()), distribution: None });
    if event.transport() == "udp" {
        notes.wire(Wire::Udp, true);
    }
    notes.service(product, version);
    notes.database();
    let client = event.client.ip();
    if event.transport() == "udp" {
        notes.finding(kinds::MEMCACHED_UDP, "", format!("it answered {client} over UDP"));
    }
    // 0x20: authentication required. In text ERROR and its kin say nothing of who may ask.
    let refused = status == Some(0x20) || answer.as_deref().is_some_and(|answer| answer.contains("ERROR"));
    if !refused && event.bytes(memcached::USER_NAME).is_none() && status.is_none() {
        notes.finding(kinds::DATABASE_OPEN, "", format!("it answered {client} without a login"));
    }
}

/// The greeting's version.
pub fn mysql(event: &Event<'_>, notes: &mut Notes) {
    let Some(version) = event.text(mysql::SERVER_VERSION) else { return };
    notes.service(banner::mysql(&version), Some(version));
    notes.database();
}

/// Version, and users that were let in without being asked for anything.
pub fn pgsql(event: &Event<'_>, notes: &mut Notes) {
    let authenticated = event.number(pgsql::AUTHENTICATED);
    let version = event.text(pgsql::SERVER_VERSION);
    let answered = authenticated.is_some() || version.is_some() || event.bytes(pgsql::AUTH_METHOD).is_some();
    if !answered && event.bytes(pgsql::CODE).is_none() && event.number(pgsql::SSL_ACCEPTED).is_none() {
        return;
    }
    notes.service(version.as_deref().and_then(banner::postgresql), version);
    notes.database();
    let asked = event.bytes(pgsql::AUTH_METHOD).is_some() || event.bytes(pgsql::SASL_MECHANISM).is_some();
    let begins = event.bytes(pgsql::REQUEST).is_some_and(|request| request == b"startup_message");
    if authenticated == Some(1) && begins && !asked {
        let user = event.text(pgsql::USER).unwrap_or_default();
        let evidence = format!("it let in user {user} from {} without asking for a password", event.client.ip());
        notes.finding(kinds::DATABASE_OPEN, "", evidence);
    }
}

/// Commands that a server which wants a login does not carry out before one.
const OF_USERS: [&str; 24] = [
    "find",
    "query",
    "insert",
    "update",
    "delete",
    "aggregate",
    "count",
    "distinct",
    "findAndModify",
    "getMore",
    "create",
    "drop",
    "dropDatabase",
    "listDatabases",
    "listCollections",
    "listIndexes",
    "createIndexes",
    "dbStats",
    "collStats",
    "serverStatus",
    "hostInfo",
    "getLog",
    "getCmdLineOpts",
    "getParameter",
];

/// Version, and commands that succeeded before a login.
pub fn mongodb(event: &Event<'_>, notes: &mut Notes) {
    let Some(answered) = event.number(mongodb::ANSWERED) else { return };
    let version = event.text(mongodb::SERVER_VERSION);
    let is_version = |text: &&String| text.starts_with(|letter: char| letter.is_ascii_digit());
    let product = version.as_ref().filter(is_version).map(|version| Product {
        name: "mongodb".into(),
        version: Some(version.clone()),
        distribution: None,
    });
    notes.service(product, version);
    notes.database();
    let command = event.text(mongodb::COMMAND).unwrap_or_default();
    if answered == 1 && event.number(mongodb::OK) == Some(1) && OF_USERS.contains(&command.as_str()) {
        let evidence = format!("it carried out {command} of {} without a login", event.client.ip());
        notes.finding(kinds::DATABASE_OPEN, "", evidence);
    }
}

/// User name and password in the flags of CONNECT (MQTT 3.1.1 section 3.1.2.3).
const HAS_PASSWORD: u64 = 0x40;
const HAS_USER: u64 = 0x80;

/// Logins, and clients without one that were let in.
pub fn mqtt(event: &Event<'_>, notes: &mut Notes) {
    let code = event.number(mqtt::RETURN_CODE);
    if code.is_some() {
        notes.service(None, None);
    }
    let Some(flags) = event.number(mqtt::CONNECT_FLAGS) else { return };
    if flags & HAS_PASSWORD != 0 {
        notes.cleartext(event, "MQTT", event.text(mqtt::USERNAME));
    } else if flags & HAS_USER == 0 && code == Some(0) {
        notes.finding(kinds::BROKER_OPEN, "", format!("it let in {} without a user name", event.client.ip()));
    }
}

/// Software of who answers, and of who asks.
pub fn sip(event: &Event<'_>, notes: &mut Notes) {
    let agent = event.text(sip::USER_AGENT);
    let products = agent.as_deref().map(banner::server).unwrap_or_default();
    if event.is_served() {
        notes.service_of(About::Server, products, agent);
    }
}

/// That a controller answers, or tells something by itself.
pub fn controller(event: &Event<'_>, notes: &mut Notes) {
    let has = |fact| event.bytes(fact).is_some();
    let answers = has(modbus::ANSWERED) || has(s7::CONFIRMED) || has(s7::ERROR) || has(dnp3::RESPONSE);
    if answers || event.sender() == About::Server {
        notes.service(None, None);
    }
}
