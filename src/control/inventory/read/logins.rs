//! HTTP, mail, file transfer, SOCKS and Telnet: software, names, and passwords in the clear (never the passwords themselves).

use crate::control::inventory::banner;
use crate::control::inventory::event::{About, Event, Notes, Target, is_host_name};
use crate::control::inventory::host::NameSource;
use crate::control::inventory::{kinds, os};
use crate::dataplane::inspect::{Fact, Protocol, ftp, http, http2, imap, pop3, smtp, socks, telnet};

/// Server and browser, host names, Basic authentication.
pub fn http(event: &Event<'_>, notes: &mut Notes) {
    let is_direct = event.bytes(http::URL).is_none_or(|url| url.starts_with(b"/") || url == b"*");
    let agent = event.text(http::USER_AGENT).unwrap_or_default();
    notes.os(About::Client, os::user_agent(&agent), "HTTP User-Agent");
    if event.number(http::STATUS).is_some() {
        let server = event.text(http::SERVER).unwrap_or_default();
        let runs = event.text(http::POWERED_BY).unwrap_or_default();
        // An answer that was passed on tells of somebody else, and so does a request to a proxy.
        if event.number(http::FORWARDED).is_some() || !is_direct {
            notes.service(None, None);
        } else {
            notes.os(About::Server, os::http_server(&server), "HTTP Server");
            let version = event.text(http::STORE_VERSION);
            let store = event.text(http::STORE).and_then(|name| banner::named(&name, version.as_deref()));
            let products = banner::server(&server).into_iter().chain(banner::server(&runs)).chain(store);
            notes.service(products, Some(server).filter(|server| !server.is_empty()));
        }
        // Who is asked for somebody else may say so.
        if is_direct && !event.number(http::STATUS).is_some_and(|status| NOT_ME.contains(&status)) {
            let named = event.text(http::HOSTNAME).filter(|name| is_host_name(name));
            notes.name(About::Server, NameSource::HttpHost, named);
        }
    }
    let is_basic = |fact| event.bytes(fact).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"));
    if is_basic(http::PROXY_AUTH_SCHEME) {
        notes.cleartext(event, "HTTP Basic to a proxy", event.text(http::PROXY_USERNAME));
    }
    // What a proxy is to ask for is sent to whom it asks (RFC 9110 section 11.6.2); a CONNECT goes no further.
    let is_passed_on = !is_direct && event.bytes(http::METHOD) != Some(b"CONNECT");
    let mut sent = |how, user| match asked_for(event).filter(|_| is_passed_on) {
        Some(target) => notes.cleartext_through(target, event, how, user),
        None => notes.cleartext(event, how, user),
    };
    if is_basic(http::AUTH_SCHEME) {
        sent("HTTP Basic", event.text(http::USERNAME));
    }
    if is_sent(event.number(http::SECRET_SENT), event.number(http::STATUS)) {
        sent(PARAMETER, None);
    }
    store(event, notes);
}

/// `Bad Request`, as for a name that is none, and `Misdirected Request` (RFC 9110 sections 15.5.1 and 15.5.20).
const NOT_ME: [u64; 2] = [400, 421];

/// Whom a request to a proxy names.
pub fn asked_for(event: &Event<'_>) -> Option<Target> {
    let port = |fact, default: u16| event.number(fact).map_or(Some(default), |port| u16::try_from(port).ok());
    match event.head.protocol {
        Protocol::Http => Some(Target { host: event.text(http::HOSTNAME)?, port: port(http::PORT, 80)? }),
        Protocol::Socks => {
            let address = event.addresses(socks::ADDRESS).next().map(|address| address.to_string());
            Some(Target { host: address.or_else(|| event.text(socks::HOSTNAME))?, port: port(socks::PORT, 0)? })
        }
        _ => None,
    }
}

/// A search engine, and that it answers without a login: only where the request is of the same event, and is not passed on.
fn store(event: &Event<'_>, notes: &mut Notes) {
    let Some(name) = event.text(http::STORE).filter(|_| event.number(http::FORWARDED).is_none()) else { return };
    notes.database();
    let status = event.number(http::STATUS).unwrap_or(0);
    let Some(url) = event.text(http::URL).filter(|url| url.starts_with('/')) else { return };
    if (200..300).contains(&status) && event.bytes(http::AUTH_SCHEME).is_none() {
        let path = url.split('?').next().unwrap_or_default();
        let evidence = format!("{name} answered {} about {path} without a login", event.client.ip());
        notes.finding(kinds::DATABASE_OPEN, "", evidence);
    }
}

