//! What is attached to at present: the program on an interface, sockets inside its namespace, and what was changed there.

use super::error::XdpError;
use super::leftovers::{self, Owner};
use super::napi;
use super::program::{AttachMode, Program};
use super::rss::{self, SymmetricRss};
use super::settings::{InterfaceSettings, Mode, Shared};
use crate::sys::ethtool::{self, Ethtool};
use crate::sys::netlink::{Link, Netlink, XdpAttachment};
use crate::sys::netns::Namespace;
use std::io;
use std::path::Path;

/// What only the watcher and set-up touch.
pub(super) struct Active {
    pub(super) program: Program,
    pub(super) inside: Option<Inside>,
    /// Index of the interface the program is attached to.
    pub(super) index: Option<u32>,
    pub(super) mode: AttachMode,
}

/// Sockets opened inside the interface's namespace.
pub(super) struct Inside {
    pub(super) netlink: Netlink,
    pub(super) ethtool: Ethtool,
    pub(super) identity: Option<(u64, u64)>,
}

impl Inside {
    pub(super) fn open(settings: &InterfaceSettings, namespace: &Namespace) -> io::Result<Inside> {
        let identity = namespace_identity(namespace);
        let (netlink, ethtool) = namespace.run(|| (Netlink::open(), Ethtool::open(&settings.name)))?;
        Ok(Inside { netlink: netlink?, ethtool: ethtool?, identity })
    }
}

/// Does the interface carry addresses of the machine itself, or is it said to? Then the machine gets through it only what
/// [`InterfaceSettings::left_to_the_machine`] names while we capture.
///
/// # Errors
/// The namespace or the interface does not exist, or the kernel refused to tell.
pub fn is_shared(settings: &InterfaceSettings) -> io::Result<bool> {
    match settings.shared {
        Shared::Yes => Ok(true),
        Shared::No => Ok(false),
        Shared::Auto => {
            let mut netlink = Namespace::named(settings.namespace.as_deref())?.run(Netlink::open)??;
            let link = netlink.link(&settings.name)?;
            netlink.has_global_address(link.index)
        }
    }
}

impl Active {
    /// Attaches to the interface in the best mode allowed; gives what was refused before that worked.
    pub(super) fn attach(
        &mut self,
        settings: &InterfaceSettings,
        namespace: &Namespace,
        link: &Link,
    ) -> Result<Vec<String>, XdpError> {
        let current = match link.xdp {
            XdpAttachment::Native => Some(AttachMode::Native),
            XdpAttachment::Generic => Some(AttachMode::Generic),
            _ => None,
        };
        let ours = self.program.is_pinned_on(link.index);
        if !ours && self.index != Some(link.index) {
            // What a former process kept, if anything, is of another interface of this name.
            self.program.forget();
        }
        let kept = current.filter(|_| ours);
        let modes: &[AttachMode] = match (settings.mode, kept) {
            (Mode::Generic, _) | (Mode::Auto, Some(AttachMode::Generic)) => &[AttachMode::Generic],
            (Mode::ZeroCopy | Mode::Copy, _) | (Mode::Auto, Some(AttachMode::Native)) => &[AttachMode::Native],
            (Mode::Auto, None) => &[AttachMode::Native, AttachMode::Generic],
        };
        let mut refused = Vec::new();
        for (number, mode) in modes.iter().enumerate() {
            let program = &mut self.program;
            let result = namespace
                .run(|| program.attach(link.index, *mode, kept))
                .map_err(|cause| XdpError::Namespace { interface: settings.label(), cause })?;
            match result {
                Ok(()) => {
                    self.index = Some(link.index);
                    self.mode = self.read_back(settings).unwrap_or(*mode);
                    return Ok(refused);
                }
                Err(cause) => {
                    let error = attach_error(settings, namespace, link, *mode, cause);
                    if number + 1 == modes.len()
                        || matches!(error, XdpError::Foreign { .. } | XdpError::NotPermitted { .. })
                    {
                        return Err(error);
                    }
                    refused.push(error.to_string());
                }
            }
        }
        Ok(refused)
    }

