//! `mqtt` and `pgsql`.

use super::{Found, list, put, put_object};
use crate::dataplane::inspect::{mqtt, pgsql};
use serde_json::{Map, Value, json};

/// `mqtt`: an object below it for each packet.
pub fn mqtt(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut inner = Map::new();
    let kind = facts.first(mqtt::TYPE).unwrap_or_default();
    let name = match kind {
        b"connect" => {
            connect(facts, &mut inner);
            fixed_header(&mut inner, 0);
            "connect"
        }
        b"publish" => {
            put(&mut inner, "topic", facts.text(mqtt::TOPIC));
            facts.place(&mut inner, &[("qos", mqtt::QOS)]);
            for (name, fact) in [("retain", mqtt::RETAIN), ("dup", mqtt::DUPLICATE)] {
                put(&mut inner, name, facts.number(fact).map(|value| value != 0));
            }
            "publish"
        }
        b"subscribe" => {
            let topics = facts.texts(mqtt::TOPIC).into_iter().map(|topic| json!({"topic": topic})).collect::<Vec<_>>();
            put(&mut inner, "topics", list(topics));
            fixed_header(&mut inner, 1);
            "subscribe"
        }
        b"unsubscribe" => {
            facts.place(&mut inner, &[("topics", mqtt::TOPIC)]);
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
        facts.all(mqtt::TYPE);
        object.insert(name.to_owned(), inner.into());
    }
    let mut answer = Map::new();
    facts.place(&mut answer, &[("return_code", mqtt::RETURN_CODE)]);
    put(&mut answer, "session_present", facts.number(mqtt::SESSION_PRESENT).map(|present| present != 0));
    if !answer.is_empty() {
        fixed_header(&mut answer, 0);
        object.insert("connack".to_owned(), answer.into());
    }
    object
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
    if let Some(bits) = facts.number(mqtt::CONNECT_FLAGS) {
        let names = [("username", 7), ("password", 6), ("will_retain", 5), ("will", 2), ("clean_session", 1)];
        let flags = names.into_iter().map(|(name, bit)| (name.to_owned(), (bits >> bit & 1 == 1).into()));
        put_object(object, "flags", flags.collect());
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
        other => other.map(super::text),
    };
    facts.all(pgsql::REQUEST);
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
    put_object(&mut object, "startup_parameters", parameters);
    object
}

fn response(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "ssl_accepted", facts.number(pgsql::SSL_ACCEPTED).map(|accepted| accepted != 0));
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
