//! What the operator decides about an interface; `config` fills these in.

use super::pair::PortOf;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// How frames get from the driver into our memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The best that works: zero-copy, else copy, else generic. What was tried and why it failed is kept.
    #[default]
    Auto,
    /// The NIC writes into our memory; anything else is an error.
    ZeroCopy,
    /// The program runs in the driver, the kernel copies each frame once.
    Copy,
    /// The program runs in the stack on a socket buffer; works on every interface.
    Generic,
}

/// Whether an interface carries the host's own traffic beside the traffic watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// Yes if it has an address of global scope when it is attached.
    #[default]
    Auto,
    /// ARP, neighbour discovery and the management frames are left to the kernel, counted, and copied to the worker.
    Yes,
    /// Every frame goes to the worker and to nobody else.
    No,
}

/// Transport protocol of a management port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Protocol 6.
    Tcp,
    /// Protocol 17.
    Udp,
}

/// Frames that the kernel keeps on a shared interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Management {
    /// Destination ports, at most 64. The host's own services: SSH, DHCP answers.
    pub ports: Vec<(Transport, u16)>,
    /// Prefixes (address, length in bits) that a frame's source or destination may lie in, at most 64. The way to keep
    /// answers to connections that the host itself begins.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// Preferred busy polling: the worker drives the NIC's poll loop instead of its interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`: time one call may spin, microseconds. Too small: interrupts come back; too large: `wait` hogs.
    pub microseconds: u32,
    /// `SO_BUSY_POLL_BUDGET`: most frames one call takes. Beyond 64 some drivers refuse.
    pub budget: u32,
    /// `napi_defer_hard_irqs` while we run; restored on detach.
    pub defer_hard_irqs: u32,
    /// `gro_flush_timeout` while we run, nanoseconds: how long the NIC waits before it falls back to an interrupt, so
    /// also the latency added if the worker stops polling. Restored on detach.
    pub gro_flush_timeout_ns: u64,
}

impl Default for BusyPoll {
    /// Values of the kernel's Documentation/networking/napi.rst and of the AF_XDP guide.
    fn default() -> BusyPoll {
        BusyPoll { microseconds: 20, budget: 64, defer_hard_irqs: 2, gro_flush_timeout_ns: 200_000 }
    }
}

/// Settings of one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceSettings {
    /// Name of the interface in its namespace.
    pub name: String,
    /// Network namespace as `ip netns` names it; `None` for the process's own.
    pub namespace: Option<String>,
    /// Capture mode wanted.
    pub mode: Mode,
    /// Queues to open; empty for all the interface has.
    pub queues: Vec<u32>,
    /// Entries of the RX ring, half those of the fill ring and of the frames of a queue. A power of two, 64 to 32768.
    /// Too small: bursts are lost while the worker is busy; too large: memory (twice this times `frame_bytes` a queue)
    /// and, in zero-copy mode, cache misses. Must exceed the NIC's own ring (`ethtool -g`) in zero-copy mode.
    pub ring_entries: u32,
    /// Bytes of a frame in memory, 2048 or 4096; 0 chooses by the MTU. 256 of them are headroom.
    pub frame_bytes: u32,
    /// Ask for 2-MiB pages; without them ordinary pages are used, and that is reported.
    pub huge_pages: bool,
    /// Preferred busy polling; `None` leaves the NIC to its interrupts.
    pub busy_poll: Option<BusyPoll>,
    /// Whether the host itself uses the interface.
    pub shared: Shared,
    /// What the kernel keeps if it does.
    pub management: Management,
    /// Set a symmetric RSS key where the driver takes one.
    pub symmetric_rss: bool,
    /// Interfaces of one group see the directions of the same flows, such as the two ports of a fibre tap: frames are
    /// handed to the flow's owner among the queues of all of them. `None`: the interface is on its own.
    pub group: Option<String>,
    /// The interface is a port of a pair; `None`: it is watched only.
    pub pair: Option<PortOf>,
    /// Directory under which maps and links are pinned; a BPF file system is mounted there if there is none.
    pub pin_directory: PathBuf,
    /// Name of this running `shrike` among others: the directory's part that is ours alone.
    pub instance: String,
}

impl InterfaceSettings {
    /// What the machine itself still gets through an interface that it shares with us, in words.
    pub fn left_to_the_machine(&self) -> String {
        let ports = self.management.ports.iter().map(|(transport, port)| match transport {
            Transport::Tcp => format!("tcp/{port}"),
            Transport::Udp => format!("udp/{port}"),
        });
        let prefixes = self.management.addresses.iter().map(|(address, bits)| format!("{address}/{bits}"));
        ["ARP", "neighbour discovery"]
            .map(str::to_owned)
            .into_iter()
            .chain(ports)
            .chain(prefixes)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The defaults for an interface of that name in the process's own namespace.
    pub fn new(name: &str) -> InterfaceSettings {
        InterfaceSettings {
            name: name.to_owned(),
            namespace: None,
            mode: Mode::Auto,
            queues: Vec::new(),
            ring_entries: 4096,
            frame_bytes: 0,
            huge_pages: true,
            busy_poll: None,
            shared: Shared::Auto,
            management: Management::default(),
            symmetric_rss: true,
            group: None,
            pair: None,
            pin_directory: PathBuf::from(PIN_DIRECTORY),
            instance: "default".to_owned(),
        }
    }

    /// Bytes of the frames of one queue; where the size of a frame is chosen by the MTU, with the smaller one.
    pub fn umem_bytes(&self) -> usize {
        let frame_bytes = if self.frame_bytes == 0 { 2048 } else { self.frame_bytes as usize };
        self.ring_entries as usize * 2 * frame_bytes
    }

    /// Entries of the RX and the fill ring of a queue together: more than this can never be on its way to us.
    pub fn rings_hold(&self) -> u64 {
        u64::from(self.ring_entries) * 3
    }

    /// `namespace/name`, or the name alone in the process's own namespace.
    pub fn label(&self) -> String {
        self.namespace.as_ref().map_or_else(|| self.name.clone(), |space| format!("{space}/{}", self.name))
    }
}

/// Where pins go unless the operator says otherwise.
pub const PIN_DIRECTORY: &str = "/run/shrike/bpf";
/// Most management ports and, apart, prefixes: sizes of the maps in `shrike.bpf.c`.
pub const MANAGEMENT_MAX: usize = 64;
