//! What can go wrong with an interface, and what the operator does about it.

use super::program::KERNEL_NEEDED;
use super::settings::{MANAGEMENT_MAX, Mode};
use std::io;

/// Failure to attach an interface or to open a queue of it. Each message: operation, object, cause, remedy.
#[derive(thiserror::Error, Debug)]
pub enum XdpError {
    /// A setting outside its range.
    #[error("{interface}: {setting} = {value}: {reason}")]
    Setting {
        /// Interface.
        interface: String,
        /// Setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// The namespace does not exist or may not be entered.
    #[error("enter the network namespace of {interface}: {cause}; `ip netns list` shows those there are")]
    Namespace {
        /// Interface.
        interface: String,
        /// Cause.
        cause: io::Error,
    },
    /// There is no such interface now.
    #[error("find interface {interface}: {cause}; `{prefix}ip link` shows those there are")]
    NoInterface {
        /// Interface.
        interface: String,
        /// Cause.
        cause: io::Error,
        /// What runs a command in its namespace.
        prefix: String,
    },
    /// The queue does not exist.
    #[error(
        "open queue {queue} of {interface}: it has {queues} receive queues; `{prefix}ethtool -l {name}` shows them"
    )]
    NoQueue {
        /// Interface.
        interface: String,
        /// Its bare name.
        name: String,
        /// Queue asked for.
        queue: u32,
        /// Queues there are.
        queues: u32,
        /// What runs a command in its namespace.
        prefix: String,
    },
    /// A right is missing.
    #[error(
        "{operation} {interface}: not permitted ({cause}); run as root or grant CAP_NET_ADMIN, CAP_BPF, CAP_SYS_ADMIN \
             and CAP_IPC_LOCK (see `shrike doctor`)"
    )]
    NotPermitted {
        /// What was tried.
        operation: &'static str,
        /// Interface.
        interface: String,
        /// Cause.
        cause: io::Error,
    },
    /// The pins cannot be made.
    #[error(
        "pin maps under {path}: {cause}; the directory must be on, or allow mounting of, a BPF file system \
             (`mount -t bpf bpf {path}`)"
    )]
    Pin {
        /// Directory.
        path: String,
        /// Cause.
        cause: io::Error,
    },
    /// Another `shrike` holds the interface's pins.
    #[error(
        "attach to {interface}: another running shrike has it under instance {instance:?}: {holders}; stop that process, \
             or watch another interface"
    )]
    Taken {
        /// Interface.
        interface: String,
        /// Instance.
        instance: String,
        /// Who it may be.
        holders: String,
    },
    /// The kernel would not take the program or its maps.
    #[error(
        "load the XDP program for {interface}: {cause}; needs Linux {}.{} or newer with CONFIG_BPF_SYSCALL and \
             CONFIG_XDP_SOCKETS", KERNEL_NEEDED.0, KERNEL_NEEDED.1
    )]
    Load {
        /// Interface.
        interface: String,
        /// Cause.
        cause: String,
    },
    /// Somebody else's XDP program sits there.
    #[error(
        "attach to {interface}: XDP program {program}{} is there already ({cause}); {}remove it with `{prefix}ip link set \
             dev {name} xdp off`, or `bpftool link detach` if a link holds it",
        owner.as_ref().map(|instance| format!(" of shrike's instance {instance:?}, which has died,")).unwrap_or_default(),
        owner.as_ref().map(|instance| format!("start that instance (instance = {instance:?} in [capture]), which takes \
             it over with its counts, or ")).unwrap_or_default()
    )]
    Foreign {
        /// Interface.
        interface: String,
        /// Its bare name.
        name: String,
        /// Id of the program there.
        program: u32,
        /// The instance of shrike that pinned it and does not run any more, if it is one.
        owner: Option<String>,
        /// Cause.
        cause: io::Error,
        /// What runs a command in its namespace.
        prefix: String,
    },
    /// The interface does not take the program in that mode.
    #[error("attach to {interface} in {mode} mode: {cause}; {remedy}")]
    Attach {
        /// Interface.
        interface: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// Cause.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Zero-copy was required and the kernel said no.
    #[error("bind queue {queue} of {interface}: zero-copy not available ({}); {}", errno_name(.cause), zero_copy_remedy(.cause))]
    NoZeroCopy {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// Cause.
        cause: io::Error,
    },
    /// Another AF_XDP socket is bound to the queue.
    #[error(
        "bind queue {queue} of {interface}: device busy (EBUSY): another AF_XDP socket holds the queue, of {holders}; stop \
             that process (`ss --xdp -p` shows the queue of each), or name other queues with queues = [...]; the queue is \
             taken up by itself once it is free"
    )]
    Busy {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// Who may hold it.
        holders: String,
    },
    /// The socket could not be bound.
    #[error("bind queue {queue} of {interface} in {mode:?} mode: {cause} ({}); {remedy}", errno_name(.cause))]
    Bind {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// Mode tried.
        mode: Mode,
        /// Cause.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Memory for the frames is not to be had.
    #[error(
        "allocate {bytes} bytes of frames for queue {queue} of {interface}: {cause}; lower ring_entries, or raise the \
             memory limit"
    )]
    Memory {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// Bytes wanted.
        bytes: u64,
        /// Cause.
        cause: io::Error,
    },
    /// The queue was opened before.
    #[error("open queue {queue} of {interface}: it is open already")]
    AlreadyOpen {
        /// Interface.
        interface: String,
        /// Queue.
        queue: u32,
    },
    /// A map operation failed.
    #[error("{operation} of {interface}: {cause}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// Interface.
        interface: String,
        /// Cause.
        cause: String,
    },
    /// Too many management entries.
    #[error(
        "{interface}: {count} management {kind}, at most {MANAGEMENT_MAX} are possible; join prefixes or drop some"
    )]
    Management {
        /// Interface.
        interface: String,
        /// `ports` or `addresses`.
        kind: &'static str,
        /// How many there are.
        count: usize,
    },
}

