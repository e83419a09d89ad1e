//! Offloads that make frames differ from what was on the wire, for `doctor`.

use crate::sys::ethtool::Ethtool;
use crate::sys::netns::Namespace;
use std::io;

/// One offload that falsifies frames, and the command that switches it off.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct OffloadFinding {
    /// The kernel's name of the feature, such as `rx-gro`.
    pub feature: String,
    /// What a capture shows because of it.
    pub effect: &'static str,
    /// The command that cures it.
    pub fix: String,
    /// It matters only where this interface sends to one that is watched (a veth end, the machine under test): the
    /// frames it sends never see a wire that would make them whole.
    pub sending_side: bool,
}

impl OffloadFinding {
    /// Something is taken out of frames, or they are joined, before we see them: behind a pair it would be missing.
    pub fn harms_pairs(&self) -> bool {
        ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-lro", "rx-gro-hw"].contains(&self.feature.as_str())
    }
}

struct Rule {
    feature: &'static str,
    switch: &'static str,
    effect: &'static str,
    sending_side: bool,
}

const MERGED: &str = "several segments arrive as one frame longer than any on the wire; counts and sizes are wrong";
const NO_TAG: &str = "VLAN tags are taken out of the frames, so flows of different VLANs look alike";
const NOT_CUT: &str = "segments of up to 64 KiB are sent uncut, longer than any frame on a wire";
const NO_SUM: &str = "checksums are left for a NIC to fill in that is not there, so every one looks wrong";

const fn rule(feature: &'static str, switch: &'static str, effect: &'static str, sending_side: bool) -> Rule {
    Rule { feature, switch, effect, sending_side }
}

/// Kernel feature names (net/ethtool/common.c) and the words `ethtool -K` takes for them.
const RULES: [Rule; 18] = [
    rule("rx-gro", "gro", MERGED, false),
    rule("rx-gro-hw", "rx-gro-hw", MERGED, false),
    rule("rx-gro-list", "rx-gro-list", MERGED, false),
    rule("rx-udp-gro-forwarding", "rx-udp-gro-forwarding", MERGED, false),
    rule("rx-lro", "lro", MERGED, false),
    rule("rx-vlan-hw-parse", "rxvlan", NO_TAG, false),
    rule("rx-vlan-stag-hw-parse", "rx-vlan-stag-hw-parse", NO_TAG, false),
    rule("tx-generic-segmentation", "gso", NOT_CUT, true),
    rule("tx-tcp-segmentation", "tso", NOT_CUT, true),
    rule("tx-tcp6-segmentation", "tso", NOT_CUT, true),
    rule("tx-udp-segmentation", "tx-udp-segmentation", NOT_CUT, true),
    rule("tx-checksum-ipv4", "tx", NO_SUM, true),
    rule("tx-checksum-ipv6", "tx", NO_SUM, true),
    rule("tx-checksum-ip-generic", "tx", NO_SUM, true),
    rule("tx-checksum-sctp", "tx-checksum-sctp", NO_SUM, true),
    rule("tx-vlan-hw-insert", "txvlan", NO_TAG, true),
    rule("tx-vlan-stag-hw-insert", "tx-vlan-stag-hw-insert", NO_TAG, true),
    rule("tx-sctp-segmentation", "tx-sctp-segmentation", NOT_CUT, true),
];

/// Offloads now active on an interface that make captured frames differ from those on the wire.
///
/// # Errors
/// The namespace or the interface does not exist.
pub fn falsifying_offloads(name: &str, namespace: Option<&str>) -> io::Result<Vec<OffloadFinding>> {
    let namespace = Namespace::named(namespace)?;
    let active = namespace.run(|| Ethtool::open(name)?.active_features())??;
    Ok(findings(&active, name, &namespace))
}

fn findings(active: &[String], name: &str, namespace: &Namespace) -> Vec<OffloadFinding> {
    let matching = RULES.iter().filter(|rule| active.iter().any(|feature| feature == rule.feature));
    matching
        .map(|rule| OffloadFinding {
            feature: rule.feature.to_owned(),
            effect: rule.effect,
            fix: format!("{}ethtool -K {name} {} off", namespace.command_prefix(), rule.switch),
            sending_side: rule.sending_side,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_names_the_exact_command() {
        let active = ["rx-gro", "rx-checksum", "tx-checksum-ip-generic"].map(str::to_owned);
        let namespace = Namespace::named(Some("tap")).unwrap();
        let found = findings(&active, "eth1", &namespace);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].fix, "ip netns exec tap ethtool -K eth1 gro off");
        assert!(!found[0].sending_side);
        assert_eq!(found[1].fix, "ip netns exec tap ethtool -K eth1 tx off");
        assert!(found[1].sending_side);
    }
}
