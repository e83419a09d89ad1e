//! Port scans and sweeps: threshold random walk over first contacts, with counters of distinct ports and hosts.
//!
//! *Observer*: a contact is a flow from its originator to one host and port. It fails when it is refused (RST to the SYN,
//! ICMP error), when nothing answers until the time-out, when it is opened and dropped without a byte (half-open and
//! connect scans of open ports), or when it is no contact at all (FIN, NULL, XMAS and ACK probes). It succeeds when data
//! flows. Outcomes set bits, so that repeats of a contact, and its repeats on other workers, count once: that is what makes
//! the walk one over *first* contacts without remembering them.
//!
//! *Decider*: per source, over two generations of `horizon_s`: `log L = failed * ln((1-theta1)/(1-theta0)) +
//! ok * ln(theta1/theta0)` (Jung, Paxson, Berger, Balakrishnan, S&P 2004), in log space over the counts, so the order of
//! contacts has no part in it. A contact that was waited for (its SYN was repeated) is neither: that is what a host
//! without an uplink does, and no scanner can afford it. TRW alone would call four dead servers a scan; it has to meet a shape as well: many ports,
//! many hosts, or both. Very many failed contacts of one shape are a scan whatever else the source does (NAT).
//!
//! Pings have a walk of their own: who pings many hosts is a monitor or a sweep, and a monitor knows its hosts (nearly all
//! answer; those that do not are asked again and again), while a sweep finds holes and asks each address once or twice.
//!
//! Where nothing on the whole wire is ever answered (one-way tap), every contact looks failed: TRW is off, only packets
//! that are probes by themselves count (bare SYN, empty UDP, echo), and the evidence says so.
//!
//! What is slower than the horizon, or spread over many sources, is counted over hours (`slow`).
//!
//! What it cannot see: probes that never reach the tap. Sweeps by ARP are [`super::arp`]'s.

mod decoys;
mod settings;
mod slow;

pub use settings::Settings;

/// Contacts that a record of slow scans tells apart.
pub(crate) const SLOW_MAX: f64 = slow::MAX;

/// Sources in step that are told apart.
pub(crate) const DECOYS_MAX: f64 = decoys::KEPT as f64;

use super::cold::ColdMap;
use super::distinct::{self, Estimate, HashKey};
use super::facts::{Facts, protocol};
use super::generations::Generations;
use super::{Counts, Detector, Evidence, FlowRef, PORTS_KEPT, Peer, Relation, Term};
use crate::dataplane::decode::{Endpoint, tcp_flags};
use crate::dataplane::flow::{EndReason, Signals, TcpState};
use crate::units::{SECOND, Timestamp};
use decoys::{Decoys, Vertical};

/// Cells of a source's counts.
mod cell {
    pub const SUCCESS: usize = 0;
    pub const REFUSED_TCP: usize = 1;
    pub const REFUSED_OTHER: usize = 2;
    pub const UNANSWERED_TCP: usize = 3;
    pub const UNANSWERED_UDP: usize = 4;
    pub const UNANSWERED_UDP_EMPTY: usize = 5;
    pub const UNANSWERED_ICMP: usize = 6;
    pub const UNANSWERED_OTHER: usize = 7;
    pub const HALF_OPEN: usize = 8;
    pub const STEALTH: usize = 9;
    pub const ACK_PROBE: usize = 10;
    pub const ECHO_ANSWERED: usize = 11;
}

/// Bitmaps of a source's counts.
mod bitmap {
    pub const FAILED: usize = 0;
    pub const OK: usize = 1;
    pub const PORTS: usize = 2;
    pub const HOSTS: usize = 3;
    pub const PATIENT: usize = 4;
}

/// SYNs of one contact from which its originator waits for the answer: the second comes a second after the first (RFC 6298)
/// and from the same port, which a scanner of many hosts cannot afford and an application always does.
const PATIENT_SYNS: u8 = 2;

/// Echo requests of one unanswered flow from which its originator is after that host and not after any: `ping` and monitors
/// go on asking, sweeping tools ask twice at most.
const PATIENT_ECHOES: u32 = 3;

