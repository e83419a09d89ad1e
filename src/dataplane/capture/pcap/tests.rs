//! Every variant of both formats, and every way they can be wrong.

use super::testing::{Seen, Writer, drain, source};
use super::*;
use crate::dataplane::capture::{LinkType, Source};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

const SECONDS: u64 = 1_000_000_000;

fn seen(bytes: &[u8], wire: u32, time: u64, link: LinkType) -> Seen {
    Seen { bytes: bytes.to_vec(), wire, time, link }
}

fn kinds(source: &PcapSource) -> Vec<FindingKind> {
    source.report().findings().0.iter().map(|finding| finding.kind).collect()
}

#[test]
fn classic_in_both_orders_and_resolutions() {
    for big in [false, true] {
        for (magic, ticks, nanoseconds) in [(0xa1b2_c3d4, 7, 7000), (0xa1b2_3c4d, 7, 7), (0xa1b2_cd34, 9, 9000)] {
            let mut file = Writer::new(big);
            file.classic(magic, (2, 4), 1);
            for number in 0..3_u8 {
                file.u32(5).u32(ticks).u32(3).u32(60);
                if magic == 0xa1b2_cd34 {
                    file.u32(0).u32(0);
                }
                file.bytes.extend([number; 3]);
            }
            let mut source = source(&file.bytes);
            let expected: Vec<_> =
                (0..3).map(|number| seen(&[number; 3], 60, 5 * SECONDS + nanoseconds, LinkType::Ethernet)).collect();
            assert_eq!(drain(&mut source, 2), expected, "big {big}, magic {magic:x}");
            assert_eq!(kinds(&source), []);
            let report = source.report();
            assert_eq!((report.packets(), report.bytes(), report.files(), report.steps_back()), (3, 180, 1, 0));
        }
    }
}

#[test]
fn link_types_have_their_names() {
    for (number, link) in [
        (0, LinkType::Null),
        (1, LinkType::Ethernet),
        (9, LinkType::Ppp),
        (12, LinkType::RawIp),
        (14, LinkType::RawIp),
        (50, LinkType::Ppp),
        (101, LinkType::RawIp),
        (104, LinkType::Ppp),
        (108, LinkType::Null),
        (113, LinkType::LinuxSll),
        (228, LinkType::RawIp),
        (229, LinkType::RawIp),
        (276, LinkType::LinuxSll2),
        (105, LinkType::Other(105)),
    ] {
        let mut file = Writer::new(false);
        file.classic(0xa1b2_c3d4, (2, 4), number).record(1, 0, 1, 1, &[9]);
        assert_eq!(drain(&mut source(&file.bytes), 8), [seen(&[9], 1, SECONDS, link)]);
    }
}

#[test]
fn old_writers_exchanged_the_lengths_and_an_fcs_is_taken_off() {
    for (version, captured, wire) in [((2, 2), 60, 2), ((543, 0), 60, 2), ((2, 3), 60, 2), ((2, 3), 2, 60)] {
        let mut file = Writer::new(false);
        file.classic(0xa1b2_c3d4, version, 1).record(1, 0, captured, wire, &[1, 2]);
        assert_eq!(drain(&mut source(&file.bytes), 8), [seen(&[1, 2], 60, SECONDS, LinkType::Ethernet)], "{version:?}");
    }
    let mut file = Writer::new(false);
    file.classic(0xa1b2_c3d4, (2, 4), 1 | 1 << 26 | 2 << 28);
    file.record(1, 0, 8, 8, &[1, 2, 3, 4, 5, 6, 7, 8]).record(1, 0, 3, 100, &[1, 2, 3]).record(1, 0, 2, 2, &[1, 2]);
    assert_eq!(
        drain(&mut source(&file.bytes), 8),
        [
            seen(&[1, 2, 3, 4], 4, SECONDS, LinkType::Ethernet),
            seen(&[1, 2, 3], 96, SECONDS, LinkType::Ethernet),
            seen(&[], 0, SECONDS, LinkType::Ethernet)
        ]
    );
}

