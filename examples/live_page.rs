//! Serves the live page over a system that is not there, for people who work on the page and for screenshots:
//!
//! ```text
//! cargo run --example live_page [PORT] [broken|empty]
//! ```
//!
//! `broken` shows the red states, `empty` a page without alerts.

#[path = "../tests/support/demo.rs"]
mod demo;
#[path = "../tests/support/exposed.rs"]
mod exposed;
#[path = "../tests/support/inline.rs"]
mod inline;

use demo::{DemoSystem, alert};
use inline::Maps;
use shrike::clock::Clock;
use shrike::control::http::{Settings, serve};
use shrike::control::store::{self, Store};
use shrike::dataplane::verdict::Hits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Alerts that are there at once.
const FIRST: u64 = 1_200;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let port = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(0);
    let mood = |name: &str| arguments.iter().any(|argument| argument == name);
    let folder = std::env::temp_dir().join(format!("shrike-live-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let clock = Clock::new();
    let store =
        Store::open(store::Settings { clock: Some(clock.clone()), ..store::Settings::at(folder.join("alerts.db")) })?;
    let system = Arc::new(DemoSystem::new());
    system.broken.store(mood("broken"), Relaxed);
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let hits = Hits { packets: 48_213, bytes: 3_085_632, last_ns: 0 };
    let responses = inline::responses(&folder, inline::PLAYBOOKS, Some(Arc::new(Maps { hits, ..Maps::default() })));
    if !mood("empty") {
        *system.pairs.lock().expect("pairs") = Some(inline::pairs);
        let like = alert(0, clock.now());
        responses.proven(shrike::units::Timestamp(2), inline::proved([203, 0, 113, 7]));
        responses
            .alerts(&[inline::raised(&like, "brute_force", Some("203.0.113.7")), inline::raised(&like, "flood", None)]);
    }
    let inventory = (!mood("empty")).then(exposed::exposed);
    let server = serve(
        Settings { listen, inventory, responses: Some(responses.shared()), ..Settings::default() },
        store.clone(),
        system.clone(),
    )?;
    println!("http://{}/", server.addr());
    let mut next = 0;
    loop {
        if !mood("empty") {
            let count = if next == 0 { FIRST } else { 1 };
            store.append((next..next + count).map(|index| alert(index, clock.now())).collect());
            next += count;
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(250));
            system.advance();
        }
    }
}