/// What became of a contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Success,
    Refused,
    Unanswered,
    HalfOpen,
    Stealth,
    AckProbe,
    EchoAnswered,
}

impl Event {
    /// Outcomes known with a packet, apart from the end of a TCP connection.
    #[inline(always)]
    pub fn at_signals(facts: &Facts<'_>, signals: Signals) -> Option<Event> {
        if !signals.has(Signals::REFUSED.with(Signals::ANSWERED).with(Signals::MILESTONE)) {
            return None;
        }
        let tcp = facts.protocol == protocol::TCP;
        let event = if signals.has(Signals::REFUSED) {
            // An ICMP error that quotes the responder's packets is no refusal of the contact.
            let contact = if tcp { facts.begins_with_syn() } else { !facts.is_answered() && !facts.is_answer_like() };
            contact.then_some(Event::Refused)
        } else if tcp {
            let talks = facts.state() >= TcpState::Established && facts.is_answered() && facts.total_payload() > 0;
            (talks && signals.has(Signals::MILESTONE)).then_some(Event::Success)
        } else if facts.protocol == protocol::ICMP || facts.protocol == protocol::ICMPV6 {
            (signals.has(Signals::ANSWERED) && facts.is_icmp_request()).then_some(Event::EchoAnswered)
        } else {
            signals.has(Signals::ANSWERED).then_some(Event::Success)
        };
        event.filter(|_| facts.is_to_one_host())
    }

    /// A TCP flow closed with this packet.
    #[inline]
    pub fn at_close(facts: &Facts<'_>, signals: Signals) -> Option<Event> {
        if !facts.is_to_one_host() || (signals.has(Signals::REFUSED) && facts.begins_with_syn()) {
            None
        } else if !facts.begins_with_syn() {
            Event::probe(facts)
        } else if facts.flags()[1] & tcp_flags::SYN == 0 {
            None
        } else if facts.total_payload() > 0 {
            Some(Event::Success)
        } else {
            Some(Event::HalfOpen)
        }
    }

    /// A flow left the table, and was not closed before.
    #[inline(always)]
    pub fn at_end(facts: &Facts<'_>, reason: EndReason) -> Option<Event> {
        if !facts.is_to_one_host() || reason == EndReason::EvictedEstablished {
            return None;
        }
        match facts.protocol {
            protocol::TCP if !facts.begins_with_syn() => Event::probe(facts),
            protocol::TCP => match facts.state() {
                // An ACK of its own says that the originator was answered, out of our sight.
                TcpState::New if facts.flags()[0] & tcp_flags::ACK == 0 => Some(Event::Unanswered),
                // While the source ends, a handshake may just be under way.
                TcpState::Answered if reason != EndReason::Shutdown && facts.total_payload() == 0 => {
                    Some(Event::HalfOpen)
                }
                _ => None,
            },
            protocol::ICMP | protocol::ICMPV6 => {
                (!facts.is_answered() && facts.is_icmp_request()).then_some(Event::Unanswered)
            }
            _ => (!facts.is_answered() && !facts.is_answer_like()).then_some(Event::Unanswered),
        }
    }

    /// TCP without a SYN that met silence or an RST. FIN|ACK alone is what any late close looks like and is left out.
    fn probe(facts: &Facts<'_>) -> Option<Event> {
        let [sent, answered] = facts.flags();
        let rejected = facts.packets()[1] == 0 || answered & !tcp_flags::ACK == tcp_flags::RST;
        if facts.packets()[0] > 3 || facts.total_payload() > 0 || sent & tcp_flags::RST != 0 || !rejected {
            None
        } else if sent & tcp_flags::ACK == 0 {
            Some(Event::Stealth)
        } else if sent == tcp_flags::ACK && facts.packets()[0] <= 2 && !facts.is_answer_like() {
            Some(Event::AckProbe)
        } else {
            None
        }
    }

