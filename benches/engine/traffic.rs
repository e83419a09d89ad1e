//! What the engine is fed: frames made or read once, then given out from memory again and again.

use shrike::dataplane::capture::memory::LoopFrames;
use shrike::dataplane::capture::pcap::{PcapSource, Speed};
use shrike::dataplane::capture::{BURST_MAX, FrameView, LinkType, Received, Source};
use shrike::dataplane::decode::tcp_flags;
use shrike::sys::prefetch;
use shrike::units::{MICROSECOND, SECOND, Timestamp};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// A frame of 64 bytes on the wire, FCS apart: the smallest there is.
pub const FRAME_BYTES: usize = 60;
/// A frame's place in the arena: a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line([u8; 64]);
static EMPTY: Line = Line([0; 64]);

/// Capture time between two frames. A quarter of a million packets a second: new flows reach their time-outs, and windows
/// end, within the packets that a run has.
const GAP_NS: u64 = 4 * MICROSECOND;
/// How often the prelude, a packet of each flow either way, is given out: flows are then no longer in their first eight
/// packets, which cost more (first sizes, the first row) and which a flow that lives has behind it.
const PRELUDES: usize = 5;
/// The same where all flows grow evenly: past their row at 16 packets too, which would else be due for all at once.
const EVEN_PRELUDES: usize = 9;
/// Capture time of the first frame; any will do.
const BEGIN: Timestamp = Timestamp(1_700_000_000 * SECOND);

/// Frames of one size in one arena: a prelude that is given out once, then a lap again and again. Every so often a frame
/// of the lap gets a tuple that was never there before.
pub struct SyntheticSource {
    arena: Vec<Line>,
    frames: usize,
    prelude: usize,
    /// How often the prelude is still to be given out.
    preludes: usize,
    /// Every how many frames a flow begins; 0 for never.
    fresh_every: usize,
    fresh: u64,
    next: usize,
    held: usize,
    time: u64,
    left: u64,
}

impl SyntheticSource {
    /// How many frames may still be given out.
    pub fn allow(&mut self, frames: u64) {
        self.left += frames;
    }

    /// Frames of all preludes together.
    pub fn preludes(&self) -> u64 {
        (self.prelude * self.preludes) as u64
    }

    /// Renews the tuples that are due among the next `count` frames: 8192 clients, port by port, to 64 servers.
    fn renew(&mut self, count: usize) {
        let mut place = self.next.next_multiple_of(self.fresh_every);
        while place < self.next + count {
            if place >= self.prelude
                && let Some(Line(frame)) = self.arena.get_mut(place)
            {
                let (host, port) = ((self.fresh % 8192) as u16, 1024 + (self.fresh / 8192 % 64_000) as u16);
                frame[26..28].copy_from_slice(&[172, 16]);
                frame[28..30].copy_from_slice(&host.to_be_bytes());
                frame[30..34].copy_from_slice(&[192, 168, 255, (self.fresh % 64) as u8]);
                frame[34..36].copy_from_slice(&port.to_be_bytes());
                self.fresh += 1;
            }
            place += self.fresh_every;
        }
    }
}

