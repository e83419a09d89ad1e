//! Which families an alert may mean: the one place that says so.

use super::Family;
use crate::dataplane::detect::Detector;

/// Detector, kind (`*` at the end: whatever follows), and what it may mean, the most usual first. The first row that fits
/// decides. Nothing: it says that something is odd, and not what.
const MEANINGS: &[(Detector, &str, &[&str])] = &[
    (Detector::Scan, "*", &["scan"]),
    (Detector::BruteForce, "*", &["brute_force"]),
    // Whoever is hit by reflectors is flooded.
    (Detector::Flood, "*", &["flood", "amplification"]),
    (Detector::Amplification, "*", &["amplification"]),
    (Detector::SlowHttp, "*", &["slow_http"]),
    // Data that leaves inside DNS is both; which of the two it is, nobody on the wire can tell.
    // Over hours the same holds of calls home: another name at each beat, below a name of one's own.
    (Detector::DnsTunnel, "slow_tunnel", &["dns_tunnel", "exfiltration", "beacon"]),
    (Detector::DnsTunnel, "*", &["dns_tunnel", "exfiltration"]),
    (Detector::Beacon, "dns", &["beacon", "dns_tunnel"]),
    (Detector::Dga, "*", &["dga"]),
    (Detector::Beacon, "*", &["beacon"]),
    (Detector::Mining, "*", &["mining"]),
    (Detector::Exfiltration, "*", &["exfiltration"]),
    (Detector::Spoofing, "arp_*", &["arp_spoofing"]),
    (Detector::Spoofing, "rogue_*", &["rogue_service"]),
    (Detector::Spoofing, "dhcp_*", &["rogue_service"]),
    (Detector::Spoofing, "name_poisoning*", &["name_poisoning"]),
    (Detector::Lateral, "*", &["lateral_movement"]),
    // A password in the clear, an odd handshake or port, an entry of somebody's list: true of attacks of any family.
    (Detector::Cleartext, "*", &[]),
    (Detector::TlsAnomaly, "*", &[]),
    (Detector::OddFlow, "*", &[]),
    (Detector::Intel, "*", &[]),
    // As many people as there are programs may be behind it.
    (Detector::Growth, "*", &[]),
];

/// Families that an alert of this detector and kind may mean, the most usual first. A kind or a detector that has a family's
/// name means it.
pub fn meaning(detector: Detector, kind: &str) -> Vec<Family> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => kind == pattern,
    };
    let named = |name: &str| Family::named(name).map(|family| vec![family]);
    let row = MEANINGS.iter().find(|(who, pattern, _)| *who == detector && fits(pattern));
    let listed = row.map(|(_, _, families)| families.iter().filter_map(|name| Family::named(name)).collect());
    named(kind).or(listed).or_else(|| named(detector.name())).unwrap_or_default()
}
