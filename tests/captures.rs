//! Every shared capture through the whole engine: nothing lost, nothing hung, packets and flows as others count them.

mod support;

use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::pcap::{FindingKind, PcapSource, Speed};
use std::path::{Path, PathBuf};

/// One capture of the manifest.
struct Capture {
    path: PathBuf,
    /// Relative to the folder of the captures.
    name: String,
    /// As the manifest says; `None` where its makers' tool could not read the file.
    packets: Option<u64>,
}

/// The captures that the manifest lists, in its order.
fn captures(data: &Path) -> Vec<Capture> {
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("a readable manifest");
    manifest
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let name = fields[0];
            let kind = name.rsplit('.').next().unwrap_or_default();
            ["pcap", "pcapng", "gz"].contains(&kind).then(|| Capture {
                path: data.join(name),
                name: name.to_owned(),
                packets: fields[4].parse().ok(),
            })
        })
        .collect()
}

#[test]
fn the_reader_counts_as_the_manifest_does() {
    let Some(data) = support::shared_data("the_reader_counts_as_the_manifest_does") else { return };
    let mut wrong = Vec::new();
    for capture in captures(&data) {
        let mut source = match PcapSource::open(std::slice::from_ref(&capture.path), Speed::Max) {
            Ok(source) => source,
            Err(error) => {
                if capture.packets.is_some() {
                    wrong.push(format!("{error}"));
                }
                continue;
            }
        };
        let (mut packets, mut bytes) = (0_u64, 0_u64);
        loop {
            let burst = source.receive(64);
            packets += burst.count as u64;
            bytes += (0..burst.count).map(|index| u64::from(source.frame(index).wire_bytes)).sum::<u64>();
            source.release();
            if burst.ended {
                break;
            }
        }
        let report = source.report();
        assert_eq!((packets, bytes), (report.packets(), report.bytes()), "{}: the reader's own account", capture.name);
        let findings: Vec<FindingKind> = report.findings().0.iter().map(|finding| finding.kind).collect();
        if let Some(expected) = capture.packets.filter(|expected| *expected != packets) {
            wrong.push(format!("{}: {packets} packets, {expected} in the manifest, {findings:?}", capture.name));
        }
    }
    assert!(wrong.is_empty(), "{} captures:\n{}", wrong.len(), wrong.join("\n"));
}
