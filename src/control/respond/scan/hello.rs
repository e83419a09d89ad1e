//! Hellos of TLS that offer one version: what a server answers tells whether it speaks it, and up to TLS 1.2 its certificate.

/// A version of TLS, as the wire has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u16);

/// Those that are asked for, the latest first.
pub const VERSIONS: [Version; 4] = [Version(0x0304), Version(0x0303), Version(0x0302), Version(0x0301)];

impl Version {
    /// `TLS 1.3`.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x0304 => "TLS 1.3",
            0x0303 => "TLS 1.2",
            0x0302 => "TLS 1.1",
            0x0301 => "TLS 1.0",
            0x0300 => "SSL 3.0",
            _ => "unknown",
        }
    }
}

/// Suites of TLS 1.3 (RFC 8446 appendix B.4).
const SUITES_13: [u16; 3] = [0x1301, 0x1302, 0x1303];
/// Suites before it: what anybody may still have, the good ones first, so that a weak one is chosen where there is no other.
const SUITES: [u16; 20] = [
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x009e, 0x009f, 0xc009, 0xc013, 0xc00a, 0xc014, 0x0033, 0x0039,
    0x002f, 0x0035, 0x009c, 0x000a, 0x0005, 0x0004,
];
/// Schemes of signatures (RFC 8446 section 4.2.3), SHA-1 among them.
const SCHEMES: [u16; 11] = [0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0201];
/// Groups: x25519 and three of NIST (RFC 8422, RFC 8446).
const GROUPS: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// Behind its length of two bytes.
fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat() // some hundred bytes
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(body)].concat()
}

/// A ClientHello in its record, offering this version alone; `random`: 96 bytes that nobody guesses.
pub fn hello(version: Version, random: &[u8; 96]) -> Vec<u8> {
    let is_13 = version.0 >= 0x0304;
    let (random, rest) = random.split_at(32);
    let (session, share) = rest.split_at(32);
    let suites = if is_13 { words(&SUITES_13) } else { words(&SUITES) };
    let mut extensions = [extension(10, &long(&words(&GROUPS))), extension(11, &[1, 0])].concat();
    if version.0 >= 0x0303 {
        extensions.extend(extension(13, &long(&words(&SCHEMES))));
    }
    if is_13 {
        extensions.extend(extension(43, &[2, 3, 4]));
        // Any 32 bytes are a public key of X25519 (RFC 7748 section 6.1).
        extensions.extend(extension(51, &long(&[&words(&[GROUPS[0]])[..], &long(share)].concat())));
    }
    let legacy = version.0.min(0x0303).to_be_bytes();
    let body = [&legacy[..], random, &[32], session, &long(&suites), &[1, 0], &long(&extensions)].concat();
    let message = [&[1, 0][..], &long(&body)].concat();
    [&[22, 3, 1][..], &long(&message)].concat()
}

/// The version that a server took, where these are its first bytes and a ServerHello (RFC 8446 section 4.1.3).
pub fn taken(answer: &[u8]) -> Option<Version> {
    let (&[22, 3, _, _, _], body) = answer.split_first_chunk::<5>()? else { return None };
    let (&[2, _, _, _, high, low], rest) = body.split_first_chunk::<6>()? else { return None };
    let legacy = u16::from_be_bytes([high, low]);
    let rest = rest.get(32..)?;
    let (session, rest) = rest.split_first()?;
    // Suite and compression; what follows the extensions is of other messages.
    let rest = rest.get(usize::from(*session) + 3..)?;
    let (mut extensions, length) = rest
        .split_first_chunk::<2>()
        .map_or((&[][..], 0), |(length, behind)| (behind, usize::from(u16::from_be_bytes(*length))));
    extensions = extensions.get(..length).unwrap_or(extensions);
    while let Some((&[a, b, c, d], behind)) = extensions.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([c, d]));
        if [a, b] == [0, 43] {
            return behind.first_chunk::<2>().map(|two| Version(u16::from_be_bytes(*two)));
        }
        extensions = behind.get(length..)?;
    }
    Some(Version(legacy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_are_read_by_others_as_what_they_offer() {
        let random = std::array::from_fn(|index| index as u8);
        for version in VERSIONS {
            let bytes = hello(version, &random);
            let (rest, record) = tls_parser::parse_tls_plaintext(&bytes).unwrap();
            assert!(rest.is_empty());
            let [tls_parser::TlsMessage::Handshake(tls_parser::TlsMessageHandshake::ClientHello(found))] =
                &record.msg[..]
            else {
                panic!("{record:?}")
            };
            assert_eq!(found.version.0, version.0.min(0x0303));
            let (_, extensions) = tls_parser::parse_tls_extensions(found.ext.unwrap()).unwrap();
            let offered = extensions.iter().find_map(|one| match one {
                tls_parser::TlsExtension::SupportedVersions(list) => {
                    Some(list.iter().map(|one| one.0).collect::<Vec<_>>())
                }
                _ => None,
            });
            assert_eq!(offered, (version.0 == 0x0304).then(|| vec![0x0304]));
        }
    }

    #[test]
    fn what_a_server_took_is_in_its_hello() {
        let with = |legacy: [u8; 2], extensions: &[u8]| {
            let body = [&legacy[..], &[7; 32], &[0], &[0x13, 1, 0], &long(extensions)].concat();
            let message = [&[2, 0][..], &long(&body)].concat();
            [&[22, 3, 3][..], &long(&message)].concat()
        };
        let thirteen = [extension(51, &[0; 36]), extension(43, &[3, 4])].concat();
        assert_eq!(taken(&with([3, 3], &thirteen)), Some(Version(0x0304)));
        assert_eq!(taken(&with([3, 1], &[])), Some(Version(0x0301)));
        assert_eq!(taken(&[21, 3, 1, 0, 2, 2, 70]), None, "an alert");
        let whole = with([3, 3], &thirteen);
        (0..whole.len()).for_each(|length| {
            let _ = taken(&whole[..length]);
        });
        // A flight of TLS 1.2: what follows is no extension.
        let twelve = [with([3, 3], &extension(0xff01, &[0])), vec![0xff; 3000]].concat();
        assert_eq!(taken(&twelve), Some(Version(0x0303)));
        assert_eq!(taken(b"HTTP/1.1 400 Bad Request\r\n"), None);
    }
}
