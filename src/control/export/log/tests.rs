//! Files that grow, move, fill their disk, and come back.

use super::*;
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::Side;
use crate::units::SECOND;
use std::path::Path;

fn flow(number: u16) -> FlowSummary {
    let (key, originator) = FlowKey::v4(0x0a00_0001, 1024 + number, 0x0a00_0002, 443, 6, 0);
    FlowSummary {
        key,
        originator,
        first_seen: Timestamp(1),
        last_seen: Timestamp(2),
        packets: [1, 1],
        bytes: [60, 60],
        tcp_flags: [2, 18],
        score: -1.0,
        ..FlowSummary::default()
    }
}

fn settings(path: PathBuf) -> LogSettings {
    LogSettings { path, rotate_bytes: 1 << 30, rotate_seconds: None, keep: 2 }
}

/// The thread's end of a log without its thread.
fn writer<F: Format>(settings: LogSettings, format: F) -> LogWriter<F> {
    LogWriter::open(settings, format, Arc::new(Shared::new(F::KINDS.len()))).expect("a file")
}

fn take_flows(writer: &mut LogWriter<EveFormat>, numbers: std::ops::Range<u16>) {
    for number in numbers {
        let item = EveItem::Flow(Box::new(flow(number)), "eth1".into());
        writer.shared.waiting.fetch_add(EveFormat::size(&item), Relaxed);
        writer.take(&item);
    }
}

fn ports(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
    text.lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["src_port"].as_u64().expect("a port")
        })
        .collect()
}

/// The ports of `numbers`.
fn of(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.map(|number| 1024 + number).collect()
}

#[test]
fn what_was_sent_is_written_and_a_second_start_adds_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path().join("eve.json"));
    for start in [0, 500] {
        let log = EveLog::start(settings.clone(), EveFormat::new(None)).expect("a file");
        (start..start + 500).for_each(|number| log.flow(flow(number), &"eth1".into()));
    }
    assert_eq!(ports(&settings.path), of(0..1000));
}

#[test]
fn a_large_file_gives_way_and_the_oldest_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = LogSettings { rotate_bytes: 1000, ..settings(folder.path().join("eve.json")) };
    let mut writer = writer(settings.clone(), EveFormat::new(None));
    for round in 0..5 {
        take_flows(&mut writer, round * 10..round * 10 + 10);
        writer.look(Timestamp(SECOND));
    }
    assert!(ports(&settings.path).is_empty(), "a new file has begun");
    for (name, round) in [("eve.json.1", 4_u64), ("eve.json.2", 3)] {
        assert_eq!(ports(&folder.path().join(name)), of(round * 10..round * 10 + 10), "{name}");
    }
    assert!(!folder.path().join("eve.json.3").exists());
    assert_eq!((writer.shared.rotations.load(Relaxed), writer.shared.lines.load(Relaxed)), (5, 50));
}

/// At multiples of the time, and never for a file without a line.
#[test]
fn an_old_file_gives_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = LogSettings { rotate_seconds: Some(3600), ..settings(folder.path().join("conn.log")) };
    let mut writer = writer(settings.clone(), ConnFormat::Tsv);
    let now = now().0;
    let hour = |hours: u64| Timestamp((now / (3600 * SECOND) + hours) * 3600 * SECOND);
    writer.look(hour(3));
    assert_eq!(writer.file.rotations(), 0, "nothing was written");
    let item = Box::new(flow(1));
    writer.shared.waiting.fetch_add(ConnFormat::size(&item), Relaxed);
    writer.take(&item);
    writer.look(Timestamp(hour(4).0 - 1));
    assert_eq!(writer.file.rotations(), 0, "the same hour");
    writer.look(hour(4));
    writer.look(hour(9));
    assert_eq!(writer.file.rotations(), 1, "the next hour, and then there is nothing to rotate");
    let old = std::fs::read_to_string(folder.path().join("conn.log.1")).expect("the old file");
    assert!(old.starts_with("#separator") && old.lines().last().expect("a line").starts_with("#close"), "{old}");
    assert_eq!(old.lines().filter(|line| !line.starts_with('#')).count(), 1);
    assert_eq!(writer.shared.lines.load(Relaxed), 1, "head and foot are nobody's line");
}

#[test]
fn a_file_that_others_moved_is_left_to_them_and_one_they_ask_for_is_opened_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path().join("eve.json"));
    let mut writer = writer(settings.clone(), EveFormat::new(None));
    take_flows(&mut writer, 1..2);
    writer.look(Timestamp(0));
    let moved = folder.path().join("moved");
    std::fs::rename(&settings.path, &moved).expect("moved");
    take_flows(&mut writer, 2..3);
    writer.look(Timestamp(0));
    take_flows(&mut writer, 3..4);
    writer.look(Timestamp(0));
    assert_eq!((ports(&moved), ports(&settings.path)), (of(1..3), of(3..4)));
    let before = writer.file.wants_change(Timestamp(0), false);
    assert_eq!((before, writer.file.wants_change(Timestamp(0), true)), (None, Some(file::Change::Reopening)));
}

