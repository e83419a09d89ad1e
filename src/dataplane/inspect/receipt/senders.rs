//! Who was seen to send datagrams with right checksums: a wrong one of his is dropped by its receiver.
//!
//! Of segments each side tells for itself ([`super::Receipt`]); a flow of datagrams is often a question and an answer, and the
//! false answer comes first. So it is known of addresses, whatever their flows. Whose card fills sums in behind the capture
//! has never a right one, and all of his are read. He is known by the service too, the lower port: who makes his frames himself
//! beside a kernel that leaves sums to a card, as servers of DHCP do, has right ones in that service alone; there, what was left
//! to a card is read.

use super::super::counts::Cause;
use super::super::inspector::Payload;
use super::sums::{self, Sum};
use crate::sys::hash::KeyedHash;

/// What is remembered of addresses, checksums of IPv4 and of UDP counted apart; 4 bytes each. Of a full set the oldest is forgotten, and
/// what he sends is believed until a sum is right again.
pub const SENDERS: usize = 1 << 14;
const WAYS: usize = 4;

/// Payload of the longest datagram over Ethernet (RFC 894); longer ones were put together, or will be cut.
const LONGEST: usize = 1472;

/// A fixed number of addresses, by keyed tags.
pub(in super::super) struct Senders {
    sets: Box<[[u32; WAYS]]>,
}

impl Senders {
    pub(in super::super) const BYTES: usize = SENDERS * size_of::<u32>();

    /// Takes its memory.
    pub(in super::super) fn new(count: usize) -> Senders {
        Senders { sets: vec![[0; WAYS]; count / WAYS].into_boxed_slice() }
    }

    /// Why the receiver of a datagram drops it; learns from it otherwise.
    pub(in super::super) fn refuses(&mut self, payload: &Payload<'_>, hash: &KeyedHash) -> Option<Cause> {
        if payload.bytes.len() > LONGEST {
            return None;
        }
        for (cause, sum) in
            [(Cause::Ipv4Checksum, sums::network(payload, 8)), (Cause::UdpChecksum, sums::datagram(payload))]
        {
            match sum {
                Sum::Right => self.note(payload, hash, cause),
                Sum::Unfilled if is_made_by_hand(payload) => {}
                Sum::Wrong | Sum::Unfilled if self.knows(payload, hash, cause) => return Some(cause),
                Sum::Wrong | Sum::Unfilled | Sum::Unknown => {}
            }
        }
        None
    }

    /// His tag, which is never 0, and the set that it belongs to.
    fn place(&self, payload: &Payload<'_>, hash: &KeyedHash, cause: Cause) -> (usize, u32) {
        let (from, to) = payload.key.endpoints(sums::direction(payload));
        let service = u64::from(from.port.min(to.port));
        let words = [cause as u64, from.address as u64, (from.address >> 64) as u64, service, 0];
        let hash = hash.hash(&words);
        (hash as usize & self.sets.len().wrapping_sub(1), (hash >> 32) as u32 | 1)
    }

    fn knows(&self, payload: &Payload<'_>, hash: &KeyedHash, cause: Cause) -> bool {
        let (set, tag) = self.place(payload, hash, cause);
        self.sets.get(set).is_some_and(|set| set.contains(&tag))
    }

    fn note(&mut self, payload: &Payload<'_>, hash: &KeyedHash, cause: Cause) {
        let (set, tag) = self.place(payload, hash, cause);
        if let Some(set) = self.sets.get_mut(set).filter(|set| !set.contains(&tag)) {
            set.rotate_right(1);
            if let Some(first) = set.first_mut() {
                *first = tag;
            }
        }
    }
}

/// DHCP, whose programs have no address to send from and send frames (RFC 2131 section 4.1), and datagrams where they have one.
fn is_made_by_hand(payload: &Payload<'_>) -> bool {
    let (from, to) = payload.key.endpoints(sums::direction(payload));
    [from.port, to.port].iter().any(|port| matches!(port, 67 | 68))
}
