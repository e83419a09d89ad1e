//! Whole flows of one kind, one after the other: what the first packets of TLS, QUIC, DNS and HTTP cost.
//!
//! Each flow has addresses and ports of its own, comes in order, and ends; the packets of one come right behind each other,
//! as on a link with nothing else on it. Contents are what current clients and servers send, the same in every flow.

use super::traffic::Random;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shrike::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use shrike::dataplane::decode::tcp_flags::{ACK, FIN, PSH, SYN};
use shrike::dataplane::flow::Side::{self, Originator, Responder};
use shrike::dataplane::inspect::quic;
use shrike::units::{MICROSECOND, SECOND, Timestamp};
use std::time::Duration;

/// Name of each kind, and what it is.
pub const KINDS: &[(&str, &str)] = &[
    ("tls13", "TLS 1.3, ClientHello of 517 bytes, answered"),
    ("tls13_two_segments", "the same with a ClientHello of 1 700 bytes in two segments"),
    ("tls12_certificate", "TLS 1.2 with a certificate of 900 bytes"),
    ("quic", "QUIC v1, Initial packets of both sides"),
    ("dns", "DNS, a question and an answer"),
    ("http", "HTTP/1.1, a request and a response"),
    ("http_body", "the same with a body of 280 000 bytes, which is passed over"),
    ("http_chunks", "the same in chunks of 1 000 bytes"),
];

/// Flows in the arena; their tuples are new each time round.
const ARENA: usize = 64;
/// Capture time between two frames.
const GAP_NS: u64 = 20 * MICROSECOND;

/// Gives out flow after flow.
pub struct FlowSource {
    frames: Vec<Vec<u8>>,
    /// Frames of one flow.
    each: usize,
    flow: u64,
    next: usize,
    held: usize,
    time: u64,
    left: u64,
}

/// Flows of this kind, so many frames of them at most.
pub fn flows(kind: &str, left: u64) -> anyhow::Result<FlowSource> {
    let frames = frames(kind)?;
    let each = frames.len();
    let frames = std::iter::repeat_n(frames, ARENA).flatten().collect();
    Ok(FlowSource { frames, each, flow: 0, next: 0, held: 0, time: 1_700_000_000 * SECOND, left })
}

impl FlowSource {
    /// Frames of one flow.
    pub fn each(&self) -> usize {
        self.each
    }

    /// Gives the flows that are to come addresses that none had.
    fn renew(&mut self) {
        for flow in self.frames.chunks_mut(self.each) {
            self.flow += 1;
            let [_, _, _, _, _, a, b, c] = self.flow.to_be_bytes();
            // Client and port from the same number; the first frame is the client's.
            let client = [10, a, b, c];
            let port = [0x80 | c >> 1, b ^ c];
            for frame in flow {
                let (address, at) = if frame[5] == 1 { (26, 34) } else { (30, 36) };
                frame[address..address + 4].copy_from_slice(&client);
                frame[at..at + 2].copy_from_slice(&port);
            }
        }
    }
}

impl Source for FlowSource {
    fn receive(&mut self, cap: usize) -> Received {
        if self.next == self.frames.len() {
            self.next = 0;
        }
        if self.next == 0 {
            self.renew();
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        self.held = (self.frames.len() - self.next).min(cap).min(BURST_MAX).min(left);
        Received { count: self.held, ..Received::default() }
    }

    fn frame(&self, index: usize) -> FrameView<'_> {
        let bytes = self.frames.get(self.next + index).map_or(&[][..], Vec::as_slice);
        FrameView {
            port: 0,
            bytes,
            wire_bytes: bytes.len() as u32,
            time: Some(Timestamp(self.time + index as u64 * GAP_NS)),
            link: LinkType::Ethernet,
        }
    }

    fn release(&mut self) {
        self.next += self.held;
        self.left -= self.held as u64;
        self.time += self.held as u64 * GAP_NS;
        self.held = 0;
    }

    fn wait(&mut self, _limit: Duration) {}
}

