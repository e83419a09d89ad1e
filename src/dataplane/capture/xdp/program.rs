//! The XDP program in the kernel: loading, pinning, attaching, and finding it again after our own death.
//!
//! Pinned under `<pin directory>/<instance>/<interface>/`: `link` (the attachment), `refused` (the tracepoint's), and
//! every map. While `link` is pinned the program stays attached without us; it then passes frames to the kernel and
//! counts them as `passed_no_socket`. A start that finds the pins takes the maps over, with what they have counted, and
//! swaps the program under the link, so that the driver is not touched again (attaching resets the link of many NICs).

use super::error::XdpError;
use super::settings::{InterfaceSettings, MANAGEMENT_MAX, Transport};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, ObjectBuilder, libbpf_sys};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The object clang made of `src/bpf/shrike.bpf.c`, aligned as ELF wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);
static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/shrike.bpf.o")));

/// Names of the pinned maps, as in `shrike.bpf.c`.
const MAPS: [&str; 7] = [
    "shrike_xdp",
    "shrike_worker",
    "shrike_xsks",
    "shrike_notes",
    "shrike_ports",
    "shrike_addresses",
    "shrike_mirrors",
];
/// Bytes of the ring of copies of one queue, on a shared interface: some 2 000 small frames or 120 large ones.
const MIRROR_BYTES: u32 = 262_144;

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
    refused_program: OwnedFd,
    /// The attachment; `None` while the interface is away.
    link: Option<OwnedFd>,
    refused_link: Option<OwnedFd>,
    pub(super) xdp: MapHandle,
    pub(super) worker: MapHandle,
    xsks: MapHandle,
    notes: MapHandle,
    mirrors: MapHandle,
    /// The maps were there before us.
    pub(super) taken_over: bool,
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
        let pins = |cause: io::Error| XdpError::Pin { path: directory.display().to_string(), cause };
        std::fs::create_dir_all(directory).map_err(pins)?;

        let mut open =
            ObjectBuilder::default().name("shrike").map_err(failed)?.open_memory(&OBJECT.0).map_err(failed)?;
        let mut shapes = Vec::new();
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            let entries = match name.as_str() {
                "shrike_xdp" => queues.saturating_add(1).saturating_mul(cpus),
                "shrike_worker" | "shrike_xsks" | "shrike_mirrors" => queues,
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
            if MAPS.contains(&name.as_str()) {
                map.set_max_entries(entries).map_err(failed)?;
                shapes.push((name, entries));
            }
        }
        // Pins of another shape (other queue count, other version) are of no use: begin anew.
        let fits = shapes.iter().all(|(name, entries)| {
            MapHandle::from_pinned_path(directory.join(name)).is_ok_and(|map| map.max_entries() == *entries)
        });
        if !fits {
            clear(directory).map_err(pins)?;
        }
        for mut map in open.maps_mut() {
            let path = directory.join(map.name());
            if fits && MAPS.iter().any(|known| map.name() == *known) {
                map.reuse_pinned_map(&path).map_err(failed)?;
            }
        }
        let mut object = open.load().map_err(failed)?;
        for mut map in object.maps_mut() {
            let name = map.name().to_os_string();
            if !fits && MAPS.iter().any(|known| name == *known) {
                map.pin(directory.join(&name)).map_err(|cause| pins(io::Error::other(cause.to_string())))?;
            }
        }
        let handle = |name: &str| {
            MapHandle::from_pinned_path(directory.join(name)).map_err(|cause| pins(io::Error::other(cause.to_string())))
        };
        let program = |name: &str| {
            let found = object.progs_mut().find(|program| program.name() == name);
            let descriptor = found.map(|program| program.as_fd().try_clone_to_owned());
            descriptor.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map_err(pins)
        };
        let (capture, refused) = (program("shrike_capture")?, program("shrike_refused")?);
        let loaded = Program {
            directory: directory.to_owned(),
            program: capture,
            refused_program: refused,
            link: None,
            refused_link: None,
            xdp: handle("shrike_xdp")?,
            worker: handle("shrike_worker")?,
            xsks: handle("shrike_xsks")?,
            notes: handle("shrike_notes")?,
            mirrors: handle("shrike_mirrors")?,
            taken_over: fits,
        };
        let id = libbpf_rs::MapInfo::new(loaded.xsks.as_fd()).map_err(failed)?.info.id;
        loaded.note(Note::XsksId, u64::from(id));
        loaded.fill_management(settings, &handle("shrike_ports")?, &handle("shrike_addresses")?)?;
        Ok(loaded)
    }

    /// Attaches to the interface of that index in the calling thread's namespace, or takes the pinned link over and
    /// swaps the program under it if the interface's program runs in that mode now (`current`; a link does not tell).
    /// The tracepoint goes first, so that no refused redirect is missed.
    pub(super) fn attach(&mut self, index: u32, mode: AttachMode, current: Option<AttachMode>) -> io::Result<()> {
        if self.refused_link.is_none() {
            self.refused_link = self.attach_refused()?;
        }
        let path = self.directory.join("link");
        if let Some(link) = self.link.take().or_else(|| object_get(&path).ok()) {
            if xdp_link_index(link.as_fd()) == Some(index)
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
        let link = link_create(self.program.as_fd(), index, mode.flags())?;
        if let Err(error) = object_pin(link.as_fd(), &path) {
            link_detach(link.as_fd());
            return Err(error);
        }
        self.link = Some(link);
        Ok(())
    }

    /// Whether a former process left its attachment on that interface.
    pub(super) fn is_pinned_on(&self, index: u32) -> bool {
        object_get(&self.directory.join("link")).is_ok_and(|link| xdp_link_index(link.as_fd()) == Some(index))
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
        let value = self.notes.lookup(&(note as u32).to_ne_bytes(), MapFlags::ANY).ok().flatten();
        value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    }

    /// Takes the program off the interface and removes every pin.
    pub(super) fn detach(&mut self) {
        if let Some(link) = self.link.take() {
            link_detach(link.as_fd());
        }
        self.refused_link = None;
        if let Err(error) = clear(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "pins were left behind");
        }
        let _ = std::fs::remove_dir(&self.directory);
    }

    /// The link of the refusal counter: the pinned one if it runs the same code, else a new one.
    fn attach_refused(&self) -> io::Result<Option<OwnedFd>> {
        let path = self.directory.join("refused");
        if let Ok(link) = object_get(&path) {
            // Its program holds the maps it was made with; they are ours only if these were taken over.
            if self.taken_over && program_tag_of_link(link.as_fd()) == program_tag(self.refused_program.as_fd()) {
                return Ok(Some(link));
            }
            drop(link);
            remove_if_there(&path)?;
        }
        let name = CString::new("xdp_redirect_err").map_err(io::Error::from)?;
        // SAFETY: the name is NUL-terminated and outlives the call, the descriptor is open for as long as `self`.
        let fd = unsafe { libbpf_sys::bpf_raw_tracepoint_open(name.as_ptr(), self.refused_program.as_raw_fd()) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: a descriptor just made by the kernel for us; nobody else owns it.
        let link = unsafe { OwnedFd::from_raw_fd(fd) };
        object_pin(link.as_fd(), &path)?;
        Ok(Some(link))
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

/// Unpins everything in a directory of ours. What only the pins held is gone from the kernel with it.
pub(super) fn clear(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    // The attachment first, or frames would meet a program whose maps are going.
    paths.sort_by_key(|path| !path.ends_with("link"));
    for path in paths {
        if path.ends_with("link")
            && let Ok(link) = object_get(&path)
        {
            link_detach(link.as_fd());
        }
        remove_if_there(&path)?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
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

fn path_text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

fn own(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: every caller passes a descriptor the kernel has just made for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn object_get(path: &Path) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    own(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })
}

fn object_pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_text(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call; the descriptor is borrowed, hence open.
    let result = unsafe { libbpf_sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

fn link_create(program: BorrowedFd<'_>, index: u32, flags: u32) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags,
        ..Default::default()
    };
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: the descriptor is borrowed, hence open; the options are a live structure of the size it states.
    own(unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), index, libbpf_sys::BPF_XDP, &options) })
}

fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are borrowed, hence open; null options are allowed.
    let result = unsafe { libbpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

fn link_detach(link: BorrowedFd<'_>) {
    // SAFETY: the descriptor is borrowed, hence open. A link whose interface is gone refuses, which is as good.
    let _ = unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) };
}

