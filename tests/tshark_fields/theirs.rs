//! What tshark says of a capture: rows of fields, and the flow of each.

use crate::fields::FIELDS;
use crate::ndpi::{Ends, ends};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Between the values of one column.
const BETWEEN: char = '\u{1f}';
/// Columns that name the flow.
const FLOW: [&str; 9] = [
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
];

/// The columns of one field in one packet.
pub struct Row<'a> {
    /// As they were printed.
    pub columns: Vec<&'a str>,
}

impl Row<'_> {
    /// The values of a column.
    pub fn values(&self, column: usize) -> Vec<String> {
        let text = self.columns.get(column).copied().unwrap_or_default();
        if text.is_empty() { Vec::new() } else { text.split(BETWEEN).map(str::to_owned).collect() }
    }
}

/// Values of each field by flow, with how often each came.
pub type Values = BTreeMap<(Ends, String), u32>;

/// What tshark says, by field; `None`: it does not read the file.
pub fn of(capture: &Path) -> Option<Vec<Values>> {
    // Each once: of a field that is asked for twice tshark fills one column only.
    let columns: BTreeSet<&str> = FIELDS.iter().flat_map(|field| field.columns).copied().collect();
    let columns: Vec<&str> = FLOW.into_iter().chain(columns.into_iter().filter(|name| !FLOW.contains(name))).collect();
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=a", "-E"]).arg(format!("aggregator={BETWEEN}"));
    // Segments out of order are put right, as we do; bodies are not unpacked, which nobody compares.
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE", "-o", "http.decompress_body:FALSE", "-r"]).arg(capture);
    for column in &columns {
        command.args(["-e", column]);
    }
    let output = command.stderr(Stdio::null()).output().expect("tshark starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut values: Vec<Values> = FIELDS.iter().map(|_| Values::new()).collect();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let at = |name: &str| {
            let place = columns.iter().position(|column| *column == name);
            place.and_then(|place| parts.get(place)).copied().unwrap_or_default()
        };
        if parts.iter().skip(FLOW.len()).all(|part| part.is_empty()) {
            continue;
        }
        let Some(ends) = flow(&at) else { continue };
        for (field, found) in FIELDS.iter().zip(&mut values) {
            let row = Row { columns: field.columns.iter().map(|column| at(column)).collect() };
            if row.columns.first().is_some_and(|column| column.is_empty())
                && row.columns.iter().all(|one| one.is_empty())
            {
                continue;
            }
            for value in (field.theirs)(&row).into_iter().filter(|value| !value.is_empty()) {
                let count = found.entry((ends, value)).or_default();
                *count = if field.once { 1 } else { *count + 1 };
            }
        }
    }
    (output.status.success() || !text.is_empty()).then_some(values)
}

/// The innermost flow of a packet; none where an ICMP error quotes it.
fn flow<'a>(at: &impl Fn(&str) -> &'a str) -> Option<Ends> {
    let layers: Vec<&str> = at("frame.protocols").split(':').collect();
    let place = |names: &[&str]| layers.iter().rposition(|layer| names.contains(layer));
    let network = place(&["ip", "ipv6"])?;
    if place(&["icmp", "icmpv6"]).is_some_and(|quote| quote < network) {
        return None;
    }
    let transport = place(&["tcp", "udp"]).filter(|transport| *transport > network)?;
    let last = |name: &str| at(name).rsplit(BETWEEN).next().map(str::to_owned).unwrap_or_default();
    let [from, to] = if layers.get(network) == Some(&"ip") { ["ip.src", "ip.dst"] } else { ["ipv6.src", "ipv6.dst"] };
    let (number, [from_port, to_port]) = match layers.get(transport) {
        Some(&"tcp") => (6, ["tcp.srcport", "tcp.dstport"]),
        _ => (17, ["udp.srcport", "udp.dstport"]),
    };
    let end = |address: &str, port: &str| Some((last(address).parse::<IpAddr>().ok()?, last(port).parse().ok()?));
    Some(ends(number, end(from, from_port)?, end(to, to_port)?))
}
