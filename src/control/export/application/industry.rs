//! Controllers: `modbus` and `dnp3`.

use super::{Found, list, put, put_object, text, word};
use crate::dataplane::inspect::{dnp3, modbus};
use serde_json::{Map, Value, json};

/// `modbus`.
pub fn modbus(facts: &mut Found<'_>) -> Map<String, Value> {
    let (mut object, mut request, mut response) = (Map::new(), Map::new(), Map::new());
    let function = facts.peek(modbus::FUNCTION).unwrap_or_default();
    let places = [
        ("transaction_id", modbus::TRANSACTION),
        ("unit_id", modbus::UNIT),
        ("function_raw", modbus::FUNCTION),
        ("function_code", modbus::FUNCTION_NAME),
    ];
    facts.place(&mut request, &places);
    let mut access = Map::new();
    match function {
        1..=4 | 23 => {
            facts.place(&mut access, &[("address", modbus::ADDRESS), ("quantity", modbus::QUANTITY)]);
            put_object(&mut request, "read", access);
        }
        5 | 6 | 15 | 16 | 22 => {
            facts.place(&mut access, &[("address", modbus::ADDRESS), ("data", modbus::VALUE)]);
            put_object(&mut request, "write", access);
        }
        _ => {}
    }
    if let Some(code) = facts.number(modbus::EXCEPTION) {
        let name = word(Some(modbus::exception_name(code)), code);
        response.insert("exception".to_owned(), json!({"raw": code, "code": name}));
    }
    put_object(&mut object, "request", request);
    put_object(&mut object, "response", response);
    object
}

/// `dnp3`: of an event with a request addresses are the request's.
pub fn dnp3(facts: &mut Found<'_>) -> Map<String, Value> {
    let (mut object, mut request, mut response) = (Map::new(), Map::new(), Map::new());
    let is_request = facts.first(dnp3::FUNCTION).is_some();
    let (name, sender) = if is_request { ("request", &mut request) } else { ("response", &mut response) };
    facts.place(sender, &[("src", dnp3::SOURCE), ("dst", dnp3::DESTINATION)]);
    let mut control = Map::new();
    facts.place(&mut control, &[("function_code", dnp3::LINK_FUNCTION)]);
    put_object(sender, "control", control);
    sender.insert("type".to_owned(), name.into());
    if is_request {
        let mut application = Map::new();
        facts.place(&mut application, &[("function_code", dnp3::FUNCTION)]);
        put(&mut application, "objects", list(objects(facts)));
        put_object(&mut request, "application", application);
    }
    let mut application = Map::new();
    facts.place(&mut application, &[("function_code", dnp3::RESPONSE)]);
    put_object(&mut response, "application", application);
    let indicators = facts.peek(dnp3::INDICATIONS).map(indicators).unwrap_or_default();
    if !indicators.is_empty() {
        facts.all(dnp3::INDICATIONS);
        response.insert("iin".to_owned(), json!({"indicators": indicators}));
    }
    put_object(&mut object, "request", request);
    put_object(&mut object, "response", response);
    object
}

/// `group.variation`; a list with something else in it stays what it is.
fn objects(facts: &mut Found<'_>) -> Vec<Value> {
    let one = |bytes: &[u8]| {
        let words = text(bytes);
        let (group, variation) = words.split_once('.')?;
        let (group, variation) = (group.parse::<u64>().ok()?, variation.parse::<u64>().ok()?);
        (words == format!("{group}.{variation}")).then(|| json!({"group": group, "variation": variation}))
    };
    let objects: Option<Vec<Value>> = facts.values(dnp3::OBJECT).map(one).collect();
    if objects.is_some() {
        facts.all(dnp3::OBJECT);
    }
    objects.unwrap_or_default()
}

/// By bit, the first octet in front (IEEE 1815 table 4-3), as Suricata names them.
const INDICATORS: [&str; 16] = [
    "device_restart",
    "device_trouble",
    "local_control",
    "need_time",
    "class_3_events",
    "class_2_events",
    "class_1_events",
    "all_stations",
    "reserved_1",
    "reserved_2",
    "config_corrupt",
    "already_executing",
    "event_buffer_overflow",
    "parameter_error",
    "object_unknown",
    "no_func_code_support",
];

fn indicators(bits: u64) -> Vec<&'static str> {
    INDICATORS.into_iter().enumerate().filter(|(at, _)| bits >> (15 - at) & 1 == 1).map(|(_, name)| name).collect()
}
