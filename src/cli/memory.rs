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
    match ethtool.channels() {
        Ok(channels) => Some(channels.rx.max(1) as usize),
        Err(cause) if cause.raw_os_error() == Some(libc::ENODEV) => None,
        // A driver that does not speak of channels has one queue.
        Err(_) => Some(1),
    }
}

/// What the interfaces of the plan take together; `None` without an interface that is there.
pub fn examine(plan: &Config) -> Option<Finding> {
    // A pair's queue has the frames of both ports and one engine.
    let both = |settings: &InterfaceSettings| InterfaceSettings {
        ring_entries: settings.ring_entries * 2,
        ..settings.clone()
    };
    let pairs: Vec<InterfaceSettings> = plan.pairs.iter().map(|pair| both(&pair.ports[0])).collect();
    let all = plan.interfaces.iter().chain(&pairs);
    let counts: Vec<(&InterfaceSettings, usize)> =
        all.filter_map(|settings| Some((settings, queues(settings)?))).collect();
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    (!counts.is_empty()).then(|| judge(plan, &counts, &Room::of(&text)))
}

/// Bytes of a page that frames may lie on.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// What the machine has left.
struct Room {
    /// Bytes for ordinary pages; reserved huge pages are no part of it.
    available: usize,
    /// Reserved huge pages that nobody uses.
    huge_pages: usize,
}

impl Room {
    /// From the text of `/proc/meminfo`.
    fn of(text: &str) -> Room {
        let value = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            rest.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0)
        };
        // Frames take pages of the default size, if that is the one they are made for.
        let fits = value("Hugepagesize") << 10 == HUGE_PAGE_BYTES;
        let free = value("HugePages_Free").saturating_sub(value("HugePages_Rsvd"));
        Room { available: value("MemAvailable") << 10, huge_pages: if fits { free } else { 0 } }
    }
}

/// Bytes of frames that find free huge pages: of each queue all or none, as `run` takes them.
fn on_huge_pages(counts: &[(&InterfaceSettings, usize)], mut free: usize) -> usize {
    let mut bytes = 0;
    for (settings, count) in counts.iter().filter(|(settings, _)| settings.huge_pages) {
        let frames = settings.umem_bytes();
        let pages = frames.div_ceil(HUGE_PAGE_BYTES).max(1);
        let queues = (*count).min(free / pages);
        free -= queues * pages;
        bytes += queues * frames;
    }
    bytes
}

/// Bytes of the lists of others when one of them is read anew, about: an indicator of 20 bytes takes some 150.
fn feeds(plan: &Config) -> usize {
    const FACTOR: usize = 8;
    let sizes = plan.feeds.iter().filter_map(|feed| std::fs::metadata(&feed.path).ok());
    let sizes: Vec<usize> = sizes.map(|data| data.len() as usize).collect();
    (sizes.iter().sum::<usize>() + sizes.iter().max().copied().unwrap_or(0)).saturating_mul(FACTOR)
}

