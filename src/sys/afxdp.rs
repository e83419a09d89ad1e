//! Does this kernel know AF_XDP?

use std::os::fd::{FromRawFd, OwnedFd};

/// Opens an AF_XDP socket and closes it again.
///
/// # Errors
/// The kernel's: EAFNOSUPPORT without CONFIG_XDP_SOCKETS, EPERM without CAP_NET_RAW.
pub fn supported() -> std::io::Result<()> {
    // SAFETY: `socket` takes three integers and touches no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `fd` was just given to us by the kernel and nobody else owns it; the value closes it when dropped.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}