#[test]
fn a_full_disk_is_told_and_costs_lines_only() {
    let log = EveLog::start(settings("/dev/full".into()), EveFormat::new(None)).expect("a device");
    log.flow(flow(1), &"eth1".into());
    let told = loop {
        if let Some(degraded) = log.degraded(Timestamp(7)) {
            break degraded;
        }
        std::thread::yield_now();
    };
    assert!(told.reason.contains("/dev/full") && told.reason.contains("eve.path"), "{}", told.reason);
    assert_eq!(log.degraded(Timestamp(9)).map(|degraded| degraded.since), Some(Timestamp(7)));
    let shared = Arc::clone(&log.shared);
    let lost: Vec<u64> = log.finish().kinds.iter().map(|(_, count)| *count).collect();
    assert_eq!((shared.lines.load(Relaxed), lost), (0, vec![0, 1, 0, 0]), "counted by kind, and not as written");
}

/// Lines wait while the disk takes nothing, and go where there is room; with their head, where they have one.
#[test]
fn what_waited_is_written_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (link, good) = (folder.path().join("conn.log"), folder.path().join("good"));
    std::os::unix::fs::symlink("/dev/full", &link).expect("a link");
    let mut writer = writer(settings(link.clone()), ConnFormat::Tsv);
    for number in 0..3 {
        let item = Box::new(flow(number));
        writer.shared.waiting.fetch_add(ConnFormat::size(&item), Relaxed);
        writer.take(&item);
        writer.look(Timestamp(SECOND));
        assert!(writer.shared.is_in_trouble());
    }
    std::fs::remove_file(&link).expect("no link");
    std::os::unix::fs::symlink(&good, &link).expect("another link");
    writer.look(Timestamp(SECOND));
    writer.look(Timestamp(SECOND));
    assert!(!writer.shared.is_in_trouble());
    let text = std::fs::read_to_string(&good).expect("a file");
    assert!(text.starts_with("#separator"), "{text}");
    assert_eq!(text.matches("#separator").count(), 1);
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 3);
    assert_eq!((writer.shared.lines.load(Relaxed), writer.shared.lost()), (3, 0));
}

/// The bound is in bytes too, and the last eighth of it is the alerts'.
#[test]
fn the_queue_is_bounded_in_bytes_and_alerts_have_their_part() {
    let (sender, receiver) = bounded(QUEUE);
    let mut log: EveLog = Log {
        sender: Some(sender),
        shared: Arc::new(Shared::new(4)),
        path: PathBuf::new(),
        since: AtomicU64::new(0),
        lost_then: Default::default(),
        warner: Warner::default(),
        thread: None,
    };
    let facts: Box<[u8]> = vec![0; 1 << 20].into();
    let head = crate::exchange::EventHead {
        time: Timestamp(0),
        told: Timestamp(0),
        key: FlowKey::default(),
        originator: Default::default(),
        sender: Side::Originator,
        first_seen: None,
        protocol: Default::default(),
        anomaly: None,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    };
    (0..100).for_each(|_| log.event(AppEvent { head, facts: facts.clone() }, &"eth1".into()));
    let waiting = log.shared.waiting.load(Relaxed);
    assert!(waiting <= QUEUE_BYTES / 8 * 7 && waiting > QUEUE_BYTES / 8 * 7 - (2 << 20), "{waiting}");
    log.flow(flow(1), &"eth1".into()); // small enough to fit
    let events = receiver.len() as u64 - 1;
    assert_eq!(log.shared.lost[2].load(Relaxed), 100 - events);
    let reason = log.degraded(Timestamp(SECOND)).expect("lines were lost").reason;
    assert!(reason.contains(&format!("{} lines lost", 100 - events)) && reason.contains("eve.path"), "{reason}");
    assert!(log.degraded(Timestamp(60 * SECOND)).is_some(), "within a minute after the last");
    assert!(log.degraded(Timestamp(61 * SECOND)).is_none(), "none of late");
    let warning = log.warning(Timestamp(SECOND)).expect("lines were lost");
    assert!(warning.contains(&format!("{} events not written", 100 - events)), "{warning}");
    let big = Statistics { counters: vec![(String::new(), 0); 1 << 16], ..Statistics::default() };
    (0..2).for_each(|_| log.stats(big.clone()));
    assert_eq!(log.shared.lost[3].load(Relaxed), 0, "beyond what events may take");
}
