//! Which processes have AF_XDP sockets, or the lock of an interface, for the operator who has to stop one of them.
//!
//! `ss --xdp` tells the queue of each, where the kernel has CONFIG_XDP_SOCKETS_DIAG. Without it the memory maps are what
//! there is: every AF_XDP socket in use has its fill ring mapped, at an offset that no other kind of socket knows.

use std::path::Path;

/// `XDP_UMEM_PGOFF_FILL_RING` (include/uapi/linux/if_xdp.h), as `/proc/PID/maps` writes it.
const FILL_RING: &str = "100000000";
/// Most processes named.
const NAMED: usize = 8;

/// Other processes with AF_XDP sockets, as `name (process 12)`, or that none was found.
pub(super) fn holders() -> String {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name != own && name.parse::<u32>().is_ok()))
        .filter_map(|entry| holder(&entry.path()))
        .take(NAMED)
        .collect();
    found.sort_unstable();
    if found.is_empty() { "a process that cannot be seen from here".to_owned() } else { found.join(" or ") }
}

/// The process that holds the abstract UNIX socket of that name, seen in this network namespace.
pub(super) fn socket_owner(name: &str) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/unix").ok()?;
    let link = format!("socket:[{}]", table.lines().find_map(|line| inode_of(line, name))?);
    let processes = std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let holds = |process: &Path| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| target.as_os_str() == link.as_str())
    };
    let process = processes.filter(|path| is_process(path)).find(|path| holds(path))?;
    named(&process)
}

/// The inode of a line of `/proc/net/unix`, if it is of the abstract socket `name`.
fn inode_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut words = line.split_ascii_whitespace().skip(6);
    let inode = words.next()?;
    (words.next()?.strip_prefix('@')? == name).then_some(inode)
}

fn is_process(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
}

fn named(process: &Path) -> Option<String> {
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (process {})", name.trim(), process.file_name()?.to_str()?))
}

fn holder(process: &Path) -> Option<String> {
    let maps = std::fs::read_to_string(process.join("maps")).ok()?;
    maps.lines().find(|line| is_fill_ring(line))?;
    named(process)
}

/// A line of `maps`: range, rights, offset, device, inode, and `socket:[inode]`.
fn is_fill_ring(line: &str) -> bool {
    line.split_ascii_whitespace().nth(2) == Some(FILL_RING) && line.contains("socket:[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_an_abstract_socket_is_named() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let name = format!("shrike/test of holders/{}", std::process::id()).replace(' ', "-");
        assert_eq!(socket_owner(&name), None);
        let held = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        let owner = socket_owner(&name).expect("our own sockets are seen");
        assert!(owner.ends_with(&format!("(process {})", std::process::id())), "{owner}");
        drop(held);
        assert_eq!(socket_owner(&name), None);
    }

    #[test]
    fn a_fill_ring_is_known_by_its_offset_and_its_socket() {
        assert!(is_fill_ring("7f00-7f01 rw-s 100000000 00:08 51   socket:[51]"));
        for other in [
            "7f00-7f01 rw-s 00000000 00:08 51   socket:[51]",
            "7f00-7f01 rw-s 180000000 00:08 51   socket:[51]",
            "7f00-7f01 r--p 100000000 08:01 51   /var/lib/big",
            "",
        ] {
            assert!(!is_fill_ring(other), "{other}");
        }
    }
}