/// The rings between queues are an upper bound, which only asymmetric RSS reaches: they make no plan impossible.
fn judge(plan: &Config, counts: &[(&InterfaceSettings, usize)], room: &Room) -> Finding {
    let Room { available, huge_pages } = *room;
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let own: usize = counts.iter().map(|(settings, count)| count * live::queue_memory(&plan.engine, settings)).sum();
    let huge = on_huge_pages(counts, huge_pages);
    let ordinary = own.saturating_sub(huge);
    let mut meshes: BTreeMap<Result<&str, usize>, usize> = BTreeMap::new();
    for (at, (settings, count)) in counts.iter().enumerate() {
        *meshes.entry(settings.group.as_deref().ok_or(at)).or_default() += count;
    }
    let handover: usize = meshes.into_values().map(live::handover_memory).sum();
    let behaviour = plan.detect.behaviour_memory() + feeds(plan);
    let mib = |bytes: usize| bytes >> 20;
    let verdict = if ordinary + behaviour > available {
        Verdict::Bad
    } else if ordinary + behaviour + handover > available / 2 {
        Verdict::Fair
    } else {
        Verdict::Good
    };
    let found = format!(
        "{total} queues take {} MiB ({} MiB of it on free huge pages), and up to {} MiB for frames between queues where RSS \
         is not symmetric; the detectors over flows and events up to {} MiB as they fill; {} MiB are available besides huge \
         pages",
        mib(own),
        mib(huge),
        mib(handover),
        mib(behaviour),
        mib(available)
    );
    let fix = "fewer queues (queues in [[interface]], or ethtool -L), or lower flow.capacity, flow.windows or ring; \
               detect.pending_observations, or detect.behaviour = false";
    Finding::new("memory", verdict, found, "what queues take is taken at start, none later", fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    /// The plan that took 5 GB for 66 queues is told so before it starts.
    #[test]
    fn an_interface_that_is_not_there_takes_nothing() {
        assert_eq!(queues(&InterfaceSettings::new("nosuchlink0")), None);
        assert_eq!(queues(&InterfaceSettings::new("lo")), Some(1));
    }

    #[test]
    fn a_plan_is_judged_by_what_it_takes() {
        let plan = parse("t.toml", "[[interface]]\nname = \"eth1\"", std::iter::empty()).expect("a plan");
        let judged_with = |queues: usize, available: usize, huge_pages: usize| {
            let available = (available << 20) + plan.detect.behaviour_memory();
            judge(&plan, &[(&plan.interfaces[0], queues)], &Room { available, huge_pages })
        };
        let judged = |queues, available| judged_with(queues, available, 0);
        assert_eq!(judged(1, 16_384).verdict, Verdict::Good);
        assert!(judged(1, 16_384).found.contains("up to 0 MiB"), "{:?}", judged(1, 16_384));
        assert_eq!(judged(66, 20_480).verdict, Verdict::Fair, "{:?}", judged(66, 20_480));
        let found = judged(66, 4_096);
        assert!(found.verdict == Verdict::Bad && found.fix.contains("flow.capacity"), "{found:?}");
        assert!(found.found.starts_with("66 queues take"), "{found:?}");
        // What only asymmetric RSS takes is a warning, however much it is.
        let counts = [(&plan.interfaces[0], 66)];
        let stage = plan.detect.behaviour_memory();
        let own = 66 * live::queue_memory(&plan.engine, &plan.interfaces[0]);
        let tight =
            |available, huge_pages| judge(&plan, &counts, &Room { available: available + stage, huge_pages }).verdict;
        assert_eq!((tight(own, 0), tight(own - 1, 0)), (Verdict::Fair, Verdict::Bad));
        // Detectors that are not wanted take nothing.
        let without = parse("t.toml", "[detect]\nbehaviour = false", std::iter::empty()).expect("a plan");
        assert_eq!(without.detect.behaviour_memory(), 0);
        assert!((64..512).contains(&(stage >> 20)), "{} MiB", stage >> 20);
        // Frames on free huge pages are not held against ordinary memory; where too few are free for a queue, they are.
        assert_eq!(tight(own - 1, 1 << 12), Verdict::Fair);
        assert_eq!(on_huge_pages(&counts, 0), 0);
        let whole = on_huge_pages(&counts, 1 << 20);
        assert!(whole > 0 && whole < own && whole.is_multiple_of(66), "{whole}");
        let pages = (whole / 66).div_ceil(HUGE_PAGE_BYTES);
        assert_eq!(on_huge_pages(&counts, 3 * pages + pages - 1), 3 * (whole / 66));
        assert_eq!(on_huge_pages(&counts, pages - 1), 0);
    }

    #[test]
    fn room_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal: 9 kB\nMemAvailable:    2048 kB\nHugePages_Total:  64\nHugePages_Free:  40\n\
                    HugePages_Rsvd:  8\nHugepagesize:    2048 kB\n";
        let room = Room::of(text);
        assert_eq!((room.available, room.huge_pages), (2 << 20, 32));
        assert_eq!(Room::of(&text.replace("size:    2048", "size: 1048576")).huge_pages, 0);
    }
}
