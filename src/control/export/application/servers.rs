//! `mqtt` and `pgsql`.

use super::{Found, list, put, put_object};
use crate::dataplane::inspect::{mqtt, number, pgsql};
use serde_json::{Map, Value, json};

/// `mqtt`: an object below it for each packet.
pub fn mqtt(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut inner = Map::new();
    let kind = facts.first(mqtt::TYPE).unwrap_or_default();
    let id = facts.number(mqtt::MESSAGE_ID);
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
                put(&mut inner, name, facts.number(fact).map(|value| value != 0));
            }
            "publish"
        }
        b"subscribe" => {
            let wanted =
                facts.all(mqtt::REQUESTED_QOS).into_iter().map(number).map(Some).chain(std::iter::repeat(None));
            let topic = |(topic, qos): (String, Option<u64>)| {
                let mut object = Map::from_iter([("topic".to_owned(), topic.into())]);
                put(&mut object, "qos", qos);
                object
            };
            put(&mut inner, "topics", list(facts.texts(mqtt::TOPIC).into_iter().zip(wanted).map(topic).collect()));
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
    facts.all(mqtt::TYPE);
    if !name.is_empty() {
        object.insert(name.to_owned(), inner.into());
    }
    let mut answer = Map::new();
    facts.place(&mut answer, &[("return_code", mqtt::RETURN_CODE)]);
    put(&mut answer, "session_present", facts.number(mqtt::SESSION_PRESENT).map(|present| present != 0));
    if !answer.is_empty() {
        fixed_header(&mut answer, 0);
        object.insert("connack".to_owned(), answer.into());
    }
    acknowledgements(facts, id, &mut object);
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
    for (name, codes, fact, is_there) in [
        ("suback", "qos_granted", mqtt::GRANTED_QOS, false),
        ("unsuback", "reason_codes", mqtt::UNSUBACK_CODES, facts.flag(mqtt::UNSUBACK)),
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