    /// Adds the event to the source's counts.
    #[inline(always)]
    pub fn count(self, facts: &Facts<'_>, key: &HashKey, counts: &mut Counts) {
        let Endpoint { address, port } = facts.destination;
        let port = match facts.protocol {
            // The identifier of an echo says nothing about the target.
            protocol::ICMP | protocol::ICMPV6 => 0,
            // traceroute counts its probes in the port (IANA: 33434); it is one contact with one host.
            protocol::UDP if (33_434..=33_689).contains(&port) => 33_434,
            _ => port,
        };
        let service = u64::from(facts.protocol) << 16 | u64::from(port);
        let pair = key.address(address, service, 10);
        if self == Event::Success {
            counts.add(cell::SUCCESS, 1);
            counts.mark(bitmap::OK, pair);
            return;
        }
        let udp = facts.protocol == protocol::UDP;
        counts.add(
            match (self, facts.protocol) {
                (Event::Refused, protocol::TCP) => cell::REFUSED_TCP,
                (Event::Refused, _) => cell::REFUSED_OTHER,
                (Event::HalfOpen, _) => cell::HALF_OPEN,
                (Event::Stealth, _) => cell::STEALTH,
                (Event::AckProbe, _) => cell::ACK_PROBE,
                (Event::EchoAnswered, _) => cell::ECHO_ANSWERED,
                (_, protocol::TCP) => cell::UNANSWERED_TCP,
                (_, protocol::ICMP | protocol::ICMPV6) => cell::UNANSWERED_ICMP,
                _ if udp && facts.payload()[0] == 0 => cell::UNANSWERED_UDP_EMPTY,
                _ if udp => cell::UNANSWERED_UDP,
                _ => cell::UNANSWERED_OTHER,
            },
            1,
        );
        counts.mark(bitmap::FAILED, pair);
        if self == Event::HalfOpen {
            counts.note_port(port);
        }
        if self == Event::EchoAnswered {
            counts.mark(bitmap::OK, pair);
        }
        if self == Event::Unanswered && is_patient(facts) {
            counts.mark(bitmap::PATIENT, pair);
        }
        counts.mark(bitmap::PORTS, key.number(service));
        counts.mark(bitmap::HOSTS, key.address(address, 0, 12));
        let peer = || Peer { rank: 0, address, port, flow: facts.mark(), protocol: facts.protocol };
        counts.offer((0, address, port), facts.first_seen(), peer);
    }
}

/// Did the originator go on asking one that was silent?
fn is_patient(facts: &Facts<'_>) -> bool {
    let [sent, _] = facts.packets();
    let is_echo = matches!(facts.protocol, protocol::ICMP | protocol::ICMPV6);
    facts.syns() >= PATIENT_SYNS || (is_echo && sent >= PATIENT_ECHOES)
}

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    sources: ColdMap<u128, Generations>,
    slow: slow::Slow,
    wire: Wire,
    decoys: Decoys,
    /// What these two were before something was decided that may be taken back.
    before: Option<(Wire, Decoys)>,
}

