//! What the detectors over flows and events say about the captures beside the project: recall over the attacks that they are
//! for, and every alert over benign traffic with its judgement.

mod support;

use shrike::control::alert::Alert;
use shrike::control::evaluate::{Family, meaning, whole};
use shrike::control::hosts;
use shrike::control::inventory::network;
use shrike::control::replay::{Settings, Sink, replay};
use shrike::dataplane::capture::pcap::Speed;
use shrike::dataplane::detect::Detector;
use shrike::dataplane::worker::EngineSettings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Alerts of the detectors at hand.
#[derive(Default)]
struct Found(Vec<Alert>);

/// Those of all detectors.
#[derive(Default)]
struct All(Vec<Alert>);

impl Sink for All {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        self.0.push(alert.clone());
        Ok(())
    }
    fn wants_events(&self) -> bool {
        false
    }
}

const OTHERS: [Detector; 4] = [Detector::Scan, Detector::BruteForce, Detector::Flood, Detector::Model];

impl Sink for Found {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        if !OTHERS.contains(&alert.evidence.detector) {
            self.0.push(alert.clone());
        }
        Ok(())
    }
    fn wants_events(&self) -> bool {
        false
    }
}

fn alerts(file: &Path, workers: usize) -> Vec<Alert> {
    let mut found = Found::default();
    run(file, workers, &mut found);
    found.0
}

fn run(file: &Path, workers: usize, found: &mut dyn Sink) {
    let engine = EngineSettings {
        windows: 1 << 14,
        export_events: true,
        export_flows: true,
        run_out: true,
        ..EngineSettings::default()
    };
    let settings = Settings {
        files: vec![file.to_owned()],
        workers,
        speed: Speed::Max,
        engine,
        detect: hosts::Settings::default(),
        home: network::home(),
        feeds: None,
        model: None,
        windows: None,
        rows: false,
        secret: None,
        stop: None,
    };
    replay(&settings, found).expect("the manifest names files that can be read");
}

/// Paths of the manifest's rows that begin with `prefix`.
fn captures(data: &Path, prefix: &str) -> Vec<PathBuf> {
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("seen by shared_data");
    let rows = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    rows.filter(|path| path.starts_with(prefix))
        .filter(|path| path.ends_with(".pcap") || path.ends_with(".pcapng"))
        .map(|path| data.join(path))
        .collect()
}

/// Kinds of the captures of a family that say something, by file name.
fn family(data: &Path, prefix: &str) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for file in captures(data, prefix) {
        let mut kinds: Vec<String> = Vec::new();
        for alert in alerts(&file, 1) {
            let evidence = &alert.evidence;
            let kind = format!("{}/{}/{}", evidence.detector.name(), evidence.kind, evidence.severity);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
            if std::env::var_os("SHRIKE_DETECT_VERBOSE").is_some() {
                println!(
                    "\t{} | {:?}",
                    evidence.summary,
                    evidence.terms.iter().map(|term| (term.name.as_str(), term.value)).collect::<Vec<_>>()
                );
            }
        }
        let name = file.strip_prefix(data).unwrap_or(&file).display().to_string();
        println!("{name}\t{kinds:?}");
        if !kinds.is_empty() {
            all.insert(name, kinds);
        }
    }
    all
}

/// What is found of the attacks that the detectors are for. Missed: `dns-tunnel.pcap`, two seconds of a tunnel in 122 names of
/// 26 bytes each, which is below the likeness that is told. The beacons' captures last eleven minutes and one; a score needs six
/// hours.
#[test]
fn attacks_are_found() {
    let Some(data) = support::shared_data("behaviour_captures") else { return };
    let count = |prefix: &str, wanted: &str| {
        let found = family(&data, prefix);
        found.values().filter(|kinds| kinds.iter().any(|kind| kind.starts_with(wanted))).count()
    };
    assert!(count("attack/dns_tunnel/", "dns_tunnel/") >= 4);
    assert!(count("attack/icmp_tunnel/", "icmp_tunnel/tunnel/") >= 1);
    assert!(count("attack/cleartext_creds/", "cleartext_credentials/") >= 2);
    assert!(count("attack/c2_lateral/", "lateral_movement/") >= 32);
    let ndpi = family(&data, "attack/ndpi/");
    for (capture, wanted) in [
        ("dns_exfiltration", "dns_tunnel/tunnel/2"),
        ("monero", "mining/pool/2"),
        ("bitcoin", "mining/bitcoin_peer/4"),
        ("ethereum", "mining/ethereum_peer/4"),
    ] {
        let found = ndpi.iter().find(|(name, _)| name.contains(capture)).expect(capture).1;
        assert!(found.iter().any(|kind| kind == wanted), "{capture}: {found:?}");
    }
}

