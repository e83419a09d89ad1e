//! Sweeps of the own network by ARP: one host asks for very many neighbours at once.
//!
//! *Observer*: per asker and second, bitmaps of the hosts asked for and of those that answered. Announcements and address
//! probes ask for nobody.
//!
//! *Decider*, by extent: distinct neighbours over two seconds, set to what sweeping tools do (some hundreds a second) and
//! routers of large networks do not (some tens). Answers go to the asker alone, so a tap on another port of the switch
//! sees none. *By silence*, where answers to the asker are seen: distinct neighbours over half a minute to a minute that
//! did not answer, because who knows his neighbours asks for those that are there. A router that passes on somebody's
//! sweep of its network asks alike, and is named in that case, as the asker on this wire.
//!
//! What it cannot see: sweeps of fewer hosts, slower ones than `arp_silent` hosts a minute, IPv6 (neighbour discovery).

use super::cold::{ColdMap, Touched};
use super::distinct::{self, Estimate, HashKey};
use super::generations::Generations;
use super::scan::Settings;
use super::{Counts, Detector, Entity, Evidence, FlowMark, Peer, Relation, Term};
use crate::dataplane::decode::{ArpAnswer, ArpQuestion, Endpoint};
use crate::units::{SECOND, Timestamp};

/// What it finds. It is of ARP alone: there is no flow, and no protocol over IP.
pub const KIND: &str = "arp_sweep";

/// Bitmap of the hosts asked for.
const ASKED: usize = 0;

/// Bitmap of the hosts that answered.
const ANSWERED: usize = 1;

/// Cell of the questions.
const QUESTIONS: usize = 0;

/// An IPv4 address as in [`Endpoint`].
fn v4(address: u32) -> u128 {
    0xffff_0000_0000 | u128::from(address)
}

/// Whom a question, and its answer, is counted for.
pub(super) fn entity(asker: u32) -> Entity {
    Entity::Asker(v4(asker))
}

/// Adds an answer to the asker's counts.
pub(super) fn count_answer(answer: ArpAnswer, key: &HashKey, counts: &mut Counts) {
    counts.mark(ANSWERED, key.address(v4(answer.answered), 0, 16));
}

/// Adds a question to the asker's counts.
pub(super) fn count(question: ArpQuestion, key: &HashKey, counts: &mut Counts) {
    counts.add(QUESTIONS, 1);
    counts.mark(ASKED, key.address(v4(question.asked), 0, 16));
    let [a, b, c, d, e, f] = question.mac;
    let flow = FlowMark { rest: u64::from_be_bytes([0, 0, a, b, c, d, e, f]), ..FlowMark::default() };
    let address = v4(question.asked);
    counts.offer((0, address, 0), Timestamp(0), || Peer { rank: 0, address, port: 0, flow, protocol: 0 });
}

/// Generation of the rule by extent, and of that by silence.
const LENGTHS_NS: [u64; 2] = [SECOND, 30 * SECOND];

/// An asker.
#[derive(Clone, Default)]
struct Asker([Generations; 2]);

impl Touched for Asker {
    fn touched(&self) -> Timestamp {
        let Asker([fast, _]) = self;
        fast.touched()
    }
}

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    askers: ColdMap<u128, Asker>,
}

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(settings: Settings) -> Decider {
        Decider { askers: ColdMap::new(settings.sources / 4), settings }
    }

    /// Askers forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.askers.forgotten()
    }

    /// From here on what is decided can be taken back.
    pub fn begin(&mut self) {
        self.askers.begin();
    }

    /// Forgets what was decided since [`Decider::begin`].
    pub fn roll_back(&mut self) {
        self.askers.roll_back();
    }

    /// Takes all askers of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, askers: &[(u128, Counts)], out: &mut Vec<Evidence>) {
        for (asker, counts) in askers {
            let Asker(states) = self.askers.entry(*asker, Asker::default);
            for (is_silence, (state, length)) in [false, true].into_iter().zip(states.iter_mut().zip(LENGTHS_NS)) {
                let (total, _) = state.add(start, length, counts);
                let (asked, answered) = (total.bitmap(ASKED), total.bitmap(ANSWERED));
                let questions = u64::from(total.sum(QUESTIONS));
                let hosts = match is_silence {
                    false => Estimate::of(&asked, questions),
                    true => Estimate::of(&distinct::without(&asked, &answered), questions),
                };
                let least = if is_silence { self.settings.arp_silent } else { self.settings.arp_hosts };
                let is_seen = !is_silence || distinct::ones(&answered) > 0;
                if is_seen && hosts.value >= least && counts.sum(QUESTIONS) > 0 {
                    let all = state.told(start, &total);
                    out.push(evidence(*asker, &total, counts.last, (hosts, least, is_silence), &all));
                    // Once a second is enough.
                    break;
                }
            }
        }
    }
}

