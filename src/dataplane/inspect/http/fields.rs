//! From a whole header to facts.

use super::super::facts::{Fact, Facts};
use super::super::lines::{self, Told};
use super::super::parse::Output;
use super::super::text::Text;
use super::head::{Field, Framing, Head, Odd};
use super::*;

/// What a request means for what follows it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub kind: Kind,
    pub framing: Framing,
    /// Its target is absolute: the server is asked as a proxy.
    pub is_to_proxy: bool,
    /// It needs a `Host`, and none was there.
    pub wants_host: bool,
}

/// What must be remembered of a request until its response.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Its response may have a body.
    #[default]
    Plain = 0,
    /// Its response has none.
    Head = 1,
    /// Its response, if it succeeds, begins a tunnel.
    Connect = 2,
}

impl Kind {
    pub(super) fn from_bits(bits: u64) -> Kind {
        match bits & 3 {
            1 => Kind::Head,
            2 => Kind::Connect,
            _ => Kind::Plain,
        }
    }
}

/// What a response means for what follows it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Response {
    pub status: u16,
    pub framing: Framing,
    pub upgrade: Upgrade,
}

/// Protocol of an `Upgrade` field.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Upgrade {
    #[default]
    Other,
    WebSocket,
    Http2,
    Tls,
}

/// Reads the header of a request, or whole lines of one that goes on; `None` where it is none.
pub(super) fn request(bytes: &[u8], is_whole: bool, told: &mut Told, out: &mut dyn Output) -> Option<Request> {
    if !is_whole && !bytes.contains(&b'\n') {
        return request_begun(bytes, told, out);
    }
    let mut head = Head::new(bytes);
    let line = head.line()?;
    let RequestLine { method, target, version, is_odd } = split_line(line)?;
    if is_odd {
        told.once(REQUEST_LINE_INVALID, out);
    }
    out.facts().put(METHOD, method);
    if !METHODS.contains(&method) {
        told.once(METHOD_UNKNOWN, out);
    }
    out.facts().put(PROTOCOL, version);
    let is_to_proxy = put_target(target, method == b"CONNECT", told, out);
    let mut request = Request { kind: kind_of(method), is_to_proxy, ..Request::default() };
    let mut hosts = 0;
    while let Some(field) = head.field() {
        hosts += u32::from(field.name.eq_ignore_ascii_case(b"host"));
        if has_lookup(field.value) {
            put_lookup(field.name, out);
        }
        request_field(field, &mut request.framing, out);
    }
    // RFC 9112 section 6.1: its framing is faulty, for a server of that version would not know the field.
    request.framing.coding_odd |= request.framing.has_coding && version == b"HTTP/1.0";
    request.wants_host = hosts == 0 && version == b"HTTP/1.1";
    if request.wants_host && is_whole {
        told.once(HOST_MISSING, out);
    }
    if hosts > 1 {
        told.once(HOST_REPEATED, out);
    }
    tell(head.odd, request.framing, told, out);
    Some(request)
}

/// Of a request line that is longer than a header may be: its method and the beginning of its target.
#[cold]
fn request_begun(bytes: &[u8], told: &mut Told, out: &mut dyn Output) -> Option<Request> {
    let (method, target) = lines::split(bytes, b' ').filter(|(method, _)| METHODS.contains(method))?;
    out.facts().put(METHOD, method);
    out.facts().mark_truncated();
    let is_to_proxy = put_target(target, method == b"CONNECT", told, out);
    Some(Request { kind: kind_of(method), is_to_proxy, ..Request::default() })
}

/// Another line of the header of a request, without its end or `is_cut`.
pub(super) fn another_line(line: &[u8], framing: &mut Framing, told: &mut Told, out: &mut dyn Output) -> bool {
    let mut head = Head::new(line);
    let field = head.field();
    if let Some(field) = field {
        request_field(field, framing, out);
    }
    tell(head.odd, *framing, told, out);
    field.is_some_and(|field| field.name.eq_ignore_ascii_case(b"host"))
}

