//! The demo's lab by itself: servers serve, clients are served, the sensor's port sees each frame exactly once, nothing
//! leads out, and nothing is left behind. An external tcpdump is the witness, not our own capture.

mod support;

use shrike::cli::demo::attackers::ATTACKS;
use shrike::cli::demo::clients::Clients;
use shrike::cli::demo::lab::{CLIENTS, HOST_INTERFACE, HOSTS, Lab, SENSOR_INTERFACE, WEB};
use shrike::cli::demo::program::{Program, missing, run, wait_until};
use shrike::cli::demo::services::Services;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Generous: a bound on a hang, not a measurement.
const LIMIT: Duration = Duration::from_secs(120);

fn can_run(test: &str) -> bool {
    if !support::privileged(test) {
        return false;
    }
    let programs =
        ["ip", "ethtool", "tcpdump", "nginx", "sshd", "dnsmasq", "curl", "ssh", "dig", "nmap", "hydra", "hping3"];
    match missing(&programs) {
        Some(program) => {
            support::skip(test, "root", &format!("no {program} here: ci/install-packages.sh demo"));
            false
        }
        None => true,
    }
}

/// Frames that a host's interface sent, by the interface's own counter.
fn sent_by(namespace: &str) -> u64 {
    let text = run(&["ip", "-n", namespace, "-s", "-j", "link", "show", "dev", HOST_INTERFACE]).unwrap();
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    links.pointer("/0/stats64/tx/packets").unwrap().as_u64().unwrap()
}

#[test]
fn live_the_tap_sees_every_frame_of_both_directions_once() {
    let test = "live_the_tap_sees_every_frame_of_both_directions_once";
    if !can_run(test) {
        return;
    }
    let lab = Lab::build().unwrap();
    let capture = lab.directory().join("tap.pcap");
    let (file, sensor) = (capture.to_string_lossy().into_owned(), lab.sensor());
    let log = lab.directory().join("tcpdump.log");
    let arguments =
        ["tcpdump", "-U", "-Z", "root", "-B", "16384", "-s", "96", "-n", "-i", SENSOR_INTERFACE, "-w", &file];
    let mut tcpdump = Program::start(Some(&sensor), &arguments, &log).unwrap();
    tcpdump.wait_up(LIMIT, || tcpdump_listens(&log)).unwrap();
    let (sent_at_start, seen_at_start) = both_sides(&lab);

    let services = Services::start(&lab).unwrap();
    let clients = Clients::start(&lab, &services);
    assert!(wait_until(LIMIT, || clients.tally().served.load(Relaxed) >= 20), "clients are not served");
    let mut nmap = ATTACKS[0].start(&lab).unwrap();
    assert!(wait_until(LIMIT, || nmap.ended().is_some()), "nmap does not end");
    assert!(nmap.log_tail().contains("80/tcp open"), "{}", nmap.log_tail());
    assert_eq!(clients.tally().failed.load(Relaxed), 0, "a client was not served");
    drop(clients);
    drop(services);

    let mut sides = (0, 0);
    let agreed = wait_until(LIMIT, || {
        let (sent, seen) = both_sides(&lab);
        sides = (sent - sent_at_start, seen - seen_at_start);
        sides.0 == sides.1
    });
    assert!(agreed, "hosts sent {}, the tap saw {}", sides.0, sides.1);

    tcpdump.stop(LIMIT);
    let count = |filter: &str| {
        let text = run(&["tcpdump", "-n", "-r", &file, filter]).unwrap();
        text.lines().count()
    };
    let (web, client) = (WEB.address(), CLIENTS[0].address());
    let syn = count(&format!("tcp[13] & 18 = 2 and src host {client} and dst host {web}"));
    let syn_ack = count(&format!("tcp[13] & 18 = 18 and src host {web} and dst host {client}"));
    assert!(syn > 0 && syn == syn_ack, "{syn} SYN, {syn_ack} SYN-ACK: not each once");
    assert_eq!(lab.bridge_frames().unwrap(), 0, "the bridge sent frames of its own");
    assert!(count("ether[12:2] != 0x0800 and ether[12:2] != 0x0806 and ether[12:2] != 0x86dd") == 0);
}

/// Frames that all hosts sent, and frames that the tap saw, at one moment: hosts never fall wholly silent (neighbour
/// probes), so a reading counts only if nothing was sent while it was made.
fn both_sides(lab: &Lab) -> (u64, u64) {
    let sent = || HOSTS.iter().map(|host| sent_by(&lab.namespace(host))).sum::<u64>();
    let mut sides = (0, 0);
    let quiet = wait_until(LIMIT, || {
        sides = (sent(), lab.sensor_frames().unwrap());
        sent() == sides.0
    });
    assert!(quiet, "the hosts never pause");
    sides
}

fn tcpdump_listens(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains("listening on"))
}

#[test]
fn live_no_route_leads_out_of_the_lab_and_nothing_of_it_is_left() {
    let test = "live_no_route_leads_out_of_the_lab_and_nothing_of_it_is_left";
    if !can_run(test) {
        return;
    }
    let interfaces = || run(&["ip", "-j", "link", "show"]).unwrap().matches("\"ifname\"").count();
    let own_interfaces = interfaces();
    let lab = Lab::build().unwrap();
    let services = Services::start(&lab).unwrap();
    assert_eq!(interfaces(), own_interfaces, "the lab put an interface into the host's own namespace");
    for host in HOSTS {
        let namespace = lab.namespace(&host);
        for outside in ["192.0.2.1", "2001:db8::1", "127.0.0.53", "198.18.78.1"] {
            let route = run(&["ip", "-n", &namespace, "route", "get", outside]);
            let leaves = route.is_ok_and(|text| text.contains(HOST_INTERFACE));
            assert!(!leaves, "{} has a route to {outside}", host.name);
        }
        // The peers of all links lie in the lab: the host's own namespace would be shown as `link-netnsid` of no name.
        let links = run(&["ip", "-n", &namespace, "-d", "link", "show", "dev", HOST_INTERFACE]).unwrap();
        assert!(links.contains("-hub"), "{links}");
    }
    let directory = lab.directory().to_owned();
    let mark = directory.file_name().unwrap().to_string_lossy().into_owned();
    drop(services);
    // A process that outlives its server (a login in progress, a forgotten tool) goes with the lab.
    let stray = Program::start(Some(&lab.namespace(&WEB)), &["sleep", "1000"], &directory.join("stray.log")).unwrap();
    drop(lab);
    drop(stray);
    assert!(!directory.exists());
    let namespaces = run(&["ip", "netns", "list"]).unwrap();
    assert!(!namespaces.contains(&mark), "{namespaces}");
    assert!(
        run(&["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"]).is_ok_and(|all| !all.contains(&mark))
    );
}

#[test]
fn live_what_a_killed_owner_left_is_swept_and_the_living_are_spared() {
    let test = "live_what_a_killed_owner_left_is_swept_and_the_living_are_spared";
    if !can_run(test) {
        return;
    }
    let lab = Lab::build().unwrap();
    // No process has this number (it is above the kernel's highest) with this start time.
    let dead = format!("shrike-demo-4194999-{}-0", std::process::id());
    let namespace = format!("{dead}-web");
    run(&["ip", "netns", "add", &namespace]).unwrap();
    let directory = std::env::temp_dir().join(&dead);
    std::fs::create_dir_all(&directory).unwrap();
    Lab::sweep();
    assert!(!run(&["ip", "netns", "list"]).unwrap().contains(&dead));
    assert!(!directory.exists());
    assert!(lab.sensor_frames().is_ok(), "the sweep took a living lab");
}
