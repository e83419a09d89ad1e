//! Names of what hellos and certificates say; DTLS and QUIC use the same ones under their own protocol.

use super::super::facts::Fact;
use super::super::parse::Anomaly;
use super::super::protocol::Protocol;

/// Facts of a ClientHello and a ServerHello, for one of the protocols that carry them.
#[derive(Clone, Copy, Debug)]
pub struct HelloFacts {
    /// Server name the client asked for (RFC 6066 section 3).
    pub sni: Fact,
    /// `legacy_version` of the ClientHello.
    pub client_version: Fact,
    /// Versions the client offers in `supported_versions`, two bytes each, in order, GREASE (RFC 8701) included.
    pub versions: Fact,
    /// Cipher suites offered, two bytes each, in order, GREASE included.
    pub ciphers: Fact,
    /// Types of the client's extensions, two bytes each, in order, GREASE included.
    pub extensions: Fact,
    /// `supported_groups`, two bytes each, in order.
    pub groups: Fact,
    /// `ec_point_formats`, one byte each.
    pub point_formats: Fact,
    /// `signature_algorithms`, two bytes each, in order.
    pub signature_algorithms: Fact,
    /// Compression methods, one byte each.
    pub compression: Fact,
    /// A name of `application_layer_protocol_negotiation` that the client offers.
    pub client_alpn: Fact,
    /// 1: the client sent `encrypted_client_hello` (0xfe0d), or its forerunner `encrypted_server_name` (0xffce).
    pub ech: Fact,
    /// 1: the client sent a session ticket (RFC 5077) to resume with.
    pub session_ticket: Fact,
    /// 1: the client sent `pre_shared_key`, which is how TLS 1.3 resumes.
    pub psk: Fact,
    /// Version that the server chose, from `supported_versions` where it is there.
    pub version: Fact,
    /// `legacy_version` of the ServerHello: what JA3S wants.
    pub server_version: Fact,
    /// Cipher suite that the server chose.
    pub cipher: Fact,
    /// Types of the server's extensions, two bytes each, in order.
    pub server_extensions: Fact,
    /// The name that the server chose.
    pub server_alpn: Fact,
    /// 1: the server first asked for another hello (HelloRetryRequest).
    pub hello_retry: Fact,
    /// 1: a session was resumed.
    pub resumed: Fact,
    /// Types of the extensions of the second ClientHello, which answers a HelloRetryRequest: all that JA4 needs to tell it
    /// from the first.
    pub retry_extensions: Fact,
}

/// Facts a hello has.
pub const HELLO_COUNT: u8 = 21;

impl HelloFacts {
    /// The facts under `protocol`, numbers 1 to [`HELLO_COUNT`].
    pub const fn of(protocol: Protocol) -> HelloFacts {
        HelloFacts {
            sni: Fact::text(protocol, 1, "sni", 255),
            client_version: Fact::number(protocol, 2, "client_version"),
            versions: Fact::bytes(protocol, 3, "client_versions", 32),
            ciphers: Fact::bytes(protocol, 4, "client_ciphers", 600),
            extensions: Fact::bytes(protocol, 5, "client_extensions", 200),
            groups: Fact::bytes(protocol, 6, "groups", 120),
            point_formats: Fact::bytes(protocol, 7, "point_formats", 16),
            signature_algorithms: Fact::bytes(protocol, 8, "signature_algorithms", 120),
            compression: Fact::bytes(protocol, 9, "compression", 8),
            client_alpn: Fact::text(protocol, 10, "client_alpn", 32).repeated(20),
            ech: Fact::number(protocol, 11, "ech"),
            session_ticket: Fact::number(protocol, 12, "session_ticket"),
            psk: Fact::number(protocol, 13, "psk"),
            version: Fact::number(protocol, 14, "version"),
            server_version: Fact::number(protocol, 15, "server_version"),
            cipher: Fact::number(protocol, 16, "cipher"),
            server_extensions: Fact::bytes(protocol, 17, "server_extensions", 120),
            server_alpn: Fact::text(protocol, 18, "server_alpn", 32),
            hello_retry: Fact::number(protocol, 19, "hello_retry"),
            resumed: Fact::number(protocol, 20, "resumed"),
            retry_extensions: Fact::bytes(protocol, 21, "client_retry_extensions", 200),
        }
    }

    /// All of them, in the order of their numbers.
    pub const fn all(self) -> [Fact; HELLO_COUNT as usize] {
        [
            self.sni,
            self.client_version,
            self.versions,
            self.ciphers,
            self.extensions,
            self.groups,
            self.point_formats,
            self.signature_algorithms,
            self.compression,
            self.client_alpn,
            self.ech,
            self.session_ticket,
            self.psk,
            self.version,
            self.server_version,
            self.cipher,
            self.server_extensions,
            self.server_alpn,
            self.hello_retry,
            self.resumed,
            self.retry_extensions,
        ]
    }

