//! Values of a request that a server may pass on to a data base: of its body and its cookies. Nothing of them is kept.

use super::super::lines;
use super::super::parse::Output;
use super::super::sql;
use super::*;

/// Bodies longer than that are uploads, not input.
const LENGTH_MAX: u64 = 1 << 20;

/// How the values of a body are told apart, by its media type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Encoded,
    Json,
    Lines,
}

fn form(out: &mut dyn Output) -> Option<Form> {
    let kind = out.facts().get(REQUEST_TYPE)?;
    let is = |name: &[u8]| lines::begins(kind, name) == Match::Yes;
    match () {
        () if is(b"application/x-www-form-urlencoded") => Some(Form::Encoded),
        () if is(b"application/json") => Some(Form::Json),
        () if is(b"multipart/form-data") || is(b"text/") || is(b"application/xml") => Some(Form::Lines),
        () => None,
    }
}

/// Bytes of a body of this length to be looked at before the rest is passed over; 0: none.
pub(super) fn wanted(length: u64, out: &mut dyn Output) -> usize {
    if length > LENGTH_MAX || form(out).is_none() {
        return 0;
    }
    usize::try_from(length).map_or(INPUT_MAX, |length| length.min(INPUT_MAX))
}

/// Looks at the beginning of a body.
pub(super) fn body(bytes: &[u8], out: &mut dyn Output) {
    let bytes = bytes.get(..INPUT_MAX).unwrap_or(bytes);
    let found = match form(out) {
        Some(Form::Encoded) => sql::in_form(bytes),
        Some(Form::Json) => sql::in_json(bytes),
        Some(Form::Lines) => sql::in_lines(bytes),
        None => None,
    };
    put(b"body", found, out);
}

/// Looks at cookies.
pub(super) fn cookies(value: &[u8], out: &mut dyn Output) {
    put(b"cookie", sql::in_cookies(value.get(..INPUT_MAX).unwrap_or(value)), out);
}

fn put(place: &[u8], found: Option<sql::Found>, out: &mut dyn Output) {
    let Some(found) = found.filter(|_| out.facts().get(INJECTION).is_none()) else { return };
    out.facts().put(INJECTION, place);
    if found.is_sure {
        out.facts().put_number(INJECTION_SURE, 1);
    }
    out.facts().put_number(INJECTION_HASH, u64::from(found.hash));
}
