//! What the makers of tcpdump and Suricata expect of their own captures, against what we say of them.
//!
//! `make conformance` prints the tables and writes `target/conformance/*.json`. What is not met is listed with its reason in
//! `tests/conformance/*.tsv`: a check that is no longer met, and one that is met at last, both fail the test until the list
//! says so. `SHRIKE_WRITE_DOCS=1 make conformance` writes the lists anew; new lines want a reason by hand.

mod answer;
#[path = "../support/captures.rs"]
mod captures;
#[path = "../support/ndpi.rs"]
mod ndpi;
mod stats;
#[path = "../support/mod.rs"]
mod support;
mod suricata;
mod table;
mod tcpdump;
mod text;

use std::path::PathBuf;

/// The captures of one project's tests.
fn folder(test: &str, name: &str) -> Option<PathBuf> {
    Some(support::shared_data(test)?.join("conformance").join(name))
}

#[test]
fn tcpdump_names_what_we_name() {
    let Some(folder) = folder("tcpdump_names_what_we_name", "tcpdump/the-tcpdump-group+tcpdump/tests") else { return };
    table::conclude("tcpdump", &tcpdump::checks(&folder));
}

#[test]
fn suricatas_checks_hold_for_our_events() {
    let name = "suricata_verify/OISF+suricata-verify/tests";
    let Some(folder) = folder("suricatas_checks_hold_for_our_events", name) else { return };
    table::conclude("suricata", &suricata::checks(&folder));
}
