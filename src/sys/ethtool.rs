//! The ethtool ioctls that capture and `doctor` need: offloads, channels, RSS, driver and NIC counters.
//!
//! An [`Ethtool`] stays in the namespace it was opened in. Reading needs no capability, setting needs CAP_NET_ADMIN.
//! Layouts and numbers: include/uapi/linux/ethtool.h.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_DRIVER: u32 = 0x03;
const GET_STRINGS: u32 = 0x1b;
const GET_STATS: u32 = 0x1d;
const GET_RX_HASH: u32 = 0x29;
const SET_RX_HASH: u32 = 0x2a;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const GET_CHANNELS: u32 = 0x3c;
const GET_RSS: u32 = 0x46;
const SET_RSS: u32 = 0x47;
const STRINGS_STATS: u32 = 1;
const STRINGS_FEATURES: u32 = 4;
/// Length of every name in a string set.
const NAME_BYTES: usize = 32;
/// Most strings of a set we read: a driver with hundreds of queues has some thousands of counters.
const STRINGS_MAX: usize = 65_536;
/// Room left behind a set of strings or counters: older kernels write as many as there are at that moment, whatever
/// the caller announced, and a driver that gains queues between two calls gains counters.
const GROWTH: usize = 4_096;

/// A socket to ask through, and the interface asked about.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
    name: String,
}

/// Queue counts of a NIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Channels {
    /// Receive queues in use (receive-only and combined ones).
    pub rx: u32,
    /// Receive queues there can be.
    pub rx_max: u32,
}

/// Receive-side scaling as the driver reports it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rss {
    /// Queue for each hash bucket.
    pub indirection: Vec<u32>,
    /// Toeplitz key; empty where the driver shows none.
    pub key: Vec<u8>,
    /// Hash function bit (1: Toeplitz).
    pub function: u8,
}

impl Ethtool {
    /// Opens a socket in the calling thread's namespace for the interface of that name.
    ///
    /// # Errors
    /// No descriptors left, or a name no interface can have.
    pub fn open(name: &str) -> io::Result<Ethtool> {
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        // SAFETY: socket(2) takes three integers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Ethtool { socket: unsafe { OwnedFd::from_raw_fd(fd) }, name: name.to_owned() })
    }

    /// The driver's name, such as `veth` or `igb`.
    ///
    /// # Errors
    /// No such interface, or the driver answers no ethtool requests.
    pub fn driver(&self) -> io::Result<String> {
        let mut buffer = vec![0u8; 196];
        self.call(GET_DRIVER, &mut buffer)?;
        Ok(text(buffer.get(4..36).unwrap_or_default()))
    }

    /// Queue counts, as `ethtool -l` shows them.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the driver has no channels to speak of.
    pub fn channels(&self) -> io::Result<Channels> {
        let mut buffer = vec![0u8; 36];
        self.call(GET_CHANNELS, &mut buffer)?;
        let at = |index: usize| word(&buffer, index * 4);
        Ok(Channels { rx: at(5).saturating_add(at(8)), rx_max: at(1).saturating_add(at(4)) })
    }

    /// Names and values of the NIC's own counters, as `ethtool -S` shows them.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the driver has none.
    pub fn statistics(&self) -> io::Result<Vec<(String, u64)>> {
        let names = self.strings(STRINGS_STATS)?;
        let mut buffer = vec![0u8; 8 + (names.len() + GROWTH) * 8];
        put(&mut buffer, 4, u32::try_from(names.len()).unwrap_or(0));
        self.call(GET_STATS, &mut buffer)?;
        let value = |index: usize| {
            let bytes = buffer.get(8 + index * 8..16 + index * 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_ne_bytes)
        };
        Ok(names.into_iter().enumerate().map(|(index, name)| (name, value(index))).collect())
    }

    /// Names of the offloads (kernel's names, such as `rx-gro`) that are active now.
    ///
    /// # Errors
    /// No such interface.
    pub fn active_features(&self) -> io::Result<Vec<String>> {
        let names = self.strings(STRINGS_FEATURES)?;
        let blocks = names.len().div_ceil(32);
        let mut buffer = vec![0u8; 8 + blocks * 16];
        put(&mut buffer, 4, u32::try_from(blocks).unwrap_or(0));
        self.call(GET_FEATURES, &mut buffer)?;
        let active = |index: usize| word(&buffer, 8 + index / 32 * 16 + 8) & (1 << (index % 32)) != 0;
        let named = names.into_iter().enumerate().filter(|(index, name)| !name.is_empty() && active(*index));
        Ok(named.map(|(_, name)| name).collect())
    }

