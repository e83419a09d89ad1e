//! Both directions of a flow on one queue: a symmetric Toeplitz key, set and read back.
//!
//! What was there before is kept in a pinned map as bytes ([`Saved::to_bytes`]) before anything is set, so that a process
//! that is killed does not take it along: the next start finds it and puts it back when it leaves.

use crate::sys::ethtool::{Ethtool, Rss};
use std::io;

/// The 16-bit pattern that makes Toeplitz symmetric when repeated (Woo and Park, "Scalable TCP session monitoring with
/// symmetric receive-side scaling", 2012).
const PATTERN: [u8; 2] = [0x6d, 0x5a];
/// Toeplitz (`ETH_RSS_HASH_TOP`).
const TOEPLITZ: u8 = 1;
/// Both addresses (`RXH_IP_SRC | RXH_IP_DST` of include/uapi/linux/ethtool.h).
const ADDRESSES: u64 = 0x10 | 0x20;
/// And both ports (`RXH_L4_B_0_1 | RXH_L4_B_2_3`).
const FOUR_TUPLE: u64 = ADDRESSES | 0x40 | 0x80;
/// What each flow type with ports is spread by: TCP over IPv4 and IPv6 (`TCP_V4_FLOW`, `TCP_V6_FLOW`) by all four; UDP by
/// addresses only. A NIC finds no ports in fragments and ICMP messages and spreads them by addresses; datagrams are what
/// gets fragmented and refused by their target's ICMP errors, and so stay on one queue with both.
const FLOW_TYPES: [(u32, u64); 4] = [(1, FOUR_TUPLE), (2, ADDRESSES), (5, FOUR_TUPLE), (6, ADDRESSES)];

/// Would both directions of a flow be hashed over the same?
fn is_symmetric(fields: u64) -> bool {
    let both = |one: u64, other: u64| (fields & one != 0) == (fields & other != 0);
    both(0x10, 0x20) && both(0x40, 0x80)
}

/// What became of the wish for symmetric RSS.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum SymmetricRss {
    /// Key and table are set, and were read back as set.
    Set {
        /// Bytes of the key.
        key_bytes: usize,
        /// Queues the table spreads over.
        queues: usize,
    },
    /// One queue: every flow is whole whatever the hash.
    OneQueue,
    /// Not to be had; frames of foreign flows must be handed over.
    Unsupported {
        /// Why.
        reason: String,
    },
}

/// What a NIC's RSS can be asked and told; a driver's ethtool, or a fake in tests.
pub(super) trait Nic {
    fn rss(&self) -> io::Result<Rss>;
    fn set_rss(&self, rss: &Rss) -> io::Result<()>;
    fn hash_fields(&self, flow_type: u32) -> io::Result<u64>;
    fn set_hash_fields(&self, flow_type: u32, fields: u64) -> io::Result<()>;
}

impl Nic for Ethtool {
    fn rss(&self) -> io::Result<Rss> {
        Ethtool::rss(self)
    }

    fn set_rss(&self, rss: &Rss) -> io::Result<()> {
        Ethtool::set_rss(self, rss)
    }

    fn hash_fields(&self, flow_type: u32) -> io::Result<u64> {
        Ethtool::hash_fields(self, flow_type)
    }

    fn set_hash_fields(&self, flow_type: u32, fields: u64) -> io::Result<()> {
        Ethtool::set_hash_fields(self, flow_type, fields)
    }
}

/// What was there before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Saved {
    rss: Rss,
    fields: Vec<(u32, u64)>,
}

/// Bytes of the map that keeps a [`Saved`]: `struct rss_before` of `src/bpf/shrike.bpf.c`. The largest indirection table
/// of a driver in Linux 6.18 has 2048 entries (mlx5), the largest key 52 bytes.
pub(super) const SAVED_BYTES: usize = 16_384;
/// Numbers before the variable parts: hash function, entries of the table, bytes of the key, flow types.
const HEAD_WORDS: usize = 4;

