//! `ssh`.

use super::{Found, hex, put, put_object, text};
use crate::dataplane::inspect::Fact;
use crate::dataplane::inspect::ssh;
use serde_json::{Map, Value, json};

/// Versions and fingerprints of both sides.
pub fn object(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    put_object(&mut object, "client", side(facts, [ssh::CLIENT_VERSION, ssh::CLIENT_SOFTWARE, ssh::HASSH]));
    put_object(&mut object, "server", side(facts, [ssh::SERVER_VERSION, ssh::SERVER_SOFTWARE, ssh::HASSH_SERVER]));
    object
}

fn side(facts: &mut Found<'_>, [version, software, lists]: [Fact; 3]) -> Map<String, Value> {
    let mut object = Map::new();
    facts.place(&mut object, &[("proto_version", version), ("software_version", software)]);
    // Of lists that were cut there is no fingerprint; they stay among the other facts.
    if facts.first(lists).is_some_and(|lists| lists.len() < ssh::HASSH_MAX) {
        let hassh = |lists: &[u8]| json!({"hash": hex(&ssh::hassh(lists)), "string": text(lists)});
        put(&mut object, "hassh", facts.one(lists).map(hassh));
    }
    object
}
