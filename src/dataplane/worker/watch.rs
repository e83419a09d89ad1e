//! A queue's frames that somebody wants to see whole: copied into a ring of bytes as they came in, before anything is done with them.
//!
//! Which ones is a list of subjects, traded whole between two bursts like a model ([`super::mailbox`]), looked for once in ten
//! milliseconds. While it is empty, a turn pays one compare. What finds the ring full is counted, never waited for; so is no frame
//! that another queue handed over, for the queue it came in on has copied it.

use crate::dataplane::capture::{FrameView, LinkType, Source};
use crate::dataplane::decode::{Decoded, Endpoint, Layers, Packet, Tunnel, decode_rest};
use crate::dataplane::verdict::Subject;
use crate::exchange::{SwapReceiver, SwapSender, swap_ring};
use crate::units::Timestamp;
use crossbeam::utils::CachePadded;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Subjects watched at once; each frame is held against all of them.
pub const SUBJECTS_MAX: usize = 16;
/// Bytes of a queue's ring: some 700 frames of full size, 8 ms of a flow of 1 Gb/s.
pub const WATCH_BYTES: usize = 1 << 20;
/// Longest part of a frame that is copied, bytes: more than any frame in memory.
const SNAP_BYTES: usize = 1 << 15;

/// Time, length on the wire, length here, link type, port, subjects that it met, which list they are of.
const HEADER_BYTES: usize = 8 + 4 + 4 + 2 + 2 + 4 + 8;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// Nothing: the place is free.
    Nothing,
    Card([u8; 6]),
    /// Addresses from the first to the last, either end.
    Addresses(u128, u128),
    Flow(Endpoint, Endpoint, u8),
}

/// What a queue is to copy: subjects by their place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchList {
    /// Number of the list, above those before; 0: the first, which is empty.
    pub number: u64,
    wanted: [Wanted; SUBJECTS_MAX],
    is_empty: bool,
}

impl WatchList {
    /// The list of these; what lies beyond [`SUBJECTS_MAX`], and signatures, which no frame is held against, are left out.
    pub fn new(number: u64, subjects: &[Option<Subject>]) -> WatchList {
        let mut wanted = [Wanted::Nothing; SUBJECTS_MAX];
        for (place, subject) in wanted.iter_mut().zip(subjects) {
            *place = match subject {
                None | Some(Subject::Signature(_)) => Wanted::Nothing,
                Some(Subject::Mac(card)) => Wanted::Card(*card),
                Some(Subject::Prefix(first, bits)) => {
                    let bits = if first.is_ipv4() { 96 + u32::from(*bits) } else { u32::from(*bits) };
                    let first = number_of(*first);
                    Wanted::Addresses(first, first | u128::MAX.checked_shr(bits).unwrap_or(0))
                }
                Some(Subject::Flow(flow)) => {
                    let [one, other] = flow.ends().map(|(ip, port)| Endpoint { address: number_of(ip), port });
                    Wanted::Flow(one, other, flow.protocol())
                }
            };
        }
        WatchList { number, is_empty: wanted.iter().all(|one| *one == Wanted::Nothing), wanted }
    }

    /// Which of them a packet is of, as bits.
    fn met(&self, packet: &Packet) -> u32 {
        let (low, high, protocol) = (packet.key.low(), packet.key.high(), packet.key.protocol());
        let meets = |wanted: &Wanted| match wanted {
            Wanted::Addresses(first, last) => {
                (first..=last).contains(&&low.address) || (first..=last).contains(&&high.address)
            }
            Wanted::Flow(one, other, of) => {
                *of == protocol && ((*one == low && *other == high) || (*one == high && *other == low))
            }
            Wanted::Card(_) | Wanted::Nothing => false,
        };
        bits(self.wanted.iter().map(meets))
    }

    fn met_cards(&self, view: FrameView<'_>) -> u32 {
        let (Some(to), Some(from), LinkType::Ethernet) = (view.bytes.get(..6), view.bytes.get(6..12), view.link) else {
            return 0;
        };
        bits(self.wanted.iter().map(|wanted| matches!(wanted, Wanted::Card(card) if card == to || card == from)))
    }
}

fn bits(met: impl Iterator<Item = bool>) -> u32 {
    met.enumerate().fold(0, |bits, (place, met)| bits | u32::from(met) << place)
}