/// Version and code of a status line.
pub(super) fn status(line: &[u8]) -> Option<(&[u8], u64)> {
    let (version, rest) = lines::split(line, b' ')?;
    let (status, _) = lines::reply(rest)?;
    (version.starts_with(b"HTTP/") && version.len() <= 8).then_some((version, status))
}

/// Reads the header of a response; `None` where it is none. Facts of interim ones (1xx but 101) are not kept.
pub(super) fn response(bytes: &[u8], told: &mut Told, out: &mut dyn Output) -> Option<Response> {
    let mut head = Head::new(bytes);
    let (version, status) = status(head.line()?)?;
    let mut response = Response { status: u16::try_from(status).ok()?, ..Response::default() };
    if (100..200).contains(&status) && status != 101 {
        return Some(response);
    }
    out.facts().put(PROTOCOL, version);
    out.facts().put_number(STATUS, status);
    while let Some(field) = head.field() {
        response_field(field, &mut response, out);
    }
    tell(head.odd, response.framing, told, out);
    Some(response)
}

fn kind_of(method: &[u8]) -> Kind {
    match method {
        b"HEAD" => Kind::Head,
        b"CONNECT" => Kind::Connect,
        _ => Kind::Plain,
    }
}

fn lower<'a>(name: &[u8], place: &'a mut [u8; 24]) -> &'a [u8] {
    let Some(place) = place.get_mut(..name.len()) else { return &[] };
    place.copy_from_slice(name);
    place.make_ascii_lowercase();
    place
}

fn request_field(field: Field<'_>, framing: &mut Framing, out: &mut dyn Output) {
    let mut place = [0; 24];
    let value = field.value;
    match lower(field.name, &mut place) {
        b"host" => put_host(without_password(value), out),
        b"user-agent" => out.facts().put(USER_AGENT, value),
        b"referer" => drop(put_uri(REFERER, value, out)),
        b"content-type" => out.facts().put(REQUEST_TYPE, value),
        b"content-length" => {
            framing.odd_name |= field.is_odd;
            framing.content_length(value);
        }
        b"transfer-encoding" => {
            framing.odd_name |= field.is_odd;
            framing.transfer_encoding(value);
        }
        b"authorization" => put_authorization(AUTH_SCHEME, USERNAME, value, out),
        b"proxy-authorization" => put_authorization(PROXY_AUTH_SCHEME, PROXY_USERNAME, value, out),
        b"cookie" => input::cookies(value, out),
        b"x-forwarded-for" => out.facts().put(FORWARDED_FOR, value),
        b"upgrade" => out.facts().put(UPGRADE, value),
        b"sec-websocket-protocol" => put_subprotocols(value, out),
        _ => return,
    }
    if let (Some(length), false) = (framing.length, out.facts().number(REQUEST_LENGTH).is_some()) {
        out.facts().put_number(REQUEST_LENGTH, length);
    }
}

fn response_field(field: Field<'_>, response: &mut Response, out: &mut dyn Output) {
    let mut place = [0; 24];
    let value = field.value;
    match lower(field.name, &mut place) {
        b"server" => out.facts().put(SERVER, value),
        b"content-type" => out.facts().put(CONTENT_TYPE, value),
        b"location" => drop(put_uri(LOCATION, value, out)),
        b"content-length" => response.framing.content_length(value),
        b"transfer-encoding" => response.framing.transfer_encoding(value),
        b"content-range" => out.facts().put(CONTENT_RANGE, value),
        b"x-powered-by" => out.facts().put(POWERED_BY, value),
        b"x-elastic-product" if value.eq_ignore_ascii_case(b"elasticsearch") => {
            out.facts().put(STORE, b"elasticsearch")
        }
        b"via" | b"x-cache" => forwarded(out),
        b"upgrade" => response.upgrade = upgrade_of(value),
        b"sec-websocket-protocol" if is_offered(value, out.facts()) => put_subprotocols(value, out),
        _ => {}
    }
}

