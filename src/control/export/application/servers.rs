//! `mqtt` and `pgsql`.

use super::{Found, list, names, put, put_object, text};
use crate::dataplane::inspect::{mqtt, number, pgsql};
use serde_json::{Map, Value, json};

/// `mqtt`: an object below it for each packet.
pub fn mqtt(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut inner = Map::new();
    let kind = facts.first(mqtt::TYPE).unwrap_or_default();
    let id = facts.peek(mqtt::MESSAGE_ID);
    let code = facts.first(mqtt::RETURN_CODE).and_then(|code| names::name(mqtt::RETURN_CODE, code));
    facts.beside("return_code_name", code);
    let name = match kind {
        b"connect" => {
            connect(facts, &mut inner);
            fixed_header(&mut inner, 0);
            "connect"
        }
        b"publish" => {
            put(&mut inner, "topic", facts.text(mqtt::TOPIC));
            facts.place(&mut inner, &[("qos", mqtt::QOS)]);
            put(&mut inner, "message_id", id);
            for (name, fact) in [("retain", mqtt::RETAIN), ("dup", mqtt::DUPLICATE)] {
                put(&mut inner, name, facts.yes_no(fact));
            }
            "publish"
        }
        b"subscribe" => {
            let topics = facts.all(mqtt::TOPIC);
            let wanted = facts.some(mqtt::REQUESTED_QOS, topics.len()).into_iter().map(number).map(Some);
            let topic = |(topic, qos): (&[u8], Option<u64>)| {
                let mut object = Map::from_iter([("topic".to_owned(), text(topic).into())]);
                put(&mut object, "qos", qos);
                object
            };
            let topics = topics.into_iter().zip(wanted.chain(std::iter::repeat(None))).map(topic);
            put(&mut inner, "topics", list(topics.collect()));
            put(&mut inner, "message_id", id);
            fixed_header(&mut inner, 1);
            "subscribe"
        }
        b"unsubscribe" => {
            facts.place(&mut inner, &[("topics", mqtt::TOPIC)]);
            put(&mut inner, "message_id", id);
            fixed_header(&mut inner, 1);
            "unsubscribe"
        }
        b"disconnect" => {
            facts.place(&mut inner, &[("reason_code", mqtt::RETURN_CODE)]);
            fixed_header(&mut inner, 0);
            "disconnect"
        }
        _ => "",
    };
    if !name.is_empty() {
        object.insert(name.to_owned(), inner.into());
    }
    let mut answer = Map::new();
    facts.place(&mut answer, &[("return_code", mqtt::RETURN_CODE)]);
    put(&mut answer, "session_present", facts.yes_no(mqtt::SESSION_PRESENT));
    if !answer.is_empty() {
        fixed_header(&mut answer, 0);
        object.insert("connack".to_owned(), answer.into());
    }
    acknowledgements(facts, id, &mut object);
    // The name of an object tells it.
    if std::str::from_utf8(kind).is_ok_and(|kind| object.contains_key(kind)) {
        facts.one(mqtt::TYPE);
    }
    if object.values().any(|inner| inner.get("message_id").is_some()) {
        facts.one(mqtt::MESSAGE_ID);
    }
    object
}

/// What the other side says to a message or subscription: an object for each packet.
fn acknowledgements(facts: &mut Found<'_>, id: Option<u64>, object: &mut Map<String, Value>) {
    for (name, fact, qos) in [
        ("puback", mqtt::PUBACK, 0),
        ("pubrec", mqtt::PUBREC, 0),
        ("pubrel", mqtt::PUBREL, 1),
        ("pubcomp", mqtt::PUBCOMP, 0),
    ] {
        let mut inner = Map::new();
        facts.place(&mut inner, &[("reason_code", fact)]);
        if !inner.is_empty() {
            put(&mut inner, "message_id", id);
            fixed_header(&mut inner, qos);
            object.insert(name.to_owned(), inner.into());
        }
    }
    // Told by the object: that there is none stays.
    let is_over = facts.peek(mqtt::UNSUBACK) == Some(1) && facts.flag(mqtt::UNSUBACK);
    for (name, codes, fact, is_there) in [
        ("suback", "qos_granted", mqtt::GRANTED_QOS, false),
        ("unsuback", "reason_codes", mqtt::UNSUBACK_CODES, is_over),
    ] {
        let mut inner = Map::new();
        facts.place(&mut inner, &[(codes, fact)]);
        if is_there || !inner.is_empty() {
            put(&mut inner, "message_id", id);
            fixed_header(&mut inner, 0);
            object.insert(name.to_owned(), inner.into());
        }
    }
}

