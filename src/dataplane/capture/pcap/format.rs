//! The two file formats over a byte slice: no I/O, no allocation per record, no panic whatever the bytes are.
//!
//! Untrusted input. pcap: <https://datatracker.ietf.org/doc/html/draft-ietf-opsawg-pcap>; pcapng:
//! <https://datatracker.ietf.org/doc/html/draft-ietf-opsawg-pcapng>. The parser is asked for the record that begins at
//! the first byte; it answers with the record, with what to skip, with how many bytes it needs, or with what is wrong.

use super::finding::FindingKind;
use crate::dataplane::capture::LinkType;
use crate::units::{MICROSECOND, SECOND};

/// Largest frame believed, bytes: libpcap's `MAXIMUM_SNAPLEN`. Larger ones are a damaged file in practice, and a
/// buffer that could hold them would be an attacker's choice.
pub const FRAME_MAX: usize = 262_144;
/// Largest pcapng block that is looked into, bytes: a largest frame and 64 KiB of options. Longer blocks that carry no
/// packet are skipped unseen.
pub const BLOCK_MAX: usize = FRAME_MAX + 65_536;
/// Interfaces kept for one pcapng section; 32 bytes each.
pub const INTERFACES_MAX: usize = 4096;

/// Where a frame lies, relative to the bytes given to the parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// First byte of the frame.
    pub start: u32,
    /// Bytes of it that the file holds.
    pub captured: u32,
    /// Bytes of it that were on the wire, without FCS.
    pub wire: u32,
    /// Capture time, nanoseconds since the epoch.
    pub time: u64,
    /// What the first byte is.
    pub link: LinkType,
}

/// Answer of the parser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A frame; the next record begins `usize` bytes on.
    Frame(Record, usize),
    /// Nothing of interest; the next record begins that many bytes on, maybe beyond the bytes given.
    Skip(u64),
    /// That many bytes from the first one are needed.
    Need(usize),
    /// Something is wrong but the next record can be found that many bytes on.
    Odd(FindingKind, String, u64),
    /// Something is wrong and what follows cannot be found.
    Broken(FindingKind, String),
}

/// Reads records of the format that the first four bytes announced.
#[derive(Clone, Debug)]
pub enum Parser {
    /// Classic pcap.
    Classic(Classic),
    /// pcapng.
    Ng(Ng),
}

/// Bytes of the pcap file header.
pub const CLASSIC_HEADER: usize = 24;

impl Parser {
    /// For a file without a single record.
    pub fn of_nothing() -> Parser {
        Parser::Ng(Ng::new())
    }

    /// Looks at the first bytes of a file. `Ok(None)`: more are needed ([`CLASSIC_HEADER`] always suffice);
    /// `Err(())`: no capture. The number is how many bytes the file header takes.
    #[allow(clippy::result_unit_err)] // the caller has the path and the bytes to say what is wrong
    pub fn detect(bytes: &[u8]) -> Result<Option<(Parser, usize)>, ()> {
        let Some(magic) = bytes.first_chunk::<4>() else { return Ok(None) };
        let magic = u32::from_le_bytes(*magic);
        if magic == SECTION {
            return Ok(Some((Parser::Ng(Ng::new()), 0)));
        }
        let (order, kind) = match (magic, magic.swap_bytes()) {
            (MICRO | NANO | MODIFIED, _) => (Order::Little, magic),
            (_, swapped @ (MICRO | NANO | MODIFIED)) => (Order::Big, swapped),
            _ => return Err(()),
        };
        let Some(header) = bytes.first_chunk::<CLASSIC_HEADER>() else { return Ok(None) };
        Ok(Some((Parser::Classic(Classic::new(header, order, kind)), CLASSIC_HEADER)))
    }

    /// The record that begins at the first of `bytes`.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> Step {
        match self {
            Parser::Classic(classic) => classic.next(bytes),
            Parser::Ng(ng) => ng.next(bytes),
        }
    }
}

