//! What `doctor` says of one interface.

use super::doctor::{Finding, Verdict};
use crate::dataplane::capture::xdp::{InterfaceSettings, falsifying_offloads, is_shared};
use crate::sys::ethtool::Ethtool;
use crate::sys::netdev::{self, XdpFeatures};
use crate::sys::netlink::{Link, Netlink};
use crate::sys::netns::Namespace;
use std::io;

/// Capture mode to be had, queues and offloads of one interface.
pub fn examine(settings: &InterfaceSettings) -> Vec<Finding> {
    let label = settings.label();
    if let Some(finding) = refused(settings) {
        return vec![finding];
    }
    let name = settings.name.clone();
    let opened = Namespace::named(settings.namespace.as_deref())
        .and_then(|namespace| Ok((namespace.run(move || Ethtool::open(&name))??, namespace)));
    let (ethtool, namespace) = match opened {
        Ok(opened) => opened,
        // It was there a moment ago.
        Err(cause) => {
            let (found, why) = (format!("{cause}"), "it is to be captured from");
            return vec![Finding::new(&label, Verdict::Bad, found, why, "shrike doctor, again")];
        }
    };
    let mut findings = Vec::new();
    let driver = ethtool.driver().unwrap_or_else(|_| "unknown".into());
    findings.push(mode(&label, &driver, xdp_features(&namespace, &settings.name)));
    if let Ok(channels) = ethtool.channels() {
        let found = format!("{} receive queues in use, of at most {}", channels.rx, channels.rx_max);
        findings.push(Finding::new(&format!("{label} queues"), Verdict::Good, found, "one worker runs each queue", ""));
    }
    findings.extend(shared(settings));
    match falsifying_offloads(&settings.name, settings.namespace.as_deref()) {
        Err(cause) => findings.push(Finding::new(
            &format!("{label} offloads"),
            Verdict::Fair,
            format!("cannot be read: {cause}"),
            "offloads can make frames differ from the wire",
            format!("{}ethtool -k {}", namespace.command_prefix(), settings.name),
        )),
        Ok(offloads) => {
            for offload in offloads {
                // What an interface sends is falsified only where no hardware puts it right: on a virtual one.
                let harmless = offload.sending_side && driver != "veth";
                let (verdict, found) = if harmless {
                    (Verdict::Good, "is on, and harmless here: the NIC puts it right before the wire")
                } else if offload.sending_side {
                    (Verdict::Fair, "is on, so what this end sends is falsified; look at the peer's end too")
                } else {
                    (Verdict::Fair, "is on")
                };
                let check = format!("{label} {}", offload.feature);
                findings.push(Finding::new(&check, verdict, found, offload.effect, offload.fix));
            }
        }
    }
    findings
}

/// Whether the machine itself is cut off from its network through this interface while it is captured from.
fn shared(settings: &InterfaceSettings) -> Option<Finding> {
    if !is_shared(settings).unwrap_or(false) {
        return None;
    }
    let has_management = !settings.management.ports.is_empty() || !settings.management.addresses.is_empty();
    let verdict = if has_management { Verdict::Good } else { Verdict::Fair };
    let found = format!("carries addresses of this machine, which keeps only: {}", settings.left_to_the_machine());
    Some(Finding::new(
        &format!("{} addresses", settings.label()),
        verdict,
        found,
        "frames that we take never reach the kernel: connections of the machine itself stop",
        "another interface for the capture, or management_ports = [\"tcp/22\"] and management_addresses in its [[interface]]",
    ))
}

