//! What `doctor` says of one interface.

use super::doctor::{Finding, Verdict};
use crate::dataplane::capture::xdp::{InterfaceSettings, falsifying_offloads};
use crate::sys::ethtool::Ethtool;
use crate::sys::netns::Namespace;

/// Driver, queues, symmetric RSS and offloads of one interface.
pub fn examine(settings: &InterfaceSettings) -> Vec<Finding> {
    let label = settings.label();
    let namespace = match Namespace::named(settings.namespace.as_deref()) {
        Ok(namespace) => namespace,
        Err(cause) => {
            let fix = "ip netns list shows the names";
            return vec![Finding::new(
                &label,
                Verdict::Bad,
                format!("namespace: {cause}"),
                "the interface lives there",
                fix,
            )];
        }
    };
    let name = settings.name.clone();
    let ethtool = match namespace.run(move || Ethtool::open(&name)).and_then(|opened| opened) {
        Ok(ethtool) => ethtool,
        Err(cause) => {
            let fix = format!("{}ip link shows the interfaces", namespace.command_prefix());
            return vec![Finding::new(&label, Verdict::Bad, format!("{cause}"), "it is to be captured from", fix)];
        }
    };
    let mut findings = Vec::new();
    let driver = ethtool.driver().unwrap_or_else(|_| "unknown".into());
    // Drivers with XDP_ZEROCOPY in mainline Linux 6.18 (net/core/xdp_sock: those that implement XDP_SETUP_XSK_POOL).
    let zero_copy =
        ["i40e", "ice", "ixgbe", "igb", "igc", "mlx5_core", "virtio_net", "stmmac", "nfp", "gve", "ena", "idpf"];
    let (verdict, found) = if zero_copy.contains(&driver.as_str()) {
        (Verdict::Good, format!("driver {driver} has zero-copy"))
    } else {
        (Verdict::Fair, format!("driver {driver} has no zero-copy: frames are copied once"))
    };
    findings.push(Finding::new(
        &label,
        verdict,
        found,
        "zero-copy saves one copy of every frame",
        "a NIC with i40e, ice, mlx5 or igb; for a test: make zero-copy",
    ));
    if let Ok(channels) = ethtool.channels() {
        let found = format!("{channels:?}");
        findings.push(Finding::new(&format!("{label} queues"), Verdict::Good, found, "one worker runs each queue", ""));
    }
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
