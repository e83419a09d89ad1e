//! Calls of libbpf that libbpf-rs has no safe word for: links with flags, pins of links, kernel facts about both.

use libbpf_rs::libbpf_sys;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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

/// Opens what is pinned there.
pub(super) fn object_get(path: &Path) -> io::Result<OwnedFd> {
    let path = path_text(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    own(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })
}

/// Pins an object; it then outlives us.
pub(super) fn object_pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_text(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call; the descriptor is borrowed, hence open.
    let result = unsafe { libbpf_sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Attaches a program at one of an interface's hooks (`BPF_XDP`, `BPF_TCX_INGRESS`); the index is one of the calling
/// thread's namespace.
pub(super) fn link_create(program: BorrowedFd<'_>, index: u32, hook: u32, flags: u32) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags,
        ..Default::default()
    };
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: the descriptor is borrowed, hence open; the options are a live structure of the size it states.
    own(unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), index, hook, &options) })
}

/// Swaps the program under a link.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are borrowed, hence open; null options are allowed.
    let result = unsafe { libbpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Ends an attachment.
pub(super) fn link_detach(link: BorrowedFd<'_>) {
    // SAFETY: the descriptor is borrowed, hence open. A link whose interface is gone refuses, which is as good.
    let _ = unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) };
}

/// Interface index of an XDP or tcx link, 0 once the interface is gone.
pub(super) fn link_index(link: BorrowedFd<'_>) -> Option<u32> {
    let info = link_info(link)?;
    match info.type_ {
        // SAFETY: the union's `xdp` part is the one the kernel filled, as `type_` says; it is plain data in any case.
        libbpf_sys::BPF_LINK_TYPE_XDP => Some(unsafe { info.__bindgen_anon_1.xdp.ifindex }),
        // SAFETY: as above, for `tcx`.
        libbpf_sys::BPF_LINK_TYPE_TCX => Some(unsafe { info.__bindgen_anon_1.tcx.ifindex }),
        _ => None,
    }
}

fn link_info(link: BorrowedFd<'_>) -> Option<libbpf_sys::bpf_link_info> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut length = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: `info` is a live structure of `length` bytes and the descriptor is borrowed, hence open.
    let result = unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut length) };
    (result == 0).then_some(info)
}

/// Kernel id of the program under a link.
pub(super) fn link_program(link: BorrowedFd<'_>) -> Option<u32> {
    link_info(link).map(|info| info.prog_id)
}

/// The tag of the program under a link.
pub(super) fn program_tag_of_link(link: BorrowedFd<'_>) -> Option<[u8; 8]> {
    let id = link_program(link)?;
    program_tag(libbpf_rs::Program::fd_from_id(id).ok()?.as_fd())
}

/// The kernel's hash over a program's instructions.
pub(super) fn program_tag(program: BorrowedFd<'_>) -> Option<[u8; 8]> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: `info` is a live structure of `length` bytes, all its pointers are null, the descriptor is open.
    let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut length) };
    (result == 0).then_some(info.tag)
}
