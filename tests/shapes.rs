//! Shapes of flows' beginnings against a reference of another language, and the page that says what they are.

#[path = "support/captures.rs"]
mod recordings;
mod support;

use recordings::{captures, engine, replay};
use shrike::control::export::EveWriter;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use shrike::dataplane::features::encrypted::{COLUMNS, HEAD_BYTES, PACKETS, RECORDS, SHAPE_VERSION, columns};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Captures that are compared at most; each costs a replay and a run of Python.
const CAPTURES: usize = 60;

#[test]
fn shapes_are_those_of_the_reference() {
    let test = "shapes_are_those_of_the_reference";
    let Some(data) = support::shared_data(test) else { return };
    if Command::new("python3").arg("--version").output().is_err() {
        return support::skip(test, "python3", "there is no python3");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/features/shapes.py");
    let folder = tempfile::tempdir().expect("a folder for lines");
    let plain = |name: &str| name.ends_with(".pcap") || name.ends_with(".pcapng");
    let chosen = captures(&data)
        .into_iter()
        .filter(|one| plain(&one.name) && one.packets.is_some_and(|packets| (1..6000).contains(&packets)));
    let (mut compared, mut skipped) = (0, 0);
    for capture in chosen.step_by(4).take(CAPTURES) {
        let bytes = std::fs::read(&capture.path).expect("a readable capture");
        let stream = Box::new(std::io::Cursor::new(bytes));
        let reader = Reader::from_stream(&capture.name, stream, Limits::default()).expect("a capture");
        let (_, collected) = replay(reader, 1, engine(capture.packets.unwrap_or(0)), None);
        let mut eve = EveWriter::new(Vec::new(), None);
        for flow in &collected.flows {
            eve.flow(flow).expect("memory takes what is written");
        }
        let path = folder.path().join("eve.json");
        std::fs::write(&path, eve.finish().expect("memory takes what is written")).expect("a file of lines");
        let output = Command::new("python3").arg(&script).args([&capture.path, &path]).output().expect("python3 runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}{complaint}", capture.name);
        let mut numbers = said.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
        compared += numbers.next().unwrap_or(0);
        skipped += numbers.next().unwrap_or(0);
    }
    eprintln!("shapes: {compared} flows compared, {skipped} skipped");
    assert!(compared > 300 && skipped * 4 < compared, "{compared} compared and {skipped} skipped say too little");
}

fn page() -> String {
    let mut page = format!(
        "# Shapes\n\n\
         Made by `SHRIKE_WRITE_DOCS=1 cargo test --test shapes` from `dataplane/features/encrypted`; a test compares.\n\n\
         What is said of the beginning of every flow that is exported, version {SHAPE_VERSION}: sizes and times of its first \
         {PACKETS} packets with payload, the first {HEAD_BYTES} bytes of the first payload of each side, its first {RECORDS} \
         records a side. EVE's `flow` events have it as `ml.shape`, without what there was not; `Shape::values` gives a row \
         of {COLUMNS} numbers in this order, 0 for what there was not.\n\n\
         A length is the payload's on the wire, a gap the time since the packet before. `exempt` has the exemptions of the test \
         for fully encrypted traffic (Wu et al., USENIX Security 2023) that the first payload meets: 1 at most 3.4 or at \
         least 4.6 bits set a byte, 2 six printable bytes at the beginning, 4 more than half printable, 8 more than twenty \
         in a row, 16 it begins like TLS or HTTP. `fully_encrypted`: the originator's meets none; compressed traffic \
         does so too. Types of records: 20 to 24 of TLS and DTLS, 0x80 to 0x83 the long headers of QUIC by their type bits, \
         0x40 its short one; sizes as the headers of TLS and DTLS claim them, of QUIC whole packets. Records are followed \
         while segments come in order.\n\n| column | unit |\n| --- | --- |\n"
    );
    for column in columns() {
        let _ = writeln!(page, "| `{}` | {} |", column.name, column.unit);
    }
    page
}

#[test]
fn the_page_of_shapes_is_what_the_code_says() {
    support::page_is("shapes.md", &page(), "shapes");
}
