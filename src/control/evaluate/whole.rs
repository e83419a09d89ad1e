//! Captures of others, which are an attack from end to end or none: what their manifest calls them.

use super::Family;

/// Words of a manifest and the family they mean; `benign` means none. The first that a text holds decides.
const WORDS: [(&str, &str); 17] = [
    ("benign", "benign"),
    ("arp poison", "arp_spoofing"),
    ("arp spoof", "arp_spoofing"),
    ("brute force", "brute_force"),
    ("beacon", "beacon"),
    ("lateral movement", "lateral_movement"),
    ("dns tunnel", "dns_tunnel"),
    ("dns_exfiltration", "dns_tunnel"),
    ("icmp tunnel", "icmp_tunnel"),
    ("mining", "mining"),
    ("slowloris", "slow_http"),
    ("dos", "flood"),
    ("flood", "flood"),
    ("scan", "scan"),
    ("log4shell", "web_attack"),
    ("dvwa", "web_attack"),
    ("webattack", "web_attack"),
];

/// The family of a capture, or `None` for an honest one, by what the manifest says was in it; the outer `None`: it says
/// nothing that can be judged as a whole.
pub fn whole(path: &str, ground_truth: &str) -> Option<Option<Family>> {
    if let Some(family) = Family::named(ground_truth) {
        return Some(Some(family));
    }
    let text = ground_truth.to_ascii_lowercase();
    // Expected outputs of others are no traffic of anybody's; a password in the clear is no attack.
    if text.starts_with("expected") || text.starts_with("cleartext") {
        return None;
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    if path.contains("icmp_tunnel/") {
        return Some(Family::named("icmp_tunnel"));
    }
    if name.contains("slowloris") {
        return Some(Family::named("slow_http"));
    }
    let (_, family) =
        WORDS.iter().find(|(word, _)| text.contains(word) || path.starts_with("attack/") && name.contains(word))?;
    Some(Family::named(family))
}
