//! Active checks in a namespace of their own: thousands of targets at once, and a real server of HTTP and TLS.

mod live;
mod support;

use live::run;
use shrike::clock::Clock;
use shrike::control::respond::intended::Id;
use shrike::control::respond::scan::{ScanView, Scanner, Settings, Wish};
use shrike::sys::files::raise_limit;
use shrike::sys::netns::Namespace;
use shrike::units::Timestamp;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A namespace in which every address of 10.77.0.0/19 is its own; gone when dropped.
struct Bed(String);

impl Bed {
    fn new(name: &str) -> Bed {
        let space = format!("shrike-{}-{name}", std::process::id());
        run(&format!(
            "ip netns add {space} && ip -n {space} link set lo up && ip -n {space} route add local 10.77.0.0/19 dev lo"
        ));
        Bed(space)
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        Namespace::named(Some(&self.0)).unwrap().run(work).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A scan to its end, in the calling thread's namespace.
fn scanned(settings: Settings, targets: &[&str], ports: Vec<u16>) -> ScanView {
    let over: Arc<Mutex<Option<Result<String, String>>>> = Arc::default();
    let told = Arc::clone(&over);
    let tell = Arc::new(move |_, outcome| *told.lock().unwrap() = Some(outcome));
    let clock = Clock::new();
    let scanner = Scanner::new(settings.clone(), None, Arc::new(move || clock.now()), tell);
    let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
    scanner.begin(Id(1), Wish { targets, ports, rate: settings.rate }, Timestamp(u64::MAX)).unwrap();
    let outcome = live::until("it is over", || over.lock().unwrap().clone(), Option::is_some).unwrap();
    let view = scanner.one(&Id(1)).unwrap();
    assert!(outcome.is_ok(), "{outcome:?} {view:?}");
    view
}

#[test]
fn live_scan_asks_five_thousand_targets_at_once() {
    let test = "live_scan_asks_five_thousand_targets_at_once";
    const TARGETS: usize = 4096 + 1024;
    if !support::privileged(test) {
        return;
    }
    if raise_limit(3 * TARGETS as u64) < 2 * TARGETS as u64 + 1000 {
        support::skip(test, "files", "too few files may be open: ulimit -n");
        return;
    }
    let bed = Bed::new("many");
    // Nobody is greeted before all have come: they must be asked at the same time.
    run(&format!("ip netns exec {} sysctl -qw net.core.somaxconn=16384", bed.0));
    let listener = bed.inside(|| TcpListener::bind("0.0.0.0:2222").unwrap());
    live::lengthen_queue(&listener, 16_384);
    let greeting = std::thread::spawn(move || {
        let mut streams: Vec<_> = (0..TARGETS).map(|_| listener.accept().unwrap().0).collect();
        let mut asked: Vec<_> = streams.iter().map(|stream| stream.local_addr().unwrap()).collect();
        streams.iter_mut().for_each(|stream| stream.write_all(b"* all are here\r\n").unwrap());
        asked.sort();
        asked.dedup();
        asked.len()
    });
    let settings = Settings {
        rate: 100_000,
        concurrency: TARGETS as u32,
        timeout: Duration::from_secs(80),
        greeting: Duration::from_secs(80),
        ..Settings::default()
    };
    let view = bed.inside(|| scanned(settings, &["10.77.0.0/20", "10.77.16.0/22"], vec![2222]));
    assert_eq!(greeting.join().unwrap(), TARGETS, "each of them once");
    assert_eq!((view.done, view.asking_max, view.open, view.failed), (5120, 5120, 5120, 0), "{view:?}");
    assert!(view.ports.unwrap().iter().all(|port| port.banner == "* all are here"));
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn live_scan_reads_a_real_server() {
    let test = "live_scan_reads_a_real_server";
    if !support::privileged(test) {
        return;
    }
    if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
        support::skip(test, "nginx", "no nginx to be asked");
        return;
    }
    let (bed, folder) = (Bed::new("real"), tempfile::tempdir().unwrap());
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/localhost.pem");
    let folder_path = folder.path().display();
    let text = format!(
        "daemon off; master_process off; pid {folder_path}/pid; error_log {folder_path}/log;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {folder_path}/a; proxy_temp_path {folder_path}/b; fastcgi_temp_path {folder_path}/c;\n\
         uwsgi_temp_path {folder_path}/d; scgi_temp_path {folder_path}/e;\nserver {{ listen 80; return 204; }}\n\
         server {{ listen 443 ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
         ssl_protocols TLSv1.2 TLSv1.3; return 204; }} }}\n"
    );
    let config = folder.path().join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    let child =
        Command::new("ip").args(["netns", "exec", &bed.0, "nginx", "-c"]).arg(&config).stderr(Stdio::null()).spawn();
    let _nginx = Nginx(child.unwrap());
    live::until(
        "nginx listens",
        || bed.inside(|| std::net::TcpStream::connect("10.77.0.1:443").is_ok()),
        |listens| *listens,
    );
    let settings = Settings { rate: 1000, timeout: Duration::from_secs(5), ..Settings::default() };
    let view = bed.inside(|| scanned(settings, &["10.77.0.0/29"], vec![22, 80, 443]));
    assert_eq!((view.done, view.open, view.closed), (8, 16, 8), "{view:?}");
    for port in view.ports.unwrap() {
        if port.port == 80 {
            assert!(port.service == "http" && port.banner.starts_with("HTTP/1.1 204"), "{port:?}");
        } else {
            assert_eq!((&port.tls[..], &*port.service), (&["TLS 1.3".to_owned(), "TLS 1.2".to_owned()][..], "tls"));
            assert_eq!(port.certificate.unwrap().subject, "CN=localhost");
        }
    }
}
