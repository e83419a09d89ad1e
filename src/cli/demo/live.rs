//! The demo in the lab: `shrike run` on the tap, real traffic, a look through the API four times a second, one verdict.

use super::Watched;
use super::attackers::ATTACKS;
use super::clients::Clients;
use super::error::DemoError;
use super::lab::{Lab, SENSOR_INTERFACE};
use super::program::{self, Program, run, wait_until};
use super::services::Services;
use super::watchdog::{self, Watchdog};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Where the live page is if the port is free; any other free port serves as well.
pub(super) const PORT: u16 = 7470;
/// How long `shrike run` is given to bind, load its model and be ready.
const READY_WAIT: Duration = Duration::from_secs(60);
/// How long it is given to detach and end.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Length of a demo that nobody gave a length and nobody watches.
const DEFAULT_LENGTH: Duration = Duration::from_secs(60);
/// The picture is renewed this often.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After the last frame was sent: how long the last alerts and counters are given to arrive.
const SETTLE_WAIT: Duration = Duration::from_secs(15);
/// What settling usually takes of the demo's time.
const SETTLE_SHARE: Duration = Duration::from_secs(3);
/// The programs that the lab needs, all from Debian.
const PROGRAMS: [&str; 15] = [
    "ip",
    "ethtool",
    "ss",
    "setpriv",
    "nginx",
    "sshd",
    "ssh-keygen",
    "dnsmasq",
    "curl",
    "ssh",
    "dig",
    "nmap",
    "hydra",
    "hping3",
    "sh",
];

/// Why the lab cannot be shown here; `None` where it can.
pub fn obstacle() -> Option<String> {
    let capabilities = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| {
        let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?.trim().to_owned();
        u64::from_str_radix(&mask, 16).ok()
    });
    // CAP_NET_ADMIN (12) and CAP_SYS_ADMIN (21), linux/capability.h: namespaces, links and XDP need both.
    if capabilities.is_none_or(|mask| mask & (1 << 12) == 0 || mask & (1 << 21) == 0) {
        return Some(
            "not root: namespaces and AF_XDP need CAP_NET_ADMIN and CAP_SYS_ADMIN (sudo make demo)".to_owned(),
        );
    }
    program::missing(&PROGRAMS).map(|name| format!("{name} is not installed (ci/install-packages.sh demo)"))
}

/// The lab with everything that runs in it; taken down in the order of the fields when dropped.
struct Stage {
    attackers: Vec<Program>,
    clients: Option<Clients>,
    services: Services,
    sensor: Program,
    lab: Lab,
}

/// Builds the lab, watches it for `length` (or until interrupted) and leaves the judgement in `watched`.
///
/// # Errors
/// The lab or `shrike run` does not come up, or the API stops answering. Everything is taken down in any case.
pub fn show(watched: &mut Watched, length: Option<Duration>, interrupted: &AtomicBool) -> Result<(), DemoError> {
    let begin = Instant::now();
    Lab::sweep();
    // Before the lab and so dropped after it.
    let _watchdog = Watchdog::start()?;
    watched.screen.say("building the lab: 9 hosts on one wire without a route out");
    let lab = Lab::build()?;
    let (sensor, address) = start_sensor(watched, &lab)?;
    let page = watched.open(address)?;
    let services = Services::start(&lab)?;
    let mut stage = Stage { attackers: Vec::new(), clients: None, services, sensor, lab };
    watched.screen.say(&format!("servers, clients and soon attackers are real; the live page is {page}"));
    stage.clients = Some(Clients::start(&stage.lab, &stage.services));

    // The time given is that of the whole demo: building and settling are part of it.
    let length = length.map(|length| length.saturating_sub(begin.elapsed() + SETTLE_SHARE));
    let outcome = watch(watched, &mut stage, length, interrupted);
    stage.attackers.clear();
    let tally = stage
        .clients
        .as_ref()
        .map(|clients| (clients.tally().served.load(Relaxed), clients.tally().failed.load(Relaxed)));
    stage.clients = None;
    outcome?;
    watched.clients = tally;
    if let Some((served, failed)) = tally {
        watched.screen.say(&format!("benign clients: {served} requests served, {failed} failed"));
    }
    settle(watched, &stage, interrupted)?;
    watched.show_findings();
    watched.fetch_page();
    let status = stage.sensor.stop(STOP_WAIT);
    if !status.is_some_and(|status| status.success()) {
        return Err(DemoError::Command {
            command: "shrike run".into(),
            reason: format!("ended with {status:?}{}", stage.sensor.log_tail()),
        });
    }
    Ok(())
}

/// Starts `shrike run` on the tap, with its page in the host's own namespace, and waits until it is ready.
fn start_sensor(watched: &mut Watched, lab: &Lab) -> Result<(Program, SocketAddr), DemoError> {
    let address = free_address()?;
    let configuration = lab.directory().join("shrike.toml");
    std::fs::write(&configuration, configuration_text(lab, address)).map_err(DemoError::file(&configuration))?;
    let binary = std::env::current_exe().map_err(DemoError::file(Path::new("/proc/self/exe")))?;
    let (binary, configuration) = (binary.to_string_lossy(), configuration.to_string_lossy());
    let mut command = vec![binary.as_ref(), "run", "--config", &configuration];
    if let Some(reason) = super::model_obstacle() {
        // The detectors still have a lot to show; `shrike run` itself rightly refuses a model that it cannot use.
        watched.screen.say(&format!("without the model: {reason}"));
        command.push("--no-model");
    }
    let mut sensor = Program::start(None, &command, &lab.directory().join("shrike.log"))?;
    let mut api = super::api::Api::new(address)?;
    sensor.wait_up(READY_WAIT, || api.is_ready())?;
    Ok((sensor, address))
}

