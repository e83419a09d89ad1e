//! What several integration tests share: where real captures lie, and skipping aloud.
#![allow(dead_code)] // each test binary uses its own part

use std::path::{Path, PathBuf};

/// The labelled captures beside the project (`../shared/data`), or `None` after saying aloud that the test is skipped.
/// Where `SHRIKE_REQUIRE` names `shared` (as CI does), their absence is a failure.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared/data");
    if path.join("MANIFEST.tsv").exists() {
        return Some(path);
    }
    skip(test, "shared", "no captures at ../shared/data");
    None
}

/// Says aloud that `test` is skipped because of `why`; fails instead where `SHRIKE_REQUIRE` names `need`.
pub fn skip(test: &str, need: &str, why: &str) {
    let required = std::env::var("SHRIKE_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == need), "{test}: SHRIKE_REQUIRE names {need}, but {why}");
    eprintln!("SKIPPED {test}: {why}");
    // The runner hides what a passing test prints; `ci/test.sh` shows this file at the end instead.
    if let Some(path) = std::env::var_os("SHRIKE_SKIP_LOG") {
        let line = format!("{test}: {why}\n");
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes())).expect("SHRIKE_SKIP_LOG");
    }
}

/// Python for the references, or `false` after saying aloud that the test is skipped.
pub fn python(test: &str) -> bool {
    let there = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !there {
        skip(test, "python3", "there is no python3");
    }
    there
}

/// Root with network administration rights, or `false` after saying aloud that the test is skipped.
pub fn privileged(test: &str) -> bool {
    let root = is_privileged();
    if !root {
        skip(test, "root", "needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN");
    }
    root
}

/// Root with network administration rights.
pub fn is_privileged() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("CapEff:\t").map(str::to_owned)))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << 12) != 0 && mask & (1 << 21) != 0)
}

/// A page below `docs` is what `test` makes of the program's own tables; with `SHRIKE_WRITE_DOCS` it is written anew.
pub fn page_is(name: &str, page: &str, test: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("SHRIKE_WRITE_DOCS").is_some() {
        std::fs::write(&path, page).expect("a page that can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/{name} is not what the program says: SHRIKE_WRITE_DOCS=1 cargo test --test {test}");
}
