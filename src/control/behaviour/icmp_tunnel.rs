//! Tunnels inside pings: what programs of echo requests never do.
//!
//! Per host of ours and another, over five minutes: echoes whose sizes change, answers that are larger or smaller than
//! their questions or more than there were (RFC 792: an echo comes back as it was), and so many identifiers as if a program
//! were begun for each echo. A flow of pings has one identifier and one size. One of the first two is told; of many identifiers, and
//! of echoes quicker than any monitor's for half a minute, at the lowest severity, and only to the outside: inside monitors do so.
//!
//! What people do with pings is none of it: who looks for the largest packet tries some dozens of sizes, of which the large ones are
//! lost (so sizes need sixty echoes, and what is lost makes no answer another one); hosts that send back less of a large echo
//! than they got send all of them alike; a check begins a program each few seconds; a flood of pings lasts for a moment.
//!
//! Whoever sends echoes of one size, slowly, below one identifier, is not seen: what is in them nobody looks at.

use super::count::{Distinct, hash, rounded};
use super::observation::{Flow, Observation};
use super::prevalence::Usual;
use crate::dataplane::detect::cold::{self, ColdMap, Touched};
use crate::dataplane::detect::{Detector, Evidence, Relation, Term};
use crate::exchange::FlowSummary;
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};

/// Thresholds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Distinct sizes of echoes to one host within five minutes.
    pub sizes: f64,
    /// Echoes and answers from which sizes tell something: twice what a search for the largest packet takes.
    pub echoes: f64,
    /// Answers beyond those asked for.
    pub unasked: f64,
    /// Distinct identifiers: one each three seconds.
    pub identifiers: f64,
    /// Echoes a second, over thirty seconds at least.
    pub rate: f64,
    /// Pairs of hosts remembered, some 200 bytes each.
    pub pairs: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { sizes: 8.0, echoes: 60.0, unasked: 6.0, identifiers: 100.0, rate: 6.0, pairs: 1 << 12 }
    }
}

impl Settings {
    /// Bytes of the detector at most.
    pub fn memory(&self) -> usize {
        cold::bytes::<(u128, u128), Pair>(self.pairs)
    }
}

/// Does a flow begin with a request for an echo (RFC 792, RFC 4443)?
pub fn is_echo(flow: &FlowSummary) -> bool {
    let [first, _] = flow.icmp;
    matches!((flow.key.protocol(), first), (1, Some((8, _))) | (58, Some((128, _))))
}

/// Echoes are counted together for so long.
const WINDOW_NS: u64 = 300 * SECOND;
/// Echoes of a flow from which its sizes, and those of its answers, are compared.
const ECHOES_MIN: u64 = 8;
/// Bytes by which the mean answer must differ from the mean question where none was lost, and where some were: more than what
/// a lost echo of another size makes.
const DIFFERENCE: [f64; 2] = [1.0, 4.0];
/// Share of echoes that must be answered for the second.
const ANSWERED: f64 = 0.9;
/// Echoes a second up to which shorter answers, all of one size, are those of a host that sends back so much of any echo.
const SHORTENED_RATE: f64 = 2.0;
/// Least number and least time of echoes of which the rate is judged.
const FAST: (u64, u64) = (100, 30 * SECOND);
/// Evidence of what goes on comes again after so long; it makes one alert.
const AGAIN_NS: u64 = 30 * SECOND;
/// Bytes both ways from which a tunnel of two signs has the highest severity.
const CARRIED: u64 = 16 << 10;

/// A host of ours and one outside.
struct Pair {
    since: Timestamp,
    touched: Timestamp,
    identifiers: u64,
    sizes: Distinct<2>,
    /// Echoes of flows in which sizes change.
    varied: u64,
    /// Answers beyond questions.
    unasked: u64,
    /// The largest difference of mean sizes of a flow.
    difference: f64,
    /// The highest rate of a flow.
    rate: f64,
    packets: [u64; 2],
    bytes: u64,
    told: Told,
    told_at: Timestamp,
}

/// How much was told of a pair in its window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Told {
    #[default]
    Nothing,
    Odd,
    Tunnel,
    Certain,
}

