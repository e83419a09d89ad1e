//! `[respond]`, `[[playbook]]`, `[[webhook]]`, `[[command]]`: what may be done about alerts, by itself or when asked.

use super::error::Invalid;
use super::raw::{RawCommand, RawConfig, RawPlaybook, RawShunt, RawWebhook};
use super::values::{number, word};
use crate::control::respond::live;
use crate::control::respond::order::Settings;
use crate::control::respond::playbooks::{Direction, Mode, PLACES, Playbook, unknown_places};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::protocols::{CommandPlan, Registry, WebhookPlan};
use crate::control::respond::safety::{BrakeSettings, Settings as Limits};
use crate::control::respond::scan;
use crate::control::respond::watch::capture;
use crate::control::respond::watch::sending::Out;
use crate::control::shunt;
use crate::dataplane::capture::xdp::VerdictRoom;
use crate::dataplane::detect::Detector;
use crate::units::SECOND;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Each alert is held against each of them.
const PLAYBOOKS_MAX: usize = 256;
/// Packets a second that packets of one signature are limited to while nobody knows who sends them: openings that a busy server has in
/// a second, and a tenth of what a slow flood sends. Lower: a flood shuts honest clients out sooner; higher: more of it arrives.
const UNPROVEN_PER_SECOND: u64 = 1000;
/// Longest time of anything, seconds: a year.
const YEAR: u64 = 365 * 86_400;

/// Responses.
#[derive(Clone, Debug)]
pub struct RespondPlan {
    /// Respond at all?
    pub enabled: bool,
    /// SQLite file; `None`: beside the alerts'.
    pub store: Option<PathBuf>,
    /// Limits, times, the brake.
    pub settings: Settings,
    /// Room of the kernel's maps.
    pub room: VerdictRoom,
    /// Never blocked, besides what is found of the machine itself.
    pub allow: Vec<Prefix>,
    /// Rows of the audit that are kept.
    pub audit_rows: u64,
    /// How alerts are answered.
    pub playbooks: Vec<Playbook>,
    /// Servers that may be told.
    pub webhooks: Vec<WebhookPlan>,
    /// Programs that may be run.
    pub commands: Vec<CommandPlan>,
    /// By which interface resets leave for connections that a tap sees.
    pub reset_interface: Option<Out>,
    /// How active checks are made, and of whom.
    pub scan: scan::Settings,
    /// Folder of the captures; `None`: beside the responses' file.
    pub captures: Option<PathBuf>,
    /// Bytes of one at most, and how many are kept.
    pub capture_limits: (u64, usize),
}

impl RespondPlan {
    /// The file, for a sensor whose alerts are in `alerts`.
    pub fn store_beside(&self, alerts: &Path) -> PathBuf {
        self.store.clone().unwrap_or_else(|| alerts.with_extension("responses.db"))
    }

    /// How captures are kept, for a sensor whose alerts are in `alerts`.
    pub fn captures_beside(&self, alerts: &Path) -> capture::Settings {
        let folder = self.captures.clone().unwrap_or_else(|| capture::folder_beside(&self.store_beside(alerts)));
        let (bytes, files) = self.capture_limits;
        capture::Settings { folder, bytes, files }
    }

    /// What the threads are told; `allow`: what is never blocked besides.
    pub fn live(&self, alerts: &Path, home: Vec<Prefix>, allow: Vec<(Prefix, String)>) -> live::Plan {
        let listed = self.allow.iter().map(|prefix| (*prefix, "allow of [respond]".to_owned()));
        live::Plan {
            settings: self.settings.clone(),
            machine: PathBuf::from("/"),
            allow: listed.chain(allow).collect(),
            home,
            playbooks: self.playbooks.clone(),
            webhooks: self.webhooks.clone(),
            commands: self.commands.clone(),
            reset_interface: self.reset_interface.clone(),
            scan: self.scan.clone(),
            captures: self.captures_beside(alerts),
            store: self.store_beside(alerts),
            audit_rows: self.audit_rows,
        }
    }
}

fn invalid<T>(key: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { key: key.into(), problem: problem.into(), remedy: remedy.into(), other: None })
}

/// A number with decimals in a range, or its default.
fn share(key: &str, value: Option<f64>, default: f64) -> Result<f64, Invalid> {
    let found = value.unwrap_or(default);
    if (0.0..=1.0).contains(&found) { Ok(found) } else { Err(Invalid::range(key, found, "0..=1")) }
}

