//! Queues are balanced over workers by load, under real load, and the balance holds still once it is found.

mod live;
mod support;

#[path = "support/http.rs"]
mod http;

use http::Client;
use live::process::Shrike;
use live::{Bed, Sender, udp_frame, until};
use shrike::dataplane::capture::xdp::{CounterReader, InterfaceSettings, QueueAccount, pin_path};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Queues of the bed; with two workers the first and the last begin on the same.
const QUEUES: usize = 3;
/// Threads that flood each of the two.
const FLOODERS: usize = 2;
/// Seconds of the program's own clock that the balance is watched for, some sixteen of its decisions.
const WATCHED_SECONDS: f64 = 8.0;

/// Worker of each queue, as the program shows it; `None` while one is on its way. With it every worker's load.
fn placement(client: &mut Client) -> (Vec<Option<u64>>, Vec<f64>) {
    let workers = client.get("/v1/workers").json();
    let mut places = vec![None; QUEUES];
    let mut loads = Vec::new();
    for worker in workers["items"].as_array().unwrap() {
        loads.push(worker["load"].as_f64().unwrap());
        for queue in worker["queues"].as_array().unwrap() {
            places[queue["id"].as_u64().unwrap() as usize] = worker["id"].as_u64();
        }
    }
    (places, loads)
}

/// Frames that come in on each queue and stay there: not handed to the queue that owns their flow.
fn frames_by_queue(bed: &Bed, reader: &CounterReader) -> (Vec<Vec<Vec<u8>>>, u64) {
    let mut sender = Sender::open(bed, 1, 64);
    let mut found = vec![Vec::new(); QUEUES];
    let handed = |accounts: &[QueueAccount]| accounts.iter().map(|queue| queue.worker("handed_over")).sum::<u64>();
    let mut before = reader.accounts();
    for frame in (0..300).map(|flow| udp_frame(flow, 64)) {
        sender.send_frame(&frame);
        let now = until(
            "the frame is processed",
            || reader.accounts(),
            |now| now.iter().map(|queue| queue.frames_received).sum::<u64>() == sender.sent,
        );
        let queue = (0..QUEUES).find(|queue| now[*queue].seen > before[*queue].seen).unwrap();
        if handed(&now) == handed(&before) {
            found[queue].push(frame);
        }
        before = now;
    }
    (found, sender.sent + sender.refused)
}

#[test]
fn live_an_overloaded_worker_gives_a_queue_away_and_the_balance_holds() {
    const TEST: &str = "live_an_overloaded_worker_gives_a_queue_away_and_the_balance_holds";
    if !support::privileged(TEST) {
        return;
    }
    if cfg!(not(debug_assertions)) {
        support::skip(TEST, "debug", "a release build is not overloaded by what this machine can send");
        return;
    }
    let bed = Bed::new(QUEUES as u32);
    let shrike = Shrike::start_with(&bed, "copy", &["--cores", "0,1"]);
    let settings = InterfaceSettings { namespace: Some(bed.sensor.clone()), ..InterfaceSettings::new("rx0") };
    let reader = CounterReader::open(&pin_path(&settings)).unwrap();
    let (frames, mut tried) = frames_by_queue(&bed, &reader);
    let mut client = Client::connect(shrike.address());
    // Idle queues come together, one step each half second: until that is done, some lie apart by the way they go.
    let together = |(places, _): &(Vec<Option<u64>>, Vec<f64>)| {
        places[0].is_some() && places.iter().all(|place| *place == places[0])
    };
    until("idle queues come together", || placement(&mut client), together);

    let stop = Arc::new(AtomicBool::new(false));
    let flood = |frames: &Vec<Vec<u8>>| {
        let (stop, mut sender) = (Arc::clone(&stop), Sender::of(&bed, frames.clone()));
        std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                sender.send(1_000, |_| ());
            }
            sender.sent + sender.refused
        })
    };
    let flooders: Vec<_> = (0..FLOODERS).flat_map(|_| [&frames[0], &frames[2]]).map(flood).collect();

    // By the program's own clock, before anything was asked: no later than what the answer tells has come about.
    let uptime = |client: &mut Client| client.get("/v1/status").json()["uptime_seconds"].as_f64().unwrap();
    let parted =
        |(places, _): &(Vec<Option<u64>>, Vec<f64>)| places.iter().all(Option::is_some) && places[0] != places[2];
    let (mut begin, mut next) = (0.0, uptime(&mut client));
    let look = || {
        (begin, next) = (next, uptime(&mut client));
        placement(&mut client)
    };
    let places = until("the loaded queues part", look, parted).0;
    let still = until(
        "watched",
        || (placement(&mut client), uptime(&mut client)),
        |(later, now)| {
            let is_over = *now >= begin + WATCHED_SECONDS;
            assert!(is_over || later.0 == places, "after {:.1} s: {later:?}", now - begin);
            is_over
        },
    );
    eprintln!("{places:?}, for {:.1} s", still.1 - begin);
    stop.store(true, Relaxed);
    tried += flooders.into_iter().map(|flooder| flooder.join().unwrap()).sum::<u64>();

    let accounts =
        until("all quiet", || reader.accounts(), |accounts| accounts.iter().all(|queue| queue.in_flight() == 0));
    let sum = |of: fn(&QueueAccount) -> u64| accounts.iter().map(of).sum::<u64>();
    let wire = bed.sending_link().counters;
    assert_eq!(tried, wire.tx_packets + wire.tx_dropped, "{wire:?}");
    assert_eq!(wire.tx_packets, sum(|queue| queue.seen), "{wire:?}");
    assert_eq!(wire.tx_packets, sum(|queue| queue.frames_received) + sum(QueueAccount::refused), "{wire:?}");
    let summary = shrike.terminate();
    assert_eq!(summary["loss_equation_closed"], true, "{summary:#}");
    let handover = live::equation(&summary, "handover");
    assert!(handover["difference"] == 0 && handover["left"][0]["value"].as_u64() > Some(0), "{handover:#}");
    assert_eq!(summary["packets"], sum(|queue| queue.frames_received), "{summary:#}");
}
