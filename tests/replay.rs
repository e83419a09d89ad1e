//! `shrike replay` from outside: a capture of our own in, EVE lines and a summary out.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Runs `shrike replay --no-model` with these arguments and this standard input.
fn replay(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shrike"))
        .args(["replay", "--no-model"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("shrike starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // It may end without reading everything; that is its right.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("shrike ends")
    })
}

fn json(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{cause}: {error}"))
}

/// Every command that prints says what failed where its output cannot be written, and a reader that goes away is no error.
#[test]
fn a_full_disk_is_an_error_in_words_and_a_broken_pipe_is_quiet() {
    let day = golden("day.pcap.gz");
    let day = day.to_str().unwrap();
    for (arguments, code) in [
        // It may also have found that this machine has no runtime for the model.
        (&["check"][..], 3),
        (&["check", "--json"], 3),
        (&["replay", "--no-model", day], 1),
        (&["replay", "--no-model", "--json", day], 1),
        // What the machine lacks is a finding, whether it could be printed or not.
        (&["doctor"], 3),
        (&["doctor", "--json"], 3),
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_shrike")).args(arguments).stdout(full).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) || output.status.code() == Some(1), "{arguments:?}: {output:?}");
        assert!(error.contains("standard output: No space left on device"), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_shrike")).arg("check").stdout(writer).output().unwrap();
    assert!(output.stderr.is_empty() && output.status.code().is_none(), "ended by SIGPIPE: {output:?}");
}

/// The lines are reviewed as a diff: `SHRIKE_GOLDEN=write cargo test --test replay` writes them anew.
#[test]
fn a_day_in_small_gives_these_lines_with_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let (day, expected) = (golden("day.pcap.gz"), golden("day.eve.jsonl"));
    for workers in ["1", "2", "4"] {
        let eve = folder.path().join(workers);
        let arguments = [day.to_str().unwrap(), "--workers", workers, "--json", "--eve", eve.to_str().unwrap()];
        let summary = json(&replay(&arguments, &[]));
        assert_eq!(summary["queues"].as_array().map(Vec::len), workers.parse().ok());
        let lines = std::fs::read_to_string(&eve).unwrap();
        if std::env::var_os("SHRIKE_GOLDEN").is_some() {
            std::fs::write(&expected, &lines).unwrap();
        }
        let golden = std::fs::read_to_string(&expected).unwrap();
        for (number, (found, wanted)) in lines.lines().zip(golden.lines()).enumerate() {
            assert_eq!(found, wanted, "line {} with {workers} workers", number + 1);
        }
        assert_eq!(lines.lines().count(), golden.lines().count(), "with {workers} workers");
    }
}

#[test]
fn the_summary_has_what_it_promises() {
    let summary = json(&replay(&[golden("day.pcap.gz").to_str().unwrap(), "--json"], &[]));
    for (number, name) in [(759, "packets"), (87, "flows"), (0, "scored"), (0, "shed"), (1, "files"), (0, "steps_back")]
    {
        assert_eq!(summary[name], number, "{name}");
    }
    assert!(summary["bytes"].as_u64().is_some_and(|bytes| bytes > 90_000), "{summary}");
    assert!(summary["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(summary["packets_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(summary["loss_equation_closed"], true);
    assert_eq!((&summary["alerts"]["scan"], &summary["alerts"]["brute_force"]), (&1.into(), &1.into()));
    assert!(summary["drops"].as_object().is_some_and(|drops| drops.values().all(|count| *count == 0)));
    let burst = &summary["latency_ns"]["burst"];
    assert!(["p50", "p99", "p999"].iter().all(|name| burst[name].is_u64()), "{summary}");
    // All of it, and not up to the begin of its last burst.
    assert!(summary["learning"].as_str().is_some_and(|text| text.starts_with("in 15 s not which places")), "{summary}");
    let finding = &summary["findings"][0];
    assert_eq!(finding["kind"], "truncated_tail");
    assert!(finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
}

/// Classic pcap with microseconds over these records: second, frame, length on the wire.
fn classic(records: &[(u32, &[u8], u32)]) -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 1];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (second, frame, wire) in records {
        bytes.extend([*second, 0, frame.len() as u32, *wire].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(*frame);
    }
    bytes
}

/// A datagram to port 53.
fn datagram() -> Vec<u8> {
    [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0][..],
        &[10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4],
    ]
    .concat()
}

#[test]
fn frames_cut_by_the_snap_length_are_counted_and_decoded() {
    let frame = datagram();
    let (whole, cut) = (frame.len() as u32, &frame[..frame.len() - 4]);
    let capture = classic(&[(1_700_000_000, &frame, whole), (1_700_000_000, cut, whole), (1_700_000_001, cut, whole)]);
    for workers in ["1", "2"] {
        let summary = json(&replay(&["-", "--json", "--workers", workers], &capture));
        assert_eq!(
            (&summary["frames_snapped"], &summary["packets"], &summary["flows"]),
            (&2.into(), &3.into(), &1.into())
        );
        assert!(summary["drops"].as_object().unwrap().values().all(|count| *count == 0), "{summary}");
    }
}

/// Frames that are only counted are no drop and no flow; the summary says that they were there.
#[test]
fn frames_that_are_not_decoded_are_told() {
    let lldp = [&[1_u8, 0x80, 0xc2, 0, 0, 0xe, 2, 0, 0, 0, 0, 1, 0x88, 0xcc][..], &[0; 46]].concat();
    let datagram = datagram();
    let records: Vec<_> = (0..7).map(|second| (second, &lldp[..], lldp.len() as u32)).collect();
    let capture = classic(&[&records[..], &[(8, &datagram[..], datagram.len() as u32)]].concat());
    let summary = json(&replay(&["-", "--json"], &capture));
    assert_eq!((&summary["packets"], &summary["flows"], &summary["not_decoded"]), (&8.into(), &1.into(), &7.into()));
    assert_eq!(summary["loss_equation_closed"], true);
    let told = replay(&["-"], &capture);
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("not decoded: 7 packets of an EtherType"), "{told}");
}

#[test]
fn a_pipe_and_several_files_read_like_files() {
    let day = golden("day.pcap.gz");
    let bytes = std::fs::read(&day).unwrap();
    let piped = json(&replay(&["-", "--json"], &bytes));
    let twice = json(&replay(&[day.to_str().unwrap(), "-", "--json", "--workers", "2"], &bytes));
    assert_eq!((&piped["packets"], &piped["flows"]), (&759.into(), &87.into()));
    assert_eq!((&twice["packets"], &twice["files"]), (&1518.into(), &2.into()));
    // The second one begins before the first one ended: it was moved behind it, and that is said.
    let kinds: Vec<_> = twice["findings"].as_array().unwrap().iter().map(|finding| &finding["kind"]).collect();
    assert_eq!(kinds, ["truncated_tail", "time_shift", "truncated_tail"]);
}

#[test]
fn feature_rows_are_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.csv");
    json(&replay(&[golden("day.pcap.gz").to_str().unwrap(), "--json", "--features", rows.to_str().unwrap()], &[]));
    let text = std::fs::read_to_string(&rows).unwrap();
    let columns = text.lines().next().unwrap().split(',').count();
    assert!(
        columns > 7 && text.starts_with("time_ns,source,source_port,destination,destination_port,protocol,packets,")
    );
    assert!(text.lines().all(|line| line.split(',').count() == columns));
    assert!(text.lines().count() > 87, "a row for every flow at least");
}

/// A result takes its name when it is whole: a replay that fails leaves what was there, and no capture is written over.
#[test]
fn outputs_destroy_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let (capture, old) = (place("day.pcap.gz"), place("old.jsonl"));
    std::fs::copy(golden("day.pcap.gz"), &capture).unwrap();
    let bytes = std::fs::read(&capture).unwrap();
    std::fs::write(place("notes.txt"), "not a capture").unwrap();
    std::fs::hard_link(&capture, place("hard")).unwrap();
    std::os::unix::fs::symlink(&capture, place("soft")).unwrap();
    std::fs::copy(&capture, place("beside.part")).unwrap();
    for option in ["--eve", "--features"] {
        for name in ["day.pcap.gz", "hard", "soft", "beside"] {
            let inputs = [capture.to_str().unwrap(), place("beside.part").to_str().unwrap()].map(str::to_owned);
            let output = replay(&[&inputs[0], &inputs[1], option, place(name).to_str().unwrap()], &[]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{option} {name}: {error}");
            assert!(error.contains(option) && error.contains("would overwrite the capture"), "{error}");
            assert_eq!(std::fs::read(&capture).unwrap(), bytes, "{option} {name}");
        }
        let input = Stdio::from(std::fs::File::open(&capture).unwrap());
        let piped = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["replay", "--no-model", "-", option])
            .arg(&capture)
            .stdin(input)
            .output()
            .unwrap();
        assert_eq!((piped.status.code(), std::fs::read(&capture).unwrap() == bytes), (Some(2), true), "{piped:?}");
        for input in ["missing.pcap", "notes.txt"] {
            std::fs::write(&old, "of yesterday").unwrap();
            let output = replay(&[place(input).to_str().unwrap(), option, old.to_str().unwrap()], &[]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert_eq!(std::fs::read_to_string(&old).unwrap(), "of yesterday", "{option} {input}");
        }
        json(&replay(&[capture.to_str().unwrap(), "--json", option, old.to_str().unwrap()], &[]));
        assert!(std::fs::read_to_string(&old).unwrap().lines().count() > 87, "{option} replaces it in the end");
    }
    let same = old.to_str().unwrap();
    assert_eq!(replay(&[capture.to_str().unwrap(), "--eve", same, "--features", same], &[]).status.code(), Some(2));
    let mut left: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["beside.part", "day.pcap.gz", "hard", "notes.txt", "old.jsonl", "soft"], "nothing half done");
}

