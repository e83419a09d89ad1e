//! Three namespaces for a pair: a client, the appliance between, a server; and receivers that see frames as they arrive.

use super::{LIMIT, packet_socket_for, run, until};
use shrike::dataplane::capture::Source;
use shrike::dataplane::capture::xdp::{
    InterfaceSettings, LinkPolicy, Mode, Pair, PairSettings, PairSource, PairStop, Policy, falsifying_offloads,
};
use shrike::metrics::{Counter, CounterBlock};
use shrike::sys::netns::Namespace;
use shrike::units::Timestamp;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// `c0` in the client's namespace, joined to `a0` of the appliance; `b0` there, joined to `s0` of the server.
pub struct PairBed {
    pub client: String,
    pub appliance: String,
    pub server: String,
}

impl PairBed {
    /// Makes a bed whose interfaces have that many queues. Offloads that would change a frame are off; GRO is on at the ends, or
    /// nothing could be redirected to them.
    pub fn new(queues: u32) -> PairBed {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("shrike-{}-p{number}-{end}", std::process::id());
        let bed = PairBed { client: name("c"), appliance: name("x"), server: name("s") };
        let PairBed { client, appliance, server } = &bed;
        for space in [client, appliance, server] {
            run(&format!(
                "ip netns add {space} && ip netns exec {space} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
                 net.ipv6.conf.default.disable_ipv6=1 && ip -n {space} link set lo up"
            ));
        }
        for (space, end, port) in [(client, "c0", "a0"), (server, "s0", "b0")] {
            run(&format!(
                "ip link add {end} numtxqueues {queues} numrxqueues {queues} netns {space} type veth \
                 peer name {port} numtxqueues {queues} numrxqueues {queues} netns {appliance}"
            ));
            for (space, name) in [(space, end), (appliance, port)] {
                run(&format!(
                    "ip netns exec {space} ethtool -L {name} rx {queues} tx {queues}; ip -n {space} link set {name} up"
                ));
                for finding in falsifying_offloads(name, Some(space)).unwrap() {
                    run(&finding.fix);
                }
                run(&format!("ip netns exec {space} ethtool -K {name} txvlan off rxvlan off"));
            }
            run(&format!("ip netns exec {space} ethtool -K {end} gro on"));
        }
        run(&format!("ip -n {client} addr add 10.9.0.1/24 dev c0 && ip -n {server} addr add 10.9.0.2/24 dev s0"));
        bed
    }

    /// Settings of the pair.
    pub fn settings(&self, policy: Policy) -> PairSettings {
        let port = |name: &str| InterfaceSettings {
            namespace: Some(self.appliance.clone()),
            mode: Mode::Copy,
            instance: self.appliance.clone(),
            ring_entries: 1024,
            ..InterfaceSettings::new(name)
        };
        PairSettings {
            name: "wire".into(),
            ports: [port("a0"), port("b0")],
            policy,
            // A test shares the machine with all others: a worker that waits for its core is no hang here.
            beat_limit_ns: 60_000_000_000,
            link: LinkPolicy::Independent,
        }
    }
}

impl Drop for PairBed {
    fn drop(&mut self) {
        for space in [&self.client, &self.appliance, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
        let _ = Command::new("umount")
            .arg(format!("/run/shrike/bpf/{}", self.appliance))
            .stderr(std::process::Stdio::null())
            .status();
        let _ = std::fs::remove_dir(format!("/run/shrike/bpf/{}", self.appliance));
    }
}

/// A packet socket that sees what arrives at an interface, VLAN tags as they were on the wire.
pub struct Receiver(OwnedFd);

impl Receiver {
    pub fn open(namespace: &str, name: &str) -> Receiver {
        let namespace = Namespace::named(Some(namespace)).unwrap();
        let socket = namespace.run(|| packet_socket_for(name, libc::ETH_P_ALL as u16)).unwrap().unwrap();
        for (option, value) in [(libc::PACKET_AUXDATA, 1_i32), (23 /* PACKET_IGNORE_OUTGOING */, 1)] {
            // SAFETY: the value is a live local of the size given.
            let result = unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(&value).cast(), 4)
            };
            assert_eq!(result, 0);
        }
        let room = 64_i32 << 20;
        // SAFETY: as above.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                std::ptr::from_ref(&room).cast(),
                4,
            )
        };
        Receiver(socket)
    }

    /// The next frame, as it was on the wire; `None` if none came in time.
    pub fn next(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut polled = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        if unsafe { libc::poll(&mut polled, 1, i32::try_from(limit.as_millis()).unwrap()) } <= 0 {
            return None;
        }
        let (mut frame, mut control) = (vec![0_u8; 65_536], [0_u64; 16]);
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: all zeroes are a valid `msghdr`.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the message points to live buffers of the lengths it states.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &mut message, 0) };
        frame.truncate(usize::try_from(length).unwrap());
        // SAFETY: the kernel wrote the control messages that `message` describes.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
        while !header.is_null() {
            // SAFETY: a header inside `control`, as the macros give it.
            let (kind, data) = unsafe { ((*header).cmsg_type, libc::CMSG_DATA(header)) };
            if kind == libc::PACKET_AUXDATA {
                // SAFETY: the data of this message is a `tpacket_auxdata`.
                let found: libc::tpacket_auxdata = unsafe { std::ptr::read_unaligned(data.cast()) };
                if found.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                    let tag = [found.tp_vlan_tpid.to_be_bytes(), found.tp_vlan_tci.to_be_bytes()].concat();
                    frame.splice(12..12, tag);
                }
            }
            // SAFETY: as above.
            header = unsafe { libc::CMSG_NXTHDR(&message, header) };
        }
        Some(frame)
    }

    /// As many frames as expected, in their order.
    pub fn take(&self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map_while(|_| self.next(LIMIT)).collect()
    }
}

/// Every queue open and run on a thread of its own, without an engine.
pub struct Running {
    stops: Vec<PairStop>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

impl Running {
    pub fn start(pair: &Pair) -> Running {
        let mut running = Running { stops: Vec::new(), threads: Vec::new() };
        for queue in pair.queues() {
            let mut source = pair.open_queue(*queue).unwrap();
            running.stops.push(source.stop_handle().unwrap());
            running.threads.push(std::thread::spawn(move || pump(&mut source)));
        }
        // A queue that never beat is as old as the machine's clock.
        let limit_ns = pair.status().beat_limit_ns;
        until("each worker has begun", || pair.status().beat_age_ns, |age| *age < limit_ns);
        running
    }

    /// A planned stop; gives how many frames were taken.
    pub fn stop(self) -> u64 {
        self.stops.iter().for_each(PairStop::stop);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

/// Takes bursts and lets them go on until the source ends; gives how many frames there were.
pub fn pump(source: &mut PairSource) -> u64 {
    let mut counters = CounterBlock::on(source.counter_memory());
    let (mut total, mut maintained) = (0, Instant::now());
    loop {
        let received = source.receive(64);
        if received.ended {
            return total;
        }
        total += received.count as u64;
        counters.add(Counter::FramesReceived, received.count as u64);
        counters.publish();
        source.release();
        if received.count == 0 {
            source.wait(Duration::from_millis(5));
        }
        if maintained.elapsed() > Duration::from_millis(10) {
            source.maintain(Timestamp(0));
            maintained = Instant::now();
        }
    }
}
