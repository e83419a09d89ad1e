//! Logins out of events: who, where, as whom, and how it ended.
//!
//! Asked are the protocols in which a tap reads the server's answer. What inspection does not tell apart is no outcome: the first
//! attempt of a Telnet connection, an answer that got lost, a login that was broken off.

use super::{Login, Outcome};
use crate::control::behaviour::count::hash;
use crate::control::inventory::Event;
use crate::dataplane::inspect::{
    Fact, Protocol, ftp, http, imap, kerberos, ldap, mongodb, mqtt, mysql, ntlm, number, pgsql, pop3, redis, sip, smb,
    smtp, snmp, socks, ssh, telnet,
};
use crate::exchange::EventHead;

/// Protocols of which an event may be a login.
pub fn may_be_login(protocol: Protocol) -> bool {
    use Protocol::{
        Ftp, Http, Imap, Kerberos, Ldap, MongoDb, Mqtt, MySql, Pop3, PostgreSql, Redis, Sip, Smb, Smtp, Snmp, Socks,
        Ssh, Telnet,
    };
    matches!(
        protocol,
        Ftp | Http
            | Imap
            | Kerberos
            | Ldap
            | MongoDb
            | Mqtt
            | MySql
            | Pop3
            | PostgreSql
            | Redis
            | Sip
            | Smb
            | Smtp
            | Snmp
            | Socks
            | Ssh
            | Telnet
    )
}

