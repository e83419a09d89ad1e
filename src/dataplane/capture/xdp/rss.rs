//! Both directions of a flow on one queue: a symmetric Toeplitz key, set and read back.

use crate::sys::ethtool::{Ethtool, Rss};
use std::io;

/// The 16-bit pattern that makes Toeplitz symmetric when repeated (Woo and Park, "Scalable TCP session monitoring with
/// symmetric receive-side scaling", 2012).
const PATTERN: [u8; 2] = [0x6d, 0x5a];
/// Toeplitz (`ETH_RSS_HASH_TOP`).
const TOEPLITZ: u8 = 1;
/// Flow types that carry ports: TCP and UDP over IPv4 and IPv6 (include/uapi/linux/ethtool.h).
const FLOW_TYPES: [u32; 4] = [1, 2, 5, 6];
/// Both addresses and both ports (`RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3`).
const FOUR_TUPLE: u64 = 0x10 | 0x20 | 0x40 | 0x80;

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

/// What was there before.
pub(super) struct Saved {
    rss: Rss,
    fields: Vec<(u32, u64)>,
}

/// Sets a symmetric key and an even table over `queues`, and reads both back.
pub(super) fn apply(ethtool: &Ethtool, queues: &[u32]) -> (SymmetricRss, Option<Saved>) {
    if queues.len() < 2 {
        return (SymmetricRss::OneQueue, None);
    }
    let unsupported = |reason: String| SymmetricRss::Unsupported { reason };
    let before = match ethtool.rss() {
        Ok(rss) => rss,
        Err(error) => return (unsupported(format!("the driver has no RSS settings ({error})")), None),
    };
    if before.key.is_empty() {
        return (unsupported("the driver does not let its RSS key be seen or set".to_owned()), None);
    }
    if before.function != TOEPLITZ {
        return (unsupported(format!("hash function {} is not Toeplitz", before.function)), None);
    }
    let wanted = wanted(&before, queues);
    let saved = Saved {
        fields: FLOW_TYPES.iter().filter_map(|kind| Some((*kind, ethtool.hash_fields(*kind).ok()?))).collect(),
        rss: before,
    };
    if let Err(error) = ethtool.set_rss(&wanted) {
        return (unsupported(format!("the driver refused the key ({error})")), None);
    }
    // Where a direction were hashed over other fields than the other, symmetry would be lost; four-tuple for all.
    for (kind, fields) in &saved.fields {
        if *fields & FOUR_TUPLE != FOUR_TUPLE {
            let _ = ethtool.set_hash_fields(*kind, *fields | FOUR_TUPLE);
        }
    }
    match ethtool.rss() {
        Ok(now) if now.key == wanted.key && now.indirection == wanted.indirection => {
            (SymmetricRss::Set { key_bytes: now.key.len(), queues: queues.len() }, Some(saved))
        }
        Ok(_) => (unsupported("the driver took the key but shows another".to_owned()), Some(saved)),
        Err(error) => (unsupported(format!("the key could not be read back ({error})")), Some(saved)),
    }
}

/// Sets what was there before.
pub(super) fn restore(ethtool: &Ethtool, saved: &Saved) -> io::Result<()> {
    for (kind, fields) in &saved.fields {
        if ethtool.hash_fields(*kind).is_ok_and(|now| now != *fields) {
            ethtool.set_hash_fields(*kind, *fields)?;
        }
    }
    ethtool.set_rss(&saved.rss)
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