/// The response is somebody else's.
pub(super) fn forwarded(out: &mut dyn Output) {
    if out.facts().number(FORWARDED).is_none() {
        out.facts().put_number(FORWARDED, 1);
    }
}

fn upgrade_of(value: &[u8]) -> Upgrade {
    let is = |name| lines::begins(value, name) == Match::Yes;
    match () {
        () if is(b"websocket") => Upgrade::WebSocket,
        () if is(b"h2c") => Upgrade::Http2,
        () if is(b"tls/") => Upgrade::Tls,
        () => Upgrade::Other,
    }
}

fn tell(odd: Odd, framing: Framing, told: &mut Told, out: &mut dyn Output) {
    for (is_so, anomaly) in [
        (odd.blank_before_colon, BLANK_BEFORE_COLON),
        (odd.folded, FOLDED_FIELD),
        (odd.invalid, FIELD_INVALID),
        (odd.control, CONTROL_BYTE),
        (odd.bare_feed, BARE_LINE_FEED),
        (odd.too_many, HEADER_TOO_LONG),
        (framing.has_coding && (framing.length.is_some() || framing.invalid), LENGTH_AND_CODING),
        (framing.differ, LENGTHS_DIFFER),
        (framing.invalid, LENGTH_INVALID),
        (framing.coding_odd, CODING_ODD),
    ] {
        if is_so {
            told.once(anomaly, out);
        }
    }
}

/// Of an absolute target the host, and the target; of CONNECT the host and the port. Is it one for a proxy to ask for?
fn put_target(target: &[u8], is_connect: bool, told: &mut Told, out: &mut dyn Output) -> bool {
    if target.len() > URI_MAX {
        told.once(URI_TOO_LONG, out);
    }
    let has_path = matches!(target.first(), Some(b'/' | b'*'));
    if is_connect {
        let target = without_user(target);
        put_host(target, out);
        put_uri(URL, target, out);
        return false;
    } else if let Some(at) = target.get(..16.min(target.len())).and_then(|begin| lines::find(begin, b"://")) {
        let authority = target.get(at + 3..).unwrap_or_default();
        let end = authority.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(authority.len());
        let authority = authority.get(..end).unwrap_or_default();
        put_host(without_user(authority), out);
    } else if !has_path {
        put_uri(URL, without_password(target), out); // a host, though nobody asked for a tunnel
        return false;
    }
    if put_uri(URL, target, out) {
        out.facts().put_number(SECRET_SENT, 1);
    }
    !has_path
}

/// A host without the user information in front.
fn without_user(host: &[u8]) -> &[u8] {
    host.rsplit(|byte| *byte == b'@').next().unwrap_or_default()
}

/// A host, or one with a path behind it, without user information that has a password in it.
pub(in super::super) fn without_password(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(target.len());
    let Some(at) = target.iter().take(end).rposition(|byte| *byte == b'@') else { return target };
    let has_password = target.iter().take(at).any(|byte| *byte == b':');
    if has_password { target.get(at + 1..).unwrap_or_default() } else { target }
}

/// Sub-protocols of WebSocket that are no tokens: Kubernetes and others carry these as if they were names. A server's is one
/// of those that were offered.
fn put_subprotocols(value: &[u8], out: &mut dyn Output) {
    let mut kept = Text::<256>::default();
    let words: [&[u8]; 2] = [b"bearer", b"auth"];
    // A name that says that the next one is a secret.
    let mut says = false;
    for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let was_said = std::mem::replace(&mut says, secrets::is_name(name) || name.eq_ignore_ascii_case(b"bearer"));
        let has_word = || words.iter().any(|word| lines::find(name, word).is_some());
        if name.is_empty() || name.len() > 64 || was_said || says || has_word() || secrets::is_made(name) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend(b", ");
        }
        kept.extend(name);
    }
    if !kept.is_empty() {
        out.facts().put(WEBSOCKET_PROTOCOL, kept.as_bytes());
    }
}