/// Link type of a LINKTYPE number (<https://www.tcpdump.org/linktypes.html>).
pub fn link_type(number: u16) -> LinkType {
    match number {
        1 => LinkType::Ethernet,
        12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
        0 | 108 => LinkType::Null,
        113 => LinkType::LinuxSll,
        276 => LinkType::LinuxSll2,
        9 | 50 | 104 => LinkType::Ppp,
        other => LinkType::Other(other),
    }
}

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetsov's modified format of old Red Hat systems: 8 more bytes in each record header.
const MODIFIED: u32 = 0xa1b2_cd34;
const SECTION: u32 = 0x0a0d_0d0a;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    #[inline(always)]
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        match self {
            Order::Little => u32::from_le_bytes(word),
            Order::Big => u32::from_be_bytes(word),
        }
    }

    #[inline(always)]
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()).copied().unwrap_or_default();
        match self {
            Order::Little => u16::from_le_bytes(word),
            Order::Big => u16::from_be_bytes(word),
        }
    }

    fn i64(self, bytes: &[u8], at: usize) -> i64 {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).copied().unwrap_or_default();
        match self {
            Order::Little => i64::from_le_bytes(word),
            Order::Big => i64::from_be_bytes(word),
        }
    }
}

/// A frame's two lengths as they are used: never more wire bytes than the FCS leaves, never fewer than captured.
#[inline(always)]
fn lengths(captured: u32, wire: u32, fcs: u32) -> (u32, u32) {
    if fcs == 0 {
        return (captured, wire.max(captured));
    }
    let body = wire.max(captured).saturating_sub(fcs);
    (captured.min(body), body)
}

/// Classic pcap.
#[derive(Clone, Debug)]
pub struct Classic {
    order: Order,
    header: usize,
    nanoseconds_per_tick: u64,
    lengths_swapped: Swapped,
    fcs: u32,
    link: LinkType,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Swapped {
    Never,
    IfCapturedIsLonger,
    Always,
}

impl Classic {
    fn new(header: &[u8; CLASSIC_HEADER], order: Order, kind: u32) -> Classic {
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        let network = order.u32(header, 20);
        // Bit 26: an FCS length in 16-bit units stands in the top four bits (draft-ietf-opsawg-pcap section 4).
        let fcs = if network & 1 << 26 == 0 { 0 } else { (network >> 28) * 2 };
        Classic {
            order,
            header: if kind == MODIFIED { 24 } else { 16 },
            nanoseconds_per_tick: if kind == NANO { 1 } else { MICROSECOND },
            // Old writers exchanged the two lengths: before 2.3 always, in 2.3 some (libpcap, sf-pcap.c).
            lengths_swapped: match (major, minor) {
                (543, _) | (2, 0..=2) => Swapped::Always,
                (2, 3) => Swapped::IfCapturedIsLonger,
                _ => Swapped::Never,
            },
            fcs,
            link: link_type((network & 0xffff) as u16),
        }
    }

    #[inline]
    fn next(&mut self, bytes: &[u8]) -> Step {
        let Some(header) = bytes.first_chunk::<16>() else { return Step::Need(self.header) };
        let (seconds, ticks) = (self.order.u32(header, 0), self.order.u32(header, 4));
        let (mut captured, mut wire) = (self.order.u32(header, 8), self.order.u32(header, 12));
        let swap = match self.lengths_swapped {
            Swapped::Never => false,
            Swapped::IfCapturedIsLonger => captured > wire,
            Swapped::Always => true,
        };
        if swap {
            std::mem::swap(&mut captured, &mut wire);
        }
        if captured as usize > FRAME_MAX {
            return Step::Broken(
                FindingKind::RecordLength,
                format!("a record of {captured} captured bytes, at most {FRAME_MAX} are believed"),
            );
        }
        let length = self.header + captured as usize;
        if bytes.len() < length {
            return Step::Need(length);
        }
        let (captured, wire) = lengths(captured, wire, self.fcs);
        let time = u64::from(seconds) * SECOND + u64::from(ticks) * self.nanoseconds_per_tick;
        Step::Frame(Record { start: self.header as u32, captured, wire, time, link: self.link }, length)
    }
}

/// How an interface counts time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Resolution {
    /// Ticks of that many nanoseconds.
    Multiply(u64),
    /// That many ticks to a nanosecond.
    Divide(u64),
    /// 2^n ticks to a second.
    Binary(u32),
}

