//! A disk that fills: alerts wait, the state says so, and all of them are there when there is room again. Needs root for a small file system of its own, in a mount namespace that nobody else sees.

#[path = "support/demo.rs"]
mod demo;
mod support;

use shrike::control::store::{Filter, Settings, Store};
use shrike::units::Timestamp;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Set in the child, which runs in a mount namespace of its own.
const CHILD: &str = "SHRIKE_TEST_DISK_CHILD";
/// Long enough that only a fault lets it pass.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn live_a_full_disk_is_outlived() {
    const NAME: &str = "live_a_full_disk_is_outlived";
    if let Ok(folder) = std::env::var(CHILD) {
        return on_a_small_disk(Path::new(&folder));
    }
    if !support::privileged(NAME) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, folder.path())
        .status()
        .unwrap();
    assert!(status.success());
}

fn mount(arguments: &[&str], folder: &Path) {
    assert!(Command::new("mount").args(arguments).arg(folder).status().unwrap().success(), "mount {arguments:?}");
}

fn on_a_small_disk(folder: &Path) {
    // The namespace ends with this process, and the file system with it.
    mount(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"], folder);
    let store = Store::open(Settings::at(folder.join("alerts.db"))).unwrap();
    let mut next = 0;
    let mut add = |count: u64| {
        store.append((next..next + count).map(|index| demo::alert(index, Timestamp(index + 1))).collect());
        next += count;
    };
    add(10);
    assert!(store.flush(PATIENCE));

    // Full: a file of somebody else takes the rest.
    let filler = folder.join("filler");
    let taken = std::fs::write(&filler, vec![1; 4 << 20]);
    assert!(taken.is_err(), "the disk holds 2 MiB");
    add(2_000);
    until(|| store.status().degraded.iter().any(|one| one.reason.contains("full") || one.reason.contains("I/O")));
    assert_eq!(store.last_sequence(), 10, "what is not on the disk is not shown");
    std::fs::remove_file(&filler).unwrap();
    assert!(store.flush(PATIENCE));
    assert!(store.status().degraded.is_empty(), "{:?}", store.status());

    // Full again, and the process ends so: what was accepted and not written is said to be lost, what was written is there.
    let written = store.last_sequence();
    assert_eq!(written, 2_010);
    assert!(std::fs::write(&filler, vec![1; 4 << 20]).is_err());
    add(50);
    until(|| !store.status().degraded.is_empty());
    assert_eq!(store.newest(&Filter::default(), 1).unwrap().items.len(), 1, "reading goes on");
    drop(store);
    std::fs::remove_file(&filler).unwrap();
    let store = Store::open(Settings::at(folder.join("alerts.db"))).unwrap();
    assert!(store.last_sequence() >= written);
}

/// Looks until it holds; gives up aloud.
fn until(condition: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "never came true");
        std::thread::sleep(Duration::from_millis(10));
    }
}
