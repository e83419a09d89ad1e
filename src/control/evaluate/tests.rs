//! Alerts made by hand against labels made by hand.

use super::statistics::quantile;
use super::*;
use crate::control::alert::Alert;
use crate::dataplane::detect::{Detector, Evidence, FlowRef, WindowRef, fixtures};
use crate::units::{SECOND, Timestamp};
use proptest::prelude::*;
use std::net::IpAddr;

/// Second in which the recording begins.
const START: u64 = 1_700_000_000;

const LABELS: &str = r#"{"format": 1, "capture": "traffic.pcap", "flows": "flows.csv", "synthetic": false,
  "subnet": "10.0.0.0/24", "subnet6": "fd00::/64",
  "hosts": [
    {"name": "h0", "role": "server", "address": "10.0.0.1", "address6": "fd00::1", "inside": true, "more": []},
    {"name": "h1", "role": "attacker", "address": "10.0.0.66", "address6": "", "inside": true, "more": ["10.0.0.67"]},
    {"name": "h2", "role": "client", "address": "10.0.0.7", "address6": "", "inside": true, "more": []},
    {"name": "h3", "role": "lair", "address": "198.18.0.9", "address6": "", "inside": false, "more": []}],
  "episodes": [
    {"id": 1, "counts_as": "attack", "family": "scan", "tool": "nmap", "variant": {"way": "ports", "evasion": "slow"},
     "sources": ["10.0.0.66", "10.0.0.67"], "macs": ["02:00:00:00:00:66"], "targets": ["10.0.0.1"],
     "first_ns": 1700000010000000000, "last_ns": 1700000020000000000, "packets": 100},
    {"id": 2, "counts_as": "attack", "family": "brute_force", "tool": "hydra", "variant": {"way": "ssh"},
     "sources": ["10.0.0.66"], "macs": ["02:00:00:00:00:66"], "targets": ["10.0.0.1"],
     "first_ns": 1700000030000000000, "last_ns": 1700000040000000000, "packets": 100},
    {"id": 3, "counts_as": "attack", "family": "brute_force", "tool": "medusa", "variant": {"way": "ssh"},
     "sources": ["10.0.0.66"], "macs": ["02:00:00:00:00:66"], "targets": ["10.0.0.1"],
     "first_ns": 1700000060000000000, "last_ns": 1700000070000000000, "packets": 100},
    {"id": 4, "counts_as": "attack", "family": "flood", "tool": "hping3", "variant": {"evasion": "rand-source"},
     "sources": ["10.0.0.66"], "macs": [], "targets": ["10.0.0.1"],
     "first_ns": 1700000080000000000, "last_ns": 1700000090000000000, "packets": 100},
    {"id": 5, "counts_as": "attack", "family": "arp_spoofing", "tool": "arpspoof", "variant": {},
     "sources": ["10.0.0.66"], "macs": ["02:00:00:00:00:66"], "targets": ["10.0.0.7"],
     "first_ns": 1700000100000000000, "last_ns": 1700000110000000000, "packets": 100},
    {"id": 6, "counts_as": "attack", "family": "beacon", "tool": "curl", "variant": {},
     "sources": ["10.0.0.7"], "macs": [], "targets": ["198.18.0.9"], "first_ns": null, "last_ns": null, "packets": 0,
     "outcome": "exit 1, sent nothing"},
    {"id": 8, "counts_as": "attack", "family": "dns_tunnel", "tool": "iodine", "variant": {},
     "sources": ["10.0.0.7"], "macs": [], "targets": ["10.0.0.1", "198.18.0.9"],
     "first_ns": 1700000150000000000, "last_ns": 1700000160000000000, "packets": 100},
    {"id": 7, "counts_as": "benign", "family": "", "tool": "curl", "variant": {"way": "web_get"}, "sources": [],
     "targets": [], "first_ns": 1700000000000000000, "last_ns": 1700000120000000000, "packets": 10}]}"#;