/// Is a server's sub-protocol one of those that were told of its client's, as far as that was seen?
fn is_offered(name: &[u8], facts: &Facts) -> bool {
    let told = facts.get(WEBSOCKET_PROTOCOL).unwrap_or_default();
    facts.get(METHOD).is_none() || told.split(|byte| *byte == b',').any(|one| one.trim_ascii() == name.trim_ascii())
}

fn put_host(value: &[u8], out: &mut dyn Output) {
    if out.facts().get(HOSTNAME).is_some() {
        return;
    }
    let port_at = value.iter().rposition(|byte| *byte == b':').filter(|at| !value.iter().skip(*at).any(|b| *b == b']'));
    let (host, port) = port_at.and_then(|at| value.split_at_checked(at)).unwrap_or((value, &[]));
    out.facts().put(HOSTNAME, host);
    if let Some(port) = lines::decimal(port.get(1..).unwrap_or_default()) {
        out.facts().put_number(PORT, port);
    }
}

/// Template languages and loggers write them so (`${jndi:...}`).
fn has_lookup(value: &[u8]) -> bool {
    value.contains(&b'$') && lines::find(value, b"${").is_some()
}

#[cold]
fn put_lookup(name: &[u8], out: &mut dyn Output) {
    if out.facts().get(LOOKUP).is_none() {
        out.facts().put(LOOKUP, name);
    }
}

/// The scheme, and the user name of Basic (RFC 7617) and Digest (RFC 7616). What follows the colon is never kept.
fn put_authorization(scheme_fact: Fact, user_fact: Fact, value: &[u8], out: &mut dyn Output) {
    let (scheme, rest) = lines::word(value);
    if rest.is_empty() {
        return; // one word: may be a bare secret
    }
    out.facts().put(scheme_fact, scheme);
    if scheme.eq_ignore_ascii_case(b"basic") {
        let mut place = [0; 256];
        let decoded = lines::base64(rest, &mut place);
        if has_lookup(decoded) {
            put_lookup(b"authorization", out);
        }
        if let Some((user, _)) = lines::split(decoded, b':') {
            put_user(user_fact, user, out);
        }
    } else if scheme.eq_ignore_ascii_case(b"digest")
        && let Some(at) = lines::find(rest, b"username=")
    {
        put_user(user_fact, lines::quoted(rest.get(at + 9..).unwrap_or_default()).0, out);
    }
}

/// Puts a URI of at most [`URI_MAX`] bytes without its user information, with the values of parameters that are named like
/// secrets blanked; the user becomes a fact. Was there a password?
pub(in super::super) fn put_uri(fact: Fact, uri: &[u8], out: &mut dyn Output) -> bool {
    let uri = match userinfo(uri) {
        Some((user, rest)) => {
            put_user(USERNAME, user, out);
            rest
        }
        None => uri,
    };
    let cut = uri.get(..URI_MAX).unwrap_or(uri);
    let (mut place, mut path) = (Text::<URI_MAX>::default(), Text::<URI_MAX>::default());
    let (kept, has_password) = secrets::blank(cut, b"", &mut place);
    out.facts().put(fact, secrets::blank_path(kept, &mut path));
    has_password
}

/// The name of a user, unless it is a token in the place of one.
fn put_user(fact: Fact, user: &[u8], out: &mut dyn Output) {
    out.facts().put(fact, if secrets::is_token(user) { b"*" } else { user });
}

/// The user before the `@` of an authority, and what follows it.
fn userinfo(uri: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = lines::find(uri.get(..16.min(uri.len()))?, b"://")?;
    let authority = uri.get(scheme + 3..)?;
    let end = authority.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(authority.len());
    let at = authority.get(..end)?.iter().rposition(|byte| *byte == b'@')?;
    let info = authority.get(..at)?;
    Some((lines::split(info, b':').map_or(info, |(user, _)| user), authority.get(at + 1..)?))
}
