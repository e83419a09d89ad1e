//! Observations out of events: which facts of each protocol the detectors want.

use super::{Answer, Cleartext, Dns, Hello, Lease, Mining, Remote, Request, Slow, Step, Visit};
use crate::control::behaviour::count::hash;
use crate::control::behaviour::slow_http::{Held, How};
use crate::control::behaviour::{intel, names, slow_http, web_attack};
use crate::control::inventory;
use crate::dataplane::decode::{Endpoint, FlowKey};
use crate::dataplane::flow::Side;
use crate::dataplane::inspect::tls::fingerprint::{Transport, ja3, ja4, md5_hex};
use crate::dataplane::inspect::{
    Fact, Facts, Protocol, dcerpc, dhcp, dns, dtls, http, http2, llmnr, nbns, quic, smb, stratum, tls,
};
use crate::exchange::EventHead;
use std::net::IpAddr;

/// A question, or an answer with it.
pub fn dns_of(head: &EventHead, facts: &[u8]) -> Option<Dns> {
    let event = inventory::Event::new(head, facts);
    let name = event.bytes(dns::SET.query_name)?;
    let [answers, ..] = &dns::SET.sections;
    let [owner, .., data] = answers;
    let is_answer = event.number(dns::SET.qr) == Some(1);
    let name = names::asked(name)?;
    let answer_bytes = if is_answer { event.all(*data).map(|data| data.len() as u32).sum() } else { 0 };
    let has_answers = is_answer && event.all(*owner).next().is_some();
    let is_loopback = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.is_loopback());
    let mut addresses = event.addresses(dns::SET.address).peekable();
    let is_listed = addresses.peek().is_some() && addresses.all(is_loopback);
    Some(Dns {
        client: event.client,
        server: event.server,
        name,
        kind: event.number(dns::SET.query_type).unwrap_or(0) as u16, // of 16 bits
        answer: is_answer.then(|| event.number(dns::SET.rcode).unwrap_or(0) as u16), // of 12 bits
        is_own: is_answer && event.addresses(dns::SET.address).any(|address| address == event.server.ip()),
        answer_bytes,
        answer_hash: if answer_bytes > 0 { event.all(*data).fold(0, |all, data| hash((all, data))) } else { 0 },
        is_unread: has_answers && answer_bytes == 0,
        is_verdict: is_answer && (!has_answers && answer_bytes == 0 || is_listed),
    })
}

/// What a miner or a peer says.
pub fn mining_of(head: &EventHead, facts: &[u8]) -> Option<Mining> {
    let event = inventory::Event::new(head, facts);
    let kind = match event.bytes(stratum::KIND)? {
        b"stratum" => "stratum",
        b"bitcoin" => "bitcoin",
        b"ethereum" => "ethereum",
        _ => return None,
    };
    let text = |fact| event.text(fact).unwrap_or_default();
    Some(Mining {
        client: event.client,
        server: event.server,
        kind,
        call: text(stratum::METHOD),
        user: text(stratum::USERNAME),
        agent: text(stratum::AGENT),
    })
}

/// A handshake.
pub fn hello_of(head: &EventHead, facts: &[u8]) -> Hello {
    let (names, certificate, transport) = match head.protocol {
        Protocol::Tls => (tls::HELLO, Some(tls::SERVER_CERTIFICATE), Transport::Tcp),
        Protocol::Dtls => (dtls::HELLO, Some(dtls::SERVER_CERTIFICATE), Transport::Dtls),
        _ => (quic::HELLO, None, Transport::Quic),
    };
    let event = inventory::Event::new(head, facts);
    let all = Facts::from_bytes(facts, head.truncated);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    Hello {
        client: event.client,
        server: event.server,
        name: event.bytes(names.sni).and_then(names::lower),
        ja3: ja3(&all, &names).map(|text| md5_hex(&text).into()),
        ja4: ja4(&all, &names, transport).map(Into::into),
        certificate: certificate.and_then(|names| event.bytes(names.fingerprint)).map(hex),
        version: event.number(names.version).or_else(|| event.number(names.server_version)).unwrap_or(0) as u16, // of 16 bits
        cipher: event.number(names.cipher).unwrap_or(0) as u16, // likewise
        alpn: event.text(names.client_alpn).map(Into::into),
        hides_name: [names.ech, names.resumed, names.psk].into_iter().any(|fact| event.number(fact) == Some(1)),
        valid: certificate.and_then(|names| Some((event.number(names.not_before)?, event.number(names.not_after)?))),
        is_self_signed: certificate.is_some_and(|names| event.number(names.self_signed) == Some(1)),
        is_mismatch: certificate.is_some_and(|certificate| is_for_another(&event, names.sni, certificate)),
    }
}

