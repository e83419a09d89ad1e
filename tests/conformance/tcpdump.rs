//! What tcpdump's own tests print of their captures: protocols, tunnels, fragments.
//!
//! tcpdump tells most protocols by port and prints what it makes of the bytes; where it calls a packet cut or invalid itself
//! (half of its captures come from fuzzers), nothing is asked of us.

use crate::answer::{self, Answer, each, ends_of, has_ports};
use crate::ndpi::{Ends, ends};
use crate::table::{Check, Verdict};
use crate::text::{Pair, Printed, packets, pairs};
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::capture::{LinkType, Source};
use shrike::dataplane::inspect::Protocol;
use shrike::metrics::Counter;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the print says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Claim {
    /// An application protocol, by our name of it.
    Application(&'static str),
    /// The protocol over IP.
    Transport(u8),
    /// An IP packet inside a tunnel.
    Tunnel(&'static str),
    /// Parts of an IP packet.
    Fragment,
    /// ARP.
    Arp,
}

/// How the print of a message begins, and whose it is.
const APPLICATIONS: &[(&str, Protocol)] = &[
    ("BOOTP/DHCP", Protocol::Dhcp),
    ("dhcp6 ", Protocol::Dhcp),
    ("NTPv", Protocol::Ntp),
    ("RADIUS", Protocol::Radius),
    ("isakmp", Protocol::Ike),
    ("NONESP-encap: isakmp", Protocol::Ike),
    ("TFTP", Protocol::Tftp),
    ("{ SNMPv", Protocol::Snmp),
    ("NBT UDP PACKET(137)", Protocol::Nbns),
    ("HTTP", Protocol::Http),
    ("SSH: ", Protocol::Ssh),
    ("FTP", Protocol::Ftp),
    ("SMTP", Protocol::Smtp),
    ("SIP", Protocol::Sip),
    ("RESP ", Protocol::Redis),
    ("SMB PACKET", Protocol::Smb),
    ("SMB-over-TCP", Protocol::Smb),
    ("udp/rtp", Protocol::Rtp),
    ("udp/rtcp", Protocol::Rtp),
    ("quic, initial", Protocol::Quic),
    ("SYSLOG", Protocol::Syslog),
    ("kerberos v", Protocol::Kerberos),
    ("[telnet ", Protocol::Telnet),
];

/// How the print of what IP carries begins, and its number.
const TRANSPORTS: &[(&str, u8)] = &[
    ("Flags [", 6),
    ("UDP, ", 17),
    ("sctp", 132),
    ("ICMP6, ", 58),
    ("ICMP ", 1),
    ("igmp ", 2),
    ("GREv", 47),
    ("ESP(", 50),
    ("AH(", 51),
    ("EIGRP", 88),
    ("OSPF", 89),
    ("PIMv", 103),
    ("VRRPv", 112),
    ("RSVPv", 46),
    ("DCCP", 33),
];

/// How the print of a tunnel begins behind the ends of its outer packet.
const TUNNELS: &[(&str, &str)] = &[
    ("GREv", "gre"),
    ("VXLAN-GPE, ", "vxlan-gpe"),
    ("VXLAN, ", "vxlan"),
    ("Geneve, ", "geneve"),
    ("MPLS ", "mpls in udp"),
    ("IP ", "ip in ip"),
    ("IP6 ", "ip in ip"),
];

/// Words that stand before an inner packet whatever its outer one, and what they tell.
const INNER: &[(&str, &str)] = &[("MPLS (label", "mpls"), ("PPPoE ", "pppoe"), ("erspan ", "erspan")];

/// tcpdump's words for packets that it cannot make sense of.
const BROKEN: &[&str] = &[
    "[|",
    "(invalid",
    "invalid)",
    "[!",
    "bad-len",
    "bad length",
    "bad-hlen",
    "truncated-ip",
    "[len",
    " < ",
    "too short",
];

/// A capture, when its packets were taken, and whether its link type is one that the decoder opens.
struct Taken {
    path: PathBuf,
    times: Vec<i64>,
    is_opened: bool,
}

/// Every claim of every print.
pub fn checks(folder: &Path) -> Vec<Check> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let (prints, captures): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|path| path.extension().is_some_and(|kind| kind == "out"));
    let captures = each(&captures, |capture| taken(capture));
    let mut of_captures: BTreeMap<&Path, Vec<Printed>> = BTreeMap::new();
    let mut checks = Vec::new();
    for print in &prints {
        let text = String::from_utf8_lossy(&std::fs::read(print).expect("a print")).into_owned();
        let found = packets(&text);
        match capture_of(print, &found, &captures) {
            Ok(capture) => of_captures.entry(capture).or_default().extend(found),
            Err(why) => {
                let (kind, wanted) = ("print".to_owned(), "the whole print".to_owned());
                checks.push(Check { test: name(print), kind, wanted, verdict: Verdict::Excluded(why) });
            }
        }
    }
    let of_captures: Vec<(&Path, Vec<Printed>)> = of_captures.into_iter().collect();
    checks.extend(each(&of_captures, |(capture, printed)| judge(capture, printed)).into_iter().flatten());
    checks
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn taken(path: &Path) -> Taken {
    let mut taken = Taken { path: path.to_owned(), times: Vec::new(), is_opened: true };
    let Ok(mut source) = PcapSource::open(std::slice::from_ref(&taken.path), Speed::Max) else { return taken };
    loop {
        let burst = source.receive(64);
        for frame in (0..burst.count).map(|index| source.frame(index)) {
            taken.times.push(frame.time.map_or(0, |time| (time.0 / 1000) as i64));
            taken.is_opened &= !matches!(frame.link, LinkType::Other(_));
        }
        source.release();
        if burst.ended {
            return taken;
        }
    }
}

/// The capture whose packets have the times that were printed; where several do, or the times are none, the one of the
/// print's name.
fn capture_of<'a>(print: &Path, printed: &[Printed], captures: &'a [Taken]) -> Result<&'a Path, &'static str> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let wanted = stem(print);
    if wanted.ends_with("-t") {
        return Err("taken for one protocol by force (-T)");
    }
    if printed.is_empty() {
        return Err("prints no packet with its date");
    }
    let fits = |taken: &&Taken| {
        let time = |packet: &Printed| packet.number.checked_sub(1).and_then(|at| taken.times.get(at));
        printed.iter().all(|packet| time(packet) == Some(&packet.time))
    };
    let fitting: Vec<&Taken> = captures.iter().filter(fits).collect();
    let has_time = printed.iter().any(|packet| packet.time > 0);
    let found = match fitting.as_slice() {
        [alone] if has_time => Some(*alone),
        several => {
            let named = several.iter().filter(|taken| wanted.starts_with(&stem(&taken.path)));
            named.max_by_key(|taken| stem(&taken.path).len()).copied()
        }
    };
    match found {
        None => Err("of no capture that is here"),
        Some(taken) if !taken.is_opened => Err("of a link type that no network we watch has"),
        Some(taken) => Ok(&taken.path),
    }
}