/// IPv4 as IPv4-mapped IPv6, as keys have it.
fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().into(),
        IpAddr::V6(six) => six.into(),
    }
}

/// Frames that found the ring full, by the place of the subject that they met.
pub type WatchLosses = [CachePadded<AtomicU64>; SUBJECTS_MAX];

/// The queue's side.
pub struct Watch {
    list: Box<WatchList>,
    swaps: SwapReceiver<WatchList>,
    ring: rtrb::Producer<u8>,
    lost: Arc<WatchLosses>,
    /// One does not go into tunnels, the other does: what is wanted may be either.
    outside: Layers,
    inside: Layers,
}

/// Control's side.
pub struct WatchPort {
    swaps: SwapSender<WatchList>,
    ring: rtrb::Consumer<u8>,
    lost: Arc<WatchLosses>,
    bytes: Vec<u8>,
}

/// A frame that was copied.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// The frame, with its time.
    pub view: FrameView<'a>,
    /// When it was taken.
    pub time: Timestamp,
    /// Places of the subjects that it met, as bits.
    pub met: u32,
    /// Number of the list that they are of.
    pub list: u64,
}

/// A queue's watch and its control's side; takes and touches all the memory that it will ever have.
pub fn watch() -> (Watch, WatchPort) {
    let (swaps, taken) = swap_ring();
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(WATCH_BYTES);
    // Written once from end to end, so that no page is missing when the first frame comes.
    if let Ok(chunk) = producer.write_chunk(WATCH_BYTES) {
        chunk.commit_all();
    }
    if let Ok(chunk) = consumer.read_chunk(WATCH_BYTES) {
        chunk.commit_all();
    }
    let lost = Arc::new(WatchLosses::default());
    let watch = Watch {
        list: Box::new(WatchList::new(0, &[])),
        swaps: taken,
        ring: producer,
        lost: Arc::clone(&lost),
        outside: Layers::new(false),
        inside: Layers::new(true),
    };
    (watch, WatchPort { swaps, ring: consumer, lost, bytes: Vec::with_capacity(SNAP_BYTES) })
}

impl Watch {
    /// Takes the list that waits, if one does.
    pub fn heed(&mut self) {
        let list = &mut self.list;
        self.swaps.swap(|new| std::mem::swap(new, &mut **list));
    }

    /// Is anything wanted?
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        !self.list.is_empty
    }

    /// Copies what is wanted of the burst held; some 50 ns a frame that is not, and a copy for one that is.
    #[cold]
    #[inline(never)]
    pub fn take<S: Source>(&mut self, source: &S, count: usize, now: Timestamp) {
        for index in 0..count {
            let view = Source::frame(source, index);
            let met = self.met(view);
            if met != 0 && !self.send(view, view.time.unwrap_or(now), met) {
                let places = (0..SUBJECTS_MAX).filter(|place| met >> place & 1 == 1);
                for lost in places.filter_map(|place| self.lost.get(place)) {
                    lost.store(lost.load(Relaxed).wrapping_add(1), Relaxed);
                }
            }
        }
    }

    fn met(&mut self, view: FrameView<'_>) -> u32 {
        let Watch { list, outside, inside, .. } = self;
        let mut met = list.met_cards(view);
        let mut packet = Packet::default();
        for layers in [outside, inside] {
            let decoded = decode_rest(view.bytes, view.wire_bytes, view.link, &mut packet, layers);
            if matches!(decoded, Decoded::Flow | Decoded::FirstFragment | Decoded::LaterFragment) {
                met |= list.met(&packet);
            }
            if packet.tunnel == Tunnel::None {
                break;
            }
        }
        met
    }

    fn send(&mut self, view: FrameView<'_>, time: Timestamp, met: u32) -> bool {
        let bytes = view.bytes.get(..SNAP_BYTES).unwrap_or(view.bytes);
        let Ok(mut chunk) = self.ring.write_chunk(HEADER_BYTES + bytes.len()) else { return false };
        let mut header = [0_u8; HEADER_BYTES];
        let link = if view.link == LinkType::Ethernet { 0_u16 } else { 1 };
        let fields: [&[u8]; 7] = [
            &time.0.to_le_bytes(),
            &view.wire_bytes.to_le_bytes(),
            &(bytes.len() as u32).to_le_bytes(), // at most SNAP_BYTES
            &link.to_le_bytes(),
            &u16::from(view.port).to_le_bytes(),
            &met.to_le_bytes(),
            &self.list.number.to_le_bytes(),
        ];
        let mut rest = header.as_mut_slice();
        for field in fields {
            let Some((place, behind)) = rest.split_at_mut_checked(field.len()) else { return false };
            place.copy_from_slice(field);
            rest = behind;
        }
        let (first, second) = chunk.as_mut_slices();
        let mut parts = [first, second];
        put(&mut parts, 0, &header);
        put(&mut parts, HEADER_BYTES, bytes);
        chunk.commit_all();
        true
    }
}

