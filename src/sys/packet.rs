//! Frames as they are, sent by an interface: a packet socket that receives nothing (packet(7)). Making one needs CAP_NET_RAW.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Sends frames by one interface. Stays in the namespace that it was made in.
#[derive(Debug)]
pub struct PacketSender {
    socket: OwnedFd,
    card: [u8; 6],
}

impl PacketSender {
    /// By the interface of that name, in the calling thread's namespace.
    ///
    /// # Errors
    /// No such interface, or no right to.
    pub fn open(name: &str) -> io::Result<PacketSender> {
        let text = CString::new(name)?;
        // SAFETY: the name is a string with its NUL that outlives the call.
        let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
        let index = i32::try_from(index).ok().filter(|index| *index > 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: takes three integers; protocol 0 receives nothing.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        check(fd)?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeroes are a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index;
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is a live structure of the size given.
        check(unsafe { libc::bind(fd, std::ptr::from_ref(&address).cast(), length) })?;
        // SAFETY: address and length are live locals; the kernel writes no more than the length says.
        check(unsafe { libc::getsockname(fd, std::ptr::from_mut(&mut address).cast(), &mut length) })?;
        let card = address.sll_addr.first_chunk::<6>().copied().unwrap_or_default();
        Ok(PacketSender { socket, card })
    }

    /// The interface's own link address.
    pub fn card(&self) -> [u8; 6] {
        self.card
    }

    /// Sends a frame from its link header on, without FCS; never waits.
    ///
    /// # Errors
    /// The interface is down or gone, or has no room at the moment.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is a live slice of the length given.
        let took = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if took < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
