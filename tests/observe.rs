//! `shrike observe` against a served store: what it shows, and that following loses nothing over a restart.

#[path = "support/demo.rs"]
mod demo;

use demo::{DemoSystem, alert};
use shrike::cli::observe::{Format, ObserveArgs, run_to};
use shrike::control::http::{Server, Settings, serve};
use shrike::control::moment;
use shrike::control::store::{self, Store};
use shrike::units::{SECOND, Timestamp};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn served(store: &Store, listen: SocketAddr) -> Server {
    let settings = Settings { listen, ..Settings::default() };
    serve(settings, store.clone(), Arc::new(DemoSystem::new())).unwrap()
}

fn filled(count: u64) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(store::Settings::at(folder.path().join("alerts.db"))).unwrap();
    add(&store, 0..count);
    (folder, store)
}

fn add(store: &Store, range: std::ops::Range<u64>) {
    store.append(range.map(|index| alert(index, Timestamp((index + 1) * SECOND))).collect());
    assert!(store.flush(Duration::from_secs(120)));
}

fn args(server: &Server) -> ObserveArgs {
    ObserveArgs {
        follow: false,
        since: None,
        severity: None,
        detector: None,
        output: Format::Compact,
        url: format!("http://{}", server.addr()),
    }
}

fn shown(args: &ObserveArgs) -> Vec<String> {
    let mut out = Vec::new();
    assert!(run_to(args, &mut out, false).is_ok());
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_last_alerts_or_all_since_filtered_and_in_each_format() {
    let (_folder, store) = filled(1_200);
    let server = served(&store, "127.0.0.1:0".parse().unwrap());
    let lines = shown(&args(&server));
    assert_eq!(lines.len(), 50);
    assert!(lines[49].contains("INFO") && lines[49].contains("scan/horizontal"), "{}", lines[49]);
    assert!(lines[49].contains("\\u{1b}[31mred\\u{202e}evil"), "hostile text is made harmless: {}", lines[49]);

    // The alerts are of 1970.
    let minute_ago = moment::argument("1m").unwrap();
    assert_eq!(shown(&ObserveArgs { since: Some(minute_ago), ..args(&server) }).len(), 0);
    let all = ObserveArgs { since: Some(moment::argument("1970-01-01T00:00:00Z").unwrap()), ..args(&server) };
    assert_eq!(shown(&all).len(), 1_200);
    assert_eq!(shown(&ObserveArgs { severity: Some((2, 3)), ..all.clone() }).len(), 480);
    let flood = ObserveArgs { detector: Some("flood".into()), ..all.clone() };
    assert!(shown(&flood).iter().all(|line| line.contains("HIGH") && line.contains("flood/syn")));

    for line in shown(&ObserveArgs { output: Format::Json, ..all.clone() }) {
        assert!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["sequence"].is_u64());
    }
    for line in shown(&ObserveArgs { output: Format::Eve, ..all }) {
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["event_type"], "alert");
    }
}

#[test]
fn nobody_there_is_an_error() {
    let (_folder, store) = filled(1);
    let server = served(&store, "127.0.0.1:0".parse().unwrap());
    let gone = args(&server);
    drop(server);
    assert!(run_to(&gone, &mut Vec::new(), false).is_err());
}

/// Hands each line on, and is a broken pipe from the moment nobody takes them.
struct Lines(mpsc::Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(self.1.drain(..=end).collect()).unwrap();
            self.0.send(line).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn following_goes_on_over_a_restart_and_ends_quietly_with_its_reader() {
    let (_folder, store) = filled(3);
    let server = served(&store, "127.0.0.1:0".parse().unwrap());
    let address = server.addr();
    let (lines, shown) = mpsc::channel();
    let args = ObserveArgs { follow: true, output: Format::Json, ..args(&server) };
    let observer = std::thread::spawn(move || run_to(&args, &mut Lines(lines, Vec::new()), false).is_ok());
    let next = || {
        let line = shown.recv_timeout(Duration::from_secs(120)).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["sequence"].as_u64().unwrap()
    };
    assert_eq!([next(), next(), next()], [1, 2, 3]);
    add(&store, 3..5);
    assert_eq!([next(), next()], [4, 5]);
    drop(server);
    add(&store, 5..8);
    let server = served(&store, address);
    assert_eq!([next(), next(), next()], [6, 7, 8]);
    drop(shown);
    add(&store, 8..9);
    assert!(observer.join().unwrap());
    drop(server);
}