/// Is the certificate for other names than the one asked for (RFC 9525 section 6.3)? Of one with more names than are kept
/// nobody knows.
fn is_for_another(event: &inventory::Event<'_>, sni: Fact, certificate: tls::CertificateFacts) -> bool {
    let Some(wanted) = event.bytes(sni).and_then(names::lower) else { return false };
    let kept = event.all(certificate.alt_name).count() as u64;
    if event.bytes(certificate.fingerprint).is_none() || event.number(certificate.alt_name_count).unwrap_or(0) > kept {
        return false;
    }
    let subject = event.text(certificate.subject).unwrap_or_default().to_ascii_lowercase();
    let common = subject.split(", ").find_map(|part| part.strip_prefix("cn=")).map(Into::into);
    let parent = wanted.split_once('.').map(|(_, parent)| parent);
    let fits = |name: Box<str>| *name == *wanted || name.strip_prefix("*.").is_some_and(|below| Some(below) == parent);
    !event.all(certificate.alt_name).filter_map(names::lower).chain(common).any(fits)
}

/// A request with its URL.
pub fn request_of(head: &EventHead, facts: &[u8]) -> Option<Request> {
    let event = inventory::Event::new(head, facts);
    let path = String::from_utf8_lossy(event.bytes(http::URL)?);
    // What a proxy is asked for is whole.
    let url = if path.contains("://") {
        intel::url(&path)?
    } else {
        let host = String::from_utf8_lossy(event.bytes(http::HOSTNAME)?);
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into_owned() };
        let port = event.number(http::PORT).map(|port| format!(":{port}")).unwrap_or_default();
        intel::url(&format!("http://{host}{port}{path}"))?
    };
    Some(Request { client: event.client, server: event.server, url })
}

/// Characters of a request that evidence shows.
const SHOWN: usize = 120;

