//! `shrike doctor`: what this machine can do, why it matters, and the exact fix for what it cannot.

use super::Failure;
use super::out::say;
use crate::config::{self, Config};
use crate::dataplane::capture::xdp::{KERNEL_NEEDED, KERNEL_WANTED};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Arguments of `shrike doctor`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Look at the interfaces and the model of this configuration too.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Look at this interface too: NAME, or NAME@NAMESPACE. May be given several times.
    #[arg(short, long = "interface", value_name = "NAME[@NAMESPACE]")]
    interfaces: Vec<String>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// The scripts that mend what doctor finds, as called from the folder of the sources.
const HUGE_PAGES: &str = "sh hugepages/huge-pages";
const TUNING: &str = "sh tuning/host";

/// Huge pages that one queue takes with the default rings: 4096 entries, twice as many frames of 4096 bytes (which zero-copy
/// and large MTUs need; elsewhere frames are half as large, and so is the need).
const QUEUE_PAGES: u64 = 16;

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, and less well than it could.
    Fair,
    /// Does not work.
    Bad,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: String,
    /// The exact command or setting that mends it; empty where nothing is to be mended.
    pub fix: String,
}

impl Finding {
    /// A finding; the fix is kept only where something is to be mended.
    pub fn new(check: &str, verdict: Verdict, found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
        let fix = if verdict == Verdict::Good { String::new() } else { fix.into() };
        Finding { check: check.into(), verdict, found: found.into(), why: why.into(), fix }
    }
}

/// Looks at everything and prints it; exit code 3 if something does not work.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut plan =
        config::load(arguments.config.as_deref(), std::env::vars()).map_err(|error| Failure::Usage(error.into()))?;
    super::run::add_interfaces(&mut plan, &arguments.interfaces)?;
    let mut findings = machine();
    findings.extend(super::run::examine_model(&plan));
    findings.push(disk(&plan));
    if plan.interfaces.is_empty() && plan.pairs.is_empty() {
        findings.push(interfaces_here());
    }
    findings.extend(super::memory::examine(&plan));
    for interface in &plan.interfaces {
        findings.extend(super::interface::examine(interface));
    }
    plan.pairs.iter().for_each(|pair| findings.extend(super::pair::examine(pair)));
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if arguments.json {
        say!("{}", serde_json::json!({"findings": findings, "bad": bad}));
    } else {
        print(&findings);
    }
    if bad > 0 {
        return Err(Failure::Findings(format!("{bad} of {} checks failed", findings.len())));
    }
    Ok(())
}

fn print(findings: &[Finding]) {
    use std::io::IsTerminal;
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for finding in findings {
        let (mark, code) = match finding.verdict {
            Verdict::Good => ("good", "32"),
            Verdict::Fair => ("fair", "33"),
            Verdict::Bad => ("BAD ", "31"),
        };
        let mark = if color { format!("\x1b[{code}m{mark}\x1b[0m") } else { mark.to_owned() };
        say!("{mark}  {:<22} {}", finding.check, finding.found);
        if finding.verdict != Verdict::Good {
            say!("      why: {}", finding.why);
            say!("      fix: {}", finding.fix);
        }
    }
}

