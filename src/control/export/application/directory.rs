//! `krb5` and `ldap`.

use super::{Found, list, put, put_object, text, word};
use crate::dataplane::inspect::{kerberos, ldap};
use serde_json::{Map, Value, json};

/// `krb5`.
pub fn kerberos(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    put(&mut object, "msg_type", facts.last(kerberos::MESSAGE_TYPE).map(text));
    let places = [("realm", kerberos::REALM), ("cname", kerberos::CLIENT), ("sname", kerberos::SERVICE)];
    facts.place(&mut object, &places);
    if let Some(code) = facts.number(kerberos::ERROR) {
        object.insert("error_code".to_owned(), word(Some(kerberos::error_name(code)), code).into());
        let request = facts.peek(kerberos::REQUEST_TYPE).and_then(|kind| u8::try_from(kind).ok());
        object.insert("failed_request".to_owned(), request.map_or("UNKNOWN", kerberos::message_name).into());
    }
    if facts.peek(kerberos::ENCRYPTION).is_none() {
        // Suricata's words for a message with nothing encrypted in it: a request, an error.
        object.insert("encryption".to_owned(), "<none>".into());
        object.insert("weak_encryption".to_owned(), false.into());
    }
    for (fact, name, weak) in [
        (kerberos::ENCRYPTION, "encryption", "weak_encryption"),
        (kerberos::TICKET_ENCRYPTION, "ticket_encryption", "ticket_weak_encryption"),
    ] {
        if let Some(kind) = facts.number(fact) {
            object.insert(name.to_owned(), word(Some(kerberos::encryption_name(kind)), kind).into());
            object.insert(weak.to_owned(), kerberos::is_weak(kind).into());
        }
    }
    object
}

/// `ldap`.
pub fn ldap(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let request = request(facts);
    let responses = responses(facts, request.is_empty());
    put_object(&mut object, "request", request);
    put(&mut object, "responses", list(responses));
    object
}

fn request(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let Some(operation) = facts.text(ldap::OPERATION) else { return object };
    facts.place(&mut object, &[("message_id", ldap::ID)]);
    let mut inner = Map::new();
    match operation.as_str() {
        "bind_request" => {
            facts.place(&mut inner, &[("version", ldap::VERSION), ("name", ldap::NAME)]);
            let mut sasl = Map::new();
            facts.place(&mut sasl, &[("mechanism", ldap::MECHANISM)]);
            put_object(&mut inner, "sasl", sasl);
        }
        "search_request" => {
            let places = [("base_object", ldap::BASE), ("scope", ldap::SCOPE), ("attributes", ldap::ATTRIBUTE)];
            facts.place(&mut inner, &places);
        }
        "add_request" | "mod_dn_request" | "compare_request" => facts.place(&mut inner, &[("entry", ldap::ENTRY)]),
        "del_request" => facts.place(&mut inner, &[("dn", ldap::ENTRY)]),
        "modify_request" => facts.place(&mut inner, &[("object", ldap::ENTRY)]),
        "extended_request" => facts.place(&mut inner, &[("name", ldap::EXTENDED)]),
        _ => {}
    }
    put_object(&mut object, &operation, inner);
    object.insert("operation".to_owned(), operation.into());
    object
}

/// Operations that answer with a result.
const RESULTS: [&str; 8] = [
    "bind_response",
    "search_result_done",
    "modify_response",
    "add_response",
    "del_response",
    "mod_dn_response",
    "compare_response",
    "extended_response",
];

/// The first entry that was found, and the answer that ends it.
fn responses(facts: &mut Found<'_>, is_alone: bool) -> Vec<Value> {
    let mut responses = Vec::new();
    let id = facts.peek(ldap::ID).filter(|_| is_alone);
    let mut add = |operation: &str, inner: Map<String, Value>| {
        let mut object = Map::from_iter([("operation".to_owned(), json!(operation))]);
        put_object(&mut object, operation, inner);
        put(&mut object, "message_id", id);
        responses.push(object.into());
    };
    let attributes: Vec<Value> =
        facts.all(ldap::FOUND_ATTRIBUTE).into_iter().map(|name| json!({"type": text(name)})).collect();
    let mut entry = Map::new();
    facts.place(&mut entry, &[("base_object", ldap::FOUND)]);
    put(&mut entry, "attributes", list(attributes));
    if !entry.is_empty() {
        add("search_result_entry", entry);
    }
    if let Some(operation) = facts.text(ldap::RESPONSE) {
        let mut result = Map::new();
        if RESULTS.contains(&operation.as_str()) {
            let code = facts.number(ldap::RESULT);
            put(&mut result, "result_code", code.map(|code| word(Some(ldap::result_name(code)), code)));
            facts.place(&mut result, &[("matched_dn", ldap::MATCHED), ("message", ldap::MESSAGE)]);
        }
        add(&operation, result);
    }
    if is_alone && !responses.is_empty() {
        facts.all(ldap::ID);
    }
    responses
}
