//! Socket options and wakeups that xsk-rs does not wrap.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// `SOL_XDP` (include/linux/socket.h).
const SOL_XDP: libc::c_int = 283;
/// `XDP_OPTIONS` (include/uapi/linux/if_xdp.h).
const XDP_OPTIONS: libc::c_int = 8;
/// `XDP_OPTIONS_ZEROCOPY` (include/uapi/linux/if_xdp.h).
const XDP_OPTIONS_ZEROCOPY: u32 = 1;
/// `SO_BUSY_POLL` and its two companions (include/uapi/asm-generic/socket.h).
const SO_BUSY_POLL: libc::c_int = 46;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Whether a bound AF_XDP socket works without copying, as the kernel tells it.
///
/// # Errors
/// `fd` is not an AF_XDP socket.
pub fn xdp_is_zero_copy(fd: RawFd) -> io::Result<bool> {
    let mut value = 0u32;
    let mut length = libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(4);
    // SAFETY: `value` and `length` are live locals and `length` holds the size of `value`; the kernel writes no more.
    let result =
        unsafe { libc::getsockopt(fd, SOL_XDP, XDP_OPTIONS, std::ptr::from_mut(&mut value).cast(), &mut length) };
    if result == 0 { Ok(value & XDP_OPTIONS_ZEROCOPY != 0) } else { Err(io::Error::last_os_error()) }
}

/// The error pending on a socket, taken off it: `ENETDOWN` once the interface of an AF_XDP socket is gone.
pub fn pending_error(fd: RawFd) -> Option<i32> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: as in `xdp_is_zero_copy`.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, std::ptr::from_mut(&mut value).cast(), &mut length)
    };
    (result == 0 && value != 0).then_some(value)
}

/// Turns preferred busy polling on: spins up to `microseconds` per call and takes up to `budget` frames.
///
/// # Errors
/// The kernel knows no such option (before 5.11), or a budget beyond 64 without CAP_NET_ADMIN.
pub fn prefer_busy_poll(fd: RawFd, microseconds: u32, budget: u32) -> io::Result<()> {
    set(fd, SO_PREFER_BUSY_POLL, 1)?;
    set(fd, SO_BUSY_POLL, microseconds)?;
    set(fd, SO_BUSY_POLL_BUDGET, budget)
}

fn set(fd: RawFd, option: libc::c_int, value: u32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(4);
    // SAFETY: `value` is a live local of the size given; the kernel only reads it.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, std::ptr::from_ref(&value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Kicks the receive side of an AF_XDP socket: lets a sleeping driver see the fill ring, and polls once where busy
/// polling is on. Takes no data and never waits. Errors are of no use here: the socket's own state tells them.
#[inline]
pub fn wake_receive(fd: RawFd) {
    // SAFETY: a null buffer of length zero is what `recvfrom` on AF_XDP expects (net/xdp/xsk.c, xsk_recvmsg); the
    // address pointers may be null.
    let _ = unsafe {
        libc::recvfrom(fd, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT, std::ptr::null_mut(), std::ptr::null_mut())
    };
}

/// Runs the receive side's NAPI once from here, whatever the driver does with a kick: turns preferred busy polling on for
/// one call, and off again unless `keep` says that it is on for good. No effect on kernels before 6.14, which learn a
/// zero-copy socket's NAPI with its first frame.
pub fn poll_receive_once(fd: RawFd, keep: bool) {
    if keep || prefer_busy_poll(fd, 1, 64).is_ok() {
        wake_receive(fd);
    }
    if !keep {
        let _ = set(fd, SO_BUSY_POLL, 0).and_then(|()| set(fd, SO_PREFER_BUSY_POLL, 0));
    }
}

/// Waits until one of at most two descriptors is readable (a negative one is ignored) or `limit` is over.
pub fn wait_readable(first: RawFd, second: RawFd, limit: Duration) {
    let mut polled = [
        libc::pollfd { fd: first, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: second, events: libc::POLLIN, revents: 0 },
    ];
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: the array has the two entries announced, `limit` is a live local, a null signal mask means "unchanged".
    let _ = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &limit, std::ptr::null()) };
}

/// Waits until every CPU has passed a quiescent state, so that no softirq that began before is still under way
/// (`MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu`). Some milliseconds. `false` where the kernel refuses (`nohz_full`).
pub fn wait_for_softirqs() -> bool {
    // SAFETY: membarrier(2) takes three integers and touches no memory of ours.
    (unsafe { libc::syscall(libc::SYS_membarrier, 1, 0, 0) }) == 0
}

/// `XDP_MAX_TX_SKB_BUDGET` (include/uapi/linux/if_xdp.h, from Linux 6.17): frames one `sendto` sends in copy mode; 32 before.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Lets one kick of the send side send up to `frames` frames in copy mode, and lets that many be on their way at once: without
/// it the socket's send buffer (208 KiB) ends a burst after some ninety frames. Gives how many a kick sends: older kernels 32.
pub fn send_bursts(fd: RawFd, frames: u32, frame_bytes: u32) -> u32 {
    let length = libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(4);
    // SAFETY: `frames` is a live local of the size given; the kernel only reads it.
    let took =
        unsafe { libc::setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, std::ptr::from_ref(&frames).cast(), length) };
    // The kernel doubles it, and what it counts is a frame with its bookkeeping: twice the frame is ample.
    let _ = set(fd, libc::SO_SNDBUFFORCE, frames.saturating_mul(frame_bytes));
    if took == 0 { frames } else { 32 }
}

/// What a kick of the send side came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kicked {
    /// All that the kernel wanted to send now.
    Done,
    /// There is more: kick again.
    More,
    /// The driver dropped a frame (`EBUSY`): its queue was stopped, or it has no carrier.
    Refused,
    /// The interface is down or gone.
    Away,
}

/// Kicks the send side of an AF_XDP socket; never waits.
#[inline]
pub fn wake_transmit(fd: RawFd) -> Kicked {
    // SAFETY: a null buffer of length zero is what `sendto` on AF_XDP expects (net/xdp/xsk.c, xsk_sendmsg).
    let result = unsafe { libc::sendto(fd, std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    if result >= 0 {
        return Kicked::Done;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS) => Kicked::More,
        Some(libc::EBUSY) => Kicked::Refused,
        _ => Kicked::Away,
    }
}
