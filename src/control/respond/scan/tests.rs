//! Scans of servers on this machine's loopback addresses: services, TLS of several kinds, limits, cancelling.

use super::*;
use crate::control::inventory::network::Network;
use crate::control::inventory::rules::Rules;
use crate::control::inventory::{self, Filter, Inventory};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection, StreamOwned, crypto::ring};

/// Serves every connection in a thread of its own until the process ends.
fn serve(serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A server that says this, then hears until the other side has gone.
fn greets(greeting: &'static [u8]) -> u16 {
    serve(move |mut stream| {
        let _ = stream.write_all(greeting);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

fn speaks_tls(versions: Vec<&'static rustls::SupportedProtocolVersion>) -> u16 {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/localhost.pem");
    let chain = CertificateDer::pem_file_iter(&file).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&file).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(&versions);
    let config = Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap());
    serve(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let _ = stream.read(&mut [0; 512]);
    })
}

fn inventory() -> Arc<SharedInventory> {
    let rules = Arc::new(Rules::shipped().unwrap());
    let home = vec![Network::parse("127.0.0.0/8").unwrap()];
    let settings = inventory::Settings { home: home.clone(), ..inventory::Settings::with(rules) };
    Arc::new(SharedInventory::of(Inventory::new(settings), 1, home))
}

type Over = Arc<Mutex<Vec<Outcome>>>;

fn scanner(settings: Settings, inventory: Option<Arc<SharedInventory>>) -> (Scanner, Over) {
    let over = Over::default();
    let told = Arc::clone(&over);
    let tell: Tell = Arc::new(move |_, outcome| lock(&told).push(outcome));
    let now: Clock = Arc::new(|| crate::clock::Clock::new().now());
    (Scanner::new(settings, inventory, now, tell), over)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::yield_now();
    }
}

fn never() -> Timestamp {
    Timestamp(u64::MAX)
}

fn wish(ports: Vec<u16>) -> Wish {
    Wish { targets: vec!["127.0.0.1".parse().unwrap()], ports, rate: 1000 }
}

