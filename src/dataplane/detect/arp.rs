//! Sweeps of the own network by ARP: one host asks for very many neighbours at once.
//!
//! *Observer*: per asker and second, bitmaps of the hosts asked for and of those that answered. Announcements and address
//! probes ask for nobody.
//!
//! *Decider*, by extent: distinct neighbours over two seconds, set to what sweeping tools do (some hundreds a second) and
//! hosts do not. Answers go to the asker alone, so a tap on another port of the switch sees none; where they are seen and nine
//! in ten answer, it is somebody who knows his neighbours (a monitor that begins its round). *By silence*, where answers to the
//! asker are seen: distinct neighbours over half a minute to a minute that did not answer, because who knows his neighbours asks
//! for those that are there. *Slowly*: neighbours over hours who never spoke themselves and were not asked for over and over.
//!
//! Two ask for whoever others want, and are left alone: a router, for which traffic from outside comes in, and a server of
//! DHCP, which makes sure that nobody has an address before it offers it (RFC 2131 section 2.2). Both are known by their
//! neighbours, who ask for *them*: `arp_askers` of these, before it asked for them and at times when it did not sweep. And an
//! address that comes to life after it was asked for (a lease) is no hole. Whoever takes such a host over may sweep from it.
//!
//! What it cannot see: sweeps of fewer hosts, sweeps from routers, IPv6 (neighbour discovery).

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

/// Share of those asked for that answer whom somebody knows.
const KNOWN_SHARE: f64 = 0.9;

/// Neighbours that are remembered of one who asks, and of one who is asked for.
const KEPT: usize = 64;
const ASKERS: usize = 16;

/// Questions closer together are one: Linux asks three times, a second apart (`mcast_solicit`), and so do tools.
const ONE_NS: u64 = 30 * SECOND;

/// A neighbour that was asked for, when first and last, and how often.
#[derive(Clone, Copy)]
struct Asked {
    address: u128,
    first: Timestamp,
    last: Timestamp,
    times: u32,
}

/// An asker.
#[derive(Clone, Default)]
struct Asker {
    generations: [Generations; 2],
    /// Of each window one: of a slow sweep all.
    asked: Vec<Asked>,
    /// Slow sweeps are told when there are so many.
    next: f64,
    told: Option<Timestamp>,
}

impl Touched for Asker {
    fn touched(&self) -> Timestamp {
        let [fast, _] = &self.generations;
        fast.touched()
    }
}

impl Asker {
    fn note(&mut self, address: u128, now: Timestamp, horizon_s: u64) {
        self.asked.retain(|one| now.since(one.last) < horizon_s * SECOND);
        if let Some(one) = self.asked.iter_mut().find(|one| one.address == address) {
            one.times = one.times.saturating_add(u32::from(now.since(one.last) >= ONE_NS));
            one.last = now;
            return;
        }
        if self.asked.len() >= KEPT
            && let Some(oldest) = (0..self.asked.len()).min_by_key(|at| self.asked.get(*at).map(|one| one.last))
        {
            self.asked.swap_remove(oldest);
        }
        self.asked.push(Asked { address, first: now, last: now, times: 1 });
    }
}

/// A host that neighbours ask for.
#[derive(Clone, Default)]
struct Wanted {
    askers: Vec<u128>,
    /// It asked for somebody itself: it is there.
    spoke: Option<Timestamp>,
    touched: Timestamp,
}

impl Touched for Wanted {
    fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// Decides over the merged windows, in time order.
pub struct Decider {
    settings: Settings,
    askers: ColdMap<u128, Asker>,
    wanted: ColdMap<u128, Wanted>,
}

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(settings: Settings) -> Decider {
        let (askers, wanted) = (ColdMap::new(settings.sources / 8), ColdMap::new(settings.sources / 4));
        Decider { askers, wanted, settings }
    }

