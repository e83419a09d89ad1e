//! Verdicts in words: as people and JSON have them, and in the order in which sets of them are compared.

use super::prefix::Prefix;
use crate::dataplane::verdict::{Action, Rule, Side, Subject};
use serde::{Serialize, Serializer};

/// What a response asks of the kernel, without its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Which frames.
    pub subject: Subject,
    /// What is done with them.
    pub action: Action,
    /// Of a prefix: which address must lie in it.
    pub side: Side,
}

impl Verdict {
    /// The rule that ends at that moment of `CLOCK_MONOTONIC`.
    pub fn rule(&self, until_ns: u64) -> Rule {
        Rule { action: self.action, side: self.side, until_ns }
    }

    /// Does nothing that is added make it stricter?
    pub fn is_strictest(&self) -> bool {
        self.action == Action::Drop && self.side == Side::Both
    }

    /// Both of two that are about the same subject: the stricter action, the wider side.
    #[must_use]
    pub fn with(self, other: &Verdict) -> Verdict {
        let side = if self.side == other.side { self.side } else { Side::Both };
        let action = match (self.action, other.action) {
            (Action::Limit { per_second, burst }, Action::Limit { per_second: second, burst: other }) => {
                Action::Limit { per_second: per_second.min(second), burst: burst.min(other) }
            }
            (one, two) if strictness(one) >= strictness(two) => one,
            (_, two) => two,
        };
        Verdict { subject: self.subject, action, side }
    }
}

fn strictness(action: Action) -> u8 {
    match action {
        Action::Pass => 0,
        Action::Shunt => 1,
        Action::Limit { .. } => 2,
        Action::Isolate => 3,
        Action::Drop => 4,
    }
}

/// `02:00:00:00:00:01`.
pub fn card_text(card: [u8; 6]) -> String {
    card.map(|byte| format!("{byte:02x}")).join(":")
}

/// `tcp`, or the number.
fn protocol_text(protocol: u8) -> String {
    match protocol {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmpv6".into(),
        other => format!("protocol {other}"),
    }
}

/// A subject for people: `192.0.2.0/24`, `tcp 10.0.0.1:80 - 192.0.2.7:1024`, `tcp syn to 10.0.0.9:443`, `card 02:00:00:00:00:01`.
pub fn tell(subject: &Subject) -> String {
    match subject {
        Subject::Mac(card) => format!("card {}", card_text(*card)),
        Subject::Flow(flow) => {
            let [one, other] = flow.ends().map(|(address, port)| std::net::SocketAddr::new(address, port));
            format!("{} {one} - {other}", protocol_text(flow.protocol()))
        }
        Subject::Signature(signature) => {
            let syn = if signature.only_syn { " syn" } else { "" };
            let to = match signature.port {
                0 => signature.destination.to_string(),
                port => std::net::SocketAddr::new(signature.destination, port).to_string(),
            };
            format!("{}{syn} to {to}", protocol_text(signature.protocol))
        }
        Subject::Prefix(first, bits) => Prefix::around(*first, *bits).to_string(),
    }
}

/// An action for people: `drop`, `limit to 100 a second (burst 200)`.
pub fn tell_action(action: Action) -> String {
    match action {
        Action::Drop => "drop".into(),
        Action::Limit { per_second, burst } => format!("limit to {per_second} a second (burst {burst})"),
        Action::Shunt => "shunt".into(),
        Action::Isolate => "isolate".into(),
        Action::Pass => "pass".into(),
    }
}

/// `source`, `destination` or `both`.
pub fn tell_side(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Destination => "destination",
        Side::Both => "both",
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Verdict", 3)?;
        fields.serialize_field("subject", &tell(&self.subject))?;
        fields.serialize_field("action", &tell_action(self.action))?;
        match self.subject {
            Subject::Prefix(..) => fields.serialize_field("side", tell_side(self.side))?,
            _ => fields.skip_field("side")?,
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::verdict::{FlowSubject, Signature};

    #[test]
    fn subjects_are_told_shortly() {
        let at = |text: &str| text.parse().unwrap();
        for (subject, told) in [
            (Subject::Mac([2, 0, 0, 0, 0, 10]), "card 02:00:00:00:00:0a"),
            (
                Subject::Flow(FlowSubject::new((at("192.0.2.7"), 9), (at("10.0.0.1"), 80), 6)),
                "tcp 10.0.0.1:80 - 192.0.2.7:9",
            ),
            (
                Subject::Signature(Signature {
                    destination: at("2001:db8::1"),
                    protocol: 6,
                    port: 443,
                    only_syn: true,
                }),
                "tcp syn to [2001:db8::1]:443",
            ),
            (
                Subject::Signature(Signature { destination: at("10.0.0.9"), protocol: 17, port: 0, only_syn: false }),
                "udp to 10.0.0.9",
            ),
            (Subject::Prefix(at("192.0.2.0"), 24), "192.0.2.0/24"),
        ] {
            assert_eq!(tell(&subject), told);
        }
    }

    #[test]
    fn of_two_the_stricter_holds() {
        let subject = Subject::Prefix("192.0.2.7".parse().unwrap(), 32);
        let verdict = |action, side| Verdict { subject, action, side };
        let limit = |per_second, burst| Action::Limit { per_second, burst };
        let both = verdict(limit(10, 50), Side::Source).with(&verdict(limit(20, 5), Side::Destination));
        assert_eq!(both, verdict(limit(10, 5), Side::Both));
        for (one, other, wanted) in [
            (Action::Drop, limit(1, 1), Action::Drop),
            (Action::Pass, Action::Drop, Action::Drop),
            (Action::Pass, limit(3, 3), limit(3, 3)),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(verdict(one, Side::Source).with(&verdict(other, Side::Source)).action, wanted);
            }
        }
    }
}
