//! Sweeps of the own network by ARP: one host asks for very many neighbours at once.
//!
//! *Observer*: per asker and second, a bitmap of the hosts asked for. Announcements and address probes ask for nobody.
//!
//! *Decider*: distinct neighbours over two seconds. Whether they answered is no evidence: answers go to the asker alone, and
//! a tap on another port of the switch sees none. So the extent decides, and it is set to what sweeping tools do (some
//! hundreds a second) and routers of large networks do not (some tens). A router that passes on somebody's sweep of its
//! network asks as fast, and is named in that case, as the asker on this wire.
//!
//! What it cannot see: sweeps of fewer than `arp_hosts` hosts, sweeps of one host a second, IPv6 (neighbour discovery).

use super::cold::ColdMap;
use super::distinct::{Estimate, HashKey};
use super::generations::Generations;
use super::scan::Settings;
use super::{Counts, Detector, Entity, Evidence, FlowMark, Peer, Relation, Term};
use crate::dataplane::decode::{ArpQuestion, Endpoint};
use crate::units::{SECOND, Timestamp};

/// What it finds. It is of ARP alone: there is no flow, and no protocol over IP.
pub const KIND: &str = "arp_sweep";

/// Bitmap of the hosts asked for.
const ASKED: usize = 0;

/// Cell of the questions.
const QUESTIONS: usize = 0;

/// An IPv4 address as in [`Endpoint`].
fn v4(address: u32) -> u128 {
    0xffff_0000_0000 | u128::from(address)
}

/// Whom a question is counted for.
pub(super) fn entity(question: ArpQuestion) -> Entity {
    Entity::Asker(v4(question.asker))
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

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    askers: ColdMap<u128, Generations>,
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

    /// Takes all askers of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, askers: &[(u128, Counts)], out: &mut Vec<Evidence>) {
        for (asker, counts) in askers {
            let state = self.askers.entry(*asker, Generations::default);
            let (total, _) = state.add(start, SECOND, counts);
            let hosts = Estimate::of(&total.bitmap(ASKED), u64::from(total.sum(QUESTIONS)));
            if hosts.value >= self.settings.arp_hosts {
                let all = state.told(start, &total);
                out.push(self.evidence(*asker, &total, counts.last, hosts, &all));
            }
        }
    }

    fn evidence(&self, asker: u128, total: &Counts, time: Timestamp, hosts: Estimate, all: &Counts) -> Evidence {
        let source = Endpoint { address: asker, port: 0 }.ip();
        let questions = u64::from(all.sum(QUESTIONS));
        let neighbours = Estimate::of(&all.bitmap(ASKED), questions);
        let [_, _, a, b, c, d, e, f] = total.peer.flow.rest.to_be_bytes();
        Evidence {
            detector: Detector::Scan,
            kind: KIND.to_owned(),
            time,
            severity: 3,
            confidence: (1.0 - 0.3 * self.settings.arp_hosts / hosts.value).clamp(0.5, 0.9),
            source: Some(source),
            target: None,
            port: None,
            protocol: None,
            summary: format!(
                "{source} asked for {hosts} neighbours by ARP within two seconds; since it began {questions} questions about \
                 {neighbours}"
            ),
            terms: vec![
                Term::distinct("distinct_neighbours", hosts).against(Relation::AtLeast, self.settings.arp_hosts),
                Term::exact("arp_requests", f64::from(total.sum(QUESTIONS))),
                Term::exact("arp_requests_since_start", questions as f64),
            ],
            flow: None,
            source_mac: Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")),
            tunnel: None,
            technique: None,
            row: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence about 10.0.0.1, which asks for `hosts` neighbours, each `times` times, one question every `step`.
    fn evidence(hosts: u32, times: u32, step: u64) -> Vec<Evidence> {
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
            count(ArpQuestion { asker: 0x0a00_0001, mac, asked: 0x0a00_0100 + number % hosts }, &key, &mut counts);
        }
        decider.decide(Timestamp((100 + window) * SECOND), &[(v4(0x0a00_0001), counts)], &mut out);
        out
    }

    #[test]
    fn a_sweep_of_a_network_is_found_and_names_the_asker() {
        for step in [1, 3, 12] {
            let found = evidence(254, 2, step * SECOND / 1000);
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
        assert!(evidence(1500, 1, SECOND / 25).is_empty());
        assert!(evidence(20, 500, SECOND / 1000).is_empty());
    }
}
