//! What everything together, detectors and the shipped models, says about the benign captures beside the project: each alert is
//! listed and judged, and none is of high severity.

mod support;

use shrike::control::alert::Alert;
use shrike::control::hosts;
use shrike::control::inventory::network;
use shrike::control::replay::{Settings, Sink, replay};
use shrike::control::windows::stage::{Files, Models};
use shrike::dataplane::capture::pcap::Speed;
use shrike::dataplane::score::{self, Model, ModelError};
use shrike::dataplane::worker::EngineSettings;
use std::path::Path;

#[derive(Default)]
struct Found(Vec<Alert>);

impl Sink for Found {
    fn alert(&mut self, alert: &Alert) -> anyhow::Result<()> {
        self.0.push(alert.clone());
        Ok(())
    }
    fn wants_events(&self) -> bool {
        false
    }
}

/// A part of a capture's path, what is said, and what it is. `false:` where nothing of the kind happened.
const JUDGED: [(&str, &str, &str); 9] = [
    ("EdimaxPlug1101W/Setup-C-", "cleartext_credentials/http_basic/low", "true: the plug's own set-up, as admin"),
    ("pcap/imap.pcap", "cleartext_credentials/imap_login/low", "true: a login"),
    ("pcap/pop3.pcap", "cleartext_credentials/pop3_user_and_pass/medium", "true: a login"),
    ("pcap/bad-dns-traffic.pcap", "dns_tunnel/tunnel/high", "true: the same, of more names"),
    (
        "pcap/bad-dns-traffic.pcap",
        "dns_tunnel/tunnel/medium",
        "true: dnscat2 at work; nDPI keeps it among its protocols",
    ),
    ("pcap/zcash.pcap", "mining/pool/medium", "true: a miner at its pool; nDPI keeps it among its protocols"),
    ("pcap/zcash.pcap", "model/mining/low", "true: the same"),
    ("pcap/skype", "model/scan/low", "false: Skype of old tries many peers in a minute, most of whom are gone"),
    ("pcap/skype", "model/slow_http/low", "false: Skype of old, which kept connections to port 443 open"),
];

fn severity(number: u8) -> &'static str {
    ["high", "medium", "low", "info"].get(usize::from(number).saturating_sub(1)).copied().unwrap_or("info")
}

/// `docs/honest-captures.md`.
#[test]
fn each_alert_over_benign_captures_is_judged_and_none_is_high() {
    let Some(data) = support::shared_data("honest_captures") else { return };
    let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/flow-v2.json");
    let model = match Model::load(&score::Settings { manifest: Some(flows.clone()), runtime: None }) {
        Ok(model) => model,
        Err(error @ ModelError::RuntimeMissing { .. }) => {
            return support::skip("honest_captures", "runtime", &error.to_string());
        }
        Err(error) => panic!("{error}"),
    };
    let windows = Models::load(&Files::default(), &flows).expect("models that are shipped can be used");
    let manifest = std::fs::read_to_string(data.join("MANIFEST.tsv")).expect("seen by shared_data");
    let paths = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    let captures: Vec<_> = paths
        .filter(|path| path.starts_with("benign/") && (path.ends_with(".pcap") || path.ends_with(".pcapng")))
        .collect();
    let (mut rows, mut used, mut unjudged) = (String::new(), Vec::new(), Vec::new());
    for path in &captures {
        let engine = EngineSettings {
            windows: 1 << 14,
            export_events: true,
            export_flows: true,
            run_out: true,
            thresholds: model.thresholds(),
            ..EngineSettings::default()
        };
        let settings = Settings {
            files: vec![data.join(path)],
            workers: 1,
            speed: Speed::Max,
            engine,
            detect: hosts::Settings::default(),
            home: network::home(),
            feeds: None,
            model: Some(&model),
            windows: Some(&windows),
            rows: false,
            secret: None,
            stop: None,
        };
        let mut found = Found::default();
        replay(&settings, &mut found).expect("the manifest names files that can be read");
        let mut kinds: Vec<String> = Vec::new();
        for Alert { evidence, .. } in &found.0 {
            let kind = format!("{}/{}/{}", evidence.detector.name(), evidence.kind, severity(evidence.severity));
            if kinds.contains(&kind) {
                continue;
            }
            match JUDGED.iter().position(|(part, judged, _)| path.contains(part) && kind == *judged) {
                Some(place) => {
                    used.push(place);
                    let (name, why) = (path.rsplit('/').next().unwrap_or(path), JUDGED[place].2);
                    rows += &format!("| `{name}` | {kind} | {why} |\n");
                }
                None => unjudged.push(format!("{path}: {kind}: {}", evidence.summary)),
            }
            kinds.push(kind);
        }
    }
    let text = format!(
        "# Others' benign captures\n\nEach alert that the detectors and the shipped models raise over {} captures without an attack, and \
         what it is. Written by `tests/honest_captures.rs`.\n\n| capture | alert | what it is |\n| --- | --- | --- |\n{rows}",
        captures.len()
    );
    assert!(unjudged.is_empty(), "not judged:\n{}", unjudged.join("\n"));
    let stale: Vec<_> = (0..JUDGED.len()).filter(|place| !used.contains(place)).map(|place| JUDGED[place]).collect();
    assert!(stale.is_empty(), "no longer raised: {stale:?}");
    let high = JUDGED.iter().filter(|(_, kind, why)| kind.ends_with("/high") && !why.starts_with("true"));
    assert_eq!(high.count(), 0, "an alert of high severity that inspection does not confirm");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/honest-captures.md");
    if std::env::var_os("SHRIKE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &text).expect("the project can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, text, "stale: SHRIKE_WRITE_DOCS=1 cargo nextest run --test honest_captures");
}
