//! A BPF file system of our own, where pinned maps and links outlive the process.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `f_type` of a BPF file system (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Whether `path` lies on a BPF file system.
pub fn is_bpffs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: `statfs` is plain data for which all zeroes are valid.
    let mut buffer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated and the buffer is a whole `statfs`; both live over the call.
    let result = unsafe { libc::statfs(path.as_ptr(), &mut buffer) };
    #[allow(clippy::unnecessary_cast)] // f_type differs between C libraries
    let kind = buffer.f_type as i64;
    result == 0 && kind == BPF_FS_MAGIC
}

/// Makes `directory` (with its parents) and mounts a BPF file system there unless it lies on one already. `true` if it
/// was mounted now. Only root may look inside. Needs CAP_SYS_ADMIN.
///
/// # Errors
/// The directory cannot be made or the mount was refused.
pub fn ensure(directory: &Path) -> io::Result<bool> {
    std::fs::create_dir_all(directory)?;
    if is_bpffs(directory) {
        return Ok(false);
    }
    let target = CString::new(directory.as_os_str().as_bytes()).map_err(io::Error::from)?;
    let (kind, options) = (CString::new("bpf")?, CString::new("mode=0700")?);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all pointers are NUL-terminated strings that outlive the call.
    let result = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    if result == 0 { Ok(true) } else { Err(io::Error::last_os_error()) }
}

/// As [`ensure`], and keeps the file system mounted for as long as the file given back is open: another process that
/// leaves at this moment may be about to unmount it.
///
/// # Errors
/// As for `ensure`, or it was unmounted again and again.
pub fn hold(directory: &Path) -> io::Result<std::fs::File> {
    for _ in 0..16 {
        ensure(directory)?;
        // An open file makes unmounting fail; what was unmounted before it was opened shows as another file system.
        match std::fs::File::open(directory) {
            Ok(file) if is_bpffs(directory) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Unmounts the BPF file system at `directory`, if one is mounted exactly there and nothing is left in it, and removes
/// the directory. `Ok(false)` if something is still pinned there.
///
/// # Errors
/// The kernel refused for another reason than the directory being in use.
pub fn remove(directory: &Path) -> io::Result<bool> {
    // A name with a dot is the kernel's own (`maps.debug`): nobody else may make one.
    let pinned =
        |entry: io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| !entry.file_name().as_bytes().contains(&b'.'));
    match std::fs::read_dir(directory).map(|mut entries| entries.any(pinned)) {
        Ok(true) => return Ok(false),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    let target = CString::new(directory.as_os_str().as_bytes()).map_err(io::Error::from)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    if unsafe { libc::umount2(target.as_ptr(), 0) } != 0 {
        let error = io::Error::last_os_error();
        // EINVAL: not a mount point, so the file system is another's; the directory in it was ours.
        if error.raw_os_error() == Some(libc::EBUSY) {
            return Ok(false);
        }
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    std::fs::remove_dir(directory)?;
    Ok(true)
}
