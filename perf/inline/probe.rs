//! Numbered frames both ways through whatever lies between two interfaces, in one process and so by one clock.
//!
//! ```text
//! inline-probe --client NAMESPACE:INTERFACE --server NAMESPACE:INTERFACE --out PREFIX
//!              [--rate FRAMES_PER_S] [--bytes N] [--flows N]
//! ```
//!
//! Sends until its standard input ends (rate 0: as fast as it can), and waits then for the last frames. Writes for each direction
//! `PREFIX.to_server` and `PREFIX.to_client`: three little-endian 64-bit words a frame that arrived, in the order of arrival:
//! number, when it was sent and when it arrived, both in nanoseconds of CLOCK_MONOTONIC. Arrival is the kernel's receive
//! timestamp, taken before the frame waits for this process. Standard output: what was sent and received, as JSON.
#![allow(unsafe_code)] // system calls of packet sockets

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// The first four bytes of the payload; the receivers' filter knows them.
const MAGIC: u32 = 0x5348_4b49;
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
/// Magic, direction, number, time.
const PAYLOAD: usize = 24;
/// Frames of one system call.
const BATCH: usize = 32;
/// Above this rate no thread has precedence over the others: it would take the machine.
const PACED_MOST: u64 = 20_000;
/// How long the receivers wait for the last frames.
const DRAIN: Duration = Duration::from_millis(500);

static STOP_SENDING: AtomicBool = AtomicBool::new(false);
static STOP_RECEIVING: AtomicBool = AtomicBool::new(false);

struct Options {
    ends: [(String, String); 2],
    out: String,
    rate: u64,
    bytes: usize,
    flows: u64,
}

fn options() -> Result<Options, String> {
    let mut found = Options { ends: Default::default(), out: String::new(), rate: 1_000, bytes: 100, flows: 16 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} {value}: not a number"));
        let end =
            || value.split_once(':').map(|(space, name)| (space.into(), name.into())).ok_or("NAMESPACE:INTERFACE");
        match name.as_str() {
            "--client" => found.ends[0] = end()?,
            "--server" => found.ends[1] = end()?,
            "--out" => found.out = value,
            "--rate" => found.rate = number()?,
            "--bytes" => found.bytes = (number()? as usize).clamp(HEADERS + PAYLOAD, 1514),
            "--flows" => found.flows = number()?.clamp(1, 50_000),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    if found.out.is_empty() || found.ends.iter().any(|(_, name)| name.is_empty()) {
        return Err("give --client, --server and --out".into());
    }
    Ok(found)
}

fn check(result: impl TryInto<i64>, what: &str) -> io::Result<()> {
    if result.try_into().unwrap_or(0) < 0 {
        let cause = io::Error::last_os_error();
        return Err(io::Error::new(cause.kind(), format!("{what}: {cause}")));
    }
    Ok(())
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one live timespec.
    unsafe { libc::clock_gettime(which, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the value is live and of the size given.
    let result = unsafe {
        let length = size_of::<T>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    check(result, "setsockopt")
}

/// A packet socket on an interface of a namespace, which the calling thread enters and stays in.
fn open(end: &(String, String), receives: bool) -> io::Result<OwnedFd> {
    let space = File::open(format!("/run/netns/{}", end.0))?;
    // SAFETY: integers only.
    check(unsafe { libc::setns(space.as_raw_fd(), libc::CLONE_NEWNET) }, "setns")?;
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd, "socket")?;
    // SAFETY: a descriptor just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = std::ffi::CString::new(end.1.as_str())?;
    // SAFETY: all zeroes are a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    // SAFETY: the name is NUL-terminated and lives over the call.
    address.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) } as i32;
    if receives {
        // Magic where the payload begins, or nothing: flows beside these frames do not fill the buffer.
        let step = |code: u16, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut steps = [
            step(0x20, 0, 0, HEADERS as u32), // ld [HEADERS]
            step(0x15, 0, 1, MAGIC),          // jeq
            step(0x06, 0, 0, 65_535),         // ret
            step(0x06, 0, 0, 0),
        ];
        set(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            &libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() },
        )?;
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(256_i32 << 20))?;
        set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)?;
        set(&socket, libc::SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &1_i32)?;
        let patience = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &patience)?;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    }
    // SAFETY: a live address of the size given.
    let result = unsafe {
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        libc::bind(fd, std::ptr::from_ref(&address).cast(), length)
    };
    check(result, "bind")?;
    Ok(socket)
}

