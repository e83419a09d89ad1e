//! How an attack hides, by what was drawn for it.

use serde_json::Value;
use std::collections::BTreeMap;

/// Seconds' jitter, as a share of the period, from which on a pace is meant to look like no machine's.
const JITTER: f64 = 0.5;

/// Words of `variant.evasion` and what they are; the option is a program's own.
const WORDS: [(&str, &str); 21] = [
    ("distributed", "distributed"),
    ("many addresses", "distributed"),
    ("forged", "forged sender"),
    ("rand-source", "forged sender"),
    ("DoH", "inside another protocol"),
    ("tunnelled", "inside another protocol"),
    ("-f", "fragments"),
    ("--mtu", "fragments"),
    ("--data-length", "padding"),
    ("--random-agent", "disguise"),
    ("--tamper", "disguise"),
    ("-ua", "disguise"),
    ("-g", "odd header"),
    ("--source-port", "odd header"),
    ("--ttl", "odd header"),
    ("-D", "decoys"),
    ("--scan-delay", "pacing"),
    ("--randomize-hosts", "disguise"),
    ("--badsum", "odd header"),
    ("-M", "splitting"),
    ("-L", "splitting"),
];

/// Kinds of hiding, each once.
pub fn evasions(variant: &BTreeMap<String, Value>) -> Vec<&'static str> {
    let text = |name: &str| variant.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| variant.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let mut kinds = Vec::new();
    let said = text("evasion");
    let mut is_named = false;
    for (word, kind) in WORDS {
        // Options stand at the beginning of a word, and a letter more is another one.
        let has = said.split([' ', '=']).any(|part| part == word) || word.len() > 3 && said.contains(word);
        if has && !said.is_empty() {
            kinds.push(kind);
            is_named = true;
        }
    }
    if !said.is_empty() && !is_named {
        kinds.push("other options");
    }
    if number("jitter") >= JITTER || number("pause_s") > 0.0 || number("delay_ms") > 0.0 || number("delay_s") > 0.0 {
        kinds.push("pacing");
    }
    if ["-T0", "-T1", "-T2"].contains(&text("timing")) || text("speed") == "polite" {
        kinds.push("pacing");
    }
    if number("size_jitter") > 0.0 {
        kinds.push("padding");
    }
    if text("pieces") == "many" || text("connections") == "many" || text("shape") == "spraying" {
        kinds.push("splitting");
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