fn evidence(
    asker: u128,
    total: &Counts,
    time: Timestamp,
    (hosts, least, is_silence): (Estimate, f64, bool),
    all: &Counts,
) -> Evidence {
    let source = Endpoint { address: asker, port: 0 }.ip();
    let questions = u64::from(all.sum(QUESTIONS));
    let neighbours = Estimate::of(&all.bitmap(ASKED), questions);
    let [_, _, a, b, c, d, e, f] = total.peer.flow.rest.to_be_bytes();
    let (name, what) = match is_silence {
        false => ("distinct_neighbours", "by ARP within two seconds"),
        true => ("silent_neighbours", "by ARP within a minute that do not answer"),
    };
    Evidence {
        detector: Detector::Scan,
        kind: KIND.to_owned(),
        time,
        severity: 3,
        confidence: (1.0 - 0.3 * least / hosts.value).clamp(0.5, 0.9),
        source: Some(source),
        target: None,
        port: None,
        protocol: None,
        summary: format!(
            "{source} asked for {hosts} neighbours {what}; since it began {questions} questions about {neighbours}"
        ),
        terms: vec![
            Term::distinct(name, hosts).against(Relation::AtLeast, least),
            Term::exact("arp_requests", f64::from(total.sum(QUESTIONS))),
            Term::exact("arp_requests_since_start", questions as f64),
        ],
        flow: None,
        source_mac: Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")),
        tunnel: None,
        technique: Some("T1018".into()),
        row: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence about 10.0.0.1, which asks for `hosts` neighbours, each `times` times, one question every `step`.
    fn found(hosts: u32, times: u32, step: u64) -> Vec<Evidence> {
        found_of(hosts, times, step, 0)
    }

    /// The same, of which the first `alive` answer.
    fn found_of(hosts: u32, times: u32, step: u64, alive: u32) -> Vec<Evidence> {
        let key = HashKey::new([1, 2, 3, 4]);
        let mut decider = Decider::new(Settings::default());
        let (mut out, mut counts, mut window) = (Vec::new(), Counts::ZERO, 0);
        for number in 0..hosts * times {
            let at = u64::from(number) * step;
            if at / SECOND != window {
                decider.decide(Timestamp((100 + window) * SECOND), &[(v4(0x0a00_0001), counts)], &mut out);
                (counts, window) = (Counts::ZERO, at / SECOND);
            }
            let mac = [2, 0, 0, 0, 0, 0x1f];
            let asked = 0x0a00_0100 + number % hosts;
            count(ArpQuestion { asker: 0x0a00_0001, mac, asked }, &key, &mut counts);
            if number % hosts < alive {
                count_answer(ArpAnswer { asker: 0x0a00_0001, answered: asked }, &key, &mut counts);
            }
        }
        decider.decide(Timestamp((100 + window) * SECOND), &[(v4(0x0a00_0001), counts)], &mut out);
        out
    }

    #[test]
    fn a_sweep_of_a_network_is_found_and_names_the_asker() {
        for step in [1, 3, 12] {
            let found = found(254, 2, step * SECOND / 1000);
            let first = found.first().expect("a sweep");
            assert_eq!((first.detector.name(), first.kind.as_str(), first.severity), ("scan", "arp_sweep", 3));
            assert_eq!(first.source.unwrap().to_string(), "10.0.0.1");
            assert_eq!((first.source_mac.as_deref(), &first.flow), (Some("02:00:00:00:00:1f"), &None));
            assert!(first.terms[0].value >= first.terms[0].threshold.unwrap());
        }
    }

    #[test]
    fn routers_and_busy_hosts_are_no_sweeps() {
        // A router of a large network: 25 hosts a second, for a minute; a host that asks for the same few all the time.
        assert!(found(1500, 1, SECOND / 25).is_empty());
        assert!(found(20, 500, SECOND / 1000).is_empty());
    }

    #[test]
    fn neighbours_that_are_not_there_tell_a_slow_sweep() {
        for (what, hosts, step, alive, wanted) in [
            ("ten a second, of which some answer", 60, SECOND / 10, 12, true),
            ("one a second", 60, SECOND, 12, true),
            // Whether anybody answers is not seen here.
            ("the same, from elsewhere", 60, SECOND / 10, 0, false),
            ("a router whose hosts are there", 60, SECOND / 10, 60, false),
            ("a monitor, of whose hosts some are down", 60, SECOND / 10, 45, false),
        ] {
            let found = found_of(hosts, 1, step, alive);
            assert_eq!(!found.is_empty(), wanted, "{what}: {found:?}");
            assert!(found.iter().all(|one| one.terms[0].name == "silent_neighbours"), "{what}");
        }
    }
}