#[test]
fn what_is_open_is_named_with_its_versions_and_certificate() {
    let ssh = greets(b"SSH-2.0-OpenSSH_7.4\r\n");
    // One that greets later than anybody waits for it.
    let late = serve(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"SSH-2.0-dropbear_2019.78\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let ftp = greets(b"220 (vsFTPd 3.0.3)\r\n");
    let web = serve(|mut stream| {
        let mut request = [0; 4096];
        let count = stream.read(&mut request).unwrap_or(0);
        if request[..count].starts_with(b"GET ") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nServer: nginx/1.18.0\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let (twelve, thirteen) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let (old, new, both) = (speaks_tls(vec![twelve]), speaks_tls(vec![thirteen]), speaks_tls(vec![twelve, thirteen]));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let shared = inventory();
    let settings = Settings { rate: 1000, greeting: Duration::from_millis(300), ..Settings::default() };
    let (scanner, over) = scanner(settings, Some(Arc::clone(&shared)));
    scanner.begin(Id(1), wish(vec![ssh, late, ftp, web, old, new, both, closed]), never()).unwrap();
    assert!(scanner.begin(Id(2), wish(vec![1]), never()).unwrap_err().contains("one at a time"));
    scanner.begin(Id(1), wish(vec![1]), never()).unwrap();
    until("it is over", || !lock(&over).is_empty());
    let told = lock(&over)[0].clone().unwrap();
    assert!(told.starts_with("1 of 1 targets") && told.contains("7 open ports"), "{told}");
    let view = scanner.one(&Id(1)).unwrap();
    assert_eq!((view.closed, view.asking_max, scanner.list().len()), (1, 1, 1));
    let ports = view.ports.unwrap();
    let of = |port: u16| ports.iter().find(|one| one.port == port).unwrap().clone();
    assert_eq!((&*of(ssh).service, &*of(ssh).banner), ("ssh", "SSH-2.0-OpenSSH_7.4"));
    assert_eq!((&*of(late).service, &*of(late).banner), ("ssh", "SSH-2.0-dropbear_2019.78"));
    assert_eq!(of(ftp).banner, "220 (vsFTPd 3.0.3)");
    assert_eq!((&*of(web).service, &*of(web).banner), ("http", "HTTP/1.1 200 OK"));
    for (port, versions) in [(old, &["TLS 1.2"][..]), (new, &["TLS 1.3"]), (both, &["TLS 1.3", "TLS 1.2"])] {
        let found = of(port);
        assert!(found.tls == versions && found.service == "tls", "{found:?}");
        let certificate = found.certificate.unwrap();
        assert_eq!((&*certificate.subject, &*certificate.issuer), ("CN=localhost", "CN=a test's authority"));
        assert_eq!((&*certificate.key, certificate.self_signed), ("ec 256", false));
        assert_eq!(certificate.names, ["localhost", "127.0.0.1"]);
        assert!(
            certificate.not_after > certificate.not_before && certificate.signature.contains("SHA256"),
            "{certificate:?}"
        );
    }
    // The inventory has it from the same parsers, and judges it by the same rules.
    let host = shared.host("127.0.0.1").unwrap().to_string();
    for word in ["OpenSSH", "7.4", "nginx", "1.18.0"] {
        assert!(host.contains(word), "{word}: {host}");
    }
    let (findings, _) = shared.findings(None, &Filter::default(), 1000).unwrap();
    assert!(!findings.items.is_empty(), "an old OpenSSH has something to be said of it");
}

/// However many come at once, and whenever: no more connections a second than allowed.
#[test]
fn connections_stand_in_a_line() {
    let scan = {
        let (scanner, _) = scanner(Settings::default(), None);
        scanner.begin(Id(1), Wish { targets: Vec::new(), ports: vec![1], rate: 1 }, never()).unwrap();
        Arc::clone(&lock(&scanner.scans)[0])
    };
    let now: Clock = Arc::new(|| Timestamp(1));
    let probing = Probing::new(scan, Settings::default(), 1000, read::Reader::new(None), now);
    let begin = tokio::time::Instant::now() + Duration::from_secs(5);
    let turns: Vec<_> = (0..100).map(|_| probing.turn(begin)).collect();
    assert!(turns.windows(2).all(|two| two[1] - two[0] == Duration::from_millis(1)));
    assert_eq!(turns[0], begin);
    let later = begin + Duration::from_secs(9);
    assert_eq!(probing.turn(later), later, "nobody has saved up");
    assert_eq!(probing.turn(later), later + Duration::from_millis(1));
}

/// An end at the word or at the time.
#[test]
fn a_scan_ends_when_told_and_at_its_time() {
    let settings = Settings {
        rate: 100_000,
        concurrency: 64,
        greeting: Duration::from_secs(3600),
        timeout: Duration::from_secs(3600),
        ..Settings::default()
    };
    // Never a word: every target waits.
    let mute = serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let (scanner, over) = scanner(settings, None);
    let targets = vec!["127.0.0.1".parse().unwrap()];
    scanner.begin(Id(1), Wish { targets, ports: vec![mute], rate: 100_000 }, never()).unwrap();
    until("it asks", || scanner.list()[0].asking == 1);
    assert_eq!(scanner.list()[0].state, "running");
    scanner.end(&Id(1));
    until("it ends", || !lock(&over).is_empty());
    let told = lock(&over).pop().unwrap().unwrap_err();
    assert!(told.starts_with("it was taken back: 0 of 1 targets"), "{told}");
    // Its time.
    let soon = (scanner.now)().after(SECOND / 2);
    scanner.begin(Id(2), wish(vec![mute]), soon).unwrap();
    until("it ends", || !lock(&over).is_empty());
    assert!(lock(&over).pop().unwrap().unwrap_err().starts_with("its time was over"));
}

#[test]
fn addresses_of_prefixes_are_counted_and_named() {
    let of = |text: &str| text.parse::<Prefix>().unwrap();
    let all: Vec<String> = addresses(&of("192.0.2.4/30")).map(|one| one.to_string()).collect();
    assert_eq!(all, ["192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"]);
    assert_eq!(addresses(&of("2001:db8::/127")).last().unwrap().to_string(), "2001:db8::1");
    assert_eq!(size(&[of("10.0.0.0/19"), of("10.1.0.1")]), 8193);
    assert_eq!(size(&[of("::/1"), of("::/1")]), u64::MAX);
}