impl XdpError {
    /// Is it for want of a right?
    pub fn is_denied(&self) -> bool {
        match self {
            XdpError::NotPermitted { .. } => true,
            XdpError::Namespace { cause, .. }
            | XdpError::NoInterface { cause, .. }
            | XdpError::Pin { cause, .. }
            | XdpError::Attach { cause, .. }
            | XdpError::NoZeroCopy { cause, .. }
            | XdpError::Bind { cause, .. }
            | XdpError::Memory { cause, .. } => cause.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// Pins under `path` cannot be made.
    pub(super) fn pins(interface: String, path: &std::path::Path, cause: io::Error) -> XdpError {
        let path = path.display();
        match cause.kind() {
            io::ErrorKind::PermissionDenied => {
                let cause = io::Error::new(cause.kind(), format!("under {path}: {cause}"));
                XdpError::NotPermitted { operation: "pin maps for", interface, cause }
            }
            _ => XdpError::Pin { path: path.to_string(), cause },
        }
    }
}

/// The errno's symbol where it is one the binds give, else its number: message texts differ between C libraries.
pub fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "EOPNOTSUPP".to_owned(),
        Some(libc::EINVAL) => "EINVAL".to_owned(),
        Some(libc::EBUSY) => "EBUSY".to_owned(),
        Some(libc::ENOMEM) => "ENOMEM".to_owned(),
        Some(libc::ENOBUFS) => "ENOBUFS".to_owned(),
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::ENODEV) => "ENODEV".to_owned(),
        Some(libc::ENETDOWN) => "ENETDOWN".to_owned(),
        Some(libc::EEXIST) => "EEXIST".to_owned(),
        Some(number) => format!("errno {number}"),
        None => error.to_string(),
    }
}

fn zero_copy_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            "the driver has none on this kernel: use mode = \"auto\" or \"copy\", or a newer kernel or driver"
        }
        Some(libc::EINVAL) => {
            "the driver refused the queue or the frame size: set frame_bytes = 4096 and ring_entries above the NIC's ring \
             (`ethtool -g`); virtio-net needs iommu_platform=on; else use mode = \"auto\""
        }
        _ => "use mode = \"auto\" or \"copy\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_zero_copy_names_errno_and_remedy() {
        for (errno, name, remedy) in
            [(libc::EOPNOTSUPP, "EOPNOTSUPP", "mode = \"auto\""), (libc::EINVAL, "EINVAL", "iommu_platform")]
        {
            let cause = io::Error::from_raw_os_error(errno);
            let text = XdpError::NoZeroCopy { interface: "eth1".to_owned(), queue: 3, cause }.to_string();
            assert!(text.starts_with("bind queue 3 of eth1: zero-copy not available"), "{text}");
            assert!(text.contains(name) && text.contains(remedy), "{text}");
        }
    }
}
