//! The XDP program in the kernel: loading, pinning, attaching, and finding it again after our own death.
//!
//! Pinned under `<pin directory>/<instance>/<interface>/`: `link` (the attachment), `refused` (the tracepoint's),
//! `bypass` (the one behind, on tcx) and every map. While `link` is pinned the program stays attached without us; it then passes frames to the kernel and
//! counts them as `passed_no_socket`. A start that finds the pins takes the maps over, with what they have counted, and
//! swaps the program under the link, so that the driver is not touched again (attaching resets the link of many NICs).

use super::bpf::{
    link_create, link_detach, link_index, link_update, object_get, object_pin, program_tag, program_tag_of_link,
};
use super::bypass::Bypass;
use super::counters::LAYOUT;
use super::error::XdpError;
use super::rss;
use super::settings::{InterfaceSettings, MANAGEMENT_MAX, Transport};
use super::verdict_maps;
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, ObjectBuilder, libbpf_sys};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The object clang made of `src/bpf/shrike.bpf.c`, aligned as ELF wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);
static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/shrike.bpf.o")));

/// Names of the pinned maps, as in `shrike.bpf.c`.
const MAPS: [&str; 8] = [
    "shrike_xdp",
    "shrike_worker",
    "shrike_xsks",
    "shrike_notes",
    "shrike_rss",
    "shrike_ports",
    "shrike_addresses",
    "shrike_mirrors",
];
/// Those of a pair's port besides.
const PAIR_MAPS: [&str; 4] = ["shrike_pair_xdp", "shrike_pair", "shrike_pulse", "shrike_peer"];
/// Programs of a tap's interface and of a pair's port; others are not loaded.
const TAP_PROGRAMS: [&str; 3] = ["shrike_capture", "shrike_refused", "shrike_bypassed"];
const PAIR_PROGRAMS: [&str; 4] = ["shrike_pair_port", "shrike_pair_refused", "shrike_bypassed", "shrike_pair_crossed"];
/// Bytes of the ring of copies of one queue, on a shared interface: some 2 000 small frames or 120 large ones.
const MIRROR_BYTES: u32 = 262_144;

/// The kernel that `shrike.bpf.c` needs: `BPF_F_XDP_HAS_FRAGS`, `bpf_xdp_load_bytes` and `bpf_xdp_get_buff_len` came with
/// Linux 5.18; all else that it and this module use is older (ring buffers 5.8, XDP links 5.9).
pub const KERNEL_NEEDED: (u32, u32) = (5, 18);
/// The kernel that has all that is of use: tcx, for `bypassed`, and zero-copy frames of several buffers came with Linux 6.6.
pub const KERNEL_WANTED: (u32, u32) = (6, 6);

/// In which of the two places a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
}

impl AttachMode {
    /// `native` or `generic`.
    pub fn name(self) -> &'static str {
        match self {
            AttachMode::Native => "native",
            AttachMode::Generic => "generic",
        }
    }

    fn flags(self) -> u32 {
        match self {
            AttachMode::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
            AttachMode::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
        }
    }
}

/// The loaded program of one interface, with its maps.
#[derive(Debug)]
pub(super) struct Program {
    directory: PathBuf,
    program: OwnedFd,
    /// The counters of what was refused: their pins' and tracepoints' names, and their programs; attached ones after them.
    counters: Vec<(&'static str, Option<&'static str>, OwnedFd)>,
    /// The attachment; `None` while the interface is away.
    link: Option<OwnedFd>,
    counter_links: Vec<OwnedFd>,
    bypass: Bypass,
    /// Why the program behind is not attached, if it is not.
    behind_refused: Option<String>,
    pub(super) xdp: MapHandle,
    pub(super) worker: MapHandle,
    xsks: MapHandle,
    notes: MapHandle,
    rss: MapHandle,
    mirrors: MapHandle,
    /// The maps were there before us.
    pub(super) taken_over: bool,
    /// Maps were there whose counts were of no use: of other queues, or of a version that counts other things.
    pub(super) begun_anew: bool,
}

