//! The files that `shrike run` works with: is each another than all others, and can it be had?
//!
//! A log that is rotated takes more names than its own (`NAME.1`, ...), a database has siblings (`NAME-wal`, ...): what one
//! part writes is nobody else's. `run` asks before it opens anything; `check` asks the same, and whether opening would
//! succeed, and leaves nothing behind.

use super::doctor::{Finding, Verdict};
use crate::config::{Config, LogPlan};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What every database of SQLite begins with (its file format, section 1.3).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// Links that name links which are followed where the last names nothing.
const LINKS: usize = 8;

/// What a file is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// It is read.
    Input,
    /// Lines are added; so many older ones are kept as `NAME.1` and so on.
    Log { keep: u32 },
    /// SQLite's. `made`: its folder is made where there is none.
    Database { made: bool },
    /// It is written beside its name, and takes it when it is whole.
    Summary,
    /// The same; one that cannot be read is put aside.
    Baselines,
}

struct Named {
    key: &'static str,
    path: PathBuf,
    usage: Use,
}

/// The files of a plan.
pub struct Files(Vec<Named>);

impl Files {
    /// Those of a plan, with the file it was read from and where the summary goes.
    pub fn of(plan: &Config, configuration: Option<&Path>, summary: Option<&Path>) -> Files {
        let mut files = Vec::new();
        let mut add = |key, path: Option<&Path>, usage| {
            files.extend(path.map(|path| Named { key, path: path.to_owned(), usage }));
        };
        add("the configuration", configuration, Use::Input);
        let model = plan.model.enabled.then_some(&plan.model);
        add("model.manifest", model.and_then(|model| model.manifest.as_deref()), Use::Input);
        add("model.runtime", model.and_then(|model| model.runtime.as_deref()), Use::Input);
        add("inventory.rules", plan.inventory.rules.as_deref(), Use::Input);
        for feed in &plan.feeds {
            add("feed.path", Some(&feed.path), Use::Input);
        }
        let alerts = &plan.alerts.store;
        add("alerts.store", Some(alerts), Use::Database { made: true });
        if plan.inventory.enabled {
            let path = plan.inventory.store_beside(alerts);
            // The alerts' folder is made, with all above it, before the inventory is opened.
            let made = path.parent().zip(alerts.parent()).is_some_and(|(own, alerts)| alerts.starts_with(own));
            add("inventory.store", Some(&path), Use::Database { made });
        }
        if plan.detect.behaviour {
            add("the baselines beside alerts.store", Some(&plan.alerts.baselines()), Use::Baselines);
        }
        if plan.model.enabled {
            add("the choice of models beside alerts.store", Some(&plan.alerts.models()), Use::Baselines);
        }
        if plan.respond.enabled {
            let path = plan.respond.store_beside(alerts);
            let made = path.parent().zip(alerts.parent()).is_some_and(|(own, alerts)| alerts.starts_with(own));
            add("respond.store", Some(&path), Use::Database { made });
        }
        for (key, log) in [("eve.path", &plan.eve.log), ("conn_log.path", &plan.conn_log.log)] {
            add(key, log.path.as_deref(), Use::Log { keep: log.keep });
        }
        add("--summary", summary.filter(|path| !super::output::is_stdout(path)), Use::Summary);
        Files(files)
    }

    /// The first two of them of which one would be written over the other, in words; the remedy is another name.
    pub fn clash(&self) -> Option<String> {
        let pairs = self
            .0
            .iter()
            .enumerate()
            .flat_map(|(index, later)| self.0.iter().take(index).map(move |earlier| (earlier, later)));
        let mut written = pairs.filter(|(earlier, later)| ![earlier, later].iter().all(|one| one.usage == Use::Input));
        written.find_map(|(earlier, later)| {
            let (left, right) = (earlier.path.display(), later.path.display());
            if earlier.path == later.path {
                return Some(format!("{} and {} are both {left}", earlier.key, later.key));
            }
            if is_one(&earlier.path, &later.path) {
                let (earlier, later) = (earlier.key, later.key);
                return Some(format!("{earlier} {left} and {later} {right} are one file"));
            }
            let (owner, other) =
                [(earlier, later), (later, earlier)].into_iter().find(|(owner, other)| owner.owns(&other.path))?;
            let (owner_path, other_path) = (owner.path.display(), other.path.display());
            let why = match owner.usage {
                Use::Log { .. } => " when it is rotated",
                _ => "",
            };
            Some(format!("{} {other_path} belongs to {} {owner_path}{why}", other.key, owner.key))
        })
    }

