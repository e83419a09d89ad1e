//! A pair of two emulated NICs in true zero-copy: what comes in on one leaves on the other without the kernel copying it.

use super::guest::{self, Guest, NoGuest};
use super::{ANSWER_LIMIT, BOOT_LIMIT, DRAIN_LIMIT, FRAMES_PER_SECOND, fill_overlay, support};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Frames each way, both ways at once.
const FRAMES: u32 = 3_000;

/// A frame of a direction with its number, its length and filling made of it; every eighth has a VLAN tag.
fn frame(direction: usize, number: u32) -> Vec<u8> {
    let length = 60 + (number as usize * 97) % 1_400;
    let mut frame = vec![2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 8];
    if number.is_multiple_of(8) {
        frame.extend([0x81, 0, 0x20, 9]);
    }
    frame.extend([0x88, 0xb5, direction as u8]); // an EtherType for experiments (IEEE 802)
    frame.extend(number.to_be_bytes());
    let filling = (0..length).map(|at| (at as u32 * 31 + number) as u8);
    frame.extend(filling);
    frame
}

/// The number of one of our frames that came out; the guest's own are none.
fn number(bytes: &[u8], direction: usize) -> Option<u32> {
    let at = if bytes.get(12..14)? == [0x81, 0] { 16 } else { 12 };
    (bytes.get(at..at + 3)? == [0x88, 0xb5, direction as u8]).then_some(())?;
    Some(u32::from_be_bytes(*bytes.get(at + 3..)?.first_chunk()?))
}

#[test]
fn live_a_pair_forwards_in_zero_copy_both_ways() {
    let test = "live_a_pair_forwards_in_zero_copy_both_ways";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("SHRIKE_QEMU_CACHE").map_or(root.join("target/qemu"), PathBuf::from);
    match guest::fetch(&cache) {
        Ok(()) => {}
        Err(NoGuest::Unavailable(why)) => return support::skip(test, "qemu", &why),
        Err(NoGuest::Broken(why)) => panic!("{why}"),
    }
    let overlay = tempfile::tempdir().unwrap();
    fill_overlay(root, overlay.path());
    let mut guest = match Guest::boot(&cache, overlay.path(), 2, 2) {
        Ok(guest) => guest,
        Err(NoGuest::Unavailable(why) | NoGuest::Broken(why)) => panic!("{why}"),
    };
    guest.hear("ready", BOOT_LIMIT).unwrap();

    let begin = Instant::now();
    for index in 0..FRAMES {
        let due = begin + Duration::from_secs_f64(f64::from(index) / FRAMES_PER_SECOND);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        for direction in 0..2 {
            guest.send(direction, &frame(direction, index)).unwrap();
        }
    }
    for direction in 0..2 {
        let mut expected = 0;
        while expected < FRAMES {
            let Some(bytes) = guest.receive(1 - direction, DRAIN_LIMIT) else {
                let asked = guest.order("pairs").and_then(|()| guest.hear("pairs", ANSWER_LIMIT));
                let _ = guest.order("debug").and_then(|()| guest.hear("debug", ANSWER_LIMIT));
                panic!("direction {direction}: frame {expected} did not come out\n{asked:?}\n{}", guest.log_tail());
            };
            if let Some(found) = number(&bytes, direction) {
                assert_eq!(found, expected, "in order, once each");
                assert!(bytes == frame(direction, expected), "frame {expected} is as it was sent");
                expected += 1;
            }
        }
    }
    // The picture is renewed four times a second.
    let end = Instant::now() + ANSWER_LIMIT;
    let pair = loop {
        guest.order("pairs").unwrap();
        let told: Value = serde_json::from_str(&guest.hear("pairs", ANSWER_LIMIT).unwrap()).unwrap();
        let pair = told["pairs"][0].clone();
        let sent = |direction: usize| pair["directions"][direction]["sent"].as_u64().unwrap();
        if (sent(0) >= FRAMES.into() && sent(1) >= FRAMES.into()) || Instant::now() > end {
            break pair;
        }
    };
    guest.order("stop").unwrap();
    let summary: Value = serde_json::from_str(&guest.hear("summary", ANSWER_LIMIT).unwrap()).unwrap();
    let exit_status: i64 = guest.hear("exit", ANSWER_LIMIT).unwrap().parse().unwrap();

    let context = format!("{pair:#}\n{summary:#}");
    for side in 0..2 {
        assert_eq!(pair["queues"][0][side]["mode"], "zero-copy", "read back: {context}");
    }
    for direction in pair["directions"].as_array().unwrap() {
        let term = |name: &str| direction[name].as_u64().unwrap();
        assert!(term("sent") >= FRAMES.into(), "{context}");
        assert_eq!(term("taken"), term("redirected"), "{context}");
        assert_eq!(term("tx_refused") + term("lost_in_hands") + term("refused") + term("peer_refused"), 0, "{context}");
        assert_eq!(term("rebuilds"), 0, "every frame that was sent came back: {context}");
    }
    assert_eq!(summary["loss"]["closed"], true, "{context}");
    assert_eq!(exit_status, 0, "{context}");
}
