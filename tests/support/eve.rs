//! Suricata's published schema of EVE, and whether lines obey it.
#![allow(dead_code)] // each test binary uses its own part

use super::support;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The schema, and where it lies.
pub struct Schema {
    root: Value,
    path: PathBuf,
}

impl Schema {
    /// That of the captures' folder.
    pub fn open(data: &Path) -> Schema {
        let path = data.join("conformance/eve/schema.json");
        let root = serde_json::from_str(&std::fs::read_to_string(&path).expect("a schema")).expect("JSON");
        Schema { root, path }
    }

    /// What is wrong with `line`, after the one object more than Suricata has was taken out.
    pub fn violations(&self, line: &mut Value) -> Vec<String> {
        let mut found = Vec::new();
        line.as_object_mut().expect("an object").remove("ml");
        violations(&self.root, &self.root, line, "", &mut found);
        found
    }

    /// The same by the usual validator, where Python has it.
    pub fn validate_with_python(&self, test: &str, lines: &[Value]) {
        let script = "import json,sys,jsonschema\n\
                      v=jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))\n\
                      for line in sys.stdin: v.validate(json.loads(line))";
        let python = std::env::var("SHRIKE_PYTHON").unwrap_or_else(|_| "python3".into());
        let installed = Command::new(&python).args(["-c", "import jsonschema"]).stderr(Stdio::null()).status();
        if !installed.is_ok_and(|status| status.success()) {
            return support::skip(test, "jsonschema", "Python has no jsonschema");
        }
        let mut command = Command::new(&python);
        let mut validator =
            command.args(["-c", script]).arg(&self.path).stdin(Stdio::piped()).spawn().expect("python starts");
        let mut input = validator.stdin.take().expect("a pipe");
        for line in lines {
            if writeln!(input, "{line}").is_err() {
                break; // it refused a line, and says so
            }
        }
        drop(input);
        assert!(validator.wait().expect("an end").success(), "jsonschema refuses a line; its words stand above");
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema has a type {other}"),
    }
}

/// What Suricata's schema uses of JSON Schema: `type`, `properties`, `additionalProperties: false`, `required`, `items`,
/// `minItems`, `minProperties`, `enum`, `const`, `oneOf`, `minimum` (always 0), its two patterns, and local `$ref`.
fn violations(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}: no {name}"));
        return violations(root, target, value, path, found);
    }
    let fits = match &schema["type"] {
        Value::String(kind) => is_a(value, kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(|kind| is_a(value, kind)),
        _ => true,
    };
    if !fits {
        found.push(format!("{path}: {value} is no {}", schema["type"]));
    }
    words(root, schema, value, path, found);
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(required).is_none() {
            found.push(format!("{path}: {required} is missing"));
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        let inner = format!("{path}.{name}");
        match schema["properties"].get(name) {
            Some(rule) => violations(root, rule, part, &inner, found),
            None if schema["additionalProperties"] == Value::Bool(false) => found.push(format!("{inner}: not allowed")),
            None => {}
        }
    }
    for (index, part) in value.as_array().into_iter().flatten().enumerate() {
        violations(root, &schema["items"], part, &format!("{path}[{index}]"), found);
    }
    let has_at_least = |name: &str, count: Option<usize>| {
        count.is_none_or(|count| count as u64 >= schema[name].as_u64().unwrap_or_default())
    };
    if !has_at_least("minItems", value.as_array().map(Vec::len))
        || !has_at_least("minProperties", value.as_object().map(serde_json::Map::len))
    {
        found.push(format!("{path}: too few"));
    }
}

/// Which values are allowed.
fn words(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
    if let Some(only) = schema.get("const").filter(|only| *only != value) {
        found.push(format!("{path}: {value} is not {only}"));
    }
    if schema["minimum"] == 0 && value.as_i64().is_some_and(|value| value < 0) {
        found.push(format!("{path}: {value} is below 0"));
    }
    if let Some(text) = value.as_str()
        && let Some(pattern) = schema["pattern"].as_str()
        && !matches(pattern, text)
    {
        found.push(format!("{path}: {text} is not like {pattern}"));
    }
    if let Some(rules) = schema["oneOf"].as_array() {
        let fits = |rule: &&Value| {
            let mut inner = Vec::new();
            violations(root, rule, value, path, &mut inner);
            inner.is_empty()
        };
        if rules.iter().filter(fits).count() != 1 {
            found.push(format!("{path}: {value} fits not one of {rules:?}"));
        }
    }
}

/// The schema's two patterns.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$" => is_eve_time(text),
        r"^[1-2]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$" => is_date(text) && text.starts_with(['1', '2']),
        other => panic!("the schema has a new pattern: {other}"),
    }
}

fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
    shape == "9999-99-99T99:99:99"
}

/// `2020-01-31T23:59:59.123456+0000`.
pub fn is_eve_time(text: &str) -> bool {
    let Some((head, tail)) = text.split_once('.') else { return false };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some((fraction, offset)) = tail.split_once(['+', '-']) else { return false };
    is_date(head) && digits(fraction) && digits(offset)
}