pub(super) fn prefixes(key: &str, list: &[String]) -> Result<Vec<Prefix>, Invalid> {
    let one = |(index, text): (usize, &String)| {
        text.parse().or_else(|cause| invalid(format!("{key}[{index}]"), format!("holds {text:?}"), format!("{cause}")))
    };
    list.iter().enumerate().map(one).collect()
}

/// A name that nothing else in the list has.
fn named(key: &str, name: Option<&String>, others: &[&str]) -> Result<String, Invalid> {
    let name = name.cloned().unwrap_or_default();
    let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return invalid(key, format!("is {name:?}"), "write a name of 1 to 64 letters, digits, - _ and .");
    }
    if others.contains(&name.as_str()) {
        return invalid(key, format!("is {name:?} a second time"), "give each a name of its own: the audit tells it");
    }
    Ok(name)
}

/// The plan of these sections.
///
/// # Errors
/// The first value that cannot be meant.
pub(super) fn plan(config: &RawConfig) -> Result<RespondPlan, Invalid> {
    let raw = &config.respond;
    let default = Settings::default();
    let seconds = |name: &str, value, default: u64, low, high| {
        number(&format!("respond.{name}"), value, default / SECOND, low, high).map(|seconds| seconds * SECOND)
    };
    let bits = |name: &str, value, default: u8, most| {
        number(&format!("respond.{name}"), value, default.into(), 1, most).map(|bits| bits as u8) // at most 128
    };
    let (limits, brake) = (default.limits, default.brake);
    let per_minute = u64::from(limits.automatic_per_minute);
    let limits = Limits {
        automatic_per_minute: number("respond.automatic_per_minute", raw.automatic_per_minute, per_minute, 0, 60_000)?
            as u32,
        ipv4_share: share("respond.ipv4_share", raw.ipv4_share, limits.ipv4_share)?,
        ipv6_share: share("respond.ipv6_share", raw.ipv6_share, limits.ipv6_share)?,
        ipv4_bits: bits("ipv4_bits", raw.ipv4_bits, limits.ipv4_bits, 32)?,
        ipv6_bits: bits("ipv6_bits", raw.ipv6_bits, limits.ipv6_bits, 128)?,
        automatic_ipv4_bits: bits("automatic_ipv4_bits", raw.automatic_ipv4_bits, limits.automatic_ipv4_bits, 32)?,
        automatic_ipv6_bits: bits("automatic_ipv6_bits", raw.automatic_ipv6_bits, limits.automatic_ipv6_bits, 128)?,
        ttl_max_ns: seconds("ttl_max_seconds", raw.ttl_max_seconds, limits.ttl_max_ns, 1, YEAR)?,
        subjects: number("respond.subjects", raw.subjects, limits.subjects, 1, 1 << 24)?,
    };
    let ttl_ns = seconds("ttl_seconds", raw.ttl_seconds, default.ttl_ns.min(limits.ttl_max_ns), 1, YEAR)?;
    if ttl_ns > limits.ttl_max_ns {
        let (asked, most) = (ttl_ns / SECOND, limits.ttl_max_ns / SECOND);
        return Err(Invalid::order("respond.ttl_seconds", asked, "respond.ttl_max_seconds", most + 1));
    }
    let brake = BrakeSettings {
        flows: number("respond.brake_flows", raw.brake_flows, brake.flows, 0, 1 << 20)?,
        assets: number("respond.brake_assets", raw.brake_assets, brake.assets, 0, 1 << 20)?,
        share: share("respond.brake_share", raw.brake_share, brake.share)?,
        window_ns: seconds("brake_window_seconds", raw.brake_window_seconds, brake.window_ns, 1, 3_600)?,
        release_ns: seconds("brake_release_seconds", raw.brake_release_seconds, brake.release_ns, 1, 86_400)?,
    };
    let room = VerdictRoom::default();
    let entries = |name: &str, value, default: u32| {
        number(&format!("respond.{name}"), value, default.into(), 16, 1 << 24).map(|entries| entries as u32)
    };
    let room = VerdictRoom {
        hosts: entries("hosts", raw.hosts, room.hosts)?,
        flows: entries("flows", raw.flows, room.flows)?,
        signatures: entries("signatures", raw.signatures, room.signatures)?,
        prefixes: entries("prefixes", raw.prefixes, room.prefixes)?,
    };
    let settings = Settings {
        limits,
        brake,
        ttl_ns,
        memory_ns: seconds("memory_seconds", raw.memory_seconds, default.memory_ns, 0, YEAR)?,
        escalation_max_ns: seconds(
            "escalation_max_seconds",
            raw.escalation_max_seconds,
            default.escalation_max_ns,
            1,
            YEAR,
        )?,
        proposal_ns: seconds("proposal_seconds", raw.proposal_seconds, default.proposal_ns, 1, 30 * 86_400)?,
    };
    let reset_interface = match raw.reset_interface.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match Out::parse(text) {
            Some(out) => Some(out),
            None => {
                let remedy = "write NAME or NAME@NAMESPACE, as `ip link` and `ip netns` show them";
                return invalid("respond.reset_interface", format!("is {text:?}"), remedy);
            }
        },
    };
    let webhooks = webhooks(&config.webhook)?;
    let commands = commands(&config.command)?;
    let registry = Registry::shipped(webhooks.clone(), commands.clone());
    Ok(RespondPlan {
        enabled: raw.enabled.unwrap_or(true),
        store: raw.store.as_ref().filter(|text| !text.is_empty()).map(PathBuf::from),
        settings,
        room,
        allow: prefixes("respond.allow", raw.allow.as_deref().unwrap_or_default())?,
        audit_rows: number("respond.audit_rows", raw.audit_rows, 100_000, 100, 1 << 32)?,
        playbooks: playbooks(&config.playbook, &registry)?,
        webhooks,
        commands,
        reset_interface,
        scan: super::scan::plan(&config.scan)?,
        captures: raw.captures.as_ref().filter(|text| !text.is_empty()).map(PathBuf::from),
        capture_limits: (
            number("respond.capture_bytes", raw.capture_bytes, 64 << 20, 1 << 16, 1 << 40)?,
            number("respond.capture_files", raw.capture_files, 32, 1, 10_000)? as usize, // at most 10 000
        ),
    })
}