/// Probes time out after the last packet, so the alert is later than every flow; the statistics come last all the same.
#[test]
fn the_lines_are_in_order_of_time_to_the_last() {
    let probe = |port: u8| -> Vec<u8> {
        let ends = [
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let tcp = [0x9c, port, 1, port, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0];
        [&ends[..], &tcp[..]].concat()
    };
    let frames: Vec<_> = (0..150).map(probe).collect();
    let records: Vec<_> = frames.iter().map(|frame| (1_700_000_000, &frame[..], frame.len() as u32)).collect();
    let output = replay(&["-", "--eve", "-"], &classic(&records));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event_type"] == "alert"), "{text}");
    assert!(lines.is_sorted_by_key(|line| line["timestamp"].as_str().unwrap().to_owned()), "{text}");
    assert_eq!(lines.last().unwrap()["event_type"], "stats");
}

#[test]
fn a_dash_is_standard_output() {
    let day = golden("day.pcap.gz");
    for workers in ["1", "2"] {
        let output = replay(&[day.to_str().unwrap(), "--json", "--eve", "-", "--workers", workers], &[]);
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            std::fs::read_to_string(golden("day.eve.jsonl")).unwrap(),
            "events and nothing else"
        );
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("\"packets\":759"), "the summary is beside it: {error}");
    }
    let output = replay(&[day.to_str().unwrap(), "--hosts", "--eve", "-"], &[]);
    let events = std::fs::read_to_string(golden("day.eve.jsonl")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), events, "events and nothing else");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(" hosts, seen by watching alone"), "the hosts are beside it: {error}");
    assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join("-").exists());
}

