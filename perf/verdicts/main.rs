//! `cargo bench --bench verdicts [-- FILE]`: what verdicts cost in the kernel. Needs root; writes JSON to FILE if one is given.
//!
//! * A frame's way through the program of a pair's port with no verdict, 10 thousand and a million blocked IPv4 prefixes, by
//!   `BPF_PROG_TEST_RUN`, over frames of 4096 sources among the prefixes that none of these holds: rounds interleaved, the median of each.
//! * Loading a million prefixes into a pair that forwards, beside a bare batch update of a map of the same kind in the same round;
//!   what the pair forwarded meanwhile, and whether anything was lost.
//!
//! A measurement: it asserts that nothing was lost and that frames met what they were meant to, and no time.

#![allow(unsafe_code)] // a system call of libbpf's

#[path = "../../tests/live/mod.rs"]
mod live;
#[path = "../../tests/support/mod.rs"]
mod support;

use anyhow::{Context, ensure};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys};
use live::Sender;
use live::pair::{PairBed, Receiver, Running};
use shrike::dataplane::capture::xdp::{Pair, Policy, Verdicts, verdict_path};
use shrike::dataplane::verdict::{Action, Enforcer, Rule, Side, Subject};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MILLION: u32 = 1_000_000;
const ROUNDS: usize = 5;
const SOURCES: u32 = 4096;
/// Runs of the program on each source's frame in one round.
const REPEAT: u32 = 200;

/// Number `index` of so many different prefixes of 24 to 32 bits below 10.0.0.0/8, in a scattered order.
fn prefix(index: u32) -> Subject {
    // An odd factor permutes the 24 bits.
    let place = index.wrapping_mul(0x9e37_79b1) & 0x00ff_ffff;
    let bits = if place & 0xff == 0 { 24 } else { 32 };
    Subject::Prefix(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | place)), bits)
}

fn rules(count: u32) -> Vec<(Subject, Rule)> {
    let rule = Rule { action: Action::Drop, side: Side::Source, until_ns: 0 };
    (0..count).map(|index| (prefix(index), rule)).collect()
}

/// Addresses among the prefixes that none of them holds, so that a lookup goes as deep as it can and finds nothing.
fn neighbours() -> Vec<[u8; 4]> {
    let place = |index: u32| index.wrapping_mul(0x9e37_79b1) & 0x00ff_ffff;
    let networks: HashSet<u32> = (0..MILLION).map(place).filter(|place| place & 0xff == 0).collect();
    let free = (MILLION..1 << 24).map(place).filter(|place| place & 0xff != 0 && !networks.contains(&(place & !0xff)));
    free.take(SOURCES as usize).map(|place| (0x0a00_0000 | place).to_be_bytes()).collect()
}

/// Nanoseconds of one run of the program on a frame, the mean over all sources.
fn cost(program: i32, sources: &[[u8; 4]]) -> anyhow::Result<f64> {
    let mut total = 0_u64;
    for source in sources {
        let mut frame = live::udp_frame(7, 64);
        frame[26..30].copy_from_slice(source);
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: frame.len() as u32,
            repeat: REPEAT as i32,
            ..Default::default()
        };
        // SAFETY: `data_in` points to a live slice of the length given; no output buffers are set.
        let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program, &mut options) };
        ensure!(result == 0, "BPF_PROG_TEST_RUN: {}", std::io::Error::from_raw_os_error(-result));
        ensure!(options.retval != 1, "a frame that no prefix holds was dropped");
        total += u64::from(options.duration);
    }
    Ok(total as f64 / f64::from(SOURCES))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds for a million entries into a map of the kind that the verdicts' is, by nothing but batch updates of the same size.
