//! An independent count of conversations: the innermost 5-tuples that tshark finds in every packet.
//!
//! tshark starts slowly, so captures are joined a hundred and fifty at a time by mergecap and told apart afterwards by the
//! manifest's packet counts. What it found is kept under `target/`, named after the manifest's hash.

use super::shared::Capture;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Two endpoints, the smaller first, and the protocol: TCP (6), UDP (17), SCTP (132), or ICMP (1) and ICMPv6 (58) with
/// ports 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Conversation((IpAddr, u16), (IpAddr, u16), u8);

impl Conversation {
    /// Either way round.
    pub fn new(a: (IpAddr, u16), b: (IpAddr, u16), protocol: u8) -> Conversation {
        Conversation(a.min(b), a.max(b), protocol)
    }

    fn parse(text: &str) -> Option<Conversation> {
        let mut fields = text.split(' ');
        let mut endpoint = || Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?));
        let (a, b) = (endpoint()?, endpoint()?);
        Some(Conversation::new(a, b, fields.next()?.parse().ok()?))
    }
}

/// Conversations by name of the capture.
pub type Oracle = BTreeMap<String, BTreeSet<Conversation>>;

/// Asks tshark, or what it said last time; `None` without tshark.
pub fn oracle(data: &Path, captures: &[Capture]) -> Option<Oracle> {
    let manifest = std::fs::read(data.join("MANIFEST.tsv")).expect("a readable manifest");
    let name: String = Sha256::digest(&manifest).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let cache = folder.join(format!("tshark-{name}-5.tsv"));
    if let Ok(text) = std::fs::read_to_string(&cache) {
        return Some(parse(&text));
    }
    for tool in ["tshark", "mergecap"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.ok().filter(|status| status.success())?;
    }
    let countable: Vec<&Capture> = captures.iter().filter(|capture| capture.packets.is_some()).collect();
    let mut chunks: Vec<_> = countable.chunks(150).enumerate().collect();
    let second = chunks.split_off(chunks.len() / 2);
    let ask = |chunks: Vec<(usize, &[&Capture])>| -> String {
        chunks.into_iter().map(|(number, chunk)| ask(&folder.join(format!("joined-{number}.pcapng")), chunk)).collect()
    };
    let text = std::thread::scope(|scope| {
        let other = scope.spawn(|| ask(second));
        ask(chunks) + &other.join().expect("no panic while asking tshark")
    });
    // Renamed when whole, so that a run that is interrupted leaves nothing half.
    let partial = cache.with_extension("partial");
    std::fs::write(&partial, &text).and_then(|()| std::fs::rename(&partial, &cache)).expect("write the cache");
    Some(parse(&text))
}

/// Lines `name<TAB>conversation,conversation,...`.
fn parse(text: &str) -> Oracle {
    let parse = |line: &str| {
        let (name, rest) = line.split_once('\t')?;
        Some((name.to_owned(), rest.split(',').filter_map(Conversation::parse).collect()))
    };
    text.lines().filter_map(parse).collect()
}

fn ask(joined: &Path, chunk: &[&Capture]) -> String {
    let merged = Command::new("mergecap")
        .args(["-a", "-I", "none", "-w"])
        .arg(joined)
        .args(chunk.iter().map(|capture| &capture.path))
        .stderr(Stdio::null())
        .status()
        .expect("mergecap starts");
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(joined).args(["-T", "fields", "-E", "occurrence=a"]);
    // Fragments are not joined: later ones have no ports there and find their flow here.
    command.args(["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]);
    let fields = "frame.protocols ip.src ip.dst ipv6.src ipv6.dst tcp.srcport tcp.dstport udp.srcport udp.dstport \
                  sctp.srcport sctp.dstport";
    for field in fields.split(' ') {
        command.args(["-e", field]);
    }
    let output = command.stderr(Stdio::null()).output().expect("tshark starts");
    drop(std::fs::remove_file(joined));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let expected: u64 = chunk.iter().filter_map(|capture| capture.packets).sum();
    let counted = text.lines().count() as u64;
    if !merged.success() || counted != expected {
        if let [alone] = chunk {
            eprintln!("{}: tshark reads {counted} packets, {expected} in the manifest; not compared", alone.name);
            return String::new();
        }
        // One of them cannot be joined or is counted otherwise: by halves until it stands alone.
        let (first, second) = chunk.split_at(chunk.len() / 2);
        return ask(joined, first) + &ask(joined, second);
    }
    let mut out = String::new();
    for capture in chunk {
        let packets = capture.packets.unwrap_or(0) as usize;
        let found: BTreeSet<Conversation> = lines.by_ref().take(packets).filter_map(conversation).collect();
        let _ = write!(out, "{}\t", capture.name);
        for Conversation((a, a_port), (b, b_port), protocol) in found {
            let _ = write!(out, "{a} {a_port} {b} {b_port} {protocol},");
        }
        out.push('\n');
    }
    out
}

/// Layers on the way to the innermost IP header that the decoder opens.
const OPENED: [&str; 29] = [
    "eth",
    "ethertype",
    "vlan",
    "ieee8021ad",
    "sll",
    "sll2",
    "null",
    "raw",
    "loop",
    "ppp",
    "chdlc",
    "gre",
    "erspan",
    "mpls",
    "pwethheuristic",
    "pwethcw",
    "pppoe",
    "pppoes",
    "vxlan",
    "geneve",
    "gtp",
    "gtp.ext_hdr",
    "teredo",
    "nsh",
    "etag",
    "vntag",
    "macsec",
    "etherip",
    "l2tp",
];

/// The 5-tuple of a line: that of the innermost packet that the decoder reaches. What is in ICMP errors is no packet, and what
/// is no packet in a tunnel leaves the one round it.
fn conversation(line: &str) -> Option<Conversation> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [protocols, v4_from, v4_to, v6_from, v6_to, ref ports @ ..] = fields[..] else { return None };
    let [tcp_from, tcp_to, udp_from, udp_to, sctp_from, sctp_to] = ports[..] else { return None };
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pair = |layer, from: &str, to: &str| {
        let place = taken.entry(layer).and_modify(|place| *place += 1).or_default();
        let nth = |list: &str| list.split(',').nth(*place).map(str::to_owned);
        Some((nth(from)?, nth(to)?))
    };
    let (mut found, mut hosts, mut carries) = (None, None, true);
    for layer in protocols.split(':') {
        match layer {
            "ip" => (found, hosts, carries) = (None, pair("ip", v4_from, v4_to), true),
            "ipv6" => (found, hosts, carries) = (None, pair("ipv6", v6_from, v6_to), true),
            extension if extension.starts_with("ipv6.") => {}
            opened if OPENED.contains(&opened) && carries => {}
            transport => {
                let (ports, protocol) = match transport {
                    "tcp" => (pair("tcp", tcp_from, tcp_to), 6),
                    "udp" => (pair("udp", udp_from, udp_to), 17),
                    "sctp" => (pair("sctp", sctp_from, sctp_to), 132),
                    "icmp" => (Some(("0".into(), "0".into())), 1),
                    "icmpv6" => (Some(("0".into(), "0".into())), 58),
                    _ => break,
                };
                let ((from, to), (from_port, to_port)) = (hosts.take()?, ports?);
                let endpoint = |address: &str, port: &str| Some((address.parse().ok()?, port.parse().ok()?));
                found = Some(Conversation::new(endpoint(&from, &from_port)?, endpoint(&to, &to_port)?, protocol));
                carries = protocol == 17;
                if !carries {
                    break;
                }
            }
        }
    }
    found
}
