//! The lab: a handful of network namespaces on one wire that leads nowhere.
//!
//! ```text
//!   web  ssh  dns      anna  ben  cleo      nmap  hydra  hping3        each in a namespace of its own
//!    |    |    |         |    |    |          |     |      |
//!    +----+----+---------+----+----+----------+-----+------+--- bridge that never learns (in `hub`)
//!                                                           |
//!                                                         cap0        the sensor's port (in `sensor`)
//! ```
//!
//! The bridge forgets at once (`ageing_time 0`), so it floods like a hub: whatever a host sends leaves on every other
//! port, and the sensor's port sees each frame of both directions exactly once, as a tap would. Mirroring with `tc` would
//! do the same, but needs two kernel modules more. The bridge, and the sensor's end, have no address and no IPv6, so that
//! they add no frame of their own.
//!
//! *No route out*: every veth pair is made with both ends inside the lab and every host has one on-link prefix and no
//! default route. Nothing in the host's own namespace is touched, whatever fails.
//!
//! Every name begins with `shrike-demo-PID-START-NUMBER`; the start time of the process makes it unique for as long as the
//! machine is up. [`Lab::sweep`] removes what a killed demo left, because its owner is known to be gone.

use super::error::DemoError;
use super::program::{self, run};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The network that all hosts of the lab are in.
pub const NETWORK: &str = "198.18.77.0/24";
/// Part of every name of a lab.
const PREFIX: &str = "shrike-demo-";
/// Interface of every host.
pub const HOST_INTERFACE: &str = "eth0";
/// Interface of the sensor.
pub const SENSOR_INTERFACE: &str = "cap0";
/// Labs built by this process: part of a lab's name.
static BUILT: AtomicU32 = AtomicU32::new(0);
/// How long processes of the lab are given to end once they were asked to.
const END_WAIT: Duration = Duration::from_secs(3);

/// What a host of the lab is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Runs a service.
    Server,
    /// Uses the services as they are meant.
    Client,
    /// Does not.
    Attacker,
}

/// A host of the lab: its namespace, its last address octet and what it is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Short name; also the name of its port on the bridge.
    pub name: &'static str,
    /// What it is there for.
    pub role: Role,
    octet: u8,
}

impl Host {
    const fn new(name: &'static str, role: Role, octet: u8) -> Host {
        Host { name, role, octet }
    }

    /// Its address. 198.18.0.0/15 is set aside for tests of network devices (RFC 2544): never a newcomer's own network.
    pub const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 77, self.octet)
    }
}

/// nginx.
pub const WEB: Host = Host::new("web", Role::Server, 10);
/// sshd.
pub const SSH: Host = Host::new("ssh", Role::Server, 11);
/// dnsmasq.
pub const DNS: Host = Host::new("dns", Role::Server, 12);
/// The benign clients.
pub const CLIENTS: [Host; 3] =
    [Host::new("anna", Role::Client, 101), Host::new("ben", Role::Client, 102), Host::new("cleo", Role::Client, 103)];
/// Scans ports.
pub const NMAP: Host = Host::new("nmap", Role::Attacker, 201);
/// Guesses passwords.
pub const HYDRA: Host = Host::new("hydra", Role::Attacker, 202);
/// Floods.
pub const HPING3: Host = Host::new("hping3", Role::Attacker, 203);

/// Every host of the lab.
pub const HOSTS: [Host; 9] = [WEB, SSH, DNS, CLIENTS[0], CLIENTS[1], CLIENTS[2], NMAP, HYDRA, HPING3];

/// The host that has `address`.
pub fn host_of(address: IpAddr) -> Option<&'static Host> {
    HOSTS.iter().find(|host| IpAddr::V4(host.address()) == address)
}

/// Namespaces, links and the working directory; gone when this is dropped, with every process inside.
#[derive(Debug)]
pub struct Lab {
    name: String,
    directory: PathBuf,
}