/// What a request tells of an attack; `None` where it has no path.
pub fn visit_of(head: &EventHead, facts: &[u8]) -> Option<Visit> {
    let event = inventory::Event::new(head, facts);
    let is_first = head.protocol == Protocol::Http;
    let (target, agent, status) = match is_first {
        true => (http::URL, http::USER_AGENT, http::STATUS),
        false => (http2::PATH, http2::USER_AGENT, http2::STATUS),
    };
    let target = event.bytes(target)?;
    let agent = event.bytes(agent).unwrap_or_default();
    let of_first = |fact| event.bytes(fact).filter(|_| is_first).unwrap_or_default();
    let (referer, method, user) = (of_first(http::REFERER), of_first(http::METHOD), of_first(http::USERNAME));
    let classes = [target, agent, referer].map(|text| (web_attack::class(text), text)).into_iter();
    let named = [user, method].map(|text| (web_attack::name_class(text), text));
    // A field that is not kept, by its name.
    let lookup = of_first(http::LOOKUP);
    let held = (!lookup.is_empty()).then_some(((web_attack::Class::Expression, true), lookup));
    // A value that is not kept, by its place.
    let place = of_first(http::INJECTION);
    let is_sure = event.number(http::INJECTION_SURE) == Some(1);
    let put = (is_first && !place.is_empty()).then_some(((web_attack::Class::Sql, is_sure), place));
    let code = classes.chain(named).find_map(|(class, text)| Some((class?, text))).or(held).or(put);
    let path = target.split(|byte| *byte == b'?').next().unwrap_or(target);
    let mut visit = Visit {
        client: event.client,
        server: event.server,
        path: hash(path),
        guess: referer.is_empty().then(|| web_attack::guess(path)).flatten(),
        // RFC 9309 section 2.3.
        length: event.number(http::LENGTH).filter(|_| is_first).unwrap_or(0),
        is_crawlers: path == b"/robots.txt",
        target: match put {
            Some((_, place)) => hash((path, place, event.number(http::INJECTION_HASH))),
            None => hash(code.map_or(target, |(_, text)| text)),
        },
        status: event.number(status).and_then(|status| u16::try_from(status).ok()),
        class: code.map(|(class, _)| class),
        scanner: web_attack::scanner(agent),
        text: "".into(),
    };
    if !visit.is_plain() {
        let is_put = put.is_some() && code == put;
        let text = String::from_utf8_lossy(code.filter(|_| !is_put).map_or(target, |(_, text)| text));
        visit.text = text.chars().take(SHOWN).collect();
        if is_put {
            visit.text = format!("{} with SQL in its {}", visit.text, String::from_utf8_lossy(place)).into();
        }
    }
    Some(visit)
}

/// A server has waited for a request in vain (RFC 9110 section 15.5.9), or for its client to take an answer. Also where it answers
/// at last a request that never was whole, because its client gave up or it has waited long enough: of a connection's first
/// request alone it is known since when.
pub fn timed_out(head: &EventHead, facts: &[u8]) -> Option<Slow> {
    let event = inventory::Event::new(head, facts);
    let age_ns = head.first_seen.map_or(0, |began| head.time.since(began));
    let taken = event
        .number(http::CONTENT_LENGTH)
        .zip(event.number(http::LENGTH))
        .filter(|(wanted, taken)| taken < wanted && slow_http::is_slow_reader(age_ns, *taken));
    let came = event
        .number(http::REQUEST_MISSING)
        .filter(|_| event.number(http::TRANSACTION) == Some(0))
        .map(|missing| event.number(http::REQUEST_LENGTH).map_or(0, |length| length.saturating_sub(missing)))
        .filter(|came| slow_http::is_slow_sender(age_ns, *came));
    let has_waited = event.number(http::STATUS) == Some(408);
    let (how, bytes) = match (came, taken) {
        (Some(came), _) => (How::Body, came),
        (None, Some((_, taken))) if !has_waited => (How::Answer, taken),
        (None, _) if has_waited => (How::Waited, 0),
        (None, _) => return None,
    };
    let began = head.first_seen.unwrap_or(head.time);
    Some(Slow { client: event.client, server: event.server, began, held: Held { how, bytes, age_ns } })
}

