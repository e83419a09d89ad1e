//! LDAP over TCP (RFC 4511) and CLDAP over UDP (MS-ADTS section 6.3.3): who binds how, what is searched, and what comes back.
//!
//! Read: binds (name, mechanism, NTLM or Kerberos inside SASL), searches (base, scope, names of attributes in the filter and
//! of those asked for), names of attributes of the first entries, names of entries that are changed, extended operations,
//! result codes. Deliberately not read: passwords and other credentials, values of filters and attributes, controls, anything
//! after StartTLS (both sides then answer [`Step::Done`], and [`State::turns_into`] says so) or inside a SASL security layer.
//!
//! An event is a request with its answers; one is open at a time. Of a message the first [`HEAD_MAX`] bytes are put together
//! and the rest is skipped. A filter is walked from left to right without a stack, over [`FILTER_MAX`] of its parts.
//!
//! | fact | EVE (`request` by `operation`) |
//! | --- | --- |
//! | `message_id`, `operation` | `ldap.request.message_id`, `.operation` |
//! | `version`, `name`, `mechanism` | `ldap.request.bind_request.version`, `.name`, `.sasl.mechanism` |
//! | `base`, `scope`, `attribute` | `ldap.request.search_request.base_object`, `.scope`, `.attributes` |
//! | `entry` | `.add_request.entry`, `.del_request.dn`, `.modify_request.object`, `.mod_dn_request.entry`, `.compare_request.entry` |
//! | `extended_name` | `ldap.request.extended_request.name` |
//! | `response`, `result_code` ([`result_name`]), `matched_dn`, `message` | `ldap.responses[0].operation`, `.KIND.result_code`, `.matched_dn`, `.message` |
//! | `found_name`, `found_attribute` | `ldap.responses[].search_result_entry.base_object`, `.attributes[].type` |

#[cfg(test)]
mod tests;

use super::bytes::Reader;
use super::der::{self, BOOLEAN, ENUMERATED, INTEGER, OCTETS, SEQUENCE};
use super::facts::{Fact, Facts};
use super::http::secrets;
use super::parse::{Anomaly, Hole, Look, Match, Output, Parse, Resume, Step};
use super::protocol::Protocol;
use super::sides::Sides;
use super::spnego;
use crate::dataplane::flow::Side;

/// Bytes of a message that are put together.
pub const HEAD_MAX: usize = 4096;
/// Parts of a filter that are walked.
pub const FILTER_MAX: usize = 256;
/// Names of attributes of each kind that are told at most.
pub const NAMES_MAX: u8 = 16;

/// Number of the message.
pub const ID: Fact = Fact::number(Protocol::Ldap, 0, "message_id");
/// Request, as `search_request`.
pub const OPERATION: Fact = Fact::text(Protocol::Ldap, 1, "operation", 32);
/// Version of a bind.
pub const VERSION: Fact = Fact::number(Protocol::Ldap, 2, "version");
/// Name of a bind.
pub const NAME: Fact = Fact::text(Protocol::Ldap, 3, "name", 256);
/// `anonymous`, `simple`, `sasl`, `ntlm`.
pub const AUTHENTICATION: Fact = Fact::text(Protocol::Ldap, 4, "authentication", 16);
/// SASL mechanism.
pub const MECHANISM: Fact = Fact::text(Protocol::Ldap, 5, "mechanism", 32);
/// Base of a search.
pub const BASE: Fact = Fact::text(Protocol::Ldap, 6, "base", 512);
/// Scope: 0 the base, 1 one level, 2 the whole tree.
pub const SCOPE: Fact = Fact::number(Protocol::Ldap, 7, "scope");
/// Attributes in the filter.
pub const FILTER_ATTRIBUTE: Fact = Fact::text(Protocol::Ldap, 8, "filter_attribute", 64).repeated(NAMES_MAX);
/// Attributes asked for.
pub const ATTRIBUTE: Fact = Fact::text(Protocol::Ldap, 9, "attribute", 64).repeated(NAMES_MAX);
/// Entry that is changed, added, deleted or compared.
pub const ENTRY: Fact = Fact::text(Protocol::Ldap, 10, "entry", 512);
/// Object identifier of an extended operation.
pub const EXTENDED: Fact = Fact::text(Protocol::Ldap, 11, "extended_name", 64);
/// Answer, as `search_result_done`.
pub const RESPONSE: Fact = Fact::text(Protocol::Ldap, 12, "response", 32);
/// Result code.
pub const RESULT: Fact = Fact::number(Protocol::Ldap, 13, "result_code");
/// Name that was found on the way to one that was not.
pub const MATCHED: Fact = Fact::text(Protocol::Ldap, 14, "matched_dn", 256);
/// The server's own words.
pub const MESSAGE: Fact = Fact::text(Protocol::Ldap, 15, "message", 256);
/// Entries that a search gave.
pub const ENTRIES: Fact = Fact::number(Protocol::Ldap, 16, "entries");
/// Name of the first entry.
pub const FOUND: Fact = Fact::text(Protocol::Ldap, 17, "found_name", 256);
/// Names of attributes of the first entries.
pub const FOUND_ATTRIBUTE: Fact = Fact::text(Protocol::Ldap, 18, "found_attribute", 64).repeated(NAMES_MAX);