impl Touched for Pair {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// The detector.
pub struct IcmpTunnel {
    settings: Settings,
    pairs: ColdMap<(u128, u128), Pair>,
}

impl IcmpTunnel {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> IcmpTunnel {
        IcmpTunnel { pairs: ColdMap::new(settings.pairs), settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Pairs forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.pairs.forgotten()
    }

    /// A flow of a host of ours; `usual`: how usual its server outside is.
    pub fn observe(&mut self, seen: &Observation, flow: &Flow, usual: Option<&Usual>, out: &mut Vec<Evidence>) {
        if !flow.is_echo {
            return;
        }
        let (settings, now) = (self.settings, seen.told);
        let fresh = || Pair {
            since: now,
            touched: now,
            identifiers: 0,
            sizes: Distinct::default(),
            varied: 0,
            unasked: 0,
            difference: 0.0,
            rate: 0.0,
            packets: [0; 2],
            bytes: 0,
            told: Told::default(),
            told_at: now,
        };
        let pair = self.pairs.entry((flow.client.address, flow.server.address), fresh);
        pair.touched = pair.touched.max(now);
        if now.since(pair.since) >= WINDOW_NS {
            *pair = fresh();
        }
        let is_odd = pair.add(flow, &settings);
        let is_usual = usual.is_none_or(Usual::is_popular);
        pair.decide(seen, flow, (is_usual, is_odd), &settings, out);
    }
}

impl Pair {
    /// Adds a flow; is it one that no ping is?
    fn add(&mut self, flow: &Flow, settings: &Settings) -> bool {
        let [asked, answered] = flow.packets;
        let [out, back] = flow.payload;
        let flow_packets = asked + answered;
        self.identifiers += u64::from(flow.is_new);
        for (mine, packets) in self.packets.iter_mut().zip(flow.packets) {
            *mine += packets;
        }
        self.bytes = self.bytes.saturating_add(flow.bytes.iter().sum());
        if let Some(size) = out.checked_div(asked) {
            self.sizes.insert(hash(size));
        }
        let is_varied =
            [(out, asked), (back, answered)].iter().any(|(bytes, packets)| *packets > 0 && bytes % packets != 0);
        let is_varied = is_varied && asked + answered >= ECHOES_MIN;
        if is_varied {
            self.varied = self.varied.saturating_add(flow_packets);
        }
        let unasked = answered.saturating_sub(asked);
        self.unasked = self.unasked.max(unasked);
        let mut is_odd = is_varied || unasked as f64 >= settings.unasked;
        if asked >= ECHOES_MIN / 2 && answered >= ECHOES_MIN / 2 && !is_shortened(flow) {
            let difference = (out as f64 / asked as f64 - back as f64 / answered as f64).abs();
            let [least, least_lost] = DIFFERENCE;
            let is_whole = asked == answered;
            let is_known = is_whole || answered as f64 >= ANSWERED * asked as f64;
            if is_known && difference >= if is_whole { least } else { least_lost } {
                self.difference = self.difference.max(difference);
                is_odd = true;
            }
        }
        if asked >= FAST.0 && flow.length_ns >= FAST.1 {
            self.rate = self.rate.max(asked as f64 * SECOND as f64 / flow.length_ns as f64);
        }
        is_odd
    }