impl Source for SyntheticSource {
    #[inline(always)]
    fn receive(&mut self, cap: usize) -> Received {
        if self.next == self.prelude && self.preludes > 1 {
            self.preludes -= 1;
            self.next = 0;
        }
        if self.next == self.frames {
            self.next = self.prelude;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let end = if self.next < self.prelude { self.prelude } else { self.frames };
        self.held = (end - self.next).min(cap).min(BURST_MAX).min(left);
        if self.fresh_every > 0 {
            self.renew(self.held);
        }
        Received { count: self.held, ..Received::default() }
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> FrameView<'_> {
        FrameView {
            port: 0,
            bytes: &self.arena.get(self.next + index).unwrap_or(&EMPTY).0[..FRAME_BYTES],
            wire_bytes: FRAME_BYTES as u32,
            time: Some(Timestamp(self.time + index as u64 * GAP_NS)),
            link: LinkType::Ethernet,
        }
    }

    #[inline(always)]
    fn prefetch(&self, index: usize) {
        prefetch::nth(&self.arena, self.next + index);
    }

    #[inline(always)]
    fn release(&mut self) {
        self.next += self.held;
        self.left -= self.held as u64;
        self.time += self.held as u64 * GAP_NS;
        self.held = 0;
    }

    fn wait(&mut self, _limit: Duration) {}
}

/// splitmix64 (Steele, Lea, Flood 2014); traffic must be the same in every run.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Adds a TCP segment of flow `number`, the one or the other way.
fn push(arena: &mut Vec<Line>, number: usize, reverse: bool, flags: u8) {
    let number = number as u32;
    // Neighbours in popularity are neighbours in nothing else.
    let spread = number.wrapping_mul(0x9e37_79b1);
    let client = [10, (number >> 16) as u8, (number >> 8) as u8, number as u8];
    let server = [192, 168, (spread >> 24) as u8, (spread >> 16) as u8];
    let ports = (32_768 + (spread & 0x3fff) as u16, [443, 80, 22, 8443][number as usize & 3]);
    let (from, to, ports) = if reverse { (server, client, (ports.1, ports.0)) } else { (client, server, ports) };
    let mut frame = [0; 64];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame[26..30].copy_from_slice(&from);
    frame[30..34].copy_from_slice(&to);
    frame[34..36].copy_from_slice(&ports.0.to_be_bytes());
    frame[36..38].copy_from_slice(&ports.1.to_be_bytes());
    (frame[46], frame[47], frame[48]) = (0x50, flags, 0x20);
    arena.push(Line(frame));
}

/// An arena with room for `lap` frames after a packet of each flow either way.
fn prelude(flows: usize, lap: usize) -> Vec<Line> {
    let mut arena = Vec::with_capacity(2 * flows + lap);
    for number in 0..flows {
        push(&mut arena, number, false, tcp_flags::ACK);
        push(&mut arena, number, true, tcp_flags::ACK);
    }
    arena
}

fn synthetic(arena: Vec<Line>, prelude: usize, fresh_every: usize) -> SyntheticSource {
    let frames = arena.len();
    SyntheticSource {
        arena,
        frames,
        prelude,
        preludes: PRELUDES,
        fresh_every,
        fresh: 0,
        next: 0,
        held: 0,
        time: BEGIN.0,
        left: 0,
    }
}

/// `flows` flows, each as likely as any other to send the next packet, all of them there and answered from the start (the
/// prelude), and no new ones.
pub fn uniform(flows: usize) -> SyntheticSource {
    let mut random = Random(7);
    let lap = (2 * flows).clamp(1 << 16, 1 << 21);
    let mut arena = prelude(flows, lap);
    let prelude = arena.len();
    for _ in 0..lap {
        let number = random.below(2 * flows);
        push(&mut arena, number / 2, number & 1 != 0, tcp_flags::ACK | tcp_flags::PSH);
    }
    // Of ten million flows none gets so far in a measured stretch.
    let preludes = if flows > 2_000_000 { PRELUDES } else { EVEN_PRELUDES };
    SyntheticSource { preludes, ..synthetic(arena, prelude, 0) }
}

/// `flows` flows of which the one of rank `r` sends in proportion to `r^-exponent`, all of them there and answered from
/// the start (the prelude), and a new one, a SYN, every `fresh_every` frames.
pub fn zipf(flows: usize, exponent: f64, lap: usize, fresh_every: usize) -> SyntheticSource {
    let mut random = Random(7);
    let mut cumulative = Vec::with_capacity(flows);
    let mut sum = 0.0;
    for rank in 1..=flows {
        sum += (rank as f64).powf(-exponent);
        cumulative.push(sum);
    }
    let mut arena = prelude(flows, lap);
    let prelude = arena.len();
    for place in prelude..prelude + lap {
        if place.is_multiple_of(fresh_every) {
            push(&mut arena, 0, false, tcp_flags::SYN);
            continue;
        }
        let point = random.unit() * sum;
        let rank = cumulative.partition_point(|bound| *bound < point).min(flows - 1);
        push(&mut arena, rank, random.next() & 1 != 0, tcp_flags::ACK | tcp_flags::PSH);
    }
    synthetic(arena, prelude, fresh_every)
}

/// Nothing but SYNs of flows never seen before: the hostile case.
pub fn flood() -> SyntheticSource {
    let mut arena = Vec::new();
    for number in 0..1 << 16 {
        push(&mut arena, number, false, tcp_flags::SYN);
    }
    synthetic(arena, 0, 1)
}

/// Writes what `source` gives, at most `frames` frames, as a capture file (pcap, nanoseconds, Ethernet).
pub fn write_pcap(mut source: SyntheticSource, frames: u64, path: &Path) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    for word in [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, 65_535, 1_u32] {
        file.write_all(&word.to_le_bytes())?;
    }
    source.allow(frames);
    loop {
        let burst = source.receive(BURST_MAX);
        if burst.count == 0 {
            return Ok(file.flush()?);
        }
        for index in 0..burst.count {
            let view = source.frame(index);
            let Timestamp(time) = view.time.unwrap_or_default();
            let length = u32::try_from(view.bytes.len())?;
            for word in [u32::try_from(time / SECOND)?, (time % SECOND) as u32, length, view.wire_bytes] {
                file.write_all(&word.to_le_bytes())?;
            }
            file.write_all(view.bytes)?;
        }
        source.release();
    }
}

/// Every frame of the captures below `folder`, one file after the other on one time line.
pub fn captures(folder: &Path) -> anyhow::Result<LoopFrames> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut frames = LoopFrames::new(64);
    let mut begin = BEGIN;
    for file in files {
        let Ok(mut source) = PcapSource::open(&[file], Speed::Max) else { continue };
        let (mut first, mut latest) = (None, begin);
        loop {
            let burst = source.receive(BURST_MAX);
            for index in 0..burst.count {
                let view = source.frame(index);
                let time = view.time.unwrap_or_default();
                let first = *first.get_or_insert(time);
                latest = begin.after(time.since(first));
                anyhow::ensure!(frames.push(view.bytes, view.wire_bytes, latest, view.link), "the arena is full");
            }
            source.release();
            if burst.ended {
                break;
            }
        }
        begin = latest.after(SECOND);
    }
    Ok(frames)
}
