//! Where the NIC must put a frame: the Toeplitz hash of the driver's own key, computed here and by nobody else's code.

use crate::traffic::Tuple;

/// What the guest's NIC hashes with, read from the guest.
pub struct Rss {
    key: Vec<u8>,
    table: Vec<usize>,
}

impl Rss {
    /// From `net.core.netdev_rss_key` (hex, colons) and the indirection table (numbers).
    pub fn parse(key: &str, table: &str) -> Rss {
        let key: Vec<u8> = key.split(':').map(|byte| u8::from_str_radix(byte.trim(), 16).expect("hex")).collect();
        let table: Vec<usize> = table.split_whitespace().map(|entry| entry.parse().expect("a queue")).collect();
        assert!(key.len() >= 40, "RSS key of {} bytes", key.len());
        assert_eq!(table.len(), 128, "igb has 128 entries in its table");
        Rss { key, table }
    }

    /// Queue of a frame of TCP or UDP over IPv4.
    pub fn queue(&self, tuple: &Tuple) -> usize {
        let mut input = Vec::with_capacity(12);
        input.extend(tuple.source.octets());
        input.extend(tuple.destination.octets());
        input.extend(tuple.source_port.to_be_bytes());
        input.extend(tuple.destination_port.to_be_bytes());
        self.table[toeplitz(&self.key, &input) as usize % self.table.len()]
    }
}

/// Microsoft's RSS hash: for each set bit of the input, the 32 bits of the key that begin at that bit.
fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
    let mut hash = 0;
    for (index, byte) in input.iter().enumerate() {
        let window = u64::from_be_bytes(std::array::from_fn(|at| if at < 5 { key[index + at] } else { 0 }));
        for bit in 0..8 {
            if byte & (0x80 >> bit) != 0 {
                hash ^= (window << bit >> 32) as u32;
            }
        }
    }
    hash
}

#[test]
fn the_hash_is_the_one_of_the_published_vectors() {
    // "Verifying the RSS Hash Calculation" of the NDIS documentation: key and first IPv4/TCP vector.
    let key = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa,
    ];
    let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
    assert_eq!(toeplitz(&key, &input), 0x51cc_c178);
}