/// Of the whole wire: contacts that failed in silence, and answers of any kind; by generation.
#[derive(Clone, Copy, Default)]
struct Wire {
    silence: [u64; 2],
    answers: [u64; 2],
    start: Timestamp,
}

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(settings: Settings) -> Decider {
        Decider {
            sources: ColdMap::new(settings.sources),
            slow: slow::Slow::new(settings),
            settings,
            wire: Wire::default(),
            decoys: Decoys::default(),
            before: None,
        }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.slow.retune(settings);
        self.settings = settings;
    }

    /// Sources forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.sources.forgotten() + self.slow.forgotten()
    }

    /// From here on what is decided can be taken back.
    pub fn begin(&mut self) {
        self.sources.begin();
        self.slow.begin();
        self.before = Some((self.wire, self.decoys.clone()));
    }

    /// Forgets what was decided since [`Decider::begin`].
    pub fn roll_back(&mut self) {
        self.sources.roll_back();
        self.slow.roll_back();
        if let Some(before) = self.before.take() {
            (self.wire, self.decoys) = before;
        }
    }

    /// Takes all sources of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, sources: &[(u128, Counts)], out: &mut Vec<Evidence>) {
        self.watch_wire(start, sources);
        let one_way =
            self.wire.answers == [0; 2] && self.wire.silence.iter().sum::<u64>() >= self.settings.one_way_contacts;
        let mut verticals = Vec::new();
        for (source, counts) in sources {
            let known = self.sources.existing(source).is_some();
            // Most sources never fail: they need no memory, except that success is remembered with what failed.
            if failures(counts) == 0 && !known {
                continue;
            }
            let state = self.sources.entry(*source, Generations::default);
            let (total, _) = state.add(start, self.settings.horizon_s * SECOND, counts);
            if failures(counts) > 0 {
                let told = || state.told(start, &total);
                let found = judge(&self.settings, *source, &total, counts, one_way, told);
                if found.is_none() && !one_way {
                    self.slow.failed(start, *source, &total, counts, out);
                }
                if let Some((Evidence { kind, target: Some(target), .. }, failed)) =
                    found.as_ref().map(|found| (found, total.bitmap(bitmap::FAILED)))
                    && kind == "vertical"
                {
                    let (source, target, time) = (*source, *target, counts.last);
                    verticals.push((out.len(), Vertical { source, target, failed, time }));
                }
                out.extend(found);
            }
        }
        if !verticals.is_empty() {
            self.decoys.tell(&verticals, &self.settings, out);
        }
    }

    fn watch_wire(&mut self, start: Timestamp, sources: &[(u128, Counts)]) {
        let length = self.settings.horizon_s * SECOND;
        let wire = &mut self.wire;
        let age = start.since(wire.start);
        if wire.start == Timestamp(0) || age >= 2 * length {
            *wire = Wire { start, ..Wire::default() };
        } else if age >= length {
            (wire.silence, wire.answers) = ([0, wire.silence[0]], [0, wire.answers[0]]);
            wire.start = wire.start.after(length);
        }
        for (_, counts) in sources {
            let answers: u64 =
                [cell::SUCCESS, cell::REFUSED_TCP, cell::REFUSED_OTHER, cell::HALF_OPEN, cell::ECHO_ANSWERED]
                    .iter()
                    .map(|cell| u64::from(counts.sum(*cell)))
                    .sum();
            let [silence_now, _] = &mut wire.silence;
            let [answers_now, _] = &mut wire.answers;
            *answers_now += answers;
            *silence_now += failures(counts);
        }
    }
}

/// Failed contacts, repeats included.
fn failures(counts: &Counts) -> u64 {
    counts.sums.iter().skip(cell::SUCCESS + 1).map(|sum| u64::from(*sum)).sum()
}

/// Contacts that were answered, repeats included.
fn answered(counts: &Counts) -> u64 {
    u64::from(counts.sum(cell::SUCCESS)) + u64::from(counts.sum(cell::ECHO_ANSWERED))
}

/// Shape of a set of failed contacts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Vertical,
    Horizontal,
    Block,
    Random,
}