fn configuration_text(lab: &Lab, address: SocketAddr) -> String {
    format!(
        "# The demo's sensor: the tap of the lab, in a namespace of its own.\n\
         [capture]\ninstance = \"{}\"\n\n\
         [[interface]]\nname = \"{SENSOR_INTERFACE}\"\nnetns = \"{}\"\nmode = \"auto\"\n\n\
         [flow]\ncapacity = 65536\n\n\
         [alerts]\nstore = \"{}\"\n\n\
         [inventory]\nhome = [\"{}\"]\n\n\
         [http]\nlisten = \"{address}\"\n",
        watchdog::instance(std::process::id()),
        lab.sensor(),
        lab.directory().join("alerts.db").display(),
        super::lab::NETWORK,
    )
}

/// The usual port if it is free, else one that the kernel picks.
fn free_address() -> Result<SocketAddr, DemoError> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    free(PORT).or_else(|_| free(0)).map_err(DemoError::file(Path::new("127.0.0.1")))
}

fn watch(
    watched: &mut Watched,
    stage: &mut Stage,
    length: Option<Duration>,
    interrupted: &AtomicBool,
) -> Result<(), DemoError> {
    let begin = Instant::now();
    // Someone at a terminal ends it with Ctrl-C; without one it ends by itself.
    let end = length.or((!watched.screen.is_terminal()).then_some(DEFAULT_LENGTH));
    let schedule = end.unwrap_or(DEFAULT_LENGTH);
    let mut waiting: Vec<usize> = (0..ATTACKS.len()).collect();
    let mut told = false;
    while !interrupted.load(Relaxed) && end.is_none_or(|end| begin.elapsed() < end) {
        let due = |index: &usize| begin.elapsed() >= ATTACKS[*index].starts_at(schedule);
        for index in waiting.extract_if(.., |index| due(index)).collect::<Vec<_>>() {
            let attack = &ATTACKS[index];
            watched.screen.say(&format!("{} {}", attack.host.name, attack.what));
            stage.attackers.push(attack.start(&stage.lab)?);
        }
        if let Some(status) = stage.sensor.ended() {
            return Err(DemoError::Command {
                command: "shrike run".into(),
                reason: format!("ended with {status}{}", stage.sensor.log_tail()),
            });
        }
        let tally = stage.clients.as_ref().map(Clients::tally);
        watched.look(tally.map(|tally| (tally.served.load(Relaxed), tally.failed.load(Relaxed))))?;
        if !told && end.is_none() && watched.all_seen() {
            told = true;
            watched.screen.say("every attacker has raised its alert; the lab goes on until Ctrl-C");
        }
        pause(LOOK_EVERY, interrupted);
    }
    Ok(())
}

/// Waits until nothing more arrives and the program's counters agree with the tap's own.
fn settle(watched: &mut Watched, stage: &Stage, interrupted: &AtomicBool) -> Result<(), DemoError> {
    let mut last = None;
    let mut outcome = Ok(());
    // An interrupted demo is judged too, but nobody is made to wait for it.
    let limit = if interrupted.load(Relaxed) { Duration::from_secs(1) } else { SETTLE_WAIT };
    wait_until(limit, || {
        outcome = watched.look(None);
        let Some(picture) = watched.picture() else { return outcome.is_err() };
        let tap = stage.lab.sensor_frames().ok();
        let now = (picture.status.totals.packets, picture.status.totals.scored, watched.alerts().len(), tap);
        let still = picture.status.loss.closed && last.replace(now) == Some(now);
        if !still {
            pause(2 * LOOK_EVERY, &AtomicBool::new(false));
        }
        outcome.is_err() || still
    });
    outcome
}

/// Waits for `time`, or less if interrupted.
pub(super) fn pause(time: Duration, interrupted: &AtomicBool) {
    let (_keep, never) = channel::<()>();
    let end = Instant::now() + time;
    while !interrupted.load(Relaxed) && Instant::now() < end {
        let slice = end.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
        if never.recv_timeout(slice) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Records the lab's traffic at the tap into `file` with tcpdump instead of watching it: the capture for machines on which
/// there can be no lab.
///
/// # Errors
/// The lab or tcpdump does not come up, or the file cannot be written.
pub fn record(watched: &mut Watched, file: &Path, length: Duration, interrupted: &AtomicBool) -> Result<(), DemoError> {
    Lab::sweep();
    let _watchdog = Watchdog::start()?;
    let lab = Lab::build()?;
    let (capture, log) = (lab.directory().join("tap.pcap"), lab.directory().join("tcpdump.log"));
    let path = capture.to_string_lossy().into_owned();
    let command = ["tcpdump", "-U", "-Z", "root", "-B", "65536", "-n", "-i", SENSOR_INTERFACE, "-w", &path];
    let mut tcpdump = Program::start(Some(&lab.sensor()), &command, &log)?;
    let listens = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on"));
    tcpdump.wait_up(STOP_WAIT, listens)?;
    let services = Services::start(&lab)?;
    let clients = Clients::start(&lab, &services);
    let begin = Instant::now();
    let mut attackers = Vec::new();
    for attack in ATTACKS {
        pause(attack.starts_at(length).saturating_sub(begin.elapsed()), interrupted);
        watched.screen.say(&format!("{} {}", attack.host.name, attack.what));
        attackers.push(attack.start(&lab)?);
    }
    pause(length.saturating_sub(begin.elapsed()), interrupted);
    drop(attackers);
    drop(clients);
    drop(services);
    tcpdump.stop(STOP_WAIT);
    let text = run(&["zstd", "-q", "-19", "-f", &path, "-o", &file.to_string_lossy()])?;
    watched.screen.say(&format!("recorded into {}{text}", file.display()));
    Ok(())
}
