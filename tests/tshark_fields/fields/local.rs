//! What stays inside a network: files, accounts, devices, databases.

use super::{Field, RPC, digits, every, first, numbers, of};
use shrike::dataplane::inspect::{
    Protocol, dcerpc, dhcp, kerberos, ldap, modbus, mqtt, mysql, pgsql, radius, rdp, smb, snmp,
};

pub const FIELDS: &[Field] = &[
    Field {
        name: "SMB 2 dialect",
        once: false,
        protocols: &[Protocol::Smb],
        columns: &["smb2.dialect"],
        // Of the client all that it offers, of the server the one that it chose.
        theirs: |row| {
            let name = |text: &String| {
                let number = digits(text).parse::<u16>().unwrap_or_default();
                if number == 0x02ff { "2.FF".to_owned() } else { format!("{}.{:02x}", number >> 8, number & 0xff) }
            };
            row.values(0).iter().map(name).collect()
        },
        ours: |bytes| match of(bytes, &[smb::COMMAND]).first().map(String::as_str) {
            Some("SMB2_COMMAND_NEGOTIATE_PROTOCOL") => of(bytes, &[smb::CLIENT_DIALECT, smb::DIALECT]),
            // Version 1 offers names, and may be answered in version 2.
            _ => of(bytes, &[smb::DIALECT]).into_iter().filter(|name| name.starts_with(['2', '3'])).collect(),
        },
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
    // A message and its answer are one event: names are compared once a flow.
    Field {
        name: "Kerberos client",
        once: true,
        protocols: &[Protocol::Kerberos],
        columns: &["kerberos.CNameString"],
        theirs: |row| Vec::from([row.values(0).join("/")]),
        ours: |bytes| of(bytes, &[kerberos::CLIENT]),
    },
    Field {
        name: "Kerberos service",
        once: true,
        protocols: &[Protocol::Kerberos],
        columns: &["kerberos.SNameString", "kerberos.msg_type"],
        // A request for a ticket (12) names the service of the ticket it brings, too.
        theirs: |row| match row.values(1).iter().any(|kind| kind == "12") {
            true => row.values(0).split_off(row.values(0).len().min(2)).chunks(2).map(|name| name.join("/")).collect(),
            false => Vec::from([row.values(0).join("/")]),
        },
        ours: |bytes| of(bytes, &[kerberos::SERVICE]),
    },
    Field {
        name: "Kerberos realm",
        once: true,
        protocols: &[Protocol::Kerberos],
        columns: &["kerberos.realm"],
        theirs: |row| row.values(0).pop().into_iter().collect(),
        ours: |bytes| of(bytes, &[kerberos::REALM]),
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
        name: "SNMP version",
        once: true,
        protocols: &[Protocol::Snmp],
        columns: &["snmp.version", "snmp.msgVersion"],
        theirs: |row| {
            let name =
                |number: String| if number == "3" { number } else { format!("{}", number.parse().unwrap_or(0) + 1) };
            every(row).into_iter().map(name).collect()
        },
        ours: |bytes| of(bytes, &[snmp::VERSION]),
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
        name: "PostgreSQL user",
        once: false,
        protocols: &[Protocol::PostgreSql],
        columns: &["pgsql.parameter_value", "pgsql.parameter_name"],
        theirs: |row| {
            let pairs = row.values(1).into_iter().zip(row.values(0));
            pairs.filter(|(name, _)| name == "user").map(|(_, value)| value).collect()
        },
        ours: |bytes| of(bytes, &[pgsql::USER]),
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
];
