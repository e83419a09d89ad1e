//! What tshark and openssl show in captures: names, services, software, and what is wrong. `!` stands before what must not
//! be there.

type Host = (&'static str, &'static [&'static str]);

/// Captures below the folder of the shared data.
pub const CAPTURES: &[(&str, &[Host])] = &[
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/ssh.pcap",
        &[(
            "172.16.238.168",
            &[
                "tcp/22 ssh",
                "product openssh 5.3",
                "ssh_weak_key_exchange",
                "ssh_weak_cipher",
                "ssh_weak_mac",
                "CVE-2018-15473",
                "!CVE-2024-6387",
                // Neither ChaCha20 nor EtM is offered.
                "!CVE-2023-48795",
                "!ssh_version_1",
            ],
        )],
    ),
    (
        "conformance/ja4/FoxIO-LLC+ja4/pcap/ssh2.pcapng",
        &[
            (
                "54.160.114.75",
                &[
                    "product openssh 8.9p1 (Ubuntu-3ubuntu0.1)",
                    "os Ubuntu Linux",
                    "CVE-2024-6387",
                    "!ssh_weak_cipher",
                    "!ssh_weak_key_exchange",
                ],
            ),
            ("172.16.225.48", &["os Ubuntu Linux", "!tcp/22 ssh"]),
        ],
    ),
    // A server that is seen by its answers alone.
    ("attack/scan/SecurityNik+SUWtHEh-/nbtscan-v.pcap", &[("10.0.0.100", &["udp/67 dhcp"])]),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/wireguard.pcap",
        &[("139.162.192.157", &["udp/51820 wireguard"]), ("192.168.0.14", &["!udp/36116 wireguard"])],
    ),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/smbv1.pcap",
        &[
            (
                "10.128.0.243",
                &["tcp/445 smb", "smb1_in_use", "os Windows 7 Ultimate 7601 Service Pack 1", "!tcp/50927 smb"],
            ),
            ("172.16.156.130", &["os Windows 2000 2195", "!smb1_in_use"]),
        ],
    ),
    (
        "attack/exploit/SecurityNik+SUWtHEh-/metasploitable_Telnet_SUWTHEh.pcap",
        &[("10.0.0.105", &["tcp/23 telnet", "telnet_in_use", "cleartext_credentials"])],
    ),
    ("benign/ndpi/ndpi_4.2_debian/pcap/pop3.pcap", &[("74.208.5.28", &["tcp/110 pop3", "cleartext_credentials"])]),
    (
        "attack/cleartext_creds/markfvl+Pcaphunt/test/cs-ftpServerCredentials.pcap",
        &[("192.168.231.140", &["tcp/51211 ftp", "product pyftpdlib", "cleartext_credentials", "!ftp_anonymous"])],
    ),
    (
        "attack/malware/elcabezzonn+Pcaps/aug19.pcap",
        &[
            ("192.168.1.195", &["tcp/88 krb5", "smb1_in_use", "name WIN-CNNEQ7OCUQS", "mac 08:00:27:f0:68:53"]),
            ("192.168.1.46", &["name CHIP-DOUGLAS-PC", "!smb1_in_use", "!tcp/88 krb5"]),
            ("192.168.1.1", &["product miniupnpd 1.4", "!CVE-2013-0230"]),
        ],
    ),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/imap.pcap",
        &[("10.40.3.2", &["tcp/143 imap", "cleartext_credentials"]), ("10.40.4.2", &["!cleartext_credentials"])],
    ),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/mysql-8.pcap",
        &[("10.42.18.198", &["tcp/3306 mysql", "product mysql 8.5.44 (0+deb8u1)", "!database_reached_from_outside"])],
    ),
    ("conformance/ja4/FoxIO-LLC+ja4/pcap/dhcp.pcapng", &[("192.168.0.10", &["mac 00:0b:82:01:fc:42"])]),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/tls-rdn-extract.pcap",
        &[("213.199.149.251", &["tls_version", "certificate_not_yet_valid", "!certificate_expired"])],
    ),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/ssl-cert-name-mismatch.pcap",
        &[("104.154.89.105", &["name badssl.com", "!certificate_expired", "!certificate_self_signed", "!tls_version"])],
    ),
    (
        "benign/ndpi/ndpi_4.2_debian/pcap/imap-starttls.pcap",
        &[("212.227.17.186", &["tcp/143 imap", "tcp/143 tls", "name imap.gmx.net", "!cleartext_credentials"])],
    ),
    // Its poisoner claims the gateway's address and, later, its own.
    (
        "attack/arp_spoof/chrissanders+packets/arppoison.pcapng",
        &[
            ("172.16.0.1", &["mac 00:25:b3:bf:91:ee", "link_address_of_two_hosts"]),
            ("172.16.0.105", &["mac 00:25:b3:bf:91:ee"]),
            ("172.16.0.107", &["mac 00:21:70:c0:56:f0", "!link_address_of_two_hosts"]),
        ],
    ),
];
