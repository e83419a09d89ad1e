//! The first certificate of a chain (X.509, RFC 5280), as far as people search for it.

use core::net::{Ipv4Addr, Ipv6Addr};
use sha1::{Digest as _, Sha1};

use super::super::bytes::Reader;
use super::super::der;
use super::super::facts::Facts;
use super::super::text::Text;
use super::facts::CertificateFacts;
use super::x509::{self, tag};

/// Extensions of a certificate that are looked at for alternative names; real ones have some ten.
pub(in crate::dataplane::inspect) const EXTENSIONS_MAX: usize = 48;
/// Certificates of a chain that are counted.
pub(in crate::dataplane::inspect) const CHAIN_MAX: usize = 64;

/// Reads the body of a Certificate message (RFC 5246 section 7.4.2): the first certificate, and how many there are. `None`:
/// broken; what was read before stands in the facts. A message whose end is missing (`is_cut`) is none.
pub fn chain(body: &[u8], is_cut: bool, names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(body);
    let length = usize::try_from(reader.be24()?).ok()?;
    let mut chain = match is_cut {
        true => reader,
        false => reader.part(length)?,
    };
    let first = one(&mut chain);
    let mut count = u64::from(first.is_some());
    while !chain.is_empty() && count < CHAIN_MAX as u64 {
        match one(&mut chain) {
            Some(_) => count += 1,
            None if is_cut => break,
            None => return None,
        }
    }
    facts.put_number(names.count, count);
    if !chain.is_empty() && count >= CHAIN_MAX as u64 {
        facts.mark_truncated();
    }
    match first {
        Some(first) => certificate(first, names, facts),
        None => (length == 0).then_some(()), // a client that has none says so
    }
}

fn one<'a>(chain: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(chain.be24()?).ok()?;
    chain.take(length)
}

/// Reads one certificate. Costs a SHA-1 over it.
pub fn certificate(bytes: &[u8], names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    facts.put(names.fingerprint, &Sha1::digest(bytes));
    let mut whole = Reader::new(der::whole(&mut Reader::new(bytes), der::SEQUENCE)?);
    let mut body = Reader::new(der::whole(&mut whole, der::SEQUENCE)?);
    if body.rest().first() == Some(&tag::CONTEXT_0) {
        der::element(&mut body)?; // version
    }
    facts.put(names.serial, der::whole(&mut body, der::INTEGER)?);
    let algorithm = der::whole(&mut body, der::SEQUENCE)?;
    signature(algorithm, names, facts)?;
    let issuer = der::whole(&mut body, der::SEQUENCE)?;
    let validity = der::whole(&mut body, der::SEQUENCE)?;
    let subject = der::whole(&mut body, der::SEQUENCE)?;
    name(subject, names.subject, facts)?;
    name(issuer, names.issuer, facts)?;
    if issuer == subject {
        facts.put_number(names.self_signed, 1);
    }
    dates(validity, names, facts)?;
    key(der::whole(&mut body, der::SEQUENCE)?, names, facts)?;
    while let Some((kind, content)) = der::element(&mut body) {
        if kind == tag::CONTEXT_3 {
            alt_names(content, names, facts)?;
        }
    }
    body.is_empty().then_some(())
}

fn name(content: &[u8], fact: super::super::facts::Fact, facts: &mut Facts) -> Option<()> {
    let mut text = Text::<{ 256 + 1 }>::default(); // one more than the facts' limit, so that a cut is told
    let has_more = x509::push_name(content, &mut text);
    facts.put(fact, text.as_bytes());
    if has_more? {
        facts.mark_truncated();
    }
    Some(())
}

fn dates(validity: &[u8], names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(validity);
    let (kind, content) = der::element(&mut reader)?;
    facts.put_number(names.not_before, x509::time(kind, content)?);
    let (kind, content) = der::element(&mut reader)?;
    facts.put_number(names.not_after, x509::time(kind, content)?);
    Some(())
}

/// Prefix of the algorithms of PKCS #1 (RFC 8017 appendix C).
const PKCS1: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];

