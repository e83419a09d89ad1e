//! Families of attacks: what models tell apart, and what MITRE ATT&CK calls them.

use super::Scores;

/// What a model takes a row for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Family {
    /// Honest.
    #[default]
    Benign,
    /// Looking for hosts and services.
    Scan,
    /// Guessing passwords.
    BruteForce,
    /// More packets than a host takes.
    Flood,
    /// Answers that somebody asked for in another's name.
    Amplification,
    /// Requests that hold a web server and never end.
    SlowHttp,
    /// Data in DNS names.
    DnsTunnel,
    /// Data in echoes.
    IcmpTunnel,
    /// Data in DNS over HTTPS.
    DohTunnel,
    /// Names made by an algorithm.
    Dga,
    /// Asking a server for orders, again and again.
    Beacon,
    /// Data that leaves.
    Exfiltration,
    /// Passing for another on the link.
    ArpSpoofing,
    /// A server that nobody set up.
    RogueService,
    /// Answers to names that nobody has.
    NamePoisoning,
    /// From host to host inside.
    LateralMovement,
    /// Requests that attack a web application.
    WebAttack,
    /// Mining.
    Mining,
    /// Like nothing that was learnt.
    Unusual,
}

impl Family {
    /// All that a model can name, in the order of the contract: honest first.
    pub const NAMED: [Family; 18] = [
        Family::Benign,
        Family::Scan,
        Family::BruteForce,
        Family::Flood,
        Family::Amplification,
        Family::SlowHttp,
        Family::DnsTunnel,
        Family::IcmpTunnel,
        Family::DohTunnel,
        Family::Dga,
        Family::Beacon,
        Family::Exfiltration,
        Family::ArpSpoofing,
        Family::RogueService,
        Family::NamePoisoning,
        Family::LateralMovement,
        Family::WebAttack,
        Family::Mining,
    ];

    /// Name in manifests and alerts, and the technique of MITRE ATT&CK, where there is one.
    const fn facts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Family::Benign => ("benign", None),
            Family::Scan => ("scan", Some("T1046")),
            Family::BruteForce => ("brute_force", Some("T1110")),
            Family::Flood => ("flood", Some("T1498.001")),
            Family::Amplification => ("amplification", Some("T1498.002")),
            Family::SlowHttp => ("slow_http", Some("T1499.002")),
            Family::DnsTunnel => ("dns_tunnel", Some("T1071.004")),
            Family::IcmpTunnel => ("icmp_tunnel", Some("T1095")),
            Family::DohTunnel => ("doh_tunnel", Some("T1572")),
            Family::Dga => ("dga", Some("T1568.002")),
            Family::Beacon => ("beacon", Some("T1071")),
            Family::Exfiltration => ("exfiltration", Some("T1048")),
            Family::ArpSpoofing => ("arp_spoofing", Some("T1557.002")),
            Family::RogueService => ("rogue_service", Some("T1557")),
            Family::NamePoisoning => ("name_poisoning", Some("T1557.001")),
            Family::LateralMovement => ("lateral_movement", Some("T1021")),
            Family::WebAttack => ("web_attack", Some("T1190")),
            Family::Mining => ("mining", Some("T1496")),
            Family::Unusual => ("unusual", None),
        }
    }

    /// Name in manifests and alerts.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Number of the technique of MITRE ATT&CK, where there is one.
    pub const fn technique(self) -> Option<&'static str> {
        self.facts().1
    }

    /// The one of that name, if a model can name it.
    pub fn named(name: &str) -> Option<Family> {
        Family::NAMED.into_iter().find(|family| family.name() == name)
    }
}

/// Most families of a model.
pub const FAMILIES_MAX: usize = Family::NAMED.len();

/// From which probability on a row is reported, and how many flows of one source an alert takes, by the model's families. A plain
/// value: part of a queue's settings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thresholds {
    /// Family of each of the model's outputs; the first is honest and never reported.
    families: [(Family, Limit); FAMILIES_MAX],
    /// Of the rank of what is unusual; above 1: never.
    unusual: Limit,
}

/// When one family is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limit {
    /// Least probability of a row.
    pub least: f32,
    /// Flows of one source that must have reached it, at most [`FLOWS_MAX`]; 0: the manifest does not say.
    pub flows: u8,
}

impl Limit {
    /// What is never told.
    pub const NEVER: Limit = Limit { least: f32::INFINITY, flows: 0 };
}

/// Most flows that an alert can ask of one source.
pub const FLOWS_MAX: u8 = 16;