/// All of them.
pub const FACTS: &[Fact] = &[
    ID,
    OPERATION,
    VERSION,
    NAME,
    AUTHENTICATION,
    MECHANISM,
    BASE,
    SCOPE,
    FILTER_ATTRIBUTE,
    ATTRIBUTE,
    ENTRY,
    EXTENDED,
    RESPONSE,
    RESULT,
    MATCHED,
    MESSAGE,
    ENTRIES,
    FOUND,
    FOUND_ATTRIBUTE,
];

/// A password goes over the wire as it is.
pub const CLEARTEXT_PASSWORD: Anomaly = Anomaly::new(Protocol::Ldap, 0, "cleartext_password");
/// Not a message, where one should begin.
pub const MALFORMED: Anomaly = Anomaly::new(Protocol::Ldap, 1, "malformed");

/// All of them.
pub const ANOMALIES: &[Anomaly] = &[CLEARTEXT_PASSWORD, MALFORMED];

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Name of a result code (RFC 4511 appendix A.1), spelled as EVE has it; empty where it has none here.
pub fn result_name(code: u64) -> &'static str {
    match code {
        0 => "success",
        1 => "operations_error",
        2 => "protocol_error",
        3 => "time_limit_exceeded",
        4 => "size_limit_exceeded",
        5 => "compare_false",
        6 => "compare_true",
        7 => "auth_method_not_supported",
        8 => "stronger_auth_required",
        10 => "referral",
        11 => "admin_limit_exceeded",
        12 => "unavailable_critical_extension",
        13 => "confidentiality_required",
        14 => "sasl_bind_in_progress",
        16 => "no_such_attribute",
        17 => "undefined_attribute_type",
        18 => "inappropriate_matching",
        19 => "constraint_violation",
        20 => "attribute_or_value_exists",
        21 => "invalid_attribute_syntax",
        32 => "no_such_object",
        34 => "invalid_dn_syntax",
        48 => "inappropriate_authentication",
        49 => "invalid_credentials",
        50 => "insufficient_access_rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling_to_perform",
        65 => "object_class_violation",
        68 => "entry_already_exists",
        80 => "other",
        _ => "",
    }
}

/// Name of an operation by its tag, and whether it is a request (RFC 4511 section 4.2 and on).
fn operation(tag: u8) -> Option<(&'static str, bool)> {
    Some(match tag {
        0x60 => ("bind_request", true),
        0x61 => ("bind_response", false),
        0x42 => ("unbind_request", true),
        0x63 => ("search_request", true),
        0x64 => ("search_result_entry", false),
        0x65 => ("search_result_done", false),
        0x73 => ("search_result_reference", false),
        0x66 => ("modify_request", true),
        0x67 => ("modify_response", false),
        0x68 => ("add_request", true),
        0x69 => ("add_response", false),
        0x4a => ("del_request", true),
        0x6b => ("del_response", false),
        0x6c => ("mod_dn_request", true),
        0x6d => ("mod_dn_response", false),
        0x6e => ("compare_request", true),
        0x6f => ("compare_response", false),
        0x50 => ("abandon_request", true),
        0x77 => ("extended_request", true),
        0x78 => ("extended_response", false),
        0x79 => ("intermediate_response", false),
        _ => return None,
    })
}

