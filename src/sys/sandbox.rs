//! What a program that we start may do: nothing that changes files but where it is told (Landlock), no new rights
//! (`no_new_privs`), no descriptors of ours, bounded CPU time, memory and files (`setrlimit`), and it dies with us.
//!
//! Numbers and layouts: include/uapi/linux/landlock.h, prctl(2), setrlimit(2). Needs no capability. Calls that change the machine are
//! refused ([`super::seccomp`]). Deliberately does not: keep it off the network.

use super::seccomp::Filter;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;
/// `LANDLOCK_ACCESS_FS_WRITE_FILE`, and those that make or remove something, of the first version.
const CHANGES: u64 = 1 << 1 | 0b1_1111_1111 << 4;
/// `LANDLOCK_ACCESS_FS_REFER`, of the second version.
const REFER: u64 = 1 << 13;
/// `LANDLOCK_ACCESS_FS_TRUNCATE`, of the third.
const TRUNCATE: u64 = 1 << 14;
/// Those of them that are about a file and not a folder.
const OF_FILES: u64 = 1 << 1 | TRUNCATE;

/// `CLOSE_RANGE_CLOEXEC` (include/uapi/linux/close_range.h).
const CLOSE_ON_EXEC: u32 = 4;

/// `struct landlock_path_beneath_attr`, packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Bounds of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// CPU time, seconds.
    pub cpu_seconds: u64,
    /// Address space, bytes.
    pub memory: u64,
    /// Size of a file that it writes, bytes.
    pub file: u64,
    /// Open files.
    pub files: u64,
}

/// Which changes of files the kernel is asked to keep a program from; `None` where it knows no Landlock.
pub struct Sandbox {
    ruleset: Option<OwnedFd>,
    filter: Filter,
}

impl Sandbox {
    /// One in which files change only below these folders (or are these files).
    ///
    /// # Errors
    /// One of them is not there, or there is no filter of calls for this kind of machine. That the kernel knows no Landlock is none: see [`Sandbox::guards_files`].
    pub fn new(writable: &[&Path]) -> io::Result<Sandbox> {
        let filter = Filter::of_a_program()?;
        // SAFETY: with this flag the kernel reads neither pointer nor size, and answers with a number.
        let version =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u64>(), 0_usize, VERSION) };
        if version < 1 {
            return Ok(Sandbox { ruleset: None, filter });
        }
        let handled = CHANGES | if version >= 2 { REFER } else { 0 } | if version >= 3 { TRUNCATE } else { 0 };
        // SAFETY: the kernel reads eight bytes of a live local: the first member of `struct landlock_ruleset_attr`.
        let made =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<u64>(), 0_u32) };
        let descriptor = i32::try_from(made).ok().filter(|made| *made >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let ruleset = unsafe { OwnedFd::from_raw_fd(descriptor) };
        for path in writable {
            allow(&ruleset, path, handled)?;
        }
        Ok(Sandbox { ruleset: Some(ruleset), filter })
    }

    /// Does the kernel keep it from changing files?
    pub fn guards_files(&self) -> bool {
        self.ruleset.is_some()
    }

    /// Has the program be started within it.
    pub fn hold(self, command: &mut Command, limits: Limits) {
        let enter = move || {
            let rules = [
                (libc::RLIMIT_CPU, limits.cpu_seconds),
                (libc::RLIMIT_AS, limits.memory),
                (libc::RLIMIT_FSIZE, limits.file),
                (libc::RLIMIT_NOFILE, limits.files),
                (libc::RLIMIT_CORE, 0),
            ];
            for (what, most) in rules {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                // SAFETY: the kernel reads a live local.
                check(unsafe { libc::setrlimit(what, &raw const limit) }.into())?;
            }
            // Whatever is open here and not meant for it. Before Linux 5.11 it has what nobody marked, which is a flaw elsewhere.
            // SAFETY: takes integers alone; the descriptors stay open until the program begins.
            let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, CLOSE_ON_EXEC) };
            // SAFETY: these take integers alone and change this process, the child.
            check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into())?;
            // SAFETY: as above.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
            if let Some(ruleset) = &self.ruleset {
                // SAFETY: takes a descriptor, which `self` keeps open, and no flags.
                check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
            }
            // Last, for what is refused from here on is refused to us too.
            self.filter.enter()
        };
        // SAFETY: between fork and exec only calls that are safe in a handler of signals may be made: `enter` makes system calls
        // alone, takes no lock, and allocates nothing (the errors are numbers).
        unsafe { command.pre_exec(enter) };
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn allow(ruleset: &OwnedFd, path: &Path, handled: u64) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string with its NUL that outlives the call.
    let found = unsafe { libc::open(text.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if found < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    let found = unsafe { OwnedFd::from_raw_fd(found) };
    let allowed = if path.is_dir() { handled } else { handled & OF_FILES };
    let rule = PathBeneath { allowed, parent: found.as_raw_fd() };
    // SAFETY: the kernel reads a live local of the layout that this kind of rule has; both descriptors are open.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0_u32)
    })
}

/// Ends a program and all that it started, by its process group. One that has ended is no error.
pub fn end_group(leader: u32) {
    if let Ok(group) = libc::pid_t::try_from(leader)
        && group > 1
    {
        // SAFETY: takes two integers; a group above 1 is never ours or everybody's.
        let _ = unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// Is the process root?
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Lets a program that is started have a descriptor, as a careless library would.
#[cfg(test)]
pub fn inherit_for_tests(file: &impl AsRawFd) {
    // SAFETY: takes integers alone; the descriptor is open.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }, 0);
}