    /// The facts of a second ClientHello: its extensions go where the first one's stay untouched.
    pub const fn of_retry(self) -> HelloFacts {
        HelloFacts { extensions: self.retry_extensions, client_alpn: self.client_alpn.repeated(0), ..self }
    }
}

/// Facts of a certificate: the first of a chain, which is the peer's own (RFC 5246 section 7.4.2).
#[derive(Clone, Copy, Debug)]
pub struct CertificateFacts {
    /// Certificates of the chain.
    pub count: Fact,
    /// Distinguished name of the subject, `C=.., O=.., CN=..` in the order of the certificate.
    pub subject: Fact,
    /// Distinguished name of the issuer.
    pub issuer: Fact,
    /// Serial number as it stands in the certificate.
    pub serial: Fact,
    /// Begin of validity, seconds since 1970 (0 for earlier ones).
    pub not_before: Fact,
    /// End of validity, seconds since 1970.
    pub not_after: Fact,
    /// SHA-1 of the whole certificate.
    pub fingerprint: Fact,
    /// `rsa`, `ec`, `dsa`, `ed25519`, `ed448`, or the algorithm's object identifier.
    pub key_type: Fact,
    /// Size of the key.
    pub key_bits: Fact,
    /// Signature algorithm by name, or its object identifier.
    pub signature: Fact,
    /// 1: issuer and subject are the same. The signature is not checked.
    pub self_signed: Fact,
    /// DNS names and addresses in `subjectAltName`, of which [`CertificateFacts::alt_name`] keeps the first.
    pub alt_name_count: Fact,
    /// A DNS name or an address of `subjectAltName`, as text.
    pub alt_name: Fact,
}

/// Facts a certificate has.
pub const CERTIFICATE_COUNT: u8 = 13;

impl CertificateFacts {
    /// The facts under `protocol`, numbered from `first` on; `names` alternative names are kept at most.
    pub const fn of(protocol: Protocol, first: u8, is_server: bool, names: u8) -> CertificateFacts {
        CertificateFacts {
            count: Fact::number(protocol, first, if is_server { "certificates" } else { "client_certificates" }),
            subject: Fact::text(protocol, first + 1, if is_server { "subject" } else { "client_subject" }, 256),
            issuer: Fact::text(protocol, first + 2, if is_server { "issuer" } else { "client_issuer" }, 256),
            serial: Fact::bytes(protocol, first + 3, if is_server { "serial" } else { "client_serial" }, 21),
            not_before: Fact::number(protocol, first + 4, if is_server { "not_before" } else { "client_not_before" }),
            not_after: Fact::number(protocol, first + 5, if is_server { "not_after" } else { "client_not_after" }),
            fingerprint: Fact::bytes(
                protocol,
                first + 6,
                if is_server { "certificate_sha1" } else { "client_certificate_sha1" },
                20,
            ),
            key_type: Fact::text(protocol, first + 7, if is_server { "key_type" } else { "client_key_type" }, 32),
            key_bits: Fact::number(protocol, first + 8, if is_server { "key_bits" } else { "client_key_bits" }),
            signature: Fact::text(protocol, first + 9, if is_server { "signature" } else { "client_signature" }, 40),
            self_signed: Fact::number(
                protocol,
                first + 10,
                if is_server { "self_signed" } else { "client_self_signed" },
            ),
            alt_name_count: Fact::number(
                protocol,
                first + 11,
                if is_server { "alt_name_count" } else { "client_alt_name_count" },
            ),
            alt_name: Fact::text(protocol, first + 12, if is_server { "alt_name" } else { "client_alt_name" }, 100)
                .repeated(names),
        }
    }

    /// All of them, in the order of their numbers.
    pub const fn all(self) -> [Fact; CERTIFICATE_COUNT as usize] {
        [
            self.count,
            self.subject,
            self.issuer,
            self.serial,
            self.not_before,
            self.not_after,
            self.fingerprint,
            self.key_type,
            self.key_bits,
            self.signature,
            self.self_signed,
            self.alt_name_count,
            self.alt_name,
        ]
    }
}

/// What the hellos said, of TLS.
pub const HELLO: HelloFacts = HelloFacts::of(Protocol::Tls);
/// The server's certificate.
pub const SERVER_CERTIFICATE: CertificateFacts =
    CertificateFacts::of(Protocol::Tls, HELLO_COUNT + 1, true, ALT_NAMES_MAX);
/// The client's, where the server asked for one.
pub const CLIENT_CERTIFICATE: CertificateFacts =
    CertificateFacts::of(Protocol::Tls, HELLO_COUNT + CERTIFICATE_COUNT + 1, false, 4);
