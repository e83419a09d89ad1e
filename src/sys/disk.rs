//! Room on a file system.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that this process may still write at `path`.
///
/// # Errors
/// The kernel's.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero `statvfs` is a valid value of a plain C struct; the kernel overwrites it.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a NUL-terminated string and `room` a writable struct, both alive through the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut room) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}