/// Interface index of an XDP link, 0 once the interface is gone.
fn xdp_link_index(link: BorrowedFd<'_>) -> Option<u32> {
    let info = link_info(link)?;
    if info.type_ != libbpf_sys::BPF_LINK_TYPE_XDP {
        return None;
    }
    // SAFETY: the union's `xdp` part is the one the kernel filled, as `type_` says; it is plain data in any case.
    Some(unsafe { info.__bindgen_anon_1.xdp.ifindex })
}

fn link_info(link: BorrowedFd<'_>) -> Option<libbpf_sys::bpf_link_info> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut length = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: `info` is a live structure of `length` bytes and the descriptor is borrowed, hence open.
    let result = unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut length) };
    (result == 0).then_some(info)
}

fn program_tag_of_link(link: BorrowedFd<'_>) -> Option<[u8; 8]> {
    let id = link_info(link)?.prog_id;
    program_tag(libbpf_rs::Program::fd_from_id(id).ok()?.as_fd())
}

/// The kernel's hash over a program's instructions.
fn program_tag(program: BorrowedFd<'_>) -> Option<[u8; 8]> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: `info` is a live structure of `length` bytes, all its pointers are null, the descriptor is open.
    let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut length) };
    (result == 0).then_some(info.tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::xdp::counters::{CounterMaps, QueueAccount};
    use crate::dataplane::capture::xdp::settings::Management;
    use crate::sys::bpffs;

    const DROP_NOTHING: u32 = 2; // XDP_PASS

    /// The program of a shared or unshared interface, loaded but attached nowhere, with its books.
    struct Loaded {
        program: Program,
        maps: CounterMaps,
        root: PathBuf,
    }

    impl Loaded {
        fn new(name: &str, shared: bool) -> Loaded {
            let root = PathBuf::from(format!("/run/shrike/bpf/unit-{}-{name}", std::process::id()));
            bpffs::ensure(&root).unwrap();
            let settings = InterfaceSettings {
                management: Management {
                    ports: vec![(Transport::Tcp, 22), (Transport::Udp, 68)],
                    addresses: vec![("192.0.2.128".parse().unwrap(), 25), ("2001:db8:1::".parse().unwrap(), 48)],
                },
                ..InterfaceSettings::new(name)
            };
            let program = Program::load(&settings, &root.join(name), 2, shared).unwrap();
            if shared {
                program.mirror(0).unwrap();
            }
            let maps = CounterMaps::map(&program.xdp, &program.worker, 2).unwrap();
            Loaded { program, maps, root }
        }

        fn run(&self, frame: &[u8]) -> QueueAccount {
            let before = self.maps.account(0);
            assert_eq!(test_run(&self.program, frame), DROP_NOTHING);
            let after = self.maps.account(0);
            assert!(after.program_closes(), "{after:?}");
            assert_eq!(after.seen, before.seen + 1);
            QueueAccount {
                passed_arp: after.passed_arp - before.passed_arp,
                passed_neighbour: after.passed_neighbour - before.passed_neighbour,
                passed_management: after.passed_management - before.passed_management,
                passed_no_socket: after.passed_no_socket - before.passed_no_socket,
                copied: after.copied - before.copied,
                ..QueueAccount::default()
            }
        }
    }

    impl Drop for Loaded {
        fn drop(&mut self) {
            self.program.detach();
            bpffs::remove(&self.root).unwrap();
        }
    }

    /// Runs the program on a frame through `BPF_PROG_TEST_RUN`, as if it came on queue 0; gives its action.
    fn test_run(program: &Program, frame: &[u8]) -> u32 {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: u32::try_from(frame.len()).unwrap(),
            repeat: 1,
            ..Default::default()
        };
        // SAFETY: `data_in` points to a live slice of the length given; no output buffers are set.
        let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.program.as_raw_fd(), &mut options) };
        assert_eq!(result, 0, "{}", io::Error::from_raw_os_error(-result));
        options.retval
    }

    /// Root, or the test is skipped aloud (a failure where `SHRIKE_REQUIRE` names root).
    fn may_load(test: &str) -> bool {
        // SAFETY: geteuid(2) takes nothing and cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            return true;
        }
        let required = std::env::var("SHRIKE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "root"), "{test}: SHRIKE_REQUIRE names root");
        eprintln!("SKIPPED {test}: needs root");
        false
    }

    fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in tags {
            frame.extend_from_slice(&tag.to_be_bytes());
            frame.extend_from_slice(&[0, 7]);
        }
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    fn ipv4(protocol: u8, source: [u8; 4], fragment: u16, options: usize, port: u16) -> Vec<u8> {
        let mut packet = vec![0x45 + (options / 4) as u8, 0, 0, 60, 0, 1];
        packet.extend_from_slice(&fragment.to_be_bytes());
        packet.extend_from_slice(&[64, protocol, 0, 0]);
        packet.extend_from_slice(&source);
        packet.extend_from_slice(&[198, 51, 100, 7]);
        packet.resize(packet.len() + options, 1);
        packet.extend_from_slice(&40_000u16.to_be_bytes());
        packet.extend_from_slice(&port.to_be_bytes());
        packet.resize(packet.len() + 36, 0);
        packet
    }

    fn ipv6(next: u8, source: [u16; 8], first: u16, port: u16) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 40, next, 64];
        source.iter().for_each(|part| packet.extend_from_slice(&part.to_be_bytes()));
        packet.extend_from_slice(&[0xfd; 16]);
        packet.extend_from_slice(&first.to_be_bytes());
        packet.extend_from_slice(&port.to_be_bytes());
        packet.resize(packet.len() + 36, 0);
        packet
    }

    #[derive(Debug, PartialEq)]
    enum Fate {
        Arp,
        Neighbour,
        Management,
        Worker,
    }

    #[test]
    fn live_a_shared_interface_keeps_what_the_host_needs_and_copies_it() {
        if !may_load("live_a_shared_interface_keeps_what_the_host_needs_and_copies_it") {
            return;
        }
        let loaded = Loaded::new("shared", true);
        let far = [203, 0, 113, 1];
        let six = [0x2001, 0xdb8, 2, 0, 0, 0, 0, 1];
        let cases = [
            ("arp", ethernet(&[], 0x0806, &[0; 28]), Fate::Arp),
            ("arp in a vlan", ethernet(&[0x8100], 0x0806, &[0; 46]), Fate::Arp),
            ("arp in two vlans", ethernet(&[0x88a8, 0x8100], 0x0806, &[0; 46]), Fate::Arp),
            ("arp in three vlans", ethernet(&[0x88a8, 0x8100, 0x8100], 0x0806, &[0; 46]), Fate::Worker),
            ("ssh", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 22)), Fate::Management),
            ("ssh in a vlan", ethernet(&[0x8100], 0x0800, &ipv4(6, far, 0, 0, 22)), Fate::Management),
            ("ssh behind options", ethernet(&[], 0x0800, &ipv4(6, far, 0, 40, 22)), Fate::Management),
            ("first fragment", ethernet(&[], 0x0800, &ipv4(6, far, 0x2000, 0, 22)), Fate::Management),
            ("later fragment", ethernet(&[], 0x0800, &ipv4(6, far, 0x2001, 0, 22)), Fate::Worker),
            ("udp 22", ethernet(&[], 0x0800, &ipv4(17, far, 0, 0, 22)), Fate::Worker),
            ("dhcp answer", ethernet(&[], 0x0800, &ipv4(17, far, 0, 0, 68)), Fate::Management),
            ("https", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 443)), Fate::Worker),
            ("listed prefix", ethernet(&[], 0x0800, &ipv4(6, [192, 0, 2, 129], 0, 0, 443)), Fate::Management),
            ("beside the prefix", ethernet(&[], 0x0800, &ipv4(6, [192, 0, 2, 127], 0, 0, 443)), Fate::Worker),
            (
                "header length 4 words",
                {
                    let mut packet = ipv4(6, far, 0, 0, 22);
                    packet[0] = 0x44;
                    ethernet(&[], 0x0800, &packet)
                },
                Fate::Worker,
            ),
            ("cut before the port", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 22)[..21]), Fate::Worker),
            ("cut in the ip header", ethernet(&[], 0x0800, &ipv4(6, far, 0, 0, 22)[..12]), Fate::Worker),
            ("ssh over ipv6", ethernet(&[], 0x86dd, &ipv6(6, six, 40_000, 22)), Fate::Management),
            (
                "listed ipv6 prefix",
                ethernet(&[], 0x86dd, &ipv6(6, [0x2001, 0xdb8, 1, 9, 0, 0, 0, 1], 1, 2)),
                Fate::Management,
            ),
            ("neighbour solicitation", ethernet(&[], 0x86dd, &ipv6(58, six, 135 << 8, 0)), Fate::Neighbour),
            ("echo request", ethernet(&[], 0x86dd, &ipv6(58, six, 128 << 8, 0)), Fate::Worker),
            ("lldp", ethernet(&[], 0x88cc, &[0; 46]), Fate::Worker),
            (
                "large ssh frame",
                ethernet(&[], 0x0800, &{
                    let mut packet = ipv4(6, far, 0, 0, 22);
                    packet.resize(1500, 0);
                    packet
                }),
                Fate::Management,
            ),
        ];
        for (name, frame, fate) in cases {
            let counted = loaded.run(&frame);
            let got = match (
                counted.passed_arp,
                counted.passed_neighbour,
                counted.passed_management,
                counted.passed_no_socket,
            ) {
                (1, 0, 0, 0) => Fate::Arp,
                (0, 1, 0, 0) => Fate::Neighbour,
                (0, 0, 1, 0) => Fate::Management,
                (0, 0, 0, 1) => Fate::Worker,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(got, fate, "{name}");
            assert_eq!(counted.copied, u64::from(fate != Fate::Worker), "{name}");
        }
    }

    #[test]
    fn live_copies_are_what_was_on_the_wire_and_a_full_ring_is_counted() {
        if !may_load("live_copies_are_what_was_on_the_wire_and_a_full_ring_is_counted") {
            return;
        }
        use crate::dataplane::capture::xdp::mirror::{MIRROR_BURST, Mirror};
        let loaded = Loaded::new("copies", true);
        let mut mirror = Mirror::open(loaded.program.mirror(0).unwrap()).unwrap();
        let frame = |bytes: usize| {
            let mut frame = ethernet(&[], 0x0806, &[]);
            frame.extend((frame.len()..bytes).map(|at| at as u8));
            frame
        };
        // Many rounds, so that positions wrap round the ring's end.
        for round in 0..60 {
            for bytes in [42, 119, 120, 121, 1514, 2040] {
                assert_eq!(loaded.run(&frame(bytes)).copied, 1);
            }
            assert_eq!(mirror.take(MIRROR_BURST), 6, "round {round}");
            for (index, bytes) in [42, 119, 120, 121, 1514, 2040].into_iter().enumerate() {
                assert_eq!(mirror.frame(index), (&frame(bytes)[..], bytes as u32), "round {round}");
            }
            assert_eq!(mirror.frame(6), (&[][..], 0));
            mirror.release();
            assert!(mirror.is_empty());
        }
        loaded.run(&frame(3000));
        assert_eq!(mirror.take(1), 1);
        assert_eq!(mirror.frame(0), (&frame(3000)[..2040], 3000));
        mirror.release();
        for _ in 0..MIRROR_BYTES / 128 + 10 {
            test_run(&loaded.program, &frame(60));
        }
        let account = loaded.maps.account(0);
        assert!(account.copy_lost >= 10 && account.program_closes(), "{account:?}");
        let mut read = 0;
        while mirror.take(7) > 0 {
            read += mirror.held() as u64;
            mirror.release();
        }
        assert_eq!(account.copied, 60 * 6 + 1 + read);
    }

    #[test]
    fn live_an_unshared_interface_leaves_nothing_to_the_kernel_but_what_has_no_socket() {
        if !may_load("live_an_unshared_interface_leaves_nothing_to_the_kernel_but_what_has_no_socket") {
            return;
        }
        let loaded = Loaded::new("tap", false);
        for frame in [ethernet(&[], 0x0806, &[0; 46]), ethernet(&[], 0x0800, &ipv4(6, [1, 2, 3, 4], 0, 0, 22))] {
            let counted = loaded.run(&frame);
            assert_eq!((counted.passed_no_socket, counted.copied), (1, 0));
        }
    }

    #[test]
    fn live_pins_of_another_shape_are_replaced_and_of_the_same_taken_over() {
        if !may_load("live_pins_of_another_shape_are_replaced_and_of_the_same_taken_over") {
            return;
        }
        let mut loaded = Loaded::new("again", false);
        loaded.run(&ethernet(&[], 0x0806, &[0; 46]));
        let directory = loaded.root.join("again");
        let settings = InterfaceSettings::new("again");
        let second = Program::load(&settings, &directory, 2, true).unwrap();
        assert!(second.taken_over);
        assert_eq!(CounterMaps::map(&second.xdp, &second.worker, 2).unwrap().account(0).seen, 1);
        let third = Program::load(&settings, &directory, 3, false).unwrap();
        assert!(!third.taken_over);
        assert_eq!(CounterMaps::map(&third.xdp, &third.worker, 3).unwrap().account(0).seen, 0);
        loaded.program = third;
    }

    #[test]
    fn prefixes_of_ipv4_lie_under_the_mapped_ones() {
        let key = prefix_key("192.0.2.0".parse().unwrap(), 24);
        assert_eq!(&key[..4], &120u32.to_ne_bytes());
        assert_eq!(&key[14..20], &[0xff, 0xff, 192, 0, 2, 0]);
    }
}