impl Resolution {
    /// `if_tsresol`: the high bit chooses between powers of ten and of two.
    fn new(option: u8) -> Resolution {
        let exponent = u32::from(option & 0x7f);
        if option & 0x80 != 0 {
            return Resolution::Binary(exponent);
        }
        match exponent {
            0..=9 => Resolution::Multiply(10_u64.pow(9 - exponent)),
            10..=28 => Resolution::Divide(10_u64.pow(exponent - 9)),
            _ => Resolution::Divide(u64::MAX),
        }
    }

    #[inline(always)]
    fn nanoseconds(self, ticks: u64) -> u64 {
        match self {
            Resolution::Multiply(by) => ticks.saturating_mul(by),
            Resolution::Divide(by) => ticks / by.max(1),
            Resolution::Binary(bits) => {
                u64::try_from((u128::from(ticks) * u128::from(SECOND)) >> bits.min(127)).unwrap_or(u64::MAX)
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    snap: u32,
    fcs: u32,
    resolution: Resolution,
    offset_ns: i64,
}

impl Interface {
    #[inline(always)]
    fn time(&self, high: u32, low: u32) -> u64 {
        let ticks = u64::from(high) << 32 | u64::from(low);
        self.resolution.nanoseconds(ticks).saturating_add_signed(self.offset_ns)
    }
}

/// pcapng.
#[derive(Clone, Debug)]
pub struct Ng {
    order: Order,
    interfaces: Vec<Interface>,
    /// Latest time seen, for simple packet blocks, which carry none.
    latest: u64,
}

/// Kinds of packet block that differ in their header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PacketBlock {
    Enhanced,
    Obsolete,
}

impl Ng {
    fn new() -> Ng {
        Ng { order: Order::Little, interfaces: Vec::new(), latest: 0 }
    }

    #[inline]
    fn next(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() < 12 {
            return Step::Need(12);
        }
        // The section header's type reads the same both ways; its byte-order magic says which way the rest is.
        let mut kind = self.order.u32(bytes, 0);
        if kind == SECTION {
            self.order = match bytes.get(8..12) {
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
                other => {
                    return Step::Broken(
                        FindingKind::SectionVersion,
                        format!("byte-order magic {:02x?}", other.unwrap_or_default()),
                    );
                }
            };
            kind = SECTION;
        }
        let length = self.order.u32(bytes, 4);
        if length < 12 || !length.is_multiple_of(4) {
            return Step::Broken(FindingKind::BlockLength, format!("a block of {length} bytes"));
        }
        let looked_into = matches!(kind, SECTION | 1 | 2 | 3 | 6);
        if !looked_into {
            return Step::Skip(u64::from(length));
        }
        let length = length as usize;
        if length > BLOCK_MAX {
            return Step::Broken(
                FindingKind::BlockLength,
                format!("a block of type {kind} and {length} bytes, at most {BLOCK_MAX} are believed"),
            );
        }
        let Some(block) = bytes.get(..length) else { return Step::Need(length) };
        let again = self.order.u32(block, length - 4) as usize;
        if again != length {
            return Step::Broken(
                FindingKind::BlockLength,
                format!("a block of {length} bytes that ends with the length {again}"),
            );
        }
        let body = block.get(8..length - 4).unwrap_or_default();
        match kind {
            6 => self.packet(body, length, PacketBlock::Enhanced),
            2 => self.packet(body, length, PacketBlock::Obsolete),
            3 => self.simple(body, length),
            1 => self.interface(body, length),
            _ => self.section(body, length),
        }
    }

    fn section(&mut self, body: &[u8], length: usize) -> Step {
        let major = self.order.u16(body, 4);
        if body.len() < 16 || major != 1 {
            return Step::Broken(FindingKind::SectionVersion, format!("a section of major version {major}"));
        }
        self.interfaces.clear();
        Step::Skip(length as u64)
    }

    fn interface(&mut self, body: &[u8], length: usize) -> Step {
        let order = self.order;
        let next = length as u64;
        if body.len() < 8 {
            return Step::Odd(FindingKind::BlockContents, "an interface block without its header".into(), next);
        }
        if self.interfaces.len() >= INTERFACES_MAX {
            let detail = format!("more than {INTERFACES_MAX} interfaces in a section");
            return Step::Odd(FindingKind::TooManyInterfaces, detail, next);
        }
        let mut interface = Interface {
            link: link_type(order.u16(body, 0)),
            snap: order.u32(body, 4),
            fcs: 0,
            resolution: Resolution::Multiply(MICROSECOND),
            offset_ns: 0,
        };
        let mut rest = body.get(8..).unwrap_or_default();
        while rest.len() >= 4 {
            let (code, bytes) = (order.u16(rest, 0), usize::from(order.u16(rest, 2)));
            let Some(value) = rest.get(4..4 + bytes) else { break };
            match (code, value) {
                (0, _) => break,
                (9, [resolution]) => interface.resolution = Resolution::new(*resolution),
                // In bits; 0 where the FCS was not captured.
                (13, [bits]) => interface.fcs = u32::from(*bits) / 8,
                (14, [_, _, _, _, _, _, _, _]) => {
                    interface.offset_ns = order.i64(value, 0).saturating_mul(SECOND as i64);
                }
                _ => {}
            }
            rest = rest.get(4 + bytes.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Step::Skip(next)
    }

    #[inline]
    fn packet(&mut self, body: &[u8], length: usize, block: PacketBlock) -> Step {
        let order = self.order;
        if body.len() < 20 {
            return Step::Odd(FindingKind::BlockContents, "a packet block without its header".into(), length as u64);
        }
        let number = match block {
            PacketBlock::Enhanced => order.u32(body, 0),
            PacketBlock::Obsolete => u32::from(order.u16(body, 0)),
        };
        let Some(interface) = self.interfaces.get(number as usize) else {
            let detail = format!("a packet of interface {number}, {} are described", self.interfaces.len());
            return Step::Odd(FindingKind::UnknownInterface, detail, length as u64);
        };
        let (captured, wire) = (order.u32(body, 12), order.u32(body, 16));
        if captured as usize > (body.len() - 20).min(FRAME_MAX) {
            let detail = format!("a packet of {captured} captured bytes in a block of {length}");
            return Step::Odd(FindingKind::BlockContents, detail, length as u64);
        }
        let time = interface.time(order.u32(body, 4), order.u32(body, 8));
        self.latest = time;
        let (captured, wire) = lengths(captured, wire, interface.fcs);
        Step::Frame(Record { start: 28, captured, wire, time, link: interface.link }, length)
    }

    fn simple(&mut self, body: &[u8], length: usize) -> Step {
        let Some(interface) = self.interfaces.first() else {
            let detail = "a simple packet before any interface is described".into();
            return Step::Odd(FindingKind::UnknownInterface, detail, length as u64);
        };
        if body.len() < 4 {
            return Step::Odd(FindingKind::BlockContents, "a simple packet without its header".into(), length as u64);
        }
        let wire = self.order.u32(body, 0);
        let snap = if interface.snap == 0 { u32::MAX } else { interface.snap };
        let captured = wire.min(snap).min((body.len() - 4).min(FRAME_MAX) as u32);
        let (captured, wire) = lengths(captured, wire, interface.fcs);
        Step::Frame(Record { start: 12, captured, wire, time: self.latest, link: interface.link }, length)
    }
}
