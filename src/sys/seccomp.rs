//! Which system calls a program that we start may not make: those that change the machine, look into other processes, leave its
//! group of processes (by which it is ended), or reach the parts of the kernel that no program of an operator's should need. They
//! fail with `EPERM`, and the program goes on.
//!
//! A list of what is refused and not of what is allowed: the program is the operator's, and may be written in anything. Numbers come
//! from the kernel's own table; the lists follow those that containers are run with.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// What is refused whatever its arguments.
const REFUSED: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Groups of its own: who leaves its group is not ended with it.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Name spaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_memfd_secret,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The clock and the machine's name.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Devices' ports, on the machines that have them; others have no such call, and these numbers again.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];

/// What may be done, but not with these flags (of the first argument): `clone` with new name spaces (include/uapi/linux/sched.h).
const NEW_SPACES: [u64; 7] = [
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
];
/// Families of sockets that reach past the kernel's stack, or into it.
const FAMILIES: [i32; 4] = [libc::AF_PACKET, libc::AF_XDP, libc::AF_ALG, libc::AF_VSOCK];

/// See the module.
pub struct Filter(Vec<BpfProgram>);

impl Filter {
    /// The filter of a program of the operator's.
    ///
    /// # Errors
    /// There is none for this kind of machine.
    pub fn of_a_program() -> io::Result<Filter> {
        let mut refused: BTreeMap<_, _> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
        let first = |operator, value| {
            let condition =
                SeccompCondition::new(0, SeccompCmpArgLen::Qword, operator, value).map_err(io::Error::other)?;
            SeccompRule::new(vec![condition]).map_err(io::Error::other)
        };
        let spaces = NEW_SPACES.iter().map(|flag| first(SeccompCmpOp::MaskedEq(*flag), *flag));
        refused.insert(libc::SYS_clone, spaces.collect::<Result<_, _>>()?);
        let families = FAMILIES.iter().map(|family| first(SeccompCmpOp::Eq, u64::from(family.unsigned_abs())));
        refused.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
        // Its flags lie in memory, where no filter sees them: as on a kernel that has no such call, libraries then take `clone`.
        let unseen = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        Ok(Filter(vec![program(unseen, libc::ENOSYS)?, program(refused, libc::EPERM)?]))
    }

    /// Holds for this thread, and all that it starts, from here on. Allocates nothing.
    ///
    /// # Errors
    /// The kernel knows no seccomp.
    pub fn enter(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|program| match seccompiler::apply_filter(program) {
            Err(seccompiler::Error::Prctl(cause) | seccompiler::Error::Seccomp(cause)) => Err(cause),
            Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            Ok(()) => Ok(()),
        })
    }
}

fn program(refused: BTreeMap<libc::c_long, Vec<SeccompRule>>, answer: i32) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(answer.unsigned_abs());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refuse, arch).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    Ok(X32.into_iter().flatten().chain(program).collect())
}

/// On x86-64 a bit in the number chooses another table of the same calls (`__X32_SYSCALL_BIT`), which no rule above would meet: load
/// the number (`BPF_LD | BPF_W | BPF_ABS`, offset of `nr` in `struct seccomp_data`), go on below it, else answer `ENOSYS`.
const X32: Option<[sock_filter; 3]> = if cfg!(target_arch = "x86_64") {
    Some([
        sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        sock_filter { code: 0x35, jt: 0, jf: 1, k: 0x4000_0000 },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x0005_0000 | libc::ENOSYS.unsigned_abs() },
    ])
} else {
    None
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    fn run(script: &str, filter: Option<Filter>) -> String {
        let mut command = Command::new("python3");
        command.args(["-c", script]);
        if let Some(filter) = filter {
            // SAFETY: between fork and exec only what is safe in a handler of signals may be done: `enter` makes system calls alone.
            unsafe { command.pre_exec(move || filter.enter()) };
        }
        let output = command.output().expect("python3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Each call is made for real, with arguments that do no harm: with the filter it says EPERM, and without something else.
    #[test]
    fn what_is_refused_is_refused_by_the_kernel_and_the_rest_goes_on() {
        let script = |calls: &str| {
            format!(
                "import ctypes, os, socket, threading\n\
                 libc = ctypes.CDLL(None, use_errno=True)\n\
                 def call(*arguments):\n\
                 \x20   libc.syscall(*[ctypes.c_long(value) for value in arguments])\n\
                 \x20   return ctypes.get_errno()\n\
                 said = []\n{calls}\n\
                 threading.Thread(target=lambda: said.append('thread')).start()\n\
                 said.append(os.popen('echo child').read().strip())\n\
                 socket.socket().close()\n\
                 print(*said)\n"
            )
        };
        let of = |call: libc::c_long, arguments: &str| format!("said.append(call({call}, {arguments}))\n");
        let calls = [
            of(libc::SYS_ptrace, "999, 0, 0, 0"),
            of(libc::SYS_bpf, "999, 0, 0"),
            of(libc::SYS_unshare, "0x1"),
            of(libc::SYS_io_uring_setup, "0, 0"),
            of(libc::SYS_socket, "17, 99, 0"),
            of(libc::SYS_clone, "0x10000000, 0, 0, 0, 0"),
            of(libc::SYS_clone3, "0, 0"),
            of(libc::SYS_getpid, "0"),
        ];
        let with = run(&script(&calls[..7].concat()), Some(Filter::of_a_program().expect("a filter")));
        let (refused, unknown) = (libc::EPERM, libc::ENOSYS);
        assert_eq!(with, format!("{} {unknown} thread child", vec![refused.to_string(); 6].join(" ")));
        // `clone` is left out: without the filter it would be done.
        let without = run(&script(&[&calls[..5], &calls[6..7]].concat().concat()), None);
        let said: Vec<&str> = without.split(' ').collect();
        let (errors, rest) = said.split_at(6);
        assert_eq!(rest, ["thread", "child"]);
        assert!(!errors.contains(&unknown.to_string().as_str()), "{without}");
        assert!(!errors.contains(&refused.to_string().as_str()), "{without}");
    }

    /// The same calls by the other table.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_other_table_is_no_way_around() {
        let script = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                      print(libc.syscall(ctypes.c_long(0x40000000 + 39)), ctypes.get_errno())";
        assert_eq!(run(script, Some(Filter::of_a_program().expect("a filter"))), format!("-1 {}", libc::ENOSYS));
    }
}