fn signature(algorithm: &[u8], names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    let object = der::whole(&mut Reader::new(algorithm), der::OBJECT)?;
    let known: &[u8] = match object {
        [rest @ .., last] if *rest == PKCS1 => match last {
            2 => b"md2WithRSAEncryption",
            3 => b"md4WithRSAEncryption",
            4 => b"md5WithRSAEncryption",
            5 => b"sha1WithRSAEncryption",
            10 => b"rsassaPss",
            11 => b"sha256WithRSAEncryption",
            12 => b"sha384WithRSAEncryption",
            13 => b"sha512WithRSAEncryption",
            14 => b"sha224WithRSAEncryption",
            _ => b"",
        },
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => b"ecdsa-with-SHA1",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1] => b"ecdsa-with-SHA224",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => b"ecdsa-with-SHA256",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => b"ecdsa-with-SHA384",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => b"ecdsa-with-SHA512",
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3] => b"dsa-with-sha1",
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2] => b"dsa-with-sha256",
        [0x2b, 0x0e, 3, 2, 29] => b"sha1WithRSASignature",
        [0x2b, 0x65, 0x70] => b"ed25519",
        [0x2b, 0x65, 0x71] => b"ed448",
        _ => b"",
    };
    put_object(known, object, names.signature, facts);
    Some(())
}

/// A name, or where there is none the object identifier.
fn put_object(known: &[u8], object: &[u8], fact: super::super::facts::Fact, facts: &mut Facts) {
    if !known.is_empty() {
        return facts.put(fact, known);
    }
    let mut text = Text::<40>::default();
    let has_more = x509::push_object(object, &mut text);
    facts.put(fact, text.as_bytes());
    if has_more || text.is_cut() {
        facts.mark_truncated();
    }
}

fn key(content: &[u8], names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    let mut reader = Reader::new(content);
    let mut algorithm = Reader::new(der::whole(&mut reader, der::SEQUENCE)?);
    let object = der::whole(&mut algorithm, der::OBJECT)?;
    let bits = der::whole(&mut reader, der::BIT_STRING)?.get(1..)?;
    let (name, size): (&[u8], Option<u64>) = match object {
        [rest @ .., 1 | 10] if *rest == PKCS1 => (b"rsa", modulus_bits(bits)),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => (b"ec", Some(curve_bits(algorithm, bits))),
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => (b"dsa", dsa_bits(algorithm)),
        [0x2b, 0x65, 0x70] => (b"ed25519", Some(256)),
        [0x2b, 0x65, 0x71] => (b"ed448", Some(448)),
        _ => (b"", None),
    };
    put_object(name, object, names.key_type, facts);
    if let Some(size) = size {
        facts.put_number(names.key_bits, size);
    }
    Some(())
}

/// RSAPublicKey: SEQUENCE { modulus, exponent }.
fn modulus_bits(key: &[u8]) -> Option<u64> {
    let mut key = Reader::new(der::whole(&mut Reader::new(key), der::SEQUENCE)?);
    der::whole(&mut key, der::INTEGER).map(integer_bits)
}

/// Parameters of DSA: SEQUENCE { p, q, g }.
fn dsa_bits(mut algorithm: Reader<'_>) -> Option<u64> {
    let mut parameters = Reader::new(der::whole(&mut algorithm, der::SEQUENCE)?);
    der::whole(&mut parameters, der::INTEGER).map(integer_bits)
}

fn integer_bits(bytes: &[u8]) -> u64 {
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = bytes.get(from..).unwrap_or_default();
    let unused = bytes.first().map_or(0, |first| first.leading_zeros());
    (bytes.len() as u64 * 8).saturating_sub(u64::from(unused))
}

