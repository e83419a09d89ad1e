//! Every kind of finding: how bad it is, from when on it is one, what to do. `docs/inventory.md` is made from this table.

/// A kind of finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Name in the API.
    pub name: &'static str,
    /// 1 (high) to 4 (low); of a vulnerable version the rule's.
    pub severity: u8,
    /// When it is one.
    pub when: &'static str,
    /// What to do, in one sentence.
    pub remedy: &'static str,
    /// Where to read on.
    pub reference: &'static str,
}

macro_rules! kinds {
    ($($constant:ident = $name:literal, $severity:literal, $when:literal, $remedy:literal, $reference:literal;)*) => {
        $(#[doc = $when] pub const $constant: Kind =
            Kind { name: $name, severity: $severity, when: $when, remedy: $remedy, reference: $reference };)*
        /// All of them.
        pub const ALL: &[Kind] = &[$($constant,)*];
    };
}

kinds! {
    VULNERABLE = "vulnerable_version", 2,
        "A banner names a version that rules of the rule file list: one finding for all of them, as severe as the worst.",
        "Update the software; where the distribution has fixed it without a new version, confirm that its update is installed.",
        "https://nvd.nist.gov/";
    CLEARTEXT = "cleartext_credentials", 2,
        "A password went over the wire unencrypted: FTP, POP3, IMAP, SMTP AUTH (PLAIN, LOGIN), HTTP Basic and parameters of a target that are named like passwords (bodies are not read), SOCKS 5, Telnet, LDAP simple bind, Redis AUTH, MQTT, MySQL and PostgreSQL clear-text methods. One that went through a proxy (CONNECT, SOCKS, an absolute target) is told of the server it was for, where that was named by an address of a home network, else of the client. User names are kept, passwords never.",
        "Have the service ask for TLS before a login, and change the passwords that were sent.",
        "https://cwe.mitre.org/data/definitions/319.html";
    TELNET = "telnet_in_use", 3,
        "A server answers in Telnet.",
        "Switch Telnet off and use SSH.",
        "https://cwe.mitre.org/data/definitions/319.html";
    FTP_ANONYMOUS = "ftp_anonymous", 3,
        "An FTP server let in the user anonymous or ftp (code 230).",
        "Switch anonymous logins off, or make sure that everything there may be read by anybody.",
        "https://cwe.mitre.org/data/definitions/306.html";
    SNMP_DEFAULT = "snmp_default_community", 2,
        "An agent answered SNMP 1 or 2c with the community public or private.",
        "Use SNMP 3 with authentication and privacy, or at least a community that nobody guesses, and an access list.",
        "https://cwe.mitre.org/data/definitions/1392.html";
    SNMP_CLEARTEXT = "snmp_cleartext_community", 3,
        "An agent answered SNMP 1 or 2c: its community, which is its password, is in the clear.",
        "Use SNMP 3 with authentication and privacy.",
        "https://www.rfc-editor.org/rfc/rfc3410";
    DATABASE_OPEN = "database_without_login", 1,
        "A database answered a command without a login: Redis before AUTH, memcached, PostgreSQL with trust, MongoDB before a login, Elasticsearch.",
        "Ask for a password, and listen only where clients are.",
        "https://cwe.mitre.org/data/definitions/306.html";
    DATABASE_OUTSIDE = "database_reached_from_outside", 2,
        "Redis, memcached, MySQL, PostgreSQL, MongoDB or Elasticsearch answered a client outside the home networks.",
        "Let only those reach it who need it: bind it to an inner address, filter its port.",
        "https://cwe.mitre.org/data/definitions/668.html";
    BROKER_OPEN = "broker_without_login", 3,
        "An MQTT broker let in a client without a user name.",
        "Ask for a login or a client certificate.",
        "https://cwe.mitre.org/data/definitions/306.html";
    SSL = "ssl_version", 2,
        "SSL 2.0 or 3.0 was negotiated.",
        "Switch SSL off and offer TLS 1.2 and 1.3.",
        "https://www.rfc-editor.org/rfc/rfc7568";
    TLS_OLD = "tls_version", 3,
        "TLS 1.0 or 1.1 (DTLS 1.0) was negotiated.",
        "Offer TLS 1.2 and 1.3 only.",
        "https://www.rfc-editor.org/rfc/rfc8996";
    CIPHER_BROKEN = "tls_cipher_broken", 2,
        "A cipher suite without encryption or authentication, for export, or with RC4, RC2 or single DES was negotiated.",
        "Take these suites out of the server's list.",
        "https://www.rfc-editor.org/rfc/rfc9325";
    CIPHER_WEAK = "tls_cipher_weak", 3,
        "A cipher suite with 3DES or IDEA, whose blocks are 64 bits, was negotiated.",
        "Take these suites out of the server's list.",
        "https://www.rfc-editor.org/rfc/rfc9325";
    CERTIFICATE_EXPIRED = "certificate_expired", 3,
        "A certificate was shown after its last day, by the time of the capture.",
        "Renew the certificate.",
        "https://www.rfc-editor.org/rfc/rfc5280";
    CERTIFICATE_EARLY = "certificate_not_yet_valid", 3,
        "A certificate was shown before its first day, by the time of the capture.",
        "Set the clock of who made it, or wait.",
        "https://www.rfc-editor.org/rfc/rfc5280";
    SELF_SIGNED = "certificate_self_signed", 4,
        "Issuer and subject of a server's certificate are the same.",
        "Have it signed by an authority that the clients know, or make sure that they check this very one.",
        "https://cwe.mitre.org/data/definitions/295.html";
    KEY_WEAK = "certificate_weak_key", 2,
        "The key of a certificate is RSA or DSA below 2048 bits, or of a curve below 224 bits.",
        "Make a new key (RSA 3072, or P-256) and have it certified.",
        "https://csrc.nist.gov/pubs/sp/800/57/pt1/r5/final";
    SIGNATURE_WEAK = "certificate_weak_signature", 3,
        "A certificate that somebody else signed is signed with MD2, MD4, MD5 or SHA-1.",
        "Have the certificate made anew with SHA-256.",
        "https://www.rfc-editor.org/rfc/rfc9155";
    SSH_1 = "ssh_version_1", 2,
        "An SSH server offers protocol 1 (version 1.x or 1.99).",
        "Switch protocol 1 off.",
        "https://www.rfc-editor.org/rfc/rfc4253";
    SSH_KEX = "ssh_weak_key_exchange", 3,
        "An SSH server offers group1-sha1, group-exchange-sha1, rsa1024-sha1 or their GSS kin.",
        "Take these methods out of KexAlgorithms.",
        "https://www.rfc-editor.org/rfc/rfc9142";
    SSH_CIPHER = "ssh_weak_cipher", 3,
        "An SSH server offers no encryption, RC4, DES, 3DES, Blowfish, CAST, or a mode CBC.",
        "Take these ciphers out of Ciphers.",
        "https://nvd.nist.gov/vuln/detail/CVE-2008-5161";
    SSH_MAC = "ssh_weak_mac", 4,
        "An SSH server offers no MAC, MD5, or one cut to 96 bits.",
        "Take these MACs out of MACs.",
        "https://www.rfc-editor.org/rfc/rfc6151";
    SSH_KEY = "ssh_weak_host_key", 3,
        "An SSH server shows a DSA key, or an RSA key below 2048 bits.",
        "Make a new host key (Ed25519, or RSA 3072).",
        "https://csrc.nist.gov/pubs/sp/800/57/pt1/r5/final";
    SMB_1 = "smb1_in_use", 2,
        "A server speaks SMB 1.",
        "Switch SMB 1 off.",
        "https://nvd.nist.gov/vuln/detail/CVE-2017-0144";
    SMB_SIGNING = "smb_signing_not_required", 4,
        "An SMB server does not demand signed messages: logins can be relayed to it.",
        "Demand signing on servers and clients.",
        "https://learn.microsoft.com/windows-server/storage/file-server/smb-signing-overview";
    SMB_GUEST = "smb_guest_session", 3,
        "An SMB server gave somebody a session as a guest.",
        "Switch the guest account off.",
        "https://cwe.mitre.org/data/definitions/306.html";
    RDP_OLD = "rdp_standard_security", 3,
        "A server took RDP's own encryption, which proves nobody's identity.",
        "Demand Network Level Authentication.",
        "https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/";
    KERBEROS = "kerberos_weak_encryption", 3,
        "A ticket was given out that is encrypted with DES or RC4.",
        "Give the account of the service an AES key, and switch RC4 off.",
        "https://www.rfc-editor.org/rfc/rfc8429";
    NTP = "ntp_monlist", 3,
        "An NTP server answered a monlist request: it makes large answers out of small questions.",
        "Update it, or set noquery.",
        "https://nvd.nist.gov/vuln/detail/CVE-2013-5211";
    MEMCACHED_UDP = "memcached_over_udp", 2,
        "A memcached answered over UDP: it makes very large answers out of small questions.",
        "Switch its UDP port off (-U 0).",
        "https://nvd.nist.gov/vuln/detail/CVE-2018-1000115";
    IKE = "ike_aggressive_mode", 3,
        "A gateway takes IKE's aggressive mode with a shared secret, which can then be guessed offline.",
        "Use main mode, or IKEv2.",
        "https://nvd.nist.gov/vuln/detail/CVE-2002-1623";
    MAC_CHANGED = "address_of_two_hosts", 3,
        "ARP or neighbour discovery named a second link address for the address of a host: a new device, a fail-over, or somebody who takes the address over.",
        "Find out which of the two should have the address.",
        "https://attack.mitre.org/techniques/T1557/002/";
    MAC_OF_TWO = "link_address_of_two_hosts", 3,
        "ARP named one link address for two IPv4 addresses within ten minutes: a host with several addresses, a repeater or router that answers for others, or somebody who takes addresses over.",
        "Find out whether the owner of the link address should have both.",
        "https://attack.mitre.org/techniques/T1557/002/";
}

/// The kind of this name.
pub fn kind(name: &str) -> Option<Kind> {
    ALL.iter().find(|kind| kind.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_distinct_and_whole() {
        for (place, one) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(place + 1).all(|other| other.name != one.name), "{}", one.name);
            assert!((1..=4).contains(&one.severity) && one.when.ends_with('.') && one.remedy.ends_with('.'), "{one:?}");
            assert!(one.reference.starts_with("https://") && kind(one.name) == Some(*one), "{one:?}");
        }
    }
}