fn bare(keys: &[u8], values: &[u8], value_bytes: u32) -> anyhow::Result<f64> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: libbpf_sys::BPF_F_NO_PREALLOC,
        ..Default::default()
    };
    let map = MapHandle::create(MapType::LpmTrie, Some("bare"), 8, value_bytes, 2 * MILLION, &options)?;
    let begin = Instant::now();
    for (keys, values) in keys.chunks(8 * 4096).zip(values.chunks(value_bytes as usize * 4096)) {
        map.update_batch(keys, values, (keys.len() / 8) as u32, MapFlags::ANY, MapFlags::ANY)?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn main() -> anyhow::Result<()> {
    let bed = PairBed::new(1);
    let settings = bed.settings(Policy::default());
    let pair = Pair::attach(&settings).context("attach a pair")?;
    let verdicts = Verdicts::open(&verdict_path(&settings.ports[0]))?;
    let program = live::link(&bed.appliance, "a0").xdp_program;
    let program = libbpf_rs::Program::fd_from_id(program)?;
    let million = rules(MILLION);
    let subjects: Vec<Subject> = million.iter().map(|(subject, _)| *subject).collect();

    println!(
        "one frame's way through the program, ns (mean over {SOURCES} sources, {REPEAT} runs each; {ROUNDS} interleaved rounds)"
    );
    let (sizes, sources) = ([0, 10_000, MILLION], neighbours());
    let mut costs = vec![Vec::new(); sizes.len()];
    for round in 0..ROUNDS {
        for (size, costs) in sizes.iter().zip(&mut costs) {
            verdicts.put(&million[..*size as usize])?;
            costs.push(cost(program.as_raw_fd(), &sources)?);
            verdicts.remove(&subjects[..*size as usize])?;
        }
        eprintln!("  round {}: {:?}", round + 1, costs.iter().map(|costs| costs[round]).collect::<Vec<_>>());
    }
    let costs: Vec<f64> = costs.iter_mut().map(|costs| median(costs)).collect();
    for (size, cost) in sizes.iter().zip(&costs) {
        println!("  {size:>9} prefixes: {cost:>7.1} ns, {:+.1} against none", cost - costs[0]);
    }

    println!("loading a million prefixes while frames cross, beside a bare batch update ({ROUNDS} rounds)");
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (subject, _) in &million {
        let Subject::Prefix(IpAddr::V4(address), bits) = subject else { unreachable!() };
        keys.extend(u32::from(*bits).to_ne_bytes());
        keys.extend(address.octets());
        values.extend([0_u8; 72]);
    }
    let (mut ratios, mut times) = (Vec::new(), Vec::new());
    let (mut sent, mut arrived) = (0, 0);
    let running = Running::start(&pair);
    for round in 0..ROUNDS {
        let alone = bare(&keys, &values, 72)?;
        let receiver = Receiver::open(&bed.server, "s0");
        let stop = Arc::new(AtomicBool::new(false));
        let (client, stopped) = (bed.client.clone(), Arc::clone(&stop));
        let sending = std::thread::spawn(move || {
            let mut sender = Sender::on(&client, "c0", 500, 64);
            while !stopped.load(Ordering::Relaxed) {
                sender.send_paced(100, 10_000);
            }
            sender.sent
        });
        let counting = std::thread::spawn(move || {
            let mut count = 0_u64;
            while receiver.next(Duration::from_secs(2)).is_some() {
                count += 1;
            }
            count
        });
        let begin = Instant::now();
        verdicts.put(&million)?;
        let took = begin.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let (out, back) = (sending.join().expect("the sender"), counting.join().expect("the receiver"));
        eprintln!("  round {}: {took:.3} s, bare {alone:.3} s, {out} frames sent, {back} arrived", round + 1);
        sent += out;
        arrived += back;
        times.push(took);
        ratios.push(took / alone);
        verdicts.remove(&subjects)?;
    }
    running.stop();
    let (time, ratio) = (median(&mut times), median(&mut ratios));
    let lost = sent - arrived;
    println!("  {time:.2} s, {ratio:.2} times the bare update; {sent} frames crossed meanwhile, {lost} lost");
    ensure!(lost == 0, "{lost} frames were lost");
    if let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        let told = serde_json::json!({"lookup_ns": {"0": costs[0], "10000": costs[1], "1000000": costs[2]},
            "load": {"prefixes": MILLION, "seconds": time, "of_bare": ratio, "frames_crossed": sent, "frames_lost": lost}});
        std::fs::write(&path, format!("{told:#}\n")).with_context(|| format!("write {path}"))?;
    }
    let _ = program.as_fd();
    Ok(())
}
