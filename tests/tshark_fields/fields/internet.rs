//! Names, encryption, the web, mail and what else crosses networks.

use super::{
    Field, HELLOS, NAMES, banner, capitals, dates, digits, every, first, hassh, mailbox, names_of, numbers, of,
    trimmed, unescaped, where_second,
};
use shrike::dataplane::inspect::{
    Protocol, dns, dtls, ftp, http, imap, llmnr, mdns, ntp, pop3, quic, sip, smtp, ssh, tftp, tls,
};

pub const FIELDS: &[Field] = &[
    Field {
        name: "DNS query name",
        once: false,
        protocols: NAMES,
        columns: &["dns.qry.name"],
        theirs: |row| row.values(0).into_iter().map(|name| name.replace("<Root>", ".")).collect(),
        ours: |bytes| {
            let names = of(bytes, &[dns::SET.query_name, mdns::SET.query_name, llmnr::SET.query_name]);
            names.iter().map(|name| unescaped(name)).collect()
        },
    },
    Field {
        name: "DNS query type",
        once: false,
        protocols: NAMES,
        columns: &["dns.qry.type"],
        theirs: numbers,
        ours: |bytes| of(bytes, &[dns::SET.query_type, mdns::SET.query_type, llmnr::SET.query_type]),
    },
    Field {
        name: "DNS response code",
        once: false,
        protocols: &[Protocol::Dns],
        columns: &["dns.flags.rcode"],
        theirs: numbers,
        ours: |bytes| match of(bytes, &[dns::SET.qr]).first().map(String::as_str) {
            Some("1") => of(bytes, &[dns::SET.rcode]),
            _ => Vec::new(),
        },
    },
    Field {
        name: "DNS address",
        once: false,
        protocols: NAMES,
        columns: &["dns.a", "dns.aaaa"],
        theirs: every,
        ours: |bytes| of(bytes, &[dns::SET.address, mdns::SET.address, llmnr::SET.address]),
    },
    Field {
        name: "TLS server name",
        once: false,
        protocols: HELLOS,
        columns: &["tls.handshake.extensions_server_name"],
        theirs: first,
        ours: |bytes| of(bytes, &[tls::HELLO.sni, quic::HELLO.sni, dtls::HELLO.sni]),
    },
    Field {
        name: "TLS cipher chosen",
        once: false,
        protocols: HELLOS,
        columns: &["tls.handshake.ciphersuite", "tls.handshake.type"],
        theirs: |row| match row.values(1).iter().any(|kind| kind == "1") {
            true => Vec::new(),
            false => numbers(row),
        },
        ours: |bytes| of(bytes, &[tls::HELLO.cipher, quic::HELLO.cipher, dtls::HELLO.cipher]),
    },
    Field {
        name: "TLS ALPN",
        once: false,
        protocols: HELLOS,
        columns: &["tls.handshake.extensions_alpn_str"],
        theirs: first,
        ours: |bytes| {
            let of_hello = |hello: &tls::HelloFacts| of(bytes, &[hello.client_alpn, hello.server_alpn]);
            [tls::HELLO, quic::HELLO, dtls::HELLO].iter().flat_map(of_hello).collect()
        },
    },
    Field {
        name: "TLS version",
        once: false,
        protocols: &[Protocol::Tls],
        columns: &["tls.handshake.version", "tls.handshake.type", "tls.handshake.extensions.supported_version"],
        theirs: |row| {
            let kinds = row.values(1);
            if !kinds.iter().any(|kind| kind == "2") || kinds.iter().any(|kind| kind == "1") {
                return Vec::new();
            }
            row.values(2).first().or(row.values(0).first()).map(|version| digits(version)).into_iter().collect()
        },
        ours: |bytes| match of(bytes, &[tls::HELLO.cipher]).len() {
            0 => Vec::new(),
            _ => of(bytes, &[tls::HELLO.version]),
        },
    },
    Field {
        name: "TLS certificate dates",
        once: false,
        protocols: &[Protocol::Tls],
        columns: &["x509af.utcTime", "tls.handshake.type", "x509af.generalizedTime"],
        // Of both kinds together tshark does not tell the order.
        theirs: |row| match row.values(2).is_empty() {
            true => where_second(row, "11").iter().take(2).map(|text| text.replace(" (UTC)", "")).collect(),
            false => Vec::new(),
        },
        ours: |bytes| {
            let of_one = |one: &tls::CertificateFacts| dates(bytes, &[one.not_before, one.not_after]);
            [tls::SERVER_CERTIFICATE, tls::CLIENT_CERTIFICATE].iter().flat_map(of_one).collect()
        },
    },
    Field {
        name: "TLS subject and issuer",
        once: false,
        protocols: &[Protocol::Tls],
        columns: &[
            "tls.handshake.certificate_length",
            "x509sat.uTF8String",
            "x509sat.printableString",
            "x509sat.CountryName",
            "x509sat.teletexString",
        ],
        // Of a chain it does not tell which name is whose.
        theirs: |row| match row.values(0).len() {
            1 => (1..row.columns.len()).flat_map(|column| row.values(column)).collect(),
            _ => Vec::new(),
        },
        ours: |bytes| {
            let of_one = |one: &tls::CertificateFacts| names_of(bytes, one);
            [tls::SERVER_CERTIFICATE, tls::CLIENT_CERTIFICATE].iter().flat_map(of_one).collect()
        },
    },
    Field {
        name: "TLS certificate serial",
        once: false,
        protocols: &[Protocol::Tls, Protocol::Dtls],
        columns: &["x509af.serialNumber", "tls.handshake.type"],
        theirs: |row| {
            where_second(row, "11").into_iter().take(1).map(|text| text.replace(':', "").replace("0x", "")).collect()
        },
        ours: |bytes| {
            of(
                bytes,
                &[tls::SERVER_CERTIFICATE.serial, tls::CLIENT_CERTIFICATE.serial, dtls::SERVER_CERTIFICATE.serial],
            )
        },
    },
    Field {
        name: "TLS certificate name",
        once: false,
        protocols: &[Protocol::Tls, Protocol::Dtls],
        columns: &["x509ce.dNSName", "tls.handshake.type", "x509ce.IPAddress.ipv4", "x509ce.IPAddress.ipv6"],
        theirs: |row| {
            let has_chain = row.values(1).iter().any(|value| digits(value) == "11");
            if has_chain { [0, 2, 3].iter().flat_map(|column| row.values(*column)).collect() } else { Vec::new() }
        },
        ours: |bytes| of(bytes, &[tls::SERVER_CERTIFICATE.alt_name, tls::CLIENT_CERTIFICATE.alt_name]),
    },
    Field {
        name: "HTTP method",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.request.method"],
        theirs: first,
        ours: |bytes| of(bytes, &[http::METHOD]),
    },
    Field {
        name: "HTTP host",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.host"],
        theirs: |row| {
            let bare = |host: String| match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
                _ => host,
            };
            row.values(0).into_iter().map(bare).collect()
        },
        ours: |bytes| of(bytes, &[http::HOSTNAME]),
    },
    Field {
        name: "HTTP target",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.request.uri"],
        theirs: first,
        ours: |bytes| of(bytes, &[http::URL]),
    },
    Field {
        name: "HTTP user agent",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.user_agent"],
        theirs: trimmed,
        ours: |bytes| of(bytes, &[http::USER_AGENT]),
    },
    Field {
        name: "HTTP status",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.response.code"],
        theirs: |row| row.values(0).into_iter().filter(|code| !code.starts_with('1') || code == "101").collect(),
        ours: |bytes| of(bytes, &[http::STATUS]),
    },
    Field {
        name: "HTTP server",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.server"],
        theirs: trimmed,
        ours: |bytes| of(bytes, &[http::SERVER]),
    },
    Field {
        name: "HTTP content type",
        once: false,
        protocols: &[Protocol::Http],
        columns: &["http.content_type"],
        theirs: trimmed,
        ours: |bytes| of(bytes, &[http::CONTENT_TYPE, http::REQUEST_TYPE]),
    },
    Field {
        name: "SSH banner",
        once: false,
        protocols: &[Protocol::Ssh],
        columns: &["ssh.protocol"],
        theirs: first,
        ours: |bytes| {
            let client = [ssh::CLIENT_VERSION, ssh::CLIENT_SOFTWARE, ssh::CLIENT_COMMENT];
            let server = [ssh::SERVER_VERSION, ssh::SERVER_SOFTWARE, ssh::SERVER_COMMENT];
            [client, server].into_iter().filter_map(|facts| banner(bytes, facts)).collect()
        },
    },
    Field {
        name: "SSH HASSH",
        once: false,
        protocols: &[Protocol::Ssh],
        columns: &["ssh.kex.hassh"],
        theirs: first,
        ours: |bytes| hassh(bytes, ssh::HASSH),
    },
    Field {
        name: "SSH HASSH of the server",
        once: false,
        protocols: &[Protocol::Ssh],
        columns: &["ssh.kex.hasshserver"],
        theirs: first,
        ours: |bytes| hassh(bytes, ssh::HASSH_SERVER),
    },
    Field {
        name: "FTP command",
        once: false,
        protocols: &[Protocol::Ftp],
        columns: &["ftp.request.command"],
        theirs: capitals,
        ours: |bytes| of(bytes, &[ftp::COMMAND]),
    },
    Field {
        name: "FTP code",
        once: false,
        protocols: &[Protocol::Ftp],
        columns: &["ftp.response.code"],
        theirs: first,
        ours: |bytes| of(bytes, &[ftp::CODE]),
    },
    Field {
        name: "SMTP greeting",
        once: true,
        protocols: &[Protocol::Smtp],
        columns: &["smtp.req.parameter", "smtp.req.command"],
        theirs: |row| match row
            .values(1)
            .iter()
            .any(|word| ["EHLO", "HELO", "LHLO"].contains(&word.to_uppercase().as_str()))
        {
            true => trimmed(row),
            false => Vec::new(),
        },
        ours: |bytes| of(bytes, &[smtp::HELO]),
    },
    Field {
        name: "SMTP sender",
        once: false,
        protocols: &[Protocol::Smtp],
        columns: &["smtp.req.parameter"],
        theirs: |row| mailbox(row, "FROM:"),
        ours: |bytes| of(bytes, &[smtp::MAIL_FROM]),
    },
    Field {
        name: "SMTP recipient",
        once: false,
        protocols: &[Protocol::Smtp],
        columns: &["smtp.req.parameter"],
        theirs: |row| mailbox(row, "TO:"),
        ours: |bytes| of(bytes, &[smtp::RCPT_TO]),
    },
    Field {
        name: "POP3 command",
        once: false,
        protocols: &[Protocol::Pop3],
        columns: &["pop.request.command"],
        theirs: capitals,
        ours: |bytes| of(bytes, &[pop3::COMMAND]).iter().map(|name| name.to_uppercase()).collect(),
    },
    Field {
        name: "IMAP command",
        once: false,
        protocols: &[Protocol::Imap],
        columns: &["imap.request.command"],
        theirs: capitals,
        ours: |bytes| of(bytes, &[imap::COMMAND]),
    },
    Field {
        name: "NTP mode",
        once: false,
        protocols: &[Protocol::Ntp],
        columns: &["ntp.flags.mode"],
        theirs: first,
        ours: |bytes| of(bytes, &[ntp::MODE]),
    },
    Field {
        name: "SIP method",
        once: false,
        protocols: &[Protocol::Sip],
        columns: &["sip.Method"],
        theirs: first,
        ours: |bytes| of(bytes, &[sip::METHOD]),
    },
    Field {
        name: "SIP status",
        once: false,
        protocols: &[Protocol::Sip],
        columns: &["sip.Status-Code"],
        theirs: first,
        ours: |bytes| of(bytes, &[sip::STATUS]),
    },
    Field {
        name: "TFTP file",
        once: false,
        protocols: &[Protocol::Tftp],
        columns: &["tftp.source_file", "tftp.destination_file"],
        theirs: every,
        // Of requests: a transfer tells what it is of again.
        ours: |bytes| if of(bytes, &[tftp::MODE]).is_empty() { Vec::new() } else { of(bytes, &[tftp::FILE]) },
    },
];