/// What does not depend on an interface.
fn machine() -> Vec<Finding> {
    vec![
        kernel(),
        af_xdp(),
        cpu(),
        clock(),
        capabilities(),
        locked_memory(),
        huge_pages(),
        bpf_fs(),
        cores(),
        governor(),
    ]
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Finding {
    judge_kernel(read("/proc/sys/kernel/osrelease").unwrap_or_default())
}

fn judge_kernel(release: String) -> Finding {
    let mut parts = release.split(['.', '-']).filter_map(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let verdict = if version >= KERNEL_WANTED {
        Verdict::Good
    } else if version >= KERNEL_NEEDED {
        Verdict::Fair
    } else {
        Verdict::Bad
    };
    let why = format!(
        "the XDP program needs {}.{}; {}.{} has zero-copy for frames beyond one buffer, and the hook that counts frames \
         which get past the program",
        KERNEL_NEEDED.0, KERNEL_NEEDED.1, KERNEL_WANTED.0, KERNEL_WANTED.1
    );
    let fix = format!(
        "boot a kernel of {}.{} or later (Debian: apt-get install -t bookworm-backports linux-image-amd64)",
        KERNEL_WANTED.0, KERNEL_WANTED.1
    );
    Finding::new("kernel", verdict, release, &why, fix)
}

fn af_xdp() -> Finding {
    let works = crate::sys::afxdp::supported();
    let (verdict, found) = match &works {
        Ok(()) => (Verdict::Good, "socket(AF_XDP) works".to_owned()),
        Err(cause) => (Verdict::Bad, format!("socket(AF_XDP): {cause}")),
    };
    Finding::new(
        "AF_XDP",
        verdict,
        found,
        "frames are captured through it",
        "use a kernel with CONFIG_XDP_SOCKETS=y, as root or with CAP_NET_RAW",
    )
}

fn cpu() -> Finding {
    #[cfg(target_arch = "x86_64")]
    let missing: Vec<&str> = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("aes", std::arch::is_x86_feature_detected!("aes")),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(name, _)| name)
    .collect();
    #[cfg(not(target_arch = "x86_64"))]
    let missing: Vec<&str> = Vec::new();
    let verdict = if missing.is_empty() { Verdict::Good } else { Verdict::Bad };
    let found =
        if missing.is_empty() { "x86-64-v3 with AES".to_owned() } else { format!("lacks {}", missing.join(", ")) };
    Finding::new(
        "CPU",
        verdict,
        found,
        "the packet path is built for x86-64-v3 with AES-NI",
        "build for this machine: cargo build --release --config 'target.x86_64-unknown-linux-gnu.rustflags=[]'",
    )
}

fn clock() -> Finding {
    let source =
        read("/sys/devices/system/clocksource/clocksource0/current_clocksource").unwrap_or_else(|| "unknown".into());
    let invariant =
        read("/proc/cpuinfo").is_some_and(|text| text.contains("constant_tsc") && text.contains("nonstop_tsc"));
    let verdict = if invariant { Verdict::Good } else { Verdict::Fair };
    let found =
        format!("clock source {source}, TSC {}", if invariant { "invariant" } else { "not known to be invariant" });
    Finding::new(
        "clock",
        verdict,
        found,
        "time is read once a burst from the TSC; without an invariant one a read costs a system call",
        "boot with clocksource=tsc tsc=reliable if the CPU has an invariant TSC",
    )
}

fn capabilities() -> Finding {
    let mask = read("/proc/self/status")
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("CapEff:").map(|mask| mask.trim().to_owned())))
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .unwrap_or(0);
    // Numbers from linux/capability.h.
    let needed =
        [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN"), (39, "CAP_BPF"), (14, "CAP_IPC_LOCK")];
    let missing: Vec<&str> = needed.iter().filter(|(bit, _)| mask & 1 << bit == 0).map(|(_, name)| *name).collect();
    let verdict = if missing.is_empty() { Verdict::Good } else { Verdict::Bad };
    let found =
        if missing.is_empty() { "all that capture needs".to_owned() } else { format!("lacks {}", missing.join(", ")) };
    Finding::new(
        "capabilities",
        verdict,
        found,
        "to load the XDP program, bind sockets and enter namespaces",
        "run as root (sudo shrike run ...)",
    )
}

fn locked_memory() -> Finding {
    let limit = read("/proc/self/limits")
        .and_then(|text| text.lines().find(|line| line.starts_with("Max locked memory")).map(str::to_owned))
        .and_then(|line| line.split_whitespace().nth(4).map(str::to_owned))
        .unwrap_or_default();
    let root = capabilities().verdict == Verdict::Good;
    let verdict = if limit == "unlimited" || root { Verdict::Good } else { Verdict::Bad };
    let found =
        format!("hard limit {limit}{}", if root && limit != "unlimited" { ", which CAP_IPC_LOCK lifts" } else { "" });
    Finding::new(
        "locked memory",
        verdict,
        found,
        "UMEM and BPF maps are locked memory",
        "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
    )
}

fn huge_pages() -> Finding {
    let text = read("/proc/meminfo").unwrap_or_default();
    let value = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let (total, free) = (value("HugePages_Total:"), value("HugePages_Free:"));
    let verdict = if free >= QUEUE_PAGES { Verdict::Good } else { Verdict::Fair };
    Finding::new(
        "huge pages",
        verdict,
        format!("{free} of {total} pages of {} kB free", value("Hugepagesize:")),
        "UMEM on 2-MiB pages saves TLB misses on every frame; without them ordinary pages are used",
        huge_pages_fix(),
    )
}

fn huge_pages_fix() -> String {
    format!(
        "{HUGE_PAGES} apply {QUEUE_PAGES} for one queue, {HUGE_PAGES} apply INTERFACE for all queues of one; \
         {HUGE_PAGES} show to see"
    )
}

fn governor_fix() -> String {
    format!("{TUNING} apply, or cpupower frequency-set -g performance")
}

