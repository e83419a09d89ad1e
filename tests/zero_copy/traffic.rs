//! Random conversations, both ways, as frames: nothing about them was chosen to suit a queue, a hash or a detector.

use std::net::Ipv4Addr;

/// Smallest frame sent, without FCS: what an Ethernet pads to.
const MIN_FRAME: usize = 60;

/// One direction's addresses and ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// TCP (6) or UDP (17).
    pub protocol: u8,
}

impl Tuple {
    /// The other way.
    pub fn reversed(&self) -> Tuple {
        Tuple {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// One frame to send.
pub struct Sent {
    /// Which conversation.
    pub flow: usize,
    /// From the responder.
    pub reverse: bool,
    /// On the wire.
    pub bytes: Vec<u8>,
}

/// xorshift64*: enough to be nobody's choice, and the seed reproduces a run.
pub struct Random(u64);

impl Random {
    /// From a seed that must not be 0.
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// `0..limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}

/// Conversations and their frames, shuffled into one another as on a shared wire.
pub struct Traffic {
    /// Originator to responder, one for each conversation, all different.
    pub flows: Vec<Tuple>,
    /// In the order of sending.
    pub frames: Vec<Sent>,
}

impl Traffic {
    /// `flows` conversations of 6 to 24 frames.
    pub fn random(flows: usize, random: &mut Random) -> Traffic {
        let mut tuples: Vec<Tuple> = Vec::with_capacity(flows);
        while tuples.len() < flows {
            let tuple = random_tuple(random);
            if !tuples.iter().any(|other| *other == tuple || *other == tuple.reversed()) {
                tuples.push(tuple);
            }
        }
        let mut waiting: Vec<(usize, Vec<Sent>)> = tuples
            .iter()
            .enumerate()
            .map(|(flow, tuple)| {
                let mut frames = conversation(flow, tuple, random);
                frames.reverse();
                (flow, frames)
            })
            .collect();
        let mut frames = Vec::new();
        // Some 40 conversations are under way at once; each keeps its own order.
        while !waiting.is_empty() {
            let pick = random.below(waiting.len().min(40) as u64) as usize;
            match waiting[pick].1.pop() {
                Some(frame) => frames.push(frame),
                None => drop(waiting.remove(pick)),
            }
        }
        Traffic { flows: tuples, frames }
    }
}

fn random_tuple(random: &mut Random) -> Tuple {
    // Unicast addresses of any kind a wire may carry: 1.0.0.0 to 223.255.255.255 without loopback.
    let mut address = || loop {
        let address = Ipv4Addr::from_bits((random.below(223) as u32 + 1) << 24 | random.below(1 << 24) as u32);
        if !address.is_loopback() {
            return address;
        }
    };
    let (source, destination) = (address(), address());
    let mut port = |low: u64| (low + random.below(65_536 - low)) as u16;
    let (source_port, destination_port) = (port(1_024), port(1));
    let protocol = if random.below(3) == 0 { 17 } else { 6 };
    Tuple { source, destination, source_port, destination_port, protocol }
}

fn conversation(flow: usize, tuple: &Tuple, random: &mut Random) -> Vec<Sent> {
    let exchanges = 3 + random.below(10);
    let mut frames = Vec::new();
    let (mut sequence, mut answer) = (random.next() as u32, random.next() as u32);
    let mut push = |reverse: bool, flags: u8, data: usize| {
        let way = if reverse { tuple.reversed() } else { *tuple };
        let (seq, ack) = if reverse { (&mut answer, &mut sequence) } else { (&mut sequence, &mut answer) };
        let bytes = frame(&way, *seq, if flags & 0x10 == 0 { 0 } else { *ack }, flags, data);
        *seq = seq.wrapping_add(data as u32 + u32::from(flags & 2 != 0));
        frames.push(Sent { flow, reverse, bytes });
    };
    if tuple.protocol == 6 {
        push(false, 0x02, 0);
        push(true, 0x12, 0);
        push(false, 0x10, 0);
    }
    for _ in 0..exchanges {
        push(false, 0x18, random.below(200) as usize + 1);
        push(true, 0x18, random.below(1_200) as usize + 1);
    }
    frames
}

fn frame(way: &Tuple, sequence: u32, acknowledged: u32, flags: u8, data: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0x00];
    let transport = if way.protocol == 6 { 20 } else { 8 };
    let total = (20 + transport + data) as u16;
    bytes.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, way.protocol, 0, 0]);
    bytes[16..18].copy_from_slice(&total.to_be_bytes());
    bytes.extend(way.source.octets());
    bytes.extend(way.destination.octets());
    let sum = checksum(&bytes[14..34], 0);
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(way.source_port.to_be_bytes());
    bytes.extend(way.destination_port.to_be_bytes());
    if way.protocol == 6 {
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(acknowledged.to_be_bytes());
        bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        bytes.extend(((8 + data) as u16).to_be_bytes());
        bytes.extend([0, 0]);
    }
    bytes.resize(bytes.len() + data, 0x5a);
    let pseudo: u32 = way.source.octets().chunks(2).chain(way.destination.octets().chunks(2)).map(word).sum::<u32>()
        + u32::from(way.protocol)
        + (transport + data) as u32;
    let sum = checksum(&bytes[34..], pseudo);
    let at = 34 + if way.protocol == 6 { 16 } else { 6 };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    if bytes.len() < MIN_FRAME {
        bytes.resize(MIN_FRAME, 0);
    }
    bytes
}

fn word(pair: &[u8]) -> u32 {
    u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start + bytes.chunks(2).map(word).sum::<u32>();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn frames_are_what_an_independent_parser_takes_them_for() {
    let traffic = Traffic::random(50, &mut Random::new(7));
    for sent in &traffic.frames {
        let packet = etherparse::SlicedPacket::from_ethernet(&sent.bytes).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let want = traffic.flows[sent.flow];
        let want = if sent.reverse { want.reversed() } else { want };
        assert_eq!((header.source, header.destination), (want.source.octets(), want.destination.octets()));
        match &packet.transport {
            Some(etherparse::TransportSlice::Tcp(tcp)) => {
                assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(header.source, header.destination).unwrap());
                assert_eq!((tcp.source_port(), want.protocol), (want.source_port, 6));
            }
            Some(etherparse::TransportSlice::Udp(udp)) => {
                assert_eq!(udp.checksum(), udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap());
                assert_eq!((udp.destination_port(), want.protocol), (want.destination_port, 17));
            }
            other => panic!("{other:?}"),
        }
    }
}