/// What a model says of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// 1 - the probability that it is honest.
    pub attack: f32,
    /// The most probable of the attacks; [`Family::Unusual`] where none reaches its threshold and the anomaly does.
    pub family: Family,
    /// Its probability; of what is unusual its rank.
    pub score: f32,
    /// Threshold then in force.
    pub threshold: f32,
    /// Flows of one source that an alert takes; 0: the manifest does not say.
    pub needed: u8,
}

impl Verdict {
    /// Is it to be told?
    pub fn is_reported(&self) -> bool {
        self.score >= self.threshold
    }
}

impl Thresholds {
    /// Those of `families`, in the order of the model's outputs, and of what is unusual, if that is told.
    pub fn new(families: &[(Family, Limit)], unusual: Option<Limit>) -> Thresholds {
        let mut all = [(Family::Benign, Limit::NEVER); FAMILIES_MAX];
        for (place, family) in all.iter_mut().zip(families) {
            *place = *family;
        }
        Thresholds { families: all, unusual: unusual.unwrap_or(Limit::NEVER) }
    }

    /// The same families of as many flows, each from `least` on; what is unusual as before.
    #[must_use]
    pub fn from(self, least: f32) -> Thresholds {
        Thresholds { families: self.families.map(|(family, limit)| (family, Limit { least, ..limit })), ..self }
    }

    /// Every family from `least` on, of a model of which nothing is known; nothing is unusual.
    pub fn all(least: f32) -> Thresholds {
        Thresholds { families: Family::NAMED.map(|family| (family, Limit { least, flows: 0 })), unusual: Limit::NEVER }
    }

    /// What `scores` say of their row `row`.
    #[inline]
    pub fn judge(&self, scores: &Scores, row: usize) -> Verdict {
        let (honest, attacks) = scores.probabilities(row).split_first().unwrap_or((&1.0, &[]));
        let [_, families @ ..] = &self.families;
        let attack = 1.0 - honest;
        let verdict = |family: Family, score: f32, Limit { least: threshold, flows: needed }: Limit| Verdict {
            attack,
            family,
            score,
            threshold,
            needed,
        };
        let mut best = verdict(Family::Benign, 0.0, Limit::NEVER);
        for (probability, (family, limit)) in attacks.iter().zip(families) {
            if *probability > best.score || best.family == Family::Benign {
                best = verdict(*family, *probability, *limit);
            }
        }
        let rank = scores.anomaly(row);
        if !best.is_reported() && rank >= self.unusual.least {
            best = verdict(Family::Unusual, rank, self.unusual);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_names_of_their_own() {
        for family in Family::NAMED {
            assert_eq!(Family::named(family.name()), Some(family));
        }
        assert_eq!(Family::named("unusual"), None, "no output of a model");
    }

    #[test]
    fn a_row_is_what_is_most_probable_of_the_attacks_and_told_from_its_own_threshold() {
        use Family::{Benign, Flood, Scan, Unusual};
        let limit = |least, flows| Limit { least, flows };
        let families = [(Benign, Limit::NEVER), (Scan, limit(0.4, 3)), (Flood, limit(0.9, 1))];
        let thresholds = Thresholds::new(&families, Some(limit(0.99, 8)));
        let cases = [
            ([0.5, 0.45, 0.05], 0.0, (Scan, 0.45, true, 3)),
            ([0.2, 0.0, 0.8], 0.0, (Flood, 0.8, false, 1)),
            ([0.05, 0.0, 0.95], 1.0, (Flood, 0.95, true, 1)),
            ([1.0, 0.0, 0.0], 0.5, (Scan, 0.0, false, 3)),
            ([0.2, 0.0, 0.8], 0.995, (Unusual, 0.995, true, 8)),
            ([1.0, 0.0, 0.0], 0.99, (Unusual, 0.99, true, 8)),
        ];
        for (probabilities, anomaly, (family, score, told, needed)) in cases {
            let mut scores = Scores::new();
            let (to, ranks) = scores.make(1, 3).unwrap();
            to.copy_from_slice(&probabilities);
            ranks[0] = anomaly;
            let verdict = thresholds.judge(&scores, 0);
            assert_eq!(
                (verdict.family, verdict.score, verdict.is_reported(), verdict.needed),
                (family, score, told, needed),
                "{probabilities:?}"
            );
            assert_eq!(verdict.attack, 1.0 - probabilities[0]);
        }
        assert!(Thresholds::all(0.0).judge(&Scores::benign(1), 0).is_reported(), "every row");
    }
}