impl Saved {
    /// As bytes for the map; `None` if it does not fit.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (table, key) = (&self.rss.indirection, &self.rss.key);
        let head = [u32::from(self.rss.function), count(table.len()), count(key.len()), count(self.fields.len())];
        let mut bytes: Vec<u8> = head.iter().chain(table).flat_map(|word| word.to_ne_bytes()).collect();
        for (kind, fields) in &self.fields {
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&fields.to_ne_bytes());
        }
        bytes.extend_from_slice(key);
        (bytes.len() <= SAVED_BYTES).then(|| {
            bytes.resize(SAVED_BYTES, 0);
            bytes
        })
    }

    /// What [`Saved::to_bytes`] made; `None` for an empty map or one cut short.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Saved> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at * 4..at * 4 + 4)?.try_into().ok()?));
        let length = |at: usize| Some(usize::try_from(word(at)?).ok()?.min(SAVED_BYTES));
        let (function, entries, key, kinds) = (word(0)?, length(1)?, length(2)?, length(3)?);
        let indirection = (HEAD_WORDS..HEAD_WORDS + entries).map(word).collect::<Option<Vec<u32>>>()?;
        let mut rest = bytes.get((HEAD_WORDS + entries) * 4..)?;
        let mut fields = Vec::new();
        for _ in 0..kinds {
            let (kind, value) = (rest.get(..4)?.try_into().ok()?, rest.get(4..12)?.try_into().ok()?);
            fields.push((u32::from_ne_bytes(kind), u64::from_ne_bytes(value)));
            rest = rest.get(12..)?;
        }
        let key = rest.get(..key)?.to_vec();
        let rss = Rss { indirection, key, function: u8::try_from(function).ok()? };
        (!rss.key.is_empty()).then_some(Saved { rss, fields })
    }
}

/// Sets a symmetric key and an even table over `queues`, and reads both back. `before`: what was there before us where a
/// former process left it; else it is read now. `keep` is told of it before anything is set.
pub(super) fn apply(
    nic: &impl Nic,
    queues: &[u32],
    before: Option<Saved>,
    keep: impl FnOnce(&Saved),
) -> (SymmetricRss, Option<Saved>) {
    if queues.len() < 2 {
        return (SymmetricRss::OneQueue, before);
    }
    let unsupported = |reason: String| SymmetricRss::Unsupported { reason };
    let now = match nic.rss() {
        Ok(rss) => rss,
        Err(error) => return (unsupported(format!("the driver has no RSS settings ({error})")), before),
    };
    if now.key.is_empty() {
        return (unsupported("the driver does not let its RSS key be seen or set".to_owned()), before);
    }
    if now.function != TOEPLITZ {
        return (unsupported(format!("hash function {} is not Toeplitz", now.function)), before);
    }
    let wanted = wanted(&now, queues);
    let inherited = before.is_some();
    let saved = before.unwrap_or_else(|| Saved {
        fields: FLOW_TYPES.iter().filter_map(|(kind, _)| Some((*kind, nic.hash_fields(*kind).ok()?))).collect(),
        rss: now,
    });
    keep(&saved);
    if let Err(error) = nic.set_rss(&wanted) {
        return (unsupported(format!("the driver refused the key ({error})")), inherited.then_some(saved));
    }
    // Of flow types whose fields the driver shows. One that it does not change stays as it is, as long as that is
    // symmetric.
    for (kind, _) in &saved.fields {
        let Some((_, wanted)) = FLOW_TYPES.iter().find(|(known, _)| known == kind) else { continue };
        let refused = nic.set_hash_fields(*kind, *wanted).err();
        match nic.hash_fields(*kind) {
            Ok(now) if is_symmetric(now) => {}
            now => {
                let now = now.map_or_else(|error| error.to_string(), |fields| format!("{fields:#x}"));
                let refused = refused.map_or_else(String::new, |error| format!(", it refused others: {error}"));
                let reason = format!("flow type {kind} is hashed over fields {now}{refused}");
                return (unsupported(reason), Some(saved));
            }
        }
    }
    match nic.rss() {
        Ok(now) if now.key == wanted.key && now.indirection == wanted.indirection => {
            (SymmetricRss::Set { key_bytes: now.key.len(), queues: queues.len() }, Some(saved))
        }
        Ok(_) => (unsupported("the driver took the key but shows another".to_owned()), Some(saved)),
        Err(error) => (unsupported(format!("the key could not be read back ({error})")), Some(saved)),
    }
}

/// Sets what was there before.
pub(super) fn restore(nic: &impl Nic, saved: &Saved) -> io::Result<()> {
    for (kind, fields) in &saved.fields {
        if nic.hash_fields(*kind).is_ok_and(|now| now != *fields) {
            nic.set_hash_fields(*kind, *fields)?;
        }
    }
    nic.set_rss(&saved.rss)
}

