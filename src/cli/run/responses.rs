//! `shrike run`: what was in force is put back before anything is captured.

use super::{failure, start_failure};
use crate::cli::Failure;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::inventory::SharedInventory;
use crate::control::respond;
use crate::control::respond::live::{LiveResponses, Means};
use crate::control::respond::prefix::Prefix;
use crate::control::respond::watch::sending::Out;
use crate::control::shunt::Shunts;
use crate::dataplane::capture::xdp::{InterfaceSettings, Verdicts};
use crate::dataplane::verdict::Enforcer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Puts back what was in force, and begins to answer, and who shunts flows; `None`: switched off. Pairs are what carries verdicts out; without one such
/// responses are refused, and say so.
pub(super) fn start(
    plan: &Config,
    inventory: Option<Arc<SharedInventory>>,
    clock: &Clock,
) -> Result<(Option<LiveResponses>, Option<Shunts>), Failure> {
    if !plan.respond.enabled {
        return Ok((None, None));
    }
    let verdicts = plan.pairs.first().map(|pair| Verdicts::prepare(&pair.ports[0], plan.respond.room)).transpose();
    let verdicts = verdicts.map_err(|cause| start_failure(cause.into()))?;
    let verdicts = verdicts.map(Arc::new);
    let enforcer = verdicts.clone().map(|verdicts| verdicts as Arc<dyn Enforcer>);
    let means = Means { pairs: pair_ports(plan), inventory };
    let live = LiveResponses::start_live(told(plan), enforcer, means, clock.clone()).map_err(failure)?;
    let shunts = verdicts.filter(|_| plan.shunt.bytes > 0).map(|verdicts| Shunts::new(plan.shunt, verdicts));
    Ok((Some(live), shunts))
}

/// The ports of each pair, by which its flows' ends are reached.
fn pair_ports(plan: &Config) -> BTreeMap<String, [Out; 2]> {
    let out = |port: &InterfaceSettings| Out { namespace: port.namespace.clone(), name: port.name.clone() };
    plan.pairs.iter().map(|pair| (pair.name.clone(), pair.ports.each_ref().map(out))).collect()
}

/// What the responses are told: what is home, and who is never blocked besides the machine itself.
pub(super) fn told(plan: &Config) -> respond::live::Plan {
    let home = plan.inventory.home.iter().filter_map(|network| network.to_string().parse().ok()).collect();
    let of_interface = |settings: &InterfaceSettings| {
        let what = format!("management_addresses of {}", settings.label());
        let addresses = settings.management.addresses.clone();
        addresses.into_iter().map(move |(address, bits)| (Prefix::around(address, bits), what.clone()))
    };
    let management = plan.all_interfaces().flat_map(of_interface).collect();
    plan.respond.live(&plan.alerts.store, home, management)
}