impl Lab {
    /// Makes the whole lab; if a step fails, what was made before is taken down again.
    ///
    /// # Errors
    /// A missing right, a missing program or a kernel without bridges: the command that failed says which.
    pub fn build() -> Result<Lab, DemoError> {
        let own = std::process::id();
        let started = start_time(own).unwrap_or_default();
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{own}-{started}-{number}");
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&directory).map_err(DemoError::file(&directory))?;
        let lab = Lab { name, directory };
        lab.make_namespaces()?;
        lab.make_links()?;
        Ok(lab)
    }

    /// Where the lab's files lie: configurations, keys, logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Namespace of a host.
    pub fn namespace(&self, host: &Host) -> String {
        format!("{}-{}", self.name, host.name)
    }

    /// Namespace of the sensor's interface.
    pub fn sensor(&self) -> String {
        format!("{}-sensor", self.name)
    }

    /// Frames that reached the sensor's interface, by the interface's own counter.
    pub fn sensor_frames(&self) -> Result<u64, DemoError> {
        frames(&self.sensor(), SENSOR_INTERFACE, "rx")
    }

    /// Frames that the bridge sent by itself; there should be none.
    pub fn bridge_frames(&self) -> Result<u64, DemoError> {
        frames(&self.hub(), "br0", "tx")
    }

    /// Removes the labs of processes that are gone. A lab whose owner lives is left alone.
    pub fn sweep() {
        for name in leftovers() {
            let alive = owner_of(&name).is_some_and(|(pid, started)| start_time(pid) == Some(started));
            if !alive {
                drop(Lab { directory: std::env::temp_dir().join(&name), name });
            }
        }
    }

    /// Removes the labs of the process `owner`, which has ended.
    pub fn remove_of(owner: u32) {
        for name in leftovers().into_iter().filter(|name| owner_of(name).is_some_and(|(pid, _)| pid == owner)) {
            drop(Lab { directory: std::env::temp_dir().join(&name), name });
        }
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    fn make_namespaces(&self) -> Result<(), DemoError> {
        for namespace in [self.hub(), self.sensor()] {
            run(&["ip", "netns", "add", &namespace])?;
            // Before any interface exists: one that comes up with IPv6 sends frames of its own.
            let quiet = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
            run(&["ip", "netns", "exec", &namespace, "sh", "-c", &format!("[ ! -d /proc/sys/net/ipv6 ] || {quiet}")])?;
        }
        for host in HOSTS {
            run(&["ip", "netns", "add", &self.namespace(&host)])?;
        }
        Ok(())
    }

    fn make_links(&self) -> Result<(), DemoError> {
        let hub = self.hub();
        // Without multicast snooping before it is up: one that snoops joins the group of all snoopers, and a bridge that
        // leaves it again sends an IGMP report of its own, up to a second later.
        let quiet = ["ageing_time", "0", "mcast_snooping", "0"];
        run(&[&["ip", "-n", &hub, "link", "add", "br0", "type", "bridge"], &quiet[..]].concat())?;
        run(&["ip", "-n", &hub, "link", "set", "br0", "up"])?;
        // One queue: a veth chooses by the hash of the sending *socket*, so that of several queues each direction of a flow
        // would take its own, and what was asked might be seen after it was answered. A tap keeps the order.
        run(&[
            "ip",
            "-n",
            &hub,
            "link",
            "add",
            "tap",
            "type",
            "veth",
            "peer",
            "name",
            SENSOR_INTERFACE,
            "netns",
            &self.sensor(),
        ])?;
        for host in HOSTS {
            let namespace = self.namespace(&host);
            let pair = ["type", "veth", "peer", "name", HOST_INTERFACE, "netns", &namespace];
            run(&[&["ip", "-n", &hub, "link", "add", host.name], &pair[..]].concat())?;
            // Frames as a wire would carry them: no 64 KB segments, no checksums left for hardware that is not there.
            real_frames(&namespace, HOST_INTERFACE)?;
            let address = format!("{}/24", host.address());
            run(&["ip", "-n", &namespace, "address", "add", &address, "dev", HOST_INTERFACE])?;
            run(&["ip", "-n", &namespace, "link", "set", "lo", "up"])?;
            run(&["ip", "-n", &namespace, "link", "set", HOST_INTERFACE, "up"])?;
        }
        for port in HOSTS.iter().map(|host| host.name).chain(["tap"]) {
            real_frames(&hub, port)?;
            run(&["ip", "-n", &hub, "link", "set", port, "master", "br0", "up"])?;
        }
        real_frames(&self.sensor(), SENSOR_INTERFACE)?;
        // The sensor listens to frames that are addressed to others.
        run(&["ip", "-n", &self.sensor(), "link", "set", SENSOR_INTERFACE, "promisc", "on", "up"])?;
        Ok(())
    }

    fn namespaces(&self) -> Vec<String> {
        let mine = format!("{}-", self.name);
        names_in("/run/netns").into_iter().filter(|name| name.starts_with(&mine)).collect()
    }
}