/// Every alert over benign captures, and what it is: all of them are what they say.
const JUDGED: [(&str, &str, &str); 6] = [
    ("EdimaxPlug1101W/Setup-C-", "cleartext_credentials/http_basic/3", "the plug's own set-up, as admin"),
    ("pcap/imap.pcap", "cleartext_credentials/imap_login/3", "a login"),
    ("pcap/pop3.pcap", "cleartext_credentials/pop3_user_and_pass/2", "a login"),
    ("pcap/bad-dns-traffic.pcap", "dns_tunnel/tunnel/2", "dnscat2 at work; nDPI keeps it among its protocols"),
    ("pcap/bad-dns-traffic.pcap", "dns_tunnel/tunnel/1", "the same, of more names"),
    ("pcap/zcash.pcap", "mining/pool/2", "a miner at its pool; nDPI keeps it among its protocols"),
];

#[test]
fn benign_captures_give_no_alert_but_those_that_are_true() {
    let Some(data) = support::shared_data("behaviour_captures") else { return };
    for (name, kinds) in family(&data, "benign/") {
        for kind in kinds {
            let is_judged = JUDGED.iter().any(|(part, judged, _)| name.contains(part) && kind == *judged);
            assert!(is_judged, "{name}: {kind}");
        }
    }
}

/// Why a capture of an attack raises no alert of its family: a part of its path, and the reason.
const REASONS: [(&str, &str); 28] = [
    (
        "arppoison.pcapng",
        "one address is claimed towards one host; its owner, the router, says nothing by ARP in the capture",
    ),
    ("hydra_port_21", "one connection that logs in at the first try"),
    ("hydra_port_22", "two connections"),
    ("hydra_port_23", "one connection"),
    ("test-cc-capture-1", "eleven minutes; the score of beacons wants six hours"),
    ("test-cc-capture-2", "one minute; the score of beacons wants six hours"),
    (
        "mimikatz_copy_to_host",
        "a program is read from `C$`, not written: one connection to an administrative share is an administrator's day",
    ),
    ("delete.pcap", "files of the share `Users`, as anybody with a right to it has them"),
    ("failed_choppydog", "two questions for a ticket"),
    ("find_service_accounts", "the search is inside LDAP's own encryption"),
    ("net_group_DAs", "one list of a group's members; two are told"),
    ("over-pass-the-hash-mimikatz", "one question for a ticket, as a login sends it"),
    (
        "remote_copy_of_file",
        "a file is read from `C$`: one connection to an administrative share is an administrator's day",
    ),
    ("rubeus-kerberoast", "the search is inside LDAP's own encryption, and no ticket is asked for"),
    ("successful_choppydog", "a login to the domain, which succeeds"),
    ("tinkersec-ldapsearch", "one look at a directory's root"),
    ("wmi_exec_2", "logins and names; the calls over DCOM are not in the capture"),
    ("slowloris.pcap", "seven whole requests in 15 s, client's side only"),
    ("dos_win98_smb_netbeui", "one broken frame of NetBEUI, which crashed Windows 98; no flood"),
    ("enum4linux_v", "whole sessions of SMB with one host; told as what it lists"),
    ("nbtscan", "one question each to five neighbours, all of which answer: what any host does that knows five others"),
    (
        "nmap_ping_scan",
        "one question each to five neighbours, all of which answer: what any host does that knows five others",
    ),
    ("nmap_script_smb_ms17-010", "whole sessions of SMB with three hosts"),
    ("nmap_sn", "one question each to five neighbours, all of which answer: what any host does that knows five others"),
    ("nmap_80_all", "35 connections to two open ports of one host; told by what the requests say"),
    ("nmap_80_vanilla", "three connections to two open ports of one host"),
    ("nmap_80_w_service_detection", "eleven connections to two open ports of one host; told by what the requests say"),
    ("hs-sh-IPscan", "nothing but 252 ICMP errors from one host to one, which quote flows that were never seen"),
];

