//! Kills a child process at one exact system call: ptrace stops it before every one.
#![allow(unsafe_code)] // ptrace has no safe form

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// A system call that a traced process is about to make.
pub struct Call {
    thread: libc::pid_t,
    pub number: i64,
    arguments: [u64; 6],
}

impl Call {
    /// What the descriptor in the first argument stands for.
    pub fn file(&self) -> String {
        let link = format!("/proc/{}/fd/{}", self.thread, self.arguments[0]);
        std::fs::read_link(link).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// A child that stops for its parent's thread.
pub struct Traced {
    pub child: Child,
}

impl Traced {
    /// Starts `command`; the calling thread becomes its tracer, and `follow` must be called on it.
    pub fn spawn(command: &mut Command) -> io::Result<Traced> {
        let trace_me = || {
            // SAFETY: PTRACE_TRACEME takes no pointer; between fork and exec it touches nothing of this process.
            let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: the closure makes one system call and allocates nothing.
        let child = unsafe { command.pre_exec(trace_me) }.spawn()?;
        let traced = Traced { child };
        // The stop at exec.
        let _ = wait(traced.id())?;
        let options = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        request(libc::PTRACE_SETOPTIONS, traced.id(), options as usize)?;
        request(libc::PTRACE_SYSCALL, traced.id(), 0)?;
        Ok(traced)
    }

    fn id(&self) -> libc::pid_t {
        self.child.id() as libc::pid_t
    }

    /// Lets the child run until `fatal` says so of a call that is about to be made; the call is not made, the process is
    /// killed with SIGKILL. `false`: it ended by itself before.
    pub fn follow(&mut self, mut fatal: impl FnMut(&Call) -> bool) -> io::Result<bool> {
        loop {
            let (thread, status) = wait(-1)?;
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                if thread == self.id() {
                    return Ok(false);
                }
                continue;
            }
            let signal = libc::WSTOPSIG(status);
            if signal == libc::SIGTRAP | 0x80 {
                if entry(thread)?.is_some_and(|call| fatal(&call)) {
                    self.child.kill()?;
                    // Every thread's end is waited for, the leader's comes last.
                    while wait(-1).is_ok_and(|(ended, status)| ended != self.id() || libc::WIFSTOPPED(status)) {}
                    return Ok(true);
                }
                request(libc::PTRACE_SYSCALL, thread, 0)?;
            } else {
                // Stops of ptrace's own and the first stop of a thread are not signals of the child.
                let own = signal == libc::SIGTRAP || signal == libc::SIGSTOP;
                request(libc::PTRACE_SYSCALL, thread, if own { 0 } else { signal as usize })?;
            }
        }
    }
}

/// The next stop or end of a child that this thread traces.
fn wait(which: libc::pid_t) -> io::Result<(libc::pid_t, libc::c_int)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let thread = unsafe { libc::waitpid(which, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    if thread > 0 { Ok((thread, status)) } else { Err(io::Error::last_os_error()) }
}

fn request(request: libc::c_uint, thread: libc::pid_t, data: usize) -> io::Result<()> {
    // SAFETY: the requests made here take numbers, no pointers.
    let result = unsafe { libc::ptrace(request, thread, 0, data) };
    match result {
        0 => Ok(()),
        // A thread that has been killed meanwhile is no fault; its end is seen by `wait`.
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The call that a stopped thread is about to make; `None` at the end of one.
fn entry(thread: libc::pid_t) -> io::Result<Option<Call>> {
    // SAFETY: all bytes zero is a value of this plain structure of numbers.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    // SAFETY: the kernel writes at most `size` bytes to `info`, which is that large and outlives the call.
    let result = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size, &raw mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: `op` says that this is the member which the kernel has written.
    let call = unsafe { info.u.entry };
    Ok(Some(Call { thread, number: call.nr as i64, arguments: call.args }))
}