impl Drop for Lab {
    /// Ends every process inside, then removes namespaces (their links go with them) and files. Never panics: what cannot
    /// be removed now is swept at the next start.
    fn drop(&mut self) {
        let namespaces = self.namespaces();
        for signal in ["TERM", "KILL"] {
            let pids: Vec<String> = namespaces
                .iter()
                .filter_map(|namespace| run(&["ip", "netns", "pids", namespace]).ok())
                .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
                .collect();
            if pids.is_empty() {
                break;
            }
            program::signal(signal, &pids);
            program::wait_until(END_WAIT, || {
                pids.iter().all(|pid| !Path::new("/proc").join(pid).exists() || program::is_zombie(pid))
            });
        }
        for namespace in namespaces {
            let _ = run(&["ip", "netns", "delete", &namespace]);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn real_frames(namespace: &str, interface: &str) -> Result<(), DemoError> {
    let off = ["gro", "off", "gso", "off", "tso", "off", "tx", "off", "rx", "off"];
    run(&[&["ip", "netns", "exec", namespace, "ethtool", "-K", interface], &off[..]].concat()).map(drop)
}

/// An interface's own count of frames in one direction.
fn frames(namespace: &str, interface: &str, direction: &str) -> Result<u64, DemoError> {
    let text = run(&["ip", "-n", namespace, "-s", "-j", "link", "show", "dev", interface])?;
    serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|links| links.pointer(&format!("/0/stats64/{direction}/packets"))?.as_u64())
        .ok_or_else(|| DemoError::Command { command: "ip -s link".into(), reason: "no packet count".into() })
}

/// Names of the labs that left a namespace or a directory; what only begins alike is nobody's business.
fn leftovers() -> Vec<String> {
    let mut labs: Vec<String> = names_in("/run/netns")
        .into_iter()
        .chain(names_in(std::env::temp_dir()))
        .map(|name| name.split('-').take(5).collect::<Vec<_>>().join("-"))
        .filter(|name| owner_of(name).is_some())
        .collect();
    labs.sort_unstable();
    labs.dedup();
    labs
}

/// Process and start time in a lab's name.
fn owner_of(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let owner = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next()?.parse::<u32>().ok()?;
    Some(owner)
}

fn names_in(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Start time of a process in clock ticks since boot: field 22 of proc(5) `stat`, the 20th after the name.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_addresses_of_their_own() {
        for (index, host) in HOSTS.iter().enumerate() {
            assert_eq!(host_of(IpAddr::V4(host.address())), Some(&HOSTS[index]));
            // Interface names have at most 15 bytes (IFNAMSIZ).
            assert!(host.name.len() <= 15);
        }
        assert_eq!(host_of(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }

    #[test]
    fn only_names_of_labs_have_an_owner() {
        assert_eq!(owner_of("shrike-demo-12-345-0"), Some((12, 345)));
        for name in ["shrike-demo-12-345", "shrike-demo-x-1-0", "shrike-demo-", "shrike-lab-12-345-0", "eth0"] {
            assert_eq!(owner_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_own_start_time_is_found_and_a_stranger_has_none() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(start_time(u32::MAX), None);
    }
}