#[test]
fn pcapng_with_sections_interfaces_resolutions_and_strange_blocks() {
    let mut bytes = Vec::new();
    for big in [false, true] {
        let offset = if big { 100_i64.to_be_bytes() } else { 100_i64.to_le_bytes() };
        let mut file = Writer::new(big);
        file.section();
        file.interface(1, 4, &[(2, b"eth0")]);
        file.interface(101, 0, &[(9, &[9]), (14, &offset)]);
        file.interface(113, 0, &[(9, &[0x80 | 10])]);
        file.interface(276, 0, &[(9, &[12]), (13, &[32])]);
        file.block(0xbad, |w| {
            w.u32(7);
        });
        file.enhanced(2, 1024 + 512, 0, &[4]);
        file.enhanced(0, 3_000_001, 60, &[1, 2, 3, 4, 5]);
        file.enhanced(3, 5_000_000_001_999, 8, &[1, 2, 3, 4, 5, 6, 7, 8]);
        file.block(3, |w| {
            w.u32(60).bytes.extend([8, 7, 6, 5]);
        });
        file.enhanced(1, 7, 3, &[1, 2, 3]);
        file.block(2, |w| {
            w.u16(1).u16(0xffff).u32(0).u32(9).u32(2).u32(90).bytes.extend([1, 1]);
        });
        bytes.extend(file.bytes);
    }
    let mut source = source(&bytes);
    let half = [
        seen(&[4], 1, SECONDS + SECONDS / 2, LinkType::LinuxSll),
        seen(&[1, 2, 3, 4, 5], 60, 3 * SECONDS + 1000, LinkType::Ethernet),
        seen(&[1, 2, 3, 4], 4, 5 * SECONDS + 1, LinkType::LinuxSll2),
        seen(&[8, 7, 6, 5], 60, 5 * SECONDS + 1, LinkType::Ethernet),
        seen(&[1, 2, 3], 3, 100 * SECONDS + 7, LinkType::RawIp),
        seen(&[1, 1], 90, 100 * SECONDS + 9, LinkType::RawIp),
    ];
    // The second section begins 98.5 s before the first one ended: it follows on it.
    let shift = 100 * SECONDS + 9 - (SECONDS + SECONDS / 2);
    let later = half.clone().map(|frame| Seen { time: frame.time + shift, ..frame });
    assert_eq!(drain(&mut source, 5), [half, later].concat());
    assert_eq!(kinds(&source), [FindingKind::TimeShift]);
    assert_eq!(source.report().steps_back(), 1);
}

#[test]
fn a_cut_tail_is_a_finding_and_whole_packets_before_it_are_delivered() {
    let mut classic = Writer::new(false);
    classic.classic(0xa1b2_c3d4, (2, 4), 1).record(1, 0, 4, 4, &[1; 4]).record(2, 0, 4, 4, &[2; 4]);
    let mut ng = Writer::new(true);
    ng.section().interface(1, 0, &[]).enhanced(0, 1, 4, &[1; 4]).enhanced(0, 2, 4, &[2; 4]);
    for (bytes, boundaries) in [(classic.bytes, vec![24, 44, 64]), (ng.bytes, vec![28, 48, 84, 120])] {
        for length in boundaries[0]..bytes.len() {
            let mut source = source(&bytes[..length]);
            let packets = drain(&mut source, 8).len();
            let whole = if boundaries.contains(&length) { vec![] } else { vec![FindingKind::TruncatedTail] };
            assert_eq!(kinds(&source), whole, "cut at {length}");
            let last = boundaries.iter().rposition(|boundary| *boundary <= length).unwrap();
            assert_eq!(packets, last.saturating_sub(boundaries.len() - 3), "cut at {length}");
        }
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let mut huge = Writer::new(false);
    huge.classic(0xa1b2_c3d4, (2, 4), 1).record(1, 0, 1, 1, &[1]).record(1, 0, 0x7fff_ffff, 1, &[1; 64]);
    let mut stranger = Writer::new(false);
    stranger.section().interface(1, 0, &[]).enhanced(7, 0, 1, &[1]).enhanced(0, 0, 1, &[1]);
    let mut longer = Writer::new(false);
    longer.section().interface(1, 0, &[]).block(6, |w| {
        w.u32(0).u32(0).u32(0).u32(1000).u32(1000).u32(0);
    });
    longer.enhanced(0, 0, 1, &[1]);
    let mut uneven = Writer::new(false);
    uneven.section().interface(1, 0, &[]).enhanced(0, 0, 1, &[1]).u32(6).u32(13);
    uneven.bytes.extend([0; 40]);
    let mut liar = Writer::new(false);
    liar.section().interface(1, 0, &[]).enhanced(0, 0, 1, &[1]).enhanced(0, 0, 1, &[1]);
    let last = liar.bytes.len() - 4;
    liar.bytes[last] ^= 1;
    let mut version = Writer::new(false);
    version.section().interface(1, 0, &[]).enhanced(0, 0, 1, &[1]).block(0x0a0d_0d0a, |w| {
        w.u32(0x1a2b_3c4d).u16(2).u16(0).u32(0).u32(0);
    });
    for (file, kind, offset) in [
        (huge, FindingKind::RecordLength, 41),
        (stranger, FindingKind::UnknownInterface, 48),
        (longer, FindingKind::BlockContents, 48),
        (uneven, FindingKind::BlockLength, 84),
        (liar, FindingKind::BlockLength, 84),
        (version, FindingKind::SectionVersion, 84),
    ] {
        let mut source = source(&file.bytes);
        assert_eq!(drain(&mut source, 8).len(), 1, "{kind:?}");
        let findings = source.report().findings().0;
        assert_eq!((findings.len(), findings[0].kind, findings[0].offset), (1, kind, offset), "{}", findings[0]);
    }
}

#[test]
fn what_is_no_capture_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        PcapSource::open(&[path], Speed::Max).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(open("text", b"hello world").contains("(first bytes 68656c6c)"));
    assert!(open("empty", b"").contains("none, it is empty"));
    let gzip = open("gzip", &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xff; 40]].concat());
    assert!(gzip.contains("compressed form") && gzip.contains("`gzip -t`"), "{gzip}");
    let zstd = open("zstd", &[&[0x28, 0xb5, 0x2f, 0xfd, 4, 0][..], &[0xff; 24]].concat());
    assert!(zstd.contains("compressed form") && zstd.contains("`zstd -t`"), "{zstd}");
    let missing = PcapSource::open(&[folder.path().join("missing")], Speed::Max).err().unwrap().to_string();
    assert!(missing.contains("check the path"), "{missing}");
    assert!(matches!(PcapSource::open(&[], Speed::Max), Err(CaptureError::Nothing)));
    let twice = [PathBuf::from("-"), PathBuf::from("-")];
    assert!(matches!(PcapSource::open(&twice, Speed::Max), Err(CaptureError::StdinTwice)));
}

