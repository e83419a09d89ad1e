//! One event of each kind: what stands in its object, and what stays beside it.

mod dns;

use super::*;
use crate::dataplane::decode::FlowKey;
use crate::dataplane::flow::Side;
use crate::dataplane::inspect as i;
use crate::units::Timestamp;
use serde_json::json;

/// A value of a fact.
enum Is<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}
use Is::{Bytes, Number};

fn text(text: &str) -> Is<'_> {
    Bytes(text.as_bytes())
}

/// An event of a flow between these ports.
fn head(protocol: Protocol, transport: u8, ports: (u16, u16)) -> EventHead {
    let (key, originator) = FlowKey::v4(1, ports.0, 3, ports.1, transport, 0);
    EventHead {
        time: Timestamp(0),
        told: Timestamp(0),
        key,
        originator,
        sender: Side::Originator,
        first_seen: None,
        protocol,
        anomaly: None,
        truncated: false,
        bytes: 0,
        icmp: None,
        outer: None,
        through_proxy: false,
    }
}

/// Type of the event, its objects, its other facts.
fn rendered(protocol: Protocol, values: &[(Fact, Is<'_>)]) -> (&'static str, Value, Value) {
    let mut facts = Facts::default();
    for (fact, value) in values {
        match value {
            Number(number) => facts.put_number(*fact, *number),
            Bytes(bytes) => facts.put(*fact, bytes),
        }
    }
    let head = head(protocol, 6, (2, 4));
    let rendered = render(&AppEvent { head, facts: facts.as_bytes().into() });
    (rendered.event_type, rendered.objects.into(), rendered.extra.into())
}

fn is(protocol: Protocol, values: &[(Fact, Is<'_>)], kind: &str, objects: Value, extra: Value) {
    assert_eq!(rendered(protocol, values), (kind, objects, extra));
}

#[test]
fn web() {
    let values = [
        (i::http::METHOD, text("GET")),
        (i::http::STATUS, Number(206)),
        (i::http::CONTENT_TYPE, text("text/html; charset=x")),
        (i::http::CONTENT_RANGE, text("bytes 5-9/20")),
        (i::http::TRANSACTION, Number(3)),
        (i::http::SERVER, text("nginx\u{85}\n")),
    ];
    let object = json!({
        "http_method": "GET",
        "status": 206,
        "http_content_type": "text/html",
        "content_range": {"raw": "bytes 5-9/20", "start": 5, "end": 9, "size": 20},
    });
    let extra = json!({"content_type": "text/html; charset=x", "server": "nginx\u{85}\n"});
    is(Protocol::Http, &values, "http", json!({"http": object, "tx_id": 3}), extra);

    let values = [(i::http2::AUTHORITY, text("a.example")), (i::http2::STREAM, Number(1))];
    let object = json!({"hostname": "a.example", "http2": {"stream_id": 1}, "version": "2"});
    let (kind, objects, _) = rendered(Protocol::Http2, &values);
    assert_eq!((kind, objects), ("http", json!({"http": object})));

    for (number, name) in [(1, "1"), (0x6b33_43cf, "2"), (0xff00_001d, "draft-29"), (0x5130_3433, "Q043")] {
        let values = [(i::quic::QUIC_VERSION, Number(number))];
        is(Protocol::Quic, &values, "quic", json!({"quic": {"version": name}}), json!({}));
    }
    let values = [
        (i::quic::HELLO.sni, text("a.example")),
        (i::quic::HELLO.extensions, Bytes(&[0, 16, 0, 0, 250, 250])),
        (i::quic::HELLO.client_alpn, text("h3")),
    ];
    let extensions = json!([
        {"type": 16, "name": "alpn", "values": ["h3"]},
        {"type": 0, "name": "server_name", "values": ["a.example"]},
        {"type": 64250},
    ]);
    is(Protocol::Quic, &values, "quic", json!({"quic": {"sni": "a.example", "extensions": extensions}}), json!({}));
}

#[test]
fn ssh_has_hassh_of_whole_lists_only() {
    let values = [
        (i::ssh::CLIENT_VERSION, text("2.0")),
        (i::ssh::HASSH, text("a,b;c;d;none")),
        (i::ssh::HASSH_SERVER, Bytes(&[b'x'; i::ssh::HASSH_MAX])),
    ];
    let hassh = json!({"hash": i::tls::fingerprint::md5_hex("a,b;c;d;none"), "string": "a,b;c;d;none"});
    let client = json!({"proto_version": "2.0", "hassh": hassh});
    let extra = json!({"hassh_server": "x".repeat(i::ssh::HASSH_MAX)});
    is(Protocol::Ssh, &values, "ssh", json!({"ssh": {"client": client}}), extra);
}

#[test]
fn windows() {
    let values = [
        (i::smb::COMMAND, text("SMB2_COMMAND_CREATE")),
        (i::smb::STATUS, Number(0xc000_0022)),
        (i::smb::FILE, text("a\\b")),
        (i::smb::DIRECTORY, Number(1)),
        (i::smb::DISPOSITION, text("FILE_OPEN")),
        (i::smb::DELETE, Number(1)),
        (i::smb::FUNCTION, Number(0x0011_c017)),
        (i::ntlm::USER, text("bob")),
        (i::ntlm::TARGET, text("CORP")),
        (i::kerberos::SERVICE, text("cifs/host")),
    ];
    let object = json!({
        "command": "SMB2_COMMAND_CREATE",
        "status": "STATUS_ACCESS_DENIED",
        "status_code": "0xc0000022",
        "directory": "a\\b",
        "disposition": "FILE_OPEN",
        "access": "delete on close",
        "function": "FSCTL_PIPE_TRANSCEIVE",
        "ntlmssp": {"user": "bob"},
        "kerberos": {"snames": ["cifs", "host"]},
    });
    is(Protocol::Smb, &values, "smb", json!({"smb": object}), json!({"ntlm_target_name": "CORP"}));

    let values = [
        (i::smb::COMMAND, text("SMB1_COMMAND_TRANS2")),
        (i::smb::STATUS, Number(0xdead)),
        (i::smb::SUBCOMMAND, Number(6)),
        (i::smb::SHARE_TYPE, text("A:")),
        (i::smb::FILE, text("old")),
        (i::smb::RENAME_TO, text("new")),
        (i::dcerpc::REQUEST, text("REQUEST")),
        (i::dcerpc::OPERATION_NUMBER, Number(15)),
        (i::dcerpc::UUID, text("367abb81")),
        (i::dcerpc::INTERFACE, text("svcctl")),
        (i::dcerpc::OPERATION, text("OpenSCManagerW")),
        (i::dcerpc::REQUEST_BYTES, Number(9)),
    ];
    let interface = json!({"uuid": "367abb81", "service": "svcctl", "procedure": "OpenSCManagerW"});
    let object = json!({
        "command": "SMB1_COMMAND_TRANS2",
        "status": "57005",
        "status_code": "0xdead",
        "subcmd": "SET_PATH_INFO",
        "service": {"response": "A:"},
        "rename": {"from": "old", "to": "new"},
        "dcerpc": {"request": "REQUEST", "response": "UNREPLIED", "opnum": 15, "req": {"stub_data_size": 9},
            "interfaces": [interface]},
    });
    is(Protocol::Smb, &values, "smb", json!({"smb": object}), json!({}));

    for (kind, name) in [("PIPE", "named_pipe"), ("DISK", "share")] {
        let values = [
            (i::smb::COMMAND, text("SMB2_COMMAND_TREE_CONNECT")),
            (i::smb::SHARE, text(r"\\dc1\x$")),
            (i::smb::SHARE_TYPE, text(kind)),
        ];
        let object = json!({"command": "SMB2_COMMAND_TREE_CONNECT", "share_type": kind, name: r"\\dc1\x$"});
        is(Protocol::Smb, &values, "smb", json!({"smb": object}), json!({}));
    }

    let values =
        [(i::dcerpc::RESPONSE, text("FAULT")), (i::dcerpc::OPERATION_NUMBER, Number(2)), (i::dcerpc::FAULT, Number(5))];
    let object = json!({"request": "REQUEST_LOST", "response": "FAULT", "req": {"opnum": 2}});
    is(
        Protocol::DceRpc,
        &values,
        "dcerpc",
        json!({"dcerpc": object}),
        json!({"fault_status": 5, "fault_status_name": "access_denied"}),
    );
}

#[test]
fn directory() {
    let values = [
        (i::kerberos::REQUEST_TYPE, Number(10)),
        (i::kerberos::MESSAGE_TYPE, text("KRB_AS_REQ")),
        (i::kerberos::MESSAGE_TYPE, text("KRB_ERROR")),
        (i::kerberos::ERROR, Number(25)),
        (i::kerberos::ENCRYPTION, Number(23)),
        (i::kerberos::TICKET_ENCRYPTION, Number(99)),
    ];
    let object = json!({
        "msg_type": "KRB_ERROR",
        "failed_request": "KRB_AS_REQ",
        "error_code": "KDC_ERR_PREAUTH_REQUIRED",
        "encryption": "rc4-hmac",
        "weak_encryption": true,
        "ticket_encryption": "99",
        "ticket_weak_encryption": false,
    });
    let extra = json!({"request_type": 10, "request_type_name": "KRB_AS_REQ", "message_type": ["KRB_AS_REQ"]});
    is(Protocol::Kerberos, &values, "krb5", json!({"krb5": object}), extra);
    let request = json!({"msg_type": "KRB_AS_REQ", "encryption": "<none>", "weak_encryption": false});
    let values = [(i::kerberos::MESSAGE_TYPE, text("KRB_AS_REQ"))];
    is(Protocol::Kerberos, &values, "krb5", json!({"krb5": request}), json!({}));

    let values = [
        (i::ldap::ID, Number(7)),
        (i::ldap::OPERATION, text("search_request")),
        (i::ldap::BASE, text("dc=a")),
        (i::ldap::SCOPE, Number(2)),
        (i::ldap::FOUND, text("cn=b")),
        (i::ldap::FOUND_ATTRIBUTE, text("mail")),
        (i::ldap::RESPONSE, text("search_result_done")),
        (i::ldap::RESULT, Number(0)),
        (i::ldap::ENTRIES, Number(1)),
    ];
    let object = json!({
        "request": {"message_id": 7, "operation": "search_request",
            "search_request": {"base_object": "dc=a", "scope": 2}},
        "responses": [
            {"operation": "search_result_entry",
                "search_result_entry": {"base_object": "cn=b", "attributes": [{"type": "mail"}]}},
            {"operation": "search_result_done", "search_result_done": {"result_code": "success"}},
        ],
    });
    is(Protocol::Ldap, &values, "ldap", json!({"ldap": object}), json!({"entries": 1}));

    let values =
        [(i::rdp::COOKIE, text("bob")), (i::rdp::CLIENT_BUILD, Number(19041)), (i::rdp::CHANNEL, text("rdpdr"))];
    let (_, objects, _) = rendered(Protocol::Rdp, &values);
    assert_eq!(objects, json!({"rdp": {"cookie": "bob", "channels": ["rdpdr"], "client": {"build": "19041"}}}));
}

#[test]
fn lines() {
    let values = [
        (i::ftp::COMMAND, text("USER")),
        (i::ftp::USERNAME, text("bob")),
        (i::ftp::CODE, Number(331)),
        (i::ftp::CODE, Number(230)),
    ];
    let object = json!({"command": "USER", "command_data": "bob", "completion_code": ["331", "230"],
        "reply_received": "yes"});
    is(Protocol::Ftp, &values, "ftp", json!({"ftp": object}), json!({"username": "bob"}));
    is(Protocol::Ftp, &[(i::ftp::BANNER, text("hi"))], "ftp", json!({}), json!({"banner": "hi"}));
    let unanswered = [(i::ftp::COMMAND, text("PWD"))];
    is(Protocol::Ftp, &unanswered, "ftp", json!({"ftp": {"command": "PWD", "reply_received": "no"}}), json!({}));
    let lost = [(i::ftp::COMMAND, text("PWD")), (i::ftp::REPLY_UNKNOWN, Number(1))];
    is(Protocol::Ftp, &lost, "ftp", json!({"ftp": {"command": "PWD"}}), json!({"reply_unknown": 1}));

    let values = [(i::smtp::RCPT_TO, text("a@b")), (i::smtp::RCPT_TO, text("c@d")), (i::smtp::CODE, Number(250))];
    is(Protocol::Smtp, &values, "smtp", json!({"smtp": {"rcpt_to": ["a@b", "c@d"]}}), json!({"code": 250}));

    let values = [(i::pop3::COMMAND, text("USER")), (i::pop3::USERNAME, text("bob")), (i::pop3::SUCCESS, Number(0))];
    let object =
        json!({"request": {"command": "USER", "args": ["bob"]}, "response": {"success": false, "status": "ERR"}});
    is(Protocol::Pop3, &values, "pop3", json!({"pop3": object}), json!({"username": "bob"}));

    let values = [(i::sip::STATUS, Number(200)), (i::sip::SDP_MEDIA, text("audio 1")), (i::sip::FROM, text("x"))];
    let object = json!({"code": "200", "sdp": {"media_descriptions": [{"media": "audio 1"}]}});
    is(Protocol::Sip, &values, "sip", json!({"sip": object}), json!({"from": "x"}));
}

#[test]
fn local() {
    let values = [
        (i::dhcp::VERSION, Number(4)),
        (i::dhcp::MESSAGE, Number(2)),
        (i::dhcp::TYPE, Number(5)),
        (i::dhcp::CLIENT_MAC, Bytes(&[0, 1, 2, 3, 4, 255])),
        (i::dhcp::ASSIGNED_IP, Bytes(&[192, 0, 2, 1])),
        (i::dhcp::ROUTER, Bytes(&[192, 0, 2, 254])),
        (i::dhcp::PARAMETERS, Bytes(&[1, 121, 42])),
    ];
    let object = json!({"type": "reply", "dhcp_type": "ack", "client_mac": "00:01:02:03:04:ff",
        "assigned_ip": "192.0.2.1", "routers": ["192.0.2.254"], "params": ["subnet_mask", "ntp_server"]});
    is(Protocol::Dhcp, &values, "dhcp", json!({"dhcp": object}), json!({"version": 4, "parameters": "01792a"}));
    let values = [(i::dhcp::VERSION, Number(6)), (i::dhcp::ID, Number(9))];
    is(Protocol::Dhcp, &values, "dhcp", json!({}), json!({"version": 6, "id": 9}));

    let values = [
        (i::snmp::VERSION, Number(2)),
        (i::snmp::PDU_TYPE, Number(5)),
        (i::snmp::OID, text("1.3.6")),
        (i::snmp::TRAP_TYPE, Number(9)),
    ];
    let object = json!({"version": 2, "pdu_type": "get_bulk_request", "vars": ["1.3.6"], "trap_type": "9"});
    is(Protocol::Snmp, &values, "snmp", json!({"snmp": object}), json!({}));

    let values = [(i::ntp::STRATUM, Number(1)), (i::ntp::REFERENCE_ID, text("GPS\0"))];
    is(Protocol::Ntp, &values, "ntp", json!({"ntp": {"stratum": 1, "reference_id": "47:50:53:00"}}), json!({}));
    is(Protocol::Tftp, &[(i::tftp::OPCODE, Number(2))], "tftp", json!({"tftp": {"packet": "write"}}), json!({}));
    is(Protocol::Tftp, &[(i::tftp::OPCODE, Number(6))], "tftp", json!({}), json!({"opcode": 6}));
}

#[test]
fn servers() {
    let values = [
        (i::mqtt::TYPE, text("connect")),
        (i::mqtt::CONNECT_FLAGS, Number(0xc2)),
        (i::mqtt::RETURN_CODE, Number(5)),
        (i::mqtt::KEEP_ALIVE, Number(60)),
    ];
    let flags = json!({"username": true, "password": true, "will_retain": false, "will": false, "clean_session": true});
    let object = json!({
        "connect": {"flags": flags, "qos": 0, "retain": false, "dup": false},
        "connack": {"return_code": 5, "qos": 0, "retain": false, "dup": false},
    });
    is(
        Protocol::Mqtt,
        &values,
        "mqtt",
        json!({"mqtt": object}),
        json!({"keep_alive": 60, "return_code_name": "not_authorized"}),
    );
    let values = [
        (i::mqtt::TYPE, text("subscribe")),
        (i::mqtt::MESSAGE_ID, Number(7)),
        (i::mqtt::TOPIC, text("a")),
        (i::mqtt::REQUESTED_QOS, Number(2)),
        (i::mqtt::TOPIC, text("b")),
        (i::mqtt::GRANTED_QOS, Number(1)),
        (i::mqtt::GRANTED_QOS, Number(128)),
    ];
    let topics = json!([{"topic": "a", "qos": 2}, {"topic": "b"}]);
    let object = json!({
        "subscribe": {"topics": topics, "message_id": 7, "qos": 1, "retain": false, "dup": false},
        "suback": {"qos_granted": [1, 128], "message_id": 7, "qos": 0, "retain": false, "dup": false},
    });
    is(Protocol::Mqtt, &values, "mqtt", json!({"mqtt": object}), json!({}));
    let values = [
        (i::mqtt::TYPE, text("publish")),
        (i::mqtt::TOPIC, text("a")),
        (i::mqtt::QOS, Number(2)),
        (i::mqtt::RETAIN, Number(0)),
        (i::mqtt::DUPLICATE, Number(1)),
        (i::mqtt::MESSAGE_ID, Number(9)),
        (i::mqtt::PUBREC, Number(0)),
        (i::mqtt::PUBREL, Number(0)),
    ];
    let object = json!({
        "publish": {"topic": "a", "message_id": 9, "qos": 2, "retain": false, "dup": true},
        "pubrec": {"reason_code": 0, "message_id": 9, "qos": 0, "retain": false, "dup": false},
        "pubrel": {"reason_code": 0, "message_id": 9, "qos": 1, "retain": false, "dup": false},
    });
    is(Protocol::Mqtt, &values, "mqtt", json!({"mqtt": object}), json!({}));

    let values = [
        (i::pgsql::REQUEST, text("startup_message")),
        (i::pgsql::USER, text("bob")),
        (i::pgsql::DATABASE, text("shop")),
        (i::pgsql::AUTH_METHOD, text("md5")),
        (i::pgsql::AUTHENTICATED, Number(1)),
        (i::pgsql::SERVER_VERSION, text("16.1")),
    ];
    let parameters = json!({"user": "bob", "optional_parameters": [{"database": "shop"}]});
    let response = json!({"message": "authentication_ok", "parameter_status": [{"server_version": "16.1"}]});
    let object = json!({"request": {"startup_parameters": parameters}, "response": response});
    is(Protocol::PostgreSql, &values, "pgsql", json!({"pgsql": object}), json!({"auth_method": "md5"}));
}

#[test]
fn keys() {
    let values = [
        (i::ike::VERSION_MAJOR, Number(1)),
        (i::ike::RESP_SPI, Bytes(&[0; 8])),
        (i::ike::PAYLOAD, Number(1)),
        (i::ike::ENCRYPTION, Number(7)),
        (i::ike::INTEGRITY, Number(2)),
        (i::ike::NONCE_BYTES, Number(20)),
        (i::ike::NOTIFY, Number(14)),
    ];
    let attributes = json!([
        {"key": "alg_enc", "value": "EncAesCbc", "raw": 7},
        {"key": "alg_hash", "value": "HashSha", "raw": 2},
    ]);
    let object = json!({"version_major": 1, "resp_spi": "0000000000000000", "payload": ["SecurityAssociation"],
        "attributes": attributes, "ikev1": {"client": {"nonce_payload_length": 20}}});
    is(
        Protocol::Ike,
        &values,
        "ike",
        json!({"ike": object}),
        json!({"notify": [14], "notify_name": ["NO-PROPOSAL-CHOSEN"]}),
    );
    let values = [
        (i::ike::VERSION_MAJOR, Number(2)),
        (i::ike::IS_RESPONSE, Number(1)),
        (i::ike::INTEGRITY, Number(12)),
        (i::ike::PRF, Number(5)),
        (i::ike::NOTIFY, Number(14)),
        (i::ike::NOTIFY, Number(60000)),
    ];
    let attributes = json!([{"key": "alg_auth", "value": "AUTH_HMAC_SHA2_256_128", "raw": 12}]);
    let object = json!({"version_major": 2, "role": "responder", "attributes": attributes,
        "ikev2": {"notify": ["NO_PROPOSAL_CHOSEN", "60000"]}});
    is(Protocol::Ike, &values, "ike", json!({"ike": object}), json!({"prf": [5], "prf_name": ["PRF_HMAC_SHA2_256"]}));
}

#[test]
fn peers_of_bittorrent() {
    let node: Vec<u8> = [&[7; 20][..], &[192, 0, 2, 1, 0x1a, 0xe1]].concat();
    let id = "09".repeat(20);
    let values = [
        (i::bittorrent::KIND, text("dht")),
        (i::bittorrent::DHT_TYPE, text("r")),
        (i::bittorrent::NODE_ID, Bytes(&[9; 20])),
        (i::bittorrent::NODES, Bytes(&node)),
        (i::bittorrent::NODES6, Bytes(&node)),
        (i::bittorrent::VALUE, Bytes(&[192, 0, 2, 2, 0, 80])),
    ];
    let nodes = json!([{"id": "07".repeat(20), "ip": "192.0.2.1", "port": 6881}]);
    let response = json!({"id": id, "nodes": nodes, "values": [{"ip": "192.0.2.2", "port": 80}]});
    let objects = json!({"bittorrent_dht": {"response": response}});
    is(Protocol::BitTorrent, &values, "bittorrent_dht", objects, json!({"nodes6": hex(&node)}));
    let values = [(i::bittorrent::KIND, text("dht")), (i::bittorrent::DHT_TYPE, text("r"))];
    is(Protocol::BitTorrent, &values, "bittorrent_dht", json!({}), json!({"dht_type": "r"}));
    let values = [(i::bittorrent::KIND, text("handshake"))];
    is(Protocol::BitTorrent, &values, "bittorrent", json!({}), json!({"kind": "handshake"}));
}

#[test]
fn industry() {
    let values = [
        (i::modbus::TRANSACTION, Number(1)),
        (i::modbus::FUNCTION, Number(3)),
        (i::modbus::FUNCTION_NAME, text("RdHoldRegs")),
        (i::modbus::ADDRESS, Number(40)),
        (i::modbus::QUANTITY, Number(2)),
        (i::modbus::EXCEPTION, Number(2)),
    ];
    let request = json!({"transaction_id": 1, "function_raw": 3, "function_code": "RdHoldRegs",
        "read": {"address": 40, "quantity": 2}});
    let object = json!({"request": request, "response": {"exception": {"raw": 2, "code": "IllegalDataAddr"}}});
    assert_eq!(rendered(Protocol::Modbus, &values).1, json!({"modbus": object}));

    let values = [
        (i::dnp3::SOURCE, Number(1)),
        (i::dnp3::FUNCTION, Number(1)),
        (i::dnp3::RESPONSE, Number(129)),
        (i::dnp3::INDICATIONS, Number(0x9001)),
        (i::dnp3::OBJECT, text("60.2")),
    ];
    let request = json!({"src": 1, "type": "request",
        "application": {"function_code": 1, "objects": [{"group": 60, "variation": 2}]}});
    let response = json!({"application": {"function_code": 129},
        "iin": {"indicators": ["device_restart", "need_time", "no_func_code_support"]}});
    assert_eq!(rendered(Protocol::Dnp3, &values).1, json!({"dnp3": {"request": request, "response": response}}));
}

#[test]
fn what_an_object_cannot_say_stays() {
    let cases = [
        (
            Protocol::Mqtt,
            vec![(i::mqtt::TYPE, text("auth")), (i::mqtt::MESSAGE_ID, Number(3))],
            json!({}),
            json!({"type": "auth", "message_id": 3}),
        ),
        (
            Protocol::Mqtt,
            vec![(i::mqtt::TYPE, text("publish")), (i::mqtt::TOPIC, text("a")), (i::mqtt::TOPIC, text("b"))],
            json!({"mqtt": {"publish": {"topic": "a"}}}),
            json!({"topic": ["b"]}),
        ),
        (
            Protocol::Dhcp,
            vec![(i::dhcp::VERSION, Number(4)), (i::dhcp::TYPE, Number(77))],
            json!({"dhcp": {"dhcp_type": "unknown"}}),
            json!({"version": 4, "dhcp_type": 77}),
        ),
        (
            Protocol::Smb,
            vec![(i::smb::SHARE, text("a")), (i::smb::PIPE, text("b")), (i::smb::SHARE_TYPE, text("PIPE"))],
            json!({"smb": {"share": "a", "named_pipe": "b", "share_type": "PIPE"}}),
            json!({}),
        ),
        (
            Protocol::Llmnr,
            vec![(i::llmnr::SET.qr, Number(1)), (i::llmnr::SET.rcode, Number(3))],
            json!({"llmnr": {"type": "response"}}),
            json!({"rcode": 3, "rcode_name": "NXDOMAIN"}),
        ),
        (
            Protocol::PostgreSql,
            vec![(i::pgsql::REQUEST, text("startup_message"))],
            json!({}),
            json!({"request": "startup_message"}),
        ),
        (
            Protocol::Dnp3,
            vec![(i::dnp3::FUNCTION, Number(1)), (i::dnp3::OBJECT, text("60.2")), (i::dnp3::OBJECT, text("6"))],
            json!({"dnp3": {"request": {"type": "request", "application": {"function_code": 1}}}}),
            json!({"object": ["60.2", "6"]}),
        ),
    ];
    for (protocol, values, objects, extra) in cases {
        let (_, told, beside) = rendered(protocol, &values);
        assert_eq!((told, beside), (objects, extra), "{}", protocol.name());
    }
}

#[test]
fn the_source_is_who_sent_it() {
    for (sender, wanted) in [(Side::Originator, 2), (Side::Responder, 4)] {
        let mut facts = Facts::default();
        facts.put(i::mqtt::TYPE, b"publish");
        let head = EventHead { sender, ..head(Protocol::Mqtt, 6, (2, 4)) };
        let mut writer = crate::control::export::EveWriter::new(Vec::new(), None);
        writer.application(&AppEvent { head, facts: facts.as_bytes().into() }).expect("memory takes it");
        let line: Value = serde_json::from_slice(&writer.finish().expect("memory takes it")).expect("JSON");
        assert_eq!((&line["src_port"], &line["dest_port"]), (&json!(wanted), &json!(6 - wanted)));
    }
}

#[test]
fn mail() {
    let values = [
        (i::smtp::MAIL_FROM, text("a@b")),
        (i::smtp::SUBJECT, text("Rechnung \u{fc}")),
        (i::smtp::FROM, text("A <a@b>")),
        (i::smtp::TO, text("\"B, C\" <b@c>, d@e,,<f,g@h>")),
        (i::smtp::CC, text(" , ")),
        (i::smtp::ATTACHMENT, text("a.zip")),
        (i::smtp::ATTACHMENT, text("b.exe")),
        (i::smtp::RCPT_REFUSED, text("x@y")),
        (i::smtp::RCPT_REFUSED_CODE, Number(550)),
        (i::smtp::SIZE, Number(7)),
    ];
    let email = json!({
        "from": "A <a@b>",
        "to": ["\"B, C\" <b@c>", "d@e", "<f,g@h>"],
        "subject": "Rechnung \u{fc}",
        "attachment": ["a.zip", "b.exe"],
        "status": "PARSE_DONE",
    });
    let extra = json!({"rcpt_refused": ["x@y"], "rcpt_refused_codes": [550], "size": 7,
        "cc": " , ", "to": "\"B, C\" <b@c>, d@e,,<f,g@h>"});
    is(Protocol::Smtp, &values, "smtp", json!({"smtp": {"mail_from": "a@b"}, "email": email}), extra);
    is(Protocol::Smtp, &[(i::smtp::CODE, Number(554))], "smtp", json!({}), json!({"code": 554}));
}
