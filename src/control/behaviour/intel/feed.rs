//! One feed out of one file. A file is somebody else's text: its size, lines and indicators are bounded, and what it has that is no
//! indicator is counted and named, never dropped in silence.
//!
//! | how it begins | what it is |
//! | --- | --- |
//! | `#fields` | Zeek's intelligence framework: columns `indicator`, `indicator_type`, `meta.desc`, `meta.source` |
//! | `{` | a STIX 2.1 bundle (comparisons with `=`, joined by OR), or an event of MISP (attributes with `to_ids`) |
//! | anything else | a line for each: address, network, address with port, name, URL, JA3, JA4, SHA-1 of a certificate; `#` begins a comment. Also `0.0.0.0 NAME` (a hosts file), `ADDRESS,CATEGORY,SCORE` (Suricata's iprep), `VALUE,REPUTATION` (its data sets; `format = "base64"` for those of strings) |

use super::indicator::{self, Key, Read};
use super::json;
use super::table::{About, Table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Larger files are refused, bytes: a million URLs have some 80 MiB.
const BYTES_MAX: u64 = 256 << 20;
/// Text of an indicator that is kept of what a feed says of it.
const ABOUT_MAX: usize = 120;
/// Of what cannot be read there may be a tenth.
const UNKNOWN_SHARE: usize = 10;

/// How a file is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// As it begins.
    #[default]
    Auto,
    /// Lines in base64, as Suricata's data sets of strings are.
    Base64,
}

/// A feed as the operator names it.
#[derive(Clone, PartialEq, Debug)]
pub struct FeedPlan {
    /// Name in alerts.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub format: Format,
    /// How sure its indicators are, percent, where they do not say so themselves.
    pub percent: u8,
    /// Days after the last change of the file after which its indicators are none any more; `None`: they stay.
    pub valid_days: Option<u64>,
    /// Hours without a change of the file after which the feed counts as dead; `None`: it never does.
    pub stale_hours: Option<u64>,
}

/// A feed cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("feed {feed}: {}{}: {problem}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct FeedError {
    /// Its name.
    pub feed: String,
    /// Its file.
    pub path: PathBuf,
    /// Where in it.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// A feed that was read.
pub struct Loaded {
    /// Its indicators.
    pub table: Table,
    /// Those of what is not looked at.
    pub unseen: usize,
    /// What is none, and the first such line.
    pub unknown: usize,
    /// The first of them: line and text.
    pub first_unknown: Option<(usize, String)>,
}

impl Loaded {
    /// In words for people.
    pub fn words(&self, plan: &FeedPlan) -> String {
        let mut text = format!("feed {}: {} indicators", plan.name, self.table.count());
        if self.unseen > 0 {
            text.push_str(&format!(", {} of what is not looked at (digests of files and the like)", self.unseen));
        }
        if let Some((line, first)) = &self.first_unknown {
            text.push_str(&format!(", {} not read, first in line {line}: {first:?}", self.unknown));
        }
        text
    }
}

/// What is being read.
pub struct Reader {
    loaded: Loaded,
    percent: u8,
    until: Option<u64>,
    limit: usize,
    is_full: bool,
    texts: HashSet<Arc<str>>,
}

impl Reader {
    /// What became of one text.
    pub fn take(&mut self, line: usize, text: &str, read: Read, about: &str, percent: Option<u8>, until: Option<u64>) {
        match read {
            Read::Keys(keys) => self.add(keys, about, percent, until),
            Read::Unseen => self.loaded.unseen += 1,
            Read::Unknown => self.unknown(line, text),
        }
    }

    /// Something of the file that is not looked at.
    pub fn unseen(&mut self) {
        self.loaded.unseen += 1;
    }

    /// Something that is no indicator.
    pub fn unknown(&mut self, line: usize, text: &str) {
        self.loaded.unknown += 1;
        self.loaded.first_unknown.get_or_insert_with(|| (line, text.chars().take(60).collect()));
    }

    fn add(&mut self, keys: Vec<Key>, about: &str, percent: Option<u8>, until: Option<u64>) {
        let text = match self.texts.get(about) {
            Some(known) => Arc::clone(known),
            None => {
                let text: String = about.chars().filter(|one| !one.is_control()).take(ABOUT_MAX).collect();
                let known = self.texts.get(text.as_str()).cloned();
                known.unwrap_or_else(|| {
                    let text: Arc<str> = text.into();
                    self.texts.insert(Arc::clone(&text));
                    text
                })
            }
        };
        // What ends first ends it.
        let until = [until, self.until].into_iter().flatten().min();
        for key in keys {
            if self.loaded.table.count() >= self.limit {
                self.is_full = true;
                return;
            }
            let percent = percent.unwrap_or(self.percent).min(100);
            self.loaded.table.add(key, About { text: Arc::clone(&text), percent, until });
        }
    }
}