/// Copies `bytes` to where two stretches, read as one, are `at` bytes in.
fn put(parts: &mut [&mut [u8]; 2], mut at: usize, mut bytes: &[u8]) {
    for part in parts {
        let room = part.get_mut(at..).unwrap_or_default();
        let (now, later) = bytes.split_at(room.len().min(bytes.len()));
        if let Some(place) = room.get_mut(..now.len()) {
            place.copy_from_slice(now);
        }
        (at, bytes) = (at.saturating_sub(part.len()), later);
    }
}

impl WatchPort {
    /// Sends a list.
    ///
    /// # Errors
    /// The one before was not taken yet; this one comes back.
    pub fn send(&mut self, list: Box<WatchList>) -> Result<(), Box<WatchList>> {
        drop(self.swaps.returned());
        self.swaps.send(list)
    }

    /// Frames of a subject that found the ring full, since the start.
    pub fn lost(&self, place: usize) -> u64 {
        self.lost.get(place).map_or(0, |lost| lost.load(Relaxed))
    }

    /// The next frame; `None`: there is none at present.
    pub fn receive<T>(&mut self, with: impl FnOnce(Copied<'_>) -> T) -> Option<T> {
        let mut header = [0_u8; HEADER_BYTES];
        let chunk = self.ring.read_chunk(HEADER_BYTES).ok()?;
        let (first, second) = chunk.as_slices();
        let (one, two) = header.split_at_mut(first.len().min(HEADER_BYTES));
        one.copy_from_slice(first.get(..one.len())?);
        two.copy_from_slice(second.get(..two.len())?);
        // Not taken yet: a record is taken whole.
        let long = |at: usize| header.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let word = |at: usize| header.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        let half = |at: usize| header.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes));
        let (time, wire_bytes, length) = (Timestamp(long(0)?), word(8)?, word(12)? as usize);
        let (link, port, met, list) = (half(16)?, half(18)? as u8, word(20)?, long(24)?);
        let chunk = self.ring.read_chunk(HEADER_BYTES + length).ok()?;
        let (first, second) = chunk.as_slices();
        self.bytes.clear();
        self.bytes.extend_from_slice(first.get(HEADER_BYTES..).unwrap_or_default());
        self.bytes.extend_from_slice(second.get(HEADER_BYTES.saturating_sub(first.len())..).unwrap_or_default());
        chunk.commit_all();
        let link = if link == 0 { LinkType::Ethernet } else { LinkType::RawIp };
        let view = FrameView { bytes: &self.bytes, wire_bytes, time: Some(time), link, port };
        Some(with(Copied { view, time, met, list }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::capture::Received;
    use crate::dataplane::verdict::FlowSubject;
    use std::time::Duration;

    /// A burst of frames, the odd ones by port 1.
    struct Burst(Vec<Vec<u8>>);

    impl Source for Burst {
        fn receive(&mut self, _: usize) -> Received {
            Received { count: self.0.len(), ..Received::default() }
        }
        fn frame(&self, index: usize) -> FrameView<'_> {
            let bytes = &self.0[index];
            let port = (index % 2) as u8;
            FrameView { bytes, wire_bytes: bytes.len() as u32, time: None, link: LinkType::Ethernet, port }
        }
        fn release(&mut self) {}
        fn wait(&mut self, _: Duration) {}
    }

    fn tcp(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: usize) -> Vec<u8> {
        let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut frame = Vec::new();
        let builder = builder.ipv4(from.0, to.0, 64).tcp(from.1, to.1, 7, 1024);
        builder.write(&mut frame, &vec![payload as u8; payload]).unwrap();
        frame
    }

    const ONE: ([u8; 4], u16) = ([10, 0, 0, 1], 1000);
    const TWO: ([u8; 4], u16) = ([10, 0, 0, 2], 80);
    const THREE: ([u8; 4], u16) = ([192, 0, 2, 3], 80);

    fn all(port: &mut WatchPort) -> Vec<(Vec<u8>, u8, u32, u64)> {
        std::iter::from_fn(|| {
            port.receive(|copied| (copied.view.bytes.to_vec(), copied.view.port, copied.met, copied.list))
        })
        .collect()
    }

    #[test]
    fn what_is_wanted_is_copied_whole_and_nothing_else() {
        let (mut watch, mut port) = watch();
        let burst = Burst(vec![tcp(ONE, TWO, 5), tcp(TWO, ONE, 1400), tcp(ONE, THREE, 0), vec![0; 60]]);
        assert!(!watch.is_on());
        let flow = Subject::Flow(FlowSubject::new((TWO.0.into(), TWO.1), (ONE.0.into(), ONE.1), 6));
        let card = Subject::Mac([2, 0, 0, 0, 0, 2]);
        let network = Subject::Prefix([192, 0, 2, 0].into(), 24);
        for (number, (subjects, wanted)) in [
            (vec![Some(flow)], vec![(0, 1), (1, 1)]),
            (vec![None, Some(network)], vec![(2, 2)]),
            (vec![Some(network), Some(flow), Some(card)], vec![(0, 6), (1, 6), (2, 5)]),
            (vec![Some(Subject::Prefix([10, 0, 0, 2].into(), 32))], vec![(0, 1), (1, 1)]),
            (vec![Some(Subject::Prefix([0, 0, 0, 0].into(), 0))], vec![(0, 1), (1, 1), (2, 1)]),
            (vec![Some(Subject::Prefix("2001:db8::".parse().unwrap(), 32))], vec![]),
            (vec![], vec![]),
        ]
        .into_iter()
        .enumerate()
        {
            let number = number as u64 + 1;
            port.send(Box::new(WatchList::new(number, &subjects))).unwrap();
            watch.heed();
            assert_eq!(watch.is_on(), !subjects.is_empty());
            watch.take(&burst, 4, Timestamp(9));
            let wanted: Vec<_> = wanted
                .into_iter()
                .map(|(frame, met): (usize, u32)| (burst.0[frame].clone(), (frame % 2) as u8, met, number))
                .collect();
            assert_eq!(all(&mut port), wanted, "{subjects:?}");
        }
    }

    /// The address of a tunnel's end and one that lies within it.
    #[test]
    fn a_tunnel_is_wanted_for_its_ends_and_for_what_is_in_it() {
        let inner = tcp(ONE, TWO, 9);
        let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4]);
        let mut frame = Vec::new();
        let packet = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &inner].concat();
        builder.ipv4(THREE.0, [192, 0, 2, 4], 64).udp(4000, 4789).write(&mut frame, &packet).unwrap();
        let burst = Burst(vec![frame]);
        let (mut watch, mut port) = watch();
        let host = |ip: [u8; 4]| Some(Subject::Prefix(ip.into(), 32));
        port.send(Box::new(WatchList::new(1, &[host(THREE.0), host(ONE.0), host([10, 0, 0, 9])]))).unwrap();
        watch.heed();
        watch.take(&burst, 1, Timestamp(9));
        assert_eq!(all(&mut port).iter().map(|(.., met, _)| *met).collect::<Vec<_>>(), [3]);
    }

    /// A reader that is late loses whole frames, counted; what comes through is as it was, over the ring's end too.
    #[test]
    fn what_finds_no_room_is_counted() {
        let (mut watch, mut port) = watch();
        port.send(Box::new(WatchList::new(1, &[None, Some(Subject::Prefix(ONE.0.into(), 32))]))).unwrap();
        watch.heed();
        let frames: Vec<_> = (0..200).map(|size| tcp(ONE, TWO, size * 7)).collect();
        let burst = Burst(frames.clone());
        let (mut sent, mut received) = (0, 0);
        for _ in 0..40 {
            for _ in 0..12 {
                watch.take(&burst, frames.len(), Timestamp(9));
                sent += frames.len() as u64;
            }
            for (frame, ..) in all(&mut port) {
                assert!(frames.contains(&frame));
                received += 1;
            }
        }
        assert!(port.lost(1) > 0 && port.lost(0) == 0);
        assert_eq!(sent, received + port.lost(1));
    }
}