pub(super) fn link_of(key: &FlowKey) -> u64 {
    hash((key.vlans(), key.tunnel_identity()))
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Who sent a message, and to whom.
fn ends_of(head: &EventHead) -> (Endpoint, Endpoint) {
    let (originator, responder) = head.key.endpoints(head.originator);
    if head.sender == Side::Originator { (originator, responder) } else { (responder, originator) }
}

/// Offers and acknowledgements of version 4 (RFC 2132 section 9.6).
pub fn lease_of(head: &EventHead, facts: &[u8]) -> Option<Lease> {
    const OFFER: u64 = 2;
    const ACK: u64 = 5;
    const USUAL_MASK: u128 = u128::MAX << 8;
    let event = inventory::Event::new(head, facts);
    let kind = event.number(dhcp::TYPE)?;
    if event.number(dhcp::VERSION) != Some(4) || !matches!(kind, OFFER | ACK) {
        return None;
    }
    let one = |fact| event.addresses(fact).map(number_of).next();
    let all = |fact| {
        let mut all: Vec<u128> = event.addresses(fact).map(number_of).collect();
        all.sort_unstable();
        all
    };
    let hashed = |all: &[u128]| if all.is_empty() { 0 } else { hash(all) };
    let address = one(dhcp::ASSIGNED_IP).filter(|address| *address as u32 != 0)?;
    let mask = one(dhcp::SUBNET_MASK).map_or(USUAL_MASK, |mask| mask | u128::MAX << 32);
    let routers = all(dhcp::ROUTER);
    Some(Lease {
        link: link_of(&head.key),
        server: one(dhcp::SERVER_ID).unwrap_or(ends_of(head).0.address),
        address,
        is_given: kind == ACK,
        mac: event.bytes(dhcp::CLIENT_MAC).and_then(|mac| mac.try_into().ok()),
        exchange: event.number(dhcp::ID).unwrap_or(0),
        relay: one(dhcp::RELAY_IP).filter(|relay| *relay as u32 != 0).unwrap_or(0),
        network: address & mask,
        routers: hashed(&routers),
        routers_named: routers,
        resolvers: hashed(&all(dhcp::DNS_SERVER)),
    })
}

/// A question of version 4 for a first address (RFC 2131 section 3.1).
pub fn discover_of(head: &EventHead, facts: &[u8]) -> Option<(u64, u64)> {
    const DISCOVER: u64 = 1;
    let event = inventory::Event::new(head, facts);
    let is_one = event.number(dhcp::VERSION) == Some(4) && event.number(dhcp::TYPE) == Some(DISCOVER);
    Some((link_of(&head.key), hash(event.bytes(dhcp::CLIENT_MAC).filter(|_| is_one)?)))
}

/// Answers with the address of who gives them: of LLMNR (RFC 4795 section 2.1.1), and of NetBIOS for workstations and file
/// servers (RFC 1002 section 4.2.13); and what a host registers for itself there (section 4.2.2).
pub fn answer_of(head: &EventHead, facts: &[u8]) -> Option<Answer> {
    const WORKSTATION: u64 = 0x00;
    const FILE_SERVER: u64 = 0x20;
    const REGISTRATION: u64 = 5;
    let event = inventory::Event::new(head, facts);
    let (responder, asker) = ends_of(head);
    let (name, is_own, how) = if head.protocol == Protocol::Llmnr {
        let is_answer = event.number(llmnr::SET.qr) == Some(1);
        let own = event.addresses(llmnr::SET.address).any(|address| address == responder.ip());
        (event.bytes(llmnr::SET.query_name)?, is_answer && own, "LLMNR")
    } else {
        let is_answer = event.number(nbns::QR) == Some(1) && event.number(nbns::OPCODE) == Some(0);
        // Names of file servers are one host's; those of workstations are groups' too, and nobody says which.
        let registers = event.number(nbns::QR) == Some(0) && event.number(nbns::OPCODE) == Some(REGISTRATION);
        let is_claim = is_answer || registers && event.number(nbns::SUFFIX) == Some(FILE_SERVER);
        let is_host = matches!(event.number(nbns::SUFFIX), Some(WORKSTATION | FILE_SERVER));
        let is_good = event.number(nbns::RCODE).is_none_or(|code| code == 0);
        let own = event.addresses(nbns::ADDRESS).any(|address| address == responder.ip());
        (event.bytes(nbns::NAME)?, is_claim && is_host && is_good && own, "NetBIOS")
    };
    let name = names::lower(name)?.split('.').next()?.into();
    let (responder, port) = (responder.address, responder.port);
    is_own.then_some(Answer { link: link_of(&head.key), responder, port, asker: asker.address, name, how })
}

/// `ADMIN$`, or a drive: `C$`.
fn is_administrative(share: &str) -> bool {
    let name = share.rsplit('\\').next().unwrap_or_default();
    let [drive, b'$'] = name.as_bytes() else { return name.eq_ignore_ascii_case("ADMIN$") };
    drive.is_ascii_alphabetic()
}

/// Files that are programs to Windows (PATHEXT, and what those load).
const PROGRAMS: [&str; 10] = ["exe", "dll", "sys", "com", "scr", "bat", "cmd", "ps1", "vbs", "msi"];

fn is_program(file: &str) -> bool {
    let ending = file.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    PROGRAMS.iter().any(|one| ending.eq_ignore_ascii_case(one))
}

/// A client's number (MS-SMB2 section 2.2.3, a GUID as text) of sixteen letters: as Impacket draws it. By chance one of 10^11 is so.
fn is_of_letters(guid: &str) -> bool {
    let digits: Vec<u8> = guid.bytes().filter(|digit| *digit != b'-').collect();
    let letter = |pair: &[u8]| {
        let byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        byte.is_some_and(|byte| byte.is_ascii_alphabetic())
    };
    digits.len() == 32 && digits.chunks(2).all(letter)
}

/// Commands that open a file or make one: `CREATE` of all versions, and `OPEN_ANDX` of the first.
fn is_opening(command: &str) -> bool {
    command.contains("CREATE") || command.contains("OPEN_ANDX")
}

/// A call, a file or connection of an administrative share, or a client's number; such that the server let pass, but for connections.
pub fn remote_of(head: &EventHead, facts: &[u8]) -> Option<Remote> {
    // MS-ERREF section 2.3.1.
    const ACCESS_DENIED: u64 = 0xc000_0022;
    const BAD_NETWORK_NAME: u64 = 0xc000_00cc;
    // IWbemServices::ExecMethod (MS-WMI section 3.1.4.3.22).
    const EXEC_METHOD: u64 = 24;
    let event = inventory::Event::new(head, facts);
    let call = event.text(dcerpc::OPERATION).filter(|_| event.bytes(dcerpc::RESPONSE) != Some(b"FAULT"));
    let is_unnamed = event.bytes(dcerpc::REQUEST) == Some(b"REQUEST") && event.bytes(dcerpc::INTERFACE).is_none();
    let (step, what) = match call {
        Some(call) => {
            let step = Step::of_call(&call)?;
            let is_by_pipe = event.number(dcerpc::BY_PIPE) == Some(1);
            (step, if is_by_pipe { format!("{call} (by the pipe's name)") } else { call })
        }
        // The connection was there before, so nobody saw what it was bound to.
        None if is_unnamed && event.number(dcerpc::OPERATION_NUMBER) == Some(EXEC_METHOD) => {
            (Step::PerhapsExecution, "ExecMethod".into())
        }
        None if event.text(smb::CLIENT_GUID).is_some_and(|guid| is_of_letters(&guid)) => (Step::Toolkit, "SMB".into()),
        None => {
            let share = event.text(smb::SHARE).filter(|share| is_administrative(share))?;
            let command = event.text(smb::COMMAND)?;
            let opens_only = || event.bytes(smb::DISPOSITION).is_none_or(|how| how == b"FILE_OPEN");
            match event.number(smb::STATUS) {
                Some(0) if command.contains("TREE_CONNECT") => (Step::Share, share),
                Some(ACCESS_DENIED | BAD_NETWORK_NAME) if command.contains("TREE_CONNECT") => {
                    (Step::RefusedShare, share)
                }
                Some(0) if is_opening(&command) && !opens_only() && event.number(smb::DIRECTORY) != Some(1) => {
                    let file = event.text(smb::FILE)?;
                    (if is_program(&file) { Step::WriteProgram } else { Step::Write }, file)
                }
                _ => return None,
            }
        }
    };
    Some(Remote { client: event.client, server: event.server, step, what })
}

/// A password that anybody could read.
pub fn cleartext_of(head: &EventHead, facts: &[u8]) -> Option<Cleartext> {
    let (how, sentence) = inventory::password_in_clear(head, facts)?;
    let event = inventory::Event::new(head, facts);
    Some(Cleartext { client: event.client, server: event.server, how, sentence })
}
