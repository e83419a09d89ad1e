//! Namespaces, veth pairs and a counting sender for the live tests.
#![allow(dead_code)] // each test binary uses its own part
#![allow(unsafe_code)] // system calls of the sender

use shrike::sys::netns::Namespace;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Two namespaces joined by a veth pair, without a route out; gone when dropped.
pub struct Bed {
    /// Namespace of the sender, interface `tx0`.
    pub sender: String,
    /// Namespace of the sensor, interface `rx0`.
    pub sensor: String,
}

/// Runs a command and fails with its words.
pub fn run(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().expect("sh");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Bed {
    /// Makes a bed whose interfaces have that many queues, offloads off at both ends.
    pub fn new(queues: u32) -> Bed {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("shrike-{}-{number}-{end}", std::process::id());
        let bed = Bed { sender: name("a"), sensor: name("b") };
        run(&format!("ip netns add {} && ip netns add {}", bed.sender, bed.sensor));
        bed.add_link(queues);
        bed
    }

    /// Makes the veth pair (anew).
    pub fn add_link(&self, queues: u32) {
        let (sender, sensor) = (&self.sender, &self.sensor);
        run(&format!(
            "ip link add tx0 numtxqueues {queues} numrxqueues {queues} netns {sender} type veth \
             peer name rx0 numtxqueues {queues} numrxqueues {queues} netns {sensor}"
        ));
        for (space, end) in [(sender, "tx0"), (sensor, "rx0")] {
            run(&format!(
                "ip netns exec {space} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; \
                 ip netns exec {space} ethtool -L {end} rx {queues} tx {queues}; \
                 ip netns exec {space} ethtool -K {end} tx off rx off tso off gso off gro off txvlan off rxvlan off; \
                 ip -n {space} link set lo up && ip -n {space} link set {end} up"
            ));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for space in [&self.sender, &self.sensor] {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}

/// A packet socket on `tx0` that counts what the kernel took from it.
pub struct Sender {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
    /// Frames the kernel took.
    pub sent: u64,
    /// Frames the kernel refused.
    pub refused: u64,
}

impl Sender {
    /// Opens a sender for frames of `bytes` in as many flows as given.
    pub fn open(bed: &Bed, flows: u16, bytes: usize) -> Sender {
        let namespace = Namespace::named(Some(&bed.sender)).unwrap();
        let socket = namespace.run(|| packet_socket("tx0")).unwrap().unwrap();
        let frames = (0..flows).map(|flow| udp_frame(flow, bytes)).collect();
        Sender { socket, frames, sent: 0, refused: 0 }
    }

    /// Sends `count` frames, 32 a call, calling `pace` before each call with what was sent so far.
    pub fn send(&mut self, count: u64, mut pace: impl FnMut(u64)) {
        let mut left = count;
        while left > 0 {
            pace(self.sent + self.refused);
            let batch = left.min(32) as usize;
            let from = (self.sent + self.refused) as usize;
            let mut parts: Vec<libc::iovec> = (0..batch)
                .map(|index| {
                    let frame = &self.frames[(from + index) % self.frames.len()];
                    libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() }
                })
                .collect();
            // SAFETY: all zeroes are a valid `mmsghdr`.
            let mut messages: Vec<libc::mmsghdr> = (0..batch).map(|_| unsafe { std::mem::zeroed() }).collect();
            for (message, part) in messages.iter_mut().zip(parts.iter_mut()) {
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
            }
            // SAFETY: messages and parts are live vectors of `batch` entries that point to live frames.
            let took = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), batch as u32, 0) };
            if took > 0 {
                self.sent += took as u64;
                left -= took as u64;
            } else {
                // The first frame of the batch was refused; it is not sent again.
                self.refused += 1;
                left -= 1;
            }
        }
    }

    /// Sends one frame as given.
    pub fn send_frame(&mut self, frame: &[u8]) {
        // SAFETY: the buffer is a live slice of the length given.
        let took = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(took, frame.len() as isize, "{}", io::Error::last_os_error());
        self.sent += 1;
    }
}

fn packet_socket(name: &str) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes three integers; protocol 0 receives nothing.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is NUL-terminated and lives over the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // SAFETY: all zeroes are a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index as i32;
    // SAFETY: the address is a live structure of the size given.
    let result = unsafe {
        libc::bind(fd, std::ptr::from_ref(&address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// A UDP frame of a flow, `bytes` long without FCS.
pub fn udp_frame(flow: u16, bytes: usize) -> Vec<u8> {
    let payload = bytes - 42;
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [198, 51, 100, (flow >> 8) as u8], 64)
        .udp(10_000 + flow, 9)
        .write(&mut frame, &vec![0x5a; payload])
        .unwrap();
    frame
}