const FLOWS: &str = "\
community_id,protocol,source,source_port,target,target_port,start_ns,end_ns,packets,answers,bytes,label,family,episode,cause,origin
,6,10.0.0.66,40000,10.0.0.1,22,1700000031000000000,1700000032000000000,9,4,900,attack,brute_force,2,ssh,
,6,10.0.0.66,40000,10.0.0.1,22,1700000061000000000,1700000062000000000,9,4,900,attack,brute_force,3,ssh,
,6,10.0.0.7,50000,10.0.0.1,21,1700000005000000000,1700000009000000000,9,4,900,benign,,,ftp_fetch+web_get,
,6,10.0.0.7,50001,10.0.0.1,80,1700000005000000000,1700000605000000000,9,4,900,benign,,,web_get,
,arp,10.0.0.1,0,10.0.0.7,0,1700000005000000000,1700000006000000000,2,1,84,background,,,neighbours,
";

fn truth() -> Truth {
    Truth::of_lab("small", LABELS, FLOWS, &Scope::default()).unwrap()
}

fn address(text: &str) -> Option<IpAddr> {
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn evidence(detector: Detector, kind: &str, second: u64, source: &str, target: &str) -> Evidence {
    Evidence {
        source: address(source),
        target: address(target),
        summary: "words".to_owned(),
        ..fixtures::evidence(detector, kind, Timestamp((START + second) * SECOND))
    }
}

fn flow(source: (&str, u16), target: (&str, u16), is_example: bool) -> Option<FlowRef> {
    Some(FlowRef {
        source: source.0.parse().unwrap(),
        source_port: source.1,
        destination: target.0.parse().unwrap(),
        destination_port: target.1,
        protocol: 6,
        flow_id: None,
        community_id: String::new(),
        vlans: Vec::new(),
        tunnel: None,
        application: None,
        is_example,
    })
}

fn alert(evidence: Evidence) -> Alert {
    Alert { id: String::new(), occurrences: 1, first_seen: evidence.time, evidence }
}

fn judged(found: impl IntoIterator<Item = Evidence>) -> Judged {
    let mut judge = Judge::new(truth());
    found.into_iter().for_each(|found| judge.alert(&alert(found)));
    judge.finish(0.0, 0, true)
}

#[test]
fn an_alert_belongs_to_the_attack_that_it_names() {
    use Detector::{BruteForce, Cleartext, Flood, Model, OddFlow, Scan, Spoofing};
    let (mallory, server, user) = ("10.0.0.66", "10.0.0.1", "10.0.0.7");
    let ssh =
        |found: Evidence, is_example| Evidence { flow: flow((mallory, 40000), (server, 22), is_example), ..found };
    let ftp = |found: Evidence| Evidence { flow: flow((user, 50000), (server, 21), false), ..found };
    let web = |found: Evidence| {
        let is_example = found.source != address(user);
        Evidence { flow: flow((server, 80), (user, 50001), is_example), ..found }
    };
    let card = |found: Evidence| Evidence { source_mac: Some("02:00:00:00:00:66".into()), ..found };
    let cases = [
        ("by address and time", evidence(Scan, "vertical", 12, mallory, server), Verdict::Hit, Some(1)),
        ("its other address", evidence(Scan, "vertical", 12, "10.0.0.67", server), Verdict::Hit, Some(1)),
        ("of no target", evidence(Scan, "horizontal", 12, mallory, ""), Verdict::Hit, Some(1)),
        ("a little later", evidence(Scan, "vertical", 25, mallory, server), Verdict::Hit, Some(1)),
        ("before it began", evidence(Scan, "vertical", 5, mallory, server), Verdict::False, None),
        ("long after", evidence(Scan, "vertical", 5000, mallory, server), Verdict::False, None),
        ("another source", evidence(Scan, "vertical", 12, user, server), Verdict::False, None),
        ("another target", evidence(Scan, "vertical", 12, mallory, "10.0.0.8"), Verdict::False, None),
        ("the name beats the nearest", evidence(Scan, "vertical", 35, mallory, server), Verdict::Hit, Some(1)),
        ("under another name", evidence(OddFlow, "odd_port", 12, mallory, server), Verdict::Other, Some(1)),
        ("the nearest in time", evidence(BruteForce, "ssh", 35, mallory, server), Verdict::Hit, Some(2)),
        ("that went before", evidence(BruteForce, "ssh", 55, mallory, server), Verdict::Hit, Some(2)),
        ("the flow's", ssh(evidence(BruteForce, "ssh", 69, mallory, server), false), Verdict::Hit, Some(3)),
        (
            "of the same ends before",
            ssh(evidence(BruteForce, "ssh", 58, mallory, server), false),
            Verdict::Hit,
            Some(2),
        ),
        ("an example's", ssh(evidence(BruteForce, "ssh", 65, mallory, server), true), Verdict::Hit, Some(3)),
        ("the flow's, misnamed", ssh(evidence(Scan, "vertical", 65, mallory, server), false), Verdict::Other, Some(3)),
        ("a model's family", evidence(Model, "brute_force", 65, mallory, server), Verdict::Hit, Some(3)),
        ("a model's rest", evidence(Model, "unusual", 65, mallory, server), Verdict::Other, Some(3)),
        ("of a pair's hour", evidence(Model, "scan", 3012, mallory, server), Verdict::Hit, Some(1)),
        ("of a host's minute, long after", evidence(Model, "scan", 3012, mallory, ""), Verdict::False, None),
        ("a forged source", evidence(Flood, "syn", 85, "203.0.113.9", server), Verdict::Hit, Some(4)),
        ("no source", evidence(Flood, "syn", 85, "", server), Verdict::Hit, Some(4)),
        ("honest beside a forged one", evidence(BruteForce, "database", 85, user, server), Verdict::False, None),
        ("honest, of who attacked", web(evidence(OddFlow, "odd_port", 12, mallory, server)), Verdict::False, None),
        ("a flood of another", evidence(Flood, "syn", 85, "203.0.113.9", "10.0.0.8"), Verdict::False, None),
        ("by its card", card(evidence(Spoofing, "arp_contest", 105, "10.0.0.99", "")), Verdict::Hit, Some(5)),
        ("of what sent nothing", evidence(Detector::Beacon, "beacon", 50, user, "198.18.0.9"), Verdict::False, None),
        ("passed on by a resolver", evidence(Detector::DnsTunnel, "tunnel", 155, server, ""), Verdict::Hit, Some(8)),
        ("and by nobody else", evidence(Scan, "vertical", 155, server, ""), Verdict::False, None),
        ("a true word of honest users", ftp(evidence(Cleartext, "ftp", 9, user, server)), Verdict::Confirmed, None),
        ("a word that nothing proves", web(evidence(Cleartext, "http_basic", 9, user, server)), Verdict::False, None),
        ("an honest flow", web(evidence(Model, "scan", 12, user, server)), Verdict::False, None),
    ];
    for (case, found, verdict, episode) in cases {
        let judged = judged([found]);
        let row = &judged.alerts[0];
        assert_eq!((row.verdict, row.episode), (verdict, episode), "{case}");
        let found: Vec<_> = judged.episodes.iter().filter(|row| row.found.is_some()).map(|row| row.id).collect();
        let expected: Vec<_> = episode.filter(|_| verdict == Verdict::Hit).into_iter().collect();
        assert_eq!(found, expected, "{case}");
    }
}

/// The evidence is of the latest packet; nobody was told before the window was over.
#[test]
fn what_is_said_of_a_window_is_found_at_its_end() {
    let found = Evidence {
        window: Some(WindowRef {
            begin: Timestamp(START * SECOND),
            end: Timestamp((START + 60) * SECOND),
            model: "host-v1".into(),
            version: "1".into(),
        }),
        ..evidence(Detector::Model, "scan", 12, "10.0.0.66", "")
    };
    let judged = judged([found]);
    assert_eq!(judged.alerts[0].time_ns, (START + 12) * SECOND);
    let after: Vec<_> = judged.episodes.iter().filter_map(|row| Some((row.id, row.found.as_ref()?.after_s))).collect();
    assert_eq!(after, [(1, 50.0)], "it began at 10 s");
}

#[test]
fn a_hint_that_honest_users_give_too_notices_nothing() {
    let (mallory, server) = ("10.0.0.66", "10.0.0.1");
    for (detector, kind, is_noticed) in [
        (Detector::OddFlow, "odd_port", false),
        (Detector::Cleartext, "ftp", false),
        (Detector::Flood, "syn", true),
        (Detector::Model, "unusual", true),
        (Detector::Scan, "vertical", true),
    ] {
        let judged = judged([evidence(detector, kind, 12, mallory, server)]);
        assert_eq!(judged.episodes.iter().any(|row| row.noticed.is_some()), is_noticed, "{detector:?} {kind}");
    }
}

#[test]
fn every_kind_that_names_a_family_means_it() {
    let names = |detector, kind| meaning(detector, kind).iter().map(|family| family.name()).collect::<Vec<_>>();
    assert_eq!(names(Detector::Model, "mining"), ["mining"]);
    assert_eq!(names(Detector::Model, "attack_like_flow"), [""; 0]);
    assert_eq!(names(Detector::Spoofing, "rogue_dhcp"), ["rogue_service"]);
    assert_eq!(names(Detector::Flood, "udp"), ["flood", "amplification"]);
    assert_eq!(names(Detector::DnsTunnel, "tunnel"), ["dns_tunnel", "exfiltration"]);
    assert_eq!(names(Detector::Beacon, "dns"), ["beacon", "dns_tunnel"]);
    for family in Family::all() {
        assert_eq!(names(Detector::OddFlow, family.name()), [family.name()]);
        assert_eq!(Family::named(family.name()), Some(family));
    }
    for detector in Detector::ALL {
        let silent = [
            Detector::Model,
            Detector::Cleartext,
            Detector::TlsAnomaly,
            Detector::OddFlow,
            Detector::Intel,
            Detector::Growth,
        ];
        let is_silent = silent.contains(&detector) || detector == Detector::Spoofing;
        let words = "a detector that names no family of attacks is named here, any other has its row in meaning.rs";
        assert_eq!(meaning(detector, "anything").is_empty(), is_silent, "{detector:?}: {words}");
    }
}

#[test]
fn a_repeat_finds_an_attack_and_is_no_alert() {
    let mut judge = Judge::new(truth());
    judge.alert(&alert(evidence(Detector::BruteForce, "ssh", 35, "10.0.0.66", "10.0.0.1")));
    judge.repeat(&evidence(Detector::BruteForce, "ssh", 66, "10.0.0.66", "10.0.0.1"));
    let judged = judge.finish(0.0, 0, true);
    let found = |id| judged.episodes.iter().find(|row| row.id == id).and_then(|row| row.found.clone()).unwrap();
    assert_eq!(judged.alerts.len(), 1);
    assert_eq!((found(2).after_s, found(2).is_repeat), (5.0, false));
    assert_eq!((found(3).after_s, found(3).is_repeat), (6.0, true));
    let summary = Summary::of(&[judged]);
    let figures = &summary.families[&Family::named("brute_force").unwrap()];
    assert_eq!(
        (figures.recall, figures.precision, figures.pr_auc, figures.alerts),
        (Some(1.0), Some(1.0), Some(1.0), 1)
    );
    assert_eq!((figures.sources, figures.missed), (2, 0));
}

#[test]
fn what_the_model_has_seen_counts_neither_way() {
    let scope = Scope::read(r#"{"tools": {"brute_force": ["medusa"]}, "recordings": ["other"]}"#).unwrap();
    let mut judge = Judge::new(Truth::of_lab("small", LABELS, FLOWS, &scope).unwrap());
    judge.alert(&alert(evidence(Detector::BruteForce, "ssh", 35, "10.0.0.66", "10.0.0.1")));
    judge.alert(&alert(evidence(Detector::BruteForce, "ssh", 65, "10.0.0.7", "10.0.0.1")));
    let judged = judge.finish(0.0, 0, scope.has("small"));
    let summary = Summary::of(&[judged]);
    let figures = &summary.families[&Family::named("brute_force").unwrap()];
    assert_eq!((figures.episodes, figures.missed, figures.alerts, figures.precision), (1, 1, 0, None));
    assert_eq!((figures.recall, figures.pr_auc), (Some(0.0), None), "no honest traffic to be held against");
    assert_eq!((summary.known, summary.uncounted.len()), (5, 1));
    assert_eq!((summary.all.host_days, summary.all.alerts["all"]), (0.0, 0.0));
}

#[test]
fn scopes_are_read_in_both_forms_and_nothing_else() {
    let medusa = |scope: &Scope| scope.counts(Family::named("brute_force").unwrap(), "medusa");
    for text in [
        r#"{"tools": {"brute_force": ["medusa"]}}"#,
        r#"{"brute_force": ["medusa"], "beacon": []}"#,
        r#"{"tools": ["brute_force/medusa"], "fold": 1}"#,
        r#"{"tools": [["brute_force", "medusa"]]}"#,
    ] {
        let scope = Scope::read(text).unwrap();
        assert!(medusa(&scope) && !scope.counts(Family::named("scan").unwrap(), "nmap") && scope.has("001"), "{text}");
    }
    for text in ["", "{}", r#"{"tools": {"magic": ["wand"]}}"#, r#"{"tools": 3}"#, r#"{"recordings": [1]}"#] {
        assert!(Scope::read(text).is_err(), "{text}");
    }
}

#[test]
fn host_days_leave_silence_out() {
    // The client from 5 to 605 s, the server by its question for a neighbour from 5 to 6 s; attacks and answers do not count.
    let truth = truth();
    assert_eq!((truth.host_days.unwrap() * 86_400.0).round(), 600.0 + 1.0);
    assert_eq!(truth.flows, 5);
    let mut active = Active::default();
    for (start, end) in [(0, 10), (310, 320), (315, 316), (700, 700), (1200, 1300)] {
        active.flow((), start * SECOND, end * SECOND);
    }
    assert_eq!((active.days() * 86_400.0).round(), 320.0 + 0.0 + 100.0);
}

#[test]
fn labels_are_refused_with_the_place() {
    let refused = |labels: &str, flows: &str| match Truth::of_lab("small", labels, flows, &Scope::default()) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(refused(&LABELS.replace("\"format\": 1", "\"format\": 2"), FLOWS), LabelError::Format(2).to_string());
    assert!(refused("{", FLOWS).starts_with("labels.json: "));
    assert_eq!(refused(LABELS, &FLOWS.replace("label,", "lable,")), "no column `label` in the head of the table");
    let wrong = refused(LABELS, &FLOWS.replacen("background", "noise", 1));
    assert_eq!(wrong, "line 6: label is \"noise\"");
}

#[test]
fn formulas_have_known_values() {
    // Chi-square tables: half the 95 % quantile with 2 (n + 1) degrees of freedom.
    for (count, bound) in [(0.0, 2.9957), (1.0, 4.7439), (10.0, 16.9622), (100.0, 118.0794), (2000.0, 2075.0)] {
        assert!((poisson_upper(count) - bound).abs() < bound * 1e-3, "{count}: {}", poisson_upper(count));
    }
    assert_eq!(poisson_upper(0.5), poisson_upper(1.0));
    let one = |confidence, is_right, weight, is_first| Ranked { confidence, is_right, weight, is_first };
    let (wrong, third) = (one(0.9, false, 1.0, false), one(0.9, false, 1.0 / 3.0, false));
    let [best, good, fair] = [0.9, 0.8, 0.6].map(|confidence| one(confidence, true, 1.0, true));
    let (again, worse) = (one(0.8, true, 1.0, false), one(0.7, false, 1.0, false));
    let table: [(&[Ranked], usize, Option<f64>); 7] = [
        (&[], 0, None),
        (&[], 2, Some(0.0)),
        (&[best, good], 2, Some(1.0)),
        (&[wrong, good], 2, Some(0.25)),
        (&[best, wrong], 1, Some(0.5)),
        (&[third, third, third, good], 1, Some(0.5)),
        (&[best, again, worse, fair], 2, Some(f64::midpoint(1.0, 0.75))),
    ];
    for (ranked, total, area) in table {
        assert_eq!(average_precision(ranked, total), area, "{ranked:?} of {total}");
    }
    assert_eq!([0.0, 0.5, 0.99].map(|share| quantile(&[3.0, 1.0, 2.0], share)), [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn captures_of_others_are_judged_by_their_manifest() {
    let name = |path: &str, truth: &str| whole(path, truth).map(|family| family.map_or("benign", Family::name));
    for (path, truth, family) in [
        ("attack/arp_spoof/arppoison.pcapng", "arp poisoning | book capture", Some("arp_spoofing")),
        ("attack/bruteforce/x.pcap", "ssh brute force | attacker 147.32.80.40", Some("brute_force")),
        ("attack/dos/slowloris.pcap", "DoS, one-way | attacker", Some("slow_http")),
        ("attack/dos/hs.pcap", "flood (spoofed) | type in file name", Some("flood")),
        ("attack/icmp_tunnel/x.pcap", "tunnel | file name", Some("icmp_tunnel")),
        ("attack/exploit/x.pcap", "log4shell | whole file attack; variant in name", Some("web_attack")),
        ("attack/cleartext_creds/x.pcap", "cleartext credentials | ps=port scan", None),
        ("attack/malware/tesla.pcap", "tesla.pcap | file name", None),
        ("attack/ndpi/synscan.pcap", "expected | nDPI per-flow result for synscan.pcap", None),
        ("benign/iot/x.pcap", "benign IoT device set-up | device in path; no attacker", Some("benign")),
        ("mine.pcap", "mining", Some("mining")),
    ] {
        assert_eq!(name(path, truth), family, "{path}");
    }
}

#[test]
fn attacks_hide_in_several_ways() {
    for (variant, kinds) in [
        (r#"{}"#, &[] as &[&str]),
        (r#"{"evasion": "", "jitter": 0.3}"#, &[]),
        (r#"{"evasion": "-f"}"#, &["fragments"]),
        (r#"{"evasion": "--mtu 24"}"#, &["fragments"]),
        (r#"{"evasion": "--data-length 24", "jitter": 0.9}"#, &["pacing", "padding"]),
        (r#"{"evasion": "distributed", "timing": "-T1"}"#, &["distributed", "pacing"]),
        (r#"{"evasion": "--rand-source"}"#, &["forged sender"]),
        (r#"{"evasion": "forged cards"}"#, &["forged sender"]),
        (r#"{"evasion": "--randomize-hosts"}"#, &["disguise"]),
        (r#"{"evasion": "--tamper=space2comment"}"#, &["disguise"]),
        (r#"{"evasion": "-w 4", "pieces": "many", "size_jitter": 400}"#, &["other options", "padding", "splitting"]),
    ] {
        assert_eq!(super::evasion::evasions(&serde_json::from_str(variant).unwrap()), kinds, "{variant}");
    }
}

#[test]
fn a_whole_capture_is_one_episode() {
    let mut judge = Judge::new(Truth::whole("x.pcap", Family::named("scan")));
    judge.alert(&alert(evidence(Detector::Scan, "vertical", 12, "192.0.2.1", "192.0.2.2")));
    judge.alert(&alert(evidence(Detector::Beacon, "beacon", 13, "192.0.2.1", "")));
    judge.began(Timestamp((START + 2) * SECOND));
    let judged = judge.finish(0.5, 7, true);
    assert_eq!(judged.alerts.iter().map(|row| row.verdict).collect::<Vec<_>>(), [Verdict::Hit, Verdict::Other]);
    assert_eq!(judged.episodes[0].found.as_ref().unwrap().after_s, 10.0);
    assert_eq!((judged.host_days, judged.flows), (0.5, 7));
    let mut judge = Judge::new(Truth::whole("y.pcap", None));
    judge.alert(&alert(evidence(Detector::Scan, "vertical", 12, "192.0.2.1", "192.0.2.2")));
    assert_eq!(judge.finish(0.5, 7, true).alerts[0].verdict, Verdict::False);
}

#[test]
fn a_recording_that_several_runs_have_counts_once() {
    let honest = || evidence(Detector::Scan, "vertical", 12, "10.0.0.7", "10.0.0.1");
    let (one, other) = (judged([honest()]), judged([]));
    let days = one.host_days;
    let summary = Summary::of(&[one, other]);
    assert_eq!((summary.all.host_days, summary.all.alerts["all"]), (days, 0.5));
    assert_eq!(summary.families[&Family::named("brute_force").unwrap()].episodes, 4);
    let hit = || evidence(Detector::Scan, "vertical", 12, "10.0.0.66", "10.0.0.1");
    let summary = Summary::of(&[judged([honest(), hit()]), judged([honest()])]);
    assert_eq!(
        summary.families[&Family::named("scan").unwrap()].precision,
        Some(0.5),
        "one false alert, told by two runs"
    );
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let hosts = || prop::sample::select(vec!["", "10.0.0.66", "10.0.0.1", "10.0.0.7", "198.18.0.9", "203.0.113.1"]);
    let kinds =
        prop::sample::select(vec!["vertical", "ssh", "syn", "arp_contest", "beacon", "unusual", "ftp", "mining"]);
    let detectors = prop::sample::select(Detector::ALL.to_vec());
    let flows = prop::sample::select(vec![0, 1, 2, 3]);
    (detectors, kinds, 0..200_u64, hosts(), hosts(), flows, 0..=10_u32, 1..=4_u8).prop_map(
        |(detector, kind, second, source, target, which, tenths, severity)| {
            let flow = match which {
                1 => flow(("10.0.0.66", 40000), ("10.0.0.1", 22), false),
                2 => flow(("10.0.0.7", 50000), ("10.0.0.1", 21), true),
                3 => flow(("10.0.0.7", 50001), ("10.0.0.1", 80), false),
                _ => None,
            };
            let confidence = f64::from(tenths) / 10.0;
            Evidence { flow, confidence, severity, ..evidence(detector, kind, second, source, target) }
        },
    )
}

proptest! {
    /// Each alert has one verdict, shares are shares, and what was written can be read again and gives the same figures.
    #[test]
    fn every_alert_is_counted_once(alerts in prop::collection::vec((any_evidence(), any::<bool>()), 0..40)) {
        let mut judge = Judge::new(truth());
        let mut count = 0;
        for (found, is_repeat) in alerts {
            if is_repeat {
                judge.repeat(&found);
            } else {
                judge.alert(&alert(found));
                count += 1;
            }
        }
        let captures = [judge.finish(0.0, 0, true)];
        let summary = Summary::of(&captures);
        prop_assert_eq!(summary.verdicts.values().sum::<usize>(), count);
        let of = |verdict| summary.verdicts.get(&verdict).copied().unwrap_or(0) as f64;
        prop_assert_eq!(summary.all.alerts["all"], of(Verdict::False));
        prop_assert_eq!(summary.all.confirmed["all"], of(Verdict::Confirmed));
        prop_assert_eq!(summary.false_kinds.iter().map(|kind| kind.count).sum::<f64>(), of(Verdict::False));
        for (family, figures) in &summary.families {
            for share in [figures.recall, figures.caught_by_any, figures.precision, figures.pr_auc].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&share), "{:?} {:?}", family, figures);
            }
            prop_assert!(figures.recall <= figures.caught_by_any && figures.missed <= figures.episodes);
            prop_assert!(figures.pr_auc <= figures.recall || figures.recall.is_none(), "{:?} {:?}", family, figures);
        }
        prop_assert_eq!(summary.missed.len() + captures[0].episodes.iter().filter(|row| row.found.is_some()).count(), 6);
        let text = summary.json(&captures).to_string();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let again: Vec<Judged> = serde_json::from_value(read["captures"].clone()).unwrap();
        prop_assert_eq!(Summary::of(&again).json(&again).to_string(), text);
        prop_assert!(table(&summary).contains("false alerts"));
        prop_assert!(picture(&summary).ends_with("</svg>"));
    }
}
