//! Alerts survive `kill -9`: a child process appends and names what it has seen committed; it is killed before one exact
//! system call of a commit, a checkpoint or the making of the file; whatever it named is there.

#[path = "support/demo.rs"]
mod demo;
#[path = "support/trace.rs"]
mod trace;

use shrike::control::store::{Filter, Settings, Store};
use shrike::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use trace::{Call, Traced};

/// Set in the child: the number of the first alert, alerts at a time, and the store's path.
const CHILD: &str = "SHRIKE_TEST_STORE_CHILD";
/// The test in which the child begins, instead of being it: a test of its own would pass without testing anything.
const HOST: &str = "whatever_was_seen_committed_is_there_after_any_kill_9";
/// Runs; each ends in a kill.
const KILLS: u64 = 60;
/// Alerts that a child appends at most; a kill that waits for more never comes.
const ALERTS: u64 = 100_000;
/// Long enough that only a fault lets it pass.
const PATIENCE: Duration = Duration::from_secs(120);

/// The body of the child process.
fn append_until_killed(order: &str) {
    let [first, batch, path] = order.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (first, batch): (u64, u64) = (first.parse().unwrap(), batch.parse().unwrap());
    let store = Store::open(Settings::at(path)).expect("the store opens");
    let mut cursor = store.end();
    for start in (first..first + ALERTS).step_by(batch as usize) {
        store.append((start..start + batch).map(|number| demo::alert(number, Timestamp(number + 1))).collect());
        assert!(store.flush(PATIENCE));
        let page = store.after(Some(cursor), &Filter::default(), 1_000).expect("the store answers");
        cursor = page.next;
        let named: String = page.items.iter().map(|row| format!("COMMITTED {}\n", row.id)).collect();
        // One write: what is named is named before the next commit begins.
        std::io::stdout().write_all(named.as_bytes()).expect("the parent reads");
    }
}

/// The moments at which a run may end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Moment {
    /// A write to the log of commits.
    Log,
    /// A write to the database: its making, or a checkpoint.
    Database,
    /// Waiting for the disk.
    Sync,
}

fn moment(call: &Call) -> Option<Moment> {
    match call.number {
        libc::SYS_pwrite64 => {
            let file = call.file();
            let log = file.ends_with("alerts.db-wal").then_some(Moment::Log);
            log.or_else(|| file.ends_with("alerts.db").then_some(Moment::Database))
        }
        libc::SYS_fdatasync | libc::SYS_fsync => Some(Moment::Sync),
        _ => None,
    }
}

/// Runs a child and kills it before the `number`th call of the `wanted` kind; returns every name it got out.
fn run_and_kill(path: &Path, first: u64, batch: u64, wanted: Moment, number: u64) -> (BTreeSet<String>, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", HOST, "--nocapture"])
        .env(CHILD, format!("{first}:{batch}:{}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut traced = Traced::spawn(&mut command).expect("ptrace of a child is allowed");
    let mut out = traced.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        out.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut left = number;
    let killed = traced
        .follow(|call| {
            left -= u64::from(moment(call) == Some(wanted));
            left == 0
        })
        .unwrap();
    let text = reader.join().unwrap();
    // The last line may be cut by the kill.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let named = whole.lines().filter_map(|line| Some(line.split_once("COMMITTED ")?.1.to_owned())).collect();
    (named, killed)
}

/// Opens a copy of what the kill left behind, as the next start would, and lets SQLite check it; all ids in their order.
fn examine(path: &Path, copies: &Path) -> Vec<String> {
    let copy = copies.join("alerts.db");
    for end in ["", "-wal"] {
        let (from, to) = (format!("{}{end}", path.display()), format!("{}{end}", copy.display()));
        match std::fs::copy(&from, &to) {
            Ok(_) => {}
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => drop(std::fs::remove_file(&to)),
            Err(other) => panic!("{from}: {other}"),
        }
    }
    let store = Store::open(Settings::at(&copy)).unwrap();
    if let Some(newest) = store.newest(&Filter::default(), 1).unwrap().items.pop() {
        newest.alert().unwrap();
    }
    let file = rusqlite::Connection::open(&copy).unwrap();
    let checked: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(checked, "ok");
    let mut rows = file.prepare("SELECT sequence, id FROM alerts ORDER BY sequence").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
    let rows: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
    assert!(rows.iter().map(|row| row.0).eq(1..=rows.len() as i64), "sequence numbers are dense over crashes");
    assert_eq!(store.last_sequence(), rows.len() as u64);
    rows.into_iter().map(|row| row.1).collect()
}

#[test]
fn whatever_was_seen_committed_is_there_after_any_kill_9() {
    if let Ok(order) = std::env::var(CHILD) {
        return append_until_killed(&order);
    }
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut named = BTreeSet::new();
    let mut kills: BTreeMap<Moment, u64> = BTreeMap::new();
    let (mut unnamed, mut logs) = (0, 0);
    for round in 0..KILLS {
        // xorshift64: the moments are random and the same in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Small batches go to one file that outlives all its kills; large ones reach a checkpoint soon and have a file of
        // their own each, so the making of files is killed too.
        let (wanted, range, batch) = match round % 6 {
            0 | 3 => (Moment::Log, 60, 7),
            1 => (Moment::Sync, 20, 7),
            2 => (Moment::Database, 40, 300),
            4 => (Moment::Sync, 12, 300),
            _ => (Moment::Log, 600, 300),
        };
        let own = folder.path().join(if batch == 7 { "kept".to_owned() } else { round.to_string() });
        std::fs::create_dir_all(&own).unwrap();
        let path = own.join("alerts.db");
        let number = 1 + random % range;
        let (fresh, killed) = run_and_kill(&path, round * ALERTS, batch, wanted, number);
        let context = format!("round {round}, {wanted:?} number {number}");
        assert!(killed, "{context}: the child ended by itself");
        *kills.entry(wanted).or_default() += 1;
        logs += u64::from(std::fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() > 0));
        let there = examine(&path, copies.path());
        let known: BTreeSet<_> = there.iter().cloned().collect();
        assert!(fresh.is_subset(&known), "{context}: {:?} are lost", fresh.difference(&known).collect::<Vec<_>>());
        unnamed += there.iter().rev().take_while(|id| !fresh.contains(*id) && !named.contains(*id)).count();
        if batch == 7 {
            named.extend(fresh);
            assert!(named.is_subset(&known), "{context}: alerts of an earlier round are lost");
        }
    }
    println!("{kills:?}; {} named; {logs} kills left a log; {unnamed} committed and not yet named", named.len());
    assert!(named.len() > 500, "{} named", named.len());
}
