//! Writers of both formats in every variant, for tests.

use super::input::Limits;
use super::pace::Speed;
use super::reader::Reader;
use super::source::PcapSource;
use crate::dataplane::capture::{BURST_MAX, LinkType, Source};
use std::io::Cursor;

/// Writes numbers in one byte order.
pub struct Writer {
    /// Big-endian?
    pub big: bool,
    /// What was written.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// Nothing yet.
    pub fn new(big: bool) -> Writer {
        Writer { big, bytes: Vec::new() }
    }

    /// 16 bits.
    pub fn u16(&mut self, value: u16) -> &mut Writer {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    /// 32 bits.
    pub fn u32(&mut self, value: u32) -> &mut Writer {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    /// Header of a pcap file.
    pub fn classic(&mut self, magic: u32, version: (u16, u16), network: u32) -> &mut Writer {
        self.u32(magic).u16(version.0).u16(version.1).u32(0).u32(0).u32(65_535).u32(network)
    }

    /// Record of a pcap file.
    pub fn record(&mut self, seconds: u32, ticks: u32, captured: u32, wire: u32, data: &[u8]) -> &mut Writer {
        self.u32(seconds).u32(ticks).u32(captured).u32(wire);
        self.bytes.extend(data);
        self
    }

    /// pcapng block round a body, padded.
    pub fn block(&mut self, kind: u32, body: impl FnOnce(&mut Writer)) -> &mut Writer {
        let mut inner = Writer::new(self.big);
        body(&mut inner);
        inner.bytes.resize(inner.bytes.len().next_multiple_of(4), 0);
        let length = inner.bytes.len() as u32 + 12;
        self.u32(kind).u32(length);
        self.bytes.extend(inner.bytes);
        self.u32(length)
    }

    /// Section header.
    pub fn section(&mut self) -> &mut Writer {
        self.block(0x0a0d_0d0a, |w| {
            w.u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX);
        })
    }

    /// Interface with options (code, value).
    pub fn interface(&mut self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> &mut Writer {
        self.block(1, |w| {
            w.u16(link).u16(0).u32(snap);
            for (code, value) in options {
                w.u16(*code).u16(value.len() as u16);
                w.bytes.extend(*value);
                w.bytes.resize(w.bytes.len().next_multiple_of(4), 0);
            }
            if !options.is_empty() {
                w.u32(0);
            }
        })
    }

    /// Enhanced packet.
    pub fn enhanced(&mut self, interface: u32, ticks: u64, wire: u32, data: &[u8]) -> &mut Writer {
        self.block(6, |w| {
            w.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32).u32(data.len() as u32).u32(wire);
            w.bytes.extend(data);
        })
    }
}

/// One frame as a source gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Contents.
    pub bytes: Vec<u8>,
    /// Length on the wire.
    pub wire: u32,
    /// Nanoseconds.
    pub time: u64,
    /// Link type.
    pub link: LinkType,
}

/// A source over bytes.
pub fn source(bytes: &[u8]) -> PcapSource {
    let reader = Reader::from_stream("test", Box::new(Cursor::new(bytes.to_vec())), Limits::default());
    PcapSource::new(reader.expect("a capture"), Speed::Max)
}

/// Everything a source gives, in bursts of `cap`.
pub fn drain(source: &mut impl Source, cap: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let burst = source.receive(cap);
        assert!(burst.count <= cap.min(BURST_MAX));
        for index in 0..burst.count {
            source.prefetch(index);
            let frame = source.frame(index);
            seen.push(Seen {
                bytes: frame.bytes.to_vec(),
                wire: frame.wire_bytes,
                time: frame.time.unwrap_or_default().0,
                link: frame.link,
            });
        }
        source.release();
        if burst.ended {
            return seen;
        }
    }
}