/// The plan of `[shunt]`; `idle_ns`: after which an established flow of TCP ends.
pub(super) fn shunt(raw: &RawShunt, idle_ns: u64) -> Result<shunt::Settings, Invalid> {
    let default = shunt::Settings::default();
    let usual = default.time_ns.min(idle_ns / 2).max(SECOND) / SECOND;
    let time_ns = number("shunt.seconds", raw.seconds, usual, 1, 43_200)? * SECOND;
    if time_ns >= idle_ns {
        let (asked, idle) = (time_ns / SECOND, idle_ns / SECOND);
        return Err(Invalid::order("shunt.seconds", asked, "flow.established_seconds", idle));
    }
    Ok(shunt::Settings {
        bytes: number("shunt.after_mib", raw.after_mib, 0, 0, 1 << 30)? << 20,
        encrypted_only: raw.encrypted_only.unwrap_or(default.encrypted_only),
        score: share("shunt.score", raw.score, f64::from(default.score))? as f32,
        time_ns,
        flows: number("shunt.flows", raw.flows, default.flows as u64, 1, 1 << 22)? as usize,
    })
}

fn playbooks(list: &[RawPlaybook], registry: &Registry) -> Result<Vec<Playbook>, Invalid> {
    if list.len() > PLAYBOOKS_MAX {
        return invalid("playbook", format!("has {} sections", list.len()), "join some: 256 playbooks at most");
    }
    let mut plans: Vec<Playbook> = Vec::new();
    for (index, raw) in list.iter().enumerate() {
        let key = |name: &str| format!("playbook[{index}].{name}");
        let others: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let name = named(&key("name"), raw.name.as_ref(), &others)?;
        let mut detectors = Vec::new();
        for text in &raw.detectors {
            let known = Detector::ALL.into_iter().find(|detector| detector.name() == text);
            let names = || Detector::ALL.map(Detector::name).join(", ");
            detectors.push(known.map_or_else(
                || invalid(key("detectors"), format!("names {text:?}"), format!("write any of {}", names())),
                Ok,
            )?);
        }
        let confidence = share(&key("confidence"), raw.confidence, 0.0)?;
        let wanted = raw.protocol.clone().unwrap_or_default();
        let protocol = match registry.find(&wanted) {
            Ok(protocol) => protocol,
            Err(cause) => return invalid(key("protocol"), format!("is {wanted:?}"), cause.to_string()),
        };
        let parameters = match &raw.parameters {
            None => protocol.template(),
            Some(table) => serde_json::to_value(table).unwrap_or_default(),
        };
        if let Some(unknown) = unknown_places(&parameters).first() {
            let problem = format!("holds {{{unknown}}}, which no alert tells");
            return invalid(key("parameters"), problem, format!("write any of {}", PLACES.join(", ")));
        }
        // Of what needs a proof, and is no limit itself.
        let default = if ["block_ip", "isolate_host"].contains(&&*wanted) { UNPROVEN_PER_SECOND } else { 0 };
        let limit = number(&key("unproven_per_second"), raw.unproven_per_second, default, 0, 10_000_000)? as u32;
        let modes = [("observe", Mode::Observe), ("ask", Mode::Ask), ("auto", Mode::Auto)];
        let ways = [
            ("any", None),
            ("inbound", Some(Direction::Inbound)),
            ("outbound", Some(Direction::Outbound)),
            ("internal", Some(Direction::Internal)),
            ("external", Some(Direction::External)),
        ];
        let ttl = raw.ttl_seconds.map(|seconds| number(&key("ttl_seconds"), Some(seconds), 1, 1, YEAR)).transpose()?;
        plans.push(Playbook {
            name,
            mode: word(&key("mode"), raw.mode.as_deref(), &modes, Mode::Ask)?,
            detectors,
            kinds: raw.kinds.clone(),
            severity: number(&key("severity"), raw.severity, 4, 1, 4)? as u8,
            confidence,
            source: prefixes(&key("source"), &raw.source)?,
            target: prefixes(&key("target"), &raw.target)?,
            direction: word(&key("direction"), raw.direction.as_deref(), &ways, None)?,
            proven: raw.proven,
            protocol: wanted,
            parameters,
            ttl_ns: ttl.map(|seconds| seconds * SECOND),
            unproven_per_second: limit,
        });
    }
    Ok(plans)
}

