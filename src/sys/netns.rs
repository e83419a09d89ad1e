//! Network namespaces by name: running a closure inside one, on a thread of its own.
//!
//! A socket stays in the namespace it was made in, so set-up happens inside and the sockets are used from anywhere.
//! The calling thread never changes its namespace: `setns` is per thread, and a worker that forgot to go back would
//! open its next file in the wrong place.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";

/// A network namespace: the process's own, or one under `/run/netns`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Namespace {
    name: Option<String>,
}

impl Namespace {
    /// The namespace the process was started in.
    pub fn own() -> Namespace {
        Namespace { name: None }
    }

    /// The one that `ip netns add NAME` made. `None` is the process's own.
    ///
    /// # Errors
    /// `InvalidInput` for a name with a slash, an empty one, `.` or `..`: it would name a file elsewhere.
    pub fn named(name: Option<&str>) -> io::Result<Namespace> {
        match name {
            Some(name) if name.is_empty() || name.contains('/') || name == "." || name == ".." => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name:?} is not the name of a network namespace"),
            )),
            name => Ok(Namespace { name: name.map(str::to_owned) }),
        }
    }

    /// Its name, `None` for the process's own.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What a command line needs in front to run in this namespace; empty for the process's own.
    pub fn command_prefix(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("ip netns exec {name} "))
    }

    /// Runs `work` on a new thread inside the namespace and gives its result. Needs CAP_SYS_ADMIN for a named one.
    ///
    /// # Errors
    /// The namespace does not exist or may not be entered, or no thread could be started.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.run_on_thread(work, enter)
    }

    /// As [`Namespace::run`], with `/sys` showing the namespace's own interfaces: the thread gets a private mount
    /// namespace with a fresh sysfs, gone with the thread. In the process's own namespace nothing is mounted.
    ///
    /// # Errors
    /// As for `run`, or the mount was refused.
    pub fn run_with_sysfs<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.run_on_thread(work, |file| {
            enter(file)?;
            mount_private_sysfs()
        })
    }

    fn run_on_thread<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
        prepare: impl FnOnce(&File) -> io::Result<()> + Send,
    ) -> io::Result<T> {
        let Some(name) = &self.name else { return Ok(work()) };
        let path = PathBuf::from(NAMED).join(name);
        let file = File::open(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("network namespace {name} ({}): {error}", path.display()))
        })?;
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name(format!("netns-{name}")).spawn_scoped(scope, move || {
                prepare(&file).map_err(|error| io::Error::new(error.kind(), format!("enter netns: {error}")))?;
                Ok(work())
            })?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name().unwrap_or("(own)"))
    }
}

fn enter(file: &File) -> io::Result<()> {
    // SAFETY: setns(2) takes a descriptor, which `file` keeps open over the call, and changes only the calling thread,
    // one that `run_on_thread` made for this purpose and that ends with its work.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) })
}

fn mount_private_sysfs() -> io::Result<()> {
    // SAFETY: unshare(2) takes flags only; the new mount namespace belongs to this short-lived thread alone.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let text = |text: &str| CString::new(text).map_err(io::Error::from);
    let (root, sys, sysfs, none) = (text("/")?, text("/sys")?, text("sysfs")?, text("none")?);
    // SAFETY: the four pointers are NUL-terminated strings that outlive the call; `data` may be null. Making the tree
    // private first keeps the mount below from reaching the host.
    check(unsafe {
        libc::mount(none.as_ptr(), root.as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())
    })?;
    // SAFETY: as above; a sysfs mounted by a thread shows the interfaces of that thread's network namespace.
    check(unsafe { libc::mount(none.as_ptr(), sys.as_ptr(), sysfs.as_ptr(), 0, std::ptr::null()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", "/etc/passwd"] {
            assert!(Namespace::named(Some(name)).is_err(), "{name}");
        }
        assert_eq!(Namespace::named(Some("tap")).unwrap().command_prefix(), "ip netns exec tap ");
        assert_eq!(Namespace::named(None).unwrap().run(|| 7).unwrap(), 7);
        let error = Namespace::named(Some("no-such-namespace-here")).unwrap().run(|| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
