//! Messages of the table of peers: one dictionary in bencode (BEP 3, BEP 5).

use super::*;

/// How deep values may nest.
pub(in crate::dataplane::inspect) const DEPTH_MAX: usize = 8;
/// Values looked at in a message.
pub(in crate::dataplane::inspect) const VALUES_MAX: usize = 256;

/// A value of bencode.
enum Value<'a> {
    Number(u64),
    Text(&'a [u8]),
    /// A list or dictionary begins.
    List,
    Dictionary,
    /// The one that was begun last ends.
    End,
}

fn value<'a>(reader: &mut Reader<'a>) -> Option<Value<'a>> {
    match *reader.rest().first()? {
        b'i' => {
            reader.take(1)?;
            let digits = reader.until(b'e')?;
            let digits = digits.strip_prefix(b"-").unwrap_or(digits);
            decimal(digits).map(Value::Number)
        }
        b'l' => reader.take(1).map(|_| Value::List),
        b'd' => reader.take(1).map(|_| Value::Dictionary),
        b'e' => reader.take(1).map(|_| Value::End),
        b'0'..=b'9' => text(reader).map(Value::Text),
        _ => None,
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    // A length of more than five digits has no room in a datagram.
    let mut head = Reader::new(reader.rest().get(..6).unwrap_or(reader.rest()));
    let digits = head.until(b':')?;
    let length = decimal(digits)?;
    reader.take(digits.len() + 1)?;
    reader.take(usize::try_from(length).ok()?)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let fits = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// Passes over a value, whatever is in it.
fn skip(reader: &mut Reader<'_>) -> Option<()> {
    let mut depth = 0_usize;
    for _ in 0..VALUES_MAX {
        match value(reader)? {
            Value::List | Value::Dictionary if depth < DEPTH_MAX => depth += 1,
            Value::List | Value::Dictionary => return None,
            Value::End => depth = depth.checked_sub(1)?,
            Value::Number(_) | Value::Text(_) => {}
        }
        if depth == 0 {
            return Some(());
        }
    }
    None
}

/// Is it a message of the table: a dictionary with a kind and a transaction, as its one-letter keys come in order?
pub fn is(bytes: &[u8]) -> bool {
    let begins =
        [&b"d1:ad"[..], b"d1:rd", b"d1:el", b"d2:ip", b"d1:v4:", b"d1:q"].iter().any(|one| bytes.starts_with(one));
    if !begins {
        return false;
    }
    let mut reader = Reader::new(bytes.get(1..).unwrap_or_default());
    let (mut has_kind, mut has_transaction) = (false, false);
    for _ in 0..VALUES_MAX {
        if reader.rest().first().is_none_or(|byte| *byte == b'e') {
            break;
        }
        let Some(key) = text(&mut reader) else { break };
        let mut value = reader;
        if skip(&mut reader).is_none() {
            break;
        }
        has_transaction |= key == b"t";
        has_kind |= key == b"y" && matches!(text(&mut value), Some(b"q" | b"r" | b"e"));
    }
    // A message that was cut still shows how a question or an answer begins.
    has_kind && has_transaction || bytes.starts_with(b"d1:ad2:id20:") || bytes.starts_with(b"d1:rd2:id20:")
}

/// Reads a message.
pub fn read(bytes: &[u8], out: &mut dyn Output) -> Option<()> {
    let mut reader = Reader::new(bytes.strip_prefix(b"d")?);
    for _ in 0..VALUES_MAX {
        if reader.rest().first()? == &b'e' {
            return Some(());
        }
        let key = text(&mut reader)?;
        match key {
            b"a" | b"r" => body(&mut reader, out)?,
            b"e" => error(reader, out),
            b"q" => put(REQUEST_TYPE, reader, out),
            b"t" => put(TRANSACTION, reader, out),
            b"v" => put(CLIENT_VERSION, reader, out),
            b"y" => put(DHT_TYPE, reader, out),
            _ => {}
        }
        if !matches!(key, b"a" | b"r") {
            skip(&mut reader)?;
        }
    }
    None
}

/// Arguments of a question or an answer.
fn body(reader: &mut Reader<'_>, out: &mut dyn Output) -> Option<()> {
    let Value::Dictionary = value(reader)? else { return None };
    for _ in 0..VALUES_MAX {
        if reader.rest().first()? == &b'e' {
            return reader.take(1).map(drop);
        }
        match text(reader)? {
            b"id" => put(NODE_ID, *reader, out),
            b"info_hash" => put(INFO_HASH, *reader, out),
            b"target" => put(TARGET, *reader, out),
            b"token" => put(TOKEN, *reader, out),
            b"nodes" => put(NODES, *reader, out),
            b"nodes6" => put(NODES6, *reader, out),
            b"port" => number(PEER_PORT, *reader, out),
            b"implied_port" => number(IMPLIED_PORT, *reader, out),
            b"values" => peers(*reader, out),
            _ => {}
        }
        skip(reader)?;
    }
    None
}

fn put(fact: Fact, mut reader: Reader<'_>, out: &mut dyn Output) {
    if let Some(Value::Text(text)) = value(&mut reader) {
        out.facts().put(fact, text);
    }
}

fn number(fact: Fact, mut reader: Reader<'_>, out: &mut dyn Output) {
    if let Some(Value::Number(number)) = value(&mut reader) {
        out.facts().put_number(fact, number);
    }
}

/// A list of addresses with ports.
fn peers(mut reader: Reader<'_>, out: &mut dyn Output) {
    let Some(Value::List) = value(&mut reader) else { return };
    for _ in 0..VALUES_MAX {
        match value(&mut reader) {
            Some(Value::Text(peer)) => out.facts().put(VALUE, peer),
            _ => return,
        }
    }
    out.facts().mark_truncated();
}

/// A list of a number and words.
fn error(mut reader: Reader<'_>, out: &mut dyn Output) {
    let Some(Value::List) = value(&mut reader) else { return };
    if let (Some(Value::Number(code)), Some(Value::Text(words))) = (value(&mut reader), value(&mut reader)) {
        out.facts().put_number(ERROR_CODE, code);
        out.facts().put(ERROR_MESSAGE, words);
    }
}
