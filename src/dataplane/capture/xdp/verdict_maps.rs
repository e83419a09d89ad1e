//! The pinned maps of verdicts: made before any program is there, shared by the programs of all pairs of an instance, and
//! taken away with the last of them.
//!
//! They come first, so that what is in force is in them before a program that looks into them is attached to a wire.

use super::error::XdpError;
use super::leftovers::take_lock_of;
use super::settings::InterfaceSettings;
use super::verdicts::{COUNT_CELLS, COUNTS, MAPS, PROVEN, VALUE, Verdicts, io_error};
use crate::sys::bpffs;
use libbpf_rs::libbpf_sys;
use libbpf_rs::{MapCore, MapHandle, MapType, Object, OpenObject};
use std::io;
use std::path::{Path, PathBuf};

/// How many subjects each map of verdicts has room for. A map takes memory for what is in it, not for what may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerdictRoom {
    /// Hosts isolated by their cards.
    pub hosts: u32,
    /// Single flows, blocked or shunted.
    pub flows: u32,
    /// Signatures.
    pub signatures: u32,
    /// Prefixes of IPv4, and as many of IPv6.
    pub prefixes: u32,
}

impl Default for VerdictRoom {
    /// As `src/bpf/verdict.h` has them.
    fn default() -> VerdictRoom {
        VerdictRoom { hosts: 4096, flows: 65_536, signatures: 4096, prefixes: 2_097_152 }
    }
}

impl VerdictRoom {
    fn of(&self, kind: &str) -> u32 {
        match kind {
            "hosts" => self.hosts,
            "flows" => self.flows,
            "signatures" => self.signatures,
            _ => self.prefixes,
        }
    }
}

/// Where an instance's verdicts are pinned.
pub fn verdict_path(settings: &InterfaceSettings) -> PathBuf {
    instance(settings).join("verdicts")
}

fn instance(settings: &InterfaceSettings) -> PathBuf {
    settings.pin_directory.join(&settings.instance)
}

/// Sources that are known to have proved themselves at a time, as `src/bpf/verdict.h` has it.
const PROVEN_ROOM: u32 = 65_536;

/// One map as the kernel has it.
struct Layout {
    name: &'static str,
    of: MapType,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

/// All that lie beside each other.
fn layouts(room: VerdictRoom) -> impl Iterator<Item = Layout> {
    let of_verdicts = MAPS.into_iter().map(move |(name, kind, key)| {
        let of = if name.starts_with("verdict_prefixes") { MapType::LpmTrie } else { MapType::Hash };
        Layout { name, of, key, value: VALUE as u32, entries: room.of(kind), flags: libbpf_sys::BPF_F_NO_PREALLOC }
    });
    let counts = COUNT_CELLS as u32 * 8;
    let others = [
        Layout { name: PROVEN, of: MapType::LruHash, key: 16, value: 16, entries: PROVEN_ROOM, flags: 0 },
        Layout {
            name: COUNTS,
            of: MapType::Array,
            key: 4,
            value: counts,
            entries: 1,
            flags: libbpf_sys::BPF_F_MMAPABLE,
        },
    ];
    of_verdicts.chain(others)
}

/// Before a program is loaded: lets it use the maps that are pinned there, whatever their room. Of another layout they are unpinned;
/// whoever keeps the verdicts puts them into the new ones.
pub(super) fn share(open: &mut OpenObject, directory: &Path) -> Result<(), libbpf_rs::Error> {
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let path = directory.join(&name);
        let layout = layouts(VerdictRoom::default()).find(|layout| layout.name == name);
        let Some(layout) = layout.filter(|_| path.exists()) else { continue };
        let pinned = MapHandle::from_pinned_path(&path)?;
        if (pinned.key_size(), pinned.value_size()) == (layout.key, layout.value) {
            map.reuse_pinned_map(&path)?;
        } else {
            std::fs::remove_file(&path).map_err(libbpf_rs::Error::from)?;
        }
    }
    Ok(())
}