/// The flow of a packet, the tunnels round it, and what is said of it: ICMP and its like quote other packets, which are no
/// tunnel.
fn innermost<'a, 'b>(pairs: &'b [Pair<'a>]) -> Option<(&'b Pair<'a>, Vec<&'static str>)> {
    let mut tunnels = Vec::new();
    let mut at = pairs.first()?;
    for inner in pairs.get(1..).unwrap_or_default() {
        let Some((_, tunnel)) = TUNNELS.iter().find(|(word, _)| at.rest.starts_with(word)) else { break };
        tunnels.push(*tunnel);
        at = inner;
    }
    Some((at, tunnels))
}

/// A message's words, behind tcpdump's of UDP's checksum or of TCP's header.
fn message(rest: &str) -> &str {
    if rest.starts_with("Flags [") {
        let behind = rest.split_once(", length ").map_or("", |(_, rest)| rest);
        return behind.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start_matches([':', ' ']);
    }
    match rest.strip_prefix('[') {
        Some(inner) if rest.contains("cksum") || rest.starts_with("[udp sum ok]") => {
            inner.split_once("] ").map_or("", |(_, rest)| rest)
        }
        _ => rest,
    }
}

fn application(pair: &Pair<'_>) -> Option<Protocol> {
    let said = message(pair.rest);
    if let Some((_, protocol)) = APPLICATIONS.iter().find(|(word, _)| said.starts_with(word)) {
        return Some(*protocol);
    }
    // `17177+ [1au] A? www.tcpdump.org. (56)`: a number, flags, and the length at the end.
    let by_port = |port| match port {
        53 | 8053 => Some(Protocol::Dns),
        5353 => Some(Protocol::Mdns),
        5355 => Some(Protocol::Llmnr),
        _ => None,
    };
    let is_message = said.starts_with(|letter: char| letter.is_ascii_digit()) && said.contains('(');
    is_message.then(|| by_port(pair.from.1).or(by_port(pair.to.1))).flatten()
}