/// What the first byte of every packet but PUBLISH says: the standard leaves one value to each type.
fn fixed_header(object: &mut Map<String, Value>, qos: u8) {
    object.insert("qos".to_owned(), qos.into());
    object.insert("retain".to_owned(), false.into());
    object.insert("dup".to_owned(), false.into());
}

fn connect(facts: &mut Found<'_>, object: &mut Map<String, Value>) {
    let places = [
        ("client_id", mqtt::CLIENT_ID),
        ("username", mqtt::USERNAME),
        ("protocol_string", mqtt::PROTOCOL_NAME),
        ("protocol_version", mqtt::PROTOCOL_VERSION),
    ];
    facts.place(object, &places);
    if let Some(bits) = facts.peek(mqtt::CONNECT_FLAGS) {
        let names = [("username", 7), ("password", 6), ("will_retain", 5), ("will", 2), ("clean_session", 1)];
        let flags = names.into_iter().map(|(name, bit)| (name.to_owned(), (bits >> bit & 1 == 1).into()));
        put_object(object, "flags", flags.collect());
        // Other bits have no name in the schema: with one of them the number stays.
        if names.into_iter().fold(bits, |rest, (_, bit)| rest & !(1 << bit)) == 0 {
            facts.one(mqtt::CONNECT_FLAGS);
        }
    }
    let mut will = Map::new();
    facts.place(&mut will, &[("topic", mqtt::WILL_TOPIC)]);
    put_object(object, "will", will);
}

/// `pgsql`.
pub fn pgsql(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    put_object(&mut object, "request", request(facts));
    put_object(&mut object, "response", response(facts));
    object
}

fn request(facts: &mut Found<'_>) -> Map<String, Value> {
    let (mut object, mut parameters) = (Map::new(), Map::new());
    let message = match facts.first(pgsql::REQUEST) {
        // What follows tells it.
        Some(b"startup_message") => None,
        Some(b"ssl_request") => Some("SSL Request".to_owned()),
        other => other.map(text),
    };
    put(&mut object, "message", message);
    let places =
        [("protocol_version", pgsql::PROTOCOL_VERSION), ("sasl_authentication_mechanism", pgsql::SASL_MECHANISM)];
    facts.place(&mut object, &places);
    facts.place(&mut parameters, &[("user", pgsql::USER)]);
    let mut optional = Vec::new();
    for (name, fact) in [("database", pgsql::DATABASE), ("application_name", pgsql::APPLICATION)] {
        optional.extend(facts.text(fact).map(|value| json!({name: value})));
    }
    put(&mut parameters, "optional_parameters", list(optional));
    if object.contains_key("message") || !parameters.is_empty() {
        facts.one(pgsql::REQUEST);
    }
    put_object(&mut object, "startup_parameters", parameters);
    object
}

fn response(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "ssl_accepted", facts.yes_no(pgsql::SSL_ACCEPTED));
    let places = [("code", pgsql::CODE), ("severity_non_localizable", pgsql::SEVERITY), ("message", pgsql::MESSAGE)];
    facts.place(&mut object, &places);
    if !object.contains_key("message") {
        put(&mut object, "message", authentication(facts));
    }
    let version = facts.text(pgsql::SERVER_VERSION).map(|version| vec![json!({"server_version": version})]);
    put(&mut object, "parameter_status", version);
    object
}

/// How far a login came. The method stays among the other facts too: of a login that succeeded nothing else tells it.
fn authentication(facts: &mut Found<'_>) -> Option<&'static str> {
    if facts.peek(pgsql::AUTHENTICATED) == Some(1) {
        facts.all(pgsql::AUTHENTICATED);
        return Some("authentication_ok");
    }
    match facts.first(pgsql::AUTH_METHOD)? {
        b"password" => Some("authentication_cleartext_password"),
        b"sasl" => Some("authentication_sasl"),
        _ => None,
    }
}
