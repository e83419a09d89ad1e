//! Each alert of the labelled attacks names a flow, and that flow is told of in the same lines of EVE.

#[path = "support/captures.rs"]
mod captures;
#[path = "support/eve.rs"]
mod schema;
mod support;

use captures::{captures, engine, replay};
use serde_json::Value;
use shrike::control::export::EveWriter;
use shrike::dataplane::capture::pcap::{Limits, Reader};
use std::collections::HashMap;
use std::path::Path;

/// Lines of the alerts of a capture, and of its flows.
fn lines(path: &Path, packets: u64, workers: usize) -> (Vec<Value>, Vec<Value>) {
    let reader = Reader::open(&[path.to_owned()], Limits::default()).expect("a capture");
    let (_, collected) = replay(reader, workers, engine(packets), None);
    let mut alerts = EveWriter::new(Vec::new(), None);
    collected.alerts.iter().for_each(|alert| alerts.alert(alert).expect("memory"));
    let mut flows = EveWriter::new(Vec::new(), None);
    collected.flows.iter().for_each(|flow| flows.flow(flow).expect("memory"));
    [alerts, flows]
        .map(|writer| String::from_utf8(writer.finish().expect("memory")).expect("UTF-8"))
        .map(|text| text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
        .into()
}

#[test]
fn each_alert_of_the_attacks_names_a_flow_that_is_told_of() {
    let test = "each_alert_of_the_attacks_names_a_flow_that_is_told_of";
    let Some(data) = support::shared_data(test) else { return };
    let schema = schema::Schema::open(&data);
    let mut kinds: HashMap<String, usize> = HashMap::new();
    let (mut alerted, mut with_application, mut wrong) = (Vec::new(), 0, Vec::new());
    let attacks: Vec<_> = captures(&data).into_iter().filter(|one| one.name.starts_with("attack/")).collect();
    for capture in &attacks {
        let (alerts, flows) = lines(&capture.path, capture.packets.unwrap_or(1000), 1);
        let flows: HashMap<_, _> = flows.iter().map(|flow| (flow["flow_id"].as_u64(), flow)).collect();
        for alert in &alerts {
            let signature = alert["alert"]["signature"].as_str().expect("a name").to_owned();
            let is_arp = signature.contains(" arp_");
            // Detectors that count name one flow of many; what one conversation shows is that conversation's.
            let counts =
                ["SHRIKE scan ", "SHRIKE brute_force ", "SHRIKE flood "].iter().any(|of| signature.starts_with(of));
            let flow = flows.get(&alert["flow_id"].as_u64()).copied();
            let mut say = |what: &str| wrong.push(format!("{}: {what}: {alert}", capture.name));
            match flow {
                None if is_arp => {
                    let is_named = alert["ether"]["src_mac"].is_string();
                    if alert["proto"] != "ARP" || !is_named || (counts && alert["src_ip"].is_null()) {
                        say("ARP does not say who asked");
                    }
                }
                None => say("no such flow"),
                Some(flow) => {
                    let parts = ["community_id", "src_ip", "dest_ip", "src_port", "dest_port", "proto", "vlan"];
                    // Whom a flood of forged senders comes from is not known: its example's sender is not accused.
                    let is_of_nobody = alert["ml"]["example_flow"] == true && alert["src_ip"].is_null();
                    let is_left_out = |part: &str| is_of_nobody && part.starts_with("src_") && alert[part].is_null();
                    let other: Vec<_> =
                        parts.into_iter().filter(|part| alert[*part] != flow[*part] && !is_left_out(part)).collect();
                    if is_arp || !other.is_empty() {
                        say(&format!("{other:?} are not those of {flow}"));
                    }
                    let application = alert.get("app_proto");
                    if application.is_some() && application != flow.get("app_proto") {
                        say("another application");
                    }
                    with_application += usize::from(application.is_some());
                    if counts && !alert["ml"]["example_flow"].is_boolean() && !signature.ends_with("_success") {
                        say("an example that is not called one");
                    }
                }
            }
            *kinds.entry(signature).or_default() += 1;
        }
        alerted.extend(alerts);
    }
    println!("{} captures, {} alerts, {with_application} with application: {kinds:?}", attacks.len(), alerted.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(alerted.len() >= 40 && with_application > 0, "{kinds:?}");
    let found: Vec<_> = alerted.iter_mut().flat_map(|line| schema.violations(line)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Which flow an alert names is the capture's, and not that of the queue that happened to be the first.
#[test]
fn the_flow_that_is_named_does_not_depend_on_the_number_of_workers() {
    let Some(data) = support::shared_data("the_flow_that_is_named_does_not_depend_on_the_number_of_workers") else {
        return;
    };
    let named = |path: &Path, packets, workers| -> Vec<Value> {
        let (alerts, _) = lines(path, packets, workers);
        alerts.iter().map(|alert| alert["flow_id"].clone()).collect()
    };
    let chosen = ["attack/scan/", "attack/bruteforce/"];
    let is_chosen = |name: &str| chosen.iter().any(|family| name.starts_with(family));
    let mut alerts = 0;
    for capture in captures(&data).into_iter().filter(|one| is_chosen(&one.name)) {
        let packets = capture.packets.unwrap_or(1000);
        let one = named(&capture.path, packets, 1);
        assert_eq!(named(&capture.path, packets, 3), one, "{}", capture.name);
        alerts += one.len();
    }
    assert!(alerts > 15, "{alerts}");
}