    /// Judges by other thresholds from now on; what it remembers, and how much it may, stays.
    pub fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Askers, and hosts asked for, forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.askers.forgotten() + self.wanted.forgotten()
    }

    /// From here on what is decided can be taken back.
    pub fn begin(&mut self) {
        self.askers.begin();
        self.wanted.begin();
    }

    /// Forgets what was decided since [`Decider::begin`].
    pub fn roll_back(&mut self) {
        self.askers.roll_back();
        self.wanted.roll_back();
    }

    /// Takes all askers of the window that begins at `start`, sorted.
    pub fn decide(&mut self, start: Timestamp, askers: &[(u128, Counts)], out: &mut Vec<Evidence>) {
        for (asker, counts) in askers.iter().filter(|(_, counts)| counts.sum(QUESTIONS) > 0) {
            self.wants(start, *asker, counts.peer.address);
        }
        for (asker, counts) in askers {
            self.one(start, *asker, counts, out);
        }
    }

    /// `asker` is there, and wants another host, which is somebody if it sweeps nothing itself.
    fn wants(&mut self, start: Timestamp, asker: u128, asked: u128) {
        let most = self.settings.arp_silent;
        // Whom it asked for first confirms that it is there: those are its peers and victims, not its clients.
        let came_first = |state: &Asker| !state.asked.iter().any(|one| one.address == asker);
        let is_client = self.askers.existing(&asked).is_none_or(|state| came_first(state));
        let sweeps = self.askers.existing(&asked).is_some_and(|state| {
            let [_, minute] = &state.generations;
            state.told.is_some_and(|at| start.since(at) < 3600 * SECOND)
                || (start.since(minute.touched()) < 2 * LENGTHS_NS[1] && minute.distinct(ASKED) >= most)
        });
        let speaker = self.wanted.entry(asker, Wanted::default);
        (speaker.spoke, speaker.touched) = (Some(start), start);
        let wanted = self.wanted.entry(asked, Wanted::default);
        wanted.touched = start;
        if is_client && !sweeps && wanted.askers.len() < ASKERS && !wanted.askers.contains(&asker) {
            wanted.askers.push(asker);
        }
    }

    fn one(&mut self, start: Timestamp, asker: u128, counts: &Counts, out: &mut Vec<Evidence>) {
        let settings = self.settings;
        let state = self.askers.entry(asker, Asker::default);
        if counts.sum(QUESTIONS) > 0 {
            state.note(counts.peer.address, start, settings.slow_horizon_s);
        }
        let wanted = &mut self.wanted;
        let is_known = wanted.existing(&asker).is_some_and(|one| one.askers.len() as f64 >= settings.arp_askers);
        // Those that came to life since they were asked for.
        let mut lives = |one: &Asked| {
            wanted.existing(&one.address).is_some_and(|host| host.spoke.is_some_and(|at| at.after(SECOND) >= one.first))
        };
        for (is_silence, length) in [false, true].into_iter().zip(LENGTHS_NS) {
            let Some(generations) = state.generations.get_mut(usize::from(is_silence)) else { continue };
            let (total, _) = generations.add(start, length, counts);
            let (asked, answered) = (total.bitmap(ASKED), total.bitmap(ANSWERED));
            let questions = u64::from(total.sum(QUESTIONS));
            let all_hosts = Estimate::of(&asked, questions);
            let silent = Estimate::of(&distinct::without(&asked, &answered), questions);
            let came = state.asked.iter().filter(|one| start.since(one.last) < 2 * length && lives(one)).count() as f64;
            let hosts = if is_silence { silent } else { all_hosts };
            let least = if is_silence { settings.arp_silent } else { settings.arp_hosts };
            let is_odd = match is_silence {
                false => silent.value > (1.0 - KNOWN_SHARE) * all_hosts.value,
                true => distinct::ones(&answered) > 0 && hosts.value - came >= least,
            };
            if is_odd && hosts.value >= least && counts.sum(QUESTIONS) > 0 && !is_known {
                let all = generations.told(start, &total);
                state.told = Some(start);
                out.push(evidence(asker, &total, counts.last, (hosts, least, is_silence), &all));
                // Once a second is enough.
                return;
            }
        }
        // Whoever was told lately is told.
        let is_told = state.told.is_some_and(|at| start.since(at) < settings.slow_span_s * SECOND);
        if counts.sum(QUESTIONS) == 0 || is_known || is_told {
            return;
        }
        let repeats = settings.slow_repeats;
        let never = |one: &&Asked| f64::from(one.times) < repeats && !lives(one);
        let silent: Vec<Asked> = state.asked.iter().filter(never).copied().collect();
        let count = silent.len() as f64;
        let first = silent.iter().map(|one| one.first).min().unwrap_or(start);
        if count < settings.arp_slow {
            state.next = settings.arp_slow;
        } else if count >= state.next && start.since(first) >= settings.slow_span_s * SECOND {
            state.next = 2.0 * count;
            out.push(slow(&settings, asker, counts, count, start.since(first) / SECOND));
        }
    }
}