fn many(count: u32, bytes: usize) -> Writer {
    let mut file = Writer::new(false);
    file.classic(0xa1b2_c3d4, (2, 4), 1);
    for number in 0..count {
        file.record(number, 0, bytes as u32, bytes as u32, &vec![number as u8; bytes]);
    }
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_files_and_many_of_them_read_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, other) = (many(3000, 1000).bytes, many(5, 9).bytes);
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    // Two gzip members after one another are one file.
    let members = [gzip(&plain[..70_000]), gzip(&plain[70_000..])].concat();
    let mut paths = Vec::new();
    for (name, contents) in [("a", &plain), ("b.gz", &members), ("c", &zstd), ("d", &other)] {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        paths.push(path);
    }
    let mut source = PcapSource::open(&paths, Speed::Max).unwrap();
    let all = drain(&mut source, BURST_CAP);
    assert_eq!(all.len(), 9005);
    let (first, rest) = all.split_at(3000);
    for (frame, original) in rest.iter().zip(first.iter().chain(first)) {
        assert_eq!((&frame.bytes, frame.wire), (&original.bytes, original.wire));
    }
    assert!(all.is_sorted_by_key(|frame| frame.time));
    assert_eq!(all[8999].time - all[6000].time, 2999 * SECONDS, "a later file keeps its own pace");
    assert_eq!((source.report().files(), source.report().steps_back()), (4, 3));
    assert_eq!(kinds(&source), [FindingKind::TimeShift; 3]);
}

const BURST_CAP: usize = 256;

#[test]
fn a_cut_gzip_delivers_what_is_whole() {
    let whole = gzip(&many(3000, 1000).bytes);
    let mut source = source(&whole[..whole.len() / 2]);
    assert!(!drain(&mut source, 64).is_empty());
    assert!(kinds(&source).contains(&FindingKind::Read));
}