/// Is it LDAP? The first operation must be one, as long as its message says, with a first field of its kind.
pub fn probe(look: &Look<'_>) -> Match {
    match shape(look.bytes) {
        Some(true) => Match::Yes,
        Some(false) => Match::No,
        None if look.is_datagram => Match::No,
        None => Match::Maybe,
    }
}

/// `None` where too few bytes are there.
fn shape(bytes: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(bytes);
    let total = match header(&mut reader)? {
        Some((SEQUENCE, body)) => body,
        _ => return Some(false),
    };
    let start = reader.len();
    let Some((INTEGER, digits @ 1..=4)) = header(&mut reader)? else { return Some(false) };
    let id = reader.take(digits)?;
    let Some((tag, body)) = header(&mut reader)? else { return Some(false) };
    let used = start - reader.len() + body;
    if id.first()? & 0x80 != 0 || operation(tag).is_none() || used > total || (used < total && used + 2 > total) {
        return Some(false);
    }
    let first: (u8, &[usize]) = match tag {
        0x60 => (INTEGER, &[1]),
        0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x78 => (ENUMERATED, &[1]),
        0x63 | 0x64 | 0x66 | 0x68 | 0x6c | 0x6e => (OCTETS, &[]),
        0x77 => (0x80, &[]),
        0x42 => return Some(body == 0),
        // What is left says too little of itself.
        _ => return Some(false),
    };
    let Some((field, length)) = header(&mut reader)? else { return Some(false) };
    let is_length = first.1.is_empty() || first.1.contains(&length);
    let is_version = tag != 0x60 || matches!(reader.rest().first()?, 1..=3);
    Some(field == first.0 && is_length && length <= body && is_version)
}

/// Tag and length: `None` where bytes are missing, `Some(None)` where it is no header.
fn header(reader: &mut Reader<'_>) -> Option<Option<(u8, usize)>> {
    match der::header(reader.rest()) {
        der::Header::Short => None,
        der::Header::Bad => Some(None),
        der::Header::Whole { tag, header, body } => {
            reader.take(header)?;
            Some(Some((tag, body)))
        }
    }
}

/// What a flow's parser remembers.
#[derive(Default)]
pub struct State {
    /// Message that is open.
    id: u64,
    /// Entries that it gave so far.
    entries: u64,
    /// Rest of a long message, by side.
    skip: Sides<u32>,
    /// A message of this side was read.
    in_step: Sides<bool>,
    is_open: bool,
    /// TLS is asked for.
    asks_tls: bool,
    /// It was granted.
    is_over: bool,
}

const _: () = assert!(size_of::<State>() <= 64);

impl Parse for State {
    fn step(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Step {
        let skip = std::mem::take(self.skip.of(side));
        if skip > 0 {
            return Step::Skip(u64::from(skip));
        }
        if self.is_over {
            return Step::Done;
        }
        let (length, begin) = match der::header(bytes) {
            der::Header::Short => return Step::Need(bytes.len() + 1),
            der::Header::Whole { tag: SEQUENCE, header, body } => (header.saturating_add(body), header),
            // A SASL security layer has its length in front (RFC 4513 section 5.2), below 16 MiB.
            _ if bytes.first() == Some(&0) => return Step::Done,
            _ if *self.in_step.of(side) => return Step::Broken(MALFORMED),
            _ => return Step::Done,
        };
        let shown = length.min(HEAD_MAX);
        let Some(message) = bytes.get(begin..shown) else { return Step::Need(shown) };
        *self.in_step.of(side) = true;
        *self.skip.of(side) = u32::try_from(length - shown).unwrap_or(u32::MAX);
        if shown < length {
            out.limit();
        }
        if self.message(side, message, out).is_none() {
            return Step::Broken(MALFORMED);
        }
        Step::Took(shown)
    }

    fn gap(&mut self, side: Side, hole: &Hole<'_>, out: &mut dyn Output) -> Resume {
        let resume = match (std::mem::take(self.skip.of(side)), der::header(hole.before)) {
            (0, der::Header::Whole { tag: SEQUENCE, header, body }) => hole.within(header.saturating_add(body) as u64),
            (0, _) => Resume::Done,
            (rest, _) => hole.before_end(u64::from(rest)),
        };
        if resume == Resume::Done {
            out.event();
        }
        resume
    }
}

impl State {
    /// [`Protocol::Tls`] once StartTLS was granted, from the byte on at which [`Step::Done`] was answered.
    pub fn turns_into(&self) -> Option<Protocol> {
        self.is_over.then_some(Protocol::Tls)
    }

