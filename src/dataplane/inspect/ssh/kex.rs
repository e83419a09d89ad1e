//! KEXINIT and the replies of a key exchange (RFC 4253 sections 7 and 8, RFC 4419, RFC 5656).

use super::super::bytes::Reader;
use super::super::facts::Fact;
use super::super::parse::Output;
use super::*;

/// The lists of a KEXINIT, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists<'a> {
    pub kex: &'a [u8],
    pub host_keys: &'a [u8],
    /// Client to server, server to client.
    pub ciphers: [&'a [u8]; 2],
    pub macs: [&'a [u8]; 2],
    pub compressions: [&'a [u8]; 2],
}

fn string<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.be32()?;
    reader.take(usize::try_from(length).ok()?)
}

impl<'a> Lists<'a> {
    /// Reads what follows the message number.
    pub(super) fn read(payload: &'a [u8]) -> Option<Lists<'a>> {
        let mut reader = Reader::new(payload);
        reader.take(16)?; // the cookie
        let mut next = || string(&mut reader);
        Some(Lists {
            kex: next()?,
            host_keys: next()?,
            ciphers: [next()?, next()?],
            macs: [next()?, next()?],
            compressions: [next()?, next()?],
        })
    }
}

/// A list in the order of [`parts`], as a bit of those that are cut.
const fn bit(list: usize) -> u8 {
    1 << list
}

/// Where the host keys stand in that order.
const HOST_KEYS: usize = 4;

/// Key exchanges, ciphers, MACs, compressions, host keys, as far as they are of `side`'s direction.
fn parts<'a>(side: Side, lists: &Lists<'a>) -> [&'a [u8]; 5] {
    let of_side = |[client, server]: [&'a [u8]; 2]| if side == Side::Originator { client } else { server };
    let [ciphers, macs, compressions] = [lists.ciphers, lists.macs, lists.compressions].map(of_side);
    [lists.kex, ciphers, macs, compressions, lists.host_keys]
}

/// The facts of a side: HASSH, host keys.
fn facts_of(side: Side) -> [Fact; 2] {
    match side {
        Side::Originator => [HASSH, CLIENT_HOST_KEYS],
        Side::Responder => [HASSH_SERVER, SERVER_HOST_KEYS],
    }
}

/// Puts the lists of a side; gives those that were not kept whole, a bit for each.
pub(super) fn put(side: Side, lists: &Lists<'_>, out: &mut dyn Output) -> u8 {
    let [kex, ciphers, macs, compressions, host_keys] = parts(side, lists);
    let mut place = [0; HASSH_MAX + 1];
    let [hassh, keys] = facts_of(side);
    out.facts().put(hassh, join([kex, ciphers, macs, compressions], &mut place));
    out.facts().put(keys, host_keys);
    let facts = out.facts();
    let kept = |fact| facts.get(fact).map_or(0, <[u8]>::len);
    let (kept_joined, kept_keys) = (kept(hassh), kept(keys));
    let mut cut = if kept_keys < host_keys.len() { bit(HOST_KEYS) } else { 0 };
    let mut end = 0;
    for (index, list) in [kex, ciphers, macs, compressions].into_iter().enumerate() {
        end += usize::from(index > 0) + list.len();
        if end > kept_joined {
            cut |= bit(index);
        }
    }
    cut
}

/// Joined by semicolons; one byte longer than is kept where it does not fit, so that the cut is noted.
fn join<'a>(parts: [&[u8]; 4], place: &'a mut [u8; HASSH_MAX + 1]) -> &'a [u8] {
    let mut written = 0;
    for (index, part) in parts.into_iter().enumerate() {
        let semicolon: &[u8] = if index == 0 { b"" } else { b";" };
        for piece in [semicolon, part] {
            let piece = piece.get(..place.len() - written).unwrap_or(piece);
            if let Some(slot) = place.get_mut(written..written + piece.len()) {
                slot.copy_from_slice(piece);
                written += piece.len();
            }
        }
    }
    place.get(..written).unwrap_or_default()
}

/// Bytes of an algorithm's name (RFC 4251 section 6).
const NAME_MAX: usize = 64;
/// Names of a list that are compared.
pub(in crate::dataplane::inspect) const NAMES_MAX: usize = 48;

/// A name, out of the facts.
struct Chosen {
    bytes: [u8; NAME_MAX],
    length: usize,
}