/// After a program is loaded: pins its maps there, where they are not pinned yet.
pub(super) fn pin(object: &mut Object, directory: &Path) -> Result<(), libbpf_rs::Error> {
    std::fs::create_dir_all(directory).map_err(libbpf_rs::Error::from)?;
    for mut map in object.maps_mut() {
        let path = directory.join(map.name());
        if map.name().to_string_lossy().starts_with("verdict_") && !path.exists() {
            map.pin(&path)?;
        }
    }
    Ok(())
}

impl Verdicts {
    /// Makes the maps of the instance that this port of a pair belongs to, or takes over those that are there, before any program is
    /// attached; and keeps others from putting verdicts in while it lives. Maps of another room or layout are made anew and
    /// empty: the program that is attached keeps the old ones, with what is in them, until the next takes its place.
    ///
    /// # Errors
    /// No right, no BPF file system, or another running shrike keeps the verdicts of this instance.
    pub fn prepare(port: &InterfaceSettings, room: VerdictRoom) -> Result<Verdicts, XdpError> {
        let directory = verdict_path(port);
        let root = instance(port);
        let lock = take_lock_of(&directory, port)?;
        let mounted = bpffs::hold(&root).map_err(|cause| XdpError::pins(port.label(), &root, cause))?;
        let made = make(&directory, room).and_then(|()| Verdicts::open(&directory));
        drop(mounted); // our pins keep it from here on
        let verdicts = made.map_err(|cause| XdpError::pins(port.label(), &directory, cause))?;
        // Whoever shunted them has died, and nobody else counts them in a record.
        verdicts.forget_shunts().map_err(|cause| XdpError::pins(port.label(), &directory, io::Error::other(cause)))?;
        Ok(verdicts.held(lock))
    }

    /// Takes the maps away where no program of the instance is pinned any more: nobody looks into them.
    pub fn forget_unused(port: &InterfaceSettings) {
        let (root, directory) = (instance(port), verdict_path(port));
        let others = |entry: io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.path() != directory && is_pins(&entry))
        };
        if std::fs::read_dir(&root).map_or(true, |mut entries| entries.any(others)) {
            return;
        }
        for layout in layouts(VerdictRoom::default()) {
            drop(std::fs::remove_file(directory.join(layout.name))); // may not be there
        }
        drop(std::fs::remove_dir(&directory));
        if let Err(error) = bpffs::remove(&root) {
            tracing::debug!(path = %root.display(), %error, "an instance's BPF file system was left");
        }
    }
}

/// A name with a dot is the kernel's own (`maps.debug`).
fn is_pins(entry: &std::fs::DirEntry) -> bool {
    !entry.file_name().to_string_lossy().contains('.')
}

fn make(directory: &Path, room: VerdictRoom) -> io::Result<()> {
    let other = |error: libbpf_rs::Error| io_error(&error);
    std::fs::create_dir_all(directory)?;
    let is_there = |layout: &Layout| {
        MapHandle::from_pinned_path(directory.join(layout.name)).is_ok_and(|map| {
            (map.key_size(), map.value_size(), map.max_entries()) == (layout.key, layout.value, layout.entries)
        })
    };
    if layouts(room).all(|layout| is_there(&layout)) {
        return Ok(());
    }
    // All of them together: the counts tell of the maps beside them.
    for Layout { name, of, key, value, entries, flags } in layouts(room) {
        let path = directory.join(name);
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: flags,
            ..Default::default()
        };
        let mut map = MapHandle::create(of, Some(name), key, value, entries, &options).map_err(other)?;
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => map.pin(&path).map_err(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loading takes the room of the pinned maps; where there are none, what the program's source says must be the default.
    #[test]
    fn the_default_room_is_the_programs() {
        let source = include_str!("../../../bpf/verdict.h");
        for Layout { name, entries, .. } in layouts(VerdictRoom::default()) {
            let definition = &source[..source.find(&format!("}} {name} SEC")).expect("a map of that name")];
            let written = definition.rsplit_once("max_entries, ").expect("its room").1;
            let written: u32 = written.split(')').next().unwrap().parse().unwrap();
            assert_eq!(written, entries, "{name}");
        }
    }
}