/// A thread that is awake when its frame is due, also on a machine that does other things.
fn precedence(rate: u64) {
    if rate == 0 || rate > PACED_MOST {
        return;
    }
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: a live structure; this thread.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters);
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    }
}

/// A UDP datagram of a flow that no station takes for its own, so that nobody answers.
fn template(direction: usize, flow: u64, bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x5a_u8; bytes];
    let [own, other] = if direction == 0 { [1, 2] } else { [2, 1] };
    frame[..14].copy_from_slice(&[2, 0, 0, 9, 0, 0xf0 + other, 2, 0, 0, 9, 0, 0xf0 + own, 8, 0]);
    let length = (bytes - 14) as u16;
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 8, 0, own, 10, 8, 0, other];
    header[2..4].copy_from_slice(&length.to_be_bytes());
    let mut sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame[14..34].copy_from_slice(&header);
    let port = (20_000 + flow as u16).to_be_bytes();
    let ports = if direction == 0 { [port, [0x27, 0x10]] } else { [[0x27, 0x10], port] };
    frame[34..38].copy_from_slice(&ports.concat());
    frame[38..40].copy_from_slice(&(length - 20).to_be_bytes());
    frame[40..42].copy_from_slice(&[0, 0]);
    frame[42..46].copy_from_slice(&MAGIC.to_be_bytes());
    frame[46..50].copy_from_slice(&(direction as u32).to_be_bytes());
    frame
}

#[derive(Default)]
struct Sent {
    tried: u64,
    refused: u64,
    latest_ms: f64,
}

fn send(options: &Options, direction: usize) -> io::Result<Sent> {
    let socket = open(&options.ends[direction], false)?;
    precedence(options.rate);
    let templates: Vec<_> = (0..options.flows).map(|flow| template(direction, flow, options.bytes)).collect();
    let mut frames = vec![vec![0; options.bytes]; BATCH];
    let mut parts: Vec<libc::iovec> = frames
        .iter_mut()
        .map(|frame| libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: options.bytes })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: all zeroes are a valid header.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let mut sent = Sent::default();
    let begin = clock(libc::CLOCK_MONOTONIC);
    while !STOP_SENDING.load(Relaxed) {
        let mut count = BATCH;
        if options.rate > 0 {
            let due = begin + (u128::from(sent.tried) * 1_000_000_000 / u128::from(options.rate)) as u64;
            let until = libc::timespec { tv_sec: (due / 1_000_000_000) as i64, tv_nsec: (due % 1_000_000_000) as i64 };
            let mut now = clock(libc::CLOCK_MONOTONIC);
            if now < due {
                // SAFETY: a live timespec, nothing is written.
                unsafe {
                    libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &until, std::ptr::null_mut());
                }
                now = clock(libc::CLOCK_MONOTONIC);
            }
            let late = now.saturating_sub(due);
            sent.latest_ms = sent.latest_ms.max(late as f64 / 1e6);
            count = ((u128::from(late) * u128::from(options.rate) / 1_000_000_000) as usize + 1).min(BATCH);
        }
        let now = clock(libc::CLOCK_MONOTONIC).to_le_bytes();
        for (place, frame) in frames.iter_mut().take(count).enumerate() {
            let number = sent.tried + place as u64;
            // Scattered, so that frames that follow each other are of different flows.
            frame.copy_from_slice(&templates[(number % options.flows) as usize]);
            frame[50..58].copy_from_slice(&number.to_le_bytes());
            frame[58..66].copy_from_slice(&now);
        }
        let mut done = 0;
        while done < count {
            // SAFETY: headers that point to live buffers of the lengths they state.
            let took = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr().add(done), (count - done) as u32, 0)
            };
            if took <= 0 {
                sent.refused += 1; // this one alone; the interface behind it counts why
                done += 1;
            } else {
                done += took as usize;
            }
        }
        sent.tried += count as u64;
    }
    Ok(sent)
}