/// Ctrl-C ends a replay at its present place: the lines are whole, the statistics are there, the books close.
#[test]
fn an_interrupted_replay_leaves_whole_lines_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("slow.pcap");
    // Two datagrams at once and one an hour later, which nobody waits for.
    let (frame, length) = (datagram(), datagram().len() as u32);
    let at = |second| (second, &frame[..], length);
    std::fs::write(&capture, classic(&[at(1_700_000_000), at(1_700_000_000), at(1_700_003_600)])).unwrap();
    for workers in ["1", "2"] {
        let eve = folder.path().join(workers);
        let child = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["replay", "--no-model", "--json", "--speed", "1x", "--workers", workers, "--eve"])
            .args([&eve, &capture])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The file is made when everything is ready to be interrupted.
        while !eve.exists() {
            std::thread::yield_now();
        }
        let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{error}");
        assert!(error.contains("interrupted"), "{error}");
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["interrupted"], &summary["loss_equation_closed"]), (&true.into(), &true.into()));
        assert!(summary["packets"].as_u64().unwrap() <= 2, "the third is an hour away");
        let text = std::fs::read_to_string(&eve).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(text.ends_with('\n') && lines.last().unwrap()["event_type"] == "stats", "{text}");
    }
}

/// A pipe through which nothing comes, before the capture's header and behind its last record.
#[test]
fn a_silent_pipe_is_not_waited_for_once_it_is_interrupted() {
    let frame = datagram();
    let capture = classic(&[(1_700_000_000, &frame, frame.len() as u32), (1_700_000_000, &frame, frame.len() as u32)]);
    let folder = tempfile::tempdir().unwrap();
    for (written, workers, signal) in [(0, "1", "-INT"), (capture.len(), "1", "-TERM"), (capture.len(), "2", "-INT")] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["replay", "--no-model", "--json", "--speed", "1x", "--workers", workers, "-", "--eve"])
            .arg(folder.path().join(workers))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&capture[..written]).unwrap();
        // Both signals are watched for before anything is read: bits 1 and 14 of the mask of those caught.
        let status = format!("/proc/{}/status", child.id());
        let caught = || {
            let text = std::fs::read_to_string(&status).unwrap();
            let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
            u64::from_str_radix(&mask, 16).unwrap() & 0x4002 == 0x4002
        };
        // With a header written, also until it is behind it: then the output is begun.
        while !caught() || (written > 0 && !folder.path().join(workers).exists()) {
            std::thread::yield_now();
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        drop(pipe);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{written} bytes: {error}");
        assert!(error.contains("interrupted"), "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a capture").unwrap();
    let missing = folder.path().join("missing.pcap");
    for (path, says) in [(&text, "neither pcap nor pcapng"), (&missing, "check the path")] {
        let output = replay(&[golden("day.pcap.gz").to_str().unwrap(), path.to_str().unwrap()], &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
        assert!(output.stdout.is_empty(), "refused before the first packet");
    }
    assert_eq!(replay(&[], &[]).status.code(), Some(2));
}
