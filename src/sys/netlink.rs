//! What rtnetlink tells of an interface: index, state, counters, attached XDP program, addresses.
//!
//! A [`Netlink`] stays in the namespace it was opened in, so an interface of another namespace can be read from any
//! thread for as long as the value lives. Reading needs no capability.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Counters of an interface, `struct rtnl_link_stats64` (include/uapi/linux/if_link.h) as far as capture needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct LinkCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames received with any error.
    pub rx_errors: u64,
    /// Frames that failed to be sent.
    pub tx_errors: u64,
    /// Received frames dropped by driver or stack for want of room.
    pub rx_dropped: u64,
    /// Frames dropped on the way out.
    pub tx_dropped: u64,
    /// Frames whose length field was wrong.
    pub rx_length_errors: u64,
    /// Receiver overflows (driver).
    pub rx_over_errors: u64,
    /// Frames with a wrong checksum.
    pub rx_crc_errors: u64,
    /// Frames not aligned to bytes.
    pub rx_frame_errors: u64,
    /// Receiver FIFO overflows (NIC).
    pub rx_fifo_errors: u64,
    /// Frames the NIC had no descriptor for.
    pub rx_missed_errors: u64,
    /// Frames for which the stack had no taker.
    pub rx_nohandler: u64,
}

/// How an XDP program sits on an interface (`IFLA_XDP_ATTACHED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum XdpAttachment {
    /// No program.
    #[default]
    None,
    /// In the driver, before a socket buffer exists.
    Native,
    /// In the stack, on a socket buffer ("skb mode").
    Generic,
    /// On the NIC itself.
    Offloaded,
    /// Several at once.
    Several,
}

/// One interface at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Interface index within its namespace; a new one after removal and return.
    pub index: u32,
    /// Set administratively up.
    pub up: bool,
    /// Has a carrier (and is up).
    pub running: bool,
    /// It takes frames to whatever card, because somebody said so (not counting those who only listen).
    pub promiscuous: bool,
    /// Largest payload of a frame, bytes.
    pub mtu_bytes: u32,
    /// Receive queues the kernel made room for (not all need be in use).
    pub rx_queues: u32,
    /// Attached XDP program's mode.
    pub xdp: XdpAttachment,
    /// Attached XDP program's id, 0 for none.
    pub xdp_program: u32,
    /// Counters.
    pub counters: LinkCounters,
}