fn frames(kind: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let hello = |bytes| client_hello(bytes, &[0x0304, 0x0303]);
    let flight = [server_hello(0x1301, true), record(20, &[1]), record(23, &noise(2200))].concat();
    let keys = STANDARD.decode(CERTIFICATE).context("a certificate in Base64")?;
    Ok(match kind {
        "tls13" => tcp(443, &[(Originator, hello(517)), (Responder, flight), (Originator, record(23, &noise(74)))]),
        "tls13_two_segments" => {
            tcp(443, &[(Originator, hello(1700)), (Responder, flight), (Originator, record(23, &noise(74)))])
        }
        "tls12_certificate" => {
            let chain = [&three(keys.len() + 3)[..], &three(keys.len()), &keys].concat();
            let server = [message(11, &chain), message(12, &noise(300)), message(14, &[])].concat();
            let server = [server_hello(0xc02f, false), record(22, &server)].concat();
            let client = [record(22, &message(16, &noise(66))), record(20, &[1]), record(22, &noise(40))].concat();
            let hello = client_hello(517, &[0x0303]);
            tcp(443, &[(Originator, hello), (Responder, server), (Originator, client)])
        }
        "quic" => {
            let (hello, answer) = (hello(517), server_hello(0x1301, true));
            let client = initial(&hello[5..], Originator).context("a packet that can be sealed")?;
            let server = initial(&answer[5..], Responder).context("a packet that can be sealed")?;
            udp(443, &[(Originator, client), (Responder, server), (Originator, [&[0x41][..], &noise(60)].concat())])
        }
        "dns" => {
            let name = b"\x03www\x06shrike\x07example\0\0\x01\0\x01";
            let question = [&b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0"[..], name].concat();
            let answer = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x50";
            let answer = [&b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0"[..], name, answer].concat();
            udp(53, &[(Originator, question), (Responder, answer)])
        }
        "http" => {
            let response = [RESPONSE, &b"x".repeat(1024)].concat();
            tcp(80, &[(Originator, REQUEST.to_vec()), (Responder, response)])
        }
        "http_body" => {
            let head = String::from_utf8_lossy(RESPONSE).replace("Length: 1024", "Length: 280000").into_bytes();
            tcp(80, &[(Originator, REQUEST.to_vec()), (Responder, [head, b"x".repeat(280_000)].concat())])
        }
        "http_chunks" => {
            let head = String::from_utf8_lossy(RESPONSE).replace("Content-Length: 1024", "Transfer-Encoding: chunked");
            let chunks = [&b"3e8\r\n"[..], &b"x".repeat(1000), b"\r\n"].concat().repeat(280);
            tcp(80, &[(Originator, REQUEST.to_vec()), (Responder, [head.as_bytes(), &chunks, b"0\r\n\r\n"].concat())])
        }
        _ => anyhow::bail!("no such kind of flow: {kind}"),
    })
}

const REQUEST: &[u8] = b"GET /index.html?from=bench HTTP/1.1\r\nHost: www.shrike.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.0\r\nDate: Sat, 21 Nov 2026 20:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\
    Cache-Control: max-age=60\r\n\r\n";
/// Of RSA with 2048 bits, self-signed, made by openssl for this bench.
const CERTIFICATE: &str = "MIIDgDCCAmigAwIBAgIUZCIQeNwRNJ6YayYrBsNQfp9Y7PIwDQYJKoZIhvcNAQELBQAwNzELMAkGA1UEBhMCQ0gxDzANBgNVBAoMBlNocmlrZTEX\
     MBUGA1UEAwwOc2hyaWtlLmV4YW1wbGUwHhcNMjYxMTIxMjMxMTA3WhcNMzYxMTE4MjMxMTA3WjA3MQswCQYDVQQGEwJDSDEPMA0GA1UECgwGU2hy\
     aWtlMRcwFQYDVQQDDA5zaHJpa2UuZXhhbXBsZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBALLXwI1jkPEfncP5pb9YebfhX6mBiUwb\
     CUUUpqTcwXroU5mOdsZiNPBy1TDRKcHu6XLlWaLkv7gX769U3g8ImNpXwcMcykYOyCYO84LapSfXtfKTgOd4wT9A9s6iaIrOKaThQ3D42l8RgpPS\
     ilu1euX91ceeIh5uqbCqXhxSRja4YDAXDBsgu/7TB+zotx/IHeCD8DFhKWxmhUr3BnpoORbori76CiSpSTbCc6zlMi8yhLX9exOpamxHepP3QYoK\
     r8pOdqrwbVbCJVXusDMQd5wjik3Sdpf8qzG5dQLW/YANQmHt3M82wurnv9FW78reO8vbeQfMEY9tgBIYW3JM7NsCAwEAAaOBgzCBgDAdBgNVHQ4E\
     FgQURj9xJXs2xQRwlEF4MFo4j7GsG/UwHwYDVR0jBBgwFoAURj9xJXs2xQRwlEF4MFo4j7GsG/UwDwYDVR0TAQH/BAUwAwEB/zAtBgNVHREEJjAk\
     gg5zaHJpa2UuZXhhbXBsZYISd3d3LnNocmlrZS5leGFtcGxlMA0GCSqGSIb3DQEBCwUAA4IBAQB/rfvWHX/uSDM4QkhuckmtdCQK7l+ZOypfNXCb\
     v8klNuxw34R7YLG4IN3pHvoEyEgTQqWOHxouls6xZHr6IC3XJiomdO2mRZYyi0jMFG/w6k85gZgnepXGgan1PDzcLuzjZOsJPnC5JZwiixLx0LSh\
     MrAqD+5Zfp+4H7sh/MsmcI21bIwJZhNd+2jyQFRm+Dstqyy3qitCwrwu6mqZxxtS+7hm8cxuZSx7VidpP38gmX5dAPXRxJKRj4B+jlKI/QXej6Vr\
     CJiD2R5eTq5iEaJH2V1M/+DnkT9JpAYg3/7RYdWpGH2p1+N+N5aeL5lP7wW6EgoL+MkzuRTk/VpJkd/2";

fn noise(count: usize) -> Vec<u8> {
    let mut random = Random(count as u64);
    (0..count).map(|_| random.below(256) as u8).collect()
}

fn two(value: usize) -> [u8; 2] {
    (value as u16).to_be_bytes() // lengths below a frame
}

fn three(value: usize) -> [u8; 3] {
    let [high, low] = two(value);
    [0, high, low]
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &two(body.len()), body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &three(body.len()), body].concat()
}

fn extension(kind: usize, body: &[u8]) -> Vec<u8> {
    [&two(kind)[..], &two(body.len()), body].concat()
}

/// A record with a hello of a current browser, `bytes` long with its padding.
fn client_hello(bytes: usize, versions: &[usize]) -> Vec<u8> {
    const CIPHERS: [usize; 15] = [
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x9c, 0x9d, 0x2f, 0x35,
    ];
    let name = b"www.shrike.example";
    let list = |values: &[usize]| values.iter().flat_map(|value| two(*value)).collect::<Vec<u8>>();
    let with_length = |body: &[u8]| [&two(body.len())[..], body].concat();
    let alpn = with_length(b"\x02h2\x08http/1.1");
    let mut extensions = [
        extension(0, &with_length(&[&[0][..], &with_length(name)].concat())),
        extension(23, &[]),
        extension(0xff01, &[0]),
        extension(10, &with_length(&list(&[0x1d, 0x17, 0x18]))),
        extension(11, &[1, 0]),
        extension(35, &[]),
        extension(16, &alpn),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &with_length(&list(&[0x403, 0x804, 0x401, 0x503, 0x805, 0x501, 0x806, 0x601]))),
        extension(51, &with_length(&[&list(&[0x1d])[..], &with_length(&noise(32))].concat())),
        extension(45, &[1, 1]),
        extension(43, &[&[2 * versions.len() as u8][..], &list(versions)].concat()),
    ]
    .concat();
    let body = |extensions: &[u8]| {
        let ciphers = with_length(&list(&CIPHERS));
        let head = [&[3, 3][..], &noise(32), &[32], &noise(32), &ciphers, &[1, 0]].concat();
        record(22, &message(1, &[&head[..], &with_length(extensions)].concat()))
    };
    let missing = bytes.saturating_sub(body(&extensions).len() + 4);
    extensions.extend(extension(21, &vec![0; missing]));
    body(&extensions)
}

