//! Pairs and responses that are not there, for the tests of the API and the live page: the kernel's maps as far as these need them.
#![allow(dead_code)] // each test binary uses its own part

use shrike::clock::Clock;
use shrike::config;
use shrike::control::alert::Alert;
use shrike::control::respond::live::LiveResponses;
use shrike::control::view::PairView;
use shrike::dataplane::capture::xdp::{
    AttachMode, ByCause, Cause, Direction, Fail, InterfaceState, InterfaceStatus, LinkPolicy, LinkStatus, PairStatus,
    PortCounts, SymmetricRss,
};
use shrike::dataplane::decode::FlowKey;
use shrike::dataplane::detect::FlowRef;
use shrike::dataplane::verdict::{Enforcer, Hits, Rule, Subject, VerdictError};
use shrike::exchange::Proved;
use shrike::units::Timestamp;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The kernel's maps; whatever is there was hit `hits` times.
#[derive(Default)]
pub struct Maps {
    /// What is asked of them.
    pub held: Mutex<BTreeMap<Subject, Rule>>,
    /// What each subject counts.
    pub hits: Hits,
}

impl Maps {
    /// How many subjects they hold.
    pub fn held(&self) -> usize {
        self.held.lock().expect("maps").len()
    }

    /// They forget.
    pub fn clear(&self) {
        self.held.lock().expect("maps").clear();
    }
}

impl Enforcer for Maps {
    fn put(&self, verdicts: &[(Subject, Rule)]) -> Result<(), VerdictError> {
        self.held.lock().expect("maps").extend(verdicts.iter().copied());
        Ok(())
    }
    fn remove(&self, subjects: &[Subject]) -> Result<(), VerdictError> {
        let mut maps = self.held.lock().expect("maps");
        subjects.iter().for_each(|subject| {
            maps.remove(subject);
        });
        Ok(())
    }
    fn get(&self, subject: &Subject) -> Result<Option<(Rule, Hits)>, VerdictError> {
        Ok(self.held.lock().expect("maps").get(subject).map(|rule| (*rule, self.hits)))
    }
    fn list(&self) -> Result<Vec<(Subject, Rule, Hits)>, VerdictError> {
        Ok(self.held.lock().expect("maps").iter().map(|(subject, rule)| (*subject, *rule, self.hits)).collect())
    }
}