fn wanted(before: &Rss, queues: &[u32]) -> Rss {
    Rss {
        indirection: queues.iter().copied().cycle().take(before.indirection.len()).collect(),
        key: PATTERN.iter().copied().cycle().take(before.key.len()).collect(),
        function: before.function,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// A NIC whose settings outlive the processes that set them.
    struct Fake {
        rss: RefCell<Rss>,
        fields: RefCell<BTreeMap<u32, u64>>,
        /// Takes no other fields.
        stubborn: bool,
    }

    impl Nic for Fake {
        fn rss(&self) -> io::Result<Rss> {
            Ok(self.rss.borrow().clone())
        }

        fn set_rss(&self, rss: &Rss) -> io::Result<()> {
            *self.rss.borrow_mut() = rss.clone();
            Ok(())
        }

        fn hash_fields(&self, flow_type: u32) -> io::Result<u64> {
            self.fields.borrow().get(&flow_type).copied().ok_or_else(|| io::ErrorKind::Unsupported.into())
        }

        fn set_hash_fields(&self, flow_type: u32, fields: u64) -> io::Result<()> {
            if self.stubborn {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.fields.borrow_mut().insert(flow_type, fields);
            Ok(())
        }
    }

    #[test]
    fn what_was_there_before_outlives_every_killed_process() {
        let first = Rss { indirection: vec![0, 1, 2, 3, 0, 1, 2, 3], key: (1..=40).collect(), function: TOEPLITZ };
        // Nothing known of IPv6.
        let fields = BTreeMap::from([(1, ADDRESSES), (2, FOUR_TUPLE)]);
        let nic = Fake { rss: RefCell::new(first.clone()), fields: RefCell::new(fields.clone()), stubborn: false };
        let mut map = vec![0_u8; SAVED_BYTES];
        for life in 0..3 {
            let kept = Saved::from_bytes(&map);
            assert_eq!(kept.is_some(), life > 0);
            let (outcome, saved) = apply(&nic, &[0, 1], kept, |saved| map = saved.to_bytes().unwrap());
            assert_eq!(outcome, SymmetricRss::Set { key_bytes: 40, queues: 2 }, "life {life}");
            assert_eq!(saved.map(|saved| saved.rss), Some(first.clone()), "life {life}");
            assert_eq!((nic.hash_fields(1).unwrap(), nic.hash_fields(2).unwrap()), (FOUR_TUPLE, ADDRESSES));
            // Killed here: nothing is restored, only the map stays.
        }
        // The last life wants no symmetric RSS, and leaves in good order.
        restore(&nic, &Saved::from_bytes(&map).unwrap()).unwrap();
        assert_eq!(*nic.rss.borrow(), first);
        assert_eq!(*nic.fields.borrow(), fields);
    }

    #[test]
    fn fields_that_are_not_symmetric_and_stay_so_are_no_symmetric_rss() {
        for (fields, symmetric) in [(FOUR_TUPLE, true), (ADDRESSES, true), (0x10, false), (0x10 | 0x20 | 0x40, false)] {
            let rss = Rss { indirection: vec![0, 1], key: vec![1; 40], function: TOEPLITZ };
            let nic = Fake { rss: RefCell::new(rss), fields: RefCell::new([(2, fields)].into()), stubborn: true };
            let (outcome, saved) = apply(&nic, &[0, 1], None, |_| ());
            assert_eq!(matches!(outcome, SymmetricRss::Set { .. }), symmetric, "{fields:#x}: {outcome:?}");
            assert!(saved.is_some(), "the key was set: what was there before must be put back");
        }
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written_and_never_past_its_end() {
        let rss = Rss { indirection: (0..2048).collect(), key: vec![7; 52], function: TOEPLITZ };
        let saved = Saved { rss, fields: vec![(1, 0x30), (6, u64::MAX)] };
        let bytes = saved.to_bytes().unwrap();
        assert_eq!(Saved::from_bytes(&bytes), Some(saved.clone()));
        for cut in 0..HEAD_WORDS * 4 + 2048 * 4 + 24 + 52 {
            assert_eq!(Saved::from_bytes(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Saved::from_bytes(&[0; SAVED_BYTES]), None);
        assert_eq!(Saved::from_bytes(&[0xff; SAVED_BYTES]), None);
        let rss = Rss { indirection: vec![0; 4096], ..saved.rss };
        assert_eq!(Saved { rss, ..saved }.to_bytes(), None, "too large to keep");
    }

    /// Toeplitz as Microsoft's RSS specification states it.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        let mut hash = 0u32;
        for at in 0..input.len() * 8 {
            if bit(input, at) == 1 {
                hash ^= (0..32).fold(0, |window, step| window << 1 | u32::from(bit(key, at + step)));
            }
        }
        hash
    }

    #[test]
    fn the_key_hashes_both_directions_alike() {
        let before = Rss { indirection: vec![0; 128], key: vec![0; 40], function: TOEPLITZ };
        let wanted = wanted(&before, &[0, 1, 2]);
        assert_eq!(&wanted.indirection[..5], &[0, 1, 2, 0, 1]);
        let (source, destination) = ([192, 0, 2, 7], [198, 51, 100, 9]);
        let (from, to) = (51_000u16.to_be_bytes(), 443u16.to_be_bytes());
        let there = [&source[..], &destination, &from, &to].concat();
        let back = [&destination[..], &source, &to, &from].concat();
        assert_eq!(toeplitz(&wanted.key, &there), toeplitz(&wanted.key, &back));
        // The specification's own example, to know that the test's hash is right.
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
            0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
            0xbe, 0xac, 0x01, 0xfa,
        ];
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(toeplitz(&key, &input), 0x51cc_c178);
    }
}