fn server_hello(cipher: usize, is_13: bool) -> Vec<u8> {
    let key = [&two(0x1d)[..], &two(32), &noise(32)].concat();
    let extensions = if is_13 {
        [extension(51, &key), extension(43, &[3, 4])].concat()
    } else {
        [extension(0xff01, &[0]), extension(11, &[1, 0]), extension(16, b"\0\x03\x02h2")].concat()
    };
    let head = [&[3, 3][..], &noise(32), &[32], &noise(32), &two(cipher), &[0]].concat();
    record(22, &message(2, &[&head[..], &two(extensions.len()), &extensions].concat()))
}

/// An Initial packet of QUIC v1 with these handshake bytes, in a datagram of 1 200 bytes.
fn initial(handshake: &[u8], from: Side) -> Option<Vec<u8>> {
    const ID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
    let ids = if from == Originator { [&[8][..], &ID, &[0]].concat() } else { vec![0, 4, 1, 2, 3, 4] };
    let mut plain = [&[6, 0][..], &two(0x4000 | handshake.len()), handshake].concat();
    let head = [&[0xc1, 0, 0, 0, 1][..], &ids, &[0]].concat();
    plain.resize(1200 - head.len() - 2 - 2 - 16, 0);
    let header = [&head[..], &two(0x4000 | (plain.len() + 2 + 16)), &[0, 1]].concat();
    quic::seal(&header, 2, &plain, 1, &ID, from)
}

