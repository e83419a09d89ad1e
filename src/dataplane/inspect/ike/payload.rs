//! Payloads of both versions (RFC 7296 section 3.2, RFC 2408 section 3.2), in the clear.

use super::*;

pub(in crate::dataplane::inspect) const PAYLOADS_MAX: usize = 64;
pub(in crate::dataplane::inspect) const PROPOSALS_MAX: usize = 16;
pub(in crate::dataplane::inspect) const TRANSFORMS_MAX: usize = 64;
pub(in crate::dataplane::inspect) const ATTRIBUTES_MAX: usize = 16;

/// Kind of the next payload, and what is in this one.
fn next<'a>(reader: &mut Reader<'a>) -> Option<(u8, Reader<'a>)> {
    let (kind, _flags, length) = (reader.u8()?, reader.u8()?, usize::from(reader.be16()?));
    Some((kind, reader.part(length.checked_sub(4)?)?))
}

/// Do payloads follow each other to the end?
pub fn fit(first: u8, mut payloads: Reader<'_>) -> bool {
    let mut kind = first;
    for _ in 0..PAYLOADS_MAX {
        if kind == 0 {
            return payloads.is_empty();
        }
        match next(&mut payloads) {
            Some((after, _)) => kind = after,
            None => return false,
        }
    }
    false
}

/// Reads all payloads.
pub fn read(version: u8, first: u8, mut payloads: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let mut kind = first;
    for _ in 0..PAYLOADS_MAX {
        if kind == 0 {
            break;
        }
        let (after, body) = next(&mut payloads)?;
        out.facts().put_number(PAYLOAD, kind.into());
        if version == 1 {
            old(kind, body, out)?
        } else {
            new(kind, body, out)?
        }
        kind = if matches!(kind, 46 | 53) { 0 } else { after };
    }
    if kind != 0 {
        out.facts().mark_truncated();
    }
    Some(())
}

/// Version 1 (RFC 2408 section 3).
fn old(kind: u8, mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    match kind {
        1 => {
            let (_doi, _situation) = (body.be32()?, body.be32()?);
            proposals(body, out, old_transform)?;
        }
        4 => out.facts().put_number(KEY_EXCHANGE_BYTES, body.len() as u64),
        5 => identity(body, out)?,
        10 => out.facts().put_number(NONCE_BYTES, body.len() as u64),
        11 => {
            let (_doi, _protocol, _size) = (body.be32()?, body.u8()?, body.u8()?);
            out.facts().put_number(NOTIFY, body.be16()?.into());
        }
        13 => out.facts().put(VENDOR_ID, body.rest()),
        _ => {}
    }
    Some(())
}

/// Version 2 (RFC 7296 section 3).
fn new(kind: u8, mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    match kind {
        33 => proposals(body, out, new_transform)?,
        34 => out.facts().put_number(KEY_EXCHANGE_BYTES, body.len().saturating_sub(4) as u64),
        40 => out.facts().put_number(NONCE_BYTES, body.len() as u64),
        41 => {
            let (_protocol, _size) = (body.u8()?, body.u8()?);
            out.facts().put_number(NOTIFY, body.be16()?.into());
        }
        43 => out.facts().put(VENDOR_ID, body.rest()),
        _ => {}
    }
    Some(())
}

/// A name or an address (RFC 2407 section 4.6.2); addresses are told in hexadecimal by nobody, so only names are kept.
fn identity(mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let (kind, _protocol, _port) = (body.u8()?, body.u8()?, body.be16()?);
    if matches!(kind, 2 | 3 | 11) {
        out.facts().put(IDENTITY, body.rest());
    }
    Some(())
}

/// Proposals (the same in both versions but for what a transform is).
fn proposals(
    mut body: Reader<'_>,
    out: &mut dyn Output,
    transform: fn(Reader<'_>, &mut dyn Output) -> Option<()>,
) -> Option<()> {
    for _ in 0..PROPOSALS_MAX {
        if body.is_empty() {
            break;
        }
        let (_, mut proposal) = next(&mut body)?;
        let (_number, _protocol, spi_bytes, count) = (proposal.u8()?, proposal.u8()?, proposal.u8()?, proposal.u8()?);
        proposal.take(usize::from(spi_bytes))?;
        for _ in 0..usize::from(count).min(TRANSFORMS_MAX) {
            transform(next(&mut proposal)?.1, out)?;
        }
        if usize::from(count) > TRANSFORMS_MAX {
            out.facts().mark_truncated();
        }
    }
    if !body.is_empty() {
        out.facts().mark_truncated();
    }
    Some(())
}

/// Number, kind, and attributes that tell all (RFC 2409 appendix A).
fn old_transform(mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let (_number, _kind, _) = (body.u8()?, body.u8()?, body.be16()?);
    attributes(body, out, |kind| match kind {
        1 => Some(ENCRYPTION),
        2 => Some(INTEGRITY),
        3 => Some(AUTHENTICATION),
        4 => Some(DH_GROUP),
        14 => Some(KEY_BITS),
        _ => None,
    })
}

/// Kind and number, with the length of the key as an attribute (RFC 7296 section 3.3.2).
fn new_transform(mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let (kind, _, number) = (body.u8()?, body.u8()?, body.be16()?);
    let fact = match kind {
        1 => ENCRYPTION,
        2 => PRF,
        3 => INTEGRITY,
        4 => DH_GROUP,
        _ => return Some(()),
    };
    out.facts().put_number(fact, number.into());
    attributes(body, out, |kind| (kind == 14).then_some(KEY_BITS))
}

/// Attributes: short ones have their value in place of a length (RFC 2408 section 3.3).
fn attributes(mut body: Reader<'_>, out: &mut dyn Output, fact: fn(u16) -> Option<Fact>) -> Option<()> {
    for _ in 0..ATTRIBUTES_MAX {
        if body.is_empty() {
            break;
        }
        let (kind, value) = (body.be16()?, body.be16()?);
        if kind & 0x8000 == 0 {
            body.take(usize::from(value))?;
        } else if let Some(fact) = fact(kind & 0x7fff) {
            out.facts().put_number(fact, value.into());
        }
    }
    if !body.is_empty() {
        out.facts().mark_truncated();
    }
    Some(())
}
