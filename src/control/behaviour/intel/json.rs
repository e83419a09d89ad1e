//! Feeds in JSON: bundles of STIX 2.1 and events of MISP. Read as far as they compare single values; the rest is counted.

use super::feed::Reader;
use super::indicator::{self, Read};
use serde_json::Value;

/// Whatever the document is.
///
/// # Errors
/// It is neither; and where.
pub fn read(text: &str, reader: &mut Reader) -> Result<(), (Option<usize>, String)> {
    let document: Value =
        serde_json::from_str(text).map_err(|cause| (Some(cause.line()), format!("is no JSON ({cause})")))?;
    if let Some(objects) = document.get("objects").and_then(Value::as_array) {
        objects.iter().for_each(|object| stix(object, reader));
        return Ok(());
    }
    let Some(event) = document.get("Event") else {
        return Err((None, "is neither a bundle of STIX (objects) nor an event of MISP (Event)".into()));
    };
    let about = event.get("info").and_then(Value::as_str).unwrap_or_default();
    let list = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let nested = list(event, "Object").into_iter().flat_map(|object| list(&object, "Attribute"));
    for attribute in list(event, "Attribute").into_iter().chain(nested) {
        misp(&attribute, about, reader);
    }
    Ok(())
}

/// An attribute (MISP core format, section 2.4.2).
fn misp(attribute: &Value, about: &str, reader: &mut Reader) {
    let field = |name| attribute.get(name).and_then(Value::as_str).unwrap_or_default();
    if attribute.get("to_ids").and_then(Value::as_bool) != Some(true) {
        return;
    }
    let value = field("value");
    let (first, second) = value.split_once('|').unwrap_or((value, ""));
    let reads: Vec<Read> = match field("type") {
        "ip-src" | "ip-dst" => vec![indicator::address(value)],
        "ip-src|port" | "ip-dst|port" => {
            let colons = first.contains(':');
            let service = if colons { format!("[{first}]:{second}") } else { format!("{first}:{second}") };
            vec![indicator::address(&service)]
        }
        "domain" | "hostname" => vec![indicator::name(value)],
        "domain|ip" => vec![indicator::name(first), indicator::address(second)],
        "url" => vec![indicator::any(value)],
        "ja3-fingerprint-md5" | "x509-fingerprint-sha1" => vec![indicator::print(value)],
        _ => vec![Read::Unseen],
    };
    reads.into_iter().for_each(|read| reader.take(0, value, read, about, None, None));
}

/// An indicator (STIX 2.1 section 4.7).
fn stix(object: &Value, reader: &mut Reader) {
    let field = |name| object.get(name).and_then(Value::as_str);
    if field("type") != Some("indicator") || object.get("revoked").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let pattern = field("pattern").unwrap_or_default();
    let about = field("name").unwrap_or_default();
    let percent = object.get("confidence").and_then(Value::as_u64).map(|percent| percent.min(100) as u8);
    let until = match field("valid_until") {
        None => None,
        Some(text) => match seconds(text) {
            Some(until) => Some(until),
            None => return reader.unknown(0, text),
        },
    };
    if field("pattern_type").is_some_and(|kind| kind != "stix") {
        return reader.unseen();
    }
    match comparisons(pattern) {
        Some(reads) => reads.into_iter().for_each(|read| reader.take(0, pattern, read, about, percent, until)),
        None => reader.unseen(),
    }
}

/// `[a:b = 'c' OR d:e = 'f'] OR [g:h = 'i']`; `None`: more than that (STIX 2.1 section 9).
fn comparisons(pattern: &str) -> Option<Vec<Read>> {
    let mut reads = Vec::new();
    let mut rest = pattern.trim();
    while !rest.is_empty() {
        let (inner, behind) = rest.strip_prefix('[')?.split_once(']')?;
        for one in inner.split(" OR ") {
            let (path, value) = one.split_once('=')?;
            let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            if value.contains(['\'', '\\']) || path.contains(['!', '<', '>']) {
                return None;
            }
            let read = match path.trim() {
                "ipv4-addr:value" | "ipv6-addr:value" => indicator::address(value),
                "domain-name:value" => indicator::name(value),
                "url:value" => indicator::any(value),
                path if path.starts_with("x509-certificate:hashes") => indicator::print(value),
                _ => Read::Unseen,
            };
            reads.push(read);
        }
        rest = behind.trim();
        rest = if rest.is_empty() { rest } else { rest.strip_prefix("OR")?.trim() };
    }
    (!reads.is_empty()).then_some(reads)
}

/// Seconds since 1970 of `2027-01-31T12:00:00Z`, with or without a fraction (RFC 3339 in UTC, STIX 2.1 section 2.16).
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, sign: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text.split(sign).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of years that begin in March (Howard Hinnant, days_from_civil).
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = year / 400 * 146_097;
    let of_year = year % 400;
    let days = of_era + of_year * 365 + of_year / 4 - of_year / 100 + (153 * shifted + 2) / 5 + day - 1;
    (hour < 24 && minute < 60 && second < 61)
        .then(|| days.saturating_sub(719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-03-01T00:00:01.000Z", Some(951_868_801)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199)),
            ("2024-02-29", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-01T00:00:00+01:00", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }

    #[test]
    fn patterns_of_single_values_are_read_and_others_left() {
        let count =
            |pattern: &str| comparisons(pattern).map(|reads| reads.iter().filter(|one| **one != Read::Unseen).count());
        for (pattern, wanted) in [
            ("[ipv4-addr:value = '192.0.2.1']", Some(1)),
            ("[domain-name:value = 'a.example' OR url:value = 'http://b.example/']", Some(2)),
            ("[ipv4-addr:value='192.0.2.1'] OR [ipv6-addr:value='2001:db8::1']", Some(2)),
            ("[file:hashes.'SHA-256' = 'aa']", Some(0)),
            ("[ipv4-addr:value = '192.0.2.1' AND domain-name:value = 'a.example']", None),
            ("[ipv4-addr:value != '192.0.2.1']", None),
            ("[ipv4-addr:value = '192.0.2.1'] FOLLOWEDBY [domain-name:value = 'a.example']", None),
            ("", None),
        ] {
            assert_eq!(count(pattern), wanted, "{pattern}");
        }
    }
}