/// What keeps `shrike run` from capturing there at all: no such namespace, interface or queue.
pub fn refused(settings: &InterfaceSettings) -> Option<Finding> {
    let bad = |found: String, fix: String| {
        Some(Finding::new(&settings.label(), Verdict::Bad, found, "it is to be captured from", fix))
    };
    let namespace = match Namespace::named(settings.namespace.as_deref()) {
        Ok(namespace) => namespace,
        Err(cause) => return bad(format!("namespace: {cause}"), "`ip netns list` shows the names".to_owned()),
    };
    let prefix = namespace.command_prefix();
    if let Err(cause) = link(&namespace, &settings.name) {
        let found = match cause.raw_os_error() {
            Some(libc::ENODEV) => "there is no such interface".to_owned(),
            _ => format!("cannot be looked up: {cause}"),
        };
        let fix = match cause.kind() {
            io::ErrorKind::PermissionDenied => "only root may enter a network namespace: sudo".to_owned(),
            _ => format!("`{prefix}ip link` shows those there are"),
        };
        return bad(found, fix);
    }
    let name = settings.name.clone();
    let channels = namespace.run(move || Ethtool::open(&name)?.channels()).and_then(|channels| channels).ok()?;
    let beyond = settings.queues.iter().find(|queue| channels.rx > 0 && **queue >= channels.rx)?;
    bad(
        format!("has {} receive queues and no queue {beyond}", channels.rx),
        format!("`{prefix}ethtool -l {}` shows them; numbers begin with 0", settings.name),
    )
}

/// The interface as the kernel knows it: an [`Ethtool`] opens for any name.
fn link(namespace: &Namespace, name: &str) -> io::Result<Link> {
    namespace.run(|| Netlink::open()?.link(name))?
}

/// An interface as the kernel knows it.
pub fn of(settings: &InterfaceSettings) -> io::Result<Link> {
    link(&Namespace::named(settings.namespace.as_deref())?, &settings.name)
}

/// The features that the kernel states for the interface.
fn xdp_features(namespace: &Namespace, name: &str) -> io::Result<XdpFeatures> {
    let index = link(namespace, name)?.index;
    namespace.run(|| netdev::xdp_features(index))?
}

/// The best capture mode to be had, as the kernel says and not as drivers' names suggest.
fn mode(label: &str, driver: &str, features: io::Result<XdpFeatures>) -> Finding {
    const NIC: &str = "another NIC, or a newer kernel; for a test: make zero-copy";
    let (verdict, found, fix) = match features {
        Ok(features) if features.zero_copy() => (Verdict::Good, format!("zero-copy (driver {driver})"), ""),
        Ok(features) if features.native() => {
            (Verdict::Fair, format!("copy mode only: driver {driver} has native XDP and no zero-copy"), NIC)
        }
        Ok(_) => (Verdict::Fair, format!("generic mode only: driver {driver} has no native XDP now"), NIC),
        Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => {
            let found = format!("this kernel does not say what driver {driver} can do (Linux 6.3 does)");
            (Verdict::Fair, found, "`shrike run` tries the modes one after the other and shows what it got")
        }
        Err(cause) => (
            Verdict::Fair,
            format!("the kernel did not say what driver {driver} can do: {cause}"),
            "shrike doctor, again",
        ),
    };
    Finding::new(
        label,
        verdict,
        found,
        "zero-copy saves one copy of every frame, native mode the making of a socket buffer",
        fix,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_one_bad_finding() {
        let findings = examine(&InterfaceSettings::new("nosuchlink0"));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.verdict, finding.found.as_str()), (Verdict::Bad, "there is no such interface"));
        assert_eq!(finding.fix, "`ip link` shows those there are");
    }

    /// No kernel that says nothing is taken for one that says no.
    #[test]
    fn a_kernel_without_an_answer_is_not_a_driver_without_zero_copy() {
        let finding = mode("eth0", "igb", Err(io::Error::from_raw_os_error(libc::ENOENT)));
        assert!(finding.verdict == Verdict::Fair && finding.found.contains("does not say"), "{finding:?}");
        let finding = mode("eth0", "lo", Ok(XdpFeatures::default()));
        assert!(finding.found.starts_with("generic mode only"), "{finding:?}");
    }
}
