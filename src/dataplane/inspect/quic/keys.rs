//! Keys of Initial packets, which anyone on the path can derive (RFC 9001 section 5.2, RFC 9369 section 3.3), and taking
//! the protection off. Nothing here allocates.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use ring::hkdf::{self, HKDF_SHA256, Prk, Salt};

use super::header::V2;
use crate::dataplane::flow::Side;

type SaltBytes = [u8; 20];

const SALT_V2: SaltBytes = *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
const SALT_V1: SaltBytes = *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
const SALT_DRAFT29: SaltBytes = *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
const SALT_DRAFT23: SaltBytes = *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
const SALT_DRAFT22: SaltBytes = *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a";
const SALT_V2_DRAFT: SaltBytes = *b"\xa7\x07\xc2\x03\xa5\x9b\x47\x18\x4a\x1d\x62\xca\x57\x04\x06\xea\x7a\xe3\xe5\xd3";
const SALT_Q050: SaltBytes = *b"\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45";
const SALT_T050: SaltBytes = *b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10";
const SALT_T051: SaltBytes = *b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d";

/// Google's own versions in the form of QUIC: with their handshake, and with TLS.
pub const Q050: u32 = 0x5130_3530;
const T050: u32 = 0x5430_3530;
const T051: u32 = 0x5430_3531;
const V2_DRAFT: u32 = 0xff02_0000;

/// Labels of the keys of a version.
#[derive(Clone, Copy)]
struct Labels {
    key: &'static [u8],
    iv: &'static [u8],
    header: &'static [u8],
}

const LABELS_V1: Labels = Labels { key: b"quic key", iv: b"quic iv", header: b"quic hp" };
const LABELS_V2: Labels = Labels { key: b"quicv2 key", iv: b"quicv2 iv", header: b"quicv2 hp" };

/// Salt of a version; `None` where it is not known how its Initial packets are protected. A version that is there only to
/// be refused (RFC 9000 section 15) says nothing of its salt: clients that do so had drafts 29 to 34.
fn salt(version: u32) -> Option<&'static SaltBytes> {
    Some(match version {
        0x0000_0001 | 0xff00_0021 | 0xff00_0022 => &SALT_V1,
        _ if V2.contains(&version) => &SALT_V2,
        V2_DRAFT => &SALT_V2_DRAFT,
        0xff00_001d..=0xff00_0020 => &SALT_DRAFT29,
        0xff00_0017..=0xff00_001c | 0xface_b002 | 0xface_b00e => &SALT_DRAFT23,
        0xff00_0015..=0xff00_0016 | 0xface_b001 => &SALT_DRAFT22,
        Q050 => &SALT_Q050,
        T050 => &SALT_T050,
        T051 => &SALT_T051,
        _ if is_forcing(version) => &SALT_DRAFT29,
        _ => return None,
    })
}

/// Is it known how this version protects its Initial packets?
pub fn is_known(version: u32) -> bool {
    salt(version).is_some()
}

/// A version of the form 0x?a?a?a?a, which is there to be refused.
pub fn is_forcing(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// Keys of one side's Initial packets.
struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    header: quic::HeaderProtectionKey,
}

/// Bytes of an HKDF label at most: length, "tls13 " and the label, no context.
const LABEL_MAX: usize = 32;

/// Output of so many bytes.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Prk, label: &[u8]) -> Option<[u8; N]> {
    let mut info = [0; LABEL_MAX];
    let length = 6 + label.len();
    let used = 4 + length;
    let (head, tail) = info.get_mut(..used)?.split_at_mut(3);
    head.copy_from_slice(&[0, u8::try_from(N).ok()?, u8::try_from(length).ok()?]);
    tail.get_mut(..6)?.copy_from_slice(b"tls13 ");
    tail.get_mut(6..length)?.copy_from_slice(label);
    let info = [info.get(..used)?];
    let mut out = [0; N];
    secret.expand(&info, Length(N)).and_then(|okm| okm.fill(&mut out)).ok()?;
    Some(out)
}

