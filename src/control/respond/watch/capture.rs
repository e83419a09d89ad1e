//! Frames of an entity into a file, for a time: how large it may grow, how many of them are kept, and which there are.
//!
//! Owns the folder of captures. Files hold what people said to each other: only the user that shrike runs as may read them, and over
//! HTTP whoever may give orders.

use super::pcapng::{FRAME_ROUND, Writer};
use super::sending::Sending;
use super::{Frame, Job, Outcome};
use crate::control::respond::intended::Id;
use crate::dataplane::verdict::Subject;
use crate::units::{MILLISECOND, SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a file is brought up to date while it grows.
const FLUSH_NS: u64 = SECOND;
/// So long before its time a capture ends, so that what came of it is told before the response is over.
const EARLY_NS: u64 = 250 * MILLISECOND;
const ENDING: &str = ".pcapng";

/// Where captures are kept, and how much of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Their folder; made with the first.
    pub folder: PathBuf,
    /// Bytes of one at most.
    pub bytes: u64,
    /// How many are kept; the earliest gives way to a new one.
    pub files: usize,
}

/// One capture, as the API tells it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CaptureView {
    /// Name of the file, under which it can be had.
    pub name: String,
    /// Its size so far.
    pub bytes: u64,
    /// When it was last written to.
    #[serde(with = "crate::units::rfc3339")]
    pub changed: Timestamp,
    /// The response that it is of, while it grows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response: Option<Id>,
    /// Frames so far, while it grows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frames: Option<u64>,
    /// Frames that found no room on their way to it, while it grows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<u64>,
}

type Growing = BTreeMap<String, (Id, u64, u64)>;

/// All captures.
#[derive(Clone)]
pub struct Captures {
    settings: Settings,
    growing: Arc<Mutex<Growing>>,
}

impl Captures {
    /// Of that folder.
    pub fn new(settings: Settings) -> Captures {
        Captures { settings, growing: Arc::default() }
    }