fn bpf_fs() -> Finding {
    let mounted =
        read("/proc/mounts").is_some_and(|text| text.lines().any(|line| line.split(' ').nth(2) == Some("bpf")));
    let found = if mounted {
        "a BPF file system is mounted"
    } else {
        "none mounted; shrike mounts its own under /run/shrike/bpf"
    };
    Finding::new("bpffs", Verdict::Good, found, "counters are pinned there, so that they outlive the process", "")
}

fn cores() -> Finding {
    let cores = crate::sys::affinity::allowed_cores();
    let verdict = if cores.len() >= 2 { Verdict::Good } else { Verdict::Fair };
    Finding::new(
        "cores",
        verdict,
        format!("{cores:?}"),
        "workers are pinned, and the control plane keeps a core where there are two",
        "give the process more cores (taskset, cpuset, the machine)",
    )
}

fn governor() -> Finding {
    match read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        None => Finding::new("frequency", Verdict::Good, "not under the kernel's control here", "", ""),
        Some(name) => {
            let verdict = if name == "performance" { Verdict::Good } else { Verdict::Fair };
            Finding::new(
                "frequency",
                verdict,
                format!("governor {name}"),
                "a core that clocks down adds latency to the first packets of a burst",
                governor_fix(),
            )
        }
    }
}

/// What could be captured from, where nothing was named.
fn interfaces_here() -> Finding {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.retain(|name| name != "lo" && Path::new("/sys/class/net").join(name).join("queues").exists());
    names.sort();
    let found = match &names[..] {
        [] => "none named, and this machine has none but lo".to_owned(),
        _ => format!("none named; this machine has {}", names.join(", ")),
    };
    let first = names.first().map_or("NAME", String::as_str);
    let fix = format!("shrike doctor -i {first} looks at one (NAME@NAMESPACE: in a network namespace)");
    Finding::new("interfaces", Verdict::Fair, found, "mode, queues and offloads are the interface's", fix)
}

fn disk(plan: &Config) -> Finding {
    let path = plan.alerts.store.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = "alerts are kept there and survive a crash";
    let fix = format!("mkdir -p {0}, or set store in [alerts] to a folder with room", path.display());
    match crate::sys::disk::free_bytes(path) {
        Ok(free) => {
            let verdict = if free > 1 << 30 { Verdict::Good } else { Verdict::Fair };
            Finding::new("alert store", verdict, format!("{} has {} MiB free", path.display(), free >> 20), why, fix)
        }
        // `shrike run` makes the folder.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Finding::new(
            "alert store",
            Verdict::Good,
            format!("{} will be made at the first run", path.display()),
            why,
            fix,
        ),
        Err(cause) => Finding::new("alert store", Verdict::Bad, format!("{}: {cause}", path.display()), why, fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scripts that a fix names exist and understand what it tells to run.
    #[test]
    fn fixes_name_scripts_that_are_there_and_take_the_arguments() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut seen = 0;
        for text in [huge_pages_fix(), governor_fix()] {
            for command in text.split(", ").flat_map(|part| part.split("; ")).flat_map(|part| part.split(" for ")) {
                let Some(at) = command.find("sh ") else { continue };
                let words: Vec<&str> = command[at..].split_whitespace().collect();
                let [_, script, verb, ..] = words[..] else { panic!("{command}") };
                let source =
                    std::fs::read_to_string(root.join(script)).unwrap_or_else(|cause| panic!("{script}: {cause}"));
                assert!(source.lines().any(|line| line.trim().starts_with(&format!("{verb})"))), "{script} {verb}");
                // What only looks is run; a wrong verb is refused.
                let run =
                    |verb: &str| std::process::Command::new("sh").arg(root.join(script)).arg(verb).output().unwrap();
                assert!(run("show").status.success(), "{script} show");
                assert_eq!(run("no-such-verb").status.code(), Some(2), "{script}");
                seen += 1;
            }
        }
        assert_eq!(seen, 4, "apply for a queue, for an interface, show, and the host's tuning");
        let script = std::fs::read_to_string(root.join("hugepages/huge-pages")).unwrap();
        assert!(
            script.contains(&format!("wanted + {QUEUE_PAGES} * $(queues")),
            "the script counts other pages a queue"
        );
    }

    #[test]
    fn a_kernel_is_judged_by_what_the_program_needs() {
        for (release, verdict) in [
            ("5.10.0-28-amd64", Verdict::Bad),
            ("5.17.15", Verdict::Bad),
            ("5.18.0", Verdict::Fair),
            ("6.1.0-18-amd64", Verdict::Fair),
            ("6.6.13", Verdict::Good),
            ("6.18.44-fc-v595", Verdict::Good),
            ("", Verdict::Bad),
        ] {
            assert_eq!(judge_kernel(release.to_owned()).verdict, verdict, "{release}");
        }
    }
}