    fn message(&mut self, side: Side, bytes: &[u8], out: &mut dyn Output) -> Option<()> {
        let mut reader = Reader::new(bytes);
        let id = der::number(&mut reader, INTEGER)?;
        let (tag, body) = der::any(&mut reader)?;
        let (name, is_request) = operation(tag)?;
        match (tag, is_request) {
            (0x42 | 0x50, _) => {}
            (_, true) => {
                if self.is_open {
                    out.event();
                }
                (self.id, self.is_open, self.entries) = (id, true, 0);
                out.facts().sent_by(side);
                out.facts().put_number(ID, id);
                out.facts().put(OPERATION, name.as_bytes());
                self.request(tag, body, out);
            }
            _ => {
                if !self.is_open {
                    // Of no request that was seen, or of none at all (RFC 4511 section 4.4).
                    (self.id, self.is_open, self.entries) = (id, true, 0);
                    out.facts().sent_by(side);
                    out.facts().put_number(ID, id);
                }
                if self.id == id {
                    self.response(tag, name, body, out);
                }
            }
        }
        Some(())
    }

    fn request(&mut self, tag: u8, mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
        match tag {
            0x60 => bind(body, out)?,
            0x63 => search(body, out.facts())?,
            0x4a => out.facts().put(ENTRY, body.rest()),
            0x66 | 0x68 | 0x6c | 0x6e => out.facts().put(ENTRY, der::open(&mut body, OCTETS)?.rest()),
            0x77 => {
                let name = der::whole(&mut body, 0x80)?;
                self.asks_tls = name == START_TLS;
                out.facts().put(EXTENDED, name);
            }
            _ => {}
        }
        Some(())
    }