fn webhooks(list: &[RawWebhook]) -> Result<Vec<WebhookPlan>, Invalid> {
    let mut plans: Vec<WebhookPlan> = Vec::new();
    for (index, raw) in list.iter().enumerate() {
        let key = |name: &str| format!("webhook[{index}].{name}");
        let others: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let name = named(&key("name"), raw.name.as_ref(), &others)?;
        let text = raw.url.clone().unwrap_or_default();
        let url = match WebhookPlan::url(&text) {
            Ok(url) => url,
            Err(why) => {
                return invalid(
                    key("url"),
                    format!("is {text:?}, which {why}"),
                    "write \"http://127.0.0.1:9000/hook\"",
                );
            }
        };
        let limit = Duration::from_secs(number(&key("seconds"), raw.seconds, 10, 1, 300)?);
        let authorities = raw.authorities.as_ref().filter(|text| !text.is_empty()).map(PathBuf::from);
        if let Some(path) = authorities.as_ref().filter(|path| !path.is_absolute() || url.scheme_str() != Some("https"))
        {
            let remedy = "write the absolute path of a PEM file, and https:// in url";
            return invalid(key("authorities"), format!("is {:?}", path.display()), remedy);
        }
        plans.push(WebhookPlan { name, url, authorities, limit, pause: Duration::from_secs(1) });
    }
    Ok(plans)
}