/// A route socket, or a generic one.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// Opens a route socket in the calling thread's namespace.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn open() -> io::Result<Netlink> {
        Netlink::open_protocol(libc::NETLINK_ROUTE)
    }

    /// Opens a generic netlink socket in the calling thread's namespace.
    pub(super) fn open_generic() -> io::Result<Netlink> {
        Netlink::open_protocol(libc::NETLINK_GENERIC)
    }

    fn open_protocol(protocol: libc::c_int) -> io::Result<Netlink> {
        // SAFETY: socket(2) takes three integers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Netlink { socket, buffer: vec![0; 64 * 1024], sequence: 0 })
    }

    /// The interface of that name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn link(&mut self, name: &str) -> io::Result<Link> {
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let mut body = vec![0u8; 16];
        push_attribute(&mut body, libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        let mut found = None;
        self.ask(libc::RTM_GETLINK, 0, &body, |kind, body| {
            if kind == libc::RTM_NEWLINK {
                found = parse_link(body);
            }
        })?;
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Sets the interface of that index administratively up or down.
    ///
    /// # Errors
    /// The kernel refused (`EPERM`), or it is gone (`ENODEV`).
    pub fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        self.set_flag(index, libc::IFF_UP.cast_unsigned(), up)
    }

    /// Has the interface of that index take frames to whatever card, or only to its own.
    ///
    /// # Errors
    /// As [`Netlink::set_up`].
    pub fn set_promiscuous(&mut self, index: u32, on: bool) -> io::Result<()> {
        self.set_flag(index, libc::IFF_PROMISC.cast_unsigned(), on)
    }

    fn set_flag(&mut self, index: u32, flag: u32, on: bool) -> io::Result<()> {
        // struct ifinfomsg: family, pad, type, index, flags, change.
        let words = [0, index, if on { flag } else { 0 }, flag].map(u32::to_ne_bytes);
        self.ask(libc::RTM_NEWLINK, u16::try_from(libc::NLM_F_ACK).unwrap_or(4), &words.concat(), |_, _| {})
    }

    /// Whether the interface of that index has an address that others may talk to (scope global).
    ///
    /// # Errors
    /// The kernel refused the dump.
    pub fn has_global_address(&mut self, index: u32) -> io::Result<bool> {
        let mut found = false;
        let flags = u16::try_from(libc::NLM_F_DUMP).unwrap_or(0x300);
        self.ask(libc::RTM_GETADDR, flags, &[0u8; 8], |kind, body| {
            // struct ifaddrmsg: family, prefix length, flags, scope (0 is global), index.
            if kind == libc::RTM_NEWADDR && body.get(3) == Some(&0) && word(body, 4) == Some(index) {
                found = true;
            }
        })?;
        Ok(found)
    }

    /// Sends a request and gives each answer's type and body.
    pub(super) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut answer: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(16 + body.len());
        request.extend_from_slice(&u32::try_from(16 + body.len()).unwrap_or(u32::MAX).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&(1 | flags).to_ne_bytes()); // NLM_F_REQUEST
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&0u32.to_ne_bytes());
        request.extend_from_slice(body);
        // SAFETY: the pointer and length are those of a live vector that the kernel only reads.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        loop {
            let space = self.buffer.len();
            // SAFETY: the kernel writes at most `space` bytes into a live vector of that length.
            let got = unsafe { libc::recv(self.socket.as_raw_fd(), self.buffer.as_mut_ptr().cast(), space, 0) };
            let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
            let mut rest = self.buffer.get(..got).unwrap_or_default();
            while let (Some(length), Some(kind)) = (word(rest, 0), half(rest, 4)) {
                let length = length as usize;
                let Some(message) = rest.get(..length).filter(|message| message.len() >= 16) else { break };
                let body = message.get(16..).unwrap_or_default();
                let ours = word(message, 8) == Some(self.sequence);
                match i32::from(kind) {
                    libc::NLMSG_DONE if ours => return Ok(()),
                    libc::NLMSG_ERROR if ours => {
                        let code = word(body, 0).unwrap_or(0).cast_signed();
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ if ours => {
                        answer(kind, body);
                        let multi = half(message, 6).is_some_and(|flags| flags & 2 != 0); // NLM_F_MULTI
                        if !multi {
                            return Ok(());
                        }
                    }
                    _ => {}
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn parse_link(body: &[u8]) -> Option<Link> {
    // struct ifinfomsg: family, pad, type, index, flags, change.
    let flags = word(body, 8)?;
    let mut link = Link {
        index: word(body, 4)?,
        up: flags & libc::IFF_UP.cast_unsigned() != 0,
        running: flags & libc::IFF_RUNNING.cast_unsigned() != 0,
        promiscuous: flags & libc::IFF_PROMISC.cast_unsigned() != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            libc::IFLA_MTU => link.mtu_bytes = word(value, 0)?,
            libc::IFLA_NUM_RX_QUEUES => link.rx_queues = word(value, 0)?,
            libc::IFLA_STATS64 => link.counters = parse_counters(value),
            IFLA_XDP => {
                for (kind, value) in attributes(value) {
                    match kind {
                        IFLA_XDP_ATTACHED => {
                            link.xdp = match value.first() {
                                Some(1) => XdpAttachment::Native,
                                Some(2) => XdpAttachment::Generic,
                                Some(3) => XdpAttachment::Offloaded,
                                Some(4) => XdpAttachment::Several,
                                _ => XdpAttachment::None,
                            }
                        }
                        IFLA_XDP_PROG_ID => link.xdp_program = word(value, 0)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}

/// include/uapi/linux/if_link.h.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;

fn parse_counters(value: &[u8]) -> LinkCounters {
    let at = |index: usize| {
        value.get(index * 8..index * 8 + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    };
    LinkCounters {
        rx_packets: at(0),
        tx_packets: at(1),
        rx_bytes: at(2),
        tx_bytes: at(3),
        rx_errors: at(4),
        tx_errors: at(5),
        rx_dropped: at(6),
        tx_dropped: at(7),
        rx_length_errors: at(10),
        rx_over_errors: at(11),
        rx_crc_errors: at(12),
        rx_frame_errors: at(13),
        rx_fifo_errors: at(14),
        rx_missed_errors: at(15),
        rx_nohandler: at(23),
    }
}

pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(rest, 0)?);
        let kind = half(rest, 2)? & 0x3fff; // without the nested and byte-order bits
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&u16::try_from(4 + value.len()).unwrap_or(u16::MAX).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_has_no_global_address() {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link("lo").unwrap();
        assert_eq!(link.index, 1);
        assert_eq!(link.mtu_bytes, 65536);
        assert_eq!(link.xdp, XdpAttachment::None);
        assert!(!netlink.has_global_address(link.index).unwrap());
        assert_eq!(netlink.link("no-such-link").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(netlink.link("a-name-longer-than-any").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(netlink.link("lo").unwrap().index, 1, "the socket is still in step after an error");
    }

    #[test]
    fn cut_messages_are_not_read_past_their_end() {
        let mut body = vec![0u8; 16];
        push_attribute(&mut body, libc::IFLA_MTU, &1500u32.to_ne_bytes());
        for cut in 0..body.len() {
            let _ = parse_link(&body[..cut]);
        }
        assert_eq!(parse_link(&body).unwrap().mtu_bytes, 1500);
    }
}