    fn response(&mut self, tag: u8, name: &'static str, mut body: Reader<'_>, out: &mut dyn Output) {
        match tag {
            0x64 => {
                self.entries += 1;
                entry(body, out.facts());
            }
            0x73 | 0x79 => {}
            _ => {
                out.facts().put(RESPONSE, name.as_bytes());
                if tag == 0x65 {
                    out.facts().put_number(ENTRIES, self.entries);
                }
                let code = result(&mut body, out.facts());
                self.is_over = tag == 0x78 && self.asks_tls && code == Some(0);
                self.is_open = false;
                out.event();
            }
        }
    }
}

/// RFC 4511 section 4.2; NTLM without SASL: MS-ADTS section 5.1.1.1.3.
fn bind(mut body: Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let version = der::number(&mut body, INTEGER)?;
    let name = der::whole(&mut body, OCTETS)?;
    out.facts().put_number(VERSION, version);
    out.facts().put(NAME, name);
    let (tag, mut credentials) = der::any(&mut body)?;
    let kind: &[u8] = match tag {
        0x80 if credentials.is_empty() => b"anonymous",
        0x80 => {
            out.anomaly(CLEARTEXT_PASSWORD);
            b"simple"
        }
        0xa3 => b"sasl",
        _ => b"ntlm",
    };
    let facts = out.facts();
    facts.put(AUTHENTICATION, kind);
    if tag == 0xa3 {
        let mechanism = der::whole(&mut credentials, OCTETS)?;
        facts.put(MECHANISM, mechanism);
        if mechanism.starts_with(b"GSS") {
            spnego::read(der::open(&mut credentials, OCTETS)?.rest(), facts);
        }
    } else if tag != 0x80 {
        spnego::read(credentials.rest(), facts);
    }
    Some(())
}

/// RFC 4511 section 4.5.1.
fn search(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    facts.put(BASE, der::whole(&mut body, OCTETS)?);
    facts.put_number(SCOPE, der::number(&mut body, ENUMERATED)?);
    der::whole(&mut body, ENUMERATED)?;
    der::whole(&mut body, INTEGER)?;
    der::whole(&mut body, INTEGER)?;
    der::whole(&mut body, BOOLEAN)?;
    let before = body;
    der::any(&mut body)?;
    let filter = before.rest().get(..before.len() - body.len())?;
    filter_attributes(Reader::new(filter), facts);
    let mut wanted = der::open(&mut body, SEQUENCE)?;
    for _ in 0..NAMES_MAX {
        facts.put(ATTRIBUTE, der::whole(&mut wanted, OCTETS)?);
    }
    if !wanted.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

/// Steps into `and`, `or`, `not` and over everything else: what they hold are filters again, one after the other.
fn filter_attributes(mut rest: Reader<'_>, facts: &mut Facts) -> Option<()> {
    for _ in 0..FILTER_MAX {
        let der::Header::Whole { tag, header, .. } = der::header(rest.rest()) else { return None };
        if matches!(tag, 0xa0..=0xa2) {
            rest.take(header)?;
            continue;
        }
        let (tag, mut inner) = der::any(&mut rest)?;
        match tag {
            0x87 => facts.put(FILTER_ATTRIBUTE, inner.rest()),
            0xa3..=0xa6 | 0xa8 => facts.put(FILTER_ATTRIBUTE, der::whole(&mut inner, OCTETS)?),
            0xa9 => extensible(inner, facts),
            _ => return None,
        }
    }
    if !rest.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

/// The attribute of an extensible match (RFC 4511 section 4.5.1.7.7), behind the rule if there is one.
fn extensible(mut inner: Reader<'_>, facts: &mut Facts) {
    der::whole(&mut inner, 0x81);
    if let Some(name) = der::whole(&mut inner, 0x82) {
        facts.put(FILTER_ATTRIBUTE, name);
    }
}

/// An entry's name and the names of its attributes (RFC 4511 section 4.5.2).
fn entry(mut body: Reader<'_>, facts: &mut Facts) -> Option<()> {
    facts.put(FOUND, der::whole(&mut body, OCTETS)?);
    let mut attributes = der::open(&mut body, SEQUENCE)?;
    for _ in 0..NAMES_MAX {
        let mut one = der::open(&mut attributes, SEQUENCE)?;
        facts.put(FOUND_ATTRIBUTE, der::whole(&mut one, OCTETS)?);
    }
    if !attributes.is_empty() {
        facts.mark_truncated();
    }
    Some(())
}

/// RFC 4511 section 4.1.9.
/// Text, with the NUL that some servers end it with; lines are text too.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let is_control = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\r' | '\n');
    std::str::from_utf8(text).is_ok_and(|text| !text.is_empty() && !text.contains(is_control))
}

fn result(body: &mut Reader<'_>, facts: &mut Facts) -> Option<u64> {
    let code = der::number(body, ENUMERATED)?;
    facts.put_number(RESULT, code);
    for fact in [MATCHED, MESSAGE] {
        match der::whole(body, OCTETS) {
            // A Sicily bind's answer has the server's token in place of a name (MS-ADTS section 5.1.1.1.3).
            Some(token) if spnego::read(token, facts) => {}
            Some(text) if is_text(text) && fact == MATCHED => facts.put(fact, text.strip_suffix(&[0]).unwrap_or(text)),
            Some(text) if is_text(text) => {
                let mut places = secrets::Places::<{ MESSAGE.limit as usize + 1 }>::default();
                facts.put(fact, secrets::told(text.strip_suffix(&[0]).unwrap_or(text), &mut places));
            }
            _ => {}
        }
    }
    // A bind's answer carries the server's token (section 4.2.2).
    if let Some(token) = der::open(body, 0x87) {
        spnego::read(token.rest(), facts);
    }
    Some(code)
}