/// Size of a curve by name; of others from the length of the point (uncompressed, or compressed).
fn curve_bits(mut algorithm: Reader<'_>, point: &[u8]) -> u64 {
    match der::whole(&mut algorithm, der::OBJECT) {
        Some([0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]) => 256,
        Some([0x2b, 0x81, 0x04, 0, 34]) => 384,
        Some([0x2b, 0x81, 0x04, 0, 35]) => 521,
        _ => match point.split_first() {
            Some((4, xy)) => xy.len() as u64 * 4,
            Some((_, x)) => x.len() as u64 * 8,
            None => 0,
        },
    }
}

/// `subjectAltName` among the extensions (RFC 5280 section 4.2.1.6).
fn alt_names(content: &[u8], names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    let mut extensions = Reader::new(der::whole(&mut Reader::new(content), der::SEQUENCE)?);
    for _ in 0..EXTENSIONS_MAX {
        if extensions.is_empty() {
            break;
        }
        let mut extension = Reader::new(der::whole(&mut extensions, der::SEQUENCE)?);
        if der::whole(&mut extension, der::OBJECT)? != [0x55, 0x1d, 17] {
            continue;
        }
        let (mut kind, mut value) = der::element(&mut extension)?;
        if kind != der::OCTETS {
            (kind, value) = der::element(&mut extension)?; // behind "critical"
        }
        if kind == der::OCTETS {
            return put_alt_names(value, names, facts);
        }
    }
    if !extensions.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

fn put_alt_names(value: &[u8], names: &CertificateFacts, facts: &mut Facts) -> Option<()> {
    let mut list = Reader::new(der::whole(&mut Reader::new(value), der::SEQUENCE)?);
    let mut ahead = list;
    let mut count = 0;
    while let Some((kind, _)) = der::element(&mut ahead) {
        count += u64::from(matches!(kind, DNS_NAME | IP_ADDRESS));
    }
    facts.put_number(names.alt_name_count, count);
    let mut kept = 0;
    while kept <= names.alt_name.repeats && !list.is_empty() {
        let (kind, name) = der::element(&mut list)?;
        match kind {
            DNS_NAME => facts.put(names.alt_name, name),
            IP_ADDRESS => put_address(name, names, facts),
            _ => continue,
        }
        kept += 1;
    }
    Some(())
}

/// An address, as text; one of another length than 4 and 16 bytes is none.
fn put_address(bytes: &[u8], names: &CertificateFacts, facts: &mut Facts) {
    let mut text = Text::<40>::default();
    match bytes.len() {
        4 => {
            bytes.first_chunk::<4>().into_iter().for_each(|four| text.print(format_args!("{}", Ipv4Addr::from(*four))))
        }
        16 => {
            bytes.first_chunk::<16>().into_iter().for_each(|all| text.print(format_args!("{}", Ipv6Addr::from(*all))))
        }
        _ => return,
    }
    facts.put(names.alt_name, text.as_bytes());
}

/// Context tags of GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

#[cfg(test)]
mod tests {
    use super::super::SERVER_CERTIFICATE;
    use super::super::tests::{certificate_from, der, name_of};
    use super::*;

    /// Certificates of routers and clusters name addresses; one that cannot be an address is none.
    #[test]
    fn alternative_names_may_be_addresses() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1]].concat();
        let names = [
            der(0x82, &[b"web.example"]),
            der(0x87, &[&[10, 9, 0, 1]]),
            der(0x81, &[b"a@b"]),
            der(0x87, &[&v6]),
            der(0x87, &[&[1, 2, 3]]),
        ];
        let list = der(0x30, &[&names.concat()]);
        let alternative = der(0x30, &[&der(6, &[&[0x55, 0x1d, 17]]), &der(4, &[&list])]);
        let mut facts = Facts::default();
        let bytes = certificate_from(&name_of(&[(3, b"x")]), &alternative);
        assert_eq!(certificate(&bytes, &SERVER_CERTIFICATE, &mut facts), Some(()));
        let told: Vec<_> = facts.all(SERVER_CERTIFICATE.alt_name).map(String::from_utf8_lossy).collect();
        assert_eq!(told, ["web.example", "10.9.0.1", "2001:db8::1"]);
        assert_eq!(facts.number(SERVER_CERTIFICATE.alt_name_count), Some(4));
    }
}
