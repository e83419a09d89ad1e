//! nDPI's recorded results, which lie beside its captures.
#![allow(dead_code)] // each test binary uses its own part

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A flow as either side names it: protocol and the two ends in order.
pub type Ends = (u8, (IpAddr, u16), (IpAddr, u16));

/// In order, whoever began.
pub fn ends(protocol: u8, a: (IpAddr, u16), b: (IpAddr, u16)) -> Ends {
    if a <= b { (protocol, a, b) } else { (protocol, b, a) }
}

/// A line about one flow in a report.
pub struct Recorded {
    /// Which; `None` where the line names no two ends with ports.
    pub ends: Option<Ends>,
    /// The protocol before the dot.
    pub name: String,
    /// How it was told.
    pub confidence: String,
    /// The whole line.
    pub text: String,
}

impl Recorded {
    /// What stands behind `[NAME: `.
    pub fn value(&self, name: &str) -> Option<&str> {
        between(&self.text, &format!("[{name}: "), "]")
    }
}

fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Some((address.parse().ok()?, port.parse().ok()?))
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(found, _)| found)
}

fn recorded(line: &str) -> Option<Recorded> {
    let (number, rest) = line.trim_start().split_once('\t')?;
    number.parse::<u32>().ok()?;
    let name = between(rest, "[proto: ", "]")?.split_once('/')?.1.split('.').next()?.to_owned();
    let mut words = rest.split_whitespace();
    let protocol = match words.next()? {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        _ => 0,
    };
    let a = words.next().and_then(endpoint);
    let b = words.nth(1).and_then(endpoint);
    Some(Recorded {
        ends: a.zip(b).map(|(a, b)| ends(protocol, a, b)),
        name,
        confidence: between(rest, "[Confidence: ", "]").unwrap_or("none").to_owned(),
        text: rest.to_owned(),
    })
}

/// The flows of a report.
pub fn flows(report: &Path) -> Vec<Recorded> {
    let bytes = std::fs::read(report).expect("a readable report");
    String::from_utf8_lossy(&bytes).lines().filter_map(recorded).collect()
}

/// The captures with their reports.
pub fn reports(data: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for place in ["benign", "attack", "conformance"] {
        let folder = data.join(place).join("ndpi/ndpi_4.2_debian");
        for entry in std::fs::read_dir(folder.join("result")).expect("a folder of results") {
            let report = entry.expect("a readable entry").path();
            let name = report.file_name().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".out");
            found.push((folder.join("pcap").join(name), report.clone()));
        }
    }
    found.sort();
    found
}