    /// What `run` would find when it opens them. A right that is missing is no finding: `run` has others than who checks.
    pub fn refused(&self) -> Vec<Finding> {
        let clash = self.clash().map(|clash| {
            Finding::new("files", Verdict::Bad, clash, "one would spoil what the other wrote", "name another for one")
        });
        let unopened = self.0.iter().filter_map(|file| {
            let cause = file.try_open().err().filter(|cause| cause.kind() != ErrorKind::PermissionDenied)?;
            let (key, path) = (file.key, &file.path);
            let folder = path.parent().filter(|_| cause.kind() == ErrorKind::NotFound);
            let fix = match folder {
                Some(folder) => format!("mkdir -p {}, or name another file with {key}", folder.display()),
                None => format!("name another file with {key}"),
            };
            let found = format!("open {}: {cause}", path.display());
            Some(Finding::new(key, Verdict::Bad, found, "what is found is kept there", fix))
        });
        clash.into_iter().chain(unopened).collect()
    }
}

impl Named {
    /// Is it a name that this file's part uses besides the file's own?
    fn owns(&self, other: &Path) -> bool {
        let is_own = |suffix: &str| match self.usage {
            Use::Input => false,
            Use::Log { keep } => suffix.strip_prefix('.').is_some_and(|number| {
                let parsed = number.parse::<u32>().ok().filter(|parsed| parsed.to_string() == number);
                parsed.is_some_and(|number| (1..=keep).contains(&number))
            }),
            Use::Database { .. } => ["-wal", "-shm", "-journal", ".lock"].contains(&suffix),
            Use::Summary => suffix == ".part",
            Use::Baselines => [".new", ".unreadable"].contains(&suffix),
        };
        // By its own name, and by that of the file behind a link.
        [entry(&self.path), place(&self.path)].iter().any(|base| {
            [entry(other), place(other)].iter().any(|name| {
                let suffix = name.as_os_str().as_encoded_bytes().strip_prefix(base.as_os_str().as_encoded_bytes());
                suffix.and_then(|suffix| std::str::from_utf8(suffix).ok()).is_some_and(is_own)
            })
        })
    }

    /// Opens it as `run` does where that changes nothing, and else looks whether it could be made.
    fn try_open(&self) -> io::Result<()> {
        let made = match self.usage {
            Use::Log { .. } => false,
            Use::Database { made } => made,
            Use::Input | Use::Summary | Use::Baselines => return Ok(()),
        };
        match fs::metadata(&self.path) {
            Ok(data) if data.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(data) if data.is_file() => {
                OpenOptions::new().append(true).open(&self.path)?;
                let is_database = matches!(self.usage, Use::Database { .. }) && data.len() > 0;
                if is_database { begins_as_database(&self.path) } else { Ok(()) }
            }
            // A pipe or a device may feel that it is opened.
            Ok(_) => Ok(()),
            Err(cause) if cause.kind() == ErrorKind::NotFound => can_be_made(&place(&self.path), made),
            Err(cause) => Err(cause),
        }
    }
}

fn begins_as_database(path: &Path) -> io::Result<()> {
    let mut head = Vec::with_capacity(SQLITE.len());
    fs::File::open(path)?.take(SQLITE.len() as u64).read_to_end(&mut head)?;
    if head == SQLITE { Ok(()) } else { Err(io::Error::other("no database of SQLite")) }
}

/// Can a file be made at `path`? `made`: its folder would be, too.
fn can_be_made(path: &Path, made: bool) -> io::Result<()> {
    let mut folders = path.ancestors().skip(1);
    let folder = loop {
        let Some(folder) = folders.next() else { return Err(ErrorKind::NotFound.into()) };
        match fs::metadata(folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound && made => {}
            Err(cause) => return Err(cause),
            Ok(data) if !data.is_dir() => return Err(ErrorKind::NotADirectory.into()),
            Ok(_) => break folder,
        }
    };
    // A file without a name is gone with its handle (open(2)); where there are none, the folder is believed.
    match OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(folder) {
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EROFS | libc::ENOSPC | libc::EDQUOT)) => Err(cause),
        _ => Ok(()),
    }
}

/// Do both names lead to one regular file, or would they, were it there?
fn is_one(left: &Path, right: &Path) -> bool {
    match (fs::metadata(left), fs::metadata(right)) {
        (Ok(left), Ok(right)) => left.is_file() && (left.dev(), left.ino()) == (right.dev(), right.ino()),
        (Err(_), Err(_)) => place(left) == place(right),
        _ => false,
    }
}