/// A frame without its transport header; addresses and the client's port come later. The last byte of the target's MAC says
/// whose it is.
fn frame(from: Side, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let (to, by) = if from == Originator { (1, 2) } else { (2, 1) };
    let (source, target) = if from == Originator { ([0; 4], [192, 0, 2, 80]) } else { ([192, 0, 2, 80], [0; 4]) };
    let total = two(20 + transport.len());
    let ip = [&[0x45, 0][..], &total, &[0, 0, 0x40, 0, 64, protocol, 0, 0], &source, &target].concat();
    [&[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, by, 8, 0][..], &ip, transport].concat()
}

fn ports(from: Side, port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    if from == Originator { [0, 0, high, low] } else { [high, low, 0, 0] }
}

fn udp(port: u16, datagrams: &[(Side, Vec<u8>)]) -> Vec<Vec<u8>> {
    let one = |(from, payload): &(Side, Vec<u8>)| {
        let transport = [&ports(*from, port)[..], &two(8 + payload.len()), &[0, 0], payload].concat();
        frame(*from, 17, &transport)
    };
    datagrams.iter().map(one).collect()
}

/// A connection from its first packet to its last; what a side says comes in segments of 1 400 bytes, each acknowledged.
fn tcp(port: u16, turns: &[(Side, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut next = [1000_u32, 5000];
    let mut frames = Vec::new();
    let mut send = |from: Side, flags: u8, payload: &[u8]| {
        let (own, peer) = (from as usize, 1 - from as usize);
        let (sequence, seen) = (next[own].to_be_bytes(), next[peer].to_be_bytes());
        let acknowledgement = if flags & ACK == 0 { [0; 4] } else { seen };
        let rest = [0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0];
        let transport = [&ports(from, port)[..], &sequence, &acknowledgement, &rest, payload].concat();
        frames.push(frame(from, 6, &transport));
        next[own] = next[own].wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
    };
    send(Originator, SYN, &[]);
    send(Responder, SYN | ACK, &[]);
    send(Originator, ACK, &[]);
    for (from, bytes) in turns {
        for segment in bytes.chunks(1400) {
            send(*from, ACK | PSH, segment);
        }
        send(from.other(), ACK, &[]);
    }
    send(Originator, FIN | ACK, &[]);
    send(Responder, FIN | ACK, &[]);
    send(Originator, ACK, &[]);
    frames
}
