//! What the kernel itself says an interface can do with XDP: the generic netlink family `netdev` (Linux 6.3).
//!
//! Numbers and layouts: include/uapi/linux/netdev.h, include/uapi/linux/genetlink.h. Reading needs no capability.

use super::netlink::{Netlink, attributes, half, push_attribute, word};
use std::io;

/// Message type of the controller that knows the families (`GENL_ID_CTRL`), and of it:
const CONTROLLER: u16 = 0x10;
/// `CTRL_CMD_GETFAMILY`.
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`.
const FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`.
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET`.
const DEVICE_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX`.
const INDEX: u16 = 1;
/// `NETDEV_A_DEV_XDP_FEATURES`.
const FEATURES: u16 = 3;
/// `struct genlmsghdr`: command, version, reserved.
const HEAD_BYTES: usize = 4;

/// `enum netdev_xdp_act`, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures(u64);

impl XdpFeatures {
    /// The driver runs XDP programs and redirects (`NETDEV_XDP_ACT_BASIC`, `_REDIRECT`): native mode.
    pub fn native(self) -> bool {
        self.0 & 0b11 == 0b11
    }

    /// AF_XDP sockets without copying (`NETDEV_XDP_ACT_XSK_ZEROCOPY`).
    pub fn zero_copy(self) -> bool {
        self.0 & 0b1000 != 0
    }
}

/// The XDP features of the interface of that index in the calling thread's namespace.
///
/// # Errors
/// `ENOENT` where the kernel has no such family (before 6.3), `ENODEV` where there is no such interface.
pub fn xdp_features(index: u32) -> io::Result<XdpFeatures> {
    let mut netlink = Netlink::open_generic()?;
    let mut family = None;
    netlink.ask(CONTROLLER, 0, &request(GET_FAMILY, FAMILY_NAME, b"netdev\0"), |_, body| {
        family = attribute(body, FAMILY_ID).and_then(|value| half(value, 0));
    })?;
    let family = family.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    let mut features = None;
    netlink.ask(family, 0, &request(DEVICE_GET, INDEX, &index.to_ne_bytes()), |_, body| {
        features = parse_features(body, index);
    })?;
    features.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// A message with one attribute; version 1, which both families ignore.
fn request(command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut body = vec![command, 1, 0, 0];
    push_attribute(&mut body, kind, value);
    body
}

fn attribute(body: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(body.get(HEAD_BYTES..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn parse_features(body: &[u8], index: u32) -> Option<XdpFeatures> {
    (word(attribute(body, INDEX)?, 0)? == index).then_some(())?;
    let value = attribute(body, FEATURES)?.get(..8)?.try_into().ok()?;
    Some(XdpFeatures(u64::from_ne_bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_by_their_bits_and_never_past_the_end() {
        for (bits, native, zero_copy) in
            [(0, false, false), (0b1, false, false), (0x23, true, false), (0b1011, true, true)]
        {
            let mut body = request(DEVICE_GET, INDEX, &7_u32.to_ne_bytes());
            push_attribute(&mut body, FEATURES, &u64::to_ne_bytes(bits));
            let found = parse_features(&body, 7).unwrap();
            assert_eq!((found.native(), found.zero_copy()), (native, zero_copy), "{bits:#b}");
            assert_eq!(parse_features(&body, 8), None, "another interface's");
            for cut in 0..body.len() {
                assert_eq!(parse_features(&body[..cut], 7), None, "{cut}");
            }
        }
    }

    /// The kernel's own answer for an interface that every machine has, where the kernel is new enough.
    #[test]
    fn loopback_has_no_native_mode() {
        match xdp_features(1) {
            Ok(features) => assert!(!features.native() && !features.zero_copy(), "{features:?}"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}"),
        }
    }
}
