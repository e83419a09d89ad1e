//! One port: is it open, what does it say by itself, which versions of TLS does it take, what does it answer to HTTP.

use super::hello::{self, Version};
use super::read::{Conversation, Heard, Reader};
use super::{Clock, OpenPort, Scan, Settings, at, lock};
use crate::dataplane::flow::Side;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 32 * 1024;
/// After something came: so long nothing more, and it was all.
const QUIET: Duration = Duration::from_millis(200);
/// Letters of a banner that are told.
const BANNER: usize = 200;

/// What all targets of a scan share.
pub(super) struct Probing {
    pub(super) scan: Arc<Scan>,
    settings: Settings,
    /// Between two connections.
    pause: Duration,
    next: Mutex<Instant>,
    reader: Mutex<Reader>,
    now: Clock,
}

/// Asks every target, so many at once.
pub(super) async fn all(probing: &Arc<Probing>, targets: Vec<IpAddr>, ports: &Arc<[u16]>, at_once: usize) {
    let places = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for address in targets {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (probing, ports) = (Arc::clone(probing), Arc::clone(ports));
        tasks.spawn(async move {
            let scan = &probing.scan;
            let asking = scan.asking.fetch_add(1, Relaxed) + 1;
            scan.asking_max.fetch_max(asking, Relaxed);
            for port in ports.iter() {
                probing.port(at(address, *port)).await;
            }
            scan.asking.fetch_sub(1, Relaxed);
            scan.done.fetch_add(1, Relaxed);
            drop(place);
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

impl Probing {
    /// At most `rate` connections a second.
    pub(super) fn new(scan: Arc<Scan>, settings: Settings, rate: u32, reader: Reader, now: Clock) -> Probing {
        let pause = Duration::from_secs(1) / rate.max(1);
        Probing { scan, settings, pause, next: Mutex::new(Instant::now()), reader: Mutex::new(reader), now }
    }

    /// The next place in the line of connections, for who comes now.
    pub(super) fn turn(&self, now: Instant) -> Instant {
        let mut next = lock(&self.next);
        let turn = (*next).max(now);
        *next = turn + self.pause;
        turn
    }

    async fn connect(&self, server: SocketAddr) -> std::io::Result<TcpStream> {
        sleep_until(self.turn(Instant::now())).await;
        self.scan.connections.fetch_add(1, Relaxed);
        let connecting = timeout(self.settings.timeout, TcpStream::connect(server)).await;
        connecting.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn port(&self, server: SocketAddr) {
        let mut stream = match self.connect(server).await {
            Ok(stream) => stream,
            Err(cause) => {
                let count = match cause.kind() {
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => &self.scan.closed,
                    ErrorKind::TimedOut | ErrorKind::HostUnreachable => &self.scan.silent,
                    _ => &self.scan.failed,
                };
                count.fetch_add(1, Relaxed);
                return;
            }
        };
        let Ok(client) = stream.local_addr() else { return };
        lock(&self.reader).open(client, server, (self.now)());
        let mut found = OpenPort { address: server.ip().to_string(), port: server.port(), ..OpenPort::default() };
        let greeting = hear(&mut stream, self.settings.greeting).await;
        let heard = if greeting.is_empty() {
            drop(stream);
            self.asked(server, &mut found).await
        } else {
            found.banner = line(&greeting);
            self.greeted(&mut stream, (client, server), greeting).await
        };
        found.service = heard.protocol.name().to_owned();
        if heard.protocol == crate::dataplane::inspect::Protocol::Unknown {
            found.service.clear();
        }
        found.certificate = heard.certificate;
        self.scan.found(found);
    }

    /// A service that speaks first is answered as its clients do.
    async fn greeted(
        &self,
        stream: &mut TcpStream,
        (client, server): (SocketAddr, SocketAddr),
        greeting: Vec<u8>,
    ) -> Heard {
        let answer: &[u8] = match &greeting {
            one if one.starts_with(b"SSH-") => b"SSH-2.0-shrike\r\n",
            one if one.starts_with(b"220") => b"EHLO shrike.invalid\r\n",
            one if one.starts_with(b"+OK") => b"CAPA\r\n",
            one if one.starts_with(b"* OK") => b"a CAPABILITY\r\n",
            _ => b"",
        };
        let mut parts = vec![(Side::Responder, greeting)];
        if !answer.is_empty() && stream.write_all(answer).await.is_ok() {
            parts.push((Side::Originator, answer.to_vec()));
            parts.push((Side::Responder, hear(stream, self.settings.timeout).await));
        }
        lock(&self.reader).read(&Conversation { client, server, parts }, (self.now)())
    }

    /// One that waits to be spoken to is asked for TLS, in each version, else by HTTP.
    async fn asked(&self, server: SocketAddr, found: &mut OpenPort) -> Heard {
        let mut heard = Heard::default();
        let mut ends = None;
        for version in hello::VERSIONS {
            let mut random = [0; 96];
            // Without it a hello is one all the same.
            let _ = getrandom::fill(&mut random);
            let Some(said) = self.said(server, hello::hello(version, &random)).await else { continue };
            let answer = said.parts.last().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
            // One that takes no hello of the latest two versions, nor refuses it as TLS does, is asked no further.
            let is_tls = matches!(answer.first(), Some(21 | 22));
            if hello::taken(answer) == Some(version) {
                found.tls.push(version.name().to_owned());
                ends = Some((said.client, said.server));
                let read = lock(&self.reader).read(&said, (self.now)());
                heard.protocol = read.protocol;
                heard.certificate = heard.certificate.or(read.certificate);
            } else if !is_tls && found.tls.is_empty() && !answer.is_empty() && !answer.starts_with(b"HTTP/") {
                // It was only late with its greeting: what we said counts for nothing.
                found.banner = line(answer);
                let parts = vec![(Side::Responder, answer.to_vec())];
                return lock(&self.reader).read(&Conversation { parts, ..said }, (self.now)());
            } else if !is_tls && found.tls.is_empty() && version <= Version(0x0303) {
                break;
            }
        }
        if let Some(ends) = ends {
            if heard.certificate.is_none()
                && let Some(der) = self.certificate(server).await
            {
                heard.certificate = lock(&self.reader).certificate(ends, &der, (self.now)()).certificate;
            }
            return heard;
        }
        let host = server.ip();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: shrike-scan\r\nConnection: close\r\n\r\n");
        if let Some(said) = self.said(server, request.into_bytes()).await {
            found.banner = said.parts.last().map(|(_, bytes)| line(bytes)).unwrap_or_default();
            return lock(&self.reader).read(&said, (self.now)());
        }
        heard
    }

    /// Says one thing on a connection of its own, and hears the answer.
    async fn said(&self, server: SocketAddr, words: Vec<u8>) -> Option<Conversation> {
        let mut stream = self.connect(server).await.ok()?;
        let client = stream.local_addr().ok()?;
        stream.write_all(&words).await.ok()?;
        let answer = hear(&mut stream, self.settings.timeout).await;
        Some(Conversation { client, server, parts: vec![(Side::Originator, words), (Side::Responder, answer)] })
    }

    /// The certificate inside TLS 1.3, whoever signed it.
    async fn certificate(&self, server: SocketAddr) -> Option<Vec<u8>> {
        let stream = self.connect(server).await.ok()?;
        let name = ServerName::from(server.ip());
        let connecting = timeout(self.settings.timeout, TlsConnector::from(curious()?).connect(name, stream)).await;
        let secured = connecting.ok()?.ok()?;
        let (_, connection) = secured.get_ref();
        connection.peer_certificates()?.first().map(|one| one.to_vec())
    }
}

/// What comes until nothing more does.
async fn hear(stream: &mut TcpStream, first: Duration) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut wait = first;
    let mut piece = vec![0; 4096];
    while heard.len() < ANSWER_BYTES {
        match timeout(wait, stream.read(&mut piece)).await {
            Ok(Ok(count)) if count > 0 => heard.extend_from_slice(piece.get(..count).unwrap_or_default()),
            _ => break,
        }
        wait = QUIET;
    }
    heard
}

/// The first line, as far as it is text.
fn line(bytes: &[u8]) -> String {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(first);
    text.trim().chars().map(|letter| if letter.is_control() { '.' } else { letter }).take(BANNER).collect()
}

/// Takes whatever certificate there is: it is looked at, and nothing is said to who shows it.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn curious() -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth()))
}
