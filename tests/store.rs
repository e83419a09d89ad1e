//! Alerts survive `kill -9`: a child process appends and names what it has seen committed; whatever it named is there.

#[path = "support/demo.rs"]
mod demo;

use shrike::control::store::{Filter, Settings, Store};
use shrike::units::Timestamp;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the child: the store's path, and the number of the first alert.
const CHILD: &str = "SHRIKE_TEST_STORE_CHILD";

/// Not a test of its own: the body of the child process, nothing without the variable.
#[test]
fn child_appends_until_killed() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (path, first) = order.rsplit_once(':').expect("path:number");
    let mut number: u64 = first.parse().expect("a number");
    let store = Store::open(Settings::at(path)).expect("the store opens");
    let mut cursor = store.end();
    let mut out = std::io::stdout().lock();
    loop {
        store.append(
            (0..7)
                .map(|_| {
                    number += 1;
                    demo::alert(number, Timestamp(number))
                })
                .collect(),
        );
        let page = store.after(Some(cursor), &Filter::default(), 1_000).expect("the store answers");
        cursor = page.next;
        for row in page.items {
            writeln!(out, "COMMITTED {}", row.id).expect("the parent reads");
        }
        out.flush().expect("the parent reads");
    }
}

/// Runs a child, kills it after it has named `lines` alerts, and returns every name it got out.
fn run_and_kill(path: &Path, first: u64, lines: usize) -> BTreeSet<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_killed", "--nocapture"])
        .env(CHILD, format!("{}:{first}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut named = BTreeSet::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut read = |limit: usize| {
        let mut line = String::new();
        while named.len() < limit && reader.read_line(&mut line).unwrap() > 0 {
            // The last line may be cut by the kill.
            if let (Some(id), true) = (line.trim_end().split("COMMITTED ").nth(1), line.ends_with('\n')) {
                named.insert(id.to_owned());
            }
            line.clear();
        }
    };
    read(lines);
    child.kill().unwrap();
    child.wait().unwrap();
    read(usize::MAX);
    named
}

#[test]
fn whatever_was_seen_committed_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.db");
    let mut named = BTreeSet::new();
    for round in 0..12_u64 {
        named.append(&mut run_and_kill(&path, round * 1_000_000, 1 + 97 * round as usize % 400));
    }
    let store = Store::open(Settings::at(&path)).unwrap();
    let (mut there, mut cursor, mut last) = (BTreeSet::new(), None, 0);
    loop {
        let page = store.after(cursor, &Filter::default(), 1_000).unwrap();
        for row in &page.items {
            assert_eq!(row.sequence, last + 1, "sequence numbers are dense over crashes");
            last = row.sequence;
            row.alert().unwrap();
            there.insert(row.id.clone());
        }
        cursor = Some(page.next);
        if !page.has_more {
            break;
        }
    }
    assert!(named.len() > 12, "{} named", named.len());
    assert!(named.is_subset(&there), "{:?} are lost", named.difference(&there).collect::<Vec<_>>());
}