/// What two lists have in common.
enum Common {
    Name(Chosen),
    Nothing,
    /// One of them was not kept whole, or has more names than are compared, and what is there does not tell.
    Unknown,
}

/// Puts what comes out of the lists of both sides, of which those of `second` came now and the others stand in the facts, but
/// for those in `cut`: of each the first of the client's that the server has. False where one has nothing in common.
pub(super) fn choose(second: Side, lists: &Lists<'_>, cut: u8, out: &mut dyn Output) -> bool {
    let now = parts(second, lists);
    let mut is_whole = true;
    for (fact, at) in [(KEX, 0), (HOST_KEY, HOST_KEYS), (CIPHER, 1), (MAC, 2)] {
        let facts = out.facts();
        let [hassh, keys] = facts_of(second.other());
        let before = match at {
            HOST_KEYS => facts.get(keys),
            _ => facts.get(hassh).and_then(|all| all.split(|byte| *byte == b';').nth(at)),
        };
        let is_cut = cut & bit(at) != 0;
        let (before, now) = (before.unwrap_or_default(), now.get(at).copied().unwrap_or_default());
        let (client, server) = match second {
            Side::Originator => ((now, false), (before, is_cut)),
            Side::Responder => ((before, is_cut), (now, false)),
        };
        let is_long = |(list, _): (&[u8], bool)| list.iter().filter(|byte| **byte == b',').count() >= NAMES_MAX;
        let (is_cut, found) = (is_long(client) || is_long(server), common(client, server));
        if is_cut {
            facts.mark_truncated();
        }
        match found {
            Common::Name(chosen) => facts.put(fact, chosen.bytes.get(..chosen.length).unwrap_or_default()),
            // Ciphers with their own MAC need none.
            Common::Nothing => is_whole &= fact.index == MAC.index,
            Common::Unknown => facts.mark_truncated(),
        }
    }
    is_whole
}

/// The names of a list that are compared, and whether there are more. Of a list that was cut the last one is none.
fn names((list, is_cut): (&[u8], bool)) -> (impl Iterator<Item = &[u8]> + Clone, bool) {
    let commas = list.iter().filter(|byte| **byte == b',').count();
    let whole = if is_cut { commas } else { commas + 1 };
    (list.split(|byte| *byte == b',').take(whole.min(NAMES_MAX)), is_cut || whole > NAMES_MAX)
}

fn common(client: (&[u8], bool), server: (&[u8], bool)) -> Common {
    let ((client, client_goes_on), (server, server_goes_on)) = (names(client), names(server));
    for name in client.filter(|name| !name.is_empty()) {
        if server.clone().any(|other| other == name) {
            let mut bytes = [0; NAME_MAX];
            let length = name.len().min(NAME_MAX);
            let (Some(place), Some(name)) = (bytes.get_mut(..length), name.get(..length)) else { break };
            place.copy_from_slice(name);
            return Common::Name(Chosen { bytes, length });
        }
        if server_goes_on {
            return Common::Unknown; // this name may come there
        }
    }
    if client_goes_on || server_goes_on { Common::Unknown } else { Common::Nothing }
}

/// Reads a reply of the server: the host key, or the group of RFC 4419, which has the same number as another reply.
pub(super) fn reply(payload: &[u8], out: &mut dyn Output) {
    let mut reader = Reader::new(payload);
    let Some(first) = string(&mut reader) else { return };
    let mut key = Reader::new(first);
    match string(&mut key).filter(|name| !name.is_empty() && lines::is_plain(name)) {
        Some(name) => {
            out.facts().put(KEY_TYPE, name);
            if let Some(bits) = key_bits(name, &mut key) {
                out.facts().put_number(KEY_BITS, bits);
            }
        }
        None => out.facts().put_number(GROUP_BITS, bits(first)),
    }
}

/// Of RSA the modulus (behind the exponent), of DSA the prime.
fn key_bits(name: &[u8], key: &mut Reader<'_>) -> Option<u64> {
    match name {
        b"ssh-rsa" => {
            string(key)?;
            string(key).map(bits)
        }
        b"ssh-dss" => string(key).map(bits),
        _ => None,
    }
}

/// Bits of a positive number.
fn bits(number: &[u8]) -> u64 {
    let number = number.get(number.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default();
    let top = number.first().map_or(8, |byte| byte.leading_zeros());
    (number.len() as u64 * 8).saturating_sub(u64::from(top))
}
