//! Frames that lay in veth's own ring when its link was set down: the kernel frees them and counts them nowhere, neither
//! as sent nor as dropped. Its tracepoint `skb:kfree_skb` names the place, so a performance counter on it counts them.

use shrike::sys::netlink::LinkCounters;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

/// The function that empties the ring (drivers/net/veth.c).
const PLACE: &str = "veth_napi_del_range";
/// `PERF_EVENT_IOC_SET_FILTER`, `_IOW('$', 6, char *)` of include/uapi/linux/perf_event.h.
const SET_FILTER: libc::c_ulong = 0x4008_2406;

/// `PERF_EVENT_IOC_ENABLE` of the same.
const ENABLE: libc::c_ulong = 0x2400;

/// Counts them, for the calling thread and the processes that it starts from now on.
pub struct RingFrees(OwnedFd);

impl RingFrees {
    /// Begins to count.
    ///
    /// # Errors
    /// No tracepoints, no symbols or no performance counters here.
    pub fn count() -> io::Result<RingFrees> {
        // Type, size of the first version, and then, as 64-bit words: config, period, sample type, read format, flags.
        const TRACEPOINT: u32 = 2;
        const DISABLED: u64 = 1;
        const INHERIT: u64 = 1 << 1;
        let mut attributes = [0_u64; 8];
        attributes[0] = u64::from(TRACEPOINT) | 64 << 32;
        attributes[1] = tracepoint()?;
        attributes[5] = DISABLED | INHERIT;
        let (begin, end) = place()?;
        // SAFETY: the attributes are a live structure of the 64 bytes they state; this thread, any core, no group.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 8) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, owned by nobody else.
        let counter = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let filter = std::ffi::CString::new(format!("location >= {begin:#x} && location < {end:#x}"))?;
        // SAFETY: the filter is NUL-terminated and lives over the call.
        let filtered = unsafe { libc::ioctl(counter.as_raw_fd(), SET_FILTER, filter.as_ptr()) };
        // SAFETY: an integer and no pointer; without its filter it would count every frame freed anywhere.
        if filtered != 0 || unsafe { libc::ioctl(counter.as_raw_fd(), ENABLE, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(RingFrees(counter))
    }

    /// How many there were; of processes that have ended all, of the others what is known so far.
    pub fn so_far(&self) -> u64 {
        let mut value = 0_u64;
        // SAFETY: the kernel writes at most the eight bytes of a live integer.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut value).cast(), 8) };
        assert_eq!(read, 8, "{}", io::Error::last_os_error());
        value
    }
}

/// Whether all that a sender tried was let out, dropped and counted by its interface, or freed in the ring behind it.
pub fn assert_sender_closes(test: &str, tried: u64, wire: &LinkCounters, frees: &io::Result<RingFrees>) {
    let counted = wire.tx_packets + wire.tx_dropped;
    match frees {
        Ok(frees) => assert_eq!(tried, counted + frees.so_far(), "{wire:?}"),
        Err(cause) => {
            crate::support::skip(test, "perf", &format!("frames freed in veth's ring cannot be counted: {cause}"));
            assert!(tried >= counted, "tried {tried}, {wire:?}");
        }
    }
}

/// The tracepoint's number. Where tracefs is not mounted it is, in a mount namespace of the reader's own.
fn tracepoint() -> io::Result<u64> {
    const READ: &str = "cd /sys/kernel/tracing && { [ -e events ] || mount -t tracefs none .; } && \
                        cat /sys/kernel/tracing/events/skb/kfree_skb/id";
    let output = Command::new("unshare").args(["-m", "sh", "-c", READ]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Where the function's code begins and ends.
fn place() -> io::Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/kallsyms")?;
    let mut code: Vec<(u64, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            words.next().filter(|kind| kind.eq_ignore_ascii_case("t"))?;
            Some((address, words.next()?))
        })
        .collect();
    code.sort_unstable();
    let missing = || io::Error::other(format!("no {PLACE} in /proc/kallsyms"));
    let at = code.iter().position(|(address, name)| *name == PLACE && *address != 0).ok_or_else(missing)?;
    let (begin, _) = code[at];
    let end = code[at..].iter().find(|(address, _)| *address > begin).ok_or_else(missing)?.0;
    Ok((begin, end))
}