/// However little is left of a capture, and however it is compressed: no refusal, but a finding, and what is whole.
#[test]
fn captures_cut_anywhere_are_read_as_far_as_they_go() {
    let plain = many(3000, 1000).bytes;
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    // Bytes that do not compress: a first block of 128 KiB and more.
    let noise: Vec<u8> =
        (0..400_000_u64).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let mut random = Writer::new(false);
    random.classic(0xa1b2_c3d4, (2, 4), 1);
    noise.chunks(1000).for_each(|chunk| {
        random.record(1, 0, 1000, 1000, chunk);
    });
    let random = zstd::encode_all(random.bytes.as_slice(), 1).unwrap();
    for (bytes, name) in [(&gzip(&plain), "gzip"), (&zstd, "zstd"), (&random, "zstd of noise")] {
        for cut in [5, 9, 40, 3000, bytes.len() / 2, bytes.len() - 5].into_iter().filter(|cut| *cut < bytes.len()) {
            let mut source = source(&bytes[..cut]);
            drain(&mut source, 64);
            let told = kinds(&source).into_iter().filter(|kind| *kind == FindingKind::Read).count();
            assert_eq!(told, 1, "{name} cut at {cut}: {:?}", kinds(&source));
        }
        let mut source = source(&bytes[..bytes.len() - 5]);
        assert!(!drain(&mut source, 64).is_empty(), "{name}");
    }
    for length in 4..24 {
        let mut source = source(&plain[..length]);
        assert_eq!((drain(&mut source, 8).len(), kinds(&source)), (0, vec![FindingKind::TruncatedTail]), "{length}");
    }
}

#[test]
fn a_bomb_is_cut_off() {
    // 64 MiB of zeros are four million empty frames at time zero.
    let mut file = many(0, 0).bytes;
    file.resize(64 << 20, 0);
    let bomb = zstd::encode_all(file.as_slice(), 19).unwrap();
    let limits = Limits { free_bytes: 4 << 20, ratio: 100 };
    let reader = Reader::from_stream("bomb", Box::new(std::io::Cursor::new(bomb)), limits).unwrap();
    let mut source = PcapSource::new(reader, Speed::Max);
    let mut packets = 0;
    loop {
        let burst = source.receive(BURST_CAP);
        packets += burst.count;
        source.release();
        if burst.ended {
            break;
        }
    }
    assert_eq!(kinds(&source), [FindingKind::Bomb]);
    assert!((250_000..700_000).contains(&packets), "{packets}");
}

#[test]
fn a_long_strange_block_is_passed_over() {
    let mut file = Writer::new(false);
    file.section().interface(1, 0, &[]).block(0x7777, |w| w.bytes.resize(5 << 20, 1));
    file.enhanced(0, 1, 4, &[3; 4]).block(0x7777, |w| w.bytes.resize(5 << 20, 1));
    let mut whole = source(&file.bytes);
    assert_eq!(drain(&mut whole, 8).len(), 1);
    assert_eq!(kinds(&whole), []);
    let mut cut = source(&file.bytes[..file.bytes.len() - 1]);
    assert_eq!(drain(&mut cut, 8).len(), 1);
    assert_eq!(kinds(&cut), [FindingKind::TruncatedTail]);
}

#[test]
fn disorder_is_levelled_and_a_new_recording_follows_the_old() {
    let mut file = Writer::new(false);
    file.classic(0xa1b2_c3d4, (2, 4), 1);
    for second in [100, 105, 96, 104, 106, 3, 5, 4, 9] {
        file.record(second, 0, 1, 1, &[0]);
    }
    let mut source = source(&file.bytes);
    let times: Vec<_> = drain(&mut source, 4).iter().map(|frame| frame.time / SECONDS).collect();
    assert_eq!(times, [100, 105, 105, 105, 106, 106, 108, 108, 112]);
    assert_eq!((kinds(&source), source.report().steps_back()), (vec![FindingKind::TimeShift], 4));
    let text = source.report().findings().0[0].to_string();
    assert!(text.contains("test: byte 109: time_shift: capture time goes to 1970-01-01T00:00:03"), "{text}");
}

#[test]
fn recordings_of_any_years_in_any_order_add_no_leaps_up() {
    let year = 365 * 86_400;
    let mut file = Writer::new(false);
    file.classic(0xa1b2_c3d4, (2, 4), 1);
    let seconds =
        [10 * year, 10 * year + 1, 3 * year, 3 * year + 2, 8 * year, 8 * year + 3, 9 * year, 11 * year, 11 * year + 4];
    for second in seconds {
        file.record(second, 0, 1, 1, &[0]);
    }
    let mut source = source(&file.bytes);
    let times: Vec<_> = drain(&mut source, 4).iter().map(|frame| (frame.time / SECONDS) as u32).collect();
    let end = 10 * year + 1;
    // The last one is later than everything: its own time again.
    assert_eq!(times, [10 * year, end, end, end + 2, end + 2, end + 5, end + 5, 11 * year, 11 * year + 4]);
    assert_eq!(kinds(&source), [FindingKind::TimeShift; 4]);
}

