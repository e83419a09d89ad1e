//! What may never be done, whoever asks: one pure function of what is asked, who asks, what is in force, and the clock's part in
//! that. Nothing overrides it; the allow-list can only be made longer.
//!
//! For everybody: nothing that meets the allow-list or an address that is nobody's (broadcast, multicast, loopback, unspecified), no
//! prefix shorter than its limit, no more than a share of the address space, an end for everything and none too far away. For
//! playbooks besides: no source that may be forged, so many new blocks a minute, longer prefixes, and nothing while the brake is on.

mod allow;
mod brake;
mod own;
#[cfg(test)]
mod tests;

pub use allow::AllowList;
pub use brake::{Brake, BrakeSettings, Observed};
pub(super) use own::card;
pub use own::{Own, read as read_own};

use super::prefix::Prefix;
use super::words::{Verdict, tell};
use crate::dataplane::verdict::{Action, Subject};
use crate::units::SECOND;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What speaks for it that a source is who it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Nothing: anybody can have written that address.
    #[default]
    None,
    /// It completed a handshake: it got what was sent to that address.
    Handshake,
    /// Payload went both ways.
    Payload,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Somebody, by the name given with the order.
    Person(String),
    /// A playbook, by its name; nobody was asked.
    Playbook(String),
}

impl Who {
    /// Was nobody asked?
    pub fn is_automatic(&self) -> bool {
        matches!(self, Who::Playbook(_))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Person(name) => write!(f, "{name}"),
            Who::Playbook(name) => write!(f, "playbook {name}"),
        }
    }
}

/// Limits. Defaults are meant for a network of some thousand hosts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// New automatic blocks a minute; 30: two attackers a second is more than a person follows, and a botnet is a person's decision.
    pub automatic_per_minute: u32,
    /// Share of the IPv4 addresses that may be blocked at a time; 0.05: twelve /8.
    pub ipv4_share: f64,
    /// The same of the /64 networks of IPv6. 0.000001: some four thousand /32, each of a provider.
    pub ipv6_share: f64,
    /// Shortest IPv4 prefix that a person may block, bits.
    pub ipv4_bits: u8,
    /// The same of IPv6.
    pub ipv6_bits: u8,
    /// Shortest IPv4 prefix that a playbook may block: 32, one address, for a network is many people.
    pub automatic_ipv4_bits: u8,
    /// The same of IPv6: 64, for a host has as many addresses as it likes within its /64.
    pub automatic_ipv6_bits: u8,
    /// Longest time, nanoseconds.
    pub ttl_max_ns: u64,
    /// Subjects in force at a time: bounds the memory, some 250 bytes each.
    pub subjects: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            automatic_per_minute: 30,
            ipv4_share: 0.05,
            ipv6_share: 1e-6,
            ipv4_bits: 8,
            ipv6_bits: 29,
            automatic_ipv4_bits: 32,
            automatic_ipv6_bits: 64,
            ttl_max_ns: 30 * 86_400 * SECOND,
            subjects: 1_200_000,
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub who: &'a Who,
    /// What would be put in force; empty for what touches no frame.
    pub verdicts: &'a [Verdict],
    /// For how long, nanoseconds.
    pub ttl_ns: u64,
    /// What speaks for the source being who it says.
    pub proof: Proof,
    /// It is in force already and is only to last longer: no new block.
    pub extends: bool,
}

/// What there is already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InForce {
    /// Automatic responses with verdicts begun in the last minute.
    pub automatic_last_minute: u32,
    /// IPv4 addresses that are blocked or limited, and /64 networks of IPv6; overlaps count twice.
    pub addresses: [u64; 2],
    /// Subjects of any kind.
    pub subjects: u64,
    /// The brake is on: automatic blocks hurt.
    pub braked: bool,
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("refused by {rule}: {reason}; {remedy}")]
pub struct Refusal {
    /// Which rule: one of [`RULES`].
    pub rule: String,
    /// What is wrong, with the figures.
    pub reason: String,
    /// What would be right.
    pub remedy: String,
}

/// Every rule by its name, in the order in which they are asked.
pub const RULES: [&str; 8] =
    ["ttl", "special_address", "allow_list", "prefix_length", "proof", "brake", "budget_share", "budget_rate"];

fn refusal(rule: &'static str, reason: String, remedy: impl Into<String>) -> Refusal {
    Refusal { rule: rule.to_owned(), reason, remedy: remedy.into() }
}

