//! Who owns the pins of an interface, and what becomes of those that nobody owns any more.
//!
//! A running process holds an abstract socket named after the directory of its pins; it goes with its process whatever
//! kills it. Pins of a dead process wait for the next start on their interface, which takes them over. Where the interface
//! is gone as well, nobody would: the next start of any instance under the same directory removes them.

use super::bpf::{link_index, link_program, object_get};
use super::error::XdpError;
use super::holders::{holders, socket_owner};
use super::interface::pin_path;
use super::program;
use super::settings::InterfaceSettings;
use crate::sys::bpffs;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried: another start's sweep holds it for a moment, a living owner for good.
const LOCK_TRIES: u32 = 10;
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// One running process an interface and instance.
pub(super) fn take_lock(settings: &InterfaceSettings) -> Result<UnixDatagram, XdpError> {
    take_lock_of(&pin_path(settings), settings)
}

/// One running process a directory of pins.
pub(super) fn take_lock_of(path: &Path, settings: &InterfaceSettings) -> Result<UnixDatagram, XdpError> {
    for _ in 1..LOCK_TRIES {
        if let Ok(held) = lock(path) {
            return Ok(held);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    lock(path).map_err(|_| XdpError::Taken {
        interface: settings.label(),
        instance: settings.instance.clone(),
        holders: living_owner(path),
    })
}

fn lock(path: &Path) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(lock_name(path).as_bytes())?)
}

fn lock_name(path: &Path) -> String {
    format!("shrike/{}", path.display())
}

/// The process whose lock it is; where that cannot be seen, those it may be.
pub(super) fn living_owner(path: &Path) -> String {
    socket_owner(&lock_name(path)).unwrap_or_else(holders)
}

/// Removes what dead processes of any instance pinned for interfaces that are gone too. What cannot be removed stays for
/// the next start; it does no harm but to hold memory.
pub fn sweep(pin_directory: &Path) {
    for root in folders(pin_directory) {
        let mut swept = false;
        for path in folders(&root).filter(|path| is_ours(path)) {
            // Whoever lives holds the lock, we our own.
            let Ok(_held) = lock(&path) else { continue };
            if !is_of_a_gone_interface(&path) {
                continue;
            }
            match program::clear(&path).and_then(|()| std::fs::remove_dir(&path)) {
                Ok(()) => {
                    swept = true;
                    tracing::info!(path = %path.display(), "removed the pins of a dead process on a gone interface");
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "pins of a dead process were left"),
            }
        }
        if swept && let Err(error) = bpffs::remove(&root) {
            tracing::debug!(path = %root.display(), %error, "an instance's BPF file system was left");
        }
    }
}

/// Whose a program is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    /// The instance under whose name it is pinned.
    pub(super) instance: String,
    /// The process, where it lives.
    pub(super) process: Option<String>,
}

/// The owner of a program that is pinned by an instance of shrike.
pub(super) fn owner_of(pin_directory: &Path, program: u32) -> Option<Owner> {
    let pinned = |path: &PathBuf| {
        object_get(&path.join("link")).ok().and_then(|link| link_program(link.as_fd())).is_some_and(|id| id == program)
    };
    let path = folders(pin_directory).find_map(|root| folders(&root).find(pinned))?;
    let instance = path.parent()?.file_name()?.to_string_lossy().into_owned();
    let process = match lock(&path) {
        Ok(_free) => None,
        Err(_) => Some(living_owner(&path)),
    };
    Some(Owner { instance, process })
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// The directory of pins may be a BPF file system that others use as well.
fn is_ours(path: &Path) -> bool {
    path.join("shrike_xdp").exists()
}

/// Whether what is pinned in a directory is attached nowhere any more, or never was.
fn is_of_a_gone_interface(path: &Path) -> bool {
    match object_get(&path.join("link")) {
        Ok(link) => link_index(link.as_fd()) == Some(0),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