    /// RSS indirection table and key.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the driver has no RSS.
    pub fn rss(&self) -> io::Result<Rss> {
        let mut sizes = vec![0u8; RSS_HEAD];
        self.call(GET_RSS, &mut sizes)?;
        let (entries, key_bytes) = (word(&sizes, 8) as usize, word(&sizes, 12) as usize);
        let mut buffer = vec![0u8; RSS_HEAD + entries * 4 + key_bytes];
        put(&mut buffer, 8, u32::try_from(entries).unwrap_or(0));
        put(&mut buffer, 12, u32::try_from(key_bytes).unwrap_or(0));
        self.call(GET_RSS, &mut buffer)?;
        let table = buffer.get(RSS_HEAD..RSS_HEAD + entries * 4).unwrap_or_default();
        Ok(Rss {
            indirection: (0..entries).map(|index| word(table, index * 4)).collect(),
            key: buffer.get(RSS_HEAD + entries * 4..).unwrap_or_default().to_vec(),
            function: buffer.get(16).copied().unwrap_or(0),
        })
    }

    /// Sets indirection table and key; an empty part stays as it is.
    ///
    /// # Errors
    /// `EOPNOTSUPP` or `EINVAL` where the driver will not take them.
    pub fn set_rss(&self, rss: &Rss) -> io::Result<()> {
        let entries = rss.indirection.len();
        let mut buffer = vec![0u8; RSS_HEAD + entries * 4];
        // ETH_RXFH_INDIR_NO_CHANGE is all ones; a size of zero would reset the table.
        put(&mut buffer, 8, if entries == 0 { u32::MAX } else { u32::try_from(entries).unwrap_or(0) });
        put(&mut buffer, 12, u32::try_from(rss.key.len()).unwrap_or(0));
        for (index, queue) in rss.indirection.iter().enumerate() {
            put(&mut buffer, RSS_HEAD + index * 4, *queue);
        }
        buffer.extend_from_slice(&rss.key);
        self.call(SET_RSS, &mut buffer)
    }

    /// Header fields that go into the hash for a flow type (`TCP_V4_FLOW` 1, `UDP_V4_FLOW` 2, v6: 5, 6).
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the driver has no such setting.
    pub fn hash_fields(&self, flow_type: u32) -> io::Result<u64> {
        let mut buffer = vec![0u8; RX_CLASS];
        put(&mut buffer, 4, flow_type);
        self.call(GET_RX_HASH, &mut buffer)?;
        Ok(buffer.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes))
    }

    /// Sets the header fields that go into the hash for a flow type.
    ///
    /// # Errors
    /// `EOPNOTSUPP` or `EINVAL` where the driver will not take them.
    pub fn set_hash_fields(&self, flow_type: u32, fields: u64) -> io::Result<()> {
        let mut buffer = vec![0u8; RX_CLASS];
        put(&mut buffer, 4, flow_type);
        if let Some(place) = buffer.get_mut(8..16) {
            place.copy_from_slice(&fields.to_ne_bytes());
        }
        self.call(SET_RX_HASH, &mut buffer)
    }

    fn strings(&self, set: u32) -> io::Result<Vec<String>> {
        let mut info = vec![0u8; 20];
        if let Some(mask) = info.get_mut(8..16) {
            mask.copy_from_slice(&(1u64 << set).to_ne_bytes());
        }
        self.call(GET_SET_INFO, &mut info)?;
        if word(&info, 8) == 0 {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let count = (word(&info, 16) as usize).min(STRINGS_MAX);
        let mut buffer = vec![0u8; 12 + (count + GROWTH) * NAME_BYTES];
        put(&mut buffer, 4, set);
        put(&mut buffer, 8, u32::try_from(count).unwrap_or(0));
        self.call(GET_STRINGS, &mut buffer)?;
        Ok(buffer.get(12..).unwrap_or_default().chunks(NAME_BYTES).take(count).map(text).collect())
    }

    /// `buffer` must have the whole size its command's layout asks for; the callers above see to that.
    fn call(&self, command: u32, buffer: &mut [u8]) -> io::Result<()> {
        put(buffer, 0, command);
        // SAFETY: `ifreq` is plain data for which all zeroes are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (place, byte) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *place = byte.cast_signed();
        }
        request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
        // SAFETY: the name is NUL-terminated (`open` checked its length), `ifru_data` points to a live buffer that is
        // as long as the command's structure with the element counts written into it (and GROWTH elements more where the
        // kernel may write what it has now), and the kernel keeps no pointer. A new command must size its buffer likewise.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// `struct ethtool_rxfh` without its variable part.
const RSS_HEAD: usize = 24;
/// `struct ethtool_rxnfc` is 192 bytes; a little more does no harm.
const RX_CLASS: usize = 256;

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_its_offloads() {
        let ethtool = Ethtool::open("lo").unwrap();
        let features = ethtool.active_features().unwrap();
        assert!(features.iter().any(|name| name == "tx-tcp-segmentation" || name == "rx-gro"), "{features:?}");
        assert!(ethtool.rss().is_err());
        assert!(Ethtool::open("a-name-longer-than-any").is_err());
    }
}
