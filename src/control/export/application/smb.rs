//! `smb` and `dcerpc`, which is an object of its own over TCP and one inside `smb` over pipes.

use super::{Found, list, put, put_object, text, word};
use crate::dataplane::inspect::{dcerpc, kerberos, ntlm, number, smb};
use serde_json::{Map, Value, json};

/// `smb`.
pub fn object(facts: &mut Found<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let command = facts.first(smb::COMMAND).unwrap_or_default();
    let places = [
        ("command", smb::COMMAND),
        ("id", smb::ID),
        ("session_id", smb::SESSION),
        ("tree_id", smb::TREE),
        ("dialect", smb::DIALECT),
        ("client_dialects", smb::CLIENT_DIALECT),
        ("client_guid", smb::CLIENT_GUID),
        ("server_guid", smb::SERVER_GUID),
        ("max_read_size", smb::MAX_READ),
        ("max_write_size", smb::MAX_WRITE),
        ("share", smb::SHARE),
        ("named_pipe", smb::PIPE),
        ("disposition", smb::DISPOSITION),
        ("size", smb::SIZE),
        ("fuid", smb::FILE_ID),
    ];
    facts.place(&mut object, &places);
    // Of a share of pipes Suricata writes the name so.
    if facts.first(smb::SHARE_TYPE).is_some_and(|kind| matches!(kind, b"PIPE" | b"IPC"))
        && !object.contains_key("named_pipe")
        && let Some(name) = object.remove("share")
    {
        object.insert("named_pipe".to_owned(), name);
    }
    status(facts, &mut object);
    if command.starts_with(b"SMB1") {
        let mut service = Map::new();
        facts.place(&mut service, &[("request", smb::SERVICE), ("response", smb::SHARE_TYPE)]);
        put_object(&mut object, "service", service);
    } else {
        facts.place(&mut object, &[("share_type", smb::SHARE_TYPE)]);
    }
    put(&mut object, "function", facts.number(smb::FUNCTION).map(function));
    if command == b"SMB1_COMMAND_TRANS2"
        && let Some(name) = facts.peek(smb::SUBCOMMAND).and_then(subcommand)
    {
        facts.all(smb::SUBCOMMAND);
        object.insert("subcmd".to_owned(), name.into());
    }
    file(facts, &mut object, command);
    for (name, places) in [
        ("request", [("native_os", smb::NATIVE_OS), ("native_lm", smb::NATIVE_LM)]),
        ("response", [("native_os", smb::SERVER_OS), ("native_lm", smb::SERVER_LM)]),
    ] {
        let mut host = Map::new();
        facts.place(&mut host, &places);
        put_object(&mut object, name, host);
    }
    logon(facts, &mut object);
    put_object(&mut object, "dcerpc", call(facts, true));
    object
}

fn status(facts: &mut Found<'_>, object: &mut Map<String, Value>) {
    if let Some(status) = facts.number(smb::STATUS) {
        object.insert("status".to_owned(), word(Some(smb::status_name(status)), status).into());
        object.insert("status_code".to_owned(), format!("0x{status:x}").into());
    }
}

/// Names of files and directories, and what is done to them.
fn file(facts: &mut Found<'_>, object: &mut Map<String, Value>, command: &[u8]) {
    if let Some(new_name) = facts.text(smb::RENAME_TO) {
        let mut rename = Map::from_iter([("to".to_owned(), new_name.into())]);
        facts.place(&mut rename, &[("from", smb::FILE)]);
        object.insert("rename".to_owned(), rename.into());
        if command.starts_with(b"SMB2") {
            object.insert("set_info".to_owned(), json!({"class": "FILE_INFO", "info_level": "SMB2_FILE_RENAME_INFO"}));
        }
        return;
    }
    if facts.first(smb::FILE).is_some() {
        let name = if facts.flag(smb::DIRECTORY) { "directory" } else { "filename" };
        facts.place(object, &[(name, smb::FILE)]);
    }
    if object.contains_key("disposition") {
        let access = if facts.flag(smb::DELETE) { "delete on close" } else { "normal" };
        object.insert("access".to_owned(), access.into());
    }
}

/// Who logs on, by NTLM or Kerberos.
fn logon(facts: &mut Found<'_>, object: &mut Map<String, Value>) {
    let mut by_name = Map::new();
    let places = [("domain", ntlm::DOMAIN), ("user", ntlm::USER), ("host", ntlm::WORKSTATION)];
    facts.place(&mut by_name, &places);
    facts.place(&mut by_name, &[("version", ntlm::VERSION)]);
    put_object(object, "ntlmssp", by_name);
    let mut by_ticket = Map::new();
    facts.place(&mut by_ticket, &[("realm", kerberos::REALM)]);
    let names = |name: &[u8]| name.split(|byte| *byte == b'/').map(text).collect::<Vec<_>>();
    put(&mut by_ticket, "snames", facts.one(kerberos::SERVICE).map(names));
    put_object(object, "kerberos", by_ticket);
}

