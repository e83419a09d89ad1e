//! What the operator wrote, and what the program may rely on.
//!
//! Two steps: [`RawConfig`] is the TOML file as it stands (unknown keys refused, everything optional); [`Config`] is the
//! validated plan with every default filled in. Only the second is used elsewhere. Precedence: command line, then
//! environment (`SHRIKE__SECTION__KEY`), then file, then default. An error names file, line, column, key, the value found,
//! the range allowed and the remedy.

mod detect;
mod error;
mod feed;
mod pair;
mod plan;
mod raw;
mod reload;
mod respond;
mod scan;
#[cfg(test)]
mod tests;
mod values;
mod wanted;

pub use error::{ConfigError, Invalid};
pub use plan::{
    AlertsPlan, CapturePlan, Config, HttpPlan, InventoryPlan, LogPlan, ModelPlan, WorkersPlan, worker_cores,
};
pub use raw::RawConfig;
pub use reload::{Changes, Written};
pub use respond::RespondPlan;

use std::path::Path;

/// Largest configuration file read, bytes; a real one has some hundred lines.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads and validates a file, with overrides from the environment; `None`: defaults and environment alone.
///
/// # Errors
/// The first thing wrong, with its place.
pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let (name, text) = match path {
        None => ("defaults".to_owned(), String::new()),
        Some(path) => {
            let name = path.display().to_string();
            let length = std::fs::metadata(path).map(|meta| meta.len());
            match length.and_then(|length| {
                if length > FILE_BYTES_MAX {
                    return Err(std::io::Error::other(format!("{length} bytes; at most {FILE_BYTES_MAX} are read")));
                }
                std::fs::read(path)
            }) {
                Ok(bytes) => match String::from_utf8(bytes) {
                    Ok(text) => (name, text),
                    Err(cause) => return Err(ConfigError::not_text(name, &cause)),
                },
                Err(cause) => return Err(ConfigError::unreadable(name, &cause)),
            }
        }
    };
    parse(&name, &text, environment)
}

/// As [`load`], on text already read. Never panics, whatever the text.
///
/// # Errors
/// The first thing wrong, with its place.
pub fn parse(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let raw: RawConfig = toml::from_str(text).map_err(|cause| ConfigError::syntax(name, text, &cause))?;
    let config = raw.plan().map_err(|invalid| ConfigError::invalid(name, text, invalid))?;
    let overrides: Vec<_> = environment.filter(|(key, _)| key.starts_with("SHRIKE__")).collect();
    if overrides.is_empty() {
        return Ok(config);
    }
    let mut table: toml::Table = toml::from_str(text).map_err(|cause| ConfigError::syntax(name, text, &cause))?;
    for (variable, value) in &overrides {
        set(&mut table, variable, value)?;
    }
    let raw: RawConfig = table.try_into().map_err(|cause: toml::de::Error| {
        let names: Vec<_> = overrides.iter().map(|(variable, _)| variable.as_str()).collect();
        ConfigError::environment(&names.join(", "), cause.message())
    })?;
    raw.plan().map_err(|invalid| ConfigError::invalid("environment", "", invalid))
}

/// Puts `SHRIKE__HTTP__LISTEN=...` at `http.listen`. The value is TOML where it parses as such, else a string.
fn set(table: &mut toml::Table, variable: &str, value: &str) -> Result<(), ConfigError> {
    let path: Vec<String> = variable.trim_start_matches("SHRIKE__").split("__").map(str::to_ascii_lowercase).collect();
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let Some((last, sections)) = path.split_last().filter(|(last, _)| !last.is_empty()) else {
        return Err(ConfigError::environment(variable, "names no key: write SHRIKE__SECTION__KEY"));
    };
    let mut place = table;
    for section in sections {
        let entry = place.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = entry
            .as_table_mut()
            .ok_or_else(|| ConfigError::environment(variable, &format!("`{section}` is not a section")))?;
    }
    place.insert(last.clone(), parsed);
    Ok(())
}
