//! Which field of tshark's is which fact of ours, and under which condition.

use crate::theirs::Row;
use shrike::dataplane::inspect::{Fact, imap};
use shrike::dataplane::inspect::{
    Facts, Kind, Protocol, Value, dcerpc, dhcp, dns, dtls, ftp, http, kerberos, ldap, llmnr, mdns, modbus, mqtt, mysql,
    ntp, number, pop3, quic, radius, rdp, sip, smb, smtp, snmp, ssh, tftp, tls,
};

/// One thing that both sides tell.
pub struct Field {
    /// For the table.
    pub name: &'static str,
    /// Counted once a flow, where one side repeats it.
    pub once: bool,
    /// What the flow is, with us; either of several.
    pub protocols: &'static [Protocol],
    /// tshark's fields that the row is asked for.
    pub columns: &'static [&'static str],
    /// The values in a row.
    pub theirs: fn(&Row<'_>) -> Vec<String>,
    /// The values in an event.
    pub ours: fn(&[u8]) -> Vec<String>,
}

/// Every value of the first column.
fn first(row: &Row<'_>) -> Vec<String> {
    row.values(0)
}

/// Every value of all columns.
fn every(row: &Row<'_>) -> Vec<String> {
    (0..row.columns.len()).flat_map(|column| row.values(column)).collect()
}

/// Values of the first column, hexadecimal or not, in digits.
fn numbers(row: &Row<'_>) -> Vec<String> {
    row.values(0).iter().map(|text| digits(text)).collect()
}

fn digits(text: &str) -> String {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    number.map_or_else(|| text.to_owned(), |number| number.to_string())
}

/// The first column where the second has `wanted`.
fn where_second(row: &Row<'_>, wanted: &str) -> Vec<String> {
    if row.values(1).iter().any(|value| digits(value) == wanted) { row.values(0) } else { Vec::new() }
}

/// A fact as text, as digits, as an address, as hexadecimal digits.
fn shown(fact: Fact, value: &[u8]) -> String {
    match fact.kind {
        Kind::Text => String::from_utf8_lossy(value).into_owned(),
        Kind::Number => number(value).to_string(),
        Kind::Bytes => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        Kind::Address => match (value.first_chunk::<4>(), value.first_chunk::<16>()) {
            (_, Some(bytes)) => std::net::Ipv6Addr::from(*bytes).to_string(),
            (Some(bytes), _) => std::net::Ipv4Addr::from(*bytes).to_string(),
            _ => String::new(),
        },
    }
}

/// Every value of these facts.
fn of(bytes: &[u8], facts: &[Fact]) -> Vec<String> {
    let shown = |value: Value<'_>| {
        let fact = facts.iter().find(|fact| (fact.protocol as u8, fact.index) == (value.protocol, value.index))?;
        Some(shown(*fact, value.value))
    };
    Facts::read(bytes).filter_map(shown).collect()
}

/// A name without the escapes of RFC 4343, which tshark does not write.
fn unescaped(name: &str) -> String {
    let mut plain = String::new();
    let mut rest = name;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain += before;
        let code = behind.get(..3).and_then(|digits| digits.parse::<u8>().ok());
        (plain, rest) = match code {
            Some(code) => (plain + &char::from(code).to_string(), behind.get(3..).unwrap_or_default()),
            None => {
                let next = behind.chars().next().map_or(0, char::len_utf8);
                (plain + behind.get(..next).unwrap_or_default(), behind.get(next..).unwrap_or_default())
            }
        };
    }
    plain + rest
}

/// A banner, put together again.
fn banner(bytes: &[u8], [version, software, comment]: [Fact; 3]) -> Option<String> {
    let one = |fact: Fact| of(bytes, &[fact]).pop();
    let comment = one(comment).map(|comment| format!(" {comment}")).unwrap_or_default();
    Some(format!("SSH-{}-{}{comment}", one(version)?, one(software)?))
}

fn hassh(bytes: &[u8], fact: Fact) -> Vec<String> {
    of(bytes, &[fact]).iter().map(|lists| tls::fingerprint::md5_hex(lists)).collect()
}

/// What stands between angle brackets behind `FROM:` or `TO:`.
fn mailbox(row: &Row<'_>, word: &str) -> Vec<String> {
    let inner = |text: String| {
        let behind = text.get(word.len()..).filter(|_| text.to_uppercase().starts_with(word))?.trim();
        let inner = behind.strip_prefix('<').map_or(behind, |rest| rest.split('>').next().unwrap_or_default());
        inner.split(' ').next().map(str::to_owned)
    };
    row.values(0).into_iter().filter_map(inner).collect()
}

/// Every value of the first column in capitals.
fn capitals(row: &Row<'_>) -> Vec<String> {
    row.values(0).into_iter().map(|name| name.to_uppercase()).collect()
}

/// Every value of the first column without the blanks round it, which are no part of a header's field.
fn trimmed(row: &Row<'_>) -> Vec<String> {
    row.values(0).into_iter().map(|value| value.trim().to_owned()).collect()
}

const NAMES: &[Protocol] = &[Protocol::Dns, Protocol::Mdns, Protocol::Llmnr];
const HELLOS: &[Protocol] = &[Protocol::Tls, Protocol::Quic, Protocol::Dtls];
const RPC: &[Protocol] = &[Protocol::DceRpc, Protocol::Smb];