/// Captures of malware and of exploits, which have no family that could be counted: a part of its name, the alert that is right
/// for it or nothing, and what it is or why nothing is said of it.
const MALWARE: [(&str, &str, &str); 27] = [
    ("ShellShock-Shell", "", "a shell over one connection in the clear: what is said in it is read by nobody"),
    ("ShellShock.pcap", "web_attack/injection", "the request that makes a CGI program run a command"),
    ("angler-java", "", "an exploit kit: pages and programs over HTTP, of which contents are not judged"),
    ("anglerattack", "", "two requests of two connections, one packet each"),
    ("blackhole", "", "an exploit kit: pages and programs over HTTP, and three forms sent to where they lead"),
    ("infectedPDF", "", "two packets of two downloads"),
    ("ircdAttack", "scan/vertical", "the search for the service that is attacked then"),
    ("metasploit-psexec", "lateral_movement/file_and_execution", "a service made of a program that was written before"),
    ("ms08-067", "", "one call (`NetprPathCanonicalize`) whose argument is too long: arguments are not read"),
    ("ms10-002-aurora", "", "a page that makes a browser fetch a program, and its one connection home"),
    ("mswab-yayih", "", "seven requests within three minutes to one host: beacons have twenty"),
    ("plague-net", "", "one connection to a chat server, open for 24 minutes"),
    ("slammer_worm", "", "nine datagrams of nine hosts to one: none of them is seen to send two"),
    ("spambot", "", "what it fetches over HTTP; the first mails begin within the last second"),
    (
        "tesla.pcap",
        "",
        "requests to nine web servers within five minutes, seventeen to one at most: quick beacons have twenty",
    ),
    ("tijcont", "", "a program whose servers are down: refused again and again by two hosts, on one port each"),
    ("trojanspart", "", "22 packets of several days"),
    ("witty_worm", "", "ten datagrams of one host to one: whoever wrote it made one address of all"),
    ("zeus-gameover-loader", "", "peers asked by UDP that answer, and downloads over HTTP"),
    ("cryptowall4_c2", "", "three forms sent to one web server within a minute"),
    ("ek_to_cryptowall4", "", "an exploit kit, a program, and six forms sent to web servers within three minutes"),
    (
        "ratinfected",
        "",
        "one connection of two minutes inside, of a protocol that nobody knows, on which little is said",
    ),
    ("aug19", "brute_force/smb", "guesses at a neighbour's shares, as worms make them"),
    ("cerber", "scan/horizontal", "datagrams to networks of hosts that it does not know"),
    ("_rig", "", "an exploit kit: pages and programs over HTTP among a browser's day"),
    (
        "test7-malicious",
        "",
        "SYNs to a new host each second, each repeated four times: who waits so long for one is no scanner by the rule",
    ),
    ("test8-malicious", "scan/arp_sweep", "a search for neighbours"),
];

/// Rows about malware: the manifest's captures that belong to no family.
fn malware(data: &Path, manifest: &str) -> String {
    let mut rows = String::new();
    let mut unused: Vec<&str> = MALWARE.iter().map(|(part, ..)| *part).collect();
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[path, _, _, _, _, _, truth, ..] = &columns[..] else { continue };
        let is_capture = path.ends_with(".pcap") || path.ends_with(".pcapng");
        if !is_capture || !path.starts_with("attack/malware/") || whole(path, truth).is_some() {
            continue;
        }
        let mut all = All::default();
        run(&data.join(path), 1, &mut all);
        let mut kinds: Vec<String> = Vec::new();
        for Alert { evidence, .. } in &all.0 {
            let kind = format!("{}/{}", evidence.detector.name(), evidence.kind);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let (part, wanted, why) =
            MALWARE.iter().find(|(part, ..)| path.contains(part)).copied().unwrap_or((path, "", "?"));
        unused.retain(|one| *one != part);
        assert!(wanted.is_empty() || kinds.iter().any(|kind| kind == wanted), "{path}: {kinds:?}");
        assert!(!wanted.is_empty() || kinds.is_empty(), "{path} raises {kinds:?}: is that right?");
        let name = path.rsplit('/').next().unwrap_or(path);
        rows += &format!("| `{name}` | {} | {why} |\n", kinds.join(", "));
    }
    assert!(unused.is_empty(), "no such captures: {unused:?}");
    rows
}

