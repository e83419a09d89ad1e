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

/// Puts the lists of a side.
pub(super) fn put(side: Side, lists: &Lists<'_>, out: &mut dyn Output) {
    let direction = |[client, server]: [&'static Fact; 2]| match side {
        Side::Originator => client,
        Side::Responder => server,
    };
    let of_side = |[client, server]: [_; 2]| match side {
        Side::Originator => client,
        Side::Responder => server,
    };
    let parts = [lists.kex, of_side(lists.ciphers), of_side(lists.macs), of_side(lists.compressions)];
    let mut place = [0; HASSH_MAX + 1];
    out.facts().put(*direction([&HASSH, &HASSH_SERVER]), join(parts, &mut place));
    out.facts().put(*direction([&CLIENT_HOST_KEYS, &SERVER_HOST_KEYS]), lists.host_keys);
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

/// A name that two lists have in common, out of the facts.
struct Chosen {
    bytes: [u8; NAME_MAX],
    length: usize,
}

/// Puts what comes out of both sides' lists: of each the first of the client's that the server has. False where a list has
/// nothing in common.
pub(super) fn choose(out: &mut dyn Output) -> bool {
    let facts = out.facts();
    if facts.is_truncated() {
        return true; // cut lists tell nothing
    }
    let part = |fact, at| facts.get(fact).and_then(|all| all.split(|byte| *byte == b';').nth(at)).unwrap_or_default();
    // Of lists longer than are compared nothing is said.
    let is_long = |list: &[u8]| list.iter().filter(|byte| **byte == b',').count() >= NAMES_MAX;
    let lists = [(HASSH, 0..3), (HASSH_SERVER, 0..3), (CLIENT_HOST_KEYS, 0..1), (SERVER_HOST_KEYS, 0..1)];
    if lists.into_iter().any(|(fact, mut ats)| ats.any(|at| is_long(part(fact, at)))) {
        facts.mark_truncated();
        return true;
    }
    let kex = common(part(HASSH, 0), part(HASSH_SERVER, 0));
    let cipher = common(part(HASSH, 1), part(HASSH_SERVER, 1));
    let mac = common(part(HASSH, 2), part(HASSH_SERVER, 2));
    let host_key = common(part(CLIENT_HOST_KEYS, 0), part(SERVER_HOST_KEYS, 0));
    let mut is_whole = true;
    for (fact, chosen) in [(KEX, kex), (HOST_KEY, host_key), (CIPHER, cipher), (MAC, mac)] {
        match chosen {
            Some(chosen) => out.facts().put(fact, chosen.bytes.get(..chosen.length).unwrap_or_default()),
            None => is_whole &= fact.index == MAC.index, // ciphers with their own MAC need none
        }
    }
    is_whole
}

fn common(client: &[u8], server: &[u8]) -> Option<Chosen> {
    let names = |list| <[u8]>::split(list, |byte| *byte == b',').take(NAMES_MAX);
    let name = names(client).find(|name| !name.is_empty() && names(server).any(|other| other == *name))?;
    let mut bytes = [0; NAME_MAX];
    let length = name.len().min(NAME_MAX);
    bytes.get_mut(..length)?.copy_from_slice(name.get(..length)?);
    Some(Chosen { bytes, length })
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