/// `latest`: the window that ends with it. `told`: what was counted since there is evidence about this source, asked for only if there is some now.
fn judge(
    settings: &Settings,
    source: u128,
    total: &Counts,
    latest: &Counts,
    one_way: bool,
    told: impl FnOnce() -> Counts,
) -> Option<Evidence> {
    let met = distinct::without(&total.bitmap(bitmap::FAILED), &total.bitmap(bitmap::OK));
    let events = failures(total);
    let distinct_of = |bitmap: &distinct::Bitmap| Estimate::of(bitmap, events);
    let known_failed = distinct_of(&distinct::without(&met, &total.bitmap(bitmap::PATIENT)));
    let known_ports = distinct_of(&total.bitmap(bitmap::PORTS));
    let known_hosts = distinct_of(&total.bitmap(bitmap::HOSTS));
    let known_ok = Estimate::of(&total.bitmap(bitmap::OK), answered(total));
    let (failed, ok, ports, hosts) = (known_failed.value, known_ok.value, known_ports.value, known_hosts.value);
    let share =
        |cells: &[usize]| cells.iter().map(|cell| f64::from(total.sum(*cell))).sum::<f64>() / (events as f64).max(1.0);
    let echo_cells = [cell::UNANSWERED_ICMP, cell::ECHO_ANSWERED];
    let icmp = share(&echo_cells) > 0.5;
    let walk = settings.walk(icmp, failed, ok);

    let (shape, extent, needed) = if ports >= hosts * settings.shape_ratio {
        (Shape::Vertical, ports.min(failed), settings.ports)
    } else if hosts >= ports * settings.shape_ratio {
        let udp = share(&[cell::UNANSWERED_UDP]) > 0.5;
        let needed = match (icmp, udp) {
            (true, _) => settings.echo_hosts,
            (_, true) => settings.udp_hosts,
            _ => settings.hosts,
        };
        (Shape::Horizontal, hosts.min(failed), needed)
    } else if failed >= 2.0 * ports.max(hosts) && ports >= 5.0 && hosts >= 5.0 {
        (Shape::Block, failed, (settings.ports * 3.0).min(distinct::SATURATED))
    } else {
        (Shape::Random, failed, settings.contacts)
    };
    let probes = [
        cell::UNANSWERED_TCP,
        cell::UNANSWERED_UDP_EMPTY,
        cell::UNANSWERED_ICMP,
        cell::ECHO_ANSWERED,
        cell::STEALTH,
        cell::ACK_PROBE,
        cell::UNANSWERED_OTHER,
    ];
    let mostly_acks = share(&[cell::ACK_PROBE]) > 0.5;
    let echoes = icmp && share(&[cell::ECHO_ANSWERED]) > 0.5;
    // A monitor asks the hosts it knows over and over.
    let monitor = icmp && share(&echo_cells) * events as f64 >= hosts * settings.echo_repeats;
    // Lone ACKs to many hosts are also what a host sends that wakes up with old connections: only very many count.
    let waking = mostly_acks && shape != Shape::Vertical;
    let walked = !one_way && walk >= settings.alarm() && !waking && !monitor;
    // Of a sweep by ping the hosts that answered are part.
    let extent = if icmp && walked && shape == Shape::Horizontal { hosts } else { extent };
    let needed = match (one_way, shape) {
        (true, Shape::Random) => settings.contacts.max(settings.one_way),
        (true, _) => settings.one_way,
        (false, Shape::Random) => settings.contacts,
        (false, _) if walked => needed,
        (false, _) => settings.sure,
    };
    let allowed = match (one_way, shape) {
        (true, _) => share(&probes) >= 0.8,
        (false, Shape::Random) => walked,
        (false, _) => true,
    };
    if !allowed || extent < needed {
        return None;
    }

    let kind = match shape {
        Shape::Vertical => "vertical",
        Shape::Horizontal if icmp => "ping_sweep",
        Shape::Horizontal => "horizontal",
        Shape::Block => "block",
        Shape::Random => "random",
    };
    let peer = Endpoint { address: total.peer.address, port: total.peer.port };
    let target = (distinct::ones(&total.bitmap(bitmap::HOSTS)) == 1).then(|| peer.ip());
    let port =
        (shape == Shape::Horizontal && !icmp && distinct::ones(&total.bitmap(bitmap::PORTS)) == 1).then_some(peer.port);
    // Of the window that completed it, unless bits were mistaken and it is of another target than is named.
    let example = |peer: &Peer| peer.flow.example((source, peer.address));
    let fits = |flow: &FlowRef| target.is_none_or(|target| flow.destination == target);
    let flow = example(&latest.peer).filter(fits).or_else(|| example(&total.peer));
    let source = Endpoint { address: source, port: 0 }.ip();
    // Told are the sums since there has been evidence, so that those of a repeat have grown.
    let all = told();
    let all_failed = failures(&all);
    let all_ports = Estimate::of(&all.bitmap(bitmap::PORTS), all_failed);
    let all_hosts = Estimate::of(&all.bitmap(bitmap::HOSTS), all_failed);
    let what = match (kind, target, port) {
        ("vertical", Some(target), _) => format!("{all_ports} ports of {target}"),
        ("vertical", None, _) => format!("{all_ports} ports on {all_hosts} hosts"),
        (_, _, Some(port)) => format!("port {port} on {all_hosts} hosts"),
        ("ping_sweep", ..) => format!("{all_hosts} hosts by ping"),
        ("horizontal", ..) => format!("{all_hosts} hosts on {all_ports} ports"),
        _ => format!("combinations of {all_hosts} hosts and {all_ports} ports"),
    };
    let technique = technique(total, share(&[cell::STEALTH]), mostly_acks, icmp);
    let judged = |name: &str, known: Estimate, by_it: bool| {
        let term = Term::distinct(name, known);
        if by_it { term.against(Relation::AtLeast, needed) } else { term }
    };
    let by_contacts = matches!(shape, Shape::Block | Shape::Random);
    let refused = f64::from(total.sum(cell::REFUSED_TCP)) + f64::from(total.sum(cell::REFUSED_OTHER));
    let mut terms = vec![
        judged("distinct_failed_contacts", known_failed, by_contacts),
        judged("distinct_failed_ports", known_ports, shape == Shape::Vertical),
        judged("distinct_failed_hosts", known_hosts, shape == Shape::Horizontal),
        Term::distinct("distinct_answered_contacts", known_ok),
        Term::distinct("distinct_patient_contacts", distinct_of(&total.bitmap(bitmap::PATIENT))),
        Term::exact("failed_contacts", events as f64),
        Term::exact("refused_contacts", refused),
        Term::exact("failed_contacts_since_start", all_failed as f64),
    ];
    if all.sum(cell::HALF_OPEN) > 0 {
        terms.push(Term::exact("open_contacts_since_start", all.sum(cell::HALF_OPEN).into()));
    }
    if one_way {
        terms.push(Term::exact("one_way_visibility", 1.0));
    } else if walked {
        terms.push(Term::exact("trw_log_likelihood", walk).against(Relation::AtLeast, settings.alarm()));
    } else {
        terms.push(Term::exact("trw_log_likelihood", walk));
    }
    let certainty = 1.0 / (1.0 + (-(walk - settings.alarm()) / 4.0).exp());
    Some(Evidence {
        detector: Detector::Scan,
        kind: kind.to_owned(),
        time: latest.last,
        severity: match (echoes, extent >= settings.medium) {
            (true, _) => 4,
            (false, true) => 2,
            (false, false) => 3,
        },
        confidence: if one_way { 0.6 } else { certainty.max(0.7) },
        source: Some(source),
        target,
        port,
        protocol: (total.peer.protocol != 0).then_some(total.peer.protocol),
        summary: format!("{source} tried {what} ({technique}); {}", outcome(&all)),
        terms,
        flow,
        source_mac: None,
        tunnel: None,
        technique: None,
        window: None,
        row: None,
    })
}