/// Commands of TRANS2 that Suricata names (MS-CIFS section 2.2.2.2).
fn subcommand(number: u64) -> Option<&'static str> {
    match number {
        6 => Some("SET_PATH_INFO"),
        8 => Some("SET_FILE_INFO"),
        _ => None,
    }
}

/// Control codes by their names (MS-SMB2 section 2.2.31, MS-FSCC section 2.3).
fn function(code: u64) -> String {
    let name = match code {
        0x0006_0194 => "FSCTL_DFS_GET_REFERRALS",
        0x0006_01b0 => "FSCTL_DFS_GET_REFERRALS_EX",
        0x0009_00a4 => "FSCTL_SET_REPARSE_POINT",
        0x0009_8208 => "FSCTL_FILE_LEVEL_TRIM",
        0x0011_0018 => "FSCTL_PIPE_WAIT",
        0x0011_400c => "FSCTL_PIPE_PEEK",
        0x0011_c017 => "FSCTL_PIPE_TRANSCEIVE",
        0x0014_0078 => "FSCTL_SRV_REQUEST_RESUME_KEY",
        0x0014_01d4 => "FSCTL_LMR_REQUEST_RESILIENCY",
        0x0014_01fc => "FSCTL_QUERY_NETWORK_INTERFACE_INFO",
        0x0014_0204 => "FSCTL_VALIDATE_NEGOTIATE_INFO",
        0x0014_4064 => "FSCTL_SRV_ENUMERATE_SNAPSHOTS",
        0x0014_40f2 => "FSCTL_SRV_COPYCHUNK",
        _ => return format!("0x{code:x}"),
    };
    name.to_owned()
}

/// `dcerpc`.
pub fn dcerpc(facts: &mut Found<'_>) -> Map<String, Value> {
    call(facts, false)
}

fn call(facts: &mut Found<'_>, is_pipe: bool) -> Map<String, Value> {
    let mut object = Map::new();
    facts
        .place(&mut object, &[("request", dcerpc::REQUEST), ("response", dcerpc::RESPONSE), ("call_id", dcerpc::CALL)]);
    if object.is_empty() {
        return object;
    }
    for (name, lost) in [("request", "REQUEST_LOST"), ("response", "UNREPLIED")] {
        object.entry(name).or_insert_with(|| lost.into());
    }
    let (mut request, mut response) = (Map::new(), Map::new());
    if is_pipe {
        facts.place(&mut object, &[("opnum", dcerpc::OPERATION_NUMBER)]);
    } else {
        facts.place(&mut object, &[("rpc_version", dcerpc::RPC_VERSION)]);
        facts.place(&mut request, &[("opnum", dcerpc::OPERATION_NUMBER)]);
    }
    facts.place(&mut request, &[("stub_data_size", dcerpc::REQUEST_BYTES)]);
    facts.place(&mut response, &[("stub_data_size", dcerpc::RESPONSE_BYTES)]);
    put_object(&mut object, "req", request);
    put_object(&mut object, "res", response);
    put(&mut object, "interfaces", list(interfaces(facts)));
    object
}

/// UUIDs with what stands beside them in the other lists.
fn interfaces(facts: &mut Found<'_>) -> Vec<Value> {
    let uuids = facts.texts(dcerpc::UUID);
    if uuids.is_empty() {
        return Vec::new();
    }
    let [versions, services, results] =
        [dcerpc::UUID_VERSION, dcerpc::INTERFACE, dcerpc::ACK_RESULT].map(|fact| facts.some(fact, uuids.len()));
    let operation = if uuids.len() == 1 { facts.text(dcerpc::OPERATION) } else { None };
    let object = |(at, uuid): (usize, String)| {
        let mut object = Map::from_iter([("uuid".to_owned(), uuid.into())]);
        put(&mut object, "version", versions.get(at).map(|version| text(version)));
        put(&mut object, "ack_result", results.get(at).map(|value| number(value)));
        put(&mut object, "service", services.get(at).map(|name| text(name)).filter(|name| name != "unknown"));
        put(&mut object, "procedure", operation.clone());
        object.into()
    };
    uuids.into_iter().enumerate().map(object).collect()
}
