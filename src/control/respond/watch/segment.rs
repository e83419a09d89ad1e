//! TCP segments on Ethernet: read from frames that were copied, and made to be sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// VLAN tags that are followed.
const TAGS_MAX: usize = 4;
/// Headers between IPv6 and TCP that are followed (RFC 8200).
const EXTENSIONS_MAX: usize = 8;
/// Shortest frame on Ethernet, without FCS.
const FRAME_MIN: usize = 60;
/// Of what we send: as a host on the link that has not been routed would.
const HOPS: u8 = 64;

/// Flags of TCP (RFC 9293 section 3.1).
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Ends a connection at once.
    pub const RST: u8 = 4;
    /// The acknowledgement counts.
    pub const ACK: u8 = 16;
}

/// An address and a port.
pub type End = (IpAddr, u16);

/// What a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// The frame up to the IP header: cards, tags, EtherType.
    pub link: &'a [u8],
    /// Who sent it.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement; of no meaning without the flag.
    pub acknowledgement: u32,
    /// See [`flag`].
    pub flags: u8,
    /// Bytes of payload.
    pub payload: u32,
}

impl Segment<'_> {
    /// The sequence number behind it: what its receiver waits for next.
    pub fn next(&self) -> u32 {
        let controls = u32::from(self.flags & flag::SYN != 0) + u32::from(self.flags & flag::FIN != 0);
        self.sequence.wrapping_add(self.payload).wrapping_add(controls)
    }

    /// Has it this flag?
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|two| u16::from_be_bytes(*two))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_be_bytes(*four))
}

/// The segment in a frame; `None`: it is none, is in a tunnel, or is a fragment.
pub fn read(frame: &[u8]) -> Option<Segment<'_>> {
    let mut at = 12;
    let mut kind = half(frame, at)?;
    for _ in 0..TAGS_MAX {
        if matches!(kind, 0x8100 | 0x88a8 | 0x9100) {
            at += 4;
            kind = half(frame, at)?;
        }
    }
    let (link, ip) = frame.split_at_checked(at + 2)?;
    let (source, destination, tcp, length) = match kind {
        0x0800 => {
            let header = usize::from(ip.first()? & 15) * 4;
            let fragment = half(ip, 6)? & 0x3fff;
            if ip.first()? >> 4 != 4 || header < 20 || *ip.get(9)? != 6 || fragment != 0 {
                return None;
            }
            // 0: the sender's NIC was to cut it (as in `decode`).
            let total = match half(ip, 2)? {
                0 => ip.len(),
                total => usize::from(total),
            };
            let of = |at: usize| ip.get(at..)?.first_chunk::<4>().map(|four| IpAddr::from(Ipv4Addr::from(*four)));
            (of(12)?, of(16)?, ip.get(header..)?, total.checked_sub(header)?)
        }
        0x86dd => {
            let (mut next, mut begin) = (*ip.get(6)?, 40);
            for _ in 0..EXTENSIONS_MAX {
                if !matches!(next, 0 | 43 | 60) {
                    break;
                }
                next = *ip.get(begin)?;
                begin += (usize::from(*ip.get(begin + 1)?) + 1) * 8;
            }
            if next != 6 {
                return None;
            }
            let total = match half(ip, 4)? {
                0 => ip.len(),
                total => 40 + usize::from(total),
            };
            let of = |at: usize| ip.get(at..)?.first_chunk::<16>().map(|many| IpAddr::from(Ipv6Addr::from(*many)));
            (of(8)?, of(24)?, ip.get(begin..)?, total.checked_sub(begin)?)
        }
        _ => return None,
    };
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    Some(Segment {
        link,
        source: (source, half(tcp, 0)?),
        destination: (destination, half(tcp, 2)?),
        sequence: word(tcp, 4)?,
        acknowledgement: word(tcp, 8)?,
        flags: *tcp.get(13)?,
        payload: u32::try_from(length.checked_sub(header)?).ok()?,
    })
}

/// A frame with a segment without payload or options, checksums and padding in place; `None`: the two ends are of two families.
pub fn write(link: &[u8], from: End, to: End, (sequence, acknowledgement): (u32, u32), flags: u8) -> Option<Vec<u8>> {
    let mut tcp = [0_u8; 20];
    let fields: [&[u8]; 6] = [
        &from.1.to_be_bytes(),
        &to.1.to_be_bytes(),
        &sequence.to_be_bytes(),
        &acknowledgement.to_be_bytes(),
        &[5 << 4, flags],
        // A window: of a reset without meaning, of a question that of a host that has room.
        &[0x40, 0, 0, 0, 0, 0],
    ];
    tcp.iter_mut().zip(fields.concat()).for_each(|(place, byte)| *place = byte);
    let mut frame = link.to_vec();
    let sum = match (from.0, to.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = [0x45, 0, 0, 40, 0, 0, 0x40, 0, HOPS, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            ip[12..16].copy_from_slice(&source.octets());
            ip[16..].copy_from_slice(&destination.octets());
            let sum = checksum(&[&ip]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend(ip);
            checksum(&[&source.octets(), &destination.octets(), &[0, 6, 0, 20], &tcp])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x60, 0, 0, 0, 0, 20, 6, HOPS]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            checksum(&[&source.octets(), &destination.octets(), &[0, 0, 0, 20, 0, 0, 0, 6], &tcp])
        }
        _ => return None,
    };
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    frame.extend(tcp);
    frame.resize(frame.len().max(FRAME_MIN), 0);
    Some(frame)
}

/// The checksum of the Internet (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.as_chunks::<2>().0);
    let mut sum: u32 = pairs.map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16) // folded into 16 bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_by_us_and_by_others() {
        let plain = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for (tags, from, to) in [
            (&[][..], "10.0.0.1", "10.0.0.2"),
            (&[0x81, 0, 0, 5][..], "192.0.2.1", "198.51.100.2"),
            (&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6][..], "2001:db8::1", "2001:db8::2"),
        ] {
            let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let kind: [u8; 2] = if from.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
            let link = [&plain[..], tags, &kind].concat();
            let (from, to) = ((from, 4000), (to, 80));
            let frame = write(&link, from, to, (u32::MAX, 7), flag::RST | flag::ACK).unwrap();
            let found = read(&frame).unwrap();
            assert_eq!((found.link, found.source, found.destination), (&link[..], from, to));
            assert_eq!((found.sequence, found.acknowledgement, found.flags), (u32::MAX, 7, 20));
            assert_eq!((found.payload, found.next()), (0, u32::MAX), "padding is no payload");
            let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(etherparse::TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("{sliced:?}") };
            match sliced.net.as_ref().unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(header.header_checksum, header.calc_header_checksum());
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(header.source, header.destination).unwrap());
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(header.source, header.destination).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(write(&[0; 14], ("10.0.0.1".parse().unwrap(), 1), ("::1".parse().unwrap(), 1), (0, 0), 0), None);
    }

    #[test]
    fn a_segment_ends_where_its_data_and_controls_do() {
        let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut frame = Vec::new();
        let builder = builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(9, 80, 1000, 1024).syn().fin();
        builder.write(&mut frame, &[7; 30]).unwrap();
        let found = read(&frame).unwrap();
        assert_eq!((found.payload, found.next(), found.has(flag::SYN), found.has(flag::ACK)), (30, 1032, true, false));
        // Cut anywhere it is none, or one by its headers; never a panic.
        for length in 0..frame.len() {
            let whole = length >= 54;
            assert_eq!(read(&frame[..length]).is_some(), whole || length >= 48, "{length}");
        }
        frame[20] = 0x20; // more fragments
        assert_eq!(read(&frame), None);
    }
}