/// What became of the contacts, in words: one that was opened and dropped without a byte failed, but its port is open.
fn outcome(all: &Counts) -> String {
    let (failed, open, answered) = (failures(all), u64::from(all.sum(cell::HALF_OPEN)), answered(all));
    if open == 0 {
        return format!("{failed} contacts failed, {answered} were answered");
    }
    let ports: Vec<String> = all.ports.iter().filter(|port| **port != 0).map(u16::to_string).collect();
    let more = if ports.len() == PORTS_KEPT { " and perhaps more" } else { "" };
    let name = if ports.len() == 1 { "port" } else { "ports" };
    let were = if open == 1 { "was" } else { "were" };
    format!(
        "{} contacts failed, {open} {were} opened and dropped at once ({name} {}{more}), {answered} were answered",
        failed - open,
        ports.join(", ")
    )
}

/// How the contacts were made, in words.
fn technique(total: &Counts, stealth: f64, mostly_acks: bool, icmp: bool) -> &'static str {
    let udp: u32 = [cell::UNANSWERED_UDP, cell::UNANSWERED_UDP_EMPTY, cell::REFUSED_OTHER]
        .iter()
        .map(|cell| total.sum(*cell))
        .fold(0, u32::saturating_add);
    if stealth > 0.5 {
        "FIN, NULL or XMAS probes"
    } else if mostly_acks {
        "ACK probes"
    } else if icmp {
        "ICMP"
    } else if u64::from(udp) * 2 > failures(total) {
        "UDP"
    } else if u64::from(total.sum(cell::UNANSWERED_OTHER)) * 2 > failures(total) {
        "IP protocols"
    } else {
        "TCP SYN"
    }
}