impl Program {
    /// Loads the program and pins its maps in `directory` (on a BPF file system), taking over what is pinned there.
    pub(super) fn load(
        settings: &InterfaceSettings,
        directory: &Path,
        queues: u32,
        shared: bool,
    ) -> Result<Program, XdpError> {
        let cpus = u32::try_from(libbpf_rs::num_possible_cpus().unwrap_or(1)).unwrap_or(1);
        let failed = |cause: libbpf_rs::Error| load_error(settings, &cause);
        quiet_libbpf();
        let pins = |cause: io::Error| XdpError::pins(settings.label(), directory, cause);
        std::fs::create_dir_all(directory).map_err(pins)?;

        let mut open =
            ObjectBuilder::default().name("shrike").map_err(failed)?.open_memory(&OBJECT.0).map_err(failed)?;
        let mut shapes = Vec::new();
        let pair = settings.pair.as_ref();
        let is_own = |name: &str| MAPS.contains(&name) || (pair.is_some() && PAIR_MAPS.contains(&name));
        for mut program in open.progs_mut() {
            let wanted = if pair.is_some() { &PAIR_PROGRAMS[..] } else { &TAP_PROGRAMS };
            let is_wanted = wanted.iter().any(|name| program.name() == *name);
            program.set_autoload(is_wanted);
        }
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if pair.is_none() && (PAIR_MAPS.contains(&name.as_str()) || name.starts_with("verdict_")) {
                map.set_autocreate(false).map_err(failed)?;
                continue;
            }
            let entries = match name.as_str() {
                "shrike_xdp" | "shrike_pair_xdp" => queues.saturating_add(1).saturating_mul(cpus),
                "shrike_worker" | "shrike_xsks" | "shrike_mirrors" | "shrike_pulse" => queues,
                other => {
                    if other.ends_with(".rodata")
                        && let Some(words) = map.initial_value_mut()
                    {
                        // `config` of shrike.bpf.c: cpu_count, queue_count, shared_interface, reserved.
                        let config = [cpus, queues, u32::from(shared), 0].map(u32::to_ne_bytes).concat();
                        for (place, byte) in words.iter_mut().zip(config) {
                            *place = byte;
                        }
                    }
                    map.max_entries()
                }
            };
            if is_own(&name) {
                map.set_max_entries(entries).map_err(failed)?;
                shapes.push((name, entries));
            }
        }
        // Pins of another shape (other queue count) or layout (other version) are of no use: begin anew.
        let fits = is_of_this_layout(directory)
            && shapes.iter().all(|(name, entries)| {
                MapHandle::from_pinned_path(directory.join(name)).is_ok_and(|map| map.max_entries() == *entries)
            });
        let begun_anew = !fits && directory.join("shrike_worker").exists();
        let kept = if fits { Vec::new() } else { to_be_restored(directory) };
        match (fits, pair) {
            (true, _) => {}
            (false, None) => clear(directory).map_err(pins)?,
            // The old program stays, with its maps, until this one is swapped under the link.
            (false, Some(_)) => clear_but_link(directory).map_err(pins)?,
        }
        for mut map in open.maps_mut() {
            let path = directory.join(map.name());
            let name = map.name().to_string_lossy().into_owned();
            if fits && is_own(&name) {
                map.reuse_pinned_map(&path).map_err(failed)?;
            }
        }
        if let Some(pair) = pair {
            verdict_maps::share(&mut open, &pair.verdicts).map_err(failed)?;
        }
        let mut object = open.load().map_err(failed)?;
        for mut map in object.maps_mut() {
            let name = map.name().to_os_string();
            if !fits && name.to_str().is_some_and(is_own) {
                map.pin(directory.join(&name)).map_err(|cause| pins(io::Error::other(cause.to_string())))?;
            }
        }
        if let Some(pair) = pair {
            verdict_maps::pin(&mut object, &pair.verdicts).map_err(failed)?;
        }
        let handle = |name: &str| {
            MapHandle::from_pinned_path(directory.join(name)).map_err(|cause| pins(io::Error::other(cause.to_string())))
        };
        let program = |name: &str| {
            let found = object.progs_mut().find(|program| program.name() == name);
            let descriptor = found.map(|program| program.as_fd().try_clone_to_owned());
            descriptor.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map_err(pins)
        };
        let refused = Some("xdp_redirect_err");
        let (capture, counters) = if pair.is_some() {
            let counters = vec![
                ("refused", refused, program("shrike_pair_refused")?),
                ("crossed", None, program("shrike_pair_crossed")?),
            ];
            (program("shrike_pair_port")?, counters)
        } else {
            (program("shrike_capture")?, vec![("refused", refused, program("shrike_refused")?)])
        };
        let bypass = Bypass::new(program("shrike_bypassed")?, directory);
        let loaded = Program {
            directory: directory.to_owned(),
            program: capture,
            counters,
            link: None,
            counter_links: Vec::new(),
            bypass,
            behind_refused: None,
            xdp: handle("shrike_xdp")?,
            worker: handle("shrike_worker")?,
            xsks: handle("shrike_xsks")?,
            notes: handle("shrike_notes")?,
            rss: handle("shrike_rss")?,
            mirrors: handle("shrike_mirrors")?,
            taken_over: fits,
            begun_anew,
        };
        for (name, key, value) in kept {
            let map = if name == "shrike_rss" { &loaded.rss } else { &loaded.notes };
            let _ = map.update(&key, &value, MapFlags::ANY); // of another version: cannot be kept
        }
        let id = libbpf_rs::MapInfo::new(loaded.xsks.as_fd()).map_err(failed)?.info.id;
        loaded.note(Note::XsksId, u64::from(id));
        if pair.is_some() {
            let id = libbpf_rs::MapInfo::new(handle("shrike_peer")?.as_fd()).map_err(failed)?.info.id;
            loaded.note(Note::PeerId, u64::from(id));
        }
        loaded.note(Note::Layout, LAYOUT);
        loaded.fill_management(settings, &handle("shrike_ports")?, &handle("shrike_addresses")?)?;
        Ok(loaded)
    }

    /// Attaches to the interface of that index in the calling thread's namespace, or takes the pinned link over and
    /// swaps the program under it if the interface's program runs in that mode now (`current`; a link does not tell).
    /// The tracepoint goes first, so that no refused redirect is missed.
    pub(super) fn attach(&mut self, index: u32, mode: AttachMode, current: Option<AttachMode>) -> io::Result<()> {
        self.attach_capture(index, mode, current)?;
        let behind = match mode {
            AttachMode::Native => self.bypass.attach(index, self.taken_over),
            AttachMode::Generic => self.bypass.detach(),
        };
        self.behind_refused =
            behind.err().map(|cause| format!("tcx: {cause}; needs Linux {}.{}", KERNEL_WANTED.0, KERNEL_WANTED.1));
        Ok(())
    }

    fn attach_capture(&mut self, index: u32, mode: AttachMode, current: Option<AttachMode>) -> io::Result<()> {
        if self.counter_links.is_empty() {
            self.counter_links = self.attach_counters()?;
        }
        let path = self.directory.join("link");
        if let Some(link) = self.link.take().or_else(|| object_get(&path).ok()) {
            if link_index(link.as_fd()) == Some(index)
                && current == Some(mode)
                && link_update(link.as_fd(), self.program.as_fd()).is_ok()
            {
                if !path.exists() {
                    object_pin(link.as_fd(), &path)?;
                }
                self.link = Some(link);
                return Ok(());
            }
            // Of an interface that is gone, or in another mode.
            link_detach(link.as_fd());
            remove_if_there(&path)?;
        }
        let link = link_create(self.program.as_fd(), index, libbpf_sys::BPF_XDP, mode.flags())?;
        if let Err(error) = object_pin(link.as_fd(), &path) {
            link_detach(link.as_fd());
            return Err(error);
        }
        self.link = Some(link);
        Ok(())
    }

    /// Why frames that bypass the program are not counted, if they are not.
    pub(super) fn bypass_uncounted(&self) -> Option<String> {
        if self.noted(Note::NoMark) != 0 {
            return Some(
                "the driver has no room for XDP metadata, so passed frames could not be told apart".to_owned(),
            );
        }
        self.behind_refused.clone()
    }

    /// Whether a former process left its attachment on that interface.
    pub(super) fn is_pinned_on(&self, index: u32) -> bool {
        object_get(&self.directory.join("link")).is_ok_and(|link| link_index(link.as_fd()) == Some(index))
    }

    /// Kernel id of the loaded program.
    pub(super) fn program_id(&self) -> u32 {
        libbpf_rs::Program::id_from_fd(self.program.as_fd()).unwrap_or(0)
    }

    /// Puts a socket into its queue's slot: from now on frames of the queue go there.
    pub(super) fn insert_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), libbpf_rs::Error> {
        let value = socket.as_raw_fd().to_ne_bytes();
        self.xsks.update(&queue.to_ne_bytes(), &value, MapFlags::ANY)
    }

    /// A second handle on the sockets' map, for the source to take its own socket out.
    pub(super) fn socket_map(&self) -> io::Result<SocketMap> {
        Ok(SocketMap(self.xsks.as_fd().try_clone_to_owned()?))
    }

    /// The ring of copies of a queue, made if it is not there yet.
    pub(super) fn mirror(&self, queue: u32) -> Result<OwnedFd, libbpf_rs::Error> {
        let path = self.directory.join(format!("mirror-{queue}"));
        let mut ring = match MapHandle::from_pinned_path(&path) {
            Ok(ring) => ring,
            Err(_) => {
                let options = libbpf_sys::bpf_map_create_opts {
                    sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
                    ..Default::default()
                };
                let mut ring =
                    MapHandle::create(MapType::RingBuf, Some("shrike_mirror"), 0, 0, MIRROR_BYTES, &options)?;
                ring.pin(&path)?;
                ring
            }
        };
        let _ = &mut ring;
        self.mirrors.update(&queue.to_ne_bytes(), &ring.as_fd().as_raw_fd().to_ne_bytes(), MapFlags::ANY)?;
        ring.as_fd().try_clone_to_owned().map_err(libbpf_rs::Error::from)
    }

    /// Remembers something beyond our death.
    pub(super) fn note(&self, note: Note, value: u64) {
        let _ = self.notes.update(&(note as u32).to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY);
    }

    /// What was remembered; 0 if nothing.
    pub(super) fn noted(&self, note: Note) -> u64 {
        noted(&self.notes, note)
    }

    /// Keeps RSS settings beyond our death; nothing (all zeroes) once they need no longer be restored.
    pub(super) fn keep_rss(&self, before: Option<&rss::Saved>) {
        let bytes = before.and_then(rss::Saved::to_bytes).unwrap_or_else(|| vec![0; rss::SAVED_BYTES]);
        if let Err(error) = self.rss.update(&0u32.to_ne_bytes(), &bytes, MapFlags::ANY) {
            tracing::warn!(directory = %self.directory.display(), %error, "RSS settings would not outlive a kill");
        }
    }

    /// Forgets what was to be restored: the interface it was read from is gone.
    pub(super) fn forget(&self) {
        self.keep_rss(None);
        self.note(Note::NapiSaved, 0);
    }

    /// RSS settings of before us, kept by a process that did not restore them.
    pub(super) fn kept_rss(&self) -> Option<rss::Saved> {
        let bytes = self.rss.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok().flatten()?;
        rss::Saved::from_bytes(&bytes)
    }

    /// Where its maps and links are pinned.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Names the port that frames go to past the worker; the index is one of the calling thread's namespace.
    pub(super) fn point_to(&self, peer: u32) -> io::Result<()> {
        let map = MapHandle::from_pinned_path(self.directory.join("shrike_peer"))
            .map_err(|error| io::Error::other(error.to_string()))?;
        map.update(&0u32.to_ne_bytes(), &peer.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// Takes the program off the interface and removes every pin.
    pub(super) fn detach(&mut self) {
        let _ = self.bypass.detach(); // what is left of it goes with the pins
        if let Some(link) = self.link.take() {
            link_detach(link.as_fd());
        }
        self.counter_links.clear();
        if let Err(error) = clear(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "pins were left behind");
        }
        let _ = std::fs::remove_dir(&self.directory);
    }

    /// The links of the counters of refusals: the pinned ones if they run the same code, else new ones.
    fn attach_counters(&self) -> io::Result<Vec<OwnedFd>> {
        self.counters.iter().map(|(pin, tracepoint, program)| self.attach_counter(pin, *tracepoint, program)).collect()
    }

    /// `tracepoint`: `None` where the program itself names it.
    fn attach_counter(&self, pin: &str, tracepoint: Option<&str>, program: &OwnedFd) -> io::Result<OwnedFd> {
        let path = self.directory.join(pin);
        if let Ok(link) = object_get(&path) {
            // Its program holds the maps it was made with; they are ours only if these were taken over.
            if self.taken_over && program_tag_of_link(link.as_fd()) == program_tag(program.as_fd()) {
                return Ok(link);
            }
            drop(link);
            remove_if_there(&path)?;
        }
        let name = tracepoint.map(CString::new).transpose().map_err(io::Error::from)?;
        let pointer = name.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());
        // SAFETY: the name is null or NUL-terminated and outlives the call, the descriptor is open for as long as `self`.
        let fd = unsafe { libbpf_sys::bpf_raw_tracepoint_open(pointer, program.as_raw_fd()) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: a descriptor just made by the kernel for us; nobody else owns it.
        let link = unsafe { OwnedFd::from_raw_fd(fd) };
        object_pin(link.as_fd(), &path)?;
        Ok(link)
    }

    fn fill_management(
        &self,
        settings: &InterfaceSettings,
        ports: &MapHandle,
        addresses: &MapHandle,
    ) -> Result<(), XdpError> {
        let map_error = |cause: libbpf_rs::Error| XdpError::Map {
            operation: "write the management frames",
            interface: settings.label(),
            cause: cause.to_string(),
        };
        for map in [ports, addresses] {
            let old: Vec<Vec<u8>> = map.keys().collect();
            for key in old {
                map.delete(&key).map_err(map_error)?;
            }
        }
        let management = &settings.management;
        for (kind, count) in [("ports", management.ports.len()), ("addresses", management.addresses.len())] {
            if count > MANAGEMENT_MAX {
                return Err(XdpError::Management { interface: settings.label(), kind, count });
            }
        }
        for (transport, port) in &management.ports {
            let protocol = match transport {
                Transport::Tcp => 6u8,
                Transport::Udp => 17,
            };
            let [high, low] = port.to_be_bytes();
            ports.update(&[protocol, 0, high, low], &[1], MapFlags::ANY).map_err(map_error)?;
        }
        for (address, bits) in &management.addresses {
            let key = prefix_key(*address, *bits);
            addresses.update(&key, &[1], MapFlags::ANY).map_err(map_error)?;
        }
        Ok(())
    }
}