/// `docs/captures.md`: what is found of others' captures of attacks, and why the rest is not.
#[test]
fn each_capture_of_an_attack_is_found_or_has_a_reason() {
    let Some(data) = support::shared_data("behaviour_captures") else { return };
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("seen by shared_data");
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let (mut missed, mut used) = (String::new(), Vec::new());
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[path, _, _, _, _, _, truth, ..] = &columns[..] else { continue };
        let is_capture = path.ends_with(".pcap") || path.ends_with(".pcapng");
        let Some(Some(family)) = whole(path, truth).filter(|_| is_capture && path.starts_with("attack/")) else {
            continue;
        };
        let mut all = All::default();
        run(&data.join(path), 1, &mut all);
        let means = |one: &Alert| meaning(one.evidence.detector, &one.evidence.kind);
        let is_found = all.0.iter().any(|alert| means(alert).contains(&family));
        let count = counts.entry(Family::name(family)).or_default();
        count[usize::from(!is_found)] += 1;
        if is_found {
            continue;
        }
        let (part, reason) = REASONS.iter().find(|(part, _)| path.contains(part)).copied().unwrap_or((path, "?"));
        used.push(part);
        let mut kinds: Vec<String> = Vec::new();
        for Alert { evidence, .. } in &all.0 {
            let kind = format!("{}/{}", evidence.detector.name(), evidence.kind);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let (name, family) = (path.rsplit('/').next().unwrap_or(path), family.name());
        missed += &format!("| `{name}` | {family} | {} | {reason} |\n", kinds.join(", "));
    }
    let mut text = String::from(
        "# Others' captures of attacks\n\nWhat the detectors, without a model, say of captures that are an attack from end to end. \
         Written by `tests/behaviour_captures.rs`.\n\n| family | found | not |\n| --- | --- | --- |\n",
    );
    for (family, [found, not]) in &counts {
        text += &format!("| {family} | {found} | {not} |\n");
    }
    text +=
        "\n## What raises no alert of its family\n\n| capture | family | alerts | why |\n| --- | --- | --- | --- |\n";
    text += &missed;
    text += "\n## Malware and exploits\n\nCaptures that belong to no family: whatever a detector says of them, or why none does.\n\n\
             | capture | alerts | what it is, or why |\n| --- | --- | --- |\n";
    text += &malware(&data, &manifest);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/captures.md");
    if std::env::var_os("SHRIKE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &text).expect("the project can be written");
    }
    assert!(!text.contains("| ? |"), "a reason is missing:\n{missed}");
    let stale: Vec<_> = REASONS.iter().filter(|(part, _)| !used.contains(part)).collect();
    assert!(stale.is_empty(), "found now: {stale:?}");
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, text, "stale: SHRIKE_WRITE_DOCS=1 cargo nextest run --test behaviour_captures");
}

/// The same alerts in the same order for any number of workers.
#[test]
fn the_number_of_workers_leaves_no_trace() {
    let Some(data) = support::shared_data("behaviour_captures") else { return };
    for prefix in ["attack/dns_tunnel/ACandeias", "attack/cleartext_creds/", "attack/ndpi/ndpi_4.2_debian/pcap/dns_ex"]
    {
        for file in captures(&data, prefix) {
            let [one, three] = [1, 3].map(|workers| alerts(&file, workers));
            assert_eq!(one, three, "{}", file.display());
        }
    }
}

/// Any family, for people: `SHRIKE_FAMILY=attack/ cargo nextest run --test behaviour_captures -- any --no-capture`.
#[test]
fn any_family_that_is_asked_for() {
    let Some(family_name) = std::env::var("SHRIKE_FAMILY").ok() else { return };
    let Some(data) = support::shared_data("behaviour_captures") else { return };
    for (name, kinds) in family(&data, &family_name) {
        println!("ALERT {name}\t{kinds:?}");
    }
}