const PARAMETER: &str = "a parameter of HTTP";

/// A password among the parameters of a target that the server has.
fn is_sent(secret: Option<u64>, status: Option<u64>) -> bool {
    secret.is_some() && status != Some(NOT_FOUND)
}

/// Who asks for what is not there logs in nowhere: scanners do.
const NOT_FOUND: u64 = 404;

/// As [`http`], for HTTP/2 in the clear.
pub fn http2(event: &Event<'_>, notes: &mut Notes) {
    let is_asked = event.number(http2::PUSHED).is_none();
    if is_asked {
        let agent = event.text(http2::USER_AGENT).unwrap_or_default();
        notes.os(About::Client, os::user_agent(&agent), "HTTP User-Agent");
    }
    if event.number(http2::STATUS).is_some() {
        let server = event.text(http2::SERVER).filter(|_| event.number(http2::FORWARDED).is_none()).unwrap_or_default();
        notes.os(About::Server, os::http_server(&server), "HTTP Server");
        notes.service(banner::server(&server), Some(server).filter(|server| !server.is_empty()));
    }
    if is_asked && is_sent(event.number(http2::SECRET_SENT), event.number(http2::STATUS)) {
        notes.cleartext(event, PARAMETER, None);
    }
}

/// A name that a greeting begins with: `mail.example.org ESMTP Exim`.
fn greeted_by(banner: &str) -> Option<String> {
    let first = banner.split([' ', '\t']).next()?.trim_matches(['<', '>']);
    let good =
        first.contains('.') && first.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-".contains(letter));
    (good && first.starts_with(|letter: char| letter.is_ascii_alphabetic())).then(|| first.to_owned())
}

/// Of a greeting with several lines the last one, where the first names no software and that does.
fn greeted(event: &Event<'_>, first: Fact, last: Fact) -> Option<String> {
    let text = event.text(first);
    let names = |text: &String| banner::greeting(text).is_some();
    if text.as_ref().is_some_and(names) { text } else { event.text(last).filter(names).or(text) }
}

fn greeting(event: &Event<'_>, text: Option<String>, notes: &mut Notes) {
    let Some(text) = text else { return };
    if event.head.protocol == Protocol::Smtp {
        notes.name(About::Server, NameSource::Greeting, greeted_by(&text));
    }
    let product = banner::greeting(&text);
    notes.service(product, Some(without_timestamp(&text)));
}

/// A greeting without the timestamp of APOP (RFC 1939 section 7), which is another one for each connection.
fn without_timestamp(text: &str) -> String {
    let is_timestamp = |word: &&str| word.starts_with('<') && word.ends_with('>') && word.contains('@');
    if !text.split(' ').any(|word| is_timestamp(&word)) {
        return text.to_owned();
    }
    text.split(' ').filter(|word| !is_timestamp(word)).collect::<Vec<_>>().join(" ")
}

/// Greeting, logins, anonymous ones.
pub fn ftp(event: &Event<'_>, notes: &mut Notes) {
    let mut codes = event.all(ftp::CODE).map(crate::dataplane::inspect::number);
    let first = codes.next();
    let last = codes.last().or(first);
    if first.is_some() {
        notes.service(None, None);
    }
    greeting(event, greeted(event, ftp::BANNER, ftp::BANNER_LAST), notes);
    let Some(user) = event.text(ftp::USERNAME) else { return };
    // 230 and 530 are answers to the password; a lone 331 only asks for it.
    let sent = last.is_some_and(|code| matches!(code, 230 | 332 | 530)) && first == Some(331);
    let is_anonymous = ["anonymous", "ftp"].iter().any(|name| user.eq_ignore_ascii_case(name));
    if is_anonymous && last == Some(230) {
        notes.finding(kinds::FTP_ANONYMOUS, "", format!("it let in the user {user} from {}", event.client.ip()));
    } else if sent && !is_anonymous {
        notes.cleartext(event, "FTP", Some(user));
    }
}

