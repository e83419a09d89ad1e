//! `rdp`.

use super::{Found, put, put_object};
use crate::dataplane::inspect::rdp;
use serde_json::{Map, Value};

/// How the connection is asked for, and what the client says of itself.
pub fn object(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    facts.place(&mut object, &[("event_type", rdp::EVENT), ("cookie", rdp::COOKIE), ("channels", rdp::CHANNEL)]);
    let mut client = Map::new();
    let places = [
        ("client_name", rdp::CLIENT_NAME),
        ("version", rdp::CLIENT_VERSION),
        ("function_keys", rdp::FUNCTION_KEYS),
        ("desktop_width", rdp::WIDTH),
        ("desktop_height", rdp::HEIGHT),
        ("color_depth", rdp::DEPTH),
        ("product_id", rdp::PRODUCT),
    ];
    facts.place(&mut client, &places);
    for (name, fact) in
        [("build", rdp::CLIENT_BUILD), ("keyboard_layout", rdp::KEYBOARD), ("keyboard_type", rdp::KEYBOARD_TYPE)]
    {
        put(&mut client, name, facts.number(fact).map(|number| number.to_string()));
    }
    put_object(&mut object, "client", client);
    object
}