/// Alternative names that are kept of a server's certificate; those of a shared host can be hundreds.
pub const ALT_NAMES_MAX: u8 = 20;
/// Code of an alert in the clear (RFC 8446 section 6).
pub const ALERT: Fact = Fact::number(Protocol::Tls, 60, "alert").repeated(2);
/// Its level: 1 warning, 2 fatal.
pub const ALERT_LEVEL: Fact = Fact::number(Protocol::Tls, 61, "alert_level").repeated(2);
/// 1: the hello came in the form of SSL 2.0 (RFC 5246 appendix E.2).
pub const SSL2_HELLO: Fact = Fact::number(Protocol::Tls, 62, "ssl2_hello");

const OTHERS: [Fact; 3] = [ALERT, ALERT_LEVEL, SSL2_HELLO];

/// All facts of TLS.
pub const FACTS: &[Fact] = &{
    const COUNT: usize = HELLO_COUNT as usize + 2 * CERTIFICATE_COUNT as usize + OTHERS.len();
    let mut all = [HELLO.sni; COUNT];
    let (hello, server, client) = (HELLO.all(), SERVER_CERTIFICATE.all(), CLIENT_CERTIFICATE.all());
    let parts: [&[Fact]; 4] = [&hello, &server, &client, &OTHERS];
    let (mut into, mut from) = (all.as_mut_slice(), parts.as_slice());
    while let Some((part, others)) = from.split_first() {
        let (head, tail) = into.split_at_mut(part.len());
        head.copy_from_slice(part);
        (into, from) = (tail, others);
    }
    all
};

/// A record is longer than 2^14 bytes, or 2^14 + 2048 where it is encrypted (RFC 5246 section 6.2).
pub const RECORD_TOO_LONG: Anomaly = Anomaly::new(Protocol::Tls, 1, "record_too_long");
/// A record of no known type or version where one must be.
pub const BAD_RECORD: Anomaly = Anomaly::new(Protocol::Tls, 2, "bad_record");
/// A handshake record without a byte, or one that ends within a message and is followed by no other handshake record.
pub const BAD_FRAGMENT: Anomaly = Anomaly::new(Protocol::Tls, 3, "bad_fragment");
/// Lengths within a hello do not fit.
pub const BAD_HELLO: Anomaly = Anomaly::new(Protocol::Tls, 4, "bad_hello");
/// A handshake message that cannot stand there.
pub const UNEXPECTED_MESSAGE: Anomaly = Anomaly::new(Protocol::Tls, 5, "unexpected_message");
/// A certificate that cannot be read.
pub const BAD_CERTIFICATE: Anomaly = Anomaly::new(Protocol::Tls, 6, "bad_certificate");
/// The same extension twice in a hello (RFC 8446 section 4.2).
pub const DUPLICATE_EXTENSION: Anomaly = Anomaly::new(Protocol::Tls, 7, "duplicate_extension");
/// The server chose a cipher suite that the client did not offer.
pub const CIPHER_NOT_OFFERED: Anomaly = Anomaly::new(Protocol::Tls, 8, "cipher_not_offered");
/// The server says that it can do TLS 1.3, the client offered it, and less was chosen (RFC 8446 section 4.1.3).
pub const DOWNGRADE: Anomaly = Anomaly::new(Protocol::Tls, 9, "version_downgrade");
/// A heartbeat that claims more bytes than it has (RFC 6520; CVE-2014-0160).
pub const HEARTBEAT_OVERREAD: Anomaly = Anomaly::new(Protocol::Tls, 10, "heartbeat_overread");
/// A fatal alert in the clear: the handshake failed.
pub const FATAL_ALERT: Anomaly = Anomaly::new(Protocol::Tls, 11, "fatal_alert");
/// A record's version is none that there is, which peers take no notice of (RFC 8446 section 5.1).
pub const RECORD_VERSION_UNKNOWN: Anomaly = Anomaly::new(Protocol::Tls, 12, "record_version_unknown");
/// A ClientHello longer than a record can be, as no client sends one, or a ServerHello longer than is put together.
pub const HELLO_TOO_LONG: Anomaly = Anomaly::new(Protocol::Tls, 13, "hello_too_long");

/// All anomalies of TLS.
pub const ANOMALIES: &[Anomaly] = &[
    RECORD_TOO_LONG,
    BAD_RECORD,
    BAD_FRAGMENT,
    BAD_HELLO,
    UNEXPECTED_MESSAGE,
    BAD_CERTIFICATE,
    DUPLICATE_EXTENSION,
    CIPHER_NOT_OFFERED,
    DOWNGRADE,
    HEARTBEAT_OVERREAD,
    FATAL_ALERT,
    RECORD_VERSION_UNKNOWN,
    HELLO_TOO_LONG,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unambiguous() {
        let mut numbers: Vec<u8> = FACTS.iter().map(|one| one.index).collect();
        let mut names: Vec<&str> = FACTS.iter().map(|one| one.name).collect();
        numbers.sort_unstable();
        names.sort_unstable();
        numbers.dedup();
        names.dedup();
        assert_eq!((numbers.len(), names.len()), (FACTS.len(), FACTS.len()));
    }
}
