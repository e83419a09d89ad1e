//! Values of a configuration: what each may be, and what is said where it is not.

use super::error::Invalid;
use crate::dataplane::capture::xdp::Transport;

/// A whole number in a range, or its default.
pub(super) fn number(key: &str, value: Option<i64>, default: u64, low: u64, high: u64) -> Result<u64, Invalid> {
    match value {
        None => Ok(default),
        Some(found) => u64::try_from(found)
            .ok()
            .filter(|number| (low..=high).contains(number))
            .ok_or_else(|| Invalid::range(key, found, format!("{low}..={high}"))),
    }
}

/// As [`number`], for powers of two.
pub(super) fn power(key: &str, value: Option<i64>, default: u64, low: u64, high: u64) -> Result<u32, Invalid> {
    let found = number(key, value, default, low, high)?;
    if !found.is_power_of_two() {
        return Err(Invalid {
            key: key.to_owned(),
            problem: format!("is {found}, which is no power of two"),
            remedy: format!("write {} or {}", found.next_power_of_two() / 2, found.next_power_of_two()),
            other: None,
        });
    }
    Ok(u32::try_from(found).unwrap_or(u32::MAX))
}

/// One of a few words.
pub(super) fn word<T: Copy>(key: &str, value: Option<&str>, words: &[(&str, T)], default: T) -> Result<T, Invalid> {
    let Some(value) = value else { return Ok(default) };
    words.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        Invalid {
            key: key.to_owned(),
            problem: format!("is \"{value}\", allowed is {}", names.join(", ")),
            remedy: format!("write one of: {}", names.join(", ")),
            other: None,
        }
    })
}

/// Thresholds are finite and not negative; serde has no word for it, JSON shows NaN and infinity as null.
pub(super) fn finite(key: &str, value: &serde_json::Value) -> Result<(), Invalid> {
    match value {
        serde_json::Value::Object(fields) => {
            fields.iter().try_for_each(|(name, value)| finite(&format!("{key}.{name}"), value))
        }
        serde_json::Value::Null => Err(Invalid::range(key, "not a finite number", "0 or more")),
        serde_json::Value::Number(number) if number.as_f64().is_some_and(|number| number < 0.0) => {
            Err(Invalid::range(key, number, "0 or more"))
        }
        _ => Ok(()),
    }
}

/// A name as a browser writes it into the Host header.
pub(super) fn host_name(key: &str, name: &str) -> Result<(), Invalid> {
    let good = |letter: char| letter.is_ascii_graphic() && !"/@?#\\".contains(letter);
    if name.is_empty() || name.len() > 253 || !name.chars().all(good) {
        return Err(Invalid {
            key: key.to_owned(),
            problem: format!("is {name:?}, which is no host name"),
            remedy: "write a name or address as it stands in a URL, such as \"shrike.example\"".into(),
            other: None,
        });
    }
    Ok(())
}

/// `tcp/22` or `udp/68`.
pub(super) fn management_port(key: &str, text: &str) -> Result<(Transport, u16), Invalid> {
    let parsed = text.split_once('/').and_then(|(transport, port)| {
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return None,
        };
        Some((transport, port.parse::<u16>().ok().filter(|port| *port > 0)?))
    });
    parsed.ok_or_else(|| Invalid {
        key: key.to_owned(),
        problem: format!("holds \"{text}\", which is no port"),
        remedy: "write \"tcp/22\" or \"udp/68\"".into(),
        other: None,
    })
}

/// `192.0.2.0/24`, or an address alone.
pub(super) fn prefix(key: &str, text: &str) -> Result<(std::net::IpAddr, u8), Invalid> {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let parsed = address.parse::<std::net::IpAddr>().ok().and_then(|address| {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() { whole } else { length.parse::<u8>().ok()? };
        (length <= whole).then_some((address, length))
    });
    parsed.ok_or_else(|| Invalid {
        key: key.to_owned(),
        problem: format!("holds \"{text}\", which is no prefix"),
        remedy: "write \"192.0.2.0/24\" or \"2001:db8::/32\"".into(),
        other: None,
    })
}
