//! What a plan takes of the machine's memory, before it is taken.

use super::doctor::{Finding, Verdict};
use crate::config::Config;
use crate::control::supervisor::live;
use crate::dataplane::capture::xdp::InterfaceSettings;
use crate::sys::ethtool::Ethtool;
use crate::sys::netns::Namespace;
use std::collections::BTreeMap;

/// Queues that `shrike run` would open on an interface; `None` where it is not there to be asked.
fn queues(settings: &InterfaceSettings) -> Option<usize> {
    if !settings.queues.is_empty() {
        return Some(settings.queues.len());
    }
    let namespace = Namespace::named(settings.namespace.as_deref()).ok()?;
    let name = settings.name.clone();
    let ethtool = namespace.run(move || Ethtool::open(&name)).ok()?.ok()?;
    // A driver that does not speak of channels has one queue.
    Some(ethtool.channels().map_or(1, |channels| channels.rx.max(1) as usize))
}

/// What the interfaces of the plan take together; `None` without an interface that is there.
pub fn examine(plan: &Config) -> Option<Finding> {
    let counts: Vec<(&InterfaceSettings, usize)> =
        plan.interfaces.iter().filter_map(|settings| Some((settings, queues(settings)?))).collect();
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) << 10;
    (!counts.is_empty()).then(|| judge(plan, &counts, available))
}

fn judge(plan: &Config, counts: &[(&InterfaceSettings, usize)], available: usize) -> Finding {
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let own: usize = counts.iter().map(|(settings, count)| count * live::queue_memory(&plan.engine, settings)).sum();
    let mut meshes: BTreeMap<Result<&str, usize>, usize> = BTreeMap::new();
    for (at, (settings, count)) in counts.iter().enumerate() {
        *meshes.entry(settings.group.as_deref().ok_or(at)).or_default() += count;
    }
    let handover: usize = meshes.into_values().map(live::handover_memory).sum();
    let mib = |bytes: usize| bytes >> 20;
    let verdict = match own + handover {
        most if most > available => Verdict::Bad,
        most if most > available / 2 => Verdict::Fair,
        _ => Verdict::Good,
    };
    let found = format!(
        "{total} queues take {} MiB, and up to {} MiB for frames between queues where RSS is not symmetric; {} MiB are \
         available",
        mib(own),
        mib(handover),
        mib(available)
    );
    let fix = "fewer queues (queues in [[interface]], or ethtool -L), or lower flow.capacity, flow.windows or ring";
    Finding::new("memory", verdict, found, "all of it is taken at start, none later", fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    /// The plan that took 5 GB for 66 queues is told so before it starts.
    #[test]
    fn a_plan_is_judged_by_what_it_takes() {
        let plan = parse("t.toml", "[[interface]]\nname = \"eth1\"", std::iter::empty()).expect("a plan");
        let judged = |queues: usize, available: usize| judge(&plan, &[(&plan.interfaces[0], queues)], available << 20);
        assert_eq!(judged(1, 16_384).verdict, Verdict::Good);
        assert!(judged(1, 16_384).found.contains("up to 0 MiB"), "{:?}", judged(1, 16_384));
        assert_eq!(judged(66, 10_240).verdict, Verdict::Fair, "{:?}", judged(66, 10_240));
        let found = judged(66, 4_096);
        assert!(found.verdict == Verdict::Bad && found.fix.contains("flow.capacity"), "{found:?}");
        assert!(found.found.starts_with("66 queues take"), "{found:?}");
    }
}