/// The table.
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
        columns: &["x509ce.dNSName", "tls.handshake.type"],
        theirs: |row| where_second(row, "11"),
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
        name: "SMB 2 share",
        once: false,
        protocols: &[Protocol::Smb],
        columns: &["smb2.tree", "smb2.cmd", "smb2.flags.response"],
        theirs: |row| match row.values(2).first().map(String::as_str) {
            Some("0" | "False") if row.values(1).iter().any(|command| command == "3") => row.values(0),
            _ => Vec::new(),
        },
        ours: |bytes| of(bytes, &[smb::SHARE]),
    },
    Field {
        name: "SMB 2 file",
        once: false,
        protocols: &[Protocol::Smb],
        columns: &["smb2.filename", "smb2.cmd", "smb2.flags.response"],
        theirs: |row| match row.values(2).first().map(String::as_str) {
            Some("0" | "False") if row.values(1).iter().any(|command| command == "5") => row.values(0),
            _ => Vec::new(),
        },
        ours: |bytes| match of(bytes, &[smb::COMMAND]).first().map(String::as_str) {
            Some("SMB2_COMMAND_CREATE") => of(bytes, &[smb::FILE, smb::PIPE]),
            _ => Vec::new(),
        },
    },
    Field {
        name: "DCE/RPC interface",
        once: true,
        protocols: RPC,
        columns: &["dcerpc.cn_bind_to_uuid"],
        theirs: first,
        ours: |bytes| of(bytes, &[dcerpc::UUID]),
    },
    Field {
        name: "Kerberos message",
        once: false,
        protocols: &[Protocol::Kerberos],
        columns: &["kerberos.msg_type"],
        theirs: |row| {
            // A request for a ticket carries one for itself.
            let kinds = row.values(0);
            let is_inner = |kind: &String| kind == "14" && kinds.iter().any(|other| other == "12");
            let name =
                |kind: &String| kind.parse().map_or(kind.clone(), |kind| kerberos::message_name(kind).to_owned());
            kinds.iter().filter(|kind| !is_inner(kind)).map(name).collect()
        },
        ours: |bytes| of(bytes, &[kerberos::MESSAGE_TYPE]),
    },
    Field {
        name: "Kerberos error",
        once: false,
        protocols: &[Protocol::Kerberos],
        columns: &["kerberos.error_code"],
        theirs: numbers,
        ours: |bytes| of(bytes, &[kerberos::ERROR]),
    },
    Field {
        name: "DHCP message",
        once: false,
        protocols: &[Protocol::Dhcp],
        columns: &["dhcp.option.dhcp"],
        theirs: numbers,
        ours: |bytes| match of(bytes, &[dhcp::VERSION]).first().map(String::as_str) {
            Some("4") => of(bytes, &[dhcp::TYPE]),
            _ => Vec::new(),
        },
    },
    Field {
        name: "DHCP host name",
        once: false,
        protocols: &[Protocol::Dhcp],
        columns: &["dhcp.option.hostname"],
        theirs: first,
        ours: |bytes| of(bytes, &[dhcp::HOSTNAME]),
    },
    Field {
        name: "SNMP community",
        once: false,
        protocols: &[Protocol::Snmp],
        columns: &["snmp.community"],
        theirs: first,
        ours: |bytes| of(bytes, &[snmp::COMMUNITY]),
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
        name: "MQTT client",
        once: false,
        protocols: &[Protocol::Mqtt],
        columns: &["mqtt.clientid"],
        theirs: first,
        ours: |bytes| of(bytes, &[mqtt::CLIENT_ID]),
    },
    Field {
        name: "MQTT topic",
        once: false,
        protocols: &[Protocol::Mqtt],
        columns: &["mqtt.topic"],
        theirs: first,
        ours: |bytes| of(bytes, &[mqtt::TOPIC]),
    },
    Field {
        name: "Modbus function",
        once: false,
        protocols: &[Protocol::Modbus],
        columns: &["modbus.func_code", "tcp.dstport"],
        theirs: |row| if row.values(1).iter().any(|port| port == "502") { row.values(0) } else { Vec::new() },
        ours: |bytes| of(bytes, &[modbus::FUNCTION]),
    },
    Field {
        name: "LDAP base",
        once: false,
        protocols: &[Protocol::Ldap],
        columns: &["ldap.baseObject"],
        theirs: first,
        ours: |bytes| of(bytes, &[ldap::BASE]),
    },
    Field {
        name: "RDP cookie",
        once: false,
        protocols: &[Protocol::Rdp],
        columns: &["rdp.rt_cookie"],
        theirs: |row| {
            let name = |text: String| text.rsplit_once("mstshash=").map_or(text.clone(), |(_, name)| name.to_owned());
            row.values(0).into_iter().map(|text| name(text).trim_end_matches(['\r', '\n']).to_owned()).collect()
        },
        ours: |bytes| of(bytes, &[rdp::COOKIE]),
    },
    Field {
        name: "RADIUS code",
        once: false,
        protocols: &[Protocol::Radius],
        columns: &["radius.code"],
        theirs: first,
        ours: |bytes| of(bytes, &[radius::CODE]),
    },
    Field {
        name: "RADIUS user",
        once: false,
        protocols: &[Protocol::Radius],
        columns: &["radius.User_Name"],
        theirs: first,
        ours: |bytes| of(bytes, &[radius::USER_NAME]),
    },
    Field {
        name: "MySQL user",
        once: false,
        protocols: &[Protocol::MySql],
        columns: &["mysql.user"],
        theirs: first,
        ours: |bytes| of(bytes, &[mysql::USER]),
    },
    Field {
        name: "MySQL version",
        once: false,
        protocols: &[Protocol::MySql],
        columns: &["mysql.version"],
        theirs: first,
        ours: |bytes| of(bytes, &[mysql::SERVER_VERSION]),
    },
    Field {
        name: "TFTP file",
        once: false,
        protocols: &[Protocol::Tftp],
        columns: &["tftp.source_file", "tftp.destination_file"],
        theirs: every,
        ours: |bytes| of(bytes, &[tftp::FILE]),
    },
];