/// Mechanisms that send the password as it is, unless the server refuses before.
fn is_plain(mechanism: &str) -> bool {
    ["PLAIN", "LOGIN"].iter().any(|plain| mechanism.eq_ignore_ascii_case(plain))
}

/// Greeting, AUTH.
pub fn smtp(event: &Event<'_>, notes: &mut Notes) {
    if event.number(smtp::CODE).is_some() {
        notes.service(None, None);
    }
    greeting(event, greeted(event, smtp::BANNER, smtp::BANNER_LAST), notes);
    let is_sent = event.number(smtp::SECRET_SENT) == Some(1);
    if let Some(mechanism) = event.text(smtp::AUTH_MECHANISM).filter(|mechanism| is_sent && is_plain(mechanism)) {
        notes.cleartext(event, &format!("SMTP AUTH {}", mechanism.to_ascii_uppercase()), event.text(smtp::USERNAME));
    }
}

/// Greeting, USER and PASS, AUTH.
pub fn pop3(event: &Event<'_>, notes: &mut Notes) {
    if event.number(pop3::SUCCESS).is_some() {
        notes.service(None, None);
    }
    greeting(event, event.text(pop3::BANNER), notes);
    let (user, command) = (event.text(pop3::USERNAME), event.text(pop3::COMMAND).unwrap_or_default());
    match event.text(pop3::AUTH_MECHANISM) {
        _ if event.number(pop3::SECRET_SENT) != Some(1) => {}
        Some(mechanism) if is_plain(&mechanism) => {
            notes.cleartext(event, &format!("POP3 AUTH {}", mechanism.to_ascii_uppercase()), user);
        }
        None if ["user", "pass"].iter().any(|login| command.eq_ignore_ascii_case(login)) => {
            notes.cleartext(event, "POP3 USER and PASS", user)
        }
        _ => {}
    }
}

/// Greeting, LOGIN, AUTHENTICATE.
pub fn imap(event: &Event<'_>, notes: &mut Notes) {
    if event.bytes(imap::STATUS).is_some() {
        notes.service(None, None);
    }
    greeting(event, event.text(imap::BANNER), notes);
    let (user, command) = (event.text(imap::USERNAME), event.text(imap::COMMAND).unwrap_or_default());
    match event.text(imap::AUTH_MECHANISM) {
        _ if event.number(imap::SECRET_SENT) != Some(1) => {}
        Some(mechanism) if is_plain(&mechanism) => {
            notes.cleartext(event, &format!("IMAP AUTHENTICATE {}", mechanism.to_ascii_uppercase()), user);
        }
        None if user.is_some() && command.eq_ignore_ascii_case("login") => notes.cleartext(event, "IMAP LOGIN", user),
        _ => {}
    }
}

/// RFC 1929: name and password, unencrypted.
const BY_PASSWORD: u64 = 2;

/// That a proxy answers, and logins to it.
pub fn socks(event: &Event<'_>, notes: &mut Notes) {
    let method = event.number(socks::METHOD);
    if method.is_some() || event.number(socks::REPLY).is_some() {
        notes.service(None, None);
    }
    let user = event.text(socks::USERNAME);
    if method == Some(BY_PASSWORD) && (user.is_some() || event.number(socks::LOGIN_STATUS).is_some()) {
        notes.cleartext(event, "SOCKS 5", user);
    }
}

/// That it is there, and logins.
pub fn telnet(event: &Event<'_>, notes: &mut Notes) {
    // Events are logins: there was a prompt.
    notes.service(None, None);
    notes.finding(kinds::TELNET, "", format!("a Telnet login from {}", event.client.ip()));
    if event.number(telnet::SECRET_SENT) == Some(1) {
        notes.cleartext(event, "Telnet", event.text(telnet::USERNAME));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_the_same_for_each_connection() {
        for (text, wanted) in [
            ("hi <1.2@x>", "hi"),
            ("POP3 server ready <1896.697170952@dbc.mtview.ca.us>", "POP3 server ready"),
            ("<1.2@x> ready", "ready"),
            ("<1.2@x>", ""),
            ("write to <admin> or a@b  now", "write to <admin> or a@b  now"),
        ] {
            assert_eq!(without_timestamp(text), wanted, "{text}");
        }
    }
}