#[derive(Default)]
struct Arrived {
    received: u64,
    overflow: u64,
}

fn receive(options: &Options, direction: usize) -> io::Result<Arrived> {
    let socket = open(&options.ends[1 - direction], true)?;
    precedence(options.rate);
    let name = ["to_server", "to_client"][direction];
    let mut out = BufWriter::with_capacity(1 << 20, File::create(format!("{}.{name}", options.out))?);
    let mut buffers = vec![[0_u8; 128]; BATCH];
    let mut controls = vec![[0_u64; 8]; BATCH];
    let mut arrived = Arrived::default();
    while !STOP_RECEIVING.load(Relaxed) {
        let mut parts: Vec<libc::iovec> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .zip(&mut controls)
            .map(|(part, control)| {
                // SAFETY: all zeroes are a valid header.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message.msg_hdr.msg_control = control.as_mut_ptr().cast();
                message.msg_hdr.msg_controllen = size_of_val(control);
                message
            })
            .collect();
        // SAFETY: headers that point to live buffers of the lengths they state.
        let got = unsafe {
            let count = BATCH as u32;
            libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_WAITFORONE, std::ptr::null_mut())
        };
        let offset = clock(libc::CLOCK_REALTIME).wrapping_sub(clock(libc::CLOCK_MONOTONIC));
        for (message, buffer) in messages.iter().zip(&buffers).take(usize::try_from(got).unwrap_or(0)) {
            if (message.msg_len as usize) < HEADERS + PAYLOAD {
                continue;
            }
            let word = |at: usize| u64::from_le_bytes(buffer[at..at + 8].try_into().expect("eight bytes"));
            let at = timestamp(&message.msg_hdr).wrapping_sub(offset);
            for value in [word(50), word(58), at] {
                out.write_all(&value.to_le_bytes())?;
            }
            arrived.received += 1;
        }
    }
    let mut counts = [0_u32; 2];
    let mut length = 8;
    // SAFETY: the kernel writes at most the eight bytes of a live array.
    unsafe {
        let to = counts.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &mut length);
    }
    arrived.overflow = counts[1].into();
    out.flush()?;
    Ok(arrived)
}

/// The kernel's receive timestamp, CLOCK_REALTIME nanoseconds.
fn timestamp(message: &libc::msghdr) -> u64 {
    // SAFETY: the kernel wrote the control messages that `message` describes.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: a header inside the control buffer, as the macros give it; the data of this kind is a timespec.
        unsafe {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                return time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    clock(libc::CLOCK_REALTIME)
}

fn run(options: &Options) -> io::Result<()> {
    // Each direction: sender and receiver in threads of their own, since a thread is in one namespace.
    std::thread::scope(|scope| {
        let receivers = [0, 1].map(|direction| scope.spawn(move || receive(options, direction)));
        std::thread::sleep(Duration::from_millis(50));
        let senders = [0, 1].map(|direction| scope.spawn(move || send(options, direction)));
        println!("{{\"began\": {}}}", clock(libc::CLOCK_MONOTONIC));
        let _ = io::stdin().read_to_end(&mut Vec::new());
        STOP_SENDING.store(true, Relaxed);
        let sent = senders.map(|thread| thread.join().expect("a sender"));
        std::thread::sleep(DRAIN);
        STOP_RECEIVING.store(true, Relaxed);
        let arrived = receivers.map(|thread| thread.join().expect("a receiver"));
        let mut words = Vec::new();
        for ((name, sent), arrived) in ["to_server", "to_client"].into_iter().zip(sent).zip(arrived) {
            let (sent, arrived) = (sent?, arrived?);
            words.push(format!(
                "\"{name}\": {{\"tried\": {}, \"refused\": {}, \"latest_ms\": {:.3}, \"received\": {}, \"overflow\": {}}}",
                sent.tried, sent.refused, sent.latest_ms, arrived.received, arrived.overflow
            ));
        }
        println!("{{{}}}", words.join(", "));
        Ok(())
    })
}

fn main() {
    let outcome = options().and_then(|options| run(&options).map_err(|cause| cause.to_string()));
    if let Err(problem) = outcome {
        eprintln!("error: {problem}");
        std::process::exit(1);
    }
}