/// Where a file is, or would be made: without links, `.` and `..`.
fn place(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    entry(&path)
}

/// The name itself, be it a link, in its folder without links, `.` and `..`.
fn entry(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// Where lines go, when the file is rotated, what all of it comes to, and the room there is.
pub fn told(log: &LogPlan) -> String {
    let Some(path) = &log.path else { return "none".to_owned() };
    if fs::metadata(path).is_ok_and(|data| !data.is_file()) {
        return format!("{}, which is no file: never rotated", path.display());
    }
    let mib = log.rotate_bytes >> 20;
    let hours = log.rotate_seconds.map(|seconds| format!(" and every {} h", seconds / 3600)).unwrap_or_default();
    let most = mib * (u64::from(log.keep) + 1);
    let place = place(path);
    let free = place.parent().and_then(|folder| crate::sys::disk::free_bytes(folder).ok());
    let free = free.map(|free| format!("; {} MiB free there", free >> 20)).unwrap_or_default();
    format!("{}, rotated at {mib} MiB{hours}, {} older kept: {most} MiB at most{free}", path.display(), log.keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_with_what_it_comes_to() {
        let log = |path: Option<&str>| LogPlan {
            path: path.map(PathBuf::from),
            rotate_bytes: 10 << 20,
            rotate_seconds: Some(7200),
            keep: 2,
        };
        assert_eq!(told(&log(None)), "none");
        assert_eq!(told(&log(Some("/dev/full"))), "/dev/full, which is no file: never rotated");
        let said = told(&log(Some("/no/such/folder/l")));
        assert_eq!(said, "/no/such/folder/l, rotated at 10 MiB and every 2 h, 2 older kept: 30 MiB at most");
        assert!(told(&log(Some("/l"))).ends_with("MiB free there"));
    }

    /// Whether two files clash, of a folder with `link` to `a`, `hard` as another name of `b`, and `folder` to itself.
    #[test]
    fn what_one_part_writes_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        fs::write(here("b"), "").unwrap();
        fs::hard_link(here("b"), here("hard")).unwrap();
        for (link, target) in [("link", here("a")), ("folder", here("")), ("zero", "/dev/zero".into())] {
            std::os::unix::fs::symlink(target, here(link)).unwrap();
        }
        let (log, database, one, read) =
            (Use::Log { keep: 2 }, Use::Database { made: false }, Use::Summary, Use::Input);
        for (left, right, says) in [
            (("a", log), ("a", log), Some("are both")),
            (("a", log), ("./a", log), Some("are both")),
            (("a", log), ("folder/a", database), Some("one file")),
            (("a", log), ("nowhere/../a", log), None), // there is no such place
            (("link", log), ("a", log), Some("one file")),
            (("b", log), ("hard", database), Some("one file")),
            (("a", log), ("c", log), None),
            (("a", log), ("a.1", log), Some("belongs to left")),
            (("a.2", database), ("folder/a", log), Some("belongs to right")),
            (("a", log), ("a.3", log), None),
            (("a", log), ("a.0", log), None),
            (("a", log), ("a.01", log), None),
            (("a", log), ("a.x", log), None),
            // The link is what is rotated.
            (("link", log), ("link.1", log), Some("belongs to left")),
            (("a", database), ("a-wal", log), Some("belongs to left")),
            (("a", database), ("a-shm", log), Some("belongs to left")),
            (("link", database), ("a-wal", log), Some("belongs to left")),
            (("a", database), ("a.lock", log), Some("belongs to left")),
            (("a", database), ("a.1", log), None),
            (("a", one), ("a.part", log), Some("belongs to left")),
            (("a", Use::Baselines), ("a.new", log), Some("belongs to left")),
            (("a", read), ("a", log), Some("are both")),
            (("a", read), ("a", read), None),
            (("a", read), ("a.1", log), None),
            (("zero", log), ("/dev/zero", log), None), // a device is not spoilt
        ] {
            let named = |key, (name, usage)| Named { key, path: here(name), usage };
            let clash = Files(vec![named("left", left), named("right", right)]).clash();
            match says {
                Some(says) => {
                    assert!(clash.as_ref().is_some_and(|clash| clash.contains(says)), "{left:?} {right:?}: {clash:?}")
                }
                None => assert_eq!(clash, None, "{left:?} {right:?}"),
            }
        }
    }
}