fn keys(version: u32, dcid: &[u8], from: Side) -> Option<Keys> {
    let initial = Salt::new(HKDF_SHA256, salt(version)?).extract(dcid);
    let label: &[u8] = match from {
        Side::Originator => b"client in",
        Side::Responder => b"server in",
    };
    let secret = Prk::new_less_safe(HKDF_SHA256, &expand::<32>(&initial, label)?);
    let labels = if V2.contains(&version) || version == V2_DRAFT { LABELS_V2 } else { LABELS_V1 };
    let key = UnboundKey::new(&AES_128_GCM, &expand::<16>(&secret, labels.key)?).ok()?;
    let header = quic::HeaderProtectionKey::new(&quic::AES_128, &expand::<16>(&secret, labels.header)?).ok()?;
    Some(Keys { key: LessSafeKey::new(key), iv: expand(&secret, labels.iv)?, header })
}

/// Key and nonce of the tag of a version's Retry packets; `None` where they have none, or it is not known.
fn retry_keys(version: u32) -> Option<([u8; 16], [u8; 12])> {
    Some(match version {
        0x0000_0001 | 0xff00_0021 | 0xff00_0022 => (
            *b"\xbe\x0c\x69\x0b\x9f\x66\x57\x5a\x1d\x76\x6b\x54\xe3\x68\xc8\x4e",
            *b"\x46\x15\x99\xd3\x5d\x63\x2b\xf2\x23\x98\x25\xbb",
        ),
        _ if V2.contains(&version) => (
            *b"\x8f\xb4\xb0\x1b\x56\xac\x48\xe2\x60\xfb\xcb\xce\xad\x7c\xcc\x92",
            *b"\xd8\x69\x69\xbc\x2d\x7c\x6d\x99\x90\xef\xb0\x4a",
        ),
        0xff00_001d..=0xff00_0020 => (
            *b"\xcc\xce\x18\x7e\xd0\x9a\x09\xd0\x57\x28\x15\x5a\x6c\xb9\x6b\xe1",
            *b"\xe5\x49\x30\xf9\x7f\x21\x36\xf0\x53\x0a\x8c\x1c",
        ),
        _ => return None,
    })
}

/// Tag of a Retry packet (RFC 9001 section 5.8), which is over the id that the client sent to and the packet without it.
pub fn retry_tag(packet: &[u8], version: u32, dcid: &[u8]) -> Option<[u8; 16]> {
    let (key, nonce) = retry_keys(version)?;
    let mut pseudo = [0; RETRY_MAX];
    let (head, rest) = pseudo.split_first_mut()?;
    *head = u8::try_from(dcid.len()).ok()?;
    let used = dcid.len() + packet.len();
    let (id, body) = rest.get_mut(..used)?.split_at_mut(dcid.len());
    id.copy_from_slice(dcid);
    body.copy_from_slice(packet);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(pseudo.get(..=used)?), &mut []).ok()?;
    tag.as_ref().try_into().ok()
}

/// Bytes of a Retry packet with the id before it at most.
const RETRY_MAX: usize = 2048;

/// Would the client believe this Retry? Of versions whose tag is not known, yes.
pub fn is_retry(bytes: &[u8], version: u32, dcid: &[u8]) -> bool {
    let Some((packet, tag)) = bytes.split_last_chunk::<16>() else { return false };
    retry_keys(version).is_none() || retry_tag(packet, version, dcid) == Some(*tag)
}

/// Takes the protection off an Initial packet in place: its frames. `dcid` is the one of the client's first packet, `from`
/// says whose the packet is (`Originator`: the client's). Costs four to five HKDF steps and one AES-GCM over the packet.
pub fn open<'a>(packet: &'a mut [u8], number_at: usize, version: u32, dcid: &[u8], from: Side) -> Option<&'a [u8]> {
    let Keys { key, iv, header } = keys(version, dcid, from)?;
    let mask = header.new_mask(packet.get(number_at + 4..number_at + 20)?).ok()?;
    let [first_mask, number_mask @ ..] = mask;
    let first = packet.first_mut()?;
    *first ^= first_mask & 0x0f;
    let length = usize::from(*first & 3) + 1;
    let mut number = 0u64;
    for (byte, mask) in packet.get_mut(number_at..number_at + length)?.iter_mut().zip(number_mask) {
        *byte ^= mask;
        number = number << 8 | u64::from(*byte);
    }
    let mut nonce = iv;
    for (byte, part) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= part;
    }
    let (head, body) = packet.split_at_mut_checked(number_at + length)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.open_in_place(nonce, Aad::from(&*head), body).ok().map(|plain| &*plain)
}

