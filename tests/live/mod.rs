//! Namespaces, veth pairs and a counting sender for the live tests.
#![allow(dead_code)] // each test binary uses its own part
#![allow(unsafe_code)] // system calls of the sender

pub mod pair;
pub mod process;
pub mod pump;
pub mod veth;
pub mod wire;

use shrike::dataplane::capture::xdp::falsifying_offloads;
use shrike::sys::netlink::{Link, Netlink};
use shrike::sys::netns::Namespace;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

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

    /// Counters and state of the sender's end.
    pub fn sending_link(&self) -> Link {
        link(&self.sender, "tx0")
    }

    /// Counters and state of the sensor's end.
    pub fn sensor_link(&self) -> Link {
        link(&self.sensor, "rx0")
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
                 ip -n {space} link set lo up && ip -n {space} link set {end} up"
            ));
            for finding in falsifying_offloads(end, Some(space)).unwrap() {
                run(&finding.fix);
            }
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

/// An interface as it is now.
pub fn link(namespace: &str, name: &str) -> Link {
    let namespace = Namespace::named(Some(namespace)).unwrap();
    namespace.run(|| Netlink::open().unwrap().link(name)).unwrap().unwrap()
}

/// The equation of that name in a summary of `shrike run`.
pub fn equation<'a>(summary: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let found = summary["loss"]["equations"].as_array().unwrap().iter().find(|equation| equation["name"] == name);
    found.unwrap_or_else(|| panic!("no equation {name}: {summary:#}"))
}

/// A bound on a hang, not a measurement: on a crowded machine everything takes its time.
const LIMIT: Duration = Duration::from_secs(90);

/// Looks again until `condition` holds; fails with `what` and the last answer if it never does.
pub fn until<T: std::fmt::Debug>(what: &str, mut look: impl FnMut() -> T, condition: impl Fn(&T) -> bool) -> T {
    let begin = Instant::now();
    loop {
        let answer = look();
        if condition(&answer) {
            return answer;
        }
        assert!(begin.elapsed() < LIMIT, "{what}: {answer:#?}");
        std::thread::sleep(Duration::from_millis(2));
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
        Sender::on(&bed.sender, "tx0", flows, bytes)
    }

    /// The same on an interface of any namespace.
    pub fn on(namespace: &str, name: &str, flows: u16, bytes: usize) -> Sender {
        let namespace = Namespace::named(Some(namespace)).unwrap();
        let socket = namespace.run(|| packet_socket(name)).unwrap().unwrap();
        let frames = (0..flows).map(|flow| udp_frame(flow, bytes)).collect();
        Sender { socket, frames, sent: 0, refused: 0 }
    }

    /// Sends `count` frames, calling `pace` before every 32nd with what was tried so far. A frame a call: `sendmmsg` does
    /// not tell which frame of a batch was refused.
    pub fn send(&mut self, count: u64, mut pace: impl FnMut(u64)) {
        for number in 0..count {
            let tried = self.sent + self.refused;
            if number % 32 == 0 {
                pace(tried);
            }
            let frame = &self.frames[tried as usize % self.frames.len()];
            if send(&self.socket, frame) {
                self.sent += 1;
            } else {
                self.refused += 1;
            }
        }
    }

    /// Sends `count` frames at an even rate.
    pub fn send_paced(&mut self, count: u64, frames_per_second: u64) {
        let (begin, before) = (Instant::now(), self.sent + self.refused);
        self.send(count, |done| {
            let due = Duration::from_nanos((done - before).saturating_mul(1_000_000_000 / frames_per_second));
            while begin.elapsed() < due {
                std::thread::yield_now();
            }
        });
    }

    /// Opens a sender for frames as given.
    pub fn of(bed: &Bed, frames: Vec<Vec<u8>>) -> Sender {
        Sender { frames, ..Sender::open(bed, 0, 64) }
    }

    /// Sends one frame as given.
    pub fn send_frame(&mut self, frame: &[u8]) {
        assert!(send(&self.socket, frame), "{}", io::Error::last_os_error());
        self.sent += 1;
    }
}

fn send(socket: &OwnedFd, frame: &[u8]) -> bool {
    // SAFETY: the buffer is a live slice of the length given.
    let took = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    usize::try_from(took).is_ok_and(|took| took == frame.len())
}

fn packet_socket(name: &str) -> io::Result<OwnedFd> {
    packet_socket_for(name, 0)
}

/// A packet socket on an interface that receives frames of that EtherType; 0: none.
fn packet_socket_for(name: &str, protocol: u16) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes three integers; protocol 0 receives nothing, and what is wanted is said when it is bound.
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
    address.sll_protocol = protocol.to_be();
    // SAFETY: the address is a live structure of the size given.
    let result = unsafe {
        libc::bind(fd, std::ptr::from_ref(&address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// Lets so many connections wait to be accepted: beyond the 128 of the standard library they come seconds later.
pub fn lengthen_queue(listener: &std::net::TcpListener, connections: i32) {
    // SAFETY: listen(2) takes two integers; the descriptor is open.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), connections) }, 0);
}

/// A UDP frame of a flow, `bytes` long without FCS. Each has a receiver of its own: datagrams are owned by addresses.
pub fn udp_frame(flow: u16, bytes: usize) -> Vec<u8> {
    let payload = bytes - 42;
    let [high, low] = flow.to_be_bytes();
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [198, 18, high, low], 64)
        .udp(10_000 + flow, 9)
        .write(&mut frame, &vec![0x5a; payload])
        .unwrap();
    frame
}