    /// How they are kept.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn growing(&self) -> MutexGuard<'_, Growing> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which there are, the latest first. Reads the folder; one that is not there has none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self) -> io::Result<Vec<CaptureView>> {
        let entries = match std::fs::read_dir(&self.settings.folder) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(cause),
        };
        let growing = self.growing().clone();
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().filter(|name| is_name(name)).map(str::to_owned) else {
                continue;
            };
            // Gone meanwhile.
            let Ok(known) = entry.metadata() else { continue };
            let since = known.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let of = growing.get(&name);
            found.push(CaptureView {
                bytes: known.len(),
                changed: Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
                response: of.map(|(id, ..)| *id),
                frames: of.map(|(_, frames, _)| *frames),
                lost: of.map(|(.., lost)| *lost),
                name,
            });
        }
        // Names begin with their time.
        found.sort_by(|one, other| other.name.cmp(&one.name));
        Ok(found)
    }

    /// One of them, with its size.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn open(&self, name: &str) -> io::Result<(File, u64)> {
        if !is_name(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(self.settings.folder.join(name))?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    /// Makes a new file, for a response; what is beyond the number that is kept goes.
    fn create(&self, id: Id, now: Timestamp) -> io::Result<(String, File)> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.settings.folder)?;
        let growing = self.growing().clone();
        let old = self.list()?.into_iter().skip(self.settings.files.saturating_sub(1));
        for one in old.filter(|one| !growing.contains_key(&one.name)) {
            std::fs::remove_file(self.settings.folder.join(&one.name))?;
        }
        let time: String = now.to_rfc3339().chars().take(19).filter(char::is_ascii_alphanumeric).collect();
        let short: String = id.to_string().chars().take(8).collect();
        // One that goes on after a restart is another file.
        for number in 0..1000 {
            let name = format!("{time}-{short}-{number}{ENDING}");
            let path = self.settings.folder.join(&name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|file| (name, file)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// A name that [`Captures`] gives.
fn is_name(name: &str) -> bool {
    let stem = name.strip_suffix(ENDING).unwrap_or_default();
    !stem.is_empty() && stem.len() <= 64 && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A capture that goes on.
pub struct CaptureJob {
    subject: Subject,
    captures: Captures,
    id: Id,
    bytes_max: u64,
    file: Option<(String, Writer<BufWriter<File>>)>,
    frames: u64,
    lost: u64,
    trouble: Option<String>,
    full: bool,
    flushed: Timestamp,
}

impl CaptureJob {
    /// Of a subject, for a response, up to so many bytes.
    pub fn new(subject: Subject, captures: Captures, id: Id, bytes_max: u64) -> CaptureJob {
        let bytes_max = bytes_max.min(captures.settings.bytes);
        CaptureJob {
            subject,
            captures,
            id,
            bytes_max,
            file: None,
            frames: 0,
            lost: 0,
            trouble: None,
            full: false,
            flushed: Timestamp(0),
        }
    }

    /// The file, made with the first frame or tick.
    fn file(&mut self, now: Timestamp) -> Result<&mut Writer<BufWriter<File>>, String> {
        if self.file.is_none() {
            let folder = self.captures.settings.folder.display().to_string();
            let failed = |cause: io::Error| format!("write into {folder} (captures in [respond]): {cause}");
            let (name, file) = self.captures.create(self.id, now).map_err(failed)?;
            let writer = Writer::new(BufWriter::with_capacity(1 << 18, file)).map_err(failed)?;
            self.captures.growing().insert(name.clone(), (self.id, 0, 0));
            self.file = Some((name, writer));
        }
        self.file.as_mut().map(|(_, writer)| writer).ok_or_else(String::new)
    }

    fn told(&self) -> String {
        let name = self.file.as_ref().map_or("no file", |(name, _)| name.as_str());
        let bytes = self.file.as_ref().map_or(0, |(_, writer)| writer.bytes());
        format!("{} frames, {bytes} bytes in {name}; {} found no room on their way", self.frames, self.lost)
    }
}

impl Job for CaptureJob {
    fn subject(&self) -> Subject {
        self.subject
    }

    fn frame(&mut self, frame: Frame<'_>, now: Timestamp, sending: &mut Sending) {
        if self.full || self.trouble.is_some() {
            return;
        }
        let (bytes_max, copied) = (self.bytes_max, frame.copied);
        let interface = sending.port_name(frame.interface, copied.view.port);
        let written = self.file(now).and_then(|file| {
            let view = copied.view;
            if file.bytes() + view.bytes.len() as u64 + FRAME_ROUND > bytes_max {
                return Ok(false);
            }
            let outcome = file.frame(interface, copied.time.0, view.bytes, view.wire_bytes);
            outcome.map(|()| true).map_err(|cause| format!("write a frame: {cause}"))
        });
        match written {
            Ok(true) => self.frames += 1,
            Ok(false) => self.full = true,
            Err(why) => self.trouble = Some(why),
        }
    }

    fn tick(&mut self, now: Timestamp, until: Timestamp, lost: u64, _: &mut Sending) -> Option<Outcome> {
        self.lost = lost;
        // Also where nothing comes there is a file, which says so.
        if self.trouble.is_none() && now.since(self.flushed) >= FLUSH_NS {
            self.flushed = now;
            let flushed = self.file(now).and_then(|file| file.flush().map_err(|cause| format!("write: {cause}")));
            self.trouble = flushed.err();
            if let Some((name, _)) = &self.file {
                self.captures.growing().insert(name.clone(), (self.id, self.frames, self.lost));
            }
        }
        if let Some(trouble) = &self.trouble {
            return Some(Err(trouble.clone()));
        }
        if self.full {
            return Some(Ok(format!("full: {}", self.told())));
        }
        (now.after(EARLY_NS) >= until).then(|| Ok(self.told()))
    }

    fn end(&mut self, now: Timestamp) {
        let (frames, lost) = (self.frames, self.lost);
        if let Some((name, writer)) = &mut self.file {
            if let Err(cause) = writer.end(now.0, frames, lost) {
                tracing::warn!("capture {name}: {cause}");
            }
            self.captures.growing().remove(name);
        }
        self.file = None;
    }
}

/// The folder beside the responses' file.
pub fn folder_beside(store: &Path) -> PathBuf {
    store.with_extension("").with_extension("captures")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::{FrameView, LinkType};
    use crate::dataplane::worker::Copied;

    fn job(captures: &Captures, id: u128, bytes: u64) -> CaptureJob {
        CaptureJob::new(Subject::Prefix([10, 0, 0, 1].into(), 32), captures.clone(), Id(id), bytes)
    }

    fn give(job: &mut CaptureJob, size: usize, time: Timestamp) {
        let bytes = vec![5; size];
        let view =
            FrameView { bytes: &bytes, wire_bytes: size as u32, time: Some(time), link: LinkType::Ethernet, port: 0 };
        let copied = Copied { view, time, met: 1, list: 1 };
        job.frame(Frame { copied: &copied, interface: "eth1" }, time, &mut Sending::default());
    }

    fn at(second: u64) -> Timestamp {
        Timestamp((1_700_000_000 + second) * SECOND)
    }

    #[test]
    fn a_capture_ends_at_its_bytes_or_its_time_and_the_earliest_give_way() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { folder: folder.path().join("made"), bytes: 10_000, files: 2 };
        let captures = Captures::new(settings);
        assert!(captures.list().unwrap().is_empty());
        // Its bytes.
        let mut one = job(&captures, 1, 5_000);
        let mut over = None;
        for number in 0..10 {
            give(&mut one, 1000, at(0));
            over = over.or(one.tick(at(0), at(60), number, &mut Sending::default()));
        }
        one.end(at(0));
        let told = over.unwrap().unwrap();
        assert!(told.starts_with("full: 4 frames"), "{told}");
        let [kept] = &captures.list().unwrap()[..] else { panic!("one") };
        assert!(kept.bytes <= 5_200 && kept.response.is_none(), "{kept:?}");
        // Its time; a file that grows is told as such and never gives way.
        let mut two = job(&captures, 2, u64::MAX);
        assert_eq!(two.bytes_max, 10_000);
        assert_eq!(two.tick(at(1), at(60), 0, &mut Sending::default()), None);
        give(&mut two, 100, at(2));
        assert_eq!(two.tick(at(2), at(60), 7, &mut Sending::default()), None);
        let latest = captures.list().unwrap()[0].clone();
        assert_eq!((latest.response, latest.frames, latest.lost), (Some(Id(2)), Some(1), Some(7)));
        for id in 3..6 {
            let mut more = job(&captures, id, 1000);
            assert!(more.tick(at(id as u64), at(0), 0, &mut Sending::default()).is_some());
            more.end(at(9));
        }
        let names: Vec<_> = captures.list().unwrap().into_iter().map(|one| one.name).collect();
        assert!(names.contains(&latest.name) && names.len() <= 3, "{names:?}");
        let told = two.tick(at(60), at(60), 7, &mut Sending::default()).unwrap().unwrap();
        assert!(told.starts_with("1 frames") && told.ends_with("7 found no room on their way"), "{told}");
        two.end(at(60));
        let (_, bytes) = captures.open(&latest.name).unwrap();
        assert!(bytes > 100);
        for bad in ["../x.pcapng", "x.db", ".pcapng", "a b.pcapng", ""] {
            assert!(captures.open(bad).is_err(), "{bad}");
        }
        // Whoever cannot write says so.
        let captures = Captures::new(Settings { folder: "/proc/nowhere".into(), bytes: 10_000, files: 2 });
        let failed = job(&captures, 1, 1000).tick(at(0), at(60), 0, &mut Sending::default());
        assert!(failed.unwrap().unwrap_err().contains("captures in [respond]"));
    }
}