/// How a login of some protocol ended, and whose it was.
type Found = Option<(&'static str, Outcome, Option<String>)>;

/// A login.
pub fn login_of(head: &EventHead, facts: &[u8]) -> Option<Login> {
    let event = Event::new(head, facts);
    let read: fn(&Event<'_>) -> Found = match head.protocol {
        Protocol::Ftp => of_ftp,
        Protocol::Http => of_http,
        Protocol::Imap => of_imap,
        Protocol::Kerberos => of_kerberos,
        Protocol::Ldap => of_ldap,
        Protocol::MongoDb => of_mongodb,
        Protocol::Mqtt => of_mqtt,
        Protocol::MySql => of_mysql,
        Protocol::Pop3 => of_pop3,
        Protocol::PostgreSql => of_postgres,
        Protocol::Redis => of_redis,
        Protocol::Sip => of_sip,
        Protocol::Smb => of_smb,
        Protocol::Smtp => of_smtp,
        Protocol::Snmp => of_snmp,
        Protocol::Socks => of_socks,
        Protocol::Ssh => of_ssh,
        Protocol::Telnet => of_telnet,
        _ => return None,
    };
    let (service, outcome, user) = read(&event)?;
    // Of SSH a session's are told together.
    let times = event.number(ssh::GUESSES).filter(|_| outcome == Outcome::Refused).unwrap_or(1);
    let (client, server, user) = (event.client, event.server, user.map(Into::into));
    Some(Login { client, server, service, outcome, user, times })
}

/// What is refused in a session that ends well was mistyped: a server hears one user in a session (RFC 4252 section 5 lets it
/// disconnect who changes, as OpenSSH does), so nobody washes guesses at one account with another that he has.
fn of_ssh(event: &Event<'_>) -> Found {
    event.number(ssh::GUESSES)?;
    Some(("ssh", either(event.number(ssh::LET_IN) == Some(1)), None))
}

fn either(is_in: bool) -> Outcome {
    if is_in { Outcome::Accepted } else { Outcome::Refused }
}

/// RFC 959 section 4.2: 230 and 530 answer the password.
fn of_ftp(event: &Event<'_>) -> Found {
    let user = event.text(ftp::USERNAME)?;
    let last = event.all(ftp::CODE).last().map(number)?;
    let is_anonymous = ["anonymous", "ftp"].iter().any(|name| user.eq_ignore_ascii_case(name));
    let outcome = match last {
        230 => Outcome::Accepted,
        530 if is_anonymous => Outcome::Named,
        530 => Outcome::Refused,
        _ => return None,
    };
    Some(("ftp", outcome, Some(user)))
}

/// RFC 4954 section 6.
fn of_smtp(event: &Event<'_>) -> Found {
    event.bytes(smtp::AUTH_MECHANISM)?;
    let code = event.number(smtp::CODE).filter(|code| matches!(code, 235 | 535))?;
    Some(("smtp", either(code == 235), event.text(smtp::USERNAME)))
}

/// Locked mailboxes and servers in trouble (RFC 2449 section 8, RFC 3206) refuse nobody.
fn of_pop3(event: &Event<'_>) -> Found {
    let command = event.bytes(pop3::COMMAND)?;
    let is_login = ["USER", "PASS", "APOP", "AUTH"].iter().any(|one| command.eq_ignore_ascii_case(one.as_bytes()));
    let user = event.text(pop3::USERNAME).filter(|_| is_login)?;
    let reply = event.text(pop3::REPLY).unwrap_or_default();
    if ["[IN-USE]", "[SYS/", "[LOGIN-DELAY]"].iter().any(|other| reply.contains(other)) {
        return None;
    }
    Some(("pop3", either(event.number(pop3::SUCCESS)? == 1), Some(user)))
}

fn of_imap(event: &Event<'_>) -> Found {
    let command = event.bytes(imap::COMMAND)?;
    let is_login = ["LOGIN", "AUTHENTICATE"].iter().any(|one| command.eq_ignore_ascii_case(one.as_bytes()));
    let outcome = match event.bytes(imap::STATUS).filter(|_| is_login)? {
        b"OK" => Outcome::Accepted,
        b"NO" => Outcome::Refused,
        _ => return None,
    };
    Some(("imap", outcome, event.text(imap::USERNAME)))
}

/// The second attempt says what became of the first one.
fn of_telnet(event: &Event<'_>) -> Found {
    let is_next = event.number(telnet::ATTEMPT)? > 1 && event.number(telnet::SECRET_SENT) == Some(1);
    is_next.then(|| ("telnet", Outcome::Refused, event.text(telnet::USERNAME)))
}

/// Codes of `ER_ACCESS_DENIED_ERROR` and its kin; who offers no password guesses none (`mysqladmin ping`).
fn of_mysql(event: &Event<'_>) -> Found {
    const DENIED: [u64; 3] = [1045, 1044, 1698];
    let user = event.text(mysql::USER);
    let outcome = match event.number(mysql::AUTHENTICATED)? {
        1 => Outcome::Accepted,
        _ if !event.number(mysql::CODE).is_some_and(|code| DENIED.contains(&code)) => return None,
        _ if event.text(mysql::MESSAGE).is_some_and(|text| text.contains("(using password: NO)")) => Outcome::Named,
        _ => Outcome::Refused,
    };
    Some(("database", outcome, user))
}

/// `invalid_password`, and what peers are told who may not log in so (PostgreSQL documentation, appendix A).
fn of_postgres(event: &Event<'_>) -> Found {
    let code = event.bytes(pgsql::CODE);
    let outcome = match event.number(pgsql::AUTHENTICATED) {
        Some(1) => Outcome::Accepted,
        _ if code == Some(b"28P01") => Outcome::Refused,
        _ if code == Some(b"28000") => Outcome::Named,
        _ => return None,
    };
    Some(("database", outcome, event.text(pgsql::USER)))
}

/// Before Redis 6 a wrong password and one that was not asked for look alike.
fn of_redis(event: &Event<'_>) -> Found {
    let command = event.bytes(redis::COMMAND)?;
    if !["AUTH", "HELLO"].iter().any(|one| command.eq_ignore_ascii_case(one.as_bytes())) {
        return None;
    }
    let outcome = match event.bytes(redis::ERROR) {
        Some(b"WRONGPASS") => Outcome::Refused,
        Some(b"ERR") if command.eq_ignore_ascii_case(b"AUTH") => Outcome::Unsure(0),
        None if event.bytes(redis::STATUS) == Some(b"OK") => Outcome::Accepted,
        _ => return None,
    };
    Some(("redis", outcome, event.text(redis::USERNAME)))
}

/// `AuthenticationFailed`.
fn of_mongodb(event: &Event<'_>) -> Found {
    const FAILED: u64 = 18;
    let command = event.text(mongodb::COMMAND)?;
    let outcome = match (command.as_str(), event.number(mongodb::CODE), event.number(mongodb::OK)) {
        ("saslStart" | "saslContinue" | "authenticate", Some(FAILED), _) => Outcome::Refused,
        ("saslContinue" | "authenticate", None, Some(1)) => Outcome::Accepted,
        _ => return None,
    };
    Some(("database", outcome, event.text(mongodb::USERNAME)))
}

/// Binds with a name (RFC 4511 section 4.2): `success` and `invalidCredentials`.
fn of_ldap(event: &Event<'_>) -> Found {
    let is_bind =
        event.bytes(ldap::OPERATION)? == b"bind_request" && event.bytes(ldap::AUTHENTICATION) != Some(b"anonymous");
    let outcome = match event.number(ldap::RESULT).filter(|_| is_bind)? {
        0 => Outcome::Accepted,
        49 => Outcome::Refused,
        _ => return None,
    };
    Some(("ldap", outcome, event.text(ldap::NAME).or_else(|| event.text(ntlm::USER))))
}

/// RFC 4120 section 7.5.9: 24 the password was wrong, 6 nobody is called so.
fn of_kerberos(event: &Event<'_>) -> Found {
    const AS_REPLY: u64 = 11;
    let outcome = match (event.number(kerberos::ERROR), event.number(kerberos::REPLY_TYPE)) {
        (Some(24), _) => Outcome::Refused,
        (Some(6), _) => Outcome::Named,
        (None, Some(AS_REPLY)) => Outcome::Accepted,
        _ => return None,
    };
    Some(("kerberos", outcome, event.text(kerberos::CLIENT)))
}

/// `STATUS_LOGON_FAILURE` and its kin; whoever is let in as a guest was not known, or gave the wrong password (MS-SMB2 2.2.6).
fn of_smb(event: &Event<'_>) -> Found {
    const REFUSED: [u64; 6] = [0xc000_006d, 0xc000_006a, 0xc000_0064, 0xc000_0234, 0xc000_006e, 0xc000_0072];
    const AS_GUEST: u64 = 1;
    let command = event.text(smb::COMMAND)?;
    let user = event.text(ntlm::USER).or_else(|| event.text(smb::ACCOUNT)).filter(|user| !user.is_empty());
    let is_setup = command.contains("SESSION_SETUP");
    let outcome = match event.number(smb::STATUS).filter(|_| is_setup)? {
        0 if user.is_none() || event.number(ntlm::ANONYMOUS) == Some(1) => return None,
        0 if event.number(smb::GUEST).is_some_and(|flags| flags & AS_GUEST != 0) => Outcome::Named,
        0 => Outcome::Accepted,
        status if REFUSED.contains(&status) => Outcome::Refused,
        _ => return None,
    };
    Some(("smb", outcome, user))
}

/// RFC 1929 section 2.
fn of_socks(event: &Event<'_>) -> Found {
    let status = event.number(socks::LOGIN_STATUS)?;
    Some(("socks", either(status == 0), event.text(socks::USERNAME)))
}

/// `bad user name or password`, `not authorized` (MQTT 3.1.1 section 3.2.2.3, MQTT 5 section 3.2.2.2).
fn of_mqtt(event: &Event<'_>) -> Found {
    let outcome = match event.number(mqtt::RETURN_CODE)? {
        0 => Outcome::Accepted,
        4 | 5 | 0x86 | 0x87 => Outcome::Refused,
        _ => return None,
    };
    Some(("mqtt", outcome, event.text(mqtt::USERNAME)))
}

/// Who asks with one community after the other: wrong ones get no answer (RFC 3584 section 5.2.1).
fn of_snmp(event: &Event<'_>) -> Found {
    const REQUESTS: [u64; 4] = [0, 1, 3, 5];
    const RESPONSE: u64 = 2;
    let community = event.text(snmp::COMMUNITY)?;
    let outcome = match event.number(snmp::PDU_TYPE)? {
        RESPONSE => Outcome::Accepted,
        kind if REQUESTS.contains(&kind) => Outcome::Named,
        _ => return None,
    };
    Some(("snmp", outcome, Some(community)))
}

/// Answers to logins that were refused for good, by whom they are for; 401 and 407 only ask for one (RFC 3261 section 22).
fn of_sip(event: &Event<'_>) -> Found {
    let outcome = match event.number(sip::STATUS)? {
        403 => Outcome::Refused,
        404 => Outcome::Named,
        _ => return None,
    };
    Some(("sip", outcome, event.text(sip::TO)))
}

/// Bytes of a form that a login has at most.
const FORM_MAX: u64 = 1024;

fn is_a(scheme: Option<&[u8]>, names: &[&str]) -> bool {
    scheme.is_some_and(|scheme| names.iter().any(|name| scheme.eq_ignore_ascii_case(name.as_bytes())))
}

/// Does a path say that it is for logins?
fn is_login_path(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    ["login", "logon", "signin", "sign-in", "sign_in", "j_security_check", "j_spring_security_check"]
        .iter()
        .any(|word| path.contains(word))
}

/// Basic, Digest and NTLM with their 401 (RFC 9110 section 15.5.2), and forms: what is refused is 401 or 403, or the way back
/// to the login; a page at such a path may be either.
fn of_http(event: &Event<'_>) -> Found {
    const SCHEMES: [&str; 4] = ["basic", "digest", "ntlm", "negotiate"];
    let status = event.number(http::STATUS)?;
    if is_a(event.bytes(http::PROXY_AUTH_SCHEME), &SCHEMES) && status == 407 {
        return Some(("http", Outcome::Refused, event.text(http::PROXY_USERNAME)));
    }
    if is_a(event.bytes(http::AUTH_SCHEME), &SCHEMES) {
        let outcome = match status {
            401 => Outcome::Refused,
            200..=399 => Outcome::Accepted,
            _ => return None,
        };
        return Some(("http", outcome, event.text(http::USERNAME)));
    }
    let begins = |fact: Fact, with: &str| {
        event
            .bytes(fact)
            .and_then(|text| text.get(..with.len()))
            .is_some_and(|text| text.eq_ignore_ascii_case(with.as_bytes()))
    };
    let is_form = event.bytes(http::METHOD) == Some(b"POST")
        && begins(http::REQUEST_TYPE, "application/x-www-form-urlencoded")
        && event.number(http::REQUEST_LENGTH).is_some_and(|length| length <= FORM_MAX);
    let path = event.text(http::URL).filter(|_| is_form)?;
    let outcome = match status {
        401 | 403 => Outcome::Form,
        _ if !is_login_path(&path) => return None,
        300..=399 if event.text(http::LOCATION).is_some_and(|to| is_login_path(&to)) => Outcome::Form,
        200 if begins(http::CONTENT_TYPE, "text/html") => Outcome::Unsure(hash(event.number(http::LENGTH))),
        200..=399 => Outcome::Accepted,
        _ => return None,
    };
    Some(("http", outcome, None))
}