fn commands(list: &[RawCommand]) -> Result<Vec<CommandPlan>, Invalid> {
    let mut plans: Vec<CommandPlan> = Vec::new();
    for (index, raw) in list.iter().enumerate() {
        let key = |name: &str| format!("command[{index}].{name}");
        let others: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let name = named(&key("name"), raw.name.as_ref(), &others)?;
        let program = PathBuf::from(raw.program.clone().unwrap_or_default());
        if !program.is_absolute() {
            return invalid(
                key("program"),
                format!("is {:?}", program.display()),
                "write an absolute path, such as \"/usr/local/bin/notify\"",
            );
        }
        for text in &raw.arguments {
            CommandPlan::check_argument(text)
                .or_else(|why| invalid(key("arguments"), why, "take the braces away, or name a place"))?;
        }
        let writable: Vec<PathBuf> = raw.writable.iter().map(PathBuf::from).collect();
        if let Some(path) = writable.iter().find(|path| !path.is_absolute()) {
            return invalid(key("writable"), format!("holds {:?}", path.display()), "write absolute paths");
        }
        plans.push(CommandPlan {
            name,
            program,
            arguments: raw.arguments.clone(),
            limit: Duration::from_secs(number(&key("seconds"), raw.seconds, 10, 1, 300)?),
            user: number(&key("user"), raw.user, 65_534, 1, u32::MAX.into())? as u32,
            writable,
        });
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::control::respond::playbooks::Mode;
    use serde_json::json;

    fn parsed(text: &str) -> Result<crate::config::Config, String> {
        parse("t.toml", text, std::iter::empty()).map_err(|error| error.to_string())
    }

    #[test]
    fn playbooks_ask_unless_told_otherwise_and_take_their_protocols_parameters() {
        let text = "[[playbook]]\nname = \"guesses\"\ndetectors = [\"brute_force\"]\nprotocol = \"block_ip\"\n\
                    [[playbook]]\nname = \"tell\"\nmode = \"auto\"\nseverity = 1\nprotocol = \"webhook\"\n\
                    parameters = { to = \"soc\", about = { who = \"{source?}\", n = 5 } }\nttl_seconds = 60\n\
                    [[webhook]]\nname = \"soc\"\nurl = \"http://127.0.0.1:9/x\"";
        let plan = parsed(text).unwrap().respond;
        let [guesses, tell] = &plan.playbooks[..] else { panic!("two") };
        assert_eq!(
            (guesses.mode, guesses.severity, &guesses.parameters),
            (Mode::Ask, 4, &json!({ "prefix": "{source}" }))
        );
        assert_eq!(
            (tell.mode, &tell.parameters["about"]["n"], tell.ttl_ns),
            (Mode::Auto, &json!(5), Some(60_000_000_000))
        );
        assert!(plan.enabled && plan.webhooks.len() == 1);
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_a_remedy() {
        let playbook = |rest: &str| format!("[[playbook]]\nname = \"p\"\nprotocol = \"block_ip\"\n{rest}");
        for (text, says) in [
            ("[respond]\nallow = [\"10.0.0.1/8\"]".to_owned(), "write 10.0.0.0/8 for the network"),
            ("[respond]\nipv4_share = 1.5".into(), "`respond.ipv4_share` is 1.5, allowed is 0..=1"),
            (
                "[respond]\nttl_seconds = 90000\nttl_max_seconds = 60".into(),
                "which is not below `respond.ttl_max_seconds`",
            ),
            ("[respond]\nautomatic_ipv4_bits = 0".into(), "allowed is 1..=32"),
            ("[respond]\nprefixes = 3".into(), "`respond.prefixes` is 3, allowed is 16..="),
            (playbook("mode = \"dictator\""), "observe, ask, auto"),
            (playbook("detectors = [\"nmap\"]"), "write any of scan"),
            (playbook("direction = \"up\""), "inbound, outbound"),
            (playbook("parameters = { prefix = \"{nobody}\" }"), "which no alert tells"),
            (playbook("[[playbook]]\nname = \"p\""), "a second time"),
            (
                "[[playbook]]\nname = \"p\"\nprotocol = \"teleport\"".into(),
                "protocol teleport not found: there are block_flow",
            ),
            ("[[webhook]]\nname = \"w\"\nurl = \"ftp://x/\"".into(), "does not begin with http:// or https://"),
            ("[[webhook]]\nname = \"w\"\nurl = \"http://x/\"\nauthorities = \"/a.pem\"".into(), "https:// in url"),
            ("[[command]]\nname = \"c\"\nprogram = \"sh\"".into(), "absolute path"),
            (
                "[[command]]\nname = \"c\"\nprogram = \"/bin/sh\"\narguments = [\"{summary}\"]".into(),
                "is no place for a value",
            ),
            ("[[command]]\nname = \"c\"\nprogram = \"/bin/sh\"\nuser = 0".into(), "allowed is 1..="),
        ] {
            let error = parsed(&text).unwrap_err();
            assert!(error.contains(says) && error.contains("remedy"), "{text}: {error}");
        }
    }
}
