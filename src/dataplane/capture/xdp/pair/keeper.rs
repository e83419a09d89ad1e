//! Who sets a port up again that we hold down, should we die: a process of its own, which is told ten times a second which ports those
//! are. It is begun before there is a socket, for it must not inherit any: a socket that outlives its process keeps its place in the
//! program's map.

use crate::sys::netlink::Netlink;
use crate::sys::netns::Namespace;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Name of the hidden command of the program that runs [`keep`].
pub const KEEPER: &str = "keep-links";
/// How often the keeper looks whether its parent lives.
const LOOK: Duration = Duration::from_millis(100);
/// A parent that is silent for so long hangs: what it holds down is set up.
const SILENT: Duration = Duration::from_secs(2);
/// Said when it is not needed any more.
const BYE: u8 = 0xff;

/// Our end.
pub(super) struct Keeper {
    child: Child,
    tell: UnixDatagram,
}

impl Keeper {
    /// Begins one for these two ports.
    pub(super) fn start(namespace: Option<&str>, ports: [&str; 2]) -> io::Result<Keeper> {
        let (tell, told) = UnixDatagram::pair()?;
        tell.set_nonblocking(true)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(KEEPER).args(ports).args(namespace.map(|space| format!("--netns={space}")));
        let child = command.stdin(Stdio::from(OwnedFd::from(told))).stdout(Stdio::null()).spawn()?;
        Ok(Keeper { child, tell })
    }

    /// Says which ports are held down; `false`: it is gone.
    pub(super) fn tell(&mut self, held: [bool; 2]) -> bool {
        let bits = u8::from(held[0]) | u8::from(held[1]) << 1;
        match self.tell.send(&[bits]) {
            Err(cause) if cause.kind() != io::ErrorKind::WouldBlock => false,
            _ => matches!(self.child.try_wait(), Ok(None)),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.tell.send(&[BYE]));
        // It reads that within its turn; where it cannot, it dies with what it waits for.
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > SILENT {
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sets ports up or down by their names.
pub(super) fn set_up(namespace: &Namespace, name: &str, up: bool) -> io::Result<()> {
    namespace.run(|| {
        let mut netlink = Netlink::open()?;
        let index = netlink.link(name)?.index;
        netlink.set_up(index, up)
    })?
}

/// The keeper's own life: until its parent says so or is gone, or `ended` is raised.
///
/// # Errors
/// It has no parent to listen to, or the namespace is not there.
pub fn keep(namespace: Option<&str>, ports: [&str; 2], ended: &AtomicBool) -> io::Result<()> {
    let told = UnixDatagram::from(io::stdin().as_fd().try_clone_to_owned()?);
    told.set_read_timeout(Some(LOOK))?;
    let namespace = Namespace::named(namespace)?;
    let parent = std::os::unix::process::parent_id();
    let (mut held, mut heard) = (0_u8, Instant::now());
    loop {
        let mut byte = [0];
        match told.recv(&mut byte) {
            Ok(1) if byte == [BYE] => return Ok(()),
            Ok(1) => (held, heard) = (byte[0], Instant::now()),
            Ok(_) => {}
            Err(cause) if matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => std::thread::sleep(LOOK),
        }
        let is_gone = ended.load(Relaxed) || std::os::unix::process::parent_id() != parent;
        if is_gone || heard.elapsed() > SILENT {
            for (side, name) in ports.iter().enumerate().filter(|(side, _)| held >> side & 1 != 0) {
                if let Err(cause) = set_up(&namespace, name, true) {
                    eprintln!("shrike: set {name} up, which was held down (port {side}): {cause}");
                }
            }
            held = 0;
        }
        if is_gone {
            return Ok(());
        }
    }
}