/// What `shrike_notes` keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Note {
    /// Kernel id of `shrike_xsks`.
    XsksId = 0,
    /// 1 if the two below hold values to restore.
    NapiSaved = 1,
    /// `napi_defer_hard_irqs` as it was before us.
    DeferHardIrqs = 2,
    /// `gro_flush_timeout` as it was before us.
    GroFlushTimeout = 3,
    /// 1 once the driver had no room for the mark on a frame that was passed.
    NoMark = 4,
    /// Which version's counters these are: [`LAYOUT`]. 0 while the maps are being made, and in those of old versions.
    Layout = 5,
    /// Kernel id of `shrike_peer`.
    PeerId = 6,
}

/// What a map of notes says; 0 if nothing.
pub(super) fn noted(notes: &MapHandle, note: Note) -> u64 {
    let value = notes.lookup(&(note as u32).to_ne_bytes(), MapFlags::ANY).ok().flatten();
    value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// A handle on the map of sockets that can only take one out.
#[derive(Debug)]
pub(super) struct SocketMap(OwnedFd);

impl SocketMap {
    /// Another handle on the same map.
    pub(super) fn again(&self) -> io::Result<SocketMap> {
        Ok(SocketMap(self.0.try_clone()?))
    }

    /// Empties a queue's slot: the program passes its frames to the kernel from now on.
    pub(super) fn remove(&self, queue: u32) {
        // SAFETY: the key is a live u32, the map's key size; the descriptor is open for as long as `self`.
        let _ = unsafe { libbpf_sys::bpf_map_delete_elem(self.0.as_raw_fd(), std::ptr::from_ref(&queue).cast()) };
    }
}

/// The key of a prefix in `shrike_addresses`: IPv4 lies under `::ffff:0:0/96`.
fn prefix_key(address: IpAddr, bits: u8) -> [u8; 20] {
    let (bytes, bits) = match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped().octets(), 96 + u32::from(bits.min(32))),
        IpAddr::V6(address) => (address.octets(), u32::from(bits.min(128))),
    };
    let mut key = [0; 20];
    key[..4].copy_from_slice(&bits.to_ne_bytes());
    key[4..].copy_from_slice(&bytes);
    key
}