/// The way there, for those who make packets to be inspected (tests, benches, fuzzing): puts the protection on. `header` ends
/// with the packet number, of `number_length` bytes; `None` where the packet is too short to be protected.
pub fn seal(
    header: &[u8],
    number_length: usize,
    plain: &[u8],
    version: u32,
    dcid: &[u8],
    from: Side,
) -> Option<Vec<u8>> {
    let Keys { key, iv, header: protection } = keys(version, dcid, from)?;
    let number_at = header.len().checked_sub(number_length)?;
    let mut nonce = iv;
    for (byte, part) in nonce.iter_mut().rev().zip(header.get(number_at..)?.iter().rev()) {
        *byte ^= part;
    }
    let mut body = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut body).ok()?;
    let mut packet = [header, &body].concat();
    let [first, number @ ..] = protection.new_mask(packet.get(number_at + 4..number_at + 20)?).ok()?;
    *packet.first_mut()? ^= first & 0x0f;
    let numbers = packet.get_mut(number_at..number_at + number_length)?;
    numbers.iter_mut().zip(number).for_each(|(byte, mask)| *byte ^= mask);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

    #[test]
    fn keys_are_those_of_the_standards() {
        for (version, from, secret, key, iv, header) in [
            // RFC 9001 appendix A.1.
            (
                1,
                "client in",
                "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea",
                "1f369613dd76d5467730efcbe3b1a22d",
                "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2",
            ),
            (
                1,
                "server in",
                "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b",
                "cf3a5331653c364c88f0f379b6067e37",
                "0ac1493ca1905853b0bba03e",
                "c206b8d9b9f0f37644430b490eeaa314",
            ),
            // RFC 9369 appendix A.1.
            (
                0x6b33_43cf,
                "client in",
                "14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b",
                "8b1a0bc121284290a29e0971b5cd045d",
                "91f73e2351d8fa91660e909f",
                "45b95e15235d6f45a6b19cbcb0294ba9",
            ),
        ] {
            let initial = Salt::new(HKDF_SHA256, salt(version).unwrap()).extract(&DCID);
            let bytes_of_secret = expand::<32>(&initial, from.as_bytes()).unwrap();
            assert_eq!(bytes_of_secret.to_vec(), bytes(secret));
            let secret = Prk::new_less_safe(HKDF_SHA256, &bytes_of_secret);
            let labels = if version == 1 { LABELS_V1 } else { LABELS_V2 };
            assert_eq!(expand::<16>(&secret, labels.key).unwrap().to_vec(), bytes(key));
            assert_eq!(expand::<12>(&secret, labels.iv).unwrap().to_vec(), bytes(iv));
            assert_eq!(expand::<16>(&secret, labels.header).unwrap().to_vec(), bytes(header));
        }
    }

    #[test]
    fn a_packet_of_the_standard_opens() {
        // RFC 9001 appendix A.3: an Initial packet of the server.
        let mut packet = bytes(
            "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede\
             4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06ed\
             bb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
        );
        let number_at = super::super::header::read(&packet).unwrap().number_at;
        let again = packet.clone();
        let plain = open(&mut packet, number_at, 1, &DCID, Side::Responder).unwrap();
        assert_eq!(plain[..8], [2, 0, 0, 0, 0, 6, 0, 0x40], "an ACK, then CRYPTO");
        assert_eq!(open(&mut again.clone(), number_at, 1, &DCID, Side::Originator), None);
        assert_eq!(open(&mut again.clone()[..60], number_at, 1, &DCID, Side::Responder), None);
    }

    #[test]
    fn retries_of_the_standards_are_believed() {
        // RFC 9001 appendix A.4, RFC 9369 appendix A.4.
        for (version, hex) in [
            (1, "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"),
            (0x6b33_43cf, "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6"),
        ] {
            let mut packet = bytes(hex);
            assert!(is_retry(&packet, version, &DCID));
            assert!(!is_retry(&packet, version, &[1; 8]) && !is_retry(&packet[..20], version, &DCID));
            packet[18] ^= 1;
            assert!(!is_retry(&packet, version, &DCID));
        }
    }
}