/// A record dated 2100 among others of one day is one damaged record; a silence of hours is a silence.
#[test]
fn one_damaged_time_moves_nobody_elses() {
    let (day, stray) = (1_700_000_000_u32, 4_102_444_800_u32);
    let times = |seconds: &[u32], burst: usize| {
        let mut file = Writer::new(false);
        file.classic(0xa1b2_c3d4, (2, 4), 1);
        for second in seconds {
            file.record(*second, 0, 1, 1, &[0]);
        }
        let mut source = source(&file.bytes);
        let times: Vec<_> = drain(&mut source, burst).iter().map(|frame| (frame.time / SECONDS) as u32).collect();
        (times, kinds(&source))
    };
    for burst in [1, 2, 256] {
        let stray_one = vec![FindingKind::StrayTime];
        assert_eq!(times(&[day, stray, day + 1], burst), (vec![day, day, day + 1], stray_one.clone()), "in the middle");
        assert_eq!(times(&[day, stray, stray, day + 1], burst).0, [day, day, day, day + 1], "two of them");
        assert_eq!(times(&[stray, day, day + 1], burst), (vec![day, day, day + 1], stray_one), "the first one");
        let silence = [day, day + 20_000, day + 40_000, day + 40_001];
        assert_eq!(times(&silence, burst), (silence.to_vec(), vec![]), "silences");
        assert_eq!(times(&[day, stray], burst).0, [day, stray], "nothing follows that speaks against it");
        assert_eq!(times(&[0, day, day + 1], burst).0, [0, day, day + 1], "a first one in 1970 moves nobody");
        // A writer of several queues that dates records ahead, by minutes and again and again: nothing adds up.
        let (mut ahead, mut levelled) = (vec![], vec![]);
        for second in day..day + 40 {
            ahead.extend([second, second + 11 + 40 * (second - day), second]);
            levelled.extend([second; 3]);
        }
        let (placed, found) = times(&ahead, burst);
        assert_eq!((placed, found), (levelled, vec![FindingKind::StrayTime; 40]), "records ahead of their time");
    }
    // However the bytes arrive: the leap at the very end of what is read so far.
    let mut file = Writer::new(false);
    file.classic(0xa1b2_c3d4, (2, 4), 1).record(day, 0, 1, 1, &[0]).record(stray, 0, 1, 1, &[0]);
    let cut = file.bytes.len();
    file.record(day + 1, 0, 1, 1, &[0]);
    let parts =
        std::io::Cursor::new(file.bytes[..cut].to_vec()).chain(std::io::Cursor::new(file.bytes[cut..].to_vec()));
    let reader = Reader::from_stream("test", Box::new(parts), Limits::default()).unwrap();
    let mut source = PcapSource::new(reader, Speed::Max);
    let times: Vec<_> = drain(&mut source, 4).iter().map(|frame| (frame.time / SECONDS) as u32).collect();
    assert_eq!(times, [day, day, day + 1]);
}

/// Two clocks that are half a minute apart, in turn: the later one's times stay its own, whatever is added to the other's.
#[test]
fn two_clocks_in_turn_do_not_add_up() {
    let mut file = Writer::new(false);
    file.classic(0xa1b2_c3d4, (2, 4), 1);
    let mut own = vec![];
    for second in 0..50_u32 {
        for late in [0, 30] {
            // Several of each, so that neither is one stray record.
            for _ in 0..4 {
                file.record(1000 + second + late, 0, 1, 1, &[0]);
                own.push(1000 + second + late);
            }
        }
    }
    let mut source = source(&file.bytes);
    let times: Vec<_> = drain(&mut source, 4).iter().map(|frame| (frame.time / SECONDS) as u32).collect();
    let beyond = times.iter().zip(&own).map(|(time, own)| time - own).max();
    assert!(beyond <= Some(31), "{beyond:?} of {times:?}");
    assert_eq!(times.last(), own.last());
}

#[test]
fn absurd_times_are_not_believed() {
    let mut file = Writer::new(false);
    file.section().interface(1, 0, &[(9, &[9])]).interface(1, 0, &[(9, &[0])]).interface(1, 0, &[(14, &[0x7f; 8])]);
    for (interface, ticks) in
        [(0, 5), (0, u64::MAX), (1, u64::MAX), (2, 1), (0, 7), (0, u64::MAX >> 1), (0, 9), (0, u64::MAX >> 1)]
    {
        file.enhanced(interface, ticks, 1, &[0]);
    }
    let mut source = source(&file.bytes);
    let times: Vec<_> = drain(&mut source, 4).iter().map(|frame| frame.time).collect();
    let end = i64::MAX as u64;
    // The year 2262 is one record's alone; at the end of a file nobody speaks against it.
    assert_eq!(times, [5, 5, 5, 5, 7, 7, 9, end]);
}