fn of_asker(asker: u128, peer: &Peer, time: Timestamp) -> Evidence {
    let [_, _, a, b, c, d, e, f] = peer.flow.rest.to_be_bytes();
    Evidence {
        detector: Detector::Scan,
        kind: KIND.to_owned(),
        time,
        severity: 3,
        confidence: 0.7,
        source: Some(Endpoint { address: asker, port: 0 }.ip()),
        target: None,
        port: None,
        protocol: None,
        summary: String::new(),
        terms: Vec::new(),
        flow: None,
        source_mac: Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")),
        tunnel: None,
        technique: Some("T1018".into()),
        window: None,
        row: None,
    }
}

fn slow(settings: &Settings, asker: u128, counts: &Counts, hosts: f64, span_s: u64) -> Evidence {
    let source = Endpoint { address: asker, port: 0 }.ip();
    Evidence {
        summary: format!(
            "{source} slowly asked for {hosts} neighbours by ARP, within {} minutes, none of which has spoken itself",
            span_s / 60
        ),
        terms: vec![
            Term::exact("silent_neighbours", hosts).against(Relation::AtLeast, settings.arp_slow),
            Term::exact("first_to_latest_s", span_s as f64).against(Relation::AtLeast, settings.slow_span_s as f64),
        ],
        ..of_asker(asker, &counts.peer, counts.last)
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
    let (name, what) = match is_silence {
        false => ("distinct_neighbours", "by ARP within two seconds"),
        true => ("silent_neighbours", "by ARP within a minute that do not answer"),
    };
    Evidence {
        confidence: (1.0 - 0.3 * least / hosts.value).clamp(0.5, 0.9),
        summary: format!(
            "{source} asked for {hosts} neighbours {what}; since it began {questions} questions for {neighbours}"
        ),
        terms: vec![
            Term::distinct(name, hosts).against(Relation::AtLeast, least),
            Term::exact("arp_requests", f64::from(total.sum(QUESTIONS))),
            Term::exact("arp_requests_since_start", questions as f64),
        ],
        ..of_asker(asker, &total.peer, time)
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

    /// Questions of `(second, asker, asked)`, nobody's answer of which is seen but to the first of a second.
    fn found_among(mut questions: Vec<(u64, u32, u32)>) -> Vec<String> {
        questions.sort_unstable();
        let key = HashKey::new([1, 2, 3, 4]);
        let mut decider = Decider::new(Settings::default());
        let mut out = Vec::new();
        let mut windows: std::collections::BTreeMap<u64, std::collections::BTreeMap<u128, Counts>> = Default::default();
        for (second, asker, asked) in questions {
            let counts = windows.entry(second).or_default().entry(v4(asker)).or_insert(Counts::ZERO);
            count(ArpQuestion { asker, mac: [2, 0, 0, 0, 0, 1], asked }, &key, counts);
            // Somebody is there, so that silence means something.
            count_answer(ArpAnswer { asker, answered: 0x0a00_0001 }, &key, counts);
        }
        for (second, window) in windows {
            let all: Vec<(u128, Counts)> = window.into_iter().collect();
            decider.decide(Timestamp((100_000 + second) * SECOND), &all, &mut out);
        }
        out.into_iter().map(|one| one.source.unwrap().to_string()).collect()
    }

    const ROUTER: u32 = 0x0a00_0001;
    const OTHERS: u32 = 0x0a00_0100;

    #[test]
    fn who_is_asked_for_by_many_may_ask_for_whoever_they_want() {
        // Sixteen hosts ask for their router; then it is asked from outside for all of its network, quickly and slowly.
        let clients: Vec<_> = (0..16).map(|host| (u64::from(host) * 3, OTHERS + host, ROUTER)).collect();
        let fast = |asker: u32| (0..254).map(move |host| (200, asker, OTHERS + 1000 + host));
        let medium = |asker: u32| (0..254_u32).map(move |host| (200 + u64::from(host), asker, OTHERS + 1000 + host));
        let slow =
            |asker: u32| (0..120_u32).map(move |host| (200 + 120 * u64::from(host), asker, OTHERS + 1000 + host));
        let of = |sweep: Vec<(u64, u32, u32)>| {
            let mut all = clients.clone();
            all.extend(sweep);
            found_among(all)
        };
        for (what, of_router, of_host) in [
            ("at once", fast(ROUTER).collect(), fast(OTHERS).collect()),
            ("one a second", medium(ROUTER).collect(), medium(OTHERS).collect()),
            ("one each two minutes", slow(ROUTER).collect::<Vec<_>>(), slow(OTHERS).collect::<Vec<_>>()),
        ] {
            assert_eq!(of(of_router), [""; 0], "{what}");
            let found = of(of_host);
            assert!(!found.is_empty() && found.iter().all(|source| source == "10.0.1.0"), "{what}: {found:?}");
        }
        // A host that talks to many, who then make sure of it, is none either.
        let mut peers: Vec<_> = (0..16).map(|host| (u64::from(host) * 3, OTHERS, OTHERS + 1 + host)).collect();
        peers.extend((0..16).map(|host| (60 + u64::from(host) * 3, OTHERS + 1 + host, OTHERS)));
        peers.extend(fast(OTHERS));
        assert!(!found_among(peers).is_empty());
        // Whoever sweeps first is nobody, however many ask for him then: they make sure of whom they answered.
        let mut late: Vec<_> = medium(OTHERS).collect();
        late.extend((0..60).map(|host| (440 + u64::from(host), OTHERS + 1000 + host, OTHERS)));
        late.extend(medium(OTHERS).map(|(second, asker, asked)| (second + 400, asker, asked)));
        assert!(found_among(late).len() > 100);
    }

    #[test]
    fn what_is_offered_by_dhcp_and_what_is_gone_is_no_sweep() {
        // A server asks for each address before it offers it; a moment later who got it asks for the router.
        let mut leases = Vec::new();
        for turn in 0..200_u32 {
            leases.push((u64::from(turn) * 2, 0x0a00_0002, OTHERS + turn));
            leases.push((u64::from(turn) * 2 + 1, OTHERS + turn, ROUTER));
        }
        assert_eq!(found_among(leases), [""; 0]);
        // A monitor whose hosts are down, and one whose hosts are there.
        let down = (0..4000_u32).map(|turn| (u64::from(turn) * 10, OTHERS, OTHERS + 1000 + turn % 40)).collect();
        assert_eq!(found_among(down), [""; 0], "asked for again and again");
        let known = |step| found_of(200, 3, step, 196);
        assert!(known(SECOND / 1000).is_empty(), "a monitor that begins its round");
        assert!(!found_of(200, 3, SECOND / 1000, 100).is_empty(), "a sweep of a network that is half empty");
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