    fn decide(
        &mut self,
        seen: &Observation,
        flow: &Flow,
        (is_usual, is_odd): (bool, bool),
        settings: &Settings,
        out: &mut Vec<Evidence>,
    ) {
        let sizes = self.sizes.estimate();
        // One sign each, however often: sizes, answers, identifiers.
        let [asked, answered] = self.packets;
        let is_many = |packets: u64| packets as f64 >= settings.echoes;
        let of_sizes = is_many(self.varied) || sizes >= settings.sizes && is_many(asked + answered);
        let of_answers = self.difference > 0.0 || self.unasked as f64 >= settings.unasked;
        let of_identifiers = self.identifiers as f64 >= settings.identifiers && !is_usual;
        let of_rate = self.rate >= settings.rate && !is_usual;
        let signs = [of_sizes, of_answers, of_identifiers].iter().filter(|one| **one).count();
        let (told, severity, kind) = match (of_sizes || of_answers, signs) {
            (true, 2..) if self.bytes >= CARRIED => (Told::Certain, 1, "tunnel"),
            (true, _) => (Told::Tunnel, 2, "tunnel"),
            (false, 1..) => (Told::Odd, 3, "many_identifiers"),
            _ if of_rate => (Told::Odd, 3, "fast_echoes"),
            _ => return,
        };
        let goes_on = (is_odd || told == Told::Odd) && seen.told.since(self.told_at) >= AGAIN_NS;
        if told <= self.told && !goes_on {
            return;
        }
        (self.told, self.told_at) = (told.max(self.told), seen.told);
        let against = |term: Term, holds: bool, threshold: f64| {
            if holds { term.against(Relation::AtLeast, threshold) } else { term }
        };
        let terms = vec![
            against(Term::exact("distinct_sizes", sizes), of_sizes && sizes >= settings.sizes, settings.sizes),
            against(Term::exact("echoes_of_changing_size", self.varied as f64), is_many(self.varied), settings.echoes),
            against(
                Term::exact("answers_nobody_asked_for", self.unasked as f64),
                self.unasked as f64 >= settings.unasked,
                settings.unasked,
            ),
            against(
                Term::exact("answer_differs_bytes", rounded(self.difference)),
                self.difference > 0.0,
                DIFFERENCE[0],
            ),
            against(Term::exact("distinct_identifiers", self.identifiers as f64), of_identifiers, settings.identifiers),
            against(Term::exact("echoes_a_second", rounded(self.rate)), of_rate, settings.rate),
            Term::exact("echoes", asked as f64),
            Term::exact("answers", answered as f64),
            Term::exact("carried_bytes", self.bytes as f64),
        ];
        let (client, server) = (flow.client.ip(), flow.server.ip());
        let what = match kind {
            "tunnel" => {
                "as no ping does (sizes that change, or answers unlike their questions): data inside ICMP, such as a tunnel"
            }
            "many_identifiers" => "each as of another program: data inside ICMP, or a script that pings",
            _ => "without a pause",
        };
        out.push(Evidence {
            severity,
            confidence: (0.4 + 0.2 * signs as f64).min(1.0),
            source: Some(client),
            target: Some(server),
            summary: format!(
                "{client} and {server} exchange {asked} echoes and {answered} answers within five minutes, {what}"
            ),
            terms,
            technique: Some("T1095".into()),
            flow: seen.origin.flow(true),
            ..seen.evidence(Detector::IcmpTunnel, kind)
        });
    }
}

/// Are the answers all of one size and shorter than their questions, which are too, slowly, and no more than there were?
fn is_shortened(flow: &Flow) -> bool {
    let ([asked, answered], [out, back]) = (flow.packets, flow.payload);
    let size = |bytes: u64, packets: u64| bytes.checked_div(packets).filter(|size| size * packets == bytes);
    let is_shorter = size(out, asked).zip(size(back, answered)).is_some_and(|(out, back)| back < out);
    let seconds = flow.length_ns.max(SECOND) as f64 / SECOND as f64;
    is_shorter && answered <= asked && asked as f64 <= SHORTENED_RATE * seconds + 1.0
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use super::*;

    fn found(wire: &Wire) -> Vec<String> {
        wire.evidence().into_iter().filter(|one| one.detector == Detector::IcmpTunnel).map(|one| one.kind).collect()
    }

    /// Flows of echoes, one each `pause`: packets and payload of each by its number.
    fn echoes(count: u64, pause: u64, of: impl Fn(u64) -> ([u64; 2], [u64; 2], u64)) -> Wire {
        let mut wire = Wire::default();
        for number in 0..count {
            let (packets, bytes, length) = of(number);
            wire.echoes(number * pause, (host(1), outside(9)), (packets, bytes), length);
        }
        wire
    }

    #[test]
    fn data_in_echoes_is_told() {
        for (what, wire, wanted) in [
            ("sizes that change", echoes(1, SECOND, |_| ([80, 80], [4601, 4601], 15 * SECOND)), "tunnel"),
            ("answers that nobody asked for", echoes(1, SECOND, |_| ([24, 40], [2160, 3600], 7 * SECOND)), "tunnel"),
            ("answers unlike the questions", echoes(1, SECOND, |_| ([24, 24], [2160, 9600], 7 * SECOND)), "tunnel"),
            ("a size for each", echoes(70, SECOND, |number| ([1, 1], [40 + number; 2], SECOND)), "tunnel"),
            ("an identifier for each", echoes(120, SECOND, |_| ([1, 1], [64; 2], SECOND)), "many_identifiers"),
            ("many a second", echoes(1, SECOND, |_| ([400, 400], [25_600; 2], 40 * SECOND)), "fast_echoes"),
        ] {
            assert_eq!(found(&wire), [wanted], "{what}");
            let all = wire.evidence();
            assert!(all[0].terms.iter().any(|term| term.threshold.is_some()), "{what}: {all:?}");
        }
        // Few and small.
        for (what, wire) in [
            ("answers of other sizes", echoes(1, SECOND, |_| ([60, 60], [1204, 1321], 30 * SECOND))),
            ("larger answers", echoes(1, SECOND, |_| ([20, 20], [400, 440], 20 * SECOND))),
            ("shorter ones, quickly", echoes(1, SECOND, |_| ([200, 200], [200 * 1024, 200 * 28], 20 * SECOND))),
            (
                "pieces of a conversation",
                echoes(12, 10 * SECOND, |number| ([5, 5], [101 + number, 101 + number], 5 * SECOND)),
            ),
        ] {
            assert_eq!(found(&wire).first().map(String::as_str), Some("tunnel"), "{what}");
        }
        // Told again where it is worse: all signs, and bytes; and while it goes on.
        let wire = echoes(40, SECOND, |number| ([10, 17], [10 * (100 + number), 17 * (300 + number)], 2 * SECOND));
        let severities: Vec<_> = wire.evidence().iter().map(|one| one.severity).collect();
        assert_eq!(severities, [2, 1, 1]);
    }

    #[test]
    fn pings_are_quiet() {
        for (what, wire) in [
            ("a ping", echoes(1, SECOND, |_| ([20, 20], [1280; 2], 20 * SECOND))),
            ("a ping with losses", echoes(1, SECOND, |_| ([20, 11], [1280, 704], 20 * SECOND))),
            ("a monitor", echoes(60, 60 * SECOND, |_| ([4, 4], [256; 2], 3 * SECOND))),
            ("the largest packet", echoes(6, 5 * SECOND, |number| ([3, 3], [3 * (1400 + number); 2], 2 * SECOND))),
            ("an hour of pings", echoes(1, SECOND, |_| ([3600, 3599], [230_400, 230_336], 3600 * SECOND))),
            (
                "a search for the largest packet",
                echoes(14, 4 * SECOND, |number| {
                    let back = if number % 2 == 0 { 3 } else { 0 };
                    ([3, back], [3 * (1500 - number * 7), back * (1500 - number * 7)], 2 * SECOND)
                }),
            ),
            (
                "sizes in one run, of which large ones are lost",
                echoes(1, SECOND, |_| ([30, 20], [42_315, 24_013], 30 * SECOND)),
            ),
            (
                "large ones that come back short",
                echoes(1, SECOND, |_| ([300, 299], [300 * 1400, 299 * 64], 300 * SECOND)),
            ),
            ("a flood for a moment", echoes(1, SECOND, |_| ([9000, 9000], [504_000; 2], 10 * SECOND))),
            ("a check each five seconds", echoes(60, 5 * SECOND, |_| ([2, 2], [112; 2], SECOND))),
            ("answered twice", echoes(1, SECOND, |_| ([20, 24], [1280, 1536], 20 * SECOND))),
        ] {
            assert_eq!(found(&wire), [""; 0], "{what}");
        }
        // Inside a monitor may ping as it likes, but nobody changes its sizes.
        let mut wire = Wire::default();
        (0..40).for_each(|turn| wire.echoes(turn * SECOND, (host(1), host(2)), ([1, 1], [64, 64]), SECOND / 10));
        assert_eq!(found(&wire), [""; 0]);
        wire.echoes(0, (host(1), host(2)), ([80, 80], [4601, 4601]), SECOND);
        assert_eq!(found(&wire), ["tunnel"]);
    }

    /// What half of the network pings is a resolver or a clock.
    #[test]
    fn what_everybody_pings_is_no_secret() {
        let mut wire = Wire::default();
        for number in 0..200 {
            let ends = (host(1 + number % 5), outside(9));
            wire.echoes(u64::from(number) * SECOND, ends, ([1, 1], [64, 64]), SECOND / 10);
        }
        assert_eq!(found(&wire), [""; 0]);
    }
}