/// Is it allowed? Nothing but the arguments counts.
///
/// # Errors
/// The first rule of [`RULES`] that says no.
pub fn judge(ask: &Ask<'_>, allow: &AllowList, in_force: &InForce, settings: &Settings) -> Result<(), Refusal> {
    let automatic = ask.who.is_automatic();
    if ask.ttl_ns == 0 || ask.ttl_ns > settings.ttl_max_ns {
        let (asked, most) = (ask.ttl_ns / SECOND, settings.ttl_max_ns / SECOND);
        let reason = format!("it would last {asked} s, and everything ends within {most} s");
        return Err(refusal(
            "ttl",
            reason,
            format!("ask for 1 to {most} s (ttl_max of [respond]), and again when it ends"),
        ));
    }
    let acts = |verdict: &&Verdict| verdict.action != Action::Pass;
    let (mut four, mut six) = (0_u64, 0_u64);
    for verdict in ask.verdicts.iter().filter(acts) {
        addresses(verdict, allow, automatic, settings)?;
        if let Subject::Prefix(first, bits) = verdict.subject {
            let prefix = Prefix::around(first, bits);
            let sum = if prefix.first().is_ipv4() { &mut four } else { &mut six };
            *sum = sum.saturating_add(prefix.size());
        }
        let provable = !matches!(verdict.subject, Subject::Signature(_));
        if automatic && provable && ask.proof == Proof::None {
            let reason = format!(
                "{} may be forged: neither a completed handshake nor payload in both directions was seen of it",
                tell(&verdict.subject)
            );
            let remedy = "answer with rate_limit on the packets' signature, or have a person block it";
            return Err(refusal("proof", reason, remedy));
        }
    }
    if !ask.verdicts.iter().any(|verdict| acts(&verdict)) {
        return Ok(());
    }
    if automatic && in_force.braked {
        let reason = "the brake is on: automatic blocks hurt traffic that did no harm".to_owned();
        return Err(refusal("brake", reason, "a person may block; GET /v1/responses says when it was put on and why"));
    }
    if ask.extends {
        return Ok(());
    }
    budgets(ask, [four, six], in_force, settings)?;
    if automatic && in_force.automatic_last_minute >= settings.automatic_per_minute {
        let count = in_force.automatic_last_minute;
        let most = settings.automatic_per_minute;
        let reason = format!("{count} automatic blocks began within a minute, {most} may");
        return Err(refusal(
            "budget_rate",
            reason,
            "a person may block; automatic_per_minute of [respond] is the limit",
        ));
    }
    Ok(())
}

/// What a verdict may be about.
fn addresses(verdict: &Verdict, allow: &AllowList, automatic: bool, settings: &Settings) -> Result<(), Refusal> {
    match verdict.subject {
        Subject::Mac(card) => {
            let nobodys = card == [0; 6] || card[0] & 1 == 1;
            if nobodys {
                let reason = format!("{} is no card's own address", tell(&verdict.subject));
                return Err(refusal("special_address", reason, "name the card of one host"));
            }
            allow.card(card).map_or(Ok(()), |what| Err(listed(&verdict.subject, what)))
        }
        Subject::Flow(flow) => flow.ends().iter().try_for_each(|(end, _)| one(verdict, Prefix::host(*end), allow)),
        Subject::Signature(signature) => one(verdict, Prefix::host(signature.destination), allow),
        Subject::Prefix(first, bits) => {
            let prefix = Prefix::around(first, bits);
            one(verdict, prefix, allow)?;
            let least = match (prefix.first(), automatic) {
                (IpAddr::V4(_), false) => settings.ipv4_bits,
                (IpAddr::V4(_), true) => settings.automatic_ipv4_bits,
                (IpAddr::V6(_), false) => settings.ipv6_bits,
                (IpAddr::V6(_), true) => settings.automatic_ipv6_bits,
            };
            if prefix.bits() < least {
                let whose = if automatic { "a playbook" } else { "anybody" };
                let reason = format!("{prefix} is shorter than the {least} bits that {whose} may block");
                return Err(refusal("prefix_length", reason, "name longer prefixes"));
            }
            Ok(())
        }
    }
}

fn one(verdict: &Verdict, prefix: Prefix, allow: &AllowList) -> Result<(), Refusal> {
    if let Some(special) = AllowList::special(&prefix) {
        let reason = format!("{} meets {special}, which is no host's address", tell(&verdict.subject));
        return Err(refusal("special_address", reason, "name addresses of hosts"));
    }
    allow.meets(&prefix).map_or(Ok(()), |what| Err(listed(&verdict.subject, what)))
}

fn listed(subject: &Subject, what: &str) -> Refusal {
    let reason = format!("{} meets {what}, which is on the allow-list", tell(subject));
    let remedy =
        "name addresses beside it; nothing blocks what is on the list, and only `allow` of [respond] can be changed";
    refusal("allow_list", reason, remedy)
}

fn budgets(ask: &Ask<'_>, added: [u64; 2], in_force: &InForce, settings: &Settings) -> Result<(), Refusal> {
    let whole = [2_f64.powi(32), 2_f64.powi(64)];
    let shares = [settings.ipv4_share, settings.ipv6_share];
    let names = ["IPv4 addresses", "IPv6 networks of 64 bits"];
    for family in 0..2 {
        let total = in_force.addresses[family].saturating_add(added[family]) as f64;
        let most = whole[family] * shares[family];
        if added[family] > 0 && total > most {
            let reason = format!("{total:.0} {} would be blocked, at most {most:.0} may", names[family]);
            let key = ["ipv4_share", "ipv6_share"][family];
            let remedy = format!("let some end, name longer prefixes, or raise {key} of [respond]");
            return Err(refusal("budget_share", reason, remedy));
        }
    }
    let subjects = in_force.subjects.saturating_add(ask.verdicts.len() as u64);
    if subjects > settings.subjects {
        let reason = format!("{subjects} subjects would be in force, at most {} may", settings.subjects);
        return Err(refusal("budget_share", reason, "let some end, join prefixes, or raise subjects of [respond]"));
    }
    Ok(())
}
