//! `scan`: an active check of addresses that the operator owns and has named.
//!
//! What is not within `targets` of `[scan]` is refused, whoever asks. Nothing is cut off by it, and there is nothing to undo; taken
//! back it ends with what it has.

use super::{Lasting, Planned, Protocol, ProtocolError, Work, typed, wrong};
use crate::control::respond::intended::Id;
use crate::control::respond::prefix::Prefix;
use crate::control::respond::scan::{Scanner, TARGETS_MAX, Wish, size};
use crate::units::{SECOND, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Ports of one order.
const PORTS_MAX: usize = 1024;
/// For how long at most, where nobody says.
const USUAL_NS: u64 = 3_600 * SECOND;
const REMEDY: &str =
    "write {\"targets\": [\"10.0.0.0/24\"], \"ports\": [22, 443]}; targets must lie in targets of [scan]";

/// The protocol.
pub struct ActiveScan {
    scanner: Option<Scanner>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    targets: Vec<Prefix>,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rate: Option<u32>,
}

impl ActiveScan {
    /// By that scanner; `None`: it only knows its parameters.
    pub fn new(scanner: Option<Scanner>) -> ActiveScan {
        ActiveScan { scanner }
    }
}

impl Protocol for ActiveScan {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn about(&self) -> &'static str {
        "Asks targets of yours ([scan]) for open ports, banners, versions of TLS and certificates: targets, ports, rate."
    }

    fn template(&self) -> Value {
        json!({ "targets": ["{target}"] })
    }

    fn plan(&self, parameters: &Value) -> Result<Planned, ProtocolError> {
        let mut asked: Asked = typed(self.name(), parameters, REMEDY)?;
        let Some(scanner) = self.scanner.clone().filter(|scanner| !scanner.settings().targets.is_empty()) else {
            let why = "no targets are named: write what you own into targets of [scan], and nothing else is ever asked";
            return Err(ProtocolError::Unavailable { protocol: self.name(), why });
        };
        asked.targets.sort();
        asked.targets.dedup();
        let listed = |target: &Prefix| {
            let holds = |owned: &Prefix| owned.bits() <= target.bits() && owned.holds(target.first());
            scanner.settings().targets.iter().any(holds)
        };
        if let Some(target) = asked.targets.iter().find(|target| !listed(target)) {
            return wrong(self.name(), format!("{target} is not within targets of [scan]: it is not asked"), REMEDY);
        }
        let count = size(&asked.targets);
        if count == 0 || count > TARGETS_MAX {
            return wrong(self.name(), format!("{count} addresses, 1 to {TARGETS_MAX} are asked at once"), REMEDY);
        }
        if asked.ports.is_empty() {
            asked.ports.clone_from(&scanner.settings().ports);
        }
        asked.ports.sort_unstable();
        asked.ports.dedup();
        if asked.ports.len() > PORTS_MAX || asked.ports.first() == Some(&0) {
            return wrong(
                self.name(),
                format!("{} ports, 1 to {PORTS_MAX} from 1 on are asked", asked.ports.len()),
                REMEDY,
            );
        }
        let most = scanner.settings().rate;
        if asked.rate.is_some_and(|rate| rate == 0 || rate > most) {
            return wrong(self.name(), format!("rate is not 1 to {most} (rate of [scan])"), REMEDY);
        }
        let rate = asked.rate.unwrap_or(most);
        let wish = Wish { targets: asked.targets.clone(), ports: asked.ports.clone(), rate };
        let parameters = serde_json::to_value(&asked).unwrap_or_default();
        Ok(Planned { parameters, work: Work::Lasting(Box::new(Scanning { scanner, wish })) })
    }

    fn usual_ttl_ns(&self) -> Option<u64> {
        Some(USUAL_NS)
    }

    fn ended(&self, id: Id) {
        if let Some(scanner) = &self.scanner {
            scanner.end(&id);
        }
    }
}

struct Scanning {
    scanner: Scanner,
    wish: Wish,
}

impl Lasting for Scanning {
    fn begin(&self, id: Id, until: Timestamp) -> Result<(), String> {
        self.scanner.begin(id, self.wish.clone(), until)
    }
}