/// Everything that the print of one packet says.
fn claims(packet: &Printed) -> Vec<(Claim, Option<Ends>)> {
    let text = &packet.text;
    let mut found = Vec::new();
    let pairs = pairs(text);
    if pairs.is_empty() && (text.starts_with("ARP, ") || text.contains(" ethertype ARP (0x0806)")) {
        found.push((Claim::Arp, None));
    }
    let is_part = text.split("offset ").skip(1).any(|rest| {
        let offset = rest.split(',').next().unwrap_or_default();
        offset.parse::<u32>().is_ok_and(|offset| offset > 0 || rest.starts_with("0, flags [+"))
    });
    if is_part || text.contains(": frag (0x") {
        found.push((Claim::Fragment, None));
    }
    let Some((pair, tunnels)) = innermost(&pairs) else { return found };
    let application = application(pair);
    let said = TRANSPORTS.iter().find(|(word, _)| pair.rest.starts_with(word)).map(|(_, number)| *number);
    let Some(transport) = said.or(application.map(|_| 17)) else { return found };
    let port = |port| if has_ports(transport) { port } else { 0 };
    let ends = Some(ends(transport, (pair.from.0, port(pair.from.1)), (pair.to.0, port(pair.to.1))));
    found.push((Claim::Transport(transport), ends));
    found.extend(application.map(|protocol| (Claim::Application(protocol.name()), ends)));
    // What ERSPAN mirrors need not be IP: then the flow is the outer one.
    let is_inner = |tunnel: &str| tunnel != "erspan" || pairs.len() > 1;
    let words =
        INNER.iter().filter(|(word, tunnel)| text.contains(word) && is_inner(tunnel)).map(|(_, tunnel)| *tunnel);
    found.extend(tunnels.into_iter().chain(words).map(|tunnel| (Claim::Tunnel(tunnel), ends)));
    found
}

/// Claims of one capture against what we say of it.
fn judge(capture: &Path, printed: &[Printed]) -> Vec<Check> {
    let mut all: BTreeMap<(Claim, Option<Ends>), bool> = BTreeMap::new();
    for packet in printed {
        let is_whole = !BROKEN.iter().any(|word| packet.text.contains(word));
        for claim in claims(packet) {
            *all.entry(claim).or_default() |= is_whole;
        }
    }
    let answer = answer::of(capture);
    let check = |((claim, ends), is_whole): ((Claim, Option<Ends>), bool)| {
        let verdict = match &answer {
            _ if !is_whole => Verdict::Excluded("tcpdump itself calls these packets cut or invalid"),
            Some(answer) => verdict(answer, claim, ends),
            None => Verdict::Unmet("the file cannot be read".to_owned()),
        };
        let (kind, what) = match claim {
            Claim::Application(name) => ("application", name.to_owned()),
            Claim::Transport(number) => ("transport", format!("protocol {number}")),
            Claim::Tunnel(kind) => ("tunnel", kind.to_owned()),
            Claim::Fragment => ("fragment", "parts of packets".to_owned()),
            Claim::Arp => ("arp", "arp".to_owned()),
        };
        let between = ends.map(|(_, a, b)| format!(" {} {} - {} {}", a.0, a.1, b.0, b.1)).unwrap_or_default();
        Check { test: name(capture), kind: kind.to_owned(), wanted: format!("{what}{between}"), verdict }
    };
    all.into_iter().map(check).collect()
}

fn verdict(answer: &Answer, claim: Claim, ends: Option<Ends>) -> Verdict {
    let counted = |counter| match answer.outcome.count(counter) {
        0 => Verdict::Unmet(format!("{} is 0", counter.name())),
        _ => Verdict::Met,
    };
    let mut flows = answer.flows.iter().filter(|flow| Some(ends_of(flow)) == ends).peekable();
    match claim {
        Claim::Arp => counted(Counter::ProcessedArp),
        Claim::Fragment => counted(Counter::Fragments),
        _ if flows.peek().is_none() => {
            let drops: Vec<_> = answer.outcome.drops().into_iter().filter(|(_, count)| *count > 0).collect();
            Verdict::Unmet(format!("no such flow; refused {drops:?}"))
        }
        Claim::Transport(_) => Verdict::Met,
        // A flow may begin without them: the last router takes labels off.
        Claim::Tunnel("mpls" | "pppoe") => Verdict::Met,
        Claim::Tunnel(_) if flows.any(|flow| flow.outer.is_some_and(|outer| outer.depth() > 0)) => Verdict::Met,
        Claim::Tunnel(_) => Verdict::Unmet("a flow in no tunnel".to_owned()),
        Claim::Application(name) => {
            let said: Vec<&str> = flows.clone().map(|flow| flow.application.name()).collect();
            if flows.any(|flow| flow.application.name() == name) {
                Verdict::Met
            } else {
                Verdict::Unmet(said.join(", "))
            }
        }
    }
}
