//! `[scan]`: what may be asked actively, and how hard.

use super::error::Invalid;
use super::raw::RawScan;
use super::values::number;
use crate::control::respond::scan::Settings;
use std::time::Duration;

/// The plan of this section.
///
/// # Errors
/// The first value that cannot be meant.
pub(super) fn plan(raw: &RawScan) -> Result<Settings, Invalid> {
    let default = Settings::default();
    let targets = super::respond::prefixes("scan.targets", raw.targets.as_deref().unwrap_or_default())?;
    let mut ports = Vec::new();
    for (index, port) in raw.ports.iter().flatten().enumerate() {
        ports.push(number(&format!("scan.ports[{index}]"), Some(*port), 1, 1, 65_535)? as u16); // at most 65535
    }
    let milliseconds = |key: &str, value, default: Duration| {
        let found = number(key, value, default.as_millis() as u64, 10, 60_000)?; // a second or two
        Ok(Duration::from_millis(found))
    };
    Ok(Settings {
        targets,
        ports: if raw.ports.is_some() { ports } else { default.ports },
        rate: number("scan.rate", raw.rate, default.rate.into(), 1, 100_000)? as u32,
        concurrency: number("scan.concurrency", raw.concurrency, default.concurrency.into(), 1, 50_000)? as u32,
        timeout: milliseconds("scan.timeout_ms", raw.timeout_ms, default.timeout)?,
        greeting: milliseconds("scan.greeting_ms", raw.greeting_ms, default.greeting)?,
    })
}