/// Are the counters that are pinned there what this version counts?
fn is_of_this_layout(directory: &Path) -> bool {
    MapHandle::from_pinned_path(directory.join("shrike_notes")).is_ok_and(|map| noted(&map, Note::Layout) == LAYOUT)
}

/// Map, key and value of all that a dead process has yet to restore, from pins whose counters are of no more use.
fn to_be_restored(directory: &Path) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut kept = Vec::new();
    let keys = [Note::NapiSaved, Note::DeferHardIrqs, Note::GroFlushTimeout].map(|note| ("shrike_notes", note as u32));
    for (name, key) in keys.into_iter().chain([("shrike_rss", 0)]) {
        let Ok(map) = MapHandle::from_pinned_path(directory.join(name)) else { continue };
        if let Ok(Some(value)) = map.lookup(&key.to_ne_bytes(), MapFlags::ANY) {
            kept.push((name, key.to_ne_bytes().to_vec(), value));
        }
    }
    kept
}

/// Unpins everything in a directory of ours. What only the pins held is gone from the kernel with it.
pub(super) fn clear(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    // The one behind first, or all would be a bypass; then the attachment, or frames would meet a program whose maps are
    // going.
    paths.sort_by_key(|path| (!path.ends_with("bypass"), !path.ends_with("link")));
    for path in paths {
        if (path.ends_with("link") || path.ends_with("bypass"))
            && let Ok(link) = object_get(&path)
        {
            link_detach(link.as_fd());
        }
        remove_if_there(&path)?;
    }
    Ok(())
}

/// Unpins everything but the attachment: its program goes on, with the maps that it holds.
fn clear_but_link(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.ends_with("link") {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn quiet_libbpf() {
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Info, |level, text| {
        let text = text.trim_end();
        match level {
            libbpf_rs::PrintLevel::Warn => tracing::warn!(target: "libbpf", "{text}"),
            _ => tracing::debug!(target: "libbpf", "{text}"),
        }
    })));
}

fn load_error(settings: &InterfaceSettings, cause: &libbpf_rs::Error) -> XdpError {
    if cause.kind() == libbpf_rs::ErrorKind::PermissionDenied {
        let cause = io::Error::other(cause.to_string());
        return XdpError::NotPermitted { operation: "load the XDP program for", interface: settings.label(), cause };
    }
    XdpError::Load { interface: settings.label(), cause: format!("{cause:#}") }
}

#[cfg(test)]
mod tests;