/// Reads a feed; `limit`: indicators at most.
///
/// # Errors
/// The file cannot be read, is too large, or is no feed: nothing of it is used then.
pub fn read(plan: &FeedPlan, limit: usize) -> Result<Loaded, FeedError> {
    let fail = |line, problem: String| FeedError { feed: plan.name.clone(), path: plan.path.clone(), line, problem };
    let (bytes, changed) = bytes(&plan.path).map_err(|problem| fail(None, problem))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes.get(..error.valid_up_to()).unwrap_or_default().split(|byte| *byte == b'\n').count();
        fail(Some(line), "is no text in UTF-8".into())
    })?;
    // A line has some twenty bytes: room that is not needed costs nothing but addresses.
    let table = Table::with_room(&plan.name, limit.min(bytes.len() / 20));
    let loaded = Loaded { table, unseen: 0, unknown: 0, first_unknown: None };
    let until = plan.valid_days.map(|days| changed.saturating_add(days.saturating_mul(86_400)));
    let percent = plan.percent;
    let mut reader = Reader { loaded, percent, until, limit, is_full: false, texts: HashSet::new() };
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        json::read(text, &mut reader).map_err(|(line, problem)| fail(line, problem))?;
    } else {
        lines(text, plan.format, &mut reader).map_err(|(line, problem)| fail(Some(line), problem))?;
    }
    if reader.is_full {
        return Err(fail(None, format!("has more than {limit} indicators; raise detect.intel.indicators")));
    }
    let loaded = reader.loaded;
    let known = loaded.table.count() + loaded.unseen;
    if let Some((line, first)) = loaded.first_unknown.clone().filter(|_| loaded.unknown * UNKNOWN_SHARE > known) {
        let problem =
            format!("{first:?} is no indicator, nor are {} others of {}", loaded.unknown - 1, known + loaded.unknown);
        return Err(fail(Some(line), problem));
    }
    if known == 0 {
        return Err(fail(None, "has no indicator: was its download cut short?".into()));
    }
    Ok(loaded)
}

/// The file, and when it was changed, seconds since 1970.
fn bytes(path: &Path) -> Result<(Vec<u8>, u64), String> {
    let file = File::open(path).map_err(|cause| cause.to_string())?;
    let data = file.metadata().map_err(|cause| cause.to_string())?;
    if !data.is_file() {
        return Err("is no file".into());
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|cause| cause.to_string())?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("is larger than {} MiB", BYTES_MAX >> 20));
    }
    let changed = data.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok((bytes, changed.map_or(0, |since| since.as_secs())))
}

fn lines(text: &str, format: Format, reader: &mut Reader) -> Result<(), (usize, String)> {
    let mut columns: Option<Vec<&str>> = None;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end())) {
        if let Some(names) = line.strip_prefix("#fields") {
            let names: Vec<&str> = names.split('\t').skip(1).collect();
            if !["indicator", "indicator_type"].iter().all(|name| names.contains(name)) {
                return Err((number, "has no columns indicator and indicator_type, separated by tabs".into()));
            }
            columns = Some(names);
            continue;
        }
        if line.trim_start().is_empty() || line.trim_start().starts_with(['#', ';']) || line.starts_with("//") {
            continue;
        }
        match &columns {
            Some(names) => zeek(number, line, names, reader),
            None => plain(number, line.trim(), format, reader),
        }
    }
    Ok(())
}

/// A line of Zeek's framework (`base/frameworks/intel`).
fn zeek(number: usize, line: &str, names: &[&str], reader: &mut Reader) {
    let column = |wanted: &str| {
        let at = names.iter().position(|name| *name == wanted)?;
        line.split('\t').nth(at).filter(|text| !matches!(*text, "" | "-"))
    };
    let (Some(text), Some(kind)) = (column("indicator"), column("indicator_type")) else {
        return reader.unknown(number, line);
    };
    let read = match kind.strip_prefix("Intel::").unwrap_or(kind) {
        "ADDR" | "SUBNET" => indicator::address(text),
        "DOMAIN" => indicator::name(text),
        "URL" => indicator::any(&format!("http://{}", text.split_once("://").map_or(text, |(_, rest)| rest))),
        "CERT_HASH" | "JA3" | "JA4" => indicator::print(text),
        _ => Read::Unseen,
    };
    let about = column("meta.desc").or_else(|| column("meta.source")).unwrap_or_default();
    reader.take(number, text, read, about, None, None);
}

/// A line of a list.
fn plain(number: usize, line: &str, format: Format, reader: &mut Reader) {
    let line = line.split(" #").next().unwrap_or(line).trim();
    if format == Format::Base64 {
        let value = line.split(',').next().unwrap_or(line);
        let text = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        return match text {
            Some(text) => reader.take(number, line, indicator::any(&text), "", None, None),
            None => reader.unknown(number, line),
        };
    }
    let mut words = line.split_ascii_whitespace();
    if let (Some(address), Some(name), None) = (words.next(), words.next(), words.next())
        && matches!(address, "0.0.0.0" | "127.0.0.1" | "::" | "::1")
    {
        // Hosts files begin with the machine's own names.
        let own =
            name.starts_with("localhost") || name.starts_with("ip6-") || matches!(name, "broadcasthost" | "0.0.0.0");
        return if own { reader.unseen() } else { reader.take(number, line, indicator::name(name), "", None, None) };
    }
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    match fields[..] {
        _ if line.contains("://") => reader.take(number, line, indicator::any(line), "", None, None),
        [value, category, score] if category.parse::<u8>().is_ok() => match score.parse::<u8>() {
            // 0 takes an address out of a category; 127 is the worst (Suricata, IP reputation format).
            Ok(0) => reader.unseen(),
            Ok(score @ ..=127) => {
                let percent = (u32::from(score) * 100 / 127) as u8;
                reader.take(
                    number,
                    line,
                    indicator::address(value),
                    &format!("category {category}"),
                    Some(percent),
                    None,
                );
            }
            _ => reader.unknown(number, line),
        },
        [value, reputation] if reputation.parse::<u16>().is_ok() => {
            reader.take(number, line, indicator::any(value), "", None, None);
        }
        _ => reader.take(number, line, indicator::any(line.trim_matches('"')), "", None, None),
    }
}