/// Responses over these maps, as that configuration says, kept in `folder`.
pub fn responses(folder: &Path, configuration: &str, enforcer: Option<Arc<dyn Enforcer>>) -> LiveResponses {
    let plan = config::parse("t.toml", configuration, std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
    let home = vec!["10.0.0.0/8".parse().expect("a network")];
    let mut plan = plan.respond.live(&folder.join("alerts.db"), home, Vec::new());
    // What this machine is called is no part of a test.
    plan.machine = folder.to_owned();
    LiveResponses::start(plan, enforcer, Clock::new()).expect("it starts")
}

/// A playbook that asks and one that does not.
pub const PLAYBOOKS: &str = "
[[playbook]]
name = \"floods\"
mode = \"ask\"
detectors = [\"flood\"]
proven = false
protocol = \"rate_limit\"
parameters = { destination = \"{target}\", protocol = \"tcp\", only_syn = true, per_second = 100 }
[[playbook]]
name = \"guesses\"
mode = \"auto\"
detectors = [\"brute_force\"]
severity = 2
protocol = \"block_ip\"
";

/// An alert of a detector, of `like`'s form.
pub fn raised(like: &Alert, detector: &str, source: Option<&str>) -> Alert {
    let mut alert = serde_json::to_value(like).expect("an alert");
    alert["detector"] = serde_json::json!(detector);
    alert["severity"] = serde_json::json!(1);
    alert["source"] = serde_json::json!(source);
    alert["target"] = serde_json::json!("10.0.0.9");
    alert["flow"] = serde_json::json!(source.map(|source| connection(source.parse().expect("an address"))));
    serde_json::from_value(alert).expect("an alert")
}

/// The connection to 10.0.0.9:22 that alerts of this source rest on, whose handshake was completed.
pub fn proved(source: [u8; 4]) -> Proved {
    let flow = connection(source.into());
    Proved {
        source: flow.source,
        destination: flow.destination,
        flow: flow.flow_id.expect("a number"),
        is_probe: false,
    }
}

fn connection(source: Ipv4Addr) -> FlowRef {
    let (key, originator) = FlowKey::v4(source.into(), 999, u32::from_be_bytes([10, 0, 0, 9]), 22, 6, 0);
    FlowRef::new(&key, (originator, Timestamp(1)), None, [None; 2])
}

/// Two pairs after so many quarter seconds: one inspects, one may be bypassed, or stand still.
pub fn pairs(tick: u64, bypassed: bool, broken: bool) -> Vec<PairView> {
    let port = |interface: &str, state: InterfaceState| InterfaceStatus {
        interface: interface.into(),
        driver: "igb".into(),
        attached: AttachMode::Native,
        refused: Vec::new(),
        shared: false,
        queues_in_use: 2,
        queues: Vec::new(),
        waiting: Vec::new(),
        rss: SymmetricRss::OneQueue,
        taken_over: true,
        rearmed: 0,
        bypass_uncounted: None,
        mtu_bytes: 1500,
        up: state == InterfaceState::Running || !interface.ends_with('0'),
        state,
    };
    let of = |counts: [(Cause, u64); 2]| {
        let by = |cause: Cause| counts.iter().filter(|(of, _)| *of == cause).map(|(_, count)| count).sum();
        ByCause(Cause::ALL.map(by))
    };
    let direction = |from: &str, to: &str, rate: u64, way: u64| {
        let received = tick * rate / 4;
        let dropped_prefix = received / 90;
        let crossed = if bypassed { received / 3 } else { 1_250 };
        let lost = if broken { 37 } else { 0 };
        Direction {
            from: from.into(),
            to: to.into(),
            received,
            program: PortCounts {
                dropped_prefix,
                dropped_signature: way * 8_112,
                shunted: received / 5,
                bypassed: of([(Cause::Stop, crossed), (Cause::Hang, way * 12)]),
                withheld: of([(Cause::TooLong, lost), (Cause::Store, 0)]),
                ..PortCounts::default()
            },
            redirected: received - dropped_prefix - received / 5 - crossed - way * 8_124 - lost,
            refused: 0,
            taken: received - dropped_prefix - received / 5 - crossed - way * 8_124 - lost,
            sent: received - dropped_prefix - received / 5 - crossed - way * 8_124 - lost,
            tx_refused: lost,
            abandoned: 0,
            lost_at_death: 0,
            lost_in_hands: 0,
            rebuilds: 0,
            came_meanwhile: 0,
        }
    };
    let pair = |name: &str, ports: [&str; 2], rates: [u64; 2], closed: bool| PairView {
        status: PairStatus {
            name: name.into(),
            ports: ports
                .map(|name| port(name, if broken { InterfaceState::NoCarrier } else { InterfaceState::Running })),
            queues: Vec::new(),
            waiting: Vec::new(),
            bypassed: bypassed && !closed,
            said: Vec::new(),
            policy: ByCause([if closed { Fail::Closed } else { Fail::Open }; 7]),
            beat_limit_ns: 5_000_000,
            beat_age_ns: if broken { 61_000_000_000 } else { 310_000 },
            link: LinkStatus { policy: LinkPolicy::Follow, held: [broken, false], kept: true, ..LinkStatus::default() },
            link_trouble: None,
        },
        directions: [direction(ports[0], ports[1], rates[0], 1), direction(ports[1], ports[0], rates[1], 0)],
    };
    vec![
        pair("uplink", ["enp1s0f0", "enp1s0f1"], [84_000, 131_000], false),
        pair("plant", ["enp3s0f0", "enp3s0f1"], [12_400, 9_800], true),
    ]
}