#[test]
fn findings_are_bounded() {
    let mut file = Writer::new(false);
    file.section();
    for _ in 0..200 {
        file.enhanced(9, 0, 1, &[1]);
    }
    let mut source = source(&file.bytes);
    drain(&mut source, 8);
    let (kept, beyond) = source.report().findings();
    assert_eq!((kept.len(), beyond), (finding::FINDINGS_MAX, 200 - finding::FINDINGS_MAX as u64));
}

#[test]
fn original_speed_gives_a_frame_when_it_is_due_and_waits_for_it() {
    let mut file = Writer::new(false);
    file.classic(0xa1b2_3c4d, (2, 4), 1);
    file.record(1, 0, 1, 1, &[1]).record(1, 0, 1, 1, &[2]).record(1, 2_000_000, 1, 1, &[3]);
    let reader = Reader::from_stream("slow", Box::new(std::io::Cursor::new(file.bytes)), Limits::default()).unwrap();
    let mut source = PcapSource::new(reader, Speed::Original);
    let started = std::time::Instant::now();
    let mut counts = Vec::new();
    loop {
        let burst = source.receive(8);
        source.release();
        if burst.ended {
            break;
        }
        counts.extend((burst.count > 0).then_some(burst.count));
        source.wait(Duration::from_secs(1));
    }
    assert_eq!(counts.iter().sum::<usize>(), 3);
    assert!(started.elapsed() >= Duration::from_millis(2), "the third frame came early");
}

proptest! {
    /// Whatever is written comes back, whatever the burst size and however the stream is cut into reads.
    #[test]
    fn what_is_written_is_read(
        big: bool,
        ng: bool,
        cap in 1..300_usize,
        piece in 1..5000_usize,
        frames in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..200), 0..100_u32, 0..4000_u32), 0..200),
    ) {
        let mut file = Writer::new(big);
        if ng {
            file.section().interface(1, 0, &[]);
        } else {
            file.classic(0xa1b2_c3d4, (2, 4), 1);
        }
        let mut expected = Vec::new();
        let mut time = 0_u32;
        for (data, more, step) in &frames {
            time += step;
            let wire = data.len() as u32 + more;
            if ng {
                file.enhanced(0, u64::from(time) * 1_000_000, wire, data);
            } else {
                file.record(time, 0, data.len() as u32, wire, data);
            }
            expected.push(seen(data, wire, u64::from(time) * SECONDS, LinkType::Ethernet));
        }
        let stream = Pieces { bytes: file.bytes, at: 0, piece };
        let mut source = PcapSource::new(
            Reader::from_stream("pieces", Box::new(stream), Limits::default()).unwrap(), Speed::Max);
        prop_assert_eq!(drain(&mut source, cap), expected);
        prop_assert_eq!(kinds(&source), []);
    }

    /// Bytes changed anywhere: no panic, no hang, no more frames than fit.
    #[test]
    fn damage_anywhere_is_survived(ng: bool, changes in proptest::collection::vec((0..2000_usize, any::<u8>()), 1..40)) {
        let mut file = Writer::new(false);
        if ng {
            file.section().interface(1, 0, &[(9, &[6]), (14, &[1; 8])]);
            (0..30).for_each(|number| { file.enhanced(0, number, 60, &[1; 30]); });
        } else {
            file.classic(0xa1b2_c3d4, (2, 4), 1);
            (0..30).for_each(|number| { file.record(number, 0, 40, 60, &[1; 40]); });
        }
        for (at, value) in changes {
            let length = file.bytes.len();
            file.bytes[at % length] = value;
        }
        if let Ok(reader) = Reader::from_stream("damaged", Box::new(std::io::Cursor::new(file.bytes.clone())), Limits::default()) {
            prop_assert!(drain(&mut PcapSource::new(reader, Speed::Max), 16).len() <= file.bytes.len() / 16);
        }
    }
}

/// Gives its bytes in pieces of one size, as a pipe may.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
}

impl std::io::Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.bytes[self.at..];
        let count = rest.len().min(self.piece).min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