    fn read_back(&mut self, settings: &InterfaceSettings) -> Option<AttachMode> {
        match self.inside.as_mut()?.netlink.link(&settings.name).ok()?.xdp {
            XdpAttachment::Generic => Some(AttachMode::Generic),
            XdpAttachment::Native | XdpAttachment::Offloaded => Some(AttachMode::Native),
            XdpAttachment::None | XdpAttachment::Several => None,
        }
    }

    /// Symmetric RSS and NAPI's patience; what was there before is kept in pinned maps for `restore_nic`.
    pub(super) fn prepare_nic(
        &mut self,
        settings: &InterfaceSettings,
        namespace: &Namespace,
        queues: &[u32],
    ) -> SymmetricRss {
        if let Some(busy_poll) = &settings.busy_poll
            && let Err(error) = napi::apply(&self.program, namespace, &settings.name, busy_poll)
        {
            tracing::warn!(interface = %settings.label(), %error, "napi_defer_hard_irqs stays as it is");
        }
        let Some(inside) = &self.inside else {
            return SymmetricRss::Unsupported { reason: "interface away".to_owned() };
        };
        if !settings.symmetric_rss {
            return SymmetricRss::Unsupported { reason: "switched off in the configuration".to_owned() };
        }
        let program = &self.program;
        let (outcome, saved) =
            rss::apply(&inside.ethtool, queues, program.kept_rss(), |saved| program.keep_rss(Some(saved)));
        if saved.is_none() {
            program.keep_rss(None);
        }
        outcome
    }

    /// Sets what was there before us, or before a former process that was killed.
    pub(super) fn restore_nic(&mut self, settings: &InterfaceSettings, namespace: &Namespace) {
        if let Err(error) = napi::restore(&self.program, namespace, &settings.name) {
            tracing::warn!(interface = %settings.label(), %error, "NAPI settings could not be restored");
        }
        if let (Some(saved), Some(inside)) = (self.program.kept_rss(), &self.inside) {
            match rss::restore(&inside.ethtool, &saved) {
                Ok(()) => self.program.keep_rss(None),
                Err(error) => {
                    tracing::warn!(interface = %settings.label(), %error, "RSS settings could not be restored")
                }
            }
        }
    }
}

/// Receive queues in use and receive queues there may be.
pub(super) fn queue_counts(ethtool: &Ethtool, link: &Link) -> (u32, u32) {
    match ethtool.channels() {
        Ok(ethtool::Channels { rx, rx_max }) if rx > 0 => (rx, rx_max.max(rx)),
        _ => (link.rx_queues.max(1), link.rx_queues.max(1)),
    }
}

/// Device and inode of a named namespace: another namespace of the same name has another.
pub(super) fn namespace_identity(namespace: &Namespace) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(Path::new("/run/netns").join(namespace.name()?)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn attach_error(
    settings: &InterfaceSettings,
    namespace: &Namespace,
    link: &Link,
    mode: AttachMode,
    cause: io::Error,
) -> XdpError {
    let interface = settings.label();
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => XdpError::NotPermitted { operation: "attach to", interface, cause },
        Some(libc::EBUSY | libc::EEXIST) if link.xdp_program != 0 => {
            match leftovers::owner_of(&settings.pin_directory, link.xdp_program) {
                // Its program must stay: taken off, a running sensor would be blind.
                Some(Owner { instance, process: Some(process) }) => {
                    XdpError::Taken { interface, instance, holders: process }
                }
                owner => XdpError::Foreign {
                    interface,
                    name: settings.name.clone(),
                    program: link.xdp_program,
                    owner: owner.map(|owner| owner.instance),
                    cause,
                    prefix: namespace.command_prefix(),
                },
            }
        }
        errno => {
            let remedy = match errno {
                Some(libc::EOPNOTSUPP) => "the driver takes no XDP program: use mode = \"generic\" or \"auto\"",
                Some(libc::ENOSPC) => {
                    "give the interface as many receive queues as its peer has transmit queues (`ethtool -L`)"
                }
                Some(libc::EINVAL | libc::ERANGE) => {
                    "lower the MTU or switch LRO off (`ethtool -K NAME lro off`), or use mode = \"generic\""
                }
                Some(libc::ENODEV) => "the interface has gone",
                _ => "use mode = \"generic\" or \"auto\"",
            };
            XdpError::Attach { interface, mode: mode.name(), cause, remedy }
        }
    }
}
