//! Which processes have AF_XDP sockets, for the operator who has to stop one of them.
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

fn holder(process: &Path) -> Option<String> {
    let maps = std::fs::read_to_string(process.join("maps")).ok()?;
    maps.lines().find(|line| is_fill_ring(line))?;
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (process {})", name.trim(), process.file_name()?.to_str()?))
}

/// A line of `maps`: range, rights, offset, device, inode, and `socket:[inode]`.
fn is_fill_ring(line: &str) -> bool {
    line.split_ascii_whitespace().nth(2) == Some(FILL_RING) && line.contains("socket:[")
}

#[cfg(test)]
mod tests {
    use super::*;

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
